/* The cancel side of a participant.
 *
 * Runs on the message client's workers through inbox.c. A cancel has three outcomes (barrier.h): done,
 * empty (the try never came; it is refused from now on) and duplicate; each is acknowledged to the order
 * service, which counts branches, not effects. A participant without a branch in an order therefore
 * answers too. The acknowledgement is repeated for every redelivery: the first may be the one that got
 * lost.
 */
#include "apps/common/participant.h"

#include "apps/common/naive.h"

#include <stdio.h>

int participant_cancel(const struct participant *p, struct db_conn *c, int64_t order_id,
                       enum outcome *out)
{
    enum barrier_cancel b = BARRIER_UNDO;
    int rc = NAIVE(D1_NO_BARRIER) ? APP_OK : barrier_cancel(c, order_id, p->branch, &b);
    if (rc == APP_OK && b == BARRIER_UNDO)
        rc = p->undo(c, order_id);
    *out = rc == APP_OK ? barrier_outcome(b) : OUTCOME_NONE;
    return rc;
}

static int cancel_effect(struct db_conn *c, const struct inbox_msg *m,
                         char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    enum outcome o;
    const int rc = participant_cancel(arg, c, m->v->order_id, &o);
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", outcome_text(o));
    return rc;
}

int participant_acknowledge(const struct participant *p, int64_t order_id, enum outcome outcome,
                            int attempt, const char *traceparent, struct app_error *e)
{
    const struct envelope ack = {.event = EVENT_cancel_ack,
                                 .has = ENV_BRANCH | ENV_OUTCOME,
                                 .order_id = order_id,
                                 .attempt = attempt,
                                 .branch = p->branch,
                                 .outcome = outcome};
    return mq_publish(p->mq, &ack, traceparent, e);
}

static int cancel_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                       struct app_error *e)
{
    return participant_acknowledge(arg, m->v->order_id, outcome_of_text(outcome), m->v->attempt,
                                   m->traceparent, e);
}

void participant_inbox(struct participant *p, const char *group, struct db *db,
                       struct metrics *metrics, struct inbox *out)
{
    *out = (struct inbox){
        .group = group,
        .topic = TOPIC_ORDER,
        .db = db,
        .arg = p,
        .metrics = metrics,
        .handlers = {{.event = EVENT_order_cancel, .effect = cancel_effect, .emit = cancel_emit}}};
}
