/* The search: a list of states in the order in which they were met, and a hash table to find them again.
 *
 * Owns all states of one run; one thread. The list is the queue as well: what stands behind `at` has not
 * been looked at yet. A state's parent is the one it was first met from, so that walking back from any
 * state gives a shortest trace; the texts of the moves are not kept but asked for again, by running
 * `moves` of each state on the trace once more.
 *
 * Steps of search_move are kept as edges (one number each) for the last question, progress: from the states
 * at rest backwards over the edges. What is not met is a state from which no clean end can be reached; the
 * first such state in the list has a shortest trace.
 *
 * Failure modes: out of memory or more states than states_max, both reported. Invariants: states are
 * never moved to another number; edges of state i are to[first[i] .. first[i + 1]).
 */
#include "model/search.h"

#include "apps/common/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define LABEL_MAX 160
#define PROGRESS_EVERY 16384u

struct search {
    const struct search_model *m;
    uint64_t without;
    unsigned faults;
    uint32_t states_max;
    bool failed; /* out of memory or of states */

    unsigned char *states; /* n of m->size bytes */
    uint32_t *parent;
    uint64_t *first; /* edges of state i begin here; n + 1 numbers */
    uint32_t n, cap;
    uint32_t *slots; /* number + 1, 0: free */
    uint64_t slots_n;
    uint32_t *to;
    uint64_t edges, edges_cap;

    uint32_t at;    /* whose moves are asked for */
    uint32_t moves; /* of it that have to happen, so far */
    uint64_t steps;
    uint32_t want;         /* tracing: the successor that is looked for; else NONE */
    char label[LABEL_MAX]; /* of the move that leads there */
};

bool search_has(const struct search *x, unsigned rule)
{
    return !(x->without >> rule & 1);
}

unsigned search_faults(const struct search *x)
{
    return x->faults;
}

/* ---- the list and its table ---- */

static unsigned char *state_of(const struct search *x, uint32_t i)
{
    return x->states + (size_t)i * x->m->size;
}

static uint64_t hash_of(const unsigned char *s, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (; n > 0; s += 8) {
        const size_t take = n < 8 ? n : 8;
        uint64_t word = 0;
        memcpy(&word, s, take);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        n -= take;
    }
    return h;
}

static void *grown(struct search *x, void *p, uint64_t n, size_t size)
{
    void *const bigger = n <= SIZE_MAX / size ? realloc(p, (size_t)n * size) : NULL;
    x->failed |= bigger == NULL;
    return bigger ? bigger : p;
}

static bool rehash(struct search *x)
{
    const uint64_t slots_n = x->slots_n ? 2 * x->slots_n : 1u << 12;
    uint32_t *const slots = calloc(slots_n, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < x->n; i++) {
        uint64_t k = hash_of(state_of(x, i), x->m->size) & (slots_n - 1);
        while (slots[k])
            k = (k + 1) & (slots_n - 1);
        slots[k] = i + 1;
    }
    free(x->slots);
    x->slots = slots;
    x->slots_n = slots_n;
    return true;
}

/* Where a state stands in the table, or the free place where it belongs. */
static uint64_t slot_of(const struct search *x, const void *state)
{
    uint64_t k = hash_of(state, x->m->size) & (x->slots_n - 1);
    while (x->slots[k] && memcmp(state_of(x, x->slots[k] - 1), state, x->m->size) != 0)
        k = (k + 1) & (x->slots_n - 1);
    return k;
}

/* Room for one more state, in the list and in a table that stays half empty. */
static bool make_room(struct search *x)
{
    if (x->n >= x->states_max || (2 * ((uint64_t)x->n + 1) > x->slots_n && !rehash(x)))
        return false;
    if (x->n < x->cap)
        return true;
    x->cap = x->cap ? x->cap + x->cap / 2 : 1u << 11;
    x->states = grown(x, x->states, x->cap, x->m->size);
    x->parent = grown(x, x->parent, x->cap, sizeof *x->parent);
    x->first = grown(x, x->first, (uint64_t)x->cap + 1, sizeof *x->first);
    return !x->failed;
}

