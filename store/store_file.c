/* One file of the commit log: allocated in full, mapped read-only, shared by reference count.
 *
 * Owns: the descriptor and the mapping. A reference keeps both alive, so that a slice handed to a
 * network loop stays valid while the file is dropped from the log.
 * Runs on: creation on the allocator or a submitter, everything else on any thread.
 *
 * Happy path: a new file is created empty, gets all its blocks (fallocate), is synced with its
 * directory entry, and mapped. From then on writes go through pwritev and cannot meet a full disk;
 * reads go through the mapping and cannot meet a short file.
 *
 * Whether its bytes are in memory is a system call. Readers of young messages would make one for each
 * answer, so the answer for a chunk is remembered for a moment (store_file_hot_to): pages are dropped when
 * memory is short, the longest unused ones first, and hardly one that was there a moment ago. What is
 * appended to a chunk after the question is younger still.
 *
 * Failure modes: no space while allocating: the file is removed again and E_NOSPC returned. A file
 * found shorter than it must be (a crash between creation and allocation) is extended with zeros.
 *
 * Invariants: 1. size of the file on disk = `size` while it is mapped; 2. bytes that no record was
 * written to are zero in a file created here; 3. `map` is never written through. */
#include "store/store_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { HOT_CHUNK = 1024 * 1024 };

char *path_join(const char *dir, const char *name)
{
    const size_t a = strlen(dir), b = strlen(name);
    char *p = malloc(a + b + 2);
    if (!p)
        return NULL;
    memcpy(p, dir, a);
    p[a] = '/';
    memcpy(p + a + 1, name, b + 1);
    return p;
}

char *path_join_start(const char *dir, int64_t start)
{
    char name[FILE_NAME_LEN + 1];
    snprintf(name, sizeof name, "%020lld", (long long)start);
    return path_join(dir, name);
}

bool file_name_parse(const char *name, int64_t *start)
{
    for (int i = 0; i < FILE_NAME_LEN; i++)
        if (name[i] < '0' || name[i] > '9')
            return false;
    return !name[FILE_NAME_LEN] && !slice_i64(slice_of(name, FILE_NAME_LEN), start);
}

struct numbers {
    bool (*parse)(const char *name, int64_t *number);
    int64_t *v;
    int n, cap;
};

