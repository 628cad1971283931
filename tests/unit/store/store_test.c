/* The life of a store: options, marker files, stops, and the failpoints in their places. */
#include "tests/support/store_fixture.h"

#include <stdlib.h>

#include "base/failpoint.h"
#include "tests/support/tmpdir.h"

static bool exists(struct store_fixture *f, const char *path)
{
    struct fs_stat st;
    return !fs_sim_fs(f->sim)->stat(fs_sim_fs(f->sim), path, &st, NULL);
}

static void marker_files_tell_whether_it_runs(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    assert_true(exists(&f, "/store/abort"));
    char *text;
    size_t n;
    fixture_read_file(&f, "/store/lock", &text, &n);
    assert_string_equal(text, "lock");
    free(text);
    fixture_put_many(&f, "T", 0, 1, 50);
    fixture_close(&f);
    assert_false(exists(&f, "/store/abort"));
    fixture_read_file(&f, "/store/checkpoint", &text, &n);
    assert_int_equal(n, 4096);
    assert_int_equal(be64_get(text), f.clock.wall);
    assert_int_equal(be64_get(text + 8), f.clock.wall);
    free(text);
    fixture_open(&f);
    fixture_kill(&f);
    assert_true(exists(&f, "/store/abort"));
    fixture_fini(&f);
}

static void fields_of_the_checkpoint_that_are_not_ours_are_kept(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_close(&f);
    char page[4096] = {0};
    for (int i = 0; i < 5; i++)
        be64_put(page + i * 8, (uint64_t)(100 + i));
    fixture_write_file(&f, "/store/checkpoint", page, sizeof page);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 1, 50);
    fixture_close(&f);
    char *text;
    size_t n;
    fixture_read_file(&f, "/store/checkpoint", &text, &n);
    assert_int_equal(be64_get(text), f.clock.wall);
    for (int i = 2; i < 5; i++)
        assert_int_equal(be64_get(text + i * 8), 100 + i);
    free(text);
    fixture_fini(&f);
}

static void options_out_of_range_name_their_key(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    const struct store_opts good = f.o;
    struct err e = {0};
    f.o.commitlog_file_size = 100;
    assert_code(fixture_try_open(&f, &e), E_INVAL, &e);
    assert_contains(e.text, "mappedFileSizeCommitLog=100");
    f.o = good;
    f.o.cq_file_size = 0;
    assert_code(fixture_try_open(&f, &e), E_INVAL, &e);
    assert_contains(e.text, "mappedFileSizeConsumeQueue=0");
    f.o = good;
    f.o.sync_flush_timeout_ms = -1;
    assert_code(fixture_try_open(&f, &e), E_INVAL, &e);
    assert_contains(e.text, "syncFlushTimeout");
    f.o = good;
    f.o.root_dir = NULL;
    assert_code(fixture_try_open(&f, &e), E_INVAL, &e);
    assert_contains(e.text, "storePathRootDir");
    assert_false(exists(&f, "/store"));
    fixture_fini(&f);
}

static void a_commit_log_may_live_elsewhere(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    char dir[] = "/elsewhere/log";
    f.o.commitlog_dir = dir;
    fixture_open(&f);
    memset(dir, 'x', sizeof dir - 1); /* it was copied */
    fixture_put_many(&f, "T", 0, 40, 4000);
    assert_true(exists(&f, "/elsewhere/log/00000000000000065536"));
    assert_false(exists(&f, "/store/commitlog"));
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_stop_completes_what_was_submitted(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    f.o.manual = false;
    f.o.clock = NULL;
    fixture_open(&f);
    for (int i = 0; i < 20; i++) {
        struct sent *s = fixture_append(&f, "T", 0, 0, 50, NULL);
        s->a.no_wait = true;
        store_port_submit(&f.port);
        sent_free(s);
    }
    fixture_close(&f);
    fixture_open(&f);
    assert_true(f.found.clean);
    assert_int_equal(fixture_max(&f, "T", 0), 20);
    fixture_verify(&f);
    fixture_close(&f);
    fixture_fini(&f);
}

static void a_stop_that_cannot_sync_says_so_and_counts_as_a_crash(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 2, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "commitlog", .error = E_IO});
    struct err e = {0};
    store_port_close(&f.port);
    struct store *st = f.st;
    f.st = NULL;
    assert_code(store_close(st, &e), E_FAILED, &e);
    assert_contains(e.text, "commitlog");
    assert_true(exists(&f, "/store/abort"));
    fixture_open(&f);
    assert_false(f.found.clean);
    fixture_verify(&f);
    fixture_fini(&f);
}

