/* shop-coupon: coupons: quote, use, return. The life of the process is the kit's (app.h); this file only
 * names the parts. */
#include "apps/common/app.h"
#include "apps/coupon/coupon.h"

#include <stdlib.h>

static const struct app_option options[] = {
    VERDICT_OPTIONS,
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int boot(struct app *a, void **state, struct app_error *e)
{
    struct coupon *s = calloc(1, sizeof *s);
    if (!s)
        return app_fail(e, APP_E_NOMEM, "no memory for the service");
    *state = s;
    coupon_init(s, app_db(a), app_mq(a), app_metrics(a));
    return mq_consume(app_mq(a), &s->cancel_inbox, e);
}

static int start(struct app *a, void *state, struct app_error *e)
{
    struct coupon *s = state;
    return verdict_start(&s->verdict, a, &s->cancel, e);
}

static void stop(void *state)
{
    free(state);
}

int main(int argc, char **argv)
{
    static const struct app_service service = {
        .name = "coupon",
        .summary = "coupons: quote, use, return",
        .schema = "cpn",
        .uses_mq = true,
        .options = options,
        .routes = coupon_routes,
        .failpoints = coupon_failpoints,
        .n_failpoints = COUPON_FP_COUNT,
        .boot = boot,
        .start = start,
        .stop = stop,
    };
    return app_main(&service, argc, argv);
}
