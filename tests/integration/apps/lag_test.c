/* What is left to do at the broker, as the audit asks for it: messages a group has not come past, and half
 * messages nobody has decided. */
#include <stdio.h>
#include <string.h>

#include <halfpenny/halfpenny.h>

#include "apps/common/mq.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define HALF_GROUP "CID_RMQ_SYS_TRANS"
#define HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"

static struct mq_process ns, broker;
static struct mq *q;
static hp_client *client;

static enum mq_verdict undecided(void *arg, const struct envelope *v, const char *txn_id)
{
    (void)arg;
    (void)v;
    (void)txn_id;
    return MQ_UNKNOWN;
}

static int setup(void **state)
{
    (void)state;
    struct app_error e = {0};
    struct hp_error err = {0};
    mq_namesrv_start(&ns, tmpdir_new("lag-ns"), NULL);
    mq_broker_start(&broker, tmpdir_new("lag"), ns.address, "transactionCheckInterval=300\n", NULL);
    const struct mq_options o = {.namesrv = ns.address, .name = "lag"};
    assert_int_equal(mq_open(&o, &q, &e), APP_OK);
    mq_set_check(q, undecided, NULL);
    assert_int_equal(mq_start(q, &e), APP_OK);
    const struct hp_client_options co = {.namesrv_addr = ns.address};
    assert_int_equal(hp_client_new(&co, &client, &err), HP_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hp_client_free(client);
    mq_stop_consumers(q, 0);
    mq_close(q);
    mq_stop(&broker);
    mq_stop(&ns);
    return 0;
}

static int64_t lag_of(const char *group, const char *topic)
{
    struct hp_error err = {0};
    int64_t lag = -1;
    const int rc = hp_group_lag(client, group, topic, 10000, &lag, &err);
    if (rc != HP_OK)
        fail_msg("lag of %s in %s: %s", group, topic, err.text);
    return lag;
}

static enum hp_consume_result consume(void *arg, const hp_message_view *v)
{
    (void)arg;
    (void)v;
    return HP_CONSUME_SUCCESS;
}

static bool caught_up(void *arg)
{
    return lag_of(arg, TOPIC_ORDER) == 0;
}

static void a_group_is_behind_by_what_it_has_not_consumed(void **state)
{
    (void)state;
    const struct envelope v = {
        .event = EVENT_order_paid, .order_id = 7, .pay_id = 8, .has = ENV_PAY};
    struct app_error e = {0};
    struct hp_error err = {0};
    char group[] = "lag_group";
    hp_consumer *k = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(mq_publish(q, &v, NULL, &e), APP_OK);
    assert_int_equal(lag_of(group, TOPIC_ORDER), 3); /* it has never been there */
    const struct hp_consumer_options o = {
        .group = group, .consume = consume, .from = HP_FROM_FIRST, .offset_persist_ms = 200};
    assert_int_equal(hp_consumer_new(client, &o, &k, &err), HP_OK);
    assert_int_equal(hp_consumer_subscribe(k, TOPIC_ORDER, "*", &err), HP_OK);
    assert_int_equal(hp_consumer_start(k, &err), HP_OK);
    if (!wait_until(caught_up, group, 30000))
        fail_msg("%lld are left", (long long)lag_of(group, TOPIC_ORDER));
    hp_consumer_free(k);
    assert_int_equal(lag_of("somebody_else", TOPIC_ORDER), 3);
}

static bool decided(void *arg)
{
    (void)arg;
    return lag_of(HALF_GROUP, HALF_TOPIC) == 0;
}

static void an_undecided_half_message_counts_until_it_is_decided(void **state)
{
    (void)state;
    const struct envelope v = {
        .event = EVENT_order_paid, .order_id = 7, .pay_id = 8, .has = ENV_PAY};
    struct app_error e = {0};
    struct mq_half half;
    assert_int_equal(mq_half(q, &v, "txn", 3600, NULL, &half, &e), APP_OK);
    assert_int_equal(lag_of(HALF_GROUP, HALF_TOPIC), 1);
    mq_end(q, &half, MQ_COMMIT);
    if (!wait_until(decided, NULL, 30000))
        fail_msg("%lld are undecided", (long long)lag_of(HALF_GROUP, HALF_TOPIC));
}

static void what_cannot_be_asked_is_an_error_and_no_number(void **state)
{
    (void)state;
    struct hp_error err = {0};
    int64_t lag = -1;
    assert_int_equal(hp_group_lag(client, "g", "no_such_topic", 10000, &lag, &err), HP_E_NO_ROUTE);
    assert_int_equal(hp_group_lag(client, "", TOPIC_ORDER, 10000, &lag, &err), HP_E_INVALID);
    assert_int_equal(hp_group_lag(client, "g", "a b", 10000, &lag, &err), HP_E_INVALID);
    assert_int_equal(hp_group_lag(client, "g", TOPIC_ORDER, 0, &lag, &err), HP_E_INVALID);
    assert_int_equal(lag, -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_group_is_behind_by_what_it_has_not_consumed),
        T(an_undecided_half_message_counts_until_it_is_decided),
        T(what_cannot_be_asked_is_an_error_and_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
