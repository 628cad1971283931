/* SIGTERM in the middle of everything: sends, half messages and their verdicts, delayed deliveries, parked
 * pulls, send-backs, new topics, heartbeats; with a name server, and with one that never answers. The
 * broker must end with 0 (also its sanitizer's opinion) within ten seconds, and start again. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

#define TOPIC "busy"
#define GROUP "g"
#define LEVELS "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s\n"
enum { STOP_MS = 10000, LOADS = 6, ROUNDS = 5 };

/* --- a connection that asks and asks, in a thread --- */

struct load {
    struct peer p;
    struct buf requests; /* written again and again */
    pthread_t thread;
    atomic_bool stop;
};

static void *run_load(void *arg)
{
    struct load *const l = arg;
    char sink[65536];
    size_t at = 0;
    while (!atomic_load(&l->stop)) {
        struct pollfd w = {.fd = l->p.fd, .events = POLLIN | POLLOUT};
        if (poll(&w, 1, 100) < 0)
            break;
        if (w.revents & POLLIN && recv(l->p.fd, sink, sizeof sink, MSG_DONTWAIT) <= 0)
            break;
        if (w.revents & POLLOUT) {
            const ssize_t n =
                send(l->p.fd, l->requests.p + at, l->requests.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN)
                break;
            at += n > 0 ? (size_t)n : 0;
            at = at == l->requests.n ? 0 : at;
        }
        if (w.revents & (POLLERR | POLLHUP))
            break;
    }
    return NULL;
}

static void add(struct load *l, int32_t code, const void *hdr, struct slice body)
{
    const struct code_row *const row = code_row_of(code);
    struct err e = {0};
    const struct command_out out = {.code = code,
                                    .opaque = (int32_t)l->requests.n,
                                    .desc = row->request,
                                    .names = row->names,
                                    .hdr = hdr};
    assert_ok(command_encode(&l->requests, &out, body.n, &e), &e);
    buf_slice_add(&l->requests, body);
}

static void add_send(struct load *l, const char *topic, const char *props)
{
    const struct hdr_send_message h = {.producer_group = SLICE_LIT(GROUP),
                                       .topic = slice_str(topic),
                                       .default_topic = SLICE_LIT("TBW102"),
                                       .default_topic_queue_nums = 4,
                                       .queue_id = 0,
                                       .born_timestamp = 1,
                                       .properties = slice_str(props),
                                       .max_reconsume_times = -1};
    add(l, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("body"));
}

/* One of each kind; `half` and `i` make the verdicts and topics differ. */
static void fill(struct load *l, const struct peer_sent *half, int i)
{
    char topic[32];
    snprintf(topic, sizeof topic, "made_%d", i);
    for (int k = 0; k < 20; k++) {
        add_send(l, TOPIC, "");
        add_send(l, TOPIC, "UNIQ_KEY\001ID\002TRAN_MSG\001true\002PGROUP\001" GROUP "\002");
        add_send(l, TOPIC, "DELAY\0011\002");
    }
    add_send(l, topic, "");
    const struct hdr_end_transaction end = {.producer_group = SLICE_LIT(GROUP),
                                            .tran_state_table_offset = half->queue_offset,
                                            .commit_log_offset = half->phys_offset,
                                            .commit_or_rollback = 8,
                                            .msg_id = SLICE_LIT("ID")};
    add(l, RC_END_TRANSACTION, &end, SLICE_NULL);
    const struct hdr_send_msg_back back = {
        .offset = half->phys_offset, .group = SLICE_LIT(GROUP), .max_reconsume_times = 16};
    add(l, RC_CONSUMER_SEND_MSG_BACK, &back, SLICE_NULL);
    const struct hdr_pull_message pull = {.consumer_group = SLICE_LIT(GROUP),
                                          .topic = SLICE_LIT(TOPIC),
                                          .queue_id = 1,
                                          .max_msg_nums = 32,
                                          .sys_flag = 6,
                                          .suspend_timeout_ms = 60000,
                                          .subscription = SLICE_LIT("*"),
                                          .expression_type = SLICE_LIT("TAG")};
    add(l, RC_PULL_MESSAGE, &pull, SLICE_NULL);
}

