#pragma once
/* The seed of a test program: HALFPENNY_SEED, or a random one. */
#include <stdint.h>

#include "base/rng.h"

/* The same number for the whole program; printed once, with how to repeat the run. */
uint64_t test_seed(void);
/* A generator of its own for each name, derived from the seed. */
struct rng test_rng(const char *name);
