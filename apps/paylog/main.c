/* shop-paylog: the journal of payment events. The life of the process is the kit's (app.h); this file
 * only names the parts. */
#include "apps/paylog/paylog.h"

#include <stdlib.h>

static int boot(struct app *a, void **state, struct app_error *e)
{
    struct paylog *p = calloc(1, sizeof *p);
    if (p == NULL)
        return app_fail(e, APP_E_NOMEM, "paylog service");
    *state = p;
    paylog_init(p, app_db(a), app_mq(a), app_metrics(a));
    return mq_consume(app_mq(a), &p->inbox, e);
}

static const struct app_service service = {
    .name = "paylog",
    .summary = "keeps the journal of payment events",
    .schema = "plog",
    .uses_mq = true,
    .boot = boot,
    .stop = free,
};

int main(int argc, char **argv)
{
    return app_main(&service, argc, argv);
}
