/* The judge: what a store answered against what was promised.
 *
 * Owns: nothing; it updates the fates in the ledger. Runs on: the thread of the run.
 *
 * Happy path: every record read from a queue must be a message of the ledger, byte for byte, at the
 * queue offset and place it was promised, in its writer's order; every record of the log must be in
 * its queue; every promised message must have been read; every key must lead to all its records and
 * to no other.
 *
 * What may be missing without blame:
 *   a message without an answer                       always
 *   an acknowledged one, FLUSH_ASYNC, after a fault   when it lay behind the end that the log has
 *                                                     now and was as young as the flush keys allow
 *   the same with WAIT=false in FLUSH_SYNC            when it lay behind that end
 *   any message in front of the log's first file      when it was older than fileReservedTime
 * Whatever is missing after a fault turns FATE_GONE: coming back later is as wrong as vanishing. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/sim/ledger.h"

struct trial {
    struct ledger *l;
    const struct observation *o;
    struct verdict *v;
    bool may_lose;
    unsigned char *in_queue, *in_log; /* by id */
    int64_t *phys;                    /* by id; where it was seen */
};

__attribute__((format(printf, 3, 4))) static void wrong(struct verdict *v, int64_t *counter,
                                                        const char *fmt, ...)
{
    ++*counter;
    if (*v->first)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->first, sizeof v->first, fmt, ap);
    va_end(ap);
}

bool verdict_clean(const struct verdict *v)
{
    return !v->first[0];
}

static const char *where(const struct seen_record *r)
{
    static char text[96];
    if (r->queue < 0)
        snprintf(text, sizeof text, "log@%lld", (long long)r->at);
    else
        snprintf(text, sizeof text, "%.20s-%d@%lld", ledger_topic(r->topic), r->queue,
                 (long long)r->at);
    return text;
}

static struct slice bytes_of(const struct trial *t, const struct seen_record *r)
{
    return slice_of(t->o->bytes.p + r->pos, r->n);
}

/* The id of the message that a record must be; UINT32_MAX when it is none that was sent. */
static uint32_t identify(struct trial *t, const struct seen_record *r)
{
    struct message m;
    struct err e;
    if (message_decode(bytes_of(t, r), MESSAGE_CHECK_CRC, &m, &e)) {
        wrong(t->v, &t->v->damaged, "%s: %s", where(r), e.text);
        return UINT32_MAX;
    }
    const uint32_t id = m.body.n >= LEDGER_BODY_MIN ? be32_get(m.body.p) : UINT32_MAX;
    if (id >= t->l->n || t->l->v[id].fate == FATE_GONE) {
        wrong(t->v, &t->v->invented, "%s: message %u, which %s", where(r), id,
              id >= t->l->n ? "nobody sent" : "was gone before");
        return UINT32_MAX;
    }
    return id;
}

static void judge_bytes(struct trial *t, const struct seen_record *r, uint32_t id)
{
    const struct slice got = bytes_of(t, r);
    const struct message_spec *s = &t->l->v[id];
    struct buf want;
    buf_init(&want, 0);
    ledger_record(t->l, id, &want);
    if (want.n == got.n) {
        const int64_t ts_at = 56 + (s->v6 ? 12 : 0);
        const bool answered = s->fate != FATE_SENT;
        message_patch(want.p, answered ? s->queue_offset : (int64_t)be64_get(got.p + 20),
                      answered ? s->phys : (int64_t)be64_get(got.p + 28),
                      answered ? s->ts : (int64_t)be64_get(got.p + ts_at));
    }
    if (!slice_eq(buf_slice(&want), got))
        wrong(t->v, &t->v->damaged, "%s: the bytes of message %u differ from what was stored",
              where(r), id);
    buf_free(&want);
}

