/* The schema: applies twice, keeps its promises against wrong writers, and its audit views see corruption. */
#include "tests/support/shop/shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/schema.h"

static struct shop_db the_db;

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_db_drop(&the_db);
    return 0;
}

static const char *path_of(const char *name)
{
    static char path[600];
    const char *top = getenv("HALFPENNY_SOURCE");
    (void)snprintf(path, sizeof path, "%s/apps/schema%s%s", top ? top : ".", name[0] ? "/" : "",
                   name);
    return path;
}

/* One paid order (100), one that was cancelled and whose late money went back (101), a tombstone (102). */
static const char GOOD[] =
    "INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty) VALUES (10, 'course', 100000, 1000);"
    "INSERT INTO stk.goods_stock VALUES (10, 0, 999);"
    "INSERT INTO usr.trade_user(user_id, user_name, user_money, user_score) VALUES (1, 'zs', 80000, 980), (2, 'ls', 0, 0);"
    "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, -1, 0, 90000, 90000), (1, 100, 1, -10000, 80000);"
    "INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, valid_from, valid_to, is_used, order_id) VALUES (5, 1, 2000, now() - interval '1 d', now() + interval '1 d', 1, 100);"
    "INSERT INTO cpn.coupon_log(coupon_id, order_id, log_type, coupon_paid) VALUES (5, 100, 1, 2000);"
    "INSERT INTO ord.trade_order(order_id, user_id, client_req_id, req_hash, order_status, goods_amount, shipping_fee, order_amount, coupon_id, coupon_paid, money_paid, pay_amount, saga_deadline, pay_deadline) VALUES"
    " (100, 1, gen_random_uuid(), '\\x00', 0, 100000, 0, 100000, 5, 2000, 10000, 88000, now(), now() + interval '30 min'),"
    " (101, 2, gen_random_uuid(), '\\x00', 0, 100000, 0, 100000, NULL, 0, 0, 100000, now(), now()),"
    " (102, 2, gen_random_uuid(), '\\x00', 3, 0, 0, 0, NULL, 0, 0, 0, now(), now());"
    "INSERT INTO ord.trade_order_item VALUES (100, 1, 10, 1, 100000), (101, 1, 10, 1, 100000);"
    "INSERT INTO stk.trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES (10, 0, 100, 1, -1), (10, 0, 101, 1, -1), (10, 0, 101, 2, 1);"
    "INSERT INTO stk.tx_barrier(txn_key, branch, op, reason) VALUES ('100', 'stock', 'T', 'T'), ('101', 'stock', 'T', 'T'), ('101', 'stock', 'C', 'C');"
    "INSERT INTO usr.tx_barrier(txn_key, branch, op, reason) VALUES ('100', 'balance', 'T', 'T'), ('900', 'points', 'T', 'T');"
    "INSERT INTO cpn.tx_barrier(txn_key, branch, op, reason) VALUES ('100', 'coupon', 'T', 'T');"
    "UPDATE ord.trade_order SET order_status = 1 WHERE order_id IN (100, 101); UPDATE ord.trade_order SET pay_status = 1 WHERE order_id = 100;"
    "UPDATE ord.trade_order SET order_status = 5 WHERE order_id = 101; UPDATE ord.trade_order SET order_status = 2, comp_mask = 15 WHERE order_id = 101;"
    "INSERT INTO pay.trade_pay(pay_id, order_id, user_id, pay_amount, is_paid, acks) VALUES (900, 100, 1, 88000, 2, 7), (901, 101, 2, 100000, 5, 24);"
    "UPDATE ord.trade_order SET pay_status = 2, pay_id = 900 WHERE order_id = 100;"
    "INSERT INTO usr.user_score_log(user_id, pay_id, order_id, log_type, score) VALUES (1, 900, 100, 1, 980);"
    "INSERT INTO plog.pay_log(pay_id, order_id, event, amount) VALUES (900, 100, 'paid', 88000), (901, 101, 'paid', 100000), (901, 101, 'refunded', 100000);"
    "INSERT INTO tp.charge(out_trade_no, amount, status, refunded) VALUES (900, 88000, 'CAPTURED', 0), (901, 100000, 'CAPTURED', 100000);";

static void the_schema_and_the_demo_data_apply_twice_without_change(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_ok(schema_run_file(the_db.owner, path_of("seed_demo.sql"), &e), &e);
    const int64_t applied = shop_number(
        &the_db,
        "SELECT sum(extract(epoch FROM applied_at) * 1000000)::bigint FROM kit.schema_version");
    assert_app_ok(schema_apply(the_db.owner, path_of(""), &e), &e);
    assert_app_ok(schema_run_file(the_db.owner, path_of("seed_demo.sql"), &e), &e);
    assert_int_equal(
        shop_number(
            &the_db,
            "SELECT sum(extract(epoch FROM applied_at) * 1000000)::bigint FROM kit.schema_version"),
        applied);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM kit.schema_version"), 11);
    assert_int_equal(shop_violations(&the_db), 0);
}

