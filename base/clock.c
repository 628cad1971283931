/* The system clock, the clock that moves only by hand, and the clock that does not jump.
 *
 * Runs on: any thread. Time is read here and nowhere else (banned.h), so that everything above can
 * be driven through days in a millisecond.
 *
 * Wall time (CLOCK_REALTIME) may jump; it is only for stamps. Monotonic time (CLOCK_MONOTONIC) is
 * for deadlines and intervals. Failure modes: none; both clocks exist on every Linux.
 *
 * The steady clock is for whoever compares stamps with the present: a jump of the wall clock must
 * neither make a delay end early nor a file old. It begins at the wall time and goes on with elapsed
 * time; what the wall clock does later it approaches slowly: by 1/1000 when it is behind (more than
 * any time daemon slews, and a delay of an hour is no more than 4 s early), by 1/16 when it is ahead
 * (there it only makes delays longer).
 *
 * Invariants: 1. a fake clock's monotonic time never moves back unless a test asks for it; 2. a steady
 * clock moves back by no more than 1/16 of the time since the last step. */
#include "base/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t system_wall_ms(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

static int64_t system_mono_ms(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_MONOTONIC) / 1000000;
}

static int64_t system_mono_ns(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_wall_ms, system_mono_ms, system_mono_ns};

static int64_t boot_mono_ms(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_BOOTTIME) / 1000000;
}

static int64_t boot_mono_ns(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_BOOTTIME);
}

const struct clock clock_boot = {system_wall_ms, boot_mono_ms, boot_mono_ns};

static const struct clock_fake *fake(const struct clock *c)
{
    return (const struct clock_fake *)(const void *)c; /* base is its first member */
}

static int64_t fake_wall_ms(const struct clock *c)
{
    return fake(c)->wall;
}

static int64_t fake_mono_ms(const struct clock *c)
{
    return fake(c)->mono;
}

static int64_t fake_mono_ns(const struct clock *c)
{
    return fake(c)->mono * 1000000;
}

void clock_fake_init(struct clock_fake *f, int64_t wall_ms, int64_t mono_ms)
{
    f->base = (struct clock){fake_wall_ms, fake_mono_ms, fake_mono_ns};
    f->wall = wall_ms;
    f->mono = mono_ms;
}

void clock_fake_advance(struct clock_fake *f, int64_t ms)
{
    f->wall += ms;
    f->mono += ms;
}

enum { FOLLOW_MS = 1000, FORWARD = 1000, BACK = 16 };

static const struct clock_steady *steady(const struct clock *c)
{
    return (const struct clock_steady *)(const void *)c; /* base is its first member */
}

static int64_t steady_wall_ms(const struct clock *c)
{
    return clock_mono(steady(c)->elapsed) + steady(c)->skew;
}

static int64_t steady_mono_ms(const struct clock *c)
{
    return clock_mono(steady(c)->source);
}

static int64_t steady_mono_ns(const struct clock *c)
{
    return clock_mono_ns(steady(c)->source);
}

void clock_steady_init(struct clock_steady *s, const struct clock *source, const struct clock *elapsed)
{
    s->base = (struct clock){steady_wall_ms, steady_mono_ms, steady_mono_ns};
    s->source = source;
    s->elapsed = elapsed;
    s->followed = clock_mono(elapsed);
    s->skew = clock_wall(source) - s->followed;
}

void clock_steady_raise(struct clock_steady *s, int64_t wall_ms)
{
    const int64_t behind = wall_ms - clock_wall(&s->base);
    if (behind > 0)
        s->skew += behind;
}

int64_t clock_steady_follow(struct clock_steady *s)
{
    const int64_t now = clock_mono(s->elapsed), span = now - s->followed;
    const int64_t ahead = clock_wall(s->source) - (now + s->skew);
    if (span < FOLLOW_MS)
        return ahead;
    const int64_t most = ahead > 0 ? span / FORWARD : span / BACK;
    const int64_t step = ahead > most ? most : ahead < -most ? -most : ahead;
    s->followed = now;
    s->skew += step;
    return ahead - step;
}

void clock_sleep(int64_t ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left)) {
    }
}
