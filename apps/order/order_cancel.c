/* Cancelling an order that was placed: by its user, or by its timer; and the message order_cancel itself.
 *
 * By the user (P2): half message, local transaction {decision row, CONFIRMED -> CANCELLING}, END. Timer and
 * user at once: one of them moves the row, the other's transaction rolls back, his half message too.
 *
 * By the timer: the delayed message order_timeout, armed while placing. The row decides (order_sm.c):
 *   past its deadline     CANCELLING in the inbox's transaction, then order_cancel
 *   cancelling already    order_cancel again: whoever moved the row may have died before he sent it
 *   its deadline ahead    no inbox row is left behind, the timer is armed for the rest: brokers delay by
 *                         levels and by their own clock
 *   paid, closed, gone    nothing
 * A timer that is lost costs time only: the sweeper comes after it.
 *
 * Runs on: HTTP workers (user), message workers (timer). */
#include "apps/order/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/transaction.h"

struct envelope order_cancel_message(const struct order *o, const char *reason, int attempt)
{
    struct envelope v = {.event = EVENT_order_cancel,
                         .has =
                             ENV_USER | ENV_REQ | ENV_ITEMS | ENV_MONEY | ENV_COUPON | ENV_REASON,
                         .order_id = o->order_id,
                         .attempt = attempt,
                         .user_id = o->user_id,
                         .coupon_id = o->coupon_id,
                         .money_paid = o->money_paid,
                         .n_items = o->n_items};
    for (size_t i = 0; i < o->n_items; i++)
        v.items[i] =
            (struct envelope_item){.goods_id = o->items[i].goods_id, .qty = o->items[i].qty};
    (void)snprintf(v.client_req_id, sizeof v.client_req_id, "%s", o->client_req_id);
    (void)snprintf(v.reason, sizeof v.reason, "%s", reason);
    return v;
}

int order_cancel_send(const struct order_app *a, int64_t order_id, int attempt,
                      const char *traceparent, struct app_error *e)
{
    struct order o = {0};
    bool found = false;
    int rc = repo_load(a->db, order_id, &o, &found, e);
    if (rc != 0)
        return rc;
    if (!found)
        return app_fail(e, APP_E_LATER, "order %lld has no row", (long long)order_id);
    const struct envelope v = order_cancel_message(&o, "order is being cancelled", attempt);
    return mq_publish(a->mq, &v, traceparent, e);
}

/* --- the timer --- */

int order_timer_arm(const struct order_app *a, int64_t order_id, int64_t ms,
                    const char *traceparent, struct app_error *e)
{
    const struct envelope v = {.event = EVENT_order_timeout, .order_id = order_id};
    return mq_publish_delayed(a->mq, &v, delay_level_for(&a->delays, ms), traceparent, e);
}

static const char CANCELLED[] = "cancelled", NOTHING[] = "nothing", EARLY[] = "early ";

static int timeout_effect(struct db_conn *c, const struct inbox_msg *m,
                          char outcome[INBOX_OUTCOME_MAX], void *arg)
{
    const struct order_app *a = arg;
    enum timeout_reaction reaction;
    int64_t rest_ms = 0;
    const int rc = repo_timeout(c, m->v->order_id, a->drive.first_ms, &reaction, &rest_ms);
    if (rc != 0)
        return rc;
    if (reaction == TIMEOUT_EARLY) {
        (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s%lld", EARLY, (long long)rest_ms);
        return db_fail(c, APP_E_NOT_YET, "%lld ms before the deadline", (long long)rest_ms);
    }
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s",
                   reaction == TIMEOUT_NOTHING ? NOTHING : CANCELLED);
    return 0;
}

static int timeout_emit(const struct inbox_msg *m, const char *outcome, void *arg,
                        struct app_error *e)
{
    const struct order_app *a = arg;
    const size_t early = sizeof EARLY - 1;
    if (strncmp(outcome, EARLY, early) == 0)
        return order_timer_arm(a, m->v->order_id, strtoll(outcome + early, NULL, 10),
                               m->traceparent, e);
    return strcmp(outcome, CANCELLED) == 0
               ? order_cancel_send(a, m->v->order_id, 1, m->traceparent, e)
               : 0;
}

void order_timeout_inbox(struct order_app *a)
{
    a->timeout_inbox = (struct inbox){
        .group = GROUP_ORDER_TIMEOUT,
        .topic = TOPIC_ORDER,
        .db = a->db,
        .arg = a,
        .metrics = a->metrics,
        .handlers = {
            {.event = EVENT_order_timeout, .effect = timeout_effect, .emit = timeout_emit}}};
}

/* --- the user --- */

struct cancel {
    const struct order_app *a;
    int64_t order_id;
    const char *reason;
};

static int cancel_effect(struct db_conn *c, void *arg)
{
    const struct cancel *k = arg;
    return repo_cancel(c, k->order_id, k->reason, k->a->drive.first_ms);
}

int order_cancel(const struct order_app *a, int64_t order_id, int64_t user_id, const char *reason,
                 const char *traceparent, struct app_error *e)
{
    struct order o = {0};
    bool found = false;
    int rc = repo_load(a->db, order_id, &o, &found, e);
    if (rc != 0)
        return rc;
    if (!found || o.user_id != user_id || o.status == ORDER_INVALID)
        return app_refuse(e, CODE_ORDER_NOT_FOUND, "%s", "");
    if (o.status == ORDER_CANCELLING)
        return 0;
    if (!order_is_cancellable(o.status, o.pay_status))
        return app_refuse(e, CODE_ORDER_STATE, "it is %s",
                          o.pay_status == PAY_PAID ? "paid" : order_status_text(o.status));
    const struct envelope v = order_cancel_message(&o, reason, 1);
    struct cancel k = {.a = a, .order_id = order_id, .reason = reason};
    const struct transaction t = {.db = a->db,
                                  .mq = a->mq,
                                  .ids = a->ids,
                                  .v = &v,
                                  .traceparent = traceparent,
                                  .effect = cancel_effect,
                                  .arg = &k,
                                  .before_half = &order_fp[FP_ORDER_CANCEL_BEFORE_HALF],
                                  .after_half = &order_fp[FP_ORDER_CANCEL_AFTER_HALF],
                                  .after_tx = &order_fp[FP_ORDER_CANCEL_AFTER_TX]};
    rc = transaction_run(&t, e);
    if (rc != APP_E_REFUSED)
        return rc;
    /* Somebody was faster: payment, timer, or the same user with another click. */
    struct app_error other = {0};
    return repo_load(a->db, order_id, &o, &found, &other) == 0 && o.status == ORDER_CANCELLING ? 0
                                                                                               : rc;
}
