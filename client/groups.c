/* What the brokers are told about this instance's groups: heartbeat bodies, and 35 when one leaves.
 *
 * A body names every producer and consumer of the instance, because the last heartbeat of a
 * connection replaces what the broker knew of it. Leaving is best effort: a broker that does not
 * hear 35 forgets the group when the connection ends or after 120 s, so the answers are waited for
 * but not judged; each has the ordinary request timeout as its bound.
 *
 * 35 follows the answers to the heartbeats that name the group. Apache's broker handles the two in
 * different threads: a heartbeat that is handled after 35, even after the end of the connection,
 * brings the group back, and for 120 s nobody gets the queues of a member that is gone.
 *
 * Invariant: `done` of unregister_group runs exactly once, after the last answer, possibly before
 * it returns (when no broker knows this instance).
 * Sources: MQClientInstance.prepareHeartbeatData, unregisterClient (5.5.0). Runs on: the loop. */
#include "client/groups.h"

#include <stdlib.h>

#include "client/producer_priv.h"
#include "client/push_priv.h"
#include "proto/body.h"

static struct slice from_where(enum hp_consume_from from)
{
    switch (from) {
    case HP_FROM_FIRST: return SLICE_LIT("CONSUME_FROM_FIRST_OFFSET");
    case HP_FROM_TIMESTAMP: return SLICE_LIT("CONSUME_FROM_TIMESTAMP");
    case HP_FROM_LAST: break;
    }
    return SLICE_LIT("CONSUME_FROM_LAST_OFFSET");
}

static int fill_consumer(const struct hp_consumer *k, struct heartbeat_consumer *out)
{
    *out = (struct heartbeat_consumer){
        .group = slice_str(k->group),
        .consume_type = SLICE_LIT("CONSUME_PASSIVELY"),
        .message_model = k->o.model == HP_BROADCASTING ? SLICE_LIT("BROADCASTING")
                                                       : SLICE_LIT("CLUSTERING"),
        .from_where = from_where(k->o.from),
        .subs = calloc(k->sub_n + 1, sizeof *out->subs),
        .sub_n = k->sub_n,
    };
    if (!out->subs)
        return E_NOMEM;
    for (size_t i = 0; i < k->sub_n; i++) {
        const struct subscription *s = &k->subs[i]->sub;
        out->subs[i] = (struct heartbeat_sub){slice_str(s->topic), slice_str(s->sub_string),
                                              SLICE_LIT("TAG"), s->version};
    }
    return 0;
}

int groups_encode(struct hp_client *c, struct buf *out)
{
    size_t producers = 0, consumers = 0;
    LIST_FOREACH(l, &c->producers)
        producers++;
    LIST_FOREACH(l, &c->consumers)
        consumers++;
    struct heartbeat h = {.client_id = slice_str(c->client_id)};
    h.producers = calloc(producers + 1, sizeof *h.producers);
    h.consumers = calloc(consumers + 1, sizeof *h.consumers);
    int rc = h.producers && h.consumers ? 0 : E_NOMEM;
    if (!rc)
        LIST_FOREACH(l, &c->producers)
            h.producers[h.producer_n++] = slice_str(LIST_ENTRY(l, struct hp_producer, link)->group);
    if (!rc)
        LIST_FOREACH(l, &c->consumers)
            rc = fill_consumer(LIST_ENTRY(l, struct hp_consumer, link),
                               &h.consumers[h.consumer_n++])
                     ? E_NOMEM
                     : rc;
    if (!rc)
        rc = heartbeat_encode(&h, out);
    for (size_t i = 0; i < h.consumer_n; i++)
        free(h.consumers[i].subs);
    free(h.consumers);
    free(h.producers);
    return rc;
}

struct leaving {
    struct hdr_unregister_client hdr;
    size_t waiting; /* answers, peers with a heartbeat under way, one for the function that asks */
    void (*done)(void *arg);
    void *arg;
};

struct farewell {
    struct list link; /* of the peer's farewells */
    struct leaving *group;
};

static void one_less(struct leaving *x)
{
    if (--x->waiting)
        return;
    x->done(x->arg);
    free(x);
}

static void on_unregistered(void *arg, const struct rpc_result *res)
{
    (void)res; /* a broker that did not hear it finds out by the missing heartbeats */
    one_less(arg);
}

static void unregister_at(struct hp_client *c, const struct peer *p, struct leaving *x)
{
    const struct rpc_request q = {.address = slice_str(p->addr),
                                  .code = RC_UNREGISTER_CLIENT,
                                  .hdr = &x->hdr,
                                  .timeout_ms = c->request_timeout_ms};
    struct err e = {0};
    if (p->epoch && client_call(c, &c->heartbeats.calls, &q, on_unregistered, x, &e) == 0)
        x->waiting++;
}

void farewells_send(struct hp_client *c, struct peer *p)
{
    struct list *l;
    while ((l = list_pop_front(&p->farewells))) {
        struct farewell *f = LIST_ENTRY(l, struct farewell, link);
        unregister_at(c, p, f->group);
        one_less(f->group);
        free(f);
    }
}

static void unregister_later(struct peer *p, struct leaving *x)
{
    struct farewell *f = malloc(sizeof *f);
    if (!f)
        return;
    f->group = x;
    x->waiting++;
    list_push_back(&p->farewells, &f->link);
}

void unregister_group(struct hp_client *c, struct slice producer_group, struct slice consumer_group,
                      void (*done)(void *arg), void *arg)
{
    struct leaving *x = malloc(sizeof *x);
    if (!x) {
        done(arg);
        return;
    }
    *x = (struct leaving){{slice_str(c->client_id), producer_group, consumer_group}, 1, done, arg};
    struct map_iter it = {0};
    while (map_next(c->heartbeats.peers, &it)) {
        struct peer *p = it.value;
        if (p->asking)
            unregister_later(p, x);
        else
            unregister_at(c, p, x);
    }
    one_less(x);
}
