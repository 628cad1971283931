/* Transactional messages: the table of half messages, and check-back.
 *
 * A half message is stored in RMQ_SYS_TRANS_HALF_TOPIC, queue 0, where no consumer sees it. Its state is
 * in memory (tx_window.h), rebuilt at start from the two queues on disk (tx_op.c). Unlike upstream a
 * half is never rewritten: its offsets stay what the producer was told, so a late END always finds it,
 * and a producer that is away for days costs no log space.
 *
 * Runs on: the service loop, one timer. A tick reads the half queue from where it stopped (scan), sends
 * checks that are due, writes op records that could not be written before, and moves the stored
 * positions. Ticks are bounded; what is left waits for the next one.
 *
 *   seen by the scan      due: store time + CHECK_IMMUNITY_TIME_IN_SECONDS, else + transactionTimeOut
 *   due, group connected  one live producer of the group is asked (39, oneway), round robin; due again
 *                         after transactionCheckInterval
 *   due, nobody connected due again after the interval; nothing is counted: a half is never given up
 *                         while nobody could answer
 *   answered "unknown"    counted; at transactionCheckMax the half is parked: copied to
 *                         TRANS_CHECK_MAX_TIME_TOPIC, then named in an op record
 *   no answer             not counted
 *   unreadable, or without group or real topic ("poisoned")
 *                         parked at once (an unreadable one can only be named): one bad half never
 *                         stops the others
 *
 * Invariants: 1. a half leaves the table only by a claim that ended in tx_decided; 2. a half in `due` is
 * TX_UNDECIDED; 3. every half below scan_to that is TX_UNDECIDED is in `halves`, but for those that
 * memory could not hold: the scan stops there and goes on later.
 *
 * Source of times, names and limits: TransactionalMessageCheckService of 5.5.0. */
#include "broker/tx.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/client_mgr.h"
#include "broker/tx_priv.h"
#include "proto/names.h"

enum { TICK_MS_MAX = 200, SCAN_PER_TICK = 10000, CHECKS_PER_TICK = 500, UNITS = 128 };

struct half *tx_half_find(struct tx *t, int64_t offset)
{
    return map_get(t->halves, map_key_i64(&offset));
}

void tx_half_forget(struct tx *t, int64_t offset)
{
    struct half *const h = map_remove(t->halves, map_key_i64(&offset));
    if (h == NULL)
        return;
    heap_remove(&t->due, &h->due);
    free(h);
}

/* --- half messages from the send path --- */

int tx_half_transform(struct broker *b, struct message *m, struct buf *props, struct err *e)
{
    static const char *const replaced[] = {PROP_REAL_TOPIC, PROP_REAL_QID, PROP_TRANSACTION_ID, NULL};
    if (b->conf->reject_transaction)
        return err_set(e, E_DENIED, "the broker[%s] sending transaction message is forbidden",
                       b->conf->broker_ip1);
    struct buf out;
    buf_init(&out, 0);
    props_str_copy_without(&out, m->properties, replaced);
    char queue_id[16];
    snprintf(queue_id, sizeof queue_id, "%d", m->queue_id);
    const struct slice id = props_str_get(m->properties, PROP_UNIQ_KEY);
    int rc = props_str_add(&out, PROP_REAL_TOPIC, m->topic);
    if (rc == 0)
        rc = props_str_add(&out, PROP_REAL_QID, slice_str(queue_id));
    if (rc == 0 && id.p != NULL)
        rc = props_str_add(&out, PROP_TRANSACTION_ID, id);
    if (rc == 0)
        rc = buf_error(&out);
    if (rc != 0) {
        buf_free(&out);
        return err_set(e, rc, "properties of a half message");
    }
    buf_free(props);
    *props = out;
    m->properties = buf_slice(props);
    m->topic = SLICE_LIT(TOPIC_HALF);
    m->queue_id = 0;
    m->sys_flag &= ~SYSFLAG_TX_MASK;
    return 0;
}

/* --- parking --- */

struct park { /* a half on its way to TRANS_CHECK_MAX_TIME_TOPIC */
    struct put put;
    struct tx *t;
    int64_t offset, phys_offset;
    int32_t size;
};

static void park_done(struct put *p)
{
    struct park *k = LIST_ENTRY(p, struct park, put);
    if (p->status == PUT_OK || p->status == PUT_FLUSH_TIMEOUT)
        tx_decided(k->t, k->offset);
    else
        tx_unclaim(k->t, k->offset, k->phys_offset, k->size);
    put_release(p);
    free(k);
}

/* The half is claimed. m: its record, or NULL when it cannot be read. */
static void park(struct tx *t, const struct half *h, const struct message *m, const char *why)
{
    LOGW("tx.parked", "half_offset=%" PRId64 " phys_offset=%" PRId64 " why=\"%s\"", h->offset,
         h->phys_offset, why);
    if (m == NULL) {
        tx_decided(t, h->offset);
        return;
    }
    struct park *k = calloc(1, sizeof *k);
    if (k != NULL) {
        *k = (struct park){.t = t, .offset = h->offset, .phys_offset = h->phys_offset, .size = h->size};
        k->put = (struct put){.msg = *m, .no_delay = true, .done = park_done};
        k->put.msg.topic = SLICE_LIT(TOPIC_CHECK_MAX);
        k->put.msg.queue_id = 0;
        if (put_start(&t->b->service.submit, &k->put) == PUT_OK)
            return;
        free(k);
    }
    tx_unclaim(t, h->offset, h->phys_offset, h->size);
}

