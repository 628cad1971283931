/* Consumer offsets.
 *
 * Runs on: any thread, under `lock`; from_json before the loops run, to_json on the service loop.
 *
 * Shape: one map entry per "topic@group" (the key of the file) with a small array of (queue,
 * offset) sorted by queue. Commits of a steady consumer hit an existing cell: a hash lookup and a
 * binary search. Bounds: pairs by max_pairs; cells per pair by what the handlers let through (queue
 * ids that the topic has), and in any case by QUEUES_MAX.
 *
 * Source: ConsumerOffsetManager of 5.5.0. Last write wins: rewind tools rely on it. */
#include "broker/offset.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/map.h"
#include "proto/message.h"

enum { QUEUES_MAX = 65536, KEY_MAX = 512 };

struct cell {
    int32_t queue_id;
    int64_t offset;
};
struct pair {
    struct cell *cells; /* sorted by queue_id */
    size_t n, cap;
};

struct offsets {
    uv_mutex_t *lock; /* guards everything below */
    struct map *map;  /* "topic@group" -> pair */
    size_t max_pairs;
    struct data_version version;
    bool dirty;
};

static void pair_free(void *p)
{
    struct pair *pair = p;
    free(pair->cells);
    free(pair);
}

struct offsets *offsets_new(size_t max_pairs)
{
    struct offsets *o = calloc(1, sizeof *o);
    uv_mutex_t *lock = malloc(sizeof *lock);
    struct map *map = map_new();
    if (!o || !lock || !map || uv_mutex_init(lock) != 0) {
        free(o);
        free(lock);
        if (map)
            map_free(map, NULL);
        return NULL;
    }
    o->lock = lock;
    o->map = map;
    o->max_pairs = max_pairs;
    return o;
}

void offsets_free(struct offsets *o)
{
    if (!o)
        return;
    map_free(o->map, pair_free);
    uv_mutex_destroy(o->lock);
    free(o->lock);
    free(o);
}

/* Null when the names are longer than any the broker accepts. */
static struct slice make_key(char scratch[KEY_MAX], struct slice topic, struct slice group)
{
    if (topic.n + 1 + group.n > KEY_MAX)
        return SLICE_NULL;
    memcpy(scratch, topic.p, topic.n);
    scratch[topic.n] = '@';
    memcpy(scratch + topic.n + 1, group.p, group.n);
    return slice_of(scratch, topic.n + 1 + group.n);
}

/* The first cell whose queue is not below; n when there is none. */
static size_t lower_bound(const struct pair *p, int32_t queue_id)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->cells[mid].queue_id < queue_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const struct cell *find(const struct offsets *o, struct slice group, struct slice topic,
                               int32_t queue_id)
{
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, topic, group);
    const struct pair *p = key.p ? map_get(o->map, key) : NULL;
    if (!p)
        return NULL;
    size_t at = lower_bound(p, queue_id);
    return at < p->n && p->cells[at].queue_id == queue_id ? &p->cells[at] : NULL;
}

int64_t offsets_get(const struct offsets *o, struct slice group, struct slice topic,
                    int32_t queue_id)
{
    uv_mutex_lock(o->lock);
    const struct cell *c = find(o, group, topic, queue_id);
    int64_t offset = c ? c->offset : -1;
    uv_mutex_unlock(o->lock);
    return offset;
}

bool offsets_has_queue(const struct offsets *o, struct slice group, struct slice topic,
                       int32_t queue_id)
{
    uv_mutex_lock(o->lock);
    bool has = find(o, group, topic, queue_id) != NULL;
    uv_mutex_unlock(o->lock);
    return has;
}

static int pair_insert(struct pair *p, size_t at, struct cell c)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 8;
        struct cell *cells = realloc(p->cells, cap * sizeof *cells);
        if (!cells)
            return E_NOMEM;
        p->cells = cells;
        p->cap = cap;
    }
    memmove(&p->cells[at + 1], &p->cells[at], (p->n - at) * sizeof *p->cells);
    p->cells[at] = c;
    p->n++;
    return 0;
}

static int pair_of(struct offsets *o, struct slice key, struct pair **out, struct err *e)
{
    *out = map_get(o->map, key);
    if (*out)
        return 0;
    if (map_count(o->map) >= o->max_pairs)
        return err_set(e, E_BUSY, "the broker keeps offsets of %zu topics and groups, its limit",
                       o->max_pairs);
    struct pair *made = calloc(1, sizeof *made);
    if (!made || map_put(o->map, key, made, NULL) != 0) {
        free(made);
        return err_set(e, E_NOMEM, "offset of " SLICE_FMT ": out of memory", SLICE_ARG(key));
    }
    *out = made;
    return 0;
}

