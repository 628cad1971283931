/* The ordering saga, from the request to an order that is paid, cancelled or never was.
 *
 * One order with three tries (stock, coupon, wallet) and four branches that acknowledge its cancellation.
 * Who acts, and where the product does the same:
 *
 *   request thread    apps/order/order_saga.c: half message, row, timer, tries, confirm or abort, END
 *   check-back        apps/order/order_mq.c `check_back`, order_repo.c `repo_check`
 *   timer             apps/order/order_cancel.c `timeout_effect`, `timeout_emit`
 *   user              apps/order/order_cancel.c `order_cancel`, apps/common/transaction.c
 *   sweeper           apps/order/order_cancel_repo.c `repo_sweep`, order_sweep.c
 *   participants      apps/common/participant.c behind inbox.c and barrier.c; payment_mq.c `cancel_effect`
 *   verdict query     apps/common/verdict.c
 *   payment           one move: the order is paid or it is not (the other flow looks inside, paying.c)
 *
 * What may go wrong: every process may die before and after each of its transactions and messages; a
 * request may be lost, or arrive at any later time, also twice; messages may be delayed for ever so long, delivered
 * twice, lost, become dead letters; an END may be lost, doubled or late; the broker may ask about a half at any
 * time and may lose it; a commit's answer may be lost. How many of each in one history: the budgets below.
 *
 * Time is not counted. A deadline that matters has passed or has not: both are tried in every state. So
 * nothing here rests on how long something takes, and no proof needs a deadline that is met. Of one message
 * at most one copy is under way: a second one would do what the same one delivered twice does. */
#include "model/placing.h"

#include <string.h>

#include "apps/common/verdict.h"
#include "apps/order/order.h"
#include "model/rules.h"

enum { STOCK, COUPON, WALLET, TRIES, PAYMENT = TRIES, BRANCHES };
static const enum branch branch_of[BRANCHES] = {BRANCH_STOCK, BRANCH_COUPON, BRANCH_BALANCE,
                                                BRANCH_PAY};

enum pc { /* where the request thread stands */
          PC_START,
          PC_ARMED,                 /* the half message is stored */
          PC_INSERTED,              /* the row is there */
          PC_TRY,                   /* + i: try i is to be sent */
          PC_WAIT = PC_TRY + TRIES, /* + i: its answer is waited for */
          PC_CONFIRM = PC_WAIT + TRIES,
          PC_ABORT,
          PC_READ, /* the answer to the own write was lost */
          PC_END_COMMIT,
          PC_END_ROLLBACK,
          PC_OVER
};
enum { TOLD_NOTHING, TOLD_CONFIRMED, TOLD_REFUSED };
enum { TIMER_NONE, TIMER_ARMED, TIMER_CONSUMED /* row moved, order_cancel not sent yet */ };
enum { USER_IDLE, USER_ARMED /* half message stored */, USER_OVER };

struct branch_state {
    struct party rows;
    uint8_t request; /* a try is on its way */
    uint8_t cancel;  /* order_cancel is on its way */
    uint8_t inbox;   /* it was consumed */
};
struct placing { /* bytes only: no padding */
    uint8_t pc, told;
    uint8_t found, status, pay; /* the order row */
    uint8_t mask, acked;        /* comp_mask; acknowledgements in the inbox */
    uint8_t half, end;          /* of the armed cancellation; END on its way (enum mq_verdict) */
    uint8_t timer;
    uint8_t user, user_half, user_end, user_row; /* cancelling by the user; its decision row */
    uint8_t dead;   /* branch + 1 whose order_cancel is a dead letter */
    uint8_t faults; /* that have happened */
    struct branch_state at[BRANCHES];
};

static void order_cancel_is_sent(struct placing *n)
{
    for (int i = 0; i < BRANCHES; i++)
        n->at[i].cancel = 1;
}

static void armed_half_is_decided(struct placing *n, enum mq_verdict verdict)
{
    if (half_decide(&n->half, verdict))
        order_cancel_is_sent(n);
}

static void user_half_is_decided(struct placing *n, enum mq_verdict verdict)
{
    if (half_decide(&n->user_half, verdict))
        order_cancel_is_sent(n);
}

static bool may_fail(const struct placing *s, const struct search *x)
{
    return s->faults < search_faults(x);
}

static bool may_lose(const struct placing *s, const struct search *x)
{
    return may_fail(s, x) && search_has(x, RULE_LOSS);
}

