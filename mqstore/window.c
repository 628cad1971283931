/* Windows on files.
 *
 * Owns: one buffer per window; it grows to the largest piece asked for, at most a file's rest.
 * Runs on: the one thread of the tool.
 *
 * Happy path: reading forward costs one pread for every `ahead` bytes; jumping about costs one each.
 * Failure modes: a read error reaches the caller with the file's name; the window is empty then. */
#include "mqstore/window.h"

#include <stdlib.h>

void window_init(struct window *w, struct fs *fs, size_t ahead)
{
    *w = (struct window){.fs = fs, .ahead = ahead};
}

void window_close(struct window *w)
{
    if (w->f)
        w->fs->close(w->f);
    w->f = NULL;
    w->n = 0;
}

void window_fini(struct window *w)
{
    window_close(w);
    free(w->buf);
    w->buf = NULL;
    w->cap = 0;
}

int window_open(struct window *w, const char *path, struct err *e)
{
    window_close(w);
    return w->fs->open(w->fs, path, FS_READ, &w->f, e);
}

static int grow(struct window *w, size_t cap, struct err *e)
{
    char *const buf = realloc(w->buf, cap);
    if (!buf)
        return err_set(e, E_NOMEM, "no memory to read %zu bytes", cap);
    w->buf = buf;
    w->cap = cap;
    return 0;
}

int window_get(struct window *w, int64_t off, size_t want, struct slice *out, struct err *e)
{
    const bool inside = w->n && off >= w->at && off <= w->at + (int64_t)w->n;
    const size_t have = inside ? (size_t)(w->at + (int64_t)w->n - off) : 0;
    if (have < want || !inside) {
        const size_t n = want > w->ahead ? want : w->ahead;
        const int rc = n > w->cap ? grow(w, n, e) : 0;
        if (rc)
            return rc;
        w->n = 0;
        const ssize_t got = w->fs->pread(w->f, w->buf, n, off, e);
        if (got < 0)
            return (int)got;
        w->at = off;
        w->n = (size_t)got;
    }
    *out = slice_of(w->buf + (off - w->at), w->n - (size_t)(off - w->at));
    return 0;
}
