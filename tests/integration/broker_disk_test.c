/* A disk that fills up under the real broker, on a file system of 24 MiB of its own (needs the right to
 * mount one; says so and skips otherwise). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "proto/names.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

#define SMALL_FILES "maxMessageSize=65536\nmappedFileSizeCommitLog=1048576\ncleanResourceInterval=100\n" \
                    "mappedFileSizeConsumeQueue=2000\nfileReservedTime=72\n"
enum { BODY = 60000, RESUME_MS = 10 * 1000 };

struct fixture {
    const char *disk;
    struct mq_process b;
    struct peer p;
    char body[BODY + 1];
};

static const char *mounted; /* the running test's disk */

static int unmount(void **state)
{
    (void)state;
    const char *const disk = mounted;
    mounted = NULL;
    return disk ? umount2(disk, MNT_DETACH) : 0;
}

static bool start(struct fixture *f, const char *conf)
{
    f->disk = tmpdir_new("disk");
    if (mount("tmpfs", f->disk, "tmpfs", 0, "size=24m") != 0) {
        print_message("skipped: cannot mount a small file system: %s\n", strerror(errno));
        return false;
    }
    mounted = f->disk;
    memset(f->body, 'x', BODY);
    mq_broker_start(&f->b, f->disk, NULL, conf, NULL);
    peer_open(&f->p, f->b.address);
    return true;
}

static void finish(struct fixture *f)
{
    peer_close(&f->p);
    mq_stop(&f->b);
}

/* Makes the disk `percent` full by one other file; 0 removes it. */
static void occupy(struct fixture *f, int percent)
{
    const char *const path = tmpdir_path(f->disk, "ballast");
    struct fs_space s;
    struct fs_file *file;
    struct err e;
    const int gone = fs_real.unlink(&fs_real, path, &e);
    assert_true(gone == 0 || gone == E_NOTFOUND);
    if (percent == 0)
        return;
    assert_ok(fs_real.space(&fs_real, f->disk, &s, &e), &e);
    const int64_t used = s.total_bytes - s.free_bytes, want = s.total_bytes / 100 * percent;
    assert_true(want > used);
    assert_ok(fs_real.open(&fs_real, path, FS_WRITE | FS_CREATE, &file, &e), &e);
    assert_ok(fs_real.allocate(file, 0, want - used, false, &e), &e);
    fs_real.close(file);
}

/* Frees part of what occupy() took, at one stroke. */
static void shrink_to(struct fixture *f, int percent)
{
    const char *const path = tmpdir_path(f->disk, "ballast");
    struct fs_space s;
    struct fs_stat ballast;
    struct err e;
    assert_ok(fs_real.space(&fs_real, f->disk, &s, &e), &e);
    assert_ok(fs_real.stat(&fs_real, path, &ballast, &e), &e);
    const int64_t give = s.total_bytes - s.free_bytes - s.total_bytes / 100 * percent + 2 * 4096; /* whole pages */
    assert_in_range(give, 1, ballast.size);
    assert_int_equal(truncate(path, ballast.size - give), 0);
}

/* The answer to a send; the remark goes to `remark`. */
static int send_code(struct fixture *f, const char *topic, const char *props, char *remark, size_t cap)
{
    const struct hdr_send_message h = {
        .producer_group = SLICE_LIT("pg"), .topic = slice_str(topic), .default_topic = SLICE_LIT("TBW102"),
        .default_topic_queue_nums = 4, .queue_id = 0, .born_timestamp = clock_wall(&clock_system),
        .properties = slice_str(props), .max_reconsume_times = -1};
    const struct command *const c = peer_call(&f->p, RC_SEND_MESSAGE_V2, &h, slice_str(f->body));
    snprintf(remark, cap, SLICE_FMT, SLICE_ARG(c->remark));
    return c->code;
}

static bool is_refused(void *arg)
{
    char remark[500];
    return send_code(arg, "t", "", remark, sizeof remark) == RESP_SERVICE_NOT_AVAILABLE;
}

static bool is_taken(void *arg)
{
    char remark[500];
    return send_code(arg, "t", "", remark, sizeof remark) == RESP_SUCCESS;
}

static int64_t min_offset(struct fixture *f)
{
    struct message m;
    int n;
    int64_t min = -1;
    const struct command *const c = peer_pull(&f->p, "t", 0, 0, 0, &m, 1, &n);
    assert_int_equal(slice_i64(command_ext(c, "minOffset"), &min), 0);
    return min;
}

static bool has_moved(void *arg)
{
    return min_offset(arg) > 0;
}

static void send_files(struct fixture *f, int n) /* 17 messages fill a file */
{
    for (int i = 0; i < 17 * n; i++)
        peer_send_message(&f->p, "pg", "t", 0, f->body, "");
}

/* Known failure 16 and R7: full, refused with the reason, readable; free again: sends go on by
 * themselves. */
static void a_full_disk_refuses_sends_until_there_is_space_again(void **state)
{
    (void)state;
    struct fixture f;
    if (!start(&f, SMALL_FILES "cleanFileForciblyEnable=false\n"))
        skip();
    peer_send_message(&f.p, "pg", "t", 0, "first", "");
    for (int round = 0; round < 3; round++) {
        struct message m;
        char remark[500];
        int n;
        send_files(&f, 1);
        occupy(&f, 95);
        assert_true(wait_until(is_refused, &f, RESUME_MS));
        assert_int_equal(send_code(&f, "t", "", remark, sizeof remark), 14);
        assert_contains(remark, "service not available now.");
        assert_contains(remark, "disk is full: more than 90 percent");
        assert_contains(remark, "accepted again at 85 percent");
        peer_pull(&f.p, "t", 0, 0, 0, &m, 1, &n);
        assert_int_equal(n, 1);
        assert_slice_equal(m.body, "first");
        occupy(&f, 0);
        assert_true(wait_until(is_taken, &f, RESUME_MS));
    }
    assert_int_equal(min_offset(&f), 0);
    finish(&f);
}

