#pragma once
/* The rows of the reliability table that run against the store in process. Each runs one seed and
 * adds to the tally; the same seed is the same run. */
#include "tests/chaos/sim/world.h"

void r2_run(struct tally *t, uint64_t seed); /* power loss */
