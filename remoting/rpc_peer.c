/* The peers of an rpc: resolving, connecting, and how a peer and its calls end.
 *
 * Owns: struct peer. Runs on: the rpc's loop (name look-ups on libuv's pool, done on the loop).
 *
 *   RESOLVING --(resolved)--> CONNECTING --(connected)--> UP
 *       \                        |  ^ next address          |
 *        \--- failure ---------- +--/ --- failure --------- + ---> GONE ---(mail)---> freed
 *
 * A literal address starts at CONNECTING. Of a name with several addresses each is tried in turn, within
 * one connect timeout. Frames for a peer that is not up yet wait in its backlog.
 *
 * Whatever goes wrong ends in peer_fail: the peer leaves the map at once, so the next call dials anew;
 * its calls complete from a mail, never inside the call that failed, all with the same reason.
 *
 * Invariants: 1. a GONE peer has no connection; the connection that it had no longer knows it. 2. a peer
 * is freed after its calls are completed and its look-up has ended. */
#include "remoting/rpc_priv.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

static void try_next(struct peer *p);

/* --- end --- */

static void maybe_free(struct peer *p)
{
    if (p->resolving)
        return;
    struct rpc *r = p->rpc;
    uv_freeaddrinfo(p->found);
    buf_free(&p->backlog);
    free(p->address);
    free(p->host);
    free(p);
    r->peers_alive--;
    rpc_maybe_closed(r);
}

static void bury(struct peer *p)
{
    struct rpc *r = p->rpc;
    struct list calls;
    list_move_all(&p->calls, &calls);
    for (struct list *l; (l = list_pop_front(&calls)) != NULL;) {
        struct call *call = LIST_ENTRY(l, struct call, link);
        rpc_complete(call, &(struct rpc_result){p->error.code, NULL, p->address, p->error});
    }
    if (p->was_up && !r->closing && r->opts.on_disconnect != NULL)
        r->opts.on_disconnect(r->opts.arg, p->address);
    maybe_free(p);
}

void peer_bury_gone(struct mail *m)
{
    struct rpc *r = LIST_ENTRY(m, struct rpc, gone_mail);
    r->gone_posted = false;
    struct list gone;
    list_move_all(&r->gone, &gone);
    for (struct list *l; (l = list_pop_front(&gone)) != NULL;)
        bury(LIST_ENTRY(l, struct peer, link));
}

static void leave_conn(struct peer *p, enum log_level level, const char *why)
{
    struct conn *c = p->conn;
    if (c == NULL)
        return;
    p->conn = NULL;
    c->context = NULL;
    c->inflight = 0;
    conn_shut(c, level, why);
}

void peer_fail(struct peer *p, const struct err *why)
{
    struct rpc *r = p->rpc;
    if (p->state == PEER_GONE)
        return;
    p->state = PEER_GONE;
    p->error = *why;
    leave_conn(p, LOG_DEBUG, why->text);
    if (p->resolving)
        uv_cancel((uv_req_t *)&p->resolve); /* its callback comes either way */
    deadlines_remove(&r->deadlines, &p->connect_deadline);
    map_remove(r->peers, slice_str(p->address));
    list_push_back(&r->gone, &p->link);
    if (!r->gone_posted) {
        r->gone_posted = true;
        MQ_ASSERT(loop_post(r->opts.loop, &r->gone_mail) == 0); /* the loop outlives the rpc */
    }
}

static void fail_connect(struct peer *p, int code, const char *why)
{
    struct err e = {0};
    err_set(&e, code, "connect to %s: %s", p->address, why);
    LOGD("connect_failed", "side=%s peer=%s why=\"%s\"", p->rpc->io.name, p->address, why);
    peer_fail(p, &e);
}

void peer_on_closed(struct conn *c)
{
    struct peer *p = c->context;
    if (p == NULL)
        return;
    struct err e = {0};
    err_set(&e, E_CLOSED, "the connection to %s was closed", p->address);
    p->conn = NULL; /* libuv is done with it */
    c->context = NULL;
    c->inflight = 0;
    peer_fail(p, &e);
}

/* --- connect --- */

static void send_backlog(struct peer *p)
{
    if (p->backlog.n == 0)
        return;
    struct out *o = output_begin(p->conn, 1);
    if (o == NULL)
        return;
    size_t n, before = o->bytes.n;
    char *bytes = buf_take(&p->backlog, &n);
    out_piece(o, &(struct iovec){bytes, n}, free, bytes);
    output_end(p->conn, before, n);
}

static int calls_of(const struct peer *p)
{
    int n = 0;
    LIST_FOREACH(it, &p->calls)
        n++;
    return n;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *c = LIST_ENTRY(req, struct conn, connect);
    struct peer *p = c->context;
    if (p == NULL || conn_closing(c))
        return;
    if (status != 0) {
        err_sys(&p->error, -status, "connect"); /* kept for the case that no other address works */
        leave_conn(p, LOG_DEBUG, uv_strerror(status));
        try_next(p);
        return;
    }
    deadlines_remove(&p->rpc->deadlines, &p->connect_deadline);
    uv_tcp_nodelay(&c->tcp, 1);
    p->state = PEER_UP;
    p->was_up = true;
    send_backlog(p);
    conn_connected(c);
}