static void a_file_that_changed_after_it_was_applied_is_refused(void **state)
{
    (void)state;
    struct app_error e;
    shop_sql(&the_db, "UPDATE kit.schema_version SET checksum = 'other' WHERE file = 'stk.sql'");
    assert_app_kind(schema_apply(the_db.owner, path_of(""), &e), APP_E_CONFIG, &e);
    assert_non_null(strstr(e.text, "stk.sql was changed"));
}

static void a_service_finds_out_that_its_tables_are_missing(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_ok(schema_check(the_db.owner, "stk", &e), &e);
    shop_sql(&the_db, "DELETE FROM kit.schema_version WHERE file = 'stk.sql'");
    assert_app_kind(schema_check(the_db.owner, "stk", &e), APP_E_CONFIG, &e);
    assert_non_null(strstr(e.text, "shopctl schema"));
}

static void refused_for(const char *role, const char *sql)
{
    struct db *db = shop_db_as(&the_db, role, NULL);
    struct db_conn *c;
    struct app_error e;
    assert_app_ok(db_acquire(db, &c, &e), &e);
    const int rc = db_script(c, sql, 0, NULL);
    db_release(db, c);
    db_close(db);
    if (rc == APP_OK || strcmp(e.sqlstate, "42501") != 0)
        fail_msg("%s: %s: result %s %s, expected insufficient privilege", role, sql,
                 app_errno_name(rc), e.sqlstate);
}

static void services_reach_their_own_schema_only_and_ledgers_are_append_only(void **state)
{
    (void)state;
    struct app_error e;
    static const struct {
        const char *role, *schema;
    } services[] = {{"shop_order", "ord"},  {"shop_stock", "stk"},   {"shop_coupon", "cpn"},
                    {"shop_user", "usr"},   {"shop_payment", "pay"}, {"shop_paylog", "plog"},
                    {"shop_thirdpay", "tp"}};
    for (size_t i = 0; i < 7; i++) {
        struct db *db = shop_db_as(&the_db, services[i].role, services[i].schema);
        assert_app_ok(schema_check(db, services[i].schema, &e), &e);
        db_close(db);
        for (size_t k = 0; k < 7; k++) {
            char sql[100];
            (void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s.tx_barrier", services[k].schema);
            if (k != i)
                refused_for(services[i].role, sql);
        }
    }
    refused_for("shop_stock", "UPDATE stk.trade_goods_number_log SET goods_number = 0");
    refused_for("shop_stock", "DELETE FROM stk.goods_stock");
    refused_for("shop_user", "DELETE FROM usr.trade_user_money_log");
    refused_for("shop_order", "INSERT INTO ord.order_edge VALUES (2, 0, 1, 0)");
    refused_for("shop_auditor", "UPDATE usr.trade_user SET user_money = 1");
    struct db *auditor = shop_db_as(&the_db, "shop_auditor", NULL);
    struct db_conn *c;
    assert_app_ok(db_acquire(auditor, &c, &e), &e);
    assert_app_ok(db_script(c, "SELECT * FROM audit.run()", 0, NULL), &e);
    db_release(auditor, c);
    db_close(auditor);
}

static void illegal_writes_are_refused_by_the_schema_itself(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *sqlstate;
    } writes[] = {
        {"UPDATE ord.trade_order SET order_status = 1 WHERE order_id = 101", "SH001"},
        {"UPDATE ord.trade_order SET order_status = 2 WHERE order_id = 102", "SH001"},
        {"DELETE FROM ord.trade_order WHERE order_id = 102", "SH001"},
        {"INSERT INTO ord.trade_order(order_id, user_id, client_req_id, req_hash, order_status, goods_amount, shipping_fee, order_amount, pay_amount, saga_deadline, pay_deadline) VALUES (103, 1, gen_random_uuid(), '\\x00', 1, 0, 0, 0, 0, now(), now())",
         "SH001"},
        {"UPDATE ord.trade_order SET pay_amount = pay_amount - 1 WHERE order_id = 100", "23514"},
        {"UPDATE stk.goods_stock SET available = -1", "23514"},
        {"UPDATE usr.trade_user SET user_money = -1 WHERE user_id = 1", "23514"},
        {"INSERT INTO stk.trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES (10, 0, 100, 1, -1)",
         "23505"},
        {"INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, 100, 1, -1, 1)",
         "23505"},
        {"INSERT INTO usr.user_score_log(user_id, pay_id, order_id, log_type, score) VALUES (1, 900, 100, 1, 1)",
         "23505"},
        {"INSERT INTO cpn.coupon_log(coupon_id, order_id, log_type, coupon_paid) VALUES (5, 100, 1, 1)",
         "23505"},
        {"UPDATE usr.trade_user_money_log SET use_money = 0", "SH002"},
        {"DELETE FROM stk.trade_goods_number_log", "SH002"},
        {"TRUNCATE plog.pay_log", "SH002"},
    };
    shop_sql(&the_db, GOOD);
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        char sqlstate[6];
        shop_sql_refused(&the_db, writes[i].sql, sqlstate);
        if (strcmp(sqlstate, writes[i].sqlstate) != 0)
            fail_msg("%s: SQLSTATE %s, expected %s", writes[i].sql, sqlstate, writes[i].sqlstate);
    }
    assert_int_equal(shop_violations(&the_db), 0);
}

