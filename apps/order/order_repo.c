/* Placing and paying: the order row's moves. Each is a compare-and-set in a transaction of its own: of several that race, one
 * changes the row and the others read what it became. Callers take their verdict from what is read back,
 * never from what they meant to write.
 *
 * Deadlines are compared with PostgreSQL's now(): one clock for all instances. Runs on: HTTP workers and
 * message workers (blocking). Errors are db_tx's; APP_E_UNKNOWN (COMMIT without an answer) is passed up:
 * then nobody knows, and nobody guesses. */
#include "apps/order/order.h"

#include "apps/common/naive.h"

#include <stdio.h>
#include <string.h>

#define ORDER_COLUMNS                                                                                    \
    "order_id, user_id, client_req_id::text AS client_req_id, req_hash, order_status, pay_status, "      \
    "goods_amount, shipping_fee, order_amount, coupon_id, coupon_paid, money_paid, pay_amount, pay_id, " \
    "fail_code, comp_mask, address, consignee, "                                                         \
    "(extract(epoch FROM saga_deadline) * 1000)::bigint AS saga_deadline_ms, "                           \
    "to_char(pay_deadline AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS pay_deadline, "    \
    "to_char(add_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS add_time"

static void copy_text(char *dst, size_t cap, const char *src)
{
    snprintf(dst, cap, "%s", src);
}

static void read_order(struct db_rows *r, int row, struct order *o)
{
    *o = (struct order){
        .order_id = db_get_i64(r, row, "order_id"),
        .user_id = db_get_i64(r, row, "user_id"),
        .status = (enum order_status)db_get_i64(r, row, "order_status"),
        .pay_status = (enum pay_status)db_get_i64(r, row, "pay_status"),
        .goods_amount = db_get_i64(r, row, "goods_amount"),
        .shipping_fee = db_get_i64(r, row, "shipping_fee"),
        .order_amount = db_get_i64(r, row, "order_amount"),
        .coupon_id = db_get_i64_or(r, row, "coupon_id", 0),
        .coupon_paid = db_get_i64(r, row, "coupon_paid"),
        .money_paid = db_get_i64(r, row, "money_paid"),
        .pay_amount = db_get_i64(r, row, "pay_amount"),
        .pay_id = db_get_i64_or(r, row, "pay_id", 0),
        .fail_code = (int)db_get_i64_or(r, row, "fail_code", 0),
        .comp_mask = (int)db_get_i64(r, row, "comp_mask"),
        .saga_deadline_ms = db_get_i64(r, row, "saga_deadline_ms"),
    };
    copy_text(o->client_req_id, sizeof o->client_req_id, db_get_text(r, row, "client_req_id"));
    copy_text(o->address, sizeof o->address, db_get_text(r, row, "address"));
    copy_text(o->consignee, sizeof o->consignee, db_get_text(r, row, "consignee"));
    copy_text(o->pay_deadline, sizeof o->pay_deadline, db_get_text(r, row, "pay_deadline"));
    copy_text(o->add_time, sizeof o->add_time, db_get_text(r, row, "add_time"));
    if (o->status != ORDER_INVALID) /* a tombstone has none */
        db_get_bytes(r, row, "req_hash", o->req_hash, sizeof o->req_hash);
}

/* --- reading --- */

static const struct db_stmt FIND_REQUEST = {
    "ord_find_request", "SELECT " ORDER_COLUMNS " FROM trade_order"
                        " WHERE user_id = $1 AND client_req_id = $2 AND order_status <> 3"};
static const struct db_stmt LOAD = {"ord_load", "SELECT " ORDER_COLUMNS
                                                " FROM trade_order WHERE order_id = $1"};
static const struct db_stmt LOAD_ITEMS = {
    "ord_load_items",
    "SELECT goods_id, qty, goods_price FROM trade_order_item WHERE order_id = $1 ORDER BY line"};
static const struct db_stmt LIST = {
    "ord_list",
    "SELECT " ORDER_COLUMNS " FROM trade_order WHERE user_id = $1 AND order_status NOT IN (0, 3)"
    " AND ($2::bigint = 0 OR order_id < $2) ORDER BY order_id DESC LIMIT $3"};

