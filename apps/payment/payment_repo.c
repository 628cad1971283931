/* Opening, settling, closing: the payment row's moves, each a compare-and-set whose losers read what the row became.
 *
 * Opening and closing payments of one order meet at its row of order_gate: whoever opens or closes locks
 * it first, so a payment whose intent was granted a moment before the order was cancelled is either seen
 * by the closing transaction or refused at the gate. Uniqueness in the table covers open payments only: a
 * late callback for an older payment must still be recordable.
 *
 * next_drive_at says when the reconciler looks at the row: an open payment when its callback is overdue, a
 * closed one until the provider has confirmed that nothing can be captured, a paid or refunded one until
 * it is settled. NULL: it rests. Every move starts drive_count afresh.
 *
 * Runs on: HTTP workers and message workers (blocking). Errors are db_tx's. */
#include "apps/payment/payment.h"

#include "apps/common/naive.h"
#include "apps/payment/payment_rows.h"

#include <stdio.h>
#include <string.h>

void pay_read_row(struct db_rows *r, int row, struct payment *p)
{
    *p = (struct payment){
        .pay_id = db_get_i64(r, row, "pay_id"),
        .order_id = db_get_i64(r, row, "order_id"),
        .user_id = db_get_i64(r, row, "user_id"),
        .amount = db_get_i64(r, row, "pay_amount"),
        .state = (enum pay_state)db_get_i64(r, row, "is_paid"),
        .acks = (int)db_get_i64(r, row, "acks"),
        .suspect = db_get_bool(r, row, "suspect"),
    };
    (void)snprintf(p->pay_deadline, sizeof p->pay_deadline, "%s",
                   db_get_text(r, row, "pay_deadline"));
}

/* --- reading --- */

static const struct db_stmt LOAD = {"pay_load",
                                    "SELECT " PAY_COLUMNS " FROM trade_pay WHERE pay_id = $1"};

struct load {
    int64_t pay_id;
    struct payment *out;
    bool found;
};

static int load_body(struct db_conn *c, void *arg)
{
    struct load *l = arg;
    struct db_rows r;
    const int rc = db_query(c, &LOAD, &r, db_i64(l->pay_id));
    if (rc != 0)
        return rc;
    l->found = db_count(&r) == 1;
    if (l->found)
        pay_read_row(&r, 0, l->out);
    return db_rows_end(&r);
}

int pay_repo_load(struct db *db, int64_t pay_id, struct payment *out, bool *found,
                  struct app_error *e)
{
    struct load l = {.pay_id = pay_id, .out = out};
    const int rc = db_read(db, load_body, &l, e);
    *found = l.found;
    return rc;
}

/* --- none -> OPEN --- */

static const struct db_stmt ADD_GATE = {
    "pay_add_gate", "INSERT INTO order_gate(order_id) VALUES ($1) ON CONFLICT DO NOTHING"};
static const struct db_stmt LOCK_GATE = {
    "pay_lock_gate", "SELECT closed FROM order_gate WHERE order_id = $1 FOR UPDATE"};
static const struct db_stmt SIBLINGS = {
    "pay_siblings",
    "SELECT " PAY_COLUMNS " FROM trade_pay WHERE order_id = $1 AND is_paid <> 3 ORDER BY pay_id"};
static const struct db_stmt INSERT = {
    "pay_insert",
    "INSERT INTO trade_pay(pay_id, order_id, user_id, pay_amount, pay_deadline, next_drive_at)"
    " VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 millisecond') RETURNING " PAY_COLUMNS};

struct open {
    const struct payment *p;
    int64_t query_ms;
    struct payment *out;
    bool created;
};

static int lock_gate(struct db_conn *c, int64_t order_id, bool *closed)
{
    struct db_rows r;
    int rc = db_exec(c, &ADD_GATE, NULL, db_i64(order_id));
    if (rc != 0 || (rc = db_query(c, &LOCK_GATE, &r, db_i64(order_id))) != 0)
        return rc;
    *closed = db_get_bool(&r, 0, "closed");
    return db_rows_end(&r);
}

static int look_at_siblings(struct db_conn *c, struct open *o, bool *kept, bool *open)
{
    struct db_rows r;
    const int rc = db_query(c, &SIBLINGS, &r, db_i64(o->p->order_id));
    if (rc != 0)
        return rc;
    *kept = *open = false;
    for (int i = 0; i < db_count(&r); i++) {
        struct payment sibling;
        pay_read_row(&r, i, &sibling);
        *kept |= pay_is_kept(sibling.state);
        if (sibling.state == PAY_OPEN) {
            *open = true;
            *o->out = sibling;
        }
    }
    return db_rows_end(&r);
}

static int insert_open(struct db_conn *c, struct open *o)
{
    const struct payment *p = o->p;
    struct db_rows r;
    const int rc =
        db_query(c, &INSERT, &r, db_i64(p->pay_id), db_i64(p->order_id), db_i64(p->user_id),
                 db_i64(p->amount), db_text(p->pay_deadline), db_i64(o->query_ms));
    if (rc != 0)
        return rc;
    pay_read_row(&r, 0, o->out);
    o->created = true;
    return db_rows_end(&r);
}

static int open_body(struct db_conn *c, void *arg)
{
    struct open *o = arg;
    bool closed = false, kept = false, open = false;
    o->created = false;
    int rc = lock_gate(c, o->p->order_id, &closed);
    if (rc != 0 || (rc = look_at_siblings(c, o, &kept, &open)) != 0)
        return rc;
    switch (open_reaction_of(closed && !NAIVE(D12_NO_PAYMENT_GATE), kept, open)) {
    case OPEN_PAID:
        return db_refuse(c, CODE_PAY_IS_PAID, "order %lld", (long long)o->p->order_id);
    case OPEN_CLOSED:
        return db_refuse(c, CODE_PAY_NOT_PAYABLE, "order %lld is closed",
                         (long long)o->p->order_id);
    case OPEN_EXISTING:
        return 0;
    case OPEN_NEW:
        break;
    }
    return insert_open(c, o);
}

