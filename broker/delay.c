/* Delay levels: what lies in SCHEDULE_TOPIC_XXXX, queue level - 1, is put into its real topic when due.
 *
 * Within a level all delays are equal, so the queue is in order of delivery and one position per level is
 * enough. A unit's tags code is its delivery time (the store computes it: store time + the level's delay).
 *
 * Runs on: the service loop, one timer for all levels. A tick starts deliveries of units that are due, up
 * to WINDOW in flight per level; the timer is then set to the earliest unit of any level, at most TICK_MS
 * away (new messages do not announce themselves here). Each delivery is a put of its own: one that is
 * refused is tried again alone, after PAUSE_MS, while its neighbours are not sent twice. The position moves
 * over finished deliveries in order. Every flushDelayOffsetInterval the positions are noted, and written once
 * the log is synced up to the last delivery they count: they may lag what is on disk, never lead, or a power
 * cut would take deliveries that nobody makes again. The final ones are written after the store has closed
 * in order. A crash delivers again what was delivered after the last write (at least once).
 *
 * Clock: never early. A delivery time further away than the level's delay means that the wall clock went
 * back or the level table changed; such a unit becomes due one full delay, by the monotonic clock, after
 * it was first met at the head of its queue.
 *
 * A record that cannot be read, or that names no real topic, is logged and skipped: it must not hold up
 * its level. The stored message keeps DELAY, REAL_TOPIC and REAL_QID, as upstream's does.
 *
 * Source: ScheduleMessageService of 5.5.0; delayOffset.json: DelayOffsetSerializeWrapper (4.x has no
 * dataVersion; integer member names are bare there). */
#include "broker/delay.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/persist.h"
#include "proto/body.h"
#include "proto/names.h"

enum { WINDOW = 256, TICK_MS = 100, PAUSE_MS = 100 };
#define DELAY_FILE "delayOffset.json"

struct level;

enum slot_state { SLOT_FREE, SLOT_FLYING, SLOT_DONE, SLOT_RETRY };
struct slot { /* one unit between `next` and `started` */
    struct put put;
    struct level *level;
    enum slot_state state;
    struct store_unit unit;
};

struct level {
    struct delay *delay;
    int number;        /* 1-based */
    int64_t delay_ms;
    int64_t next;      /* every unit below is delivered */
    int64_t noted;     /* `next` when positions were last noted: what is written */
    int64_t started;   /* units in [next, started) have a slot: index unit % WINDOW */
    int64_t strange;   /* unit met at the head with an impossible delivery time, -1: none */
    int64_t strange_due_mono;
    struct slot slots[WINDOW];
};

struct delay {
    struct broker *b;
    struct level **levels;
    int level_n;
    uv_timer_t tick, flush;
    bool stopped;
    bool dirty;        /* a position moved since they were noted */
    bool noted;        /* positions are noted and not written yet */
    int64_t end_phys;  /* end in the log of the furthest delivery that was finished */
    int64_t noted_end; /* end_phys when the positions were noted */
    struct data_version version;
};

static int32_t queue_of(const struct level *l)
{
    return l->number - 1;
}

/* --- delivery --- */

static void advance(struct level *l)
{
    while (l->next < l->started && l->slots[l->next % WINDOW].state == SLOT_DONE) {
        l->slots[l->next % WINDOW].state = SLOT_FREE;
        l->next++;
        l->delay->dirty = true;
    }
}

static void deliver_done(struct put *p)
{
    struct slot *s = LIST_ENTRY(p, struct slot, put);
    const bool ok = p->status == PUT_OK || p->status == PUT_FLUSH_TIMEOUT;
    if (p->status == PUT_ILLEGAL)
        LOGE("delay.illegal", "level=%d phys_offset=%" PRId64 " text=\"the store refuses it for good: dropped\"",
             s->level->number, s->unit.phys_offset);
    s->state = ok || p->status == PUT_ILLEGAL ? SLOT_DONE : SLOT_RETRY;
    const int64_t end = p->phys_offset + (int64_t)p->append.size;
    if (ok && end > s->level->delay->end_phys)
        s->level->delay->end_phys = end;
    put_release(p);
    advance(s->level);
}

