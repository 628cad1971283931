#pragma once
/* Checks a stopped store against docs/STORE_FORMAT.md, reading only. */
#include "base/map.h"
#include "mqstore/log_reader.h"
#include "mqstore/report.h"

struct verify_progress {
    const char *phase;   /* "commit log", "consume queues", "index" */
    int64_t done, total; /* bytes of the log or the index; number of queues */
    bool bytes;
};

struct verify_opts {
    struct site_opts site;
    size_t problems_max; /* of each severity kept in full; the rest is counted */
    void (*on_progress)(void *arg, const struct verify_progress *p); /* NULL: nobody looks */
    void *arg;
};

struct hole { /* bytes of the log that are no records although whole ones follow */
    int64_t from, to;
};

struct verify {
    struct verify_opts o;
    struct site site;
    struct report report;
    bool have_checkpoint;
    struct checkpoint checkpoint;
    struct { /* the log */
        int64_t end;        /* behind the last record that counts */
        int64_t dropped;    /* bytes behind `end` that are not zero: a torn tail */
        int64_t records, with_checksum, last_ts, max_ts;
        struct hole *holes; /* ascending; damage, not a tail */
        size_t hole_n, hole_cap;
        int64_t behind_records; /* whole ones behind the first hole */
        int64_t given_up_records; /* whole ones behind `end` that the next start drops (crash) */
    } log;
    struct { /* consume queues */
        struct map *map;    /* topic, 0, 4 bytes id -> struct vqueue */
        int64_t file_size, queues, units, expired;
        struct json_t *topics; /* topicConfigTable or NULL; borrowed from topics_doc */
        json_t *topics_doc;
        int64_t delays_ms[64]; /* learned from units of SCHEDULE_TOPIC_XXXX, by level; 0: not seen */
    } cq;
    struct vindex *index;
    struct { int files; int64_t items, keys; bool damaged; } ix;
    bool checkpoint_damaged, config_damaged;
};

/* Reads the whole store. E_LOCKED, E_NOTFOUND, E_INVAL (no store), E_NOMEM, E_IO (a directory cannot be
 * listed; files that cannot be read are findings). Findings are in v->report. The lock is held until
 * verify_close. */
int verify_run(struct verify *v, const struct verify_opts *o, struct err *e) HP_MUST_USE;
void verify_close(struct verify *v);
void verify_text(const struct verify *v, struct buf *out);
int verify_json(const struct verify *v, json_t **out) HP_MUST_USE; /* E_NOMEM */

struct vqueue *verify_queue_find(const struct verify *v, struct slice topic, int32_t id); /* NULL when absent */

struct vqueue { /* one consume queue: what is on disk, what the log says */
    char *dir, *topic;
    int32_t id;
    bool on_disk, damaged, deleted;
    struct site_file *files;
    int file_n;
    int64_t log_n, next;             /* records in the log, the queue offset after the last */
    int64_t run_from, run_to;        /* units [from, to) were met with their record, none missing */
    int64_t bad_n, bad_offset;       /* records without their unit, the one that is told */
    enum severity bad_severity;
    enum problem_kind bad_kind;
    char bad_text[160];
    int64_t min, max;                /* queue offsets that can be consumed */
    char *units;                     /* UNITS_AHEAD of them, from queue offset units_at on */
    int64_t units_at, units_n;
};
