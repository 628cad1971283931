/* The disk of fuzz_disk.h.
 *
 * Owns: the nodes, by path. Runs on: the target's thread.
 *
 * A node is found by comparing paths: there are few. A file that is removed or replaced while open
 * keeps its node, without a name, until it is closed.
 *
 * Failure modes: those that stores and tables meet in the target: E_NOTFOUND, E_EXISTS, E_LOCKED,
 * and E_NOSPC beyond FUZZ_DISK_BYTES. What no caller may do (resize a mapped file, map beyond the
 * end, write to a directory) is asserted.
 *
 * Invariant: `used` is the sum of the sizes of all nodes. */
#include "tests/fuzz/fuzz_disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

struct node {
    char *path; /* NULL: removed, or the place is free */
    uint32_t hash, dir_hash; /* of the path, and of the part before its last slash */
    char *data;
    int64_t size;
    int opens, maps;
    bool is_dir, locked;
};

struct fuzz_file {
    struct node *node;
    bool has_lock;
};

static struct node nodes[FUZZ_DISK_NODES];
static int node_n; /* places that were ever used since the last reset */
static int64_t used;

static uint32_t hash_of(const char *path, uint32_t *dir_hash)
{
    uint32_t h = 2166136261u, dir = h;
    for (; *path; path++) {
        if (*path == '/')
            dir = h;
        h = (h ^ (uint8_t)*path) * 16777619u;
    }
    if (dir_hash)
        *dir_hash = dir;
    return h;
}

static struct node *find(const char *path)
{
    const uint32_t hash = hash_of(path, NULL);
    for (int i = 0; i < node_n; i++)
        if (nodes[i].path && nodes[i].hash == hash && !strcmp(nodes[i].path, path))
            return &nodes[i];
    return NULL;
}

static void set_path(struct node *n, const char *path)
{
    n->path = slice_dup(slice_str(path));
    MQ_ASSERT(n->path);
    n->hash = hash_of(path, &n->dir_hash);
}

static struct node *create(const char *path, bool is_dir)
{
    int i = 0;
    while (i < node_n && (nodes[i].path || nodes[i].opens))
        i++;
    MQ_ASSERT(i < FUZZ_DISK_NODES);
    node_n = i < node_n ? node_n : i + 1;
    nodes[i] = (struct node){.is_dir = is_dir};
    set_path(&nodes[i], path);
    return &nodes[i];
}

static void resize(struct node *n, int64_t size)
{
    MQ_ASSERT(!n->maps && !n->is_dir);
    if (size == n->size)
        return;
    char *data = malloc(size ? (size_t)size : 1);
    MQ_ASSERT(data);
    const int64_t keep = size < n->size ? size : n->size;
    if (keep)
        memcpy(data, n->data, (size_t)keep);
    memset(data + keep, 0, (size_t)(size - keep));
    free(n->data);
    n->data = data;
    used += size - n->size;
    n->size = size;
}

static void forget(struct node *n)
{
    used -= n->size;
    free(n->data);
    free(n->path);
    *n = (struct node){0};
}

static void unname(struct node *n)
{
    free(n->path);
    n->path = NULL;
    if (!n->opens)
        forget(n);
}

static bool has_room(const struct node *n, int64_t size)
{
    return size <= n->size || used - n->size + size <= FUZZ_DISK_BYTES;
}

static struct fuzz_file *fuzz_file(struct fs_file *f)
{
    return (struct fuzz_file *)(void *)f;
}

static bool parent_exists(const char *path)
{
    char dir[512];
    const char *slash = strrchr(path, '/');
    MQ_ASSERT(slash && (size_t)(slash - path) < sizeof dir);
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    const struct node *n = find(dir);
    return slash == path || (n && n->is_dir);
}

/* ---- methods of paths ---- */

static int disk_open(struct fs *fs, const char *path, int flags, struct fs_file **out, struct err *e)
{
    (void)fs;
    struct node *n = find(path);
    if (!n && (!(flags & FS_CREATE) || !parent_exists(path)))
        return err_set(e, E_NOTFOUND, "open %s", path);
    if (n && flags & FS_EXCL)
        return err_set(e, E_EXISTS, "open %s", path);
    if (!n)
        n = create(path, false);
    else if (n->is_dir && flags & (FS_WRITE | FS_CREATE | FS_TRUNC))
        return err_set(e, E_IO, "open %s: is a directory", path);
    if (flags & FS_TRUNC)
        resize(n, 0);
    struct fuzz_file *f = malloc(sizeof *f);
    MQ_ASSERT(f);
    *f = (struct fuzz_file){.node = n};
    n->opens++;
    *out = (struct fs_file *)(void *)f;
    return 0;
}

static int disk_rename(struct fs *fs, const char *from, const char *to, struct err *e)
{
    (void)fs;
    struct node *n = find(from), *replaced = find(to);
    if (!n || !parent_exists(to))
        return err_set(e, E_NOTFOUND, "rename %s to %s", from, to);
    MQ_ASSERT(!n->is_dir && !(replaced && replaced->is_dir));
    if (replaced)
        unname(replaced);
    free(n->path);
    set_path(n, to);
    return 0;
}

