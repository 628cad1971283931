/* UNIQ_KEY for producers that send none (the Node client): the broker adds one, because
 * transactions, traces and the index go by it. Any thread; the only state is a counter and a number
 * drawn once. */
#include "broker/uniq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"

static uint32_t process_number;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t counter;

static void draw(void)
{
    process_number = (uint32_t)rng_seed_from_os();
}

static int64_t since_month_began(int64_t wall_ms)
{
    struct tm tm;
    const time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &tm);
    int64_t in_month = (((tm.tm_mday - 1) * INT64_C(24) + tm.tm_hour) * 60 + tm.tm_min) * 60 +
                       tm.tm_sec;
    return in_month * 1000 + wall_ms % 1000;
}

void uniq_key(const struct host *h, const struct clock *clock, char out[UNIQ_KEY_SIZE])
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char raw[16];
    pthread_once(&once, draw);
    memcpy(raw, h->addr, 4);
    be16_put(raw + 4, (uint16_t)getpid());
    be32_put(raw + 6, process_number);
    be32_put(raw + 10, (uint32_t)since_month_began(clock_wall(clock)));
    be16_put(raw + 14, (uint16_t)atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed));
    for (size_t i = 0; i < sizeof raw; i++) {
        out[2 * i] = hex[raw[i] >> 4];
        out[2 * i + 1] = hex[raw[i] & 15];
    }
    out[UNIQ_KEY_SIZE - 1] = '\0';
}
