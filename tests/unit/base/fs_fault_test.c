/* base/fs_fault.c: which call fails, how much of it happens, and loops over every call. */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "tests/support/wait.h"

static struct {
    struct fs_sim *sim;
    struct fs_fault fault;
    struct fs *fs;
    struct err e;
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.sim = fs_sim_new(0);
    fs_fault_init(&t.fault, fs_sim_fs(t.sim));
    t.fs = &t.fault.fs;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fs_fault_fini(&t.fault);
    fs_sim_free(t.sim);
    return 0;
}

static struct fs_file *create(const char *path)
{
    struct fs_file *f;
    assert_ok(t.fs->open(t.fs, path, FS_WRITE | FS_CREATE, &f, &t.e), &t.e);
    return f;
}

static void only_the_nth_call_fails(void **state)
{
    (void)state;
    struct fs_file *f = create("a");
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .nth = 3, .error = E_IO});
    for (int i = 1; i <= 5; i++)
        assert_code(t.fs->datasync(f, &t.e), i == 3 ? E_IO : 0, &t.e);
    assert_string_equal(t.e.text, "a: injected: input/output error");
    assert_int_equal(fs_fault_fired(&t.fault), 1);
    assert_int_equal(fs_fault_calls(&t.fault, FS_OP_DATASYNC), 5);
    assert_int_equal(fs_fault_calls(&t.fault, FS_OP_ANY_SYNC), 5);
    assert_int_equal(fs_fault_calls(&t.fault, FS_OP_OPEN), 1);
    t.fs->close(f);
}

static void for_ever_means_until_disarmed(void **state)
{
    (void)state;
    struct fs_file *f = create("a");
    fs_fault_arm(&t.fault, (struct fs_fault_rule){
                               .ops = FS_OP_SYNC, .nth = 2, .for_ever = true, .error = E_NOSPC});
    assert_ok(t.fs->sync(f, &t.e), &t.e);
    for (int i = 0; i < 3; i++)
        assert_code(t.fs->sync(f, &t.e), E_NOSPC, &t.e);
    fs_fault_disarm(&t.fault);
    assert_ok(t.fs->sync(f, &t.e), &t.e);
    t.fs->close(f);
}

static void only_matching_methods_and_paths_count(void **state)
{
    (void)state;
    struct fs_file *log = create("commitlog"), *queue = create("consumequeue");
    fs_fault_arm(&t.fault,
                 (struct fs_fault_rule){.ops = FS_OP_WRITE, .path_has = "queue", .error = E_IO});
    assert_ok(fs_write(log, t.fs, "x", 1, 0, &t.e), &t.e);
    assert_ok(t.fs->sync(queue, &t.e), &t.e);
    assert_code(fs_write(queue, t.fs, "x", 1, 0, &t.e), E_IO, &t.e);
    assert_ok(fs_write(queue, t.fs, "x", 1, 0, &t.e), &t.e);
    t.fs->close(log);
    t.fs->close(queue);
}

static void of_several_rules_each_counts_its_own(void **state)
{
    (void)state;
    struct fs_file *f = create("a");
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .nth = 2, .error = E_IO});
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .nth = 3, .error = E_NOSPC});
    static const int want[] = {0, E_IO, E_NOSPC, 0};
    for (int i = 0; i < 4; i++)
        assert_code(fs_write(f, t.fs, "x", 1, i, &t.e), want[i], &t.e);
    t.fs->close(f);
}

static void a_short_write_leaves_its_first_bytes(void **state)
{
    (void)state;
    char got[16] = "";
    struct fs_file *f = create("a");
    struct iovec iov[] = {{(char[]){"0123"}, 4}, {(char[]){"4567"}, 4}, {(char[]){"89"}, 2}};
    fs_fault_arm(&t.fault,
                 (struct fs_fault_rule){.ops = FS_OP_WRITE, .error = E_NOSPC, .short_bytes = 6});
    assert_code(t.fs->pwritev(f, iov, 3, 2, &t.e), E_NOSPC, &t.e);
    assert_int_equal(t.fs->pread(f, got, sizeof got, 0, &t.e), 8);
    assert_memory_equal(got, "\0\0" "012345", 8);
    fs_fault_arm(&t.fault,
                 (struct fs_fault_rule){.ops = FS_OP_WRITE, .error = E_NOSPC, .short_bytes = 1000});
    assert_code(t.fs->pwritev(f, iov, 3, 0, &t.e), E_NOSPC,
                &t.e); /* all of it, and still an error */
    assert_int_equal(t.fs->pread(f, got, sizeof got, 0, &t.e), 10);
    t.fs->close(f);
}

