#include "proto/command.h"

#include <jansson.h>

#include "tests/unit/proto/vectors.h"

/* Encodes, checks the two words, returns the header (in *out). */
static struct frame encode(const struct command_out *c, size_t body_len, struct buf *out)
{
    struct err e = {0};
    buf_init(out, 0);
    assert_ok(command_encode(out, c, body_len, &e), &e);
    assert_int_equal(be32_get(out->p), out->n - 4 + body_len);
    const uint32_t word = be32_get(out->p + 4);
    assert_int_equal(word & 0xFFFFFF, out->n - 8);
    return (struct frame){(uint8_t)(word >> 24), slice_of(out->p + 8, out->n - 8), SLICE_NULL};
}

/* Decodes an exact-size copy, kept in *kept. */
static int decode(struct slice header, uint8_t type, struct command *out, char **kept,
                  struct buf *spill, struct err *e)
{
    *kept = dup_bytes(header);
    return command_decode(*kept, header.n, type, out, spill, e);
}

static const struct hdr_get_routeinfo route_of_t = {.topic = SLICE_LIT("T")};

static void json_header_has_the_bytes_of_java(void **state)
{
    (void)state;
    struct buf b;
    const struct command_out request = {
        .code = 105, .desc = &hdr_desc_get_routeinfo, .hdr = &route_of_t};
    const struct frame f = encode(&request, 0, &b);
    assert_int_equal(f.type, COMMAND_JSON);
    assert_slice_equal(
        f.header, "{\"code\":105,\"extFields\":{\"topic\":\"T\"},\"flag\":0,\"language\":\"CPP\","
                  "\"opaque\":0,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}");
    buf_free(&b);
    const struct ext_field id = {SLICE_LIT("msgId"), SLICE_LIT("x")};
    const struct command_out response = {
        .opaque = 1, .flag = COMMAND_FLAG_RESPONSE, .extra = &id, .extra_n = 1};
    assert_slice_equal(
        encode(&response, 1, &b).header,
        "{\"code\":0,\"extFields\":{\"msgId\":\"x\"},\"flag\":1,\"language\":\"CPP\","
        "\"opaque\":1,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}");
    buf_free(&b);
    const struct command_out bare = {
        .code = -1, .opaque = INT32_MIN, .remark = SLICE_LIT("a\"b\n")};
    assert_slice_equal(
        encode(&bare, 0, &b).header,
        "{\"code\":-1,\"flag\":0,\"language\":\"CPP\",\"opaque\":-2147483648,"
        "\"remark\":\"a\\\"b\\n\",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}");
    buf_free(&b);
}

static const char golden_binary[] =
    "0069 00 01df 00000003 00000000 00000001 72 0000000c 0005 746f706963 "
    "00000001 54";

static void binary_header_has_the_bytes_of_java(void **state)
{
    char bytes[64], *kept;
    struct buf b;
    struct command c;
    struct err e = {0};
    (void)state;
    const struct slice golden = hex_bytes(golden_binary, bytes, sizeof bytes);
    assert_ok(decode(golden, COMMAND_ROCKETMQ, &c, &kept, NULL, &e), &e);
    assert_int_equal(c.code, 105);
    assert_int_equal(c.language, LANGUAGE_JAVA);
    assert_int_equal(c.version, 479);
    assert_int_equal(c.opaque, 3);
    assert_int_equal(c.type, COMMAND_ROCKETMQ);
    assert_slice_equal(c.remark, "r");
    assert_int_equal(c.ext_n, 1);
    assert_slice_equal(command_ext(&c, "topic"), "T");
    free(kept);
    bytes[2] = LANGUAGE_CPP; /* what we say of ourselves */
    be16_put(bytes + 3, MQ_VERSION_OURS);
    const struct command_out out = {.code = 105, .opaque = 3, .type = COMMAND_ROCKETMQ,
                                    .remark = SLICE_LIT("r"), .desc = &hdr_desc_get_routeinfo,
                                    .hdr = &route_of_t};
    const struct frame f = encode(&out, 1, &b);
    assert_int_equal(f.type, COMMAND_ROCKETMQ);
    assert_slices_equal(f.header, golden);
    buf_free(&b);
}

/* ---- every recorded frame ---- */

static struct golden recorded;

static int load_frames(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok(golden_load("", &recorded, &e), &e);
    return 0;
}

static int free_frames(void **state)
{
    (void)state;
    golden_free(&recorded);
    return 0;
}

