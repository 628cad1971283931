/* Unit tests of broker/group.c. */
#include "broker/group.h"

#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/test.h"

static void a_created_group_has_upstreams_defaults(void **state)
{
    (void)state;
    struct err e;
    struct group_info info;
    struct groups *g = groups_new(10);
    assert_false(groups_get(g, SLICE_LIT("g"), &info));
    assert_ok(groups_create(g, SLICE_LIT("g"), &clock_system, &e), &e);
    assert_true(groups_get(g, SLICE_LIT("g"), &info));
    assert_true(info.consume_enable && info.consume_broadcast_enable && info.notify_changes);
    assert_int_equal(info.retry_max_times, 16);
    assert_int_equal(info.retry_queue_nums, 1);
    groups_free(g);
}

static void creating_an_existing_group_changes_nothing(void **state)
{
    (void)state;
    struct err e;
    struct group_info info;
    struct group_config c;
    struct groups *g = groups_new(10);
    group_config_defaults(&c, SLICE_LIT("g"));
    c.retry_max_times = 3;
    assert_ok(groups_put(g, &c, &clock_system, &e), &e);
    assert_ok(groups_create(g, SLICE_LIT("g"), &clock_system, &e), &e);
    assert_true(groups_get(g, SLICE_LIT("g"), &info));
    assert_int_equal(info.retry_max_times, 3);
    groups_free(g);
}

static void bad_names_bad_numbers_and_one_too_many_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct group_config c;
    struct groups *g = groups_new(1);
    assert_code(groups_create(g, SLICE_LIT("../g"), &clock_system, &e), E_INVAL, &e);
    assert_code(groups_create(g, SLICE_LIT(""), &clock_system, &e), E_INVAL, &e);
    group_config_defaults(&c, SLICE_LIT("g"));
    c.retry_queue_nums = 1025;
    assert_code(groups_put(g, &c, &clock_system, &e), E_INVAL, &e);
    assert_ok(groups_create(g, SLICE_LIT("g"), &clock_system, &e), &e);
    assert_code(groups_create(g, SLICE_LIT("h"), &clock_system, &e), E_BUSY, &e);
    groups_free(g);
}

static void members_we_do_not_interpret_survive_the_file(void **state)
{
    (void)state;
    char *text;
    size_t n;
    json_t *j, *back;
    struct err e;
    assert_ok(golden_file("config/5.5.0/subscriptionGroup.json", &text, &n, &e), &e);
    assert_ok(json_parse(slice_of(text, n), &j, &e), &e);
    struct groups *g = groups_new(100);
    assert_ok(groups_from_json(g, j, &e), &e);
    assert_ok(groups_to_json(g, &back), NULL);
    assert_true(json_equal(json_object_get(j, "subscriptionGroupTable"),
                           json_object_get(back, "subscriptionGroupTable")));
    struct group_info info;
    assert_true(groups_get(g, SLICE_LIT("g5_GID_off"), &info));
    assert_false(info.consume_enable);
    json_decref(j);
    json_decref(back);
    groups_free(g);
    free(text);
}

static void the_read_bit_of_the_forbidden_table_is_honoured(void **state)
{
    (void)state;
    json_t *j;
    struct err e;
    assert_ok(
        json_parse(
            SLICE_LIT(
                "{\"forbiddenTable\":{\"g\":{\"t\":4,\"w\":2}},\"subscriptionGroupTable\":{}}"),
            &j, &e),
        &e);
    struct groups *g = groups_new(10);
    assert_ok(groups_from_json(g, j, &e), &e);
    assert_true(groups_forbid_read(g, SLICE_LIT("g"), SLICE_LIT("t")));
    assert_false(groups_forbid_read(g, SLICE_LIT("g"), SLICE_LIT("w")));
    assert_false(groups_forbid_read(g, SLICE_LIT("h"), SLICE_LIT("t")));
    json_decref(j);
    groups_free(g);
}

static void an_entry_under_another_name_is_damage(void **state)
{
    (void)state;
    json_t *j;
    struct err e;
    assert_ok(json_parse(SLICE_LIT("{\"subscriptionGroupTable\":{\"g1\":{\"groupName\":\"g1\"},"
                                   "\"g3\":{\"groupName\":\"g1\"}}}"), &j, &e), &e);
    struct groups *g = groups_new(10);
    assert_code(groups_from_json(g, j, &e), E_CORRUPT, &e);
    assert_contains(e.text, "group g3");
    json_decref(j);
    groups_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_under_another_name_is_damage),
        cmocka_unit_test(a_created_group_has_upstreams_defaults),
        cmocka_unit_test(creating_an_existing_group_changes_nothing),
        cmocka_unit_test(bad_names_bad_numbers_and_one_too_many_are_refused),
        cmocka_unit_test(members_we_do_not_interpret_survive_the_file),
        cmocka_unit_test(the_read_bit_of_the_forbidden_table_is_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
