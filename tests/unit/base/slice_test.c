/* base/slice.c: comparing, cutting, and numbers at their limits. */
#include "tests/support/test.h"

#include <stdlib.h>

static void equality_ignores_case_only_where_asked(void **state)
{
    (void)state;
    assert_true(slice_eq_nocase(SLICE_LIT("TrUe"), SLICE_LIT("tRuE")));
    assert_false(slice_eq_nocase(SLICE_LIT("true"), SLICE_LIT("true ")));
    assert_false(slice_eq_nocase(SLICE_LIT("["), SLICE_LIT("{"))); /* differ by the case bit */
    assert_true(slice_eq(SLICE_NULL, slice_of("x", 0)));
    assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("A")));
}

static void a_prefix_may_be_empty_or_null_but_not_longer(void **state)
{
    (void)state;
    assert_true(slice_starts(SLICE_LIT("topic"), SLICE_LIT("top")));
    assert_true(slice_starts(SLICE_NULL, SLICE_NULL));
    assert_false(slice_starts(SLICE_LIT("to"), SLICE_LIT("top")));
}

static void trimming_takes_ascii_white_space_at_both_ends(void **state)
{
    (void)state;
    assert_slice_equal(slice_trim(SLICE_LIT(" \t\r\n a b \v\f")), "a b");
    assert_int_equal(slice_trim(SLICE_LIT("   ")).n, 0);
    assert_int_equal(slice_trim(SLICE_NULL).n, 0);
}

static void cutting_gives_every_part_also_empty_ones(void **state)
{
    (void)state;
    struct slice rest = SLICE_LIT("a;;b;"), head;
    const char *const want[] = {"a", "", "b", ""};
    for (int i = 0; i < 4; i++) {
        assert_true(slice_cut(&rest, ';', &head));
        assert_slice_equal(head, want[i]);
    }
    assert_false(slice_cut(&rest, ';', &head));
}

static void an_empty_text_has_one_part_and_a_null_one_none(void **state)
{
    (void)state;
    struct slice rest = slice_of("", 0), head;
    assert_true(slice_cut(&rest, ',', &head));
    assert_int_equal(head.n, 0);
    assert_false(slice_cut(&rest, ',', &head));
}

static void numbers_parse_up_to_their_limits_and_not_beyond(void **state)
{
    (void)state;
    int64_t v = 77;
    assert_ok(slice_i64(SLICE_LIT("9223372036854775807"), &v), NULL);
    assert_int_equal(v, INT64_MAX);
    assert_ok(slice_i64(SLICE_LIT("-9223372036854775808"), &v), NULL);
    assert_true(v == INT64_MIN);
    assert_code(slice_i64(SLICE_LIT("9223372036854775808"), &v), E_RANGE, NULL);
    assert_code(slice_i64(SLICE_LIT("-9223372036854775809"), &v), E_RANGE, NULL);
    assert_true(v == INT64_MIN); /* untouched */

    int32_t w = 77;
    assert_ok(slice_i32(SLICE_LIT("-2147483648"), &w), NULL);
    assert_true(w == INT32_MIN);
    assert_code(slice_i32(SLICE_LIT("2147483648"), &w), E_RANGE, NULL);
    assert_ok(slice_i32(SLICE_LIT("2147483647"), &w), NULL);
    assert_int_equal(w, INT32_MAX);
}

static void what_is_no_number_is_refused_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "-",    "+1", " 1",  "1 ",
                                      "1.0", "0x10", "1-", "--1", "99999999999999999999x"};
    int64_t v;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (slice_i64(slice_str(bad[i]), &v) != E_INVAL)
            fail_msg("\"%s\" was taken for a number", bad[i]);
    assert_ok(slice_i64(SLICE_LIT("-0"), &v), NULL);
    assert_int_equal(v, 0);
    assert_ok(slice_i64(SLICE_LIT("007"), &v), NULL);
    assert_int_equal(v, 7);
}

static void only_true_is_true(void **state)
{
    (void)state;
    assert_true(slice_bool(SLICE_LIT("TRUE")));
    assert_false(slice_bool(SLICE_LIT("yes")));
    assert_false(slice_bool(SLICE_LIT("true ")));
    assert_false(slice_bool(SLICE_NULL));
}

static void copies_end_with_nul_and_refuse_what_does_not_fit(void **state)
{
    (void)state;
    char fixed[4] = "abc";
    assert_code(slice_copy(SLICE_LIT("wxyz"), fixed, sizeof fixed), E_TOOBIG, NULL);
    assert_string_equal(fixed, "abc");
    assert_ok(slice_copy(SLICE_LIT("xyz"), fixed, sizeof fixed), NULL);
    assert_string_equal(fixed, "xyz");
    assert_ok(slice_copy(SLICE_NULL, fixed, sizeof fixed), NULL);
    assert_string_equal(fixed, "");
    assert_code(slice_copy(SLICE_NULL, fixed, 0), E_TOOBIG, NULL);
    char *heap = slice_dup(slice_of("abcdef", 3));
    assert_string_equal(heap, "abc");
    free(heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_ignores_case_only_where_asked),
        cmocka_unit_test(a_prefix_may_be_empty_or_null_but_not_longer),
        cmocka_unit_test(trimming_takes_ascii_white_space_at_both_ends),
        cmocka_unit_test(cutting_gives_every_part_also_empty_ones),
        cmocka_unit_test(an_empty_text_has_one_part_and_a_null_one_none),
        cmocka_unit_test(numbers_parse_up_to_their_limits_and_not_beyond),
        cmocka_unit_test(what_is_no_number_is_refused_whole),
        cmocka_unit_test(only_true_is_true),
        cmocka_unit_test(copies_end_with_nul_and_refuse_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
