#pragma once
/* What the files of store/ share. Nobody outside store/ and tests/unit/store includes this.
 *
 * Locks, in the order in which they may be taken (an arrow means "may be held while taking"):
 *   log.lock -> vis.lock -> queue.lock -> queues.dirty_lock
 *   log.ahead_lock (roll: under log.lock; the allocator: alone)
 *   queues.io_lock -> queues.map_lock -> queue.lock, fds_lock
 * log.files_lock, store_port.lock and fail_lock are leaves. */
#include <limits.h>
#include <stdatomic.h>

#include "base/failpoint.h"
#include "base/map.h"
#include "base/thread.h"
#include "store/inspect.h"
#include "store/store.h"

enum {
    PAGE = 4096, /* of flush*LeastPages */
    RECORD_SLACK = 64 * 1024 /* what a record may be larger than maxMessageSize */
};

/* ---- store_file.c: one commit log file, mapped and counted ---- */

struct store_file {
    struct fs *fs;
    struct fs_file *f;
    char *map; /* [0, size), read-only */
    int64_t start, size;
    int64_t last_ts; /* latest store time of its records; 0 until the cleaner looked it up */
    unsigned char *_Atomic checked; /* a bit for each record of an earlier run that was found whole */
    _Atomic int64_t *asked; /* for each HOT_CHUNK: when and with what answer is_hot was last asked; store_file.c */
    atomic_int refs;
    char path[];
};

/* The file with its full size allocated, new and empty or as it is on disk. Errors: E_NOSPC, E_IO. */
int store_file_create(struct fs *fs, const char *dir, int64_t start, int64_t size,
                      struct store_file **out, struct err *e) HP_MUST_USE;
int store_file_load(struct fs *fs, const char *dir, int64_t start, int64_t size,
                    struct store_file **out, struct err *e) HP_MUST_USE;
/* Zeros everything from `used` on, on disk. Only before anybody else holds the file. */
int store_file_cut(struct store_file *f, int64_t used, struct err *e) HP_MUST_USE;
/* How far from `at` on the file is in memory; `at` when that is not known for [at, at + n). Chunks are asked about
 * as a whole, up to `written`, and their answer is trusted for trust_ms; 0: nothing is known. Any thread. */
int64_t store_file_hot_to(struct store_file *f, int64_t at, int64_t n, int64_t written, int64_t now_ms,
                          int64_t trust_ms);
/* Is [at, at + n) of the file in memory? Asks the system. */
bool store_file_is_hot(const struct store_file *f, int64_t at, int64_t n);
/* Brings it there, by reading: a mapping that is not in memory would answer a disk error with a signal. */
int store_file_warm(const struct store_file *f, int64_t at, int64_t n, struct err *e) HP_MUST_USE;
struct store_file *store_file_ref(struct store_file *f);
void store_file_unref(struct store_file *f);

/* ---- record_check.c: what only checksums can vouch for ---- */

/* Has the record of `size` bytes at phys right checksums, and does it say that it stands there? Looked at
 * once in the life of the process. Any thread. E_CORRUPT: names file, byte and reason. */
int record_check(struct store *st, struct store_file *f, int64_t phys, int32_t size, struct err *e) HP_MUST_USE;
/* What stands behind a record: nothing whole; a record, or the end of its file; a record with a checksum
 * that fits. */
enum behind { BEHIND_NOTHING, BEHIND_SOMETHING, BEHIND_CHECKSUM };
/* Is the record at pos whole but for a last property __CRC32# that does not fit? *m and *behind are set then. */
bool checksum_fits_nothing(struct store *st, const struct store_file *f, int64_t pos, struct message *m,
                           enum behind *behind);

/* Store time of the first record of a log file; INT64_MAX when there is none that is whole, its checksums
 * included, or a clock could not have shown that time. */
int64_t store_file_first_ts(const struct store_file *f);

/* ---- places.c: where the parts lie ---- */

