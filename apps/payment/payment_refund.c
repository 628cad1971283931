/* Giving the money back of a payment that its order does not take: cancelled, or paid by another payment.
 *
 *   1 PAID -> REFUNDING                                committed: from here on somebody drives it
 *   2 the provider gives the money back                under the key rf:<pay_id>, so repeating is harmless
 *   3 REFUNDING -> REFUNDED, with the inbox row        committed
 *   4 `refunded` is sent                               points and journal follow
 * Whatever fails is repeated from the top by a redelivery or by the reconciler; the row says how far it
 * came. A provider that refuses for good ends it in REFUND FAILED: an alert, and an operator's matter.
 *
 * The handler calls out between two transactions, so it gates on the row's state, not on the inbox. What
 * is given back is the row's amount; the message's is compared and logged.
 *
 * Runs on: message workers and the reconciler's thread (blocking). */
#include "apps/payment/payment.h"

#include "apps/common/naive.h"

static int injected(struct app_error *e)
{
    return app_fail(e, APP_E_LATER, "failpoint");
}

int pay_refunded_send(const struct payment_app *a, const struct payment *p, int attempt,
                      const char *traceparent, struct app_error *e)
{
    const struct envelope v = {.event = EVENT_refunded,
                               .has = ENV_PAY | ENV_AMOUNT | ENV_USER,
                               .order_id = p->order_id,
                               .attempt = attempt,
                               .pay_id = p->pay_id,
                               .user_id = p->user_id,
                               .amount = p->amount};
    return mq_publish(a->mq, &v, traceparent, e);
}

static void alert_refused(const struct payment_app *a, const struct payment *p,
                          const struct app_error *why)
{
    metric_add(metrics_counter(a->metrics, "shop_refunds_refused_total",
                               "refunds the provider has refused for good", ""),
               1);
    log_error("refund_refused", "pay_id=%lld order_id=%lld amount=%lld error=%s",
              (long long)p->pay_id, (long long)p->order_id, (long long)p->amount,
              app_log_value(why->text));
}

/* Steps 2 and 3. *refunded false: refused for good. */
static int give_back(struct payment_app *a, const struct payment *p, const struct inbox_msg *m,
                     bool *refunded, struct app_error *e)
{
    if (FAILPOINT(payment_fp[FP_PAY_REFUND_BEGUN]))
        return injected(e);
    int rc = p->amount > 0 ? provider_refund(a, p, e) : 0;
    if (rc != 0 && rc != APP_E_REFUSED)
        return rc;
    *refunded = rc == 0;
    if (!*refunded)
        alert_refused(a, p, e);
    if (FAILPOINT(payment_fp[FP_PAY_REFUND_PROVIDER]))
        return injected(e);
    rc = pay_repo_refund_end(a->db, p->pay_id, *refunded, a->drive.first_ms, m, e);
    if (rc == 0)
        log_info("refund_ended", "pay_id=%lld amount=%lld refunded=%d", (long long)p->pay_id,
                 (long long)p->amount, *refunded);
    return rc;
}

int pay_refund(struct payment_app *a, int64_t pay_id, const struct inbox_msg *m,
               struct app_error *e)
{
    struct payment p = {.pay_id = pay_id};
    enum refund_reaction reaction;
    bool refunded = true;
    int rc = pay_repo_refund_begin(a->db, pay_id, a->drive.first_ms, &p, &reaction, e);
    if (rc != 0)
        return rc;
    if (m != NULL && m->v->amount != p.amount)
        log_warn("refund_amount_differs", "pay_id=%lld row=%lld message=%lld", (long long)pay_id,
                 (long long)p.amount, (long long)m->v->amount);
    if (m != NULL && NAIVE(D3_TRUSTS_MESSAGE))
        p.amount = m->v->amount;
    if (reaction == REFUND_LATER)
        return app_fail(e, APP_E_LATER, "payment %lld is not paid", (long long)pay_id);
    if (reaction == REFUND_GO)
        rc = give_back(a, &p, m, &refunded, e);
    if (rc != 0 || reaction == REFUND_NEVER || !refunded)
        return rc;
    if (FAILPOINT(payment_fp[FP_PAY_REFUND_ENDED]))
        return injected(e);
    return pay_refunded_send(a, &p, m != NULL ? m->v->attempt : 1,
                             m != NULL ? m->traceparent : NULL, e);
}
