/* The order saga against a real PostgreSQL and the real participants' handlers; a tape stands in for the
 * broker, so that every half message and every END is seen. */
#include "apps/order/order.h"

#include "tests/support/shop/shop.h"

#include <stdio.h>
#include <string.h>

#include "apps/common/kit_failpoints.h"
#include "apps/coupon/coupon.h"
#include "apps/stock/stock.h"
#include "apps/user/user.h"

static struct shop_db the_db;
static struct db *ord, *stk, *cpn, *usr;
static struct tape tape;
static struct mq *mq;
static struct stock stock;
static struct coupon coupon;
static struct user user;
static struct ids ids;
static struct order_app app;
static struct http_server *stock_http, *coupon_http, *user_http, *order_http;
static char urls[3][SHOP_URL_MAX];

static const char DATA[] =
    "INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES (10, 'lamp', 6000, 5, 1);"
    "INSERT INTO stk.goods_stock VALUES (10, 0, 5);"
    "INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES (1, 'Ada', 5000);"
    "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, -1, 0, 5000, 5000);"
    "INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to) VALUES"
    " (5, 1, 300, 500, now() - interval '1 d', now() + interval '1 d');";

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    shop_sql(&the_db, DATA);
    ord = shop_db_as(&the_db, "shop_order", "ord");
    stk = shop_db_as(&the_db, "shop_stock", "stk");
    cpn = shop_db_as(&the_db, "shop_coupon", "cpn");
    usr = shop_db_as(&the_db, "shop_user", "usr");
    tape_init(&tape);
    mq = tape_mq(&tape, "order");
    stock_init(&stock, stk, mq, NULL);
    struct app_error e = {0};
    assert_app_ok(stock_group_new(stk, 1, 1, NULL, &stock.group, &e), &e);
    coupon_init(&coupon, cpn, mq, NULL);
    user_init(&user, usr, mq, NULL);
    stock_http = shop_serve(stock_routes, &stock);
    coupon_http = shop_serve(coupon_routes, &coupon);
    user_http = shop_serve(user_routes, &user);
    const struct http_server *const peers[] = {stock_http, coupon_http, user_http};
    for (int i = 0; i < 3; i++)
        shop_url(peers[i], urls[i]);
    ids_init(&ids, 1, NULL);
    app = (struct order_app){.db = ord,
                             .mq = mq,
                             .ids = &ids,
                             .stock_url = urls[0],
                             .coupon_url = urls[1],
                             .user_url = urls[2],
                             .saga_ms = 8000,
                             .immunity_s = 10,
                             .rpc_ms = 1000,
                             .pay_deadline_ms = 60000,
                             .pay_margin_ms = 0,
                             .drive = {.first_ms = 1000, .max_ms = 60000, .times = 8, .batch = 10}};
    assert_app_ok(delay_levels_parse(DELAY_LEVELS_DEFAULT, &app.delays, &e), &e);
    order_mq_init(&app);
    order_http = shop_serve(order_routes, &app);
    app_failpoint_register(order_fp, ORDER_FP_COUNT);
    app_failpoint_register(kit_failpoints, KIT_FP_COUNT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    struct http_server *const servers[] = {order_http, stock_http, coupon_http, user_http};
    for (int i = 0; i < 4; i++)
        http_server_free(servers[i]);
    stock_group_free(stock.group);
    mq_close(mq);
    ids_fini(&ids);
    struct db *const pools[] = {ord, stk, cpn, usr};
    for (int i = 0; i < 4; i++)
        db_close(pools[i]);
    shop_db_drop(&the_db);
    return 0;
}

/* --- requests --- */

#define KEY_A "11111111-1111-4111-8111-111111111111"
#define KEY_B "22222222-2222-4222-8222-222222222222"

struct answer {
    int status, code;
    int64_t order_id;
    int order_status;
};

