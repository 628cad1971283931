#include "tests/unit/remoting/echo_server.h"

#include "remoting/conn_priv.h"
#include "tests/support/loop_looks.h"
#include "tests/support/seed.h"

static void a_stream_cut_anywhere_gives_the_same_answers(void **state)
{
    static const size_t bodies[] = {0, 1, 100, 5000, 20000, 70000, 300000, 3};
    enum { N = sizeof bodies / sizeof *bodies };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    char *body = malloc(300000);
    memset(body, 'q', 300000);
    for (int i = 0; i < N; i++)
        put_request(&b, CODE_ECHO, i, 0, slice_of(body, bodies[i]));
    static const size_t steps[] = {7, 64, 4096, 4097, 65536, 100001};
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        struct slice rest = buf_slice(&b);
        while (rest.n > 0) {
            size_t n = rest.n < steps[s] ? rest.n : steps[s];
            peer_send(fd, slice_of(rest.p, n));
            rest = slice_of(rest.p + n, rest.n - n);
        }
        for (int i = 0; i < N; i++) {
            struct answer a;
            peer_answer(fd, &a);
            assert_int_equal(a.command.opaque, i);
            assert_int_equal(a.command.body.n, bodies[i]);
            assert_memory_equal(a.command.body.p, body, bodies[i]);
            answer_free(&a);
        }
    }
    free(body);
    buf_free(&b);
    close(fd);
}

/* Nothing is written, so nothing but the next turn can let the connection go on. */
static void requests_beyond_a_turn_s_share_are_served_in_the_next_turns(void **state)
{
    enum { N = 20000 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < N; i++)
        put_request(&b, CODE_ECHO, i, COMMAND_FLAG_ONEWAY, SLICE_NULL);
    peer_send(fd, buf_slice(&b));
    await_served(f, N);
    buf_free(&b);
    close(fd);
}

struct halves {
    struct fixture *f;
    struct turn_hook hook;
    struct mail mail;
    uv_sem_t go;
    int first; /* served when the hook ran for the first time after some were served */
};

static void note_served(struct turn_hook *h)
{
    struct halves *t = LIST_ENTRY(h, struct halves, hook);
    if (t->first == 0)
        t->first = t->f->served;
}

static void add_note(void *arg)
{
    struct halves *t = arg;
    t->hook = (struct turn_hook){.rank = 5, .fn = note_served};
    loop_hook_add(&t->f->rig.loops[0], &t->hook);
}

static void remove_note(void *arg)
{
    loop_hook_remove(&((struct halves *)arg)->hook);
}

static void wait_for_go(struct mail *m)
{
    uv_sem_wait(&LIST_ENTRY(m, struct halves, mail)->go);
}

static void a_lone_connection_gets_answers_while_the_rest_of_its_requests_is_worked_on(void **state)
{
    enum { REQUESTS = 24, BODY = 4096 };
    static const char body[BODY];
    struct fixture *f = *state;
    struct halves t = {.f = f, .mail.deliver = wait_for_go};
    struct loop *l = &f->rig.loops[0];
    struct server_opts o = opts(f);
    struct buf b;
    o.loop_n = 1;
    assert_int_equal(uv_sem_init(&t.go, 0), 0);
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 2 * LONE_TURNS; i++) {
        peer_request(fd, CODE_ECHO, 1000);
        expect_answer(fd, 1000, RESP_SUCCESS);
    }
    f->served = 0;
    assert_int_equal(loop_call(l, add_note, &t), 0);
    assert_int_equal(loop_post(l, &t.mail), 0); /* the loop finds all of them at once */
    buf_init(&b, 0);
    for (int i = 0; i < REQUESTS; i++)
        put_request(&b, CODE_ECHO, i, 0, slice_of(body, BODY));
    peer_send(fd, buf_slice(&b));
    uv_sem_post(&t.go);
    for (int i = 0; i < REQUESTS; i++)
        expect_answer(fd, i, RESP_SUCCESS);
    assert_int_equal(loop_call(l, remove_note, &t), 0);
    if (t.first < 1 || t.first >= REQUESTS)
        fail_msg("the turn was first cut after %d of %d requests", t.first, REQUESTS);
    buf_free(&b);
    close(fd);
    uv_sem_destroy(&t.go);
}

