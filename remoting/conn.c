/* A connection: bytes to frames, and its end.
 *
 * Owns: the socket, the bytes that wait for the rest of their frame. Runs on: the connection's loop;
 * conn_ref, conn_unref, conn_close, conn_send_oneway and the getters on any thread.
 *
 * Happy path: give_space lends libuv the free end of the loop's shared block; on_read adds what came to
 * the waiting bytes; conn_run cuts frames in place and hands each to the owner; settle keeps the
 * beginning of an unfinished frame: a short one is copied to a small block of its own, so that a
 * connection in the middle of a frame does not pin 64 KiB, a long one keeps its block, which grows as
 * bytes arrive.
 *
 * A connection that has been the only one of its server to send for a while is read in parts of
 * TURN_INPUT bytes, and the turn is cut (loop_cut_turn) after each: see is_lone.
 *
 * Why a connection may not be read, and what lets it go on:
 *   its turn's share of frames is used up      the next turn (io_resume_later)
 *   too many requests unanswered               conn_inflight_done
 *   too much output queued                     written_done, output_flush
 * Frames already received then stay where they are.
 *
 * End: conn_shut marks it closing, stops intake, closes the handle. on_handle_closed tells the owner,
 * drops buffers; when the last request is answered too, finish takes it off the io and drops the loop's
 * reference. References of other threads may outlive all of that; through them only the plain fields at
 * the top of struct conn are reached.
 *
 * Invariants: 1. `closing` goes from false to true once. 2. after it no frame is handed out. 3. a
 * connection is on io->conns from conn_open to finish, so an io cannot close under it. */
#include "remoting/conn_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHORT_INPUT = 4 * 1024 }; /* beginnings of frames below this size are moved, not kept in place */

static struct conn *conn_of(const void *tcp)
{
    return LIST_ENTRY((char *)(uintptr_t)tcp, struct conn, tcp);
}

/* --- life --- */

struct conn *conn_new(struct io *io)
{
    static _Atomic uint64_t last_id;
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->io = io;
    c->loop = io->loop;
    c->output_high = io->limits.output_high;
    c->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    c->fd = -1;
    atomic_init(&c->refs, 1);
    list_init(&c->link);
    list_init(&c->dirty_link);
    list_init(&c->ready_link);
    return c;
}

void conn_open(struct conn *c)
{
    struct io *io = c->io;
    MQ_ASSERT(uv_tcp_init(&io->loop->uv, &c->tcp) == 0); /* without a socket yet, nothing can fail */
    c->opened_ms = c->active_ms = clock_mono(io->clock);
    list_push_back(&io->conns, &c->link);
}

void conn_connected(struct conn *c)
{
    c->connected = true;
    c->active_ms = clock_mono(c->io->clock);
    if (c->filling != NULL && list_empty(&c->dirty_link))
        list_push_back(&c->io->dirty, &c->dirty_link);
    conn_run(c);
}

static void finish(struct conn *c)
{
    struct io *io = c->io;
    list_remove(&c->link);
    c->io = NULL;
    conn_unref(c);
    io_maybe_closed(io);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct conn *c = conn_of(h);
    stat_add(&c->io->stats.closed, 1);
    block_unref(c->in);
    c->in = NULL;
    output_drop(c);
    c->io->events->on_closed(c); /* may end requests in flight, the last one too */
    c->closed = true;
    if (c->inflight == 0)
        finish(c);
}

