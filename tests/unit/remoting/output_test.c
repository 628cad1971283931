#include "tests/unit/remoting/echo_server.h"

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
        if (poll(&p, 1, 200) == 0 || (p.revents & (POLLHUP | POLLERR)) != 0)
            break; /* back-pressure has reached us, or the end */
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            break;
        at = (at + (size_t)n) % b.n;
    }
    buf_free(&b);
}

static bool only_the_canary_is_left(void *server)
{
    struct server_stats st;
    server_stats_get(server, &st);
    return st.open == 1;
}

static void a_peer_that_never_reads_is_held_back_and_then_closed(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.output_high = 256 * 1024;
    o.write_stall_ms = 300;
    rig_open(&f->rig, &o);
    int canary = peer_connect(server_port(f->rig.server));
    int fd = peer_connect_narrow(server_port(f->rig.server));
    flood(fd, CODE_BIG);
    /* output_high, and what the kernel takes: a send buffer of 4 MiB at most. */
    assert_in_range(f->served, 1, (256 * 1024 + 8 * 1024 * 1024) / BIG_BODY);
    peer_request(canary, CODE_ECHO, 1);
    expect_answer(canary, 1, RESP_SUCCESS);
    assert_true(wait_until(only_the_canary_is_left, f->rig.server, DEADLINE_MS));
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
    rig_open(&f->rig, &o);
    int fd = peer_connect_narrow(server_port(f->rig.server));
    struct buf b;
    char *body = malloc(BIG_BODY);
    memset(body, 'x', BIG_BODY);
    buf_init(&b, 0);
    for (int i = 0; i < N; i++)
        put_request(&b, CODE_OWN, i, 0, slice_of(body, BIG_BODY));
    peer_send(fd, buf_slice(&b));
    await_served(f, N);
    release_parked(f, false); /* 19 MiB of answers for a peer that does not read */
    await_empty(f);
    close(fd);
    free(body);
    buf_free(&b);
    await_empty(f);
}

static void output_of_all_connections_together_is_bounded_too(void **state)
{
    enum { PEERS = 6 };
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.output_total = 512 * 1024; /* half of it for each of two loops */
    o.write_stall_ms = 60000;
    rig_open(&f->rig, &o);
    int canaries[2], fds[PEERS];
    for (int i = 0; i < 2; i++)
        canaries[i] = peer_connect(server_port(f->rig.server));
    for (int i = 0; i < PEERS; i++) {
        fds[i] = peer_connect_narrow(server_port(f->rig.server));
        flood(fds[i], CODE_BIG);
    }
    /* Alone, each could make the server hold output_high = 4 MiB, and 24 MiB together. */
    struct server_stats st;
    server_stats_get(f->rig.server, &st);
    int64_t held = (int64_t)f->served * BIG_BODY - (int64_t)st.bytes_out;
    assert_in_range(held, 1, 512 * 1024 + PEERS * 2 * BIG_BODY);
    for (int i = 0; i < 2; i++) {
        peer_request(canaries[i], CODE_ECHO, i);
        expect_answer(canaries[i], i, RESP_SUCCESS);
        close(canaries[i]);
    }
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_peer_that_never_reads_is_held_back_and_then_closed),
        TEST(output_beyond_the_limit_closes_at_once),
        TEST(output_of_all_connections_together_is_bounded_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
