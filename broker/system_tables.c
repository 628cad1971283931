/* System topics, built-in groups, and topics that exist in the store but not in topics.json.
 *
 * Runs on: the thread that opens the broker. What a file already holds is left as it is.
 *
 * A topic whose queues hold messages but whose configuration is gone (topics.json lost or restored
 * from an older copy, a stop before it was written) comes back with as many queues as the store
 * has, readable and writable, and a warning: without it its messages could not be pulled.
 *
 * Source: TopicConfigManager.init, SubscriptionGroupManager.init of 5.5.0. Left out: topics of what
 * is not served (POP, the timer wheel). */
#include "broker/system_tables.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/broker.h"
#include "broker/group.h"
#include "broker/topic.h"

enum { SCHEDULE_QUEUES = 18, BENCHMARK_QUEUES = 1024, CLUSTER_QUEUES = 16 };

static int add(struct broker *b, const char *name, int32_t queues, int32_t perm, struct err *e)
{
    struct topic_info have;
    if (topics_get(b->topics, slice_str(name), &have))
        return 0;
    struct topic_spec s = topic_spec_plain(slice_str(name), queues, false);
    s.info.perm = perm;
    return topics_put(b->topics, &s, b->clock, NULL, e);
}

static int add_named(struct broker *b, const char *prefix, const char *middle, const char *suffix,
                     int32_t perm, struct err *e)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s%s", prefix, middle, suffix);
    return add(b, name, 1, perm, e);
}

static int add_system_topics(struct broker *b, struct err *e)
{
    const struct broker_conf *c = b->conf;
    const int32_t rw = PERM_READ | PERM_WRITE;
    int32_t levels = b->delay_level_n > SCHEDULE_QUEUES ? b->delay_level_n : SCHEDULE_QUEUES;
    int32_t cluster_perm = PERM_INHERIT | (c->cluster_topic_enable ? rw : 0);
    int32_t broker_perm = PERM_INHERIT | (c->broker_topic_enable ? rw : 0);
    int rc = add(b, TOPIC_SELF_TEST, 1, rw, e);
    rc = rc == 0 && c->auto_create_topic
             ? add(b, TOPIC_AUTO_CREATE, c->default_topic_queue_nums, PERM_INHERIT | rw, e) : rc;
    rc = rc == 0 ? add(b, TOPIC_BENCHMARK, BENCHMARK_QUEUES, rw, e) : rc;
    rc = rc == 0 ? add(b, c->cluster_name, CLUSTER_QUEUES, cluster_perm, e) : rc;
    rc = rc == 0 ? add(b, c->broker_name, 1, broker_perm, e) : rc;
    rc = rc == 0 ? add(b, TOPIC_OFFSET_MOVED, 1, rw, e) : rc;
    rc = rc == 0 ? add(b, TOPIC_SCHEDULE, levels, rw, e) : rc;
    rc = rc == 0 && c->trace_topic_enable ? add(b, c->trace_topic_name, 1, rw, e) : rc;
    rc = rc == 0 ? add_named(b, "", c->cluster_name, "_REPLY_TOPIC", rw, e) : rc;
    rc = rc == 0 ? add_named(b, "rmq_sys_SYNC_BROKER_MEMBER_", c->broker_name, "", PERM_INHERIT, e)
                 : rc;
    rc = rc == 0 ? add(b, TOPIC_HALF, 1, rw, e) : rc;
    rc = rc == 0 ? add(b, TOPIC_OP, 1, rw, e) : rc;
    return rc == 0 ? add(b, TOPIC_CHECK_MAX, 1, rw, e) : rc;
}

static int add_system_groups(struct broker *b, struct err *e)
{
    static const char *const names[] = {
        "TOOLS_CONSUMER",  "FILTERSRV_CONSUMER",    "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY",
        "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER",  GROUP_TRANS};
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == 0; i++)
        rc = groups_create(b->groups, slice_str(names[i]), b->clock, e);
    return rc;
}

struct found { /* topics of the store without configuration: the store must not be called from its
                  walk */
    struct broker *b;
    struct found_topic { char name[MESSAGE_TOPIC_LONG_MAX + 1]; int32_t queues; } *list;
    size_t n, cap;
    bool no_memory;
};

static void note_queue(void *arg, struct slice topic, int32_t queue_id, int64_t min, int64_t max)
{
    struct found *f = arg;
    struct topic_info have;
    (void)min;
    if (max == 0 || queue_id < 0 || topic.n > MESSAGE_TOPIC_LONG_MAX ||
        topics_get(f->b->topics, topic, &have))
        return;
    for (size_t i = 0; i < f->n; i++) {
        if (!slice_eq_str(topic, f->list[i].name))
            continue;
        if (f->list[i].queues <= queue_id)
            f->list[i].queues = queue_id + 1;
        return;
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 16;
        struct found_topic *grown = realloc(f->list, cap * sizeof *grown);
        if (!grown) {
            f->no_memory = true;
            return;
        }
        f->list = grown;
        f->cap = cap;
    }
    struct found_topic *made = &f->list[f->n++];
    memcpy(made->name, topic.p, topic.n);
    made->name[topic.n] = '\0';
    made->queues = queue_id + 1;
}

static int restore_topics(struct broker *b, struct err *e)
{
    struct found f = {.b = b};
    store_each_queue(b->store, note_queue, &f);
    int rc = f.no_memory ? err_set(e, E_NOMEM, "topics of the store: out of memory") : 0;
    for (size_t i = 0; i < f.n && rc == 0; i++) {
        struct topic_spec s = topic_spec_plain(slice_str(f.list[i].name), f.list[i].queues, false);
        struct err why;
        if (topics_put(b->topics, &s, b->clock, NULL, &why) == 0)
            LOGW("topic.restored",
                 "topic=%s queues=%d reason=\"it has messages but is not in topics.json\"",
                 f.list[i].name, f.list[i].queues);
        else
            LOGW("topic.not_restored", "reason=\"%s\"", why.text);
    }
    free(f.list);
    return rc;
}

int system_tables_complete(struct broker *b, struct err *e)
{
    int rc = add_system_topics(b, e);
    if (rc == 0)
        rc = add_system_groups(b, e);
    return rc == 0 ? restore_topics(b, e) : rc;
}
