/* END_TRANSACTION: the producer's verdict.
 *
 * Happy path, on the network loop that received it: the half is read back at the physical offset the
 * request names and must be the half it speaks of (topic, group, both offsets, and the half queue
 * names it). The verdict claims it: the first decision is final, a second one meanwhile or later
 * changes nothing and is told success. Commit puts the message into its real topic and, once that is
 * stored as durably as the flush mode says, names the half in an op record; rollback only names it.
 *
 * Order matters: message first, op record after. A crash between the two makes the broker ask again and
 * may deliver the message twice; the other order could lose it.
 *
 * Failure modes: a put that is refused gives the claim back, so the half stays checkable. Verdict
 * "unknown" gets no answer at all (clients do not wait for one); from a check it counts as answered.
 *
 * Source: EndTransactionProcessor of 5.5.0 (order of checks, codes, remarks); the topic check and the
 * claim are ours. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/respcode.h"
#include "broker/tx_priv.h"
#include "proto/names.h"

enum { VERDICT_COMMIT = 8, VERDICT_ROLLBACK = 12 };

struct commit { /* lives in the request's arena */
    struct put put;
    struct req *r;
    int64_t half_offset, half_phys;
    int32_t half_size;
    struct buf props;
};

int tx_real_message(const struct message *half, struct buf *props, struct message *out, struct err *e)
{
    static const char *const dropped[] = {PROP_REAL_TOPIC, PROP_REAL_QID, PROP_CRC32, NULL};
    const struct slice topic = props_str_get(half->properties, PROP_REAL_TOPIC);
    int32_t queue_id;
    if (topic.p == NULL || topic_name_check(topic, NULL) != 0 ||
        slice_i32(props_str_get(half->properties, PROP_REAL_QID), &queue_id) != 0 || queue_id < 0)
        return err_set(e, E_CORRUPT, "the half message names no real topic and queue");
    props_str_copy_without(props, half->properties, dropped);
    if (buf_error(props) != 0)
        return err_set(e, buf_error(props), "properties of a half message");
    *out = *half;
    out->topic = topic;
    out->queue_id = queue_id;
    out->properties = buf_slice(props);
    return 0;
}

/* false: decided, or being decided. */
static int claim(struct tx *t, int64_t half_offset, bool *claimed)
{
    uv_mutex_lock(&t->lock);
    *claimed = tx_window_get(&t->window, half_offset) == TX_UNDECIDED;
    const int rc = *claimed ? tx_window_set(&t->window, half_offset, TX_DECIDING) : 0;
    if (rc == 0 && *claimed)
        tx_half_forget(t, half_offset);
    uv_mutex_unlock(&t->lock);
    return rc;
}

static void check_answered(struct tx *t, const struct hdr_end_transaction *h)
{
    uv_mutex_lock(&t->lock);
    struct half *const half = tx_half_find(t, h->tran_state_table_offset);
    if (half != NULL)
        half->answered++;
    uv_mutex_unlock(&t->lock);
}

static void commit_done(struct put *p)
{
    struct commit *c = LIST_ENTRY(p, struct commit, put);
    struct req *r = c->r;
    struct tx *t = req_broker(r)->tx;
    const enum put_status status = p->status;
    put_release(p);
    buf_free(&c->props);
    if (status == PUT_OK || status == PUT_FLUSH_TIMEOUT) {
        tx_decided(t, c->half_offset);
        req_reply(r, RESP_SUCCESS, NULL, NULL);
        return;
    }
    tx_unclaim(t, c->half_offset, c->half_phys, c->half_size);
    char remark[256];
    const int32_t code = respcode_of_put(t->b, status, remark, sizeof remark);
    req_reply(r, code, remark, NULL);
}

