#include "tests/unit/remoting/fixture.h"

#include <sys/resource.h>

#include "base/log.h"
#include "tests/support/port.h"
#include "tests/support/seed.h"

/* The codes of the server under test. */
enum { CODE_ECHO = 9001, CODE_PARK, CODE_OWN, CODE_DROP, CODE_BIG, CODE_PIECES, CODE_PUSH };
enum { BIG_BODY = 64 * 1024, PARKED_MAX = 4096 };

struct fixture {
    struct rig rig;
    _Atomic int served;
    uv_mutex_t lock; /* guards parked, which the loops fill and the test empties */
    struct req *parked[PARKED_MAX];
    int parked_n;
    _Atomic int releases;
    struct conn *pushed; /* a reference, taken by CODE_PUSH */
    _Atomic bool has_pushed;
    char big[BIG_BODY];
};

static struct fixture *fixture_of(const struct req *r)
{
    return (struct fixture *)server_owner(req_server(r));
}

/* --- handlers: on loop threads, where only MQ_ASSERT can report --- */

static void echo(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_slice_add(&body, req_command(r)->body);
    fixture_of(r)->served++;
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

static void keep(struct req *r)
{
    struct fixture *f = fixture_of(r);
    uv_mutex_lock(&f->lock);
    MQ_ASSERT(f->parked_n < PARKED_MAX);
    f->parked[f->parked_n++] = r;
    uv_mutex_unlock(&f->lock);
    f->served++;
}

static void keep_owned(struct req *r)
{
    MQ_ASSERT(req_own_input(r) == 0);
    keep(r);
}

static void keep_dropped(struct req *r)
{
    req_drop_input(r);
    MQ_ASSERT(req_command(r)->body.p == NULL);
    keep(r);
}

static void count_release(void *arg)
{
    ((struct fixture *)arg)->releases++;
}

static void reply_big(struct req *r)
{
    struct fixture *f = fixture_of(r);
    struct iovec iov = {f->big, sizeof f->big};
    f->served++;
    req_reply_iov(r, RESP_SUCCESS, NULL, NULL, &iov, 1, count_release, f);
}

/* The body of the request says how large each of three pieces is. */
static void reply_pieces(struct req *r)
{
    struct fixture *f = fixture_of(r);
    int32_t n;
    MQ_ASSERT(slice_i32(req_command(r)->body, &n) == 0);
    struct iovec iov[3] = {{f->big, (size_t)n}, {f->big + n, (size_t)n}, {f->big + 2 * n, (size_t)n}};
    int before = f->releases;
    req_reply_iov(r, RESP_SUCCESS, "pieces", NULL, iov, 3, count_release, f);
    MQ_ASSERT(f->releases == before); /* later, never inside */
}

static void remember_conn(struct req *r)
{
    struct fixture *f = fixture_of(r);
    f->pushed = req_conn(r);
    conn_ref(f->pushed);
    f->has_pushed = true;
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void need_header(struct req *r)
{
    struct hdr_view_message h;
    if (req_header(r, &h) != 0)
        return;
    req_replyf(r, RESP_SUCCESS, "offset %lld", (long long)h.offset);
}

static const struct route routes[] = {
    {CODE_ECHO, echo, ROUTE_CLIENT},          {CODE_PARK, keep, ROUTE_READ},
    {CODE_OWN, keep_owned, ROUTE_READ},       {CODE_DROP, keep_dropped, ROUTE_READ},
    {CODE_BIG, reply_big, ROUTE_READ},        {CODE_PIECES, reply_pieces, ROUTE_READ},
    {CODE_PUSH, remember_conn, ROUTE_CLIENT}, {RC_VIEW_MESSAGE_BY_ID, need_header, ROUTE_ADMIN},
};

/* --- set-up --- */

static void discard_parked_of(struct server *s, struct conn *c)
{
    struct fixture *f = server_owner(s);
    uv_mutex_lock(&f->lock);
    int kept = 0;
    for (int i = 0; i < f->parked_n; i++) {
        if (req_conn(f->parked[i]) == c)
            req_discard(f->parked[i]);
        else
            f->parked[kept++] = f->parked[i];
    }
    f->parked_n = kept;
    uv_mutex_unlock(&f->lock);
    f->rig.closed++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_mutex_init(&f->lock), 0);
    for (size_t i = 0; i < sizeof f->big; i++)
        f->big[i] = (char)('a' + i % 26);
    rig_start_loops(&f->rig, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->pushed != NULL)
        conn_unref(f->pushed);
    rig_stop(&f->rig);
    uv_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static struct server_opts opts(struct fixture *f)
{
    struct server_opts o = rig_opts(&f->rig, routes, sizeof routes / sizeof *routes);
    o.on_close = discard_parked_of;
    return o;
}

static int serve_and_connect(struct fixture *f, const struct server_opts *o)
{
    rig_open(&f->rig, o);
    return peer_connect(server_port(f->rig.server));
}

static void answer_posted(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_slice_add(&body, req_command(r)->body);
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

/* Answers what is parked, last first when `backwards`. */
static void release_parked(struct fixture *f, bool backwards)
{
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->parked_n; i++)
        req_post(f->parked[backwards ? f->parked_n - 1 - i : i], answer_posted);
    f->parked_n = 0;
    uv_mutex_unlock(&f->lock);
}

struct count {
    struct fixture *f;
    int n;
};

static bool has_served(void *arg)
{
    struct count *c = arg;
    return c->f->served >= c->n;
}

static void await_served(struct fixture *f, int n)
{
    struct count c = {f, n};
    if (!wait_until(has_served, &c, DEADLINE_MS))
        fail_msg("%d requests served, %d expected", (int)f->served, n);
}

static void await_empty(struct fixture *f)
{
    if (!wait_until(server_is_empty, f->rig.server, DEADLINE_MS)) {
        struct server_stats st;
        server_stats_get(f->rig.server, &st);
        fail_msg("%llu connections are still open", (unsigned long long)st.open);
    }
}

static void request_with_body(int fd, int32_t code, int32_t opaque, const char *body)
{
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, code, opaque, 0, slice_str(body));
    peer_send(fd, buf_slice(&b));
    buf_free(&b);
}

static void expect_remark(int fd, int32_t code, const char *remark)
{
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.code, code);
    assert_slice_equal(a.command.remark, remark);
    answer_free(&a);
}

