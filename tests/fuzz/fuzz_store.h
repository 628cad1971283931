#pragma once
/* A tiny store on the fuzz disk, and what may be said about any store after recovery.
 *
 * Everything here asserts: a target calls it and dies when something does not hold. */
#include "base/buf.h"
#include "store/store.h"
#include "tests/fuzz/fuzz_disk.h"

enum {
    FUZZ_LOG_FILE = 4096, /* mappedFileSizeCommitLog: its smallest value */
    FUZZ_CQ_UNITS = 8,    /* units of a consume queue file */
    FUZZ_CQ_FILE = FUZZ_CQ_UNITS * 20,
    FUZZ_INDEX_SLOTS = 7,
    FUZZ_INDEX_ITEMS = 24,
    FUZZ_INDEX_FILE = 40 + 4 * FUZZ_INDEX_SLOTS + 20 * FUZZ_INDEX_ITEMS,
    FUZZ_QUEUES_MAX = 160 /* more than whole records fit into three log files */
};
#define FUZZ_ROOT "/s"
#define FUZZ_START_MS INT64_C(1700000000000)

/* Once, from LLVMFuzzerInitialize: silences the log unless FUZZ_LOG is set. */
void fuzz_store_init(void);
void fuzz_store_opts(struct store_opts *o); /* also sets the clock back */
void fuzz_store_tick(int64_t ms);

/* NULL: refused, with E_CORRUPT and a text that says why: any other error is a bug here. */
struct store *fuzz_store_open(const struct store_opts *o, struct store_recovery *found);
void fuzz_store_close(struct store *st); /* an orderly stop, which must succeed */
void fuzz_store_mark_killed(void);       /* as if the last stop had not been orderly */
void fuzz_store_path_log(int64_t start, char out[64]);

/* One record, encoded; prop_crc: it ends with its checksum. */
struct fuzz_record {
    const char *topic, *keys;
    int32_t queue_id, sys_flag;
    int64_t queue_offset, phys_offset, store_timestamp;
    struct slice body;
    bool prop_crc;
};
void fuzz_record_put(struct buf *out, const struct fuzz_record *r);

/* What STORE_FORMAT.md 2.2 calls a whole record, decided here from the bytes alone, apart from the code
 * under test. `left`: the rest of its file. */
enum fuzz_kind { FUZZ_WHOLE, FUZZ_BLANK, FUZZ_BAD };
struct fuzz_fields {
    int64_t size, queue_offset, phys_offset, store_timestamp;
    int32_t queue_id, sys_flag;
    struct slice topic, body, properties;
    bool has_crc;
    bool wrong_crc; /* BAD for nothing but that checksum */
};
enum fuzz_kind fuzz_record_kind(struct slice left, int64_t phys, struct fuzz_fields *out);

/* The queues that the log on the disk makes, when it is read from its beginning. */
struct fuzz_queue {
    char topic[256];
    int32_t id;
    int64_t min, max;
    int64_t phys[FUZZ_QUEUES_MAX]; /* of queue offset min + i; -1: no message there */
};
struct fuzz_model {
    struct fuzz_queue queues[FUZZ_QUEUES_MAX];
    int n;
    int64_t log_min, log_end, records;
    bool all_crc; /* every record ends with its checksum */
    bool any_crc; /* one does */
};
void fuzz_model_from_log(struct fuzz_model *m, const struct store_opts *o);
/* The store holds exactly these queues; others must be empty. */
void fuzz_model_check(const struct fuzz_model *m, struct store *st);

/* Reads every queue from end to end. Every record that is served must be whole (with `whole`) and lie
 * where it says. Returns a hash of all queues and what they served, but for records whose checksum fits
 * nothing: whether those are served depends on what stands behind them (docs/decisions/0003). */
uint64_t fuzz_store_read(struct store *st, bool whole);

/* Appends a message; it must be acknowledged with the next queue offset and be served. */
void fuzz_store_append(struct store *st, const char *topic, int32_t queue_id);

/* Opens what is on the disk again, as after an orderly stop or a killed process: nothing may be dropped,
 * and `hash` must come out. The killed one gets a message more and is looked at once again. */
void fuzz_store_check_again(const struct store_opts *o, uint64_t hash, bool whole, bool killed);
