/* client/rebalance.c, route_cache.c and create_topic.c: members share, leave, and follow the
 * routes. */
#include "tests/unit/client/consumer_fixture.h"

static void two_members_share_and_the_last_one_takes_all(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct collector *a = new_collector(), *b = new_collector();
    fake_topic(f, "T", 4);
    hp_client *ca = new_client(f, "a"), *cb = new_client(f, "b");
    hp_consumer *ka = new_consumer(ca, a, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                                   "*");
    await_queues(ka, 4); /* the retry topic has no route here */
    hp_consumer *kb = new_consumer(cb, b, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                                   "*");
    await_queues(ka, 2);
    await_queues(kb, 2);
    for (int i = 0; i < 40; i++)
        fake_put(f, 0, "T", i % 4, "", "m");
    await_collected(a, NULL, 20);
    await_collected(b, NULL, 20);
    hp_consumer_stop(kb, DEADLINE_MS);
    await_queues(ka, 4);
    for (int i = 0; i < 40; i++)
        fake_put(f, 0, "T", i % 4, "", "m");
    await_collected(a, NULL, 60);
    for (int q = 0; q < 4; q++)
        await_offset(f, "T", q, 20);
    assert_int_equal(collected(a, NULL), 60); /* nothing twice: the leaver had committed */
    assert_int_equal(collected(b, NULL), 20);
    hp_consumer_free(kb);
    hp_consumer_free(ka);
    hp_client_free(cb);
    hp_client_free(ca);
    free_collector(a);
    free_collector(b);
    fake_stop(f);
}

static void a_member_that_dies_is_replaced(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct collector *a = new_collector(), *b = new_collector();
    fake_topic(f, "T", 4);
    hp_client *ca = new_client(f, "a"), *cb = new_client(f, "b");
    hp_consumer *ka = new_consumer(ca, a, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                                   "*");
    hp_consumer *kb = new_consumer(cb, b, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                                   "*");
    await_queues(ka, 2);
    await_queues(kb, 2);
    hp_consumer_free(kb);
    hp_client_free(cb);
    await_queues(ka, 4);
    hp_consumer_free(ka);
    hp_client_free(ca);
    free_collector(a);
    free_collector(b);
    fake_stop(f);
}

static void queues_of_a_new_topic_size_and_a_lost_broker_are_followed(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct collector *a = new_collector();
    fake_topic(f, "T", 3);
    hp_client *c = new_client(f, "a");
    hp_consumer *k = new_consumer(c, a, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                                  "*");
    await_queues(k, 6);
    fake_unroute(f, 1);
    await_queues(k, 3);
    hp_consumer_free(k);
    hp_client_free(c);
    free_collector(a);
    fake_stop(f);
}

static void queues_stay_when_the_broker_cannot_name_the_members(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct collector *a = new_collector();
    fake_topic(f, "T", 4);
    hp_client *c = new_client(f, "a");
    hp_consumer *k = new_consumer(
        c, a, (struct hp_consumer_options){.from = HP_FROM_FIRST, .rebalance_ms = 100}, "T", "*");
    await_queues(k, 4);
    fake_script(f, 0, RC_GET_CONSUMER_LIST_BY_GROUP, FAKE_ANSWER, RESP_SYSTEM_ERROR, 2);
    const int before = fake_seen(f, 0, RC_GET_CONSUMER_LIST_BY_GROUP);
    await_seen(f, 0, RC_GET_CONSUMER_LIST_BY_GROUP, before + 4);
    assert_true(holds_queues(&(struct holds){k, 4}));
    hp_consumer_free(k);
    hp_client_free(c);
    free_collector(a);
    fake_stop(f);
}

static void a_group_has_one_consumer_in_a_client(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    struct collector *a = new_collector();
    fake_topic(f, "T", 1);
    hp_client *c = new_client(f, "a");
    hp_consumer *k = new_consumer(c, a, (struct hp_consumer_options){0}, "T", "*"), *other = NULL;
    assert_int_equal(
        hp_consumer_new(c, &(struct hp_consumer_options){.group = "CG", .consume = collect}, &other,
                        &err),
        0);
    assert_int_equal(hp_consumer_subscribe(other, "T", "*", &err), 0);
    assert_int_equal(hp_consumer_start(other, &err), HP_E_STATE);
    hp_consumer_free(other);
    hp_consumer_free(k);
    hp_client_free(c);
    free_collector(a);
    fake_stop(f);
}

static void another_name_server_is_asked_when_one_does_not_answer(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    char addrs[128];
    hp_client *c = NULL;
    fake_topic(f, "T", 1);
    snprintf(addrs, sizeof addrs, "127.0.0.1:1;%s;127.0.0.1:2", fake_namesrv(f));
    for (int i = 0; i < 6; i++) { /* the first one is picked at random */
        assert_int_equal(
            hp_client_new(&(struct hp_client_options){.namesrv_addr = addrs, .log = quiet}, &c,
                          &err),
            0);
        hp_producer *p = new_producer(c, (struct hp_producer_options){0});
        assert_int_equal(send_text(p, "T", "x", NULL, &err), 0);
        hp_producer_free(p);
        hp_client_free(c);
    }
    fake_stop(f);
}