static struct answer place(const char *key, int qty, int64_t money, bool with_coupon)
{
    char body[600];
    const int64_t goods = 6000 * (int64_t)qty, fee = shipping_fee_of(goods);
    snprintf(
        body, sizeof body,
        "{\"user_id\":\"1\",\"items\":[{\"goods_id\":\"10\",\"qty\":%d,\"goods_price\":6000}],%s\"money_paid\":%lld,"
        "\"shipping_fee\":%lld,\"order_amount\":%lld,\"address\":\"Street 1\",\"consignee\":\"Ada\"}",
        qty, with_coupon ? "\"coupon_id\":\"5\"," : "", (long long)money, (long long)fee,
        (long long)(goods + fee));
    struct http_answer a = {0};
    shop_ask(order_http, "POST", "/v1/orders", json_loads(body, 0, NULL), key, &a);
    const struct answer out = {
        .status = a.status,
        .code = a.code,
        .order_id = shop_answer_id(&a, "order_id"),
        .order_status = (int)json_integer_value(json_object_get(a.data, "order_status"))};
    http_answer_free(&a);
    return out;
}

static void assert_told(struct answer a, int status, int code)
{
    if (a.status != status || a.code != code)
        fail_msg("HTTP %d code %d, want %d %d", a.status, a.code, status, code);
}

static int64_t status_of(int64_t order_id)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT order_status FROM ord.trade_order WHERE order_id = %lld",
             (long long)order_id);
    return shop_number(&the_db, sql);
}

/* What every participant holds for live orders. */
static void assert_taken(int64_t stock_units, int64_t coupons, int64_t money)
{
    assert_int_equal(5 - shop_number(&the_db, "SELECT sum(available) FROM stk.goods_stock"),
                     stock_units);
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM cpn.trade_coupon WHERE is_used = 1"), coupons);
    assert_int_equal(
        5000 - shop_number(&the_db, "SELECT user_money FROM usr.trade_user WHERE user_id = 1"),
        money);
}

/* Delivers the armed cancellation to everybody, and their acknowledgements to the order service. */
static void deliver_cancel(int64_t order_id)
{
    struct envelope v = {.event = EVENT_none};
    for (int i = 0; i < tape.n; i++)
        if (tape.sent[i].kind == 'h' && tape.sent[i].v.order_id == order_id)
            v = tape.sent[i].v;
    assert_int_equal(v.event, EVENT_order_cancel);
    const int before = tape.n;
    assert_int_equal(tape_deliver(&stock.cancel_inbox, &v), INBOX_SUCCESS);
    assert_int_equal(tape_deliver(&coupon.cancel_inbox, &v), INBOX_SUCCESS);
    assert_int_equal(tape_deliver(&user.cancel_inbox, &v), INBOX_SUCCESS);
    assert_int_equal(tape.n, before + 3);
    for (int i = before; i < before + 3; i++)
        assert_int_equal(tape_deliver(&app.ack_inbox, &tape.sent[i].v), INBOX_SUCCESS);
    const struct envelope pay = {.event = EVENT_cancel_ack,
                                 .has = ENV_BRANCH | ENV_OUTCOME,
                                 .order_id = order_id,
                                 .branch = BRANCH_PAY,
                                 .outcome = OUTCOME_EMPTY};
    assert_int_equal(status_of(order_id), ORDER_CANCELLING);
    assert_int_equal(tape_deliver(&app.ack_inbox, &pay), INBOX_SUCCESS);
}

static enum mq_verdict check_back(const struct envelope *v)
{
    char *text = NULL;
    size_t len = 0;
    struct app_error e = {0};
    assert_app_ok(envelope_encode(v, &text, &len, &e), &e);
    const enum mq_verdict verdict = mq_check_now(mq, text, len, NULL);
    free(text);
    return verdict;
}

/* --- tests --- */

static void an_order_is_confirmed_and_its_armed_cancellation_rolled_back(void **state)
{
    (void)state;
    const struct answer a = place(KEY_A, 2, 1000, true);
    assert_told(a, 201, CODE_OK);
    assert_int_equal(a.order_status, ORDER_CONFIRMED);
    assert_tape(&tape, "hsr");
    assert_taken(2, 1, 1000);
    assert_int_equal(shop_number(&the_db, "SELECT pay_amount FROM ord.trade_order"),
                     12000 - 300 - 1000);
    assert_int_equal(shop_violations(&the_db), 0);
}

