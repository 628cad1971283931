/* A disk in memory that forgets what was not synced: the methods of the table.
 *
 * Owns: the disk and its open files. Inodes are in fs_sim_inode.c, directories in fs_sim_dir.c, the
 * crash in fs_sim_crash.c; fs_sim_priv.h is what they share.
 * Runs on: any thread, under one lock. Mapped bytes are read and written without it, as with a real
 * mapping.
 *
 * The model: each thing exists twice, as programs see it now (live) and as the platter has it
 * (synced). A file's content and size become durable by datasync, sync and map_sync, a name by the
 * dirsync of its directory. fs_sim_crash then decides what becomes of the difference.
 *
 * Failure modes: those of the system calls, with the same codes and words as fs_real (one test runs
 * over both); E_NOSPC when the pages of a write pass the capacity, after the part that fits;
 * E_TOOBIG beyond 2 GiB a file; E_IO on files opened before a crash. Paths with ".." are refused:
 * nothing here needs them, and a path made of a peer's words must not have them.
 *
 * Invariants: 1. an inode lives while an entry (live or synced), an op or an open file refers to
 * it; 2. only a crash changes the generation, and a file acts only in the one it was opened in. */
#include "base/fs_sim_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"

struct sim_file {
    struct fs_sim *sim;
    struct inode *in;
    int flags, maps;
    uint64_t generation;
    char path[];
};

static struct fs_sim *sim_of(struct fs *fs)
{
    return (struct fs_sim *)(void *)fs; /* its first member */
}

static struct sim_file *sim_file(struct fs_file *f)
{
    return (struct sim_file *)(void *)f;
}

/* ---- methods of paths ---- */

static int open_inode(struct fs_sim *s, const char *path, int flags, struct inode **out,
                      struct err *e)
{
    struct inode *dir, *in;
    char name[SIM_NAME_MAX + 1];
    int why = dir_walk(s, path, &dir, name, &in);
    if (!why && !in && !(flags & FS_CREATE))
        why = ENOENT;
    if (!why && in && (flags & FS_CREATE) && (flags & FS_EXCL))
        why = EEXIST;
    if (!why && in && in->is_dir && (flags & (FS_WRITE | FS_CREATE)))
        why = EISDIR;
    if (why)
        return err_sys(e, why, "open %s", path);
    if (in) {
        inode_ref(in);
    } else {
        in = inode_new(false);
        dir_link(s, dir, name, in);
    }
    if ((flags & FS_TRUNC) && in->size)
        inode_set_size(s, in, 0);
    *out = in;
    return 0;
}

static int sim_open(struct fs *fs, const char *path, int flags, struct fs_file **out, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    size_t n = strlen(path);
    struct sim_file *f = malloc(sizeof *f + n + 1);
    if (!f)
        return err_set(e, E_NOMEM, "open %s", path);
    pthread_mutex_lock(&s->lock);
    *f = (struct sim_file){.sim = s, .flags = flags, .generation = s->generation};
    memcpy(f->path, path, n + 1);
    int rc = open_inode(s, path, flags, &f->in, e);
    if (!rc) {
        inode_use(s, f->in);
        s->open_files++;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc)
        free(f);
    else
        *out = (struct fs_file *)(void *)f;
    return rc;
}

