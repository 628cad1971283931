#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "namesrv/conf.h"
#include "tests/support/tmpdir.h"

static const char *dir;

static int setup(void **state)
{
    (void)state;
    dir = tmpdir_new("namesrv-conf");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tmpdir_remove(dir);
    return 0;
}

static char notes[1024];

static void note(void *arg, const char *text)
{
    (void)arg;
    size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", text);
}

static const char *write_conf(const char *text)
{
    const char *path = tmpdir_path(dir, "ns.conf");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static int load(const char *text, struct namesrv_conf *c, struct err *e)
{
    *c = (struct namesrv_conf){0};
    notes[0] = '\0';
    return namesrv_conf_load(c, write_conf(text), note, NULL, e);
}

static void without_a_file_the_defaults_are_rocketmq_s(void **state)
{
    (void)state;
    struct namesrv_conf c = {0};
    struct err e = {0};
    assert_ok(namesrv_conf_load(&c, NULL, note, NULL, &e), &e);
    assert_int_equal(c.listen_port, 9876);
    assert_string_equal(c.bind_address, "0.0.0.0");
    assert_int_equal(c.scan_interval, 5000);
    assert_int_equal(c.idle_seconds, 120);
    assert_false(c.delete_missing_topics);
    assert_true(c.all_topic_list_enable);
    assert_false(c.wait_for_service);
    assert_int_equal(c.wait_seconds, 45);
    namesrv_conf_free(&c);
}

static void a_file_changes_what_it_names(void **state)
{
    (void)state;
    struct namesrv_conf c;
    struct err e = {0};
    assert_ok(load("# ours\nlistenPort = 0\nbindAddress=127.0.0.1\nlogLevel=WARN\n", &c, &e), &e);
    assert_int_equal(c.listen_port, 0);
    assert_string_equal(c.bind_address, "127.0.0.1");
    assert_int_equal(c.log_level, 2);
    assert_int_equal(c.wait_seconds, 45);
    assert_string_equal(notes, "");
    namesrv_conf_free(&c);
}

static void a_bad_value_is_named_with_file_line_and_key(void **state)
{
    static const char *const bad[] = {"\nlistenPort=70000\n", "\nlistenPort=many\n", "\nlistenPort=-1\n"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct namesrv_conf c;
        struct err e = {0};
        assert_true(load(bad[i], &c, &e) != 0);
        assert_contains(e.text, "ns.conf:2");
        assert_contains(e.text, "listenPort");
        assert_contains(e.text, i == 1 ? "whole number" : "65535");
    }
}

static void a_setting_that_would_betray_its_owner_is_refused(void **state)
{
    (void)state;
    struct namesrv_conf c;
    struct err e = {0};
    assert_code(load("enableControllerInNamesrv=true\n", &c, &e), E_DENIED, &e);
    assert_contains(e.text, "enableControllerInNamesrv");
    assert_ok(load("enableControllerInNamesrv=false\n", &c, &e), &e);
    namesrv_conf_free(&c);
}

static void unknown_and_meaningless_keys_are_noted_not_refused(void **state)
{
    (void)state;
    struct namesrv_conf c;
    struct err e = {0};
    assert_ok(load("lisstenPort=1\nserverWorkerThreads=8\n", &c, &e), &e);
    assert_contains(notes, "lisstenPort");
    assert_contains(notes, "listenPort"); /* the nearest known one */
    assert_contains(notes, "serverWorkerThreads");
    assert_int_equal(c.listen_port, 9876);
    namesrv_conf_free(&c);
}

static void a_missing_file_is_an_error_with_its_name(void **state)
{
    (void)state;
    struct namesrv_conf c = {0};
    struct err e = {0};
    assert_code(namesrv_conf_load(&c, tmpdir_path(dir, "none.conf"), note, NULL, &e), E_NOTFOUND, &e);
    assert_contains(e.text, "none.conf");
}

static void the_file_that_rocketmq_wrote_is_read(void **state)
{
    (void)state;
    struct namesrv_conf c = {0};
    struct err e = {0};
    const char *root = getenv("HALFPENNY_SOURCE");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/config/5.5.0/namesrv.conf.rewritten-by-318", root ? root : ".");
    notes[0] = '\0';
    assert_ok(namesrv_conf_load(&c, path, note, NULL, &e), &e);
    assert_int_equal(c.listen_port, 30976);
    namesrv_conf_free(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_file_the_defaults_are_rocketmq_s),
        TEST(a_file_changes_what_it_names),
        TEST(a_bad_value_is_named_with_file_line_and_key),
        TEST(a_setting_that_would_betray_its_owner_is_refused),
        TEST(unknown_and_meaningless_keys_are_noted_not_refused),
        TEST(a_missing_file_is_an_error_with_its_name),
        TEST(the_file_that_rocketmq_wrote_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
