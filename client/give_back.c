/* Messages that could not be consumed go back to the broker.
 *
 *   1. CONSUMER_SEND_MSG_BACK (36) to the broker that has the message: it keeps a copy under
 *      %RETRY%group with a delay, or under %DLQ%group when the message has failed often enough;
 *   2. if that fails: the message is sent as a new one to %RETRY%group at any broker of that topic;
 *   3. if that fails too: it is consumed here again after five seconds, as often as needed.
 * Until one of them succeeds the message stays unfinished, so its offset is not committed.
 *
 * A dead letter is 36 with delay level -1; in step 2 a reconsume count above the maximum makes the
 * broker divert it (a send compares ">", 36 compares ">=").
 *
 * Sources: DefaultMQPushConsumerImpl.sendMessageBack, sendMessageBackAsNormalMessage,
 * ConsumeMessageConcurrentlyService.submitConsumeRequestLater (5.5.0). Runs on: the loop. */
#include <stdio.h>
#include <stdlib.h>

#include "client/push_priv.h"
#include "client/view.h"
#include "proto/names.h"

enum {
    GIVE_BACK_TIMEOUT_MS = 5000,
    CONSUME_AGAIN_MS = 5000,
    SEND_ATTEMPTS = 3,
    DELAY_LEVEL_BASE = 3,
    DEAD_LETTER_LEVEL = -1,
    BROKER_CHOOSES_LEVEL = 0
};

static void hold(struct delivery *d)
{
    d->q->in_flight++;
    d->q->k->in_flight++;
}

/* The other place lets go of the delivery; false when its queue was lost meanwhile (d may be
 * gone). */
static bool unhold(struct delivery *d)
{
    struct queue *q = d->q;
    q->in_flight--;
    q->k->in_flight--;
    if (!q->dropped)
        return true;
    queue_release(q);
    return false;
}

static void on_time_to_consume_again(struct timer *t)
{
    struct delivery *d = LIST_ENTRY(t, struct delivery, timer);
    struct hp_consumer *k = d->q->k;
    if (unhold(d))
        deliver_to_pool(d);
    consumer_maybe_idle(k);
}

static void consume_again(struct delivery *d)
{
    d->local_retries++;
    hold(d);
    timer_start(&d->q->k->c->timers, &d->timer, CONSUME_AGAIN_MS, on_time_to_consume_again);
}

/* --- step 2 --- */

struct resend {
    struct send_op op;
    struct delivery *d;
};

static void on_resent(struct send_op *op)
{
    struct resend *s = LIST_ENTRY(op, struct resend, op);
    struct delivery *d = s->d;
    struct hp_consumer *k = d->q->k;
    const bool ok = op->error.code == 0;
    if (!ok)
        CLIENT_LOG(k->c, HP_LOG_WARN,
                   "message at offset %lld of %s:%d could not be given back, it is consumed here "
                   "again: %s",
                   (long long)d->entry.offset, d->q->ts->sub.topic, d->q->id, op->error.text);
    free(s);
    if (unhold(d)) {
        if (ok)
            delivery_finish(d);
        else
            consume_again(d);
    }
    consumer_maybe_idle(k);
}

static int32_t times_of(const struct delivery *d)
{
    return times_consumed(&d->m, d->local_retries);
}

static struct slice origin_id(const struct delivery *d, char room[MSG_ID_MAX])
{
    const struct slice known = props_str_get(d->m.properties, PROP_ORIGIN_MESSAGE_ID);
    if (known.n)
        return known;
    const struct slice unique = props_str_get(d->m.properties, PROP_UNIQ_KEY);
    if (unique.n)
        return unique;
    offset_msg_id(&d->m.store_host, d->m.phys_offset, room);
    return slice_str(room);
}

static struct slice origin_topic(const struct delivery *d)
{
    const struct slice retried = props_str_get(d->m.properties, PROP_RETRY_TOPIC);
    return retried.n ? retried : d->m.topic;
}

