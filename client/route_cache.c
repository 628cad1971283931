/* Where topics live.
 *
 * One entry for each topic that a producer or consumer of this instance uses, asked from a name
 * server (code 105) when first needed, every route_refresh_ms after that, and at once when a send
 * or a pull at one of its brokers failed. Many askers share one question: they wait in the entry's
 * list.
 *
 * Happy path: route_of -> unasked -> route_wait -> ns_call -> on_route -> apply -> waiters run.
 * Failure modes:
 *  - no name server answers: the entry keeps what it knew (old routes beat none), `error` says why,
 *    waiters run and decide;
 *  - code 17: the topic has no route; one that was known stays;
 *  - an answer that does not parse counts as not answered.
 * After any of these a consumer's topic is asked again after one second, doubling up to
 * route_refresh_ms: a topic that a consumer waits for usually appears soon. An entry nobody
 * subscribes to and nobody used for ten minutes is dropped.
 *
 * Invariants: `writable` borrows from `queues`; both are replaced together. Waiters run from a
 * local list, so they may wait again. Runs on: the loop. */
#include <stdlib.h>

#include "client/brokers.h"
#include "proto/names.h"

enum { UNUSED_DROP_MS = 600000, SUSPECT_GAP_MS = 100, MISSING_RETRY_MS = 1000, TICK_MS = 500 };

static void route_clear(struct route *r)
{
    for (size_t i = 0; i < r->queue_n; i++)
        free(r->queues[i].broker);
    for (size_t i = 0; i < r->broker_n; i++)
        free(r->brokers[i]);
    free(r->queues);
    free(r->brokers);
    free(r->writable);
    r->queues = NULL;
    r->brokers = NULL;
    r->writable = NULL;
    r->queue_n = r->broker_n = r->writable_n = 0;
}

static void route_free(void *p)
{
    struct route *r = p;
    calls_cancel(&r->calls);
    timer_stop(&r->timer);
    route_clear(r);
    free(r->topic);
    free(r);
}

