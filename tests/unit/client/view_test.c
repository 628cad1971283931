/* client/view.c and client/inflate.c: recorded pull bodies, and bodies of every codec. */
#include "tests/support/test.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "client/inflate.h"
#include "client/view.h"
#include "tests/support/golden.h"

/* Each recorded pull answer can be read to its end. */
static void recorded_pull_bodies_become_views(void **state)
{
    (void)state;
    static const char *const files[] = {"bodies/11-PULL_MESSAGE-response.4.9.7.bin",
                                        "bodies/11-PULL_MESSAGE-response.5.5.0.bin"};
    for (size_t i = 0; i < 2; i++) {
        char *text;
        size_t n;
        int views = 0;
        struct err e = {0};
        assert_ok(golden_file(files[i], &text, &n, &e), &e);
        for (struct slice rest = slice_of(text, n); rest.n; views++) {
            struct message m;
            struct hp_message_view v;
            assert_ok(message_decode(rest, MESSAGE_CHECK_CRC, &m, &e), &e);
            assert_int_equal(view_init(&v, &m, "broker-a", 0), 0);
            size_t body_n;
            assert_non_null(hp_view_body(&v, &body_n));
            assert_true(body_n > 0);
            assert_string_equal(hp_view_broker_name(&v), "broker-a");
            assert_int_equal(strlen(hp_view_offset_msg_id(&v)), 32);
            assert_string_equal(hp_view_msg_id(&v), hp_view_property(&v, "UNIQ_KEY"));
            assert_null(hp_view_property(&v, "no such property"));
            assert_true(hp_view_store_timestamp(&v) >= hp_view_born_timestamp(&v));
            view_fini(&v);
            rest = slice_of(rest.p + m.total_size, rest.n - (size_t)m.total_size);
        }
        assert_true(views > 0);
        free(text);
    }
}

static struct message plain(const char *topic, const char *props, struct slice body)
{
    struct message m = {.topic = slice_str(topic),
                        .properties = slice_str(props),
                        .body = body,
                        .reconsume_times = 2};
    assert_int_equal(host_parse(SLICE_LIT("127.0.0.1:10911"), &m.store_host), 0);
    return m;
}

static void a_count_at_the_end_of_its_range_stays_in_it(void **state)
{
    (void)state;
    struct hp_message_view v;
    struct message m = plain("t", "", SLICE_LIT("b"));
    m.reconsume_times = INT32_MAX;
    assert_int_equal(view_init(&v, &m, "b", 1), 0);
    assert_in_range(hp_view_reconsume_times(&v), INT32_MAX - 1000, INT32_MAX);
    view_fini(&v);
    m.reconsume_times = INT32_MIN;
    assert_int_equal(times_consumed(&m, 1), INT32_MIN + 1);
}

static void a_retry_shows_its_original_topic(void **state)
{
    (void)state;
    struct hp_message_view v;
    const struct message m = plain("%RETRY%g", "RETRY_TOPIC\1T\2TAGS\1a\2KEYS\1k\2TAGS\1b",
                                   SLICE_LIT("x"));
    assert_int_equal(view_init(&v, &m, "b", 1), 0);
    assert_string_equal(hp_view_topic(&v), "T");
    assert_string_equal(hp_view_tag(&v), "b"); /* of equal names the last one */
    assert_string_equal(hp_view_keys(&v), "k");
    assert_int_equal(hp_view_reconsume_times(&v), 3);
    assert_string_equal(hp_view_msg_id(&v), hp_view_offset_msg_id(&v)); /* without UNIQ_KEY */
    assert_null(hp_view_transaction_id(&v));
    view_fini(&v);
}

enum { PLAIN_N = 200000 };

static char *plain_text(void)
{
    char *text = malloc(PLAIN_N);
    assert_non_null(text);
    for (int i = 0; i < PLAIN_N; i++)
        text[i] = (char)('a' + i / 977 % 26);
    return text;
}

static size_t compress_with(int32_t codec, const char *text, char *out, size_t cap)
{
    uLongf zlib_n = cap;
    switch (codec) {
    case 0x100: return LZ4F_compressFrame(out, cap, text, PLAIN_N, NULL);
    case 0x200: return ZSTD_compress(out, cap, text, PLAIN_N, 3);
    default:
        assert_int_equal(compress((Bytef *)out, &zlib_n, (const Bytef *)text, PLAIN_N), Z_OK);
        return zlib_n;
    }
}

static void bodies_of_every_codec_are_inflated(void **state)
{
    (void)state;
    static const int32_t codecs[] = {0x000, 0x100, 0x200, 0x300};
    char *text = plain_text(), *packed = malloc(PLAIN_N * 2);
    assert_non_null(packed);
    for (size_t i = 0; i < 4; i++) {
        struct hp_message_view v;
        const size_t n = compress_with(codecs[i], text, packed, PLAIN_N * 2);
        struct message m = plain("T", "", slice_of(packed, n));
        m.sys_flag = SYSFLAG_COMPRESSED | codecs[i];
        assert_int_equal(view_init(&v, &m, "b", 0), 0);
        size_t got;
        const void *body = hp_view_body(&v, &got);
        assert_int_equal(got, PLAIN_N);
        assert_memory_equal(body, text, PLAIN_N);
        view_fini(&v);
    }
    free(packed);
    free(text);
}

static void cut_and_broken_bodies_are_errors(void **state)
{
    (void)state;
    static const int32_t codecs[] = {0x000, 0x100, 0x200};
    char *text = plain_text(), *packed = malloc(PLAIN_N * 2);
    struct buf out;
    assert_non_null(packed);
    buf_init(&out, 0);
    for (size_t i = 0; i < 3; i++) {
        const size_t n = compress_with(codecs[i], text, packed, PLAIN_N * 2);
        for (size_t cut = 0; cut < n; cut += 1 + n / 7) {
            buf_clear(&out);
            assert_int_equal(body_inflate(slice_of(packed, cut), codecs[i], &out), E_CORRUPT);
        }
        packed[0] = (char)~packed[0];
        buf_clear(&out);
        assert_int_equal(body_inflate(slice_of(packed, n), codecs[i], &out), E_CORRUPT);
    }
    assert_int_equal(body_inflate(SLICE_LIT("x"), 0x400, &out), E_UNSUPP);
    buf_free(&out);
    free(packed);
    free(text);
}

static void a_body_that_grows_without_bound_is_refused(void **state)
{
    (void)state;
    const size_t n = (size_t)INFLATED_MAX + 1;
    char *zeros = calloc(1, n), *packed = malloc(1 << 20);
    struct buf out;
    assert_non_null(zeros);
    assert_non_null(packed);
    const size_t packed_n = ZSTD_compress(packed, 1 << 20, zeros, n, 1);
    assert_false(ZSTD_isError(packed_n));
    free(zeros);
    buf_init(&out, 0);
    assert_int_equal(body_inflate(slice_of(packed, packed_n), 0x200, &out), E_TOOBIG);
    buf_free(&out);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_pull_bodies_become_views),
        cmocka_unit_test(a_count_at_the_end_of_its_range_stays_in_it),
        cmocka_unit_test(a_retry_shows_its_original_topic),
        cmocka_unit_test(bodies_of_every_codec_are_inflated),
        cmocka_unit_test(cut_and_broken_bodies_are_errors),
        cmocka_unit_test(a_body_that_grows_without_bound_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
