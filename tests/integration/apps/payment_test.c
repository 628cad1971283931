/* The payment service against a real PostgreSQL and the simulated provider's handlers. A tape stands in
 * for the broker, a route for the order service. */
#include "apps/payment/payment.h"

#include "tests/support/shop/shop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/thirdpay/thirdpay.h"

#define KEY "a key for tests"
#define REQUEST_KEY "11111111-1111-4111-8111-111111111111"

static struct shop_db the_db;
static struct db *pay_db, *tp_db;
static struct tape tape;
static struct mq *mq;
static struct ids ids;
static struct thirdpay provider;
static struct payment_app app;
static struct http_server *order_http, *tp_http, *pay_http;
static char order_url[SHOP_URL_MAX], tp_url[SHOP_URL_MAX], pay_url[SHOP_URL_MAX], notify_url[128];
static _Atomic int64_t order_amount; /* what the order service grants; negative: it refuses */

static void on_intent(void *arg, struct http_req *rq)
{
    (void)arg;
    if (order_amount < 0)
        http_refuse(rq, CODE_PAY_NOT_PAYABLE, "%s", "");
    else
        http_ok(rq,
                json_pack("{s:s, s:I, s:s}", "user_id", "1", "pay_amount", (json_int_t)order_amount,
                          "pay_deadline", "2999-01-01T00:00:00.000Z"));
}

static const struct http_route order_routes[] = {
    {"POST", "/internal/orders/{id}/pay-intent", on_intent, HTTP_JSON | HTTP_INTERNAL, 0},
    {NULL, NULL, NULL, 0, 0},
};

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    pay_db = shop_db_as(&the_db, "shop_payment", "pay");
    tp_db = shop_db_as(&the_db, "shop_thirdpay", "tp");
    tape_init(&tape);
    mq = tape_mq(&tape, "payment");
    ids_init(&ids, 1, NULL);
    order_amount = 1500;
    provider = (struct thirdpay){.db = tp_db,
                                 .ids = &ids,
                                 .sign_key = KEY,
                                 .public_url = "",
                                 .retry_ms = 1,
                                 .retry_max_ms = 1,
                                 .attempts_max = 5,
                                 .notify_ms = 5000};
    order_http = shop_serve(order_routes, NULL);
    tp_http = shop_serve(thirdpay_routes, &provider);
    shop_url(order_http, order_url);
    shop_url(tp_http, tp_url);
    app = (struct payment_app){.db = pay_db,
                               .mq = mq,
                               .ids = &ids,
                               .order_url = order_url,
                               .provider_url = tp_url,
                               .notify_url = notify_url,
                               .sign_key = KEY,
                               .currency = "CNY",
                               .rpc_ms = 5000,
                               .provider_ms = 5000,
                               .drive = {.query_ms = 120000,
                                         .confirm_ms = 300000,
                                         .confirm_times = 3,
                                         .first_ms = 60000,
                                         .max_ms = 300000,
                                         .batch = 10}};
    payment_mq_init(&app);
    pay_http = shop_serve(payment_routes, &app);
    shop_url(pay_http, pay_url);
    (void)snprintf(notify_url, sizeof notify_url, "%s/v1/payments/callback", pay_url);
    app_failpoint_register(payment_fp, PAYMENT_FP_COUNT);
    app_failpoint_register(thirdpay_fp, THIRDPAY_FP_COUNT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    http_server_free(pay_http);
    http_server_free(tp_http);
    http_server_free(order_http);
    mq_close(mq);
    ids_fini(&ids);
    db_close(pay_db);
    db_close(tp_db);
    shop_db_drop(&the_db);
    return 0;
}

/* --- requests --- */

struct answer {
    int status, code;
    int64_t pay_id;
    int is_paid;
    bool has_url;
};

