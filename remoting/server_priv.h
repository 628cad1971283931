#pragma once
/* Inside remoting: a server, its share on each loop, a request. */
#include "remoting/conn_priv.h"

enum {
    REQS_FREE_MAX = 1024, /* request objects kept per loop */
    REQ_SCRATCH = 640,    /* bytes of req_alloc without malloc */
};

struct server_io {
    struct io io;
    struct server *server;
    struct list reqs_free;
    int reqs_free_n;
    int inflight; /* on all connections of this loop */
    int inflight_max;
};

struct scratch { /* an extra piece of a request's memory */
    struct scratch *next;
    _Alignas(16) char data[];
};
struct req {
    struct list link; /* while free */
    struct conn *conn;
    struct server_io *sio;
    struct block *block; /* the input; NULL: owned by the scratch memory, or dropped */
    char *frame;         /* where the frame begins */
    size_t frame_n;
    struct command command;
    struct buf spill; /* strings of an oddly written header */
    int64_t received_ms;
    void *user;
    const struct ext_field *plain_ext; /* of an answer without a header */
    size_t plain_ext_n;
    struct mail mail;
    void (*posted)(struct req *r);
    struct scratch *more;
    size_t scratch_n;
    _Alignas(16) char scratch[REQ_SCRATCH];
};
struct req *req_new(struct server_io *sio, struct conn *c); /* counts as in flight; NULL: memory */
void req_free_pool(struct server_io *sio);

struct route_slot {
    int32_t code;
    const struct route *route; /* NULL: empty */
};
struct server {
    const char *name;
    void *owner;
    const struct clock *clock;
    void (*on_open)(struct server *s, struct conn *c);
    void (*on_close)(struct server *s, struct conn *c);
    struct route_slot *routes; /* open addressing by code */
    uint32_t routes_mask;
    struct server_io *ios;
    int io_n, io_next;
    int conn_max, conn_per_ip_max;
    int port;
    /* acceptor: loops[0] */
    struct loop *accept_loop;
    int listen_fd, spare_fd;
    uv_poll_t listener;
    uv_timer_t accept_pause;
    int accept_handles;
    bool accept_stopped;
    _Atomic uint64_t accepted, refused;
    /* shared by loops */
    _Atomic bool draining;
    _Atomic int open;
    _Atomic uint64_t reader_id; /* of the ios */
    uv_mutex_t per_ip_lock;
    struct map *per_ip; /* address -> count; NULL without a limit */
    uv_sem_t stopped;   /* one post per loop, and one of the acceptor */
};

/* accept.c */
int listener_bind(struct server *s, const char *bind_address, int port, int backlog, struct err *e) HP_MUST_USE;
void listener_unbind(struct server *s); /* of a listener that was never started */
void listener_start(struct server *s);  /* on the accept loop */
void listener_stop(struct server *s);  /* on the accept loop; posts `stopped`; may be called once */
void per_ip_release(struct server *s, const struct conn *c);