/* Decodes the i-th frame; false for raw bytes. */
static bool decode_recorded(const struct golden_frame *g, struct command *c, char **kept,
                            struct frame *f)
{
    struct err e = {0};
    if (strcmp(g->kind, "raw") == 0)
        return false;
    *f = frame_of(g->bytes);
    /* without a spill buffer: the scanner itself must take what real clients send */
    assert_ok(decode(f->header, f->type, c, kept, NULL, &e), &e);
    return true;
}

static void every_recorded_frame_decodes_as_its_index_says(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < recorded.n; i++) {
        const struct golden_frame *const g = &recorded.frames[i];
        struct command c;
        struct frame f;
        char *kept;
        if (!decode_recorded(g, &c, &kept, &f))
            continue;
        assert_int_equal(c.code, g->code);
        assert_int_equal(c.opaque, g->opaque);
        assert_int_equal(c.flag, g->flag);
        assert_int_equal(c.type, g->binary_header ? COMMAND_ROCKETMQ : COMMAND_JSON);
        assert_int_equal(f.body.n, g->body_len);
        assert_true(slice_starts(c.remark, slice_str(g->remark))); /* the index cuts long ones */
        assert_int_equal(c.remark.n == 0, g->remark[0] == '\0');
        free(kept);
        n++;
    }
    assert_true(n > 2000);
}

static void replace(struct buf *b, const char *from, const char *to)
{
    char *const text = buf_take(b, NULL);
    char *const at = text ? strstr(text, from) : NULL;
    buf_init(b, 0);
    assert_non_null(text);
    buf_add(b, text, at ? (size_t)(at - text) : strlen(text));
    if (at) {
        buf_str(b, to);
        buf_str(b, at + strlen(from));
    }
    free(text);
}

static void java_headers_are_written_again_byte_for_byte(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < recorded.n; i++) {
        const struct golden_frame *const g = &recorded.frames[i];
        struct command c;
        struct frame f;
        char *kept, version[32];
        if (!decode_recorded(g, &c, &kept, &f))
            continue;
        const bool java =
            f.type == COMMAND_JSON && memmem(f.header.p, f.header.n, "serializeTypeCurrentRPC", 23);
        if (java) {
            struct buf ours, theirs;
            const struct command_out out = {.code = c.code, .opaque = c.opaque, .flag = c.flag,
                                            .remark = c.remark, .extra = c.ext, .extra_n = c.ext_n};
            const struct slice header = encode(&out, f.body.n, &ours).header;
            buf_init(&theirs, 0);
            buf_slice_add(&theirs, f.header);
            snprintf(version, sizeof version, "\"version\":%d}", c.version);
            replace(&theirs, version, "\"version\":513}");
            replace(&theirs, "\"language\":\"JAVA\"", "\"language\":\"CPP\"");
            replace(&theirs, "\"extFields\":{},", ""); /* we leave an empty map out */
            assert_slices_equal(header, buf_slice(&theirs));
            buf_free(&theirs);
            buf_free(&ours);
            n++;
        }
        free(kept);
    }
    assert_true(n > 1500);
}

static void check_same_command(const struct command *a, const struct command *b)
{
    assert_int_equal(a->code, b->code);
    assert_int_equal(a->opaque, b->opaque);
    assert_int_equal(a->flag, b->flag);
    if (a->remark.n || b->remark.n)
        assert_slices_equal(a->remark, b->remark);
    size_t k = 0;
    for (size_t i = 0; i < a->ext_n; i++) {
        if (!a->ext[i].value.p)
            continue;
        assert_true(k < b->ext_n);
        assert_slices_equal(a->ext[i].key, b->ext[k].key);
        assert_slices_equal(a->ext[i].value, b->ext[k].value);
        k++;
    }
    assert_int_equal(k, b->ext_n);
}

