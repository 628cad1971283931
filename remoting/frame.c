/* Cuts frames off a byte stream.
 *
 * Owns: nothing. Runs on: any thread; pure.
 *
 *   offset  size  field
 *   0       4     length, big-endian, signed: bytes after this word = 4 + header + body
 *   4       1     serialize type: 0 JSON, 1 binary
 *   5       3     header length, big-endian
 *   8       h     header
 *   8 + h   ...   body, the rest of the frame
 *
 * Every check is made as soon as its bytes are there, so a lying length costs its sender the
 * connection after 4 or 8 bytes and never costs us a buffer. Nothing is added to a number from the
 * peer before it is compared: `length` is at most INT32_MAX after the sign check and `max` bounds it
 * further, so `length + 4` cannot wrap. */
#include "remoting/frame.h"

#include "base/buf.h"
#include "proto/command.h"

enum { LENGTH_WORD = 4, HEADER_WORD = 4, PREFIX = LENGTH_WORD + HEADER_WORD };

int frame_next(const char *p, size_t n, size_t max, struct frame *out, struct err *e)
{
    out->total = 0;
    if (n < LENGTH_WORD)
        return E_AGAIN;
    uint32_t length = be32_get(p);
    if (length > INT32_MAX || length < HEADER_WORD)
        return err_set(e, E_PROTO, "frame length %d, at least %d expected", (int32_t)length, HEADER_WORD);
    if (max < LENGTH_WORD || length > max - LENGTH_WORD)
        return err_set(e, E_PROTO, "frame of %u bytes, at most %zu accepted", length, max);
    if (n < PREFIX) {
        out->total = length + LENGTH_WORD;
        return E_AGAIN;
    }

    uint32_t word = be32_get(p + LENGTH_WORD);
    uint8_t type = (uint8_t)(word >> 24);
    uint32_t header_n = word & 0x00FFFFFF;
    if (type != COMMAND_JSON && type != COMMAND_ROCKETMQ)
        return err_set(e, E_PROTO, "unknown serialize type %u", type);
    if (header_n > length - HEADER_WORD)
        return err_set(e, E_PROTO, "header of %u bytes in a frame of %u", header_n, length);

    out->total = length + LENGTH_WORD;
    out->type = type;
    out->header_at = PREFIX;
    out->header_n = header_n;
    out->body_at = PREFIX + (size_t)header_n;
    out->body_n = out->total - out->body_at;
    return n < out->total ? E_AGAIN : 0;
}
