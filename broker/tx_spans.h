#pragma once
/* The op records that the next start may still need: which half messages each of them names, and where it
 * ends in the log. Bounded: past TX_SPANS_MAX neighbours become one, which can only make a start read more
 * than it must. Not thread-safe. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TX_SPANS_MAX = 65536 };

struct op_span { /* one written op record, or neighbours */
    int64_t offset;   /* of the first in the op queue */
    int64_t half_max; /* the greatest half offset named */
    int64_t low;      /* lowest undecided half when the last was composed */
    int64_t end_phys; /* end of the last in the log: durable once the log is flushed up to here */
};

struct tx_spans {
    struct op_span *v; /* oldest first */
    size_t n, cap;
};

void tx_spans_free(struct tx_spans *s);
/* E_NOMEM: nothing is added. Records come in the order of the op queue. */
int tx_spans_push(struct tx_spans *s, const struct op_span *one) HP_MUST_USE;
/* Drops from the front what only names halves below the `low` of a record that is on disk. The newest
 * record stays, so that the op position always has one to stand on. *low grows to what is durable. */
void tx_spans_progress(struct tx_spans *s, int64_t log_flushed, int64_t *low);
