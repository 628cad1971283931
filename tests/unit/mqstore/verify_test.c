/* verify on a store of every kind of record: nothing wrong with a whole one, nothing but notes about
 * what a crash leaves, and every seeded damage found and named. The loops over all bytes of a structure
 * are what a check that was left out would fail. */
#include "mqstore/verify.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/seed.h"
#include "tests/support/store_sample.h"

enum { PER_RECORD = 36 };
#define LOG0 "commitlog/00000000000000000000"
#define LOG1 "commitlog/00000000000000065536"
#define QUEUE_A "consumequeue/A/0/00000000000000000000"

struct fixture {
    struct store_fixture f;
    struct sample s;
};

static int setup(void **state)
{
    static struct fixture x;
    fixture_init(&x.f, FLUSH_ASYNC);
    x.f.o.index_slots = 40;
    x.f.o.index_items = 160;
    sample_fill(&x.f, &x.s);
    *state = &x;
    return 0;
}

static int setup_closed(void **state)
{
    setup(state);
    struct fixture *const x = *state;
    fixture_close(&x->f);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *const x = *state;
    fixture_fini(&x->f);
    sample_free(&x->s);
    return 0;
}

static struct verify_opts opts_of(struct fixture *x)
{
    return (struct verify_opts){.site = {.fs = &x->f.fault.fs, .root = "/store"}, .problems_max = 20};
}

static void run(struct fixture *x, struct verify *v)
{
    const struct verify_opts o = opts_of(x);
    struct err e = {0};
    assert_ok(verify_run(v, &o, &e), &e);
}

static void fail_with_report(const struct verify *v, const char *what)
{
    struct buf text;
    buf_init(&text, 0);
    verify_text(v, &text);
    fail_msg("%s\n" SLICE_FMT, what, SLICE_ARG(buf_slice(&text)));
}

static void expect_clean(struct fixture *x)
{
    struct verify v;
    run(x, &v);
    if (v.report.count[DAMAGE])
        fail_with_report(&v, "damage reported where there is none");
    verify_close(&v);
}

/* The kind is reported as damage, with the file (part of its path) and the byte (-2: any). */
static void expect(struct fixture *x, enum problem_kind k, const char *file, int64_t offset)
{
    struct verify v;
    run(x, &v);
    bool found = false;
    for (size_t i = 0; i < v.report.n; i++) {
        const struct problem *const p = &v.report.list[i];
        found |= p->severity == DAMAGE && p->kind == k && (!file || (p->file && strstr(p->file, file))) &&
                 (offset == -2 || p->offset == offset);
    }
    if (!found) {
        char what[300];
        snprintf(what, sizeof what, "no %s at %s byte %lld", problem_name(k), file ? file : "-", (long long)offset);
        fail_with_report(&v, what);
    }
    verify_close(&v);
}

static uint64_t damage_count(struct fixture *x)
{
    struct verify v;
    run(x, &v);
    const uint64_t n = v.report.count[DAMAGE];
    verify_close(&v);
    return n;
}

/* Each byte of [from, to) changed is found; then it is put back. */
static void every_flip_is_found(struct fixture *x, const char *path, int64_t from, int64_t to, unsigned char mask)
{
    for (int64_t at = from; at < to; at++) {
        sample_flip(&x->f, path, at, mask);
        if (!damage_count(x))
            fail_msg("%s: byte %lld changed (xor %02X): not found", path, (long long)at, mask);
        sample_flip(&x->f, path, at, mask);
    }
    expect_clean(x);
}

/* ---- whole stores ---- */

static void a_whole_store_has_no_damage_and_everything_is_counted(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    int units = 0, with_checksum = 0;
    int64_t keys = 0;
    for (int i = 0; i < SAMPLE_RECORDS; i++) {
        struct message m;
        assert_int_equal(message_decode(slice_of(x->s.records[i].bytes, (size_t)x->s.records[i].size), 0, &m, NULL), 0);
        struct record_keys k = record_keys_of(&m);
        struct slice key;
        while (record_keys_next(&k, &key))
            keys++;
        units += x->s.records[i].in_queue;
        with_checksum += message_has_prop_crc(&m);
    }
    run(x, &v);
    if (v.report.count[DAMAGE] || v.report.count[NOTE])
        fail_with_report(&v, "a whole store");
    assert_false(v.site.crashed);
    assert_int_equal(v.log.records, SAMPLE_RECORDS);
    assert_int_equal(v.log.with_checksum, with_checksum);
    assert_int_equal(v.cq.units, units);
    assert_int_equal(v.cq.queues, 4);
    assert_int_equal(v.cq.delays_ms[2], 5000);
    assert_int_equal(v.ix.items, keys);
    assert_int_equal(v.ix.keys, keys);
    assert_true(v.ix.files > 2);
    assert_true(v.site.log_n > 1);
    verify_close(&v);
}

