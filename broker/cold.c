/* Reads that may wait for the disk.
 *
 * Runs on: cold_run and then() on the request's loop, work() on a thread of libuv's pool (four, unless
 * UV_THREADPOOL_SIZE says otherwise). So a disk that hangs holds up those who read from it, and nobody
 * else; a loop has at most as many jobs as requests in flight.
 *
 * Failure modes: no memory: told to the caller. The peer goes away meanwhile: the work is done all the
 * same, its answer goes nowhere. A stop waits for the jobs, like for every request. */
#include "broker/cold.h"

struct cold_job { /* in the request's arena */
    uv_work_t work;
    struct req *req;
    void (*run)(struct req *r);
    void (*then)(struct req *r);
};

static void on_worker(uv_work_t *w)
{
    struct cold_job *j = w->data;
    j->run(j->req);
}

static void on_loop(uv_work_t *w, int status)
{
    struct cold_job *j = w->data;
    (void)status; /* nothing cancels */
    j->then(j->req);
}

int cold_run(struct req *r, void (*work)(struct req *r), void (*then)(struct req *r))
{
    struct cold_job *j = req_alloc(r, sizeof *j);
    if (!j)
        return E_NOMEM;
    *j = (struct cold_job){.req = r, .run = work, .then = then};
    j->work.data = j;
    return uv_queue_work(&req_loop(r)->uv, &j->work, on_worker, on_loop) == 0 ? 0 : E_NOMEM;
}