int pay_repo_open(struct db *db, const struct payment *p, int64_t query_ms, struct payment *out,
                  bool *created, struct app_error *e)
{
    struct open o = {.p = p, .query_ms = query_ms, .out = out};
    const int rc = db_tx(db, open_body, &o, e);
    *created = o.created;
    return rc;
}

/* --- OPEN, CLOSED -> PAID --- */

static const struct db_stmt SETTLE = {
    "pay_settle",
    "UPDATE trade_pay SET is_paid = 2, provider_txn_id = $2, paid_time = now(), drive_count = 0,"
    " next_drive_at = now() + $3 * interval '1 millisecond' WHERE pay_id = $1 AND is_paid IN (0, 3)"};
static const struct db_stmt SUSPECT = {"pay_suspect",
                                       "UPDATE trade_pay SET suspect = true WHERE pay_id = $1"};

int pay_repo_settle(struct db_conn *c, int64_t pay_id, const char *provider_txn_id,
                    int64_t drive_ms)
{
    int64_t n = 0;
    const int rc =
        db_exec(c, &SETTLE, &n, db_i64(pay_id), db_text(provider_txn_id), db_i64(drive_ms));
    return rc != 0 || n == 1 ? rc
                             : db_refuse(c, CODE_PAY_IS_PAID, "payment %lld", (long long)pay_id);
}

static int suspect_body(struct db_conn *c, void *arg)
{
    return db_exec(c, &SUSPECT, NULL, db_i64(*(const int64_t *)arg));
}

int pay_repo_suspect(struct db *db, int64_t pay_id, struct app_error *e)
{
    return db_tx(db, suspect_body, &pay_id, e);
}

/* --- OPEN -> CLOSED, acknowledgements --- */

/* The upsert takes the row's lock in either case. */
static const struct db_stmt CLOSE_GATE = {
    "pay_close_gate",
    "INSERT INTO order_gate(order_id, closed) VALUES ($1, true) ON CONFLICT (order_id) DO UPDATE SET closed = true"};
static const struct db_stmt CLOSE_OPEN = {
    "pay_close_open",
    "UPDATE trade_pay SET is_paid = 3, drive_count = 0, next_drive_at = now() + $3 * interval '1 millisecond'"
    " WHERE order_id = $1 AND is_paid = 0 AND pay_id <> $2"};
static const struct db_stmt ACK = {
    "pay_ack",
    "UPDATE trade_pay SET acks = acks | $2::smallint,"
    " next_drive_at = CASE WHEN (is_paid = 2 AND (acks | $2::smallint) & 7 = 7)"
    " OR (is_paid = 5 AND (acks | $2::smallint) & 24 = 24) THEN NULL ELSE next_drive_at END"
    " WHERE pay_id = $1 AND is_paid NOT IN (0, 3)"};

int pay_repo_close_gate(struct db_conn *c, int64_t order_id, int64_t except, int64_t confirm_ms,
                        int64_t *closed)
{
    const int rc = db_exec(c, &CLOSE_GATE, NULL, db_i64(order_id));
    return rc != 0 ? rc
                   : db_exec(c, &CLOSE_OPEN, closed, db_i64(order_id), db_i64(except),
                             db_i64(confirm_ms));
}

int pay_repo_ack(struct db_conn *c, int64_t pay_id, int bit, bool *hit)
{
    int64_t n = 0;
    const int rc = db_exec(c, &ACK, &n, db_i64(pay_id), db_i64(bit));
    *hit = n == 1;
    return rc;
}

static const struct db_stmt UNCONFIRMED = {
    "pay_unconfirmed",
    "SELECT pay_id FROM trade_pay WHERE order_id = $1 AND is_paid = 3 AND next_drive_at IS NOT NULL"
    " ORDER BY pay_id LIMIT $2"};
static const struct db_stmt CONFIRMED = {
    "pay_close_confirmed",
    "UPDATE trade_pay SET is_paid = 3, next_drive_at = NULL WHERE pay_id = $1 AND is_paid IN (0, 3)"};

struct unconfirmed {
    int64_t order_id, *out;
    size_t n;
};

static int unconfirmed_body(struct db_conn *c, void *arg)
{
    struct unconfirmed *u = arg;
    struct db_rows r;
    const int rc = db_query(c, &UNCONFIRMED, &r, db_i64(u->order_id), db_i64(UNCONFIRMED_MAX));
    if (rc != 0)
        return rc;
    for (u->n = 0; u->n < (size_t)db_count(&r); u->n++)
        u->out[u->n] = db_get_i64(&r, (int)u->n, "pay_id");
    return db_rows_end(&r);
}

int pay_repo_unconfirmed(struct db *db, int64_t order_id, int64_t out[UNCONFIRMED_MAX], size_t *n,
                         struct app_error *e)
{
    struct unconfirmed u = {.order_id = order_id, .out = out};
    const int rc = db_read(db, unconfirmed_body, &u, e);
    *n = u.n;
    return rc;
}

static int confirmed_body(struct db_conn *c, void *arg)
{
    return db_exec(c, &CONFIRMED, NULL, db_i64(*(const int64_t *)arg));
}

int pay_repo_close_confirmed(struct db *db, int64_t pay_id, struct app_error *e)
{
    return db_tx(db, confirmed_body, &pay_id, e);
}
