#pragma once
/* What the tests of proto/ share: hex vectors, exact-size copies (so that the address sanitizer
 * sees a read one byte too far), golden bodies, random damage. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "proto/command.h"
#include "tests/support/golden.h"
#include "tests/support/seed.h"
#include "tests/support/test.h"

/* Also tells a null slice from an empty one. */
#define assert_slices_equal(got, want)                                                             \
    do {                                                                                           \
        const struct slice g_ = (got), w_ = (want);                                                \
        if (!slice_eq(g_, w_) || !g_.p != !w_.p)                                                   \
            fail_msg("got \"%.*s\"%s, want \"%.*s\"%s", SLICE_ARG(g_), g_.p ? "" : " (null)",      \
                     SLICE_ARG(w_), w_.p ? "" : " (null)");                                        \
    } while (0)

static inline char *dup_bytes(struct slice s)
{
    char *const p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p;
}

/* Bytes of hex text; blanks are skipped. */
static inline struct slice hex_bytes(const char *hex, char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    int high = -1;
    for (; *hex; hex++) {
        const char *const at = strchr(digits, *hex >= 'A' && *hex <= 'F' ? *hex - 'A' + 'a' : *hex);
        if (!at)
            continue;
        if (high < 0) {
            high = (int)(at - digits);
            continue;
        }
        assert_true(n < cap);
        out[n++] = (char)(high * 16 + (int)(at - digits));
        high = -1;
    }
    return slice_of(out, n);
}

/* A file of tests/golden/bodies or tests/golden/config, whole; the caller frees .p. */
static inline struct slice golden_slice(const char *name)
{
    char *p;
    size_t n;
    struct err e = {0};
    assert_ok(golden_file(name, &p, &n, &e), &e);
    return slice_of(p, n);
}

static inline void free_slice(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

struct frame {
    uint8_t type;
    struct slice header, body;
};

static inline struct frame frame_of(struct slice bytes)
{
    assert_true(bytes.n >= 8);
    const uint32_t word = be32_get(bytes.p + 4);
    const size_t header_n = word & 0xFFFFFF;
    assert_int_equal(be32_get(bytes.p), bytes.n - 4);
    assert_true(header_n <= bytes.n - 8);
    return (struct frame){(uint8_t)(word >> 24), slice_of(bytes.p + 8, header_n),
                          slice_of(bytes.p + 8 + header_n, bytes.n - 8 - header_n)};
}

/* Cuts, moves a run, or changes one to three bytes; returns the new length. */
static inline size_t damage(struct rng *r, char *p, size_t n)
{
    if (!n)
        return 0;
    const size_t from = (size_t)rng_below(r, n), to = (size_t)rng_below(r, n);
    switch (rng_below(r, 6)) {
    case 0: return from;
    case 1:
        memmove(p + to, p + from, (size_t)rng_below(r, n - (from > to ? from : to)) + 1);
        return n;
    default:
        for (uint64_t k = rng_below(r, 3) + 1; k; k--)
            p[rng_below(r, n)] = (char)rng_below(r, 256);
        return n;
    }
}
