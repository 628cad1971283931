/* Op records in the order of their queue, dropped from the front as they become useless (tx_op.c says when
 * that is).
 *
 * One half that stays undecided for long keeps every later record, since none of them raises `low`. When
 * TX_SPANS_MAX are kept, each two neighbours become one: its halves and its end are the greater ones, its
 * offset the smaller. Such a span is dropped no earlier than both of its records would have been.
 *
 * Runs on: the service loop. */
#include "broker/tx_spans.h"

#include <stdlib.h>
#include <string.h>

void tx_spans_free(struct tx_spans *s)
{
    free(s->v);
    *s = (struct tx_spans){0};
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void join_neighbours(struct tx_spans *s)
{
    for (size_t i = 0; i + 1 < s->n; i += 2) {
        const struct op_span *const a = &s->v[i], *const b = a + 1;
        s->v[i / 2] = (struct op_span){.offset = a->offset,
                                       .half_max = greater(a->half_max, b->half_max),
                                       .low = greater(a->low, b->low),
                                       .end_phys = b->end_phys};
    }
    s->n /= 2;
}

int tx_spans_push(struct tx_spans *s, const struct op_span *one)
{
    if (s->n == TX_SPANS_MAX)
        join_neighbours(s);
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 64;
        struct op_span *const v = realloc(s->v, cap * sizeof *v);
        if (v == NULL)
            return E_NOMEM;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = *one;
    return 0;
}

void tx_spans_progress(struct tx_spans *s, int64_t log_flushed, int64_t *low)
{
    size_t durable = 0;
    while (durable < s->n && s->v[durable].end_phys <= log_flushed)
        *low = greater(*low, s->v[durable++].low);
    size_t done = 0;
    while (done + 1 < durable && s->v[done].half_max < *low)
        done++;
    s->n -= done;
    if (done > 0)
        memmove(s->v, s->v + done, s->n * sizeof *s->v);
}
