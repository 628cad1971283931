/* The put path: from a described message to a record in the store and back.
 *
 * Runs on: the thread of the submitter, which is a network loop or the service loop.
 *
 * Happy path: put_start takes away the checksum of another record (properties travel: a message
 * given back, committed or sent on brings those of the record it was read from), looks at DELAY
 * (and, if it is set, redirects to the schedule topic), computes the record size, allocates one block for record, topic and tag codes, encodes, and
 * queues an append. At the end of the loop's turn the hook (rank 0) submits everything queued as
 * one batch. When the record is as durable as the flush mode says, on_appended runs on the same
 * thread, fills the results and calls the put's done().
 *
 * Failure modes: limits and unsupported properties are refused by put_start, before anything is
 * queued. Store failures arrive in done() as a status. Nothing here retries.
 *
 * Invariants
 * 1. inflight counts puts between a PUT_OK of put_start and the end of done().
 * 2. What the caller passed is not touched after put_start: the block owns copies.
 * 3. A stopped submitter starts nothing, so inflight reaches zero.
 * 4. No property of the checksum's name reaches the store but the one that message_patch fills in:
 *    recovery would take another one for damage. */
#include "broker/put.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "proto/names.h"

static void submit_turn(struct turn_hook *h)
{
    struct submitter *s = LIST_ENTRY(h, struct submitter, hook);
    store_port_submit(&s->port);
}

struct hook_call {
    struct submitter *s;
    bool add;
};

static void hook_set(void *arg)
{
    const struct hook_call *c = arg;
    if (c->add)
        loop_hook_add(c->s->loop, &c->s->hook);
    else
        loop_hook_remove(&c->s->hook);
}

int submitter_init(struct submitter *s, struct broker *b, struct loop *loop, struct err *e)
{
    *s = (struct submitter){.broker = b, .loop = loop, .hook = {.rank = 0, .fn = submit_turn}};
    if (uv_sem_init(&s->drained, 0) != 0)
        return err_set(e, E_NOMEM, "semaphore of loop %s", loop->name);
    int rc = store_port_open(&s->port, b->store, &loop->mailbox, e);
    if (rc == 0) {
        rc = loop_call(loop, hook_set, &(struct hook_call){s, true});
        if (rc == 0)
            return 0;
        err_set(e, rc, "loop %s is not running", loop->name);
        store_port_close(&s->port);
    }
    uv_sem_destroy(&s->drained);
    return rc;
}

static void tell_if_idle(struct submitter *s)
{
    if (!s->draining || s->inflight > 0)
        return;
    s->draining = false;
    uv_sem_post(&s->drained);
}

static void settle_begin(void *arg)
{
    struct submitter *s = arg;
    s->draining = true;
    tell_if_idle(s);
}

static void drain_begin(void *arg)
{
    ((struct submitter *)arg)->stopped = true;
    settle_begin(arg);
}

void submitter_settle(struct submitter *s)
{
    if (loop_call(s->loop, settle_begin, s) == 0)
        uv_sem_wait(&s->drained);
}

void submitter_drain(struct submitter *s)
{
    if (loop_call(s->loop, drain_begin, s) == 0)
        uv_sem_wait(&s->drained);
}

void submitter_fini(struct submitter *s)
{
    int rc = loop_call(s->loop, hook_set, &(struct hook_call){s, false});
    MQ_ASSERT(rc == 0 && s->inflight == 0);
    store_port_close(&s->port);
    uv_sem_destroy(&s->drained);
}

static enum put_status status_of_store(enum store_status s)
{
    switch (s) {
    case STORE_OK: return PUT_OK;
    case STORE_FLUSH_TIMEOUT: return PUT_FLUSH_TIMEOUT;
    case STORE_TOO_BIG: return PUT_ILLEGAL;
    case STORE_NO_FILE: return PUT_NO_FILE;
    case STORE_DISK_FULL: return PUT_DISK_FULL;
    case STORE_FAILED:
    case STORE_CLOSED: return PUT_UNAVAILABLE;
    }
    return PUT_UNAVAILABLE;
}

static void fill_phys_offsets(struct put *p)
{
    int64_t at = p->phys_offset;
    const char *record = p->append.records;
    for (int i = 0; i < p->item_n; i++) {
        uint32_t size = be32_get(record);
        p->phys_offsets[i] = at;
        at += size;
        record += size;
    }
}

static void on_appended(struct append *a)
{
    struct put *p = LIST_ENTRY(a, struct put, append);
    struct submitter *s = p->via;
    p->status = status_of_store(a->status);
    p->queue_offset = a->queue_offset;
    p->phys_offset = a->phys_offset;
    p->store_timestamp = a->store_timestamp;
    if (p->phys_offsets)
        fill_phys_offsets(p);
    p->done(p); /* p may be gone now */
    s->inflight--;
    tell_if_idle(s);
}

