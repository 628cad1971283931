/* The program mqchaos: a run that ends the process leaves the command that repeats it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "tests/support/process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

enum { DEADLINE_MS = 60000 };

/* It has worked for a second: the first run is over. */
static bool has_worked(void *arg)
{
    char path[40];
    long long used_ns;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)process_pid(arg));
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lld", &used_ns), 1);
    fclose(f);
    return used_ns >= 1000000000;
}

/* Aborts a program that is in the middle of a row. The number that comes after what it said. */
static int64_t abort_and_read(const char *row, const char *said)
{
    const char *const bin = getenv("HALFPENNY_BIN");
    char program[512], output[512], line[256];
    int64_t n;
    struct err e = {0};
    snprintf(program, sizeof program, "%s/mqchaos", bin ? bin : "build/dev/bin");
    snprintf(output, sizeof output, "%s/out", tmpdir_new("mqchaos"));
    const char *const argv[] = {program, row, "--count", "1000000", "--seed", "7", NULL};
    struct process *const p = process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (!p)
        fail_msg("%s: %s", program, e.text);
    assert_true(wait_until(has_worked, p, DEADLINE_MS));
    assert_int_equal(process_signal(p, SIGABRT), 0);
    assert_int_equal(process_wait(p, DEADLINE_MS), 256 + SIGABRT);
    assert_true(process_wait_line(p, said, DEADLINE_MS, line, sizeof line));
    process_free(p);
    const char *const digits = strstr(line, said) + strlen(said);
    assert_int_equal(slice_i64(slice_of(digits, strspn(digits, "0123456789")), &n), 0);
    return n;
}

static void a_run_that_ends_the_process_can_be_repeated(void **state)
{
    (void)state;
    assert_true(abort_and_read("R2", "R2: died; reproduce: mqchaos R2 --count 1 --seed ") > 7);
}

static void so_can_a_position_of_a_sweep(void **state)
{
    (void)state;
    assert_true(abort_and_read("R5", "R5: died; reproduce: mqchaos R5 --at ") > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_ends_the_process_can_be_repeated),
        cmocka_unit_test(so_can_a_position_of_a_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
