/* R6: the nth allocation fails. The same load again and again on the real file system, each time
 * with another allocation of the store hit: while it opens, under load, in its workers, while it
 * stops. The same for the broker's tables: filling, saving, loading; and for the decoding and
 * answering of a request.
 *
 * What must hold. No crash. Whatever cannot be done for want of memory says so with an error code;
 * what was acknowledged is there afterwards; when everything is closed, every allocation has been
 * freed.
 *
 * LIMIT: allocations inside jansson are not hit. Its scanner ignores that a string's buffer could not
 * grow (lex_save in 2.14) and then reads past the end of it; no caller can prevent that.
 *
 * Runs on: the thread of the run. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/command.h"
#include "tests/chaos/sim/alloc_hook.h"
#include "tests/chaos/sim/chaos.h"
#include "tests/chaos/sim/scratch.h"
#include "tests/chaos/sim/tables.h"

enum { STEPS = 60 };

struct r6 {
    struct tally *t;
    uint64_t seed;
    int64_t n;
};

static void fail(const struct r6 *r, const char *where, const char *text)
{
    tally_fail_at(r->t, r->seed, r->n, "allocation %lld: %s: %s", (long long)r->n, where, text);
}

/* ---- the store ---- */

/* True when the allocation happened. */
static bool load_store(const struct r6 *r, struct world *w)
{
    struct err e = {0};
    struct verdict v;
    bool opened = !world_open(w, &e);
    if (!opened && e.code != E_NOMEM)
        fail(r, "store_open: not E_NOMEM but", e.text);
    r->t->refused += !opened;
    for (int i = 0; i < STEPS && opened; i++)
        world_step(w);
    if (opened && world_close(w, &e))
        r->t->refused++; /* FAILED, or no memory to stop in order: the next start recovers */
    const bool hit = alloc_hook_fired();
    r->t->faults += hit;
    alloc_hook_arm(0);
    if (world_open(w, &e)) {
        fail(r, "the start after it", e.text);
        return hit;
    }
    if (!world_judge(w, false, &v))
        fail(r, "after it", v.first);
    tally_verdict(r->t, &v);
    if (world_close(w, &e))
        fail(r, "the stop after it", e.text);
    r->t->acked += w->acked;
    return hit;
}

static bool run_store(const struct r6 *r, enum flush_mode mode)
{
    struct world *w = calloc(1, sizeof *w);
    MQ_ASSERT(w);
    world_init(w, r->seed);
    world_set_mode(w, mode);
    w->fs = &fs_real;
    w->o.root_dir = scratch_new();
    w->enter = alloc_hook_enter;
    w->leave = alloc_hook_leave;
    alloc_hook_arm(r->n);
    const bool hit = load_store(r, w);
    scratch_remove();
    world_fini(w);
    free(w);
    return hit;
}

/* ---- the broker's tables ---- */

static bool run_tables(const struct r6 *r)
{
    struct tables t, again;
    struct rng rng;
    struct err e = {0};
    char *before = NULL, *after = NULL, config[128];
    const char *root = scratch_new();
    rng_seed(&rng, r->seed);
    snprintf(config, sizeof config, "%s/config", root);
    MQ_ASSERT(!fs_mkdirs(&fs_real, config, NULL));
    alloc_hook_arm(r->n);
    alloc_hook_enter();
    int rc = tables_init(&t, &fs_real, root);
    if (!rc) {
        rc = tables_fill(&t, &clock_system, &rng, &e);
        if (!rc)
            rc = tables_save(&t, &e);
        alloc_hook_leave();
        before = rc ? NULL : tables_text(&t);
        alloc_hook_enter();
        tables_fini(&t);
    }
    if (!rc)
        rc = tables_init(&again, &fs_real, root);
    if (!rc) {
        rc = tables_load(&again, &e);
        alloc_hook_leave();
        after = rc ? NULL : tables_text(&again);
        alloc_hook_enter();
        tables_fini(&again);
    }
    alloc_hook_leave();
    const bool hit = alloc_hook_fired();
    alloc_hook_arm(0);
    if (rc && rc != E_NOMEM)
        fail(r, "the tables: not E_NOMEM but", e.text);
    if (!rc && (!before || !after || strcmp(before, after) != 0))
        fail(r, "the tables", "what was loaded is not what was saved");
    r->t->refused += rc != 0;
    r->t->faults += hit;
    free(before);
    free(after);
    scratch_remove();
    return hit;
}

/* ---- a request and its answer ---- */

static bool run_request(const struct r6 *r)
{
    static const char odd[] =
        "{\"code\":310,\"flag\":0,\"language\":\"JAVA\",\"opaque\":7,\"extFields\":{\"a\":\"x\",\"b\":"
        "\"\\u00e9y\",\"i\":\"1700000000000\",\"nested\":{\"x\":1}},\"version\":401}";
    char header[sizeof odd];
    struct command c;
    struct buf spill, answer;
    struct err e = {0};
    memcpy(header, odd, sizeof odd);
    buf_init(&spill, 0);
    buf_init(&answer, 0);
    alloc_hook_arm(r->n);
    alloc_hook_enter();
    int rc = command_decode(header, sizeof odd - 1, COMMAND_JSON, &c, &spill, &e);
    if (!rc) {
        const struct command_out out = {.code = RESP_SUCCESS, .opaque = c.opaque, .flag = COMMAND_FLAG_RESPONSE};
        rc = command_encode(&answer, &out, 0, &e);
    }
    alloc_hook_leave();
    const bool hit = alloc_hook_fired();
    alloc_hook_arm(0);
    /* A second way of reading the same header may have needed less. */
    if (!rc && (c.opaque != 7 || !slice_eq_str(command_ext(&c, "b"), "\u00e9y")))
        fail(r, "a request", "it was understood in a wrong way");
    if (rc && !hit)
        fail(r, "a request", e.text);
    r->t->refused += rc != 0;
    r->t->faults += hit;
    buf_free(&spill);
    buf_free(&answer);
    return hit;
}

bool r6_run(struct tally *t, uint64_t seed, int64_t n)
{
    struct r6 r = {.t = t, .seed = seed, .n = n};
    bool (*const parts[])(const struct r6 *) = {run_tables, run_request};
    bool hit = false;
    for (size_t i = 0; i < 2 + sizeof parts / sizeof *parts; i++) {
        const int64_t before = alloc_hook_outstanding();
        hit |= i < 2 ? run_store(&r, i ? FLUSH_SYNC : FLUSH_ASYNC) : parts[i - 2](&r);
        t->runs++;
        const int64_t leaked = alloc_hook_outstanding() - before;
        if (leaked) {
            char text[64];
            snprintf(text, sizeof text, "%lld allocations were not freed", (long long)leaked);
            fail(&r, i < 2 ? "the store" : i == 2 ? "the tables" : "a request", text);
            t->leaks += leaked;
        }
    }
    return hit;
}
