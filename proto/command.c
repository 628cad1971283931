/* Remoting commands: header bytes to `struct command`, and `struct command_out` to header bytes.
 *
 * Frame, all integers big-endian:
 *
 *   0  i32 length of everything behind this word (4 + header + body)
 *   4  u8 serialize type (0 JSON, 1 binary), u24 header length
 *   8  header
 *   .. body, to the end of the frame
 *
 * Binary header (type 1):
 *
 *   0  i16 code      2  u8 language    3  i16 version    5  i32 opaque    9  i32 flag
 *  13  i32 length of remark, remark (0: null)
 *  ..  i32 length of all ext fields, then each: i16 key length, key, i32 value length, value
 *
 * JSON header (type 0): see json_header.c. We write members in alphabetical order without white
 * space and leave null members out, which is byte for byte what the Java side writes for the same
 * content, except that its ext fields come in hash order and ours in the order of the descriptor.
 *
 * Encoding bounds the size first and then writes into one extension of the caller's buffer, so that
 * an answer costs no other allocation. Ext values are always strings: Go's client refuses anything
 * else.
 *
 * Failure modes: E_PROTO (bad header; where), E_TOOBIG (too many fields, frame over FRAME_MAX),
 * E_RANGE (a code that 16 bits of a binary header cannot hold), E_INVAL (a required field of our
 * own header is null: a bug of the caller that the peer must not have to find), E_NOMEM.
 * On failure the output buffer holds what it held before. Any thread; no state. */
#include "proto/command.h"

#include "proto/json_header.h"
#include "proto/text.h"

enum { FRAME_WORDS = 8, BINARY_FIXED = 21, LANGUAGE_LAST = 13, MQ_LANGUAGE_OURS = LANGUAGE_CPP };

/* ---- decoding ---- */

static int decode_json(char *header, size_t n, struct command *out, struct buf *spill,
                       struct err *e)
{
    size_t odd_at;
    if (json_header_scan(header, n, out, &odd_at) == 0)
        return 0;
    if (!spill)
        return err_set(e, E_PROTO, "JSON header: unusual text at byte %zu of %zu", odd_at, n);
    const int rc = json_header_parse(slice_of(header, n), out, spill, e);
    return rc ? err_wrap(e, rc, "JSON header") : 0;
}

/* One ext field of a binary header; false when its lengths lie. */
static bool binary_field(struct reader *r, struct ext_field *f)
{
    const uint16_t key_n = reader_be16(r);
    f->key = reader_bytes(r, key_n);
    f->value = reader_bytes(r, reader_be32(r));
    return !r->bad && key_n <= INT16_MAX;
}

static int decode_binary(struct slice in, struct command *out, struct err *e)
{
    struct reader r = reader_of(in);
    if (in.n < BINARY_FIXED)
        return err_set(e, E_PROTO, "binary header: %zu bytes, at least %d are needed", in.n,
                       BINARY_FIXED);
    out->type = COMMAND_ROCKETMQ;
    out->code = (int16_t)reader_be16(&r);
    const uint8_t language = reader_u8(&r);
    out->language = language <= LANGUAGE_LAST ? language : LANGUAGE_OTHER;
    out->version = (int16_t)reader_be16(&r);
    out->opaque = (int32_t)reader_be32(&r);
    out->flag = (int32_t)reader_be32(&r);
    const uint32_t remark_n = reader_be32(&r);
    const struct slice remark = reader_bytes(&r, remark_n);
    if (r.bad)
        return err_set(e, E_PROTO, "binary header: remark of %u bytes in a header of %zu", remark_n,
                       in.n);
    out->remark = remark_n ? remark : SLICE_NULL;
    const uint32_t ext_bytes = reader_be32(&r);
    const struct slice ext = reader_bytes(&r, ext_bytes);
    if (r.bad) /* bytes behind the ext fields are ignored, as in Java */
        return err_set(e, E_PROTO, "binary header: ext fields of %u bytes in a header of %zu",
                       ext_bytes, in.n);
    out->ext_n = 0;
    for (struct reader x = reader_of(ext); reader_left(&x);) {
        if (out->ext_n == COMMAND_EXT_MAX)
            return err_set(e, E_TOOBIG, "binary header: more than %d ext fields", COMMAND_EXT_MAX);
        if (!binary_field(&x, &out->ext[out->ext_n]))
            return err_set(e, E_PROTO, "binary header: ext field %zu is cut off", out->ext_n + 1);
        out->ext_n++;
    }
    return 0;
}