enum place { PLACE_LOG, PLACE_QUEUES, PLACE_INDEX, PLACE_CHECKPOINT, PLACE_ABORT, PLACE_N };
enum { PLACES_ID_LEN = 32 };
#define PLACES_FILE "storePlaces"

struct places {
    char *path[PLACE_N];
    bool relocated[PLACE_N]; /* not where it usually is */
    bool moved[PLACE_N];     /* not where it was last time */
    bool recorded;           /* PLACES_FILE exists */
    char id[PLACES_ID_LEN + 1];
    char *old_abort;         /* where the abort file was, when it moved */
    struct fs_file *locks[PLACE_N];
};
/* The paths, checked against each other. E_INVAL. */
int places_init(struct store *st, const struct store_opts *o, struct err *e) HP_MUST_USE;
void places_fini(struct store *st); /* also after a failed init */
/* With the root locked: finds out what moved, marks and locks what is relocated. E_DENIED, E_LOCKED. */
int places_claim(struct store *st, struct err *e) HP_MUST_USE;
int places_lock_abort(struct store *st, struct err *e) HP_MUST_USE; /* once it is there */
int places_settle(struct store *st, struct err *e) HP_MUST_USE; /* recovery is on disk: remembers the paths */

/* ---- zero_ahead.c: zeros before the end of the log ---- */

struct commitlog;
struct zero_ahead {
    int64_t ahead;  /* bytes; 0: off */
    int64_t chunk;  /* bytes of one write */
    int64_t at;     /* log.lock: where the zeros that are being written begin; INT64_MAX: none */
    int64_t upto;   /* log.lock: zeroed from shortly behind the end to here */
    int64_t ask_at; /* log.lock: the end at which the allocator is woken again */
    bool begun;     /* log.lock: something was appended */
    uv_cond_t done; /* with log.lock: `at` became INT64_MAX */
    /* the allocator's */
    struct store_file *file; /* a reference; f is its own descriptor on it */
    struct fs_file *f;
    bool failed;
};
int zero_ahead_init(struct zero_ahead *z, int64_t ahead, struct err *e) HP_MUST_USE;
void zero_ahead_fini(struct zero_ahead *z);
bool zero_ahead_wanted(struct commitlog *l); /* under log.lock, after an append: wake the allocator */
/* Under log.lock, before anything of a batch is placed: waits (without the lock) while zeros are being
 * written where its bytes may go. */
void zero_ahead_wait(struct commitlog *l, size_t bytes);
bool zero_ahead_step(struct commitlog *l); /* one chunk; true when there may be more to do */

/* ---- commitlog.c: the sequence of files ---- */

struct commitlog {
    struct fs *fs;
    char *dir;
    int64_t file_size;
    bool lock_files; /* it lies outside of the root, whose lock does not cover it */

    uv_rwlock_t files_lock; /* guards the next three */
    struct store_file **files;
    int file_n, file_cap;

    uv_mutex_t ahead_lock; /* guards the next file, created before it is needed */
    struct store_file *ahead;
    bool ahead_failed; /* told once */

    uv_mutex_t lock; /* the log lock: guards what follows and every queue's `next` */
    struct store_file *tail;
    int64_t end;     /* where the next byte goes */
    int64_t last_ts; /* store timestamp of the last record */
    int64_t asked;   /* start of the tail for which the allocator was woken; -1 before the first */
    struct iovec iov[IOV_MAX];
    int iov_n;
    int64_t iov_off; /* physical offset of iov[0] */
    char blank[MESSAGE_BLANK_SIZE];
    struct zero_ahead zero;

    int64_t cold_end; /* set by recovery: records below were written by an earlier run and not checked since */
    _Atomic int64_t min;
    _Atomic int64_t wrote, wrote_ts; /* published under vis.lock, after the units were queued */
    _Atomic int64_t flushed, flushed_ts;
};

