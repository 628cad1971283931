#pragma once
/* The measurements of mqload, one function each. All of them connect, measure, count back what was
 * acknowledged, print a line for people and, with --record, lines for the report. They return 0 or the
 * error that ended the run. */
#include "bench/peers.h"
#include "bench/rmq.h"

struct scene {
    const char *address, *topic, *peer, *record, *label, *ready;
    struct host host;
    int connections, inflight, queues, topics, batch, pid;
    int64_t messages, warmup, rate, body;
    double seconds, warmup_seconds;
    int64_t seconds_max, flat_messages;
    bool verify, header, tx;
    char **command; /* start: what to run */
};

int scene_send(const struct scene *s, struct err *e); /* sends to any peer */
int scene_pull(const struct scene *s, struct err *e); /* hot pulls, round and round */
int scene_flow(const struct scene *s, struct err *e); /* produce at full rate and consume it all */
int scene_latency(const struct scene *s, struct err *e); /* open loop, send to listener */
int scene_route(const struct scene *s, struct err *e);   /* route queries to a name server */
int scene_idle(const struct scene *s, struct err *e);    /* held pulls: CPU and memory */
int scene_start(const struct scene *s, struct err *e);   /* a program until it says it is ready */

/* --- what they share --- */

struct plan scene_plan(const struct scene *s);
/* Appends "label TAB metric TAB value" to the record file; no record file: nothing. */
int scene_record(const struct scene *s, const char *metric, double value, struct err *e);
/* p50, p99, p99.9 and max in us. */
int scene_record_latency(const struct scene *s, const struct hist *h, struct err *e);

/* Which messages of a run were stored: every acknowledged one must come back once, and nothing else. */
struct tally {
    size_t body;
    int64_t sent;               /* messages, acknowledged or not */
    int64_t per_mark;           /* messages of one mark: the batch size */
    const unsigned char *acked; /* by request */
    unsigned char *seen;        /* by message */
    int64_t seen_n;
};
/* For rmq_pull.each; arg is the tally. The message's number goes to *seq when not NULL. E_CORRUPT. */
int tally_message(struct tally *t, const struct message *m, int64_t *seq, struct err *e);
int64_t tally_lost(const struct tally *t); /* acknowledged and not seen */
/* Starts of the queues at their present ends, for a topic that may hold older messages. */
int scene_starts(const struct scene *s, const struct rmq_topics *t, struct rmq_slot *slot,
                 struct err *e);
