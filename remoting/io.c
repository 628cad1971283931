/* What the connections of one owner share on one loop: the turn hook, the sweep timer, the list of
 * connections that may be read again, the memory pools.
 *
 * Owns: those. Runs on: its loop.
 *
 * Happy path of a turn: sockets are read and requests handled, which makes connections dirty; the hook
 * (rank 10, after the store batches of rank 0 were submitted) writes each dirty connection once.
 *
 * One timer sweeps all time limits. Its period is a quarter of the shortest limit, at most a second, so
 * a limit is kept to within 25 % and an idle server wakes once a second, whatever the number of
 * connections.
 *
 * Close: io_close shuts every connection; each leaves the list when libuv has closed it and its last
 * request was answered or discarded; io_maybe_closed then closes the handles, and the last close
 * callback reports. */
#include <stdlib.h>

#include "remoting/conn_priv.h"

static struct io *io_of_hook(struct turn_hook *h)
{
    return LIST_ENTRY(h, struct io, hook);
}

static void on_turn(struct turn_hook *h)
{
    struct io *io = io_of_hook(h);
    io->turn_input = 0;
    struct list dirty;
    list_move_all(&io->dirty, &dirty);
    for (struct list *l; (l = list_pop_front(&dirty)) != NULL;)
        output_flush(LIST_ENTRY(l, struct conn, dirty_link));
    output_release_orphans(io);
}

static void on_resume(uv_idle_t *handle)
{
    struct io *io = LIST_ENTRY(handle, struct io, resume);
    struct list ready;
    list_move_all(&io->ready, &ready);
    for (struct list *l; (l = list_pop_front(&ready)) != NULL;)
        conn_run(LIST_ENTRY(l, struct conn, ready_link));
    if (list_empty(&io->ready))
        uv_idle_stop(&io->resume);
}

void io_resume_later(struct conn *c)
{
    if (!list_empty(&c->ready_link))
        return;
    list_push_back(&c->io->ready, &c->ready_link);
    uv_idle_start(&c->io->resume, on_resume);
}

static void on_sweep(uv_timer_t *timer)
{
    struct io *io = LIST_ENTRY(timer, struct io, sweep);
    int64_t now_ms = clock_mono(io->clock);
    LIST_FOREACH_SAFE(it, next, &io->conns)
        conn_sweep(LIST_ENTRY(it, struct conn, link), now_ms);
    if (io->closing && !list_empty(&io->conns) && LIST_ENTRY(io->conns.next, struct conn, link)->closed)
        LOGW("close_waits", "side=%s why=\"its owner still keeps requests of closed connections\"", io->name);
}

static uint64_t sweep_period_ms(const struct io_limits *l)
{
    int64_t shortest = l->idle_ms;
    if (l->first_frame_ms > 0 && l->first_frame_ms < shortest)
        shortest = l->first_frame_ms;
    if (l->frame_ms < shortest)
        shortest = l->frame_ms;
    if (l->write_stall_ms < shortest)
        shortest = l->write_stall_ms;
    int64_t period = shortest / 4;
    return period < 1 ? 1 : period > 1000 ? 1000 : (uint64_t)period;
}

int io_open(struct io *io, struct err *e)
{
    list_init(&io->conns);
    list_init(&io->dirty);
    list_init(&io->ready);
    list_init(&io->outs_free);
    block_pool_init(&io->blocks);
    io->orphans = calloc(1, sizeof *io->orphans);
    if (io->orphans == NULL)
        return err_set(e, E_NOMEM, "%s: out of memory", io->name);
    buf_init(&io->orphans->bytes, 0);

    io->hook = (struct turn_hook){.rank = 10, .fn = on_turn};
    loop_hook_add(io->loop, &io->hook);
    uv_idle_init(&io->loop->uv, &io->resume);
    uv_timer_init(&io->loop->uv, &io->sweep);
    uint64_t period = sweep_period_ms(&io->limits);
    uv_timer_start(&io->sweep, on_sweep, period, period);
    io->handles_open = 2;
    return 0;
}

/* --- close --- */

static void free_pools(struct io *io)
{
    output_release_orphans(io);
    output_fini(io);
    block_pool_fini(&io->blocks);
    free(io->iov);
    io->iov = NULL;
    MQ_ASSERT(io->queued == 0);
}

static void handle_closed(struct io *io)
{
    if (--io->handles_open > 0)
        return;
    free_pools(io);
    io->on_closed(io);
}

static void on_sweep_closed(uv_handle_t *h)
{
    handle_closed(LIST_ENTRY(h, struct io, sweep));
}

static void on_resume_closed(uv_handle_t *h)
{
    handle_closed(LIST_ENTRY(h, struct io, resume));
}

void io_maybe_closed(struct io *io)
{
    if (!io->closing || !list_empty(&io->conns) || uv_is_closing((uv_handle_t *)&io->sweep))
        return;
    loop_hook_remove(&io->hook);
    uv_close((uv_handle_t *)&io->sweep, on_sweep_closed);
    uv_close((uv_handle_t *)&io->resume, on_resume_closed);
}

void io_close(struct io *io, void (*on_closed)(struct io *io))
{
    MQ_ASSERT(!io->closing);
    io->closing = true;
    io->on_closed = on_closed;
    LIST_FOREACH_SAFE(it, next, &io->conns)
        conn_shut_flushed(LIST_ENTRY(it, struct conn, link), LOG_DEBUG, "shutting down");
    io_maybe_closed(io);
}
