/* The program mqchaos: a run that ends the process leaves the command that repeats it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { DEADLINE_MS = 60000 };

/* Aborts a program that is in the middle of a row. */
static void abort_and_expect(const char *row, const char *said)
{
    const char *const bin = getenv("HALFPENNY_BIN");
    char program[512], output[512];
    struct err e = {0};
    snprintf(program, sizeof program, "%s/mqchaos", bin ? bin : "build/dev/bin");
    snprintf(output, sizeof output, "%s/out", tmpdir_new("mqchaos"));
    const char *const argv[] = {program, row, "--count", "1000000", "--seed", "7", NULL};
    struct process *const p = process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (!p)
        fail_msg("%s: %s", program, e.text);
    assert_true(process_wait_line(p, "seed 7", DEADLINE_MS, NULL, 0));
    assert_int_equal(process_signal(p, SIGABRT), 0);
    assert_int_equal(process_wait(p, DEADLINE_MS), 256 + SIGABRT);
    assert_true(process_wait_line(p, said, DEADLINE_MS, NULL, 0));
    process_free(p);
}

static void a_run_that_ends_the_process_can_be_repeated(void **state)
{
    (void)state;
    abort_and_expect("R2", "R2: died; reproduce: mqchaos R2 --count 1 --seed ");
}

static void so_can_a_position_of_a_sweep(void **state)
{
    (void)state;
    abort_and_expect("R5", "R5: died; reproduce: mqchaos R5 --");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_ends_the_process_can_be_repeated),
        cmocka_unit_test(so_can_a_position_of_a_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
