#include "proto/names.h"

#include "tests/unit/proto/vectors.h"

static char long_name[300];

static struct slice name_of(const char *prefix, size_t n)
{
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name, prefix, strlen(prefix));
    return slice_of(long_name, n);
}

static void legal_topics_pass(void **state)
{
    static const char *const ok[] = {"T", "%RETRY%g", "a-b_c|d%9", "TBW102", "%DLQ%g"};
    struct err e = {0};
    (void)state;
    for (size_t i = 0; i < sizeof ok / sizeof *ok; i++)
        assert_ok(topic_name_check(slice_str(ok[i]), &e), &e);
    assert_ok(topic_name_check(name_of("", 127), &e), &e);
    assert_ok(topic_name_check(name_of("%RETRY%", 255), &e), &e);
    assert_ok(topic_name_check(name_of("%DLQ%", 255), &e), &e);
}

static void illegal_topics_are_refused_with_the_known_text(void **state)
{
    struct err e = {0};
    (void)state;
    assert_code(topic_name_check(slice_str(""), &e), E_INVAL, &e);
    assert_string_equal(e.text, "The specified topic is blank.");
    assert_code(topic_name_check(slice_str(" \t"), &e), E_INVAL, &e);
    assert_string_equal(e.text, "The specified topic is blank.");
    assert_code(topic_name_check(slice_str("a b"), &e), E_INVAL, &e);
    assert_string_equal(e.text,
                        "The specified topic: a b, contains illegal characters, allowing only "
                        "^[%|a-zA-Z0-9_-]+$");
    assert_code(topic_name_check(name_of("", 128), &e), E_INVAL, &e);
    assert_contains(e.text, "is longer than topic max length: 127");
    assert_code(topic_name_check(name_of("%RETRY%", 256), &e), E_INVAL, &e);
    assert_contains(e.text, "longer than topic max length: 255");
}

static void nothing_that_could_leave_the_data_directory_is_a_topic(void **state)
{
    static const char *const tricks[] = {
        ".",    "..",   "a/b", "../../etc/passwd", "a\\b", "a.b", "~", "a:b", "a\nb", "\x80",
        "中文", "%00/", "a*"};
    (void)state;
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++)
        if (topic_name_check(slice_str(tricks[i]), NULL) != E_INVAL)
            fail_msg("\"%s\" was taken for a topic", tricks[i]);
    assert_int_equal(topic_name_check(slice_of("a\0b", 3), NULL), E_INVAL);
}

static void groups_have_the_same_letters_and_a_limit_of_120(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(group_name_check(slice_str("CID_g-1"), &e), &e);
    assert_ok(group_name_check(name_of("", 120), &e), &e);
    assert_code(group_name_check(name_of("", 121), &e), E_INVAL, &e);
    assert_contains(e.text, "is longer than group max length: 120");
    assert_code(group_name_check(slice_str("a@b"), &e), E_INVAL, &e);
    assert_contains(e.text, "The specified group: a@b, contains illegal characters");
    assert_code(group_name_check(SLICE_NULL, &e), E_INVAL, &e);
    assert_string_equal(e.text, "The specified group is blank.");
}

static void system_topics_are_known(void **state)
{
    static const char *const system[] = {"TBW102",
                                         "SCHEDULE_TOPIC_XXXX",
                                         "BenchmarkTest",
                                         "RMQ_SYS_TRANS_HALF_TOPIC",
                                         "RMQ_SYS_TRACE_TOPIC",
                                         "RMQ_SYS_TRANS_OP_HALF_TOPIC",
                                         "TRANS_CHECK_MAX_TIME_TOPIC",
                                         "SELF_TEST_TOPIC",
                                         "OFFSET_MOVED_EVENT",
                                         "CHECKPOINT_TOPIC",
                                         "rmq_sys_wheel_timer"};
    (void)state;
    for (size_t i = 0; i < sizeof system / sizeof *system; i++)
        assert_true(topic_is_system(slice_str(system[i])));
    assert_false(topic_is_system(slice_str("T")));
    assert_false(topic_is_system(slice_str("TBW1022")));
    assert_false(topic_is_system(slice_str("RMQ_SYS_other")));
}

static void clients_may_send_to_some_system_topics_only(void **state)
{
    static const char *const no[] = {"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC",
                                     "RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC",
                                     "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT"};
    static const char *const yes[] = {"T", "TBW102", "BenchmarkTest", "RMQ_SYS_TRACE_TOPIC",
                                      "CHECKPOINT_TOPIC"};
    (void)state;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_true(topic_send_forbidden(slice_str(no[i])));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_false(topic_send_forbidden(slice_str(yes[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legal_topics_pass),
        cmocka_unit_test(illegal_topics_are_refused_with_the_known_text),
        cmocka_unit_test(nothing_that_could_leave_the_data_directory_is_a_topic),
        cmocka_unit_test(groups_have_the_same_letters_and_a_limit_of_120),
        cmocka_unit_test(system_topics_are_known),
        cmocka_unit_test(clients_may_send_to_some_system_topics_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
