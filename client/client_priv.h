#pragma once
/* The client instance, shared by the files of this folder.
 *
 * Everything below runs on the instance's loop thread unless it says otherwise. */
#include "base/map.h"
#include "base/rng.h"
#include "client/error.h"
#include "client/timers.h"
#include "client/unique_id.h"
#include "halfpenny/types.h"
#include "remoting/rpc.h"

/* --- calls.c: requests whose asker may go away --- */

/* rpc_call whose answer can be given up: `owner` (a list of its asker) holds it until done ran.
 * Returns as rpc_call does; on an error done never runs. */
int client_call(struct hp_client *c, struct list *owner, const struct rpc_request *q, rpc_done done,
                void *arg, struct err *e) HP_MUST_USE;
/* Asks a name server: the current one, and after a transport failure each of the others once.
 * code: GET_ROUTEINFO_BY_TOPIC (topic is copied) or GET_BROKER_CLUSTER_INFO (topic null). */
int ns_call(struct hp_client *c, struct list *owner, int32_t code, struct slice topic,
            rpc_done done, void *arg, struct err *e) HP_MUST_USE;
/* The callbacks of every call in the list will not run. */
void calls_cancel(struct list *owner);
bool calls_idle(const struct list *owner);

/* --- route_cache.c --- */

struct route_queue {
    char *broker; /* owned by the route */
    int32_t read_n, write_n, perm;
    bool has_master;
};
struct write_queue {
    const char *broker; /* borrowed from the route */
    int32_t id;
};
enum route_state { ROUTE_UNASKED, ROUTE_KNOWN, ROUTE_MISSING };
struct route {
    char *topic;
    enum route_state state;     /* of the last answer; a later failure to ask leaves it */
    struct route_queue *queues; /* by broker name */
    size_t queue_n;
    char **brokers;             /* every broker the answer named */
    size_t broker_n;
    struct write_queue *writable; /* where a producer may send, in order */
    size_t writable_n;
    int subscribers;            /* consumers that need it fresh */
    int64_t asked_ms, used_ms;
    int misses;                 /* questions in a row that gave no route */
    bool asking;
    struct err error;           /* why the last question failed; code 0 when it was answered */
    struct list waiters;        /* struct route_waiter */
    struct timer timer;
    struct list calls;
    struct hp_client *c;
};
struct route_waiter {
    struct list link;
    void (*fn)(struct route_waiter *w, struct route *r);
};
struct broker_addr_entry {
    int64_t id;
    char *addr;
};
struct broker {
    char *name, *cluster;
    struct broker_addr_entry *addrs; /* by id */
    size_t addr_n;
    bool from_cluster_info, marked;
};
struct route_cache {
    struct map *routes;  /* topic to struct route */
    struct map *brokers; /* name to struct broker */
    struct timer timer;
    struct list calls;   /* cluster info */
    bool cluster_info_wanted;
    int64_t cluster_info_ms; /* last asked */
};
int routes_open(struct hp_client *c) HP_MUST_USE;
void routes_close(struct hp_client *c);
/* The cached route, made (unasked) when there is none; NULL when memory is out. */
struct route *route_of(struct hp_client *c, struct slice topic);
/* w->fn runs once, later, when the name server has answered or could not be asked. */
void route_wait(struct route *r, struct route_waiter *w);
void route_refresh(struct route *r); /* asks now, unless a question is under way */
/* After a failure at a broker: what we know may be old. At most one question per 100 ms. */
void route_suspect(struct hp_client *c, struct slice topic);
/* Knows every broker of the cluster from now on, not only those of used topics. */
void cluster_info_want(struct hp_client *c);
const struct broker *broker_of(const struct hp_client *c, const char *name);
const char *broker_address(const struct broker *b,
                           int64_t id); /* NULL when absent; b may be NULL */
const char *broker_any_address(const struct broker *b);
/* Takes the brokers of a 106 answer; marks them as known. */
int cluster_info_apply(struct hp_client *c, struct slice body, struct err *e) HP_MUST_USE;
/* The answer was needed once only: forgets its brokers unless a route names them or they are
 * wanted. */
