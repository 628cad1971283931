#include "proto/body.h"

#include "tests/unit/proto/vectors.h"

static void golden_request_is_read_and_written_byte_for_byte(void **state)
{
    static const char text[] =
        "{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":[{\"brokerName\":\"b-a\","
        "\"queueId\":0,\"topic\":\"T\"}],\"onlyThisBroker\":false}";
    struct lock_body l;
    struct buf b;
    struct err e = {0};
    (void)state;
    assert_ok(lock_body_decode(slice_str(text), &l, &e), &e);
    assert_slice_equal(l.client_id, "c");
    assert_slice_equal(l.group, "g");
    assert_int_equal(l.queue_n, 1);
    assert_slice_equal(l.queues[0].broker_name, "b-a");
    buf_init(&b, 0);
    assert_int_equal(lock_body_encode(&l, &b), 0);
    assert_slice_equal(buf_slice(&b), text);
    buf_free(&b);
    lock_body_free(&l);
}

static void every_recorded_lock_and_unlock_round_trips(void **state)
{
    struct golden g;
    struct err e = {0};
    int requests = 0, answers = 0;
    (void)state;
    assert_ok(golden_load("", &g, &e), &e);
    for (size_t i = 0; i < g.n; i++) {
        const int code = g.frames[i].request_code;
        const bool response = strcmp(g.frames[i].kind, "response") == 0;
        if (code != RC_LOCK_BATCH_MQ && code != RC_UNLOCK_BATCH_MQ)
            continue;
        const struct slice body = frame_of(g.frames[i].bytes).body;
        struct buf b;
        buf_init(&b, 0);
        if (!response) {
            struct lock_body l, again;
            assert_ok(lock_body_decode(body, &l, &e), &e);
            assert_int_equal(lock_body_encode(&l, &b), 0);
            assert_ok(lock_body_decode(buf_slice(&b), &again, &e), &e);
            assert_int_equal(again.queue_n, l.queue_n);
            for (size_t k = 0; k < l.queue_n; k++) {
                assert_slices_equal(again.queues[k].topic, l.queues[k].topic);
                assert_int_equal(again.queues[k].queue_id, l.queues[k].queue_id);
            }
            lock_body_free(&again);
            lock_body_free(&l);
            requests++;
        } else if (body.n) {
            json_t *root;
            struct mq_ref *queues;
            size_t n;
            assert_ok(lock_ok_decode(body, &root, &queues, &n, &e), &e);
            assert_int_equal(lock_ok_encode(queues, n, &b), 0);
            assert_slices_equal(buf_slice(&b), body);
            free(queues);
            json_decref(root);
            answers++;
        }
        buf_free(&b);
    }
    golden_free(&g);
    assert_in_range(requests, 10, 10000);
    assert_in_range(answers, 5, 10000);
}

static void bad_locks_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{", "queue lock"},
        {"{\"clientId\":\"c\"}", "\"consumerGroup\" is missing"},
        {"{\"consumerGroup\":\"g\"}", "\"clientId\" is missing"},
        {"{\"consumerGroup\":\"g\",\"clientId\":\"c\",\"mqSet\":{}}", "\"mqSet\" is not an array"},
        {"{\"consumerGroup\":\"g\",\"clientId\":\"c\",\"mqSet\":[{\"topic\":\"T\"}]}",
         "\"brokerName\" is missing"},
        {"{\"consumerGroup\":\"g\",\"clientId\":\"c\",\"mqSet\":[{\"topic\":\"T\",\"brokerName\":"
         "\"b\","
         "\"queueId\":null},{\"queueId\":1}]}",
         "\"topic\" is missing"},
        {"{\"consumerGroup\":\"g\",\"clientId\":\"c\",\"mqSet\":[{\"topic\":\"T\",\"brokerName\":"
         "\"b\","
         "\"queueId\":\"x\"}]}",
         "\"queueId\" is not an integer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lock_body l;
        struct err e = {0};
        assert_code(lock_body_decode(slice_str(cases[i].text), &l, &e), E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
    }
    json_t *root;
    struct mq_ref *queues;
    size_t n;
    struct err e = {0};
    assert_code(lock_ok_decode(slice_str("{\"lockOKMQSet\":[1]}"), &root, &queues, &n, &e), E_PROTO,
                &e);
    assert_contains(e.text, "\"topic\" is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_request_is_read_and_written_byte_for_byte),
        cmocka_unit_test(every_recorded_lock_and_unlock_round_trips),
        cmocka_unit_test(bad_locks_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
