#pragma once
/* JSON bodies. Decoders give structs whose slices borrow from the JSON tree kept in `root` (free with
 * the matching _free); encoders append compact JSON with sorted members, as fastjson does.
 * E_PROTO from every decoder says which member is wrong. */
#include "base/buf.h"
#include "base/json.h"

struct data_version {
    int64_t state_version, timestamp, counter;
};
static inline bool data_version_eq(struct data_version a, struct data_version b)
{
    return a.state_version == b.state_version && a.timestamp == b.timestamp && a.counter == b.counter;
}
json_t *data_version_to_json(struct data_version v); /* new reference, NULL when memory is out */
struct data_version data_version_from_json(const json_t *j);

/* One topic's configuration: topics.json and the registration body. */
struct topic_config {
    struct slice name;
    int32_t read_queue_nums, write_queue_nums, perm, sys_flag;
    bool order;
    struct slice filter_type; /* "SINGLE_TAG" or "MULTI_TAG" */
    const json_t *attributes; /* borrowed object or NULL */
};
json_t *topic_config_to_json(const struct topic_config *t);
int topic_config_from_json(const json_t *j, struct topic_config *out, struct err *e) HP_MUST_USE;

/* 103 request body: topic table + data version. Both the JSON and the compressed form (zlib; also
 * when the header says compressed=false but the body starts with 0x78, as 5.5.0 sends it). */
struct register_body {
    json_t *root;
    struct data_version version;
    struct topic_config *topics;
    size_t topic_n;
};
int register_body_decode(struct slice body, bool compressed, int32_t sender_version,
                         struct register_body *out, struct err *e) HP_MUST_USE;
void register_body_free(struct register_body *b);
int register_body_encode(const struct topic_config *topics, size_t n, struct data_version v, struct buf *out) HP_MUST_USE;

/* 105 response: TopicRouteData. */
struct queue_data {
    struct slice broker_name;
    int32_t read_queue_nums, write_queue_nums, perm, sys_flag;
};
struct broker_addr { int64_t id; struct slice addr; };
struct broker_data {
    struct slice cluster, broker_name;
    struct broker_addr *addrs;
    size_t addr_n;
    bool enable_acting_master;
    struct slice zone; /* null when absent */
};
struct route_data {
    json_t *root;
    struct queue_data *queues;
    size_t queue_n;
    struct broker_data *brokers;
    size_t broker_n;
    struct slice order_conf; /* null when absent */
};
int route_data_decode(struct slice body, struct route_data *out, struct err *e) HP_MUST_USE;
void route_data_free(struct route_data *r);
/* legacy: integer member names unquoted, for askers older than 4.9.4 that did not ask for standard. */
int route_data_encode(const struct route_data *r, bool legacy, struct buf *out) HP_MUST_USE;

/* 34 request. */
struct heartbeat_sub {
    struct slice topic, sub_string, expression_type; /* type null = TAG */
    int64_t version;
};
struct heartbeat_consumer {
    struct slice group;
    struct slice consume_type;   /* CONSUME_ACTIVELY, CONSUME_PASSIVELY, CONSUME_POP */
    struct slice message_model;  /* CLUSTERING, BROADCASTING */
    struct slice from_where;
    bool unit_mode;
    struct heartbeat_sub *subs;
    size_t sub_n;
};
struct heartbeat {
    json_t *root;
    struct slice client_id;
    int32_t fingerprint;
    bool without_sub;
    struct slice *producers;
    size_t producer_n;
    struct heartbeat_consumer *consumers;
    size_t consumer_n;
};
int heartbeat_decode(struct slice body, struct heartbeat *out, struct err *e) HP_MUST_USE;
void heartbeat_free(struct heartbeat *h);
/* tagsSet and codeSet are derived from sub_string. */
int heartbeat_encode(const struct heartbeat *h, struct buf *out) HP_MUST_USE;

/* 38 response {"consumerIdList":[...]}. */
int consumer_list_encode(const struct slice *ids, size_t n, struct buf *out) HP_MUST_USE;
int consumer_list_decode(struct slice body, json_t **root, struct slice **ids, size_t *n, struct err *e) HP_MUST_USE;

/* 41 / 42 request, 41 response. */
struct mq_ref { struct slice topic, broker_name; int32_t queue_id; };
struct lock_body {
    json_t *root;
    struct slice group, client_id;
    struct mq_ref *queues;
    size_t queue_n;
};
int lock_body_decode(struct slice body, struct lock_body *out, struct err *e) HP_MUST_USE;
void lock_body_free(struct lock_body *b);
int lock_body_encode(const struct lock_body *b, struct buf *out) HP_MUST_USE;
int lock_ok_encode(const struct mq_ref *queues, size_t n, struct buf *out) HP_MUST_USE;
int lock_ok_decode(struct slice body, json_t **root, struct mq_ref **queues, size_t *n, struct err *e) HP_MUST_USE;

/* 200 request and subscriptionGroup.json. */
struct group_config {
    struct slice name;
    bool consume_enable, consume_from_min_enable, consume_broadcast_enable, notify_consumer_ids_changed_enable;
    bool consume_message_orderly;
    int32_t retry_queue_nums, retry_max_times, group_sys_flag, consume_timeout_minute;
    int64_t broker_id, which_broker_when_consume_slowly;
    const json_t *other; /* borrowed: the whole object as received, members we do not interpret are kept */
};
void group_config_defaults(struct group_config *g, struct slice name); /* upstream's defaults */
json_t *group_config_to_json(const struct group_config *g);
int group_config_from_json(const json_t *j, struct group_config *out, struct err *e) HP_MUST_USE;
