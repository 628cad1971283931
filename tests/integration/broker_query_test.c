/* Messages by key over the wire, with the real broker. */
#include <stdio.h>

#include "base/clock.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/port.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define SMALL_INDEX "maxHashSlotNum=40\nmaxIndexNum=160\n"

/* The physical offsets of the answer, in its order; -code when it is not 0. */
static int query_topic(struct peer *p, const char *topic, const char *key, bool unique, int32_t max, int64_t *out)
{
    const struct hdr_query_message h = {.topic = slice_str(topic), .key = slice_str(key), .max_num = max,
                                        .end_ms = INT64_MAX, .unique_key = unique};
    const struct command *const c = peer_call(p, RC_QUERY_MESSAGE, &h, SLICE_NULL);
    int64_t time = -1, phys = -1;
    assert_int_equal(slice_i64(command_ext(c, "indexLastUpdateTimestamp"), &time), 0);
    assert_int_equal(slice_i64(command_ext(c, "indexLastUpdatePhyoffset"), &phys), 0);
    if (c->code != RESP_SUCCESS) {
        assert_int_equal(time, 0);
        assert_int_equal(phys, 0);
        return -c->code;
    }
    assert_true(time > 0);
    int n = 0;
    for (struct slice left = c->body; left.n > 0; n++) {
        struct message m;
        struct err e;
        assert_ok(message_decode(left, MESSAGE_CHECK_CRC, &m, &e), &e);
        assert_slice_equal(m.topic, topic);
        assert_true(n < 64);
        out[n] = m.phys_offset;
        left = slice_of(left.p + m.total_size, left.n - (size_t)m.total_size);
    }
    return n;
}

static int query(struct peer *p, const char *key, int64_t *out)
{
    return query_topic(p, "t", key, false, 64, out);
}

static void messages_are_found_by_key_and_by_unique_key(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    int64_t at[64];
    mq_broker_start(&b, tmpdir_new("query"), NULL, NULL, NULL);
    peer_open(&p, b.address);
    const int64_t one = peer_send_message(&p, "pg", "t", 0, "1", "KEYS\001a b c\002UNIQ_KEY\001X1\002").phys_offset;
    const int64_t two = peer_send_message(&p, "pg", "t", 1, "2", "KEYS\001b\002UNIQ_KEY\001X2\002").phys_offset;
    peer_send_message(&p, "pg", "other", 0, "3", "KEYS\001a b\002UNIQ_KEY\001X3\002");
    assert_int_equal(query(&p, "b", at), 2);
    assert_int_equal(at[0], one);
    assert_int_equal(at[1], two);
    assert_int_equal(query(&p, "c", at), 1);
    assert_int_equal(at[0], one);
    assert_int_equal(query_topic(&p, "t", "X2", true, 0, at), 1);
    assert_int_equal(at[0], two);
    assert_int_equal(query_topic(&p, "t", "b", false, 1, at), 1);
    assert_int_equal(at[0], two);
    assert_int_equal(query(&p, "none", at), -RESP_QUERY_NOT_FOUND);
    assert_int_equal(query(&p, "X3", at), -RESP_QUERY_NOT_FOUND);
    assert_int_equal(query(&p, "", at), -RESP_QUERY_NOT_FOUND);
    assert_int_equal(query_topic(&p, "t", "b", false, 0, at), -RESP_QUERY_NOT_FOUND);
    assert_int_equal(query_topic(&p, "t", "b", false, -1, at), -RESP_QUERY_NOT_FOUND);
    peer_close(&p);
    mq_stop(&b);
}

static int64_t by_time(struct peer *p, int32_t queue_id, int64_t timestamp, const char *boundary)
{
    const struct hdr_search_offset h = {.topic = SLICE_LIT("t"), .queue_id = queue_id, .timestamp = timestamp,
                                        .boundary_type = slice_str(boundary)};
    const struct command *const c = peer_call(p, RC_SEARCH_OFFSET_BY_TIMESTAMP, &h, SLICE_NULL);
    int64_t offset = -1;
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(slice_i64(command_ext(c, "offset"), &offset), 0);
    return offset;
}

static int64_t earliest_time(struct peer *p, int32_t queue_id)
{
    const struct hdr_topic_queue h = {.topic = SLICE_LIT("t"), .queue_id = queue_id};
    const struct command *const c = peer_call(p, RC_GET_EARLIEST_MSG_STORETIME, &h, SLICE_NULL);
    int64_t ms = 0;
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(slice_i64(command_ext(c, "timestamp"), &ms), 0);
    return ms;
}

static bool later_than(void *ms)
{
    return clock_wall(&clock_system) > *(int64_t *)ms;
}

