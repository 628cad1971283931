/* The program mqstore: exit codes and output on stores recorded from Apache RocketMQ 4.9.7 and 5.5.0
 * (tests/golden/stores), stopped and killed, on a store of this broker, and on wrong command lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "tests/support/process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { ARGS_MAX = 12 };

struct ran {
    int code;
    char *text; /* stdout and stderr */
};

static char *join(const char *a, const char *b)
{
    char *const p = malloc(strlen(a) + strlen(b) + 1);
    assert_non_null(p);
    memcpy(p, a, strlen(a));
    memcpy(p + strlen(a), b, strlen(b) + 1);
    return p;
}

static int run_program(const char *const *argv, const char *output)
{
    struct err e = {0};
    struct process *const p = process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (!p)
        fail_msg("%s: %s", argv[0], e.text);
    const int code = process_wait(p, 60000);
    process_free(p);
    return code;
}

/* mqstore with the arguments up to NULL. */
static struct ran mqstore(const char *dir, const char *const *args)
{
    static int n;
    const char *const bin = getenv("HALFPENNY_BIN");
    const char *argv[ARGS_MAX + 2] = {NULL};
    char name[32];
    struct ran r;
    size_t size;
    struct err e = {0};
    char *const program = join(bin ? bin : "build/dev/bin", "/mqstore");
    argv[0] = program;
    for (size_t i = 0; args[i]; i++) {
        assert_true(i < ARGS_MAX);
        argv[i + 1] = args[i];
    }
    snprintf(name, sizeof name, "/out-%d", n++);
    char *const output = join(dir, name);
    r.code = run_program(argv, output);
    assert_ok(fs_read_all(&fs_real, output, 64 << 20, &r.text, &size, &e), &e);
    free(output);
    free(program);
    return r;
}
#define MQSTORE(dir, ...) mqstore(dir, (const char *const[]){__VA_ARGS__, NULL})

static void expect(struct ran r, int code, const char *part)
{
    if (r.code != code || !strstr(r.text, part))
        fail_msg("exit code %d, expected %d with \"%s\":\n%s", r.code, code, part, r.text);
    free(r.text);
}

struct store {
    const char *dir;
    char *root;
};

static struct store extract(const char *name)
{
    const char *const source = getenv("HALFPENNY_SOURCE");
    char archive[600];
    struct store s = {.dir = tmpdir_new("mqstore")};
    snprintf(archive, sizeof archive, "%s/tests/golden/stores/%s.tar.zst", source ? source : ".", name);
    const char *const argv[] = {"tar", "--zstd", "-xf", archive, "-C", s.dir, NULL};
    assert_int_equal(run_program(argv, tmpdir_path(s.dir, "tar")), 0);
    s.root = join(s.dir, "/store");
    return s;
}

static void done(struct store *s)
{
    free(s->root);
    tmpdir_remove(s->dir);
}

static int64_t kind(const json_t *report, const char *name)
{
    return json_get_i64(json_object_get(report, "kinds"), name, 0);
}

/* A store as the real broker left it: no damage; killed ones with the notes that its ways explain. */
static void verify_recorded(const char *name, bool orderly, int64_t records, int64_t units, int64_t notes)
{
    struct store s = extract(name);
    struct ran r = MQSTORE(s.dir, "verify", "--json", s.root);
    json_t *j;
    struct err e = {0};
    if (r.code)
        fail_msg("%s: exit code %d\n%s", name, r.code, r.text);
    assert_ok(json_parse(slice_str(r.text), &j, &e), &e);
    assert_true(json_get_bool(j, "ok", false));
    assert_int_equal(json_get_bool(j, "orderlyStop", !orderly), orderly);
    assert_int_equal(json_get_i64(json_object_get(j, "commitLog"), "records", 0), records);
    assert_int_equal(json_get_i64(json_object_get(j, "consumeQueues"), "units", 0), units);
    assert_int_equal(json_get_i64(j, "notes", -1), notes);
    if (!orderly) {
        assert_int_equal(kind(j, "index-not-synced"), 1);
        assert_int_equal(kind(j, "index-behind"), 1);
    }
    json_decref(j);
    free(r.text);
    expect(MQSTORE(s.dir, "repair", "--yes", s.root), 0, "nothing to repair");
    done(&s);
}

