/* Pulling one queue.
 *
 * One pull at a time for each queue, a long poll: the broker answers when there is something or
 * after suspend_ms. While its messages are being consumed the next pull is already on its way; what
 * bounds the cache is flow control (number, bytes, offset span), which just does not pull: the end
 * of a message looks again.
 *
 *   pull_next -> 11 -> on_pulled -> FOUND: deliver, pull_next
 *                                -> nothing: pull_next
 *                                -> illegal offset: queue_restart
 *                                -> any failure: again after a second
 *
 * The broker filters by tag hash only, so tags are compared here as text. Each pull carries the
 * offset to commit (only to a master, only above 0). A broker that answers "nothing" at once
 * instead of holding the request is not asked again at once.
 *
 * Sources: DefaultMQPushConsumerImpl.pullMessage, PullAPIWrapper (5.5.0). Runs on: the loop. */
#include "client/push_priv.h"

#include "proto/body.h"

enum { PULL_COMMIT = 1, PULL_SUSPEND = 2, BATCH_BYTES = 256 * 1024, ANSWER_MARGIN_MS = 15000,
       FLOW_CONTROL_CODE = 215, FLOW_CONTROL_MS = 20, NOT_HELD_MS = 50, NOT_HELD_PAUSE_MS = 100 };

static void on_pulled(void *arg, const struct rpc_result *res);

static void on_timer(struct timer *t) { pull_next(LIST_ENTRY(t, struct queue, timer)); }

static void pull_later(struct queue *q, int64_t delay_ms)
{
    timer_start(&q->k->c->timers, &q->timer, delay_ms, on_timer);
}

static bool is_full(const struct queue *q)
{
    const struct hp_consumer_options *o = &q->k->o;
    return q->pq.count >= (size_t)o->cached_messages_max || q->pq.bytes >= o->cached_bytes_max ||
           pq_span(&q->pq) >= SPAN_MAX;
}

static const char *source_of(const struct queue *q, bool *master)
{
    const struct broker *b = broker_of(q->k->c, q->broker);
    const char *addr = broker_address(b, q->suggested_id);
    if (!addr)
        addr = broker_any_address(b);
    const char *first = broker_address(b, 0);
    *master = addr && first && strcmp(addr, first) == 0;
    return addr;
}

void pull_next(struct queue *q)
{
    struct hp_consumer *k = q->k;
    if (q->dropped || q->pulling || k->suspended || !consumer_running(k) || q->pq.next_offset < 0 ||
        timer_pending(&q->timer) || is_full(q))
        return;
    bool master;
    const char *addr = source_of(q, &master);
    if (!addr) {
        route_suspect(k->c, slice_str(q->ts->sub.topic));
        pull_later(q, RETRY_PULL_MS);
        return;
    }
    const int64_t commit = k->o.model == HP_CLUSTERING ? pq_commit_offset(&q->pq) : 0;
    const struct hdr_pull_message hdr = {
        .consumer_group = slice_str(k->group),
        .topic = slice_str(q->ts->sub.topic),
        .queue_id = q->id,
        .queue_offset = q->pq.next_offset,
        .max_msg_nums = k->o.pull_batch,
        .sys_flag = PULL_SUSPEND | (master && commit > 0 ? PULL_COMMIT : 0),
        .commit_offset = commit,
        .suspend_timeout_ms = k->o.suspend_ms,
        .sub_version = q->ts->sub.version,
        .expression_type = SLICE_LIT("TAG"),
        .max_msg_bytes = BATCH_BYTES,
        .broker_name = slice_str(q->broker),
    };
    const struct rpc_request r = {.address = slice_str(addr), .code = RC_PULL_MESSAGE, .hdr = &hdr,
                                  .timeout_ms = k->o.suspend_ms + ANSWER_MARGIN_MS};
    struct err e = {0};
    if (client_call(k->c, &q->calls, &r, on_pulled, q, &e)) {
        CLIENT_LOG(k->c, HP_LOG_WARN, "pull of %s:%d at %s: %s", q->ts->sub.topic, q->id, addr,
                   e.text);
        pull_later(q, RETRY_PULL_MS);
        return;
    }
    q->pulling = true;
    q->pulled_ms = clock_mono(k->c->clock);
    atomic_fetch_add(&k->pulls, 1);
}

static bool wanted(const struct queue *q, const struct message *m)
{
    return q->ts->sub.all ||
           subscription_match_tag(&q->ts->sub, props_str_get(m->properties, PROP_TAGS));
}

