/* shop-user: wallets and points. The life of the process is the kit's (app.h); this file only
 * names the parts. */
#include "apps/common/app.h"
#include "apps/user/user.h"

#include <stdlib.h>

static const struct app_option options[] = {
    VERDICT_OPTIONS,
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int boot(struct app *a, void **state, struct app_error *e)
{
    struct user *s = calloc(1, sizeof *s);
    if (!s)
        return app_fail(e, APP_E_NOMEM, "no memory for the service");
    *state = s;
    user_init(s, app_db(a), app_mq(a), app_metrics(a));
    const int rc = mq_consume(app_mq(a), &s->cancel_inbox, e);
    return rc ? rc : mq_consume(app_mq(a), &s->points_inbox, e);
}

static int start(struct app *a, void *state, struct app_error *e)
{
    struct user *s = state;
    return verdict_start(&s->verdict, a, &s->cancel, e);
}

static void stop(void *state)
{
    free(state);
}

int main(int argc, char **argv)
{
    static const struct app_service service = {
        .name = "user",
        .summary = "wallets and points",
        .schema = "usr",
        .uses_mq = true,
        .options = options,
        .routes = user_routes,
        .failpoints = user_failpoints,
        .n_failpoints = USER_FP_COUNT,
        .boot = boot,
        .start = start,
        .stop = stop,
    };
    return app_main(&service, argc, argv);
}
