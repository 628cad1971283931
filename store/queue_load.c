/* Consume queue files at start-up: find them, find their ends, cut what cannot be trusted; and at run
 * time, their front: the minimum follows the log's, files in front of it go.
 *
 * Owns: nothing; part of recovery (recover.c drives it) and of retention (retention.c).
 * Runs on: store_open, alone; queue_find_min and queue_remove_expired also on the cleaner.
 *
 * Happy path: every <TOPIC>/<QUEUE ID> directory with files becomes a queue that begins with its first
 * file and ends behind the last valid unit (phys >= 0 and size > 0) of its last file, found by
 * bisection: units are dense, and behind the end there are zeros.
 *
 * Failure modes. Queues are derived data, so nothing but a wrong configuration keeps the store from
 * opening:
 *   a name that is no topic or queue id     left alone, one log line
 *   last file empty or short                extended with zeros; the queue is `damaged` when its stop
 *                                           was orderly or the file had bytes (then units are missing),
 *                                           else `suspect` (the crash came before the first sync)
 *   a file missing or short in the middle   the files behind it go, the queue is damaged
 *   sizes or names that do not fit          E_CORRUPT naming mappedFileSizeConsumeQueue
 *   bytes behind the end that are not zero  the queue is damaged: a unit that looks invalid may hide others
 * A damaged queue makes recovery read the log from its last good unit on.
 *
 * After a crash units may be torn: any part of what was not synced may be there. They are cut by
 * physical offset: recovery replays from a place before which every unit was synced, and rebuilds
 * everything behind it.
 *
 * Invariants: 1. after a cut, the files hold zeros behind the end, durably before recovery ends
 * (queue_table_flush_all), so a stale unit cannot join a later end; 2. files of a queue are
 * contiguous; 3. a queue that begins inside a file has pre-blank units (0, 2^31-1, 0) before its
 * first one. Source: ConsumeQueue.fillPreBlank. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proto/names.h"
#include "store/store_priv.h"

enum { CHUNK = 204 /* units: a page */, STALE_LOOK = 16 * 1024, BLANK_CHUNK = 64 * 1024 };

/* ---- positions ---- */

static void set_range(struct store_queue *q, int64_t min, int64_t max)
{
    atomic_fetch_sub(&q->table->unwritten, q->max - q->written);
    free(q->tail);
    q->tail = NULL;
    q->tail_cap = 0;
    q->min = min;
    q->max = q->written = q->tail_first = max;
}

static bool unit_is_valid(const struct queue_unit *u)
{
    return u->phys_offset >= 0 && u->size > 0;
}

static void forget_probe(struct store_queue *q)
{
    free(q->probe);
    q->probe = NULL;
}

/* ---- searching ---- */

typedef bool unit_test(const struct queue_unit *u, int64_t arg);

struct search {
    struct store_queue *q;
    unit_test *holds; /* true for a while, then false */
    int64_t arg;
    int64_t low, high; /* the first offset for which it is false lies in [low, high] */
};

/* Looks at one unit and moves low or high to it. */
static int search_at(struct search *s, int64_t offset, struct err *e)
{
    struct queue_unit u;
    const int rc = queue_unit_at(s->q, offset, &u, e);
    if (rc)
        return rc;
    if (s->holds(&u, s->arg))
        s->low = offset + 1;
    else
        s->high = offset;
    return 0;
}

/* Looks at a page's worth of units from low on. */
static int search_page(struct search *s, struct err *e)
{
    char units[CHUNK * CQ_UNIT_SIZE];
    const int64_t left = s->high - s->low;
    const int n = queue_read(s->q, s->low, left < CHUNK ? (int)left : CHUNK, units, e);
    if (n <= 0)
        return n ? n : err_set(e, E_CORRUPT, "consume queue ends before offset %lld", (long long)s->low);
    for (int i = 0; i < n; i++) {
        struct queue_unit u;
        queue_unit_get(units + (size_t)i * CQ_UNIT_SIZE, &u);
        if (!s->holds(&u, s->arg)) {
            s->high = s->low;
            return 0;
        }
        s->low++;
    }
    return 0;
}

