#include "proto/message.h"

#include "base/crc.h"
#include "tests/unit/proto/vectors.h"

static const char golden_record[] =
    "00000070 daa320a7 58932aac 00000002 00000007 0000000000000005 0000000000001234 00000000"
    "0000018bcfe56800 0a000001000010e1 0000018bcfe56801 0a00000200002a9f 00000001 0000000000000000"
    "00000002 6869  01 54  0012 544147530141 02 4b455953016b31206b32 02";

static struct host host_at(const char *text)
{
    struct host h;
    assert_int_equal(host_parse(slice_str(text), &h), 0);
    return h;
}

static struct message golden_message(void)
{
    return (struct message){.body_crc = -1,
                            .queue_id = 2,
                            .flag = 7,
                            .queue_offset = 5,
                            .phys_offset = 0x1234,
                            .born_timestamp = 1700000000000,
                            .born_host = host_at("10.0.0.1:4321"),
                            .store_timestamp = 1700000000001,
                            .store_host = host_at("10.0.0.2:10911"),
                            .reconsume_times = 1,
                            .body = SLICE_LIT("hi"),
                            .topic = SLICE_LIT("T"),
                            .properties = SLICE_LIT("TAGS\1A\2KEYS\1k1 k2\2")};
}

static char *encode(struct message *m, size_t *size)
{
    assert_int_equal(message_prepare(m, size), 0);
    char *const out = malloc(*size);
    assert_non_null(out);
    message_encode(m, out, *size);
    return out;
}

static void golden_record_is_written_byte_for_byte(void **state)
{
    char bytes[128];
    size_t size;
    struct message m = golden_message();
    (void)state;
    const struct slice want = hex_bytes(golden_record, bytes, sizeof bytes);
    char *const got = encode(&m, &size);
    assert_int_equal(size, 112);
    assert_int_equal(m.total_size, 112);
    assert_memory_equal(got, want.p, want.n);
    free(got);
}

static void golden_record_is_read_field_by_field(void **state)
{
    char bytes[128], text[64];
    struct message m;
    struct err e = {0};
    (void)state;
    const struct slice in = hex_bytes(golden_record, bytes, sizeof bytes);
    assert_ok(message_decode(in, MESSAGE_CHECK_CRC, &m, &e), &e);
    assert_int_equal(m.total_size, 112);
    assert_int_equal(m.magic, MESSAGE_MAGIC_V1);
    assert_int_equal(m.body_crc, 0x58932AAC);
    assert_int_equal(m.queue_id, 2);
    assert_int_equal(m.flag, 7);
    assert_int_equal(m.queue_offset, 5);
    assert_int_equal(m.phys_offset, 0x1234);
    assert_int_equal(m.sys_flag, 0);
    assert_int_equal(m.born_timestamp, 1700000000000);
    assert_int_equal(m.store_timestamp, 1700000000001);
    assert_int_equal(m.reconsume_times, 1);
    assert_int_equal(m.prepared_offset, 0);
    assert_slice_equal(m.body, "hi");
    assert_slice_equal(m.topic, "T");
    assert_slice_equal(m.properties, "TAGS\1A\2KEYS\1k1 k2\2");
    host_text(&m.born_host, text);
    assert_string_equal(text, "10.0.0.1:4321");
    host_text(&m.store_host, text);
    assert_string_equal(text, "10.0.0.2:10911");
}

