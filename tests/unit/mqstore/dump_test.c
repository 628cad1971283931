/* dump shows what is in the files, filtered as asked, in lines that a program can read. */
#include "mqstore/dump.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "tests/support/store_sample.h"

struct fixture {
    struct store_fixture f;
    struct sample s;
    char *text;
    size_t n;
};

static int setup(void **state)
{
    static struct fixture x;
    x = (struct fixture){.text = NULL};
    fixture_init(&x.f, FLUSH_ASYNC);
    sample_fill(&x.f, &x.s);
    fixture_close(&x.f);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *const x = *state;
    free(x->text);
    fixture_fini(&x->f);
    sample_free(&x->s);
    return 0;
}

static struct dump_opts opts_of(struct fixture *x, enum dump_what what)
{
    return (struct dump_opts){.site = {.fs = &x->f.fault.fs, .root = "/store"}, .what = what, .queue = -1, .to = -1,
                              .json = true};
}

static int dump(struct fixture *x, const struct dump_opts *o, struct err *e)
{
    free(x->text);
    FILE *const out = open_memstream(&x->text, &x->n);
    assert_non_null(out);
    const int rc = dump_run(o, out, e);
    assert_int_equal(fclose(out), 0);
    return rc;
}

/* Every line as JSON, in one array. */
static json_t *lines(struct fixture *x, const struct dump_opts *o)
{
    struct err e = {0};
    assert_ok(dump(x, o, &e), &e);
    json_t *const all = json_array();
    struct slice rest = slice_of(x->text, x->n), line;
    while (slice_cut(&rest, '\n', &line)) {
        json_t *j;
        if (!line.n)
            continue;
        assert_ok(json_parse(line, &j, &e), &e);
        assert_int_equal(json_array_append_new(all, j), 0);
    }
    return all;
}

static void every_record_is_shown_as_it_stands(void **state)
{
    struct fixture *const x = *state;
    struct dump_opts o = opts_of(x, DUMP_LOG);
    o.body = true;
    json_t *const all = lines(x, &o);
    assert_int_equal(json_array_size(all), SAMPLE_RECORDS);
    for (int i = 0; i < SAMPLE_RECORDS; i++) {
        const json_t *const j = json_array_get(all, (size_t)i);
        struct message m;
        assert_int_equal(message_decode(slice_of(x->s.records[i].bytes, (size_t)x->s.records[i].size), 0, &m, NULL), 0);
        assert_int_equal(json_get_i64(j, "physOffset", -1), x->s.records[i].phys);
        assert_int_equal(json_get_i64(j, "queueOffset", -1), x->s.records[i].queue_offset);
        assert_slice_equal(json_get_str(j, "topic"), x->s.records[i].topic);
        assert_true(slice_eq(json_get_str(j, "body"), m.body));
        assert_int_equal(json_get_bool(j, "checksum", false), message_has_prop_crc(&m));
    }
    json_decref(all);
}

static void records_are_filtered(void **state)
{
    struct fixture *const x = *state;
    struct dump_opts o = opts_of(x, DUMP_LOG);
    o.key = "K8";
    json_t *all = lines(x, &o);
    assert_int_equal(json_array_size(all), 1);
    assert_int_equal(json_get_i64(json_array_get(all, 0), "physOffset", -1), x->s.records[8].phys);
    json_decref(all);
    o.key = NULL;
    o.topic = "A";
    o.queue = 1;
    o.limit = 5;
    o.from = x->s.records[100].phys;
    all = lines(x, &o);
    assert_int_equal(json_array_size(all), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *const j = json_array_get(all, i);
        assert_slice_equal(json_get_str(j, "topic"), "A");
        assert_int_equal(json_get_i64(j, "queueId", -1), 1);
        assert_true(json_get_i64(j, "physOffset", -1) >= o.from);
    }
    json_decref(all);
    o = opts_of(x, DUMP_LOG);
    o.from = x->s.records[10].phys;
    o.to = x->s.records[13].phys;
    all = lines(x, &o);
    assert_int_equal(json_array_size(all), 3);
    json_decref(all);
}

