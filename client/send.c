/* Sending.
 *
 *   send_start -> attempt -> [route known] pick -> ask -> on_answer -> finish
 *                    ^  \-> [unknown] wait for the route, of the topic, else of TBW102 -/
 *                    |________ retry: another queue, another broker when there is one
 *
 * Which failures are tried again (source: DefaultMQProducer.retryResponseCodes, 5.5.0): codes 1, 2,
 * 14, 16, 17, 204, 205, 1500, and transport errors. All attempts share one deadline; each may use
 * what is left of it. A send by key has one queue and one attempt.
 *
 * Honesty about the outcome. An answered refusal or a refused connection stored nothing. A timeout
 * or a lost connection may have: `uncertain` remembers it over later attempts, and a send that ends
 * without success after one of those reports HP_E_TIMEOUT or HP_E_UNKNOWN, whatever the last
 * attempt met.
 *
 * A retry that can only go to the same broker pauses first (50 ms, doubling): a broker that
 * restarts or is overloaded gains nothing from three attempts within a millisecond.
 *
 * Topics without a route go to the brokers that have TBW102, which create them (at most 4 queues).
 *
 * Runs on: the loop. `done` is the application's only callback here, and the only one on this
 * thread. */
#include "client/send.h"

#include <stdio.h>

#include "proto/names.h"

enum { TEMPLATE_QUEUES = 4, MISSING_FRESH_MS = 1000, PAUSE_MS = 50 };

static void attempt(struct send_op *op);

void sender_init(struct sender *s, struct hp_client *c, const char *group)
{
    *s = (struct sender){.c = c, .group = group};
    list_init(&s->ops);
    list_init(&s->calls);
}

static void finish(struct send_op *op)
{
    struct sender *s = op->s;
    list_remove(&op->link);
    list_remove(&op->waiter.link);
    timer_stop(&op->timer);
    outgoing_fini(&op->out);
    op->done(op);
    if (s->closing && list_empty(&s->ops) && s->on_idle)
        s->on_idle(s);
}

/* op->error is set; an uncertain earlier attempt outweighs its code. */
static void finish_failed(struct send_op *op)
{
    if (op->uncertain && op->error.code != HP_E_TIMEOUT && op->error.code != HP_E_UNKNOWN) {
        char last[sizeof op->error.text];
        memcpy(last, op->error.text, sizeof last);
        error_set(&op->error, op->uncertain,
                  "an earlier attempt may have stored the message; the last one: %.180s", last);
    }
    finish(op);
}

void sender_abort(struct sender *s)
{
    calls_cancel(&s->calls);
    while (!list_empty(&s->ops)) {
        struct send_op *op = LIST_ENTRY(s->ops.next, struct send_op, link);
        error_set(&op->error, HP_E_CLOSED, "shut down while the message was being sent");
        op->uncertain = op->attempts ? HP_E_UNKNOWN : 0;
        finish_failed(op);
    }
}

static int64_t time_left(const struct send_op *op)
{
    return op->deadline_ms - clock_mono(op->s->c->clock);
}

/* --- the queue --- */

/* Queues of template topics beyond the number a new topic gets do not count. */
static bool usable(const struct route *r, size_t i, bool template, const char **addr)
{
    const struct write_queue *w = &r->writable[i];
    if (template && w->id >= TEMPLATE_QUEUES)
        return false;
    *addr = broker_address(broker_of(r->c, w->broker), 0);
    return *addr != NULL;
}

static const struct write_queue *pick_by_key(const struct send_op *op, const struct route *r,
                                             const char **addr)
{
    const uint32_t h = op->key_hash == INT32_MIN
                           ? 0
                           : (uint32_t)(op->key_hash < 0 ? -op->key_hash : op->key_hash);
    const size_t i = h % r->writable_n;
    return usable(r, i, false, addr) ? &r->writable[i] : NULL;
}

static const struct write_queue *pick(struct send_op *op, const struct route *r, bool template,
                                      const char **addr)
{
    if (op->by_key && !template)
        return pick_by_key(op, r, addr);
    const struct write_queue *same_broker = NULL;
    const char *same_addr = NULL;
    for (size_t k = 0; k < r->writable_n; k++) {
        const size_t i = op->s->next_queue++ % r->writable_n;
        if (!usable(r, i, template, addr))
            continue;
        if (strcmp(r->writable[i].broker, op->last_failed) != 0)
            return &r->writable[i];
        same_broker = &r->writable[i];
        same_addr = *addr;
    }
    *addr = same_addr;
    return same_broker;
}

static bool has_other_broker(struct send_op *op)
{
    const struct route *r = route_of(op->s->c, slice_str(op->out.topic));
    if (r && r->state == ROUTE_MISSING)
        r = route_of(op->s->c, SLICE_LIT(TOPIC_AUTO_CREATE));
    for (size_t i = 0; r && i < r->writable_n; i++)
        if (strcmp(r->writable[i].broker, op->last_failed) != 0)
            return true;
    return false;
}

