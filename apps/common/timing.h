#pragma once
/* The kit's only door to time and chance, so that everything else can be fed from tests.
 *
 * Business deadlines are never compared with these clocks: PostgreSQL's now() decides (one clock for
 * all services). The wall clock stamps messages and ids, the monotonic one bounds waits. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t timing_wall_ms(void); /* since 1970 */
int64_t timing_mono_ms(void); /* since some start; never goes back */
int64_t timing_mono_us(void);
/* "2026-01-31T23:59:59.123Z" for a wall time. */
#define TIMING_RFC3339_MAX 32
void timing_rfc3339(int64_t wall_ms, char out[TIMING_RFC3339_MAX]);
bool timing_rfc3339_valid(const char *s); /* RFC 3339 date-time, any offset */

void timing_cond_init(pthread_cond_t *c); /* a condition that waits on the monotonic clock */
/* Waits until signalled or until mono deadline_ms; false when the deadline passed. */
bool timing_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_mono_ms);
void timing_sleep_ms(int64_t ms);

/* Uniform in [0, bound); from the kernel. For jitter and ids, not for secrets. */
uint64_t chance_below(uint64_t bound);
void chance_bytes(void *out, size_t n);
