/* The background steps of the log: group commit, deadlines, allocation; and the FAILED state.
 *
 * Owns: the decision when to sync, and what a failed sync means.
 * Runs on: flush_step on the flusher, deadlines_step on the deadline watch, allocate_step on the
 * allocator, store_fail_* on whoever met the failure.
 *
 * Happy path, FLUSH_SYNC: submitters wake the flusher; one fdatasync covers everything written while
 * the previous one ran, so the load itself forms the batches and no timer adds latency. Then the
 * synced records become visible, and only after that their senders hear STORE_OK: whoever was told
 * "stored" finds the message.
 * Happy path, FLUSH_ASYNC: every flushIntervalCommitLog, when flushCommitLogLeastPages pages are
 * dirty, or after flushCommitLogThoroughInterval whatever is dirty. Source: FlushRealTimeService.
 *
 * Failure modes: a sync fails: FAILED, all waiters get STORE_FAILED, and no sync is ever tried again
 * (the kernel may have dropped the pages and would report success). A sync hangs: the deadline watch
 * answers STORE_FLUSH_TIMEOUT after syncFlushTimeout; the message stays written, and becomes visible
 * if the sync comes back.
 *
 * Invariants: 1. no waiter gets STORE_OK unless its end_offset <= flushed; 2. flushed moves only
 * after a sync that began when those bytes were written; 3. on_failed is called once. */
#include "base/log.h"
#include "store/store_priv.h"

void store_fail_mark(struct store *st, const char *reason)
{
    bool first = false;
    uv_mutex_lock(&st->fail_lock);
    if (!atomic_load(&st->failed)) {
        (void)slice_copy(slice_of(reason, strnlen(reason, sizeof st->failed_reason - 1)), st->failed_reason,
                         sizeof st->failed_reason);
        atomic_store(&st->failed, true);
        first = true;
    }
    uv_mutex_unlock(&st->fail_lock);
    if (first)
        LOGE("store.failed", "text=\"%s\" effect=\"sends are refused, reads go on\" "
             "remedy=\"repair the disk, then restart the broker\"", reason);
}

/* Takes the waiters that are decided: those that are flushed and, in FAILED state, all others. */
static void complete_waiters(struct store *st)
{
    struct list done;
    list_init(&done);
    const bool failed = atomic_load(&st->failed);
    uv_mutex_lock(&st->vis.lock);
    const int64_t flushed = atomic_load(&st->log.flushed);
    LIST_FOREACH_SAFE(it, tmp, &st->vis.waiters) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        if (a->end_offset > flushed && !failed)
            break;
        a->status = a->end_offset <= flushed ? STORE_OK : STORE_FAILED;
        list_remove(it);
        list_push_back(&done, it);
    }
    uv_mutex_unlock(&st->vis.lock);
    appends_deliver(&done);
}

void store_fail_report(struct store *st)
{
    if (!atomic_load(&st->failed) || atomic_exchange(&st->fail_reported, true))
        return;
    if (st->o.on_failed)
        st->o.on_failed(st->o.arg, st->failed_reason);
    complete_waiters(st);
}

static int sync_log(struct store *st, int64_t from, int64_t to, struct err *e)
{
    const int64_t began = clock_mono_ns(st->clock);
    int rc = FAILPOINT(FP_STORE_FLUSH_SYNC);
    if (rc)
        rc = err_set(e, rc, "sync commit log: failpoint");
    else
        rc = commitlog_sync(&st->log, from, to, e);
    if (!rc && (rc = FAILPOINT(FP_STORE_FLUSH_DONE)))
        rc = err_set(e, rc, "after the sync of the commit log: failpoint");
    atomic_fetch_add_explicit(&st->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&st->sync_ns, (uint64_t)(clock_mono_ns(st->clock) - began), memory_order_relaxed);
    return rc;
}

static bool flush_is_due(struct store *st, int64_t dirty)
{
    if (!dirty)
        return false;
    if (st->o.flush_mode == FLUSH_SYNC || atomic_load(&st->closing))
        return true;
    return dirty >= (int64_t)st->o.flush_least_pages * PAGE ||
           clock_mono(st->clock) - st->last_flush_ms >= st->o.flush_thorough_ms;
}

bool flush_step(void *arg)
{
    struct store *st = arg;
    struct commitlog *l = &st->log;
    const int64_t from = atomic_load(&l->flushed);
    /* The time first: it then belongs to a record that `to` covers. */
    const int64_t ts = atomic_load(&l->wrote_ts), to = atomic_load(&l->wrote);
    if (!st->sync_broken && flush_is_due(st, to - from)) {
        struct err e;
        if (sync_log(st, from, to, &e)) {
            st->sync_broken = true;
            store_fail_mark(st, e.text);
        } else {
            st->last_flush_ms = clock_mono(st->clock);
            atomic_store(&l->flushed_ts, ts);
            atomic_store(&l->flushed, to);
        }
    }
    if (st->o.flush_mode == FLUSH_SYNC) {
        uv_mutex_lock(&st->vis.lock);
        visibility_advance(st, atomic_load(&l->flushed), atomic_load(&l->flushed_ts));
        uv_mutex_unlock(&st->vis.lock);
    }
    store_fail_report(st);
    complete_waiters(st);
    return !st->sync_broken && flush_is_due(st, atomic_load(&l->wrote) - atomic_load(&l->flushed));
}

bool deadlines_step(void *arg)
{
    struct store *st = arg;
    struct list late;
    list_init(&late);
    const int64_t now = clock_mono(st->clock);
    uv_mutex_lock(&st->vis.lock);
    LIST_FOREACH_SAFE(it, tmp, &st->vis.waiters) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        if (a->deadline_ms > now)
            break; /* they all wait equally long: the list is in order of deadlines too */
        a->status = STORE_FLUSH_TIMEOUT;
        list_remove(it);
        list_push_back(&late, it);
    }
    uv_mutex_unlock(&st->vis.lock);
    appends_deliver(&late);
    return false;
}

bool cq_flush_step(void *st)
{
    return queue_table_flush_step(&((struct store *)st)->queues);
}

bool allocate_step(void *arg)
{
    struct commitlog *l = &((struct store *)arg)->log;
    const bool created = commitlog_allocate_ahead(l);
    return zero_ahead_step(l) || created;
}

bool store_step_flush(struct store *st)
{
    return flush_step(st);
}

bool store_step_cq_flush(struct store *st)
{
    return cq_flush_step(st);
}

bool store_step_allocate(struct store *st)
{
    return allocate_step(st);
}

bool store_step_index(struct store *st)
{
    return index_step(st);
}

bool store_step_deadlines(struct store *st)
{
    return deadlines_step(st);
}

bool store_step_space(struct store *st)
{
    return space_step(st);
}

bool store_step_clean(struct store *st)
{
    return clean_step(st);
}
