/* The one-pass header scanner against jansson: what the scanner takes, jansson takes with the same
 * result; what it does not take, it has not touched. */
#include <stdlib.h>

#include "proto/json_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_same_fields(const struct command *fast, const struct command *slow)
{
    for (size_t i = 0; i < slow->ext_n; i++) {
        struct slice value = SLICE_NULL;
        bool found = false;
        for (size_t k = 0; k < fast->ext_n; k++) {
            if (slice_eq(fast->ext[k].key, slow->ext[i].key)) {
                value = fast->ext[k].value;
                found = true;
            }
        }
        MQ_ASSERT(found && slice_eq(value, slow->ext[i].value) &&
                  !value.p == !slow->ext[i].value.p);
    }
    for (size_t k = 0; k < fast->ext_n; k++) {
        bool found = false;
        for (size_t i = 0; i < slow->ext_n; i++)
            found |= slice_eq(fast->ext[k].key, slow->ext[i].key);
        MQ_ASSERT(found);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct command fast, slow;
    struct buf spill;
    struct err e;
    size_t odd_at;
    char *const text = malloc(n ? n : 1);
    MQ_ASSERT(text);
    if (n)
        memcpy(text, data, n);
    buf_init(&spill, 0);
    const int odd = json_header_scan(text, n, &fast, &odd_at);
    const int rc = json_header_parse(slice_of((const char *)data, n), &slow, &spill, &e);
    if (odd) {
        MQ_ASSERT(n == 0 || memcmp(text, data, n) == 0);
        MQ_ASSERT(odd_at <= n);
    } else {
        MQ_ASSERT(rc == 0);
        MQ_ASSERT(fast.code == slow.code && fast.opaque == slow.opaque && fast.flag == slow.flag);
        MQ_ASSERT(fast.version == slow.version && fast.language == slow.language);
        MQ_ASSERT(slice_eq(fast.remark, slow.remark) && !fast.remark.p == !slow.remark.p);
        check_same_fields(&fast, &slow);
    }
    buf_free(&spill);
    free(text);
    return 0;
}
