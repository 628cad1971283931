/* One consume queue by itself: memory, files, cuts. */
#include <stdio.h>
#include <stdlib.h>

#include "store/store_priv.h"
#include "tests/support/store_fixture.h"

static struct store_queue *queue(struct store_fixture *f)
{
    struct store_queue *q;
    struct err e = {0};
    assert_ok(queue_open(&f->st->queues, SLICE_LIT("Q"), 0, &q, &e), &e);
    return q;
}

static void add(struct store_queue *q, int n)
{
    for (int i = 0; i < n; i++) {
        const struct queue_unit u = {q->max * 1000, 100, q->max + 7};
        assert_int_equal(queue_add(q, &u), 0);
    }
}

static void expect(struct store_queue *q, int64_t min, int64_t max)
{
    assert_int_equal(q->min, min);
    assert_int_equal(q->max, max);
    assert_true(q->tail_first <= q->written && q->written <= q->max);
    assert_int_equal(atomic_load(&q->table->unwritten), q->max - q->written);
    for (int64_t i = min; i < max; i++) {
        struct queue_unit u;
        struct err e = {0};
        assert_ok(queue_unit_at(q, i, &u, &e), &e);
        assert_int_equal(u.phys_offset, i * 1000);
        assert_int_equal(u.tags_code, i + 7);
    }
    struct queue_unit u;
    assert_int_equal(queue_unit_at(q, max, &u, NULL), E_NOTFOUND);
    assert_int_equal(queue_unit_at(q, min - 1, &u, NULL), E_NOTFOUND);
}

static void flush(struct store_fixture *f)
{
    struct err e = {0};
    assert_ok(queue_table_flush_all(&f->st->queues, &e), &e);
}

static void a_cut_keeps_what_is_below_wherever_it_is(void **state)
{
    (void)state;
    /* 60 units in files, 60 more in memory, a file holds 50; cut at every place. */
    for (int64_t at = 0; at <= 120; at++)
        for (int idle = 0; idle < 2; idle++) {
            struct store_fixture f;
            struct err e = {0};
            fixture_init(&f, FLUSH_ASYNC);
            fixture_open(&f);
            struct store_queue *q = queue(&f);
            add(q, 60);
            flush(&f);
            if (idle)
                flush(&f); /* gives the memory back */
            add(q, 60);
            expect(q, 0, 120);
            assert_ok(queue_cut(q, at, &e), &e);
            expect(q, 0, at);
            add(q, 130);
            expect(q, 0, at + 130);
            flush(&f);
            flush(&f);
            expect(q, 0, at + 130);
            queue_unref(q);
            fixture_fini(&f);
        }
}

static void a_restart_begins_with_pre_blank_units(void **state)
{
    (void)state;
    struct store_fixture f;
    struct err e = {0};
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    struct store_queue *q = queue(&f);
    add(q, 70);
    flush(&f);
    assert_ok(queue_restart_at(q, 230, &e), &e);
    add(q, 90);
    expect(q, 230, 320);
    flush(&f);
    char *units;
    size_t n;
    fixture_read_file(&f, fixture_path("consumequeue/Q/0/%020d", 4000), &units, &n);
    assert_int_equal(n, 1000);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(be64_get(units + i * 20), 0);
        assert_int_equal(be32_get(units + i * 20 + 8), INT32_MAX);
        assert_int_equal(be64_get(units + i * 20 + 12), 0);
    }
    assert_int_equal(be64_get(units + 30 * 20), 230 * 1000);
    free(units);
    queue_unref(q);
    fixture_fini(&f);
}

static void units_whose_sync_failed_are_written_again(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng = {{1, 2, 3, 4}};
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 120, 50);
    const uint64_t nths[] = {1, 2, 2}; /* the first file, the second, the third */
    for (size_t i = 0; i < 3; i++) {
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "consumequeue",
                                                      .nth = nths[i], .error = E_IO});
        struct err e = {0};
        assert_code(queue_table_flush_all(&f.st->queues, &e), E_IO, &e);
        assert_contains(e.text, "T-0");
        fs_fault_disarm(&f.fault);
        fixture_verify(&f);
    }
    fixture_put_many(&f, "T", 0, 30, 50);
    clock_fake_advance(&f.clock, 60000);
    fixture_steps(&f);
    fixture_crash(&f, &rng, FS_SIM_LOSE_ALL);
    fixture_open(&f);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void an_idle_queue_holds_no_units_in_memory(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    struct store_queue *q = queue(&f);
    assert_true(sizeof *q <= 320);
    add(q, 1000);
    flush(&f);
    assert_non_null(q->tail);
    flush(&f);
    assert_null(q->tail);
    assert_false(q->dirty);
    expect(q, 0, 1000);
    queue_unref(q);
    fixture_fini(&f);
}

