/* The small files: checkpoint, and the broker's tables in config/.
 *
 * Runs on: the one thread of the tool. The checkpoint is read before the log, since it says what a crash
 * may have cost, and judged after it: no time in it may be younger than the log's youngest record.
 *
 * Tables: each *.json must parse, or its .bak must (the broker falls back to it). Positions of consumers and
 * delays must not lie behind the end of their queues: the consumer would skip what comes until the queue
 * is that long. Positions below the minimum are what retention leaves of a group that is away. */
#include <stdio.h>
#include <stdlib.h>

#include "mqstore/verify_priv.h"
#include "proto/names.h"

enum { CONFIG_MAX = 512 * 1024 * 1024 };

/* ---- checkpoint ---- */

int verify_checkpoint_load(struct verify *v, struct err *e)
{
    char *const path = path_join(v->site.root, "checkpoint"), *p = NULL;
    size_t n = 0;
    struct err why;
    if (!path)
        return err_set(e, E_NOMEM, "verify the checkpoint");
    const int rc = fs_read_all(v->site.fs, path, 1 << 20, &p, &n, &why);
    if (!rc && n == CHECKPOINT_SIZE) {
        v->checkpoint = checkpoint_get((const struct disk_checkpoint *)p);
        v->have_checkpoint = true;
    } else if (rc != E_NOTFOUND && (rc || n)) { /* an empty one is a first start that did not get far */
        report_add(&v->report, DAMAGE, CHECKPOINT_SHAPE, path, -1, "%s (%zu bytes instead of %d)",
                   rc ? why.text : "wrong size", n, CHECKPOINT_SIZE);
        v->checkpoint_damaged = true;
    }
    free(p);
    free(path);
    return 0;
}

/* Queues and index may have been synced before the log they were made from: a power cut shows that. */
static void check_time(struct verify *v, const char *path, size_t at, const char *what, int64_t ts)
{
    const enum severity s = unless_crashed(v, at != offsetof(struct disk_checkpoint, physic_ts));
    if (ts <= v->log.max_ts)
        return;
    report_add(&v->report, s, CHECKPOINT_FUTURE, path, (int64_t)at, "%s up to store time %lld is on disk, it says; "
               "the log's youngest record is of %lld", what, (long long)ts, (long long)v->log.max_ts);
    v->checkpoint_damaged |= s == DAMAGE;
}

void verify_checkpoint(struct verify *v)
{
    char *const path = path_join(v->site.root, "checkpoint");
    const struct checkpoint *const c = &v->checkpoint;
    check_time(v, path, offsetof(struct disk_checkpoint, physic_ts), "the log", c->physic_ts);
    check_time(v, path, offsetof(struct disk_checkpoint, logics_ts), "every consume queue", c->logics_ts);
    check_time(v, path, offsetof(struct disk_checkpoint, index_ts), "the index", c->index_ts);
    free(path);
}

bool verify_unsynced(const struct verify *v, int64_t store_ts)
{
    const struct checkpoint *const c = &v->checkpoint;
    enum { SLACK_MS = 3000 }; /* Source: StoreCheckpoint.getMinTimestamp */
    return store_ts > (c->physic_ts < c->logics_ts ? c->physic_ts : c->logics_ts) - SLACK_MS;
}

/* ---- config ---- */

static char *config_path(const struct verify *v, const char *name, const char *suffix)
{
    struct buf path;
    size_t n;
    buf_init(&path, 0);
    buf_printf(&path, "%s/config/%s%s%c", v->site.root, name, suffix, 0);
    if (buf_error(&path)) {
        buf_free(&path);
        return NULL;
    }
    return buf_take(&path, &n);
}

static int load_json(struct verify *v, const char *name, const char *suffix, json_t **out, struct err *e)
{
    char *const path = config_path(v, name, suffix), *text;
    size_t n;
    if (!path)
        return err_set(e, E_NOMEM, "verify config/%s", name);
    int rc = fs_read_all(v->site.fs, path, CONFIG_MAX, &text, &n, e);
    free(path);
    if (rc)
        return rc;
    if (!slice_trim(slice_of(text, n)).n)
        rc = err_set(e, E_CORRUPT, "it is empty");
    else
        rc = json_parse(slice_of(text, n), out, e);
    free(text);
    return rc;
}

