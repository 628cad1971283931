/* Typed headers: descriptors made from headers.def, and the generic functions that use them.
 *
 * A row F(kind, c_name, "wire", "w", presence, default) becomes one `struct hdr_field`: where the
 * member lies in its struct, what it is called on the wire in either dialect, whether it must be
 * there, and what it is when it is not. Everything below works on descriptors alone; no header has
 * code of its own.
 *
 * Decoding: defaults first, then one walk over the received ext fields. Senders write fields in an
 * order of their own that is nearly always the same (Java's hash order, which for one-letter names
 * is the alphabet), so the search for a name starts behind the previous hit: mostly one comparison
 * a field. Of equal names the last one counts, as in a hash map. A field with a null value counts
 * as absent.
 *
 * Failure modes: a required field that is missing, or a number that is none, gives E_PROTO with
 * header and field name. Nothing allocates.
 *
 * Invariants: at most 64 fields a header (checked below), decoded strings borrow from the ext
 * fields. Runs on any thread. */
#include "proto/hdr.h"

#include "base/log.h"
#include "proto/text.h"

/* The rows of a header come as F(...) F(...) without commas; F turns each into ", (row)", so that
 * FIELDS can pass the header's name to every row: offsetof needs the struct. EXPAND rescans often
 * enough for 26 rows. */
#define EXPAND(...) EXPAND2(EXPAND2(EXPAND2(__VA_ARGS__)))
#define EXPAND2(...) EXPAND1(EXPAND1(EXPAND1(__VA_ARGS__)))
#define EXPAND1(...) EXPAND0(EXPAND0(EXPAND0(__VA_ARGS__)))
#define EXPAND0(...) __VA_ARGS__
#define NOTHING()
#define FIELDS_AGAIN() FIELDS_NEXT
#define FIELDS_NEXT(hdr, row, ...)                                                                 \
    FIELD_OF(hdr, FIELD_ARGS row) __VA_OPT__(FIELDS_AGAIN NOTHING()()(hdr, __VA_ARGS__))
