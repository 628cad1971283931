/* Payment's side of paying, the provider it talks to, and the points that follow.
 *
 *   opening       apps/payment/payment_pay.c `pay_create`; payment_repo.c `pay_repo_open`
 *   settling      payment_pay.c `pay_callback`, `settle`; apps/common/transaction.c, decision.c
 *   consumers     payment_mq.c; refunding: payment_refund.c
 *   reconciler    payment_reconcile.c
 *   points        apps/user/user_mq.c, points_repo.c
 *
 * The journal (paylog) is left out: it acts on the same messages as the points, with a row of its own and
 * nothing to take back. Its acknowledgements are taken for granted. An END is on time or never comes: the
 * decision row does not change any more, so a late one finds that the check-back has said the same. */
#include "model/paying.h"

#include <string.h>

#include "apps/payment/payment.h"

#define MOVE(next, ...) search_move(x, &(next), __VA_ARGS__)
#define MAY(next, ...) search_may(x, &(next), __VA_ARGS__)

static enum pay_state state_of(const struct pay_side *p)
{
    return (enum pay_state)p->is_paid;
}

static bool has_row(const struct pay_side *p)
{
    return p->slot == SLOT_ROW;
}

static bool settled(const struct pay_side *p, const struct search *x)
{
    const int granted = ACK_LOG | ACK_REFUND_LOG |
                        (search_has(x, RULE_ACK_POINTS) ? 0 : ACK_POINTS | ACK_REFUND_POINTS);
    return pay_is_settled(state_of(p), p->acks | granted);
}

/* pay_repo_ack: nothing happens to a payment that is open or closed. */
static void ack(struct pay_side *p, int bit)
{
    if (state_of(p) != PAY_OPEN && state_of(p) != PAY_CLOSED)
        p->acks |= (uint8_t)bit;
}

/* ---- opening ---- */

static void close_row(struct pay_side *p)
{
    if (has_row(p) && state_of(p) == PAY_OPEN)
        p->is_paid = PAY_CLOSED;
}

static void insert_row(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    bool kept = false, open = false;
    for (int j = 0; j < PAYS; j++) {
        kept |= has_row(&s->at[j]) && pay_is_kept(state_of(&s->at[j]));
        open |= has_row(&s->at[j]) && state_of(&s->at[j]) == PAY_OPEN;
    }
    const bool closed = s->gate_closed && search_has(x, RULE_GATE);
    switch (open_reaction_of(closed, kept, open)) {
    case OPEN_NEW:
        n.at[k].slot = SLOT_ROW;
        n.at[k].is_paid = PAY_OPEN;
        n.at[k].creating = CREATING_ROW;
        MOVE(n, "payment %d: is opened", k);
        return;
    case OPEN_EXISTING:
    case OPEN_PAID:
    case OPEN_CLOSED:
        n.at[k].slot = SLOT_REFUSED;
        MOVE(n, "payment %d: is not opened", k);
    }
}

/* payment_pay.c `charge`, `refuse_if_closed`. */
static void charge(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    struct pay_side *const p = &n.at[k];
    if (s->at[k].creating == CREATING_ROW) {
        p->creating = CREATING_NOT;
        MAY(n, "payment %d: the provider is not told", k);
        p->creating = CREATING_CHARGE;
        if (s->at[k].charge == CHARGE_UNKNOWN)
            p->charge = CHARGE_OPEN;
        MOVE(n, "payment %d: the provider is told", k);
        return;
    }
    p->creating = CREATING_NOT;
    MAY(n, "payment %d: dies before the payer is told", k);
    if (state_of(p) == PAY_CLOSED) {
        if (p->charge == CHARGE_OPEN)
            p->charge = CHARGE_CLOSED;
        MOVE(n, "payment %d: was closed meanwhile, the provider is told", k);
    } else {
        p->told = 1;
        MOVE(n, "payment %d: the payer is told where to pay", k);
    }
}

