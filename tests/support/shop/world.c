/* The world: participants, journal and provider, and the verbs of a customer. */
#include "tests/support/shop/world.h"

#include <stdio.h>
#include <string.h>

#include "apps/common/dead_letters.h"
#include "apps/common/kit_failpoints.h"
#include "apps/coupon/coupon.h"
#include "apps/paylog/paylog.h"
#include "apps/stock/stock.h"
#include "apps/thirdpay/thirdpay.h"
#include "apps/user/user.h"

enum { ORD, STK, CPN, USR, PAY, PLOG, TP, N_SERVICES };
static const struct {
    const char *role, *schema, *name;
} services[N_SERVICES] = {{"shop_order", "ord", "order"},     {"shop_stock", "stk", "stock"},
                          {"shop_coupon", "cpn", "coupon"},   {"shop_user", "usr", "user"},
                          {"shop_payment", "pay", "payment"}, {"shop_paylog", "plog", "paylog"},
                          {"shop_thirdpay", "tp", "thirdpay"}};
static struct db *pools[N_SERVICES];
static struct mq *clients[N_SERVICES];
static struct stock stock;
static struct coupon coupon;
static struct user user;
static struct paylog paylog;
static struct thirdpay provider;
static struct ids provider_ids;
static struct verdict_scan scans[3];
static char order_url[SHOP_URL_MAX];
static int next_key;

static const char DATA[] =
    "INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES (10, 'lamp', 6000, 5, 1);"
    "INSERT INTO stk.goods_stock VALUES (10, 0, 5);"
    "INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES (1, 'Ada', 5000);"
    "INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES (1, -1, 0, 5000, 5000);"
    "INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to) VALUES"
    " (5, 1, 300, 500, now() - interval '1 d', now() + interval '1 d');";

/* ---- life ---- */

static void start_participants(struct world *w)
{
    struct app_error e;
    stock_init(&stock, pools[STK], clients[STK], NULL);
    assert_app_ok(stock_group_new(pools[STK], 64, 2, NULL, &stock.group, &e), &e);
    coupon_init(&coupon, pools[CPN], clients[CPN], NULL);
    user_init(&user, pools[USR], clients[USR], NULL);
    paylog_init(&paylog, pools[PLOG], clients[PLOG], NULL);
    bus_subscribe(w->bus, &stock.cancel_inbox);
    bus_subscribe(w->bus, &coupon.cancel_inbox);
    bus_subscribe(w->bus, &user.cancel_inbox);
    bus_subscribe(w->bus, &user.points_inbox);
    bus_subscribe(w->bus, &paylog.inbox);
    w->stock = shop_serve(stock_routes, &stock);
    w->coupon = shop_serve(coupon_routes, &coupon);
    w->user = shop_serve(user_routes, &user);
}

static void start_provider(struct world *w)
{
    ids_init(&provider_ids, 3, NULL);
    provider = (struct thirdpay){.db = pools[TP],
                                 .ids = &provider_ids,
                                 .sign_key = "a key for tests",
                                 .public_url = "",
                                 .retry_ms = 1,
                                 .retry_max_ms = 1,
                                 .attempts_max = 50,
                                 .notify_ms = 5000};
    w->thirdpay = shop_serve(thirdpay_routes, &provider);
}

static void start_scans(void)
{
    const struct participant *const p[] = {&stock.cancel, &coupon.cancel, &user.cancel};
    for (int i = 0; i < 3; i++)
        scans[i] = (struct verdict_scan){.p = p[i],
                                         .db = pools[STK + i],
                                         .order_url = order_url,
                                         .age_ms = 600000,
                                         .again_ms = 300000,
                                         .rpc_ms = 5000};
}

void world_start(struct world *w)
{
    char urls[4][SHOP_URL_MAX], notify[128];
    shop_db_create(&w->db);
    shop_sql(&w->db, DATA);
    w->bus = bus_new();
    for (int i = 0; i < N_SERVICES; i++) {
        pools[i] = shop_db_as(&w->db, services[i].role, services[i].schema);
        clients[i] = bus_mq(w->bus, services[i].name);
    }
    start_participants(w);
    start_provider(w);
    shop_url(w->stock, urls[0]);
    shop_url(w->coupon, urls[1]);
    shop_url(w->user, urls[2]);
    shop_url(w->thirdpay, urls[3]);
    const struct world_part order =
        world_order_start(w, clients[ORD], pools[ORD], urls[0], urls[1], urls[2]);
    w->order = shop_serve(order.routes, order.arg);
    shop_url(w->order, order_url);
    const struct world_part payment =
        world_payment_start(w, clients[PAY], pools[PAY], order_url, urls[3]);
    w->payment = shop_serve(payment.routes, payment.arg);
    (void)snprintf(notify, sizeof notify, "http://%s/v1/payments/callback",
                   http_server_address(w->payment));
    world_payment_notify(notify);
    start_scans();
    app_failpoint_register(stock_failpoints, STOCK_FP_COUNT);
    app_failpoint_register(thirdpay_fp, THIRDPAY_FP_COUNT);
    app_failpoint_register(kit_failpoints, KIT_FP_COUNT);
}

