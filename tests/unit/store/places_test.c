/* Parts of a store that lie elsewhere, that moved, that are somebody else's. */
#include <stdio.h>
#include <stdlib.h>

#include "store/store_priv.h"
#include "tests/support/store_fixture.h"

static struct store_fixture f;
static struct rng rng;

static int setup(void **state)
{
    (void)state;
    rng = (struct rng){{1, 2, 3, 4}};
    fixture_init(&f, FLUSH_ASYNC);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_fini(&f);
    return 0;
}

static bool exists(const char *path)
{
    struct fs_stat st;
    return f.o.fs->stat(f.o.fs, path, &st, NULL) == 0;
}

static void relocate(void)
{
    f.o.commitlog_dir = "/log";
    f.o.consumequeue_dir = "/fast/cq";
    f.o.index_dir = "/fast/index";
    f.o.checkpoint_path = "/small/points/check";
    f.o.abort_path = "/small/running";
}

static void back(void)
{
    f.o.commitlog_dir = f.o.consumequeue_dir = f.o.index_dir = f.o.checkpoint_path = f.o.abort_path = NULL;
}

static void refused(int code, const char *text)
{
    struct err e = {0};
    assert_code(fixture_try_open(&f, &e), code, &e);
    assert_contains(e.text, text);
}

static void index_all(void)
{
    while (store_step_index(f.st)) {
    }
}

static void every_part_lies_where_it_is_told(void **state)
{
    (void)state;
    relocate();
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 30, 500);
    fixture_steps(&f);
    index_all();
    assert_true(exists("/log/00000000000000000000"));
    assert_true(exists("/fast/cq/T/0/00000000000000000000"));
    assert_true(exists("/small/points/check"));
    assert_true(exists("/small/running"));
    fixture_close(&f);
    assert_false(exists("/small/running"));
    assert_false(exists("/store/commitlog"));
    assert_false(exists("/store/consumequeue"));
    assert_false(exists("/store/index"));
    assert_false(exists("/store/checkpoint"));
    fixture_open(&f);
    assert_true(f.found.clean);
    assert_int_equal(f.found.records, 1); /* nothing is made again */
    fixture_verify(&f);
}

static void an_ordinary_store_has_no_file_for_it(void **state)
{
    (void)state;
    f.o.consumequeue_dir = "/store//consumequeue/";
    fixture_open(&f);
    fixture_close(&f);
    assert_false(exists("/store/storePlaces"));
    assert_false(exists("/store/consumequeue/.owner"));
}

static void queues_and_index_are_made_again_in_an_empty_place(void **state)
{
    (void)state;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 100, 500);
    fixture_put_many(&f, "U", 3, 20, 500);
    fixture_close(&f);
    f.o.consumequeue_dir = "/cq";
    f.o.index_dir = "/ix";
    fixture_open(&f);
    assert_int_equal(f.found.records, 120);
    index_all();
    struct store_stats s;
    store_stats_get(f.st, &s);
    assert_int_equal(s.indexed, s.log_visible);
    fixture_verify(&f);
}

/* The old copy has units of a torn tail, its index ends early; neither may be believed. */
static void a_stale_copy_is_not_trusted_when_the_path_goes_back(void **state)
{
    (void)state;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 60, 500);
    fixture_close(&f);
    f.o.consumequeue_dir = "/cq";
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 60, 500);
    fixture_close(&f);
    char *units;
    size_t n;
    fixture_read_file(&f, fixture_path("consumequeue/T/0/%020d", 0), &units, &n);
    queue_unit_put(units + 7 * 20, &(struct queue_unit){12345, 678, 9}); /* in the middle */
    fixture_write_file(&f, fixture_path("consumequeue/T/0/%020d", 0), units, n);
    free(units);
    back();
    fixture_open(&f);
    assert_int_equal(fixture_max(&f, "T", 0), 120);
    fixture_verify(&f);
    fixture_close(&f);
    fixture_open(&f); /* settled: the second time nothing moved */
    assert_int_equal(f.found.records, 1);
}

