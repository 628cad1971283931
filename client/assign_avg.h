#pragma once
/* Which part of a topic's queues one member of a group takes. Pure. */
#include <stddef.h>

struct share {
    size_t first, n;
};
/* queues: how many, in the group's common order (broker name, queue id); members: how many, sorted;
 * own: this member's index among them. Source: AllocateMessageQueueAveragely (5.5.0). */
struct share assign_avg(size_t queues, size_t members, size_t own);
