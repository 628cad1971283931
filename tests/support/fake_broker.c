/* The scripted name server and brokers.
 *
 * One loop thread serves all of them; one lock guards the state, taken by handlers and by the
 * test's thread for moments only. A pull that finds nothing is parked until a message comes.
 * Requests of one code at one node are counted and kept whole.
 *
 * State is made of small arrays searched linearly: tests have few topics, queues and requests. */
#include "tests/support/fake_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/test.h"

/* --- life --- */

static void open_node(struct fake *f, struct node *n, int index, const struct route *routes,
                      size_t route_n)
{
    struct err e = {0};
    struct loop *loop = &f->loop;
    n->f = f;
    n->index = index;
    const struct server_opts o = {.name = "fake",
                                  .bind_address = "127.0.0.1",
                                  .loops = &loop,
                                  .loop_n = 1,
                                  .routes = routes,
                                  .route_n = route_n,
                                  .owner = n,
                                  .clock = &clock_system,
                                  .on_close = fake_on_close};
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
    open_node(f, &f->namesrv, FAKE_NAMESRV, FAKE_NAMESRV_ROUTES, FAKE_NAMESRV_ROUTE_N);
    for (; f->broker_n < brokers; f->broker_n++)
        open_node(f, &f->brokers[f->broker_n], f->broker_n, FAKE_BROKER_ROUTES,
                  FAKE_BROKER_ROUTE_N);
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
        if (u->node == FAKE_ALL || fake_node_of(f->parked[i])->index == u->node)
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
    fake_copy(f->topics[f->topic_n].name, sizeof f->topics[0].name, slice_str(name));
    f->topics[f->topic_n++].queues = queues;
    uv_mutex_unlock(&f->lock);
}

void fake_unroute(struct fake *f, int broker)
{
    uv_mutex_lock(&f->lock);
    f->brokers[broker].unrouted = true;
    uv_mutex_unlock(&f->lock);
}

void fake_script(struct fake *f, int broker, int code, enum fake_action action, int answer,
                 int times)
{
    uv_mutex_lock(&f->lock);
    assert_true(f->script_n < SCRIPTS_MAX);
    f->scripts[f->script_n++] = (struct script){broker, code, answer, times, action};
    uv_mutex_unlock(&f->lock);
}

int fake_late(struct fake *f)
{
    uv_mutex_lock(&f->lock);
    const int n = f->late_n;
    uv_mutex_unlock(&f->lock);
    return n;
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

static void serve_parked_on_loop(void *arg) { fake_serve_parked(arg); }

void fake_put(struct fake *f, int broker, const char *topic, int queue, const char *props,
              const char *body)
{
    struct message m = {.queue_id = queue,
                        .born_timestamp = 1700000000000,
                        .store_timestamp = 1700000000001,
                        .body = slice_str(body),
                        .topic = slice_str(topic),
                        .properties = slice_str(props)};
    uv_mutex_lock(&f->lock);
    fake_append(f, broker, &m);
    uv_mutex_unlock(&f->lock);
    assert_int_equal(loop_call(&f->loop, serve_parked_on_loop, f), 0);
}

int fake_stored(struct fake *f, int broker, const char *topic)
{
    int n = 0;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->message_n; i++)
        n += (broker == FAKE_ALL || f->messages[i].node == broker) &&
             strcmp(f->messages[i].topic, topic) == 0;
    uv_mutex_unlock(&f->lock);
    return n;
}

int64_t fake_offset(struct fake *f, int broker, const char *group, const char *topic, int queue)
{
    uv_mutex_lock(&f->lock);
    const int64_t v = fake_offset_get(f, broker, slice_str(group), slice_str(topic), queue);
    uv_mutex_unlock(&f->lock);
    return v;
}

void fake_set_offset(struct fake *f, int broker, const char *group, const char *topic, int queue,
                     int64_t offset)
{
    uv_mutex_lock(&f->lock);
    fake_offset_put(f, broker, slice_str(group), slice_str(topic), queue, offset);
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
    snprintf(props, sizeof props, "TRAN_MSG\x01true\x02PGROUP\x01%s\x02UNIQ_KEY\x01U-%s\x02", group,
             body);
    struct message m = {.body_crc = -1,
                        .body = slice_str(body),
                        .topic = slice_str(topic),
                        .properties = slice_str(props),
                        .queue_offset = queue_offset,
                        .phys_offset = phys_offset};
    assert_int_equal(host_parse(slice_str(f->brokers[broker].addr), &m.store_host), 0);
    m.born_host = m.store_host;
    size_t n;
    assert_int_equal(message_prepare(&m, &n), 0);
    char *record = malloc(n);
    assert_non_null(record);
    message_encode(&m, record, n);
    const struct hdr_check_transaction h = {.topic = SLICE_LIT("RMQ_SYS_TRANS_HALF_TOPIC"),
                                            .tran_state_table_offset = queue_offset,
                                            .commit_log_offset = phys_offset,
                                            .broker_name = slice_str(f->brokers[broker].name)};
    bool sent = false;
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->member_n && !sent; i++) {
        const struct member *to = &f->members[i];
        if (to->node == broker && to->producer && strcmp(to->group, group) == 0)
            sent = conn_send_oneway(to->conn, RC_CHECK_TRANSACTION_STATE, &h,
                                    slice_of(record, n)) == 0;
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
        n += f->members[i].node == broker && !f->members[i].producer &&
             strcmp(f->members[i].group, group) == 0;
    uv_mutex_unlock(&f->lock);
    return n;
}
