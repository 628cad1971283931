#pragma once
/* The table: its rows, and what each must reach. */
#include <stdbool.h>

#include "bench/results.h"

struct table_row {
    const char *id;     /* as in --only */
    const char *source; /* row of the results that holds its figures */
    const char *metric, *unit, *title;
    const char *other; /* the server of the last column; NULL none */
    int digits;        /* behind the point */
};
extern const struct table_row table_rows[];
extern const size_t table_rows_n;

struct gate {
    const char *id;     /* of the row */
    const char *metric; /* of the row's source */
    const char *versus; /* peer of the same source; NULL: an absolute bound */
    bool at_least;      /* otherwise at most */
    double bound;       /* factor to `versus`, or the value itself */
    const char *text;   /* for people */
};
extern const struct gate gates[];
extern const size_t gates_n;

enum verdict { GATE_MET, GATE_NOT_MET, GATE_UNKNOWN /* not measured */ };
/* *value: ours / versus, or ours; set unless unknown. */
enum verdict gate_judge(const struct gate *g, const struct results *r, double *value);
