/* One consume queue: the dense index from queue offset to log record.
 *
 * Owns: the units of one (topic, queue id), in memory and in files.
 * Runs on: queue_add on whoever makes records visible (one at a time, vis.lock), queue_write on the
 * cq flusher, reads on any thread.
 *
 * On disk: consumequeue/<TOPIC>/<QUEUE ID>/<20-digit start byte>, each file mappedFileSizeConsumeQueue
 * bytes (a multiple of 20), sparse. The unit of queue offset k is at byte 20 * k (big-endian):
 *
 *   offset  size
 *        0     8  physical offset of the record
 *        8     4  size of the record; 0 = never written, 2^31-1 = pre-blank (no message here)
 *       12     8  tag hash (a Java string hash, sign-extended), or the delivery time of a delayed one
 *
 * Source: ConsumeQueue.
 *
 * In memory: the youngest units, [tail_first, max), in a buffer that starts at 16 units and doubles
 * while the flusher has not caught up; what is in the files makes room for new ones. An idle queue
 * has no buffer at all, so ten thousand topics cost their names.
 *
 *      min ........ tail_first ..... written ............ max
 *       |  files only  |  files+memory  |   memory only    |      (files: synced)
 *
 * Failure modes: files cannot be written: units stay in memory, the round is repeated, and the store
 * turns FAILED when too many pile up (queue_table.c). Nothing is lost by that: every unit can be made
 * again from the log, which is what recovery does with units younger than the checkpoint.
 *
 * Invariants: 1. units are dense: unit k belongs to the k-th record of the queue; 2. min <= max,
 * tail_first <= written <= max, and min <= written; 3. only the flusher moves `written`, only
 * queue_add moves `max`; recovery, alone in the store, may set everything. */
#include "store/store_priv.h"

#include <stdlib.h>

#include "base/log.h"

enum { TAIL_FIRST_CAP = 16, FLUSH_CHUNK_UNITS = 3276 };

struct store_queue *queue_new(struct queue_table *t, struct slice topic, int32_t id)
{
    struct store_queue *q = calloc(1, sizeof *q + topic.n);
    if (!q)
        return NULL;
    if (uv_mutex_init(&q->lock)) {
        free(q);
        return NULL;
    }
    q->table = t;
    q->id = id;
    atomic_init(&q->refs, 1);
    list_init(&q->dirty_link);
    list_init(&q->fds);
    q->topic_n = (uint16_t)topic.n;
    memcpy(q->topic, topic.p, topic.n);
    return q;
}

struct store_queue *queue_ref(struct store_queue *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    return q;
}

void queue_unref(struct store_queue *q)
{
    if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1)
        return;
    queue_fds_close(q);
    uv_mutex_destroy(&q->lock);
    free(q->probe);
    free(q->tail);
    free(q);
}

void queue_unit_put(char *p, const struct queue_unit *u)
{
    struct disk_cq_unit *const d = (struct disk_cq_unit *)p;
    be64_put(d->phys_offset, (uint64_t)u->phys_offset);
    be32_put(d->size, (uint32_t)u->size);
    be64_put(d->tags_code, (uint64_t)u->tags_code);
}

void queue_unit_get(const char *p, struct queue_unit *u)
{
    const struct disk_cq_unit *const d = (const struct disk_cq_unit *)p;
    u->phys_offset = (int64_t)be64_get(d->phys_offset);
    u->size = (int32_t)be32_get(d->size);
    u->tags_code = (int64_t)be64_get(d->tags_code);
}

void queue_range(struct store_queue *q, int64_t *min, int64_t *max)
{
    uv_mutex_lock(&q->lock);
    *min = q->min;
    *max = q->max;
    uv_mutex_unlock(&q->lock);
}

static void drop_front(struct store_queue *q, int64_t units)
{
    const size_t left = (size_t)(q->max - q->tail_first - units);
    memmove(q->tail, q->tail + units * CQ_UNIT_SIZE, left * CQ_UNIT_SIZE);
    q->tail_first += units;
}

