/* The route table.
 *
 * Owns: broker sets (a name, its members by id), topics, and the queues that tie one to the other.
 * Runs on: the name server's loop. Pure.
 *
 *   set "broker-a" ----- member 0 "10.0.0.1:10911"      topic "T"
 *        |               member 1 "10.0.0.2:10911"        |
 *        +---------------- queues {4 read, 4 write, perm} +
 *
 * A set lives as long as it has a member; a queue entry as long as its set; a topic as long as it has a
 * queue entry.
 *
 * Who may remove a member. Brokers restart faster than their old connection dies: the farewell of the
 * predecessor (or the end of its connection) may arrive after the successor has registered under the
 * same name, id and address. Removing the member then leaves clients without a route until the next
 * registration, up to 30 s. So each member remembers the latest connection that spoke for it, and only
 * that one or a later one may end it.
 *
 * Failure modes: memory and bounds. A registration that fails half-way leaves a table that is consistent
 * but has not all topics; its version is not recorded, so the next registration applies everything.
 *
 * Invariants: 1. a member is in its set (sorted by id), in `alive`, and under (cluster, address) in
 * `by_addr`. 2. one address belongs to one member. 3. a topic's queues are sorted by broker name. */
#include "namesrv/table.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "proto/names.h"

struct set {
    char *name, *cluster, *zone;
    bool enable_acting_master;
    struct list members, queues;
};
struct member {
    struct list link; /* set->members */
    struct list alive_link;
    struct set *set;
    int64_t id;
    char *cluster, *addr, *ha_addr;
    struct data_version version;
    int64_t seen_ms, timeout_ms;
    uint64_t conn_id;
};
struct topic {
    char *name;
    struct list queues;
};
struct queue {
    struct list topic_link, set_link;
    struct topic *topic;
    struct set *set;
    int32_t read_queue_nums, write_queue_nums, perm, sys_flag;
};
struct route_table {
    struct map *sets;    /* name -> struct set */
    struct map *topics;  /* name -> struct topic */
    struct map *by_addr; /* cluster 0 address -> struct member */
    struct list alive;
    size_t member_n, queue_n;
    bool delete_missing_topics;
};

static struct member *member_of(struct list *l) { return LIST_ENTRY(l, struct member, link); }

/* --- small parts --- */

static struct slice text(const char *s) { return slice_str(s); }

/* Names are kept with a NUL at the end, so they must have none inside. */
static bool is_text(struct slice s) { return s.n > 0 && memchr(s.p, '\0', s.n) == NULL; }

static int replace_text(char **at, struct slice s)
{
    if (*at != NULL && slice_eq(text(*at), s))
        return 0;
    char *copy = s.p == NULL ? NULL : slice_dup(s);
    if (s.p != NULL && copy == NULL)
        return E_NOMEM;
    free(*at);
    *at = copy;
    return 0;
}

static int addr_key(struct slice cluster, struct slice addr, struct buf *out)
{
    buf_init(out, 0);
    buf_slice_add(out, cluster);
    buf_char(out, '\0');
    buf_slice_add(out, addr);
    return buf_error(out);
}

static struct member *find_by_addr(const struct route_table *t, struct slice cluster, struct slice addr)
{
    struct buf key;
    struct member *m = addr_key(cluster, addr, &key) == 0 ? map_get(t->by_addr, buf_slice(&key)) : NULL;
    buf_free(&key);
    return m;
}

static struct member *find_member(const struct route_table *t, const struct broker_ref *b)
{
    struct member *m = find_by_addr(t, b->cluster, b->addr);
    return m != NULL && m->id == b->id && slice_eq(text(m->set->name), b->name) ? m : NULL;
}

static struct member *member_by_id(const struct set *s, int64_t id)
{
    LIST_FOREACH(it, &s->members)
        if (member_of(it)->id == id)
            return member_of(it);
    return NULL;
}

/* --- removal --- */

static void queue_free(struct route_table *t, struct queue *q)
{
    struct topic *topic = q->topic;
    list_remove(&q->topic_link);
    list_remove(&q->set_link);
    free(q);
    t->queue_n--;
    if (!list_empty(&topic->queues))
        return;
    map_remove(t->topics, text(topic->name));
    free(topic->name);
    free(topic);
}

