/* The order service of the world. */
#include "tests/support/shop/world.h"

#include <stdio.h>

#include "apps/order/order.h"

static struct order_app app;
static struct ids ids;
static char urls[3][SHOP_URL_MAX];

struct world_part world_order_start(struct world *w, struct mq *mq, struct db *db,
                                    const char *stock, const char *coupon, const char *user)
{
    const char *const given[] = {stock, coupon, user};
    struct app_error e;
    for (int i = 0; i < 3; i++)
        (void)snprintf(urls[i], sizeof urls[i], "%s", given[i]);
    ids_init(&ids, 1, NULL);
    app =
        (struct order_app){.db = db,
                           .mq = mq,
                           .ids = &ids,
                           .stock_url = urls[0],
                           .coupon_url = urls[1],
                           .user_url = urls[2],
                           .saga_ms = 8000,
                           .immunity_s = 10,
                           .rpc_ms = 5000,
                           .pay_deadline_ms = 1800000,
                           .pay_margin_ms = 0,
                           .drive = {.first_ms = 60000, .max_ms = 300000, .times = 3, .batch = 10},
                           .swept = metrics_counter(NULL, "", "", ""),
                           .stranded = metrics_counter(NULL, "", "", "")};
    assert_app_ok(delay_levels_parse(DELAY_LEVELS_DEFAULT, &app.delays, &e), &e);
    order_mq_init(&app);
    bus_subscribe(w->bus, &app.paid_inbox);
    bus_subscribe(w->bus, &app.ack_inbox);
    bus_subscribe(w->bus, &app.timeout_inbox);
    app_failpoint_register(order_fp, ORDER_FP_COUNT);
    return (struct world_part){order_routes, &app};
}

void world_order_sweep(void)
{
    struct app_error e = {.kind = APP_OK};
    const int rc = order_sweep_step(&app, &e);
    assert_app_ok(rc > 0 ? 0 : rc, &e);
}

void world_order_stop(void)
{
    ids_fini(&ids);
}