static void space_that_is_not_enough_is_told_and_sends_stay_refused(void **state)
{
    (void)state;
    struct fixture f;
    char remark[500];
    if (!start(&f, SMALL_FILES "cleanFileForciblyEnable=false\n"))
        skip();
    send_files(&f, 2);
    occupy(&f, 95);
    assert_true(wait_until(is_refused, &f, RESUME_MS));
    shrink_to(&f, 87);
    assert_true(process_wait_line(f.b.process, "event=store.disk_short", RESUME_MS, remark, sizeof remark));
    assert_contains(remark, "usedPercent=8");
    assert_contains(remark, "cleanFileForciblyEnable=0");
    assert_int_equal(send_code(&f, "t", "", remark, sizeof remark), RESP_SERVICE_NOT_AVAILABLE);
    assert_contains(remark, "more than 90 percent of it were used");
    shrink_to(&f, 84);
    assert_true(wait_until(is_taken, &f, RESUME_MS));
    assert_int_equal(min_offset(&f), 0);
    finish(&f);
}

static void old_files_go_before_their_age_when_space_runs_out(void **state)
{
    (void)state;
    struct fixture f;
    if (!start(&f, SMALL_FILES))
        skip();
    send_files(&f, 6);
    assert_int_equal(min_offset(&f), 0);
    occupy(&f, 88);
    assert_true(wait_until(has_moved, &f, RESUME_MS));
    assert_true(is_taken(&f));
    finish(&f);
}

/* A half message that nobody decided, or a delayed one, in the first file. */
static void a_file_that_is_needed_stays(struct fixture *f, const char *props)
{
    char remark[500];
    if (!start(f, SMALL_FILES))
        skip();
    assert_int_equal(send_code(f, "t", props, remark, sizeof remark), RESP_SUCCESS);
    send_files(f, 6);
    occupy(f, 88);
    assert_true(process_wait_line(f->b.process, "event=store.clean.held", RESUME_MS, NULL, 0));
    assert_int_equal(min_offset(f), 0);
    mq_kill(&f->b); /* what is needed is known again after a restart */
    peer_close(&f->p);
    mq_broker_start(&f->b, f->disk, NULL, SMALL_FILES, NULL);
    peer_open(&f->p, f->b.address);
    process_rewind(f->b.process); /* the cleaner may be faster than "boot success" */
    assert_true(process_wait_line(f->b.process, "event=store.clean.held", RESUME_MS, NULL, 0));
    assert_int_equal(min_offset(f), 0);
    occupy(f, 0);
    occupy(f, 96);
    assert_true(process_wait_line(f->b.process, "event=store.clean.needed", RESUME_MS, NULL, 0));
    assert_true(wait_until(has_moved, f, RESUME_MS));
    occupy(f, 0);
    assert_true(wait_until(is_taken, f, RESUME_MS));
    finish(f);
}

static void a_file_with_an_undecided_half_stays_until_the_disk_is_full(void **state)
{
    (void)state;
    struct fixture f;
    a_file_that_is_needed_stays(&f, "UNIQ_KEY\001H\002TRAN_MSG\001true\002PGROUP\001pg\002");
}

static void a_file_with_a_waiting_delayed_message_stays_until_the_disk_is_full(void **state)
{
    (void)state;
    struct fixture f;
    a_file_that_is_needed_stays(&f, "DELAY\00118\002");
}

/* This one is parked, hence decided, by itself: it names nobody who could be asked. */
static void a_decided_half_holds_nothing_back_also_after_a_restart(void **state)
{
    (void)state;
    struct fixture f;
    char remark[500];
    if (!start(&f, SMALL_FILES))
        skip();
    assert_int_equal(send_code(&f, "t", "UNIQ_KEY\001P\002TRAN_MSG\001true\002", remark, sizeof remark),
                     RESP_SUCCESS);
    assert_true(process_wait_line(f.b.process, "event=tx.parked", RESUME_MS, NULL, 0));
    peer_close(&f.p);
    mq_stop(&f.b);
    mq_broker_start(&f.b, f.disk, NULL, SMALL_FILES, NULL);
    peer_open(&f.p, f.b.address);
    send_files(&f, 6);
    occupy(&f, 88);
    assert_true(wait_until(has_moved, &f, RESUME_MS));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_full_disk_refuses_sends_until_there_is_space_again, unmount),
        cmocka_unit_test_teardown(space_that_is_not_enough_is_told_and_sends_stay_refused, unmount),
        cmocka_unit_test_teardown(old_files_go_before_their_age_when_space_runs_out, unmount),
        cmocka_unit_test_teardown(a_file_with_an_undecided_half_stays_until_the_disk_is_full, unmount),
        cmocka_unit_test_teardown(a_decided_half_holds_nothing_back_also_after_a_restart, unmount),
        cmocka_unit_test_teardown(a_file_with_a_waiting_delayed_message_stays_until_the_disk_is_full, unmount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
