#pragma once
/* Producers of every kind, a consumer that commits offsets and an administrator that creates topics,
 * over the bare wire on one thread. What they send goes into an account. */
#include "base/rng.h"
#include "bench/wire.h"
#include "tests/chaos/account.h"

enum lane_kind {
    LANE_SINGLE,   /* one message in flight */
    LANE_PIPELINE, /* 32 in flight */
    LANE_BATCH,    /* 4 batches of up to 16 in flight */
    LANE_TX,       /* 8 half messages in flight, each decided at once: 4 of 5 committed */
    LANE_CONSUMER, /* commits an offset behind what was acknowledged */
    LANE_ADMIN     /* creates topics */
};
enum { LOAD_WINDOW = 32, LOAD_REQUESTS = 1024 /* an answer may be so many behind */, LOAD_TOPICS_MAX = 4096 };

struct request { /* in flight */
    enum { REQ_NONE, REQ_SEND, REQ_HALF, REQ_END, REQ_OFFSET, REQ_TOPIC } kind;
    int64_t seq; /* of the first message; the offset to commit; the topic's number */
    int n;       /* messages */
    int queue;
    bool commit;
};

struct lane {
    enum lane_kind kind;
    int number;
    int fd;
    char *in;
    size_t in_n;
    struct buf out;
    size_t out_at;
    int32_t next_opaque;
    int inflight;
    struct request requests[LOAD_REQUESTS]; /* by opaque */
    int64_t quiet_until; /* monotonic: after a refusal */
    bool alive;
};

struct load {
    struct account *account;
    struct rng rng;
    const enum lane_kind *kinds;
    int lane_n;
    struct lane lanes[ACCOUNT_LANES];
    /* What answers a producer may get beside success; counted. Everything else is a finding. */
    bool may_refuse;
    int64_t refused, topics_refused;
    int32_t refusal_code;   /* of the last one, */
    char refusal_text[200]; /* and its remark */
    int64_t last_ack_ms;    /* monotonic: when a send was acknowledged last */
    /* the consumer, of group TOOLS_CONSUMER: acknowledged offsets by queue */
    int64_t committed[ACCOUNT_QUEUES], commit_sent[ACCOUNT_QUEUES], readable[ACCOUNT_QUEUES];
    /* the administrator: topics "Chaos-<n>" with 1 + n % 8 queues */
    int64_t topic_n;
    bool topic_made[LOAD_TOPICS_MAX];
    int64_t findings;
};

void load_init(struct load *l, struct account *a, const enum lane_kind *kinds, int n);
void load_free(struct load *l);
void load_forget(struct load *l); /* a new store begins: offsets and topics, not the findings */
int load_connect(struct load *l, const struct host *h, struct err *e) HP_MUST_USE; /* all lanes */
/* One turn: sends what the lanes have room for (unless !sending), takes answers, waits up to wait_ms.
 * Returns the number of lanes that are still connected. */
int load_turn(struct load *l, bool sending, int wait_ms);
bool load_idle(const struct load *l); /* nothing in flight on a connected lane */
void load_disconnect(struct load *l);
/* Runs turns for ms, then until nothing is in flight. false: the broker closed a connection or some
 * request was not answered within 10 s. */
bool load_run(struct load *l, int64_t ms);
