/* Pulling and long polling, offsets and groups, against the real broker. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/wire.h"
#include "proto/body.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

static struct mq_process broker;

static int start(void **state)
{
    (void)state;
    mq_broker_start(&broker, tmpdir_new("pull"), NULL,
                    "flushConsumerOffsetInterval=100\nserverSelectorThreads=3\n", NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mq_stop(&broker);
    return 0;
}

enum { SUSPEND = 2, SUBSCRIPTION = 4 };

static struct hdr_pull_message header(const char *group, const char *topic, int64_t offset,
                                      int32_t flag)
{
    return (struct hdr_pull_message){.consumer_group = slice_str(group), .topic = slice_str(topic),
                                     .queue_offset = offset, .max_msg_nums = 32, .sys_flag = flag,
                                     .suspend_timeout_ms = 10000, .subscription = SLICE_LIT("*"),
                                     .expression_type = SLICE_LIT("TAG")};
}

static int pull_code(struct peer *p, const struct hdr_pull_message *h)
{
    return peer_call(p, RC_PULL_MESSAGE, h, SLICE_NULL)->code;
}

static void a_parked_pull_is_woken_by_a_send_from_another_connection(void **state)
{
    (void)state;
    struct peer p, q;
    peer_open(&p, broker.address);
    peer_open(&q, broker.address);
    peer_send_message(&q, "pg", "wake", 0, "first", "");
    const struct hdr_pull_message h = header("g", "wake", 1, SUSPEND | SUBSCRIPTION);
    peer_send(&p, RC_PULL_MESSAGE, &h, SLICE_NULL, 0);
    assert_null(peer_receive(&p, 100)); /* it waits */
    const int64_t before = clock_mono(&clock_system);
    peer_send_message(&q, "pg", "wake", 0, "second", "");
    const struct command *const c = peer_receive(&p, 5000);
    assert_non_null(c);
    assert_int_equal(c->code, RESP_SUCCESS);
    const int64_t took = clock_mono(&clock_system) - before;
    if (took > 1000)
        fail_msg("woken after %lld ms", (long long)took);
    peer_close(&p);
    peer_close(&q);
}

static void a_parked_pull_ends_with_not_found_at_its_deadline(void **state)
{
    (void)state;
    struct peer p;
    struct message m;
    int n;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "deadline", 0, "first", "");
    const int64_t before = clock_mono(&clock_system);
    const struct command *const c = peer_pull(&p, "deadline", 0, 1, 300, &m, 1, &n);
    const int64_t took = clock_mono(&clock_system) - before;
    assert_int_equal(c->code, RESP_PULL_NOT_FOUND);
    assert_slice_equal(command_ext(c, "nextBeginOffset"), "1");
    if (took < 300 || took > 5000)
        fail_msg("answered after %lld ms, asked to wait 300", (long long)took);
    peer_close(&p);
}

static void a_tag_filter_skips_moves_on_and_keeps_waiting(void **state)
{
    (void)state;
    struct peer p, q;
    peer_open(&p, broker.address);
    peer_open(&q, broker.address);
    peer_send_message(&q, "pg", "tags", 0, "a", "TAGS\001A\002");
    peer_send_message(&q, "pg", "tags", 0, "b", "TAGS\001B\002");
    struct hdr_pull_message h = header("g", "tags", 0, SUSPEND | SUBSCRIPTION);
    h.subscription = SLICE_LIT("B || C");
    const struct command *c = peer_call(&p, RC_PULL_MESSAGE, &h, SLICE_NULL);
    struct message m;
    struct err e;
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_slice_equal(command_ext(c, "nextBeginOffset"), "2");
    assert_ok(message_decode(c->body, 0, &m, &e), &e);
    assert_slice_equal(m.body, "b");
    h.subscription = SLICE_LIT("Z");
    h.queue_offset = 0;
    c = peer_call(&p, RC_PULL_MESSAGE, &h, SLICE_NULL);
    assert_int_equal(c->code, RESP_PULL_RETRY_IMMEDIATELY);
    assert_slice_equal(command_ext(c, "nextBeginOffset"), "2");
    h.queue_offset = 2;
    peer_send(&p, RC_PULL_MESSAGE, &h, SLICE_NULL, 0);
    assert_null(peer_receive(&p, 100));
    peer_send_message(&q, "pg", "tags", 0, "c", "TAGS\001A\002");
    assert_null(peer_receive(&p, 300)); /* not its tag */
    peer_send_message(&q, "pg", "tags", 0, "d", "TAGS\001Z\002");
    c = peer_receive(&p, 5000);
    assert_non_null(c);
    assert_int_equal(c->code, RESP_SUCCESS);
    peer_close(&p);
    peer_close(&q);
}

