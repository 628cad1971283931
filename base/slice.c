/* Borrowed byte strings: compare, trim, cut, parse, copy.
 *
 * Runs on: any thread; pure functions but for slice_dup, which allocates.
 *
 * Happy path: a parser holds one slice of its input and cuts smaller ones off it; nothing is copied
 * until a value must outlive the input (slice_dup, slice_copy).
 *
 * Failure modes: numbers that are not numbers (E_INVAL) or do not fit (E_RANGE), copies that do not
 * fit (E_TOOBIG). Out-parameters are untouched on failure.
 *
 * Invariants: 1. a slice may be {NULL, 0} ("null") or empty with a pointer; both have length 0,
 * only slice_cut tells them apart; 2. no function reads past n, none expects a NUL; 3. character
 * classes are ASCII whatever the locale says. */
#include "base/slice.h"

#include <stdlib.h>

#include "base/err.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

struct slice slice_trim(struct slice s)
{
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool slice_cut(struct slice *rest, char sep, struct slice *head)
{
    if (!rest->p)
        return false;
    const char *at = memchr(rest->p, sep, rest->n);
    if (!at) {
        *head = *rest;
        *rest = SLICE_NULL;
        return true;
    }
    *head = slice_of(rest->p, (size_t)(at - rest->p));
    *rest = slice_of(at + 1, rest->n - head->n - 1);
    return true;
}

int slice_i64(struct slice s, int64_t *out)
{
    size_t i = s.n && s.p[0] == '-';
    bool negative = i == 1;
    if (i == s.n)
        return E_INVAL;
    /* Every character is looked at before the range is judged: "99999999999999999999x" is no
     * number. */
    for (size_t k = i; k < s.n; k++)
        if (s.p[k] < '0' || s.p[k] > '9')
            return E_INVAL;
    int64_t v = 0; /* counts downwards, as the negative half holds one more */
    for (; i < s.n; i++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, s.p[i] - '0', &v))
            return E_RANGE;
    if (!negative && v == INT64_MIN)
        return E_RANGE;
    *out = negative ? v : -v;
    return 0;
}

int slice_i32(struct slice s, int32_t *out)
{
    int64_t v;
    int rc = slice_i64(s, &v);
    if (rc)
        return rc;
    if (v < INT32_MIN || v > INT32_MAX)
        return E_RANGE;
    *out = (int32_t)v;
    return 0;
}

bool slice_bool(struct slice s)
{
    return slice_eq_nocase(s, SLICE_LIT("true"));
}

char *slice_dup(struct slice s)
{
    char *p = s.n < SIZE_MAX ? malloc(s.n + 1) : NULL;
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

int slice_copy(struct slice s, char *dst, size_t cap)
{
    if (s.n >= cap)
        return E_TOOBIG;
    if (s.n)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return 0;
}