int commitlog_init(struct commitlog *l, const struct store_opts *o, struct err *e) HP_MUST_USE;
int commitlog_load(struct commitlog *l, struct err *e) HP_MUST_USE; /* maps the files that exist */
void commitlog_fini(struct commitlog *l);
/* The file that holds phys_offset, with a reference; NULL when there is none. Any thread. */
struct store_file *commitlog_find(struct commitlog *l, int64_t phys_offset);
/* Appends the next file to the sequence, from the one allocated ahead or now. Under log.lock. */
int commitlog_roll(struct commitlog *l, struct err *e) HP_MUST_USE;
/* Creates the next file when the tail is more than half full. Returns whether it did. */
bool commitlog_allocate_ahead(struct commitlog *l);
void commitlog_drop_ahead(struct commitlog *l); /* removes the unused next file */
/* The first two files with references, under the list's lock; false when there are fewer. */
bool commitlog_oldest(struct commitlog *l, struct store_file **first, struct store_file **second);
/* Removes the first file, durably; there must be two. Its mapping lives as long as references to it.
 * Only the cleaner calls this. */
int commitlog_remove_first(struct commitlog *l, struct err *e) HP_MUST_USE;
/* Syncs the files that hold [from, to). */
int commitlog_sync(struct commitlog *l, int64_t from, int64_t to, struct err *e) HP_MUST_USE;
/* Recovery: makes `end` the end: removes files behind it, zeros the rest of its file when cut_tail,
 * opens the tail for appends (creating the file that begins at `end`). */
int commitlog_set_end(struct commitlog *l, int64_t end, bool cut_tail, struct err *e) HP_MUST_USE;
int64_t commitlog_limit(struct commitlog *l); /* end of the last file */

/* ---- queue.c: one consume queue ---- */

struct store_queue {
    struct queue_table *table;
    atomic_int refs;
    int32_t id;
    int64_t next;    /* queue offset of the next record; log.lock */
    uv_mutex_t lock; /* guards what follows */
    int64_t min, max;
    int64_t cold_end;   /* set by recovery: units below were written by an earlier run and not made again */
    int64_t written;    /* units below are in the files, synced */
    int64_t tail_first; /* queue offset of tail[0]; tail_first <= written */
    char *tail;         /* encoded units [tail_first, max) */
    uint32_t tail_cap;  /* in units */
    bool dirty;         /* on the dirty list, which then holds a reference */
    bool gone;          /* topic deleted: nothing goes to disk any more */
    struct list dirty_link; /* dirty_lock */
    struct list fds;        /* fds.lock: open files of this queue */
    bool has_dir;           /* io_lock */
    int64_t files_from;     /* io_lock: start byte of the oldest file */
    int64_t files_to;       /* io_lock: no file begins at this byte or behind */
    int64_t flushing;       /* io_lock: units below are in the files, perhaps not synced yet */
    struct queue_probe *probe; /* recovery: what loading saw; NULL when it no longer holds */
    bool damaged;           /* recovery: the files lack units, or may */
    bool suspect;           /* recovery: the last file was empty, as after a crash, or after a loss */
    uint16_t topic_n;
    char topic[];
};

struct queue_probe { /* a queue that is not empty, as its files are */
    struct queue_unit first, last;
    bool clean;      /* nothing but zeros shortly behind the last unit */
    bool last_there; /* the last unit's record was found in the log */
};

struct queue_fd { /* an open consume queue file in the cache */
    struct list lru, of_queue;
    int64_t start; /* byte offset of the file in its queue */
    struct fs_file *f;
    int users;
    bool dropped; /* its file is removed: closed with its last user */
};

