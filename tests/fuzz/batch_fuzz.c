/* Bodies of batch requests: items lie inside their input, and are read again as they were
 * written. */
#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = slice_of((const char *)data, n);
    struct batch_item item, again;
    struct err e;
    while (rest.n) {
        const size_t before = rest.n;
        if (batch_next(&rest, &item, &e)) {
            MQ_ASSERT(e.code == E_PROTO && rest.n == before);
            break;
        }
        MQ_ASSERT(rest.n < before);
        struct buf b;
        buf_init(&b, 0);
        batch_add(&b, &item);
        MQ_ASSERT(buf_error(&b) == 0 && b.n == before - rest.n);
        struct slice copy = buf_slice(&b);
        MQ_ASSERT(batch_next(&copy, &again, &e) == 0 && copy.n == 0);
        MQ_ASSERT(again.flag == item.flag && slice_eq(again.body, item.body) &&
                  slice_eq(again.properties, item.properties));
        buf_free(&b);
    }
    return 0;
}
