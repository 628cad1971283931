#pragma once
/* The measurements of a run, read from lines of "row TAB peer TAB round TAB metric TAB value". */
#include <stddef.h>

#include "base/err.h"

enum { RESULT_NAME_MAX = 48, RESULT_ROUNDS_MAX = 256 };

/* All rounds of one metric of one peer in one row. */
struct result {
    char row[RESULT_NAME_MAX], peer[RESULT_NAME_MAX], metric[RESULT_NAME_MAX];
    double value[RESULT_ROUNDS_MAX]; /* sorted */
    size_t n;
};
struct results {
    struct result *all;
    size_t n, cap;
};

/* Adds the lines of a text. E_PROTO with the number of the line that is none; E_NOMEM; E_TOOBIG (more
 * than RESULT_ROUNDS_MAX values of one metric). */
int results_parse(struct results *r, const char *text, struct err *e) HP_MUST_USE;
void results_free(struct results *r);
const struct result *results_find(const struct results *r, const char *row, const char *peer,
                                  const char *metric); /* NULL: not measured */
double result_median(const struct result *r);          /* mean of the two middle ones when even */
static inline double result_min(const struct result *r)
{
    return r->value[0];
}
static inline double result_max(const struct result *r)
{
    return r->value[r->n - 1];
}
