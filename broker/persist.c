/* The files of config/.
 *
 * Runs on: the thread that opens the broker (load), the service loop (save), the closing thread
 * (the last save).
 *
 * Protocol, as RocketMQ's ConfigManager: <name> is replaced atomically and the previous content
 * kept as <name>.bak; loading takes <name>, or the backup when it is missing, empty or does not
 * parse. Different on purpose: when neither is usable but one exists, the broker refuses to start
 * and says so (upstream starts with an empty table, and consumers begin again somewhere). */
#include "broker/persist.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/group.h"
#include "broker/offset.h"
#include "broker/topic.h"

enum { CONFIG_MAX = 512 * 1024 * 1024, PATH_SIZE = 4400 };

static void path_of(const struct broker *b, const char *name, const char *suffix,
                    char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/config/%s%s", b->conf->store_root, name, suffix);
}

static int load_file(struct broker *b, const char *path, json_t **out, struct err *e)
{
    char *text;
    size_t n;
    int rc = fs_read_all(b->fs, path, CONFIG_MAX, &text, &n, e);
    if (rc != 0)
        return rc;
    if (slice_trim(slice_of(text, n)).n == 0)
        rc = err_set(e, E_CORRUPT, "%s is empty", path);
    else if ((rc = json_parse(slice_of(text, n), out, e)) != 0)
        rc = err_wrap(e, rc == E_NOMEM ? rc : E_CORRUPT, "%s", path);
    free(text);
    return rc;
}

int persist_load(struct broker *b, const char *name, json_t **out, struct err *e)
{
    char path[PATH_SIZE], backup[PATH_SIZE];
    struct err first, second;
    path_of(b, name, "", path);
    path_of(b, name, ".bak", backup);
    *out = NULL;
    int rc = load_file(b, path, out, &first);
    if (rc == 0)
        return 0;
    if (rc == E_NOMEM) /* says nothing about the file: the backup is older, and must not win */
        return err_set(e, rc, "%s", first.text);
    int rc_backup = load_file(b, backup, out, &second);
    if (rc_backup == 0) {
        LOGW("config.backup", "file=%s reason=\"%s\" taken=%s", path, first.text, backup);
        return 0;
    }
    if (rc_backup == E_NOMEM)
        return err_set(e, rc_backup, "%s", second.text);
    if (rc == E_NOTFOUND && rc_backup == E_NOTFOUND)
        return 0;
    const struct err *why = rc == E_NOTFOUND ? &second : &first;
    return err_set(e, E_CORRUPT,
                   "%s, and there is no usable backup: restore %s from a copy, or remove it "
                   "(and %s.bak) to begin with an empty table",
                   why->text, name, name);
}

int persist_save(struct broker *b, const char *name, json_t *j, struct err *e)
{
    char path[PATH_SIZE];
    struct buf text;
    buf_init(&text, 0);
    path_of(b, name, "", path);
    int rc = json_write_indented(j, &text);
    json_decref(j);
    if (rc != 0)
        err_set(e, rc, "%s: out of memory", path);
    else if ((rc = FAILPOINT(FP_CONFIG_PERSIST)) != 0)
        err_set(e, rc, "%s: injected failure", path);
    else
        rc = fs_write_atomic_bak(b->fs, path, buf_slice(&text), e);
    buf_free(&text);
    return rc;
}

static int load_table(struct broker *b, const char *name, void *table,
                      int (*from_json)(void *table, const json_t *j, struct err *e), struct err *e)
{
    json_t *j;
    int rc = persist_load(b, name, &j, e);
    if (rc != 0 || !j)
        return rc;
    rc = from_json(table, j, e);
    json_decref(j);
    return rc == 0 ? 0 : err_wrap(e, rc, "%s/config/%s", b->conf->store_root, name);
}

static int topics_load(void *t, const json_t *j, struct err *e)
{
    return topics_from_json(t, j, e);
}

static int groups_load(void *g, const json_t *j, struct err *e)
{
    return groups_from_json(g, j, e);
}

static int offsets_load(void *o, const json_t *j, struct err *e)
{
    return offsets_from_json(o, j, e);
}

static int64_t end_of_queue(void *arg, struct slice topic, int32_t queue_id)
{
    const struct broker *b = arg;
    int64_t min, max;
    store_queue_range(b->store, topic, queue_id, &min, &max);
    return max;
}

int persist_load_tables(struct broker *b, struct err *e)
{
    int rc = load_table(b, "topics.json", b->topics, topics_load, e);
    if (rc == 0)
        rc = load_table(b, "subscriptionGroup.json", b->groups, groups_load, e);
    if (rc == 0)
        rc = load_table(b, "consumerOffset.json", b->offsets, offsets_load, e);
    const size_t lowered = rc == 0 && !b->recovery.clean ? offsets_limit(b->offsets, end_of_queue, b) : 0;
    if (lowered > 0)
        LOGW("offset.lowered", "queues=%zu reason=\"committed beyond the end of the log, which lost its tail\"",
             lowered);
    return rc;
}

int persist_save_topics(struct broker *b, struct err *e)
{
    json_t *j;
    if (!topics_dirty(b->topics))
        return 0;
    int rc = topics_to_json(b->topics, &j);
    if (rc == 0)
        rc = persist_save(b, "topics.json", j, e);
    else
        err_set(e, rc, "topics.json: out of memory");
    if (rc != 0)
        topics_mark_dirty(b->topics);
    return rc;
}

int persist_save_groups(struct broker *b, struct err *e)
{
    json_t *j;
    if (!groups_dirty(b->groups))
        return 0;
    int rc = groups_to_json(b->groups, &j);
    if (rc == 0)
        rc = persist_save(b, "subscriptionGroup.json", j, e);
    else
        err_set(e, rc, "subscriptionGroup.json: out of memory");
    if (rc != 0)
        groups_mark_dirty(b->groups);
    return rc;
}

int persist_save_offsets(struct broker *b, struct err *e)
{
    json_t *j;
    if (!offsets_dirty(b->offsets))
        return 0;
    int rc = offsets_to_json(b->offsets, b->clock, &j);
    if (rc == 0)
        rc = persist_save(b, "consumerOffset.json", j, e);
    else
        err_set(e, rc, "consumerOffset.json: out of memory");
    if (rc != 0)
        offsets_mark_dirty(b->offsets);
    return rc;
}
