/* Sending, against the real broker: what is stored, what is answered, every refusal of the checks
 * that RocketMQ's broker makes, in their order. */
#include <stdio.h>

#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static struct mq_process broker;

static int start(void **state)
{
    (void)state;
    mq_broker_start(&broker, tmpdir_new("send"), NULL, "maxMessageSize=1000\n", NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mq_stop(&broker);
    return 0;
}

static struct hdr_send_message header(const char *topic)
{
    return (struct hdr_send_message){.producer_group = SLICE_LIT("pg"),
                                     .topic = slice_str(topic),
                                     .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
                                     .default_topic_queue_nums = 4,
                                     .born_timestamp = 1700000000000,
                                     .max_reconsume_times = -1};
}

static void refused(const struct hdr_send_message *h, const char *body, int code, const char *part)
{
    struct peer p;
    peer_open(&p, broker.address);
    const struct command *const c = peer_call(&p, RC_SEND_MESSAGE_V2, h, slice_str(body));
    char remark[1100];
    assert_int_equal(c->code, code);
    assert_int_equal(slice_copy(c->remark, remark, sizeof remark), 0);
    assert_contains(remark, part);
    assert_slice_equal(command_ext(c, "MSG_REGION"), "DefaultRegion");
    assert_slice_equal(command_ext(c, "TRACE_ON"), "true");
    assert_null(command_ext(c, "msgId").p);
    peer_close(&p);
}

static void a_stored_message_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    struct peer p;
    struct message m;
    int n;
    peer_open(&p, broker.address);
    struct hdr_send_message h = header("roundtrip");
    h.queue_id = 2;
    h.flag = 77;
    h.sys_flag = SYSFLAG_COMPRESSED;
    h.properties = SLICE_LIT("TAGS\001a\002KEYS\001k1 k2\002mine\001yes\002");
    const struct command *c = peer_call(&p, RC_SEND_MESSAGE, &h, SLICE_LIT("body"));
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_slice_equal(command_ext(c, "queueId"), "2");
    assert_slice_equal(command_ext(c, "queueOffset"), "0");
    assert_slice_equal(command_ext(c, "MSG_REGION"), "DefaultRegion");
    assert_slice_equal(command_ext(c, "TRACE_ON"), "true");
    assert_int_equal(command_ext(c, "transactionId").n, 32); /* the key the broker made */
    char id[MSG_ID_MAX], key[40];
    assert_int_equal(slice_copy(command_ext(c, "msgId"), id, sizeof id), 0);
    assert_int_equal(slice_copy(command_ext(c, "transactionId"), key, sizeof key), 0);
    peer_pull(&p, "roundtrip", 2, 0, 0, &m, 1, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m.body, "body");
    assert_int_equal(m.flag, 77);
    assert_int_equal(m.sys_flag, SYSFLAG_COMPRESSED);
    assert_int_equal(m.born_timestamp, 1700000000000);
    assert_slice_equal(props_str_get(m.properties, "mine"), "yes");
    assert_slice_equal(props_str_get(m.properties, PROP_KEYS), "k1 k2");
    assert_slice_equal(props_str_get(m.properties, PROP_CLUSTER), "DefaultCluster");
    assert_slice_equal(props_str_get(m.properties, PROP_UNIQ_KEY), key);
    struct host host;
    const struct hdr_view_message v = {.offset = m.phys_offset};
    int64_t phys;
    assert_int_equal(offset_msg_id_parse(slice_str(id), &host, &phys), 0);
    assert_int_equal(phys, v.offset);
    c = peer_call(&p, RC_VIEW_MESSAGE_BY_ID, &v, SLICE_NULL);
    assert_int_equal(c->code, RESP_SUCCESS);
    struct err e;
    assert_ok(message_decode(c->body, MESSAGE_CHECK_CRC, &m, &e), &e);
    assert_slice_equal(m.body, "body");
    peer_close(&p);
}

static void an_offset_that_is_no_message_is_answered_not_followed(void **state)
{
    (void)state;
    struct peer p;
    peer_open(&p, broker.address);
    const struct peer_sent s = peer_send_message(&p, "pg", "view", 0, "x", "");
    const int64_t offsets[] = {s.phys_offset + 1, s.phys_offset + 1000000000, -1, INT64_MAX,
                               INT64_MIN};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        const struct hdr_view_message h = {.offset = offsets[i]};
        assert_int_equal(peer_call(&p, RC_VIEW_MESSAGE_BY_ID, &h, SLICE_NULL)->code,
                         RESP_SYSTEM_ERROR);
    }
    peer_close(&p);
}

