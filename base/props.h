#pragma once
/* Java .properties text (key=value, ':' or blank as separator, # and ! comments, backslash escapes,
 * continuation lines), with line numbers kept for error messages. */
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct prop {
    char *key, *value;
    int line; /* 1-based; 0 for one that did not come from a file */
};
struct props {
    struct prop *items; /* in file order; of equal keys the last one counts (props_get) */
    size_t n;
};
int props_parse(struct slice text, struct props *out, struct err *e); /* E_INVAL names the line */
int props_load(const char *path, struct props *out, struct err *e);   /* at most 1 MiB */
const struct prop *props_get(const struct props *p, const char *key); /* NULL when absent */
void props_free(struct props *p);
