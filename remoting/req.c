/* A request between its handler's first look and its answer.
 *
 * Owns: the request object, its scratch memory, its reference to the receive block.
 * Runs on: the connection's loop, except req_post.
 *
 * Happy path: dispatch (server.c) fills a request from the loop's freelist; the handler answers at once;
 * the answer is encoded straight into the connection's output, behind those of the same turn; the
 * request goes back to the freelist. Nothing is allocated on the way.
 *
 * A handler that answers later keeps the request. As long as the input is neither owned nor dropped it
 * pins its block, which up to 64 KiB of other requests share.
 *
 * Failure modes: an answer that cannot be encoded (larger than a frame) becomes an answer that says so;
 * without memory the connection is closed, so that the client sees a failure and not silence.
 *
 * Invariants: 1. every request counts in conn->inflight and in its loop's inflight from req_new to
 * req_end. 2. a oneway request writes nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "remoting/server_priv.h"

struct req *req_new(struct server_io *sio, struct conn *c)
{
    struct list *l = list_pop_front(&sio->reqs_free);
    struct req *r;
    if (l != NULL) {
        r = LIST_ENTRY(l, struct req, link);
        sio->reqs_free_n--;
    } else {
        r = malloc(sizeof *r);
        if (r == NULL)
            return NULL;
        list_init(&r->link);
        r->sio = sio;
        buf_init(&r->spill, 0);
        r->more = NULL;
    }
    r->conn = c;
    r->block = NULL;
    r->user = NULL;
    r->plain_ext = NULL;
    r->plain_ext_n = 0;
    r->scratch_n = 0;
    c->inflight++;
    sio->inflight++;
    return r;
}

static void free_scratch(struct req *r)
{
    for (struct scratch *s = r->more, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
    }
    r->more = NULL;
}

static void req_end(struct req *r)
{
    struct server_io *sio = r->sio;
    struct conn *c = r->conn;
    MQ_ASSERT(loop_is_current(c->loop));
    block_unref(r->block);
    free_scratch(r);
    buf_free(&r->spill);
    sio->inflight--;
    if (sio->reqs_free_n < REQS_FREE_MAX) {
        list_push_front(&sio->reqs_free, &r->link);
        sio->reqs_free_n++;
    } else {
        free(r);
    }
    conn_inflight_done(c); /* may end the connection and, with the last one, the server's loop part */
}

void req_free_pool(struct server_io *sio)
{
    for (struct list *l; (l = list_pop_front(&sio->reqs_free)) != NULL;)
        free(LIST_ENTRY(l, struct req, link));
    sio->reqs_free_n = 0;
}

/* --- what a handler may ask --- */

struct server *req_server(const struct req *r) { return r->sio->server; }
struct conn *req_conn(const struct req *r) { return r->conn; }
struct loop *req_loop(const struct req *r) { return r->conn->loop; }
const struct command *req_command(const struct req *r) { return &r->command; }
bool req_oneway(const struct req *r) { return (r->command.flag & COMMAND_FLAG_ONEWAY) != 0; }
int64_t req_received_ms(const struct req *r) { return r->received_ms; }
void req_set_user(struct req *r, void *user) { r->user = user; }
void *req_user(const struct req *r) { return r->user; }

void req_set_plain_ext(struct req *r, const struct ext_field *ext, size_t n)
{
    r->plain_ext = ext;
    r->plain_ext_n = n;
}

int req_header(struct req *r, void *hdr)
{
    const struct code_row *row = code_row_of(r->command.code);
    MQ_ASSERT(row != NULL); /* only codes with a row can be routed to a handler that wants a header */
    struct err e;
    int rc = hdr_decode(row->request, row->names, r->command.ext, r->command.ext_n, hdr, &e);
    if (rc == 0)
        return 0;
    req_reply(r, RESP_SYSTEM_ERROR, e.text, NULL);
    return E_PROTO;
}

void *req_alloc(struct req *r, size_t n)
{
    if (n > SIZE_MAX - sizeof(struct scratch) - 16)
        return NULL;
    size_t rounded = (n + 15) & ~(size_t)15;
    if (rounded <= REQ_SCRATCH - r->scratch_n) {
        void *p = r->scratch + r->scratch_n;
        r->scratch_n += rounded;
        return p;
    }
    struct scratch *s = malloc(sizeof *s + n);
    if (s == NULL)
        return NULL;
    s->next = r->more;
    r->more = s;
    return s->data;
}

/* --- the input --- */

static void move_slice(struct slice *s, const char *from, size_t n, const char *to)
{
    uintptr_t at = (uintptr_t)s->p - (uintptr_t)from;
    if (s->p != NULL && at <= n)
        s->p = to + at;
}

int req_own_input(struct req *r)
{
    if (r->block == NULL)
        return 0;
    if (r->block->refs == 1 && r->frame_n >= r->block->cap / 2)
        return 0; /* nobody else is kept from this memory */
    char *copy = req_alloc(r, r->frame_n);
    if (copy == NULL)
        return E_NOMEM;
    memcpy(copy, r->frame, r->frame_n);
    struct command *c = &r->command;
    move_slice(&c->remark, r->frame, r->frame_n, copy);
    move_slice(&c->body, r->frame, r->frame_n, copy);
    for (size_t i = 0; i < c->ext_n; i++) {
        move_slice(&c->ext[i].key, r->frame, r->frame_n, copy);
        move_slice(&c->ext[i].value, r->frame, r->frame_n, copy);
    }
    block_unref(r->block);
    r->block = NULL;
    return 0;
}