/* The properties that decide where a message goes. */
enum { ROUTE_DELAY, ROUTE_TAGS, ROUTE_TIMERS, ROUTE_N = ROUTE_TIMERS + 3 };
static const struct slice route_names[ROUTE_N] = {
    SLICE_LIT(PROP_DELAY), SLICE_LIT(PROP_TAGS), SLICE_LIT(PROP_TIMER_DELAY_SEC),
    SLICE_LIT(PROP_TIMER_DELAY_MS), SLICE_LIT(PROP_TIMER_DELIVER_MS)};

static bool has_timer(const struct slice *route)
{
    return route[ROUTE_TIMERS].n || route[ROUTE_TIMERS + 1].n || route[ROUTE_TIMERS + 2].n;
}

static bool delayable(const struct message *m)
{
    int32_t tx = m->sys_flag & SYSFLAG_TX_MASK;
    return tx == SYSFLAG_TX_NONE || tx == SYSFLAG_TX_COMMIT;
}

/* The level asked for, clamped to the table; 0 for none or nonsense, as Java's parse gives. */
static int32_t delay_level(const struct broker *b, struct slice text)
{
    int64_t level = 0;
    int rc = text.n > 0 ? slice_i64(text, &level) : 0;
    if (rc != 0 || level <= 0)
        return 0;
    return level > b->delay_level_n ? b->delay_level_n : (int32_t)level;
}

static int add_int(struct buf *out, const char *name, int32_t value)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", value);
    return props_str_add(out, name, slice_of(text, (size_t)n));
}

static int schedule(struct message *m, int32_t level, struct buf *props)
{
    static const char *const replaced[] = {
        PROP_DELAY,          PROP_REAL_TOPIC,       PROP_REAL_QID, PROP_TIMER_DELAY_SEC,
        PROP_TIMER_DELAY_MS, PROP_TIMER_DELIVER_MS, NULL};
    props_str_copy_without(props, m->properties, replaced);
    int rc = add_int(props, PROP_DELAY, level);
    if (rc == 0)
        rc = props_str_add(props, PROP_REAL_TOPIC, m->topic);
    if (rc == 0)
        rc = add_int(props, PROP_REAL_QID, m->queue_id);
    if (rc != 0 || buf_error(props) != 0)
        return rc != 0 ? rc : buf_error(props);
    m->properties = buf_slice(props);
    m->topic = SLICE_LIT(TOPIC_SCHEDULE);
    m->queue_id = level - 1;
    return 0;
}

static bool topic_fits(struct slice topic)
{
    return topic.n > 0 && topic.n <= MESSAGE_TOPIC_LONG_MAX &&
           (topic.n <= MESSAGE_TOPIC_MAX || topic_is_retry(topic));
}

static void block_append(struct submitter *s, struct put *p, size_t record_bytes, int record_n,
                         struct slice topic, int32_t queue_id)
{
    char *topic_copy = p->memory + record_bytes;
    memcpy(topic_copy, topic.p, topic.n);
    p->topic = slice_of(topic_copy, topic.n);
    p->queue_id = queue_id;
    p->via = s;
    p->append.records = p->memory;
    p->append.size = record_bytes;
    p->append.record_n = record_n;
    p->append.topic = p->topic;
    p->append.queue_id = queue_id;
    p->append.no_wait = p->no_wait;
    p->append.done = on_appended;
    s->inflight++;
    store_append(&s->port, &p->append);
}

static enum put_status put_single(struct submitter *s, struct put *p, struct message *m,
                                  int32_t level, struct slice tags)
{
    size_t size;
    const size_t stored = message_properties_size(m);
    if (stored > MESSAGE_PROPERTIES_MAX)
        return PUT_PROPERTIES_TOO_BIG;
    m->body_crc = -1;
    if (message_prepare(m, &size) != 0)
        return PUT_ILLEGAL;
    p->memory = malloc(size + m->topic.n);
    if (!p->memory)
        return PUT_NO_MEMORY;
    message_encode(m, p->memory, size);
    p->properties = slice_of(p->memory + size - stored, m->properties.n);
    p->phys_offsets = NULL;
    p->append = (struct append){.tags_code = java_string_hash(tags), .delay_level = level,
                                .no_queue = !delayable(m)};
    block_append(s, p, size, 1, m->topic, m->queue_id);
    return PUT_OK;
}

static void batch_item_apply(struct message *m, const struct batch_item *item)
{
    m->flag = item->flag;
    m->body = item->body;
    m->properties = item->properties;
    m->body_crc = -1;
}

static enum put_status batch_size(const struct put *p, struct message *m, size_t *total)
{
    *total = 0;
    for (int i = 0; i < p->item_n; i++) {
        size_t size;
        batch_item_apply(m, &p->items[i]);
        if (message_properties_size(m) > MESSAGE_PROPERTIES_MAX)
            return PUT_PROPERTIES_TOO_BIG;
        if (message_prepare(m, &size) != 0 || size > INT32_MAX - *total)
            return PUT_ILLEGAL;
        *total += size;
    }
    return PUT_OK;
}

