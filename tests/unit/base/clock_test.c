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

/* ---- the steady clock ---- */

enum { HOUR = 3600 * 1000 };
#define NOW INT64_C(1700000000000)
#define YEARS_24 (INT64_C(24) * 365 * 24 * HOUR)

static int64_t after(struct clock_fake *f, struct clock_steady *s, int seconds)
{
    int64_t ahead = 0;
    for (int i = 0; i < seconds; i++) {
        clock_fake_advance(f, 1000);
        ahead = clock_steady_follow(s);
    }
    return ahead;
}

static void a_steady_clock_does_not_jump_with_the_wall_clock(void **state)
{
    (void)state;
    const int64_t jumps[] = {YEARS_24, HOUR, -10000, -HOUR};
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        struct clock_fake f;
        struct clock_steady s;
        clock_fake_init(&f, NOW, 50);
        clock_steady_init(&s, &f.base, &f.base);
        assert_int_equal(clock_wall(&s.base), NOW);
        f.wall += jumps[i];
        assert_int_equal(clock_wall(&s.base), NOW);
        clock_fake_advance(&f, 5);
        assert_int_equal(clock_wall(&s.base), NOW + 5);
        assert_int_equal(clock_mono(&s.base), 55);
        assert_int_equal(clock_mono_ns(&s.base), 55000000);
    }
}

static void it_approaches_a_clock_that_is_ahead_by_a_thousandth(void **state)
{
    (void)state;
    struct clock_fake f;
    struct clock_steady s;
    clock_fake_init(&f, NOW, 0);
    clock_steady_init(&s, &f.base, &f.base);
    f.wall += 50;
    assert_int_equal(after(&f, &s, 10), 40);
    assert_int_equal(clock_wall(&s.base), NOW + 10010);
    assert_int_equal(after(&f, &s, 40), 0);
    assert_int_equal(after(&f, &s, 1), 0);
    assert_int_equal(clock_wall(&s.base), f.wall);
}

static void it_approaches_a_clock_that_is_behind_by_a_sixteenth_and_does_not_go_back(void **state)
{
    (void)state;
    struct clock_fake f;
    struct clock_steady s;
    clock_fake_init(&f, NOW, 0);
    clock_steady_init(&s, &f.base, &f.base);
    f.wall -= 1000;
    int64_t before = clock_wall(&s.base);
    for (int i = 0; i < 20; i++) {
        after(&f, &s, 1);
        assert_true(clock_wall(&s.base) > before);
        before = clock_wall(&s.base);
    }
    assert_int_equal(before, f.wall);
}

static void steps_that_come_too_often_change_nothing(void **state)
{
    (void)state;
    struct clock_fake f;
    struct clock_steady s;
    clock_fake_init(&f, NOW, 0);
    clock_steady_init(&s, &f.base, &f.base);
    f.wall += HOUR;
    for (int i = 0; i < 100; i++) {
        clock_fake_advance(&f, 9);
        assert_int_equal(clock_steady_follow(&s), HOUR);
    }
    assert_int_equal(clock_wall(&s.base), NOW + 900);
}

static void it_can_be_raised_but_not_lowered(void **state)
{
    (void)state;
    struct clock_fake f;
    struct clock_steady s;
    clock_fake_init(&f, NOW, 0);
    clock_steady_init(&s, &f.base, &f.base);
    clock_steady_raise(&s, NOW - 1);
    assert_int_equal(clock_wall(&s.base), NOW);
    clock_steady_raise(&s, NOW + HOUR);
    assert_int_equal(clock_wall(&s.base), NOW + HOUR);
    clock_fake_advance(&f, 7);
    assert_int_equal(clock_wall(&s.base), NOW + HOUR + 7);
}

static void suspended_time_counts(void **state)
{
    (void)state;
    struct clock_fake source, elapsed;
    struct clock_steady s;
    clock_fake_init(&source, NOW, 0);
    clock_fake_init(&elapsed, 0, 500);
    clock_steady_init(&s, &source.base, &elapsed.base);
    clock_fake_advance(&elapsed, HOUR);
    source.wall += HOUR;
    assert_int_equal(clock_wall(&s.base), NOW + HOUR);
    assert_int_equal(clock_mono(&s.base), 0);
    assert_int_equal(clock_steady_follow(&s), 0);
    assert_true(clock_mono(&clock_boot) >= clock_mono(&clock_system));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fake_clock_moves_only_by_hand),
        cmocka_unit_test(the_system_clock_is_plausible_and_monotonic),
        cmocka_unit_test(a_steady_clock_does_not_jump_with_the_wall_clock),
        cmocka_unit_test(it_approaches_a_clock_that_is_ahead_by_a_thousandth),
        cmocka_unit_test(it_approaches_a_clock_that_is_behind_by_a_sixteenth_and_does_not_go_back),
        cmocka_unit_test(steps_that_come_too_often_change_nothing),
        cmocka_unit_test(it_can_be_raised_but_not_lowered),
        cmocka_unit_test(suspended_time_counts),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
