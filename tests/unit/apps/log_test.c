#include "apps/common/log.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static const char *path;

static int setup(void **state)
{
    (void)state;
    path = tmpdir_path(tmpdir_new("log"), "x.log");
    return app_log_open(path, "test", LOG_LEVEL_INFO, NULL);
}

static int teardown(void **state)
{
    (void)state;
    app_log_close();
    return 0;
}

static size_t read_log(char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    const size_t n = f ? fread(out, 1, size - 1, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
    return n;
}

static void an_event_is_one_line_whatever_its_values_hold(void **state)
{
    (void)state;
    char text[4000];
    log_info("greeting", "who=%s id=%d", app_log_value("a \"b\"\nc"), 7);
    log_debug("hidden", "x=%d", 1);
    (void)read_log(text, sizeof text);
    assert_contains(text, "INFO  [test] event=greeting who=\"a \\\"b\\\" c\" id=7\n");
    assert_null(strstr(text, "hidden"));
    assert_int_equal(strchr(text, '\n') - text, (long)strlen(text) - 1);
}

static void values_without_blanks_are_not_quoted_and_long_ones_are_cut(void **state)
{
    (void)state;
    char big[1000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_string_equal(app_log_value("plain-1"), "plain-1");
    assert_string_equal(app_log_value(NULL), "-");
    assert_string_equal(app_log_value(""), "\"\"");
    assert_true(strlen(app_log_value(big)) < 256);
    log_info("long", "%s%s%s%s", big, big, big, big);
    char text[8000];
    assert_true(read_log(text, sizeof text) < 2100);
}

static void a_warning_that_repeats_is_limited(void **state)
{
    (void)state;
    static char text[100000];
    for (int i = 0; i < 500; i++)
        log_warn("again", "i=%d", i);
    log_info("other", "x=1");
    (void)read_log(text, sizeof text);
    int lines = 0;
    for (const char *s = text; (s = strstr(s, "event=again")); s++)
        lines++;
    assert_in_range(lines, 20, 60); /* the second may change on the way */
    assert_contains(text, "event=other");
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    struct app_error e;
    assert_int_equal(app_log_open("/nonexistent/dir/x.log", "t", LOG_LEVEL_INFO, &e), APP_E_CONFIG);
    assert_contains(e.text, "/nonexistent/dir/x.log");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_event_is_one_line_whatever_its_values_hold),
        T(values_without_blanks_are_not_quoted_and_long_ones_are_cut),
        T(a_warning_that_repeats_is_limited),
        T(a_file_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
