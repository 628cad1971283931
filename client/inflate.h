#pragma once
/* Bodies of received messages, made readable. */
#include "base/buf.h"

enum { INFLATED_MAX = 64 * 1024 * 1024 }; /* a larger body is an error, not memory */

/* Appends the plain body to out. sys_flag names the codec: zlib, LZ4 frame or zstd (record, bits
 * 8-10). E_CORRUPT, E_TOOBIG (over INFLATED_MAX), E_NOMEM, E_UNSUPP (unknown codec). Any thread. */
int body_inflate(struct slice body, int32_t sys_flag, struct buf *out) HP_MUST_USE;