static void every_refusal_has_its_code(void **state)
{
    (void)state;
    struct peer p;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "refuse", 0, "x", "");
    struct hdr_pull_message h = header("g", "no_such_topic", 0, SUBSCRIPTION);
    assert_int_equal(pull_code(&p, &h), RESP_TOPIC_NOT_EXIST);
    h = header("g", "refuse", 0, SUBSCRIPTION);
    h.queue_id = 4;
    assert_int_equal(pull_code(&p, &h), RESP_INVALID_PARAMETER);
    h.queue_id = -1;
    assert_int_equal(pull_code(&p, &h), RESP_INVALID_PARAMETER);
    h = header("g/../g", "refuse", 0, SUBSCRIPTION);
    assert_int_equal(pull_code(&p, &h), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    h = header("g", "refuse", 0, SUBSCRIPTION);
    h.subscription = SLICE_LIT("|| ||");
    assert_int_equal(pull_code(&p, &h), RESP_SUBSCRIPTION_PARSE_FAILED);
    h = header("nobody_online", "refuse", 0, 0);
    assert_int_equal(pull_code(&p, &h), RESP_SUBSCRIPTION_NOT_EXIST);
    peer_heartbeat(&p, "c1", NULL, "online", "other_topic");
    h = header("online", "refuse", 0, 0);
    assert_int_equal(pull_code(&p, &h), RESP_SUBSCRIPTION_NOT_EXIST);
    peer_heartbeat(&p, "c1", NULL, "online", "refuse");
    h.sub_version = INT64_MAX;
    assert_int_equal(pull_code(&p, &h), RESP_SUBSCRIPTION_NOT_LATEST);
    h.sub_version = 0;
    assert_int_equal(pull_code(&p, &h), RESP_SUCCESS);
    h = header("g", "refuse", 5, SUBSCRIPTION);
    assert_int_equal(pull_code(&p, &h), RESP_PULL_OFFSET_MOVED);
    h = header("g", "refuse", 0, SUBSCRIPTION);
    h.queue_id = 1;
    assert_int_equal(pull_code(&p, &h), RESP_PULL_NOT_FOUND);
    h.queue_offset = 7;
    assert_int_equal(pull_code(&p, &h), RESP_PULL_OFFSET_MOVED);
    h.queue_offset = INT64_MIN;
    assert_int_equal(pull_code(&p, &h), RESP_PULL_OFFSET_MOVED);
    h = header("g", "refuse", 0, SUBSCRIPTION);
    h.expression_type = SLICE_LIT("SQL92");
    h.subscription = SLICE_LIT("a > 1");
    assert_int_equal(pull_code(&p, &h), RESP_SYSTEM_ERROR);
    peer_close(&p);
}

static int64_t query_offset(struct peer *p, const char *group, const char *topic, int32_t queue,
                            int *code)
{
    const struct hdr_query_consumer_offset h = {slice_str(group), slice_str(topic), queue, true};
    const struct command *const c = peer_call(p, RC_QUERY_CONSUMER_OFFSET, &h, SLICE_NULL);
    int64_t offset = -1;
    *code = c->code;
    if (c->code == RESP_SUCCESS)
        assert_int_equal(slice_i64(command_ext(c, "offset"), &offset), 0);
    return offset;
}

/* A new group asks for its offset while the first message of the queue is on its way, and pulls from
 * what it was told. Upstream 5.5.0 says "not found" on an empty queue, the client then asks for the
 * maximum, and a message that came in between is skipped. */