/* Takes the half out of the table for park(); false when a verdict was faster. */
static bool claim_for_parking(struct tx *t, const struct half *h)
{
    uv_mutex_lock(&t->lock);
    const bool free_ = tx_window_get(&t->window, h->offset) == TX_UNDECIDED &&
                       tx_window_set(&t->window, h->offset, TX_DECIDING) == 0;
    if (free_)
        tx_half_forget(t, h->offset);
    uv_mutex_unlock(&t->lock);
    return free_;
}

/* --- the scan --- */

static int64_t first_due(const struct tx *t, const struct message *m)
{
    int64_t wait = t->b->conf->transaction_timeout, seconds;
    const struct slice s = props_str_get(m->properties, PROP_CHECK_IMMUNITY);
    if (s.p != NULL && slice_i64(s, &seconds) == 0 && seconds >= 0 && seconds <= INT32_MAX)
        wait = seconds * 1000;
    return message_store_time(m) + wait;
}

static int remember(struct tx *t, int64_t offset, const struct store_unit *u, int64_t due)
{
    struct half *h = calloc(1, sizeof *h);
    if (h == NULL)
        return E_NOMEM;
    *h = (struct half){.offset = offset, .phys_offset = u->phys_offset, .size = u->size};
    int rc = 0;
    uv_mutex_lock(&t->lock);
    if (tx_window_get(&t->window, offset) == TX_UNDECIDED && tx_half_find(t, offset) == NULL) {
        rc = map_put(t->halves, map_key_i64(&offset), h, NULL);
        if (rc == 0 && (rc = heap_push(&t->due, &h->due, due)) != 0)
            map_remove(t->halves, map_key_i64(&offset));
        if (rc == 0)
            h = NULL;
    }
    uv_mutex_unlock(&t->lock);
    free(h);
    return rc;
}

static int scan_unit(struct tx *t, int64_t offset, const struct store_unit *u)
{
    uv_mutex_lock(&t->lock);
    const bool decided = tx_window_get(&t->window, offset) != TX_UNDECIDED;
    uv_mutex_unlock(&t->lock);
    if (decided)
        return 0;
    struct store_view v;
    struct message m;
    struct err e;
    const struct half h = {.offset = offset, .phys_offset = u->phys_offset, .size = u->size};
    if (store_view(t->b->store, u->phys_offset, u->size, &v, &e) != 0) {
        if (claim_for_parking(t, &h))
            park(t, &h, NULL, e.text);
        return 0;
    }
    int rc = 0;
    if (message_decode(v.record, MESSAGE_CHECK_CRC, &m, &e) != 0) {
        if (claim_for_parking(t, &h))
            park(t, &h, NULL, e.text);
    } else if (props_str_get(m.properties, PROP_PGROUP).p == NULL ||
               props_str_get(m.properties, PROP_REAL_TOPIC).p == NULL) {
        if (claim_for_parking(t, &h))
            park(t, &h, &m, "no producer group or no real topic: nobody could be asked");
    } else {
        rc = remember(t, offset, u, first_due(t, &m));
    }
    store_view_release(&v);
    return rc;
}

static void scan(struct tx *t)
{
    struct store_unit units[UNITS];
    for (int done = 0; done < SCAN_PER_TICK;) {
        const int n = store_units(t->b->store, SLICE_LIT(TOPIC_HALF), 0, t->scan_to, units, UNITS);
        if (n <= 0)
            return;
        for (int i = 0; i < n; i++) {
            if (scan_unit(t, t->scan_to, &units[i]) != 0) {
                LOGE("tx.scan", "half_offset=%" PRId64 " text=\"out of memory: going on later\"", t->scan_to);
                return;
            }
            t->scan_to++;
        }
        done += n;
    }
}

/* --- check-back --- */

