/* The scripted name server and brokers.
 *
 * One loop thread serves all of them; one lock guards the state, taken by handlers and by the test's thread for
 * moments only. A pull that finds nothing is parked until a message comes. Requests of one code at one node are
 * counted and kept whole.
 *
 * State is made of small arrays searched linearly: tests have few topics, queues and requests. */
#include "tests/support/fake_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/buf.h"
#include "proto/body.h"
#include "proto/message.h"
#include "remoting/server.h"
#include "tests/support/test.h"

enum { BROKERS_MAX = 4, TOPICS_MAX = 32, QUEUES_MAX = 16, MESSAGES_MAX = 4096, REQUESTS_MAX = 8192, SCRIPTS_MAX = 64,
       OFFSETS_MAX = 256, MEMBERS_MAX = 64, PARKED_MAX = 256, BATCH = 32 };

struct kept {
    int node, code;
    bool oneway;
    size_t ext_n;
    struct ext_field *ext;
    char *body;
    size_t body_n;
};
struct script {
    int node, code, answer, times;
    enum fake_action action;
};
struct stored {
    int node, queue;
    char topic[160];
    int64_t queue_offset;
    char *record;
    size_t n;
};
struct offset {
    int node, queue;
    char group[160], topic[160];
    int64_t value;
};
struct member {
    int node;
    struct conn *conn; /* alive: removed by on_close */
    bool producer;
    char group[160], client[160];
};
struct node {
    struct fake *f;
    int index; /* FAKE_NAMESRV or broker number */
    struct server *server;
    char name[16], addr[32];
    bool unrouted, killed;
};
struct fake {
    struct loop loop;
    uv_mutex_t lock;
    struct node namesrv, brokers[BROKERS_MAX];
    int broker_n;
    bool stopping;
    struct {
        char name[160];
        int queues;
        int64_t min[BROKERS_MAX][QUEUES_MAX];
    } topics[TOPICS_MAX];
    int topic_n;
    struct script scripts[SCRIPTS_MAX];
    int script_n;
    struct kept *requests;
    int request_n;
    struct stored *messages;
    int message_n;
    struct offset offsets[OFFSETS_MAX];
    int offset_n;
    struct member members[MEMBERS_MAX];
    int member_n;
    struct req *parked[PARKED_MAX];
    int parked_n;
};

static struct node *node_of(struct req *r) { return server_owner(req_server(r)); }

static void copy(char *dst, size_t cap, struct slice s)
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

/* Keeps the request, then does what is scripted for it; true when that was all. Locks. */
static bool scripted(struct req *r)
{
    struct node *node = node_of(r);
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
    struct fake *f = node_of(r)->f;
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
            brokers[d.broker_n++] = (struct broker_data){
                .cluster = SLICE_LIT("C"), .broker_name = slice_str(b->name), .addrs = &addrs[i], .addr_n = 1};
            queues[d.queue_n++] =
                (struct queue_data){slice_str(b->name), f->topics[t].queues, f->topics[t].queues, 6, 0};
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
    struct fake *f = node_of(r)->f;
    struct buf body;
    buf_init(&body, 0);
    buf_str(&body, "{\"brokerAddrTable\":{");
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->broker_n; i++)
        buf_printf(&body, "%s\"%s\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"%s\",\"cluster\":\"C\"}", i ? "," : "",
                   f->brokers[i].name, f->brokers[i].addr, f->brokers[i].name);
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
        if (s->node == node && s->queue == queue && slice_eq_str(topic, s->topic) && s->queue_offset >= n)
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