/* --- requests and answers --- */

static void thousands_of_pipelined_requests_are_all_answered_in_order(void **state)
{
    enum { N = 20000 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < N; i++)
        put_request(&b, CODE_ECHO, i, 0, SLICE_LIT("x"));
    peer_send(fd, buf_slice(&b));
    for (int i = 0; i < N; i++)
        expect_answer(fd, i, RESP_SUCCESS);
    assert_int_equal(f->served, N);
    struct server_stats st;
    server_stats_get(f->rig.server, &st);
    assert_int_equal(st.requests, N);
    assert_int_equal(st.bytes_in, b.n);
    buf_free(&b);
    close(fd);
}

static void answers_leave_in_the_order_in_which_handlers_finish(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 10; i++)
        peer_request(fd, CODE_PARK, i);
    peer_request(fd, CODE_ECHO, 100);
    expect_answer(fd, 100, RESP_SUCCESS);
    release_parked(f, true);
    for (int i = 9; i >= 0; i--)
        expect_answer(fd, i, RESP_SUCCESS);
    close(fd);
}

static void a_oneway_request_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, CODE_ECHO, 1, COMMAND_FLAG_ONEWAY, SLICE_LIT("x"));
    put_request(&b, CODE_PIECES, 2, COMMAND_FLAG_ONEWAY, SLICE_LIT("20000"));
    put_request(&b, 7777, 3, COMMAND_FLAG_ONEWAY, SLICE_NULL); /* not even an error */
    put_request(&b, CODE_ECHO, 4, 0, SLICE_LIT("y"));
    peer_send(fd, buf_slice(&b));
    expect_answer(fd, 4, RESP_SUCCESS);
    assert_int_equal(f->served, 2);
    assert_int_equal(f->releases, 1);
    buf_free(&b);
    close(fd);
}

