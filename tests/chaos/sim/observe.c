/* Asks a store everything: every queue from end to end, every unit, every record of the log by its
 * place, every key.
 *
 * Owns: the answers, copied. Runs on: the thread of the run; the store is in manual mode.
 * Happy path: queues by store_get, units by store_units, then a walk over the log with store_view,
 * then the queries. Nothing is judged here, but an answer that contradicts itself is noted. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/sim/ledger.h"

__attribute__((format(printf, 2, 3))) static void trouble(struct observation *o, const char *fmt, ...)
{
    if (*o->trouble)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(o->trouble, sizeof o->trouble, fmt, ap);
    va_end(ap);
}

static struct seen_record *add_record(struct observation *o, struct slice bytes)
{
    if (o->record_n == o->record_cap) {
        o->record_cap = o->record_cap ? o->record_cap * 2 : 512;
        o->records = realloc(o->records, o->record_cap * sizeof *o->records);
        MQ_ASSERT(o->records);
    }
    struct seen_record *r = &o->records[o->record_n++];
    *r = (struct seen_record){.pos = o->bytes.n, .n = bytes.n};
    buf_slice_add(&o->bytes, bytes);
    return r;
}

static void add_run(struct observation *o, int32_t topic, int32_t queue, struct slice run, int64_t *at,
                    struct store *st)
{
    while (run.n >= MESSAGE_SIZE_MIN) {
        const uint32_t size = be32_get(run.p);
        if (size < MESSAGE_SIZE_MIN || size > run.n) {
            trouble(o, "%s-%d@%lld: a record of %u bytes in an answer of %zu", ledger_topic(topic),
                    queue, (long long)*at, size, run.n);
            return;
        }
        struct seen_record *r = add_record(o, slice_of(run.p, size));
        r->topic = topic;
        r->queue = queue;
        /* A skipped unit shows as a record whose own offset is larger than its position. */
        r->at = (*at)++;
        r->has_unit = store_units(st, slice_str(ledger_topic(topic)), queue, r->at, &r->unit, 1) == 1;
        run.p += size;
        run.n -= size;
    }
}

static void observe_queue(struct observation *o, struct store *st, int32_t topic, int32_t queue)
{
    struct seen_queue *q = &o->queues[topic][queue];
    const struct slice name = slice_str(ledger_topic(topic));
    store_queue_range(st, name, queue, &q->min, &q->max);
    /* One message an answer: then each record's position is known whatever was skipped before. */
    for (int64_t at = q->min; at < q->max;) {
        struct store_got g;
        const struct store_get ask = {
            .topic = name, .queue_id = queue, .offset = at, .max_msgs = 1};
        if (store_get(st, &ask, &g)) {
            trouble(o, "%s-%d@%lld: no memory to read", name.p, queue, (long long)at);
            return;
        }
        const int64_t next = g.next_begin_offset;
        int64_t position = next - 1;
        if (g.status == GET_FOUND && g.iov_n == 1)
            add_run(o, topic, queue, slice_of(g.iov[0].iov_base, g.iov[0].iov_len), &position, st);
        store_got_release(&g);
        if (next <= at) {
            trouble(o, "%s-%d@%lld: the next offset is %lld", name.p, queue, (long long)at,
                    (long long)next);
            return;
        }
        at = next;
    }
}

/* Many messages an answer, as consumers read: the same records in the same order. */
static void observe_runs(struct observation *o, struct store *st, int32_t topic, int32_t queue,
                         size_t from)
{
    const struct slice name = slice_str(ledger_topic(topic));
    const struct seen_queue *q = &o->queues[topic][queue];
    for (int64_t at = q->min; at < q->max;) {
        struct store_got g;
        const struct store_get ask = {
            .topic = name, .queue_id = queue, .offset = at, .max_msgs = 32};
        if (store_get(st, &ask, &g))
            return;
        for (int i = 0; i < g.iov_n; i++) {
            size_t n = 0;
            while (n < g.iov[i].iov_len && from < o->record_n) {
                const struct seen_record *r = &o->records[from++];
                if (r->n > g.iov[i].iov_len - n ||
                    memcmp(o->bytes.p + r->pos, (char *)g.iov[i].iov_base + n, r->n) != 0) {
                    trouble(o, "%s-%d@%lld: 32 at once and one by one differ", name.p, queue,
                            (long long)r->at);
                    break;
                }
                n += r->n;
            }
        }
        const int64_t next = g.next_begin_offset;
        store_got_release(&g);
        if (next <= at)
            break;
        at = next;
    }
    if (from != o->record_n)
        trouble(o, "%s-%d: 32 at once gives %zu records fewer than one by one", name.p, queue,
                o->record_n - from);
}

