/* base/clock.c */
#include "tests/support/test.h"

#include "base/clock.h"

static void the_fake_clock_moves_only_by_hand(void **state)
{
    (void)state;
    struct clock_fake f;
    clock_fake_init(&f, 1700000000000, 50);
    assert_int_equal(clock_wall(&f.base), 1700000000000);
    assert_int_equal(clock_mono(&f.base), 50);
    clock_fake_advance(&f, 86400000);
    assert_int_equal(clock_wall(&f.base), 1700086400000);
    assert_int_equal(clock_mono(&f.base), 86400050);
    assert_int_equal(clock_mono_ns(&f.base), 86400050000000);
    f.wall -= 1000; /* the wall clock may be set back, time goes on */
    assert_int_equal(clock_wall(&f.base), 1700086399000);
    assert_int_equal(clock_mono(&f.base), 86400050);
}

static void the_system_clock_is_plausible_and_monotonic(void **state)
{
    (void)state;
    assert_true(clock_wall(&clock_system) > INT64_C(1700000000000)); /* after 2023 */
    int64_t before_ms = clock_mono(&clock_system), before = clock_mono_ns(&clock_system);
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_ns(&clock_system);
        assert_true(now >= before);
        before = now;
    }
    assert_in_range((uint64_t)(before / 1000000 - before_ms), 0, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fake_clock_moves_only_by_hand),
        cmocka_unit_test(the_system_clock_is_plausible_and_monotonic),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
