/* The store of fuzz_store.h.
 *
 * Owns: the clock and the logger's silence. Runs on: the target's thread; the store is opened with
 * `manual`, so nothing else runs.
 *
 * Two things are written here a second time, on purpose and from docs/STORE_FORMAT.md: which bytes are
 * a whole record, and which queues a log makes. A fault in the code under test must not be in its
 * judge as well. */
#include "tests/fuzz/fuzz_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "base/log.h"
#include "proto/names.h"

#define QUEUE_OFFSET_MAX (INT64_MAX / 20 / 2) /* a record beyond has no place in a queue */

static struct clock_fake fuzz_clock;

void fuzz_store_init(void)
{
    struct err e;
    if (!getenv("FUZZ_LOG")) {
        MQ_ASSERT(!log_open("/dev/null", 0, 0, &e));
        log_set_level(LOG_ERROR + 1); /* not even built */
    }
}

void fuzz_store_tick(int64_t ms)
{
    clock_fake_advance(&fuzz_clock, ms);
}

void fuzz_store_opts(struct store_opts *o)
{
    store_opts_defaults(o);
    o->root_dir = FUZZ_ROOT;
    o->commitlog_file_size = FUZZ_LOG_FILE;
    o->cq_file_size = FUZZ_CQ_FILE;
    o->index_slots = FUZZ_INDEX_SLOTS;
    o->index_items = FUZZ_INDEX_ITEMS;
    o->index_enable = false;
    o->max_message_size = 4096;
    clock_fake_init(&fuzz_clock, FUZZ_START_MS, 1000); /* every input begins at the same time */
    o->fs = fuzz_disk();
    o->clock = &fuzz_clock.base;
    o->manual = true;
}

struct store *fuzz_store_open(const struct store_opts *o, struct store_recovery *found)
{
    struct store *st;
    struct err e = {0};
    const int rc = store_open(&st, o, found, &e);
    if (rc)
        LOGE("fuzz.open", "text=\"%s\"", e.text);
    MQ_ASSERT(rc == 0 || (rc == E_CORRUPT && e.text[0]));
    return rc ? NULL : st;
}

void fuzz_store_close(struct store *st)
{
    struct err e;
    MQ_ASSERT(!store_close(st, &e));
}

void fuzz_store_mark_killed(void)
{
    fuzz_disk_put(FUZZ_ROOT "/abort", SLICE_LIT("1"));
}

void fuzz_store_path_log(int64_t start, char out[64])
{
    snprintf(out, 64, FUZZ_ROOT "/commitlog/%020lld", (long long)start);
}

/* ---- records ---- */

void fuzz_record_put(struct buf *out, const struct fuzz_record *r)
{
    struct buf props;
    size_t size;
    buf_init(&props, 0);
    if (r->keys)
        MQ_ASSERT(!props_str_add(&props, PROP_KEYS, slice_str(r->keys)));
    struct message m = {.body_crc = -1, .queue_id = r->queue_id, .sys_flag = r->sys_flag,
                        .born_host = {.len = 4}, .store_host = {.len = 4}, .topic = slice_str(r->topic),
                        .body = r->body, .properties = buf_slice(&props), .prop_crc = r->prop_crc};
    MQ_ASSERT(!message_prepare(&m, &size));
    char *p = buf_extend(out, size);
    MQ_ASSERT(p);
    message_encode(&m, p, size);
    message_patch(p, r->queue_offset, r->phys_offset, r->store_timestamp);
    buf_free(&props);
}

static bool crc_property_right(struct slice record, struct slice properties, bool *has)
{
    static const char head[] = "__CRC32#\x01";
    const size_t head_n = sizeof head - 1;
    *has = false;
    const size_t tail = properties.n < 20 ? properties.n : 20;
    if (tail && memchr(properties.p + properties.n - tail, 0, tail))
        return false;
    const char *p = properties.p + properties.n - 20;
    if (properties.n < 20)
        return true;
    bool right = true;
    uint32_t crc = crc32_update(0, record.p, record.n - 20) & 0x7fffffffu;
    for (size_t i = 0; i < 10; i++, crc /= 10)
        right &= p[head_n + i] == (char)('0' + crc % 10);
    *has = !memcmp(p, head, head_n) && p[19] == 2;
    return *has == right; /* the right number under another name is damage as well */
}

