/* Every store key of broker.conf, one by one: set to another value than its default, its effect is seen
 * from outside, on the wire or on the disk. The broker runs in this process on a disk in memory.
 *
 * The last test compares the rows with broker/conf.def: a store key without a row here fails it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "broker/broker.h"
#include "proto/names.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/wait.h"

enum { SOON_MS = 10 * 1000, NOT_MS = 1500, BIG = 3 * 1024 * 1024 };
#define LOG_FILE(n) "/b/store/commitlog/" n
#define FIRST LOG_FILE("00000000000000000000")
#define SECOND LOG_FILE("00000000000005000000")
#define QUEUE_FILE "/b/store/consumequeue/T/0/00000000000000000000"

static struct {
    struct fs_sim *sim;
    struct fs_fault fault;
    struct broker_conf conf;
    struct broker *b;
    struct peer p;
} t;

struct row {
    const char *key, *value; /* value NULL: an hour that is not this one */
    const char *more;        /* other keys, "key=value\n..." */
    void (*effect)(void);
    int64_t capacity;        /* of the disk; 0: no end */
};

/* --- the broker --- */

static void set(const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(&broker_conf_table, &t.conf, key, value, "test", &e), &e);
}

static const char *other_hour(void)
{
    static char text[8];
    const time_t now = (time_t)(clock_wall(&clock_system) / 1000);
    struct tm local;
    localtime_r(&now, &local);
    snprintf(text, sizeof text, "%02d", (local.tm_hour + 12) % 24);
    return text;
}

static void configure(const struct row *r)
{
    struct err e;
    struct props more;
    assert_ok(broker_conf_defaults(&t.conf, &e), &e);
    set("storePathRootDir", "/b/store");
    set("mappedFileSizeCommitLog", "5000000");
    set("brokerIP1", "127.0.0.1");
    set("bindAddress", "127.0.0.1");
    set("listenPort", "0");
    assert_ok(props_parse(slice_str(r->more), &more, &e), &e);
    for (size_t i = 0; i < more.n; i++)
        set(more.items[i].key, more.items[i].value[0] == '?' ? other_hour() : more.items[i].value);
    props_free(&more);
    set(r->key, r->value ? r->value : other_hour());
    assert_ok(broker_conf_finish(&t.conf, &e), &e);
}

static int start(struct err *e)
{
    const int rc = broker_open(&t.b, &(struct broker_opts){.conf = &t.conf, .fs = &t.fault.fs}, e);
    if (rc != 0) {
        t.b = NULL;
        return rc;
    }
    char address[40];
    snprintf(address, sizeof address, "127.0.0.1:%d", broker_port(t.b));
    peer_open(&t.p, address);
    return 0;
}

static void stop(void)
{
    struct err e;
    if (!t.b)
        return;
    peer_close(&t.p);
    struct broker *const b = t.b;
    t.b = NULL;
    assert_ok(broker_close(b, &e), &e);
}

/* --- what effects are seen by --- */

static int64_t size_of(const char *path) /* -1: not there */
{
    struct fs_stat s;
    return fs_sim_fs(t.sim)->stat(fs_sim_fs(t.sim), path, &s, NULL) == 0 ? s.size : -1;
}

static bool is_there(void *path)
{
    return size_of(path) >= 0;
}

static bool is_gone(void *path)
{
    return size_of(path) < 0;
}

static void comes(const char *path)
{
    if (!wait_until(is_there, (void *)(uintptr_t)path, SOON_MS))
        fail_msg("%s does not come", path);
}

static void goes(const char *path)
{
    if (!wait_until(is_gone, (void *)(uintptr_t)path, SOON_MS))
        fail_msg("%s does not go", path);
}

static void stays(const char *path)
{
    if (wait_until(is_gone, (void *)(uintptr_t)path, NOT_MS))
        fail_msg("%s goes", path);
}