static void verify_changes_nothing(void **state)
{
    struct fixture *const x = *state;
    fs_fault_arm(&x->f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .for_ever = true, .error = E_IO});
    const uint64_t before = fs_fault_calls(&x->f.fault, FS_OP_CHANGES);
    assert_int_equal(damage_count(x), 0);
    assert_int_equal(fs_fault_calls(&x->f.fault, FS_OP_CHANGES), before);
    fs_fault_disarm(&x->f.fault);
}

static void a_running_broker_is_left_alone(void **state)
{
    struct fixture *const x = *state; /* open */
    struct verify v;
    struct err e = {0};
    const struct verify_opts o = opts_of(x);
    assert_code(verify_run(&v, &o, &e), E_LOCKED, &e);
    assert_contains(e.text, "/store is in use by a broker");
}

static void what_is_no_store_is_said_so(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    struct err e = {0};
    struct verify_opts o = opts_of(x);
    o.site.root = "/nowhere";
    assert_code(verify_run(&v, &o, &e), E_NOTFOUND, &e);
    assert_contains(e.text, "/nowhere: there is no such directory");
    o.site.root = "/store/index";
    assert_code(verify_run(&v, &o, &e), E_INVAL, &e);
    assert_contains(e.text, "holds no store");
    o.site.root = "/store/checkpoint";
    assert_code(verify_run(&v, &o, &e), E_INVAL, &e);
    assert_contains(e.text, "is not a directory");
}

static void an_empty_store_has_no_damage(void **state)
{
    struct store_fixture f;
    struct verify v;
    struct err e = {0};
    (void)state;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_close(&f);
    const struct verify_opts o = {.site = {.fs = &f.fault.fs, .root = "/store"}, .problems_max = 5};
    assert_ok(verify_run(&v, &o, &e), &e);
    assert_int_equal(v.report.count[DAMAGE] + v.report.count[NOTE], 0);
    assert_int_equal(v.log.records, 0);
    verify_close(&v);
    fixture_fini(&f);
}

/* ---- crashes ---- */

static void a_killed_broker_leaves_no_damage(void **state)
{
    struct fixture *const x = *state;
    fixture_kill(&x->f);
    expect_clean(x);
    fixture_open(&x->f);
    fixture_put_many(&x->f, "A", 0, 30, 300);
    fixture_kill(&x->f);
    expect_clean(x);
}

static void a_power_cut_leaves_no_damage(void **state)
{
    struct fixture *const x = *state;
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_LOSE_ALL, FS_SIM_TORN_PAGES, FS_SIM_TORN_SECTORS};
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (int i = 0; i < 30; i++) {
        const int n = 1 + (int)rng_below(&rng, 60);
        for (int k = 0; k < n; k++) {
            assert_int_equal(fixture_put(&x->f, k % 3 ? "A" : "C", k % 2, CHECK_BODY_MIN + rng_below(&rng, 3000)), STORE_OK);
            clock_fake_advance(&x->f.clock, 50);
            if (rng_below(&rng, 8) == 0)
                fixture_steps(&x->f);
            if (rng_below(&rng, 4) == 0)
                store_step_index(x->f.st);
        }
        fixture_crash(&x->f, &rng, modes[i % 3]);
        expect_clean(x);
        fixture_open(&x->f);
    }
}

/* ---- the log ---- */

static void every_changed_byte_of_a_record_is_found(void **state)
{
    struct fixture *const x = *state;
    const struct sample_record *const r = &x->s.records[PER_RECORD]; /* in the first file, with checksum */
    every_flip_is_found(x, LOG0, r->phys, r->phys + r->size, 0x01);
    sample_flip(&x->f, LOG0, r->phys + r->size - 30, 0x80);
    expect(x, LOG_DAMAGED, LOG0, r->phys);
}

