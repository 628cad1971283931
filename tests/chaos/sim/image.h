#pragma once
/* The files of a stopped store, taken once and put onto a fresh disk again and again, each time
 * damaged in another place. */
#include "tests/chaos/sim/world.h"

struct image_file {
    char path[1024];
    char *p;
    size_t n;
};
struct image {
    struct image_file *v;
    int n, cap;
    /* of the store that made it */
    struct world w; /* its keys, clock and ledger; no store, no disk */
    int64_t log_end;
};
/* Runs a load from the seed, everything durable, and stops: in order or as a killed process. */
void image_make(struct image *i, uint64_t seed, bool orderly);
void image_free(struct image *i);
/* A world on a fresh disk that holds the files; its ledger is a copy. world_fini it. */
void image_restore(const struct image *i, struct world *w);
/* Past the store: the whole file replaced and synced; p NULL: removed. */
void image_write(struct world *w, const char *path, const char *p, size_t n);
