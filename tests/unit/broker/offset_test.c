/* Unit tests of broker/offset.c. */
#include "broker/offset.h"

#include <stdio.h>

#include "tests/support/test.h"

#define G SLICE_LIT("g")
#define T SLICE_LIT("t")

static void an_unknown_queue_has_no_offset(void **state)
{
    (void)state;
    struct offsets *o = offsets_new(10);
    assert_int_equal(offsets_get(o, G, T, 0), -1);
    assert_false(offsets_has_queue(o, G, T, 0));
    offsets_free(o);
}

static void the_last_write_wins_also_when_it_is_smaller_or_negative(void **state)
{
    (void)state;
    struct err e;
    struct offsets *o = offsets_new(10);
    const int64_t values[] = {5, 100, 7, -1, 3};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_ok(offsets_set(o, G, T, 2, values[i], &e), &e);
        assert_int_equal(offsets_get(o, G, T, 2), values[i]);
    }
    offsets_free(o);
}

static void queues_of_one_pair_do_not_mix(void **state)
{
    (void)state;
    struct err e;
    struct offsets *o = offsets_new(10);
    for (int32_t q = 99; q >= 0; q--)
        assert_ok(offsets_set(o, G, T, (q * 37) % 100, (q * 37) % 100 + 1000, &e), &e);
    for (int32_t q = 0; q < 100; q++)
        assert_int_equal(offsets_get(o, G, T, q), q + 1000);
    assert_int_equal(offsets_get(o, T, G, 5), -1);
    offsets_free(o);
}

static void a_negative_queue_and_one_pair_too_many_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct offsets *o = offsets_new(2);
    assert_code(offsets_set(o, G, T, -1, 0, &e), E_INVAL, &e);
    assert_ok(offsets_set(o, G, SLICE_LIT("t1"), 0, 1, &e), &e);
    assert_ok(offsets_set(o, G, SLICE_LIT("t2"), 0, 1, &e), &e);
    assert_code(offsets_set(o, G, SLICE_LIT("t3"), 0, 1, &e), E_BUSY, &e);
    assert_ok(offsets_set(o, G, SLICE_LIT("t2"), 1, 1, &e), &e);
    offsets_free(o);
}

static void the_file_brings_every_offset_back(void **state)
{
    (void)state;
    struct err e;
    json_t *j;
    struct offsets *o = offsets_new(10), *again = offsets_new(10);
    assert_ok(offsets_set(o, G, T, 0, 12, &e), &e);
    assert_ok(offsets_set(o, G, SLICE_LIT("%RETRY%g"), 3, INT64_MAX, &e), &e);
    assert_true(offsets_dirty(o));
    assert_ok(offsets_to_json(o, &clock_system, &j), NULL);
    assert_false(offsets_dirty(o));
    assert_ok(offsets_from_json(again, j, &e), &e);
    assert_int_equal(offsets_get(again, G, T, 0), 12);
    assert_int_equal(offsets_get(again, G, SLICE_LIT("%RETRY%g"), 3), INT64_MAX);
    json_decref(j);
    offsets_free(o);
    offsets_free(again);
}

static void the_same_commit_again_leaves_the_table_clean(void **state)
{
    (void)state;
    struct err e;
    json_t *j;
    struct offsets *o = offsets_new(10);
    assert_ok(offsets_set(o, G, T, 0, 12, &e), &e);
    assert_ok(offsets_to_json(o, &clock_system, &j), NULL);
    json_decref(j);
    assert_ok(offsets_set(o, G, T, 0, 12, &e), &e);
    assert_false(offsets_dirty(o));
    offsets_free(o);
}

static void what_upstream_wrote_is_read_with_bare_queue_numbers(void **state)
{
    (void)state;
    struct err e;
    json_t *j;
    const char text[] = "{\"dataVersion\":{\"counter\":2,\"stateVersion\":0,\"timestamp\":5},"
                        "\"groupTopicMap\":{\"g\":[\"t\"]},\"offsetTable\":{\"t@g\":{0:12,1:9}}}";
    assert_ok(json_parse(slice_str(text), &j, &e), &e);
    struct offsets *o = offsets_new(10);
    assert_ok(offsets_from_json(o, j, &e), &e);
    assert_int_equal(offsets_get(o, G, T, 0), 12);
    assert_int_equal(offsets_get(o, G, T, 1), 9);
    json_decref(j);
    offsets_free(o);
}

static void a_file_without_a_table_or_with_nonsense_is_corrupt(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "{\"offsetTable\":[]}", "{\"offsetTable\":{\"t@g\":{\"x\":1}}}",
        "{\"offsetTable\":{\"t@g\":{\"0\":\"one\"}}}", "{\"offsetTable\":{\"t@g\":{\"-1\":1}}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e;
        json_t *j;
        assert_ok(json_parse(slice_str(texts[i]), &j, &e), &e);
        struct offsets *o = offsets_new(10);
        assert_code(offsets_from_json(o, j, &e), E_CORRUPT, &e);
        json_decref(j);
        offsets_free(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_queue_has_no_offset),
        cmocka_unit_test(the_last_write_wins_also_when_it_is_smaller_or_negative),
        cmocka_unit_test(queues_of_one_pair_do_not_mix),
        cmocka_unit_test(a_negative_queue_and_one_pair_too_many_are_refused),
        cmocka_unit_test(the_file_brings_every_offset_back),
        cmocka_unit_test(the_same_commit_again_leaves_the_table_clean),
        cmocka_unit_test(what_upstream_wrote_is_read_with_bare_queue_numbers),
        cmocka_unit_test(a_file_without_a_table_or_with_nonsense_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
