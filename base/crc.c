/* CRC-32 by Intel's isa-l, which picks the fastest code of the machine (about five times zlib).
 *
 * Runs on: any thread; pure. isa-l's crc32_gzip_refl is the reflected IEEE polynomial with the same
 * calling rule as zlib's crc32 (running value in, running value out, 0 to start); a test compares
 * the two on random input. Its crc32_ieee is another function (not reflected).
 *
 * Source: java.util.zip.CRC32 as used by RocketMQ's UtilAll.crc32, which then clears the sign bit
 * (crc32_body in the header). */
#include "base/crc.h"

#include <isa-l/crc.h>

uint32_t crc32_update(uint32_t crc, const void *p, size_t n)
{
    return n ? crc32_gzip_refl(crc, p, n) : crc;
}
