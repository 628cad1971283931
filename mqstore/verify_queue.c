/* Consume queues against the log, both ways.
 *
 * Owns: v->cq.map, one struct vqueue for each (topic, queue id) that has files or records.
 * Runs on: the one thread of the tool, called by the log's check.
 *
 * Log to queue: each record that takes a unit has the next queue offset of its queue, and the unit there
 * has its place, size and code. Units that were met like this form a run without a gap.
 * Queue to log: units outside that run must be expired (in front of the log's first file), blank, or point
 * to a record of their queue; behind a queue's end there are zeros.
 * So a store without damage costs one sequential reading of log and queues.
 *
 * Explained, hence notes: after a crash units may be missing, or stray, for records younger than the last
 * sync of the queues; records of a topic that is not in topics.json any more have no units; a queue
 * offset that begins anew belongs to a topic that was deleted and made again: the younger life counts.
 *
 * Delivery times of delayed messages: the level's delay is not in the store, so it is learned from the
 * first unit of each level; RocketMQ's filter codes (below -2^31, consumequeue_ext) are taken as given. */
#include <stdio.h>
#include <stdlib.h>

#include "mqstore/verify_priv.h"
#include "proto/names.h"

enum { UNITS_AHEAD = 64, STALE_LOOK = 16 * 1024 / CQ_UNIT_SIZE, LEVEL_DELAY_MAX_S = 366 * 24 * 3600 };

/* ---- the table ---- */

static int key_of(struct buf *key, struct slice topic, int32_t id)
{
    buf_slice_add(key, topic);
    buf_char(key, 0);
    buf_be32(key, (uint32_t)id);
    return buf_error(key);
}

struct vqueue *verify_queue_find(const struct verify *v, struct slice topic, int32_t id)
{
    struct buf key;
    buf_init(&key, 0);
    struct vqueue *const q = key_of(&key, topic, id) ? NULL : map_get(v->cq.map, buf_slice(&key));
    buf_free(&key);
    return q;
}

static void queue_free(void *arg)
{
    struct vqueue *const q = arg;
    free(q->units);
    free(q->files);
    free(q->topic);
    free(q->dir);
    free(q);
}

void verify_queues_free(struct verify *v)
{
    if (v->cq.map)
        map_free(v->cq.map, queue_free);
}

static int queue_new_in(struct verify *v, struct slice topic, int32_t id, struct vqueue **out, struct err *e)
{
    struct vqueue *const q = calloc(1, sizeof *q);
    struct buf key, dir;
    buf_init(&key, 0);
    buf_init(&dir, 0);
    buf_printf(&dir, "%s/" SLICE_FMT "/%d%c", v->site.cq_dir, SLICE_ARG(topic), id, 0);
    int rc = !q || buf_error(&dir) || key_of(&key, topic, id) ? E_NOMEM : 0;
    if (!rc) {
        size_t n;
        q->id = id;
        q->units_at = -1;
        q->topic = slice_dup(topic);
        q->dir = buf_take(&dir, &n);
        rc = q->topic && q->dir ? map_put(v->cq.map, buf_slice(&key), q, NULL) : E_NOMEM;
    }
    buf_free(&dir);
    buf_free(&key);
    if (rc && q)
        queue_free(q);
    if (rc)
        return err_set(e, E_NOMEM, "verify consume queues");
    *out = q;
    return 0;
}

/* ---- loading ---- */

struct names {
    char **v;
    size_t n, cap;
};

static int add_name(void *arg, const char *name)
{
    struct names *const s = arg;
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 16;
        char **const list = realloc(s->v, cap * sizeof *list);
        if (!list)
            return E_NOMEM;
        s->v = list;
        s->cap = cap;
    }
    s->v[s->n] = slice_dup(slice_str(name));
    return s->v[s->n] ? (s->n++, 0) : E_NOMEM;
}

static void names_free(struct names *s)
{
    while (s->n)
        free(s->v[--s->n]);
    free(s->v);
}

static int names_list(struct verify *v, const char *dir, struct names *s, struct err *e)
{
    *s = (struct names){0};
    const int rc = v->site.fs->list(v->site.fs, dir, add_name, s, e);
    if (!rc || rc == E_NOTFOUND)
        return 0;
    names_free(s);
    return rc == E_NOMEM ? err_set(e, rc, "list %s", dir) : rc;
}

