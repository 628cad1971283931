#pragma once
/* The load engine: groups of connections that send requests and match their answers, over one epoll
 * set on the caller's thread. What a request looks like is a driver's business, so the same loop, the
 * same windows and the same clock serve every protocol.
 *
 * Closed loop: every connection keeps `inflight` requests unanswered. Open loop (rate > 0): request i
 * is sent when its time has come, and its latency counts from that time, not from the write. */
#include "base/buf.h"
#include "bench/hist.h"
#include "proto/message.h"

enum answer_kind {
    ANSWER_DONE,    /* the request succeeded */
    ANSWER_REFUSED, /* the server said no: `remark` says why */
    ANSWER_AGAIN,   /* the request goes on: its next message has been put into `out` */
    ANSWER_OTHER    /* belongs to no request (a greeting, a ping) */
};
struct answer {
    enum answer_kind kind;
    int64_t seq;   /* of the request; -1 = latency is not wanted. Ignored for in-order drivers */
    int64_t units; /* messages that it stands for */
    struct slice remark;
};

struct driver {
    bool in_order; /* answers do not name their request but come in order */
    /* Once for each connection, before any request; may block. NULL: nothing to say. */
    int (*hello)(void *self, int fd, int link, struct err *e);
    /* Appends request `seq` of connection `link`. E_AGAIN: there is nothing to ask now. */
    int (*request)(void *self, int link, int64_t seq, struct buf *out);
    /* Reads one answer at the head of in[0..n). Returns its length, 0 when more bytes are needed, or
     * a negative error when this is no valid answer: the run ends with it. */
    int64_t (*answer)(void *self, int link, char *in, size_t n, struct buf *out, struct answer *a,
                      struct err *e);
};

struct link;
struct group {
    /* set by the caller */
    const struct driver *driver;
    void *self;
    struct host host;
    int connections;
    int inflight;    /* of each connection; a bound also in the open loop */
    int64_t rate;    /* 0: closed loop */
    bool background; /* goes on until plan.finished says so: consumers */
    bool keep;       /* remember which requests were acknowledged, in `mark` */
    /* results */
    int64_t next_seq; /* requests sent */
    int64_t done, refused;
    int64_t units;        /* of done requests, the whole run */
    int64_t window_units; /* answered inside the window */
    int64_t *sent_ns;     /* by seq: when it was sent, or due */
    unsigned char *mark;  /* by seq: 1 = acknowledged */
    struct hist hist;     /* latency of those answered inside the window */
    /* private */
    struct link *links;
    int64_t outstanding;
};

/* By number of requests of the first group, or by time. */
struct plan {
    int64_t requests, warm_requests; /* requests > 0: the window is from the warm one to the last */
    int64_t warm_ms, run_ms;         /* otherwise */
    int64_t deadline_ms;             /* give up: E_TIMEOUT */
    int pid;                         /* process whose CPU is taken in the window; 0 none */
    bool (*finished)(void *arg); /* for background groups; asked after the window, may be NULL */
    void *arg;
    /* Called about once in slice_ms inside the window (0: never); true ends the window early. */
    int64_t slice_ms;
    bool (*slice)(void *arg, double units_per_second);
};
struct window {
    double seconds;
    int64_t cpu_ticks, cpu_ns; /* used by plan.pid inside the window; -1 unknown */
};

enum { LOAD_SEQ_MAX = 100 * 1000 * 1000, LOAD_INFLIGHT_MAX = 1 << 16 };

/* Connects, runs, waits for every foreground answer, closes. The groups keep their results until
 * load_free. E_CONNECT, E_CLOSED, E_PROTO (an answer that belongs to nothing), E_TIMEOUT, E_BUSY (an
 * open loop whose server fell inflight requests behind). */
int load_run(struct group *groups, size_t n, const struct plan *plan, struct window *w,
             struct err *e) HP_MUST_USE;
void load_free(struct group *groups, size_t n);
