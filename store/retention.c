/* Retention: old log files go, and a disk that fills up refuses writes before it is full.
 *
 * Owns: the decision which file goes when, and whether appends are refused for want of space.
 * Runs on: space_step on the space watch (once a second), clean_step on the cleaner. Two threads, so
 * that a deletion, however slow the disk, never delays the look at the free space.
 *
 * The watch. Used space = used / (used + available), in percent, rounded up, of the fuller one of
 * the file systems that hold the log and the root:
 *   above diskSpaceWarningLevelRatio                 appends are refused (STORE_DISK_FULL)
 *   at or below diskSpaceCleanForciblyRatio          appends are accepted
 *   between the two                                  as it was before; while refused, one log line
 * Reads and deletions go on. Source: DefaultMessageStore.CleanCommitLogService of 5.5.0.
 *
 * The cleaner. A round starts every cleanResourceInterval. It removes the oldest log file while
 *   it is expired (the latest store time of its records + fileReservedTime has passed), and the hour is
 *   one of deleteWhen or the disk is above diskMaxUsedSpaceRatio; or
 *   the disk is above diskSpaceCleanForciblyRatio and cleanFileForciblyEnable is on,
 * at most deleteFileBatchMax files, deleteCommitLogFilesInterval apart; the disk is measured before each.
 * Then every queue's minimum moves to its first unit whose record is left, and queue files in front
 * of it go, deleteConsumeQueueFilesInterval apart. RocketMQ judges age by the file's modification
 * time; store times survive a copy of the directory, and nothing touches them later.
 *
 * Age is the distance of two wall times. A store whose newest record is already older than
 * fileReservedTime when it is opened would lose all but its last file at once, and what made it so may
 * be a clock that was set wrong, or a copy that was just restored: nothing goes by age then until
 * fileReservedTime has passed once more, over restarts too (the checkpoint keeps the time). While it is
 * open its clock must not jump (base/clock.h, clock_steady).
 *
 * What stays: the last log file and the last file of each queue; a file that is not wholly synced and
 * visible, or whose queue units are not; and a file that somebody needs (store_keep_from: undecided half messages, delayed messages
 * that are not yet delivered). Above the warning level needs count no more when
 * cleanFileForciblyEnable is on: nobody could be decided or delivered while writes are refused. Each
 * file held back, and each file removed in spite of a need, is one log line.
 * docs/decisions/0002-retention.md has the reasons.
 *
 * Failure modes: a file cannot be removed: one log line, the round ends, the next one tries the same
 * file again. Free space cannot be read: one log line, the state stays as it was.
 *
 * Invariants: 1. a log file's name is durably gone before the next one is touched, a queue file's
 * after the log files that its units point to: a crash anywhere leaves a directory that opens;
 * 2. readers keep what they hold: the mapping goes with the last reference. */
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "store/store_priv.h"

int store_hours_parse(const char *text, uint32_t *hours, struct err *e)
{
    struct slice rest = slice_str(text), one;
    uint32_t mask = 0;
    while (slice_cut(&rest, ';', &one)) {
        int32_t hour;
        one = slice_trim(one);
        if (!one.n)
            continue;
        if (slice_i32(one, &hour) || hour < 0 || hour > 23)
            return err_set(e, E_INVAL, "deleteWhen=%s: \"" SLICE_FMT "\" is no hour; give hours from 00 to 23, "
                           "separated by ';'", text, SLICE_ARG(one));
        mask |= 1u << hour;
    }
    if (!mask)
        return err_set(e, E_INVAL, "deleteWhen names no hour; give hours from 00 to 23, separated by ';'");
    *hours = mask;
    return 0;
}

void store_keep_from(struct store *st, int64_t phys_offset)
{
    atomic_store(&st->retention.keep_from, phys_offset);
}

/* ---- the watch ---- */

static int used_percent(struct fs *fs, const char *path, int *out, struct err *e)
{
    struct fs_space s;
    const int rc = fs->space(fs, path, &s, e);
    if (rc)
        return rc;
    const int64_t used = s.total_bytes - s.free_bytes, all = used + s.avail_bytes;
    /* In floating point: 100 times the bytes of a large array may not fit 64 bits. */
    const double exact = all > 0 ? (double)used * 100 / (double)all : 0;
    *out = (int)exact + (exact > (int)exact);
    return 0;
}

static int measure(struct store *st, int *used, struct err *e)
{
    int log, root;
    int rc = used_percent(st->fs, st->log.dir, &log, e);
    if (!rc)
        rc = used_percent(st->fs, st->root, &root, e);
    if (!rc)
        *used = log > root ? log : root;
    return rc;
}