static void an_unknown_code_is_answered_not_supported(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    peer_request(fd, 7777, 5);
    expect_remark(fd, RESP_REQUEST_CODE_NOT_SUPPORTED, " request type 7777 not supported");
    peer_request(fd, -3, 6);
    expect_remark(fd, RESP_REQUEST_CODE_NOT_SUPPORTED, " request type -3 not supported");
    close(fd);
}

static void a_binary_request_gets_a_binary_answer(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct command_out c = {.code = CODE_ECHO, .opaque = 77, .type = COMMAND_ROCKETMQ};
    struct buf b;
    struct err e = {0};
    buf_init(&b, 0);
    assert_ok(command_encode(&b, &c, 3, &e), &e);
    buf_str(&b, "abc");
    peer_send(fd, buf_slice(&b));
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.frame.type, COMMAND_ROCKETMQ);
    assert_int_equal(a.command.opaque, 77);
    assert_slice_equal(a.command.body, "abc");
    answer_free(&a);
    buf_free(&b);
    close(fd);
}

static void a_missing_header_field_is_answered_with_its_name(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    peer_request(fd, RC_VIEW_MESSAGE_BY_ID, 5);
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.code, RESP_SYSTEM_ERROR);
    char remark[256];
    assert_int_equal(slice_copy(a.command.remark, remark, sizeof remark), 0);
    assert_contains(remark, "offset");
    answer_free(&a);
    peer_request(fd, CODE_ECHO, 6); /* the connection goes on */
    expect_answer(fd, 6, RESP_SUCCESS);
    close(fd);
}

static void an_answer_to_nothing_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, CODE_ECHO, 1, COMMAND_FLAG_RESPONSE, SLICE_NULL);
    put_request(&b, CODE_ECHO, 2, 0, SLICE_NULL);
    peer_send(fd, buf_slice(&b));
    expect_answer(fd, 2, RESP_SUCCESS);
    buf_free(&b);
    close(fd);
}

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

static void an_input_that_was_owned_survives_the_block_it_came_in(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    char body[32];
    for (int i = 0; i < 200; i++) {
        snprintf(body, sizeof body, "kept %d", i);
        request_with_body(fd, i % 2 == 0 ? CODE_OWN : CODE_PARK, i, body);
    }
    for (int i = 0; i < 2000; i++) /* more than a block of other bytes */
        request_with_body(fd, CODE_ECHO, 1000 + i, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    for (int i = 0; i < 2000; i++)
        expect_answer(fd, 1000 + i, RESP_SUCCESS);
    release_parked(f, false);
    for (int i = 0; i < 200; i++) {
        struct answer a;
        peer_answer(fd, &a);
        snprintf(body, sizeof body, "kept %d", i);
        assert_int_equal(a.command.opaque, i);
        assert_slice_equal(a.command.body, body);
        answer_free(&a);
    }
    close(fd);
}

static void a_dropped_input_can_still_be_answered(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    request_with_body(fd, CODE_DROP, 9, "gone");
    await_served(f, 1);
    release_parked(f, false);
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.opaque, 9);
    assert_int_equal(a.command.body.n, 0);
    answer_free(&a);
    close(fd);
}

static void a_body_of_pieces_is_sent_whole_and_released_once(void **state)
{
    static const char *const sizes[] = {"0", "1", "100", "2000", "20000"};
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 5; i++) {
        request_with_body(fd, CODE_PIECES, i, sizes[i]);
        struct answer a;
        peer_answer(fd, &a);
        int32_t n;
        assert_int_equal(slice_i32(slice_str(sizes[i]), &n), 0);
        assert_int_equal(a.command.body.n, 3 * n);
        assert_memory_equal(a.command.body.p, f->big, (size_t)(3 * n));
        assert_slice_equal(a.command.remark, "pieces");
        answer_free(&a);
    }
    close(fd);
    await_empty(f);
    assert_int_equal(f->releases, 5);
}