void world_stop(struct world *w)
{
    app_failpoint_disarm_all();
    struct http_server *const servers[] = {w->order,  w->payment, w->thirdpay,
                                           w->coupon, w->user,    w->stock};
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++)
        http_server_free(servers[i]);
    stock_group_free(stock.group);
    world_order_stop();
    world_payment_stop();
    ids_fini(&provider_ids);
    for (int i = 0; i < N_SERVICES; i++) {
        mq_close(clients[i]);
        db_close(pools[i]);
    }
    bus_free(w->bus);
    shop_db_drop(&w->db);
}

/* ---- the customer ---- */

static const char *new_key(void)
{
    static char key[40];
    (void)snprintf(key, sizeof key, "%08d-1111-4111-8111-111111111111", ++next_key);
    return key;
}

int64_t world_place(struct world *w, int64_t wallet, bool with_coupon)
{
    struct http_answer a;
    json_t *const body = json_pack("{s:s, s:[{s:s, s:i, s:i}], s:I, s:i, s:i, s:s, s:s}", "user_id",
                                   "1", "items", "goods_id", "10", "qty", 1, "goods_price", 6000,
                                   "money_paid", (json_int_t)wallet, "shipping_fee", 1000,
                                   "order_amount", 7000, "address", "Street 1", "consignee", "Ada");
    if (with_coupon)
        json_object_set_new(body, "coupon_id", json_string("5"));
    shop_ask(w->order, "POST", "/v1/orders", body, new_key(), &a);
    assert_answer(&a, 201, CODE_OK);
    const int64_t id = shop_answer_id(&a, "order_id");
    http_answer_free(&a);
    return id;
}

int64_t world_open_payment(struct world *w, int64_t order_id, int *code)
{
    struct http_answer a;
    shop_ask(w->payment, "POST", "/v1/payments",
             json_pack("{s:o, s:s}", "order_id", jsonx_from_id(order_id), "channel", "thirdpay"),
             new_key(), &a);
    const int64_t id = shop_answer_id(&a, "pay_id");
    if (code)
        *code = a.code;
    http_answer_free(&a);
    return id;
}

void world_pay(struct world *w, int64_t pay_id)
{
    char path[80];
    struct http_answer a;
    (void)snprintf(path, sizeof path, "/v1/charges/%lld/capture", (long long)pay_id);
    shop_ask(w->thirdpay, "POST", path, NULL, NULL, &a);
    if (a.status != 200)
        fail_msg("capture of %lld: HTTP %d %s", (long long)pay_id, a.status, a.body);
    http_answer_free(&a);
}

void world_callbacks(struct world *w)
{
    struct app_error e = {.kind = APP_OK};
    shop_sql(&w->db, "UPDATE tp.notify SET next_at = now() WHERE next_at IS NOT NULL");
    const int rc = tp_notify_step(&provider, &e);
    assert_app_ok(rc > 0 ? 0 : rc, &e);
}

int world_cancel(struct world *w, int64_t order_id)
{
    char path[80];
    struct http_answer a;
    (void)snprintf(path, sizeof path, "/v1/orders/%lld/cancel", (long long)order_id);
    shop_ask(w->order, "POST", path,
             json_pack("{s:s, s:s}", "user_id", "1", "reason", "changed my mind"), new_key(), &a);
    const int status = a.status;
    http_answer_free(&a);
    return status;
}

void world_switch(struct world *w, const char *name, int64_t value)
{
    struct http_answer a;
    shop_ask(w->thirdpay, "POST", "/admin/switches", json_pack("{s:I}", name, (json_int_t)value),
             NULL, &a);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
}

