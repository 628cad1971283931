#pragma once
/* Receive blocks: the memory that socket reads fill and that frames are cut from in place.
 *
 * A block is shared by everything that still looks at its bytes: the connection that waits for the
 * rest of a frame, and each request cut from it. Counting is not atomic: a block never leaves its
 * loop's thread (other threads may read its bytes while a request holds it). */
#include "base/list.h"
#include "base/slice.h"

enum {
    BLOCK_SIZE = 64 * 1024,
    BLOCK_READ_MIN = 16 * 1024, /* the shared block is replaced when less room than this is left */
    BLOCK_FREE_MAX = 64         /* standard blocks kept per loop for the next reads */
};

struct block_pool {
    struct list free; /* standard blocks */
    int free_n;
    struct block *shared; /* reads without a pending frame go here, whatever their connection */
    size_t bytes;         /* in blocks alive or kept */
};
struct block {
    struct list link;
    struct block_pool *pool;
    int refs;
    size_t cap;
    size_t used; /* bytes handed to somebody; what lies above is free */
    char data[];
};

void block_pool_init(struct block_pool *pool);
void block_pool_fini(struct block_pool *pool); /* every block must be back */

/* A block of at least cap bytes with one reference; standard sizes come from the pool. NULL when
 * memory is out. */
struct block *block_new(struct block_pool *pool, size_t cap);
struct block *block_ref(struct block *b);
void block_unref(struct block *b); /* NULL is fine */
/* Takes the only reference to *b and makes it at least cap bytes large; it may move. On failure false
 * and *b is as it was. */
bool block_grow(struct block **b, size_t cap);

/* The loop's shared block, with at least BLOCK_READ_MIN bytes free; borrowed. NULL: out of memory. */
struct block *block_shared(struct block_pool *pool);
/* b is about to be continued by one connection alone: nobody else may append to it. */
void block_unshare(struct block *b);