static int dial(struct peer *p, const struct sockaddr *sa)
{
    struct conn *c = conn_new(&p->rpc->io);
    if (c == NULL)
        return UV_ENOMEM;
    if (host_from_sockaddr(sa, &c->peer) == 0)
        host_text(&c->peer, c->peer_text);
    conn_open(c);
    c->context = p;
    c->inflight = calls_of(p);
    p->conn = c;
    int rc = uv_tcp_connect(&c->connect, &c->tcp, sa, on_connected);
    if (rc != 0)
        leave_conn(p, LOG_DEBUG, uv_strerror(rc));
    return rc;
}

/* Dials the next address; without one the peer fails with the last error. */
static void try_next(struct peer *p)
{
    p->state = PEER_CONNECTING;
    while (p->next != NULL) {
        const struct addrinfo *ai = p->next;
        p->next = ai->ai_next;
        int rc = dial(p, ai->ai_addr);
        if (rc == 0)
            return;
        err_sys(&p->error, -rc, "connect");
    }
    const char *why = p->error.sys_errno != 0 ? strerror(p->error.sys_errno) : "no usable address";
    fail_connect(p, E_CONNECT, why);
}

static void on_connect_timeout(struct deadline *d)
{
    struct peer *p = LIST_ENTRY(d, struct peer, connect_deadline);
    fail_connect(p, E_CONNECT, "timed out");
}

/* --- resolve --- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct peer *p = LIST_ENTRY(req, struct peer, resolve);
    p->resolving = false;
    p->found = p->next = found;
    if (p->state == PEER_GONE) {
        if (list_empty(&p->link)) /* buried already, waiting for this */
            maybe_free(p);
        return;
    }
    if (status != 0)
        fail_connect(p, E_CONNECT, uv_strerror(status));
    else
        try_next(p);
}

static int start_resolve(struct peer *p)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    int rc = uv_getaddrinfo(&p->rpc->opts.loop->uv, &p->resolve, on_resolved, p->host, p->port, &hints);
    p->resolving = rc == 0;
    return rc;
}

static void start(struct peer *p)
{
    struct sockaddr_storage sa;
    long port = strtol(p->port, NULL, 10);
    int rc;
    if (uv_ip4_addr(p->host, (int)port, (struct sockaddr_in *)&sa) == 0 ||
        uv_ip6_addr(p->host, (int)port, (struct sockaddr_in6 *)&sa) == 0) {
        p->state = PEER_CONNECTING;
        rc = dial(p, (const struct sockaddr *)&sa);
    } else {
        rc = start_resolve(p);
    }
    if (rc != 0)
        fail_connect(p, rc == UV_ENOMEM ? E_NOMEM : E_CONNECT, uv_strerror(rc));
}

/* --- a new peer --- */

/* "host:port", "[v6]:port". */
static int parse_address(struct slice address, struct slice *host, int32_t *port, struct err *e)
{
    const char *colon = address.n == 0 ? NULL : memrchr(address.p, ':', address.n);
    size_t host_n = colon == NULL ? 0 : (size_t)(colon - address.p);
    *host = slice_of(address.p, host_n);
    if (host_n > 0 && address.p[0] == '[') /* [v6] */
        *host = host_n > 2 && address.p[host_n - 1] == ']' ? slice_of(address.p + 1, host_n - 2) : SLICE_NULL;
    struct slice digits = slice_of(colon + 1, colon == NULL ? 0 : address.n - host_n - 1);
    if (host->n == 0 || host->n > 255 || slice_i32(digits, port) != 0 || *port < 1 || *port > 65535) {
        char quoted[96];
        return err_set(e, E_INVAL, "address %s: host:port expected, port 1 to 65535",
                       log_quote(address, quoted, sizeof quoted));
    }
    return 0;
}

static struct peer *peer_new(struct rpc *r, struct slice address, struct slice host, int32_t port)
{
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->rpc = r;
    list_init(&p->link);
    list_init(&p->calls);
    buf_init(&p->backlog, r->io.limits.output_max);
    p->address = slice_dup(address);
    p->host = slice_dup(host);
    snprintf(p->port, sizeof p->port, "%d", port);
    if (p->address != NULL && p->host != NULL && map_put(r->peers, address, p, NULL) == 0) {
        if (rpc_arm(r, &p->connect_deadline, r->opts.connect_timeout_ms, on_connect_timeout) == 0)
            return p;
        map_remove(r->peers, address);
    }
    free(p->address);
    free(p->host);
    free(p);
    return NULL;
}

int peer_get(struct rpc *r, struct slice address, struct peer **out, struct err *e)
{
    *out = map_get(r->peers, address);
    if (*out != NULL)
        return 0;
    struct slice host;
    int32_t port;
    int rc = parse_address(address, &host, &port, e);
    if (rc != 0)
        return rc;
    *out = peer_new(r, address, host, port);
    if (*out == NULL)
        return err_set(e, E_NOMEM, "connect to " SLICE_FMT, SLICE_ARG(address));
    r->peers_alive++;
    start(*out);
    return 0;
}
