/* The flows of the shop from end to end, with everything that can go wrong between the services: messages
 * lost, doubled, early and late, jobs that come to the rescue. At the end of each every invariant holds. */
#include "tests/support/shop/world.h"

#include <stdio.h>

#include "apps/common/failpoint.h"
#include "apps/common/timing.h"

enum { CONFIRMED = 1, CANCELLED = 2, CANCELLING = 5 };
enum { OPEN = 0, PAID = 2, CLOSED = 3, REFUNDING = 4, REFUNDED = 5, REFUND_FAILED = 6 };

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_start(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_stop(&w);
    return 0;
}

/* An order that is paid to the end. */
static int64_t paid_order(int64_t *pay_id)
{
    const int64_t order = world_place(&w, 1000, true);
    *pay_id = world_open_payment(&w, order, NULL);
    world_pay(&w, *pay_id);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_order_is(&w, order, CONFIRMED, 2);
    return order;
}

/* --- unpaid --- */

static void a_paid_order_is_settled_and_its_timer_does_nothing(void **state)
{
    (void)state;
    int64_t pay;
    const int64_t order = paid_order(&pay);
    world_payment_is(&w, pay, PAID);
    assert_int_equal(world_number(&w, "SELECT acks FROM pay.trade_pay"), 7);
    assert_int_equal(world_number(&w, "SELECT user_score FROM usr.trade_user"),
                     67); /* 57.00 and 10.00 */
    world_expire(&w, order);
    assert_int_equal(bus_let_time_pass(w.bus), 1);
    bus_settle(w.bus);
    world_order_is(&w, order, CONFIRMED, 2);
    assert_int_equal(bus_sent(w.bus, EVENT_order_cancel), 0);
    world_holds(&w);
}

static void an_unpaid_order_is_cancelled_by_its_timer(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true), pay = world_open_payment(&w, order, NULL);
    world_expire(&w, order);
    bus_let_time_pass(w.bus);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_payment_is(&w, pay, CLOSED);
    assert_int_equal(world_number(&w, "SELECT count(*) FROM tp.charge WHERE status = 'CLOSED'"), 1);
    world_is_clean(&w);
    world_holds(&w);
    int code = 0;
    assert_int_equal(world_open_payment(&w, order, &code), 0);
    assert_int_equal(code, CODE_PAY_NOT_PAYABLE);
}

static void a_timer_that_fires_early_is_armed_again_and_leaves_no_trace(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bus_let_time_pass(w.bus), 1);
        bus_settle(w.bus);
        world_order_is(&w, order, CONFIRMED, 0);
    }
    assert_int_equal(world_number(&w, "SELECT count(*) FROM ord.mq_consumer_log"), 0);
    world_expire(&w, order);
    bus_let_time_pass(w.bus);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_holds(&w);
}

static void a_lost_timer_is_made_up_for_by_the_sweeper(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true);
    world_sweep(&w);
    world_order_is(&w, order, CONFIRMED, 0);
    world_expire(&w, order);
    world_sweep(&w);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_is_clean(&w);
    world_holds(&w);
}

static void every_message_three_times_is_as_good_as_once(void **state)
{
    (void)state;
    int64_t pay;
    bus_copies(w.bus, 3);
    const int64_t paid = paid_order(&pay);
    const int64_t unpaid = world_place(&w, 500, false);
    world_open_payment(&w, unpaid, NULL);
    world_expire(&w, unpaid);
    bus_let_time_pass(w.bus);
    bus_settle(w.bus);
    world_order_is(&w, paid, CONFIRMED, 2);
    world_order_is(&w, unpaid, CANCELLED, 0);
    world_holds(&w);
}

static void
a_lost_cancellation_or_acknowledgement_is_sent_again_until_all_four_are_there(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true);
    bus_lose(w.bus, EVENT_order_cancel, GROUP_USER_ORDER, 1);
    bus_lose(w.bus, EVENT_cancel_ack, GROUP_ORDER_ACK, 1);
    world_expire(&w, order);
    bus_let_time_pass(w.bus);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLING, 0);
    world_make_due(&w);
    world_sweep(&w);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_is_clean(&w);
    world_holds(&w);
}

