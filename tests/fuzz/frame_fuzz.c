/* A stream of any bytes as connections cut it into frames.
 *
 *   byte 0: the most bytes that a frame may have: 16 shifted left by its low four bits
 *   the rest: the stream
 *
 * Bytes come in pieces, so what is said of the beginning of a frame must stay true when more of it is
 * there: no frame before its last byte, a size that does not change, a refusal that stays one. What a
 * frame holds is decoded, and framed again around the same body. */
#include <stdlib.h>

#include "proto/command.h"
#include "remoting/frame.h"
#include "tests/fuzz/fuzz_target.h"

enum { PREFIX = 8 };

/* frame_next on the first k bytes, with nothing behind them. */
static int look(struct slice in, size_t k, size_t max, struct frame *out, struct err *e)
{
    char *const exact = malloc(k ? k : 1);
    MQ_ASSERT(exact);
    if (k)
        memcpy(exact, in.p, k);
    const int rc = frame_next(exact, k, max, out, e);
    free(exact);
    return rc;
}

static void check_beginning(struct slice in, size_t k, size_t max, int rc, const struct frame *f)
{
    struct frame part;
    struct err e;
    const int part_rc = look(in, k, max, &part, &e);
    if (rc == E_PROTO) {
        MQ_ASSERT(part_rc == E_AGAIN || part_rc == E_PROTO);
        return;
    }
    MQ_ASSERT(part_rc == (f->total && k >= f->total ? 0 : E_AGAIN));
    MQ_ASSERT(part.total == (k < 4 ? 0 : f->total));
}

static void check_parts(struct slice in, size_t max, const struct frame *f)
{
    MQ_ASSERT(f->total == (size_t)be32_get(in.p) + 4 && f->total <= in.n && f->total <= max);
    MQ_ASSERT(f->type == (uint8_t)in.p[4] && f->type <= COMMAND_ROCKETMQ);
    MQ_ASSERT(f->header_at == PREFIX && f->header_n == (be32_get(in.p + 4) & 0xffffff));
    MQ_ASSERT(f->body_at == PREFIX + f->header_n && f->body_at + f->body_n == f->total);
}

static void check_framed_again(const struct command *c, struct slice body, uint8_t type)
{
    struct frame f;
    struct buf out;
    struct err e;
    const struct command_out o = {.code = c->code, .opaque = c->opaque, .flag = c->flag, .type = type,
                                  .remark = c->remark, .extra = c->ext, .extra_n = c->ext_n};
    buf_init(&out, 0);
    if (command_encode(&out, &o, body.n, &e) == 0) { /* else the binary form has no room for a name */
        buf_slice_add(&out, body);
        MQ_ASSERT(frame_next(out.p, out.n, FRAME_MAX, &f, &e) == 0 && f.total == out.n && f.type == type);
        MQ_ASSERT(slice_eq(slice_of(out.p + f.body_at, f.body_n), body));
    } else {
        MQ_ASSERT(e.text[0]);
    }
    buf_free(&out);
}

static void check_content(struct slice in, const struct frame *f)
{
    static struct command c;
    struct buf spill;
    struct err e;
    char *const header = malloc(f->header_n ? f->header_n : 1);
    MQ_ASSERT(header);
    memcpy(header, in.p + f->header_at, f->header_n);
    buf_init(&spill, 0);
    if (command_decode(header, f->header_n, f->type, &c, &spill, &e) == 0) {
        const struct slice body = slice_of(in.p + f->body_at, f->body_n);
        check_framed_again(&c, body, COMMAND_JSON);
        check_framed_again(&c, body, COMMAND_ROCKETMQ);
    } else {
        MQ_ASSERT(e.text[0]);
    }
    buf_free(&spill);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    const size_t max = (size_t)16 << (data[0] & 15);
    struct slice in = slice_of((const char *)data + 1, n - 1);
    for (;;) {
        struct frame f;
        struct err e = {0};
        const int rc = look(in, in.n, max, &f, &e);
        MQ_ASSERT(rc == 0 || rc == E_AGAIN || (rc == E_PROTO && e.text[0]));
        for (size_t k = 0; k <= PREFIX && k <= in.n; k++)
            check_beginning(in, k, max, rc, &f);
        if (rc)
            return 0;
        check_beginning(in, f.total - 1, max, rc, &f);
        check_beginning(in, f.total, max, rc, &f);
        check_parts(in, max, &f);
        check_content(in, &f);
        in = slice_of(in.p + f.total, in.n - f.total);
    }
}
