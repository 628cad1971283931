#include "proto/body_json.h"

#include "tests/unit/proto/vectors.h"

static json_t *parse(const char *text)
{
    json_t *j;
    struct err e = {0};
    assert_ok(body_parse(slice_str(text), "sample", &j, &e), &e);
    return j;
}

static void bodies_must_be_objects(void **state)
{
    static const char *const bad[] = {"", "[]", "7", "\"x\"", "null", "{", "{}x"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = NULL;
        struct err e = {0};
        assert_code(body_parse(slice_str(bad[i]), "sample", &j, &e), E_PROTO, &e);
        assert_contains(e.text, "sample: ");
        assert_null(j);
    }
}

static void numbers_come_from_numbers_and_from_text(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int32_t want;
    } cases[] = {{"{\"n\":7}", 0, 7},
                 {"{\"n\":\"-7\"}", 0, -7},
                 {"{\"n\":null}", 0, 42},
                 {"{}", 0, 42},
                 {"{\"n\":2147483647}", 0, INT32_MAX},
                 {"{\"n\":-2147483648}", 0, INT32_MIN},
                 {"{\"n\":2147483648}", E_PROTO, 0},
                 {"{\"n\":\"-2147483649\"}", E_PROTO, 0},
                 {"{\"n\":\"\"}", E_PROTO, 0},
                 {"{\"n\":1.0}", E_PROTO, 0},
                 {"{\"n\":true}", E_PROTO, 0},
                 {"{\"n\":[7]}", E_PROTO, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *const j = parse(cases[i].text);
        int32_t n = 0;
        struct err e = {0};
        assert_code(body_get_i32(j, "n", 42, "sample", &n, &e), cases[i].rc, &e);
        assert_int_equal(n, cases[i].want);
        if (cases[i].rc)
            assert_contains(e.text, "sample: member \"n\"");
        json_decref(j);
    }
}

static void containers_may_be_absent_but_not_of_another_type(void **state)
{
    json_t *const j = parse("{\"a\":[1],\"o\":{},\"z\":null,\"s\":\"x\"}"), *object;
    const json_t *array;
    struct err e = {0};
    (void)state;
    assert_ok(body_get_array(j, "a", "sample", &array, &e), &e);
    assert_int_equal(json_array_size(array), 1);
    assert_ok(body_get_object(j, "o", "sample", &object, &e), &e);
    assert_non_null(object);
    assert_ok(body_get_array(j, "z", "sample", &array, &e), &e);
    assert_null(array);
    assert_ok(body_get_object(j, "absent", "sample", &object, &e), &e);
    assert_null(object);
    assert_code(body_get_array(j, "o", "sample", &array, &e), E_PROTO, &e);
    assert_code(body_get_object(j, "s", "sample", &object, &e), E_PROTO, &e);
    assert_string_equal(e.text, "sample: member \"s\" is not an object");
    json_decref(j);
}

static void writing_takes_the_value_also_when_it_fails(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(body_write(NULL, &b), E_NOMEM);
    assert_int_equal(body_write(parse("{\"b\":1,\"a\":2}"), &b), 0);
    assert_slice_equal(buf_slice(&b), "{\"a\":2,\"b\":1}");
    b.max = b.n;
    assert_int_equal(body_write(parse("{}"), &b), E_TOOBIG);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_must_be_objects),
        cmocka_unit_test(numbers_come_from_numbers_and_from_text),
        cmocka_unit_test(containers_may_be_absent_but_not_of_another_type),
        cmocka_unit_test(writing_takes_the_value_also_when_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