/* Most queues are short, and every look at a new place of a sparse file costs a page of cache: so the
 * front page first, then at doubling distances, then halving, and the last page at once. */
static int search(struct search *s, struct err *e)
{
    int rc = s->low < s->high ? search_page(s, e) : 0;
    const int64_t limit = s->high;
    for (int64_t step = CHUNK; !rc && s->low < s->high && s->high == limit; step *= 2)
        rc = search_at(s, s->high - s->low > step ? s->low + step : s->high - 1, e);
    while (!rc && s->high - s->low > CHUNK)
        rc = search_at(s, s->low + (s->high - s->low) / 2, e);
    while (!rc && s->low < s->high)
        rc = search_page(s, e);
    return rc;
}

static int bisect(struct store_queue *q, int64_t low, int64_t high, unit_test *holds, int64_t arg, int64_t *out,
                  struct err *e)
{
    struct search s = {q, holds, arg, low, high};
    const int rc = search(&s, e);
    *out = s.low;
    return rc;
}

static bool is_valid(const struct queue_unit *u, int64_t arg)
{
    (void)arg;
    return unit_is_valid(u);
}

static bool is_before(const struct queue_unit *u, int64_t phys)
{
    return unit_is_valid(u) && u->phys_offset < phys;
}

static bool is_expired(const struct queue_unit *u, int64_t log_min)
{
    return unit_is_blank(u) || (u->phys_offset >= 0 && u->phys_offset < log_min);
}

/* ---- cutting ---- */

static int remove_files_from(struct store_queue *q, int64_t first_start, struct err *e)
{
    struct queue_table *t = q->table;
    if (first_start >= q->files_to)
        return 0;
    char *dir = queue_dir(q);
    int64_t *starts = NULL;
    int n = 0;
    int rc = dir ? numbers_list(t->fs, dir, file_name_parse, &starts, &n, e) : err_set(e, E_NOMEM, "cut consume queue");
    if (!rc && n && starts[n - 1] >= first_start)
        queue_fds_close(q);
    for (int i = n; i-- > 0 && !rc && starts[i] >= first_start;) {
        char *path = path_join_start(dir, starts[i]);
        rc = path ? t->fs->unlink(t->fs, path, e) : err_set(e, E_NOMEM, "cut consume queue");
        free(path);
    }
    if (!rc) {
        t->unsynced = true;
        q->files_to = first_start;
    }
    free(starts);
    free(dir);
    return rc;
}

/* Is there anything but zeros in the `look` bytes from `from` on? Unsynced writes are recent, hence short. */
static int has_stale_bytes(struct queue_table *t, struct fs_file *f, int64_t from, size_t look, bool *out,
                           struct err *e)
{
    const ssize_t n = t->fs->pread(f, t->scratch, look, from, e);
    if (n < 0)
        return (int)n;
    *out = n > 0 && (t->scratch[0] || memcmp(t->scratch, t->scratch + 1, (size_t)n - 1));
    return 0;
}

static int zero_behind(struct store_queue *q, int64_t pos, struct err *e)
{
    struct queue_table *t = q->table;
    const int64_t start = pos / t->file_size * t->file_size;
    struct queue_fd *fd;
    bool stale = false;
    int rc = start < q->files_to ? queue_fd_get(q, start, CREATE_NOT, &fd, e) : E_NOTFOUND;
    if (rc)
        return rc == E_NOTFOUND ? 0 : rc;
    rc = has_stale_bytes(t, fd->f, pos - start, STALE_LOOK, &stale, e);
    if (!rc && stale) {
        rc = t->fs->truncate(fd->f, pos - start, e);
        if (!rc)
            rc = t->fs->truncate(fd->f, t->file_size, e);
        t->unsynced = true;
    }
    queue_fd_put(q, fd);
    return rc;
}

