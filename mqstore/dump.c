/* dump: what stands in the files.
 *
 * Runs on: the one thread of the tool. Reads only.
 *
 * Two forms: a line of columns for people, and with --json one object a line for programs. Text from
 * records goes out with control bytes and bad UTF-8 replaced, so that a message cannot steer a terminal
 * or break a parser; a body that is no UTF-8 is given in hex.
 *
 * Failure modes: places that cannot be read or are no records get a line of their own and are passed
 * over. Output that cannot be written (a closed pipe) ends it. */
#include "mqstore/dump.h"

#include <stdlib.h>

#include "mqstore/log_reader.h"
#include "proto/text.h"

enum { AHEAD = 256 * 1024 };

struct dumper {
    const struct dump_opts *o;
    struct site site;
    FILE *out;
    struct buf line;
    int64_t lines;
};

/* ---- output ---- */

static bool full(const struct dumper *d)
{
    return d->o->limit && d->lines >= d->o->limit;
}

static int flush_line(struct dumper *d, struct err *e)
{
    buf_char(&d->line, '\n');
    if (buf_error(&d->line))
        return err_set(e, E_NOMEM, "dump");
    const bool ok = fwrite(d->line.p, 1, d->line.n, d->out) == d->line.n;
    buf_clear(&d->line);
    return ok ? 0 : err_set(e, E_IO, "the output cannot be written");
}

static void json_text(struct buf *b, struct slice s)
{
    char *const p = buf_extend(b, json_text_size(s));
    if (p)
        json_text_put(p, s);
}

static void put_text(struct buf *b, const char *name, struct slice s)
{
    buf_printf(b, ",\"%s\":", name);
    json_text(b, s);
}

static void put_number(struct buf *b, const char *name, int64_t v)
{
    buf_printf(b, ",\"%s\":%lld", name, (long long)v);
}

static bool is_utf8(struct slice s)
{
    for (const char *p = s.p, *const end = s.p + s.n; p < end;) {
        uint32_t cp;
        p += utf8_step(p, end, &cp);
        if (cp == UTF8_BAD)
            return false;
    }
    return true;
}

/* For people: printable bytes, the others as \xNN. */
static void put_plain(struct buf *b, struct slice s)
{
    const bool utf8 = is_utf8(s);
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8))
            buf_printf(b, "\\x%02X", c);
        else
            buf_char(b, (char)c);
    }
}

/* ---- the log ---- */

static void put_properties(struct buf *b, struct slice props)
{
    struct props_iter it = {props};
    struct slice name, value;
    bool first = true;
    buf_str(b, ",\"properties\":{");
    while (props_str_next(&it, &name, &value)) {
        if (!first)
            buf_char(b, ',');
        first = false;
        json_text(b, name);
        buf_char(b, ':');
        json_text(b, value);
    }
    buf_char(b, '}');
}

static void put_body(struct buf *b, struct slice body)
{
    if (is_utf8(body)) {
        put_text(b, "body", body);
        return;
    }
    buf_str(b, ",\"bodyHex\":\"");
    for (size_t i = 0; i < body.n; i++)
        buf_printf(b, "%02X", (unsigned char)body.p[i]);
    buf_char(b, '"');
}

static void record_json(struct dumper *d, const struct message *m)
{
    struct buf *const b = &d->line;
    char born[64], stored[64], id[MSG_ID_MAX];
    host_text(&m->born_host, born);
    host_text(&m->store_host, stored);
    offset_msg_id(&m->store_host, m->phys_offset, id);
    buf_printf(b, "{\"type\":\"record\",\"physOffset\":%lld", (long long)m->phys_offset);
    put_number(b, "size", m->total_size);
    put_text(b, "topic", m->topic);
    put_number(b, "queueId", m->queue_id);
    put_number(b, "queueOffset", m->queue_offset);
    put_number(b, "flag", m->flag);
    put_number(b, "sysFlag", m->sys_flag);
    put_number(b, "bornTimestamp", m->born_timestamp);
    put_text(b, "bornHost", slice_str(born));
    put_number(b, "storeTimestamp", m->store_timestamp);
    put_text(b, "storeHost", slice_str(stored));
    put_number(b, "reconsumeTimes", m->reconsume_times);
    put_number(b, "preparedOffset", m->prepared_offset);
    put_text(b, "offsetMsgId", slice_str(id));
    put_number(b, "bodyCrc", m->body_crc);
    put_number(b, "bodySize", (int64_t)m->body.n);
    buf_printf(b, ",\"checksum\":%s", message_has_prop_crc(m) ? "true" : "false");
    put_properties(b, m->properties);
    if (d->o->body)
        put_body(b, m->body);
    buf_char(b, '}');
}

