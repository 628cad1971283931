/* What an operator asks: how far behind is a group, what is undecided, is the cluster ready. */
#include "tests/interop/client/kit.h"

enum { SENT = 10, OTHERS = 3, ASK_MS = 10000 };
#define HALF_GROUP "CID_RMQ_SYS_TRANS"
#define HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"

static int64_t lag_of(const char *group, const char *topic)
{
    struct hp_error err = {0};
    int64_t lag = 0;
    if (hp_group_lag(client(0), group, topic, ASK_MS, &lag, &err))
        die("lag", &err);
    return lag;
}

/* Waits for a lag within these bounds; the last one seen. A broker may index a message a moment after it
 * has acknowledged it. */
static int64_t await_lag(const char *group, const char *topic, int64_t min, int64_t max, int64_t ms)
{
    const int64_t deadline = now_ms() + ms;
    int64_t lag = lag_of(group, topic);
    for (; (lag < min || lag > max) && now_ms() < deadline; lag = lag_of(group, topic))
        step();
    return lag;
}

static bool send_many(const char *check, const char *topic, const char *tag, int n)
{
    char body[32];
    for (int i = 0; i < n; i++) {
        snprintf(body, sizeof body, "%s-%d", tag, i);
        if (!send_text(check, topic, tag, body, NULL))
            return false;
    }
    return true;
}

/* The first delivery of a message fails. */
static enum hp_consume_result fail_once(const struct received *r)
{
    return strcmp(r->body, "A-0") == 0 && r->reconsume_times == 0 ? HP_RECONSUME_LATER
                                                                  : HP_CONSUME_SUCCESS;
}

static bool lag_of_a_group(const char *topic, const char *group)
{
    int64_t lag;
    char retry[200];
    if (!send_many("lag-behind", topic, "A", SENT))
        return false;
    if ((lag = await_lag(group, topic, SENT, SENT, SOON_MS)) != SENT)
        return complain("lag-behind", "%lld of %d messages sent", (long long)lag, SENT);
    pass("lag-behind", "%d messages", SENT);
    snprintf(retry, sizeof retry, "%%RETRY%%%s", group);
    start_consumer(0, (struct hp_consumer_options){.group = group, .offset_persist_ms = 500}, topic,
                   "A", fail_once);
    if (!await("A-", 0, SENT + 1, LATE_MS))
        return complain("lag-caught-up", "%d deliveries, not %d", count("A-", 0), SENT + 1);
    if ((lag = await_lag(group, topic, 0, 0, SOON_MS)) != 0 ||
        (lag = await_lag(group, retry, 0, 0, SOON_MS)) != 0)
        return complain("lag-caught-up", "%lld are left", (long long)lag);
    pass("lag-caught-up", "also in the retry topic");
    if (!send_many("lag-filtered", topic, "B", OTHERS))
        return false;
    if ((lag = await_lag(name_of("watcher"), topic, SENT + OTHERS, SENT + OTHERS, SOON_MS)) !=
        SENT + OTHERS)
        return complain("lag-filtered", "%lld messages are there, not %d", (long long)lag,
                        SENT + OTHERS);
    if ((lag = await_lag(group, topic, 0, 0, LATE_MS)) != 0)
        return complain("lag-filtered", "%lld messages of another tag hold the group back",
                        (long long)lag);
    pass("lag-filtered", "%d messages of another tag are passed over", OTHERS);
    return true;
}

static enum hp_transaction_state undecided(void *arg, const hp_message_view *half)
{
    (void)arg;
    (void)half;
    return HP_TX_UNKNOWN;
}