/* --- bad peers --- */

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

/* Requests without end, until the server no longer takes them; never reads. */
static void flood(int fd, int32_t code)
{
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < 200; i++)
        put_request(&b, code, i, 0, SLICE_NULL);
    size_t at = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 500) == 0 || (p.revents & (POLLHUP | POLLERR)) != 0)
            break; /* back-pressure has reached us, or the end */
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            break;
        at = (at + (size_t)n) % b.n;
    }
    buf_free(&b);
}

static void a_peer_that_never_reads_is_held_back_and_then_closed(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.output_high = 256 * 1024;
    o.write_stall_ms = 300;
    rig_open(&f->rig, &o);
    int canary = peer_connect(server_port(f->rig.server));
    int fd = peer_connect(server_port(f->rig.server));
    flood(fd, CODE_BIG);
    /* What the kernel takes is a few MiB each way; the rest is bounded by output_high. */
    assert_in_range(f->served, 1, (256 * 1024 + 16 * 1024 * 1024) / BIG_BODY);
    peer_request(canary, CODE_ECHO, 1);
    expect_answer(canary, 1, RESP_SUCCESS);
    expect_closed(fd);
    close(fd);
    close(canary);
    await_empty(f);
    assert_int_equal(f->releases, f->served - 1); /* every big body was let go */
}

static void output_beyond_the_limit_closes_at_once(void **state)
{
    enum { N = 300 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.output_high = 64 * 1024;
    o.output_max = 8 * 1024 * 1024;
    int fd = serve_and_connect(f, &o);
    struct buf b;
    char *body = malloc(BIG_BODY);
    memset(body, 'x', BIG_BODY);
    buf_init(&b, 0);
    for (int i = 0; i < N; i++)
        put_request(&b, CODE_OWN, i, 0, slice_of(body, BIG_BODY));
    peer_send(fd, buf_slice(&b));
    await_served(f, N);
    release_parked(f, false); /* 19 MiB of answers for a peer that does not read */
    expect_closed(fd);
    close(fd);
    free(body);
    buf_free(&b);
    await_empty(f);
}

/* --- bounds --- */

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

static void connections_beyond_the_limit_are_closed(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.conn_max = 3;
    rig_open(&f->rig, &o);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = peer_connect(server_port(f->rig.server));
        peer_request(fds[i], CODE_ECHO, i);
        expect_answer(fds[i], i, RESP_SUCCESS);
    }
    int fd = peer_connect(server_port(f->rig.server));
    expect_closed(fd);
    close(fd);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    await_empty(f);
    fd = peer_connect(server_port(f->rig.server)); /* there is room again */
    peer_request(fd, CODE_ECHO, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    close(fd);
    struct server_stats st;
    server_stats_get(f->rig.server, &st);
    assert_int_equal(st.refused, 1);
    assert_int_equal(st.accepted, 4);
}

static void connections_of_one_address_beyond_its_limit_are_closed(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.conn_per_ip_max = 1;
    rig_open(&f->rig, &o);
    for (int round = 0; round < 3; round++) {
        int first = peer_connect(server_port(f->rig.server));
        peer_request(first, CODE_ECHO, 1);
        expect_answer(first, 1, RESP_SUCCESS);
        int second = peer_connect(server_port(f->rig.server));
        expect_closed(second);
        close(second);
        close(first);
        await_empty(f);
    }
}

static void running_out_of_descriptors_refuses_callers_and_recovers(void **state)
{
    enum { CALLERS = 20 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int canary = serve_and_connect(f, &o);
    peer_request(canary, CODE_ECHO, 1);
    expect_answer(canary, 1, RESP_SUCCESS);
    int fds[CALLERS];
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server_port(f->rig.server))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < CALLERS; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit saved, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    tight = saved;
    tight.rlim_cur = (rlim_t)fds[CALLERS - 1] + 1; /* the callers have theirs, the server gets none */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof sa), 0);
        expect_closed(fds[i]);
    }
    peer_request(canary, CODE_ECHO, 2);
    expect_answer(canary, 2, RESP_SUCCESS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    for (int i = 0; i < CALLERS; i++)
        close(fds[i]);
    int fd = peer_connect(server_port(f->rig.server));
    peer_request(fd, CODE_ECHO, 3);
    expect_answer(fd, 3, RESP_SUCCESS);
    struct server_stats st;
    server_stats_get(f->rig.server, &st);
    assert_int_equal(st.refused, CALLERS);
    close(fd);
    close(canary);
}

