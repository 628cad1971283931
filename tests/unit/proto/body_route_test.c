#include "proto/body.h"

#include "tests/unit/proto/vectors.h"

static const char standard[] =
    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"1.1.1.1:10911\",\"1\":\"1.1.1.2:10911\"},"
    "\"brokerName\":\"b-a\",\"cluster\":\"C\",\"enableActingMaster\":false}],\"filterServerTable\":"
    "{},"
    "\"orderTopicConf\":\"b-a:4;b-b:4\",\"queueDatas\":[{\"brokerName\":\"b-a\",\"perm\":6,"
    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}";
static const char legacy[] =
    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"1.1.1.1:10911\",1:\"1.1.1.2:10911\"},"
    "\"brokerName\":\"b-a\",\"cluster\":\"C\",\"enableActingMaster\":false}],\"filterServerTable\":"
    "{},"
    "\"orderTopicConf\":\"b-a:4;b-b:4\",\"queueDatas\":[{\"brokerName\":\"b-a\",\"perm\":6,"
    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}";

static void both_dialects_are_read_and_written(void **state)
{
    static const char *const texts[] = {standard, legacy};
    (void)state;
    for (int from = 0; from < 2; from++) {
        struct route_data r;
        struct err e = {0};
        assert_ok(route_data_decode(slice_str(texts[from]), &r, &e), &e);
        assert_int_equal(r.queue_n, 1);
        assert_int_equal(r.broker_n, 1);
        assert_int_equal(r.brokers[0].addr_n, 2);
        assert_int_equal(r.brokers[0].addrs[0].id, 0);
        assert_slice_equal(r.brokers[0].addrs[1].addr, "1.1.1.2:10911");
        assert_slice_equal(r.order_conf, "b-a:4;b-b:4");
        for (int to = 0; to < 2; to++) {
            struct buf b;
            buf_init(&b, 0);
            assert_int_equal(route_data_encode(&r, to == 1, &b), 0);
            assert_slice_equal(buf_slice(&b), texts[to]);
            buf_free(&b);
        }
        route_data_free(&r);
    }
}

static void recorded_routes_are_written_again_byte_for_byte(void **state)
{
    static const struct {
        const char *file;
        bool legacy;
    } cases[] = {{"bodies/105-GET_ROUTEINFO_BY_TOPIC-response-legacy.5.5.0.json", true},
                 {"bodies/105-GET_ROUTEINFO_BY_TOPIC-response-standard.5.5.0.json", false}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct slice body = golden_slice(cases[i].file);
        struct route_data r;
        struct buf b;
        struct err e = {0};
        assert_ok(route_data_decode(body, &r, &e), &e);
        buf_init(&b, 0);
        assert_int_equal(route_data_encode(&r, cases[i].legacy, &b), 0);
        assert_slices_equal(buf_slice(&b), body);
        buf_free(&b);
        route_data_free(&r);
        free_slice(body);
    }
}

static void routes_of_4_9_are_read(void **state)
{
    const struct slice body =
        golden_slice("bodies/105-GET_ROUTEINFO_BY_TOPIC-response-standard.4.9.7.json");
    struct route_data r;
    struct err e = {0};
    (void)state;
    assert_ok(route_data_decode(body, &r, &e), &e);
    assert_slice_equal(r.brokers[0].cluster, "DefaultCluster");
    assert_slice_equal(r.brokers[0].addrs[0].addr, "127.0.0.1:30811");
    assert_false(r.brokers[0].enable_acting_master);
    assert_null(r.order_conf.p);
    assert_int_equal(r.queues[0].read_queue_nums, 4);
    route_data_free(&r);
    free_slice(body);
}

static void addresses_come_sorted_by_id(void **state)
{
    struct route_data r;
    struct err e = {0};
    (void)state;
    assert_ok(route_data_decode(
                  slice_str("{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"10\":\"c\","
                            "\"2\":\"b\",\"0\":\"a\"}}],\"queueDatas\":null}"),
                  &r, &e),
              &e);
    assert_slice_equal(r.brokers[0].addrs[0].addr, "a");
    assert_slice_equal(r.brokers[0].addrs[1].addr, "b");
    assert_slice_equal(r.brokers[0].addrs[2].addr, "c");
    assert_int_equal(r.queue_n, 0);
    route_data_free(&r);
}

static void other_characters_are_escaped(void **state)
{
    struct queue_data q = {.broker_name = SLICE_LIT("b\"é"), .perm = -1};
    const struct route_data r = {.queues = &q, .queue_n = 1};
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(route_data_encode(&r, false, &b), 0);
    assert_slice_equal(buf_slice(&b),
                       "{\"brokerDatas\":[],\"filterServerTable\":{},\"queueDatas\":[{"
                       "\"brokerName\":\"b\\\"\\u00E9\",\"perm\":-1,\"readQueueNums\":0,"
                       "\"topicSysFlag\":0,\"writeQueueNums\":0}]}");
    buf_free(&b);
}

static void bad_routes_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"7", "not a JSON object"},
        {"{\"queueDatas\":{}}", "\"queueDatas\" is not an array"},
        {"{\"brokerDatas\":\"x\"}", "\"brokerDatas\" is not an array"},
        {"{\"queueDatas\":[{}]}", "\"brokerName\" is missing"},
        {"{\"queueDatas\":[7]}", "\"brokerName\" is missing"},
        {"{\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":[]}]}", "\"perm\" is not an integer"},
        {"{\"queueDatas\":[{\"brokerName\":\"b\"}],\"brokerDatas\":[{\"brokerName\":\"b\","
         "\"brokerAddrs\":[]}]}",
         "\"brokerAddrs\" is not an object"},
        {"{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"x\":\"a\"}}]}", "entry \"x\""},
        {"{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"0\":7}}]}", "entry \"0\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route_data r;
        struct err e = {0};
        assert_code(route_data_decode(slice_str(cases[i].text), &r, &e), E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_dialects_are_read_and_written),
        cmocka_unit_test(recorded_routes_are_written_again_byte_for_byte),
        cmocka_unit_test(routes_of_4_9_are_read),
        cmocka_unit_test(addresses_come_sorted_by_id),
        cmocka_unit_test(other_characters_are_escaped),
        cmocka_unit_test(bad_routes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
