/* The checker itself: each way of being wrong is put in on purpose and must be found; without it
 * nothing may be found. And each row of faults at a small volume. */
#include "tests/chaos/sim/chaos.h"

#include <stdlib.h>

#include "base/log.h"
#include "tests/chaos/sim/image.h"
#include "tests/support/test.h"

enum { STEPS = 60, SEEDS = 6, ROW_SEED = 303 /* `mqchaos` draws new ones */ };

/* ---- falsified answers ---- */

struct scene { /* a store that did nothing wrong, and what it answered */
    struct world w;
    struct observation o;
    struct verdict v;
};

static void scene_open(struct scene *s)
{
    struct err e = {0};
    world_init(&s->w, 4711);
    world_set_mode(&s->w, FLUSH_SYNC);
    s->w.o.index_enable = true;
    s->w.o.file_reserved_ms = s->w.ledger.reserved_ms = INT64_C(1) << 40;
    assert_ok(world_open(&s->w, &e), &e);
    for (int i = 0; i < STEPS; i++)
        world_step(&s->w);
    world_settle(&s->w);
    observe(&s->o, &s->w.ledger, s->w.st, s->w.o.commitlog_file_size, true);
}

static bool scene_judge(struct scene *s)
{
    return judge(&s->w.ledger, &s->o, false, &s->v);
}

static void scene_close(struct scene *s)
{
    observation_free(&s->o);
    world_fini(&s->w);
}

/* The nth record of the fullest queue, counted from its start. */
static size_t pick(const struct scene *s, size_t nth)
{
    int32_t topic = 0, queue = 0;
    for (int32_t i = 0; i < LEDGER_TOPICS; i++)
        for (int32_t k = 0; k < LEDGER_QUEUES; k++)
            if (s->o.queues[i][k].max > s->o.queues[topic][queue].max) {
                topic = i;
                queue = k;
            }
    for (size_t i = 0; i < s->o.record_n; i++)
        if (s->o.records[i].topic == topic && s->o.records[i].queue == queue && nth-- == 0)
            return i;
    fail_msg("the scene has too few records");
    return 0;
}

static void a_store_that_did_nothing_wrong_is_acquitted(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    if (!scene_judge(&s))
        fail_msg("%s", s.v.first);
    assert_true(s.v.found > 50);
    assert_true(s.o.answer_n > 50);
    scene_close(&s);
}

static void a_message_that_is_missing_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    const size_t i = pick(&s, 2);
    memmove(&s.o.records[i], &s.o.records[i + 1], (--s.o.record_n - i) * sizeof *s.o.records);
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.lost, 1);
    assert_true(s.v.gaps > 0);
    scene_close(&s);
}

static void a_message_that_is_missing_at_the_end_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    const size_t i = pick(&s, 0);
    const struct seen_record r = s.o.records[i];
    const int64_t last = s.o.queues[r.topic][r.queue].max - 1;
    size_t at = i;
    while (s.o.records[at].at != last)
        at++;
    memmove(&s.o.records[at], &s.o.records[at + 1], (--s.o.record_n - at) * sizeof *s.o.records);
    s.o.queues[r.topic][r.queue].max--;
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.lost, 1);
    scene_close(&s);
}

static void two_messages_in_the_wrong_order_are_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    struct seen_record *a = &s.o.records[pick(&s, 1)], *b = &s.o.records[pick(&s, 2)];
    const struct seen_record was = *a;
    a->pos = b->pos;
    a->n = b->n;
    b->pos = was.pos;
    b->n = was.n;
    assert_false(scene_judge(&s));
    assert_true(s.v.disorder > 0);
    scene_close(&s);
}

static void a_message_that_nobody_sent_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    s.w.ledger.v[s.w.ledger.n - 1].fate = FATE_GONE; /* it was lost before and came back */
    for (uint32_t id = s.w.ledger.n; id-- > 0;)
        if (!s.w.ledger.v[id].half && s.w.ledger.v[id].fate == FATE_ACKED) {
            s.w.ledger.v[id].fate = FATE_GONE;
            break;
        }
    assert_false(scene_judge(&s));
    assert_true(s.v.invented > 0);
    scene_close(&s);
}

