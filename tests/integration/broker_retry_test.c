/* Retries, dead letters and delay levels against the real broker. */
#include <stdio.h>

#include "base/clock.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

#define TOPIC "retry_topic"
#define GROUP "retry_group"
#define QUICK                                                                                      \
    "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s\nflushDelayOffsetInterval=200\n"

static const struct command *send_back(struct peer *p, int64_t phys_offset, int32_t level,
                                       int32_t max)
{
    const struct hdr_send_msg_back h = {.offset = phys_offset,
                                        .group = SLICE_LIT(GROUP),
                                        .delay_level = level,
                                        .max_reconsume_times = max};
    return peer_call(p, RC_CONSUMER_SEND_MSG_BACK, &h, SLICE_NULL);
}

static void pull_one(struct peer *p, const char *topic, int64_t offset, struct message *m)
{
    int n;
    peer_pull(p, topic, 0, offset, 0, m, 1, &n);
    assert_int_equal(n, 1);
}

static void a_message_sent_back_comes_again_with_its_origin(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("retry"), NULL, QUICK, NULL);
    peer_open(&p, b.address);
    const struct peer_sent s = peer_send_message(&p, "pg", TOPIC, 0, "hello",
                                                 "TAGS\001t\002KEYS\001k\002UNIQ_KEY\001U1\002");
    const int64_t before = clock_mono(&clock_system);
    assert_int_equal(send_back(&p, s.phys_offset, 0, -1)->code, RESP_SUCCESS);
    peer_await_offset(&p, RETRY_PREFIX GROUP, 0, 1);
    const int64_t waited = clock_mono(&clock_system) - before;
    if (waited < 1000)
        fail_msg("came after %lld ms, its level says 1000", (long long)waited);
    struct message m;
    pull_one(&p, RETRY_PREFIX GROUP, 0, &m);
    assert_slice_equal(m.body, "hello");
    assert_int_equal(m.reconsume_times, 1);
    assert_slice_equal(props_str_get(m.properties, PROP_RETRY_TOPIC), TOPIC);
    assert_slice_equal(props_str_get(m.properties, PROP_ORIGIN_MESSAGE_ID), s.msg_id);
    assert_slice_equal(props_str_get(m.properties, PROP_TAGS), "t");
    assert_slice_equal(props_str_get(m.properties, PROP_UNIQ_KEY), "U1");
    peer_close(&p);
    mq_stop(&b);
}

/* After `limit` deliveries failed the next failure is dead at once, not two hours later. */
static void known_failure_20_the_last_failure_goes_to_the_dead_letters_at_once(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("dlq"), NULL, QUICK, NULL);
    peer_open(&p, b.address);
    for (int32_t limit = 0; limit <= 3; limit++) {
        const int64_t retries = peer_max_offset(&p, RETRY_PREFIX GROUP, 0),
                      dead = peer_max_offset(&p, DLQ_PREFIX GROUP, 0);
        int64_t phys = peer_send_message(&p, "pg", TOPIC, 0, "fails", "").phys_offset;
        for (int32_t failure = 0; failure < limit; failure++) {
            assert_int_equal(send_back(&p, phys, 0, limit)->code, RESP_SUCCESS);
            peer_await_offset(&p, RETRY_PREFIX GROUP, 0, retries + failure + 1);
            struct message m;
            pull_one(&p, RETRY_PREFIX GROUP, retries + failure, &m);
            assert_int_equal(m.reconsume_times, failure + 1);
            phys = m.phys_offset;
        }
        assert_int_equal(send_back(&p, phys, 0, limit)->code, RESP_SUCCESS);
        assert_int_equal(peer_max_offset(&p, DLQ_PREFIX GROUP, 0), dead + 1); /* now, not delayed */
        struct message m;
        pull_one(&p, DLQ_PREFIX GROUP, dead, &m);
        assert_int_equal(m.reconsume_times, limit + 1);
        assert_slice_equal(m.body, "fails");
    }
    peer_close(&p);
    mq_stop(&b);
}

/* Orderly consumers send to the retry topic themselves; over the limit means dead, whatever locks exist. */
static void known_failure_20_an_orderly_consumer_reaches_the_dead_letters(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("orderly"), NULL, QUICK, NULL);
    peer_open(&p, b.address);
    peer_heartbeat(&p, "client-1", NULL, GROUP, TOPIC);
    const struct hdr_send_message h = {.producer_group = SLICE_LIT("CLIENT_INNER_PRODUCER"),
                                       .topic = SLICE_LIT(RETRY_PREFIX GROUP),
                                       .default_topic = SLICE_LIT("TBW102"),
                                       .default_topic_queue_nums = 4,
                                       .born_timestamp = clock_wall(&clock_system),
                                       .properties =
                                           SLICE_LIT("DELAY\0014\002RETRY_TOPIC\001" TOPIC "\002"),
                                       .reconsume_times = 17,
                                       .max_reconsume_times = 16};
    const struct command *c = peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("ordered"));
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(peer_max_offset(&p, DLQ_PREFIX GROUP, 0), 1);
    struct hdr_send_message within = h;
    within.reconsume_times = 16;
    c = peer_call(&p, RC_SEND_MESSAGE_V2, &within, SLICE_LIT("ordered"));
    assert_int_equal(c->code, RESP_SUCCESS);
    peer_await_offset(&p, RETRY_PREFIX GROUP, 0, 1);
    assert_int_equal(peer_max_offset(&p, DLQ_PREFIX GROUP, 0), 1);
    peer_close(&p);
    mq_stop(&b);
}