static void judge_space(struct store *st, int used)
{
    struct retention *r = &st->retention;
    const bool was = atomic_load(&r->full);
    bool full = was;
    if (used > st->o.disk_warning)
        full = true;
    else if (used <= st->o.disk_clean_forcibly)
        full = false;
    atomic_store(&r->used, used);
    atomic_store(&r->full, full);
    if (full && !was)
        LOGE("store.disk_full", "usedPercent=%d diskSpaceWarningLevelRatio=%d effect=\"sends are refused, reads "
             "go on\" remedy=\"free space; sends are accepted again at %d percent\"", used, st->o.disk_warning,
             st->o.disk_clean_forcibly);
    else if (!full && was)
        LOGI("store.disk_free", "usedPercent=%d text=\"sends are accepted again\"", used);
    const bool is_short = full && used <= st->o.disk_warning;
    if (is_short && !r->short_told)
        LOGW("store.disk_short", "usedPercent=%d diskSpaceCleanForciblyRatio=%d cleanFileForciblyEnable=%d "
             "text=\"some space came back, not enough: sends stay refused\"", used, st->o.disk_clean_forcibly,
             st->o.clean_forcibly);
    r->short_told = is_short;
}

bool space_step(void *arg)
{
    struct store *st = arg;
    struct err e;
    int used;
    const bool blind = measure(st, &used, &e) != 0;
    if (blind && !st->retention.watch_blind)
        LOGW("store.space", "text=\"cannot read the free space: %s\"", e.text);
    st->retention.watch_blind = blind;
    if (!blind)
        judge_space(st, used);
    return false;
}

/* ---- age ---- */

static int64_t first_ts(struct store *st, const struct store_file *f)
{
    return f->start < atomic_load(&st->vis.offset) ? store_file_first_ts(f) : INT64_MAX;
}

/* Walks the records of a whole file. `next_ts`, which is never too early, where it is damaged. The latest time, not
 * the last one: a damaged one must not make the file older than it is. */
static int64_t walk_last_ts(const struct store_file *f, int64_t next_ts)
{
    int64_t ts = 0;
    for (int64_t pos = 0; f->size - pos >= MESSAGE_BLANK_SIZE;) {
        struct message m;
        const int rc = message_decode(slice_of(f->map + pos, (size_t)(f->size - pos)), 0, &m, NULL);
        if (rc == E_NOTFOUND)
            break;
        if (rc)
            return next_ts;
        if (m.store_timestamp > ts && m.store_timestamp <= MESSAGE_TIME_MAX)
            ts = m.store_timestamp;
        pos += m.total_size;
    }
    return ts ? ts : next_ts;
}

/* Times do not go back along the log, so mostly one look at a file's neighbour is enough. */
static bool is_expired(struct store *st, struct store_file *f, const struct store_file *next)
{
    const int64_t now = clock_wall(st->clock), latest = now - st->o.file_reserved_ms;
    if (now < atomic_load(&st->retention.age_from_ts))
        return false;
    const int64_t next_ts = first_ts(st, next);
    if (next_ts <= latest)
        return true;
    if (first_ts(st, f) > latest && first_ts(st, f) != INT64_MAX)
        return false;
    if (!f->last_ts)
        f->last_ts = walk_last_ts(f, next_ts);
    return f->last_ts <= latest;
}

static bool is_delete_hour(const struct store *st)
{
    const time_t now = (time_t)(clock_wall(st->clock) / 1000);
    struct tm local;
    return localtime_r(&now, &local) && st->o.delete_hours >> local.tm_hour & 1;
}

/* ---- log files ---- */

/* Whether somebody needs the file. Logs that once, and that it goes all the same. */
static bool is_held(struct store *st, const struct store_file *f, int used)
{
    struct retention *r = &st->retention;
    const int64_t keep = atomic_load(&r->keep_from);
    if (f->start + f->size <= keep)
        return false;
    if (st->o.clean_forcibly && used > st->o.disk_warning) {
        LOGE("store.clean.needed", "file=%s usedPercent=%d needed=%lld text=\"removed although undecided "
             "transactions or delayed messages are in it or behind it\"", f->path, used, (long long)keep);
        return false;
    }
    if (r->held_told != f->start)
        LOGW("store.clean.held", "file=%s usedPercent=%d needed=%lld text=\"kept for undecided transactions or "
             "delayed messages\"", f->path, used, (long long)keep);
    r->held_told = f->start;
    return true;
}

static bool may_go(struct store *st, struct store_file *f, const struct store_file *next, int used)
{
    const int64_t end = f->start + f->size;
    const bool forced = used > st->o.disk_clean_forcibly;
    if (end > atomic_load(&st->log.flushed) || end > atomic_load(&st->vis.offset) ||
        end > atomic_load(&st->queues.synced)) /* after a crash nothing could tell where those queues ended */
        return false;
    if (!(forced && st->o.clean_forcibly) &&
        (!(forced || used > st->o.disk_used_max || is_delete_hour(st)) || !is_expired(st, f, next)))
        return false;
    return !is_held(st, f, used);
}

