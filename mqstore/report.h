#pragma once
/* What verify found: counts of every kind, and the first ones in full. */
#include "base/json.h"

enum severity {
    DAMAGE, /* not as a store must be */
    NOTE    /* explained by how the broker stopped or by RocketMQ's ways; the next start deals with it */
};

enum problem_kind {
#define PROBLEM(id, name, advice) id,
#include "mqstore/problems.def"
#undef PROBLEM
    PROBLEM_N
};

struct problem {
    enum severity severity;
    enum problem_kind kind;
    char *file;     /* path; NULL when it is about no file */
    int64_t offset; /* byte in that file; -1: the file as a whole */
    char *text;
};

struct report {
    size_t max; /* problems kept of each severity */
    struct problem *list;
    size_t n, cap, kept[2];
    uint64_t count[2];
    uint64_t kinds[PROBLEM_N][2];
    bool short_of_memory; /* a problem could not be kept; it is counted */
};

void report_init(struct report *r, size_t max);
void report_fini(struct report *r);
/* Counts it, and keeps it while there are fewer than max of its severity. */
void report_add(struct report *r, enum severity s, enum problem_kind k, const char *file, int64_t offset,
                const char *fmt, ...) HP_PRINTF(6, 7);
const char *problem_name(enum problem_kind k);
const char *problem_advice(enum problem_kind k);
void report_text(const struct report *r, struct buf *out);
json_t *report_json(const struct report *r); /* array of the kept ones; NULL: out of memory */
