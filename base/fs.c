/* File access by the operating system, and the helpers over any struct fs.
 *
 * Owns: the descriptors and the path copies of its open files.
 * Runs on: any thread, but those of a network loop: every call may block on the disk.
 *
 * Happy path: each function is one system call with EINTR repeated, partial reads and writes
 * carried on, and the path put into the error text.
 *
 * Failure modes: whatever the system says, mapped by err_sys. A failed sync is reported and never
 * repeated here: after one the kernel may have dropped the pages and calls them clean, so a second
 * sync that "succeeds" proves nothing. The caller decides (the store: FAILED).
 *
 * Atomic replacement (fs_write_atomic): path.tmp is written and synced, renamed over path, and the
 * directory is synced. A crash leaves the old or the new content, at worst with a path.tmp
 * beside it that the next replacement overwrites.
 *
 * Invariants: 1. a file is opened close-on-exec; 2. after fs_write_atomic returned 0 the content
 * survives a power cut; 3. fs_write_atomic_bak never leaves a moment without a whole file at path.
 *
 * Locks are open-file-description locks over the whole file: they conflict with the fcntl record
 * locks that Java's FileChannel.tryLock takes, so that an Apache RocketMQ broker and this one
 * cannot open the same store; and unlike those they also exclude a second open in the same process.
 * */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"

struct real_file {
    int fd;
    char path[];
};

static struct real_file *real(struct fs_file *f)
{
    return (struct real_file *)(void *)f;
}

#define RETRY(rc, call)                                                                            \
    do                                                                                             \
        (rc) = (call);                                                                             \
    while ((rc) < 0 && errno == EINTR)

static int real_open(struct fs *fs, const char *path, int flags, struct fs_file **out,
                     struct err *e)
{
    (void)fs;
    int how = O_CLOEXEC | (flags & FS_WRITE ? O_RDWR : O_RDONLY) |
              (flags & FS_CREATE ? O_CREAT : 0) | (flags & FS_EXCL ? O_EXCL : 0) |
              (flags & FS_TRUNC ? O_TRUNC : 0) | (flags & FS_APPEND ? O_APPEND : 0);
    size_t n = strlen(path);
    struct real_file *f = malloc(sizeof *f + n + 1);
    if (!f)
        return err_set(e, E_NOMEM, "open %s", path);
    RETRY(f->fd, open(path, how, 0644));
    if (f->fd < 0) {
        int rc = err_sys(e, errno, "open %s", path);
        free(f);
        return rc;
    }
    memcpy(f->path, path, n + 1);
    *out = (struct fs_file *)(void *)f;
    return 0;
}

static void real_close(struct fs_file *f)
{
    close(real(f)->fd);
    free(f);
}

static ssize_t real_pread(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e)
{
    size_t done = 0;
    while (done < n) {
        ssize_t rc;
        RETRY(rc, pread(real(f)->fd, (char *)p + done, n - done, off + (int64_t)done));
        if (rc < 0)
            return err_sys(e, errno, "read %s at %lld", real(f)->path, (long long)off);
        if (!rc)
            break;
        done += (size_t)rc;
    }
    return (ssize_t)done;
}

static ssize_t real_pread_now(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e)
{
    const struct iovec iov = {p, n};
    ssize_t rc;
    RETRY(rc, preadv2(real(f)->fd, &iov, 1, off, RWF_NOWAIT));
    if (rc < 0 && errno != EAGAIN && errno != EOPNOTSUPP)
        return err_sys(e, errno, "read %s at %lld", real(f)->path, (long long)off);
    if (rc == (ssize_t)n)
        return rc;
    return err_set(e, E_AGAIN, "read %s at %lld: not in memory", real(f)->path, (long long)off);
}

enum { IOV_BATCH = 256 };

/* Copies the part of iov behind the first `skip` bytes; returns the number of vectors. */
static int iov_rest(const struct iovec *iov, int iov_n, size_t skip, struct iovec out[IOV_BATCH])
{
    int n = 0;
    for (int i = 0; i < iov_n && n < IOV_BATCH; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        out[n++] = (struct iovec){(char *)iov[i].iov_base + skip, iov[i].iov_len - skip};
        skip = 0;
    }
    return n;
}

static int real_pwritev(struct fs_file *f, const struct iovec *iov, int iov_n, int64_t off,
                        struct err *e)
{
    struct iovec rest[IOV_BATCH];
    size_t done = 0;
    for (int n; (n = iov_rest(iov, iov_n, done, rest));) {
        ssize_t rc;
        RETRY(rc, pwritev(real(f)->fd, rest, n, off + (int64_t)done));
        if (rc < 0)
            return err_sys(e, errno, "write %s at %lld", real(f)->path, (long long)off);
        done += (size_t)rc;
    }
    return 0;
}

