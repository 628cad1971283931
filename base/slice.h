#pragma once
/* A borrowed run of bytes: never freed through the slice, not NUL-terminated. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE_NULL ((struct slice){NULL, 0})
#define SLICE_LIT(lit) ((struct slice){(lit), sizeof(lit) - 1})

static inline struct slice slice_of(const char *p, size_t n) { return (struct slice){p, n}; }
static inline struct slice slice_str(const char *s) { return (struct slice){s, s ? strlen(s) : 0}; }
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool slice_eq_str(struct slice a, const char *s) { return slice_eq(a, slice_str(s)); }
static inline bool slice_starts(struct slice a, struct slice prefix)
{
    return prefix.n == 0 || (a.n >= prefix.n && memcmp(a.p, prefix.p, prefix.n) == 0);
}
bool slice_eq_nocase(struct slice a, struct slice b); /* ASCII case only */
struct slice slice_trim(struct slice s);              /* without ASCII white space at both ends */
/* Cuts the text before the first `sep` off *rest into *head; false when *rest is exhausted (null).
 * */
bool slice_cut(struct slice *rest, char sep, struct slice *head);

/* Decimal text to number: optional '-', digits only, the whole slice, range-checked.
 * E_INVAL (not a number), E_RANGE. */
int slice_i64(struct slice s, int64_t *out);
int slice_i32(struct slice s, int32_t *out);
/* "true" in any case is true, anything else false, as Java's Boolean.parseBoolean. */
bool slice_bool(struct slice s);
/* Heap copy with a NUL at the end; NULL when memory is out. The caller frees. */
char *slice_dup(struct slice s);
/* Copies into a fixed buffer with a NUL; E_TOOBIG when it does not fit (dst untouched). */
int slice_copy(struct slice s, char *dst, size_t cap);
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)(s).n, (s).p
