/* tests/support/process.c */
#include "tests/support/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "tests/support/process.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

static const char *dir, *output;
static struct process *p;

static int setup(void **state)
{
    (void)state;
    dir = tmpdir_new("process");
    output = tmpdir_path(dir, "output.log");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    process_free(p);
    p = NULL;
    tmpdir_remove(dir);
    return 0;
}

static void run_shell(const char *script)
{
    struct err e = {0};
    const char *const argv[] = {"sh", "-c", script, NULL}, *const env[] = {"GREETING=hello", NULL};
    p = process_start(
        &(struct process_options){.argv = argv, .env = env, .output = output, .dir = dir}, &e);
    if (!p)
        fail_msg("%s", e.text);
}

static void output_environment_and_directory_are_as_asked(void **state)
{
    (void)state;
    char line[64];
    run_shell("echo $GREETING from $(pwd) >&2; exit 7");
    assert_true(process_wait_line(p, "hello", 10000, line, sizeof line));
    assert_contains(line, "hello from ");
    assert_int_equal(process_wait(p, 10000), 7);
    assert_int_equal(process_wait(p, 0), 7);
    assert_false(process_running(p));
    assert_code(process_signal(p, SIGTERM), E_NOTFOUND, NULL);
}

static void lines_are_found_in_order_and_only_once(void **state)
{
    (void)state;
    char line[64];
    run_shell("echo one ready; echo two ready; printf 'no newline ready'");
    assert_true(process_wait_line(p, "ready", 10000, line, sizeof line));
    assert_string_equal(line, "one ready");
    assert_true(process_wait_line(p, "ready", 10000, line, 5));
    assert_string_equal(line, "two ");
    assert_false(
        process_wait_line(p, "ready", 10000, line, sizeof line)); /* ended without another line */
}

static void waiting_for_a_line_has_a_deadline(void **state)
{
    (void)state;
    run_shell("echo started; exec sleep 1000");
    assert_true(process_wait_line(p, "started", 10000, NULL, 0));
    assert_false(process_wait_line(p, "never", 30, NULL, 0));
    assert_true(process_running(p));
    assert_code(process_wait(p, 10), E_TIMEOUT, NULL);
    assert_ok(process_signal(p, SIGKILL), NULL);
    assert_int_equal(process_wait(p, 10000), 256 + SIGKILL);
}

static void a_program_that_does_not_exist_is_an_error(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const argv[] = {"/no/such/program", NULL};
    assert_null(process_start(&(struct process_options){.argv = argv, .output = output}, &e));
    assert_int_equal(e.code, E_NOTFOUND);
    assert_contains(e.text, "start /no/such/program: No such file");
}

static bool is_gone(void *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cwd", (int)*(int32_t *)pid);
    return access(path, F_OK) != 0; /* a zombie has no directory either */
}

static void freeing_kills_children_of_children_too(void **state)
{
    (void)state;
    char line[64];
    run_shell("sleep 1000 & echo child $!; wait");
    assert_true(process_wait_line(p, "child", 10000, line, sizeof line));
    int32_t child;
    assert_ok(slice_i32(slice_str(line + strlen("child ")), &child), NULL);
    assert_false(is_gone(&child));
    process_free(p);
    p = NULL;
    assert_true(wait_until(is_gone, &child, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(output_environment_and_directory_are_as_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_are_found_in_order_and_only_once, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_for_a_line_has_a_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_program_that_does_not_exist_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_kills_children_of_children_too, setup, teardown),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