static void record_text(struct dumper *d, const struct message *m)
{
    struct buf *const b = &d->line;
    buf_printf(b, "%20lld %9d %14lld %10lld  ", (long long)m->phys_offset, m->total_size,
               (long long)m->store_timestamp, (long long)m->queue_offset);
    put_plain(b, m->topic);
    buf_printf(b, "-%d", m->queue_id);
    static const char *const names[] = {PROP_TAGS, PROP_KEYS, PROP_UNIQ_KEY};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct slice value = props_str_get(m->properties, names[i]);
        if (value.n) {
            buf_printf(b, " %s=", names[i]);
            put_plain(b, value);
        }
    }
    if (d->o->body) {
        buf_str(b, "\n    ");
        put_plain(b, m->body);
    }
}

static bool has_key(const struct message *m, struct slice key)
{
    struct record_keys keys = record_keys_of(m);
    struct slice one;
    while (record_keys_next(&keys, &one))
        if (slice_eq(one, key))
            return true;
    return false;
}

static bool wanted(const struct dump_opts *o, const struct message *m)
{
    return (!o->topic || slice_eq_str(m->topic, o->topic)) && (o->queue < 0 || m->queue_id == o->queue) &&
           (!o->key || has_key(m, slice_str(o->key)));
}

static int bad_place(struct dumper *d, int64_t pos, int64_t next, const char *why, struct err *e)
{
    if (d->o->json) {
        buf_printf(&d->line, "{\"type\":\"damaged\",\"physOffset\":%lld,\"nextRecord\":%lld", (long long)pos,
                   (long long)next);
        put_text(&d->line, "text", slice_str(why));
        buf_char(&d->line, '}');
    } else {
        buf_printf(&d->line, "%20lld no record: %s", (long long)pos, why);
        if (next >= 0)
            buf_printf(&d->line, "; the next one is at %lld", (long long)next);
    }
    return flush_line(d, e);
}

static bool only_zeros(struct log_reader *r, int64_t pos)
{
    static const char zeros[MESSAGE_BLANK_SIZE];
    struct slice in;
    int64_t left;
    return !log_reader_bytes(r, pos, sizeof zeros, &in, &left, NULL) &&
           !memcmp(in.p, zeros, in.n < sizeof zeros ? in.n : sizeof zeros);
}

/* One step of the walk: a record, the end of a file, or a place that is neither. */
static int log_step(struct dumper *d, struct log_reader *r, int64_t *pos, struct err *e)
{
    struct message m;
    struct err why;
    int64_t left;
    int rc = 0;
    switch (log_reader_record(r, *pos, &m, &left, &why)) {
    case RECORD_WHOLE:
        if (m.phys_offset >= d->o->from && wanted(d->o, &m)) {
            d->o->json ? record_json(d, &m) : record_text(d, &m);
            d->lines++;
            rc = flush_line(d, e);
        }
        *pos += m.total_size;
        return rc;
    case RECORD_BLANK: *pos += left; return 0;
    case RECORD_BAD: break;
    }
    const bool end = only_zeros(r, *pos);
    const int64_t next = log_reader_find(r, *pos + 1);
    if (!(end && next < 0) && *pos >= d->o->from)
        rc = bad_place(d, *pos, next, end ? "zeros" : why.text, e);
    *pos = next < 0 ? INT64_MAX : next;
    return rc;
}

/* The walk begins at the file that holds `from`: where records begin within it, only a walk tells. */
static int64_t first_pos(const struct dumper *d)
{
    const int i = site_log_file(&d->site, d->o->from);
    return i < 0 ? site_log_min(&d->site) : d->site.log[i].start;
}

