/* The checker of store_check.h: a model of what was sent and acknowledged, compared with what every
 * queue returns.
 *
 * Owns: the model. Runs on: the test's thread.
 * Happy path: each queue is read with store_get from min to max; each record is decoded, its place
 * compared with its position in the queue, its body rebuilt from (writer, seq) and compared byte for
 * byte; then every acknowledged entry must have been seen at the place it was acknowledged with.
 * Failure modes: wrong things are counted by kind, and the first is told in words. */
#include "tests/support/store_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/names.h"

void check_body(struct buf *out, uint32_t writer, uint32_t seq, size_t size)
{
    MQ_ASSERT(size >= CHECK_BODY_MIN && size <= UINT32_MAX);
    buf_be32(out, writer);
    buf_be32(out, seq);
    buf_be32(out, (uint32_t)size);
    char *p = buf_extend(out, size - CHECK_BODY_MIN);
    uint32_t x = writer * 2654435761u + seq * 40503u + 1;
    for (size_t i = 0; i < size - CHECK_BODY_MIN; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (char)(x >> 24);
    }
}

void check_record(struct buf *out, struct slice topic, int32_t queue_id, uint32_t writer, uint32_t seq,
                  size_t body_size, const char *tag)
{
    struct buf body, props;
    buf_init(&body, 0);
    buf_init(&props, 0);
    check_body(&body, writer, seq, body_size);
    if (tag)
        (void)props_str_add(&props, PROP_TAGS, slice_str(tag));
    struct message m = {
        .body_crc = -1, .queue_id = queue_id, .born_timestamp = 1700000000000,
        .born_host = {.addr = {10, 0, 0, 1}, .len = 4, .port = 4321},
        .store_host = {.addr = {10, 0, 0, 2}, .len = 4, .port = 10911},
        .topic = topic, .body = buf_slice(&body), .properties = buf_slice(&props)};
    size_t size;
    MQ_ASSERT(!message_prepare(&m, &size));
    message_encode(&m, buf_extend(out, size), size);
    buf_free(&body);
    buf_free(&props);
}

static struct check_entry *entry(struct store_check *c, uint32_t writer, uint32_t seq, bool create)
{
    if (writer >= CHECK_WRITERS_MAX)
        return NULL;
    const size_t need = (size_t)seq + 1;
    if (need > c->writers[writer].cap && create) {
        size_t cap = c->writers[writer].cap ? c->writers[writer].cap : 64;
        while (cap < need)
            cap *= 2;
        struct check_entry *v = realloc(c->writers[writer].v, cap * sizeof *v);
        MQ_ASSERT(v);
        memset(v + c->writers[writer].cap, 0, (cap - c->writers[writer].cap) * sizeof *v);
        c->writers[writer].v = v;
        c->writers[writer].cap = cap;
    }
    if (need > c->writers[writer].n && create)
        c->writers[writer].n = need;
    return need <= c->writers[writer].n ? &c->writers[writer].v[seq] : NULL;
}

void store_check_free(struct store_check *c)
{
    for (int i = 0; i < CHECK_WRITERS_MAX; i++)
        free(c->writers[i].v);
    *c = (struct store_check){0};
}

void store_check_sent(struct store_check *c, uint32_t writer, uint32_t seq)
{
    entry(c, writer, seq, true)->sent = true;
}

void store_check_acked(struct store_check *c, uint32_t writer, uint32_t seq, int32_t queue_id,
                       int64_t queue_offset, int64_t phys_offset)
{
    struct check_entry *en = entry(c, writer, seq, true);
    en->sent = en->acked = true;
    en->queue_id = queue_id;
    en->queue_offset = queue_offset;
    en->phys_offset = phys_offset;
}

struct reading {
    struct store_check *c;
    struct store *st;
    struct store_check_result *out;
    char topic[MESSAGE_TOPIC_LONG_MAX + 1];
    int32_t queue_id;
    int64_t last_seq[CHECK_WRITERS_MAX];
};

__attribute__((format(printf, 3, 4)))
static void wrong(struct store_check_result *out, int64_t *counter, const char *fmt, ...)
{
    ++*counter;
    if (*out->first)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->first, sizeof out->first, fmt, ap);
    va_end(ap);
}

static void judge_body(struct reading *r, const struct message *m, int64_t at)
{
    struct store_check_result *out = r->out;
    const char *topic = r->topic;
    const int qid = r->queue_id;
    if (m->body.n < CHECK_BODY_MIN) {
        wrong(out, &out->damaged, "%s-%d@%lld: body of %zu bytes", topic, qid, (long long)at, m->body.n);
        return;
    }
    const uint32_t writer = be32_get(m->body.p), seq = be32_get(m->body.p + 4), size = be32_get(m->body.p + 8);
    struct check_entry *en = entry(r->c, writer, seq, false);
    if (!en || !en->sent || size != m->body.n) {
        wrong(out, &out->invented, "%s-%d@%lld: nobody sent (%u, %u)", topic, qid, (long long)at, writer, seq);
        return;
    }
    struct buf want;
    buf_init(&want, 0);
    check_body(&want, writer, seq, m->body.n);
    if (!slice_eq(buf_slice(&want), m->body))
        wrong(out, &out->damaged, "%s-%d@%lld: body of (%u, %u) differs", topic, qid, (long long)at, writer, seq);
    buf_free(&want);
    if (en->seen)
        wrong(out, &out->duplicates, "%s-%d@%lld: (%u, %u) again", topic, qid, (long long)at, writer, seq);
    else if (en->acked && (en->queue_id != qid || en->queue_offset != at || en->phys_offset != m->phys_offset))
        wrong(out, &out->disorder, "(%u, %u) was acknowledged at %d@%lld phys %lld and is at %d@%lld phys %lld",
              writer, seq, en->queue_id, (long long)en->queue_offset, (long long)en->phys_offset, qid,
              (long long)at, (long long)m->phys_offset);
    if ((int64_t)seq <= r->last_seq[writer])
        wrong(out, &out->disorder, "%s-%d@%lld: (%u, %u) behind (%u, %lld)", topic, qid, (long long)at, writer,
              seq, writer, (long long)r->last_seq[writer]);
    r->last_seq[writer] = seq;
    en->seen = true;
    out->found++;
}