static int add_one(void *arg, const char *name)
{
    if (name[0] != '.')
        snprintf(arg, 256, "%s", name);
    return 0;
}

/* The file in a directory, owner marks aside; "" while there is none. */
static const char *only_file(const char *dir)
{
    static char name[256], path[512];
    name[0] = '\0';
    (void)!fs_sim_fs(t.sim)->list(fs_sim_fs(t.sim), dir, add_one, name, NULL);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return name[0] ? path : "";
}

static bool has_file(void *dir)
{
    return only_file(dir)[0] != '\0';
}

static void send_small(int n)
{
    for (int i = 0; i < n; i++)
        peer_send_message(&t.p, "pg", "T", 0, "body", "KEYS\1k\2");
}

static int32_t send_code(int32_t queue_id, const char *body, size_t size)
{
    const struct hdr_send_message h = {.producer_group = SLICE_LIT("pg"), .topic = SLICE_LIT("T"),
                                       .default_topic = SLICE_LIT("TBW102"), .default_topic_queue_nums = 4,
                                       .queue_id = queue_id};
    return peer_call(&t.p, RC_SEND_MESSAGE, &h, slice_of(body, size))->code;
}

static void send_big(int n)
{
    char *const body = calloc(1, BIG);
    assert_non_null(body);
    for (int i = 0; i < n; i++)
        assert_int_equal(send_code(0, body, BIG), RESP_SUCCESS);
    free(body);
}

static int pulled(int max)
{
    struct message m[64];
    int n = 0;
    assert_true(max <= 64);
    peer_pull(&t.p, "T", 0, 0, 0, m, max, &n);
    return n;
}

static bool log_is_synced(void *arg)
{
    (void)arg;
    struct store_stats s;
    store_stats_get(t.b->store, &s);
    return s.log_flushed >= s.log_wrote;
}

static void hang(void *arg)
{
    (void)arg;
    wait_until(is_there, (void *)(uintptr_t) "/let-go", SOON_MS);
}

/* --- effects --- */

static void root_is_there(void) { comes("/other/store/config/topics.json"); }
static void log_is_there(void) { comes("/log/00000000000000000000"); }
static void checkpoint_is_there(void) { comes("/points"); }

static void abort_comes_and_goes(void)
{
    comes("/running");
    stop();
    assert_int_equal(size_of("/running"), -1);
}

static void queue_is_there(void)
{
    send_small(1);
    comes("/cq/T/0/00000000000000000000");
}

static void index_is_there(void)
{
    send_small(1);
    assert_true(wait_until(has_file, (void *)(uintptr_t) "/ix", SOON_MS));
}

static void log_file_is_sized(void) { assert_int_equal(size_of(FIRST), 8388608); }

static void queue_file_is_sized(void)
{
    send_small(1);
    comes(QUEUE_FILE);
    assert_int_equal(size_of(QUEUE_FILE), 2020); /* whole units */
}

static void index_file_is_sized(void)
{
    send_small(1);
    assert_true(wait_until(has_file, (void *)(uintptr_t) "/b/store/index", SOON_MS));
    assert_int_equal(size_of(only_file("/b/store/index")), 40 + 100 * 4 + 1000 * 20);
}

static void synced_when_answered(void)
{
    send_small(1);
    assert_true(log_is_synced(NULL));
}

static _Atomic int log_writes;

static void count_write(void *arg)
{
    (void)arg;
    log_writes++;
}

static bool are_more_writes(void *n)
{
    return log_writes > *(const int *)n;
}

/* The record, and nothing else. */
static void only_records_are_written(void)
{
    log_writes = 0;
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .path_has = "commitlog", .for_ever = true,
                                                  .hook = count_write});
    send_small(1);
    assert_false(wait_until(are_more_writes, &(int){1}, NOT_MS));
    assert_int_equal(log_writes, 1);
}

static void synced_soon(void)
{
    send_small(1);
    assert_true(wait_until(log_is_synced, NULL, SOON_MS / 2)); /* before the thorough one of the default */
}