static void known_failure_27_a_new_group_skips_no_first_message(void **state)
{
    (void)state;
    enum { TOPICS = 10, QUEUES = 1000, PULL_MS = 5000 };
    struct peer consumer, producer;
    peer_open(&consumer, broker.address);
    peer_open(&producer, broker.address);
    for (int t = 0; t < TOPICS; t++) {
        char topic[32], group[32];
        struct err e = {0};
        snprintf(topic, sizeof topic, "young%d", t);
        assert_ok(wire_create_topic(consumer.fd, topic, QUEUES, &e), &e);
        for (int32_t queue = 0; queue < QUEUES; queue++) {
            int code, n;
            struct message m;
            snprintf(group, sizeof group, "new%d", queue % 100);
            const struct hdr_send_message first = {
                .producer_group = SLICE_LIT("pg"), .topic = slice_str(topic),
                .default_topic = SLICE_LIT("TBW102"), .default_topic_queue_nums = 4,
                .queue_id = queue, .born_timestamp = 1, .max_reconsume_times = -1};
            peer_send(&producer, RC_SEND_MESSAGE_V2, &first, SLICE_LIT("first"), 0);
            const int64_t from = query_offset(&consumer, group, topic, queue, &code);
            if (code != RESP_SUCCESS || from != 0)
                fail_msg("%s-%d: code %d, offset %lld", topic, queue, code, (long long)from);
            peer_pull(&consumer, topic, queue, from, PULL_MS, &m, 1, &n);
            assert_int_equal(n, 1);
            assert_int_equal(m.queue_offset, 0);
            assert_non_null(peer_receive(&producer, PULL_MS));
        }
    }
    peer_close(&consumer);
    peer_close(&producer);
}

static int commit(struct peer *p, const char *group, const char *topic, int32_t queue,
                  int64_t offset)
{
    const struct hdr_update_consumer_offset h = {slice_str(group), slice_str(topic), queue, offset};
    return peer_call(p, RC_UPDATE_CONSUMER_OFFSET, &h, SLICE_NULL)->code;
}

