#pragma once
/* Replays recorded conversations (tests/golden/frames) against a broker: every request that a
 * recorded client sent to its broker is sent again, byte for byte, on a connection of its own for
 * each recorded one and in the recorded order, and each answer is compared with the recorded one.
 *
 * What depends on the recording's own run is carried over: physical offsets and message ids in
 * later requests are replaced by those our broker answered with; long polls wait at most
 * suspend_cap_ms; queries by key end now. What may differ in an answer, and why, is the caller's table; nothing else. */
#include "base/buf.h"
#include "tests/support/golden.h"

struct replay_tolerance {
    int request_code; /* 0: every request */
    const char *file; /* part of the file's name; NULL: every file */
    const char *what; /* "code", "remark", "body", "records", a record's field, or an ext field */
    const char *recorded; /* how the recorded value begins; NULL: any */
    const char *ours;     /* how ours begins ("" = only when absent); NULL: any */
    const char *reason;
};
struct replay_opts {
    const char *address; /* of the broker */
    int64_t suspend_cap_ms;
    const char *const *files; /* of the session, in the order of the recording; NULL-terminated */
    const struct replay_tolerance *tolerances;
    size_t tolerance_n;
};
struct replay_result {
    int requests, answers, compared, tolerated, different;
    struct buf report; /* one line for each difference */
};
/* Fails the test (cmocka) when an answer does not come. Free the report. */
void replay_run(const struct golden *g, const struct replay_opts *o, struct replay_result *out);