/* --- one attempt --- */

static void on_pause(struct timer *t) { attempt(LIST_ENTRY(t, struct send_op, timer)); }

/* op->error tells why the attempt at op->broker failed. */
static void retry(struct send_op *op, bool allowed)
{
    if (!allowed || op->by_key || op->attempts_left <= 0 || time_left(op) <= 0 || op->s->closing) {
        finish_failed(op);
        return;
    }
    memcpy(op->last_failed, op->broker, sizeof op->last_failed);
    op->route_asked = op->template_asked = false;
    const int64_t pause = has_other_broker(op)
                              ? 0
                              : (int64_t)PAUSE_MS << (op->attempts < 6 ? op->attempts - 1 : 5);
    if (pause >= time_left(op)) {
        finish_failed(op);
        return;
    }
    timer_start(&op->s->c->timers, &op->timer, pause, on_pause);
}

static bool is_retry_code(int32_t code)
{
    switch (code) {
    case RESP_SYSTEM_ERROR:
    case RESP_SYSTEM_BUSY:
    case RESP_SERVICE_NOT_AVAILABLE:
    case RESP_NO_PERMISSION:
    case RESP_TOPIC_NOT_EXIST:
    case 204: /* NO_BUYER_ID */
    case 205: /* NOT_IN_CURRENT_UNIT */
    case RESP_GO_AWAY: return true;
    default: return false;
    }
}

static bool status_of(int32_t code, enum hp_send_status *out)
{
    switch (code) {
    case RESP_SUCCESS: *out = HP_SEND_OK; return true;
    case RESP_FLUSH_DISK_TIMEOUT: *out = HP_SEND_FLUSH_DISK_TIMEOUT; return true;
    case RESP_FLUSH_SLAVE_TIMEOUT: *out = HP_SEND_FLUSH_SLAVE_TIMEOUT; return true;
    case RESP_SLAVE_NOT_AVAILABLE: *out = HP_SEND_SLAVE_NOT_AVAILABLE; return true;
    default: return false;
    }
}

static void copy_text(struct slice s, char *dst, size_t cap)
{
    if (slice_copy(s, dst, cap))
        dst[0] = '\0';
}

static void take_result(struct send_op *op, const struct command *resp, enum hp_send_status status)
{
    struct hdr_send_message_resp h;
    struct err e = {0};
    if (hdr_decode(&hdr_desc_send_message_resp, HDR_LONG, resp->ext, resp->ext_n, &h, &e)) {
        error_set(&op->error, HP_E_PROTO,
                  "broker %s stored the message but its answer makes no sense: %.150s", op->broker,
                  e.text);
        finish(op);
        return;
    }
    struct hp_send_result *res = &op->result;
    struct slice ids = h.msg_id, first = SLICE_NULL;
    slice_cut(&ids, ',', &first); /* a batch has one id for each message */
    res->status = status;
    copy_text(first, res->offset_msg_id, sizeof res->offset_msg_id);
    copy_text(slice_str(op->out.unique_id), res->msg_id, sizeof res->msg_id);
    copy_text(h.transaction_id.n ? h.transaction_id : slice_str(op->out.unique_id),
              res->transaction_id, sizeof res->transaction_id);
    memcpy(res->broker_name, op->broker, sizeof res->broker_name);
    res->queue_id = h.queue_id;
    res->queue_offset = h.queue_offset;
    op->error.code = 0;
    finish(op);
}

static void on_transport_error(struct send_op *op, const struct rpc_result *res)
{
    struct hp_client *c = op->s->c;
    error_set(&op->error, public_code(res->status), "send to %s at %s: %.180s", op->broker,
              res->address, res->error.text);
    if (res->status == E_TIMEOUT || res->status == E_CLOSED)
        op->uncertain = op->error.code;
    if (res->status != E_SHUTDOWN)
        route_suspect(c, slice_str(op->out.topic));
    retry(op, res->status == E_TIMEOUT || res->status == E_CLOSED || res->status == E_CONNECT);
}

static void on_answer(void *arg, const struct rpc_result *res)
{
    struct send_op *op = arg;
    if (res->status) {
        on_transport_error(op, res);
        return;
    }
    enum hp_send_status status;
    const int32_t code = res->response->code;
    if (status_of(code, &status)) {
        take_result(op, res->response, status);
        return;
    }
    error_set(&op->error, HP_E_BROKER, "broker %s at %s refused the message with code %d: %.*s",
              op->broker, res->address, code,
              (int)(res->response->remark.n < 150 ? res->response->remark.n : 150),
              res->response->remark.p ? res->response->remark.p : "");
    op->error.broker_code = code;
    if (is_retry_code(code))
        route_suspect(op->s->c, slice_str(op->out.topic));
    retry(op, is_retry_code(code));
}

