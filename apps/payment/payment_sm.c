/* The payment's states, and what they mean for those who ask. Pure: no database, no messages.
 *
 *            pay-intent granted, gate open        callback
 *   (none) ------------------------------> OPEN ------------> PAID --acks 7--> settled
 *                                           |                  ^
 *                     order cancelled, or   v                  | late callback: the money is real
 *                     paid by another    CLOSED ---------------+
 *
 * REFUNDING, REFUNDED and REFUND FAILED follow PAID when the order did not take the money; a callback
 * that meets one of them was recorded before.
 *
 *   state          callback      opening a sibling
 *   OPEN           settle        it is the one to use
 *   CLOSED         settle        allowed (the gate decides)
 *   PAID           known         refused: paid already
 *   REFUNDING      known         refused: paid already
 *   REFUNDED       known         allowed (the gate decides)
 *   REFUND FAILED  known         refused: paid already */
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

bool pay_is_settled(enum pay_state s, int acks)
{
    return s == PAY_PAID && (acks & ACK_SETTLED) == ACK_SETTLED;
}

int ack_bit_of(enum branch b)
{
    return b == BRANCH_POINTS ? ACK_POINTS : b == BRANCH_LOG ? ACK_LOG : 0;
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
