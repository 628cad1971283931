/* Network loops: how many there are, and that serverBusyPollMicros reaches them. */
#include <stdio.h>

#include "broker/broker.h"
#include "tests/support/loop_looks.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { MESSAGES = 60 };

static void set(struct broker_conf *conf, const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(&broker_conf_table, conf, key, value, "test", &e), &e);
}

/* With a key of its own; NULL: without. */
static struct broker *start(struct broker_conf *conf, const char *key, const char *value)
{
    struct broker *b;
    struct err e;
    *conf = (struct broker_conf){0};
    assert_ok(broker_conf_defaults(conf, &e), &e);
    set(conf, "storePathRootDir", tmpdir_new("loops"));
    set(conf, "brokerIP1", "127.0.0.1");
    set(conf, "bindAddress", "127.0.0.1");
    set(conf, "listenPort", "0");
    if (key)
        set(conf, key, value);
    assert_ok(broker_conf_finish(conf, &e), &e);
    assert_ok(broker_open(&b, &(struct broker_opts){.conf = conf, .fs = &fs_real}, &e), &e);
    return b;
}

static void stop(struct broker *b, struct broker_conf *conf)
{
    struct err e;
    assert_ok(broker_close(b, &e), &e);
    broker_conf_free(conf);
}

static int loops(const char *key, const char *value)
{
    struct broker_conf conf;
    struct broker *const b = start(&conf, key, value);
    const int n = b->net_n;
    stop(b, &conf);
    return n;
}

static void there_is_a_loop_for_each_core_up_to_four_or_as_many_as_the_key_says(void **state)
{
    (void)state;
    const int cores = (int)uv_available_parallelism();
    assert_int_equal(loops(NULL, NULL), cores < 4 ? cores : 4);
    assert_int_equal(loops("serverSelectorThreads", "6"), 6);
}

/* Looks of the network loops while one client sent one message after the other. */
static uint64_t looks(const char *key, const char *value)
{
    struct broker_conf conf;
    struct broker *const b = start(&conf, key, value);
    struct peer p;
    char address[40];
    uint64_t n = 0;
    snprintf(address, sizeof address, "127.0.0.1:%d", broker_port(b));
    peer_open(&p, address);
    for (int i = 0; i < MESSAGES; i++)
        peer_send_message(&p, "pg", "busy", 0, "one", "");
    for (int i = 0; i < b->net_n; i++)
        n += loop_looks(&b->nets[i].loop);
    peer_close(&p);
    stop(b, &conf);
    return n;
}

static void a_network_loop_looks_for_the_next_request_of_a_lone_client_in_async_flush(void **state)
{
    (void)state;
    assert_int_equal(looks("flushDiskType", "ASYNC_FLUSH") > 0, uv_available_parallelism() > 1);
    assert_int_equal(looks("flushDiskType", "SYNC_FLUSH"), 0);
    assert_int_equal(looks("serverBusyPollMicros", "0"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_a_loop_for_each_core_up_to_four_or_as_many_as_the_key_says),
        cmocka_unit_test(a_network_loop_looks_for_the_next_request_of_a_lone_client_in_async_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
