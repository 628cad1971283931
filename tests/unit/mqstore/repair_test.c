/* repair: what it says it does, nothing is lost but what it names, what is given up is in the copies, and
 * a repair that is stopped anywhere can be run again. */
#include "mqstore/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/store_sample.h"

#define LOG0 "commitlog/00000000000000000000"
#define LOG1 "commitlog/00000000000000065536"
#define QUEUE_A "consumequeue/A/0/00000000000000000000"
enum { DAMAGED = 50 /* the record that tests damage */ };

struct fixture {
    struct store_fixture f;
    struct sample s;
    struct buf out;
};

static void begin(struct fixture *x)
{
    fixture_init(&x->f, FLUSH_ASYNC);
    sample_fill(&x->f, &x->s);
    fixture_close(&x->f);
    buf_init(&x->out, 0);
}

static void end(struct fixture *x)
{
    buf_free(&x->out);
    fixture_fini(&x->f);
    sample_free(&x->s);
}

static int setup(void **state)
{
    static struct fixture x;
    begin(&x);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    end(*state);
    return 0;
}

static struct repair_opts opts_of(struct fixture *x, bool yes)
{
    return (struct repair_opts){.verify = {.site = {.fs = &x->f.fault.fs, .root = "/store"}, .problems_max = 20},
                                .yes = yes, .clock = &x->f.clock.base};
}

static int repair(struct fixture *x, const struct repair_opts *o, struct repair_result *r, struct err *e)
{
    buf_clear(&x->out);
    clock_fake_advance(&x->f.clock, 2000); /* each repair has a directory of its own */
    return repair_run(o, &x->out, r, e);
}

static const char *text(struct fixture *x)
{
    buf_char(&x->out, 0);
    return x->out.p;
}

/* Repairs; no damage may be left. The caller frees the result. */
static void repaired(struct fixture *x, bool keep_behind, struct repair_result *r)
{
    struct repair_opts o = opts_of(x, true);
    struct err e = {0};
    o.keep_behind = keep_behind;
    if (repair(x, &o, r, &e))
        fail_msg("%s\n%s", e.text, text(x));
    if (!r->needed || !r->done || r->damage_after)
        fail_msg("needed %d, done %d, damage left %llu\n%s", r->needed, r->done, (unsigned long long)r->damage_after,
                 text(x));
}

/* Opens the store as a broker does: records [0, n) but for `lost` are readable, the others are not. */
static void holds_when_opened(struct fixture *x, int n, int lost)
{
    fixture_open(&x->f);
    for (int i = 0; i < SAMPLE_RECORDS; i++) {
        const bool want = i < n && i != lost;
        if (sample_readable(&x->f, &x->s, i) != want)
            fail_msg("record %d (%s-%d@%lld, physical offset %lld) is %s", i, x->s.records[i].topic,
                     x->s.records[i].queue_id, (long long)x->s.records[i].queue_offset, (long long)x->s.records[i].phys,
                     want ? "not readable" : "readable");
    }
    fixture_close(&x->f);
}

/* The same, and recovery had nothing left to cut. */
static void holds(struct fixture *x, int n, int lost)
{
    holds_when_opened(x, n, lost);
    assert_int_equal(x->f.found.dropped_bytes, 0);
}

static void copy_is(struct fixture *x, const struct repair_result *r, const char *name, int64_t at, const void *want,
                    size_t n)
{
    char path[200], *p;
    size_t got;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    fixture_read_file(&x->f, path, &p, &got);
    assert_true(got >= (size_t)at + n);
    assert_memory_equal(p + at, want, n);
    free(p);
}

/* ---- nothing is done unasked ---- */

static void a_whole_store_needs_no_repair(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    struct err e = {0};
    const struct repair_opts o = opts_of(x, true);
    fs_fault_arm(&x->f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .for_ever = true, .error = E_IO});
    assert_ok(repair(x, &o, &r, &e), &e);
    fs_fault_disarm(&x->f.fault);
    assert_false(r.needed);
    assert_false(r.done);
    assert_contains(text(x), "nothing to repair");
}

