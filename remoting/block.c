/* Receive blocks and their per-loop pool.
 *
 * Owns: the memory of received bytes. Runs on: the loop's thread.
 *
 * Happy path: a read fills the free end of the loop's shared block, the frames in it are cut in place,
 * each request takes a reference, and when the last is answered the block goes back to the pool. Reads
 * of many small connections lie side by side in one block, so an idle connection costs no buffer and a
 * thousand requests in flight cost their bytes, not a thousand blocks. When nobody else holds the
 * shared block it starts again at its first byte.
 *
 * A connection with the beginning of a large frame takes the block for itself (block_unshare) and grows
 * it as bytes arrive (block_grow), never to the size the peer merely announced.
 *
 * Failure modes: memory. The caller closes the connection it was reading for.
 *
 * Invariants: 1. bytes below `used` belong to the holders of references. 2. only the shared block and
 * blocks held by exactly one connection are appended to. 3. a block larger than BLOCK_SIZE is never
 * pooled. */
#include "remoting/block.h"

#include <stdlib.h>

#include "base/err.h"

void block_pool_init(struct block_pool *pool)
{
    *pool = (struct block_pool){0};
    list_init(&pool->free);
}

static void block_free(struct block *b)
{
    b->pool->bytes -= b->cap;
    free(b);
}

void block_pool_fini(struct block_pool *pool)
{
    block_unref(pool->shared);
    pool->shared = NULL;
    for (struct list *l; (l = list_pop_front(&pool->free)) != NULL;)
        block_free(LIST_ENTRY(l, struct block, link));
    MQ_ASSERT(pool->bytes == 0);
}

struct block *block_new(struct block_pool *pool, size_t cap)
{
    struct list *l = cap == BLOCK_SIZE ? list_pop_front(&pool->free) : NULL;
    struct block *b;
    if (l != NULL) {
        b = LIST_ENTRY(l, struct block, link);
        pool->free_n--;
    } else {
        b = malloc(sizeof *b + cap);
        if (b == NULL)
            return NULL;
        list_init(&b->link);
        b->pool = pool;
        b->cap = cap;
        pool->bytes += cap;
    }
    b->refs = 1;
    b->used = 0;
    return b;
}

struct block *block_ref(struct block *b)
{
    b->refs++;
    return b;
}

void block_unref(struct block *b)
{
    if (b == NULL)
        return;
    MQ_ASSERT(b->refs > 0);
    if (--b->refs > 0)
        return;
    struct block_pool *pool = b->pool;
    if (b->cap == BLOCK_SIZE && pool->free_n < BLOCK_FREE_MAX) {
        list_push_front(&pool->free, &b->link);
        pool->free_n++;
    } else {
        block_free(b);
    }
}

bool block_grow(struct block **b, size_t cap)
{
    struct block *old = *b;
    MQ_ASSERT(old->refs == 1 && list_empty(&old->link));
    if (cap <= old->cap)
        return true;
    size_t old_cap = old->cap;
    struct block *grown = realloc(old, sizeof *old + cap);
    if (grown == NULL)
        return false;
    list_init(&grown->link); /* it pointed to itself, at the old place */
    grown->pool->bytes += cap - old_cap;
    grown->cap = cap;
    *b = grown;
    return true;
}

struct block *block_shared(struct block_pool *pool)
{
    struct block *b = pool->shared;
    if (b != NULL && b->refs == 1)
        b->used = 0;
    if (b != NULL && b->cap - b->used >= BLOCK_READ_MIN)
        return b;
    struct block *fresh = block_new(pool, BLOCK_SIZE);
    if (fresh == NULL)
        return NULL;
    block_unref(b);
    pool->shared = fresh;
    return fresh;
}

void block_unshare(struct block *b)
{
    if (b->pool->shared != b)
        return;
    b->pool->shared = NULL;
    block_unref(b);
}