/* Units below offset stay where they are: in memory, in files, or both. */
static void forget_from(struct store_queue *q, int64_t offset)
{
    atomic_fetch_sub(&q->table->unwritten, q->max - (q->written > offset ? q->written : offset));
    q->max = offset;
    if (q->cold_end > offset)
        q->cold_end = offset;
    if (q->written > offset)
        q->written = offset;
    if (q->tail_first >= offset)
        set_range(q, q->min, offset);
}

int queue_cut(struct store_queue *q, int64_t offset, struct err *e)
{
    const int64_t file_size = q->table->file_size, pos = offset * CQ_UNIT_SIZE;
    if (q->probe && offset > q->min)
        q->probe->last_there = false;
    else
        forget_probe(q);
    forget_from(q, offset);
    int rc = remove_files_from(q, (pos / file_size + 1) * file_size, e);
    if (!rc)
        rc = zero_behind(q, pos, e);
    return rc ? err_wrap(e, rc, "cut consume queue " SLICE_FMT "-%d", SLICE_ARG(queue_topic(q)), q->id) : 0;
}

/* Whether the unit at `offset`, the first to be cut, names its own record at or behind phys_offset. Then
 * so do those behind it. */
static int judge_cut(struct store_queue *q, int64_t offset, int64_t phys_offset, struct err *e)
{
    struct queue_unit u;
    if (offset >= q->max)
        return 0;
    const int rc = queue_unit_at(q, offset, &u, e);
    if (rc || (u.phys_offset >= phys_offset && queue_unit_has_record(q, &u)))
        return rc;
    q->damaged = true;
    forget_probe(q); /* it tells of units that are cut */
    return 0;
}

int queue_cut_phys(struct store_queue *q, int64_t phys_offset, struct err *e)
{
    int64_t end;
    const struct queue_probe *p = q->probe;
    if (p && p->clean && p->last_there && is_before(&p->last, phys_offset))
        return 0;
    int rc = bisect(q, q->min, q->max, is_before, phys_offset, &end, e);
    while (!rc && end > q->min) {
        struct queue_unit u;
        rc = queue_unit_at(q, end - 1, &u, e);
        /* A record that retention removed says nothing: its queue offset stays taken. */
        if (rc || is_expired(&u, atomic_load(&q->table->st->log.min)) || queue_unit_has_record(q, &u))
            break;
        end--;
    }
    if (!rc)
        rc = judge_cut(q, end, phys_offset, e);
    return rc ? rc : queue_cut(q, end, e);
}

static int fill_blank(struct store_queue *q, int64_t start, int64_t bytes, struct err *e)
{
    struct queue_table *t = q->table;
    struct queue_fd *fd;
    int rc = queue_fd_get(q, start, CREATE_SYNCED, &fd, e);
    if (rc)
        return rc;
    const int64_t most = BLANK_CHUNK / CQ_UNIT_SIZE * CQ_UNIT_SIZE, chunk = bytes < most ? bytes : most;
    for (int64_t i = 0; i < chunk; i += CQ_UNIT_SIZE)
        queue_unit_put(t->scratch + i, &(struct queue_unit){0, CQ_BLANK_SIZE, 0});
    for (int64_t done = 0; done < bytes && !rc; done += chunk)
        rc = fs_write(fd->f, t->fs, t->scratch, (size_t)(bytes - done < chunk ? bytes - done : chunk), done, e);
    if (!rc)
        rc = t->fs->datasync(fd->f, e);
    queue_fd_put(q, fd);
    return rc;
}

int queue_restart_at(struct store_queue *q, int64_t offset, struct err *e)
{
    const int64_t pos = offset * CQ_UNIT_SIZE, start = pos / q->table->file_size * q->table->file_size;
    forget_probe(q);
    set_range(q, offset, offset);
    q->cold_end = 0;
    q->files_from = start;
    int rc = remove_files_from(q, 0, e);
    if (!rc && pos > start)
        rc = fill_blank(q, start, pos - start, e);
    return rc;
}

