#pragma once
/* All file access, as a table of functions. `fs_real` is the operating system; tests stack others
 * on top: `fs_fault` (fs_fault.h) makes the n-th call fail, `fs_sim` (fs_sim.h) is a disk in memory
 * that forgets what was not synced.
 *
 * Every function returns 0 (or a count) or a negative E_* with the path in the error text. EINTR is
 * handled here. Nothing here retries a failed sync. */
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/slice.h"

struct fs;
struct fs_file; /* an open file; owned by whoever opened it */

enum { FS_READ = 0, FS_WRITE = 1, FS_CREATE = 2, FS_EXCL = 4, FS_TRUNC = 8, FS_APPEND = 16 };

struct fs_stat {
    int64_t size;
    int64_t mtime_ms;
    bool is_dir;
};
struct fs_space {
    int64_t total_bytes, avail_bytes; /* avail: what an unprivileged process may use */
    int64_t free_bytes;               /* avail and what is reserved for the superuser */
};

struct fs {
    int (*open)(struct fs *fs, const char *path, int flags, struct fs_file **out, struct err *e);
    void (*close)(struct fs_file *f);
    /* Reads up to n bytes; returns the count (0 at end of file). */
    ssize_t (*pread)(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e);
    /* The same without waiting for the disk: E_AGAIN when not all of it is in memory (nothing is read
     * then), or when that cannot be told. */
    ssize_t (*pread_now)(struct fs_file *f, void *p, size_t n, int64_t off, struct err *e);
    /* Writes everything or fails; a partial write may have happened when it fails. */
    int (*pwritev)(struct fs_file *f, const struct iovec *iov, int iov_n, int64_t off, struct err *e);
    int (*datasync)(struct fs_file *f, struct err *e);
    int (*sync)(struct fs_file *f, struct err *e); /* data and metadata */
    /* Everything on the file system that holds f: contents, sizes, names. f, which may be a directory,
     * stays open from before the first write that is to be covered: an error of a write between two
     * of these is reported by the second (Linux 5.8 and later). */
    int (*sync_all)(struct fs_file *f, struct err *e);
    int (*truncate)(struct fs_file *f, int64_t size, struct err *e);
    /* Blocks really reserved for [off, off+n); extends the file when keep_size is false. */
    int (*allocate)(struct fs_file *f, int64_t off, int64_t n, bool keep_size, struct err *e);
    int (*size)(struct fs_file *f, int64_t *out, struct err *e);
    /* Shared mapping of [0, n), n within the file; read-only unless writable. */
    int (*map)(struct fs_file *f, size_t n, bool writable, void **out, struct err *e);
    int (*map_sync)(struct fs_file *f, void *p, size_t off, size_t n, struct err *e);
    /* Whether reads of [off, off + n) of a mapping would find it all in memory: 1 or 0. */
    int (*resident)(struct fs_file *f, const void *p, size_t off, size_t n);
    void (*unmap)(struct fs_file *f, void *p, size_t n);
    /* Exclusive advisory lock for the life of the file; E_LOCKED when another process has it. */
    int (*lock)(struct fs_file *f, struct err *e);
    int (*rename)(struct fs *fs, const char *from, const char *to, struct err *e);
    int (*unlink)(struct fs *fs, const char *path, struct err *e);
    int (*rmdir)(struct fs *fs, const char *path, struct err *e);
    int (*mkdir)(struct fs *fs, const char *path, struct err *e); /* one level, 0755; E_EXISTS */
    int (*stat)(struct fs *fs, const char *path, struct fs_stat *out, struct err *e);
    /* Calls each() with every name except "." and ".."; stops when it returns non-zero, and returns
     * that. each() must not change the directory. */
    int (*list)(struct fs *fs, const char *path, int (*each)(void *arg, const char *name), void *arg,
                struct err *e);
    int (*dirsync)(struct fs *fs, const char *path, struct err *e); /* after create, rename, unlink */
    int (*space)(struct fs *fs, const char *path, struct fs_space *out, struct err *e);
};

extern struct fs fs_real;

/* Helpers over the table. */
int fs_mkdirs(struct fs *fs, const char *path, struct err *e); /* mkdir -p, each parent dirsynced */
/* The whole file into a heap buffer with a NUL after it; E_TOOBIG beyond max. The caller frees. */
int fs_read_all(struct fs *fs, const char *path, size_t max, char **out, size_t *n, struct err *e);
/* Atomic and durable replacement: temporary file, sync, rename over path, directory sync. */
int fs_write_atomic(struct fs *fs, const char *path, struct slice content, struct err *e);
/* The same, keeping the previous content as path.bak (RocketMQ's ConfigManager layout). */
int fs_write_atomic_bak(struct fs *fs, const char *path, struct slice content, struct err *e);
int fs_write(struct fs_file *f, struct fs *fs, const void *p, size_t n, int64_t off, struct err *e);
/* A file or a directory with all in it; symbolic links are not followed. E_NOTFOUND. */
int fs_remove_tree(struct fs *fs, const char *path, struct err *e);
