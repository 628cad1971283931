/* Appends and what they give back: places, times, files, limits, failures. */
#include <stdatomic.h>

#include "tests/support/store_fixture.h"

static void appended_messages_come_back_in_order(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    for (int i = 0; i < 300; i++)
        assert_int_equal(fixture_put(&f, "T", i % 3, (size_t)(20 + i)), STORE_OK);
    assert_int_equal(fixture_max(&f, "T", 0), 100);
    assert_int_equal(f.arrivals, 300);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void ignore_done(struct append *a)
{
    (void)a;
}

static void a_batch_gets_consecutive_offsets_and_is_never_split_over_files(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    for (int batch = 0; batch < 40; batch++) {
        struct sent s = {.f = &f};
        buf_init(&s.records, 0);
        enum { N = 7 };
        uint32_t seqs[N];
        int64_t codes[N];
        for (int i = 0; i < N; i++) {
            seqs[i] = f.next_seq[1]++;
            codes[i] = batch * 100 + i;
            store_check_sent(&f.check, 1, seqs[i]);
            check_record(&s.records, SLICE_LIT("B"), 2, 1, seqs[i], 1000, NULL);
        }
        /* done() of the fixture would note one record: note all of them here instead. */
        s.a = (struct append){.records = s.records.p, .size = s.records.n, .record_n = N,
                              .topic = SLICE_LIT("B"), .queue_id = 2, .tags_codes = codes, .done = ignore_done};
        store_append(&f.port, &s.a);
        store_port_submit(&f.port);
        assert_int_equal(s.a.status, STORE_OK);
        assert_int_equal(s.a.queue_offset, batch * N);
        const int64_t size = f.o.commitlog_file_size, end = s.a.phys_offset + (int64_t)s.a.size;
        assert_int_equal(s.a.phys_offset / size, (end - 1) / size);
        for (int i = 0; i < N; i++)
            store_check_acked(&f.check, 1, seqs[i], 2, s.a.queue_offset + i,
                              s.a.phys_offset + (int64_t)(s.a.size / N) * i);
        struct store_unit units[N];
        assert_int_equal(store_units(f.st, SLICE_LIT("B"), 2, s.a.queue_offset, units, N), N);
        for (int i = 0; i < N; i++)
            assert_int_equal(units[i].tags_code, codes[i]);
        buf_free(&s.records);
    }
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_record_fills_a_file_up_to_the_last_eight_bytes(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 4096;
    fixture_open(&f);
    const size_t head = MESSAGE_SIZE_MIN + 1; /* topic T */
    const size_t most = 4096 - MESSAGE_BLANK_SIZE - head;
    assert_int_equal(fixture_put(&f, "T", 0, most + 1), STORE_TOO_BIG);
    assert_int_equal(fixture_max(&f, "T", 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_put(&f, "T", 0, most), STORE_OK);
    struct store_unit u[3];
    assert_int_equal(store_units(f.st, SLICE_LIT("T"), 0, 0, u, 3), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(u[i].phys_offset, i * 4096);
    fixture_verify(&f);
    fixture_reopen(&f, NULL, FS_SIM_KEEP_ALL);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_body_may_be_as_large_as_configured_and_no_larger(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 1 << 20;
    f.o.max_message_size = 200000;
    fixture_open(&f);
    assert_int_equal(fixture_put(&f, "T", 0, 200000), STORE_OK);
    assert_int_equal(fixture_put(&f, "T", 0, 200000 + 65536 - MESSAGE_SIZE_MIN - 1), STORE_OK);
    assert_int_equal(fixture_put(&f, "T", 0, 200000 + 65536 - MESSAGE_SIZE_MIN), STORE_TOO_BIG);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void what_is_not_whole_records_is_refused(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    struct { const char *topic; int32_t queue_id; int cut, count; } cases[] = {
        {"T", 0, 1, 1}, {"T", 0, 0, 2}, {"T", 0, 0, 0}, {"../T", 0, 0, 1}, {"", 0, 0, 1}, {"T", -1, 0, 1}, {"T", 1, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sent *s = fixture_append(&f, "T", 0, 0, 100, NULL);
        s->a.topic = slice_str(cases[i].topic);
        s->a.queue_id = cases[i].queue_id;
        s->a.size -= (size_t)cases[i].cut;
        s->a.record_n = cases[i].count;
        store_port_submit(&f.port);
        assert_int_equal(s->a.status, STORE_TOO_BIG);
        sent_free(s);
    }
    struct store_stats stats;
    store_stats_get(f.st, &stats);
    assert_int_equal(stats.log_wrote, 0);
    fixture_fini(&f);
}

static void one_submit_is_one_write(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    struct sent *s[50];
    for (int i = 0; i < 50; i++)
        s[i] = fixture_append(&f, "T", i % 4, 0, 100, NULL);
    const uint64_t before = fs_fault_calls(&f.fault, FS_OP_WRITE);
    store_port_submit(&f.port);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_WRITE) - before, 1);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(s[i]->a.status, STORE_OK);
        sent_free(s[i]);
    }
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_batch_of_more_than_iov_max_appends_is_written(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 1 << 20;
    fixture_open(&f);
    enum { N = 2500 };
    static struct sent *s[N];
    for (int i = 0; i < N; i++)
        s[i] = fixture_append(&f, "T", 0, 0, 12, NULL);
    store_port_submit(&f.port);
    for (int i = 0; i < N; i++) {
        assert_int_equal(s[i]->a.status, STORE_OK);
        assert_int_equal(s[i]->a.queue_offset, i);
        sent_free(s[i]);
    }
    fixture_verify(&f);
    fixture_fini(&f);
}

static void the_store_time_never_goes_backwards(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    const int64_t early = f.clock.wall;
    fixture_put_many(&f, "T", 0, 1, 20);
    f.clock.wall = early - 100000;
    fixture_put_many(&f, "T", 0, 1, 20);
    assert_int_equal(store_time_of_offset(f.st, SLICE_LIT("T"), 0, 1), early);
    fixture_reopen(&f, NULL, FS_SIM_KEEP_ALL);
    fixture_put_many(&f, "T", 0, 1, 20);
    assert_int_equal(store_time_of_offset(f.st, SLICE_LIT("T"), 0, 2), early);
    fixture_fini(&f);
}

static void a_delay_level_makes_the_code_a_delivery_time(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    const struct { int32_t level; int64_t ms; } cases[] = {{1, 1000}, {2, 5000}, {18, 7200000}, {99, 7200000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sent *s = fixture_append(&f, "SCHEDULE_TOPIC_XXXX", 0, 0, 20, "ignored");
        s->a.delay_level = cases[i].level;
        store_port_submit(&f.port);
        assert_int_equal(f.last_arrival_code, f.clock.wall + cases[i].ms);
        sent_free(s);
    }
    fixture_fini(&f);
}

static void a_record_without_queue_is_stored_and_takes_no_queue_offset(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 2, 20);
    struct sent *s = fixture_append(&f, "T", 0, 1, 20, NULL);
    s->a.no_queue = true;
    store_port_submit(&f.port);
    assert_int_equal(s->a.status, STORE_OK);
    assert_int_equal(s->a.queue_offset, 0);
    struct store_view v;
    struct err e;
    assert_ok(store_view(f.st, s->a.phys_offset, 0, &v, &e), &e);
    assert_int_equal(v.record.n, s->a.size);
    store_view_release(&v);
    assert_int_equal(fixture_max(&f, "T", 0), 2);
    fixture_put_many(&f, "T", 0, 1, 20);
    assert_int_equal(fixture_max(&f, "T", 0), 3);
    sent_free(s);
    fixture_fini(&f);
}

/* ---- failures ---- */

static void a_failed_write_fails_the_store_for_good_and_reads_go_on(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 5, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .path_has = "commitlog", .error = E_IO});
    assert_int_equal(fixture_put(&f, "T", 0, 50), STORE_FAILED);
    assert_int_equal(f.failed_calls, 1);
    assert_contains(f.failed_reason, "commitlog");
    assert_int_equal(fixture_put(&f, "T", 0, 50), STORE_FAILED);
    assert_int_equal(f.failed_calls, 1);
    struct store_stats stats;
    store_stats_get(f.st, &stats);
    assert_true(stats.failed);
    assert_int_equal(fixture_max(&f, "T", 0), 5);
    fixture_verify(&f);
    struct err e;
    store_port_close(&f.port);
    assert_code(store_close(f.st, &e), E_FAILED, &e);
    f.st = NULL;
    fixture_open(&f);
    assert_false(f.found.clean);
    fixture_verify(&f);
    fixture_put_many(&f, "T", 0, 1, 50);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_short_write_acknowledges_nothing_and_is_cut_at_recovery(void **state)
{
    (void)state;
    for (size_t n = 0; n < 310; n += 7) {
        struct store_fixture f;
        fixture_init(&f, FLUSH_ASYNC);
        fixture_open(&f);
        fixture_put_many(&f, "T", 0, 3, 50);
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .path_has = "commitlog",
                                                      .error = E_IO, .short_bytes = n});
        struct sent *a = fixture_append(&f, "T", 0, 0, 50, NULL), *b = fixture_append(&f, "T", 0, 0, 50, NULL);
        const size_t record = a->a.size;
        store_port_submit(&f.port);
        assert_int_equal(a->a.status, STORE_FAILED);
        assert_int_equal(b->a.status, STORE_FAILED);
        sent_free(a);
        sent_free(b);
        fixture_reopen(&f, NULL, FS_SIM_KEEP_ALL);
        fixture_verify(&f);
        /* Whole records survive although nobody was promised anything; half ones do not. */
        /* The last two bytes of these records are zeros (no properties), as the disk was before. */
        if (fixture_max(&f, "T", 0) != 3 + (int64_t)((n + 2) / record))
            fail_msg("%zu of %zu bytes reached the disk, %lld messages are there", n, 2 * record,
                     (long long)fixture_max(&f, "T", 0));
        assert_true(f.found.dropped_bytes <= (int64_t)n);
        fixture_fini(&f);
    }
}

static void a_full_disk_refuses_what_needs_a_new_file_until_space_comes_back(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 15, 4000);
    fs_sim_set_capacity(f.sim, fs_sim_used(f.sim));
    assert_int_equal(fixture_put(&f, "T", 0, 4200), STORE_NO_FILE);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK); /* fits the file that is there */
    assert_int_equal(f.failed_calls, 0);
    fs_sim_set_capacity(f.sim, 0);
    assert_int_equal(fixture_put(&f, "T", 0, 4000), STORE_OK);
    assert_int_equal(fixture_max(&f, "T", 0), 17);
    fixture_verify(&f);
    fixture_reopen(&f, NULL, FS_SIM_KEEP_ALL);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void the_next_file_is_allocated_ahead_and_used(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 5, 4000);
    assert_false(store_step_allocate(f.st));
    fixture_put_many(&f, "T", 0, 5, 4000);
    assert_true(store_step_allocate(f.st));
    assert_false(store_step_allocate(f.st));
    const uint64_t before = fs_fault_calls(&f.fault, FS_OP_ALLOCATE);
    fixture_put_many(&f, "T", 0, 10, 4000);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_ALLOCATE), before);
    fixture_verify(&f);
    fixture_put_many(&f, "T", 0, 7, 4000);
    while (store_step_allocate(f.st)) {
    }
    fixture_close(&f);
    fixture_open(&f);
    assert_true(f.found.clean);
    assert_int_equal(f.found.dropped_bytes, 0);
    fixture_verify(&f);
    fixture_fini(&f);
}

