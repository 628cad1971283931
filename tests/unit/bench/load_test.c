/* bench/load.c, against a server of lines in a thread of its own */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/load.h"

enum misbehaviour { NONE, STALL_ONCE, ANSWER_TWICE, ANSWER_WRONG, HANG_UP, REFUSE_ODD };
enum { STALL_MS = 300, AT = 50 /* the request at which it happens */ };

struct server {
    int listener, port;
    enum misbehaviour how;
    pthread_t thread;
};

/* Sends the line back, or misbehaves; false ends the connection. */
static bool serve_line(const struct server *s, FILE *f, const char *line)
{
    const int seq = (int)strtol(line, NULL, 10);
    if (seq == AT && s->how == STALL_ONCE)
        clock_sleep(STALL_MS);
    if (seq == AT && s->how == HANG_UP)
        return false;
    if (seq == AT && s->how == ANSWER_TWICE)
        fputs(line, f);
    if (s->how == REFUSE_ODD && seq % 2 == 1)
        fputc('-', f);
    fputs(seq == AT && s->how == ANSWER_WRONG ? "999999\n" : line, f);
    return fflush(f) == 0;
}

static void *server_main(void *arg)
{
    const struct server *s = arg;
    char line[64];
    const int fd = accept(s->listener, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    while (fgets(line, sizeof line, in) != NULL && serve_line(s, out, line)) {
    }
    fclose(in);
    fclose(out);
    return NULL;
}

static void server_start(struct server *s, enum misbehaviour how)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    s->how = how;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_end(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static int line_request(void *self, int link, int64_t seq, struct buf *out)
{
    (void)self, (void)link;
    buf_printf(out, "%lld\n", (long long)seq);
    return buf_error(out);
}

static int64_t line_answer(void *self, int link, char *in, size_t n, struct buf *out,
                           struct answer *a, struct err *e)
{
    (void)self, (void)link, (void)out, (void)e;
    const char *end = memchr(in, '\n', n);
    if (end == NULL)
        return 0;
    a->kind = in[0] == '-' ? ANSWER_REFUSED : ANSWER_DONE;
    a->seq = labs(strtol(in, NULL, 10));
    a->remark = slice_of(in, (size_t)(end - in));
    return end - in + 1;
}

static const struct driver lines = {.request = line_request, .answer = line_answer};
static const struct driver lines_in_order = {
    .in_order = true, .request = line_request, .answer = line_answer};

/* One connection with 8 in flight, or an open loop of `rate`. */
static int run(enum misbehaviour how, const struct driver *driver, void *self, int64_t rate,
               const struct plan *plan, struct group *g, struct window *w, struct err *e)
{
    struct server s;
    server_start(&s, how);
    *g = (struct group){.driver = driver,
                        .self = self,
                        .host = {.addr = {127, 0, 0, 1}, .len = 4, .port = s.port},
                        .connections = 1,
                        .inflight = rate > 0 ? 10000 : 8,
                        .rate = rate,
                        .keep = true};
    const int rc = load_run(g, 1, plan, w, e);
    server_end(&s);
    return rc;
}

static const struct plan thousand = {.requests = 1000, .warm_requests = 100, .deadline_ms = 30000};

static void a_closed_loop_sends_each_request_once(void **state)
{
    (void)state;
    struct group g;
    struct window w;
    struct err e;
    assert_ok(run(NONE, &lines, NULL, 0, &thousand, &g, &w, &e), &e);
    assert_int_equal(g.done, 1000);
    assert_int_equal(g.next_seq, 1000);
    assert_int_equal(g.refused, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(g.mark[i], 1);
    assert_in_range((uint64_t)g.window_units, 1, 900);
    assert_int_equal(g.hist.n, g.window_units);
    assert_true(w.seconds > 0);
    load_free(&g, 1);
}

static void answers_without_names_are_matched_by_their_order(void **state)
{
    (void)state;
    struct group g;
    struct window w;
    struct err e;
    assert_ok(run(NONE, &lines_in_order, NULL, 0, &thousand, &g, &w, &e), &e);
    assert_int_equal(g.done, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(g.mark[i], 1);
    load_free(&g, 1);
}

static void a_window_of_time_ends_and_open_requests_are_awaited(void **state)
{
    (void)state;
    struct group g;
    struct window w;
    struct err e;
    const struct plan plan = {.warm_ms = 20, .run_ms = 60, .deadline_ms = 30000};
    assert_ok(run(NONE, &lines, NULL, 0, &plan, &g, &w, &e), &e);
    assert_int_equal(g.done, g.next_seq);
    assert_true(w.seconds >= 0.06);
    load_free(&g, 1);
}

/* 1,000 a second, one stall of 300 ms: the 300 requests that became due meanwhile waited too. */
static void a_stall_is_charged_to_every_request_that_was_due(void **state)
{
    (void)state;
    struct group g;
    struct window w;
    struct err e;
    const struct plan plan = {.run_ms = 500, .deadline_ms = 30000};
    assert_ok(run(STALL_ONCE, &lines, NULL, 1000, &plan, &g, &w, &e), &e);
    assert_true(g.done >= 350); /* about 500, as busy as the machine is */
    assert_true(g.hist.max_ns >= STALL_MS * 1000000ULL);
    /* A fifth of all requests waited for more than 200 ms; a closed loop would see one. */
    assert_true(hist_quantile_ns(&g.hist, 0.85) >= 100 * 1000000ULL);
    load_free(&g, 1);
}

static void refusals_are_counted_apart(void **state)
{
    (void)state;
    struct group g;
    struct window w;
    struct err e;
    assert_ok(run(REFUSE_ODD, &lines, NULL, 0, &thousand, &g, &w, &e), &e);
    assert_int_equal(g.refused, 500);
    assert_int_equal(g.done, 500);
    assert_int_equal(g.mark[1], 0);
    assert_int_equal(g.mark[2], 1);
    load_free(&g, 1);
}

/* The same when it is the generator that is held up: what it sent late was still due in time. */
static int64_t slow_answer(void *self, int link, char *in, size_t n, struct buf *out,
                           struct answer *a, struct err *e)
{
    const int64_t used = line_answer(self, link, in, n, out, a, e);
    if (used > 0 && a->seq == AT)
        clock_sleep(STALL_MS);
    return used;
}

static void a_late_request_is_charged_from_the_time_it_was_due(void **state)
{
    (void)state;
    static const struct driver slow = {.request = line_request, .answer = slow_answer};
    struct group g;
    struct window w;
    struct err e;
    const struct plan plan = {.run_ms = 500, .deadline_ms = 30000};
    assert_ok(run(NONE, &slow, NULL, 1000, &plan, &g, &w, &e), &e);
    assert_true(hist_quantile_ns(&g.hist, 0.85) >= 100 * 1000000ULL);
    load_free(&g, 1);
}

/* A request takes 1 ms to make and ten are due in it. */
struct slow_maker {
    int run, longest; /* requests without an answer between them */
};

static int slow_request(void *self, int link, int64_t seq, struct buf *out)
{
    struct slow_maker *m = self;
    clock_sleep(1);
    if (++m->run > m->longest)
        m->longest = m->run;
    return line_request(self, link, seq, out);
}

static int64_t answer_between(void *self, int link, char *in, size_t n, struct buf *out,
                              struct answer *a, struct err *e)
{
    ((struct slow_maker *)self)->run = 0;
    return line_answer(self, link, in, n, out, a, e);
}

static void an_open_loop_that_is_behind_goes_on_reading_answers(void **state)
{
    (void)state;
    static const struct driver slow = {.request = slow_request, .answer = answer_between};
    struct slow_maker m = {0};
    struct group g;
    struct window w;
    struct err e;
    const struct plan plan = {.run_ms = 300, .deadline_ms = 30000};
    assert_ok(run(NONE, &slow, &m, 10000, &plan, &g, &w, &e), &e);
    assert_in_range((uint64_t)m.longest, 2, 200);
    load_free(&g, 1);
}

static void expect_failure(enum misbehaviour how, int code, const char *text)
{
    struct group g;
    struct window w;
    struct err e;
    assert_code(run(how, &lines, NULL, 0, &thousand, &g, &w, &e), code, &e);
    assert_contains(e.text, text);
    load_free(&g, 1);
}

static void an_answer_to_a_request_that_was_never_sent_ends_the_run(void **state)
{
    (void)state;
    expect_failure(ANSWER_WRONG, E_PROTO, "never sent");
}

static void a_second_answer_to_a_request_ends_the_run(void **state)
{
    (void)state;
    expect_failure(ANSWER_TWICE, E_PROTO, "answered twice");
}

static void a_server_that_hangs_up_ends_the_run(void **state)
{
    (void)state;
    expect_failure(HANG_UP, E_CLOSED, "closed the connection");
}

static void an_open_loop_that_falls_too_far_behind_ends_the_run(void **state)
{
    (void)state;
    struct server s;
    struct window w;
    struct err e;
    const struct plan plan = {.run_ms = 2000, .deadline_ms = 30000};
    server_start(&s, STALL_ONCE);
    struct group g = {.driver = &lines,
                      .host = {.addr = {127, 0, 0, 1}, .len = 4, .port = s.port},
                      .connections = 1,
                      .inflight = 100,
                      .rate = 2000};
    assert_code(load_run(&g, 1, &plan, &w, &e), E_BUSY, &e);
    server_end(&s);
    load_free(&g, 1);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_sends_each_request_once),
        cmocka_unit_test(answers_without_names_are_matched_by_their_order),
        cmocka_unit_test(a_window_of_time_ends_and_open_requests_are_awaited),
        cmocka_unit_test(a_stall_is_charged_to_every_request_that_was_due),
        cmocka_unit_test(a_late_request_is_charged_from_the_time_it_was_due),
        cmocka_unit_test(an_open_loop_that_is_behind_goes_on_reading_answers),
        cmocka_unit_test(refusals_are_counted_apart),
        cmocka_unit_test(an_answer_to_a_request_that_was_never_sent_ends_the_run),
        cmocka_unit_test(a_second_answer_to_a_request_ends_the_run),
        cmocka_unit_test(a_server_that_hangs_up_ends_the_run),
        cmocka_unit_test(an_open_loop_that_falls_too_far_behind_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