int command_decode(char *header, size_t n, uint8_t type, struct command *out, struct buf *spill,
                   struct err *e)
{
    if (n > COMMAND_HEADER_MAX)
        return err_set(e, E_TOOBIG, "header of %zu bytes, at most %d are taken", n,
                       COMMAND_HEADER_MAX);
    switch (type) {
    case COMMAND_JSON: return decode_json(header, n, out, spill, e);
    case COMMAND_ROCKETMQ: return decode_binary(slice_of(header, n), out, e);
    default:
        return err_set(e, E_PROTO, "unknown serialize type %u: 0 is JSON, 1 is the binary header",
                       type);
    }
}

struct slice command_ext(const struct command *c, const char *key)
{
    const struct slice wanted = slice_str(key);
    for (size_t i = c->ext_n; i-- > 0;)
        if (slice_eq(c->ext[i].key, wanted))
            return c->ext[i].value;
    return SLICE_NULL;
}

/* ---- encoding ---- */

struct field_iter { /* fields of the descriptor that are present, then the extra ones */
    const struct command_out *c;
    size_t i;
    char scratch[HDR_SCRATCH];
    struct slice key, value;
    bool plain_key, plain_value; /* need no escapes */
};

static bool next_field(struct field_iter *it)
{
    const size_t desc_n = it->c->desc && it->c->hdr ? it->c->desc->n : 0;
    while (it->i < desc_n) {
        const struct hdr_field *f = &it->c->desc->fields[it->i++];
        if (!hdr_field_text(f, it->c->hdr, it->scratch, &it->value))
            continue;
        it->key = hdr_wire_name(f, it->c->names);
        it->plain_key = true;
        it->plain_value = f->kind != HDR_KIND_str;
        return true;
    }
    while (it->i - desc_n < it->c->extra_n) {
        const struct ext_field *x = &it->c->extra[it->i++ - desc_n];
        if (!x->key.n || !x->value.p)
            continue;
        it->key = x->key;
        it->value = x->value;
        it->plain_key = it->plain_value = false;
        return true;
    }
    return false;
}

/* A header class without a set field still gives an empty map, as in Java: only "none" gives no
 * map. */
static bool has_ext(const struct command_out *c)
{
    return (c->desc && c->hdr && c->desc->n) || c->extra_n;
}

static inline char *put(char *p, const char *s, size_t n)
{
    memcpy(p, s, n);
    return p + n;
}
#define PUT_LIT(p, lit) put((p), (lit), sizeof(lit) - 1)

enum {
    JSON_FIXED = sizeof "{\"code\":,\"extFields\":{},\"flag\":,\"language\":\"CPP\",\"opaque\":,"
                        "\"remark\":,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":}"
};

/* At least json_text_size; what is short is not read for it: six bytes is the longest escape. */
static size_t text_bound(struct slice s)
{
    enum { SHORT = 64, ESCAPE_MAX = 6 };
    return s.n <= SHORT ? ESCAPE_MAX * s.n + 2 : json_text_size(s);
}

static size_t json_bound(const struct command_out *c)
{
    size_t n = JSON_FIXED + 4 * I64_TEXT_MAX + (c->remark.p ? text_bound(c->remark) : 0);
    const size_t desc_n = c->desc && c->hdr ? c->desc->n : 0;
    for (size_t i = 0; i < desc_n; i++) {
        const struct hdr_field *f = &c->desc->fields[i];
        n += hdr_wire_name(f, c->names).n + I64_TEXT_MAX + 6;
        if (f->kind == HDR_KIND_str)
            n += text_bound(*(const struct slice *)(const void *)((const char *)c->hdr + f->offset));
    }
    for (size_t i = 0; i < c->extra_n; i++)
        n += text_bound(c->extra[i].key) + text_bound(c->extra[i].value) + 2;
    return n;
}

static char *plain_text_put(char *p, struct slice s)
{
    *p++ = '"';
    p = put(p, s.p, s.n);
    *p++ = '"';
    return p;
}

static char *json_ext_put(char *p, const struct command_out *c)
{
    p = PUT_LIT(p, ",\"extFields\":{");
    const char *const first = p;
    for (struct field_iter it = {.c = c}; next_field(&it);) {
        if (p != first)
            *p++ = ',';
        p = it.plain_key ? plain_text_put(p, it.key) : json_text_put(p, it.key);
        *p++ = ':';
        p = it.plain_value ? plain_text_put(p, it.value) : json_text_put(p, it.value);
    }
    *p++ = '}';
    return p;
}

