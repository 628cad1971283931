/* All consume queues: the look-up table, and the worker that writes them to their files.
 *
 * Owns: one reference to each queue, the dirty list, the flush round in progress.
 * Runs on: look-ups on any thread (read lock); creation on submitters; flush rounds on the cq flusher.
 *
 * Happy path of a flush round: notice up to which store time every unit is in its queue, take the
 * dirty list, write and sync each queue's new units, and when all went well move the checkpoint to
 * the noticed time. A queue that got nothing new since its last round gives its memory back and
 * leaves the list. A step handles ROUND_BATCH queues, so that shutdown and tests need not wait for
 * 80,000.
 *
 * What a round writes: queues with flushConsumeQueueLeastPages pages of new units, or whose file is
 * full. A thorough round writes every unit, and only that moves the checkpoint. It comes every
 * flushConsumeQueueThoroughInterval; when the log grew by a quarter of a file since the last one, for
 * so much more would a recovery read; and when UNWRITTEN_EAGER units wait in memory.
 *
 * Syncs. A new queue costs four (two directories, a name, its units), each half a millisecond and
 * more. From SYNC_TOGETHER queues in a batch on, names and units are only written, and one sync of the
 * file system makes them durable together. It writes what others have dirty there, too, which is why
 * few queues are synced one by one.
 *
 * Failure modes: a queue cannot be written, or the common sync fails: the queues stay dirty with their
 * units in memory, the checkpoint stays where it was (so the next recovery makes these units again),
 * the next round tries again; after a failed common sync with another one, since names may be missing.
 * Units that pile up in memory are bounded: at QUEUE_UNWRITTEN_MAX the store turns FAILED rather than eat
 * the machine.
 *
 * Invariants: 1. a queue is on `dirty` or `round` exactly while q->dirty; 2. the checkpoint's queue
 * time and `synced` cover only units that were synced; 3. files of a deleted topic are removed and its queues
 * marked gone under io_lock, so no flush recreates them. */
#include "store/store_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "proto/names.h"

enum { ROUND_BATCH = 1024, SYNC_TOGETHER = 32, SCRATCH_SIZE = 64 * 1024, KEY_MAX = MESSAGE_TOPIC_LONG_MAX + 4 };
#define UNWRITTEN_EAGER (QUEUE_UNWRITTEN_MAX / 4)

int queue_table_init(struct queue_table *t, struct store *st, struct err *e)
{
    t->st = st;
    t->fs = st->fs;
    t->file_size = (st->o.cq_file_size + CQ_UNIT_SIZE - 1) / CQ_UNIT_SIZE * CQ_UNIT_SIZE;
    list_init(&t->dirty);
    list_init(&t->round);
    list_init(&t->lru);
    t->dir = slice_dup(slice_str(st->places.path[PLACE_QUEUES]));
    t->map = map_new();
    t->scratch = malloc(SCRATCH_SIZE);
    if (!t->dir || !t->map || !t->scratch)
        goto err_memory;
    if (uv_rwlock_init(&t->map_lock))
        goto err_memory;
    if (uv_mutex_init(&t->dirty_lock))
        goto err_map_lock;
    if (uv_mutex_init(&t->io_lock))
        goto err_dirty_lock;
    if (uv_mutex_init(&t->fds_lock))
        goto err_io_lock;
    return 0;

err_io_lock:
    uv_mutex_destroy(&t->io_lock);
err_dirty_lock:
    uv_mutex_destroy(&t->dirty_lock);
err_map_lock:
    uv_rwlock_destroy(&t->map_lock);
err_memory:
    free(t->dir);
    if (t->map)
        map_free(t->map, NULL);
    free(t->scratch);
    return err_set(e, E_NOMEM, "open consume queues");
}

static void forget_list(struct list *l)
{
    for (struct list *it; (it = list_pop_front(l));)
        queue_unref(LIST_ENTRY(it, struct store_queue, dirty_link));
}

static void free_value(void *value)
{
    queue_unref(value);
}

void queue_table_fini(struct queue_table *t)
{
    if (t->dir_file)
        t->fs->close(t->dir_file);
    forget_list(&t->dirty);
    forget_list(&t->round);
    map_free(t->map, free_value);
    MQ_ASSERT(list_empty(&t->lru));
    uv_mutex_destroy(&t->fds_lock);
    uv_mutex_destroy(&t->io_lock);
    uv_mutex_destroy(&t->dirty_lock);
    uv_rwlock_destroy(&t->map_lock);
    free(t->scratch);
    free(t->dir);
}

static struct slice make_key(struct slice topic, int32_t id, char key[KEY_MAX])
{
    memcpy(key, topic.p, topic.n);
    be32_put(key + topic.n, (uint32_t)id);
    return slice_of(key, topic.n + 4);
}

struct store_queue *queue_find(struct queue_table *t, struct slice topic, int32_t id)
{
    char key[KEY_MAX];
    if (topic.n > MESSAGE_TOPIC_LONG_MAX)
        return NULL;
    const struct slice k = make_key(topic, id, key);
    uv_rwlock_rdlock(&t->map_lock);
    struct store_queue *q = map_get(t->map, k);
    if (q)
        queue_ref(q);
    uv_rwlock_rdunlock(&t->map_lock);
    return q;
}