static void every_changed_byte_of_a_blank_record_is_found(void **state)
{
    struct fixture *const x = *state;
    int last = 0;
    while (x->s.records[last + 1].phys < 65536)
        last++;
    const int64_t blank = x->s.records[last].phys + x->s.records[last].size;
    assert_true(65536 - blank >= MESSAGE_BLANK_SIZE);
    every_flip_is_found(x, LOG0, blank, blank + MESSAGE_BLANK_SIZE, 0x04);
}

static void bytes_behind_the_end_are_found(void **state)
{
    struct fixture *const x = *state;
    const struct sample_record *const last = &x->s.records[SAMPLE_RECORDS - 1];
    char path[64];
    snprintf(path, sizeof path, "commitlog/%020lld", (long long)(last->phys / 65536 * 65536));
    const int64_t end = (last->phys + last->size) % 65536;
    sample_put(&x->f, path, end, "x", 1);
    expect(x, LOG_TAIL, path, end);
    sample_put(&x->f, path, end, "\0", 1);
    sample_put(&x->f, path, end + 700, "x", 1);
    expect(x, LOG_TAIL, path, end);
}

static void log_files_missing_short_and_long_are_found(void **state)
{
    struct fixture *const x = *state;
    sample_resize(&x->f, LOG1, 40000);
    expect(x, LOG_SIZE, LOG1, -1);
    expect(x, LOG_DAMAGED, LOG1, -2);
    sample_remove(&x->f, LOG1);
    expect(x, LOG_MISSING, "commitlog/00000000000000131072", -1);
    sample_resize(&x->f, LOG0, 70000);
    expect(x, LOG_SIZE, LOG0, -1);
}

static void a_size_that_does_not_fit_is_named(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    struct err e = {0};
    struct verify_opts o = opts_of(x);
    o.site.log_file_size = 40000;
    assert_ok(verify_run(&v, &o, &e), &e);
    assert_true(v.report.kinds[LOG_NAME][DAMAGE] > 0);
    assert_true(v.report.kinds[LOG_SIZE][DAMAGE] > 0);
    verify_close(&v);
}

static void what_follows_a_damaged_place_is_still_checked(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    sample_flip(&x->f, LOG0, x->s.records[10].phys + 5, 0xFF);
    sample_flip(&x->f, LOG0, x->s.records[20].phys + 2, 0xFF);
    sample_flip(&x->f, LOG0, x->s.records[21].phys + 2, 0xFF);
    run(x, &v);
    assert_int_equal(v.log.hole_n, 2);
    assert_int_equal(v.log.holes[0].from, x->s.records[10].phys);
    assert_int_equal(v.log.holes[0].to, x->s.records[11].phys);
    assert_int_equal(v.log.holes[1].from, x->s.records[20].phys);
    assert_int_equal(v.log.holes[1].to, x->s.records[22].phys);
    assert_int_equal(v.log.records, SAMPLE_RECORDS - 3);
    assert_int_equal(v.log.behind_records, SAMPLE_RECORDS - 3 - 10);
    verify_close(&v);
}

static void a_sector_that_cannot_be_read_is_a_finding(void **state)
{
    struct fixture *const x = *state;
    fs_fault_arm(&x->f.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = LOG1, .for_ever = true, .error = E_IO});
    expect(x, LOG_DAMAGED, LOG1, 0);
    fs_fault_disarm(&x->f.fault);
}

/* ---- consume queues ---- */

static void every_changed_byte_of_a_unit_is_found(void **state)
{
    struct fixture *const x = *state;
    every_flip_is_found(x, QUEUE_A, 0, 3 * CQ_UNIT_SIZE, 0x01);
    every_flip_is_found(x, QUEUE_A, 1000 - CQ_UNIT_SIZE, 1000, 0x80);
    sample_flip(&x->f, QUEUE_A, 7 * CQ_UNIT_SIZE + 7, 0x10);
    expect(x, CQ_WRONG, QUEUE_A, 7 * CQ_UNIT_SIZE);
}