static void check_round_trip(struct message m)
{
    size_t size;
    struct message back;
    struct err e = {0};
    char *const bytes = encode(&m, &size);
    assert_ok(message_decode(slice_of(bytes, size), MESSAGE_CHECK_CRC, &back, &e), &e);
    assert_int_equal(back.total_size, size);
    assert_int_equal(back.magic, m.magic);
    assert_int_equal(back.sys_flag, m.sys_flag);
    assert_slices_equal(slice_of(back.body.p, back.body.n), slice_of(back.body.p, m.body.n));
    assert_memory_equal(&back.born_host, &m.born_host, sizeof m.born_host);
    assert_memory_equal(&back.store_host, &m.store_host, sizeof m.store_host);
    assert_int_equal(back.store_timestamp, m.store_timestamp);
    assert_int_equal(back.topic.n, m.topic.n);
    assert_int_equal(back.properties.n, m.properties.n);
    message_patch(bytes, 77, 88, 99);
    assert_ok(message_decode(slice_of(bytes, size), MESSAGE_CHECK_CRC, &back, &e), &e);
    assert_int_equal(back.queue_offset, 77);
    assert_int_equal(back.phys_offset, 88);
    assert_int_equal(back.store_timestamp, 99);
    assert_int_equal(back.born_timestamp, m.born_timestamp);
    assert_memory_equal(&back.store_host, &m.store_host, sizeof m.store_host);
    assert_int_equal(back.properties.n, m.properties.n);
    free(bytes);
}

static void every_form_of_record_round_trips(void **state)
{
    static char long_text[40000];
    (void)state;
    memset(long_text, 'x', sizeof long_text);
    struct message m = golden_message();
    m.body = SLICE_NULL;
    m.properties = SLICE_NULL;
    check_round_trip(m);
    m = golden_message();
    m.born_host = host_at("[2001:db8::1]:5");
    check_round_trip(m);
    m.store_host = host_at("[2001:db8::2]:6");
    check_round_trip(m);
    m.born_host = host_at("1.2.3.4:5");
    m.sys_flag = SYSFLAG_BORN_V6 | SYSFLAG_COMPRESSED; /* the stale host bit is corrected */
    check_round_trip(m);
    for (size_t n = 126; n <= 129; n++) {
        m = golden_message();
        m.topic = slice_of(long_text, n);
        check_round_trip(m);
    }
    m.topic = slice_of(long_text, MESSAGE_TOPIC_LONG_MAX);
    m.properties = slice_of(long_text, MESSAGE_PROPERTIES_MAX);
    m.body = slice_of(long_text, sizeof long_text);
    check_round_trip(m);
}

static void version_follows_the_length_of_the_topic(void **state)
{
    char topic[128];
    size_t size;
    struct message m = golden_message();
    (void)state;
    memset(topic, 't', sizeof topic);
    m.topic = slice_of(topic, 127);
    assert_int_equal(message_prepare(&m, &size), 0);
    assert_int_equal(m.magic, MESSAGE_MAGIC_V1);
    const size_t v1 = size;
    m.topic = slice_of(topic, 128);
    assert_int_equal(message_prepare(&m, &size), 0);
    assert_int_equal(m.magic, MESSAGE_MAGIC_V2);
    assert_int_equal(size, v1 + 2);
}

static void what_does_not_fit_is_refused(void **state)
{
    static char text[40000];
    size_t size = 1;
    (void)state;
    struct message m = golden_message();
    m.topic = slice_of(text, MESSAGE_TOPIC_LONG_MAX + 1);
    assert_int_equal(message_prepare(&m, &size), E_TOOBIG);
    m = golden_message();
    m.properties = slice_of(text, MESSAGE_PROPERTIES_MAX + 1);
    assert_int_equal(message_prepare(&m, &size), E_TOOBIG);
    m = golden_message();
    m.body = slice_of(text, INT32_MAX);
    assert_int_equal(message_prepare(&m, &size), E_TOOBIG);
    m.body.n = SIZE_MAX;
    assert_int_equal(message_prepare(&m, &size), E_TOOBIG);
    assert_int_equal(size, 1);
}

static int decode_copy(struct slice in, int flags)
{
    struct message m;
    char *const exact = dup_bytes(in);
    const int rc = message_decode(slice_of(exact, in.n), flags, &m, NULL);
    free(exact);
    return rc;
}

static void a_record_cut_anywhere_wants_more(void **state)
{
    char bytes[128];
    (void)state;
    const struct slice in = hex_bytes(golden_record, bytes, sizeof bytes);
    for (size_t n = 0; n < in.n; n++)
        assert_int_equal(decode_copy(slice_of(in.p, n), MESSAGE_CHECK_CRC), E_AGAIN);
}

