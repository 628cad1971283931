/* What the scripted servers do with requests: first what is scripted, then the simplest thing that
 * serves a client.
 * Runs on the fake's loop; takes the lock for moments. */
#include "tests/support/fake_priv.h"

#include <stdlib.h>

#include "proto/body.h"
#include "tests/support/test.h"

struct node *fake_node_of(struct req *r) { return server_owner(req_server(r)); }

void fake_copy(char *dst, size_t cap, struct slice s)
{
    if (slice_copy(s, dst, cap))
        dst[0] = '\0';
}

/* --- requests --- */

static void keep(struct fake *f, int node, const struct command *c, bool oneway)
{
    if (f->request_n == REQUESTS_MAX)
        return;
    struct kept *k = &f->requests[f->request_n++];
    *k = (struct kept){node, c->code, oneway, c->ext_n, calloc(c->ext_n + 1, sizeof *k->ext),
                       slice_dup(c->body), c->body.n};
    for (size_t i = 0; i < c->ext_n; i++) {
        k->ext[i].key = slice_of(slice_dup(c->ext[i].key), c->ext[i].key.n);
        k->ext[i].value = slice_of(slice_dup(c->ext[i].value), c->ext[i].value.n);
    }
}

static void take_heartbeat(struct req *r);

static void free_timer(uv_handle_t *t) { free(t); }

static void on_late(uv_timer_t *t)
{
    struct req *r = t->data;
    struct fake *f = fake_node_of(r)->f;
    uv_close((uv_handle_t *)t, free_timer);
    uv_mutex_lock(&f->lock);
    f->late_n--;
    uv_mutex_unlock(&f->lock);
    take_heartbeat(r);
}

static void put_off(struct fake *f, struct req *r, int ms)
{
    uv_timer_t *t = malloc(sizeof *t);
    assert_non_null(t);
    assert_int_equal(req_own_input(r), 0);
    assert_int_equal(uv_timer_init(&f->loop.uv, t), 0);
    t->data = r;
    assert_int_equal(uv_timer_start(t, on_late, (uint64_t)ms, 0), 0);
    uv_mutex_lock(&f->lock);
    f->late_n++;
    uv_mutex_unlock(&f->lock);
}

/* Keeps the request, then does what is scripted for it; true when that was all. Locks. */
static bool scripted(struct req *r)
{
    struct node *node = fake_node_of(r);
    struct fake *f = node->f;
    const struct command *c = req_command(r);
    struct script todo = {.times = 0};
    uv_mutex_lock(&f->lock);
    keep(f, node->index, c, req_oneway(r));
    for (int i = 0; i < f->script_n && !todo.times; i++) {
        struct script *s = &f->scripts[i];
        if (s->node == node->index && s->code == c->code && s->times > 0) {
            todo = *s;
            s->times--;
        }
    }
    uv_mutex_unlock(&f->lock);
    if (!todo.times)
        return false;
    if (todo.action == FAKE_ANSWER) {
        req_replyf(r, todo.answer, "scripted");
        return true;
    }
    if (todo.action == FAKE_LATE) {
        put_off(f, r, todo.answer);
        return true;
    }
    if (todo.action == FAKE_CLOSE)
        conn_close(req_conn(r), "scripted");
    req_discard(r);
    return true;
}

/* --- name server --- */

static void on_route(struct req *r)
{
    struct hdr_get_routeinfo h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct fake *f = fake_node_of(r)->f;
    struct queue_data queues[BROKERS_MAX];
    struct broker_data brokers[BROKERS_MAX];
    struct broker_addr addrs[BROKERS_MAX];
    struct route_data d = {.queues = queues, .brokers = brokers};
    struct buf body;
    buf_init(&body, 0);
    uv_mutex_lock(&f->lock);
    for (int t = 0; t < f->topic_n; t++) {
        if (!slice_eq_str(h.topic, f->topics[t].name))
            continue;
        for (int i = 0; i < f->broker_n; i++) {
            const struct node *b = &f->brokers[i];
            if (b->unrouted)
                continue;
            addrs[i] = (struct broker_addr){0, slice_str(b->addr)};
            brokers[d.broker_n++] = (struct broker_data){.cluster = SLICE_LIT("C"),
                                                         .broker_name = slice_str(b->name),
                                                         .addrs = &addrs[i],
                                                         .addr_n = 1};
            queues[d.queue_n++] = (struct queue_data){slice_str(b->name), f->topics[t].queues,
                                                      f->topics[t].queues, 6, 0};
        }
    }
    const int rc = d.queue_n ? route_data_encode(&d, false, &body) : E_NOTFOUND;
    uv_mutex_unlock(&f->lock);
    if (rc)
        req_replyf(r, RESP_TOPIC_NOT_EXIST, "No topic route info");
    else
        req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
    buf_free(&body);
}

