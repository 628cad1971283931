/* "Stored" means stored as durably as the broker promises: an answer that says "written, not synced" is no
 * success for a shop that acts on it (deductions after a half message, acknowledgements after an event). */
#include <stdio.h>
#include <string.h>

#include "apps/common/mq.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static enum mq_verdict never_asked(void *arg, const struct envelope *v, const char *txn_id)
{
    (void)arg;
    (void)v;
    (void)txn_id;
    return MQ_UNKNOWN;
}

static void a_message_that_is_not_on_disk_in_time_is_not_sent(void **state)
{
    (void)state;
    struct mq_process ns, b;
    struct mq *q = NULL;
    struct app_error e = {0};
    struct mq_half half;
    mq_namesrv_start(&ns, tmpdir_new("durable-ns"), NULL);
    mq_broker_start(&b, tmpdir_new("durable"), ns.address,
                    "flushDiskType=SYNC_FLUSH\nsyncFlushTimeout=200\n",
                    "HALFPENNY_FAILPOINTS=store.flush.sync=pause");
    const struct mq_options o = {.namesrv = ns.address, .name = "durable", .send_timeout_ms = 5000};
    assert_int_equal(mq_open(&o, &q, &e), APP_OK);
    mq_set_check(q, never_asked, NULL);
    assert_int_equal(mq_start(q, &e), APP_OK);
    const struct envelope v = {
        .event = EVENT_order_paid, .order_id = 7, .pay_id = 8, .has = ENV_PAY};
    int rc = mq_publish(q, &v, NULL, &e);
    if (rc != APP_E_TIMEOUT)
        fail_msg("publish: %d, want %d: %s", rc, APP_E_TIMEOUT, e.text);
    rc = mq_half(q, &v, "txn", 0, NULL, &half, &e);
    if (rc != APP_E_TIMEOUT)
        fail_msg("half: %d, want %d: %s", rc, APP_E_TIMEOUT, e.text);
    mq_stop_consumers(q, 0);
    mq_close(q);
    mq_kill(&b); /* its sync never ends */
    mq_stop(&ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_that_is_not_on_disk_in_time_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
