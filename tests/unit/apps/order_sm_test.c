/* What an order's state answers to those who ask. */
#include "apps/order/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_armed_cancellation_follows_from_the_state(void **state)
{
    (void)state;
    static const struct {
        enum order_status s;
        bool expired;
        enum saga_verdict v;
        enum mq_verdict end;
    } table[] = {{ORDER_PENDING, false, SAGA_OPEN, MQ_UNKNOWN},
                 {ORDER_PENDING, true, SAGA_EXPIRE, MQ_UNKNOWN},
                 {ORDER_CONFIRMED, false, SAGA_ROLLBACK, MQ_ROLLBACK},
                 {ORDER_CONFIRMED, true, SAGA_ROLLBACK, MQ_ROLLBACK},
                 {ORDER_CANCELLING, false, SAGA_COMMIT, MQ_COMMIT},
                 {ORDER_CANCELLED, true, SAGA_COMMIT, MQ_COMMIT},
                 {ORDER_INVALID, true, SAGA_ROLLBACK, MQ_ROLLBACK}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(saga_verdict_of(table[i].s, table[i].expired), table[i].v);
        assert_int_equal(saga_end_of(table[i].v), table[i].end);
    }
}

static void money_is_accepted_once_and_otherwise_given_back(void **state)
{
    (void)state;
    assert_int_equal(paid_reaction_of(false, ORDER_PENDING, PAY_NONE, 0, 7), PAID_LATER);
    assert_int_equal(paid_reaction_of(true, ORDER_PENDING, PAY_NONE, 0, 7), PAID_LATER);
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_NONE, 0, 7), PAID_ACCEPT);
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_PAYING, 0, 7), PAID_ACCEPT);
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_PAID, 7, 7), PAID_AGAIN);
    assert_int_equal(paid_reaction_of(true, ORDER_CONFIRMED, PAY_PAID, 6, 7), PAID_REFUND);
    assert_int_equal(paid_reaction_of(true, ORDER_CANCELLING, PAY_NONE, 0, 7), PAID_REFUND);
    assert_int_equal(paid_reaction_of(true, ORDER_CANCELLED, PAY_NONE, 0, 7), PAID_REFUND);
    assert_int_equal(paid_reaction_of(true, ORDER_INVALID, PAY_NONE, 0, 7), PAID_REFUND);
}

static void each_participant_has_one_bit_and_four_make_the_mask(void **state)
{
    (void)state;
    assert_int_equal(comp_bit_of(BRANCH_STOCK) | comp_bit_of(BRANCH_COUPON) |
                         comp_bit_of(BRANCH_BALANCE) | comp_bit_of(BRANCH_PAY),
                     COMP_ALL);
    assert_int_equal(comp_bit_of(BRANCH_STOCK) + comp_bit_of(BRANCH_COUPON) +
                         comp_bit_of(BRANCH_BALANCE) + comp_bit_of(BRANCH_PAY),
                     COMP_ALL);
    assert_int_equal(comp_bit_of(BRANCH_POINTS), 0);
    assert_int_equal(comp_bit_of(BRANCH_NONE), 0);
}

static void the_fourth_acknowledgement_closes_the_order(void **state)
{
    (void)state;
    static const struct {
        bool found;
        enum order_status s;
        int before, bit, mask;
        enum comp_reaction want;
    } table[] = {{true, ORDER_CANCELLING, 0, 1, 1, COMP_ACKED},
                 {true, ORDER_CANCELLING, 1, 1, 1, COMP_DUPLICATE},
                 {true, ORDER_CANCELLING, 3, 4, 7, COMP_ACKED},
                 {true, ORDER_CANCELLING, 7, 8, COMP_ALL, COMP_CLOSES},
                 {true, ORDER_CANCELLED, 15, 8, COMP_ALL, COMP_DUPLICATE},
                 {true, ORDER_CONFIRMED, 0, 1, 1, COMP_STRAY},
                 {true, ORDER_PENDING, 7, 8, COMP_ALL, COMP_STRAY},
                 {true, ORDER_INVALID, 7, 8, COMP_ALL, COMP_STRAY},
                 {false, ORDER_CANCELLING, 7, 8, COMP_ALL, COMP_STRAY}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int mask = -1;
        assert_int_equal(
            comp_reaction_of(table[i].found, table[i].s, table[i].before, table[i].bit, &mask),
            table[i].want);
        assert_int_equal(mask, table[i].mask);
    }
    assert_string_equal(comp_reaction_text(COMP_ACKED), "acked");
    assert_string_equal(comp_reaction_text(COMP_CLOSES), "cancelled");
    assert_string_equal(comp_reaction_text(COMP_DUPLICATE), "duplicate");
    assert_string_equal(comp_reaction_text(COMP_STRAY), "stray");
}

