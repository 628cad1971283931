/* base/fs.c and the table itself: the same expectations for the operating system (fs_real), for the
 * disk in memory (fs_sim) and for a fault layer with nothing armed; what they disagree about would
 * make every test that stands on the other two worthless. */
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "tests/support/tmpdir.h"

static struct {
    struct fs *fs;
    const char *dir;
    char path[512];
    struct fs_sim *sim;
    struct fs_fault fault;
    struct err e;
} t;

static int setup_real(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.fs = &fs_real;
    t.dir = tmpdir_new("fs");
    return 0;
}

static int teardown_real(void **state)
{
    (void)state;
    tmpdir_remove(t.dir);
    return 0;
}

static int setup_sim(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.sim = fs_sim_new(0);
    t.fs = fs_sim_fs(t.sim);
    t.dir = "/disk";
    return t.fs->mkdir(t.fs, t.dir, NULL);
}

static int teardown_sim(void **state)
{
    (void)state;
    fs_sim_free(t.sim);
    return 0;
}

static int setup_fault(void **state)
{
    setup_sim(state);
    fs_fault_init(&t.fault, t.fs);
    t.fs = &t.fault.fs;
    return 0;
}

static int teardown_fault(void **state)
{
    fs_fault_fini(&t.fault);
    return teardown_sim(state);
}

/* The path of a name in the test's directory; valid until the next call. */
static const char *at(const char *name)
{
    snprintf(t.path, sizeof t.path, "%s/%s", t.dir, name);
    return t.path;
}

static struct fs_file *open_new(const char *name)
{
    struct fs_file *f;
    assert_ok(t.fs->open(t.fs, at(name), FS_WRITE | FS_CREATE | FS_EXCL, &f, &t.e), &t.e);
    return f;
}

static void put(const char *name, const char *text)
{
    struct fs_file *f = open_new(name);
    if (*text)
        assert_ok(fs_write(f, t.fs, text, strlen(text), 0, &t.e), &t.e);
    t.fs->close(f);
}

static void assert_content(const char *name, const char *want)
{
    char *text;
    size_t n;
    assert_ok(fs_read_all(t.fs, at(name), 1 << 20, &text, &n, &t.e), &t.e);
    assert_slice_equal(slice_of(text, n), want);
    assert_int_equal(text[n], '\0');
    free(text);
}

static bool exists(const char *name)
{
    struct fs_stat st;
    return t.fs->stat(t.fs, at(name), &st, NULL) == 0;
}

static int64_t size_of(const char *name)
{
    struct fs_stat st;
    assert_ok(t.fs->stat(t.fs, at(name), &st, &t.e), &t.e);
    return st.size;
}

static void written_bytes_read_back_at_any_offset(void **state)
{
    (void)state;
    char got[32] = "";
    struct fs_file *f = open_new("a");
    struct iovec iov[] = {{(char[]){"hello "}, 6}, {NULL, 0}, {(char[]){"world"}, 5}};
    assert_ok(t.fs->pwritev(f, iov, 3, 10, &t.e), &t.e);
    assert_int_equal(t.fs->pread(f, got, 5, 16, &t.e), 5);
    assert_string_equal(got, "world");
    assert_int_equal(t.fs->pread(f, got, sizeof got, 0, &t.e), 21); /* up to the end */
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0hello world", 21);
    assert_int_equal(t.fs->pread(f, got, 5, 21, &t.e), 0);
    assert_int_equal(t.fs->pread(f, got, 5, 4000, &t.e), 0);
    t.fs->close(f);
    assert_int_equal(size_of("a"), 21);
}

static void a_write_of_very_many_vectors_is_whole(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct iovec iov[N];
    static char digits[N];
    struct fs_file *f = open_new("a");
    for (int i = 0; i < N; i++) {
        digits[i] = (char)('0' + i % 10);
        iov[i] = (struct iovec){&digits[i], 1};
    }
    assert_ok(t.fs->pwritev(f, iov, N, 0, &t.e), &t.e);
    static char got[N + 1];
    assert_int_equal(t.fs->pread(f, got, N + 1, 0, &t.e), N);
    assert_memory_equal(got, digits, N);
    t.fs->close(f);
}