static bool unpaid(const struct placing *s)
{
    return s->found && order_is_cancellable(s->status, s->pay);
}

/* ---- the request thread: order_saga.c ---- */

static void arm(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (!search_has(x, RULE_ARMED_FIRST)) {
        n.pc = PC_ARMED;
        search_move(x, &n, "request: goes on without a half message");
        return;
    }
    n.half = HALF_STORED;
    n.pc = PC_ARMED;
    search_move(x, &n, "request: half message order_cancel is stored");
    n.pc = PC_OVER;
    n.told = TOLD_REFUSED;
    search_may(x, &n, "request: half message is stored, the answer lost; refused");
    n.half = HALF_NONE;
    search_may(x, &n, "request: half message is not stored; refused");
}

static void insert_row(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->found) {
        n.pc = PC_OVER;
        n.told = TOLD_REFUSED;
        n.end = MQ_ROLLBACK;
        search_move(x, &n, "request: meets the check-back's tombstone; END rollback, refused");
        return;
    }
    n.found = 1;
    n.status = ORDER_PENDING;
    n.pc = PC_INSERTED;
    search_move(x, &n, "request: the row is inserted, pending");
    n.pc = PC_OVER;
    search_may(x, &n, "request: the row is inserted, the commit's answer lost");
    n = *s;
    n.pc = PC_OVER;
    n.told = TOLD_REFUSED;
    search_may(x, &n, "request: the row is not inserted; refused");
}

static void arm_timer(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    n.timer = search_has(x, RULE_TIMER) ? TIMER_ARMED : TIMER_NONE;
    n.pc = PC_TRY;
    search_move(x, &n, "request: the timer is armed");
    n.pc = PC_ABORT;
    search_may(x, &n, "request: the timer is armed, the answer lost");
    n.timer = TIMER_NONE;
    search_may(x, &n, "request: the timer cannot be armed");
}

static void send_try(const struct placing *s, struct search *x, int i)
{
    struct placing n = *s;
    n.at[i].request = 1;
    n.pc = (uint8_t)(PC_WAIT + i);
    search_move(x, &n, "request: try %s is sent", branch_text(branch_of[i]));
}

static void wait_for_try(const struct placing *s, struct search *x, int i)
{
    struct placing n = *s;
    if (s->at[i].rows.taken) {
        n.pc = (uint8_t)(i + 1 < TRIES ? PC_TRY + i + 1 : PC_CONFIRM);
        search_move(x, &n, "request: try %s was successful", branch_text(branch_of[i]));
    }
    n = *s;
    n.pc = PC_ABORT;
    search_move(x, &n, "request: try %s was refused, or no answer came", branch_text(branch_of[i]));
    if (may_fail(s, x) && !s->at[i].request) {
        n = *s;
        n.faults++;
        n.at[i].request = 1;
        search_may(x, &n, "request: no answer, try %s is sent again", branch_text(branch_of[i]));
    }
}

/* `now` was read from the row: what END follows (order_saga.c `settle`). */
static void settle(struct placing *n, enum order_status now)
{
    switch (saga_end_of(saga_verdict_of(now, false))) {
    case MQ_COMMIT:
        n->pc = PC_END_COMMIT;
        break;
    case MQ_ROLLBACK:
        n->pc = PC_END_ROLLBACK;
        break;
    case MQ_UNKNOWN:
        n->pc = PC_OVER;
        break;
    }
}

static void confirm(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->status == ORDER_PENDING || !search_has(x, RULE_CONFIRM_CAS))
        n.status = ORDER_CONFIRMED;
    const struct placing moved = n;
    settle(&n, n.status);
    search_move(x, &n, "request: confirms, the row is %s", order_status_text(n.status));
    n = moved;
    n.pc = search_has(x, RULE_RULE_E) ? PC_READ : PC_END_COMMIT;
    search_may(x, &n, "request: confirms, the commit's answer lost; the row is %s",
               order_status_text(n.status));
    n = *s;
    n.pc = PC_ABORT;
    search_may(x, &n, "request: cannot confirm");
}

static void abort_order(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->status == ORDER_PENDING)
        n.status = ORDER_CANCELLING;
    const struct placing moved = n;
    settle(&n, n.status);
    search_move(x, &n, "request: aborts, the row is %s", order_status_text(n.status));
    n = moved;
    n.pc = PC_READ;
    search_may(x, &n, "request: aborts, the commit's answer lost; the row is %s",
               order_status_text(n.status));
    n = *s;
    n.pc = PC_READ;
    search_may(x, &n, "request: cannot abort");
}

