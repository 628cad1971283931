/* The world of a run: disk, clock, store, senders, consumer, power switch.
 *
 * Owns: all of that, and the ledger of what was sent.
 * Runs on: the thread of the run; there is no other.
 *
 * Happy path: world_init draws file sizes, flush keys and retention from the seed; world_step draws
 * what happens next; world_arm_cut lets the power go in the middle of some call. From then on every
 * call fails, as for a machine that is no longer there; world_lose_memory takes the store down
 * against that dead disk, so that nothing of the closing reaches it, and switches the power on.
 *
 * The store's workers run at the times at which its threads would: a flush each
 * flushIntervalCommitLog, and so on. So the promise of asynchronous flush can be checked to the
 * millisecond.
 *
 * Invariants: 1. nothing depends on an address or on the real time; 2. an append's memory lives until
 * its done(). */
#include "tests/chaos/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH_MAX = 5, BURST_MAX = 6 };

struct sending { /* one append: a message or a batch of them */
    struct append a;
    struct list link;
    struct world *w;
    struct buf records;
    uint32_t first;
    int32_t n;
    int64_t codes[BATCH_MAX];
    bool done, after_failure;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return rng_below(&w->rng, n);
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

static void enter(const struct world *w)
{
    if (w->enter)
        w->enter();
}

static void leave(const struct world *w)
{
    if (w->leave)
        w->leave();
}

/* ---- the store's keys ---- */

static void on_failed(void *arg, const char *reason)
{
    struct world *w = arg;
    (void)reason;
    w->failed = true;
    w->failed_ms = clock_wall(&w->clock.base);
}

void world_set_mode(struct world *w, enum flush_mode mode)
{
    w->o.flush_mode = w->ledger.mode = mode;
}

static void draw_keys(struct world *w)
{
    struct store_opts *o = &w->o;
    store_opts_defaults(o);
    o->root_dir = "/store";
    o->commitlog_file_size = (INT64_C(16) << below(w, 4)) * 1024;
    o->cq_file_size = 20 * (1 + (int64_t)below(w, 60));
    o->index_slots = 1 + (int32_t)below(w, 40);
    o->index_items = 8 + (int32_t)below(w, 200);
    o->index_enable = !one_in(w, 8);
    o->flush_mode = one_in(w, 2) ? FLUSH_SYNC : FLUSH_ASYNC;
    o->flush_interval_ms = 1 + (int64_t)below(w, 1000);
    o->flush_least_pages = (int32_t)below(w, 5);
    o->flush_thorough_ms = (int64_t)below(w, 12000);
    o->cq_flush_interval_ms = 1 + (int64_t)below(w, 2000);
    o->cq_flush_least_pages = (int32_t)below(w, 3);
    o->cq_flush_thorough_ms = (int64_t)below(w, 20000);
    o->max_message_size = 16 * 1024;
    o->zero_ahead_bytes = one_in(w, 2) ? (int64_t)below(w, 128 * 1024) : 0;
    o->clean_interval_ms = 1000;
    o->delete_hours = 0xFFFFFF;
    o->file_reserved_ms = one_in(w, 3) ? 5000 + (int64_t)below(w, 60000) : INT64_C(1) << 40;
    o->disk_used_max = 100;
    o->disk_clean_forcibly = 100;
    o->disk_warning = 100;
    o->clock = &w->clock.base;
    o->manual = true;
    o->on_failed = on_failed;
    o->arg = w;
    world_set_mode(w, o->flush_mode);
    w->ledger.flush_interval_ms = o->flush_interval_ms;
    w->ledger.flush_thorough_ms = o->flush_thorough_ms;
    w->ledger.flush_least_bytes = (int64_t)o->flush_least_pages * 4096;
    w->ledger.reserved_ms = o->file_reserved_ms;
}

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .sim = fs_sim_new(0)};
    MQ_ASSERT(w->sim);
    rng_seed(&w->rng, seed);
    fs_fault_init(&w->fault, fs_sim_fs(w->sim));
    clock_fake_init(&w->clock, 1700000000000, 1000);
    list_init(&w->sendings);
    draw_keys(w);
}

