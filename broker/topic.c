/* The topic table.
 *
 * Runs on: reads on any thread, under `lock`; changes on one thread, the service loop (before it
 * runs: the thread that opens the broker). Because there is one writer, that thread reads without
 * the lock.
 *
 * An entry is never freed or moved while the broker runs (topic deletion is not served), so names
 * may be borrowed from it by the writer. Readers get copies.
 *
 * Invariants: every name in the table passed topic_name_check, also one that came from a file; the
 * data version changes with every change that a name server must learn. */
#include "broker/topic.h"

#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/map.h"

enum { TOPIC_QUEUES_MAX = 65535, PERM_ALL = PERM_PRIORITY | PERM_READ | PERM_WRITE | PERM_INHERIT };

struct entry {
    char *name;
    struct topic_info info;
    json_t *attributes; /* writer only; NULL: none */
};

struct topics {
    uv_mutex_t *lock; /* guards map and every entry's info */
    struct map *map;  /* name -> entry */
    size_t max;
    struct data_version version; /* writer only */
    bool dirty;                  /* writer only */
};

static void entry_free(void *p)
{
    struct entry *t = p;
    json_decref(t->attributes);
    free(t->name);
    free(t);
}

struct topics *topics_new(size_t max)
{
    struct topics *t = calloc(1, sizeof *t);
    uv_mutex_t *lock = malloc(sizeof *lock);
    struct map *map = map_new();
    if (!t || !lock || !map || uv_mutex_init(lock) != 0) {
        free(t);
        free(lock);
        if (map)
            map_free(map, NULL);
        return NULL;
    }
    t->lock = lock;
    t->map = map;
    t->max = max;
    return t;
}

void topics_free(struct topics *t)
{
    if (!t)
        return;
    map_free(t->map, entry_free);
    uv_mutex_destroy(t->lock);
    free(t->lock);
    free(t);
}

bool topics_get(const struct topics *t, struct slice name, struct topic_info *out)
{
    uv_mutex_lock(t->lock);
    const struct entry *found = map_get(t->map, name);
    if (found)
        *out = found->info;
    uv_mutex_unlock(t->lock);
    return found != NULL;
}

size_t topics_count(const struct topics *t)
{
    uv_mutex_lock(t->lock);
    size_t n = map_count(t->map);
    uv_mutex_unlock(t->lock);
    return n;
}

int topics_template(const struct topics *t, struct slice name, struct slice default_topic,
                    int32_t default_queue_nums, bool unit_mode, struct topic_spec *out,
                    struct err *e)
{
    struct topic_info from;
    int rc = topic_name_check(name, e);
    if (rc != 0)
        return rc;
    if (!topics_get(t, default_topic, &from) || !(from.perm & PERM_INHERIT))
        return err_set(e, E_NOTFOUND, "topic " SLICE_FMT " lets no topic be created from it",
                       SLICE_ARG(default_topic));
    /* RocketMQ takes a number below 1 for 0, and makes a topic that nobody can send to. */
    int32_t queues = default_queue_nums > 0 && default_queue_nums < from.write_queue_nums
                         ? default_queue_nums
                         : from.write_queue_nums;
    *out = (struct topic_spec){
        .name = name,
        .info = {.read_queue_nums = queues > 0 ? queues : 0,
                 .write_queue_nums = queues > 0 ? queues : 0,
                 .perm = from.perm & ~PERM_INHERIT,
                 .sys_flag = unit_mode ? TOPIC_SYSFLAG_UNIT : 0,
                 .multi_tags = from.multi_tags},
    };
    return 0;
}

struct topic_spec topic_spec_plain(struct slice name, int32_t queues, bool unit_mode)
{
    return (struct topic_spec){
        .name = name,
        .info = {.read_queue_nums = queues,
                 .write_queue_nums = queues,
                 .perm = PERM_READ | PERM_WRITE,
                 .sys_flag = unit_mode ? TOPIC_SYSFLAG_UNIT_SUB : 0},
    };
}

static int check_spec(const struct topic_spec *s, struct err *e)
{
    int rc = topic_name_check(s->name, e);
    if (rc != 0)
        return rc;
    const struct topic_info *i = &s->info;
    if (i->read_queue_nums < 0 || i->read_queue_nums > TOPIC_QUEUES_MAX ||
        i->write_queue_nums < 0 || i->write_queue_nums > TOPIC_QUEUES_MAX)
        return err_set(
            e, E_INVAL, "queue numbers of topic " SLICE_FMT " must be 0 to %d, not %d and %d",
            SLICE_ARG(s->name), TOPIC_QUEUES_MAX, i->read_queue_nums, i->write_queue_nums);
    if ((i->perm & ~PERM_ALL) != 0)
        return err_set(e, E_INVAL, "perm %d of topic " SLICE_FMT " is not a sum of 8, 4, 2 and 1",
                       i->perm, SLICE_ARG(s->name));
    return 0;
}

static bool info_eq(const struct topic_info *a, const struct topic_info *b)
{
    return a->read_queue_nums == b->read_queue_nums && a->write_queue_nums == b->write_queue_nums &&
           a->perm == b->perm && a->sys_flag == b->sys_flag && a->order == b->order &&
           a->multi_tags == b->multi_tags;
}

