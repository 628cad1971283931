#include "proto/body.h"

#include "proto/names.h"
#include "tests/unit/proto/vectors.h"

static json_t *parse(const char *text)
{
    json_t *j;
    struct err e = {0};
    assert_ok(json_parse(slice_str(text), &j, &e), &e);
    return j;
}

static void check_json(json_t *got, const json_t *want, const char *what)
{
    assert_non_null(got);
    if (!json_equal(got, want)) {
        char *const a = json_dumps(got, JSON_SORT_KEYS), *const b =
                                                             json_dumps(want, JSON_SORT_KEYS);
        fail_msg("%s: got %s, want %s", what, a, b);
    }
    json_decref(got);
}

static void data_versions_round_trip(void **state)
{
    const struct data_version v = {
        .state_version = 3, .timestamp = 1700000000000, .counter = INT64_MAX};
    (void)state;
    json_t *const j = data_version_to_json(v);
    assert_true(data_version_eq(data_version_from_json(j), v));
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(json_write(j, &b), 0);
    assert_slice_equal(
        buf_slice(&b),
        "{\"counter\":9223372036854775807,\"stateVersion\":3,\"timestamp\":1700000000000}");
    buf_free(&b);
    json_decref(j);
    json_t *const old = parse("{\"counter\":2,\"timestamp\":5}"); /* 4.9 */
    assert_true(data_version_eq(data_version_from_json(old), (struct data_version){0, 5, 2}));
    json_decref(old);
}

/* Each entry of a recorded file, decoded and written again; members 4.x lacks are added to the
 * original. */
static int check_topics(const char *name)
{
    const struct slice text = golden_slice(name);
    json_t *const root = parse(text.p), *const table = json_object_get(root, "topicConfigTable");
    const char *key;
    json_t *j;
    int n = 0;
    json_object_foreach(table, key, j) {
        struct topic_config t;
        struct err e = {0};
        assert_ok(topic_config_from_json(j, &t, &e), &e);
        assert_slice_equal(t.name, key);
        json_t *const got = topic_config_to_json(&t);
        if (!json_object_get(j, "attributes"))
            json_object_set_new(j, "attributes", json_object());
        check_json(got, j, key);
        n++;
    }
    json_decref(root);
    free_slice(text);
    return n;
}

static void recorded_topics_round_trip(void **state)
{
    (void)state;
    assert_true(check_topics("config/5.5.0/topics.json") > 20);
    assert_true(check_topics("config/4.9.7/topics.json") > 20);
    assert_true(check_topics("bodies/21-GET_ALL_TOPIC_CONFIG-response.5.5.0.json") > 10);
}

static void topic_defaults_are_those_of_upstream(void **state)
{
    struct topic_config t;
    struct err e = {0};
    (void)state;
    json_t *const j = parse("{\"topicName\":\"T\",\"attributes\":null}");
    assert_ok(topic_config_from_json(j, &t, &e), &e);
    assert_int_equal(t.read_queue_nums, 16);
    assert_int_equal(t.write_queue_nums, 16);
    assert_int_equal(t.perm, PERM_READ | PERM_WRITE);
    assert_int_equal(t.sys_flag, 0);
    assert_false(t.order);
    assert_slice_equal(t.filter_type, "SINGLE_TAG");
    assert_null(t.attributes);
    json_decref(j);
}

static void bad_topics_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{}", "\"topicName\" is missing"},
        {"{\"topicName\":\"\"}", "\"topicName\" is not a string with content"},
        {"{\"topicName\":7}", "\"topicName\" is not a string"},
        {"{\"topicName\":\"T\",\"perm\":\"x\"}", "\"perm\" is not an integer"},
        {"{\"topicName\":\"T\",\"readQueueNums\":4294967296}", "\"readQueueNums\" is outside"},
        {"{\"topicName\":\"T\",\"writeQueueNums\":1.5}", "\"writeQueueNums\" is not an integer"},
        {"{\"topicName\":\"T\",\"attributes\":[]}", "\"attributes\" is not an object"},
        {"{\"topicName\":\"T\",\"topicFilterType\":\"X\"}", "\"topicFilterType\""},
        {"[]", "\"topicName\" is missing"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct topic_config t;
        struct err e = {0};
        json_t *const j = parse(cases[i].text);
        assert_code(topic_config_from_json(j, &t, &e), E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
        json_decref(j);
    }
}