static void open_flags_mean_what_they_say(void **state)
{
    (void)state;
    struct fs_file *f;
    assert_code(t.fs->open(t.fs, at("a"), FS_READ, &f, &t.e), E_NOTFOUND, &t.e);
    assert_contains(t.e.text, t.path);
    assert_code(t.fs->open(t.fs, at("a"), FS_WRITE, &f, &t.e), E_NOTFOUND, &t.e);
    put("a", "content");
    assert_code(t.fs->open(t.fs, at("a"), FS_WRITE | FS_CREATE | FS_EXCL, &f, &t.e), E_EXISTS,
                &t.e);
    assert_ok(t.fs->open(t.fs, at("a"), FS_READ, &f, &t.e), &t.e);
    assert_true(fs_write(f, t.fs, "x", 1, 0, &t.e) < 0);
    t.fs->close(f);
    assert_ok(t.fs->open(t.fs, at("a"), FS_WRITE | FS_APPEND, &f, &t.e), &t.e);
    assert_ok(fs_write(f, t.fs, "+", 1, 0, &t.e), &t.e);
    t.fs->close(f);
    assert_content("a", "content+");
    assert_ok(t.fs->open(t.fs, at("a"), FS_WRITE | FS_CREATE | FS_TRUNC, &f, &t.e), &t.e);
    t.fs->close(f);
    assert_content("a", "");
    assert_true(t.fs->open(t.fs, at("a/b"), FS_WRITE | FS_CREATE, &f, &t.e) < 0); /* under a file */
    assert_code(t.fs->open(t.fs, at("no/b"), FS_WRITE | FS_CREATE, &f, &t.e), E_NOTFOUND, &t.e);
    assert_true(t.fs->open(t.fs, t.dir, FS_WRITE, &f, &t.e) < 0);
}

static void truncation_cuts_and_grows_with_zeros(void **state)
{
    (void)state;
    struct fs_file *f = open_new("a");
    int64_t size;
    char got[12];
    assert_ok(fs_write(f, t.fs, "0123456789", 10, 0, &t.e), &t.e);
    assert_ok(t.fs->truncate(f, 4, &t.e), &t.e);
    assert_ok(t.fs->truncate(f, 12, &t.e), &t.e);
    assert_ok(t.fs->size(f, &size, &t.e), &t.e);
    assert_int_equal(size, 12);
    assert_int_equal(t.fs->pread(f, got, 12, 0, &t.e), 12);
    assert_memory_equal(got, "0123\0\0\0\0\0\0\0\0", 12);
    assert_true(t.fs->truncate(f, -1, &t.e) < 0);
    t.fs->close(f);
}

static void allocation_extends_unless_told_not_to_and_keeps_content(void **state)
{
    (void)state;
    struct fs_file *f = open_new("a");
    int64_t size;
    char got[4];
    assert_ok(fs_write(f, t.fs, "data", 4, 0, &t.e), &t.e);
    assert_ok(t.fs->allocate(f, 0, 100000, true, &t.e), &t.e);
    assert_ok(t.fs->size(f, &size, &t.e), &t.e);
    assert_int_equal(size, 4);
    assert_ok(t.fs->allocate(f, 0, 100000, false, &t.e), &t.e);
    assert_ok(t.fs->size(f, &size, &t.e), &t.e);
    assert_int_equal(size, 100000);
    assert_int_equal(t.fs->pread(f, got, 4, 0, &t.e), 4);
    assert_memory_equal(got, "data", 4);
    assert_true(t.fs->allocate(f, 0, 0, false, &t.e) < 0);
    t.fs->close(f);
}

