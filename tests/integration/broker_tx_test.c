/* Transactions against the real broker: verdicts, check-back, and what upstream gets wrong (a poisoned
 * half stops the round, immunity uses up the checks, the first decision is not final, a busy thread for
 * ever after the first transaction). */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define FLUSH                                                                                      \
    "flushCommitLogLeastPages=0\nflushIntervalCommitLog=20\n" /* stored positions follow what is on disk */
#define QUICK FLUSH "transactionTimeOut=100\ntransactionCheckInterval=200\ntransactionCheckMax=3\n"
enum { COMMIT = 8, ROLLBACK = 12, UNKNOWN = 0, CHECK_MS = 10000 };
#define GROUP "tx_group"
#define TOPIC "tx_topic"

struct fixture {
    struct mq_process broker;
    struct peer p;
    const char *conf;
};

static void start(struct fixture *f, const char *conf)
{
    f->conf = conf;
    mq_broker_start(&f->broker, f->broker.dir ? f->broker.dir : tmpdir_new("tx"), NULL, conf, NULL);
    peer_open(&f->p, f->broker.address);
}

static void stop(struct fixture *f)
{
    peer_close(&f->p);
    mq_stop(&f->broker);
}

static void restart(struct fixture *f, bool kill9)
{
    peer_close(&f->p);
    if (kill9)
        mq_kill(&f->broker);
    else
        mq_stop(&f->broker);
    start(f, f->conf);
}

static struct peer_sent send_half(struct fixture *f, const char *id, const char *more_props)
{
    char props[512];
    snprintf(props, sizeof props, "UNIQ_KEY\001%s\002TRAN_MSG\001true\002PGROUP\001" GROUP "\002%s",
             id, more_props);
    return peer_send_message(&f->p, GROUP, TOPIC, 1, id, props);
}

static const struct command *end(struct fixture *f, const struct peer_sent *half, const char *id,
                                 int32_t verdict, bool from_check)
{
    const struct hdr_end_transaction h = {.topic = SLICE_LIT(TOPIC),
                                          .producer_group = SLICE_LIT(GROUP),
                                          .tran_state_table_offset = half->queue_offset,
                                          .commit_log_offset = half->phys_offset,
                                          .commit_or_rollback = verdict,
                                          .from_transaction_check = from_check,
                                          .msg_id = slice_str(id),
                                          .transaction_id = slice_str(id)};
    return peer_call(&f->p, RC_END_TRANSACTION, &h, SLICE_NULL);
}

/* END without an answer: an unknown verdict. */
static void end_unknown(struct fixture *f, const struct peer_sent *half, const char *id)
{
    const struct hdr_end_transaction h = {.producer_group = SLICE_LIT(GROUP),
                                          .tran_state_table_offset = half->queue_offset,
                                          .commit_log_offset = half->phys_offset,
                                          .commit_or_rollback = UNKNOWN,
                                          .from_transaction_check = true,
                                          .msg_id = slice_str(id)};
    peer_send(&f->p, RC_END_TRANSACTION, &h, SLICE_NULL, COMMAND_FLAG_ONEWAY);
}

/* Lowest undecided half, as the broker stores it for the next start. */
static int64_t low(struct fixture *f)
{
    const struct hdr_query_consumer_offset h = {.consumer_group = SLICE_LIT(GROUP_TRANS),
                                                .topic = SLICE_LIT(TOPIC_HALF)};
    int64_t v = -1;
    const struct command *const c = peer_call(&f->p, RC_QUERY_CONSUMER_OFFSET, &h, SLICE_NULL);
    slice_i64(command_ext(c, "offset"), &v);
    return v;
}
struct wait_low {
    struct fixture *f;
    int64_t want;
};
static bool low_reached(void *arg)
{
    const struct wait_low *const w = arg;
    return low(w->f) >= w->want;
}
static void await_low(struct fixture *f, int64_t want)
{
    struct wait_low w = {f, want};
    if (!wait_until(low_reached, &w, CHECK_MS))
        fail_msg("lowest undecided half is %lld, want %lld", (long long)low(f), (long long)want);
}