static void a_batch_gets_consecutive_offsets_and_an_id_for_each(void **state)
{
    (void)state;
    struct peer p;
    struct buf body;
    struct message m[3];
    int n;
    peer_open(&p, broker.address);
    buf_init(&body, 0);
    const struct batch_item items[] = {{1, SLICE_LIT("one"), SLICE_LIT("TAGS\001A\002")},
                                       {2, SLICE_LIT("two"), SLICE_LIT("")},
                                       {3, SLICE_LIT("three"), SLICE_LIT("KEYS\001k\002")}};
    for (int i = 0; i < 3; i++)
        batch_add(&body, &items[i]);
    struct hdr_send_message h = header("batch");
    h.batch = true;
    h.properties = SLICE_LIT("UNIQ_KEY\001BATCH\002");
    const struct command *const c = peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body));
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(command_ext(c, "msgId").n, 3 * 32 + 2);
    assert_slice_equal(command_ext(c, "transactionId"), "BATCH");
    peer_pull(&p, "batch", 0, 0, 0, m, 3, &n);
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(m[i].queue_offset, i);
        assert_int_equal(m[i].flag, i + 1);
        assert_true(slice_eq(m[i].body, items[i].body));
        assert_true(slice_starts(m[i].properties, items[i].properties));
        assert_int_equal(m[i].properties.n, items[i].properties.n + MESSAGE_PROP_CRC_SIZE);
    }
    buf_free(&body);
    peer_close(&p);
}

static void batches_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 0);
    const struct batch_item item = {0, SLICE_LIT("x"), SLICE_LIT("")};
    batch_add(&body, &item);
    buf_char(&body, '\0');
    struct hdr_send_message h = header("batch");
    struct peer p;
    peer_open(&p, broker.address);
    h.batch = true;
    h.sys_flag = SYSFLAG_TX_PREPARED;
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body))->code,
                     RESP_MESSAGE_ILLEGAL);
    h.sys_flag = 0;
    h.properties = SLICE_LIT("DELAY\0013\002");
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body))->code,
                     RESP_MESSAGE_ILLEGAL);
    h.properties = SLICE_NULL; /* and the byte too many at its end: */
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body))->code,
                     RESP_SYSTEM_ERROR);
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, SLICE_LIT("garbage"))->code,
                     RESP_SYSTEM_ERROR);
    h = header(RETRY_PREFIX "g");
    h.batch = true;
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body))->code,
                     RESP_MESSAGE_ILLEGAL);
    assert_int_equal(peer_max_offset(&p, "batch", 1), 0);
    peer_close(&p);
    buf_free(&body);
}

static void each_check_answers_its_code_and_says_why(void **state)
{
    (void)state;
    struct hdr_send_message h = header("../../etc");
    refused(&h, "x", RESP_INVALID_PARAMETER, "illegal characters");
    h = header("");
    refused(&h, "x", RESP_INVALID_PARAMETER, "blank");
    h = header(TOPIC_SCHEDULE);
    refused(&h, "x", RESP_NO_PERMISSION, "is forbidden");
    h = header(TOPIC_HALF);
    refused(&h, "x", RESP_NO_PERMISSION, "is forbidden");
    h = header("nobody");
    h.default_topic = SLICE_LIT("no_such_template");
    refused(&h, "x", RESP_TOPIC_NOT_EXIST, "not exist, apply first please!");
    h = header("checks");
    h.queue_id = 4;
    refused(&h, "x", RESP_INVALID_PARAMETER, "queueId[4] is illegal");
    h.queue_id = 0;
    refused(&h, "", RESP_SYSTEM_ERROR, "no body");
    char big[1002];
    memset(big, 'x', 1001);
    big[1001] = '\0';
    refused(&h, big, RESP_MESSAGE_ILLEGAL, "limit 1000B");
    h.sys_flag = SYSFLAG_INNER_BATCH;
    refused(&h, "x", RESP_MESSAGE_ILLEGAL, "BatchCQ");
    h.sys_flag = 0;
    h.properties = SLICE_LIT("TIMER_DELAY_SEC\00130\002");
    refused(&h, "x", RESP_SYSTEM_ERROR, "timer");
    h = header(RETRY_PREFIX "unknown_group");
    refused(&h, "x", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "unknown_group");
}

