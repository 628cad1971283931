/* The store's life: options, locks, open, close, numbers.
 *
 * Owns: struct store and the threads inside it.
 * Runs on: open and close on one thread, store_stats_get on any.
 *
 * Happy path of open: lock the directory (before anything is read: a second process must not "recover"
 * files that the first is writing), note whether `abort` is there, create it, load and recover,
 * start the workers. Of close: stop the workers, sync the log, write the queues, write the
 * checkpoint, remove `abort`.
 *
 *   <root>/lock          held while open; holds the text "lock"
 *   <root>/abort         exists while open: found at open = the last stop was not orderly
 *   <root>/checkpoint    checkpoint.c
 *   <root>/commitlog/    commitlog.c
 *   <root>/consumequeue/ queue.c
 *   <root>/index/        index.c
 *   <root>/indexCheckpoint  index_state.c
 *   <root>/storePlaces   places.c, when one of these lies elsewhere
 *
 * Threads: flusher (flush_step), cq flusher (cq_flush_step), allocator (allocate_step), indexer
 * (index_step), space watch (space_step), cleaner (clean_step), and in FLUSH_SYNC the deadline watch
 * (deadlines_step). With `manual` none of them: tests call the steps.
 *
 * Failure modes: each step of open has its place in open_parts' ladder; `abort` stays, so the next
 * open recovers as after a crash. Close in FAILED state, or when the last sync fails: `abort` stays.
 *
 * Invariants: 1. `abort` is removed only when everything acknowledged is synced, the queues are in
 * their files, and the checkpoint says so; 2. no other thread runs before open returns 0 or after
 * close. */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_priv.h"

enum { SPACE_WATCH_MS = 1000 };

static const int64_t default_delays_ms[] = {
    1000,   5000,   10000,  30000,  60000,  120000, 180000,  240000,  300000,
    360000, 420000, 480000, 540000, 600000, 1200000, 1800000, 3600000, 7200000};

void store_opts_defaults(struct store_opts *o)
{
    *o = (struct store_opts){
        .commitlog_file_size = INT64_C(1) << 30,
        .cq_file_size = 300000 * CQ_UNIT_SIZE,
        .flush_mode = FLUSH_ASYNC,
        .flush_interval_ms = 500,
        .flush_least_pages = 4,
        .flush_thorough_ms = 10000,
        .cq_flush_interval_ms = 1000,
        .cq_flush_least_pages = 2,
        .cq_flush_thorough_ms = 60000,
        .sync_flush_timeout_ms = 5000,
        .max_message_size = 4 * 1024 * 1024,
        .transfer_count_max = 32,
        .transfer_bytes_max = 256 * 1024,
        .disk_count_max = 8,
        .disk_bytes_max = 64 * 1024,
        .memory_ratio = 40,
        .page_cache_trust_ms = 500,
        .filter_scan_bytes = 16000,
        .check_crc_on_recover = true,
        .file_reserved_ms = INT64_C(72) * 3600 * 1000,
        .delete_hours = 1u << 4,
        .clean_interval_ms = 10000,
        .clean_log_pause_ms = 100,
        .clean_cq_pause_ms = 100,
        .clean_batch = 10,
        .disk_used_max = 75,
        .disk_clean_forcibly = 85,
        .disk_warning = 90,
        .clean_forcibly = true,
        .keep_from = INT64_MAX,
        .index_enable = true,
        .index_slots = 5000000,
        .index_items = 20000000,
        .delay_level_ms = default_delays_ms,
        .delay_level_n = (int)(sizeof default_delays_ms / sizeof *default_delays_ms),
    };
}

int64_t store_delay_ms(const struct store *st, int32_t level)
{
    if (level <= 0 || !st->o.delay_level_n)
        return 0;
    return st->o.delay_level_ms[(level < st->o.delay_level_n ? level : st->o.delay_level_n) - 1];
}

/* ---- options ---- */

struct bound {
    const char *key;
    int64_t value, min, max;
};

