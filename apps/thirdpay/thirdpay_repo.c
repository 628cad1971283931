/* The provider's books. A charge is OPEN until the payer pays (CAPTURED) or the merchant gives up (CLOSED);
 * of the two, whoever locks the row first wins, and the other is told. A captured charge and its callback
 * are written in one transaction.
 *
 * Callbacks that are due are leased (next_at moves ahead), so several instances may deliver, and one that
 * dies is followed by the next when the lease is over: delivery is at least once, as with real providers.
 *
 * Runs on: HTTP workers and the notify job (blocking). Errors are db_tx's. */
#include "apps/thirdpay/thirdpay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHARGE_COLUMNS                                                                                                       \
    "c.out_trade_no, coalesce(c.provider_txn_id, '') AS provider_txn_id, c.amount, c.currency, c.status,"                    \
    " c.refunded, c.notify_url, coalesce(to_char(c.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '')" \
    " AS expires_at"

static void copy_text(char *dst, size_t cap, const char *src)
{
    (void)snprintf(dst, cap, "%s", src);
}

static void read_charge(struct db_rows *r, int row, struct tp_charge *c)
{
    *c = (struct tp_charge){.out_trade_no = db_get_i64(r, row, "out_trade_no"),
                            .amount = db_get_i64(r, row, "amount"),
                            .refunded = db_get_i64(r, row, "refunded")};
    copy_text(c->txn_id, sizeof c->txn_id, db_get_text(r, row, "provider_txn_id"));
    copy_text(c->currency, sizeof c->currency, db_get_text(r, row, "currency"));
    copy_text(c->status, sizeof c->status, db_get_text(r, row, "status"));
    copy_text(c->notify_url, sizeof c->notify_url, db_get_text(r, row, "notify_url"));
    copy_text(c->expires_at, sizeof c->expires_at, db_get_text(r, row, "expires_at"));
}

static const struct db_stmt LOAD = {"tp_load", "SELECT " CHARGE_COLUMNS
                                               " FROM charge c WHERE out_trade_no = $1"};
static const struct db_stmt LOCK = {
    "tp_lock",
    "SELECT " CHARGE_COLUMNS ", coalesce(c.expires_at <= now(), false) AS expired, c.refund_key"
    " FROM charge c WHERE out_trade_no = $1 FOR UPDATE"};

/* One charge and what is wanted of it; each operation uses its part. */
struct work {
    struct thirdpay *t;
    const struct tp_charge *in;
    struct tp_charge *out;
    int64_t out_trade_no, delay_ms, amount;
    const char *key;
    bool found, hit, late;
};

static int load_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    struct db_rows r;
    const int rc = db_query(c, &LOAD, &r, db_i64(w->out_trade_no));
    if (rc != 0)
        return rc;
    w->found = db_count(&r) == 1;
    if (w->found)
        read_charge(&r, 0, w->out);
    return db_rows_end(&r);
}

int tp_load(struct db *db, int64_t out_trade_no, struct tp_charge *out, bool *found,
            struct app_error *e)
{
    struct work w = {.out = out, .out_trade_no = out_trade_no};
    const int rc = db_read(db, load_body, &w, e);
    *found = w.found;
    return rc;
}

/* Locks the row into *w->out. refund_key (may be NULL) receives the key of a refund, "" for none. */
static int lock_charge(struct db_conn *c, struct work *w, bool *expired, char refund_key[65])
{
    struct db_rows r;
    const int rc = db_query(c, &LOCK, &r, db_i64(w->out_trade_no));
    if (rc != 0)
        return rc;
    const bool found = db_count(&r) == 1;
    if (found) {
        read_charge(&r, 0, w->out);
        *expired = db_get_bool(&r, 0, "expired");
        if (refund_key != NULL)
            copy_text(refund_key, 65, db_get_text_or(&r, 0, "refund_key", ""));
    }
    const int ended = db_rows_end(&r);
    return ended != 0 || found
               ? ended
               : db_refuse(c, CODE_PAY_NOT_FOUND, "%lld", (long long)w->out_trade_no);
}

static bool is(const struct tp_charge *c, const char *status)
{
    return strcmp(c->status, status) == 0;
}