static void read_row(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    settle(&n, s->status);
    search_move(x, &n, "request: reads the row, it is %s", order_status_text(s->status));
    n = *s;
    n.pc = PC_OVER;
    search_may(x, &n, "request: cannot read the row; no END");
}

static void end(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    const bool commit = s->pc == PC_END_COMMIT;
    n.pc = PC_OVER;
    n.told = commit ? TOLD_REFUSED : TOLD_CONFIRMED;
    if (search_has(x, RULE_ARMED_FIRST))
        n.end = commit ? MQ_COMMIT : MQ_ROLLBACK;
    else if (commit)
        order_cancel_is_sent(&n);
    search_move(x, &n, "request: END %s", commit ? "commit, refused" : "rollback, answered 201");
}

static void request_thread(const struct placing *s, struct search *x)
{
    if (s->pc == PC_START)
        arm(s, x);
    else if (s->pc == PC_ARMED)
        insert_row(s, x);
    else if (s->pc == PC_INSERTED)
        arm_timer(s, x);
    else if (s->pc >= PC_TRY && s->pc < PC_TRY + TRIES)
        send_try(s, x, s->pc - PC_TRY);
    else if (s->pc >= PC_WAIT && s->pc < PC_WAIT + TRIES)
        wait_for_try(s, x, s->pc - PC_WAIT);
    else if (s->pc == PC_CONFIRM)
        confirm(s, x);
    else if (s->pc == PC_ABORT)
        abort_order(s, x);
    else if (s->pc == PC_READ)
        read_row(s, x);
    else if (s->pc == PC_END_COMMIT || s->pc == PC_END_ROLLBACK)
        end(s, x);
    if (s->pc != PC_START && s->pc != PC_OVER && may_fail(s, x)) {
        struct placing n = *s;
        n.pc = PC_OVER;
        n.faults++;
        search_may(x, &n, "request: dies");
    }
}

/* ---- the broker and its questions ---- */

static void ends(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->end == MQ_UNKNOWN)
        return;
    armed_half_is_decided(&n, s->end);
    if (may_fail(s, x) && s->half == HALF_STORED) {
        n.faults++;
        search_may(x, &n, "broker: END arrives, and is on its way once more");
        n.faults--;
    }
    n.end = MQ_UNKNOWN;
    search_move(x, &n, "broker: END arrives");
    n = *s;
    n.end = MQ_UNKNOWN;
    search_may(x, &n, "broker: END is lost");
}

/* order_repo.c `check_body`: the row after it, and the answer. */
static enum mq_verdict check_row(struct placing *n, bool expired, const struct search *x)
{
    if (!n->found) {
        if (search_has(x, RULE_CHECK_TOMBSTONE)) {
            n->found = 1;
            n->status = ORDER_INVALID;
        }
        return MQ_ROLLBACK;
    }
    enum saga_verdict v = saga_verdict_of(n->status, expired);
    if (v == SAGA_EXPIRE) {
        if (!search_has(x, RULE_CHECK_PENDING))
            return MQ_ROLLBACK;
        n->status = ORDER_CANCELLING;
        v = SAGA_COMMIT;
    }
    return saga_end_of(v);
}

static void check_back(const struct placing *s, struct search *x)
{
    if (s->half != HALF_STORED || !search_has(x, RULE_CHECK_BACK))
        return;
    for (int expired = 0; expired < 2; expired++) {
        struct placing n = *s;
        const enum mq_verdict v = check_row(&n, expired, x);
        search_may(x, &n, "check-back: the row is %s, the answer lost",
                   n.found ? order_status_text(n.status) : "not there");
        armed_half_is_decided(&n, v);
        search_move(x, &n, "check-back: the row is %s, %s",
                    n.found ? order_status_text(n.status) : "not there",
                    v == MQ_COMMIT ? "commit" : "rollback");
        if (s->status != ORDER_PENDING || !s->found)
            break;
    }
}

static void halves_are_lost(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    n.faults++;
    if (may_lose(s, x) && s->half == HALF_STORED) {
        n.half = HALF_LOST;
        search_may(x, &n, "broker: loses the half message");
        n.half = s->half;
    }
    if (may_lose(s, x) && s->user_half == HALF_STORED) {
        n.user_half = HALF_LOST;
        search_may(x, &n, "broker: loses the user's half message");
    }
}

/* ---- participants ---- */

