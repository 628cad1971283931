/* Zeros ahead of the log's end: never over a record, and never needed. */
#include <stdatomic.h>

#include "store/store_priv.h"
#include "tests/support/store_fixture.h"
#include "tests/support/wait.h"

enum { AHEAD = 32 * 1024, CHUNK = AHEAD / 4 };

static void init(struct store_fixture *f)
{
    fixture_init(f, FLUSH_SYNC);
    f->o.zero_ahead_bytes = AHEAD;
    fixture_open(f);
}

static uint64_t log_writes(struct store_fixture *f)
{
    return fs_fault_calls(&f->fault, FS_OP_WRITE);
}

static void an_idle_store_writes_no_zeros(void **state)
{
    (void)state;
    struct store_fixture f;
    init(&f);
    const uint64_t before = log_writes(&f);
    while (store_step_allocate(f.st)) {
    }
    assert_int_equal(log_writes(&f), before);
    fixture_fini(&f);
}

static void zeros_go_as_far_as_asked_and_no_farther(void **state)
{
    (void)state;
    struct store_fixture f;
    init(&f);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    while (store_step_allocate(f.st)) {
    }
    const struct commitlog *l = &f.st->log;
    assert_int_equal(l->zero.at, INT64_MAX);
    assert_in_range(l->zero.upto, l->end + AHEAD - CHUNK, l->end + AHEAD + CHUNK);
    const uint64_t before = log_writes(&f);
    assert_false(store_step_allocate(f.st));
    assert_int_equal(log_writes(&f), before);
    fixture_verify(&f);
    fixture_fini(&f);
}

/* Through several files, with a power cut now and then. */
static void records_and_zeros_do_not_meet(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng;
    rng_seed(&rng, 7);
    init(&f);
    for (int i = 0; i < 600; i++) {
        assert_int_equal(fixture_put(&f, "T", i % 3, (size_t)rng_below(&rng, 3000) + CHECK_BODY_MIN), STORE_OK);
        for (uint64_t k = rng_below(&rng, 4); k; k--)
            (void)store_step_allocate(f.st);
        if (i % 200 == 199) {
            fixture_reopen(&f, &rng, i == 199 ? FS_SIM_TORN_SECTORS : FS_SIM_TORN_PAGES);
            fixture_verify(&f);
        }
    }
    assert_true(f.st->log.end > 4 * f.o.commitlog_file_size);
    fixture_verify(&f);
    fixture_fini(&f);
}

struct race {
    struct store_fixture *f;
    uv_sem_t entered, leave;
    struct sent *sent[8]; /* 24 KiB: from the end past the first chunk */
    _Atomic bool back;
};

static void hold(void *arg)
{
    struct race *r = arg;
    uv_sem_post(&r->entered);
    uv_sem_wait(&r->leave);
}

static void zero(void *arg)
{
    (void)store_step_allocate(((struct race *)arg)->f->st);
}

static void append(void *arg)
{
    struct race *r = arg;
    store_port_submit(&r->f->port);
    atomic_store(&r->back, true);
}

static bool is_back(void *arg)
{
    return atomic_load(&((struct race *)arg)->back);
}

/* The next step's zeros are written while one append goes in front of them and others reach them. */
static void append_while_zeros_are_written(struct store_fixture *f)
{
    enum { TOO_LONG_MS = 100 };
    struct race r = {.f = f};
    uv_thread_t zeroing, appending;
    uv_sem_init(&r.entered, 0);
    uv_sem_init(&r.leave, 0);
    fs_fault_arm(&f->fault, (struct fs_fault_rule){.ops = FS_OP_WRITE, .path_has = "commitlog", .hook = hold,
                                                   .arg = &r});
    assert_int_equal(uv_thread_create(&zeroing, zero, &r), 0);
    uv_sem_wait(&r.entered);
    assert_int_equal(fixture_put(f, "T", 0, 100), STORE_OK);
    for (int i = 0; i < 8; i++)
        r.sent[i] = fixture_append(f, "T", 0, 0, 3000, NULL);
    assert_int_equal(uv_thread_create(&appending, append, &r), 0);
    const bool early = wait_until(is_back, &r, TOO_LONG_MS);
    uv_sem_post(&r.leave);
    uv_thread_join(&zeroing);
    uv_thread_join(&appending);
    assert_false(early);
    fixture_steps(f);
    (void)store_port_drain(&f->port, 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(r.sent[i]->a.status, STORE_OK);
        sent_free(r.sent[i]);
    }
    fixture_verify(f);
    uv_sem_destroy(&r.entered);
    uv_sem_destroy(&r.leave);
}

static void an_append_that_would_reach_the_zeros_under_way_waits_for_them(void **state)
{
    (void)state;
    struct store_fixture f;
    init(&f);
    assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
    append_while_zeros_are_written(&f);
    fixture_fini(&f);
}

static void zeros_in_the_next_file_are_waited_for_by_an_append_that_goes_there(void **state)
{
    (void)state;
    struct store_fixture f;
    init(&f);
    const int64_t file_size = f.o.commitlog_file_size;
    const struct commitlog *l = &f.st->log;
    while (l->end < file_size - AHEAD + CHUNK)
        assert_int_equal(fixture_put(&f, "T", 0, 1000), STORE_OK);
    while (store_step_allocate(f.st)) {
    }
    assert_true(l->zero.upto > file_size);
    while (l->end < file_size - CHUNK)
        assert_int_equal(fixture_put(&f, "T", 0, 1000), STORE_OK);
    append_while_zeros_are_written(&f);
    assert_true(l->end > file_size);
    fixture_fini(&f);
}

static void a_failure_ends_the_zeroing_and_nothing_else(void **state)
{
    (void)state;
    static const unsigned ops[] = {FS_OP_OPEN, FS_OP_WRITE, FS_OP_DATASYNC};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct store_fixture f;
        init(&f);
        assert_int_equal(fixture_put(&f, "T", 0, 100), STORE_OK);
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = ops[i], .path_has = "commitlog", .error = E_IO});
        assert_false(store_step_allocate(f.st));
        fs_fault_disarm(&f.fault);
        const uint64_t before = log_writes(&f);
        assert_false(store_step_allocate(f.st));
        assert_int_equal(log_writes(&f), before); /* not tried again */
        assert_int_equal(fixture_put(&f, "T", 0, 20000), STORE_OK);
        assert_int_equal(f.failed_calls, 0);
        fixture_verify(&f);
        fixture_fini(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_store_writes_no_zeros),
        cmocka_unit_test(zeros_go_as_far_as_asked_and_no_farther),
        cmocka_unit_test(records_and_zeros_do_not_meet),
        cmocka_unit_test(an_append_that_would_reach_the_zeros_under_way_waits_for_them),
        cmocka_unit_test(zeros_in_the_next_file_are_waited_for_by_an_append_that_goes_there),
        cmocka_unit_test(a_failure_ends_the_zeroing_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
