/* A queue that finds no memory for a unit of a record that is stored. */
#include "tests/chaos/sim/alloc_hook.h"
#include "tests/chaos/sim/scratch.h"
#include "tests/support/store_fixture.h"

enum { FILE_SIZE = 64 * 1024, HOUR = 3600 * 1000, RECORDS = 16, BODY = 4000 };

static struct store_stats stats(struct store_fixture *f)
{
    struct store_stats s;
    store_stats_get(f->st, &s);
    return s;
}

static void expect_failed(const struct store_fixture *f)
{
    assert_int_equal(f->failed_calls, 1);
    assert_string_equal(f->failed_reason, "out of memory for consume queue units");
}

/* The simulated disk would ask for memory too. */
static void begin(struct store_fixture *f, enum flush_mode mode)
{
    fixture_init(f, mode);
    f->o.fs = &fs_real;
    f->o.root_dir = scratch_new();
    f->o.file_reserved_ms = HOUR;
    f->o.delete_hours = (1u << 24) - 1;
    f->o.clean_log_pause_ms = f->o.clean_cq_pause_ms = 0;
    fixture_open(f);
}

/* A record of queue "N", whose unit finds no memory, and two files of "T" behind it: all written and synced. */
static void store_without_a_unit(struct store_fixture *f)
{
    struct sent *s[2 * RECORDS + 1];
    begin(f, FLUSH_SYNC);
    for (int i = 0; i <= 2 * RECORDS; i++)
        s[i] = fixture_append(f, i ? "T" : "N", 0, i > 0, BODY, NULL);
    store_port_submit(&f->port);
    alloc_hook_arm(1);
    alloc_hook_enter();
    store_step_flush(f->st);
    alloc_hook_leave();
    alloc_hook_arm(0);
    store_port_drain(&f->port, 0);
    expect_failed(f);
    assert_int_equal(stats(f).log_flushed, stats(f).log_wrote);
    for (int i = 0; i <= 2 * RECORDS; i++) {
        assert_int_equal(s[i]->a.status, STORE_OK); /* it is on disk */
        sent_free(s[i]);
    }
}

static void expect_all(struct store_fixture *f)
{
    assert_int_equal(fixture_max(f, "N", 0), 1);
    assert_int_equal(fixture_max(f, "T", 0), 2 * RECORDS);
    fixture_verify(f);
}

static void end(struct store_fixture *f)
{
    fixture_fini(f);
    scratch_remove();
}

static void the_log_is_kept_for_the_recovery_that_makes_the_unit(void **state)
{
    (void)state;
    struct store_fixture f;
    struct err e;
    store_without_a_unit(&f);
    assert_int_equal(stats(&f).log_visible, 0);
    clock_fake_advance(&f.clock, 2 * HOUR);
    while (store_step_cq_flush(f.st)) {
    }
    clock_fake_advance(&f.clock, f.o.clean_interval_ms);
    while (store_step_clean(f.st)) {
    }
    assert_int_equal(stats(&f).log_min, 0);
    store_port_close(&f.port);
    assert_code(store_close(f.st, &e), E_FAILED, &e);
    f.st = NULL;
    fixture_open(&f);
    expect_all(&f);
    end(&f);
}

static void the_next_sync_tries_again_and_sends_stay_refused(void **state)
{
    (void)state;
    struct store_fixture f;
    store_without_a_unit(&f);
    while (store_step_flush(f.st)) {
    }
    assert_int_equal(stats(&f).log_visible, stats(&f).log_wrote);
    expect_all(&f);
    assert_int_equal(fixture_put(&f, "T", 0, BODY), STORE_FAILED);
    end(&f);
}

/* A new queue asks for memory itself before its unit does. */
static void a_sender_that_waits_for_no_sync_reports_it(void **state)
{
    (void)state;
    struct store_fixture f;
    begin(&f, FLUSH_ASYNC);
    for (int nth = 1; !f.failed_calls; nth++) {
        struct sent *s = fixture_append(&f, "N", nth, 0, BODY, NULL);
        alloc_hook_arm(nth);
        alloc_hook_enter();
        store_port_submit(&f.port);
        alloc_hook_leave();
        alloc_hook_arm(0);
        assert_int_equal(s->a.status, f.failed_calls ? STORE_OK : STORE_NO_FILE);
        sent_free(s);
    }
    expect_failed(&f);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_kept_for_the_recovery_that_makes_the_unit),
        cmocka_unit_test(the_next_sync_tries_again_and_sends_stay_refused),
        cmocka_unit_test(a_sender_that_waits_for_no_sync_reports_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
