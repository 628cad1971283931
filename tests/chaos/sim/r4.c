/* R4: one bit flips in a file of a stopped store. Every kind of file, a random place each time, in
 * stores that were stopped in order and in killed ones; and in the files of config/.
 *
 * What must hold. No crash, and no wrong byte is served: every record that is read is a message that
 * was sent, as it was sent, at its place. Either the store refuses to open and names the file, or it
 * opens. Then
 *   commit log    the message that was hit may be missing, and what recovery dropped behind it and
 *                 reported (dropped_bytes); nothing else
 *   index         no query gives a record that does not have the key. Keys may be missing when
 *                 `mqstore verify` finds the damage: items carry no checksum. They are counted
 *   all others    nothing is missing: they are derived, or only bookkeeping
 * New messages are sent then, and after one more stop and start everything is judged again.
 * Files of config/ have no checksum (RocketMQ's format): a flip is either refused with the file's name,
 * or the tables load; whether they differ then is counted.
 *
 * Happy path: two images are made per seed (image.c), each flip gets a world of its own.
 * Runs on: the thread of the run. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/persist.h"
#include "mqstore/verify.h"
#include "tests/chaos/sim/chaos.h"
#include "tests/chaos/sim/image.h"
#include "tests/chaos/sim/tables.h"

struct r4 {
    struct tally *t;
    uint64_t seed;
    const struct image *orderly, *killed;
    struct rng rng;
};

static const struct kind {
    const char *path; /* part of it */
    bool killed;      /* only a killed store has it */
} kinds[] = {{"/commitlog/", false}, {"/consumequeue/", false}, {"/index/", false}, {"/indexCheckpoint", false},
             {"/checkpoint", false}, {"/abort", true},          {"/lock", false}};
static const char *const config_files[] = {"topics.json", "subscriptionGroup.json", "consumerOffset.json",
                                           "delayOffset.json"};
_Static_assert(sizeof kinds / sizeof *kinds + sizeof config_files / sizeof *config_files == R4_KINDS,
               "the number of kinds that is told");

