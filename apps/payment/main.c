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
                              .provider_ms = app_int(app, "provider-ms")};
    *state = a;
    payment_mq_init(a);
    const int rc = mq_consume(a->mq, &a->order_inbox, e);
    return rc != 0 ? rc : mq_consume(a->mq, &a->ack_inbox, e);
}

static const struct app_service service = {
    .name = "payment",
    .summary = "creates payments, takes the provider's callbacks, tells the shop what was paid",
    .schema = "pay",
    .uses_mq = true,
    .options = options,
    .routes = payment_routes,
    .failpoints = payment_fp,
    .n_failpoints = PAYMENT_FP_COUNT,
    .boot = boot,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
