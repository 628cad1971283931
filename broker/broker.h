#pragma once
/* The broker: tables, loops, store and ports, put together. docs/THREADS.md has the threads and
 * locks.
 *
 * Life: broker_open builds everything bottom-up (config files, store, loops, tx and delay, ports,
 * registration) and returns when requests are served; broker_close takes it down in reverse. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "broker/conf.h"
#include "broker/put.h"
#include "remoting/rpc.h"
#include "remoting/server.h"

struct net { /* one network loop */
    struct loop loop;
    struct submitter submit;
    struct rng rng;
    struct broker *broker;
    uv_timer_t sweep; /* hold_sweep */
    struct list lines; /* ensure.c: sends behind one that waits for its topic; the loop's */
};
struct service { /* the service loop: timers, files, name servers */
    struct loop loop;
    struct submitter submit; /* tx and delay put through it */
    struct rpc *rpc;         /* to name servers */
    struct rng rng;
    uv_timer_t persist_timer, expire_timer, keep_timer, clock_timer;
    bool timed;       /* the timers exist */
    bool clock_apart; /* the system's clock is not near the broker's, and that was told */
    struct turn_hook commit_hook; /* writes config files once a turn, then frees the requests */
    struct list jobs;             /* ensure.c: created, not yet written */
};

enum { BROKER_LOOP_MAX = 64, BROKER_ROUTES_MAX = 64, SEND_EXT_N = 2 };

struct broker_opts;

struct broker {
    const struct broker_conf *conf; /* borrowed for the broker's life; not changed while it runs */
    const struct clock *clock;  /* wall time does not jump: it is compared with store times */
    struct clock_steady steady; /* clock, unless broker_opts names another one */
    struct fs *fs;
    int64_t delay_level_ms[DELAY_LEVEL_MAX];
    int delay_level_n;
    struct host store_host; /* brokerIP1 and the real port: in every record and message id */
    char address[80];       /* the same as text: what name servers are told */
    char ha_address[80];
    struct ext_field send_ext[SEND_EXT_N]; /* of refused sends: region and trace switch */
    struct store *store;
    struct topics *topics;
    struct groups *groups;
    struct offsets *offsets;
    struct clients *clients;
    struct locks *locks;
    struct hold *hold;
    struct registrar *registrar;
    struct tx *tx;       /* tx.c */
    struct delay *delay; /* delay.c */
    struct net *nets;
    int net_n;
    struct service service;
    struct server *server, *fast; /* fast: NULL when listenPort - 2 is not served */
    int fast_port;                /* 0: not served; then fast_error says why */
    char fast_error[256];
    _Atomic bool stopping; /* handlers that would start something answer 14 */
    _Atomic bool failed;   /* the store is FAILED; failed_reason is set before */
    char failed_reason[256];
    struct store_recovery recovery; /* what store_open found, for the banner */
    struct route routes[BROKER_ROUTES_MAX], fast_routes[BROKER_ROUTES_MAX];
    const struct broker_opts *opts; /* while broker_open runs */
};

struct broker_opts {
    const struct broker_conf *conf; /* loaded and finished; must outlive the broker */
    struct fs *fs;                  /* NULL: the operating system */
    const struct clock *clock;      /* NULL: a steady one that begins at the system's time */
    void (*on_progress)(void *arg, const struct store_progress *p); /* recovery */
    void *arg;
};
int broker_open(struct broker **out, const struct broker_opts *o, struct err *e) HP_MUST_USE;
int broker_port(const struct broker *b);
/* Unregisters, finishes what is in flight, persists, closes the store. The error that kept it from
 * an orderly stop, if any (E_FAILED when the store is FAILED). Frees b in any case. */
int broker_close(struct broker *b, struct err *e) HP_MUST_USE;

/* Of a request, on its loop. */
static inline struct broker *req_broker(const struct req *r)
{
    return server_owner(req_server(r));
}
static inline struct net *req_net(const struct req *r)
{
    return &req_broker(r)->nets[req_loop(r)->index];
}
/* Where a handler puts: the submitter of the request's loop. */
static inline struct submitter *req_submitter(const struct req *r)
{
    return &req_net(r)->submit;
}
