/* The reconciler: whatever is late, asked for and driven on.
 *
 *   OPEN        its callback is overdue: what does the provider say? captured: as if it had called back;
 *               closed there: closed here; never heard of, and the deadline has passed: closed here
 *   CLOSED      the provider has not confirmed: close it there; captured meanwhile: as a late callback.
 *               confirm-times in vain: an operator has to look
 *   PAID        not everybody has acted on `paid`: sent again
 *   REFUNDING   the refund goes on where it stopped
 *   REFUNDED    not everybody has acted on `refunded`: sent again
 *
 * It is the second line behind callbacks and redelivery; with those at work it finds little but payments
 * that nobody pays. A payment that fails does not hold up the others; it comes up again.
 *
 * Runs on: a job's thread of its own; several instances share the work (SKIP LOCKED). */
#include "apps/payment/payment.h"

/* The provider says: captured. */
static int captured(struct payment_app *a, int64_t pay_id, const struct charge_info *c,
                    struct app_error *e)
{
    const struct callback cb = {.pay_id = pay_id,
                                .amount = c->amount,
                                .currency = c->currency,
                                .provider_txn_id = c->provider_txn_id};
    log_info("captured_without_callback", "pay_id=%lld", (long long)pay_id);
    return pay_callback(a, &cb, NULL, e);
}

static int ask_provider(struct payment_app *a, const struct pay_due *d, struct app_error *e)
{
    const int64_t pay_id = d->payment.pay_id;
    struct charge_info c;
    const int rc = provider_query(a, pay_id, &c, e);
    if (rc != 0)
        return rc;
    switch (c.state) {
    case CHARGE_CAPTURED:
        return captured(a, pay_id, &c, e);
    case CHARGE_CLOSED:
        return pay_repo_close_confirmed(a->db, pay_id, e);
    case CHARGE_UNKNOWN:
        return d->overdue ? pay_repo_close_confirmed(a->db, pay_id, e) : 0;
    case CHARGE_OPEN:
        break;
    }
    return 0;
}

static int drive_open(struct payment_app *a, const struct pay_due *d, struct app_error *e)
{
    return d->payment.amount == 0 ? pay_settle_free(a, &d->payment, NULL, e)
                                  : ask_provider(a, d, e);
}

static int drive_closed(struct payment_app *a, const struct pay_due *d, struct app_error *e)
{
    const int64_t pay_id = d->payment.pay_id;
    int rc = d->payment.amount > 0 ? provider_close(a, pay_id, e) : 0;
    if (rc == 0)
        return pay_repo_close_confirmed(a->db, pay_id, e);
    if (rc == APP_E_REFUSED)
        rc = ask_provider(a, d, e);
    if (d->given_up) {
        metric_add(metrics_counter(a->metrics, "shop_payments_stranded_total",
                                   "closed payments the provider never confirmed", ""),
                   1);
        log_error("payment_needs_operator", "pay_id=%lld attempts=%d", (long long)pay_id,
                  d->attempt);
    }
    return rc;
}

static int drive(struct payment_app *a, const struct pay_due *d, struct app_error *e)
{
    const struct payment *p = &d->payment;
    if (FAILPOINT(payment_fp[FP_PAY_RECONCILE_AFTER]))
        return app_fail(e, APP_E_DOWN, "failpoint");
    log_debug("payment_driven", "pay_id=%lld state=%s acks=%d attempt=%d", (long long)p->pay_id,
              pay_state_text(p->state), p->acks, d->attempt);
    switch (p->state) {
    case PAY_OPEN:
        return drive_open(a, d, e);
    case PAY_CLOSED:
        return drive_closed(a, d, e);
    case PAY_PAID: {
        const struct envelope v = paid_message(p, NULL, d->attempt);
        return mq_publish(a->mq, &v, NULL, e);
    }
    case PAY_REFUNDING:
        return pay_refund(a, p->pay_id, NULL, e);
    case PAY_REFUNDED:
        return pay_refunded_send(a, p, d->attempt, NULL, e);
    case PAY_REFUND_FAILED:
        break;
    }
    return 0;
}

int pay_reconcile_step(void *arg, struct app_error *e)
{
    struct payment_app *a = arg;
    struct pay_due due[RECONCILE_BATCH_MAX];
    size_t n = 0;
    if (FAILPOINT(payment_fp[FP_PAY_RECONCILE_BEFORE]))
        return app_fail(e, APP_E_DOWN, "failpoint");
    const int rc = pay_repo_due(a->db, &a->drive, due, (size_t)a->drive.batch, &n, e);
    for (size_t i = 0; i < n; i++) {
        struct app_error why = {.kind = 0};
        if (drive(a, &due[i], &why) != 0)
            log_warn("payment_not_driven", "pay_id=%lld state=%s error=%s",
                     (long long)due[i].payment.pay_id, pay_state_text(due[i].payment.state),
                     app_log_value(why.text));
    }
    return rc != 0 ? rc : n == (size_t)a->drive.batch;
}