static void the_same_key_answers_the_same_order_and_another_body_is_refused(void **state)
{
    (void)state;
    const struct answer a = place(KEY_A, 1, 0, false), again = place(KEY_A, 1, 0, false);
    assert_told(again, 201, CODE_OK);
    assert_int_equal(again.order_id, a.order_id);
    assert_told(place(KEY_A, 2, 0, false), 422, CODE_ORDER_KEY_REUSED);
    assert_tape(&tape, "hsr");
    assert_taken(1, 0, 0);
}

static void hopeless_orders_are_refused_before_anything_is_written(void **state)
{
    (void)state;
    assert_told(place(KEY_A, 6, 0, false), 409, CODE_STOCK_SHORT);
    assert_told(place(KEY_A, 1, 5001, false), 409, CODE_BALANCE_SHORT);
    assert_told(place(KEY_A, 1, -1, false), 409, CODE_MONEY_NEGATIVE);
    assert_tape(&tape, "");
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM ord.trade_order"), 0);
}

static void a_refused_try_is_compensated_to_nothing(void **state)
{
    (void)state;
    /* the wallet is emptied between quote and try: what the first steps took has to come back */
    shop_sql(
        &the_db,
        "CREATE FUNCTION usr.poor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'x' USING ERRCODE = '23514'; END $$;"
        "CREATE TRIGGER poor BEFORE UPDATE ON usr.trade_user FOR EACH ROW EXECUTE FUNCTION usr.poor();");
    const struct answer a = place(KEY_A, 2, 1000, true);
    shop_sql(&the_db, "DROP TRIGGER poor ON usr.trade_user");
    assert_true(a.status >= 400);
    assert_tape(&tape, "hsc");
    assert_int_equal(status_of(a.order_id), ORDER_CANCELLING);
    assert_taken(2, 1, 0);
    deliver_cancel(a.order_id);
    assert_int_equal(status_of(a.order_id), ORDER_CANCELLED);
    assert_taken(0, 0, 0);
    assert_int_equal(shop_violations(&the_db), 0);
}

static void a_failure_at_any_step_ends_in_nothing(void **state)
{
    (void)state;
    static const enum order_fp at[] = {
        FP_ORDER_AFTER_INSERT,  FP_ORDER_AFTER_TIMER,   FP_ORDER_BEFORE_STOCK,
        FP_ORDER_AFTER_STOCK,   FP_ORDER_BEFORE_COUPON, FP_ORDER_AFTER_COUPON,
        FP_ORDER_BEFORE_WALLET, FP_ORDER_AFTER_WALLET,  FP_ORDER_BEFORE_CONFIRM};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        char spec[80], key[40];
        snprintf(spec, sizeof spec, "%s=error*1", order_fp[at[i]].name);
        snprintf(key, sizeof key, "33333333-3333-4333-8333-3333333333%02zu", i);
        tape.n = 0;
        shop_arm(spec);
        const struct answer a = place(key, 1, 1000, true);
        if (a.status < 400)
            fail_msg("%s: HTTP %d", spec, a.status);
        assert_tape(&tape, at[i] == FP_ORDER_AFTER_INSERT ? "hc" : "hsc");
        deliver_cancel(a.order_id);
        assert_int_equal(status_of(a.order_id), ORDER_CANCELLED);
        assert_taken(0, 0, 0);
        /* the answer to a repetition is the same refusal */
        assert_told(place(key, 1, 1000, true), a.status, a.code);
    }
    assert_int_equal(shop_violations(&the_db), 0);
}

static void nothing_happens_when_the_cancellation_cannot_be_armed(void **state)
{
    (void)state;
    shop_arm("mq.half=error*1");
    assert_told(place(KEY_A, 1, 0, false), 503, CODE_MQ_SEND);
    assert_tape(&tape, "");
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM ord.trade_order"), 0);
    assert_taken(0, 0, 0);
}

