/* Workers: a thread around a step function.
 *
 * Owns: the thread, lock and condition of a started worker.
 * Runs on: worker_start and worker_stop on the owner's thread, worker_wake on any, `run` on its
 * own.
 *
 * Happy path: run() steps until step() says there is nothing to do, sleeps until woken or idle_ms
 * passed, and steps again. A wake that arrives while stepping leaves `woken` set, so the sleep that
 * follows does not happen: no wake is lost, and a hundred of them cost one round.
 *
 * Failure modes: the thread cannot be created (E_NOMEM or the system's reason); the worker is then
 * as if never started. Everything that a step may do wrong is the step's own affair.
 *
 * Invariants: 1. `stopping` is read before the last round of steps begins, so whatever was
 * handed to the worker before worker_stop is worked on; 2. woken and stopping are guarded by the
 * lock; 3. started is written by the owner only; wakes to a worker that is not started do
 * nothing, so that tests can drive the same object step by step on one thread. */
#include "base/thread.h"

#include <pthread.h>
#include <stdint.h>

#include "base/log.h"

static void wait_for_work(struct worker *w)
{
    uv_mutex_lock(&w->lock);
    if (!w->woken && !w->stopping) {
        if (w->idle_ms < 0)
            uv_cond_wait(&w->cond, &w->lock);
        else
            uv_cond_timedwait(&w->cond, &w->lock, (uint64_t)w->idle_ms * 1000000);
    }
    uv_mutex_unlock(&w->lock);
}

static bool begin_round(struct worker *w)
{
    uv_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    w->woken = false;
    uv_mutex_unlock(&w->lock);
    return stopping;
}

static void run(void *arg)
{
    struct worker *w = arg;
    log_set_thread_name(w->name);
    for (;;) {
        bool last = begin_round(w);
        while (w->step(w->arg)) {
        }
        if (last)
            return;
        wait_for_work(w);
    }
}

int worker_start(struct worker *w, const char *name, int64_t idle_ms, bool (*step)(void *),
                 void *arg, struct err *e)
{
    MQ_ASSERT(idle_ms <= INT64_MAX / 1000000);
    *w = (struct worker){.name = name, .idle_ms = idle_ms, .step = step, .arg = arg};
    int rc = uv_mutex_init(&w->lock);
    if (rc)
        return err_set(e, E_NOMEM, "worker %s: %s", name, uv_strerror(rc));
    rc = uv_cond_init(&w->cond);
    if (rc) {
        uv_mutex_destroy(&w->lock);
        return err_set(e, E_NOMEM, "worker %s: %s", name, uv_strerror(rc));
    }
    w->started = true;
    rc = uv_thread_create(&w->thread, run, w);
    if (rc) {
        w->started = false;
        uv_cond_destroy(&w->cond);
        uv_mutex_destroy(&w->lock);
        return err_set(e, E_NOMEM, "worker %s: cannot create a thread: %s", name, uv_strerror(rc));
    }
    return 0;
}

void worker_wake(struct worker *w)
{
    if (!w->started)
        return;
    uv_mutex_lock(&w->lock);
    w->woken = true;
    uv_cond_signal(&w->cond);
    uv_mutex_unlock(&w->lock);
}

void worker_stop(struct worker *w)
{
    if (!w->started)
        return;
    uv_mutex_lock(&w->lock);
    w->stopping = true;
    uv_cond_signal(&w->cond);
    uv_mutex_unlock(&w->lock);
    uv_thread_join(&w->thread);
    uv_cond_destroy(&w->cond);
    uv_mutex_destroy(&w->lock);
    w->started = false;
}