struct allocating {
    struct store *st;
    atomic_bool stop;
};

static void allocate_on(void *arg)
{
    struct allocating *a = arg;
    while (!atomic_load(&a->stop))
        store_step_allocate(a->st);
}

static void roll_under_allocators(void)
{
    enum { ALLOCATORS = 3 };
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 4096;
    fixture_open(&f);
    struct allocating a = {.st = f.st};
    uv_thread_t threads[ALLOCATORS];
    for (int i = 0; i < ALLOCATORS; i++)
        assert_int_equal(uv_thread_create(&threads[i], allocate_on, &a), 0);
    fixture_put_many(&f, "T", 0, 700, 2400); /* each rolls, often just when an allocator wants to */
    atomic_store(&a.stop, true);
    for (int i = 0; i < ALLOCATORS; i++)
        uv_thread_join(&threads[i]);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void the_allocator_never_empties_a_file_that_a_roll_has_just_created(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        roll_under_allocators();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_messages_come_back_in_order),
        cmocka_unit_test(a_batch_gets_consecutive_offsets_and_is_never_split_over_files),
        cmocka_unit_test(a_record_fills_a_file_up_to_the_last_eight_bytes),
        cmocka_unit_test(a_body_may_be_as_large_as_configured_and_no_larger),
        cmocka_unit_test(what_is_not_whole_records_is_refused),
        cmocka_unit_test(one_submit_is_one_write),
        cmocka_unit_test(a_batch_of_more_than_iov_max_appends_is_written),
        cmocka_unit_test(the_store_time_never_goes_backwards),
        cmocka_unit_test(a_delay_level_makes_the_code_a_delivery_time),
        cmocka_unit_test(a_record_without_queue_is_stored_and_takes_no_queue_offset),
        cmocka_unit_test(a_failed_write_fails_the_store_for_good_and_reads_go_on),
        cmocka_unit_test(a_short_write_acknowledges_nothing_and_is_cut_at_recovery),
        cmocka_unit_test(a_full_disk_refuses_what_needs_a_new_file_until_space_comes_back),
        cmocka_unit_test(the_next_file_is_allocated_ahead_and_used),
        cmocka_unit_test(the_allocator_never_empties_a_file_that_a_roll_has_just_created),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
