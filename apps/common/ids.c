/* Snowflake ids: 0 | 41 bits milliseconds | 10 bits instance | 12 bits sequence.
 *
 * Any thread, one mutex. Within a millisecond the sequence counts up; when it is used up, or when the
 * wall clock went back, the generator moves on its own: it takes the latest millisecond it has seen and
 * continues from there, so an id never repeats within a process. It may run ahead of the clock by
 * AHEAD_MAX_MS at most (4096 ids per millisecond make that a matter of a jumping clock, not of load);
 * past that it refuses until the clock has caught up.
 *
 * LIMIT: a process that restarts while its clock is behind its previous life could repeat an id. The
 * primary keys then refuse the second row; the order saga answers such a request with "try again".
 */
#include "apps/common/ids.h"

#include "apps/common/timing.h"

#include <stdio.h>
#include <string.h>

#define EPOCH_MS INT64_C(1704067200000) /* 2024-01-01T00:00:00Z */
#define SEQUENCE_MAX 4095
#define AHEAD_MAX_MS 5000
#define TIME_MAX_MS ((INT64_C(1) << 41) - 1)

void ids_init(struct ids *g, int instance, int64_t (*wall_ms)(void))
{
    APP_ASSERT(instance >= 0 && instance <= IDS_INSTANCE_MAX);
    *g = (struct ids){.instance = instance, .wall_ms = wall_ms ? wall_ms : timing_wall_ms};
    APP_ASSERT(pthread_mutex_init(&g->lock, NULL) == 0);
}

void ids_fini(struct ids *g)
{
    pthread_mutex_destroy(&g->lock);
}

int ids_next(struct ids *g, int64_t *out, struct app_error *e)
{
    const int64_t now = g->wall_ms() - EPOCH_MS;
    if (now < 0 || now > TIME_MAX_MS)
        return app_fail(e, APP_E_BUSY, "the system clock is outside 2024..2093: set it");
    pthread_mutex_lock(&g->lock);
    int64_t ms = now > g->last_ms ? now : g->last_ms;
    int sequence = ms == g->last_ms ? g->sequence + 1 : 0;
    if (sequence > SEQUENCE_MAX) {
        ms++;
        sequence = 0;
    }
    const int64_t ahead = ms - now;
    if (ahead <= AHEAD_MAX_MS) {
        g->last_ms = ms;
        g->sequence = sequence;
    }
    pthread_mutex_unlock(&g->lock);
    if (ahead > AHEAD_MAX_MS)
        return app_fail(e, APP_E_BUSY,
                        "the system clock went back by %lld ms: ids resume when it has caught up",
                        (long long)ahead);
    *out = ms << 22 | (int64_t)g->instance << 12 | sequence;
    return APP_OK;
}

const char *id_text(int64_t id, char out[ID_TEXT_MAX])
{
    (void)snprintf(out, ID_TEXT_MAX, "%lld", (long long)id);
    return out;
}

bool id_parse(const char *s, int64_t *out)
{
    const size_t n = strlen(s);
    if (n < 1 || n > 19 || strspn(s, "0123456789") != n)
        return false;
    uint64_t v = 0; /* 19 digits fit 64 bits unsigned */
    for (const char *p = s; *p; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (v == 0 || v > INT64_MAX)
        return false;
    *out = (int64_t)v;
    return true;
}

size_t id_parse_list(const char *s, int64_t *out, size_t max)
{
    size_t n = 0;
    while (s && *s) {
        char id[ID_TEXT_MAX];
        const size_t len = strcspn(s, ",");
        if (n == max || len >= sizeof id)
            return 0;
        memcpy(id, s, len);
        id[len] = '\0';
        if (!id_parse(id, &out[n++]))
            return 0;
        s += len;
        if (*s == ',' && !*++s)
            return 0;
    }
    return n;
}
