/* Reads: from queue offsets and physical offsets to slices of mapped log files.
 *
 * Owns: nothing but the references that a result holds until it is released.
 * Runs on: any thread. Takes short read locks only; may wait for the disk when the units or the
 * records are not in memory, but not with no_wait, which network loops use. Then it ends where waiting
 * would begin; the caller asks again from a worker when nothing was found before.
 *
 * In memory or not is asked of the system for a chunk of the log, and the answer is trusted for
 * pageCacheTrustMillis (store_file.c). When some of the chunk is missing, it is asked for the stretch that this
 * answer may still take, and then for the record alone. A page may still be dropped between the question
 * and the write to the socket; that one waits.
 *
 * Happy path of store_get: units come in chunks from the queue, each is offered to match(), its
 * record is looked at (size and magic at that place) and becomes an iovec into the mapping; a record
 * that follows its predecessor in the log extends the last iovec instead. No byte of a message is
 * copied.
 *
 * Ends when (in this order, before each unit) the queue ends; the units scanned reach
 * max(filter_scan_bytes, max_msgs units); max_msgs or transfer_count_max messages are there; or the
 * unit's record would pass transfer_bytes_max and is not the first. For a record further behind than
 * the memory share of the log, disk_count_max and disk_bytes_max count instead.
 * Source: DefaultMessageStore.getMessage, isTheBatchFull.
 *
 * Records of an earlier run that recovery did not check are checked when they are first read, units of an
 * earlier run whenever they are (queue_check.c): disks rot, and no consumer shall get the bytes.
 *
 * Failure modes: a unit whose record is gone, fails the look or its checksums: logged, skipped, and when nothing
 * else is found the status is MESSAGE_WAS_REMOVING. A queue file that is gone: OFFSET_FOUND_NULL and
 * the first offset of the next file. A queue file that cannot be read now (I/O, descriptors):
 * OFFSET_FOUND_NULL and the same offset again, so that nothing is skipped.
 *
 * Invariants: 1. no record at or behind the visible end is returned; 2. next_begin_offset is one past
 * the last unit that was looked at; 3. every iovec is covered by a reference in `files`. */
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

enum { UNIT_CHUNK = 128 };