static void retry_props(const struct delivery *d, bool dead, struct buf *out)
{
    static const char *const replaced[] = {
        PROP_RETRY_TOPIC,         PROP_ORIGIN_MESSAGE_ID, PROP_DELAY,
        PROP_REAL_TOPIC,          PROP_REAL_QID,          PROP_RECONSUME_TIME,
        PROP_MAX_RECONSUME_TIMES, PROP_TRAN_MSG,          PROP_CRC32,             NULL};
    char id[MSG_ID_MAX], level[16];
    snprintf(level, sizeof level, "%d", DELAY_LEVEL_BASE + times_of(d));
    props_str_copy_without(out, d->m.properties, replaced);
    int rc = props_str_add(out, PROP_RETRY_TOPIC, origin_topic(d));
    if (!rc)
        rc = props_str_add(out, PROP_ORIGIN_MESSAGE_ID, origin_id(d, id));
    if (!rc && !dead)
        rc = props_str_add(out, PROP_DELAY, slice_str(level));
    if (rc && !out->error)
        out->error = rc;
}

static void send_again(struct delivery *d)
{
    struct hp_consumer *k = d->q->k;
    const bool dead = d->result == HP_CONSUME_DEAD_LETTER;
    struct resend *s = calloc(1, sizeof *s);
    if (!s) {
        consume_again(d);
        return;
    }
    struct outgoing *o = &s->op.out;
    *o = (struct outgoing){
        .topic = slice_dup(slice_str(k->retry_topic)),
        .body_bytes = d->m.body,
        .code = RC_SEND_MESSAGE_V2,
        .sys_flag = d->m.sys_flag & (SYSFLAG_COMPRESSED | SYSFLAG_COMPRESSION_MASK),
        .flag = d->m.flag,
        .born_ms = d->m.born_timestamp,
        .reconsume_times = dead ? k->o.max_reconsume_times + 1 : times_of(d) + 1,
        .max_reconsume_times = k->o.max_reconsume_times,
    };
    buf_init(&o->props, MESSAGE_PROPERTIES_MAX);
    buf_init(&o->body, 0);
    retry_props(d, dead, &o->props);
    if (!o->topic || buf_error(&o->props)) {
        outgoing_fini(o);
        free(s);
        consume_again(d);
        return;
    }
    s->d = d;
    s->op.s = &k->returns;
    s->op.attempts_left = SEND_ATTEMPTS;
    s->op.deadline_ms = clock_mono(k->c->clock) + GIVE_BACK_TIMEOUT_MS;
    s->op.done = on_resent;
    hold(d);
    send_start(&s->op);
}

/* --- step 1 --- */

static void on_given_back(void *arg, const struct rpc_result *res)
{
    struct delivery *d = arg;
    struct hp_consumer *k = d->q->k;
    const bool ok = !res->status && res->response->code == RESP_SUCCESS;
    if (!ok && res->status != E_SHUTDOWN)
        CLIENT_LOG(k->c, HP_LOG_WARN, "send-back of offset %lld of %s:%d to %s failed (%d): %.*s",
                   (long long)d->entry.offset, d->q->ts->sub.topic, d->q->id, res->address,
                   res->status ? res->status : res->response->code,
                   res->status ? (int)strlen(res->error.text) : (int)res->response->remark.n,
                   res->status ? res->error.text
                               : (res->response->remark.p ? res->response->remark.p : ""));
    if (unhold(d)) {
        if (ok)
            delivery_finish(d);
        else
            send_again(d);
    }
    consumer_maybe_idle(k);
}

void give_back(struct delivery *d)
{
    struct hp_consumer *k = d->q->k;
    char host[64], id[MSG_ID_MAX];
    host_text(&d->m.store_host, host);
    const char *master = broker_address(broker_of(k->c, d->q->broker), 0);
    const struct hdr_send_msg_back hdr = {
        .offset = d->m.phys_offset,
        .group = slice_str(k->group),
        .delay_level = d->result == HP_CONSUME_DEAD_LETTER ? DEAD_LETTER_LEVEL
                                                           : BROKER_CHOOSES_LEVEL,
        .origin_msg_id = origin_id(d, id),
        .origin_topic = origin_topic(d),
        .max_reconsume_times = k->o.max_reconsume_times,
    };
    const struct rpc_request q = {.address = slice_str(master ? master : host),
                                  .code = RC_CONSUMER_SEND_MSG_BACK,
                                  .hdr = &hdr,
                                  .timeout_ms = GIVE_BACK_TIMEOUT_MS};
    struct err e = {0};
    if (client_call(k->c, &k->calls, &q, on_given_back, d, &e)) {
        send_again(d);
        return;
    }
    hold(d);
}
