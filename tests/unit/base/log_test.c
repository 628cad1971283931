/* base/log.c: the line, the level, the rate limit, rotation, and quoting. */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "tests/support/tmpdir.h"

static const char *dir, *file;

static int setup(void **state)
{
    (void)state;
    struct err e;
    dir = tmpdir_new("log");
    file = tmpdir_path(dir, "logs/deep/test.log"); /* directories are made */
    assert_ok(log_open(file, 0, 0, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close();
    log_set_level(LOG_INFO);
    tmpdir_remove(dir);
    return 0;
}

static char *content(const char *path)
{
    struct err e;
    char *text;
    size_t n;
    assert_ok(fs_read_all(&fs_real, path, 1 << 24, &text, &n, &e), &e);
    return text;
}

static int lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void a_line_has_time_level_thread_event_and_fields(void **state)
{
    (void)state;
    int year, month, day, hour, minute, second, ms, end = 0;
    log_set_thread_name("tester");
    LOGW("disk_slow", "path=%s ms=%d", "/d", 512);
    char *text = content(file);
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &end),
                     7);
    assert_string_equal(text + end, "WARN  tester event=disk_slow path=/d ms=512\n");
    free(text);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    LOGD("hidden", "n=%d", 1);
    log_set_level(LOG_ERROR);
    LOGW("hidden", "n=%d", 2);
    LOGE("seen", "n=%d", 3);
    log_set_level(LOG_DEBUG);
    LOGD("seen", "n=%d", 4);
    char *text = content(file);
    assert_int_equal(lines(text), 2);
    assert_null(strstr(text, "hidden"));
    free(text);
}

static void levels_parse_in_any_case_and_nothing_else(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_ok(log_level_parse(SLICE_LIT("debug"), &level), NULL);
    assert_int_equal(level, LOG_DEBUG);
    assert_ok(log_level_parse(SLICE_LIT("WARN"), &level), NULL);
    assert_int_equal(level, LOG_WARN);
    assert_code(log_level_parse(SLICE_LIT("warning"), &level), E_INVAL, NULL);
    assert_code(log_level_parse(SLICE_LIT(""), &level), E_INVAL, NULL);
}

static void a_burst_is_cut_and_the_rest_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++)
        LOGI("burst", "i=%d", i);
    LOGI("other", "n=%d", 1); /* other events are not affected */
    log_close();
    char *text = content(file);
    /* 20 of the burst, at most a few more for the seconds that a slow machine took. */
    assert_in_range((uint64_t)lines(text), 22, 30);
    assert_non_null(strstr(text, "event=other n=1"));
    int told = 0;
    char *tail = strstr(text, "event=log_suppressed of=burst lines=");
    assert_non_null(tail);
    assert_int_equal(sscanf(tail, "event=log_suppressed of=burst lines=%d", &told), 1);
    int suppressed = told;
    for (char *p = text; (p = strstr(p, " suppressed=")); p++)
        suppressed += (int)strtol(p + strlen(" suppressed="), NULL, 10);
    assert_int_equal(suppressed + lines(text) - 2, 500);
    free(text);
}

static void an_event_is_one_line_whatever_is_in_it(void **state)
{
    (void)state;
    LOGI("inject", "name=%s", "x\n2026 ERROR forged\x1b[31m");
    char *text = content(file);
    assert_int_equal(lines(text), 1);
    assert_null(strchr(text, '\x1b'));
    free(text);
}

static void a_line_too_long_is_cut(void **state)
{
    (void)state;
    static char big[20000];
    memset(big, 'x', sizeof big - 1);
    LOGI("big", "v=%s", big);
    char *text = content(file);
    size_t n = strlen(text);
    assert_in_range(n, 3000, 4096);
    assert_string_equal(text + n - 5, "x...\n");
    free(text);
}

static bool exists(const char *name)
{
    struct fs_stat st;
    return fs_real.stat(&fs_real, tmpdir_path(dir, name), &st, NULL) == 0;
}

static void full_files_are_rotated_and_old_ones_dropped(void **state)
{
    (void)state;
    static char event[20][24];
    struct err e;
    file = tmpdir_path(dir, "rotate.log");
    assert_ok(log_open(file, 1000, 2, &e), &e);
    for (int i = 0; i < 20; i++) {
        snprintf(event[i], sizeof event[i], "rotate_%d", i);
        LOGI(event[i], "fill=%0200d", i);
    }
    assert_true(exists("rotate.log") && exists("rotate.log.1") && exists("rotate.log.2"));
    assert_false(exists("rotate.log.3"));
    char *newest = content(file), *older = content(tmpdir_path(dir, "rotate.log.1"));
    assert_contains(newest, "event=rotate_19");
    assert_null(strstr(older, "event=rotate_19"));
    assert_in_range(strlen(older), 700, 1000);
    free(newest);
    free(older);
}

static void reopening_appends(void **state)
{
    (void)state;
    struct err e;
    LOGI("first", "n=%d", 1);
    assert_ok(log_open(file, 0, 0, &e), &e);
    LOGI("second", "n=%d", 2);
    char *text = content(file);
    assert_int_equal(lines(text), 2);
    free(text);
}

