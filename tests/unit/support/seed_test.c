/* tests/support/seed.c */
#include "tests/support/test.h"

#include <stdlib.h>

#include "tests/support/seed.h"

static void the_seed_of_the_environment_is_used_and_names_differ(void **state)
{
    (void)state;
    setenv("HALFPENNY_SEED", "4711", 1);
    assert_int_equal(test_seed(), 4711);
    setenv("HALFPENNY_SEED", "4712", 1);
    assert_int_equal(test_seed(), 4711); /* one for the whole program */
    struct rng a = test_rng("a"), again = test_rng("a"), b = test_rng("b");
    uint64_t first = rng_u64(&a);
    assert_true(first == rng_u64(&again));
    assert_true(first != rng_u64(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seed_of_the_environment_is_used_and_names_differ)};
    return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}