static int add_number(void *arg, const char *name)
{
    struct numbers *s = arg;
    int64_t number;
    if (!s->parse(name, &number))
        return 0;
    if (s->n == s->cap) {
        const int cap = s->cap ? s->cap * 2 : 16;
        int64_t *v = realloc(s->v, (size_t)cap * sizeof *v);
        if (!v)
            return E_NOMEM;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = number;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int numbers_list(struct fs *fs, const char *dir, bool (*parse)(const char *name, int64_t *number), int64_t **out,
               int *n, struct err *e)
{
    struct numbers s = {.parse = parse};
    const int rc = fs->list(fs, dir, add_number, &s, e);
    if (rc && rc != E_NOTFOUND) {
        free(s.v);
        return rc == E_NOMEM ? err_set(e, E_NOMEM, "list %s", dir) : rc;
    }
    if (s.n)
        qsort(s.v, (size_t)s.n, sizeof *s.v, compare_numbers);
    *out = s.v;
    *n = s.n;
    return 0;
}

static struct store_file *file_new(struct fs *fs, const char *dir, int64_t start, int64_t size)
{
    const size_t path_n = strlen(dir) + 1 + FILE_NAME_LEN + 1;
    struct store_file *f = calloc(1, sizeof *f + path_n);
    if (!f)
        return NULL;
    f->asked = calloc((size_t)(size / HOT_CHUNK + 1), sizeof *f->asked);
    if (!f->asked) {
        free(f);
        return NULL;
    }
    f->fs = fs;
    f->start = start;
    f->size = size;
    atomic_init(&f->refs, 1);
    snprintf(f->path, path_n, "%s/%020lld", dir, (long long)start);
    return f;
}

static void file_free(struct store_file *f)
{
    if (f->map)
        f->fs->unmap(f->f, f->map, (size_t)f->size);
    if (f->f)
        f->fs->close(f->f);
    free(f->checked);
    free(f->asked);
    free(f);
}

static int file_map(struct store_file *f, struct err *e)
{
    void *p;
    const int rc = f->fs->map(f->f, (size_t)f->size, false, &p, e);
    if (rc)
        return rc;
    f->map = p;
    return 0;
}

static int allocate_and_sync(struct store_file *f, const char *dir, struct err *e)
{
    int rc = FAILPOINT(FP_STORE_ROLL);
    if (rc)
        return err_set(e, rc, "create %s: failpoint", f->path);
    rc = f->fs->open(f->fs, f->path, FS_WRITE | FS_CREATE | FS_TRUNC, &f->f, e);
    if (!rc)
        rc = f->fs->allocate(f->f, 0, f->size, false, e);
    if (!rc)
        rc = f->fs->sync(f->f, e);
    if (!rc)
        rc = f->fs->dirsync(f->fs, dir, e);
    return rc;
}

int store_file_create(struct fs *fs, const char *dir, int64_t start, int64_t size,
                      struct store_file **out, struct err *e)
{
    struct store_file *f = file_new(fs, dir, start, size);
    if (!f)
        return err_set(e, E_NOMEM, "create log file %lld", (long long)start);
    int rc = allocate_and_sync(f, dir, e);
    if (!rc)
        rc = file_map(f, e);
    if (rc) {
        /* What cannot be removed now is removed as "behind the end" by the next recovery. */
        if (f->f)
            (void)fs->unlink(fs, f->path, NULL);
        file_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

int store_file_load(struct fs *fs, const char *dir, int64_t start, int64_t size,
                    struct store_file **out, struct err *e)
{
    struct store_file *f = file_new(fs, dir, start, size);
    if (!f)
        return err_set(e, E_NOMEM, "load log file %lld", (long long)start);
    int64_t found = 0;
    int rc = fs->open(fs, f->path, FS_WRITE, &f->f, e);
    if (!rc)
        rc = fs->size(f->f, &found, e);
    if (!rc && found < size) {
        rc = fs->allocate(f->f, 0, size, false, e);
        if (!rc)
            rc = fs->sync(f->f, e);
    }
    if (!rc)
        rc = file_map(f, e);
    if (rc) {
        file_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

int store_file_cut(struct store_file *f, int64_t used, struct err *e)
{
    f->fs->unmap(f->f, f->map, (size_t)f->size);
    f->map = NULL;
    /* Shrinking gives back the blocks with whatever a crash or an earlier life left in them, growing
     * gets zeros: cheaper than writing zeros, and nothing old can be taken for a record later. */
    int rc = f->fs->truncate(f->f, used, e);
    if (!rc)
        rc = f->fs->allocate(f->f, 0, f->size, false, e);
    if (!rc)
        rc = f->fs->sync(f->f, e);
    return rc ? rc : file_map(f, e);
}

/* asked[]: 0 never, otherwise the time (from 1) of the question, negative when something was missing. */
static bool chunk_is_hot(struct store_file *f, int64_t chunk, int64_t written, int64_t now_ms, int64_t trust_ms)
{
    const int64_t asked = atomic_load_explicit(&f->asked[chunk], memory_order_relaxed);
    const int64_t age = now_ms + 1 - (asked < 0 ? -asked : asked);
    if (asked && age >= 0 && age < trust_ms)
        return asked > 0;
    const int64_t from = chunk * HOT_CHUNK, left = written - from;
    const bool hot = store_file_is_hot(f, from, left < HOT_CHUNK ? left : HOT_CHUNK);
    atomic_store_explicit(&f->asked[chunk], hot ? now_ms + 1 : -(now_ms + 1), memory_order_relaxed);
    return hot;
}

int64_t store_file_hot_to(struct store_file *f, int64_t at, int64_t n, int64_t written, int64_t now_ms,
                          int64_t trust_ms)
{
    if (written > f->size)
        written = f->size;
    if (!trust_ms || n > written - at)
        return at;
    int64_t to = at;
    while (to < at + n && chunk_is_hot(f, to / HOT_CHUNK, written, now_ms, trust_ms))
        to = (to / HOT_CHUNK + 1) * HOT_CHUNK;
    if (to < at + n)
        return at;
    return to < written ? to : written;
}

bool store_file_is_hot(const struct store_file *f, int64_t at, int64_t n)
{
    return f->fs->resident(f->f, f->map, (size_t)at, (size_t)n) == 1;
}

int store_file_warm(const struct store_file *f, int64_t at, int64_t n, struct err *e)
{
    enum { CHUNK = 64 * 1024 };
    if (store_file_is_hot(f, at, n))
        return 0;
    char *const chunk = malloc(CHUNK);
    int rc = chunk ? 0 : err_set(e, E_NOMEM, "read %s", f->path);
    for (const int64_t end = at + n; !rc && at < end; at += CHUNK) {
        const ssize_t got = f->fs->pread(f->f, chunk, end - at < CHUNK ? (size_t)(end - at) : CHUNK, at, e);
        rc = got < 0 ? (int)got : 0;
    }
    free(chunk);
    return rc;
}

struct store_file *store_file_ref(struct store_file *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void store_file_unref(struct store_file *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
        file_free(f);
}
