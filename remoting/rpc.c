/* The client side of remoting: calls, their answers, their deadlines.
 *
 * Owns: the table of unanswered calls, one timer for all deadlines, the io with the connections.
 * Runs on: its loop, all of it.
 *
 * Happy path: rpc_call finds or dials the peer, takes a slot, encodes the frame straight into the
 * connection's output (or the backlog of a peer that is still connecting); on_frame decodes an answer
 * where it was received and finds its call by the slot number in the opaque.
 *
 * Failure modes: the deadline passes (E_TIMEOUT; the connection stays, a late answer matches nothing);
 * the peer cannot be reached or is lost (rpc_peer.c); an answer that is no command costs the connection.
 *
 * Invariants: 1. a call is in exactly one peer's list and in one slot until rpc_complete. 2. done runs
 * once, from a socket, timer or mail callback, never inside rpc_call. 3. an answer counts only on the
 * connection that its question left on: a peer cannot answer for another. */
#include "remoting/rpc.h"

#include <stdlib.h>

#include "remoting/rpc_priv.h"

/* --- slots --- */

static int grow_slots(struct rpc *r)
{
    size_t n = r->slots_n == 0 ? 64 : r->slots_n * 2;
    if (n > SLOTS_MAX)
        n = SLOTS_MAX;
    if (n == r->slots_n)
        return E_BUSY;
    struct slot *grown = realloc(r->slots, n * sizeof *grown);
    if (grown == NULL)
        return E_NOMEM;
    r->slots = grown;
    for (size_t i = n; i-- > r->slots_n;) {
        r->slots[i] = (struct slot){NULL, 0, r->slots_free};
        r->slots_free = (uint16_t)i;
    }
    r->slots_n = n;
    return 0;
}

static int take_slot(struct rpc *r, struct call *call)
{
    if (r->calls_n >= r->opts.inflight_max)
        return E_BUSY;
    int rc = r->slots_free == SLOT_NONE ? grow_slots(r) : 0;
    if (rc != 0)
        return rc;
    uint16_t i = r->slots_free;
    struct slot *s = &r->slots[i];
    r->slots_free = s->next_free;
    s->generation = (s->generation + 1) & GENERATION_MASK;
    s->call = call;
    call->opaque = (int32_t)((uint32_t)s->generation << 16 | i);
    r->calls_n++;
    return 0;
}

static void give_slot(struct rpc *r, const struct call *call)
{
    uint16_t i = (uint16_t)call->opaque;
    r->slots[i].call = NULL;
    r->slots[i].next_free = r->slots_free;
    r->slots_free = i;
    r->calls_n--;
}

static struct call *find_call(const struct rpc *r, const struct conn *c, int32_t opaque)
{
    uint16_t i = (uint16_t)opaque;
    struct call *call = i < r->slots_n ? r->slots[i].call : NULL;
    return call != NULL && call->opaque == opaque && call->peer->conn == c ? call : NULL;
}

/* --- deadlines --- */

static void on_timer(uv_timer_t *timer);