/* --- create --- */

static const struct db_stmt CREATE = {
    "tp_create",
    "INSERT INTO charge(out_trade_no, provider_txn_id, amount, currency, status, notify_url, expires_at)"
    " VALUES ($1, $2, $3, $4, 'OPEN', $5, $6) ON CONFLICT DO NOTHING"};

static int create_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    const struct tp_charge *in = w->in;
    int64_t n = 0;
    bool expired = false;
    int rc = db_exec(c, &CREATE, &n, db_i64(in->out_trade_no), db_text(in->txn_id),
                     db_i64(in->amount), db_text(in->currency), db_text(in->notify_url),
                     db_text(in->expires_at[0] ? in->expires_at : NULL));
    if (rc != 0 || (rc = lock_charge(c, w, &expired, NULL)) != 0)
        return rc;
    w->hit = n == 1;
    if (w->out->amount != in->amount || strcmp(w->out->currency, in->currency) != 0)
        return db_refuse(c, CODE_PAY_AMOUNT, "charge %lld exists over other money",
                         (long long)in->out_trade_no);
    return 0;
}

int tp_create(struct db *db, const struct tp_charge *c, struct tp_charge *out, bool *created,
              struct app_error *e)
{
    struct work w = {.in = c, .out = out, .out_trade_no = c->out_trade_no};
    const int rc = db_tx(db, create_body, &w, e);
    *created = w.hit;
    return rc;
}

/* --- capture --- */

static const struct db_stmt CAPTURE = {
    "tp_capture",
    "UPDATE charge SET status = 'CAPTURED', capture_time = now() WHERE out_trade_no = $1"};
static const struct db_stmt ADD_NOTIFY = {
    "tp_add_notify", "INSERT INTO notify(out_trade_no, body, next_at) VALUES ($1, $2,"
                     " CASE WHEN $3::bigint >= 0 THEN now() + $3 * interval '1 millisecond' END)"};

static int capture_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    bool expired = false;
    w->hit = false;
    int rc = lock_charge(c, w, &expired, NULL);
    if (rc != 0 || is(w->out, "CAPTURED"))
        return rc;
    if ((is(w->out, "CLOSED") || expired) && !w->late)
        return db_refuse(c, CODE_PAY_NOT_PAYABLE, "charge %lld is %s", (long long)w->out_trade_no,
                         expired ? "expired" : "closed");
    copy_text(w->out->status, sizeof w->out->status, "CAPTURED");
    char *form = tp_notify_form(w->t->sign_key, w->out, w->out->amount, db_error(c));
    if (form == NULL)
        return db_error(c)->kind;
    rc = db_exec(c, &CAPTURE, NULL, db_i64(w->out_trade_no));
    if (rc == 0)
        rc = db_exec(c, &ADD_NOTIFY, NULL, db_i64(w->out_trade_no), db_text(form),
                     db_i64(w->delay_ms));
    free(form);
    w->hit = rc == 0;
    return rc;
}

int tp_capture(struct thirdpay *t, int64_t out_trade_no, int64_t delay_ms, bool late,
               struct tp_charge *out, bool *first, struct app_error *e)
{
    struct work w = {
        .t = t, .out = out, .out_trade_no = out_trade_no, .delay_ms = delay_ms, .late = late};
    const int rc = db_tx(t->db, capture_body, &w, e);
    *first = w.hit;
    return rc;
}

/* --- close, refund --- */

static const struct db_stmt CLOSE = {"tp_close",
                                     "UPDATE charge SET status = 'CLOSED' WHERE out_trade_no = $1"};
static const struct db_stmt REFUND = {
    "tp_refund", "UPDATE charge SET refunded = amount, refund_key = $2 WHERE out_trade_no = $1"};

static int close_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    bool expired = false;
    const int rc = lock_charge(c, w, &expired, NULL);
    if (rc != 0 || is(w->out, "CLOSED"))
        return rc;
    if (is(w->out, "CAPTURED"))
        return db_refuse(c, CODE_PAY_IS_PAID, "charge %lld is captured",
                         (long long)w->out_trade_no);
    copy_text(w->out->status, sizeof w->out->status, "CLOSED");
    return db_exec(c, &CLOSE, NULL, db_i64(w->out_trade_no));
}

