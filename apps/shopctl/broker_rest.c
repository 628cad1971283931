/* What the broker still has to do: half messages nobody has decided, messages no group has come past.
 *
 * Asked through the client library, without joining a group. The broker shows undecided half messages as the
 * lag of its own group CID_RMQ_SYS_TRANS in RMQ_SYS_TRANS_HALF_TOPIC; it moves that offset with its checks, so
 * a decided half may count for one check interval more. Consumers commit their offsets every few seconds, so
 * their lag falls a little after they have come to rest. Main thread only. */
#include "apps/shopctl/shopctl.h"

#include <halfpenny/halfpenny.h>
#include <stdio.h>

enum { ASK_MS = 5000 };
#define HALF_GROUP "CID_RMQ_SYS_TRANS"
#define HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"

const struct ctl_group ctl_groups[] = {
    {GROUP_STOCK_ORDER, TOPIC_ORDER}, {GROUP_COUPON_ORDER, TOPIC_ORDER},
    {GROUP_USER_ORDER, TOPIC_ORDER},  {GROUP_PAY_ORDER, TOPIC_ORDER},
    {GROUP_ORDER_TIMEOUT, TOPIC_ORDER}, {GROUP_ORDER_PAY, TOPIC_PAY},
    {GROUP_USER_PAY, TOPIC_PAY},      {GROUP_LOG_PAY, TOPIC_PAY},
    {GROUP_PAY_REFUND, TOPIC_PAY},    {GROUP_ORDER_ACK, TOPIC_ACK},
    {GROUP_PAY_ACK, TOPIC_ACK}};
const size_t ctl_n_groups = sizeof ctl_groups / sizeof ctl_groups[0];

static void quiet(void *arg, enum hp_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line; /* errors come back from the calls */
}

/* Adds to *sum; a topic that does not exist has nothing in it. */
static int add_lag(hp_client *c, const char *group, const char *topic, struct ctl_broker_rest *out,
                   int64_t *sum, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    int64_t lag = 0;
    const int rc = hp_group_lag(c, group, topic, ASK_MS, &lag, &err);
    if (rc != 0 && rc != HP_E_NO_ROUTE)
        return app_fail(e, APP_E_DOWN, "%s", err.text);
    if (lag > 0 && sum == &out->lag)
        (void)snprintf(out->example, sizeof out->example, "%s in %s: %lld", group, topic,
                       (long long)lag);
    *sum += lag;
    return 0;
}

int ctl_broker_rest(const char *namesrv, struct ctl_broker_rest *out, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    hp_client *c = NULL;
    const struct hp_client_options o = {.namesrv_addr = namesrv, .log = quiet};
    *out = (struct ctl_broker_rest){.undecided = 0};
    if (hp_client_new(&o, &c, &err) != 0)
        return app_fail(e, APP_E_CONFIG, "namesrv: %s", err.text);
    int rc = add_lag(c, HALF_GROUP, HALF_TOPIC, out, &out->undecided, e);
    for (size_t i = 0; i < ctl_n_groups && rc == 0; i++) {
        char retry[128];
        (void)snprintf(retry, sizeof retry, "%%RETRY%%%s", ctl_groups[i].group);
        rc = add_lag(c, ctl_groups[i].group, ctl_groups[i].topic, out, &out->lag, e);
        if (rc == 0)
            rc = add_lag(c, ctl_groups[i].group, retry, out, &out->lag, e);
    }
    hp_client_free(c);
    return rc;
}