static void a_mapping_and_the_file_are_one(void **state)
{
    (void)state;
    struct fs_file *f = open_new("a");
    void *p, *q;
    char got[8] = "";
    assert_code(t.fs->map(f, 1, true, &p, &t.e), E_RANGE, &t.e);
    assert_ok(t.fs->truncate(f, 10000, &t.e), &t.e);
    assert_code(t.fs->map(f, 10001, true, &p, &t.e), E_RANGE, &t.e);
    assert_code(t.fs->map(f, 0, true, &p, &t.e), E_RANGE, &t.e);
    assert_ok(t.fs->map(f, 10000, true, &p, &t.e), &t.e);
    assert_ok(t.fs->map(f, 5000, false, &q, &t.e), &t.e);
    memcpy((char *)p + 4095, "map", 3);
    assert_memory_equal((char *)q + 4095, "map", 3);
    assert_int_equal(t.fs->pread(f, got, 3, 4095, &t.e), 3);
    assert_string_equal(got, "map");
    assert_ok(fs_write(f, t.fs, "write", 5, 20, &t.e), &t.e);
    assert_memory_equal((char *)q + 20, "write", 5);
    assert_ok(t.fs->truncate(f, 300000, &t.e), &t.e); /* growing moves nothing */
    assert_memory_equal((char *)p + 20, "write", 5);
    assert_ok(t.fs->map_sync(f, p, 4095, 3, &t.e), &t.e);
    t.fs->unmap(f, q, 5000);
    t.fs->unmap(f, p, 10000);
    t.fs->close(f);
}

static void reading_now_reads_what_was_just_written(void **state)
{
    (void)state;
    char got[16] = "";
    struct fs_file *f = open_new("a");
    assert_ok(fs_write(f, t.fs, "hello", 5, 0, &t.e), &t.e);
    assert_int_equal(t.fs->pread_now(f, got, 5, 0, &t.e), 5);
    assert_string_equal(got, "hello");
    t.fs->close(f);
}

static void a_mapping_that_was_just_written_is_resident(void **state)
{
    (void)state;
    void *p;
    enum { SIZE = 3 << 20 };
    char *zeros = calloc(1, SIZE);
    struct fs_file *f = open_new("a");
    assert_non_null(zeros);
    assert_ok(fs_write(f, t.fs, zeros, SIZE, 0, &t.e), &t.e);
    assert_ok(t.fs->map(f, SIZE, false, &p, &t.e), &t.e);
    assert_int_equal(t.fs->resident(f, p, 0, SIZE), 1);
    assert_int_equal(t.fs->resident(f, p, 5000, 100), 1);
    t.fs->unmap(f, p, SIZE);
    t.fs->close(f);
    free(zeros);
}

static void names_come_and_go(void **state)
{
    (void)state;
    put("a", "A");
    put("b", "B");
    char from[512];
    snprintf(from, sizeof from, "%s", at("a"));
    assert_ok(t.fs->rename(t.fs, from, at("b"), &t.e), &t.e); /* replaces */
    assert_false(exists("a"));
    assert_content("b", "A");
    assert_code(t.fs->rename(t.fs, from, at("b"), &t.e), E_NOTFOUND, &t.e);
    assert_ok(t.fs->unlink(t.fs, at("b"), &t.e), &t.e);
    assert_code(t.fs->unlink(t.fs, at("b"), &t.e), E_NOTFOUND, &t.e);
    assert_code(t.fs->stat(t.fs, at("b"), &(struct fs_stat){0}, &t.e), E_NOTFOUND, &t.e);
}

static void a_file_without_a_name_lives_until_it_is_closed(void **state)
{
    (void)state;
    char got[4] = "";
    struct fs_file *f = open_new("a");
    assert_ok(fs_write(f, t.fs, "abc", 3, 0, &t.e), &t.e);
    assert_ok(t.fs->unlink(t.fs, at("a"), &t.e), &t.e);
    put("a", "new");
    assert_int_equal(t.fs->pread(f, got, 3, 0, &t.e), 3);
    assert_string_equal(got, "abc");
    t.fs->close(f);
    assert_content("a", "new");
}

