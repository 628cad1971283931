/* Decisions on disk: op records.
 *
 * A decided half is named in an op record: topic RMQ_SYS_TRANS_OP_HALF_TOPIC, queue 0, tag "d", body
 * "o1,o2,...," with offsets of the half queue. Happy path: tx_decided (any loop) appends the name to
 * the next record and posts to the service loop; the service loop writes one record with all names that
 * came while the previous record was being written. No timer: the batch forms itself.
 *
 * A restart reads the op queue from a stored position, then the half queue from another; both live in
 * consumerOffset.json as the offsets of group CID_RMQ_SYS_TRANS, as upstream keeps them. They may lag,
 * never lead:
 *   1. the half position is at most the lowest half that is not decided by an op record on disk;
 *   2. the op position is at most the oldest op record that names a half at or above the half position.
 * "On disk" is taken from the store's flushed offset, so that a power cut cannot leave positions behind
 * which the decisions themselves are gone.
 *
 * Failure modes: an op record that cannot be written keeps its names and is tried again at the next
 * tick; until it is written a restart asks the producer again, and a commit may then be delivered twice.
 *
 * Source of the formats: TransactionalMessageBridge, TransactionalMessageServiceImpl of 5.5.0;
 * single-offset bodies without comma (4.x) are read too. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/offset.h"
#include "broker/tx_priv.h"
#include "proto/names.h"

static void op_mail_deliver(struct mail *m)
{
    struct tx *t = LIST_ENTRY(m, struct tx, op_mail);
    uv_mutex_lock(&t->lock);
    t->op_posted = false;
    uv_mutex_unlock(&t->lock);
    tx_op_write(t);
}

void tx_decided(struct tx *t, int64_t half_offset)
{
    uv_mutex_lock(&t->lock);
    tx_half_forget(t, half_offset);
    const int rc = tx_window_set(&t->window, half_offset, TX_DECIDED);
    buf_i64_text(&t->op_names, half_offset);
    buf_char(&t->op_names, ',');
    if (half_offset > t->op_half_max)
        t->op_half_max = half_offset;
    const bool memory = rc == 0 && buf_error(&t->op_names) == 0;
    const bool post = !t->op_posted;
    t->op_posted = true;
    if (post)
        t->op_mail.deliver = op_mail_deliver;
    uv_mutex_unlock(&t->lock);
    if (!memory)
        LOGE("tx.op_memory", "half_offset=%" PRId64 " text=\"out of memory: the half will be checked again\"",
             half_offset);
    if (post && loop_post(&t->b->service.loop, &t->op_mail) != 0)
        LOGW("tx.op_late", "half_offset=%" PRId64 " text=\"stopping: the half will be checked after restart\"",
             half_offset);
}

void tx_unclaim(struct tx *t, int64_t half_offset, int64_t phys_offset, int32_t size)
{
    struct half *h = calloc(1, sizeof *h);
    uv_mutex_lock(&t->lock);
    int rc = tx_window_set(&t->window, half_offset, TX_UNDECIDED);
    if (h != NULL && rc == 0 && tx_half_find(t, half_offset) == NULL) {
        *h = (struct half){.offset = half_offset, .phys_offset = phys_offset, .size = size};
        rc = map_put(t->halves, map_key_i64(&half_offset), h, NULL);
        if (rc == 0 && (rc = heap_push(&t->due, &h->due, clock_wall(t->b->clock))) != 0)
            map_remove(t->halves, map_key_i64(&half_offset));
        if (rc == 0)
            h = NULL;
    }
    uv_mutex_unlock(&t->lock);
    free(h);
    if (rc != 0)
        LOGE("tx.unclaim", "half_offset=%" PRId64 " text=\"out of memory: checked again after restart\"",
             half_offset);
}

/* --- writing --- */

/* Takes names off the next record up to the size limit, at a comma. */
static bool take_names(struct tx *t)
{
    uv_mutex_lock(&t->lock);
    size_t n = t->op_names.n;
    const size_t max = (size_t)t->b->conf->transaction_op_max_size;
    if (n > max)
        for (n = max; t->op_names.p[n - 1] != ',';)
            n--;
    buf_clear(&t->op_body);
    buf_add(&t->op_body, t->op_names.p, n);
    const bool taken = n > 0 && buf_error(&t->op_body) == 0;
    if (taken) {
        buf_consume(&t->op_names, n);
        t->op_next = (struct op_span){.half_max = t->op_half_max, .low = tx_window_low(&t->window)};
        /* names left behind are decided in the window but not in this record */
        struct slice rest = buf_slice(&t->op_names), name;
        while (slice_cut(&rest, ',', &name)) {
            int64_t offset;
            if (slice_i64(name, &offset) == 0 && offset < t->op_next.low)
                t->op_next.low = offset;
        }
    }
    uv_mutex_unlock(&t->lock);
    return taken;
}

static void give_back(struct tx *t)
{
    uv_mutex_lock(&t->lock);
    buf_slice_add(&t->op_names, buf_slice(&t->op_body));
    uv_mutex_unlock(&t->lock);
}

