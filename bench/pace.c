/* The open-loop schedule and the flatness test; see pace.h. Pure functions.
 *
 * The schedule is computed from the start for every request, never from the request before it, so
 * rounding does not add up: whole seconds and the rest are scaled apart, which is exact and cannot
 * overflow for any run shorter than 290 years. */
#include "bench/pace.h"

static const int64_t second = 1000000000;

int64_t pace_at(const struct pace *p, int64_t i)
{
    return p->start_ns + i / p->rate * second + i % p->rate * second / p->rate;
}

int64_t pace_due(const struct pace *p, int64_t now_ns)
{
    const int64_t passed = now_ns - p->start_ns;
    if (passed < 0)
        return 0;
    int64_t due = passed / second * p->rate + passed % second * p->rate / second;
    while (pace_at(p, due) <= now_ns) /* rounding down leaves at most one behind */
        due++;
    return due;
}

bool flat_reached(const double *rates, size_t n, double tolerance)
{
    if (n < FLAT_SLICES)
        return false;
    double mean = 0;
    for (size_t i = n - FLAT_SLICES; i < n; i++)
        mean += rates[i] / FLAT_SLICES;
    for (size_t i = n - FLAT_SLICES; i < n; i++)
        if (rates[i] < mean * (1 - tolerance) || rates[i] > mean * (1 + tolerance))
            return false;
    return mean > 0;
}