void world_fini(struct world *w)
{
    w->power_off = true; /* the disk goes too: nobody asks what it would have kept */
    world_lose_memory(w);
    ledger_free(&w->ledger);
    fs_fault_fini(&w->fault);
    fs_sim_free(w->sim);
}

int world_open(struct world *w, struct err *e)
{
    w->o.fs = w->fs ? w->fs : &w->fault.fs;
    w->failed = false;
    enter(w);
    const int rc = store_open(&w->st, &w->o, &w->found, e);
    leave(w);
    if (rc) {
        w->st = NULL;
        return rc;
    }
    for (int i = 0; i < LEDGER_WRITERS; i++)
        MQ_ASSERT(!store_port_open(&w->ports[i], w->st, NULL, NULL));
    const int64_t now = clock_mono(&w->clock.base);
    w->flush_due = now + w->o.flush_interval_ms;
    w->cq_due = now + w->o.cq_flush_interval_ms;
    w->index_due = now + 20;
    w->space_due = w->clean_due = now + 1000;
    return 0;
}

/* ---- sending ---- */

static enum fate fate_of(const struct world *w, const struct append *a)
{
    switch (a->status) {
    case STORE_OK:
        return a->no_wait && w->o.flush_mode == FLUSH_SYNC ? FATE_WRITTEN : FATE_ACKED;
    case STORE_FLUSH_TIMEOUT:
    case STORE_FAILED:
        return FATE_SENT;
    default:
        return FATE_GONE; /* nothing was written, says the status */
    }
}

static void on_done(struct append *a)
{
    struct sending *s = LIST_ENTRY(a, struct sending, a);
    struct world *w = s->w;
    const enum fate fate = fate_of(w, a);
    int64_t phys = a->phys_offset;
    for (int32_t i = 0; i < s->n; i++) {
        struct message_spec *m = &w->ledger.v[s->first + (uint32_t)i];
        m->fate = fate;
        if (fate == FATE_ACKED || fate == FATE_WRITTEN) {
            m->queue_offset = m->half ? 0 : a->queue_offset + i;
            m->phys = phys;
            m->ts = a->store_timestamp;
        }
        phys += m->record_n;
    }
    if (a->status == STORE_OK) {
        w->acked += s->n;
        w->bad_acks += s->after_failure;
    }
    s->done = true;
}

static void free_done(struct world *w)
{
    LIST_FOREACH_SAFE(it, tmp, &w->sendings) {
        struct sending *s = LIST_ENTRY(it, struct sending, link);
        if (!s->done)
            continue;
        list_remove(it);
        buf_free(&s->records);
        free(s);
    }
}

static uint32_t draw_size(struct world *w)
{
    switch (below(w, 12)) {
    case 0:
        return LEDGER_BODY_MIN;
    case 1:
        return 1000 + (uint32_t)below(w, 9000);
    case 2: /* sometimes more than a file or the limit takes */
        return one_in(w, 8) ? 15000 + (uint32_t)below(w, 4000) : 600;
    default:
        return LEDGER_BODY_MIN + (uint32_t)below(w, 400);
    }
}

