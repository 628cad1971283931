/* base/props.c: the .properties grammar, line numbers, and bad input. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/props.h"
#include "tests/support/seed.h"
#include "tests/support/tmpdir.h"

static struct props parse(const char *text)
{
    struct props p;
    struct err e = {0};
    assert_ok(props_parse(slice_str(text), &p, &e), &e);
    return p;
}

static void assert_prop(const struct props *p, size_t i, const char *key, const char *value,
                        int line)
{
    assert_true(i < p->n);
    assert_string_equal(p->items[i].key, key);
    assert_string_equal(p->items[i].value, value);
    assert_int_equal(p->items[i].line, line);
}

static void pairs_come_in_file_order_with_their_lines(void **state)
{
    (void)state;
    struct props p =
        parse("# comment\nlistenPort=10911\n\n  ! another\r\n  brokerName = a b \r\nlast:x");
    assert_int_equal(p.n, 3);
    assert_prop(&p, 0, "listenPort", "10911", 2);
    assert_prop(&p, 1, "brokerName", "a b ", 5);
    assert_prop(&p, 2, "last", "x", 6);
    props_free(&p);
}

static void every_separator_is_understood(void **state)
{
    (void)state;
    struct props p = parse("a=1\nb:2\nc 3\nd\t=\t4\ne = = 5\nf\ng=\nh\\=\\:\\ i=6");
    static const char *const want[][2] = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"},
                                          {"e", "= 5"}, {"f", ""}, {"g", ""}, {"h=: i", "6"}};
    assert_int_equal(p.n, 8);
    for (int i = 0; i < 8; i++)
        assert_prop(&p, (size_t)i, want[i][0], want[i][1], i + 1);
    props_free(&p);
}

static void lines_continue_behind_a_backslash(void **state)
{
    (void)state;
    struct props p = parse(
        "addr=1.1.1.1:9876;\\\n     2.2.2.2:9876;\\\r\n\t3.3.3.3:9876\nnext=1\nodd=\\\\\nlast=a\\");
    assert_int_equal(p.n, 4);
    assert_prop(&p, 0, "addr", "1.1.1.1:9876;2.2.2.2:9876;3.3.3.3:9876", 1);
    assert_prop(&p, 1, "next", "1", 4);
    assert_prop(&p, 2, "odd", "\\", 5);
    assert_prop(&p, 3, "last", "a", 6);
    props_free(&p);
}

static void escapes_become_characters(void **state)
{
    (void)state;
    struct props p = parse("a=\\t\\n\\r\\f\\z\\\\\nb=\\u0041\\u00e9\\u8BA2\\ud83d\\ude00");
    assert_prop(&p, 0, "a", "\t\n\r\fz\\", 1);
    assert_prop(&p, 1, "b", "A\xc3\xa9\xe8\xae\xa2\xf0\x9f\x98\x80", 2);
    props_free(&p);
}

static void of_equal_keys_the_last_counts(void **state)
{
    (void)state;
    struct props p = parse("a=1\nb=2\na=3");
    assert_int_equal(p.n, 3);
    assert_string_equal(props_get(&p, "a")->value, "3");
    assert_int_equal(props_get(&p, "a")->line, 3);
    assert_null(props_get(&p, "c"));
    props_free(&p);
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n\r\n\r", "# only", "   ", "#"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct props p = parse(texts[i]);
        assert_int_equal(p.n, 0);
        props_free(&p);
    }
    struct props p;
    assert_ok(props_parse(SLICE_NULL, &p, NULL), NULL);
    assert_int_equal(p.n, 0);
}

static void bad_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *says;
    } rows[] = {
        {"a=1\n=2", 6, "line 2: there is no key"},
        {"a=\\u12", 6, "line 1: \\u needs four hexadecimal digits"},
        {"a=\\u12g4", 8, "four hexadecimal digits"},
        {"\n\na=\\ud83d", 10, "line 3: \\u escape is half"},
        {"a=\\ude00", 8, "half of a surrogate pair"},
        {"a=\\ud83d\\u0041", 14, "half of a surrogate pair"},
        {"a=\\u0000", 8, "NUL"},
        {"a=b\0c", 5, "NUL"},
        {"a\0=c", 4, "NUL"},
        {"a=\\\0", 4, "NUL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct props p;
        struct err e = {0};
        assert_code(props_parse(slice_of(rows[i].text, rows[i].n), &p, &e), E_INVAL, &e);
        assert_contains(e.text, rows[i].says);
        assert_int_equal(p.n, 0);
        assert_null(p.items);
    }
}

static void files_load_and_errors_name_them(void **state)
{
    (void)state;
    struct props p;
    struct err e = {0};
    const char *dir = tmpdir_new("props"), *file = tmpdir_path(dir, "broker.conf");
    assert_ok(fs_write_atomic(&fs_real, file, SLICE_LIT("a=1\n"), &e), &e);
    assert_ok(props_load(file, &p, &e), &e);
    assert_prop(&p, 0, "a", "1", 1);
    props_free(&p);
    assert_ok(fs_write_atomic(&fs_real, file, SLICE_LIT("a=\\u1"), &e), &e);
    assert_code(props_load(file, &p, &e), E_INVAL, &e);
    assert_contains(e.text, "broker.conf: line 1:");
    assert_code(props_load(tmpdir_path(dir, "none.conf"), &p, &e), E_NOTFOUND, &e);
    assert_contains(e.text, "none.conf");

    size_t max = 1024 * 1024;
    char *big = malloc(max + 1);
    memset(big, '#', max + 1);
    assert_ok(fs_write_atomic(&fs_real, file, slice_of(big, max), &e), &e);
    assert_ok(props_load(file, &p, &e), &e);
    props_free(&p);
    assert_ok(fs_write_atomic(&fs_real, file, slice_of(big, max + 1), &e), &e);
    assert_code(props_load(file, &p, &e), E_TOOBIG, &e);
    free(big);
    tmpdir_remove(dir);
}

/* Any bytes: a result or an error, never a crash, and what was parsed are C strings. */
static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char alphabet[] = "ab=: \\u0d8\n\r\t#!\0\xff";
    struct rng rng = test_rng("props");
    for (int i = 0; i < 20000; i++) {
        char text[40];
        size_t n = rng_below(&rng, sizeof text);
        for (size_t k = 0; k < n; k++)
            text[k] = alphabet[rng_below(&rng, sizeof alphabet)];
        char *exact = malloc(n + !n);
        memcpy(exact, text, n);
        struct props p;
        int rc = props_parse(slice_of(exact, n), &p, NULL);
        free(exact);
        if (rc)
            assert_code(rc, E_INVAL, NULL);
        for (size_t k = 0; k < p.n; k++)
            assert_true(strlen(p.items[k].key) > 0);
        props_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_in_file_order_with_their_lines),
        cmocka_unit_test(every_separator_is_understood),
        cmocka_unit_test(lines_continue_behind_a_backslash),
        cmocka_unit_test(escapes_become_characters),
        cmocka_unit_test(of_equal_keys_the_last_counts),
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(files_load_and_errors_name_them),
        cmocka_unit_test(random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests_name("props", tests, NULL, NULL);
}