static void recorded_stores_have_no_damage(void **state)
{
    (void)state;
    verify_recorded("4.9.7/clean", true, 264, 264, 0);
    verify_recorded("4.9.7/killed", false, 264, 264, 2);
    verify_recorded("5.5.0/clean", true, 308, 307, 0);
    verify_recorded("5.5.0/killed", false, 305, 304, 3);
}

static void write_at(const char *root, const char *name, int64_t at, const char *bytes)
{
    char *const path = join(root, name);
    struct fs_file *f;
    struct err e = {0};
    assert_ok(fs_real.open(&fs_real, path, FS_WRITE, &f, &e), &e);
    assert_ok(fs_write(f, &fs_real, bytes, strlen(bytes), at, &e), &e);
    fs_real.close(f);
    free(path);
}

static void a_recorded_store_that_is_damaged_is_repaired(void **state)
{
    (void)state;
    struct store s = extract("5.5.0/clean");
    write_at(s.root, "/commitlog/00000000000000000000", 100000, "damage");
    write_at(s.root, "/consumequeue/g5_plain/0/00000000000000000000", 4, "x");
    expect(MQSTORE(s.dir, "verify", s.root), 1, "log-damaged");
    expect(MQSTORE(s.dir, "repair", s.root), 1, "--yes does it");
    expect(MQSTORE(s.dir, "repair", "--keep-behind", "--yes", s.root), 0, "no damage");
    expect(MQSTORE(s.dir, "verify", s.root), 0, "no damage");
    expect(MQSTORE(s.dir, "dump", "--topic", "HALFPENNY_REPAIR", "--json", s.root), 0, "\"topic\":\"HALFPENNY_REPAIR\"");
    expect(MQSTORE(s.dir, "dump", "queue", "--topic", "g5_plain", "--queue", "0", s.root), 0, "QUEUE OFFSET");
    expect(MQSTORE(s.dir, "dump", "index", "--limit", "3", s.root), 0, "next entry");
    expect(MQSTORE(s.dir, "dump", "checkpoint", s.root), 0, "checkpoint");
    done(&s);
}

static void wrong_command_lines_are_refused(void **state)
{
    (void)state;
    const char *const dir = tmpdir_new("mqstore");
    expect(MQSTORE(dir, "--help"), 0, "usage: mqstore verify");
    expect(MQSTORE(dir, "--version"), 0, "mqstore (Halfpenny)");
    expect(MQSTORE(dir, "verify", "--help"), 0, "--problems N");
    expect(MQSTORE(dir, "dump", "--help"), 0, "--limit N");
    expect(MQSTORE(dir, "repair", "--help"), 0, "--keep-behind");
    expect(MQSTORE(dir, "mend", dir), 2, "there is no command \"mend\"");
    expect(MQSTORE(dir, "verify"), 2, "storePathRootDir");
    expect(MQSTORE(dir, "verify", "--yes", dir), 2, "there is no such option: \"--yes\"");
    expect(MQSTORE(dir, "verify", "--problems", "many", dir), 2, "--problems cannot be \"many\"");
    expect(MQSTORE(dir, "dump", "--limit"), 2, "needs a value");
    expect(MQSTORE(dir, "dump", dir, dir), 2, "one directory at a time");
    expect(MQSTORE(dir, "repair", "--delay-levels", "1s 5", dir), 2, "--delay-levels cannot be");
    expect(MQSTORE(dir, "verify", dir), 2, "holds no store");
    expect(MQSTORE(dir, "verify", "/nowhere-at-all"), 2, "there is no such directory");
    tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_stores_have_no_damage),
        cmocka_unit_test(a_recorded_store_that_is_damaged_is_repaired),
        cmocka_unit_test(wrong_command_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
