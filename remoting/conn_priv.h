#pragma once
/* Inside remoting: connections and what they share on one loop. Servers and rpc both build on it:
 * they embed a `struct io` per loop and get whole frames from it.
 *
 * Everything here runs on the io's loop unless it says otherwise. */
#include <stdatomic.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/command.h"
#include "proto/message.h"
#include "remoting/block.h"
#include "remoting/frame.h"
#include "remoting/loop.h"
#include "remoting/server.h"

struct io_limits {
    int64_t idle_ms;        /* without a read or a write, nothing in flight */
    int64_t first_frame_ms; /* 0: none */
    int64_t frame_ms;       /* from the first byte of a frame to its last, plus FRAME_RATE_MIN's time */
    int64_t write_stall_ms;
    size_t frame_max;
    size_t output_high, output_max; /* per connection */
    size_t output_total;            /* per loop: above it no connection with queued output is read */
    size_t input_total;             /* per loop: above it long unfinished frames are given up */
    int inflight_max;
    uint64_t busy_poll_ns; /* after a turn of a lone connection; 0: not */
};
enum {
    TURN_INPUT = 64 * 1024,       /* bytes of a lone connection, then its results so far leave */
    LONE_TURNS = 16,              /* turns without another connection's input that make one lone */
    FRAMES_PER_TURN = 1024,       /* of one connection, then the others have their turn */
    FRAME_RATE_MIN = 8,           /* bytes per millisecond that a slow frame must keep up */
    OUTPUT_INLINE_MAX = 4 * 1024, /* bodies up to this size are copied next to their header */
};

struct io_events {
    /* One whole frame at p, inside b. The connection may be closing afterwards. */
    void (*on_frame)(struct conn *c, struct block *b, char *p, const struct frame *f);
    /* Once, when libuv is done with the socket; no on_frame after it. */
    void (*on_closed)(struct conn *c);
};

struct io_stats { /* written by the loop, read by anybody */
    _Atomic uint64_t closed, requests, bytes_in, bytes_out, protocol_errors;
};
static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* What the connections of one owner share on one loop. */
struct io {
    struct loop *loop;
    const struct clock *clock;
    const char *name; /* for log lines */
    const struct io_events *events;
    struct io_limits limits;
    struct turn_hook hook; /* flushes dirty connections */
    uv_timer_t sweep;      /* one timer for every time limit of every connection */
    uv_idle_t resume;      /* active while `ready` holds somebody */
    struct list conns;     /* struct conn.link */
    struct list dirty;     /* have output to write this turn */
    struct list ready;     /* stopped reading and may go on */
    struct block_pool blocks;
    struct list outs_free;
    int outs_free_n;
    struct out *orphans; /* pieces whose connection is gone: released by the next hook */
    uv_buf_t *iov;       /* scratch of a flush */
    size_t iov_cap;
    size_t queued; /* output bytes of all connections */
    size_t turn_input;  /* bytes read since the hook ran */
    /* The connection that was read last, on any of the owner's loops; NULL: none is ever lone. */
    _Atomic uint64_t *reader_id;
    uint64_t turn;         /* the loop's, when one of this io was read last */
    uint64_t reader_turns; /* turns, up to that one, in which no other was read */
    struct io_stats stats;
    bool closing;
    int handles_open;
    void (*on_closed)(struct io *io);
};
int io_open(struct io *io, struct err *e) HP_MUST_USE; /* loop, clock, name, events, limits are set */
/* Closes every connection; on_closed when all are gone, their requests included. */
void io_close(struct io *io, void (*on_closed)(struct io *io));
void io_resume_later(struct conn *c); /* the next turn runs conn_run */
void io_maybe_closed(struct io *io);

struct conn {
    struct loop *loop;
    uint64_t id;
    struct host peer;
    char peer_text[64];
    size_t output_high; /* for conn_send_oneway, which must not touch io */
    /* any thread */
    _Atomic int refs;
    _Atomic bool closing;
    _Atomic size_t queued; /* output not yet taken by the kernel; written by the loop only */
    _Atomic size_t posted; /* bytes of conn_send_oneway on their way to the loop */
    /* loop thread */
    struct io *io; /* NULL once finished */
    void *user;    /* of the server's owner */
    void *context; /* of the io's owner */
    struct list link, dirty_link, ready_link;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_connect_t connect; /* rpc */
    bool connected, reading, closed;
    int inflight;
    struct block *in; /* bytes [in_at, in_end) wait to be cut */
    size_t in_at, in_end;
    size_t in_want; /* size of the frame that in_at begins, 0 while unknown */
    uint64_t frames, turn;
    int turn_frames;
    int64_t opened_ms, active_ms;
    int64_t frame_since_ms; /* when the unfinished frame began; 0: none */
    uint64_t frame_mark;    /* c->frames at that time */
    struct out *filling;    /* output of this turn, NULL when none */
    struct out *writing;    /* output that libuv holds, NULL when none */
    size_t writing_n;       /* bytes in it when libuv got it */
    size_t stall_left;      /* libuv's queue when it was last seen to shrink, and when that was */
    int64_t stall_since_ms;
    struct mail adopt; /* accept -> loop */
    int fd;            /* until adopted */
};

/* conn.c */
struct conn *conn_new(struct io *io); /* any thread; one reference, held by the loop; NULL: memory */
void conn_open(struct conn *c); /* joins its io; from here it ends through conn_shut */
void conn_connected(struct conn *c); /* starts to read and write */
void conn_run(struct conn *c);       /* cuts and hands out the frames that are there */
/* The peer may be read again, if that was what it waited for. */
void conn_wake(struct conn *c);
/* Closes. `level` of the log line; `why` may be freed afterwards. */
void conn_shut(struct conn *c, enum log_level level, const char *why);
/* The same, after what was said so far has left, as far as the kernel has room for it. */
void conn_shut_flushed(struct conn *c, enum log_level level, const char *why);
void conn_inflight_done(struct conn *c); /* one request less */
void conn_sweep(struct conn *c, int64_t now_ms);

/* output.c: the output of one turn: bytes, with borrowed pieces between them. */
struct piece {
    size_t at; /* belongs before bytes.p[at] */
    const char *p;
    size_t n;
    void (*release)(void *arg); /* may be NULL */
    void *arg;
};
struct out {
    struct list link;
    struct buf bytes;
    struct piece *pieces;
    size_t piece_n, piece_cap;
};
/* Where to append a frame, with room for piece_n pieces; NULL when nothing can be sent (closing, or
 * memory is out: then the connection is closed). */
struct out *output_begin(struct conn *c, size_t piece_n);
/* Ends it: counts what was appended since `bytes_before`, plus `pieces` bytes, and queues the flush. */
void output_end(struct conn *c, size_t bytes_before, size_t pieces);
void out_piece(struct out *o, const struct iovec *v, void (*release)(void *arg), void *arg);
/* Later, on a clean stack: release(arg). */
void io_release_later(struct io *io, void (*release)(void *arg), void *arg);
void output_flush(struct conn *c);
void output_drop(struct conn *c); /* the socket is gone */
void output_fini(struct io *io);
void output_release_orphans(struct io *io);
