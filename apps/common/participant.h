#pragma once
/* The cancel side that stock, coupon and wallet share: consume order_cancel, undo behind the barrier,
 * report with cancel_ack. */
#include "apps/common/barrier.h"
#include "apps/common/inbox.h"
#include "apps/common/mq.h"

struct participant {
    enum branch branch;
    /* Undoes what the own ledger says about this order, inside the transaction. */
    int (*undo)(struct db_conn *c, int64_t order_id);
    struct mq *mq;
};
/* Fills *out; p and what it points to live as long as the inbox is registered. */
void participant_inbox(struct participant *p, const char *group, struct db *db,
                       struct metrics *metrics, struct inbox *out);
/* The same without a message, for tests and for a verdict learned in another way. */
int participant_cancel(const struct participant *p, struct db_conn *c, int64_t order_id,
                       enum outcome *out) APP_CHECK;
/* Sends the cancel_ack of that. */
int participant_acknowledge(const struct participant *p, int64_t order_id, enum outcome outcome,
                            int attempt, const char *traceparent, struct app_error *e) APP_CHECK;
