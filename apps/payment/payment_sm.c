/* The payment's states, and what they mean for those who ask. Pure: no database, no messages.
 *
 *            pay-intent granted, gate open        callback, query
 *   (none) ------------------------------> OPEN -----------------> PAID --acks 7--> settled
 *                                           |                       ^ |
 *        order cancelled, paid by another,  v                       | | the order does not take the money
 *        closed by the provider           CLOSED -------------------+ v
 *                                                late callback   REFUNDING --> REFUNDED --acks 24--> settled
 *                                                                     |
 *                                                                     +------> REFUND FAILED (an operator)
 *
 *   state          callback      opening a sibling              asked for a refund
 *   OPEN           settle        it is the one to use           later
 *   CLOSED         settle        allowed (the gate decides)     later
 *   PAID           known         refused: paid already          go
 *   REFUNDING      known         refused: paid already          go
 *   REFUNDED       known         allowed (the gate decides)     tell again
 *   REFUND FAILED  known         refused: paid already          never
 *   no row         stranger      -                              later */
#include "apps/payment/payment.h"

bool pay_is_kept(enum pay_state s)
{
    return s == PAY_PAID || s == PAY_REFUNDING || s == PAY_REFUND_FAILED;
}

enum callback_reaction callback_reaction_of(bool found, enum pay_state s, bool same_money)
{
    if (!found)
        return CALLBACK_STRANGER;
    if (!same_money)
        return CALLBACK_MISMATCH;
    return s == PAY_OPEN || s == PAY_CLOSED ? CALLBACK_SETTLE : CALLBACK_KNOWN;
}

/* "Paid already" is the better answer where both hold: order_paid closes the gate of a paid order. */
enum open_reaction open_reaction_of(bool gate_closed, bool kept, bool open)
{
    if (kept)
        return OPEN_PAID;
    if (gate_closed)
        return OPEN_CLOSED;
    return open ? OPEN_EXISTING : OPEN_NEW;
}

enum refund_reaction refund_reaction_of(bool found, enum pay_state s)
{
    if (!found)
        return REFUND_LATER;
    switch (s) {
    case PAY_PAID:
    case PAY_REFUNDING:
        return REFUND_GO;
    case PAY_REFUNDED:
        return REFUND_AGAIN;
    case PAY_REFUND_FAILED:
        return REFUND_NEVER;
    case PAY_OPEN:
    case PAY_CLOSED:
        return REFUND_LATER;
    }
    return REFUND_LATER;
}

bool pay_is_settled(enum pay_state s, int acks)
{
    return (s == PAY_PAID && (acks & ACK_SETTLED) == ACK_SETTLED) ||
           (s == PAY_REFUNDED && (acks & ACK_REFUND_SETTLED) == ACK_REFUND_SETTLED);
}

int ack_bit_of(enum event ev, enum branch b)
{
    const bool refund = ev == EVENT_refund_ack;
    switch (b) {
    case BRANCH_POINTS:
        return refund ? ACK_REFUND_POINTS : ACK_POINTS;
    case BRANCH_LOG:
        return refund ? ACK_REFUND_LOG : ACK_LOG;
    default:
        return 0;
    }
}

const char *pay_state_text(enum pay_state s)
{
    switch (s) {
    case PAY_OPEN:
        return "open";
    case PAY_PAID:
        return "paid";
    case PAY_CLOSED:
        return "closed";
    case PAY_REFUNDING:
        return "refunding";
    case PAY_REFUNDED:
        return "refunded";
    case PAY_REFUND_FAILED:
        return "refund failed";
    }
    return "unknown";
}