static void damage_is_told_from_truth(void **state)
{
    static const struct {
        size_t at;
        const char *hex;
        int rc;
    } cases[] = {
        {0, "0000006f", E_CORRUPT},  /* one byte less than the fields */
        {0, "0000005a", E_CORRUPT},  /* less than the smallest record */
        {0, "00000000", E_CORRUPT},  {0, "80000070", E_CORRUPT}, {0, "ffffffff", E_CORRUPT},
        {0, "00000071", E_AGAIN},    {0, "7fffffff", E_AGAIN},
        {4, "00000000", E_CORRUPT},  {4, "daa320a8", E_CORRUPT},
        {8, "58932aad", E_CORRUPT},  {8, "d8932aac", E_CORRUPT}, /* the sign bit must be clear */
        {36, "00000010", E_CORRUPT}, {36, "00000020", E_CORRUPT}, /* hosts of another size */
        {84, "00000003", E_CORRUPT}, {84, "ffffffff", E_CORRUPT}, {84, "7fffffff", E_CORRUPT},
        {90, "02", E_CORRUPT},       {90, "ff", E_CORRUPT},
        {92, "0011", E_CORRUPT},     {92, "0013", E_CORRUPT},    {92, "8012", E_CORRUPT},
        {88, "6968", E_CORRUPT}, /* the body */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[128], patch[8];
        const struct slice in = hex_bytes(golden_record, bytes, sizeof bytes);
        const struct slice with = hex_bytes(cases[i].hex, patch, sizeof patch);
        memcpy(bytes + cases[i].at, with.p, with.n);
        const int rc = decode_copy(in, MESSAGE_CHECK_CRC);
        if (rc != cases[i].rc)
            fail_msg("%s at %zu: got %s, want %s", cases[i].hex, cases[i].at, err_name(rc),
                     err_name(cases[i].rc));
    }
}

static void properties_longer_than_java_reads_are_corrupt(void **state)
{
    enum { BEFORE = 92 /* bytes of the golden record in front of its properties */ };
    char bytes[128];
    (void)state;
    hex_bytes(golden_record, bytes, sizeof bytes);
    for (uint32_t n = INT16_MAX; n <= INT16_MAX + 1; n++) {
        struct buf b;
        buf_init(&b, 0);
        buf_add(&b, bytes, BEFORE);
        buf_be16(&b, (uint16_t)n);
        memset(buf_extend(&b, n), 'p', n);
        be32_put(b.p, (uint32_t)b.n);
        assert_int_equal(decode_copy(buf_slice(&b), MESSAGE_CHECK_CRC),
                         n > INT16_MAX ? E_CORRUPT : 0);
        buf_free(&b);
    }
}

static void checksum_is_checked_only_when_asked(void **state)
{
    char bytes[128];
    (void)state;
    const struct slice in = hex_bytes(golden_record, bytes, sizeof bytes);
    bytes[8] ^= 1;
    assert_int_equal(decode_copy(in, 0), 0);
    assert_int_equal(decode_copy(in, MESSAGE_CHECK_CRC), E_CORRUPT);
}

static void blank_records_tell_how_much_they_cover(void **state)
{
    char bytes[8];
    struct message m;
    (void)state;
    const struct slice in = hex_bytes("00001000 cbd43194", bytes, sizeof bytes);
    assert_int_equal(message_decode(in, 0, &m, NULL), E_NOTFOUND);
    assert_int_equal(m.total_size, 4096);
    assert_int_equal(m.magic, MESSAGE_MAGIC_BLANK);
}

/* ---- recorded bodies ---- */

