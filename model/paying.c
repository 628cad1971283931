/* Paying an order: two payments that may both be captured, two callbacks of each at once, an order that may be
 * cancelled at any moment, refunds, and points that follow.
 *
 *   order             paying_order.c     accepts the money, or asks for a refund; is cancelled
 *   payment           paying_payment.c   opens, settles, closes, refunds; the reconciler
 *   provider, points  the same file
 *
 * What may go wrong: services die between transaction and answer; messages and acknowledgements are delayed,
 * doubled, lost; a refund request becomes a dead letter; the broker asks at any time and may lose a half message;
 * the payer pays late, also after the provider has closed the charge; the provider gives up calling back;
 * a payment whose order was granted it is opened after the order was cancelled or paid. How many of each:
 * PAYING_CRASHES and so on. Time is not counted, as in placing.c.
 *
 * A provider that refuses a refund for good ends in REFUND FAILED, an operator's matter, and is left out. */
#include "model/paying.h"

static void start(void *state)
{
    *(struct paying *)state = (struct paying){0};
    paying_order_start(state);
}

static void moves(const void *state, struct search *x)
{
    const struct paying *s = state;
    paying_order_moves(s, x);
    for (int k = 0; k < PAYS; k++) {
        paying_payment_moves(s, x, k);
        paying_provider_moves(s, x, k);
        paying_points_moves(s, x, k);
    }
}

static void tidy(void *state, const struct search *x)
{
    for (int k = 0; k < PAYS; k++)
        paying_payment_tidy(state, k, x);
}

static const char *always(const void *state)
{
    const char *bad = NULL;
    for (int k = 0; k < PAYS && !bad; k++)
        bad = paying_payment_always(state, k);
    return bad;
}

static const char *at_rest(const void *state, const struct search *x)
{
    const char *bad =
        paying_order_has_ended(state) ? NULL : "an order is neither paid nor cancelled";
    for (int k = 0; k < PAYS && !bad; k++)
        bad = paying_payment_at_rest(state, k, x);
    return bad;
}

const struct search_model paying_model = {.name = "paying",
                                          .size = sizeof(struct paying),
                                          .start = start,
                                          .moves = moves,
                                          .tidy = tidy,
                                          .always = always,
                                          .at_rest = at_rest};
