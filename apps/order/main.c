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
                            .pay_margin_ms = app_int(app, "pay-margin-ms")};
    *state = a;
    int rc = check_bounds(a, e);
    order_mq_init(a);
    if (rc == 0)
        rc = mq_consume(a->mq, &a->paid_inbox, e);
    return rc != 0 ? rc : mq_consume(a->mq, &a->ack_inbox, e);
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
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