static int load_queue(struct verify *v, const char *topic_dir, struct slice topic, const char *name, struct err *e)
{
    int32_t id;
    struct vqueue *q;
    if (slice_i32(slice_str(name), &id) || id < 0) {
        report_add(&v->report, NOTE, CQ_FOREIGN, topic_dir, -1, "\"%s\" is no queue id", name);
        return 0;
    }
    int rc = queue_new_in(v, topic, id, &q, e);
    if (!rc)
        rc = site_files(v->site.fs, q->dir, &q->files, &q->file_n, e);
    if (!rc && q->file_n)
        q->on_disk = true;
    return rc;
}

static int load_topic(struct verify *v, const char *name, struct err *e)
{
    struct names ids = {0};
    if (topic_name_check(slice_str(name), NULL)) {
        report_add(&v->report, NOTE, CQ_FOREIGN, v->site.cq_dir, -1, "\"%s\" is no topic name", name);
        return 0;
    }
    char *const dir = path_join(v->site.cq_dir, name);
    int rc = dir ? names_list(v, dir, &ids, e) : err_set(e, E_NOMEM, "list consume queues");
    for (size_t i = 0; i < ids.n && !rc; i++)
        rc = load_queue(v, dir, slice_str(name), ids.v[i], e);
    names_free(&ids);
    free(dir);
    return rc;
}

/* The size that most queue files have, over all queues. */
static int usual_size(struct verify *v, struct err *e)
{
    struct map_iter it = {0};
    struct site_file *all = NULL;
    int n = 0, cap = 0;
    while (map_next(v->cq.map, &it)) {
        const struct vqueue *const q = it.value;
        if (n + q->file_n > cap) {
            cap = (n + q->file_n) * 2;
            struct site_file *const more = realloc(all, (size_t)cap * sizeof *more);
            if (!more) {
                free(all);
                return err_set(e, E_NOMEM, "list consume queues");
            }
            all = more;
        }
        for (int i = 0; i < q->file_n; i++)
            all[n++] = q->files[i];
    }
    v->cq.file_size = site_usual_size(all, n);
    free(all);
    return 0;
}

static void judge_file(struct verify *v, struct vqueue *q, int i)
{
    const struct site_file *const f = &q->files[i];
    const int64_t size = v->cq.file_size;
    const bool last = i + 1 == q->file_n;
    char *const path = path_join_start(q->dir, f->start);
    const uint64_t before = v->report.count[DAMAGE];
    if (!size || f->start % size || f->start > INT64_MAX - size)
        report_add(&v->report, DAMAGE, CQ_NAME, path, -1, "the name is no multiple of the file size %lld",
                   (long long)size);
    else if (i && f->start != f[-1].start + size)
        report_add(&v->report, DAMAGE, CQ_FILE, path, -1, "the file before it begins at %lld: a file is missing",
                   (long long)f[-1].start);
    if (f->size != size)
        report_add(&v->report, unless_crashed(v, last && !f->size), CQ_FILE, path, -1, "%lld bytes instead of %lld",
                   (long long)f->size, (long long)size);
    q->damaged |= v->report.count[DAMAGE] != before;
    free(path);
}

int verify_queues_load(struct verify *v, struct err *e)
{
    struct names topics;
    v->cq.map = map_new();
    int rc = v->cq.map ? names_list(v, v->site.cq_dir, &topics, e) : err_set(e, E_NOMEM, "list consume queues");
    if (rc)
        return rc;
    for (size_t i = 0; i < topics.n && !rc; i++)
        rc = load_topic(v, topics.v[i], e);
    names_free(&topics);
    if (!rc)
        rc = usual_size(v, e);
    if (v->site.o.cq_file_size)
        v->cq.file_size = (v->site.o.cq_file_size + CQ_UNIT_SIZE - 1) / CQ_UNIT_SIZE * CQ_UNIT_SIZE;
    struct map_iter it = {0};
    while (!rc && map_next(v->cq.map, &it)) {
        struct vqueue *const q = it.value;
        v->cq.queues += q->on_disk;
        for (int i = 0; i < q->file_n; i++)
            judge_file(v, q, i);
        if (v->cq.file_size % CQ_UNIT_SIZE) {
            report_add(&v->report, DAMAGE, CQ_NAME, q->dir, -1, "files of %lld bytes: no multiple of %d",
                       (long long)v->cq.file_size, CQ_UNIT_SIZE);
            q->damaged = true;
        }
    }
    return rc;
}

/* ---- units ---- */

static const struct site_file *file_of(const struct verify *v, const struct vqueue *q, int64_t offset)
{
    const int64_t pos = offset * CQ_UNIT_SIZE;
    for (int i = q->file_n; i-- > 0;)
        if (q->files[i].start <= pos)
            return pos - q->files[i].start < v->cq.file_size ? &q->files[i] : NULL;
    return NULL;
}