/* Room for one more unit: reuses what the files hold when that frees half of the buffer, otherwise
 * grows. Moving less than half at a time would make appends quadratic. */
static int make_room(struct store_queue *q)
{
    const int64_t used = q->max - q->tail_first, in_files = q->written - q->tail_first;
    if (used < q->tail_cap)
        return 0;
    if (q->tail_cap && in_files >= q->tail_cap / 2) {
        drop_front(q, in_files);
        return 0;
    }
    const uint32_t cap = q->tail_cap ? q->tail_cap * 2 : TAIL_FIRST_CAP;
    char *tail = cap > q->tail_cap ? realloc(q->tail, (size_t)cap * CQ_UNIT_SIZE) : NULL;
    if (!tail)
        return E_NOMEM;
    q->tail = tail;
    q->tail_cap = cap;
    return 0;
}

int queue_add(struct store_queue *q, const struct queue_unit *u)
{
    uv_mutex_lock(&q->lock);
    const int rc = make_room(q);
    if (!rc) {
        queue_unit_put(q->tail + (q->max - q->tail_first) * CQ_UNIT_SIZE, u);
        q->max++;
        if (!q->gone) {
            atomic_fetch_add_explicit(&q->table->unwritten, 1, memory_order_relaxed);
            queue_mark_dirty(q);
        }
    }
    uv_mutex_unlock(&q->lock);
    return rc;
}

/* Units of one file; n is cut to what the file holds. `now`: E_AGAIN rather than wait for the disk;
 * a file that has to be opened may wait for its directory. */
static int read_file(struct store_queue *q, int64_t offset, int n, bool now, char *out, struct err *e)
{
    const int64_t pos = offset * CQ_UNIT_SIZE, file_size = q->table->file_size;
    const int64_t start = pos / file_size * file_size;
    const int64_t left = (start + file_size - pos) / CQ_UNIT_SIZE;
    if (n > left)
        n = (int)left;
    struct fs *fs = q->table->fs;
    struct queue_fd *fd = now ? queue_fd_cached(q, start) : NULL;
    const int rc = fd    ? 0
                   : now ? err_set(e, E_AGAIN, "the consume queue file is not open")
                         : queue_fd_get(q, start, CREATE_NOT, &fd, e);
    if (rc)
        return rc;
    const size_t want = (size_t)n * CQ_UNIT_SIZE;
    const ssize_t got = (now ? fs->pread_now : fs->pread)(fd->f, out, want, pos - start, e);
    queue_fd_put(q, fd);
    if (got < 0)
        return (int)got;
    if ((size_t)got < want)
        return err_set(e, E_CORRUPT, "consume queue " SLICE_FMT "-%d ends before queue offset %lld",
                       SLICE_ARG(queue_topic(q)), q->id, (long long)(offset + n));
    return n;
}

static int read_units(struct store_queue *q, int64_t offset, int n, bool now, char *out, struct err *e)
{
    uv_mutex_lock(&q->lock);
    int64_t end = q->max - offset < n ? q->max : offset + n;
    const bool in_memory = q->tail && offset >= q->tail_first;
    if (offset < q->min || offset >= end)
        end = offset;
    else if (in_memory)
        memcpy(out, q->tail + (offset - q->tail_first) * CQ_UNIT_SIZE, (size_t)(end - offset) * CQ_UNIT_SIZE);
    else if (q->tail && end > q->tail_first)
        end = q->tail_first;
    uv_mutex_unlock(&q->lock);
    if (in_memory || end == offset)
        return (int)(end - offset);
    return read_file(q, offset, (int)(end - offset), now, out, e);
}

int queue_read(struct store_queue *q, int64_t offset, int n, char *out, struct err *e)
{
    return read_units(q, offset, n, false, out, e);
}

int queue_read_now(struct store_queue *q, int64_t offset, int n, char *out, struct err *e)
{
    return read_units(q, offset, n, true, out, e);
}

