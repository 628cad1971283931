#pragma once
/* What a broker was given, what it promised, and what it has.
 *
 * Every message is a function of the seed and its number: the reader makes it anew and compares all of
 * it. Numbers count from 0 in one account; an account lives as long as one store. */
#include "base/err.h"
#include "base/slice.h"

enum { ACCOUNT_QUEUES = 8, ACCOUNT_LANES = 16, ACCOUNT_BODY_MAX = 4128 };
#define ACCOUNT_TOPIC "Chaos"

enum fate {
    FATE_OPEN, /* sent, no answer yet: there or not */
    FATE_MUST, /* acknowledged */
    FATE_NOT   /* refused, rolled back or never committed; or open and not there after a restart */
};

struct account_entry {
    int64_t offset; /* as told; -1: not told */
    int8_t queue, lane;
    uint8_t fate;
    bool seen;
};

struct account {
    uint64_t seed;
    struct account_entry *entries; /* by number */
    int64_t n, cap, settled;       /* all below `settled` were judged */
    int64_t read_to[ACCOUNT_QUEUES], last[ACCOUNT_QUEUES][ACCOUNT_LANES];
    int64_t acked, stored;
    int64_t lost, invented, gaps, disorder; /* findings */
    char first[256];                        /* the first finding in words; "" */
};

void account_init(struct account *a, uint64_t seed);
void account_free(struct account *a);
/* The next message, of one of ACCOUNT_LANES writers, whose messages keep their order in each queue. */
int64_t account_new(struct account *a, int lane, int queue);
/* Its body: at most ACCOUNT_BODY_MAX bytes, which are returned. */
size_t account_body(const struct account *a, int64_t seq, char *out);
/* Every eighth message has one: the KEYS property. false: this one has none. */
bool account_key(const struct account *a, int64_t seq, char out[32]);
void account_acked(struct account *a, int64_t seq, int64_t offset); /* -1: the answer names none */
void account_refused(struct account *a, int64_t seq);
/* Reads what is new in every queue over a connection and judges every message so far. No send may be
 * under way. An error is one of the connection; what the broker does not give is a finding. */
int account_read(struct account *a, int fd, struct err *e) HP_MUST_USE;
/* Forgets what was read, so that the next account_read reads everything again. */
void account_rewind(struct account *a);
int64_t account_findings(const struct account *a);
void account_find(struct account *a, int64_t *counter, const char *fmt, ...) HP_PRINTF(3, 4);