static int send_check(struct tx *t, struct conn *c, const struct half *h, const struct message *half)
{
    struct buf props;
    struct message m;
    struct err e;
    buf_init(&props, 0);
    int rc = tx_real_message(half, &props, &m, &e);
    char times[16], offset_id[MSG_ID_MAX];
    snprintf(times, sizeof times, "%d", h->answered + 1);
    if (rc == 0 && (rc = props_str_add(&props, PROP_TRANSACTION_CHECK_TIMES, slice_str(times))) == 0)
        m.properties = buf_slice(&props);
    m.body_crc = half->body_crc;
    size_t size = 0;
    char *record = NULL;
    if (rc == 0 && (rc = message_prepare(&m, &size)) == 0 && (record = malloc(size)) == NULL)
        rc = E_NOMEM;
    if (rc == 0) {
        const struct slice id = props_str_get(half->properties, PROP_UNIQ_KEY);
        message_encode(&m, record, size);
        put_msg_id(t->b, half->phys_offset, offset_id);
        const struct hdr_check_transaction hdr = {
            .topic = SLICE_LIT(TOPIC_HALF), .tran_state_table_offset = h->offset,
            .commit_log_offset = half->phys_offset, .msg_id = id, .transaction_id = id,
            .offset_msg_id = slice_str(offset_id), .broker_name = slice_str(t->b->conf->broker_name)};
        rc = conn_send_oneway(c, RC_CHECK_TRANSACTION_STATE, &hdr, slice_of(record, size));
    }
    free(record);
    buf_free(&props);
    return rc;
}

/* One half that is due; h is a copy, the entry may be gone by now. */
static void check(struct tx *t, const struct half *h)
{
    struct store_view v;
    struct message m;
    struct err e;
    if (store_view(t->b->store, h->phys_offset, h->size, &v, &e) != 0) {
        if (claim_for_parking(t, h))
            park(t, h, NULL, e.text);
        return;
    }
    if (message_decode(v.record, 0, &m, &e) != 0) {
        if (claim_for_parking(t, h))
            park(t, h, NULL, e.text);
    } else if (h->answered >= t->b->conf->transaction_check_max) {
        if (claim_for_parking(t, h))
            park(t, h, &m, "transactionCheckMax checks were answered without a verdict");
    } else if (FAILPOINT(FP_TX_CHECK) == 0) {
        struct conn *const c = clients_pick_producer(t->b->clients, props_str_get(m.properties, PROP_PGROUP));
        if (c != NULL) {
            int rc = send_check(t, c, h, &m);
            if (rc == 0 && FAILPOINT(FP_TX_CHECK_AGAIN) != 0)
                rc = send_check(t, c, h, &m);
            if (rc != 0)
                LOGW("tx.check", "half_offset=%" PRId64 " peer=%s text=\"%s\"", h->offset, conn_peer_text(c),
                     err_text(rc));
            conn_unref(c);
        }
    }
    store_view_release(&v);
}

static void check_due(struct tx *t)
{
    const int64_t now = clock_wall(t->b->clock);
    for (int i = 0; i < CHECKS_PER_TICK; i++) {
        uv_mutex_lock(&t->lock);
        struct heap_node *const node = heap_min(&t->due);
        struct half h;
        const bool due = node != NULL && node->key <= now;
        if (due) {
            h = *HEAP_ENTRY(node, struct half, due);
            heap_move(&t->due, node, now + t->b->conf->transaction_check_interval);
        }
        uv_mutex_unlock(&t->lock);
        if (!due)
            return;
        check(t, &h);
    }
}

static void tick(uv_timer_t *timer)
{
    struct tx *t = timer->data;
    scan(t);
    check_due(t);
    tx_op_write(t);
    tx_op_progress(t);
}

/* --- life --- */

int tx_start(struct broker *b, struct err *e)
{
    struct tx *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_set(e, E_NOMEM, "transaction table");
    b->tx = t;
    t->b = b;
    buf_init(&t->op_names, 0);
    buf_init(&t->op_body, 0);
    uv_mutex_init(&t->lock);
    t->halves = map_new();
    if (t->halves == NULL)
        return err_set(e, E_NOMEM, "transaction table");
    const int rc = tx_op_start(t, e);
    if (rc != 0)
        return rc;
    t->timer.data = t;
    uv_timer_init(&b->service.loop.uv, &t->timer);
    return 0;
}

void tx_begin(struct broker *b)
{
    const int64_t interval = b->conf->transaction_check_interval;
    uv_timer_start(&b->tx->timer, tick, 0, interval < TICK_MS_MAX ? (uint64_t)interval : TICK_MS_MAX);
}

int64_t tx_needed_from(struct broker *b)
{
    int64_t min, max;
    struct store_unit u;
    store_queue_range(b->store, SLICE_LIT(TOPIC_HALF), 0, &min, &max);
    const int64_t low = b->tx->durable_low > min ? b->tx->durable_low : min;
    return store_units(b->store, SLICE_LIT(TOPIC_HALF), 0, low, &u, 1) == 1 ? u.phys_offset : INT64_MAX;
}

void tx_stop(struct broker *b)
{
    struct tx *t = b->tx;
    if (t == NULL || t->stopped)
        return;
    tx_op_write(t);
    t->stopped = true;
    if (t->timer.data != NULL)
        uv_close((uv_handle_t *)&t->timer, NULL);
}

void tx_free(struct broker *b)
{
    struct tx *t = b->tx;
    if (t == NULL)
        return;
    tx_window_free(&t->window);
    map_free(t->halves, free);
    heap_free(&t->due);
    buf_free(&t->op_names);
    buf_free(&t->op_body);
    tx_spans_free(&t->spans);
    uv_mutex_destroy(&t->lock);
    free(t);
    b->tx = NULL;
}
