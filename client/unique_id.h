#pragma once
/* Message ids made by the client (property UNIQ_KEY). */
#include <uv.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/message.h"

struct id_gen {
    const struct clock *clock;
    char prefix[45]; /* upper-case hex of address, process id, random number */
    size_t prefix_n;
    uv_mutex_t lock; /* guards what follows */
    int64_t month_start_ms, month_end_ms;
    uint64_t last; /* milliseconds of the month << 16 | counter */
};
enum { UNIQUE_ID_MAX = 57 };

/* ip: text of an IPv4 or IPv6 address; anything else gives an address of zeros. seed: any number
 * that differs between instances of one process. */
int id_gen_init(struct id_gen *g, const char *ip, uint32_t seed,
                const struct clock *clock) HP_MUST_USE;
void id_gen_fini(struct id_gen *g);
/* Any thread. 32 (IPv4) or 56 upper-case hex digits and a NUL. Never twice from one generator
 * within a month, and increasing, also when the wall clock goes back.
 * Source: MessageClientIDSetter (5.5.0): ip, pid u16, hash i32, ms of the month i32, counter
 * u16. */
void id_gen_next(struct id_gen *g, char out[UNIQUE_ID_MAX]);