void cluster_info_done(struct hp_client *c);

/* --- heartbeat.c --- */

struct peer {
    char *addr;
    bool wanted;
    bool registered; /* an answer came on the present connection, for the present epoch */
    uint64_t epoch;  /* of the last heartbeat on the present connection; 0: none, or it failed */
    size_t asking;   /* heartbeats under way */
    struct list farewells; /* of groups that leave when those are answered; groups.c */
    int64_t next_ms;
    int failures;
};
struct heartbeats {
    struct map *peers; /* address to struct peer */
    uint64_t epoch;    /* moves when a group comes or goes */
    struct buf body;   /* of this epoch */
    uint64_t body_epoch;
    struct timer timer;
    struct list calls;
};
int heartbeats_open(struct hp_client *c) HP_MUST_USE;
void heartbeats_close(struct hp_client *c);
void heartbeats_groups_changed(struct hp_client *c); /* tells every broker now */
void heartbeats_kick(struct hp_client *c);           /* looks for brokers to tell now */
/* Queues a heartbeat to the address unless the broker there knows our groups. */
void heartbeat_before(struct hp_client *c, const char *addr);
void heartbeats_lost(struct hp_client *c, const char *addr); /* its connection ended */
/* Tells every broker that a group, which no later heartbeat names, leaves; where a heartbeat is under
 * way, after its answer. done(arg) runs when all have answered or failed; the names live until
 * then. */
void unregister_group(struct hp_client *c, struct slice producer_group, struct slice consumer_group,
                      void (*done)(void *arg), void *arg);
void farewells_send(struct hp_client *c, struct peer *p); /* no heartbeat is under way any more */

/* --- instance.c --- */

struct hp_client {
    struct loop loop;
    struct rpc *rpc;
    const struct clock *clock;
    struct timers timers;
    struct rng rng;
    struct id_gen ids;      /* any thread */
    struct client_log log;  /* any thread */
    char *client_id, *stable_id; /* these and the next lines: constant after new */
    int64_t route_refresh_ms, heartbeat_ms, request_timeout_ms;
    char **name_servers;
    size_t name_server_n;
    size_t name_server;     /* in use; loop only, as everything below */
    struct route_cache routes;
    struct heartbeats heartbeats;
    struct list producers;  /* struct hp_producer */
    struct list consumers;  /* struct hp_consumer */
    int joined;             /* producers and consumers */
};
#define CLIENT_LOG(c, level, ...) client_logf(&(c)->log, level, __VA_ARGS__)

/* A thread waits for something that takes several steps on the loop. */
struct sync {
    uv_sem_t sem;
};
int sync_init(struct sync *s, struct hp_error *err);
void sync_post(struct sync *s); /* any thread, once */
void sync_wait(struct sync *s); /* waits and destroys */

/* Runs fn(arg) on the loop and waits for its return. Not from the loop (then HP_E_STATE): that
 * would be a callback of the library calling a function that waits. */
int client_run(struct hp_client *c, void (*fn)(void *arg), void *arg,
               struct hp_error *err) HP_MUST_USE;
/* Not from the loop thread: HP_E_STATE. Any thread. */
int check_may_wait(const struct hp_client *c, struct hp_error *err);

/* work() on a thread that may block, then done() on the loop. */
struct background {
    uv_work_t uv;
    void (*work)(struct background *b);
    void (*done)(struct background *b);
};
int background_start(struct hp_client *c, struct background *b);

/* Called by the instance for what brokers push. */
void producers_check(struct hp_client *c, const struct rpc_push *push); /* 39: tx_producer.c */
void consumers_group_changed(struct hp_client *c, struct slice group);         /* 40: rebalance.c */
void consumers_route_changed(struct hp_client *c, const struct route *r);      /* rebalance.c */
void consumers_registered(struct hp_client *c);                                /* rebalance.c */
