/* From a pulled record to the end of its consumption.
 *
 *   delivery_new (loop) -> pool -> run_delivery (worker) -> mail -> on_consumed (loop)
 *      success or broadcasting: delivery_finish        otherwise: give_back
 *
 * A delivery belongs to its queue's process queue all the time and to exactly one place besides:
 * the pool, a send-back, or the timer that consumes it again. That place is counted in queue and
 * consumer (in_flight); a lost queue lives until the count is zero.
 *
 * A message whose queue was lost before its callback began is skipped: another member will get it.
 * One whose callback already runs cannot be stopped; its result is ignored.
 *
 * A body that cannot be inflated fails like a callback that says RECONSUME_LATER, so it ends in
 * %DLQ% where somebody sees it. Threads: as drawn. */
#include "client/push_priv.h"

#include <stdlib.h>

#include "client/view.h"

static void on_consumed(struct mail *mail);

static enum hp_consume_result consume(struct delivery *d)
{
    struct hp_consumer *k = d->q->k;
    struct hp_message_view v;
    const int rc = view_init(&v, &d->m, d->q->broker, d->local_retries);
    if (rc) {
        CLIENT_LOG(k->c, HP_LOG_ERROR, "message at offset %lld of %s:%d cannot be read: %s",
                   (long long)d->entry.offset, d->q->ts->sub.topic, d->q->id, err_text(rc));
        return HP_RECONSUME_LATER;
    }
    const enum hp_consume_result result = k->o.consume(k->o.consume_arg, &v);
    view_fini(&v);
    return result;
}

static void run_delivery(struct job *j)
{
    struct delivery *d = LIST_ENTRY(j, struct delivery, job);
    struct hp_client *c = d->q->k->c;
    d->skipped = atomic_load(&d->q->dropped);
    if (!d->skipped)
        d->result = consume(d);
    d->mail.deliver = on_consumed;
    const int rc = loop_post(&c->loop, &d->mail);
    MQ_ASSERT(rc == 0); /* the instance outlives its consumers */
}

struct delivery *delivery_new(struct queue *q, struct slice record, struct err *e)
{
    struct delivery *d = malloc(sizeof *d + record.n);
    if (!d) {
        err_set(e, E_NOMEM, "out of memory for a message of %zu bytes", record.n);
        return NULL;
    }
    *d = (struct delivery){.q = q};
    memcpy(d->record, record.p, record.n);
    timer_init(&d->timer);
    if (message_decode(slice_of(d->record, record.n), 0, &d->m, e)) {
        free(d);
        return NULL;
    }
    d->entry.offset = d->m.queue_offset;
    d->entry.bytes = record.n;
    return d;
}

bool delivery_accept(struct delivery *d)
{
    if (!pq_add(&d->q->pq, &d->entry)) {
        free(d);
        return false;
    }
    atomic_fetch_add(&d->q->k->cached, 1);
    return true;
}

void deliver_to_pool(struct delivery *d)
{
    d->q->in_flight++;
    d->q->k->in_flight++;
    d->job.run = run_delivery;
    pool_put(&d->q->k->pool, &d->job);
}

void delivery_finish(struct delivery *d)
{
    struct queue *q = d->q;
    pq_remove(&q->pq, &d->entry);
    atomic_fetch_sub(&q->k->cached, 1);
    free(d);
    pull_next(q);
}

static void count_result(struct hp_consumer *k, enum hp_consume_result result)
{
    switch (result) {
    case HP_CONSUME_SUCCESS: atomic_fetch_add(&k->ok, 1); break;
    case HP_CONSUME_DEAD_LETTER: atomic_fetch_add(&k->dead, 1); break;
    case HP_RECONSUME_LATER: atomic_fetch_add(&k->later, 1); break;
    }
}

static void on_consumed(struct mail *mail)
{
    struct delivery *d = LIST_ENTRY(mail, struct delivery, mail);
    struct queue *q = d->q;
    struct hp_consumer *k = q->k;
    q->in_flight--;
    k->in_flight--;
    if (!d->skipped)
        count_result(k, d->result);
    if (q->dropped) {
        queue_release(q);
    } else if (d->result == HP_CONSUME_SUCCESS) {
        delivery_finish(d);
    } else if (k->o.model == HP_BROADCASTING) {
        CLIENT_LOG(k->c, HP_LOG_WARN,
                   "broadcast message at offset %lld of %s:%d failed and is dropped",
                   (long long)d->entry.offset, q->ts->sub.topic, q->id);
        delivery_finish(d);
    } else {
        give_back(d);
    }
    consumer_maybe_idle(k);
}
