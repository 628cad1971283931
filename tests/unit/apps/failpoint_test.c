#include "apps/common/failpoint.h"

#include <pthread.h>

#include "tests/support/test.h"
#include "tests/support/wait.h"

static struct failpoint table[] = {{.name = "test.one", .meaning = "one"},
                                   {.name = "test.two", .meaning = "two"}};

static int setup(void **state)
{
    (void)state;
    app_failpoint_register(table, 2);
    app_failpoint_register(table, 2); /* twice is once */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    return 0;
}

static void an_unarmed_place_does_nothing(void **state)
{
    (void)state;
    assert_false(FAILPOINT(table[0]));
}

static void count_and_after_say_when_it_fires(void **state)
{
    (void)state;
    assert_int_equal(app_failpoint_arm("test.one=error*2,after(1);test.two=error", NULL), APP_OK);
    const bool fired[] = {FAILPOINT(table[0]), FAILPOINT(table[0]), FAILPOINT(table[0]),
                          FAILPOINT(table[0])};
    assert_false(fired[0]);
    assert_true(fired[1]);
    assert_true(fired[2]);
    assert_false(fired[3]);
    assert_true(FAILPOINT(table[1]));
    assert_int_equal(app_failpoint_arm("test.two=off", NULL), APP_OK);
    assert_false(FAILPOINT(table[1]));
}

static void every_lets_only_each_nth_pass_fire(void **state)
{
    (void)state;
    assert_int_equal(app_failpoint_arm("test.one=error*2,after(1),every(3)", NULL), APP_OK);
    char fired[11] = "";
    for (int i = 0; i < 10; i++)
        fired[i] = FAILPOINT(table[0]) ? 'x' : '.';
    assert_string_equal(fired, "...x..x...");
}

static void a_bad_list_names_the_entry_and_arms_nothing(void **state)
{
    (void)state;
    struct app_error e;
    static const char *const bad[] = {"test.one=error;nobody=error",
                                      "test.one=dance",
                                      "test.one",
                                      "test.one=error*0",
                                      "test.one=sleep(x)",
                                      "test.one=error,after(",
                                      "test.one=error,every(0)",
                                      "test.one=error,every(2",
                                      "test.one=error,every(2),after(1)",
                                      "test.one=error*99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (app_failpoint_arm(bad[i], &e) != APP_E_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_false(FAILPOINT(table[0]));
    }
    assert_int_equal(app_failpoint_arm("nobody=error", &e), APP_E_INVALID);
    assert_contains(e.text, "nobody");
}

static _Atomic bool passed;

static void *walk(void *arg)
{
    (void)arg;
    (void)FAILPOINT(table[0]);
    passed = true;
    return NULL;
}

static bool was_hit(void *arg)
{
    return app_failpoint_hits("test.one") > *(uint64_t *)arg;
}

static void pause_holds_until_disarmed(void **state)
{
    (void)state;
    uint64_t before = app_failpoint_hits("test.one");
    passed = false;
    assert_int_equal(app_failpoint_arm("test.one=pause*1", NULL), APP_OK);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, walk, NULL), 0);
    assert_true(wait_until(was_hit, &before, 5000));
    assert_false(passed);
    assert_false(FAILPOINT(table[0])); /* its count is used up: whoever comes next passes */
    assert_false(passed);
    app_failpoint_disarm_all();
    pthread_join(t, NULL);
    assert_true(passed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_unarmed_place_does_nothing),      T(count_and_after_say_when_it_fires),
        T(every_lets_only_each_nth_pass_fire), T(a_bad_list_names_the_entry_and_arms_nothing),
        T(pause_holds_until_disarmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
