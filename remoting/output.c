/* The output of a connection: everything a turn has to say leaves in one gathered write.
 *
 * Owns: the bytes and borrowed pieces on their way out. Runs on: the connection's loop.
 *
 * Small answers are encoded one behind the other into one buffer (`out.bytes`); bodies that are large or
 * borrowed stand between them as pieces. The turn hook writes the whole lot with one uv_try_write; what
 * the kernel does not take is left to uv_write, and meanwhile the next turns fill a second `out`.
 * An idle connection holds none: they come from a pool of the loop.
 *
 *   filling --(hook: try_write)--> done
 *                \--(kernel is full)--> writing --(written_done)--> done
 *
 * Back-pressure: `queued` counts what the kernel has not taken. Above output_high the connection is not
 * read (conn.c); above output_max it is closed: this peer does not read.
 *
 * Failure modes: no memory for a buffer closes the connection; a write error closes it. Either way each
 * piece is released exactly once, on the loop, never inside the call that queued it.
 *
 * Invariants: 1. at most one uv_write is outstanding. 2. io->queued is the sum of its connections'. */
#include <stdlib.h>

#include "remoting/conn_priv.h"

enum { OUTS_FREE_MAX = 64, OUT_KEEP_BYTES = 256 * 1024 };

static struct out *out_get(struct io *io)
{
    struct list *l = list_pop_front(&io->outs_free);
    if (l != NULL) {
        io->outs_free_n--;
        return LIST_ENTRY(l, struct out, link);
    }
    struct out *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    list_init(&o->link);
    buf_init(&o->bytes, 0);
    return o;
}

static void release_pieces(struct out *o)
{
    size_t n = o->piece_n;
    o->piece_n = 0;
    for (size_t i = 0; i < n; i++)
        if (o->pieces[i].release != NULL)
            o->pieces[i].release(o->pieces[i].arg);
}

static void out_free(struct out *o)
{
    buf_free(&o->bytes);
    free(o->pieces);
    free(o);
}

static void out_put(struct io *io, struct out *o)
{
    release_pieces(o);
    if (io->outs_free_n >= OUTS_FREE_MAX || o->bytes.cap > OUT_KEEP_BYTES) {
        out_free(o);
        return;
    }
    buf_clear(&o->bytes);
    list_push_front(&io->outs_free, &o->link);
    io->outs_free_n++;
}

static bool reserve_pieces(struct out *o, size_t n)
{
    if (o->piece_cap - o->piece_n >= n)
        return true;
    size_t cap = o->piece_cap < 16 ? 16 : o->piece_cap * 2;
    while (cap - o->piece_n < n)
        cap *= 2;
    struct piece *grown = realloc(o->pieces, cap * sizeof *grown);
    if (grown == NULL)
        return false;
    o->pieces = grown;
    o->piece_cap = cap;
    return true;
}

/* --- appending --- */

struct out *output_begin(struct conn *c, size_t piece_n)
{
    if (conn_closing(c))
        return NULL;
    if (c->filling == NULL)
        c->filling = out_get(c->io);
    if (c->filling == NULL || !reserve_pieces(c->filling, piece_n)) {
        conn_shut(c, LOG_ERROR, "out of memory for an answer");
        return NULL;
    }
    return c->filling;
}

void out_piece(struct out *o, const struct iovec *v, void (*release)(void *arg), void *arg)
{
    MQ_ASSERT(o->piece_n < o->piece_cap);
    o->pieces[o->piece_n++] = (struct piece){o->bytes.n, v->iov_base, v->iov_len, release, arg};
}

static void set_queued(struct conn *c, size_t queued)
{
    size_t before = atomic_load_explicit(&c->queued, memory_order_relaxed);
    c->io->queued = c->io->queued - before + queued;
    atomic_store_explicit(&c->queued, queued, memory_order_relaxed);
}

static void sent(struct conn *c, size_t n)
{
    set_queued(c, atomic_load_explicit(&c->queued, memory_order_relaxed) - n);
    stat_add(&c->io->stats.bytes_out, n);
    c->active_ms = clock_mono(c->io->clock);
}

void output_end(struct conn *c, size_t bytes_before, size_t pieces)
{
    size_t added = c->filling->bytes.n - bytes_before + pieces;
    size_t queued = atomic_load_explicit(&c->queued, memory_order_relaxed) + added;
    set_queued(c, queued);
    if (queued > c->io->limits.output_max)
        conn_shut(c, LOG_WARN, "the peer does not read its answers: output limit reached");
    else if (list_empty(&c->dirty_link))
        list_push_back(&c->io->dirty, &c->dirty_link);
}