struct queue_table {
    struct store *st;
    struct fs *fs;
    char *dir;
    int64_t file_size;
    uv_rwlock_t map_lock; /* guards map */
    struct map *map;      /* topic bytes + 4 bytes queue id -> struct store_queue, one reference each */
    uv_mutex_t dirty_lock; /* guards dirty */
    struct list dirty;
    uv_mutex_t io_lock; /* held while a queue's files are written or removed */
    struct list round;  /* io_lock: queues of the running flush round */
    bool round_failed;  /* io_lock */
    bool round_thorough; /* io_lock: every unit is written, however few a queue has */
    bool round_left;    /* io_lock: a queue was left for a later round */
    bool thorough_due;  /* io_lock: the last thorough round failed */
    int64_t round_ts, round_physic_ts, round_offset;
    _Atomic int64_t synced; /* the units of all records below this offset are on disk */
    int64_t thorough_ms, thorough_wrote; /* io_lock: when, and at which end of the log, one began */
    struct fs_file *dir_file; /* the directory: the file system is synced through it */
    bool unsynced;      /* io_lock: names or cuts that only a sync of everything makes durable */
    char *scratch;      /* io_lock: FLUSH_CHUNK bytes */
    uv_mutex_t fds_lock; /* guards lru, fd_n and every queue's fds */
    struct list lru;
    int fd_n;
    _Atomic int64_t unwritten; /* units not yet in files, all queues */
};

static inline struct slice queue_topic(const struct store_queue *q)
{
    return slice_of(q->topic, q->topic_n);
}
struct store_queue *queue_new(struct queue_table *t, struct slice topic, int32_t id);
struct store_queue *queue_ref(struct store_queue *q);
void queue_unref(struct store_queue *q);
void queue_unit_put(char *p, const struct queue_unit *u);
/* The unit at queue offset `max`. E_NOMEM: not added. */
int queue_add(struct store_queue *q, const struct queue_unit *u) HP_MUST_USE;
/* Up to n units from queue offset `offset`, as encoded bytes; stops at max and at file ends.
 * Returns the count, or E_NOTFOUND (file gone), E_IO, E_CORRUPT (file too short). */
int queue_read(struct store_queue *q, int64_t offset, int n, char *out, struct err *e) HP_MUST_USE;
/* The same without waiting for the disk: E_AGAIN when it would. */
int queue_read_now(struct store_queue *q, int64_t offset, int n, char *out, struct err *e) HP_MUST_USE;
int queue_unit_at(struct store_queue *q, int64_t offset, struct queue_unit *u, struct err *e) HP_MUST_USE;
void queue_range(struct store_queue *q, int64_t *min, int64_t *max);
/* Writes what is not in files yet, up to q->flushing. `sync`: durably, otherwise the caller syncs the
 * file system and calls queue_mark_written. Under io_lock. */
int queue_write(struct store_queue *q, bool sync, struct err *e) HP_MUST_USE;
void queue_mark_written(struct store_queue *q); /* what queue_write wrote is synced */
/* Frees the memory of units that are in files. Returns false when there are others. */
bool queue_release_tail(struct store_queue *q);

/* queue_files.c: files of queues, opened through a bounded cache */
enum queue_create { CREATE_NOT, CREATE_UNSYNCED /* its names are durable after a sync of everything */,
                    CREATE_SYNCED };
int queue_fd_get(struct store_queue *q, int64_t start, enum queue_create create, struct queue_fd **out,
                 struct err *e) HP_MUST_USE;
struct queue_fd *queue_fd_cached(struct store_queue *q, int64_t start); /* NULL: it is not open */
void queue_fd_put(struct store_queue *q, struct queue_fd *fd);
void queue_fd_drop(struct store_queue *q, int64_t start); /* its file is removed */
void queue_fds_close(struct store_queue *q);
char *queue_dir(const struct store_queue *q); /* malloc; NULL when memory is out */

/* ---- queue_table.c ---- */

int queue_table_init(struct queue_table *t, struct store *st, struct err *e) HP_MUST_USE;
void queue_table_fini(struct queue_table *t);
/* With a reference; NULL when absent. Any thread. */
struct store_queue *queue_find(struct queue_table *t, struct slice topic, int32_t id);
/* The same, created when absent. E_NOMEM, E_INVAL (topic name or id). */
int queue_open(struct queue_table *t, struct slice topic, int32_t id, struct store_queue **out,
               struct err *e) HP_MUST_USE;
