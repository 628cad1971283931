/* Cancelling: the order row's moves to CANCELLING, and the questions about what is under way.
 *
 * Of all who cancel (request thread, check-back, timer, user, sweeper) one moves the row; the others find
 * it moved. next_drive_at says when the sweeper looks whether the cancellation got through, drive_count how
 * often it has looked; CANCELLED clears both. Deadlines are compared with PostgreSQL's now().
 *
 * Runs on: message workers, HTTP workers and the sweeper's thread (blocking). Errors are db_tx's. */
#include "apps/order/order.h"

#include <stdio.h>

#include "apps/common/jsonx.h"

/* --- timer and user --- */

static const struct db_stmt LOCK = {
    "ord_lock_timeout",
    "SELECT order_status, pay_status, now() > saga_deadline AS saga_over, now() >= pay_deadline AS pay_over,"
    " greatest(0, ceil(extract(epoch FROM CASE order_status WHEN 0 THEN saga_deadline ELSE pay_deadline END"
    " - now()) * 1000))::bigint AS rest_ms FROM trade_order WHERE order_id = $1 FOR UPDATE"};
static const struct db_stmt CANCEL = {
    "ord_cancel",
    "UPDATE trade_order SET order_status = 5, pay_status = 0, cancel_reason = $2,"
    " fail_code = CASE order_status WHEN 0 THEN $4::int END, drive_count = 0,"
    " next_drive_at = now() + $3 * interval '1 millisecond'"
    " WHERE order_id = $1 AND (order_status = 0 OR (order_status = 1 AND pay_status < 2))"};
static const struct db_stmt CANCEL_CONFIRMED = {
    "ord_cancel_confirmed",
    "UPDATE trade_order SET order_status = 5, pay_status = 0, cancel_reason = $2, drive_count = 0,"
    " next_drive_at = now() + $3 * interval '1 millisecond'"
    " WHERE order_id = $1 AND order_status = 1 AND pay_status < 2"};

int repo_timeout(struct db_conn *c, int64_t order_id, int64_t drive_ms, enum timeout_reaction *out,
                 int64_t *rest_ms)
{
    struct db_rows r;
    int rc = db_query(c, &LOCK, &r, db_i64(order_id));
    if (rc != 0)
        return rc;
    const bool found = db_count(&r) == 1;
    *rest_ms = found ? db_get_i64(&r, 0, "rest_ms") : 0;
    *out =
        found ? timeout_reaction_of(true, (enum order_status)db_get_i64(&r, 0, "order_status"),
                                    (enum pay_status)db_get_i64(&r, 0, "pay_status"),
                                    db_get_bool(&r, 0, "saga_over"), db_get_bool(&r, 0, "pay_over"))
              : timeout_reaction_of(false, ORDER_PENDING, PAY_NONE, false, false);
    rc = db_rows_end(&r);
    return rc == 0 && *out == TIMEOUT_CANCEL
               ? db_exec(c, &CANCEL, NULL, db_i64(order_id), db_text("timeout"), db_i64(drive_ms),
                         db_i64(CODE_ORDER_CONFIRM))
               : rc;
}

int repo_cancel(struct db_conn *c, int64_t order_id, const char *reason, int64_t drive_ms)
{
    int64_t n = 0;
    const int rc =
        db_exec(c, &CANCEL_CONFIRMED, &n, db_i64(order_id), db_text(reason), db_i64(drive_ms));
    return rc != 0 || n == 1 ? rc
                             : db_refuse(c, CODE_ORDER_STATE, "order %lld", (long long)order_id);
}

/* --- the sweeper --- */

static const struct db_stmt SWEEP_LATE = {
    "ord_sweep_late",
    "UPDATE trade_order SET order_status = 5, pay_status = 0, cancel_reason = 'sweeper',"
    " fail_code = CASE order_status WHEN 0 THEN $4::int END, drive_count = 0, next_drive_at = now()"
    " WHERE order_id = ANY(ARRAY(SELECT order_id FROM trade_order WHERE"
    " (order_status = 0 AND saga_deadline < now() - $1 * interval '1 millisecond')"
    " OR (order_status = 1 AND pay_status < 2 AND pay_deadline < now() - $2 * interval '1 millisecond')"
    " LIMIT $3 FOR UPDATE SKIP LOCKED))"};
/* The doubling stops at 2^20: far beyond any max_ms, and below any overflow. */
static const struct db_stmt SWEEP_DRIVE = {
    "ord_sweep_drive",
    "UPDATE trade_order SET drive_count = drive_count + 1, next_drive_at = CASE WHEN drive_count + 1 < $1::bigint THEN"
    " now() + least($2::bigint * (1::bigint << least(drive_count, 20)), $3::bigint) * interval '1 millisecond' END"
    " WHERE order_id = ANY(ARRAY(SELECT order_id FROM trade_order WHERE order_status = 5 AND next_drive_at <= now()"
    " ORDER BY next_drive_at LIMIT $4 FOR UPDATE SKIP LOCKED))"
    " RETURNING order_id, drive_count, next_drive_at IS NULL AS stranded"};

struct sweep {
    const struct order_drive *d;
    struct swept *out;
    size_t max, n;
};