static void a_committed_half_reaches_its_topic_and_a_rolled_back_one_never(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK);
    const struct peer_sent a = send_half(&f, "ID-A", "TAGS\001x\002"),
                           b = send_half(&f, "ID-B", "");
    assert_int_equal(a.queue_offset, 0);
    assert_int_equal(b.queue_offset, 1);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 0);
    assert_int_equal(end(&f, &b, "ID-B", ROLLBACK, false)->code, RESP_SUCCESS);
    assert_int_equal(end(&f, &a, "ID-A", COMMIT, false)->code, RESP_SUCCESS);
    peer_await_offset(&f.p, TOPIC, 1, 1);

    struct message m[4];
    int n;
    peer_pull(&f.p, TOPIC, 1, 0, 0, m, 4, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m[0].body, "ID-A");
    assert_int_equal(m[0].sys_flag & SYSFLAG_TX_MASK, SYSFLAG_TX_COMMIT);
    assert_int_equal(m[0].prepared_offset, a.phys_offset);
    assert_slice_equal(props_str_get(m[0].properties, "TAGS"), "x");
    assert_slice_equal(props_str_get(m[0].properties, "__transactionId__"), "ID-A");
    assert_null(props_str_get(m[0].properties, "REAL_TOPIC").p);
    await_low(&f, 2);
    stop(&f);
}

static void the_first_decision_is_final(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK);
    const struct peer_sent a = send_half(&f, "ID-A", ""), b = send_half(&f, "ID-B", "");
    end(&f, &a, "ID-A", COMMIT, false);
    end(&f, &a, "ID-A", COMMIT, false);
    end(&f, &a, "ID-A", ROLLBACK, true);
    end(&f, &b, "ID-B", ROLLBACK, false);
    end(&f, &b, "ID-B", COMMIT, true);
    await_low(&f, 2);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    restart(&f, false);
    end(&f, &b, "ID-B", COMMIT, true);
    end(&f, &a, "ID-A", COMMIT, true);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    stop(&f);
}

static void an_end_that_does_not_fit_its_half_is_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, FLUSH "transactionTimeOut=600000\n");
    const struct peer_sent a = send_half(&f, "ID-A", ""),
                           plain = peer_send_message(&f.p, GROUP, TOPIC, 0, "plain", "");
    struct peer_sent wrong = a;
    wrong.queue_offset++;
    assert_slice_equal(end(&f, &wrong, "ID-A", COMMIT, false)->remark,
                       "The transaction state table offset wrong");
    wrong = a;
    wrong.phys_offset += 10;
    assert_slice_equal(end(&f, &wrong, "ID-A", COMMIT, false)->remark,
                       "Find prepared transaction message failed");
    assert_int_equal(end(&f, &plain, "ID-A", COMMIT, false)->code, RESP_SYSTEM_ERROR);
    wrong.phys_offset = -5;
    assert_int_equal(end(&f, &wrong, "ID-A", COMMIT, false)->code, RESP_SYSTEM_ERROR);
    const struct hdr_end_transaction h = {.producer_group = SLICE_LIT("other"),
                                          .tran_state_table_offset = a.queue_offset,
                                          .commit_log_offset = a.phys_offset,
                                          .commit_or_rollback = COMMIT,
                                          .msg_id = SLICE_LIT("x")};
    assert_slice_equal(peer_call(&f.p, RC_END_TRANSACTION, &h, SLICE_NULL)->remark,
                       "The producer group wrong");
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 0);
    stop(&f);
}

/* The push names the half by the offsets the producer was told. */
static void await_check(struct fixture *f, const struct peer_sent *half, const char *id)
{
    const struct command *const c = peer_push(&f->p, RC_CHECK_TRANSACTION_STATE, CHECK_MS);
    if (c == NULL)
        fail_msg("no check for %s", id);
    struct hdr_check_transaction h;
    struct message m;
    struct err e = {0};
    assert_ok(hdr_decode(&hdr_desc_check_transaction, HDR_LONG, c->ext, c->ext_n, &h, &e), &e);
    assert_int_equal(h.tran_state_table_offset, half->queue_offset);
    assert_int_equal(h.commit_log_offset, half->phys_offset);
    assert_slice_equal(h.transaction_id, id);
    assert_ok(message_decode(c->body, MESSAGE_CHECK_CRC, &m, &e), &e);
    assert_slice_equal(m.topic, TOPIC);
    assert_int_equal(m.queue_id, 1);
    assert_slice_equal(m.body, id);
}

static void an_undecided_half_is_checked_also_after_kill_9_and_commits_once(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    restart(&f, true);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    await_check(&f, &a, "ID-A");
    assert_int_equal(end(&f, &a, "ID-A", COMMIT, true)->code, RESP_SUCCESS);
    await_low(&f, 1);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    assert_null(peer_push(&f.p, RC_CHECK_TRANSACTION_STATE, 600));
    stop(&f);
}

