/* The switches of the naive design: each is there, off, and turns its rule round. */
#include "apps/common/naive.h"

#include <stdio.h>

#include "apps/order/order.h"
#include "tests/support/test.h"

#if HP_FAILPOINTS

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    return 0;
}

static void switch_on(const char *name)
{
    char spec[80];
    struct app_error e = {.kind = APP_OK};
    (void)snprintf(spec, sizeof spec, "%s=error", name);
    if (app_failpoint_arm(spec, &e) != APP_OK)
        fail_msg("%s: %s", spec, e.text);
}

static void every_defect_is_off_until_its_name_is_armed_and_no_other_is_on_then(void **state)
{
    (void)state;
    for (int i = 0; i < DEFECT_COUNT; i++) {
        if (NAIVE(i))
            fail_msg("%s is on", naive_defects[i].name);
        switch_on(naive_defects[i].name);
        for (int k = 0; k < DEFECT_COUNT; k++)
            if (NAIVE(k) != (k == i))
                fail_msg("%s is armed, %s is %s", naive_defects[i].name, naive_defects[k].name,
                         k == i ? "off" : "on");
        app_failpoint_disarm_all();
    }
}

static void a_pending_order_is_rolled_back_by_the_naive_check_alone(void **state)
{
    (void)state;
    assert_int_equal(saga_verdict_of(ORDER_PENDING, true), SAGA_EXPIRE);
    switch_on("naive.D6.pending_is_failed");
    assert_int_equal(saga_verdict_of(ORDER_PENDING, true), SAGA_ROLLBACK);
    assert_int_equal(saga_verdict_of(ORDER_PENDING, false), SAGA_ROLLBACK);
    assert_int_equal(saga_verdict_of(ORDER_CANCELLING, true), SAGA_COMMIT);
}

static void the_second_payment_of_a_paid_order_is_kept_by_the_naive_order_alone(void **state)
{
    (void)state;
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_PAID, 6, 7), PAID_REFUND);
    switch_on("naive.D10.refund_only_if_cancelled");
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_PAID, 6, 7), PAID_AGAIN);
    assert_int_equal(paid_reaction_of(true, ORDER_CANCELLED, PAY_NONE, 0, 7), PAID_REFUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        T(every_defect_is_off_until_its_name_is_armed_and_no_other_is_on_then),
        T(a_pending_order_is_rolled_back_by_the_naive_check_alone),
        T(the_second_payment_of_a_paid_order_is_kept_by_the_naive_order_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void no_defect_can_be_armed_where_they_are_compiled_out(void **state)
{
    (void)state;
    struct app_error e = {.kind = APP_OK};
    assert_int_equal(app_failpoint_arm("naive.D6.pending_is_failed=error", &e), APP_E_INVALID);
    assert_int_equal(saga_verdict_of(ORDER_PENDING, true), SAGA_EXPIRE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_defect_can_be_armed_where_they_are_compiled_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