/* Layout of the block: records | topic | padding | phys offsets | tag codes. */
static enum put_status put_batch(struct submitter *s, struct put *p, struct message *m)
{
    size_t total, n = (size_t)p->item_n;
    enum put_status st = batch_size(p, m, &total);
    if (st != PUT_OK)
        return st;
    size_t codes_at = (total + m->topic.n + 7) / 8 * 8;
    p->memory = malloc(codes_at + 2 * n * sizeof(int64_t));
    if (!p->memory)
        return PUT_NO_MEMORY;
    p->phys_offsets = (int64_t *)(void *)(p->memory + codes_at);
    int64_t *codes = p->phys_offsets + n;
    char *at = p->memory;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        batch_item_apply(m, &p->items[i]);
        int rc = message_prepare(m, &size);
        MQ_ASSERT(rc == 0);
        message_encode(m, at, size);
        codes[i] = tags_code(m->properties);
        at += size;
    }
    p->properties = SLICE_NULL;
    p->append = (struct append){.tags_codes = codes};
    block_append(s, p, total, p->item_n, m->topic, m->queue_id);
    return PUT_OK;
}

/* The bytes of the name; more than the property itself may hold them. */
static bool mentions_crc(struct slice props)
{
    return props.n && memmem(props.p, props.n, PROP_CRC32, sizeof PROP_CRC32 - 1);
}

static const char *const crc_only[] = {PROP_CRC32, NULL};

/* put_batch with items whose properties went through props_str_copy_without. */
static enum put_status put_clean_batch(struct submitter *s, struct put *p, struct message *m)
{
    const struct batch_item *const given = p->items;
    struct batch_item *const clean = malloc((size_t)p->item_n * sizeof *clean);
    struct buf props;
    buf_init(&props, 0);
    for (int i = 0; clean && i < p->item_n; i++) {
        const size_t before = props.n;
        clean[i] = given[i];
        props_str_copy_without(&props, given[i].properties, crc_only);
        clean[i].properties.n = props.n - before;
    }
    enum put_status st = PUT_NO_MEMORY;
    if (clean && !buf_error(&props)) {
        const char *at = props.p;
        for (int i = 0; i < p->item_n; at += clean[i++].properties.n)
            clean[i].properties.p = at;
        p->items = clean;
        st = put_batch(s, p, m);
        p->items = given;
    }
    buf_free(&props);
    free(clean);
    return st;
}

static enum put_status put_items(struct submitter *s, struct put *p, struct message *m)
{
    for (int i = 0; i < p->item_n; i++)
        if (mentions_crc(p->items[i].properties))
            return put_clean_batch(s, p, m);
    return put_batch(s, p, m);
}

static enum put_status put_message(struct submitter *s, struct put *p, struct message m)
{
    struct slice route[ROUTE_N];
    props_str_get_all(m.properties, route_names, ROUTE_N, route);
    const struct slice tags = route[ROUTE_TAGS];
    if (p->no_delay || !delayable(&m))
        return put_single(s, p, &m, 0, tags);
    int32_t level = delay_level(s->broker, route[ROUTE_DELAY]);
    if (level == 0 && has_timer(route))
        return PUT_TIMER_DISABLED;
    if (level == 0 || p->delay_later)
        return put_single(s, p, &m, 0, tags);
    struct buf props;
    buf_init(&props, 2 * MESSAGE_PROPERTIES_MAX);
    int rc = schedule(&m, level, &props);
    enum put_status st = rc == 0          ? put_single(s, p, &m, level, tags)
                         : rc == E_TOOBIG ? PUT_PROPERTIES_TOO_BIG
                                          : PUT_NO_MEMORY;
    buf_free(&props);
    return st;
}

enum put_status put_start(struct submitter *s, struct put *p)
{
    const struct broker *b = s->broker;
    if (s->stopped || b->failed)
        return PUT_UNAVAILABLE;
    struct message m = p->msg;
    m.store_host = b->store_host;
    m.prop_crc = b->conf->append_prop_crc;
    if (!topic_fits(m.topic) || m.body.n > (size_t)b->conf->max_message_size)
        return PUT_ILLEGAL;
    if (p->items)
        return put_items(s, p, &m);
    if (!mentions_crc(m.properties))
        return put_message(s, p, m);
    struct buf props;
    buf_init(&props, 0);
    props_str_copy_without(&props, m.properties, crc_only);
    m.properties = buf_slice(&props);
    enum put_status st = buf_error(&props) ? PUT_NO_MEMORY : put_message(s, p, m);
    buf_free(&props);
    return st;
}

void put_release(struct put *p)
{
    free(p->memory);
    p->memory = NULL;
}

char *put_detach(struct put *p)
{
    char *memory = p->memory;
    p->memory = NULL;
    return memory;
}

void put_msg_id(const struct broker *b, int64_t phys_offset, char out[MSG_ID_MAX])
{
    offset_msg_id(&b->store_host, phys_offset, out);
}
