/* The growable byte buffer and the bounds-checked reader.
 *
 * Owns: the heap block of each buffer, until buf_free or buf_take.
 * Runs on: any thread; a buffer belongs to one at a time.
 *
 * Happy path: buf_init, many appends without checks, one look at buf_error, then buf_slice or
 * buf_take. Memory doubles, so n appended bytes cost O(n).
 *
 * Failure modes: out of memory (E_NOMEM) and the buffer's own bound (E_TOOBIG). Either sticks:
 * later appends do nothing, so that a partly built frame can never look complete. buf_clear
 * forgets it.
 *
 * Invariants: 1. n <= cap, and n <= max when max is set; 2. the block always has cap + 1 bytes, so
 * that buf_take can put its NUL without a chance to fail; 3. after an error the content stays as it
 * was before the failed append. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { CAP_MIN = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->error = 0;
}

static int fail(struct buf *b, int code)
{
    b->error = code;
    return code;
}

int buf_reserve(struct buf *b, size_t n)
{
    if (b->error)
        return b->error;
    if (b->p && n <= b->cap - b->n && (!b->max || n <= b->max - b->n))
        return 0;
    size_t need;
    if (__builtin_add_overflow(b->n, n, &need) || need >= PTRDIFF_MAX || (b->max && need > b->max))
        return fail(b, E_TOOBIG);
    size_t cap = b->cap < PTRDIFF_MAX / 2 ? b->cap * 2 : PTRDIFF_MAX - 1;
    if (cap < need)
        cap = need;
    if (cap < CAP_MIN)
        cap = CAP_MIN;
    if (b->max && cap > b->max)
        cap = b->max;
    char *p = realloc(b->p, cap + 1);
    if (!p)
        return fail(b, E_NOMEM);
    b->p = p;
    b->cap = cap;
    return 0;
}

char *buf_extend(struct buf *b, size_t n)
{
    if (buf_reserve(b, n))
        return NULL;
    char *p = b->p + b->n;
    b->n += n;
    return p;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    char *dst = buf_extend(b, n);
    if (dst && n)
        memcpy(dst, p, n);
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        fail(b, E_INVAL);
    else if (!buf_reserve(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again); /* the NUL falls on the spare byte */
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_i64_text(struct buf *b, int64_t v)
{
    char digits[20];
    size_t i = sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--i] = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        digits[--i] = '-';
    buf_add(b, digits + i, sizeof digits - i);
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, sizeof v);
}

void buf_be16(struct buf *b, uint16_t v)
{
    char *p = buf_extend(b, sizeof v);
    if (p)
        be16_put(p, v);
}

void buf_be32(struct buf *b, uint32_t v)
{
    char *p = buf_extend(b, sizeof v);
    if (p)
        be32_put(p, v);
}

void buf_be64(struct buf *b, uint64_t v)
{
    char *p = buf_extend(b, sizeof v);
    if (p)
        be64_put(p, v);
}

void buf_consume(struct buf *b, size_t n)
{
    MQ_ASSERT(n <= b->n);
    b->n -= n;
    if (b->n)
        memmove(b->p, b->p + n, b->n);
}

char *buf_take(struct buf *b, size_t *n)
{
    if (buf_reserve(b, 0)) { /* an empty buffer has no block yet */
        buf_free(b);
        return NULL;
    }
    char *p = b->p;
    p[b->n] = '\0';
    if (n)
        *n = b->n;
    *b = (struct buf){.max = b->max};
    return p;
}

struct slice reader_bytes(struct reader *r, size_t n)
{
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return SLICE_NULL;
    }
    struct slice s = {r->p, n};
    if (n)
        r->p += n;
    return s;
}

uint8_t reader_u8(struct reader *r)
{
    struct slice s = reader_bytes(r, 1);
    return s.p ? (uint8_t)s.p[0] : 0;
}

uint16_t reader_be16(struct reader *r)
{
    struct slice s = reader_bytes(r, 2);
    return s.p ? be16_get(s.p) : 0;
}

uint32_t reader_be32(struct reader *r)
{
    struct slice s = reader_bytes(r, 4);
    return s.p ? be32_get(s.p) : 0;
}

uint64_t reader_be64(struct reader *r)
{
    struct slice s = reader_bytes(r, 8);
    return s.p ? be64_get(s.p) : 0;
}