void queue_mark_dirty(struct store_queue *q); /* under q->lock */
/* One bounded part of a flush round. True when the round is not over. */
#define QUEUE_UNWRITTEN_MAX INT64_C(4194304) /* units in memory, 80 MiB: more is an error */
bool queue_table_flush_step(struct queue_table *t);
/* Everything, without the checkpoint; cuts of recovery become durable, too. */
int queue_table_flush_all(struct queue_table *t, struct err *e) HP_MUST_USE;

/* ---- queue_load.c: what recovery does with queue files ---- */

/* Opens every queue that has files. All functions here run before any other thread exists. */
int queue_table_load(struct queue_table *t, bool clean, struct err *e) HP_MUST_USE;
/* Ends the queue before its first unit that is invalid or points at or behind phys_offset, and
 * before every last unit that has no record; what the files hold behind that becomes zero. The queue is
 * `damaged` when the first unit cut off does not name a record of its own at or behind phys_offset: then
 * what was there is not known. */
int queue_cut_phys(struct store_queue *q, int64_t phys_offset, struct err *e) HP_MUST_USE;
/* Ends the queue at `offset` (min <= offset <= max), in memory and on disk. */
int queue_cut(struct store_queue *q, int64_t offset, struct err *e) HP_MUST_USE;
/* Drops all units; the queue begins and ends at `offset`. */
int queue_restart_at(struct store_queue *q, int64_t offset, struct err *e) HP_MUST_USE;
/* Moves min to the first unit whose record is still in the log. Any thread, but one at a time. */
int queue_find_min(struct store_queue *q, int64_t log_min, struct err *e) HP_MUST_USE;
/* Removes the oldest file when min is behind it and it is not the last one. One file at most. */
int queue_remove_expired(struct store_queue *q, bool *removed, struct err *e) HP_MUST_USE;

/* ---- queue_check.c: units of an earlier run against the log ---- */

/* queue_read for those who act on what the units say: cold ones agree with their records or are made
 * again from the log; what has no record of its queue reads as blank. Any thread, after recovery. */
int queue_read_checked(struct store_queue *q, int64_t offset, int n, char *out, struct err *e) HP_MUST_USE;
int queue_unit_checked(struct store_queue *q, int64_t offset, struct queue_unit *u, struct err *e) HP_MUST_USE;
/* Is the cold unit at `offset` blank, or exactly what its record makes it? */
bool queue_unit_agrees(struct store_queue *q, int64_t offset, const struct queue_unit *u);
/* For one that does not: makes it again from the log, on disk too. May read much of the log. */
void queue_unit_repair(struct store_queue *q, int64_t offset, struct queue_unit *u);
/* Is the record at the unit's place one of this queue, of the unit's size? Its queue offset is not
 * compared: RocketMQ itself may have appended a unit at another place than its record says. */
bool queue_unit_has_record(struct store_queue *q, const struct queue_unit *u);

/* ---- dispatch.c: from written records to visible units ---- */

struct pending { /* one record on its way to its queue */
    struct store_queue *queue; /* a reference */
    struct queue_unit unit;
    int64_t queue_offset, ts;
};

struct visibility {
    uv_mutex_t lock; /* guards what follows */
    struct pending *ring;
    size_t head, n, cap; /* cap is a power of two */
    struct list waiters; /* appends that wait for the flush, by end_offset */
    _Atomic int64_t readable; /* records below may be read by their place: moves before their units come */
    _Atomic int64_t offset; /* records below are visible: moves when all their units are there */
    _Atomic int64_t ts;     /* every unit of a record with a store time up to this is in its queue */
};

int visibility_init(struct visibility *v, struct err *e) HP_MUST_USE;
void visibility_fini(struct visibility *v);
int visibility_reserve(struct visibility *v, size_t n) HP_MUST_USE; /* room for n more pushes */
void visibility_push(struct visibility *v, const struct pending *p); /* takes the reference; under lock */
/* Makes everything that ends at or below upto visible, unless a unit finds no memory. Under v->lock. */
void visibility_advance(struct store *st, int64_t upto, int64_t ts);

/* ---- append.c, flush.c ---- */