static int check_opts(const struct store_opts *o, struct err *e)
{
    const struct bound bounds[] = {
        {"mappedFileSizeCommitLog", o->commitlog_file_size, 4096, INT32_MAX},
        {"zeroAheadMegabytes (bytes)", o->zero_ahead_bytes, 0, INT64_C(1) << 40},
        {"pageCacheTrustMillis", o->page_cache_trust_ms, 0, INT32_MAX},
        {"mappedFileSizeConsumeQueue", o->cq_file_size, CQ_UNIT_SIZE, INT32_MAX - CQ_UNIT_SIZE},
        {"flushIntervalCommitLog", o->flush_interval_ms, 1, INT32_MAX},
        {"flushCommitLogLeastPages", o->flush_least_pages, 0, INT32_MAX},
        {"flushCommitLogThoroughInterval", o->flush_thorough_ms, 0, INT64_MAX},
        {"flushIntervalConsumeQueue", o->cq_flush_interval_ms, 1, INT32_MAX},
        {"flushConsumeQueueLeastPages", o->cq_flush_least_pages, 0, INT32_MAX},
        {"flushConsumeQueueThoroughInterval", o->cq_flush_thorough_ms, 0, INT64_MAX},
        {"syncFlushTimeout", o->sync_flush_timeout_ms, 1, INT32_MAX},
        {"maxMessageSize", o->max_message_size, 1, INT32_MAX - RECORD_SLACK},
        {"maxTransferCountOnMessageInMemory", o->transfer_count_max, 1, INT32_MAX},
        {"maxTransferBytesOnMessageInMemory", o->transfer_bytes_max, 1, INT32_MAX},
        {"maxTransferCountOnMessageInDisk", o->disk_count_max, 1, INT32_MAX},
        {"maxTransferBytesOnMessageInDisk", o->disk_bytes_max, 1, INT32_MAX},
        {"accessMessageInMemoryMaxRatio", o->memory_ratio, 0, 100},
        {"maxHashSlotNum", o->index_slots, 1, INT32_MAX},
        {"maxIndexNum", o->index_items, 2, INT32_MAX},
        {"maxFilterMessageSize", o->filter_scan_bytes, CQ_UNIT_SIZE, INT32_MAX},
        {"fileReservedTime (ms)", o->file_reserved_ms, 0, INT64_MAX / 2},
        {"cleanResourceInterval", o->clean_interval_ms, 1, INT32_MAX},
        {"deleteCommitLogFilesInterval", o->clean_log_pause_ms, 0, INT32_MAX},
        {"deleteConsumeQueueFilesInterval", o->clean_cq_pause_ms, 0, INT32_MAX},
        {"deleteFileBatchMax", o->clean_batch, 1, INT32_MAX},
        {"diskMaxUsedSpaceRatio", o->disk_used_max, 0, 100},
        {"diskSpaceCleanForciblyRatio", o->disk_clean_forcibly, 0, 100},
        {"diskSpaceWarningLevelRatio", o->disk_warning, 0, 100},
    };
    if (!o->root_dir || !*o->root_dir)
        return err_set(e, E_INVAL, "storePathRootDir is not set");
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].value < bounds[i].min || bounds[i].value > bounds[i].max)
            return err_set(e, E_INVAL, "%s=%lld is not between %lld and %lld", bounds[i].key,
                           (long long)bounds[i].value, (long long)bounds[i].min, (long long)bounds[i].max);
    return 0;
}

