/* What a repair gives up is kept first; what it fills in is harmless.
 *
 * Owns: the directory ROOT/repair-<time>/. Runs on: the one thread of the tool.
 *
 * Filler. A damaged range in front of whole records cannot be left: a reader that meets it ends the log
 * there. Nor can it be taken out, since every record says where it stands. It is filled with records that
 * are whole for this broker and for RocketMQ and mean nothing to either: transaction type "rolled back",
 * which gets no queue offset, no unit and no index entry, topic TOPIC_FILLER, a body of zeros, and the
 * checksum of the record where there is room for it. At the end of a file a blank record does.
 *
 * Failure modes: a full disk or a failed sync ends the repair before anything was replaced. */
#include "mqstore/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOPIC_FILLER "HALFPENNY_REPAIR"

enum { CHUNK = 1024 * 1024, FILLER_MAX = 1024 * 1024 };

int evidence_open(struct evidence *v, const struct site *s, const struct clock *clock, struct err *e)
{
    const time_t seconds = (time_t)(clock_wall(clock) / 1000);
    char name[64];
    struct tm t;
    localtime_r(&seconds, &t);
    snprintf(name, sizeof name, "repair-%04d%02d%02d-%02d%02d%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
             t.tm_min, t.tm_sec);
    *v = (struct evidence){.fs = s->fs, .dir = path_join(s->root, name)};
    if (!v->dir)
        return err_set(e, E_NOMEM, "repair");
    int rc = s->fs->mkdir(s->fs, v->dir, e);
    if (!rc)
        rc = s->fs->dirsync(s->fs, s->root, e);
    if (rc)
        evidence_close(v);
    return rc;
}

void evidence_close(struct evidence *v)
{
    free(v->dir);
    v->dir = NULL;
}

int evidence_write(struct evidence *v, const char *name, struct slice content, struct err *e)
{
    char *const path = path_join(v->dir, name);
    const int rc = path ? fs_write_atomic(v->fs, path, content, e) : err_set(e, E_NOMEM, "repair");
    free(path);
    return rc;
}

static bool all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* Holes stay holes: a log file is mostly allocated, not written. */
static int copy_bytes(struct fs *fs, struct fs_file *in, struct fs_file *out, int64_t from, int64_t to, char *chunk,
                      struct err *e)
{
    int64_t size;
    int rc = fs->size(in, &size, e);
    const int64_t end = to < size ? to : size;
    for (int64_t at = from; !rc && at < end;) {
        const size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        const ssize_t n = fs->pread(in, chunk, want, at, NULL);
        if (n > 0 && !all_zero(chunk, (size_t)n))
            rc = fs_write(out, fs, chunk, (size_t)n, at - from, e);
        at += n > 0 ? n : (ssize_t)want;
    }
    if (!rc && end > from)
        rc = fs->truncate(out, end - from, e);
    return rc ? rc : fs->sync(out, e);
}

static int copy_file(struct fs *fs, const char *path, int64_t from, int64_t to, const char *target, struct err *e)
{
    struct fs_file *in, *out;
    char *const chunk = malloc(CHUNK);
    if (!chunk)
        return err_set(e, E_NOMEM, "repair");
    int rc = fs->open(fs, path, FS_READ, &in, e);
    if (!rc) {
        rc = fs->open(fs, target, FS_WRITE | FS_CREATE | FS_EXCL, &out, e);
        if (!rc) {
            rc = copy_bytes(fs, in, out, from, to, chunk, e);
            fs->close(out);
        }
        fs->close(in);
    }
    free(chunk);
    return rc;
}

int evidence_copy(struct evidence *v, const char *path, int64_t from, int64_t to, const char *name, struct err *e)
{
    char *const target = path_join(v->dir, name);
    int rc = target ? copy_file(v->fs, path, from, to, target, e) : err_set(e, E_NOMEM, "repair");
    if (!rc)
        rc = v->fs->dirsync(v->fs, v->dir, e);
    free(target);
    return rc;
}

static int sync_parent(struct fs *fs, const char *path, struct err *e)
{
    char *const parent = slice_dup(slice_str(path));
    char *const slash = parent ? strrchr(parent, '/') : NULL;
    if (!slash) {
        free(parent);
        return err_set(e, E_NOMEM, "repair");
    }
    *slash = 0;
    const int rc = fs->dirsync(fs, *parent ? parent : "/", e);
    free(parent);
    return rc;
}

