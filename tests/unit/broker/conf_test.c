/* Unit tests of broker/conf.c. */
#include "broker/conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static char notes[4096];

static void take_note(void *arg, const char *text)
{
    (void)arg;
    const size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", text);
}

static int load(struct broker_conf *c, const char *text, const char *namesrv, struct err *e)
{
    const char *const dir = tmpdir_new("conf");
    const char *const path = tmpdir_path(dir, "broker.conf");
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    *c = (struct broker_conf){0};
    notes[0] = '\0';
    return broker_conf_load(c, path, namesrv, take_note, NULL, e);
}

static void what_is_not_set_gets_upstreams_default_or_the_machines(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    assert_ok(load(&c, "storePathRootDir=/data/store\n", NULL, &e), &e);
    assert_int_equal(c.listen_port, 10911);
    assert_int_equal(c.max_message_size, 4194304);
    assert_int_equal(c.commitlog_file_size, 1073741824);
    assert_string_equal(c.cluster_name, "DefaultCluster");
    assert_string_equal(c.store_commitlog, "/data/store/commitlog");
    assert_non_null(c.broker_name);
    assert_non_null(c.broker_ip1);
    broker_conf_free(&c);
}

static void misspelt_size_keys_are_taken_and_unknown_ones_named_with_a_guess(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    assert_ok(load(&c, "mapedFileSizeCommitLog=16777216\nflushDiskTyp=SYNC_FLUSH\ntimerWheelEnable=true\n",
                   NULL, &e),
              &e);
    assert_int_equal(c.commitlog_file_size, 16777216);
    assert_int_equal(c.flush_disk_type, FLUSH_DISK_ASYNC);
    assert_contains(notes, "flushDiskType");
    assert_contains(notes, "timerWheelEnable");
    broker_conf_free(&c);
}

static void ratios_are_moved_into_the_range_of_the_real_broker_and_that_is_said_once(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    assert_ok(load(&c, "diskMaxUsedSpaceRatio=5\ndiskSpaceCleanForciblyRatio=86\n"
                   "diskSpaceWarningLevelRatio=100\n", NULL, &e), &e);
    assert_int_equal(c.disk_used_max, 10);
    assert_int_equal(c.disk_clean_forcibly, 85);
    assert_int_equal(c.disk_warning, 90);
    assert_contains(notes, "diskMaxUsedSpaceRatio=5 is not between 10 and 95: 10 is used");
    assert_contains(notes, "diskSpaceCleanForciblyRatio=86 is not between 30 and 85: 85 is used");
    assert_contains(notes, "diskSpaceWarningLevelRatio=100 is not between 35 and 90: 90 is used");
    broker_conf_free(&c);
    assert_ok(load(&c, "diskMaxUsedSpaceRatio=95\ndiskSpaceCleanForciblyRatio=30\n"
                   "diskSpaceWarningLevelRatio=35\n", NULL, &e), &e);
    assert_int_equal(c.disk_used_max, 95);
    assert_int_equal(c.disk_clean_forcibly, 30);
    assert_int_equal(c.disk_warning, 35);
    assert_null(strstr(notes, "Ratio"));
    broker_conf_free(&c);
}

static void retention_keys_are_read_and_bad_hours_refused(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    assert_ok(load(&c, "fileReservedTime=48\ndeleteWhen=04;16\ndeleteFileBatchMax=3\n"
                   "cleanFileForciblyEnable=false\n", NULL, &e), &e);
    assert_int_equal(c.file_reserved_hours, 48);
    assert_string_equal(c.delete_when, "04;16");
    assert_int_equal(c.clean_batch, 3);
    assert_false(c.clean_forcibly);
    broker_conf_free(&c);
    assert_int_equal(load(&c, "deleteWhen=25\n", NULL, &e), E_INVAL);
    assert_contains(e.text, "deleteWhen=25");
    assert_contains(e.text, "00 to 23");
    broker_conf_free(&c);
}

static void unsafe_settings_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const lines[] = {"aclEnable=true",
                                        "enableDLegerCommitLog=true",
                                        "enableControllerMode=true",
                                        "brokerRole=SLAVE",
                                        "brokerRole=SYNC_MASTER",
                                        "transientStorePoolEnable=true",
                                        "enablePropertyFilter=true",
                                        "inSyncReplicas=2",
                                        "brokerId=1"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct broker_conf c;
        struct err e = {0};
        const int rc = load(&c, lines[i], NULL, &e);
        if (rc == 0)
            fail_msg("%s was accepted", lines[i]);
        assert_contains(e.text, "broker.conf:1");
        broker_conf_free(&c);
    }
}

