/* The account; see account.h. Runs on the program's one thread.
 *
 *   lost      an acknowledged message that cannot be read, or not at the queue offset that was told
 *   invented  a message that was never sent, must not be there, is stored twice, or differs in a byte
 *   gaps      a queue whose offsets are not 0, 1, 2, ... as read, or that ends earlier than before
 *   disorder  messages of one lane in one queue in another order than they were sent in
 *
 * A message without an answer may be there or not, but it is decided at the restart: what is not
 * readable then must never come. Reading goes on behind a message that cannot be read; it is lost. */
#include "tests/chaos/account.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "bench/wire.h"
#include "tests/chaos/broker.h"

enum { HEAD = 32, SPAN = ACCOUNT_BODY_MAX - HEAD, KEYED = 8 };

void account_init(struct account *a, uint64_t seed)
{
    *a = (struct account){.seed = seed};
    account_rewind(a);
}

void account_free(struct account *a)
{
    free(a->entries);
    a->entries = NULL;
}

void account_find(struct account *a, int64_t *counter, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (a->first[0] == '\0')
        vsnprintf(a->first, sizeof a->first, fmt, ap);
    va_end(ap);
    ++*counter;
}

int64_t account_findings(const struct account *a)
{
    return a->lost + a->invented + a->gaps + a->disorder;
}

int64_t account_new(struct account *a, int lane, int queue)
{
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 65536;
        a->entries = realloc(a->entries, (size_t)a->cap * sizeof *a->entries);
        if (a->entries == NULL)
            chaos_die("account", "out of memory");
    }
    a->entries[a->n] = (struct account_entry){.offset = -1, .queue = (int8_t)queue, .lane = (int8_t)lane};
    return a->n++;
}

size_t account_body(const struct account *a, int64_t seq, char *out)
{
    struct rng r;
    rng_seed(&r, a->seed ^ (uint64_t)seq * 0x9E3779B97F4A7C15u);
    const size_t n = HEAD + (size_t)rng_below(&r, SPAN);
    snprintf(out, HEAD + 1, "%020lld %04d      \n", (long long)seq, a->entries[seq].lane);
    for (size_t i = HEAD; i + 8 <= n; i += 8) {
        const uint64_t word = rng_u64(&r);
        memcpy(out + i, &word, 8);
    }
    memset(out + n - n % 8, 'x', n % 8);
    return n;
}

bool account_key(const struct account *a, int64_t seq, char out[32])
{
    if (seq % KEYED != 0)
        return false;
    snprintf(out, 32, "k%016llx-%lld", (unsigned long long)a->seed, (long long)seq);
    out[31] = '\0';
    return true;
}

void account_acked(struct account *a, int64_t seq, int64_t offset)
{
    a->entries[seq].fate = FATE_MUST;
    a->entries[seq].offset = offset;
    a->acked++;
}

void account_refused(struct account *a, int64_t seq)
{
    a->entries[seq].fate = FATE_NOT;
}

/* ---- reading ---- */

struct reading {
    struct account *a;
    int queue;
};

/* The number that the body claims; -1 when no message of this account looks like it. */
static int64_t number_of(const struct reading *r, const struct message *m)
{
    const struct account *a = r->a;
    int64_t seq;
    char body[ACCOUNT_BODY_MAX + 1];
    if (m->body.n < HEAD || slice_i64(slice_of(m->body.p, 20), &seq) != 0 || seq < 0 || seq >= a->n ||
        a->entries[seq].queue != r->queue)
        return -1;
    return slice_eq(slice_of(body, account_body(a, seq, body)), m->body) ? seq : -1;
}

static int judge_message(void *arg, const struct message *m, struct err *e)
{
    struct reading *r = arg;
    struct account *a = r->a;
    const int q = r->queue;
    const long long at = (long long)m->queue_offset;
    (void)e;
    if (m->queue_offset != a->read_to[q])
        account_find(a, &a->gaps, "queue %d: offset %lld follows %lld", q, at, (long long)a->read_to[q] - 1);
    a->read_to[q] = m->queue_offset + 1;
    a->stored++;
    const int64_t seq = number_of(r, m);
    if (seq < 0) {
        account_find(a, &a->invented, "queue %d offset %lld: nobody sent this message", q, at);
        return 0;
    }
    struct account_entry *const entry = &a->entries[seq];
    if (entry->seen || entry->fate == FATE_NOT)
        account_find(a, &a->invented, "queue %d offset %lld: message %lld %s", q, at, (long long)seq,
                     entry->seen ? "is there twice" : "was refused, or was not there before");
    else if (entry->offset >= 0 && entry->offset != m->queue_offset)
        account_find(a, &a->lost, "message %lld: told queue %d offset %lld, found at %lld", (long long)seq, q,
                     (long long)entry->offset, at);
    entry->seen = true;
    if (seq <= a->last[q][entry->lane])
        account_find(a, &a->disorder, "queue %d offset %lld: message %lld follows %lld of the same lane", q, at,
                     (long long)seq, (long long)a->last[q][entry->lane]);
    a->last[q][entry->lane] = seq;
    return 0;
}

/* A message that cannot be had is a finding, and the one behind it is tried. */
static int read_queue(struct account *a, int fd, int q, int64_t end, struct err *e)
{
    struct reading r = {a, q};
    while (a->read_to[q] < end) {
        const int64_t before = a->read_to[q];
        const int rc = wire_read_queue(fd, ACCOUNT_TOPIC, q, before, end, judge_message, &r, e);
        if (rc == E_CLOSED)
            return rc;
        if (rc == 0 && a->read_to[q] >= end)
            return 0;
        account_find(a, &a->gaps, "queue %d: offset %lld of %lld cannot be read%s%s", q, (long long)a->read_to[q],
                     (long long)end, rc != 0 ? ": " : "", rc != 0 ? e->text : "");
        a->read_to[q]++;
    }
    return 0;
}

static void judge_all(struct account *a)
{
    for (; a->settled < a->n; a->settled++) {
        struct account_entry *const entry = &a->entries[a->settled];
        if (entry->fate == FATE_MUST && !entry->seen)
            account_find(a, &a->lost, "message %lld was acknowledged for queue %d offset %lld and is not there",
                         (long long)a->settled, entry->queue, (long long)entry->offset);
        else if (entry->fate == FATE_OPEN)
            entry->fate = entry->seen ? FATE_MUST : FATE_NOT;
    }
}

int account_read(struct account *a, int fd, struct err *e)
{
    for (int q = 0; q < ACCOUNT_QUEUES; q++) {
        int64_t end = 0;
        int rc = wire_max_offset(fd, ACCOUNT_TOPIC, q, &end, e);
        if (rc != 0)
            return rc;
        if (end < a->read_to[q])
            account_find(a, &a->gaps, "queue %d ends at %lld, %lld were readable before", q, (long long)end,
                         (long long)a->read_to[q]);
        if ((rc = read_queue(a, fd, q, end, e)) != 0)
            return rc;
    }
    judge_all(a);
    return 0;
}

void account_rewind(struct account *a)
{
    for (int64_t i = 0; i < a->n; i++)
        a->entries[i].seen = false;
    memset(a->read_to, 0, sizeof a->read_to);
    memset(a->last, 0xFF, sizeof a->last);
    a->settled = a->stored = 0;
}