void world_replay(struct world *w, const char *schema, int64_t letter, int status)
{
    struct dead_letters d = {.db = NULL};
    char path[80];
    struct http_answer a;
    (void)w;
    for (int i = 0; i < N_SERVICES; i++)
        if (strcmp(services[i].schema, schema) == 0)
            d = (struct dead_letters){.db = pools[i], .mq = clients[i]};
    assert_non_null(d.db);
    struct http_server *const s = shop_serve(dead_letter_routes, &d);
    (void)snprintf(path, sizeof path, "/admin/dead-letters/%lld/replay", (long long)letter);
    shop_ask(s, "POST", path, NULL, NULL, &a);
    http_server_free(s);
    if (a.status != status)
        fail_msg("replay of %s:%lld: HTTP %d, expected %d: %s", schema, (long long)letter, a.status,
                 status, a.body);
    http_answer_free(&a);
}

/* ---- time and jobs ---- */

void world_expire(struct world *w, int64_t order_id)
{
    char sql[400];
    (void)snprintf(
        sql, sizeof sql,
        "UPDATE ord.trade_order SET saga_deadline = now() - interval '1 h', pay_deadline = now() - interval '1 h'"
        " WHERE order_id = %lld; UPDATE pay.trade_pay SET pay_deadline = now() - interval '1 h' WHERE order_id = %lld;"
        "UPDATE tp.charge SET expires_at = now() - interval '1 h' WHERE out_trade_no IN (SELECT pay_id FROM pay.trade_pay"
        " WHERE order_id = %lld)",
        (long long)order_id, (long long)order_id, (long long)order_id);
    shop_sql(&w->db, sql);
}

void world_make_due(struct world *w)
{
    shop_sql(&w->db,
             "UPDATE ord.trade_order SET next_drive_at = now() WHERE next_drive_at IS NOT NULL;"
             "UPDATE pay.trade_pay SET next_drive_at = now() WHERE next_drive_at IS NOT NULL");
}

void world_sweep(struct world *w)
{
    (void)w;
    world_order_sweep();
}

void world_reconcile(struct world *w)
{
    (void)w;
    world_payment_reconcile();
}

void world_verdicts(struct world *w)
{
    static const char *const schemas[] = {"stk", "cpn", "usr"};
    struct app_error e = {.kind = APP_OK};
    for (int i = 0; i < 3; i++) {
        char sql[300];
        (void)snprintf(
            sql, sizeof sql,
            "UPDATE %s.tx_barrier SET created_at = created_at - interval '1 h',"
            " asked_at = asked_at - interval '1 h', unknown_since = unknown_since - interval '1 h'",
            schemas[i]);
        shop_sql(&w->db, sql);
        const int rc = verdict_step(&scans[i], &e);
        assert_app_ok(rc > 0 ? 0 : rc, &e);
    }
}

/* ---- looking ---- */

int64_t world_number(struct world *w, const char *fmt, ...)
{
    char sql[500];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    return shop_number(&w->db, sql);
}

void world_order_is(struct world *w, int64_t order_id, int status, int pay_status)
{
    const int64_t got = world_number(
        w, "SELECT order_status * 10 + pay_status FROM ord.trade_order WHERE order_id = %lld",
        (long long)order_id);
    if (got != status * 10 + pay_status)
        fail_msg("order is %d/%d, expected %d/%d", (int)got / 10, (int)got % 10, status,
                 pay_status);
}

void world_payment_is(struct world *w, int64_t pay_id, int state)
{
    const int64_t got =
        world_number(w, "SELECT is_paid FROM pay.trade_pay WHERE pay_id = %lld", (long long)pay_id);
    if (got != state)
        fail_msg("payment is in state %d, expected %d", (int)got, state);
}

void world_is_clean(struct world *w)
{
    assert_int_equal(world_number(w, "SELECT sum(available) FROM stk.goods_stock"), 5);
    assert_int_equal(world_number(w, "SELECT user_money FROM usr.trade_user"), 5000);
    assert_int_equal(world_number(w, "SELECT user_score FROM usr.trade_user"), 0);
    assert_int_equal(world_number(w, "SELECT count(*) FROM cpn.trade_coupon WHERE is_used = 1"), 0);
    assert_int_equal(world_number(w, "SELECT coalesce(sum(amount - refunded), 0) FROM tp.charge"
                                     " WHERE status = 'CAPTURED'"),
                     0);
}

void world_holds(struct world *w)
{
    assert_int_equal(bus_check(w->bus), 0);
    (void)bus_settle(w->bus);
    assert_int_equal(shop_violations(&w->db), 0);
}