static void judge_place(struct trial *t, const struct seen_record *r, uint32_t id)
{
    struct message_spec *s = &t->l->v[id];
    const char *record = bytes_of(t, r).p;
    const int64_t offset = (int64_t)be64_get(record + 20), phys = (int64_t)be64_get(record + 28);
    if (r->topic != s->topic || r->queue != s->queue)
        wrong(t->v, &t->v->disorder, "%s: message %u belongs to %.20s-%d", where(r), id,
              ledger_topic(s->topic), s->queue);
    if (offset != r->at)
        wrong(t->v, &t->v->disorder, "%s: the record of message %u says queue offset %lld",
              where(r), id, (long long)offset);
    if (s->fate != FATE_SENT && (s->queue_offset != r->at || s->phys != phys))
        wrong(t->v, &t->v->disorder, "%s phys %lld: message %u was acknowledged at %lld phys %lld",
              where(r), (long long)phys, id, (long long)s->queue_offset, (long long)s->phys);
    const int64_t ts = (int64_t)be64_get(record + 56 + (s->v6 ? 12 : 0));
    if (!r->has_unit || r->unit.phys_offset != phys || r->unit.size != (int32_t)r->n ||
        r->unit.tags_code != ledger_unit_code(t->l, id, ts))
        wrong(t->v, &t->v->units, "%s: the unit of message %u (phys %lld size %d code %lld) is not its record's",
              where(r), id, (long long)r->unit.phys_offset, r->unit.size,
              (long long)r->unit.tags_code);
    s->queue_offset = r->at;
    s->phys = phys;
    s->ts = ts;
}

/* The place of a message whose record was damaged may be empty. */
static void skip_damaged(const struct ledger *l, int32_t topic, int32_t queue, int64_t *next)
{
    if (!l->damaged)
        return;
    const struct message_spec *s = &l->v[l->damaged - 1];
    *next += s->topic == topic && s->queue == queue && !s->half && s->queue_offset == *next;
}

static void judge_queues(struct trial *t)
{
    const struct observation *o = t->o;
    int64_t next[LEDGER_TOPICS][LEDGER_QUEUES];
    int64_t last[LEDGER_TOPICS][LEDGER_QUEUES][LEDGER_WRITERS];
    memset(last, 0xFF, sizeof last);
    for (int i = 0; i < LEDGER_TOPICS; i++)
        for (int k = 0; k < LEDGER_QUEUES; k++)
            next[i][k] = o->queues[i][k].min;
    for (size_t i = 0; i < o->record_n; i++) {
        const struct seen_record *r = &o->records[i];
        if (r->queue < 0)
            continue;
        if (r->at != next[r->topic][r->queue])
            skip_damaged(t->l, r->topic, r->queue, &next[r->topic][r->queue]);
        if (r->at != next[r->topic][r->queue])
            wrong(t->v, &t->v->gaps, "%s: the message before was at %lld", where(r),
                  (long long)next[r->topic][r->queue] - 1);
        next[r->topic][r->queue] = r->at + 1;
        const uint32_t id = identify(t, r);
        if (id == UINT32_MAX)
            continue;
        judge_bytes(t, r, id);
        if (t->in_queue[id])
            wrong(t->v, &t->v->duplicates, "%s: message %u again", where(r), id);
        t->in_queue[id] = 1;
        judge_place(t, r, id);
        t->phys[id] = (int64_t)be64_get(bytes_of(t, r).p + 28);
        int64_t *before = &last[r->topic][r->queue][t->l->v[id].writer];
        if ((int64_t)id <= *before)
            wrong(t->v, &t->v->disorder, "%s: message %u behind message %lld of the same writer",
                  where(r), id, (long long)*before);
        *before = id;
        t->v->found++;
    }
    for (int i = 0; i < LEDGER_TOPICS; i++)
        for (int k = 0; k < LEDGER_QUEUES; k++) {
            if (next[i][k] < o->queues[i][k].max)
                skip_damaged(t->l, i, k, &next[i][k]);
            if (next[i][k] < o->queues[i][k].max)
                wrong(t->v, &t->v->gaps, "%.20s-%d: ends at %lld, readable up to %lld",
                      ledger_topic(i), k, (long long)o->queues[i][k].max, (long long)next[i][k]);
        }
}