static void nobody_connected_uses_up_no_checks(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, FLUSH "transactionTimeOut=10\ntransactionCheckInterval=20\ntransactionCheckMax=1\n");
    const struct peer_sent a = send_half(&f, "ID-A", "");
    /* many intervals pass while other halves come and go */
    for (int i = 0; i < 20; i++) {
        const struct peer_sent b = send_half(&f, "ID-B", "");
        end(&f, &b, "ID-B", ROLLBACK, false);
        wait_step(20);
    }
    assert_int_equal(peer_max_offset(&f.p, TOPIC_CHECK_MAX, 0), 0);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    await_check(&f, &a, "ID-A");
    assert_int_equal(end(&f, &a, "ID-A", COMMIT, true)->code, RESP_SUCCESS);
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

static void only_answered_checks_count_and_the_limit_parks(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    const struct peer_sent a = send_half(&f, "ID-A", "");
    for (int i = 0; i < 6; i++)
        await_check(&f, &a, "ID-A"); /* twice the limit, none answered */
    assert_int_equal(peer_max_offset(&f.p, TOPIC_CHECK_MAX, 0), 0);
    for (int i = 0; i < 3; i++) {
        await_check(&f, &a, "ID-A");
        end_unknown(&f, &a, "ID-A");
    }
    peer_await_offset(&f.p, TOPIC_CHECK_MAX, 0, 1);
    await_low(&f, 1);
    struct message m[2];
    int n;
    peer_pull(&f.p, TOPIC_CHECK_MAX, 0, 0, 0, m, 2, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m[0].body, "ID-A");
    assert_slice_equal(props_str_get(m[0].properties, PROP_REAL_TOPIC), TOPIC);
    stop(&f);
}

static void known_failure_18_immunity_delays_checks_and_uses_none_up(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, FLUSH "transactionTimeOut=10\ntransactionCheckInterval=50\ntransactionCheckMax=2\n");
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    const int64_t sent = clock_mono(&clock_system);
    const struct peer_sent a = send_half(&f, "ID-A", PROP_CHECK_IMMUNITY "\0012\002");
    await_check(&f, &a, "ID-A");
    const int64_t waited = clock_mono(&clock_system) - sent;
    if (waited < 1900)
        fail_msg("checked after %lld ms, immunity is 2000", (long long)waited);
    assert_int_equal(peer_max_offset(&f.p, TOPIC_CHECK_MAX, 0), 0);
    assert_int_equal(peer_max_offset(&f.p, TOPIC_HALF, 0), 1); /* and it was never rewritten */
    end(&f, &a, "ID-A", COMMIT, true);
    peer_await_offset(&f.p, TOPIC, 1, 1);
    stop(&f);
}

static void known_failure_18_a_poisoned_half_does_not_stop_the_others(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    /* no producer group: nobody can ever be asked */
    peer_send_message(&f.p, GROUP, TOPIC, 1, "poison", "UNIQ_KEY\001P\002TRAN_MSG\001true\002");
    const struct peer_sent a = send_half(&f, "ID-A", "");
    await_check(&f, &a, "ID-A");
    end(&f, &a, "ID-A", COMMIT, true);
    await_low(&f, 2);
    peer_await_offset(&f.p, TOPIC_CHECK_MAX, 0, 1);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 1);
    stop(&f);
}

static void set_store_time(const struct fixture *f, const struct peer_sent *half, int64_t ts)
{
    enum { STORE_TIME_AT = 56 };
    char be[8];
    be64_put(be, (uint64_t)ts);
    FILE *const fp =
        fopen(tmpdir_path(f->broker.dir, "store/commitlog/00000000000000000000"), "r+b");
    assert_non_null(fp);
    assert_int_equal(fseek(fp, half->phys_offset + STORE_TIME_AT, SEEK_SET), 0);
    assert_int_equal(fwrite(be, sizeof be, 1, fp), 1);
    assert_int_equal(fclose(fp), 0);
}

/* Without a checksum nothing tells that it is damaged. Of the far past: asked for at once, and its time to be decided
 * unasked has passed; of the far future: not asked for, and decided all the same. */
