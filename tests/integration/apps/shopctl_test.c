/* shopctl as an operator calls it: what it prints, and its exit status. */
#include "tests/support/shop/shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/process.h"
#include "tests/support/tmpdir.h"

static struct shop_db the_db;
static char program[600], auditor[400], owner[400], output[600];

/* A confirmed order of one unit that costs 1000, without coupon and wallet, and its ledger row. */
static const char ORDER[] =
    "INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty) VALUES (10, 'lamp', 1000, 5);"
    "INSERT INTO stk.goods_stock VALUES (10, 0, 4);"
    "INSERT INTO stk.trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES (10, 0, 100, 1, -1);"
    "INSERT INTO ord.trade_order(order_id, user_id, client_req_id, req_hash, order_status, goods_amount, shipping_fee,"
    " order_amount, pay_amount, saga_deadline, pay_deadline) VALUES (100, 1, '11111111-1111-4111-8111-111111111111', '\\x00',"
    " 0, 1000, 0, 1000, 1000, now(), now() + interval '1 hour');"
    "INSERT INTO ord.trade_order_item VALUES (100, 1, 10, 1, 1000);"
    "UPDATE ord.trade_order SET order_status = 1 WHERE order_id = 100;";

static int setup(void **state)
{
    (void)state;
    const char *const bin = getenv("HALFPENNY_BIN");
    shop_db_create(&the_db);
    (void)snprintf(program, sizeof program, "%s/shopctl", bin != NULL ? bin : "bin");
    (void)snprintf(auditor, sizeof auditor, "%s", shop_dsn(&the_db, "shop_auditor"));
    (void)snprintf(owner, sizeof owner, "%s", shop_dsn(&the_db, "shop_owner"));
    (void)snprintf(output, sizeof output, "%s", tmpdir_path(tmpdir_new("shopctl"), "out"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_db_drop(&the_db);
    return 0;
}

/* Runs `shopctl command --dsn dsn rest...`; its output must contain part. */
static void expect(int status, const char *part, const char *dsn, const char *command,
                   const char *a, const char *b, const char *c)
{
    const char *const argv[] = {program, command, "--dsn", dsn, a, b, c, NULL};
    struct err e;
    struct process *p =
        process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (p == NULL)
        fail_msg("%s: %s", program, e.text);
    const bool found = process_wait_line(p, part, 15000, NULL, 0);
    const int got = process_wait(p, 15000);
    process_free(p);
    if (!found || got != status)
        fail_msg("shopctl %s: status %d, want %d; \"%s\" %s in %s", command, got, status, part,
                 found ? "is" : "is not", output);
}

static void audit_is_content_with_a_sound_shop(void **state)
{
    (void)state;
    shop_sql(&the_db, ORDER);
    expect(0, "all 14 invariants hold", auditor, "audit", NULL, NULL, NULL);
    expect(0, "at rest after", auditor, "audit", "--wait", "5", NULL);
}

static void audit_names_the_invariant_that_does_not_hold(void **state)
{
    (void)state;
    shop_sql(&the_db, ORDER);
    shop_sql(&the_db, "UPDATE stk.goods_stock SET available = 5");
    expect(1, "VIOLATED", auditor, "audit", NULL, NULL, NULL);
    expect(1, "1 of 14 invariants are violated", auditor, "audit", NULL, NULL, NULL);
}

static void audit_gives_up_waiting_and_judges(void **state)
{
    (void)state;
    shop_sql(&the_db, ORDER);
    shop_sql(&the_db, "UPDATE ord.trade_order SET order_status = 5");
    expect(1, "not as it should be after", auditor, "audit", "--wait", "1", NULL);
}

static void order_shows_the_rows_of_all_services(void **state)
{
    (void)state;
    shop_sql(&the_db, ORDER);
    expect(0, "deduct goods 10", auditor, "order", "100", NULL, NULL);
    expect(0, "deduct goods 10", auditor, "order", "--show", "ledgers", "100");
    expect(1, "nothing to show of order 101", auditor, "order", "101", NULL, NULL);
    expect(1, "nothing to show of order 100", auditor, "order", "--show", "payments", "100");
}

static void sagas_lists_what_is_under_way_and_what_is_missing(void **state)
{
    (void)state;
    expect(0, "nothing is under way", auditor, "sagas", NULL, NULL, NULL);
    shop_sql(&the_db, ORDER);
    shop_sql(
        &the_db,
        "UPDATE ord.trade_order SET order_status = 5; UPDATE ord.trade_order SET comp_mask = 5");
    expect(0, "coupon pay", auditor, "sagas", NULL, NULL, NULL);
}

static void schema_and_seed_may_be_repeated_by_the_owner(void **state)
{
    (void)state;
    char dir[600], file[640];
    const char *const source = getenv("HALFPENNY_SOURCE");
    (void)snprintf(dir, sizeof dir, "%s/apps/schema", source != NULL ? source : ".");
    (void)snprintf(file, sizeof file, "%s/seed_demo.sql", dir);
    expect(0, "up to date", owner, "schema", "--dir", dir, NULL);
    expect(0, "applied", owner, "seed", "--file", file, NULL);
    expect(0, "applied", owner, "seed", "--file", file, NULL);
    expect(0, "all 14 invariants hold", auditor, "audit", NULL, NULL, NULL);
    expect(2, "permission denied", auditor, "seed", "--file", file, NULL);
}

static void schema_creates_a_database_that_is_not_there(void **state)
{
    (void)state;
    char dir[600];
    const char *const source = getenv("HALFPENNY_SOURCE");
    (void)snprintf(dir, sizeof dir, "--dir=%s/apps/schema", source != NULL ? source : ".");
    char maintenance[450], fresh[450], name[80];
    (void)snprintf(maintenance, sizeof maintenance, "--maintenance-dsn=%s", owner);
    (void)snprintf(name, sizeof name, "--database=%s_fresh", the_db.name);
    (void)snprintf(fresh, sizeof fresh, "%s dbname=%s_fresh", owner,
                   the_db.name); /* the later dbname counts */
    const char *const argv[] = {program, "schema", "--dsn", fresh, maintenance, name, dir, NULL};
    for (int i = 0; i < 2; i++) {
        struct err e;
        struct process *p =
            process_start(&(struct process_options){.argv = argv, .output = output}, &e);
        assert_non_null(p);
        assert_true(
            process_wait_line(p, i == 0 ? "created database" : "up to date", 15000, NULL, 0));
        assert_int_equal(process_wait(p, 30000), 0);
        process_free(p);
    }
    char sql[120];
    (void)snprintf(sql, sizeof sql, "DROP DATABASE %s_fresh", the_db.name);
    struct db_conn *c;
    struct app_error e = {0};
    assert_app_ok(db_acquire(the_db.owner, &c, &e), &e);
    assert_app_ok(db_script(c, sql, 0, NULL), db_error(c));
    db_release(the_db.owner, c);
}

static void bad_usage_is_status_2_and_says_what_to_do(void **state)
{
    (void)state;
    expect(2, "no command is called dance", auditor, "dance", NULL, NULL, NULL);
    expect(2, "\"x1\" is not an order id", auditor, "order", "x1", NULL, NULL);
    expect(2, "usage: shopctl order", auditor, "order", NULL, NULL, NULL);
    expect(2, "usage: shopctl audit", auditor, "audit", "extra", NULL, NULL);
    expect(2, "no option is called", auditor, "audit", "--colour", "red", NULL);
    expect(2, "none of those", auditor, "order", "--show", "everything", "100");
    expect(2, "wait: 9999 is not within", auditor, "audit", "--wait", "9999", NULL);
    expect(2, "database: \"shop; DROP\"", owner, "schema", "--maintenance-dsn=x",
           "--database=shop; DROP", NULL);
    expect(2, "shopctl audit", "host=/nowhere-at-all dbname=shop", "audit", NULL, NULL, NULL);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(audit_is_content_with_a_sound_shop),
        CASE(audit_names_the_invariant_that_does_not_hold),
        CASE(audit_gives_up_waiting_and_judges),
        CASE(order_shows_the_rows_of_all_services),
        CASE(sagas_lists_what_is_under_way_and_what_is_missing),
        CASE(schema_and_seed_may_be_repeated_by_the_owner),
        CASE(schema_creates_a_database_that_is_not_there),
        CASE(bad_usage_is_status_2_and_says_what_to_do),
    };
    return cmocka_run_group_tests_name("shopctl", tests, shop_cluster_start, shop_cluster_stop);
}