static void opening(const struct paying *s, struct search *x, int k)
{
    const struct pay_side *const p = &s->at[k];
    struct paying n = *s;
    const bool next = p->slot == SLOT_FREE && (k == 0 || s->at[k - 1].slot != SLOT_FREE);
    if (next && paying_order_grants(s)) {
        n.at[k].slot = SLOT_GRANTED;
        MAY(n, "payer: asks for payment %d, the order grants it", k);
    }
    if (p->slot == SLOT_GRANTED) {
        insert_row(s, x, k);
        n = *s;
        n.at[k].slot = SLOT_REFUSED;
        MAY(n, "payment %d: dies before the row is there", k);
    }
    if (has_row(p) && state_of(p) == PAY_OPEN && !p->creating && !p->told &&
        paying_order_grants(s)) {
        n.at[k].creating = CREATING_ROW;
        MAY(n, "payer: asks again for payment %d", k);
    }
    if (p->creating)
        charge(s, x, k);
}

/* ---- settling ---- */

/* An attempt of which nothing is left to come is forgotten, and two are kept in order: which of two
 * callbacks is which does not matter. */
static void tidy_attempts(struct pay_side *p)
{
    for (int a = 0; a < ATTEMPTS; a++)
        if (!p->attempt[a].running && p->attempt[a].half != HALF_STORED)
            p->attempt[a] = (struct attempt){0};
    if (memcmp(&p->attempt[0], &p->attempt[1], sizeof p->attempt[0]) < 0) {
        const struct attempt first = p->attempt[0];
        p->attempt[0] = p->attempt[1];
        p->attempt[1] = first;
    }
}

static void paid_is_sent(struct pay_side *p)
{
    p->paid_to_order = p->paid_to_points = 1;
}

static void decide(struct pay_side *p, struct attempt *a, enum mq_verdict verdict)
{
    if (half_decide(&a->half, verdict))
        paid_is_sent(p);
}

static bool settles(const struct pay_side *p, const struct search *x)
{
    return callback_reaction_of(true, state_of(p), true) == CALLBACK_SETTLE &&
           (state_of(p) == PAY_OPEN || search_has(x, RULE_SETTLE_CLOSED));
}

static void callback(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    struct pay_side *const p = &n.at[k];
    if (!settles(p, x)) {
        p->callback = 0;
        MOVE(n, "payment %d: callback, known; SUCCESS", k);
        return;
    }
    if (!p->attempt[ATTEMPTS - 1].running && p->attempt[ATTEMPTS - 1].half == HALF_NONE) {
        p->attempt[ATTEMPTS - 1] = (struct attempt){.running = 1, .half = HALF_STORED};
        MOVE(n, "payment %d: callback, half message paid is stored", k);
    }
    /* After a confirmed closing nobody asks any more: a provider that captures all the same goes on calling. */
    if (paying_may_lose(s, x) && !s->at[k].rests) {
        n = *s;
        n.faults++;
        n.at[k].callback = 0;
        MAY(n, "provider: stops calling back for payment %d", k);
    }
}

/* The local transaction of transaction.c with payment_pay.c `settle_effect`. */
static void settle(const struct paying *s, struct search *x, int k, int i)
{
    struct paying n = *s;
    struct pay_side *const p = &n.at[k];
    struct attempt *const a = &p->attempt[i];
    a->running = 0;
    n.faults++;
    if (paying_may_fail(s, x))
        MAY(n, "payment %d: dies before the transaction", k);
    n.faults--;
    if (a->row == DECISION_ROLLBACK) {
        decide(p, a, MQ_ROLLBACK);
        MOVE(n, "payment %d: the check-back was faster, FAIL", k);
        return;
    }
    if (!settles(p, x)) {
        decide(p, a, decision_row_check(&a->row, x));
        p->callback = 0;
        MOVE(n, "payment %d: a twin was faster, SUCCESS", k);
        return;
    }
    p->is_paid = PAY_PAID;
    a->row = DECISION_COMMIT;
    struct paying decided = n;
    decide(&decided.at[k], &decided.at[k].attempt[i], MQ_COMMIT);
    decided.at[k].callback = 0;
    MOVE(decided, "payment %d: is paid, END commit, SUCCESS", k);
    decided.at[k].callback = 1;
    MAY(decided, "payment %d: is paid, END commit; the answer is lost", k);
    MAY(n, "payment %d: is paid; END and answer are lost", k);
    p->callback = 0;
    MAY(n, "payment %d: is paid, SUCCESS; END is lost", k);
}

