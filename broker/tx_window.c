/* States of half messages in chunks of CHUNK offsets, indexed from `base`.
 *
 * chunk pointer: NULL = nothing decided or claimed yet; &all_decided = every offset of it is decided;
 * else an allocation with one byte per offset and the count of decided ones. Leading all_decided chunks
 * are dropped, which moves `base`. One undecided half therefore pins one chunk of 1 KiB and, while it is
 * the oldest, eight bytes for each 1,000 halves after it.
 *
 * Runs on: any thread, under the lock of tx.c. */
#include "broker/tx_window.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1000 };

struct tx_chunk {
    uint8_t state[CHUNK];
    int decided;
};

static struct tx_chunk all_decided;

int tx_window_init(struct tx_window *w, int64_t low)
{
    *w = (struct tx_window){.base = low - low % CHUNK};
    for (int64_t i = w->base; i < low; i++) {
        const int rc = tx_window_set(w, i, TX_DECIDED);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void chunk_free(struct tx_chunk *c)
{
    if (c != &all_decided)
        free(c);
}

void tx_window_free(struct tx_window *w)
{
    for (size_t i = 0; i < w->n; i++)
        chunk_free(w->chunks[i]);
    free(w->chunks);
    *w = (struct tx_window){0};
}

enum tx_state tx_window_get(const struct tx_window *w, int64_t offset)
{
    if (offset < w->base)
        return TX_DECIDED;
    const size_t i = (size_t)(offset - w->base) / CHUNK;
    if (i >= w->n || w->chunks[i] == NULL)
        return TX_UNDECIDED;
    if (w->chunks[i] == &all_decided)
        return TX_DECIDED;
    return (enum tx_state)w->chunks[i]->state[offset % CHUNK];
}

static int chunk_at(struct tx_window *w, size_t i, struct tx_chunk **out)
{
    if (i >= w->cap) {
        const size_t cap = (i + 1) * 2;
        struct tx_chunk **const chunks = realloc(w->chunks, cap * sizeof *chunks);
        if (chunks == NULL)
            return E_NOMEM;
        w->chunks = chunks;
        w->cap = cap;
    }
    for (; w->n <= i; w->n++)
        w->chunks[w->n] = NULL;
    if (w->chunks[i] == NULL && (w->chunks[i] = calloc(1, sizeof **w->chunks)) == NULL)
        return E_NOMEM;
    *out = w->chunks[i];
    return 0;
}

static void drop_leading(struct tx_window *w)
{
    size_t k = 0;
    while (k < w->n && w->chunks[k] == &all_decided)
        k++;
    w->n -= k;
    w->base += (int64_t)k * CHUNK;
    memmove(w->chunks, w->chunks + k, w->n * sizeof *w->chunks);
}

int tx_window_set(struct tx_window *w, int64_t offset, enum tx_state s)
{
    MQ_ASSERT(tx_window_get(w, offset) != TX_DECIDED);
    const size_t i = (size_t)(offset - w->base) / CHUNK;
    struct tx_chunk *c;
    const int rc = chunk_at(w, i, &c);
    if (rc != 0)
        return rc;
    c->state[offset % CHUNK] = (uint8_t)s;
    if (s == TX_DECIDED && ++c->decided == CHUNK) {
        free(c);
        w->chunks[i] = &all_decided;
        drop_leading(w);
    }
    return 0;
}

int64_t tx_window_low(const struct tx_window *w)
{
    if (w->n == 0 || w->chunks[0] == NULL)
        return w->base;
    const struct tx_chunk *const c = w->chunks[0]; /* never all_decided: those are dropped */
    int i = 0;
    while (c->state[i] == TX_DECIDED)
        i++;
    return w->base + i;
}
