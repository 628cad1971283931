#pragma once
/* The message store: commit log, consume queues, flush, recovery. Files and memory, no sockets.
 * docs/STORE_FORMAT.md specifies the files; the layout is RocketMQ's.
 *
 * Promise. An append that completed with STORE_OK is where the flush mode says: in the page cache
 * (FLUSH_ASYNC; on disk within flush_interval_ms once flush_least_pages are dirty, and after
 * flush_thorough_ms in any case) or on disk (FLUSH_SYNC). Consumers (store_get) see a message only
 * when it is as durable as that.
 * After a failed write or sync of the log the store is FAILED for good: appends complete with
 * STORE_FAILED, reads go on, nothing is retried.
 *
 * Threads. store_open/close: one thread. Appends: any number of threads, each through its own
 * store_port. Reads: any thread. */
#include <sys/uio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "proto/message.h"

struct store;

enum flush_mode { FLUSH_ASYNC, FLUSH_SYNC }; /* flushDiskType */

struct store_arrival { /* one message became visible */
    struct slice topic;
    int32_t queue_id;
    int64_t queue_offset; /* of the message: the queue's maximum is at least one more */
    int64_t tags_code;
    int64_t store_timestamp;
};

struct store_progress {
    const char *phase;     /* "load", "verify", "rebuild" */
    int64_t done, total;   /* bytes */
};

struct store_opts {        /* keys as in broker.conf; strings are copied */
    const char *root_dir;         /* storePathRootDir */
    const char *commitlog_dir;    /* storePathCommitLog; NULL = root/commitlog */
    const char *consumequeue_dir; /* storePathConsumeQueue; NULL = root/consumequeue */
    const char *index_dir;        /* storePathIndex; NULL = root/index */
    const char *checkpoint_path;  /* storeCheckpoint; NULL = root/checkpoint */
    const char *abort_path;       /* abortFile; NULL = root/abort */
    int64_t commitlog_file_size;  /* mappedFileSizeCommitLog */
    int64_t zero_ahead_bytes;     /* zeroAheadMegabytes: FLUSH_SYNC only; 0 = off, as upstream */
    int64_t cq_file_size;         /* mappedFileSizeConsumeQueue, rounded up to 20 */
    enum flush_mode flush_mode;   /* flushDiskType */
    int64_t flush_interval_ms;    /* flushIntervalCommitLog */
    int32_t flush_least_pages;    /* flushCommitLogLeastPages */
    int64_t flush_thorough_ms;    /* flushCommitLogThoroughInterval */
    int64_t cq_flush_interval_ms; /* flushIntervalConsumeQueue */
    int32_t cq_flush_least_pages; /* flushConsumeQueueLeastPages */
    int64_t cq_flush_thorough_ms; /* flushConsumeQueueThoroughInterval */
    int64_t sync_flush_timeout_ms; /* syncFlushTimeout */
    int32_t max_message_size;     /* maxMessageSize: of the body; a record may be 64 KiB larger */
    int32_t transfer_count_max;   /* maxTransferCountOnMessageInMemory */
    int32_t transfer_bytes_max;   /* maxTransferBytesOnMessageInMemory */
    int32_t disk_count_max;       /* maxTransferCountOnMessageInDisk */
    int32_t disk_bytes_max;       /* maxTransferBytesOnMessageInDisk */
    int32_t memory_ratio;         /* accessMessageInMemoryMaxRatio: percent of the machine's memory that
                                     the youngest part of the log is taken to be in */
    int64_t machine_memory;       /* bytes; 0: the machine's */
    int32_t filter_scan_bytes;    /* maxFilterMessageSize: consume queue bytes scanned per get */
    int64_t page_cache_trust_ms;  /* pageCacheTrustMillis: how long a part of the log that was in memory is
                                     taken to be there still; 0 = the system is asked each time */
    bool check_crc_on_recover;    /* checkCRCOnRecover */
    bool force_verify_prop_crc;   /* forceVerifyPropCRC: recovery refuses records without checksum */
    /* retention (retention.c); percentages are of the file system that holds the log or the root */
    int64_t file_reserved_ms;     /* fileReservedTime, there in hours */
    uint32_t delete_hours;        /* deleteWhen: bit h = hour h of local time; store_hours_parse */
    int64_t clean_interval_ms;    /* cleanResourceInterval */
    int64_t clean_log_pause_ms;   /* deleteCommitLogFilesInterval */
    int64_t clean_cq_pause_ms;    /* deleteConsumeQueueFilesInterval */
    int32_t clean_batch;          /* deleteFileBatchMax */
    int32_t disk_used_max;        /* diskMaxUsedSpaceRatio */
    int32_t disk_clean_forcibly;  /* diskSpaceCleanForciblyRatio */
    int32_t disk_warning;         /* diskSpaceWarningLevelRatio */
    bool clean_forcibly;          /* cleanFileForciblyEnable */
    int64_t keep_from;            /* as if store_keep_from had been called */
    bool index_enable;            /* messageIndexEnable */
    int32_t index_slots;          /* maxHashSlotNum: of one index file */
    int32_t index_items;          /* maxIndexNum: an index file holds one entry less */
    const int64_t *delay_level_ms; /* [0] is level 1; messageDelayLevel */
    int delay_level_n;
    struct fs *fs;                /* NULL = fs_real */
    const struct clock *clock;    /* NULL = clock_system */
    bool manual;                  /* no threads: tests call store_step_* */
    /* Called on the thread that made them visible (a submitter or the flusher), in log order per
     * queue; must not block and must not call back into the store's append side. */
    void (*on_arrive)(void *arg, const struct store_arrival *list, size_t n);
    void (*on_progress)(void *arg, const struct store_progress *p); /* during store_open */
    void (*on_failed)(void *arg, const char *reason); /* once; on a submitter or a flusher */
    void *arg;
};
void store_opts_defaults(struct store_opts *o); /* upstream's defaults */

