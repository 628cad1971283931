#pragma once
/* The rows of the reliability table that run against the store in process. Each run adds to the
 * tally; the same seed (and position) is the same run. */
#include "tests/chaos/sim/world.h"

void r2_run(struct tally *t, uint64_t seed); /* power loss */
void r3_run(struct tally *t, uint64_t seed); /* the log cut at every byte of its last records */
void r3_some(struct tally *t, uint64_t seed, int64_t every); /* at every so manieth byte */
enum { R4_KINDS = 11 };
void r4_run(struct tally *t, uint64_t seed); /* one flipped bit in each kind of file */

/* Position n of a sweep: the nth call or allocation fails. False: the load has fewer. */
bool r5_run(struct tally *t, uint64_t seed, int64_t n);
bool r6_run(struct tally *t, uint64_t seed, int64_t n);