struct find {
    int64_t order_id, user_id, before;
    const char *client_req_id;
    struct order *out;
    size_t max, n;
};

static int find_request_body(struct db_conn *c, void *arg)
{
    struct find *f = arg;
    struct db_rows r;
    int rc = db_query(c, &FIND_REQUEST, &r, db_i64(f->user_id), db_text(f->client_req_id));
    if (rc != 0)
        return rc;
    f->n = (size_t)db_count(&r);
    if (f->n > 0)
        read_order(&r, 0, f->out);
    return db_rows_end(&r);
}

int repo_find_request(struct db *db, int64_t user_id, const char *client_req_id, struct order *out,
                      bool *found, struct app_error *e)
{
    struct find f = {.user_id = user_id, .client_req_id = client_req_id, .out = out};
    const int rc = db_read(db, find_request_body, &f, e);
    *found = f.n > 0;
    return rc;
}

static int load_items(struct db_conn *c, struct order *o)
{
    struct db_rows r;
    const int rc = db_query(c, &LOAD_ITEMS, &r, db_i64(o->order_id));
    if (rc != 0)
        return rc;
    const int n = db_count(&r);
    for (int i = 0; i < n && i < ORDER_ITEMS_MAX; i++)
        o->items[o->n_items++] =
            (struct order_item){.goods_id = db_get_i64(&r, i, "goods_id"),
                                .qty = db_get_i64(&r, i, "qty"),
                                .goods_price = db_get_i64(&r, i, "goods_price")};
    return db_rows_end(&r);
}

static int load_body(struct db_conn *c, void *arg)
{
    struct find *f = arg;
    struct db_rows r;
    int rc = db_query(c, &LOAD, &r, db_i64(f->order_id));
    if (rc != 0)
        return rc;
    f->n = (size_t)db_count(&r);
    if (f->n > 0)
        read_order(&r, 0, f->out);
    rc = db_rows_end(&r);
    return rc == 0 && f->n > 0 ? load_items(c, f->out) : rc;
}

int repo_load(struct db *db, int64_t order_id, struct order *out, bool *found, struct app_error *e)
{
    struct find f = {.order_id = order_id, .out = out};
    const int rc = db_tx(db, load_body, &f, e);
    *found = f.n > 0;
    return rc;
}

static int list_body(struct db_conn *c, void *arg)
{
    struct find *f = arg;
    struct db_rows r;
    const int rc =
        db_query(c, &LIST, &r, db_i64(f->user_id), db_i64(f->before), db_i64((int64_t)f->max));
    if (rc != 0)
        return rc;
    const int n = db_count(&r);
    for (f->n = 0; f->n < (size_t)n && f->n < f->max; f->n++)
        read_order(&r, (int)f->n, &f->out[f->n]);
    return db_rows_end(&r);
}

int repo_list(struct db *db, int64_t user_id, int64_t before, struct order *out, size_t max,
              size_t *n, struct app_error *e)
{
    struct find f = {.user_id = user_id, .before = before, .out = out, .max = max};
    const int rc = db_read(db, list_body, &f, e);
    *n = f.n;
    return rc;
}

/* --- none -> PENDING --- */

static const struct db_stmt INSERT = {
    "ord_insert",
    "INSERT INTO trade_order(order_id, user_id, client_req_id, req_hash, order_status, goods_amount, shipping_fee,"
    " order_amount, coupon_id, coupon_paid, money_paid, pay_amount, address, consignee, saga_deadline, pay_deadline)"
    " VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
    " now() + $14 * interval '1 millisecond', now() + $15 * interval '1 millisecond') ON CONFLICT DO NOTHING"
    " RETURNING " ORDER_COLUMNS};
static const struct db_stmt INSERT_ITEM = {
    "ord_insert_item",
    "INSERT INTO trade_order_item(order_id, line, goods_id, qty, goods_price) VALUES ($1, $2, $3, $4, $5)"};

struct insert {
    struct order *o;
    int64_t saga_ms, pay_deadline_ms;
    bool inserted;
};