void req_drop_input(struct req *r)
{
    block_unref(r->block);
    r->block = NULL;
    buf_free(&r->spill);
    r->command.remark = r->command.body = SLICE_NULL;
    r->command.ext_n = 0;
}

/* --- from other threads --- */

static void deliver_posted(struct mail *m)
{
    struct req *r = LIST_ENTRY(m, struct req, mail);
    r->posted(r);
}

void req_post(struct req *r, void (*fn)(struct req *r))
{
    r->posted = fn;
    r->mail.deliver = deliver_posted;
    MQ_ASSERT(loop_post(r->conn->loop, &r->mail) == 0); /* server_close waits for requests in flight */
}

/* --- answers --- */

static int encode_answer(const struct req *r, struct buf *out, int32_t code, const char *remark,
                         const void *resp, size_t body_n, struct err *e)
{
    const struct command *c = &r->command;
    const struct code_row *row = code_row_of(c->code);
    MQ_ASSERT(row != NULL || resp == NULL);
    struct command_out cmd = {
        .code = code,
        .opaque = c->opaque,
        .flag = COMMAND_FLAG_RESPONSE,
        .type = c->type, /* JSON to JSON: one client does not read the other form at all */
        .remark = slice_str(remark),
        .desc = resp == NULL ? NULL : row->response,
        .names = HDR_LONG,
        .hdr = resp,
        .extra = r->plain_ext,
        .extra_n = resp == NULL ? r->plain_ext_n : 0,
    };
    return command_encode(out, &cmd, body_n, e);
}

static void undo(struct buf *b, size_t n)
{
    b->n = n;
    b->error = 0;
}

/* The head of the answer into the connection's output; NULL when no body must follow. */
static struct out *answer_begin(struct req *r, int32_t code, const char *remark, const void *resp,
                                size_t body_n, size_t piece_n, size_t *before)
{
    struct conn *c = r->conn;
    struct out *o = req_oneway(r) || FAILPOINT(FP_BROKER_REPLY) != 0 ? NULL : output_begin(c, piece_n);
    if (o == NULL)
        return NULL;
    *before = o->bytes.n;
    struct err e;
    int rc = encode_answer(r, &o->bytes, code, remark, resp, body_n, &e);
    if (rc == 0)
        return o;
    undo(&o->bytes, *before);
    if (rc != E_NOMEM) {
        LOGE("answer_not_encoded", "side=%s code=%d opaque=%d error=\"%s\"", r->sio->io.name,
             r->command.code, r->command.opaque, e.text);
        rc = encode_answer(r, &o->bytes, RESP_SYSTEM_ERROR, e.text, NULL, 0, &e);
        if (rc == 0) {
            output_end(c, *before, 0);
            return NULL;
        }
        undo(&o->bytes, *before);
    }
    conn_shut(c, LOG_ERROR, e.text);
    return NULL;
}

/* Ends the bytes of an answer whose body was appended. */
static void answer_end(struct req *r, struct out *o, size_t before, size_t pieces)
{
    if (buf_error(&o->bytes) == 0) {
        output_end(r->conn, before, pieces);
        return;
    }
    undo(&o->bytes, before);
    conn_shut(r->conn, LOG_ERROR, "out of memory for an answer");
}

void req_reply(struct req *r, int32_t code, const char *remark, const void *resp)
{
    size_t before;
    struct out *o = answer_begin(r, code, remark, resp, 0, 0, &before);
    if (o != NULL)
        answer_end(r, o, before, 0);
    req_end(r);
}

void req_replyf(struct req *r, int32_t code, const char *fmt, ...)
{
    char remark[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(remark, sizeof remark, fmt, ap);
    va_end(ap);
    req_reply(r, code, remark, NULL);
}

void req_reply_buf(struct req *r, int32_t code, const char *remark, const void *resp, struct buf *body)
{
    MQ_ASSERT(buf_error(body) == 0);
    bool inline_body = body->n <= OUTPUT_INLINE_MAX;
    size_t before;
    struct out *o = answer_begin(r, code, remark, resp, body->n, 1, &before);
    if (o != NULL && inline_body) {
        buf_slice_add(&o->bytes, buf_slice(body));
        answer_end(r, o, before, 0);
    } else if (o != NULL) {
        size_t n;
        char *p = buf_take(body, &n);
        out_piece(o, &(struct iovec){p, n}, free, p);
        answer_end(r, o, before, n);
    }
    buf_free(body);
    req_end(r);
}

void req_reply_iov(struct req *r, int32_t code, const char *remark, const void *resp,
                   const struct iovec *iov, int iov_n, void (*release)(void *arg), void *arg)
{
    size_t body_n = 0;
    for (int i = 0; i < iov_n; i++)
        body_n += iov[i].iov_len;
    size_t before;
    struct out *o = answer_begin(r, code, remark, resp, body_n, (size_t)iov_n, &before);
    bool queued = o != NULL && body_n > OUTPUT_INLINE_MAX;
    if (queued) {
        for (int i = 0; i < iov_n; i++)
            out_piece(o, &iov[i], i == iov_n - 1 ? release : NULL, arg);
        answer_end(r, o, before, body_n);
    } else if (o != NULL) {
        for (int i = 0; i < iov_n; i++)
            buf_add(&o->bytes, iov[i].iov_base, iov[i].iov_len);
        answer_end(r, o, before, 0);
    }
    if (!queued)
        io_release_later(&r->sio->io, release, arg);
    req_end(r);
}

void req_discard(struct req *r)
{
    req_end(r);
}
