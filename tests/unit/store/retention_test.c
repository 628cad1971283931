/* Which files go and when, and when a disk is full. */
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FILE_SIZE = 64 * 1024, HOUR = 3600 * 1000, RECORDS = 16, BODY = 4000 };

static void setup(struct store_fixture *f)
{
    fixture_init(f, FLUSH_ASYNC); /* the clock says 22:13:20 */
    f->o.flush_least_pages = 0;
    f->o.file_reserved_ms = 10 * HOUR;
    f->o.delete_hours = 1u << 22;
    f->o.clean_log_pause_ms = f->o.clean_cq_pause_ms = 0;
}

/* Fills n files: the next record would go to another one. */
static void fill(struct store_fixture *f, const char *topic, int n)
{
    for (int i = 0; i < n; i++)
        fixture_put_many(f, topic, 0, RECORDS, BODY);
    fixture_steps(f);
}

static void clean(struct store_fixture *f)
{
    clock_fake_advance(&f->clock, f->o.clean_interval_ms);
    while (store_step_clean(f->st)) {
    }
}

static int64_t first_file(struct store_fixture *f)
{
    struct store_stats s;
    store_stats_get(f->st, &s);
    return s.log_min / FILE_SIZE;
}

static bool exists(struct store_fixture *f, const char *path)
{
    struct fs_stat st;
    return fs_sim_fs(f->sim)->stat(fs_sim_fs(f->sim), path, &st, NULL) == 0;
}

/* Every queue offset from the minimum to `max` can be read. Returns the minimum. */
static int64_t expect_dense(struct store_fixture *f, const char *topic, int64_t max)
{
    int64_t min, end;
    store_queue_range(f->st, slice_str(topic), 0, &min, &end);
    assert_int_equal(end, max);
    for (int64_t at = min; at < end;) {
        struct store_got g;
        const struct store_get q = {.topic = slice_str(topic), .offset = at, .max_msgs = 32};
        assert_int_equal(store_get(f->st, &q, &g), 0);
        assert_int_equal(g.status, GET_FOUND);
        assert_int_equal(g.next_begin_offset, at + g.msg_n);
        at += g.msg_n;
        store_got_release(&g);
    }
    return min;
}

static void expired_files_go_in_a_delete_hour_and_in_no_other(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 4);
    clock_fake_advance(&f.clock, 12 * HOUR); /* 10:13: expired, not the hour */
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    clock_fake_advance(&f.clock, 12 * HOUR - 14 * 60 * 1000); /* 21:59 */
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    clock_fake_advance(&f.clock, 60 * 1000); /* 22:00 */
    clean(&f);
    assert_int_equal(first_file(&f), 3);
    assert_false(exists(&f, fixture_path("commitlog/%020d", 2 * FILE_SIZE)));
    assert_true(exists(&f, fixture_path("commitlog/%020d", 3 * FILE_SIZE)));
    fixture_fini(&f);
}

static void the_last_file_stays_however_old_it_is(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 1);
    clock_fake_advance(&f.clock, (int64_t)24 * 365 * HOUR);
    clean(&f);
    assert_int_equal(expect_dense(&f, "T", RECORDS), 0);
    fixture_fini(&f);
}

/* The next file begins much later, so that only the file's own last record can tell. */
static void a_file_is_as_old_as_its_last_record_to_the_millisecond(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = (1u << 24) - 1;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, RECORDS - 1, BODY);
    clock_fake_advance(&f.clock, HOUR);
    fixture_put_many(&f, "T", 0, 1, BODY); /* the last one */
    const int64_t last = clock_wall(&f.clock.base);
    clock_fake_advance(&f.clock, 5 * HOUR);
    fill(&f, "T", 1);
    clock_fake_advance(&f.clock, last + f.o.file_reserved_ms - 1 - f.o.clean_interval_ms - clock_wall(&f.clock.base));
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    clean(&f); /* later than the limit by now */
    assert_int_equal(first_file(&f), 1);
    fixture_fini(&f);
}

