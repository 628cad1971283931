/* Unique ids.
 *
 * Layout before hex: address (4 or 16 bytes) | process id u16 | random i32 | milliseconds since the
 * first of this month, local time, i32 | counter u16. Admin tools read an approximate send time
 * from the fourth field; brokers never look inside. Time and counter together are one 48-bit number
 * that only grows: a burst of more than 65,536 ids in a millisecond, or a wall clock set back,
 * borrows from the future instead of repeating.
 *
 * Runs on any thread, under the generator's lock. */
#include "client/unique_id.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char HEX[] = "0123456789ABCDEF";

static char *put_hex(char *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        *out++ = HEX[p[i] >> 4];
        *out++ = HEX[p[i] & 15];
    }
    return out;
}

static void set_month(struct id_gen *g, int64_t wall_ms)
{
    const time_t now = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    tm.tm_mday = 1;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    struct tm next = tm;
    next.tm_mon++;
    g->month_start_ms = (int64_t)mktime(&tm) * 1000;
    g->month_end_ms = (int64_t)mktime(&next) * 1000;
    g->last = 0;
}

int id_gen_init(struct id_gen *g, const char *ip, uint32_t seed, const struct clock *clock)
{
    uint8_t bytes[22] = {0};
    size_t n = 4;
    if (uv_inet_pton(AF_INET, ip, bytes) != 0 && uv_inet_pton(AF_INET6, ip, bytes) == 0)
        n = 16;
    be16_put(bytes + n, (uint16_t)getpid());
    be32_put(bytes + n + 2, seed);
    g->clock = clock;
    g->prefix_n = (size_t)(put_hex(g->prefix, bytes, n + 6) - g->prefix);
    set_month(g, clock_wall(clock));
    return uv_mutex_init(&g->lock) == 0 ? 0 : E_NOMEM;
}

void id_gen_fini(struct id_gen *g) { uv_mutex_destroy(&g->lock); }

void id_gen_next(struct id_gen *g, char out[UNIQUE_ID_MAX])
{
    const int64_t now = clock_wall(g->clock);
    uv_mutex_lock(&g->lock);
    if (now >= g->month_end_ms)
        set_month(g, now);
    const int64_t of_month = now > g->month_start_ms ? now - g->month_start_ms : 0;
    const uint64_t fresh = (uint64_t)of_month << 16;
    const uint64_t id = fresh > g->last ? fresh : g->last + 1;
    g->last = id;
    uv_mutex_unlock(&g->lock);

    uint8_t tail[6];
    be32_put(tail, (uint32_t)(id >> 16));
    be16_put(tail + 4, (uint16_t)id);
    memcpy(out, g->prefix, g->prefix_n);
    *put_hex(out + g->prefix_n, tail, sizeof tail) = '\0';
}