static int insert_body(struct db_conn *c, void *arg)
{
    struct insert *in = arg;
    struct order *o = in->o, row;
    struct db_rows r;
    int rc = db_query(c, &INSERT, &r, db_i64(o->order_id), db_i64(o->user_id),
                      db_text(o->client_req_id), db_bytes(o->req_hash, sizeof o->req_hash),
                      db_i64(o->goods_amount), db_i64(o->shipping_fee), db_i64(o->order_amount),
                      db_id_or_null(o->coupon_id), db_i64(o->coupon_paid), db_i64(o->money_paid),
                      db_i64(o->pay_amount), db_text(o->address), db_text(o->consignee),
                      db_i64(in->saga_ms), db_i64(in->pay_deadline_ms));
    if (rc != 0)
        return rc;
    in->inserted = db_count(&r) == 1;
    if (in->inserted) {
        read_order(&r, 0, &row);
        o->saga_deadline_ms = row.saga_deadline_ms;
        memcpy(o->pay_deadline, row.pay_deadline, sizeof o->pay_deadline);
    }
    rc = db_rows_end(&r);
    for (size_t i = 0; rc == 0 && in->inserted && i < o->n_items; i++)
        rc = db_exec(c, &INSERT_ITEM, NULL, db_i64(o->order_id), db_i64((int64_t)i + 1),
                     db_i64(o->items[i].goods_id), db_i64(o->items[i].qty),
                     db_i64(o->items[i].goods_price));
    return rc;
}

int repo_insert(struct db *db, struct order *o, int64_t saga_ms, int64_t pay_deadline_ms,
                bool *inserted, struct app_error *e)
{
    struct insert in = {.o = o, .saga_ms = saga_ms, .pay_deadline_ms = pay_deadline_ms};
    const int rc = db_tx(db, insert_body, &in, e);
    *inserted = in.inserted;
    return rc;
}

/* --- PENDING -> CONFIRMED or CANCELLING --- */

static const struct db_stmt CONFIRM = {
    "ord_confirm",
    "UPDATE trade_order SET order_status = 1, confirm_time = now() WHERE order_id = $1 AND order_status = 0"};
static const struct db_stmt CONFIRM_BLINDLY = {
    "ord_confirm_blindly",
    "UPDATE trade_order SET order_status = 1, confirm_time = now() WHERE order_id = $1"};
static const struct db_stmt ABORT = {
    "ord_abort",
    "UPDATE trade_order SET order_status = 5, fail_code = $2, cancel_reason = $3,"
    " next_drive_at = now() + $4 * interval '1 millisecond' WHERE order_id = $1 AND order_status = 0"};
static const struct db_stmt STATUS = {"ord_status",
                                      "SELECT order_status FROM trade_order WHERE order_id = $1"};

struct move {
    int64_t order_id;
    int fail_code; /* 0: confirm */
    const char *reason;
    int64_t drive_ms;
    enum order_status now;
};

static int move_body(struct db_conn *c, void *arg)
{
    struct move *m = arg;
    struct db_rows r;
    const struct db_stmt *const confirm = NAIVE(D4_BLIND_CONFIRM) ? &CONFIRM_BLINDLY : &CONFIRM;
    int rc = m->fail_code == 0 ? db_exec(c, confirm, NULL, db_i64(m->order_id))
                               : db_exec(c, &ABORT, NULL, db_i64(m->order_id), db_i64(m->fail_code),
                                         db_text(m->reason), db_i64(m->drive_ms));
    if (rc != 0 || (rc = db_query(c, &STATUS, &r, db_i64(m->order_id))) != 0)
        return rc;
    if (db_count(&r) == 1)
        m->now = (enum order_status)db_get_i64(&r, 0, "order_status");
    else
        rc = db_fail(c, APP_E_DB, "order %lld has no row", (long long)m->order_id);
    const int ended = db_rows_end(&r);
    return rc != 0 ? rc : ended;
}

int repo_confirm(struct db *db, int64_t order_id, enum order_status *now, struct app_error *e)
{
    struct move m = {.order_id = order_id};
    const int rc = db_tx(db, move_body, &m, e);
    *now = m.now;
    return rc;
}

