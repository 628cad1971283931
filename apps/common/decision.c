/* Decision rows of ordinary transactional messages: first writer wins.
 *
 * decision_commit runs inside the local transaction, on the request's thread; decision_check in one of
 * its own, on a worker of the message client. The check's insert waits for an uncommitted local
 * transaction (at most lock_timeout): committed, it conflicts and reads 'C'; rolled back, the check's
 * 'R' stands and a local transaction that comes later conflicts with it. What cannot be read in time is
 * UNKNOWN, and the broker asks again.
 */
#include "apps/common/decision.h"

#include "apps/common/log.h"

static const struct db_stmt INSERT_ROW = {
    "kit_decision_insert",
    "INSERT INTO mq_producer_log(txn_id, topic, tag, msg_key, decision, decided_by) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT DO NOTHING"};
static const struct db_stmt READ_ROW = {"kit_decision_read",
                                        "SELECT decision FROM mq_producer_log WHERE txn_id = $1"};

static int insert_row(struct db_conn *c, const char *txn_id, const struct envelope *v,
                      const char *decision, const char *decided_by, bool *inserted)
{
    char key[ENVELOPE_KEY_MAX];
    int64_t n;
    envelope_key(v, key);
    const int rc =
        db_exec(c, &INSERT_ROW, &n, db_text(txn_id), db_text(event_topic(v->event)),
                db_text(event_tag(v->event)), db_text(key), db_text(decision), db_text(decided_by));
    *inserted = rc == APP_OK && n == 1;
    return rc;
}

int decision_commit(struct db_conn *c, const char *txn_id, const struct envelope *v, bool *won)
{
    return insert_row(c, txn_id, v, "C", "local", won);
}

enum mq_verdict decision_verdict_of(char decision)
{
    return decision == 'C' ? MQ_COMMIT : MQ_ROLLBACK;
}

struct check {
    const char *txn_id;
    const struct envelope *v;
    enum mq_verdict verdict;
};

static int check_body(struct db_conn *c, void *arg)
{
    struct check *k = arg;
    bool inserted;
    int rc = insert_row(c, k->txn_id, k->v, "R", "check", &inserted);
    if (rc)
        return rc;
    struct db_rows rows;
    rc = db_query(c, &READ_ROW, &rows, db_text(k->txn_id));
    if (rc)
        return rc;
    k->verdict = decision_verdict_of(db_get_text(&rows, 0, "decision")[0]);
    return db_rows_end(&rows);
}

enum mq_verdict decision_check(struct db *db, const char *txn_id, const struct envelope *v)
{
    struct check k = {.txn_id = txn_id, .v = v, .verdict = MQ_UNKNOWN};
    struct app_error e;
    if (db_tx(db, check_body, &k, &e) == APP_OK)
        return k.verdict;
    log_warn("check_unknown", "txn_id=%s error=%s", app_log_value(txn_id), app_log_value(e.text));
    return MQ_UNKNOWN;
}
