#pragma once
/* Threads, locks and the worker shape "step function + tiny loop". Thin over libuv, which reports
 * errors that pthreads leave undefined. */
#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

/* A worker calls step() until it says there is nothing to do, then waits to be woken or for
 * idle_ms (< 0: for ever). Tests call the step function by hand instead. */
struct worker {
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t cond;
    bool woken, stopping, started;
    const char *name;
    int64_t idle_ms; /* step() may change it: how long to wait after it said "nothing to do" */
    bool (*step)(void *arg); /* a bounded batch; true when there is more to do */
    void *arg;
};
int worker_start(struct worker *w, const char *name, int64_t idle_ms, bool (*step)(void *), void *arg,
                 struct err *e) HP_MUST_USE;
/* Any thread, from start to stop; wakes are not lost and coalesce. Nothing happens when the
 * worker was never started. */
void worker_wake(struct worker *w);
/* Steps until step() says "nothing to do" once more, then joins. Idempotent; safe if never started.
 * */
void worker_stop(struct worker *w);
