/* Transactions when something goes wrong: forged halves, faults at every step, kill -9 and stops with
 * verdicts still on their way to disk. What must hold: a half is decided once, by its own group, or it is
 * asked about again; an answered verdict survives an orderly stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

#define FLUSH                                                                                      \
    "flushCommitLogLeastPages=0\nflushIntervalCommitLog=20\nflushConsumerOffsetInterval=100\n"
#define QUICK FLUSH "transactionTimeOut=100\ntransactionCheckInterval=200\n"
#define NEVER FLUSH "transactionTimeOut=600000\n"
#define SYNC "flushDiskType=SYNC_FLUSH\n"
#define GROUP "tx_group"
#define TOPIC "tx_topic"
#define FAIL(spec) "HALFPENNY_FAILPOINTS=" spec
enum { COMMIT = 8, ROLLBACK = 12, WAIT_MS = 10000, CRASH_CODE = 99 };

struct fixture {
    struct mq_process broker;
    struct peer p;
    const char *conf;
};

static void start(struct fixture *f, const char *conf, const char *env)
{
    f->conf = conf;
    mq_broker_start(&f->broker, f->broker.dir ? f->broker.dir : tmpdir_new("txf"), NULL, conf, env);
    peer_open(&f->p, f->broker.address);
}

static void stop(struct fixture *f)
{
    peer_close(&f->p);
    mq_stop(&f->broker);
}

static struct peer_sent send_half(struct fixture *f, const char *id, const char *more_props)
{
    char props[512];
    snprintf(props, sizeof props, "UNIQ_KEY\001%s\002TRAN_MSG\001true\002PGROUP\001" GROUP "\002%s",
             id, more_props);
    return peer_send_message(&f->p, GROUP, TOPIC, 1, id, props);
}

static struct hdr_end_transaction end_of(const struct peer_sent *half, const char *id,
                                         int32_t verdict)
{
    return (struct hdr_end_transaction){.topic = SLICE_LIT(TOPIC),
                                        .producer_group = SLICE_LIT(GROUP),
                                        .tran_state_table_offset = half->queue_offset,
                                        .commit_log_offset = half->phys_offset,
                                        .commit_or_rollback = verdict,
                                        .msg_id = slice_str(id),
                                        .transaction_id = slice_str(id)};
}

static const struct command *end(struct fixture *f, const struct peer_sent *half, const char *id,
                                 int32_t verdict)
{
    const struct hdr_end_transaction h = end_of(half, id, verdict);
    return peer_call(&f->p, RC_END_TRANSACTION, &h, SLICE_NULL);
}

/* Waits for the check of this half and answers it. */
static void answer_check(struct fixture *f, const struct peer_sent *half, const char *id,
                         int32_t verdict)
{
    const struct command *const c = peer_push(&f->p, RC_CHECK_TRANSACTION_STATE, WAIT_MS);
    struct hdr_check_transaction h;
    struct err e = {0};
    if (c == NULL)
        fail_msg("no check for %s", id);
    assert_ok(hdr_decode(&hdr_desc_check_transaction, HDR_LONG, c->ext, c->ext_n, &h, &e), &e);
    assert_int_equal(h.tran_state_table_offset, half->queue_offset);
    assert_int_equal(h.commit_log_offset, half->phys_offset);
    assert_int_equal(end(f, half, id, verdict)->code, RESP_SUCCESS);
}

/* --- forged halves --- */

