#pragma once
/* 64-bit snowflake ids: 41 bits of milliseconds since 2024-01-01, 10 bits of instance, 12 bits of
 * sequence; positive, roughly ordered by time, unique while no two processes share an instance number.
 * A clock that goes back does not produce an id twice: the generator stays at the latest time it has
 * seen and borrows from the future, at most 5 s; beyond that it refuses until the clock has caught up. */
#include "apps/common/error.h"
#include <pthread.h>
#include <stddef.h>

#define IDS_INSTANCE_MAX 1023

struct ids {
    pthread_mutex_t lock;
    int64_t last_ms; /* since the epoch above */
    int instance, sequence;
    int64_t (*wall_ms)(void);
};
/* wall_ms NULL: timing_wall_ms. instance 0..IDS_INSTANCE_MAX. */
void ids_init(struct ids *g, int instance, int64_t (*wall_ms)(void));
void ids_fini(struct ids *g);
int ids_next(struct ids *g, int64_t *out,
             struct app_error *e) APP_CHECK; /* APP_E_BUSY: clock went back */

#define ID_TEXT_MAX 24
const char *id_text(int64_t id, char out[ID_TEXT_MAX]); /* decimal, returns out */
bool id_parse(const char *s,
              int64_t *out); /* 1 to 19 digits, 0 < id <= INT64_MAX; no sign, no blanks */
/* "1,2,3": how many, at most max; 0 when it is no such list or longer. NULL is none. */
size_t id_parse_list(const char *s, int64_t *out, size_t max);
