/* The example consumer of docs/IDEMPOTENT_CONSUMERS.md, against a PostgreSQL: what the document promises of it. */
#include "apps/common/example/stamps.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/shop/shop.h"

static struct shop_rig rig;
static struct stamps stamps;

static void apply_schema(void)
{
    char path[600], sql[4096];
    const char *const source = getenv("HALFPENNY_SOURCE");
    assert_non_null(source);
    (void)snprintf(path, sizeof path, "%s/apps/common/example/stamps.sql", source);
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    const size_t n = fread(sql, 1, sizeof sql - 1, f);
    fclose(f);
    assert_in_range(n, 1, sizeof sql - 2); /* all of it */
    sql[n] = '\0';
    shop_sql(&rig.the_db, sql);
}

static int setup(void **state)
{
    (void)state;
    shop_rig_start(&rig, "stamps", "shop_owner", "stamps");
    apply_schema();
    stamps_init(&stamps, rig.db, rig.mq, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_rig_stop(&rig);
    return 0;
}

static int64_t on_the_card(void)
{
    return shop_number(&rig.the_db, "SELECT coalesce(sum(stamps), 0)::bigint FROM stamps.card");
}

static void every_delivery_is_answered_and_one_has_an_effect(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(on_the_card(), 1);
    assert_int_equal(rig.tape.n, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig.tape.sent[i].v.event, EVENT_paid_ack);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tape_deliver(&stamps.inbox, &shop_refunded), INBOX_SUCCESS);
    assert_int_equal(on_the_card(), 0);
    assert_int_equal(rig.tape.n, 10);
    assert_int_equal(rig.tape.sent[9].v.event, EVENT_refund_ack);
}

static void a_refund_that_overtakes_its_payment_leaves_no_stamp(void **state)
{
    (void)state;
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_refunded), INBOX_SUCCESS);
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(on_the_card(), 0);
    assert_int_equal(shop_number(&rig.the_db, "SELECT count(*) FROM stamps.stamp_log"), 0);
    assert_int_equal(rig.tape.n, 2);
}

static void a_lost_answer_is_repeated_by_the_redelivery(void **state)
{
    (void)state;
    rig.tape.fail_next = 1;
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(on_the_card(), 1);
    assert_int_equal(rig.tape.n, 0);
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(on_the_card(), 1);
    assert_int_equal(rig.tape.n, 1);
}

static void a_replay_older_than_the_kits_rows_meets_the_ledger(void **state)
{
    (void)state;
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_SUCCESS);
    shop_sql(&rig.the_db, "DELETE FROM stamps.mq_consumer_log; DELETE FROM stamps.tx_barrier");
    assert_int_equal(tape_deliver(&stamps.inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(on_the_card(), 1);
    assert_int_equal(rig.tape.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_delivery_is_answered_and_one_has_an_effect, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refund_that_overtakes_its_payment_leaves_no_stamp, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_is_repeated_by_the_redelivery, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_replay_older_than_the_kits_rows_meets_the_ledger, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
