/* Coupons in PostgreSQL: use, return, quote.
 *
 * Any thread. Using a coupon is one conditional update that names everything that must hold; when it
 * touches no row, a second statement finds out why, for the answer only. The ledger row keeps what the
 * use was worth: a repeated try answers from it, and the return reads from it which coupon to give back.
 */
#include "apps/coupon/coupon.h"

#include "apps/common/codes.h"

static const struct db_stmt USE = {
    "cpn_use",
    "WITH u AS (UPDATE trade_coupon SET is_used = 1, order_id = $1, used_time = now() "
    "WHERE coupon_id = $2 AND user_id = $3 AND is_used = 0 AND min_amount <= $4 AND now() >= valid_from AND now() < valid_to "
    "RETURNING coupon_id, least(coupon_price, $4) AS worth) "
    "INSERT INTO coupon_log(coupon_id, order_id, log_type, coupon_paid) SELECT coupon_id, $1, 1, worth FROM u "
    "RETURNING coupon_paid"};
static const struct db_stmt WHY = {
    "cpn_why",
    "SELECT user_id, is_used, min_amount <= $2 AS large_enough, now() >= valid_from AND now() < valid_to AS in_time, "
    "least(coupon_price, $2) AS worth FROM trade_coupon WHERE coupon_id = $1"};
static const struct db_stmt READ_USE = {
    "cpn_read_use", "SELECT coupon_paid FROM coupon_log WHERE order_id = $1 AND log_type = 1"};
static const struct db_stmt RETURN = {
    "cpn_return",
    "WITH l AS (SELECT coupon_id, coupon_paid FROM coupon_log WHERE order_id = $1 AND log_type = 1), "
    "u AS (UPDATE trade_coupon t SET is_used = 0, order_id = NULL, used_time = NULL FROM l "
    "WHERE t.coupon_id = l.coupon_id AND t.order_id = $1 RETURNING t.coupon_id, l.coupon_paid) "
    "INSERT INTO coupon_log(coupon_id, order_id, log_type, coupon_paid) SELECT coupon_id, $1, 2, coupon_paid FROM u"};

/* Refuses with the reason, or tells the worth when there is none. */
static int judge(struct db_conn *c, struct coupon_use *u)
{
    struct db_rows rows;
    int rc = db_query(c, &WHY, &rows, db_i64(u->coupon_id), db_i64(u->goods_amount));
    if (rc)
        return rc;
    const long long id = u->coupon_id;
    if (db_count(&rows) == 0)
        rc = db_refuse(c, CODE_COUPON_NOT_FOUND, "coupon %lld", id);
    else if (db_get_i64(&rows, 0, "user_id") != u->user_id)
        rc = db_refuse(c, CODE_COUPON_INVALID, "coupon %lld belongs to another user", id);
    else if (db_get_i64(&rows, 0, "is_used"))
        rc = db_refuse(c, CODE_COUPON_USED, "coupon %lld", id);
    else if (!db_get_bool(&rows, 0, "in_time"))
        rc = db_refuse(c, CODE_COUPON_INVALID, "coupon %lld is not valid today", id);
    else if (!db_get_bool(&rows, 0, "large_enough"))
        rc = db_refuse(c, CODE_COUPON_INVALID, "the order is too small for coupon %lld", id);
    else
        u->coupon_paid = db_get_i64(&rows, 0, "worth");
    const int end = db_rows_end(&rows);
    return rc ? rc : end;
}

static int read_paid(struct db_rows *rows, struct coupon_use *u, bool *found)
{
    *found = db_count(rows) == 1;
    if (*found)
        u->coupon_paid = db_get_i64(rows, 0, "coupon_paid");
    return db_rows_end(rows);
}

static int stored_answer(struct db_conn *c, struct coupon_use *u)
{
    struct db_rows rows;
    bool found;
    int rc = db_query(c, &READ_USE, &rows, db_i64(u->order_id));
    if (rc == APP_OK)
        rc = read_paid(&rows, u, &found);
    return rc      ? rc
           : found ? APP_OK
                   : db_fail(c, APP_E_DB, "order %lld used a coupon that is not in the ledger",
                             (long long)u->order_id);
}

static int use(struct db_conn *c, struct coupon_use *u)
{
    struct db_rows rows;
    bool found;
    int rc = db_query(c, &USE, &rows, db_i64(u->order_id), db_i64(u->coupon_id), db_i64(u->user_id),
                      db_i64(u->goods_amount));
    if (rc == APP_OK)
        rc = read_paid(&rows, u, &found);
    if (rc || found)
        return rc;
    rc = judge(c, u);
    /* No reason any more: it was given back between the two statements. */
    return rc ? rc : db_refuse(c, CODE_COUPON_USED, "coupon %lld", (long long)u->coupon_id);
}

static int try_body(struct db_conn *c, void *arg)
{
    struct coupon_use *u = arg;
    enum barrier_try b;
    int rc = barrier_check_deadline(c, u->expires_at_ms);
    if (rc == APP_OK)
        rc = barrier_try(c, u->order_id, BRANCH_COUPON, &b);
    if (rc)
        return rc;
    if (b == BARRIER_REFUSED)
        return db_refuse(c, CODE_COUPON_CLOSED, "order %lld", (long long)u->order_id);
    u->duplicate = b == BARRIER_DUPLICATE;
    return u->duplicate ? stored_answer(c, u) : use(c, u);
}

int coupon_try(struct db *db, struct coupon_use *u, struct app_error *e)
{
    return db_tx(db, try_body, u, e);
}

static int quote_body(struct db_conn *c, void *arg)
{
    return judge(c, arg);
}

int coupon_quote(struct db *db, struct coupon_use *u, struct app_error *e)
{
    return db_read(db, quote_body, u, e);
}

int coupon_undo(struct db_conn *c, int64_t order_id)
{
    int64_t n;
    const int rc = db_exec(c, &RETURN, &n, db_i64(order_id));
    return rc || n == 1
               ? rc
               : db_fail(c, APP_E_LATER, "order %lld: its coupon is not marked as used by it",
                         (long long)order_id);
}