void io_release_later(struct io *io, void (*release)(void *arg), void *arg)
{
    if (release == NULL)
        return;
    if (!reserve_pieces(io->orphans, 1)) {
        release(arg); /* better now than never */
        return;
    }
    out_piece(io->orphans, &(struct iovec){0}, release, arg);
}

void output_release_orphans(struct io *io)
{
    if (io->orphans->piece_n == 0)
        return;
    struct out taken = *io->orphans; /* a release may queue the next one */
    *io->orphans = (struct out){0};
    release_pieces(&taken);
    free(taken.pieces);
}

/* --- writing --- */

/* Lists the bytes of `o` in io->iov; 0 when memory is out. */
static unsigned gather(struct io *io, const struct out *o)
{
    size_t most = 2 * o->piece_n + 1;
    if (io->iov_cap < most) {
        uv_buf_t *grown = realloc(io->iov, most * sizeof *grown);
        if (grown == NULL)
            return 0;
        io->iov = grown;
        io->iov_cap = most;
    }
    unsigned n = 0;
    size_t at = 0;
    for (size_t i = 0; i < o->piece_n; i++) {
        const struct piece *p = &o->pieces[i];
        if (p->at > at)
            io->iov[n++] = (uv_buf_t){.base = o->bytes.p + at, .len = p->at - at};
        if (p->n > 0)
            io->iov[n++] = (uv_buf_t){.base = (char *)(uintptr_t)p->p, .len = p->n};
        at = p->at;
    }
    if (o->bytes.n > at)
        io->iov[n++] = (uv_buf_t){.base = o->bytes.p + at, .len = o->bytes.n - at};
    return n;
}

/* Drops the first n bytes of iov; the entries that are left. */
static uv_buf_t *skip(uv_buf_t *iov, unsigned *iov_n, size_t n)
{
    while (*iov_n > 0 && n >= iov->len) {
        n -= iov->len;
        iov++;
        --*iov_n;
    }
    if (*iov_n > 0) {
        iov->base += n;
        iov->len -= n;
    }
    return iov;
}

static void written_done(uv_write_t *req, int status)
{
    struct conn *c = LIST_ENTRY(req, struct conn, write);
    struct out *o = c->writing;
    c->writing = NULL;
    if (status == 0)
        sent(c, c->writing_n);
    out_put(c->io, o);
    if (conn_closing(c))
        return;
    if (status != 0) {
        conn_shut(c, LOG_DEBUG, uv_strerror(status));
        return;
    }
    if (c->filling != NULL && list_empty(&c->dirty_link))
        list_push_back(&c->io->dirty, &c->dirty_link);
    conn_wake(c);
}

void output_flush(struct conn *c)
{
    if (c->filling == NULL || c->writing != NULL || !c->connected)
        return;
    struct io *io = c->io;
    struct out *o = c->filling;
    unsigned n = gather(io, o);
    int wrote = n == 0 ? UV_ENOMEM : uv_try_write((uv_stream_t *)&c->tcp, io->iov, n);
    if (wrote < 0 && wrote != UV_EAGAIN) {
        conn_shut(c, LOG_DEBUG, uv_strerror(wrote));
        return;
    }
    if (wrote > 0)
        sent(c, (size_t)wrote);
    uv_buf_t *rest = skip(io->iov, &n, wrote > 0 ? (size_t)wrote : 0);
    c->filling = NULL;
    if (n == 0) {
        out_put(io, o);
        conn_wake(c);
        return;
    }
    size_t left = 0;
    for (unsigned i = 0; i < n; i++)
        left += rest[i].len;
    c->writing = o;
    c->writing_n = c->stall_left = left;
    c->stall_since_ms = c->active_ms;
    int rc = uv_write(&c->write, (uv_stream_t *)&c->tcp, rest, n, written_done);
    if (rc != 0) {
        c->writing = NULL;
        c->filling = o; /* output_drop releases it */
        conn_shut(c, LOG_DEBUG, uv_strerror(rc));
    }
}

void output_drop(struct conn *c)
{
    MQ_ASSERT(c->writing == NULL); /* libuv cancels writes before the close callback */
    if (c->filling != NULL)
        out_put(c->io, c->filling);
    c->filling = NULL;
    set_queued(c, 0);
}

void output_fini(struct io *io)
{
    for (struct list *l; (l = list_pop_front(&io->outs_free)) != NULL;)
        out_free(LIST_ENTRY(l, struct out, link));
    out_free(io->orphans);
    io->orphans = NULL;
}
