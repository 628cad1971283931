#include "tests/unit/remoting/echo_server.h"

#include <sys/resource.h>

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

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(connections_beyond_the_limit_are_closed),
        TEST(connections_of_one_address_beyond_its_limit_are_closed),
        TEST(running_out_of_descriptors_refuses_callers_and_recovers),
        TEST(the_same_port_cannot_be_served_twice),
        TEST(a_bad_bind_address_is_refused_with_its_text),
        TEST(an_ipv6_wildcard_serves_ipv4_callers_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