static bool is_below(const struct node *n, const char *dir)
{
    const size_t len = strlen(dir);
    return n->path && !strncmp(n->path, dir, len) && n->path[len] == '/';
}

static int disk_unlink(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    struct node *n = find(path);
    if (!n || n->is_dir)
        return err_set(e, n ? E_IO : E_NOTFOUND, "unlink %s", path);
    unname(n);
    return 0;
}

static int disk_rmdir(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    struct node *n = find(path);
    if (!n || !n->is_dir)
        return err_set(e, E_NOTFOUND, "remove directory %s", path);
    for (int i = 0; i < node_n; i++)
        if (is_below(&nodes[i], path))
            return err_set(e, E_IO, "remove directory %s: not empty", path);
    unname(n);
    return 0;
}

static int disk_mkdir(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    if (find(path))
        return err_set(e, E_EXISTS, "create directory %s", path);
    if (!parent_exists(path))
        return err_set(e, E_NOTFOUND, "create directory %s", path);
    create(path, true);
    return 0;
}

static int disk_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
    (void)fs;
    const struct node *n = find(path);
    if (!n)
        return err_set(e, E_NOTFOUND, "stat %s", path);
    *out = (struct fs_stat){.size = n->size, .is_dir = n->is_dir};
    return 0;
}

static int disk_list(struct fs *fs, const char *path, int (*each)(void *arg, const char *name), void *arg,
                     struct err *e)
{
    (void)fs;
    const struct node *dir = find(path);
    const size_t len = strlen(path);
    if (!dir || !dir->is_dir)
        return err_set(e, dir ? E_IO : E_NOTFOUND, "list %s", path);
    int rc = 0;
    for (int i = 0; i < node_n && !rc; i++)
        if (nodes[i].path && nodes[i].dir_hash == dir->hash && is_below(&nodes[i], path))
            rc = each(arg, nodes[i].path + len + 1);
    return rc;
}

static int disk_dirsync(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    const struct node *n = find(path);
    return !strcmp(path, "/") || (n && n->is_dir) ? 0 : err_set(e, E_NOTFOUND, "sync directory %s", path);
}

static int disk_space(struct fs *fs, const char *path, struct fs_space *out, struct err *e)
{
    (void)fs;
    (void)path;
    (void)e;
    /* Always half empty: how full it is, is not what these targets are about. */
    *out = (struct fs_space){2 * FUZZ_DISK_BYTES, FUZZ_DISK_BYTES, FUZZ_DISK_BYTES};
    return 0;
}

/* ---- methods of files ---- */

static void disk_close(struct fs_file *file)
{
    struct fuzz_file *f = fuzz_file(file);
    struct node *n = f->node;
    MQ_ASSERT(n->opens > 1 || !n->maps);
    if (f->has_lock)
        n->locked = false;
    if (!--n->opens && !n->path)
        forget(n);
    free(f);
}

static ssize_t disk_pread(struct fs_file *file, void *p, size_t n, int64_t off, struct err *e)
{
    const struct node *in = fuzz_file(file)->node;
    if (off < 0)
        return err_set(e, E_IO, "read at %lld", (long long)off);
    const int64_t left = in->size > off ? in->size - off : 0;
    const size_t got = (uint64_t)left < n ? (size_t)left : n;
    if (got)
        memcpy(p, in->data + off, got);
    return (ssize_t)got;
}

static int disk_pwritev(struct fs_file *file, const struct iovec *iov, int iov_n, int64_t off, struct err *e)
{
    struct node *in = fuzz_file(file)->node;
    MQ_ASSERT(off >= 0);
    for (int i = 0; i < iov_n; i++) {
        const int64_t end = off + (int64_t)iov[i].iov_len;
        if (!has_room(in, end))
            return err_set(e, E_NOSPC, "write");
        if (end > in->size)
            resize(in, end);
        if (iov[i].iov_len)
            memcpy(in->data + off, iov[i].iov_base, iov[i].iov_len);
        off = end;
    }
    return 0;
}

static int disk_sync(struct fs_file *file, struct err *e)
{
    (void)file;
    (void)e;
    return 0;
}

static int disk_resident(struct fs_file *file, const void *p, size_t off, size_t n)
{
    (void)file;
    (void)p;
    (void)off;
    (void)n;
    return 1;
}

static int disk_truncate(struct fs_file *file, int64_t size, struct err *e)
{
    struct node *in = fuzz_file(file)->node;
    MQ_ASSERT(size >= 0);
    if (!has_room(in, size))
        return err_set(e, E_NOSPC, "truncate");
    resize(in, size);
    return 0;
}

static int disk_allocate(struct fs_file *file, int64_t off, int64_t n, bool keep_size, struct err *e)
{
    struct node *in = fuzz_file(file)->node;
    MQ_ASSERT(off >= 0 && n > 0);
    if (!has_room(in, off + n))
        return err_set(e, E_NOSPC, "allocate");
    if (!keep_size && off + n > in->size)
        resize(in, off + n);
    return 0;
}

