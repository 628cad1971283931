#pragma once
/* Seeded random numbers (xoshiro256**): one generator per thread or owner. Not for secrets. */
#include <stdint.h>
#include <stddef.h>

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_seed_from_os(void);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* 0 .. bound-1 without bias; bound > 0 */
