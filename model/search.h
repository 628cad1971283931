#pragma once
/* Exhaustive search of a small world: every state that any order of moves can reach, breadth first.
 *
 * A model is a set of functions over one flat state. The search calls `moves` for every state it has not
 * seen before and collects what search_move hands in. Three things are held against the model:
 *
 *   always    in every state: what must never be, not even for an instant
 *   at_rest   in every state in which nothing has to happen any more: what must be true then
 *   progress  from every state one at rest can be reached, if from now on nothing fails
 *
 * Because the search is breadth first, the trace that leads to the first violation is a shortest one. */
#include "apps/common/error.h"
#include <stddef.h>
#include <stdint.h>

struct search;

struct search_model {
    const char *name;
    size_t
        size; /* of a state, at most SEARCH_STATE_MAX; no padding: states are compared as bytes */
    void (*start)(void *state);
    /* Calls search_move or search_may once for each thing that can happen next. */
    void (*moves)(const void *state, struct search *x);
    /* Brings states that can do the same from now on to one form: what can have no effect any more is
     * removed. NULL: nothing is. Applied to every state before it is compared with the others. */
    void (*tidy)(void *state, const struct search *x);
    /* NULL, or what is wrong (a constant text). */
    const char *(*always)(const void *state);
    const char *(*at_rest)(const void *state, const struct search *x);
};
#define SEARCH_STATE_MAX 96

/* One thing that happens sooner or later unless something else prevents it, and the state after it. */
void search_move(struct search *x, const void *next, const char *fmt, ...) APP_PRINTF(3, 4);
/* One that may happen and need not: a failure, or somebody's free decision. It is followed like the other
 * kind, but nothing may depend on it: neither rest nor progress waits for it. */
void search_may(struct search *x, const void *next, const char *fmt, ...) APP_PRINTF(3, 4);
/* Whether a rule of the model is in force; rules are numbered by the model, 0..63. */
bool search_has(const struct search *x, unsigned rule);
/* How many failures one history may have; the model counts them. */
unsigned search_faults(const struct search *x);

struct search_options {
    uint64_t without; /* bit i: rule i is switched off */
    unsigned faults;
    uint32_t states_max; /* 0: SEARCH_STATES_MAX; more is an error, not an answer */
    void (*progress)(void *arg, uint32_t states, uint32_t waiting); /* NULL: none */
    void *arg;
};
#define SEARCH_STATES_MAX 12000000u

struct search_result {
    uint32_t states, ends; /* seen; at rest */
    uint64_t steps;
    int64_t us;
    const char
        *violation; /* NULL: everything holds. After a violation the counts are those so far */
    uint32_t moves; /* length of the trace */
    char **trace;   /* one text a move */
};
#define SEARCH_NO_PROGRESS "no clean end can be reached any more"

/* 0: searched to the end or to the first violation; search_result_free(out).
 * APP_E_NOMEM: memory or states_max does not suffice. */
int search_run(const struct search_model *m, const struct search_options *o,
               struct search_result *out, struct app_error *e) APP_CHECK;
void search_result_free(struct search_result *r);