static void a_file_that_cannot_be_opened_is_an_error_and_the_old_one_goes_on(void **state)
{
    (void)state;
    struct err e;
    assert_true(log_open(dir, 0, 0, &e) < 0); /* a directory */
    assert_contains(e.text, dir);
    LOGI("still_here", "n=%d", 1);
    char *text = content(file);
    assert_int_equal(lines(text), 1);
    free(text);
}

static void lines_that_a_full_disk_refused_are_counted(void **state)
{
    (void)state;
    struct err e;
    assert_ok(log_open("/dev/full", 0, 0, &e), &e);
    LOGI("refused", "n=%d", 1);
    LOGI("refused", "n=%d", 2);
    assert_ok(log_open(file, 0, 0, &e), &e);
    LOGI("taken", "n=%d", 3);
    LOGI("taken", "n=%d", 4);
    char *text = content(file);
    assert_int_equal(lines(text), 3);
    assert_contains(text, "event=taken n=3\n");
    assert_contains(text, "event=log_lost lines=2\n");
    free(text);
}

static void *log_many(void *event)
{
    for (int i = 0; i < 15; i++) /* below the burst */
        LOGI(event, "pad=%0500d", i);
    return NULL;
}

static void lines_of_many_threads_stay_whole(void **state)
{
    (void)state;
    static char events[8][24]; /* the log keeps the pointers */
    struct err e;
    pthread_t threads[8];
    file = tmpdir_path(dir, "threads.log");
    assert_ok(log_open(file, 20000, 9, &e), &e);
    for (int i = 0; i < 8; i++) {
        snprintf(events[i], sizeof events[i], "many_%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, events[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    int total = 0;
    for (int i = 0; i < 10; i++) {
        char name[32];
        snprintf(name, sizeof name, i ? "threads.log.%d" : "threads.log", i);
        if (!exists(name))
            continue;
        char *text = content(tmpdir_path(dir, name)), *save = text, *line;
        while ((line = strsep(&text, "\n")) && *line) {
            assert_non_null(strstr(line, " event=many_"));
            assert_non_null(strstr(line, " pad=000"));
            total++;
        }
        free(save);
    }
    assert_int_equal(total, 8 * 15);
}

static void quoting_makes_bytes_of_peers_harmless(void **state)
{
    (void)state;
    char q[64];
    assert_string_equal(log_quote(SLICE_LIT("plain"), q, sizeof q), "\"plain\"");
    assert_string_equal(log_quote(SLICE_LIT("a\"b\\c\n\x7f"), q, sizeof q),
                        "\"a\\\"b\\\\c\\x0a\\x7f\"");
    assert_string_equal(log_quote(slice_of("\0", 1), q, sizeof q), "\"\\x00\"");
    assert_string_equal(log_quote(SLICE_NULL, q, sizeof q), "\"\"");
    assert_string_equal(log_quote(SLICE_LIT("\xe8\xae\xa2\xe5\x8d\x95"), q, sizeof q),
                        "\"\xe8\xae\xa2\xe5\x8d\x95\"");
    /* cut, overlong, surrogate and control sequences are bytes, not characters */
    assert_string_equal(log_quote(SLICE_LIT("\xe8\xae"), q, sizeof q), "\"\\xe8\\xae\"");
    assert_string_equal(log_quote(SLICE_LIT("\xc0\xaf"), q, sizeof q), "\"\\xc0\\xaf\"");
    assert_string_equal(log_quote(SLICE_LIT("\xed\xa0\x80"), q, sizeof q), "\"\\xed\\xa0\\x80\"");
    assert_string_equal(log_quote(SLICE_LIT("\xc2\x9b"), q, sizeof q), "\"\\xc2\\x9b\"");
}

static void quoting_cuts_between_characters(void **state)
{
    (void)state;
    char q[64];
    for (size_t cap = 0; cap < sizeof q; cap++) {
        memset(q, '#', sizeof q);
        log_quote(SLICE_LIT("abcdef\n\xe8\xae\xa2ghijklmnopq"), q, cap);
        if (cap < sizeof q)
            assert_int_equal(q[cap], '#'); /* never beyond */
        if (cap)
            assert_true(strlen(q) < cap);
        if (cap >= 6)
            assert_int_equal(q[strlen(q) - 1], '"');
    }
    assert_string_equal(log_quote(SLICE_LIT("abcdefgh"), q, 10), "\"abcd...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_thread_event_and_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, setup, teardown),
        cmocka_unit_test(levels_parse_in_any_case_and_nothing_else),
        cmocka_unit_test_setup_teardown(a_burst_is_cut_and_the_rest_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(an_event_is_one_line_whatever_is_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_too_long_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(full_files_are_rotated_and_old_ones_dropped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reopening_appends, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_file_that_cannot_be_opened_is_an_error_and_the_old_one_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_that_a_full_disk_refused_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_of_many_threads_stay_whole, setup, teardown),
        cmocka_unit_test(quoting_makes_bytes_of_peers_harmless),
        cmocka_unit_test(quoting_cuts_between_characters),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
