/* The listening socket: new connections, and those that must not be.
 *
 * Owns: the listening descriptor, a spare descriptor, the count of connections per address.
 * Runs on: loops[0]; per_ip_release on any loop.
 *
 * Happy path: the poll handle says that somebody waits; up to ACCEPT_PER_TURN are accepted, each becomes
 * a connection of the next loop in turn and is posted there. The port is not shared (no SO_REUSEPORT):
 * two servers on one port must fail loudly, not split the clients between them.
 *
 * Failure modes:
 *   no descriptor left      the spare one is given up for a moment, the caller is accepted and closed
 *                           at once, so that it learns it now and the poll does not spin
 *   no kernel memory, or no spare either
 *                           accepting pauses for ACCEPT_PAUSE_MS
 *   too many connections    the newest is closed */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/map.h"
#include "remoting/server_priv.h"

enum { ACCEPT_PER_TURN = 64, ACCEPT_PAUSE_MS = 100 };

static void on_acceptable(uv_poll_t *poll, int status, int events);

/* --- bind --- */

static int parse_bind(const char *text, int port, struct sockaddr_storage *out, socklen_t *n, struct err *e)
{
    *out = (struct sockaddr_storage){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *n = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *n = sizeof *v6;
        return 0;
    }
    return err_set(e, E_INVAL, "bind address %s: an IPv4 or IPv6 address expected, as 0.0.0.0 or ::", text);
}

static int bind_error(const char *address, int port, struct err *e)
{
    int saved = errno;
    if (saved == EADDRINUSE) {
        int rc = err_set(e, E_EXISTS, "port %d of %s is in use by another process", port, address);
        if (e != NULL)
            e->sys_errno = saved;
        return rc;
    }
    if (saved == EADDRNOTAVAIL)
        return err_set(e, E_INVAL, "bind address %s: this machine has no such address", address);
    return err_sys(e, saved, "listen on %s:%d", address, port);
}

static int bound_port(int fd, int *port)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    struct host h;
    if (getsockname(fd, (struct sockaddr *)&sa, &n) != 0 ||
        host_from_sockaddr((const struct sockaddr *)&sa, &h) != 0)
        return E_IO;
    *port = h.port;
    return 0;
}

int listener_bind(struct server *s, const char *bind_address, int port, int backlog, struct err *e)
{
    struct sockaddr_storage sa;
    socklen_t sa_n = 0;
    if (port < 0 || port > 65535)
        return err_set(e, E_INVAL, "port %d: 0 to 65535 expected", port);
    int rc = parse_bind(bind_address, port, &sa, &sa_n, e);
    if (rc != 0)
        return rc;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, errno, "socket");
    int on = 1, off = 0;
    bool ready = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 (sa.ss_family != AF_INET6 ||
                  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
                 bind(fd, (const struct sockaddr *)&sa, sa_n) == 0 && listen(fd, backlog) == 0;
    if (!ready) {
        rc = bind_error(bind_address, port, e);
        close(fd);
        return rc;
    }
    if (bound_port(fd, &s->port) != 0) {
        close(fd);
        return err_set(e, E_IO, "listen on %s:%d: the socket has no address", bind_address, port);
    }
    s->listen_fd = fd;
    s->spare_fd = eventfd(0, EFD_CLOEXEC);
    return 0;
}

/* --- connections per address --- */

static struct slice address_key(const struct conn *c)
{
    return slice_of((const char *)c->peer.addr, c->peer.len);
}

static bool per_ip_take(struct server *s, const struct conn *c)
{
    if (s->per_ip == NULL)
        return true;
    uv_mutex_lock(&s->per_ip_lock);
    uintptr_t n = (uintptr_t)map_get(s->per_ip, address_key(c));
    bool ok = n < (uintptr_t)s->conn_per_ip_max &&
              map_put(s->per_ip, address_key(c), (void *)(n + 1), NULL) == 0;
    uv_mutex_unlock(&s->per_ip_lock);
    return ok;
}

void per_ip_release(struct server *s, const struct conn *c)
{
    if (s->per_ip == NULL)
        return;
    uv_mutex_lock(&s->per_ip_lock);
    uintptr_t n = (uintptr_t)map_get(s->per_ip, address_key(c));
    if (n <= 1)
        map_remove(s->per_ip, address_key(c));
    else if (map_put(s->per_ip, address_key(c), (void *)(n - 1), NULL) != 0)
        MQ_ASSERT(!"replacing a value allocates nothing");
    uv_mutex_unlock(&s->per_ip_lock);
}

/* --- accept --- */

