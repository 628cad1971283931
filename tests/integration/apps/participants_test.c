/* stock, coupon and user as other services meet them: HTTP in, messages in, messages out. */
#include "tests/support/shop/shop.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "apps/common/codes.h"
#include "apps/common/failpoint.h"
#include "apps/common/metrics.h"
#include "apps/common/timing.h"
#include "apps/coupon/coupon.h"
#include "apps/stock/stock.h"
#include "apps/user/user.h"
#include "tests/support/wait.h"

static struct shop_db the_db;
static struct db *stk, *cpn, *usr;
static struct tape tape;
static struct mq *mq;
static struct metrics *metrics;
static struct stock stock;
static struct coupon coupon;
static struct user user;
static struct http_server *stock_http, *coupon_http, *user_http;

static const char DATA[] =
    "INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES (10, 'lamp', 100, 5, 1), (11, 'pen', 50, 8, 4), (12, 'ink', 70, 3, 1);"
    "INSERT INTO stk.goods_stock VALUES (10, 0, 5), (11, 0, 2), (11, 1, 2), (11, 2, 2), (11, 3, 2), (12, 0, 3);"
    "INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES (1, 'Ada', 1000), (2, 'Bob', 0);"
    "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, -1, 0, 1000, 1000);"
    "INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to) VALUES"
    " (5, 1, 300, 500, now() - interval '1 d', now() + interval '1 d'), (6, 1, 300, 0, now() - interval '2 d', now() - interval '1 d');";

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    shop_sql(&the_db, DATA);
    stk = shop_db_as(&the_db, "shop_stock", "stk");
    cpn = shop_db_as(&the_db, "shop_coupon", "cpn");
    usr = shop_db_as(&the_db, "shop_user", "usr");
    tape_init(&tape);
    mq = tape_mq(&tape, "participants");
    stock_init(&stock, stk, mq, NULL);
    struct app_error e = {.kind = APP_OK};
    metrics = metrics_new();
    assert_non_null(metrics);
    assert_app_ok(stock_group_new(stk, 64, 2, metrics, &stock.group, &e), &e);
    coupon_init(&coupon, cpn, mq, NULL);
    user_init(&user, usr, mq, NULL);
    stock_http = shop_serve(stock_routes, &stock);
    coupon_http = shop_serve(coupon_routes, &coupon);
    user_http = shop_serve(user_routes, &user);
    app_failpoint_register(stock_failpoints, STOCK_FP_COUNT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    http_server_free(stock_http);
    http_server_free(coupon_http);
    http_server_free(user_http);
    stock_group_free(stock.group);
    metrics_free(metrics);
    mq_close(mq);
    db_close(stk);
    db_close(cpn);
    db_close(usr);
    shop_db_drop(&the_db);
    return 0;
}

/* Posts; checks HTTP status and code; returns an integer (or boolean) member of data, or 0. */
__attribute__((format(printf, 6, 7)))
static int64_t post(const struct http_server *s, const char *path, int status, int code,
                    const char *member, const char *fmt, ...)
{
    char body[500];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(body, sizeof body, fmt, ap);
    va_end(ap);
    struct http_answer a;
    shop_call(s, "POST", path, body, &a);
    assert_answer(&a, status, code);
    const json_t *v = member ? json_object_get(a.data, member) : NULL;
    const int64_t n = json_is_integer(v) ? json_integer_value(v) : json_is_true(v);
    http_answer_free(&a);
    return n;
}

static long long soon(void)
{
    return timing_wall_ms() + 60000;
}

#define STOCK_TRY(order, goods, qty, status, code)                                                 \
    post(stock_http, "/internal/stock/try", status, code, "duplicate",                             \
         "{\"order_id\":\"%d\",\"expires_at\":%lld,\"items\":[{\"goods_id\":\"%d\",\"qty\":%d}]}", \
         order, soon(), goods, qty)
