#include "apps/common/error.h"

#include <string.h>

#include "apps/common/codes.h"
#include "tests/support/test.h"

static void an_error_collects_its_context_outermost_first(void **state)
{
    (void)state;
    struct app_error e;
    assert_int_equal(app_refuse(&e, CODE_STOCK_SHORT, "goods %d", 7), APP_E_REFUSED);
    assert_int_equal(e.code, 20003);
    assert_int_equal(app_wrap(&e, APP_E_REFUSED, "line %d", 2), APP_E_REFUSED);
    assert_string_equal(e.text, "line 2: goods 7");
    assert_int_equal(app_fail(NULL, APP_E_BUSY, "nobody listens"), APP_E_BUSY);
}

static void a_long_story_is_cut_and_ends(void **state)
{
    (void)state;
    struct app_error e;
    char big[1000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    (void)app_fail(&e, APP_E_DB, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    (void)app_wrap(&e, APP_E_DB, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void kinds_fall_into_classes(void **state)
{
    (void)state;
    assert_true(app_is_transient(APP_E_BUSY) && app_is_transient(APP_E_DOWN) &&
                !app_is_transient(APP_E_UNKNOWN));
    assert_true(app_is_unknown(APP_E_TIMEOUT) && app_is_unknown(APP_E_UNKNOWN) &&
                !app_is_unknown(APP_E_REFUSED));
    assert_string_equal(app_errno_name(APP_E_IO), "APP_E_IO");
    assert_string_equal(app_errno_name(APP_E_REFUSED), "APP_E_REFUSED");
    assert_string_equal(app_errno_name(-99), "APP_E_?");
    assert_string_equal(app_errno_name(99), "APP_E_?");
}

static void codes_have_numbers_texts_and_http_statuses_and_no_number_twice(void **state)
{
    (void)state;
    static const int numbers[] = {
#define CODE(name, number, http, text) number,
#include "apps/common/codes.def"
#undef CODE
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(numbers[i], numbers[k]);
    assert_int_equal(code_http(CODE_STOCK_BUSY), 429);
    assert_string_equal(code_name(70006), "PAY_SIGNATURE");
    assert_string_equal(code_text(20003), "not enough stock");
    assert_int_equal(code_http(4711), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_collects_its_context_outermost_first),
        cmocka_unit_test(a_long_story_is_cut_and_ends),
        cmocka_unit_test(kinds_fall_into_classes),
        cmocka_unit_test(codes_have_numbers_texts_and_http_statuses_and_no_number_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