static void an_offset_is_found_by_the_time_of_its_message(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    struct message m[4];
    int64_t at[4];
    int n;
    mq_broker_start(&b, tmpdir_new("bytime"), NULL, NULL, NULL);
    peer_open(&p, b.address);
    for (int i = 0; i < 4; i++) {
        peer_send_message(&p, "pg", "t", 0, "x", "");
        int64_t now = clock_wall(&clock_system) + 5;
        assert_true(wait_until(later_than, &now, 5000));
    }
    peer_pull(&p, "t", 0, 0, 0, m, 4, &n);
    assert_int_equal(n, 4);
    for (int i = 0; i < 4; i++)
        at[i] = m[i].store_timestamp;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(by_time(&p, 0, at[i], "lower"), i);
        assert_int_equal(by_time(&p, 0, at[i] + 1, "lower"), i + 1);
        assert_int_equal(by_time(&p, 0, at[i], "upper"), i);
        assert_int_equal(by_time(&p, 0, at[i] + 1, "upper"), i);
        assert_int_equal(by_time(&p, 0, at[i], ""), i);
    }
    assert_int_equal(by_time(&p, 0, 0, "lower"), 0);
    assert_int_equal(by_time(&p, 0, INT64_MAX, "lower"), 4);
    assert_int_equal(by_time(&p, 1, INT64_MAX, "lower"), 0);
    assert_int_equal(earliest_time(&p, 0), at[0]);
    assert_int_equal(earliest_time(&p, 1), -1);
    peer_close(&p);
    mq_stop(&b);
}

static void the_fast_port_answers_queries_too(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    int64_t at[64];
    char conf[64], fast[32];
    const int port = free_port_row(3);
    snprintf(conf, sizeof conf, "listenPort=%d\n", port + 2);
    snprintf(fast, sizeof fast, "127.0.0.1:%d", port);
    mq_broker_start(&b, tmpdir_new("fastquery"), NULL, conf, NULL);
    peer_open(&p, fast);
    const struct peer_sent one = peer_send_message(&p, "pg", "t", 0, "1", "KEYS\001a\002");
    assert_int_equal(query(&p, "a", at), 1);
    assert_int_equal(at[0], one.phys_offset);
    const struct hdr_view_message h = {.offset = one.phys_offset};
    struct message m;
    const struct command *const c = peer_call(&p, RC_VIEW_MESSAGE_BY_ID, &h, SLICE_NULL);
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(message_decode(c->body, MESSAGE_CHECK_CRC, &m, NULL), 0);
    assert_slice_equal(m.body, "1");
    peer_close(&p);
    mq_stop(&b);
}

static void equal_hashes_answer_only_the_key_that_was_asked_for(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    int64_t at[64];
    static const char *const keys[] = {"AaAa", "AaBB", "BBAa", "BBBB"};
    int64_t sent[4];
    mq_broker_start(&b, tmpdir_new("collide"), NULL, SMALL_INDEX, NULL);
    peer_open(&p, b.address);
    for (int i = 0; i < 4; i++) {
        char props[64];
        snprintf(props, sizeof props, "KEYS\001%s\002", keys[i]);
        sent[i] = peer_send_message(&p, "pg", "t", 0, "x", props).phys_offset;
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(query(&p, keys[i], at), 1);
        assert_int_equal(at[0], sent[i]);
    }
    peer_close(&p);
    mq_stop(&b);
}

static void after_kill_9_every_key_is_found_once(void **state)
{
    (void)state;
    enum { ROUNDS = 3, N = 150 };
    struct mq_process b;
    int64_t sent[ROUNDS * N], at[64];
    const char *const dir = tmpdir_new("query-kill");
    for (int round = 0; round <= ROUNDS; round++) {
        struct peer p;
        mq_broker_start(&b, dir, NULL, SMALL_INDEX, NULL);
        peer_open(&p, b.address);
        for (int i = 0; i < round * N; i++) {
            char key[32];
            snprintf(key, sizeof key, "k%d", i);
            const int n = query(&p, key, at);
            if (n != 1 || at[0] != sent[i])
                fail_msg("round %d: %s: %d found, expected one at %lld", round, key, n, (long long)sent[i]);
        }
        for (int i = round * N; i < (round + 1) * N && round < ROUNDS; i++) {
            char props[64];
            snprintf(props, sizeof props, "KEYS\001k%d all\002UNIQ_KEY\001U%d\002", i, i);
            sent[i] = peer_send_message(&p, "pg", "t", 0, "x", props).phys_offset;
        }
        peer_close(&p);
        mq_kill(&b);
    }
}

static void without_an_index_a_query_finds_nothing_and_says_why(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    int64_t at[64];
    mq_broker_start(&b, tmpdir_new("no-index"), NULL, "messageIndexEnable=false\n", NULL);
    peer_open(&p, b.address);
    peer_send_message(&p, "pg", "t", 0, "1", "KEYS\001a\002");
    assert_int_equal(query(&p, "a", at), -RESP_QUERY_NOT_FOUND);
    assert_slice_equal(p.command.remark, "no index by key is kept: messageIndexEnable=false");
    peer_close(&p);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_found_by_key_and_by_unique_key),
        cmocka_unit_test(an_offset_is_found_by_the_time_of_its_message),
        cmocka_unit_test(the_fast_port_answers_queries_too),
        cmocka_unit_test(equal_hashes_answer_only_the_key_that_was_asked_for),
        cmocka_unit_test(after_kill_9_every_key_is_found_once),
        cmocka_unit_test(without_an_index_a_query_finds_nothing_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
