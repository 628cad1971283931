/* The payment service as the broker sees it: one check-back, three consumers.
 *
 *   check-back of `paid`         the decision row of the attempt (first writer wins)
 *   orderTopic:order_cancel      the gate is closed, open payments are closed, cancel_ack branch pay
 *   orderTopic:order_paid        the order took this payment's money; the gate is closed to all others
 *   payTopic:refund_request      the order does not take it: the money goes back (payment_refund.c)
 *   ackTopic:paid_ack            points or journal have acted; with all three the payment is settled
 *   ackTopic:refund_ack          the same after a refund
 *
 * cancel_ack does not wait for the provider: the money of a charge that is captured all the same comes
 * back as a late callback. Told is the provider after the emission, as best it goes.
 *
 * Runs on: message workers through the kit's inbox: effect and inbox row in one transaction, emission
 * afterwards and again for a duplicate. */
#include "apps/payment/payment.h"

#include <stdio.h>

#include "apps/common/decision.h"
#include "apps/common/naive.h"

static enum mq_verdict check_back(void *arg, const struct envelope *v, const char *txn_id)
{
    const struct payment_app *a = arg;
    if (txn_id == NULL) {
        log_error("check_without_txn_id", "pay_id=%lld", (long long)v->pay_id);
        return MQ_UNKNOWN;
    }
    return decision_check(a->db, txn_id, v);
}

static void set_outcome(char outcome[INBOX_OUTCOME_MAX], const char *text)
{
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", text);
}

/* --- order_cancel --- */

static int cancel_effect(struct db_conn *c, const struct inbox_msg *m,
                         char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    const struct payment_app *a = arg;
    int64_t closed = 0;
    const int rc = pay_repo_close_gate(c, m->v->order_id, 0, a->drive.confirm_ms, &closed);
    set_outcome(outcome, outcome_text(closed > 0 ? OUTCOME_DONE : OUTCOME_EMPTY));
    return rc;
}

static int cancel_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                       struct app_error *e)
{
    const struct payment_app *a = arg;
    const struct envelope ack = {.event = EVENT_cancel_ack,
                                 .has = ENV_BRANCH | ENV_OUTCOME,
                                 .order_id = m->v->order_id,
                                 .attempt = m->v->attempt,
                                 .branch = BRANCH_PAY,
                                 .outcome = outcome_of_text(outcome)};
    const int rc = mq_publish(a->mq, &ack, m->traceparent, e);
    if (rc == 0)
        pay_close_at_provider(a, m->v->order_id);
    return rc;
}

/* --- order_paid --- */

static int order_paid_effect(struct db_conn *c, const struct inbox_msg *m,
                             char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    const struct payment_app *a = arg;
    int64_t closed = 0;
    bool hit = false;
    int rc = 0;
    if (!NAIVE(D11_SIBLINGS_LEFT_OPEN))
        rc = pay_repo_close_gate(c, m->v->order_id, m->v->pay_id, a->drive.confirm_ms, &closed);
    if (rc == 0)
        rc = pay_repo_ack(c, m->v->pay_id, NAIVE(D14_ACK_BY_ORDER_ALONE) ? ACK_SETTLED : ACK_ORDER,
                          &hit);
    if (rc == 0 && !hit)
        log_error("stray_order_paid", "order_id=%lld pay_id=%lld", (long long)m->v->order_id,
                  (long long)m->v->pay_id);
    set_outcome(outcome, !hit ? "stray" : closed > 0 ? "accepted, others closed" : "accepted");
    return rc;
}

static int order_paid_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                           struct app_error *e)
{
    (void)outcome;
    (void)e;
    pay_close_at_provider(arg, m->v->order_id);
    return 0;
}

/* --- refund_request --- */

static int refund_run(const struct inbox_msg *m, void *arg, struct app_error *e)
{
    return pay_refund(arg, m->v->pay_id, m, e);
}

/* --- paid_ack, refund_ack --- */

static int ack_effect(struct db_conn *c, const struct inbox_msg *m, char outcome[INBOX_OUTCOME_MAX],
                      void *arg)
{
    (void)arg;
    const int bit = ack_bit_of(m->v->event, m->v->branch);
    bool hit = false;
    if (bit == 0)
        return db_fail(c, APP_E_INVALID, "branch %s does not acknowledge payments",
                       branch_text(m->v->branch));
    const int rc = pay_repo_ack(c, m->v->pay_id, bit, &hit);
    if (rc == 0 && !hit)
        log_error("stray_ack", "pay_id=%lld branch=%s", (long long)m->v->pay_id,
                  branch_text(m->v->branch));
    set_outcome(outcome, hit ? "acked" : "stray");
    return rc;
}

void payment_mq_init(struct payment_app *a)
{
    a->order_inbox = (struct inbox){
        .group = GROUP_PAY_ORDER,
        .topic = TOPIC_ORDER,
        .db = a->db,
        .arg = a,
        .metrics = a->metrics,
        .handlers = {
            {.event = EVENT_order_cancel, .effect = cancel_effect, .emit = cancel_emit},
            {.event = EVENT_order_paid, .effect = order_paid_effect, .emit = order_paid_emit}}};
    a->ack_inbox = (struct inbox){.group = GROUP_PAY_ACK,
                                  .topic = TOPIC_ACK,
                                  .db = a->db,
                                  .arg = a,
                                  .metrics = a->metrics,
                                  .handlers = {{.event = EVENT_paid_ack, .effect = ack_effect},
                                               {.event = EVENT_refund_ack, .effect = ack_effect}}};
    a->refund_inbox =
        (struct inbox){.group = GROUP_PAY_REFUND,
                       .topic = TOPIC_PAY,
                       .db = a->db,
                       .arg = a,
                       .metrics = a->metrics,
                       .handlers = {{.event = EVENT_refund_request, .run = refund_run}}};
    mq_set_check(a->mq, check_back, a);
}