static const char *const record_bodies[] = {"bodies/11-PULL_MESSAGE-response.4.9.7.bin",
                                            "bodies/11-PULL_MESSAGE-response.5.5.0.bin",
                                            "bodies/12-QUERY_MESSAGE-response.4.9.7.bin",
                                            "bodies/12-QUERY_MESSAGE-response.5.5.0.bin",
                                            "bodies/200050-POP_MESSAGE-response.5.5.0.bin",
                                            "bodies/33-VIEW_MESSAGE_BY_ID-response.4.9.7.bin",
                                            "bodies/33-VIEW_MESSAGE_BY_ID-response.5.5.0.bin",
                                            "bodies/361-LITE_PULL_MESSAGE-response.5.5.0.bin",
                                            "bodies/39-CHECK_TRANSACTION_STATE-request.4.9.7.bin",
                                            "bodies/39-CHECK_TRANSACTION_STATE-request.5.5.0.bin"};

/* Records of a body, each decoded and written again; returns how many. */
static int check_body(struct slice body, const char *name)
{
    int n = 0;
    while (body.n) {
        struct message m;
        struct err e = {0};
        size_t size;
        assert_ok(message_decode(body, MESSAGE_CHECK_CRC, &m, &e), &e);
        const int32_t crc = m.body_crc;
        m.body_crc = -1;
        char *const again = encode(&m, &size);
        assert_int_equal(size, m.total_size);
        if (memcmp(again, body.p, size) != 0)
            fail_msg("%s: record %d is not written as it was read", name, n);
        assert_int_equal(crc, be32_get(again + 8));
        free(again);
        body = slice_of(body.p + size, body.n - size);
        n++;
    }
    return n;
}

static void recorded_bodies_are_written_again_byte_for_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof record_bodies / sizeof *record_bodies; i++) {
        const struct slice body = golden_slice(record_bodies[i]);
        assert_true(check_body(body, record_bodies[i]) > 0);
        free_slice(body);
    }
}

static void pull_answers_of_all_conversations_are_written_again_byte_for_byte(void **state)
{
    struct golden g;
    struct err e = {0};
    int n = 0;
    (void)state;
    assert_ok(golden_load("", &g, &e), &e);
    for (size_t i = 0; i < g.n; i++) {
        const struct golden_frame *const f = &g.frames[i];
        const bool pull =
            f->request_code == RC_PULL_MESSAGE || f->request_code == RC_LITE_PULL_MESSAGE;
        if (pull && strcmp(f->kind, "response") == 0)
            n += check_body(frame_of(f->bytes).body, f->file);
    }
    golden_free(&g);
    assert_true(n > 100);
}

static void damaged_bodies_never_crash(void **state)
{
    struct rng rng = test_rng("damaged_bodies");
    (void)state;
    for (size_t i = 0; i < sizeof record_bodies / sizeof *record_bodies; i++) {
        const struct slice body = golden_slice(record_bodies[i]);
        for (int k = 0; k < 2000; k++) {
            char *const copy = dup_bytes(body);
            const size_t n = damage(&rng, copy, body.n);
            char *const exact = dup_bytes(slice_of(copy, n));
            struct slice rest = slice_of(exact, n);
            struct message m;
            while (message_decode(rest, (int)(k & 1), &m, NULL) == 0) {
                assert_true((size_t)m.total_size <= rest.n);
                (void)tags_code(m.properties);
                rest = slice_of(rest.p + m.total_size, rest.n - (size_t)m.total_size);
            }
            free(exact);
            free(copy);
        }
        free_slice(body);
    }
}

/* ---- the checksum property ---- */

static char *sealed(struct slice properties, size_t *size)
{
    struct message m = golden_message();
    m.properties = properties;
    m.prop_crc = true;
    char *const out = encode(&m, size);
    message_patch(out, 5, 0x1234, 1700000000001);
    return out;
}

