/* Half message, local transaction, END.
 *
 * Runs on the caller's thread, blocking. Whoever is slower than the check-back finds its decision row taken
 * and rolls back; a repetition has a new transaction id and starts afresh.
 *
 * Rule E: an END is sent only for a decision that was read from PostgreSQL, or written by a commit that was
 * acknowledged. After a failed or unknown commit the decision is asked for like the check-back does it,
 * which also settles that a late commit cannot happen any more.
 */
#include "apps/common/transaction.h"

#include "apps/common/decision.h"
#include "apps/common/log.h"
#include "apps/common/naive.h"

#include <stdio.h>

#define TXN_ID_MAX 64

struct local {
    const struct transaction *t;
    const char *txn_id;
};

static int local_body(struct db_conn *c, void *arg)
{
    const struct local *l = arg;
    bool won = false;
    const int rc = decision_commit(c, l->txn_id, l->t->v, &won);
    if (rc)
        return rc;
    return won || NAIVE(D8_NO_DECISION_ROW)
               ? l->t->effect(c, l->t->arg)
               : db_fail(c, APP_E_LATER, "transaction %s was rolled back by its check", l->txn_id);
}

static bool fails(struct failpoint *fp)
{
    return fp && FAILPOINT(*fp);
}

static int injected(struct app_error *e)
{
    return app_fail(e, APP_E_DOWN, "failpoint");
}

static int send_half(const struct transaction *t, const char *txn_id, struct mq_half *half,
                     struct app_error *e)
{
    const int rc = fails(t->before_half) ? injected(e)
                                         : mq_half(t->mq, t->v, txn_id, 0, t->traceparent, half, e);
    return rc == APP_OK && fails(t->after_half) ? injected(e) : rc;
}

int transaction_run(const struct transaction *t, struct app_error *e)
{
    int64_t id;
    char text[ID_TEXT_MAX], txn_id[TXN_ID_MAX];
    struct mq_half half;
    int rc = ids_next(t->ids, &id, e);
    if (rc)
        return rc;
    (void)snprintf(txn_id, sizeof txn_id, "%s-%s", event_tag(t->v->event), id_text(id, text));
    if ((rc = send_half(t, txn_id, &half, e)) != APP_OK)
        return rc;
    struct local l = {.t = t, .txn_id = txn_id};
    rc = db_tx(t->db, local_body, &l, e);
    const enum mq_verdict verdict = rc == APP_OK ? MQ_COMMIT : decision_check(t->db, txn_id, t->v);
    if (!fails(t->after_tx))
        mq_end(t->mq, &half, verdict);
    if (verdict == MQ_COMMIT)
        return APP_OK;
    if (rc != APP_E_REFUSED)
        log_warn("transaction_failed", "txn_id=%s error=%s", txn_id, app_log_value(e->text));
    return rc;
}
