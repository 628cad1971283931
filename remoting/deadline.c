/* A binary heap of deadlines.
 *
 * Owns: the array of pointers. Runs on: its owner's thread. Pure: it reads no clock and fires nothing;
 * the owner asks for the first and acts.
 *
 * Invariants: 1. items[i]->pos == i + 1. 2. a parent is never later than its children. */
#include "remoting/deadline.h"

#include <stdlib.h>

static void put(struct deadlines *h, size_t i, struct deadline *d)
{
    h->items[i] = d;
    d->pos = i + 1;
}

static void sift_up(struct deadlines *h, size_t i)
{
    struct deadline *d = h->items[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (h->items[parent]->at_ms <= d->at_ms)
            break;
        put(h, i, h->items[parent]);
        i = parent;
    }
    put(h, i, d);
}

static void sift_down(struct deadlines *h, size_t i)
{
    struct deadline *d = h->items[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->items[child + 1]->at_ms < h->items[child]->at_ms)
            child++;
        if (d->at_ms <= h->items[child]->at_ms)
            break;
        put(h, i, h->items[child]);
        i = child;
    }
    put(h, i, d);
}

void deadlines_fini(struct deadlines *h)
{
    free(h->items);
    *h = (struct deadlines){0};
}

int deadlines_add(struct deadlines *h, struct deadline *d)
{
    if (h->n == h->cap) {
        size_t cap = h->cap == 0 ? 64 : h->cap * 2;
        struct deadline **grown = realloc(h->items, cap * sizeof *grown);
        if (grown == NULL)
            return E_NOMEM;
        h->items = grown;
        h->cap = cap;
    }
    put(h, h->n++, d);
    sift_up(h, h->n - 1);
    return 0;
}

void deadlines_remove(struct deadlines *h, struct deadline *d)
{
    if (d->pos == 0)
        return;
    size_t i = d->pos - 1;
    d->pos = 0;
    struct deadline *last = h->items[--h->n];
    if (last == d)
        return;
    put(h, i, last);
    sift_up(h, i);
    sift_down(h, last->pos - 1);
}

struct deadline *deadlines_first(const struct deadlines *h)
{
    return h->n == 0 ? NULL : h->items[0];
}
