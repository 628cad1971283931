/* The commit log: one endless sequence of bytes, cut into files of equal size.
 *
 * Owns: the list of files, the file allocated ahead, the end of the log.
 * Runs on: appends under the log lock (append.c), syncs on the flusher, allocation on the allocator,
 * look-ups on any thread.
 *
 * Layout. A file is named after the 20-digit physical offset of its first byte; file n begins at
 * n * mappedFileSizeCommitLog, with no gaps. Within a file, back to back (all integers big-endian):
 *
 *   offset  size  record (whole layout: proto/message.c)       blank record, ends the file
 *        0     4  total size of the record                     bytes left in the file
 *        4     4  magic DAA320A7 or DAA320AB                   magic CBD43194
 *        8     4  CRC-32 of the body, top bit cleared          undefined (zero when written here)
 *       12     4  queue id
 *       20     8  queue offset
 *       28     8  physical offset: where this record begins
 *       56     8  store time (68 when the sender's address is IPv6)
 *
 * A record that would leave less than 8 bytes of the file free goes to the next file, so a blank
 * record always fits. Behind the last record of the log there are zeros.
 * Source: CommitLog (DefaultAppendMessageCallback), MessageDecoder.
 *
 * Happy path: the tail has room; when it is more than half full the allocator creates the next file,
 * and commitlog_roll only links it in.
 *
 * Failure modes: the next file cannot be created: commitlog_roll returns the error, the log stays as
 * it is and the next attempt starts afresh (disk space may have come back). A failed sync is reported
 * once and never repeated; the caller turns the store FAILED.
 *
 * Invariants: 1. files[i].start = files[0].start + i * file_size; 2. tail = the last of files;
 * tail.start <= end <= tail.start + file_size; 3. min <= flushed <= wrote <= end; 4. store times do
 * not go backwards along the log, whatever the clock does; 5. a file is created only under
 * ahead_lock and only when neither the list nor `ahead` has it: creating empties it. */
#include "store/store_priv.h"

#include <stdlib.h>

#include "base/log.h"

int commitlog_init(struct commitlog *l, const struct store_opts *o, struct err *e)
{
    l->fs = o->fs;
    l->file_size = o->commitlog_file_size;
    l->asked = -1;
    l->dir = o->commitlog_dir ? slice_dup(slice_str(o->commitlog_dir)) : path_join(o->root_dir, "commitlog");
    if (!l->dir)
        return err_set(e, E_NOMEM, "open commit log");
    if (uv_rwlock_init(&l->files_lock))
        goto err_dir;
    if (uv_mutex_init(&l->ahead_lock))
        goto err_files_lock;
    if (uv_mutex_init(&l->lock))
        goto err_ahead_lock;
    if (zero_ahead_init(&l->zero, o->flush_mode == FLUSH_SYNC ? o->zero_ahead_bytes : 0, e))
        goto err_lock;
    return 0;

err_lock:
    uv_mutex_destroy(&l->lock);
err_ahead_lock:
    uv_mutex_destroy(&l->ahead_lock);
err_files_lock:
    uv_rwlock_destroy(&l->files_lock);
err_dir:
    free(l->dir);
    return err_set(e, E_NOMEM, "open commit log: cannot create a lock");
}

void commitlog_fini(struct commitlog *l)
{
    for (int i = 0; i < l->file_n; i++)
        store_file_unref(l->files[i]);
    if (l->ahead)
        store_file_unref(l->ahead);
    free(l->files);
    zero_ahead_fini(&l->zero);
    uv_mutex_destroy(&l->lock);
    uv_mutex_destroy(&l->ahead_lock);
    uv_rwlock_destroy(&l->files_lock);
    free(l->dir);
}

static int push_file(struct commitlog *l, struct store_file *f, struct err *e)
{
    int rc = l->lock_files ? l->fs->lock(f->f, e) : 0;
    if (rc)
        return rc;
    uv_rwlock_wrlock(&l->files_lock);
    if (l->file_n == l->file_cap) {
        const int cap = l->file_cap ? l->file_cap * 2 : 16;
        struct store_file **files = realloc(l->files, (size_t)cap * sizeof *files);
        if (files) {
            l->files = files;
            l->file_cap = cap;
        } else {
            rc = err_set(e, E_NOMEM, "commit log file list");
        }
    }
    if (!rc)
        l->files[l->file_n++] = f;
    uv_rwlock_wrunlock(&l->files_lock);
    return rc;
}