static void set_timer(struct rpc *r)
{
    const struct deadline *first = deadlines_first(&r->deadlines);
    if (first == NULL || r->closing)
        return;
    int64_t left_ms = first->at_ms - clock_mono(r->opts.clock);
    uv_timer_start(&r->timer, on_timer, left_ms < 1 ? 1 : (uint64_t)left_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct rpc *r = LIST_ENTRY(timer, struct rpc, timer);
    int64_t now_ms = clock_mono(r->opts.clock);
    for (struct deadline *d; (d = deadlines_first(&r->deadlines)) != NULL && d->at_ms <= now_ms;) {
        deadlines_remove(&r->deadlines, d);
        d->fire(d);
    }
    set_timer(r);
}

int rpc_arm(struct rpc *r, struct deadline *d, int64_t after_ms, void (*fire)(struct deadline *d))
{
    d->at_ms = clock_mono(r->opts.clock) + after_ms;
    d->fire = fire;
    int rc = deadlines_add(&r->deadlines, d);
    if (rc == 0 && deadlines_first(&r->deadlines) == d)
        set_timer(r);
    return rc;
}

/* --- calls --- */

static void forget(struct call *call)
{
    struct rpc *r = call->peer->rpc;
    list_remove(&call->link);
    deadlines_remove(&r->deadlines, &call->deadline);
    give_slot(r, call);
    if (call->peer->conn != NULL)
        call->peer->conn->inflight--;
}

void rpc_complete(struct call *call, const struct rpc_result *res)
{
    forget(call);
    call->done(call->arg, res);
    free(call);
}

static void on_call_timeout(struct deadline *d)
{
    struct call *call = LIST_ENTRY(d, struct call, deadline);
    struct rpc_result res = {.status = E_TIMEOUT, .address = call->peer->address};
    err_set(&res.error, E_TIMEOUT, "no answer from %s in time", call->peer->address);
    rpc_complete(call, &res);
}

static size_t body_size(const struct rpc_request *q)
{
    size_t n = 0;
    for (int i = 0; i < q->body_n; i++)
        n += q->body[i].iov_len;
    return n;
}

static int encode(struct buf *out, const struct rpc_request *q, int32_t opaque, int32_t flag, struct err *e)
{
    const struct code_row *row = q->hdr == NULL ? NULL : code_row_of(q->code);
    MQ_ASSERT(row != NULL || q->hdr == NULL);
    struct command_out cmd = {
        .code = q->code,
        .opaque = opaque,
        .flag = flag,
        .type = COMMAND_JSON,
        .remark = q->remark,
        .desc = row == NULL ? NULL : row->request,
        .names = row == NULL ? HDR_LONG : row->names,
        .hdr = q->hdr,
        .extra = q->extra,
        .extra_n = q->extra_n,
    };
    size_t before = out->n;
    int rc = command_encode(out, &cmd, body_size(q), e);
    for (int i = 0; rc == 0 && i < q->body_n; i++)
        buf_add(out, q->body[i].iov_base, q->body[i].iov_len);
    if (rc == 0 && buf_error(out) != 0)
        rc = err_set(e, buf_error(out), "request to be sent");
    if (rc != 0) {
        out->n = before;
        out->error = 0;
    }
    return rc;
}

/* Puts the frame where it leaves, or will. */
static int queue_request(struct peer *p, const struct rpc_request *q, int32_t opaque, int32_t flag,
                         struct err *e)
{
    if (p->state == PEER_GONE)
        return 0; /* the dial failed at once: the call fails with its reason, later */
    if (p->state != PEER_UP) {
        int rc = encode(&p->backlog, q, opaque, flag, e);
        if (rc == E_TOOBIG && p->backlog.n > 0)
            return err_set(e, E_BUSY, "too much waits for the connection to %s", p->address);
        return rc;
    }
    size_t queued = atomic_load_explicit(&p->conn->queued, memory_order_relaxed);
    if (queued > 0 && body_size(q) > p->rpc->io.limits.output_max - queued)
        return err_set(e, E_BUSY, "%s does not read: %zu bytes wait for it", p->address, queued);
    struct out *o = output_begin(p->conn, 0);
    if (o == NULL)
        return 0; /* the connection is closing: the call fails with that, later */
    size_t before = o->bytes.n;
    int rc = encode(&o->bytes, q, opaque, flag, e);
    if (rc == 0)
        output_end(p->conn, before, 0);
    return rc;
}

int rpc_call(struct rpc *r, const struct rpc_request *q, rpc_done done, void *arg, struct err *e)
{
    MQ_ASSERT(loop_is_current(r->opts.loop));
    if (r->closing)
        return err_set(e, E_SHUTDOWN, "shutting down");
    struct peer *p;
    int rc = peer_get(r, q->address, &p, e);
    if (rc != 0)
        return rc;
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return err_set(e, E_NOMEM, "call to %s", p->address);
    rc = take_slot(r, call);
    if (rc != 0) {
        free(call);
        return err_set(e, rc, "call to %s: %zu calls wait for answers", p->address, r->calls_n);
    }
    call->peer = p;
    call->done = done;
    call->arg = arg;
    rc = rpc_arm(r, &call->deadline, q->timeout_ms, on_call_timeout);
    if (rc != 0)
        err_set(e, rc, "call to %s", p->address);
    else
        rc = queue_request(p, q, call->opaque, 0, e);
    if (rc != 0) {
        deadlines_remove(&r->deadlines, &call->deadline);
        give_slot(r, call);
        free(call);
        return rc;
    }
    list_push_back(&p->calls, &call->link);
    if (p->conn != NULL)
        p->conn->inflight++;
    return 0;
}

int rpc_oneway(struct rpc *r, const struct rpc_request *q, struct err *e)
{
    MQ_ASSERT(loop_is_current(r->opts.loop));
    if (r->closing)
        return err_set(e, E_SHUTDOWN, "shutting down");
    struct peer *p;
    int rc = peer_get(r, q->address, &p, e);
    if (rc != 0)
        return rc;
    r->oneway_n = (r->oneway_n + 1) & GENERATION_MASK;
    int32_t opaque = (int32_t)((uint32_t)r->oneway_n << 16 | SLOT_NONE);
    return queue_request(p, q, opaque, COMMAND_FLAG_ONEWAY, e);
}

/* --- what comes in --- */

static void on_frame(struct conn *c, struct block *b, char *p, const struct frame *f)
{
    (void)b;
    struct rpc *r = LIST_ENTRY(c->io, struct rpc, io);
    struct peer *peer = c->context;
    if (peer == NULL)
        return;
    struct command cmd;
    struct err e = {0};
    int rc = command_decode(p + f->header_at, f->header_n, f->type, &cmd, &r->spill, &e);
    if (rc != 0) {
        stat_add(&r->io.stats.protocol_errors, 1);
        err_wrap(&e, rc, "answer of %s", peer->address);
        e.code = E_PROTO;
        LOGW("bad_answer", "side=%s peer=%s error=\"%s\"", r->io.name, peer->address, e.text);
        peer_fail(peer, &e);
        return;
    }
    cmd.body = slice_of(p + f->body_at, f->body_n);
    if (cmd.flag & COMMAND_FLAG_RESPONSE) {
        struct call *call = find_call(r, c, cmd.opaque);
        if (call == NULL)
            LOGD("answer_dropped", "side=%s peer=%s opaque=%d", r->io.name, peer->address, cmd.opaque);
        else
            rpc_complete(call, &(struct rpc_result){.response = &cmd, .address = peer->address});
    } else if (r->opts.on_push != NULL) {
        r->opts.on_push(r->opts.arg, &(struct rpc_push){&cmd, peer->address, c->id});
    }
    buf_free(&r->spill);
}

static const struct io_events rpc_events = {on_frame, peer_on_closed};

static struct conn *find_conn(const struct rpc *r, uint64_t id)
{
    LIST_FOREACH(it, &r->io.conns) {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        if (c->id == id)
            return c->connected && !conn_closing(c) ? c : NULL;
    }
    return NULL;
}

int rpc_push_reply(struct rpc *r, uint64_t conn_id, int32_t opaque, int32_t code, const char *remark,
                   struct slice body)
{
    struct conn *c = find_conn(r, conn_id);
    struct out *o = c == NULL ? NULL : output_begin(c, 0);
    if (o == NULL)
        return E_CLOSED;
    struct iovec iov = {(void *)(uintptr_t)body.p, body.n};
    struct rpc_request q = {.code = code, .remark = slice_str(remark), .body = &iov, .body_n = 1};
    size_t before = o->bytes.n;
    int rc = encode(&o->bytes, &q, opaque, COMMAND_FLAG_RESPONSE, NULL);
    if (rc == 0)
        output_end(c, before, 0);
    return rc;
}

void rpc_disconnect(struct rpc *r, struct slice address)
{
    struct peer *p = map_get(r->peers, address);
    if (p == NULL)
        return;
    struct err e = {0};
    err_set(&e, E_CLOSED, "the connection to %s was dropped", p->address);
    peer_fail(p, &e);
}

/* --- open and close --- */

static void set_defaults(struct rpc_opts *o)
{
    if (o->connect_timeout_ms == 0)
        o->connect_timeout_ms = 3000;
    if (o->idle_ms == 0)
        o->idle_ms = 120000;
    if (o->frame_max == 0)
        o->frame_max = FRAME_MAX;
    if (o->inflight_max == 0 || o->inflight_max > SLOTS_MAX)
        o->inflight_max = SLOTS_MAX;
    if (o->language == 0)
        o->language = LANGUAGE_CPP;
}

int rpc_open(struct rpc **out, const struct rpc_opts *opts, struct err *e)
{
    MQ_ASSERT(loop_is_current(opts->loop));
    struct rpc *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, E_NOMEM, "rpc");
    r->opts = *opts;
    set_defaults(&r->opts);
    if (r->opts.language != LANGUAGE_CPP) {
        free(r);
        return err_set(e, E_UNSUPP, "rpc: requests can only be sent as language CPP");
    }
    list_init(&r->gone);
    r->gone_mail.deliver = peer_bury_gone;
    r->slots_free = SLOT_NONE;
    buf_init(&r->spill, 0);
    r->peers = map_new();
    r->io.loop = opts->loop;
    r->io.clock = opts->clock;
    r->io.name = "rpc";
    r->io.events = &rpc_events;
    r->io.limits = (struct io_limits){
        .idle_ms = r->opts.idle_ms,
        .frame_ms = 30000,
        .write_stall_ms = 30000,
        .frame_max = r->opts.frame_max,
        .output_high = 4 * 1024 * 1024,
        .output_max = 64 * 1024 * 1024,
        .output_total = 512 * 1024 * 1024,
        .input_total = 1024 * 1024 * 1024,
        .inflight_max = INT32_MAX,
    };
    int rc = r->peers == NULL ? err_set(e, E_NOMEM, "rpc") : io_open(&r->io, e);
    if (rc != 0) {
        map_free(r->peers, NULL);
        free(r);
        return rc;
    }
    uv_timer_init(&opts->loop->uv, &r->timer);
    *out = r;
    return 0;
}

