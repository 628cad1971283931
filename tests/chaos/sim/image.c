/* Images of stores. Owns: the copied files and the ledger. Runs on: the thread of the run. */
#include "tests/chaos/sim/image.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 50 };

struct walk {
    struct image *i;
    struct fs *fs;
    char dir[512];
    char (*names)[256];
    int n, cap;
};

static int note_name(void *arg, const char *name)
{
    struct walk *k = arg;
    if (k->n == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 64;
        k->names = realloc(k->names, (size_t)k->cap * sizeof *k->names);
        MQ_ASSERT(k->names);
    }
    snprintf(k->names[k->n++], sizeof k->names[0], "%s", name);
    return 0;
}

static void take_file(struct image *i, struct fs *fs, const char *path)
{
    if (i->n == i->cap) {
        i->cap = i->cap ? i->cap * 2 : 64;
        i->v = realloc(i->v, (size_t)i->cap * sizeof *i->v);
        MQ_ASSERT(i->v);
    }
    struct image_file *f = &i->v[i->n++];
    snprintf(f->path, sizeof f->path, "%s", path);
    MQ_ASSERT(!fs_read_all(fs, path, 64 << 20, &f->p, &f->n, NULL));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* In the order of names: the image must not depend on the order of a hash table. */
static void take_dir(struct image *i, struct fs *fs, const char *dir)
{
    struct walk *k = calloc(1, sizeof *k);
    MQ_ASSERT(k);
    MQ_ASSERT(!fs->list(fs, dir, note_name, k, NULL));
    if (k->n) /* an empty one has no array, and qsort wants one */
        qsort(k->names, (size_t)k->n, sizeof k->names[0], compare_names);
    for (int n = 0; n < k->n; n++) {
        char path[sizeof k->dir + sizeof k->names[0]];
        struct fs_stat st;
        snprintf(path, sizeof path, "%s/%s", dir, k->names[n]);
        MQ_ASSERT(!fs->stat(fs, path, &st, NULL));
        if (st.is_dir)
            take_dir(i, fs, path);
        else
            take_file(i, fs, path);
    }
    free(k->names);
    free(k);
}

void image_make(struct image *i, uint64_t seed, bool orderly)
{
    struct world *w = &i->w;
    struct err e = {0};
    struct verdict v;
    *i = (struct image){0};
    world_init(w, seed);
    world_set_mode(w, FLUSH_SYNC);
    w->o.file_reserved_ms = w->ledger.reserved_ms = INT64_C(1) << 40;
    w->o.index_enable = true;
    w->sealed_only = true;
    MQ_ASSERT(!world_open(w, &e));
    for (int n = 0; n < STEPS; n++)
        world_step(w);
    world_settle(w);
    MQ_ASSERT(world_judge(w, true, &v)); /* what is there is promised from now on */
    struct store_stats stats;
    store_stats_get(w->st, &stats);
    i->log_end = stats.log_visible;
    if (orderly) {
        MQ_ASSERT(!world_close(w, &e));
    } else {
        w->cut_mode = FS_SIM_KEEP_ALL;
        world_cut(w);
        world_lose_memory(w);
    }
    take_dir(i, fs_sim_fs(w->sim), "/store");
    fs_fault_fini(&w->fault);
    fs_sim_free(w->sim);
    w->sim = NULL;
}

void image_free(struct image *i)
{
    while (i->n)
        free(i->v[--i->n].p);
    free(i->v);
    ledger_free(&i->w.ledger);
}

void image_write(struct world *w, const char *path, const char *p, size_t n)
{
    struct fs *fs = fs_sim_fs(w->sim);
    struct fs_file *f;
    struct err e;
    if (!p) {
        MQ_ASSERT(!fs->unlink(fs, path, &e));
        return;
    }
    char dir[512];
    const char *slash = strrchr(path, '/');
    MQ_ASSERT(!slice_copy(slice_of(path, (size_t)(slash - path)), dir, sizeof dir));
    MQ_ASSERT(!fs_mkdirs(fs, dir, &e));
    MQ_ASSERT(!fs->open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNC, &f, &e));
    MQ_ASSERT(!fs_write(f, fs, p, n, 0, &e));
    MQ_ASSERT(!fs->sync(f, &e));
    fs->close(f);
}

void image_restore(const struct image *i, struct world *w)
{
    world_init(w, i->w.seed);
    w->o = i->w.o;
    w->o.arg = w;
    w->o.clock = &w->clock.base;
    clock_fake_init(&w->clock, clock_wall(&i->w.clock.base), clock_mono(&i->w.clock.base));
    w->ledger = i->w.ledger;
    w->ledger.cap = w->ledger.n;
    w->ledger.v = malloc((w->ledger.n + 1) * sizeof *w->ledger.v);
    MQ_ASSERT(w->ledger.v);
    memcpy(w->ledger.v, i->w.ledger.v, w->ledger.n * sizeof *w->ledger.v);
    for (int n = 0; n < i->n; n++)
        image_write(w, i->v[n].path, i->v[n].p, i->v[n].n);
}
