/* The limit program's reader of requests and of its own log; see limit_frame.h. Pure functions: every
 * length is compared with what is there before it is used. */
#include "bench/limit_frame.h"

#include "base/buf.h"
#include "base/crc.h"
#include "bench/rmq.h"
#include "remoting/frame.h"

int limit_request_read(const char *in, size_t n, struct limit_request *out, struct err *e)
{
    struct frame f;
    const int rc = frame_next(in, n, FRAME_MAX, &f, e);
    if (rc != 0)
        return rc;
    out->total = f.total;
    out->header = slice_of(in + f.header_at, f.header_n);
    out->code = rmq_number(out->header, "code");
    out->opaque = rmq_number(out->header, "opaque");
    out->body = slice_of(in + f.body_at, f.body_n);
    if (out->code < 0 || out->opaque < 0)
        return err_set(e, E_PROTO, "a request without code or opaque");
    return 0;
}

int64_t limit_count_part(struct limit_count *c, const char *part, size_t n, struct err *e)
{
    size_t at = 0;
    while (!c->ended && n - at >= LIMIT_RECORD_HEAD) {
        const size_t size = be32_get(part + at), left = n - at - LIMIT_RECORD_HEAD;
        const char *frame = part + at + LIMIT_RECORD_HEAD;
        struct limit_request r;
        c->ended = size == 0;
        if (size > FRAME_MAX + 4)
            return err_set(e, E_CORRUPT, "record %lld: %zu bytes", (long long)c->records, size);
        if (c->ended || size > left)
            break;
        if (limit_request_read(frame, size, &r, e) != 0 || r.total != size)
            return err_set(e, E_CORRUPT, "record %lld is no request", (long long)c->records);
        if (crc32_body(r.body) != be32_get(part + at + 4))
            return err_set(e, E_CORRUPT, "record %lld: checksum", (long long)c->records);
        at += LIMIT_RECORD_HEAD + size;
        c->records++;
    }
    return (int64_t)at;
}