static int copy_opts(struct store *st, const struct store_opts *o, struct err *e)
{
    st->o = *o;
    st->o.delay_level_ms = NULL;
    if (!st->o.fs)
        st->o.fs = &fs_real;
    if (!st->o.clock)
        st->o.clock = &clock_system;
    st->fs = st->o.fs;
    st->clock = st->o.clock;
    const int64_t machine = o->machine_memory > 0 ? o->machine_memory
                                                  : (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    st->memory_bytes = machine / 100 * o->memory_ratio;
    st->root = slice_dup(slice_str(o->root_dir));
    const size_t n = o->delay_level_n > 0 ? (size_t)o->delay_level_n : 0;
    int64_t *delays = calloc(n + 1, sizeof *delays);
    if (!st->root || !delays) {
        free(delays);
        free(st->root);
        return err_set(e, E_NOMEM, "open store");
    }
    if (n)
        memcpy(delays, o->delay_level_ms, n * sizeof *delays);
    st->o.delay_level_n = (int)n;
    st->o.delay_level_ms = delays;
    st->o.root_dir = st->root;
    return 0;
}

static void free_opts(struct store *st)
{
    free((void *)(uintptr_t)st->o.delay_level_ms);
    free(st->root);
}

/* ---- marker files ---- */

static int take_lock(struct store *st, struct err *e)
{
    char *path = path_join(st->root, "lock");
    if (!path)
        return err_set(e, E_NOMEM, "lock store");
    int rc = st->fs->open(st->fs, path, FS_WRITE | FS_CREATE, &st->lock_file, e);
    free(path);
    if (rc)
        return rc;
    rc = st->fs->lock(st->lock_file, e);
    if (!rc)
        rc = fs_write(st->lock_file, st->fs, "lock", 4, 0, e);
    if (rc)
        st->fs->close(st->lock_file);
    if (rc == E_LOCKED)
        return err_set(e, E_LOCKED, "the store directory %s is in use by another process; stop it, or "
                       "give this broker a storePathRootDir of its own", st->root);
    return rc;
}

/* Makes the coming or going of a name durable. */
static int sync_name(struct store *st, const char *path, struct err *e)
{
    const char *const slash = strrchr(path, '/');
    char *const dir = slash ? slice_dup(slice_of(path, slash == path ? 1 : (size_t)(slash - path)))
                            : slice_dup(slice_str("."));
    const int rc = dir ? st->fs->dirsync(st->fs, dir, e) : err_set(e, E_NOMEM, "sync %s", path);
    free(dir);
    return rc;
}

/* Creates `abort`; *clean tells whether it was absent. */
static int mark_running(struct store *st, bool *clean, struct err *e)
{
    struct fs_stat was;
    struct fs_file *f;
    const char *const path = st->places.path[PLACE_ABORT], *const old = st->places.old_abort;
    char pid[24];
    int rc = st->fs->stat(st->fs, path, &was, NULL);
    if (rc == E_NOTFOUND && old)
        rc = st->fs->stat(st->fs, old, &was, NULL);
    if (rc && rc != E_NOTFOUND)
        return err_set(e, rc, "stat %s: %s", path, err_text(rc));
    *clean = rc == E_NOTFOUND;
    const int n = snprintf(pid, sizeof pid, "%ld", (long)getpid());
    rc = st->fs->open(st->fs, path, FS_WRITE | FS_CREATE | FS_TRUNC, &f, e);
    if (rc)
        return rc;
    rc = fs_write(f, st->fs, pid, (size_t)n, 0, e);
    if (rc == E_NOSPC) /* the name is what counts, the number is for people */
        rc = 0;
    if (!rc)
        rc = st->fs->sync(f, e);
    st->fs->close(f);
    if (!rc)
        rc = sync_name(st, path, e);
    return rc ? rc : places_lock_abort(st, e);
}

static int mark_stopped(struct store *st, struct err *e)
{
    const char *const path = st->places.path[PLACE_ABORT];
    const int rc = st->fs->unlink(st->fs, path, e);
    return rc ? rc : sync_name(st, path, e);
}

/* ---- open ---- */

static void stop_workers(struct store *st)
{
    worker_stop(&st->cleaner);
    worker_stop(&st->space_watch);
    worker_stop(&st->allocator);
    worker_stop(&st->flusher);
    worker_stop(&st->deadlines);
    worker_stop(&st->indexer);
    worker_stop(&st->cq_flusher);
}

static int start_workers(struct store *st, struct err *e)
{
    if (st->o.manual)
        return 0;
    const bool sync = st->o.flush_mode == FLUSH_SYNC;
    int rc = worker_start(&st->flusher, "store-flush", sync ? -1 : st->o.flush_interval_ms, flush_step, st, e);
    if (!rc)
        rc = worker_start(&st->cq_flusher, "store-cq", st->o.cq_flush_interval_ms, cq_flush_step, st, e);
    if (!rc && st->o.index_enable)
        rc = worker_start(&st->indexer, "store-index", INDEX_IDLE_MS, index_step, st, e);
    if (!rc)
        rc = worker_start(&st->allocator, "store-alloc", -1, allocate_step, st, e);
    if (!rc)
        rc = worker_start(&st->space_watch, "store-space", SPACE_WATCH_MS, space_step, st, e);
    if (!rc)
        rc = worker_start(&st->cleaner, "store-clean", st->o.clean_interval_ms, clean_step, st, e);
    if (!rc && sync) {
        /* Often enough to be late by a twentieth, seldom enough to cost nothing. */
        int64_t every = st->o.sync_flush_timeout_ms / 20;
        every = every < 10 ? 10 : every > 250 ? 250 : every;
        rc = worker_start(&st->deadlines, "store-deadline", every, deadlines_step, st, e);
    }
    if (rc)
        stop_workers(st);
    return rc;
}

static int open_recovered(struct store *st, struct store_recovery *found, struct err *e)
{
    int rc = checkpoint_load(st, e);
    if (!rc)
        rc = commitlog_load(&st->log, e);
    if (!rc)
        rc = queue_table_load(&st->queues, found->clean, e);
    if (!rc)
        rc = recover(st, found, e);
    if (!rc && (st->places.moved[PLACE_LOG] || st->places.moved[PLACE_INDEX]))
        rc = index_forget(&st->index, e);
    if (!rc)
        rc = places_settle(st, e);
    if (!rc) {
        retention_init(st);
        rc = index_start(&st->index, found->clean, e);
    }
    return rc ? rc : start_workers(st, e);
}

static int open_parts(struct store *st, struct store_recovery *found, struct err *e)
{
    const int64_t began = clock_mono(st->clock);
    int rc = places_init(st, &st->o, e);
    if (!rc)
        rc = fs_mkdirs(st->fs, st->root, e);
    if (!rc)
        rc = take_lock(st, e);
    if (rc)
        return rc;
    rc = places_claim(st, e);
    if (!rc)
        rc = mark_running(st, &found->clean, e);
    if (rc)
        goto err_lock;
    st->o.commitlog_dir = st->places.path[PLACE_LOG];
    rc = commitlog_init(&st->log, &st->o, e);
    st->log.lock_files = st->places.relocated[PLACE_LOG];
    if (rc)
        goto err_lock;
    rc = visibility_init(&st->vis, e);
    if (rc)
        goto err_log;
    rc = queue_table_init(&st->queues, st, e);
    if (rc)
        goto err_visibility;
    rc = index_init(&st->index, st, e);
    if (rc)
        goto err_queues;
    rc = open_recovered(st, found, e);
    if (rc)
        goto err_index;
    found->elapsed_ms = clock_mono(st->clock) - began;
    return 0;

err_index:
    index_fini(&st->index);
err_queues:
    queue_table_fini(&st->queues);
err_visibility:
    visibility_fini(&st->vis);
err_log:
    commitlog_fini(&st->log);
    if (st->checkpoint_file)
        st->fs->close(st->checkpoint_file);
err_lock:
    st->fs->close(st->lock_file);
    return rc;
}

int store_open(struct store **out, const struct store_opts *o, struct store_recovery *found, struct err *e)
{
    int rc = check_opts(o, e);
    if (rc)
        return rc;
    struct store *st = calloc(1, sizeof *st);
    if (!st)
        return err_set(e, E_NOMEM, "open store");
    rc = copy_opts(st, o, e);
    if (rc)
        goto err_store;
    if (uv_mutex_init(&st->fail_lock)) {
        rc = err_set(e, E_NOMEM, "open store: cannot create a lock");
        goto err_opts;
    }
    struct store_recovery unused;
    if (!found)
        found = &unused;
    *found = (struct store_recovery){0};
    rc = open_parts(st, found, e);
    if (rc)
        goto err_fail_lock;
    *out = st;
    return 0;

err_fail_lock:
    places_fini(st);
    uv_mutex_destroy(&st->fail_lock);
err_opts:
    free_opts(st);
err_store:
    free(st);
    return err_wrap(e, rc, "open store %s", o->root_dir);
}

/* ---- close ---- */

static int close_cleanly(struct store *st, struct err *e)
{
    if (atomic_load(&st->failed))
        return err_set(e, E_FAILED, "%s", st->failed_reason);
    int rc = queue_table_flush_all(&st->queues, e);
    if (!rc) {
        const int64_t ts = atomic_load(&st->log.flushed_ts);
        rc = checkpoint_save(st, ts, ts, e);
    }
    if (!rc)
        commitlog_drop_ahead(&st->log);
    return rc ? rc : mark_stopped(st, e);
}

int store_close(struct store *st, struct err *e)
{
    MQ_ASSERT(!atomic_load(&st->ports));
    atomic_store(&st->closing, true);
    stop_workers(st);
    while (flush_step(st)) {
    }
    index_close(&st->index);
    const int rc = close_cleanly(st, e);
    if (rc)
        err_wrap(e, rc, "close store %s", st->root);
    struct fs *fs = st->fs;
    retention_fini(st);
    index_fini(&st->index);
    visibility_fini(&st->vis);
    queue_table_fini(&st->queues);
    commitlog_fini(&st->log);
    fs->close(st->checkpoint_file);
    fs->close(st->lock_file);
    uv_mutex_destroy(&st->fail_lock);
    places_fini(st);
    free_opts(st);
    free(st);
    return rc;
}

void store_stats_get(struct store *st, struct store_stats *out)
{
    *out = (struct store_stats){
        .log_min = atomic_load(&st->log.min),
        .log_wrote = atomic_load(&st->log.wrote),
        .log_flushed = atomic_load(&st->log.flushed),
        .log_visible = atomic_load(&st->vis.offset),
        .indexed = atomic_load(&st->index.indexed),
        .appends = atomic_load(&st->appends),
        .records = atomic_load(&st->records),
        .bytes = atomic_load(&st->bytes),
        .syncs = atomic_load(&st->syncs),
        .sync_ns = atomic_load(&st->sync_ns),
        .writes = atomic_load(&st->writes),
        .disk_used = atomic_load(&st->retention.used),
        .disk_full = atomic_load(&st->retention.full),
    };
    uv_mutex_lock(&st->fail_lock);
    out->failed = atomic_load(&st->failed);
    memcpy(out->failed_reason, st->failed_reason, sizeof out->failed_reason);
    uv_mutex_unlock(&st->fail_lock);
}