static struct answer call(const char *method, const char *path, json_t *body_take)
{
    struct http_answer a = {0};
    shop_ask(pay_http, method, path, body_take, REQUEST_KEY, &a);
    const struct answer out = {.status = a.status,
                               .code = a.code,
                               .pay_id = shop_answer_id(&a, "pay_id"),
                               .is_paid =
                                   (int)json_integer_value(json_object_get(a.data, "is_paid")),
                               .has_url = json_is_string(json_object_get(a.data, "provider_url"))};
    http_answer_free(&a);
    return out;
}

static struct answer create(int64_t order_id)
{
    return call(
        "POST", "/v1/payments",
        json_pack("{s:o, s:s}", "order_id", jsonx_from_id(order_id), "channel", "thirdpay"));
}

static int64_t created(int64_t order_id)
{
    const struct answer a = create(order_id);
    assert_int_equal(a.status, 201);
    return a.pay_id;
}

static void assert_told(struct answer a, int status, int code)
{
    if (a.status != status || a.code != code)
        fail_msg("HTTP %d code %d, want %d %d", a.status, a.code, status, code);
}

static int post_form(const char *form, char body[16])
{
    struct http_answer a = {0};
    struct app_error e = {0};
    const struct http_call c = {
        .method = "POST", .url = notify_url, .form = form, .timeout_ms = 20000};
    assert_app_ok(http_do(&c, &a, &e), &e);
    (void)snprintf(body, 16, "%s", a.body);
    const int status = a.status;
    http_answer_free(&a);
    return status;
}

/* The provider's callback for a payment; key and money as given. */
static int callback(int64_t pay_id, const char *key, int64_t amount, const char *currency,
                    char body[16])
{
    struct tp_charge c = {.out_trade_no = pay_id, .amount = amount, .status = "CAPTURED"};
    struct app_error e = {0};
    (void)snprintf(c.txn_id, sizeof c.txn_id, "tp%lld", (long long)pay_id);
    (void)snprintf(c.currency, sizeof c.currency, "%s", currency);
    char *form = tp_notify_form(key, &c, amount, &e);
    assert_non_null(form);
    const int status = post_form(form, body);
    free(form);
    return status;
}

static void assert_callback(int64_t pay_id, const char *key, int64_t amount, const char *currency,
                            int status, const char *body)
{
    char got[16];
    const int got_status = callback(pay_id, key, amount, currency, got);
    if (got_status != status || strcmp(got, body) != 0)
        fail_msg("HTTP %d %s, want %d %s", got_status, got, status, body);
}

/* --- looking --- */

static int64_t payment_number(const char *column, int64_t pay_id)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT %s FROM pay.trade_pay WHERE pay_id = %lld", column,
                   (long long)pay_id);
    return shop_number(&the_db, sql);
}

static void assert_state(int64_t pay_id, enum pay_state want)
{
    assert_int_equal(payment_number("is_paid", pay_id), want);
}

static void deliver(const struct inbox *in, const struct envelope *v)
{
    assert_int_equal(tape_deliver(in, v), INBOX_SUCCESS);
}

static struct envelope order_cancel(int64_t order_id)
{
    return (struct envelope){.event = EVENT_order_cancel,
                             .has = ENV_USER | ENV_REQ | ENV_ITEMS,
                             .order_id = order_id,
                             .user_id = 1,
                             .client_req_id = REQUEST_KEY,
                             .n_items = 1,
                             .items = {{.goods_id = 10, .qty = 1}}};
}

static struct envelope order_paid(int64_t order_id, int64_t pay_id)
{
    return (struct envelope){
        .event = EVENT_order_paid, .has = ENV_PAY, .order_id = order_id, .pay_id = pay_id};
}

static struct envelope paid_ack(int64_t order_id, int64_t pay_id, enum branch b)
{
    return (struct envelope){.event = EVENT_paid_ack,
                             .has = ENV_PAY | ENV_BRANCH,
                             .order_id = order_id,
                             .pay_id = pay_id,
                             .branch = b};
}

/* --- creating --- */

