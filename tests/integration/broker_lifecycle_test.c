/* Starting, stopping, crashing and starting again, with the real broker. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "proto/body.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/port.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

static int64_t query_offset(struct peer *p, int32_t queue)
{
    const struct hdr_query_consumer_offset h = {SLICE_LIT("g"), SLICE_LIT("t"), queue, false};
    const struct command *const c = peer_call(p, RC_QUERY_CONSUMER_OFFSET, &h, SLICE_NULL);
    int64_t offset = -1;
    if (c->code == RESP_SUCCESS)
        assert_int_equal(slice_i64(command_ext(c, "offset"), &offset), 0);
    return offset;
}

static void commit(struct peer *p, int32_t queue, int64_t offset)
{
    const struct hdr_update_consumer_offset h = {SLICE_LIT("g"), SLICE_LIT("t"), queue, offset};
    assert_int_equal(peer_call(p, RC_UPDATE_CONSUMER_OFFSET, &h, SLICE_NULL)->code, RESP_SUCCESS);
}

static void after_an_orderly_stop_everything_is_there(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    struct message m;
    int n;
    const char *const dir = tmpdir_new("orderly");
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    peer_send_message(&p, "pg", "t", 1, "kept", "TAGS\001x\002");
    peer_heartbeat(&p, "c", NULL, "g", "t");
    commit(&p, 1, 1);
    const struct hdr_create_topic h = {.topic = SLICE_LIT("made"),
                                       .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
                                       .read_queue_nums = 3,
                                       .write_queue_nums = 2,
                                       .perm = 6,
                                       .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
    assert_int_equal(peer_call(&p, RC_UPDATE_AND_CREATE_TOPIC, &h, SLICE_NULL)->code, RESP_SUCCESS);
    peer_close(&p);
    mq_stop(&b);
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    peer_pull(&p, "t", 1, 0, 0, &m, 1, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m.body, "kept");
    assert_int_equal(query_offset(&p, 1), 1);
    assert_int_equal(peer_send_message(&p, "pg", "t", 1, "next", "").queue_offset, 1);
    assert_int_equal(peer_pull(&p, "made", 2, 0, 0, &m, 1, &n)->code, RESP_PULL_NOT_FOUND);
    peer_close(&p);
    mq_stop(&b);
}

static void after_kill_9_every_acknowledged_message_is_there(void **state)
{
    (void)state;
    enum { ROUNDS = 3, N = 100 };
    struct mq_process b;
    const char *const dir = tmpdir_new("kill");
    for (int round = 0; round < ROUNDS; round++) {
        struct peer p;
        mq_broker_start(&b, dir, NULL, round % 2 ? "flushDiskType=SYNC_FLUSH\n" : NULL, NULL);
        peer_open(&p, b.address);
        for (int i = 0; i < N; i++) {
            char body[32];
            snprintf(body, sizeof body, "%d", round * N + i);
            assert_int_equal(peer_send_message(&p, "pg", "t", 0, body, "").queue_offset,
                             round * N + i);
        }
        for (int64_t at = 0; at < (round + 1) * N;) {
            struct message m[32];
            int n;
            peer_pull(&p, "t", 0, at, 0, m, 32, &n);
            assert_true(n > 0);
            for (int i = 0; i < n; i++, at++) {
                char want[32];
                snprintf(want, sizeof want, "%lld", (long long)at);
                assert_slice_equal(m[i].body, want);
                assert_int_equal(m[i].queue_offset, at);
            }
        }
        peer_close(&p);
        mq_kill(&b);
    }
}

struct offset_file { const char *path; const char *part; };

static bool file_has(void *arg)
{
    const struct offset_file *const f = arg;
    char *text;
    size_t n;
    if (fs_read_all(&fs_real, f->path, 1 << 20, &text, &n, NULL) != 0)
        return false;
    const bool has = strstr(text, f->part) != NULL;
    free(text);
    return has;
}

static void offsets_are_written_while_running_and_survive_kill_9(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    const char *const dir = tmpdir_new("offsets");
    mq_broker_start(&b, dir, NULL, "flushConsumerOffsetInterval=100\n", NULL);
    peer_open(&p, b.address);
    peer_send_message(&p, "pg", "t", 0, "x", "");
    peer_heartbeat(&p, "c", NULL, "g", "t");
    commit(&p, 0, 1);
    struct offset_file f = {tmpdir_path(dir, "store/config/consumerOffset.json"), "\"0\":1"};
    assert_true(wait_until(file_has, &f, 10000));
    peer_close(&p);
    mq_kill(&b);
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    assert_int_equal(query_offset(&p, 0), 1);
    peer_close(&p);
    mq_stop(&b);
}

static void write_text(const char *path, const char *text)
{
    struct err e;
    assert_ok(fs_write_atomic(&fs_real, path, slice_str(text), &e), &e);
}

/* The exit code of a broker that cannot start; its output must contain part. */
static void refuses_to_start(const char *dir, const char *part, int code)
{
    char program[512];
    const char *const bin = getenv("HALFPENNY_BIN");
    snprintf(program, sizeof program, "%s/mqbroker", bin != NULL ? bin : "build/bin");
    const char *const argv[] = {program, "-c", tmpdir_path(dir, "broker.conf"), NULL};
    const struct process_options o = {.argv = argv, .output = tmpdir_path(dir, "refused")};
    struct err e;
    struct process *const p = process_start(&o, &e);
    assert_non_null(p);
    assert_int_equal(process_wait(p, 30000), code);
    process_free(p);
    struct offset_file f = {tmpdir_path(dir, "refused"), part};
    if (!file_has(&f))
        fail_msg("%s does not say \"%s\"", f.path, part);
}