/* The search may have met a damaged unit that looks expired in the midst of units that are not: the one in
 * front of it tells. */
static int find_min(struct store_queue *q, int64_t *min, int64_t max, int64_t log_min, struct err *e)
{
    for (int64_t upto = max;;) {
        struct queue_unit u;
        int64_t end;
        int rc = bisect(q, *min, upto, is_expired, log_min, &end, e);
        if (!rc && end - *min >= 2)
            rc = queue_unit_at(q, end - 2, &u, e);
        if (rc)
            return rc;
        if (end - *min < 2 || is_expired(&u, log_min)) {
            *min = end;
            return 0;
        }
        upto = end - 2;
    }
}

int queue_find_min(struct store_queue *q, int64_t log_min, struct err *e)
{
    struct queue_unit u;
    int64_t min, max;
    queue_range(q, &min, &max);
    if (min == max)
        return 0;
    if (q->probe && !is_expired(&q->probe->first, log_min))
        return 0;
    int rc = queue_unit_at(q, min, &u, e);
    if (rc || !is_expired(&u, log_min))
        return rc;
    rc = find_min(q, &min, max, log_min, e);
    if (rc)
        return rc;
    uv_mutex_lock(&q->lock);
    q->min = min;
    uv_mutex_unlock(&q->lock);
    return 0;
}

int queue_remove_expired(struct store_queue *q, bool *removed, struct err *e)
{
    struct queue_table *t = q->table;
    *removed = false;
    uv_mutex_lock(&q->lock);
    const int64_t end = q->files_from + t->file_size;
    const bool expired = !q->gone && end <= q->min * CQ_UNIT_SIZE && end < q->written * CQ_UNIT_SIZE;
    uv_mutex_unlock(&q->lock);
    if (!expired)
        return 0;
    char *dir = queue_dir(q), *path = dir ? path_join_start(dir, q->files_from) : NULL;
    int rc = path ? 0 : err_set(e, E_NOMEM, "clean consume queue");
    if (!rc)
        rc = t->fs->unlink(t->fs, path, e);
    if (!rc)
        queue_fd_drop(q, q->files_from); /* a reader that still has it open keeps the space until it is done */
    if (!rc || rc == E_NOTFOUND)
        rc = t->fs->dirsync(t->fs, dir, e);
    if (!rc) {
        *removed = true;
        LOGI("store.clean", "file=%s text=\"consume queue file removed\"", path);
        q->files_from = end;
    }
    free(path);
    free(dir);
    return rc;
}

/* ---- loading ---- */

struct names {
    char **v;
    size_t n, cap;
};

static int add_name(void *arg, const char *name)
{
    struct names *s = arg;
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 16;
        char **v = realloc(s->v, cap * sizeof *v);
        if (!v)
            return E_NOMEM;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = slice_dup(slice_str(name));
    return s->v[s->n++] ? 0 : E_NOMEM;
}

static void names_free(struct names *s)
{
    while (s->n)
        free(s->v[--s->n]);
    free(s->v);
}

static int names_list(struct fs *fs, const char *dir, struct names *s, struct err *e)
{
    *s = (struct names){0};
    const int rc = fs->list(fs, dir, add_name, s, e);
    if (!rc || rc == E_NOTFOUND)
        return 0;
    names_free(s);
    return rc == E_NOMEM ? err_set(e, E_NOMEM, "list %s", dir) : rc;
}

struct run { /* the files of one queue that can be used: [first, first + n * file_size) */
    int64_t first, files_to; /* files_to: behind the last file, usable or not */
    int n;
    bool damaged, suspect;
};

static int wrong_size(const struct queue_table *t, const char *path, int64_t size, struct err *e)
{
    return err_set(e, E_CORRUPT, "%s (%lld bytes) does not fit mappedFileSizeConsumeQueue=%lld; start with "
                   "the size this store was written with, or remove %s: it is rebuilt from the commit log",
                   path, (long long)size, (long long)t->file_size, t->dir);
}

