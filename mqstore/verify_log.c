/* The commit log: names and sizes of its files, every record, what stands behind the last one.
 *
 * Runs on: the one thread of the tool. Drives the check of queues and index: each whole record is handed
 * to them in log order, so the log is read once.
 *
 * Happy path: record after record by the rules of store/record.c, a blank record leads to the next file,
 * zeros up to the end of the last file end the log.
 *
 * What is not a record is judged by what follows it:
 *   nothing but zeros                     the end
 *   bytes, no whole record                a torn tail; a note after a crash (the next start cuts it)
 *   whole records, after a crash, younger than the last sync of the log
 *                                         a power cut wrote pages out of order: the next start ends the log
 *                                         here, so does this check; a note
 *   whole records otherwise               a hole: damage; the check goes on behind it
 * A file that is missing or cut short is a hole of that size. */
#include "base/crc.h"
#include "mqstore/verify_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEARCH = 1024 * 1024, HOLES_MAX = 100000, PROGRESS = 16 * 1024 * 1024 };

struct scan {
    struct verify *v;
    struct log_reader r, far; /* records one by one; searching ahead */
    int64_t pos, told;
};

static char *path_at(const struct verify *v, int64_t pos)
{
    const int i = site_log_file(&v->site, pos);
    return path_join_start(v->site.log_dir, i < 0 ? pos : v->site.log[i].start);
}

static int64_t in_file(const struct verify *v, int64_t pos)
{
    const int i = site_log_file(&v->site, pos);
    return i < 0 ? -1 : pos - v->site.log[i].start;
}

/* ---- names and sizes ---- */

static void check_file(struct verify *v, int i, const char *path)
{
    const struct site *const s = &v->site;
    const struct site_file *const f = &s->log[i];
    const bool last = i + 1 == s->log_n;
    if (f->start % s->log_file_size)
        report_add(&v->report, DAMAGE, LOG_NAME, path, -1, "the name is no multiple of the file size %lld",
                   (long long)s->log_file_size);
    else if (i && f->start != f[-1].start + s->log_file_size)
        report_add(&v->report, DAMAGE, LOG_MISSING, path, -1, "the file before it begins at %lld: %lld bytes of the "
                   "log are missing", (long long)f[-1].start,
                   (long long)(f->start - f[-1].start - s->log_file_size));
    if (f->size != s->log_file_size)
        report_add(&v->report, unless_crashed(v, last && f->size < s->log_file_size), LOG_SIZE, path, -1,
                   "%lld bytes instead of %lld", (long long)f->size, (long long)s->log_file_size);
}

static int check_files(struct verify *v, struct err *e)
{
    for (int i = 0; i < v->site.log_n && v->site.log_file_size; i++) {
        char *const path = path_at(v, v->site.log[i].start);
        if (!path)
            return err_set(e, E_NOMEM, "verify the log");
        check_file(v, i, path);
        free(path);
    }
    return 0;
}

/* ---- searching ahead ---- */

/* Behind the last byte that is not zero, from `from` on, over all files; `from` when there is none. */
static int64_t find_last_byte(struct scan *s, int64_t from)
{
    const struct site *const site = &s->v->site;
    int64_t last = from;
    for (int i = 0; i < site->log_n; i++) {
        const int64_t start = site->log[i].start;
        for (int64_t at = from > start ? from : start; at < start + site->log[i].size;) {
            struct slice bytes;
            int64_t left;
            if (log_reader_bytes(&s->far, at, 1, &bytes, &left, NULL) || !bytes.n)
                break;
            for (size_t k = bytes.n; k-- > 0;)
                if (bytes.p[k]) {
                    last = at + (int64_t)k + 1;
                    break;
                }
            at += (int64_t)bytes.n;
            verify_tell(s->v, "commit log", at - site_log_min(site), site_log_limit(site) - site_log_min(site));
        }
    }
    return last;
}

/* ---- what is not a record ---- */