static bool remove_log_file(struct store *st)
{
    struct store_file *f, *next;
    struct err e;
    int used;
    if (measure(st, &used, &e)) /* the watch has told why; by age alone then */
        used = 0;
    if (!commitlog_oldest(&st->log, &f, &next))
        return false;
    bool removed = may_go(st, f, next, used);
    if (removed) {
        const int rc = commitlog_remove_first(&st->log, &e);
        if (rc)
            LOGW("store.clean", "file=%s text=\"cannot be removed, tried again later: %s\"", f->path, e.text);
        else
            LOGI("store.clean", "file=%s usedPercent=%d logMin=%lld text=\"log file removed\"", f->path, used,
                 (long long)next->start);
        removed = !rc;
    }
    store_file_unref(f);
    store_file_unref(next);
    return removed;
}

/* ---- queues ---- */

static void end_queues(struct retention *r)
{
    while (r->todo_i < r->todo_n)
        queue_unref(r->todo[r->todo_i++]);
    free(r->todo);
    r->todo = NULL;
    r->todo_n = r->todo_i = 0;
}

/* References to all queues, since the table cannot be held for as long as this takes. */
static bool begin_queues(struct store *st)
{
    struct retention *r = &st->retention;
    struct queue_table *t = &st->queues;
    struct map_iter it = {0};
    const int64_t min = atomic_load(&st->log.min);
    if (r->queues_min >= min)
        return false;
    uv_rwlock_rdlock(&t->map_lock);
    const size_t n = map_count(t->map);
    r->todo = calloc(n + 1, sizeof(struct store_queue *));
    while (r->todo && map_next(t->map, &it))
        r->todo[r->todo_n++] = queue_ref(it.value);
    uv_rwlock_rdunlock(&t->map_lock);
    r->queues_target = min;
    r->queues_failed = false;
    return r->todo != NULL;
}

/* The next queue, or one of its files. Returns how long to wait before the next step. */
static int64_t clean_queue(struct store *st)
{
    struct retention *r = &st->retention;
    struct store_queue *q = r->todo[r->todo_i];
    struct err e;
    bool removed = false;
    int rc = queue_find_min(q, r->queues_target, &e);
    if (!rc) {
        uv_mutex_lock(&st->queues.io_lock);
        rc = queue_remove_expired(q, &removed, &e);
        uv_mutex_unlock(&st->queues.io_lock);
    }
    if (rc) {
        LOGW("store.clean", "topic=" SLICE_FMT " queue=%d text=\"cannot be cleaned, tried again later: %s\"",
             SLICE_ARG(queue_topic(q)), q->id, e.text);
        r->queues_failed = true;
    }
    if (removed)
        return st->o.clean_cq_pause_ms;
    queue_unref(q);
    if (++r->todo_i == r->todo_n) {
        if (!r->queues_failed) /* else the next round looks at all of them again */
            r->queues_min = r->queues_target;
        end_queues(r);
    }
    return 0;
}

/* ---- rounds ---- */

/* One file, one queue, or the beginning or end of a round. Returns ms until the next step. */
static int64_t clean_once(struct store *st)
{
    struct retention *r = &st->retention;
    if (r->todo_n)
        return clean_queue(st);
    if (!r->in_round) {
        r->in_round = true;
        r->budget = st->o.clean_batch;
    }
    if (r->budget > 0 && remove_log_file(st)) {
        r->budget--;
        return st->o.clean_log_pause_ms;
    }
    r->budget = 0;
    if (!r->queues_tried && begin_queues(st)) {
        r->queues_tried = true;
        return 0;
    }
    end_queues(r);
    r->in_round = r->queues_tried = false;
    return st->o.clean_interval_ms;
}

bool clean_step(void *arg)
{
    struct store *st = arg;
    struct retention *r = &st->retention;
    if (atomic_load(&st->closing))
        return false;
    const int64_t now = clock_mono(st->clock);
    if (now >= r->next_ms)
        r->next_ms = now + clean_once(st);
    st->cleaner.idle_ms = r->next_ms - now;
    return r->next_ms <= now;
}

void retention_judge_age(struct store *st, int64_t newest_ts)
{
    const int64_t now = clock_wall(st->clock), age = now - newest_ts;
    const int64_t from = (age > 0 ? now : newest_ts) + st->o.file_reserved_ms;
    _Atomic int64_t *const age_from = &st->retention.age_from_ts;
    if (newest_ts && age > st->o.file_reserved_ms) {
        atomic_store(age_from, from);
        LOGW("store.clean.old", "newestRecordAgeMs=%lld fileReservedMs=%lld text=\"every record is expired: the "
             "store was not in use for so long, was restored, or the clock is wrong; nothing is removed by age until "
             "fileReservedTime has passed once more\"", (long long)age, (long long)st->o.file_reserved_ms);
    } else if (atomic_load(age_from) > from) { /* fileReservedTime was larger then, or the log is another one */
        atomic_store(age_from, from);
    }
}

void retention_init(struct store *st)
{
    struct retention *r = &st->retention;
    r->held_told = -1;
    r->next_ms = clock_mono(st->clock) + st->o.clean_interval_ms;
    atomic_store(&r->keep_from, st->o.keep_from);
    atomic_store(&r->used, -1);
    space_step(st);
}

void retention_fini(struct store *st)
{
    end_queues(&st->retention);
}
