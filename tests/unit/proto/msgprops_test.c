#include "proto/message.h"

#include "tests/unit/proto/vectors.h"

static void values_are_found_with_and_without_the_last_separator(void **state)
{
    (void)state;
    assert_slice_equal(props_str_get(slice_str("TAGS\1A\2KEYS\1k1 k2\2"), PROP_KEYS), "k1 k2");
    assert_slice_equal(props_str_get(slice_str("TAGS\1A\2KEYS\1k1 k2"), PROP_KEYS), "k1 k2");
    assert_null(props_str_get(slice_str("TAGS\1A\2"), "TAG").p);
    assert_null(props_str_get(slice_str("TAGS\1A\2"), "TAGSS").p);
    assert_null(props_str_get(SLICE_NULL, "TAGS").p);
    assert_null(props_str_get(slice_str("\2\2"), "TAGS").p);
}

static void the_text_is_read_as_java_reads_it(void **state)
{
    (void)state;
    assert_slice_equal(props_str_get(slice_str("a\1" "1\2a\1" "2\2"), "a"), "2");
    assert_slice_equal(props_str_get(slice_str("a\1x\1y\2"), "a"), "x\1y");
    assert_null(props_str_get(slice_str("a\1\2"), "a").p);
    assert_null(props_str_get(slice_str("\1v\2"), "").p);
    assert_null(props_str_get(slice_str("a\2b\1v\2"), "a").p);
    assert_slice_equal(props_str_get(slice_str("a\2b\1v\2"), "b"), "v");
    assert_null(props_str_get(slice_str("a"), "a").p);
}

static void many_names_are_found_in_one_walk(void **state)
{
    static const struct slice names[] = {SLICE_LIT("TAGS"), SLICE_LIT("a"), SLICE_LIT("KEYS"),
                                         SLICE_LIT("TAG"), SLICE_LIT("b")};
    const struct slice props = slice_str("a\1" "1\2TAGS\1A\2b\1\2a\1" "2\2x\2KEYS\1k1 k2");
    struct slice values[5];
    (void)state;
    props_str_get_all(props, names, 5, values);
    assert_slice_equal(values[0], "A");
    assert_slice_equal(values[1], "2");
    assert_slice_equal(values[2], "k1 k2");
    assert_null(values[3].p);
    assert_null(values[4].p);
    props_str_get_all(SLICE_NULL, names, 5, values);
    for (size_t i = 0; i < 5; i++)
        assert_null(values[i].p);
}

static void iteration_skips_what_is_no_entry(void **state)
{
    struct slice name, value;
    struct props_iter it = {slice_str("x\2\1v\2k\1\2a\1" "1\2\2b\1" "2")};
    (void)state;
    assert_true(props_str_next(&it, &name, &value));
    assert_slice_equal(name, "a");
    assert_slice_equal(value, "1");
    assert_true(props_str_next(&it, &name, &value));
    assert_slice_equal(name, "b");
    assert_slice_equal(value, "2");
    assert_false(props_str_next(&it, &name, &value));
    assert_false(props_str_next(&it, &name, &value));
}

static void adding_keeps_the_string_well_formed(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(props_str_add(&b, "A", slice_str("1")), 0);
    assert_int_equal(props_str_add(&b, "B", slice_str("2")), 0);
    assert_slice_equal(buf_slice(&b), "A\1" "1\2B\1" "2\2");
    buf_clear(&b);
    buf_str(&b, "A\1" "1"); /* as 4.x writes it */
    assert_int_equal(props_str_add(&b, "B", slice_str("2")), 0);
    assert_slice_equal(buf_slice(&b), "A\1" "1\2B\1" "2\2");
    buf_free(&b);
}

static void separators_in_names_and_values_are_refused(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(props_str_add(&b, "A", slice_str("x\1y")), E_INVAL);
    assert_int_equal(props_str_add(&b, "A", slice_str("x\2")), E_INVAL);
    assert_int_equal(props_str_add(&b, "A\2", slice_str("x")), E_INVAL);
    assert_int_equal(props_str_add(&b, "", slice_str("x")), E_INVAL);
    assert_int_equal(b.n, 0);
    b.max = 3;
    assert_int_equal(props_str_add(&b, "AB", slice_str("x")), E_TOOBIG);
    buf_free(&b);
}

static void copying_drops_the_listed_names_only(void **state)
{
    static const char *const drop[] = {"B", "DELAY", NULL};
    static const char *const none[] = {NULL};
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    props_str_copy_without(&b, slice_str("A\1" "1\2B\1" "2\2BB\1" "3\2DELAY\1" "4\2Z\1" "5"), drop);
    assert_slice_equal(buf_slice(&b), "A\1" "1\2BB\1" "3\2Z\1" "5\2");
    buf_clear(&b);
    props_str_copy_without(&b, slice_str("A\1" "1"), none);
    assert_slice_equal(buf_slice(&b), "A\1" "1\2");
    buf_clear(&b);
    props_str_copy_without(&b, SLICE_NULL, none);
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_with_and_without_the_last_separator),
        cmocka_unit_test(the_text_is_read_as_java_reads_it),
        cmocka_unit_test(many_names_are_found_in_one_walk),
        cmocka_unit_test(iteration_skips_what_is_no_entry),
        cmocka_unit_test(adding_keeps_the_string_well_formed),
        cmocka_unit_test(separators_in_names_and_values_are_refused),
        cmocka_unit_test(copying_drops_the_listed_names_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