static void directories_are_made_listed_and_removed(void **state)
{
    (void)state;
    struct fs_stat st;
    assert_ok(t.fs->mkdir(t.fs, at("d"), &t.e), &t.e);
    assert_code(t.fs->mkdir(t.fs, at("d"), &t.e), E_EXISTS, &t.e);
    assert_code(t.fs->mkdir(t.fs, at("x/y"), &t.e), E_NOTFOUND, &t.e);
    assert_ok(t.fs->stat(t.fs, at("d"), &st, &t.e), &t.e);
    assert_true(st.is_dir);
    put("d/f", "x");
    assert_code(t.fs->rmdir(t.fs, at("d"), &t.e), E_EXISTS, &t.e); /* not empty */
    assert_true(t.fs->unlink(t.fs, at("d"), &t.e) < 0);
    assert_true(t.fs->rmdir(t.fs, at("d/f"), &t.e) < 0);
    assert_ok(t.fs->unlink(t.fs, at("d/f"), &t.e), &t.e);
    assert_ok(t.fs->dirsync(t.fs, at("d"), &t.e), &t.e);
    assert_ok(t.fs->rmdir(t.fs, at("d"), &t.e), &t.e);
    assert_false(exists("d"));
    assert_code(t.fs->dirsync(t.fs, at("d"), &t.e), E_NOTFOUND, &t.e);
}

static void a_directory_moves_with_its_content_but_not_into_itself(void **state)
{
    (void)state;
    char from[512];
    assert_ok(fs_mkdirs(t.fs, at("d/e"), &t.e), &t.e);
    put("d/e/f", "deep");
    snprintf(from, sizeof from, "%s", at("d"));
    assert_true(t.fs->rename(t.fs, from, at("d/e/g"), &t.e) < 0);
    assert_ok(t.fs->rename(t.fs, from, at("moved"), &t.e), &t.e);
    assert_content("moved/e/f", "deep");
    assert_false(exists("d"));
}

struct names {
    int n, stop_at;
    char text[256];
};

static int on_name(void *arg, const char *name)
{
    struct names *names = arg;
    snprintf(names->text + strlen(names->text), sizeof names->text - strlen(names->text), "%s,",
             name);
    return ++names->n == names->stop_at ? E_BUSY : 0;
}

static void listing_names_everything_once_and_stops_when_told(void **state)
{
    (void)state;
    struct names names = {0};
    put("one", "");
    put("two", "");
    assert_ok(t.fs->mkdir(t.fs, at("three"), &t.e), &t.e);
    assert_ok(t.fs->list(t.fs, t.dir, on_name, &names, &t.e), &t.e);
    assert_int_equal(names.n, 3);
    assert_contains(names.text, "one,");
    assert_contains(names.text, "two,");
    assert_contains(names.text, "three,");
    names = (struct names){.stop_at = 2};
    assert_code(t.fs->list(t.fs, t.dir, on_name, &names, &t.e), E_BUSY, NULL);
    assert_int_equal(names.n, 2);
    assert_code(t.fs->list(t.fs, at("none"), on_name, &names, &t.e), E_NOTFOUND, &t.e);
}

static void a_lock_excludes_a_second_opener_until_closed(void **state)
{
    (void)state;
    struct fs_file *first = open_new("lock"), *second;
    assert_ok(t.fs->open(t.fs, at("lock"), FS_WRITE, &second, &t.e), &t.e);
    assert_ok(t.fs->lock(first, &t.e), &t.e);
    assert_ok(t.fs->lock(first, &t.e), &t.e); /* its own is no hindrance */
    assert_code(t.fs->lock(second, &t.e), E_LOCKED, &t.e);
    assert_contains(t.e.text, "another process");
    t.fs->close(first);
    assert_ok(t.fs->lock(second, &t.e), &t.e);
    t.fs->close(second);
}

static void space_is_told(void **state)
{
    (void)state;
    struct fs_space space = {0};
    assert_ok(t.fs->space(t.fs, t.dir, &space, &t.e), &t.e);
    assert_true(space.total_bytes > 0 && space.avail_bytes > 0 &&
                space.avail_bytes <= space.total_bytes);
    assert_code(t.fs->space(t.fs, at("none"), &space, &t.e), E_NOTFOUND, &t.e);
}

static void mkdirs_makes_what_is_missing_and_names_what_is_in_the_way(void **state)
{
    (void)state;
    assert_ok(fs_mkdirs(t.fs, at("a//b/./c/"), &t.e), &t.e);
    assert_ok(fs_mkdirs(t.fs, at("a/b/c"), &t.e), &t.e);
    assert_true(exists("a/b/c"));
    put("file", "");
    assert_code(fs_mkdirs(t.fs, at("file"), &t.e), E_EXISTS, &t.e);
    assert_contains(t.e.text, "in the way");
    assert_true(fs_mkdirs(t.fs, at("file/d"), &t.e) < 0);
}