static void set_drop_if_empty(struct route_table *t, struct set *s)
{
    if (!list_empty(&s->members))
        return;
    LIST_FOREACH_SAFE(it, next, &s->queues)
        queue_free(t, LIST_ENTRY(it, struct queue, set_link));
    map_remove(t->sets, text(s->name));
    free(s->name);
    free(s->cluster);
    free(s->zone);
    free(s);
}

static void forget_addr(struct route_table *t, const struct member *m)
{
    struct buf key;
    if (addr_key(text(m->cluster), text(m->addr), &key) == 0 && map_get(t->by_addr, buf_slice(&key)) == m)
        map_remove(t->by_addr, buf_slice(&key));
    buf_free(&key);
}

static void member_free(struct member *m)
{
    free(m->cluster);
    free(m->addr);
    free(m->ha_addr);
    free(m);
}

/* Leaves the set standing even when it is empty now. */
static void member_remove(struct route_table *t, struct member *m)
{
    forget_addr(t, m);
    list_remove(&m->link);
    list_remove(&m->alive_link);
    t->member_n--;
    member_free(m);
}

static void member_end(struct route_table *t, struct member *m)
{
    struct set *s = m->set;
    member_remove(t, m);
    set_drop_if_empty(t, s);
}

static void member_end_told(struct route_table *t, struct member *m, route_gone gone, void *arg)
{
    gone(arg, &(struct broker_ref){text(m->cluster), text(m->set->name), text(m->addr), m->id, m->conn_id});
    member_end(t, m);
}

/* --- life of the table --- */

struct route_table *route_table_new(bool delete_missing_topics)
{
    struct route_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    list_init(&t->alive);
    t->delete_missing_topics = delete_missing_topics;
    t->sets = map_new();
    t->topics = map_new();
    t->by_addr = map_new();
    if (t->sets != NULL && t->topics != NULL && t->by_addr != NULL)
        return t;
    route_table_free(t);
    return NULL;
}

void route_table_free(struct route_table *t)
{
    if (t == NULL)
        return;
    LIST_FOREACH_SAFE(it, next, &t->alive)
        member_end(t, LIST_ENTRY(it, struct member, alive_link));
    map_free(t->sets, NULL);
    map_free(t->topics, NULL);
    map_free(t->by_addr, NULL);
    free(t);
}

/* --- registration --- */

static struct set *set_get(struct route_table *t, struct slice name)
{
    struct set *s = map_get(t->sets, name);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    list_init(&s->members);
    list_init(&s->queues);
    s->name = slice_dup(name);
    if (s->name != NULL && map_put(t->sets, name, s, NULL) == 0)
        return s;
    free(s->name);
    free(s);
    return NULL;
}

static int member_set_addr(struct route_table *t, struct member *m, const struct broker_ref *b)
{
    struct buf key;
    char *cluster = slice_dup(b->cluster), *addr = slice_dup(b->addr);
    int rc = addr_key(b->cluster, b->addr, &key);
    if (rc == 0 && (cluster == NULL || addr == NULL))
        rc = E_NOMEM;
    if (rc == 0)
        rc = map_put(t->by_addr, buf_slice(&key), m, NULL);
    buf_free(&key);
    if (rc != 0) {
        free(cluster);
        free(addr);
        return rc;
    }
    if (m->addr != NULL && !(slice_eq(text(m->addr), b->addr) && slice_eq(text(m->cluster), b->cluster)))
        forget_addr(t, m);
    free(m->cluster);
    free(m->addr);
    m->cluster = cluster;
    m->addr = addr;
    return 0;
}

static struct member *member_add(struct route_table *t, struct set *s, const struct broker_ref *b)
{
    struct member *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->set = s;
    m->id = b->id;
    if (member_set_addr(t, m, b) != 0) {
        member_free(m);
        return NULL;
    }
    struct list *before = &s->members;
    LIST_FOREACH(it, &s->members)
        if (member_of(it)->id > b->id) {
            before = it;
            break;
        }
    list_push_back(before, &m->link);
    list_push_back(&t->alive, &m->alive_link);
    t->member_n++;
    return m;
}

/* The address may have belonged to another id or another name: it changed hands. */
static void evict_former_owner(struct route_table *t, const struct broker_ref *b, const struct set *s)
{
    struct member *m = find_by_addr(t, b->cluster, b->addr);
    if (m == NULL || (m->set == s && m->id == b->id))
        return;
    if (m->set == s)
        member_remove(t, m);
    else
        member_end(t, m);
}