static void a_crash_before_the_move_is_settled_starts_it_over(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 400; nth += 7) {
        fixture_init(&f, FLUSH_SYNC);
        fixture_open(&f);
        fixture_put_many(&f, "T", 0, 70, 100);
        fixture_close(&f);
        relocate();
        f.o.commitlog_dir = NULL;
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .nth = nth, .for_ever = true, .error = E_IO});
        struct err e;
        const bool opened = !fixture_try_open(&f, &e);
        const bool hit = fs_fault_fired(&f.fault) > 0;
        fixture_crash(&f, &rng, FS_SIM_LOSE_ALL);
        fixture_open(&f);
        fixture_verify(&f);
        assert_int_equal(fixture_max(&f, "T", 0), 70);
        fixture_fini(&f);
        if (opened && !hit)
            break;
    }
}

static void a_directory_with_something_else_in_it_is_refused(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok(fs_mkdirs(f.o.fs, "/people/me", &e), &e);
    fixture_write_file(&f, "/people/me/thesis", "text", 4);
    f.o.consumequeue_dir = "/people/me";
    refused(E_DENIED, "storePathConsumeQueue=/people/me is not empty");
    back();
    f.o.index_dir = "/people/me";
    refused(E_DENIED, "storePathIndex=/people/me is not empty");
    assert_true(exists("/people/me/thesis"));
    assert_false(exists("/people/me/.owner"));
}

static void a_part_of_another_store_is_refused_running_or_not(void **state)
{
    (void)state;
    struct store_fixture other;
    fixture_init(&other, FLUSH_ASYNC);
    other.o.fs = f.o.fs; /* the same disk */
    other.o.root_dir = "/other";
    relocate();
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 3, 100);
    struct err e = {0};
    other.o.consumequeue_dir = "/fast/cq";
    assert_code(fixture_try_open(&other, &e), E_DENIED, &e);
    other.o.consumequeue_dir = NULL;
    other.o.commitlog_dir = "/log";
    assert_code(fixture_try_open(&other, &e), E_LOCKED, &e);
    other.o.commitlog_dir = NULL;
    other.o.checkpoint_path = "/small/points/check";
    assert_code(fixture_try_open(&other, &e), E_LOCKED, &e);
    assert_contains(e.text, "storeCheckpoint");
    other.o.checkpoint_path = NULL;
    other.o.abort_path = "/small/running";
    assert_code(fixture_try_open(&other, &e), E_LOCKED, &e);
    assert_contains(e.text, "abortFile");
    fixture_close(&f);
    other.o.abort_path = NULL;
    other.o.consumequeue_dir = "/fast/cq";
    assert_code(fixture_try_open(&other, &e), E_DENIED, &e);
    fixture_fini(&other);
    fixture_open(&f);
    fixture_verify(&f);
}

static void a_path_inside_another_one_is_refused(void **state)
{
    (void)state;
    f.o.index_dir = "/store/consumequeue/index";
    refused(E_INVAL, "storePathIndex=/store/consumequeue/index lies in storePathConsumeQueue");
    back();
    f.o.consumequeue_dir = "/store";
    refused(E_INVAL, "storePathConsumeQueue=/store holds storePathRootDir");
    back();
    f.o.abort_path = f.o.checkpoint_path = "/same";
    refused(E_INVAL, "/same");
}

static void a_crash_is_seen_although_the_abort_file_moved(void **state)
{
    (void)state;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 100);
    fixture_kill(&f);
    f.o.abort_path = "/running";
    fixture_open(&f);
    assert_false(f.found.clean);
    assert_false(exists("/store/abort"));
    fixture_kill(&f);
    back();
    fixture_open(&f);
    assert_false(f.found.clean);
    fixture_close(&f);
    assert_false(exists("/running"));
    fixture_open(&f);
    assert_true(f.found.clean);
}