/* Fills q->units from queue offset `offset` on, within one file. */
static int read_units(struct verify *v, struct vqueue *q, int64_t offset, struct err *e)
{
    const struct site_file *const f = file_of(v, q, offset);
    struct fs *const fs = v->site.fs;
    struct fs_file *file;
    q->units_at = offset;
    q->units_n = 0;
    if (!f)
        return 0;
    if (!q->units && !(q->units = malloc(UNITS_AHEAD * CQ_UNIT_SIZE)))
        return err_set(e, E_NOMEM, "verify consume queues");
    const int64_t at = offset * CQ_UNIT_SIZE - f->start;
    const int64_t want = v->cq.file_size - at < UNITS_AHEAD * CQ_UNIT_SIZE ? v->cq.file_size - at : UNITS_AHEAD * CQ_UNIT_SIZE;
    char *const path = path_join_start(q->dir, f->start);
    struct err why;
    ssize_t n = path ? fs->open(fs, path, FS_READ, &file, &why) : err_set(&why, E_NOMEM, "verify consume queues");
    if (!n) {
        n = fs->pread(file, q->units, (size_t)want, at, &why);
        fs->close(file);
    }
    free(path);
    if (n == E_NOMEM)
        return err_set(e, E_NOMEM, "%s", why.text);
    if (n < 0) {
        report_add(&v->report, DAMAGE, CQ_FILE, q->dir, -1, "cannot be read: %s", why.text);
        q->damaged = true;
        n = 0;
    }
    q->units_n = n / CQ_UNIT_SIZE;
    return 0;
}

/* The unit at a queue offset; size 0 where there is none. */
static int unit_at(struct verify *v, struct vqueue *q, int64_t offset, struct queue_unit *u, struct err *e)
{
    *u = (struct queue_unit){0};
    if (q->units_at < 0 || offset < q->units_at || offset >= q->units_at + UNITS_AHEAD ||
        (offset >= q->units_at + q->units_n && offset != q->units_at)) {
        const int rc = read_units(v, q, offset, e);
        if (rc)
            return rc;
    }
    if (offset < q->units_at + q->units_n)
        queue_unit_get(q->units + (offset - q->units_at) * CQ_UNIT_SIZE, u);
    return 0;
}

static void report_unit(struct verify *v, struct vqueue *q, enum severity s, enum problem_kind k, int64_t offset,
                        const char *what)
{
    const struct site_file *const f = file_of(v, q, offset);
    char *const path = f ? path_join_start(q->dir, f->start) : slice_dup(slice_str(q->dir));
    report_add(&v->report, s, k, path, f ? offset * CQ_UNIT_SIZE - f->start : -1, "queue offset %lld: %s",
               (long long)offset, what);
    q->damaged |= s == DAMAGE;
    free(path);
}

/* ---- log to queue ---- */

static bool topic_is_known(const struct verify *v, struct slice topic)
{
    return !v->cq.topics || json_object_getn(v->cq.topics, topic.p, topic.n) || topic_is_system(topic) ||
           topic_is_retry(topic) || topic_is_dlq(topic);
}

static bool code_is_right(struct verify *v, const struct message *m, int64_t code)
{
    int32_t level;
    if (code < INT32_MIN && v->site.has_cq_ext)
        return true;
    if (!record_delay_level(m, &level))
        return code == tags_code(m->properties);
    const int64_t stored = message_store_time(m);
    if (code < stored || code - stored > LEVEL_DELAY_MAX_S * INT64_C(1000))
        return false;
    const int64_t delay = code - stored;
    if (level < (int32_t)(sizeof v->cq.delays_ms / sizeof *v->cq.delays_ms)) {
        int64_t *const learned = &v->cq.delays_ms[level];
        if (!*learned)
            *learned = delay;
        return *learned == delay;
    }
    return true;
}

/* Records are missing between q->next and this one. Where the queue says so itself ("no message here") that
 * is settled: what recovery made of a damaged log. */
static int report_gap(struct verify *v, struct vqueue *q, const struct message *m, struct err *e)
{
    bool settled = q->on_disk;
    int rc = 0;
    for (int64_t at = q->next; at < m->queue_offset && settled && !rc; at++) {
        struct queue_unit u;
        rc = unit_at(v, q, at, &u, e);
        settled = unit_is_blank(&u);
    }
    if (!rc)
        report_add(&v->report, settled ? NOTE : unless_crashed(v, verify_unsynced(v, m->store_timestamp)), LOG_GAP,
                   q->dir, -1,
                   "the record at physical offset %lld has queue offset %lld, the one before in this queue %lld",
                   (long long)m->phys_offset, (long long)m->queue_offset, (long long)q->next - 1);
    return rc;
}

