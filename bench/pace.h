#pragma once
/* When requests are due (open loop), and when a warming server's rate has become flat. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An open loop: request i is due at start + i / rate, whatever happened to the requests before it.
 * Latency is counted from then, so a server that stalls pays for every request it kept waiting. */
struct pace {
    int64_t start_ns;
    int64_t rate; /* per second, above 0 */
};
int64_t pace_at(const struct pace *p, int64_t i);
/* How many requests are due at `now`: the i with pace_at(i) <= now. 0 before the start. */
int64_t pace_due(const struct pace *p, int64_t now_ns);

enum { FLAT_SLICES = 4 };
/* Has the rate stopped growing? True when each of the last FLAT_SLICES rates is within `tolerance`
 * (0.05 = 5 %) of their mean, and that mean is above 0. */
bool flat_reached(const double *rates, size_t n, double tolerance);
