/* The provider's callbacks: what is signed, and when they come again. */
#include "apps/thirdpay/thirdpay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char KEY[] = "a key for tests";
static const struct tp_charge CHARGE = {
    .out_trade_no = 77, .amount = 1234, .txn_id = "tp1", .currency = "CNY", .status = "CAPTURED"};

/* Cuts a form without escapes into pairs, in place. */
static size_t cut(char *form, struct sign_param v[16])
{
    size_t n = 0;
    for (char *save = NULL, *pair = strtok_r(form, "&", &save); pair != NULL;
         pair = strtok_r(NULL, "&", &save)) {
        char *const eq = strchr(pair, '=');
        assert_non_null(eq);
        *eq = '\0';
        v[n++] = (struct sign_param){pair, eq + 1};
    }
    return n;
}

static void a_form_carries_a_signature_over_everything_in_it(void **state)
{
    (void)state;
    struct sign_param v[16];
    struct app_error e;
    char *form = tp_notify_form(KEY, &CHARGE, 1234, &e);
    assert_non_null(form);
    const size_t n = cut(form, v);
    assert_int_equal(n, 8);
    assert_true(sign_verify(KEY, v, n));
    assert_false(sign_verify("another key", v, n));
    for (size_t i = 0; i < n; i++) {
        const char *const was = v[i].value;
        v[i].value = "0";
        assert_false(sign_verify(KEY, v, n));
        v[i].value = was;
    }
    free(form);
}

static void two_forms_of_one_charge_differ(void **state)
{
    (void)state;
    struct app_error e;
    char *a = tp_notify_form(KEY, &CHARGE, 1234, &e), *b = tp_notify_form(KEY, &CHARGE, 1234, &e);
    assert_string_not_equal(a, b);
    free(a);
    free(b);
}

static void pauses_double_up_to_the_longest_and_end_with_the_last_attempt(void **state)
{
    (void)state;
    const struct thirdpay t = {.retry_ms = 100, .retry_max_ms = 500, .attempts_max = 6};
    static const int64_t want[] = {100, 200, 400, 500, 500, -1, -1};
    for (int i = 0; i < 7; i++)
        assert_int_equal(tp_retry_after_ms(&t, i + 1), want[i]);
}

static void a_counted_switch_works_as_often_as_it_says(void **state)
{
    (void)state;
    _Atomic int64_t left = 2;
    assert_true(tp_switch_use(&left));
    assert_true(tp_switch_use(&left));
    assert_false(tp_switch_use(&left));
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_carries_a_signature_over_everything_in_it),
        cmocka_unit_test(two_forms_of_one_charge_differ),
        cmocka_unit_test(pauses_double_up_to_the_longest_and_end_with_the_last_attempt),
        cmocka_unit_test(a_counted_switch_works_as_often_as_it_says),
    };
    return cmocka_run_group_tests_name("thirdpay_notify", tests, NULL, NULL);
}
