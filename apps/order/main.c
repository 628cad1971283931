/* shop-order: settings, state, and the bounds that make the check-back safe to trust.
 *
 * saga_ms is how long a request may stay pending before the check-back cancels it, immunity how long the
 * broker waits before it asks at all. A request needs at most two attempts at three participants; were its
 * deadline shorter, slow but healthy orders would be cancelled under way; were the immunity shorter than the
 * deadline, checks would ask in vain. Wrong values cost availability, never consistency; they are refused. */
#include "apps/order/order.h"

#include <stdlib.h>

static const struct app_option options[] = {
    {"stock-url", APP_TEXT, NULL, 8, 200, "base URL of the stock service's internal port", false},
    {"coupon-url", APP_TEXT, NULL, 8, 200, "base URL of the coupon service's internal port", false},
    {"user-url", APP_TEXT, NULL, 8, 200, "base URL of the user service's internal port", false},
    {"rpc-ms", APP_INT, "1000", 50, 60000, "timeout of one call to a participant, ms", false},
    {"saga-ms", APP_INT, "8000", 500, 600000, "a pending order is cancelled after this, ms", false},
    {"immunity-s", APP_INT, "10", 1, 3600, "the broker asks about an undecided order after this, s",
     false},
    {"pay-deadline-ms", APP_INT, "1800000", 1000, 604800000,
     "an order may be paid for this long, ms", false},
    {"pay-margin-ms", APP_INT, "2000", 0, 600000, "no new payment this close to the deadline, ms",
     false},
    {"delay-levels", APP_TEXT, DELAY_LEVELS_DEFAULT, 2, 200,
     "the broker's messageDelayLevel, for the timers of unpaid orders", false},
    {"sweep-ms", APP_INT, "5000", 0, 3600000,
     "how often late orders are looked for, ms; 0: this instance does not", false},
    {"sweep-batch", APP_INT, "50", 1, SWEEP_BATCH_MAX, "orders taken at a time", false},
    {"sweep-pending-ms", APP_INT, "30000", 0, 3600000,
     "a pending order is swept this long after its saga-ms, ms", false},
    {"sweep-unpaid-ms", APP_INT, "60000", 0, 3600000,
     "an unpaid order is swept this long after its deadline, ms", false},
    {"drive-ms", APP_INT, "15000", 10, 3600000,
     "a cancellation without all acknowledgements is sent again after this, then doubling, ms",
     false},
    {"drive-max-ms", APP_INT, "300000", 10, 86400000, "longest pause between two of them, ms",
     false},
    {"drive-times", APP_INT, "8", 1, 1000, "so often, then an operator has to look", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int check_bounds(const struct order_app *a, struct app_error *e)
{
    const int64_t worst = 2 * 3 * a->rpc_ms + 2000;
    if (a->saga_ms < worst)
        return app_fail(
            e, APP_E_CONFIG,
            "saga-ms=%lld is too short: two attempts at three participants take up to %lld ms",
            (long long)a->saga_ms, (long long)worst);
    if (a->immunity_s * 1000 <= a->saga_ms)
        return app_fail(e, APP_E_CONFIG, "immunity-s=%lld must be longer than saga-ms=%lld",
                        (long long)a->immunity_s, (long long)a->saga_ms);
    return 0;
}

static int boot(struct app *app, void **state, struct app_error *e)
{
    struct order_app *a = calloc(1, sizeof *a);
    if (a == NULL)
        return app_fail(e, APP_E_NOMEM, "order service");
    *a = (struct order_app){.db = app_db(app),
                            .mq = app_mq(app),
                            .ids = app_ids(app),
                            .metrics = app_metrics(app),
                            .stock_url = app_text(app, "stock-url"),
                            .coupon_url = app_text(app, "coupon-url"),
                            .user_url = app_text(app, "user-url"),
                            .saga_ms = app_int(app, "saga-ms"),
                            .immunity_s = app_int(app, "immunity-s"),
                            .rpc_ms = app_int(app, "rpc-ms"),
                            .pay_deadline_ms = app_int(app, "pay-deadline-ms"),
                            .pay_margin_ms = app_int(app, "pay-margin-ms"),
                            .drive = {.pending_ms = app_int(app, "sweep-pending-ms"),
                                      .unpaid_ms = app_int(app, "sweep-unpaid-ms"),
                                      .first_ms = app_int(app, "drive-ms"),
                                      .max_ms = app_int(app, "drive-max-ms"),
                                      .times = app_int(app, "drive-times"),
                                      .batch = app_int(app, "sweep-batch")}};
    *state = a;
    a->swept = metrics_counter(a->metrics, "shop_orders_driven_total",
                               "order_cancel sent again by the sweeper", "");
    a->stranded = metrics_counter(a->metrics, "shop_orders_stranded_total",
                                  "cancellations that need an operator", "");
    int rc = check_bounds(a, e);
    if (rc == 0)
        rc = delay_levels_parse(app_text(app, "delay-levels"), &a->delays, e);
    order_mq_init(a);
    const struct inbox *const inboxes[] = {&a->paid_inbox, &a->ack_inbox, &a->timeout_inbox};
    for (size_t i = 0; i < sizeof inboxes / sizeof inboxes[0] && rc == 0; i++)
        rc = mq_consume(a->mq, inboxes[i], e);
    return rc;
}

static int start(struct app *app, void *state, struct app_error *e)
{
    const int64_t every_ms = app_int(app, "sweep-ms");
    return every_ms > 0 ? app_job(app, "sweep", every_ms, order_sweep_step, state, e) : 0;
}

static const struct app_service service = {
    .name = "order",
    .summary = "places orders: validates, prices, deducts at the participants, compensates",
    .schema = "ord",
    .uses_mq = true,
    .options = options,
    .routes = order_routes,
    .failpoints = order_fp,
    .n_failpoints = ORDER_FP_COUNT,
    .boot = boot,
    .start = start,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
