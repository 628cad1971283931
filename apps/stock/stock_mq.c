/* stock's messages: order_cancel in, cancel_ack out. All of it is the kit's participant; this file only
 * says which branch and which undo. */
#include "apps/stock/stock.h"

void stock_init(struct stock *s, struct db *db, struct mq *mq, struct metrics *metrics)
{
    s->db = db;
    s->cancel = (struct participant){.branch = BRANCH_STOCK, .undo = stock_undo, .mq = mq};
    participant_inbox(&s->cancel, GROUP_STOCK_ORDER, db, metrics, &s->cancel_inbox);
}
