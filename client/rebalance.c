/* Who pulls which queue.
 *
 * Clustering: for each subscribed topic a broker is asked for the members of the group (38); every
 * member sorts the list, sorts the queues, and takes its share (assign_avg.c), so that all agree
 * without talking to each other. Broadcasting: every member takes every queue.
 *
 * When: at start, when a broker says that the group changed (40), when a route changed, when a
 * broker has just registered us, every rebalance_ms, and after one second while some topic has not
 * come to an end (no route yet, nobody answered, or we are not in the list yet). Never more often
 * than every 100 ms.
 *
 * A queue that is lost: its offset is committed, its waiting messages are skipped, its running ones
 * ignored. A queue that is won while others are in the group waits half a second before it asks for
 * its offset, so that the previous owner's last commit is there (Java delays its first pull for the
 * same reason).
 *
 * Failure modes: 38 unanswered, code 1 (no members: our heartbeat has not arrived), or a list
 * without us keep the present queues. Taking none would stop consumption because one broker was
 * restarted.
 *
 * Sources: RebalanceImpl, RebalancePushImpl, ConsumerManageProcessor (5.5.0). Runs on: the loop. */
#include <stdlib.h>

#include "client/assign_avg.h"
#include "client/push_priv.h"
#include "proto/body.h"
#include "proto/names.h"

enum { MIN_GAP_MS = 100, UNSETTLED_MS = 1000, HANDOVER_MS = 500, QUEUES_MAX = 65536 };

struct place {
    const char *broker; /* borrowed from the route */
    int32_t id;
};

/* --- queues --- */

void queue_key(struct buf *out, const char *topic, const char *broker, int32_t id)
{
    buf_clear(out);
    buf_printf(out, "%s@%s:%d", topic, broker, id);
}

static void queue_free(struct queue *q)
{
    struct list *l;
    while ((l = list_pop_front(&q->pq.entries))) {
        struct delivery *d = LIST_ENTRY(l, struct delivery, entry.link);
        timer_stop(&d->timer);
        atomic_fetch_sub(&q->k->cached, 1);
        free(d);
    }
    free(q->broker);
    free(q);
}

static struct queue *queue_new(struct hp_consumer *k, struct topic_sub *ts, const char *broker,
                               int32_t id)
{
    struct queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->k = k;
    q->ts = ts;
    q->id = id;
    q->committed = -1;
    pq_init(&q->pq);
    list_init(&q->link);
    list_init(&q->calls);
    timer_init(&q->timer);
    q->broker = slice_dup(slice_str(broker));
    struct buf key;
    buf_init(&key, 0);
    queue_key(&key, ts->sub.topic, broker, id);
    if (!q->broker || buf_error(&key) || map_put(k->queues, buf_slice(&key), q, NULL)) {
        buf_free(&key);
        queue_free(q);
        return NULL;
    }
    buf_free(&key);
    atomic_fetch_add(&k->queue_n, 1);
    return q;
}

void queue_release(struct queue *q)
{
    if (q->in_flight == 0) {
        list_remove(&q->link);
        queue_free(q);
    }
}

/* Out of service, without a commit. */
static void queue_retire(struct queue *q)
{
    struct hp_consumer *k = q->k;
    struct buf key;
    buf_init(&key, 0);
    queue_key(&key, q->ts->sub.topic, q->broker, q->id);
    map_remove(k->queues, buf_slice(&key));
    buf_free(&key);
    atomic_fetch_sub(&k->queue_n, 1);
    atomic_store(&q->dropped, true);
    calls_cancel(&q->calls);
    timer_stop(&q->timer);
    list_push_back(&k->dropped, &q->link);
    queue_release(q);
}

void queue_drop(struct queue *q)
{
    offset_commit(q);
    queue_retire(q);
}

static void on_handover(struct timer *t) { offset_start(LIST_ENTRY(t, struct queue, timer)); }

static bool queue_add(struct hp_consumer *k, struct topic_sub *ts, const struct place *p,
                      int64_t delay_ms)
{
    struct queue *q = queue_new(k, ts, p->broker, p->id);
    if (q)
        timer_start(&k->c->timers, &q->timer, delay_ms, on_handover);
    return q != NULL;
}