static void a_payment_is_created_once_and_asking_again_finds_it(void **state)
{
    (void)state;
    const struct answer first = create(100), again = create(100);
    assert_told(first, 201, CODE_OK);
    assert_told(again, 200, CODE_OK);
    assert_true(first.has_url && again.has_url);
    assert_int_equal(again.pay_id, first.pay_id);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay"), 1);
    assert_int_equal(shop_number(&the_db, "SELECT amount FROM tp.charge"), 1500);
}

static void an_order_that_is_not_payable_gets_no_payment(void **state)
{
    (void)state;
    order_amount = -1;
    assert_told(create(100), 409, CODE_PAY_NOT_PAYABLE);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay"), 0);
}

static void a_malformed_request_is_refused(void **state)
{
    (void)state;
    assert_told(call("POST", "/v1/payments",
                     json_pack("{s:s, s:s}", "order_id", "x", "channel", "thirdpay")),
                400, CODE_BAD_PARAMETER);
    assert_told(
        call("POST", "/v1/payments", json_pack("{s:s, s:s}", "order_id", "1", "channel", "cash")),
        400, CODE_BAD_PARAMETER);
    assert_told(call("POST", "/v1/payments", json_object()), 400, CODE_BAD_PARAMETER);
    assert_told(call("GET", "/v1/payments/12345", NULL), 404, CODE_PAY_NOT_FOUND);
}

static void a_crash_at_any_step_of_creating_is_repaired_by_asking_again(void **state)
{
    (void)state;
    static const char *const places[] = {"pay.intent.after=error*1", "pay.open.after=error*1",
                                         "pay.charge.after=error*1", "tp.create.before_tx=error*1",
                                         "tp.create.after_tx=error*1"};
    for (int i = 0; i < 5; i++) {
        const int64_t order_id = 200 + i;
        shop_arm(places[i]);
        assert_told(create(order_id), 503, CODE_PAY_CREATE);
        const struct answer again = create(order_id);
        assert_told(again, i == 0 ? 201 : 200, CODE_OK);
        assert_true(again.has_url);
    }
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay"), 5);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM tp.charge"), 5);
}

static void nothing_to_pay_settles_at_once_without_the_provider(void **state)
{
    (void)state;
    order_amount = 0;
    const struct answer a = create(100);
    assert_told(a, 201, CODE_OK);
    assert_int_equal(a.is_paid, PAY_PAID);
    assert_false(a.has_url);
    assert_tape(&tape, "hc");
    assert_int_equal(tape.sent[0].v.amount, 0);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM tp.charge"), 0);
}

static void nothing_to_pay_is_settled_by_asking_again_when_the_broker_was_down(void **state)
{
    (void)state;
    order_amount = 0;
    shop_arm("pay.half.before=error*1");
    assert_told(create(100), 503, CODE_PAY_CREATE);
    const struct answer again = create(100);
    assert_told(again, 200, CODE_OK);
    assert_int_equal(again.is_paid, PAY_PAID);
}

/* --- callbacks that are refused --- */

static void a_bad_signature_is_refused_and_moves_nothing(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    assert_callback(pay_id, "another key", 1500, "CNY", 401, "FAIL");
    char body[16];
    assert_int_equal(post_form("out_trade_no=1&amount=5", body), 401);
    assert_string_equal(body, "FAIL");
    assert_state(pay_id, PAY_OPEN);
    assert_tape(&tape, "");
}

static void other_money_is_refused_and_marks_the_payment(void **state)
{
    (void)state;
    const int64_t a = created(100), b = created(101);
    assert_callback(a, KEY, 1501, "CNY", 409, "FAIL");
    assert_callback(b, KEY, 1500, "USD", 409, "FAIL");
    assert_state(a, PAY_OPEN);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay WHERE suspect"), 2);
    assert_tape(&tape, "");
    assert_callback(a, KEY, 1500, "CNY", 200, "SUCCESS");
}

