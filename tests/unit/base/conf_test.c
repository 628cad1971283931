/* base/conf.c and base/conf_def.h: the table from rows, every refusal with its words, and printing
 * that reads back. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/conf.h"

enum { FLUSH_ASYNC, FLUSH_SYNC };
static const char *const flush_names[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};

struct test_conf {
#define CONF_DEF "tests/unit/base/conf_test.def"
#define CONF_FIELDS
#include "base/conf_def.h"
};

static const struct conf_row rows[] = {
#define CONF_DEF "tests/unit/base/conf_test.def"
#define CONF_ROWS struct test_conf
#include "base/conf_def.h"
};
static const struct conf_table table = {rows, sizeof rows / sizeof *rows};

static struct test_conf c;
static struct err e;

static int setup(void **state)
{
    (void)state;
    memset(&c, 0, sizeof c);
    memset(&e, 0, sizeof e);
    assert_ok(conf_defaults(&table, &c, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(&table, &c);
    return 0;
}

static void defaults_fill_every_field(void **state)
{
    (void)state;
    assert_true(c.auto_create);
    assert_int_equal(c.port, 10911);
    assert_int_equal(c.wide, -5);
    assert_int_equal(c.file_size, 1073741824);
    assert_string_equal(c.name, "DEFAULT_BROKER");
    assert_null(c.note);
    assert_int_equal(c.flush, FLUSH_ASYNC);
    assert_false(c.tls);
}

static int set(const char *key, const char *value)
{
    return conf_set(&table, &c, key, value, "broker.conf:12", &e);
}

static void values_are_set_without_their_blanks_and_in_any_case(void **state)
{
    (void)state;
    assert_ok(set("autoCreateTopicEnable", " FALSE "), &e);
    assert_false(c.auto_create);
    assert_ok(set("listenPort", "\t9876 "), &e);
    assert_int_equal(c.port, 9876);
    assert_ok(set("flushDiskType", "sync_flush"), &e);
    assert_int_equal(c.flush, FLUSH_SYNC);
    assert_ok(set("brokerName", " broker-a "), &e);
    assert_string_equal(c.name, "broker-a");
    assert_ok(set("note", ""), &e);
    assert_string_equal(c.note, "");
}

static void an_alias_sets_the_same_field(void **state)
{
    (void)state;
    assert_ok(set("port", "1"), &e);
    assert_int_equal(c.port, 1);
}

static void bounds_are_inclusive(void **state)
{
    (void)state;
    assert_ok(set("listenPort", "65535"), &e);
    assert_ok(set("listenPort", "0"), &e);
    assert_code(set("listenPort", "65536"), E_RANGE, &e);
    assert_code(set("listenPort", "-1"), E_RANGE, &e);
    assert_int_equal(c.port, 0);
    assert_ok(set("anyNumber", "-2147483648"), &e);
    assert_code(set("anyNumber", "2147483648"), E_RANGE, &e);
    assert_ok(set("mappedFileSizeCommitLog", "1099511627776"), &e);
    assert_code(set("mappedFileSizeCommitLog", "4095"), E_RANGE, &e);
    assert_ok(set("brokerName", "12345678901234567890"), &e);
    assert_code(set("brokerName", "123456789012345678901"), E_RANGE, &e);
    assert_code(set("brokerName", "  "), E_RANGE, &e);
    assert_string_equal(c.name, "12345678901234567890");
}

/* conf_print writes what is not set as an empty value, and what it prints must load again. */
static void an_empty_value_unsets_a_string_without_default(void **state)
{
    (void)state;
    assert_ok(set("file", "x"), &e);
    assert_string_equal(c.file, "x");
    assert_ok(set("file", ""), &e);
    assert_null(c.file);
    assert_code(set("file", "12345678901"), E_RANGE, &e);
}

