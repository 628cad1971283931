#include "tests/support/test.h"

#include <stdlib.h>

#include "namesrv/table.h"
#include "proto/names.h"

static struct route_table *t;

static int setup(void **state)
{
    (void)state;
    t = route_table_new(false);
    return t == NULL;
}

static int teardown(void **state)
{
    (void)state;
    route_table_free(t);
    return 0;
}

/* --- small verbs --- */

static const struct topic_config two_topics[] = {
    {.name = {"T", 1}, .read_queue_nums = 4, .write_queue_nums = 4, .perm = 6},
    {.name = {"U", 1}, .read_queue_nums = 8, .write_queue_nums = 8, .perm = 6},
};

/* broker-a of cluster C at 10.0.0.1:1 with id 0, two topics, on connection 1; tests change what matters. */
static struct registration usual(void)
{
    return (struct registration){
        .broker = {SLICE_LIT("C"), SLICE_LIT("broker-a"), SLICE_LIT("10.0.0.1:1"), 0, 1},
        .ha_addr = SLICE_LIT("10.0.0.1:2"),
        .timeout_ms = 120000,
        .new_style = true,
        .version = {0, 1000, 1},
        .topics = two_topics,
        .topic_n = 2,
    };
}

static struct registered enrol(const struct registration *r, int64_t now_ms)
{
    struct registered out;
    struct err e = {0};
    assert_ok(route_table_register(t, r, now_ms, &out, &e), &e);
    return out;
}

static void enrol_usual(void)
{
    struct registration r = usual();
    enrol(&r, 0);
}

/* "broker-a{0=10.0.0.1:1} 4/4/6 broker-b{...}": a route as text; "none" when there is none. */
static const char *route(const char *topic, const char *zone)
{
    static char text[1024];
    struct route_data d;
    int rc = route_table_query(t, slice_str(topic), slice_str(zone), &d);
    if (rc == E_NOTFOUND)
        return "none";
    assert_int_equal(rc, 0);
    assert_int_equal(d.queue_n, d.broker_n);
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < d.broker_n; i++) {
        const struct broker_data *b = &d.brokers[i];
        const struct queue_data *q = &d.queues[i];
        assert_true(slice_eq(b->broker_name, q->broker_name));
        n += (size_t)snprintf(text + n, sizeof text - n, "%s" SLICE_FMT "{", i ? " " : "", SLICE_ARG(b->broker_name));
        for (size_t k = 0; k < b->addr_n; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld=" SLICE_FMT, k ? "," : "",
                                  (long long)b->addrs[k].id, SLICE_ARG(b->addrs[k].addr));
        n += (size_t)snprintf(text + n, sizeof text - n, "} %d/%d/%d", q->read_queue_nums, q->write_queue_nums, q->perm);
    }
    route_data_free(&d);
    return text;
}

static void gone(void *arg, const struct broker_ref *b)
{
    assert_true(b->name.n > 0);
    ++*(int *)arg;
}

static int close_conn(uint64_t conn_id)
{
    int n = 0;
    route_table_conn_closed(t, conn_id, gone, &n);
    return n;
}

static int expire(int64_t now_ms)
{
    int n = 0;
    route_table_expire(t, now_ms, gone, &n);
    return n;
}

/* --- registration --- */

static void a_registered_broker_gives_routes(void **state)
{
    (void)state;
    assert_string_equal(route("T", NULL), "none");
    struct registration r = usual();
    assert_true(enrol(&r, 0).first);
    assert_false(enrol(&r, 0).first);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
    assert_string_equal(route("U", NULL), "broker-a{0=10.0.0.1:1} 8/8/6");
    assert_string_equal(route("V", NULL), "none");
}

static void brokers_of_a_topic_are_sorted_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "c", "a"};
    static const char *const addrs[] = {"h:1", "h:2", "h:3"};
    for (int i = 0; i < 3; i++) {
        struct registration r = usual();
        r.broker.name = slice_str(names[i]);
        r.broker.addr = slice_str(addrs[i]);
        enrol(&r, 0);
    }
    assert_string_equal(route("T", NULL), "a{0=h:3} 4/4/6 b{0=h:1} 4/4/6 c{0=h:2} 4/4/6");
    struct slice *topics;
    size_t n;
    assert_int_equal(route_table_topics(t, &topics, &n), 0);
    assert_int_equal(n, 2);
    assert_slice_equal(topics[0], "T");
    assert_slice_equal(topics[1], "U");
    free(topics);
    struct route_data d;
    assert_int_equal(route_table_brokers(t, &d), 0);
    assert_int_equal(d.broker_n, 3);
    assert_slice_equal(d.brokers[0].broker_name, "a");
    route_data_free(&d);
}

