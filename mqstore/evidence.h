#pragma once
/* Moving and copying what a repair gives up, and filling damaged places of the log. Everything is durable
 * when a function returns. One thread. */
#include "base/clock.h"
#include "mqstore/site.h"

struct evidence {
    struct fs *fs;
    char *dir; /* ROOT/repair-<time> */
};
/* Creates the directory, named after local time. */
int evidence_open(struct evidence *v, const struct site *s, const struct clock *clock, struct err *e) HP_MUST_USE;
void evidence_close(struct evidence *v);
int evidence_write(struct evidence *v, const char *name, struct slice content, struct err *e) HP_MUST_USE;
/* Copies bytes [from, to) of a file, as far as it has them, to <dir>/<name>; what cannot be read becomes
 * zeros in the copy. */
int evidence_copy(struct evidence *v, const char *path, int64_t from, int64_t to, const char *name,
                  struct err *e) HP_MUST_USE;
/* Moves a file or directory to <dir>/<folder>/<name>; a file also over file system borders. A missing one
 * is none of an error. */
int evidence_move(struct evidence *v, const char *path, const char *folder, const char *name, struct err *e) HP_MUST_USE;

/* Makes [from, to) of one log file pass for nothing: up to the file's end a blank record, else records of
 * type "rolled back", which no consumer, queue or index sees, here and in RocketMQ. store_ts: theirs.
 * E_CORRUPT: too few bytes for a record. Creates the file when it is missing, extends it when short. */
int filler_write(const struct site *s, int64_t from, int64_t to, int64_t store_ts, struct err *e) HP_MUST_USE;
