/* What clients and tools ask the name server: routes, the brokers, the topics.
 *
 * Owns: nothing. Runs on: the name server's loop; every handler answers at once.
 *
 * Source: ClientRequestProcessor, DefaultRequestProcessor of 5.5.0. */
#include <stdlib.h>

#include "namesrv/namesrv_priv.h"
#include "proto/text.h"

static void reply_body(struct req *r, int rc, struct buf *body)
{
    if (rc == 0 && buf_error(body) == 0) {
        req_reply_buf(r, RESP_SUCCESS, NULL, NULL, body);
        return;
    }
    buf_free(body);
    req_reply(r, RESP_SYSTEM_ERROR, err_text(rc != 0 ? rc : E_NOMEM), NULL);
}

/* --- 105 --- */

static struct slice wanted_zone(const struct command *c)
{
    struct slice zone = slice_trim(command_ext(c, "__ZONE_NAME"));
    return slice_bool(command_ext(c, "__ZONE_MODE")) && zone.n > 0 ? zone : SLICE_NULL;
}

void on_get_route(struct req *r)
{
    struct hdr_get_routeinfo h;
    if (req_header(r, &h) != 0)
        return;
    struct namesrv *n = namesrv_of(r);
    if (namesrv_now(n) < n->ready_at_ms) {
        req_reply(r, RESP_SYSTEM_ERROR, "name server not ready", NULL);
        return;
    }
    const struct command *c = req_command(r);
    struct route_data route;
    int rc = route_table_query(n->routes, h.topic, wanted_zone(c), &route);
    if (rc == E_NOTFOUND) {
        char topic[300];
        if (slice_copy(h.topic, topic, sizeof topic) != 0)
            snprintf(topic, sizeof topic, "(a name of %zu bytes)", h.topic.n);
        req_replyf(r, RESP_TOPIC_NOT_EXIST,
                   "No topic route info in name server for the topic: %s\n"
                   "No registered broker holds it: create it, or start its broker.", topic);
        return;
    }
    struct buf body;
    buf_init(&body, 0);
    bool legacy = c->version < MQ_VERSION_4_9_4 && !h.accept_standard_json_only;
    if (rc == 0) {
        rc = route_data_encode(&route, legacy, &body);
        route_data_free(&route);
    }
    reply_body(r, rc, &body);
}

/* --- 106 --- */

static void add_addresses(const struct broker_data *b, struct buf *out)
{
    buf_str(out, "{\"brokerAddrs\":{");
    for (size_t i = 0; i < b->addr_n; i++) {
        if (i > 0)
            buf_char(out, ',');
        buf_i64_text(out, b->addrs[i].id); /* bare integer names, whoever asks */
        buf_char(out, ':');
        json_ascii_add(out, b->addrs[i].addr);
    }
    buf_str(out, "},\"brokerName\":");
    json_ascii_add(out, b->broker_name);
    buf_str(out, ",\"cluster\":");
    json_ascii_add(out, b->cluster);
    buf_str(out, b->enable_acting_master ? ",\"enableActingMaster\":true" : ",\"enableActingMaster\":false");
    if (b->zone.p != NULL) {
        buf_str(out, ",\"zoneName\":");
        json_ascii_add(out, b->zone);
    }
    buf_char(out, '}');
}

/* The names of one cluster, once, where its first broker stands. */
static void add_cluster(const struct route_data *d, size_t first, struct buf *out)
{
    struct slice cluster = d->brokers[first].cluster;
    for (size_t i = 0; i < first; i++)
        if (slice_eq(d->brokers[i].cluster, cluster))
            return;
    if (first > 0)
        buf_char(out, ',');
    json_ascii_add(out, cluster);
    buf_str(out, ":[");
    for (size_t i = first, n = 0; i < d->broker_n; i++) {
        if (!slice_eq(d->brokers[i].cluster, cluster))
            continue;
        if (n++ > 0)
            buf_char(out, ',');
        json_ascii_add(out, d->brokers[i].broker_name);
    }
    buf_char(out, ']');
}

void on_get_cluster_info(struct req *r)
{
    struct route_data d = {0};
    struct buf body;
    buf_init(&body, 0);
    int rc = route_table_brokers(namesrv_of(r)->routes, &d);
    buf_str(&body, "{\"brokerAddrTable\":{");
    for (size_t i = 0; i < d.broker_n; i++) {
        if (i > 0)
            buf_char(&body, ',');
        json_ascii_add(&body, d.brokers[i].broker_name);
        buf_char(&body, ':');
        add_addresses(&d.brokers[i], &body);
    }
    buf_str(&body, "},\"clusterAddrTable\":{");
    for (size_t i = 0; i < d.broker_n; i++)
        add_cluster(&d, i, &body);
    buf_str(&body, "}}");
    route_data_free(&d);
    reply_body(r, rc, &body);
}

/* --- 206 --- */

void on_get_all_topics(struct req *r)
{
    struct namesrv *n = namesrv_of(r);
    if (!n->all_topic_list_enable) {
        req_reply(r, RESP_SYSTEM_ERROR, "disable", NULL);
        return;
    }
    struct slice *topics = NULL;
    size_t topic_n = 0;
    int rc = route_table_topics(n->routes, &topics, &topic_n);
    struct buf body;
    buf_init(&body, 0);
    buf_str(&body, "{\"topicList\":[");
    for (size_t i = 0; i < topic_n; i++) {
        if (i > 0)
            buf_char(&body, ',');
        json_ascii_add(&body, topics[i]);
    }
    buf_str(&body, "]}");
    free(topics);
    reply_body(r, rc, &body);
}
