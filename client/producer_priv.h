#pragma once
/* A producer, shared by producer.c and tx_producer.c. */
#include <stdatomic.h>

#include "client/pool.h"
#include "client/send.h"
#include "halfpenny/producer.h"

enum { CHECKS_PENDING_MAX = 2000 }; /* beyond it a check is dropped: the broker asks again */

struct hp_producer {
    struct list link; /* in the client's list; loop */
    struct hp_client *c;
    char *group;
    int64_t send_timeout_ms;
    int attempts;
    size_t async_max;
    struct build_opts build;
    atomic_size_t async_n; /* async and oneway sends not finished */
    struct sender sender;  /* loop */
    struct sync idle;      /* free waits for the last send */
    hp_check_fn check;
    void *check_arg;
    struct pool checks;    /* when check is set */
};
/* A synchronous send that the caller's thread waits for. transaction: a half message. */
int producer_send_and_wait(struct hp_producer *p, const struct hp_message *m, bool transaction,
                           struct hp_send_result *out, struct hp_error *err) HP_MUST_USE;
void check_drop(struct job *j); /* a check that never ran */
