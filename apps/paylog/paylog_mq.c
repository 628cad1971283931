/* paylog's messages, and the one statement they come to.
 *
 *   payTopic:paid       a row `paid`, paid_ack branch log
 *   payTopic:refunded   a row `refunded`, refund_ack branch log
 *
 * Runs on the message client's workers through inbox.c. The two events of one payment may come in any
 * order: their rows do not depend on each other. The row's own key (pay_id, event) repeats what the inbox
 * promises, so that a replay older than the inbox's memory still leaves one row. */
#include "apps/paylog/paylog.h"

#include <stdio.h>

static const struct db_stmt INSERT = {
    "plog_insert",
    "INSERT INTO pay_log(pay_id, order_id, event, amount) VALUES ($1, $2, $3, $4) ON CONFLICT (pay_id, event) DO NOTHING"};

static int journal_effect(struct db_conn *c, const struct inbox_msg *m,
                          char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    int64_t n = 0;
    const int rc = db_exec(c, &INSERT, &n, db_i64(m->v->pay_id), db_i64(m->v->order_id),
                           db_text(event_tag(m->v->event)), db_i64(m->v->amount));
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s",
                   outcome_text(n == 1 ? OUTCOME_DONE : OUTCOME_DUPLICATE));
    return rc;
}

static int journal_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                        struct app_error *e)
{
    (void)outcome;
    const struct paylog *p = arg;
    const struct envelope ack = {.event =
                                     m->v->event == EVENT_paid ? EVENT_paid_ack : EVENT_refund_ack,
                                 .has = ENV_PAY | ENV_BRANCH,
                                 .order_id = m->v->order_id,
                                 .pay_id = m->v->pay_id,
                                 .attempt = m->v->attempt,
                                 .branch = BRANCH_LOG};
    return mq_publish(p->mq, &ack, m->traceparent, e);
}

void paylog_init(struct paylog *p, struct db *db, struct mq *mq, struct metrics *metrics)
{
    p->mq = mq;
    p->inbox = (struct inbox){
        .group = GROUP_LOG_PAY,
        .topic = TOPIC_PAY,
        .db = db,
        .arg = p,
        .metrics = metrics,
        .handlers = {{.event = EVENT_paid, .effect = journal_effect, .emit = journal_emit},
                     {.event = EVENT_refunded, .effect = journal_effect, .emit = journal_emit}}};
}
