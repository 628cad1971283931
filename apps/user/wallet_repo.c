/* Wallets in PostgreSQL: pay, pay back, look.
 *
 * Any thread. The balance changes in one statement together with its ledger row, which stores the balance
 * after it; nothing else in the program writes user_money. A repeated try answers the stored balance.
 */
#include "apps/user/user.h"

#include "apps/common/codes.h"

static const struct db_stmt PAY = {
    "usr_pay",
    "WITH u AS (UPDATE trade_user SET user_money = user_money - $3 WHERE user_id = $1 AND user_money >= $3 "
    "RETURNING user_id, user_money) "
    "INSERT INTO trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) "
    "SELECT user_id, $2, 1, -$3::bigint, user_money FROM u RETURNING balance_after"};
static const struct db_stmt READ_PAYMENT = {
    "usr_read_payment",
    "SELECT balance_after FROM trade_user_money_log WHERE order_id = $1 AND money_log_type = 1"};
static const struct db_stmt PAY_BACK = {
    "usr_pay_back",
    "WITH l AS (SELECT user_id, -use_money AS amount FROM trade_user_money_log WHERE order_id = $1 AND money_log_type = 1), "
    "u AS (UPDATE trade_user t SET user_money = t.user_money + l.amount FROM l WHERE t.user_id = l.user_id "
    "RETURNING t.user_id, t.user_money, l.amount) "
    "INSERT INTO trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) "
    "SELECT user_id, $1, 2, amount, user_money FROM u"};
static const struct db_stmt ACCOUNT = {
    "usr_account", "SELECT user_money, user_score FROM trade_user WHERE user_id = $1"};

static int read_account(struct db_conn *c, struct user_account *a)
{
    struct db_rows rows;
    const int rc = db_query(c, &ACCOUNT, &rows, db_i64(a->user_id));
    if (rc)
        return rc;
    const bool found = db_count(&rows) == 1;
    if (found) {
        a->money = db_get_i64(&rows, 0, "user_money");
        a->score = db_get_i64(&rows, 0, "user_score");
    }
    const int end = db_rows_end(&rows);
    return end     ? end
           : found ? APP_OK
                   : db_refuse(c, CODE_USER_NOT_FOUND, "user %lld", (long long)a->user_id);
}

/* One row with balance_after, or none. */
static int read_balance(struct db_rows *rows, struct wallet_try *t, bool *found)
{
    *found = db_count(rows) == 1;
    if (*found)
        t->balance_after = db_get_i64(rows, 0, "balance_after");
    return db_rows_end(rows);
}

static int stored_answer(struct db_conn *c, struct wallet_try *t)
{
    struct db_rows rows;
    bool found;
    int rc = db_query(c, &READ_PAYMENT, &rows, db_i64(t->order_id));
    if (rc == APP_OK)
        rc = read_balance(&rows, t, &found);
    return rc ? rc
           : found
               ? APP_OK
               : db_fail(c, APP_E_DB, "order %lld paid from a wallet, but the ledger has no row",
                         (long long)t->order_id);
}

static int pay(struct db_conn *c, struct wallet_try *t)
{
    struct db_rows rows;
    bool found;
    int rc = db_query(c, &PAY, &rows, db_i64(t->user_id), db_i64(t->order_id), db_i64(t->amount));
    if (rc == APP_OK)
        rc = read_balance(&rows, t, &found);
    if (rc || found)
        return rc;
    struct user_account a = {.user_id = t->user_id};
    rc = read_account(c, &a);
    return rc ? rc : db_refuse(c, CODE_BALANCE_SHORT, "user %lld", (long long)t->user_id);
}

static int try_body(struct db_conn *c, void *arg)
{
    struct wallet_try *t = arg;
    enum barrier_try b;
    int rc = barrier_check_deadline(c, t->expires_at_ms);
    if (rc == APP_OK)
        rc = barrier_try(c, t->order_id, BRANCH_BALANCE, &b);
    if (rc)
        return rc;
    if (b == BARRIER_REFUSED)
        return db_refuse(c, CODE_BALANCE_CLOSED, "order %lld", (long long)t->order_id);
    t->duplicate = b == BARRIER_DUPLICATE;
    return t->duplicate ? stored_answer(c, t) : pay(c, t);
}

int wallet_try(struct db *db, struct wallet_try *t, struct app_error *e)
{
    return db_tx(db, try_body, t, e);
}

int wallet_undo(struct db_conn *c, int64_t order_id)
{
    int64_t n;
    const int rc = db_exec(c, &PAY_BACK, &n, db_i64(order_id));
    return rc || n == 1
               ? rc
               : db_fail(c, APP_E_LATER, "order %lld: no wallet payment in the ledger to pay back",
                         (long long)order_id);
}

static int quote_body(struct db_conn *c, void *arg)
{
    return read_account(c, arg);
}

int user_quote(struct db *db, int64_t user_id, struct user_account *out, struct app_error *e)
{
    *out = (struct user_account){.user_id = user_id};
    return db_read(db, quote_body, out, e);
}
