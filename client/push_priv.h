#pragma once
/* The push consumer, shared by push.c, rebalance.c, pull.c, consume.c, give_back.c,
 * offset_store.c. */
#include <stdatomic.h>

#include "client/client_priv.h"
#include "client/pool.h"
#include "client/process_queue.h"
#include "client/send.h"
#include "halfpenny/consumer.h"
#include "proto/subscription.h"

enum { MAX_RECONSUME = 16, RETRY_PULL_MS = 1000, SPAN_MAX = 2000 };

/* One subscribed topic. */
struct topic_sub {
    struct subscription sub;
    struct hp_consumer *k;
    struct list calls; /* 38 */
    bool asking, again;
    bool settled;      /* the last rebalance of this topic came to its end */
};

enum stop_wait { WAIT_NOTHING, WAIT_MESSAGES, WAIT_COMMITS };
enum consumer_state { CONSUMER_NEW, CONSUMER_RUNNING, CONSUMER_STOPPING, CONSUMER_STOPPED };
struct hp_consumer {
    struct list link; /* in the client's list */
    struct hp_client *c;
    struct hp_consumer_options o; /* complete; strings are the consumer's own */
    char *group, *retry_topic, *offset_file;
    struct topic_sub **subs; /* fixed from start on */
    size_t sub_n;
    _Atomic int state;
    struct pool pool;
    /* loop */
    struct map *queues;  /* struct queue by queue_key */
    struct list dropped; /* queues that still have messages somewhere */
    struct list calls;   /* send-backs, commits, unregistering */
    struct sender returns;
    struct timer rebalance, persist, stop_timer;
    int64_t rebalanced_ms;
    bool suspended, file_writing, file_dirty;
    size_t in_flight; /* messages at the pool, being sent back, or waiting to be consumed again */
    size_t commits;      /* offset commits under way */
    struct map *local;   /* broadcasting: int64_t by queue_key */
    enum stop_wait stop_wait;
    struct sync *step;   /* the stopping thread waits for this */
    /* any thread */
    atomic_int queue_n;
    atomic_llong cached;
    atomic_ullong ok, later, dead, pulls;
};

struct queue {
    struct list link; /* in `dropped` */
    struct hp_consumer *k;
    struct topic_sub *ts;
    char *broker;
    int32_t id;
    struct process_queue pq;
    atomic_bool dropped; /* loop writes, workers read */
    bool pulling;
    size_t in_flight;    /* its messages that are not its own at the moment */
    struct list calls;
    struct timer timer;
    int64_t pulled_ms;   /* when the present pull began */
    int64_t suggested_id;
    int64_t committed;   /* what the broker has acknowledged; -1: nothing */
};

/* One message, from its pull to its end. */
struct delivery {
    struct pq_entry entry;
    struct job job;
    struct mail mail;
    struct timer timer;
    struct queue *q;
    struct message m; /* slices into record */
    enum hp_consume_result result;
    bool skipped;     /* the queue was lost before it began */
    int32_t local_retries;
    char record[];
};

/* push.c */
bool consumer_running(const struct hp_consumer *k);
void consumer_maybe_idle(struct hp_consumer *k); /* in_flight or commits fell */

/* rebalance.c */
void rebalance_soon(struct hp_consumer *k);
void rebalance_close(struct hp_consumer *k);
void queue_key(struct buf *out, const char *topic, const char *broker, int32_t id);
/* Takes a queue out of service: its offset is committed, its messages are skipped or ignored. */
void queue_drop(struct queue *q);
void queue_release(struct queue *q);    /* a message came back to a dropped queue */
/* The broker calls our offset illegal: forgets everything unfinished and goes on at `offset`. */
void queue_restart(struct queue *q, int64_t offset);

/* pull.c */
void pull_next(struct queue *q); /* if there is nothing against it */

/* consume.c */
struct delivery *delivery_new(struct queue *q, struct slice record, struct err *e);
bool delivery_accept(struct delivery *d); /* into the process queue; false: known already, freed */
void deliver_to_pool(struct delivery *d);
void delivery_finish(struct delivery *d); /* done with: its offset may be committed */

/* give_back.c */
void give_back(struct delivery *d);

/* offset_store.c */
void offset_start(struct queue *q); /* finds the start offset, then pulls */
/* Counts in k->commits until the answer is there. The last one, while stopping, is sent even when
 * the broker has acknowledged the same value before: it may have lost it since. */
void offset_commit(struct queue *q);
int offsets_open(struct hp_consumer *k, struct hp_error *err) HP_MUST_USE; /* application thread */
void offsets_start(struct hp_consumer *k);
void offsets_close(struct hp_consumer *k);
void offsets_save(struct hp_consumer *k);
