#pragma once
/* A store directory as a tool sees it: where its parts are, with which sizes it was written, how its last
 * stop was. One thread. */
#include "base/fs.h"
#include "store/inspect.h"

struct site_opts {
    struct fs *fs;             /* NULL = fs_real */
    const char *root;          /* storePathRootDir */
    const char *commitlog_dir; /* NULL = root/commitlog */
    const char *cq_dir;        /* NULL = root/consumequeue */
    const char *index_dir;     /* NULL = root/index */
    int64_t log_file_size;     /* 0: the size that most log files have */
    int64_t cq_file_size;      /* 0: the size that most consume queue files have */
    int32_t index_slots, index_items; /* 0: worked out from the size, as far as it tells */
};

struct site_file {
    int64_t start, size; /* what its name says, what it has */
};
struct site_index_file {
    int64_t name, size;
};

struct site {
    struct site_opts o;
    struct fs *fs;
    char *root, *log_dir, *cq_dir, *index_dir;
    struct fs_file *lock;       /* held from open to close; NULL: no broker ever ran here */
    bool has_cq_ext;            /* RocketMQ's consumequeue_ext/ is there: units may hold its addresses */
    bool crashed;               /* `abort` is there: the last stop was not orderly */
    struct site_file *log;      /* ascending */
    int log_n;
    int64_t log_file_size;      /* 0: the log has no bytes */
    struct site_index_file *index; /* ascending */
    int index_n;
};

/* Reads directories and sizes only. E_LOCKED: a broker runs; E_NOTFOUND: no directory; E_INVAL: it holds
 * no store. The strings of `o` are copied. */
int site_open(struct site *s, const struct site_opts *o, struct err *e) HP_MUST_USE;
void site_close(struct site *s);
void site_unlock(struct site *s); /* so that this process may open the store itself */

/* The 20-digit files of a directory with their sizes, ascending; a missing directory has none. */
int site_files(struct fs *fs, const char *dir, struct site_file **out, int *n, struct err *e) HP_MUST_USE;
/* The size that most of the n files have and are named for; of equals the larger; 0 when there is none but
 * empty ones. */
int64_t site_usual_size(const struct site_file *files, int n);
static inline int64_t site_log_min(const struct site *s) { return s->log_n ? s->log[0].start : 0; }
static inline int64_t site_log_limit(const struct site *s) /* end of the last file */
{
    return s->log_n ? s->log[s->log_n - 1].start + s->log_file_size : 0;
}
/* maxHashSlotNum and maxIndexNum of an index file of `size` bytes. They are not in the file: the size gives
 * 40 + 4 S + 20 N, and what the operator did not say follows from N = 4 S, RocketMQ's default. 0: unknown. */
void site_index_sizes(const struct site *s, int64_t size, int32_t *slots, int32_t *items);
int site_log_file(const struct site *s, int64_t pos); /* index of the file that holds pos; -1: none */