static void a_damaged_place_is_named_and_passed_over(void **state)
{
    struct fixture *const x = *state;
    const struct dump_opts o = opts_of(x, DUMP_LOG);
    sample_flip(&x->f, "commitlog/00000000000000000000", x->s.records[3].phys + 60, 1);
    json_t *const all = lines(x, &o);
    assert_int_equal(json_array_size(all), SAMPLE_RECORDS);
    const json_t *const j = json_array_get(all, 3);
    assert_slice_equal(json_get_str(j, "type"), "damaged");
    assert_int_equal(json_get_i64(j, "nextRecord", -1), x->s.records[4].phys);
    json_decref(all);
}

static void units_are_shown(void **state)
{
    struct fixture *const x = *state;
    struct dump_opts o = opts_of(x, DUMP_QUEUE);
    o.topic = "A";
    o.queue = 1;
    o.from = 3;
    o.to = 60;
    json_t *const all = lines(x, &o);
    assert_int_equal(json_array_size(all), 57);
    size_t i = 0;
    for (int k = 0; k < SAMPLE_RECORDS; k++) {
        const struct sample_record *const r = &x->s.records[k];
        if (!r->in_queue || strcmp(r->topic, "A") || r->queue_id != 1 || r->queue_offset < 3 || r->queue_offset >= 60)
            continue;
        assert_int_equal(json_get_i64(json_array_get(all, i), "queueOffset", -1), r->queue_offset);
        assert_int_equal(json_get_i64(json_array_get(all, i), "physOffset", -1), r->phys);
        assert_int_equal(json_get_i64(json_array_get(all, i), "size", -1), r->size);
        i++;
    }
    assert_int_equal(i, 57);
    json_decref(all);
}

static void index_entries_of_a_key_are_shown(void **state)
{
    struct fixture *const x = *state;
    struct dump_opts o = opts_of(x, DUMP_INDEX);
    o.topic = x->s.records[8].topic;
    o.key = "K8";
    json_t *const all = lines(x, &o);
    int entries = 0;
    size_t i;
    json_t *j;
    json_array_foreach(all, i, j)
        if (slice_eq_str(json_get_str(j, "type"), "indexEntry")) {
            assert_int_equal(json_get_i64(j, "physOffset", -1), x->s.records[8].phys);
            entries++;
        }
    assert_int_equal(entries, 1);
    json_decref(all);
}

static void checkpoints_are_shown(void **state)
{
    struct fixture *const x = *state;
    const struct dump_opts o = opts_of(x, DUMP_CHECKPOINT);
    json_t *const all = lines(x, &o);
    assert_int_equal(json_array_size(all), 2);
    assert_true(json_get_i64(json_array_get(all, 0), "logTimestamp", 0) > 1700000000000);
    const struct sample_record *const last = &x->s.records[SAMPLE_RECORDS - 1];
    assert_int_equal(json_get_i64(json_array_get(all, 1), "coveredPhysOffset", 0), last->phys + last->size);
    json_decref(all);
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    struct fixture *const x = *state;
    struct err e = {0};
    struct dump_opts o = opts_of(x, DUMP_QUEUE);
    assert_code(dump(x, &o, &e), E_INVAL, &e);
    assert_contains(e.text, "--topic");
    o.topic = "nobody";
    assert_code(dump(x, &o, &e), E_NOTFOUND, &e);
    o = opts_of(x, DUMP_INDEX);
    o.key = "K8";
    assert_code(dump(x, &o, &e), E_INVAL, &e);
    o = opts_of(x, DUMP_LOG);
    o.json = false;
    o.limit = 2;
    assert_ok(dump(x, &o, &e), &e);
    assert_contains(x->text, "PHYSICAL OFFSET");
    assert_contains(x->text, "KEYS=K0 all");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_record_is_shown_as_it_stands),
        TEST(records_are_filtered),
        TEST(a_damaged_place_is_named_and_passed_over),
        TEST(units_are_shown),
        TEST(index_entries_of_a_key_are_shown),
        TEST(checkpoints_are_shown),
        TEST(options_that_do_not_go_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