static void a_half_with_a_damaged_store_time_can_be_decided(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK "enabledAppendPropCRC=false\n");
    const struct peer_sent past = send_half(&f, "ID-P", PROP_CHECK_IMMUNITY "\0011\002"),
                           future = send_half(&f, "ID-F", "");
    peer_close(&f.p);
    mq_stop(&f.broker);
    set_store_time(&f, &past, INT64_MIN + 1);
    set_store_time(&f, &future, INT64_MAX);
    start(&f, f.conf);
    peer_heartbeat(&f.p, "client-1", GROUP, NULL, NULL);
    await_check(&f, &past, "ID-P");
    assert_int_equal(end(&f, &past, "ID-P", COMMIT, false)->code, RESP_ILLEGAL_OPERATION);
    assert_int_equal(end(&f, &past, "ID-P", COMMIT, true)->code, RESP_SUCCESS);
    assert_int_equal(end(&f, &future, "ID-F", COMMIT, false)->code, RESP_SUCCESS);
    await_low(&f, 2);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 2);
    stop(&f);
}

static int64_t cpu_ticks(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *const fp = fopen(path, "r");
    assert_non_null(fp);
    text[fread(text, 1, sizeof text - 1, fp)] = '\0';
    fclose(fp);
    long long user = 0, sys = 0;
    const char *const after = strrchr(text, ')');
    assert_non_null(after);
    assert_int_equal(
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user, &sys),
        2);
    return user + sys;
}

/* Upstream 5.5.0 uses 100 of 100 ticks a second from the first transaction on. */
static void known_failure_26_an_idle_broker_stays_idle_after_a_thousand_transactions(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, FLUSH);
    for (int i = 0; i < 1000; i++) {
        char id[32];
        snprintf(id, sizeof id, "ID-%d", i);
        const struct peer_sent a = send_half(&f, id, "");
        assert_int_equal(end(&f, &a, id, i % 2 ? COMMIT : ROLLBACK, false)->code, RESP_SUCCESS);
    }
    await_low(&f, 1000);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 500);
    const int64_t before = cpu_ticks(process_pid(f.broker.process)),
                  from = clock_mono(&clock_system);
    assert_null(peer_push(&f.p, RC_CHECK_TRANSACTION_STATE, 3000));
    const int64_t ticks = cpu_ticks(process_pid(f.broker.process)) - before;
    const int64_t ms = clock_mono(&clock_system) - from;
    /* a spinning thread would use ms / 10 ticks; a tenth of a core is the line between the two */
    if (ticks > ms / 100)
        fail_msg("%lld ticks of CPU in %lld ms while idle", (long long)ticks, (long long)ms);
    stop(&f);
}

static void decisions_survive_kill_9_in_sync_flush(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f, QUICK "flushDiskType=SYNC_FLUSH\nflushConsumerOffsetInterval=100\n");
    struct peer_sent half[50];
    for (int i = 0; i < 50; i++)
        half[i] = send_half(&f, "ID", "");
    for (int i = 0; i < 50; i += 2)
        assert_int_equal(end(&f, &half[i], "ID", i % 4 ? COMMIT : ROLLBACK, false)->code,
                         RESP_SUCCESS);
    peer_await_offset(&f.p, TOPIC, 1, 12);
    await_low(&f, 1);
    restart(&f, true);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 12);
    for (int i = 1; i < 50; i += 2)
        assert_int_equal(end(&f, &half[i], "ID", COMMIT, false)->code, RESP_SUCCESS);
    await_low(&f, 50);
    assert_int_equal(peer_max_offset(&f.p, TOPIC, 1), 37);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_committed_half_reaches_its_topic_and_a_rolled_back_one_never),
        cmocka_unit_test(the_first_decision_is_final),
        cmocka_unit_test(an_end_that_does_not_fit_its_half_is_refused),
        cmocka_unit_test(an_undecided_half_is_checked_also_after_kill_9_and_commits_once),
        cmocka_unit_test(nobody_connected_uses_up_no_checks),
        cmocka_unit_test(only_answered_checks_count_and_the_limit_parks),
        cmocka_unit_test(known_failure_18_immunity_delays_checks_and_uses_none_up),
        cmocka_unit_test(known_failure_18_a_poisoned_half_does_not_stop_the_others),
        cmocka_unit_test(a_half_with_a_damaged_store_time_can_be_decided),
        cmocka_unit_test(known_failure_26_an_idle_broker_stays_idle_after_a_thousand_transactions),
        cmocka_unit_test(decisions_survive_kill_9_in_sync_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