static void an_unknown_broker_with_one_topic_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    struct registration r = usual();
    r.topic_n = 1;
    struct registered out;
    struct err e = {0};
    assert_code(route_table_register(t, &r, 0, &out, &e), E_DENIED, &e);
    assert_string_equal(e.text, "register broker failed");
    struct route_data d;
    assert_int_equal(route_table_brokers(t, &d), 0);
    assert_int_equal(d.broker_n, 0);
    route_data_free(&d);
    r.topic_n = 0; /* none at all is a broker without topics */
    enrol(&r, 0);
}

static void one_topic_of_a_known_broker_is_an_increment(void **state)
{
    (void)state;
    enrol_usual();
    static const struct topic_config more = {
        .name = {"V", 1}, .read_queue_nums = 1, .write_queue_nums = 2, .perm = 4};
    struct registration r = usual();
    r.topics = &more;
    r.topic_n = 1;
    r.version.counter++;
    enrol(&r, 0);
    assert_string_equal(route("V", NULL), "broker-a{0=10.0.0.1:1} 1/2/4");
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
}

static void topics_change_only_with_the_data_version(void **state)
{
    (void)state;
    enrol_usual();
    struct topic_config changed[2] = {two_topics[0], two_topics[1]};
    changed[0].perm = PERM_READ;
    struct registration r = usual();
    r.topics = changed;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
    r.version.counter++;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/4");
}

static void topics_no_longer_named_stay_unless_configured_otherwise(void **state)
{
    (void)state;
    for (int delete = 0; delete < 2; delete++) {
        route_table_free(t);
        t = route_table_new(delete);
        static const struct topic_config three[] = {
            {.name = {"T", 1}, .perm = 6}, {.name = {"V", 1}, .perm = 6}, {.name = {"W", 1}, .perm = 6}};
        enrol_usual();
        struct registration r = usual();
        r.topics = three;
        r.topic_n = 3;
        r.version.counter++;
        enrol(&r, 0);
        assert_string_equal(route("U", NULL), delete ? "none" : "broker-a{0=10.0.0.1:1} 8/8/6");
        assert_string_equal(route("V", NULL), "broker-a{0=10.0.0.1:1} 0/0/6");
        r.topic_n = 1; /* an increment deletes nothing */
        r.version.counter++;
        enrol(&r, 0);
        assert_string_equal(route("W", NULL), "broker-a{0=10.0.0.1:1} 0/0/6");
    }
}

static struct registration slave(int64_t id)
{
    struct registration r = usual();
    r.broker.id = id;
    r.broker.addr = SLICE_LIT("10.0.0.9:1");
    r.broker.conn_id = 9;
    return r;
}

static void a_slave_is_told_its_master_and_brings_no_topics(void **state)
{
    (void)state;
    enrol_usual();
    static const struct topic_config other[] = {{.name = {"X", 1}, .perm = 6}, {.name = {"Y", 1}, .perm = 6}};
    struct registration r = slave(1);
    r.topics = other;
    struct registered out = enrol(&r, 0);
    assert_slice_equal(out.master_addr, "10.0.0.1:1");
    assert_slice_equal(out.master_ha_addr, "10.0.0.1:2");
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1,1=10.0.0.9:1} 4/4/6");
    assert_string_equal(route("X", NULL), "none");
    struct registration master = usual();
    assert_null(enrol(&master, 0).master_addr.p); /* a master is told nothing */
}

static void without_a_master_the_lowest_new_style_slave_brings_topics(void **state)
{
    (void)state;
    struct registration r = slave(2);
    r.new_style = false;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "none");
    r.new_style = true;
    r.version.counter++;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{2=10.0.0.9:1} 4/4/6");
    r.enable_acting_master = true; /* it may be read from, never written to */
    r.version.counter++;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{2=10.0.0.9:1} 4/4/4");
}

static void an_address_that_takes_another_id_leaves_the_old_one(void **state)
{
    (void)state;
    enrol_usual();
    struct registration r = usual();
    r.broker.id = 3;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{3=10.0.0.1:1} 4/4/6");
}

static void an_address_that_takes_another_name_leaves_the_old_one(void **state)
{
    (void)state;
    enrol_usual();
    struct registration r = usual();
    r.broker.name = SLICE_LIT("broker-b");
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-b{0=10.0.0.1:1} 4/4/6");
}

static void a_broker_that_moved_is_found_at_its_new_address_only(void **state)
{
    (void)state;
    enrol_usual();
    struct registration r = usual();
    r.broker.addr = SLICE_LIT("10.0.0.7:1");
    r.broker.conn_id = 2;
    enrol(&r, 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.7:1} 4/4/6");
    assert_int_equal(close_conn(1), 0); /* the old address is nobody's any more */
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.7:1} 4/4/6");
    struct broker_ref old = usual().broker;
    assert_int_equal(route_table_unregister(t, &old), E_NOTFOUND);
}