static void a_cancellation_that_never_gets_through_ends_with_the_operator(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false);
    bus_lose(w.bus, EVENT_order_cancel, GROUP_COUPON_ORDER, 100);
    world_expire(&w, order);
    for (int i = 0; i < 5; i++) {
        world_sweep(&w);
        bus_settle(w.bus);
        world_make_due(&w);
    }
    world_order_is(&w, order, CANCELLING, 0);
    assert_int_equal(world_number(&w, "SELECT drive_count FROM ord.trade_order"), 3);
    assert_int_equal(world_number(&w, "SELECT (next_drive_at IS NULL)::int FROM ord.trade_order"),
                     1);
    struct http_answer a;
    shop_call(w.order, "GET", "/admin/sagas?state=5", NULL, &a);
    const json_t *const saga = json_array_get(json_object_get(a.data, "sagas"), 0);
    assert_true(json_is_true(json_object_get(saga, "needs_operator")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(saga, "missing"), 0)),
                        "coupon");
    http_answer_free(&a);
}

/* --- the user --- */

static void a_user_cancels_and_gets_everything_back(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true), pay = world_open_payment(&w, order, NULL);
    assert_int_equal(world_cancel(&w, order), 202);
    assert_int_equal(world_cancel(&w, order), 202); /* a second click */
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_payment_is(&w, pay, CLOSED);
    world_is_clean(&w);
    world_holds(&w);
    assert_int_equal(world_cancel(&w, order), 409);
    assert_int_equal(world_cancel(&w, 4242), 404);
}

static void a_paid_order_is_not_cancelled_by_its_user(void **state)
{
    (void)state;
    int64_t pay;
    const int64_t order = paid_order(&pay);
    assert_int_equal(world_cancel(&w, order), 409);
    world_order_is(&w, order, CONFIRMED, 2);
    world_holds(&w);
}

static void a_lost_END_of_a_users_cancellation_is_made_up_for_by_the_check(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, false);
    shop_arm("mq.end=error*1");
    assert_int_equal(world_cancel(&w, order), 202);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLING, 0);
    assert_int_equal(bus_check(w.bus), 0);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_is_clean(&w);
    world_holds(&w);
}

static void a_users_cancellation_that_stops_half_way_has_not_happened(void **state)
{
    (void)state;
    static const char *const places[] = {"order.cancel.half.before=error*1",
                                         "order.cancel.half.after=error*1", "mq.half.ack=error*1",
                                         "db.commit.before=error*4"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const int64_t order = world_place(&w, 0, false);
        shop_arm(places[i]);
        assert_int_equal(world_cancel(&w, order), 503);
        app_failpoint_disarm_all();
        assert_int_equal(bus_check(w.bus), 0);
        bus_settle(w.bus);
        world_order_is(&w, order, CONFIRMED, 0);
        assert_int_equal(world_cancel(&w, order), 202);
        bus_settle(w.bus);
        world_order_is(&w, order, CANCELLED, 0);
    }
    world_is_clean(&w);
    world_holds(&w);
}

/* --- money that comes late, or twice --- */

static void money_that_comes_after_the_cancellation_goes_back(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true), pay = world_open_payment(&w, order, NULL);
    world_pay(&w, pay); /* the callback is still on its way */
    assert_int_equal(world_cancel(&w, order), 202);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_payment_is(&w, pay, CLOSED);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, REFUNDED);
    assert_int_equal(world_number(&w, "SELECT acks & 24 FROM pay.trade_pay"), 24);
    world_is_clean(&w);
    world_holds(&w);
}

static void of_two_payments_one_is_kept_and_the_other_refunded(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), first = world_open_payment(&w, order, NULL);
    char path[80];
    struct http_answer a;
    (void)snprintf(path, sizeof path, "/v1/charges/%lld/close", (long long)first);
    shop_ask(w.thirdpay, "POST", path, NULL, NULL, &a); /* the provider gives up on it */
    http_answer_free(&a);
    world_make_due(&w);
    world_reconcile(&w);
    world_payment_is(&w, first, CLOSED);
    const int64_t second = world_open_payment(&w, order, NULL);
    assert_true(second != first && second > 0);
    world_switch(&w, "capture_late", 1); /* and captures it all the same */
    world_pay(&w, first);
    world_pay(&w, second);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_order_is(&w, order, CONFIRMED, 2);
    assert_int_equal(world_number(&w, "SELECT count(*) FROM pay.trade_pay WHERE is_paid = 2"), 1);
    assert_int_equal(world_number(&w, "SELECT count(*) FROM pay.trade_pay WHERE is_paid = 5"), 1);
    assert_int_equal(world_number(&w, "SELECT count(*) FROM tp.charge WHERE refunded = amount"), 1);
    world_holds(&w);
}