static void a_checksum_ends_the_record_in_the_form_of_rocketmq(void **state)
{
    (void)state;
    static const struct { struct slice given; const char *stored; } cases[] = {
        {SLICE_LIT("TAGS\1A\2"), "TAGS\1A\2__CRC32#\1"},
        {SLICE_LIT("TAGS\1A"), "TAGS\1A\2__CRC32#\1"}, /* a 4.x client leaves the last separator out */
        {SLICE_LIT(""), "__CRC32#\1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        struct message m;
        struct err e;
        char *const record = sealed(cases[i].given, &size);
        assert_ok(message_decode(slice_of(record, size), MESSAGE_CHECK_CRC, &m, &e), &e);
        const size_t head = strlen(cases[i].stored);
        assert_int_equal(m.properties.n, head + 11);
        assert_memory_equal(m.properties.p, cases[i].stored, head);
        assert_int_equal(m.properties.p[head + 10], 2);
        uint32_t crc = crc32_update(0, record, size - 20) & 0x7FFFFFFF;
        for (size_t d = 0; d < 10; d++, crc /= 10)
            assert_int_equal(m.properties.p[head + d], '0' + crc % 10);
        assert_true(message_has_prop_crc(&m));
        free(record);
    }
}

static void any_changed_byte_of_a_record_with_a_checksum_is_found(void **state)
{
    (void)state;
    size_t size;
    char *const record = sealed(SLICE_LIT("TAGS\1A\2KEYS\1k1 k2\2"), &size);
    struct message m;
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            record[i] = (char)(record[i] ^ 1 << bit);
            const int rc = message_decode(slice_of(record, size), MESSAGE_CHECK_CRC, &m, NULL);
            if (rc == 0)
                fail_msg("bit %d of byte %zu of %zu changed, and nobody saw it", bit, i, size);
            record[i] = (char)(record[i] ^ 1 << bit);
        }
    }
    free(record);
}

static void a_checksum_torn_anywhere_is_found(void **state)
{
    (void)state;
    size_t size;
    char *const record = sealed(SLICE_LIT("TAGS\1A\2"), &size);
    struct message m;
    for (size_t from = 94; from < size; from++) /* where the properties begin */
        for (size_t to = from + 1; to <= size; to++) {
            char *const torn = malloc(size);
            assert_non_null(torn);
            memcpy(torn, record, size);
            memset(torn + from, 0, to - from);
            if (message_decode(slice_of(torn, size), MESSAGE_CHECK_CRC, &m, NULL) != E_CORRUPT)
                fail_msg("zeros from byte %zu to %zu of %zu pass", from, to, size);
            free(torn);
        }
    free(record);
}

/* The end of the body, the topic and the properties together have the form of the property. */
static void what_only_looks_like_the_checksum_property_is_left_alone(void **state)
{
    (void)state;
    size_t size;
    struct err e;
    struct message m = {.body_crc = -1, .born_host = {.len = 4}, .store_host = {.len = 4}, .topic = SLICE_LIT("abc"),
                        .body = SLICE_LIT("x__CRC32#\x01"), .properties = SLICE_LIT("k\1vv\2")};
    char record[200];
    assert_int_equal(message_prepare(&m, &size), 0);
    assert_true(size <= sizeof record);
    message_encode(&m, record, size);
    assert_memory_equal(record + size - 20, "__CRC32#\1", 9);
    message_patch(record, 1, 2, 3);
    assert_ok(message_decode(slice_of(record, size), MESSAGE_CHECK_CRC, &m, &e), &e);
    assert_true(slice_eq_str(m.topic, "abc"));
    assert_false(message_has_prop_crc(&m));
    assert_int_equal(m.phys_offset, 2);
}