static int real_datasync(struct fs_file *f, struct err *e)
{
    int rc;
    RETRY(rc, fdatasync(real(f)->fd));
    return rc ? err_sys(e, errno, "sync %s", real(f)->path) : 0;
}

static int real_sync(struct fs_file *f, struct err *e)
{
    int rc;
    RETRY(rc, fsync(real(f)->fd));
    return rc ? err_sys(e, errno, "sync %s", real(f)->path) : 0;
}

static int real_sync_all(struct fs_file *f, struct err *e)
{
    int rc;
    RETRY(rc, syncfs(real(f)->fd));
    return rc ? err_sys(e, errno, "sync the file system of %s", real(f)->path) : 0;
}

static int real_truncate(struct fs_file *f, int64_t size, struct err *e)
{
    int rc;
    RETRY(rc, ftruncate(real(f)->fd, size));
    return rc ? err_sys(e, errno, "truncate %s to %lld", real(f)->path, (long long)size) : 0;
}

/* For file systems without fallocate: writes every block back as it is, zeros where nothing was. */
static int allocate_by_writing(struct fs_file *f, int64_t off, int64_t n, struct err *e)
{
    enum { CHUNK = 64 * 1024 };
    char *chunk = malloc(CHUNK);
    if (!chunk)
        return err_set(e, E_NOMEM, "allocate %s", real(f)->path);
    int rc = 0;
    for (int64_t done = 0; done < n && !rc;) {
        size_t len = n - done < CHUNK ? (size_t)(n - done) : CHUNK;
        ssize_t got = real_pread(f, chunk, len, off + done, e);
        if (got < 0) {
            rc = (int)got;
            break;
        }
        memset(chunk + got, 0, len - (size_t)got);
        rc = real_pwritev(f, &(struct iovec){chunk, len}, 1, off + done, e);
        done += (int64_t)len;
    }
    free(chunk);
    return rc;
}

static int real_allocate(struct fs_file *f, int64_t off, int64_t n, bool keep_size, struct err *e)
{
    int rc;
    RETRY(rc, fallocate(real(f)->fd, keep_size ? FALLOC_FL_KEEP_SIZE : 0, off, n));
    if (!rc)
        return 0;
    if (errno == EOPNOTSUPP && !keep_size)
        return allocate_by_writing(f, off, n, e);
    return err_sys(e, errno, "allocate %lld bytes for %s", (long long)n, real(f)->path);
}

static int real_size(struct fs_file *f, int64_t *out, struct err *e)
{
    struct stat st;
    if (fstat(real(f)->fd, &st))
        return err_sys(e, errno, "stat %s", real(f)->path);
    *out = st.st_size;
    return 0;
}

static int real_map(struct fs_file *f, size_t n, bool writable, void **out, struct err *e)
{
    int64_t size;
    int rc = real_size(f, &size, e);
    if (rc)
        return rc;
    if (!n || n > (uint64_t)size)
        return err_set(e, E_RANGE, "map %s: %zu bytes of a file of %lld", real(f)->path, n,
                       (long long)size);
    void *p = mmap(NULL, n, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, real(f)->fd, 0);
    if (p == MAP_FAILED)
        return err_sys(e, errno, "map %s", real(f)->path);
    *out = p;
    return 0;
}

static int real_map_sync(struct fs_file *f, void *p, size_t off, size_t n, struct err *e)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = off / page * page;
    int rc;
    RETRY(rc, msync((char *)p + from, n + (off - from), MS_SYNC));
    return rc ? err_sys(e, errno, "sync the mapping of %s", real(f)->path) : 0;
}

/* In chunks, for the answer takes a byte per page. An error counts as "not in memory". */
static int real_resident(struct fs_file *f, const void *p, size_t off, size_t n)
{
    enum { PAGES = 256 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), end = off + n;
    (void)f;
    for (size_t at = off / page * page; at < end; at += PAGES * page) {
        unsigned char in_memory[PAGES];
        const size_t bytes = end - at < PAGES * page ? end - at : PAGES * page;
        if (mincore((void *)((uintptr_t)p + at), bytes, in_memory))
            return 0;
        for (size_t i = 0; i < (bytes + page - 1) / page; i++)
            if (!(in_memory[i] & 1))
                return 0;
    }
    return 1;
}

static void real_unmap(struct fs_file *f, void *p, size_t n)
{
    (void)f;
    munmap(p, n);
}

static int real_lock(struct fs_file *f, struct err *e)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int rc;
    RETRY(rc, fcntl(real(f)->fd, F_OFD_SETLK, &whole));
    if (!rc)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return err_set(e, E_LOCKED, "%s is locked: another process uses it", real(f)->path);
    return err_sys(e, errno, "lock %s", real(f)->path);
}