static void on_cluster_info(struct req *r)
{
    if (scripted(r))
        return;
    struct fake *f = fake_node_of(r)->f;
    struct buf body;
    buf_init(&body, 0);
    buf_str(&body, "{\"brokerAddrTable\":{");
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->broker_n; i++)
        buf_printf(&body,
                   "%s\"%s\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"%s\",\"cluster\":\"C\"}",
                   i ? "," : "", f->brokers[i].name, f->brokers[i].addr, f->brokers[i].name);
    uv_mutex_unlock(&f->lock);
    buf_str(&body, "},\"clusterAddrTable\":{}}");
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
    buf_free(&body);
}

/* --- messages --- */

static int64_t max_offset(const struct fake *f, int node, struct slice topic, int queue)
{
    int64_t n = 0;
    for (int i = 0; i < f->message_n; i++) {
        const struct stored *s = &f->messages[i];
        if (s->node == node && s->queue == queue && slice_eq_str(topic, s->topic) &&
            s->queue_offset >= n)
            n = s->queue_offset + 1;
    }
    return n;
}

static int64_t min_offset(const struct fake *f, int node, struct slice topic, int queue)
{
    for (int t = 0; t < f->topic_n; t++)
        if (slice_eq_str(topic, f->topics[t].name))
            return f->topics[t].min[node][queue];
    return 0;
}

struct stored *fake_append(struct fake *f, int node, struct message *m)
{
    assert_true(f->message_n < MESSAGES_MAX);
    struct stored *s = &f->messages[f->message_n];
    int64_t at = max_offset(f, node, m->topic, m->queue_id);
    const int64_t min = min_offset(f, node, m->topic, m->queue_id);
    if (at < min)
        at = min;
    *s = (struct stored){.node = node, .queue = m->queue_id, .queue_offset = at};
    fake_copy(s->topic, sizeof s->topic, m->topic);
    assert_int_equal(host_parse(slice_str(f->brokers[node].addr), &m->store_host), 0);
    m->born_host = m->store_host;
    m->queue_offset = at;
    m->phys_offset = f->message_n * 1000;
    m->body_crc = -1;
    assert_int_equal(message_prepare(m, &s->n), 0);
    s->record = malloc(s->n);
    assert_non_null(s->record);
    message_encode(m, s->record, s->n);
    f->message_n++;
    return s;
}

static void serve_pull(struct req *r, bool may_park);

void fake_serve_parked(struct fake *f)
{
    struct req *all[PARKED_MAX];
    uv_mutex_lock(&f->lock);
    const int n = f->parked_n;
    memcpy(all, f->parked, sizeof all);
    f->parked_n = 0;
    uv_mutex_unlock(&f->lock);
    for (int i = 0; i < n; i++)
        serve_pull(all[i], true);
}

/* Under the lock: records of a queue from an offset on; returns how many. */
static int collect(const struct fake *f, int node, const struct hdr_pull_message *h,
                   struct buf *body, int64_t *next)
{
    int n = 0;
    for (int i = 0; i < f->message_n && n < BATCH; i++) {
        const struct stored *s = &f->messages[i];
        if (s->node != node || s->queue != h->queue_id || !slice_eq_str(h->topic, s->topic) ||
            s->queue_offset < *next)
            continue;
        buf_add(body, s->record, s->n);
        *next = s->queue_offset + 1;
        n++;
    }
    return n;
}