static int one_unit(int n, int64_t offset, const char *p, struct queue_unit *u, struct err *e)
{
    if (n < 0)
        return n;
    if (!n)
        return err_set(e, E_NOTFOUND, "queue offset %lld is outside the queue", (long long)offset);
    queue_unit_get(p, u);
    return 0;
}

int queue_unit_at(struct store_queue *q, int64_t offset, struct queue_unit *u, struct err *e)
{
    char p[CQ_UNIT_SIZE];
    return one_unit(queue_read(q, offset, 1, p, e), offset, p, u, e);
}

int queue_unit_checked(struct store_queue *q, int64_t offset, struct queue_unit *u, struct err *e)
{
    char p[CQ_UNIT_SIZE];
    return one_unit(queue_read_checked(q, offset, 1, p, e), offset, p, u, e);
}

/* Copies units from `at` on, at most to the end of their file. Returns how many. */
static int64_t copy_unwritten(struct store_queue *q, int64_t at)
{
    const int64_t per_file = q->table->file_size / CQ_UNIT_SIZE;
    uv_mutex_lock(&q->lock);
    int64_t n = q->gone ? 0 : q->max - at;
    if (n > FLUSH_CHUNK_UNITS)
        n = FLUSH_CHUNK_UNITS;
    if (n > per_file - at % per_file)
        n = per_file - at % per_file;
    if (n)
        memcpy(q->table->scratch, q->tail + (at - q->tail_first) * CQ_UNIT_SIZE, (size_t)n * CQ_UNIT_SIZE);
    uv_mutex_unlock(&q->lock);
    return n;
}

/* Only after a sync may the units' memory go: when it fails they are written again. */
void queue_mark_written(struct store_queue *q)
{
    uv_mutex_lock(&q->lock);
    atomic_fetch_sub_explicit(&q->table->unwritten, q->flushing - q->written, memory_order_relaxed);
    q->written = q->flushing;
    uv_mutex_unlock(&q->lock);
}

/* The unwritten units of one file. */
static int write_file(struct store_queue *q, bool sync, struct err *e)
{
    struct queue_table *t = q->table;
    const int64_t start = q->flushing * CQ_UNIT_SIZE / t->file_size * t->file_size;
    int64_t at = q->flushing;
    struct queue_fd *fd;
    int rc = queue_fd_get(q, start, sync ? CREATE_SYNCED : CREATE_UNSYNCED, &fd, e);
    if (rc)
        return rc;
    for (int64_t n; !rc && at * CQ_UNIT_SIZE < start + t->file_size && (n = copy_unwritten(q, at)); at += n)
        rc = fs_write(fd->f, t->fs, t->scratch, (size_t)n * CQ_UNIT_SIZE, at * CQ_UNIT_SIZE - start, e);
    if (!rc && sync)
        rc = t->fs->datasync(fd->f, e);
    queue_fd_put(q, fd);
    if (rc)
        return rc;
    q->flushing = at;
    if (sync)
        queue_mark_written(q);
    return 0;
}

int queue_write(struct store_queue *q, bool sync, struct err *e)
{
    int64_t min, max;
    int rc = FAILPOINT(FP_STORE_CQ_FLUSH);
    if (rc)
        return err_set(e, rc, "write consume queue: failpoint");
    q->flushing = q->written; /* moved by this thread only */
    queue_range(q, &min, &max);
    while (!rc && q->flushing < max && !q->gone)
        rc = write_file(q, sync, e);
    return rc ? err_wrap(e, rc, "consume queue " SLICE_FMT "-%d", SLICE_ARG(queue_topic(q)), q->id) : 0;
}

bool queue_release_tail(struct store_queue *q)
{
    if (q->written < q->max && !q->gone)
        return false;
    free(q->tail);
    q->tail = NULL;
    q->tail_cap = 0;
    q->tail_first = q->max;
    return true;
}
