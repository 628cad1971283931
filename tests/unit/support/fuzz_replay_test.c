/* tests/support/fuzz_replay.c, through the program fuzz_replay_target: replay, repeatable mutation,
 * and the saved input when the target dies. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "tests/support/process.h"
#include "tests/support/tmpdir.h"

static const char *dir;
static struct process *p;

static int setup(void **state)
{
    (void)state;
    dir = tmpdir_new("fuzz");
    return fs_real.mkdir(&fs_real, tmpdir_path(dir, "corpus"), NULL);
}

static int teardown(void **state)
{
    (void)state;
    process_free(p);
    p = NULL;
    tmpdir_remove(dir);
    return 0;
}

static void put(const char *name, const char *text)
{
    assert_ok(fs_write_atomic(&fs_real, tmpdir_path(dir, name), slice_str(text), NULL), NULL);
}

/* Runs the target on the corpus with up to three options; returns its exit code. */
static int run(const char *a, const char *b, const char *c)
{
    struct err e = {0};
    char program[512], tmp[512];
    const char *bin = getenv("HALFPENNY_BIN");
    snprintf(program, sizeof program, "%s/../fuzz/fuzz_replay_target", bin ? bin : "build/dev/bin");
    snprintf(tmp, sizeof tmp, "TMPDIR=%s", dir);
    const char *argv[6] = {program, tmpdir_path(dir, "corpus"), a, b, c, NULL};
    const char *const env[] = {tmp, NULL};
    process_free(p);
    p = process_start(&(struct process_options){
        .argv = argv, .env = env, .output = tmpdir_path(dir, "output")}, &e);
    if (!p)
        fail_msg("%s", e.text);
    return process_wait(p, 60000);
}

static void every_file_is_replayed_once(void **state)
{
    (void)state;
    char line[100];
    put("corpus/a", "\1");
    put("corpus/b", "\2");
    put("corpus/.hidden", "abort");
    assert_ok(fs_mkdirs(&fs_real, tmpdir_path(dir, "corpus/sub"), NULL), NULL);
    put("corpus/sub/c", "");
    assert_int_equal(run(NULL, NULL, NULL), 0);
    assert_true(process_wait_line(p, "target:", 1000, line, sizeof line));
    assert_string_equal(line, "target: inputs=3 sum=33"); /* in order of content: "", 1, 2 */
}

static void the_same_seed_makes_the_same_inputs(void **state)
{
    (void)state;
    char first[100], again[100], other[100];
    put("corpus/a", "{\"code\":10}");
    put("corpus/b", "some bytes of another input");
    assert_int_equal(run("-runs=5000", "-seed=1", "-max_len=100"), 0);
    assert_true(process_wait_line(p, "target: inputs=5002", 1000, first, sizeof first));
    assert_int_equal(run("-runs=5000", "-seed=1", "-max_len=100"), 0);
    assert_true(process_wait_line(p, "target:", 1000, again, sizeof again));
    assert_int_equal(run("-runs=5000", "-seed=2", "-max_len=100"), 0);
    assert_true(process_wait_line(p, "target:", 1000, other, sizeof other));
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
}

static void assert_saved(const char *kind, const char *want)
{
    char line[600], *text;
    size_t n;
    assert_true(process_wait_line(p, "the input was saved as", 1000, line, sizeof line));
    assert_contains(line, kind);
    assert_ok(fs_read_all(&fs_real, strchr(line, '/'), 100, &text, &n, NULL), NULL);
    assert_string_equal(text, want);
    free(text);
}

static void the_input_that_kills_the_target_is_saved(void **state)
{
    (void)state;
    static const char *const ways[] = {"abort now", "crash now", "align now"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        put("corpus/a", ways[i]);
        assert_int_not_equal(run(NULL, NULL, NULL), 0);
        assert_saved("/crash-", ways[i]);
    }
}

static void an_input_that_takes_for_ever_is_saved(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer holds the alarm back until the target makes a system call */
#endif
    put("corpus/a", "hang now");
    assert_int_equal(run("-timeout=1", NULL, NULL), 70);
    assert_saved("/timeout-", "hang now");
}

static void no_input_and_unknown_options_are_errors(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, NULL, NULL), 2);
    put("corpus/a", "x");
    assert_int_equal(run("-rums=5", NULL, NULL), 2);
    assert_int_equal(run("-runs=many", NULL, NULL), 2);
    assert_int_equal(run(tmpdir_path(dir, "missing"), NULL, NULL), 2);
    assert_int_equal(run("-runs=5", NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_file_is_replayed_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_seed_makes_the_same_inputs, setup, teardown),
        cmocka_unit_test_setup_teardown(the_input_that_kills_the_target_is_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(an_input_that_takes_for_ever_is_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(no_input_and_unknown_options_are_errors, setup, teardown),
    };
    return cmocka_run_group_tests_name("fuzz_replay", tests, NULL, NULL);
}
