/* bench/limit_frame.c */
#include "tests/support/test.h"

#include "base/buf.h"
#include "base/crc.h"
#include "bench/limit_frame.h"

static void add_frame(struct buf *b, const char *header, const char *body)
{
    buf_be32(b, (uint32_t)(4 + strlen(header) + strlen(body)));
    buf_be32(b, (uint32_t)strlen(header));
    buf_str(b, header);
    buf_str(b, body);
}

static void add_record(struct buf *b, const char *header, const char *body)
{
    struct buf frame;
    buf_init(&frame, 0);
    add_frame(&frame, header, body);
    buf_be32(b, (uint32_t)frame.n);
    buf_be32(b, crc32_body(slice_str(body)));
    buf_slice_add(b, buf_slice(&frame));
    buf_free(&frame);
}

static const char header[] = "{\"code\":310,\"flag\":0,\"opaque\":77,\"version\":513}";

static void a_request_is_read_when_it_is_whole_and_not_before(void **state)
{
    (void)state;
    struct buf b;
    struct limit_request r;
    struct err e;
    buf_init(&b, 0);
    add_frame(&b, header, "the body");
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(limit_request_read(b.p, n, &r, &e), E_AGAIN);
    assert_int_equal(limit_request_read(b.p, b.n, &r, &e), 0);
    assert_int_equal(r.total, b.n);
    assert_int_equal(r.code, 310);
    assert_int_equal(r.opaque, 77);
    assert_true(slice_eq_str(r.body, "the body"));
    assert_true(slice_eq_str(r.header, header));
    buf_free(&b);
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    static const unsigned char bad[][8] = {
        {0, 0, 0, 3, 0, 0, 0, 0},             /* shorter than a header word */
        {0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 2}, /* longer than any frame */
        {0, 0, 0, 4, 0, 0, 0, 9},             /* the header is longer than the frame */
        {0, 0, 0, 4, 0, 0, 0, 0},             /* no code, no opaque */
    };
    struct limit_request r;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(limit_request_read((const char *)bad[i], 8, &r, &e), E_PROTO);
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, "{\"code\":310}", "");
    assert_int_equal(limit_request_read(b.p, b.n, &r, &e), E_PROTO);
    buf_free(&b);
}

static void a_log_is_counted_in_parts_of_any_size(void **state)
{
    (void)state;
    struct buf b;
    struct err e;
    buf_init(&b, 0);
    for (int i = 0; i < 5; i++)
        add_record(&b, header, "body of a record");
    memset(buf_extend(&b, 100), 0, 100);
    for (size_t step = 1; step <= b.n; step += 13) {
        struct limit_count c = {0};
        size_t at = 0;
        for (size_t end = step; !c.ended && at < b.n; end = end + step < b.n ? end + step : b.n) {
            const int64_t used = limit_count_part(&c, b.p + at, end - at, &e);
            assert_true(used >= 0);
            at += (size_t)used;
            if (end == b.n)
                break;
        }
        assert_int_equal(c.records, 5);
        assert_true(c.ended);
    }
    buf_free(&b);
}

static void a_flipped_byte_of_a_body_is_found(void **state)
{
    (void)state;
    struct buf b;
    struct err e;
    struct limit_count c = {0};
    buf_init(&b, 0);
    add_record(&b, header, "first");
    add_record(&b, header, "second");
    b.p[b.n - 1] ^= 1;
    assert_int_equal(limit_count_part(&c, b.p, b.n, &e), E_CORRUPT);
    assert_int_equal(c.records, 1);
    buf_free(&b);
}

static void a_record_that_lies_about_its_length_is_corrupt(void **state)
{
    (void)state;
    struct buf b;
    struct err e;
    struct limit_count c = {0};
    buf_init(&b, 0);
    add_record(&b, header, "first");
    be32_put(b.p, be32_get(b.p) - 1);
    assert_int_equal(limit_count_part(&c, b.p, b.n, &e), E_CORRUPT);
    be32_put(b.p, 0x7FFFFFFF);
    assert_int_equal(limit_count_part(&c, b.p, b.n, &e), E_CORRUPT);
    buf_free(&b);
}

static void a_record_that_is_cut_off_is_not_counted(void **state)
{
    (void)state;
    struct buf b;
    struct err e;
    buf_init(&b, 0);
    add_record(&b, header, "first");
    for (size_t n = 0; n < b.n; n++) {
        struct limit_count c = {0};
        assert_int_equal(limit_count_part(&c, b.p, n, &e), 0);
        assert_int_equal(c.records, 0);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_when_it_is_whole_and_not_before),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(a_log_is_counted_in_parts_of_any_size),
        cmocka_unit_test(a_flipped_byte_of_a_body_is_found),
        cmocka_unit_test(a_record_that_lies_about_its_length_is_corrupt),
        cmocka_unit_test(a_record_that_is_cut_off_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
