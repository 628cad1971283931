#pragma once
/* Prints what is in a stopped store's files, as it is: nothing is judged, damaged places are passed over
 * and named. */
#include <stdio.h>

#include "mqstore/site.h"

enum dump_what { DUMP_LOG, DUMP_QUEUE, DUMP_INDEX, DUMP_CHECKPOINT };

struct dump_opts {
    struct site_opts site;
    enum dump_what what;
    const char *topic, *key; /* NULL: any. key: UNIQ_KEY or a word of KEYS */
    int32_t queue;           /* -1: any */
    int64_t from, to;        /* physical offsets of the log and the index, queue offsets of a queue;
                                from <= x < to; to -1: no end */
    int64_t limit;           /* lines; 0: no limit */
    bool body, json;
};
/* E_INVAL: options that do not go together; errors of site_open; E_IO when `out` cannot be written. */
int dump_run(const struct dump_opts *o, FILE *out, struct err *e) HP_MUST_USE;
