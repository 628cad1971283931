/* The payment service of the world. */
#include "tests/support/shop/world.h"

#include <stdio.h>

#include "apps/payment/payment.h"

static struct payment_app app;
static struct ids ids;
static char urls[3][128];

struct world_part world_payment_start(struct world *w, struct mq *mq, struct db *db,
                                      const char *order, const char *provider)
{
    (void)snprintf(urls[0], sizeof urls[0], "%s", order);
    (void)snprintf(urls[1], sizeof urls[1], "%s", provider);
    ids_init(&ids, 2, NULL);
    app = (struct payment_app){.db = db,
                               .mq = mq,
                               .ids = &ids,
                               .order_url = urls[0],
                               .provider_url = urls[1],
                               .notify_url = urls[2],
                               .sign_key = "a key for tests",
                               .currency = "CNY",
                               .rpc_ms = 5000,
                               .provider_ms = 5000,
                               .drive = {.query_ms = 120000,
                                         .confirm_ms = 300000,
                                         .confirm_times = 3,
                                         .first_ms = 60000,
                                         .max_ms = 300000,
                                         .batch = 10}};
    payment_mq_init(&app);
    bus_subscribe(w->bus, &app.order_inbox);
    bus_subscribe(w->bus, &app.ack_inbox);
    bus_subscribe(w->bus, &app.refund_inbox);
    app_failpoint_register(payment_fp, PAYMENT_FP_COUNT);
    return (struct world_part){payment_routes, &app};
}

void world_payment_notify(const char *url)
{
    (void)snprintf(urls[2], sizeof urls[2], "%s", url);
}

void world_payment_reconcile(void)
{
    struct app_error e = {.kind = APP_OK};
    const int rc = pay_reconcile_step(&app, &e);
    assert_app_ok(rc > 0 ? 0 : rc, &e);
}

void world_payment_stop(void)
{
    ids_fini(&ids);
}