static void the_safe_value_of_an_unsafe_key_is_accepted(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    assert_ok(load(&c, "brokerRole=ASYNC_MASTER\naclEnable=false\nbrokerId=0\n", NULL, &e), &e);
    broker_conf_free(&c);
}

static void bad_values_name_line_key_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct { const char *text, *part;
    } cases[] = {{"\nlistenPort=70000\n", "broker.conf:2"},
                 {"listenPort=abc\n", "listenPort"},
                 {"flushDiskType=FAST\n", "SYNC_FLUSH"},
                 {"namesrvAddr=host\n", "host:port"},
                 {"namesrvAddr=a:1;b\n", "host:port"},
                 {"brokerIP1=example\n", "brokerIP1"},
                 {"messageDelayLevel=1s 2x\n", "2x"},
                 {"messageDelayLevel=s\n", "messageDelayLevel"},
                 {"brokerName=a/b\n", "brokerName"},
                 {"mappedFileSizeCommitLog=4096\n", "maxMessageSize"},
                 {"storePathCommitLog=/a,/b\n", "storePathCommitLog"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct broker_conf c;
        struct err e = {0};
        if (load(&c, cases[i].text, NULL, &e) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_contains(e.text, cases[i].part);
        broker_conf_free(&c);
    }
}

static void the_command_line_beats_the_file_and_the_file_the_environment(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    setenv("NAMESRV_ADDR", "env:1", 1);
    assert_ok(load(&c, "namesrvAddr=file:2\n", "line:3", &e), &e);
    assert_string_equal(c.namesrv_addr, "line:3");
    broker_conf_free(&c);
    assert_ok(load(&c, "namesrvAddr=file:2\n", NULL, &e), &e);
    assert_string_equal(c.namesrv_addr, "file:2");
    broker_conf_free(&c);
    assert_ok(load(&c, "", NULL, &e), &e);
    assert_string_equal(c.namesrv_addr, "env:1");
    broker_conf_free(&c);
    unsetenv("NAMESRV_ADDR");
}

static void delay_levels_are_read_with_every_unit(void **state)
{
    (void)state;
    int64_t ms[DELAY_LEVEL_MAX];
    struct err e;
    assert_int_equal(delay_levels_parse("1s 2m  3h 4d", ms, &e), 4);
    assert_int_equal(ms[0], 1000);
    assert_int_equal(ms[1], 120000);
    assert_int_equal(ms[2], 3 * 3600000);
    assert_int_equal(ms[3], 4 * INT64_C(86400000));
    assert_int_equal(delay_levels_parse("", ms, &e), E_INVAL);
    assert_int_equal(delay_levels_parse("9999999999999999d", ms, &e), E_INVAL);
    assert_int_equal(delay_levels_parse("-1s", ms, &e), E_INVAL);
}

static void printing_shows_every_key_or_only_the_important_ones(void **state)
{
    (void)state;
    struct broker_conf c;
    struct err e;
    struct buf all, few;
    buf_init(&all, 0);
    buf_init(&few, 0);
    assert_ok(load(&c, "brokerName=b1\n", NULL, &e), &e);
    broker_conf_print(&c, false, &all);
    broker_conf_print(&c, true, &few);
    buf_char(&all, '\0');
    buf_char(&few, '\0');
    assert_contains(all.p, "syncFlushTimeout=5000");
    assert_contains(few.p, "brokerName=b1");
    assert_null(strstr(few.p, "syncFlushTimeout"));
    buf_free(&all);
    buf_free(&few);
    broker_conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_set_gets_upstreams_default_or_the_machines),
        cmocka_unit_test(misspelt_size_keys_are_taken_and_unknown_ones_named_with_a_guess),
        cmocka_unit_test(ratios_are_moved_into_the_range_of_the_real_broker_and_that_is_said_once),
        cmocka_unit_test(retention_keys_are_read_and_bad_hours_refused),
        cmocka_unit_test(unsafe_settings_are_refused_with_the_reason),
        cmocka_unit_test(the_safe_value_of_an_unsafe_key_is_accepted),
        cmocka_unit_test(bad_values_name_line_key_and_what_would_be_right),
        cmocka_unit_test(the_command_line_beats_the_file_and_the_file_the_environment),
        cmocka_unit_test(delay_levels_are_read_with_every_unit),
        cmocka_unit_test(printing_shows_every_key_or_only_the_important_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