static void a_corrupt_table_is_taken_from_its_backup_or_refused_never_emptied(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    const char *const dir = tmpdir_new("corrupt");
    const char *const file = tmpdir_path(dir, "store/config/consumerOffset.json");
    const char *const backup = tmpdir_path(dir, "store/config/consumerOffset.json.bak");
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    mq_stop(&b);
    write_text(file, "");
    write_text(backup, "{\"offsetTable\":{\"t@g\":{0:77}}}");
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    assert_int_equal(query_offset(&p, 0), 77);
    peer_close(&p);
    mq_kill(&b);
    write_text(file, "{\"offsetTable\":{\"t@g\":{0:7");
    write_text(backup, "nonsense");
    refuses_to_start(dir, "consumerOffset.json", 1);
}

static void topics_that_only_the_store_knows_come_back(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    struct message m;
    struct err e;
    int n;
    const char *const dir = tmpdir_new("restore");
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    peer_send_message(&p, "pg", "forgotten", 2, "still here", "");
    peer_close(&p);
    mq_stop(&b);
    assert_ok(fs_remove_tree(&fs_real, tmpdir_path(dir, "store/config"), &e), &e);
    mq_broker_start(&b, dir, NULL, NULL, NULL);
    peer_open(&p, b.address);
    peer_pull(&p, "forgotten", 2, 0, 0, &m, 1, &n);
    assert_int_equal(n, 1);
    assert_slice_equal(m.body, "still here");
    peer_close(&p);
    mq_stop(&b);
}

struct route_wait { const char *address, *topic; int code; };

static bool route_is(void *arg)
{
    const struct route_wait *const w = arg;
    struct peer p;
    peer_open(&p, w->address);
    const struct hdr_get_routeinfo h = {.topic = slice_str(w->topic),
                                        .accept_standard_json_only = true};
    const bool is = peer_call(&p, RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL)->code == w->code;
    peer_close(&p);
    return is;
}

static void the_name_server_learns_of_the_broker_its_topics_and_its_end(void **state)
{
    (void)state;
    struct mq_process ns, b;
    struct peer p;
    const char *const dir = tmpdir_new("register");
    mq_namesrv_start(&ns, dir, NULL);
    mq_broker_start(&b, dir, ns.address, NULL, NULL);
    struct route_wait w = {ns.address, TOPIC_AUTO_CREATE, RESP_SUCCESS};
    assert_true(wait_until(route_is, &w, 10000));
    peer_open(&p, b.address);
    const struct hdr_create_topic h = {.topic = SLICE_LIT("told"),
                                       .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
                                       .read_queue_nums = 1,
                                       .write_queue_nums = 1,
                                       .perm = 6};
    assert_int_equal(peer_call(&p, RC_UPDATE_AND_CREATE_TOPIC, &h, SLICE_NULL)->code, RESP_SUCCESS);
    w.topic = "told";
    assert_true(route_is(&w)); /* at once: the answer waited for the name server */
    peer_send_message(&p, "pg", "auto", 0, "x", "");
    w.topic = "auto";
    assert_true(wait_until(route_is, &w, 10000));
    peer_close(&p);
    mq_stop(&b);
    w.code = RESP_TOPIC_NOT_EXIST;
    assert_true(wait_until(route_is, &w, 10000));
    mq_stop(&ns);
}

