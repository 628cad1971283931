/* Who is connected.
 *
 * Runs on: any network loop (heartbeats, closes, lookups), the service loop (expiry, check-backs),
 * all under one `lock`. Nothing is sent under it: those to be told are collected with a reference
 * each and told after the unlock.
 *
 * Shape: two maps, producer groups and consumer groups by name. A member is one connection in one
 * group; it hangs in the group's list and in the connection's list, so that a close removes it from
 * everywhere in one walk. A consumer group also has its subscriptions, counted objects that a pull
 * may keep after the group changed its mind.
 *
 * Bounds: groups, members per group, topics per group, groups per connection. A heartbeat beyond
 * one is answered with the limit's name.
 *
 * Invariants: a group without members does not exist; every member's connection is referenced. */
#include "broker/client_mgr.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/map.h"
#include "proto/command.h"

enum { CONN_GROUPS_MAX = 1024 };

struct group {
    char *name;
    size_t name_n; /* a producer group may be called anything, also with a NUL inside */
    bool consumer;
    struct list members;
    size_t member_n;
    struct map *subs; /* consumers: topic -> group_sub */
    enum consumer_model model;
};
struct member {
    struct list group_link, conn_link;
    struct group *group;
    struct client_conn *cc;
    char *client_id;
    int32_t version;
    uint8_t language;
    int64_t seen_ms; /* monotonic: last heartbeat */
};
struct client_conn {
    struct conn *conn;   /* counted */
    struct list members; /* under the lock */
    size_t member_n;
};
struct clients {
    uv_mutex_t lock; /* guards everything below, and the members of every connection */
    struct map *producers, *consumers;
    struct clients_limits limits;
    const struct clock *clock;
};
struct told { /* whom to tell after the unlock */
    struct conn **conns;
    size_t n;
    char *group;
};

struct group_sub *group_sub_new(struct slice topic, struct slice sub_string, struct slice type,
                                int64_t version, struct err *e)
{
    struct group_sub *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(e, E_NOMEM, "subscription: out of memory");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    if (subscription_init(&s->s, topic, sub_string, type, version, e) == 0)
        return s;
    free(s);
    return NULL;
}