/* The queue's records: is this one the next? */
static int follow(struct verify *v, struct vqueue *q, const struct message *m, struct err *e)
{
    int rc = 0;
    if (q->log_n && m->queue_offset != q->next) {
        if (m->queue_offset > q->next)
            rc = report_gap(v, q, m, e);
        else
            q->bad_n = 0; /* a younger life of the topic: the units are its, not the older one's */
        q->run_from = q->run_to = m->queue_offset;
    }
    if (!q->log_n)
        q->run_from = q->run_to = m->queue_offset;
    q->log_n++;
    q->next = m->queue_offset + 1;
    return rc;
}

/* Keeps the worst of them, the first of equals: one line for a queue, not one for each record, and none
 * when the topic turns out to have begun anew. */
static void note_bad(struct verify *v, struct vqueue *q, enum problem_kind k, const struct message *m, const char *text)
{
    const enum severity s = unless_crashed(v, verify_unsynced(v, m->store_timestamp));
    if (!q->bad_n++ || (s == DAMAGE && q->bad_severity == NOTE)) {
        q->bad_severity = s;
        q->bad_kind = k;
        q->bad_offset = m->queue_offset;
        snprintf(q->bad_text, sizeof q->bad_text, "%s", text);
    }
}

static void compare(struct verify *v, struct vqueue *q, const struct message *m, const struct queue_unit *u)
{
    char text[160];
    if (u->size <= 0) {
        snprintf(text, sizeof text, "the unit of the record at physical offset %lld is missing",
                 (long long)m->phys_offset);
        note_bad(v, q, CQ_MISSING, m, text);
    } else if (u->phys_offset != m->phys_offset || u->size != m->total_size) {
        snprintf(text, sizeof text, "the unit points to physical offset %lld (%d bytes), the record is at %lld (%d)",
                 (long long)u->phys_offset, u->size, (long long)m->phys_offset, m->total_size);
        note_bad(v, q, CQ_WRONG, m, text);
    } else if (!code_is_right(v, m, u->tags_code)) {
        snprintf(text, sizeof text, "the unit's code %lld is not that of its record (physical offset %lld)",
                 (long long)u->tags_code, (long long)m->phys_offset);
        note_bad(v, q, CQ_WRONG, m, text);
    } else if (q->run_to == m->queue_offset) {
        q->run_to++;
    }
}

static void report_bad(struct verify *v, struct vqueue *q)
{
    char text[256];
    snprintf(text, sizeof text, "%s%s", q->bad_text, q->bad_n > 1 ? " (the first of " : "");
    const size_t n = strlen(text);
    if (q->bad_n > 1)
        snprintf(text + n, sizeof text - n, "%lld in this queue)", (long long)q->bad_n);
    if (q->bad_n)
        report_unit(v, q, q->bad_severity, q->bad_kind, q->bad_offset, text);
}

int verify_queue_record(struct verify *v, const struct message *m, struct err *e)
{
    struct vqueue *q = verify_queue_find(v, m->topic, m->queue_id);
    struct queue_unit u;
    if (topic_name_check(m->topic, NULL) || m->queue_id < 0 || m->queue_offset < 0 ||
        m->queue_offset > INT64_MAX / CQ_UNIT_SIZE / 2)
        return 0; /* it has no place in a queue */
    int rc = q ? 0 : queue_new_in(v, m->topic, m->queue_id, &q, e);
    if (!rc)
        rc = follow(v, q, m, e);
    if (rc)
        return rc;
    if (!q->on_disk && !topic_is_known(v, m->topic)) {
        if (!q->deleted)
            report_add(&v->report, NOTE, CQ_DELETED, q->dir, -1, "records in the log, no queue, and no such topic in "
                       "topics.json");
        q->deleted = true;
        return 0;
    }
    rc = unit_at(v, q, m->queue_offset, &u, e);
    if (!rc)
        compare(v, q, m, &u);
    return rc;
}

/* ---- queue to log ---- */