/* storePlaces has no checksum: whatever it says, nothing but an abort file is removed. */
static void a_wrong_path_in_the_record_of_places_removes_no_file(void **state)
{
    (void)state;
    static const char *const paths[] = {"/store/commitlog/00000000000000000000", "/store/lock",
                                        "/store/consumequeue", "/elsewhere/none", ""};
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 30, 500);
    fixture_close(&f);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char text[128];
        const int n = snprintf(text, sizeof text, "abortFile=%s\n", paths[i]);
        fixture_write_file(&f, "/store/storePlaces", text, (size_t)n);
        fixture_open(&f);
        fixture_close(&f);
        assert_true(exists("/store/commitlog/00000000000000000000"));
        assert_true(exists("/store/lock"));
        fixture_open(&f);
        fixture_verify(&f);
        fixture_close(&f);
    }
}

static void files_of_others_are_not_overwritten(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok(fs_mkdirs(f.o.fs, "/etc", &e), &e);
    char text[5000];
    memset(text, 'x', sizeof text);
    fixture_write_file(&f, "/etc/passwd", text, sizeof text);
    f.o.abort_path = "/etc/passwd";
    refused(E_DENIED, "abortFile=/etc/passwd is there");
    back();
    f.o.checkpoint_path = "/etc/passwd";
    refused(E_DENIED, "storeCheckpoint=/etc/passwd is there");
    f.o.checkpoint_path = "/etc";
    refused(E_DENIED, "storeCheckpoint=/etc is there");
    char *now;
    size_t n;
    fixture_read_file(&f, "/etc/passwd", &now, &n);
    assert_int_equal(n, sizeof text);
    assert_memory_equal(now, text, n);
    free(now);
}

static void an_old_checkpoint_in_the_new_place_counts_for_nothing(void **state)
{
    (void)state;
    char page[CHECKPOINT_SIZE] = {0};
    for (int i = 0; i < 2; i++)
        be64_put(page + i * 8, INT64_C(4000000000000)); /* everything is on disk, it says */
    fixture_write_file(&f, "/check", page, sizeof page);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 200, 1000);
    fixture_kill(&f);
    f.o.checkpoint_path = "/check";
    fixture_open(&f);
    assert_int_equal(f.found.records, 200);
    fixture_verify(&f);
}

static void a_log_directory_without_files_is_refused_when_there_were_some(void **state)
{
    (void)state;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 100);
    fixture_close(&f);
    f.o.commitlog_dir = "/disk2/not-mounted";
    refused(E_CORRUPT, "storePathCommitLog=/disk2/not-mounted has no files");
    back();
    fixture_open(&f);
    assert_int_equal(fixture_max(&f, "T", 0), 10);
    fixture_verify(&f);
}

static void without_its_record_a_relocated_directory_has_to_be_empty(void **state)
{
    (void)state;
    f.o.consumequeue_dir = "/cq";
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 100);
    fixture_close(&f);
    fixture_write_file(&f, "/store/storePlaces", "id=short\n", 9);
    refused(E_DENIED, "storePathConsumeQueue=/cq is not empty");
    f.o.consumequeue_dir = "/cq2";
    fixture_open(&f);
    fixture_verify(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_part_lies_where_it_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ordinary_store_has_no_file_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(queues_and_index_are_made_again_in_an_empty_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_copy_is_not_trusted_when_the_path_goes_back, setup, teardown),
        cmocka_unit_test(a_crash_before_the_move_is_settled_starts_it_over),
        cmocka_unit_test_setup_teardown(a_directory_with_something_else_in_it_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_of_another_store_is_refused_running_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_inside_another_one_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_is_seen_although_the_abort_file_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_path_in_the_record_of_places_removes_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_others_are_not_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(an_old_checkpoint_in_the_new_place_counts_for_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_directory_without_files_is_refused_when_there_were_some, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_its_record_a_relocated_directory_has_to_be_empty, setup, teardown),
    };
    return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
