/* The example as a service: the life of the process is the kit's (app.h), this file only names the parts. One
 * consumer group, no routes and no jobs of its own. */
#include "apps/common/example/stamps.h"

#include <stdlib.h>

static int boot(struct app *a, void **state, struct app_error *e)
{
    struct stamps *s = calloc(1, sizeof *s);
    if (s == NULL)
        return app_fail(e, APP_E_NOMEM, "stamps service");
    *state = s;
    stamps_init(s, app_db(a), app_mq(a), app_metrics(a));
    return mq_consume(app_mq(a), &s->inbox, e);
}

static const struct app_service service = {
    .name = "stamps",
    .summary = "gives a stamp for every payment",
    .schema = "stamps",
    .uses_mq = true,
    .boot = boot,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
