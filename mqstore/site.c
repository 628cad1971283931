/* A store directory: its parts, sizes, and the lock that keeps a broker out meanwhile.
 *
 * Owns: the lock file's descriptor, the lists of log and index files.
 * Runs on: the one thread of the tool.
 *
 * Happy path: the lock is taken (never created: a copy of a store may have none), then the directories
 * are listed. File sizes are not written down anywhere in a store, so they are taken from the files: the
 * one that most files have. An operator may say otherwise.
 *
 * Failure modes: a running broker: E_LOCKED. A directory without any part of a store: E_INVAL, so that a
 * wrong path is not reported as an empty, healthy store. Nothing is changed on any path. */
#include "mqstore/site.h"

#include <stdlib.h>

int site_files(struct fs *fs, const char *dir, struct site_file **out, int *n, struct err *e)
{
    int64_t *starts;
    int rc = numbers_list(fs, dir, file_name_parse, &starts, n, e);
    if (rc)
        return rc;
    struct site_file *const files = calloc((size_t)*n + 1, sizeof *files);
    if (!files)
        rc = err_set(e, E_NOMEM, "list %s", dir);
    for (int i = 0; i < *n && !rc; i++) {
        struct fs_stat st;
        char *path = path_join_start(dir, starts[i]);
        rc = path ? fs->stat(fs, path, &st, e) : err_set(e, E_NOMEM, "list %s", dir);
        if (!rc)
            files[i] = (struct site_file){starts[i], st.size};
        free(path);
    }
    free(starts);
    if (rc)
        free(files);
    else
        *out = files;
    return rc;
}