static void append_one(struct world *w, int32_t writer)
{
    struct sending *s = calloc(1, sizeof *s);
    MQ_ASSERT(s);
    s->w = w;
    s->after_failure = w->failed;
    buf_init(&s->records, 0);
    struct message_spec m = {.topic = (int32_t)below(w, LEDGER_TOPICS),
                             .queue = (int32_t)below(w, LEDGER_QUEUES),
                             .writer = writer,
                             .v6 = one_in(w, 6),
                             .sealed = !one_in(w, 5) || w->sealed_only,
                             .keyed = !one_in(w, 3)};
    s->n = one_in(w, 6) ? 2 + (int32_t)below(w, BATCH_MAX - 1) : 1;
    if (m.topic == LEDGER_TOPIC_DELAY)
        m.delay_level = 1 + (int32_t)below(w, 5);
    else
        m.half = s->n == 1 && one_in(w, 15);
    for (int32_t i = 0; i < s->n; i++) {
        m.body_n = s->n == 1 ? draw_size(w) : LEDGER_BODY_MIN + (uint32_t)below(w, 200);
        const uint32_t id = ledger_add(&w->ledger, &m);
        s->first = i ? s->first : id;
        s->codes[i] = ledger_tags_code(id);
        ledger_record(&w->ledger, id, &s->records);
    }
    s->a = (struct append){.records = s->records.p,
                           .size = s->records.n,
                           .record_n = s->n,
                           .topic = slice_str(ledger_topic(m.topic)),
                           .queue_id = m.queue,
                           .tags_codes = s->codes,
                           .delay_level = m.delay_level,
                           .no_queue = m.half,
                           .no_wait = one_in(w, 10),
                           .done = on_done};
    list_push_back(&w->sendings, &s->link);
    store_append(&w->ports[writer], &s->a);
}

static void drain(struct world *w)
{
    for (int i = 0; i < LEDGER_WRITERS; i++)
        store_port_drain(&w->ports[i], 0);
    free_done(w);
}

void world_send(struct world *w, int32_t writer, int messages)
{
    for (int i = 0; i < messages; i++)
        append_one(w, writer);
    enter(w);
    store_port_submit(&w->ports[writer]);
    leave(w);
    drain(w);
}

/* ---- the consumer at the tail ---- */

static void note_consumed(struct world *w, struct slice record, int32_t topic, int32_t queue,
                          int64_t *at)
{
    struct message m;
    const bool whole = !message_decode(record, MESSAGE_CHECK_CRC, &m, NULL) &&
                       m.body.n >= LEDGER_BODY_MIN && be32_get(m.body.p) < w->ledger.n;
    if (!whole || m.queue_offset < *at) {
        snprintf(w->trouble, sizeof w->trouble, "a consumer of %.20s-%d at %lld got %s",
                 ledger_topic(topic), queue, (long long)*at,
                 whole ? "a message of a smaller offset" : "what nobody sent");
        return;
    }
    *at = m.queue_offset + 1; /* what expired meanwhile was passed by */
    struct message_spec *s = &w->ledger.v[be32_get(m.body.p)];
    s->consumed = true;
    s->queue_offset = m.queue_offset;
    s->phys = m.phys_offset;
    s->ts = m.store_timestamp;
}

static void consume(struct world *w, int32_t topic, int32_t queue)
{
    struct store_got g;
    int64_t *at = &w->consumed[topic][queue], min, max;
    store_queue_range(w->st, slice_str(ledger_topic(topic)), queue, &min, &max);
    if (*at < min || *at > max) /* a restart took back what was not durable, or it expired */
        *at = *at < min ? min : max;
    const struct store_get ask = {.topic = slice_str(ledger_topic(topic)),
                                  .queue_id = queue,
                                  .offset = *at,
                                  .max_msgs = 32};
    enter(w);
    const int rc = store_get(w->st, &ask, &g);
    leave(w);
    if (rc)
        return;
    for (int i = 0; i < g.iov_n; i++) {
        const char *p = g.iov[i].iov_base;
        for (size_t n = g.iov[i].iov_len; n >= MESSAGE_SIZE_MIN;) {
            const uint32_t size = be32_get(p);
            note_consumed(w, slice_of(p, size), topic, queue, at);
            p += size;
            n -= size;
        }
    }
    if (*at > g.next_begin_offset)
        snprintf(w->trouble, sizeof w->trouble, "a consumer of %.20s-%d got a message at %lld, next is %lld",
                 ledger_topic(topic), queue, (long long)*at - 1, (long long)g.next_begin_offset);
    *at = g.next_begin_offset;
    store_got_release(&g);
}

