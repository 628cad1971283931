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
extern const struct clock clock_boot; /* the same, but its monotonic time counts suspended time too */

struct clock_fake { /* a clock that moves only by hand; reads and moves are atomic */
    struct clock base;
    _Atomic int64_t wall, mono; /* milliseconds */
};
void clock_fake_init(struct clock_fake *f, int64_t wall_ms, int64_t mono_ms);
void clock_fake_advance(struct clock_fake *f, int64_t ms); /* both clocks */

/* Wall time that does not jump: a source's wall time at the beginning, then elapsed time. Reads and
 * moves are atomic; one thread follows. docs/decisions/0004-time.md has the reasons. */
struct clock_steady {
    struct clock base;           /* monotonic time is the source's */
    const struct clock *source;  /* whose wall time is approached */
    const struct clock *elapsed; /* whose monotonic time moves it */
    _Atomic int64_t skew;        /* wall time - elapsed time */
    int64_t followed;            /* elapsed time of the last step towards the source */
};
void clock_steady_init(struct clock_steady *s, const struct clock *source, const struct clock *elapsed);
void clock_steady_raise(struct clock_steady *s, int64_t wall_ms); /* to at least that; never back */
/* To be called about once a second: moves towards the source by at most 1/1000 of the time since the
 * last step forward, 1/16 back. Returns by how much the source is ahead now (negative: behind). */
int64_t clock_steady_follow(struct clock_steady *s);

static inline int64_t clock_wall(const struct clock *c) { return c->wall_ms(c); }
static inline int64_t clock_mono(const struct clock *c) { return c->mono_ms(c); }
static inline int64_t clock_mono_ns(const struct clock *c) { return c->mono_ns(c); }

/* Really sleeps, whatever clock is in use: for delays injected by tests, nothing else. */
void clock_sleep(int64_t ms);
