#pragma once
/* A histogram of durations with 64 slots for each power of two: a quantile is the lower edge of its
 * slot, at most 1.6 % below the true value. Fixed size, no allocation; max is exact. */
#include <stdint.h>

enum { HIST_SUB = 64, HIST_MAJOR = 40, HIST_SLOTS = HIST_SUB * HIST_MAJOR };

struct hist {
    uint64_t count[HIST_SLOTS];
    uint64_t n;
    uint64_t max_ns;
};

/* Zeroed memory is an empty histogram. Negative durations count as 0. */
void hist_add(struct hist *h, int64_t ns);
/* The smallest recorded value that is not below the share q of all; 0 when empty, the exact maximum
 * for q = 1. Units: ns. */
uint64_t hist_quantile_ns(const struct hist *h, double q);
