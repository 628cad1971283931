/* base/err.c: names, classes, and a text that stays whole where it matters. */
#include "tests/support/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_code_has_a_name_a_text_and_a_class(void **state)
{
    (void)state;
    assert_string_equal(err_name(E_NOSPC), "E_NOSPC");
    assert_string_equal(err_text(E_NOSPC), "no space left on device");
    assert_int_equal(err_class_of(E_NOSPC), ERR_SYSTEM);
    assert_int_equal(err_class_of(E_TIMEOUT), ERR_RETRY);
    assert_string_equal(err_name(0), "OK");
}

static void an_unknown_code_is_a_bug_and_says_so(void **state)
{
    (void)state;
    assert_string_equal(err_name(-9999), "E_?");
    assert_string_equal(err_text(-9999), "unknown error");
    assert_int_equal(err_class_of(-9999), ERR_BUG);
}

static void set_returns_the_code_and_keeps_it(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, E_RANGE, "port %d", 70000), E_RANGE);
    assert_int_equal(e.code, E_RANGE);
    assert_int_equal(e.sys_errno, 0);
    assert_string_equal(e.text, "port 70000");
}

static void no_context_is_no_crash(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, E_INVAL, "x"), E_INVAL);
    assert_int_equal(err_sys(NULL, ENOSPC, "x"), E_NOSPC);
    assert_int_equal(err_wrap(NULL, E_CORRUPT, "x"), E_CORRUPT);
}

static void wrapping_puts_the_outer_context_first(void **state)
{
    (void)state;
    struct err e = {0};
    int rc = err_sys(&e, ENOENT, "open %s", "a/b");
    assert_int_equal(rc, E_NOTFOUND);
    assert_int_equal(err_wrap(&e, rc, "load %s", "offsets"), E_NOTFOUND);
    assert_string_equal(e.text, "load offsets: open a/b: No such file or directory");
    assert_int_equal(e.sys_errno, ENOENT);
}

static void wrapping_nothing_gives_the_text_of_the_code(void **state)
{
    (void)state;
    struct err e = {0};
    err_wrap(&e, E_LOCKED, "store");
    assert_string_equal(e.text, "store: locked by another process");
}

static void a_long_context_gives_way_to_the_reason(void **state)
{
    (void)state;
    struct err e = {0};
    char path[400];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    err_sys(&e, ENOSPC, "write %s", path);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_contains(e.text, ": No space left on device");
    err_wrap(&e, E_NOSPC, "outer");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void a_text_may_be_made_from_itself(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, E_IO, "inner");
    err_set(&e, E_CORRUPT, "outer (%s)", e.text);
    assert_string_equal(e.text, "outer (inner)");
}

static void errno_values_map_to_codes(void **state)
{
    (void)state;
    static const struct {
        int sys, code;
    } rows[] = {{ENOSPC, E_NOSPC}, {EDQUOT, E_NOSPC}, {ENOENT, E_NOTFOUND}, {EEXIST, E_EXISTS},
                {EACCES, E_DENIED}, {EPERM, E_DENIED}, {ENOMEM, E_NOMEM}, {ETIMEDOUT, E_TIMEOUT},
                {ECONNREFUSED, E_CONNECT}, {EIO, E_IO}, {EBADF, E_IO}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_code(err_sys(NULL, rows[i].sys, "x"), rows[i].code, NULL);
}

static void a_false_assertion_aborts_with_its_place(void **state)
{
    (void)state;
    int out[2], status;
    char text[512] = "";
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 2);
        MQ_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(out[1]);
    assert_true(read(out[0], text, sizeof text - 1) > 0);
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_contains(text, "err_test.c:");
    assert_contains(text, "assertion failed: 1 + 1 == 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_a_text_and_a_class),
        cmocka_unit_test(an_unknown_code_is_a_bug_and_says_so),
        cmocka_unit_test(set_returns_the_code_and_keeps_it),
        cmocka_unit_test(no_context_is_no_crash),
        cmocka_unit_test(wrapping_puts_the_outer_context_first),
        cmocka_unit_test(wrapping_nothing_gives_the_text_of_the_code),
        cmocka_unit_test(a_long_context_gives_way_to_the_reason),
        cmocka_unit_test(a_text_may_be_made_from_itself),
        cmocka_unit_test(errno_values_map_to_codes),
        cmocka_unit_test(a_false_assertion_aborts_with_its_place),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
