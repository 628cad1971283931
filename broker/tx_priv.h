#pragma once
/* Inside the transaction code: the table of half messages and the files that work on it (tx.c,
 * tx_end.c, tx_op.c). */
#include "base/heap.h"
#include "base/map.h"
#include "broker/broker.h"
#include "broker/tx.h"
#include "broker/tx_spans.h"
#include "broker/tx_window.h"

struct half { /* an undecided half message that was seen in the half queue */
    int64_t offset;      /* in the half queue: its identity */
    int64_t phys_offset;
    int32_t size;
    int32_t answered;    /* checks that were answered with "unknown" */
    struct heap_node due; /* wall time of the next check */
};

struct tx {
    struct broker *b;
    uv_mutex_t lock; /* window, halves, heap, names of the next op record */
    struct tx_window window;
    struct map *halves; /* struct half by offset */
    struct heap due;
    /* the next op record */
    struct buf op_names;  /* "o1,o2,...," */
    int64_t op_half_max;
    bool op_posted;       /* op_mail is on its way */
    struct mail op_mail;
    /* service loop only */
    int64_t scan_to;      /* half offsets below were seen */
    bool op_busy;
    struct put op_put;
    struct buf op_body;   /* what op_put writes */
    struct op_span op_next;
    struct tx_spans spans;
    int64_t op_end;       /* end of the newest op record in the log */
    int64_t durable_low;  /* every half below is decided, and that is on disk */
    uv_timer_t timer;
    bool stopped;
};

/* tx.c, under the lock */
struct half *tx_half_find(struct tx *t, int64_t offset);
void tx_half_forget(struct tx *t, int64_t offset); /* it is being decided: no more checks */

/* tx_op.c */
/* Any thread: marks the half decided and writes its name into the next op record. */
void tx_decided(struct tx *t, int64_t half_offset);
/* Any thread: a claim that came to nothing; the half is checked again. */
void tx_unclaim(struct tx *t, int64_t half_offset, int64_t phys_offset, int32_t size);
int tx_op_start(struct tx *t, struct err *e) HP_MUST_USE; /* reads the op queue */
void tx_op_write(struct tx *t);    /* service loop: writes what is named, if nothing is being written */
void tx_op_progress(struct tx *t); /* service loop: moves the stored positions */

/* tx_end.c */
/* The half's record without the half: real topic and queue, the two REAL_ properties dropped into
 * `props`. E_CORRUPT when the record has none. Slices borrow from `half` and props. */
int tx_real_message(const struct message *half, struct buf *props, struct message *out, struct err *e) HP_MUST_USE;
