/* A server: opening, closing, and the dispatch of requests to their handlers.
 *
 * Owns: the route table, one server_io per loop, the listener. Runs on: dispatch on each connection's
 * loop; server_open, server_close and server_drain on a thread outside the loops.
 *
 * Happy path of a request: conn.c cuts a frame; dispatch decodes its header in place, finds the route by
 * its code in one probe, and calls the handler with a request that holds the receive block.
 *
 *   not a command at all          the connection is closed
 *   an answer                     dropped: what we push expects none
 *   no route                      answered 3
 *   draining                      answered 1500 if the client is new enough to know it
 *   too many requests in flight   answered 2, writes first, administration last
 *
 * Close: stop accepting; on each loop close every connection; wait until the owner has answered or
 * discarded every request it holds (on_close tells it that the peer is gone); free. Connections that
 * were accepted but not adopted yet arrive on their loop before the close does, because mail is
 * delivered in order.
 *
 * Failure modes: server_open undoes itself. After it nothing here can fail as a whole. */
#include "remoting/server.h"

#include <stdlib.h>

#include "base/map.h"
#include "remoting/server_priv.h"

/* --- routes --- */

static uint32_t route_hash(int32_t code)
{
    return (uint32_t)code * 2654435761u >> 8;
}

static int build_routes(struct server *s, const struct route *routes, size_t n, struct err *e)
{
    size_t size = 16;
    while (size < 4 * n)
        size *= 2;
    s->routes = calloc(size, sizeof *s->routes);
    if (s->routes == NULL)
        return err_set(e, E_NOMEM, "route table");
    s->routes_mask = (uint32_t)size - 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = route_hash(routes[i].code) & s->routes_mask;
        while (s->routes[at].route != NULL) {
            MQ_ASSERT(s->routes[at].code != routes[i].code); /* one row per code */
            at = (at + 1) & s->routes_mask;
        }
        s->routes[at] = (struct route_slot){routes[i].code, &routes[i]};
    }
    return 0;
}

static const struct route *find_route(const struct server *s, int32_t code)
{
    for (uint32_t at = route_hash(code) & s->routes_mask; s->routes[at].route != NULL;
         at = (at + 1) & s->routes_mask)
        if (s->routes[at].code == code)
            return s->routes[at].route;
    return NULL;
}

/* --- dispatch --- */

/* Each class of requests is let in an eighth longer than the one before it. */
static bool overloaded(const struct server_io *sio, enum route_class class)
{
    return sio->inflight > sio->inflight_max + sio->inflight_max / 8 * (int)class;
}

