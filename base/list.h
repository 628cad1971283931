#pragma once
/* Intrusive doubly linked list: the link lives in the element, nothing is allocated. A list head is
 * a link whose neighbours are itself. An unlinked link points to itself (list_init). */
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_ENTRY(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe against removal of the current element. */
#define LIST_FOREACH_SAFE(it, tmp, head)                                                           \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert_between(struct list *l, struct list *prev, struct list *next)
{
    l->prev = prev;
    l->next = next;
    prev->next = l;
    next->prev = l;
}
static inline void list_push_back(struct list *head, struct list *l) { list_insert_between(l, head->prev, head); }
static inline void list_push_front(struct list *head, struct list *l) { list_insert_between(l, head, head->next); }
static inline void list_remove(struct list *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}
static inline struct list *list_pop_front(struct list *head)
{
    struct list *l = head->next;
    if (l == head)
        return NULL;
    list_remove(l);
    return l;
}
/* Moves everything from `from` to the (re-initialised) `to`: complete callbacks from a local list.
 * */
static inline void list_move_all(struct list *from, struct list *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->prev->next = to;
    to->next->prev = to;
    list_init(from);
}