static int add_hole(struct verify *v, int64_t from, int64_t to, struct err *e)
{
    if (v->log.hole_n == HOLES_MAX)
        return err_set(e, E_TOOBIG, "more than %d damaged places in the log: restore it from a copy", HOLES_MAX);
    if (v->log.hole_n == v->log.hole_cap) {
        const size_t cap = v->log.hole_cap ? v->log.hole_cap * 2 : 16;
        struct hole *const holes = realloc(v->log.holes, cap * sizeof *holes);
        if (!holes)
            return err_set(e, E_NOMEM, "verify the log");
        v->log.holes = holes;
        v->log.hole_cap = cap;
    }
    v->log.holes[v->log.hole_n++] = (struct hole){from, to};
    return 0;
}

/* Whole records from pos on, for the report alone. */
static int64_t count_records(struct scan *s, int64_t pos)
{
    const int64_t limit = site_log_limit(&s->v->site);
    int64_t n = 0, left;
    while (pos >= 0 && pos < limit) {
        struct message m;
        const enum record_kind kind = log_reader_record(&s->far, pos, &m, &left, NULL);
        n += kind == RECORD_WHOLE;
        pos = kind == RECORD_WHOLE ? pos + m.total_size
              : kind == RECORD_BLANK ? pos + left
                                     : log_reader_find(&s->far, pos + 1);
    }
    return n;
}

static void report_tail(struct scan *s, const char *path, const char *why)
{
    struct verify *const v = s->v;
    const int64_t last = find_last_byte(s, s->pos);
    v->log.dropped = last - s->pos;
    if (v->log.dropped)
        report_add(&v->report, unless_crashed(v, true), LOG_TAIL, path, in_file(v, s->pos),
                   "%lld bytes behind the last whole record (physical offset %lld): %s", (long long)v->log.dropped,
                   (long long)s->pos, why);
}

static int judge_bad(struct scan *s, const struct err *why, bool *ended, struct err *e)
{
    struct verify *const v = s->v;
    struct message m;
    int64_t left;
    const int64_t next = log_reader_find(&s->far, s->pos + 1);
    char *const path = path_at(v, s->pos);
    int rc = path ? 0 : err_set(e, E_NOMEM, "verify the log");
    if (!rc && next < 0) {
        report_tail(s, path, why->text);
        *ended = true;
    } else if (!rc && v->site.crashed && log_reader_record(&s->far, next, &m, &left, NULL) == RECORD_WHOLE &&
               m.store_timestamp >= v->checkpoint.physic_ts && !v->log.hole_n) {
        v->log.given_up_records = count_records(s, next);
        v->log.dropped = find_last_byte(s, s->pos) - s->pos;
        report_add(&v->report, NOTE, LOG_TAIL, path, in_file(v, s->pos),
                   "torn by a power cut (physical offset %lld): %s. The next start ends the log here and drops %lld "
                   "whole records behind it, none of which was known to be on disk", (long long)s->pos, why->text,
                   (long long)v->log.given_up_records);
        *ended = true;
    } else if (!rc) {
        report_add(&v->report, DAMAGE, LOG_DAMAGED, path, in_file(v, s->pos),
                   "no record (physical offset %lld): %s. Whole records follow from physical offset %lld on, "
                   "%lld bytes further", (long long)s->pos, why->text, (long long)next, (long long)(next - s->pos));
        rc = add_hole(v, s->pos, next, e);
        s->pos = next;
    }
    free(path);
    return rc;
}

/* Zeros where a record would begin: the end, unless something follows. */
static int judge_zeros(struct scan *s, bool *ended, struct err *e)
{
    const struct err why = {.code = E_CORRUPT, .text = "zeros where a record should begin"};
    *ended = find_last_byte(s, s->pos) == s->pos;
    return *ended ? 0 : judge_bad(s, &why, ended, e);
}

static bool is_zero(struct scan *s)
{
    struct slice in;
    int64_t left;
    static const char zeros[MESSAGE_BLANK_SIZE];
    return !log_reader_bytes(&s->r, s->pos, sizeof zeros, &in, &left, NULL) && in.n >= sizeof zeros &&
           !memcmp(in.p, zeros, sizeof zeros);
}

/* ---- records ---- */