/* Cuts the body into records. An unreadable one ends it: its length cannot be trusted, and the
 * broker says where to go on. One there is no memory for ends it too, but is not passed over:
 * *resume is the offset to pull again then. */
static void deliver_records(struct queue *q, struct slice body, int64_t *resume)
{
    while (body.n) {
        struct message m;
        struct err e = {0};
        struct delivery *d = NULL;
        if (message_decode(body, 0, &m, &e)) {
            CLIENT_LOG(q->k->c, HP_LOG_ERROR, "%s:%d at %s: a pulled message is unreadable: %s",
                       q->ts->sub.topic, q->id, q->broker, e.text);
            return;
        }
        if (wanted(q, &m) && !(d = delivery_new(q, slice_of(body.p, (size_t)m.total_size), &e))) {
            CLIENT_LOG(q->k->c, HP_LOG_ERROR, "%s:%d at %s: offset %lld is pulled again later: %s",
                       q->ts->sub.topic, q->id, q->broker, (long long)m.queue_offset, e.text);
            *resume = m.queue_offset;
            return;
        }
        body = slice_of(body.p + m.total_size, body.n - (size_t)m.total_size);
        if (d && delivery_accept(d))
            deliver_to_pool(d);
    }
}

static void on_answer(struct queue *q, const struct command *resp)
{
    struct hdr_pull_message_resp h;
    struct err e = {0};
    if (hdr_decode(&hdr_desc_pull_message_resp, HDR_LONG, resp->ext, resp->ext_n, &h, &e)) {
        CLIENT_LOG(q->k->c, HP_LOG_ERROR, "pull of %s:%d: %s", q->ts->sub.topic, q->id, e.text);
        pull_later(q, RETRY_PULL_MS);
        return;
    }
    q->suggested_id = h.suggest_broker_id;
    const bool progress = h.next_begin_offset > q->pq.next_offset;
    if (resp->code == RESP_PULL_OFFSET_MOVED) {
        CLIENT_LOG(
            q->k->c, HP_LOG_WARN,
            "offset %lld of %s:%d at %s is illegal (queue holds %lld to %lld), going on at %lld",
            (long long)q->pq.next_offset, q->ts->sub.topic, q->id, q->broker,
            (long long)h.min_offset, (long long)h.max_offset, (long long)h.next_begin_offset);
        queue_restart(q, h.next_begin_offset);
        return;
    }
    int64_t resume = -1;
    if (resp->code == RESP_SUCCESS)
        deliver_records(q, resp->body, &resume);
    pq_advance(&q->pq, resume >= 0 ? resume : h.next_begin_offset);
    if (resume >= 0)
        pull_later(q, RETRY_PULL_MS);
    else if (!progress && clock_mono(q->k->c->clock) - q->pulled_ms < NOT_HELD_MS)
        pull_later(q, NOT_HELD_PAUSE_MS);
    else
        pull_next(q);
}

static void on_pulled(void *arg, const struct rpc_result *res)
{
    struct queue *q = arg;
    struct hp_client *c = q->k->c;
    q->pulling = false;
    if (res->status) {
        if (res->status != E_SHUTDOWN)
            CLIENT_LOG(c, HP_LOG_WARN, "pull of %s:%d at %s: %s", q->ts->sub.topic, q->id,
                       res->address, res->error.text);
        route_suspect(c, slice_str(q->ts->sub.topic));
        pull_later(q, RETRY_PULL_MS);
        return;
    }
    const struct command *resp = res->response;
    switch (resp->code) {
    case RESP_SUCCESS:
    case RESP_PULL_NOT_FOUND:
    case RESP_PULL_RETRY_IMMEDIATELY:
    case RESP_PULL_OFFSET_MOVED:
        on_answer(q, resp);
        return;
    case FLOW_CONTROL_CODE:
        pull_later(q, FLOW_CONTROL_MS);
        return;
    case RESP_SUBSCRIPTION_NOT_EXIST:
    case RESP_SUBSCRIPTION_NOT_LATEST:
        heartbeats_lost(c, res->address); /* it has forgotten us: tell it again */
        break;
    default:
        CLIENT_LOG(c, HP_LOG_WARN, "pull of %s:%d: %s answers code %d: " SLICE_FMT,
                   q->ts->sub.topic, q->id, res->address, resp->code, SLICE_ARG(resp->remark));
        route_suspect(c, slice_str(q->ts->sub.topic));
        break;
    }
    pull_later(q, RETRY_PULL_MS);
}