int queue_open(struct queue_table *t, struct slice topic, int32_t id, struct store_queue **out, struct err *e)
{
    struct store_queue *q = queue_find(t, topic, id);
    if (q) {
        *out = q;
        return 0;
    }
    int rc = topic_name_check(topic, e); /* it becomes a directory name */
    if (rc)
        return rc;
    if (id < 0)
        return err_set(e, E_INVAL, "queue id %d is negative", id);
    struct store_queue *mine = queue_new(t, topic, id);
    if (!mine)
        return err_set(e, E_NOMEM, "open consume queue");
    char key[KEY_MAX];
    const struct slice k = make_key(topic, id, key);
    uv_rwlock_wrlock(&t->map_lock);
    q = map_get(t->map, k);
    if (!q) {
        rc = map_put(t->map, k, mine, NULL);
        if (!rc)
            q = mine;
    }
    if (q)
        queue_ref(q);
    uv_rwlock_wrunlock(&t->map_lock);
    if (q != mine)
        queue_unref(mine);
    if (rc)
        return err_set(e, rc, "open consume queue");
    *out = q;
    return 0;
}

void queue_mark_dirty(struct store_queue *q)
{
    if (q->dirty)
        return;
    q->dirty = true;
    queue_ref(q);
    uv_mutex_lock(&q->table->dirty_lock);
    list_push_back(&q->table->dirty, &q->dirty_link);
    uv_mutex_unlock(&q->table->dirty_lock);
}

static void keep_dirty(struct store_queue *q)
{
    uv_mutex_lock(&q->table->dirty_lock);
    list_push_back(&q->table->dirty, &q->dirty_link);
    uv_mutex_unlock(&q->table->dirty_lock);
}

/* Takes the queue off the list when the files have it all. */
static bool retire(struct store_queue *q)
{
    uv_mutex_lock(&q->lock);
    const bool idle = queue_release_tail(q);
    if (idle)
        q->dirty = false;
    uv_mutex_unlock(&q->lock);
    return idle;
}

static bool is_due(struct store_queue *q)
{
    const struct queue_table *t = q->table;
    uv_mutex_lock(&q->lock);
    const int64_t from = q->written * CQ_UNIT_SIZE, to = q->max * CQ_UNIT_SIZE;
    uv_mutex_unlock(&q->lock);
    return to - from >= (int64_t)t->st->o.cq_flush_least_pages * PAGE ||
           from / t->file_size != to / t->file_size;
}

/* Moves up to ROUND_BATCH queues with something to write from one list to the other. Returns how many. */
static int choose(struct queue_table *t, struct list *from, bool all, struct list *batch)
{
    int n = 0;
    struct list *l;
    for (int i = 0; i < ROUND_BATCH && (l = list_pop_front(from)); i++) {
        struct store_queue *q = LIST_ENTRY(l, struct store_queue, dirty_link);
        if (retire(q)) {
            queue_unref(q);
        } else if (!all && !is_due(q)) {
            t->round_left = true;
            keep_dirty(q);
        } else {
            list_push_back(batch, l);
            n++;
        }
    }
    return n;
}

static int sync_everything(struct queue_table *t, struct err *e)
{
    const int rc = t->fs->sync_all(t->dir_file, e);
    if (!rc)
        t->unsynced = false;
    return rc;
}

static int write_batch(struct list *batch, bool sync, struct err *e)
{
    int rc = 0;
    LIST_FOREACH(l, batch) {
        struct err one;
        const int failed = queue_write(LIST_ENTRY(l, struct store_queue, dirty_link), sync, &one);
        if (failed && !rc) {
            rc = failed;
            if (e)
                *e = one;
        }
    }
    return rc;
}

/* Writes a batch from the list; `all`: whether or not it is due. Every queue is tried, the first error
 * comes back. */
static int flush_batch(struct queue_table *t, struct list *from, bool all, struct err *e)
{
    struct list batch;
    list_init(&batch);
    const bool together = choose(t, from, all, &batch) >= SYNC_TOGETHER || t->unsynced;
    struct err second;
    const int rc = write_batch(&batch, !together, e);
    const int sync_rc = together ? sync_everything(t, rc ? &second : e) : 0;
    for (struct list *l; (l = list_pop_front(&batch));) {
        struct store_queue *q = LIST_ENTRY(l, struct store_queue, dirty_link);
        if (together && !sync_rc)
            queue_mark_written(q);
        keep_dirty(q);
    }
    return rc ? rc : sync_rc;
}

static bool is_thorough(struct queue_table *t, int64_t now, int64_t wrote)
{
    const struct store *st = t->st;
    return t->thorough_due || now - t->thorough_ms >= st->o.cq_flush_thorough_ms ||
           wrote - t->thorough_wrote >= st->log.file_size / 4 ||
           atomic_load(&t->unwritten) > UNWRITTEN_EAGER || atomic_load(&st->closing);
}

