/* The files of consume queues, opened through one bounded cache.
 *
 * Owns: the descriptors. 80,000 queues share at most FDS_MAX of them (a little more while more are in
 * use at once); the least recently used idle one is closed first.
 * Runs on: any thread. fds_lock guards the cache; opening and closing happen outside of it, since a
 * directory look-up may go to disk.
 *
 * Happy path: the file is found among the few open files of its queue.
 *
 * Failure modes: two threads open the same file at once: the second to arrive uses the first's and
 * closes its own. Out of descriptors: the error goes to the caller, who tries again later.
 *
 * Invariants: 1. a descriptor with users is never closed; 2. whoever uses one holds a reference to
 * its queue, so queue_fds_close (at the last reference) finds none in use; 3. a file that
 * queue_fd_get created has its full, sparse size. */
#include "store/store_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { FDS_MAX = 512 };

char *queue_dir(const struct store_queue *q)
{
    const size_t n = strlen(q->table->dir) + 1 + q->topic_n + 1 + 11 + 1;
    char *p = malloc(n);
    if (p)
        snprintf(p, n, "%s/" SLICE_FMT "/%d", q->table->dir, SLICE_ARG(queue_topic(q)), q->id);
    return p;
}

static struct queue_fd *lookup(struct store_queue *q, int64_t start)
{
    LIST_FOREACH(it, &q->fds) {
        struct queue_fd *fd = LIST_ENTRY(it, struct queue_fd, of_queue);
        if (fd->start == start && !fd->dropped) {
            fd->users++;
            list_remove(&fd->lru);
            list_push_front(&q->table->lru, &fd->lru);
            return fd;
        }
    }
    return NULL;
}

static int make_dir(struct fs *fs, const char *dir, struct err *e)
{
    const int rc = fs->mkdir(fs, dir, e);
    return rc == E_EXISTS ? 0 : rc;
}

/* The topic's directory and the queue's, without a sync. */
static int make_dirs(struct store_queue *q, char *dir, struct err *e)
{
    struct fs *fs = q->table->fs;
    int rc = make_dir(fs, dir, e);
    if (rc != E_NOTFOUND)
        return rc;
    char *const slash = strrchr(dir, '/');
    *slash = '\0';
    rc = make_dir(fs, dir, e);
    *slash = '/';
    return rc ? rc : make_dir(fs, dir, e);
}

/* CREATE_SYNCED: the name is durable before the first unit goes in; the sync of that unit covers the
 * size. What a failure leaves there is found by the next attempt, which must not take its name for
 * durable: only a sync of everything clears `unsynced`. */
static int create_file(struct store_queue *q, char *dir, const char *path, enum queue_create how,
                       struct fs_file **out, struct err *e)
{
    struct fs *fs = q->table->fs;
    int rc = q->has_dir ? 0 : how == CREATE_SYNCED ? fs_mkdirs(fs, dir, e) : make_dirs(q, dir, e);
    const bool opened = !rc && !(rc = fs->open(fs, path, FS_WRITE | FS_CREATE, out, e));
    if (!rc)
        rc = fs->truncate(*out, q->table->file_size, e);
    if (!rc && how == CREATE_SYNCED)
        rc = fs->dirsync(fs, dir, e);
    if (rc && opened)
        fs->close(*out);
    q->has_dir |= !rc;
    q->table->unsynced |= rc || how == CREATE_UNSYNCED;
    return rc;
}

static int finish_size(struct store_queue *q, struct fs_file *f, struct err *e)
{
    const int rc = q->table->fs->truncate(f, q->table->file_size, e);
    if (rc)
        q->table->fs->close(f);
    return rc;
}