static int sim_rename(struct fs *fs, const char *from, const char *to, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *from_dir, *to_dir, *in, *replaced;
    char from_name[SIM_NAME_MAX + 1], to_name[SIM_NAME_MAX + 1];
    pthread_mutex_lock(&s->lock);
    int why = dir_walk(s, from, &from_dir, from_name, &in), rc = 0;
    if (!why)
        why = dir_walk(s, to, &to_dir, to_name, &replaced);
    if (!why && !in)
        why = ENOENT;
    if (!why && (!from_dir || !to_dir))
        why = EBUSY;
    if (!why && in != replaced)
        why = dir_may_replace(in, replaced, to_dir);
    if (why)
        rc = err_sys(e, why, "rename %s to %s", from, to);
    else if (in != replaced)
        dir_move(s, from_dir, from_name, in, to_dir, to_name, replaced);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int sim_remove(struct fs *fs, const char *path, bool dir_wanted, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *dir, *in;
    char name[SIM_NAME_MAX + 1];
    pthread_mutex_lock(&s->lock);
    int why = dir_walk(s, path, &dir, name, &in), rc = 0;
    if (!why && !in)
        why = ENOENT;
    if (!why && in->is_dir != dir_wanted)
        why = dir_wanted ? ENOTDIR : EISDIR;
    if (!why && !dir)
        why = EBUSY;
    if (!why && in->is_dir && map_count(in->entries))
        why = ENOTEMPTY;
    if (why)
        rc = err_sys(e, why, "%s %s", dir_wanted ? "remove directory" : "unlink", path);
    else
        dir_unlink(s, dir, name, in);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int sim_unlink(struct fs *fs, const char *path, struct err *e)
{
    return sim_remove(fs, path, false, e);
}

static int sim_rmdir(struct fs *fs, const char *path, struct err *e)
{
    return sim_remove(fs, path, true, e);
}

static int sim_mkdir(struct fs *fs, const char *path, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *dir, *in;
    char name[SIM_NAME_MAX + 1];
    pthread_mutex_lock(&s->lock);
    int why = dir_walk(s, path, &dir, name, &in), rc = 0;
    if (!why && in)
        why = EEXIST;
    if (why) {
        rc = err_sys(e, why, "create directory %s", path);
    } else {
        in = inode_new(true);
        dir_link(s, dir, name, in);
        inode_unref(in);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The inode at path, or the error. Needs the lock. */
static int find(struct fs_sim *s, const char *path, const char *verb, struct inode **in,
                struct err *e)
{
    struct inode *dir;
    char name[SIM_NAME_MAX + 1];
    int why = dir_walk(s, path, &dir, name, in);
    if (!why && !*in)
        why = ENOENT;
    return why ? err_sys(e, why, "%s %s", verb, path) : 0;
}

static int find_dir(struct fs_sim *s, const char *path, const char *verb, struct inode **in,
                    struct err *e)
{
    int rc = find(s, path, verb, in, e);
    return !rc && !(*in)->is_dir ? err_sys(e, ENOTDIR, "%s %s", verb, path) : rc;
}

static int sim_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *in;
    pthread_mutex_lock(&s->lock);
    int rc = find(s, path, "stat", &in, e);
    if (!rc)
        *out = (struct fs_stat){.size = in->size, .mtime_ms = in->mtime_ms, .is_dir = in->is_dir};
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int sim_list(struct fs *fs, const char *path, int (*each)(void *arg, const char *name),
                    void *arg, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *in;
    struct buf names;
    buf_init(&names, 0);
    pthread_mutex_lock(&s->lock);
    int rc = find_dir(s, path, "list", &in, e);
    for (struct map_iter it = {0}; !rc && map_next(in->entries, &it);) {
        buf_slice_add(&names, it.key);
        buf_char(&names, '\0');
    }
    pthread_mutex_unlock(&s->lock);
    if (!rc && buf_error(&names))
        rc = err_set(e, E_NOMEM, "list %s", path);
    for (size_t at = 0; !rc && at < names.n; at += strlen(names.p + at) + 1)
        rc = each(arg, names.p + at);
    buf_free(&names);
    return rc;
}

static int sim_dirsync(struct fs *fs, const char *path, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *in;
    pthread_mutex_lock(&s->lock);
    int rc = find_dir(s, path, "sync directory", &in, e);
    if (!rc)
        dir_sync(s, in);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int sim_space(struct fs *fs, const char *path, struct fs_space *out, struct err *e)
{
    struct fs_sim *s = sim_of(fs);
    struct inode *in;
    pthread_mutex_lock(&s->lock);
    int rc = find(s, path, "free space of", &in, e);
    if (!rc) {
        out->total_bytes = s->capacity ? s->capacity : INT64_C(1) << 40;
        out->avail_bytes = out->total_bytes > s->used ? out->total_bytes - s->used : 0;
        out->free_bytes = out->avail_bytes;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- methods of files ---- */

/* Locks the disk; E_IO when the file is from before a crash. The caller unlocks in either case. */
static int file_enter(struct sim_file *f, const char *verb, struct err *e)
{
    pthread_mutex_lock(&f->sim->lock);
    if (f->generation != f->sim->generation)
        return err_set(e, E_IO, "%s %s: opened before the crash", verb, f->path);
    return 0;
}

static void file_leave(struct sim_file *f)
{
    pthread_mutex_unlock(&f->sim->lock);
}

static void sim_close(struct fs_file *file)
{
    struct sim_file *f = sim_file(file);
    struct fs_sim *s = f->sim;
    MQ_ASSERT(f->maps == 0);
    pthread_mutex_lock(&s->lock);
    if (f->in->locked_by == f)
        f->in->locked_by = NULL;
    if (f->generation == s->generation)
        inode_unuse(s, f->in);
    inode_unref(f->in);
    s->open_files--;
    pthread_mutex_unlock(&s->lock);
    free(f);
}

static ssize_t sim_pread(struct fs_file *file, void *p, size_t n, int64_t off, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "read", e);
    if (!rc && (off < 0 || f->in->is_dir))
        rc = err_sys(e, off < 0 ? EINVAL : EISDIR, "read %s at %lld", f->path, (long long)off);
    ssize_t got = rc;
    if (!rc) {
        int64_t left = f->in->size > off ? f->in->size - off : 0;
        got = n < (uint64_t)left ? (ssize_t)n : (ssize_t)left;
        if (got)
            memcpy(p, f->in->live.p + off, (size_t)got);
    }
    file_leave(f);
    return got;
}

static int write_one(struct sim_file *f, const void *p, int64_t n, int64_t off, struct err *e)
{
    struct inode *in = f->in;
    if (n > SIM_FILE_MAX || off > SIM_FILE_MAX - n)
        return err_set(e, E_TOOBIG, "write %s: larger than 2 GiB", f->path);
    int64_t fits = inode_claim(f->sim, in, off, n);
    if (fits) {
        inode_reach(in, off + fits);
        memcpy(in->live.p + off, p, (size_t)fits);
        inode_mark_dirty(in, off, off + fits);
        if (off + fits > in->size)
            in->size = off + fits;
    }
    return fits < n ? err_sys(e, ENOSPC, "write %s at %lld", f->path, (long long)off) : 0;
}

static int sim_pwritev(struct fs_file *file, const struct iovec *iov, int iov_n, int64_t off,
                       struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "write", e);
    if (!rc && (off < 0 || !(f->flags & FS_WRITE)))
        rc = err_sys(e, off < 0 ? EINVAL : EBADF, "write %s at %lld", f->path, (long long)off);
    if (!rc && (f->flags & FS_APPEND))
        off = f->in->size;
    for (int i = 0; i < iov_n && !rc; i++) {
        int64_t n = (int64_t)iov[i].iov_len;
        rc = n ? write_one(f, iov[i].iov_base, n, off, e) : 0;
        off += rc ? 0 : n;
    }
    file_leave(f);
    return rc;
}

static int sim_sync(struct fs_file *file, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "sync", e);
    if (!rc && !f->in->is_dir)
        inode_sync(f->in);
    file_leave(f);
    return rc;
}

static void sync_tree(struct inode *in)
{
    if (!in->is_dir) {
        inode_sync(in);
        return;
    }
    for (struct map_iter it = {0}; map_next(in->entries, &it);)
        sync_tree(it.value);
}

static int sim_sync_all(struct fs_file *file, struct err *e)
{
    struct sim_file *f = sim_file(file);
    struct fs_sim *s = f->sim;
    int rc = file_enter(f, "sync the file system of", e);
    if (!rc) {
        sync_tree(s->root);
        LIST_FOREACH_SAFE(l, next, &s->ops) {
            op_apply(LIST_ENTRY(l, struct op, link));
            op_free(LIST_ENTRY(l, struct op, link));
        }
    }
    file_leave(f);
    return rc;
}

static int sim_truncate(struct fs_file *file, int64_t size, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "truncate", e);
    if (!rc && (size < 0 || !(f->flags & FS_WRITE)))
        rc = err_sys(e, EINVAL, "truncate %s to %lld", f->path, (long long)size);
    if (!rc && size > SIM_FILE_MAX)
        rc = err_set(e, E_TOOBIG, "truncate %s: larger than 2 GiB", f->path);
    if (!rc)
        inode_set_size(f->sim, f->in, size);
    file_leave(f);
    return rc;
}

static int sim_allocate(struct fs_file *file, int64_t off, int64_t n, bool keep_size, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "allocate", e);
    if (!rc && (off < 0 || n <= 0 || !(f->flags & FS_WRITE)))
        rc = err_sys(e, EINVAL, "allocate %lld bytes for %s", (long long)n, f->path);
    if (!rc && (n > SIM_FILE_MAX || off > SIM_FILE_MAX - n))
        rc = err_set(e, E_TOOBIG, "allocate %s: larger than 2 GiB", f->path);
    if (!rc && inode_claim(f->sim, f->in, off, n) < n)
        rc = err_sys(e, ENOSPC, "allocate %lld bytes for %s", (long long)n, f->path);
    if (!rc && !keep_size && off + n > f->in->size)
        inode_set_size(f->sim, f->in, off + n);
    file_leave(f);
    return rc;
}

static int sim_size(struct fs_file *file, int64_t *out, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "stat", e);
    if (!rc)
        *out = f->in->size;
    file_leave(f);
    return rc;
}

static int sim_map(struct fs_file *file, size_t n, bool writable, void **out, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "map", e);
    if (!rc && (!n || n > (uint64_t)f->in->size))
        rc = err_set(e, E_RANGE, "map %s: %zu bytes of a file of %lld", f->path, n,
                     (long long)f->in->size);
    if (!rc && writable && !(f->flags & FS_WRITE))
        rc = err_sys(e, EACCES, "map %s", f->path);
    if (!rc) {
        f->maps++;
        f->in->maps++;
        f->in->map_dirty |= writable;
        *out = f->in->live.p;
    }
    file_leave(f);
    return rc;
}