static void refusals_say_where_what_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        int code;
        const char *text;
    } wrong[] = {
        {"listenPort", "70000", E_RANGE,
         "broker.conf:12: listenPort: 70000 must be between 0 and 65535"},
        {"listenPort", "10911x", E_INVAL,
         "broker.conf:12: listenPort: '10911x' is not a whole number"},
        {"listenPort", "", E_INVAL, "broker.conf:12: listenPort: '' is not a whole number"},
        {"anyNumber", "99999999999999999999", E_RANGE,
         "broker.conf:12: anyNumber: 99999999999999999999 must be between -2147483648 and "
         "2147483647"},
        {"autoCreateTopicEnable", "treu", E_INVAL,
         "broker.conf:12: autoCreateTopicEnable: 'treu' must be true or false"},
        {"flushDiskType", "SYNC", E_INVAL,
         "broker.conf:12: flushDiskType: 'SYNC' must be one of ASYNC_FLUSH, SYNC_FLUSH"},
        {"brokerName", "", E_RANGE,
         "broker.conf:12: brokerName: '' has 0 bytes, must have 1 to 20"},
        {"tlsEnable", "true", E_DENIED,
         "broker.conf:12: tlsEnable=true is refused: TLS is not served yet; put a proxy in front"},
        {"transientStorePoolEnable", "true", E_DENIED,
         "broker.conf:12: transientStorePoolEnable=true is refused: acknowledged messages could be "
         "lost"},
        {"listenPrt", "1", E_NOTFOUND,
         "broker.conf:12: unknown key 'listenPrt'; did you mean 'listenPort'?"},
        {"FLUSHDISKTYPE", "1", E_NOTFOUND,
         "broker.conf:12: unknown key 'FLUSHDISKTYPE'; did you mean 'flushDiskType'?"},
        {"completelyOther", "1", E_NOTFOUND, "broker.conf:12: unknown key 'completelyOther'"},
        {"", "1", E_NOTFOUND, "broker.conf:12: unknown key ''"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_code(set(wrong[i].key, wrong[i].value), wrong[i].code, &e);
        assert_string_equal(e.text, wrong[i].text);
    }
    defaults_fill_every_field(NULL); /* nothing has changed */
}

static void unsafe_keys_may_say_their_default(void **state)
{
    (void)state;
    assert_ok(set("tlsEnable", "False"), &e);
    assert_ok(set("transientStorePoolEnable", "false"), &e);
}

static void overlong_values_and_keys_are_cut_in_errors(void **state)
{
    (void)state;
    static char big[10000];
    memset(big, '7', sizeof big - 1);
    assert_code(set("listenPort", big), E_RANGE, &e);
    assert_contains(e.text, "must be between 0 and 65535");
    assert_code(set(big, "1"), E_NOTFOUND, &e);
}

static void secrets_are_in_no_text(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    conf_print(&table, &c, &out);
    buf_char(&out, '\0');
    assert_null(strstr(out.p, "password"));
    assert_null(strstr(out.p, "hunter2"));
    buf_free(&out);
}

struct notes {
    int n;
    char text[8][256];
};

static void on_note(void *arg, const char *text)
{
    struct notes *notes = arg;
    snprintf(notes->text[notes->n++ % 8], 256, "%s", text);
}

static int apply(const char *text, struct notes *notes)
{
    struct props p;
    assert_ok(props_parse(slice_str(text), &p, &e), &e);
    int rc = conf_apply(&table, &c, &p, "broker.conf", on_note, notes, &e);
    props_free(&p);
    return rc;
}

static void a_file_is_applied_in_order_and_strange_keys_noted_once(void **state)
{
    (void)state;
    struct notes notes = {0};
    assert_ok(apply("listenPort=1\nlistenPort=2\nflushDiskTyp=x\nuseEpollNativeSelector=true\n"
                    "flushDiskTyp=y\nuseEpollNativeSelector=false\nbrokerName=b\n", &notes), &e);
    assert_int_equal(c.port, 2);
    assert_string_equal(c.name, "b");
    assert_int_equal(notes.n, 2);
    assert_string_equal(notes.text[0],
                        "broker.conf:3: unknown key 'flushDiskTyp'; did you mean 'flushDiskType'?");
    assert_string_equal(notes.text[1], "broker.conf:4: useEpollNativeSelector is ignored: "
                                       "a setting of the Java network library");
}

/* A file of the greatest size that is read: each key has its note, and that takes no time to speak of. */
static void a_file_full_of_strange_keys_is_read_in_seconds(void **state)
{
    (void)state;
    enum { KEYS = 80000, MS_MAX = 30000 };
    struct notes notes = {0};
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < KEYS; i++)
        buf_printf(&text, "listenPort%d\n", i);
    size_t n;
    char *const p = buf_take(&text, &n);
    const int64_t began = clock_mono(&clock_system);
    assert_ok(apply(p, &notes), &e);
    const int64_t ms = clock_mono(&clock_system) - began;
    assert_int_equal(notes.n, KEYS);
    assert_string_equal(notes.text[0], "broker.conf:79993: unknown key 'listenPort79992'; did you mean 'listenPort'?");
    if (ms > MS_MAX)
        fail_msg("%lld ms for %d keys, at most %d", (long long)ms, KEYS, MS_MAX);
    free(p);
}

