#include "proto/message.h"

#include "tests/unit/proto/vectors.h"

static const char golden_batch[] =
    "00000022 00000000 00000000 00000000 00000005 626f647931 0007 5441475301 4102"
    "00000018 00000000 00000000 00000000 00000002 6232 0000";

static void golden_batch_is_written_byte_for_byte(void **state)
{
    char bytes[128];
    struct buf b;
    const struct batch_item first = {0, SLICE_LIT("body1"), SLICE_LIT("TAGS\1A\2")};
    const struct batch_item second = {0, SLICE_LIT("b2"), {NULL, 0}};
    (void)state;
    buf_init(&b, 0);
    batch_add(&b, &first);
    batch_add(&b, &second);
    const struct slice want = hex_bytes(golden_batch, bytes, sizeof bytes);
    assert_slices_equal(buf_slice(&b), want);
    buf_free(&b);
}

static void golden_batch_is_read(void **state)
{
    char bytes[128];
    struct slice rest = hex_bytes(golden_batch, bytes, sizeof bytes);
    struct batch_item item;
    struct err e = {0};
    (void)state;
    assert_ok(batch_next(&rest, &item, &e), &e);
    assert_slice_equal(item.body, "body1");
    assert_slice_equal(item.properties, "TAGS\1A\2");
    assert_ok(batch_next(&rest, &item, &e), &e);
    assert_slice_equal(item.body, "b2");
    assert_int_equal(item.properties.n, 0);
    assert_int_equal(rest.n, 0);
    assert_code(batch_next(&rest, &item, &e), E_PROTO, &e);
}

static void recorded_batches_are_written_again_byte_for_byte(void **state)
{
    static const char *const files[] = {"bodies/320-SEND_BATCH_MESSAGE-request.4.9.7.bin",
                                        "bodies/320-SEND_BATCH_MESSAGE-request.5.5.0.bin",
                                        "bodies/320-SEND_BATCH_MESSAGE-request.go-2.1.2.bin"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct slice body = golden_slice(files[i]);
        struct slice rest = body;
        struct buf b;
        struct err e = {0};
        int n = 0;
        buf_init(&b, 0);
        for (struct batch_item item; rest.n; n++) {
            assert_ok(batch_next(&rest, &item, &e), &e);
            batch_add(&b, &item);
        }
        assert_true(n > 1);
        assert_slices_equal(buf_slice(&b), body);
        buf_free(&b);
        free_slice(body);
    }
}

static void lengths_that_lie_are_refused(void **state)
{
    static const struct {
        size_t at;
        const char *hex;
    } cases[] = {{16, "ffffffff"}, {16, "7fffffff"}, {16, "00000034"},
                 {25, "ffff"},     {25, "8000"},     {25, "7fff"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[128], patch[4];
        const struct slice in = hex_bytes(golden_batch, bytes, sizeof bytes);
        const struct slice with = hex_bytes(cases[i].hex, patch, sizeof patch);
        memcpy(bytes + cases[i].at, with.p, with.n);
        struct slice rest = in;
        struct batch_item item;
        struct err e = {0};
        assert_code(batch_next(&rest, &item, &e), E_PROTO, &e);
        assert_int_equal(rest.n, in.n);
    }
}

static void a_batch_cut_anywhere_is_refused(void **state)
{
    char bytes[128];
    const struct slice in = hex_bytes(golden_batch, bytes, sizeof bytes);
    (void)state;
    for (size_t n = 0; n < in.n; n++) {
        char *const exact = dup_bytes(slice_of(in.p, n));
        struct slice rest = slice_of(exact, n);
        struct batch_item item;
        int rc = 0, items = 0;
        while (rest.n && rc == 0) {
            rc = batch_next(&rest, &item, NULL);
            items += rc == 0;
        }
        assert_int_equal(items, n >= 34);
        assert_int_equal(rc, n == 0 || n == 34 ? 0 : E_PROTO);
        free(exact);
    }
}

static void properties_longer_than_java_reads_are_refused(void **state)
{
    struct buf b;
    struct batch_item item;
    struct err e = {0};
    (void)state;
    for (uint32_t n = INT16_MAX; n <= INT16_MAX + 1; n++) {
        buf_init(&b, 0);
        for (int i = 0; i < 5; i++) /* size, magic, CRC, flag, an empty body */
            buf_be32(&b, 0);
        buf_be16(&b, (uint16_t)n);
        memset(buf_extend(&b, n), 'p', n);
        struct slice rest = buf_slice(&b);
        assert_code(batch_next(&rest, &item, &e), n > INT16_MAX ? E_PROTO : 0, &e);
        buf_free(&b);
    }
}

static void properties_beyond_the_limit_spoil_the_buffer(void **state)
{
    static char text[MESSAGE_PROPERTIES_MAX + 1];
    struct buf b;
    const struct batch_item item = {0, SLICE_LIT("b"), {text, sizeof text}};
    (void)state;
    buf_init(&b, 0);
    batch_add(&b, &item);
    assert_int_equal(buf_error(&b), E_TOOBIG);
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_batch_is_written_byte_for_byte),
        cmocka_unit_test(golden_batch_is_read),
        cmocka_unit_test(recorded_batches_are_written_again_byte_for_byte),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test(a_batch_cut_anywhere_is_refused),
        cmocka_unit_test(properties_longer_than_java_reads_are_refused),
        cmocka_unit_test(properties_beyond_the_limit_spoil_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
