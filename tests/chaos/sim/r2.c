/* R2: power loss. A random load on a store with random keys, the power cut in the middle of some
 * call of the file system, again while the store recovers, again soon after; every time everything
 * is read and judged.
 *
 * What must hold. FLUSH_SYNC: nothing acknowledged is lost, nothing that a consumer has seen is lost.
 * FLUSH_ASYNC: what is lost is the end of the log and no older than the flush keys allow. Both: what
 * the log's flusher had reported as synced is there; the start knows that the last stop was not
 * orderly; queues, units, log and index agree; what was lost does not come back.
 *
 * Runs on: the thread of the run. */
#include "tests/chaos/sim/chaos.h"

enum { CYCLES_MAX = 12, STEPS_MAX = 300 };

struct r2 {
    struct world w;
    struct tally *t;
    bool running; /* an open succeeded and no orderly stop came since */
};

/* Calls until the cut: from the very next one to far away, each magnitude equally often. */
static uint64_t draw_call(struct world *w)
{
    return 1 + rng_below(&w->rng, UINT64_C(1) << rng_below(&w->rng, 12));
}

/* Opens; up to three times the power goes while it recovers. */
static bool open_through_cuts(struct r2 *r)
{
    struct world *w = &r->w;
    for (uint64_t cuts = rng_below(&w->rng, 4);; cuts -= cuts > 0) {
        struct err e = {0};
        if (cuts)
            world_arm_cut(w, draw_call(w));
        const int rc = world_open(w, &e);
        if (w->power_off) {
            r->t->cuts++;
            world_lose_memory(w);
            continue;
        }
        fs_fault_disarm(&w->fault);
        if (!rc)
            return true;
        tally_fail(r->t, w->seed, "the store does not open: %s", e.text);
        return false;
    }
}

static bool judge_after_cut(struct r2 *r, const struct store_stats *before)
{
    struct world *w = &r->w;
    struct verdict v;
    const bool right = world_judge(w, true, &v);
    tally_verdict(r->t, &v);
    r->t->dropped += w->found.dropped_bytes;
    if (!right) {
        tally_fail(r->t, w->seed, "%s (%s)", v.first,
                   w->o.flush_mode == FLUSH_SYNC ? "SYNC_FLUSH" : "ASYNC_FLUSH");
        return false;
    }
    if (w->found.log_max < before->log_flushed) {
        tally_fail(r->t, w->seed, "the log ends at %lld, %lld had been synced",
                   (long long)w->found.log_max, (long long)before->log_flushed);
        return false;
    }
    if (r->running && w->found.clean) {
        tally_fail(r->t, w->seed, "the start takes the power cut for an orderly stop");
        return false;
    }
    return true;
}

static bool load_and_cut(struct r2 *r)
{
    struct world *w = &r->w;
    struct store_stats before;
    world_arm_cut(w, draw_call(w));
    for (uint64_t left = 1 + rng_below(&w->rng, STEPS_MAX); left && !w->power_off; left--)
        world_step(w);
    world_cut(w);
    r->t->cuts++;
    store_stats_get(w->st, &before);
    world_lose_memory(w);
    r->running = true;
    return open_through_cuts(r) && judge_after_cut(r, &before);
}

/* Stops in order and starts again: nothing at all may be missing. */
static bool stop_and_start(struct r2 *r)
{
    struct world *w = &r->w;
    struct err e = {0};
    struct verdict v;
    if (world_close(w, &e)) {
        tally_fail(r->t, w->seed, "the orderly stop: %s", e.text);
        return false;
    }
    if (world_open(w, &e)) {
        tally_fail(r->t, w->seed, "after the orderly stop: %s", e.text);
        return false;
    }
    const bool right = world_judge(w, false, &v);
    tally_verdict(r->t, &v);
    if (!right)
        tally_fail(r->t, w->seed, "after an orderly stop: %s", v.first);
    else if (!w->found.clean)
        tally_fail(r->t, w->seed, "an orderly stop was taken for a crash");
    return right && w->found.clean;
}

void r2_run(struct tally *t, uint64_t seed)
{
    struct r2 r = {.t = t};
    world_init(&r.w, seed);
    bool going = open_through_cuts(&r);
    const uint64_t cycles = 1 + rng_below(&r.w.rng, CYCLES_MAX);
    for (uint64_t i = 0; i < cycles && going; i++) {
        going = load_and_cut(&r);
        if (going && rng_below(&r.w.rng, 3) == 0)
            going = stop_and_start(&r);
    }
    if (going)
        stop_and_start(&r);
    t->acked += r.w.acked;
    t->runs++;
    world_fini(&r.w);
}