static int dump_log(struct dumper *d, struct err *e)
{
    struct log_reader r;
    int64_t pos = first_pos(d);
    const int64_t limit = site_log_limit(&d->site), to = d->o->to < 0 || d->o->to > limit ? limit : d->o->to;
    int rc = 0;
    log_reader_init(&r, &d->site, AHEAD);
    if (!d->o->json)
        fprintf(d->out, "%20s %9s %14s %10s  %s\n", "PHYSICAL OFFSET", "SIZE", "STORE TIME", "QUEUE POS", "TOPIC-QUEUE");
    while (!rc && pos < to && !full(d))
        rc = log_step(d, &r, &pos, e);
    log_reader_fini(&r);
    return rc;
}

/* ---- consume queues ---- */

static int unit_line(struct dumper *d, int32_t id, int64_t offset, const struct queue_unit *u, struct err *e)
{
    struct buf *const b = &d->line;
    if (d->o->json) {
        buf_printf(b, "{\"type\":\"unit\",\"queueId\":%d,\"queueOffset\":%lld,\"physOffset\":%lld,\"size\":%d,"
                      "\"tagsCode\":%lld,\"blank\":%s",
                   id, (long long)offset, (long long)u->phys_offset, u->size, (long long)u->tags_code,
                   unit_is_blank(u) ? "true" : "false");
        put_text(b, "topic", slice_str(d->o->topic));
        buf_char(b, '}');
    } else if (unit_is_blank(u)) {
        buf_printf(b, "%6d %12lld  no message here", id, (long long)offset);
    } else {
        buf_printf(b, "%6d %12lld %20lld %9d %20lld", id, (long long)offset, (long long)u->phys_offset, u->size,
                   (long long)u->tags_code);
    }
    d->lines++;
    return flush_line(d, e);
}

static int dump_queue_file(struct dumper *d, const char *dir, int32_t id, const struct site_file *f, bool *ended,
                           struct err *e)
{
    struct window w;
    char *const path = path_join_start(dir, f->start);
    const int64_t first = f->start / CQ_UNIT_SIZE, limit = first + f->size / CQ_UNIT_SIZE;
    window_init(&w, d->site.fs, AHEAD / CQ_UNIT_SIZE * CQ_UNIT_SIZE);
    int rc = path ? window_open(&w, path, e) : err_set(e, E_NOMEM, "dump");
    for (int64_t at = d->o->from > first ? d->o->from : first; !rc && at < limit && !*ended; at++) {
        struct slice in;
        struct queue_unit u;
        rc = window_get(&w, (at - first) * CQ_UNIT_SIZE, CQ_UNIT_SIZE, &in, e);
        if (rc || in.n < CQ_UNIT_SIZE)
            break;
        queue_unit_get(in.p, &u);
        *ended = !u.size || (d->o->to >= 0 && at >= d->o->to) || full(d);
        if (!*ended)
            rc = unit_line(d, id, at, &u, e);
    }
    window_fini(&w);
    free(path);
    return rc;
}

struct queue_ids {
    struct dumper *d;
    struct err *e;
    const char *topic_dir;
};

static int dump_queue(void *arg, const char *name)
{
    const struct queue_ids *const q = arg;
    struct dumper *const d = q->d;
    struct site_file *files;
    int32_t id;
    int n;
    if (slice_i32(slice_str(name), &id) || (d->o->queue >= 0 && id != d->o->queue))
        return 0;
    char *const dir = path_join(q->topic_dir, name);
    int rc = dir ? site_files(d->site.fs, dir, &files, &n, q->e) : err_set(q->e, E_NOMEM, "dump");
    if (!rc) {
        bool ended = false;
        for (int i = 0; i < n && !rc && !ended; i++)
            rc = dump_queue_file(d, dir, id, &files[i], &ended, q->e);
        free(files);
    }
    free(dir);
    return rc;
}

