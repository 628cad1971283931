/* base/json.c: the peers' dialect, positions of errors, bounds, and writing as fastjson does. */
#include "tests/support/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "tests/support/golden.h"
#include "tests/support/seed.h"

/* Parses from a block of exactly the text's size: one byte too far is seen by the sanitizer. */
static int parse_exact(struct slice text, json_t **out, struct err *e)
{
    char *exact = malloc(text.n + !text.n);
    memcpy(exact, text.p, text.n);
    int rc = json_parse(slice_of(exact, text.n), out, e);
    free(exact);
    return rc;
}

static void assert_rewritten(const char *text, const char *want)
{
    struct err e = {0};
    json_t *j;
    struct buf out;
    assert_ok(parse_exact(slice_str(text), &j, &e), &e);
    buf_init(&out, 0);
    assert_ok(json_write(j, &out), NULL);
    assert_slice_equal(buf_slice(&out), want);
    buf_free(&out);
    json_decref(j);
}

static void strict_json_is_what_it_was_sorted_and_compact(void **state)
{
    (void)state;
    assert_rewritten(" { \"b\" : [ 1 , -2.5 , true , null ] , \"a\" : \"x\\n\\u00e9/\" } ",
                     "{\"a\":\"x\\n\xc3\xa9/\",\"b\":[1,-2.5,true,null]}");
    assert_rewritten("[]", "[]");
    assert_rewritten("{}", "{}");
    assert_rewritten("7", "7");
    assert_rewritten("\"text\"", "\"text\"");
}

static void bare_integer_names_become_strings(void **state)
{
    (void)state;
    assert_rewritten("{0:\"127.0.0.1:10911\",1:\"b\"}", "{\"0\":\"127.0.0.1:10911\",\"1\":\"b\"}");
    assert_rewritten("{ -1 : {10:{2:3}} , \"x\":[ {4 :5} ] }",
                     "{\"-1\":{\"10\":{\"2\":3}},\"x\":[{\"4\":5}]}");
    assert_rewritten("[1,2,{3:4},5]", "[1,2,{\"3\":4},5]"); /* numbers that are no names stay */
}

static void an_object_as_name_becomes_its_compact_text(void **state)
{
    (void)state;
    assert_rewritten("{{\"brokerName\":\"a\", \"queueId\" : 2}:12}",
                     "{\"{\\\"brokerName\\\":\\\"a\\\",\\\"queueId\\\":2}\":12}");
    assert_rewritten(
        "{\"t\":{{\"q\":\"sp ace \\\"}\",\"n\":[1,{}]}:{1:2},{}:3}}",
        "{\"t\":{\"{\\\"q\\\":\\\"sp ace \\\\\\\"}\\\",\\\"n\\\":[1,{}]}\":{\"1\":2},\"{}\":3}}");
}

static void the_name_made_of_an_object_parses_again(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *j, *name;
    assert_ok(json_parse(SLICE_LIT("{{\"topic\":\"a\\\\b\",\"queueId\":3}:9}"), &j, &e), &e);
    const char *key = json_object_iter_key(json_object_iter(j));
    assert_ok(json_parse(slice_str(key), &name, &e), &e);
    assert_slice_equal(json_get_str(name, "topic"), "a\\b");
    assert_int_equal(json_get_i64(name, "queueId", 0), 3);
    json_decref(name);
    json_decref(j);
}

static void integers_keep_64_bits_and_later_members_win(void **state)
{
    (void)state;
    assert_rewritten("{\"v\":9223372036854775807,\"w\":-9223372036854775808}",
                     "{\"v\":9223372036854775807,\"w\":-9223372036854775808}");
    assert_rewritten("{\"v\":1,\"v\":2,5:1,\"5\":3}", "{\"5\":3,\"v\":2}");
}

