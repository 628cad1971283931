/* What the progress line says. */
#include "mqstore/progress.h"

#include "tests/support/test.h"

static void bytes_have_percent_rate_and_time_left(void **state)
{
    char line[160];
    (void)state;
    progress_text(line, sizeof line, "commit log", INT64_C(3) << 30, INT64_C(4) << 30, true, 6000);
    assert_string_equal(line, "commit log     [##################......]  75%  3.0 GiB of 4.0 GiB  512.0 MiB/s  2 s left");
}

static void counts_have_no_rate(void **state)
{
    char line[160];
    (void)state;
    progress_text(line, sizeof line, "consume queues", 5, 10, false, 6000);
    assert_string_equal(line, "consume queues [############............]  50%  5 of 10");
}

static void nothing_to_do_is_done(void **state)
{
    char line[160];
    (void)state;
    progress_text(line, sizeof line, "index", 0, 0, true, 0);
    assert_string_equal(line, "index          [########################] 100%  0 B of 0 B  0 B/s");
}

static void a_short_buffer_is_not_overrun(void **state)
{
    char line[20] = {0};
    (void)state;
    progress_text(line, 10, "commit log", 1, 2, true, 1);
    assert_int_equal(line[10], 0);
    assert_int_equal(line[9], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_have_percent_rate_and_time_left),
        cmocka_unit_test(counts_have_no_rate),
        cmocka_unit_test(nothing_to_do_is_done),
        cmocka_unit_test(a_short_buffer_is_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
