#pragma once
/* Drivers for the servers that the broker is compared with and that do not speak RocketMQ's protocol.
 * Each stores a body of `body` bytes durably in its own way and acknowledges it: Redis XADD to a stream,
 * NATS a JetStream publish, beanstalkd a put. What their files promise is set where they are started. */
#include "bench/load.h"

struct peer_load {
    size_t body;
    struct buf frame; /* prebuilt request */
    size_t link_at, seq_at, body_at;
};

struct peer {
    const char *name;
    const struct driver *driver; /* of a struct peer_load */
    /* Builds the request. E_NOMEM. */
    int (*build)(struct peer_load *l);
    /* Makes the server ready to take messages. Blocks. */
    int (*prepare)(const struct host *h, struct err *e);
    /* How many messages the server says it holds. Blocks. */
    int (*count)(const struct host *h, int64_t *out, struct err *e);
};
extern const struct peer peer_redis, peer_nats, peer_beanstalkd;

/* --- for the peers' files --- */

/* The length of the line at the head of in[0..n), its CR LF included; 0 when it is not complete yet,
 * E_PROTO when it is longer than any answer of these protocols. */
int64_t peer_line(const char *in, size_t n, struct slice *line, struct err *e);
/* `count` bytes of body: a to z, again and again. */
void peer_body(struct buf *out, size_t count);
/* Connects, sends `request`, and reads until `wanted` is in the answer, which is left in *out with a
 * NUL after it. E_CLOSED, E_TIMEOUT (5 s), E_REMOTE (`refused` was in the answer first; NULL: none). */
int peer_ask(const struct host *h, const char *request, const char *wanted, const char *refused,
             struct buf *out, struct err *e);
/* The number after `name` in a text; E_PROTO when there is none. */
int peer_number(const struct buf *text, const char *name, int64_t *out, struct err *e);
