/* What a payment's state answers to a callback, to a sibling and to acknowledgements. */
#include "apps/payment/payment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const enum pay_state all[] = {PAY_OPEN,      PAY_PAID,     PAY_CLOSED,
                                     PAY_REFUNDING, PAY_REFUNDED, PAY_REFUND_FAILED};
enum { N_STATES = sizeof all / sizeof all[0] };

static void a_callback_settles_what_is_open_or_closed_and_knows_the_rest(void **state)
{
    (void)state;
    static const enum callback_reaction want[N_STATES] = {CALLBACK_SETTLE, CALLBACK_KNOWN,
                                                          CALLBACK_SETTLE, CALLBACK_KNOWN,
                                                          CALLBACK_KNOWN,  CALLBACK_KNOWN};
    for (size_t i = 0; i < N_STATES; i++)
        assert_int_equal(callback_reaction_of(true, all[i], true), want[i]);
}

static void other_money_is_refused_in_every_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STATES; i++)
        assert_int_equal(callback_reaction_of(true, all[i], false), CALLBACK_MISMATCH);
    assert_int_equal(callback_reaction_of(false, PAY_OPEN, true), CALLBACK_STRANGER);
    assert_int_equal(callback_reaction_of(false, PAY_OPEN, false), CALLBACK_STRANGER);
}

static void the_gate_and_the_siblings_decide_about_opening(void **state)
{
    (void)state;
    static const struct {
        bool gate_closed, kept, open;
        enum open_reaction want;
    } table[] = {{false, false, false, OPEN_NEW},   {false, false, true, OPEN_EXISTING},
                 {false, true, false, OPEN_PAID},   {false, true, true, OPEN_PAID},
                 {true, false, false, OPEN_CLOSED}, {true, false, true, OPEN_CLOSED},
                 {true, true, false, OPEN_PAID},    {true, true, true, OPEN_PAID}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(open_reaction_of(table[i].gate_closed, table[i].kept, table[i].open),
                         table[i].want);
}

static void money_is_kept_while_it_is_not_given_back(void **state)
{
    (void)state;
    static const bool want[N_STATES] = {false, true, false, true, false, true};
    for (size_t i = 0; i < N_STATES; i++)
        assert_int_equal(pay_is_kept(all[i]), want[i]);
}

static void a_payment_is_settled_by_three_acknowledgements_and_no_two(void **state)
{
    (void)state;
    for (int acks = 0; acks < 32; acks++)
        assert_int_equal(pay_is_settled(PAY_PAID, acks), (acks & 7) == 7);
    assert_false(pay_is_settled(PAY_REFUNDING, 31));
    assert_int_equal(ACK_ORDER | ack_bit_of(EVENT_paid_ack, BRANCH_POINTS) |
                         ack_bit_of(EVENT_paid_ack, BRANCH_LOG),
                     ACK_SETTLED);
    assert_int_equal(ack_bit_of(EVENT_refund_ack, BRANCH_POINTS) |
                         ack_bit_of(EVENT_refund_ack, BRANCH_LOG),
                     ACK_REFUND_SETTLED);
    for (int b = 0; b < BRANCH_COUNT; b++)
        assert_int_equal(ack_bit_of(EVENT_paid_ack, (enum branch)b) != 0,
                         b == BRANCH_POINTS || b == BRANCH_LOG);
}

static void a_refund_goes_on_from_wherever_it_stopped(void **state)
{
    (void)state;
    assert_int_equal(refund_reaction_of(false, PAY_PAID), REFUND_LATER);
    assert_int_equal(refund_reaction_of(true, PAY_OPEN), REFUND_LATER);
    assert_int_equal(refund_reaction_of(true, PAY_CLOSED), REFUND_LATER);
    assert_int_equal(refund_reaction_of(true, PAY_PAID), REFUND_GO);
    assert_int_equal(refund_reaction_of(true, PAY_REFUNDING), REFUND_GO);
    assert_int_equal(refund_reaction_of(true, PAY_REFUNDED), REFUND_AGAIN);
    assert_int_equal(refund_reaction_of(true, PAY_REFUND_FAILED), REFUND_NEVER);
    assert_true(pay_is_settled(PAY_REFUNDED, ACK_REFUND_SETTLED | ACK_LOG));
    assert_false(pay_is_settled(PAY_REFUNDED, ACK_SETTLED | ACK_REFUND_LOG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_callback_settles_what_is_open_or_closed_and_knows_the_rest),
        cmocka_unit_test(other_money_is_refused_in_every_state),
        cmocka_unit_test(the_gate_and_the_siblings_decide_about_opening),
        cmocka_unit_test(money_is_kept_while_it_is_not_given_back),
        cmocka_unit_test(a_payment_is_settled_by_three_acknowledgements_and_no_two),
        cmocka_unit_test(a_refund_goes_on_from_wherever_it_stopped),
    };
    return cmocka_run_group_tests_name("payment_sm", tests, NULL, NULL);
}