static void an_unknown_payment_is_refused(void **state)
{
    (void)state;
    assert_callback(4242, KEY, 1500, "CNY", 404, "FAIL");
    assert_tape(&tape, "");
}

static void a_signed_callback_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct tp_charge c = {.out_trade_no = created(100),
                          .amount = 1500,
                          .currency = "CNY",
                          .status = "PENDING",
                          .txn_id = "tp1"};
    struct app_error e = {0};
    char body[16], *form = tp_notify_form(KEY, &c, 1500, &e);
    assert_int_equal(post_form(form, body), 400);
    free(form);
    (void)snprintf(c.status, sizeof c.status, "CAPTURED");
    c.txn_id[0] = '\0';
    form = tp_notify_form(KEY, &c, 1500, &e);
    assert_int_equal(post_form(form, body), 400);
    free(form);
    assert_tape(&tape, "");
}

/* --- callbacks that settle --- */

static void a_callback_records_the_money_and_commits_one_message(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_state(pay_id, PAY_PAID);
    assert_tape(&tape, "hc");
    assert_int_equal(tape.sent[0].v.event, EVENT_paid);
    assert_int_equal(tape.sent[0].v.amount, 1500);
    assert_int_equal(tape.sent[0].v.user_id, 1);
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM pay.mq_producer_log WHERE decision = 'C'"), 1);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_tape(&tape, "hc");
}

static void the_broker_being_down_makes_the_provider_repeat(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    shop_arm("pay.half.before=error*1");
    assert_callback(pay_id, KEY, 1500, "CNY", 503, "FAIL");
    assert_state(pay_id, PAY_OPEN);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_state(pay_id, PAY_PAID);
}

static void a_late_callback_for_a_closed_payment_is_recorded(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    const struct envelope cancel = order_cancel(100);
    deliver(&app.order_inbox, &cancel);
    assert_state(pay_id, PAY_CLOSED);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_state(pay_id, PAY_PAID);
}

struct racer {
    int64_t pay_id;
    int status;
    char body[16];
};
static void *race_main(void *arg)
{
    struct racer *r = arg;
    r->status = callback(r->pay_id, KEY, 1500, "CNY", r->body);
    return NULL;
}

static void of_many_callbacks_at_once_one_commits_and_all_hear_success(void **state)
{
    (void)state;
    enum { N = 8 };
    struct racer racers[N];
    pthread_t threads[N];
    const int64_t pay_id = created(100);
    shop_arm(
        "pay.half.after=pause"); /* all of them have seen the payment open before the first records it */
    const uint64_t before = app_failpoint_hits("pay.half.after");
    for (int i = 0; i < N; i++) {
        racers[i] = (struct racer){.pay_id = pay_id};
        assert_int_equal(pthread_create(&threads[i], NULL, race_main, &racers[i]), 0);
    }
    shop_wait_hits("pay.half.after", before + N);
    shop_arm("pay.half.after=off");
    for (int i = 0; i < N; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N; i++) {
        assert_int_equal(racers[i].status, 200);
        assert_string_equal(racers[i].body, "SUCCESS");
    }
    assert_state(pay_id, PAY_PAID);
    assert_int_equal(tape_count(&tape, 'c'), 1);
    assert_int_equal(tape_count(&tape, 'h'), 1 + tape_count(&tape, 'r'));
    assert_int_equal(
        shop_number(&the_db, "SELECT count(*) FROM pay.mq_producer_log WHERE decision = 'C'"), 1);
}

/* A broker whose check-back comes while the half's acknowledgement is still under way. */
struct hasty {
    struct mq *mq;
    enum mq_verdict checked, ended;
};

static int hasty_send(void *arg, const struct mq_out *m, struct app_error *e)
{
    (void)arg;
    (void)m;
    (void)e;
    return 0;
}

static int hasty_half(void *arg, const struct mq_out *m, struct mq_half *half, struct app_error *e)
{
    struct hasty *h = arg;
    (void)half;
    (void)e;
    h->checked = mq_check_now(h->mq, m->body, m->body_len, m->txn_id);
    return 0;
}

