/* The JSON header of a frame: a one-pass scanner on the hot path, jansson for the rest.
 *
 * Every message costs a header each way, and a general parser that builds a tree takes more than
 * ten times as long for one (bench/proto_bench.c). The scanner reads the text once, left to right,
 * and keeps slices of it:
 *
 *   {"code":310,"extFields":{"a":"group", ... },"flag":0,"language":"JAVA","opaque":7, ... }
 *    ~~~~~~ top_member       ~~~ ext_member
 *
 * Members may come in any order, with white space; scalars of unknown members are skipped.
 *
 * It never changes a byte until the closing brace has been seen: strings with escapes are checked
 * and remembered in bit masks, and resolved in place afterwards (text only shrinks). So whenever it
 * meets something it does not take - single quotes, nested values, numbers that are not plain
 * integers, malformed UTF-8, escapes that make no character - it stops with JSON_HEADER_ODD and
 * jansson gets the original bytes. Where the scanner says yes, jansson gives the same answer; a
 * fuzz target checks that.
 *
 * The slow reader copies its strings into the caller's `spill` buffer. When jansson refuses the
 * text, one more try is made after `relax` has put names and single-quoted strings into double
 * quotes.
 *
 * Runs on: any thread; no state. Failure modes: E_PROTO (where), E_TOOBIG (too many fields),
 * E_NOMEM.
 * Invariants: 1. ext_n <= COMMAND_EXT_MAX <= 64 = bits of a mask; 2. no read outside text[0, n);
 * 3. of equal members the last one counts: a repeated ext key stays in the list twice, and all who
 * look into the list (hdr_decode, command_ext) take the last. */
#include "proto/json_header.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "proto/text.h"

_Static_assert(COMMAND_EXT_MAX <= 64, "one bit an ext field");

struct scan {
    const char *p, *end;
    uint64_t escaped_keys, escaped_values; /* by ext index */
    bool escaped_remark;
};

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

