#pragma once
/* Inside remoting: the client side. rpc.c has calls and answers, rpc_peer.c dialling and failure. */
#include "base/map.h"
#include "remoting/conn_priv.h"
#include "remoting/deadline.h"
#include "remoting/rpc.h"

struct call {
    struct list link; /* peer->calls */
    struct deadline deadline;
    struct peer *peer;
    int32_t opaque;
    rpc_done done;
    void *arg;
};
/* An answer finds its call by opaque = generation << 16 | slot. The generation moves on each use, so a
 * late answer to a call that timed out matches nothing. */
struct slot {
    struct call *call; /* NULL: free */
    uint16_t generation, next_free;
};
enum { SLOTS_MAX = 65535, SLOT_NONE = 65535, GENERATION_MASK = 0x7FFF };

enum peer_state {
    PEER_RESOLVING,
    PEER_CONNECTING,
    PEER_UP,
    PEER_GONE, /* out of the map; its calls fail with `error` on the next mail */
};
struct peer {
    struct list link; /* rpc->gone */
    struct rpc *rpc;
    char *address;
    char *host;
    char port[8];
    enum peer_state state;
    bool was_up, resolving;
    struct conn *conn;   /* NULL while resolving and when gone */
    struct list calls;
    struct buf backlog;  /* frames to send once connected */
    struct deadline connect_deadline;
    uv_getaddrinfo_t resolve;
    struct addrinfo *found, *next; /* addresses; the next to try */
    struct err error;
};

struct rpc {
    struct io io;
    struct rpc_opts opts;
    struct map *peers; /* address -> struct peer */
    size_t peers_alive;
    struct list gone;
    struct mail gone_mail;
    bool gone_posted;
    struct slot *slots;
    size_t slots_n, calls_n;
    uint16_t slots_free;
    uint16_t oneway_n;
    struct deadlines deadlines;
    uv_timer_t timer;
    struct buf spill;
    bool closing, timer_closed, io_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* rpc.c */
void rpc_complete(struct call *call, const struct rpc_result *res); /* calls done, frees the call */
int rpc_arm(struct rpc *r, struct deadline *d, int64_t after_ms, void (*fire)(struct deadline *d)) HP_MUST_USE;
void rpc_maybe_closed(struct rpc *r);

/* rpc_peer.c */
/* The peer of an address, dialled if it is new. E_INVAL, E_NOMEM. A dial that fails at once still
 * gives a peer: its calls fail later. */
int peer_get(struct rpc *r, struct slice address, struct peer **out, struct err *e) HP_MUST_USE;
void peer_fail(struct peer *p, const struct err *why);
void peer_on_closed(struct conn *c);
void peer_bury_gone(struct mail *m);