/* Each corruption in a database of its own; `view` is one that must see it. */
static void the_audit_is_empty_on_good_data_and_red_on_each_corruption(void **state)
{
    (void)state;
    static const struct {
        const char *view, *sql;
    } corruptions[] = {
        {"i01", "UPDATE usr.trade_user SET user_money = user_money + 1 WHERE user_id = 2"},
        {"i02",
         "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (2, -2, 0, 5, 5)"},
        {"i03",
         "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, 100, 2, 10000, 90000); UPDATE usr.trade_user SET user_money = 90000 WHERE user_id = 1"},
        {"i04", "UPDATE stk.goods_stock SET available = available + 1"},
        {"i05",
         "INSERT INTO stk.trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number) VALUES (10, 0, 555, 1, -1); UPDATE stk.goods_stock SET available = 998"},
        {"i06", "UPDATE cpn.trade_coupon SET is_used = 0, order_id = NULL"},
        {"i07",
         "INSERT INTO usr.user_score_log(user_id, pay_id, order_id, log_type, score) VALUES (1, 901, 101, 1, 7); UPDATE usr.trade_user SET user_score = 987 WHERE user_id = 1"},
        {"i07", "UPDATE usr.trade_user SET user_score = 0 WHERE user_id = 1"},
        {"i08", "UPDATE pay.trade_pay SET is_paid = 3 WHERE pay_id = 900"},
        {"i09", "UPDATE tp.charge SET amount = amount - 1 WHERE out_trade_no = 900"},
        {"i10",
         "INSERT INTO pay.trade_pay(pay_id, order_id, user_id, pay_amount) VALUES (902, 101, 2, 5)"},
        {"i10", "UPDATE pay.trade_pay SET acks = 5 WHERE pay_id = 900"},
        {"i11",
         "ALTER TABLE ord.trade_order DISABLE TRIGGER guard; UPDATE ord.trade_order SET order_status = 1 WHERE order_id = 101"},
        {"i12",
         "INSERT INTO pay.trade_pay(pay_id, order_id, user_id, pay_amount, is_paid, acks) VALUES (903, 101, 2, 0, 5, 24)"},
        {"i13",
         "INSERT INTO cpn.tx_barrier(txn_key, branch, op, reason) VALUES ('101', 'coupon', 'T', 'T')"},
        {"i13",
         "INSERT INTO stk.tx_barrier(txn_key, branch, op, reason) VALUES ('777', 'stock', 'T', 'T')"},
    };
    shop_sql(&the_db, GOOD);
    assert_int_equal(shop_violations(&the_db), 0);
    for (size_t i = 0; i < sizeof corruptions / sizeof *corruptions; i++) {
        struct db_conn *c;
        struct app_error e;
        struct db_rows rows;
        char sql[100];
        assert_app_ok(db_acquire(the_db.owner, &c, &e), &e);
        assert_app_ok(db_script(c, "BEGIN", 0, NULL), &e);
        assert_app_ok(db_script(c, corruptions[i].sql, 0, NULL), &e);
        (void)snprintf(sql, sizeof sql, "SELECT count(*) AS n FROM audit.%s", corruptions[i].view);
        assert_app_ok(db_script(c, sql, 0, &rows), &e);
        if (db_get_i64(&rows, 0, "n") == 0)
            fail_msg("view %s does not see: %s", corruptions[i].view, corruptions[i].sql);
        assert_app_ok(db_rows_end(&rows), &e);
        assert_app_ok(db_script(c, "ROLLBACK", 0, NULL), &e);
        db_release(the_db.owner, c);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_schema_and_the_demo_data_apply_twice_without_change),
        T(a_file_that_changed_after_it_was_applied_is_refused),
        T(a_service_finds_out_that_its_tables_are_missing),
        T(services_reach_their_own_schema_only_and_ledgers_are_append_only),
        T(illegal_writes_are_refused_by_the_schema_itself),
        T(the_audit_is_empty_on_good_data_and_red_on_each_corruption),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
