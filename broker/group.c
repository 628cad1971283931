/* Subscription groups.
 *
 * Runs on: as topic.c: reads on any thread under `lock`, one writer (the service loop).
 *
 * An entry keeps the group's whole JSON object, so that members this broker does not interpret
 * (retry policies, attributes) survive a load and a save; what handlers need is copied out of it.
 * The forbiddenTable of the file is kept the same way: it is read here, never changed. */
#include "broker/group.h"

#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/map.h"

enum { RETRY_QUEUES_MAX = 1024, FORBIDDEN_READ = 4 /* bit 2: the index of READ */ };

struct entry {
    struct group_info info;
    json_t *doc; /* writer only */
};

struct groups {
    uv_mutex_t *lock; /* guards map and every entry's info */
    struct map *map;  /* name -> entry */
    size_t max;
    json_t *forbidden;           /* set before the loops run, then constant; NULL: empty */
    struct data_version version; /* writer only */
    bool dirty;                  /* writer only */
};

static void entry_free(void *p)
{
    struct entry *g = p;
    json_decref(g->doc);
    free(g);
}

struct groups *groups_new(size_t max)
{
    struct groups *g = calloc(1, sizeof *g);
    uv_mutex_t *lock = malloc(sizeof *lock);
    struct map *map = map_new();
    if (!g || !lock || !map || uv_mutex_init(lock) != 0) {
        free(g);
        free(lock);
        if (map)
            map_free(map, NULL);
        return NULL;
    }
    g->lock = lock;
    g->map = map;
    g->max = max;
    return g;
}

void groups_free(struct groups *g)
{
    if (!g)
        return;
    map_free(g->map, entry_free);
    json_decref(g->forbidden);
    uv_mutex_destroy(g->lock);
    free(g->lock);
    free(g);
}

bool groups_get(const struct groups *g, struct slice name, struct group_info *out)
{
    uv_mutex_lock(g->lock);
    const struct entry *found = map_get(g->map, name);
    if (found)
        *out = found->info;
    uv_mutex_unlock(g->lock);
    return found != NULL;
}

size_t groups_count(const struct groups *g)
{
    uv_mutex_lock(g->lock);
    size_t n = map_count(g->map);
    uv_mutex_unlock(g->lock);
    return n;
}

bool groups_forbid_read(const struct groups *g, struct slice group, struct slice topic)
{
    if (!g->forbidden)
        return false;
    const json_t *of_group = json_object_getn(g->forbidden, group.p, group.n);
    const json_t *mask = json_object_getn(of_group, topic.p, topic.n);
    return (json_integer_value(mask) & FORBIDDEN_READ) != 0;
}

static struct group_info info_of(const struct group_config *c)
{
    return (struct group_info){
        .consume_enable = c->consume_enable,
        .consume_broadcast_enable = c->consume_broadcast_enable,
        .notify_changes = c->notify_consumer_ids_changed_enable,
        .retry_queue_nums = c->retry_queue_nums,
        .retry_max_times = c->retry_max_times,
        .sys_flag = c->group_sys_flag,
        .broker_id = c->broker_id,
    };
}

static int check_config(const struct group_config *c, struct err *e)
{
    int rc = group_name_check(c->name, e);
    if (rc == 0 && (c->retry_queue_nums < 0 || c->retry_queue_nums > RETRY_QUEUES_MAX))
        rc = err_set(e, E_INVAL, "retryQueueNums of group " SLICE_FMT " must be 0 to %d, not %d",
                     SLICE_ARG(c->name), RETRY_QUEUES_MAX, c->retry_queue_nums);
    return rc;
}

static int entry_set(struct groups *g, const struct group_config *c, struct err *e)
{
    struct entry *old = map_get(g->map, c->name);
    if (!old && map_count(g->map) >= g->max)
        return err_set(e, E_BUSY,
                       "the broker has %zu consumer groups, its limit: raise maxSubscriptionGroups",
                       g->max);
    json_t *doc = group_config_to_json(c);
    struct entry *made = old ? old : calloc(1, sizeof *made);
    if (!doc || !made) {
        json_decref(doc);
        if (made != old)
            free(made);
        return err_set(e, E_NOMEM, "group " SLICE_FMT ": out of memory", SLICE_ARG(c->name));
    }
    json_decref(made->doc);
    made->doc = doc;
    uv_mutex_lock(g->lock);
    made->info = info_of(c);
    int rc = old ? 0 : map_put(g->map, c->name, made, NULL);
    uv_mutex_unlock(g->lock);
    if (rc != 0) {
        entry_free(made);
        return err_set(e, rc, "group " SLICE_FMT ": out of memory", SLICE_ARG(c->name));
    }
    return 0;
}

int groups_put(struct groups *g, const struct group_config *c, const struct clock *clock,
               struct err *e)
{
    int rc = check_config(c, e);
    if (rc == 0)
        rc = entry_set(g, c, e);
    if (rc == 0) {
        g->version.timestamp = clock_wall(clock);
        g->version.counter++;
        g->dirty = true;
    }
    return rc;
}

int groups_create(struct groups *g, struct slice name, const struct clock *clock, struct err *e)
{
    if (map_get(g->map, name))
        return 0;
    struct group_config c;
    group_config_defaults(&c, name);
    return groups_put(g, &c, clock, e);
}

bool groups_dirty(const struct groups *g)
{
    return g->dirty;
}

void groups_mark_dirty(struct groups *g)
{
    g->dirty = true;
}

int groups_to_json(struct groups *g, json_t **out)
{
    json_t *table = json_object(), *root = json_object();
    struct map_iter it = {0};
    int bad = 0;
    while (map_next(g->map, &it)) {
        const struct entry *one = it.value;
        bad |= json_object_setn(table, it.key.p, it.key.n, one->doc);
    }
    bad |= json_object_set_new(root, "dataVersion", data_version_to_json(g->version));
    bad |= json_object_set_new(root, "forbiddenTable",
                               g->forbidden ? json_deep_copy(g->forbidden) : json_object());
    bad |= json_object_set_new(root, "subscriptionGroupTable", table);
    if (bad) {
        json_decref(root);
        return E_NOMEM;
    }
    g->dirty = false;
    *out = root;
    return 0;
}

static int load_one(struct groups *g, const char *key, const json_t *j, struct err *e)
{
    struct group_config c;
    int rc = group_config_from_json(j, &c, e);
    if (rc != 0)
        return err_wrap(e, E_CORRUPT, "group %s", key);
    if (c.name.n > 0 && !slice_eq_str(c.name, key)) /* written equal: one of them is damaged */
        return err_set(e, E_CORRUPT, "group %s: its entry has another groupName", key);
    struct err why;
    if (check_config(&c, &why) != 0) {
        LOGW("group.refused", "file=subscriptionGroup.json reason=\"%s\"", why.text);
        return 0;
    }
    return entry_set(g, &c, e);
}

int groups_from_json(struct groups *g, const json_t *j, struct err *e)
{
    json_t *table = json_object_get(j, "subscriptionGroupTable");
    if (!json_is_object(table))
        return err_set(e, E_CORRUPT, "subscriptionGroup.json has no subscriptionGroupTable");
    g->version = data_version_from_json(json_object_get(j, "dataVersion"));
    const json_t *forbidden = json_object_get(j, "forbiddenTable");
    if (json_object_size(forbidden) > 0)
        g->forbidden = json_deep_copy(forbidden);
    const char *key;
    json_t *one;
    json_object_foreach(table, key, one) {
        int rc = load_one(g, key, one, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}
