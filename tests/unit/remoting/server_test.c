#include "base/failpoint.h"
#include "tests/unit/remoting/echo_server.h"

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

static void a_failpoint_loses_the_answer_and_not_the_request(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct err e = {0};
    assert_ok(failpoint_arm(SLICE_LIT("broker.reply=error*1"), &e), &e);
    peer_request(fd, CODE_ECHO, 1);
    peer_request(fd, CODE_ECHO, 2);
    expect_answer(fd, 2, RESP_SUCCESS);
    assert_int_equal(f->served, 2);
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

static void connections_are_dealt_to_all_loops(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    rig_open(&f->rig, &o);
    int seen[2] = {0};
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = peer_connect(server_port(f->rig.server));
        peer_request(fds[i], CODE_PUSH, i);
        expect_answer(fds[i], i, RESP_SUCCESS);
        seen[conn_loop(f->pushed)->index]++;
        conn_unref(f->pushed);
        f->pushed = NULL;
    }
    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 2);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void an_overloaded_server_refuses_reads_before_clients(void **state)
{
    enum { READS = 18 }; /* 32 for two loops is 16 for one; reads get an eighth more */
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.inflight_total = 32;
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < READS; i++)
        peer_request(fd, CODE_PARK, i);
    await_served(f, READS);
    peer_request(fd, CODE_PARK, 100);
    expect_remark(fd, RESP_SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while");
    peer_request(fd, CODE_ECHO, 101);
    expect_answer(fd, 101, RESP_SUCCESS);
    release_parked(f, false);
    for (int i = 0; i < READS; i++)
        expect_answer(fd, i, RESP_SUCCESS);
    peer_request(fd, CODE_PARK, 102); /* room again */
    await_served(f, READS + 2);
    release_parked(f, false);
    expect_answer(fd, 102, RESP_SUCCESS);
    close(fd);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(thousands_of_pipelined_requests_are_all_answered_in_order),
        TEST(a_failpoint_loses_the_answer_and_not_the_request),
        TEST(an_unknown_code_is_answered_not_supported),
        TEST(a_binary_request_gets_a_binary_answer),
        TEST(an_answer_to_nothing_is_dropped),
        TEST(a_server_closes_with_open_connections_and_parked_requests),
        TEST(a_server_closes_right_after_callers_came),
        TEST(a_draining_server_sends_new_clients_away_and_serves_old_ones),
        TEST(connections_are_dealt_to_all_loops),
        TEST(an_overloaded_server_refuses_reads_before_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
