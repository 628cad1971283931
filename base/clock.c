/* The system clock and the clock that moves only by hand.
 *
 * Runs on: any thread. Time is read here and nowhere else (banned.h), so that everything above can
 * be driven through days in a millisecond.
 *
 * Wall time (CLOCK_REALTIME) may jump; it is only for stamps. Monotonic time (CLOCK_MONOTONIC) is
 * for deadlines and intervals. Failure modes: none; both clocks exist on every Linux.
 *
 * Invariant: a fake clock's monotonic time never moves back unless a test asks for it. */
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

void clock_sleep(int64_t ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left)) {
    }
}
