/* Visibility: written records become queue units, in log order, when they are durable enough.
 *
 * Owns: the ring of records that are written but not visible yet, and the list of appends that wait
 * for the flush.
 * Runs on: pushes on submitters; visibility_advance on the submitter (FLUSH_ASYNC: right after its
 * write) or on the flusher (FLUSH_SYNC: after the sync). Both hold vis.lock, which a submitter takes
 * before it lets go of the log lock; so the order here is the order in the log.
 *
 * Units come from the append batch in memory; the log is never read back for them.
 *
 * Happy path: push (a copy of what the unit needs, since the append may be answered and gone before
 * it is visible), advance: unit into the queue, one on_arrive per ARRIVAL_BATCH records.
 *
 * Failure modes: no memory for the ring: found out before the write (visibility_reserve), nothing is
 * written. No memory for a unit: the store turns FAILED and visibility stops in front of its record, so
 * that neither the checkpoint nor the cleaner passes it; the next sync or recovery makes the unit.
 * In FAILED state records that were never synced stay invisible.
 *
 * Bound: the ring holds 64 bytes per record of the log that is not synced yet; the smallest record
 * has 91, so it never exceeds the dirty part of the log, which the kernel bounds.
 *
 * Invariants: 1. the ring is ordered by physical offset; 2. offset <= wrote, and in FLUSH_SYNC
 * offset <= flushed; 3. a queue's units are added in order of their queue offsets; 4. a unit that can
 * be seen points to a record that can be read: whoever meets one that cannot takes it for damaged. */
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

enum { ARRIVAL_BATCH = 64, RING_FIRST_CAP = 256 };

int visibility_init(struct visibility *v, struct err *e)
{
    list_init(&v->waiters);
    return uv_mutex_init(&v->lock) ? err_set(e, E_NOMEM, "cannot create a lock") : 0;
}

void visibility_fini(struct visibility *v)
{
    for (; v->n; v->n--, v->head++)
        queue_unref(v->ring[v->head & (v->cap - 1)].queue);
    free(v->ring);
    uv_mutex_destroy(&v->lock);
}

static int grow(struct visibility *v, size_t want)
{
    size_t cap = v->cap ? v->cap : RING_FIRST_CAP;
    while (cap < want)
        cap *= 2;
    struct pending *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return E_NOMEM;
    for (size_t i = 0; i < v->n; i++)
        ring[i] = v->ring[(v->head + i) & (v->cap - 1)];
    free(v->ring);
    v->ring = ring;
    v->cap = cap;
    v->head = 0;
    return 0;
}

int visibility_reserve(struct visibility *v, size_t n)
{
    uv_mutex_lock(&v->lock);
    const int rc = v->n + n > v->cap ? grow(v, v->n + n) : 0;
    uv_mutex_unlock(&v->lock);
    return rc;
}

void visibility_push(struct visibility *v, const struct pending *p)
{
    MQ_ASSERT(v->n < v->cap);
    v->ring[(v->head + v->n++) & (v->cap - 1)] = *p;
}

/* The oldest record that is not visible, if `upto` covers it; else NULL. */
static const struct pending *next_covered(const struct visibility *v, int64_t upto)
{
    if (!v->n)
        return NULL;
    const struct pending *p = &v->ring[v->head & (v->cap - 1)];
    return p->unit.phys_offset + p->unit.size <= upto ? p : NULL;
}

static bool add_unit(struct store *st, const struct pending *p)
{
    const bool added = !queue_add(p->queue, &p->unit);
    if (!added)
        store_fail_mark(st, "out of memory for consume queue units");
    return added;
}

static void announce(struct store *st, const struct store_arrival *list, size_t n)
{
    if (n && st->o.on_arrive)
        st->o.on_arrive(st->o.arg, list, n);
}

static size_t advance_some(struct store *st, int64_t upto)
{
    struct visibility *v = &st->vis;
    struct store_arrival list[ARRIVAL_BATCH];
    struct store_queue *queues[ARRIVAL_BATCH];
    const struct pending *p;
    size_t n = 0;
    for (; n < ARRIVAL_BATCH && (p = next_covered(v, upto)) && add_unit(st, p); n++) {
        queues[n] = p->queue;
        list[n] = (struct store_arrival){
            .topic = queue_topic(p->queue), .queue_id = p->queue->id, .queue_offset = p->queue_offset,
            .tags_code = p->unit.tags_code, .store_timestamp = p->ts};
        v->head++;
        v->n--;
    }
    announce(st, list, n);
    for (size_t i = 0; i < n; i++)
        queue_unref(queues[i]);
    return n;
}

void visibility_advance(struct store *st, int64_t upto, int64_t ts)
{
    atomic_store_explicit(&st->vis.readable, upto, memory_order_release);
    while (advance_some(st, upto) == ARRIVAL_BATCH) {
    }
    const struct pending *stuck = next_covered(&st->vis, upto);
    atomic_store_explicit(&st->vis.offset, stuck ? stuck->unit.phys_offset : upto, memory_order_release);
    if (!stuck)
        atomic_store_explicit(&st->vis.ts, ts, memory_order_release);
}
