#pragma once
/* Threads that run application callbacks, so that the loop never does. */
#include <uv.h>

#include "base/err.h"
#include "base/list.h"

struct job {
    struct list link;
    void (*run)(struct job *j); /* on a pool thread; the job is the function's from then on */
};
struct pool {
    uv_mutex_t lock;
    uv_cond_t cond;
    struct list jobs; /* under lock, as everything below */
    size_t waiting, running;
    bool paused, stopping;
    uv_thread_t *threads; /* the owner's */
    int thread_n;
    char name[12];
};
int pool_start(struct pool *p, const char *name, int threads, struct err *e) HP_MUST_USE;
/* Any thread, until pool_stop. Jobs run in order of their arrival. */
void pool_put(struct pool *p, struct job *j);
size_t pool_waiting(struct pool *p); /* jobs not begun */
size_t pool_running(struct pool *p); /* jobs begun and not ended */
void pool_pause(struct pool *p, bool paused); /* begins nothing while paused */
/* No job begins any more; those not begun move to *left (may be NULL when none can be). Does not
 * wait. */
void pool_quit(struct pool *p, struct list *left);
/* After pool_quit: waits for the jobs that run, ends the threads. Not from a pool thread. */
void pool_join(struct pool *p);
