/* Points in PostgreSQL: earned when a payment is paid, taken back when it is refunded.
 *
 * Inside the consumer's transaction. Barrier key (pay_id, 'points'): a refund that overtakes its payment
 * leaves a tombstone, the payment that comes later earns nothing. The wallet's part of the order comes
 * from this service's own ledger, what is taken back from the points' own ledger.
 */
#include "apps/user/user.h"

#include "apps/common/naive.h"

static const struct db_stmt EARN = {
    "usr_earn",
    "WITH w AS (SELECT coalesce(sum(-use_money), 0)::bigint AS held FROM trade_user_money_log "
    "WHERE order_id = $2 AND money_log_type IN (1, 2)), "
    "u AS (UPDATE trade_user t SET user_score = user_score + ($4::bigint + w.held) / 100 FROM w WHERE user_id = $3 "
    "RETURNING t.user_id, ($4::bigint + w.held) / 100 AS score) "
    "INSERT INTO user_score_log(user_id, pay_id, order_id, log_type, score) SELECT user_id, $1, $2, 1, score FROM u"};
static const struct db_stmt REVERSE = {
    "usr_reverse",
    "WITH l AS (SELECT user_id, order_id, score FROM user_score_log WHERE pay_id = $1 AND log_type = 1), "
    "u AS (UPDATE trade_user t SET user_score = t.user_score - l.score FROM l WHERE t.user_id = l.user_id "
    "RETURNING t.user_id, l.order_id, l.score) "
    "INSERT INTO user_score_log(user_id, pay_id, order_id, log_type, score) SELECT user_id, $1, order_id, 2, -score FROM u"};

int points_earn(struct db_conn *c, int64_t pay_id, int64_t order_id, int64_t user_id,
                int64_t amount, enum outcome *out)
{
    enum barrier_try b;
    int64_t n = 1;
    int rc = barrier_try(c, pay_id, BRANCH_POINTS, &b);
    if (rc == APP_OK && b == BARRIER_REFUSED && NAIVE(D13_POINTS_WITHOUT_BARRIER))
        b = BARRIER_RUN;
    if (rc == APP_OK && b == BARRIER_RUN)
        rc = db_exec(c, &EARN, &n, db_i64(pay_id), db_i64(order_id), db_i64(user_id),
                     db_i64(amount));
    if (rc)
        return rc;
    if (n != 1)
        return db_fail(c, APP_E_LATER, "payment %lld: user %lld does not exist", (long long)pay_id,
                       (long long)user_id);
    *out = b == BARRIER_RUN       ? OUTCOME_DONE
           : b == BARRIER_REFUSED ? OUTCOME_EMPTY
                                  : OUTCOME_DUPLICATE;
    return APP_OK;
}

int points_reverse(struct db_conn *c, int64_t pay_id, enum outcome *out)
{
    enum barrier_cancel b;
    int64_t n = 1;
    int rc = barrier_cancel(c, pay_id, BRANCH_POINTS, &b);
    if (rc == APP_OK && b == BARRIER_UNDO)
        rc = db_exec(c, &REVERSE, &n, db_i64(pay_id));
    if (rc)
        return rc;
    if (n != 1)
        return db_fail(c, APP_E_LATER, "payment %lld: no points in the ledger to take back",
                       (long long)pay_id);
    *out = barrier_outcome(b);
    return APP_OK;
}
