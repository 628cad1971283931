#pragma once
/* Small text codecs the protocol needs on its hot paths: UTF-8 steps, JSON strings, decimal
 * numbers. Pure, any thread. The `_put` functions write to memory the caller has measured. */
#include "base/buf.h"
#include "base/slice.h"

#define UTF8_BAD UINT32_MAX

/* The character at the start of [p, end), p < end: returns the bytes it takes (1 to 4), *cp = its
 * code point, or UTF8_BAD for a malformed sequence (then as many bytes as Java replaces by one
 * U+FFFD). */
size_t utf8_step(const char *p, const char *end, uint32_t *cp);

/* The bytes at the start of [p, end) that stand for themselves in a JSON string: ASCII without
 * control bytes, quotes and backslashes. Eight at a time: the lowest marked bit is that of the
 * first other byte. */
static inline size_t json_plain_run(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    const char *const start = p;
    for (; end - p >= 8; p += 8) {
        uint64_t x;
        memcpy(&x, p, sizeof x);
        const uint64_t quote = x ^ (ones * '"'), slash = x ^ (ones * '\\');
        const uint64_t other = ((quote - ones) | (slash - ones) | (x - ones * 0x20) | x) & high;
        if (other)
            return (size_t)(p - start) + (size_t)__builtin_ctzll(other) / 8;
    }
    while (p < end && (signed char)*p >= 0x20 && *p != '"' && *p != '\\')
        p++;
    return (size_t)(p - start);
}

enum { I64_TEXT_MAX = 20 }; /* "-9223372036854775808" */
char *i64_text_put(char *p, int64_t v); /* returns the end */

/* A JSON string with its quotes: escapes '"', '\\' and control bytes, keeps UTF-8 as it is,
 * replaces malformed UTF-8 by U+FFFD, so that the output is always valid JSON. */
size_t json_text_size(struct slice s); /* exactly what json_text_put writes */
char *json_text_put(char *p, struct slice s);
void json_text_add(struct buf *out, struct slice s);
/* The same in pure ASCII: other characters become \uXXXX, as the standard route body has them. */
void json_ascii_add(struct buf *out, struct slice s);
