#pragma once
/* What a program that looks at the files of a stopped store (mqstore) shares with the store: how a
 * record is judged, what is derived from it, how the numbers in each file are read. Nothing here opens a
 * store or changes a file; store_priv.h includes it, so there is one reader of each format.
 * Pure but for numbers_list; any thread. */
#include "base/buf.h"
#include "base/fs.h"
#include "proto/message.h"
#include "store/layout.h"

enum {
    CQ_UNIT_SIZE = sizeof(struct disk_cq_unit),
    CQ_BLANK_SIZE = INT32_MAX, /* size of a pre-blank unit: no message at this queue offset */
    CHECKPOINT_SIZE = sizeof(struct disk_checkpoint),
    FILE_NAME_LEN = 20,
    INDEX_NAME_LEN = 17,
    INDEX_HEADER_SIZE = sizeof(struct disk_index_header),
    INDEX_SLOT_SIZE = sizeof(struct disk_index_slot),
    INDEX_ITEM_SIZE = sizeof(struct disk_index_item)
};

/* ---- record.c: one record of the log ---- */

enum record_kind { RECORD_WHOLE, RECORD_BLANK, RECORD_BAD };
/* Judges what stands at physical offset `pos`, `left` bytes before the end of its file. `in`: bytes from
 * there on, `left` of them or fewer. flags: as message_decode. WHOLE: *m is set, its slices borrow from
 * `in`. BLANK: the rest of the file holds nothing more. BAD: e says why; E_AGAIN: `in` ends before the
 * record does. */
enum record_kind record_judge(struct slice in, int64_t left, int64_t pos, int flags, struct message *m,
                              struct err *e);
/* Has it a unit in a consume queue? Not half messages, rollbacks and RocketMQ's inner batches. */
bool record_takes_unit(const struct message *m);
/* A delayed message on its way: its unit's code is a delivery time, not the tag. */
bool record_delay_level(const struct message *m, int32_t *level);

struct record_keys { /* what the index has of a record: UNIQ_KEY, then each word of KEYS */
    struct slice uniq, words;
};
struct record_keys record_keys_of(const struct message *m); /* none for rollbacks */
bool record_keys_next(struct record_keys *k, struct slice *key);

/* ---- store_file.c ---- */

/* 20 digits; false when the name is not of that form or does not fit 63 bits. */
bool file_name_parse(const char *name, int64_t *start);
/* "dir/name" with malloc; NULL when memory is out. */
char *path_join(const char *dir, const char *name);
char *path_join_start(const char *dir, int64_t start);
/* The numbers that file names in a directory stand for (file_name_parse, index_name_parse), ascending;
 * other names are passed over. The caller frees. A directory that does not exist has none. */
int numbers_list(struct fs *fs, const char *dir, bool (*parse)(const char *name, int64_t *number), int64_t **out,
               int *n, struct err *e) HP_MUST_USE;

/* ---- queue.c ---- */

struct queue_unit {
    int64_t phys_offset;
    int32_t size;
    int64_t tags_code;
};
void queue_unit_get(const char *p, struct queue_unit *u); /* CQ_UNIT_SIZE bytes */
static inline bool unit_is_blank(const struct queue_unit *u) { return u->size == CQ_BLANK_SIZE; }

/* ---- checkpoint.c ---- */

struct checkpoint {
    int64_t physic_ts, logics_ts, index_ts, master_flushed, confirm_phys, age_from_ts;
};
struct checkpoint checkpoint_get(const struct disk_checkpoint *d); /* negative numbers count as 0 */

/* ---- index_file.c, index_state.c ---- */

struct index_header {
    int64_t begin_ts, end_ts, begin_phys, end_phys;
    int32_t slots_used, count; /* number of the next item; the first is 1 */
};
struct index_item {
    int32_t hash, seconds, prev;
    int64_t phys;
};
struct index_header index_header_get(const struct disk_index_header *d); /* count 0 (never used) is read as 1 */
struct index_item index_item_get(const struct disk_index_item *d);
int32_t index_hash(struct slice topic_and_key); /* "topic#key" */
/* The same, put together in `scratch`. E_NOMEM. */
int index_key_hash(struct buf *scratch, struct slice topic, struct slice key, int32_t *out) HP_MUST_USE;
/* Text is the name of an index file. */
bool index_name_parse(const char *text, int64_t *name);

struct index_state {
    int64_t name, phys; /* the last file (0: none); records below phys are indexed */
    int32_t count;      /* its next item number */
    bool slots;         /* its slots are on disk, complete */
};
bool index_state_get(struct slice bytes, struct index_state *s); /* false: not a whole indexCheckpoint */