/* With a damaged record somewhere, what follows it is found byte by byte. */
static void observe_log(struct observation *o, struct store *st, int64_t file_size, bool damaged)
{
    for (int64_t at = o->log_min; at < o->log_max;) {
        struct store_view v;
        if (store_view(st, at, 0, &v, NULL)) {
            at = damaged ? at + 1 : (at / file_size + 1) * file_size; /* the blank end of a file */
            continue;
        }
        struct seen_record *r = add_record(o, v.record);
        r->queue = -1;
        r->at = at;
        at += (int64_t)v.record.n;
        store_view_release(&v);
    }
}

/* ---- keys ---- */

enum { VIEWS_MAX = 4096 };

static void query_done(struct store_query *q)
{
    (void)q;
}

static void ask(struct observation *o, struct store *st, struct seen_answer answer, const char *key)
{
    static struct store_view views[VIEWS_MAX];
    struct store_query q = {.topic = slice_str(ledger_topic(answer.topic)),
                            .key = slice_str(key),
                            .end_ms = INT64_MAX,
                            .views = views,
                            .max = VIEWS_MAX,
                            .bytes_max = INT64_MAX,
                            .done = query_done};
    struct err e = {0};
    if (store_query(st, &q, &e)) {
        trouble(o, "query %s: %s", key, e.text);
        return;
    }
    while (store_step_index(st)) {
    }
    if (o->answer_n == o->answer_cap) {
        o->answer_cap = o->answer_cap ? o->answer_cap * 2 : 256;
        o->answers = realloc(o->answers, o->answer_cap * sizeof *o->answers);
        MQ_ASSERT(o->answers);
    }
    answer.pos = o->bytes.n;
    answer.n = q.n;
    o->answers[o->answer_n++] = answer;
    for (int32_t i = 0; i < q.n; i++) {
        buf_be64(&o->bytes, be64_get(views[i].record.p + 28));
        store_view_release(&views[i]);
    }
}

static void observe_index(struct observation *o, const struct ledger *l, struct store *st)
{
    char key[32];
    while (store_step_index(st)) {
    }
    for (uint32_t id = 0; id < l->n; id++) {
        if (!l->v[id].keyed)
            continue;
        snprintf(key, sizeof key, id % 2 ? "U%08X" : "only%u", id);
        ask(o, st, (struct seen_answer){.id = id, .topic = l->v[id].topic}, key);
    }
    for (int32_t topic = 0; topic < LEDGER_TOPICS; topic++)
        for (int32_t word = 0; word < LEDGER_WORDS; word++) {
            snprintf(key, sizeof key, "word%d", word);
            ask(o, st, (struct seen_answer){.id = UINT32_MAX, .topic = topic, .word = word}, key);
        }
}

void observe(struct observation *o, const struct ledger *l, struct store *st, int64_t file_size,
             bool index)
{
    *o = (struct observation){.index = index};
    buf_init(&o->bytes, 0);
    struct store_stats stats;
    store_stats_get(st, &stats);
    o->log_min = stats.log_min;
    o->log_max = stats.log_visible;
    for (int32_t topic = 0; topic < LEDGER_TOPICS; topic++)
        for (int32_t queue = 0; queue < LEDGER_QUEUES; queue++) {
            const size_t from = o->record_n;
            observe_queue(o, st, topic, queue);
            observe_runs(o, st, topic, queue, from);
        }
    observe_log(o, st, file_size, l->damaged != 0);
    if (index)
        observe_index(o, l, st);
    MQ_ASSERT(!buf_error(&o->bytes));
}

void observation_free(struct observation *o)
{
    buf_free(&o->bytes);
    free(o->records);
    free(o->answers);
    *o = (struct observation){0};
}