static void a_broker_that_is_up_before_its_name_server_is_known_there_soon(void **state)
{
    (void)state;
    struct mq_process ns, b;
    char address[32], conf[32];
    const uint16_t port = free_port();
    const char *const dir = tmpdir_new("early");
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    snprintf(conf, sizeof conf, "listenPort=%d\n", port);
    mq_broker_start(&b, dir, address, "registerNameServerPeriod=60000\n", NULL);
    process_rewind(b.process);
    assert_true(process_wait_line(b.process, "event=register.failed", 10000, NULL, 0));
    mq_namesrv_start(&ns, dir, conf);
    struct route_wait w = {ns.address, TOPIC_AUTO_CREATE, RESP_SUCCESS};
    assert_true(wait_until(route_is, &w, 30000)); /* half a period */
    mq_stop(&b);
    mq_stop(&ns);
}

/* listenPort - 2 serves sends but no pulls; when it is taken the broker runs without it. */
static void the_fast_port_serves_everything_but_pulls(void **state)
{
    (void)state;
    struct mq_process b, second;
    struct peer p;
    struct message m;
    char conf[64], fast[32];
    int n;
    const int base = free_port_row(5);
    snprintf(conf, sizeof conf, "listenPort=%d\n", base + 2);
    snprintf(fast, sizeof fast, "127.0.0.1:%d", base);
    mq_broker_start(&b, tmpdir_new("fast"), NULL, conf, NULL);
    peer_open(&p, fast);
    peer_send_message(&p, "pg", "t", 0, "x", "");
    assert_int_equal(peer_pull(&p, "t", 0, 0, 0, &m, 1, &n)->code, RESP_REQUEST_CODE_NOT_SUPPORTED);
    peer_close(&p);
    snprintf(conf, sizeof conf, "listenPort=%d\n",
             base + 4); /* its fast port is the first one's port */
    mq_broker_start(&second, tmpdir_new("fast2"), NULL, conf, NULL);
    peer_open(&p, second.address);
    peer_send_message(&p, "pg", "t", 0, "x", "");
    peer_close(&p);
    mq_stop(&second);
    mq_stop(&b);
}

static void a_store_that_fails_refuses_sends_serves_pulls_and_says_so_at_the_end(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    struct message m;
    int n;
    const char *const dir = tmpdir_new("failed");
    mq_broker_start(&b, dir, NULL, "flushDiskType=SYNC_FLUSH\n",
                    "HALFPENNY_FAILPOINTS=store.flush.sync=error(E_IO),after(3)");
    peer_open(&p, b.address);
    const struct hdr_send_message h = {.producer_group = SLICE_LIT("pg"),
                                       .topic = SLICE_LIT("t"),
                                       .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
                                       .default_topic_queue_nums = 1,
                                       .max_reconsume_times = -1};
    int acked = 0, code = RESP_SUCCESS;
    for (int i = 0; i < 50 && code == RESP_SUCCESS; i++) {
        const struct command *const c = peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"));
        code = c->code;
        acked += code == RESP_SUCCESS;
    }
    assert_int_equal(code, RESP_SERVICE_NOT_AVAILABLE);
    const struct command *const c = peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("x"));
    char remark[600];
    assert_int_equal(c->code, RESP_SERVICE_NOT_AVAILABLE);
    assert_int_equal(slice_copy(c->remark, remark, sizeof remark), 0);
    assert_contains(remark, "failed");
    peer_pull(&p, "t", 0, 0, 0, &m, 1, &n);
    assert_int_equal(n, acked > 0);
    peer_close(&p);
    assert_int_equal(process_signal(b.process, SIGTERM), 0);
    assert_int_equal(process_wait(b.process, 30000), 3);
    process_free(b.process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_an_orderly_stop_everything_is_there),
        cmocka_unit_test(after_kill_9_every_acknowledged_message_is_there),
        cmocka_unit_test(offsets_are_written_while_running_and_survive_kill_9),
        cmocka_unit_test(a_corrupt_table_is_taken_from_its_backup_or_refused_never_emptied),
        cmocka_unit_test(topics_that_only_the_store_knows_come_back),
        cmocka_unit_test(the_name_server_learns_of_the_broker_its_topics_and_its_end),
        cmocka_unit_test(a_broker_that_is_up_before_its_name_server_is_known_there_soon),
        cmocka_unit_test(the_fast_port_serves_everything_but_pulls),
        cmocka_unit_test(a_store_that_fails_refuses_sends_serves_pulls_and_says_so_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