static int hasty_end(void *arg, const struct mq_half *half, enum mq_verdict v, struct app_error *e)
{
    struct hasty *h = arg;
    (void)half;
    (void)e;
    h->ended = v;
    return 0;
}

static void a_check_that_is_faster_than_the_local_transaction_wins(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    struct hasty h = {.checked = MQ_UNKNOWN, .ended = MQ_UNKNOWN};
    const struct mq_port port = {hasty_send, hasty_half, hasty_end, &h};
    const struct mq_options o = {.namesrv = "", .name = "payment", .port = &port};
    struct app_error e = {0};
    assert_app_ok(mq_open(&o, &h.mq, &e), &e);
    app.mq = h.mq;
    payment_mq_init(&app);
    assert_callback(pay_id, KEY, 1500, "CNY", 503, "FAIL");
    assert_int_equal(h.checked, MQ_ROLLBACK);
    assert_int_equal(h.ended, MQ_ROLLBACK);
    assert_state(pay_id, PAY_OPEN);
    app.mq = mq;
    mq_close(h.mq);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_state(pay_id, PAY_PAID);
}

static void a_lost_commit_answer_is_settled_from_the_decision_row(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    shop_arm("db.commit.cut=error*1");
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_state(pay_id, PAY_PAID);
    assert_tape(&tape, "hc");
}

static void a_transaction_that_never_committed_is_rolled_back(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    shop_arm("pay.half.after=error*1");
    assert_callback(pay_id, KEY, 1500, "CNY", 503, "FAIL");
    assert_tape(&tape, "h");
    assert_state(pay_id, PAY_OPEN);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
}

/* --- the gate --- */

static void a_payment_after_the_cancellation_is_refused_though_the_order_granted_it(void **state)
{
    (void)state;
    const struct envelope cancel = order_cancel(100);
    deliver(&app.order_inbox, &cancel);
    assert_tape(&tape, "s");
    assert_int_equal(tape.sent[0].v.branch, BRANCH_PAY);
    assert_int_equal(tape.sent[0].v.outcome, OUTCOME_EMPTY);
    assert_told(create(100), 409, CODE_PAY_NOT_PAYABLE);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay"), 0);
}

static void a_cancellation_closes_the_open_payment_here_and_at_the_provider(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    const struct envelope cancel = order_cancel(100);
    deliver(&app.order_inbox, &cancel);
    deliver(&app.order_inbox, &cancel);
    assert_state(pay_id, PAY_CLOSED);
    assert_tape(&tape, "ss");
    assert_int_equal(tape.sent[1].v.outcome, OUTCOME_DONE);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM tp.charge WHERE status = 'CLOSED'"),
                     1);
    assert_int_equal(payment_number("(next_drive_at IS NULL)::int", pay_id), 1);
}

static void an_acknowledgement_does_not_wait_for_the_provider(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    const struct envelope cancel = order_cancel(100);
    app.provider_url = "http://127.0.0.1:1";
    deliver(&app.order_inbox, &cancel);
    assert_tape(&tape, "s");
    assert_state(pay_id, PAY_CLOSED);
    assert_int_equal(payment_number("(next_drive_at IS NOT NULL)::int", pay_id), 1);
}

static void a_second_payment_is_refused_while_the_first_is_paid(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    assert_told(create(100), 409, CODE_PAY_IS_PAID);
    const struct envelope paid = order_paid(100, pay_id);
    deliver(&app.order_inbox, &paid);
    assert_told(create(100), 409, CODE_PAY_IS_PAID);
    assert_int_equal(shop_number(&the_db, "SELECT count(*) FROM pay.trade_pay"), 1);
}