static void a_failed_sync_leaves_the_bytes_unsynced(void **state)
{
    (void)state;
    struct fs_stat st;
    struct fs_file *f = create("a");
    assert_ok(fs_write(f, t.fs, "data", 4, 0, &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .error = E_IO});
    assert_code(t.fs->datasync(f, &t.e), E_IO, &t.e);
    fs_sim_crash(t.sim, NULL, FS_SIM_LOSE_ALL);
    t.fs->close(f);
    assert_ok(t.fs->stat(t.fs, "a", &st, &t.e), &t.e);
    assert_int_equal(st.size, 0);
}

static void a_slow_sync_is_slow_and_succeeds(void **state)
{
    (void)state;
    struct fs_file *f = create("a");
    fs_fault_arm(&t.fault,
                 (struct fs_fault_rule){.ops = FS_OP_ANY_SYNC, .for_ever = true, .delay_ms = 20});
    int64_t before = clock_mono(&clock_system);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    assert_true(clock_mono(&clock_system) - before >= 19);
    t.fs->close(f);
}

static atomic_bool held, let_go;

static bool is_set(void *flag)
{
    return atomic_load((atomic_bool *)flag);
}

static void hold(void *arg)
{
    (void)arg;
    atomic_store(&held, true);
    wait_until(is_set, &let_go, 10000);
}

static void *sync_file(void *f)
{
    return t.fs->datasync(f, NULL) ? f : NULL;
}

static void a_hook_holds_one_call_while_others_pass(void **state)
{
    (void)state;
    pthread_t thread;
    void *failed;
    struct fs_file *f = create("a");
    fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .hook = hold});
    assert_int_equal(pthread_create(&thread, NULL, sync_file, f), 0);
    assert_true(wait_until(is_set, &held, 10000));
    assert_ok(fs_write(f, t.fs, "x", 1, 0, &t.e), &t.e);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    atomic_store(&let_go, true);
    pthread_join(thread, &failed);
    assert_null(failed);
    t.fs->close(f);
}

/* The loop that durability tests are made of: every call of a replacement fails once; before the
 * rename the old content must be there, after it the new, never anything else. */
static void an_atomic_write_survives_the_failure_of_any_of_its_calls(void **state)
{
    (void)state;
    int failures = 0;
    for (uint64_t nth = 1;; nth++) {
        char *text;
        size_t n;
        assert_ok(fs_write_atomic_bak(t.fs, "conf", SLICE_LIT("old"), &t.e), &t.e);
        uint64_t fired = fs_fault_fired(&t.fault);
        fs_fault_arm(&t.fault, (struct fs_fault_rule){.ops = FS_OP_ALL, .nth = nth, .error = E_IO});
        int rc = fs_write_atomic_bak(t.fs, "conf", SLICE_LIT("new"), &t.e);
        bool hit = fs_fault_fired(&t.fault) > fired;
        fs_fault_disarm(&t.fault);
        assert_ok(fs_read_all(t.fs, "conf", 100, &text, &n, &t.e), &t.e);
        if (rc == 0)
            assert_string_equal(text, "new");
        else
            assert_true(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
        free(text);
        failures += rc != 0;
        if (!hit)
            break;
    }
    assert_in_range((uint64_t)failures, 10, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_nth_call_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(for_ever_means_until_disarmed, setup, teardown),
        cmocka_unit_test_setup_teardown(only_matching_methods_and_paths_count, setup, teardown),
        cmocka_unit_test_setup_teardown(of_several_rules_each_counts_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_short_write_leaves_its_first_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_sync_leaves_the_bytes_unsynced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_sync_is_slow_and_succeeds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hook_holds_one_call_while_others_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(an_atomic_write_survives_the_failure_of_any_of_its_calls,
                                        setup, teardown),
    };
    return cmocka_run_group_tests_name("fs_fault", tests, NULL, NULL);
}