void appends_deliver(struct list *done); /* to their ports; status is set */
bool flush_step(void *st);
bool deadlines_step(void *st);
bool cq_flush_step(void *st);
bool allocate_step(void *st);
/* The store is FAILED from here on. First reason wins. No lock held but log.lock at most. */
void store_fail_mark(struct store *st, const char *reason);
/* If the store is FAILED: tells on_failed and completes the waiters, once. No lock held. */
void store_fail_report(struct store *st);

/* ---- checkpoint.c ---- */

int checkpoint_load(struct store *st, struct err *e) HP_MUST_USE; /* absent or short: zeros */
int checkpoint_save(struct store *st, int64_t physic_ts, int64_t logics_ts, struct err *e) HP_MUST_USE;

/* ---- retention.c ---- */

struct retention {
    atomic_bool full;
    atomic_int used;           /* percent; -1 before the first look */
    _Atomic int64_t keep_from;
    bool watch_blind;          /* watch only: the last look failed */
    bool short_told;           /* watch only: that some space came back, and not enough */
    /* the cleaner's */
    int64_t next_ms;           /* monotonic: nothing to do before */
    _Atomic int64_t age_from_ts; /* wall time: nothing goes by age before; in the checkpoint too */
    int budget;                /* log files that the running round may still remove */
    bool in_round;
    int64_t held_told;         /* start of the held file that was reported */
    bool queues_tried;         /* in the running round */
    bool queues_failed;        /* one at least, in the running pass */
    int64_t queues_min;        /* queues were cleaned up to this log minimum */
    int64_t queues_target;     /* and are being cleaned up to this one */
    struct store_queue **todo; /* references */
    size_t todo_n, todo_i;
};
/* In recovery, before the checkpoint is written: whether age can be trusted, given the newest record. */
void retention_judge_age(struct store *st, int64_t newest_ts);
void retention_init(struct store *st); /* looks at the disk once */
void retention_fini(struct store *st);
bool space_step(void *st);
bool clean_step(void *st);

/* ---- index_file.c: one index file, used by the index worker alone ---- */

struct index_file {
    struct fs *fs;
    struct fs_file *f;
    int64_t name; /* yyyyMMddHHmmssSSS as a number */
    int32_t slot_n, item_max;
    struct index_header h;
    int32_t *slots;  /* of the file that grows; NULL: they are on disk, complete */
    char *tail;      /* encoded items [written, h.count) */
    int32_t written;
    char *path;
};

/* A new file of full size, sparse. E_EXISTS, E_NOSPC, E_IO, E_NOMEM. */
int index_file_create(struct fs *fs, const char *dir, int64_t name, int32_t slot_n, int32_t item_max,
                      struct index_file **out, struct err *e) HP_MUST_USE;
/* E_CORRUPT: its size or header is impossible (text says which). */
int index_file_load(struct fs *fs, const char *dir, int64_t name, int32_t slot_n, int32_t item_max,
                    struct index_file **out, struct err *e) HP_MUST_USE;
void index_file_close(struct index_file *f); /* what is not written is lost */
static inline bool index_file_full(const struct index_file *f) { return f->h.count >= f->item_max; }
/* Makes a loaded file grow again: it ends before item `count` and before the first item at or behind
 * phys_max. `trusted`: its slots are complete; otherwise, and when it got shorter, they are made anew
 * from the items. */
int index_file_reopen(struct index_file *f, int32_t count, int64_t phys_max, bool trusted, struct err *e) HP_MUST_USE;
/* Do header, first and last item of a loaded file agree, and end below phys_max? E_CORRUPT. */
int index_file_check(struct index_file *f, int64_t phys_max, struct err *e) HP_MUST_USE;
/* Adds an item; not when it is full. Errors of the write of earlier items: nothing was added. */
int index_file_add(struct index_file *f, int32_t hash, int64_t phys, int64_t ts, struct err *e) HP_MUST_USE;
int index_file_write(struct index_file *f, struct err *e) HP_MUST_USE; /* items and header, no sync */
int index_file_write_slots(struct index_file *f, struct err *e) HP_MUST_USE;
/* The newest item of the hash's slot; 0: none. E_CORRUPT: the number is impossible. */
int index_file_first(struct index_file *f, int32_t hash, int32_t *out, struct err *e) HP_MUST_USE;
int index_file_item(struct index_file *f, int32_t i, struct index_item *out, struct err *e) HP_MUST_USE;

