/* The pool of callback threads: one FIFO, N threads, nothing clever.
 *
 * A consumer has one for its consume callbacks, a transaction producer one for its checks. The
 * bound on waiting jobs is kept by who puts them (flow control of pulls, the limit of pending
 * checks).
 * Invariant: a job is in the list, or running, or its owner's. */
#include "client/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static void run_jobs(void *arg)
{
    struct pool *p = arg;
    log_set_thread_name(p->name);
    uv_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stopping && (p->paused || list_empty(&p->jobs)))
            uv_cond_wait(&p->cond, &p->lock);
        if (p->stopping)
            break;
        struct job *j = LIST_ENTRY(list_pop_front(&p->jobs), struct job, link);
        p->waiting--;
        p->running++;
        uv_mutex_unlock(&p->lock);
        j->run(j);
        uv_mutex_lock(&p->lock);
        p->running--;
    }
    uv_mutex_unlock(&p->lock);
}

int pool_start(struct pool *p, const char *name, int threads, struct err *e)
{
    *p = (struct pool){0};
    list_init(&p->jobs);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->threads = calloc((size_t)threads, sizeof *p->threads);
    if (!p->threads)
        return err_set(e, E_NOMEM, "out of memory for %d threads", threads);
    uv_mutex_init(&p->lock);
    uv_cond_init(&p->cond);
    for (; p->thread_n < threads; p->thread_n++) {
        const int rc = uv_thread_create(&p->threads[p->thread_n], run_jobs, p);
        if (rc) {
            err_set(e, E_NOMEM, "cannot start thread %d of %d: %s", p->thread_n + 1, threads,
                    uv_strerror(rc));
            pool_quit(p, NULL);
            pool_join(p);
            return E_NOMEM;
        }
    }
    return 0;
}

void pool_put(struct pool *p, struct job *j)
{
    uv_mutex_lock(&p->lock);
    list_push_back(&p->jobs, &j->link);
    p->waiting++;
    uv_cond_signal(&p->cond);
    uv_mutex_unlock(&p->lock);
}

static size_t locked_read(struct pool *p, const size_t *value)
{
    uv_mutex_lock(&p->lock);
    const size_t n = *value;
    uv_mutex_unlock(&p->lock);
    return n;
}

size_t pool_waiting(struct pool *p) { return locked_read(p, &p->waiting); }
size_t pool_running(struct pool *p) { return locked_read(p, &p->running); }

void pool_pause(struct pool *p, bool paused)
{
    uv_mutex_lock(&p->lock);
    p->paused = paused;
    uv_cond_broadcast(&p->cond);
    uv_mutex_unlock(&p->lock);
}

void pool_quit(struct pool *p, struct list *left)
{
    uv_mutex_lock(&p->lock);
    p->stopping = true;
    if (left)
        list_move_all(&p->jobs, left);
    p->waiting = 0;
    uv_cond_broadcast(&p->cond);
    uv_mutex_unlock(&p->lock);
}

void pool_join(struct pool *p)
{
    for (int i = 0; i < p->thread_n; i++)
        uv_thread_join(&p->threads[i]);
    free(p->threads);
    uv_cond_destroy(&p->cond);
    uv_mutex_destroy(&p->lock);
}
