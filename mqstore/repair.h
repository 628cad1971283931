#pragma once
/* Makes a stopped store whole again: what is derived is built anew, the log's torn tail is cut, and
 * nothing is given up before a copy of it lies in ROOT/repair-<time>/. */
#include "base/buf.h"
#include "mqstore/verify.h"

struct repair_opts {
    struct verify_opts verify;
    bool yes;          /* false: only say what would be done */
    bool keep_behind;  /* damage in the middle of the log: keep the whole records behind it */
    const int64_t *delay_level_ms; /* messageDelayLevel; NULL: what the queues tell, else the default table */
    int delay_level_n;
    const struct clock *clock; /* NULL = clock_system */
};
struct repair_result {
    bool needed, done;
    uint64_t damage_before, damage_after;
    int64_t records_before, records_after;
    char *dir; /* where the copies are; NULL: none were made */
};
/* Appends the plan, and what came of it, to `out`. Errors of verify_run, E_IO, E_NOSPC (nothing was
 * changed when the copies could not be made), E_CORRUPT: this damage needs a human (the text says why). */
int repair_run(const struct repair_opts *o, struct buf *out, struct repair_result *result, struct err *e) HP_MUST_USE;
void repair_result_free(struct repair_result *r);