static int extend_file(struct queue_table *t, const char *path, int64_t size, struct err *e)
{
    struct fs_file *f;
    int rc = t->fs->open(t->fs, path, FS_WRITE, &f, e);
    if (rc)
        return rc;
    rc = t->fs->truncate(f, t->file_size, e);
    if (!rc)
        rc = t->fs->sync(f, e);
    t->fs->close(f);
    LOGW("store.repair", "file=%s size=%lld expected=%lld text=\"short consume queue file extended\"", path,
         (long long)size, (long long)t->file_size);
    return rc;
}

/* Judges file i and adds it to the run. Sets *stop when the files behind it cannot be used. */
static int judge_file(struct queue_table *t, const char *dir, const int64_t *starts, int i, int n, bool clean,
                      struct run *run, bool *stop, struct err *e)
{
    char *path = path_join_start(dir, starts[i]);
    if (!path)
        return err_set(e, E_NOMEM, "load consume queue");
    struct fs_stat st;
    int rc = t->fs->stat(t->fs, path, &st, e);
    if (!rc && (st.size > t->file_size || starts[i] % t->file_size)) {
        rc = wrong_size(t, path, st.size, e);
    } else if (!rc && i && starts[i] != starts[i - 1] + t->file_size) {
        *stop = run->damaged = true;
    } else if (!rc) {
        run->n++;
        if (st.size < t->file_size) {
            const bool last = i + 1 == n;
            *stop = !last;
            if (clean || st.size || !last)
                run->damaged = true;
            else
                run->suspect = true;
            rc = extend_file(t, path, st.size, e);
        }
    }
    free(path);
    return rc;
}

static int judge_files(struct queue_table *t, const char *dir, bool clean, struct run *run, struct err *e)
{
    int64_t *starts;
    int n;
    int rc = numbers_list(t->fs, dir, file_name_parse, &starts, &n, e);
    if (rc)
        return rc;
    bool stop = false;
    run->first = n ? starts[0] : 0;
    run->files_to = n ? starts[n - 1] + t->file_size : 0;
    for (int i = 0; i < n && !rc && !stop; i++)
        rc = judge_file(t, dir, starts, i, n, clean, run, &stop, e);
    free(starts);
    return rc;
}

static int find_end(struct store_queue *q, const struct run *run, struct err *e)
{
    const int64_t per_file = q->table->file_size / CQ_UNIT_SIZE, first = run->first / CQ_UNIT_SIZE;
    const int64_t limit = first + per_file * run->n;
    int64_t end = first;
    /* Everything readable while we look; the last file with a valid first unit holds the end. */
    set_range(q, first, limit);
    for (int64_t low = limit - per_file; low >= first; low -= per_file) {
        const int rc = bisect(q, low, low + per_file, is_valid, 0, &end, e);
        if (rc || end > low)
            return rc ? rc : (set_range(q, first, end), 0);
    }
    set_range(q, first, end);
    return 0;
}

/* What recovery asks of most queues, read while the file is open anyway. */
static int probe(struct store_queue *q, struct err *e)
{
    struct queue_table *t = q->table;
    struct queue_probe p = {0};
    struct queue_fd *fd;
    const int64_t pos = q->max * CQ_UNIT_SIZE, start = pos / t->file_size * t->file_size;
    bool stale = false;
    int rc = 0;
    if (start < q->files_to && !(rc = queue_fd_get(q, start, CREATE_NOT, &fd, e))) {
        /* To the end of the page: what is behind it would have to be read in for every queue. One unit at
         * least: it may be the one that no longer looks like one. */
        const int64_t page = PAGE - pos % PAGE;
        rc = has_stale_bytes(t, fd->f, pos - start, (size_t)(page < CQ_UNIT_SIZE ? CQ_UNIT_SIZE : page), &stale, e);
        queue_fd_put(q, fd);
    }
    q->damaged |= stale;
    if (rc || q->min == q->max)
        return rc;
    rc = queue_unit_at(q, q->min, &p.first, e);
    if (!rc)
        rc = queue_unit_at(q, q->max - 1, &p.last, e);
    p.clean = !stale;
    q->probe = rc ? NULL : malloc(sizeof p);
    if (q->probe)
        *q->probe = p;
    return rc; /* without memory for it recovery reads again */
}

