/* Reading measurements; see results.h. Pure but for the heap.
 *
 * Invariants: a result has at least one value; its values are finite and ascending. */
#include "bench/results.h"

#include <math.h>
#include <stdlib.h>

#include "base/slice.h"

static struct result *result_of(struct results *r, const struct slice f[4])
{
    for (size_t i = 0; i < r->n; i++) {
        struct result *x = &r->all[i];
        if (slice_eq_str(f[0], x->row) && slice_eq_str(f[1], x->peer) &&
            slice_eq_str(f[3], x->metric))
            return x;
    }
    if (r->n == r->cap) {
        const size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        struct result *p = realloc(r->all, cap * sizeof *p);
        if (p == NULL)
            return NULL;
        r->all = p;
        r->cap = cap;
    }
    struct result *x = &r->all[r->n];
    x->n = 0;
    if (slice_copy(f[0], x->row, sizeof x->row) != 0 ||
        slice_copy(f[1], x->peer, sizeof x->peer) != 0 ||
        slice_copy(f[3], x->metric, sizeof x->metric) != 0)
        return NULL;
    r->n++;
    return x;
}

static int number_of(struct slice s, double *out)
{
    char text[64], *end;
    if (s.n == 0 || slice_copy(s, text, sizeof text) != 0)
        return E_PROTO;
    *out = strtod(text, &end);
    return end == text + s.n && isfinite(*out) ? 0 : E_PROTO;
}

static int take_line(struct results *r, struct slice line, int number, struct err *e)
{
    struct slice f[5], rest = line;
    double v;
    int n = 0;
    while (n < 5 && slice_cut(&rest, '\t', &f[n]))
        n++;
    bool bad = n < 5 || rest.p != NULL;
    for (int i = 0; i < 5 && !bad; i++)
        bad = f[i].n == 0 || f[i].n >= RESULT_NAME_MAX;
    if (bad || number_of(f[4], &v) != 0)
        return err_set(e, E_PROTO, "line %d: not row, peer, round, metric and value", number);
    struct result *x = result_of(r, f);
    if (x == NULL)
        return err_set(e, E_NOMEM, "line %d", number);
    if (x->n == RESULT_ROUNDS_MAX)
        return err_set(e, E_TOOBIG, "line %d: more than %d rounds", number, RESULT_ROUNDS_MAX);
    size_t at = x->n++;
    for (; at > 0 && x->value[at - 1] > v; at--)
        x->value[at] = x->value[at - 1];
    x->value[at] = v;
    return 0;
}

int results_parse(struct results *r, const char *text, struct err *e)
{
    struct slice rest = slice_str(text), line;
    int rc = 0;
    for (int number = 1; rc == 0 && slice_cut(&rest, '\n', &line); number++)
        if (line.n > 0)
            rc = take_line(r, line, number, e);
    return rc;
}

void results_free(struct results *r)
{
    free(r->all);
    *r = (struct results){0};
}

const struct result *results_find(const struct results *r, const char *row, const char *peer,
                                  const char *metric)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct result *x = &r->all[i];
        if (strcmp(x->row, row) == 0 && strcmp(x->peer, peer) == 0 &&
            strcmp(x->metric, metric) == 0)
            return x;
    }
    return NULL;
}

double result_median(const struct result *r)
{
    const size_t mid = r->n / 2;
    return r->n % 2 == 1 ? r->value[mid] : (r->value[mid - 1] + r->value[mid]) / 2;
}