/* A unit that no record claimed. */
static int judge_stray(struct verify *v, struct log_reader *r, struct vqueue *q, int64_t offset,
                       const struct queue_unit *u, struct err *e)
{
    struct slice in;
    int64_t left;
    struct err why = {0};
    char text[128];
    if (u->phys_offset >= v->log.end) {
        snprintf(text, sizeof text, "the unit points to %lld, the log ends at %lld", (long long)u->phys_offset,
                 (long long)v->log.end);
        report_unit(v, q, unless_crashed(v, true), CQ_STRAY, offset, text);
        return 0;
    }
    const int rc = log_reader_bytes(r, u->phys_offset, sizeof(struct disk_record_head), &in, &left, &why);
    if (rc == E_NOMEM)
        return err_set(e, rc, "%s", why.text);
    const struct disk_record_head *const d = (const struct disk_record_head *)in.p;
    const bool there = !rc && in.n >= sizeof *d && be32_get(d->total_size) == (uint32_t)u->size &&
                       (int32_t)be32_get(d->queue_id) == q->id && (int64_t)be64_get(d->phys_offset) == u->phys_offset;
    if (!there) {
        snprintf(text, sizeof text, "no record of this queue at physical offset %lld, where the unit points",
                 (long long)u->phys_offset);
        report_unit(v, q, DAMAGE, CQ_STRAY, offset, text);
    } else if ((int64_t)be64_get(d->queue_offset) != offset) {
        snprintf(text, sizeof text, "the unit's record says queue offset %lld", (long long)be64_get(d->queue_offset));
        report_unit(v, q, DAMAGE, CQ_STRAY, offset, text);
    }
    return 0;
}

/* Anything but zeros shortly behind the end of the queue, or at the front of a file behind it? The rest of
 * a file was never written, and looking at all of it would read 6 MB of nothing for each idle queue. */
static int check_behind(struct verify *v, struct vqueue *q, int64_t end, struct err *e)
{
    for (int i = 0; i < q->file_n; i++) {
        const int64_t first = q->files[i].start / CQ_UNIT_SIZE, limit = first + v->cq.file_size / CQ_UNIT_SIZE;
        for (int64_t at = first < end ? end : first, n = 0; at < limit && n < STALE_LOOK; at++, n++) {
            struct queue_unit u;
            const int rc = unit_at(v, q, at, &u, e);
            if (rc)
                return rc;
            if (u.size || u.phys_offset || u.tags_code) {
                report_unit(v, q, unless_crashed(v, true), CQ_BEHIND, at, "a unit behind the end of the queue");
                return 0;
            }
        }
    }
    return 0;
}

static int walk_units(struct verify *v, struct log_reader *r, struct vqueue *q, struct err *e)
{
    const int64_t log_min = site_log_min(&v->site), first = q->files[0].start / CQ_UNIT_SIZE,
                  limit = (q->files[q->file_n - 1].start + v->cq.file_size) / CQ_UNIT_SIZE;
    int64_t at = first, min = -1;
    int rc = 0;
    for (; at < limit && !rc; at++) {
        struct queue_unit u;
        if (at == q->run_from && q->run_to > q->run_from) { /* met with their records */
            v->cq.units += q->run_to - q->run_from;
            min = min < 0 ? at : min;
            at = q->run_to - 1;
            continue;
        }
        rc = unit_at(v, q, at, &u, e);
        if (rc || u.size <= 0)
            break;
        v->cq.units++;
        if (unit_is_blank(&u))
            continue;
        if (u.phys_offset < log_min) {
            v->cq.expired++;
            continue;
        }
        min = min < 0 ? at : min;
        if (!q->bad_n || at != q->bad_offset) /* that one is told already */
            rc = judge_stray(v, r, q, at, &u, e);
    }
    q->max = at;
    q->min = min < 0 ? at : min;
    return rc ? rc : check_behind(v, q, at, e);
}

int verify_queues_rest(struct verify *v, struct err *e)
{
    struct log_reader r;
    struct map_iter it = {0};
    int64_t done = 0;
    int rc = 0;
    log_reader_init(&r, &v->site, 4096);
    while (!rc && map_next(v->cq.map, &it)) {
        struct vqueue *const q = it.value;
        verify_tell(v, "consume queues", done++, (int64_t)map_count(v->cq.map));
        if (q->on_disk && v->cq.file_size && q->files[0].start % CQ_UNIT_SIZE == 0 &&
            v->cq.file_size % CQ_UNIT_SIZE == 0)
            rc = walk_units(v, &r, q, e);
        if (!rc)
            report_bad(v, q);
        free(q->units);
        q->units = NULL;
        q->units_at = -1;
    }
    verify_tell(v, "consume queues", done, done);
    log_reader_fini(&r);
    return rc;
}
