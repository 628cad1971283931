#pragma once
/* The least that a load or crash program needs to talk to a broker: a blocking socket, one request and
 * its answer. Not the client library, on purpose: what measures and checks the system must not share
 * its code paths. */
#include "base/buf.h"
#include "proto/command.h"
#include "proto/message.h"

/* A connected IPv4 socket with TCP_NODELAY. Returns the descriptor or E_CONNECT. */
int wire_dial(const struct host *h, struct err *e);
/* Sends the request and waits for its answer; the answer's slices point into *store (owned by the
 * caller, reused). E_CLOSED when the broker goes away. */
int wire_ask(int fd, int32_t code, const void *hdr, struct buf *store, struct command *answer,
             struct err *e) HP_MUST_USE;
/* Creates the topic with `queues` read and write queues. E_REMOTE with the broker's remark. */
int wire_create_topic(int fd, const char *topic, int queues, struct err *e) HP_MUST_USE;
/* Next offset of a queue. */
int wire_max_offset(int fd, const char *topic, int queue, int64_t *out, struct err *e) HP_MUST_USE;
/* Calls each() for every message of the queue in [from, to); stops with its error. */
int wire_read_queue(int fd, const char *topic, int queue, int64_t from, int64_t to,
                    int (*each)(void *arg, const struct message *m, struct err *e), void *arg,
                    struct err *e) HP_MUST_USE;