static void reading_all_is_bounded_exactly(void **state)
{
    (void)state;
    char *text;
    size_t n;
    put("a", "12345");
    assert_ok(fs_read_all(t.fs, at("a"), 5, &text, &n, &t.e), &t.e);
    assert_int_equal(n, 5);
    free(text);
    assert_code(fs_read_all(t.fs, at("a"), 4, &text, &n, &t.e), E_TOOBIG, &t.e);
    assert_code(fs_read_all(t.fs, at("a"), 0, &text, &n, &t.e), E_TOOBIG, &t.e);
    put("empty", "");
    assert_ok(fs_read_all(t.fs, at("empty"), 0, &text, &n, &t.e), &t.e);
    assert_string_equal(text, "");
    free(text);
    assert_code(fs_read_all(t.fs, at("none"), 5, &text, &n, &t.e), E_NOTFOUND, &t.e);
}

static void atomic_writes_replace_and_leave_nothing_behind(void **state)
{
    (void)state;
    put("a.tmp", "left by a crash");
    assert_ok(fs_write_atomic(t.fs, at("a"), SLICE_LIT("one"), &t.e), &t.e);
    assert_content("a", "one");
    assert_ok(fs_write_atomic(t.fs, at("a"), SLICE_NULL, &t.e), &t.e);
    assert_content("a", "");
    assert_false(exists("a.tmp"));
    assert_code(fs_write_atomic(t.fs, at("no/a"), SLICE_LIT("x"), &t.e), E_NOTFOUND, &t.e);
}

static void the_previous_content_is_kept_as_bak(void **state)
{
    (void)state;
    assert_ok(fs_write_atomic_bak(t.fs, at("a"), SLICE_LIT("one"), &t.e), &t.e);
    assert_false(exists("a.bak"));
    assert_ok(fs_write_atomic_bak(t.fs, at("a"), SLICE_LIT("two"), &t.e), &t.e);
    assert_ok(fs_write_atomic_bak(t.fs, at("a"), SLICE_LIT("three"), &t.e), &t.e);
    assert_content("a", "three");
    assert_content("a.bak", "two");
}

static void a_tree_is_removed_with_all_in_it(void **state)
{
    (void)state;
    assert_ok(fs_mkdirs(t.fs, at("d/e/f"), &t.e), &t.e);
    put("d/x", "1");
    put("d/e/y", "2");
    assert_ok(fs_remove_tree(t.fs, at("d"), &t.e), &t.e);
    assert_false(exists("d"));
    assert_code(fs_remove_tree(t.fs, at("d"), &t.e), E_NOTFOUND, &t.e);
    put("single", "");
    assert_ok(fs_remove_tree(t.fs, at("single"), &t.e), &t.e);
}

/* ---- what only the operating system has ---- */

static void removing_a_tree_does_not_follow_links(void **state)
{
    (void)state;
    assert_ok(fs_mkdirs(t.fs, at("keep"), &t.e), &t.e);
    put("keep/precious", "x");
    char target[512];
    snprintf(target, sizeof target, "%s", at("keep"));
    assert_ok(fs_mkdirs(t.fs, at("d"), &t.e), &t.e);
    assert_int_equal(symlink(target, at("d/link")), 0);
    assert_ok(fs_remove_tree(t.fs, at("d"), &t.e), &t.e);
    assert_content("keep/precious", "x");
}

