/* Queue locks of orderly consumers.
 *
 * Runs on: any network loop, under `lock`; the sweep on the service loop.
 *
 * Shape: group -> (key "broker\0topic\0queue" -> owner, last renewal). An owner that stops renewing
 * loses the queue after LOCK_LIVE_MS; the sweep frees what expired long before anyone asks again.
 * Bound: `max` locks in all; beyond it a lock is not granted, which clients retry. */
#include "broker/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/map.h"

enum { KEY_MAX = 640 };

struct held {
    char *client_id;
    int64_t renewed_ms; /* monotonic */
};
struct locks {
    uv_mutex_t *lock; /* guards everything below */
    struct map *groups; /* group -> map of held */
    size_t n, max;
    const struct clock *clock;
};

static void held_free(void *p)
{
    struct held *h = p;
    free(h->client_id);
    free(h);
}

static void group_free(void *p)
{
    map_free(p, held_free);
}

struct locks *locks_new(const struct clock *clock, size_t max)
{
    struct locks *l = calloc(1, sizeof *l);
    uv_mutex_t *lock = malloc(sizeof *lock);
    struct map *groups = map_new();
    if (!l || !lock || !groups || uv_mutex_init(lock) != 0) {
        free(l);
        free(lock);
        if (groups)
            map_free(groups, NULL);
        return NULL;
    }
    *l = (struct locks){.lock = lock, .groups = groups, .max = max, .clock = clock};
    return l;
}

void locks_free(struct locks *l)
{
    if (!l)
        return;
    map_free(l->groups, group_free);
    uv_mutex_destroy(l->lock);
    free(l->lock);
    free(l);
}

/* Null for names longer than any the broker accepts. */
static struct slice make_key(char scratch[KEY_MAX], const struct mq_ref *q)
{
    if (q->broker_name.n + q->topic.n + 16 > KEY_MAX)
        return SLICE_NULL;
    size_t n = 0;
    memcpy(scratch, q->broker_name.p, q->broker_name.n);
    n += q->broker_name.n;
    scratch[n++] = '\0';
    memcpy(scratch + n, q->topic.p, q->topic.n);
    n += q->topic.n;
    scratch[n++] = '\0';
    n += (size_t)snprintf(scratch + n, 14, "%d", q->queue_id);
    return slice_of(scratch, n);
}

static bool expired(const struct locks *l, const struct held *h)
{
    return clock_mono(l->clock) - h->renewed_ms > LOCK_LIVE_MS;
}

static struct map *group_of(struct locks *l, struct slice group)
{
    struct map *m = map_get(l->groups, group);
    if (m)
        return m;
    m = map_new();
    if (m && map_put(l->groups, group, m, NULL) == 0)
        return m;
    if (m)
        map_free(m, NULL);
    return NULL;
}

static bool take_new(struct locks *l, struct slice group, struct slice key, struct slice client_id)
{
    if (l->n >= l->max)
        return false;
    struct map *m = group_of(l, group);
    struct held *h = m ? calloc(1, sizeof *h) : NULL;
    char *id = h ? slice_dup(client_id) : NULL;
    if (!id || map_put(m, key, h, NULL) != 0) {
        free(id);
        free(h);
        return false;
    }
    *h = (struct held){id, clock_mono(l->clock)};
    l->n++;
    return true;
}

static bool take_locked(struct locks *l, struct slice group, struct slice key,
                        struct slice client_id)
{
    struct map *m = map_get(l->groups, group);
    struct held *h = m ? map_get(m, key) : NULL;
    if (!h)
        return take_new(l, group, key, client_id);
    if (!slice_eq_str(client_id, h->client_id)) {
        if (!expired(l, h))
            return false;
        char *id = slice_dup(client_id);
        if (!id)
            return false;
        free(h->client_id);
        h->client_id = id;
    }
    h->renewed_ms = clock_mono(l->clock);
    return true;
}

bool locks_take(struct locks *l, struct slice group, const struct mq_ref *q, struct slice client_id)
{
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, q);
    if (!key.p)
        return false;
    uv_mutex_lock(l->lock);
    bool ok = take_locked(l, group, key, client_id);
    uv_mutex_unlock(l->lock);
    return ok;
}

void locks_release(struct locks *l, struct slice group, const struct mq_ref *q,
                   struct slice client_id)
{
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, q);
    if (!key.p)
        return;
    uv_mutex_lock(l->lock);
    struct map *m = map_get(l->groups, group);
    struct held *h = m ? map_get(m, key) : NULL;
    if (h && slice_eq_str(client_id, h->client_id)) {
        map_remove(m, key);
        held_free(h);
        l->n--;
    }
    uv_mutex_unlock(l->lock);
}

bool locks_group_live(const struct locks *l, struct slice group)
{
    bool live = false;
    uv_mutex_lock(l->lock);
    const struct map *m = map_get(l->groups, group);
    struct map_iter it = {0};
    while (m && !live && map_next(m, &it))
        live = !expired(l, it.value);
    uv_mutex_unlock(l->lock);
    return live;
}

void locks_expire(struct locks *l)
{
    uv_mutex_lock(l->lock);
    struct map_iter g = {0};
    while (map_next(l->groups, &g)) {
        struct map *m = g.value;
        struct map_iter it = {0};
        while (map_next(m, &it)) {
            if (!expired(l, it.value))
                continue;
            held_free(it.value);
            map_remove(m, it.key);
            l->n--;
        }
        if (map_count(m) == 0) {
            map_remove(l->groups, g.key);
            map_free(m, NULL);
        }
    }
    uv_mutex_unlock(l->lock);
}

size_t locks_count(const struct locks *l)
{
    uv_mutex_lock(l->lock);
    size_t n = l->n;
    uv_mutex_unlock(l->lock);
    return n;
}
