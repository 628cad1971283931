/* Unfinished messages in the order of their offsets: pulls append, completions remove from
 * anywhere, the head is the lowest unfinished one. A list suffices because a queue is pulled in
 * order by one pull at a time.
 *
 * Invariants: offsets rise strictly; every entry's offset is below next_offset. Runs on: the
 * loop. */
#include "client/process_queue.h"

void pq_init(struct process_queue *q)
{
    *q = (struct process_queue){.next_offset = -1};
    list_init(&q->entries);
}

void pq_start(struct process_queue *q, int64_t offset) { q->next_offset = offset; }

bool pq_add(struct process_queue *q, struct pq_entry *e)
{
    if (e->offset < q->next_offset)
        return false;
    list_push_back(&q->entries, &e->link);
    q->count++;
    q->bytes += e->bytes;
    q->next_offset = e->offset + 1;
    return true;
}

void pq_advance(struct process_queue *q, int64_t offset)
{
    if (offset > q->next_offset)
        q->next_offset = offset;
}

void pq_remove(struct process_queue *q, struct pq_entry *e)
{
    list_remove(&e->link);
    q->count--;
    q->bytes -= e->bytes;
}

static const struct pq_entry *entry_of(const struct list *l)
{
    return LIST_ENTRY(l, const struct pq_entry, link);
}

int64_t pq_commit_offset(const struct process_queue *q)
{
    return list_empty(&q->entries) ? q->next_offset : entry_of(q->entries.next)->offset;
}

int64_t pq_span(const struct process_queue *q)
{
    return list_empty(&q->entries)
               ? 0
               : entry_of(q->entries.prev)->offset - entry_of(q->entries.next)->offset;
}
