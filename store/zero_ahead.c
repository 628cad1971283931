/* Zeros ahead of the log's end, so that a sync has no file system metadata to write.
 *
 * A log file is allocated in full, but its space is unwritten: the first write of each page also turns
 * a piece of "unwritten" into "written" in the file system's tables, and the fdatasync after it has to
 * commit its journal. Over pages that hold zeros already a sync writes data alone, which takes about
 * half the time (docs/decisions/0005-write-path-measured.md). In FLUSH_SYNC the allocator therefore
 * keeps `ahead` bytes before the end zeroed, in the tail and, near its end, in the file after it. It
 * begins with the first append, so that an idle store writes nothing.
 *
 * Owns: a descriptor of its own on the file it works on. Runs on: zero_ahead_step on the allocator;
 * zero_ahead_wanted and zero_ahead_wait on submitters, under the log lock.
 *
 * Happy path: take the next chunk under the log lock and say so in `at`, write zeros without the lock,
 * take `at` back, sync the chunk so that the flusher's next sync does not find it.
 *
 * Zeros over records would be the end of them. So: a chunk is chosen under the log lock and begins
 * two chunks behind the end at least; while it is being written, an append that would reach `at` waits
 * for it (zero_ahead_wait), and so does one that may go to the next file. Behind the end there is
 * nothing but zeros before and after, so whether a chunk reaches the disk changes nothing for recovery.
 *
 * Failure modes: any error ends the zeroing until the store is opened again, with a warning, and costs
 * speed only. A sync error met here is no verdict on records: the flusher's descriptor reports it to
 * the flusher too, since the kernel reports it once for each descriptor; therefore the own one.
 *
 * Invariants: 1. `at` is INT64_MAX unless a write of zeros is under way, and that write touches
 * nothing below `at`; 2. end <= at; 3. at most `ahead` and a chunk behind the end are zeroed. */
#include "base/log.h"
#include "store/store_priv.h"

enum { CHUNK_MAX = 512 * 1024, BLANK_BYTES = 64 * 1024 };

static const char blank[BLANK_BYTES];

struct chunk {
    struct store_file *file; /* a reference */
    int64_t at;
    size_t n;
};

int zero_ahead_init(struct zero_ahead *z, int64_t ahead, struct err *e)
{
    const int64_t quarter = ahead / 4 / PAGE * PAGE;
    z->ahead = ahead;
    z->chunk = quarter < PAGE ? PAGE : quarter < CHUNK_MAX ? quarter : CHUNK_MAX;
    z->at = INT64_MAX;
    return uv_cond_init(&z->done) ? err_set(e, E_NOMEM, "open commit log: cannot create a condition") : 0;
}

static void close_file(struct zero_ahead *z)
{
    if (z->f)
        z->file->fs->close(z->f);
    if (z->file)
        store_file_unref(z->file);
    z->f = NULL;
    z->file = NULL;
}

void zero_ahead_fini(struct zero_ahead *z)
{
    close_file(z);
    uv_cond_destroy(&z->done);
}

bool zero_ahead_wanted(struct commitlog *l)
{
    struct zero_ahead *z = &l->zero;
    if (!z->ahead || l->end < z->ask_at)
        return false;
    z->ask_at = l->end + z->chunk;
    z->begun = true;
    return z->upto - l->end < z->ahead / 2;
}

/* How far a batch of so many bytes may reach; INT64_MAX when it may not fit the tail. */
static int64_t reach(const struct commitlog *l, size_t bytes)
{
    const int64_t left = l->tail->start + l->file_size - l->end - MESSAGE_BLANK_SIZE;
    return left > 0 && bytes <= (uint64_t)left ? l->end + (int64_t)bytes : INT64_MAX;
}

void zero_ahead_wait(struct commitlog *l, size_t bytes)
{
    while (l->zero.at < reach(l, bytes))
        uv_cond_wait(&l->zero.done, &l->lock);
}

/* The file that holds `at`: the tail, or the one that was created ahead. Under the log lock. */
static struct store_file *file_of(struct commitlog *l, int64_t at)
{
    struct store_file *f = NULL;
    if (at < l->tail->start + l->file_size)
        return store_file_ref(l->tail);
    uv_mutex_lock(&l->ahead_lock);
    if (l->ahead && at < l->ahead->start + l->file_size)
        f = store_file_ref(l->ahead);
    uv_mutex_unlock(&l->ahead_lock);
    return f;
}

static bool take_chunk(struct commitlog *l, struct chunk *c)
{
    struct zero_ahead *z = &l->zero;
    uv_mutex_lock(&l->lock);
    const int64_t first = (l->end + 2 * z->chunk + PAGE - 1) / PAGE * PAGE;
    c->at = z->upto > first ? z->upto : first;
    c->file = z->begun && c->at < l->end + z->ahead ? file_of(l, c->at) : NULL;
    if (c->file) {
        const int64_t left = c->file->start + l->file_size - c->at;
        c->n = (size_t)(left < z->chunk ? left : z->chunk);
        z->at = c->at;
    }
    uv_mutex_unlock(&l->lock);
    return c->file;
}

static void chunk_written(struct commitlog *l, const struct chunk *c)
{
    uv_mutex_lock(&l->lock);
    l->zero.at = INT64_MAX;
    l->zero.upto = c->at + (int64_t)c->n;
    uv_cond_broadcast(&l->zero.done);
    uv_mutex_unlock(&l->lock);
}

static int open_file(struct zero_ahead *z, struct store_file *file, struct err *e)
{
    if (z->file == file)
        return 0;
    close_file(z);
    z->file = store_file_ref(file);
    return file->fs->open(file->fs, file->path, FS_WRITE, &z->f, e);
}

static int write_zeros(struct zero_ahead *z, const struct chunk *c, struct err *e)
{
    struct iovec iov[CHUNK_MAX / BLANK_BYTES];
    int n = 0;
    int rc = open_file(z, c->file, e);
    for (size_t left = c->n; left; n++) {
        iov[n] = (struct iovec){(void *)(uintptr_t)blank, left < BLANK_BYTES ? left : BLANK_BYTES};
        left -= iov[n].iov_len;
    }
    return rc ? rc : c->file->fs->pwritev(z->f, iov, n, c->at - c->file->start, e);
}

bool zero_ahead_step(struct commitlog *l)
{
    struct zero_ahead *z = &l->zero;
    struct chunk c;
    struct err e;
    if (!z->ahead || z->failed || !take_chunk(l, &c))
        return false;
    int rc = write_zeros(z, &c, &e);
    chunk_written(l, &c);
    if (!rc)
        rc = c.file->fs->datasync(z->f, &e);
    store_file_unref(c.file);
    if (rc) {
        z->failed = true;
        close_file(z);
        LOGW("store.zero_ahead", "text=\"%s\" effect=\"no more zeros ahead of the log, syncs take longer\"", e.text);
    }
    return !rc;
}
