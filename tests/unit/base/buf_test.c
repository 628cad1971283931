/* base/buf.c: growth, bounds, the sticky error, and the reader. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "base/buf.h"

static void writers_and_reader_agree(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_u8(&b, 0xAB);
    buf_be16(&b, 0x0102);
    buf_be32(&b, 0x03040506);
    buf_be64(&b, 0x0708090A0B0C0D0E);
    buf_str(&b, "end");
    assert_int_equal(buf_error(&b), 0);
    assert_memory_equal(b.p,
                        "\xAB\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E"
                        "end",
                        18);

    struct reader r = reader_of(buf_slice(&b));
    assert_int_equal(reader_u8(&r), 0xAB);
    assert_int_equal(reader_be16(&r), 0x0102);
    assert_int_equal(reader_be32(&r), 0x03040506);
    assert_true(reader_be64(&r) == 0x0708090A0B0C0D0E);
    assert_slice_equal(reader_bytes(&r, 3), "end");
    assert_false(r.bad);
    assert_int_equal(reader_left(&r), 0);
    buf_free(&b);
}

static void a_read_past_the_end_is_bad_for_good(void **state)
{
    (void)state;
    struct reader r = reader_of(SLICE_LIT("abc"));
    assert_int_equal(reader_be32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(reader_u8(&r), 0); /* also what would still fit */
    assert_int_equal(reader_left(&r), 3);
    r = reader_of(SLICE_LIT("abc"));
    assert_null(reader_bytes(&r, SIZE_MAX).p);
    assert_true(r.bad);
}

static void an_empty_reader_gives_empty_slices(void **state)
{
    (void)state;
    struct reader r = reader_of(SLICE_NULL);
    assert_int_equal(reader_bytes(&r, 0).n, 0);
    assert_false(r.bad);
    reader_u8(&r);
    assert_true(r.bad);
}

static void the_bound_is_exact_and_sticks(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    buf_str(&b, "12345");
    assert_int_equal(buf_error(&b), 0);
    buf_char(&b, '6');
    assert_code(buf_error(&b), E_TOOBIG, NULL);
    buf_consume(&b, 3);
    buf_char(&b, '7'); /* there would be room, but the content is no longer whole */
    assert_code(buf_error(&b), E_TOOBIG, NULL);
    assert_slice_equal(buf_slice(&b), "45");
    buf_clear(&b);
    buf_str(&b, "ok");
    assert_int_equal(buf_error(&b), 0);
    assert_slice_equal(buf_slice(&b), "ok");
    buf_free(&b);
}

static void a_length_that_overflows_is_too_big(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_str(&b, "x");
    assert_null(buf_extend(&b, SIZE_MAX));
    assert_code(buf_error(&b), E_TOOBIG, NULL);
    buf_clear(&b);
    assert_code(buf_reserve(&b, PTRDIFF_MAX), E_TOOBIG, NULL);
    buf_free(&b);
}

static void content_survives_growth(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < 10000; i++)
        buf_be32(&b, (uint32_t)i);
    assert_int_equal(b.n, 40000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(be32_get(b.p + i * 4), i);
    buf_free(&b);
}

static void formatted_text_fits_exactly(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s", ""); /* nothing into nothing */
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%d,", i);
    buf_printf(&b, "%0300d", 7);
    assert_int_equal(b.n, 290 + 300);
    assert_memory_equal(b.p, "0,1,2,", 6);
    assert_int_equal(b.p[b.n - 1], '7');
    buf_free(&b);
}

static void numbers_print_at_their_limits(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_i64_text(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_i64_text(&b, INT64_MAX);
    buf_char(&b, ' ');
    buf_i64_text(&b, 0);
    assert_slice_equal(buf_slice(&b), "-9223372036854775808 9223372036854775807 0");
    buf_free(&b);
}

static void taking_gives_a_string_and_leaves_an_empty_buffer(void **state)
{
    (void)state;
    struct buf b;
    size_t n = 77;
    buf_init(&b, 0);
    char *empty = buf_take(&b, &n);
    assert_string_equal(empty, "");
    assert_int_equal(n, 0);
    free(empty);
    for (int i = 0; i < 64; i++) /* exactly the first block */
        buf_char(&b, 'a');
    char *text = buf_take(&b, &n);
    assert_int_equal(n, 64);
    assert_int_equal(strlen(text), 64);
    assert_null(b.p);
    free(text);
}

static void taking_a_failed_buffer_gives_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 2);
    buf_str(&b, "abc");
    assert_null(buf_take(&b, NULL));
    assert_null(b.p);
}

static void consuming_drops_from_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_str(&b, "hello world");
    buf_consume(&b, 6);
    assert_slice_equal(buf_slice(&b), "world");
    buf_consume(&b, 5);
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writers_and_reader_agree),
        cmocka_unit_test(a_read_past_the_end_is_bad_for_good),
        cmocka_unit_test(an_empty_reader_gives_empty_slices),
        cmocka_unit_test(the_bound_is_exact_and_sticks),
        cmocka_unit_test(a_length_that_overflows_is_too_big),
        cmocka_unit_test(content_survives_growth),
        cmocka_unit_test(formatted_text_fits_exactly),
        cmocka_unit_test(numbers_print_at_their_limits),
        cmocka_unit_test(taking_gives_a_string_and_leaves_an_empty_buffer),
        cmocka_unit_test(taking_a_failed_buffer_gives_nothing),
        cmocka_unit_test(consuming_drops_from_the_front),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