static void without_yes_it_only_says_what_it_would_do(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    struct err e = {0};
    const struct repair_opts o = opts_of(x, false);
    sample_flip(&x->f, QUEUE_A, 7, 1);
    sample_flip(&x->f, LOG0, x->s.records[DAMAGED].phys + 60, 1);
    sample_flip(&x->f, sample_index_file(&x->f, 0), 7, 1);
    fs_fault_arm(&x->f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .for_ever = true, .error = E_IO});
    assert_ok(repair(x, &o, &r, &e), &e);
    fs_fault_disarm(&x->f.fault);
    assert_true(r.needed);
    assert_false(r.done);
    const char *const said = text(x);
    assert_contains(said, "consume queue A-0: build it anew from the log");
    assert_contains(said, "index: build it anew from the log");
    assert_contains(said, "commit log: end it at physical offset");
    assert_contains(said, "--keep-behind keeps them");
    assert_contains(said, "nothing was changed: --yes does it");
}

static void a_running_broker_is_left_alone(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    struct err e = {0};
    const struct repair_opts o = opts_of(x, true);
    fixture_open(&x->f);
    assert_code(repair(x, &o, &r, &e), E_LOCKED, &e);
    fixture_close(&x->f);
}

static void sizes_that_do_not_fit_are_left_to_a_human(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    struct err e = {0};
    const struct repair_opts o = opts_of(x, true);
    sample_resize(&x->f, LOG0, 70000);
    assert_code(repair(x, &o, &r, &e), E_CORRUPT, &e);
    assert_contains(e.text, "nothing was changed");
}

/* ---- what is derived ---- */

static void a_damaged_queue_is_built_anew(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    char *was;
    size_t n;
    sample_flip(&x->f, QUEUE_A, 3 * CQ_UNIT_SIZE + 7, 1);
    fixture_read_file(&x->f, "/store/" QUEUE_A, &was, &n);
    repaired(x, false, &r);
    copy_is(x, &r, QUEUE_A, 0, was, n);
    free(was);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, -1);
}

static void queues_missing_and_cut_short_are_built_anew(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    sample_remove(&x->f, "consumequeue/B");
    sample_resize(&x->f, QUEUE_A, 400);
    sample_remove(&x->f, "consumequeue/A/1/00000000000000001000");
    repaired(x, false, &r);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, -1);
}

static void delivery_times_are_kept_when_the_levels_are_not_the_default(void **state)
{
    static const int64_t levels[] = {1000, 77000};
    struct fixture *const x = *state;
    struct repair_result r;
    end(x);
    fixture_init(&x->f, FLUSH_ASYNC);
    x->f.o.delay_level_ms = levels;
    x->f.o.delay_level_n = 2;
    sample_fill(&x->f, &x->s);
    fixture_close(&x->f);
    buf_init(&x->out, 0);
    sample_flip(&x->f, QUEUE_A, 7, 1);
    repaired(x, false, &r); /* verify would name a delivery time that is not the learned one */
    repair_result_free(&r);
    fixture_open(&x->f);
    struct store_unit u;
    assert_int_equal(store_units(x->f.st, SLICE_LIT("SCHEDULE_TOPIC_XXXX"), 1, 0, &u, 1), 1);
    struct store_view v;
    struct message m;
    assert_int_equal(store_view(x->f.st, u.phys_offset, u.size, &v, NULL), 0);
    assert_int_equal(message_decode(v.record, 0, &m, NULL), 0);
    assert_int_equal(u.tags_code - m.store_timestamp, 77000);
    store_view_release(&v);
    fixture_close(&x->f);
}

static void a_damaged_index_is_built_anew(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    sample_flip(&x->f, sample_index_file(&x->f, 1), INDEX_HEADER_SIZE + 40 * INDEX_SLOT_SIZE + 20 * INDEX_ITEM_SIZE, 1);
    repaired(x, false, &r);
    repair_result_free(&r);
    sample_remove(&x->f, sample_index_file(&x->f, 1));
    repaired(x, false, &r);
    repair_result_free(&r);
    sample_flip(&x->f, "indexCheckpoint", 10, 1);
    repaired(x, false, &r);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, -1);
}

static void a_checkpoint_from_the_future_is_written_anew(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    sample_flip(&x->f, "checkpoint", 2, 0x10);
    repaired(x, false, &r);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, -1);
}

/* ---- the log ---- */