static void requests(const struct placing *s, struct search *x, int i)
{
    struct placing n = *s;
    if (!s->at[i].request)
        return;
    n.at[i].request = 0;
    search_move(x, &n, "%s: the try is lost or refused", branch_text(branch_of[i]));
    (void)party_try(&n.at[i].rows, x);
    search_move(x, &n, "%s: try", branch_text(branch_of[i]));
    if (may_fail(s, x)) {
        n.at[i].request = 1;
        n.faults++;
        search_may(x, &n, "%s: try, and it is on its way once more", branch_text(branch_of[i]));
    }
}

/* cancel_ack at the order: order_mq.c `ack_effect`. */
static void acknowledge(struct placing *n, int i, const struct search *x)
{
    const unsigned key = search_has(x, RULE_ACK_KEY) ? 1u << i : 1u;
    if (search_has(x, RULE_INBOX) && (n->acked & key))
        return;
    n->acked |= (uint8_t)key;
    int mask = 0;
    const enum comp_reaction r =
        comp_reaction_of(n->found, n->status, n->mask, comp_bit_of(branch_of[i]), &mask);
    if (r == COMP_CLOSES)
        n->status = ORDER_CANCELLED;
    if (r == COMP_CLOSES || r == COMP_ACKED)
        n->mask = (uint8_t)mask;
}

/* inbox.c around participant.c `cancel_effect`. *fresh: it was not consumed before. */
static void cancel_effect(struct placing *n, int i, bool *fresh, const struct search *x)
{
    *fresh = !n->at[i].inbox;
    if ((*fresh || !search_has(x, RULE_INBOX)) && i != PAYMENT)
        party_cancel(&n->at[i].rows, x);
    n->at[i].inbox = 1;
}

/* With `cancel_emit`; the message is gone then. */
static void consume_cancel(struct placing *n, int i, const struct search *x)
{
    bool fresh;
    cancel_effect(n, i, &fresh, x);
    if (fresh || search_has(x, RULE_REEMIT))
        acknowledge(n, i, x);
    n->at[i].cancel = 0;
}

static void deliver_cancel(const struct placing *s, struct search *x, int i)
{
    const char *const who = branch_text(branch_of[i]);
    struct placing n = *s;
    bool fresh;
    consume_cancel(&n, i, x);
    search_move(x, &n, "%s: order_cancel, cancel_ack", who);
    n.faults++;
    n.at[i].cancel = 1;
    if (may_fail(s, x))
        search_may(x, &n, "%s: order_cancel, cancel_ack; delivered again", who);
    n = *s;
    n.faults++;
    cancel_effect(&n, i, &fresh, x);
    if (may_fail(s, x))
        search_may(x, &n, "%s: order_cancel, dies before it acknowledges", who);
    n.at[i].cancel = 0;
    if (may_lose(s, x))
        search_may(x, &n, "%s: order_cancel, cancel_ack is lost", who);
    n = *s;
    n.faults++;
    n.at[i].cancel = 0;
    if (may_lose(s, x)) {
        search_may(x, &n, "broker: loses order_cancel on its way to %s", who);
        n.dead = (uint8_t)(i + 1);
        search_may(x, &n, "%s: gives order_cancel up, a dead letter", who);
    }
}

static void order_cancels(const struct placing *s, struct search *x, int i)
{
    const char *const who = branch_text(branch_of[i]);
    struct placing n = *s;
    if (s->dead == i + 1 && search_has(x, RULE_REPLAY)) {
        n.dead = 0;
        n.at[i].cancel = 1;
        search_move(x, &n, "operator: replays the dead letter of %s", who);
    }
    if (s->at[i].cancel)
        deliver_cancel(s, x, i);
}

static bool cancel_is_under_way(const struct placing *s)
{
    for (int i = 0; i < BRANCHES; i++)
        if (s->at[i].cancel)
            return true;
    return false;
}

/* verdict.c `act_body`; a cancellation that is still under way would be there before ten minutes are over. */
static void verdict_query(const struct placing *s, struct search *x, int i)
{
    const struct party *rows = &s->at[i].rows;
    struct placing n = *s;
    if (rows->tried != 'T' || rows->cancelled || !search_has(x, RULE_VERDICT) ||
        cancel_is_under_way(s))
        return;
    const char *const text = verdict_text_of(s->found, s->status, s->pay);
    const enum verdict_action action = verdict_action_of(text);
    if (action == VERDICT_WAIT || action == VERDICT_FINAL)
        return;
    party_cancel(&n.at[i].rows, x);
    search_may(x, &n, "%s: asks, the order is %s: undone, dies before it acknowledges",
               branch_text(branch_of[i]), text);
    if (action == VERDICT_UNDO_TELL)
        acknowledge(&n, i, x);
    search_move(x, &n, "%s: asks, the order is %s: undone", branch_text(branch_of[i]), text);
}