int repo_abort(struct db *db, int64_t order_id, int fail_code, const char *reason, int64_t drive_ms,
               enum order_status *now, struct app_error *e)
{
    struct move m = {
        .order_id = order_id, .fail_code = fail_code, .reason = reason, .drive_ms = drive_ms};
    const int rc = db_tx(db, move_body, &m, e);
    *now = m.now;
    return rc;
}

/* --- check-back --- */

/* The insert waits for an uncommitted row of the request thread: either that row is there afterwards, or the
 * tombstone is, and a late insert of the request thread then finds it. */
static const struct db_stmt TOMBSTONE = {
    "ord_tombstone",
    "INSERT INTO trade_order(order_id, user_id, client_req_id, req_hash, order_status, goods_amount, shipping_fee,"
    " order_amount, pay_amount, saga_deadline, pay_deadline) VALUES ($1, $2, $3, '\\x00', 3, 0, 0, 0, 0, now(), now())"
    " ON CONFLICT DO NOTHING"};
static const struct db_stmt LOCK_STATUS = {
    "ord_lock_status",
    "SELECT order_status, now() > saga_deadline AS expired FROM trade_order WHERE order_id = $1 FOR UPDATE"};
static const struct db_stmt EXPIRE = {
    "ord_expire",
    "UPDATE trade_order SET order_status = 5, fail_code = $2, cancel_reason = 'checkback',"
    " next_drive_at = now() + $3 * interval '1 millisecond' WHERE order_id = $1 AND order_status = 0"};

struct check {
    int64_t order_id, user_id, drive_ms;
    const char *client_req_id;
    enum saga_verdict out;
};

static int check_body(struct db_conn *c, void *arg)
{
    struct check *k = arg;
    struct db_rows r;
    int rc = NAIVE(D5_NO_ORDER_TOMBSTONE) ? 0
                                          : db_exec(c, &TOMBSTONE, NULL, db_i64(k->order_id),
                                                    db_i64(k->user_id), db_text(k->client_req_id));
    if (rc != 0 || (rc = db_query(c, &LOCK_STATUS, &r, db_i64(k->order_id))) != 0)
        return rc;
    if (db_count(&r) == 1)
        k->out = saga_verdict_of((enum order_status)db_get_i64(&r, 0, "order_status"),
                                 db_get_bool(&r, 0, "expired"));
    else if (NAIVE(D5_NO_ORDER_TOMBSTONE))
        k->out = SAGA_ROLLBACK;
    else
        rc = db_fail(c, APP_E_DB, "order %lld: neither row nor tombstone", (long long)k->order_id);
    const int ended = db_rows_end(&r);
    if (rc != 0 || ended != 0)
        return rc != 0 ? rc : ended;
    if (k->out == SAGA_EXPIRE) {
        rc = db_exec(c, &EXPIRE, NULL, db_i64(k->order_id), db_i64(CODE_ORDER_CONFIRM),
                     db_i64(k->drive_ms));
        k->out = SAGA_COMMIT;
    }
    return rc;
}

int repo_check(struct db *db, int64_t order_id, int64_t user_id, const char *client_req_id,
               int64_t drive_ms, enum saga_verdict *out, struct app_error *e)
{
    struct check k = {.order_id = order_id,
                      .user_id = user_id,
                      .drive_ms = drive_ms,
                      .client_req_id = client_req_id};
    const int rc = db_tx(db, check_body, &k, e);
    *out = k.out;
    return rc;
}

/* --- payment --- */

static const struct db_stmt PAY_INTENT = {
    "ord_pay_intent",
    "UPDATE trade_order SET pay_status = 1 WHERE order_id = $1 AND order_status = 1 AND pay_status IN (0, 1)"
    " AND now() < pay_deadline - $2 * interval '1 millisecond' RETURNING user_id, pay_amount,"
    " to_char(pay_deadline AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS pay_deadline"};

struct intent {
    int64_t order_id, margin_ms;
    struct pay_intent *out;
};