static char *json_put(char *p, const struct command_out *c)
{
    p = PUT_LIT(p, "{\"code\":");
    p = i64_text_put(p, c->code);
    if (has_ext(c))
        p = json_ext_put(p, c);
    p = PUT_LIT(p, ",\"flag\":");
    p = i64_text_put(p, c->flag);
    p = PUT_LIT(p, ",\"language\":\"CPP\",\"opaque\":");
    p = i64_text_put(p, c->opaque);
    if (c->remark.p) {
        p = PUT_LIT(p, ",\"remark\":");
        p = json_text_put(p, c->remark);
    }
    p = PUT_LIT(p, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    p = i64_text_put(p, MQ_VERSION_OURS);
    *p++ = '}';
    return p;
}

static size_t binary_bound(const struct command_out *c)
{
    size_t n = BINARY_FIXED + c->remark.n;
    for (struct field_iter it = {.c = c}; next_field(&it);)
        n += 2 + it.key.n + 4 + it.value.n;
    return n;
}

static char *be16_next(char *p, uint16_t v)
{
    be16_put(p, v);
    return p + 2;
}

static char *be32_next(char *p, uint32_t v)
{
    be32_put(p, v);
    return p + 4;
}

static char *binary_put(char *p, const struct command_out *c)
{
    p = be16_next(p, (uint16_t)c->code);
    *p++ = MQ_LANGUAGE_OURS;
    p = be16_next(p, MQ_VERSION_OURS);
    p = be32_next(p, (uint32_t)c->opaque);
    p = be32_next(p, (uint32_t)c->flag);
    p = be32_next(p, (uint32_t)c->remark.n);
    if (c->remark.n)
        p = put(p, c->remark.p, c->remark.n);
    char *const ext_size = p;
    p += 4;
    for (struct field_iter it = {.c = c}; next_field(&it);) {
        p = be16_next(p, (uint16_t)it.key.n);
        p = put(p, it.key.p, it.key.n);
        p = be32_next(p, (uint32_t)it.value.n);
        if (it.value.n)
            p = put(p, it.value.p, it.value.n);
    }
    be32_put(ext_size, (uint32_t)(p - ext_size - 4));
    return p;
}

static int check_out(const struct command_out *c, struct err *e)
{
    const struct hdr_field *missing = c->desc && c->hdr ? hdr_missing(c->desc, c->hdr) : NULL;
    if (missing)
        return err_set(e, E_INVAL, "header %s: required field \"" SLICE_FMT "\" is null",
                       c->desc->name, SLICE_ARG(missing->wire[HDR_LONG]));
    if (c->type == COMMAND_JSON)
        return 0;
    if (c->type != COMMAND_ROCKETMQ)
        return err_set(e, E_INVAL, "unknown serialize type %u", c->type);
    if (c->code < INT16_MIN || c->code > INT16_MAX)
        return err_set(e, E_RANGE, "code %d does not fit a binary header: send it as JSON",
                       c->code);
    for (size_t i = 0; i < c->extra_n; i++)
        if (c->extra[i].key.n > INT16_MAX)
            return err_set(e, E_TOOBIG, "ext field name of %zu bytes", c->extra[i].key.n);
    return 0;
}

int command_encode(struct buf *out, const struct command_out *c, size_t body_len, struct err *e)
{
    const int rc = check_out(c, e);
    if (rc)
        return rc;
    const size_t bound = c->type == COMMAND_JSON ? json_bound(c) : binary_bound(c);
    char *const frame = buf_extend(out, FRAME_WORDS + bound);
    if (!frame)
        return err_set(e, buf_error(out), "header of at most %zu bytes", bound);
    char *const header = frame + FRAME_WORDS;
    const char *const end = c->type == COMMAND_JSON ? json_put(header, c) : binary_put(header, c);
    const size_t header_n = (size_t)(end - header);
    if (header_n > COMMAND_HEADER_MAX || body_len > FRAME_MAX - FRAME_WORDS - header_n) {
        out->n -= FRAME_WORDS + bound;
        return err_set(e, E_TOOBIG,
                       "frame with a header of %zu and a body of %zu bytes, at most %d in all",
                       header_n, body_len, FRAME_MAX);
    }
    out->n -= bound - header_n;
    be32_put(frame, (uint32_t)(4 + header_n + body_len));
    be32_put(frame + 4, ((uint32_t)c->type << 24) | (uint32_t)header_n);
    return 0;
}