static int disk_size(struct fs_file *file, int64_t *out, struct err *e)
{
    (void)e;
    *out = fuzz_file(file)->node->size;
    return 0;
}

static int disk_map(struct fs_file *file, size_t n, bool writable, void **out, struct err *e)
{
    struct node *in = fuzz_file(file)->node;
    (void)e;
    MQ_ASSERT(!writable && n && n <= (uint64_t)in->size);
    in->maps++;
    *out = in->data;
    return 0;
}

static int disk_map_sync(struct fs_file *file, void *p, size_t off, size_t n, struct err *e)
{
    (void)p;
    (void)off;
    (void)n;
    return disk_sync(file, e);
}

static void disk_unmap(struct fs_file *file, void *p, size_t n)
{
    struct node *in = fuzz_file(file)->node;
    (void)n;
    MQ_ASSERT(in->maps > 0 && p == in->data);
    in->maps--;
}

static int disk_lock(struct fs_file *file, struct err *e)
{
    struct fuzz_file *f = fuzz_file(file);
    if (f->node->locked && !f->has_lock)
        return err_set(e, E_LOCKED, "lock");
    f->node->locked = f->has_lock = true;
    return 0;
}

/* ---- the disk ---- */

struct fs *fuzz_disk(void)
{
    static struct fs fs = {
        .open = disk_open, .close = disk_close, .pread = disk_pread, .pread_now = disk_pread,
        .sync_all = disk_sync, .resident = disk_resident, .pwritev = disk_pwritev,
        .datasync = disk_sync, .sync = disk_sync, .truncate = disk_truncate, .allocate = disk_allocate,
        .size = disk_size, .map = disk_map, .map_sync = disk_map_sync, .unmap = disk_unmap,
        .lock = disk_lock, .rename = disk_rename, .unlink = disk_unlink, .rmdir = disk_rmdir,
        .mkdir = disk_mkdir, .stat = disk_stat, .list = disk_list, .dirsync = disk_dirsync,
        .space = disk_space,
    };
    return &fs;
}

void fuzz_disk_reset(void)
{
    for (int i = 0; i < node_n; i++) {
        MQ_ASSERT(!nodes[i].opens);
        if (nodes[i].path)
            forget(&nodes[i]);
    }
    MQ_ASSERT(used == 0);
    node_n = 0;
}

static void make_parents(const char *path)
{
    char dir[512];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
        if (!find(dir))
            create(dir, true);
    }
}

void fuzz_disk_mkdir(const char *path)
{
    make_parents(path);
    create(path, true);
}

void fuzz_disk_put(const char *path, struct slice content)
{
    make_parents(path);
    struct node *n = find(path);
    if (!n)
        n = create(path, false);
    resize(n, (int64_t)content.n);
    if (content.n)
        memcpy(n->data, content.p, content.n);
}

bool fuzz_disk_get(const char *path, struct slice *content)
{
    const struct node *n = find(path);
    if (n)
        *content = slice_of(n->data, (size_t)n->size);
    return n != NULL;
}

void fuzz_disk_remove(const char *path)
{
    for (int i = 0; i < node_n; i++)
        if (nodes[i].path && (!strcmp(nodes[i].path, path) || is_below(&nodes[i], path)))
            unname(&nodes[i]);
}

void fuzz_disk_move(const char *from, const char *to)
{
    char path[512];
    for (int i = 0; i < node_n; i++) {
        struct node *n = &nodes[i];
        if (!n->path || (strcmp(n->path, from) && !is_below(n, from)))
            continue;
        snprintf(path, sizeof path, "%s%s", to, n->path + strlen(from));
        free(n->path);
        set_path(n, path);
    }
}

struct fuzz_image {
    struct node nodes[FUZZ_DISK_NODES];
    int n;
};

struct fuzz_image *fuzz_disk_save(void)
{
    struct fuzz_image *image = calloc(1, sizeof *image);
    MQ_ASSERT(image);
    for (int i = 0; i < node_n; i++) {
        if (!nodes[i].path)
            continue;
        struct node *copy = &image->nodes[image->n++];
        *copy = (struct node){.path = slice_dup(slice_str(nodes[i].path)), .is_dir = nodes[i].is_dir,
                              .data = slice_dup(slice_of(nodes[i].data, (size_t)nodes[i].size)),
                              .size = nodes[i].size};
        MQ_ASSERT(copy->path && copy->data && !nodes[i].opens);
    }
    return image;
}

void fuzz_disk_restore(const struct fuzz_image *image)
{
    fuzz_disk_reset();
    for (int i = 0; i < image->n; i++) {
        const struct node *from = &image->nodes[i];
        struct node *n = create(from->path, from->is_dir);
        if (!from->is_dir)
            fuzz_disk_put(n->path, slice_of(from->data, (size_t)from->size));
    }
}
