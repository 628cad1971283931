#pragma once
/* Two payments of one order: see paying.c. The two halves know one service each, because the services' headers
 * know nothing of each other. */
#include "model/rules.h"

enum { PAYS = 2, ATTEMPTS = 2 };

enum slot {
    SLOT_FREE,
    SLOT_GRANTED /* by the order, the row not written yet */,
    SLOT_REFUSED,
    SLOT_ROW
};
enum creating {
    CREATING_NOT,
    CREATING_ROW /* the row is there */,
    CREATING_CHARGE /* the provider knows */
};
enum message { MESSAGE_NONE, MESSAGE_SENT, MESSAGE_DEAD /* a dead letter */ };

struct attempt {     /* to settle: a callback that is being handled; all zero: none */
    uint8_t running; /* between half message and transaction */
    uint8_t half, row;
};
struct pay_side { /* one payment: its row, its charge, its messages; bytes only */
    uint8_t slot, creating;
    uint8_t is_paid, acks; /* enum pay_state; acknowledgements, the journal's included */
    uint8_t rests;         /* closed, and the provider has confirmed it */
    uint8_t charge;        /* enum charge_state */
    uint8_t refunds;       /* by the provider */
    uint8_t told;          /* the payer knows where to pay */
    uint8_t callback;      /* the provider calls back until it hears SUCCESS */
    struct attempt attempt[ATTEMPTS];
    uint8_t paid_to_order, paid_to_points; /* copies of `paid` on their way */
    uint8_t outcome;                       /* in the order's inbox: 0, 'a'ccepted, 'r'efund */
    uint8_t order_paid, refund_request, refunded;
    struct party points;
};
struct paying {
    uint8_t status, pay, paid_by; /* the order row; payment + 1 */
    uint8_t order_cancel;         /* on its way to payment */
    uint8_t gate_closed;          /* order_gate */
    uint8_t faults;               /* that have happened */
    struct pay_side at[PAYS];
};

extern const struct search_model paying_model;

static inline bool paying_may_fail(const struct paying *s, const struct search *x)
{
    return s->faults < search_faults(x);
}
static inline bool paying_may_lose(const struct paying *s, const struct search *x)
{
    return paying_may_fail(s, x) && search_has(x, RULE_LOSS);
}

/* --- paying_order.c: the order service --- */
void paying_order_start(struct paying *s);
void paying_order_moves(const struct paying *s, struct search *x);
bool paying_order_grants(const struct paying *s); /* repo_pay_intent */
void paying_order_acks_cancel(struct paying *n);  /* payment's cancel_ack, the fourth */
void paying_order_takes(struct paying *n, int k, const struct search *x); /* `paid` is consumed */
bool paying_order_is_paid(const struct paying *s);
bool paying_order_has_ended(const struct paying *s); /* paid or cancelled */

/* --- paying_payment.c: the payment service --- */
void paying_payment_moves(const struct paying *s, struct search *x, int k);
void paying_payment_tidy(struct paying *s, int k, const struct search *x);
const char *paying_payment_always(const struct paying *s, int k);
const char *paying_payment_at_rest(const struct paying *s, int k, const struct search *x);
void paying_provider_moves(const struct paying *s, struct search *x, int k);
void paying_points_moves(const struct paying *s, struct search *x, int k);