static int sim_map_sync(struct fs_file *file, void *p, size_t off, size_t n, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "sync the mapping of", e);
    if (!rc &&
        (p != f->in->live.p || off > (uint64_t)f->in->size || n > (uint64_t)f->in->size - off))
        rc = err_sys(e, ENOMEM, "sync the mapping of %s", f->path);
    if (!rc) {
        int64_t from = (int64_t)(off / SIM_PAGE * SIM_PAGE);
        int64_t to = (int64_t)((off + n + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE);
        inode_sync_range(f->in, from, to);
        if (f->in->synced_size < f->in->size)
            f->in->synced_size = f->in->size;
    }
    file_leave(f);
    return rc;
}

static int sim_resident(struct fs_file *file, const void *p, size_t off, size_t n)
{
    (void)file;
    (void)p;
    (void)off;
    (void)n;
    return 1;
}

static void sim_unmap(struct fs_file *file, void *p, size_t n)
{
    struct sim_file *f = sim_file(file);
    (void)n;
    pthread_mutex_lock(&f->sim->lock);
    MQ_ASSERT(f->maps > 0 && p == f->in->live.p);
    f->maps--;
    f->in->maps--;
    pthread_mutex_unlock(&f->sim->lock);
}

static int sim_lock(struct fs_file *file, struct err *e)
{
    struct sim_file *f = sim_file(file);
    int rc = file_enter(f, "lock", e);
    if (!rc && f->in->locked_by && f->in->locked_by != f)
        rc = err_set(e, E_LOCKED, "%s is locked: another process uses it", f->path);
    if (!rc)
        f->in->locked_by = f;
    file_leave(f);
    return rc;
}