static void a_negative_level_asks_for_the_dead_letters(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("negative"), NULL, QUICK, NULL);
    peer_open(&p, b.address);
    const struct peer_sent s = peer_send_message(&p, "pg", TOPIC, 0, "never", "");
    assert_int_equal(send_back(&p, s.phys_offset, -1, -1)->code, RESP_SUCCESS);
    assert_int_equal(peer_max_offset(&p, DLQ_PREFIX GROUP, 0), 1);
    peer_close(&p);
    mq_stop(&b);
}

static void offsets_that_hold_no_message_are_refused(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("bad"), NULL, QUICK, NULL);
    peer_open(&p, b.address);
    const struct peer_sent s = peer_send_message(&p, "pg", TOPIC, 0, "hello", "");
    const int64_t bad[] = {s.phys_offset + 4, s.phys_offset + 1000000, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct command *const c = send_back(&p, bad[i], 0, -1);
        assert_int_equal(c->code, RESP_SYSTEM_ERROR);
        assert_true(slice_starts(c->remark, SLICE_LIT("look message by offset failed, ")));
    }
    peer_close(&p);
    mq_stop(&b);
}

static void a_delayed_message_survives_kill_9_and_is_never_early(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    const char *const dir = tmpdir_new("delay");
    mq_broker_start(&b, dir, NULL, "messageDelayLevel=3s\n", NULL);
    peer_open(&p, b.address);
    const int64_t before = clock_mono(&clock_system);
    const struct peer_sent s = peer_send_message(&p, "pg", TOPIC, 0, "later", "DELAY\0011\002");
    assert_int_equal(s.queue_id, 0);
    assert_int_equal(peer_max_offset(&p, TOPIC, 0), 0);
    assert_int_equal(peer_max_offset(&p, TOPIC_SCHEDULE, 0), 1);
    peer_close(&p);
    mq_kill(&b);
    mq_broker_start(&b, dir, NULL, "messageDelayLevel=3s\n", NULL);
    peer_open(&p, b.address);
    peer_await_offset(&p, TOPIC, 0, 1);
    const int64_t waited = clock_mono(&clock_system) - before;
    if (waited < 2990)
        fail_msg("delivered after %lld ms, its level says 3000", (long long)waited);
    struct message m;
    pull_one(&p, TOPIC, 0, &m);
    assert_slice_equal(m.body, "later");
    peer_close(&p);
    mq_stop(&b);
    /* an orderly stop stores the position: it is not delivered again */
    mq_broker_start(&b, dir, NULL, "messageDelayLevel=3s\n", NULL);
    peer_open(&p, b.address);
    const struct peer_sent next = peer_send_message(&p, "pg", TOPIC, 0, "next", "DELAY\0011\002");
    (void)next;
    peer_await_offset(&p, TOPIC, 0, 2);
    pull_one(&p, TOPIC, 1, &m);
    assert_slice_equal(m.body, "next");
    peer_close(&p);
    mq_stop(&b);
}

static void many_delayed_messages_come_once_each_and_in_order(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    enum { N = 1000 };
    mq_broker_start(&b, tmpdir_new("many"), NULL, "messageDelayLevel=1s\n", NULL);
    peer_open(&p, b.address);
    for (int i = 0; i < N; i++) {
        char body[16];
        snprintf(body, sizeof body, "%d", i);
        peer_send_message(&p, "pg", TOPIC, 0, body, "DELAY\0011\002");
    }
    peer_await_offset(&p, TOPIC, 0, N);
    for (int at = 0; at < N;) {
        struct message m[32];
        int n;
        peer_pull(&p, TOPIC, 0, at, 0, m, 32, &n);
        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            char want[16];
            snprintf(want, sizeof want, "%d", at + i);
            assert_slice_equal(m[i].body, want);
        }
        at += n;
    }
    assert_int_equal(peer_max_offset(&p, TOPIC, 0), N);
    peer_close(&p);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_sent_back_comes_again_with_its_origin),
        cmocka_unit_test(known_failure_20_the_last_failure_goes_to_the_dead_letters_at_once),
        cmocka_unit_test(known_failure_20_an_orderly_consumer_reaches_the_dead_letters),
        cmocka_unit_test(a_negative_level_asks_for_the_dead_letters),
        cmocka_unit_test(offsets_that_hold_no_message_are_refused),
        cmocka_unit_test(a_delayed_message_survives_kill_9_and_is_never_early),
        cmocka_unit_test(many_delayed_messages_come_once_each_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
