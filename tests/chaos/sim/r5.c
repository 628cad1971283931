/* R5: the nth call of the file system fails. The same load again and again, each time with another
 * call hit: in store_open, under load, in the workers, in the orderly stop. Afterwards the power is
 * cut, the disk works again, and what was acknowledged must be there.
 *
 * Kinds of faults: EIO once; ENOSPC once; a write of which a part reaches the disk before ENOSPC;
 * EIO from that call on. Both flush modes.
 *
 * What must hold. Nothing acknowledged is lost, as in R2. Once the store has said that it is FAILED
 * it acknowledges nothing that is sent later, whatever the disk does from then on. A store that did
 * not open, or stopped with an error, opens when the disk works.
 *
 * Runs on: the thread of the run. */
#include "tests/chaos/sim/chaos.h"

enum { STEPS = 45 };

static const struct kind {
    const char *name;
    struct fs_fault_rule rule;
} kinds[] = {
    {"EIO", {.ops = FS_OP_ALL, .error = E_IO}},
    {"ENOSPC", {.ops = FS_OP_ALL, .error = E_NOSPC}},
    {"a short write", {.ops = FS_OP_WRITE, .error = E_NOSPC, .short_bytes = 37}},
    {"EIO for ever", {.ops = FS_OP_ALL, .error = E_IO, .for_ever = true}},
};

struct r5 {
    struct world w;
    struct tally *t;
    const struct kind *kind;
    int64_t n;
};

static void fail(struct r5 *r, const char *what, const char *text)
{
    tally_fail_at(r->t, r->w.seed, r->n, "%s at call %lld, %s: %s: %s", r->kind->name, (long long)r->n,
                  r->w.o.flush_mode == FLUSH_SYNC ? "SYNC_FLUSH" : "ASYNC_FLUSH", what, text);
}

/* The load, with the fault somewhere in it. False: the store did not open. */
static bool run_load(struct r5 *r)
{
    struct world *w = &r->w;
    struct err e;
    if (world_open(w, &e))
        return false;
    for (int i = 0; i < STEPS; i++)
        world_step(w);
    return true;
}

static bool reopen_and_judge(struct r5 *r, bool may_lose, const char *when)
{
    struct err e = {0};
    struct verdict v;
    if (world_open(&r->w, &e)) {
        fail(r, when, e.text);
        return false;
    }
    const bool right = world_judge(&r->w, may_lose, &v);
    tally_verdict(r->t, &v);
    if (!right)
        fail(r, when, v.first);
    return right;
}

/* One run. True when the fault happened. */
static bool run_one(struct tally *t, uint64_t seed, int64_t n, const struct kind *kind,
                    enum flush_mode mode)
{
    struct r5 r = {.t = t, .kind = kind, .n = n};
    struct world *w = &r.w;
    struct err e = {0};
    world_init(w, seed);
    world_set_mode(w, mode);
    struct fs_fault_rule rule = kind->rule;
    rule.nth = (uint64_t)n;
    fs_fault_arm(&w->fault, rule);
    const bool opened = run_load(&r);
    /* Every other time an orderly stop is tried first, with the fault perhaps in it. */
    const bool stopped = opened && rng_below(&w->rng, 2) && !world_close(w, &e);
    const bool hit = fs_fault_fired(&w->fault) > 0;
    w->cut_mode = (enum fs_sim_crash_mode)rng_below(&w->rng, 4);
    world_cut(w);
    world_lose_memory(w);
    if (w->bad_acks)
        fail(&r, "acknowledged after the failure", "");
    bool right = reopen_and_judge(&r, true, "after the power cut");
    if (right && stopped && !w->found.clean)
        fail(&r, "after the power cut", "an orderly stop was taken for a crash");
    for (int i = 0; right && i < STEPS / 3; i++)
        world_step(w);
    if (right && (right = !world_close(w, &e)))
        right = reopen_and_judge(&r, false, "after going on");
    else if (e.code)
        fail(&r, "the stop after going on", e.text);
    t->acked += w->acked;
    t->faults += hit;
    t->runs++;
    world_fini(w);
    return hit;
}

bool r5_run(struct tally *t, uint64_t seed, int64_t n)
{
    bool hit = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int mode = 0; mode < 2; mode++)
            hit |= run_one(t, seed, n, &kinds[i], mode ? FLUSH_SYNC : FLUSH_ASYNC);
    return hit;
}
