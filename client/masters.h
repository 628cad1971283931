#pragma once
/* One question to the master of every broker of a cluster, asked by a thread that waits for the last answer. */
#include "client/client_priv.h"

struct master {
    struct masters *m;
    char *name, *addr;
};

struct masters {
    /* The asker's, before masters_run: */
    struct hp_client *c;
    const char *cluster;
    const char *what; /* begins every error text: "creating topic T" */
    int64_t timeout_ms;
    /* Sends the first request to one master: masters_call. */
    int (*ask)(struct master *b, struct err *e);
    /* When every master is done: goes on and ends with masters_finish. NULL: that was all. */
    void (*then)(struct masters *m);
    void (*on_end)(struct masters *m); /* lets go of what `then` waits for; NULL: nothing */

    /* masters.c's, readable from `ask` on: */
    int64_t deadline_ms;
    struct master *list;
    size_t n, waiting;
    struct list calls;
    struct timer timer;
    struct hp_error error;
    struct sync done;
};

/* Asks and waits; the calling thread's. 0, or HP_E_*: HP_E_INVALID for a missing cluster name or timeout,
 * HP_E_NO_ROUTE when the name server knows no such cluster, HP_E_CONNECT, HP_E_TIMEOUT, HP_E_BROKER. */
int masters_run(struct masters *m, struct hp_error *err) HP_MUST_USE;

/* The rest is for ask, then and the answers' callbacks, on the loop. */

/* A request to b; address and timeout are filled in. done gets b. */
int masters_call(struct master *b, const struct rpc_request *q, rpc_done done,
                 struct err *e) HP_MUST_USE;
/* True when the answer is no success: then the whole operation has ended with the reason. */
bool masters_refused(struct master *b, const struct rpc_result *res);
void masters_done(struct master *b);    /* b has said all */
void masters_finish(struct masters *m); /* m->error says how */