struct store_recovery { /* what store_open found */
    bool clean;              /* the last stop was orderly (no abort file) */
    int64_t log_min, log_max; /* offsets after recovery */
    int64_t verified_bytes, dropped_bytes; /* dropped: behind the last whole record */
    int64_t records;          /* records verified */
    int64_t last_ts;          /* store time of the newest record, 0: the log is empty */
    int64_t elapsed_ms;
};
/* Locks the directory, creates what is missing, recovers. E_LOCKED (text names the directory),
 * E_CORRUPT (text names file and offset, and what an operator can do), E_NOSPC, E_IO. */
int store_open(struct store **out, const struct store_opts *o, struct store_recovery *found,
               struct err *e) HP_MUST_USE;
/* Completes what was submitted, flushes, writes checkpoint, removes `abort`. All ports must be closed
 * before. Returns the error that kept it from a clean stop, if any. */
int store_close(struct store *st, struct err *e);

/* --- append --- */
enum store_status {
    STORE_OK,
    STORE_FLUSH_TIMEOUT, /* written, not synced within syncFlushTimeout: it may survive a crash */
    STORE_TOO_BIG,       /* over the limits, or not whole records of a legal topic: nothing written */
    STORE_FAILED,        /* FAILED state: nothing promised */
    STORE_NO_FILE,       /* the next log file could not be created (disk full): nothing written */
    STORE_CLOSED,
    STORE_DISK_FULL      /* above diskSpaceWarningLevelRatio: nothing written; not sticky */
};

struct store_port {      /* one submitting thread's gate; embed it */
    struct store *st;
    struct mailbox *mailbox; /* where done() is delivered later; NULL: store_port_drain delivers */
    struct list queued;
    size_t queued_bytes;
    struct mail mail;        /* internal from here on */
    uv_mutex_t lock;
    struct list completed;
    bool posted;
    size_t inflight;
    uv_cond_t cond;      /* ports without a mailbox */
};