/* --- the end of connections and servers --- */

static void a_connection_may_close_with_requests_in_flight(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.on_close = rig_on_close; /* what is parked stays parked */
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 20; i++)
        request_with_body(fd, i % 2 == 0 ? CODE_PARK : CODE_OWN, i, "late");
    await_served(f, 20);
    close(fd);
    await_empty(f);
    assert_int_equal(f->rig.closed, 1);
    release_parked(f, false); /* answers to nobody are freed silently */
    server_close(f->rig.server);
    f->rig.server = NULL;
}

static void a_server_closes_with_open_connections_and_parked_requests(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    rig_open(&f->rig, &o);
    int fds[10];
    for (int i = 0; i < 10; i++) {
        fds[i] = peer_connect(server_port(f->rig.server));
        peer_request(fds[i], i % 2 == 0 ? CODE_PARK : CODE_ECHO, i);
    }
    await_served(f, 10);
    server_close(f->rig.server);
    f->rig.server = NULL;
    assert_int_equal(f->rig.opened, 10);
    assert_int_equal(f->rig.closed, 10);
    for (int i = 0; i < 10; i++) {
        expect_closed(fds[i]);
        close(fds[i]);
    }
}

static void a_server_closes_right_after_callers_came(void **state)
{
    for (int round = 0; round < 20; round++) {
        struct fixture *f = *state;
        struct server_opts o = opts(f);
        rig_open(&f->rig, &o);
        int fds[5];
        for (int i = 0; i < 5; i++)
            fds[i] = peer_connect(server_port(f->rig.server));
        server_close(f->rig.server);
        f->rig.server = NULL;
        for (int i = 0; i < 5; i++)
            close(fds[i]);
    }
}

