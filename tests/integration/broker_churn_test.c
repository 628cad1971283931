/* Clients that come and go: connections with heartbeats, parked pulls and locks that end without a goodbye,
 * and storms of new topics and groups. What they leave behind is bounded. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { CYCLES = 2000, STORM = 1000, GROWTH_KIB = 24 * 1024 };
/* AddressSanitizer would otherwise keep everything that was freed. */
#define ENV "ASAN_OPTIONS=quarantine_size_mb=1"

static int64_t rss_kib(const struct mq_process *m)
{
    char path[64], line[256];
    int64_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process_pid(m->process));
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtoll(line + 6, NULL, 10);
    fclose(f);
    return kib;
}

/* One life of a client: it registers, locks, waits for messages, and is gone. */
static void come_and_go(const char *address, int i)
{
    char client[32];
    struct peer p;
    struct buf lock;
    snprintf(client, sizeof client, "client-%d", i);
    peer_open(&p, address);
    peer_heartbeat(&p, client, "producers", "consumers", "churn");
    buf_init(&lock, 0);
    buf_printf(&lock,
               "{\"consumerGroup\":\"consumers\",\"clientId\":\"%s\",\"mqSet\":"
               "[{\"topic\":\"churn\",\"brokerName\":\"broker-t\",\"queueId\":0}]}",
               client);
    assert_int_equal(peer_call(&p, RC_LOCK_BATCH_MQ, NULL, buf_slice(&lock))->code, RESP_SUCCESS);
    buf_free(&lock);
    const struct hdr_pull_message pull = {.consumer_group = SLICE_LIT("consumers"),
                                          .topic = SLICE_LIT("churn"),
                                          .queue_id = i % 4,
                                          .queue_offset = 1,
                                          .max_msg_nums = 32,
                                          .sys_flag = 6,
                                          .suspend_timeout_ms = 60000,
                                          .subscription = SLICE_LIT("*"),
                                          .expression_type = SLICE_LIT("TAG")};
    peer_send(&p, RC_PULL_MESSAGE, &pull, SLICE_NULL, 0);
    peer_close(&p);
}

static void clients_that_come_and_go_leave_nothing_behind(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    mq_broker_start(&b, tmpdir_new("churn"), NULL, NULL, ENV);
    peer_open(&p, b.address);
    for (int i = 0; i < 4; i++)
        peer_send_message(&p, "pg", "churn", i, "m", "");
    for (int i = 0; i < CYCLES / 4; i++) /* what is allocated once */
        come_and_go(b.address, i);
    const int64_t before = rss_kib(&b);
    for (int i = 0; i < CYCLES; i++)
        come_and_go(b.address, i);
    const struct hdr_consumer_group group = {SLICE_LIT("consumers")};
    peer_heartbeat(&p, "last", NULL, "consumers", "churn");
    assert_int_equal(peer_call(&p, RC_GET_CONSUMER_LIST_BY_GROUP, &group, SLICE_NULL)->code,
                     RESP_SUCCESS);
    const int64_t grown = rss_kib(&b) - before;
    print_message("%d connections: %lld KiB, then %+lld KiB\n", CYCLES, (long long)before,
                  (long long)grown);
    if (grown > GROWTH_KIB)
        fail_msg("%d connections cost %lld KiB", CYCLES, (long long)grown);
    peer_close(&p);
    mq_stop(&b);
}

/* New topics by sends and new groups by heartbeats, over the limits; those that exist go on. */
static void storms_of_new_names_end_at_the_limits(void **state)
{
    (void)state;
    struct mq_process b;
    struct peer p;
    int stored = 0;
    mq_broker_start(&b, tmpdir_new("storm"), NULL, "maxTopics=600\nmaxSubscriptionGroups=300\n",
                    ENV);
    peer_open(&p, b.address);
    peer_send_message(&p, "pg", "before", 0, "m", "");
    const int64_t from = clock_mono(&clock_system);
    for (int i = 0; i < STORM; i++) {
        char topic[32], group[32];
        snprintf(topic, sizeof topic, "storm_%d", i);
        snprintf(group, sizeof group, "group_%d", i);
        const struct hdr_send_message h = {.producer_group = SLICE_LIT("pg"),
                                           .topic = slice_str(topic),
                                           .default_topic = SLICE_LIT("TBW102"),
                                           .default_topic_queue_nums = 4,
                                           .born_timestamp = 1,
                                           .max_reconsume_times = -1};
        stored += peer_call(&p, RC_SEND_MESSAGE_V2, &h, SLICE_LIT("m"))->code == RESP_SUCCESS;
        peer_heartbeat(&p, "c", NULL, group, "before");
    }
    print_message("%d of %d topics in %lld ms\n", stored, STORM,
                  (long long)(clock_mono(&clock_system) - from));
    assert_in_range(stored, 1, 600);
    peer_send_message(&p, "pg", "before", 0, "m", "");
    peer_close(&p);
    mq_stop(&b);
    mq_broker_start(&b, b.dir, NULL, "maxTopics=600\nmaxSubscriptionGroups=300\n", ENV);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_that_come_and_go_leave_nothing_behind),
        cmocka_unit_test(storms_of_new_names_end_at_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