static void any_flipped_bit_of_a_record_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    const struct seen_record r = s.o.records[pick(&s, 3)];
    for (size_t i = 0; i < r.n; i++) {
        s.o.bytes.p[r.pos + i] ^= (char)(1 << i % 8);
        const bool acquitted = scene_judge(&s);
        s.o.bytes.p[r.pos + i] ^= (char)(1 << i % 8);
        if (acquitted)
            fail_msg("byte %zu of %zu", i, r.n);
        for (uint32_t id = 0; id < s.w.ledger.n; id++) /* what the judge made of it */
            if (s.w.ledger.v[id].fate == FATE_GONE && s.w.ledger.v[id].ts)
                s.w.ledger.v[id].fate = FATE_ACKED;
    }
    scene_close(&s);
}

static void a_message_that_is_there_twice_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    struct seen_record *a = &s.o.records[pick(&s, 1)], *b = &s.o.records[pick(&s, 2)];
    b->pos = a->pos;
    b->n = a->n;
    assert_false(scene_judge(&s));
    assert_true(s.v.duplicates > 0);
    assert_int_equal(s.v.lost, 1);
    scene_close(&s);
}

static void a_unit_that_is_not_its_records_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    s.o.records[pick(&s, 2)].unit.tags_code ^= 4;
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.units, 1);
    scene_close(&s);
}

static void an_index_that_misses_or_invents_an_entry_is_found_out(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    size_t i = 0;
    while (s.o.answers[i].n != 1)
        i++;
    s.o.answers[i].n = 0;
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.unindexed, 1);
    s.o.answers[i].n = 1;
    assert_true(scene_judge(&s));
    be64_put(s.o.bytes.p + s.o.answers[i].pos, 1);
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.unindexed, 2); /* one is missing, another is there */
    scene_close(&s);
}

static void an_index_known_to_be_damaged_may_hide_an_entry_but_not_invent_one(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    size_t i = 0;
    while (s.o.answers[i].n != 1)
        i++;
    s.w.ledger.index_damaged = true;
    s.o.answers[i].n = 0;
    assert_true(scene_judge(&s));
    assert_int_equal(s.v.hidden, 1);
    s.o.answers[i].n = 1;
    be64_put(s.o.bytes.p + s.o.answers[i].pos, 1);
    assert_false(scene_judge(&s));
    assert_int_equal(s.v.unindexed, 1);
    scene_close(&s);
}

/* ---- stores and disks that lie ---- */

static int lie(struct fs_file *f, struct err *e)
{
    (void)f;
    (void)e;
    return 0; /* "synced" */
}

struct verdicts {
    int64_t lost, excused;
};

/* Loads, cuts the power, opens, judges; `seed_bug` spoils something before the first open. */
static struct verdicts run_spoiled(void (*seed_bug)(struct world *w), enum flush_mode mode)
{
    struct verdicts sum = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world w;
        struct err e = {0};
        struct verdict v;
        world_init(&w, seed);
        world_set_mode(&w, mode);
        if (seed_bug)
            seed_bug(&w);
        assert_ok(world_open(&w, &e), &e);
        for (int i = 0; i < STEPS; i++)
            world_step(&w);
        w.cut_mode = FS_SIM_LOSE_ALL;
        world_cut(&w);
        world_lose_memory(&w);
        assert_ok(world_open(&w, &e), &e);
        (void)world_judge(&w, true, &v);
        sum.lost += v.lost;
        sum.excused += v.excused;
        world_fini(&w);
    }
    return sum;
}

static void disk_lies(struct world *w)
{
    w->fault.fs.datasync = lie; /* directories and whole files are synced, what is written later is not */
}

