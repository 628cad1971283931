/* The journal: one row per event however often it comes, an acknowledgement every time. */
#include "apps/paylog/paylog.h"

#include "tests/support/shop/shop.h"

static struct shop_rig rig;
static struct paylog paylog;

static int setup(void **state)
{
    (void)state;
    shop_rig_start(&rig, "paylog", "shop_paylog", "plog");
    paylog_init(&paylog, rig.db, rig.mq, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_rig_stop(&rig);
    return 0;
}

static void a_duplicate_leaves_one_row_and_is_acknowledged_again(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(
        shop_number(
            &rig.the_db,
            "SELECT count(*) FROM plog.pay_log WHERE pay_id = 900 AND event = 'paid' AND amount = 500"),
        1);
    assert_int_equal(rig.tape.n, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rig.tape.sent[i].v.event, EVENT_paid_ack);
        assert_int_equal(rig.tape.sent[i].v.branch, BRANCH_LOG);
    }
}

static void a_replay_after_the_inbox_was_purged_leaves_one_row(void **state)
{
    (void)state;
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_SUCCESS);
    shop_sql(&rig.the_db, "DELETE FROM plog.mq_consumer_log");
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(shop_number(&rig.the_db, "SELECT count(*) FROM plog.pay_log"), 1);
}

static void a_refund_may_come_before_its_payment(void **state)
{
    (void)state;
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_refunded), INBOX_SUCCESS);
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(shop_number(&rig.the_db, "SELECT count(*) FROM plog.pay_log"), 2);
    assert_int_equal(rig.tape.sent[0].v.event, EVENT_refund_ack);
    assert_int_equal(rig.tape.sent[1].v.event, EVENT_paid_ack);
}

static void a_failed_acknowledgement_brings_the_message_back(void **state)
{
    (void)state;
    rig.tape.fail_next = 1;
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(shop_number(&rig.the_db, "SELECT count(*) FROM plog.pay_log"), 1);
    assert_int_equal(tape_deliver(&paylog.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(shop_number(&rig.the_db, "SELECT count(*) FROM plog.pay_log"), 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_duplicate_leaves_one_row_and_is_acknowledged_again),
        CASE(a_replay_after_the_inbox_was_purged_leaves_one_row),
        CASE(a_refund_may_come_before_its_payment),
        CASE(a_failed_acknowledgement_brings_the_message_back),
    };
    return cmocka_run_group_tests_name("paylog", tests, shop_cluster_start, shop_cluster_stop);
}
