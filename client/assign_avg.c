/* The averaging strategy: contiguous shares in member order, the first `queues mod members` members
 * one queue more; with more members than queues the last members get none. All members must use the
 * same strategy. */
#include "client/assign_avg.h"

struct share assign_avg(size_t queues, size_t members, size_t own)
{
    if (own >= members)
        return (struct share){0, 0};
    const size_t extra = queues % members;
    const size_t size = queues / members + (own < extra ? 1 : 0);
    const size_t first = own < extra ? own * size : own * size + extra;
    return (struct share){first, size};
}