int tp_close(struct db *db, int64_t out_trade_no, struct tp_charge *out, struct app_error *e)
{
    struct work w = {.out = out, .out_trade_no = out_trade_no};
    return db_tx(db, close_body, &w, e);
}

static int refund_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    bool expired = false;
    char key[65] = "";
    const int rc = lock_charge(c, w, &expired, key);
    if (rc != 0)
        return rc;
    if (!is(w->out, "CAPTURED") || w->amount != w->out->amount ||
        (key[0] != '\0' && strcmp(key, w->key) != 0))
        return db_refuse(c, CODE_PAY_REFUND, "charge %lld is %s, over %lld, %s",
                         (long long)w->out_trade_no, w->out->status, (long long)w->out->amount,
                         key[0] ? "refunded under another key" : "not refunded");
    if (key[0] != '\0')
        return 0;
    w->out->refunded = w->out->amount;
    return db_exec(c, &REFUND, NULL, db_i64(w->out_trade_no), db_text(w->key));
}

int tp_refund(struct db *db, int64_t out_trade_no, const char *key, int64_t amount,
              struct tp_charge *out, struct app_error *e)
{
    struct work w = {.out = out, .out_trade_no = out_trade_no, .key = key, .amount = amount};
    return db_tx(db, refund_body, &w, e);
}

/* --- callbacks --- */

static const struct db_stmt TAKE = {
    "tp_notify_take",
    "UPDATE notify n SET attempts = attempts + 1, next_at = now() + $1 * interval '1 millisecond' FROM charge c"
    " WHERE c.out_trade_no = n.out_trade_no AND n.notify_id = ANY(ARRAY(SELECT notify_id FROM notify"
    " WHERE next_at <= now() ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED))"
    " RETURNING n.notify_id, n.attempts, " CHARGE_COLUMNS};
static const struct db_stmt DONE = {
    "tp_notify_done",
    "UPDATE notify SET delivered_at = CASE WHEN $2 THEN now() END, last_answer = $3,"
    " next_at = CASE WHEN $4::bigint >= 0 THEN now() + $4 * interval '1 millisecond' END WHERE notify_id = $1"};

struct take {
    int64_t lease_ms;
    struct tp_notify *out;
    size_t max, n;
};

static int take_body(struct db_conn *c, void *arg)
{
    struct take *t = arg;
    struct db_rows r;
    const int rc = db_query(c, &TAKE, &r, db_i64(t->lease_ms), db_i64((int64_t)t->max));
    if (rc != 0)
        return rc;
    for (t->n = 0; t->n < (size_t)db_count(&r) && t->n < t->max; t->n++) {
        struct tp_notify *n = &t->out[t->n];
        n->notify_id = db_get_i64(&r, (int)t->n, "notify_id");
        n->attempt = (int)db_get_i64(&r, (int)t->n, "attempts");
        read_charge(&r, (int)t->n, &n->charge);
    }
    return db_rows_end(&r);
}

int tp_notify_take(struct db *db, int64_t lease_ms, struct tp_notify *out, size_t max, size_t *n,
                   struct app_error *e)
{
    struct take t = {.lease_ms = lease_ms, .out = out, .max = max};
    const int rc = db_tx(db, take_body, &t, e);
    *n = t.n;
    return rc;
}

struct done {
    int64_t notify_id, retry_ms;
    bool delivered;
    const char *answer;
};

static int done_body(struct db_conn *c, void *arg)
{
    const struct done *d = arg;
    return db_exec(c, &DONE, NULL, db_i64(d->notify_id), db_bool(d->delivered), db_text(d->answer),
                   db_i64(d->retry_ms));
}

int tp_notify_done(struct db *db, int64_t notify_id, bool delivered, const char *answer,
                   int64_t retry_ms, struct app_error *e)
{
    struct done d = {
        .notify_id = notify_id, .retry_ms = retry_ms, .delivered = delivered, .answer = answer};
    return db_tx(db, done_body, &d, e);
}
