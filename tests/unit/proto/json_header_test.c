#include "proto/json_header.h"

#include "tests/unit/proto/vectors.h"

/* Scans an exact-size copy; keeps the copy in *kept for the slices. */
static int scan(const char *text, char **kept, struct command *out)
{
    size_t odd_at;
    *kept = dup_bytes(slice_str(text));
    return json_header_scan(*kept, strlen(text), out, &odd_at);
}

static void check_same(const struct command *got, const struct command *want)
{
    assert_int_equal(got->code, want->code);
    assert_int_equal(got->opaque, want->opaque);
    assert_int_equal(got->flag, want->flag);
    assert_int_equal(got->version, want->version);
    assert_int_equal(got->language, want->language);
    assert_slices_equal(got->remark, want->remark);
}

/* Both readers, with the same outcome. */
static void check_equivalent(const char *text)
{
    struct command fast, slow;
    struct buf spill;
    struct err e = {0};
    char *kept;
    buf_init(&spill, 0);
    if (scan(text, &kept, &fast))
        fail_msg("the scanner does not take %s", text);
    assert_ok(json_header_parse(slice_str(text), &slow, &spill, &e), &e);
    check_same(&fast, &slow);
    assert_int_equal(fast.ext_n, slow.ext_n);
    for (size_t i = 0; i < slow.ext_n; i++) {
        char key[256];
        assert_int_equal(slice_copy(slow.ext[i].key, key, sizeof key), 0);
        assert_slices_equal(command_ext(&fast, key), slow.ext[i].value);
    }
    free(kept);
    buf_free(&spill);
}

static void scanner_and_jansson_agree_on_what_clients_send(void **state)
{
    (void)state;
    check_equivalent("{}");
    check_equivalent(" { } \r\n");
    check_equivalent(
        "{\"code\":105,\"extFields\":{\"topic\":\"T\"},\"flag\":0,\"language\":\"JAVA\","
        "\"opaque\":0,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}");
    check_equivalent("{\"version\":1,\"opaque\":-5,\"flag\":3,\"code\":-2147483648}");
    check_equivalent("{ \"code\" : 1 , \"extFields\" : { \"a\" : \"b\" , \"c\" : 12 } }\n");
    check_equivalent("{\"extFields\":{\"i\":true,\"d\":false,\"n\":null,\"z\":-9007199254740993}}");
    check_equivalent("{\"extFields\":null,\"remark\":null}");
    check_equivalent("{\"extFields\":{},\"remark\":\"\"}");
    check_equivalent("{\"language\":\"go\"}");
    check_equivalent("{\"language\":9}");
    check_equivalent("{\"language\":\"KLINGON\"}");
    check_equivalent("{\"language\":77}");
    check_equivalent("{\"unknown\":\"x\\\"y\",\"more\":17,\"and\":null,\"code\":3}");
    check_equivalent("{\"remark\":\"line\\nbreak \\\\ \\/ \\u4e2d\\uD83D\\uDE00 中\"}");
    check_equivalent("{\"extFields\":{\"i\":\"KEYS\\u0001k1\\u0002TAGS\\u0001\\\"A\\\"\\u0002\"}}");
    check_equivalent("{\"extFields\":{\"k\\u00e9y\":\"v\"}}");
}

static void escapes_are_resolved_in_place(void **state)
{
    struct command c;
    char *kept;
    (void)state;
    assert_int_equal(
        scan("{\"extFields\":{\"i\":\"K\\u0001v\\u0002\",\"j\":\"\\t\\u00e9\\uD83D\\uDE00\"},"
             "\"remark\":\"a\\/b\"}",
             &kept, &c),
        0);
    assert_slice_equal(command_ext(&c, "i"), "K\1v\2");
    assert_slice_equal(command_ext(&c, "j"), "\té😀");
    assert_slice_equal(c.remark, "a/b");
    free(kept);
}

static void the_last_of_equal_members_counts(void **state)
{
    struct command c;
    char *kept;
    (void)state;
    assert_int_equal(scan("{\"code\":1,\"extFields\":{\"a\":\"\\n\"},\"code\":2,"
                          "\"extFields\":{\"b\":\"1\",\"b\":\"2\"}}", &kept, &c), 0);
    assert_int_equal(c.code, 2);
    assert_slice_equal(command_ext(&c, "b"), "2");
    assert_null(command_ext(&c, "a").p);
    free(kept);
}

