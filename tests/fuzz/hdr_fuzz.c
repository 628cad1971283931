/* Every typed header with arbitrary fields: byte 0 picks the header, byte 1 the name column, then
 * fields of u8 length, key, u8 length, value (length 255: null). A header that decodes is the same
 * after a trip over the wire. */
#include <stdlib.h>

#include "proto/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct hdr_desc *const descs[] = {
#define HDR(name, ...) &hdr_desc_##name,
#include "proto/headers.def"
#undef HDR
};

static size_t read_fields(struct slice in, struct ext_field *ext)
{
    struct reader r = reader_of(in);
    size_t n = 0;
    while (n < COMMAND_EXT_MAX && reader_left(&r)) {
        ext[n].key = reader_bytes(&r, reader_u8(&r));
        const uint8_t value_n = reader_u8(&r);
        ext[n].value = value_n == UINT8_MAX ? SLICE_NULL : reader_bytes(&r, value_n);
        if (r.bad)
            break;
        n++;
    }
    return n;
}

static void check_round_trip(const struct hdr_desc *desc, enum hdr_names names, const void *hdr)
{
    static struct command c;
    _Alignas(16) char again[512];
    struct buf out, a, b;
    struct err e;
    const struct command_out o = {
        .type = COMMAND_ROCKETMQ, .desc = desc, .names = names, .hdr = hdr};
    buf_init(&out, 0);
    buf_init(&a, 0);
    buf_init(&b, 0);
    MQ_ASSERT(command_encode(&out, &o, 0, &e) == 0);
    MQ_ASSERT(command_decode(out.p + 8, out.n - 8, COMMAND_ROCKETMQ, &c, NULL, &e) == 0);
    MQ_ASSERT(hdr_decode(desc, names, c.ext, c.ext_n, again, &e) == 0);
    hdr_dump(desc, hdr, &a);
    hdr_dump(desc, again, &b);
    MQ_ASSERT(slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_free(&out);
    buf_free(&a);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct ext_field ext[COMMAND_EXT_MAX];
    _Alignas(16) char hdr[512];
    struct err e;
    if (n < 2)
        return 0;
    const struct hdr_desc *const desc = descs[data[0] % (sizeof descs / sizeof *descs)];
    const enum hdr_names names = data[1] % 2 ? HDR_SHORT : HDR_LONG;
    MQ_ASSERT(desc->size <= sizeof hdr);
    const size_t ext_n = read_fields(slice_of((const char *)data + 2, n - 2), ext);
    if (hdr_decode(desc, names, ext, ext_n, hdr, &e) == 0)
        check_round_trip(desc, names, hdr);
    else
        MQ_ASSERT(e.code == E_PROTO && e.text[0]);
    return 0;
}
