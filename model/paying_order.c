/* The order's side of paying: apps/order/order_mq.c `paid_effect`, `paid_emit`; order_repo.c `repo_pay_intent`,
 * `repo_accept_paid`; order_cancel_repo.c `repo_timeout`, `repo_sweep`.
 *
 * Who cancels, timer, sweeper or user, does the same to the payments: the row moves, order_cancel follows.
 * The other branches' acknowledgements are taken for granted here; with payment's the order is closed. */
#include "model/paying.h"

#include "apps/order/order.h"

static enum order_status status_of(const struct paying *s)
{
    return (enum order_status)s->status;
}

static bool cancellable(const struct paying *s)
{
    return order_is_cancellable(status_of(s), (enum pay_status)s->pay);
}

void paying_order_start(struct paying *s)
{
    s->status = ORDER_CONFIRMED;
    s->pay = PAY_NONE;
}

bool paying_order_grants(const struct paying *s)
{
    return cancellable(s);
}

bool paying_order_is_paid(const struct paying *s)
{
    return s->status == ORDER_CONFIRMED && s->pay == PAY_PAID;
}

bool paying_order_has_ended(const struct paying *s)
{
    return paying_order_is_paid(s) || s->status == ORDER_CANCELLED;
}

void paying_order_acks_cancel(struct paying *n)
{
    int mask = 0;
    const int others = COMP_ALL & ~comp_bit_of(BRANCH_PAY);
    if (comp_reaction_of(true, status_of(n), others, comp_bit_of(BRANCH_PAY), &mask) == COMP_CLOSES)
        n->status = ORDER_CANCELLED;
}

static void cancel(const struct paying *s, struct search *x)
{
    struct paying n = *s;
    const bool timer = search_has(x, RULE_TIMER), sweeper = search_has(x, RULE_SWEEPER);
    if (cancellable(s) && (timer || sweeper)) {
        n.status = ORDER_CANCELLING;
        if (paying_may_fail(s, x)) {
            n.faults++;
            search_may(x, &n, "order: is cancelled; who did it dies before it sends order_cancel");
            n.faults--;
        }
        n.order_cancel = 1;
        search_move(x, &n, "order: is cancelled, order_cancel is sent");
    } else if (s->status == ORDER_CANCELLING && !s->order_cancel && sweeper) {
        n.order_cancel = 1;
        search_move(x, &n, "sweeper: order_cancel is sent again");
    }
}

/* The effect of `paid`; the outcome goes into the inbox. */
static void accept_paid(struct paying *n, int k, const struct search *x)
{
    const enum pay_status pay = search_has(x, RULE_PAID_CAS) ? (enum pay_status)n->pay : PAY_PAYING;
    const enum paid_reaction r = paid_reaction_of(true, status_of(n), pay, n->paid_by, k + 1);
    if (r == PAID_ACCEPT) {
        n->pay = PAY_PAID;
        n->paid_by = (uint8_t)(k + 1);
    }
    n->at[k].outcome = r == PAID_REFUND ? 'r' : 'a';
    if (r == PAID_REFUND && !search_has(x, RULE_REFUND_ALWAYS) && paying_order_is_paid(n))
        n->at[k].outcome = 'i'; /* ignored */
}

static void answer(struct paying *n, int k)
{
    if (n->at[k].outcome == 'a')
        n->at[k].order_paid = 1;
    else if (n->at[k].outcome == 'r')
        n->at[k].refund_request = MESSAGE_SENT;
}

void paying_order_takes(struct paying *n, int k, const struct search *x)
{
    const bool fresh = !n->at[k].outcome;
    if (fresh || !search_has(x, RULE_INBOX))
        accept_paid(n, k, x);
    if (fresh || search_has(x, RULE_REEMIT))
        answer(n, k);
    n->at[k].paid_to_order = 0;
}

static void consume_paid(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    paying_order_takes(&n, k, x);
    const char *const answered = n.at[k].outcome == 'a'   ? "order_paid"
                                 : n.at[k].outcome == 'r' ? "refund_request"
                                                          : "nothing";
    search_move(x, &n, "order: paid %d, %s", k, answered);
    n.at[k].paid_to_order = 1;
    n.faults++;
    if (paying_may_fail(s, x))
        search_may(x, &n, "order: paid %d, %s; delivered again", k, answered);
    n = *s;
    n.faults++;
    if (!n.at[k].outcome || !search_has(x, RULE_INBOX))
        accept_paid(&n, k, x);
    if (paying_may_fail(s, x))
        search_may(x, &n, "order: paid %d, dies before it answers", k);
    n = *s;
    n.faults++;
    n.at[k].paid_to_order = 0;
    if (paying_may_lose(s, x))
        search_may(x, &n, "broker: loses paid %d on its way to order", k);
}

void paying_order_moves(const struct paying *s, struct search *x)
{
    cancel(s, x);
    for (int k = 0; k < PAYS; k++)
        if (s->at[k].paid_to_order)
            consume_paid(s, x, k);
}
