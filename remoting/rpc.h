#pragma once
/* The client side of remoting: one set of connections by address, requests with deadlines, pushes
 * from the peer. Used by the client library, by the broker towards name servers, by tools.
 *
 * Everything runs on one loop; rpc_call and friends must be called there. The callback runs exactly
 * once, later, on the loop: never inside the call. */
#include "base/clock.h"
#include "proto/command.h"
#include "proto/message.h"
#include "remoting/loop.h"

struct rpc;

struct rpc_result {
    int status;                     /* 0: an answer came (any code), else E_TIMEOUT E_CONNECT E_CLOSED E_SHUTDOWN E_PROTO */
    const struct command *response; /* when status is 0; valid during the callback */
    const char *address;            /* the peer asked */
    struct err error;               /* text when status != 0 */
};
typedef void (*rpc_done)(void *arg, const struct rpc_result *res);

/* A push from a peer. reply is for two-way pushes: rpc_push_reply with the same opaque. */
struct rpc_push {
    const struct command *command; /* valid during the call */
    const char *address;           /* "10.0.0.1:10911": the address that was dialled */
    uint64_t conn_id;
};
struct rpc_opts {
    struct loop *loop;
    const struct clock *clock;
    int64_t connect_timeout_ms; /* [3000] */
    int64_t idle_ms;            /* unused connections are closed [120000] */
    size_t frame_max;           /* [16 MiB] */
    size_t inflight_max;        /* unanswered calls [65535]; beyond: E_BUSY */
    uint8_t language;           /* [LANGUAGE_CPP] */
    void (*on_push)(void *arg, const struct rpc_push *push);
    void (*on_disconnect)(void *arg, const char *address);
    void *arg;
};
int rpc_open(struct rpc **out, const struct rpc_opts *opts, struct err *e) HP_MUST_USE; /* on the loop */
/* On the loop: fails what is pending with E_SHUTDOWN, closes connections, then calls done(arg). */
void rpc_close(struct rpc *r, void (*done)(void *arg), void *arg);

struct rpc_request {
    struct slice address; /* "host:port"; host names are resolved on libuv's pool */
    int32_t code;
    const void *hdr;      /* struct of the code's row, NULL for none */
    const struct ext_field *extra;
    size_t extra_n;
    struct slice remark;
    const struct iovec *body; /* copied */
    int body_n;
    int64_t timeout_ms;
};
/* E_BUSY, E_TOOBIG, E_INVAL (address), E_NOMEM, E_SHUTDOWN: then done is never called. */
int rpc_call(struct rpc *r, const struct rpc_request *q, rpc_done done, void *arg, struct err *e) HP_MUST_USE;
/* Fire and forget: queued on a connection (dialling it if needed). */
int rpc_oneway(struct rpc *r, const struct rpc_request *q, struct err *e) HP_MUST_USE;
/* Answers a two-way push. */
int rpc_push_reply(struct rpc *r, uint64_t conn_id, int32_t opaque, int32_t code, const char *remark,
                   struct slice body) HP_MUST_USE;
/* Drops the connection to an address, if any (its pending calls get E_CLOSED). */
void rpc_disconnect(struct rpc *r, struct slice address);