/* Other transactions may be under way on these brokers: only this one's part is certain. */
static bool lag_of_halves(const char *topic)
{
    struct hp_error err = {0};
    struct hp_send_result half;
    enum hp_transaction_state said;
    int64_t lag;
    const struct hp_producer_options o = {
        .group = name_of("half-producer"), .send_timeout_ms = 10000, .check = undecided};
    if (hp_producer_new(client(0), &o, &tx_producer, &err))
        die("producer", &err);
    hp_message *m = message(topic, "A", "key-half", "half");
    const int rc = hp_send_in_transaction(tx_producer, m, NULL, NULL, &half, &said, &err);
    hp_message_free(m);
    if (rc)
        return complain("lag-half", "%s", err.text);
    if ((lag = await_lag(HALF_GROUP, HALF_TOPIC, 1, INT64_MAX, SOON_MS)) < 1)
        return complain("lag-half", "%lld undecided, not 1 or more", (long long)lag);
    pass("lag-half", "%lld undecided", (long long)lag);
    if (hp_end_transaction(tx_producer, &half, HP_TX_ROLLBACK, &err))
        return complain("lag-decided", "%s", err.text);
    if ((lag = await_lag(HALF_GROUP, HALF_TOPIC, 0, 0, LATE_MS)) != 0)
        return complain("lag-decided", "%lld are undecided", (long long)lag);
    pass("lag-decided", "none undecided");
    return true;
}

void scenario_lag(void)
{
    struct hp_error err = {0};
    int64_t lag;
    const char *topic = create_topic("lag"), *group = name_of("lag-group");
    if (!lag_of_a_group(topic, group) || !lag_of_halves(topic))
        return;
    const int rc = hp_group_lag(client(0), group, name_of("nowhere"), ASK_MS, &lag, &err);
    if (rc != HP_E_NO_ROUTE)
        complain("lag-no-topic", "status %d: %s", rc, err.text);
    else
        pass("lag-no-topic", "%s", err.text);
}

/* --- cluster --- */

#define CLUSTER "DefaultCluster"

static bool topics_and_groups(const char *topic, const char *group)
{
    struct hp_error err = {0};
    int n = -1;
    if (hp_topic_queues(client(0), topic, ASK_MS, &n, &err) || n != QUEUES)
        return complain("cluster-topic", "%d queues, not %d: %s", n, QUEUES, err.text);
    if (hp_topic_queues(client(0), name_of("nowhere"), ASK_MS, &n, &err) != HP_E_NO_ROUTE)
        return complain("cluster-topic", "a topic that is not there: %s", err.text);
    pass("cluster-topic", "%d queues", QUEUES);
    for (int i = 0; i < 2; i++)
        if (hp_create_group(client(0), CLUSTER, group, ASK_MS, &n, &err))
            return complain("cluster-group", "%s", err.text);
    pass("cluster-group", "made, and made again");
    if (hp_group_members(client(0), CLUSTER, group, ASK_MS, &n, &err) || n != 0)
        return complain("cluster-members", "%d before anybody came; %s", n, err.text);
    start_consumer(0, (struct hp_consumer_options){.group = group}, topic, "*", NULL);
    if (!await_queues("cluster-members", 0, QUEUES + RETRY_QUEUES))
        return false;
    if (hp_group_members(client(0), CLUSTER, group, ASK_MS, &n, &err) || n != 1)
        return complain("cluster-members", "%d, not 1: %s", n, err.text);
    pass("cluster-members", "none, then one");
    return true;
}

void scenario_cluster(void)
{
    struct hp_error err = {0};
    char value[512] = "";
    const char *topic = create_topic("cluster");
    if (!topics_and_groups(topic, name_of("cluster-group")))
        return;
    const int rc = hp_cluster_setting(client(0), CLUSTER, "messageDelayLevel", ASK_MS, value,
                                      sizeof value, &err);
    if (rc == HP_E_BROKER && err.broker_code == 3)
        pass("cluster-setting", "the broker does not tell its configuration");
    else if (rc || strncmp(value, "1s 2s 3s", 8) != 0)
        complain("cluster-setting", "messageDelayLevel is \"%s\": %s", value, err.text);
    else
        pass("cluster-setting", "messageDelayLevel=%s", value);
}