static int compare_sizes(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int named_for(const struct site_file *files, int n, int64_t size)
{
    int fit = 0;
    for (int i = 0; i < n; i++)
        fit += files[i].start % size == 0;
    return fit;
}

int64_t site_usual_size(const struct site_file *files, int n)
{
    int64_t *const sizes = calloc((size_t)n + 1, sizeof *sizes), best = 0;
    int best_n = 0, same = 0;
    if (!sizes)
        return n ? files[0].size : 0;
    for (int i = 0; i < n; i++)
        sizes[i] = files[i].size;
    qsort(sizes, (size_t)n, sizeof *sizes, compare_sizes);
    for (int i = 0; i < n; i++) {
        same = i && sizes[i] == sizes[i - 1] ? same + 1 : 1;
        if (!sizes[i] || (i + 1 < n && sizes[i + 1] == sizes[i])) /* counted at the last of equals */
            continue;
        const int votes = same + named_for(files, n, sizes[i]);
        if (votes >= best_n) {
            best_n = votes;
            best = sizes[i];
        }
    }
    free(sizes);
    return best;
}

int site_log_file(const struct site *s, int64_t pos)
{
    int low = 0, high = s->log_n;
    while (low < high) {
        const int mid = low + (high - low) / 2;
        if (s->log[mid].start <= pos)
            low = mid + 1;
        else
            high = mid;
    }
    return low && pos - s->log[low - 1].start < s->log_file_size ? low - 1 : -1;
}

/* ---- index files ---- */

static int list_index(struct site *s, struct err *e)
{
    int64_t *names;
    int n;
    int rc = numbers_list(s->fs, s->index_dir, index_name_parse, &names, &n, e);
    if (rc)
        return rc;
    s->index = calloc((size_t)n + 1, sizeof *s->index);
    if (!s->index)
        rc = err_set(e, E_NOMEM, "list %s", s->index_dir);
    for (; s->index_n < n && !rc; s->index_n++) {
        struct buf path;
        struct fs_stat st;
        buf_init(&path, 0);
        buf_printf(&path, "%s/%017lld%c", s->index_dir, (long long)names[s->index_n], 0);
        rc = buf_error(&path) ? err_set(e, E_NOMEM, "list %s", s->index_dir) : s->fs->stat(s->fs, path.p, &st, e);
        if (!rc)
            s->index[s->index_n] = (struct site_index_file){.name = names[s->index_n], .size = st.size};
        buf_free(&path);
    }
    free(names);
    return rc;
}

void site_index_sizes(const struct site *s, int64_t size, int32_t *slots, int32_t *items)
{
    enum { RATIO = 4 };
    const int64_t both = INDEX_SLOT_SIZE + RATIO * INDEX_ITEM_SIZE, room = size - INDEX_HEADER_SIZE;
    int64_t s_n = s->o.index_slots, i_n = s->o.index_items;
    if (!s_n && !i_n && room > 0 && room % both == 0) {
        s_n = room / both;
        i_n = s_n * RATIO;
    } else if (s_n && !i_n) {
        i_n = (room - s_n * INDEX_SLOT_SIZE) / INDEX_ITEM_SIZE;
    } else if (i_n && !s_n) {
        s_n = (room - i_n * INDEX_ITEM_SIZE) / INDEX_SLOT_SIZE;
    }
    const bool possible = s_n > 0 && s_n <= INT32_MAX && i_n > 0 && i_n <= INT32_MAX;
    *slots = possible ? (int32_t)s_n : 0;
    *items = possible ? (int32_t)i_n : 0;
}

/* ---- opening ---- */

static bool exists(const struct site *s, const char *name)
{
    struct fs_stat st;
    char *const path = path_join(s->root, name);
    const bool there = path && !s->fs->stat(s->fs, path, &st, NULL);
    free(path);
    return there;
}

static int check_place(const struct site *s, struct err *e)
{
    static const char *const parts[] = {"commitlog", "consumequeue", "checkpoint", "config", "index", "abort", "lock"};
    struct fs_stat st;
    const int rc = s->fs->stat(s->fs, s->root, &st, e);
    if (rc)
        return rc == E_NOTFOUND ? err_set(e, rc, "%s: there is no such directory", s->root) : rc;
    if (!st.is_dir)
        return err_set(e, E_INVAL, "%s is not a directory: name the broker's storePathRootDir", s->root);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (exists(s, parts[i]))
            return 0;
    return err_set(e, E_INVAL, "%s holds no store (no commitlog/, consumequeue/, checkpoint, ...): name the "
                   "broker's storePathRootDir", s->root);
}

static int take_lock(struct site *s, struct err *e)
{
    char *const path = path_join(s->root, "lock");
    if (!path)
        return err_set(e, E_NOMEM, "lock %s", s->root);
    int rc = s->fs->open(s->fs, path, FS_WRITE, &s->lock, e);
    if (!rc) {
        rc = s->fs->lock(s->lock, e);
        if (rc)
            site_unlock(s);
    }
    free(path);
    if (rc == E_NOTFOUND)
        return 0;
    return rc == E_LOCKED ? err_set(e, rc, "%s is in use by a broker (or another mqstore): stop it first", s->root) : rc;
}

static char *dir_or(const struct site *s, const char *given, const char *name)
{
    return given ? slice_dup(slice_str(given)) : path_join(s->root, name);
}

static int open_parts(struct site *s, struct err *e)
{
    int rc = check_place(s, e);
    if (!rc)
        rc = take_lock(s, e);
    if (rc)
        return rc;
    s->crashed = exists(s, "abort");
    s->has_cq_ext = exists(s, "consumequeue_ext");
    rc = site_files(s->fs, s->log_dir, &s->log, &s->log_n, e);
    if (!rc && s->log_n && s->log[s->log_n - 1].start > INT64_MAX / 2)
        rc = err_set(e, E_CORRUPT, "%s/%020lld: no log is as long as this name says", s->log_dir,
                     (long long)s->log[s->log_n - 1].start);
    if (!rc) {
        s->log_file_size = s->o.log_file_size ? s->o.log_file_size : site_usual_size(s->log, s->log_n);
        rc = list_index(s, e);
    }
    return rc;
}

int site_open(struct site *s, const struct site_opts *o, struct err *e)
{
    *s = (struct site){.o = *o, .fs = o->fs ? o->fs : &fs_real};
    s->root = slice_dup(slice_str(o->root));
    if (!s->root)
        return err_set(e, E_NOMEM, "open store");
    s->log_dir = dir_or(s, o->commitlog_dir, "commitlog");
    s->cq_dir = dir_or(s, o->cq_dir, "consumequeue");
    s->index_dir = dir_or(s, o->index_dir, "index");
    const int rc = s->log_dir && s->cq_dir && s->index_dir ? open_parts(s, e) : err_set(e, E_NOMEM, "open store");
    if (rc)
        site_close(s);
    return rc;
}

void site_unlock(struct site *s)
{
    if (s->lock)
        s->fs->close(s->lock);
    s->lock = NULL;
}

void site_close(struct site *s)
{
    site_unlock(s);
    free(s->log);
    free(s->index);
    free(s->index_dir);
    free(s->cq_dir);
    free(s->log_dir);
    free(s->root);
    *s = (struct site){0};
}