/* Rule E: COMMIT of the confirmation went through, its answer was lost; the verdict is read, not guessed. */
static void a_lost_commit_answer_is_settled_by_reading(void **state)
{
    (void)state;
    shop_arm(
        "db.commit.cut=error*1,after(2)"); /* the insert and the stock pass, the confirmation is cut */
    const struct answer a = place(KEY_A, 1, 0, false);
    assert_told(a, 201, CODE_OK);
    assert_tape(&tape, "hsr");
    assert_int_equal(status_of(a.order_id), ORDER_CONFIRMED);
}

static void the_check_back_answers_from_the_row(void **state)
{
    (void)state;
    struct envelope v = {.event = EVENT_order_cancel,
                         .has = ENV_USER | ENV_REQ | ENV_ITEMS,
                         .order_id = 77,
                         .user_id = 1,
                         .client_req_id = KEY_B,
                         .n_items = 1,
                         .items = {{10, 1}}};
    /* no row: nothing was ever deducted; the tombstone makes a late insert fail */
    assert_int_equal(check_back(&v), MQ_ROLLBACK);
    assert_int_equal(status_of(77), ORDER_INVALID);
    struct order late = {.order_id = 77,
                         .user_id = 1,
                         .n_items = 1,
                         .items = {{10, 1, 6000}},
                         .goods_amount = 6000,
                         .shipping_fee = 1000,
                         .order_amount = 7000,
                         .pay_amount = 7000,
                         .client_req_id = KEY_B};
    bool inserted = true;
    struct app_error e = {0};
    assert_app_ok(repo_insert(ord, &late, 8000, 60000, &inserted, &e), &e);
    assert_false(inserted);

    /* pending: open until its deadline, then cancelled */
    late.order_id = 78;
    v.order_id = 78;
    assert_app_ok(repo_insert(ord, &late, 8000, 60000, &inserted, &e), &e);
    assert_true(inserted);
    assert_int_equal(check_back(&v), MQ_UNKNOWN);
    assert_int_equal(status_of(78), ORDER_PENDING);
    shop_sql(
        &the_db,
        "UPDATE ord.trade_order SET saga_deadline = now() - interval '1 s' WHERE order_id = 78");
    assert_int_equal(check_back(&v), MQ_COMMIT);
    assert_int_equal(status_of(78), ORDER_CANCELLING);
    enum order_status now;
    assert_app_ok(repo_confirm(ord, 78, &now, &e), &e); /* the request thread wakes up: too late */
    assert_int_equal(now, ORDER_CANCELLING);
    assert_int_equal(check_back(&v), MQ_COMMIT);

    /* confirmed */
    const struct answer a = place(KEY_A, 1, 0, false);
    v.order_id = a.order_id;
    assert_int_equal(check_back(&v), MQ_ROLLBACK);
}

static void money_is_accepted_once_and_a_second_payment_given_back(void **state)
{
    (void)state;
    const struct answer a = place(KEY_A, 1, 0, false);
    struct envelope paid = {.event = EVENT_paid,
                            .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                            .order_id = a.order_id,
                            .pay_id = 900,
                            .user_id = 1,
                            .amount = 7000};
    tape.n = 0;
    assert_int_equal(tape_deliver(&app.paid_inbox, &paid), INBOX_SUCCESS);
    assert_int_equal(tape_deliver(&app.paid_inbox, &paid),
                     INBOX_SUCCESS); /* a duplicate emits again */
    assert_tape(&tape, "ss");
    assert_string_equal(tape.sent[0].tag, "order_paid");
    assert_string_equal(tape.sent[1].tag, "order_paid");
    assert_int_equal(
        shop_number(&the_db, "SELECT pay_id FROM ord.trade_order WHERE pay_status = 2"), 900);
    paid.pay_id = 901;
    assert_int_equal(tape_deliver(&app.paid_inbox, &paid), INBOX_SUCCESS);
    assert_string_equal(tape.sent[2].tag, "refund_request");
    assert_int_equal(tape.sent[2].v.amount, 7000);
    assert_int_equal(
        shop_number(&the_db, "SELECT pay_id FROM ord.trade_order WHERE pay_status = 2"), 900);
    paid.order_id = 424242;
    paid.pay_id = 902;
    assert_int_equal(tape_deliver(&app.paid_inbox, &paid), INBOX_LATER);
}

