#pragma once
/* What was sent and what was promised, and the judgement of what a store holds after a fault.
 *
 * A message is a function of its number (its id), so that any record found later can be compared
 * byte for byte with what was sent. observe() asks the store everything it can be asked and keeps
 * the bare answers; judge() compares them with the ledger. In between a test may falsify the
 * answers: that is how the judge itself is proved.
 *
 * Not thread-safe; one ledger belongs to one run. */
#include "base/buf.h"
#include "store/store.h"

enum {
    LEDGER_TOPICS = 5,
    LEDGER_QUEUES = 3, /* of each topic */
    LEDGER_WRITERS = 4,
    LEDGER_WORDS = 7,    /* words of KEYS that many messages share */
    LEDGER_TOPIC_LONG = 3, /* a topic of more than 127 bytes */
    LEDGER_TOPIC_DELAY = 4, /* the topic of delayed messages: its units carry delivery times */
    LEDGER_BODY_MIN = 8
};

enum fate {
    FATE_SENT,    /* no answer: it may be there or not */
    FATE_ACKED,   /* promised: as durable as the flush mode says */
    FATE_WRITTEN, /* answered after the write although the mode is FLUSH_SYNC (WAIT=false) */
    FATE_GONE     /* lost within the mode's promise, or never written: it must not come back */
};

struct message_spec {
    int32_t topic, queue, writer;
    uint32_t body_n;
    bool half;    /* takes no queue offset (a prepared transaction) */
    bool v6;      /* IPv6 addresses in the record */
    bool sealed;  /* ends with the checksum property */
    bool keyed;
    int32_t delay_level; /* of LEDGER_TOPIC_DELAY */
    /* what became of it */
    enum fate fate;
    bool consumed; /* a reader saw it before the fault */
    bool durable;  /* a recovery has shown it: no later fault may take it */
    bool expired;  /* it went with the log's first file */
    int64_t queue_offset, phys, ts; /* once answered or seen */
    uint32_t record_n;
};

struct ledger {
    struct message_spec *v;
    uint32_t n, cap;
    enum flush_mode mode;
    int64_t flush_interval_ms, flush_thorough_ms, flush_least_bytes;
    int64_t reserved_ms; /* retention */
    int64_t now_ms;      /* wall clock at the fault; a store that FAILED before flushed until then */
    int64_t stopped_ms;  /* and when it stopped: a FAILED store still removes what is expired */
    uint32_t damaged;    /* 1 + id of the message whose record was damaged: it may be missing; 0: none */
    bool index_damaged;  /* known: keys may be missing there, but none may lead to another record */
    int64_t dropped_from; /* recovery reported that it dropped what lies from here on; 0: nothing */
};

const char *ledger_topic(int32_t topic);
uint32_t ledger_add(struct ledger *l, const struct message_spec *spec); /* returns the id */
/* Appends the record of message id as a broker would hand it to the store. */
void ledger_record(struct ledger *l, uint32_t id, struct buf *out);
/* The code of its queue unit when it was stored at ts: of its tag, or the time of its delivery. */
int64_t ledger_unit_code(const struct ledger *l, uint32_t id, int64_t ts);
int64_t ledger_tags_code(uint32_t id);
void ledger_free(struct ledger *l);

/* ---- what a store answers ---- */

struct seen_record {
    int32_t topic, queue; /* where it was read; queue -1: found by its place in the log */
    int64_t at;           /* queue offset it was read at, or physical offset */
    struct store_unit unit;
    bool has_unit;
    size_t pos, n; /* its bytes in observation.bytes */
};
struct seen_queue {
    int64_t min, max;
};
struct seen_answer { /* to a query by key */
    uint32_t id;     /* of the message whose unique key was asked for; UINT32_MAX: a shared word */
    int32_t topic, word;
    size_t pos;      /* of the first of n physical offsets (be64) in observation.bytes */
    int32_t n;
};
struct observation {
    struct buf bytes;
    struct seen_record *records;
    size_t record_n, record_cap;
    struct seen_answer *answers;
    size_t answer_n, answer_cap;
    struct seen_queue queues[LEDGER_TOPICS][LEDGER_QUEUES];
    int64_t log_min, log_max;
    bool index; /* queries were made */
    char trouble[256]; /* an answer that contradicts itself; "" when there is none */
};
void observe(struct observation *o, const struct ledger *l, struct store *st, int64_t file_size,
             bool index);
void observation_free(struct observation *o);

struct verdict {
    int64_t acked, found, excused; /* excused: acknowledged, lost within the promise */
    int64_t lost, invented, duplicates, gaps, disorder, damaged, unindexed, units;
    int64_t hidden; /* keys that are missing in an index known to be damaged */
    char first[400]; /* the first thing that is wrong, in words */
};
/* True when nothing is wrong. `may_lose`: a fault came before, so what the mode allows to lose may
 * be gone; such messages turn FATE_GONE. */
bool judge(struct ledger *l, const struct observation *o, bool may_lose, struct verdict *v);
bool verdict_clean(const struct verdict *v);