#define FIELDS(hdr, ...) __VA_OPT__(EXPAND(FIELDS_NEXT(hdr, __VA_ARGS__)))
#define FIELD_ARGS(...) __VA_ARGS__
#define FIELD_OF(...) FIELD(__VA_ARGS__)
#define FIELD(hdr, kind, name, wire, wire_short, presence, def)                                    \
    {HDR_KIND_##kind, PRESENCE_##presence, {SLICE_LIT(wire), SLICE_LIT(wire_short)},               \
     offsetof(struct hdr_##hdr, name), (def)},

enum { PRESENCE_OPT = 0, PRESENCE_REQ = 1 };

#define F(...) , (__VA_ARGS__)
#define HDR(name, ...) static const struct hdr_field fields_##name[] = {FIELDS(name __VA_ARGS__)};
#include "proto/headers.def"
#undef HDR
#define HDR(name, ...)                                                                             \
    const struct hdr_desc hdr_desc_##name = {                                                      \
        #name, fields_##name, sizeof fields_##name / sizeof(struct hdr_field),                     \
        sizeof(struct hdr_##name)};                                                                \
    _Static_assert(sizeof fields_##name / sizeof(struct hdr_field) <= 64, "one bit a field");
#include "proto/headers.def"
#undef HDR
#undef F

static void set_default(const struct hdr_field *f, char *at)
{
    switch (f->kind) {
    case HDR_KIND_str: *(struct slice *)(void *)at = SLICE_NULL; break;
    case HDR_KIND_i32: *(int32_t *)(void *)at = (int32_t)f->def; break;
    case HDR_KIND_i64: *(int64_t *)(void *)at = f->def; break;
    case HDR_KIND_flag: *(bool *)at = f->def != 0; break;
    }
}

static int set_value(const struct hdr_field *f, char *at, struct slice value)
{
    switch (f->kind) {
    case HDR_KIND_str: *(struct slice *)(void *)at = value; return 0;
    case HDR_KIND_i32: return slice_i32(value, (int32_t *)(void *)at);
    case HDR_KIND_i64: return slice_i64(value, (int64_t *)(void *)at);
    case HDR_KIND_flag: *(bool *)at = slice_bool(value); return 0;
    }
    return E_INVAL;
}

/* Index of the field called `key`, searching from `hint` round; desc->n when there is none. */
static size_t field_of(const struct hdr_desc *desc, enum hdr_names names, struct slice key,
                       size_t hint)
{
    for (size_t k = 0, i = hint; k < desc->n; k++, i++) {
        if (i >= desc->n)
            i = 0;
        const struct slice wire = hdr_wire_name(&desc->fields[i], names);
        if (wire.n == key.n && wire.p[0] == key.p[0] && memcmp(wire.p, key.p, key.n) == 0)
            return i;
    }
    return desc->n;
}

static int bad_value(const struct hdr_desc *desc, const struct hdr_field *f, struct slice key,
                     struct slice value, int why, struct err *e)
{
    char shown[48];
    return err_set(e, E_PROTO, "header %s: field \"" SLICE_FMT "\" is %s, %s %s-bit %s", desc->name,
                   SLICE_ARG(key), log_quote(value, shown, sizeof shown),
                   why == E_RANGE ? "outside the" : "not a", f->kind == HDR_KIND_i32 ? "32" : "64",
                   why == E_RANGE ? "range" : "decimal number");
}

static int missing_field(const struct hdr_desc *desc, enum hdr_names names, uint64_t seen,
                         struct err *e)
{
    for (size_t i = 0; i < desc->n; i++) {
        const struct hdr_field *f = &desc->fields[i];
        const struct slice wire = hdr_wire_name(f, names);
        if (!f->required || (seen & (UINT64_C(1) << i)))
            continue;
        if (wire.n == f->wire[HDR_LONG].n)
            return err_set(e, E_PROTO, "header %s: required field \"" SLICE_FMT "\" is missing",
                           desc->name, SLICE_ARG(wire));
        return err_set(e, E_PROTO,
                       "header %s: required field \"" SLICE_FMT "\" (" SLICE_FMT ") is missing",
                       desc->name, SLICE_ARG(wire), SLICE_ARG(f->wire[HDR_LONG]));
    }
    return 0;
}

int hdr_decode(const struct hdr_desc *desc, enum hdr_names names, const struct ext_field *ext,
               size_t ext_n, void *out, struct err *e)
{
    char *const base = out;
    for (size_t i = 0; i < desc->n; i++)
        set_default(&desc->fields[i], base + desc->fields[i].offset);
    uint64_t seen = 0;
    size_t hint = 0;
    for (size_t k = 0; k < ext_n; k++) {
        if (!ext[k].key.n)
            continue;
        const size_t i = field_of(desc, names, ext[k].key, hint);
        if (i == desc->n)
            continue;
        const struct hdr_field *f = &desc->fields[i];
        hint = i + 1;
        if (!ext[k].value.p) {
            set_default(f, base + f->offset);
            seen &= ~(UINT64_C(1) << i);
            continue;
        }
        const int rc = set_value(f, base + f->offset, ext[k].value);
        if (rc)
            return bad_value(desc, f, ext[k].key, ext[k].value, rc, e);
        seen |= UINT64_C(1) << i;
    }
    return missing_field(desc, names, seen, e);
}

bool hdr_field_text(const struct hdr_field *f, const void *hdr, char scratch[HDR_SCRATCH],
                    struct slice *out)
{
    const char *at = (const char *)hdr + f->offset;
    int64_t v = 0;
    switch (f->kind) {
    case HDR_KIND_str: *out = *(const struct slice *)(const void *)at; return out->p != NULL;
    case HDR_KIND_i32: v = *(const int32_t *)(const void *)at; break;
    case HDR_KIND_i64: v = *(const int64_t *)(const void *)at; break;
    case HDR_KIND_flag: v = *(const bool *)at; break;
    }
    if (!f->required && v == f->def)
        return false;
    if (f->kind == HDR_KIND_flag)
        *out = v ? SLICE_LIT("true") : SLICE_LIT("false");
    else
        *out = slice_of(scratch, (size_t)(i64_text_put(scratch, v) - scratch));
    return true;
}

const struct hdr_field *hdr_missing(const struct hdr_desc *desc, const void *hdr)
{
    for (size_t i = 0; i < desc->n; i++) {
        const struct hdr_field *f = &desc->fields[i];
        if (f->required && f->kind == HDR_KIND_str &&
            !((const struct slice *)(const void *)((const char *)hdr + f->offset))->p)
            return f;
    }
    return NULL;
}

/* Bytes that need no quotes in a log line. */
static bool is_bare(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '=')
            return false;
    return s.n > 0 && s.n <= 127;
}

void hdr_dump(const struct hdr_desc *desc, const void *hdr, struct buf *out)
{
    const char *gap = "";
    for (size_t i = 0; i < desc->n; i++) {
        const struct hdr_field *f = &desc->fields[i];
        char scratch[HDR_SCRATCH], quoted[160];
        struct slice text;
        if (!hdr_field_text(f, hdr, scratch, &text))
            continue;
        buf_str(out, gap);
        buf_slice_add(out, f->wire[HDR_LONG]);
        buf_char(out, '=');
        if (is_bare(text))
            buf_slice_add(out, text);
        else
            buf_str(out, log_quote(text, quoted, sizeof quoted));
        gap = " ";
    }
}