static void defaults_are_those_of_java(void **state)
{
    struct command c = {.code = 7, .language = 9, .ext_n = 3};
    char *kept;
    (void)state;
    assert_int_equal(scan("{}", &kept, &c), 0);
    assert_int_equal(c.code, 0);
    assert_int_equal(c.language, LANGUAGE_JAVA);
    assert_int_equal(c.ext_n, 0);
    assert_null(c.remark.p);
    free(kept);
}

/* What the scanner must leave to jansson, byte for byte as it came. */
static void odd_forms_leave_the_text_alone(void **state)
{
    static const char *const odd[] = {"",
                                      "x",
                                      "[]",
                                      "{",
                                      "{\"code\"",
                                      "{\"code\":",
                                      "{\"code\":1",
                                      "{\"code\":1}x",
                                      "{\"code\":\"105\"}",
                                      "{\"code\":1.0}",
                                      "{\"code\":1e3}",
                                      "{\"code\":01}",
                                      "{\"code\":-0}",
                                      "{\"code\":-}",
                                      "{\"code\":2147483648}",
                                      "{\"code\":null}",
                                      "{code:1}",
                                      "{'code':1}",
                                      "{\"a\":{}}",
                                      "{\"a\":[1]}",
                                      "{\"extFields\":{\"a\":\"\\u0001\",\"b\":{}}}",
                                      "{\"extFields\":{\"a\":\"\\u0001\",\"b\":1.5}}",
                                      "{\"extFields\":{\"a\":\"\\uD83D\"}}",
                                      "{\"extFields\":{\"a\":\"\\uDE00\"}}",
                                      "{\"extFields\":{\"a\":\"\\uD83D\\u0041\"}}",
                                      "{\"extFields\":{\"a\":\"\\uD83D\\uE000\"}}",
                                      "{\"extFields\":{\"a\":9999999999999999999}}",
                                      "{\"extFields\":{\"a\":1000000000000000000}}",
                                      "{\"remark\":\"a control byte \x1f within\"}",
                                      "{\"extFields\":{\"a\":\"\\u0000\"}}",
                                      "{\"extFields\":{\"a\":\"\\x\"}}",
                                      "{\"extFields\":{\"a\":\"\\u00g0\"}}",
                                      "{\"extFields\":{\"a\":\"\\n\x01\"}}",
                                      "{\"extFields\":{\"a\":\"\\n\xff\"}}",
                                      "{\"extFields\":{\"a\":\"\\n\",}}",
                                      "{\"extFields\":{\"a\":12345678901234567890}}",
                                      "{\"remark\":12}",
                                      "{\"extFields\":[]}",
                                      "{\"extFields\":{\"a\":\"\\n\"},}",
                                      "{\"language\":null}",
                                      "{\"a\":tru}",
                                      "{\"a\":\"\\"};
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct command c;
        char *kept;
        const int rc = scan(odd[i], &kept, &c);
        if (rc != JSON_HEADER_ODD || memcmp(kept, odd[i], strlen(odd[i])) != 0)
            fail_msg("%s: rc %d, text %s", odd[i], rc,
                     memcmp(kept, odd[i], strlen(odd[i])) ? "changed" : "kept");
        free(kept);
    }
}

static void check_parsed(const char *text, const char *key, const char *want)
{
    struct command c;
    struct buf spill;
    struct err e = {0};
    buf_init(&spill, 0);
    assert_ok(json_header_parse(slice_str(text), &c, &spill, &e), &e);
    assert_int_equal(c.code, 105);
    if (want)
        assert_slice_equal(command_ext(&c, key), want);
    else
        assert_null(command_ext(&c, key).p);
    buf_free(&spill);
}

