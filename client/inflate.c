/* Decompression of message bodies: zlib from every client, LZ4 frames and zstd from 5.x Java
 * producers.
 *
 * Each codec is fed whole and drained in pieces into a buffer with a bound, so that a small lying
 * body cannot take the consumer's memory. Input that ends early is corrupt, never "done".
 * Source: MessageSysFlag (codec bits), Lz4Compressor (frame format), ZstdCompressor. Runs on worker
 * threads. */
#include "client/inflate.h"

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "proto/message.h"

enum { PIECE = 64 * 1024 };

static int out_error(const struct buf *out) { return buf_error(out) ? buf_error(out) : E_NOMEM; }

static int inflate_zlib(struct slice body, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body.p, .avail_in = (uInt)body.n};
    if (inflateInit(&z) != Z_OK)
        return E_NOMEM;
    int rc = Z_OK, result = 0;
    while (rc == Z_OK && !result) {
        char *room = buf_extend(out, PIECE);
        if (!room) {
            result = out_error(out);
            break;
        }
        z.next_out = (Bytef *)room;
        z.avail_out = PIECE;
        rc = inflate(&z, Z_NO_FLUSH);
        out->n -= z.avail_out;
    }
    if (!result && rc != Z_STREAM_END)
        result = rc == Z_MEM_ERROR ? E_NOMEM : E_CORRUPT;
    inflateEnd(&z);
    return result;
}

static int inflate_lz4(struct slice body, struct buf *out)
{
    LZ4F_dctx *d;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&d, LZ4F_VERSION)))
        return E_NOMEM;
    int result = 0;
    size_t hint = 1, at = 0;
    while (hint != 0 && !result) {
        size_t took = body.n - at, gave = PIECE;
        char *room = buf_extend(out, PIECE);
        if (!room) {
            result = out_error(out);
            break;
        }
        hint = LZ4F_decompress(d, room, &gave, body.p + at, &took, NULL);
        const bool bad = LZ4F_isError(hint) || (took == 0 && gave == 0 && hint != 0);
        out->n -= bad ? PIECE : PIECE - gave;
        at += took;
        if (bad)
            result = E_CORRUPT;
    }
    LZ4F_freeDecompressionContext(d);
    return result;
}

static int inflate_zstd(struct slice body, struct buf *out)
{
    ZSTD_DStream *d = ZSTD_createDStream();
    if (!d)
        return E_NOMEM;
    ZSTD_inBuffer in = {body.p, body.n, 0};
    int result = 0;
    size_t hint = 1;
    while (hint != 0 && !result) {
        char *room = buf_extend(out, PIECE);
        if (!room) {
            result = out_error(out);
            break;
        }
        const size_t before = in.pos;
        ZSTD_outBuffer piece = {room, PIECE, 0};
        hint = ZSTD_decompressStream(d, &piece, &in);
        out->n -= PIECE - piece.pos;
        if (ZSTD_isError(hint) || (hint != 0 && in.pos == before && piece.pos == 0))
            result = E_CORRUPT;
    }
    ZSTD_freeDStream(d);
    return result;
}

int body_inflate(struct slice body, int32_t sys_flag, struct buf *out)
{
    const size_t bound = out->max;
    out->max = out->n + INFLATED_MAX;
    int rc;
    switch (sys_flag & SYSFLAG_COMPRESSION_MASK) {
    case 0x000:
    case 0x300: rc = inflate_zlib(body, out); break;
    case 0x100: rc = inflate_lz4(body, out); break;
    case 0x200: rc = inflate_zstd(body, out); break;
    default: rc = E_UNSUPP; break;
    }
    out->max = bound;
    return rc;
}