static int dump_queues(struct dumper *d, struct err *e)
{
    if (!d->o->topic)
        return err_set(e, E_INVAL, "dump queue: say which with --topic (and --queue)");
    if (d->o->key)
        return err_set(e, E_INVAL, "dump queue: consume queues know no keys; use dump log or dump index with --key");
    char *const dir = path_join(d->site.cq_dir, d->o->topic);
    struct queue_ids q = {d, e, dir};
    if (!dir)
        return err_set(e, E_NOMEM, "dump");
    if (!d->o->json)
        fprintf(d->out, "%6s %12s %20s %9s %20s\n", "QUEUE", "QUEUE OFFSET", "PHYSICAL OFFSET", "SIZE", "CODE");
    const int rc = d->site.fs->list(d->site.fs, dir, dump_queue, &q, e);
    if (rc == E_NOTFOUND)
        err_set(e, rc, "%s: topic %s has no consume queues here", d->site.cq_dir, d->o->topic);
    free(dir);
    return rc;
}

/* ---- index ---- */

struct index_filter {
    bool by_hash;
    int32_t hash;
};

static int item_line(struct dumper *d, int64_t name, int32_t i, const struct index_item *item, struct err *e)
{
    buf_printf(&d->line,
               d->o->json ? "{\"type\":\"indexEntry\",\"file\":\"%017lld\",\"entry\":%d,\"hash\":%d,\"physOffset\":%lld,"
                            "\"seconds\":%d,\"previous\":%d}"
                          : "%017lld %9d %10d %20lld %8d %9d",
               (long long)name, i, item->hash, (long long)item->phys, item->seconds, item->prev);
    d->lines++;
    return flush_line(d, e);
}

static int items_lines(struct dumper *d, struct window *w, int64_t name, int64_t items_at, int32_t count,
                       const struct index_filter *filter, struct err *e)
{
    int rc = 0;
    for (int32_t i = 1; i < count && !rc && !full(d); i++) {
        struct slice in;
        rc = window_get(w, items_at + (int64_t)i * INDEX_ITEM_SIZE, INDEX_ITEM_SIZE, &in, e);
        if (rc || in.n < INDEX_ITEM_SIZE)
            return rc;
        const struct index_item item = index_item_get((const struct disk_index_item *)in.p);
        if (item.phys >= d->o->from && (d->o->to < 0 || item.phys < d->o->to) &&
            (!filter->by_hash || item.hash == filter->hash))
            rc = item_line(d, name, i, &item, e);
    }
    return rc;
}

static int header_line(struct dumper *d, int64_t name, const struct index_header *h, struct err *e)
{
    buf_printf(&d->line,
               d->o->json ? "{\"type\":\"indexFile\",\"file\":\"%017lld\",\"beginTimestamp\":%lld,\"endTimestamp\":%lld,"
                            "\"beginPhysOffset\":%lld,\"endPhysOffset\":%lld,\"slotsInUse\":%d,\"nextEntry\":%d}"
                          : "%017lld store times %lld to %lld, physical offsets %lld to %lld, %d slots in use, next entry %d",
               (long long)name, (long long)h->begin_ts, (long long)h->end_ts, (long long)h->begin_phys,
               (long long)h->end_phys, h->slots_used, h->count);
    return flush_line(d, e);
}

static int dump_index_file(struct dumper *d, const struct site_index_file *f, const struct index_filter *filter,
                           struct err *e)
{
    struct window w;
    struct slice in;
    struct buf path;
    buf_init(&path, 0);
    buf_printf(&path, "%s/%017lld%c", d->site.index_dir, (long long)f->name, 0);
    window_init(&w, d->site.fs, AHEAD);
    int rc = buf_error(&path) ? err_set(e, E_NOMEM, "dump") : window_open(&w, path.p, e);
    if (!rc)
        rc = window_get(&w, 0, INDEX_HEADER_SIZE, &in, e);
    if (!rc && in.n >= INDEX_HEADER_SIZE) {
        const struct index_header h = index_header_get((const struct disk_index_header *)in.p);
        int32_t slots, items;
        site_index_sizes(&d->site, f->size, &slots, &items);
        rc = header_line(d, f->name, &h, e);
        if (!rc && !slots)
            rc = err_set(e, E_INVAL, "%s: its size does not tell where entries begin; say --index-slots", path.p);
        if (!rc)
            rc = items_lines(d, &w, f->name, INDEX_HEADER_SIZE + (int64_t)slots * INDEX_SLOT_SIZE,
                             h.count < items ? h.count : items, filter, e);
    }
    window_fini(&w);
    buf_free(&path);
    return rc;
}

