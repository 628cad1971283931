/* cluster: is a RocketMQ cluster ready for the shop?
 *
 *   shopctl cluster --namesrv ADDR                topics, groups and who is in them, settings that matter
 *   shopctl cluster --namesrv ADDR --create       makes the topics and groups that are missing
 *   shopctl cluster --namesrv ADDR --setting KEY  prints one setting of the brokers and nothing else
 *
 * Exit status 1: a topic is missing, or --idle was asked for and a consumer group has members. Groups cannot be
 * looked at without touching them (a broker that creates groups by itself does so when it is asked), so
 * without --create only their members are shown. The groups of dead letters are the service's too (mq.c);
 * retry and dead-letter topics are made by the broker.
 *
 * A cluster may keep its settings to itself (access control; brokers without code 26): then the row says so,
 * and nothing fails. Main thread only. */
#include "apps/shopctl/shopctl.h"

#include <halfpenny/halfpenny.h>
#include <stdio.h>

static const struct app_option options[] = {
    {"namesrv", APP_TEXT, NULL, 1, 1000, "name servers, host:port;host:port", false},
    {"cluster", APP_TEXT, "DefaultCluster", 1, 200, "name of the brokers' cluster", false},
    {"create", APP_FLAG, "false", 0, 0, "make the topics and consumer groups that are missing",
     false},
    {"queues", APP_INT, "8", 1, 1024, "queues of a new topic at each broker", false},
    {"idle", APP_FLAG, "false", 0, 0, "exit status 1 when somebody consumes in a group of the shop",
     false},
    {"setting", APP_TEXT, "", 0, 100, "print this setting of the brokers, nothing else", false},
    {"timeout-ms", APP_INT, "10000", 100, 600000, "longest wait for one answer, milliseconds",
     false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};
static const char *const topics[] = {TOPIC_ORDER, TOPIC_PAY, TOPIC_ACK};
/* What the shop's guarantees and times hang on. */
static const char *const settings[] = {
    "flushDiskType",          "brokerRole",          "messageDelayLevel",
    "transactionTimeOut",     "transactionCheckMax", "transactionCheckInterval",
    "autoCreateTopicEnable", "autoCreateSubscriptionGroup"};
enum { SETTING_MAX = 1000 };

struct look {
    hp_client *client;
    const char *cluster;
    int64_t timeout_ms;
    int queues;
    bool create;
    struct ctl_table *table;
    int missing, busy; /* topics, groups */
};

static int row(struct look *l, const char *kind, const char *name, const char *state,
               struct app_error *e)
{
    const char *const cells[] = {kind, name, state};
    return table_row(l->table, cells, e);
}

static int failed(const struct hp_error *err, struct app_error *e)
{
    return app_fail(e, err->code == HP_E_INVALID ? APP_E_CONFIG : APP_E_DOWN, "%s", err->text);
}

static int look_at_topic(struct look *l, const char *topic, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    const char *how = "";
    char state[80];
    int queues = 0;
    int rc = hp_topic_queues(l->client, topic, l->timeout_ms, &queues, &err);
    if (rc == HP_E_NO_ROUTE && l->create) {
        how = "created, ";
        rc = hp_create_topic(l->client, l->cluster, topic, l->queues, l->timeout_ms, &err);
        if (rc == 0)
            rc = hp_topic_queues(l->client, topic, l->timeout_ms, &queues, &err);
    }
    if (rc == HP_E_NO_ROUTE && !l->create) {
        l->missing++;
        return row(l, "topic", topic, "MISSING: --create makes it", e);
    }
    if (rc != 0)
        return failed(&err, e);
    (void)snprintf(state, sizeof state, "%s%d queues", how, queues);
    return row(l, "topic", topic, state, e);
}

static int look_at_group(struct look *l, const char *group, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    char state[80];
    int created = 0, members = 0;
    int rc = l->create ? hp_create_group(l->client, l->cluster, group, l->timeout_ms, &created, &err)
                       : 0;
    if (rc == 0)
        rc = hp_group_members(l->client, l->cluster, group, l->timeout_ms, &members, &err);
    if (rc != 0)
        return failed(&err, e);
    l->busy += members > 0;
    (void)snprintf(state, sizeof state, "%s%d %s", created > 0 ? "created, " : "", members,
                   members == 1 ? "member" : "members");
    return row(l, "group", group, state, e);
}

static int look_at_groups(struct look *l, struct app_error *e)
{
    int rc = 0;
    for (size_t i = 0; i < ctl_n_groups && rc == 0; i++) {
        char dead[128];
        (void)snprintf(dead, sizeof dead, "%s%s", ctl_groups[i].group, MQ_DEAD_GROUP_SUFFIX);
        rc = look_at_group(l, ctl_groups[i].group, e);
        if (rc == 0)
            rc = look_at_group(l, dead, e);
    }
    return rc;
}

static int look_at_setting(struct look *l, const char *key, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    char value[SETTING_MAX], state[SETTING_MAX];
    const int rc =
        hp_cluster_setting(l->client, l->cluster, key, l->timeout_ms, value, sizeof value, &err);
    if (rc == 0)
        return row(l, "setting", key, value, e);
    if (rc != HP_E_BROKER && rc != HP_E_STATE)
        return failed(&err, e);
    (void)snprintf(state, sizeof state, "not known (%s)", err.text);
    return row(l, "setting", key, state, e);
}

static int look_at_all(struct look *l, struct app_error *e)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof topics / sizeof topics[0] && rc == 0; i++)
        rc = look_at_topic(l, topics[i], e);
    if (rc == 0)
        rc = look_at_groups(l, e);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && rc == 0; i++)
        rc = look_at_setting(l, settings[i], e);
    return rc;
}