static void the_largest_body_is_taken_and_one_byte_more_is_not(void **state)
{
    (void)state;
    struct peer p;
    char body[1001];
    memset(body, 'x', sizeof body);
    peer_open(&p, broker.address);
    const struct hdr_send_message h = header("sizes");
    assert_int_equal(peer_call(&p, RC_SEND_MESSAGE_V2, &h, slice_of(body, 1000))->code,
                     RESP_SUCCESS);
    assert_int_equal(peer_call(&p, RC_SEND_MESSAGE_V2, &h, slice_of(body, 1001))->code,
                     RESP_MESSAGE_ILLEGAL);
    peer_close(&p);
}

static void properties_over_the_limit_are_refused_also_when_ours_make_the_difference(void **state)
{
    (void)state;
    static char props[40000];
    struct peer p;
    peer_open(&p, broker.address);
    struct hdr_send_message h = header("props");
    memset(props, 'v', sizeof props);
    memcpy(props, "k\001", 2);
    static const struct { size_t n; int code;
    } cases[] = {{100, RESP_SUCCESS},
                 {32000, RESP_SUCCESS},
                 {32760, RESP_MESSAGE_ILLEGAL},
                 {32768, RESP_MESSAGE_ILLEGAL},
                 {39999, RESP_MESSAGE_ILLEGAL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h.properties = slice_of(props, cases[i].n);
        assert_int_equal(peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"))->code,
                         cases[i].code);
    }
    peer_close(&p);
}

/* A consumed message that is sent on brings the checksum it was read with: anywhere, or last. */
static void every_record_carries_its_own_checksum_and_no_other(void **state)
{
    (void)state;
    static const char foreign[] = PROP_CRC32 "\0011234567890\002";
    struct peer p;
    struct buf body;
    struct message m[4];
    struct err e;
    int n;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "sealed", 0, "first", "k\001v\002" PROP_CRC32 "\0011234567890\002");
    peer_send_message(&p, "pg", "sealed", 0, "second", PROP_CRC32 "\0011234567890\002k\001v\002");
    buf_init(&body, 0);
    batch_add(&body, &(struct batch_item){0, SLICE_LIT("third"), slice_str(foreign)});
    batch_add(&body, &(struct batch_item){0, SLICE_LIT("fourth"), SLICE_LIT("k\001v")});
    struct hdr_send_message h = header("sealed");
    h.batch = true;
    assert_int_equal(peer_call(&p, RC_SEND_BATCH_MESSAGE, &h, buf_slice(&body))->code, RESP_SUCCESS);
    const struct command *const c = peer_pull(&p, "sealed", 0, 0, 0, m, 4, &n);
    assert_int_equal(n, 4);
    struct slice rest = c->body;
    for (int i = 0; i < 4; i++) {
        assert_ok(message_decode(rest, MESSAGE_CHECK_CRC, &m[i], &e), &e);
        assert_true(message_has_prop_crc(&m[i]));
        if (i != 2)
            assert_slice_equal(props_str_get(m[i].properties, "k"), "v");
        int found = 0;
        struct slice name, value;
        for (struct props_iter it = {m[i].properties}; props_str_next(&it, &name, &value);)
            found += slice_eq_str(name, PROP_CRC32);
        assert_int_equal(found, 1);
        rest = slice_of(rest.p + m[i].total_size, rest.n - (size_t)m[i].total_size);
    }
    buf_free(&body);
    peer_close(&p);
}

static void a_missing_header_field_is_named(void **state)
{
    (void)state;
    struct peer p;
    struct buf b;
    struct err e;
    peer_open(&p, broker.address);
    buf_init(&b, 0);
    const struct ext_field ext[] = {{SLICE_LIT("a"), SLICE_LIT("pg")},
                                    {SLICE_LIT("b"), SLICE_LIT("t")}};
    const struct command_out out = {
        .code = RC_SEND_MESSAGE_V2, .opaque = 7, .extra = ext, .extra_n = 2};
    assert_ok(command_encode(&b, &out, 0, &e), &e);
    peer_send_raw(&p, buf_slice(&b));
    const struct command *const c = peer_receive(&p, 10000);
    assert_non_null(c);
    assert_int_equal(c->code, RESP_SYSTEM_ERROR);
    char remark[300];
    assert_int_equal(slice_copy(c->remark, remark, sizeof remark), 0);
    assert_contains(remark, "defaultTopic");
    buf_free(&b);
    peer_close(&p);
}

/* Sends that find no topic wait for it; none is lost, none is stored twice. (Their order is not
 * promised: whoever needs it waits for each answer.) */