/* ---- time ---- */

static void flush(struct world *w)
{
    enter(w);
    while (store_step_flush(w->st) && !w->power_off) {
    }
    leave(w);
    drain(w);
}

static void allocate(struct world *w)
{
    enter(w);
    store_step_allocate(w->st);
    leave(w);
}

static int64_t next_due(const struct world *w)
{
    const int64_t due[] = {w->flush_due, w->cq_due, w->index_due, w->space_due, w->clean_due};
    int64_t next = due[0];
    for (size_t i = 1; i < sizeof due / sizeof *due; i++)
        next = due[i] < next ? due[i] : next;
    return next;
}

static void run_due(struct world *w, int64_t now)
{
    if (w->flush_due <= now) {
        if (w->o.flush_mode == FLUSH_ASYNC)
            flush(w);
        w->flush_due = now + w->o.flush_interval_ms;
    }
    enter(w);
    if (w->cq_due <= now && !w->power_off) {
        while (store_step_cq_flush(w->st) && !w->power_off) {
        }
        w->cq_due = now + w->o.cq_flush_interval_ms;
    }
    if (w->index_due <= now && !w->power_off) {
        while (store_step_index(w->st) && !w->power_off) {
        }
        w->index_due = now + 500;
    }
    if (w->space_due <= now && !w->power_off) {
        store_step_space(w->st);
        w->space_due = now + 1000;
    }
    if (w->clean_due <= now && !w->power_off) {
        while (store_step_clean(w->st) && !w->power_off) {
        }
        w->clean_due = now + 1000;
    }
    if (w->o.flush_mode == FLUSH_SYNC && !w->power_off)
        store_step_deadlines(w->st);
    leave(w);
    drain(w);
}

void world_advance(struct world *w, int64_t ms)
{
    const int64_t until = clock_mono(&w->clock.base) + ms;
    while (!w->power_off && next_due(w) <= until) {
        const int64_t now = clock_mono(&w->clock.base), next = next_due(w);
        clock_fake_advance(&w->clock, next > now ? next - now : 0);
        run_due(w, clock_mono(&w->clock.base));
    }
    if (!w->power_off)
        clock_fake_advance(&w->clock, until - clock_mono(&w->clock.base));
}

void world_settle(struct world *w)
{
    flush(w);
    enter(w);
    while (store_step_cq_flush(w->st) && !w->power_off) {
    }
    while (store_step_index(w->st) && !w->power_off) {
    }
    leave(w);
    drain(w);
}

static int64_t draw_pause(struct world *w)
{
    switch (below(w, 10)) {
    case 0:
        return (int64_t)below(w, 20000);
    case 1:
    case 2:
        return (int64_t)below(w, 3000);
    default:
        return (int64_t)below(w, 200);
    }
}

void world_step(struct world *w)
{
    const uint64_t what = below(w, 100);
    if (what < 60) {
        world_send(w, (int32_t)below(w, LEDGER_WRITERS), 1 + (int)below(w, BURST_MAX));
        if (one_in(w, 3) && !w->power_off) /* an append wakes the allocator */
            allocate(w);
        if (w->o.flush_mode == FLUSH_SYNC && below(w, 10) && !w->power_off)
            flush(w);
    } else if (what < 85) {
        if (w->o.flush_mode == FLUSH_SYNC && below(w, 10))
            flush(w);
        world_advance(w, draw_pause(w));
    } else if (what < 95) {
        consume(w, (int32_t)below(w, LEDGER_TOPICS), (int32_t)below(w, LEDGER_QUEUES));
    } else {
        allocate(w);
    }
}

/* ---- the power switch ---- */

static void cut_once(void *arg)
{
    struct world *w = arg;
    if (w->power_off)
        return;
    w->power_off = true;
    /* A FAILED store does not flush any more, and says so: its promise ends there. */
    w->ledger.stopped_ms = clock_wall(&w->clock.base);
    w->ledger.now_ms = w->failed ? w->failed_ms : w->ledger.stopped_ms;
    fs_sim_crash(w->sim, &w->rng, w->cut_mode);
}

