/* The sweeper: whatever is late, and nobody drives any more.
 *
 *   PENDING past saga_deadline + sweep-pending-ms       cancelled: its request and its half message are gone
 *   CONFIRMED, unpaid past pay_deadline + sweep-unpaid-ms   cancelled: its timer is gone
 *   CANCELLING, not all branches acknowledged           order_cancel is sent again: after drive-ms, doubling
 *                                                       up to drive-max-ms, drive-times; then an operator
 *                                                       has to look (metric, log, `shopctl sagas`)
 *
 * It is the second line behind check-back, timer and redelivery; with all of those at work it finds nothing.
 * Rows are taken with SKIP LOCKED and moved ahead in the same transaction, so every instance may sweep. Who
 * dies between commit and sending has not lost anything: the row comes up again.
 *
 * Runs on: a job's thread of its own. */
#include "apps/order/order.h"

static int drive(const struct order_app *a, const struct swept *s, struct app_error *e)
{
    if (FAILPOINT(order_fp[FP_ORDER_SWEEP_AFTER]))
        return app_fail(e, APP_E_DOWN, "failpoint");
    metric_add(a->swept, 1);
    log_info("order_driven", "order_id=%lld attempt=%d", (long long)s->order_id, s->attempt);
    if (s->stranded) {
        metric_add(a->stranded, 1);
        log_error("order_needs_operator", "order_id=%lld attempts=%d", (long long)s->order_id,
                  s->attempt);
    }
    return order_cancel_send(a, s->order_id, s->attempt, NULL, e);
}

int order_sweep_step(void *arg, struct app_error *e)
{
    struct order_app *a = arg;
    struct swept found[SWEEP_BATCH_MAX];
    size_t n = 0;
    if (FAILPOINT(order_fp[FP_ORDER_SWEEP_BEFORE]))
        return app_fail(e, APP_E_DOWN, "failpoint");
    int rc = repo_sweep(a->db, &a->drive, found, (size_t)a->drive.batch, &n, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = drive(a, &found[i], e);
    return rc != 0 ? rc : n == (size_t)a->drive.batch;
}