void queue_restart(struct queue *q, int64_t offset)
{
    struct hp_consumer *k = q->k;
    struct topic_sub *ts = q->ts;
    char *broker = slice_dup(slice_str(q->broker));
    const int32_t id = q->id;
    queue_retire(q);
    struct queue *fresh = broker ? queue_new(k, ts, broker, id) : NULL;
    free(broker);
    if (!fresh) {
        rebalance_soon(k); /* out of memory: the next rebalance finds the queue missing */
        return;
    }
    pq_start(&fresh->pq, offset);
    offset_commit(fresh);
    pull_next(fresh);
}

/* --- shares --- */

static size_t readable_places(const struct route *r, struct place **out)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < r->queue_n; i++)
        if ((r->queues[i].perm & PERM_READ) && r->queues[i].read_n > 0 &&
            r->queues[i].read_n <= QUEUES_MAX)
            n += (size_t)r->queues[i].read_n;
    *out = calloc(n + 1, sizeof **out);
    if (!*out)
        return 0;
    for (size_t i = 0; i < r->queue_n; i++)
        if ((r->queues[i].perm & PERM_READ) && r->queues[i].read_n <= QUEUES_MAX)
            for (int32_t id = 0; id < r->queues[i].read_n; id++)
                (*out)[at++] = (struct place){r->queues[i].broker, id};
    return at;
}

static bool is_among(const struct queue *q, const struct place *mine, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (q->id == mine[i].id && strcmp(q->broker, mine[i].broker) == 0)
            return true;
    return false;
}

static bool owns(struct hp_consumer *k, const struct topic_sub *ts, const struct place *p,
                 struct buf *key)
{
    queue_key(key, ts->sub.topic, p->broker, p->id);
    return map_get(k->queues, buf_slice(key)) != NULL;
}

static void take_share(struct topic_sub *ts, const struct place *mine, size_t n, size_t members)
{
    struct hp_consumer *k = ts->k;
    struct map_iter it = {0};
    while (map_next(k->queues, &it)) {
        struct queue *q = it.value;
        if (q->ts == ts && !is_among(q, mine, n))
            queue_drop(q);
    }
    struct buf key;
    buf_init(&key, 0);
    bool all = true;
    for (size_t i = 0; i < n; i++)
        if (!owns(k, ts, &mine[i], &key))
            all = queue_add(k, ts, &mine[i], members > 1 ? HANDOVER_MS : 0) && all;
    buf_free(&key);
    ts->settled = all;
}