/* *out NULL: there is no such table, or no readable one (reported). */
static int load_table(struct verify *v, const char *name, json_t **out, struct err *e)
{
    struct err why, second;
    *out = NULL;
    const int rc = load_json(v, name, "", out, &why);
    if (!rc)
        return 0;
    const int rc_bak = load_json(v, name, ".bak", out, &second);
    if (rc == E_NOMEM || rc_bak == E_NOMEM)
        return err_set(e, E_NOMEM, "verify config/%s", name);
    if (rc == E_NOTFOUND && rc_bak == E_NOTFOUND)
        return 0;
    char *const path = config_path(v, name, "");
    report_add(&v->report, rc_bak ? DAMAGE : NOTE, rc_bak ? CONFIG_DAMAGED : CONFIG_BACKUP, path, -1, "%s%s",
               rc == E_NOTFOUND ? "it is missing" : why.text, rc_bak ? ", and there is no usable .bak" : "");
    v->config_damaged |= rc_bak != 0;
    free(path);
    return 0;
}

int verify_topics_load(struct verify *v, struct err *e)
{
    const int rc = load_table(v, "topics.json", &v->cq.topics_doc, e);
    v->cq.topics = json_object_get(v->cq.topics_doc, "topicConfigTable");
    return rc;
}

static void check_position(struct verify *v, const char *path, const char *who, struct slice topic, int32_t id,
                           int64_t at)
{
    const struct vqueue *const q = verify_queue_find(v, topic, id);
    const int64_t min = q ? q->min : 0, max = q ? q->max : 0;
    if (at < 0)
        return; /* RocketMQ's "none" */
    /* A queue without files may be of a kind that is kept elsewhere, or of a deleted topic. */
    if (q && q->on_disk && at > max)
        report_add(&v->report, unless_crashed(v, true), OFFSET_BEYOND, path, -1, "%s is at %lld of " SLICE_FMT
                   "-%d, which ends at %lld", who, (long long)at, SLICE_ARG(topic), id, (long long)max);
    else if (q && q->on_disk && at < min)
        report_add(&v->report, NOTE, OFFSET_BELOW, path, -1, "%s is at %lld of " SLICE_FMT "-%d, which begins at %lld",
                   who, (long long)at, SLICE_ARG(topic), id, (long long)min);
}

static void check_offsets(struct verify *v, const json_t *root, const char *path)
{
    const char *pair, *queue;
    json_t *cells, *at;
    json_object_foreach(json_object_get(root, "offsetTable"), pair, cells) {
        const char *const mark = strchr(pair, '@');
        if (!mark)
            continue;
        json_object_foreach(cells, queue, at) {
            int32_t id;
            if (!slice_i32(slice_str(queue), &id))
                check_position(v, path, mark + 1, slice_of(pair, (size_t)(mark - pair)), id, json_get_i64(cells, queue, -1));
        }
    }
}

static void check_delays(struct verify *v, const json_t *root, const char *path)
{
    const json_t *const table = json_object_get(root, "offsetTable");
    const char *level;
    json_t *at;
    json_object_foreach((json_t *)(uintptr_t)table, level, at) {
        int32_t n;
        char who[32];
        if (slice_i32(slice_str(level), &n) || n <= 0)
            continue;
        snprintf(who, sizeof who, "delay level %d", n);
        check_position(v, path, who, SLICE_LIT(TOPIC_SCHEDULE), n - 1, json_get_i64(table, level, -1));
    }
}

static int check_table(struct verify *v, const char *name, void (*check)(struct verify *, const json_t *, const char *),
                       struct err *e)
{
    json_t *root;
    const int rc = load_table(v, name, &root, e);
    if (!rc && root && check) {
        char *const path = config_path(v, name, "");
        check(v, root, path);
        free(path);
    }
    json_decref(root);
    return rc;
}

/* Tables that other versions keep here and this broker does not read. */
struct others {
    struct verify *v;
    struct err *e;
};

static int check_other(void *arg, const char *name)
{
    static const char *const known[] = {"topics.json", "subscriptionGroup.json", "consumerOffset.json",
                                        "delayOffset.json"};
    const struct others *const o = arg;
    const size_t n = strlen(name);
    if (n < 6 || strcmp(name + n - 5, ".json"))
        return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i]))
            return 0;
    return check_table(o->v, name, NULL, o->e);
}

int verify_config(struct verify *v, struct err *e)
{
    struct others o = {v, e};
    int rc = check_table(v, "subscriptionGroup.json", NULL, e);
    if (!rc)
        rc = check_table(v, "consumerOffset.json", check_offsets, e);
    if (!rc)
        rc = check_table(v, "delayOffset.json", check_delays, e);
    char *const dir = path_join(v->site.root, "config");
    if (!rc)
        rc = dir ? v->site.fs->list(v->site.fs, dir, check_other, &o, e) : err_set(e, E_NOMEM, "verify config");
    free(dir);
    return rc == E_NOTFOUND ? 0 : rc;
}
