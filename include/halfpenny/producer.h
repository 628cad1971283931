#pragma once
/* Producers: send, and send in a transaction. */
#include "halfpenny/message.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hp_producer hp_producer;

enum hp_send_status { /* all four mean: the broker has stored the message */
    HP_SEND_OK = 0, HP_SEND_FLUSH_DISK_TIMEOUT = 1, HP_SEND_FLUSH_SLAVE_TIMEOUT = 2, HP_SEND_SLAVE_NOT_AVAILABLE = 3
};
struct hp_send_result {
    enum hp_send_status status;
    char msg_id[64];        /* the client's unique id (UNIQ_KEY) */
    char offset_msg_id[64]; /* the broker's */
    char broker_name[128];
    char transaction_id[64];
    int queue_id;
    int64_t queue_offset;
};

enum hp_transaction_state { HP_TX_UNKNOWN = 0, HP_TX_COMMIT = 8, HP_TX_ROLLBACK = 12 };

/* The local transaction: runs on the caller's thread inside hp_send_in_transaction after the half
 * message is stored. Anything but a verdict read from your database is HP_TX_UNKNOWN: the broker asks. */
typedef enum hp_transaction_state (*hp_local_transaction_fn)(void *arg, const hp_message *m,
                                                             const struct hp_send_result *half);
/* The check-back: runs on a library worker thread, also for half messages of another instance of the
 * group. Never guess: HP_TX_UNKNOWN makes the broker ask again. */
typedef enum hp_transaction_state (*hp_check_fn)(void *arg, const hp_message_view *half);

struct hp_producer_options {
    const char *group;          /* mandatory */
    int64_t send_timeout_ms;    /* 0: 3000, for the whole call including retries */
    int retry_times;            /* -1: 2 more attempts on other brokers */
    size_t max_message_size;    /* 0: 4 MiB */
    size_t compress_over;       /* bodies from this size are sent zlib-compressed; 0: 4096; SIZE_MAX: never */
    size_t async_max;           /* async sends in flight; 0: 10000; beyond it HP_E_BUSY */
    /* Transactions: set check to make it a transaction producer. */
    hp_check_fn check;
    void *check_arg;
    int check_threads;          /* 0: 2 */
};
HP_API int hp_producer_new(hp_client *c, const struct hp_producer_options *opts, hp_producer **out,
                           struct hp_error *err) HP_CHECK;
/* Waits for sends in flight (at most send_timeout_ms), then unregisters. Every hp_producer_* call has
 * to have returned. */
HP_API void hp_producer_free(hp_producer *p);

/* Borrows m until it returns. A non-NULL err gets details. Retries on another broker where the outcome
 * allows it (RocketMQ's retry codes, connection refused); a timeout is retried too while time is left,
 * so a message may be stored twice: consumers must be idempotent. */
HP_API int hp_send(hp_producer *p, const hp_message *m, struct hp_send_result *out, struct hp_error *err) HP_CHECK;
/* To one queue, chosen by hash of the key among the writable queues of the topic; no retry elsewhere. */
HP_API int hp_send_by_key(hp_producer *p, const hp_message *m, const char *key, struct hp_send_result *out,
                          struct hp_error *err) HP_CHECK;
/* done runs once on the loop thread (do not block in it); m is copied before this returns. */
typedef void (*hp_send_done)(void *arg, const struct hp_send_result *res, const struct hp_error *err);
HP_API int hp_send_async(hp_producer *p, const hp_message *m, hp_send_done done, void *arg, struct hp_error *err) HP_CHECK;
HP_API int hp_send_oneway(hp_producer *p, const hp_message *m, struct hp_error *err) HP_CHECK;
/* All of one topic, no delay, no compression; stored together. */
HP_API int hp_send_batch(hp_producer *p, const hp_message *const *msgs, size_t n, struct hp_send_result *out,
                         struct hp_error *err) HP_CHECK;

/* Half message, local transaction, END. `local` may be NULL: then only the half is sent, and the caller
 * decides later with hp_end_transaction (res->... identifies it). *state receives the verdict sent.
 * Failure before the half is stored: local is not called. */
HP_API int hp_send_in_transaction(hp_producer *p, const hp_message *m, hp_local_transaction_fn local, void *arg,
                                  struct hp_send_result *half, enum hp_transaction_state *state,
                                  struct hp_error *err) HP_CHECK;
/* For the two-step form. UNKNOWN sends nothing. The END is oneway: losing it is repaired by check-back. */
HP_API int hp_end_transaction(hp_producer *p, const struct hp_send_result *half, enum hp_transaction_state state,
                              struct hp_error *err) HP_CHECK;

#ifdef __cplusplus
}
#endif
