/* The simulated provider: its books, its callbacks and its switches, against a merchant that listens. */
#include "apps/thirdpay/thirdpay.h"

#include "tests/support/shop/shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/wait.h"

#define KEY "a key for tests"

static struct shop_db the_db;
static struct db *db;
static struct ids ids;
static struct thirdpay provider;
static struct http_server *tp_http, *merchant_http;
static char notify_url[128];
static struct {
    _Atomic int heard, forged, wrong, refuse;
} merchant; /* refuse: so many FAILs first */

static void on_callback(void *arg, struct http_req *rq)
{
    (void)arg;
    const struct sign_param *form = NULL;
    const size_t n = http_form(rq, &form);
    if (!sign_verify(KEY, form, n)) {
        merchant.forged++;
        http_text(rq, 401, "text/plain", "FAIL");
    } else if (strcmp(http_form_value(rq, "amount"), "700") != 0) {
        merchant.wrong++;
        http_text(rq, 409, "text/plain", "FAIL");
    } else if (merchant.refuse > 0) {
        merchant.refuse--;
        http_text(rq, 200, "text/plain", "FAIL");
    } else {
        merchant.heard++;
        http_text(rq, 200, "text/plain", "SUCCESS");
    }
}

static const struct http_route merchant_routes[] = {
    {"POST", "/callback", on_callback, HTTP_FORM, 0}, {NULL, NULL, NULL, 0, 0}};

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    db = shop_db_as(&the_db, "shop_thirdpay", "tp");
    ids_init(&ids, 2, NULL);
    provider = (struct thirdpay){.db = db,
                                 .ids = &ids,
                                 .sign_key = KEY,
                                 .public_url = "",
                                 .retry_ms = 1,
                                 .retry_max_ms = 1,
                                 .attempts_max = 4,
                                 .notify_ms = 5000};
    merchant.heard = merchant.forged = merchant.wrong = merchant.refuse = 0;
    tp_http = shop_serve(thirdpay_routes, &provider);
    merchant_http = shop_serve(merchant_routes, NULL);
    (void)snprintf(notify_url, sizeof notify_url, "http://%s/callback",
                   http_server_address(merchant_http));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_server_free(tp_http);
    http_server_free(merchant_http);
    ids_fini(&ids);
    db_close(db);
    shop_db_drop(&the_db);
    return 0;
}

static int call(const char *method, const char *path, const char *body)
{
    struct http_answer a = {0};
    shop_call(tp_http, method, path, body, &a);
    const int status = a.status;
    http_answer_free(&a);
    return status;
}

static int charge(int no, int amount)
{
    char body[300];
    (void)snprintf(
        body, sizeof body,
        "{\"out_trade_no\":\"%d\",\"amount\":%d,\"currency\":\"CNY\",\"notify_url\":\"%s\"}", no,
        amount, notify_url);
    return call("POST", "/v1/charges", body);
}

static int on_charge(int no, const char *what)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/v1/charges/%d/%s", no, what);
    return call("POST", path,
                strcmp(what, "refund") == 0 ? "{\"refund_key\":\"rf:1\",\"amount\":700}" : NULL);
}

static bool nothing_due(void *arg)
{
    (void)arg;
    struct app_error e = {0};
    assert_true(tp_notify_step(&provider, &e) >= 0);
    return shop_number(&the_db, "SELECT count(*) FROM tp.notify WHERE next_at IS NOT NULL") == 0;
}

static void deliver_all(void)
{
    assert_true(wait_until(nothing_due, NULL, 10000));
}

static void the_merchants_number_makes_a_charge_repeatable(void **state)
{
    (void)state;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(charge(1, 700), 200);
    assert_int_equal(charge(1, 701), 409);
    assert_int_equal(call("GET", "/v1/charges/1", NULL), 200);
    assert_int_equal(call("GET", "/v1/charges/2", NULL), 404);
    assert_int_equal(
        call(
            "POST", "/v1/charges",
            "{\"out_trade_no\":\"3\",\"amount\":-1,\"currency\":\"CNY\",\"notify_url\":\"http://x\"}"),
        400);
    assert_int_equal(
        call(
            "POST", "/v1/charges",
            "{\"out_trade_no\":\"3\",\"amount\":1,\"currency\":\"CNY\",\"notify_url\":\"ftp://x/y\"}"),
        400);
}

