/* base/fs_sim.c: what a crash may take, what it must leave, and the space of the disk. The plain
 * behaviour of the table is in fs_test.c. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "tests/support/seed.h"

static struct {
    struct fs_sim *sim;
    struct fs *fs;
    struct rng rng;
    struct err e;
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.sim = fs_sim_new(0);
    t.fs = fs_sim_fs(t.sim);
    t.rng = test_rng("fs_sim");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fs_sim_free(t.sim);
    return 0;
}

static struct fs_file *open_at(const char *path, int flags)
{
    struct fs_file *f;
    assert_ok(t.fs->open(t.fs, path, flags, &f, &t.e), &t.e);
    return f;
}

static void write_at(struct fs_file *f, const char *text, int64_t off)
{
    assert_ok(fs_write(f, t.fs, text, strlen(text), off, &t.e), &t.e);
}

static bool exists(const char *path)
{
    struct fs_stat st;
    return t.fs->stat(t.fs, path, &st, NULL) == 0;
}

static void assert_content(const char *path, const char *want)
{
    char *text;
    size_t n;
    assert_ok(fs_read_all(t.fs, path, 1 << 20, &text, &n, &t.e), &t.e);
    assert_slice_equal(slice_of(text, n), want);
    free(text);
}

static void crash(enum fs_sim_crash_mode mode)
{
    fs_sim_crash(t.sim, &t.rng, mode);
}

/* A file with synced content under a synced name, open for writing. */
static struct fs_file *durable_file(const char *path, const char *text)
{
    struct fs_file *f = open_at(path, FS_WRITE | FS_CREATE);
    write_at(f, text, 0);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
    return f;
}

static void synced_content_survives_and_the_rest_is_gone(void **state)
{
    (void)state;
    struct fs_file *f = durable_file("a", "kept");
    write_at(f, "LOST", 4);
    write_at(f, "X", 0);
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    assert_content("a", "kept");
}