/* ---- whoever cancels an order that was placed ---- */

static void timer(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->timer == TIMER_CONSUMED) {
        n.timer = TIMER_NONE;
        if (search_has(x, RULE_REEMIT))
            order_cancel_is_sent(&n);
        search_move(x, &n, "timer: delivered again, order_cancel");
    }
    if (s->timer != TIMER_ARMED)
        return;
    const enum timeout_reaction r = timeout_reaction_of(s->found, s->status, s->pay, true, true);
    if (r == TIMEOUT_CANCEL)
        n.status = ORDER_CANCELLING;
    n.timer = TIMER_NONE;
    if (r == TIMEOUT_CANCEL || r == TIMEOUT_AGAIN)
        order_cancel_is_sent(&n);
    search_move(x, &n, "timer: fires, the row is %s", order_status_text(n.status));
    if (r != TIMEOUT_NOTHING && may_fail(s, x)) {
        n = *s;
        n.status = ORDER_CANCELLING;
        n.timer = TIMER_CONSUMED;
        n.faults++;
        search_may(x, &n, "timer: fires, the row is cancelling; dies before it sends order_cancel");
    }
    if (may_lose(s, x)) {
        n = *s;
        n.timer = TIMER_NONE;
        n.faults++;
        search_may(x, &n, "broker: loses the timer");
    }
}

static void sweeper(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (!s->found || !search_has(x, RULE_SWEEPER))
        return;
    if (s->status == ORDER_PENDING || unpaid(s)) {
        n.status = ORDER_CANCELLING;
        search_move(x, &n, "sweeper: the order is late, cancelling");
    } else if (s->status == ORDER_CANCELLING && !cancel_is_under_way(s)) {
        order_cancel_is_sent(&n);
        search_move(x, &n, "sweeper: order_cancel is sent again");
    }
}

/* The local transaction of transaction.c, with order_cancel.c `cancel_effect`. */
static void user_transaction(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    const bool late = s->user_row == DECISION_ROLLBACK; /* the check-back was faster */
    n.user = USER_OVER;
    search_may(x, &n, "user: dies before the transaction");
    if (!late && unpaid(s)) {
        n.status = ORDER_CANCELLING;
        n.user_row = DECISION_COMMIT;
        search_may(x, &n, "user: cancels, dies before END commit");
        n.user_end = MQ_COMMIT;
        search_move(x, &n, "user: cancels, END commit");
        return;
    }
    n.user_end = (uint8_t)decision_row_check(&n.user_row, x);
    search_move(x, &n, "user: too late, END rollback");
}

static void user(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (s->user == USER_IDLE && unpaid(s)) {
        n.user = USER_ARMED;
        n.user_half = HALF_STORED;
        search_may(x, &n, "user: half message order_cancel is stored");
    } else if (s->user == USER_ARMED) {
        user_transaction(s, x);
    }
    if (s->user_half == HALF_STORED && search_has(x, RULE_CHECK_BACK)) {
        n = *s;
        const enum mq_verdict v = decision_row_check(&n.user_row, x);
        search_may(x, &n, "check-back of the user's half: the answer is lost");
        user_half_is_decided(&n, v);
        search_move(x, &n, "check-back of the user's half: %s",
                    v == MQ_COMMIT ? "commit" : "rollback");
    }
    if (s->user_end != MQ_UNKNOWN) {
        n = *s;
        n.user_end = MQ_UNKNOWN;
        search_may(x, &n, "broker: the user's END is lost");
        user_half_is_decided(&n, s->user_end);
        search_move(x, &n, "broker: the user's END arrives");
    }
}

static void payment(const struct placing *s, struct search *x)
{
    struct placing n = *s;
    if (paid_reaction_of(s->found, s->status, s->pay, 0, 1) == PAID_ACCEPT) {
        n.pay = PAY_PAID;
        search_may(x, &n, "payment: the order is paid");
    }
}

/* ---- the model ---- */

static void start(void *state)
{
    *(struct placing *)state = (struct placing){.pc = PC_START};
}

