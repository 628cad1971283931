/* hp_create_topic: makes a topic on every master of a cluster and waits until it can be used.
 *
 *   17 to each master (masters.c) -> the route (105), every 100 ms until it names every one of them, at most
 *   until the deadline
 *
 * A broker that refuses ends it with that broker's reason; brokers that had agreed keep the topic (creating
 * again is harmless). Source: DefaultMQAdminExt.createAndUpdateTopicConfig. Runs on: the loop, after the
 * call. */
#include "client/masters.h"
#include "proto/names.h"

#include <stdio.h>

enum { POLL_MS = 100, QUEUES_MAX = 65535 };

struct create {
    struct masters m;
    const char *topic;
    int queues;
    struct timer poll;
    struct route_waiter waiter;
};

static struct create *create_of(struct masters *m) { return LIST_ENTRY(m, struct create, m); }

static void on_end(struct masters *m)
{
    timer_stop(&create_of(m)->poll);
    list_remove(&create_of(m)->waiter.link);
}

/* --- the route --- */

static bool is_routed(const struct route *r, const char *broker)
{
    for (size_t i = 0; i < r->queue_n; i++)
        if (strcmp(r->queues[i].broker, broker) == 0)
            return true;
    return false;
}

static void ask_route(struct masters *m);

static void on_poll(struct timer *t) { ask_route(&LIST_ENTRY(t, struct create, poll)->m); }

static void on_route(struct route_waiter *w, struct route *r)
{
    struct create *x = LIST_ENTRY(w, struct create, waiter);
    bool all = r->state == ROUTE_KNOWN;
    for (size_t i = 0; all && i < x->m.n; i++)
        all = is_routed(r, x->m.list[i].name);
    if (all)
        masters_finish(&x->m);
    else
        timer_start(&x->m.c->timers, &x->poll, POLL_MS, on_poll);
}

static void ask_route(struct masters *m)
{
    struct create *x = create_of(m);
    struct route *r = route_of(m->c, slice_str(x->topic));
    x->waiter.fn = on_route;
    if (r)
        route_wait(r, &x->waiter);
    else
        timer_start(&m->c->timers, &x->poll, POLL_MS, on_poll);
}

/* --- the brokers --- */

static void on_created(void *arg, const struct rpc_result *res)
{
    if (!masters_refused(arg, res))
        masters_done(arg);
}

static int create_at(struct master *b, struct err *e)
{
    const struct create *x = create_of(b->m);
    const struct hdr_create_topic hdr = {
        .topic = slice_str(x->topic),
        .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
        .read_queue_nums = x->queues,
        .write_queue_nums = x->queues,
        .perm = PERM_READ | PERM_WRITE,
        .topic_filter_type = SLICE_LIT("SINGLE_TAG"),
    };
    const struct rpc_request q = {.code = RC_UPDATE_AND_CREATE_TOPIC, .hdr = &hdr};
    return masters_call(b, &q, on_created, e);
}

int hp_create_topic(hp_client *c, const char *cluster, const char *topic, int queues,
                    int64_t timeout_ms, struct hp_error *err)
{
    struct err e = {0};
    char what[160];
    if (!topic || topic_name_check(slice_str(topic), &e))
        return error_from(err, &e, E_INVAL, "topic");
    if (queues < 1 || queues > QUEUES_MAX)
        return error_set(err, HP_E_INVALID, "queues = %d is not between 1 and %d", queues,
                         QUEUES_MAX);
    (void)snprintf(what, sizeof what, "creating topic %.127s", topic);
    struct create x = {.m = {.c = c,
                             .cluster = cluster,
                             .what = what,
                             .timeout_ms = timeout_ms,
                             .ask = create_at,
                             .then = ask_route,
                             .on_end = on_end},
                       .topic = topic,
                       .queues = queues};
    list_init(&x.waiter.link);
    timer_init(&x.poll);
    return masters_run(&x.m, err);
}