static void check_back(const struct paying *s, struct search *x, int k, int i)
{
    struct paying n = *s;
    struct attempt *const a = &n.at[k].attempt[i];
    if (paying_may_lose(s, x)) {
        n.faults++;
        a->half = HALF_LOST;
        MAY(n, "broker: loses the half message of payment %d", k);
        n = *s;
    }
    if (!search_has(x, RULE_CHECK_BACK))
        return;
    const enum mq_verdict v = decision_row_check(&a->row, x);
    MAY(n, "check-back of payment %d: the answer is lost", k);
    decide(&n.at[k], a, v);
    MOVE(n, "check-back of payment %d: %s", k, v == MQ_COMMIT ? "commit" : "rollback");
}

static void settling(const struct paying *s, struct search *x, int k)
{
    if (s->at[k].callback)
        callback(s, x, k);
    for (int i = 0; i < ATTEMPTS; i++) {
        if (s->at[k].attempt[i].running)
            settle(s, x, k, i);
        if (s->at[k].attempt[i].half == HALF_STORED)
            check_back(s, x, k, i);
    }
}

/* ---- consumers: payment_mq.c ---- */

/* `cancel_effect`. */
static void close_gate(struct paying *n)
{
    n->gate_closed = 1;
    for (int j = 0; j < PAYS; j++)
        close_row(&n->at[j]);
}

static void take_order_cancel(struct paying *n)
{
    close_gate(n);
    paying_order_acks_cancel(n);
    n->order_cancel = 0;
}

static void order_cancel(const struct paying *s, struct search *x)
{
    struct paying n = *s;
    take_order_cancel(&n);
    MOVE(n, "payment: order_cancel, closes the gate, cancel_ack");
    n.faults++;
    n.order_cancel = 1;
    if (paying_may_fail(s, x))
        MAY(n, "payment: order_cancel, closes the gate, cancel_ack; delivered again");
    n = *s;
    n.faults++;
    close_gate(&n);
    if (paying_may_fail(s, x))
        MAY(n, "payment: order_cancel, closes the gate, dies before it acknowledges");
    n = *s;
    n.faults++;
    n.order_cancel = 0;
    if (paying_may_lose(s, x))
        MAY(n, "broker: loses order_cancel");
}

/* `order_paid_effect`. */
static void take_order_paid(struct paying *n, int k, const struct search *x)
{
    for (int j = 0; j < PAYS && search_has(x, RULE_CLOSE_SIBLINGS); j++)
        if (j != k)
            close_row(&n->at[j]);
    n->gate_closed |= search_has(x, RULE_CLOSE_SIBLINGS);
    ack(&n->at[k], ACK_ORDER);
    n->at[k].order_paid = 0;
}

static void order_paid(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    take_order_paid(&n, k, x);
    MOVE(n, "payment %d: order_paid, closes the gate", k);
    n.faults++;
    n.at[k].order_paid = 1;
    if (paying_may_fail(s, x))
        MAY(n, "payment %d: order_paid, closes the gate; delivered again", k);
    n = *s;
    n.faults++;
    n.at[k].order_paid = 0;
    if (paying_may_lose(s, x))
        MAY(n, "broker: loses order_paid %d", k);
}

