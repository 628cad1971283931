/* Text codecs of the wire protocol: UTF-8 decoding step by step, JSON string output, decimal
 * output.
 *
 * Owns no state; any thread. Strings in this protocol are almost always plain ASCII, so loops skip
 * runs of it (json_plain_run) and look at single characters only in between.
 *
 * JSON output escapes only what RFC 8259 demands ('"', '\\' and bytes below 0x20). The property
 * string with its 0x01 and 0x02 separators is the one thing that is escaped all the time.
 *
 * Failure: there is none. Malformed UTF-8 becomes U+FFFD, since a peer's strict JSON parser must be
 * able to read what we write whatever bytes a third party gave us.
 *
 * Invariant: json_text_put writes exactly json_text_size bytes. */
#include "proto/text.h"

static const char replacement[3] = {'\xEF', '\xBF', '\xBD'}; /* U+FFFD */

static bool is_continuation(const char *p, const char *end)
{
    return p < end && ((unsigned char)*p & 0xC0) == 0x80;
}

/* Three bytes; p[0] is 0xE0..0xEF. An encoded surrogate is bad as a whole, as Java decodes it. */
static size_t utf8_step3(const char *p, const char *end, uint32_t *cp)
{
    const unsigned char lead = (unsigned char)p[0];
    if (!is_continuation(p + 1, end) || (lead == 0xE0 && (unsigned char)p[1] < 0xA0))
        return 1;
    if (!is_continuation(p + 2, end))
        return 2;
    const uint32_t v = ((uint32_t)(lead & 0x0F) << 12) |
                       ((uint32_t)((unsigned char)p[1] & 0x3F) << 6) | ((unsigned char)p[2] & 0x3F);
    if (v < 0xD800 || v > 0xDFFF)
        *cp = v;
    return 3;
}

static size_t utf8_step4(const char *p, const char *end, uint32_t *cp)
{
    const unsigned char lead = (unsigned char)p[0];
    if (!is_continuation(p + 1, end) || (lead == 0xF0 && (unsigned char)p[1] < 0x90) ||
        (lead == 0xF4 && (unsigned char)p[1] > 0x8F))
        return 1;
    if (!is_continuation(p + 2, end))
        return 2;
    if (!is_continuation(p + 3, end))
        return 3;
    *cp = ((uint32_t)(lead & 0x07) << 18) | ((uint32_t)((unsigned char)p[1] & 0x3F) << 12) |
          ((uint32_t)((unsigned char)p[2] & 0x3F) << 6) | ((unsigned char)p[3] & 0x3F);
    return 4;
}

size_t utf8_step(const char *p, const char *end, uint32_t *cp)
{
    const unsigned char lead = (unsigned char)*p;
    *cp = UTF8_BAD;
    if (lead < 0x80) {
        *cp = lead;
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        if (!is_continuation(p + 1, end))
            return 1;
        *cp = ((uint32_t)(lead & 0x1F) << 6) | ((unsigned char)p[1] & 0x3F);
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF)
        return utf8_step3(p, end, cp);
    if (lead >= 0xF0 && lead <= 0xF4)
        return utf8_step4(p, end, cp);
    return 1;
}

char *i64_text_put(char *p, int64_t v)
{
    char digits[I64_TEXT_MAX];
    char *d = digits + sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--d = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        *--d = '-';
    const size_t n = (size_t)(digits + sizeof digits - d);
    memcpy(p, d, n);
    return p + n;
}

/* Second letter of a two-byte escape; 'u' for the six-byte form; 0 for bytes that stand for
 * themselves. */
static char escape_letter(unsigned char c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\t': return 't';
    case '\n': return 'n';
    case '\f': return 'f';
    case '\r': return 'r';
    default: return c < 0x20 ? 'u' : 0;
    }
}

static char *unicode_escape_put(char *p, uint32_t unit)
{
    static const char hex[] = "0123456789ABCDEF";
    *p++ = '\\';
    *p++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *p++ = hex[(unit >> shift) & 0xF];
    return p;
}

size_t json_text_size(struct slice s)
{
    const char *p = s.p, *const end = s.n ? s.p + s.n : s.p;
    size_t n = s.n + 2;
    while ((p += json_plain_run(p, end)) < end) {
        uint32_t cp;
        const size_t step = utf8_step(p, end, &cp);
        if (cp == UTF8_BAD)
            n += sizeof replacement - step;
        else if (cp < 0x80)
            n += escape_letter((unsigned char)cp) == 'u' ? 5 : 1;
        p += step;
    }
    return n;
}

static char *escape_put(char *out, unsigned char c)
{
    const char letter = escape_letter(c);
    if (letter == 'u')
        return unicode_escape_put(out, c);
    *out++ = '\\';
    *out++ = letter;
    return out;
}

static char *bytes_put(char *out, const char *p, size_t n)
{
    memcpy(out, p, n);
    return out + n;
}

char *json_text_put(char *out, struct slice s)
{
    const char *p = s.p, *const end = s.n ? s.p + s.n : s.p;
    *out++ = '"';
    while (p < end) {
        const size_t plain = json_plain_run(p, end);
        out = bytes_put(out, p, plain);
        p += plain;
        if (p == end)
            break;
        uint32_t cp;
        const size_t step = utf8_step(p, end, &cp);
        if (cp < 0x80)
            out = escape_put(out, (unsigned char)cp);
        else if (cp == UTF8_BAD)
            out = bytes_put(out, replacement, sizeof replacement);
        else
            out = bytes_put(out, p, step);
        p += step;
    }
    *out++ = '"';
    return out;
}

void json_text_add(struct buf *out, struct slice s)
{
    char *p = buf_extend(out, json_text_size(s));
    if (p)
        json_text_put(p, s);
}

void json_ascii_add(struct buf *out, struct slice s)
{
    const char *p = s.p, *const end = s.n ? s.p + s.n : s.p;
    buf_char(out, '"');
    while (p < end) {
        const size_t plain = json_plain_run(p, end);
        buf_add(out, p, plain);
        p += plain;
        if (p == end)
            break;
        uint32_t cp;
        char text[12], *q = text;
        p += utf8_step(p, end, &cp);
        if (cp == UTF8_BAD)
            cp = 0xFFFD;
        if (cp < 0x80) {
            q = escape_put(q, (unsigned char)cp);
        } else if (cp < 0x10000) {
            q = unicode_escape_put(q, cp);
        } else {
            q = unicode_escape_put(q, 0xD800 + ((cp - 0x10000) >> 10));
            q = unicode_escape_put(q, 0xDC00 + ((cp - 0x10000) & 0x3FF));
        }
        buf_add(out, text, (size_t)(q - text));
    }
    buf_char(out, '"');
}