static void adopt(struct mail *m)
{
    struct conn *c = LIST_ENTRY(m, struct conn, adopt);
    struct server *s = LIST_ENTRY(c->io, struct server_io, io)->server;
    conn_open(c);
    int rc = uv_tcp_open(&c->tcp, c->fd);
    if (rc != 0) {
        close(c->fd);
        conn_shut(c, LOG_WARN, uv_strerror(rc));
        return;
    }
    if (c->io->closing) {
        conn_shut(c, LOG_DEBUG, "shutting down");
        return;
    }
    if (s->on_open != NULL)
        s->on_open(s, c);
    conn_connected(c);
}

static void refuse(struct server *s, int fd, const char *peer, const char *why)
{
    close(fd);
    stat_add(&s->refused, 1);
    LOGW("connection_refused", "side=%s peer=%s why=\"%s\"", s->name, peer, why);
}

static void deal(struct server *s, int fd, const struct sockaddr *sa)
{
    struct server_io *sio = &s->ios[s->io_next];
    struct conn *c = conn_new(&sio->io);
    if (c == NULL) {
        refuse(s, fd, "?", "out of memory");
        return;
    }
    const char *why = NULL;
    if (host_from_sockaddr(sa, &c->peer) != 0)
        why = "unknown address family";
    else
        host_text(&c->peer, c->peer_text);
    if (why == NULL && atomic_load(&s->open) >= s->conn_max)
        why = "the limit of connections is reached";
    if (why == NULL && !per_ip_take(s, c))
        why = "the limit of connections from this address is reached";
    if (why != NULL) {
        refuse(s, fd, c->peer_text, why);
        conn_unref(c);
        return;
    }
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        LOGW("nodelay_failed", "side=%s peer=%s errno=%d", s->name, c->peer_text, errno);
    s->io_next = (s->io_next + 1) % s->io_n;
    atomic_fetch_add(&s->open, 1);
    stat_add(&s->accepted, 1);
    c->fd = fd;
    c->adopt.deliver = adopt;
    MQ_ASSERT(loop_post(sio->io.loop, &c->adopt) == 0); /* loops outlive their servers */
}

static void on_pause_over(uv_timer_t *timer)
{
    struct server *s = LIST_ENTRY(timer, struct server, accept_pause);
    if (s->spare_fd < 0)
        s->spare_fd = eventfd(0, EFD_CLOEXEC);
    uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
}

static void pause_accept(struct server *s, int why)
{
    LOGW("accept_paused", "side=%s pause_ms=%d why=\"%s\"", s->name, ACCEPT_PAUSE_MS, strerror(why));
    uv_poll_stop(&s->listener);
    uv_timer_start(&s->accept_pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

/* Out of descriptors: lets one caller in and out again. False when even that did not work. */
static bool shed_one(struct server *s)
{
    if (s->spare_fd < 0)
        return false;
    close(s->spare_fd);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        refuse(s, fd, "?", "no file descriptors left: raise the limit (ulimit -n)");
    s->spare_fd = eventfd(0, EFD_CLOEXEC);
    return fd >= 0 && s->spare_fd >= 0;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct server *s = LIST_ENTRY(poll, struct server, listener);
    if (status < 0) {
        pause_accept(s, -status);
        return;
    }
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t n = sizeof sa;
        int fd = accept4(s->listen_fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            deal(s, fd, (const struct sockaddr *)&sa);
            continue;
        }
        int why = errno;
        if (why == EAGAIN || why == EWOULDBLOCK)
            return;
        bool fatal = why == ENOBUFS || why == ENOMEM || why == EBADF || why == EINVAL;
        bool full = why == EMFILE || why == ENFILE;
        if (fatal || (full && !shed_one(s))) {
            pause_accept(s, why);
            return;
        }
        /* anything else is an error of that one connection (accept(2)): the next one, please */
    }
}

void listener_start(struct server *s)
{
    uv_timer_init(&s->accept_loop->uv, &s->accept_pause);
    int rc = uv_poll_init(&s->accept_loop->uv, &s->listener, s->listen_fd);
    MQ_ASSERT(rc == 0); /* a socket can be polled */
    uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
    s->accept_handles = 2;
}

void listener_unbind(struct server *s)
{
    close(s->listen_fd);
    if (s->spare_fd >= 0)
        close(s->spare_fd);
}

static void accept_handle_closed(struct server *s)
{
    if (--s->accept_handles > 0)
        return;
    listener_unbind(s);
    uv_sem_post(&s->stopped);
}

static void on_listener_closed(uv_handle_t *h)
{
    accept_handle_closed(LIST_ENTRY(h, struct server, listener));
}

static void on_pause_closed(uv_handle_t *h)
{
    accept_handle_closed(LIST_ENTRY(h, struct server, accept_pause));
}

void listener_stop(struct server *s)
{
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    uv_close((uv_handle_t *)&s->accept_pause, on_pause_closed);
}
