#include "proto/subscription.h"

#include "proto/message.h"
#include "tests/unit/proto/vectors.h"

static void open_sub(struct subscription *s, const char *text, const char *type)
{
    struct err e = {0};
    assert_ok(subscription_init(s, slice_str("T"), slice_str(text), slice_str(type), 7, &e), &e);
    assert_string_equal(s->topic, "T");
    assert_int_equal(s->version, 7);
}

static bool has_tag(const struct subscription *s, const char *tag)
{
    for (size_t i = 0; i < s->tag_n; i++)
        if (strcmp(s->tags[i], tag) == 0)
            return true;
    return false;
}

static void star_empty_and_null_mean_everything(void **state)
{
    static const char *const all[] = {"*", "", NULL};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct subscription s;
        open_sub(&s, all[i], NULL);
        assert_true(s.all);
        assert_string_equal(s.sub_string, "*");
        assert_string_equal(s.expression_type, "TAG");
        assert_true(subscription_match_code(&s, 0));
        assert_true(subscription_match_code(&s, -5));
        assert_true(subscription_match_tag(&s, SLICE_NULL));
        subscription_fini(&s);
    }
}

static void tags_are_split_trimmed_and_kept_once(void **state)
{
    struct subscription s;
    (void)state;
    open_sub(&s, " TagA ||TagB|| ||TagA||中文|x ", "TAG");
    assert_false(s.all);
    assert_int_equal(s.tag_n, 3);
    assert_true(has_tag(&s, "TagA") && has_tag(&s, "TagB") && has_tag(&s, "中文|x"));
    for (size_t i = 0; i < s.tag_n; i++) {
        assert_int_equal(s.codes[i], java_string_hash(slice_str(s.tags[i])));
        assert_true(i == 0 || s.codes[i - 1] <= s.codes[i]);
    }
    subscription_fini(&s);
}

static void brokers_compare_hashes_and_clients_compare_text(void **state)
{
    struct subscription s;
    (void)state;
    open_sub(&s, "AaAa || TagA", NULL);
    assert_true(subscription_match_code(&s, 2598919));
    assert_true(subscription_match_code(&s, java_string_hash(slice_str("BBBB"))));
    assert_false(subscription_match_code(&s, 0));
    assert_false(subscription_match_code(&s, 2598920));
    assert_true(subscription_match_tag(&s, slice_str("AaAa")));
    assert_false(subscription_match_tag(&s, slice_str("BBBB")));
    assert_false(subscription_match_tag(&s, SLICE_NULL));
    subscription_fini(&s);
}

static void only_the_low_half_of_a_code_counts(void **state)
{
    struct subscription s;
    (void)state;
    open_sub(&s, "abcdefghijklmnop", NULL);
    assert_true(subscription_match_code(&s, -2093879032));
    assert_true(subscription_match_code(&s, (int64_t)(uint32_t)-2093879032));
    subscription_fini(&s);
}

static void sql_is_kept_as_text(void **state)
{
    struct subscription s;
    (void)state;
    open_sub(&s, "a > 1 || TRUE", "SQL92");
    assert_false(s.all);
    assert_int_equal(s.tag_n, 0);
    assert_string_equal(s.sub_string, "a > 1 || TRUE");
    assert_string_equal(s.expression_type, "SQL92");
    subscription_fini(&s);
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *text, *type, *part;
    } cases[] = {{"|| ||", "TAG", "names no tag"},
                 {"   ", NULL, "names no tag"},
                 {"||", NULL, "names no tag"},
                 {"a", "sql92", "neither TAG nor SQL92"},
                 {"", "SQL92", "without an expression"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct subscription s;
        struct err e = {0};
        assert_code(subscription_init(&s, slice_str("T"), slice_str(cases[i].text),
                                      slice_str(cases[i].type), 1, &e),
                    E_INVAL, &e);
        assert_contains(e.text, cases[i].part);
        assert_null(s.topic);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(star_empty_and_null_mean_everything),
        cmocka_unit_test(tags_are_split_trimmed_and_kept_once),
        cmocka_unit_test(brokers_compare_hashes_and_clients_compare_text),
        cmocka_unit_test(only_the_low_half_of_a_code_counts),
        cmocka_unit_test(sql_is_kept_as_text),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
