/* Units that an earlier run wrote, compared with the log when they are read.
 *
 * Owns: nothing. Runs on: any thread that reads units for somebody; recovery with the helpers alone.
 *
 * A unit carries no checksum, but its record says everything that is in it. So units below cold_end (in the
 * files when the store was opened, and not made again by recovery) are compared each time they are read:
 * does a record stand there, of this topic, queue id and queue offset, with this size and tag? Younger
 * units come from records that were checked. Filtered reads look at the records of cold units too: a tag
 * code that is wrong must not hide a message.
 *
 * Happy path: they agree.
 *
 * Failure modes:
 *   size or tag code differ          the record decides
 *   another record, or none, there   the queue's own record is looked for in the log, between the records
 *                                    of the nearest units that have theirs; found: it decides
 *   not found, another queue's       the place reads as empty (pre-blank)
 *   not found, no record             left alone: the reader reports it and goes on
 * What the record decides is written back to the file, unsynced: after a power cut it is found again. Each
 * case is one log line with file and byte.
 *
 * What is accepted: a queue offset that differs from its record's by as much as a neighbour's does (RocketMQ
 * may append a unit at another place than the record says), and a delivery time as far from the store time
 * as a neighbour's (another delay table).
 * LIMIT: the search reads the log between the neighbours' records, however far they are apart.
 *
 * Invariant: a cold unit that was checked names a record of that topic and queue, or no record at all. */
#include "base/log.h"
#include "store/store_priv.h"

enum { LOOK_AROUND = 64 /* units looked at for a neighbour that has its record */ };

static bool record_at(struct store_queue *q, const struct queue_unit *u, struct message *m, struct store_file **file)
{
    struct store_file *const f = commitlog_find(&q->table->st->log, u->phys_offset);
    if (!f)
        return false;
    const int64_t at = u->phys_offset - f->start, left = f->size - at;
    if (record_judge(slice_of(f->map + at, (size_t)left), left, u->phys_offset, 0, m, NULL) == RECORD_WHOLE) {
        *file = f;
        return true;
    }
    store_file_unref(f);
    return false;
}

static bool is_of(const struct store_queue *q, const struct message *m)
{
    return m->queue_id == q->id && record_takes_unit(m) && slice_eq(m->topic, queue_topic(q));
}

/* What is compared of a unit and its record. */
struct match {
    bool record, own; /* a record stands there; it is one of this queue */
    int64_t shift;    /* its queue offset - the unit's place */
    int64_t delay;    /* the unit's code - its store time */
    struct queue_unit right; /* the unit that the record makes */
    bool delayed;
};

