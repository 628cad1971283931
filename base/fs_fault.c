/* Faults on top of a file system.
 *
 * Owns: its rules and counters, and one small wrapper per open file.
 * Runs on: any thread; the rules are read and counted under a lock that is not held while a call
 * sleeps, runs a hook or reaches the file system below.
 *
 * Happy path of a test: fs_fault_init over fs_real or fs_sim, arm {.ops = FS_OP_WRITE, .nth = 3,
 * .error = E_NOSPC, .short_bytes = 100}, run, look at what the code made of it. Run in a loop with
 * n = 1, 2, ... until fs_fault_fired stays 0, every call of a scenario has failed once.
 *
 * A call that fails with E_IO or E_NOSPC does not reach the file system below, except for the
 * short_bytes of a write. So over fs_sim a failed sync leaves the bytes un-synced, as a real one
 * may.
 *
 * Invariants: 1. every method counts itself exactly once per call; 2. close and unmap cannot fail;
 * 3. a rule acts on its nth matching call, and with for_ever on every one after it. */
#include "base/fs_fault.h"

#include <stdlib.h>

#include "base/clock.h"

struct fault_file {
    struct fs_fault *owner;
    struct fs_file *under;
    char path[];
};

static struct fault_file *fault_file(struct fs_file *f)
{
    return (struct fault_file *)(void *)f;
}

static struct fs_fault *fault_of(struct fs *fs)
{
    return (struct fs_fault *)(void *)fs; /* its first member */
}

static bool matches(const struct fs_fault_rule *r, unsigned op, const char *path)
{
    return (r->ops & op) && (!r->path_has || strstr(path, r->path_has));
}

/* Counts the call and finds what is to happen to it; {0} when nothing. */
static struct fs_fault_rule next_rule(struct fs_fault *f, unsigned op, const char *path)
{
    struct fs_fault_rule act = {0};
    pthread_mutex_lock(&f->lock);
    f->calls[__builtin_ctz(op)]++;
    for (int i = 0; i < f->rules_n; i++) {
        const struct fs_fault_rule *r = &f->rules[i].rule;
        if (!matches(r, op, path))
            continue;
        uint64_t seen = ++f->rules[i].seen, nth = r->nth ? r->nth : 1;
        if (!act.ops && (seen == nth || (r->for_ever && seen > nth)))
            act = *r;
    }
    f->fired += act.ops != 0;
    pthread_mutex_unlock(&f->lock);
    return act;
}

/* Returns the rule that acts on this call, its delay and hook already done. */
static struct fs_fault_rule enter(struct fs_fault *f, unsigned op, const char *path)
{
    struct fs_fault_rule act = next_rule(f, op, path);
    if (act.delay_ms > 0)
        clock_sleep(act.delay_ms);
    if (act.hook)
        act.hook(act.arg);
    return act;
}

static int injected(int code, const char *path, struct err *e)
{
    return err_set(e, code, "%s: injected: %s", path, err_text(code));
}

/* 0, or the error that the call has to return. */
static int check(struct fs_fault *f, unsigned op, const char *path, struct err *e)
{
    struct fs_fault_rule act = enter(f, op, path);
    return act.error ? injected(act.error, path, e) : 0;
}

static int check_file(struct fs_file *f, unsigned op, struct err *e)
{
    return check(fault_file(f)->owner, op, fault_file(f)->path, e);
}

/* ---- methods of files ---- */

static int fault_open(struct fs *fs, const char *path, int flags, struct fs_file **out,
                      struct err *e)
{
    struct fs_fault *owner = fault_of(fs);
    size_t n = strlen(path);
    int rc = check(owner, FS_OP_OPEN, path, e);
    if (rc)
        return rc;
    struct fault_file *f = malloc(sizeof *f + n + 1);
    if (!f)
        return err_set(e, E_NOMEM, "open %s", path);
    rc = owner->under->open(owner->under, path, flags, &f->under, e);
    if (rc) {
        free(f);
        return rc;
    }
    f->owner = owner;
    memcpy(f->path, path, n + 1);
    *out = (struct fs_file *)(void *)f;
    return 0;
}

