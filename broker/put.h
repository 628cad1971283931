#pragma once
/* The one way a message gets into the store: every send, retry, commit and delayed delivery is a
 * struct put. Applies the delay transform, checks limits, encodes, appends through the calling
 * thread's submitter, and reports on the same thread. */
#include "proto/message.h"
#include "remoting/loop.h"
#include "store/store.h"

struct broker;
struct broker_conf;

/* Source: PutMessageStatus of 5.5.0, whose names are behind; respcode.c gives code and remark. */
enum put_status {
    PUT_OK,
    PUT_FLUSH_TIMEOUT,      /* FLUSH_DISK_TIMEOUT: written, not synced in time */
    PUT_ILLEGAL,            /* MESSAGE_ILLEGAL */
    PUT_PROPERTIES_TOO_BIG, /* PROPERTIES_SIZE_EXCEEDED */
    PUT_UNAVAILABLE,        /* SERVICE_NOT_AVAILABLE: store FAILED or closed, broker stopping */
    PUT_DISK_FULL,          /* SERVICE_NOT_AVAILABLE: above diskSpaceWarningLevelRatio */
    PUT_NO_FILE,            /* CREATE_MAPPED_FILE_FAILED */
    PUT_TIMER_DISABLED,     /* WHEEL_TIMER_NOT_ENABLE */
    PUT_NO_MEMORY,          /* UNKNOWN_ERROR */
    PUT_STATUS_N
};

/* One thread's gate to the store. Runs on its loop, except init and fini. */
struct submitter {
    struct store_port port;
    struct turn_hook hook; /* rank 0: all puts of a turn go as one batch */
    struct broker *broker;
    struct loop *loop;
    size_t inflight;       /* puts started and not done */
    bool stopped;          /* refuses new puts */
    bool draining;         /* somebody waits on `drained` */
    uv_sem_t drained;
};
int submitter_init(struct submitter *s, struct broker *b, struct loop *loop,
                   struct err *e) HP_MUST_USE;
/* Any thread but the loop. settle: waits until nothing is in flight, and counts in what a done()
 * starts; for when nobody else starts puts any more. drain: refuses new puts and waits. */
void submitter_settle(struct submitter *s);
void submitter_drain(struct submitter *s);
void submitter_fini(struct submitter *s); /* any thread but the loop, after submitter_drain */

struct put {
    /* In. Everything these point to is borrowed during put_start only. */
    struct message msg; /* topic, queue_id, flag, sys_flag, born_timestamp, born_host,
                         * reconsume_times, prepared_offset, body, properties (a whole property
                         * string); the rest is filled by put_start */
    const struct batch_item
        *items; /* not NULL: a batch; flag, body and properties come from the items */
    int item_n;
    bool no_wait;  /* WAIT=false: done when written, also in sync flush mode */
    bool delay_later; /* a half message: its DELAY counts from the commit */
    bool no_delay; /* leave DELAY and TIMER_* properties alone: this *is* the delivery */
    void (*done)(struct put *p);
    /* Out, valid in done() and until put_release. */
    enum put_status status; /* PUT_OK, PUT_FLUSH_TIMEOUT, PUT_ILLEGAL (record too big for the
                             * store), PUT_UNAVAILABLE, PUT_DISK_FULL, PUT_NO_FILE */
    int64_t queue_offset, phys_offset, store_timestamp; /* of the first record */
    int64_t *phys_offsets;   /* batches: of each record */
    struct slice properties; /* as stored; null for a batch */
    struct slice topic;      /* as stored: SCHEDULE_TOPIC_XXXX for a delayed message */
    int32_t queue_id;        /* as stored */
    /* Internal. */
    struct append append;
    struct submitter *via;
    char *memory;
};

/* On the submitter's thread. PUT_OK: queued, done(p) runs exactly once, later, on this thread,
 * never inside put_start; then put_release(p). Any other status: refused, nothing to release.
 * Delay: DELAY > 0 with transaction type none or commit goes to SCHEDULE_TOPIC_XXXX, queue level -
 * 1, with REAL_TOPIC and REAL_QID added; a level over the table's end is clamped; TIMER_* are
 * dropped. TIMER_* without DELAY: PUT_TIMER_DISABLED. Source: HookUtils.handleScheduleMessage,
 * transformDelayLevelMessage of 5.5.0. */
enum put_status put_start(struct submitter *s, struct put *p) HP_MUST_USE;
void put_release(struct put *p);
/* For a put that lives in a request's arena and therefore ends with the answer: takes what
 * put_release would free, to free() after the answer. */
char *put_detach(struct put *p);

/* The offsetMsgId of a stored record of this broker. */
void put_msg_id(const struct broker *b, int64_t phys_offset, char out[MSG_ID_MAX]);