/* The number of a state, a new one if it was not met before; NONE when there is no room. */
static uint32_t number_of(struct search *x, const void *state)
{
    const uint64_t k = slot_of(x, state);
    if (x->slots[k])
        return x->slots[k] - 1;
    if (!make_room(x)) {
        x->failed = true;
        return NONE;
    }
    x->slots[slot_of(x, state)] = x->n + 1; /* the table may have grown */
    memcpy(state_of(x, x->n), state, x->m->size);
    x->parent[x->n] = x->at;
    return x->n++;
}

static void add_edge(struct search *x, uint32_t to)
{
    if (x->edges == x->edges_cap) {
        x->edges_cap = x->edges_cap ? x->edges_cap + x->edges_cap / 2 : 1u << 13;
        x->to = grown(x, x->to, x->edges_cap, sizeof *x->to);
        if (x->failed)
            return;
    }
    x->to[x->edges++] = to;
}

/* A move that changes nothing is no move. Returns the state's number, or NONE. Tracing: is this the move that
 * leads to the state that is looked for? Then its text is kept. */
__attribute__((format(printf, 3, 0)))
static uint32_t follow(struct search *x, const void *next, const char *fmt, va_list ap)
{
    unsigned char state[SEARCH_STATE_MAX];
    if (x->failed || x->label[0])
        return NONE;
    memcpy(state, next, x->m->size);
    if (x->m->tidy)
        x->m->tidy(state, x);
    if (x->want != NONE) {
        if (memcmp(state_of(x, x->want), state, x->m->size) == 0)
            (void)vsnprintf(x->label, sizeof x->label, fmt, ap);
        return NONE;
    }
    if (memcmp(state_of(x, x->at), state, x->m->size) == 0)
        return NONE;
    x->steps++;
    return number_of(x, state);
}

void search_move(struct search *x, const void *next, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const uint32_t to = follow(x, next, fmt, ap);
    va_end(ap);
    if (to == NONE)
        return;
    x->moves++;
    add_edge(x, to);
}

void search_may(struct search *x, const void *next, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)follow(x, next, fmt, ap);
    va_end(ap);
}

/* ---- what is held against the model ---- */

/* Asks for the moves of one state. The state is copied: the list may move while they come in. */
static void look_at(struct search *x, uint32_t i)
{
    unsigned char state[SEARCH_STATE_MAX];
    memcpy(state, state_of(x, i), x->m->size);
    x->at = i;
    x->moves = 0;
    x->first[i] = x->edges;
    x->m->moves(state, x);
}

/* Visits every state; the first violation ends it. Marks the approved states at rest in `clean`. */
static uint32_t visit_all(struct search *x, const struct search_options *o,
                          struct search_result *out)
{
    for (uint32_t i = 0; i < x->n; i++) {
        if ((out->violation = x->m->always(state_of(x, i))) != NULL)
            return i;
        look_at(x, i);
        if (x->failed)
            return NONE;
        if (x->moves == 0) {
            out->ends++;
            if ((out->violation = x->m->at_rest(state_of(x, i), x)) != NULL)
                return i;
        }
        if (o->progress && i % PROGRESS_EVERY == 0)
            o->progress(o->arg, x->n, x->n - i - 1);
    }
    x->first[x->n] = x->edges;
    return NONE;
}

/* Edges turned round: the states that lead to state i are from[begin[i] .. begin[i + 1]). */
static bool turn_round(const struct search *x, uint64_t **begin, uint32_t **from)
{
    uint64_t *const b = calloc((size_t)x->n + 2, sizeof *b);
    uint32_t *const f = malloc((size_t)(x->edges ? x->edges : 1) * sizeof *f);
    *begin = b;
    *from = f;
    if (!b || !f)
        return false;
    for (uint64_t e = 0; e < x->edges; e++)
        b[x->to[e] + 2]++;
    for (uint32_t i = 2; i < x->n + 2; i++)
        b[i] += b[i - 1];
    for (uint32_t i = 0; i < x->n; i++)
        for (uint64_t e = x->first[i]; e < x->first[i + 1]; e++)
            f[b[x->to[e] + 1]++] = i;
    return true;
}