void fake_offset_put(struct fake *f, int node, struct slice group, struct slice topic, int queue,
                     int64_t value)
{
    for (int i = 0; i < f->offset_n; i++) {
        struct offset *o = &f->offsets[i];
        if (o->node == node && o->queue == queue && slice_eq_str(group, o->group) &&
            slice_eq_str(topic, o->topic)) {
            o->value = value;
            return;
        }
    }
    assert_true(f->offset_n < OFFSETS_MAX);
    struct offset *o = &f->offsets[f->offset_n++];
    *o = (struct offset){.node = node, .queue = queue, .value = value};
    fake_copy(o->group, sizeof o->group, group);
    fake_copy(o->topic, sizeof o->topic, topic);
}

static void serve_pull(struct req *r, bool may_park)
{
    struct node *node = fake_node_of(r);
    struct fake *f = node->f;
    struct hdr_pull_message h;
    if (req_header(r, &h))
        return;
    struct buf body;
    buf_init(&body, 0);
    uv_mutex_lock(&f->lock);
    const int64_t min = min_offset(f, node->index, h.topic, h.queue_id);
    int64_t next = h.queue_offset;
    const int64_t end = max_offset(f, node->index, h.topic, h.queue_id);
    if (h.sys_flag & 1)
        fake_offset_put(f, node->index, h.consumer_group, h.topic, h.queue_id, h.commit_offset);
    int32_t code = RESP_PULL_OFFSET_MOVED;
    if (h.queue_offset < min)
        next = min;
    else
        code = collect(f, node->index, &h, &body, &next) ? RESP_SUCCESS : RESP_PULL_NOT_FOUND;
    const bool park = code == RESP_PULL_NOT_FOUND && may_park && !f->stopping &&
                      f->parked_n < PARKED_MAX;
    if (park && req_own_input(r) == 0)
        f->parked[f->parked_n++] = r;
    const bool stopping = f->stopping;
    uv_mutex_unlock(&f->lock);
    if (stopping)
        req_discard(r);
    else if (!park)
        req_reply_buf(r, code, NULL, &(struct hdr_pull_message_resp){0, next, min, end, 0, 0},
                      &body);
    buf_free(&body);
}

static void on_pull(struct req *r)
{
    if (!scripted(r))
        serve_pull(r, true);
}

static void store_send(struct req *r, const struct hdr_send_message *h, struct slice body,
                       struct slice props, struct hdr_send_message_resp *resp, char id[MSG_ID_MAX])
{
    struct node *node = fake_node_of(r);
    struct message m = {.queue_id = h->queue_id,
                        .flag = h->flag,
                        .sys_flag = h->sys_flag & ~SYSFLAG_TX_MASK,
                        .born_timestamp = h->born_timestamp,
                        .store_timestamp = h->born_timestamp,
                        .reconsume_times = h->reconsume_times,
                        .body = body,
                        .topic = h->topic,
                        .properties = props};
    uv_mutex_lock(&node->f->lock);
    const struct stored *s = fake_append(node->f, node->index, &m);
    resp->queue_offset = s->queue_offset;
    offset_msg_id(&m.store_host, m.phys_offset, id);
    uv_mutex_unlock(&node->f->lock);
}

static void on_send(struct req *r)
{
    struct hdr_send_message h;
    char id[MSG_ID_MAX] = "";
    if (scripted(r) || req_header(r, &h))
        return;
    struct hdr_send_message_resp resp = {.queue_id = h.queue_id};
    const struct slice body = req_command(r)->body;
    if (h.batch) {
        struct slice rest = body;
        struct batch_item item;
        while (rest.n && batch_next(&rest, &item, NULL) == 0)
            store_send(r, &h, item.body, item.properties, &resp, id);
    } else {
        store_send(r, &h, body, h.properties, &resp, id);
    }
    resp.msg_id = slice_str(id);
    struct fake *f = fake_node_of(r)->f;
    req_reply(r, RESP_SUCCESS, NULL, &resp);
    fake_serve_parked(f);
}

/* --- groups, offsets --- */

