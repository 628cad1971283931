#pragma once
/* The messages of one queue that were pulled and are not finished, and what may be committed.
 * Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct pq_entry {
    struct list link;
    int64_t offset;
    size_t bytes;
};
struct process_queue {
    struct list entries; /* by offset */
    size_t count, bytes;
    int64_t next_offset; /* to be pulled; -1 until pq_start */
};
void pq_init(struct process_queue *q);
void pq_start(struct process_queue *q, int64_t offset);
/* Offsets must rise. false: the offset was pulled before; the entry is not taken. */
bool pq_add(struct process_queue *q, struct pq_entry *e);
/* Everything below `offset` has been looked at by the broker. Never goes back. */
void pq_advance(struct process_queue *q, int64_t offset);
void pq_remove(struct process_queue *q, struct pq_entry *e); /* finished */
/* What a restarted consumer has to begin with: the lowest unfinished offset, or the next one to
 * pull when nothing is unfinished; -1 before pq_start. Source: ProcessQueue.removeMessage,
 * correctTagsOffset (5.5.0). */
int64_t pq_commit_offset(const struct process_queue *q);
int64_t
pq_span(const struct process_queue *q); /* from the lowest to the highest unfinished offset */