static int entry_add(struct topics *t, const struct topic_spec *s, struct err *e)
{
    if (map_count(t->map) >= t->max)
        return err_set(e, E_BUSY,
                       "the broker has %zu topics, its limit: delete some or raise maxTopics",
                       t->max);
    struct entry *made = calloc(1, sizeof *made);
    char *name = slice_dup(s->name);
    if (!made || !name) {
        free(made);
        free(name);
        return err_set(e, E_NOMEM, "topic " SLICE_FMT ": out of memory", SLICE_ARG(s->name));
    }
    *made = (struct entry){
        .name = name, .info = s->info, .attributes = json_deep_copy(s->attributes)};
    uv_mutex_lock(t->lock);
    int rc = map_put(t->map, s->name, made, NULL);
    uv_mutex_unlock(t->lock);
    if (rc != 0) {
        entry_free(made);
        return err_set(e, rc, "topic " SLICE_FMT ": out of memory", SLICE_ARG(s->name));
    }
    return 0;
}

static bool entry_change(struct topics *t, struct entry *old, const struct topic_spec *s)
{
    bool attributes_same = !s->attributes || json_equal(s->attributes, old->attributes);
    if (info_eq(&old->info, &s->info) && attributes_same)
        return false;
    if (!attributes_same) {
        json_decref(old->attributes);
        old->attributes = json_deep_copy(s->attributes);
    }
    uv_mutex_lock(t->lock);
    old->info = s->info;
    uv_mutex_unlock(t->lock);
    return true;
}

int topics_put(struct topics *t, const struct topic_spec *spec, const struct clock *clock,
               bool *changed, struct err *e)
{
    int rc = check_spec(spec, e);
    if (rc != 0)
        return rc;
    bool did = true;
    struct entry *old = map_get(t->map, spec->name);
    if (old)
        did = entry_change(t, old, spec);
    else
        rc = entry_add(t, spec, e);
    if (rc == 0 && did) {
        t->version.timestamp = clock_wall(clock);
        t->version.counter++;
        t->dirty = true;
    }
    if (rc == 0 && changed)
        *changed = did;
    return rc;
}

bool topics_dirty(const struct topics *t)
{
    return t->dirty;
}

void topics_mark_dirty(struct topics *t)
{
    t->dirty = true;
}

struct data_version topics_version(const struct topics *t)
{
    return t->version;
}

static struct topic_config config_of(const struct entry *t)
{
    return (struct topic_config){
        .name = slice_str(t->name),
        .read_queue_nums = t->info.read_queue_nums,
        .write_queue_nums = t->info.write_queue_nums,
        .perm = t->info.perm,
        .sys_flag = t->info.sys_flag,
        .order = t->info.order,
        .filter_type = t->info.multi_tags ? SLICE_LIT("MULTI_TAG") : SLICE_LIT("SINGLE_TAG"),
        .attributes = t->attributes,
    };
}

int topics_to_json(struct topics *t, json_t **out)
{
    json_t *table = json_object(), *root = json_object();
    struct map_iter it = {0};
    int bad = 0;
    while (map_next(t->map, &it)) {
        struct topic_config c = config_of(it.value);
        bad |= json_object_setn_new(table, c.name.p, c.name.n, topic_config_to_json(&c));
    }
    bad |= json_object_set_new(root, "dataVersion", data_version_to_json(t->version));
    bad |= json_object_set_new(root, "topicConfigTable", table);
    if (bad) {
        json_decref(root);
        return E_NOMEM;
    }
    t->dirty = false;
    *out = root;
    return 0;
}

static int load_one(struct topics *t, const char *key, const json_t *j, struct err *e)
{
    struct topic_config c;
    int rc = topic_config_from_json(j, &c, e);
    if (rc != 0)
        return err_wrap(e, E_CORRUPT, "topic %s", key);
    if (c.name.n > 0 && !slice_eq_str(c.name, key)) /* written equal: one of them is damaged */
        return err_set(e, E_CORRUPT, "topic %s: its entry has another topicName", key);
    struct topic_spec s = {
        .name = c.name.n > 0 ? c.name : slice_str(key),
        .info = {c.read_queue_nums, c.write_queue_nums, c.perm, c.sys_flag, c.order,
                 slice_eq_str(c.filter_type, "MULTI_TAG")},
        .attributes = c.attributes,
    };
    struct err why;
    if (check_spec(&s, &why) != 0) { /* never a name that leaves the data directory */
        LOGW("topic.refused", "file=topics.json reason=\"%s\"", why.text);
        return 0;
    }
    return entry_add(t, &s, e);
}

int topics_from_json(struct topics *t, const json_t *j, struct err *e)
{
    json_t *table = json_object_get(j, "topicConfigTable");
    if (!json_is_object(table))
        return err_set(e, E_CORRUPT, "topics.json has no topicConfigTable");
    t->version = data_version_from_json(json_object_get(j, "dataVersion"));
    const char *key;
    json_t *one;
    json_object_foreach(table, key, one) {
        int rc = load_one(t, key, one, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int topics_register_body(const struct topics *t, int32_t broker_perm, struct buf *out)
{
    size_t n = 0, cap = map_count(t->map);
    struct topic_config *all = calloc(cap + 1, sizeof *all);
    if (!all)
        return E_NOMEM;
    struct map_iter it = {0};
    while (map_next(t->map, &it)) {
        all[n] = config_of(it.value);
        if ((broker_perm & (PERM_READ | PERM_WRITE)) != (PERM_READ | PERM_WRITE))
            all[n].perm &= broker_perm;
        n++;
    }
    int rc = register_body_encode(all, n, t->version, out);
    free(all);
    return rc;
}