/* The first state from which no state at rest can be reached; NONE: there is no such state. At this
 * point every state at rest is an approved one. */
static uint32_t without_progress(struct search *x)
{
    uint64_t *begin;
    uint32_t *from, *queue = malloc((size_t)x->n * sizeof *queue), found = NONE, n = 0;
    unsigned char *const met = calloc(x->n, 1);
    if (!turn_round(x, &begin, &from) || !queue || !met) {
        x->failed = true;
    } else {
        for (uint32_t i = 0; i < x->n; i++)
            if (x->first[i] == x->first[i + 1])
                met[queue[n++] = i] = 1;
        for (uint32_t at = 0; at < n; at++)
            for (uint64_t e = begin[queue[at]]; e < begin[queue[at] + 1]; e++)
                if (!met[from[e]])
                    met[queue[n++] = from[e]] = 1;
        for (uint32_t i = 0; i < x->n && found == NONE; i++)
            if (!met[i])
                found = i;
    }
    free(begin);
    free(from);
    free(queue);
    free(met);
    return found;
}

/* ---- the trace ---- */

static bool tell_trace(struct search *x, uint32_t end, struct search_result *out)
{
    for (uint32_t i = end; i != 0; i = x->parent[i])
        out->moves++;
    out->trace = calloc(out->moves ? out->moves : 1, sizeof *out->trace);
    if (!out->trace)
        return false;
    uint32_t place = out->moves;
    for (uint32_t i = end; i != 0; i = x->parent[i]) {
        x->want = i;
        x->label[0] = '\0';
        x->m->moves(state_of(x, x->parent[i]), x);
        if (!(out->trace[--place] = strdup(x->label)))
            return false;
    }
    return true;
}

/* ---- running ---- */

static int run(struct search *x, const struct search_options *o, struct search_result *out)
{
    unsigned char start[SEARCH_STATE_MAX] = {0};
    x->m->start(start);
    if (!rehash(x) || number_of(x, start) == NONE)
        return APP_E_NOMEM;
    uint32_t bad = visit_all(x, o, out);
    if (!x->failed && !out->violation && (bad = without_progress(x)) != NONE)
        out->violation = SEARCH_NO_PROGRESS;
    out->states = x->n;
    out->steps = x->steps;
    if (x->failed || (out->violation && !tell_trace(x, bad, out)))
        return APP_E_NOMEM;
    return APP_OK;
}

int search_run(const struct search_model *m, const struct search_options *o,
               struct search_result *out, struct app_error *e)
{
    APP_ASSERT(m->size > 0 && m->size <= SEARCH_STATE_MAX);
    struct search x = {.m = m,
                       .without = o->without,
                       .faults = o->faults,
                       .states_max = o->states_max ? o->states_max : SEARCH_STATES_MAX,
                       .want = NONE};
    const int64_t begun = timing_mono_us();
    *out = (struct search_result){.states = 0};
    int rc = run(&x, o, out);
    out->us = timing_mono_us() - begun;
    if (rc) {
        rc = app_fail(e, rc, "model %s: no room after %u states (at most %u) and %llu steps",
                      m->name, x.n, x.states_max, (unsigned long long)x.steps);
        search_result_free(out);
    }
    free(x.states);
    free(x.parent);
    free(x.first);
    free(x.slots);
    free(x.to);
    return rc;
}

void search_result_free(struct search_result *r)
{
    for (uint32_t i = 0; r->trace && i < r->moves; i++)
        free(r->trace[i]);
    free(r->trace);
    *r = (struct search_result){.states = 0};
}