static bool version_older(struct data_version a, struct data_version b)
{
    if (a.state_version != b.state_version)
        return a.state_version < b.state_version;
    if (a.timestamp != b.timestamp)
        return a.timestamp < b.timestamp;
    return a.counter < b.counter;
}

static bool is_outdated(const struct member *m, const struct registration *r)
{
    bool same_addr = slice_eq(text(m->addr), r->broker.addr) && slice_eq(text(m->cluster), r->broker.cluster);
    if (same_addr) /* what a predecessor said last may arrive after what its successor says first */
        return r->broker.conn_id < m->conn_id && version_older(r->version, m->version);
    return m->version.state_version > r->version.state_version;
}

/* --- topics --- */

static struct topic *topic_get(struct route_table *t, struct slice name)
{
    struct topic *topic = map_get(t->topics, name);
    if (topic != NULL)
        return topic;
    topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        return NULL;
    list_init(&topic->queues);
    topic->name = slice_dup(name);
    if (topic->name != NULL && map_put(t->topics, name, topic, NULL) == 0)
        return topic;
    free(topic->name);
    free(topic);
    return NULL;
}

static struct queue *queue_of(const struct topic *topic, const struct set *s)
{
    LIST_FOREACH(it, &topic->queues) {
        struct queue *q = LIST_ENTRY(it, struct queue, topic_link);
        if (q->set == s)
            return q;
    }
    return NULL;
}

static struct queue *queue_add(struct route_table *t, struct topic *topic, struct set *s)
{
    struct queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->topic = topic;
    q->set = s;
    struct list *before = &topic->queues;
    LIST_FOREACH(it, &topic->queues)
        if (strcmp(LIST_ENTRY(it, struct queue, topic_link)->set->name, s->name) > 0) {
            before = it;
            break;
        }
    list_push_back(before, &q->topic_link);
    list_push_back(&s->queues, &q->set_link);
    t->queue_n++;
    return q;
}

static int apply_topic(struct route_table *t, struct set *s, const struct topic_config *c, bool changed,
                       int32_t perm, struct err *e)
{
    struct topic *topic = topic_get(t, c->name);
    struct queue *q = topic == NULL ? NULL : queue_of(topic, s);
    if (q != NULL && !changed)
        return 0;
    if (q == NULL && t->queue_n >= ROUTE_QUEUES_MAX) {
        if (topic != NULL && list_empty(&topic->queues)) {
            map_remove(t->topics, c->name);
            free(topic->name);
            free(topic);
        }
        return err_set(e, E_BUSY, "the route table is full: %d topics of brokers", ROUTE_QUEUES_MAX);
    }
    if (q == NULL && topic != NULL)
        q = queue_add(t, topic, s);
    if (q == NULL)
        return err_set(e, E_NOMEM, "route of topic " SLICE_FMT, SLICE_ARG(c->name));
    q->read_queue_nums = c->read_queue_nums;
    q->write_queue_nums = c->write_queue_nums;
    q->perm = perm;
    q->sys_flag = c->sys_flag;
    return 0;
}

static int delete_missing(struct route_table *t, struct set *s, const struct registration *r)
{
    struct map *named = map_new();
    int rc = named == NULL ? E_NOMEM : 0;
    for (size_t i = 0; rc == 0 && i < r->topic_n; i++)
        rc = map_put(named, r->topics[i].name, s, NULL);
    if (rc == 0)
        LIST_FOREACH_SAFE(it, next, &s->queues) {
            struct queue *q = LIST_ENTRY(it, struct queue, set_link);
            if (map_get(named, text(q->topic->name)) == NULL)
                queue_free(t, q);
        }
    map_free(named, NULL);
    return rc;
}

/* Topics come from the master, or, of 5.x brokers, from the slave with the lowest id. */
static int apply_topics(struct route_table *t, struct set *s, const struct registration *r, bool changed,
                        struct err *e)
{
    bool master = r->broker.id == 0;
    bool prime_slave = !master && r->new_style && member_of(s->members.next)->id == r->broker.id;
    if (!master && !prime_slave)
        return 0;
    int32_t allowed = prime_slave && r->enable_acting_master ? ~PERM_WRITE : ~0;
    for (size_t i = 0; i < r->topic_n; i++) {
        if (!is_text(r->topics[i].name))
            continue;
        int rc = apply_topic(t, s, &r->topics[i], changed, r->topics[i].perm & allowed, e);
        if (rc != 0)
            return rc;
    }
    /* One topic is an increment, not the whole. */
    if (t->delete_missing_topics && r->topic_n > 1 && delete_missing(t, s, r) != 0)
        return err_set(e, E_NOMEM, "dropping deleted topics");
    return 0;
}

