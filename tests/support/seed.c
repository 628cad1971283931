/* The seed of a test program. It is printed when it is first asked for, so it stands in the output
 * of every run that used chance and failed. Runs on: any thread. A HALFPENNY_SEED that is no number
 * ends the program: a run under another seed than the one asked for would prove nothing. */
#include "tests/support/seed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

static uint64_t seed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const char *given = getenv("HALFPENNY_SEED");
    int64_t n = (int64_t)(rng_seed_from_os() >> 1);
    if (given && (slice_i64(slice_str(given), &n) || n < 0)) {
        fprintf(stderr, "HALFPENNY_SEED=%s: must be a number from 0 to %lld\n", given,
                (long long)INT64_MAX);
        exit(2);
    }
    seed = (uint64_t)n;
    printf("# seed: to repeat this run set HALFPENNY_SEED=%lld\n", (long long)n);
    fflush(stdout);
}

uint64_t test_seed(void)
{
    pthread_once(&once, choose);
    return seed;
}

struct rng test_rng(const char *name)
{
    uint64_t h = 14695981039346656037u ^ test_seed();
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211u;
    struct rng r;
    rng_seed(&r, h);
    return r;
}
