#include "apps/common/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

static const struct app_option options[] = {
    {"config", APP_TEXT, "", 0, 500, "file", false},
    {"pool", APP_INT, "8", 1, 256, "connections", false},
    {"color-name", APP_TEXT, "red", 1, 10, "a color", false},
    {"loud", APP_FLAG, "false", 0, 0, "be loud", false},
    {0}};

static int read_settings(struct app **a, struct app_error *e, const char *one, const char *two)
{
    char *argv[] = {(char *)"prog", (char *)one, (char *)two, NULL};
    const struct app_option *const tables[] = {options};
    return app_settings(tables, 1, one ? (two ? 3 : 2) : 1, argv, NULL, a, e);
}

static const char *write_config(const char *text)
{
    const char *path = tmpdir_path(tmpdir_new("settings"), "shop.conf");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void the_stronger_source_wins(void **state)
{
    (void)state;
    struct app *a;
    struct app_error e;
    assert_int_equal(read_settings(&a, &e, NULL, NULL), APP_OK);
    assert_int_equal(app_int(a, "pool"), 8);
    app_settings_free(a);

    const char *path = write_config("# a comment\n\n pool = 9 \ncolor-name=blue\nloud=true\n");
    assert_int_equal(read_settings(&a, &e, "--config", path), APP_OK);
    assert_int_equal(app_int(a, "pool"), 9);
    assert_string_equal(app_text(a, "color-name"), "blue");
    assert_true(app_flag(a, "loud"));
    app_settings_free(a);

    setenv("SHOP_COLOR_NAME", "green", 1);
    setenv("SHOP_CONFIG", path, 1);
    assert_int_equal(read_settings(&a, &e, "--pool=10", NULL), APP_OK);
    assert_int_equal(app_int(a, "pool"), 10);
    assert_string_equal(app_text(a, "color-name"), "green");
    app_settings_free(a);
    unsetenv("SHOP_COLOR_NAME");
    unsetenv("SHOP_CONFIG");
}

static void refused(const char *one, const char *two, const char *complaint)
{
    struct app *a;
    struct app_error e = {.text = ""};
    const int rc = read_settings(&a, &e, one, two);
    if (rc != APP_E_CONFIG || !strstr(e.text, complaint))
        fail_msg("%s %s: %d \"%s\", expected \"%s\"", one, two ? two : "", rc, e.text, complaint);
}

static void wrong_settings_name_place_key_and_bounds(void **state)
{
    (void)state;
    refused("--pool", "0", "command line: pool: 0 is not within 1 and 256");
    refused("--pool", "257", "257 is not within");
    refused("--pool", "9x", "\"9x\" is not a whole number");
    refused("--pool", "99999999999999999999", "is not a whole number");
    refused("--pool", NULL, "--pool needs a value");
    refused("--poool", "9", "no option is called --poool");
    refused("stray", NULL, "unexpected argument \"stray\"");
    refused("--loud=maybe", NULL, "neither true nor false");
    refused("--color-name=", NULL, "0 bytes long");
    refused("--config", "/nonexistent/x", "/nonexistent/x: No such file");
    refused("--config", write_config("pool=9\ncolour=red\n"),
            "shop.conf:2: no setting is called \"colour\"");
    refused("--config", write_config("\n\npool 9\n"), "shop.conf:3: expected key=value");
    refused("--config", write_config("pool=1000\n"),
            "shop.conf:1: pool: 1000 is not within 1 and 256");
}

static void help_is_noticed(void **state)
{
    (void)state;
    struct app *a;
    struct app_error e;
    assert_int_equal(read_settings(&a, &e, "-h", NULL), APP_OK);
    assert_true(app_wants_help(a));
    app_settings_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stronger_source_wins),
        cmocka_unit_test(wrong_settings_name_place_key_and_bounds),
        cmocka_unit_test(help_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
