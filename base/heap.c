/* Binary min-heap of deadlines, in an array of pointers.
 *
 * Invariants: at[i]->pos == i + 1 for every i < n; at[(i - 1) / 2]->key <= at[i]->key for every i > 0.
 * Runs on: the owner's thread. The only failure is a push that cannot grow the array. */
#include "base/heap.h"

#include <stdlib.h>

static void set(struct heap *h, size_t i, struct heap_node *node)
{
    h->at[i] = node;
    node->pos = i + 1;
}

static void sift_up(struct heap *h, size_t i)
{
    struct heap_node *const node = h->at[i];
    while (i > 0 && h->at[(i - 1) / 2]->key > node->key) {
        set(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(h, i, node);
}

static void sift_down(struct heap *h, size_t i)
{
    struct heap_node *const node = h->at[i];
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->at[child + 1]->key < h->at[child]->key)
            child++;
        if (h->at[child]->key >= node->key)
            break;
        set(h, i, h->at[child]);
    }
    set(h, i, node);
}

void heap_free(struct heap *h)
{
    free(h->at);
    *h = (struct heap){0};
}

int heap_push(struct heap *h, struct heap_node *node, int64_t key)
{
    if (h->n == h->cap) {
        const size_t cap = h->cap ? h->cap * 2 : 64;
        struct heap_node **const at = realloc(h->at, cap * sizeof *at);
        if (at == NULL)
            return E_NOMEM;
        h->at = at;
        h->cap = cap;
    }
    node->key = key;
    h->at[h->n] = node;
    sift_up(h, h->n++);
    return 0;
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->n ? h->at[0] : NULL;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (node->pos == 0)
        return;
    const size_t i = node->pos - 1;
    struct heap_node *const last = h->at[--h->n];
    node->pos = 0;
    if (last == node)
        return;
    set(h, i, last);
    sift_up(h, i);
    sift_down(h, last->pos - 1);
}

void heap_move(struct heap *h, struct heap_node *node, int64_t key)
{
    node->key = key;
    sift_up(h, node->pos - 1);
    sift_down(h, node->pos - 1);
}
