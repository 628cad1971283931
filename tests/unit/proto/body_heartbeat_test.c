#include "proto/body.h"

#include "tests/unit/proto/vectors.h"

static const char golden_heartbeat[] =
    "{\"clientID\":\"10.0.0.1@123#456\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_"
    "LAST_OFFSET\","
    "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"g\",\"messageModel\":\"CLUSTERING\","
    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[2598919,2598920],"
    "\"expressionType\":\"TAG\",\"subString\":\"TagA || TagB\",\"subVersion\":1700000000000,"
    "\"tagsSet\":[\"TagA\",\"TagB\"],\"topic\":\"T\"},{\"classFilterMode\":false,\"codeSet\":[],"
    "\"expressionType\":\"TAG\",\"subString\":\"*\",\"subVersion\":1700000000000,\"tagsSet\":[],"
    "\"topic\":\"%RETRY%g\"}],\"unitMode\":false}],\"heartbeatFingerprint\":0,"
    "\"producerDataSet\":[{\"groupName\":\"pg\"}],\"withoutSub\":false}";

static void golden_heartbeat_is_read_and_written_byte_for_byte(void **state)
{
    struct heartbeat h;
    struct buf b;
    struct err e = {0};
    (void)state;
    assert_ok(heartbeat_decode(slice_str(golden_heartbeat), &h, &e), &e);
    assert_slice_equal(h.client_id, "10.0.0.1@123#456");
    assert_int_equal(h.producer_n, 1);
    assert_slice_equal(h.producers[0], "pg");
    assert_int_equal(h.consumer_n, 1);
    assert_slice_equal(h.consumers[0].consume_type, "CONSUME_PASSIVELY");
    assert_slice_equal(h.consumers[0].message_model, "CLUSTERING");
    assert_slice_equal(h.consumers[0].from_where, "CONSUME_FROM_LAST_OFFSET");
    assert_int_equal(h.consumers[0].sub_n, 2);
    assert_slice_equal(h.consumers[0].subs[0].sub_string, "TagA || TagB");
    assert_int_equal(h.consumers[0].subs[0].version, 1700000000000);
    assert_slice_equal(h.consumers[0].subs[1].topic, "%RETRY%g");
    buf_init(&b, 0);
    assert_int_equal(heartbeat_encode(&h, &b), 0);
    assert_slice_equal(buf_slice(&b), golden_heartbeat);
    buf_free(&b);
    heartbeat_free(&h);
}

/* Set order is nobody's promise: compare arrays of scalars sorted, numbers also when quoted. */
static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sorted_text(const json_t *list, struct buf *out)
{
    char *texts[64];
    const size_t n = json_array_size(list);
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        const json_t *const v = json_array_get(list, i);
        texts[i] =
            json_is_string(v) ? strdup(json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY);
    }
    qsort(texts, n, sizeof *texts, compare_text);
    for (size_t i = 0; i < n; i++) {
        buf_str(out, texts[i]);
        buf_char(out, ' ');
        free(texts[i]);
    }
}

static void check_same_sets(const json_t *want, const json_t *got)
{
    static const char *const sets[] = {"codeSet", "tagsSet"};
    size_t c, s;
    json_t *consumer, *sub;
    json_array_foreach(json_object_get(want, "consumerDataSet"), c, consumer) {
        const json_t *const ours = json_array_get(json_object_get(got, "consumerDataSet"), c);
        json_array_foreach(json_object_get(consumer, "subscriptionDataSet"), s, sub) {
            const json_t *const our_sub =
                json_array_get(json_object_get(ours, "subscriptionDataSet"), s);
            for (int k = 0; k < 2; k++) {
                struct buf a, b;
                buf_init(&a, 0);
                buf_init(&b, 0);
                sorted_text(json_object_get(sub, sets[k]), &a);
                sorted_text(json_object_get(our_sub, sets[k]), &b);
                assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
                buf_free(&a);
                buf_free(&b);
            }
        }
    }
}

static void check_same(const struct heartbeat *a, const struct heartbeat *b)
{
    assert_slices_equal(a->client_id, b->client_id);
    assert_int_equal(a->producer_n, b->producer_n);
    assert_int_equal(a->consumer_n, b->consumer_n);
    for (size_t i = 0; i < a->producer_n; i++)
        assert_slices_equal(a->producers[i], b->producers[i]);
    for (size_t i = 0; i < a->consumer_n; i++) {
        const struct heartbeat_consumer *const x = &a->consumers[i], *const y = &b->consumers[i];
        assert_slices_equal(x->group, y->group);
        assert_slices_equal(x->consume_type, y->consume_type);
        assert_slices_equal(x->message_model, y->message_model);
        assert_slices_equal(x->from_where, y->from_where);
        assert_int_equal(x->sub_n, y->sub_n);
        for (size_t k = 0; k < x->sub_n; k++) {
            assert_slices_equal(x->subs[k].topic, y->subs[k].topic);
            assert_slices_equal(x->subs[k].sub_string, y->subs[k].sub_string);
            assert_int_equal(x->subs[k].version, y->subs[k].version);
        }
    }
}

