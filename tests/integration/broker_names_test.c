/* Names and numbers that no client should send, in every request that carries them. Each gets an answer
 * of RocketMQ's codes, nothing outside the data directory is touched, no table keeps them, and the broker
 * stays up (under its sanitizers). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/json.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static struct mq_process broker;

static int start(void **state)
{
    (void)state;
    mq_broker_start(&broker, tmpdir_new("names"), NULL, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mq_stop(&broker);
    return 0;
}

static char long_name[301], longer_name[40001];

static struct slice bad_name(size_t i)
{
    static const char nul[] = "a\0b", utf8[] = "\303\244\303\266\342\202\254",
                      broken_utf8[] = "\377\376x";
    const struct slice names[] = {SLICE_LIT("../x"),
                                  SLICE_LIT("..%2fx"),
                                  SLICE_LIT("/etc/x"),
                                  SLICE_LIT(".."),
                                  SLICE_LIT("."),
                                  SLICE_LIT("a/b"),
                                  SLICE_LIT("a\\b"),
                                  slice_of(nul, sizeof nul - 1),
                                  slice_of(utf8, sizeof utf8 - 1),
                                  slice_of(broken_utf8, sizeof broken_utf8 - 1),
                                  SLICE_LIT("a b"),
                                  SLICE_LIT(" "),
                                  SLICE_LIT(""),
                                  SLICE_LIT("a@b"),
                                  SLICE_LIT("\""),
                                  SLICE_LIT("a\nb"),
                                  SLICE_LIT("$(x)"),
                                  SLICE_LIT("%RETRY%../x"),
                                  SLICE_LIT("%DLQ%/x"),
                                  slice_str(long_name),
                                  slice_str(longer_name)};
    return i < sizeof names / sizeof *names ? names[i] : SLICE_NULL;
}

/* Sends; the answer must be an answer. A name that does not fit a header at all ends the connection. */
static int32_t code_of(struct peer *p, int32_t code, const void *hdr, struct slice body)
{
    const struct command *const c = peer_call(p, code, hdr, body);
    if (c->code < 0 || c->code > 2100)
        fail_msg("request %d is answered with code %d", code, c->code);
    return c->code;
}

static void refused(int32_t request, int32_t got, struct slice name)
{
    if (got == RESP_SUCCESS)
        fail_msg("request %d takes the name \"%.*s\" (%zu bytes)", request,
                 (int)(name.n < 40 ? name.n : 40), name.p, name.n);
}