/* A record that almost ends with its checksum: brokers do not know it for one, and take the record. */
static bool checksum_is_damaged(const struct message *m)
{
    char want[MESSAGE_PROP_CRC_SIZE + 1], digits[sizeof((struct disk_prop_crc *)0)->digits];
    const struct disk_prop_crc *const d =
        (const struct disk_prop_crc *)(m->properties.p + m->properties.n - sizeof *d);
    if (m->properties.n < sizeof *d || message_has_prop_crc(m))
        return false;
    const char *const end = (const char *)d;
    uint32_t crc = crc32_body(slice_of(end + sizeof *d - m->total_size, (size_t)m->total_size - sizeof *d));
    for (size_t i = 0; i < sizeof digits; i++, crc /= 10)
        digits[i] = (char)('0' + crc % 10);
    snprintf(want, sizeof want, PROP_CRC32 "\x01%.10s\x02", digits);
    size_t same = 0;
    for (size_t i = 0; i < sizeof *d; i++)
        same += end[i] == want[i];
    return same >= sizeof *d / 2;
}

static int on_record(struct scan *s, const struct message *m, struct err *e)
{
    struct verify *const v = s->v;
    v->log.records++;
    v->log.behind_records += v->log.hole_n > 0;
    v->log.with_checksum += message_has_prop_crc(m);
    if (checksum_is_damaged(m)) {
        char *const path = path_at(v, s->pos);
        report_add(&v->report, DAMAGE, LOG_CHECKSUM, path, in_file(v, s->pos),
                   "the record's checksum property is damaged (physical offset %lld)", (long long)s->pos);
        free(path);
    }
    if (m->store_timestamp < v->log.last_ts) {
        char *const path = path_at(v, s->pos);
        report_add(&v->report, NOTE, LOG_TIME, path, in_file(v, s->pos),
                   "store time %lld, that of the record before is %lld", (long long)m->store_timestamp,
                   (long long)v->log.last_ts);
        free(path);
    }
    v->log.last_ts = m->store_timestamp;
    if (m->store_timestamp > v->log.max_ts)
        v->log.max_ts = m->store_timestamp;
    int rc = record_takes_unit(m) ? verify_queue_record(v, m, e) : 0;
    if (!rc)
        rc = verify_index_record(v, m, e);
    return rc;
}

static int step(struct scan *s, bool *ended, struct err *e)
{
    struct message m;
    struct err why;
    int64_t left;
    int rc = 0;
    switch (log_reader_record(&s->r, s->pos, &m, &left, &why)) {
    case RECORD_WHOLE:
        rc = on_record(s, &m, e);
        s->pos += m.total_size;
        break;
    case RECORD_BLANK:
        s->pos += left;
        break;
    case RECORD_BAD:
        if (why.code == E_NOMEM)
            return err_set(e, E_NOMEM, "%s", why.text);
        rc = is_zero(s) ? judge_zeros(s, ended, e) : judge_bad(s, &why, ended, e);
        break;
    }
    if (s->pos - s->told > PROGRESS) {
        s->told = s->pos;
        verify_tell(s->v, "commit log", s->pos - site_log_min(&s->v->site),
                    site_log_limit(&s->v->site) - site_log_min(&s->v->site));
    }
    return rc;
}

int verify_log(struct verify *v, struct err *e)
{
    struct scan s = {.v = v, .pos = site_log_min(&v->site), .told = site_log_min(&v->site)};
    const int64_t limit = site_log_limit(&v->site);
    bool ended = false;
    int rc = check_files(v, e);
    log_reader_init(&s.r, &v->site, SEARCH);
    log_reader_init(&s.far, &v->site, SEARCH);
    verify_tell(v, "commit log", 0, limit - s.pos);
    while (!rc && !ended && s.pos < limit)
        rc = step(&s, &ended, e);
    v->log.end = s.pos;
    if (!rc)
        verify_tell(v, "commit log", limit - site_log_min(&v->site), limit - site_log_min(&v->site));
    log_reader_fini(&s.far);
    log_reader_fini(&s.r);
    return rc;
}