/* ---- the disk ---- */

struct fs_sim *fs_sim_new(int64_t capacity)
{
    struct fs_sim *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->root = inode_new(true);
    s->fs = (struct fs){
        .open = sim_open, .close = sim_close, .pread = sim_pread, .pread_now = sim_pread,
        .pwritev = sim_pwritev, .datasync = sim_sync, .sync = sim_sync, .sync_all = sim_sync_all,
        .truncate = sim_truncate, .allocate = sim_allocate, .size = sim_size, .map = sim_map,
        .map_sync = sim_map_sync, .resident = sim_resident, .unmap = sim_unmap,
        .lock = sim_lock, .rename = sim_rename, .unlink = sim_unlink, .rmdir = sim_rmdir,
        .mkdir = sim_mkdir, .stat = sim_stat, .list = sim_list, .dirsync = sim_dirsync,
        .space = sim_space,
    };
    s->capacity = capacity;
    list_init(&s->ops);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void fs_sim_free(struct fs_sim *s)
{
    if (!s)
        return;
    MQ_ASSERT(s->open_files == 0);
    LIST_FOREACH_SAFE(l, next, &s->ops)
        op_free(LIST_ENTRY(l, struct op, link));
    inode_unref(s->root);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct fs *fs_sim_fs(struct fs_sim *s)
{
    return &s->fs;
}

void fs_sim_set_capacity(struct fs_sim *s, int64_t capacity)
{
    pthread_mutex_lock(&s->lock);
    s->capacity = capacity;
    pthread_mutex_unlock(&s->lock);
}

int64_t fs_sim_used(struct fs_sim *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t used = s->used;
    pthread_mutex_unlock(&s->lock);
    return used;
}