struct append {
    struct list link;
    /* in */
    char *records;       /* record_n encoded records back to back (message_encode), all of this topic
                            and queue; borrowed until done(); offsets and store time are patched in,
                            and the checksum where a record ends with that property */
    size_t size;
    int32_t record_n;    /* more than one: a batch, never split over two files */
    struct slice topic;  /* borrowed until done() */
    int32_t queue_id;
    const int64_t *tags_codes; /* record_n of them (message.h: tags_code); ignored when delay_level > 0 */
    int64_t tags_code;         /* used instead when tags_codes is NULL */
    int32_t delay_level; /* > 0: the unit's code is store time + that level's delay */
    bool no_queue;       /* PREPARED / ROLLBACK typed records: no queue offset, no unit */
    bool no_wait;        /* WAIT=false: complete once written, also in FLUSH_SYNC */
    /* out, valid in done() */
    enum store_status status;
    int64_t queue_offset; /* of the first record */
    int64_t phys_offset;  /* of the first record */
    int64_t store_timestamp;
    void (*done)(struct append *a);
    /* internal */
    struct store_port *port;
    struct store_queue *queue;
    int64_t end_offset, deadline_ms;
};

int store_port_open(struct store_port *p, struct store *st, struct mailbox *mb, struct err *e) HP_MUST_USE;
/* Nothing may be in flight. */
void store_port_close(struct store_port *p);
/* Queues; nothing is written before store_port_submit. */
void store_append(struct store_port *p, struct append *a);
/* Writes everything queued as one batch under the log lock. Appends that are complete by then (async
 * flush, errors) get done() before this returns; the others later through the mailbox. done() may
 * queue further appends; they go with the next submit. */
void store_port_submit(struct store_port *p);
/* Ports without a mailbox: delivers completions; waits up to timeout_ms for the first. Returns how many. */
size_t store_port_drain(struct store_port *p, int64_t timeout_ms);

/* --- read --- */
enum get_status { /* Source: GetMessageStatus; the broker maps them to codes 0, 19, 20, 21 */
    GET_FOUND, GET_NO_MATCHED_MESSAGE, GET_MESSAGE_WAS_REMOVING, GET_OFFSET_FOUND_NULL,
    GET_OFFSET_OVERFLOW_BADLY, GET_OFFSET_OVERFLOW_ONE, GET_OFFSET_TOO_SMALL,
    GET_NO_MATCHED_LOGIC_QUEUE, GET_NO_MESSAGE_IN_QUEUE
};
const char *get_status_name(enum get_status s); /* "FOUND", ...: the remark clients log */

struct store_get {
    struct slice topic;
    int32_t queue_id;
    int64_t offset;
    int32_t max_msgs;
    bool (*match)(void *arg, int64_t tags_code); /* NULL: everything */
    void *match_arg;
    bool no_wait;        /* end before what only the disk has: see store_got.cold */
};
struct store_got { /* stays where store_get filled it: it points into itself, do not copy it */
    enum get_status status;
    int64_t next_begin_offset, min_offset, max_offset;
    bool cold;          /* with no_wait: more is there, but reading it would wait for the disk. With no
                           message: ask again without no_wait, on a thread that may wait */
    bool suggest_slave; /* the last message looked at is further behind than the memory share holds */
    int32_t msg_n;
    size_t bytes;
    struct iovec *iov; /* records, pointing into mapped log files */
    int iov_n;
    struct store_file **files; /* internal: references held */
    int file_n;
    struct iovec iov_small[32];
    struct store_file *files_small[4];
};
/* Without no_wait every byte of the answer is in memory when this returns. E_NOMEM. */
int store_get(struct store *st, const struct store_get *q, struct store_got *out) HP_MUST_USE;
void store_got_release(struct store_got *g); /* any thread; the slices die */

struct store_unit { int64_t phys_offset; int32_t size; int64_t tags_code; };
/* Up to n consume queue units from queue offset `offset`, visible ones only; returns how many (0 also
 * when the queue does not exist). */
int store_units(struct store *st, struct slice topic, int32_t queue_id, int64_t offset,
                struct store_unit *out, int n);

