/* bench/hist.c */
#include "tests/support/test.h"

#include "bench/hist.h"

static struct hist h;

static int empty(void **state)
{
    (void)state;
    h = (struct hist){0};
    return 0;
}

static void an_empty_histogram_has_no_quantiles(void **state)
{
    (void)state;
    assert_int_equal(hist_quantile_ns(&h, 0.5), 0);
    assert_int_equal(hist_quantile_ns(&h, 1), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++)
        hist_add(&h, i);
    assert_int_equal(hist_quantile_ns(&h, 0.5), 31);
    assert_int_equal(hist_quantile_ns(&h, 1), 63);
}

static void a_value_is_found_within_its_slot_of_1_6_percent(void **state)
{
    (void)state;
    for (int64_t v = 1; v < (int64_t)1 << 43; v = v * 3 + 1) {
        h = (struct hist){0};
        hist_add(&h, v);
        const uint64_t q = hist_quantile_ns(&h, 0.5);
        assert_in_range(q, (uint64_t)v - (uint64_t)v / 64, (uint64_t)v);
    }
}

static void slots_join_without_a_gap_at_powers_of_two(void **state)
{
    (void)state;
    for (int bit = 6; bit < 43; bit++) {
        h = (struct hist){0};
        hist_add(&h, ((int64_t)1 << bit) - 1);
        hist_add(&h, (int64_t)1 << bit);
        assert_int_equal(hist_quantile_ns(&h, 0.75), (uint64_t)1 << bit);
        assert_true(hist_quantile_ns(&h, 0.5) < (uint64_t)1 << bit);
    }
}

static void quantiles_count_from_below(void **state)
{
    (void)state;
    for (int i = 0; i < 99; i++)
        hist_add(&h, 10);
    hist_add(&h, 60);
    assert_int_equal(hist_quantile_ns(&h, 0.5), 10);
    assert_int_equal(hist_quantile_ns(&h, 0.99), 10);
    assert_int_equal(hist_quantile_ns(&h, 0.999), 60);
}

static void the_maximum_is_exact_and_odd_values_are_kept_in_range(void **state)
{
    (void)state;
    hist_add(&h, 123456789);
    hist_add(&h, -5);
    assert_int_equal(hist_quantile_ns(&h, 1), 123456789);
    assert_int_equal(hist_quantile_ns(&h, 0.5), 0);
    hist_add(&h, INT64_MAX);
    assert_int_equal(h.n, 3);
    assert_int_equal(hist_quantile_ns(&h, 1), (uint64_t)INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_histogram_has_no_quantiles, empty),
        cmocka_unit_test_setup(small_values_are_exact, empty),
        cmocka_unit_test_setup(a_value_is_found_within_its_slot_of_1_6_percent, empty),
        cmocka_unit_test_setup(slots_join_without_a_gap_at_powers_of_two, empty),
        cmocka_unit_test_setup(quantiles_count_from_below, empty),
        cmocka_unit_test_setup(the_maximum_is_exact_and_odd_values_are_kept_in_range, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