static void a_charge_is_captured_or_closed_never_both(void **state)
{
    (void)state;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(charge(2, 700), 201);
    assert_int_equal(on_charge(1, "capture"), 200);
    assert_int_equal(on_charge(1, "capture"), 200);
    assert_int_equal(on_charge(1, "close"), 409);
    assert_int_equal(on_charge(2, "close"), 200);
    assert_int_equal(on_charge(2, "close"), 200);
    assert_int_equal(on_charge(2, "capture"), 409);
    assert_int_equal(on_charge(3, "capture"), 404);
    assert_int_equal(on_charge(3, "close"), 404);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM tp.notify"), 1);
}

static void an_expired_charge_is_not_captured(void **state)
{
    (void)state;
    assert_int_equal(charge(1, 700), 201);
    shop_sql(&the_db, "UPDATE tp.charge SET expires_at = now() - interval '1 s'");
    assert_int_equal(on_charge(1, "capture"), 409);
}

static void a_refund_is_booked_once_per_key(void **state)
{
    (void)state;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(on_charge(1, "refund"), 409);
    assert_int_equal(on_charge(1, "capture"), 200);
    assert_int_equal(
        call("POST", "/v1/charges/1/refund", "{\"refund_key\":\"rf:1\",\"amount\":699}"), 409);
    assert_int_equal(on_charge(1, "refund"), 200);
    assert_int_equal(on_charge(1, "refund"), 200);
    assert_int_equal(
        call("POST", "/v1/charges/1/refund", "{\"refund_key\":\"rf:2\",\"amount\":700}"), 409);
    assert_int_equal(shop_number(&the_db, "SELECT refunded FROM tp.charge"), 700);
}

static void a_callback_is_repeated_until_success(void **state)
{
    (void)state;
    merchant.refuse = 2;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(on_charge(1, "capture"), 200);
    deliver_all();
    assert_int_equal(merchant.heard, 1);
    assert_int_equal(
        shop_number(&the_db, "SELECT attempts FROM tp.notify WHERE delivered_at IS NOT NULL"), 3);
}

static void a_callback_is_given_up_after_the_last_attempt(void **state)
{
    (void)state;
    merchant.refuse = 100;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(on_charge(1, "capture"), 200);
    deliver_all();
    assert_int_equal(
        shop_number(&the_db, "SELECT attempts FROM tp.notify WHERE delivered_at IS NULL"), 4);
}

static void the_switches_spoil_callbacks_as_often_as_they_say(void **state)
{
    (void)state;
    assert_int_equal(call("POST", "/admin/switches",
                          "{\"wrong_signature\":1,\"wrong_amount\":1,\"duplicates\":3}"),
                     200);
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(on_charge(1, "capture"), 200);
    deliver_all();
    assert_true(merchant.forged == 4 || merchant.wrong == 4);
    assert_int_equal(merchant.heard, 4);
    assert_int_equal(call("POST", "/admin/switches", "{\"duplicates\":99}"), 400);
}

static void a_lost_callback_is_never_sent_though_the_money_is_taken(void **state)
{
    (void)state;
    assert_int_equal(call("POST", "/admin/switches", "{\"lost\":1}"), 200);
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(on_charge(1, "capture"), 200);
    deliver_all();
    assert_int_equal(merchant.heard, 0);
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM tp.charge WHERE status = 'CAPTURED'"), 1);
}

static void the_payers_page_captures_with_its_button(void **state)
{
    (void)state;
    assert_int_equal(charge(1, 700), 201);
    assert_int_equal(call("GET", "/pay/1", NULL), 200);
    assert_int_equal(call("GET", "/pay/9", NULL), 404);
    assert_int_equal(call("POST", "/pay/1", NULL), 200);
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM tp.charge WHERE status = 'CAPTURED'"), 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_merchants_number_makes_a_charge_repeatable),
        CASE(a_charge_is_captured_or_closed_never_both),
        CASE(an_expired_charge_is_not_captured),
        CASE(a_refund_is_booked_once_per_key),
        CASE(a_callback_is_repeated_until_success),
        CASE(a_callback_is_given_up_after_the_last_attempt),
        CASE(the_switches_spoil_callbacks_as_often_as_they_say),
        CASE(a_lost_callback_is_never_sent_though_the_money_is_taken),
        CASE(the_payers_page_captures_with_its_button),
    };
    return cmocka_run_group_tests_name("thirdpay", tests, shop_cluster_start, shop_cluster_stop);
}
