/* coupon's messages: order_cancel in, cancel_ack out. All of it is the kit's participant; this file only
 * says which branch and which undo. */
#include "apps/coupon/coupon.h"

void coupon_init(struct coupon *s, struct db *db, struct mq *mq, struct metrics *metrics)
{
    s->db = db;
    s->cancel = (struct participant){.branch = BRANCH_COUPON, .undo = coupon_undo, .mq = mq};
    participant_inbox(&s->cancel, GROUP_COUPON_ORDER, db, metrics, &s->cancel_inbox);
}