static void errors_have_line_and_column_of_the_original(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "line 1, column 1: the text is empty"},
        {"{\"a\":}", "line 1, column "},
        {"{\n  \"a\": 1,\n  \"b\" 2}", "line 3, column "},
        {"{0:1,\n1:2,\n2:tru}", "line 3, column "},
        {"{{\"a\":1}:1,\n\"b\":nope}", "line 2, column "},
        {"{\"a\":1} x", "line 1, column "},
        {"{\"a\":\"\xff\"}", "line 1, column "},
        {"{{\"a\":1", "line 1, column 2: the object used as a member name has no end"},
        {"{{{\"a\":1}:2}:3}", "line 1, column 2: an object as member name inside another one"},
        {"{", "JSON line 1, column "},
        {"{1:", "JSON line 1, column "},
        {"{\"", "JSON line 1, column "},
        {"{\"a\\", "JSON line 1, column "},
        {"{-", "JSON line 1, column "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = {0};
        json_t *j = NULL;
        assert_code(parse_exact(slice_str(rows[i].text), &j, &e), E_PROTO, &e);
        assert_contains(e.text, rows[i].says);
        assert_null(j);
    }
}

static void the_column_does_not_count_what_was_rewritten(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *j;
    int column = 0;
    /* "nope" stands in columns 26 to 29 */
    assert_code(json_parse(SLICE_LIT("{0:1,1:2,2:3,3:4,4:5,\"b\":nope,\"c\":[1,2,3,4,5,6,7]}"), &j, &e), E_PROTO, &e);
    assert_int_equal(sscanf(e.text, "JSON line 1, column %d:", &column), 1);
    assert_in_range((uint64_t)column, 26, 30);
}

static char *nested(const char *open, const char *close, int depth)
{
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < depth; i++)
        buf_str(&b, open);
    for (int i = 0; i < depth; i++)
        buf_str(&b, close);
    return buf_take(&b, NULL);
}

static int parse_nested(const char *open, const char *close, int depth)
{
    struct err e = {0};
    json_t *j = NULL;
    char *text = nested(open, close, depth);
    int rc = json_parse(slice_str(text), &j, &e);
    if (rc)
        assert_contains(e.text, "nested deeper than 64");
    json_decref(j);
    free(text);
    return rc;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    assert_ok(parse_nested("[", "]", 64), NULL);
    assert_code(parse_nested("[", "]", 65), E_PROTO, NULL);
    assert_ok(parse_nested("{\"a\":[", "]}", 32), NULL);
    assert_code(parse_nested("[", "]", 1000000), E_PROTO, NULL);
    /* brackets in a member name count too */
    struct err e = {0};
    json_t *j;
    char *deep = nested("[", "]", 70);
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "{{\"a\":%s}:1}", deep);
    assert_code(json_parse(buf_slice(&b), &j, &e), E_PROTO, &e);
    buf_free(&b);
    free(deep);
}

static void getters_are_tolerant_but_not_wild(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *j;
    assert_ok(
        json_parse(
            SLICE_LIT("{\"n\":5,\"s\":\" -7 \",\"t\":true,\"f\":false,\"r\":2.9,\"big\":1e300,"
                      "\"x\":\"abc\",\"z\":null,\"o\":{},\"y\":\"TRUE\",\"zero\":0}"),
            &j, &e),
        &e);
    assert_int_equal(json_get_i64(j, "n", -1), 5);
    assert_int_equal(json_get_i64(j, "s", -1), -7);
    assert_int_equal(json_get_i64(j, "t", -1), 1);
    assert_int_equal(json_get_i64(j, "f", -1), 0);
    assert_int_equal(json_get_i64(j, "r", -1), 2);
    assert_int_equal(json_get_i64(j, "big", -1), -1);
    assert_int_equal(json_get_i64(j, "x", -1), -1);
    assert_int_equal(json_get_i64(j, "z", -1), -1);
    assert_int_equal(json_get_i64(j, "o", -1), -1);
    assert_int_equal(json_get_i64(j, "missing", -1), -1);
    assert_true(json_get_bool(j, "y", false));
    assert_true(json_get_bool(j, "t", false));
    assert_true(json_get_bool(j, "n", false));
    assert_false(json_get_bool(j, "zero", true));
    assert_false(json_get_bool(j, "x", true));
    assert_true(json_get_bool(j, "z", true));
    assert_slice_equal(json_get_str(j, "x"), "abc");
    assert_null(json_get_str(j, "n").p);
    assert_null(json_get_str(NULL, "n").p);
    assert_int_equal(json_get_i64(NULL, "n", 3), 3);
    json_decref(j);
}

static void strings_may_hold_nul(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *j;
    assert_ok(json_parse(SLICE_LIT("{\"a\":\"x\\u0000y\"}"), &j, &e), &e);
    assert_int_equal(json_get_str(j, "a").n, 3);
    json_decref(j);
}

