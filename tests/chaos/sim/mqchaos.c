/* mqchaos: faults against the store in this process, row by row of the reliability table.
 *
 *   mqchaos ROW [--count N | --all] [--seed S]
 *
 * Prints the seed, then one line with the counts; what failed goes to stderr with the command that
 * repeats it. Run i of N has seed S + i. Exit code 0: nothing failed, 1: something did, 2: usage. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/chaos/sim/chaos.h"

struct row {
    const char *id, *name;
    int64_t count; /* runs when nothing else is asked for */
    void (*run)(struct tally *t, uint64_t seed);
};

static const struct row rows[] = {
    {"R2", "power loss", 30, r2_run},
};

static void progress(const struct row *row, int64_t done, int64_t total)
{
    static int64_t told = -1;
    const int64_t percent = total ? done * 100 / total : 100;
    if (!isatty(STDERR_FILENO) || percent == told)
        return;
    told = percent;
    char bar[41];
    for (int i = 0; i < 40; i++)
        bar[i] = i * 100 < percent * 40 ? '#' : '.';
    bar[40] = '\0';
    fprintf(stderr, "\r%s %s [%s] %3" PRId64 " %%", row->id, row->name, bar, percent);
    if (done == total)
        fputs("\r\033[K", stderr);
}

static void print_counts(const struct row *row, const struct tally *t)
{
    printf("%s %s: %" PRId64 " runs, %" PRId64 " power cuts, %" PRId64 " acknowledged, %" PRId64
           " lost, %" PRId64 " invented, %" PRId64 " gaps, %" PRId64 " disorder, %" PRId64
           " damaged, %" PRId64 " not found by key; lost within the mode's promise: %" PRId64 "; %s\n",
           row->id, row->name, t->runs, t->cuts, t->acked, t->lost, t->invented, t->gaps,
           t->disorder, t->damaged, t->unindexed, t->excused, t->failures ? "FAILED" : "passed");
}

static const char usage[] = "usage: mqchaos R2 [--count N | --all] [--seed S]\n";

static int usage_error(const char *what)
{
    fprintf(stderr, "mqchaos: %s\n%s", what, usage);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", 1, NULL, 'c'}, {"all", 0, NULL, 'a'}, {"seed", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    int64_t count = 0, seed = (int64_t)(rng_seed_from_os() >> 16);
    bool all = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'a')
            all = true;
        else if (o == 'c' && (slice_i64(slice_str(optarg), &count) || count < 1))
            return usage_error("--count must be a number from 1 on");
        else if (o == 's' && (slice_i64(slice_str(optarg), &seed) || seed < 0))
            return usage_error("--seed must be a number from 0 on");
        else if (o == '?')
            return usage_error("unknown option");
    }
    if (optind + 1 != argc)
        return usage_error("name one row");
    const struct row *row = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(argv[optind], rows[i].id) == 0)
            row = &rows[i];
    if (!row)
        return usage_error("no such row");
    (void)all;
    if (!getenv("HALFPENNY_CHAOS_LOG")) /* the store reports each injected fault: thousands of lines */
        log_set_level((enum log_level)(LOG_ERROR + 1));
    struct tally t = {.id = row->id};
    count = count ? count : row->count;
    printf("# %s: seed %" PRId64 "\n", row->id, seed);
    fflush(stdout);
    for (int64_t i = 0; i < count; i++) {
        row->run(&t, (uint64_t)(seed + i));
        progress(row, i + 1, count);
    }
    print_counts(row, &t);
    return t.failures != 0;
}