static void a_lock_excludes_other_processes(void **state)
{
    (void)state;
    int status;
    struct fs_file *f = open_new("lock");
    assert_ok(t.fs->lock(f, &t.e), &t.e);
    pid_t pid = fork();
    if (pid == 0) {
        struct fs_file *other;
        int rc = t.fs->open(t.fs, at("lock"), FS_WRITE, &other, NULL);
        _exit(rc == 0 && t.fs->lock(other, NULL) == E_LOCKED ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    t.fs->close(f);
}

static void reserved_bytes_are_really_reserved(void **state)
{
    (void)state;
    struct stat st;
    struct fs_file *f = open_new("a");
    assert_ok(t.fs->allocate(f, 0, 1 << 20, false, &t.e), &t.e);
    assert_int_equal(stat(at("a"), &st), 0);
    assert_true(st.st_blocks * 512 >= 1 << 20);
    t.fs->close(f);
}

/* What the system was told to forget is neither resident nor read without waiting. */
static void what_is_not_in_memory_is_told(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    void *p;
    char got[64], *zeros = calloc(1, SIZE);
    assert_non_null(zeros);
    struct fs_file *f = open_new("a");
    assert_ok(fs_write(f, t.fs, zeros, SIZE, 0, &t.e), &t.e);
    free(zeros);
    assert_ok(t.fs->datasync(f, &t.e), &t.e);
    t.fs->close(f);
    const int fd = open(at("a"), O_RDONLY);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    assert_ok(t.fs->open(t.fs, at("a"), FS_READ, &f, &t.e), &t.e);
    assert_ok(t.fs->map(f, SIZE, false, &p, &t.e), &t.e);
    if (t.fs->resident(f, p, 0, SIZE)) {
        print_message("skipped: this file system keeps everything in memory\n");
    } else {
        assert_code(t.fs->pread_now(f, got, sizeof got, SIZE - 100, &t.e), E_AGAIN, &t.e);
        assert_int_equal(t.fs->pread(f, got, sizeof got, SIZE - 100, &t.e), sizeof got);
        assert_int_equal(t.fs->resident(f, p, SIZE - 100, sizeof got), 1);
        assert_int_equal(t.fs->pread_now(f, got, sizeof got, SIZE - 100, &t.e), sizeof got);
    }
    t.fs->unmap(f, p, SIZE);
    t.fs->close(f);
}

#define EVERYWHERE(name)                                                                           \
    {#name " (real)", name, setup_real, teardown_real, NULL},                                      \
        {#name " (sim)", name, setup_sim, teardown_sim, NULL},                                     \
        {#name " (fault over sim)", name, setup_fault, teardown_fault, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(written_bytes_read_back_at_any_offset),
        EVERYWHERE(a_write_of_very_many_vectors_is_whole),
        EVERYWHERE(open_flags_mean_what_they_say),
        EVERYWHERE(truncation_cuts_and_grows_with_zeros),
        EVERYWHERE(allocation_extends_unless_told_not_to_and_keeps_content),
        EVERYWHERE(a_mapping_and_the_file_are_one),
        EVERYWHERE(reading_now_reads_what_was_just_written),
        EVERYWHERE(a_mapping_that_was_just_written_is_resident),
        EVERYWHERE(names_come_and_go),
        EVERYWHERE(a_file_without_a_name_lives_until_it_is_closed),
        EVERYWHERE(directories_are_made_listed_and_removed),
        EVERYWHERE(a_directory_moves_with_its_content_but_not_into_itself),
        EVERYWHERE(listing_names_everything_once_and_stops_when_told),
        EVERYWHERE(a_lock_excludes_a_second_opener_until_closed),
        EVERYWHERE(space_is_told),
        EVERYWHERE(mkdirs_makes_what_is_missing_and_names_what_is_in_the_way),
        EVERYWHERE(reading_all_is_bounded_exactly),
        EVERYWHERE(atomic_writes_replace_and_leave_nothing_behind),
        EVERYWHERE(the_previous_content_is_kept_as_bak),
        EVERYWHERE(a_tree_is_removed_with_all_in_it),
        cmocka_unit_test_setup_teardown(removing_a_tree_does_not_follow_links, setup_real,
                                        teardown_real),
        cmocka_unit_test_setup_teardown(a_lock_excludes_other_processes, setup_real, teardown_real),
        cmocka_unit_test_setup_teardown(what_is_not_in_memory_is_told, setup_real, teardown_real),
        cmocka_unit_test_setup_teardown(reserved_bytes_are_really_reserved, setup_real,
                                        teardown_real),
    };
    return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
