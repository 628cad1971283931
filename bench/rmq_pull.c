/* Pulls from a RocketMQ broker. Runs on the load engine's thread.
 *
 * A slot is a queue and the offset up to which it was read; slot i belongs to connection i % links and
 * is asked for by one pull at a time, whose opaque names it. A connection's slots that are not being
 * asked for wait in its ring. What happens when a queue has nothing more is the mode: SCAN ends the
 * slot, ROUND starts it again at its first offset, FOLLOW asks the broker to hold the pull.
 *
 * Failure: bodies whose records do not fit, an answer to a slot that was not asked, an answer that does
 * not say where to go on: E_PROTO or what message_decode says. An answer that skips a queue offset:
 * E_CORRUPT (the benches have no filter, so offsets must be dense).
 *
 * Invariant: slots of a link = its ready ring + its outstanding pulls + its ended slots. */
#include <stdlib.h>

#include "bench/rmq.h"

enum {
    FLAG_SUSPEND = 2,
    FLAG_SUBSCRIPTION = 4,
    SUSPEND_MS = 15000,
    TOPIC_DIGITS = 5,
    LONG_DIGITS = 19
};

static int64_t ring_size(const struct rmq_pull *p)
{
    return (p->slots_n + p->links - 1) / p->links;
}

static void make_ready(struct rmq_pull *p, int slot)
{
    const int link = slot % p->links;
    const int64_t size = ring_size(p);
    MQ_ASSERT(p->ready_n[link] < size);
    p->ready[link * size + (p->ready_at[link] + p->ready_n[link]) % size] = slot;
    p->ready_n[link]++;
}

static int build_pull(struct rmq_pull *p, struct err *e)
{
    char topic[RMQ_TOPIC_MAX + 1];
    rmq_topic_name(p->from, 0, topic);
    const bool hold = p->mode == RMQ_FOLLOW;
    const struct hdr_pull_message hdr = {.consumer_group = SLICE_LIT("bench_reader"),
                                         .topic = slice_str(topic),
                                         .queue_id = 1000,
                                         .queue_offset = 1000000000000000000,
                                         .max_msg_nums = p->max,
                                         .sys_flag = FLAG_SUBSCRIPTION | (hold ? FLAG_SUSPEND : 0),
                                         .suspend_timeout_ms = hold ? SUSPEND_MS : 0,
                                         .subscription = SLICE_LIT("*"),
                                         .expression_type = SLICE_LIT("TAG")};
    const struct command_out out = {.code = RC_PULL_MESSAGE,
                                    .opaque = RMQ_OPAQUE,
                                    .desc = &hdr_desc_pull_message,
                                    .names = HDR_LONG,
                                    .hdr = &hdr};
    int rc = command_encode(&p->frame, &out, 0, e);
    if (rc == 0)
        rc = rmq_find(&p->frame, 0, "\"opaque\":", &p->opaque_at, e);
    if (rc == 0)
        rc = rmq_find(&p->frame, 0, "\"1000\"", &p->queue_at, e);
    if (rc == 0)
        rc = rmq_find(&p->frame, 0, "1000000000000000000", &p->offset_at, e);
    if (rc == 0)
        rc = rmq_find(&p->frame, 0, topic, &p->topic_at, e);
    p->opaque_at += strlen("\"opaque\":");
    p->queue_at++;
    p->topic_at += strlen(topic) - TOPIC_DIGITS; /* used with more than one topic only */
    return rc;
}

int rmq_pull_init(struct rmq_pull *p, struct err *e)
{
    buf_init(&p->frame, 0);
    const size_t links = (size_t)p->links;
    p->slot = calloc((size_t)p->slots_n, sizeof *p->slot);
    p->ready = calloc(links * (size_t)ring_size(p), sizeof *p->ready);
    p->ready_at = calloc(links, sizeof *p->ready_at);
    p->ready_n = calloc(links, sizeof *p->ready_n);
    if (p->slot == NULL || p->ready == NULL || p->ready_at == NULL || p->ready_n == NULL)
        return err_set(e, E_NOMEM, "%lld queues", (long long)p->slots_n);
    for (int i = 0; i < p->slots_n; i++) {
        p->slot[i].topic = i % p->from->topics;
        p->slot[i].queue = i / p->from->topics % p->from->queues;
        make_ready(p, i);
    }
    return build_pull(p, e);
}

void rmq_pull_free(struct rmq_pull *p)
{
    buf_free(&p->frame);
    free(p->slot);
    free(p->ready);
    free(p->ready_at);
    free(p->ready_n);
}