static void begin_round(struct queue_table *t)
{
    const int64_t now = clock_mono(t->st->clock), wrote = atomic_load(&t->st->log.wrote);
    t->round_thorough = is_thorough(t, now, wrote);
    if (t->round_thorough) {
        t->thorough_ms = now;
        t->thorough_wrote = wrote;
        t->thorough_due = false;
    }
    t->round_failed = t->round_left = false;
    /* Read before the lists: units of records up to this time are in queues on the lists by now. */
    t->round_offset = atomic_load(&t->st->vis.offset);
    t->round_ts = atomic_load(&t->st->vis.ts);
    t->round_physic_ts = atomic_load(&t->st->log.flushed_ts);
    uv_mutex_lock(&t->dirty_lock);
    list_move_all(&t->dirty, &t->round);
    uv_mutex_unlock(&t->dirty_lock);
}

static void end_round(struct queue_table *t)
{
    struct err e;
    if (!t->round_failed) {
        if (!t->round_left) {
            atomic_store(&t->synced, t->round_offset);
            if (checkpoint_save(t->st, t->round_physic_ts, t->round_ts, &e))
                LOGW("store.checkpoint", "text=\"%s\"", e.text);
        }
        return;
    }
    t->thorough_due |= t->round_thorough;
    if (atomic_load(&t->unwritten) > QUEUE_UNWRITTEN_MAX)
        store_fail_mark(t->st, "consume queue files cannot be written");
}

bool queue_table_flush_step(struct queue_table *t)
{
    struct err e;
    uv_mutex_lock(&t->io_lock);
    if (list_empty(&t->round))
        begin_round(t);
    if (flush_batch(t, &t->round, t->round_thorough, &e)) {
        LOGW("store.cq.flush", "text=\"%s\"", e.text);
        t->round_failed = true;
    }
    const bool more = !list_empty(&t->round);
    if (!more)
        end_round(t);
    uv_mutex_unlock(&t->io_lock);
    store_fail_report(t->st);
    return more;
}

int queue_table_flush_all(struct queue_table *t, struct err *e)
{
    int rc = 0;
    uv_mutex_lock(&t->io_lock);
    struct list all;
    uv_mutex_lock(&t->dirty_lock);
    list_move_all(&t->dirty, &all);
    uv_mutex_unlock(&t->dirty_lock);
    for (struct list *l; (l = list_pop_front(&t->round));)
        list_push_back(&all, l);
    while (!list_empty(&all) && !rc)
        rc = flush_batch(t, &all, true, e);
    if (!rc && t->unsynced)
        rc = sync_everything(t, e);
    for (struct list *l; (l = list_pop_front(&all));)
        keep_dirty(LIST_ENTRY(l, struct store_queue, dirty_link));
    uv_mutex_unlock(&t->io_lock);
    return rc;
}

void store_queue_range(struct store *st, struct slice topic, int32_t queue_id, int64_t *min, int64_t *max)
{
    struct store_queue *q = queue_find(&st->queues, topic, queue_id);
    *min = *max = 0;
    if (!q)
        return;
    queue_range(q, min, max);
    queue_unref(q);
}

void store_each_queue(struct store *st, void (*each)(void *arg, struct slice topic, int32_t queue_id,
                                                     int64_t min, int64_t max), void *arg)
{
    struct map_iter it = {0};
    uv_rwlock_rdlock(&st->queues.map_lock);
    while (map_next(st->queues.map, &it)) {
        struct store_queue *q = it.value;
        int64_t min, max;
        queue_range(q, &min, &max);
        each(arg, queue_topic(q), q->id, min, max);
    }
    uv_rwlock_rdunlock(&st->queues.map_lock);
}

static void mark_gone(struct store_queue *q)
{
    uv_mutex_lock(&q->lock);
    if (!q->gone)
        atomic_fetch_sub(&q->table->unwritten, q->max - q->written);
    q->gone = true;
    uv_mutex_unlock(&q->lock);
}

int store_delete_topic(struct store *st, struct slice topic, struct err *e)
{
    struct queue_table *t = &st->queues;
    int rc = topic_name_check(topic, e);
    if (rc)
        return rc;
    char name[MESSAGE_TOPIC_LONG_MAX + 1];
    rc = slice_copy(topic, name, sizeof name);
    if (rc)
        return err_set(e, rc, "delete topic");
    char *path = path_join(t->dir, name);
    if (!path)
        return err_set(e, E_NOMEM, "delete topic %s", name);
    uv_mutex_lock(&t->io_lock);
    uv_rwlock_wrlock(&t->map_lock);
    struct map_iter it = {0};
    while (map_next(t->map, &it)) {
        struct store_queue *q = it.value;
        if (!slice_eq(queue_topic(q), topic))
            continue;
        map_remove(t->map, it.key);
        mark_gone(q);
        queue_unref(q);
    }
    uv_rwlock_wrunlock(&t->map_lock);
    struct fs_stat there;
    if (!t->fs->stat(t->fs, path, &there, NULL)) {
        rc = fs_remove_tree(t->fs, path, e);
        if (!rc)
            rc = t->fs->dirsync(t->fs, t->dir, e);
    }
    uv_mutex_unlock(&t->io_lock);
    free(path);
    return rc;
}
