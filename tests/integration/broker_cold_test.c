/* A disk that hangs while somebody reads old messages, and everybody else on the same network loop. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/fs_fault.h"
#include "broker/broker.h"
#include "proto/names.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

enum { HANG_MAX_MS = 20 * 1000 };

static struct {
    struct fs_fault fault;
    struct broker_conf conf;
    struct broker *b;
    char address[40];
    struct peer reader, other;
    atomic_int hanging;
    atomic_bool let_go;
} t;

static void set(const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(&broker_conf_table, &t.conf, key, value, "test", &e), &e);
}

static bool may_go(void *arg)
{
    (void)arg;
    return atomic_load(&t.let_go);
}

static void hang(void *arg)
{
    (void)arg;
    atomic_fetch_add(&t.hanging, 1);
    wait_until(may_go, NULL, HANG_MAX_MS);
}

static bool hangs(void *arg)
{
    return atomic_load(&t.hanging) >= *(int *)arg;
}

static int setup(void **state)
{
    (void)state;
    struct err e;
    memset(&t, 0, sizeof t);
    fs_fault_init(&t.fault, &fs_real);
    assert_ok(broker_conf_defaults(&t.conf, &e), &e);
    set("storePathRootDir", tmpdir_new("cold"));
    set("mappedFileSizeCommitLog", "16777216");
    set("pageCacheTrustMillis", "0"); /* the log is forgotten from one read to the next */
    set("brokerIP1", "127.0.0.1");
    set("bindAddress", "127.0.0.1");
    set("listenPort", "0");
    set("serverSelectorThreads", "1");
    set("messageIndexEnable", "false"); /* it reads the log, too */
    assert_ok(broker_conf_finish(&t.conf, &e), &e);
    assert_ok(broker_open(&t.b, &(struct broker_opts){.conf = &t.conf, .fs = &t.fault.fs}, &e), &e);
    snprintf(t.address, sizeof t.address, "127.0.0.1:%d", broker_port(t.b));
    peer_open(&t.reader, t.address);
    peer_open(&t.other, t.address);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err e;
    atomic_store(&t.let_go, true);
    peer_close(&t.reader);
    peer_close(&t.other);
    assert_ok(broker_close(t.b, &e), &e);
    broker_conf_free(&t.conf);
    fs_fault_fini(&t.fault);
    return 0;
}

static void forget_the_log(void)
{
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .for_ever = true, .error = E_AGAIN});
}

static void ask_pull(struct peer *p)
{
    const struct hdr_pull_message h = {.consumer_group = SLICE_LIT("g"), .topic = SLICE_LIT("cold"), .max_msg_nums = 32,
                                       .sys_flag = 4, .subscription = SLICE_LIT("*")};
    peer_send(p, RC_PULL_MESSAGE, &h, SLICE_NULL, 0);
}

static void a_hanging_disk_holds_up_nobody_but_its_readers(void **state)
{
    (void)state;
    struct peer viewer;
    peer_open(&viewer, t.address);
    const struct peer_sent s = peer_send_message(&t.other, "pg", "cold", 0, "one", "");
    peer_send_message(&t.other, "pg", "cold", 0, "two", "");
    ask_pull(&t.reader); /* creates the group */
    assert_non_null(peer_receive(&t.reader, HANG_MAX_MS));
    forget_the_log();
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = "commitlog", .for_ever = true,
                                                  .hook = hang});
    ask_pull(&t.reader);
    const struct hdr_view_message view = {.offset = s.phys_offset};
    peer_send(&viewer, RC_VIEW_MESSAGE_BY_ID, &view, SLICE_NULL, 0);
    assert_true(wait_until(hangs, &(int){2}, HANG_MAX_MS));
    for (int i = 0; i < 20; i++)
        peer_send_message(&t.other, "pg", "cold", 1, "meanwhile", "");
    assert_int_equal(peer_max_offset(&t.other, "cold", 1), 20);
    assert_null(peer_receive(&t.reader, 50));
    atomic_store(&t.let_go, true);
    const struct command *a = peer_receive(&t.reader, HANG_MAX_MS);
    assert_non_null(a);
    assert_int_equal(a->code, RESP_SUCCESS);
    struct message m;
    assert_int_equal(message_decode(a->body, MESSAGE_CHECK_CRC, &m, NULL), 0);
    assert_slice_equal(m.body, "one");
    a = peer_receive(&viewer, HANG_MAX_MS);
    assert_non_null(a);
    assert_int_equal(a->code, RESP_SUCCESS);
    peer_close(&viewer);
}

static void a_reader_that_leaves_while_the_disk_hangs_is_forgotten(void **state)
{
    (void)state;
    peer_send_message(&t.other, "pg", "cold", 0, "one", "");
    ask_pull(&t.reader);
    assert_non_null(peer_receive(&t.reader, HANG_MAX_MS));
    forget_the_log();
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = "commitlog", .for_ever = true,
                                                  .hook = hang});
    struct peer leaver;
    peer_open(&leaver, t.address);
    ask_pull(&leaver);
    assert_true(wait_until(hangs, &(int){1}, HANG_MAX_MS));
    peer_close(&leaver);
    assert_int_equal(peer_max_offset(&t.other, "cold", 0), 1);
    atomic_store(&t.let_go, true);
    ask_pull(&t.reader);
    assert_non_null(peer_receive(&t.reader, HANG_MAX_MS));
}

static void a_cold_message_that_cannot_be_read_is_answered(void **state)
{
    (void)state;
    const struct peer_sent s = peer_send_message(&t.other, "pg", "cold", 0, "one", "");
    ask_pull(&t.reader);
    assert_non_null(peer_receive(&t.reader, HANG_MAX_MS));
    forget_the_log();
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = "commitlog", .for_ever = true,
                                                  .error = E_IO});
    ask_pull(&t.reader);
    const struct command *a = peer_receive(&t.reader, HANG_MAX_MS);
    assert_non_null(a);
    assert_int_equal(a->code, RESP_PULL_NOT_FOUND);
    const struct hdr_view_message view = {.offset = s.phys_offset};
    assert_int_equal(peer_call(&t.reader, RC_VIEW_MESSAGE_BY_ID, &view, SLICE_NULL)->code, RESP_SYSTEM_ERROR);
    fs_fault_disarm(&t.fault);
    ask_pull(&t.reader);
    a = peer_receive(&t.reader, HANG_MAX_MS);
    assert_non_null(a);
    assert_int_equal(a->code, RESP_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hanging_disk_holds_up_nobody_but_its_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_leaves_while_the_disk_hangs_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cold_message_that_cannot_be_read_is_answered, setup, teardown),
    };
    return cmocka_run_group_tests_name("broker_cold", tests, NULL, NULL);
}
