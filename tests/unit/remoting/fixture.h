#pragma once
/* What the remoting tests share: loops with a server on them, and a peer that is a plain blocking
 * socket, so that it can misbehave in any way. */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/command.h"
#include "remoting/frame.h"
#include "remoting/server.h"
#include "tests/support/wait.h"

enum { LOOPS_MAX = 4, DEADLINE_MS = 20000 };

struct rig {
    struct loop loops[LOOPS_MAX];
    struct loop *list[LOOPS_MAX];
    int loop_n;
    struct server *server;
    _Atomic int opened, closed;
};

static inline void rig_on_open(struct server *s, struct conn *c)
{
    (void)c;
    struct rig *rig = server_owner(s);
    rig->opened++;
}

static inline void rig_on_close(struct server *s, struct conn *c)
{
    (void)c;
    struct rig *rig = server_owner(s);
    rig->closed++;
}

static inline void rig_start_loops(struct rig *rig, int loop_n)
{
    *rig = (struct rig){.loop_n = loop_n};
    for (int i = 0; i < loop_n; i++) {
        struct err e = {0};
        assert_ok(loop_start(&rig->loops[i], "test", i, &e), &e);
        rig->list[i] = &rig->loops[i];
    }
}

static inline struct server_opts rig_opts(struct rig *rig, const struct route *routes, size_t n)
{
    return (struct server_opts){
        .name = "test",
        .bind_address = "127.0.0.1",
        .loops = rig->list,
        .loop_n = rig->loop_n,
        .routes = routes,
        .route_n = n,
        .owner = rig,
        .clock = &clock_system,
        .on_open = rig_on_open,
        .on_close = rig_on_close,
    };
}

static inline void rig_open(struct rig *rig, const struct server_opts *o)
{
    struct err e = {0};
    assert_ok(server_open(&rig->server, o, &e), &e);
}

static inline void rig_stop(struct rig *rig)
{
    if (rig->server != NULL)
        server_close(rig->server);
    for (int i = 0; i < rig->loop_n; i++)
        loop_stop(&rig->loops[i]);
}

/* --- the peer --- */

static inline int peer_connect_buffer(int port, int receive_buffer)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (receive_buffer > 0)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer), 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static inline int peer_connect(int port)
{
    return peer_connect_buffer(port, 0);
}

/* For a peer that will not read: the kernel holds little for it, the server must. */
static inline int peer_connect_narrow(int port)
{
    return peer_connect_buffer(port, 4096);
}

static inline void peer_send(int fd, struct slice bytes)
{
    while (bytes.n > 0) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0)
            fail_msg("send: %s with %zu bytes left", strerror(errno), bytes.n);
        bytes = slice_of(bytes.p + n, bytes.n - (size_t)n);
    }
}

/* One request frame appended to out. */
static inline void put_request(struct buf *out, int32_t code, int32_t opaque, int32_t flag, struct slice body)
{
    struct command_out c = {.code = code, .opaque = opaque, .flag = flag, .type = COMMAND_JSON};
    struct err e = {0};
    assert_ok(command_encode(out, &c, body.n, &e), &e);
    buf_slice_add(out, body);
    assert_int_equal(buf_error(out), 0);
}

static inline void peer_request(int fd, int32_t code, int32_t opaque)
{
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, code, opaque, 0, SLICE_NULL);
    peer_send(fd, buf_slice(&b));
    buf_free(&b);
}

struct answer {
    struct command command;
    struct frame frame;
    struct buf bytes; /* the frame; command borrows from it */
};

static inline bool peer_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

/* Exactly n bytes; false when the connection ended. */
static inline bool peer_read(int fd, char *p, size_t n)
{
    while (n > 0) {
        if (!peer_readable(fd, DEADLINE_MS))
            fail_msg("no answer for %d ms, %zu bytes missing", DEADLINE_MS, n);
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static inline void peer_answer(int fd, struct answer *a)
{
    buf_init(&a->bytes, 0);
    char *p = buf_extend(&a->bytes, 4);
    assert_true(peer_read(fd, p, 4));
    size_t rest = be32_get(p);
    p = buf_extend(&a->bytes, rest);
    assert_true(peer_read(fd, p, rest));
    struct err e = {0};
    assert_ok(frame_next(a->bytes.p, a->bytes.n, FRAME_MAX, &a->frame, &e), &e);
    assert_ok(command_decode(a->bytes.p + a->frame.header_at, a->frame.header_n, a->frame.type, &a->command,
                             NULL, &e),
              &e);
    a->command.body = slice_of(a->bytes.p + a->frame.body_at, a->frame.body_n);
}

static inline void answer_free(struct answer *a)
{
    buf_free(&a->bytes);
}

/* The answer's code must be `code` and its opaque `opaque`. */
static inline void expect_answer(int fd, int32_t opaque, int32_t code)
{
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.opaque, opaque);
    assert_int_equal(a.command.code, code);
    assert_int_equal(a.command.flag, COMMAND_FLAG_RESPONSE);
    answer_free(&a);
}

/* The other side must close within the deadline; what it still says is read and dropped. */
static inline void expect_closed(int fd)
{
    char scrap[65536];
    for (;;) {
        if (!peer_readable(fd, DEADLINE_MS))
            fail_msg("the connection is still open after %d ms", DEADLINE_MS);
        if (recv(fd, scrap, sizeof scrap, 0) <= 0)
            return;
    }
}

static inline bool server_is_empty(void *server)
{
    struct server_stats st;
    server_stats_get(server, &st);
    return st.open == 0;
}
