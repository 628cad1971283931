/* The order's states, and what they mean for those who ask. Pure: no database, no messages.
 *
 *            place            all tries done
 *   (none) --------> PENDING ----------------> CONFIRMED --pay--> PAYING --paid--> PAID
 *      |                |  refused, expired         (unpaid: later cancelled by timer or user)
 *      | check-back     v
 *      v             CANCELLING --four acks--> CANCELLED
 *   INVALID
 *
 * The legal edges themselves are rows of ord.order_edge, and a trigger refuses any other: the table is the
 * one list of them. What stands here is how each state answers a question:
 *
 *   state       the armed cancellation       `paid` arrives
 *   PENDING     open, or expire it           later (it cannot happen in order)
 *   CONFIRMED   roll back                    accept; again if by the same payment; else refund
 *   CANCELLING  commit                       refund
 *   CANCELLED   commit                       refund
 *   INVALID     roll back                    refund
 *   no row      (a tombstone is written)     later */
#include "apps/order/order.h"

enum saga_verdict saga_verdict_of(enum order_status s, bool expired)
{
    switch (s) {
    case ORDER_PENDING:
        return expired ? SAGA_EXPIRE : SAGA_OPEN;
    case ORDER_CONFIRMED:
    case ORDER_INVALID:
        return SAGA_ROLLBACK;
    case ORDER_CANCELLING:
    case ORDER_CANCELLED:
        return SAGA_COMMIT;
    }
    return SAGA_OPEN;
}

enum mq_verdict saga_end_of(enum saga_verdict v)
{
    return v == SAGA_ROLLBACK ? MQ_ROLLBACK : v == SAGA_COMMIT ? MQ_COMMIT : MQ_UNKNOWN;
}

enum paid_reaction paid_reaction_of(bool found, enum order_status s, enum pay_status p,
                                    int64_t row_pay_id, int64_t pay_id)
{
    if (!found || s == ORDER_PENDING)
        return PAID_LATER;
    if (s != ORDER_CONFIRMED)
        return PAID_REFUND;
    if (p != PAY_PAID)
        return PAID_ACCEPT;
    return row_pay_id == pay_id ? PAID_AGAIN : PAID_REFUND;
}

int comp_bit_of(enum branch b)
{
    switch (b) {
    case BRANCH_STOCK:
        return COMP_STOCK;
    case BRANCH_COUPON:
        return COMP_COUPON;
    case BRANCH_BALANCE:
        return COMP_BALANCE;
    case BRANCH_PAY:
        return COMP_PAY;
    default:
        return 0;
    }
}

int64_t shipping_fee_of(int64_t goods_amount)
{
    enum { FREE_ABOVE = 10000, FEE = 1000 }; /* cents */
    return goods_amount <= FREE_ABOVE ? FEE : 0;
}

const char *order_status_text(enum order_status s)
{
    switch (s) {
    case ORDER_PENDING:
        return "processing";
    case ORDER_CONFIRMED:
        return "confirmed";
    case ORDER_CANCELLED:
        return "cancelled";
    case ORDER_INVALID:
        return "failed";
    case ORDER_CANCELLING:
        return "cancelling";
    }
    return "unknown";
}
