/* Time and chance for the apps, in one file so that no other one asks the system.
 *
 * Any thread. The wall clock may jump and is only used for stamps; every wait is bounded by the
 * monotonic clock, which the conditions made here use too. Random bytes come from the kernel; while its
 * pool is not yet seeded at boot, getrandom waits, which is right for ids.
 */
#include "apps/common/timing.h"

#include "apps/common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t timing_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t timing_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t timing_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

void timing_rfc3339(int64_t wall_ms, char out[TIMING_RFC3339_MAX])
{
    const time_t sec = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms < 0 || !gmtime_r(&sec, &tm) || tm.tm_year > 8099) {
        out[0] = '\0';
        return;
    }
    char stamp[24];
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, TIMING_RFC3339_MAX, "%s.%03dZ", stamp, (int)(wall_ms % 1000));
}

/* Two decimal digits at s as a number in [lo, hi], or -1. */
static int two_digits(const char *s, int lo, int hi)
{
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
        return -1;
    const int v = (s[0] - '0') * 10 + (s[1] - '0');
    return v >= lo && v <= hi ? v : -1;
}

bool timing_rfc3339_valid(const char *s)
{
    const size_t n = strlen(s);
    if (n < 20 || n > 40)
        return false;
    if (two_digits(s, 0, 99) < 0 || two_digits(s + 2, 0, 99) < 0 || s[4] != '-' ||
        two_digits(s + 5, 1, 12) < 0 || s[7] != '-' || two_digits(s + 8, 1, 31) < 0 ||
        (s[10] != 'T' && s[10] != 't') || two_digits(s + 11, 0, 23) < 0 || s[13] != ':' ||
        two_digits(s + 14, 0, 59) < 0 || s[16] != ':' || two_digits(s + 17, 0, 60) < 0)
        return false;
    const char *p = s + 19;
    if (*p == '.') {
        const size_t digits = strspn(p + 1, "0123456789");
        if (digits == 0)
            return false;
        p += 1 + digits;
    }
    if (*p == 'Z' || *p == 'z')
        return p[1] == '\0';
    return (*p == '+' || *p == '-') && strlen(p) == 6 && two_digits(p + 1, 0, 23) >= 0 &&
           p[3] == ':' && two_digits(p + 4, 0, 59) >= 0;
}

void timing_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    APP_ASSERT(pthread_condattr_init(&attr) == 0);
    APP_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    APP_ASSERT(pthread_cond_init(c, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

static struct timespec timespec_of_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

bool timing_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_mono_ms)
{
    const struct timespec ts = timespec_of_ms(deadline_mono_ms);
    return pthread_cond_timedwait(c, m, &ts) == 0;
}

void timing_sleep_ms(int64_t ms)
{
    struct timespec ts = timespec_of_ms(timing_mono_ms() + (ms > 0 ? ms : 0));
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

void chance_bytes(void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        const ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            APP_ASSERT(errno == EINTR);
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
}

uint64_t chance_below(uint64_t bound)
{
    if (bound < 2)
        return 0;
    /* Values in the last, incomplete run of `bound` would make small results likelier: draw again. */
    const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t v;
    do
        chance_bytes(&v, sizeof v);
    while (v >= limit);
    return v % bound;
}