/* Every record of the log has its place in its queue, and the other way round. */
static void judge_log(struct trial *t)
{
    for (size_t i = 0; i < t->o->record_n; i++) {
        const struct seen_record *r = &t->o->records[i];
        if (r->queue >= 0)
            continue;
        const uint32_t id = identify(t, r);
        if (id == UINT32_MAX)
            continue;
        struct message_spec *s = &t->l->v[id];
        if (t->in_log[id])
            wrong(t->v, &t->v->duplicates, "%s: message %u again", where(r), id);
        t->in_log[id] = 1;
        if (s->half) {
            if (s->fate != FATE_SENT && s->phys != r->at)
                wrong(t->v, &t->v->disorder, "%s: message %u was acknowledged at %lld", where(r), id,
                      (long long)s->phys);
            judge_bytes(t, r, id);
            t->phys[id] = s->phys = r->at;
            s->ts = (int64_t)be64_get(bytes_of(t, r).p + 56 + (s->v6 ? 12 : 0));
            t->v->found++;
        } else if (!t->in_queue[id]) {
            wrong(t->v, &t->v->gaps, "%s: message %u is in the log but not in its queue", where(r),
                  id);
        } else if (t->phys[id] != r->at) {
            wrong(t->v, &t->v->duplicates, "%s: message %u is also at %lld", where(r), id,
                  (long long)t->phys[id]);
        }
    }
    for (uint32_t id = 0; id < t->l->n; id++)
        if (t->in_queue[id] && !t->in_log[id])
            wrong(t->v, &t->v->gaps, "message %u is read at phys %lld, outside the log's records", id,
                  (long long)t->phys[id]);
}

/* Within what the mode promises? Lost bytes that the flusher had passed by are summed up in *old. */
static bool excusable(const struct trial *t, const struct message_spec *s, int64_t *old)
{
    const struct ledger *l = t->l;
    if (l->damaged && s == &l->v[l->damaged - 1])
        return true;
    if (l->dropped_from && s->phys >= l->dropped_from)
        return true;
    if (!t->may_lose || s->durable || s->phys < t->o->log_max)
        return false;
    if (s->fate == FATE_WRITTEN)
        return true;
    if (l->mode != FLUSH_ASYNC)
        return false;
    const int64_t age = l->now_ms - s->ts;
    if (age > l->flush_interval_ms)
        *old += s->record_n;
    return age <= l->flush_interval_ms + l->flush_thorough_ms &&
           (!*old || *old < l->flush_least_bytes);
}

static void judge_missing(struct trial *t)
{
    struct ledger *l = t->l;
    int64_t old = 0;
    for (uint32_t id = 0; id < l->n; id++) {
        struct message_spec *s = &l->v[id];
        const bool there = s->half ? t->in_log[id] : t->in_queue[id];
        const bool promised = s->fate == FATE_ACKED || s->fate == FATE_WRITTEN;
        t->v->acked += promised;
        if (there && t->may_lose) { /* what recovery shows is on disk, whoever was told before */
            s->fate = FATE_ACKED;
            s->durable = true;
        }
        if (there || s->fate == FATE_GONE)
            continue;
        if (promised && s->phys < t->o->log_min) {
            if (l->stopped_ms - s->ts < l->reserved_ms)
                wrong(t->v, &t->v->lost, "lost: message %u is in front of the log after %lld ms of %lld",
                      id, (long long)(l->stopped_ms - s->ts), (long long)l->reserved_ms);
            s->expired = true;
        } else if (promised && !excusable(t, s, &old)) {
            wrong(t->v, &t->v->lost,
                  "lost: message %u, acknowledged at %.20s-%d@%lld phys %lld, %lld ms before the "
                  "fault; the log is [%lld, %lld)",
                  id, ledger_topic(s->topic), s->queue, (long long)s->queue_offset,
                  (long long)s->phys, (long long)(l->now_ms - s->ts), (long long)t->o->log_min,
                  (long long)t->o->log_max);
        } else if (promised) {
            t->v->excused++;
        }
        if (s->consumed && l->mode == FLUSH_SYNC && !l->damaged && s->phys >= t->o->log_max)
            wrong(t->v, &t->v->lost, "lost: message %u was consumed at %.20s-%d@%lld before", id,
                  ledger_topic(s->topic), s->queue, (long long)s->queue_offset);
        if (t->may_lose || promised)
            s->fate = FATE_GONE;
    }
}