static void a_delivery_time_that_is_wrong_is_found(void **state)
{
    struct fixture *const x = *state;
    sample_flip(&x->f, "consumequeue/SCHEDULE_TOPIC_XXXX/1/00000000000000000000", 3 * CQ_UNIT_SIZE + 19, 0x01);
    expect(x, CQ_WRONG, "SCHEDULE_TOPIC_XXXX/1", 3 * CQ_UNIT_SIZE);
}

/* Without a checksum nothing says that the time is damaged, but what was made from it does not fit it. */
static void what_was_made_from_a_time_that_is_damaged_now_is_found(void **state)
{
    enum { DELAYED_UNSEALED = 260 };
    struct fixture *const x = *state;
    const int64_t phys = x->s.records[DELAYED_UNSEALED].phys;
    fixture_set_store_time(&x->f, phys, INT64_MIN + 1);
    expect(x, CQ_WRONG, "SCHEDULE_TOPIC_XXXX/1", -2);
    expect(x, INDEX_ITEM, "index/", -2);
    /* An item in front of its own points to it too: "all" of the first delayed record. */
    const int64_t item15 = INDEX_HEADER_SIZE + 40 * INDEX_SLOT_SIZE + 15 * INDEX_ITEM_SIZE;
    char path[64], far[8];
    snprintf(path, sizeof path, "%s", sample_index_file(&x->f, 0));
    be64_put(far, (uint64_t)phys);
    sample_put(&x->f, path, item15 + (int64_t)offsetof(struct disk_index_item, phys), far, sizeof far);
    expect(x, INDEX_ITEM, path, item15);
}

static void queue_files_missing_short_and_long_are_found(void **state)
{
    struct fixture *const x = *state;
    sample_resize(&x->f, QUEUE_A, 500);
    expect(x, CQ_FILE, QUEUE_A, -1);
    expect(x, CQ_MISSING, "consumequeue/A/0", -2);
    sample_resize(&x->f, QUEUE_A, 1020);
    expect(x, CQ_FILE, QUEUE_A, -1);
    sample_remove(&x->f, QUEUE_A);
    expect(x, CQ_MISSING, "consumequeue/A/0", -2);
    sample_remove(&x->f, "consumequeue/A/1/00000000000000001000");
    expect(x, CQ_MISSING, "consumequeue/A/1", -2);
}

static void a_queue_that_is_gone_is_found_but_for_a_deleted_topic(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    static const char without_b[] = "{\"topicConfigTable\":{\"A\":{}}}";
    sample_remove(&x->f, "consumequeue/B");
    expect(x, CQ_MISSING, "consumequeue/B/0", -1);
    fixture_write_file(&x->f, "/store/config/topics.json", without_b, strlen(without_b));
    run(x, &v);
    assert_int_equal(v.report.count[DAMAGE], 0);
    assert_int_equal(v.report.kinds[CQ_DELETED][NOTE], 1);
    verify_close(&v);
}

static void a_unit_behind_the_end_is_found(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    run(x, &v);
    const int64_t end = verify_queue_find(&v, SLICE_LIT("A"), 0)->max;
    verify_close(&v);
    char path[100];
    snprintf(path, sizeof path, "consumequeue/A/0/%020lld", (long long)(end / 50 * 1000));
    sample_put(&x->f, path, (end % 50 + 3) * CQ_UNIT_SIZE, "\1", 1);
    expect(x, CQ_BEHIND, "consumequeue/A/0", (end % 50 + 3) * CQ_UNIT_SIZE);
}

static void a_unit_without_a_record_is_found(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    run(x, &v);
    const int64_t end = verify_queue_find(&v, SLICE_LIT("A"), 0)->max;
    verify_close(&v);
    char path[100], unit[CQ_UNIT_SIZE] = {0};
    struct disk_cq_unit *const d = (struct disk_cq_unit *)unit;
    be64_put(d->phys_offset, (uint64_t)x->s.records[1].phys + 8);
    be32_put(d->size, 100);
    snprintf(path, sizeof path, "consumequeue/A/0/%020lld", (long long)(end / 50 * 1000));
    sample_put(&x->f, path, end % 50 * CQ_UNIT_SIZE, unit, sizeof unit);
    expect(x, CQ_STRAY, "consumequeue/A/0", end % 50 * CQ_UNIT_SIZE);
}