static void ask_with_topic(struct peer *p, struct slice t)
{
    struct hdr_send_message send = {.producer_group = SLICE_LIT("pg"),
                                    .topic = t,
                                    .default_topic = SLICE_LIT("TBW102"),
                                    .default_topic_queue_nums = 4,
                                    .born_timestamp = 1,
                                    .max_reconsume_times = -1};
    static const int32_t sends[] = {RC_SEND_MESSAGE, RC_SEND_MESSAGE_V2, RC_SEND_BATCH_MESSAGE};
    for (size_t i = 0; i < 3; i++) {
        send.batch = sends[i] == RC_SEND_BATCH_MESSAGE;
        refused(sends[i], code_of(p, sends[i], &send, SLICE_LIT("body")), t);
    }
    send.batch = false;
    send.topic = SLICE_LIT("from_template");
    send.default_topic = t;
    (void)code_of(p, RC_SEND_MESSAGE, &send, SLICE_LIT("body"));
    const struct hdr_pull_message pull = {.consumer_group = SLICE_LIT("g"),
                                          .topic = t,
                                          .max_msg_nums = 32,
                                          .sys_flag = 4,
                                          .subscription = SLICE_LIT("*"),
                                          .expression_type = SLICE_LIT("TAG")};
    refused(RC_PULL_MESSAGE, code_of(p, RC_PULL_MESSAGE, &pull, SLICE_NULL), t);
    const struct hdr_query_consumer_offset query = {SLICE_LIT("g"), t, 0, false};
    refused(RC_QUERY_CONSUMER_OFFSET, code_of(p, RC_QUERY_CONSUMER_OFFSET, &query, SLICE_NULL), t);
    const struct hdr_update_consumer_offset update = {SLICE_LIT("g"), t, 0, 5};
    refused(RC_UPDATE_CONSUMER_OFFSET, code_of(p, RC_UPDATE_CONSUMER_OFFSET, &update, SLICE_NULL),
            t);
    const struct hdr_create_topic create = {.topic = t,
                                            .default_topic = SLICE_LIT("TBW102"),
                                            .read_queue_nums = 1,
                                            .write_queue_nums = 1,
                                            .perm = 6,
                                            .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
    refused(RC_UPDATE_AND_CREATE_TOPIC, code_of(p, RC_UPDATE_AND_CREATE_TOPIC, &create, SLICE_NULL),
            t);
    const struct hdr_topic_queue range = {.topic = t, .committed = true};
    (void)code_of(p, RC_GET_MAX_OFFSET, &range, SLICE_NULL);
    (void)code_of(p, RC_GET_MIN_OFFSET, &range, SLICE_NULL);
    (void)code_of(p, RC_GET_EARLIEST_MSG_STORETIME, &range, SLICE_NULL);
    const struct hdr_search_offset search = {.topic = t, .timestamp = 1};
    (void)code_of(p, RC_SEARCH_OFFSET_BY_TIMESTAMP, &search, SLICE_NULL);
}

static void ask_with_group(struct peer *p, struct slice g, int64_t phys)
{
    const struct hdr_pull_message pull = {.consumer_group = g,
                                          .topic = SLICE_LIT("t"),
                                          .max_msg_nums = 32,
                                          .sys_flag = 4,
                                          .subscription = SLICE_LIT("*"),
                                          .expression_type = SLICE_LIT("TAG")};
    refused(RC_PULL_MESSAGE, code_of(p, RC_PULL_MESSAGE, &pull, SLICE_NULL), g);
    const struct hdr_query_consumer_offset query = {g, SLICE_LIT("t"), 0, false};
    refused(RC_QUERY_CONSUMER_OFFSET, code_of(p, RC_QUERY_CONSUMER_OFFSET, &query, SLICE_NULL), g);
    const struct hdr_update_consumer_offset update = {g, SLICE_LIT("t"), 0, 1};
    refused(RC_UPDATE_CONSUMER_OFFSET, code_of(p, RC_UPDATE_CONSUMER_OFFSET, &update, SLICE_NULL),
            g);
    const struct hdr_send_msg_back back = {.offset = phys, .group = g, .max_reconsume_times = 16};
    refused(RC_CONSUMER_SEND_MSG_BACK, code_of(p, RC_CONSUMER_SEND_MSG_BACK, &back, SLICE_NULL), g);
    const struct hdr_end_transaction end = {.producer_group = g,
                                            .commit_log_offset = phys,
                                            .commit_or_rollback = 8,
                                            .msg_id = g,
                                            .topic = g};
    refused(RC_END_TRANSACTION, code_of(p, RC_END_TRANSACTION, &end, SLICE_NULL), g);
    const struct hdr_consumer_group list = {g};
    refused(RC_GET_CONSUMER_LIST_BY_GROUP,
            code_of(p, RC_GET_CONSUMER_LIST_BY_GROUP, &list, SLICE_NULL), g);
    const struct hdr_unregister_client bye = {
        .client_id = SLICE_LIT("c"), .producer_group = g, .consumer_group = g};
    (void)code_of(p, RC_UNREGISTER_CLIENT, &bye, SLICE_NULL);
}

static void text_of(struct slice s, struct buf *out)
{
    json_t *const j = json_stringn_nocheck(s.p, s.n);
    char *const text = json_dumps(j, JSON_ENCODE_ANY);
    buf_str(out, text != NULL ? text : "\"\"");
    free(text);
    json_decref(j);
}

static void ask_with_body(struct peer *p, struct slice name)
{
    struct buf quoted, body;
    buf_init(&quoted, 0);
    buf_init(&body, 0);
    text_of(name, &quoted);
    buf_char(&quoted, '\0');
    const char *const n = quoted.p;
    buf_printf(
        &body,
        "{\"groupName\":%s,\"consumeEnable\":true,\"retryQueueNums\":1,\"retryMaxTimes\":16}", n);
    refused(RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
            code_of(p, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NULL, buf_slice(&body)), name);
    buf_clear(&body);
    buf_printf(
        &body,
        "{\"clientID\":%s,\"producerDataSet\":[{\"groupName\":%s}],\"consumerDataSet\":[{\"groupName\":%s,"
        "\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\",\"consumeFromWhere\":"
        "\"CONSUME_FROM_FIRST_OFFSET\",\"unitMode\":false,\"subscriptionDataSet\":[{\"topic\":%s,\"subString\":%s,"
        "\"subVersion\":1,\"tagsSet\":[%s],\"codeSet\":[1]}]}]}",
        n, n, n, n, n, n);
    (void)code_of(p, RC_HEART_BEAT, NULL, buf_slice(&body));
    buf_clear(&body);
    buf_printf(
        &body,
        "{\"consumerGroup\":%s,\"clientId\":%s,\"mqSet\":[{\"topic\":%s,\"brokerName\":%s,\"queueId\":0}]}",
        n, n, n, n);
    (void)code_of(p, RC_LOCK_BATCH_MQ, NULL, buf_slice(&body));
    (void)code_of(p, RC_UNLOCK_BATCH_MQ, NULL, buf_slice(&body));
    buf_free(&quoted);
    buf_free(&body);
}

/* Every name in a directory of the store must be legal: letters, digits, %|-_ and what we put there. */
static void assert_names_below(const char *dir)
{
    DIR *const d = opendir(dir);
    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        const struct slice name = slice_str(e->d_name);
        struct err err;
        if (e->d_name[0] != '.' && topic_name_check(name, &err) != 0)
            fail_msg("%s holds \"%s\": %s", dir, e->d_name, err.text);
    }
    closedir(d);
}

