/* bench/pace.c */
#include "tests/support/test.h"

#include "bench/pace.h"

enum { SECOND = 1000000000 };

static void requests_are_due_at_even_distances(void **state)
{
    (void)state;
    const struct pace p = {.start_ns = 5000, .rate = 4};
    assert_int_equal(pace_at(&p, 0), 5000);
    assert_int_equal(pace_at(&p, 1), 5000 + SECOND / 4);
    assert_int_equal(pace_at(&p, 4), 5000 + SECOND);
}

static void nothing_is_due_before_the_start_and_one_request_at_it(void **state)
{
    (void)state;
    const struct pace p = {.start_ns = 100, .rate = 1000};
    assert_int_equal(pace_due(&p, 99), 0);
    assert_int_equal(pace_due(&p, 100), 1);
    assert_int_equal(pace_due(&p, 100 + SECOND / 1000 - 1), 1);
    assert_int_equal(pace_due(&p, 100 + SECOND / 1000), 2);
}

static void a_request_is_due_exactly_from_its_time_on(void **state)
{
    (void)state;
    static const int64_t rates[] = {1, 3, 7, 999, 30000, 1000003};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        const struct pace p = {.start_ns = 17, .rate = rates[r]};
        for (int64_t i = 0; i < 100000; i += 77) {
            assert_int_equal(pace_due(&p, pace_at(&p, i)), i + 1);
            assert_int_equal(pace_due(&p, pace_at(&p, i) - 1), i);
        }
    }
}

static void a_long_run_does_not_drift_or_overflow(void **state)
{
    (void)state;
    const struct pace p = {.start_ns = 0, .rate = 300000};
    const int64_t day = 86400;
    assert_int_equal(pace_at(&p, p.rate * day * 365), day * 365 * SECOND);
    assert_int_equal(pace_due(&p, day * 365 * SECOND), p.rate * day * 365 + 1);
}

static void a_rate_that_still_grows_is_not_flat(void **state)
{
    (void)state;
    const double growing[] = {10, 20, 30, 40, 45, 50}, flat[] = {10, 30, 50, 51, 50, 49};
    assert_false(flat_reached(growing, 6, 0.05));
    assert_true(flat_reached(flat, 6, 0.05));
}

static void flatness_needs_enough_slices_and_a_rate(void **state)
{
    (void)state;
    const double rates[] = {50, 50, 50, 50}, nothing[] = {0, 0, 0, 0};
    assert_false(flat_reached(rates, FLAT_SLICES - 1, 0.05));
    assert_true(flat_reached(rates, FLAT_SLICES, 0.05));
    assert_false(flat_reached(nothing, FLAT_SLICES, 0.05));
}

static void one_slice_at_the_edge_of_the_tolerance_decides(void **state)
{
    (void)state;
    const double inside[] = {100, 100, 100, 106}, outside[] = {100, 100, 100, 108};
    assert_true(flat_reached(inside, 4, 0.05));
    assert_false(flat_reached(outside, 4, 0.05));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_due_at_even_distances),
        cmocka_unit_test(nothing_is_due_before_the_start_and_one_request_at_it),
        cmocka_unit_test(a_request_is_due_exactly_from_its_time_on),
        cmocka_unit_test(a_long_run_does_not_drift_or_overflow),
        cmocka_unit_test(a_rate_that_still_grows_is_not_flat),
        cmocka_unit_test(flatness_needs_enough_slices_and_a_rate),
        cmocka_unit_test(one_slice_at_the_edge_of_the_tolerance_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
