#pragma once
/* A progress line on a terminal. One thread. */
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct progress {
    bool on;           /* stderr is a terminal and nobody asked for silence */
    bool shown;
    const char *phase; /* of the last call: a new one starts the clock anew */
    int64_t began_ms, drawn_ms;
};
void progress_init(struct progress *p, bool quiet);
/* bytes: done and total are bytes, shown with rate and time left; else a count. */
void progress_show(struct progress *p, const char *phase, int64_t done, int64_t total, bool bytes);
void progress_end(struct progress *p); /* wipes the line */
/* The text of one line, without the terminal's codes. */
void progress_text(char *dst, size_t cap, const char *phase, int64_t done, int64_t total, bool bytes, int64_t elapsed_ms);