static void order_paid_closes_the_other_open_payment(void **state)
{
    (void)state;
    const int64_t first = created(100);
    char sql[160];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE pay.trade_pay SET is_paid = 3, next_drive_at = NULL WHERE pay_id = %lld",
                   (long long)first);
    shop_sql(&the_db, sql);
    const int64_t second = created(100);
    assert_callback(first, KEY, 1500, "CNY", 200, "SUCCESS");
    const struct envelope paid = order_paid(100, first);
    deliver(&app.order_inbox, &paid);
    assert_state(first, PAY_PAID);
    assert_state(second, PAY_CLOSED);
    assert_int_equal(payment_number("acks", first), ACK_ORDER);
    assert_int_equal(payment_number("(next_drive_at IS NULL)::int", second), 1);
}

/* --- acknowledgements --- */

static void three_acknowledgements_settle_in_any_order_and_number(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    assert_callback(pay_id, KEY, 1500, "CNY", 200, "SUCCESS");
    const struct envelope points = paid_ack(100, pay_id, BRANCH_POINTS),
                          journal = paid_ack(100, pay_id, BRANCH_LOG);
    const struct envelope paid = order_paid(100, pay_id);
    for (int i = 0; i < 2; i++) {
        deliver(&app.ack_inbox, &journal);
        deliver(&app.ack_inbox, &points);
    }
    assert_int_equal(payment_number("acks", pay_id), ACK_POINTS | ACK_LOG);
    assert_int_equal(payment_number("(next_drive_at IS NOT NULL)::int", pay_id), 1);
    deliver(&app.order_inbox, &paid);
    deliver(&app.order_inbox, &paid);
    assert_int_equal(payment_number("acks", pay_id), ACK_SETTLED);
    assert_int_equal(payment_number("(next_drive_at IS NULL)::int", pay_id), 1);
}

static void an_acknowledgement_of_a_stranger_changes_nothing(void **state)
{
    (void)state;
    const int64_t pay_id = created(100);
    const struct envelope unknown = paid_ack(100, 4242, BRANCH_LOG),
                          wrong = paid_ack(100, pay_id, BRANCH_STOCK);
    deliver(&app.ack_inbox, &unknown);
    assert_int_equal(tape_deliver(&app.ack_inbox, &wrong), INBOX_DEAD);
    assert_int_equal(payment_number("acks", pay_id), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_payment_is_created_once_and_asking_again_finds_it),
        CASE(an_order_that_is_not_payable_gets_no_payment),
        CASE(a_malformed_request_is_refused),
        CASE(a_crash_at_any_step_of_creating_is_repaired_by_asking_again),
        CASE(nothing_to_pay_settles_at_once_without_the_provider),
        CASE(nothing_to_pay_is_settled_by_asking_again_when_the_broker_was_down),
        CASE(a_bad_signature_is_refused_and_moves_nothing),
        CASE(other_money_is_refused_and_marks_the_payment),
        CASE(an_unknown_payment_is_refused),
        CASE(a_signed_callback_that_makes_no_sense_is_refused),
        CASE(a_callback_records_the_money_and_commits_one_message),
        CASE(the_broker_being_down_makes_the_provider_repeat),
        CASE(a_late_callback_for_a_closed_payment_is_recorded),
        CASE(of_many_callbacks_at_once_one_commits_and_all_hear_success),
        CASE(a_check_that_is_faster_than_the_local_transaction_wins),
        CASE(a_lost_commit_answer_is_settled_from_the_decision_row),
        CASE(a_transaction_that_never_committed_is_rolled_back),
        CASE(a_payment_after_the_cancellation_is_refused_though_the_order_granted_it),
        CASE(a_cancellation_closes_the_open_payment_here_and_at_the_provider),
        CASE(an_acknowledgement_does_not_wait_for_the_provider),
        CASE(a_second_payment_is_refused_while_the_first_is_paid),
        CASE(order_paid_closes_the_other_open_payment),
        CASE(three_acknowledgements_settle_in_any_order_and_number),
        CASE(an_acknowledgement_of_a_stranger_changes_nothing),
    };
    return cmocka_run_group_tests_name("payment", tests, shop_cluster_start, shop_cluster_stop);
}
