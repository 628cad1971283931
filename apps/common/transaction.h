#pragma once
/* A message that is sent if and only if a local transaction commits (P2):
 *
 *   1 half message with a new transaction id     the broker keeps it back, and asks if nothing follows
 *   2 local transaction: decision row, effect    one COMMIT decides both
 *   3 END with the decision that stands in the database
 *
 * The service's check-back answers decision_check (decision.h) for messages with a transaction id. */
#include "apps/common/db.h"
#include "apps/common/failpoint.h"
#include "apps/common/ids.h"
#include "apps/common/mq.h"

struct transaction {
    struct db *db;
    struct mq *mq;
    struct ids *ids;
    const struct envelope *v; /* the message */
    const char *traceparent;  /* NULL: none */
    db_body effect;           /* inside the local transaction, after the decision row */
    void *arg;                /* of effect */
    struct failpoint *before_half, *after_half,
        *after_tx; /* error: the step fails; END is not sent */
};
/* 0: committed, the message will be delivered.
 * Errors: what effect returned (rolled back, the message too); APP_E_LATER the check-back was faster:
 * rolled back; mq_half's, nothing was done; db_tx's: as far as known it did not happen, and where COMMIT's
 * answer was lost and the row cannot be read, the check-back decides. */
int transaction_run(const struct transaction *t, struct app_error *e) APP_CHECK;