static uint64_t syncs(struct store_fixture *f, unsigned ops)
{
    return fs_fault_calls(&f->fault, ops);
}

static void new_queues(struct store_fixture *f, int n)
{
    for (int i = 0; i < n; i++) {
        char topic[24];
        snprintf(topic, sizeof topic, "many-%d", i);
        fixture_put(f, topic, i % 8, 50);
    }
}

static void many_new_queues_share_one_sync(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng = {{1, 2, 3, 4}};
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    new_queues(&f, 200);
    const uint64_t all = syncs(&f, FS_OP_SYNC_ALL), single = syncs(&f, FS_OP_DATASYNC | FS_OP_DIRSYNC | FS_OP_SYNC);
    while (store_step_cq_flush(f.st)) {
    }
    assert_int_equal(syncs(&f, FS_OP_SYNC_ALL) - all, 1);
    assert_int_equal(syncs(&f, FS_OP_DATASYNC | FS_OP_DIRSYNC | FS_OP_SYNC) - single, 1); /* the checkpoint */
    assert_int_equal(atomic_load(&f.st->queues.unwritten), 0);
    fixture_reopen(&f, &rng, FS_SIM_LOSE_ALL);
    assert_int_equal(fixture_max(&f, "many-199", 199 % 8), 1);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_failed_common_sync_leaves_every_unit_in_memory_until_one_succeeds(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng = {{1, 2, 3, 4}};
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    new_queues(&f, 40);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_SYNC_ALL, .error = E_IO});
    while (store_step_cq_flush(f.st)) {
    }
    assert_int_equal(atomic_load(&f.st->queues.unwritten), 40);
    assert_int_equal(f.st->checkpoint.logics_ts, 0);
    /* One queue more is few, but names of the others may be missing. */
    fixture_put(&f, "one-more", 0, 50);
    while (store_step_cq_flush(f.st)) {
    }
    assert_int_equal(fs_fault_fired(&f.fault), 1);
    assert_int_equal(atomic_load(&f.st->queues.unwritten), 0);
    assert_true(f.st->checkpoint.logics_ts > 0);
    fixture_reopen(&f, &rng, FS_SIM_LOSE_ALL);
    fixture_verify(&f);
    fixture_fini(&f);
}

static int64_t written(struct store_fixture *f, const char *topic)
{
    struct store_queue *q = queue_find(&f->st->queues, slice_str(topic), 0);
    assert_non_null(q);
    const int64_t n = q->written;
    queue_unref(q);
    return n;
}

static void a_queue_with_few_units_waits_for_the_thorough_round(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.cq_file_size = 20000;
    f.o.commitlog_file_size = 4 << 20;
    f.o.cq_flush_least_pages = 1;
    f.o.cq_flush_thorough_ms = 5000;
    fixture_open(&f);
    fixture_put_many(&f, "few", 0, 5, 50);
    fixture_put_many(&f, "page", 0, 204, 50);
    fixture_put_many(&f, "more", 0, 205, 50); /* 4100 bytes */
    const int64_t checkpoint = f.st->checkpoint.logics_ts;
    fixture_steps(&f);
    assert_int_equal(written(&f, "few"), 0);
    assert_int_equal(written(&f, "page"), 0);
    assert_int_equal(written(&f, "more"), 205);
    assert_int_equal(f.st->checkpoint.logics_ts, checkpoint);
    clock_fake_advance(&f.clock, 5000);
    fixture_steps(&f);
    assert_int_equal(written(&f, "few"), 5);
    assert_int_equal(written(&f, "page"), 204);
    assert_true(f.st->checkpoint.logics_ts > checkpoint);
    /* A quarter of a log file is as much as a recovery should have to read for it. */
    fixture_put_many(&f, "few", 0, 1, 1 << 20);
    fixture_steps(&f);
    assert_int_equal(written(&f, "few"), 6);
    fixture_verify(&f);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_keeps_what_is_below_wherever_it_is),
        cmocka_unit_test(a_restart_begins_with_pre_blank_units),
        cmocka_unit_test(units_whose_sync_failed_are_written_again),
        cmocka_unit_test(an_idle_queue_holds_no_units_in_memory),
        cmocka_unit_test(many_new_queues_share_one_sync),
        cmocka_unit_test(a_failed_common_sync_leaves_every_unit_in_memory_until_one_succeeds),
        cmocka_unit_test(a_queue_with_few_units_waits_for_the_thorough_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
