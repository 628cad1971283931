/* Headers of both serialisations (first byte: the type): decoding never reads outside, and what was
 * decoded is the same after encoding and decoding again, as JSON and as binary. */
#include <stdlib.h>

#include "proto/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A binary header carries any bytes; through JSON only text comes back as it was (malformed UTF-8
 * is replaced, a name with U+0000 is refused). */
static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80 || s.p[i] == '\0')
            return false;
    return true;
}

static bool all_ascii(const struct command *c)
{
    bool ascii = is_ascii(c->remark);
    for (size_t i = 0; i < c->ext_n; i++)
        ascii = ascii && is_ascii(c->ext[i].key) && is_ascii(c->ext[i].value);
    return ascii;
}

static void check_same(const struct command *a, const struct command *b)
{
    size_t k = 0;
    MQ_ASSERT(a->code == b->code && a->opaque == b->opaque && a->flag == b->flag);
    MQ_ASSERT(slice_eq(a->remark, b->remark));
    for (size_t i = 0; i < a->ext_n; i++) {
        if (!a->ext[i].key.n || !a->ext[i].value.p)
            continue;
        MQ_ASSERT(k < b->ext_n);
        MQ_ASSERT(slice_eq(a->ext[i].key, b->ext[k].key) &&
                  slice_eq(a->ext[i].value, b->ext[k].value));
        k++;
    }
    MQ_ASSERT(k == b->ext_n);
}

static void check_round_trip(const struct command *c, uint8_t type)
{
    static struct command again;
    struct buf out, spill;
    struct err e;
    const bool plain = all_ascii(c);
    const struct command_out o = {.code = c->code,
                                  .opaque = c->opaque,
                                  .flag = c->flag,
                                  .type = type,
                                  .remark = c->remark,
                                  .extra = c->ext,
                                  .extra_n = c->ext_n};
    buf_init(&out, 0);
    buf_init(&spill, 0);
    const int rc = command_encode(&out, &o, 0, &e);
    MQ_ASSERT(rc == 0 || rc == E_RANGE || rc == E_TOOBIG);
    if (rc == 0) {
        MQ_ASSERT(be32_get(out.p) == out.n - 4);
        const int back = command_decode(out.p + 8, out.n - 8, type, &again, &spill, &e);
        if (type == COMMAND_ROCKETMQ || plain) {
            MQ_ASSERT(back == 0);
            check_same(c, &again);
        }
    }
    buf_free(&spill);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct command c;
    struct buf spill;
    struct err e;
    if (!n)
        return 0;
    char *const header = malloc(n);
    MQ_ASSERT(header);
    memcpy(header, data + 1, n - 1);
    buf_init(&spill, 0);
    if (command_decode(header, n - 1, data[0] % 3, &c, &spill, &e) == 0) {
        check_round_trip(&c, COMMAND_JSON);
        check_round_trip(&c, COMMAND_ROCKETMQ);
    } else {
        MQ_ASSERT(e.code && e.text[0]);
    }
    buf_free(&spill);
    free(header);
    return 0;
}