static struct stored *append(struct fake *f, int node, struct message *m)
{
    assert_true(f->message_n < MESSAGES_MAX);
    struct stored *s = &f->messages[f->message_n];
    int64_t at = max_offset(f, node, m->topic, m->queue_id);
    const int64_t min = min_offset(f, node, m->topic, m->queue_id);
    if (at < min)
        at = min;
    *s = (struct stored){.node = node, .queue = m->queue_id, .queue_offset = at};
    copy(s->topic, sizeof s->topic, m->topic);
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

static void serve_parked(struct fake *f)
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
static int collect(const struct fake *f, int node, const struct hdr_pull_message *h, struct buf *body, int64_t *next)
{
    int n = 0;
    for (int i = 0; i < f->message_n && n < BATCH; i++) {
        const struct stored *s = &f->messages[i];
        if (s->node != node || s->queue != h->queue_id || !slice_eq_str(h->topic, s->topic) || s->queue_offset < *next)
            continue;
        buf_add(body, s->record, s->n);
        *next = s->queue_offset + 1;
        n++;
    }
    return n;
}

static void set_offset(struct fake *f, int node, struct slice group, struct slice topic, int queue, int64_t value)
{
    for (int i = 0; i < f->offset_n; i++) {
        struct offset *o = &f->offsets[i];
        if (o->node == node && o->queue == queue && slice_eq_str(group, o->group) && slice_eq_str(topic, o->topic)) {
            o->value = value;
            return;
        }
    }
    assert_true(f->offset_n < OFFSETS_MAX);
    struct offset *o = &f->offsets[f->offset_n++];
    *o = (struct offset){.node = node, .queue = queue, .value = value};
    copy(o->group, sizeof o->group, group);
    copy(o->topic, sizeof o->topic, topic);
}

static void serve_pull(struct req *r, bool may_park)
{
    struct node *node = node_of(r);
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
        set_offset(f, node->index, h.consumer_group, h.topic, h.queue_id, h.commit_offset);
    int32_t code = RESP_PULL_OFFSET_MOVED;
    if (h.queue_offset < min)
        next = min;
    else
        code = collect(f, node->index, &h, &body, &next) ? RESP_SUCCESS : RESP_PULL_NOT_FOUND;
    const bool park = code == RESP_PULL_NOT_FOUND && may_park && !f->stopping && f->parked_n < PARKED_MAX;
    if (park && req_own_input(r) == 0)
        f->parked[f->parked_n++] = r;
    const bool stopping = f->stopping;
    uv_mutex_unlock(&f->lock);
    if (stopping)
        req_discard(r);
    else if (!park)
        req_reply_buf(r, code, NULL, &(struct hdr_pull_message_resp){0, next, min, end, 0, 0}, &body);
    buf_free(&body);
}

static void on_pull(struct req *r)
{
    if (!scripted(r))
        serve_pull(r, true);
}

static void store_send(struct req *r, const struct hdr_send_message *h, struct slice body, struct slice props,
                       struct hdr_send_message_resp *resp, char id[MSG_ID_MAX])
{
    struct node *node = node_of(r);
    struct message m = {.queue_id = h->queue_id, .flag = h->flag, .sys_flag = h->sys_flag & ~SYSFLAG_TX_MASK,
                        .born_timestamp = h->born_timestamp, .store_timestamp = h->born_timestamp,
                        .reconsume_times = h->reconsume_times, .body = body, .topic = h->topic, .properties = props};
    uv_mutex_lock(&node->f->lock);
    const struct stored *s = append(node->f, node->index, &m);
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
    struct fake *f = node_of(r)->f;
    req_reply(r, RESP_SUCCESS, NULL, &resp);
    serve_parked(f);
}

/* --- groups, offsets --- */

static void notify(struct fake *f, int node, const char *group)
{
    const struct hdr_consumer_group h = {slice_str(group)};
    for (int i = 0; i < f->member_n; i++)
        if (f->members[i].node == node && !f->members[i].producer && strcmp(f->members[i].group, group) == 0)
            (void)(conn_send_oneway(f->members[i].conn, RC_NOTIFY_CONSUMER_IDS_CHANGED, &h, SLICE_NULL) == 0);
}

static bool add_member(struct fake *f, int node, struct conn *c, struct slice client, struct slice group, bool producer)
{
    for (int i = 0; i < f->member_n; i++)
        if (f->members[i].conn == c && f->members[i].producer == producer && slice_eq_str(group, f->members[i].group))
            return false;
    assert_true(f->member_n < MEMBERS_MAX);
    struct member *m = &f->members[f->member_n++];
    *m = (struct member){.node = node, .conn = c, .producer = producer};
    copy(m->group, sizeof m->group, group);
    copy(m->client, sizeof m->client, client);
    return true;
}

static void on_heartbeat(struct req *r)
{
    struct heartbeat h;
    if (scripted(r))
        return;
    struct node *node = node_of(r);
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
        copy(group, sizeof group, h.consumers[i].group);
        if (add_member(f, node->index, req_conn(r), h.client_id, h.consumers[i].group, false))
            notify(f, node->index, group);
    }
    uv_mutex_unlock(&f->lock);
    heartbeat_free(&h);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
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

static void on_close(struct server *s, struct conn *c)
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
    struct fake *f = node_of(r)->f;
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
    struct node *node = node_of(r);
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

static int64_t offset_value(struct fake *f, int node, struct slice group, struct slice topic, int queue)
{
    for (int i = 0; i < f->offset_n; i++) {
        const struct offset *o = &f->offsets[i];
        if (o->node == node && o->queue == queue && slice_eq_str(group, o->group) && slice_eq_str(topic, o->topic))
            return o->value;
    }
    return -1;
}

static void on_query_offset(struct req *r)
{
    struct hdr_query_consumer_offset h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = node_of(r);
    uv_mutex_lock(&node->f->lock);
    const int64_t v = offset_value(node->f, node->index, h.consumer_group, h.topic, h.queue_id);
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
    struct node *node = node_of(r);
    uv_mutex_lock(&node->f->lock);
    set_offset(node->f, node->index, h.consumer_group, h.topic, h.queue_id, h.commit_offset);
    uv_mutex_unlock(&node->f->lock);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static void on_max_offset(struct req *r)
{
    struct hdr_topic_queue h;
    if (scripted(r) || req_header(r, &h))
        return;
    struct node *node = node_of(r);
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
    copy(name, sizeof name, h.topic);
    fake_topic(node_of(r)->f, name, h.write_queue_nums);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

/* --- life --- */

static const struct route NAMESRV_ROUTES[] = {
    {RC_GET_ROUTEINFO_BY_TOPIC, on_route, ROUTE_CLIENT},
    {RC_GET_BROKER_CLUSTER_INFO, on_cluster_info, ROUTE_CLIENT},
};
static const struct route BROKER_ROUTES[] = {
    {RC_SEND_MESSAGE_V2, on_send, ROUTE_WRITE},       {RC_SEND_BATCH_MESSAGE, on_send, ROUTE_WRITE},
    {RC_PULL_MESSAGE, on_pull, ROUTE_READ},           {RC_HEART_BEAT, on_heartbeat, ROUTE_CLIENT},
    {RC_UNREGISTER_CLIENT, on_unregister, ROUTE_CLIENT},
    {RC_GET_CONSUMER_LIST_BY_GROUP, on_members, ROUTE_CLIENT},
    {RC_QUERY_CONSUMER_OFFSET, on_query_offset, ROUTE_CLIENT},
    {RC_UPDATE_CONSUMER_OFFSET, on_update_offset, ROUTE_CLIENT},
    {RC_GET_MAX_OFFSET, on_max_offset, ROUTE_CLIENT}, {RC_CONSUMER_SEND_MSG_BACK, on_plain, ROUTE_WRITE},
    {RC_END_TRANSACTION, on_plain, ROUTE_WRITE},      {RC_UPDATE_AND_CREATE_TOPIC, on_create_topic, ROUTE_ADMIN},
};

static void open_node(struct fake *f, struct node *n, int index, const struct route *routes, size_t route_n)
{
    struct err e = {0};
    struct loop *loop = &f->loop;
    n->f = f;
    n->index = index;
    const struct server_opts o = {.name = "fake", .bind_address = "127.0.0.1", .loops = &loop, .loop_n = 1,
                                  .routes = routes, .route_n = route_n, .owner = n, .clock = &clock_system,
                                  .on_close = on_close};
    assert_ok(server_open(&n->server, &o, &e), &e);
    snprintf(n->name, sizeof n->name, "broker-%c", (char)('a' + index));
    snprintf(n->addr, sizeof n->addr, "127.0.0.1:%d", server_port(n->server));
}

struct fake *fake_start(int brokers)
{
    struct err e = {0};
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->requests = calloc(REQUESTS_MAX, sizeof *f->requests);
    f->messages = calloc(MESSAGES_MAX, sizeof *f->messages);
    assert_non_null(f->requests);
    assert_non_null(f->messages);
    uv_mutex_init(&f->lock);
    assert_ok(loop_start(&f->loop, "fake", 0, &e), &e);
    open_node(f, &f->namesrv, FAKE_NAMESRV, NAMESRV_ROUTES, sizeof NAMESRV_ROUTES / sizeof *NAMESRV_ROUTES);
    for (; f->broker_n < brokers; f->broker_n++)
        open_node(f, &f->brokers[f->broker_n], f->broker_n, BROKER_ROUTES, sizeof BROKER_ROUTES / sizeof *BROKER_ROUTES);
    return f;
}

/* On the loop: parked pulls of one node (or all) are given up. */
struct unpark {
    struct fake *f;
    int node;
};

static void unpark(void *arg)
{
    struct unpark *u = arg;
    struct fake *f = u->f;
    struct req *gone[PARKED_MAX];
    int n = 0, left = 0;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->parked_n; i++) {
        if (u->node == FAKE_ALL || node_of(f->parked[i])->index == u->node)
            gone[n++] = f->parked[i];
        else
            f->parked[left++] = f->parked[i];
    }
    f->parked_n = left;
    uv_mutex_unlock(&f->lock);
    for (int i = 0; i < n; i++)
        req_discard(gone[i]);
}

void fake_stop(struct fake *f)
{
    uv_mutex_lock(&f->lock);
    f->stopping = true;
    uv_mutex_unlock(&f->lock);
    assert_int_equal(loop_call(&f->loop, unpark, &(struct unpark){f, FAKE_ALL}), 0);
    server_close(f->namesrv.server);
    for (int i = 0; i < f->broker_n; i++)
        if (!f->brokers[i].killed)
            server_close(f->brokers[i].server);
    loop_stop(&f->loop);
    for (int i = 0; i < f->request_n; i++) {
        for (size_t k = 0; k < f->requests[i].ext_n; k++) {
            free((char *)(uintptr_t)f->requests[i].ext[k].key.p);
            free((char *)(uintptr_t)f->requests[i].ext[k].value.p);
        }
        free(f->requests[i].ext);
        free(f->requests[i].body);
    }
    for (int i = 0; i < f->message_n; i++)
        free(f->messages[i].record);
    free(f->requests);
    free(f->messages);
    uv_mutex_destroy(&f->lock);
    free(f);
}

void fake_kill(struct fake *f, int broker)
{
    struct node *n = &f->brokers[broker];
    assert_int_equal(loop_call(&f->loop, unpark, &(struct unpark){f, broker}), 0);
    n->killed = true;
    server_close(n->server);
}

const char *fake_namesrv(const struct fake *f) { return f->namesrv.addr; }

/* --- the test's side --- */

void fake_topic(struct fake *f, const char *name, int queues)
{
    uv_mutex_lock(&f->lock);
    assert_true(f->topic_n < TOPICS_MAX && queues <= QUEUES_MAX);
    copy(f->topics[f->topic_n].name, sizeof f->topics[0].name, slice_str(name));
    f->topics[f->topic_n++].queues = queues;
    uv_mutex_unlock(&f->lock);
}

void fake_unroute(struct fake *f, int broker)
{
    uv_mutex_lock(&f->lock);
    f->brokers[broker].unrouted = true;
    uv_mutex_unlock(&f->lock);
}

void fake_script(struct fake *f, int broker, int code, enum fake_action action, int answer, int times)
{
    uv_mutex_lock(&f->lock);
    assert_true(f->script_n < SCRIPTS_MAX);
    f->scripts[f->script_n++] = (struct script){broker, code, answer, times, action};
    uv_mutex_unlock(&f->lock);
}

static const struct kept *find(struct fake *f, int broker, int code, int nth)
{
    for (int i = 0; i < f->request_n; i++) {
        const struct kept *k = &f->requests[i];
        if (k->code == code && (broker == FAKE_ALL || k->node == broker) && nth-- == 0)
            return k;
    }
    return NULL;
}

int fake_seen(struct fake *f, int broker, int code)
{
    int n = 0;
    uv_mutex_lock(&f->lock);
    while (find(f, broker, code, n))
        n++;
    uv_mutex_unlock(&f->lock);
    return n;
}

char *fake_field(struct fake *f, int broker, int code, int nth, const char *key)
{
    char *value = NULL;
    uv_mutex_lock(&f->lock);
    const struct kept *k = find(f, broker, code, nth);
    for (size_t i = 0; k && i < k->ext_n; i++)
        if (slice_eq_str(k->ext[i].key, key))
            value = slice_dup(k->ext[i].value);
    uv_mutex_unlock(&f->lock);
    return value;
}

bool fake_oneway(struct fake *f, int broker, int code, int nth)
{
    uv_mutex_lock(&f->lock);
    const struct kept *k = find(f, broker, code, nth);
    const bool oneway = k && k->oneway;
    uv_mutex_unlock(&f->lock);
    return oneway;
}

char *fake_body(struct fake *f, int broker, int code, int nth, size_t *n)
{
    char *body = NULL;
    uv_mutex_lock(&f->lock);
    const struct kept *k = find(f, broker, code, nth);
    if (k) {
        body = slice_dup(slice_of(k->body, k->body_n));
        *n = k->body_n;
    }
    uv_mutex_unlock(&f->lock);
    return body;
}

static void serve_parked_on_loop(void *arg) { serve_parked(arg); }

void fake_put(struct fake *f, int broker, const char *topic, int queue, const char *props, const char *body)
{
    struct message m = {.queue_id = queue, .born_timestamp = 1700000000000, .store_timestamp = 1700000000001,
                        .body = slice_str(body), .topic = slice_str(topic), .properties = slice_str(props)};
    uv_mutex_lock(&f->lock);
    append(f, broker, &m);
    uv_mutex_unlock(&f->lock);
    assert_int_equal(loop_call(&f->loop, serve_parked_on_loop, f), 0);
}

int fake_stored(struct fake *f, int broker, const char *topic)
{
    int n = 0;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->message_n; i++)
        n += (broker == FAKE_ALL || f->messages[i].node == broker) && strcmp(f->messages[i].topic, topic) == 0;
    uv_mutex_unlock(&f->lock);
    return n;
}

int64_t fake_offset(struct fake *f, int broker, const char *group, const char *topic, int queue)
{
    uv_mutex_lock(&f->lock);
    const int64_t v = offset_value(f, broker, slice_str(group), slice_str(topic), queue);
    uv_mutex_unlock(&f->lock);
    return v;
}

void fake_set_offset(struct fake *f, int broker, const char *group, const char *topic, int queue, int64_t offset)
{
    uv_mutex_lock(&f->lock);
    set_offset(f, broker, slice_str(group), slice_str(topic), queue, offset);
    uv_mutex_unlock(&f->lock);
}

void fake_set_min(struct fake *f, int broker, const char *topic, int queue, int64_t min)
{
    uv_mutex_lock(&f->lock);
    for (int t = 0; t < f->topic_n; t++)
        if (strcmp(f->topics[t].name, topic) == 0)
            f->topics[t].min[broker][queue] = min;
    uv_mutex_unlock(&f->lock);
}

bool fake_check(struct fake *f, int broker, const char *group, const char *topic, const char *body,
                int64_t queue_offset, int64_t phys_offset)
{
    char props[256];
    snprintf(props, sizeof props, "TRAN_MSG\x01true\x02PGROUP\x01%s\x02UNIQ_KEY\x01U-%s\x02", group, body);
    struct message m = {.body_crc = -1, .body = slice_str(body), .topic = slice_str(topic), .properties = slice_str(props),
                        .queue_offset = queue_offset, .phys_offset = phys_offset};
    assert_int_equal(host_parse(slice_str(f->brokers[broker].addr), &m.store_host), 0);
    m.born_host = m.store_host;
    size_t n;
    assert_int_equal(message_prepare(&m, &n), 0);
    char *record = malloc(n);
    assert_non_null(record);
    message_encode(&m, record, n);
    const struct hdr_check_transaction h = {.topic = SLICE_LIT("RMQ_SYS_TRANS_HALF_TOPIC"),
                                            .tran_state_table_offset = queue_offset, .commit_log_offset = phys_offset,
                                            .broker_name = slice_str(f->brokers[broker].name)};
    bool sent = false;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->member_n && !sent; i++) {
        const struct member *to = &f->members[i];
        if (to->node == broker && to->producer && strcmp(to->group, group) == 0)
            sent = conn_send_oneway(to->conn, RC_CHECK_TRANSACTION_STATE, &h, slice_of(record, n)) == 0;
    }
    uv_mutex_unlock(&f->lock);
    free(record);
    return sent;
}

int fake_members(struct fake *f, int broker, const char *group)
{
    int n = 0;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->member_n; i++)
        n += f->members[i].node == broker && !f->members[i].producer && strcmp(f->members[i].group, group) == 0;
    uv_mutex_unlock(&f->lock);
    return n;
}