/* Sends a message whose body is a record of the half topic; returns where that record lies. */
static int64_t plant(struct fixture *f, int64_t queue_offset)
{
    static const char props[] =
        "PGROUP\001" GROUP "\002REAL_TOPIC\001" TOPIC "\002REAL_QID\0011\002";
    const struct peer_sent a = peer_send_message(&f->p, "pg", "plain", 0, "a", ""),
                           b = peer_send_message(&f->p, "pg", "plain", 0, "b", "");
    enum { BODY_AT = 88 }; /* of a record with IPv4 hosts */
    const int64_t inner = b.phys_offset + (b.phys_offset - a.phys_offset) + BODY_AT;
    struct message m = {.topic = SLICE_LIT(TOPIC_HALF),
                        .body = SLICE_LIT("forged"),
                        .body_crc = -1,
                        .properties = slice_of(props, sizeof props - 1)};
    m.born_host.len = m.store_host.len = 4;
    size_t size;
    assert_int_equal(message_prepare(&m, &size), 0);
    char *record = malloc(size);
    assert_non_null(record);
    message_encode(&m, record, size);
    message_patch(record, queue_offset, inner, clock_wall(&clock_system));
    const struct hdr_send_message h = {.producer_group = SLICE_LIT("pg"),
                                       .topic = SLICE_LIT("plain"),
                                       .default_topic = SLICE_LIT("TBW102"),
                                       .default_topic_queue_nums = 4,
                                       .born_timestamp = 1,
                                       .max_reconsume_times = -1};
    const struct command *const c =
        peer_call(&f->p, RC_SEND_MESSAGE_V2, &h, slice_of(record, size));
    struct host host;
    int64_t outer;
    assert_int_equal(offset_msg_id_parse(command_ext(c, "msgId"), &host, &outer), 0);
    assert_int_equal(outer + BODY_AT, inner);
    free(record);
    return inner;
}

static void a_record_inside_a_body_is_no_half(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, NEVER, NULL);
    const struct peer_sent victim = send_half(&f, "ID-V", "");
    const struct peer_sent over = {victim.queue_offset, plant(&f, victim.queue_offset), 0, ""};
    assert_int_equal(end(&f, &over, "x", ROLLBACK)->code, RESP_SYSTEM_ERROR);
    const struct peer_sent beyond = {30000000000, plant(&f, 30000000000), 0, ""};
    assert_int_equal(end(&f, &beyond, "x", ROLLBACK)->code, RESP_SYSTEM_ERROR);
    assert_int_equal(end(&f, &victim, "ID-V", COMMIT)->code, RESP_SUCCESS);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    stop(&f);
}

/* --- what else a client may put on a half --- */

static void a_half_with_a_delay_level_is_a_half(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s\n" NEVER,
          NULL);
    const struct peer_sent a = send_half(&f, "ID-A", "DELAY\0011\002");
    assert_int_equal(peer_max_offset(&f.p, TOPIC_HALF, 0), 1);
    assert_int_equal(end(&f, &a, "ID-A", COMMIT)->code, RESP_SUCCESS);
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

/* --- a fault at each step --- */

static void a_commit_that_cannot_be_stored_leaves_the_half_to_be_checked(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK, FAIL("tx.commit.put=error(E_IO)*2"));
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    assert_int_not_equal(end(&f, &a, "ID-A", COMMIT)->code, RESP_SUCCESS);
    assert_non_null(peer_push(&f.p, RC_CHECK_TRANSACTION_STATE, WAIT_MS));
    assert_int_not_equal(end(&f, &a, "ID-A", COMMIT)->code, RESP_SUCCESS);
    answer_check(&f, &a, "ID-A", COMMIT);
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

static void a_check_that_cannot_be_sent_is_sent_later(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK, FAIL("tx.check=error(E_IO)*3"));
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    answer_check(&f, &a, "ID-A", COMMIT);
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

static void a_check_that_is_sent_twice_is_decided_once(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, FLUSH "transactionTimeOut=100\ntransactionCheckInterval=3000\n",
          FAIL("tx.check.again=error(E_IO)*1"));
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    assert_non_null(peer_push(&f.p, RC_CHECK_TRANSACTION_STATE, WAIT_MS));
    assert_non_null(peer_push(&f.p, RC_CHECK_TRANSACTION_STATE, 1500)); /* before its time */
    assert_int_equal(end(&f, &a, "ID-A", COMMIT)->code, RESP_SUCCESS);
    assert_slice_equal(end(&f, &a, "ID-A", ROLLBACK)->remark, "already decided");
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

static void an_op_record_that_cannot_be_written_is_written_later(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, NEVER, FAIL("tx.op=error(E_IO)*3"));
    const struct peer_sent a = send_half(&f, "ID-A", ""), b = send_half(&f, "ID-B", "");
    assert_int_equal(end(&f, &a, "ID-A", ROLLBACK)->code, RESP_SUCCESS);
    assert_int_equal(end(&f, &b, "ID-B", COMMIT)->code, RESP_SUCCESS);
    peer_await_offset(&f.p, TOPIC_OP, 0, 1);
    stop(&f);
    start(&f, NEVER, NULL);
    assert_slice_equal(end(&f, &a, "ID-A", COMMIT)->remark, "already decided");
    assert_slice_equal(end(&f, &b, "ID-B", ROLLBACK)->remark, "already decided");
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    stop(&f);
}

