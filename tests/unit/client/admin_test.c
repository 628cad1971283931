/* What an operator asks: topics, groups, members, settings; against scripted brokers. */
#include "tests/unit/client/consumer_fixture.h"

enum { TIMEOUT_MS = 10000 };

static void a_topic_has_the_queues_of_all_brokers(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    int n = -1;
    hp_client *c = new_client(f, "a");
    fake_topic(f, "T", 3);
    assert_int_equal(hp_topic_queues(c, "T", TIMEOUT_MS, &n, &err), 0);
    assert_int_equal(n, 6);
    assert_int_equal(hp_topic_queues(c, "nowhere", TIMEOUT_MS, &n, &err), HP_E_NO_ROUTE);
    assert_contains(err.text, "nowhere");
    assert_int_equal(hp_topic_queues(c, "a b", TIMEOUT_MS, &n, &err), HP_E_INVALID);
    assert_int_equal(hp_topic_queues(c, "T", 0, &n, &err), HP_E_INVALID);
    fake_script(f, FAKE_NAMESRV, RC_GET_ROUTEINFO_BY_TOPIC, FAKE_SILENT, 0, 100);
    assert_int_equal(hp_topic_queues(c, "U", 200, &n, &err), HP_E_TIMEOUT);
    assert_int_equal(n, 6); /* untouched by failures */
    hp_client_free(c);
    fake_stop(f);
}

static void a_group_is_made_where_it_is_missing_and_only_there(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    int n = -1;
    hp_client *c = new_client(f, "a");
    fake_script(f, 1, RC_GET_SUBSCRIPTIONGROUP_CONFIG, FAKE_ANSWER, RESP_SUCCESS, 1);
    assert_int_equal(hp_create_group(c, "C", "G", TIMEOUT_MS, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(fake_seen(f, 0, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP), 1);
    assert_int_equal(fake_seen(f, 1, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP), 0);
    assert_field(f, 0, RC_GET_SUBSCRIPTIONGROUP_CONFIG, 0, "group", "G");
    size_t len;
    char *body = fake_body(f, 0, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, 0, &len);
    assert_non_null(body);
    assert_contains(body, "\"groupName\":\"G\"");
    free(body);

    /* A broker that cannot be asked is sent the group. */
    fake_script(f, 1, RC_GET_SUBSCRIPTIONGROUP_CONFIG, FAKE_ANSWER, RESP_REQUEST_CODE_NOT_SUPPORTED,
                1);
    assert_int_equal(hp_create_group(c, "C", "H", TIMEOUT_MS, &n, &err), 0);
    assert_int_equal(n, 2);
    hp_client_free(c);
    fake_stop(f);
}

static void a_group_that_is_refused_says_by_whom(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    int n = 7;
    hp_client *c = new_client(f, "a");
    fake_script(f, 0, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    assert_int_equal(hp_create_group(c, "C", "G", TIMEOUT_MS, &n, &err), HP_E_BROKER);
    assert_int_equal(err.broker_code, RESP_SYSTEM_ERROR);
    fake_script(f, 0, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, FAKE_SILENT, 0, 1);
    assert_int_equal(hp_create_group(c, "C", "G", 200, &n, &err), HP_E_TIMEOUT);
    /* The last one: what the other broker is still sent could meet a script of the next call. */
    fake_script(f, 1, RC_GET_SUBSCRIPTIONGROUP_CONFIG, FAKE_ANSWER, RESP_NO_PERMISSION, 1);
    assert_int_equal(hp_create_group(c, "C", "G", TIMEOUT_MS, &n, &err), HP_E_BROKER);
    assert_int_equal(err.broker_code, RESP_NO_PERMISSION);
    assert_int_equal(n, 7);
    assert_int_equal(hp_create_group(c, "C", "", TIMEOUT_MS, &n, &err), HP_E_INVALID);
    assert_int_equal(hp_create_group(c, "", "G", TIMEOUT_MS, &n, &err), HP_E_INVALID);
    assert_int_equal(hp_create_group(c, "C", "G", 0, &n, &err), HP_E_INVALID);
    assert_int_equal(hp_create_group(c, "nowhere", "G", TIMEOUT_MS, &n, &err), HP_E_NO_ROUTE);
    assert_contains(err.text, "known: C");
    hp_client_free(c);
    fake_stop(f);
}

static void members_are_counted_where_most_are(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    int n = -1;
    fake_topic(f, "T", 2);
    hp_client *c = new_client(f, "a"), *other = new_client(f, "b");
    assert_int_equal(hp_group_members(c, "C", "CG", TIMEOUT_MS, &n, &err), 0);
    assert_int_equal(n, 0);
    struct collector *got = new_collector();
    hp_consumer *k = new_consumer(other, got, (struct hp_consumer_options){0}, "T", "*");
    await_queues(k, 4); /* both brokers know it */
    assert_int_equal(hp_group_members(c, "C", "CG", TIMEOUT_MS, &n, &err), 0);
    assert_int_equal(n, 1);
    hp_consumer_free(k);
    free_collector(got);
    hp_client_free(other);
    hp_client_free(c);
    fake_stop(f);
}

static void a_setting_has_a_value_when_all_masters_agree(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    char value[32] = "";
    hp_client *c = new_client(f, "a");
    assert_int_equal(
        hp_cluster_setting(c, "C", "messageDelayLevel", TIMEOUT_MS, value, sizeof value, &err), 0);
    assert_string_equal(value, "1s 5s=odd");
    assert_int_equal(hp_cluster_setting(c, "C", "empty", TIMEOUT_MS, value, sizeof value, &err), 0);
    assert_string_equal(value, "");
    assert_int_equal(
        hp_cluster_setting(c, "C", "brokerName", TIMEOUT_MS, value, sizeof value, &err),
        HP_E_STATE);
    assert_contains(err.text, "but");
    assert_int_equal(hp_cluster_setting(c, "C", "Delay", TIMEOUT_MS, value, sizeof value, &err),
                     HP_E_STATE);
    assert_contains(err.text, "does not have it");
    assert_int_equal(hp_cluster_setting(c, "C", "messageDelayLevel", TIMEOUT_MS, value, 5, &err),
                     HP_E_TOO_BIG);
    assert_int_equal(hp_cluster_setting(c, "C", "", TIMEOUT_MS, value, sizeof value, &err),
                     HP_E_INVALID);
    fake_script(f, 0, RC_GET_BROKER_CONFIG, FAKE_ANSWER, RESP_REQUEST_CODE_NOT_SUPPORTED, 1);
    assert_int_equal(
        hp_cluster_setting(c, "C", "messageDelayLevel", TIMEOUT_MS, value, sizeof value, &err),
        HP_E_BROKER);
    fake_kill(f, 1);
    assert_int_not_equal(
        hp_cluster_setting(c, "C", "messageDelayLevel", 2000, value, sizeof value, &err), 0);
    hp_client_free(c);
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_has_the_queues_of_all_brokers),
        cmocka_unit_test(a_group_is_made_where_it_is_missing_and_only_there),
        cmocka_unit_test(a_group_that_is_refused_says_by_whom),
        cmocka_unit_test(members_are_counted_where_most_are),
        cmocka_unit_test(a_setting_has_a_value_when_all_masters_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