/* A queue id as we write it: 007 and 7 would be two directories of one queue. */
static bool queue_name_parse(const char *name, int32_t *id)
{
    char text[16];
    if (slice_i32(slice_str(name), id) || *id < 0)
        return false;
    snprintf(text, sizeof text, "%d", *id);
    return !strcmp(name, text);
}

/* Is it a directory? Of other files one line is logged: they are not ours. */
static int look_at(struct queue_table *t, const char *path, bool *is_dir, struct err *e)
{
    struct fs_stat st;
    const int rc = t->fs->stat(t->fs, path, &st, e);
    *is_dir = !rc && st.is_dir;
    if (!rc && !st.is_dir)
        LOGW("store.load", "file=%s text=\"is no directory, left alone\"", path);
    return rc == E_NOTFOUND ? 0 : rc;
}

static int load_queue(struct queue_table *t, const char *topic_dir, struct slice topic, const char *id_name,
                      bool clean, struct err *e)
{
    char quoted[64];
    int32_t id;
    if (!queue_name_parse(id_name, &id)) {
        LOGW("store.load", "dir=%s text=\"%s is no queue id, left alone\"", topic_dir,
             log_quote(slice_str(id_name), quoted, sizeof quoted));
        return 0;
    }
    char *dir = path_join(topic_dir, id_name);
    if (!dir)
        return err_set(e, E_NOMEM, "load consume queue");
    bool is_dir;
    struct run run = {0};
    struct store_queue *q = NULL;
    int rc = look_at(t, dir, &is_dir, e);
    if (!rc && is_dir)
        rc = judge_files(t, dir, clean, &run, e);
    if (!rc && run.n)
        rc = queue_open(t, topic, id, &q, e);
    if (!rc && q) {
        q->has_dir = true;
        q->files_from = run.first;
        q->damaged = run.damaged;
        q->suspect = run.suspect;
        q->files_to = run.files_to;
        rc = remove_files_from(q, run.first + (int64_t)run.n * t->file_size, e);
        if (!rc)
            rc = find_end(q, &run, e);
        q->cold_end = q->max;
        if (!rc)
            rc = probe(q, e);
    }
    if (q)
        queue_unref(q);
    free(dir);
    return rc;
}

static int load_topic(struct queue_table *t, const char *name, bool clean, struct err *e)
{
    char quoted[64];
    if (topic_name_check(slice_str(name), NULL)) {
        LOGW("store.load", "dir=%s text=\"%s is no topic name, left alone\"", t->dir,
             log_quote(slice_str(name), quoted, sizeof quoted));
        return 0;
    }
    char *dir = path_join(t->dir, name);
    struct names ids;
    bool is_dir = false;
    int rc = dir ? look_at(t, dir, &is_dir, e) : err_set(e, E_NOMEM, "load consume queues");
    if (!rc && is_dir)
        rc = names_list(t->fs, dir, &ids, e);
    if (!rc && is_dir) {
        for (size_t i = 0; i < ids.n && !rc; i++)
            rc = load_queue(t, dir, slice_str(name), ids.v[i], clean, e);
        names_free(&ids);
    }
    free(dir);
    return rc;
}

int queue_table_load(struct queue_table *t, bool clean, struct err *e)
{
    struct names topics;
    t->unsynced = !clean; /* an open that failed may have left names */
    int rc = fs_mkdirs(t->fs, t->dir, e);
    if (!rc)
        rc = t->fs->open(t->fs, t->dir, FS_READ, &t->dir_file, e);
    if (!rc)
        rc = names_list(t->fs, t->dir, &topics, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < topics.n && !rc; i++)
        rc = load_topic(t, topics.v[i], clean, e);
    names_free(&topics);
    return rc;
}
