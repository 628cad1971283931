#include "proto/text.h"

#include "tests/unit/proto/vectors.h"

static void check_json(const char *in, size_t n, const char *want)
{
    struct buf b;
    buf_init(&b, 0);
    json_text_add(&b, slice_of(in, n));
    assert_slice_equal(buf_slice(&b), want);
    assert_int_equal(b.n, json_text_size(slice_of(in, n)));
    buf_free(&b);
}

static void json_text_escapes_only_what_json_demands(void **state)
{
    (void)state;
    check_json("", 0, "\"\"");
    check_json("a/b\x7f", 4, "\"a/b\x7f\"");
    check_json("\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check_json("K\1v\2", 4, "\"K\\u0001v\\u0002\"");
    check_json("\0\x1f", 2, "\"\\u0000\\u001F\"");
    check_json("中文😀é", 12, "\"中文😀é\"");
}

static void json_text_replaces_malformed_utf8(void **state)
{
    (void)state;
    check_json("a\xff" "b", 3, "\"a\xEF\xBF\xBD" "b\"");
    check_json("\xE4\xB8", 2, "\"\xEF\xBF\xBD\"");
    check_json("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\""); /* an encoded surrogate, as Java reads it */
}

static void plain_runs_end_at_every_other_byte(void **state)
{
    enum { SIZE = 19 };
    (void)state;
    for (size_t n = 0; n <= SIZE; n++) {
        for (size_t at = 0; at < n; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char *const text = malloc(n);
                memset(text, 'a', n);
                text[at] = (char)byte;
                const bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                const size_t got = json_plain_run(text, text + n), want = plain ? n : at;
                free(text);
                if (got != want)
                    fail_msg("byte %02x at %zu of %zu: got %zu, want %zu", (unsigned)byte, at, n,
                             got, want);
            }
        }
    }
}

static void json_ascii_escapes_other_characters(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 0);
    json_ascii_add(&b, slice_str("a\"é中😀\1\xff"));
    assert_slice_equal(buf_slice(&b), "\"a\\\"\\u00E9\\u4E2D\\uD83D\\uDE00\\u0001\\uFFFD\"");
    buf_free(&b);
}

static void check_step(const char *hex, size_t want_n, uint32_t want_cp)
{
    char bytes[8];
    const struct slice in = hex_bytes(hex, bytes, sizeof bytes);
    char *const exact = dup_bytes(in);
    uint32_t cp = 1;
    const size_t n = utf8_step(exact, exact + in.n, &cp);
    free(exact);
    if (n != want_n || cp != want_cp)
        fail_msg("%s: got %zu bytes, U+%X; want %zu, U+%X", hex, n, cp, want_n, want_cp);
}

static void utf8_steps_over_every_form(void **state)
{
    (void)state;
    check_step("00", 1, 0);
    check_step("7f", 1, 0x7F);
    check_step("c280", 2, 0x80);
    check_step("dfbf", 2, 0x7FF);
    check_step("e0a080", 3, 0x800);
    check_step("ed9fbf", 3, 0xD7FF);
    check_step("ee8080", 3, 0xE000);
    check_step("f0908080", 4, 0x10000);
    check_step("f48fbfbf", 4, 0x10FFFF);
    check_step("80", 1, UTF8_BAD);
    check_step("c080", 1, UTF8_BAD);
    check_step("c2", 1, UTF8_BAD);
    check_step("e08080", 1, UTF8_BAD);
    check_step("e0a0", 2, UTF8_BAD);
    check_step("eda080", 3, UTF8_BAD);
    check_step("f08f8080", 1, UTF8_BAD);
    check_step("f0908041", 3, UTF8_BAD);
    check_step("f4908080", 1, UTF8_BAD);
    check_step("f5808080", 1, UTF8_BAD);
}

static void numbers_are_written_at_both_ends_of_the_range(void **state)
{
    static const struct {
        int64_t v;
        const char *want;
    } cases[] = {{0, "0"}, {-1, "-1"}, {10, "10"}, {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[I64_TEXT_MAX];
        const char *const end = i64_text_put(text, cases[i].v);
        assert_slice_equal(slice_of(text, (size_t)(end - text)), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_text_escapes_only_what_json_demands),
        cmocka_unit_test(json_text_replaces_malformed_utf8),
        cmocka_unit_test(plain_runs_end_at_every_other_byte),
        cmocka_unit_test(json_ascii_escapes_other_characters),
        cmocka_unit_test(utf8_steps_over_every_form),
        cmocka_unit_test(numbers_are_written_at_both_ends_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