struct store_view { /* one record, pinned */
    struct slice record;
    struct store_file *file;
};
/* The record at a physical offset (size 0: read it from the record). May wait for the disk. Checked:
 * E_NOTFOUND outside the log or not visible yet, E_CORRUPT when no record starts there or it is damaged;
 * E_IO, E_NOMEM. */
int store_view(struct store *st, int64_t phys_offset, int32_t size, struct store_view *out, struct err *e) HP_MUST_USE;
void store_view_release(struct store_view *v);

struct store_query { /* by key; embed it */
    /* in; the slices are borrowed until done() */
    struct slice topic, key; /* a word of KEYS, or UNIQ_KEY */
    int64_t begin_ms, end_ms; /* store times, both inclusive */
    struct store_view *views; /* room for `max` of them; the first n are to be released */
    int32_t max;
    int64_t bytes_max;        /* no more records once this many bytes were found */
    /* out */
    int32_t n;                /* the newest ones, in log order */
    int64_t last_timestamp, last_phys; /* of the newest index entry; 0 when nothing was found */
    void (*done)(struct store_query *q); /* on the index worker, once; must not block */
    /* internal */
    struct list link;
    int64_t upto, deadline_ms;
};
/* Finds what was visible when it was asked, and perhaps younger messages. While the index is far
 * behind (it is being rebuilt) the answer comes after a second with what is there by then. A key is
 * compared on the record, so equal hashes find nothing foreign. E_NOTFOUND: no index is kept
 * (messageIndexEnable=false); E_BUSY: too many queries wait. Then done() is not called. Any thread. */
int store_query(struct store *st, struct store_query *q, struct err *e) HP_MUST_USE;

/* Oldest readable and next visible offset; 0, 0 for a queue that does not exist. */
void store_queue_range(struct store *st, struct slice topic, int32_t queue_id, int64_t *min, int64_t *max);
enum store_boundary { BOUNDARY_LOWER, BOUNDARY_UPPER };
/* wire protocol section 4.8. May wait for the disk, like store_time_of_offset. */
int64_t store_offset_by_time(struct store *st, struct slice topic, int32_t queue_id, int64_t timestamp_ms,
                             enum store_boundary b);
int64_t store_time_of_offset(struct store *st, struct slice topic, int32_t queue_id, int64_t offset); /* -1: none */
/* Every queue that has files or messages. each() must not call the store. */
void store_each_queue(struct store *st, void (*each)(void *arg, struct slice topic, int32_t queue_id,
                                                     int64_t min, int64_t max), void *arg);
/* Forgets the topic's queues and removes their files; waits for the disk. Log records stay until
 * retention: a crash soon after may bring the youngest of them back under their old offsets. */
int store_delete_topic(struct store *st, struct slice topic, struct err *e) HP_MUST_USE;

/* --- retention --- */
/* "04" or "4;16": hours of the day. E_INVAL. */
int store_hours_parse(const char *text, uint32_t *hours, struct err *e) HP_MUST_USE;
/* Any thread: log files that reach to phys_offset or beyond are still needed. Retention leaves them,
 * unless the disk is above its warning level and cleanFileForciblyEnable is on. */
void store_keep_from(struct store *st, int64_t phys_offset);

struct store_stats {
    int64_t log_min, log_wrote, log_flushed, log_visible; /* offsets */
    int64_t indexed; /* records below are in the index; -1: there is none, or it is not open yet */
    uint64_t appends, records, bytes, syncs, sync_ns, writes;
    int32_t disk_used; /* percent, rounded up, at the last look */
    bool disk_full;    /* appends get STORE_DISK_FULL */
    bool failed;
    char failed_reason[256];
};
void store_stats_get(struct store *st, struct store_stats *out);

/* --- manual mode (tests): one bounded step of each worker; true when there is more to do --- */
bool store_step_flush(struct store *st);
bool store_step_cq_flush(struct store *st);
bool store_step_allocate(struct store *st);
bool store_step_index(struct store *st);
bool store_step_deadlines(struct store *st); /* FLUSH_SYNC: completes appends past syncFlushTimeout */
bool store_step_space(struct store *st);
bool store_step_clean(struct store *st);
