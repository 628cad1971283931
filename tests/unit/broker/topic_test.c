/* Unit tests of broker/topic.c. */
#include "broker/topic.h"

#include <stdio.h>

#include "tests/support/golden.h"
#include "tests/support/test.h"

#include <stdlib.h>

static struct topics *table_with_template(void)
{
    struct err e;
    struct topics *t = topics_new(100);
    struct topic_spec s = topic_spec_plain(SLICE_LIT(TOPIC_AUTO_CREATE), 8, false);
    s.info.perm = 7;
    assert_ok(topics_put(t, &s, &clock_system, NULL, &e), &e);
    return t;
}

static void a_new_topic_inherits_queues_up_to_the_template_and_loses_inherit(void **state)
{
    (void)state;
    static const struct { int32_t asked, got; } cases[] = {{4, 4}, {8, 8}, {9, 8}, {1, 1}, {0, 8}, {-5, 8}};
    struct topics *t = table_with_template();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct topic_spec s;
        struct err e;
        assert_ok(topics_template(t, SLICE_LIT("new"), SLICE_LIT(TOPIC_AUTO_CREATE), cases[i].asked,
                                  false, &s, &e),
                  &e);
        assert_int_equal(s.info.write_queue_nums, cases[i].got);
        assert_int_equal(s.info.read_queue_nums, cases[i].got);
        assert_int_equal(s.info.perm, 6);
    }
    topics_free(t);
}

static void nothing_inherits_from_a_missing_or_an_ordinary_topic(void **state)
{
    (void)state;
    struct topic_spec s;
    struct err e;
    struct topics *t = table_with_template();
    assert_code(topics_template(t, SLICE_LIT("new"), SLICE_LIT("none"), 4, false, &s, &e),
                E_NOTFOUND, &e);
    const struct topic_spec plain = topic_spec_plain(SLICE_LIT("plain"), 4, false);
    assert_ok(topics_put(t, &plain, &clock_system, NULL, &e), &e);
    assert_code(topics_template(t, SLICE_LIT("new"), SLICE_LIT("plain"), 4, false, &s, &e),
                E_NOTFOUND, &e);
    topics_free(t);
}

static void names_that_leave_the_data_directory_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"../up", "a/b", "", " ", "a.b", "a\\b", ".."};
    struct topics *t = topics_new(100);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err e;
        const struct topic_spec s = topic_spec_plain(slice_str(names[i]), 1, false);
        assert_code(topics_put(t, &s, &clock_system, NULL, &e), E_INVAL, &e);
    }
    assert_int_equal(topics_count(t), 0);
    topics_free(t);
}

static void queue_numbers_and_perm_are_checked_at_their_limits(void **state)
{
    (void)state;
    static const struct { int32_t queues, perm; int rc;
    } cases[] = {{0, 6, 0},        {65535, 15, 0},   {65536, 6, E_INVAL},
                 {-1, 6, E_INVAL}, {1, 16, E_INVAL}, {1, -1, E_INVAL}};
    struct topics *t = topics_new(100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        struct topic_spec s = topic_spec_plain(SLICE_LIT("t"), cases[i].queues, false);
        s.info.perm = cases[i].perm;
        assert_code(topics_put(t, &s, &clock_system, NULL, &e), cases[i].rc, &e);
    }
    topics_free(t);
}

static void the_version_moves_only_when_something_changed(void **state)
{
    (void)state;
    struct err e;
    bool changed;
    struct topics *t = topics_new(100);
    struct topic_spec s = topic_spec_plain(SLICE_LIT("t"), 4, false);
    assert_ok(topics_put(t, &s, &clock_system, &changed, &e), &e);
    const struct data_version first = topics_version(t);
    assert_true(changed);
    assert_ok(topics_put(t, &s, &clock_system, &changed, &e), &e);
    assert_false(changed);
    assert_int_equal(topics_version(t).counter, first.counter);
    s.info.write_queue_nums = 5;
    assert_ok(topics_put(t, &s, &clock_system, &changed, &e), &e);
    assert_true(changed);
    assert_int_equal(topics_version(t).counter, first.counter + 1);
    topics_free(t);
}

static void the_limit_of_topics_holds_but_existing_ones_can_change(void **state)
{
    (void)state;
    struct err e;
    struct topics *t = topics_new(1);
    struct topic_spec a = topic_spec_plain(SLICE_LIT("a"), 1, false);
    const struct topic_spec b = topic_spec_plain(SLICE_LIT("b"), 1, false);
    assert_ok(topics_put(t, &a, &clock_system, NULL, &e), &e);
    assert_code(topics_put(t, &b, &clock_system, NULL, &e), E_BUSY, &e);
    a.info.write_queue_nums = 2;
    assert_ok(topics_put(t, &a, &clock_system, NULL, &e), &e);
    topics_free(t);
}

static void upstreams_files_come_back_as_they_were(void **state)
{
    (void)state;
    static const char *const files[] = {"config/5.5.0/topics.json", "config/4.9.7/topics.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *text;
        size_t n;
        json_t *j, *back;
        struct err e;
        assert_ok(golden_file(files[i], &text, &n, &e), &e);
        assert_ok(json_parse(slice_of(text, n), &j, &e), &e);
        struct topics *t = topics_new(1000);
        assert_ok(topics_from_json(t, j, &e), &e);
        assert_int_equal(topics_count(t), json_object_size(json_object_get(j, "topicConfigTable")));
        assert_ok(topics_to_json(t, &back), NULL);
        struct topic_info info;
        assert_true(topics_get(t, SLICE_LIT("BenchmarkTest"), &info));
        assert_int_equal(info.read_queue_nums, 1024);
        if (i == 0 && !json_equal(json_object_get(j, "topicConfigTable"),
                                  json_object_get(back, "topicConfigTable")))
            fail_msg("%s changed on its way through", files[i]);
        json_decref(j);
        json_decref(back);
        topics_free(t);
        free(text);
    }
}

/* Two entries of one name would also lose one of them, and its memory. */
static void an_entry_under_another_name_is_damage(void **state)
{
    (void)state;
    json_t *j;
    struct err e;
    assert_ok(json_parse(SLICE_LIT("{\"topicConfigTable\":{"
                                   "\"t1\":{\"topicName\":\"t1\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6},"
                                   "\"t3\":{\"topicName\":\"t1\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6}}}"),
                         &j, &e), &e);
    struct topics *t = topics_new(10);
    assert_code(topics_from_json(t, j, &e), E_CORRUPT, &e);
    assert_contains(e.text, "topic t3");
    json_decref(j);
    topics_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_under_another_name_is_damage),
        cmocka_unit_test(a_new_topic_inherits_queues_up_to_the_template_and_loses_inherit),
        cmocka_unit_test(nothing_inherits_from_a_missing_or_an_ordinary_topic),
        cmocka_unit_test(names_that_leave_the_data_directory_are_refused),
        cmocka_unit_test(queue_numbers_and_perm_are_checked_at_their_limits),
        cmocka_unit_test(the_version_moves_only_when_something_changed),
        cmocka_unit_test(the_limit_of_topics_holds_but_existing_ones_can_change),
        cmocka_unit_test(upstreams_files_come_back_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