static void illegal_names_are_refused_everywhere(void **state)
{
    (void)state;
    struct peer p;
    memset(long_name, 'a', sizeof long_name - 1);
    memset(longer_name, 'b', sizeof longer_name - 1);
    peer_open(&p, broker.address);
    const struct peer_sent s = peer_send_message(&p, "pg", "t", 0, "m", "");
    for (size_t i = 0; bad_name(i).p != NULL; i++) {
        ask_with_topic(&p, bad_name(i));
        ask_with_group(&p, bad_name(i), s.phys_offset);
        ask_with_body(&p, bad_name(i));
    }
    peer_send_message(&p, "pg", "t", 0, "still served", "");
    peer_close(&p);
    struct stat st;
    assert_names_below(tmpdir_path(broker.dir, "store/consumequeue"));
    assert_int_equal(stat(tmpdir_path(broker.dir, "x"), &st), -1);
    assert_int_equal(stat(tmpdir_path(broker.dir, "store/x"), &st), -1);
    mq_stop(&broker); /* what the tables kept must load again */
    mq_broker_start(&broker, broker.dir, NULL, NULL, NULL);
}

static void numbers_at_their_limits_get_an_answer(void **state)
{
    (void)state;
    static const int32_t limits[] = {INT32_MIN,     INT32_MIN + 1, -1,       0,
                                     INT32_MAX - 3, INT32_MAX - 1, INT32_MAX};
    static const int64_t wide[] = {INT64_MIN, -1, 0, INT64_MAX - 1, INT64_MAX};
    struct peer p;
    peer_open(&p, broker.address);
    peer_send_message(&p, "pg", "numbers", 0, "m",
                      ""); /* the number of queues is asked for once only */
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
            const struct hdr_send_message send = {.producer_group = SLICE_LIT("pg"),
                                                  .topic = SLICE_LIT("numbers"),
                                                  .default_topic = SLICE_LIT("TBW102"),
                                                  .default_topic_queue_nums = limits[i],
                                                  .queue_id = 0,
                                                  .born_timestamp = wide[i % 5],
                                                  .flag = limits[k],
                                                  .reconsume_times = limits[i],
                                                  .max_reconsume_times = limits[k]};
            const struct command *const c =
                peer_call(&p, RC_SEND_MESSAGE_V2, &send, SLICE_LIT("m"));
            if (c->code != RESP_SUCCESS)
                continue;
            char id[64];
            struct host host;
            int64_t phys;
            assert_int_equal(slice_copy(command_ext(c, "msgId"), id, sizeof id), 0);
            assert_int_equal(offset_msg_id_parse(slice_str(id), &host, &phys), 0);
            const struct hdr_send_msg_back back = {.offset = phys,
                                                   .group = SLICE_LIT("g"),
                                                   .delay_level = 0,
                                                   .max_reconsume_times = limits[k]};
            (void)code_of(&p, RC_CONSUMER_SEND_MSG_BACK, &back, SLICE_NULL);
            const struct hdr_send_msg_back level = {.offset = phys,
                                                    .group = SLICE_LIT("g"),
                                                    .delay_level = limits[k],
                                                    .max_reconsume_times = INT32_MAX};
            (void)code_of(&p, RC_CONSUMER_SEND_MSG_BACK, &level, SLICE_NULL);
        }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
            const struct hdr_pull_message pull = {.consumer_group = SLICE_LIT("g"),
                                                  .topic = SLICE_LIT("numbers"),
                                                  .queue_id = limits[k],
                                                  .queue_offset = wide[i],
                                                  .max_msg_nums = limits[k],
                                                  .sys_flag = 5,
                                                  .commit_offset = wide[i],
                                                  .suspend_timeout_ms = wide[i],
                                                  .subscription = SLICE_LIT("*"),
                                                  .expression_type = SLICE_LIT("TAG"),
                                                  .sub_version = wide[i]};
            (void)code_of(&p, RC_PULL_MESSAGE, &pull, SLICE_NULL);
            const struct hdr_end_transaction end = {.producer_group = SLICE_LIT("pg"),
                                                    .tran_state_table_offset = wide[i],
                                                    .commit_log_offset = wide[4 - i],
                                                    .commit_or_rollback = 8,
                                                    .msg_id = SLICE_LIT("x")};
            (void)code_of(&p, RC_END_TRANSACTION, &end, SLICE_NULL);
            const struct hdr_update_consumer_offset update = {SLICE_LIT("g"), SLICE_LIT("numbers"),
                                                              limits[k], wide[i]};
            (void)code_of(&p, RC_UPDATE_CONSUMER_OFFSET, &update, SLICE_NULL);
            const struct hdr_create_topic create = {.topic = SLICE_LIT("limits"),
                                                    .default_topic = SLICE_LIT("TBW102"),
                                                    .read_queue_nums = limits[k],
                                                    .write_queue_nums = limits[6 - k],
                                                    .perm = limits[i],
                                                    .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
            (void)code_of(&p, RC_UPDATE_AND_CREATE_TOPIC, &create, SLICE_NULL);
            const struct hdr_search_offset search = {
                .topic = SLICE_LIT("numbers"), .queue_id = limits[k], .timestamp = wide[i]};
            (void)code_of(&p, RC_SEARCH_OFFSET_BY_TIMESTAMP, &search, SLICE_NULL);
            char props[256];
            snprintf(
                props, sizeof props,
                "UNIQ_KEY\001x\002TRAN_MSG\001true\002PGROUP\001pg\002DELAY\001%lld\002CHECK_IMMUNITY_TIME_IN_SECONDS\001%lld\002",
                (long long)wide[i], (long long)wide[i]);
            peer_send_message(&p, "pg", "numbers", 0, "m", props);
        }
    peer_send_message(&p, "pg", "numbers", 0, "still served", "");
    peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(illegal_names_are_refused_everywhere),
        cmocka_unit_test(numbers_at_their_limits_get_an_answer),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
