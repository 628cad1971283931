#pragma once
/* How often a loop looked for events before it slept (loop_busy_poll). */
#include "remoting/loop.h"
#include "tests/support/test.h"

struct loop_looks {
    const struct loop *loop;
    uint64_t n;
};

static inline void loop_looks_read(void *arg)
{
    struct loop_looks *looks = arg;
    looks->n = looks->loop->busy.runs;
}

/* Any thread but the loop's. */
static inline uint64_t loop_looks(struct loop *l)
{
    struct loop_looks looks = {.loop = l};
    assert_int_equal(loop_call(l, loop_looks_read, &looks), 0);
    return looks.n;
}