/* A last file without a byte is a creation that did not get far: better gone than filled up. */
static int drop_empty(struct commitlog *l, const char *path, bool *dropped, struct err *e)
{
    LOGW("store.repair", "file=%s text=\"empty last file removed\"", path);
    const int rc = l->fs->unlink(l->fs, path, e);
    *dropped = !rc;
    return rc ? rc : l->fs->dirsync(l->fs, l->dir, e);
}

/* What a foreign or damaged directory may hold: another file size, a hole, a file cut short that is
 * not the last one. None of it can be guessed away. */
static int check_file(struct commitlog *l, const int64_t *starts, int i, int n, bool *dropped, struct err *e)
{
    if (starts[i] % l->file_size)
        return err_set(e, E_CORRUPT, "%s/%020lld: its name is no multiple of mappedFileSizeCommitLog=%lld; "
                       "start with the size this store was written with", l->dir, (long long)starts[i],
                       (long long)l->file_size);
    if (i && starts[i] != starts[i - 1] + l->file_size)
        return err_set(e, E_CORRUPT, "%s: a file is missing between %020lld and %020lld "
                       "(mappedFileSizeCommitLog=%lld); restore it, or set that size right", l->dir,
                       (long long)starts[i - 1], (long long)starts[i], (long long)l->file_size);
    char *path = path_join_start(l->dir, starts[i]);
    if (!path)
        return err_set(e, E_NOMEM, "load commit log");
    struct fs_stat st;
    int rc = l->fs->stat(l->fs, path, &st, e);
    if (!rc && (st.size > l->file_size || (st.size < l->file_size && i + 1 < n)))
        rc = err_set(e, E_CORRUPT, "%s has %lld bytes instead of mappedFileSizeCommitLog=%lld; set that "
                     "size right, or restore the file", path, (long long)st.size, (long long)l->file_size);
    else if (!rc && !st.size && i)
        rc = drop_empty(l, path, dropped, e);
    else if (!rc && st.size < l->file_size)
        LOGW("store.repair", "file=%s size=%lld expected=%lld text=\"short last file extended\"", path,
             (long long)st.size, (long long)l->file_size);
    free(path);
    return rc;
}

int commitlog_load(struct commitlog *l, struct err *e)
{
    int64_t *starts;
    int n;
    int rc = fs_mkdirs(l->fs, l->dir, e);
    if (!rc)
        rc = numbers_list(l->fs, l->dir, file_name_parse, &starts, &n, e);
    if (rc)
        return rc;
    for (int i = 0; i < n && !rc; i++) {
        struct store_file *f;
        bool dropped = false;
        rc = check_file(l, starts, i, n, &dropped, e);
        if (!rc && !dropped)
            rc = store_file_load(l->fs, l->dir, starts[i], l->file_size, &f, e);
        if (rc || dropped)
            break;
        rc = push_file(l, f, e);
        if (rc)
            store_file_unref(f);
    }
    if (!rc && n)
        atomic_store(&l->min, starts[0]);
    free(starts);
    return rc;
}

struct store_file *commitlog_find(struct commitlog *l, int64_t phys_offset)
{
    struct store_file *f = NULL;
    uv_rwlock_rdlock(&l->files_lock);
    if (l->file_n && phys_offset >= l->files[0]->start) {
        const int64_t i = (phys_offset - l->files[0]->start) / l->file_size;
        if (i < l->file_n)
            f = store_file_ref(l->files[i]);
    }
    uv_rwlock_rdunlock(&l->files_lock);
    return f;
}

int64_t commitlog_limit(struct commitlog *l)
{
    return l->file_n ? l->files[l->file_n - 1]->start + l->file_size : 0;
}

/* Under ahead_lock until the file is in the list: the allocator looks there before it creates. */
int commitlog_roll(struct commitlog *l, struct err *e)
{
    const int64_t start = l->tail ? l->tail->start + l->file_size : l->end;
    struct store_file *f = NULL;
    int rc = 0;
    uv_mutex_lock(&l->ahead_lock);
    if (l->ahead) {
        f = l->ahead;
        l->ahead = NULL;
        MQ_ASSERT(f->start == start);
    } else {
        rc = store_file_create(l->fs, l->dir, start, l->file_size, &f, e);
    }
    if (!rc) {
        rc = push_file(l, f, e);
        if (rc)
            store_file_unref(f);
    }
    uv_mutex_unlock(&l->ahead_lock);
    if (!rc)
        l->tail = f;
    return rc;
}