/* Over the border of a file system there is no rename: the copy is synced before the file goes. */
static int move_path(struct fs *fs, const char *from, const char *to, struct err *e)
{
    struct fs_stat st;
    int rc = fs->stat(fs, from, &st, e);
    if (rc)
        return rc;
    rc = fs->rename(fs, from, to, e);
    if (rc && !st.is_dir) {
        rc = copy_file(fs, from, 0, st.size, to, e);
        if (!rc)
            rc = sync_parent(fs, to, e);
        if (!rc)
            rc = fs->unlink(fs, from, e);
    }
    if (!rc)
        rc = sync_parent(fs, to, e);
    return rc ? rc : sync_parent(fs, from, e);
}

int evidence_move(struct evidence *v, const char *path, const char *folder, const char *name, struct err *e)
{
    char *const dir = path_join(v->dir, folder), *const target = dir ? path_join(dir, name) : NULL;
    int rc = target ? fs_mkdirs(v->fs, dir, e) : err_set(e, E_NOMEM, "repair");
    if (!rc)
        rc = move_path(v->fs, path, target, e);
    free(target);
    free(dir);
    return rc == E_NOTFOUND ? 0 : rc;
}

/* ---- filler ---- */

/* A record of exactly `size` bytes. */
static int encode_filler(char *out, int64_t pos, int64_t size, int64_t store_ts, struct err *e)
{
    struct message m = {.body_crc = -1, .phys_offset = pos, .sys_flag = SYSFLAG_TX_ROLLBACK,
                        .born_timestamp = store_ts, .born_host = {.len = 4}, .store_timestamp = store_ts,
                        .store_host = {.len = 4}, .topic = SLICE_LIT(TOPIC_FILLER), .prop_crc = true};
    size_t n;
    if (message_prepare(&m, &n) || (int64_t)n > size) {
        m.prop_crc = false;
        m.topic.n = 1;
        if (message_prepare(&m, &n) || (int64_t)n > size)
            return err_set(e, E_CORRUPT, "%lld damaged bytes at physical offset %lld are too few for a filler",
                           (long long)size, (long long)pos);
    }
    char *const zeros = calloc(1, (size_t)size);
    if (!zeros)
        return err_set(e, E_NOMEM, "repair");
    m.body = slice_of(zeros, (size_t)size - n);
    const int rc = message_prepare(&m, &n);
    if (!rc) {
        message_encode(&m, out, n);
        message_patch(out, 0, pos, store_ts);
    }
    free(zeros);
    return rc ? err_set(e, rc, "repair: filler") : 0;
}

static int fill_records(struct fs *fs, struct fs_file *f, int64_t start, int64_t from, int64_t to, int64_t store_ts,
                        struct err *e)
{
    char *const out = malloc((size_t)2 * FILLER_MAX);
    int rc = out ? 0 : err_set(e, E_NOMEM, "repair");
    while (!rc && from < to) {
        const int64_t n = to - from < 2 * FILLER_MAX ? to - from : FILLER_MAX;
        rc = encode_filler(out, from, n, store_ts, e);
        if (!rc)
            rc = fs_write(f, fs, out, (size_t)n, from - start, e);
        from += n;
    }
    free(out);
    return rc;
}

static int fill_blank(struct fs *fs, struct fs_file *f, int64_t start, int64_t from, int64_t to, struct err *e)
{
    struct disk_blank d;
    if (to - from < (int64_t)sizeof d)
        return 0;
    be32_put(d.left, (uint32_t)(to - from));
    be32_put(d.magic, (uint32_t)MESSAGE_MAGIC_BLANK);
    return fs_write(f, fs, &d, sizeof d, from - start, e);
}

int filler_write(const struct site *s, int64_t from, int64_t to, int64_t store_ts, struct err *e)
{
    const int64_t start = from / s->log_file_size * s->log_file_size, end = start + s->log_file_size;
    struct fs *const fs = s->fs;
    struct fs_file *f;
    char *const path = path_join_start(s->log_dir, start);
    int rc = path ? fs->open(fs, path, FS_WRITE | FS_CREATE, &f, e) : err_set(e, E_NOMEM, "repair");
    if (!rc) {
        rc = fs->allocate(f, 0, s->log_file_size, false, e);
        if (!rc)
            rc = to == end ? fill_blank(fs, f, start, from, to, e) : fill_records(fs, f, start, from, to, store_ts, e);
        if (!rc)
            rc = fs->sync(f, e);
        fs->close(f);
    }
    if (!rc)
        rc = fs->dirsync(fs, s->log_dir, e);
    free(path);
    return rc;
}
