/* Hostile peers against the real broker: garbage, silence, greed. A well-behaved client must be
 * served throughout, and memory must stay bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/seed.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static struct mq_process broker;

static int start(void **state)
{
    (void)state;
    mq_broker_start(&broker, tmpdir_new("hostile"), NULL, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mq_stop(&broker);
    return 0;
}

static int64_t rss_kib(void)
{
    char path[64], line[256];
    int64_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process_pid(broker.process));
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtoll(line + 6, NULL, 10);
    fclose(f);
    return kib;
}

/* Sends and pulls; the slowest of some rounds must be quick. */
static void canary(const char *topic)
{
    struct peer p;
    struct message m;
    int n;
    peer_open(&p, broker.address);
    peer_send_message(&p, "canary", topic, 0, "alive", "");
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        const int64_t before = clock_mono(&clock_system);
        const struct peer_sent s = peer_send_message(&p, "canary", topic, 0, "alive", "");
        peer_pull(&p, topic, 0, s.queue_offset, 0, &m, 1, &n);
        assert_int_equal(n, 1);
        const int64_t took = clock_mono(&clock_system) - before;
        worst = took > worst ? took : worst;
    }
    if (worst > 1000)
        fail_msg("the canary waited %lld ms", (long long)worst);
    peer_close(&p);
}

static void garbage_closes_its_connection_and_nothing_else(void **state)
{
    (void)state;
    struct rng rng = test_rng("garbage");
    for (int i = 0; i < 100; i++) {
        struct peer p;
        char bytes[512];
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (char)rng_u64(&rng);
        if (i % 3 == 0) /* a believable length before it */
            memcpy(bytes, "\0\0\001\360\0\0\0\100", 8);
        if (i % 3 == 1)
            memcpy(bytes, "\177\377\377\377", 4);
        peer_open(&p, broker.address);
        peer_send_raw(&p, slice_of(bytes, sizeof bytes));
        peer_close(&p);
    }
    canary("after_garbage");
}

static void known_failure_31_answers_nobody_reads_are_bounded(void **state)
{
    (void)state;
    enum { READERS = 8, PULLS = 20000 };
    static char body[60000];
    struct peer p, readers[READERS];
    memset(body, 'x', sizeof body - 1);
    peer_open(&p, broker.address);
    for (int i = 0; i < 32; i++)
        peer_send_message(&p, "pg", "greedy", 0, body, "");
    peer_close(&p);
    const int64_t before = rss_kib();
    const struct hdr_pull_message h = {.consumer_group = SLICE_LIT("g"),
                                       .topic = SLICE_LIT("greedy"),
                                       .max_msg_nums = 32,
                                       .sys_flag = 4,
                                       .subscription = SLICE_LIT("*")};
    struct buf request;
    struct err e;
    buf_init(&request, 0);
    const struct code_row *const row = code_row_of(RC_PULL_MESSAGE);
    const struct command_out out = {
        .code = RC_PULL_MESSAGE, .opaque = 1, .desc = row->request, .names = row->names, .hdr = &h};
    for (int i = 0; i < 64; i++)
        assert_ok(command_encode(&request, &out, 0, &e), &e);
    for (int i = 0; i < READERS; i++) {
        peer_open(&readers[i], broker.address);
        for (size_t sent = 0; sent < PULLS / 64;) { /* until the broker stops reading */
            const ssize_t n = peer_try_send(&readers[i], buf_slice(&request));
            if (n < (ssize_t)request.n)
                break;
            sent++;
        }
    }
    canary("beside_greed");
    const int64_t grown = rss_kib() - before;
    if (grown > 300 * 1024)
        fail_msg("%d peers that do not read cost %lld KiB", READERS, (long long)grown);
    for (int i = 0; i < READERS; i++)
        peer_close(&readers[i]);
    buf_free(&request);
    canary("after_greed");
}

static void known_failure_31_silent_connections_shut_nobody_out(void **state)
{
    (void)state;
    enum { SILENT = 800 };
    static struct peer silent[SILENT];
    for (int i = 0; i < SILENT; i++)
        peer_open(&silent[i], broker.address);
    canary("beside_silence");
    for (int i = 0; i < SILENT; i++)
        peer_close(&silent[i]);
    canary("after_silence");
}

static void known_failure_31_settings_cannot_be_changed_from_outside(void **state)
{
    (void)state;
    struct peer p;
    struct buf b;
    struct err e;
    peer_open(&p, broker.address);
    buf_init(&b, 0);
    const struct slice body = SLICE_LIT("storePathRootDir=/nowhere\n");
    const struct command_out out = {.code = 25, .opaque = 9};
    assert_ok(command_encode(&b, &out, body.n, &e), &e);
    buf_slice_add(&b, body);
    peer_send_raw(&p, buf_slice(&b));
    const struct command *const c = peer_receive(&p, 10000);
    assert_non_null(c);
    assert_int_equal(c->code, RESP_REQUEST_CODE_NOT_SUPPORTED);
    buf_free(&b);
    peer_close(&p);
}

static void nonsense_bodies_get_an_answer(void **state)
{
    (void)state;
    static const int codes[] = {RC_HEART_BEAT, RC_LOCK_BATCH_MQ, RC_UNLOCK_BATCH_MQ,
                                RC_CHECK_CLIENT_CONFIG, RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP};
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"clientID\":5}",
        "{\"consumerDataSet\":7}",
        "{\"mqSet\":{}}",
        "\377\376",
        "{\"groupName\":\"../x\"}",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"a/../b\"}]}"};
    struct peer p;
    peer_open(&p, broker.address);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (size_t k = 0; k < sizeof bodies / sizeof *bodies; k++) {
            const struct command *const c = peer_call(&p, codes[i], NULL, slice_str(bodies[k]));
            assert_in_range(c->code, 0, 100);
        }
    peer_close(&p);
    canary("after_nonsense");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_closes_its_connection_and_nothing_else),
        cmocka_unit_test(known_failure_31_answers_nobody_reads_are_bounded),
        cmocka_unit_test(known_failure_31_silent_connections_shut_nobody_out),
        cmocka_unit_test(known_failure_31_settings_cannot_be_changed_from_outside),
        cmocka_unit_test(nonsense_bodies_get_an_answer),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