static int by_text(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    const int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static void share_among(struct topic_sub *ts, struct slice *ids, size_t id_n)
{
    struct hp_client *c = ts->k->c;
    const struct route *r = route_of(c, slice_str(ts->sub.topic));
    struct place *places = NULL;
    const size_t n = r ? readable_places(r, &places) : 0;
    size_t own = 0;
    qsort(ids, id_n, sizeof *ids, by_text);
    while (own < id_n && !slice_eq_str(ids[own], c->client_id))
        own++;
    if (places && own < id_n) {
        const struct share s = assign_avg(n, id_n, own);
        take_share(ts, places + s.first, s.n, id_n);
    }
    free(places);
}

/* --- asking --- */

static void on_timer(struct timer *t);

static void rearm(struct hp_consumer *k)
{
    bool settled = true;
    for (size_t i = 0; i < k->sub_n; i++)
        settled = settled && (k->subs[i]->settled || k->subs[i]->asking);
    const int64_t normal = k->o.rebalance_ms;
    if (!timer_pending(&k->rebalance))
        timer_start(&k->c->timers, &k->rebalance,
                    settled || normal < UNSETTLED_MS ? normal : UNSETTLED_MS, on_timer);
}

static void on_members(void *arg, const struct rpc_result *res)
{
    struct topic_sub *ts = arg;
    struct hp_consumer *k = ts->k;
    struct err e = {0};
    json_t *root = NULL;
    struct slice *ids = NULL;
    size_t n = 0;
    ts->asking = false;
    if (res->status || res->response->code != RESP_SUCCESS) {
        heartbeats_kick(k->c);
    } else if (consumer_list_decode(res->response->body, &root, &ids, &n, &e)) {
        CLIENT_LOG(k->c, HP_LOG_WARN, "members of group %s: %s", k->group, e.text);
    } else {
        share_among(ts, ids, n);
        free(ids);
        json_decref(root);
    }
    if (!ts->settled && timer_pending(&k->rebalance))
        timer_stop(&k->rebalance);
    if (ts->again)
        rebalance_soon(k);
    else
        rearm(k);
}

/* Some broker of the topic: any of them knows the whole group. */
static const char *random_broker(struct hp_client *c, const struct route *r)
{
    const size_t first = (size_t)rng_below(&c->rng, r->broker_n);
    for (size_t i = 0; i < r->broker_n; i++) {
        const char *addr = broker_any_address(broker_of(c, r->brokers[(first + i) % r->broker_n]));
        if (addr)
            return addr;
    }
    return NULL;
}

static void ask_members(struct topic_sub *ts, const struct route *r)
{
    struct hp_consumer *k = ts->k;
    const char *addr = r->broker_n ? random_broker(k->c, r) : NULL;
    const struct hdr_consumer_group hdr = {.consumer_group = slice_str(k->group)};
    const struct rpc_request q = {.address = slice_str(addr),
                                  .code = RC_GET_CONSUMER_LIST_BY_GROUP,
                                  .hdr = &hdr,
                                  .timeout_ms = k->c->request_timeout_ms};
    struct err e = {0};
    if (addr && client_call(k->c, &ts->calls, &q, on_members, ts, &e) == 0)
        ts->asking = true;
}

static void take_all(struct topic_sub *ts, const struct route *r)
{
    struct place *places = NULL;
    const size_t n = readable_places(r, &places);
    if (places)
        take_share(ts, places, n, 1);
    free(places);
}

static void rebalance_topic(struct topic_sub *ts)
{
    struct hp_consumer *k = ts->k;
    struct route *r = route_of(k->c, slice_str(ts->sub.topic));
    if (ts->asking) {
        ts->again = true;
        return;
    }
    ts->again = false;
    ts->settled = false;
    if (!r || r->state != ROUTE_KNOWN)
        return;
    if (k->o.model == HP_BROADCASTING)
        take_all(ts, r);
    else
        ask_members(ts, r);
}

static void on_timer(struct timer *t)
{
    struct hp_consumer *k = LIST_ENTRY(t, struct hp_consumer, rebalance);
    k->rebalanced_ms = clock_mono(k->c->clock);
    for (size_t i = 0; i < k->sub_n; i++)
        rebalance_topic(k->subs[i]);
    rearm(k);
}

void rebalance_soon(struct hp_consumer *k)
{
    if (!consumer_running(k))
        return;
    const int64_t since = clock_mono(k->c->clock) - k->rebalanced_ms;
    timer_start(&k->c->timers, &k->rebalance, since < MIN_GAP_MS ? MIN_GAP_MS - since : 0,
                on_timer);
}

void rebalance_close(struct hp_consumer *k)
{
    timer_stop(&k->rebalance);
    for (size_t i = 0; i < k->sub_n; i++)
        calls_cancel(&k->subs[i]->calls);
}

/* --- what the instance hears --- */

void consumers_group_changed(struct hp_client *c, struct slice group)
{
    LIST_FOREACH(l, &c->consumers)
    {
        struct hp_consumer *k = LIST_ENTRY(l, struct hp_consumer, link);
        if (slice_eq_str(group, k->group))
            rebalance_soon(k);
    }
}

void consumers_route_changed(struct hp_client *c, const struct route *r)
{
    LIST_FOREACH(l, &c->consumers)
    {
        struct hp_consumer *k = LIST_ENTRY(l, struct hp_consumer, link);
        for (size_t i = 0; i < k->sub_n; i++)
            if (strcmp(k->subs[i]->sub.topic, r->topic) == 0)
                rebalance_soon(k);
    }
}

void consumers_registered(struct hp_client *c)
{
    LIST_FOREACH(l, &c->consumers)
        rebalance_soon(LIST_ENTRY(l, struct hp_consumer, link));
}