#define WALLET_TRY(order, who, amount, status, code)                                               \
    post(user_http, "/internal/wallet/try", status, code, "balance_after",                         \
         "{\"order_id\":\"%d\",\"user_id\":\"%d\",\"amount\":%d,\"expires_at\":%lld}", order, who, \
         amount, soon())
#define COUPON_TRY(order, who, which, amount, status, code)                                                      \
    post(                                                                                                        \
        coupon_http, "/internal/coupon/try", status, code, "coupon_paid",                                        \
        "{\"order_id\":\"%d\",\"user_id\":\"%d\",\"coupon_id\":\"%d\",\"goods_amount\":%d,\"expires_at\":%lld}", \
        order, who, which, amount, soon())

static enum inbox_result cancel(const struct inbox *in, int64_t order_id)
{
    const struct envelope v = {.event = EVENT_order_cancel,
                               .has = ENV_USER | ENV_REQ | ENV_ITEMS | ENV_MONEY,
                               .order_id = order_id,
                               .user_id = 1,
                               .client_req_id = "00000000-0000-0000-0000-000000000001",
                               .n_items = 1,
                               .items = {{10, 777}},
                               .money_paid = 999999}; /* the body lies: only the ledger counts */
    return tape_deliver(in, &v);
}

static void assert_ack(int i, const char *key, enum outcome outcome)
{
    assert_true(tape.n > i);
    assert_string_equal(tape.sent[i].tag, "cancel_ack");
    assert_string_equal(tape.sent[i].key, key);
    assert_int_equal(tape.sent[i].v.outcome, outcome);
}

static int64_t available(int goods)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql,
                   "SELECT sum(available) FROM stk.goods_stock WHERE goods_id = %d", goods);
    return shop_number(&the_db, sql);
}