static void tell_master(const struct set *s, int64_t id, struct registered *out)
{
    const struct member *master = id == 0 ? NULL : member_by_id(s, 0);
    if (master == NULL)
        return;
    out->master_addr = text(master->addr);
    out->master_ha_addr = text(master->ha_addr);
}

static int register_in_set(struct route_table *t, struct set *s, const struct registration *r,
                           int64_t now_ms, struct registered *out, struct err *e)
{
    const struct broker_ref *b = &r->broker;
    struct member *m = member_by_id(s, b->id);
    if (m != NULL && is_outdated(m, r))
        return 0;
    if (m == NULL && r->topic_n == 1)
        return err_set(e, E_DENIED, "register broker failed");
    if (m == NULL && t->member_n >= ROUTE_BROKERS_MAX)
        return err_set(e, E_BUSY, "the route table is full: %d brokers", ROUTE_BROKERS_MAX);

    evict_former_owner(t, b, s);
    out->first = m == NULL;
    bool moved = m != NULL && !slice_eq(text(m->addr), b->addr);
    if (m == NULL)
        m = member_add(t, s, b);
    else if (member_set_addr(t, m, b) != 0)
        m = NULL;
    if (m == NULL || replace_text(&m->ha_addr, r->ha_addr) != 0 || replace_text(&s->cluster, b->cluster) != 0 ||
        replace_text(&s->zone, r->zone) != 0)
        return err_set(e, E_NOMEM, "registration of " SLICE_FMT, SLICE_ARG(b->name));
    s->enable_acting_master = r->enable_acting_master;
    m->seen_ms = now_ms;
    m->timeout_ms = r->timeout_ms;
    if (b->conn_id > m->conn_id)
        m->conn_id = b->conn_id;
    bool changed = out->first || moved || !data_version_eq(m->version, r->version);
    int rc = apply_topics(t, s, r, changed, e);
    if (rc != 0)
        return rc;
    m->version = r->version;
    tell_master(s, b->id, out);
    return 0;
}

int route_table_register(struct route_table *t, const struct registration *r, int64_t now_ms,
                         struct registered *out, struct err *e)
{
    *out = (struct registered){0};
    const struct broker_ref *b = &r->broker;
    if (!is_text(b->cluster) || !is_text(b->name) || !is_text(b->addr))
        return err_set(e, E_INVAL, "clusterName, brokerName and brokerAddr must be text and not empty");
    struct set *s = set_get(t, b->name);
    if (s == NULL)
        return err_set(e, E_NOMEM, "registration of " SLICE_FMT, SLICE_ARG(b->name));
    int rc = register_in_set(t, s, r, now_ms, out, e);
    set_drop_if_empty(t, s);
    return rc;
}

/* --- signs of life, and their end --- */

int route_table_unregister(struct route_table *t, const struct broker_ref *b)
{
    struct member *m = find_member(t, b);
    if (m == NULL)
        return E_NOTFOUND;
    if (b->conn_id < m->conn_id)
        return E_DENIED;
    member_end(t, m);
    return 0;
}

bool route_table_touch(struct route_table *t, const struct broker_ref *b, int64_t timeout_ms, int64_t now_ms)
{
    struct member *m = find_by_addr(t, b->cluster, b->addr);
    if (m == NULL)
        return false;
    m->seen_ms = now_ms;
    if (timeout_ms > 0)
        m->timeout_ms = timeout_ms;
    if (b->conn_id > m->conn_id)
        m->conn_id = b->conn_id;
    return true;
}

bool route_table_version(const struct route_table *t, const struct broker_ref *b, struct data_version *out)
{
    const struct member *m = find_by_addr(t, b->cluster, b->addr);
    if (m != NULL)
        *out = m->version;
    return m != NULL;
}

