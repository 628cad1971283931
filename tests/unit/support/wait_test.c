/* tests/support/wait.c */
#include "tests/support/test.h"

#include "base/clock.h"
#include "tests/support/wait.h"

static bool after_n_looks(void *arg)
{
    int *left = arg;
    return (*left)-- <= 0;
}

static bool never(void *arg)
{
    ++*(int *)arg;
    return false;
}

static void a_true_condition_is_not_waited_for(void **state)
{
    (void)state;
    int left = 0;
    assert_true(wait_until(after_n_looks, &left, 0));
}

static void a_condition_is_polled_until_true(void **state)
{
    (void)state;
    int left = 5;
    assert_true(wait_until(after_n_looks, &left, 10000));
    assert_int_equal(left, -1);
}

static void the_deadline_is_kept(void **state)
{
    (void)state;
    int looks = 0;
    int64_t before = clock_mono(&clock_system);
    assert_false(wait_until(never, &looks, 50));
    assert_in_range((uint64_t)(clock_mono(&clock_system) - before), 50, 5000);
    assert_true(looks >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_true_condition_is_not_waited_for),
        cmocka_unit_test(a_condition_is_polled_until_true),
        cmocka_unit_test(the_deadline_is_kept),
    };
    return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