/* payment_refund.c: steps 2 to 4, the row is refunding. */
static void give_back(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    struct pay_side *const p = &n.at[k];
    if (p->refunds < 2 && (!p->refunds || !search_has(x, RULE_REFUND_KEY)))
        p->refunds++;
    if (paying_may_fail(s, x)) {
        n.faults++;
        MAY(n, "payment %d: the provider gives back, payment dies", k);
        p->is_paid = PAY_REFUNDED;
        MAY(n, "payment %d: refunded, dies before it says so", k);
        n.faults--;
    }
    p->is_paid = PAY_REFUNDED;
    p->refunded = 1;
    p->refund_request = MESSAGE_NONE;
    MOVE(n, "payment %d: refunded, says so", k);
}

static void refund(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    switch (refund_reaction_of(has_row(&s->at[k]), state_of(&s->at[k]))) {
    case REFUND_GO:
        if (state_of(&s->at[k]) == PAY_PAID) {
            n.at[k].is_paid = PAY_REFUNDING;
            MOVE(n, "payment %d: refunding", k);
        } else {
            give_back(s, x, k);
        }
        break;
    case REFUND_AGAIN:
        n.at[k].refunded = 1;
        n.at[k].refund_request = MESSAGE_NONE;
        MOVE(n, "payment %d: was refunded before, says so again", k);
        break;
    case REFUND_LATER:
    case REFUND_NEVER:
        break;
    }
    if (paying_may_lose(s, x)) {
        n = *s;
        n.faults++;
        n.at[k].refund_request = MESSAGE_NONE;
        MAY(n, "broker: loses refund_request %d", k);
        n.at[k].refund_request = MESSAGE_DEAD;
        MAY(n, "payment %d: gives refund_request up, a dead letter", k);
    }
}

static void consumers(const struct paying *s, struct search *x, int k)
{
    if (k == 0 && s->order_cancel)
        order_cancel(s, x);
    if (s->at[k].order_paid)
        order_paid(s, x, k);
    if (s->at[k].refund_request == MESSAGE_SENT)
        refund(s, x, k);
    if (s->at[k].refund_request == MESSAGE_DEAD && search_has(x, RULE_REPLAY)) {
        struct paying n = *s;
        n.at[k].refund_request = MESSAGE_SENT;
        MOVE(n, "operator: replays the dead letter refund_request %d", k);
    }
}

/* ---- the reconciler ---- */

static void drive_open_or_closed(struct pay_side *p)
{
    switch ((enum charge_state)p->charge) {
    case CHARGE_CAPTURED: /* as if the provider had called back */
        p->callback = 1;
        return;
    case CHARGE_OPEN:
        if (state_of(p) == PAY_OPEN)
            return;
        p->charge = CHARGE_CLOSED;
        break;
    case CHARGE_UNKNOWN:
    case CHARGE_CLOSED:
        break;
    }
    p->is_paid = PAY_CLOSED;
    p->rests = 1;
}

static void reconciler(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    struct pay_side *const p = &n.at[k];
    if (!has_row(p) || !search_has(x, RULE_RECONCILER))
        return;
    switch (state_of(p)) {
    case PAY_OPEN:
        drive_open_or_closed(p);
        break;
    case PAY_CLOSED:
        if (!p->rests)
            drive_open_or_closed(p);
        break;
    case PAY_PAID:
        if (!settled(p, x))
            paid_is_sent(p);
        break;
    case PAY_REFUNDING:
        p->refund_request = MESSAGE_SENT;
        break;
    case PAY_REFUNDED:
        p->refunded |= !settled(p, x);
        break;
    case PAY_REFUND_FAILED:
        break;
    }
    MOVE(n, "reconciler: payment %d, %s", k, pay_state_text(state_of(&s->at[k])));
}

void paying_payment_moves(const struct paying *s, struct search *x, int k)
{
    opening(s, x, k);
    settling(s, x, k);
    consumers(s, x, k);
    reconciler(s, x, k);
}