static int set_locked(struct offsets *o, struct slice key, int32_t queue_id, int64_t offset,
                      struct err *e)
{
    struct pair *p;
    int rc = pair_of(o, key, &p, e);
    if (rc != 0)
        return rc;
    size_t at = lower_bound(p, queue_id);
    if (at < p->n && p->cells[at].queue_id == queue_id) {
        o->dirty |= p->cells[at].offset != offset;
        p->cells[at].offset = offset;
        return 0;
    }
    if (p->n >= QUEUES_MAX)
        return err_set(e, E_BUSY, SLICE_FMT " has offsets of %d queues, the limit", SLICE_ARG(key),
                       QUEUES_MAX);
    rc = pair_insert(p, at, (struct cell){queue_id, offset});
    if (rc != 0)
        return err_set(e, rc, "offset of " SLICE_FMT ": out of memory", SLICE_ARG(key));
    o->dirty = true;
    return 0;
}

int offsets_set(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id,
                int64_t offset, struct err *e)
{
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, topic, group);
    if (!key.p || queue_id < 0)
        return err_set(e, E_INVAL, "no offset of queue %d can be kept for group " SLICE_FMT,
                       queue_id, SLICE_ARG(group));
    uv_mutex_lock(o->lock);
    int rc = set_locked(o, key, queue_id, offset, e);
    uv_mutex_unlock(o->lock);
    return rc;
}

bool offsets_dirty(const struct offsets *o)
{
    uv_mutex_lock(o->lock);
    bool dirty = o->dirty;
    uv_mutex_unlock(o->lock);
    return dirty;
}

void offsets_mark_dirty(struct offsets *o)
{
    uv_mutex_lock(o->lock);
    o->dirty = true;
    uv_mutex_unlock(o->lock);
}

static json_t *pair_to_json(const struct pair *p)
{
    json_t *obj = json_object();
    for (size_t i = 0; i < p->n; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", p->cells[i].queue_id);
        if (json_object_set_new(obj, key, json_integer(p->cells[i].offset)) != 0) {
            json_decref(obj);
            return NULL;
        }
    }
    return obj;
}

int offsets_to_json(struct offsets *o, const struct clock *clock, json_t **out)
{
    json_t *table = json_object(), *root = json_object();
    int bad = 0;
    uv_mutex_lock(o->lock);
    o->version.timestamp = clock_wall(clock);
    o->version.counter++;
    struct map_iter it = {0};
    while (map_next(o->map, &it))
        bad |= json_object_setn_new(table, it.key.p, it.key.n, pair_to_json(it.value));
    struct data_version version = o->version;
    if (!bad)
        o->dirty = false;
    uv_mutex_unlock(o->lock);
    bad |= json_object_set_new(root, "dataVersion", data_version_to_json(version));
    bad |= json_object_set_new(root, "offsetTable", table);
    if (bad) {
        json_decref(root);
        offsets_mark_dirty(o);
        return E_NOMEM;
    }
    *out = root;
    return 0;
}

static int load_pair(struct offsets *o, const char *name, const json_t *cells, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)cells, key, value) {
        int32_t queue_id;
        if (slice_i32(slice_str(key), &queue_id) != 0 || queue_id < 0 || !json_is_integer(value))
            return err_set(e, E_CORRUPT,
                           "consumerOffset.json: \"%s\" of %s is no queue with an offset", key,
                           name);
        int rc = set_locked(o, slice_str(name), queue_id, json_integer_value(value), e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int offsets_from_json(struct offsets *o, const json_t *j, struct err *e)
{
    json_t *table = json_object_get(j, "offsetTable");
    if (!json_is_object(table))
        return err_set(e, E_CORRUPT, "consumerOffset.json has no offsetTable");
    uv_mutex_lock(o->lock);
    o->version = data_version_from_json(json_object_get(j, "dataVersion"));
    int rc = 0;
    const char *key;
    json_t *cells;
    json_object_foreach(table, key, cells) {
        if (!strchr(key, '@') || strlen(key) > KEY_MAX || !json_is_object(cells))
            LOGW("offset.refused", "file=consumerOffset.json entry=\"%.100s\"", key);
        else if (rc == 0)
            rc = load_pair(o, key, cells, e);
    }
    o->dirty = false;
    uv_mutex_unlock(o->lock);
    return rc;
}

size_t offsets_limit(struct offsets *o, int64_t (*end_of)(void *arg, struct slice topic, int32_t queue_id),
                     void *arg)
{
    size_t lowered = 0;
    struct map_iter it = {0};
    uv_mutex_lock(o->lock);
    while (map_next(o->map, &it)) {
        struct pair *p = it.value;
        struct slice group = it.key, topic;
        if (!slice_cut(&group, '@', &topic))
            continue;
        for (size_t i = 0; i < p->n; i++) {
            const int64_t end = end_of(arg, topic, p->cells[i].queue_id);
            if (p->cells[i].offset <= end)
                continue;
            p->cells[i].offset = end;
            lowered++;
        }
    }
    o->dirty |= lowered > 0;
    uv_mutex_unlock(o->lock);
    return lowered;
}
