/* Configuration of topics and groups, and data versions, as JSON: registration bodies, requests 17
 * and 200, topics.json and subscriptionGroup.json all use these objects.
 *
 * Absent members take the defaults that RocketMQ's own classes have, so that files and bodies of
 * any release read the same. What we do not interpret is kept: a topic's attributes as they are, a
 * group's whole object in `other`, on top of which group_config_to_json writes the members it
 * knows.
 *
 * Any thread. Decoded structs borrow from the JSON value; json_t results are new references, NULL
 * when memory is out or a string is no UTF-8. Failure: E_PROTO naming the member.
 * Source: TopicConfig, SubscriptionGroupConfig, DataVersion of 5.5.0. */
#include "proto/body_json.h"
#include "proto/names.h"

json_t *data_version_to_json(struct data_version v)
{
    return json_pack("{s:I,s:I,s:I}", "counter", (json_int_t)v.counter, "stateVersion",
                     (json_int_t)v.state_version, "timestamp", (json_int_t)v.timestamp);
}

struct data_version data_version_from_json(const json_t *j)
{
    return (struct data_version){.state_version = json_get_i64(j, "stateVersion", 0),
                                 .timestamp = json_get_i64(j, "timestamp", 0),
                                 .counter = json_get_i64(j, "counter", 0)};
}

json_t *topic_config_to_json(const struct topic_config *t)
{
    const struct slice filter = t->filter_type.p ? t->filter_type : SLICE_LIT("SINGLE_TAG");
    json_t *const attributes = t->attributes ? json_deep_copy(t->attributes) : json_object();
    return json_pack("{s:o,s:b,s:i,s:i,s:s%,s:s%,s:i,s:i}", "attributes", attributes, "order",
                     t->order, "perm", t->perm, "readQueueNums", t->read_queue_nums,
                     "topicFilterType", filter.p, filter.n, "topicName", t->name.p, t->name.n,
                     "topicSysFlag", t->sys_flag, "writeQueueNums", t->write_queue_nums);
}

int topic_config_from_json(const json_t *j, struct topic_config *out, struct err *e)
{
    enum { QUEUE_NUMS_DEFAULT = 16 };
    static const char what[] = "topic configuration";
    struct topic_config t = {.order = json_get_bool(j, "order", false),
                             .filter_type = json_get_str(j, "topicFilterType")};
    json_t *attributes = NULL;
    int rc = body_need_str(j, "topicName", what, &t.name, e);
    if (!rc)
        rc = body_get_i32(j, "readQueueNums", QUEUE_NUMS_DEFAULT, what, &t.read_queue_nums, e);
    if (!rc)
        rc = body_get_i32(j, "writeQueueNums", QUEUE_NUMS_DEFAULT, what, &t.write_queue_nums, e);
    if (!rc)
        rc = body_get_i32(j, "perm", PERM_READ | PERM_WRITE, what, &t.perm, e);
    if (!rc)
        rc = body_get_i32(j, "topicSysFlag", 0, what, &t.sys_flag, e);
    if (!rc)
        rc = body_get_object(j, "attributes", what, &attributes, e);
    if (rc)
        return rc;
    if (!t.filter_type.p)
        t.filter_type = SLICE_LIT("SINGLE_TAG");
    if (!slice_eq_str(t.filter_type, "SINGLE_TAG") && !slice_eq_str(t.filter_type, "MULTI_TAG"))
        return err_set(e, E_PROTO,
                       "%s: member \"topicFilterType\" is neither SINGLE_TAG nor MULTI_TAG", what);
    t.attributes = attributes;
    *out = t;
    return 0;
}

void group_config_defaults(struct group_config *g, struct slice name)
{
    *g = (struct group_config){.name = name,
                               .consume_enable = true,
                               .consume_from_min_enable = true,
                               .consume_broadcast_enable = true,
                               .notify_consumer_ids_changed_enable = true,
                               .retry_queue_nums = 1,
                               .retry_max_times = 16,
                               .consume_timeout_minute = 15,
                               .broker_id = 0,
                               .which_broker_when_consume_slowly = 1};
}

/* Sets a member that is not there yet; takes `v`. */
static int set_missing(json_t *obj, const char *key, json_t *v)
{
    if (json_object_get(obj, key)) {
        json_decref(v);
        return 0;
    }
    return json_object_set_new(obj, key, v);
}

json_t *group_config_to_json(const struct group_config *g)
{
    json_t *const j = g->other ? json_deep_copy(g->other) : json_object();
    json_t *const known = json_pack(
        "{s:I,s:b,s:b,s:b,s:b,s:i,s:s%,s:i,s:b,s:i,s:i,s:I}", "brokerId", (json_int_t)g->broker_id,
        "consumeBroadcastEnable", g->consume_broadcast_enable, "consumeEnable", g->consume_enable,
        "consumeFromMinEnable", g->consume_from_min_enable, "consumeMessageOrderly",
        g->consume_message_orderly, "consumeTimeoutMinute", g->consume_timeout_minute, "groupName",
        g->name.p, g->name.n, "groupSysFlag", g->group_sys_flag, "notifyConsumerIdsChangedEnable",
        g->notify_consumer_ids_changed_enable, "retryMaxTimes", g->retry_max_times,
        "retryQueueNums", g->retry_queue_nums, "whichBrokerWhenConsumeSlowly",
        (json_int_t)g->which_broker_when_consume_slowly);
    const bool failed =
        !j || !known || json_object_update(j, known) ||
        set_missing(j, "attributes", json_object()) ||
        set_missing(j, "groupRetryPolicy", json_pack("{s:s}", "type", "CUSTOMIZED"));
    json_decref(known);
    if (!failed)
        return j;
    json_decref(j);
    return NULL;
}

int group_config_from_json(const json_t *j, struct group_config *out, struct err *e)
{
    static const char what[] = "group configuration";
    struct group_config g;
    group_config_defaults(&g, SLICE_NULL);
    int rc = body_need_str(j, "groupName", what, &g.name, e);
    if (!rc)
        rc = body_get_i32(j, "retryQueueNums", g.retry_queue_nums, what, &g.retry_queue_nums, e);
    if (!rc)
        rc = body_get_i32(j, "retryMaxTimes", g.retry_max_times, what, &g.retry_max_times, e);
    if (!rc)
        rc = body_get_i32(j, "groupSysFlag", g.group_sys_flag, what, &g.group_sys_flag, e);
    if (!rc)
        rc = body_get_i32(j, "consumeTimeoutMinute", g.consume_timeout_minute, what,
                          &g.consume_timeout_minute, e);
    if (rc)
        return rc;
    g.consume_enable = json_get_bool(j, "consumeEnable", g.consume_enable);
    g.consume_from_min_enable = json_get_bool(j, "consumeFromMinEnable", g.consume_from_min_enable);
    g.consume_broadcast_enable =
        json_get_bool(j, "consumeBroadcastEnable", g.consume_broadcast_enable);
    g.consume_message_orderly =
        json_get_bool(j, "consumeMessageOrderly", g.consume_message_orderly);
    g.notify_consumer_ids_changed_enable =
        json_get_bool(j, "notifyConsumerIdsChangedEnable", g.notify_consumer_ids_changed_enable);
    g.broker_id = json_get_i64(j, "brokerId", g.broker_id);
    g.which_broker_when_consume_slowly =
        json_get_i64(j, "whichBrokerWhenConsumeSlowly", g.which_broker_when_consume_slowly);
    g.other = j;
    *out = g;
    return 0;
}