static void acknowledges_before_the_sync(struct world *w)
{
    w->o.flush_mode = FLUSH_ASYNC; /* and the ledger was promised FLUSH_SYNC */
}

static void never_flushes(struct world *w)
{
    w->o.flush_least_pages = INT32_MAX;
    w->o.flush_thorough_ms = INT64_C(1) << 40;
}

static void honest_stores_are_acquitted_after_a_power_cut(void **state)
{
    (void)state;
    assert_int_equal(run_spoiled(NULL, FLUSH_SYNC).lost, 0);
    assert_int_equal(run_spoiled(NULL, FLUSH_ASYNC).lost, 0);
}

static void a_disk_that_lies_about_its_sync_is_found_out(void **state)
{
    (void)state;
    assert_true(run_spoiled(disk_lies, FLUSH_SYNC).lost > 0);
}

static void a_store_that_acknowledges_before_its_sync_is_found_out(void **state)
{
    (void)state;
    assert_true(run_spoiled(acknowledges_before_the_sync, FLUSH_SYNC).lost > 0);
}

static void a_flusher_that_is_later_than_its_keys_is_found_out(void **state)
{
    (void)state;
    assert_true(run_spoiled(never_flushes, FLUSH_ASYNC).lost > 0);
}

/* ---- the rows ---- */

static void assert_passed(const struct tally *t)
{
    if (t->failures)
        fail_msg("%lld failures, the first: %s", (long long)t->failures, t->first);
}

static void the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    struct tally a = {.id = "R2"}, b = {.id = "R2"};
    r2_run(&a, 99);
    r2_run(&b, 99);
    assert_memory_equal(&a, &b, sizeof a);
}

static void power_cuts_at_random_instants_cost_nothing_promised(void **state)
{
    (void)state;
    struct tally t = {.id = "R2"};
    struct rng rng;
    rng_seed(&rng, ROW_SEED);
    for (int i = 0; i < 6; i++)
        r2_run(&t, rng_u64(&rng) >> 16);
    assert_passed(&t);
    assert_true(t.acked > 0);
}

static void a_log_that_is_cut_keeps_its_whole_records(void **state)
{
    (void)state;
    struct tally t = {.id = "R3"};
    struct rng rng;
    rng_seed(&rng, ROW_SEED);
    r3_some(&t, rng_u64(&rng) >> 16, 61);
    assert_passed(&t);
    assert_true(t.cuts > 0);
}

static void flipped_bits_are_named_or_repaired_and_never_served(void **state)
{
    (void)state;
    struct tally t = {.id = "R4"};
    struct rng rng;
    rng_seed(&rng, ROW_SEED);
    for (int i = 0; i < 15; i++)
        r4_run(&t, rng_u64(&rng) >> 16);
    assert_passed(&t);
    assert_int_equal(t.faults, 15 * R4_KINDS);
}

/* 68 index files of 7 entries each. */
static void an_image_takes_any_number_of_files(void **state)
{
    (void)state;
    struct image *const i = calloc(1, sizeof *i);
    int index_files = 0;
    assert_non_null(i);
    image_make(i, 162251166251568, true);
    for (int k = 0; k < i->n; k++)
        index_files += strstr(i->v[k].path, "/index/") != NULL;
    assert_true(index_files > 64);
    image_free(i);
    free(i);
}

/* The run aborted: nothing could flip in the killed store's checkpoint. */
static void a_store_killed_before_its_first_checkpoint_has_its_flips_too(void **state)
{
    (void)state;
    struct tally t = {.id = "R4"};
    r4_run(&t, 263136806844880);
    assert_passed(&t);
    assert_int_equal(t.faults, R4_KINDS);
}

static void failing_calls_lead_to_no_false_acknowledgement(void **state)
{
    (void)state;
    struct tally t = {.id = "R5"};
    struct rng rng;
    rng_seed(&rng, ROW_SEED);
    const uint64_t seed = rng_u64(&rng) >> 16;
    for (int i = 0; i < 25; i++)
        (void)r5_run(&t, seed, 1 + (int64_t)rng_below(&rng, 500));
    assert_passed(&t);
    assert_true(t.faults > 0);
}

