#include "apps/common/jsonx.h"

#include <string.h>

#include "tests/support/test.h"

static json_t *parse(const char *text)
{
    struct app_error e;
    json_t *j = jsonx_parse_object(text, strlen(text), &e);
    if (!j)
        fail_msg("%s: %s", text, e.text);
    return j;
}

static void good_members_are_read(void **state)
{
    (void)state;
    json_t *j = parse(
        "{\"i\":-5,\"m\":100,\"id\":\"12\",\"b\":true,\"t\":\"abc\",\"null\":null,\"a\":[{\"n\":1},{\"n\":2}]}");
    struct jsonx_reader r = jsonx_reader(j);
    struct app_error e;
    assert_int_equal(jsonx_int(&r, "i", -5, 5), -5);
    assert_int_equal(jsonx_int_or(&r, "null", 1, 2, 77), 77);
    assert_int_equal(jsonx_money(&r, "m"), 100);
    assert_int_equal(jsonx_id(&r, "id"), 12);
    assert_int_equal(jsonx_id_or(&r, "absent", 3), 3);
    assert_true(jsonx_bool(&r, "b"));
    assert_string_equal(jsonx_text(&r, "t", 3, 3), "abc");
    assert_string_equal(jsonx_text_or(&r, "absent", 3, "x"), "x");
    assert_int_equal(jsonx_array(&r, "a", 2, 2), 2);
    struct jsonx_reader item = jsonx_item(&r, "a", 1);
    assert_int_equal(jsonx_int(&item, "n", 0, 9), 2);
    assert_false(jsonx_has(&r, "null"));
    assert_int_equal(jsonx_end(&r, &e), APP_OK);
    json_decref(j);
}

static void the_first_complaint_stays_and_names_its_path(void **state)
{
    (void)state;
    json_t *j = parse("{\"a\":[{\"n\":1},{\"n\":\"x\"}],\"i\":1}");
    struct jsonx_reader r = jsonx_reader(j);
    struct app_error e;
    assert_int_equal(jsonx_array(&r, "a", 1, 5), 2);
    struct jsonx_reader item = jsonx_item(&r, "a", 1);
    assert_int_equal(jsonx_int(&item, "n", 0, 9), 0);
    (void)jsonx_text(&r, "i", 0, 5);
    assert_int_equal(jsonx_end(&item, &e), APP_E_INVALID);
    assert_int_equal(jsonx_end(&r, &e), APP_E_INVALID);
    assert_string_equal(e.text, "a[1].n: expected an integer, found a string");
    json_decref(j);
}

static void bounds_are_inclusive(void **state)
{
    (void)state;
    json_t *j = parse("{\"i\":10,\"t\":\"four\"}");
    struct app_error e;
    struct jsonx_reader r = jsonx_reader(j);
    (void)jsonx_int(&r, "i", 10, 10);
    (void)jsonx_text(&r, "t", 4, 4);
    assert_int_equal(jsonx_end(&r, &e), APP_OK);
    (void)jsonx_int(&r, "i", 11, 20);
    assert_int_equal(jsonx_end(&r, &e), APP_E_INVALID);
    r = jsonx_reader(j);
    (void)jsonx_text(&r, "t", 0, 3);
    assert_int_equal(jsonx_end(&r, &e), APP_E_INVALID);
    assert_contains(e.text, "found 4");
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_members_are_read),
        cmocka_unit_test(the_first_complaint_stays_and_names_its_path),
        cmocka_unit_test(bounds_are_inclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