static void moves(const void *state, struct search *x)
{
    const struct placing *s = state;
    request_thread(s, x);
    ends(s, x);
    check_back(s, x);
    halves_are_lost(s, x);
    for (int i = 0; i < BRANCHES; i++) {
        requests(s, x, i);
        order_cancels(s, x, i);
        verdict_query(s, x, i);
    }
    timer(s, x);
    sweeper(s, x);
    user(s, x);
    payment(s, x);
}

/* Would the try, or order_cancel, of this branch change anything if it arrived now? */
static bool request_counts(const struct placing *s, int i, const struct search *x)
{
    struct party rows = s->at[i].rows;
    (void)party_try(&rows, x);
    return memcmp(&rows, &s->at[i].rows, sizeof rows) != 0;
}

static bool cancel_counts(const struct placing *s, int i, const struct search *x)
{
    struct placing with = *s, without = *s;
    consume_cancel(&with, i, x);
    without.at[i].cancel = 0;
    return memcmp(&with, &without, sizeof with) != 0;
}

static void tidy_user(struct placing *s)
{
    if (s->user == USER_IDLE && s->found &&
        (s->status != ORDER_PENDING && !order_is_cancellable(s->status, s->pay)))
        s->user = USER_OVER;
    if (s->user_half != HALF_STORED) {
        s->user_half = HALF_NONE;
        s->user_end = MQ_UNKNOWN;
        if (s->user == USER_OVER)
            s->user_row = DECISION_NONE;
    }
}

static void tidy(void *state, const struct search *x)
{
    struct placing *const s = state;
    if (s->half != HALF_STORED) { /* decided: only that counts, and no END does */
        s->half = HALF_NONE;
        s->end = MQ_UNKNOWN;
    }
    tidy_user(s);
    const enum timeout_reaction r = timeout_reaction_of(s->found, s->status, s->pay, true, true);
    if (r == TIMEOUT_NOTHING)
        s->timer = TIMER_NONE;
    for (int i = 0; i < BRANCHES; i++) {
        s->at[i].request &= request_counts(s, i, x);
        if (s->at[i].cancel && !cancel_counts(s, i, x))
            s->at[i].cancel = 0;
        if (s->dead == i + 1 && !cancel_counts(s, i, x))
            s->dead = 0;
    }
}

static bool holds_nothing(const struct placing *s)
{
    for (int i = 0; i < TRIES; i++)
        if (party_holds(&s->at[i].rows) != 0)
            return false;
    return true;
}

static bool holds_all(const struct placing *s)
{
    for (int i = 0; i < TRIES; i++)
        if (party_holds(&s->at[i].rows) != 1)
            return false;
    return true;
}

static const char *always(const void *state)
{
    const struct placing *s = state;
    const char *bad = NULL;
    for (int i = 0; i < BRANCHES && !bad; i++)
        bad = party_always(&s->at[i].rows);
    if (bad)
        return bad;
    const bool closed = s->found && (s->status == ORDER_CANCELLED || s->status == ORDER_INVALID);
    if (closed && !holds_nothing(s))
        return "a closed order still holds something";
    if (s->found && s->status == ORDER_CONFIRMED && !holds_all(s))
        return "a confirmed order lacks something";
    if (s->told == TOLD_CONFIRMED &&
        (!s->found || s->status == ORDER_PENDING || s->status == ORDER_INVALID))
        return "the client was told 201 about an order that is not confirmed";
    if (s->told == TOLD_REFUSED && s->found && s->status == ORDER_CONFIRMED)
        return "the client was refused an order that is confirmed";
    return NULL;
}

static const char *at_rest(const void *state, const struct search *x)
{
    const struct placing *s = state;
    const bool deadlines = search_has(x, RULE_TIMER) || search_has(x, RULE_SWEEPER);
    if (search_has(x, RULE_CHECK_BACK) && (s->half == HALF_STORED || s->user_half == HALF_STORED))
        return "a half message is never decided";
    if (!s->found)
        return holds_nothing(s) ? NULL : "something is held without an order";
    if (s->status == ORDER_PENDING)
        return "an order stays pending";
    if (s->status == ORDER_CANCELLING)
        return "an order stays cancelling";
    if (s->status == ORDER_CONFIRMED && s->pay != PAY_PAID && deadlines)
        return "an unpaid order is never cancelled";
    return NULL;
}

const struct search_model placing_model = {.name = "placing",
                                           .size = sizeof(struct placing),
                                           .start = start,
                                           .moves = moves,
                                           .tidy = tidy,
                                           .always = always,
                                           .at_rest = at_rest};