static void serve(struct req *r)
{
    struct server_io *sio = r->sio;
    const struct command *c = &r->command;
    const struct route *route = find_route(sio->server, c->code);
    if (route == NULL) {
        LOGI("unknown_code", "side=%s peer=%s code=%d opaque=%d", sio->io.name, r->conn->peer_text,
             c->code, c->opaque);
        req_replyf(r, RESP_REQUEST_CODE_NOT_SUPPORTED, " request type %d not supported", c->code);
    } else if (c->version > MQ_VERSION_5_3_1 &&
               atomic_load_explicit(&sio->server->draining, memory_order_relaxed)) {
        req_reply(r, RESP_GO_AWAY, "the server is shutting down", NULL);
    } else if (overloaded(sio, route->class)) {
        LOGW("overloaded", "side=%s inflight=%d", sio->io.name, sio->inflight);
        req_reply(r, RESP_SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while", NULL);
    } else {
        route->handler(r);
    }
}

static void dispatch(struct conn *c, struct block *b, char *p, const struct frame *f)
{
    struct server_io *sio = LIST_ENTRY(c->io, struct server_io, io);
    struct req *r = req_new(sio, c);
    if (r == NULL) {
        conn_shut(c, LOG_ERROR, "out of memory for a request");
        return;
    }
    struct err e;
    int rc = command_decode(p + f->header_at, f->header_n, f->type, &r->command, &r->spill, &e);
    if (rc != 0) {
        stat_add(&sio->io.stats.protocol_errors, 1);
        conn_shut(c, LOG_WARN, e.text);
        req_discard(r);
        return;
    }
    if (r->command.flag & COMMAND_FLAG_RESPONSE) {
        LOGD("answer_dropped", "side=%s peer=%s opaque=%d", sio->io.name, c->peer_text, r->command.opaque);
        req_discard(r);
        return;
    }
    r->command.body = slice_of(p + f->body_at, f->body_n);
    r->block = block_ref(b);
    r->frame = p;
    r->frame_n = f->total;
    r->received_ms = c->active_ms;
    stat_add(&sio->io.stats.requests, 1);
    serve(r);
}

static void on_conn_closed(struct conn *c)
{
    struct server *s = LIST_ENTRY(c->io, struct server_io, io)->server;
    if (s->on_close != NULL && c->connected)
        s->on_close(s, c);
    per_ip_release(s, c);
    atomic_fetch_sub(&s->open, 1);
}

static const struct io_events server_events = {dispatch, on_conn_closed};

/* --- open --- */

static const size_t MIB = 1024 * 1024;

static size_t or_size(size_t v, size_t def) { return v == 0 ? def : v; }
static int64_t or_ms(int64_t v, int64_t def) { return v == 0 ? def : v; }
static int or_int(int v, int def) { return v == 0 ? def : v; }

static struct io_limits limits_of(const struct server_opts *o)
{
    int64_t first_frame_ms = or_ms(o->first_frame_ms, 30000);
    return (struct io_limits){
        .idle_ms = or_ms(o->idle_ms, 120000),
        .first_frame_ms = first_frame_ms,
        .frame_ms = first_frame_ms,
        .write_stall_ms = or_ms(o->write_stall_ms, 30000),
        .frame_max = or_size(o->frame_max, FRAME_MAX),
        .output_high = or_size(o->output_high, 4 * MIB),
        .output_max = or_size(o->output_max, 64 * MIB),
        .output_total = or_size(o->output_total, 512 * MIB) / (size_t)o->loop_n,
        .input_total = or_size(o->input_total, 1024 * MIB) / (size_t)o->loop_n,
        .inflight_max = or_int(o->inflight_max, 4096),
        .busy_poll_ns = (uint64_t)o->busy_poll_us * 1000,
    };
}

struct open_call {
    struct server_io *sio;
    int rc;
    struct err e;
};

static void open_on_loop(void *arg)
{
    struct open_call *oc = arg;
    oc->rc = io_open(&oc->sio->io, &oc->e);
}

static void on_io_closed(struct io *io)
{
    uv_sem_post(&LIST_ENTRY(io, struct server_io, io)->server->stopped);
}

static void close_on_loop(void *arg)
{
    struct server_io *sio = arg;
    io_close(&sio->io, on_io_closed);
}

static void listen_on_loop(void *arg)
{
    listener_start(arg);
}

static void unlisten_on_loop(void *arg)
{
    listener_stop(arg);
}

static int open_ios(struct server *s, const struct server_opts *o, struct err *e)
{
    for (int i = 0; i < o->loop_n; i++) {
        struct server_io *sio = &s->ios[i];
        sio->server = s;
        sio->inflight_max = or_int(o->inflight_total, 256 * 1024) / o->loop_n;
        sio->io.loop = o->loops[i];
        sio->io.clock = s->clock;
        sio->io.name = s->name;
        sio->io.events = &server_events;
        sio->io.limits = limits_of(o);
        sio->io.reader_id = o->whole_turns ? NULL : &s->reader_id;
        list_init(&sio->reqs_free);
        struct open_call oc = {.sio = sio};
        int rc = loop_call(o->loops[i], open_on_loop, &oc);
        if (rc != 0)
            return err_set(e, rc, "loop %s does not run", o->loops[i]->name);
        if (oc.rc != 0) {
            if (e != NULL)
                *e = oc.e;
            return oc.rc;
        }
        s->io_n++;
    }
    return 0;
}

static void stop_ios(struct server *s)
{
    for (int i = 0; i < s->io_n; i++)
        MQ_ASSERT(loop_call(s->ios[i].io.loop, close_on_loop, &s->ios[i]) == 0);
    for (int i = 0; i < s->io_n; i++)
        uv_sem_wait(&s->stopped);
}

static void server_free(struct server *s)
{
    for (int i = 0; i < s->io_n; i++)
        req_free_pool(&s->ios[i]);
    if (s->per_ip != NULL)
        map_free(s->per_ip, NULL);
    uv_mutex_destroy(&s->per_ip_lock);
    uv_sem_destroy(&s->stopped);
    free(s->routes);
    free(s->ios);
    free(s);
}

static struct server *server_new(const struct server_opts *o)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->name = o->name;
    s->owner = o->owner;
    s->clock = o->clock;
    s->on_open = o->on_open;
    s->on_close = o->on_close;
    s->conn_max = or_int(o->conn_max, 65536);
    s->conn_per_ip_max = o->conn_per_ip_max;
    s->accept_loop = o->loops[0];
    s->ios = calloc((size_t)o->loop_n, sizeof *s->ios);
    s->per_ip = o->conn_per_ip_max > 0 ? map_new() : NULL;
    MQ_ASSERT(uv_sem_init(&s->stopped, 0) == 0 && uv_mutex_init(&s->per_ip_lock) == 0);
    if (s->ios == NULL || (o->conn_per_ip_max > 0 && s->per_ip == NULL)) {
        server_free(s);
        return NULL;
    }
    return s;
}

