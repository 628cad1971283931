#pragma once
/* Intrusive binary min-heap over int64 keys (deadlines): the node lives in the element and knows its
 * place, so removal by element is O(log n). Not thread-safe. */
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct heap_node {
    int64_t key;
    size_t pos; /* 1-based place in the heap; 0: not in it */
};
struct heap {
    struct heap_node **at; /* at[0] is the least */
    size_t n, cap;
};

#define HEAP_ENTRY(ptr, type, member) LIST_ENTRY(ptr, type, member)

void heap_free(struct heap *h); /* the elements are the caller's */
int heap_push(struct heap *h, struct heap_node *node, int64_t key) HP_MUST_USE; /* E_NOMEM */
struct heap_node *heap_min(const struct heap *h);                               /* NULL when empty */
void heap_remove(struct heap *h, struct heap_node *node); /* no-op when not in the heap */
void heap_move(struct heap *h, struct heap_node *node, int64_t key); /* new key for an element in the heap */
