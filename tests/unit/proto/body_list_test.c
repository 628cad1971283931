#include "proto/body.h"

#include "tests/unit/proto/vectors.h"

static void recorded_lists_are_written_again_byte_for_byte(void **state)
{
    static const char *const files[] = {"bodies/38-GET_CONSUMER_LIST_BY_GROUP-response.4.9.7.json",
                                        "bodies/38-GET_CONSUMER_LIST_BY_GROUP-response.5.5.0.json"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct slice body = golden_slice(files[i]);
        json_t *root;
        struct slice *ids;
        size_t n;
        struct buf b;
        struct err e = {0};
        assert_ok(consumer_list_decode(body, &root, &ids, &n, &e), &e);
        assert_int_equal(n, 2);
        buf_init(&b, 0);
        assert_int_equal(consumer_list_encode(ids, n, &b), 0);
        assert_slices_equal(buf_slice(&b), body);
        buf_free(&b);
        free(ids);
        json_decref(root);
        free_slice(body);
    }
}

static void empty_null_and_absent_lists_are_empty(void **state)
{
    static const char *const texts[] = {"{\"consumerIdList\":[]}", "{\"consumerIdList\":null}",
                                        "{}"};
    struct buf b;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        json_t *root;
        struct slice *ids;
        size_t n = 9;
        struct err e = {0};
        assert_ok(consumer_list_decode(slice_str(texts[i]), &root, &ids, &n, &e), &e);
        assert_int_equal(n, 0);
        free(ids);
        json_decref(root);
    }
    buf_init(&b, 0);
    assert_int_equal(consumer_list_encode(NULL, 0, &b), 0);
    assert_slice_equal(buf_slice(&b), "{\"consumerIdList\":[]}");
    buf_free(&b);
}

static void bad_lists_are_named(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {{"x", "consumer list"},
                 {"{\"consumerIdList\":\"a\"}", "\"consumerIdList\" is not an array"},
                 {"{\"consumerIdList\":[\"a\",7]}", "consumerIdList[1] is not a string"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root;
        struct slice *ids;
        size_t n;
        struct err e = {0};
        assert_code(consumer_list_decode(slice_str(cases[i].text), &root, &ids, &n, &e), E_PROTO,
                    &e);
        assert_contains(e.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_lists_are_written_again_byte_for_byte),
        cmocka_unit_test(empty_null_and_absent_lists_are_empty),
        cmocka_unit_test(bad_lists_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