void conn_shut(struct conn *c, enum log_level level, const char *why)
{
    if (conn_closing(c))
        return;
    char quoted[192];
    log_event(level, "conn_closed", "side=%s peer=%s conn=%llu why=%s", c->io->name, c->peer_text,
              (unsigned long long)c->id, log_quote(slice_str(why), quoted, sizeof quoted));
    atomic_store_explicit(&c->closing, true, memory_order_release);
    list_remove(&c->dirty_link);
    list_remove(&c->ready_link);
    c->reading = false;
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

void conn_shut_flushed(struct conn *c, enum log_level level, const char *why)
{
    if (!conn_closing(c))
        output_flush(c);
    conn_shut(c, level, why);
}

void conn_inflight_done(struct conn *c)
{
    MQ_ASSERT(c->inflight > 0);
    c->inflight--;
    if (!c->closed)
        conn_wake(c);
    else if (c->inflight == 0)
        finish(c);
}

/* --- input --- */

static size_t output_mark(const struct conn *c)
{
    const struct io *io = c->io;
    return io->queued > io->limits.output_total ? 0 : io->limits.output_high;
}

static bool limits_allow(const struct conn *c)
{
    return c->inflight < c->io->limits.inflight_max &&
           atomic_load_explicit(&c->queued, memory_order_relaxed) <= output_mark(c);
}

void conn_wake(struct conn *c)
{
    if (c->reading || !c->connected || conn_closing(c) || !list_empty(&c->ready_link))
        return;
    /* Well below the limits, so that a connection at one does not stop and start for every answer. */
    int inflight_max = c->io->limits.inflight_max;
    size_t queued = atomic_load_explicit(&c->queued, memory_order_relaxed);
    if (c->inflight < inflight_max - inflight_max / 8 && queued <= output_mark(c) / 2)
        io_resume_later(c);
}

/* Moves the waiting bytes behind what `to` holds; they and what follows are this connection's. */
static void move_input(struct conn *c, struct block *to)
{
    size_t left = c->in_end - c->in_at;
    memcpy(to->data + to->used, c->in->data + c->in_at, left);
    block_unref(c->in);
    c->in = to;
    c->in_at = to->used;
    c->in_end = to->used += left;
}

/* Makes room behind the waiting bytes for more of their frame:
 *   the frame fits where it began, and nobody else appends there    nothing to do
 *   few bytes of a small frame                                      on, in the shared block
 *   a long beginning, alone in its block                            the block grows
 *   anything else                                                   a block of its own */
static bool make_room(struct conn *c)
{
    struct block *b = c->in;
    struct block_pool *pool = b->pool;
    size_t left = c->in_end - c->in_at;
    bool own = c->in_end == b->used && pool->shared != b;
    if (own && c->in_want > 0 && c->in_at + c->in_want <= b->cap)
        return true;
    if (left < SHORT_INPUT && c->in_want <= BLOCK_READ_MIN - SHORT_INPUT) {
        struct block *shared = block_shared(pool);
        if (shared != NULL)
            move_input(c, block_ref(shared));
        return shared != NULL;
    }
    if (pool->bytes > c->io->limits.input_total)
        return false;
    /* Twice what came, so that a frame costs its sender half the memory it makes us hold. */
    size_t cap = 2 * left > c->in_want ? c->in_want : 2 * left;
    if (cap < BLOCK_SIZE)
        cap = BLOCK_SIZE;
    if (own && c->in_at == 0 && b->refs == 1 && cap > b->cap && b->cap >= BLOCK_SIZE)
        return block_grow(&c->in, cap);
    struct block *fresh = block_new(pool, cap);
    if (fresh != NULL)
        move_input(c, fresh);
    return fresh != NULL;
}

static void note_reader(struct conn *c)
{
    struct io *io = c->io;
    if (io->reader_id == NULL)
        return;
    if (atomic_load_explicit(io->reader_id, memory_order_relaxed) != c->id) {
        atomic_store_explicit(io->reader_id, c->id, memory_order_relaxed);
        io->reader_turns = 0;
    } else if (io->turn != c->loop->turn) {
        io->reader_turns++;
    }
    io->turn = c->loop->turn;
}

/* Without more ado a lone connection takes turns with us: its peer waits while we work and the other
 * way round. So it is read in smaller parts, and each part's results leave before the next is read; and
 * when all have left the loop stays awake for a moment, because the next request comes soon.
 * Several connections keep everybody busy; to them this would only mean smaller batches. */
static bool is_lone(const struct io *io)
{
    return io->reader_turns >= LONE_TURNS;
}

static void give_space(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = conn_of(h);
    struct block *b;
    if (c->in == NULL)
        b = block_shared(&c->io->blocks);
    else
        b = make_room(c) ? c->in : NULL;
    if (b == NULL) {
        *buf = uv_buf_init(NULL, 0); /* on_read gets UV_ENOBUFS */
        return;
    }
    note_reader(c);
    size_t n = b->cap - b->used;
    if (n > TURN_INPUT && c->in_want <= TURN_INPUT && is_lone(c->io))
        n = TURN_INPUT;
    *buf = uv_buf_init(b->data + b->used, (unsigned)n);
}

static void take_bytes(struct conn *c, size_t n)
{
    if (c->in == NULL) {
        c->in = block_ref(c->io->blocks.shared);
        c->in_at = c->in_end = c->in->used;
    }
    c->in->used += n;
    c->in_end += n;
    stat_add(&c->io->stats.bytes_in, n);
    c->io->turn_input += n;
    c->active_ms = clock_mono(c->io->clock);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct conn *c = conn_of(s);
    if (n == 0 || conn_closing(c))
        return;
    if (n == UV_EOF) {
        conn_shut_flushed(c, LOG_DEBUG, "closed by the peer"); /* it may only have stopped to talk */
    } else if (n == UV_ENOBUFS) {
        conn_shut(c, LOG_WARN, "no room for its input: memory, or the limit of unfinished frames");
    } else if (n < 0) {
        conn_shut(c, LOG_DEBUG, uv_strerror((int)n));
    } else {
        take_bytes(c, (size_t)n);
        conn_run(c);
        if (!is_lone(c->io))
            return;
        if (c->io->turn_input >= TURN_INPUT)
            loop_cut_turn(c->loop);
        loop_busy_poll(c->loop, c->io->limits.busy_poll_ns);
    }
}

/* Lets go of the block when nothing waits in it, or when what waits is short. */
static void settle(struct conn *c)
{
    size_t left = c->in == NULL ? 0 : c->in_end - c->in_at;
    if (left == 0) {
        block_unref(c->in);
        c->in = NULL;
        c->frame_since_ms = 0;
        return;
    }
    if (c->frame_since_ms == 0 || c->frame_mark != c->frames) {
        c->frame_since_ms = c->active_ms;
        c->frame_mark = c->frames;
    }
    struct block *small =
        left < SHORT_INPUT && c->in->cap >= BLOCK_SIZE ? block_new(c->in->pool, left) : NULL;
    if (small != NULL)
        move_input(c, small);
    else
        block_unshare(c->in);
}

static void bad_frame(struct conn *c, const char *p, size_t n, const struct err *e)
{
    stat_add(&c->io->stats.protocol_errors, 1);
    bool tls = c->frames == 0 && n > 0 && (unsigned char)p[0] == 0x16;
    conn_shut(c, LOG_WARN, tls ? "TLS is not enabled on this port, the peer spoke TLS" : e->text);
}

/* Cuts frames until the input is used up (true) or something forbids to go on (false). */
static bool cut_frames(struct conn *c)
{
    if (c->turn != c->loop->turn) {
        c->turn = c->loop->turn;
        c->turn_frames = 0;
    }
    while (!conn_closing(c)) {
        if (!limits_allow(c))
            return false;
        if (c->turn_frames >= FRAMES_PER_TURN) {
            io_resume_later(c);
            return false;
        }
        struct frame f;
        struct err e;
        char *p = c->in == NULL ? NULL : c->in->data + c->in_at;
        size_t n = c->in == NULL ? 0 : c->in_end - c->in_at;
        int rc = frame_next(p, n, c->io->limits.frame_max, &f, &e);
        c->in_want = f.total;
        if (rc == E_AGAIN)
            return true;
        if (rc != 0) {
            bad_frame(c, p, n, &e);
            return false;
        }
        c->in_at += f.total;
        c->frames++;
        c->turn_frames++;
        c->io->events->on_frame(c, c->in, p, &f);
    }
    return false;
}

void conn_run(struct conn *c)
{
    bool hungry = cut_frames(c);
    if (conn_closing(c))
        return;
    settle(c);
    if (!hungry) {
        c->frame_since_ms = 0; /* we keep it waiting, not it us */
        if (c->reading)
            uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
        return;
    }
    list_remove(&c->ready_link); /* an answer given meanwhile may have asked for another run */
    if (c->reading)
        return;
    int rc = uv_read_start((uv_stream_t *)&c->tcp, give_space, on_read);
    if (rc != 0)
        conn_shut(c, LOG_DEBUG, uv_strerror(rc));
    else
        c->reading = true;
}

/* --- time limits --- */

static const char *overdue(struct conn *c, int64_t now_ms)
{
    const struct io_limits *l = &c->io->limits;
    if (c->writing != NULL) {
        size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
        if (left != c->stall_left) {
            c->stall_left = left;
            c->stall_since_ms = now_ms;
        } else if (now_ms - c->stall_since_ms > l->write_stall_ms) {
            return "the peer does not read its answers: no progress within the write limit";
        }
        return NULL;
    }
    if (!c->connected)
        return NULL;
    if (l->first_frame_ms > 0 && c->frames == 0 && now_ms - c->opened_ms > l->first_frame_ms)
        return "no request within the first-request limit";
    if (c->frame_since_ms != 0) {
        int64_t slow_ms = (int64_t)(c->in_end - c->in_at) / FRAME_RATE_MIN;
        if (now_ms - c->frame_since_ms > l->frame_ms + slow_ms)
            return "an unfinished frame took too long";
    }
    if (c->inflight == 0 && now_ms - c->active_ms > l->idle_ms)
        return "idle";
    return NULL;
}

void conn_sweep(struct conn *c, int64_t now_ms)
{
    if (conn_closing(c))
        return;
    const char *why = overdue(c, now_ms);
    if (why != NULL)
        conn_shut(c, LOG_INFO, why);
}

/* --- for others --- */

void conn_ref(struct conn *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void conn_unref(struct conn *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

uint64_t conn_id(const struct conn *c) { return c->id; }
const struct host *conn_peer(const struct conn *c) { return &c->peer; }
const char *conn_peer_text(const struct conn *c) { return c->peer_text; }
struct loop *conn_loop(const struct conn *c) { return c->loop; }
void conn_set_user(struct conn *c, void *user) { c->user = user; }
void *conn_user(const struct conn *c) { return c->user; }

bool conn_closing(const struct conn *c)
{
    return atomic_load_explicit(&c->closing, memory_order_acquire);
}

struct close_mail {
    struct mail mail;
    struct conn *c;
    char why[96];
};

static void close_on_loop(struct mail *m)
{
    struct close_mail *cm = LIST_ENTRY(m, struct close_mail, mail);
    conn_shut_flushed(cm->c, LOG_INFO, cm->why);
    conn_unref(cm->c);
    free(cm);
}

void conn_close(struct conn *c, const char *why)
{
    if (conn_closing(c))
        return;
    if (loop_is_current(c->loop)) {
        conn_shut_flushed(c, LOG_INFO, why);
        return;
    }
    struct close_mail *cm = malloc(sizeof *cm);
    if (cm == NULL)
        return; /* LIMIT: without memory for the mail the connection lives until a time limit ends it */
    cm->mail.deliver = close_on_loop;
    cm->c = c;
    snprintf(cm->why, sizeof cm->why, "%s", why);
    conn_ref(c);
    if (loop_post(c->loop, &cm->mail) != 0) {
        conn_unref(c);
        free(cm);
    }
}

/* --- pushes --- */

static int encode_oneway(struct buf *out, int32_t code, const void *hdr, struct slice body)
{
    static _Atomic uint32_t last_opaque;
    const struct code_row *row = hdr == NULL ? NULL : code_row_of(code);
    MQ_ASSERT(row != NULL || hdr == NULL);
    struct command_out cmd = {
        .code = code,
        .opaque = (int32_t)(atomic_fetch_add_explicit(&last_opaque, 1, memory_order_relaxed) & INT32_MAX),
        .flag = COMMAND_FLAG_ONEWAY,
        .type = COMMAND_JSON,
        .desc = row == NULL ? NULL : row->request,
        .names = row == NULL ? HDR_LONG : row->names,
        .hdr = hdr,
    };
    int rc = command_encode(out, &cmd, body.n, NULL);
    if (rc != 0)
        return rc;
    buf_slice_add(out, body);
    return buf_error(out);
}

struct oneway_mail {
    struct mail mail;
    struct conn *c;
    struct buf frame;
};

static void oneway_free(struct oneway_mail *om)
{
    buf_free(&om->frame);
    conn_unref(om->c);
    free(om);
}

static void queue_bytes(struct conn *c, struct slice bytes)
{
    struct out *o = output_begin(c, 0);
    if (o == NULL)
        return;
    size_t before = o->bytes.n;
    buf_slice_add(&o->bytes, bytes);
    if (buf_error(&o->bytes) != 0)
        conn_shut(c, LOG_ERROR, "out of memory for a push");
    else
        output_end(c, before, 0);
}

static void oneway_on_loop(struct mail *m)
{
    struct oneway_mail *om = LIST_ENTRY(m, struct oneway_mail, mail);
    struct conn *c = om->c;
    atomic_fetch_sub_explicit(&c->posted, om->frame.n, memory_order_relaxed);
    if (!conn_closing(c))
        queue_bytes(c, buf_slice(&om->frame));
    oneway_free(om);
}

int conn_send_oneway(struct conn *c, int32_t code, const void *hdr, struct slice body)
{
    if (conn_closing(c))
        return E_CLOSED;
    size_t waiting = atomic_load_explicit(&c->queued, memory_order_relaxed) +
                     atomic_load_explicit(&c->posted, memory_order_relaxed);
    if (waiting > c->output_high)
        return E_BUSY;
    struct oneway_mail *om = malloc(sizeof *om);
    if (om == NULL)
        return E_NOMEM;
    *om = (struct oneway_mail){.mail.deliver = oneway_on_loop, .c = c};
    buf_init(&om->frame, 0);
    conn_ref(c);
    int rc = encode_oneway(&om->frame, code, hdr, body);
    if (rc != 0) {
        oneway_free(om);
        return rc;
    }
    atomic_fetch_add_explicit(&c->posted, om->frame.n, memory_order_relaxed);
    if (loop_is_current(c->loop)) {
        oneway_on_loop(&om->mail);
        return 0;
    }
    rc = loop_post(c->loop, &om->mail);
    if (rc != 0)
        oneway_free(om);
    return rc;
}