/* Known failure 4. The queue offset is the one that gives these bytes that checksum. */
static void a_checksum_of_zero_is_a_checksum(void **state)
{
    (void)state;
    size_t size;
    struct message m;
    struct err e;
    char *const record = sealed(SLICE_NULL, &size);
    /* CRC-32 is affine in the 64 bits of the queue offset: solve for the 31 bits that are stored. */
    uint32_t zero, column[64];
    uint64_t mask[64], offset = 0;
    message_patch(record, 0, 0, 0);
    zero = crc32_update(0, record, size - 20);
    for (int i = 0; i < 64; i++) {
        message_patch(record, (int64_t)(UINT64_C(1) << i), 0, 0);
        column[i] = (crc32_update(0, record, size - 20) ^ zero) & 0x7FFFFFFF;
        mask[i] = UINT64_C(1) << i;
    }
    for (int bit = 0, row = 0; bit < 31; bit++) {
        int pivot = row;
        while (pivot < 64 && !(column[pivot] >> bit & 1))
            pivot++;
        assert_true(pivot < 64);
        const uint32_t c = column[pivot];
        const uint64_t w = mask[pivot];
        column[pivot] = column[row];
        mask[pivot] = mask[row];
        for (int i = row + 1; i < 64; i++)
            if (column[i] >> bit & 1) {
                column[i] ^= c;
                mask[i] ^= w;
            }
        if (zero >> bit & 1) {
            zero ^= c;
            offset ^= w;
        }
        row++;
    }
    message_patch(record, (int64_t)offset, 0, 0);
    assert_int_equal(crc32_update(0, record, size - 20) & 0x7FFFFFFF, 0);
    assert_memory_equal(record + size - 20, "__CRC32#\1" "0000000000\2", 20);
    assert_ok(message_decode(slice_of(record, size), MESSAGE_CHECK_CRC, &m, &e), &e);
    assert_true(message_has_prop_crc(&m));
    record[30] ^= 1;
    assert_int_equal(message_decode(slice_of(record, size), MESSAGE_CHECK_CRC, &m, NULL), E_CORRUPT);
    free(record);
}

static void the_checksum_counts_for_the_limit_of_properties(void **state)
{
    (void)state;
    static char text[MESSAGE_PROPERTIES_MAX];
    struct message m = golden_message();
    size_t size;
    memset(text, 'v', sizeof text);
    m.prop_crc = true;
    m.properties = slice_of(text, MESSAGE_PROPERTIES_MAX - 21); /* and a separator */
    assert_int_equal(message_properties_size(&m), MESSAGE_PROPERTIES_MAX);
    assert_int_equal(message_prepare(&m, &size), 0);
    m.properties.n++;
    assert_int_equal(message_prepare(&m, &size), E_TOOBIG);
    m.prop_crc = false;
    assert_int_equal(message_prepare(&m, &size), 0);
}

static void a_time_to_calculate_with_is_within_its_bounds(void **state)
{
    (void)state;
    static const int64_t times[][2] = {{INT64_MIN, 0},
                                       {-1, 0},
                                       {1700000000001, 1700000000001},
                                       {MESSAGE_TIME_MAX, MESSAGE_TIME_MAX},
                                       {INT64_MAX, MESSAGE_TIME_MAX}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const struct message m = {.store_timestamp = times[i][0]};
        assert_int_equal(message_store_time(&m), times[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_to_calculate_with_is_within_its_bounds),
        cmocka_unit_test(golden_record_is_written_byte_for_byte),
        cmocka_unit_test(golden_record_is_read_field_by_field),
        cmocka_unit_test(every_form_of_record_round_trips),
        cmocka_unit_test(version_follows_the_length_of_the_topic),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_record_cut_anywhere_wants_more),
        cmocka_unit_test(damage_is_told_from_truth),
        cmocka_unit_test(properties_longer_than_java_reads_are_corrupt),
        cmocka_unit_test(checksum_is_checked_only_when_asked),
        cmocka_unit_test(blank_records_tell_how_much_they_cover),
        cmocka_unit_test(a_checksum_ends_the_record_in_the_form_of_rocketmq),
        cmocka_unit_test(any_changed_byte_of_a_record_with_a_checksum_is_found),
        cmocka_unit_test(a_checksum_torn_anywhere_is_found),
        cmocka_unit_test(a_checksum_of_zero_is_a_checksum),
        cmocka_unit_test(what_only_looks_like_the_checksum_property_is_left_alone),
        cmocka_unit_test(the_checksum_counts_for_the_limit_of_properties),
        cmocka_unit_test(recorded_bodies_are_written_again_byte_for_byte),
        cmocka_unit_test(pull_answers_of_all_conversations_are_written_again_byte_for_byte),
        cmocka_unit_test(damaged_bodies_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
