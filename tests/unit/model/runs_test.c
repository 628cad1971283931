/* The searches themselves, one case each: both flows as they are, and every mutant, with at most one failure in
 * a history. `./run model` searches all of the table, with more failures. */
#include "model/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_search_finds_what_it_must(void **state)
{
    const struct model_run *const r = *state;
    const struct search_options o = {.without = r->besides | r->rule,
                                     .faults = r->faults < 1 ? r->faults : 1};
    struct search_result f;
    struct app_error e = {0};
    const int rc = search_run(r->model, &o, &f, &e);
    if (rc)
        fail_msg("%s", e.text);
    if (!model_run_is_right(r, &f)) {
        for (uint32_t i = 0; i < f.moves; i++)
            print_message("  %3u  %s\n", i + 1, f.trace[i]);
        fail_msg("%s: found \"%s\", must find \"%s\"", r->name,
                 f.violation ? f.violation : "nothing", r->finds ? r->finds : "nothing");
    }
    search_result_free(&f);
}

/* Otherwise the mutant could be caught for what is left out besides. */
static void what_mutants_leave_out_besides_their_rule_holds_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < model_runs_n; i++) {
        const struct model_run *const r = &model_runs[i];
        bool found = false;
        assert_int_equal(r->finds != NULL, r->rule != 0);
        for (size_t j = 0; j < model_runs_n; j++)
            found |= !model_runs[j].finds && model_runs[j].model == r->model &&
                     model_runs[j].besides == r->besides && model_runs[j].faults >= r->faults;
        if (!found)
            fail_msg("%s: no run holds without what it leaves out besides its rule", r->name);
    }
}

static void names_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < model_runs_n; i++)
        assert_ptr_equal(model_run_find(model_runs[i].name), &model_runs[i]);
    assert_null(model_run_find("no such run"));
}

int main(void)
{
    struct CMUnitTest *const tests = calloc(model_runs_n + 2, sizeof *tests);
    size_t n = 0;
    if (!tests)
        return 1;
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(names_are_unique);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test(what_mutants_leave_out_besides_their_rule_holds_alone);
    for (size_t i = 0; i < model_runs_n; i++)
        if (model_runs[i].finds || !model_runs[i].besides)
            tests[n++] = (struct CMUnitTest){.name = model_runs[i].name,
                                             .test_func = the_search_finds_what_it_must,
                                             .initial_state = (void *)&model_runs[i]};
    const int failed = _cmocka_run_group_tests("model", tests, n, NULL, NULL);
    free(tests);
    return failed;
}
