/* serverBusyPollMicros reaches the network loops. */
#include <stdio.h>

#include "broker/broker.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { MESSAGES = 60 };

struct seen {
    struct loop *loop;
    uint64_t runs;
};

static void see(void *arg)
{
    struct seen *s = arg;
    s->runs = s->loop->busy.runs;
}

static void set(struct broker_conf *conf, const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(&broker_conf_table, conf, key, value, "test", &e), &e);
}

/* Looks of the network loop while one client sent one message after the other. */
static uint64_t looks(const char *key, const char *value)
{
    struct broker_conf conf = {0};
    struct broker *b;
    struct peer p;
    struct err e;
    char address[40];
    assert_ok(broker_conf_defaults(&conf, &e), &e);
    set(&conf, "storePathRootDir", tmpdir_new("busy_poll"));
    set(&conf, "brokerIP1", "127.0.0.1");
    set(&conf, "bindAddress", "127.0.0.1");
    set(&conf, "listenPort", "0");
    set(&conf, "serverSelectorThreads", "1");
    set(&conf, key, value);
    assert_ok(broker_conf_finish(&conf, &e), &e);
    assert_ok(broker_open(&b, &(struct broker_opts){.conf = &conf, .fs = &fs_real}, &e), &e);
    snprintf(address, sizeof address, "127.0.0.1:%d", broker_port(b));
    peer_open(&p, address);
    for (int i = 0; i < MESSAGES; i++)
        peer_send_message(&p, "pg", "busy", 0, "one", "");
    struct seen s = {.loop = &b->nets[0].loop};
    assert_int_equal(loop_call(s.loop, see, &s), 0);
    peer_close(&p);
    assert_ok(broker_close(b, &e), &e);
    broker_conf_free(&conf);
    return s.runs;
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
        cmocka_unit_test(a_network_loop_looks_for_the_next_request_of_a_lone_client_in_async_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