static void every_recorded_frame_survives_both_serialisations(void **state)
{
    (void)state;
    for (size_t i = 0; i < recorded.n; i++) {
        struct command c, again;
        struct frame f;
        char *kept, *kept_again;
        if (!decode_recorded(&recorded.frames[i], &c, &kept, &f))
            continue;
        for (uint8_t type = COMMAND_JSON; type <= COMMAND_ROCKETMQ; type++) {
            struct buf b;
            struct err e = {0};
            const struct command_out out = {.code = c.code,
                                            .opaque = c.opaque,
                                            .flag = c.flag,
                                            .type = type,
                                            .remark = c.remark,
                                            .extra = c.ext,
                                            .extra_n = c.ext_n};
            if (type == COMMAND_ROCKETMQ && c.code > INT16_MAX)
                continue;
            const struct frame ours = encode(&out, f.body.n, &b);
            assert_ok(decode(ours.header, type, &again, &kept_again, NULL, &e), &e);
            check_same_command(&c, &again);
            assert_int_equal(again.version, MQ_VERSION_OURS);
            assert_int_equal(again.language, LANGUAGE_CPP);
            free(kept_again);
            buf_free(&b);
        }
        free(kept);
    }
}

static void dump(const struct hdr_desc *desc, const void *hdr, struct buf *out)
{
    buf_init(out, 0);
    hdr_dump(desc, hdr, out);
    buf_char(out, '\0');
    assert_int_equal(buf_error(out), 0);
}

/* Typed header -> our frame -> typed header gives the same values. */
static void check_typed(const struct hdr_desc *desc, enum hdr_names names, const struct command *c)
{
    _Alignas(16) char hdr[512], again[512];
    struct command back;
    struct err e = {0};
    struct buf b, text, text_again;
    char *kept;
    assert_true(desc->size <= sizeof hdr);
    assert_ok(hdr_decode(desc, names, c->ext, c->ext_n, hdr, &e), &e);
    const struct command_out out = {.code = c->code,
                                    .opaque = c->opaque,
                                    .flag = c->flag,
                                    .type = c->type,
                                    .desc = desc,
                                    .names = names,
                                    .hdr = hdr};
    const struct frame f = encode(&out, 0, &b);
    assert_ok(decode(f.header, f.type, &back, &kept, NULL, &e), &e);
    assert_ok(hdr_decode(desc, names, back.ext, back.ext_n, again, &e), &e);
    dump(desc, hdr, &text);
    dump(desc, again, &text_again);
    assert_string_equal(text_again.p, text.p);
    buf_free(&text);
    buf_free(&text_again);
    buf_free(&b);
    free(kept);
}

static void recorded_headers_fit_our_descriptors(void **state)
{
    size_t requests = 0, responses = 0;
    (void)state;
    for (size_t i = 0; i < recorded.n; i++) {
        const struct golden_frame *const g = &recorded.frames[i];
        struct command c;
        struct frame f;
        char *kept;
        if (!decode_recorded(g, &c, &kept, &f))
            continue;
        const struct code_row *const row = code_row_of(g->request_code);
        const bool response = c.flag & COMMAND_FLAG_RESPONSE;
        if (row && !response) {
            assert_string_equal(row->name, g->name);
            check_typed(row->request, row->names, &c);
            requests++;
        } else if (row && c.code == RESP_SUCCESS && (row->code != RC_HEART_BEAT || c.ext_n)) {
            check_typed(row->response, HDR_LONG, &c);
            responses++;
        }
        free(kept);
    }
    assert_in_range(requests, 1000, SIZE_MAX);
    assert_in_range(responses, 800, SIZE_MAX);
}

/* ---- bad input ---- */

static const char sample[] =
    "{\"code\":310,\"extFields\":{\"a\":\"g\",\"i\":\"K\\u0001v\\u0002\",\"d\":4},"
    "\"flag\":0,\"language\":\"JAVA\",\"opaque\":253,\"remark\":\"r\\n\","
    "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";

static void headers_cut_at_every_byte_are_refused(void **state)
{
    char bytes[64], *kept;
    (void)state;
    const struct slice headers[2] = {SLICE_LIT(sample),
                                     hex_bytes(golden_binary, bytes, sizeof bytes)};
    for (uint8_t type = COMMAND_JSON; type <= COMMAND_ROCKETMQ; type++) {
        for (size_t n = 0; n < headers[type].n; n++) {
            struct command c;
            struct buf spill;
            struct err e = {0};
            buf_init(&spill, 0);
            assert_code(decode(slice_of(headers[type].p, n), type, &c, &kept, &spill, &e), E_PROTO,
                        &e);
            assert_true(e.text[0] != '\0');
            free(kept);
            buf_free(&spill);
        }
    }
}

