/* Stock in PostgreSQL: try, undo, quote.
 *
 * Any thread. A try is one transaction: deadline, barrier, then line by line (goods ascending, so that
 * two orders lock in the same order) the ledger row and the deduction. Whatever refuses rolls all of it
 * back, the barrier row included.
 *
 * Buckets. Goods with one bucket: a conditional update that waits for the row, at most lock_timeout.
 * With several: one free bucket that has enough, looked for from a place that depends on the order and
 * skipping locked rows; waiting for a second bucket while holding a first is how such schemes deadlock,
 * so when all that have enough are taken the transaction rolls back and comes again (BUSY after 4 runs).
 * One line comes out of one bucket, because its ledger row names one: a line larger than any single
 * bucket is "not enough" even if the sum would do.
 */
#include "apps/stock/stock.h"

#include "apps/common/codes.h"
#include "apps/common/ids.h"
#include "apps/common/timing.h"

#include <stdio.h>
#include <string.h>

#define BUSY_RETRIES 3

static const struct db_stmt BUCKETS = {"stk_buckets",
                                       "SELECT buckets FROM trade_goods WHERE goods_id = $1"};
static const struct db_stmt LOG_DEDUCT = {
    "stk_log_deduct",
    "INSERT INTO trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES ($1, $2, $3, 1, -$4::bigint)"};
static const struct db_stmt DEDUCT = {
    "stk_deduct",
    "UPDATE goods_stock SET available = available - $3 WHERE goods_id = $1 AND bucket = $2 AND available >= $3"};
static const struct db_stmt FREE_BUCKET = {
    "stk_free_bucket",
    "SELECT bucket FROM goods_stock WHERE goods_id = $1 AND available >= $2 ORDER BY (bucket + $3 - $4::bigint % $3) % $3 "
    "LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"};
static const struct db_stmt ENOUGH_SOMEWHERE = {
    "stk_enough", "SELECT 1 FROM goods_stock WHERE goods_id = $1 AND available >= $2 LIMIT 1"};
static const struct db_stmt READ_LEDGER = {
    "stk_ledger",
    "SELECT goods_id, bucket, -goods_number AS qty FROM trade_goods_number_log WHERE order_id = $1 AND log_type = 1 ORDER BY goods_id"};
static const struct db_stmt LOG_RESTORE = {
    "stk_log_restore",
    "INSERT INTO trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES ($1, $2, $3, 2, $4)"};
static const struct db_stmt RESTORE = {
    "stk_restore",
    "UPDATE goods_stock SET available = available + $3 WHERE goods_id = $1 AND bucket = $2"};
static const struct db_stmt QUOTE = {
    "stk_quote",
    "SELECT goods_name, goods_price, (SELECT coalesce(sum(available), 0) FROM goods_stock s WHERE s.goods_id = g.goods_id) "
    "AS available FROM trade_goods g WHERE goods_id = $1"};

/* ---- try ---- */

static int read_buckets(struct db_conn *c, int64_t goods_id, int64_t *out)
{
    struct db_rows rows;
    const int rc = db_query(c, &BUCKETS, &rows, db_i64(goods_id));
    if (rc)
        return rc;
    const bool found = db_count(&rows) == 1;
    *out = found ? db_get_i64(&rows, 0, "buckets") : 0;
    const int end = db_rows_end(&rows);
    return end     ? end
           : found ? APP_OK
                   : db_refuse(c, CODE_GOODS_NOT_FOUND, "goods %lld", (long long)goods_id);
}

static int refuse_short(struct db_conn *c, const struct stock_line *l)
{
    return db_refuse(c, CODE_STOCK_SHORT, "goods %lld", (long long)l->goods_id);
}

/* Locks a bucket that has enough. */
static int pick_bucket(struct db_conn *c, const struct stock_line *l, int64_t order_id,
                       int64_t buckets, int64_t *out)
{
    struct db_rows rows;
    int rc = db_query(c, &FREE_BUCKET, &rows, db_i64(l->goods_id), db_i64(l->qty), db_i64(buckets),
                      db_i64(order_id));
    if (rc)
        return rc;
    const bool found = db_count(&rows) == 1;
    *out = found ? db_get_i64(&rows, 0, "bucket") : 0;
    rc = db_rows_end(&rows);
    if (rc || found)
        return rc;
    rc = db_query(c, &ENOUGH_SOMEWHERE, &rows, db_i64(l->goods_id), db_i64(l->qty));
    if (rc)
        return rc;
    const bool locked = db_count(&rows) == 1;
    rc = db_rows_end(&rows);
    return rc       ? rc
           : locked ? db_refuse(c, CODE_STOCK_BUSY, "goods %lld", (long long)l->goods_id)
                    : refuse_short(c, l);
}

