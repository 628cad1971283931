/* The order's states, and what they mean for those who ask. Pure: no database, no messages.
 *
 *            place            all tries done
 *   (none) --------> PENDING ----------------> CONFIRMED --pay--> PAYING --paid--> PAID
 *      |                |  refused, expired         |  timer, user    |
 *      | check-back     v                           v                 |
 *      v             CANCELLING <---------------------------------------
 *   INVALID             |  four acks
 *                       v
 *                   CANCELLED
 *
 * The legal edges themselves are rows of ord.order_edge, and a trigger refuses any other: the table is the
 * one list of them. What stands here is how each state answers a question:
 *
 *   state       the armed cancellation     `paid` arrives                        its timer fires
 *   PENDING     open, or expire it         later (it cannot happen in order)     early, or cancel
 *   CONFIRMED   roll back                  accept; again if by the same payment; early, or cancel;
 *                                          else refund                           paid: nothing
 *   CANCELLING  commit                     refund                                send again
 *   CANCELLED   commit                     refund                                nothing
 *   INVALID     roll back                  refund                                nothing
 *   no row      (a tombstone is written)   later                                 nothing */
#include "apps/order/order.h"

#include "apps/common/naive.h"

enum saga_verdict saga_verdict_of(enum order_status s, bool expired)
{
    switch (s) {
    case ORDER_PENDING:
        return NAIVE(D6_PENDING_IS_FAILED) ? SAGA_ROLLBACK : expired ? SAGA_EXPIRE : SAGA_OPEN;
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
    return row_pay_id == pay_id || NAIVE(D10_REFUND_ONLY_IF_CANCELLED) ? PAID_AGAIN : PAID_REFUND;
}

enum timeout_reaction timeout_reaction_of(bool found, enum order_status s, enum pay_status p,
                                          bool saga_over, bool pay_over)
{
    if (!found)
        return TIMEOUT_NOTHING;
    switch (s) {
    case ORDER_PENDING:
        return saga_over ? TIMEOUT_CANCEL : TIMEOUT_EARLY;
    case ORDER_CONFIRMED:
        return p == PAY_PAID ? TIMEOUT_NOTHING : pay_over ? TIMEOUT_CANCEL : TIMEOUT_EARLY;
    case ORDER_CANCELLING:
        return TIMEOUT_AGAIN;
    case ORDER_CANCELLED:
    case ORDER_INVALID:
        return TIMEOUT_NOTHING;
    }
    return TIMEOUT_NOTHING;
}

bool order_is_cancellable(enum order_status s, enum pay_status p)
{
    return s == ORDER_CONFIRMED && p != PAY_PAID;
}

const char *verdict_text_of(bool found, enum order_status s, enum pay_status p)
{
    if (!found)
        return "unknown";
    switch (s) {
    case ORDER_PENDING:
        return "open";
    case ORDER_CONFIRMED:
        return p == PAY_PAID ? "paid" : "confirmed";
    case ORDER_CANCELLING:
    case ORDER_CANCELLED:
        return "cancelled";
    case ORDER_INVALID:
        return "invalid";
    }
    return "unknown";
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

enum comp_reaction comp_reaction_of(bool found, enum order_status s, int before, int bit, int *mask)
{
    *mask = before | bit;
    if (!found || (s != ORDER_CANCELLING && s != ORDER_CANCELLED))
        return COMP_STRAY;
    if (s == ORDER_CANCELLED || *mask == before)
        return COMP_DUPLICATE;
    return *mask == COMP_ALL ? COMP_CLOSES : COMP_ACKED;
}

const char *comp_reaction_text(enum comp_reaction r)
{
    switch (r) {
    case COMP_ACKED:
        return "acked";
    case COMP_CLOSES:
        return "cancelled";
    case COMP_DUPLICATE:
        return "duplicate";
    case COMP_STRAY:
        return "stray";
    }
    return "stray";
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
