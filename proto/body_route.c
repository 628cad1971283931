/* Routes (answer to 105): which brokers serve a topic, with how many queues.
 *
 * Two dialects of the same text. Standard: every member name quoted, non-ASCII escaped. Legacy, for
 * askers older than 4.9.4 that did not ask for standard: broker ids as bare integers,
 * {0:"ip:port"}. jansson cannot write the latter, so both are written here by hand; members are in
 * alphabetical order.
 *
 * Any thread. A decoded route_data owns its tree, its arrays and nothing else; broker addresses
 * come sorted by id, so the master (0) is first. Failure modes: E_PROTO (which member), E_NOMEM.
 * Source: TopicRouteData, QueueData, BrokerData of 5.5.0. */
#include <stdlib.h>

#include "proto/body_json.h"
#include "proto/text.h"

static const char what[] = "route";

static int read_queues(const json_t *list, struct route_data *out, struct err *e)
{
    size_t i;
    json_t *j;
    int rc = body_alloc(json_array_size(list), sizeof *out->queues, what, &out->queues, e);
    json_array_foreach(list, i, j) {
        struct queue_data *const q = &out->queues[i];
        if (!rc)
            rc = body_need_str(j, "brokerName", "route: queueDatas", &q->broker_name, e);
        if (!rc)
            rc = body_get_i32(j, "readQueueNums", 0, what, &q->read_queue_nums, e);
        if (!rc)
            rc = body_get_i32(j, "writeQueueNums", 0, what, &q->write_queue_nums, e);
        if (!rc)
            rc = body_get_i32(j, "perm", 0, what, &q->perm, e);
        if (!rc)
            rc = body_get_i32(j, "topicSysFlag", 0, what, &q->sys_flag, e);
        if (rc)
            return rc;
        out->queue_n++;
    }
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    const int64_t x = ((const struct broker_addr *)a)->id, y = ((const struct broker_addr *)b)->id;
    return (x > y) - (x < y);
}

static int read_addrs(json_t *addrs, struct broker_data *b, struct err *e)
{
    const char *id;
    json_t *addr;
    const int rc = body_alloc(json_object_size(addrs), sizeof *b->addrs, what, &b->addrs, e);
    if (rc)
        return rc;
    json_object_foreach(addrs, id, addr) {
        struct broker_addr *const a = &b->addrs[b->addr_n];
        if (slice_i64(slice_str(id), &a->id) || !json_string_length(addr))
            return err_set(e, E_PROTO,
                           "%s: brokerAddrs of " SLICE_FMT " has an entry \"%s\" that is not "
                           "a broker id with an address",
                           what, SLICE_ARG(b->broker_name), id);
        a->addr = json_slice(addr);
        b->addr_n++;
    }
    qsort(b->addrs, b->addr_n, sizeof *b->addrs, compare_ids);
    return 0;
}

static int read_brokers(const json_t *list, struct route_data *out, struct err *e)
{
    size_t i;
    json_t *j, *addrs = NULL;
    int rc = body_alloc(json_array_size(list), sizeof *out->brokers, what, &out->brokers, e);
    json_array_foreach(list, i, j) {
        struct broker_data *const b = &out->brokers[i];
        if (rc)
            break;
        out->broker_n++;
        b->cluster = json_get_str(j, "cluster");
        b->enable_acting_master = json_get_bool(j, "enableActingMaster", false);
        b->zone = json_get_str(j, "zoneName");
        rc = body_need_str(j, "brokerName", "route: brokerDatas", &b->broker_name, e);
        if (!rc)
            rc = body_get_object(j, "brokerAddrs", "route: brokerDatas", &addrs, e);
        if (!rc)
            rc = read_addrs(addrs, b, e);
    }
    return rc;
}

int route_data_decode(struct slice body, struct route_data *out, struct err *e)
{
    struct route_data r = {0};
    const json_t *queues, *brokers;
    int rc = body_parse(body, what, &r.root, e);
    if (rc)
        return rc;
    rc = body_get_array(r.root, "queueDatas", what, &queues, e);
    if (!rc)
        rc = body_get_array(r.root, "brokerDatas", what, &brokers, e);
    if (!rc)
        rc = read_queues(queues, &r, e);
    if (!rc)
        rc = read_brokers(brokers, &r, e);
    r.order_conf = json_get_str(r.root, "orderTopicConf");
    if (rc)
        route_data_free(&r);
    else
        *out = r;
    return rc;
}

void route_data_free(struct route_data *r)
{
    for (size_t i = 0; i < r->broker_n; i++)
        free(r->brokers[i].addrs);
    free(r->brokers);
    free(r->queues);
    json_decref(r->root);
    *r = (struct route_data){0};
}

static void broker_add(const struct broker_data *b, bool legacy, struct buf *out)
{
    buf_str(out, "{\"brokerAddrs\":{");
    for (size_t i = 0; i < b->addr_n; i++) {
        buf_printf(out, legacy ? "%s%lld:" : "%s\"%lld\":", i ? "," : "",
                   (long long)b->addrs[i].id);
        json_ascii_add(out, b->addrs[i].addr);
    }
    buf_str(out, "},\"brokerName\":");
    json_ascii_add(out, b->broker_name);
    if (b->cluster.p) {
        buf_str(out, ",\"cluster\":");
        json_ascii_add(out, b->cluster);
    }
    buf_printf(out, ",\"enableActingMaster\":%s", b->enable_acting_master ? "true" : "false");
    if (b->zone.p) {
        buf_str(out, ",\"zoneName\":");
        json_ascii_add(out, b->zone);
    }
    buf_char(out, '}');
}

static void queue_add(const struct queue_data *q, struct buf *out)
{
    buf_str(out, "{\"brokerName\":");
    json_ascii_add(out, q->broker_name);
    buf_printf(out, ",\"perm\":%d,\"readQueueNums\":%d,\"topicSysFlag\":%d,\"writeQueueNums\":%d}",
               q->perm, q->read_queue_nums, q->sys_flag, q->write_queue_nums);
}

int route_data_encode(const struct route_data *r, bool legacy, struct buf *out)
{
    buf_str(out, "{\"brokerDatas\":[");
    for (size_t i = 0; i < r->broker_n; i++) {
        buf_str(out, i ? "," : "");
        broker_add(&r->brokers[i], legacy, out);
    }
    buf_str(out, "],\"filterServerTable\":{}");
    if (r->order_conf.p) {
        buf_str(out, ",\"orderTopicConf\":");
        json_ascii_add(out, r->order_conf);
    }
    buf_str(out, ",\"queueDatas\":[");
    for (size_t i = 0; i < r->queue_n; i++) {
        buf_str(out, i ? "," : "");
        queue_add(&r->queues[i], out);
    }
    buf_str(out, "]}");
    return buf_error(out);
}