/* ---- the provider ---- */

void paying_provider_moves(const struct paying *s, struct search *x, int k)
{
    struct paying n = *s;
    const bool open = s->at[k].charge == CHARGE_OPEN, closed = s->at[k].charge == CHARGE_CLOSED;
    if (open) {
        n.at[k].charge = CHARGE_CLOSED;
        MAY(n, "provider: charge %d is closed: given up by the payer, or expired", k);
    }
    if (s->at[k].told && (open || closed)) {
        n.at[k].charge = CHARGE_CAPTURED;
        n.at[k].callback = 1;
        MAY(n, "payer: pays %d%s", k, closed ? ", after the provider has closed it" : "");
    }
}

/* ---- points: user_mq.c ---- */

static uint8_t *points_message(struct paying *n, int k, bool earn)
{
    return earn ? &n->at[k].paid_to_points : &n->at[k].refunded;
}

static void points_effect(struct paying *n, int k, bool earn, const struct search *x)
{
    if (earn)
        (void)party_try(&n->at[k].points, x);
    else
        party_cancel(&n->at[k].points, x);
}

static void take_points(struct paying *n, int k, bool earn, const struct search *x)
{
    points_effect(n, k, earn, x);
    ack(&n->at[k], earn ? ACK_POINTS : ACK_REFUND_POINTS);
    *points_message(n, k, earn) = 0;
}

static void points(const struct paying *s, struct search *x, int k, bool earn)
{
    const char *const tag = earn ? "paid" : "refunded";
    struct paying n = *s;
    take_points(&n, k, earn, x);
    MOVE(n, "points: %s %d, acknowledged", tag, k);
    n.faults++;
    *points_message(&n, k, earn) = 1;
    if (paying_may_fail(s, x))
        MAY(n, "points: %s %d, acknowledged; delivered again", tag, k);
    n = *s;
    n.faults++;
    points_effect(&n, k, earn, x);
    if (paying_may_fail(s, x))
        MAY(n, "points: %s %d, dies before it acknowledges", tag, k);
    *points_message(&n, k, earn) = 0;
    if (paying_may_lose(s, x))
        MAY(n, "points: %s %d, the acknowledgement is lost", tag, k);
    n = *s;
    n.faults++;
    *points_message(&n, k, earn) = 0;
    if (paying_may_lose(s, x))
        MAY(n, "broker: loses %s %d on its way to the points", tag, k);
}

void paying_points_moves(const struct paying *s, struct search *x, int k)
{
    if (s->at[k].paid_to_points)
        points(s, x, k, true);
    if (s->at[k].refunded)
        points(s, x, k, false);
}

/* ---- what can have no effect any more ---- */

/* A message counts if consuming it changes more than that the message is gone. */
static bool differ(const struct paying *with, const struct paying *s, const uint8_t *message)
{
    struct paying without = *s;
    ((uint8_t *)&without)[message - (const uint8_t *)s] = 0;
    return memcmp(with, &without, sizeof without) != 0;
}

static void tidy_points(struct paying *s, int k, bool earn, const struct search *x)
{
    struct paying with = *s;
    take_points(&with, k, earn, x);
    if (!differ(&with, s, points_message(s, k, earn)))
        *points_message(s, k, earn) = 0;
}

static void tidy_order_paid(struct paying *s, int k, const struct search *x)
{
    struct paying with = *s;
    take_order_paid(&with, k, x);
    if (!differ(&with, s, &s->at[k].order_paid))
        s->at[k].order_paid = 0;
}

static void tidy_refund_request(struct paying *s, int k, const struct search *x)
{
    struct paying with = *s;
    if (refund_reaction_of(has_row(&s->at[k]), state_of(&s->at[k])) != REFUND_AGAIN)
        return;
    with.at[k].refunded = 1;
    tidy_points(&with, k, false, x);
    with.at[k].refund_request = MESSAGE_NONE;
    if (!differ(&with, s, &s->at[k].refund_request))
        s->at[k].refund_request = MESSAGE_NONE;
}