/* Half an hour before the first file's limit it stays, half an hour behind it it goes. */
static void expect_limit_of_first_file(struct store_fixture *f, int64_t written)
{
    clock_fake_advance(&f->clock, written + f->o.file_reserved_ms - HOUR / 2 - clock_wall(&f->clock.base));
    clean(f);
    assert_int_equal(first_file(f), 0);
    clock_fake_advance(&f->clock, HOUR);
    clean(f);
    assert_true(first_file(f) > 0);
}

/* Neither that of its last record nor that of the one which begins the next file. */
static void a_damaged_time_does_not_move_the_limit_of_a_file(void **state)
{
    (void)state;
    enum { RECORD = MESSAGE_SIZE_MIN + 1 + BODY, LAST = (RECORDS - 1) * RECORD, BODY_AT = 88 };
    static const struct { int64_t at, ts; bool body; } cases[] = {
        {LAST, INT64_MIN + 1700000000000, false}, {LAST, 0, false}, {LAST, 1, false}, {LAST, INT64_MAX, false},
        {FILE_SIZE, INT64_MIN + 1700000000000, false}, {FILE_SIZE, 0, false}, {FILE_SIZE, 1, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_fixture f;
        setup(&f);
        f.o.delete_hours = (1u << 24) - 1;
        fixture_open(&f);
        fixture_put_many(&f, "T", 0, RECORDS - 2, BODY);
        clock_fake_advance(&f.clock, 5 * HOUR);
        fixture_put_many(&f, "T", 0, 2, BODY);
        const int64_t written = clock_wall(&f.clock.base);
        clock_fake_advance(&f.clock, HOUR);
        fill(&f, "T", 2);
        fixture_set_store_time(&f, cases[i].at, cases[i].ts);
        if (cases[i].body)
            fixture_flip(&f, fixture_path("commitlog/%020d", FILE_SIZE), BODY_AT, 1);
        expect_limit_of_first_file(&f, written);
        fixture_fini(&f);
    }
}

/* Of a file without any time that can be believed the next one's says when it ended. */
static void a_file_of_one_record_with_a_damaged_time_goes_with_the_next_one(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = (1u << 24) - 1;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 1, FILE_SIZE - 1000);
    clock_fake_advance(&f.clock, 5 * HOUR);
    const int64_t next = clock_wall(&f.clock.base);
    fixture_put_many(&f, "T", 0, 1, FILE_SIZE - 1000);
    clock_fake_advance(&f.clock, HOUR);
    fill(&f, "T", 1);
    fixture_set_store_time(&f, 0, INT64_MIN + 1700000000000);
    expect_limit_of_first_file(&f, next);
    fixture_fini(&f);
}

static void a_round_removes_a_batch_and_pauses_between_files(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.clean_batch = 3;
    f.o.clean_log_pause_ms = 100;
    fixture_open(&f);
    fill(&f, "T", 8);
    clock_fake_advance(&f.clock, 24 * HOUR);
    clean(&f);
    for (int64_t n = 1; n <= 3; n++) {
        assert_int_equal(first_file(&f), n);
        clock_fake_advance(&f.clock, 99);
        assert_false(store_step_clean(f.st));
        assert_int_equal(first_file(&f), n);
        clock_fake_advance(&f.clock, 1);
        while (store_step_clean(f.st)) {
        }
    }
    assert_int_equal(first_file(&f), 3);
    clock_fake_advance(&f.clock, f.o.clean_interval_ms - 1);
    assert_false(store_step_clean(f.st));
    assert_int_equal(first_file(&f), 3);
    clock_fake_advance(&f.clock, 1);
    while (store_step_clean(f.st)) {
    }
    assert_int_equal(first_file(&f), 4);
    fixture_fini(&f);
}