enum fuzz_kind fuzz_record_kind(struct slice left, int64_t phys, struct fuzz_fields *out)
{
    out->has_crc = out->wrong_crc = false;
    if (left.n < 8)
        return FUZZ_BLANK;
    const uint32_t size = be32_get(left.p), magic = be32_get(left.p + 4);
    if (magic == 0xCBD43194)
        return size == left.n ? FUZZ_BLANK : FUZZ_BAD;
    const bool v2 = magic == 0xDAA320AB;
    if ((!v2 && magic != 0xDAA320A7) || size < 91 || size > left.n)
        return FUZZ_BAD;
    const char *const p = left.p;
    const uint32_t flags = be32_get(p + 36);
    const size_t b = flags & 0x10 ? 12 : 0, s = flags & 0x20 ? 12 : 0, topic_len = v2 ? 2 : 1;
    size_t at = 88 + b + s; /* behind the length of the body */
    if (at > size)
        return FUZZ_BAD;
    const size_t body = be32_get(p + at - 4);
    if (body > size - at || size - at - body < topic_len)
        return FUZZ_BAD;
    out->body = slice_of(p + at, body);
    at += body + topic_len;
    const size_t topic = v2 ? be16_get(p + at - 2) : (uint8_t)p[at - 1];
    if (topic > INT16_MAX || topic > size - at || size - at - topic < 2)
        return FUZZ_BAD;
    out->topic = slice_of(p + at, topic);
    at += topic + 2;
    const size_t properties = be16_get(p + at - 2);
    if (properties > INT16_MAX || properties != size - at)
        return FUZZ_BAD;
    out->properties = slice_of(p + at, properties);
    out->size = size;
    out->queue_id = (int32_t)be32_get(p + 12);
    out->sys_flag = (int32_t)flags;
    out->queue_offset = (int64_t)be64_get(p + 20);
    out->phys_offset = (int64_t)be64_get(p + 28);
    out->store_timestamp = (int64_t)be64_get(p + 56 + b);
    const bool crc_right = !body || (crc32_update(0, out->body.p, body) & 0x7fffffffu) == be32_get(p + 8);
    const bool property_right = crc_property_right(slice_of(p, size), out->properties, &out->has_crc);
    const bool rest_right = crc_right && out->phys_offset == phys && !memchr(out->topic.p, 0, topic);
    out->wrong_crc = rest_right && out->has_crc && !property_right;
    return rest_right && property_right ? FUZZ_WHOLE : FUZZ_BAD;
}

/* ---- the queues a log makes ---- */

static struct fuzz_queue *model_queue(struct fuzz_model *m, struct slice topic, int32_t id)
{
    for (int i = 0; i < m->n; i++)
        if (m->queues[i].id == id && slice_eq_str(topic, m->queues[i].topic))
            return &m->queues[i];
    MQ_ASSERT(m->n < FUZZ_QUEUES_MAX);
    struct fuzz_queue *q = &m->queues[m->n++];
    MQ_ASSERT(!slice_copy(topic, q->topic, sizeof q->topic));
    q->id = id;
    q->min = q->max = 0;
    return q;
}

/* The youngest record decides: where the queue offsets do not fit together, what came before gives way,
 * but for a gap of one file at most, which stays a gap. */