/* A flusher whose thread comes late has its first round after the first of these sends, and may look once
 * more before it sleeps. */
enum { ROUNDS_OF_THE_START = 2 };

static void not_synced(void)
{
    for (int i = 0; i <= ROUNDS_OF_THE_START; i++) {
        send_small(1);
        if (!wait_until(log_is_synced, NULL, NOT_MS))
            return;
    }
    fail_msg("each record is synced soon");
}

static void queue_written_soon(void)
{
    send_small(1);
    comes(QUEUE_FILE);
}

static void queue_not_written(void)
{
    for (int i = 0; i <= ROUNDS_OF_THE_START; i++) {
        char path[128];
        snprintf(path, sizeof path, "/b/store/consumequeue/T/%d/00000000000000000000", i);
        assert_int_equal(send_code(i, "body", 4), RESP_SUCCESS);
        if (!wait_until(is_there, path, 2 * NOT_MS))
            return;
    }
    fail_msg("each queue is written soon");
}

static void send_times_out(void)
{
    struct err e;
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "commitlog", .for_ever = true,
                                                  .hook = hang});
    assert_int_equal(send_code(0, "x", 1), RESP_FLUSH_DISK_TIMEOUT);
    assert_ok(fs_mkdirs(fs_sim_fs(t.sim), "/let-go", &e), &e);
}

static void no_index(void)
{
    send_small(1);
    stop();
    assert_int_equal(size_of("/b/store/index"), -1);
}

static bool log_has(const char *text)
{
    char *log;
    size_t n;
    struct err e;
    assert_ok(fs_read_all(fs_sim_fs(t.sim), FIRST, 8 << 20, &log, &n, &e), &e);
    const bool has = memmem(log, n, text, strlen(text)) != NULL;
    free(log);
    return has;
}

static void no_checksum_property(void)
{
    send_small(1);
    assert_true(log_has("KEYS"));
    assert_false(log_has("__CRC32#"));
}

static void damage_is_not_looked_for(void)
{
    struct err e;
    struct fs *const fs = fs_sim_fs(t.sim);
    struct fs_file *f;
    send_small(1);
    const struct peer_sent s = peer_send_message(&t.p, "pg", "T", 0, "body", "");
    stop();
    assert_ok(fs->open(fs, FIRST, FS_WRITE, &f, &e), &e);
    assert_ok(fs_write(f, fs, "B", 1, s.phys_offset + 88, &e), &e); /* the body's first byte */
    fs->close(f);
    assert_ok(start(&e), &e);
    assert_int_equal(peer_max_offset(&t.p, "T", 0), 2);
}

static void records_without_checksum_are_refused(void)
{
    struct err e;
    send_small(1);
    stop();
    assert_code(start(&e), E_CORRUPT, &e);
    assert_contains(e.text, "forceVerifyPropCRC");
}

static void first_file_goes(void)
{
    send_big(3);
    goes(FIRST);
}

static void first_file_goes_soon(void)
{
    send_big(3);
    assert_true(wait_until(is_gone, (void *)(uintptr_t)FIRST, SOON_MS / 2));
}

static void first_file_stays(void)
{
    send_big(3);
    comes(SECOND);
    stays(FIRST);
}

static void second_file_stays(void)
{
    send_big(6);
    goes(FIRST);
    stays(SECOND);
}

static void second_queue_file_stays(void)
{
    send_small(250); /* three files of 100 units */
    comes("/b/store/consumequeue/T/0/00000000000000004000");
    send_big(3);
    goes(QUEUE_FILE);
    stays("/b/store/consumequeue/T/0/00000000000000002000");
}

static bool is_refused(void *arg)
{
    (void)arg;
    return send_code(1, "x", 1) == RESP_SERVICE_NOT_AVAILABLE;
}