static void above_the_used_ratio_expired_files_go_at_any_hour(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = 1u << 3;
    fixture_open(&f);
    fill(&f, "T", 4);
    const int64_t used = fs_sim_used(f.sim);
    fs_sim_set_capacity(f.sim, used * 100 / 75 + 100); /* 75 percent */
    clock_fake_advance(&f.clock, f.o.file_reserved_ms - 2 * f.o.clean_interval_ms);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    fs_sim_set_capacity(f.sim, used * 100 / 76); /* above, not yet expired */
    clean(&f);
    clean(&f);
    assert_int_equal(first_file(&f), 1); /* now it is; and that made room */
    fixture_fini(&f);
}

static void above_the_forcible_ratio_age_counts_no_more(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = 1u << 3;
    f.o.clean_forcibly = false;
    fixture_open(&f);
    fill(&f, "T", 8);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim) * 100 / 88);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    fixture_close(&f);
    f.o.clean_forcibly = true;
    fixture_open(&f);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim) * 100 / 88);
    clean(&f);
    assert_int_equal(first_file(&f), 1); /* no more than needed to come down to 85 */
    expect_dense(&f, "T", 8 * RECORDS);
    fixture_fini(&f);
}

static bool is_full(struct store_fixture *f, int percent)
{
    const int64_t used = fs_sim_used(f->sim);
    fs_sim_set_capacity(f->sim, (used * 100 + percent - 1) / percent); /* rounds up to `percent` */
    store_step_space(f->st);
    struct store_stats s;
    store_stats_get(f->st, &s);
    assert_int_equal(s.disk_used, percent);
    return s.disk_full;
}

static void a_full_disk_refuses_appends_with_hysteresis_and_reads_go_on(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 8);
    assert_false(is_full(&f, 85));
    assert_false(is_full(&f, 86));
    assert_false(is_full(&f, 90));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    assert_true(is_full(&f, 91));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_DISK_FULL);
    assert_int_equal(expect_dense(&f, "T", 8 * RECORDS + 1), 0);
    assert_true(is_full(&f, 90));
    assert_true(is_full(&f, 86));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_DISK_FULL);
    assert_false(is_full(&f, 85));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    assert_false(is_full(&f, 90));
    expect_dense(&f, "T", 8 * RECORDS + 2);
    fixture_fini(&f);
}

static void a_disk_found_full_at_open_refuses_at_once(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 8);
    fixture_close(&f);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim) * 100 / 95);
    fixture_open(&f);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_DISK_FULL);
    fixture_close(&f); /* an orderly stop, too */
    fixture_fini(&f);
}

static void a_look_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 8);
    assert_true(is_full(&f, 91));
    fs_sim_set_capacity(f.sim, 0);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_SPACE, .for_ever = true, .error = E_IO});
    store_step_space(f.st);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_DISK_FULL);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    fs_fault_disarm(&f.fault);
    store_step_space(f.st);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    fixture_fini(&f);
}

static void what_a_reader_holds_survives_the_deletion(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 3);
    struct store_got g;
    const struct store_get q = {.topic = SLICE_LIT("T"), .max_msgs = 4};
    assert_int_equal(store_get(f.st, &q, &g), 0);
    assert_int_equal(g.msg_n, 4);
    clock_fake_advance(&f.clock, 24 * HOUR);
    clean(&f);
    assert_int_equal(first_file(&f), 2);
    for (int i = 0; i < g.iov_n; i++) {
        struct message m;
        struct err e;
        assert_ok(message_decode(slice_of(g.iov[i].iov_base, g.iov[i].iov_len), MESSAGE_CHECK_CRC, &m, &e), &e);
    }
    store_got_release(&g);
    fixture_fini(&f);
}

