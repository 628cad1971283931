/* hp_create_topic: makes a topic on every master of a cluster and waits until it can be used.
 *
 *   clusters from a name server (106) -> 17 to each master -> the route (105), every 100 ms until
 *   it names every one of them, at most until the deadline
 *
 * The whole operation is one object of the calling thread, which waits for the last step. A broker
 * that refuses ends it with that broker's reason; brokers that had agreed keep the topic (creating
 * again is harmless). Source: DefaultMQAdminExt.createAndUpdateTopicConfig. Runs on: the loop,
 * after the call. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "client/client_priv.h"
#include "proto/names.h"

enum { POLL_MS = 100, QUEUES_MAX = 65535, BROKERS_MAX = 1024 };

struct create {
    struct hp_client *c;
    const char *cluster, *topic;
    int queues;
    int64_t deadline_ms;
    struct list calls;
    struct timer timer, poll;
    char *brokers[BROKERS_MAX];
    size_t broker_n, waiting;
    struct route_waiter waiter;
    struct hp_error error;
    struct sync done;
};

static void finish(struct create *x)
{
    calls_cancel(&x->calls);
    timer_stop(&x->timer);
    timer_stop(&x->poll);
    list_remove(&x->waiter.link);
    cluster_info_done(x->c);
    sync_post(&x->done);
}

static void on_timeout(struct timer *t)
{
    struct create *x = LIST_ENTRY(t, struct create, timer);
    if (!x->error.code)
        error_set(&x->error, HP_E_TIMEOUT,
                  "topic %s: no end within the timeout (%zu brokers known, %zu answers missing)",
                  x->topic, x->broker_n, x->waiting);
    finish(x);
}

/* --- the route --- */

static bool is_routed(const struct route *r, const char *broker)
{
    for (size_t i = 0; i < r->queue_n; i++)
        if (strcmp(r->queues[i].broker, broker) == 0)
            return true;
    return false;
}

static void ask_route(struct create *x);

static void on_poll(struct timer *t) { ask_route(LIST_ENTRY(t, struct create, poll)); }

static void on_route(struct route_waiter *w, struct route *r)
{
    struct create *x = LIST_ENTRY(w, struct create, waiter);
    bool all = r->state == ROUTE_KNOWN;
    for (size_t i = 0; all && i < x->broker_n; i++)
        all = is_routed(r, x->brokers[i]);
    if (all)
        finish(x);
    else
        timer_start(&x->c->timers, &x->poll, POLL_MS, on_poll);
}

static void ask_route(struct create *x)
{
    struct route *r = route_of(x->c, slice_str(x->topic));
    x->waiter.fn = on_route;
    if (r)
        route_wait(r, &x->waiter);
    else
        timer_start(&x->c->timers, &x->poll, POLL_MS, on_poll);
}

/* --- the brokers --- */

static void on_created(void *arg, const struct rpc_result *res)
{
    struct create *x = arg;
    if (res->status) {
        error_set(&x->error, public_code(res->status), "creating topic %s at %s: %.180s", x->topic,
                  res->address, res->error.text);
        finish(x);
    } else if (res->response->code != RESP_SUCCESS) {
        const struct slice remark = res->response->remark;
        error_set(&x->error, HP_E_BROKER, "broker %s refused topic %s with code %d: %.*s",
                  res->address, x->topic, res->response->code,
                  (int)(remark.n < 150 ? remark.n : 150), remark.p ? remark.p : "");
        x->error.broker_code = res->response->code;
        finish(x);
    } else if (--x->waiting == 0) {
        ask_route(x);
    }
}

static int create_at(struct create *x, const char *addr, struct err *e)
{
    const struct hdr_create_topic hdr = {
        .topic = slice_str(x->topic),
        .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
        .read_queue_nums = x->queues,
        .write_queue_nums = x->queues,
        .perm = PERM_READ | PERM_WRITE,
        .topic_filter_type = SLICE_LIT("SINGLE_TAG"),
    };
    const struct rpc_request q = {.address = slice_str(addr),
                                  .code = RC_UPDATE_AND_CREATE_TOPIC,
                                  .hdr = &hdr,
                                  .timeout_ms = x->deadline_ms - clock_mono(x->c->clock)};
    return client_call(x->c, &x->calls, &q, on_created, x, e);
}