/* Takes `c`, with white space on both sides. */
static bool take(struct scan *s, char c)
{
    if (s->p < s->end && *s->p != c)
        skip_space(s);
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    if (s->p < s->end && *s->p <= ' ')
        skip_space(s);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    const int a = hex_digit(p[0]), b = hex_digit(p[1]), c = hex_digit(p[2]), d = hex_digit(p[3]);
    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

/* Bytes of the escape at p (the backslash), and its character in *cp; 0, *cp untouched, when it is
 * none or stands for no character (U+0000, half a surrogate pair). */
static size_t escape_at(const char *p, const char *end, uint32_t *cp)
{
    if (end - p < 2)
        return 0;
    switch (p[1]) {
    case '"': case '\\': case '/': *cp = (unsigned char)p[1]; return 2;
    case 'b': *cp = '\b'; return 2;
    case 'f': *cp = '\f'; return 2;
    case 'n': *cp = '\n'; return 2;
    case 'r': *cp = '\r'; return 2;
    case 't': *cp = '\t'; return 2;
    case 'u': break;
    default: return 0;
    }
    const int unit = hex4(p + 2, end);
    if (unit <= 0 || (unit >= 0xDC00 && unit <= 0xDFFF))
        return 0;
    if (unit < 0xD800 || unit > 0xDBFF) {
        *cp = (uint32_t)unit;
        return 6;
    }
    const int low = end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *cp = 0x10000 + (((uint32_t)unit - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return 12;
}

/* The rest of a string whose opening quote has been read. */
static bool scan_string(struct scan *s, struct slice *out, bool *escaped)
{
    const char *p = s->p;
    *escaped = false;
    for (;;) {
        p += json_plain_run(p, s->end);
        if (p >= s->end || (unsigned char)*p < 0x20)
            break;
        if (*p == '"') {
            *out = slice_of(s->p, (size_t)(p - s->p));
            s->p = p + 1;
            return true;
        }
        uint32_t cp = UTF8_BAD;
        *escaped |= *p == '\\';
        const size_t n = *p == '\\' ? escape_at(p, s->end, &cp) : utf8_step(p, s->end, &cp);
        if (cp == UTF8_BAD)
            break;
        p += n;
    }
    s->p = p;
    return false;
}

/* A plain integer of at most 18 digits, as its text. */
static bool scan_integer(struct scan *s, struct slice *text)
{
    const char *p = s->p;
    if (p < s->end && *p == '-')
        p++;
    const char *const digits = p;
    while (p < s->end && *p >= '0' && *p <= '9')
        p++;
    const size_t n = (size_t)(p - digits);
    const bool fraction = p < s->end && (*p == '.' || *p == 'e' || *p == 'E');
    if (n == 0 || n > 18 || fraction || (*digits == '0' && p - s->p > 1))
        return false;
    *text = slice_of(s->p, (size_t)(p - s->p));
    s->p = p;
    return true;
}

static bool scan_i32(struct scan *s, int32_t *out)
{
    struct slice text;
    return scan_integer(s, &text) && slice_i32(text, out) == 0;
}

static bool scan_word(struct scan *s, struct slice word)
{
    if ((size_t)(s->end - s->p) < word.n || memcmp(s->p, word.p, word.n) != 0)
        return false;
    s->p += word.n;
    return true;
}

/* Any scalar as text: a string without its quotes, a number or boolean as written, null as null. */
static bool scan_scalar(struct scan *s, struct slice *out, bool *escaped)
{
    const char *const start = s->p;
    *escaped = false;
    if (s->p >= s->end)
        return false;
    switch (*s->p) {
    case '"': s->p++; return scan_string(s, out, escaped);
    case 't':
        *out = slice_of(start, 4);
        return scan_word(s, SLICE_LIT("true"));
    case 'f':
        *out = slice_of(start, 5);
        return scan_word(s, SLICE_LIT("false"));
    case 'n':
        *out = SLICE_NULL;
        return scan_word(s, SLICE_LIT("null"));
    default: return scan_integer(s, out);
    }
}

static bool scan_key(struct scan *s, struct slice *key, bool *escaped)
{
    if (s->p >= s->end || *s->p != '"')
        return false;
    s->p++;
    return scan_string(s, key, escaped) && take(s, ':');
}

static bool ext_member(struct scan *s, struct command *out)
{
    bool escaped_key, escaped_value;
    if (out->ext_n == COMMAND_EXT_MAX)
        return false;
    struct ext_field *f = &out->ext[out->ext_n];
    if (!scan_key(s, &f->key, &escaped_key) || !scan_scalar(s, &f->value, &escaped_value))
        return false;
    s->escaped_keys |= (uint64_t)escaped_key << out->ext_n;
    s->escaped_values |= (uint64_t)escaped_value << out->ext_n;
    out->ext_n++;
    return true;
}

/* "{" member { "," member } "}" */
static bool scan_object(struct scan *s, bool (*member)(struct scan *, struct command *),
                        struct command *out)
{
    if (!take(s, '{'))
        return false;
    if (take(s, '}'))
        return true;
    do {
        if (!member(s, out))
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

static bool scan_ext(struct scan *s, struct command *out)
{
    out->ext_n = 0; /* a repeated member replaces the earlier one */
    s->escaped_keys = s->escaped_values = 0;
    return scan_word(s, SLICE_LIT("null")) || scan_object(s, ext_member, out);
}

static uint8_t language_of_ordinal(int64_t v)
{
    enum { LANGUAGE_LAST = 13 };
    return v >= 0 && v <= LANGUAGE_LAST ? (uint8_t)v : LANGUAGE_OTHER;
}

static bool scan_language(struct scan *s, struct command *out)
{
    struct slice text;
    bool escaped = false;
    int32_t ordinal;
    if (s->p < s->end && *s->p == '"') {
        s->p++;
        if (!scan_string(s, &text, &escaped) || escaped)
            return false;
        out->language = language_of_name(text);
        return true;
    }
    if (!scan_i32(s, &ordinal))
        return false;
    out->language = language_of_ordinal(ordinal);
    return true;
}

static bool top_member(struct scan *s, struct command *out)
{
    struct slice key, skipped;
    bool escaped;
    if (!scan_key(s, &key, &escaped) || escaped)
        return false;
    switch (key.n) {
    case 4:
        if (memcmp(key.p, "code", 4) == 0)
            return scan_i32(s, &out->code);
        if (memcmp(key.p, "flag", 4) == 0)
            return scan_i32(s, &out->flag);
        break;
    case 6:
        if (memcmp(key.p, "opaque", 6) == 0)
            return scan_i32(s, &out->opaque);
        if (memcmp(key.p, "remark", 6) == 0)
            return s->p < s->end && (*s->p == '"' || *s->p == 'n') &&
                   scan_scalar(s, &out->remark, &s->escaped_remark);
        break;
    case 7:
        if (memcmp(key.p, "version", 7) == 0)
            return scan_i32(s, &out->version);
        break;
    case 8:
        if (memcmp(key.p, "language", 8) == 0)
            return scan_language(s, out);
        break;
    case 9:
        if (memcmp(key.p, "extFields", 9) == 0)
            return scan_ext(s, out);
        break;
    default: break;
    }
    return scan_scalar(s, &skipped, &escaped);
}

static char *utf8_put(char *w, uint32_t cp)
{
    if (cp < 0x80) {
        *w++ = (char)cp;
        return w;
    }
    if (cp < 0x800) {
        *w++ = (char)(0xC0 | (cp >> 6));
    } else {
        if (cp < 0x10000) {
            *w++ = (char)(0xE0 | (cp >> 12));
        } else {
            *w++ = (char)(0xF0 | (cp >> 18));
            *w++ = (char)(0x80 | ((cp >> 12) & 0x3F));
        }
        *w++ = (char)(0x80 | ((cp >> 6) & 0x3F));
    }
    *w++ = (char)(0x80 | (cp & 0x3F));
    return w;
}

/* Resolves the escapes of *s, a string inside the writable text; scan_string has checked them. */
static void unescape(char *text, struct slice *s)
{
    char *const start = text + (s->p - text);
    const char *const end = start + s->n;
    const char *r = memchr(start, '\\', s->n);
    if (!r)
        return;
    char *w = start + (r - start);
    while (r < end) {
        if (*r != '\\') {
            *w++ = *r++;
            continue;
        }
        uint32_t cp = 0;
        r += escape_at(r, end, &cp);
        w = utf8_put(w, cp);
    }
    s->n = (size_t)(w - start);
}

static void command_reset(struct command *out)
{
    out->code = out->opaque = out->flag = out->version = 0;
    out->language = LANGUAGE_JAVA;
    out->type = COMMAND_JSON;
    out->remark = SLICE_NULL;
    out->ext_n = 0;
}

int json_header_scan(char *text, size_t n, struct command *out, size_t *odd_at)
{
    *odd_at = 0;
    if (!n)
        return JSON_HEADER_ODD;
    struct scan s = {.p = text, .end = text + n};
    command_reset(out);
    if (!scan_object(&s, top_member, out) || s.p != s.end) {
        *odd_at = (size_t)(s.p - text);
        return JSON_HEADER_ODD;
    }
    if (s.escaped_remark && out->remark.p)
        unescape(text, &out->remark);
    for (; s.escaped_keys; s.escaped_keys &= s.escaped_keys - 1)
        unescape(text, &out->ext[__builtin_ctzll(s.escaped_keys)].key);
    for (; s.escaped_values; s.escaped_values &= s.escaped_values - 1)
        unescape(text, &out->ext[__builtin_ctzll(s.escaped_values)].value);
    return 0;
}

uint8_t language_of_name(struct slice name)
{
    static const struct slice names[] = {
        SLICE_LIT("JAVA"), SLICE_LIT("CPP"), SLICE_LIT("DOTNET"), SLICE_LIT("PYTHON"),
        SLICE_LIT("DELPHI"), SLICE_LIT("ERLANG"), SLICE_LIT("RUBY"), SLICE_LIT("OTHER"),
        SLICE_LIT("HTTP"), SLICE_LIT("GO"), SLICE_LIT("PHP"), SLICE_LIT("OMS"), SLICE_LIT("RUST"),
        SLICE_LIT("NODE_JS")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq_nocase(name, names[i]))
            return (uint8_t)i;
    return LANGUAGE_OTHER;
}

/* ---- the slow reader ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$';
}

static void relax_single_quoted(struct slice text, size_t *at, struct buf *out)
{
    size_t i = *at + 1;
    buf_char(out, '"');
    for (; i < text.n && text.p[i] != '\''; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n) {
            if (text.p[++i] != '\'')
                buf_char(out, '\\');
        } else if (text.p[i] == '"') {
            buf_char(out, '\\');
        }
        buf_char(out, text.p[i]);
    }
    buf_char(out, '"');
    *at = i + 1;
}

/* A word is a member name when a colon follows; else a value: true, false, null or a number. */
static void relax_word(struct slice text, size_t *at, struct buf *out)
{
    size_t i = *at;
    while (i < text.n && is_name_char(text.p[i]))
        i++;
    const struct slice word = slice_of(text.p + *at, i - *at);
    size_t colon = i;
    while (colon < text.n && (text.p[colon] == ' ' || text.p[colon] == '\t'))
        colon++;
    const bool name = colon < text.n && text.p[colon] == ':';
    if (name)
        json_text_add(out, word);
    else
        buf_slice_add(out, word);
    *at = i;
}

/* Rewrites names without quotes, and names and strings in single quotes, as JSON. */
static void relax(struct slice text, struct buf *out)
{
    size_t i = 0;
    while (i < text.n) {
        const char c = text.p[i];
        if (c == '\'') {
            relax_single_quoted(text, &i, out);
        } else if (is_name_char(c)) {
            relax_word(text, &i, out);
        } else if (c == '"') {
            size_t end = i + 1;
            while (end < text.n && text.p[end] != '"')
                end += text.p[end] == '\\' ? 2 : 1;
            end = end < text.n ? end + 1 : text.n;
            buf_add(out, text.p + i, end - i);
            i = end;
        } else {
            buf_char(out, c);
            i++;
        }
    }
}

static int parse_tolerant(struct slice text, json_t **root, struct err *e)
{
    struct err first = {0};
    const int rc = json_parse(text, root, &first);
    if (rc != E_PROTO) {
        if (rc && e)
            *e = first;
        return rc;
    }
    struct buf relaxed;
    buf_init(&relaxed, 0);
    relax(text, &relaxed);
    int again = buf_error(&relaxed);
    if (!again)
        again = json_parse(buf_slice(&relaxed), root, NULL);
    buf_free(&relaxed);
    if (again && e)
        *e = first; /* its position is one in the text that was received */
    return again;
}

static int member_i32(const json_t *root, const char *key, int32_t *out, struct err *e)
{
    const json_t *v = json_object_get(root, key);
    int64_t n = 0;
    if (!v || json_is_null(v)) {
        *out = 0;
        return 0;
    }
    if (json_is_string(v)) {
        if (slice_i64(slice_of(json_string_value(v), json_string_length(v)), &n))
            return err_set(e, E_PROTO, "header member \"%s\" is a string that is no number", key);
    } else if (json_is_integer(v)) {
        n = json_integer_value(v);
    } else {
        return err_set(e, E_PROTO, "header member \"%s\" is not an integer", key);
    }
    if (n < INT32_MIN || n > INT32_MAX)
        return err_set(e, E_PROTO, "header member \"%s\" is outside the 32-bit range", key);
    *out = (int32_t)n;
    return 0;
}

/* Appends the text that an ext value travels as when it is a string. */
static int value_text_add(struct buf *spill, const json_t *v)
{
    char real[32];
    switch (json_typeof(v)) {
    case JSON_STRING: buf_add(spill, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: buf_i64_text(spill, json_integer_value(v)); break;
    case JSON_TRUE: buf_str(spill, "true"); break;
    case JSON_FALSE: buf_str(spill, "false"); break;
    case JSON_REAL: /* the shortest text that reads back as the same number */
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(real, sizeof real, "%.*g", digits, json_real_value(v));
            if (strtod(real, NULL) == json_real_value(v))
                break;
        }
        buf_str(spill, real);
        break;
    default: return json_write(v, spill);
    }
    return buf_error(spill);
}

/* Offsets into spill while it may still move. */
struct spilled {
    size_t key, key_n, value, value_n;
    bool null;
};

static int spill_ext(json_t *ext, struct spilled *at, size_t *n, struct buf *spill, struct err *e)
{
    const char *key;
    json_t *v;
    *n = 0;
    if (!ext || json_is_null(ext))
        return 0;
    if (!json_is_object(ext))
        return err_set(e, E_PROTO, "header member \"extFields\" is not an object");
    if (json_object_size(ext) > COMMAND_EXT_MAX)
        return err_set(e, E_TOOBIG, "header has %zu ext fields, at most %d are taken",
                       json_object_size(ext), COMMAND_EXT_MAX);
    json_object_foreach(ext, key, v) {
        struct spilled *s = &at[(*n)++];
        s->key = spill->n;
        buf_str(spill, key);
        s->key_n = spill->n - s->key;
        s->value = spill->n;
        s->null = json_is_null(v);
        const int rc = s->null ? buf_error(spill) : value_text_add(spill, v);
        if (rc)
            return err_set(e, rc, "header field %zu", *n);
        s->value_n = spill->n - s->value;
    }
    return 0;
}

static int read_scalars(const json_t *root, struct command *out, struct err *e)
{
    int rc = member_i32(root, "code", &out->code, e);
    if (!rc)
        rc = member_i32(root, "opaque", &out->opaque, e);
    if (!rc)
        rc = member_i32(root, "flag", &out->flag, e);
    if (!rc)
        rc = member_i32(root, "version", &out->version, e);
    const json_t *language = json_object_get(root, "language");
    if (json_is_string(language))
        out->language = language_of_name(
            slice_of(json_string_value(language), json_string_length(language)));
    else if (json_is_integer(language))
        out->language = language_of_ordinal(json_integer_value(language));
    return rc;
}

static int read_tree(const json_t *root, struct command *out, struct buf *spill, struct err *e)
{
    struct spilled at[COMMAND_EXT_MAX];
    if (!json_is_object(root))
        return err_set(e, E_PROTO, "header is not a JSON object");
    int rc = read_scalars(root, out, e);
    if (!rc)
        rc = spill_ext(json_object_get(root, "extFields"), at, &out->ext_n, spill, e);
    if (rc)
        return rc;
    const json_t *remark = json_object_get(root, "remark");
    const bool has_remark = remark && !json_is_null(remark);
    const size_t remark_at = spill->n;
    if (has_remark)
        rc = value_text_add(spill, remark);
    if (!rc)
        rc = buf_reserve(spill, 0); /* a block even when every string is empty */
    if (rc)
        return err_set(e, rc, "header strings");
    for (size_t i = 0; i < out->ext_n; i++) {
        out->ext[i].key = slice_of(spill->p + at[i].key, at[i].key_n);
        out->ext[i].value =
            at[i].null ? SLICE_NULL : slice_of(spill->p + at[i].value, at[i].value_n);
    }
    if (has_remark)
        out->remark = slice_of(spill->p + remark_at, spill->n - remark_at);
    return 0;
}

int json_header_parse(struct slice text, struct command *out, struct buf *spill, struct err *e)
{
    json_t *root = NULL;
    command_reset(out);
    int rc = parse_tolerant(text, &root, e);
    if (rc)
        return rc;
    rc = read_tree(root, out, spill, e);
    json_decref(root);
    return rc;
}