static void queues_follow_and_time_searches_answer_within_what_is_left(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.cq_file_size = 10 * 20;
    fixture_open(&f);
    fill(&f, "OLD", 1);
    const int64_t early = clock_wall(&f.clock.base);
    for (int i = 0; i < 4; i++) {
        clock_fake_advance(&f.clock, 60 * 1000);
        fill(&f, "T", 1);
    }
    clock_fake_advance(&f.clock, 24 * HOUR);
    clean(&f);
    assert_int_equal(first_file(&f), 4);
    assert_int_equal(expect_dense(&f, "OLD", RECORDS), RECORDS); /* nothing left, its place kept */
    assert_int_equal(expect_dense(&f, "T", 4 * RECORDS), 3 * RECORDS);
    assert_false(exists(&f, fixture_path("consumequeue/T/0/%020d", 3 * 200)));
    assert_true(exists(&f, fixture_path("consumequeue/T/0/%020d", 4 * 200))); /* holds unit 45 */
    assert_false(exists(&f, fixture_path("consumequeue/OLD/0/%020d", 0)));
    assert_true(exists(&f, fixture_path("consumequeue/OLD/0/%020d", 200)));
    assert_int_equal(store_offset_by_time(f.st, SLICE_LIT("T"), 0, early, BOUNDARY_LOWER), 3 * RECORDS);
    struct store_got g;
    const struct store_get q = {.topic = SLICE_LIT("T"), .max_msgs = 4};
    assert_int_equal(store_get(f.st, &q, &g), 0);
    assert_int_equal(g.status, GET_OFFSET_TOO_SMALL);
    assert_int_equal(g.next_begin_offset, 3 * RECORDS);
    store_got_release(&g);
    fixture_fini(&f);
}

/* Without care a queue whose records are all gone would begin again at 0. */
static void queue_offsets_go_on_after_a_restart_when_every_record_is_gone(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct store_fixture f;
        setup(&f);
        fixture_open(&f);
        fill(&f, "OLD", 2);
        fill(&f, "T", 2);
        clock_fake_advance(&f.clock, 24 * HOUR);
        clean(&f);
        assert_int_equal(first_file(&f), 3);
        if (killed)
            fixture_crash(&f, NULL, FS_SIM_LOSE_ALL);
        else
            fixture_close(&f);
        fixture_open(&f);
        assert_int_equal(expect_dense(&f, "OLD", 2 * RECORDS), 2 * RECORDS);
        assert_int_equal(fixture_put(&f, "OLD", 0, 100), STORE_OK);
        assert_int_equal(expect_dense(&f, "OLD", 2 * RECORDS + 1), 2 * RECORDS);
        expect_dense(&f, "T", 2 * RECORDS);
        fixture_fini(&f);
    }
}

/* R9: the clock was set 24 years ahead, or a backup was restored. */
static void a_store_that_is_all_expired_when_opened_keeps_its_files_for_their_time_once_more(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = (1u << 24) - 1;
    fixture_open(&f);
    fill(&f, "T", 4);
    fixture_close(&f);
    clock_fake_advance(&f.clock, (int64_t)24 * 365 * 24 * HOUR);
    fixture_open(&f);
    fill(&f, "T", 1);
    clock_fake_advance(&f.clock, f.o.file_reserved_ms - 2 * f.o.clean_interval_ms);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    clean(&f);
    clean(&f);
    assert_int_equal(first_file(&f), 4);
    fixture_fini(&f);
}

/* The second start finds young records, written under the wrong clock. */
static void they_are_kept_over_further_restarts_too(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = (1u << 24) - 1;
    fixture_open(&f);
    fill(&f, "T", 4);
    fixture_close(&f);
    clock_fake_advance(&f.clock, (int64_t)24 * 365 * 24 * HOUR);
    fixture_open(&f);
    const int64_t opened = clock_wall(&f.clock.base);
    fill(&f, "T", 1);
    fixture_kill(&f);
    fixture_open(&f);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    fixture_close(&f);
    f.clock.wall -= (int64_t)24 * 365 * 24 * HOUR; /* and set right again: store times do not go back */
    fixture_open(&f);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    f.clock.wall = opened + f.o.file_reserved_ms - f.o.clean_interval_ms - 1;
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    clean(&f);
    assert_int_equal(first_file(&f), 4);
    fixture_fini(&f);
}

