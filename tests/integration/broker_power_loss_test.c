/* A power cut takes what was written but not synced. Simulated: kill -9, then the log is blanked from the
 * first byte that no sync covered. Positions in config/ are durable at once, so none of them may lead. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define TOPIC "topic"
enum { WAIT_MS = 10000, RECORD_MAX = 1024 };

/* Everything behind the record at phys_offset is gone. */
static void cut_after(const char *dir, int64_t phys_offset)
{
    const int fd = open(tmpdir_path(dir, "store/commitlog/00000000000000000000"), O_RDWR);
    unsigned char size[4];
    static const char blank[64 * RECORD_MAX];
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, size, sizeof size, phys_offset), sizeof size);
    const int64_t end = phys_offset + (size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3]);
    assert_int_equal(pwrite(fd, blank, sizeof blank, end), sizeof blank);
    close(fd);
}

struct text_in {
    const char *path;
    const char *part;
};
static bool file_has(void *arg)
{
    const struct text_in *const t = arg;
    char *text;
    size_t n;
    if (fs_read_all(&fs_real, t->path, 1 << 20, &text, &n, NULL) != 0)
        return false;
    const bool has = strstr(text, t->part) != NULL;
    free(text);
    return has;
}

static void a_delayed_message_is_not_counted_as_delivered_before_that_is_on_disk(void **state)
{
    (void)state;
    static const char conf[] =
        "flushDiskType=SYNC_FLUSH\nmessageDelayLevel=1s 5s\nflushDelayOffsetInterval=100\n";
    const char *const dir = tmpdir_new("delaycut");
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, dir, NULL, conf,
                    "HALFPENNY_FAILPOINTS=store.flush.sync=sleep(60000),after(1)");
    peer_open(&p, b.address);
    const struct peer_sent s = peer_send_message(&p, "pg", TOPIC, 0, "later", "DELAY\0011\002");
    struct text_in written = {tmpdir_path(dir, "store/config/delayOffset.json"), "\"1\":1"};
    if (wait_until(file_has, &written, 3000))
        print_message("the position leads the disk\n");
    peer_close(&p);
    mq_kill(&b);
    cut_after(dir, s.phys_offset);
    mq_broker_start(&b, dir, NULL, conf, NULL);
    peer_open(&p, b.address);
    peer_await_offset(&p, TOPIC, 0, 1); /* else the delayed message is lost */
    peer_close(&p);
    mq_stop(&b);
}

static void a_group_ahead_of_the_cut_log_misses_nothing_that_comes(void **state)
{
    (void)state;
    enum { KEPT = 5, ALL = 10 };
    const char *const dir = tmpdir_new("groupcut");
    struct mq_process b;
    struct peer p;
    struct peer_sent sent[ALL];
    mq_broker_start(&b, dir, NULL, "flushConsumerOffsetInterval=100\n", NULL);
    peer_open(&p, b.address);
    for (int i = 0; i < ALL; i++)
        sent[i] = peer_send_message(&p, "pg", TOPIC, 0, "m", "");
    peer_heartbeat(&p, "c", NULL, "g", TOPIC);
    const struct hdr_update_consumer_offset h = {SLICE_LIT("g"), SLICE_LIT(TOPIC), 0, ALL};
    assert_int_equal(peer_call(&p, RC_UPDATE_CONSUMER_OFFSET, &h, SLICE_NULL)->code, RESP_SUCCESS);
    struct text_in written = {tmpdir_path(dir, "store/config/consumerOffset.json"), "\"0\":10"};
    assert_true(wait_until(file_has, &written, WAIT_MS));
    peer_close(&p);
    mq_kill(&b);
    cut_after(dir, sent[KEPT - 1].phys_offset);
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    assert_int_equal(peer_max_offset(&p, TOPIC, 0), KEPT);
    for (int i = 0; i < ALL; i++)
        peer_send_message(&p, "pg", TOPIC, 0, "new", "");
    const struct hdr_query_consumer_offset q = {SLICE_LIT("g"), SLICE_LIT(TOPIC), 0, false};
    assert_slice_equal(
        command_ext(peer_call(&p, RC_QUERY_CONSUMER_OFFSET, &q, SLICE_NULL), "offset"), "5");
    peer_close(&p);
    mq_stop(&b);
}

/* The op record of these verdicts is never synced: the stored positions must stay before the halves. */
static void verdicts_that_a_cut_takes_away_are_asked_for_again(void **state)
{
    (void)state;
    enum { ROLLBACK = 12 };
    static const char conf[] = "flushDiskType=SYNC_FLUSH\nflushConsumerOffsetInterval=100\n"
                               "transactionTimeOut=100\ntransactionCheckInterval=300\n";
    const char *const dir = tmpdir_new("txcut");
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, dir, NULL, conf,
                    "HALFPENNY_FAILPOINTS=store.flush.sync=sleep(60000),after(1)");
    peer_open(&p, b.address);
    const struct peer_sent half = peer_send_message(
        &p, "pg", TOPIC, 0, "h", "UNIQ_KEY\001ID\002TRAN_MSG\001true\002PGROUP\001pg\002");
    const struct hdr_end_transaction h = {.producer_group = SLICE_LIT("pg"),
                                          .tran_state_table_offset = half.queue_offset,
                                          .commit_log_offset = half.phys_offset,
                                          .commit_or_rollback = ROLLBACK,
                                          .msg_id = SLICE_LIT("ID")};
    assert_int_equal(peer_call(&p, RC_END_TRANSACTION, &h, SLICE_NULL)->code, RESP_SUCCESS);
    struct text_in lead = {tmpdir_path(dir, "store/config/consumerOffset.json"),
                           "\"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS\":{\n\t\t\t\"0\":1"};
    if (wait_until(file_has, &lead, 2000))
        print_message("the half position leads the disk\n");
    peer_close(&p);
    mq_kill(&b);
    cut_after(dir, half.phys_offset);
    mq_broker_start(&b, dir, NULL, conf, NULL);
    peer_open(&p, b.address);
    peer_heartbeat(&p, "c", "pg", NULL, NULL);
    assert_non_null(peer_push(&p, RC_CHECK_TRANSACTION_STATE, WAIT_MS));
    peer_close(&p);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delayed_message_is_not_counted_as_delivered_before_that_is_on_disk),
        cmocka_unit_test(a_group_ahead_of_the_cut_log_misses_nothing_that_comes),
        cmocka_unit_test(verdicts_that_a_cut_takes_away_are_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