/* The masters of the cluster. */
static void create_everywhere(struct create *x)
{
    struct map_iter it = {0};
    while (map_next(x->c->routes.brokers, &it)) {
        const struct broker *b = it.value;
        const char *master = broker_address(b, 0);
        struct err e = {0};
        if (!b->from_cluster_info || strcmp(b->cluster, x->cluster) != 0 || !master ||
            x->broker_n == BROKERS_MAX)
            continue;
        x->brokers[x->broker_n] = slice_dup(it.key);
        const int rc = x->brokers[x->broker_n] ? create_at(x, master, &e) : E_NOMEM;
        if (x->brokers[x->broker_n])
            x->broker_n++;
        if (rc) {
            error_from(&x->error, &e, rc, "creating the topic");
            finish(x);
            return;
        }
        x->waiting++;
    }
    if (!x->broker_n) {
        error_set(&x->error, HP_E_NO_ROUTE,
                  "no cluster \"%s\" with a master is known to the name server", x->cluster);
        finish(x);
    }
}

static void on_clusters(void *arg, const struct rpc_result *res)
{
    struct create *x = arg;
    struct err e = res->error;
    int rc = res->status;
    if (!rc && res->response->code != RESP_SUCCESS)
        rc = err_set(&e, E_REMOTE, "code %d", res->response->code);
    if (!rc)
        rc = cluster_info_apply(x->c, res->response->body, &e);
    if (!rc) {
        create_everywhere(x);
        return;
    }
    error_set(&x->error, rc == E_TIMEOUT || rc == E_CLOSED ? HP_E_CONNECT : public_code(rc),
         "asking name server %s for its clusters: %.180s", res->address, e.text);
    finish(x);
}

static void start_on_loop(void *arg)
{
    struct create *x = arg;
    struct err e = {0};
    timer_start(&x->c->timers, &x->timer, x->deadline_ms - clock_mono(x->c->clock), on_timeout);
    const int rc = ns_call(x->c, &x->calls, RC_GET_BROKER_CLUSTER_INFO, SLICE_NULL, on_clusters, x,
                           &e);
    if (rc) {
        error_from(&x->error, &e, rc, "asking for clusters");
        finish(x);
    }
}

int hp_create_topic(hp_client *c, const char *cluster, const char *topic, int queues,
                    int64_t timeout_ms, struct hp_error *err)
{
    struct err e = {0};
    if (!cluster || !*cluster)
        return error_set(
            err, HP_E_INVALID,
            "cluster is empty; brokers are in DefaultCluster unless configured otherwise");
    if (!topic || topic_name_check(slice_str(topic), &e))
        return error_from(err, &e, E_INVAL, "topic");
    if (queues < 1 || queues > QUEUES_MAX)
        return error_set(err, HP_E_INVALID, "queues = %d is not between 1 and %d", queues,
                         QUEUES_MAX);
    if (timeout_ms <= 0)
        return error_set(err, HP_E_INVALID, "timeout_ms has to be positive");
    struct create *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(err, HP_E_NOMEM, "out of memory for creating a topic");
    *x = (struct create){.c = c, .cluster = cluster, .topic = topic, .queues = queues,
                         .deadline_ms = clock_mono(c->clock) + timeout_ms};
    list_init(&x->calls);
    list_init(&x->waiter.link);
    timer_init(&x->timer);
    timer_init(&x->poll);
    int rc = sync_init(&x->done, err);
    if (!rc)
        rc = client_run(c, start_on_loop, x, err);
    if (!rc) {
        sync_wait(&x->done);
        rc = x->error.code;
        if (rc && err)
            *err = x->error;
    }
    for (size_t i = 0; i < x->broker_n; i++)
        free(x->brokers[i]);
    free(x);
    return rc;
}
