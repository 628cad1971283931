/* R4: one bit flips in a file of a stopped store. Every kind of file, a random place each time,
 * stores that were stopped in order and killed ones; and the files of config/.
 *
 * What must hold. No crash, and no wrong byte is served: every record that is read is a message that
 * was sent, as it was sent, at its place. Either the store refuses to open and names the file, or it
 * opens. Then
 *   commit log    the message that was hit may be missing, and what recovery dropped behind it and
 *                 reported (dropped_bytes); nothing else
 *   all others    nothing is missing: they are derived, or only bookkeeping
 * Files of config/ have no checksum (RocketMQ's format): a flip is either refused with the file's name,
 * or the tables load; whether they differ then is counted.
 *
 * Runs on: the thread of the run. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/sim/chaos.h"
#include "tests/chaos/sim/image.h"
#include "tests/chaos/sim/tables.h"

struct r4 {
    struct tally *t;
    uint64_t seed;
    const struct image *i;
    struct rng rng;
};

static const char *const kinds[] = {"/commitlog/", "/consumequeue/", "/index/", "/indexCheckpoint",
                                    "/checkpoint", "/abort",         "/lock"};

/* A random file of a kind; NULL when the store has none. */
static const struct image_file *draw_file(struct r4 *r, const char *kind)
{
    uint64_t n = 0;
    const struct image_file *found = NULL;
    for (int k = 0; k < r->i->n; k++)
        if (strstr(r->i->v[k].path, kind) && r->i->v[k].n && rng_below(&r->rng, ++n) == 0)
            found = &r->i->v[k];
    return found;
}

/* A place in the part of the file that says something. */
static size_t draw_place(struct r4 *r, const struct image_file *f)
{
    size_t used = f->n;
    while (used > 1 && !f->p[used - 1])
        used--;
    return (size_t)rng_below(&r->rng, used);
}

static void flip(struct world *w, const struct image_file *f, size_t at, int bit)
{
    char *p = malloc(f->n);
    MQ_ASSERT(p);
    memcpy(p, f->p, f->n);
    p[at] = (char)(p[at] ^ (1 << bit));
    image_write(w, f->path, p, f->n);
    free(p);
}

/* The message that the byte of the log belongs to may be missing. */
static void excuse_hit(struct world *w, const struct image_file *f, size_t at)
{
    int64_t start;
    MQ_ASSERT(!slice_i64(slice_str(strrchr(f->path, '/') + 1), &start));
    const int64_t phys = start + (int64_t)at;
    for (uint32_t id = 0; id < w->ledger.n; id++) {
        struct message_spec *s = &w->ledger.v[id];
        if (s->fate == FATE_ACKED && s->phys <= phys && phys < s->phys + s->record_n)
            w->ledger.damaged = id + 1;
    }
}

static void run_flip(struct r4 *r, const char *kind)
{
    const struct image_file *f = draw_file(r, kind);
    if (!f)
        return;
    const size_t at = draw_place(r, f);
    const int bit = (int)rng_below(&r->rng, 8);
    struct world *w = calloc(1, sizeof *w);
    struct err e = {0};
    struct verdict v;
    MQ_ASSERT(w);
    image_restore(r->i, w);
    flip(w, f, at, bit);
    const bool is_log = strcmp(kind, "/commitlog/") == 0;
    if (is_log)
        excuse_hit(w, f, at);
    r->t->faults++;
    const int rc = world_open(w, &e);
    if (rc) {
        r->t->refused++;
        if (rc != E_CORRUPT || !strstr(e.text, strrchr(f->path, '/') + 1))
            tally_fail(r->t, r->seed, "bit %d of byte %zu of %s: the error does not name it: %s", bit, at,
                       f->path, e.text);
    } else {
        w->ledger.dropped_from = is_log && w->found.dropped_bytes ? w->found.log_max : INT64_MAX;
        const bool right = world_judge(w, false, &v);
        tally_verdict(r->t, &v);
        if (!right)
            tally_fail(r->t, r->seed, "bit %d of byte %zu of %s: %s", bit, at, f->path, v.first);
    }
    world_fini(w);
    free(w);
}

/* ---- config/ ---- */

static const char *const config_files[] = {"topics.json", "subscriptionGroup.json", "consumerOffset.json"};

static void run_config(struct r4 *r, const char *name)
{
    struct world *w = calloc(1, sizeof *w);
    struct tables t, again;
    struct err e = {0};
    MQ_ASSERT(w);
    world_init(w, r->seed);
    struct fs *fs = fs_sim_fs(w->sim);
    MQ_ASSERT(!fs_mkdirs(fs, "/store/config", &e));
    MQ_ASSERT(!tables_init(&t, fs, "/store") && !tables_init(&again, fs, "/store"));
    MQ_ASSERT(!tables_fill(&t, &w->clock.base, &r->rng, &e) && !tables_save(&t, &e));
    struct image_file f = {0};
    snprintf(f.path, sizeof f.path, "/store/config/%s", name);
    MQ_ASSERT(!fs_read_all(fs, f.path, 1 << 20, &f.p, &f.n, &e));
    const size_t at = (size_t)rng_below(&r->rng, f.n);
    flip(w, &f, at, (int)rng_below(&r->rng, 8));
    r->t->faults++;
    if (tables_load(&again, &e)) {
        r->t->refused++;
        if (!strstr(e.text, name))
            tally_fail(r->t, r->seed, "byte %zu of %s: the error does not name it: %s", at, f.path, e.text);
    } else {
        char *before = tables_text(&t), *after = tables_text(&again);
        r->t->changed += strcmp(before, after) != 0;
        free(before);
        free(after);
    }
    free(f.p);
    tables_fini(&t);
    tables_fini(&again);
    world_fini(w);
    free(w);
}

void r4_run(struct tally *t, uint64_t seed)
{
    struct r4 r = {.t = t, .seed = seed};
    struct image *i = calloc(1, sizeof *i);
    MQ_ASSERT(i);
    rng_seed(&r.rng, seed ^ 0x52344234u);
    image_make(i, seed, rng_below(&r.rng, 2));
    r.i = i;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        run_flip(&r, kinds[k]);
    for (size_t k = 0; k < sizeof config_files / sizeof *config_files; k++)
        run_config(&r, config_files[k]);
    image_free(i);
    free(i);
    t->runs++;
}