/* The broker dies at `point` while it serves the END; after the restart the half is asked about. */
static void dies_at(const char *env, int32_t verdict)
{
    struct fixture f = {0};
    start(&f, SYNC QUICK, env);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    const struct hdr_end_transaction h = end_of(&a, "ID-A", verdict);
    peer_send(&f.p, RC_END_TRANSACTION, &h, SLICE_NULL, 0);
    if (process_wait(f.broker.process, WAIT_MS) != CRASH_CODE)
        fail_msg("%s did not fire", env);
    process_free(f.broker.process);
    peer_close(&f.p);
    start(&f, SYNC QUICK, NULL);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    answer_check(&f, &a, "ID-A", verdict);
    if (verdict == COMMIT)
        peer_await_offset(&f.p, TOPIC, 1, 1);
    else
        peer_await_offset(&f.p, TOPIC_OP, 0, 1);
    assert_int_equal(peer_max_offset(&f.p, TOPIC_CHECK_MAX, 0), 0);
    stop(&f);
}

static void a_crash_at_any_step_of_a_verdict_brings_the_check(void **state)
{
    (void)state;
    dies_at(FAIL("tx.commit.put=crash"), COMMIT);
    dies_at(FAIL("tx.op=crash"), COMMIT);
    dies_at(FAIL("tx.op=crash"), ROLLBACK);
    dies_at(FAIL("store.append.write=crash,after(1)"), COMMIT);
    dies_at(FAIL("store.flush.sync=crash,after(1)"), COMMIT);
}

static void a_failed_store_keeps_halves_for_the_next_start(void **state)
{
    (void)state;
    static const char *const faults[] = {FAIL("store.flush.sync=error(E_IO),after(1)"),
                                         FAIL("store.append.write=error(E_IO),after(1)")};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct fixture f = {0};
        start(&f, SYNC QUICK, faults[i]);
        const struct peer_sent a = send_half(&f, "ID-A", "");
        assert_int_equal(end(&f, &a, "ID-A", COMMIT)->code, RESP_SERVICE_NOT_AVAILABLE);
        peer_close(&f.p);
        assert_int_equal(process_signal(f.broker.process, SIGTERM), 0);
        assert_int_equal(process_wait(f.broker.process, WAIT_MS), 3);
        process_free(f.broker.process);
        start(&f, SYNC QUICK, NULL);
        peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
        const int64_t before = peer_max_offset(&f.p, TOPIC, 1); /* 1: written, though not synced */
        answer_check(&f, &a, "ID-A", COMMIT);
        peer_await_offset(&f.p, TOPIC, 1, before + 1);
        stop(&f);
    }
}

/* --- stops --- */

static void verdicts_on_their_way_to_disk_survive_an_orderly_stop(void **state)
{
    (void)state;
    enum { N = 40 };
    struct fixture f = {0};
    start(&f, SYNC NEVER, FAIL("store.flush.sync=sleep(30)"));
    struct peer_sent half[N];
    for (int i = 0; i < N; i++)
        half[i] = send_half(&f, "ID", "");
    for (int i = 0; i < N; i++)
        assert_int_equal(end(&f, &half[i], "ID", ROLLBACK)->code, RESP_SUCCESS);
    stop(&f);
    start(&f, SYNC NEVER, NULL);
    for (int i = 0; i < N; i++)
        assert_slice_equal(end(&f, &half[i], "ID", COMMIT)->remark, "already decided");
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 0);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_inside_a_body_is_no_half),
        cmocka_unit_test(a_half_with_a_delay_level_is_a_half),
        cmocka_unit_test(a_commit_that_cannot_be_stored_leaves_the_half_to_be_checked),
        cmocka_unit_test(a_check_that_cannot_be_sent_is_sent_later),
        cmocka_unit_test(a_check_that_is_sent_twice_is_decided_once),
        cmocka_unit_test(an_op_record_that_cannot_be_written_is_written_later),
        cmocka_unit_test(a_crash_at_any_step_of_a_verdict_brings_the_check),
        cmocka_unit_test(a_failed_store_keeps_halves_for_the_next_start),
        cmocka_unit_test(verdicts_on_their_way_to_disk_survive_an_orderly_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