static int dump_index(struct dumper *d, struct err *e)
{
    struct index_filter filter = {.by_hash = d->o->key != NULL};
    if (d->o->key && !d->o->topic)
        return err_set(e, E_INVAL, "dump index: --key needs --topic: the index has them together");
    if (d->o->topic && !d->o->key)
        return err_set(e, E_INVAL, "dump index: --topic needs --key: the index has them together");
    if (d->o->key && index_key_hash(&d->line, slice_str(d->o->topic), slice_str(d->o->key), &filter.hash))
        return err_set(e, E_NOMEM, "dump");
    buf_clear(&d->line);
    int rc = 0;
    for (int i = 0; i < d->site.index_n && !rc && !full(d); i++)
        rc = dump_index_file(d, &d->site.index[i], &filter, e);
    return rc;
}

/* ---- checkpoints ---- */

static int read_small(struct dumper *d, const char *name, size_t size, char **out, struct err *e)
{
    size_t n = 0;
    char *const path = path_join(d->site.root, name);
    int rc = path ? fs_read_all(d->site.fs, path, size, out, &n, e) : err_set(e, E_NOMEM, "dump");
    if (!rc && n < size) {
        free(*out);
        rc = err_set(e, E_CORRUPT, "%s has %zu bytes instead of %zu", path, n, size);
    }
    free(path);
    return rc;
}

static int dump_index_state(struct dumper *d, struct err *e)
{
    struct index_state s;
    struct err why;
    char *p = NULL;
    if (read_small(d, "indexCheckpoint", sizeof(struct disk_index_state), &p, &why))
        return 0; /* stores of RocketMQ have none */
    const bool good = index_state_get(slice_of(p, sizeof(struct disk_index_state)), &s);
    free(p);
    if (!good)
        buf_str(&d->line, d->o->json ? "{\"type\":\"indexCheckpoint\",\"damaged\":true}" : "indexCheckpoint      damaged");
    else
        buf_printf(&d->line,
                   d->o->json ? "{\"type\":\"indexCheckpoint\",\"file\":\"%017lld\",\"coveredPhysOffset\":%lld,"
                                "\"nextEntry\":%d,\"slotsComplete\":%s}"
                              : "indexCheckpoint      last file %017lld, log covered up to %lld, next entry %d, slots "
                                "complete: %s",
                   (long long)s.name, (long long)s.phys, s.count, s.slots ? "true" : "false");
    return flush_line(d, e);
}

static int dump_checkpoint(struct dumper *d, struct err *e)
{
    char *p = NULL;
    int rc = read_small(d, "checkpoint", CHECKPOINT_SIZE, &p, e);
    if (rc)
        return rc;
    const struct checkpoint c = checkpoint_get((const struct disk_checkpoint *)p);
    free(p);
    buf_printf(&d->line,
               d->o->json ? "{\"type\":\"checkpoint\",\"logTimestamp\":%lld,\"queuesTimestamp\":%lld,"
                            "\"indexTimestamp\":%lld,\"masterFlushedOffset\":%lld,\"confirmedOffset\":%lld}"
                          : "checkpoint           log on disk up to store time %lld, consume queues %lld, index %lld; master "
                            "flushed %lld, confirmed %lld",
               (long long)c.physic_ts, (long long)c.logics_ts, (long long)c.index_ts, (long long)c.master_flushed,
               (long long)c.confirm_phys);
    rc = flush_line(d, e);
    return rc ? rc : dump_index_state(d, e);
}

int dump_run(const struct dump_opts *o, FILE *out, struct err *e)
{
    struct dumper d = {.o = o, .out = out};
    int rc = site_open(&d.site, &o->site, e);
    if (rc)
        return rc;
    buf_init(&d.line, 0);
    switch (o->what) {
    case DUMP_LOG: rc = dump_log(&d, e); break;
    case DUMP_QUEUE: rc = dump_queues(&d, e); break;
    case DUMP_INDEX: rc = dump_index(&d, e); break;
    case DUMP_CHECKPOINT: rc = dump_checkpoint(&d, e); break;
    }
    if (!rc && fflush(out))
        rc = err_set(e, E_IO, "the output cannot be written");
    buf_free(&d.line);
    site_close(&d.site);
    return rc;
}
