#include "apps/common/money.h"

#include "tests/support/test.h"

static void sums_and_products_stay_inside_the_bounds(void **state)
{
    (void)state;
    int64_t v = -7;
    assert_true(money_add(MONEY_MAX - 1, 1, &v));
    assert_int_equal(v, MONEY_MAX);
    assert_false(money_add(MONEY_MAX, 1, &v));
    assert_false(money_add(-1, 1, &v));
    assert_true(money_sub(5, 5, &v));
    assert_int_equal(v, 0);
    assert_false(money_sub(5, 6, &v));
    assert_true(money_mul(19900, 3, &v));
    assert_int_equal(v, 59700);
    assert_false(money_mul(MONEY_MAX, 2, &v));
    assert_false(money_mul(MONEY_MAX, INT64_MAX, &v));
    assert_false(money_mul(1, -1, &v));
    assert_int_equal(v, 59700); /* a refusal leaves the result alone */
}

static void text_has_two_decimals_and_a_sign(void **state)
{
    (void)state;
    char t[MONEY_TEXT_MAX];
    money_text(1205, t);
    assert_string_equal(t, "12.05");
    money_text(-7, t);
    assert_string_equal(t, "-0.07");
    money_text(INT64_MIN, t);
    assert_string_equal(t, "-92233720368547758.08");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_stay_inside_the_bounds),
        cmocka_unit_test(text_has_two_decimals_and_a_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