const char *get_status_name(enum get_status s)
{
    static const char *const names[] = {
        [GET_FOUND] = "FOUND",
        [GET_NO_MATCHED_MESSAGE] = "NO_MATCHED_MESSAGE",
        [GET_MESSAGE_WAS_REMOVING] = "MESSAGE_WAS_REMOVING",
        [GET_OFFSET_FOUND_NULL] = "OFFSET_FOUND_NULL",
        [GET_OFFSET_OVERFLOW_BADLY] = "OFFSET_OVERFLOW_BADLY",
        [GET_OFFSET_OVERFLOW_ONE] = "OFFSET_OVERFLOW_ONE",
        [GET_OFFSET_TOO_SMALL] = "OFFSET_TOO_SMALL",
        [GET_NO_MATCHED_LOGIC_QUEUE] = "NO_MATCHED_LOGIC_QUEUE",
        [GET_NO_MESSAGE_IN_QUEUE] = "NO_MESSAGE_IN_QUEUE",
    };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

static bool magic_is_message(const char *record)
{
    const int32_t magic = (int32_t)be32_get(record + 4);
    return magic == MESSAGE_MAGIC_V1 || magic == MESSAGE_MAGIC_V2;
}

/* ---- the result under construction ---- */

static struct store_file *got_file(struct store *st, struct store_got *g, int64_t phys, int *rc)
{
    for (int i = g->file_n; i-- > 0;) {
        const int64_t at = phys - g->files[i]->start;
        if (at >= 0 && at < g->files[i]->size)
            return g->files[i];
    }
    const int small = (int)(sizeof g->files_small / sizeof *g->files_small);
    if (g->file_n >= small && (g->file_n & (g->file_n - 1)) == 0) { /* full at every power of two */
        const size_t cap = (size_t)g->file_n * 2;
        struct store_file **files = realloc(g->files == g->files_small ? NULL : g->files, cap * sizeof *files);
        if (!files) {
            *rc = E_NOMEM;
            return NULL;
        }
        if (g->files == g->files_small)
            memcpy(files, g->files_small, sizeof g->files_small);
        g->files = files;
    }
    struct store_file *f = commitlog_find(&st->log, phys);
    if (f)
        g->files[g->file_n++] = f;
    return f;
}

static int add_record(struct store_got *g, char *record, size_t size)
{
    struct iovec *last = g->iov_n ? &g->iov[g->iov_n - 1] : NULL;
    if (last && (char *)last->iov_base + last->iov_len == record) {
        last->iov_len += size;
    } else {
        const int small = (int)(sizeof g->iov_small / sizeof *g->iov_small);
        if (g->iov_n >= small && (g->iov_n & (g->iov_n - 1)) == 0) {
            const size_t cap = (size_t)g->iov_n * 2;
            struct iovec *iov = realloc(g->iov == g->iov_small ? NULL : g->iov, cap * sizeof *iov);
            if (!iov)
                return E_NOMEM;
            if (g->iov == g->iov_small)
                memcpy(iov, g->iov_small, sizeof g->iov_small);
            g->iov = iov;
        }
        g->iov[g->iov_n++] = (struct iovec){record, size};
    }
    g->msg_n++;
    g->bytes += size;
    return 0;
}

void store_got_release(struct store_got *g)
{
    for (int i = 0; i < g->file_n; i++)
        store_file_unref(g->files[i]);
    if (g->files != g->files_small)
        free(g->files);
    if (g->iov != g->iov_small)
        free(g->iov);
    g->files = NULL;
    g->iov = NULL;
    g->file_n = g->iov_n = 0;
}

/* ---- store_get ---- */

struct scan {
    struct store *st;
    const struct store_get *q;
    struct store_got *g;
    struct store_queue *queue;
    int64_t end_offset;  /* no unit at or behind it is looked at */
    int32_t count_max;
    int64_t visible;
    int64_t skip_below;  /* physical: records below are known to be gone */
    int64_t hot_from, hot_to; /* physical: this stretch is in memory */
    int64_t last_phys;   /* of the last unit looked at; -1: none */
};

/* Source: DefaultMessageStore.estimateInMemByCommitOffset: an estimate, whatever the page cache holds. */
static bool is_far_behind(const struct scan *s, int64_t phys)
{
    return phys < s->visible - s->st->memory_bytes; /* phys may be any: its unit was not compared yet */
}

static bool full(const struct scan *s, int64_t phys, int32_t size)
{
    const struct store_got *g = s->g;
    const struct store_opts *o = &s->st->o;
    if (!g->msg_n)
        return false;
    const bool disk = is_far_behind(s, phys);
    return g->msg_n >= s->count_max || g->msg_n >= (disk ? o->disk_count_max : o->transfer_count_max) ||
           (int64_t)g->bytes + size > (disk ? o->disk_bytes_max : o->transfer_bytes_max);
}

/* store_file_hot_to with the store's clock and trust. */
static int64_t hot_to(struct store *st, struct store_file *f, int64_t at, int64_t n, int64_t visible)
{
    return store_file_hot_to(f, at, n, visible - f->start, clock_mono(st->clock), st->o.page_cache_trust_ms);
}

/* May the record be touched? no_wait: only when it is in memory; otherwise it is brought there. E_AGAIN,
 * or the error of the read. */
static int make_hot(struct scan *s, struct store_file *f, const struct queue_unit *u, struct err *e)
{
    const int64_t at = u->phys_offset - f->start;
    if (u->phys_offset >= s->hot_from && u->phys_offset + u->size <= s->hot_to)
        return 0;
    const int64_t known = hot_to(s->st, f, at, u->size, s->visible);
    if (known > at) {
        s->hot_from = u->phys_offset;
        s->hot_to = f->start + known;
        return 0;
    }
    int64_t stretch = s->st->o.transfer_bytes_max - (int64_t)s->g->bytes;
    if (stretch > f->size - at)
        stretch = f->size - at;
    if (stretch > s->visible - u->phys_offset)
        stretch = s->visible - u->phys_offset;
    if (stretch < u->size || !store_file_is_hot(f, at, stretch))
        stretch = u->size;
    if (!s->q->no_wait) {
        const int rc = store_file_warm(f, at, u->size, e);
        if (rc)
            return rc;
    } else if (stretch == u->size && !store_file_is_hot(f, at, u->size)) {
        return E_AGAIN;
    }
    s->hot_from = u->phys_offset;
    s->hot_to = u->phys_offset + stretch;
    return 0;
}

static void report_bad_unit(const struct scan *s, const struct queue_unit *u, const char *what)
{
    char topic[64];
    LOGW("store.get", "topic=%s queue=%d queueOffset=%lld physOffset=%lld size=%d text=\"%s\"",
         log_quote(s->q->topic, topic, sizeof topic), s->q->queue_id, (long long)s->g->next_begin_offset,
         (long long)u->phys_offset, u->size, what);
}

/* A disk error: the answer ends here, and the same offset is asked for again. */
static int cannot_read(struct scan *s, const struct queue_unit *u, const struct err *e)
{
    report_bad_unit(s, u, e->text);
    if (!s->g->msg_n)
        s->g->status = GET_OFFSET_FOUND_NULL;
    return E_IO;
}

/* Adds the record of a unit that matched, unless it does not stand the look. E_AGAIN: it is cold; E_IO:
 * it cannot be read. */
static int take_record(struct scan *s, const struct queue_unit *u)
{
    if (u->phys_offset < s->skip_below)
        return 0;
    int rc = 0;
    const bool inside = u->phys_offset >= 0 && u->size >= MESSAGE_SIZE_MIN &&
                        u->phys_offset <= s->visible - u->size;
    struct store_file *f = inside ? got_file(s->st, s->g, u->phys_offset, &rc) : NULL;
    if (rc)
        return rc;
    if (!f) {
        s->g->status = GET_MESSAGE_WAS_REMOVING;
        if (u->phys_offset >= 0 && u->phys_offset < atomic_load(&s->st->log.min)) {
            const int64_t file_size = s->st->log.file_size;
            s->skip_below = (u->phys_offset / file_size + 1) * file_size;
        } else {
            report_bad_unit(s, u, "the unit points outside the log, skipped");
        }
        return 0;
    }
    const int64_t at = u->phys_offset - f->start;
    struct err e;
    rc = at > f->size - u->size ? 0 : make_hot(s, f, u, &e);
    if (rc)
        return rc == E_AGAIN ? rc : cannot_read(s, u, &e);
    char *record = f->map + at;
    if (at > f->size - u->size || be32_get(record) != (uint32_t)u->size || !magic_is_message(record)) {
        s->g->status = GET_MESSAGE_WAS_REMOVING;
        report_bad_unit(s, u, "no such record in the log, skipped");
        return 0;
    }
    if (u->phys_offset < s->st->log.cold_end && record_check(s->st, f, u->phys_offset, u->size, &e)) {
        s->g->status = GET_MESSAGE_WAS_REMOVING;
        report_bad_unit(s, u, e.text);
        return 0;
    }
    return add_record(s->g, record, (size_t)u->size);
}

/* A unit of an earlier run is compared with its record, and made again when it disagrees; with no_wait that
 * is left to who may wait. E_NOMEM, E_AGAIN, E_IO. */
static int check_unit(struct scan *s, struct queue_unit *u)
{
    int rc = 0;
    struct err e;
    const bool inside = u->phys_offset >= 0 && u->size >= MESSAGE_SIZE_MIN && !unit_is_blank(u) &&
                        u->phys_offset <= s->visible - u->size;
    struct store_file *f = inside ? got_file(s->st, s->g, u->phys_offset, &rc) : NULL;
    if (!rc && f && u->phys_offset - f->start <= f->size - u->size) {
        rc = make_hot(s, f, u, &e);
        if (rc && rc != E_AGAIN)
            return cannot_read(s, u, &e);
    }
    if (rc || queue_unit_agrees(s->queue, s->g->next_begin_offset, u))
        return rc;
    if (s->q->no_wait)
        return E_AGAIN;
    queue_unit_repair(s->queue, s->g->next_begin_offset, u);
    return 0;
}

/* Returns how many of the n units were looked at, or E_NOMEM, E_AGAIN, E_IO. */
static int scan_chunk(struct scan *s, const char *units, int n)
{
    for (int i = 0; i < n; i++) {
        struct queue_unit u;
        queue_unit_get(units + (size_t)i * CQ_UNIT_SIZE, &u);
        const int damaged = s->g->next_begin_offset < s->queue->cold_end ? check_unit(s, &u) : 0;
        if (damaged)
            return damaged;
        const bool blank = u.size <= 0 || u.size == CQ_BLANK_SIZE;
        if (full(s, u.phys_offset, blank ? 0 : u.size))
            return i;
        if (!blank && (!s->q->match || s->q->match(s->q->match_arg, u.tags_code))) {
            const int rc = take_record(s, &u);
            if (rc)
                return rc;
        }
        if (!blank)
            s->last_phys = u.phys_offset;
        s->g->next_begin_offset++;
    }
    return n;
}

static int scan_queue(struct scan *s)
{
    char units[UNIT_CHUNK * CQ_UNIT_SIZE];
    struct store_got *g = s->g;
    g->status = GET_NO_MATCHED_MESSAGE;
    while (g->next_begin_offset < s->end_offset) {
        const int64_t left = s->end_offset - g->next_begin_offset;
        struct err e;
        const int n = (s->q->no_wait ? queue_read_now : queue_read)(
            s->queue, g->next_begin_offset, left < UNIT_CHUNK ? (int)left : UNIT_CHUNK, units, &e);
        if (n <= 0) {
            g->cold = n == E_AGAIN;
            if (g->msg_n || !n || g->cold)
                break;
            g->status = GET_OFFSET_FOUND_NULL;
            LOGW("store.get", "text=\"%s\"", e.text);
            const int64_t per_file = s->st->queues.file_size / CQ_UNIT_SIZE;
            if (n == E_NOTFOUND)
                g->next_begin_offset = (g->next_begin_offset / per_file + 1) * per_file;
            return 0;
        }
        const int seen = scan_chunk(s, units, n);
        g->cold = seen == E_AGAIN;
        if (seen == E_IO || seen == E_AGAIN)
            break;
        if (seen < 0)
            return seen;
        if (seen < n)
            break;
    }
    if (g->msg_n)
        g->status = GET_FOUND;
    return 0;
}

/* Where there is nothing to scan: the answers of the wire protocol, section 4.3.4. */
static bool offset_out_of_range(const struct store_get *q, struct store_got *g)
{
    if (!g->max_offset) {
        g->status = GET_NO_MESSAGE_IN_QUEUE;
        g->next_begin_offset = 0;
    } else if (q->offset < g->min_offset) {
        g->status = GET_OFFSET_TOO_SMALL;
        g->next_begin_offset = g->min_offset;
    } else if (q->offset == g->max_offset) {
        g->status = GET_OFFSET_OVERFLOW_ONE;
        g->next_begin_offset = q->offset;
    } else if (q->offset > g->max_offset) {
        g->status = GET_OFFSET_OVERFLOW_BADLY;
        g->next_begin_offset = g->max_offset;
    } else {
        g->next_begin_offset = q->offset;
        return false;
    }
    return true;
}

static void got_init(struct store_got *g)
{
    g->status = GET_NO_MATCHED_LOGIC_QUEUE;
    g->next_begin_offset = g->min_offset = g->max_offset = 0;
    g->cold = g->suggest_slave = false;
    g->msg_n = g->iov_n = g->file_n = 0;
    g->bytes = 0;
    g->iov = g->iov_small;
    g->files = g->files_small;
}

int store_get(struct store *st, const struct store_get *q, struct store_got *out)
{
    got_init(out);
    struct scan s = {.st = st, .q = q, .g = out, .last_phys = -1};
    s.queue = queue_find(&st->queues, q->topic, q->queue_id);
    if (!s.queue)
        return 0;
    queue_range(s.queue, &out->min_offset, &out->max_offset);
    int rc = 0;
    if (!offset_out_of_range(q, out)) {
        /* Read after the range: every unit below max belongs to a record below this. */
        s.visible = atomic_load_explicit(&st->log.wrote, memory_order_acquire);
        s.count_max = q->max_msgs < 1 ? 1 : q->max_msgs;
        int64_t scan_max = st->o.filter_scan_bytes / CQ_UNIT_SIZE;
        if (scan_max < s.count_max)
            scan_max = s.count_max;
        s.end_offset = out->max_offset - q->offset < scan_max ? out->max_offset : q->offset + scan_max;
        rc = scan_queue(&s);
        if (rc)
            store_got_release(out);
        else
            out->suggest_slave = s.last_phys >= 0 && is_far_behind(&s, s.last_phys);
    }
    queue_unref(s.queue);
    return rc;
}

int store_units(struct store *st, struct slice topic, int32_t queue_id, int64_t offset, struct store_unit *out,
                int n)
{
    struct store_queue *q = queue_find(&st->queues, topic, queue_id);
    if (!q)
        return 0;
    int done = 0;
    while (done < n) {
        char units[UNIT_CHUNK * CQ_UNIT_SIZE];
        struct err e;
        const int got =
            queue_read_checked(q, offset + done, n - done < UNIT_CHUNK ? n - done : UNIT_CHUNK, units, &e);
        if (got < 0)
            LOGW("store.units", "text=\"%s\"", e.text);
        if (got <= 0)
            break;
        for (int i = 0; i < got; i++) {
            struct queue_unit u;
            queue_unit_get(units + (size_t)i * CQ_UNIT_SIZE, &u);
            out[done++] = (struct store_unit){u.phys_offset, u.size, u.tags_code};
        }
    }
    queue_unref(q);
    return done;
}

/* ---- one record by its place ---- */

static int bring(struct store *st, struct store_file *f, int64_t at, int64_t n, int64_t visible, struct err *e)
{
    return hot_to(st, f, at, n, visible) > at ? 0 : store_file_warm(f, at, n, e);
}

int store_view(struct store *st, int64_t phys_offset, int32_t size, struct store_view *out, struct err *e)
{
    const int64_t visible = atomic_load_explicit(&st->vis.readable, memory_order_acquire);
    if (phys_offset < atomic_load(&st->log.min) || phys_offset > visible - MESSAGE_SIZE_MIN)
        return err_set(e, E_NOTFOUND, "no message at physical offset %lld", (long long)phys_offset);
    struct store_file *f = commitlog_find(&st->log, phys_offset);
    if (!f)
        return err_set(e, E_NOTFOUND, "no message at physical offset %lld", (long long)phys_offset);
    const int64_t at = phys_offset - f->start;
    const char *record = f->map + at;
    int rc = at <= f->size - MESSAGE_SIZE_MIN ? bring(st, f, at, MESSAGE_SIZE_MIN, visible, e) : 0;
    if (rc) {
        store_file_unref(f);
        return rc;
    }
    /* The physical offset inside the record tells a record from bytes that look like one. */
    const bool whole = at <= f->size - MESSAGE_SIZE_MIN && magic_is_message(record) &&
                       (int64_t)be64_get(record + 28) == phys_offset;
    const int32_t stored = whole ? (int32_t)be32_get(record) : 0;
    if (stored < MESSAGE_SIZE_MIN || stored > f->size - at || stored > visible - phys_offset ||
        (size && size != stored)) {
        store_file_unref(f);
        return err_set(e, E_CORRUPT, "no record begins at physical offset %lld", (long long)phys_offset);
    }
    rc = bring(st, f, at, stored, visible, e);
    if (!rc && phys_offset < st->log.cold_end)
        rc = record_check(st, f, phys_offset, stored, e);
    if (rc) {
        store_file_unref(f);
        return rc;
    }
    *out = (struct store_view){slice_of(record, (size_t)stored), f};
    return 0;
}

void store_view_release(struct store_view *v)
{
    store_file_unref(v->file);
    *v = (struct store_view){0};
}

/* ---- by time ---- */

/* Store time of the record at a queue offset; -1 when there is none (any more). */
static int64_t time_at(struct store *st, struct store_queue *q, int64_t offset)
{
    struct queue_unit u;
    struct store_view v;
    struct message m;
    if (queue_unit_checked(q, offset, &u, NULL) || u.size == CQ_BLANK_SIZE ||
        store_view(st, u.phys_offset, u.size, &v, NULL))
        return -1;
    const int64_t ts = message_decode(v.record, 0, &m, NULL) ? -1 : m.store_timestamp;
    store_view_release(&v);
    return ts;
}

int64_t store_time_of_offset(struct store *st, struct slice topic, int32_t queue_id, int64_t offset)
{
    struct store_queue *q = queue_find(&st->queues, topic, queue_id);
    if (!q)
        return -1;
    const int64_t ts = time_at(st, q, offset);
    queue_unref(q);
    return ts;
}

int64_t store_offset_by_time(struct store *st, struct slice topic, int32_t queue_id, int64_t timestamp_ms,
                             enum store_boundary b)
{
    struct store_queue *q = queue_find(&st->queues, topic, queue_id);
    if (!q)
        return 0;
    int64_t min, max;
    queue_range(q, &min, &max);
    /* The first offset whose time is >= t (lower) or > t (upper). Times do not go backwards. */
    int64_t low = min, high = max;
    while (low < high) {
        const int64_t mid = low + (high - low) / 2, ts = time_at(st, q, mid);
        if (ts < timestamp_ms || (b == BOUNDARY_UPPER && ts == timestamp_ms))
            low = mid + 1;
        else
            high = mid;
    }
    queue_unref(q);
    if (b == BOUNDARY_LOWER)
        return low;
    return low > min ? low - 1 : 0;
}