static void shipping_is_free_above_a_hundred(void **state)
{
    (void)state;
    assert_int_equal(shipping_fee_of(0), 1000);
    assert_int_equal(shipping_fee_of(10000), 1000);
    assert_int_equal(shipping_fee_of(10001), 0);
}

static void a_timer_cancels_what_is_past_its_own_deadline_and_waits_for_the_rest(void **state)
{
    (void)state;
    static const struct {
        bool found;
        enum order_status s;
        enum pay_status p;
        bool saga_over, pay_over;
        enum timeout_reaction want;
    } table[] = {{false, ORDER_PENDING, PAY_NONE, true, true, TIMEOUT_NOTHING},
                 {true, ORDER_PENDING, PAY_NONE, false, true, TIMEOUT_EARLY},
                 {true, ORDER_PENDING, PAY_NONE, true, false, TIMEOUT_CANCEL},
                 {true, ORDER_CONFIRMED, PAY_NONE, true, false, TIMEOUT_EARLY},
                 {true, ORDER_CONFIRMED, PAY_PAYING, true, true, TIMEOUT_CANCEL},
                 {true, ORDER_CONFIRMED, PAY_PAID, true, true, TIMEOUT_NOTHING},
                 {true, ORDER_CANCELLING, PAY_NONE, true, false, TIMEOUT_AGAIN},
                 {true, ORDER_CANCELLED, PAY_NONE, true, true, TIMEOUT_NOTHING},
                 {true, ORDER_INVALID, PAY_NONE, true, true, TIMEOUT_NOTHING}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(timeout_reaction_of(table[i].found, table[i].s, table[i].p,
                                             table[i].saga_over, table[i].pay_over),
                         table[i].want);
}

static void only_a_confirmed_order_that_is_not_paid_is_cancelled_by_its_user(void **state)
{
    (void)state;
    assert_true(order_is_cancellable(ORDER_CONFIRMED, PAY_NONE));
    assert_true(order_is_cancellable(ORDER_CONFIRMED, PAY_PAYING));
    assert_false(order_is_cancellable(ORDER_CONFIRMED, PAY_PAID));
    assert_false(order_is_cancellable(ORDER_PENDING, PAY_NONE));
    assert_false(order_is_cancellable(ORDER_CANCELLED, PAY_NONE));
}

static void cancelling_counts_as_cancelled_for_those_who_ask(void **state)
{
    (void)state;
    assert_string_equal(verdict_text_of(false, ORDER_PENDING, PAY_NONE), "unknown");
    assert_string_equal(verdict_text_of(true, ORDER_PENDING, PAY_NONE), "open");
    assert_string_equal(verdict_text_of(true, ORDER_CONFIRMED, PAY_PAYING), "confirmed");
    assert_string_equal(verdict_text_of(true, ORDER_CONFIRMED, PAY_PAID), "paid");
    assert_string_equal(verdict_text_of(true, ORDER_CANCELLING, PAY_NONE), "cancelled");
    assert_string_equal(verdict_text_of(true, ORDER_CANCELLED, PAY_NONE), "cancelled");
    assert_string_equal(verdict_text_of(true, ORDER_INVALID, PAY_NONE), "invalid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_armed_cancellation_follows_from_the_state),
        cmocka_unit_test(money_is_accepted_once_and_otherwise_given_back),
        cmocka_unit_test(each_participant_has_one_bit_and_four_make_the_mask),
        cmocka_unit_test(the_fourth_acknowledgement_closes_the_order),
        cmocka_unit_test(shipping_is_free_above_a_hundred),
        cmocka_unit_test(a_timer_cancels_what_is_past_its_own_deadline_and_waits_for_the_rest),
        cmocka_unit_test(only_a_confirmed_order_that_is_not_paid_is_cancelled_by_its_user),
        cmocka_unit_test(cancelling_counts_as_cancelled_for_those_who_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