static void load_start(struct load *l, const char *address, const struct peer_sent *half, int i)
{
    peer_open(&l->p, address);
    buf_init(&l->requests, 0);
    char client[32];
    snprintf(client, sizeof client, "client-%d", i);
    peer_heartbeat(&l->p, client, GROUP, GROUP, TOPIC);
    fill(l, half, i);
    atomic_store(&l->stop, false);
    assert_int_equal(pthread_create(&l->thread, NULL, run_load, l), 0);
}

static void load_stop(struct load *l)
{
    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
    buf_free(&l->requests);
    peer_close(&l->p);
}

static void stop_within_limit(struct mq_process *b)
{
    const int64_t before = clock_mono(&clock_system);
    assert_int_equal(process_signal(b->process, SIGTERM), 0);
    const int code = process_wait(b->process, 3 * STOP_MS);
    const int64_t took = clock_mono(&clock_system) - before;
    if (code != 0 || took > STOP_MS)
        fail_msg("ended with %d after %lld ms, see %s/out", code, (long long)took, b->dir);
    process_free(b->process);
}

static void stop_under_load(const char *namesrv, const char *conf)
{
    const char *const dir = tmpdir_new("shutdown");
    for (int round = 0; round < ROUNDS; round++) {
        static struct load loads[LOADS];
        struct mq_process b;
        struct peer p;
        mq_broker_start(&b, dir, namesrv, conf, NULL);
        peer_open(&p, b.address);
        const struct peer_sent half =
            peer_send_message(&p, GROUP, TOPIC, 0, "h",
                              "UNIQ_KEY\001ID\002TRAN_MSG\001true\002PGROUP\001" GROUP "\002");
        const int64_t delayed = peer_max_offset(&p, TOPIC_SCHEDULE, 0),
                      before = peer_max_offset(&p, TOPIC, 0);
        for (int i = 0; i < LOADS; i++)
            load_start(&loads[i], b.address, &half, round * LOADS + i);
        peer_await_offset(&p, TOPIC_SCHEDULE, 0, delayed + 100);
        peer_await_offset(&p, TOPIC, 0, before + 300 + 200 * round);
        stop_within_limit(&b);
        for (int i = 0; i < LOADS; i++)
            load_stop(&loads[i]);
        peer_close(&p);
    }
}

static void a_stop_under_load_is_orderly_and_quick(void **state)
{
    (void)state;
    struct mq_process ns;
    mq_namesrv_start(&ns, tmpdir_new("ns"), NULL);
    stop_under_load(ns.address, LEVELS "transactionTimeOut=100\ntransactionCheckInterval=200\n");
    mq_stop(&ns);
}

static void
a_stop_under_load_in_sync_flush_with_a_dead_name_server_is_orderly_and_quick(void **state)
{
    (void)state;
    stop_under_load("127.0.0.1:9;10.255.255.1:9876",
                    LEVELS "flushDiskType=SYNC_FLUSH\nserverSelectorThreads=2\n");
}

/* Every delivery that was finished before the stop is counted: the next start does not make it again. */
static void delayed_messages_come_once_across_a_stop(void **state)
{
    (void)state;
    enum { N = 1000 };
    const char *const dir = tmpdir_new("once");
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, dir, NULL, "messageDelayLevel=2s 2s\n",
                    "HALFPENNY_FAILPOINTS=store.append.write=sleep(50),after(1000)");
    peer_open(&p, b.address);
    for (int i = 0; i < N; i++)
        peer_send_message(&p, "pg", TOPIC, 0, "m", "DELAY\0011\002");
    peer_await_offset(&p, TOPIC, 0, 1);
    peer_close(&p);
    stop_within_limit(&b);
    mq_broker_start(&b, dir, NULL, "messageDelayLevel=2s 2s\n", NULL);
    peer_open(&p, b.address);
    peer_await_offset(&p, TOPIC, 0, N);
    if (peer_reaches(&p, TOPIC, 0, N + 1, 1000)) /* what is due twice is due at once */
        fail_msg("%lld of %d messages were delivered", (long long)peer_max_offset(&p, TOPIC, 0), N);
    peer_close(&p);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_under_load_is_orderly_and_quick),
        cmocka_unit_test(
            a_stop_under_load_in_sync_flush_with_a_dead_name_server_is_orderly_and_quick),
        cmocka_unit_test(delayed_messages_come_once_across_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