static void op_put_done(struct put *p)
{
    struct tx *t = LIST_ENTRY(p, struct tx, op_put);
    t->op_busy = false;
    if (p->status == PUT_OK || p->status == PUT_FLUSH_TIMEOUT) {
        t->op_next.offset = p->queue_offset;
        t->op_next.end_phys = t->op_end = p->phys_offset + (int64_t)p->append.size;
        if (tx_spans_push(&t->spans, &t->op_next) != 0)
            LOGE("tx.op_memory", "op_offset=%" PRId64 " text=\"stored positions stay behind\"", p->queue_offset);
        put_release(p);
        tx_op_write(t);
        return;
    }
    LOGE("tx.op_put", "status=%d text=\"kept for the next tick\"", (int)p->status);
    put_release(p);
    give_back(t);
}

void tx_op_write(struct tx *t)
{
    if (t->op_busy || !take_names(t))
        return;
    t->op_put = (struct put){
        .msg = {.topic = SLICE_LIT(TOPIC_OP), .born_timestamp = clock_wall(t->b->clock),
                .born_host = t->b->store_host, .body = buf_slice(&t->op_body),
                .properties = SLICE_LIT("TAGS\001d\002")},
        .done = op_put_done};
    if (FAILPOINT(FP_TX_OP) != 0 || put_start(&t->b->service.submit, &t->op_put) != PUT_OK) {
        give_back(t);
        return;
    }
    t->op_busy = true;
}

/* --- stored positions --- */

static void store_position(struct tx *t, const char *topic, int64_t offset)
{
    struct err e;
    const struct slice group = SLICE_LIT(GROUP_TRANS);
    if (offsets_get(t->b->offsets, group, slice_str(topic), 0) != offset &&
        offsets_set(t->b->offsets, group, slice_str(topic), 0, offset, &e) != 0)
        LOGE("tx.position", "topic=%s text=\"%s\"", topic, e.text);
}

/* A record says what was undecided when it was composed; those of earlier runs do not. Once every decision is
 * named and all records are on disk the window says it for them: else a broker that was killed and then has
 * nothing to do would keep its positions, and the log files behind them. */
static void raise_durable_low(struct tx *t)
{
    struct store_stats stats;
    store_stats_get(t->b->store, &stats);
    tx_spans_progress(&t->spans, stats.log_flushed, &t->durable_low);
    uv_mutex_lock(&t->lock);
    const bool named = t->op_names.n == 0 && buf_error(&t->op_names) == 0 && !t->op_busy;
    const int64_t low = tx_window_low(&t->window);
    uv_mutex_unlock(&t->lock);
    if (named && t->op_end <= stats.log_flushed && low > t->durable_low)
        t->durable_low = low;
}

void tx_op_progress(struct tx *t)
{
    raise_durable_low(t);
    store_position(t, TOPIC_HALF, t->durable_low);
    if (t->spans.n > 0)
        store_position(t, TOPIC_OP, t->spans.v[0].offset);
}

/* --- start --- */

/* One op record: marks what it names. There are `halves` halves: a greater number would claim memory up to
 * itself, and decide a half that is yet to come. */
static int replay(struct tx *t, const struct message *m, int64_t halves, struct op_span *s, struct err *e)
{
    struct slice rest = m->body, name;
    while (slice_cut(&rest, ',', &name)) {
        int64_t offset;
        if (name.n == 0)
            continue;
        if (slice_i64(name, &offset) != 0 || offset < 0 || offset >= halves) {
            LOGE("tx.op_bad", "op_offset=%" PRId64 " text=\"names no half message: skipped\"", m->queue_offset);
            continue;
        }
        if (offset > s->half_max)
            s->half_max = offset;
        if (tx_window_get(&t->window, offset) != TX_DECIDED) {
            const int rc = tx_window_set(&t->window, offset, TX_DECIDED);
            if (rc != 0)
                return err_set(e, rc, "half offset %" PRId64, offset);
        }
    }
    return 0;
}

static int64_t stored_position(struct tx *t, const char *topic)
{
    int64_t min, max;
    store_queue_range(t->b->store, slice_str(topic), 0, &min, &max);
    const int64_t at = offsets_get(t->b->offsets, SLICE_LIT(GROUP_TRANS), slice_str(topic), 0);
    return at < min ? min : at > max ? max : at;
}

int tx_op_start(struct tx *t, struct err *e)
{
    t->scan_to = t->durable_low = stored_position(t, TOPIC_HALF);
    int rc = tx_window_init(&t->window, t->scan_to);
    if (rc != 0)
        return err_set(e, rc, "transaction table");
    int64_t at = stored_position(t, TOPIC_OP), half_min, halves;
    store_queue_range(t->b->store, SLICE_LIT(TOPIC_HALF), 0, &half_min, &halves);
    struct store_unit units[64];
    for (int n; rc == 0 && (n = store_units(t->b->store, SLICE_LIT(TOPIC_OP), 0, at, units, 64)) > 0;) {
        for (int i = 0; i < n && rc == 0; i++, at++) {
            struct store_view v;
            struct message m;
            struct err bad;
            if (store_view(t->b->store, units[i].phys_offset, units[i].size, &v, &bad) != 0) {
                LOGE("tx.op_unreadable", "op_offset=%" PRId64 " text=\"%s\"", at, bad.text);
                continue;
            }
            t->op_end = units[i].phys_offset + units[i].size;
            struct op_span s = {.offset = at, .half_max = -1, .low = t->durable_low, .end_phys = t->op_end};
            if (message_decode(v.record, 0, &m, &bad) == 0 && (rc = replay(t, &m, halves, &s, e)) == 0 &&
                (rc = tx_spans_push(&t->spans, &s)) != 0)
                err_set(e, rc, "op positions");
            store_view_release(&v);
        }
    }
    return rc;
}
