#pragma once
/* Many small timers of one loop over a single uv_timer_t. Loop thread only. */
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"

struct timers {
    uv_timer_t uv;
    const struct clock *clock;
    struct list pending; /* struct timer, earliest first */
    bool running;        /* callbacks are being called: they re-arm when done */
};
struct timer {
    struct list link;
    int64_t due_ms;
    void (*fn)(struct timer *t);
};

void timers_open(struct timers *ts, uv_loop_t *loop, const struct clock *clock);
/* No timer fires afterwards; pending ones are forgotten. */
void timers_close(struct timers *ts);

void timer_init(struct timer *t);
/* Runs fn(t) once, delay_ms from now; replaces an earlier start. fn may start and stop timers and
 * free t. */
void timer_start(struct timers *ts, struct timer *t, int64_t delay_ms, void (*fn)(struct timer *t));
void timer_stop(struct timer *t);
static inline bool timer_pending(const struct timer *t) { return !list_empty(&t->link); }