static void tidy_paid(struct paying *s, int k, const struct search *x)
{
    struct paying with = *s;
    if (!s->at[k].outcome)
        return;
    paying_order_takes(&with, k, x);
    tidy_order_paid(&with, k, x);
    tidy_refund_request(&with, k, x);
    if (!differ(&with, s, &s->at[k].paid_to_order))
        s->at[k].paid_to_order = 0;
}

/* Nobody can pay a closed payment that nobody was told of; of a refund only its own acknowledgements count. */
static void tidy_row(struct pay_side *p)
{
    if (has_row(p) && state_of(p) == PAY_CLOSED && !p->told && !p->creating) {
        p->charge = CHARGE_CLOSED;
        p->rests = 1;
    }
    if (has_row(p) && (state_of(p) == PAY_REFUNDING || state_of(p) == PAY_REFUNDED))
        p->acks &= ACK_REFUND_SETTLED;
}

void paying_payment_tidy(struct paying *s, int k, const struct search *x)
{
    struct pay_side *const p = &s->at[k];
    struct paying with = *s;
    take_order_cancel(&with);
    if (!differ(&with, s, &s->order_cancel))
        s->order_cancel = 0;
    tidy_attempts(p);
    tidy_row(p);
    if (!settles(p, x))
        p->callback = 0;
    if (p->paid_to_points)
        tidy_points(s, k, true, x);
    if (p->refunded)
        tidy_points(s, k, false, x);
    if (p->order_paid)
        tidy_order_paid(s, k, x);
    if (p->refund_request)
        tidy_refund_request(s, k, x);
    if (p->paid_to_order)
        tidy_paid(s, k, x);
}

/* ---- what must hold ---- */

const char *paying_payment_always(const struct paying *s, int k)
{
    const struct pay_side *const p = &s->at[k];
    const char *const bad = party_always(&p->points);
    const bool recorded = has_row(p) && state_of(p) != PAY_OPEN && state_of(p) != PAY_CLOSED;
    if (bad)
        return bad;
    if (p->refunds > 1)
        return "the provider has given the money back twice";
    if (recorded && p->charge != CHARGE_CAPTURED)
        return "money is recorded that the provider does not have";
    if (paying_order_is_paid(s) && s->paid_by == k + 1 && state_of(p) != PAY_PAID)
        return "the order is paid with money that was given back";
    return NULL;
}

/* The payment whose money the order has taken. */
static const char *kept_at_rest(const struct pay_side *p)
{
    if ((p->acks & (ACK_ORDER | ACK_POINTS)) != (ACK_ORDER | ACK_POINTS))
        return "a paid order's payment is never settled";
    return party_holds(&p->points) == 1 ? NULL : "a paid order has no points";
}

static const char *other_at_rest(const struct pay_side *p)
{
    if (has_row(p) && (state_of(p) == PAY_OPEN || pay_is_kept(state_of(p))))
        return state_of(p) == PAY_OPEN ? "a payment stays open" : "money is kept without an order";
    if (p->charge == CHARGE_CAPTURED && !p->refunds)
        return "the provider keeps money that nobody has recorded";
    return party_holds(&p->points) == 0 ? NULL : "points without a paid order";
}

const char *paying_payment_at_rest(const struct paying *s, int k, const struct search *x)
{
    const struct pay_side *const p = &s->at[k];
    for (int i = 0; i < ATTEMPTS && search_has(x, RULE_CHECK_BACK); i++)
        if (p->attempt[i].half == HALF_STORED)
            return "a half message is never decided";
    return paying_order_is_paid(s) && s->paid_by == k + 1 ? kept_at_rest(p) : other_at_rest(p);
}
