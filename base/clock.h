#pragma once
/* Time as a table of functions, so that tests can move it. Wall time is for stamps on the wire and
 * on disk; monotonic time is for deadlines. Both in milliseconds. */
#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(const struct clock *c);
    int64_t (*mono_ms)(const struct clock *c);
    int64_t (*mono_ns)(const struct clock *c);
};

extern const struct clock clock_system;

struct clock_fake { /* a clock that moves only by hand; reads and moves are atomic */
    struct clock base;
    _Atomic int64_t wall, mono; /* milliseconds */
};
void clock_fake_init(struct clock_fake *f, int64_t wall_ms, int64_t mono_ms);
void clock_fake_advance(struct clock_fake *f, int64_t ms); /* both clocks */

static inline int64_t clock_wall(const struct clock *c) { return c->wall_ms(c); }
static inline int64_t clock_mono(const struct clock *c) { return c->mono_ms(c); }
static inline int64_t clock_mono_ns(const struct clock *c) { return c->mono_ns(c); }

/* Really sleeps, whatever clock is in use: for delays injected by tests, nothing else. */
void clock_sleep(int64_t ms);