/* A queue must not begin again below what was promised: new messages would lie below the offsets
 * that consumers have committed. */
static void judge_ends(struct trial *t)
{
    const struct ledger *l = t->l;
    int64_t reached[LEDGER_TOPICS][LEDGER_QUEUES] = {0};
    for (uint32_t id = 0; id < l->n; id++) {
        const struct message_spec *s = &l->v[id];
        const bool counts = !s->half && (t->in_queue[id] || s->expired);
        int64_t *max = &reached[s->topic][s->queue];
        if (counts && s->queue_offset >= *max)
            *max = s->queue_offset + 1;
    }
    for (int i = 0; i < LEDGER_TOPICS; i++)
        for (int k = 0; k < LEDGER_QUEUES; k++)
            if (t->o->queues[i][k].max < reached[i][k])
                wrong(t->v, &t->v->gaps, "%.20s-%d ends at %lld, it had reached %lld", ledger_topic(i),
                      k, (long long)t->o->queues[i][k].max, (long long)reached[i][k]);
}

/* ---- the index ---- */

/* How often. */
static int32_t answer_has(const struct trial *t, const struct seen_answer *a, int64_t phys)
{
    int32_t n = 0;
    for (int32_t i = 0; i < a->n; i++)
        n += (int64_t)be64_get(t->o->bytes.p + a->pos + (size_t)i * 8) == phys;
    return n;
}

static bool is_there(const struct trial *t, uint32_t id)
{
    return t->l->v[id].half ? t->in_log[id] : t->in_queue[id];
}

static void judge_answer(struct trial *t, const struct seen_answer *a)
{
    const struct ledger *l = t->l;
    int32_t right = 0;
    const bool one = a->id != UINT32_MAX;
    for (uint32_t id = one ? a->id : 0; id < (one ? a->id + 1 : l->n); id++) {
        const struct message_spec *s = &l->v[id];
        if (!s->keyed || s->topic != a->topic || !is_there(t, id) ||
            (!one && (int32_t)(id % LEDGER_WORDS) != a->word))
            continue;
        const int32_t n = answer_has(t, a, t->phys[id]);
        right += n > 0;
        if (!n && l->index_damaged)
            t->v->hidden++;
        else if (!n)
            wrong(t->v, &t->v->unindexed, "message %u at phys %lld is not found by its %s", id,
                  (long long)t->phys[id], one ? "own key" : "shared word");
    }
    if (a->n != right)
        wrong(t->v, &t->v->unindexed, "a query for %s %d of %.20s gives %d records, %d of them right",
              one ? "message" : "word", one ? (int)a->id : a->word, ledger_topic(a->topic), a->n, right);
}

bool judge(struct ledger *l, const struct observation *o, bool may_lose, struct verdict *v)
{
    *v = (struct verdict){0};
    struct trial t = {.l = l, .o = o, .v = v, .may_lose = may_lose};
    t.in_queue = calloc((size_t)l->n + 1, 1);
    t.in_log = calloc((size_t)l->n + 1, 1);
    t.phys = calloc((size_t)l->n + 1, sizeof *t.phys);
    MQ_ASSERT(t.in_queue && t.in_log && t.phys);
    judge_queues(&t);
    judge_log(&t);
    judge_missing(&t);
    judge_ends(&t);
    for (size_t i = 0; i < o->answer_n; i++)
        judge_answer(&t, &o->answers[i]);
    if (*o->trouble)
        wrong(v, &v->damaged, "%s", o->trouble);
    free(t.in_queue);
    free(t.in_log);
    free(t.phys);
    return verdict_clean(v);
}
