/* Reading log records by physical offset, and finding the next one behind bytes that are none.
 *
 * Owns: the window on one log file at a time. Runs on: the one thread of the tool.
 *
 * Happy path: forward, record after record, each judged by store/record.c.
 *
 * Searching: a record may begin where one of its two magics stands 4 bytes further. It is believed when it
 * is whole: its own physical offset and its checksums make a chance hit practically impossible. */
#include "mqstore/log_reader.h"

#include <stdlib.h>

enum { SEARCH = 1024 * 1024 };

void log_reader_init(struct log_reader *r, const struct site *s, size_t ahead)
{
    r->s = s;
    r->file = -1;
    window_init(&r->w, s->fs, ahead);
}

void log_reader_fini(struct log_reader *r)
{
    window_fini(&r->w);
}

int log_reader_bytes(struct log_reader *r, int64_t pos, size_t want, struct slice *out, int64_t *left,
                     struct err *e)
{
    const struct site *const s = r->s;
    const int i = site_log_file(s, pos);
    if (i < 0)
        return err_set(e, E_NOTFOUND, "no log file holds physical offset %lld", (long long)pos);
    if (i != r->file) {
        char *const path = path_join_start(s->log_dir, s->log[i].start);
        r->file = -1;
        const int rc = path ? window_open(&r->w, path, e) : err_set(e, E_NOMEM, "read the log");
        free(path);
        if (rc)
            return rc;
        r->file = i;
    }
    *left = s->log[i].start + s->log_file_size - pos;
    const int rc = window_get(&r->w, pos - s->log[i].start, (int64_t)want < *left ? want : (size_t)*left, out, e);
    if (!rc && (int64_t)out->n > *left)
        out->n = (size_t)*left;
    return rc;
}

enum record_kind log_reader_record(struct log_reader *r, int64_t pos, struct message *m, int64_t *left,
                                   struct err *e)
{
    struct slice in;
    struct err unread;
    if (!e)
        e = &unread;
    if (log_reader_bytes(r, pos, MESSAGE_BLANK_SIZE, &in, left, e))
        return RECORD_BAD;
    enum record_kind kind = record_judge(in, *left, pos, MESSAGE_CHECK_CRC, m, e);
    if (kind != RECORD_BAD || e->code != E_AGAIN || in.n < MESSAGE_BLANK_SIZE)
        return kind;
    const uint32_t total = be32_get(in.p);
    if (total > *left) {
        err_set(e, E_CORRUPT, "record: says that it has %u bytes, its file has %lld left", total, (long long)*left);
        return RECORD_BAD;
    }
    if (log_reader_bytes(r, pos, total, &in, left, e))
        return RECORD_BAD;
    kind = record_judge(in, *left, pos, MESSAGE_CHECK_CRC, m, e);
    if (kind == RECORD_BAD && e->code == E_AGAIN)
        err_set(e, E_CORRUPT, "record: the file ends after %zu of its %u bytes", in.n, total);
    return kind;
}

/* ---- searching ---- */

static bool plausible_magic(const char *p)
{
    const uint32_t magic = be32_get(p);
    return magic == (uint32_t)MESSAGE_MAGIC_V1 || magic == (uint32_t)MESSAGE_MAGIC_V2;
}

/* The first place in [*at, ...) of the bytes where a record might begin. */
static bool find_magic(struct slice bytes, size_t *at)
{
    const size_t magic_at = offsetof(struct disk_record_head, magic);
    for (; *at + MESSAGE_SIZE_MIN <= bytes.n; ++*at) {
        const char *const hit = memchr(bytes.p + *at + magic_at, (char)0xDA, bytes.n - *at - magic_at);
        if (!hit || (size_t)(hit - bytes.p) - magic_at + MESSAGE_SIZE_MIN > bytes.n)
            break;
        *at = (size_t)(hit - bytes.p) - magic_at;
        if (plausible_magic(hit))
            return true;
    }
    return false;
}

static int64_t find_in_file(struct log_reader *r, int64_t from, int64_t file_end)
{
    struct message m;
    int64_t left;
    while (from + MESSAGE_SIZE_MIN <= file_end) {
        struct slice bytes;
        size_t at = 0;
        if (log_reader_bytes(r, from, SEARCH, &bytes, &left, NULL)) {
            from += SEARCH;
            continue;
        }
        if (bytes.n > SEARCH)
            bytes.n = SEARCH;
        if (find_magic(bytes, &at)) {
            from += (int64_t)at;
            if (log_reader_record(r, from, &m, &left, NULL) == RECORD_WHOLE)
                return from;
            from++;
        } else if (bytes.n < SEARCH) {
            return -1;
        } else {
            from += SEARCH - (MESSAGE_SIZE_MIN - 1);
        }
    }
    return -1;
}

int64_t log_reader_find(struct log_reader *r, int64_t from)
{
    const struct site *const s = r->s;
    for (int i = 0; i < s->log_n; i++) {
        const int64_t start = s->log[i].start, end = start + s->log_file_size;
        const int64_t found = end > from ? find_in_file(r, from > start ? from : start, end) : -1;
        if (found >= 0)
            return found;
    }
    return -1;
}