/* Damaged numbers may be any. */
static int64_t difference(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static struct match match_unit(struct store_queue *q, int64_t offset, const struct queue_unit *u)
{
    struct message m;
    struct store_file *f;
    struct match out = {0};
    int32_t level;
    if (unit_is_blank(u) || !record_at(q, u, &m, &f))
        return out;
    out.record = true;
    out.own = is_of(q, &m);
    out.shift = difference(m.queue_offset, offset);
    out.delay = difference(u->tags_code, m.store_timestamp);
    out.delayed = record_delay_level(&m, &level);
    out.right = (struct queue_unit){u->phys_offset, m.total_size, record_tags_code(q->table->st, &m)};
    store_file_unref(f);
    return out;
}

bool queue_unit_has_record(struct store_queue *q, const struct queue_unit *u)
{
    const struct match m = match_unit(q, 0, u);
    return m.own && m.right.size == u->size;
}

/* The nearest unit from `offset` on, in steps of `step`, that has its record; false: none is near. */
static bool neighbour(struct store_queue *q, int64_t offset, int step, struct match *out)
{
    for (int i = 0; i < LOOK_AROUND; i++) {
        struct queue_unit u;
        offset += step;
        if (queue_unit_at(q, offset, &u, NULL))
            return false;
        *out = match_unit(q, offset, &u);
        if (out->own)
            return true;
    }
    return false;
}

/* Is the unit as the record makes it, or in a way that its neighbours share? */
static bool is_right(const struct match *m, const struct queue_unit *u, const struct match *near)
{
    if (!m->own || m->right.size != u->size)
        return false;
    bool shift = !m->shift, code = m->right.tags_code == u->tags_code;
    for (int i = 0; i < 2; i++) {
        shift |= near[i].own && near[i].shift == m->shift;
        code |= near[i].own && m->delayed && near[i].delay == m->delay;
    }
    return shift && code;
}

/* The record of queue offset `offset` in [from, to) of the log. */
static bool find_record(struct store_queue *q, int64_t offset, int64_t from, int64_t to, struct queue_unit *out)
{
    struct store *st = q->table->st;
    for (struct store_file *f; from < to && (f = commitlog_find(&st->log, from));) {
        const int64_t end = f->start + f->size;
        bool found = false;
        while (!found && from < to && from < end) {
            struct message m;
            const int64_t at = from - f->start, left = end - from;
            const enum record_kind kind =
                record_judge(slice_of(f->map + at, (size_t)left), left, from, 0, &m, NULL);
            found = kind == RECORD_WHOLE && is_of(q, &m) && m.queue_offset == offset;
            if (found)
                *out = (struct queue_unit){from, m.total_size, record_tags_code(st, &m)};
            from += kind == RECORD_WHOLE ? m.total_size : kind == RECORD_BLANK ? left : 1;
        }
        store_file_unref(f);
        if (found)
            return true;
    }
    return false;
}

static void report(const struct store_queue *q, int64_t offset, const struct queue_unit *u, const char *what)
{
    const struct queue_table *const t = q->table;
    const int64_t pos = offset * CQ_UNIT_SIZE, start = pos / t->file_size * t->file_size;
    LOGW("store.repair", "file=%s/" SLICE_FMT "/%d/%020lld byte=%lld queueOffset=%lld physOffset=%lld size=%d text=\"%s\"",
         t->dir, SLICE_ARG(queue_topic(q)), q->id, (long long)start, (long long)(pos - start), (long long)offset,
         (long long)u->phys_offset, u->size, what);
}

static void write_back(struct store_queue *q, int64_t offset, const struct queue_unit *u)
{
    struct queue_table *t = q->table;
    const int64_t pos = offset * CQ_UNIT_SIZE, start = pos / t->file_size * t->file_size;
    struct queue_fd *fd;
    struct err e;
    char unit[CQ_UNIT_SIZE];
    queue_unit_put(unit, u);
    int rc = queue_fd_get(q, start, CREATE_NOT, &fd, &e);
    if (!rc) {
        rc = fs_write(fd->f, t->fs, unit, sizeof unit, pos - start, &e);
        queue_fd_put(q, fd);
    }
    if (rc)
        LOGW("store.repair", "text=\"a unit made again is not written back: %s\"", e.text);
}

bool queue_unit_agrees(struct store_queue *q, int64_t offset, const struct queue_unit *u)
{
    static const struct match nobody[2];
    const struct match m = match_unit(q, offset, u);
    return unit_is_blank(u) || is_right(&m, u, nobody);
}

void queue_unit_repair(struct store_queue *q, int64_t offset, struct queue_unit *u)
{
    struct commitlog *const log = &q->table->st->log;
    const int64_t log_min = atomic_load(&log->min);
    const struct match m = match_unit(q, offset, u);
    struct match near[2] = {{0}, {0}};
    const bool before = neighbour(q, offset, -1, &near[0]), behind = neighbour(q, offset, 1, &near[1]);
    if (is_right(&m, u, near) || (u->phys_offset >= 0 && u->phys_offset < log_min && !before))
        return;
    struct queue_unit right = m.right;
    bool known = m.own && !m.shift;
    if (!known)
        known = find_record(q, offset, before ? near[0].right.phys_offset : log_min,
                            behind ? near[1].right.phys_offset : log->cold_end, &right);
    if (known) {
        report(q, offset, u, "the unit disagrees with its record and is made again from the log");
        write_back(q, offset, &right);
        *u = right;
    } else if (m.record && !m.own) {
        report(q, offset, u, "the unit points to a record of another queue, and the log has none for it: skipped");
        *u = (struct queue_unit){0, CQ_BLANK_SIZE, 0};
    }
}

int queue_read_checked(struct store_queue *q, int64_t offset, int n, char *out, struct err *e)
{
    const int got = queue_read(q, offset, n, out, e);
    for (int i = 0; i < got && offset + i < q->cold_end; i++) {
        struct queue_unit u;
        char *const unit = out + (size_t)i * CQ_UNIT_SIZE;
        queue_unit_get(unit, &u);
        if (queue_unit_agrees(q, offset + i, &u))
            continue;
        queue_unit_repair(q, offset + i, &u);
        queue_unit_put(unit, &u);
    }
    return got;
}
