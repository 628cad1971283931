#pragma once
/* What is searched: both flows as they are, then without one line of defence each, which must hold as well;
 * and the mutants, each without a rule that nothing else makes up for, which must be caught. */
#include "model/search.h"

struct model_run {
    const char *name; /* unique */
    const struct search_model *model;
    uint64_t besides; /* rules left out (as for struct search_options) with which the model holds */
    uint64_t rule;    /* of a mutant: the rules that it leaves out, too */
    unsigned faults;
    const char *finds; /* of a mutant: what is violated; NULL: the run holds */
};
extern const struct model_run model_runs[];
extern const size_t model_runs_n;

const struct model_run *model_run_find(const char *name); /* NULL: there is none */
/* Whether a result is what the run is for: no violation, or one. */
bool model_run_is_right(const struct model_run *r, const struct search_result *result);
