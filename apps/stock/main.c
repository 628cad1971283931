/* shop-stock: goods, prices and stock. The life of the process is the kit's (app.h); this file only
 * names the parts. */
#include "apps/common/app.h"
#include "apps/stock/stock.h"

#include <stdlib.h>

static const struct app_option options[] = {
    {"group-size", APP_INT, "64", 1, STOCK_GROUP_MAX,
     "tries for one item that share a transaction at most; http-workers bounds it too", false},
    {"group-batches", APP_INT, "2", 1, 16, "such transactions at a time, for one item", false},
    VERDICT_OPTIONS,
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int boot(struct app *a, void **state, struct app_error *e)
{
    struct stock *s = calloc(1, sizeof *s);
    if (!s)
        return app_fail(e, APP_E_NOMEM, "no memory for the service");
    *state = s;
    stock_init(s, app_db(a), app_mq(a), app_metrics(a));
    const int rc = stock_group_new(app_db(a), (int)app_int(a, "group-size"),
                                   (int)app_int(a, "group-batches"), app_metrics(a), &s->group, e);
    return rc ? rc : mq_consume(app_mq(a), &s->cancel_inbox, e);
}

static int start(struct app *a, void *state, struct app_error *e)
{
    struct stock *s = state;
    return verdict_start(&s->verdict, a, &s->cancel, e);
}

static void stop(void *state)
{
    struct stock *s = state;
    stock_group_free(s->group);
    free(s);
}

int main(int argc, char **argv)
{
    static const struct app_service service = {
        .name = "stock",
        .summary = "goods, prices and stock",
        .schema = "stk",
        .uses_mq = true,
        .options = options,
        .routes = stock_routes,
        .failpoints = stock_failpoints,
        .n_failpoints = STOCK_FP_COUNT,
        .boot = boot,
        .start = start,
        .stop = stop,
    };
    return app_main(&service, argc, argv);
}