int server_open(struct server **out, const struct server_opts *o, struct err *e)
{
    MQ_ASSERT(o->loop_n > 0);
    struct server *s = server_new(o);
    if (s == NULL)
        return err_set(e, E_NOMEM, "server %s", o->name);
    const char *address = o->bind_address == NULL ? "0.0.0.0" : o->bind_address;
    int rc = build_routes(s, o->routes, o->route_n, e);
    if (rc == 0)
        rc = listener_bind(s, address, o->port, or_int(o->backlog, 1024), e);
    if (rc != 0) {
        server_free(s);
        return rc;
    }
    rc = open_ios(s, o, e);
    if (rc != 0) {
        stop_ios(s);
        listener_unbind(s);
        server_free(s);
        return rc;
    }
    MQ_ASSERT(loop_call(s->accept_loop, listen_on_loop, s) == 0);
    *out = s;
    return 0;
}

/* --- afterwards --- */

int server_port(const struct server *s) { return s->port; }
void *server_owner(const struct server *s) { return s->owner; }

static void stop_accepting(struct server *s)
{
    if (s->accept_stopped)
        return;
    s->accept_stopped = true;
    MQ_ASSERT(loop_call(s->accept_loop, unlisten_on_loop, s) == 0);
    uv_sem_wait(&s->stopped);
}

void server_drain(struct server *s)
{
    atomic_store(&s->draining, true);
    stop_accepting(s);
}

void server_close(struct server *s)
{
    stop_accepting(s);
    stop_ios(s);
    server_free(s);
}

void server_stats_get(const struct server *s, struct server_stats *out)
{
    *out = (struct server_stats){.accepted = atomic_load(&s->accepted), .refused = atomic_load(&s->refused)};
    for (int i = 0; i < s->io_n; i++) {
        const struct io_stats *st = &s->ios[i].io.stats;
        out->closed += atomic_load_explicit(&st->closed, memory_order_relaxed);
        out->requests += atomic_load_explicit(&st->requests, memory_order_relaxed);
        out->bytes_in += atomic_load_explicit(&st->bytes_in, memory_order_relaxed);
        out->bytes_out += atomic_load_explicit(&st->bytes_out, memory_order_relaxed);
        out->protocol_errors += atomic_load_explicit(&st->protocol_errors, memory_order_relaxed);
    }
    out->open = (uint64_t)atomic_load(&s->open);
}
