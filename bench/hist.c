/* Log-linear histogram; see hist.h.
 *
 * Values below 64 have a slot each. A larger value with its highest bit at position t shares a slot
 * with those that agree in the 6 bits below it: slot (t - 5) * 64 + those bits. The last slot takes
 * everything beyond the range (2^44 ns, almost five hours). */
#include "bench/hist.h"

#include <stddef.h>

static size_t slot_of(uint64_t ns)
{
    if (ns < HIST_SUB)
        return (size_t)ns;
    const int top = 63 - __builtin_clzll(ns); /* at least 6 */
    const size_t slot = (size_t)(top - 5) * HIST_SUB + (size_t)(ns >> (top - 6)) - HIST_SUB;
    return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static uint64_t slot_edge(size_t slot)
{
    if (slot < HIST_SUB)
        return slot;
    return (uint64_t)(slot % HIST_SUB + HIST_SUB) << (slot / HIST_SUB - 1);
}

void hist_add(struct hist *h, int64_t ns)
{
    const uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    h->count[slot_of(v)]++;
    h->n++;
    if (v > h->max_ns)
        h->max_ns = v;
}

uint64_t hist_quantile_ns(const struct hist *h, double q)
{
    if (h->n == 0)
        return 0;
    if (q >= 1)
        return h->max_ns;
    const double want = q * (double)h->n;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_SLOTS; i++) {
        seen += h->count[i];
        if (seen > 0 && (double)seen >= want)
            return slot_edge(i);
    }
    return h->max_ns;
}