/* The half is claimed. */
static void commit(struct req *r, const struct message *half)
{
    struct broker *b = req_broker(r);
    struct commit *c = req_alloc(r, sizeof *c);
    struct message real;
    struct err e = {.code = E_NOMEM, .text = "out of memory"};
    enum put_status status = PUT_NO_MEMORY;
    if (c != NULL) {
        *c = (struct commit){.r = r, .half_offset = half->queue_offset, .half_phys = half->phys_offset,
                             .half_size = half->total_size};
        buf_init(&c->props, 0);
        if (tx_real_message(half, &c->props, &real, &e) == 0 && FAILPOINT(FP_TX_COMMIT_PUT) == 0) {
            real.sys_flag = (half->sys_flag & ~SYSFLAG_TX_MASK) | SYSFLAG_TX_COMMIT;
            real.prepared_offset = half->phys_offset;
            c->put = (struct put){.msg = real, .no_wait = false, .done = commit_done};
            status = put_start(req_submitter(r), &c->put);
            if (status == PUT_OK) {
                req_drop_input(r);
                return;
            }
        }
        buf_free(&c->props);
    }
    tx_unclaim(b->tx, half->queue_offset, half->phys_offset, half->total_size);
    char remark[256];
    const int32_t code = respcode_of_put(b, status, remark, sizeof remark);
    LOGE("tx.commit", "half_offset=%" PRId64 " code=%d text=\"%s\"", half->queue_offset, code,
         e.text);
    req_reply(r, code, remark, NULL);
}

/* Age at which only the check loop may decide, in ms; -1: no such limit. */
static int64_t immunity_ms(const struct broker *b, const struct message *half)
{
    int64_t seconds;
    const struct slice s = props_str_get(half->properties, PROP_CHECK_IMMUNITY);
    if (s.p == NULL || slice_i64(s, &seconds) != 0)
        return -1;
    return seconds < 0 || seconds > INT64_MAX / 2000 ? b->conf->transaction_timeout : seconds * 1000;
}

/* The half queue knows it. A body may hold bytes that read as a half with any offset; without this its
 * sender could decide the halves of others, or make the window grow to wherever it likes. */
static bool is_queued(const struct broker *b, const struct message *half)
{
    struct store_unit u;
    return store_units(b->store, SLICE_LIT(TOPIC_HALF), 0, half->queue_offset, &u, 1) == 1 &&
           u.phys_offset == half->phys_offset && u.size == half->total_size;
}

static void decide(struct req *r, const struct hdr_end_transaction *h, const struct message *half)
{
    struct broker *b = req_broker(r);
    const int64_t immunity = h->from_transaction_check ? -1 : immunity_ms(b, half);
    if (immunity >= 0 && clock_wall(b->clock) - message_store_time(half) > immunity) {
        req_reply(r, RESP_ILLEGAL_OPERATION, NULL, NULL);
        return;
    }
    if (!slice_eq(props_str_get(half->properties, PROP_PGROUP), h->producer_group)) {
        req_reply(r, RESP_SYSTEM_ERROR, "The producer group wrong", NULL);
        return;
    }
    if (half->queue_offset != h->tran_state_table_offset) {
        req_reply(r, RESP_SYSTEM_ERROR, "The transaction state table offset wrong", NULL);
        return;
    }
    if (half->phys_offset != h->commit_log_offset || !is_queued(b, half)) {
        req_reply(r, RESP_SYSTEM_ERROR, "The commit log offset wrong", NULL);
        return;
    }
    bool claimed;
    if (claim(b->tx, half->queue_offset, &claimed) != 0) {
        req_reply(r, RESP_SYSTEM_BUSY, "out of memory, try again", NULL);
    } else if (!claimed) {
        req_reply(r, RESP_SUCCESS, "already decided", NULL);
    } else if (h->commit_or_rollback == VERDICT_COMMIT) {
        commit(r, half);
    } else {
        tx_decided(b->tx, half->queue_offset);
        req_reply(r, RESP_SUCCESS, NULL, NULL);
    }
}

void on_end_transaction(struct req *r)
{
    struct broker *b = req_broker(r);
    struct hdr_end_transaction h;
    if (req_header(r, &h) != 0)
        return;
    if (FAILPOINT(FP_TX_END) != 0) {
        req_discard(r);
        return;
    }
    if (h.commit_or_rollback != VERDICT_COMMIT && h.commit_or_rollback != VERDICT_ROLLBACK) {
        if (h.from_transaction_check)
            check_answered(b->tx, &h);
        req_discard(r);
        return;
    }
    struct store_view v;
    struct message half;
    struct err e;
    if (store_view(b->store, h.commit_log_offset, 0, &v, &e) != 0) {
        req_reply(r, RESP_SYSTEM_ERROR, "Find prepared transaction message failed", NULL);
        return;
    }
    if (message_decode(v.record, 0, &half, &e) != 0 || !slice_eq_str(half.topic, TOPIC_HALF))
        req_reply(r, RESP_SYSTEM_ERROR, "Find prepared transaction message failed", NULL);
    else
        decide(r, &h, &half);
    store_view_release(&v);
}