static void a_draining_server_sends_new_clients_away_and_serves_old_ones(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    static const char old[] = "{\"code\":9001,\"flag\":0,\"language\":\"JAVA\",\"opaque\":4,\"version\":475}";
    struct buf b;
    buf_init(&b, 0);
    peer_request(fd, CODE_ECHO, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    server_drain(f->rig.server);
    peer_request(fd, CODE_ECHO, 2);
    expect_answer(fd, 2, RESP_GO_AWAY);
    buf_be32(&b, 4 + sizeof old - 1);
    buf_be32(&b, sizeof old - 1);
    buf_str(&b, old);
    peer_send(fd, buf_slice(&b));
    expect_answer(fd, 4, RESP_SUCCESS);
    buf_free(&b);
    close(fd);
}

static void the_same_port_cannot_be_served_twice(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    rig_open(&f->rig, &o);
    o.port = server_port(f->rig.server);
    struct server *second = NULL;
    struct err e = {0};
    assert_code(server_open(&second, &o, &e), E_EXISTS, &e);
    char port[16];
    snprintf(port, sizeof port, "%d", o.port);
    assert_contains(e.text, port);
    assert_contains(e.text, "in use");
}

static void a_bad_bind_address_is_refused_with_its_text(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    struct server *s = NULL;
    struct err e = {0};
    o.bind_address = "localhost";
    assert_code(server_open(&s, &o, &e), E_INVAL, &e);
    assert_contains(e.text, "localhost");
    o.bind_address = "192.0.2.1";
    assert_code(server_open(&s, &o, &e), E_INVAL, &e);
    assert_contains(e.text, "192.0.2.1");
    o.bind_address = "127.0.0.1";
    o.port = 65536;
    assert_code(server_open(&s, &o, &e), E_INVAL, &e);
}

static void an_ipv6_wildcard_serves_ipv4_callers_too(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.bind_address = "::";
    struct err e = {0};
    int rc = server_open(&f->rig.server, &o, &e);
    if (rc != 0 && e.sys_errno == EAFNOSUPPORT)
        skip(); /* a machine without IPv6 */
    assert_ok(rc, &e);
    int fd = peer_connect(server_port(f->rig.server));
    peer_request(fd, CODE_PUSH, 1);
    expect_answer(fd, 1, RESP_SUCCESS);
    assert_int_equal(conn_peer(f->pushed)->len, 4);
    assert_int_equal(strncmp(conn_peer_text(f->pushed), "127.0.0.1:", 10), 0);
    close(fd);
}

/* --- pushes and connections seen from other threads --- */

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

static void connections_are_dealt_to_all_loops(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    rig_open(&f->rig, &o);
    int seen[2] = {0};
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = peer_connect(server_port(f->rig.server));
        peer_request(fds[i], CODE_PARK, i);
        await_served(f, i + 1);
        seen[conn_loop(req_conn(f->parked[i]))->index]++;
    }
    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 2);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(thousands_of_pipelined_requests_are_all_answered_in_order),
        TEST(answers_leave_in_the_order_in_which_handlers_finish),
        TEST(a_oneway_request_writes_nothing),
        TEST(an_unknown_code_is_answered_not_supported),
        TEST(a_binary_request_gets_a_binary_answer),
        TEST(a_missing_header_field_is_answered_with_its_name),
        TEST(an_answer_to_nothing_is_dropped),
        TEST(a_stream_cut_anywhere_gives_the_same_answers),
        TEST(an_input_that_was_owned_survives_the_block_it_came_in),
        TEST(a_dropped_input_can_still_be_answered),
        TEST(a_body_of_pieces_is_sent_whole_and_released_once),
        TEST(garbage_closes_the_connection_and_nothing_else),
        TEST(random_damage_never_disturbs_other_connections),
        TEST(a_silent_connection_is_closed_after_the_first_request_limit),
        TEST(an_unfinished_frame_is_closed_after_the_limit),
        TEST(an_idle_connection_is_closed_but_not_one_that_waits_for_an_answer),
        TEST(a_peer_that_never_reads_is_held_back_and_then_closed),
        TEST(output_beyond_the_limit_closes_at_once),
        TEST(no_more_than_the_limit_is_in_flight_and_all_are_served_in_the_end),
        TEST(connections_beyond_the_limit_are_closed),
        TEST(connections_of_one_address_beyond_its_limit_are_closed),
        TEST(running_out_of_descriptors_refuses_callers_and_recovers),
        TEST(a_connection_may_close_with_requests_in_flight),
        TEST(a_server_closes_with_open_connections_and_parked_requests),
        TEST(a_server_closes_right_after_callers_came),
        TEST(a_draining_server_sends_new_clients_away_and_serves_old_ones),
        TEST(the_same_port_cannot_be_served_twice),
        TEST(a_bad_bind_address_is_refused_with_its_text),
        TEST(an_ipv6_wildcard_serves_ipv4_callers_too),
        TEST(a_push_from_another_thread_reaches_the_peer),
        TEST(pushes_to_a_peer_that_does_not_read_are_refused_in_the_end),
        TEST(conn_close_sends_what_was_said_before),
        TEST(connections_are_dealt_to_all_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