static int real_rename(struct fs *fs, const char *from, const char *to, struct err *e)
{
    (void)fs;
    return rename(from, to) ? err_sys(e, errno, "rename %s to %s", from, to) : 0;
}

static int real_unlink(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    return unlink(path) ? err_sys(e, errno, "unlink %s", path) : 0;
}

static int real_rmdir(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    return rmdir(path) ? err_sys(e, errno, "remove directory %s", path) : 0;
}

static int real_mkdir(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    return mkdir(path, 0755) ? err_sys(e, errno, "create directory %s", path) : 0;
}

static int real_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
    (void)fs;
    struct stat st;
    if (stat(path, &st))
        return err_sys(e, errno, "stat %s", path);
    *out = (struct fs_stat){
        .size = st.st_size,
        .mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
        .is_dir = S_ISDIR(st.st_mode),
    };
    return 0;
}

static int real_list(struct fs *fs, const char *path, int (*each)(void *arg, const char *name),
                     void *arg, struct err *e)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (!dir)
        return err_sys(e, errno, "list %s", path);
    int rc = 0;
    while (!rc) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            rc = errno ? err_sys(e, errno, "list %s", path) : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            rc = each(arg, entry->d_name);
    }
    closedir(dir);
    return rc;
}

static int real_dirsync(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    int fd, rc;
    RETRY(fd, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return err_sys(e, errno, "sync directory %s", path);
    RETRY(rc, fsync(fd));
    rc = rc ? err_sys(e, errno, "sync directory %s", path) : 0;
    close(fd);
    return rc;
}

static int real_space(struct fs *fs, const char *path, struct fs_space *out, struct err *e)
{
    (void)fs;
    struct statvfs v;
    if (statvfs(path, &v))
        return err_sys(e, errno, "free space of %s", path);
    out->total_bytes = (int64_t)(v.f_blocks * v.f_frsize);
    out->avail_bytes = (int64_t)(v.f_bavail * v.f_frsize);
    out->free_bytes = (int64_t)(v.f_bfree * v.f_frsize);
    return 0;
}

struct fs fs_real = {
    .open = real_open, .close = real_close, .pread = real_pread, .pread_now = real_pread_now,
    .pwritev = real_pwritev, .datasync = real_datasync, .sync = real_sync,
    .sync_all = real_sync_all, .truncate = real_truncate, .allocate = real_allocate,
    .size = real_size, .map = real_map, .map_sync = real_map_sync, .resident = real_resident,
    .unmap = real_unmap, .lock = real_lock, .rename = real_rename, .unlink = real_unlink,
    .rmdir = real_rmdir, .mkdir = real_mkdir, .stat = real_stat, .list = real_list,
    .dirsync = real_dirsync, .space = real_space,
};

/* ---- helpers over the table ---- */

/* The directory that holds path: "." for a bare name. The caller frees; NULL when memory is out. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return slice_dup(SLICE_LIT("."));
    return slice_dup(slice_of(path, slash == path ? 1 : (size_t)(slash - path)));
}

static int sync_parent(struct fs *fs, const char *path, struct err *e)
{
    char *dir = parent_of(path);
    if (!dir)
        return err_set(e, E_NOMEM, "sync directory of %s", path);
    int rc = fs->dirsync(fs, dir, e);
    free(dir);
    return rc;
}

static int make_one(struct fs *fs, const char *path, struct err *e)
{
    struct fs_stat st;
    int rc = fs->mkdir(fs, path, e);
    if (!rc) {
        rc = sync_parent(fs, path, e);
        if (rc) /* found there, the next attempt would take it for durable */
            (void)fs->rmdir(fs, path, NULL);
        return rc;
    }
    if (fs->stat(fs, path, &st, NULL))
        return rc; /* why mkdir failed says more than why stat did */
    return st.is_dir ? 0
                     : err_set(e, E_EXISTS,
                               "create directory %s: a file of that name is in the way", path);
}

int fs_mkdirs(struct fs *fs, const char *path, struct err *e)
{
    char *copy = slice_dup(slice_str(path));
    if (!copy)
        return err_set(e, E_NOMEM, "create directory %s", path);
    int rc = 0;
    for (char *p = copy; *p && !rc;) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char end = *p;
        *p = '\0';
        rc = make_one(fs, copy, e);
        *p = end;
        p += strspn(p, "/");
    }
    free(copy);
    return rc;
}

static int read_to_end(struct fs *fs, struct fs_file *f, const char *path, struct buf *b,
                       struct err *e)
{
    int64_t size;
    int rc = fs->size(f, &size, e);
    if (rc)
        return rc;
    /* One byte more than the file holds: the read that comes back short is the end. */
    size_t room = (uint64_t)size < b->max ? (size_t)size + 1 : b->max;
    for (;;) {
        char *p = buf_extend(b, room);
        if (!p)
            return err_set(e, buf_error(b), "read %s: %s", path, err_text(buf_error(b)));
        ssize_t got = fs->pread(f, p, room, (int64_t)(b->n - room), e);
        if (got < 0)
            return (int)got;
        b->n -= room - (size_t)got;
        if ((size_t)got < room)
            return 0;
        room = b->max - b->n < 65536 ? b->max - b->n : 65536;
        if (!room) /* one more byte than the caller allows */
            return err_set(e, E_TOOBIG, "read %s: larger than %zu bytes", path, b->max - 1);
    }
}