static void model_add(struct fuzz_model *m, const struct fuzz_fields *f)
{
    struct fuzz_queue *q = model_queue(m, f->topic, f->queue_id);
    const int64_t k = f->queue_offset;
    if (k < q->min || (q->min == q->max && k != q->max) || k > q->max + FUZZ_CQ_UNITS)
        q->min = q->max = k;
    while (q->max > k)
        q->max--;
    while (q->max < k)
        q->phys[q->max++ - q->min] = -1;
    MQ_ASSERT(q->max - q->min < FUZZ_QUEUES_MAX);
    q->phys[q->max++ - q->min] = f->phys_offset;
}

static bool makes_unit(const struct fuzz_fields *f)
{
    const int32_t tx = f->sys_flag & 0xC;
    return tx != 4 && tx != 0xC && !(f->sys_flag & 0x80) && f->queue_id >= 0 && f->queue_offset >= 0 &&
           f->queue_offset <= QUEUE_OFFSET_MAX && !topic_name_check(f->topic, NULL);
}

static int64_t first_log_file(void)
{
    char path[64];
    struct slice content;
    for (int64_t start = 0; start < 64 * FUZZ_LOG_FILE; start += FUZZ_LOG_FILE) {
        fuzz_store_path_log(start, path);
        if (fuzz_disk_get(path, &content))
            return start;
    }
    return -1;
}

/* A log file in full length; false: there is none that begins at `start`. */
static bool log_file(int64_t start, char *file)
{
    char path[64];
    struct slice content;
    fuzz_store_path_log(start, path);
    if (!fuzz_disk_get(path, &content))
        return false;
    memset(file, 0, FUZZ_LOG_FILE);
    memcpy(file, content.p, content.n);
    return true;
}

/* Does a record or the end of a file stand at pos? */
static bool something_at(int64_t pos)
{
    static char file[FUZZ_LOG_FILE];
    const size_t at = (size_t)(pos % FUZZ_LOG_FILE);
    struct fuzz_fields f;
    return log_file(pos - (int64_t)at, file) &&
           (fuzz_record_kind(slice_of(file + at, sizeof file - at), pos, &f) != FUZZ_BAD || f.wrong_crc);
}

/* Does the checkpoint say that the log's first record was on disk? */
static bool was_synced(const struct fuzz_fields *f)
{
    struct slice content;
    if (!fuzz_disk_get(FUZZ_ROOT "/checkpoint", &content) || content.n < 8)
        return false;
    const int64_t synced = (int64_t)be64_get(content.p), ts = f->store_timestamp;
    return synced > 0 && (ts <= synced || ts > INT64_MAX / 2);
}

/* A checksum that fits nothing may be an application's property: then the record is kept. */
static bool keeps_wrong_crc(const struct fuzz_model *m, const struct store_opts *o, const struct fuzz_fields *f)
{
    struct slice content;
    return !o->force_verify_prop_crc && !m->any_crc &&
           (m->records || !fuzz_disk_get(FUZZ_ROOT "/abort", &content) || was_synced(f) ||
            something_at(m->log_end + f->size));
}

void fuzz_model_from_log(struct fuzz_model *m, const struct store_opts *o)
{
    static char file[FUZZ_LOG_FILE];
    MQ_ASSERT(o->check_crc_on_recover);
    m->n = 0;
    m->records = 0;
    m->all_crc = true;
    m->any_crc = false;
    const int64_t first = first_log_file();
    m->log_min = m->log_end = first < 0 ? 0 : first;
    while (log_file(m->log_end, file)) {
        const int64_t file_end = m->log_end + FUZZ_LOG_FILE;
        while (m->log_end < file_end) {
            const size_t at = (size_t)(m->log_end % FUZZ_LOG_FILE);
            struct fuzz_fields f;
            const enum fuzz_kind kind = fuzz_record_kind(slice_of(file + at, sizeof file - at), m->log_end, &f);
            if (kind == FUZZ_BAD && !(f.wrong_crc && keeps_wrong_crc(m, o, &f)))
                return;
            if (kind == FUZZ_BLANK) {
                m->log_end = file_end;
                break;
            }
            m->records++;
            m->all_crc &= f.has_crc;
            m->any_crc |= kind == FUZZ_WHOLE && f.has_crc;
            m->log_end += f.size;
            if (makes_unit(&f))
                model_add(m, &f);
        }
    }
}