static void files_are_indented_with_tabs(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *j;
    struct buf out;
    assert_ok(json_parse(SLICE_LIT("{\"b\":{\"c\":\"  two  blanks\"},\"a\":[1,2]}"), &j, &e), &e);
    buf_init(&out, 0);
    assert_ok(json_write_indented(j, &out), NULL);
    assert_slice_equal(
        buf_slice(&out),
        "{\n\t\"a\":[\n\t\t1,\n\t\t2\n\t],\n\t\"b\":{\n\t\t\"c\":\"  two  blanks\"\n\t}\n}");
    buf_free(&out);
    json_decref(j);
}

static void a_full_buffer_fails_the_write(void **state)
{
    (void)state;
    struct buf out;
    json_t *j = json_pack("{s:s}", "key", "value");
    buf_init(&out, 5);
    assert_code(json_write(j, &out), E_TOOBIG, NULL);
    buf_free(&out);
    json_decref(j);
}

/* Parses a recorded file, and parses it again after it was written both ways. */
static void round_trip(const char *name)
{
    struct err e = {0};
    json_t *j, *again;
    char *text;
    size_t n;
    assert_ok(golden_file(name, &text, &n, &e), &e);
    if (parse_exact(slice_of(text, n), &j, &e))
        fail_msg("%s: %s", name, e.text);
    for (int indented = 0; indented < 2; indented++) {
        struct buf out;
        buf_init(&out, 0);
        assert_ok(indented ? json_write_indented(j, &out) : json_write(j, &out), NULL);
        assert_ok(json_parse(buf_slice(&out), &again, &e), &e);
        assert_true(json_equal(j, again));
        json_decref(again);
        buf_free(&out);
    }
    json_decref(j);
    free(text);
}

static int round_trip_all(const char *folder)
{
    const char *top = getenv("HALFPENNY_SOURCE");
    char path[512];
    int files = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", top ? top : ".", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        const char *dot = strrchr(d->d_name, '.');
        if (!dot || strcmp(dot, ".json"))
            continue;
        snprintf(path, sizeof path, "%s/%.200s", folder, d->d_name);
        round_trip(path);
        files++;
    }
    closedir(dir);
    return files;
}

static void what_apache_rocketmq_wrote_parses_and_survives_a_round_trip(void **state)
{
    (void)state;
    assert_true(round_trip_all("bodies") >= 20);
    assert_true(round_trip_all("config/4.9.7") >= 4);
    assert_true(round_trip_all("config/5.5.0") >= 4);
}

static void random_texts_do_no_harm(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "{", "}",         "[", "]",  ",",    ":",    "\"a\"",    "\"",   "\\",    "1",
        "-", "{\"q\":1}", " ", "\n", "true", "null", "\xc3\xa9", "\xff", "{1:2}", "0.5"};
    struct rng rng = test_rng("json");
    for (int i = 0; i < 30000; i++) {
        struct buf b;
        json_t *j;
        buf_init(&b, 0);
        for (size_t k = 1 + rng_below(&rng, 12); k > 0; k--)
            buf_str(&b, pieces[rng_below(&rng, sizeof pieces / sizeof *pieces)]);
        struct err e = {0};
        int rc = parse_exact(buf_slice(&b), &j, &e);
        if (rc == 0)
            json_decref(j);
        else
            assert_code(rc, E_PROTO, &e);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_json_is_what_it_was_sorted_and_compact),
        cmocka_unit_test(bare_integer_names_become_strings),
        cmocka_unit_test(an_object_as_name_becomes_its_compact_text),
        cmocka_unit_test(the_name_made_of_an_object_parses_again),
        cmocka_unit_test(integers_keep_64_bits_and_later_members_win),
        cmocka_unit_test(errors_have_line_and_column_of_the_original),
        cmocka_unit_test(the_column_does_not_count_what_was_rewritten),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(getters_are_tolerant_but_not_wild),
        cmocka_unit_test(strings_may_hold_nul),
        cmocka_unit_test(files_are_indented_with_tabs),
        cmocka_unit_test(a_full_buffer_fails_the_write),
        cmocka_unit_test(what_apache_rocketmq_wrote_parses_and_survives_a_round_trip),
        cmocka_unit_test(random_texts_do_no_harm),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