static int check_groups(const char *name)
{
    const struct slice text = golden_slice(name);
    json_t *const root = parse(text.p), *const table =
                                            json_object_get(root, "subscriptionGroupTable");
    const char *key;
    json_t *j;
    int n = 0;
    json_object_foreach(table, key, j) {
        struct group_config g;
        struct err e = {0};
        assert_ok(group_config_from_json(j, &g, &e), &e);
        assert_slice_equal(g.name, key);
        json_t *const got = group_config_to_json(&g);
        json_t *const defaults = parse("{\"attributes\":{},\"consumeMessageOrderly\":false,"
                                       "\"consumeTimeoutMinute\":15,\"groupSysFlag\":0,"
                                       "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"}}");
        json_object_update_missing(j, defaults); /* what 4.x does not write */
        json_decref(defaults);
        check_json(got, j, key);
        n++;
    }
    json_decref(root);
    free_slice(text);
    return n;
}

static void recorded_groups_round_trip(void **state)
{
    (void)state;
    assert_true(check_groups("config/5.5.0/subscriptionGroup.json") > 5);
    assert_true(check_groups("config/4.9.7/subscriptionGroup.json") > 5);
    const struct slice text =
        golden_slice("bodies/200-UPDATE_AND_CREATE_SUBSCRIPTIONGROUP-request.5.5.0.json");
    json_t *const j = parse(text.p);
    struct group_config g;
    struct err e = {0};
    assert_ok(group_config_from_json(j, &g, &e), &e);
    assert_int_equal(g.retry_max_times, 3);
    assert_int_equal(g.retry_queue_nums, 2);
    assert_false(g.consume_from_min_enable);
    check_json(group_config_to_json(&g), j, "200");
    json_decref(j);
    free_slice(text);
}

static void unknown_group_members_are_kept(void **state)
{
    struct group_config g;
    struct err e = {0};
    (void)state;
    json_t *const j =
        parse("{\"groupName\":\"g\",\"future\":{\"x\":[1]},\"groupRetryPolicy\":{\"type\":\"X\"}}");
    assert_ok(group_config_from_json(j, &g, &e), &e);
    g.retry_max_times = 5;
    json_t *const out = group_config_to_json(&g);
    assert_true(json_equal(json_object_get(out, "future"), json_object_get(j, "future")));
    assert_true(json_equal(json_object_get(out, "groupRetryPolicy"),
                           json_object_get(j, "groupRetryPolicy")));
    assert_int_equal(json_get_i64(out, "retryMaxTimes", 0), 5);
    assert_null(json_object_get(j, "retryMaxTimes")); /* the original is not touched */
    json_decref(out);
    json_decref(j);
}

static void group_defaults_are_those_of_upstream(void **state)
{
    struct group_config g;
    (void)state;
    group_config_defaults(&g, SLICE_LIT("fr_GID_new"));
    json_t *const want =
        parse("{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,"
              "\"consumeEnable\":true,\"consumeFromMinEnable\":true,"
              "\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,"
              "\"groupName\":\"fr_GID_new\",\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},"
              "\"groupSysFlag\":0,\"notifyConsumerIdsChangedEnable\":true,"
              "\"retryMaxTimes\":16,\"retryQueueNums\":1,\"whichBrokerWhenConsumeSlowly\":1}");
    check_json(group_config_to_json(&g), want, "defaults");
    json_decref(want);
}

static void bad_groups_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{}", "\"groupName\" is missing"},
        {"{\"groupName\":\"g\",\"retryMaxTimes\":[]}", "\"retryMaxTimes\" is not an integer"},
        {"{\"groupName\":\"g\",\"retryQueueNums\":\"99999999999\"}",
         "\"retryQueueNums\" is outside"},
        {"{\"groupName\":\"g\",\"consumeTimeoutMinute\":true}", "\"consumeTimeoutMinute\""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct group_config g;
        struct err e = {0};
        json_t *const j = parse(cases[i].text);
        assert_code(group_config_from_json(j, &g, &e), E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
        json_decref(j);
    }
}

static void names_that_are_no_text_give_no_json(void **state)
{
    const struct topic_config t = {.name = SLICE_LIT("a\xff")};
    struct group_config g;
    (void)state;
    assert_null(topic_config_to_json(&t));
    group_config_defaults(&g, SLICE_LIT("a\xff"));
    assert_null(group_config_to_json(&g));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_versions_round_trip),
        cmocka_unit_test(recorded_topics_round_trip),
        cmocka_unit_test(topic_defaults_are_those_of_upstream),
        cmocka_unit_test(bad_topics_are_named),
        cmocka_unit_test(recorded_groups_round_trip),
        cmocka_unit_test(unknown_group_members_are_kept),
        cmocka_unit_test(group_defaults_are_those_of_upstream),
        cmocka_unit_test(bad_groups_are_named),
        cmocka_unit_test(names_that_are_no_text_give_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
