/* Items of a client-side batch body: what a producer packs into one request.
 *
 *     at      bytes  field
 *     0       4      size of the item
 *     4       4      magic, 0
 *     8       4      body CRC, 0
 *     12      4      flag of the application
 *     16      4+n    body: i32 length, bytes
 *     20+n    2+p    properties: i16 length, bytes
 *
 * Items follow each other without count or padding. Like the Java broker we find the next item by
 * the lengths of body and properties and ignore what size, magic and CRC say.
 *
 * Any thread; no state. Failure: E_PROTO for an item that does not fit the rest of the body; *rest
 * is then left alone. Source: MessageDecoder.decodeMessage / encodeMessage. */
#include "proto/message.h"

enum { ITEM_FIXED = 22, SKIPPED_WORDS = 12 };

int batch_next(struct slice *rest, struct batch_item *out, struct err *e)
{
    struct reader r = reader_of(*rest);
    reader_bytes(&r, SKIPPED_WORDS);
    const int32_t flag = (int32_t)reader_be32(&r);
    const uint32_t body_n = reader_be32(&r);
    const struct slice body = reader_bytes(&r, body_n);
    const uint16_t props_n = reader_be16(&r);
    const struct slice properties = reader_bytes(&r, props_n);
    if (r.bad || props_n > INT16_MAX)
        return err_set(e, E_PROTO,
                       "batch item: body of %u and properties of %u bytes in %zu bytes left",
                       body_n, props_n, rest->n);
    *out = (struct batch_item){flag, body, properties};
    *rest = slice_of(r.p, reader_left(&r));
    return 0;
}

void batch_add(struct buf *out, const struct batch_item *item)
{
    if (item->properties.n > MESSAGE_PROPERTIES_MAX ||
        item->body.n > INT32_MAX - ITEM_FIXED - item->properties.n) {
        out->error = out->error ? out->error : E_TOOBIG;
        return;
    }
    buf_be32(out, (uint32_t)(ITEM_FIXED + item->body.n + item->properties.n));
    buf_be64(out, 0);
    buf_be32(out, (uint32_t)item->flag);
    buf_be32(out, (uint32_t)item->body.n);
    buf_slice_add(out, item->body);
    buf_be16(out, (uint16_t)item->properties.n);
    buf_slice_add(out, item->properties);
}