/* ---- failpoints ---- */

#if HP_FAILPOINTS
static void arm(const char *spec)
{
    struct err e = {0};
    assert_ok(failpoint_arm(slice_str(spec), &e), &e);
}

static void failpoints_of_the_log_fail_the_store(void **state)
{
    (void)state;
    const char *const points[] = {"store.append.write=error", "store.append.publish=error",
                                  "store.flush.sync=error", "store.flush.done=error"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct store_fixture f;
        fixture_init(&f, FLUSH_SYNC);
        fixture_open(&f);
        fixture_put_many(&f, "T", 0, 2, 50);
        arm(points[i]);
        assert_int_equal(fixture_put(&f, "T", 0, 50), STORE_FAILED);
        assert_int_equal(f.failed_calls, 1);
        failpoint_disarm_all();
        assert_int_equal(fixture_put(&f, "T", 0, 50), STORE_FAILED);
        fixture_verify(&f);
        fixture_kill(&f);
        fixture_open(&f);
        fixture_verify(&f);
        fixture_fini(&f);
    }
}

static void failpoints_of_derived_files_do_not(void **state)
{
    (void)state;
    const char *const points[] = {"store.cq.flush=error", "store.checkpoint=error"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct store_fixture f;
        fixture_init(&f, FLUSH_ASYNC);
        fixture_open(&f);
        arm(points[i]);
        fixture_put_many(&f, "T", 0, 20, 50);
        store_step_cq_flush(f.st);
        store_step_cq_flush(f.st);
        assert_int_equal(f.failed_calls, 0);
        failpoint_disarm_all();
        fixture_verify(&f);
        fixture_kill(&f);
        fixture_open(&f);
        fixture_verify(&f);
        fixture_fini(&f);
    }
}

static void failpoints_of_roll_and_recovery_are_told_and_pass(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    arm("store.roll=error(E_NOSPC)*1");
    fixture_put_many(&f, "T", 0, 16, 4000);
    assert_int_equal(fixture_put(&f, "T", 0, 4000), STORE_NO_FILE);
    assert_int_equal(fixture_put(&f, "T", 0, 4000), STORE_OK);
    fixture_kill(&f);
    arm("store.recover=error*1");
    struct err e = {0};
    assert_code(fixture_try_open(&f, &e), E_IO, &e);
    fixture_open(&f);
    failpoint_disarm_all();
    fixture_verify(&f);
    fixture_fini(&f);
}
#endif

static void a_store_on_the_real_file_system_keeps_its_messages(void **state)
{
    (void)state;
    const char *dir = tmpdir_new("store");
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    f.o.fs = NULL;
    f.o.clock = NULL;
    f.o.manual = false;
    f.o.root_dir = dir;
    for (int i = 0; i < 3; i++) {
        fixture_open(&f);
        assert_true(f.found.clean);
        for (int m = 0; m < 30; m++) {
            struct sent *s = fixture_append(&f, "T", m % 2, 0, 4000, NULL);
            store_port_submit(&f.port);
            while (!s->done)
                store_port_drain(&f.port, 10000);
            assert_int_equal(s->a.status, STORE_OK);
            sent_free(s);
        }
        struct store *again;
        struct err e = {0};
        assert_code(store_open(&again, &f.o, NULL, &e), E_LOCKED, &e);
        fixture_verify(&f);
        fixture_close(&f);
    }
    fixture_fini(&f);
    tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marker_files_tell_whether_it_runs),
        cmocka_unit_test(fields_of_the_checkpoint_that_are_not_ours_are_kept),
        cmocka_unit_test(options_out_of_range_name_their_key),
        cmocka_unit_test(a_commit_log_may_live_elsewhere),
        cmocka_unit_test(a_stop_completes_what_was_submitted),
        cmocka_unit_test(a_stop_that_cannot_sync_says_so_and_counts_as_a_crash),
#if HP_FAILPOINTS
        cmocka_unit_test(failpoints_of_the_log_fail_the_store),
        cmocka_unit_test(failpoints_of_derived_files_do_not),
        cmocka_unit_test(failpoints_of_roll_and_recovery_are_told_and_pass),
#endif
        cmocka_unit_test(a_store_on_the_real_file_system_keeps_its_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