static void a_refund_that_overtakes_its_payment_at_the_points_leaves_none(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    bus_lose(w.bus, EVENT_paid, GROUP_USER_PAY, 1);
    world_pay(&w, pay);
    assert_int_equal(world_cancel(&w, order), 202);
    bus_settle(w.bus);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, REFUNDED);
    const struct envelope late = {.event = EVENT_paid,
                                  .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                                  .order_id = order,
                                  .pay_id = pay,
                                  .user_id = 1,
                                  .amount = 7000};
    struct mq *const mq = bus_mq(w.bus, "late");
    struct app_error e;
    assert_app_ok(mq_publish(mq, &late, NULL, &e), &e);
    bus_settle(w.bus);
    world_is_clean(&w);
    world_holds(&w);
    mq_close(mq);
}

/* A failure at each step of a refund: the redelivery goes on from there, the provider pays once. */
static void a_refund_that_stops_anywhere_goes_on_from_there(void **state)
{
    (void)state;
    static const char *const places[] = {
        "pay.refund.begin.after=error*1", "pay.refund.provider.after=error*1",
        "pay.refund.end.after=error*1",   "tp.refund.after_tx=error*1",
        "inbox.before_ack=error*1",       "mq.send=error*1"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const int64_t order = world_place(&w, 500, false),
                      pay = world_open_payment(&w, order, NULL);
        world_pay(&w, pay);
        assert_int_equal(world_cancel(&w, order), 202);
        bus_settle(w.bus);
        shop_arm(places[i]);
        world_callbacks(&w);
        bus_settle(w.bus);
        world_payment_is(&w, pay, REFUNDED);
        app_failpoint_disarm_all();
    }
    world_is_clean(&w);
    world_holds(&w);
}

static void a_provider_that_fails_five_times_refunds_in_the_end(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_pay(&w, pay);
    world_cancel(&w, order);
    bus_settle(w.bus);
    world_switch(&w, "refund_error", 5);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, REFUNDED);
    world_is_clean(&w);
    world_holds(&w);
}

static void a_refund_that_is_refused_for_good_is_the_operators(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_pay(&w, pay);
    world_cancel(&w, order);
    bus_settle(w.bus);
    world_switch(&w, "refund_refused", 1);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, REFUND_FAILED);
    world_order_is(&w, order, CANCELLED, 0);
    assert_int_equal(bus_sent(w.bus, EVENT_refunded), 0);
    assert_true(world_number(&w, "SELECT count(*) FROM audit.i10") == 1);
}

/* --- the reconciler --- */

static void a_callback_that_is_lost_for_ever_is_found_by_asking(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_switch(&w, "lost", 1);
    world_pay(&w, pay);
    world_callbacks(&w);
    world_payment_is(&w, pay, OPEN);
    world_reconcile(&w); /* not due yet */
    world_payment_is(&w, pay, OPEN);
    world_make_due(&w);
    world_reconcile(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, PAID);
    world_order_is(&w, order, CONFIRMED, 2);
    world_holds(&w);
}

static void money_captured_while_the_payment_was_closed_is_found_and_given_back(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_switch(&w, "lost", 1);
    world_pay(&w, pay);
    world_cancel(&w, order);
    bus_settle(w.bus); /* the provider says: captured already */
    world_payment_is(&w, pay, CLOSED);
    world_make_due(&w);
    world_reconcile(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, REFUNDED);
    world_is_clean(&w);
    world_holds(&w);
}