static void fault_close(struct fs_file *f)
{
    fault_file(f)->owner->under->close(fault_file(f)->under);
    free(f);
}

static ssize_t fault_pread(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e)
{
    int rc = check_file(f, FS_OP_READ, e);
    return rc ? rc : fault_file(f)->owner->under->pread(fault_file(f)->under, p, n, off, e);
}

static ssize_t fault_pread_now(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e)
{
    int rc = check_file(f, FS_OP_READ_NOW, e);
    return rc ? rc : fault_file(f)->owner->under->pread_now(fault_file(f)->under, p, n, off, e);
}

/* Writes the first `bytes` of iov, vector by vector. */
static void write_part(struct fault_file *f, const struct iovec *iov, int iov_n, int64_t off,
                       size_t bytes)
{
    for (int i = 0; i < iov_n && bytes; i++) {
        struct iovec part = iov[i];
        if (part.iov_len > bytes)
            part.iov_len = bytes;
        if (part.iov_len && f->owner->under->pwritev(f->under, &part, 1, off, NULL))
            return;
        off += (int64_t)part.iov_len;
        bytes -= part.iov_len;
    }
}

static int fault_pwritev(struct fs_file *f, const struct iovec *iov, int iov_n, int64_t off,
                         struct err *e)
{
    struct fault_file *ff = fault_file(f);
    struct fs_fault_rule act = enter(ff->owner, FS_OP_WRITE, ff->path);
    if (!act.error)
        return ff->owner->under->pwritev(ff->under, iov, iov_n, off, e);
    write_part(ff, iov, iov_n, off, act.short_bytes);
    return injected(act.error, ff->path, e);
}

static int fault_datasync(struct fs_file *f, struct err *e)
{
    int rc = check_file(f, FS_OP_DATASYNC, e);
    return rc ? rc : fault_file(f)->owner->under->datasync(fault_file(f)->under, e);
}

static int fault_sync(struct fs_file *f, struct err *e)
{
    int rc = check_file(f, FS_OP_SYNC, e);
    return rc ? rc : fault_file(f)->owner->under->sync(fault_file(f)->under, e);
}

static int fault_sync_all(struct fs_file *f, struct err *e)
{
    int rc = check_file(f, FS_OP_SYNC_ALL, e);
    return rc ? rc : fault_file(f)->owner->under->sync_all(fault_file(f)->under, e);
}

static int fault_truncate(struct fs_file *f, int64_t size, struct err *e)
{
    int rc = check_file(f, FS_OP_TRUNCATE, e);
    return rc ? rc : fault_file(f)->owner->under->truncate(fault_file(f)->under, size, e);
}

static int fault_allocate(struct fs_file *f, int64_t off, int64_t n, bool keep_size, struct err *e)
{
    int rc = check_file(f, FS_OP_ALLOCATE, e);
    return rc ? rc
              : fault_file(f)->owner->under->allocate(fault_file(f)->under, off, n, keep_size, e);
}

static int fault_size(struct fs_file *f, int64_t *out, struct err *e)
{
    int rc = check_file(f, FS_OP_SIZE, e);
    return rc ? rc : fault_file(f)->owner->under->size(fault_file(f)->under, out, e);
}

static int fault_map(struct fs_file *f, size_t n, bool writable, void **out, struct err *e)
{
    int rc = check_file(f, FS_OP_MAP, e);
    return rc ? rc : fault_file(f)->owner->under->map(fault_file(f)->under, n, writable, out, e);
}

static int fault_map_sync(struct fs_file *f, void *p, size_t off, size_t n, struct err *e)
{
    int rc = check_file(f, FS_OP_MAP_SYNC, e);
    return rc ? rc : fault_file(f)->owner->under->map_sync(fault_file(f)->under, p, off, n, e);
}

static int fault_resident(struct fs_file *f, const void *p, size_t off, size_t n)
{
    return !check_file(f, FS_OP_RESIDENT, NULL) &&
           fault_file(f)->owner->under->resident(fault_file(f)->under, p, off, n);
}

static void fault_unmap(struct fs_file *f, void *p, size_t n)
{
    fault_file(f)->owner->under->unmap(fault_file(f)->under, p, n);
}