void route_table_conn_closed(struct route_table *t, uint64_t conn_id, route_gone gone, void *arg)
{
    LIST_FOREACH_SAFE(it, next, &t->alive) {
        struct member *m = LIST_ENTRY(it, struct member, alive_link);
        if (m->conn_id == conn_id)
            member_end_told(t, m, gone, arg);
    }
}

void route_table_expire(struct route_table *t, int64_t now_ms, route_gone gone, void *arg)
{
    LIST_FOREACH_SAFE(it, next, &t->alive) {
        struct member *m = LIST_ENTRY(it, struct member, alive_link);
        if (now_ms - m->seen_ms > m->timeout_ms)
            member_end_told(t, m, gone, arg);
    }
}

/* --- queries --- */

static int fill_broker(const struct set *s, struct broker_data *out)
{
    size_t n = 0;
    LIST_FOREACH(it, &s->members)
        n++;
    struct broker_addr *addrs = calloc(n, sizeof *addrs);
    if (addrs == NULL)
        return E_NOMEM;
    *out = (struct broker_data){.cluster = text(s->cluster),
                                .broker_name = text(s->name),
                                .addrs = addrs,
                                .enable_acting_master = s->enable_acting_master,
                                .zone = text(s->zone)};
    LIST_FOREACH(it, &s->members)
        addrs[out->addr_n++] = (struct broker_addr){member_of(it)->id, text(member_of(it)->addr)};
    return 0;
}

static bool in_zone(const struct set *s, struct slice zone)
{
    return zone.p == NULL || member_by_id(s, 0) == NULL || slice_eq_nocase(text(s->zone), zone);
}

static int fill_route(const struct topic *topic, struct slice zone, struct route_data *out)
{
    LIST_FOREACH(it, &topic->queues) {
        const struct queue *q = LIST_ENTRY(it, struct queue, topic_link);
        if (!in_zone(q->set, zone))
            continue;
        if (fill_broker(q->set, &out->brokers[out->broker_n]) != 0)
            return E_NOMEM;
        out->broker_n++;
        out->queues[out->queue_n++] = (struct queue_data){text(q->set->name), q->read_queue_nums,
                                                          q->write_queue_nums, q->perm, q->sys_flag};
    }
    return 0;
}

int route_table_query(const struct route_table *t, struct slice topic_name, struct slice zone,
                      struct route_data *out)
{
    const struct topic *topic = map_get(t->topics, topic_name);
    if (topic == NULL)
        return E_NOTFOUND;
    size_t n = 0;
    LIST_FOREACH(it, &topic->queues)
        n++;
    struct route_data r = {.queues = calloc(n, sizeof *r.queues), .brokers = calloc(n, sizeof *r.brokers)};
    int rc = r.queues == NULL || r.brokers == NULL ? E_NOMEM : fill_route(topic, zone, &r);
    if (rc != 0)
        route_data_free(&r);
    else
        *out = r;
    return rc;
}

static int compare_brokers(const void *a, const void *b)
{
    const struct broker_data *x = a, *y = b;
    return strcmp(x->broker_name.p, y->broker_name.p); /* the table's names end with a NUL */
}

int route_table_brokers(const struct route_table *t, struct route_data *out)
{
    size_t n = map_count(t->sets);
    struct route_data r = {.brokers = calloc(n + 1, sizeof *r.brokers)};
    int rc = r.brokers == NULL ? E_NOMEM : 0;
    for (struct map_iter it = {0}; rc == 0 && map_next(t->sets, &it);) {
        rc = fill_broker(it.value, &r.brokers[r.broker_n]);
        r.broker_n += rc == 0;
    }
    if (rc != 0) {
        route_data_free(&r);
        return rc;
    }
    qsort(r.brokers, r.broker_n, sizeof *r.brokers, compare_brokers);
    *out = r;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct slice *)a)->p, ((const struct slice *)b)->p);
}

int route_table_topics(const struct route_table *t, struct slice **out, size_t *n)
{
    struct slice *names = calloc(map_count(t->topics) + 1, sizeof *names);
    if (names == NULL)
        return E_NOMEM;
    size_t count = 0;
    for (struct map_iter it = {0}; map_next(t->topics, &it);)
        names[count++] = text(((const struct topic *)it.value)->name);
    qsort(names, count, sizeof *names, compare_names);
    *out = names;
    *n = count;
    return 0;
}
