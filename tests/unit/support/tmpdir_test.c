/* tests/support/tmpdir.c */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "tests/support/tmpdir.h"

static bool exists(const char *path)
{
    struct fs_stat st;
    return fs_real.stat(&fs_real, path, &st, NULL) == 0;
}

static void directories_are_unique_empty_and_go_with_their_content(void **state)
{
    (void)state;
    const char *a = tmpdir_new("x"), *b = tmpdir_new("x");
    char path[512];
    assert_string_not_equal(a, b);
    assert_true(exists(a) && exists(b));
    assert_ok(fs_mkdirs(&fs_real, tmpdir_path(a, "deep/er"), NULL), NULL);
    assert_ok(fs_write_atomic(&fs_real, tmpdir_path(a, "deep/file"), SLICE_LIT("1"), NULL), NULL);
    snprintf(path, sizeof path, "%s", a);
    tmpdir_remove(a);
    assert_false(exists(path));
    assert_true(exists(b)); /* removed when the program ends */
}

static void they_are_kept_when_asked(void **state)
{
    (void)state;
    char path[512];
    const char *dir = tmpdir_new("kept");
    snprintf(path, sizeof path, "%s", dir);
    setenv("HALFPENNY_KEEP", "1", 1);
    tmpdir_remove(dir);
    unsetenv("HALFPENNY_KEEP");
    assert_true(exists(path));
    assert_ok(fs_remove_tree(&fs_real, path, NULL), NULL);
}

static void a_forked_child_leaves_its_parents_directories_alone(void **state)
{
    (void)state;
    int status;
    const char *dir = tmpdir_new("parent");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        exit(0); /* runs the exit handlers */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(exists(dir));
    tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directories_are_unique_empty_and_go_with_their_content),
        cmocka_unit_test(they_are_kept_when_asked),
        cmocka_unit_test(a_forked_child_leaves_its_parents_directories_alone),
    };
    return cmocka_run_group_tests_name("tmpdir", tests, NULL, NULL);
}
