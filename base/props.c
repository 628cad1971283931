/* Java .properties text to key-value pairs.
 *
 * Owns: the strings of a struct props until props_free.
 * Runs on: any thread; pure but for memory and props_load's file.
 *
 * Happy path: a logical line is cut off the input (continuation lines joined), its key ends at the
 * first unescaped '=', ':' or blank, one separator and the blanks around it are skipped, the
 * rest is the value. Escapes: \t \n \r \f \uXXXX (UTF-16, surrogate pairs joined, written as
 * UTF-8), and backslash before anything else gives that character.
 *
 * Failure modes: E_INVAL with the line for a line without a key, a NUL byte, a \u escape that is
 * none or half a surrogate pair; E_TOOBIG and the system's errors from props_load; E_NOMEM. *out is
 * then empty.
 *
 * Invariants: 1. keys and values are C strings: a NUL never gets in; 2. items are in file order and
 * keep duplicates, so that the reader can name the line of each.
 *
 * Source: java.util.Properties.load, which reads the configuration files of RocketMQ. */
#include "base/props.h"

#include <stdlib.h>

#include "base/fs.h"

enum { FILE_MAX = 1024 * 1024 };

struct parser {
    const char *p, *end;
    int line; /* of p, 1-based */
    struct err *e;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_eol(char c)
{
    return c == '\n' || c == '\r';
}

static int bad(struct parser *ps, const char *why)
{
    return err_set(ps->e, E_INVAL, "line %d: %s", ps->line, why);
}

static void skip_blanks(struct parser *ps)
{
    while (ps->p < ps->end && is_blank(*ps->p))
        ps->p++;
}

static void skip_eol(struct parser *ps)
{
    if (ps->p == ps->end)
        return;
    if (*ps->p == '\r' && ps->p + 1 < ps->end && ps->p[1] == '\n')
        ps->p++;
    ps->p++;
    ps->line++;
}

static void skip_line(struct parser *ps)
{
    while (ps->p < ps->end && !is_eol(*ps->p))
        ps->p++;
    skip_eol(ps);
}

/* Four hex digits at p. */
static bool hex4(struct parser *ps, uint32_t *out)
{
    *out = 0;
    if (ps->end - ps->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *ps->p++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static void add_utf8(struct buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_u8(b, (uint8_t)c);
    } else if (c < 0x800) {
        buf_u8(b, (uint8_t)(0xC0 | c >> 6));
        buf_u8(b, (uint8_t)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_u8(b, (uint8_t)(0xE0 | c >> 12));
        buf_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
        buf_u8(b, (uint8_t)(0x80 | (c & 0x3F)));
    } else {
        buf_u8(b, (uint8_t)(0xF0 | c >> 18));
        buf_u8(b, (uint8_t)(0x80 | (c >> 12 & 0x3F)));
        buf_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
        buf_u8(b, (uint8_t)(0x80 | (c & 0x3F)));
    }
}

/* Behind "\u". */
static int parse_unicode(struct parser *ps, struct buf *b)
{
    uint32_t c, low;
    if (!hex4(ps, &c))
        return bad(ps, "\\u needs four hexadecimal digits");
    if (c >= 0xD800 && c <= 0xDFFF) {
        bool pair = c < 0xDC00 && ps->end - ps->p >= 6 && ps->p[0] == '\\' && ps->p[1] == 'u';
        if (pair)
            ps->p += 2;
        if (!pair || !hex4(ps, &low) || low < 0xDC00 || low > 0xDFFF)
            return bad(ps, "\\u escape is half of a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    if (!c)
        return bad(ps, "NUL is not allowed");
    add_utf8(b, c);
    return 0;
}

/* Behind a backslash that is not at the end of the input. */
static int parse_escape(struct parser *ps, struct buf *b)
{
    char c = *ps->p;
    if (is_eol(c)) { /* continuation: the next line without its leading blanks */
        skip_eol(ps);
        skip_blanks(ps);
        return 0;
    }
    if (!c)
        return bad(ps, "NUL is not allowed");
    ps->p++;
    if (c == 'u')
        return parse_unicode(ps, b);
    buf_char(b, c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c);
    return 0;
}

/* Up to the end of the logical line, for a key also up to its separator. */
static int parse_text(struct parser *ps, bool key, struct buf *b)
{
    while (ps->p < ps->end && !is_eol(*ps->p)) {
        char c = *ps->p;
        if (key && (is_blank(c) || c == '=' || c == ':'))
            break;
        if (!c)
            return bad(ps, "NUL is not allowed");
        ps->p++;
        if (c != '\\')
            buf_char(b, c);
        else if (ps->p < ps->end) {
            int rc = parse_escape(ps, b);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int parse_pair(struct parser *ps, struct buf *key, struct buf *value)
{
    int rc = parse_text(ps, true, key);
    if (rc)
        return rc;
    if (!key->n)
        return bad(ps, "there is no key before the separator");
    skip_blanks(ps);
    if (ps->p < ps->end && (*ps->p == '=' || *ps->p == ':')) {
        ps->p++;
        skip_blanks(ps);
    }
    rc = parse_text(ps, false, value);
    skip_eol(ps);
    return rc;
}

static int add_item(struct props *out, size_t *cap, struct buf *key, struct buf *value, int line)
{
    if (out->n == *cap) {
        size_t bigger = *cap ? *cap * 2 : 16;
        struct prop *items = reallocarray(out->items, bigger, sizeof *items);
        if (!items)
            return E_NOMEM;
        out->items = items;
        *cap = bigger;
    }
    struct prop item = {buf_take(key, NULL), buf_take(value, NULL), line};
    if (!item.key || !item.value) {
        free(item.key);
        free(item.value);
        return E_NOMEM;
    }
    out->items[out->n++] = item;
    return 0;
}

static int parse_all(struct parser *ps, struct props *out)
{
    struct buf key, value;
    size_t cap = 0;
    int rc = 0;
    buf_init(&key, 0);
    buf_init(&value, 0);
    while (!rc) {
        skip_blanks(ps);
        if (ps->p == ps->end)
            break;
        if (is_eol(*ps->p)) {
            skip_eol(ps);
            continue;
        }
        if (*ps->p == '#' || *ps->p == '!') {
            skip_line(ps);
            continue;
        }
        int line = ps->line;
        rc = parse_pair(ps, &key, &value);
        if (!rc && add_item(out, &cap, &key, &value, line))
            rc = err_set(ps->e, E_NOMEM, "line %d: %s", line, err_text(E_NOMEM));
    }
    buf_free(&key);
    buf_free(&value);
    return rc;
}

int props_parse(struct slice text, struct props *out, struct err *e)
{
    struct parser ps = {.p = text.p, .end = text.n ? text.p + text.n : text.p, .line = 1, .e = e};
    *out = (struct props){0};
    int rc = parse_all(&ps, out);
    if (rc)
        props_free(out);
    return rc;
}

int props_load(const char *path, struct props *out, struct err *e)
{
    char *text;
    size_t n;
    *out = (struct props){0};
    int rc = fs_read_all(&fs_real, path, FILE_MAX, &text, &n, e);
    if (rc)
        return rc;
    rc = props_parse(slice_of(text, n), out, e);
    free(text);
    return rc ? err_wrap(e, rc, "%s", path) : 0;
}

const struct prop *props_get(const struct props *p, const char *key)
{
    for (size_t i = p->n; i-- > 0;)
        if (strcmp(p->items[i].key, key) == 0)
            return &p->items[i];
    return NULL;
}

void props_free(struct props *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    *p = (struct props){0};
}