bool rmq_pull_ended(const struct rmq_pull *p)
{
    return p->ended == p->slots_n;
}

void rmq_pull_again(struct rmq_pull *p)
{
    for (int i = 0; i < p->slots_n; i++) {
        if (!p->slot[i].ended)
            continue;
        p->slot[i].ended = false;
        make_ready(p, i);
    }
    p->ended = 0;
}

static int pull_request(void *self, int link, int64_t seq, struct buf *out)
{
    struct rmq_pull *p = self;
    (void)seq;
    if (p->ready_n[link] == 0)
        return E_AGAIN;
    const int64_t size = ring_size(p);
    const int slot = p->ready[link * size + p->ready_at[link]];
    p->ready_at[link] = (int)((p->ready_at[link] + 1) % size);
    p->ready_n[link]--;
    char *f = p->frame.p;
    rmq_digits(f + p->opaque_at, 10, RMQ_OPAQUE + slot);
    rmq_digits(f + p->queue_at, 4, p->slot[slot].queue);
    rmq_digits(f + p->offset_at, LONG_DIGITS, p->slot[slot].offset);
    if (p->from->topics > 1)
        rmq_digits(f + p->topic_at, TOPIC_DIGITS, p->slot[slot].topic);
    buf_add(out, f, p->frame.n);
    return buf_error(out);
}

static int take_records(struct rmq_pull *p, struct slice rest, int64_t *units, struct err *e)
{
    for (*units = 0; rest.n > 0; (*units)++) {
        int32_t size;
        if (p->each != NULL) {
            struct message m;
            int rc = message_decode(rest, p->check, &m, e);
            if (rc != 0 || (rc = p->each(p->arg, &m, e)) != 0)
                return rc;
            size = m.total_size;
        } else {
            size = rest.n >= 4 ? (int32_t)be32_get(rest.p) : 0;
        }
        if (size < MESSAGE_SIZE_MIN || (size_t)size > rest.n)
            return err_set(e, E_PROTO, "a record of %d bytes, %zu are left", size, rest.n);
        rest = slice_of(rest.p + size, rest.n - (size_t)size);
    }
    return 0;
}

static int nothing_more(struct rmq_pull *p, int index, int64_t next, struct err *e)
{
    struct rmq_slot *s = &p->slot[index];
    if (p->mode == RMQ_ROUND) {
        if (s->offset == s->start)
            return err_set(e, E_NOTFOUND, "queue %d is empty", s->queue);
        s->offset = s->start;
    } else if (p->mode == RMQ_SCAN && next <= s->offset) {
        s->ended = true;
        p->ended++;
    } else {
        s->offset = next;
    }
    return 0;
}

static int64_t pull_answer(void *self, int link, char *in, size_t n, struct buf *out,
                           struct answer *a, struct err *e)
{
    struct rmq_pull *p = self;
    struct rmq_answer r;
    (void)out;
    const int64_t used = rmq_answer(in, n, &r, e);
    if (used <= 0)
        return used;
    const int64_t index = r.opaque - RMQ_OPAQUE;
    if (index < 0 || index >= p->slots_n || index % p->links != link || p->slot[index].ended)
        return err_set(e, E_PROTO, "an answer to no pull: opaque %lld", (long long)r.opaque);
    struct rmq_slot *s = &p->slot[index];
    const int64_t next = rmq_number(r.header, "nextBeginOffset");
    a->units = 0;
    int rc = 0;
    if (r.code == RESP_SUCCESS && next > s->offset) {
        rc = take_records(p, r.body, &a->units, e);
        if (rc == 0 && next - s->offset != a->units)
            rc = err_set(e, E_CORRUPT, "queue %d: %lld messages between %lld and %lld", s->queue,
                         (long long)a->units, (long long)s->offset, (long long)next);
        s->offset = next;
    } else if (next >= 0 && (r.code == RESP_PULL_NOT_FOUND || r.code == RESP_PULL_OFFSET_MOVED ||
                             r.code == RESP_PULL_RETRY_IMMEDIATELY)) {
        rc = nothing_more(p, (int)index, next, e);
    } else {
        return err_set(e, E_REMOTE, "pull: " SLICE_FMT, SLICE_ARG(r.header));
    }
    if (rc != 0)
        return rc;
    if (!s->ended)
        make_ready(p, (int)index);
    return used;
}

const struct driver rmq_pull_driver = {.request = pull_request, .answer = pull_answer};
