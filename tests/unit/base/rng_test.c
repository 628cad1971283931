/* base/rng.c */
#include "tests/support/test.h"

#include "base/rng.h"

static void the_same_seed_gives_the_same_numbers(void **state)
{
    (void)state;
    struct rng a, b, c;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    rng_seed(&c, 43);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_u64(&a);
        assert_true(v == rng_u64(&b));
        differs |= v != rng_u64(&c);
    }
    assert_true(differs);
}

/* First outputs of xoshiro256** for the state splitmix64(0) gives, computed from the published
 * code. */
static void the_numbers_are_those_of_the_published_algorithm(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 0);
    assert_true(r.s[0] == 0xE220A8397B1DCDAF); /* splitmix64's first output for 0 */
    assert_true(rng_u64(&r) == 0x99EC5F36CB75F2B4);
    assert_true(rng_u64(&r) == 0xBF6E1F784956452A);
}

static void numbers_below_a_bound_are_all_reached_and_even(void **state)
{
    (void)state;
    struct rng r;
    int count[7] = {0};
    rng_seed(&r, 1);
    for (int i = 0; i < 70000; i++)
        count[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range((uint64_t)count[i], 9400, 10600);
    assert_int_equal(rng_below(&r, 1), 0);
    assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

static void seeds_of_the_system_differ(void **state)
{
    (void)state;
    assert_true(rng_seed_from_os() != rng_seed_from_os());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(the_numbers_are_those_of_the_published_algorithm),
        cmocka_unit_test(numbers_below_a_bound_are_all_reached_and_even),
        cmocka_unit_test(seeds_of_the_system_differ),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
