#pragma once
/* CRC-32 (IEEE 802.3, reflected, as zlib and java.util.zip.CRC32). */
#include "base/slice.h"

/* Running value starts at 0. */
uint32_t crc32_update(uint32_t crc, const void *p, size_t n);
/* What RocketMQ stores: CRC-32 with the sign bit cleared; 0 for an empty body. */
static inline uint32_t crc32_body(struct slice s)
{
    return crc32_update(0, s.p, s.n) & 0x7FFFFFFFu;
}
