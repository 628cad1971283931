#pragma once
/* Push consumer: concurrent consumption with retry by return value. */
#include "halfpenny/message.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hp_consumer hp_consumer;

enum hp_consume_result {
    HP_CONSUME_SUCCESS = 0,
    HP_RECONSUME_LATER = 1,  /* the broker delivers it again, later each time, then dead-letters it */
    HP_CONSUME_DEAD_LETTER = 2 /* straight to %DLQ%group: it can never succeed */
};
/* Runs on a worker thread of the pool, several at a time. v is valid during the call. */
typedef enum hp_consume_result (*hp_consume_fn)(void *arg, const hp_message_view *v);

enum hp_consume_from { HP_FROM_LAST = 0, HP_FROM_FIRST = 1, HP_FROM_TIMESTAMP = 2 };
enum hp_message_model { HP_CLUSTERING = 0, HP_BROADCASTING = 1 };

struct hp_consumer_options {
    const char *group;              /* mandatory */
    hp_consume_fn consume;          /* mandatory */
    void *consume_arg;
    int threads;                    /* 0: 20 */
    enum hp_consume_from from;      /* for a queue without a committed offset */
    int64_t from_timestamp_ms;
    enum hp_message_model model;
    int max_reconsume_times;        /* 0: 16 */
    int pull_batch;                 /* 0: 32 */
    int cached_messages_max;        /* per queue; 0: 1000: pulling pauses above it */
    size_t cached_bytes_max;        /* per queue; 0: 64 MiB */
    int64_t suspend_ms;             /* how long the broker may hold a pull; 0: 15000 */
    int64_t offset_persist_ms;      /* 0: 5000 */
    int64_t rebalance_ms;           /* 0: 20000 */
    const char *local_offset_dir;   /* broadcasting: where offsets live; NULL: $HOME/.rocketmq_offsets */
};
HP_API int hp_consumer_new(hp_client *c, const struct hp_consumer_options *opts, hp_consumer **out,
                           struct hp_error *err) HP_CHECK;
/* Before start. tags: "A || B", "*" or NULL for all. */
HP_API int hp_consumer_subscribe(hp_consumer *c, const char *topic, const char *tags, struct hp_error *err) HP_CHECK;
HP_API int hp_consumer_start(hp_consumer *c, struct hp_error *err) HP_CHECK;
/* Stops pulling, waits up to timeout_ms for messages being consumed, persists offsets, unregisters.
 * Messages not finished by then are delivered again to somebody. Implied by free. */
HP_API void hp_consumer_stop(hp_consumer *c, int64_t timeout_ms);
HP_API void hp_consumer_free(hp_consumer *c);
/* Pull and deliver nothing new until resume. */
HP_API void hp_consumer_suspend(hp_consumer *c);
HP_API void hp_consumer_resume(hp_consumer *c);

struct hp_consumer_stats {
    int queues;                /* owned now */
    int64_t cached, consuming; /* messages */
    uint64_t consumed_ok, consumed_later, consumed_dead, pulls;
};
HP_API void hp_consumer_stats(hp_consumer *c, struct hp_consumer_stats *out);

#ifdef __cplusplus
}
#endif
