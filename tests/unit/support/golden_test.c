/* tests/support/golden.c: the recordings are there, whole, and read as described. */
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "tests/support/golden.h"
#include "tests/support/tmpdir.h"

static void every_recorded_frame_is_whole(void **state)
{
    (void)state;
    struct err e = {0};
    struct golden g;
    assert_ok(golden_load("", &g, &e), &e);
    assert_in_range(g.n, 1000, 10000);
    size_t requests = 0, responses = 0, binary = 0;
    for (size_t i = 0; i < g.n; i++) {
        const struct golden_frame *f = &g.frames[i];
        assert_non_null(f->bytes.p);
        if (strcmp(f->kind, "raw") == 0)
            continue;
        assert_int_equal(be32_get(f->bytes.p) + 4, f->bytes.n); /* with its length word */
        assert_int_equal(f->bytes.p[4], f->binary_header);
        assert_true(*f->from && *f->to);
        requests += strcmp(f->kind, "request") == 0;
        responses += strcmp(f->kind, "response") == 0;
        binary += f->binary_header;
    }
    assert_true(requests > 500 && responses > 500 && binary > 50);
    golden_free(&g);
}

static void a_prefix_picks_conversations(void **state)
{
    (void)state;
    struct err e = {0};
    struct golden g;
    assert_ok(golden_load("go-2.1.2-on-5.5.0-admin", &g, &e), &e);
    const struct golden_frame *f = &g.frames[0];
    assert_string_equal(f->file, "go-2.1.2-on-5.5.0-admin.bin");
    assert_string_equal(f->from, "client");
    assert_string_equal(f->to, "broker-a");
    assert_string_equal(f->kind, "request");
    assert_string_equal(f->name, "UPDATE_AND_CREATE_TOPIC");
    assert_int_equal(f->code, 17);
    assert_int_equal(f->request_code, 17);
    assert_int_equal(f->opaque, 101);
    assert_int_equal(f->bytes.n, 267);
    assert_int_equal(g.frames[1].request_code, 17);
    assert_int_equal(g.frames[1].code, 0);
    assert_string_equal(g.frames[1].remark, "not set any response code");
    golden_free(&g);
    assert_code(golden_load("no-such-recording", &g, &e), E_NOTFOUND, &e);
}

static void other_files_are_read_by_name(void **state)
{
    (void)state;
    struct err e = {0};
    char *text;
    size_t n;
    assert_ok(
        golden_file("bodies/105-GET_ROUTEINFO_BY_TOPIC-response-legacy.5.5.0.json", &text, &n, &e),
        &e);
    assert_contains(text, "{0:\"");
    free(text);
    assert_code(golden_file("bodies/none", &text, &n, &e), E_NOTFOUND, &e);
}

static void an_index_that_points_outside_its_file_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"{\"file\":\"a.bin\",\"offset\":0,\"length\":11}",
                                        "{\"file\":\"a.bin\",\"offset\":8,\"length\":3}",
                                        "{\"file\":\"a.bin\",\"offset\":-1,\"length\":3}",
                                        "{\"file\":\"a.bin\"}"};
    const char *dir = tmpdir_new("golden"), *top = getenv("HALFPENNY_SOURCE");
    char *saved = top ? strdup(top) : NULL;
    const char *frames = tmpdir_path(dir, "tests/golden/frames");
    assert_ok(fs_mkdirs(&fs_real, frames, NULL), NULL);
    assert_ok(fs_write_atomic(&fs_real, tmpdir_path(dir, "tests/golden/frames/a.bin"),
                              SLICE_LIT("0123456789"), NULL), NULL);
    setenv("HALFPENNY_SOURCE", dir, 1);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct err e = {0};
        struct golden g;
        assert_ok(fs_write_atomic(&fs_real, tmpdir_path(dir, "tests/golden/frames/index.jsonl"),
                                  slice_str(lines[i]), NULL), NULL);
        assert_code(golden_load("", &g, &e), E_CORRUPT, &e);
        assert_contains(e.text, "frames/index.jsonl:1: a.bin has no frame");
    }
    if (saved)
        setenv("HALFPENNY_SOURCE", saved, 1);
    else
        unsetenv("HALFPENNY_SOURCE");
    free(saved);
    tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_frame_is_whole),
        cmocka_unit_test(a_prefix_picks_conversations),
        cmocka_unit_test(other_files_are_read_by_name),
        cmocka_unit_test(an_index_that_points_outside_its_file_is_refused),
    };
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