static int fault_lock(struct fs_file *f, struct err *e)
{
    int rc = check_file(f, FS_OP_LOCK, e);
    return rc ? rc : fault_file(f)->owner->under->lock(fault_file(f)->under, e);
}

/* ---- methods of paths ---- */

static int fault_rename(struct fs *fs, const char *from, const char *to, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_RENAME, to, e);
    return rc ? rc : fault_of(fs)->under->rename(fault_of(fs)->under, from, to, e);
}

static int fault_unlink(struct fs *fs, const char *path, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_UNLINK, path, e);
    return rc ? rc : fault_of(fs)->under->unlink(fault_of(fs)->under, path, e);
}

static int fault_rmdir(struct fs *fs, const char *path, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_RMDIR, path, e);
    return rc ? rc : fault_of(fs)->under->rmdir(fault_of(fs)->under, path, e);
}

static int fault_mkdir(struct fs *fs, const char *path, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_MKDIR, path, e);
    return rc ? rc : fault_of(fs)->under->mkdir(fault_of(fs)->under, path, e);
}

static int fault_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_STAT, path, e);
    return rc ? rc : fault_of(fs)->under->stat(fault_of(fs)->under, path, out, e);
}

static int fault_list(struct fs *fs, const char *path, int (*each)(void *arg, const char *name),
                      void *arg, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_LIST, path, e);
    return rc ? rc : fault_of(fs)->under->list(fault_of(fs)->under, path, each, arg, e);
}

static int fault_dirsync(struct fs *fs, const char *path, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_DIRSYNC, path, e);
    return rc ? rc : fault_of(fs)->under->dirsync(fault_of(fs)->under, path, e);
}

static int fault_space(struct fs *fs, const char *path, struct fs_space *out, struct err *e)
{
    int rc = check(fault_of(fs), FS_OP_SPACE, path, e);
    return rc ? rc : fault_of(fs)->under->space(fault_of(fs)->under, path, out, e);
}

/* ---- the rules ---- */

void fs_fault_init(struct fs_fault *f, struct fs *under)
{
    *f = (struct fs_fault){
        .fs =
            {
                .open = fault_open,
                .close = fault_close,
                .pread = fault_pread,
                .pread_now = fault_pread_now,
                .pwritev = fault_pwritev,
                .datasync = fault_datasync,
                .sync = fault_sync,
                .sync_all = fault_sync_all,
                .truncate = fault_truncate,
                .allocate = fault_allocate,
                .size = fault_size,
                .map = fault_map,
                .map_sync = fault_map_sync,
                .resident = fault_resident,
                .unmap = fault_unmap,
                .lock = fault_lock,
                .rename = fault_rename,
                .unlink = fault_unlink,
                .rmdir = fault_rmdir,
                .mkdir = fault_mkdir,
                .stat = fault_stat,
                .list = fault_list,
                .dirsync = fault_dirsync,
                .space = fault_space,
            },
        .under = under,
    };
    pthread_mutex_init(&f->lock, NULL);
}

void fs_fault_fini(struct fs_fault *f)
{
    pthread_mutex_destroy(&f->lock);
}

void fs_fault_arm(struct fs_fault *f, struct fs_fault_rule rule)
{
    pthread_mutex_lock(&f->lock);
    MQ_ASSERT(f->rules_n < FS_FAULT_RULES_MAX && rule.ops && rule.error <= 0);
    f->rules[f->rules_n].rule = rule;
    f->rules[f->rules_n++].seen = 0;
    pthread_mutex_unlock(&f->lock);
}

void fs_fault_disarm(struct fs_fault *f)
{
    pthread_mutex_lock(&f->lock);
    f->rules_n = 0;
    pthread_mutex_unlock(&f->lock);
}

uint64_t fs_fault_calls(struct fs_fault *f, unsigned ops)
{
    uint64_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < FS_OP_COUNT; i++)
        if (ops & 1u << i)
            n += f->calls[i];
    pthread_mutex_unlock(&f->lock);
    return n;
}

uint64_t fs_fault_fired(struct fs_fault *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t n = f->fired;
    pthread_mutex_unlock(&f->lock);
    return n;
}
