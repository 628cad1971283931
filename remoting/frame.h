#pragma once
/* Cuts frames off a byte stream. Pure: no I/O, no state. */
#include "base/err.h"
#include "base/slice.h"

struct frame {
    size_t total;     /* bytes of the whole frame, length word included */
    uint8_t type;     /* serialize type byte */
    size_t header_at, header_n;
    size_t body_at, body_n;
};
/* E_AGAIN: `out->total` is the size needed when already known, else 0. E_PROTO: length below 4 or over
 * `max`, header longer than the frame, unknown type byte: the connection must be closed.
 * Source: NettyDecoder, RemotingCommand.decode. */
int frame_next(const char *p, size_t n, size_t max, struct frame *out, struct err *e) HP_MUST_USE;
