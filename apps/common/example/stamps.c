/* Stamps: a card per customer, a stamp for every payment, taken back when the money goes back.
 *
 *   payTopic:paid       a stamp, paid_ack
 *   payTopic:refunded   the stamp is taken back, refund_ack
 *
 * Runs on the message client's workers through inbox.c. Both events of a payment may come in any order and any
 * number: the inbox skips the second delivery of each, the barrier keeps a stamp from coming after its
 * refund, and the ledger's key (pay_id, log_type) says the same once those rows have been purged. What is taken
 * back is read from the ledger, not from the message. Whoever waits for an answer gets one for every delivery. */
#include "apps/common/example/stamps.h"

#include "apps/common/barrier.h"

#include <stdio.h>

static const struct db_stmt GIVE = {
    "stamps_give", "WITH l AS (INSERT INTO stamp_log(pay_id, log_type, user_id) VALUES ($1, 1, $2)"
                   " ON CONFLICT DO NOTHING RETURNING user_id)"
                   " INSERT INTO card(user_id, stamps) SELECT user_id, 1 FROM l"
                   " ON CONFLICT (user_id) DO UPDATE SET stamps = card.stamps + 1"};
static const struct db_stmt TAKE_BACK = {
    "stamps_take_back",
    "WITH l AS (INSERT INTO stamp_log(pay_id, log_type, user_id)"
    " SELECT pay_id, 2, user_id FROM stamp_log WHERE pay_id = $1 AND log_type = 1"
    " ON CONFLICT DO NOTHING RETURNING user_id)"
    " UPDATE card SET stamps = stamps - 1 FROM l WHERE card.user_id = l.user_id"};

static int paid_effect(struct db_conn *c, const struct inbox_msg *m,
                       char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    enum barrier_try b = BARRIER_REFUSED;
    int rc = barrier_try(c, m->v->pay_id, BRANCH_POINTS, &b);
    if (rc == APP_OK && b == BARRIER_RUN)
        rc = db_exec(c, &GIVE, NULL, db_i64(m->v->pay_id), db_i64(m->v->user_id));
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", b == BARRIER_RUN ? "done" : "empty");
    return rc;
}

static int refunded_effect(struct db_conn *c, const struct inbox_msg *m,
                           char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    enum barrier_cancel b = BARRIER_DONE;
    int rc = barrier_cancel(c, m->v->pay_id, BRANCH_POINTS, &b);
    if (rc == APP_OK && b == BARRIER_UNDO)
        rc = db_exec(c, &TAKE_BACK, NULL, db_i64(m->v->pay_id));
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", outcome_text(barrier_outcome(b)));
    return rc;
}

static int emit_ack(const struct inbox_msg *m, const char *outcome, void *arg, struct app_error *e)
{
    (void)outcome;
    const struct stamps *s = arg;
    const bool paid = m->v->event == EVENT_paid;
    const struct envelope ack = {.event = paid ? EVENT_paid_ack : EVENT_refund_ack,
                                 .has = ENV_PAY | ENV_BRANCH,
                                 .order_id = m->v->order_id,
                                 .pay_id = m->v->pay_id,
                                 .attempt = m->v->attempt,
                                 .branch = BRANCH_POINTS};
    return mq_publish(s->mq, &ack, m->traceparent, e);
}

void stamps_init(struct stamps *s, struct db *db, struct mq *mq, struct metrics *metrics)
{
    s->mq = mq;
    s->inbox = (struct inbox){
        .group = "stamps_payTopic_group",
        .topic = TOPIC_PAY,
        .db = db,
        .arg = s,
        .metrics = metrics,
        .handlers = {{.event = EVENT_paid, .effect = paid_effect, .emit = emit_ack},
                     {.event = EVENT_refunded, .effect = refunded_effect, .emit = emit_ack}}};
}
