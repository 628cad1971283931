#pragma once
/* A growable byte buffer with big-endian writers, and a bounds-checked big-endian reader.
 *
 * A buffer remembers the first failure (out of memory, or its `max` reached): later appends do
 * nothing, and buf_error tells at the end, so that encoders need one check. */
#include "base/err.h"
#include "base/slice.h"

struct buf {
    char *p;
    size_t n, cap;
    size_t max; /* 0 = no bound; otherwise appends beyond it fail with E_TOOBIG */
    int error;
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory, forgets content and error */
static inline int buf_error(const struct buf *b) { return b->error; }
static inline struct slice buf_slice(const struct buf *b) { return (struct slice){b->p, b->n}; }

char *buf_extend(struct buf *b, size_t n); /* n uninitialised bytes at the end, NULL on failure */
int buf_reserve(struct buf *b, size_t n);  /* room for n more without moving; 0 or the error */
void buf_add(struct buf *b, const void *p, size_t n);
static inline void buf_slice_add(struct buf *b, struct slice s) { buf_add(b, s.p, s.n); }
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) HP_PRINTF(2, 3);
void buf_i64_text(struct buf *b, int64_t v); /* decimal text */
void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
/* Gives the memory away (NUL-terminated when non-NULL); the buffer is empty again. */
char *buf_take(struct buf *b, size_t *n);

static inline uint16_t be16_get(const void *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline uint32_t be32_get(const void *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t be64_get(const void *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline void be16_put(void *p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
static inline void be32_put(void *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
static inline void be64_put(void *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }

/* Reader: a failed read sets `bad` and yields zeros / null slices; check once at the end. */
struct reader {
    const char *p, *end;
    bool bad;
};
static inline struct reader reader_of(struct slice s)
{
    return (struct reader){s.p, s.n ? s.p + s.n : s.p, false};
}
static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->p); }
uint8_t reader_u8(struct reader *r);
uint16_t reader_be16(struct reader *r);
uint32_t reader_be32(struct reader *r);
uint64_t reader_be64(struct reader *r);
struct slice reader_bytes(struct reader *r, size_t n);