/* The judge took what a FAILED store had removed by age for lost. */
static void a_failed_store_goes_on_removing_what_is_expired(void **state)
{
    (void)state;
    static const struct { uint64_t seed; int64_t at; } found[] = {
        {55364538192288, 31}, {85520831438164, 34}, {273840984356632, 218}, {249638908962029, 68}};
    struct tally t = {.id = "R5"};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        (void)r5_run(&t, found[i].seed, found[i].at);
    assert_passed(&t);
}

/* The cleaner was faster than the flusher of the queues, and after the crash an offset was given twice. */
static void a_queue_never_ends_before_where_it_had_been(void **state)
{
    (void)state;
    struct tally t = {.id = "R5"};
    (void)r5_run(&t, 178950355669215, 40);
    assert_passed(&t);
}

/* A recovery that went further back than the checkpoint was cut off after it had cut the queues, and the next one
 * began where the checkpoint said. */
static void a_recovery_that_ends_half_way_leaves_no_gap(void **state)
{
    (void)state;
    struct tally t = {.id = "R2"};
    r2_run(&t, 106592097524035);
    assert_passed(&t);
}

static void failing_allocations_lead_to_errors_and_no_leak(void **state)
{
    (void)state;
    struct tally t = {.id = "R6"};
    struct rng rng;
    rng_seed(&rng, ROW_SEED);
    const uint64_t seed = rng_u64(&rng) >> 16;
    for (int i = 0; i < 40; i++)
        (void)r6_run(&t, seed, 1 + (int64_t)rng_below(&rng, 300));
    assert_passed(&t);
    assert_true(t.faults > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_did_nothing_wrong_is_acquitted),
        cmocka_unit_test(a_message_that_is_missing_is_found_out),
        cmocka_unit_test(a_message_that_is_missing_at_the_end_is_found_out),
        cmocka_unit_test(two_messages_in_the_wrong_order_are_found_out),
        cmocka_unit_test(a_message_that_nobody_sent_is_found_out),
        cmocka_unit_test(any_flipped_bit_of_a_record_is_found_out),
        cmocka_unit_test(a_message_that_is_there_twice_is_found_out),
        cmocka_unit_test(a_unit_that_is_not_its_records_is_found_out),
        cmocka_unit_test(an_index_that_misses_or_invents_an_entry_is_found_out),
        cmocka_unit_test(an_index_known_to_be_damaged_may_hide_an_entry_but_not_invent_one),
        cmocka_unit_test(honest_stores_are_acquitted_after_a_power_cut),
        cmocka_unit_test(a_disk_that_lies_about_its_sync_is_found_out),
        cmocka_unit_test(a_store_that_acknowledges_before_its_sync_is_found_out),
        cmocka_unit_test(a_flusher_that_is_later_than_its_keys_is_found_out),
        cmocka_unit_test(the_same_seed_is_the_same_run),
        cmocka_unit_test(power_cuts_at_random_instants_cost_nothing_promised),
        cmocka_unit_test(a_log_that_is_cut_keeps_its_whole_records),
        cmocka_unit_test(flipped_bits_are_named_or_repaired_and_never_served),
        cmocka_unit_test(an_image_takes_any_number_of_files),
        cmocka_unit_test(a_store_killed_before_its_first_checkpoint_has_its_flips_too),
        cmocka_unit_test(failing_calls_lead_to_no_false_acknowledgement),
        cmocka_unit_test(a_failed_store_goes_on_removing_what_is_expired),
        cmocka_unit_test(a_queue_never_ends_before_where_it_had_been),
        cmocka_unit_test(a_recovery_that_ends_half_way_leaves_no_gap),
        cmocka_unit_test(failing_allocations_lead_to_errors_and_no_leak),
    };
    log_set_level((enum log_level)(LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