struct named_queue {
    char topic[256];
    int32_t id;
    int64_t min, max;
};

static struct {
    struct named_queue v[FUZZ_QUEUES_MAX];
    int n;
} found_queues;

static void note_queue(void *arg, struct slice topic, int32_t id, int64_t min, int64_t max)
{
    (void)arg;
    MQ_ASSERT(found_queues.n < FUZZ_QUEUES_MAX && min >= 0 && min <= max);
    struct named_queue *q = &found_queues.v[found_queues.n++];
    MQ_ASSERT(!slice_copy(topic, q->topic, sizeof q->topic));
    q->id = id;
    q->min = min;
    q->max = max;
}

static void list_queues(struct store *st)
{
    found_queues.n = 0;
    store_each_queue(st, note_queue, NULL);
}

static void check_queue(const struct fuzz_queue *want, struct store *st)
{
    int64_t min, max;
    const struct slice topic = slice_str(want->topic);
    store_queue_range(st, topic, want->id, &min, &max);
    MQ_ASSERT(min == want->min && max == want->max);
    for (int64_t at = min; at < max; at++) {
        struct store_unit u;
        MQ_ASSERT(store_units(st, topic, want->id, at, &u, 1) == 1);
        const int64_t phys = want->phys[at - min];
        MQ_ASSERT(phys < 0 ? u.size == INT32_MAX : u.phys_offset == phys);
    }
}

void fuzz_model_check(const struct fuzz_model *m, struct store *st)
{
    struct store_stats stats;
    store_stats_get(st, &stats);
    MQ_ASSERT(stats.log_min == m->log_min && stats.log_visible == m->log_end);
    for (int i = 0; i < m->n; i++)
        check_queue(&m->queues[i], st);
    int filled = 0;
    list_queues(st);
    for (int i = 0; i < found_queues.n; i++)
        filled += found_queues.v[i].min < found_queues.v[i].max;
    for (int i = 0; i < m->n; i++)
        filled -= m->queues[i].min < m->queues[i].max;
    MQ_ASSERT(filled == 0);
}

/* ---- reading ---- */

static uint64_t hash_add(uint64_t h, const void *p, size_t n)
{
    return (h ^ crc32_update((uint32_t)h, p, n)) * UINT64_C(0x9E3779B97F4A7C15) + (h >> 29);
}

/* A served record is where it says that it is. */
static void check_place(struct store *st, const char *p, int64_t size)
{
    struct store_view v;
    MQ_ASSERT(!store_view(st, (int64_t)be64_get(p + 28), (int32_t)size, &v, NULL));
    MQ_ASSERT(v.record.p == p && (int64_t)v.record.n == size);
    store_view_release(&v);
}

static uint64_t read_run(struct store *st, const struct iovec *iov, bool whole, uint64_t h)
{
    struct slice rest = slice_of(iov->iov_base, iov->iov_len);
    while (rest.n) {
        struct fuzz_fields f = {.wrong_crc = false};
        MQ_ASSERT(rest.n >= 91);
        const uint32_t size = be32_get(rest.p);
        MQ_ASSERT(size >= 91 && size <= rest.n);
        if (whole) {
            MQ_ASSERT(fuzz_record_kind(rest, (int64_t)be64_get(rest.p + 28), &f) == FUZZ_WHOLE || f.wrong_crc);
            check_place(st, rest.p, size);
        }
        /* Kept in doubt: it is no longer served once a record with a checksum that fits stands behind it. */
        if (!f.wrong_crc)
            h = hash_add(h, rest.p, size);
        rest = slice_of(rest.p + size, rest.n - size);
    }
    return h;
}

