#include "proto/body.h"

#include <zlib.h>

#include "tests/unit/proto/vectors.h"

static const struct topic_config *topic_of(const struct register_body *b, const char *name)
{
    for (size_t i = 0; i < b->topic_n; i++)
        if (slice_eq_str(b->topics[i].name, name))
            return &b->topics[i];
    return NULL;
}

static void decode_file(const char *name, bool compressed, int32_t version,
                        struct register_body *out)
{
    const struct slice body = golden_slice(name);
    struct err e = {0};
    assert_ok(register_body_decode(body, compressed, version, out, &e), &e);
    free_slice(body);
}

static void recorded_registrations_are_read(void **state)
{
    struct register_body b;
    (void)state;
    decode_file("bodies/103-REGISTER_BROKER-request-one-topic.5.5.0.json", false, 513, &b);
    assert_int_equal(b.topic_n, 1);
    assert_int_equal(b.version.counter, 41);
    assert_int_equal(b.version.timestamp, 1795254745506);
    assert_slice_equal(b.topics[0].name, "%RETRY%TOOLS_CONSUMER");
    assert_int_equal(b.topics[0].read_queue_nums, 1);
    assert_non_null(b.topics[0].attributes);
    register_body_free(&b);
    decode_file("bodies/103-REGISTER_BROKER-request.4.9.7.json", false, 407, &b);
    assert_int_equal(b.version.state_version, 0);
    assert_int_equal(b.version.counter, 24);
    assert_int_equal(topic_of(&b, "SCHEDULE_TOPIC_XXXX")->write_queue_nums, 18);
    register_body_free(&b);
    decode_file("bodies/103-REGISTER_BROKER-request.5.5.0.json", false, 513, &b);
    assert_true(b.topic_n > 30);
    assert_int_equal(topic_of(&b, "TBW102")->perm, 7);
    register_body_free(&b);
}

static void compressed_registrations_are_read(void **state)
{
    struct register_body b;
    (void)state;
    decode_file("bodies/103-REGISTER_BROKER-request-compressed.4.9.7.bin", true, 407, &b);
    assert_int_equal(b.topic_n, 10);
    assert_int_equal(b.version.counter, 2);
    assert_int_equal(topic_of(&b, "BenchmarkTest")->read_queue_nums, 1024);
    assert_int_equal(topic_of(&b, "TBW102")->perm, 7);
    assert_slice_equal(topic_of(&b, "TBW102")->filter_type, "SINGLE_TAG");
    register_body_free(&b);
    /* 5.5.0 says compressed=false and sends a zlib stream */
    decode_file("bodies/103-REGISTER_BROKER-request-one-topic.5.5.0.bin", false, 513, &b);
    assert_int_equal(b.topic_n, 15);
    assert_int_equal(b.version.timestamp, 1795255128160);
    assert_int_equal(topic_of(&b, "rmq_sys_SYNC_BROKER_MEMBER_broker-a")->perm, 1);
    register_body_free(&b);
}

static void registrations_round_trip(void **state)
{
    struct register_body b, again;
    struct buf out;
    struct err e = {0};
    (void)state;
    decode_file("bodies/103-REGISTER_BROKER-request.5.5.0.json", false, 513, &b);
    buf_init(&out, 0);
    assert_int_equal(register_body_encode(b.topics, b.topic_n, b.version, &out), 0);
    assert_ok(register_body_decode(buf_slice(&out), false, 513, &again, &e), &e);
    assert_true(data_version_eq(again.version, b.version));
    assert_int_equal(again.topic_n, b.topic_n);
    for (size_t i = 0; i < b.topic_n; i++) {
        char name[256];
        assert_int_equal(slice_copy(b.topics[i].name, name, sizeof name), 0);
        json_t *const want = topic_config_to_json(&b.topics[i]);
        json_t *const got = topic_config_to_json(topic_of(&again, name));
        assert_true(json_equal(got, want));
        json_decref(want);
        json_decref(got);
    }
    buf_free(&out);
    register_body_free(&again);
    register_body_free(&b);
}

static void bodies_are_written_as_upstream_writes_them(void **state)
{
    const struct topic_config t = {.name = SLICE_LIT("T"),
                                   .read_queue_nums = 4,
                                   .write_queue_nums = 4,
                                   .perm = 6,
                                   .filter_type = SLICE_LIT("SINGLE_TAG")};
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    assert_int_equal(
        register_body_encode(&t, 1, (struct data_version){.timestamp = 1700000000000}, &out), 0);
    assert_slice_equal(
        buf_slice(&out),
        "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":0,"
        "\"stateVersion\":0,\"timestamp\":1700000000000},\"mappingDataVersion\":{\"counter\":0,"
        "\"stateVersion\":0,\"timestamp\":0},\"topicConfigTable\":{\"T\":{\"attributes\":{},"
        "\"order\":false,"
        "\"perm\":6,\"readQueueNums\":4,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"T\","
        "\"topicSysFlag\":0,\"writeQueueNums\":4}},\"topicQueueMappingDetailMap\":{},"
        "\"topicQueueMappingInfoMap\":{}}}");
    buf_free(&out);
}