static void a_copy_of_paid_that_only_one_service_lost_is_sent_again(void **state)
{
    (void)state;
    static const char *const groups[] = {GROUP_ORDER_PAY, GROUP_USER_PAY, GROUP_LOG_PAY};
    for (int i = 0; i < 3; i++) {
        const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
        bus_lose(w.bus, EVENT_paid, groups[i], 1);
        world_pay(&w, pay);
        world_callbacks(&w);
        bus_settle(w.bus);
        world_make_due(&w);
        world_reconcile(&w);
        bus_settle(w.bus);
        world_order_is(&w, order, CONFIRMED, 2);
    }
    assert_int_equal(world_number(&w, "SELECT count(*) FROM pay.trade_pay WHERE acks = 7"), 3);
    world_holds(&w);
}

static void a_lost_refund_request_or_refunded_is_driven_on(void **state)
{
    (void)state;
    bus_lose(w.bus, EVENT_refund_request, GROUP_PAY_REFUND, 1);
    bus_lose(w.bus, EVENT_refunded, GROUP_LOG_PAY, 1);
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_pay(&w, pay);
    world_cancel(&w, order);
    bus_settle(w.bus);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_payment_is(&w, pay, PAID);
    for (int i = 0; i < 2; i++) {
        world_make_due(&w);
        world_reconcile(&w);
        bus_settle(w.bus);
    }
    world_payment_is(&w, pay, REFUNDED);
    world_is_clean(&w);
    world_holds(&w);
}

static void a_payment_that_never_reached_the_provider_is_closed_after_its_deadline(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false);
    int code = 0;
    shop_arm("pay.open.after=error*1");
    world_open_payment(&w, order, &code);
    assert_int_equal(code, CODE_PAY_CREATE);
    const int64_t pay = world_number(&w, "SELECT pay_id FROM pay.trade_pay");
    world_make_due(&w);
    world_reconcile(&w);
    world_payment_is(&w, pay, OPEN); /* asking again may still create the charge */
    world_expire(&w, order);
    world_make_due(&w);
    world_reconcile(&w);
    world_payment_is(&w, pay, CLOSED);
    bus_let_time_pass(w.bus);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_holds(&w);
}

static void callbacks_about_the_wrong_thing_change_nothing(void **state)
{
    (void)state;
    static const char *const switches[] = {"wrong_signature", "wrong_amount", "wrong_currency",
                                           "wrong_number"};
    const int64_t order = world_place(&w, 0, false), pay = world_open_payment(&w, order, NULL);
    world_pay(&w, pay);
    for (int i = 0; i < 4; i++) {
        world_switch(&w, switches[i], 1);
        world_callbacks(&w);
        world_payment_is(&w, pay, OPEN);
    }
    assert_int_equal(world_number(&w, "SELECT suspect::int FROM pay.trade_pay"), 1);
    world_callbacks(&w);
    bus_settle(w.bus);
    world_order_is(&w, order, CONFIRMED, 2);
    world_holds(&w);
}

static void a_callback_before_the_charge_is_answered_is_recorded(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 0, false);
    world_switch(&w, "capture_early", 1);
    const int64_t pay = world_open_payment(&w, order, NULL);
    bus_settle(w.bus);
    world_payment_is(&w, pay, PAID);
    world_order_is(&w, order, CONFIRMED, 2);
    world_holds(&w);
}

/* --- participants that ask --- */

static void participants_undo_a_cancelled_order_whose_cancellation_never_came(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true);
    world_verdicts(&w); /* confirmed: nothing */
    bus_lose(w.bus, EVENT_order_cancel, GROUP_STOCK_ORDER, 100);
    bus_lose(w.bus, EVENT_order_cancel, GROUP_COUPON_ORDER, 100);
    bus_lose(w.bus, EVENT_order_cancel, GROUP_USER_ORDER, 100);
    assert_int_equal(world_cancel(&w, order), 202);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLING, 0);
    world_verdicts(&w);
    world_is_clean(&w);
    bus_settle(w.bus); /* their acknowledgements */
    world_order_is(&w, order, CANCELLED, 0);
    world_holds(&w);
}