static void damaged_headers_never_crash(void **state)
{
    struct rng rng = test_rng("damaged_headers");
    (void)state;
    for (size_t i = 0; i < recorded.n; i += 5) {
        if (strcmp(recorded.frames[i].kind, "raw") == 0)
            continue;
        const struct frame f = frame_of(recorded.frames[i].bytes);
        for (int k = 0; k < 8; k++) {
            struct command c;
            struct buf spill, again;
            char *kept, *const copy = dup_bytes(f.header);
            const size_t n = damage(&rng, copy, f.header.n);
            buf_init(&spill, 0);
            buf_init(&again, 0);
            if (decode(slice_of(copy, n), f.type, &c, &kept, &spill, NULL) == 0) {
                const struct command_out out = {.code = c.code, .remark = c.remark, .extra = c.ext,
                                                .extra_n = c.ext_n};
                assert_int_equal(command_encode(&again, &out, 0, NULL), 0);
            }
            free(kept);
            free(copy);
            buf_free(&spill);
            buf_free(&again);
        }
    }
}

static void binary_lengths_are_not_believed(void **state)
{
    static const struct {
        const char *hex, *part;
    } cases[] = {
        {"0069 00 01df 00000003 00000000 00000000 000000", "at least 21"},
        {"0069 00 01df 00000003 00000000 ffffffff 00000000", "remark of 4294967295"},
        {"0069 00 01df 00000003 00000000 00000001 00000000", "ext fields of 0 bytes"},
        {"0069 00 01df 00000003 00000000 00000000 7fffffff", "ext fields of 2147483647"},
        {"0069 00 01df 00000003 00000000 00000000 00000001 00", "field 1 is cut off"},
        {"0069 00 01df 00000003 00000000 00000000 00000006 ffff 00000000", "field 1 is cut off"},
        {"0069 00 01df 00000003 00000000 00000000 00000007 0001 6b 80000000", "field 1 is cut off"},
        {"0069 00 01df 00000003 00000000 00000000 0000000e 0001 6b 00000000 0001 6b 00000001",
         "field 2 is cut off"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[64], *kept;
        struct command c;
        struct err e = {0};
        const struct slice in = hex_bytes(cases[i].hex, bytes, sizeof bytes);
        const int rc = decode(in, COMMAND_ROCKETMQ, &c, &kept, NULL, &e);
        free(kept);
        assert_code(rc, E_PROTO, &e);
        assert_contains(e.text, cases[i].part);
    }
}

static void binary_oddities_are_read_as_java_reads_them(void **state)
{
    char bytes[64], *kept;
    struct command c;
    struct err e = {0};
    (void)state;
    /* code 200050 cut to 16 bits, a negative one, an unknown language, an empty value, spare bytes
     * */
    const struct slice in =
        hex_bytes("8001 63 ffff ffffffff 00000003 00000000 00000007 0001 6b 00000000 ee", bytes,
                  sizeof bytes);
    assert_ok(decode(in, COMMAND_ROCKETMQ, &c, &kept, NULL, &e), &e);
    assert_int_equal(c.code, -32767);
    assert_int_equal(c.language, LANGUAGE_OTHER);
    assert_int_equal(c.version, -1);
    assert_int_equal(c.opaque, -1);
    assert_null(c.remark.p);
    assert_slice_equal(command_ext(&c, "k"), "");
    assert_non_null(command_ext(&c, "k").p);
    free(kept);
}

static void limits_are_told(void **state)
{
    struct command c;
    struct err e = {0};
    char byte = '{';
    (void)state;
    assert_code(command_decode(&byte, 1, 2, &c, NULL, &e), E_PROTO, &e);
    assert_contains(e.text, "serialize type 2");
    assert_code(command_decode(&byte, COMMAND_HEADER_MAX + 1, COMMAND_JSON, &c, NULL, &e), E_TOOBIG,
                &e);
    assert_code(command_decode(&byte, 1, COMMAND_JSON, &c, NULL, &e), E_PROTO, &e);
    assert_contains(e.text, "at byte 1 of 1");
    struct buf many;
    buf_init(&many, 0);
    for (int i = 0; i < 13; i++)
        buf_u8(&many, 0);
    buf_be32(&many, 0);
    buf_be32(&many, (COMMAND_EXT_MAX + 1) * 7);
    for (int i = 0; i <= COMMAND_EXT_MAX; i++)
        buf_add(&many, "\0\1k\0\0\0\0", 7);
    assert_code(command_decode(many.p, many.n, COMMAND_ROCKETMQ, &c, NULL, &e), E_TOOBIG, &e);
    for (uint32_t key_n = INT16_MAX; key_n <= INT16_MAX + 1;
         key_n++) { /* Java reads a signed length */
        many.n = 17;
        buf_be32(&many, 2 + key_n + 4);
        buf_be16(&many, (uint16_t)key_n);
        memset(buf_extend(&many, key_n), 'k', key_n);
        buf_be32(&many, 0);
        assert_code(command_decode(many.p, many.n, COMMAND_ROCKETMQ, &c, NULL, &e),
                    key_n > INT16_MAX ? E_PROTO : 0, &e);
    }
    buf_free(&many);
}

static void encoding_refuses_what_a_peer_could_not_read(void **state)
{
    struct buf b;
    struct err e = {0};
    (void)state;
    buf_init(&b, 0);
    buf_str(&b, "before");
    struct command_out c = {.code = 310};
    assert_code(command_encode(&b, &c, FRAME_MAX, &e), E_TOOBIG, &e);
    assert_code(command_encode(&b, &c, SIZE_MAX, &e), E_TOOBIG, &e);
    c = (struct command_out){.code = 200050, .type = COMMAND_ROCKETMQ};
    assert_code(command_encode(&b, &c, 0, &e), E_RANGE, &e);
    c = (struct command_out){.type = 7};
    assert_code(command_encode(&b, &c, 0, &e), E_INVAL, &e);
    const struct hdr_consumer_group empty = {0};
    c = (struct command_out){.desc = &hdr_desc_consumer_group, .hdr = &empty};
    assert_code(command_encode(&b, &c, 0, &e), E_INVAL, &e);
    assert_contains(e.text, "consumerGroup");
    char *const huge = calloc(COMMAND_HEADER_MAX, 1);
    c = (struct command_out){.type = COMMAND_ROCKETMQ,
                             .remark = slice_of(huge, COMMAND_HEADER_MAX)};
    assert_code(command_encode(&b, &c, 0, &e), E_TOOBIG, &e);
    free(huge);
    assert_slice_equal(buf_slice(&b), "before");
    b.max = 20;
    c = (struct command_out){.code = 1};
    assert_code(command_encode(&b, &c, 0, &e), E_TOOBIG, &e);
    assert_slice_equal(buf_slice(&b), "before");
    buf_free(&b);
}

static void the_largest_frame_fits(void **state)
{
    struct buf b;
    (void)state;
    const struct command_out c = {.code = 310};
    const size_t header_n = encode(&c, 0, &b).header.n;
    buf_clear(&b);
    assert_int_equal(command_encode(&b, &c, FRAME_MAX - 8 - header_n, NULL), 0);
    assert_int_equal(be32_get(b.p), FRAME_MAX - 4);
    assert_int_equal(command_encode(&b, &c, FRAME_MAX - 8 - header_n + 1, NULL), E_TOOBIG);
    buf_free(&b);
}

static void headers_without_set_fields_are_an_empty_map(void **state)
{
    struct buf b;
    const struct hdr_heartbeat_resp nothing = {0};
    struct command_out c = {.desc = &hdr_desc_heartbeat_resp, .hdr = &nothing};
    (void)state;
    const struct slice with = encode(&c, 0, &b).header;
    assert_non_null(memmem(with.p, with.n, "\"extFields\":{}", 14));
    buf_free(&b);
    c = (struct command_out){.desc = &hdr_desc_none, .hdr = &nothing};
    const struct slice without = encode(&c, 0, &b).header;
    assert_null(memmem(without.p, without.n, "extFields", 9));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_header_has_the_bytes_of_java),
        cmocka_unit_test(binary_header_has_the_bytes_of_java),
        cmocka_unit_test(every_recorded_frame_decodes_as_its_index_says),
        cmocka_unit_test(java_headers_are_written_again_byte_for_byte),
        cmocka_unit_test(every_recorded_frame_survives_both_serialisations),
        cmocka_unit_test(recorded_headers_fit_our_descriptors),
        cmocka_unit_test(headers_cut_at_every_byte_are_refused),
        cmocka_unit_test(damaged_headers_never_crash),
        cmocka_unit_test(binary_lengths_are_not_believed),
        cmocka_unit_test(binary_oddities_are_read_as_java_reads_them),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(encoding_refuses_what_a_peer_could_not_read),
        cmocka_unit_test(the_largest_frame_fits),
        cmocka_unit_test(headers_without_set_fields_are_an_empty_map),
    };
    return cmocka_run_group_tests(tests, load_frames, free_frames);
}
