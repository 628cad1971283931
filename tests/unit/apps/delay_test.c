/* Delay levels: the list as brokers write it, and which level a timer takes. */
#include "apps/common/delay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct delay_levels parsed(const char *text)
{
    struct delay_levels d;
    struct app_error e = {.kind = APP_OK};
    if (delay_levels_parse(text, &d, &e) != APP_OK)
        fail_msg("\"%s\": %s", text, e.text);
    return d;
}

static void the_default_list_has_eighteen_levels_up_to_two_hours(void **state)
{
    (void)state;
    const struct delay_levels d = parsed(DELAY_LEVELS_DEFAULT);
    assert_int_equal(d.n, 18);
    assert_int_equal(d.ms[0], 1000);
    assert_int_equal(d.ms[15], 30 * 60000);
    assert_int_equal(d.ms[17], 2 * 3600000);
    assert_int_equal(parsed(" 1d  2s ").ms[0], 86400000);
}

static void what_is_no_list_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     " ",     "5",          "5x",
        "s",    "0s",    "-1s",        "1s2s",
        "1.5s", "1s,2s", "999999999d", "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct delay_levels d;
        struct app_error e = {.kind = APP_OK};
        if (delay_levels_parse(bad[i], &d, &e) != APP_E_CONFIG)
            fail_msg("\"%s\" is accepted", bad[i]);
    }
}

static void a_timer_takes_the_longest_level_that_is_not_too_long(void **state)
{
    (void)state;
    const struct delay_levels d = parsed(DELAY_LEVELS_DEFAULT);
    assert_int_equal(delay_level_for(&d, 30 * 60000), 16);
    assert_int_equal(delay_level_for(&d, 30 * 60000 - 1), 15);
    assert_int_equal(delay_level_for(&d, 1000), 1);
    assert_int_equal(delay_level_for(&d, 86400000), 18);
    assert_int_equal(delay_level_for(&d, 10), 1); /* none fits: the shortest */
    const struct delay_levels odd = parsed("10s 1s 1s 5s");
    assert_int_equal(delay_level_for(&odd, 500), 2);
    assert_int_equal(delay_level_for(&odd, 9000), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_list_has_eighteen_levels_up_to_two_hours),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(a_timer_takes_the_longest_level_that_is_not_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