static uint64_t read_queue(struct store *st, const struct named_queue *q, bool whole)
{
    uint64_t h = hash_add((uint64_t)q->id, q->topic, strlen(q->topic));
    int64_t at = q->min;
    while (at < q->max) {
        struct store_got g;
        const struct store_get get = {.topic = slice_str(q->topic), .queue_id = q->id, .offset = at,
                                      .max_msgs = 32};
        MQ_ASSERT(!store_get(st, &get, &g));
        MQ_ASSERT(g.min_offset == q->min && g.max_offset == q->max);
        for (int i = 0; i < g.iov_n; i++)
            h = read_run(st, &g.iov[i], whole, h);
        /* A consumer that follows the answers gets on. */
        MQ_ASSERT(g.next_begin_offset > at && g.next_begin_offset <= q->max);
        LOGI("fuzz.read", "topic=%s queue=%d min=%lld max=%lld at=%lld got=%d bytes=%zu", q->topic, q->id,
             (long long)q->min, (long long)q->max, (long long)at, g.msg_n, g.bytes);
        at = g.next_begin_offset;
        store_got_release(&g);
    }
    h = hash_add(h, &q->min, sizeof q->min);
    return hash_add(h, &q->max, sizeof q->max);
}

uint64_t fuzz_store_read(struct store *st, bool whole)
{
    uint64_t sum = 0; /* queues come in any order */
    list_queues(st);
    for (int i = 0; i < found_queues.n; i++)
        if (found_queues.v[i].min < found_queues.v[i].max)
            sum += read_queue(st, &found_queues.v[i], whole);
    return sum;
}

/* ---- appending ---- */

static void on_done(struct append *a)
{
    (void)a;
}

void fuzz_store_append(struct store *st, const char *topic, int32_t queue_id)
{
    struct store_port port;
    struct buf record;
    struct err e;
    int64_t min, max, next_min, next_max;
    buf_init(&record, 0);
    fuzz_record_put(&record, &(struct fuzz_record){.topic = topic, .queue_id = queue_id,
                                                   .body = SLICE_LIT("appended"), .prop_crc = true});
    store_queue_range(st, slice_str(topic), queue_id, &min, &max);
    if (max > QUEUE_OFFSET_MAX) { /* a forged record used them all up: nobody appends 2^57 messages */
        buf_free(&record);
        return;
    }
    MQ_ASSERT(!store_port_open(&port, st, NULL, &e));
    struct append a = {.records = record.p, .size = record.n, .record_n = 1, .topic = slice_str(topic),
                       .queue_id = queue_id, .done = on_done};
    store_append(&port, &a);
    store_port_submit(&port);
    store_port_drain(&port, 0);
    MQ_ASSERT(a.status == STORE_OK && a.queue_offset == max);
    store_queue_range(st, slice_str(topic), queue_id, &next_min, &next_max);
    MQ_ASSERT(next_min == min && next_max == max + 1);
    struct store_unit u;
    MQ_ASSERT(store_units(st, slice_str(topic), queue_id, max, &u, 1) == 1 && u.phys_offset == a.phys_offset);
    store_port_close(&port);
    buf_free(&record);
}

void fuzz_store_check_again(const struct store_opts *o, uint64_t hash, bool whole, bool killed)
{
    struct store_recovery found;
    if (killed)
        fuzz_store_mark_killed();
    struct store *st = fuzz_store_open(o, &found);
    MQ_ASSERT(st && found.clean == !killed && found.dropped_bytes == 0);
    MQ_ASSERT(fuzz_store_read(st, whole) == hash);
    if (killed) {
        fuzz_store_append(st, "A", 0);
        hash = fuzz_store_read(st, whole);
    }
    fuzz_store_close(st);
    if (killed) {
        fuzz_store_mark_killed();
        st = fuzz_store_open(o, &found);
        MQ_ASSERT(st && found.dropped_bytes == 0 && fuzz_store_read(st, whole) == hash);
        fuzz_store_close(st);
    }
}