static void bytes_behind_the_end_are_kept_and_cut(void **state)
{
    struct fixture *const x = *state;
    const struct sample_record *const last = &x->s.records[SAMPLE_RECORDS - 1];
    struct repair_result r;
    char path[64], name[100];
    const int64_t start = last->phys / 65536 * 65536, at = last->phys + last->size - start;
    snprintf(path, sizeof path, "commitlog/%020lld", (long long)start);
    snprintf(name, sizeof name, "commitlog-%020lld-from-%lld", (long long)start, (long long)at);
    sample_put(&x->f, path, at, "garbage", 7);
    repaired(x, false, &r);
    copy_is(x, &r, name, 0, "garbage", 7);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, -1);
}

static void by_default_the_log_ends_before_the_damage(void **state)
{
    struct fixture *const x = *state;
    const struct sample_record *const bad = &x->s.records[DAMAGED];
    struct repair_result r;
    char name[100], *later;
    size_t n;
    sample_flip(&x->f, LOG0, bad->phys + bad->size / 2, 0x20);
    fixture_read_file(&x->f, "/store/" LOG1, &later, &n);
    repaired(x, false, &r);
    assert_int_equal(r.records_after, DAMAGED);
    snprintf(name, sizeof name, "commitlog-%020d-from-%lld", 0, (long long)bad->phys);
    const struct sample_record *const next = &x->s.records[DAMAGED + 1];
    copy_is(x, &r, name, next->phys - bad->phys, next->bytes, (size_t)next->size);
    copy_is(x, &r, LOG1, 0, later, n);
    free(later);
    repair_result_free(&r);
    holds(x, DAMAGED, -1);
}

static void on_demand_what_is_behind_the_damage_is_kept(void **state)
{
    struct fixture *const x = *state;
    const struct sample_record *const bad = &x->s.records[DAMAGED];
    struct repair_result r;
    sample_flip(&x->f, LOG0, bad->phys + 1, 0x20);
    repaired(x, true, &r);
    assert_int_equal(r.records_after, SAMPLE_RECORDS); /* the filler is one */
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, DAMAGED);
    /* A consumer walks over the gap. */
    fixture_open(&x->f);
    int64_t at = 0, min, max;
    int seen = 0, want = 0;
    store_queue_range(x->f.st, slice_str(bad->topic), bad->queue_id, &min, &max);
    while (at < max) {
        struct store_got g;
        const struct store_get q = {.topic = slice_str(bad->topic), .queue_id = bad->queue_id, .offset = at, .max_msgs = 32};
        assert_int_equal(store_get(x->f.st, &q, &g), 0);
        seen += g.msg_n;
        assert_true(g.next_begin_offset > at);
        at = g.next_begin_offset;
        store_got_release(&g);
    }
    for (int i = 0; i < SAMPLE_RECORDS; i++)
        want += i != DAMAGED && x->s.records[i].in_queue && !strcmp(x->s.records[i].topic, bad->topic) &&
                x->s.records[i].queue_id == bad->queue_id;
    assert_int_equal(seen, want);
    assert_int_equal(fixture_put(&x->f, bad->topic, bad->queue_id, 100), STORE_OK);
    fixture_close(&x->f);
}

static void damage_up_to_the_end_of_a_file_becomes_a_blank_record(void **state)
{
    struct fixture *const x = *state;
    int last = 0;
    while (x->s.records[last + 1].phys < 65536)
        last++;
    struct repair_result r;
    sample_flip(&x->f, LOG0, x->s.records[last].phys + 30, 0x20);
    repaired(x, true, &r);
    repair_result_free(&r);
    holds(x, SAMPLE_RECORDS, last);
}

static void a_log_file_that_is_gone_is_filled(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    struct err e = {0};
    sample_remove(&x->f, LOG1);
    repaired(x, true, &r);
    repair_result_free(&r);
    fixture_open(&x->f);
    for (int i = 0; i < SAMPLE_RECORDS; i++) {
        const bool gone = x->s.records[i].phys >= 65536 && x->s.records[i].phys < 131072;
        if (sample_readable(&x->f, &x->s, i) == gone)
            fail_msg("record %d is %s", i, gone ? "readable" : "gone");
    }
    fixture_close(&x->f);
    const struct repair_opts o = opts_of(x, true);
    assert_ok(repair(x, &o, &r, &e), &e);
    assert_false(r.needed);
}