static int show_table(struct look *l, const struct app *s, struct app_error *e)
{
    static const struct ctl_column columns[] = {
        {"KIND", COL_LEFT}, {"NAME", COL_LEFT}, {"STATE", COL_WRAP}, {NULL, 0}};
    int rc = table_new(columns, &l->table, e);
    if (rc != 0)
        return rc;
    rc = look_at_all(l, e);
    if (rc != 0) {
        table_free(l->table);
        return rc;
    }
    rc = table_print(l->table, NULL, e);
    if (rc == 0 && app_flag(s, "idle") && l->busy > 0)
        printf("%d groups of the shop have members: a shop is running on this cluster\n", l->busy);
    return rc != 0                                                  ? rc
           : l->missing > 0 || (app_flag(s, "idle") && l->busy > 0) ? CTL_FOUND
                                                                    : CTL_OK;
}

static int show_setting(const struct look *l, const char *key, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    char value[SETTING_MAX];
    const int rc =
        hp_cluster_setting(l->client, l->cluster, key, l->timeout_ms, value, sizeof value, &err);
    if (rc != 0)
        return failed(&err, e);
    printf("%s\n", value);
    return CTL_OK;
}

static void quiet(void *arg, enum hp_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line; /* errors come back from the calls */
}

static int run(const struct ctl *c, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    struct look l = {.cluster = app_text(c->settings, "cluster"),
                     .timeout_ms = app_int(c->settings, "timeout-ms"),
                     .queues = (int)app_int(c->settings, "queues"),
                     .create = app_flag(c->settings, "create")};
    const struct hp_client_options o = {.namesrv_addr = app_text(c->settings, "namesrv"),
                                        .log = quiet};
    if (hp_client_new(&o, &l.client, &err) != 0)
        return app_fail(e, APP_E_CONFIG, "namesrv: %s", err.text);
    const char *const key = app_text(c->settings, "setting");
    const int rc = key[0] != '\0' ? show_setting(&l, key, e) : show_table(&l, c->settings, e);
    hp_client_free(l.client);
    return rc;
}

const struct ctl_command ctl_cluster = {
    .name = "cluster",
    .arguments = "",
    .options = options,
    .run = run,
    .summary = "topics, groups and settings of a RocketMQ cluster; --create makes what is missing"};