static void a_burst_to_a_new_topic_is_stored_once_each(void **state)
{
    (void)state;
    enum { N = 200 };
    struct peer p;
    bool seen[N] = {false};
    peer_open(&p, broker.address);
    const struct hdr_send_message h = header("burst");
    for (int i = 0; i < N; i++)
        peer_send(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"), 0);
    for (int i = 0; i < N; i++) {
        const struct command *const c = peer_receive(&p, 10000);
        int32_t offset;
        assert_non_null(c);
        assert_int_equal(c->code, RESP_SUCCESS);
        assert_int_equal(slice_i32(command_ext(c, "queueOffset"), &offset), 0);
        assert_in_range(offset, 0, N - 1);
        assert_false(seen[offset]);
        seen[offset] = true;
    }
    assert_int_equal(peer_max_offset(&p, "burst", 0), N);
    peer_close(&p);
}

/* Some arrive while the topic is being made, some when it is there but the first one is not stored yet. */
static void sends_of_one_connection_keep_their_order_while_their_topic_is_made(void **state)
{
    (void)state;
    enum { N = 400, ROUNDS = 5 };
    static int64_t offsets[N];
    for (int round = 0; round < ROUNDS; round++) {
        struct peer p;
        char topic[32];
        snprintf(topic, sizeof topic, "inorder-%d", round);
        const struct hdr_send_message h = header(topic);
        peer_open(&p, broker.address);
        int32_t first = 0;
        for (int i = 0; i < N; i++) {
            const int32_t opaque = peer_send(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"), 0);
            first = i ? first : opaque;
        }
        for (int i = 0; i < N; i++) {
            const struct command *const c = peer_receive(&p, 10000);
            assert_non_null(c);
            assert_int_equal(c->code, RESP_SUCCESS);
            assert_in_range(c->opaque - first, 0, N - 1);
            assert_int_equal(slice_i64(command_ext(c, "queueOffset"), &offsets[c->opaque - first]), 0);
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(offsets[i], i);
        peer_close(&p);
    }
}

/* The level's queue, the clamp, and what the record keeps of its destination. */
static void a_delayed_message_is_parked_with_its_destination(void **state)
{
    (void)state;
    struct peer p;
    struct message m;
    int n;
    peer_open(&p, broker.address);
    struct hdr_send_message h = header("later");
    h.queue_id = 3;
    h.properties = SLICE_LIT("DELAY\00199\002TIMER_DELAY_SEC\0015\002KEYS\001k\002");
    const struct command *const c = peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"));
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_slice_equal(command_ext(c, "queueId"), "3");
    peer_pull(&p, TOPIC_SCHEDULE, 17, 0, 0, &m, 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal(m.queue_id, 17);
    assert_slice_equal(props_str_get(m.properties, PROP_DELAY), "18");
    assert_slice_equal(props_str_get(m.properties, PROP_REAL_TOPIC), "later");
    assert_slice_equal(props_str_get(m.properties, PROP_REAL_QID), "3");
    assert_slice_equal(props_str_get(m.properties, PROP_KEYS), "k");
    assert_int_equal(props_str_get(m.properties, PROP_TIMER_DELAY_SEC).n, 0);
    assert_int_equal(peer_max_offset(&p, "later", 3), 0);
    peer_close(&p);
}

static void a_oneway_send_is_stored_and_not_answered(void **state)
{
    (void)state;
    struct peer p;
    struct message m;
    int n;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "oneway", 0, "first", "");
    const struct hdr_send_message h = header("oneway");
    peer_send(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"), COMMAND_FLAG_ONEWAY);
    peer_pull(&p, "oneway", 0, 1, 5000, &m, 1, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m.body, "x");
    assert_null(peer_receive(&p, 100));
    peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_message_comes_back_as_it_was_sent),
        cmocka_unit_test(an_offset_that_is_no_message_is_answered_not_followed),
        cmocka_unit_test(a_batch_gets_consecutive_offsets_and_an_id_for_each),
        cmocka_unit_test(batches_that_break_a_rule_are_refused),
        cmocka_unit_test(each_check_answers_its_code_and_says_why),
        cmocka_unit_test(the_largest_body_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(properties_over_the_limit_are_refused_also_when_ours_make_the_difference),
        cmocka_unit_test(every_record_carries_its_own_checksum_and_no_other),
        cmocka_unit_test(a_missing_header_field_is_named),
        cmocka_unit_test(a_burst_to_a_new_topic_is_stored_once_each),
        cmocka_unit_test(sends_of_one_connection_keep_their_order_while_their_topic_is_made),
        cmocka_unit_test(a_delayed_message_is_parked_with_its_destination),
        cmocka_unit_test(a_oneway_send_is_stored_and_not_answered),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