static void acknowledgements_may_repeat_and_come_in_any_order(void **state)
{
    (void)state;
    shop_arm("order.confirm.before=error*1");
    const struct answer a = place(KEY_A, 1, 0, false);
    assert_int_equal(status_of(a.order_id), ORDER_CANCELLING);
    static const enum branch order[] = {BRANCH_PAY,     BRANCH_BALANCE, BRANCH_PAY,  BRANCH_STOCK,
                                        BRANCH_BALANCE, BRANCH_COUPON,  BRANCH_STOCK};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const struct envelope v = {.event = EVENT_cancel_ack,
                                   .has = ENV_BRANCH | ENV_OUTCOME,
                                   .order_id = a.order_id,
                                   .branch = order[i],
                                   .outcome = OUTCOME_DONE};
        assert_int_equal(tape_deliver(&app.ack_inbox, &v), INBOX_SUCCESS);
        assert_int_equal(status_of(a.order_id), i < 5 ? ORDER_CANCELLING : ORDER_CANCELLED);
    }
}

static void a_pay_intent_is_granted_only_while_the_order_is_payable(void **state)
{
    (void)state;
    const struct answer a = place(KEY_A, 1, 0, false);
    struct pay_intent intent = {0};
    struct app_error e = {0};
    assert_app_ok(repo_pay_intent(ord, a.order_id, 0, &intent, &e), &e);
    assert_int_equal(intent.pay_amount, 7000);
    assert_app_kind(repo_pay_intent(ord, a.order_id, 120000, &intent, &e), APP_E_REFUSED, &e);
    assert_int_equal(e.code, CODE_PAY_NOT_PAYABLE);
    assert_app_kind(repo_pay_intent(ord, 424242, 0, &intent, &e), APP_E_REFUSED, &e);
    assert_int_equal(e.code, CODE_ORDER_NOT_FOUND);
}

static void on_empty_quote(void *arg, struct http_req *rq)
{
    (void)arg;
    http_ok(rq, json_object());
}

static void a_quote_without_its_members_is_told_with_who_gave_it(void **state)
{
    (void)state;
    static const struct http_route routes[] = {{.method = "GET",
                                                .pattern = "/internal/quote/goods",
                                                .handler = on_empty_quote,
                                                .flags = HTTP_INTERNAL},
                                               {0}};
    struct http_server *const empty = shop_serve(routes, NULL);
    char url[SHOP_URL_MAX];
    struct order_app with_it = app;
    struct order o = {.user_id = 1, .n_items = 1, .items = {{.goods_id = 10, .qty = 1}}};
    struct app_error e = {0};
    shop_url(empty, url);
    with_it.stock_url = url;
    assert_app_kind(peers_quote(&with_it, &o, NULL, &e), APP_E_PROTO, &e);
    assert_memory_equal(e.text, "stock's quote: ", 15);
    if (strstr(e.text + 15, "stock's quote") != NULL || strstr(e.text, "goods") == NULL)
        fail_msg("told: %s", e.text);
    http_server_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            an_order_is_confirmed_and_its_armed_cancellation_rolled_back, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_same_key_answers_the_same_order_and_another_body_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(hopeless_orders_are_refused_before_anything_is_written,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_try_is_compensated_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_at_any_step_ends_in_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_happens_when_the_cancellation_cannot_be_armed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_commit_answer_is_settled_by_reading, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_check_back_answers_from_the_row, setup, teardown),
        cmocka_unit_test_setup_teardown(money_is_accepted_once_and_a_second_payment_given_back,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(acknowledgements_may_repeat_and_come_in_any_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_pay_intent_is_granted_only_while_the_order_is_payable,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_quote_without_its_members_is_told_with_who_gave_it, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
