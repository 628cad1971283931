#pragma once
/* The server side of remoting: sockets to requests, answers to sockets. It knows no broker: its owner
 * passes a route table. See docs/ARCHITECTURE.md for the picture.
 *
 * Lifetime: a request (`struct req`) has one owner at any time: the handler it was given to, until
 * exactly one of req_reply*, req_discard is called. A handler may answer at once or keep the request
 * and answer later; then either req_own_input or req_drop_input, because until then it pins a receive
 * block. All req_* functions except req_post run on the request's loop.
 * If the peer is gone, an answer is freed silently; handlers need not care.
 *
 * Bounds, per connection: requests in flight, bytes queued for output (reading stops above the high
 * mark and resumes below it), a frame's size, time without a whole frame, time without progress of
 * a write. A peer that breaks one is closed with one log line. */
#include <sys/uio.h>

#include "base/clock.h"
#include "proto/command.h"
#include "proto/message.h"
#include "remoting/loop.h"

struct server;
struct conn;
struct req;

enum route_class { /* admission: which requests are refused first when the server is overloaded */
    ROUTE_WRITE, ROUTE_READ, ROUTE_CLIENT, ROUTE_ADMIN
};
struct route {
    int32_t code;
    void (*handler)(struct req *r);
    enum route_class class;
};

struct server_opts {
    const char *name;         /* for log lines: "broker", "fast", "namesrv" */
    const char *bind_address; /* "0.0.0.0", "127.0.0.1", "::" */
    int port;                 /* 0: the system picks; server_port tells */
    int backlog;
    struct loop *const *loops; /* started by the owner; connections are dealt round robin */
    int loop_n;
    const struct route *routes;
    size_t route_n;
    void *owner;              /* server_owner(req_server(r)) */
    const struct clock *clock;
    /* Connection events, on the connection's loop. on_open may set conn_set_user. After on_close no
     * handler runs for the connection; references may still exist. All may be NULL. */
    void (*on_open)(struct server *s, struct conn *c);
    void (*on_close)(struct server *s, struct conn *c);
    /* 0 = the default in brackets. */
    int conn_max;             /* connections at once [65536]; beyond it the newest is closed */
    int conn_per_ip_max;      /* [0 = conn_max] */
    int64_t idle_ms;          /* without a read or a write [120000] */
    int64_t first_frame_ms;   /* from accept to the first whole frame, and from the first byte of any
                               * frame to its last, plus a second for each 8 KB of it [30000] */
    int64_t write_stall_ms;   /* queued output without progress [30000] */
    size_t frame_max;         /* [16 MiB] */
    size_t output_high;       /* stop reading above it [4 MiB] */
    size_t output_max;        /* close above it [64 MiB] */
    int inflight_max;         /* unanswered requests [4096]; beyond it reading stops */
    /* Of all connections together, divided among the loops. */
    int inflight_total;       /* unanswered requests [262144]; beyond it they are answered 2, WRITE first */
    size_t output_total;      /* [512 MiB]; above it no connection with queued output is read */
    size_t input_total;       /* [1 GiB]; above it a connection in a long unfinished frame is closed */
    /* Never cut a turn: for handlers whose answers wait for something that is paid once a turn. */
    bool whole_turns;
    /* [0: not] How long a loop looks for the next request of a connection that has the server to
     * itself before it sleeps; not with whole_turns. See loop_busy_poll. */
    int busy_poll_us;
};

/* Binds and starts to accept. E_EXISTS: address in use (text names it), E_DENIED, E_IO. */
int server_open(struct server **out, const struct server_opts *opts, struct err *e) HP_MUST_USE;
int server_port(const struct server *s);
void *server_owner(const struct server *s);
/* Any thread outside the loops: stops accepting, closes every connection, frees. Returns when done, that
 * is when every request is answered or discarded: the owner lets go of those it keeps, at the latest in
 * on_close. */
void server_close(struct server *s);
/* Stops accepting; new requests of clients newer than 5.3.1 get GO_AWAY, others are still served. */
void server_drain(struct server *s);

struct server_stats {
    uint64_t accepted, closed, refused, requests, bytes_in, bytes_out, protocol_errors;
    uint64_t open; /* connections now */
};
void server_stats_get(const struct server *s, struct server_stats *out);

/* --- requests --- */
struct server *req_server(const struct req *r);
struct conn *req_conn(const struct req *r);
struct loop *req_loop(const struct req *r);
const struct command *req_command(const struct req *r); /* slices live until the input is dropped */
bool req_oneway(const struct req *r);
int64_t req_received_ms(const struct req *r); /* monotonic */
/* Decodes the header by the code's row; on failure answers 1 with a clear remark, frees r, and
 * returns E_PROTO: the handler just returns. */
int req_header(struct req *r, void *hdr) HP_MUST_USE;
/* Space that lives as long as the request (arena); NULL when memory is out. */
void *req_alloc(struct req *r, size_t n);
/* Copies the input out of the shared receive block, keeping every slice of req_command valid at its
 * new address (slices taken before must be taken again). E_NOMEM. */
int req_own_input(struct req *r) HP_MUST_USE;
void req_drop_input(struct req *r); /* the command's slices become invalid */
/* Any thread: runs fn(r) on r's loop. Uses a mail inside r: one post at a time. */
void req_post(struct req *r, void (*fn)(struct req *r));
void req_set_user(struct req *r, void *user);
void *req_user(const struct req *r);
/* Fields that the answer carries if it has no response header; borrowed until then. */
void req_set_plain_ext(struct req *r, const struct ext_field *ext, size_t n);

/* The answer: response header by the code's row (NULL: none), remark may be NULL. Frees r. A oneway
 * request writes nothing. */
void req_reply(struct req *r, int32_t code, const char *remark, const void *resp);
void req_replyf(struct req *r, int32_t code, const char *fmt, ...) HP_PRINTF(3, 4); /* no header */
/* With a body taken over from a buffer (the buffer is left empty). */
void req_reply_buf(struct req *r, int32_t code, const char *remark, const void *resp, struct buf *body);
/* With a body of borrowed pieces: release(arg) runs on the loop once they have left (or the peer is
 * gone); iov itself is copied. */
void req_reply_iov(struct req *r, int32_t code, const char *remark, const void *resp,
                   const struct iovec *iov, int iov_n, void (*release)(void *arg), void *arg);
/* Frees r without an answer. */
void req_discard(struct req *r);

/* --- connections --- */
void conn_ref(struct conn *c);   /* any thread */
void conn_unref(struct conn *c); /* any thread */
uint64_t conn_id(const struct conn *c); /* unique in the process */
const struct host *conn_peer(const struct conn *c);
const char *conn_peer_text(const struct conn *c); /* "10.0.0.1:4711" */
struct loop *conn_loop(const struct conn *c);
bool conn_closing(const struct conn *c); /* any thread; may become true right after */
void conn_set_user(struct conn *c, void *user); /* loop thread */
void *conn_user(const struct conn *c);
void conn_close(struct conn *c, const char *why); /* any thread */
/* Any thread: queues a oneway request to the peer; body is copied. E_CLOSED: the peer is gone; E_BUSY: it
 * does not read (output above the high mark). A push that is queued may still be lost with the peer. */
int conn_send_oneway(struct conn *c, int32_t code, const void *hdr, struct slice body) HP_MUST_USE;
