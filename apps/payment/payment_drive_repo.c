/* Refunding, and what is due: the payment row's other moves, in transactions of their own.
 *
 * A refund is two transactions with the provider between them: PAID -> REFUNDING says that somebody is at
 * it, REFUNDING -> REFUNDED that it is done. Who dies in between is followed by a redelivery or by the
 * reconciler, who finds REFUNDING and asks the provider again, under the same key.
 *
 * Taking what is due moves next_drive_at ahead in the same statement, so every instance may take; what is
 * taken and then dropped comes up again. Runs on: message workers and the reconciler's thread. */
#include "apps/payment/payment_rows.h"

/* --- refund --- */

static const struct db_stmt LOCK = {"pay_lock", "SELECT " PAY_COLUMNS
                                                " FROM trade_pay WHERE pay_id = $1 FOR UPDATE"};
static const struct db_stmt REFUNDING = {
    "pay_refunding",
    "UPDATE trade_pay SET is_paid = 4, drive_count = 0, next_drive_at = now() + $2 * interval '1 millisecond'"
    " WHERE pay_id = $1 AND is_paid = 2"};
static const struct db_stmt REFUNDED = {
    "pay_refunded",
    "UPDATE trade_pay SET is_paid = 5, refund_time = now(), drive_count = 0,"
    " next_drive_at = now() + $2 * interval '1 millisecond' WHERE pay_id = $1 AND is_paid = 4"};
static const struct db_stmt REFUND_FAILED = {
    "pay_refund_failed",
    "UPDATE trade_pay SET is_paid = 6, next_drive_at = NULL WHERE pay_id = $1 AND is_paid = 4"};

struct refund {
    int64_t pay_id, drive_ms;
    struct payment *out;
    enum refund_reaction reaction;
    bool refunded;
    const struct inbox_msg *m;
};

static int begin_body(struct db_conn *c, void *arg)
{
    struct refund *f = arg;
    struct db_rows r;
    int rc = db_query(c, &LOCK, &r, db_i64(f->pay_id));
    if (rc != 0)
        return rc;
    const bool found = db_count(&r) == 1;
    if (found)
        pay_read_row(&r, 0, f->out);
    if ((rc = db_rows_end(&r)) != 0)
        return rc;
    f->reaction = refund_reaction_of(found, found ? f->out->state : PAY_OPEN);
    return f->reaction == REFUND_GO && f->out->state == PAY_PAID
               ? db_exec(c, &REFUNDING, NULL, db_i64(f->pay_id), db_i64(f->drive_ms))
               : 0;
}

int pay_repo_refund_begin(struct db *db, int64_t pay_id, int64_t drive_ms, struct payment *out,
                          enum refund_reaction *reaction, struct app_error *e)
{
    struct refund f = {.pay_id = pay_id, .drive_ms = drive_ms, .out = out};
    const int rc = db_tx(db, begin_body, &f, e);
    *reaction = f.reaction;
    return rc;
}

static int end_body(struct db_conn *c, void *arg)
{
    const struct refund *f = arg;
    bool fresh;
    const int rc = f->refunded ? db_exec(c, &REFUNDED, NULL, db_i64(f->pay_id), db_i64(f->drive_ms))
                               : db_exec(c, &REFUND_FAILED, NULL, db_i64(f->pay_id));
    return rc != 0 || f->m == NULL
               ? rc
               : inbox_record(c, f->m, f->refunded ? "refunded" : "refused", &fresh);
}

int pay_repo_refund_end(struct db *db, int64_t pay_id, bool refunded, int64_t drive_ms,
                        const struct inbox_msg *m, struct app_error *e)
{
    struct refund f = {.pay_id = pay_id, .drive_ms = drive_ms, .refunded = refunded, .m = m};
    return db_tx(db, end_body, &f, e);
}

/* --- what is due --- */

/* The doubling stops at 2^20: far beyond any max_ms, and below any overflow. */
static const struct db_stmt DUE = {
    "pay_due",
    "UPDATE trade_pay SET drive_count = drive_count + 1, next_drive_at = CASE is_paid"
    " WHEN 0 THEN greatest(pay_deadline, now() + $1 * interval '1 millisecond')"
    " WHEN 3 THEN CASE WHEN drive_count + 1 < $3::bigint THEN now() + $2 * interval '1 millisecond' END"
    " ELSE now() + least($4::bigint * (1::bigint << least(drive_count, 20)), $5::bigint) * interval '1 millisecond' END"
    " WHERE pay_id = ANY(ARRAY(SELECT pay_id FROM trade_pay WHERE next_drive_at <= now()"
    " ORDER BY next_drive_at LIMIT $6 FOR UPDATE SKIP LOCKED))"
    " RETURNING " PAY_COLUMNS ", drive_count, coalesce(pay_deadline <= now(), false) AS overdue,"
    " next_drive_at IS NULL AS given_up"};

struct take {
    const struct pay_drive *d;
    struct pay_due *out;
    size_t max, n;
};

static int due_body(struct db_conn *c, void *arg)
{
    struct take *t = arg;
    const struct pay_drive *d = t->d;
    struct db_rows r;
    const int rc =
        db_query(c, &DUE, &r, db_i64(d->query_ms), db_i64(d->confirm_ms), db_i64(d->confirm_times),
                 db_i64(d->first_ms), db_i64(d->max_ms), db_i64((int64_t)t->max));
    if (rc != 0)
        return rc;
    for (t->n = 0; t->n < (size_t)db_count(&r) && t->n < t->max; t->n++) {
        struct pay_due *due = &t->out[t->n];
        pay_read_row(&r, (int)t->n, &due->payment);
        due->attempt = (int)db_get_i64(&r, (int)t->n, "drive_count") + 1;
        due->overdue = db_get_bool(&r, (int)t->n, "overdue");
        due->given_up = db_get_bool(&r, (int)t->n, "given_up");
    }
    return db_rows_end(&r);
}

int pay_repo_due(struct db *db, const struct pay_drive *d, struct pay_due *out, size_t max,
                 size_t *n, struct app_error *e)
{
    struct take t = {.d = d, .out = out, .max = max};
    const int rc = db_tx(db, due_body, &t, e);
    *n = rc == 0 ? t.n : 0;
    return rc;
}