/* The record's real destination; false: skip it. */
static bool real_destination(const struct level *l, const struct store_unit *u, struct message *m)
{
    const struct slice topic = props_str_get(m->properties, PROP_REAL_TOPIC);
    int32_t queue_id;
    if (topic.p != NULL && topic_name_check(topic, NULL) == 0 && !slice_eq_str(topic, TOPIC_HALF) &&
        slice_i32(props_str_get(m->properties, PROP_REAL_QID), &queue_id) == 0 && queue_id >= 0) {
        m->topic = topic;
        m->queue_id = queue_id;
        return true;
    }
    LOGE("delay.no_destination", "level=%d phys_offset=%" PRId64 " text=\"skipped\"", l->number, u->phys_offset);
    return false;
}

static void deliver(struct level *l, struct slot *s)
{
    struct broker *b = l->delay->b;
    struct store_view v;
    struct message m;
    struct err e;
    if (FAILPOINT(FP_DELAY_DELIVER) != 0) {
        s->state = SLOT_RETRY;
        return;
    }
    if (store_view(b->store, s->unit.phys_offset, s->unit.size, &v, &e) != 0) {
        LOGE("delay.unreadable", "level=%d phys_offset=%" PRId64 " text=\"%s: skipped\"", l->number,
             s->unit.phys_offset, e.text);
        s->state = SLOT_DONE;
        return;
    }
    if (message_decode(v.record, MESSAGE_CHECK_CRC, &m, &e) != 0 || !real_destination(l, &s->unit, &m)) {
        s->state = SLOT_DONE;
    } else {
        s->put = (struct put){.msg = m, .no_wait = true, .no_delay = true, .done = deliver_done};
        s->state = SLOT_FLYING;
        if (put_start(&b->service.submit, &s->put) != PUT_OK)
            s->state = SLOT_RETRY;
    }
    store_view_release(&v);
}

/* Milliseconds until the unit may be delivered; <= 0: now. */
static int64_t wait_of(struct level *l, int64_t offset, const struct store_unit *u)
{
    const struct clock *clock = l->delay->b->clock;
    const int64_t wait = u->tags_code - clock_wall(clock);
    if (wait <= l->delay_ms)
        return wait;
    if (l->strange != offset) {
        LOGW("delay.clock", "level=%d queue_offset=%" PRId64 " wait_ms=%" PRId64
             " text=\"due later than the level allows: the clock went back or messageDelayLevel changed\"",
             l->number, offset, wait);
        l->strange = offset;
        l->strange_due_mono = clock_mono(clock) + l->delay_ms;
    }
    return l->strange_due_mono - clock_mono(clock);
}

/* Starts what is due; returns ms until this level wants to be looked at again. */
static int64_t run_level(struct level *l)
{
    int64_t again = TICK_MS;
    for (int64_t i = l->next; i < l->started; i++) {
        struct slot *const s = &l->slots[i % WINDOW];
        if (s->state == SLOT_RETRY) {
            deliver(l, s);
            again = PAUSE_MS;
        }
    }
    advance(l);
    struct store_unit units[64];
    while (l->started - l->next < WINDOW) {
        const int64_t room = WINDOW - (l->started - l->next);
        const int n = store_units(l->delay->b->store, SLICE_LIT(TOPIC_SCHEDULE), queue_of(l), l->started, units,
                                  room < 64 ? (int)room : 64);
        for (int i = 0; i < n; i++) {
            const int64_t wait = wait_of(l, l->started, &units[i]);
            if (wait > 0)
                return wait < again ? wait : again;
            struct slot *const s = &l->slots[l->started % WINDOW];
            s->level = l;
            s->unit = units[i];
            l->started++;
            deliver(l, s);
        }
        advance(l);
        if (n <= 0)
            return again;
    }
    return 1; /* the window is full: soon */
}

/* --- delayOffset.json --- */

static void note(struct delay *d)
{
    for (int i = 0; i < d->level_n; i++)
        d->levels[i]->noted = d->levels[i]->next;
    d->noted_end = d->end_phys;
    d->noted = true;
    d->dirty = false;
}

static void write_noted(struct delay *d)
{
    struct err e;
    d->version.counter++;
    d->version.timestamp = clock_wall(d->b->clock);
    json_t *const table = json_object(), *const version = data_version_to_json(d->version);
    json_t *const root = json_pack("{s:o, s:o}", "dataVersion", version, "offsetTable", table);
    if (root == NULL) {
        LOGE("delay.persist", "text=\"out of memory\"");
        return;
    }
    for (int i = 0; i < d->level_n; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", d->levels[i]->number);
        json_object_set_new(table, key, json_integer(d->levels[i]->noted));
    }
    d->noted = false;
    if (persist_save(d->b, DELAY_FILE, root, &e) != 0) {
        LOGE("delay.persist", "text=\"%s\"", e.text);
        d->dirty = true;
    }
}