/* ---- index.c, index_query.c ---- */

struct index {
    struct store *st;
    char *dir, *state_path;
    uv_mutex_t lock;      /* guards the next two */
    struct list queries;
    int32_t query_n;
    _Atomic int64_t indexed;  /* records below have all their items in the files; -1: not open yet */
    _Atomic int64_t safe_ts;  /* newest time in a full, synced file: the checkpoint's index time */
    /* the index worker's */
    struct index_file **files; /* ascending; only the last one grows */
    int file_n, file_cap;
    int64_t log_end;          /* at store_open */
    bool clean;
    bool opened, stopped, failing; /* stopped: a sync failed, nothing is written any more */
    int64_t saved_pos;
    bool saved_slots;
    int64_t retry_ms, flush_ms, closing_ms;
    struct buf key, log;
};

int index_init(struct index *ix, struct store *st, struct err *e) HP_MUST_USE;
/* After recovery, before the first append. E_IO, E_NOMEM, E_NOSPC: a state that is ahead of the log could
 * not be put right. */
int index_start(struct index *ix, bool clean, struct err *e) HP_MUST_USE;
int index_forget(struct index *ix, struct err *e) HP_MUST_USE; /* before index_start: it is built anew */
void index_close(struct index *ix); /* saves; answers what waits */
void index_fini(struct index *ix);
enum { INDEX_IDLE_MS = 20 };
bool index_step(void *st);
/* Fills the outputs of a query from the files as they are. E_CORRUPT: damage was found; the file and
 * those after it are gone and their records are indexed again. */
int index_lookup(struct index *ix, struct store_query *q, struct err *e) HP_MUST_USE;
/* Answers the queries whose records are indexed, or whose time is over; `all`: every one. True when
 * indexing must go on first. */
bool index_serve(struct index *ix, bool all);
void index_drop_from(struct index *ix, int i); /* removes files[i...]; indexing goes on behind files[i-1] */

/* index_state.c: the file that says how much of the index is on disk */
/* E_NOTFOUND: no such file. E_CORRUPT: not a whole one (logged). */
int index_state_load(struct index *ix, struct index_state *s, struct err *e) HP_MUST_USE;
int index_state_save(struct index *ix, const struct index_state *s, struct err *e) HP_MUST_USE;

/* ---- recover.c ---- */

int recover(struct store *st, struct store_recovery *found, struct err *e) HP_MUST_USE;
/* The queue unit's code of a decoded record, as dispatch computes it. */
int64_t record_tags_code(const struct store *st, const struct message *m);

/* ---- store.c ---- */

struct store {
    struct store_opts o; /* strings and delay levels are owned copies */
    char *root;
    struct fs *fs;
    const struct clock *clock;
    struct fs_file *lock_file, *checkpoint_file;
    struct places places;
    struct commitlog log;
    struct visibility vis;
    struct queue_table queues;
    struct index index;
    int64_t memory_bytes; /* the log's share of the machine's memory */
    struct checkpoint checkpoint; /* the cq flush worker's, after open */
    struct worker flusher, deadlines, cq_flusher, allocator, indexer, space_watch, cleaner;
    struct retention retention;
    bool sync_broken;       /* flusher only: a sync failed, none is tried again */
    int64_t last_flush_ms;  /* flusher only */
    atomic_bool failed, fail_reported, closing;
    uv_mutex_t fail_lock; /* guards failed_reason */
    char failed_reason[256];
    atomic_uint_fast64_t appends, records, bytes, syncs, sync_ns, writes;
    atomic_int ports;
};

int64_t store_delay_ms(const struct store *st, int32_t level); /* levels above the table use its last */