static void participants_undo_an_order_that_is_unknown_twice(void **state)
{
    (void)state;
    struct http_answer a;
    char body[200];
    (void)snprintf(
        body, sizeof body,
        "{\"order_id\":\"777\",\"expires_at\":%lld,\"items\":[{\"goods_id\":\"10\",\"qty\":2}]}",
        (long long)timing_wall_ms() + 60000);
    shop_call(w.stock, "POST", "/internal/stock/try", body, &a);
    assert_answer(&a, 200, CODE_OK);
    http_answer_free(&a);
    world_verdicts(&w);
    assert_int_equal(world_number(&w, "SELECT available FROM stk.goods_stock"),
                     3); /* may be a delay */
    world_verdicts(&w);
    world_is_clean(&w);
    /* nothing is held, but a lost order row is an alarm for good */
    assert_int_equal(world_number(&w, "SELECT count(*) FROM audit.i13"), 1);
    assert_int_equal(shop_violations(&w.db), 1);
}

static void a_paid_order_is_asked_for_no_more(void **state)
{
    (void)state;
    int64_t pay;
    (void)paid_order(&pay);
    world_verdicts(&w);
    assert_int_equal(
        world_number(&w, "SELECT count(*) FROM stk.tx_barrier WHERE settled_at IS NULL"), 0);
    world_holds(&w);
}

/* --- dead letters --- */

static void a_dead_letter_is_kept_replayed_and_then_consumed(void **state)
{
    (void)state;
    const int64_t order = world_place(&w, 1000, true);
    shop_arm("inbox.dead=error*1"); /* the first to get order_cancel takes it for malformed */
    assert_int_equal(world_cancel(&w, order), 202);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLING, 0);
    assert_int_equal(world_number(&w, "SELECT count(*) FROM audit.i14"), 1);
    static const char *const schemas[] = {"stk", "cpn", "usr", "pay"};
    int64_t letter = 0;
    size_t at = 0;
    for (size_t i = 0; i < 4 && letter == 0; i++) {
        letter = world_number(&w, "SELECT coalesce(max(letter_id), 0) FROM %s.mq_dead_letter",
                              schemas[i]);
        at = i;
    }
    assert_true(letter > 0);
    world_replay(&w, schemas[at], letter, 200);
    bus_settle(w.bus);
    world_order_is(&w, order, CANCELLED, 0);
    world_is_clean(&w);
    world_holds(&w);
    world_replay(&w, schemas[at], letter, 200); /* once more: a duplicate */
    bus_settle(w.bus);
    world_holds(&w);
    world_replay(&w, schemas[at], letter + 1, 404);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_paid_order_is_settled_and_its_timer_does_nothing),
        T(an_unpaid_order_is_cancelled_by_its_timer),
        T(a_timer_that_fires_early_is_armed_again_and_leaves_no_trace),
        T(a_lost_timer_is_made_up_for_by_the_sweeper),
        T(every_message_three_times_is_as_good_as_once),
        T(a_lost_cancellation_or_acknowledgement_is_sent_again_until_all_four_are_there),
        T(a_cancellation_that_never_gets_through_ends_with_the_operator),
        T(a_user_cancels_and_gets_everything_back),
        T(a_paid_order_is_not_cancelled_by_its_user),
        T(a_lost_END_of_a_users_cancellation_is_made_up_for_by_the_check),
        T(a_users_cancellation_that_stops_half_way_has_not_happened),
        T(money_that_comes_after_the_cancellation_goes_back),
        T(of_two_payments_one_is_kept_and_the_other_refunded),
        T(a_refund_that_overtakes_its_payment_at_the_points_leaves_none),
        T(a_refund_that_stops_anywhere_goes_on_from_there),
        T(a_provider_that_fails_five_times_refunds_in_the_end),
        T(a_refund_that_is_refused_for_good_is_the_operators),
        T(a_callback_that_is_lost_for_ever_is_found_by_asking),
        T(money_captured_while_the_payment_was_closed_is_found_and_given_back),
        T(a_copy_of_paid_that_only_one_service_lost_is_sent_again),
        T(a_lost_refund_request_or_refunded_is_driven_on),
        T(a_payment_that_never_reached_the_provider_is_closed_after_its_deadline),
        T(callbacks_about_the_wrong_thing_change_nothing),
        T(a_callback_before_the_charge_is_answered_is_recorded),
        T(participants_undo_a_cancelled_order_whose_cancellation_never_came),
        T(participants_undo_an_order_that_is_unknown_twice),
        T(a_paid_order_is_asked_for_no_more),
        T(a_dead_letter_is_kept_replayed_and_then_consumed),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