static int sweep_body(struct db_conn *c, void *arg)
{
    struct sweep *s = arg;
    struct db_rows r;
    int rc = db_exec(c, &SWEEP_LATE, NULL, db_i64(s->d->pending_ms), db_i64(s->d->unpaid_ms),
                     db_i64((int64_t)s->max), db_i64(CODE_ORDER_CONFIRM));
    if (rc != 0 || (rc = db_query(c, &SWEEP_DRIVE, &r, db_i64(s->d->times), db_i64(s->d->first_ms),
                                  db_i64(s->d->max_ms), db_i64((int64_t)s->max))) != 0)
        return rc;
    for (s->n = 0; s->n < (size_t)db_count(&r) && s->n < s->max; s->n++)
        s->out[s->n] = (struct swept){
            .order_id = db_get_i64(&r, (int)s->n, "order_id"),
            .attempt = (int)db_get_i64(&r, (int)s->n, "drive_count") + 1,
            .stranded = db_get_bool(&r, (int)s->n, "stranded"),
        };
    return db_rows_end(&r);
}

int repo_sweep(struct db *db, const struct order_drive *d, struct swept *out, size_t max, size_t *n,
               struct app_error *e)
{
    struct sweep s = {.d = d, .out = out, .max = max};
    const int rc = db_tx(db, sweep_body, &s, e);
    *n = rc == 0 ? s.n : 0;
    return rc;
}

/* --- questions --- */

static const struct db_stmt VERDICT = {
    "ord_verdict", "SELECT order_status, pay_status FROM trade_order WHERE order_id = $1"};

struct ask {
    const int64_t *ids;
    size_t n;
    int state;
    int64_t older_s;
    json_t *out;
};

static int verdicts_body(struct db_conn *c, void *arg)
{
    struct ask *a = arg;
    json_object_clear(a->out);
    int rc = 0;
    for (size_t i = 0; i < a->n && rc == 0; i++) {
        struct db_rows r;
        char key[ID_TEXT_MAX];
        if ((rc = db_query(c, &VERDICT, &r, db_i64(a->ids[i]))) != 0)
            break;
        const bool found = db_count(&r) == 1;
        const char *const text =
            found ? verdict_text_of(true, (enum order_status)db_get_i64(&r, 0, "order_status"),
                                    (enum pay_status)db_get_i64(&r, 0, "pay_status"))
                  : verdict_text_of(false, ORDER_PENDING, PAY_NONE);
        json_object_set_new(a->out, id_text(a->ids[i], key), json_string(text));
        rc = db_rows_end(&r);
    }
    return rc;
}

/* Runs body over a fresh JSON value; *out is taken by the caller. */
static int ask(struct db *db, db_body body, struct ask *a, json_t **out, struct app_error *e)
{
    if (a->out == NULL)
        return app_fail(e, APP_E_NOMEM, "an answer");
    const int rc = db_read(db, body, a, e);
    if (rc == 0)
        *out = a->out;
    else
        json_decref(a->out);
    return rc;
}

int repo_verdicts(struct db *db, const int64_t *ids, size_t n, json_t **out, struct app_error *e)
{
    struct ask a = {.ids = ids, .n = n, .out = json_object()};
    return ask(db, verdicts_body, &a, out, e);
}

static const struct db_stmt SAGAS = {
    "ord_sagas",
    "SELECT order_id, order_status, pay_status, extract(epoch FROM now() - add_time)::bigint AS age_s, comp_mask,"
    " drive_count, coalesce(cancel_reason, '') AS reason, order_status = 5 AND next_drive_at IS NULL AS stranded"
    " FROM trade_order WHERE (order_status IN (0, 5) OR (order_status = 1 AND pay_status < 2))"
    " AND ($1::bigint < 0 OR order_status = $1) AND add_time < now() - $2 * interval '1 second'"
    " ORDER BY add_time LIMIT 1000"};

static json_t *missing_json(enum order_status s, int64_t mask)
{
    static const enum branch branches[] = {BRANCH_STOCK, BRANCH_COUPON, BRANCH_BALANCE, BRANCH_PAY};
    json_t *const missing = json_array();
    for (int i = 0; i < 4 && s == ORDER_CANCELLING; i++)
        if (!(mask & comp_bit_of(branches[i])))
            json_array_append_new(missing, json_string(branch_text(branches[i])));
    return missing;
}

static int sagas_body(struct db_conn *c, void *arg)
{
    struct ask *a = arg;
    struct db_rows r;
    json_array_clear(a->out);
    const int rc = db_query(c, &SAGAS, &r, db_i64(a->state), db_i64(a->older_s));
    if (rc != 0)
        return rc;
    for (int i = 0; i < db_count(&r); i++) {
        const enum order_status s = (enum order_status)db_get_i64(&r, i, "order_status");
        json_array_append_new(
            a->out,
            json_pack("{s:o, s:i, s:s, s:I, s:I, s:o, s:I, s:s, s:b}", "order_id",
                      jsonx_from_id(db_get_i64(&r, i, "order_id")), "order_status", (int)s, "state",
                      order_status_text(s), "pay_status", db_get_i64(&r, i, "pay_status"), "age_s",
                      db_get_i64(&r, i, "age_s"), "missing",
                      missing_json(s, db_get_i64(&r, i, "comp_mask")), "drive_count",
                      db_get_i64(&r, i, "drive_count"), "reason", db_get_text(&r, i, "reason"),
                      "needs_operator", db_get_bool(&r, i, "stranded")));
    }
    return db_rows_end(&r);
}

int repo_sagas(struct db *db, int state, int64_t older_s, json_t **out, struct app_error *e)
{
    struct ask a = {.state = state, .older_s = older_s, .out = json_array()};
    return ask(db, sagas_body, &a, out, e);
}