struct group_sub *group_sub_ref(struct group_sub *s)
{
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void group_sub_unref(struct group_sub *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    subscription_fini(&s->s);
    free(s);
}

static void sub_free(void *p)
{
    group_sub_unref(p);
}

struct clients *clients_new(const struct clients_limits *l, const struct clock *clock)
{
    struct clients *c = calloc(1, sizeof *c);
    if (!c || uv_mutex_init(&c->lock) != 0) {
        free(c);
        return NULL;
    }
    c->producers = map_new();
    c->consumers = map_new();
    c->limits = *l;
    c->clock = clock;
    if (!c->producers || !c->consumers) {
        clients_free(c);
        return NULL;
    }
    return c;
}

void clients_free(struct clients *c)
{
    if (!c)
        return;
    MQ_ASSERT(!c->producers || map_count(c->producers) == 0);
    MQ_ASSERT(!c->consumers || map_count(c->consumers) == 0);
    if (c->producers)
        map_free(c->producers, NULL);
    if (c->consumers)
        map_free(c->consumers, NULL);
    uv_mutex_destroy(&c->lock);
    free(c);
}

struct client_conn *client_conn_new(struct conn *conn)
{
    struct client_conn *cc = calloc(1, sizeof *cc);
    if (!cc)
        return NULL;
    conn_ref(conn);
    cc->conn = conn;
    list_init(&cc->members);
    return cc;
}

/* --- groups and members, under the lock --- */

static struct map *table_of(struct clients *c, bool consumer)
{
    return consumer ? c->consumers : c->producers;
}

static void group_drop(struct clients *c, struct group *g)
{
    map_remove(table_of(c, g->consumer), slice_of(g->name, g->name_n));
    if (g->subs)
        map_free(g->subs, sub_free);
    free(g->name);
    free(g);
}

static struct group *group_add(struct clients *c, struct slice name, bool consumer)
{
    struct group *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->name = slice_dup(name);
    g->name_n = name.n;
    g->consumer = consumer;
    g->subs = consumer ? map_new() : NULL;
    list_init(&g->members);
    if (g->name && (!consumer || g->subs) && map_put(table_of(c, consumer), name, g, NULL) == 0)
        return g;
    if (g->subs)
        map_free(g->subs, NULL);
    free(g->name);
    free(g);
    return NULL;
}

static struct member *member_find(const struct client_conn *cc, const struct group *g)
{
    LIST_FOREACH(it, &cc->members) {
        struct member *m = LIST_ENTRY(it, struct member, conn_link);
        if (m->group == g)
            return m;
    }
    return NULL;
}

static struct member *member_add(struct group *g, struct client_conn *cc, struct slice client_id)
{
    struct member *m = calloc(1, sizeof *m);
    char *id = slice_dup(client_id);
    if (!m || !id) {
        free(m);
        free(id);
        return NULL;
    }
    m->group = g;
    m->cc = cc;
    m->client_id = id;
    list_push_back(&g->members, &m->group_link);
    list_push_back(&cc->members, &m->conn_link);
    g->member_n++;
    cc->member_n++;
    return m;
}

static void member_remove(struct member *m)
{
    list_remove(&m->group_link);
    list_remove(&m->conn_link);
    m->group->member_n--;
    m->cc->member_n--;
    free(m->client_id);
    free(m);
}

static void collect(const struct group *g, struct told *t)
{
    t->conns = calloc(g->member_n + 1, sizeof(struct conn *));
    t->group = slice_dup(slice_str(g->name));
    if (!t->conns || !t->group)
        return; /* the clients' own rebalance every 20 s finds out */
    LIST_FOREACH(it, &g->members) {
        struct conn *conn = LIST_ENTRY(it, struct member, group_link)->cc->conn;
        conn_ref(conn);
        t->conns[t->n++] = conn;
    }
}

static void tell(struct told *t)
{
    const struct hdr_consumer_group hdr = {slice_str(t->group)};
    for (size_t i = 0; i < t->n; i++) {
        int rc = conn_send_oneway(t->conns[i], RC_NOTIFY_CONSUMER_IDS_CHANGED, &hdr, SLICE_NULL);
        if (rc != 0)
            LOGD("group.notify", "peer=%s group=%s error=%s", conn_peer_text(t->conns[i]), t->group,
                 err_name(rc));
        conn_unref(t->conns[i]);
    }
    free(t->conns);
    free(t->group);
}

/* Finds or makes group and member; *fresh: the member is new. */
static int enrol(struct clients *c, struct client_conn *cc, struct slice name, bool consumer,
                 struct slice client_id, struct member **out, bool *fresh, struct err *e)
{
    struct group *g = map_get(table_of(c, consumer), name);
    struct member *m = g ? member_find(cc, g) : NULL;
    *fresh = !m;
    *out = m;
    if (m)
        return 0;
    if (!g && map_count(table_of(c, consumer)) >= c->limits.groups_max)
        return err_set(e, E_BUSY,
                       "the broker has %zu groups online, its limit: raise maxSubscriptionGroups",
                       c->limits.groups_max);
    if (g && g->member_n >= c->limits.members_max)
        return err_set(e, E_BUSY, "group %s has %zu clients, its limit: raise maxClientsPerGroup",
                       g->name, g->member_n);
    if (cc->member_n >= CONN_GROUPS_MAX)
        return err_set(e, E_BUSY, "a connection may be in %d groups at most", CONN_GROUPS_MAX);
    struct group *use = g ? g : group_add(c, name, consumer);
    *out = use ? member_add(use, cc, client_id) : NULL;
    if (*out)
        return 0;
    if (use && use->member_n == 0)
        group_drop(c, use);
    return err_set(e, E_NOMEM, "group " SLICE_FMT ": out of memory", SLICE_ARG(name));
}

int clients_add_producer(struct clients *c, struct client_conn *cc, struct slice group,
                         struct slice client_id, int32_t version, uint8_t language, struct err *e)
{
    struct member *m;
    bool fresh;
    uv_mutex_lock(&c->lock);
    int rc = enrol(c, cc, group, false, client_id, &m, &fresh, e);
    if (rc == 0) {
        m->seen_ms = clock_mono(c->clock);
        m->version = version;
        m->language = language;
    }
    uv_mutex_unlock(&c->lock);
    return rc;
}

/* --- subscriptions --- */

static struct group_sub *sub_of(const struct heartbeat_sub *hs)
{
    struct err e;
    struct slice type = hs->expression_type.n > 0 ? hs->expression_type : SLICE_LIT("TAG");
    struct group_sub *s = group_sub_new(hs->topic, hs->sub_string, type, hs->version, &e);
    char quoted[200];
    if (!s)
        LOGW("subscription.refused", "topic=%s reason=\"%s\"",
             log_quote(hs->topic, quoted, sizeof quoted), e.text);
    return s;
}

/* True when the set of topics grew. A version that is not newer leaves the subscription alone. */
static bool sub_merge(struct clients *c, struct group *g, const struct heartbeat_sub *hs)
{
    const struct group_sub *old = map_get(g->subs, hs->topic);
    if (old && hs->version <= old->s.version)
        return false;
    if (!old && map_count(g->subs) >= c->limits.subs_max) {
        LOGW("subscription.limit", "group=%s topics=%zu", g->name, map_count(g->subs));
        return false;
    }
    struct group_sub *made = sub_of(hs);
    void *replaced = NULL;
    if (!made)
        return false;
    if (map_put(g->subs, hs->topic, made, &replaced) != 0) {
        group_sub_unref(made);
        return false;
    }
    group_sub_unref(replaced);
    return !old;
}

static bool listed(const struct heartbeat_consumer *hc, struct slice topic)
{
    for (size_t i = 0; i < hc->sub_n; i++)
        if (slice_eq(hc->subs[i].topic, topic))
            return true;
    return false;
}

static bool subs_update(struct clients *c, struct group *g, const struct heartbeat_consumer *hc)
{
    bool changed = false;
    size_t n = hc->sub_n < c->limits.subs_max ? hc->sub_n : c->limits.subs_max;
    for (size_t i = 0; i < n; i++)
        changed |= sub_merge(c, g, &hc->subs[i]);
    if (map_count(g->subs) <= n && !changed)
        return false; /* the steady case: nothing can have been dropped without something added */
    struct map_iter it = {0};
    while (map_next(g->subs, &it)) {
        if (listed(hc, it.key))
            continue;
        struct group_sub *gone = it.value;
        map_remove(g->subs, it.key);
        group_sub_unref(gone);
        changed = true;
    }
    return changed;
}

int clients_add_consumer(struct clients *c, struct client_conn *cc,
                         const struct heartbeat_consumer *hc, struct slice client_id,
                         int32_t version, uint8_t language, bool notify, struct err *e)
{
    struct member *m;
    bool fresh;
    struct told told = {0};
    uv_mutex_lock(&c->lock);
    int rc = enrol(c, cc, hc->group, true, client_id, &m, &fresh, e);
    if (rc == 0) {
        struct group *g = m->group;
        m->seen_ms = clock_mono(c->clock);
        m->version = version;
        m->language = language;
        g->model = slice_eq_str(hc->message_model, "BROADCASTING") ? MODEL_BROADCASTING
                                                                   : MODEL_CLUSTERING;
        bool changed = subs_update(c, g, hc);
        if ((fresh || changed) && notify && g->model == MODEL_CLUSTERING)
            collect(g, &told);
    }
    uv_mutex_unlock(&c->lock);
    tell(&told);
    return rc;
}

/* --- leaving --- */

static void leave(struct clients *c, struct member *m, bool notify, struct told *told)
{
    struct group *g = m->group;
    member_remove(m);
    if (g->member_n == 0)
        group_drop(c, g);
    else if (notify && g->consumer && g->model == MODEL_CLUSTERING)
        collect(g, told);
}

void clients_remove(struct clients *c, struct client_conn *cc, struct slice producer_group,
                    struct slice consumer_group, bool notify)
{
    struct told told = {0};
    uv_mutex_lock(&c->lock);
    struct group *g = producer_group.n > 0 ? map_get(c->producers, producer_group) : NULL;
    struct member *m = g ? member_find(cc, g) : NULL;
    if (m)
        leave(c, m, false, &told);
    g = consumer_group.n > 0 ? map_get(c->consumers, consumer_group) : NULL;
    m = g ? member_find(cc, g) : NULL;
    if (m)
        leave(c, m, notify, &told);
    uv_mutex_unlock(&c->lock);
    tell(&told);
}

static bool leave_first(struct clients *c, struct client_conn *cc)
{
    struct told told = {0};
    uv_mutex_lock(&c->lock);
    bool any = !list_empty(&cc->members);
    if (any)
        leave(c, LIST_ENTRY(cc->members.next, struct member, conn_link), true, &told);
    uv_mutex_unlock(&c->lock);
    tell(&told);
    return any;
}

void client_conn_closed(struct clients *c, struct client_conn *cc)
{
    while (leave_first(c, cc))
        ;
    conn_unref(cc->conn);
    free(cc);
}

/* One expired member of the table leaves; false when there is none. */
static bool expire_one(struct clients *c, struct map *table)
{
    struct told told = {0};
    struct conn *conn = NULL;
    int64_t limit = clock_mono(c->clock) - c->limits.expire_ms;
    uv_mutex_lock(&c->lock);
    struct map_iter it = {0};
    while (!conn && map_next(table, &it)) {
        const struct group *g = it.value;
        LIST_FOREACH(at, &g->members) {
            struct member *m = LIST_ENTRY(at, struct member, group_link);
            if (m->seen_ms > limit)
                continue;
            conn = m->cc->conn;
            conn_ref(conn);
            LOGI("client.expired", "peer=%s group=%s", conn_peer_text(conn), g->name);
            leave(c, m, true, &told);
            break;
        }
    }
    uv_mutex_unlock(&c->lock);
    tell(&told);
    if (!conn)
        return false;
    conn_close(conn, "no heartbeat");
    conn_unref(conn);
    return true;
}

void clients_expire(struct clients *c)
{
    while (expire_one(c, c->producers))
        ;
    while (expire_one(c, c->consumers))
        ;
}

/* --- lookups --- */

struct conn *clients_pick_producer(struct clients *c, struct slice group)
{
    struct conn *found = NULL;
    uv_mutex_lock(&c->lock);
    struct group *g = map_get(c->producers, group);
    for (size_t i = 0; g && !found && i < g->member_n; i++) {
        struct list *front = g->members.next;
        list_remove(front); /* round robin: the one asked goes to the back */
        list_push_back(&g->members, front);
        struct conn *conn = LIST_ENTRY(front, struct member, group_link)->cc->conn;
        if (!conn_closing(conn))
            found = conn;
    }
    if (found)
        conn_ref(found);
    uv_mutex_unlock(&c->lock);
    return found;
}

int clients_subscription(struct clients *c, struct slice group, struct slice topic,
                         struct group_sub **out, enum consumer_model *model)
{
    uv_mutex_lock(&c->lock);
    const struct group *g = map_get(c->consumers, group);
    if (g) {
        *out = group_sub_ref(map_get(g->subs, topic));
        *model = g->model;
    }
    uv_mutex_unlock(&c->lock);
    return g ? 0 : E_NOTFOUND;
}

int clients_consumer_ids(struct clients *c, struct slice group, struct buf *out)
{
    uv_mutex_lock(&c->lock);
    const struct group *g = map_get(c->consumers, group);
    struct slice *ids = g ? calloc(g->member_n, sizeof *ids) : NULL;
    int rc = !g ? E_NOTFOUND : !ids ? E_NOMEM : 0;
    if (rc == 0) {
        size_t n = 0;
        LIST_FOREACH(it, &g->members)
            ids[n++] = slice_str(LIST_ENTRY(it, struct member, group_link)->client_id);
        rc = consumer_list_encode(ids, n, out);
    }
    uv_mutex_unlock(&c->lock);
    free(ids);
    return rc;
}

size_t clients_consumer_count(struct clients *c, struct slice group)
{
    uv_mutex_lock(&c->lock);
    const struct group *g = map_get(c->consumers, group);
    size_t n = g ? g->member_n : 0;
    uv_mutex_unlock(&c->lock);
    return n;
}
