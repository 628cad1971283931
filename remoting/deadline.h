#pragma once
/* A binary heap of deadlines, earliest first; the nodes live in what they limit. Not thread-safe. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct deadline {
    int64_t at_ms;
    size_t pos; /* 1-based place in the heap; 0: not in it */
    void (*fire)(struct deadline *d);
};
struct deadlines {
    struct deadline **items;
    size_t n, cap;
};

void deadlines_fini(struct deadlines *h);
int deadlines_add(struct deadlines *h, struct deadline *d) HP_MUST_USE; /* E_NOMEM */
void deadlines_remove(struct deadlines *h, struct deadline *d);         /* fine when not in it */
struct deadline *deadlines_first(const struct deadlines *h);            /* NULL when empty */