static void commits_are_checked_and_the_last_one_counts(void **state)
{
    (void)state;
    struct peer p;
    int code;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "commits", 0, "x", "");
    assert_int_equal(commit(&p, "never_seen", "commits", 0, 1), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    peer_heartbeat(&p, "c1", NULL, "committer", "commits");
    assert_int_equal(commit(&p, "committer", "no_such_topic", 0, 1), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(commit(&p, "committer", "commits", 4, 1), RESP_INVALID_PARAMETER);
    assert_int_equal(commit(&p, "committer", "commits", -1, 1), RESP_INVALID_PARAMETER);
    assert_int_equal(commit(&p, "committer", "commits", 3, 9), RESP_SUCCESS);
    assert_int_equal(commit(&p, "committer", "commits", 3, 4), RESP_SUCCESS);
    assert_int_equal(query_offset(&p, "committer", "commits", 3, &code), 4);
    const struct hdr_query_consumer_offset h = {SLICE_LIT("committer"), SLICE_LIT("commits"), 0,
                                                false};
    assert_int_equal(peer_call(&p, RC_QUERY_CONSUMER_OFFSET, &h, SLICE_NULL)->code,
                     RESP_QUERY_NOT_FOUND);
    peer_close(&p);
}

static void members_hear_of_each_other_and_of_a_lost_connection(void **state)
{
    (void)state;
    struct peer a, b;
    peer_open(&a, broker.address);
    peer_open(&b, broker.address);
    peer_heartbeat(&a, "client-a", NULL, "members", "topic");
    peer_heartbeat(&b, "client-b", NULL, "members", "topic");
    assert_non_null(peer_push(&a, RC_NOTIFY_CONSUMER_IDS_CHANGED, 5000));
    const struct hdr_consumer_group h = {SLICE_LIT("members")};
    const struct command *c = peer_call(&a, RC_GET_CONSUMER_LIST_BY_GROUP, &h, SLICE_NULL);
    assert_slice_equal(c->body, "{\"consumerIdList\":[\"client-a\",\"client-b\"]}");
    while (peer_push(&a, RC_NOTIFY_CONSUMER_IDS_CHANGED, 200) != NULL)
        ;
    peer_close(&b);
    assert_non_null(peer_push(&a, RC_NOTIFY_CONSUMER_IDS_CHANGED, 5000));
    c = peer_call(&a, RC_GET_CONSUMER_LIST_BY_GROUP, &h, SLICE_NULL);
    assert_slice_equal(c->body, "{\"consumerIdList\":[\"client-a\"]}");
    const struct hdr_unregister_client u = {.client_id = SLICE_LIT("client-a"),
                                            .consumer_group = SLICE_LIT("members")};
    assert_int_equal(peer_call(&a, RC_UNREGISTER_CLIENT, &u, SLICE_NULL)->code, RESP_SUCCESS);
    c = peer_call(&a, RC_GET_CONSUMER_LIST_BY_GROUP, &h, SLICE_NULL);
    assert_int_equal(c->code, RESP_SYSTEM_ERROR);
    assert_slice_equal(c->remark, "no consumer for this group, members");
    peer_close(&a);
}

static void two_connections_with_one_client_id_are_two_members(void **state)
{
    (void)state;
    struct peer a, b;
    peer_open(&a, broker.address);
    peer_open(&b, broker.address);
    peer_heartbeat(&a, "same", NULL, "twins", "topic");
    peer_heartbeat(&b, "same", NULL, "twins", "topic");
    const struct hdr_consumer_group h = {SLICE_LIT("twins")};
    assert_slice_equal(peer_call(&a, RC_GET_CONSUMER_LIST_BY_GROUP, &h, SLICE_NULL)->body,
                       "{\"consumerIdList\":[\"same\",\"same\"]}");
    peer_close(&a);
    peer_close(&b);
}

static size_t lock_queues(struct peer *p, int32_t code, const char *client, int32_t queues)
{
    struct mq_ref refs[4];
    struct buf body;
    for (int32_t i = 0; i < queues; i++)
        refs[i] = (struct mq_ref){SLICE_LIT("t"), SLICE_LIT("broker-t"), i};
    const struct lock_body lb = {.group = SLICE_LIT("orderly"),
                                 .client_id = slice_str(client),
                                 .queues = refs,
                                 .queue_n = (size_t)queues};
    buf_init(&body, 0);
    assert_int_equal(lock_body_encode(&lb, &body), 0);
    const struct command *const c = peer_call(p, code, NULL, buf_slice(&body));
    buf_free(&body);
    assert_int_equal(c->code, RESP_SUCCESS);
    if (code == RC_UNLOCK_BATCH_MQ)
        return 0;
    json_t *root;
    struct mq_ref *got;
    size_t n;
    struct err e;
    assert_ok(lock_ok_decode(c->body, &root, &got, &n, &e), &e);
    json_decref(root);
    free(got);
    return n;
}

static void a_locked_queue_is_left_out_for_others(void **state)
{
    (void)state;
    struct peer p;
    peer_open(&p, broker.address);
    assert_int_equal(lock_queues(&p, RC_LOCK_BATCH_MQ, "a", 2), 2);
    assert_int_equal(lock_queues(&p, RC_LOCK_BATCH_MQ, "b", 3), 1);
    lock_queues(&p, RC_UNLOCK_BATCH_MQ, "b", 2); /* not its own: nothing happens */
    assert_int_equal(lock_queues(&p, RC_LOCK_BATCH_MQ, "b", 2), 0);
    lock_queues(&p, RC_UNLOCK_BATCH_MQ, "a", 2);
    assert_int_equal(lock_queues(&p, RC_LOCK_BATCH_MQ, "b", 2), 2);
    peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parked_pull_is_woken_by_a_send_from_another_connection),
        cmocka_unit_test(a_parked_pull_ends_with_not_found_at_its_deadline),
        cmocka_unit_test(a_tag_filter_skips_moves_on_and_keeps_waiting),
        cmocka_unit_test(every_refusal_has_its_code),
        cmocka_unit_test(known_failure_27_a_new_group_skips_no_first_message),
        cmocka_unit_test(commits_are_checked_and_the_last_one_counts),
        cmocka_unit_test(members_hear_of_each_other_and_of_a_lost_connection),
        cmocka_unit_test(two_connections_with_one_client_id_are_two_members),
        cmocka_unit_test(a_locked_queue_is_left_out_for_others),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
