/* shop-payment: settings and state. The life of the process is the kit's (app.h).
 *
 * sign-key is shared with the provider and secret; notify-url is this service's callback as the provider
 * reaches it. */
#include "apps/payment/payment.h"

#include <stdlib.h>

static const struct app_option options[] = {
    {"order-url", APP_TEXT, NULL, 8, 200, "base URL of the order service's internal port", false},
    {"provider-url", APP_TEXT, NULL, 8, 200, "base URL of the payment provider", false},
    {"notify-url", APP_TEXT, NULL, 8, 300,
     "URL of our /v1/payments/callback as the provider reaches it", false},
    {"sign-key", APP_TEXT, NULL, 8, 200, "key of the provider's signatures", true},
    {"currency", APP_TEXT, "CNY", 3, 3, "currency of all amounts, three letters", false},
    {"rpc-ms", APP_INT, "1000", 50, 60000, "timeout of one call to the order service, ms", false},
    {"provider-ms", APP_INT, "3000", 50, 60000, "timeout of one call to the provider, ms", false},
    {"reconcile-ms", APP_INT, "5000", 0, 3600000,
     "how often late payments are looked for, ms; 0: this instance does not", false},
    {"reconcile-batch", APP_INT, "20", 1, RECONCILE_BATCH_MAX, "payments taken at a time", false},
    {"query-ms", APP_INT, "120000", 10, 86400000,
     "the provider is asked about an open payment after this, then at its deadline, ms", false},
    {"confirm-ms", APP_INT, "300000", 10, 86400000,
     "the provider is asked to close a closed payment so often until it confirms, ms", false},
    {"confirm-times", APP_INT, "288", 1, 1000000, "so many times, then an operator has to look",
     false},
    {"drive-ms", APP_INT, "60000", 10, 3600000,
     "what is not acknowledged is sent again after this, then doubling, ms", false},
    {"drive-max-ms", APP_INT, "300000", 10, 86400000, "longest pause between two of them, ms",
     false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int boot(struct app *app, void **state, struct app_error *e)
{
    struct payment_app *a = calloc(1, sizeof *a);
    if (a == NULL)
        return app_fail(e, APP_E_NOMEM, "payment service");
    *a = (struct payment_app){.db = app_db(app),
                              .mq = app_mq(app),
                              .ids = app_ids(app),
                              .metrics = app_metrics(app),
                              .order_url = app_text(app, "order-url"),
                              .provider_url = app_text(app, "provider-url"),
                              .notify_url = app_text(app, "notify-url"),
                              .sign_key = app_text(app, "sign-key"),
                              .currency = app_text(app, "currency"),
                              .rpc_ms = app_int(app, "rpc-ms"),
                              .provider_ms = app_int(app, "provider-ms"),
                              .drive = {.query_ms = app_int(app, "query-ms"),
                                        .confirm_ms = app_int(app, "confirm-ms"),
                                        .confirm_times = app_int(app, "confirm-times"),
                                        .first_ms = app_int(app, "drive-ms"),
                                        .max_ms = app_int(app, "drive-max-ms"),
                                        .batch = app_int(app, "reconcile-batch")}};
    *state = a;
    payment_mq_init(a);
    const struct inbox *const inboxes[] = {&a->order_inbox, &a->ack_inbox, &a->refund_inbox};
    int rc = 0;
    for (size_t i = 0; i < sizeof inboxes / sizeof inboxes[0] && rc == 0; i++)
        rc = mq_consume(a->mq, inboxes[i], e);
    return rc;
}

static int start(struct app *app, void *state, struct app_error *e)
{
    const int64_t every_ms = app_int(app, "reconcile-ms");
    return every_ms > 0 ? app_job(app, "reconcile", every_ms, pay_reconcile_step, state, e) : 0;
}

static const struct app_service service = {
    .name = "payment",
    .summary = "creates payments, takes the provider's callbacks, gives back what no order takes",
    .schema = "pay",
    .uses_mq = true,
    .options = options,
    .routes = payment_routes,
    .failpoints = payment_fp,
    .n_failpoints = PAYMENT_FP_COUNT,
    .boot = boot,
    .start = start,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