struct route *route_of(struct hp_client *c, struct slice topic)
{
    struct route *r = map_get(c->routes.routes, topic);
    if (r) {
        r->used_ms = clock_mono(c->clock);
        return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->c = c;
    list_init(&r->waiters);
    list_init(&r->calls);
    timer_init(&r->timer);
    r->used_ms = clock_mono(c->clock);
    r->topic = slice_dup(topic);
    if (!r->topic || map_put(c->routes.routes, topic, r, NULL)) {
        route_free(r);
        return NULL;
    }
    return r;
}

static int by_broker(const void *a, const void *b)
{
    return strcmp(((const struct route_queue *)a)->broker, ((const struct route_queue *)b)->broker);
}

static bool data_has_master(const struct route_data *d, struct slice broker)
{
    for (size_t i = 0; i < d->broker_n; i++) {
        if (!slice_eq(d->brokers[i].broker_name, broker))
            continue;
        for (size_t k = 0; k < d->brokers[i].addr_n; k++)
            if (d->brokers[i].addrs[k].id == 0)
                return true;
    }
    return false;
}

/* Copies what the answer says into the (empty) route *r. */
static int copy_data(struct route *r, const struct route_data *d)
{
    r->queues = calloc(d->queue_n + 1, sizeof *r->queues);
    r->brokers = calloc(d->broker_n + 1, sizeof *r->brokers);
    if (!r->queues || !r->brokers)
        return E_NOMEM;
    for (size_t i = 0; i < d->queue_n; i++) {
        const struct queue_data *q = &d->queues[i];
        struct route_queue *mine = &r->queues[r->queue_n];
        *mine = (struct route_queue){slice_dup(q->broker_name), q->read_queue_nums,
                                     q->write_queue_nums, q->perm,
                                     data_has_master(d, q->broker_name)};
        if (!mine->broker)
            return E_NOMEM;
        r->queue_n++;
    }
    for (size_t i = 0; i < d->broker_n; i++) {
        if (!(r->brokers[i] = slice_dup(d->brokers[i].broker_name)))
            return E_NOMEM;
        r->broker_n++;
    }
    qsort(r->queues, r->queue_n, sizeof *r->queues, by_broker);
    return 0;
}

enum { QUEUES_MAX = 65536 }; /* of one topic at one broker; a larger number is a lie */

static int add_writable(struct route *r, const struct route_queue *q, int32_t n)
{
    if (n <= 0 || n > QUEUES_MAX)
        return 0;
    struct write_queue *w = realloc(r->writable, (r->writable_n + (size_t)n) * sizeof *w);
    if (!w)
        return E_NOMEM;
    r->writable = w;
    for (int32_t i = 0; i < n; i++)
        w[r->writable_n++] = (struct write_queue){q->broker, i};
    return 0;
}

/* "broker-a:4;broker-b:4": exactly these queues, whatever the queue data say. */
static int add_ordered(struct route *r, struct slice conf)
{
    struct slice item;
    int rc = 0;
    while (!rc && slice_cut(&conf, ';', &item)) {
        struct slice rest = item, name;
        int32_t n;
        if (!slice_cut(&rest, ':', &name) || slice_i32(rest, &n))
            continue;
        for (size_t i = 0; !rc && i < r->queue_n; i++)
            if (slice_eq_str(name, r->queues[i].broker) && r->queues[i].has_master)
                rc = add_writable(r, &r->queues[i], n);
    }
    return rc;
}

static int fill_writable(struct route *r, const struct route_data *d)
{
    if (d->order_conf.n)
        return add_ordered(r, d->order_conf);
    int rc = 0;
    for (size_t i = 0; !rc && i < r->queue_n; i++)
        if ((r->queues[i].perm & PERM_WRITE) && r->queues[i].has_master)
            rc = add_writable(r, &r->queues[i], r->queues[i].write_n);
    return rc;
}

static bool same_queues(const struct route *a, const struct route *b)
{
    if (a->queue_n != b->queue_n)
        return false;
    for (size_t i = 0; i < a->queue_n; i++) {
        const struct route_queue *x = &a->queues[i], *y = &b->queues[i];
        if (strcmp(x->broker, y->broker) != 0 || x->read_n != y->read_n || x->perm != y->perm)
            return false;
    }
    return true;
}

static void swap_content(struct route *a, struct route *b)
{
    const struct route t = *a;
    a->queues = b->queues;
    a->queue_n = b->queue_n;
    a->brokers = b->brokers;
    a->broker_n = b->broker_n;
    a->writable = b->writable;
    a->writable_n = b->writable_n;
    b->queues = t.queues;
    b->queue_n = t.queue_n;
    b->brokers = t.brokers;
    b->broker_n = t.broker_n;
    b->writable = t.writable;
    b->writable_n = t.writable_n;
}

/* On failure the route stays as it was and r->error says why. */
static void apply(struct route *r, struct slice body)
{
    struct route_data d;
    int rc = route_data_decode(body, &d, &r->error);
    if (rc)
        return;
    struct route fresh = {0};
    rc = copy_data(&fresh, &d);
    if (!rc)
        rc = fill_writable(&fresh, &d);
    for (size_t i = 0; !rc && i < d.broker_n; i++)
        if (!broker_apply(r->c, &d.brokers[i]))
            rc = E_NOMEM;
    route_data_free(&d);
    if (rc) {
        route_clear(&fresh);
        err_set(&r->error, rc, "out of memory for the route of %s", r->topic);
        return;
    }
    const bool changed = r->state != ROUTE_KNOWN || !same_queues(r, &fresh);
    swap_content(r, &fresh);
    route_clear(&fresh);
    r->state = ROUTE_KNOWN;
    r->misses = 0;
    brokers_sweep(r->c);
    heartbeats_kick(r->c);
    if (changed)
        consumers_route_changed(r->c, r);
}

/* A route that was known stays in use, as in the Java client: a name server that was just restarted
 * knows nothing for a while, and a topic that is really gone is refused by its brokers. */
static void set_missing(struct route *r)
{
    r->misses++;
    if (r->state != ROUTE_KNOWN)
        r->state = ROUTE_MISSING;
}

static void answer_waiters(struct route *r)
{
    struct list ready, *l;
    list_move_all(&r->waiters, &ready);
    while ((l = list_pop_front(&ready))) {
        struct route_waiter *w = LIST_ENTRY(l, struct route_waiter, link);
        w->fn(w, r);
    }
}

static void on_route(void *arg, const struct rpc_result *res)
{
    struct route *r = arg;
    r->asking = false;
    r->asked_ms = clock_mono(r->c->clock);
    if (res->status)
        r->error = res->error;
    else if (res->response->code == RESP_SUCCESS)
        apply(r, res->response->body);
    else if (res->response->code == RESP_TOPIC_NOT_EXIST)
        set_missing(r);
    else
        err_set(&r->error, E_REMOTE, "name server %s answers %d to the route of %s: " SLICE_FMT,
                res->address, res->response->code, r->topic, SLICE_ARG(res->response->remark));
    if (res->status && !r->error.code)
        err_set(&r->error, res->status, "no name server answers");
    if (r->error.code)
        r->misses++;
    if (r->error.code && r->error.code != E_SHUTDOWN)
        CLIENT_LOG(r->c, HP_LOG_WARN, "route of %s: %s", r->topic, r->error.text);
    answer_waiters(r);
}

static void on_not_asked(struct timer *t)
{
    answer_waiters(LIST_ENTRY(t, struct route, timer));
}

void route_refresh(struct route *r)
{
    if (r->asking)
        return;
    struct hp_client *c = r->c;
    r->asked_ms = clock_mono(c->clock);
    r->error = (struct err){0};
    if (ns_call(c, &r->calls, RC_GET_ROUTEINFO_BY_TOPIC, slice_str(r->topic), on_route, r,
                &r->error) == 0)
        r->asking = true;
    else
        timer_start(&c->timers, &r->timer, 0,
                    on_not_asked); /* waiters never run inside route_wait */
}

void route_wait(struct route *r, struct route_waiter *w)
{
    list_push_back(&r->waiters, &w->link);
    route_refresh(r);
}

void route_suspect(struct hp_client *c, struct slice topic)
{
    struct route *r = map_get(c->routes.routes, topic);
    if (r && clock_mono(c->clock) - r->asked_ms >= SUSPECT_GAP_MS)
        route_refresh(r);
}

static void on_cluster_info(void *arg, const struct rpc_result *res)
{
    struct hp_client *c = arg;
    struct err e = res->error;
    int rc = res->status;
    if (!rc && res->response->code != RESP_SUCCESS)
        rc = err_set(&e, E_REMOTE, "code %d", res->response->code);
    if (!rc)
        rc = cluster_info_apply(c, res->response->body, &e);
    if (rc && rc != E_SHUTDOWN)
        CLIENT_LOG(c, HP_LOG_WARN, "cluster information: %s", e.text);
    heartbeats_kick(c);
}

static void ask_cluster_info(struct hp_client *c)
{
    struct err e = {0};
    c->routes.cluster_info_ms = clock_mono(c->clock);
    if (calls_idle(&c->routes.calls) && ns_call(c, &c->routes.calls, RC_GET_BROKER_CLUSTER_INFO,
                                                SLICE_NULL, on_cluster_info, c, &e))
        CLIENT_LOG(c, HP_LOG_WARN, "cluster information: %s", e.text);
}

void cluster_info_want(struct hp_client *c)
{
    c->routes.cluster_info_wanted = true;
    ask_cluster_info(c);
}

/* How long the entry may stay as it is. */
static int64_t refresh_after(const struct route *r)
{
    const int64_t normal = r->c->route_refresh_ms;
    if (!r->subscribers || !r->misses)
        return normal;
    const int64_t soon = (int64_t)MISSING_RETRY_MS << ((r->misses < 10 ? r->misses : 10) - 1);
    return soon < normal ? soon : normal;
}

static void on_tick(struct timer *t)
{
    struct route_cache *rc = LIST_ENTRY(t, struct route_cache, timer);
    struct hp_client *c = LIST_ENTRY(rc, struct hp_client, routes);
    const int64_t now = clock_mono(c->clock);
    struct map_iter it = {0};
    while (map_next(rc->routes, &it)) {
        struct route *r = it.value;
        if (!r->subscribers && !r->asking && list_empty(&r->waiters) &&
            now - r->used_ms > UNUSED_DROP_MS) {
            map_remove(rc->routes, it.key);
            route_free(r);
        } else if (r->state != ROUTE_UNASKED && now - r->asked_ms >= refresh_after(r)) {
            route_refresh(r);
        }
    }
    if (rc->cluster_info_wanted && now - rc->cluster_info_ms >= c->route_refresh_ms)
        ask_cluster_info(c);
    timer_start(&c->timers, t, TICK_MS, on_tick);
}

int routes_open(struct hp_client *c)
{
    struct route_cache *rc = &c->routes;
    rc->routes = map_new();
    rc->brokers = map_new();
    timer_init(&rc->timer);
    list_init(&rc->calls);
    if (!rc->routes || !rc->brokers)
        return E_NOMEM;
    timer_start(&c->timers, &rc->timer, TICK_MS, on_tick);
    return 0;
}

void routes_close(struct hp_client *c)
{
    calls_cancel(&c->routes.calls);
    timer_stop(&c->routes.timer);
    if (c->routes.routes)
        map_free(c->routes.routes, route_free);
    if (c->routes.brokers)
        map_free(c->routes.brokers, broker_free);
}