static int open_file(struct store_queue *q, int64_t start, enum queue_create create, struct fs_file **out,
                     struct err *e)
{
    struct fs *fs = q->table->fs;
    char *dir = queue_dir(q), *path = dir ? path_join_start(dir, start) : NULL;
    int rc = path ? fs->open(fs, path, FS_WRITE, out, e) : err_set(e, E_NOMEM, "open consume queue file");
    if (rc == E_NOTFOUND && create != CREATE_NOT)
        rc = create_file(q, dir, path, create, out, e);
    else if (!rc && create != CREATE_NOT && q->table->unsynced) /* its creation may have failed half-way */
        rc = finish_size(q, *out, e);
    if (!rc && create != CREATE_NOT) {
        if (q->files_to < start + q->table->file_size)
            q->files_to = start + q->table->file_size;
    }
    free(path);
    free(dir);
    return rc;
}

static void forget(struct queue_table *t, struct queue_fd *fd)
{
    list_remove(&fd->lru);
    list_remove(&fd->of_queue);
    t->fd_n--;
}

/* Unlinks the oldest idle descriptor beyond the bound; the caller closes it without the lock. */
static struct queue_fd *pick_victim(struct queue_table *t)
{
    if (t->fd_n <= FDS_MAX)
        return NULL;
    for (struct list *it = t->lru.prev; it != &t->lru; it = it->prev) {
        struct queue_fd *fd = LIST_ENTRY(it, struct queue_fd, lru);
        if (!fd->users) {
            forget(t, fd);
            return fd;
        }
    }
    return NULL;
}

static void fd_free(struct queue_table *t, struct queue_fd *fd)
{
    if (!fd)
        return;
    t->fs->close(fd->f);
    free(fd);
}

struct queue_fd *queue_fd_cached(struct store_queue *q, int64_t start)
{
    uv_mutex_lock(&q->table->fds_lock);
    struct queue_fd *fd = lookup(q, start);
    uv_mutex_unlock(&q->table->fds_lock);
    return fd;
}

int queue_fd_get(struct store_queue *q, int64_t start, enum queue_create create, struct queue_fd **out,
                 struct err *e)
{
    struct queue_table *t = q->table;
    struct queue_fd *fd = queue_fd_cached(q, start);
    if (fd) {
        *out = fd;
        return 0;
    }
    struct queue_fd *mine = calloc(1, sizeof *mine);
    if (!mine)
        return err_set(e, E_NOMEM, "open consume queue file");
    const int rc = open_file(q, start, create, &mine->f, e);
    if (rc) {
        free(mine);
        return rc;
    }
    uv_mutex_lock(&t->fds_lock);
    struct queue_fd *victim;
    fd = lookup(q, start);
    if (fd) {
        victim = mine;
    } else {
        fd = mine;
        fd->start = start;
        fd->users = 1;
        list_push_front(&t->lru, &fd->lru);
        list_push_front(&q->fds, &fd->of_queue);
        t->fd_n++;
        victim = pick_victim(t);
    }
    uv_mutex_unlock(&t->fds_lock);
    fd_free(t, victim);
    *out = fd;
    return 0;
}

void queue_fd_put(struct store_queue *q, struct queue_fd *fd)
{
    struct queue_table *t = q->table;
    uv_mutex_lock(&t->fds_lock);
    const bool close = !--fd->users && fd->dropped;
    if (close)
        forget(t, fd);
    uv_mutex_unlock(&t->fds_lock);
    if (close)
        fd_free(t, fd);
}

void queue_fd_drop(struct store_queue *q, int64_t start)
{
    struct queue_table *t = q->table;
    uv_mutex_lock(&t->fds_lock);
    struct queue_fd *fd = lookup(q, start);
    if (fd)
        fd->dropped = true;
    uv_mutex_unlock(&t->fds_lock);
    if (fd)
        queue_fd_put(q, fd);
}

void queue_fds_close(struct store_queue *q)
{
    struct queue_table *t = q->table;
    for (;;) {
        uv_mutex_lock(&t->fds_lock);
        struct list *l = list_pop_front(&q->fds);
        struct queue_fd *fd = l ? LIST_ENTRY(l, struct queue_fd, of_queue) : NULL;
        if (fd) {
            MQ_ASSERT(!fd->users);
            list_remove(&fd->lru);
            t->fd_n--;
        }
        uv_mutex_unlock(&t->fds_lock);
        if (!fd)
            return;
        fd_free(t, fd);
    }
}