/* How often the loops looked for more before they slept, while each of n connections had its turns. */
static uint64_t looks_while(struct fixture *f, const int *fds, int n)
{
    uint64_t looks = 0;
    for (int i = 0; i < f->rig.loop_n; i++)
        looks -= loop_looks(&f->rig.loops[i]);
    for (int i = 0; i < 4 * LONE_TURNS; i++) {
        peer_request(fds[i % n], CODE_ECHO, i);
        expect_answer(fds[i % n], i, RESP_SUCCESS);
    }
    for (int i = 0; i < f->rig.loop_n; i++)
        looks += loop_looks(&f->rig.loops[i]);
    return looks;
}

static uint64_t looks_of_one(struct fixture *f, const struct server_opts *o)
{
    int fd = serve_and_connect(f, o);
    uint64_t looks = looks_while(f, &fd, 1);
    close(fd);
    return looks;
}

/* Of a connection that was alone before and one that comes and has the first turn. */
static uint64_t looks_of_two(struct fixture *f, int loop_n)
{
    struct server_opts o = opts(f);
    int fds[2];
    uint64_t looks;
    o.busy_poll_us = 50;
    o.loop_n = loop_n;
    fds[1] = serve_and_connect(f, &o);
    looks_while(f, &fds[1], 1);
    fds[0] = peer_connect(server_port(f->rig.server));
    looks = looks_while(f, fds, 2);
    close(fds[0]);
    close(fds[1]);
    return looks;
}

static void the_loop_of_a_lone_connection_looks_for_more_before_it_sleeps(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.busy_poll_us = 50;
    assert_int_equal(looks_of_one(f, &o) > 0, uv_available_parallelism() > 1);
}

static void the_loop_of_several_connections_does_not(void **state)
{
    assert_int_equal(looks_of_two(*state, 1), 0);
}

static void loops_with_a_connection_each_do_not(void **state)
{
    assert_int_equal(looks_of_two(*state, 2), 0);
}

static void a_loop_of_whole_turns_does_not(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.busy_poll_us = 50;
    o.whole_turns = true;
    assert_int_equal(looks_of_one(f, &o), 0);
}

static void a_loop_without_time_for_it_does_not(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    assert_int_equal(looks_of_one(f, &o), 0);
}

static void expect_closed_after(struct fixture *f, struct slice bytes)
{
    int fd = peer_connect(server_port(f->rig.server));
    peer_send(fd, bytes);
    expect_closed(fd);
    close(fd);
}

