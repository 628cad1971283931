#pragma once
/* The service loop: everything that is not a socket of a client. Timers, config files, name
 * servers.
 *
 * A request that must change a table becomes a service job: work() runs on the service loop, then
 * the changed files are written once for all jobs of the turn, then then() runs on the request's
 * loop. */
#include "broker/broker.h"

struct service_job { /* lives in the request (req_alloc) */
    struct mail mail;
    struct list link;
    struct req *req;
    /* Service loop. Changes tables; sets rc and err when it cannot. */
    void (*work)(struct broker *b, struct service_job *j);
    /* The request's loop. rc also tells of a file that could not be written. */
    void (*then)(struct service_job *j);
    bool may_be_unsaved;  /* then() is not told when a file could not be written: tried again later */
    bool wait_registered; /* then() only after the name servers were told of changed topics */
    int rc;
    struct err err;
};
/* Takes the request of j (its input must be owned or not needed any more); req_user(r) is j from
 * here on. Without memory (j NULL) r is answered and that is all; on a broker that is stopping
 * then() runs at once with E_SHUTDOWN. */
void service_submit(struct req *r, struct service_job *j);

/* The thread that opens the broker. */
int service_open(struct broker *b, struct err *e) HP_MUST_USE;  /* loop and rpc */
int service_begin(struct broker *b,
                  struct err *e) HP_MUST_USE; /* timers, after everything else runs */
/* Goodbye to the name servers, no more timers; jobs already submitted are done. */
void service_end(struct broker *b);
void service_close(struct broker *b); /* after the submitter is drained: rpc and loop */