bool commitlog_allocate_ahead(struct commitlog *l)
{
    uv_mutex_lock(&l->lock);
    const int64_t start = l->tail->start + l->file_size;
    const bool wanted = l->end - l->tail->start > l->file_size / 2;
    uv_mutex_unlock(&l->lock);
    if (!wanted)
        return false;
    struct err e;
    bool created = false;
    uv_mutex_lock(&l->ahead_lock);
    /* The log may have rolled since: the list, not the tail seen above, says whether it is there. */
    struct store_file *there = commitlog_find(l, start);
    if (there) {
        store_file_unref(there);
    } else if (!l->ahead) {
        created = !store_file_create(l->fs, l->dir, start, l->file_size, &l->ahead, &e);
        if (!created && !l->ahead_failed)
            LOGW("store.allocate", "text=\"cannot create the next commit log file: %s\"", e.text);
        l->ahead_failed = !created;
    }
    uv_mutex_unlock(&l->ahead_lock);
    return created;
}

void commitlog_drop_ahead(struct commitlog *l)
{
    uv_mutex_lock(&l->ahead_lock);
    if (l->ahead) {
        struct err e;
        if (l->fs->unlink(l->fs, l->ahead->path, &e) || l->fs->dirsync(l->fs, l->dir, &e))
            LOGW("store.allocate", "text=\"cannot remove the unused next file: %s\"", e.text);
        store_file_unref(l->ahead);
        l->ahead = NULL;
    }
    uv_mutex_unlock(&l->ahead_lock);
}

int commitlog_sync(struct commitlog *l, int64_t from, int64_t to, struct err *e)
{
    while (from < to) {
        struct store_file *f = commitlog_find(l, from);
        MQ_ASSERT(f);
        from = f->start + l->file_size;
        const int rc = l->fs->datasync(f->f, e);
        store_file_unref(f);
        if (rc)
            return rc;
    }
    return 0;
}

bool commitlog_oldest(struct commitlog *l, struct store_file **first, struct store_file **second)
{
    uv_rwlock_rdlock(&l->files_lock);
    const bool two = l->file_n >= 2;
    if (two) {
        *first = store_file_ref(l->files[0]);
        *second = store_file_ref(l->files[1]);
    }
    uv_rwlock_rdunlock(&l->files_lock);
    return two;
}

/* The name goes first, durably, before the list forgets the file: a failure leaves the file where it
 * was, to be tried again, and the next file is not touched before, so no crash can leave a hole. */
int commitlog_remove_first(struct commitlog *l, struct err *e)
{
    uv_rwlock_rdlock(&l->files_lock);
    struct store_file *f = l->files[0];
    uv_rwlock_rdunlock(&l->files_lock);
    int rc = l->fs->unlink(l->fs, f->path, e);
    if (!rc || rc == E_NOTFOUND)
        rc = l->fs->dirsync(l->fs, l->dir, e);
    if (rc)
        return rc;
    uv_rwlock_wrlock(&l->files_lock);
    MQ_ASSERT(l->file_n >= 2);
    atomic_store(&l->min, l->files[1]->start);
    l->file_n--;
    memmove(l->files, l->files + 1, (size_t)l->file_n * sizeof *l->files);
    uv_rwlock_wrunlock(&l->files_lock);
    store_file_unref(f);
    return 0;
}

/* Durably, one by one and from the end: a crash in between must not leave a hole. */
static int remove_last_file(struct commitlog *l, struct err *e)
{
    struct store_file *f = l->files[l->file_n - 1];
    int rc = l->fs->unlink(l->fs, f->path, e);
    if (!rc)
        rc = l->fs->dirsync(l->fs, l->dir, e);
    if (rc)
        return rc;
    l->file_n--;
    store_file_unref(f);
    return 0;
}

int commitlog_set_end(struct commitlog *l, int64_t end, bool cut_tail, struct err *e)
{
    int rc = 0;
    while (!rc && l->file_n && l->files[l->file_n - 1]->start > end)
        rc = remove_last_file(l, e);
    if (rc)
        return rc;
    l->end = end;
    l->tail = l->file_n ? l->files[l->file_n - 1] : NULL;
    if (!l->tail || end == l->tail->start + l->file_size)
        return commitlog_roll(l, e);
    if (cut_tail)
        return store_file_cut(l->tail, end - l->tail->start, e);
    return l->fs->allocate(l->tail->f, 0, l->file_size, false, e);
}