/* ---- index ---- */

static void every_changed_byte_of_an_index_file_is_found(void **state)
{
    struct fixture *const x = *state;
    char path[64];
    snprintf(path, sizeof path, "%s", sample_index_file(&x->f, 1)); /* a full one */
    const int64_t items = INDEX_HEADER_SIZE + 40 * INDEX_SLOT_SIZE;
    every_flip_is_found(x, path, 0, INDEX_HEADER_SIZE, 0x01);
    every_flip_is_found(x, path, INDEX_HEADER_SIZE, items, 0x02);
    every_flip_is_found(x, path, items + INDEX_ITEM_SIZE, items + 4 * INDEX_ITEM_SIZE, 0x01);
    every_flip_is_found(x, path, items + 159 * INDEX_ITEM_SIZE, items + 160 * INDEX_ITEM_SIZE, 0x40);
}

static void index_damage_is_named(void **state)
{
    struct fixture *const x = *state;
    char path[64];
    snprintf(path, sizeof path, "%s", sample_index_file(&x->f, 0));
    const int64_t item9 = INDEX_HEADER_SIZE + 40 * INDEX_SLOT_SIZE + 9 * INDEX_ITEM_SIZE;
    sample_flip(&x->f, path, item9 + 3, 1);
    expect(x, INDEX_ITEM, path, item9);
    sample_flip(&x->f, path, item9 + 3, 1);
    sample_flip(&x->f, path, INDEX_HEADER_SIZE + 3, 1);
    expect(x, INDEX_SLOT, path, INDEX_HEADER_SIZE);
    sample_flip(&x->f, path, INDEX_HEADER_SIZE + 3, 1);
    sample_flip(&x->f, path, 20, 0x80);
    expect(x, INDEX_HEADER, path, 0);
    sample_flip(&x->f, path, 20, 0x80);
    sample_resize(&x->f, sample_index_file(&x->f, 2), 1000);
    expect(x, INDEX_SIZE, sample_index_file(&x->f, 2), -1);
    sample_remove(&x->f, path);
    expect(x, INDEX_MISSING, "index", -1);
}

static void every_changed_byte_of_indexCheckpoint_is_found(void **state)
{
    struct fixture *const x = *state;
    every_flip_is_found(x, "indexCheckpoint", 0, sizeof(struct disk_index_state), 0x01);
    sample_flip(&x->f, "indexCheckpoint", 20, 0x01);
    expect(x, INDEX_STATE, "indexCheckpoint", 0);
}

/* ---- checkpoint and tables ---- */

static void a_checkpoint_from_the_future_is_found(void **state)
{
    struct fixture *const x = *state;
    for (int64_t at = 0; at < 24; at += 8) {
        sample_flip(&x->f, "checkpoint", at + 2, 0x10);
        expect(x, CHECKPOINT_FUTURE, "checkpoint", at);
        sample_flip(&x->f, "checkpoint", at + 2, 0x10);
    }
    sample_resize(&x->f, "checkpoint", 100);
    expect(x, CHECKPOINT_SHAPE, "checkpoint", -1);
}

static void a_table_that_does_not_parse_is_found(void **state)
{
    static const char *const names[] = {"topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json",
                                        "other.json"};
    struct fixture *const x = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[100], bak[110];
        struct verify v;
        snprintf(path, sizeof path, "/store/config/%s", names[i]);
        snprintf(bak, sizeof bak, "%s.bak", path);
        fixture_write_file(&x->f, path, "{\"a\":", 5);
        expect(x, CONFIG_DAMAGED, names[i], -1);
        fixture_write_file(&x->f, bak, "{}", 2);
        run(x, &v);
        assert_int_equal(v.report.count[DAMAGE], 0);
        assert_int_equal(v.report.kinds[CONFIG_BACKUP][NOTE], i + 1);
        verify_close(&v);
    }
}

static void positions_behind_the_end_are_found(void **state)
{
    struct fixture *const x = *state;
    static const char offsets[] = "{\"offsetTable\":{\"A@G\":{0:100000}}}", delays[] = "{\"offsetTable\":{\"2\":100000}}";
    fixture_write_file(&x->f, "/store/config/consumerOffset.json", offsets, sizeof offsets - 1);
    expect(x, OFFSET_BEYOND, "consumerOffset.json", -1);
    fixture_write_file(&x->f, "/store/config/consumerOffset.json", "{}", 2);
    fixture_write_file(&x->f, "/store/config/delayOffset.json", delays, sizeof delays - 1);
    expect(x, OFFSET_BEYOND, "delayOffset.json", -1);
}