void rpc_maybe_closed(struct rpc *r)
{
    if (!r->timer_closed || !r->io_closed || r->peers_alive > 0)
        return;
    MQ_ASSERT(r->calls_n == 0 && !r->gone_posted);
    void (*closed)(void *arg) = r->closed;
    void *arg = r->closed_arg;
    map_free(r->peers, NULL);
    deadlines_fini(&r->deadlines);
    buf_free(&r->spill);
    free(r->slots);
    free(r);
    closed(arg);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct rpc *r = LIST_ENTRY(h, struct rpc, timer);
    r->timer_closed = true;
    rpc_maybe_closed(r);
}

static void on_io_closed(struct io *io)
{
    struct rpc *r = LIST_ENTRY(io, struct rpc, io);
    r->io_closed = true;
    rpc_maybe_closed(r);
}

void rpc_close(struct rpc *r, void (*done)(void *arg), void *arg)
{
    MQ_ASSERT(loop_is_current(r->opts.loop) && !r->closing);
    r->closing = true;
    r->closed = done;
    r->closed_arg = arg;
    struct err e = {0};
    err_set(&e, E_SHUTDOWN, "shutting down");
    for (struct map_iter it = {0}; map_next(r->peers, &it);)
        peer_fail(it.value, &e); /* removing the current entry is allowed */
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
    io_close(&r->io, on_io_closed);
}