static void slow_reader_takes_what_java_takes(void **state)
{
    (void)state;
    check_parsed("{\"code\":\"105\",\"extFields\":{\"a\":1.5}}", "a", "1.5");
    check_parsed("{\"code\":105,\"extFields\":{\"a\":0.1,\"b\":1e300}}", "a", "0.1");
    check_parsed("{\"code\":105,\"extFields\":{\"a\":9223372036854775807}}", "a",
                 "9223372036854775807");
    check_parsed("{\"code\":105,\"extFields\":{\"a\":{\"x\":[1,2]}}}", "a", "{\"x\":[1,2]}");
    check_parsed("{\"code\":105,\"extFields\":{\"a\":null,\"b\":\"\"}}", "a", NULL);
    check_parsed("{\"code\":105,\"extFields\":{\"a\":null,\"b\":\"\"}}", "b", "");
    check_parsed("{code:105,extFields:{topic:\"T\"}}", "topic", "T");
    check_parsed("{'code':105,'extFields':{'topic':'it\\'s \"T\"'}}", "topic", "it's \"T\"");
    check_parsed("{\"code\":105,\"deep\":[{\"x\":[[1]]}],\"extFields\":{\"t\":true}}", "t", "true");
    check_parsed("{\"code\":105,\"extFields\":{1:\"x\"}}", "1", "x");
}

static void slow_reader_says_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *part;
        int rc;
    } cases[] = {
        {"", "empty", E_PROTO},
        {"[1]", "not a JSON object", E_PROTO},
        {"{\"code\":[]}", "\"code\" is not an integer", E_PROTO},
        {"{\"code\":1.5}", "\"code\" is not an integer", E_PROTO},
        {"{\"opaque\":\"x\"}", "\"opaque\" is a string that is no number", E_PROTO},
        {"{\"flag\":4294967296}", "\"flag\" is outside", E_PROTO},
        {"{\"extFields\":\"a\"}", "\"extFields\" is not an object", E_PROTO},
        {"{\"code\":1,\n  oops}", "line 2", E_PROTO},
        {"{\"remark\":\"\xff\"}", "decode byte 0xff", E_PROTO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct command c;
        struct buf spill;
        struct err e = {0};
        buf_init(&spill, 0);
        const int rc = json_header_parse(slice_str(cases[i].text), &c, &spill, &e);
        if (rc != cases[i].rc)
            fail_msg("%s: got %s, want %s", cases[i].text, err_name(rc), err_name(cases[i].rc));
        assert_contains(e.text, cases[i].part);
        buf_free(&spill);
    }
}

static void text_with_fields(struct buf *b, int n)
{
    buf_init(b, 0);
    buf_str(b, "{\"extFields\":{");
    for (int i = 0; i < n; i++)
        buf_printf(b, "%s\"k%d\":\"v\"", i ? "," : "", i);
    buf_str(b, "}}");
}

static void the_number_of_fields_is_bounded(void **state)
{
    struct buf b, spill;
    struct command c;
    struct err e = {0};
    size_t odd_at;
    (void)state;
    buf_init(&spill, 0);
    text_with_fields(&b, COMMAND_EXT_MAX);
    assert_int_equal(json_header_scan(b.p, b.n, &c, &odd_at), 0);
    assert_int_equal(c.ext_n, COMMAND_EXT_MAX);
    buf_free(&b);
    text_with_fields(&b, COMMAND_EXT_MAX + 1);
    assert_int_equal(json_header_scan(b.p, b.n, &c, &odd_at), JSON_HEADER_ODD);
    assert_int_equal(json_header_parse(buf_slice(&b), &c, &spill, &e), E_TOOBIG);
    assert_contains(e.text, "65 ext fields");
    buf_free(&b);
    buf_free(&spill);
}

static void languages_are_known_by_name(void **state)
{
    (void)state;
    assert_int_equal(language_of_name(slice_str("JAVA")), LANGUAGE_JAVA);
    assert_int_equal(language_of_name(slice_str("cpp")), LANGUAGE_CPP);
    assert_int_equal(language_of_name(slice_str("Go")), LANGUAGE_GO);
    assert_int_equal(language_of_name(slice_str("NODE_JS")), 13);
    assert_int_equal(language_of_name(slice_str("COBOL")), LANGUAGE_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scanner_and_jansson_agree_on_what_clients_send),
        cmocka_unit_test(escapes_are_resolved_in_place),
        cmocka_unit_test(the_last_of_equal_members_counts),
        cmocka_unit_test(defaults_are_those_of_java),
        cmocka_unit_test(odd_forms_leave_the_text_alone),
        cmocka_unit_test(slow_reader_takes_what_java_takes),
        cmocka_unit_test(slow_reader_says_what_is_wrong),
        cmocka_unit_test(the_number_of_fields_is_bounded),
        cmocka_unit_test(languages_are_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
