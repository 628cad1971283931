/* shop-thirdpay: the simulated payment provider: settings, state, the job that delivers callbacks. The
 * life of the process is the kit's (app.h). */
#include "apps/thirdpay/thirdpay.h"

#include <stdlib.h>

static const struct app_option options[] = {
    {"sign-key", APP_TEXT, NULL, 8, 200,
     "key of the callbacks' signatures, shared with the merchant", true},
    {"public-url", APP_TEXT, "", 0, 200,
     "base URL in the payer's links; default: the address a request came to", false},
    {"notify-poll-ms", APP_INT, "100", 10, 60000,
     "how often callbacks that are due are looked for, ms", false},
    {"notify-ms", APP_INT, "5000", 50, 60000, "timeout of one callback, ms", false},
    {"retry-ms", APP_INT, "1000", 10, 86400000,
     "first pause before a callback is repeated; doubles, ms", false},
    {"retry-max-ms", APP_INT, "3600000", 10, 86400000, "longest pause, ms", false},
    {"attempts-max", APP_INT, "16", 1, 1000, "attempts at one callback", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int boot(struct app *app, void **state, struct app_error *e)
{
    struct thirdpay *t = calloc(1, sizeof *t);
    if (t == NULL)
        return app_fail(e, APP_E_NOMEM, "thirdpay");
    t->db = app_db(app);
    t->ids = app_ids(app);
    t->sign_key = app_text(app, "sign-key");
    t->public_url = app_text(app, "public-url");
    t->notify_ms = app_int(app, "notify-ms");
    t->retry_ms = app_int(app, "retry-ms");
    t->retry_max_ms = app_int(app, "retry-max-ms");
    t->attempts_max = app_int(app, "attempts-max");
    *state = t;
    return 0;
}

static int start(struct app *app, void *state, struct app_error *e)
{
    return app_job(app, "notify", app_int(app, "notify-poll-ms"), tp_notify_step, state, e);
}

static const struct app_service service = {
    .name = "thirdpay",
    .summary = "plays the third-party payment platform",
    .schema = "tp",
    .options = options,
    .routes = thirdpay_routes,
    .failpoints = thirdpay_fp,
    .n_failpoints = THIRDPAY_FP_COUNT,
    .boot = boot,
    .start = start,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