static void garbage_closes_the_connection_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int canary = serve_and_connect(f, &o);
    peer_request(canary, CODE_ECHO, 1);
    expect_answer(canary, 1, RESP_SUCCESS);
    expect_closed_after(f, SLICE_LIT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    expect_closed_after(f, SLICE_LIT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")); /* TLS */
    expect_closed_after(f, SLICE_LIT("\xff\xff\xff\xff"));                             /* length -1 */
    expect_closed_after(f, SLICE_LIT("\x00\x00\x00\x03"));                             /* no header word */
    expect_closed_after(f, SLICE_LIT("\x00\x00\x00\x06\x00\x00\x00\x03{}"));           /* header too long */
    expect_closed_after(f, SLICE_LIT("\x00\x00\x00\x06\x02\x00\x00\x02{}"));           /* type 2 */
    expect_closed_after(f, SLICE_LIT("\x00\x00\x00\x06\x00\x00\x00\x02{]"));           /* no JSON */
    expect_closed_after(f, SLICE_LIT("\x00\x00\x00\x06\x01\x00\x00\x02{}"));           /* short binary */
    expect_closed_after(f, SLICE_LIT("\x01\x00\x00\x00\x00\x00\x00\x02{}"));           /* 16 MiB + 4 */
    peer_request(canary, CODE_ECHO, 2);
    expect_answer(canary, 2, RESP_SUCCESS);
    struct server_stats st;
    server_stats_get(f->rig.server, &st);
    assert_int_equal(st.protocol_errors, 9);
    close(canary);
}

static void random_damage_never_disturbs_other_connections(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int canary = serve_and_connect(f, &o);
    struct rng rng = test_rng("server damage");
    struct buf b;
    buf_init(&b, 0);
    for (int round = 0; round < 300; round++) {
        buf_clear(&b);
        for (int i = 0; i < 5; i++)
            put_request(&b, CODE_ECHO, i, 0, SLICE_LIT("some body"));
        for (int i = 0; i < 4; i++)
            b.p[rng_below(&rng, b.n)] = (char)rng_below(&rng, 256);
        int fd = peer_connect(server_port(f->rig.server));
        peer_send(fd, buf_slice(&b));
        close(fd);
        if (round % 50 == 0) {
            peer_request(canary, CODE_ECHO, round);
            expect_answer(canary, round, RESP_SUCCESS);
        }
    }
    buf_free(&b);
    close(canary);
    await_empty(f);
}

static void a_silent_connection_is_closed_after_the_first_request_limit(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.first_frame_ms = 100;
    int fds[50];
    rig_open(&f->rig, &o);
    for (int i = 0; i < 50; i++)
        fds[i] = peer_connect(server_port(f->rig.server));
    for (int i = 0; i < 50; i++) {
        expect_closed(fds[i]);
        close(fds[i]);
    }
    await_empty(f);
}

static void an_unfinished_frame_is_closed_after_the_limit(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.first_frame_ms = 100;
    int fd = serve_and_connect(f, &o);
    peer_request(fd, CODE_ECHO, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    peer_send(fd, SLICE_LIT("\x00\x00\x10\x00\x00"));
    expect_closed(fd);
    close(fd);
}

static void an_idle_connection_is_closed_but_not_one_that_waits_for_an_answer(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.idle_ms = 150;
    rig_open(&f->rig, &o);
    int idle = peer_connect(server_port(f->rig.server));
    int waiting = peer_connect(server_port(f->rig.server));
    peer_request(idle, CODE_ECHO, 1);
    expect_answer(idle, 1, RESP_SUCCESS);
    peer_request(waiting, CODE_PARK, 2);
    await_served(f, 2);
    expect_closed(idle);
    release_parked(f, false);
    expect_answer(waiting, 2, RESP_SUCCESS);
    close(idle);
    close(waiting);
}

static void no_more_than_the_limit_is_in_flight_and_all_are_served_in_the_end(void **state)
{
    enum { N = 100, LIMIT = 8 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.inflight_max = LIMIT;
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < N; i++)
        peer_request(fd, CODE_PARK, i);
    int answered = 0;
    while (answered < N) {
        await_served(f, answered + (N - answered < LIMIT ? N - answered : LIMIT));
        assert_in_range(f->served, 0, answered + LIMIT);
        release_parked(f, false);
        for (int served = f->served; answered < served; answered++)
            expect_answer(fd, answered, RESP_SUCCESS);
    }
    close(fd);
}

static void a_push_from_another_thread_reaches_the_peer(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    peer_request(fd, CODE_PUSH, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    struct hdr_consumer_group h = {.consumer_group = SLICE_LIT("G")};
    assert_int_equal(conn_send_oneway(f->pushed, RC_NOTIFY_CONSUMER_IDS_CHANGED, &h, SLICE_LIT("body")), 0);
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.code, RC_NOTIFY_CONSUMER_IDS_CHANGED);
    assert_int_equal(a.command.flag, COMMAND_FLAG_ONEWAY);
    assert_slice_equal(command_ext(&a.command, "consumerGroup"), "G");
    assert_slice_equal(a.command.body, "body");
    answer_free(&a);
    close(fd);
    await_empty(f);
    assert_true(conn_closing(f->pushed));
    assert_int_equal(conn_send_oneway(f->pushed, RC_NOTIFY_CONSUMER_IDS_CHANGED, &h, SLICE_NULL), E_CLOSED);
}

static void pushes_to_a_peer_that_does_not_read_are_refused_in_the_end(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.output_high = 128 * 1024;
    int fd = serve_and_connect(f, &o);
    peer_request(fd, CODE_PUSH, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    int rc = 0, sent = 0;
    for (; rc == 0 && sent < 10000; sent++)
        rc = conn_send_oneway(f->pushed, CODE_ECHO, NULL, slice_of(f->big, sizeof f->big));
    assert_int_equal(rc, E_BUSY);
    assert_false(conn_closing(f->pushed));
    close(fd);
}

static void a_peer_that_stopped_talking_still_gets_its_answers(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < 50; i++)
        put_request(&b, CODE_ECHO, i, 0, SLICE_NULL);
    peer_send(fd, buf_slice(&b));
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 50; i++)
        expect_answer(fd, i, RESP_SUCCESS);
    expect_closed(fd);
    buf_free(&b);
    close(fd);
}

static void conn_close_sends_what_was_said_before(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    peer_request(fd, CODE_PUSH, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    assert_int_equal(conn_send_oneway(f->pushed, CODE_ECHO, NULL, SLICE_LIT("last words")), 0);
    conn_close(f->pushed, "enough");
    conn_close(f->pushed, "twice is fine");
    struct answer a;
    peer_answer(fd, &a);
    assert_slice_equal(a.command.body, "last words");
    answer_free(&a);
    expect_closed(fd);
    close(fd);
}

static void long_unfinished_frames_are_given_up_beyond_the_input_limit(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.input_total = 1024 * 1024; /* half of it for each of two loops */
    int fd = serve_and_connect(f, &o);
    int canary = peer_connect(server_port(f->rig.server));
    struct buf b;
    buf_init(&b, 0);
    char *body = calloc(1, 4 * 1024 * 1024);
    put_request(&b, CODE_ECHO, 1, 0, slice_of(body, 4 * 1024 * 1024));
    size_t at = 0;
    for (ssize_t n = 1; n > 0 && at < b.n; at += n > 0 ? (size_t)n : 0)
        n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL); /* may end before all is sent */
    expect_closed(fd);
    assert_int_equal(f->served, 0);
    peer_request(canary, CODE_ECHO, 2);
    expect_answer(canary, 2, RESP_SUCCESS);
    free(body);
    buf_free(&b);
    close(fd);
    close(canary);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_stream_cut_anywhere_gives_the_same_answers),
        TEST(requests_beyond_a_turn_s_share_are_served_in_the_next_turns),
        TEST(a_lone_connection_gets_answers_while_the_rest_of_its_requests_is_worked_on),
        TEST(the_loop_of_a_lone_connection_looks_for_more_before_it_sleeps),
        TEST(the_loop_of_several_connections_does_not),
        TEST(loops_with_a_connection_each_do_not),
        TEST(a_loop_of_whole_turns_does_not),
        TEST(a_loop_without_time_for_it_does_not),
        TEST(garbage_closes_the_connection_and_nothing_else),
        TEST(random_damage_never_disturbs_other_connections),
        TEST(a_silent_connection_is_closed_after_the_first_request_limit),
        TEST(an_unfinished_frame_is_closed_after_the_limit),
        TEST(an_idle_connection_is_closed_but_not_one_that_waits_for_an_answer),
        TEST(no_more_than_the_limit_is_in_flight_and_all_are_served_in_the_end),
        TEST(a_push_from_another_thread_reaches_the_peer),
        TEST(pushes_to_a_peer_that_does_not_read_are_refused_in_the_end),
        TEST(a_peer_that_stopped_talking_still_gets_its_answers),
        TEST(conn_close_sends_what_was_said_before),
        TEST(long_unfinished_frames_are_given_up_beyond_the_input_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
