#pragma once
/* One send, from the choice of a queue to the verdict, over as many attempts as the rules allow. */
#include "base/mailbox.h"
#include "client/client_priv.h"
#include "client/message_build.h"

/* Who sends: a producer, or a consumer that returns messages. Loop thread. */
struct sender {
    struct hp_client *c;
    const char *group;
    bool transactions; /* heartbeats go ahead of the first message on a connection */
    bool closing;      /* new sends are refused */
    struct list ops;   /* struct send_op in progress */
    struct list calls;
    uint32_t next_queue;
    void (*on_idle)(struct sender *s); /* the last op ended while closing */
};
void sender_init(struct sender *s, struct hp_client *c, const char *group);
void sender_abort(struct sender *s); /* ends every op with HP_E_CLOSED */

struct send_op {
    struct mail mail;    /* for who starts it from another thread */
    struct list link;
    struct sender *s;
    struct outgoing out; /* owned until done */
    bool oneway;
    bool by_key;         /* one fixed queue, no retry elsewhere */
    int32_t key_hash;
    int64_t deadline_ms; /* monotonic, for all attempts together */
    int attempts_left;
    void (*done)(struct send_op *op); /* on the loop, once; the op is its owner's again */
    void *arg;
    struct hp_send_result result;
    struct hp_error error; /* code 0: result is valid */
    /* of the attempts */
    char broker[128], last_failed[128];
    int32_t queue_id;
    int attempts;
    int uncertain;       /* HP_E_TIMEOUT or HP_E_UNKNOWN: an attempt may have stored it */
    bool route_asked, template_asked;
    struct route_waiter waiter;
    struct timer timer;
};
/* Fields up to arg are set. done may run before this returns. */
void send_start(struct send_op *op);