static void a_log_file_that_is_gone_ends_the_log_by_default(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    int first = 0;
    while (x->s.records[first].phys < 65536)
        first++;
    sample_remove(&x->f, LOG1);
    repaired(x, false, &r);
    repair_result_free(&r);
    holds(x, first, -1);
}

static void a_log_file_cut_short_in_the_middle_is_repaired(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    int first = 0;
    while (x->s.records[first].phys + x->s.records[first].size <= 30000)
        first++;
    sample_resize(&x->f, LOG0, 30000);
    repaired(x, false, &r);
    repair_result_free(&r);
    holds(x, first, -1);
}

static void positions_behind_a_cut_are_lowered_by_the_broker(void **state)
{
    struct fixture *const x = *state;
    struct repair_result r;
    sample_flip(&x->f, LOG0, x->s.records[5].phys, 1);
    repaired(x, false, &r);
    repair_result_free(&r);
    fixture_open(&x->f);
    assert_false(x->f.found.clean); /* then it compares positions with the ends of queues */
    fixture_close(&x->f);
}

/* ---- stopped on the way ---- */

static void damage_everything(struct fixture *x)
{
    sample_flip(&x->f, LOG0, x->s.records[DAMAGED].phys + 60, 1);
    sample_flip(&x->f, QUEUE_A, 7, 1);
    sample_flip(&x->f, sample_index_file(&x->f, 0), 7, 1);
    sample_flip(&x->f, "checkpoint", 2, 0x10);
}

/* The n-th change fails, for n = 1... until none does: then a second repair ends as if nothing had been. */
static void stopped_anywhere(bool keep_behind)
{
    bool fired = true;
    for (uint64_t n = 1; fired; n++) {
        struct fixture x;
        struct repair_result r;
        struct err e = {0};
        begin(&x);
        damage_everything(&x);
        struct repair_opts o = opts_of(&x, true);
        o.keep_behind = keep_behind;
        fs_fault_arm(&x.f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .nth = n, .for_ever = true, .error = E_NOSPC});
        const int rc = repair(&x, &o, &r, &e);
        fired = fs_fault_fired(&x.f.fault) > 0;
        fs_fault_disarm(&x.f.fault);
        if (!rc)
            repair_result_free(&r);
        else
            assert_true(fired);
        if (repair(&x, &o, &r, &e))
            fail_msg("change %llu failed, then: %s\n%s", (unsigned long long)n, e.text, text(&x));
        if (r.done ? r.damage_after : r.damage_before)
            fail_msg("change %llu failed, then damage is left\n%s", (unsigned long long)n, text(&x));
        repair_result_free(&r);
        if (keep_behind)
            holds_when_opened(&x, SAMPLE_RECORDS, DAMAGED);
        else
            holds_when_opened(&x, DAMAGED, -1);
        end(&x);
    }
}

static void a_repair_that_cuts_can_be_stopped_anywhere(void **state)
{
    (void)state;
    stopped_anywhere(false);
}

static void a_repair_that_fills_can_be_stopped_anywhere(void **state)
{
    (void)state;
    stopped_anywhere(true);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_store_needs_no_repair),
        TEST(without_yes_it_only_says_what_it_would_do),
        TEST(a_running_broker_is_left_alone),
        TEST(sizes_that_do_not_fit_are_left_to_a_human),
        TEST(a_damaged_queue_is_built_anew),
        TEST(queues_missing_and_cut_short_are_built_anew),
        TEST(delivery_times_are_kept_when_the_levels_are_not_the_default),
        TEST(a_damaged_index_is_built_anew),
        TEST(a_checkpoint_from_the_future_is_written_anew),
        TEST(bytes_behind_the_end_are_kept_and_cut),
        TEST(by_default_the_log_ends_before_the_damage),
        TEST(on_demand_what_is_behind_the_damage_is_kept),
        TEST(damage_up_to_the_end_of_a_file_becomes_a_blank_record),
        TEST(a_log_file_that_is_gone_is_filled),
        TEST(a_log_file_that_is_gone_ends_the_log_by_default),
        TEST(a_log_file_cut_short_in_the_middle_is_repaired),
        TEST(positions_behind_a_cut_are_lowered_by_the_broker),
        cmocka_unit_test(a_repair_that_cuts_can_be_stopped_anywhere),
        cmocka_unit_test(a_repair_that_fills_can_be_stopped_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