int fs_read_all(struct fs *fs, const char *path, size_t max, char **out, size_t *n, struct err *e)
{
    struct fs_file *f;
    int rc = fs->open(fs, path, FS_READ, &f, e);
    if (rc)
        return rc;
    struct buf b;
    buf_init(&b, max < SIZE_MAX ? max + 1 : max);
    rc = read_to_end(fs, f, path, &b, e);
    fs->close(f);
    char *p = rc ? NULL : buf_take(&b, n);
    if (!rc && !p)
        rc = err_set(e, E_NOMEM, "read %s", path);
    if (rc)
        buf_free(&b);
    else
        *out = p;
    return rc;
}

static int write_and_sync(struct fs *fs, const char *path, struct slice content, struct err *e)
{
    struct fs_file *f;
    int rc = fs->open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNC, &f, e);
    if (rc)
        return rc;
    rc = content.n ? fs_write(f, fs, content.p, content.n, 0, e) : 0;
    if (!rc)
        rc = fs->sync(f, e);
    fs->close(f);
    return rc;
}

static char *with_suffix(const char *path, const char *suffix)
{
    struct buf b;
    buf_init(&b, 0);
    buf_str(&b, path);
    buf_str(&b, suffix);
    return buf_take(&b, NULL);
}

int fs_write_atomic(struct fs *fs, const char *path, struct slice content, struct err *e)
{
    char *tmp = with_suffix(path, ".tmp");
    if (!tmp)
        return err_set(e, E_NOMEM, "write %s", path);
    int rc = write_and_sync(fs, tmp, content, e);
    if (!rc)
        rc = fs->rename(fs, tmp, path, e);
    if (rc)
        fs->unlink(fs, tmp, NULL);
    else
        rc = sync_parent(fs, path, e);
    free(tmp);
    return rc;
}

int fs_write_atomic_bak(struct fs *fs, const char *path, struct slice content, struct err *e)
{
    char *previous, *bak;
    size_t n;
    int rc = fs_read_all(fs, path, INT32_MAX, &previous, &n, e);
    if (rc == E_NOTFOUND)
        return fs_write_atomic(fs, path, content, e);
    if (rc)
        return err_wrap(e, rc, "back up %s", path);
    bak = with_suffix(path, ".bak");
    rc = bak ? fs_write_atomic(fs, bak, slice_of(previous, n), e)
             : err_set(e, E_NOMEM, "back up %s", path);
    if (!rc)
        rc = fs_write_atomic(fs, path, content, e);
    free(bak);
    free(previous);
    return rc;
}

int fs_write(struct fs_file *f, struct fs *fs, const void *p, size_t n, int64_t off, struct err *e)
{
    /* iovec has no const; the bytes are only read. */
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return fs->pwritev(f, &iov, 1, off, e);
}

static int collect_name(void *arg, const char *name)
{
    struct buf *names = arg;
    buf_add(names, name, strlen(name) + 1);
    return buf_error(names);
}

static int remove_children(struct fs *fs, const char *path, struct err *e)
{
    struct buf names, child;
    buf_init(&names, 0);
    buf_init(&child, 0);
    int rc = fs->list(fs, path, collect_name, &names, e);
    if (!rc && buf_error(&names))
        rc = err_set(e, E_NOMEM, "remove %s", path);
    for (size_t at = 0; !rc && at < names.n; at += strlen(names.p + at) + 1) {
        buf_clear(&child);
        buf_printf(&child, "%s/%s", path, names.p + at);
        buf_char(&child, '\0');
        rc = buf_error(&child) ? err_set(e, E_NOMEM, "remove %s", path)
                               : fs_remove_tree(fs, child.p, e);
    }
    buf_free(&child);
    buf_free(&names);
    return rc;
}

int fs_remove_tree(struct fs *fs, const char *path, struct err *e)
{
    /* Unlink first, so that a symbolic link to a directory is removed and not followed. */
    struct err why = {0};
    int rc = fs->unlink(fs, path, &why);
    if (!rc)
        return 0;
    struct fs_stat st;
    if (rc == E_NOTFOUND || fs->stat(fs, path, &st, NULL) || !st.is_dir) {
        if (e)
            *e = why;
        return rc;
    }
    rc = remove_children(fs, path, e);
    return rc ? rc : fs->rmdir(fs, path, e);
}
