#pragma once
/* Thin glue between the shop and the message client: envelopes out, envelopes in, half messages.
 *
 * One struct mq per service: one client, one producer for plain and half messages, and the service's
 * consumers. Everything that leaves goes through a struct mq_port, a table of
 * functions; mq_open makes one of the client library, tests and tools hand in their own.
 * Any thread may send. Handlers and checks run on the library's worker threads. */
#include "apps/common/envelope.h"
#include "apps/common/error.h"

/* The group that keeps the dead letters of group G is "G_dlq". */
#define MQ_DEAD_GROUP_SUFFIX "_dlq"

struct mq;
struct db;
struct inbox;
struct metrics;

enum mq_verdict { MQ_UNKNOWN, MQ_COMMIT, MQ_ROLLBACK };

/* What leaves, fully encoded; borrowed during the call. */
struct mq_out {
    const char *topic, *tag, *key;
    const char *body;
    size_t body_len;
    int delay_level;           /* 0: none */
    const char *txn_id;        /* half of P2; NULL: none */
    const char *traceparent;   /* NULL: none */
    int64_t immunity_s;        /* half: no check-back before that; 0: the broker's default */
    int replay;                /* of a dead letter: the how manieth; 0: none */
    const char *origin_msg_id; /* of the dead letter; NULL: none */
};
/* Identifies a stored half until its END. */
struct mq_half {
    int pattern;
    char id[64];
    _Alignas(16) unsigned char opaque[512];
};

struct mq_port {
    int (*send)(void *arg, const struct mq_out *m, struct app_error *e);
    int (*half)(void *arg, const struct mq_out *m, struct mq_half *half, struct app_error *e);
    int (*end)(void *arg, const struct mq_half *half, enum mq_verdict verdict, struct app_error *e);
    void *arg;
};

struct mq_options {
    const char *namesrv;     /* "host:port;host:port" */
    const char *name;        /* of the service: producer group "<name>_producer_group" */
    int64_t send_timeout_ms; /* 0: 3000 */
    int64_t refresh_ms;      /* how old a route may get; 0: 30000 */
    int consumer_threads;    /* per group; 0: 8 */
    int consumer_retries;    /* deliveries before a message is a dead letter; 0: 16 */
    struct metrics *metrics;
    const struct mq_port *port; /* given: no client is made, consumers are only remembered */
};
/* Makes the client; connecting happens as needed, so a broker that is down is no error here. */
int mq_open(const struct mq_options *o, struct mq **out, struct app_error *e) APP_CHECK;
/* Stops pulling everywhere, waits up to timeout_ms for handlers to end. */
void mq_stop_consumers(struct mq *m, int64_t timeout_ms);
void mq_close(struct mq *m); /* after mq_stop_consumers; every sender has returned */

/* Plain send; topic, tag and key follow from the event. 0: stored by the broker.
 * Errors: APP_E_INVALID a mandatory member is missing; APP_E_DOWN not sent; APP_E_BUSY;
 *   APP_E_TIMEOUT, APP_E_UNKNOWN may have been stored (consumers absorb duplicates: send again). */
int mq_publish(struct mq *m, const struct envelope *v, const char *traceparent,
               struct app_error *e) APP_CHECK;
/* Anything, fully encoded: dead letters back to their group. */
int mq_send_raw(struct mq *m, const struct mq_out *o, struct app_error *e) APP_CHECK;
int mq_publish_delayed(struct mq *m, const struct envelope *v, int delay_level,
                       const char *traceparent, struct app_error *e) APP_CHECK;

/* Decides a half message whose END did not arrive; txn_id NULL: pattern P1. Read the verdict from
 * PostgreSQL or answer MQ_UNKNOWN. Any instance of the service may be asked. */
typedef enum mq_verdict (*mq_check)(void *arg, const struct envelope *v, const char *txn_id);
/* Before mq_start. A service has one check for both patterns (txn_id tells them apart). */
void mq_set_check(struct mq *m, mq_check check, void *arg);
/* Stores a half message. txn_id NULL: P1 (compensation first). Needs mq_set_check. */
int mq_half(struct mq *m, const struct envelope *v, const char *txn_id, int64_t immunity_s,
            const char *traceparent, struct mq_half *out, struct app_error *e) APP_CHECK;
/* Sends the END of a verdict read from PostgreSQL; MQ_UNKNOWN sends nothing. One-way: a lost END is
 * repaired by check-back, so failures are only logged. */
void mq_end(struct mq *m, const struct mq_half *half, enum mq_verdict verdict);
/* The check-back path on its own, as the broker would drive it (tests). */
enum mq_verdict mq_check_now(struct mq *m, const void *body, size_t len, const char *txn_id);

/* Registers a consumer group; `in` and what it points to live until mq_close. Before mq_start. */
int mq_consume(struct mq *m, const struct inbox *in, struct app_error *e) APP_CHECK;
/* Keeps what the groups registered so far give up in db (dead_letters.h). Before mq_start. */
void mq_keep_dead_letters(struct mq *m, struct db *db);
/* Connects producer and consumers. After a failure it may be called again and goes on where it stopped. */
int mq_start(struct mq *m, struct app_error *e) APP_CHECK;
