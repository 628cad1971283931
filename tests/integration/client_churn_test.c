/* The client library while everything around it moves: consumers of one group come and go with callbacks
 * running, brokers are killed, the name server is away. Every acknowledged message is consumed. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "halfpenny/halfpenny.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define TOPIC "churn"
#define BROKER "flushDiskType=SYNC_FLUSH\nflushConsumerOffsetInterval=200\n"
enum { MESSAGES_MAX = 1 << 20, ROUNDS = 6, WAIT_MS = 60000 };

struct run {
    const char *namesrv;
    atomic_bool stop;
    atomic_int acked; /* messages 0..acked-1 are stored */
    atomic_uchar seen[MESSAGES_MAX];
    atomic_int seen_n;
};
static struct run run;

static hp_client *client_new(void)
{
    hp_client *c = NULL;
    struct hp_error err = {0};
    const struct hp_client_options o = {
        .namesrv_addr = run.namesrv, .heartbeat_ms = 500, .route_refresh_ms = 500};
    if (hp_client_new(&o, &c, &err) != 0)
        fail_msg("%s", err.text);
    return c;
}

static void *send_all(void *arg)
{
    hp_client *const c = arg;
    hp_producer *p = NULL;
    struct hp_error err = {0};
    const struct hp_producer_options o = {.group = "pg", .send_timeout_ms = 3000};
    if (hp_producer_new(c, &o, &p, &err) != 0)
        return NULL;
    for (int i = 0; !atomic_load(&run.stop) && i < MESSAGES_MAX;) {
        char body[16];
        const int n = snprintf(body, sizeof body, "%d", i);
        hp_message *const m = hp_message_new(TOPIC, body, (size_t)n);
        if (hp_send(p, m, NULL, &err) == 0)
            atomic_store(&run.acked, ++i);
        hp_message_free(m);
    }
    hp_producer_free(p);
    return NULL;
}

static enum hp_consume_result consume(void *arg, const hp_message_view *v)
{
    size_t n;
    const char *const body = hp_view_body(v, &n);
    char text[16] = "";
    (void)arg;
    memcpy(text, body, n < sizeof text - 1 ? n : sizeof text - 1);
    const long i = strtol(text, NULL, 10);
    if (i % 16 == 0)
        wait_step(20); /* still running when its consumer goes */
    if (i % 50 == 7 && hp_view_reconsume_times(v) == 0)
        return HP_RECONSUME_LATER;
    if (!atomic_exchange(&run.seen[i], 1))
        atomic_fetch_add(&run.seen_n, 1);
    return HP_CONSUME_SUCCESS;
}

static hp_consumer *consumer_new(hp_client *c)
{
    hp_consumer *k = NULL;
    struct hp_error err = {0};
    const struct hp_consumer_options o = {.group = "group",
                                          .consume = consume,
                                          .threads = 4,
                                          .from = HP_FROM_FIRST,
                                          .rebalance_ms = 500,
                                          .suspend_ms = 1000,
                                          .offset_persist_ms = 200};
    if (hp_consumer_new(c, &o, &k, &err) != 0 || hp_consumer_subscribe(k, TOPIC, "*", &err) != 0 ||
        hp_consumer_start(k, &err) != 0)
        fail_msg("%s", err.text);
    return k;
}

static bool moved_on(void *arg)
{
    return atomic_load(&run.seen_n) >= *(const int *)arg;
}

static void await_seen(int want)
{
    if (!wait_until(moved_on, &want, WAIT_MS))
        fail_msg("%d messages were consumed, want %d of %d", atomic_load(&run.seen_n), want,
                 atomic_load(&run.acked));
}

static bool all_seen(void *arg)
{
    (void)arg;
    for (int i = 0; i < atomic_load(&run.acked); i++)
        if (!atomic_load(&run.seen[i]))
            return false;
    return true;
}

static void every_acknowledged_message_is_consumed_while_all_come_and_go(void **state)
{
    (void)state;
    static const char levels[] =
        BROKER "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s\n";
    struct mq_process ns, b;
    pthread_t sender;
    const char *const dir = tmpdir_new("churn-broker");
    mq_namesrv_start(&ns, tmpdir_new("churn-ns"), NULL);
    mq_broker_start(&b, dir, ns.address, levels, NULL);
    run.namesrv = ns.address;
    hp_client *const producing = client_new(), *const steady = client_new();
    hp_consumer *const first = consumer_new(steady);
    assert_int_equal(pthread_create(&sender, NULL, send_all, producing), 0);
    for (int round = 0; round < ROUNDS; round++) {
        hp_client *const c = client_new();
        hp_consumer *const k = consumer_new(c);
        await_seen(atomic_load(&run.seen_n) + 100);
        if (round % 2) {
            mq_kill(&b);
            mq_broker_start(&b, dir, ns.address, levels, NULL);
        }
        if (round % 3 == 2)
            hp_consumer_suspend(k);
        hp_consumer_free(k); /* callbacks run */
        hp_client_free(c);
    }
    await_seen(atomic_load(&run.seen_n) + 100);
    atomic_store(&run.stop, true);
    pthread_join(sender, NULL);
    if (!wait_until(all_seen, NULL, WAIT_MS))
        fail_msg("%d of %d acknowledged messages were consumed", atomic_load(&run.seen_n),
                 atomic_load(&run.acked));
    print_message("%d messages\n", atomic_load(&run.acked));
    mq_kill(&ns); /* everything ends without it too */
    hp_consumer_free(first);
    hp_client_free(steady);
    hp_client_free(producing);
    mq_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_acknowledged_message_is_consumed_while_all_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