static void stock_is_deducted_once_and_restored_from_the_ledger_once(void **state)
{
    (void)state;
    assert_int_equal(STOCK_TRY(100, 10, 2, 200, CODE_OK), 0);
    assert_int_equal(STOCK_TRY(100, 10, 2, 200, CODE_OK), 1);
    assert_int_equal(available(10), 3);
    assert_int_equal(cancel(&stock.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(cancel(&stock.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(available(10), 5);
    assert_ack(0, "100:stock", OUTCOME_DONE);
    assert_ack(1, "100:stock", OUTCOME_DONE); /* the stored outcome, again */
    assert_int_equal(
        shop_number(&the_db, "SELECT sum(goods_number) FROM stk.trade_goods_number_log"), 0);
}

static void a_refused_line_takes_the_whole_order_back(void **state)
{
    (void)state;
    post(
        stock_http, "/internal/stock/try", 409, CODE_STOCK_SHORT, NULL,
        "{\"order_id\":\"100\",\"expires_at\":%lld,\"items\":[{\"goods_id\":\"12\",\"qty\":4},{\"goods_id\":\"10\",\"qty\":1}]}",
        soon());
    assert_int_equal(available(10) + available(12), 8);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM stk.tx_barrier"), 0);
    assert_int_equal(STOCK_TRY(100, 12, 3, 200, CODE_OK), 0); /* a repeated try may succeed */
}

static void stock_refuses_what_it_must(void **state)
{
    (void)state;
    STOCK_TRY(100, 99, 1, 404, CODE_GOODS_NOT_FOUND);
    STOCK_TRY(100, 10, 6, 409, CODE_STOCK_SHORT);
    STOCK_TRY(100, 10, 0, 400, CODE_BAD_PARAMETER);
    post(stock_http, "/internal/stock/try", 409, CODE_TRY_EXPIRED, NULL,
         "{\"order_id\":\"100\",\"expires_at\":%lld,\"items\":[{\"goods_id\":\"10\",\"qty\":1}]}",
         soon() - 120000);
    post(stock_http, "/internal/stock/try", 400, CODE_BAD_PARAMETER, NULL,
         "{\"order_id\":100,\"expires_at\":%lld,\"items\":[]}", soon());
    post(
        stock_http, "/internal/stock/try", 400, CODE_BAD_PARAMETER, NULL,
        "{\"order_id\":\"100\",\"expires_at\":%lld,\"items\":[{\"goods_id\":\"10\",\"qty\":1},{\"goods_id\":\"10\",\"qty\":1}]}",
        soon());
    assert_int_equal(available(10), 5);
}

static void a_cancel_that_overtakes_the_try_leaves_a_tombstone_in_every_service(void **state)
{
    (void)state;
    assert_int_equal(cancel(&stock.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(cancel(&coupon.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(cancel(&user.cancel_inbox, 100), INBOX_SUCCESS);
    assert_ack(0, "100:stock", OUTCOME_EMPTY);
    assert_ack(1, "100:coupon", OUTCOME_EMPTY);
    assert_ack(2, "100:balance", OUTCOME_EMPTY);
    STOCK_TRY(100, 10, 1, 409, CODE_STOCK_CLOSED);
    COUPON_TRY(100, 1, 5, 1000, 409, CODE_COUPON_CLOSED);
    WALLET_TRY(100, 1, 10, 409, CODE_BALANCE_CLOSED);
}

static void goods_in_several_buckets_are_sold_to_the_last_piece(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        STOCK_TRY(100 + i, 11, 2, 200, CODE_OK);
    STOCK_TRY(200, 11, 1, 409, CODE_STOCK_SHORT);
    assert_int_equal(available(11), 0);
    assert_int_equal(cancel(&stock.cancel_inbox, 102), INBOX_SUCCESS);
    assert_int_equal(available(11), 2);
    assert_int_equal(
        shop_number(&the_db, "SELECT max(available) FROM stk.goods_stock WHERE goods_id = 11"),
        2); /* its own bucket */
}

static void all_buckets_locked_means_busy_not_sold_out(void **state)
{
    (void)state;
    struct db_conn *c;
    struct app_error e;
    assert_app_ok(db_acquire(the_db.owner, &c, &e), &e);
    assert_app_ok(db_script(c,
                            "BEGIN; SELECT 1 FROM stk.goods_stock WHERE goods_id = 11 FOR UPDATE",
                            0, NULL),
                  &e);
    STOCK_TRY(100, 11, 1, 429, CODE_STOCK_BUSY);
    assert_app_ok(db_script(c, "ROLLBACK", 0, NULL), &e);
    db_release(the_db.owner, c);
    STOCK_TRY(100, 11, 1, 200, CODE_OK);
}

struct buyer {
    int first;
    int sold, refused;
};

static void *buy(void *arg)
{
    struct buyer *b = arg;
    for (int i = 0; i < 5; i++) {
        struct stock_try t = {
            .order_id = b->first + i, .expires_at_ms = soon(), .n_lines = 1, .lines = {{10, 1}}};
        struct app_error e;
        const int rc = stock_try(stk, &t, &e);
        b->sold += rc == APP_OK;
        b->refused += rc == APP_E_REFUSED && e.code == CODE_STOCK_SHORT;
    }
    return NULL;
}

static void concurrent_buyers_never_oversell(void **state)
{
    (void)state;
    struct buyer b[4] = {{.first = 1000}, {.first = 2000}, {.first = 3000}, {.first = 4000}};
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, buy, &b[i]), 0);
    int sold = 0, refused = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        sold += b[i].sold;
        refused += b[i].refused;
    }
    assert_int_equal(sold, 5);
    assert_int_equal(refused, 15);
    assert_int_equal(available(10), 0);
}

/* --- the group deduct --- */

struct joiner {
    struct stock_try t;
    int rc, code;
    pthread_t thread;
};

static void *join_group(void *arg)
{
    struct joiner *j = arg;
    struct app_error e = {.kind = APP_OK};
    j->rc = stock_group_try(stock.group, &j->t, &e);
    j->code = e.code;
    return NULL;
}

static void start_joiner(struct joiner *j, int64_t order_id, int64_t qty, int64_t expires_at_ms)
{
    *j = (struct joiner){.t = {.order_id = order_id,
                               .expires_at_ms = expires_at_ms,
                               .n_lines = 1,
                               .lines = {{10, qty}}}};
    assert_int_equal(pthread_create(&j->thread, NULL, join_group, j), 0);
}

static int64_t series(const char *name)
{
    return metric_value(metrics_gauge(metrics, name, "", ""));
}

static bool six_wait(void *arg)
{
    (void)arg;
    return series("shop_stock_waiting") == 6;
}

/* Two hold the item's two places, six gather behind them. Goods 10: five pieces. */
static void gather(struct joiner j[8], int64_t first_qty)
{
    shop_arm("stock.group=pause");
    const uint64_t before = app_failpoint_hits("stock.group");
    for (int i = 0; i < 2; i++)
        start_joiner(&j[i], 100 + i, first_qty, soon());
    shop_wait_hits("stock.group", before + 2);
    for (int i = 2; i < 8; i++)
        start_joiner(&j[i], 110 - i, i == 4 ? 4 : 1, i == 7 ? soon() - 120000 : soon());
    if (!wait_until(six_wait, NULL, 20000))
        fail_msg("%lld wait, expected 6", (long long)series("shop_stock_waiting"));
}

static void let_go(struct joiner j[8], const char *spec)
{
    shop_arm(spec);
    for (int i = 0; i < 8; i++)
        pthread_join(j[i].thread, NULL);
}

static void tries_that_gather_share_a_transaction_and_are_answered_one_by_one(void **state)
{
    (void)state;
    struct joiner j[8];
    STOCK_TRY(108, 10, 1, 200, CODE_OK); /* the one of the six that has been here before */
    gather(j, 1);
    assert_int_equal(cancel(&stock.cancel_inbox, 107), INBOX_SUCCESS); /* and one that is closed */
    let_go(j, "stock.group=off");
    for (int i = 0; i < 8; i++) {
        const int code = i == 4   ? CODE_STOCK_SHORT /* four pieces */
                         : i == 3 ? CODE_STOCK_CLOSED
                         : i == 7 ? CODE_TRY_EXPIRED
                                  : 0;
        if (j[i].rc != (code ? APP_E_REFUSED : APP_OK) || j[i].code != code)
            fail_msg("try %d: %s, code %d, expected code %d", i, app_errno_name(j[i].rc), j[i].code,
                     code);
        assert_int_equal(j[i].t.duplicate, i == 2);
    }
    assert_int_equal(available(10), 0); /* 108, the two in front, and two of the six */
    assert_int_equal(series("shop_stock_batches_total"), 1);
    assert_int_equal(series("shop_stock_batched_total"), 6);
    /* whoever was refused for want of stock, or came too late, left no barrier row */
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM stk.tx_barrier WHERE txn_key IN ('106', '103')"),
        0);
    assert_int_equal(cancel(&stock.cancel_inbox, 105), INBOX_SUCCESS);
    assert_int_equal(available(10), 1);
}

static void a_batch_that_fails_is_split_and_nobody_notices(void **state)
{
    (void)state;
    struct joiner j[8];
    gather(j, 1);
    let_go(j, "stock.group=error");
    int ok = 0;
    for (int i = 0; i < 8; i++)
        ok += j[i].rc == APP_OK;
    assert_int_equal(series("shop_stock_batches_total"), 0);
    assert_int_equal(available(10) + ok + (j[4].rc == APP_OK ? 3 : 0), 5);
}

static void goods_nobody_knows_and_goods_in_buckets_are_tried_alone(void **state)
{
    (void)state;
    struct joiner j[8];
    shop_arm("stock.group=pause");
    const uint64_t before = app_failpoint_hits("stock.group");
    for (int i = 0; i < 8; i++) {
        j[i] = (struct joiner){.t = {.order_id = 200 + i,
                                     .expires_at_ms = soon(),
                                     .n_lines = 1,
                                     .lines = {{i % 2 ? 99 : 11, 1}}}};
        assert_int_equal(pthread_create(&j[i].thread, NULL, join_group, &j[i]), 0);
    }
    shop_wait_hits("stock.group", before + 4);
    let_go(j, "stock.group=off");
    for (int i = 0; i < 8; i++)
        assert_int_equal(j[i].code, i % 2 ? CODE_GOODS_NOT_FOUND : 0);
    assert_int_equal(available(11), 4);
}

static void an_answer_lost_after_the_commit_is_a_duplicate_for_the_retry(void **state)
{
    (void)state;
    shop_arm("stock.try.after_tx=error*1");
    STOCK_TRY(100, 10, 1, 503, CODE_ORDER_SAVE);
    assert_int_equal(STOCK_TRY(100, 10, 1, 200, CODE_OK), 1);
    assert_int_equal(available(10), 4);
}

static void a_wallet_pays_once_and_is_paid_back_once(void **state)
{
    (void)state;
    assert_int_equal(WALLET_TRY(100, 1, 400, 200, CODE_OK), 600);
    assert_int_equal(WALLET_TRY(101, 1, 100, 200, CODE_OK), 500);
    assert_int_equal(WALLET_TRY(100, 1, 400, 200, CODE_OK), 600); /* the stored answer */
    WALLET_TRY(102, 1, 501, 409, CODE_BALANCE_SHORT);
    WALLET_TRY(102, 9, 1, 404, CODE_USER_NOT_FOUND);
    WALLET_TRY(102, 1, 0, 400, CODE_BAD_PARAMETER);
    assert_int_equal(cancel(&user.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(cancel(&user.cancel_inbox, 100), INBOX_SUCCESS);
    assert_int_equal(
        shop_number(&the_db, "SELECT user_money FROM usr.trade_user WHERE user_id = 1"), 900);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM audit.i01"), 0);
}

static void a_coupon_is_used_once_and_returned_to_the_right_order(void **state)
{
    (void)state;
    COUPON_TRY(100, 1, 6, 1000, 409, CODE_COUPON_INVALID); /* expired */
    COUPON_TRY(100, 2, 5, 1000, 409, CODE_COUPON_INVALID); /* somebody else's */
    COUPON_TRY(100, 1, 5, 499, 409, CODE_COUPON_INVALID);  /* order too small */
    COUPON_TRY(100, 1, 7, 1000, 404, CODE_COUPON_NOT_FOUND);
    assert_int_equal(COUPON_TRY(100, 1, 5, 500, 200, CODE_OK), 300);
    assert_int_equal(COUPON_TRY(100, 1, 5, 500, 200, CODE_OK), 300);
    COUPON_TRY(101, 1, 5, 1000, 409, CODE_COUPON_USED);
    assert_int_equal(cancel(&coupon.cancel_inbox, 101), INBOX_SUCCESS);
    assert_int_equal(
        shop_number(&the_db, "SELECT order_id FROM cpn.trade_coupon WHERE coupon_id = 5"), 100);
    assert_int_equal(cancel(&coupon.cancel_inbox, 100), INBOX_SUCCESS);
    assert_ack(1, "100:coupon", OUTCOME_DONE);
    assert_int_equal(COUPON_TRY(102, 1, 5, 250, 409, CODE_COUPON_INVALID), 0);
    assert_int_equal(COUPON_TRY(103, 1, 5, 5000, 200, CODE_OK), 300);
}

static void money(enum event event, int64_t pay_id, int64_t order_id)
{
    const struct envelope v = {.event = event,
                               .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                               .order_id = order_id,
                               .pay_id = pay_id,
                               .user_id = 1,
                               .amount = 888};
    assert_int_equal(tape_deliver(&user.points_inbox, &v), INBOX_SUCCESS);
}

static int64_t score(void)
{
    return shop_number(&the_db, "SELECT user_score FROM usr.trade_user WHERE user_id = 1");
}

static void points_are_earned_once_and_taken_back_once(void **state)
{
    (void)state;
    WALLET_TRY(100, 1, 250, 200, CODE_OK);
    money(EVENT_paid, 900, 100);
    money(EVENT_paid, 900, 100);
    assert_int_equal(score(), 11); /* (888 + 250) / 100 */
    money(EVENT_refunded, 900, 100);
    money(EVENT_refunded, 900, 100);
    assert_int_equal(score(), 0);
    assert_int_equal(tape.n, 4);
    assert_string_equal(tape.sent[0].tag, "paid_ack");
    assert_string_equal(tape.sent[3].tag, "refund_ack");
    assert_string_equal(tape.sent[3].key, "900:points");
}

static void a_refund_that_overtakes_its_payment_earns_nothing(void **state)
{
    (void)state;
    money(EVENT_refunded, 900, 100);
    money(EVENT_paid, 900, 100);
    assert_int_equal(score(), 0);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM usr.user_score_log"), 0);
    assert_int_equal(tape.n, 2);
}

static void get(const struct http_server *s, const char *path, int status, int code,
                const char *part)
{
    struct http_answer a;
    shop_call(s, "GET", path, NULL, &a);
    if (a.status != status || a.code != code || (part && !strstr(a.body, part)))
        fail_msg("%s: HTTP %d code %d, expected %d %d and %s: %s", path, a.status, a.code, status,
                 code, part ? part : "-", a.body);
    http_answer_free(&a);
}

static void quotes_tell_prices_and_hints(void **state)
{
    (void)state;
    get(stock_http, "/internal/quote/goods?ids=11,10", 200, CODE_OK,
        "{\"goods_id\":\"11\",\"goods_name\":\"pen\",\"goods_price\":50,\"available\":8}");
    get(stock_http, "/internal/quote/goods?ids=10,99", 404, CODE_GOODS_NOT_FOUND, "goods 99");
    get(stock_http, "/internal/quote/goods?ids=10,", 400, CODE_BAD_PARAMETER, NULL);
    get(stock_http, "/internal/quote/goods", 400, CODE_BAD_PARAMETER, NULL);
    get(coupon_http, "/internal/quote/coupon/5?user_id=1&goods_amount=600", 200, CODE_OK,
        "\"coupon_paid\":300");
    get(coupon_http, "/internal/quote/coupon/5?user_id=2&goods_amount=600", 409,
        CODE_COUPON_INVALID, NULL);
    get(coupon_http, "/internal/quote/coupon/5?user_id=x", 400, CODE_BAD_PARAMETER, NULL);
    get(user_http, "/internal/quote/user/1", 200, CODE_OK, "\"user_money\":1000");
    get(user_http, "/internal/quote/user/77", 404, CODE_USER_NOT_FOUND, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(stock_is_deducted_once_and_restored_from_the_ledger_once),
        T(a_refused_line_takes_the_whole_order_back),
        T(stock_refuses_what_it_must),
        T(a_cancel_that_overtakes_the_try_leaves_a_tombstone_in_every_service),
        T(goods_in_several_buckets_are_sold_to_the_last_piece),
        T(all_buckets_locked_means_busy_not_sold_out),
        T(concurrent_buyers_never_oversell),
        T(tries_that_gather_share_a_transaction_and_are_answered_one_by_one),
        T(a_batch_that_fails_is_split_and_nobody_notices),
        T(goods_nobody_knows_and_goods_in_buckets_are_tried_alone),
        T(an_answer_lost_after_the_commit_is_a_duplicate_for_the_retry),
        T(a_wallet_pays_once_and_is_paid_back_once),
        T(a_coupon_is_used_once_and_returned_to_the_right_order),
        T(points_are_earned_once_and_taken_back_once),
        T(a_refund_that_overtakes_its_payment_earns_nothing),
        T(quotes_tell_prices_and_hints),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
