#pragma once
/* What a store must still hold after anything happened to it: every acknowledged message at the queue
 * offset it was acknowledged with, nothing that nobody sent, dense queue offsets, and the order of
 * each writer within each queue.
 *
 * Messages are made from (writer, seq), so that a reader can tell what a body must be. Not
 * thread-safe. */
#include "base/buf.h"
#include "store/store.h"

enum { CHECK_WRITERS_MAX = 16, CHECK_BODY_MIN = 12 };

/* The body of a message: deterministic bytes, CHECK_BODY_MIN or more. */
void check_body(struct buf *out, uint32_t writer, uint32_t seq, size_t size);
/* One encoded record appended to out: what a broker would store for (writer, seq). tag may be NULL. */
void check_record(struct buf *out, struct slice topic, int32_t queue_id, uint32_t writer, uint32_t seq,
                  size_t body_size, const char *tag);

struct check_entry {
    bool sent, acked, seen;
    int32_t queue_id;
    int64_t queue_offset, phys_offset; /* of an acknowledged one */
};
struct store_check {
    struct { struct check_entry *v; size_t n, cap; } writers[CHECK_WRITERS_MAX]; /* by seq */
};
struct store_check_result {
    int64_t found, acked, lost, invented, duplicates, gaps, disorder, damaged;
    int64_t lost_phys_min;   /* smallest physical offset of a lost one */
    char first[256];         /* the first thing that is wrong; "" when nothing is */
};

void store_check_free(struct store_check *c);
void store_check_sent(struct store_check *c, uint32_t writer, uint32_t seq);
void store_check_acked(struct store_check *c, uint32_t writer, uint32_t seq, int32_t queue_id,
                       int64_t queue_offset, int64_t phys_offset);
/* Reads every queue of the store from min to max. True when nothing is wrong. */
bool store_check_run(struct store_check *c, struct store *st, struct store_check_result *out);