static void bad_json_registrations_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "empty"},
        {"[]", "not a JSON object"},
        {"{}", "\"dataVersion\" is missing"},
        {"{\"topicConfigSerializeWrapper\":[]}",
         "\"topicConfigSerializeWrapper\" is not an object"},
        {"{\"topicConfigSerializeWrapper\":{\"dataVersion\":{},\"topicConfigTable\":7}}",
         "\"topicConfigTable\""},
        {"{\"topicConfigSerializeWrapper\":{\"dataVersion\":{},\"topicConfigTable\":{\"T\":1}}}",
         "topic \"T\" is not an object"},
        {"{\"topicConfigSerializeWrapper\":{\"dataVersion\":{},\"topicConfigTable\":{\"T\":{"
         "\"topicName\":\"T\","
         "\"perm\":{}}}}}",
         "topic \"T\": topic configuration: member \"perm\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct register_body b;
        struct err e = {0};
        assert_code(register_body_decode(slice_str(cases[i].text), false, 513, &b, &e), E_PROTO,
                    &e);
        assert_contains(e.text, cases[i].part);
    }
}

/* Blocks of the compressed form: a positive length word is written before each text. */
static void block_add(struct buf *b, const char *text)
{
    buf_be32(b, (uint32_t)strlen(text));
    buf_str(b, text);
}

static int decode_packed(const struct buf *plain, struct err *e)
{
    struct register_body b;
    uLongf n = compressBound(plain->n);
    Bytef *const packed = malloc(n);
    assert_int_equal(compress2(packed, &n, (const Bytef *)plain->p, plain->n, 9), Z_OK);
    const int rc = register_body_decode(slice_of((const char *)packed, n), true, 513, &b, e);
    if (!rc)
        register_body_free(&b);
    free(packed);
    return rc;
}

static void bad_compressed_registrations_are_named(void **state)
{
    static const struct {
        const char *topic;
        uint32_t count;
        int rc;
        const char *part;
    } cases[] = {
        {"T 4 4 6 SINGLE_TAG", 1, 0, ""},
        {"T 4 4 6 SINGLE_TAG {\"a\":\"b\"}", 1, 0, ""},
        {"T 4 4 6 SINGLE_TAG {oops", 1, 0, ""}, /* attributes that cannot be read are dropped */
        {"T 4 4 6 SINGLE_TAG", 0, 0, ""},
        {"T 4 4 6 SINGLE_TAG", 2, E_PROTO, "\"[]\" is not"}, /* the next block is no topic */
        {"T 4 4 6", 1, E_PROTO, "\"T 4 4 6\" is not"},
        {"T 4 x 6 SINGLE_TAG", 1, E_PROTO, "is not"},
        {" 4 4 6 SINGLE_TAG", 1, E_PROTO, "is not"},
        {"\xff 4 4 6 SINGLE_TAG", 1, E_PROTO, "no text"},
        {"T 4 4 6 NO_TAG", 1, E_PROTO, "topicFilterType"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf plain;
        struct err e = {0};
        buf_init(&plain, 0);
        block_add(&plain, "{\"counter\":2,\"timestamp\":5}");
        buf_be32(&plain, cases[i].count);
        block_add(&plain, cases[i].topic);
        block_add(&plain, "[]");
        assert_code(decode_packed(&plain, &e), cases[i].rc, &e);
        if (cases[i].rc)
            assert_contains(e.text, cases[i].part);
        buf_free(&plain);
    }
}

static void compressed_registrations_cut_anywhere_are_refused(void **state)
{
    struct buf plain;
    struct err e = {0};
    (void)state;
    buf_init(&plain, 0);
    block_add(&plain, "{\"counter\":2,\"timestamp\":5}");
    buf_be32(&plain, 1);
    block_add(&plain, "T 4 4 6 SINGLE_TAG");
    block_add(&plain, "[]");
    assert_code(decode_packed(&plain, &e), 0, &e);
    while (plain.n) {
        plain.n--;
        assert_code(decode_packed(&plain, &e), E_PROTO, &e);
    }
    buf_free(&plain);
}

static void a_zlib_bomb_is_refused(void **state)
{
    struct buf plain;
    struct err e = {0};
    (void)state;
    buf_init(&plain, 0);
    char *const p = buf_extend(&plain, 20u << 20);
    assert_non_null(p);
    memset(p, ' ', plain.n);
    assert_code(decode_packed(&plain, &e), E_TOOBIG, &e);
    assert_contains(e.text, "inflates to more than");
    buf_free(&plain);
}

static void damaged_registrations_never_crash(void **state)
{
    static const char *const files[] = {"bodies/103-REGISTER_BROKER-request-compressed.4.9.7.bin",
                                        "bodies/103-REGISTER_BROKER-request-one-topic.5.5.0.json"};
    struct rng rng = test_rng("damaged_registrations");
    (void)state;
    for (int f = 0; f < 2; f++) {
        const struct slice body = golden_slice(files[f]);
        for (size_t n = 0; n < body.n; n++) {
            struct register_body b;
            assert_int_not_equal(register_body_decode(slice_of(body.p, n), f == 0, 407, &b, NULL),
                                 0);
        }
        for (int k = 0; k < 1000; k++) {
            struct register_body b;
            char *const copy = dup_bytes(body);
            const size_t n = damage(&rng, copy, body.n);
            if (register_body_decode(slice_of(copy, n), f == 0, 407, &b, NULL) == 0)
                register_body_free(&b);
            free(copy);
        }
        free_slice(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_registrations_are_read),
        cmocka_unit_test(compressed_registrations_are_read),
        cmocka_unit_test(registrations_round_trip),
        cmocka_unit_test(bodies_are_written_as_upstream_writes_them),
        cmocka_unit_test(bad_json_registrations_are_named),
        cmocka_unit_test(bad_compressed_registrations_are_named),
        cmocka_unit_test(compressed_registrations_cut_anywhere_are_refused),
        cmocka_unit_test(a_zlib_bomb_is_refused),
        cmocka_unit_test(damaged_registrations_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