static void a_file_whose_directory_was_not_synced_is_gone(void **state)
{
    (void)state;
    struct fs_file *f = open_at("a", FS_WRITE | FS_CREATE);
    write_at(f, "data", 0);
    assert_ok(t.fs->sync(f, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    assert_false(exists("a"));
}

static void a_sync_of_everything_makes_contents_sizes_and_names_durable(void **state)
{
    (void)state;
    struct fs_file *dir = open_at("/", FS_READ), *f;
    assert_ok(t.fs->mkdir(t.fs, "d", &t.e), &t.e);
    f = open_at("d/a", FS_WRITE | FS_CREATE);
    write_at(f, "kept", 0);
    assert_ok(t.fs->sync_all(dir, &t.e), &t.e);
    write_at(f, "lost", 0);
    t.fs->close(f);
    assert_ok(t.fs->mkdir(t.fs, "e", &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    assert_content("d/a", "kept");
    assert_false(exists("e"));
    assert_code(t.fs->sync_all(dir, &t.e), E_IO, &t.e);
    t.fs->close(dir);
}

static void directory_changes_need_the_sync_of_their_directory(void **state)
{
    (void)state;
    t.fs->close(durable_file("old", "1"));
    t.fs->close(durable_file("gone", "2"));
    assert_ok(t.fs->mkdir(t.fs, "d", &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
    assert_ok(t.fs->rename(t.fs, "old", "new", &t.e), &t.e);
    assert_ok(t.fs->unlink(t.fs, "gone", &t.e), &t.e);
    assert_ok(t.fs->mkdir(t.fs, "d/e", &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    assert_content("old", "1");
    assert_content("gone", "2");
    assert_false(exists("new"));
    assert_true(exists("d"));
    assert_false(exists("d/e"));

    assert_ok(t.fs->rename(t.fs, "old", "new", &t.e), &t.e);
    assert_ok(t.fs->unlink(t.fs, "gone", &t.e), &t.e);
    assert_ok(t.fs->mkdir(t.fs, "d/e", &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, "d", &t.e), &t.e); /* of the one directory only */
    crash(FS_SIM_LOSE_ALL);
    assert_true(exists("old"));
    assert_true(exists("d/e"));

    assert_ok(t.fs->rename(t.fs, "old", "new", &t.e), &t.e);
    assert_ok(t.fs->unlink(t.fs, "gone", &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, ".", &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    assert_content("new", "1");
    assert_false(exists("old"));
    assert_false(exists("gone"));
}

/* The file is made in q and moved to p; its making is pending too when one of the two is synced. */
static void a_rename_across_directories_is_whole_after_either_sync(void **state)
{
    (void)state;
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_LOSE_ALL, FS_SIM_KEEP_ALL};
    for (int i = 0; i < 4; i++) {
        assert_ok(fs_mkdirs(t.fs, "p", &t.e), &t.e);
        assert_ok(fs_mkdirs(t.fs, "q", &t.e), &t.e);
        struct fs_file *f = open_at("q/file", FS_WRITE | FS_CREATE);
        assert_ok(t.fs->rename(t.fs, "q/file", "p/moved", &t.e), &t.e);
        assert_ok(t.fs->dirsync(t.fs, i % 2 ? "p" : "q", &t.e), &t.e);
        crash(modes[i / 2]);
        t.fs->close(f);
        assert_true(exists("p/moved"));
        assert_false(exists("q/file"));
        assert_ok(fs_remove_tree(t.fs, "p", &t.e), &t.e);
        assert_ok(fs_remove_tree(t.fs, "q", &t.e), &t.e);
    }
}

static void a_change_whose_forerunner_was_lost_is_lost(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        t.fs->close(open_at("first", FS_WRITE | FS_CREATE));
        assert_ok(t.fs->rename(t.fs, "first", "second", &t.e), &t.e);
        assert_ok(t.fs->rename(t.fs, "second", "third", &t.e), &t.e);
        crash(FS_SIM_TORN_PAGES);
        assert_true(exists("first") + exists("second") + exists("third") <= 1);
        fs_remove_tree(t.fs, "first", NULL);
        fs_remove_tree(t.fs, "second", NULL);
        fs_remove_tree(t.fs, "third", NULL);
        assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
    }
}

static void a_killed_process_loses_nothing(void **state)
{
    (void)state;
    struct fs_file *f = open_at("a", FS_WRITE | FS_CREATE);
    write_at(f, "never synced", 0);
    crash(FS_SIM_KEEP_ALL);
    t.fs->close(f);
    assert_content("a", "never synced");
    crash(FS_SIM_LOSE_ALL); /* and it is durable now: the first crash settled it */
    assert_content("a", "never synced");
}

static void writes_through_a_mapping_are_lost_or_synced_like_others(void **state)
{
    (void)state;
    void *p;
    struct fs_file *f = open_at("a", FS_WRITE | FS_CREATE);
    assert_ok(t.fs->truncate(f, 3 * 4096, &t.e), &t.e);
    assert_ok(t.fs->sync(f, &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
    assert_ok(t.fs->map(f, 3 * 4096, true, &p, &t.e), &t.e);
    memcpy((char *)p + 10, "synced", 6);
    memcpy((char *)p + 2 * 4096, "not", 3);
    assert_ok(t.fs->map_sync(f, p, 10, 6, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    memcpy((char *)p + 100, "ghost", 5); /* the old mapping no longer reaches the disk */
    t.fs->unmap(f, p, 3 * 4096);
    t.fs->close(f);
    char got[3 * 4096];
    f = open_at("a", FS_WRITE);
    assert_int_equal(t.fs->pread(f, got, sizeof got, 0, &t.e), sizeof got);
    assert_memory_equal(got + 10, "synced", 6);
    assert_memory_equal(got + 2 * 4096, "\0\0\0", 3);
    assert_memory_equal(got + 100, "\0\0\0\0\0", 5);

    assert_ok(t.fs->map(f, 3 * 4096, true, &p, &t.e), &t.e);
    memcpy((char *)p + 2 * 4096, "now", 3);
    assert_ok(t.fs->datasync(f, &t.e), &t.e); /* syncs what was written through the mapping */
    memcpy((char *)p + 4096, "late", 4);
    t.fs->unmap(f, p, 3 * 4096);
    assert_ok(t.fs->datasync(f, &t.e), &t.e); /* also after it is gone */
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    f = open_at("a", FS_READ);
    t.fs->pread(f, got, sizeof got, 0, &t.e);
    assert_memory_equal(got + 2 * 4096, "now", 3);
    assert_memory_equal(got + 4096, "late", 4);
    t.fs->close(f);
}

static void a_truncation_that_was_not_synced_is_undone(void **state)
{
    (void)state;
    struct fs_file *f = durable_file("a", "0123456789");
    assert_ok(t.fs->truncate(f, 4, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    assert_content("a", "0123456789");
    f = open_at("a", FS_WRITE);
    assert_ok(t.fs->truncate(f, 4, &t.e), &t.e);
    assert_ok(t.fs->truncate(f, 6, &t.e), &t.e);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    char got[8];
    f = open_at("a", FS_READ);
    assert_int_equal(t.fs->pread(f, got, 8, 0, &t.e), 6);
    assert_memory_equal(got, "0123\0\0", 6);
    t.fs->close(f);
}

/* The size becomes durable with any sync, the bytes only where they were synced: never old ones. */
static void what_was_cut_off_does_not_come_back_when_the_file_grows(void **state)
{
    (void)state;
    void *p;
    char got[10];
    struct fs_file *f = durable_file("a", "0123456789");
    assert_ok(t.fs->truncate(f, 4, &t.e), &t.e);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    assert_ok(t.fs->truncate(f, 3 * 4096, &t.e), &t.e);
    assert_ok(t.fs->map(f, 3 * 4096, true, &p, &t.e), &t.e);
    assert_ok(t.fs->map_sync(f, p, 2 * 4096, 10, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    t.fs->unmap(f, p, 3 * 4096);
    t.fs->close(f);
    f = open_at("a", FS_READ);
    assert_int_equal(t.fs->pread(f, got, 10, 0, &t.e), 10);
    assert_memory_equal(got, "0123\0\0\0\0\0\0", 10);
    t.fs->close(f);
}

/* Each unit is old or new as a whole, both occur, and what was synced after it was written is new.
 * */
static void check_torn(enum fs_sim_crash_mode mode, size_t unit)
{
    enum { SIZE = 16 * 4096 };
    static char block[SIZE];
    int old_units = 0, new_units = 0;
    for (int round = 0; round < 50; round++) {
        struct fs_file *f = open_at("a", FS_WRITE | FS_CREATE);
        memset(block, 'o', SIZE);
        assert_ok(fs_write(f, t.fs, block, SIZE, 0, &t.e), &t.e);
        assert_ok(t.fs->datasync(f, &t.e), &t.e);
        assert_ok(t.fs->dirsync(t.fs, "/", &t.e), &t.e);
        memset(block, 'n', SIZE);
        assert_ok(fs_write(f, t.fs, block, SIZE, 0, &t.e), &t.e);
        crash(mode);
        t.fs->close(f);
        f = open_at("a", FS_READ);
        assert_int_equal(t.fs->pread(f, block, SIZE, 0, &t.e), SIZE);
        t.fs->close(f);
        for (size_t at = 0; at < SIZE; at += unit) {
            for (size_t i = 1; i < unit; i++)
                assert_int_equal(block[at + i], block[at]);
            old_units += block[at] == 'o';
            new_units += block[at] == 'n';
        }
    }
    assert_true(old_units > 0 && new_units > 0);
    assert_int_equal((size_t)(old_units + new_units), 50 * SIZE / unit);
}

static void pages_are_torn_as_pages(void **state)
{
    (void)state;
    check_torn(FS_SIM_TORN_PAGES, 4096);
}

static void sectors_are_torn_as_sectors(void **state)
{
    (void)state;
    check_torn(FS_SIM_TORN_SECTORS, 512);
}

static void a_torn_append_keeps_the_synced_part(void **state)
{
    (void)state;
    bool longer = false, shorter = false;
    for (int round = 0; round < 60; round++) {
        struct fs_stat st;
        char got[4];
        struct fs_file *f = durable_file("a", "head");
        static char tail[20000];
        memset(tail, 't', sizeof tail);
        assert_ok(fs_write(f, t.fs, tail, sizeof tail, 4, &t.e), &t.e);
        crash(FS_SIM_TORN_PAGES);
        t.fs->close(f);
        assert_ok(t.fs->stat(t.fs, "a", &st, &t.e), &t.e);
        assert_in_range((uint64_t)st.size, 4, 20004);
        longer |= st.size > 4;
        shorter |= st.size < 20004;
        f = open_at("a", FS_WRITE);
        assert_int_equal(t.fs->pread(f, got, 4, 0, &t.e), 4);
        assert_memory_equal(got, "head", 4);
        assert_ok(t.fs->truncate(f, 0, &t.e), &t.e);
        t.fs->close(f);
    }
    assert_true(longer && shorter);
}

/* Whatever subset of directory changes survives: a replaced file is the old or the new one, whole.
 * */
static void a_torn_crash_never_breaks_an_atomic_replacement(void **state)
{
    (void)state;
    bool seen_old = false, seen_new = false;
    for (int round = 0; round < 200; round++) {
        char *text;
        size_t n;
        struct fs_fault fault;
        assert_ok(fs_write_atomic(t.fs, "conf", SLICE_LIT("old"), &t.e), &t.e);
        fs_fault_init(&fault, t.fs); /* the directory sync does not happen */
        fs_fault_arm(&fault, (struct fs_fault_rule){.ops = FS_OP_DIRSYNC, .error = E_IO});
        assert_code(fs_write_atomic(&fault.fs, "conf", SLICE_LIT("new"), &t.e), E_IO, &t.e);
        fs_fault_fini(&fault);
        crash(round % 2 ? FS_SIM_TORN_PAGES : FS_SIM_TORN_SECTORS);
        assert_ok(fs_read_all(t.fs, "conf", 100, &text, &n, &t.e), &t.e);
        bool is_new = strcmp(text, "new") == 0;
        assert_true(is_new || strcmp(text, "old") == 0);
        seen_new |= is_new;
        seen_old |= !is_new;
        free(text);
    }
    assert_true(seen_old && seen_new);
}

static void the_same_seed_crashes_the_same_way(void **state)
{
    (void)state;
    static char first[16 * 512], again[16 * 512], block[16 * 512];
    for (int i = 0; i < 2; i++) {
        struct fs_sim *sim = fs_sim_new(0);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *f;
        struct rng rng;
        rng_seed(&rng, 12);
        assert_ok(fs->open(fs, "a", FS_WRITE | FS_CREATE, &f, &t.e), &t.e);
        assert_ok(fs->truncate(f, sizeof block, &t.e), &t.e);
        assert_ok(fs->sync(f, &t.e), &t.e);
        assert_ok(fs->dirsync(fs, "/", &t.e), &t.e);
        memset(block, 'x', sizeof block);
        assert_ok(fs_write(f, fs, block, sizeof block, 0, &t.e), &t.e);
        fs_sim_crash(sim, &rng, FS_SIM_TORN_SECTORS);
        fs->close(f);
        assert_ok(fs->open(fs, "a", FS_READ, &f, &t.e), &t.e);
        assert_int_equal(fs->pread(f, i ? again : first, sizeof first, 0, &t.e), sizeof first);
        fs->close(f);
        fs_sim_free(sim);
    }
    assert_memory_equal(first, again, sizeof first);
}

static void files_from_before_a_crash_are_dead_and_their_locks_free(void **state)
{
    (void)state;
    char byte;
    int64_t size;
    void *p;
    struct fs_file *f = durable_file("a", "data");
    assert_ok(t.fs->lock(f, &t.e), &t.e);
    crash(FS_SIM_LOSE_ALL);
    assert_code(t.fs->pread(f, &byte, 1, 0, &t.e), E_IO, &t.e);
    assert_contains(t.e.text, "a: opened before the crash");
    assert_code(fs_write(f, t.fs, "x", 1, 0, &t.e), E_IO, &t.e);
    assert_code(t.fs->datasync(f, &t.e), E_IO, &t.e);
    assert_code(t.fs->truncate(f, 0, &t.e), E_IO, &t.e);
    assert_code(t.fs->allocate(f, 0, 1, false, &t.e), E_IO, &t.e);
    assert_code(t.fs->size(f, &size, &t.e), E_IO, &t.e);
    assert_code(t.fs->map(f, 1, false, &p, &t.e), E_IO, &t.e);
    assert_code(t.fs->lock(f, &t.e), E_IO, &t.e);
    struct fs_file *new = open_at("a", FS_WRITE);
    assert_ok(t.fs->lock(new, &t.e), &t.e);
    t.fs->close(f);
    t.fs->close(new);
    assert_content("a", "data");
}

static void a_full_disk_takes_what_fits_and_frees_what_is_removed(void **state)
{
    (void)state;
    static char block[5 * 4096];
    struct fs_space space;
    fs_sim_set_capacity(t.sim, 4 * 4096);
    memset(block, 'b', sizeof block);
    struct fs_file *f = open_at("a", FS_WRITE | FS_CREATE);
    assert_code(fs_write(f, t.fs, block, sizeof block, 0, &t.e), E_NOSPC, &t.e);
    int64_t size;
    assert_ok(t.fs->size(f, &size, &t.e), &t.e);
    assert_int_equal(size, 4 * 4096); /* a part was written */
    assert_int_equal(fs_sim_used(t.sim), 4 * 4096);
    assert_ok(fs_write(f, t.fs, "again", 5, 100, &t.e), &t.e); /* in place needs nothing */
    assert_ok(t.fs->truncate(f, 4097, &t.e), &t.e);
    assert_int_equal(fs_sim_used(t.sim), 2 * 4096);
    assert_ok(t.fs->space(t.fs, "/", &space, &t.e), &t.e);
    assert_int_equal(space.total_bytes, 4 * 4096);
    assert_int_equal(space.avail_bytes, 2 * 4096);

    struct fs_file *g = open_at("b", FS_WRITE | FS_CREATE);
    assert_code(t.fs->allocate(g, 0, 3 * 4096, false, &t.e), E_NOSPC, &t.e);
    assert_ok(t.fs->unlink(t.fs, "a", &t.e), &t.e);
    assert_code(t.fs->allocate(g, 0, 3 * 4096, false, &t.e), E_NOSPC, &t.e); /* still open */
    t.fs->close(f);
    assert_ok(t.fs->allocate(g, 0, 4 * 4096, false, &t.e), &t.e);
    assert_ok(fs_write(g, t.fs, block, 4 * 4096, 0, &t.e), &t.e); /* reserved is reserved */
    t.fs->close(g);
    assert_int_equal(fs_sim_used(t.sim), 4 * 4096);
}

static void space_is_right_after_a_crash(void **state)
{
    (void)state;
    static char block[3 * 4096];
    struct fs_file *f = durable_file("a", "x");
    assert_ok(fs_write(f, t.fs, block, sizeof block, 0, &t.e), &t.e);
    struct fs_file *g = open_at("lost", FS_WRITE | FS_CREATE);
    assert_ok(fs_write(g, t.fs, block, sizeof block, 0, &t.e), &t.e);
    assert_int_equal(fs_sim_used(t.sim), 6 * 4096);
    crash(FS_SIM_LOSE_ALL);
    t.fs->close(f);
    t.fs->close(g);
    assert_int_equal(fs_sim_used(t.sim), 4096);
    assert_ok(t.fs->unlink(t.fs, "a", &t.e), &t.e);
    assert_int_equal(fs_sim_used(t.sim), 0);
}

static void strange_paths_are_refused(void **state)
{
    (void)state;
    struct fs_file *f;
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_true(t.fs->open(t.fs, "../etc/passwd", FS_READ, &f, &t.e) < 0);
    assert_true(t.fs->open(t.fs, long_name, FS_WRITE | FS_CREATE, &f, &t.e) < 0);
    assert_true(t.fs->open(t.fs, "", FS_READ, &f, &t.e) < 0);
    assert_true(t.fs->unlink(t.fs, "/", &t.e) < 0);
    assert_true(t.fs->rmdir(t.fs, "/", &t.e) < 0);
    assert_true(t.fs->rename(t.fs, "/", "/x", &t.e) < 0);
    f = open_at("big", FS_WRITE | FS_CREATE);
    assert_code(t.fs->truncate(f, INT64_MAX, &t.e), E_TOOBIG, &t.e);
    assert_code(fs_write(f, t.fs, "x", 1, INT64_MAX, &t.e), E_TOOBIG, &t.e);
    assert_code(t.fs->allocate(f, INT64_MAX, INT64_MAX, false, &t.e), E_TOOBIG, &t.e);
    t.fs->close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(synced_content_survives_and_the_rest_is_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_whose_directory_was_not_synced_is_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_sync_of_everything_makes_contents_sizes_and_names_durable,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(directory_changes_need_the_sync_of_their_directory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_rename_across_directories_is_whole_after_either_sync,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_whose_forerunner_was_lost_is_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_killed_process_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_through_a_mapping_are_lost_or_synced_like_others,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_truncation_that_was_not_synced_is_undone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_cut_off_does_not_come_back_when_the_file_grows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(pages_are_torn_as_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(sectors_are_torn_as_sectors, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_append_keeps_the_synced_part, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_crash_never_breaks_an_atomic_replacement, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_same_seed_crashes_the_same_way, setup, teardown),
        cmocka_unit_test_setup_teardown(files_from_before_a_crash_are_dead_and_their_locks_free,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_takes_what_fits_and_frees_what_is_removed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_right_after_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(strange_paths_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("fs_sim", tests, NULL, NULL);
}