static void age_counts_at_once_when_something_in_the_store_is_young(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.delete_hours = (1u << 24) - 1;
    fixture_open(&f);
    fill(&f, "T", 3);
    clock_fake_advance(&f.clock, 5 * HOUR);
    fill(&f, "T", 1);
    fixture_close(&f);
    clock_fake_advance(&f.clock, f.o.file_reserved_ms); /* exactly: not yet over */
    fixture_open(&f);
    clean(&f);
    assert_int_equal(first_file(&f), 3);
    fixture_fini(&f);
}

static void a_store_that_is_all_expired_still_makes_room_on_a_full_disk(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 8);
    fixture_close(&f);
    clock_fake_advance(&f.clock, (int64_t)24 * 365 * 24 * HOUR);
    fixture_open(&f);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim) * 100 / 88);
    clean(&f);
    assert_int_equal(first_file(&f), 1);
    fixture_fini(&f);
}

static void needed_files_stay_until_the_disk_is_above_its_warning_level(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.keep_from = 0;
    fixture_open(&f);
    fill(&f, "T", 10);
    clock_fake_advance(&f.clock, 24 * HOUR);
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    store_keep_from(f.st, 2 * FILE_SIZE + 100);
    clean(&f);
    assert_int_equal(first_file(&f), 2);
    assert_false(is_full(&f, 90)); /* forced, but not above the warning level */
    clean(&f);
    assert_int_equal(first_file(&f), 2);
    assert_true(is_full(&f, 92));
    clean(&f);
    assert_int_equal(first_file(&f), 3); /* one was enough to come below */
    store_step_space(f.st);
    expect_dense(&f, "T", 10 * RECORDS);
    fixture_fini(&f);
}

static void above_the_warning_level_needed_files_stay_when_force_is_off(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.keep_from = FILE_SIZE;
    f.o.clean_forcibly = false;
    fixture_open(&f);
    fill(&f, "T", 6);
    clock_fake_advance(&f.clock, 24 * HOUR);
    assert_true(is_full(&f, 95));
    clean(&f);
    assert_int_equal(first_file(&f), 1);
    fixture_fini(&f);
}

static void a_file_that_cannot_be_removed_is_tried_again_before_the_next_one(void **state)
{
    (void)state;
    static const unsigned ops[] = {FS_OP_UNLINK, FS_OP_DIRSYNC};
    for (size_t i = 0; i < 2; i++) {
        struct store_fixture f;
        setup(&f);
        fixture_open(&f);
        fill(&f, "T", 4);
        clock_fake_advance(&f.clock, 24 * HOUR);
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = ops[i], .nth = 2, .error = E_IO});
        clean(&f);
        assert_int_equal(first_file(&f), 1);
        assert_true(exists(&f, fixture_path("commitlog/%020d", 2 * FILE_SIZE)));
        expect_dense(&f, "T", 4 * RECORDS);
        clean(&f);
        assert_int_equal(first_file(&f), 3);
        fixture_fini(&f);
    }
}