static void sends_are_refused(void) { assert_true(wait_until(is_refused, NULL, SOON_MS)); }

static void pulls_two(void)
{
    send_small(5);
    assert_int_equal(pulled(32), 2);
}

static void memory_is_asked_about_for_each_pull(void)
{
    send_small(1);
    assert_int_equal(pulled(32), 1);
    const uint64_t asked = fs_fault_calls(&t.fault, FS_OP_RESIDENT);
    assert_int_equal(pulled(32), 1);
    if (fs_fault_calls(&t.fault, FS_OP_RESIDENT) <= asked)
        fail_msg("the second pull did not ask");
}

static void pulls_eight(void)
{
    send_small(12);
    assert_int_equal(pulled(32), 8);
}

static void pulls_what_fits(void)
{
    send_small(12);
    const int n = pulled(32);
    assert_in_range(n, 2, 7); /* about 200 bytes each, 1024 allowed */
}

#define HOURS "0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23"
#define EXPIRED "fileReservedTime=0\nflushDiskType=SYNC_FLUSH\n"
#define QUICK EXPIRED "cleanResourceInterval=50\ndeleteWhen=" HOURS "\n"
#define MIB (INT64_C(1) << 20)

static const struct row rows[] = {
    {"storePathRootDir", "/other/store", "", root_is_there, 0},
    {"storePathCommitLog", "/log", "", log_is_there, 0},
    {"storePathConsumeQueue", "/cq", "flushConsumeQueueLeastPages=0\n", queue_is_there, 0},
    {"storePathIndex", "/ix", "maxIndexNum=1000\nmaxHashSlotNum=100\n", index_is_there, 0},
    {"storeCheckpoint", "/points", "", checkpoint_is_there, 0},
    {"abortFile", "/running", "", abort_comes_and_goes, 0},
    {"mappedFileSizeCommitLog", "8388608", "", log_file_is_sized, 0},
    {"mapedFileSizeCommitLog", "8388608", "", log_file_is_sized, 0},
    {"mappedFileSizeConsumeQueue", "2001", "flushConsumeQueueLeastPages=0\n", queue_file_is_sized, 0},
    {"mapedFileSizeConsumeQueue", "2001", "flushConsumeQueueLeastPages=0\n", queue_file_is_sized, 0},
    {"flushDiskType", "SYNC_FLUSH", "flushIntervalCommitLog=60000\n", synced_when_answered, 0},
    {"flushIntervalCommitLog", "60000", "flushCommitLogLeastPages=0\n", not_synced, 0},
    {"flushCommitLogLeastPages", "0", "flushCommitLogThoroughInterval=3600000\n", synced_soon, 0},
    {"flushCommitLogThoroughInterval", "200", "flushCommitLogLeastPages=1000\n", synced_soon, 0},
    {"flushIntervalConsumeQueue", "60000", "flushConsumeQueueLeastPages=0\n", queue_not_written, 0},
    {"flushConsumeQueueLeastPages", "0", "", queue_written_soon, 0},
    {"flushConsumeQueueThoroughInterval", "100", "", queue_written_soon, 0},
    {"syncFlushTimeout", "50", "flushDiskType=SYNC_FLUSH\n", send_times_out, 0},
    {"zeroAheadMegabytes", "0", "flushDiskType=SYNC_FLUSH\n", only_records_are_written, 0},
    {"messageIndexEnable", "false", "", no_index, 0},
    {"maxHashSlotNum", "100", "maxIndexNum=1000\n", index_file_is_sized, 0},
    {"maxIndexNum", "1000", "maxHashSlotNum=100\n", index_file_is_sized, 0},
    {"checkCRCOnRecover", "false", "", damage_is_not_looked_for, 0},
    {"enabledAppendPropCRC", "false", "", no_checksum_property, 0},
    {"forceVerifyPropCRC", "true", "enabledAppendPropCRC=false\n", records_without_checksum_are_refused, 0},
    {"fileReservedTime", "0", "flushDiskType=SYNC_FLUSH\ncleanResourceInterval=50\ndeleteWhen=" HOURS "\n",
     first_file_goes, 0},
    {"deleteWhen", NULL, EXPIRED "cleanResourceInterval=50\n", first_file_stays, 0},
    {"cleanResourceInterval", "50", EXPIRED "deleteWhen=" HOURS "\n", first_file_goes_soon, 0},
    {"deleteCommitLogFilesInterval", "60000", QUICK, second_file_stays, 0},
    {"deleteConsumeQueueFilesInterval", "60000",
     QUICK "mappedFileSizeConsumeQueue=2000\nflushConsumeQueueLeastPages=0\n", second_queue_file_stays, 0},
    {"deleteFileBatchMax", "1", EXPIRED "cleanResourceInterval=4000\ndeleteCommitLogFilesInterval=0\ndeleteWhen=" HOURS
     "\n", second_file_stays, 0},
    {"diskMaxUsedSpaceRatio", "10", EXPIRED "cleanResourceInterval=50\ndeleteWhen=?\n", first_file_goes, 40 * MIB},
    {"diskSpaceCleanForciblyRatio", "30", "flushDiskType=SYNC_FLUSH\ncleanResourceInterval=50\n", first_file_goes,
     26 * MIB},
    {"diskSpaceWarningLevelRatio", "35", "diskSpaceCleanForciblyRatio=30\n", sends_are_refused, 10 * MIB},
    {"cleanFileForciblyEnable", "false",
     "flushDiskType=SYNC_FLUSH\ncleanResourceInterval=50\ndiskSpaceCleanForciblyRatio=30\n", first_file_stays,
     26 * MIB},
    {"maxTransferCountOnMessageInMemory", "2", "", pulls_two, 0},
    {"maxTransferBytesOnMessageInMemory", "1024", "", pulls_what_fits, 0},
    {"maxTransferCountOnMessageInDisk", "2", "accessMessageInMemoryMaxRatio=0\n", pulls_two, 0},
    {"maxTransferBytesOnMessageInDisk", "1024", "accessMessageInMemoryMaxRatio=0\n", pulls_what_fits, 0},
    {"accessMessageInMemoryMaxRatio", "0", "", pulls_eight, 0},
    {"pageCacheTrustMillis", "0", "messageIndexEnable=false\n", memory_is_asked_about_for_each_pull, 0},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void effect(void **state)
{
    const struct row *const r = *state;
    struct err e;
    memset(&t, 0, sizeof t);
    t.sim = fs_sim_new(r->capacity);
    assert_non_null(t.sim);
    fs_fault_init(&t.fault, fs_sim_fs(t.sim));
    configure(r);
    assert_ok(start(&e), &e);
    r->effect();
    stop();
    broker_conf_free(&t.conf);
    fs_fault_fini(&t.fault);
    fs_sim_free(t.sim);
}

/* The store's rows of conf.def stand between these two keys. */
static void every_store_key_has_a_row(void **state)
{
    (void)state;
    const struct conf_row *at = conf_find(&broker_conf_table, "storePathRootDir");
    const struct conf_row *const end = conf_find(&broker_conf_table, "registerNameServerPeriod");
    assert_true(at && end && at < end);
    for (; at < end; at++) {
        bool found = at->offset == CONF_NO_FIELD;
        for (int i = 0; i < ROWS && !found; i++)
            found = strcmp(rows[i].key, at->key) == 0;
        if (!found)
            fail_msg("%s has no row in this test", at->key);
    }
}

int main(void)
{
    struct CMUnitTest tests[ROWS + 1] = {{0}};
    for (int i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].key, effect, NULL, NULL, (void *)(uintptr_t)&rows[i]};
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(every_store_key_has_a_row);
    return cmocka_run_group_tests_name("broker_store_keys", tests, NULL, NULL);
}
