/* Delay levels: parsing the list, choosing one. Pure; any thread. Units as in messageDelayLevel. */
#include "apps/common/delay.h"

#include <stdlib.h>
#include <string.h>

#define DELAY_MAX_MS ((int64_t)100 * 24 * 3600 * 1000)

static int64_t unit_ms(char unit)
{
    switch (unit) {
    case 's':
        return 1000;
    case 'm':
        return 60000;
    case 'h':
        return 3600000;
    case 'd':
        return 86400000;
    default:
        return 0;
    }
}

/* "30s", len bytes; 0 when it is no such thing. */
static int64_t parse_level(const char *s, size_t len)
{
    char *end;
    if (len < 2 || len > 8 || *s < '0' || *s > '9')
        return 0;
    const long long number = strtoll(s, &end, 10);
    const int64_t unit = unit_ms(*end);
    if (end != s + len - 1 || unit == 0 || number > DELAY_MAX_MS / unit)
        return 0;
    return number * unit;
}

int delay_levels_parse(const char *text, struct delay_levels *out, struct app_error *e)
{
    struct delay_levels d = {.n = 0};
    for (const char *s = text + strspn(text, " "); *s; s += strspn(s, " ")) {
        const size_t len = strcspn(s, " ");
        if (d.n == DELAY_LEVELS_MAX)
            return app_fail(e, APP_E_CONFIG, "delay levels: more than %d", DELAY_LEVELS_MAX);
        if ((d.ms[d.n++] = parse_level(s, len)) == 0)
            return app_fail(e, APP_E_CONFIG,
                            "delay levels: \"%.*s\": expected a number above 0 and s, m, h or d",
                            (int)(len < 40 ? len : 40), s);
        s += len;
    }
    if (d.n == 0)
        return app_fail(e, APP_E_CONFIG, "delay levels: the list is empty");
    *out = d;
    return APP_OK;
}

int delay_level_for(const struct delay_levels *d, int64_t ms)
{
    int best = 0, shortest = 0;
    for (int i = 0; i < d->n; i++) {
        if (d->ms[i] < d->ms[shortest])
            shortest = i;
        if (d->ms[i] <= ms && (best == 0 || d->ms[i] > d->ms[best - 1]))
            best = i + 1;
    }
    return best ? best : shortest + 1;
}
