#pragma once
/* What the limit program understands of a request. Pure. */
#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

struct limit_request {
    size_t total; /* bytes of the frame */
    int64_t code, opaque;
    struct slice header;
    struct slice body; /* of a send: what is checksummed */
};
/* One request at the head of in[0..n): 0, E_AGAIN when more bytes are needed, E_PROTO when it is none. */
int limit_request_read(const char *in, size_t n, struct limit_request *out,
                       struct err *e) HP_MUST_USE;

/* A record of the limit's log: i32 length of the frame, i32 CRC of its body, the frame. */
enum { LIMIT_RECORD_HEAD = 8 };
/* What was counted of a log so far. Zeroed is the beginning. */
struct limit_count {
    int64_t records;
    bool ended; /* a length of 0: what follows was reserved, not written */
};
/* Counts the whole records at the head of the next part of a log. Returns the bytes they take: the rest
 * belongs to a record that is not complete. E_CORRUPT: a record that is no request or has another CRC. */
int64_t limit_count_part(struct limit_count *c, const char *part, size_t n,
                         struct err *e) HP_MUST_USE;