static int deduct_line(struct db_conn *c, const struct stock_line *l, int64_t order_id)
{
    int64_t buckets, bucket = 0, n;
    int rc = read_buckets(c, l->goods_id, &buckets);
    if (rc == APP_OK && buckets > 1)
        rc = pick_bucket(c, l, order_id, buckets, &bucket);
    if (rc == APP_OK)
        rc = db_exec(c, &LOG_DEDUCT, NULL, db_i64(l->goods_id), db_i64(bucket), db_i64(order_id),
                     db_i64(l->qty));
    if (rc == APP_OK)
        rc = db_exec(c, &DEDUCT, &n, db_i64(l->goods_id), db_i64(bucket), db_i64(l->qty));
    return rc ? rc : n == 1 ? APP_OK : refuse_short(c, l);
}

static int try_body(struct db_conn *c, void *arg)
{
    struct stock_try *t = arg;
    enum barrier_try b;
    int rc = barrier_check_deadline(c, t->expires_at_ms);
    if (rc == APP_OK)
        rc = barrier_try(c, t->order_id, BRANCH_STOCK, &b);
    if (rc)
        return rc;
    if (b == BARRIER_REFUSED)
        return db_refuse(c, CODE_STOCK_CLOSED, "order %lld", (long long)t->order_id);
    t->duplicate = b == BARRIER_DUPLICATE;
    for (size_t i = 0; i < t->n_lines && !t->duplicate && rc == APP_OK; i++)
        rc = deduct_line(c, &t->lines[i], t->order_id);
    return rc;
}

int stock_try(struct db *db, struct stock_try *t, struct app_error *e)
{
    struct app_error mine;
    e = e ? e : &mine;
    for (int attempt = 0;; attempt++) {
        const int rc = db_tx(db, try_body, t, e);
        if (rc != APP_E_REFUSED || e->code != CODE_STOCK_BUSY || attempt == BUSY_RETRIES)
            return rc;
        timing_sleep_ms((int64_t)chance_below((uint64_t)5 << attempt) + 1);
    }
}

/* ---- undo ---- */

static int restore_line(struct db_conn *c, int64_t order_id, int64_t goods_id, int64_t bucket,
                        int64_t qty)
{
    int64_t n;
    int rc = db_exec(c, &LOG_RESTORE, NULL, db_i64(goods_id), db_i64(bucket), db_i64(order_id),
                     db_i64(qty));
    if (rc == APP_OK)
        rc = db_exec(c, &RESTORE, &n, db_i64(goods_id), db_i64(bucket), db_i64(qty));
    if (rc == APP_OK && n != 1)
        rc = db_fail(c, APP_E_LATER,
                     "order %lld took goods %lld from bucket %lld, which is not there",
                     (long long)order_id, (long long)goods_id, (long long)bucket);
    return rc;
}

int stock_undo(struct db_conn *c, int64_t order_id)
{
    struct db_rows rows;
    int rc = db_query(c, &READ_LEDGER, &rows, db_i64(order_id));
    if (rc)
        return rc;
    for (int i = 0; i < db_count(&rows) && rc == APP_OK; i++)
        rc = restore_line(c, order_id, db_get_i64(&rows, i, "goods_id"),
                          db_get_i64(&rows, i, "bucket"), db_get_i64(&rows, i, "qty"));
    const int end = db_rows_end(&rows);
    return rc ? rc : end;
}

/* ---- quote ---- */

struct quote {
    int64_t goods_id;
    struct stock_goods *out;
};

static int quote_body(struct db_conn *c, void *arg)
{
    struct quote *q = arg;
    struct db_rows rows;
    const int rc = db_query(c, &QUOTE, &rows, db_i64(q->goods_id));
    if (rc)
        return rc;
    const bool found = db_count(&rows) == 1;
    if (found) {
        q->out->goods_id = q->goods_id;
        q->out->price = db_get_i64(&rows, 0, "goods_price");
        q->out->available = db_get_i64(&rows, 0, "available");
        (void)snprintf(q->out->name, sizeof q->out->name, "%s",
                       db_get_text(&rows, 0, "goods_name"));
    }
    const int end = db_rows_end(&rows);
    return end     ? end
           : found ? APP_OK
                   : db_refuse(c, CODE_GOODS_NOT_FOUND, "goods %lld", (long long)q->goods_id);
}

int stock_quote(struct db *db, const int64_t *ids, size_t n, struct stock_goods *out,
                struct app_error *e)
{
    for (size_t i = 0; i < n; i++) {
        struct quote q = {.goods_id = ids[i], .out = &out[i]};
        const int rc = db_read(db, quote_body, &q, e);
        if (rc)
            return rc;
    }
    return APP_OK;
}
