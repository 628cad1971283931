/* Seeded random numbers: xoshiro256** (Blackman and Vigna), seeded through splitmix64.
 *
 * Runs on: any thread; a generator belongs to one owner. The same seed gives the same numbers on
 * every machine, so a failing test is repeated by its seed. Not for secrets.
 *
 * Failure modes: rng_seed_from_os cannot fail on a kernel with getrandom; when a sandbox forbids
 * the call, address and clock bits stand in, which is enough for jitter and tests. */
#include "base/rng.h"

#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed);
}

uint64_t rng_seed_from_os(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        return seed;
    seed = (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)getpid() << 32 ^
           (uint64_t)(uintptr_t)&seed;
    return splitmix(&seed);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* The numbers below 2^64 mod bound are thrown away; what is left divides evenly. */
uint64_t rng_below(struct rng *r, uint64_t bound)
{
    MQ_ASSERT(bound > 0);
    uint64_t v, uneven = -bound % bound;
    do
        v = rng_u64(r);
    while (v < uneven);
    return v % bound;
}
