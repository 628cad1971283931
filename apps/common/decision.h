#pragma once
/* The decision row of an ordinary transactional message (P2, table mq_producer_log): the local
 * transaction writes 'C' beside its effect, the check-back writes 'R' if nothing is there; the primary
 * key makes the first writer win, so a slow local transaction cannot commit what was already rolled
 * back. */
#include "apps/common/db.h"
#include "apps/common/mq.h"

/* Inside the local transaction, first. *won false: the check-back was faster; roll back. */
int decision_commit(struct db_conn *c, const char *txn_id, const struct envelope *v,
                    bool *won) APP_CHECK;
/* What a decision row answers (pure). */
enum mq_verdict decision_verdict_of(char decision);
/* The check-back's answer in a transaction of its own. Never an error: what cannot be read is MQ_UNKNOWN. */
enum mq_verdict decision_check(struct db *db, const char *txn_id, const struct envelope *v);