static void after_a_crash_at_any_step_of_a_deletion_the_rest_is_there(void **state)
{
    (void)state;
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_LOSE_ALL, FS_SIM_TORN_PAGES, FS_SIM_KEEP_ALL};
    int steps = 0;
    for (size_t mode = 0; mode < 3; mode++) {
        bool fired = true;
        for (uint64_t nth = 1; fired; nth++, steps++) {
            struct store_fixture f;
            struct rng rng;
            rng_seed(&rng, nth);
            setup(&f);
            f.o.cq_file_size = 10 * 20;
            fixture_open(&f);
            fill(&f, "OLD", 1);
            fill(&f, "T", 4);
            clock_fake_advance(&f.clock, 24 * HOUR);
            const uint64_t before = fs_fault_fired(&f.fault);
            fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .nth = nth, .for_ever = true,
                                                           .error = E_IO});
            clean(&f);
            fired = fs_fault_fired(&f.fault) != before;
            const int64_t removed = first_file(&f);
            fixture_crash(&f, &rng, modes[mode]);
            fixture_open(&f);
            assert_true(first_file(&f) >= removed); /* what was reported as gone does not come back */
            expect_dense(&f, "OLD", RECORDS);
            expect_dense(&f, "T", 4 * RECORDS);
            assert_int_equal(fixture_put(&f, "OLD", 0, 100), STORE_OK);
            expect_dense(&f, "OLD", RECORDS + 1);
            clock_fake_advance(&f.clock, 24 * HOUR); /* old at open: age counts later */
            fixture_steps(&f);
            clean(&f); /* goes on with the rest; the last message opened a sixth file */
            assert_int_equal(first_file(&f), 5);
            assert_int_equal(expect_dense(&f, "T", 4 * RECORDS), 4 * RECORDS);
            assert_int_equal(expect_dense(&f, "OLD", RECORDS + 1), RECORDS);
            fixture_fini(&f);
        }
    }
    assert_true(steps > 3 * 10);
}

/* Else a crash leaves neither the records nor the units, and the queue's offsets start over. */
static void a_file_stays_until_the_units_of_its_records_are_on_disk(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng;
    rng_seed(&rng, 1);
    setup(&f);
    fixture_open(&f);
    fixture_put_many(&f, "OLD", 0, RECORDS, BODY);
    fixture_put_many(&f, "T", 0, 2 * RECORDS, BODY);
    clock_fake_advance(&f.clock, 24 * HOUR);
    while (store_step_flush(f.st)) {
    }
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .path_has = "consumequeue", .nth = 1,
                                                  .for_ever = true, .error = E_IO});
    while (store_step_cq_flush(f.st)) {
    }
    clean(&f);
    assert_int_equal(first_file(&f), 0);
    fixture_crash(&f, &rng, FS_SIM_LOSE_ALL);
    fixture_open(&f);
    assert_int_equal(fixture_max(&f, "OLD", 0), RECORDS);
    fixture_fini(&f);
}

/* The cleaner alone can make room again: what recovery left as it was must not wait for units that only
 * memory has. The files of those units wait. */
static void a_store_opened_on_a_full_disk_makes_room_on_it(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.o.clean_batch = 100;
    fixture_open(&f);
    for (int i = 0; i < 4; i++) {
        clock_fake_advance(&f.clock, 60 * 1000);
        fill(&f, "T", 1);
    }
    clock_fake_advance(&f.clock, 60 * 1000);
    fixture_put_many(&f, "NEW", 0, 2 * RECORDS, BODY);
    while (store_step_flush(f.st)) {
    }
    fixture_kill(&f);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim));
    fixture_open(&f);
    fs_sim_set_capacity(f.sim, FILE_SIZE); /* what goes is never enough */
    clean(&f);
    assert_int_equal(first_file(&f), 2); /* there recovery began: 3 s before the checkpoint */
    assert_int_equal(expect_dense(&f, "NEW", 2 * RECORDS), 0);
    fixture_kill(&f);
    fs_sim_set_capacity(f.sim, 0);
    fixture_open(&f);
    assert_int_equal(expect_dense(&f, "T", 4 * RECORDS), 2 * RECORDS);
    assert_int_equal(expect_dense(&f, "NEW", 2 * RECORDS), 0);
    fixture_fini(&f);
}

struct blocked {
    struct store *st;
    uv_sem_t inside, go_on;
};

static void block(void *arg)
{
    struct blocked *b = arg;
    uv_sem_post(&b->inside);
    uv_sem_wait(&b->go_on);
}

static void run_cleaner(void *arg)
{
    struct blocked *b = arg;
    while (store_step_clean(b->st)) {
    }
}