static void a_lower_state_version_from_another_address_is_ignored(void **state)
{
    (void)state;
    struct registration r = usual();
    r.version.state_version = 5;
    enrol(&r, 0);
    struct registration old = usual();
    old.broker.addr = SLICE_LIT("10.0.0.7:1");
    old.broker.conn_id = 2;
    old.version.state_version = 4;
    enrol(&old, 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
}

static void names_that_are_no_text_are_refused(void **state)
{
    (void)state;
    struct registered out;
    struct err e = {0};
    struct registration r = usual();
    r.broker.name = SLICE_NULL;
    assert_code(route_table_register(t, &r, 0, &out, &e), E_INVAL, &e);
    r = usual();
    r.broker.name = SLICE_LIT("a\0b");
    assert_code(route_table_register(t, &r, 0, &out, &e), E_INVAL, &e);
    r = usual();
    r.broker.addr = SLICE_LIT("\0");
    assert_code(route_table_register(t, &r, 0, &out, &e), E_INVAL, &e);
    r = usual();
    r.broker.cluster = SLICE_NULL;
    assert_code(route_table_register(t, &r, 0, &out, &e), E_INVAL, &e);
}

static void a_zone_keeps_its_own_brokers_and_sets_without_a_master(void **state)
{
    (void)state;
    struct registration r = usual();
    r.zone = SLICE_LIT("east");
    enrol(&r, 0);
    r.broker = (struct broker_ref){SLICE_LIT("C"), SLICE_LIT("broker-b"), SLICE_LIT("h:2"), 0, 2};
    r.zone = SLICE_LIT("west");
    enrol(&r, 0);
    r.broker = (struct broker_ref){SLICE_LIT("C"), SLICE_LIT("broker-c"), SLICE_LIT("h:3"), 1, 3};
    enrol(&r, 0);
    assert_string_equal(route("T", "EAST"), "broker-a{0=10.0.0.1:1} 4/4/6 broker-c{1=h:3} 4/4/6");
    assert_string_equal(route("T", "north"), "broker-c{1=h:3} 4/4/6");
}

/* --- leaving --- */

static void an_unregistered_broker_takes_its_routes_along(void **state)
{
    (void)state;
    enrol_usual();
    struct broker_ref b = usual().broker;
    assert_int_equal(route_table_unregister(t, &b), 0);
    assert_string_equal(route("T", NULL), "none");
    assert_int_equal(route_table_unregister(t, &b), E_NOTFOUND);
    struct slice *topics;
    size_t n;
    assert_int_equal(route_table_topics(t, &topics, &n), 0);
    assert_int_equal(n, 0);
    free(topics);
}

static void an_unregister_that_names_somebody_else_is_ignored(void **state)
{
    (void)state;
    enrol_usual();
    struct broker_ref b = usual().broker;
    b.id = 1;
    assert_int_equal(route_table_unregister(t, &b), E_NOTFOUND);
    b = usual().broker;
    b.name = SLICE_LIT("broker-b");
    assert_int_equal(route_table_unregister(t, &b), E_NOTFOUND);
    b = usual().broker;
    b.cluster = SLICE_LIT("D");
    assert_int_equal(route_table_unregister(t, &b), E_NOTFOUND);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
}

/* Known failure 21: the predecessor's farewell wipes the successor. */
static void a_late_unregister_of_a_predecessor_does_not_touch_the_successor(void **state)
{
    (void)state;
    enrol_usual();
    struct registration successor = usual();
    successor.broker.conn_id = 2;
    enrol(&successor, 10);
    struct broker_ref late = usual().broker;
    assert_int_equal(route_table_unregister(t, &late), E_DENIED);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
    assert_int_equal(route_table_unregister(t, &successor.broker), 0);
    assert_string_equal(route("T", NULL), "none");
}

static void the_end_of_an_old_connection_does_not_touch_what_was_renewed_on_a_new_one(void **state)
{
    (void)state;
    enrol_usual();
    struct registration renewed = usual();
    renewed.broker.conn_id = 5;
    enrol(&renewed, 10);
    assert_int_equal(close_conn(1), 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
    assert_int_equal(close_conn(5), 1);
    assert_string_equal(route("T", NULL), "none");
}

static void a_heartbeat_on_a_new_connection_renews_too(void **state)
{
    (void)state;
    enrol_usual();
    struct broker_ref b = usual().broker;
    b.conn_id = 4;
    assert_true(route_table_touch(t, &b, 0, 10));
    assert_int_equal(close_conn(1), 0);
    assert_int_equal(close_conn(4), 1);
    assert_false(route_table_touch(t, &b, 0, 20));
}

static void a_late_older_registration_of_a_predecessor_changes_nothing(void **state)
{
    (void)state;
    struct registration successor = usual();
    successor.broker.conn_id = 2;
    successor.version.counter = 7;
    enrol(&successor, 0);
    struct topic_config changed[2] = {two_topics[0], two_topics[1]};
    changed[0].perm = 0;
    struct registration late = usual();
    late.topics = changed;
    enrol(&late, 0);
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
    struct data_version v;
    assert_true(route_table_version(t, &late.broker, &v));
    assert_int_equal(v.counter, 7);
}

static void a_lost_connection_takes_all_brokers_that_spoke_on_it(void **state)
{
    (void)state;
    enrol_usual();
    struct registration r = usual();
    r.broker.name = SLICE_LIT("broker-b");
    r.broker.addr = SLICE_LIT("h:2");
    enrol(&r, 0);
    r = slave(1);
    enrol(&r, 0);
    assert_int_equal(close_conn(1), 2);
    assert_string_equal(route("T", NULL), "broker-a{1=10.0.0.9:1} 4/4/6");
    assert_int_equal(close_conn(77), 0);
}

static void a_silent_broker_expires_after_its_own_timeout(void **state)
{
    (void)state;
    struct registration r = usual();
    r.timeout_ms = 1000;
    enrol(&r, 100);
    assert_int_equal(expire(1100), 0);
    assert_true(route_table_touch(t, &r.broker, 0, 600));
    assert_int_equal(expire(1101), 0);
    assert_int_equal(expire(1600), 0);
    assert_int_equal(expire(1601), 1);
    assert_string_equal(route("T", NULL), "none");
}

static void a_registration_is_a_sign_of_life_even_without_changes(void **state)
{
    (void)state;
    struct registration r = usual();
    r.timeout_ms = 1000;
    for (int64_t now = 0; now < 10000; now += 900) {
        enrol(&r, now);
        assert_int_equal(expire(now), 0);
    }
    assert_string_equal(route("T", NULL), "broker-a{0=10.0.0.1:1} 4/4/6");
}

static void the_registered_version_can_be_asked(void **state)
{
    (void)state;
    struct data_version v = {0};
    struct broker_ref b = usual().broker;
    assert_false(route_table_version(t, &b, &v));
    enrol_usual();
    assert_true(route_table_version(t, &b, &v));
    assert_true(data_version_eq(v, usual().version));
}

static void brokers_beyond_the_bound_are_refused(void **state)
{
    (void)state;
    char addr[32];
    struct registration r = usual();
    struct registered out;
    struct err e = {0};
    for (int i = 0; i < ROUTE_BROKERS_MAX; i++) {
        snprintf(addr, sizeof addr, "h:%d", i);
        r.broker.addr = slice_str(addr);
        r.broker.name = slice_str(addr);
        assert_ok(route_table_register(t, &r, 0, &out, &e), &e);
        r.topics = NULL;
        r.topic_n = 0;
    }
    r.broker.addr = r.broker.name = SLICE_LIT("one more");
    assert_code(route_table_register(t, &r, 0, &out, &e), E_BUSY, &e);
    struct route_data d;
    assert_int_equal(route_table_brokers(t, &d), 0);
    assert_int_equal(d.broker_n, ROUTE_BROKERS_MAX);
    route_data_free(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_registered_broker_gives_routes),
        TEST(brokers_of_a_topic_are_sorted_by_name),
        TEST(an_unknown_broker_with_one_topic_is_refused_and_leaves_no_trace),
        TEST(one_topic_of_a_known_broker_is_an_increment),
        TEST(topics_change_only_with_the_data_version),
        TEST(topics_no_longer_named_stay_unless_configured_otherwise),
        TEST(a_slave_is_told_its_master_and_brings_no_topics),
        TEST(without_a_master_the_lowest_new_style_slave_brings_topics),
        TEST(an_address_that_takes_another_id_leaves_the_old_one),
        TEST(an_address_that_takes_another_name_leaves_the_old_one),
        TEST(a_broker_that_moved_is_found_at_its_new_address_only),
        TEST(a_lower_state_version_from_another_address_is_ignored),
        TEST(names_that_are_no_text_are_refused),
        TEST(a_zone_keeps_its_own_brokers_and_sets_without_a_master),
        TEST(an_unregistered_broker_takes_its_routes_along),
        TEST(an_unregister_that_names_somebody_else_is_ignored),
        TEST(a_late_unregister_of_a_predecessor_does_not_touch_the_successor),
        TEST(the_end_of_an_old_connection_does_not_touch_what_was_renewed_on_a_new_one),
        TEST(a_heartbeat_on_a_new_connection_renews_too),
        TEST(a_late_older_registration_of_a_predecessor_changes_nothing),
        TEST(a_lost_connection_takes_all_brokers_that_spoke_on_it),
        TEST(a_silent_broker_expires_after_its_own_timeout),
        TEST(a_registration_is_a_sign_of_life_even_without_changes),
        TEST(the_registered_version_can_be_asked),
        TEST(brokers_beyond_the_bound_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
