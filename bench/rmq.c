/* What the RocketMQ drivers share: cutting answers, finding members of their JSON headers, topics, and
 * the driver that repeats one request. Runs on the load engine's thread.
 *
 * Answers are not parsed in full: a load generator that shares two cores with the server must be
 * cheap. The members looked for are written once, outside of strings, by our servers and by Apache's.
 * Lengths are checked before they are used; an answer that does not fit its own lengths is E_PROTO. */
#include "bench/rmq.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/wire.h"

int64_t rmq_answer(const char *in, size_t n, struct rmq_answer *out, struct err *e)
{
    if (n < 8)
        return 0;
    const size_t rest = be32_get(in), header_n = be32_get(in + 4) & 0xFFFFFF;
    if (rest < 4 || rest > FRAME_MAX || header_n > rest - 4)
        return err_set(e, E_PROTO, "an answer of %zu bytes with a header of %zu", rest, header_n);
    if (n - 4 < rest)
        return 0;
    out->header = slice_of(in + 8, header_n);
    out->body = slice_of(in + 8 + header_n, rest - 4 - header_n);
    out->code = rmq_number(out->header, "code");
    out->opaque = rmq_number(out->header, "opaque");
    if (out->code < 0 || out->opaque < 0)
        return err_set(e, E_PROTO, "an answer without code or opaque");
    return (int64_t)rest + 4;
}

/* The bytes after `"name":`, NULL when it is not there. */
static const char *member(struct slice h, const char *name)
{
    char key[48];
    const int n = snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = memmem(h.p, h.n, key, (size_t)n);
    return at == NULL ? NULL : at + n;
}

int64_t rmq_number(struct slice h, const char *name)
{
    const char *p = member(h, name), *end = h.p + h.n;
    if (p == NULL)
        return -1;
    if (p < end && *p == '"')
        p++;
    int64_t v = -1;
    for (; p < end && *p >= '0' && *p <= '9' && v < INT64_MAX / 10 - 9; p++)
        v = (v < 0 ? 0 : v * 10) + (*p - '0');
    return v;
}

struct slice rmq_text(struct slice h, const char *name)
{
    const char *p = member(h, name), *end = h.p + h.n;
    if (p == NULL || p == end || *p != '"')
        return SLICE_NULL;
    p++;
    const char *close = memchr(p, '"', (size_t)(end - p));
    return close == NULL ? SLICE_NULL : slice_of(p, (size_t)(close - p));
}

int rmq_find(const struct buf *b, size_t from, const char *needle, size_t *at, struct err *e)
{
    const char *p = from < b->n ? memmem(b->p + from, b->n - from, needle, strlen(needle)) : NULL;
    if (p == NULL)
        return err_set(e, E_PROTO, "no %s in the frame that was built", needle);
    *at = (size_t)(p - b->p);
    return 0;
}

void rmq_digits(char *at, int digits, int64_t v)
{
    for (int i = digits - 1; i >= 0; i--, v /= 10)
        at[i] = (char)('0' + v % 10);
}

void rmq_topic_name(const struct rmq_topics *t, int topic, char out[RMQ_TOPIC_MAX + 1])
{
    if (t->topics == 1)
        snprintf(out, RMQ_TOPIC_MAX + 1, "%s", t->name);
    else
        snprintf(out, RMQ_TOPIC_MAX + 1, "%s-%05d", t->name, topic);
}

int rmq_create_topics(const struct host *h, const struct rmq_topics *t, struct err *e)
{
    if (t->topics > 1)
        return 0;
    const int fd = wire_dial(h, e);
    if (fd < 0)
        return fd;
    const int rc = wire_create_topic(fd, t->name, t->queues, e);
    close(fd);
    return rc;
}

/* --- one request, again and again --- */

int rmq_fixed_init(struct rmq_fixed *f, int32_t code, const void *hdr, const char *must_hold,
                   struct err *e)
{
    const struct code_row *row = code_row_of(code);
    const struct command_out out = {
        .code = code, .opaque = RMQ_OPAQUE, .desc = row->request, .names = row->names, .hdr = hdr};
    buf_init(&f->frame, 0);
    f->must_hold = must_hold;
    const int rc = command_encode(&f->frame, &out, 0, e);
    return rc != 0 ? rc : rmq_find(&f->frame, 0, "1000000000", &f->opaque_at, e);
}

void rmq_fixed_free(struct rmq_fixed *f)
{
    buf_free(&f->frame);
}

static int fixed_request(void *self, int link, int64_t seq, struct buf *out)
{
    struct rmq_fixed *f = self;
    (void)link;
    rmq_digits(f->frame.p + f->opaque_at, 10, RMQ_OPAQUE + seq);
    buf_add(out, f->frame.p, f->frame.n);
    return buf_error(out);
}

static int64_t fixed_answer(void *self, int link, char *in, size_t n, struct buf *out,
                            struct answer *a, struct err *e)
{
    const struct rmq_fixed *f = self;
    struct rmq_answer r;
    (void)link, (void)out;
    const int64_t used = rmq_answer(in, n, &r, e);
    if (used <= 0)
        return used;
    a->seq = r.opaque - RMQ_OPAQUE;
    a->remark = r.header;
    if (r.code != RESP_SUCCESS || (f->must_hold != NULL && memmem(r.body.p, r.body.n, f->must_hold,
                                                                  strlen(f->must_hold)) == NULL))
        a->kind = ANSWER_REFUSED;
    return used;
}

const struct driver rmq_fixed_driver = {.request = fixed_request, .answer = fixed_answer};