static void notify(struct fake *f, int node, const char *group)
{
    const struct hdr_consumer_group h = {slice_str(group)};
    for (int i = 0; i < f->member_n; i++)
        if (f->members[i].node == node && !f->members[i].producer &&
            strcmp(f->members[i].group, group) == 0)
            (void)(conn_send_oneway(f->members[i].conn, RC_NOTIFY_CONSUMER_IDS_CHANGED, &h,
                                    SLICE_NULL) == 0);
}

static bool add_member(struct fake *f, int node, struct conn *c, struct slice client,
                       struct slice group, bool producer)
{
    for (int i = 0; i < f->member_n; i++)
        if (f->members[i].conn == c && f->members[i].producer == producer &&
            slice_eq_str(group, f->members[i].group))
            return false;
    assert_true(f->member_n < MEMBERS_MAX);
    struct member *m = &f->members[f->member_n++];
    *m = (struct member){.node = node, .conn = c, .producer = producer};
    fake_copy(m->group, sizeof m->group, group);
    fake_copy(m->client, sizeof m->client, client);
    return true;
}

static void take_heartbeat(struct req *r)
{
    struct heartbeat h;
    struct node *node = fake_node_of(r);
    struct fake *f = node->f;
    if (heartbeat_decode(req_command(r)->body, &h, NULL)) {
        req_replyf(r, RESP_SYSTEM_ERROR, "bad heartbeat");
        return;
    }
    uv_mutex_lock(&f->lock);
    for (size_t i = 0; i < h.producer_n; i++)
        add_member(f, node->index, req_conn(r), h.client_id, h.producers[i], true);
    for (size_t i = 0; i < h.consumer_n; i++) {
        char group[160];
        fake_copy(group, sizeof group, h.consumers[i].group);
        if (add_member(f, node->index, req_conn(r), h.client_id, h.consumers[i].group, false))
            notify(f, node->index, group);
    }
    uv_mutex_unlock(&f->lock);
    heartbeat_free(&h);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_heartbeat(struct req *r)
{
    if (!scripted(r))
        take_heartbeat(r);
}

/* Takes members out, tells the rest. group null: all of the connection. */
static void remove_members(struct fake *f, const struct conn *c, struct slice group, bool producer)
{
    for (int i = 0; i < f->member_n;) {
        const struct member m = f->members[i];
        if (m.conn != c || (group.p && (m.producer != producer || !slice_eq_str(group, m.group)))) {
            i++;
            continue;
        }
        f->members[i] = f->members[--f->member_n];
        if (!m.producer)
            notify(f, m.node, m.group);
    }
}

void fake_on_close(struct server *s, struct conn *c)
{
    struct fake *f = ((struct node *)server_owner(s))->f;
    uv_mutex_lock(&f->lock);
    remove_members(f, c, SLICE_NULL, false);
    uv_mutex_unlock(&f->lock);
}

static void on_unregister(struct req *r)
{
    struct hdr_unregister_client h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct fake *f = fake_node_of(r)->f;
    uv_mutex_lock(&f->lock);
    if (h.producer_group.n)
        remove_members(f, req_conn(r), h.producer_group, true);
    if (h.consumer_group.n)
        remove_members(f, req_conn(r), h.consumer_group, false);
    uv_mutex_unlock(&f->lock);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_members(struct req *r)
{
    struct hdr_consumer_group h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = fake_node_of(r);
    struct fake *f = node->f;
    struct slice ids[MEMBERS_MAX];
    size_t n = 0;
    struct buf body;
    buf_init(&body, 0);
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->member_n; i++)
        if (f->members[i].node == node->index && !f->members[i].producer &&
            slice_eq_str(h.consumer_group, f->members[i].group))
            ids[n++] = slice_str(f->members[i].client);
    const int rc = n ? consumer_list_encode(ids, n, &body) : E_NOTFOUND;
    uv_mutex_unlock(&f->lock);
    if (rc)
        req_replyf(r, RESP_SYSTEM_ERROR, "no consumer for this group");
    else
        req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
    buf_free(&body);
}

int64_t fake_offset_get(struct fake *f, int node, struct slice group, struct slice topic, int queue)
{
    for (int i = 0; i < f->offset_n; i++) {
        const struct offset *o = &f->offsets[i];
        if (o->node == node && o->queue == queue && slice_eq_str(group, o->group) &&
            slice_eq_str(topic, o->topic))
            return o->value;
    }
    return -1;
}

static void on_query_offset(struct req *r)
{
    struct hdr_query_consumer_offset h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = fake_node_of(r);
    uv_mutex_lock(&node->f->lock);
    const int64_t v = fake_offset_get(node->f, node->index, h.consumer_group, h.topic, h.queue_id);
    uv_mutex_unlock(&node->f->lock);
    if (v < 0)
        req_replyf(r, RESP_QUERY_NOT_FOUND, "Not found");
    else
        req_reply(r, RESP_SUCCESS, NULL, &(struct hdr_offset_resp){v});
}

static void on_update_offset(struct req *r)
{
    struct hdr_update_consumer_offset h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = fake_node_of(r);
    uv_mutex_lock(&node->f->lock);
    fake_offset_put(node->f, node->index, h.consumer_group, h.topic, h.queue_id, h.commit_offset);
    uv_mutex_unlock(&node->f->lock);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_max_offset(struct req *r)
{
    struct hdr_topic_queue h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = fake_node_of(r);
    uv_mutex_lock(&node->f->lock);
    const int64_t v = max_offset(node->f, node->index, h.topic, h.queue_id);
    uv_mutex_unlock(&node->f->lock);
    req_reply(r, RESP_SUCCESS, NULL, &(struct hdr_offset_resp){v});
}

static void on_plain(struct req *r)
{
    if (!scripted(r))
        req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_create_topic(struct req *r)
{
    struct hdr_create_topic h;
    if (scripted(r) || req_header(r, &h))
        return;
    char name[160];
    fake_copy(name, sizeof name, h.topic);
    fake_topic(fake_node_of(r)->f, name, h.write_queue_nums);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_group_config(struct req *r)
{
    if (!scripted(r))
        req_replyf(r, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
}

/* Brokers agree in messageDelayLevel and differ in brokerName. */
static void on_config(struct req *r)
{
    if (scripted(r))
        return;
    struct buf body;
    buf_init(&body, 0);
    buf_printf(&body, "brokerName=%s\nmessageDelayLevel=1s 5s=odd\r\nempty=\n", fake_node_of(r)->name);
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
    buf_free(&body);
}

/* --- routes --- */

const struct route FAKE_NAMESRV_ROUTES[FAKE_NAMESRV_ROUTE_N] = {
    {RC_GET_ROUTEINFO_BY_TOPIC, on_route, ROUTE_CLIENT},
    {RC_GET_BROKER_CLUSTER_INFO, on_cluster_info, ROUTE_CLIENT},
};
const struct route FAKE_BROKER_ROUTES[FAKE_BROKER_ROUTE_N] = {
    {RC_SEND_MESSAGE_V2, on_send, ROUTE_WRITE},
    {RC_SEND_BATCH_MESSAGE, on_send, ROUTE_WRITE},
    {RC_PULL_MESSAGE, on_pull, ROUTE_READ},
    {RC_HEART_BEAT, on_heartbeat, ROUTE_CLIENT},
    {RC_UNREGISTER_CLIENT, on_unregister, ROUTE_CLIENT},
    {RC_GET_CONSUMER_LIST_BY_GROUP, on_members, ROUTE_CLIENT},
    {RC_QUERY_CONSUMER_OFFSET, on_query_offset, ROUTE_CLIENT},
    {RC_UPDATE_CONSUMER_OFFSET, on_update_offset, ROUTE_CLIENT},
    {RC_GET_MAX_OFFSET, on_max_offset, ROUTE_CLIENT},
    {RC_CONSUMER_SEND_MSG_BACK, on_plain, ROUTE_WRITE},
    {RC_END_TRANSACTION, on_plain, ROUTE_WRITE},
    {RC_UPDATE_AND_CREATE_TOPIC, on_create_topic, ROUTE_ADMIN},
    {RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, on_plain, ROUTE_ADMIN},
    {RC_GET_SUBSCRIPTIONGROUP_CONFIG, on_group_config, ROUTE_ADMIN},
    {RC_GET_BROKER_CONFIG, on_config, ROUTE_ADMIN},
};