static void a_deletion_that_hangs_does_not_hold_up_the_look_at_the_disk(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    fill(&f, "T", 8);
    struct blocked b = {.st = f.st};
    assert_int_equal(uv_sem_init(&b.inside, 0), 0);
    assert_int_equal(uv_sem_init(&b.go_on, 0), 0);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_UNLINK, .hook = block, .arg = &b});
    clock_fake_advance(&f.clock, 24 * HOUR);
    uv_thread_t cleaner;
    assert_int_equal(uv_thread_create(&cleaner, run_cleaner, &b), 0);
    uv_sem_wait(&b.inside);
    assert_true(is_full(&f, 95));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_DISK_FULL);
    assert_false(is_full(&f, 60));
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    expect_dense(&f, "T", 8 * RECORDS + 1);
    uv_sem_post(&b.go_on);
    uv_thread_join(&cleaner);
    assert_true(first_file(&f) > 0);
    uv_sem_destroy(&b.inside);
    uv_sem_destroy(&b.go_on);
    fixture_fini(&f);
}

static void hours_are_checked(void **state)
{
    (void)state;
    uint32_t hours = 0;
    struct err e;
    assert_ok(store_hours_parse("04", &hours, &e), &e);
    assert_int_equal(hours, 1u << 4);
    assert_ok(store_hours_parse("0; 23;", &hours, &e), &e);
    assert_int_equal(hours, 1u | 1u << 23);
    static const char *const bad[] = {"24", "-1", "four", "", ";", "4,5", "04;x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(store_hours_parse(bad[i], &hours, &e), E_INVAL);
        assert_contains(e.text, "deleteWhen");
    }
    assert_int_equal(hours, 1u | 1u << 23);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expired_files_go_in_a_delete_hour_and_in_no_other),
        cmocka_unit_test(the_last_file_stays_however_old_it_is),
        cmocka_unit_test(a_file_is_as_old_as_its_last_record_to_the_millisecond),
        cmocka_unit_test(a_damaged_time_does_not_move_the_limit_of_a_file),
        cmocka_unit_test(a_file_of_one_record_with_a_damaged_time_goes_with_the_next_one),
        cmocka_unit_test(a_round_removes_a_batch_and_pauses_between_files),
        cmocka_unit_test(above_the_used_ratio_expired_files_go_at_any_hour),
        cmocka_unit_test(above_the_forcible_ratio_age_counts_no_more),
        cmocka_unit_test(a_full_disk_refuses_appends_with_hysteresis_and_reads_go_on),
        cmocka_unit_test(a_disk_found_full_at_open_refuses_at_once),
        cmocka_unit_test(a_look_that_fails_changes_nothing),
        cmocka_unit_test(what_a_reader_holds_survives_the_deletion),
        cmocka_unit_test(queues_follow_and_time_searches_answer_within_what_is_left),
        cmocka_unit_test(queue_offsets_go_on_after_a_restart_when_every_record_is_gone),
        cmocka_unit_test(a_store_that_is_all_expired_when_opened_keeps_its_files_for_their_time_once_more),
        cmocka_unit_test(they_are_kept_over_further_restarts_too),
        cmocka_unit_test(age_counts_at_once_when_something_in_the_store_is_young),
        cmocka_unit_test(a_store_that_is_all_expired_still_makes_room_on_a_full_disk),
        cmocka_unit_test(needed_files_stay_until_the_disk_is_above_its_warning_level),
        cmocka_unit_test(above_the_warning_level_needed_files_stay_when_force_is_off),
        cmocka_unit_test(a_file_that_cannot_be_removed_is_tried_again_before_the_next_one),
        cmocka_unit_test(after_a_crash_at_any_step_of_a_deletion_the_rest_is_there),
        cmocka_unit_test(a_file_stays_until_the_units_of_its_records_are_on_disk),
        cmocka_unit_test(a_store_opened_on_a_full_disk_makes_room_on_it),
        cmocka_unit_test(a_deletion_that_hangs_does_not_hold_up_the_look_at_the_disk),
        cmocka_unit_test(hours_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