static void a_created_topic_is_routed_when_the_call_returns(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    struct hp_error err = {0};
    hp_client *c = new_client(f, "a");
    hp_producer *p = new_producer(c, (struct hp_producer_options){0});
    assert_int_equal(hp_create_topic(c, "C", "made", 3, 10000, &err), 0);
    assert_int_equal(fake_seen(f, FAKE_ALL, RC_UPDATE_AND_CREATE_TOPIC), 2);
    assert_field(f, 0, RC_UPDATE_AND_CREATE_TOPIC, 0, "readQueueNums", "3");
    assert_field(f, 0, RC_UPDATE_AND_CREATE_TOPIC, 0, "writeQueueNums", "3");
    assert_field(f, 0, RC_UPDATE_AND_CREATE_TOPIC, 0, "perm", "6");
    assert_int_equal(send_text(p, "made", "x", NULL, &err), 0);

    assert_int_equal(hp_create_topic(c, "nowhere", "made", 3, 10000, &err), HP_E_NO_ROUTE);
    assert_contains(err.text, "nowhere");
    assert_int_equal(hp_create_topic(c, "C", "a b", 3, 10000, &err), HP_E_INVALID);
    assert_int_equal(hp_create_topic(c, "C", "made", 0, 10000, &err), HP_E_INVALID);
    assert_int_equal(hp_create_topic(c, "C", "made", 65536, 10000, &err), HP_E_INVALID);
    assert_int_equal(hp_create_topic(c, "C", "made", 1, 0, &err), HP_E_INVALID);
    assert_int_equal(hp_create_topic(c, NULL, "made", 1, 1, &err), HP_E_INVALID);
    fake_script(f, 1, RC_UPDATE_AND_CREATE_TOPIC, FAKE_ANSWER, RESP_NO_PERMISSION, 1);
    assert_int_equal(hp_create_topic(c, "C", "other", 3, 10000, &err), HP_E_BROKER);
    assert_int_equal(err.broker_code, RESP_NO_PERMISSION);
    fake_script(f, 1, RC_UPDATE_AND_CREATE_TOPIC, FAKE_SILENT, 0, 1);
    assert_int_equal(hp_create_topic(c, "C", "other", 3, 200, &err), HP_E_TIMEOUT);
    hp_producer_free(p);
    hp_client_free(c);
    fake_stop(f);
}

static int routes_asked(struct fake *f)
{
    return fake_seen(f, FAKE_NAMESRV, RC_GET_ROUTEINFO_BY_TOPIC);
}

static void a_topic_is_made_only_when_every_master_is_routed(void **state)
{
    (void)state;
    for (int without = 0; without < 2; without++) {
        struct fake *f = fake_start(2);
        struct hp_error err = {0};
        hp_client *c = new_client(f, "a");
        fake_unroute(f, without);
        assert_int_equal(hp_create_topic(c, "C", "half", 3, 350, &err), HP_E_TIMEOUT);
        assert_true(routes_asked(f) > 1);
        hp_client_free(c);
        fake_stop(f);
    }
}

/* It lies on the stack of its caller. */
static void nothing_looks_at_a_creation_that_has_ended(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    int n;
    hp_client *c = new_client(f, "a");
    fake_unroute(f, 0);
    assert_int_equal(hp_create_topic(c, "C", "half", 3, 350, &err), HP_E_TIMEOUT); /* between two */
    const int asked = routes_asked(f);
    assert_int_equal(hp_topic_queues(c, "other", 1000, &n, &err), HP_E_NO_ROUTE);
    fake_script(f, FAKE_NAMESRV, RC_GET_ROUTEINFO_BY_TOPIC, FAKE_SILENT, 0, 1);
    assert_int_equal(hp_create_topic(c, "C", "silent", 3, 250, &err), HP_E_TIMEOUT); /* in one */
    assert_in_range(routes_asked(f), asked + 2, asked + 3); /* one may have been under way */
    /* This answers what still waits for a route. */
    hp_client_free(c);
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_members_share_and_the_last_one_takes_all),
        cmocka_unit_test(a_member_that_dies_is_replaced),
        cmocka_unit_test(queues_of_a_new_topic_size_and_a_lost_broker_are_followed),
        cmocka_unit_test(queues_stay_when_the_broker_cannot_name_the_members),
        cmocka_unit_test(a_group_has_one_consumer_in_a_client),
        cmocka_unit_test(another_name_server_is_asked_when_one_does_not_answer),
        cmocka_unit_test(a_created_topic_is_routed_when_the_call_returns),
        cmocka_unit_test(a_topic_is_made_only_when_every_master_is_routed),
        cmocka_unit_test(nothing_looks_at_a_creation_that_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
