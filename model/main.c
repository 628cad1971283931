/* shopmodel: runs the searches of runs.c and tells what they found.
 *
 *   shopmodel                     all of them
 *   shopmodel --mutant NAME ...   these, each with the trace of its violation
 *   shopmodel --faults N ...      with so many failures in one history instead of the table's number
 *   shopmodel --list              what there is
 *
 * One thread, one run after the other. Exit status 0: every run is right, those that must hold hold, and every
 * mutant is caught. 1: one is not. 2: wrong usage. While a terminal watches, a line says how far a search is. */
#include "model/rules.h"
#include "model/runs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
    fputs(
        "usage: shopmodel [--faults N] [--trace] [--mutant NAME]... | --list\n"
        "Searches every order of events of the shop's two flows, as they are and without their rules.\n"
        "  --mutant NAME   only this run (may be repeated), with the trace of what it violates\n"
        "  --faults N      with so many failures in one history, 0 to 9, instead of each run's number\n"
        "  --trace         the traces of all runs\n"
        "  --list          the runs, and the rules they leave out\n",
        out);
}

/* ---- printing ---- */

static void progress(void *arg, uint32_t states, uint32_t waiting)
{
    const struct model_run *const r = arg;
    fprintf(stderr, "\r%s: %u states, %u to look at\033[K", r->name, states, waiting);
}

static void progress_ends(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void print_without(const struct model_run *r)
{
    const char *before = "  without ";
    for (unsigned i = 0; i < RULE_COUNT; i++)
        if ((r->besides | r->rule) >> i & 1) {
            printf("%s%s", before, rule_name(i));
            before = ", ";
        }
    if (r->besides | r->rule)
        fputc('\n', stdout);
}

static void print_list(void)
{
    for (size_t i = 0; i < model_runs_n; i++) {
        const struct model_run *const r = &model_runs[i];
        printf("%-28s %-8s faults %u  %s%s\n", r->name, r->model->name, r->faults,
               r->finds ? "mutant: " : "holds", r->finds ? r->finds : "");
        print_without(r);
    }
    printf("\nRules:\n");
    for (unsigned i = 0; i < RULE_COUNT; i++)
        printf("  %-18s %s\n", rule_name(i), rule_meaning(i));
}

static void print_trace(const struct search_result *f)
{
    for (uint32_t i = 0; i < f->moves; i++)
        printf("  %3u  %s\n", i + 1, f->trace[i]);
}

static void print_result(const struct model_run *r, const struct search_result *f, bool trace)
{
    const bool right = model_run_is_right(r, f);
    printf("%-6s %-28s %9u states %10llu steps %6.1f s  ", right ? "ok" : "FAILED", r->name,
           f->states, (unsigned long long)f->steps, (double)f->us / 1e6);
    if (f->violation)
        printf("%s%s, after %u moves\n", right ? "caught: " : "", f->violation, f->moves);
    else
        printf("%s\n", right ? "holds" : "not caught");
    if (f->violation && (trace || !right)) {
        print_without(r);
        print_trace(f);
    }
    (void)fflush(stdout);
}

/* ---- running ---- */

struct how {
    bool trace;
    int faults; /* -1: the table's */
};

static bool run(const struct model_run *r, struct how how)
{
    struct search_result f;
    struct app_error e;
    const struct search_options o = {.without = r->besides | r->rule,
                                     .faults = how.faults < 0 ? r->faults : (unsigned)how.faults,
                                     .progress = isatty(STDERR_FILENO) ? progress : NULL,
                                     .arg = (void *)r};
    const int rc = search_run(r->model, &o, &f, &e);
    progress_ends();
    if (rc) {
        printf("FAILED %s: %s\n", r->name, e.text);
        return false;
    }
    const bool right = model_run_is_right(r, &f);
    print_result(r, &f, how.trace);
    search_result_free(&f);
    return right;
}

static int run_all(struct how how)
{
    unsigned right = 0, mutants = 0, caught = 0;
    for (size_t i = 0; i < model_runs_n; i++) {
        const bool ok = run(&model_runs[i], how);
        right += ok;
        mutants += model_runs[i].finds != NULL;
        caught += ok && model_runs[i].finds;
    }
    printf("%zu searches, %u of %u mutants caught\n", model_runs_n, caught, mutants);
    printf("%u passed, %zu failed\n", right, model_runs_n - right);
    return right == model_runs_n ? 0 : 1;
}

/* ---- command line ---- */

static int bad_usage(const char *what, const char *name)
{
    fprintf(stderr, "shopmodel: %s%s\n", what, name ? name : "nothing");
    usage(stderr);
    return 2;
}

/* All of the command line is checked before anything runs. */
static int parse(int argc, char **argv, struct how *how, unsigned *mutants)
{
    for (int i = 1; i < argc; i++) {
        const char *const value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            how->trace = true;
        } else if (strcmp(argv[i], "--faults") == 0) {
            if (!value || value[0] < '0' || value[0] > '9' || value[1])
                return bad_usage("--faults needs a number from 0 to 9, not ", value);
            how->faults = argv[++i][0] - '0';
        } else if (strcmp(argv[i], "--mutant") == 0) {
            if (!value || !model_run_find(value))
                return bad_usage("--mutant needs a name that --list shows, not ", value);
            (*mutants)++;
            i++;
        } else {
            return bad_usage("unknown argument: ", argv[i]);
        }
    }
    return 0;
}

static int run_chosen(int argc, char **argv, struct how how)
{
    bool ok = true;
    how.trace = true;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--mutant") == 0)
            ok &= run(model_run_find(argv[++i]), how);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct how how = {.faults = -1};
    unsigned mutants = 0;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        print_list();
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage(stdout);
        return 0;
    }
    const int rc = parse(argc, argv, &how, &mutants);
    return rc ? rc : mutants ? run_chosen(argc, argv, how) : run_all(how);
}
