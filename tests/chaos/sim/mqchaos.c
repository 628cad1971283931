/* mqchaos: faults against the store in this process, row by row of the reliability table.
 *
 *   mqchaos ROW [--count N | --all | --at POSITION] [--seed S]
 *
 * Prints the seed, then one line with the counts; what failed goes to stderr with the command that
 * repeats it, also when a run ends the process. R2, R3, R4: run i of N has seed S + i. R5, R6: one
 * load, made from S, in which call (allocation) 1, 2, ... N fails; --all goes on until the load has
 * no more. Exit code 0: nothing failed, 1: something did, 2: usage. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
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
    bool (*sweep)(struct tally *t, uint64_t seed, int64_t n); /* or this; false: past the end */
    void (*print)(const struct tally *t);
};

static void progress(const struct row *row, int64_t done, int64_t total)
{
    static int64_t told = -1;
    const int64_t percent = total ? done * 100 / total : 100;
    if (!isatty(STDERR_FILENO) || percent == told || total == INT64_MAX)
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

#define N PRId64
static void print_r2(const struct tally *t)
{
    printf("%" N " runs, %" N " power cuts, %" N " acknowledged, %" N " lost, %" N " invented, %" N
           " gaps, %" N " disorder, %" N " damaged, %" N
           " not found by key, %" N " lost within the promise of asynchronous flush",
           t->runs, t->cuts, t->acked, t->lost, t->invented, t->gaps, t->disorder, t->damaged,
           t->unindexed, t->excused);
}

static void print_r3(const struct tally *t)
{
    printf("%" N " file sets, %" N " cuts, %" N " messages read, %" N " lost, %" N " invented, %" N
           " gaps, %" N " disorder, %" N " damaged, %" N " not found by key",
           t->runs, t->cuts, t->found, t->lost, t->invented, t->gaps, t->disorder, t->damaged,
           t->unindexed);
}

static void print_r4(const struct tally *t)
{
    printf("%" N " flips in each of %d kinds of file, %" N " in all, %" N " refused by name, %" N " lost, %" N
           " invented, %" N " gaps, %" N " disorder, %" N " damaged, %" N
           " not found by key; known limits: %" N " bytes of log dropped and reported behind a damaged record, %" N
           " keys hidden by index damage that mqstore verify finds, %" N
           " config files that parse with another value",
           t->runs, R4_KINDS, t->faults, t->refused, t->lost, t->invented, t->gaps, t->disorder,
           t->damaged, t->unindexed, t->dropped, t->hidden, t->changed);
}

static void print_r5(const struct tally *t)
{
    printf("%" N " positions, %" N " runs, %" N " faults, %" N " acknowledged, %" N " lost, %" N
           " invented, %" N " gaps, %" N " disorder, %" N " damaged, %" N " not found by key",
           t->positions, t->runs, t->faults, t->acked, t->lost, t->invented, t->gaps, t->disorder,
           t->damaged, t->unindexed);
}

static void print_r6(const struct tally *t)
{
    printf("%" N " positions, %" N " runs, %" N " failed allocations, %" N " refused with an error, %" N
           " acknowledged, %" N " lost, %" N " invented, %" N " gaps, %" N " disorder, %" N " damaged, %" N
           " leaks",
           t->positions, t->runs, t->faults, t->refused, t->acked, t->lost, t->invented, t->gaps,
           t->disorder, t->damaged, t->leaks);
}
#undef N

static const struct row rows[] = {
    {"R2", "power loss", 30, .run = r2_run, .print = print_r2},
    {"R3", "cut log", 2, .run = r3_run, .print = print_r3},
    {"R4", "flipped bits", 200, .run = r4_run, .print = print_r4},
    {"R5", "failing calls", 300, .sweep = r5_run, .print = print_r5},
    {"R6", "failing allocations", 2000, .sweep = r6_run, .print = print_r6},
};

static const char usage[] = 
    "usage: mqchaos R2|R3|R4|R5|R6 [--count N | --all | --at POSITION] [--seed S]\n";

static int usage_error(const char *what)
{
    fprintf(stderr, "mqchaos: %s\n%s", what, usage);
    return 2;
}

/* ---- a run that ends the process ---- */

static char last_words[TALLY_COMMAND_MAX + 40];

static void note_run(const struct tally *t, uint64_t seed, int64_t n)
{
    char command[TALLY_COMMAND_MAX], words[sizeof last_words] = "";
    tally_command(t, seed, n, command, sizeof command);
    snprintf(words, sizeof words, "%s: died; reproduce: %s\n", t->id, command);
    memcpy(last_words, words, sizeof words); /* a signal finds a whole line, old or new */
}

static void on_death(int signal)
{
    if (write(STDERR_FILENO, last_words, strlen(last_words)) < 0)
        _exit(1);
    raise(signal);
}

/* A sanitizer's own handlers stay. */
static void watch_deaths(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
    const struct sigaction watch = {.sa_handler = on_death, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction old;
        MQ_ASSERT(!sigaction(signals[i], NULL, &old));
        if (old.sa_handler == SIG_DFL)
            MQ_ASSERT(!sigaction(signals[i], &watch, NULL));
    }
}

static void run_row(const struct row *row, struct tally *t, uint64_t seed, int64_t count, int64_t at)
{
    if (at) {
        t->positions = row->sweep(t, seed, at);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const uint64_t run_seed = row->run ? seed + (uint64_t)i : seed;
        const int64_t n = row->run ? 0 : i + 1;
        note_run(t, run_seed, n);
        if (row->run)
            row->run(t, run_seed);
        else if (!row->sweep(t, run_seed, n))
            break;
        t->positions++;
        progress(row, i + 1, count);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", 1, NULL, 'c'}, {"all", 0, NULL, 'a'}, {"seed", 1, NULL, 's'},
        {"at", 1, NULL, 't'},    {NULL, 0, NULL, 0}};
    int64_t count = 0, at = 0, seed = (int64_t)(rng_seed_from_os() >> 16);
    bool all = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'a')
            all = true;
        else if (o == 'c' && (slice_i64(slice_str(optarg), &count) || count < 1))
            return usage_error("--count must be a number from 1 on");
        else if (o == 's' && (slice_i64(slice_str(optarg), &seed) || seed < 0))
            return usage_error("--seed must be a number from 0 on");
        else if (o == 't' && (slice_i64(slice_str(optarg), &at) || at < 1))
            return usage_error("--at must be a number from 1 on");
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
    if (at && !row->sweep)
        return usage_error("--at is for R5 and R6");
    if (!getenv("HALFPENNY_CHAOS_LOG")) /* the store reports each injected fault: thousands of lines */
        log_set_level((enum log_level)(LOG_ERROR + 1));
    struct tally t = {.id = row->id};
    note_run(&t, (uint64_t)seed, at);
    watch_deaths();
    printf("# %s: seed %" PRId64 "\n", row->id, seed);
    fflush(stdout);
    run_row(row, &t, (uint64_t)seed, all ? INT64_MAX : count ? count : row->count, at);
    printf("%s %s: ", row->id, row->name);
    row->print(&t);
    printf("; %s\n", t.failures ? "FAILED" : "passed");
    return t.failures != 0;
}