/* ---- the report ---- */

static void the_json_document_says_what_the_text_says(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    json_t *j;
    sample_flip(&x->f, QUEUE_A, 7, 0x10);
    run(x, &v);
    assert_int_equal(verify_json(&v, &j), 0);
    const json_t *const first = json_array_get(json_object_get(j, "problems"), 0);
    assert_false(json_get_bool(j, "ok", true));
    assert_true(json_get_bool(j, "orderlyStop", false));
    assert_int_equal(json_get_i64(j, "damage", 0), 1);
    assert_int_equal(json_get_i64(json_object_get(j, "commitLog"), "records", 0), SAMPLE_RECORDS);
    assert_slice_equal(json_get_str(first, "kind"), "queue-unit-wrong");
    assert_slice_equal(json_get_str(first, "severity"), "damage");
    assert_slice_equal(json_get_str(first, "file"), "/store/" QUEUE_A);
    assert_int_equal(json_get_i64(first, "offset", -1), 0);
    assert_true(json_get_str(first, "advice").n > 0);
    json_decref(j);
    verify_close(&v);
}

static void problems_beyond_the_limit_are_counted_not_kept(void **state)
{
    struct fixture *const x = *state;
    struct verify v;
    struct err e = {0};
    struct verify_opts o = opts_of(x);
    o.problems_max = 2;
    char path[64];
    snprintf(path, sizeof path, "%s", sample_index_file(&x->f, 0));
    for (int i = 1; i < 12; i++)
        sample_flip(&x->f, path, INDEX_HEADER_SIZE + 40 * INDEX_SLOT_SIZE + i * INDEX_ITEM_SIZE + 3, 1);
    assert_ok(verify_run(&v, &o, &e), &e);
    assert_int_equal(v.report.n, 2);
    assert_true(v.report.count[DAMAGE] >= 11);
    verify_close(&v);
}

int main(void)
{
#define CLOSED(test) cmocka_unit_test_setup_teardown(test, setup_closed, teardown)
#define OPEN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLOSED(a_whole_store_has_no_damage_and_everything_is_counted),
        CLOSED(verify_changes_nothing),
        OPEN(a_running_broker_is_left_alone),
        CLOSED(what_is_no_store_is_said_so),
        cmocka_unit_test(an_empty_store_has_no_damage),
        OPEN(a_killed_broker_leaves_no_damage),
        OPEN(a_power_cut_leaves_no_damage),
        CLOSED(every_changed_byte_of_a_record_is_found),
        CLOSED(every_changed_byte_of_a_blank_record_is_found),
        CLOSED(bytes_behind_the_end_are_found),
        CLOSED(log_files_missing_short_and_long_are_found),
        CLOSED(a_size_that_does_not_fit_is_named),
        CLOSED(what_follows_a_damaged_place_is_still_checked),
        CLOSED(a_sector_that_cannot_be_read_is_a_finding),
        CLOSED(every_changed_byte_of_a_unit_is_found),
        CLOSED(a_delivery_time_that_is_wrong_is_found),
        CLOSED(what_was_made_from_a_time_that_is_damaged_now_is_found),
        CLOSED(queue_files_missing_short_and_long_are_found),
        CLOSED(a_queue_that_is_gone_is_found_but_for_a_deleted_topic),
        CLOSED(a_unit_behind_the_end_is_found),
        CLOSED(a_unit_without_a_record_is_found),
        CLOSED(every_changed_byte_of_an_index_file_is_found),
        CLOSED(index_damage_is_named),
        CLOSED(every_changed_byte_of_indexCheckpoint_is_found),
        CLOSED(a_checkpoint_from_the_future_is_found),
        CLOSED(a_table_that_does_not_parse_is_found),
        CLOSED(positions_behind_the_end_are_found),
        CLOSED(the_json_document_says_what_the_text_says),
        CLOSED(problems_beyond_the_limit_are_counted_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
