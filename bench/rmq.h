#pragma once
/* Drivers that speak RocketMQ's remoting protocol: sends (single, batch, transactional), pulls (scan,
 * round and round, long polling), and one fixed request (route query). Frames are prebuilt; only a few
 * digits change from request to request, so that the generator costs a small part of the server. */
#include "bench/load.h"
#include "proto/command.h"

enum {
    RMQ_OPAQUE = 1000000000,
    RMQ_TOPICS_MAX = 99999,
    RMQ_QUEUES_MAX = 9999,
    RMQ_TOPIC_MAX = 127
};

/* --- answers --- */

struct rmq_answer {
    int64_t code, opaque;
    struct slice header, body;
};
/* One whole answer at the head of in[0..n): its length, 0 when more bytes are needed, E_PROTO. */
int64_t rmq_answer(const char *in, size_t n, struct rmq_answer *out, struct err *e) HP_MUST_USE;
/* Number (quoted or not) of the JSON member `name`; -1 when there is none. */
int64_t rmq_number(struct slice header, const char *name);
/* Text of a JSON string member; SLICE_NULL when there is none. */
struct slice rmq_text(struct slice header, const char *name);

/* --- topics --- */

struct rmq_topics {
    const char *name;
    int topics; /* 1: `name` itself; more: name-00000, name-00001, ... */
    int queues; /* of each */
};
void rmq_topic_name(const struct rmq_topics *t, int topic, char out[RMQ_TOPIC_MAX + 1]);
/* Creates one topic. Many topics must exist: a broker that saves its table after each creation would
 * take minutes, so they are made in its configuration before it starts. */
int rmq_create_topics(const struct host *h, const struct rmq_topics *t, struct err *e) HP_MUST_USE;

/* --- sends --- */

/* Message m (counted from 0 over the whole run) goes to topic m' % topics, queue m' / topics % queues,
 * where m' = m / batch; its body begins with m in 16 digits. */
struct rmq_send {
    const struct rmq_topics *to;
    size_t body;
    int batch; /* messages of a request; 1 = no batch */
    bool tx;   /* half message, then commit */
    /* private */
    struct buf frame, end;
    size_t opaque_at, queue_at, topic_at, end_opaque_at, end_key_at[2], end_queue_offset_at,
        end_log_offset_at, end_topic_at;
    size_t *key_at, *body_at; /* of each message of the request */
};
enum { RMQ_SEQ_DIGITS = 16 };
int rmq_send_init(struct rmq_send *s, struct err *e) HP_MUST_USE;
void rmq_send_free(struct rmq_send *s);
extern const struct driver rmq_send_driver;

/* --- pulls --- */

enum rmq_pull_mode {
    RMQ_SCAN,  /* every queue to its present end, then stop */
    RMQ_ROUND, /* every queue again and again */
    RMQ_FOLLOW /* long polling, for ever */
};
struct rmq_slot {
    int64_t start, offset;
    int topic, queue;
    bool ended;
};
struct rmq_pull {
    const struct rmq_topics *from;
    enum rmq_pull_mode mode;
    int links;       /* slots are shared out among them */
    int max;         /* messages of one pull */
    int64_t slots_n; /* slot i: queue i of all queues, again from the first when there are more */
    struct rmq_slot *slot;
    int check;                                                      /* flags of message_decode */
    int (*each)(void *arg, const struct message *m, struct err *e); /* NULL: count only */
    void *arg;
    /* private */
    struct buf frame;
    size_t opaque_at, topic_at, queue_at, offset_at;
    int *ready; /* for each link a ring of its slots that are not being asked for */
    int *ready_at, *ready_n;
    int64_t ended;
};
/* slot[] starts at offset 0; the caller may set starts before the run. */
int rmq_pull_init(struct rmq_pull *p, struct err *e) HP_MUST_USE;
void rmq_pull_free(struct rmq_pull *p);
bool rmq_pull_ended(const struct rmq_pull *p);
/* Makes ended slots ask again from where they are. */
void rmq_pull_again(struct rmq_pull *p);
extern const struct driver rmq_pull_driver;

/* --- one request, again and again --- */

struct rmq_fixed {
    struct buf frame;
    size_t opaque_at;
    const char *must_hold; /* text that every answer's body must hold; NULL none */
};
int rmq_fixed_init(struct rmq_fixed *f, int32_t code, const void *hdr, const char *must_hold,
                   struct err *e) HP_MUST_USE;
void rmq_fixed_free(struct rmq_fixed *f);
extern const struct driver rmq_fixed_driver;

/* --- what the drivers share --- */

/* Where `needle` is in `b`, searched from `from`; E_PROTO when it is not there. */
int rmq_find(const struct buf *b, size_t from, const char *needle, size_t *at, struct err *e);
/* v as `digits` decimal digits with leading zeros: Java and C parse those alike. */
void rmq_digits(char *at, int digits, int64_t v);
