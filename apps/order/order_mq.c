/* The order service as the broker sees it: one check-back, three consumers (the timer's is order_cancel.c's).
 *
 *   check-back of order_cancel   armed while placing: what became of this order? (repo_check)
 *                                by the user: the decision row of the attempt (first writer wins)
 *   payTopic:paid                accept the money: CONFIRMED -> PAID, then tell payment; or ask for a refund
 *   ackTopic:cancel_ack          one participant has undone its part; with the fourth the order is closed
 *
 * Consumers run through the kit's inbox: effect and inbox row in one transaction, emission afterwards and
 * again for a duplicate. Runs on: message workers. */
#include "apps/order/order.h"

#include <string.h>

#include "apps/common/decision.h"

static const char ACCEPTED[] = "accepted", REFUND[] = "refund";

static enum mq_verdict check_back(void *arg, const struct envelope *v, const char *txn_id)
{
    const struct order_app *a = arg;
    enum saga_verdict verdict = SAGA_OPEN;
    struct app_error e = {0};
    if (txn_id != NULL)
        return decision_check(a->db, txn_id, v);
    if (FAILPOINT(order_fp[FP_ORDER_CHECK_BEFORE]))
        return MQ_UNKNOWN;
    if (repo_check(a->db, v->order_id, v->user_id, v->client_req_id, a->drive.first_ms, &verdict,
                   &e) != 0) {
        log_warn("check_failed", "order_id=%lld text=%s", (long long)v->order_id,
                 app_log_value(e.text));
        return MQ_UNKNOWN;
    }
    if (FAILPOINT(order_fp[FP_ORDER_CHECK_AFTER]))
        return MQ_UNKNOWN;
    const enum mq_verdict end = saga_end_of(verdict);
    log_info("check_answered", "order_id=%lld verdict=%s", (long long)v->order_id,
             end == MQ_COMMIT     ? "commit"
             : end == MQ_ROLLBACK ? "rollback"
                                  : "unknown");
    return end;
}

/* --- paid --- */

static int paid_effect(struct db_conn *c, const struct inbox_msg *m,
                       char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    (void)arg;
    enum paid_reaction reaction;
    const int rc = repo_accept_paid(c, m->v->order_id, m->v->pay_id, &reaction);
    if (rc != 0)
        return rc;
    if (reaction == PAID_LATER)
        return db_fail(c, APP_E_LATER, "order %lld is not there yet", (long long)m->v->order_id);
    const char *const text = reaction == PAID_REFUND ? REFUND : ACCEPTED;
    memcpy(outcome, text, strlen(text) + 1);
    return 0;
}

static int paid_emit(const struct inbox_msg *m, const char *outcome, void *arg, struct app_error *e)
{
    const struct order_app *a = arg;
    struct envelope v = {.order_id = m->v->order_id, .pay_id = m->v->pay_id, .has = ENV_PAY};
    if (strcmp(outcome, ACCEPTED) == 0) {
        v.event = EVENT_order_paid;
    } else {
        v.event = EVENT_refund_request;
        v.has |= ENV_AMOUNT | ENV_REASON;
        v.amount = m->v->amount;
        memcpy(v.reason, "order is not payable", sizeof "order is not payable");
    }
    return mq_publish(a->mq, &v, m->traceparent, e);
}

/* --- cancel_ack --- */

static int ack_effect(struct db_conn *c, const struct inbox_msg *m, char outcome[INBOX_OUTCOME_MAX],
                      void *arg)
{
    (void)arg;
    const int bit = comp_bit_of(m->v->branch);
    if (bit == 0)
        return db_fail(c, APP_E_INVALID, "branch %s does not take part in an order",
                       branch_text(m->v->branch));
    const char *state = "";
    const int rc = repo_ack_cancel(c, m->v->order_id, bit, &state);
    if (rc != 0)
        return rc;
    if (strcmp(state, "stray") == 0)
        log_error("stray_ack", "order_id=%lld branch=%s", (long long)m->v->order_id,
                  branch_text(m->v->branch));
    memcpy(outcome, state, strlen(state) + 1);
    return 0;
}

void order_mq_init(struct order_app *a)
{
    a->paid_inbox = (struct inbox){
        .group = GROUP_ORDER_PAY,
        .topic = TOPIC_PAY,
        .db = a->db,
        .arg = a,
        .metrics = a->metrics,
        .handlers = {{.event = EVENT_paid, .effect = paid_effect, .emit = paid_emit}}};
    a->ack_inbox = (struct inbox){.group = GROUP_ORDER_ACK,
                                  .topic = TOPIC_ACK,
                                  .db = a->db,
                                  .arg = a,
                                  .metrics = a->metrics,
                                  .handlers = {{.event = EVENT_cancel_ack, .effect = ack_effect}}};
    order_timeout_inbox(a);
    mq_set_check(a->mq, check_back, a);
}