static int intent_body(struct db_conn *c, void *arg)
{
    struct intent *i = arg;
    struct db_rows r;
    int rc = db_query(c, &PAY_INTENT, &r, db_i64(i->order_id), db_i64(i->margin_ms));
    if (rc != 0)
        return rc;
    const bool granted = db_count(&r) == 1;
    if (granted) {
        i->out->user_id = db_get_i64(&r, 0, "user_id");
        i->out->pay_amount = db_get_i64(&r, 0, "pay_amount");
        copy_text(i->out->pay_deadline, sizeof i->out->pay_deadline,
                  db_get_text(&r, 0, "pay_deadline"));
    }
    if ((rc = db_rows_end(&r)) != 0 || granted)
        return rc;
    if ((rc = db_query(c, &STATUS, &r, db_i64(i->order_id))) != 0)
        return rc;
    const bool exists = db_count(&r) == 1;
    if ((rc = db_rows_end(&r)) != 0)
        return rc;
    return db_refuse(c, exists ? CODE_PAY_NOT_PAYABLE : CODE_ORDER_NOT_FOUND, "%s", "");
}

int repo_pay_intent(struct db *db, int64_t order_id, int64_t margin_ms, struct pay_intent *out,
                    struct app_error *e)
{
    struct intent i = {.order_id = order_id, .margin_ms = margin_ms, .out = out};
    return db_tx(db, intent_body, &i, e);
}

static const struct db_stmt LOCK_PAY = {
    "ord_lock_pay",
    "SELECT order_status, pay_status, pay_id FROM trade_order WHERE order_id = $1 FOR UPDATE"};
static const struct db_stmt ACCEPT = {
    "ord_accept",
    "UPDATE trade_order SET pay_status = 2, pay_id = $2, pay_time = now() WHERE order_id = $1"};

int repo_accept_paid(struct db_conn *c, int64_t order_id, int64_t pay_id, enum paid_reaction *out)
{
    struct db_rows r;
    int rc = db_query(c, &LOCK_PAY, &r, db_i64(order_id));
    if (rc != 0)
        return rc;
    const bool found = db_count(&r) == 1;
    *out = !found ? paid_reaction_of(false, ORDER_PENDING, PAY_NONE, 0, pay_id)
                  : paid_reaction_of(true, (enum order_status)db_get_i64(&r, 0, "order_status"),
                                     (enum pay_status)db_get_i64(&r, 0, "pay_status"),
                                     db_get_i64_or(&r, 0, "pay_id", 0), pay_id);
    rc = db_rows_end(&r);
    return rc == 0 && *out == PAID_ACCEPT
               ? db_exec(c, &ACCEPT, NULL, db_i64(order_id), db_i64(pay_id))
               : rc;
}

/* --- compensation --- */

static const struct db_stmt LOCK_COMP = {
    "ord_lock_comp",
    "SELECT order_status, comp_mask FROM trade_order WHERE order_id = $1 FOR UPDATE"};
static const struct db_stmt ACK = {"ord_ack",
                                   "UPDATE trade_order SET comp_mask = $2 WHERE order_id = $1"};
static const struct db_stmt CLOSE = {
    "ord_close",
    "UPDATE trade_order SET comp_mask = $2, order_status = 2, close_time = now(), next_drive_at = NULL"
    " WHERE order_id = $1"};

int repo_ack_cancel(struct db_conn *c, int64_t order_id, int bit, const char **state)
{
    struct db_rows r;
    int rc = db_query(c, &LOCK_COMP, &r, db_i64(order_id));
    if (rc != 0)
        return rc;
    const bool found = db_count(&r) == 1;
    const enum order_status status =
        found ? (enum order_status)db_get_i64(&r, 0, "order_status") : ORDER_INVALID;
    const int before = found ? (int)db_get_i64(&r, 0, "comp_mask") : 0;
    if ((rc = db_rows_end(&r)) != 0)
        return rc;
    int mask = 0;
    const enum comp_reaction reaction = comp_reaction_of(found, status, before, bit, &mask);
    *state = comp_reaction_text(reaction);
    if (reaction != COMP_ACKED && reaction != COMP_CLOSES)
        return 0;
    return db_exec(c, reaction == COMP_CLOSES ? &CLOSE : &ACK, NULL, db_i64(order_id),
                   db_i64(mask));
}