/* A random file of a kind; NULL: none that has a byte. */
static const struct image_file *draw_file(struct r4 *r, const struct image *i, const char *kind)
{
    uint64_t n = 0;
    const struct image_file *found = NULL;
    for (int k = 0; k < i->n; k++)
        if (strstr(i->v[k].path, kind) && i->v[k].n && rng_below(&r->rng, ++n) == 0)
            found = &i->v[k];
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

static bool verify_finds_damage(struct world *w)
{
    struct verify *v = calloc(1, sizeof *v);
    struct err e = {0};
    const struct verify_opts o = {.site = {.fs = fs_sim_fs(w->sim),
                                           .root = w->o.root_dir,
                                           .log_file_size = w->o.commitlog_file_size,
                                           .cq_file_size = w->o.cq_file_size,
                                           .index_slots = w->o.index_slots,
                                           .index_items = w->o.index_items}};
    MQ_ASSERT(v && !verify_run(v, &o, &e));
    const bool found = v->report.count[DAMAGE] > 0;
    verify_close(v);
    free(v);
    return found;
}

static bool judge_now(struct r4 *r, struct world *w, const char *what, const char *when)
{
    struct verdict v;
    const bool right = world_judge(w, false, &v);
    tally_verdict(r->t, &v);
    if (!right)
        tally_fail(r->t, r->seed, "%s: %s%s", what, when, v.first);
    return right;
}

static void judge_life(struct r4 *r, struct world *w, const char *what)
{
    struct err e = {0};
    if (!judge_now(r, w, what, ""))
        return;
    w->ledger.dropped_from = INT64_MAX; /* what is sent from now on must stay */
    world_send(w, 0, 5);
    world_settle(w);
    if (world_close(w, &e) || world_open(w, &e)) {
        tally_fail(r->t, r->seed, "%s: the next stop and start: %s", what, e.text);
        return;
    }
    judge_now(r, w, what, "after one more start: ");
}

static void run_flip(struct r4 *r, const struct kind *kind)
{
    const struct image *i = kind->killed || rng_below(&r->rng, 2) ? r->killed : r->orderly;
    const struct image_file *f = draw_file(r, i, kind->path);
    if (!f) { /* killed before its first checkpoint was written */
        i = r->orderly;
        f = draw_file(r, i, kind->path);
    }
    MQ_ASSERT(f);
    const size_t at = draw_place(r, f);
    const int bit = (int)rng_below(&r->rng, 8);
    const bool is_log = f->path == strstr(f->path, "/store/commitlog/");
    struct world *w = calloc(1, sizeof *w);
    struct err e = {0};
    char what[1200];
    MQ_ASSERT(w);
    snprintf(what, sizeof what, "bit %d of byte %zu of %s (%s)", bit, at, f->path,
             i == r->killed ? "killed" : "stopped");
    image_restore(i, w);
    flip(w, f, at, bit);
    if (is_log)
        excuse_hit(w, f, at);
    if (strcmp(kind->path, "/index/") == 0)
        w->ledger.index_damaged = verify_finds_damage(w);
    r->t->faults++;
    if (world_open(w, &e)) {
        r->t->refused++;
        if (e.code != E_CORRUPT || !strstr(e.text, strrchr(f->path, '/') + 1))
            tally_fail(r->t, r->seed, "%s: the error does not name it: %s", what, e.text);
    } else {
        const bool dropped = is_log && w->found.dropped_bytes;
        r->t->dropped += dropped ? w->found.dropped_bytes : 0;
        /* 0 would mean that nothing was; the record at 0 is then the one that was hit. */
        w->ledger.dropped_from = !dropped ? INT64_MAX : w->found.log_max ? w->found.log_max : 1;
        judge_life(r, w, what);
    }
    world_fini(w);
    free(w);
}

/* ---- config/ ---- */

static void save_delays(struct tables *t, struct rng *rng)
{
    struct err e = {0};
    json_t *const table = json_object();
    for (int level = 1; level <= 18; level++) {
        char key[16];
        snprintf(key, sizeof key, "%d", level);
        json_object_set_new(table, key, json_integer((json_int_t)rng_below(rng, 1000000)));
    }
    json_t *const root = json_pack("{s:{s:i}, s:o}", "dataVersion", "counter", 3, "offsetTable", table);
    MQ_ASSERT(root && !persist_save(&t->b, "delayOffset.json", root, &e));
}

/* All four files as text, or an error that names the one which cannot be used. */
static char *load_all(struct tables *t, struct err *e)
{
    json_t *delays = NULL;
    struct buf out;
    if (tables_load(t, e) || persist_load(&t->b, "delayOffset.json", &delays, e))
        return NULL;
    char *const text = tables_text(t);
    MQ_ASSERT(text);
    buf_init(&out, 0);
    buf_slice_add(&out, slice_str(text));
    MQ_ASSERT(!json_write_indented(delays, &out));
    free(text);
    json_decref(delays);
    return buf_take(&out, NULL);
}

static void run_config(struct r4 *r, const char *name)
{
    struct world *w = calloc(1, sizeof *w);
    struct tables t, whole, again;
    struct err e = {0};
    MQ_ASSERT(w);
    world_init(w, r->seed);
    struct fs *fs = fs_sim_fs(w->sim);
    MQ_ASSERT(!fs_mkdirs(fs, "/store/config", &e));
    MQ_ASSERT(!tables_init(&t, fs, "/store") && !tables_init(&whole, fs, "/store") && !tables_init(&again, fs, "/store"));
    MQ_ASSERT(!tables_fill(&t, &w->clock.base, &r->rng, &e) && !tables_save(&t, &e));
    save_delays(&t, &r->rng);
    char *const before = load_all(&whole, &e);
    MQ_ASSERT(before);
    struct image_file f = {0};
    snprintf(f.path, sizeof f.path, "/store/config/%s", name);
    MQ_ASSERT(!fs_read_all(fs, f.path, 1 << 20, &f.p, &f.n, &e));
    const size_t at = (size_t)rng_below(&r->rng, f.n);
    flip(w, &f, at, (int)rng_below(&r->rng, 8));
    r->t->faults++;
    char *const after = load_all(&again, &e);
    if (after) {
        r->t->changed += strcmp(before, after) != 0;
    } else {
        r->t->refused++;
        if (!strstr(e.text, name))
            tally_fail(r->t, r->seed, "byte %zu of %s: the error does not name it: %s", at, f.path, e.text);
    }
    free(before);
    free(after);
    free(f.p);
    tables_fini(&t);
    tables_fini(&whole);
    tables_fini(&again);
    world_fini(w);
    free(w);
}

void r4_run(struct tally *t, uint64_t seed)
{
    struct r4 r = {.t = t, .seed = seed};
    struct image *images = calloc(2, sizeof *images);
    MQ_ASSERT(images);
    rng_seed(&r.rng, seed ^ 0x52344234u);
    for (int i = 0; i < 2; i++)
        image_make(&images[i], seed, i == 0);
    r.orderly = &images[0];
    r.killed = &images[1];
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        run_flip(&r, &kinds[k]);
    for (size_t k = 0; k < sizeof config_files / sizeof *config_files; k++)
        run_config(&r, config_files[k]);
    for (int i = 0; i < 2; i++)
        image_free(&images[i]);
    free(images);
    t->runs++;
}
