#pragma once
/* Reading a file piece by piece. By pread, not by mapping: a sector that cannot be read is a finding, not a
 * signal. One thread. */
#include "base/fs.h"

struct window {
    struct fs *fs;
    struct fs_file *f; /* NULL: none is open */
    char *buf;
    size_t cap, n;     /* buf holds [at, at + n) of the file */
    size_t ahead;      /* bytes read at once, at least */
    int64_t at;
};
void window_init(struct window *w, struct fs *fs, size_t ahead);
void window_close(struct window *w); /* the file; the memory stays */
void window_fini(struct window *w);
int window_open(struct window *w, const char *path, struct err *e) HP_MUST_USE;
/* Bytes from `off` on: `want` of them or more, fewer at the end of the file. They live until the next
 * call. E_IO, E_NOMEM. */
int window_get(struct window *w, int64_t off, size_t want, struct slice *out, struct err *e) HP_MUST_USE;
