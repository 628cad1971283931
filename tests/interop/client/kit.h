#pragma once
/* What the scenarios are written in: verdicts, a table of everything received, and the clients of a
 * run. */
#include <halfpenny/halfpenny.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUES = 4,
    SOON_MS = 20000,
    LATE_MS = 40000,
    CLIENTS_MAX = 4,
    BODY_MAX = 8192,
    RETRY_QUEUES = 1
};

extern const char *namesrv, *prefix; /* from the command line */
extern int passed, failed;

__attribute__((format(printf, 2, 3))) void pass(const char *name, const char *fmt, ...);
/* A FAIL line; returns false, so that `return complain(...)` ends a check. */
__attribute__((format(printf, 2, 3))) bool complain(const char *name, const char *fmt, ...);
void die(const char *what, const struct hp_error *err); /* a FAIL line, then exit 1 */

int64_t now_ms(void);
void step(void);                    /* a moment between two looks at a condition */
char *name_of(const char *suffix);  /* PREFIX-suffix; valid for the next 15 calls */

struct received {
    char *body;
    char topic[160], tag[64], keys[64], id[64], property[64], origin[160];
    size_t body_n;
    int queue_id, reconsume_times, consumer;
    int64_t born_ms, at_ms;
};
extern pthread_mutex_t lock; /* guards what callbacks of the library write */
int received_n(void);
/* How many were received whose body starts with `start`, by one consumer (-1: by any). */
int count(const char *start, int consumer);
int count_exactly(const char *body, int consumer);
bool await(const char *start, int consumer, int n, int64_t ms);
/* A number that callbacks count up under the lock. */
int number(const int *counted);
bool await_number(const int *counted, int n, int64_t ms);
/* The nth delivery (from 0) of exactly this body; NULL when there is none. */
const struct received *delivery(const char *body, int nth);
/* Each of kind-0 .. kind-(n-1) exactly once, at one consumer (-1: at any). */
bool exactly(const char *check, const char *kind, int n, int consumer);

hp_client *client(int i);   /* made at first use, as the next ones */
hp_producer *sender(void);
extern hp_consumer *consumers[CLIENTS_MAX];
extern hp_producer *tx_producer;
void close_all(void);
const char *create_topic(const char *suffix);
hp_message *message(const char *topic, const char *tag, const char *keys, const char *body);
/* Key "key-<body>". */
bool send_text(const char *check, const char *topic, const char *tag, const char *body,
               struct hp_send_result *res);
/* The i-th consumer, of client i, from the first offset. decide may be NULL: success. */
typedef enum hp_consume_result (*decide_fn)(const struct received *r);
void start_consumer(int i, struct hp_consumer_options o, const char *topic, const char *tags,
                    decide_fn decide);
int queues_of(int i);
bool await_queues(const char *check, int i, int n);
/* Consumer 0 as the only member of its group, when it has all queues. */
bool start_alone(const char *check, const char *group, const char *topic,
                 struct hp_consumer_options o, decide_fn decide);

/* The scenarios. */
void scenario_send(void);
void scenario_consume(void);
void scenario_broadcast(void);
void scenario_retry(void);
void scenario_dlq(void);
void scenario_delay(void);
void scenario_transaction(void);
void scenario_lag(void);
void scenario_cluster(void);
void scenario_probe_produce(void);
void scenario_probe_consume(void);