static struct fs_fault_rule dead_disk(struct world *w, uint64_t nth)
{
    return (struct fs_fault_rule){.ops = FS_OP_ALL,
                                  .nth = nth,
                                  .for_ever = true,
                                  .error = E_IO,
                                  .hook = cut_once,
                                  .arg = w};
}

void world_arm_cut(struct world *w, uint64_t nth)
{
    w->cut_mode = (enum fs_sim_crash_mode)below(w, 4);
    fs_fault_disarm(&w->fault);
    fs_fault_arm(&w->fault, dead_disk(w, nth));
}

void world_cut(struct world *w)
{
    fs_fault_disarm(&w->fault);
    fs_fault_arm(&w->fault, dead_disk(w, 1));
    cut_once(w);
}

void world_lose_memory(struct world *w)
{
    if (w->st) {
        world_cut(w);
        flush(w); /* against the dead disk: waiting appends end as failed */
        for (int i = 0; i < LEDGER_WRITERS; i++)
            store_port_close(&w->ports[i]);
        struct err e;
        (void)!store_close(w->st, &e);
        w->st = NULL;
    }
    free_done(w);
    MQ_ASSERT(list_empty(&w->sendings));
    w->power_off = false;
    fs_fault_disarm(&w->fault);
}

int world_close(struct world *w, struct err *e)
{
    flush(w);
    for (int i = 0; i < LEDGER_WRITERS; i++)
        store_port_close(&w->ports[i]);
    enter(w);
    const int rc = store_close(w->st, e);
    leave(w);
    w->st = NULL;
    free_done(w);
    return rc;
}

bool world_judge(struct world *w, bool may_lose, struct verdict *v)
{
    struct observation o;
    if (!may_lose)
        w->ledger.now_ms = w->ledger.stopped_ms = clock_wall(&w->clock.base);
    observe(&o, &w->ledger, w->st, w->o.commitlog_file_size, w->o.index_enable);
    bool right = judge(&w->ledger, &o, may_lose, v);
    observation_free(&o);
    if (right && *w->trouble) {
        (void)slice_copy(slice_str(w->trouble), v->first, sizeof v->first);
        v->damaged++;
        right = false;
    }
    return right;
}

/* ---- counting ---- */

void tally_verdict(struct tally *t, const struct verdict *v)
{
    t->excused += v->excused;
    t->lost += v->lost;
    t->invented += v->invented + v->duplicates;
    t->gaps += v->gaps;
    t->disorder += v->disorder;
    t->damaged += v->damaged + v->units;
    t->unindexed += v->unindexed;
    t->hidden += v->hidden;
}

void tally_command(const struct tally *t, uint64_t seed, int64_t n, char *out, size_t cap)
{
    char run[32] = "--count 1";
    if (n)
        snprintf(run, sizeof run, "--at %lld", (long long)n);
    snprintf(out, cap, "mqchaos %s %s --seed %llu", t->id, run, (unsigned long long)seed);
}

__attribute__((format(printf, 4, 0)))
static void fail_v(struct tally *t, uint64_t seed, int64_t n, const char *fmt, va_list ap)
{
    char text[480], command[TALLY_COMMAND_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    tally_command(t, seed, n, command, sizeof command);
    if (!t->failures++)
        snprintf(t->first, sizeof t->first, "%s", text);
    if (!t->quiet)
        fprintf(stderr, "%s: %s; reproduce: %s\n", t->id, text, command);
}

void tally_fail(struct tally *t, uint64_t seed, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_v(t, seed, 0, fmt, ap);
    va_end(ap);
}

void tally_fail_at(struct tally *t, uint64_t seed, int64_t n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_v(t, seed, n, fmt, ap);
    va_end(ap);
}