static void a_suggestion_differs_in_a_third_at_most(void **state)
{
    (void)state;
    static const struct {
        const char *key, *near;
    } cases[] = {{"por", "port"},   {"pXr", NULL},          {"XXrt", NULL},        {"Xport", "port"},
                 {"nte", "note"},   {"fil", "file"},        {"el", NULL},          {"istenPor", "listenPort"},
                 {"brkerNme", "brokerName"}, {"XXXXerName", NULL}, {"XXXkerName", "brokerName"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[128];
        snprintf(want, sizeof want, "broker.conf:12: unknown key '%s'%s%s%s", cases[i].key,
                 cases[i].near ? "; did you mean '" : "", cases[i].near ? cases[i].near : "",
                 cases[i].near ? "'?" : "");
        assert_code(set(cases[i].key, "1"), E_NOTFOUND, &e);
        assert_string_equal(e.text, want);
    }
}

static void a_file_stops_at_its_first_bad_value(void **state)
{
    (void)state;
    struct notes notes = {0};
    assert_code(apply("brokerName=b\nlistenPort=many\nnote=x\n", &notes), E_INVAL, &e);
    assert_string_equal(e.text, "broker.conf:2: listenPort: 'many' is not a whole number");
    assert_string_equal(c.name, "b");
    assert_null(c.note);
}

static void what_is_printed_reads_back(void **state)
{
    (void)state;
    struct buf out;
    struct notes notes = {0};
    assert_ok(set("note", "C:\\data\tand\nmore = x"), &e);
    assert_ok(set("flushDiskType", "SYNC_FLUSH"), &e);
    buf_init(&out, 0);
    conf_print(&table, &c, &out);
    size_t n;
    char *text = buf_take(&out, &n);
    assert_string_equal(
        text, "autoCreateTopicEnable=true\nlistenPort=10911\nanyNumber=-5\n"
              "mappedFileSizeCommitLog=1073741824\nbrokerName=DEFAULT_BROKER\n"
              "note=C:\\\\data\\tand\\nmore = x\nfile=\nflushDiskType=SYNC_FLUSH\ntlsEnable=false\n");
    teardown(NULL);
    setup(NULL);
    assert_ok(apply(text, &notes), &e);
    assert_int_equal(notes.n, 0);
    assert_string_equal(c.note, "C:\\data\tand\nmore = x");
    assert_int_equal(c.flush, FLUSH_SYNC);
    free(text);
}

static void rows_are_found_by_their_exact_key(void **state)
{
    (void)state;
    const struct conf_row *row = conf_find(&table, "flushDiskType");
    assert_non_null(row);
    assert_int_equal(row->kind, CONF_ENUM);
    assert_string_equal(row->values[1], "SYNC_FLUSH");
    assert_int_equal(conf_find(&table, "autoCreateTopicEnable")->flags, CONF_RUNTIME);
    assert_null(conf_find(&table, "flushdisktype"));
}

static void a_default_outside_its_bounds_is_a_fault_of_the_table(void **state)
{
    (void)state;
    static const struct conf_row bad[] = {{"n", CONF_I32, 0, "11", 1, 10, NULL, 0, ""}};
    int32_t n = 3;
    assert_code(conf_defaults(&(struct conf_table){bad, 1}, &n, &e), E_INVAL, &e);
    assert_string_equal(e.text, "default: n: 11 must be between 1 and 10");
    assert_int_equal(n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_fill_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(values_are_set_without_their_blanks_and_in_any_case, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_alias_sets_the_same_field, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_are_inclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_value_unsets_a_string_without_default, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_say_where_what_and_what_would_be_right, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unsafe_keys_may_say_their_default, setup, teardown),
        cmocka_unit_test_setup_teardown(overlong_values_and_keys_are_cut_in_errors, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(secrets_are_in_no_text, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_applied_in_order_and_strange_keys_noted_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_full_of_strange_keys_is_read_in_seconds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_suggestion_differs_in_a_third_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_stops_at_its_first_bad_value, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_printed_reads_back, setup, teardown),
        cmocka_unit_test(rows_are_found_by_their_exact_key),
        cmocka_unit_test(a_default_outside_its_bounds_is_a_fault_of_the_table),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