static int check_body(struct slice body)
{
    struct heartbeat h, again;
    struct buf b;
    struct err e = {0};
    json_t *want, *got;
    assert_ok(heartbeat_decode(body, &h, &e), &e);
    buf_init(&b, 0);
    assert_int_equal(heartbeat_encode(&h, &b), 0);
    assert_ok(heartbeat_decode(buf_slice(&b), &again, &e), &e);
    check_same(&h, &again);
    assert_ok(json_parse(body, &want, &e), &e);
    assert_ok(json_parse(buf_slice(&b), &got, &e), &e);
    check_same_sets(want, got);
    json_decref(want);
    json_decref(got);
    heartbeat_free(&again);
    heartbeat_free(&h);
    buf_free(&b);
    return 1;
}

static void every_recorded_heartbeat_round_trips(void **state)
{
    struct golden g;
    struct err e = {0};
    int n = 0;
    (void)state;
    assert_ok(golden_load("", &g, &e), &e);
    for (size_t i = 0; i < g.n; i++)
        if (g.frames[i].request_code == RC_HEART_BEAT && strcmp(g.frames[i].kind, "request") == 0)
            n += check_body(frame_of(g.frames[i].bytes).body);
    golden_free(&g);
    assert_in_range(n, 50, 10000);
}

static void dialects_are_understood(void **state)
{
    struct heartbeat h;
    struct err e = {0};
    (void)state;
    /* Go: quoted codes, null arrays; Node: no expression type; old Java: no fingerprint */
    assert_ok(heartbeat_decode(
                  slice_str("{\"clientID\":\"c\",\"producerDataSet\":null,\"consumerDataSet\":[{"
                            "\"groupName\":\"g\","
                            "\"subscriptionDataSet\":[{\"topic\":\"T\",\"codeSet\":[\"2598919\"],"
                            "\"tagsSet\":null,\"subVersion\":1795254224811307961,\"x\":{}}]},"
                            "{\"groupName\":\"h\",\"subscriptionDataSet\":null}]}"),
                  &h, &e),
              &e);
    assert_int_equal(h.producer_n, 0);
    assert_int_equal(h.consumer_n, 2);
    assert_null(h.consumers[0].subs[0].expression_type.p);
    assert_null(h.consumers[0].subs[0].sub_string.p);
    assert_int_equal(h.consumers[0].subs[0].version, 1795254224811307961);
    assert_int_equal(h.consumers[1].sub_n, 0);
    assert_null(h.consumers[1].consume_type.p);
    heartbeat_free(&h);
    assert_ok(heartbeat_decode(
                  slice_str("{\"clientID\":\"c\",\"withoutSub\":true,\"heartbeatFingerprint\":-7}"),
                  &h, &e),
              &e);
    assert_true(h.without_sub);
    assert_int_equal(h.fingerprint, -7);
    heartbeat_free(&h);
}

static void bad_heartbeats_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "heartbeat"},
        {"{}", "\"clientID\" is missing"},
        {"{\"clientID\":null}", "\"clientID\" is missing"},
        {"{\"clientID\":\"c\",\"consumerDataSet\":{}}", "\"consumerDataSet\" is not an array"},
        {"{\"clientID\":\"c\",\"consumerDataSet\":[null]}",
         "consumerDataSet: member \"groupName\" is missing"},
        {"{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":1}]}",
         "producerDataSet: member \"groupName\" is not a string"},
        {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":[{}"
         "]}]}",
         "subscriptionDataSet: member \"topic\" is missing"},
        {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":7}]"
         "}",
         "\"subscriptionDataSet\" is not an array"},
        {"{\"clientID\":\"c\",\"heartbeatFingerprint\":{}}",
         "\"heartbeatFingerprint\" is not an integer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heartbeat h;
        struct err e = {0};
        assert_code(heartbeat_decode(slice_str(cases[i].text), &h, &e), E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
    }
}

static void a_subscription_without_a_tag_is_not_sent(void **state)
{
    struct heartbeat_sub sub = {.topic = SLICE_LIT("T"), .sub_string = SLICE_LIT("||")};
    struct heartbeat_consumer c = {.group = SLICE_LIT("g"), .subs = &sub, .sub_n = 1};
    const struct heartbeat h = {.client_id = SLICE_LIT("c"), .consumers = &c, .consumer_n = 1};
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(heartbeat_encode(&h, &b), E_INVAL);
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_heartbeat_is_read_and_written_byte_for_byte),
        cmocka_unit_test(every_recorded_heartbeat_round_trips),
        cmocka_unit_test(dialects_are_understood),
        cmocka_unit_test(bad_heartbeats_are_named),
        cmocka_unit_test(a_subscription_without_a_tag_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
