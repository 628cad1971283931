/* user's messages.
 *
 *   orderTopic:order_cancel   wallet: pay back, cancel_ack branch balance (the kit's participant)
 *   payTopic:paid             points: earn, paid_ack branch points
 *   payTopic:refunded         points: take back, refund_ack branch points
 *
 * Runs on the message client's workers through inbox.c. `paid` and `refunded` of one payment may come in
 * any order (points_repo.c); both acknowledgements are sent whatever the outcome, again for a duplicate.
 */
#include "apps/user/user.h"

#include <stdio.h>

static int paid_effect(struct db_conn *c, const struct inbox_msg *m,
                       char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    enum outcome o = OUTCOME_NONE;
    const int rc = points_earn(c, m->v->pay_id, m->v->order_id, m->v->user_id, m->v->amount, &o);
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", outcome_text(o));
    return rc;
}

static int refunded_effect(struct db_conn *c, const struct inbox_msg *m,
                           char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    enum outcome o = OUTCOME_NONE;
    const int rc = points_reverse(c, m->v->pay_id, &o);
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", outcome_text(o));
    return rc;
}

static int emit_ack(enum event event, const struct inbox_msg *m, const struct user *s,
                    struct app_error *e)
{
    const struct envelope ack = {.event = event,
                                 .has = ENV_PAY | ENV_BRANCH,
                                 .order_id = m->v->order_id,
                                 .pay_id = m->v->pay_id,
                                 .attempt = m->v->attempt,
                                 .branch = BRANCH_POINTS};
    return mq_publish(s->mq, &ack, m->traceparent, e);
}

static int paid_emit(const struct inbox_msg *m, const char *outcome, void *arg, struct app_error *e)
{
    (void)outcome;
    return emit_ack(EVENT_paid_ack, m, arg, e);
}

static int refunded_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                         struct app_error *e)
{
    (void)outcome;
    return emit_ack(EVENT_refund_ack, m, arg, e);
}

void user_init(struct user *s, struct db *db, struct mq *mq, struct metrics *metrics)
{
    s->db = db;
    s->mq = mq;
    s->cancel = (struct participant){.branch = BRANCH_BALANCE, .undo = wallet_undo, .mq = mq};
    participant_inbox(&s->cancel, GROUP_USER_ORDER, db, metrics, &s->cancel_inbox);
    s->points_inbox = (struct inbox){
        .group = GROUP_USER_PAY,
        .topic = TOPIC_PAY,
        .db = db,
        .arg = s,
        .metrics = metrics,
        .handlers = {{.event = EVENT_paid, .effect = paid_effect, .emit = paid_emit},
                     {.event = EVENT_refunded, .effect = refunded_effect, .emit = refunded_emit}}};
}
