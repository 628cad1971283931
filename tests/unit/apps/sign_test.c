#include "apps/common/sign.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/test.h"

static void the_signature_is_hmac_sha256_of_the_sorted_encoded_text(void **state)
{
    (void)state;
    /* printf 'a=1%%202&b=x%%26y' | openssl dgst -sha256 -hmac key */
    const struct sign_param v[] = {{"b", "x&y"}, {"sign", "ignored"}, {"a", "1 2"}};
    char hex[SIGN_HEX_MAX];
    assert_int_equal(sign_params("key", v, 3, hex, NULL), APP_OK);
    assert_string_equal(hex, "66e407741ba091e050b8409c0b7256b26dc49c84f293b501349cf80b37d45565");
}

static void order_of_parameters_does_not_matter_but_every_byte_does(void **state)
{
    (void)state;
    const struct sign_param a[] = {{"x", "1"}, {"y", "2"}}, b[] = {{"y", "2"}, {"x", "1"}},
                            c[] = {{"x", "1&y=2"}};
    char ha[SIGN_HEX_MAX], hb[SIGN_HEX_MAX], hc[SIGN_HEX_MAX], hk[SIGN_HEX_MAX];
    assert_int_equal(sign_params("key", a, 2, ha, NULL), APP_OK);
    assert_int_equal(sign_params("key", b, 2, hb, NULL), APP_OK);
    assert_int_equal(sign_params("key", c, 1, hc, NULL), APP_OK);
    assert_int_equal(sign_params("kez", a, 2, hk, NULL), APP_OK);
    assert_string_equal(ha, hb);
    assert_string_not_equal(ha, hc);
    assert_string_not_equal(ha, hk);
}

static void only_the_right_signature_verifies(void **state)
{
    (void)state;
    struct sign_param v[3] = {{"amount", "100"}, {"out_trade_no", "9"}};
    char hex[SIGN_HEX_MAX];
    assert_int_equal(sign_params("key", v, 2, hex, NULL), APP_OK);
    v[2] = (struct sign_param){"sign", hex};
    assert_true(sign_verify("key", v, 3));
    assert_false(sign_verify("other", v, 3));
    assert_false(sign_verify("key", v, 2)); /* missing */
    v[0].value = "101";
    assert_false(sign_verify("key", v, 3));
    v[0].value = "100";
    hex[63] ^= 1;
    assert_false(sign_verify("key", v, 3));
    hex[63] = '\0';
    assert_false(sign_verify("key", v, 3)); /* short */
    const struct sign_param two[] = {{"a", "1"}, {"sign", "x"}, {"sign", "y"}};
    assert_false(sign_verify("key", two, 3));
}

static void too_many_parameters_are_refused(void **state)
{
    (void)state;
    struct sign_param v[65];
    for (int i = 0; i < 65; i++)
        v[i] = (struct sign_param){"a", "1"};
    char hex[SIGN_HEX_MAX];
    assert_int_equal(sign_params("key", v, 64, hex, NULL), APP_OK);
    assert_int_equal(sign_params("key", v, 65, hex, NULL), APP_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signature_is_hmac_sha256_of_the_sorted_encoded_text),
        cmocka_unit_test(order_of_parameters_does_not_matter_but_every_byte_does),
        cmocka_unit_test(only_the_right_signature_verifies),
        cmocka_unit_test(too_many_parameters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