static void write_if_synced(struct delay *d)
{
    struct store_stats stats;
    if (!d->noted)
        return;
    store_stats_get(d->b->store, &stats);
    if (stats.log_flushed >= d->noted_end)
        write_noted(d);
}

static void on_flush(uv_timer_t *timer)
{
    struct delay *d = timer->data;
    if (d->dirty && !d->noted)
        note(d);
    write_if_synced(d);
}

static int load(struct delay *d, struct err *e)
{
    json_t *root = NULL;
    int rc = persist_load(d->b, DELAY_FILE, &root, e);
    if (rc != 0)
        return rc;
    const json_t *const table = json_object_get(root, "offsetTable");
    d->version = data_version_from_json(json_object_get(root, "dataVersion"));
    for (int i = 0; i < d->level_n; i++) {
        struct level *const l = d->levels[i];
        char key[16];
        int64_t min, max;
        snprintf(key, sizeof key, "%d", l->number);
        store_queue_range(d->b->store, SLICE_LIT(TOPIC_SCHEDULE), queue_of(l), &min, &max);
        const int64_t at = json_get_i64(table, key, 0);
        l->next = l->started = at < min ? min : at > max ? max : at;
    }
    json_decref(root);
    return 0;
}

/* --- life --- */

static void on_tick(uv_timer_t *timer)
{
    struct delay *d = timer->data;
    int64_t again = TICK_MS;
    for (int i = 0; i < d->level_n; i++) {
        const int64_t wait = run_level(d->levels[i]);
        if (wait < again)
            again = wait;
    }
    write_if_synced(d);
    uv_timer_start(timer, on_tick, (uint64_t)again, 0);
}

int delay_start(struct broker *b, struct err *e)
{
    struct delay *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(e, E_NOMEM, "delay levels");
    b->delay = d;
    d->b = b;
    d->levels = calloc((size_t)b->delay_level_n, sizeof *d->levels);
    if (d->levels == NULL)
        return err_set(e, E_NOMEM, "delay levels");
    for (; d->level_n < b->delay_level_n; d->level_n++) {
        struct level *const l = calloc(1, sizeof *l);
        if (l == NULL)
            return err_set(e, E_NOMEM, "delay levels");
        l->delay = d;
        l->number = d->level_n + 1;
        l->delay_ms = b->delay_level_ms[d->level_n];
        l->strange = -1;
        d->levels[d->level_n] = l;
    }
    const int rc = load(d, e);
    if (rc != 0)
        return rc;
    d->tick.data = d->flush.data = d;
    uv_timer_init(&b->service.loop.uv, &d->tick);
    uv_timer_init(&b->service.loop.uv, &d->flush);
    return 0;
}

void delay_begin(struct broker *b)
{
    const uint64_t period = (uint64_t)b->conf->flush_delay_offset_interval;
    uv_timer_start(&b->delay->tick, on_tick, 0, 0);
    uv_timer_start(&b->delay->flush, on_flush, period, period);
}

int64_t delay_needed_from(struct broker *b)
{
    const struct delay *d = b->delay;
    int64_t needed = INT64_MAX;
    for (int i = 0; i < d->level_n; i++) {
        const struct level *const l = d->levels[i];
        int64_t min, max;
        struct store_unit u;
        store_queue_range(b->store, SLICE_LIT(TOPIC_SCHEDULE), queue_of(l), &min, &max);
        const int64_t at = l->next > min ? l->next : min;
        if (store_units(b->store, SLICE_LIT(TOPIC_SCHEDULE), queue_of(l), at, &u, 1) == 1 &&
            u.phys_offset < needed)
            needed = u.phys_offset;
    }
    return needed;
}

void delay_stop(struct broker *b)
{
    struct delay *d = b->delay;
    if (d == NULL || d->stopped)
        return;
    d->stopped = true;
    if (d->tick.data == NULL)
        return;
    uv_close((uv_handle_t *)&d->tick, NULL);
    uv_close((uv_handle_t *)&d->flush, NULL);
}

void delay_save(struct broker *b)
{
    struct delay *d = b->delay;
    if (d == NULL || (!d->dirty && !d->noted))
        return;
    note(d);
    write_noted(d);
}

void delay_free(struct broker *b)
{
    struct delay *d = b->delay;
    if (d == NULL)
        return;
    for (int i = 0; i < d->level_n; i++)
        free(d->levels[i]);
    free(d->levels);
    free(d);
    b->delay = NULL;
}