static void ask(struct send_op *op, const struct write_queue *w, const char *addr)
{
    struct sender *s = op->s;
    if (slice_copy(slice_str(w->broker), op->broker, sizeof op->broker)) {
        error_set(&op->error, HP_E_PROTO, "the broker name %.60s... is too long", w->broker);
        finish_failed(op);
        return;
    }
    op->queue_id = w->id;
    op->attempts++;
    op->attempts_left--;
    if (s->transactions)
        heartbeat_before(s->c, addr);
    struct hdr_send_message hdr;
    outgoing_header(&op->out, slice_str(s->group), slice_str(op->broker), op->queue_id, &hdr);
    const struct iovec body = {(void *)(uintptr_t)op->out.body_bytes.p, op->out.body_bytes.n};
    const struct rpc_request q = {.address = slice_str(addr),
                                  .code = op->out.code,
                                  .hdr = &hdr,
                                  .body = &body,
                                  .body_n = 1,
                                  .timeout_ms = time_left(op)};
    struct err e = {0};
    const int rc = op->oneway ? rpc_oneway(s->c->rpc, &q, &e)
                              : client_call(s->c, &s->calls, &q, on_answer, op, &e);
    if (rc) {
        error_from(&op->error, &e, rc, "send");
        finish_failed(op);
    } else if (op->oneway) {
        finish(op);
    }
}

/* --- the route --- */

static void on_route(struct route_waiter *w, struct route *r)
{
    (void)r;
    struct send_op *op = LIST_ENTRY(w, struct send_op, waiter);
    timer_stop(&op->timer);
    attempt(op);
}

static void on_no_time_for_route(struct timer *t)
{
    struct send_op *op = LIST_ENTRY(t, struct send_op, timer);
    error_set(&op->error, HP_E_CONNECT, "no name server answered in time for the route of %s",
              op->out.topic);
    finish_failed(op);
}

static void wait_for(struct send_op *op, struct route *r, bool *asked)
{
    *asked = true;
    op->waiter.fn = on_route;
    timer_start(&op->s->c->timers, &op->timer, time_left(op), on_no_time_for_route);
    route_wait(r, &op->waiter);
}

static bool worth_asking(const struct send_op *op, const struct route *r)
{
    return r->state == ROUTE_UNASKED || r->error.code || r->asking ||
           clock_mono(op->s->c->clock) - r->asked_ms > MISSING_FRESH_MS;
}

static void fail_without_route(struct send_op *op, const struct route *r)
{
    if (r->error.code)
        error_set(&op->error, HP_E_CONNECT, "no route for %s: %.180s", op->out.topic,
                  r->error.text);
    else if (r->state == ROUTE_KNOWN)
        error_set(&op->error, HP_E_NO_ROUTE,
                  "topic %s has no writable queue at a broker that has a master", op->out.topic);
    else
        error_set(&op->error, HP_E_NO_ROUTE,
                  "no name server knows topic %s, and no broker creates topics by itself: create "
                  "the topic first",
                  op->out.topic);
    finish_failed(op);
}

static void attempt(struct send_op *op)
{
    struct hp_client *c = op->s->c;
    if (time_left(op) <= 0) {
        if (!op->error.code)
            error_set(&op->error, HP_E_CONNECT, "no time left before the message could be sent");
        finish_failed(op);
        return;
    }
    struct route *r = route_of(c, slice_str(op->out.topic));
    struct route *t = NULL;
    const char *addr = NULL;
    const struct write_queue *w = r && r->writable_n ? pick(op, r, false, &addr) : NULL;
    if (r && !w && !op->route_asked && worth_asking(op, r)) {
        wait_for(op, r, &op->route_asked);
        return;
    }
    if (r && !w && r->state == ROUTE_MISSING) {
        t = route_of(c, SLICE_LIT(TOPIC_AUTO_CREATE));
        w = t && t->writable_n ? pick(op, t, true, &addr) : NULL;
        if (t && !w && !op->template_asked && worth_asking(op, t)) {
            wait_for(op, t, &op->template_asked);
            return;
        }
    }
    if (w) {
        ask(op, w, addr);
    } else if (r) {
        fail_without_route(op, t && t->error.code ? t : r);
    } else {
        error_set(&op->error, HP_E_NOMEM, "out of memory for a route");
        finish_failed(op);
    }
}

void send_start(struct send_op *op)
{
    struct sender *s = op->s;
    list_push_back(&s->ops, &op->link);
    list_init(&op->waiter.link);
    timer_init(&op->timer);
    op->error = (struct hp_error){0};
    if (!s->next_queue)
        s->next_queue = (uint32_t)rng_u64(&s->c->rng) | 1;
    if (s->closing) {
        error_set(&op->error, HP_E_CLOSED, "the producer is shut down");
        finish_failed(op);
        return;
    }
    attempt(op);
}
