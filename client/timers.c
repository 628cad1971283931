/* Timers of the client's loop.
 *
 * A client has a timer for each queue it pulls from, each message that waits to be consumed again,
 * each send that waits for a route. libuv handles need an asynchronous close, which would make the
 * end of every such object a two-step affair; an entry of this list just leaves it. One uv_timer_t
 * sleeps until the earliest entry.
 *
 * The list is ordered by due time. Insertion searches from the back: delays are a few constants, so
 * a new timer is nearly always the last one.
 *
 * Invariant: when no callback runs, the uv timer is armed for pending.next, or stopped when it is
 * empty. Entries whose owner stops them leave the uv timer armed: it wakes once for nothing.
 * Runs on: the client's loop. */
#include "client/timers.h"

static void on_fire(uv_timer_t *uv);

static void arm(struct timers *ts)
{
    if (ts->running || uv_is_closing((uv_handle_t *)&ts->uv))
        return;
    if (list_empty(&ts->pending)) {
        uv_timer_stop(&ts->uv);
        return;
    }
    const struct timer *first = LIST_ENTRY(ts->pending.next, struct timer, link);
    const int64_t wait = first->due_ms - clock_mono(ts->clock);
    uv_timer_start(&ts->uv, on_fire, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void on_fire(uv_timer_t *uv)
{
    struct timers *ts = uv->data;
    const int64_t now = clock_mono(ts->clock);
    ts->running = true;
    while (!list_empty(&ts->pending)) {
        struct timer *t = LIST_ENTRY(ts->pending.next, struct timer, link);
        if (t->due_ms > now)
            break;
        list_remove(&t->link);
        t->fn(t);
    }
    ts->running = false;
    arm(ts);
}

void timers_open(struct timers *ts, uv_loop_t *loop, const struct clock *clock)
{
    uv_timer_init(loop, &ts->uv);
    ts->uv.data = ts;
    ts->clock = clock;
    ts->running = false;
    list_init(&ts->pending);
}

void timers_close(struct timers *ts)
{
    while (list_pop_front(&ts->pending))
        ;
    uv_close((uv_handle_t *)&ts->uv, NULL);
}

void timer_init(struct timer *t) { list_init(&t->link); }

void timer_start(struct timers *ts, struct timer *t, int64_t delay_ms, void (*fn)(struct timer *t))
{
    timer_stop(t);
    t->fn = fn;
    t->due_ms = clock_mono(ts->clock) + (delay_ms > 0 ? delay_ms : 0);
    struct list *after = ts->pending.prev;
    while (after != &ts->pending && LIST_ENTRY(after, struct timer, link)->due_ms > t->due_ms)
        after = after->prev;
    list_insert_between(&t->link, after, after->next);
    uv_update_time(ts->uv.loop);
    arm(ts);
}

void timer_stop(struct timer *t) { list_remove(&t->link); }