/* One returned run of records; returns the queue offset behind it, -1 when it makes no sense. */
static int64_t judge_records(struct reading *r, struct slice records, int64_t at)
{
    while (records.n) {
        struct message m;
        struct err e;
        if (message_decode(records, MESSAGE_CHECK_CRC, &m, &e)) {
            wrong(r->out, &r->out->damaged, "%s-%d@%lld: %s", r->topic, r->queue_id, (long long)at, e.text);
            return -1;
        }
        if (m.queue_offset != at || m.queue_id != r->queue_id || !slice_eq_str(m.topic, r->topic))
            wrong(r->out, &r->out->gaps, "%s-%d@%lld: the record says %d@%lld", r->topic, r->queue_id,
                  (long long)at, m.queue_id, (long long)m.queue_offset);
        judge_body(r, &m, at++);
        records.p += m.total_size;
        records.n -= (size_t)m.total_size;
    }
    return at;
}

static void read_queue(struct reading *r, int64_t min, int64_t max)
{
    for (int i = 0; i < CHECK_WRITERS_MAX; i++)
        r->last_seq[i] = -1;
    int64_t at = min;
    while (at >= 0 && at < max) {
        struct store_got g;
        const struct store_get q = {.topic = slice_str(r->topic), .queue_id = r->queue_id, .offset = at,
                                    .max_msgs = 32};
        MQ_ASSERT(!store_get(r->st, &q, &g));
        if (g.status != GET_FOUND) {
            wrong(r->out, &r->out->gaps, "%s-%d@%lld of %lld: %s", r->topic, r->queue_id, (long long)at,
                  (long long)max, get_status_name(g.status));
            at = g.next_begin_offset > at ? g.next_begin_offset : -1;
        }
        for (int i = 0; i < g.iov_n && at >= 0; i++)
            at = judge_records(r, slice_of(g.iov[i].iov_base, g.iov[i].iov_len), at);
        if (g.status == GET_FOUND && at >= 0 && at != g.next_begin_offset)
            wrong(r->out, &r->out->gaps, "%s-%d: next offset %lld after records up to %lld", r->topic, r->queue_id,
                  (long long)g.next_begin_offset, (long long)at);
        store_got_release(&g);
    }
}

struct queue_names {
    struct { char topic[MESSAGE_TOPIC_LONG_MAX + 1]; int32_t id; int64_t min, max; } *v;
    size_t n, cap;
};

static void note_queue(void *arg, struct slice topic, int32_t queue_id, int64_t min, int64_t max)
{
    struct queue_names *s = arg;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->v = realloc(s->v, s->cap * sizeof *s->v);
        MQ_ASSERT(s->v);
    }
    MQ_ASSERT(!slice_copy(topic, s->v[s->n].topic, sizeof s->v[s->n].topic));
    s->v[s->n].id = queue_id;
    s->v[s->n].min = min;
    s->v[s->n++].max = max;
}

static void find_lost(struct store_check *c, struct store_check_result *out)
{
    out->lost_phys_min = INT64_MAX;
    for (uint32_t w = 0; w < CHECK_WRITERS_MAX; w++)
        for (size_t seq = 0; seq < c->writers[w].n; seq++) {
            const struct check_entry *en = &c->writers[w].v[seq];
            out->acked += en->acked;
            if (!en->acked || en->seen)
                continue;
            wrong(out, &out->lost, "lost: (%u, %zu), acknowledged at %d@%lld phys %lld", w, seq, en->queue_id,
                  (long long)en->queue_offset, (long long)en->phys_offset);
            if (en->phys_offset < out->lost_phys_min)
                out->lost_phys_min = en->phys_offset;
        }
}

bool store_check_run(struct store_check *c, struct store *st, struct store_check_result *out)
{
    *out = (struct store_check_result){0};
    for (int w = 0; w < CHECK_WRITERS_MAX; w++)
        for (size_t seq = 0; seq < c->writers[w].n; seq++)
            c->writers[w].v[seq].seen = false;
    struct queue_names queues = {0};
    store_each_queue(st, note_queue, &queues);
    for (size_t i = 0; i < queues.n; i++) {
        struct reading r = {.c = c, .st = st, .out = out, .queue_id = queues.v[i].id};
        MQ_ASSERT(!slice_copy(slice_str(queues.v[i].topic), r.topic, sizeof r.topic));
        read_queue(&r, queues.v[i].min, queues.v[i].max);
    }
    free(queues.v);
    find_lost(c, out);
    return !*out->first;
}
