/* R3: the log cut at every byte of its last three records. A store with records of every shape (both
 * topic lengths, batches, IPv6, prepared halves, delayed ones, ends of files) is stopped, in order
 * and as a killed process; then for each byte the log ends there: once the file is short, once the
 * rest of it is zeros.
 *
 * What must hold: the store opens, every record that lies in front of the cut is there, none that
 * does not, queues and index agree, and what is appended then is there after the next start.
 *
 * Runs on: the thread of the run. */
#include <stdlib.h>

#include "tests/chaos/sim/chaos.h"
#include "tests/chaos/sim/image.h"

/* SPAN_MAX: each byte of the last records costs four starts, and where it stands in a large body says
 * nothing new. */
enum { LAST = 3, GO_ON_EVERY = 29, SPAN_MAX = 4096 };

/* Where the third last record begins. */
static int64_t find_start(const struct image *i)
{
    int64_t last[LAST] = {0};
    for (uint32_t id = 0; id < i->w.ledger.n; id++) {
        const struct message_spec *s = &i->w.ledger.v[id];
        if (s->fate != FATE_ACKED)
            continue;
        int64_t phys = s->phys;
        for (int k = LAST; k-- > 0;)
            if (phys > last[k]) {
                const int64_t t = last[k];
                last[k] = phys;
                phys = t;
            }
    }
    return last[0];
}

static void cut_files(const struct image *i, struct world *w, int64_t cut, bool zeros)
{
    const int64_t size = i->w.o.commitlog_file_size;
    for (int n = 0; n < i->n; n++) {
        const struct image_file *f = &i->v[n];
        const char *name = strrchr(f->path, '/') + 1;
        int64_t start;
        if (!strstr(f->path, "/commitlog/") || slice_i64(slice_str(name), &start) ||
            start + size <= cut)
            continue;
        if (start > cut) {
            image_write(w, f->path, NULL, 0);
            continue;
        }
        char *p = malloc(f->n);
        MQ_ASSERT(p);
        memcpy(p, f->p, f->n);
        memset(p + (cut - start), 0, f->n - (size_t)(cut - start));
        image_write(w, f->path, p, zeros ? f->n : (size_t)(cut - start));
        free(p);
    }
}

static void go_on(struct tally *t, uint64_t seed, struct world *w, int64_t cut)
{
    struct err e = {0};
    struct verdict v;
    for (int n = 0; n < 3; n++)
        world_send(w, n, 2);
    world_settle(w);
    if (world_close(w, &e) || world_open(w, &e))
        tally_fail(t, seed, "cut at %lld, going on: %s", (long long)cut, e.text);
    else if (!world_judge(w, false, &v))
        tally_fail(t, seed, "cut at %lld, after going on: %s", (long long)cut, v.first);
}

static void run_cut(struct tally *t, const struct image *i, uint64_t seed, int64_t cut, bool zeros)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = {0};
    struct verdict v;
    MQ_ASSERT(w);
    image_restore(i, w);
    cut_files(i, w, cut, zeros);
    for (uint32_t id = 0; id < w->ledger.n; id++)
        if (w->ledger.v[id].phys + w->ledger.v[id].record_n > cut)
            w->ledger.v[id].fate = FATE_GONE;
    t->cuts++;
    if (world_open(w, &e)) {
        tally_fail(t, seed, "cut at %lld: %s", (long long)cut, e.text);
    } else {
        const bool right = world_judge(w, false, &v);
        tally_verdict(t, &v);
        t->found += v.found;
        t->dropped += w->found.dropped_bytes;
        if (!right)
            tally_fail(t, seed, "cut at %lld: %s", (long long)cut, v.first);
        else if (w->found.log_max > cut && w->found.log_max % w->o.commitlog_file_size != 0)
            /* (the blank record that ends a file may lie in front of the cut) */
            tally_fail(t, seed, "cut at %lld: the log ends at %lld", (long long)cut,
                       (long long)w->found.log_max);
        else if (cut % GO_ON_EVERY == 0)
            go_on(t, seed, w, cut);
    }
    world_fini(w);
    free(w);
}

/* The first image from this seed on whose last records are short enough. */
static void make_image(struct image *i, uint64_t seed, bool orderly)
{
    image_make(i, seed, orderly);
    while (i->log_end - find_start(i) > SPAN_MAX) {
        image_free(i);
        *i = (struct image){0};
        image_make(i, ++seed, orderly);
    }
}

void r3_some(struct tally *t, uint64_t seed, int64_t every)
{
    for (int orderly = 0; orderly < 2; orderly++) {
        struct image *i = calloc(1, sizeof *i);
        MQ_ASSERT(i);
        make_image(i, seed, orderly);
        for (int64_t cut = find_start(i); cut <= i->log_end; cut += every)
            for (int zeros = 0; zeros < 2; zeros++)
                run_cut(t, i, seed, cut, zeros);
        image_free(i);
        free(i);
    }
    t->runs++;
}

void r3_run(struct tally *t, uint64_t seed)
{
    r3_some(t, seed, 1);
}
