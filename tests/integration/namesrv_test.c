/* The program mqnamesrv, started as users start it. */
#include "tests/unit/remoting/fixture.h"

#include <signal.h>
#include <stdio.h>

#include "tests/support/process.h"
#include "tests/support/tmpdir.h"

struct fixture {
    const char *dir;
    char program[512];
    struct process *running[8];
    int running_n;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *bin = getenv("HALFPENNY_BIN");
    snprintf(f->program, sizeof f->program, "%s/mqnamesrv", bin == NULL ? "build/bin" : bin);
    f->dir = tmpdir_new("mqnamesrv");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < f->running_n; i++)
        process_free(f->running[i]);
    tmpdir_remove(f->dir);
    free(f);
    return 0;
}

/* --- small verbs --- */

static const char *write_conf(const struct fixture *f, const char *text)
{
    const char *path = tmpdir_path(f->dir, "ns.conf");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static struct process *start(struct fixture *f, const char *const *args)
{
    const char *argv[8] = {f->program};
    for (int i = 0; args[i] != NULL; i++)
        argv[i + 1] = args[i];
    char name[32];
    snprintf(name, sizeof name, "out-%d", f->running_n);
    const struct process_options o = {.argv = argv, .output = tmpdir_path(f->dir, name), .dir = f->dir};
    struct err e = {0};
    struct process *p = process_start(&o, &e);
    if (p == NULL)
        fail_msg("%s: %s", f->program, e.text);
    f->running[f->running_n++] = p;
    return p;
}

/* Starts with a configuration; returns the port from the boot line. */
static int boot(struct fixture *f, const char *conf, struct process **p)
{
    char line[256];
    *p = start(f, (const char *[]){"-c", write_conf(f, conf), NULL});
    if (!process_wait_line(*p, "The Name Server boot success. serializeType=JSON, address ", DEADLINE_MS, line,
                           sizeof line))
        fail_msg("no boot line; see %s", f->dir);
    const char *colon = strrchr(line, ':');
    assert_non_null(colon);
    int32_t port;
    assert_int_equal(slice_i32(slice_trim(slice_str(colon + 1)), &port), 0);
    return port;
}

static void expect_stop(struct process *p, int signal)
{
    assert_int_equal(process_signal(p, signal), 0);
    assert_int_equal(process_wait(p, DEADLINE_MS), 0);
}

/* Ends by itself with this code, after a line with each of the parts, in this order. */
static void expect_failure(struct process *p, int code, const char *const *parts)
{
    char line[512];
    assert_true(process_wait_line(p, parts[0], DEADLINE_MS, line, sizeof line));
    for (int i = 1; parts[i] != NULL; i++)
        assert_contains(line, parts[i]);
    assert_int_equal(process_wait(p, DEADLINE_MS), code);
}

static void expect_service(int port)
{
    int fd = peer_connect(port);
    peer_request(fd, RC_GET_BROKER_CLUSTER_INFO, 3);
    expect_answer(fd, 3, RESP_SUCCESS);
    close(fd);
}

/* --- tests --- */

static void it_starts_on_a_free_port_serves_and_stops_on_each_signal(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        struct process *p;
        int port = boot(f, "listenPort=0\nbindAddress=127.0.0.1\n", &p);
        int open = peer_connect(port);
        expect_service(port);
        expect_stop(p, signals[i]);
        expect_closed(open);
        close(open);
    }
}

static void several_run_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct process *p[3];
    int ports[3];
    for (int i = 0; i < 3; i++)
        ports[i] = boot(f, "listenPort=0\nbindAddress=127.0.0.1\n", &p[i]);
    for (int i = 0; i < 3; i++)
        expect_service(ports[i]);
    expect_stop(p[1], SIGTERM);
    expect_service(ports[0]);
    expect_service(ports[2]);
    expect_stop(p[0], SIGTERM);
    expect_stop(p[2], SIGTERM);
}

static void a_port_in_use_is_an_error_that_names_it(void **state)
{
    struct fixture *f = *state;
    struct process *p;
    char conf[128], text[32];
    int port = boot(f, "listenPort=0\nbindAddress=127.0.0.1\n", &p);
    snprintf(conf, sizeof conf, "listenPort=%d\nbindAddress=127.0.0.1\n", port);
    snprintf(text, sizeof text, "port %d", port);
    struct process *second = start(f, (const char *[]){"-c", write_conf(f, conf), NULL});
    expect_failure(second, 1, (const char *[]){"in use", text, "127.0.0.1", NULL});
    expect_service(port);
    expect_stop(p, SIGTERM);
}

static void a_bad_configuration_is_an_error_with_file_line_and_key(void **state)
{
    struct fixture *f = *state;
    struct process *p = start(f, (const char *[]){"-c", write_conf(f, "# x\nlistenPort=99999\n"), NULL});
    expect_failure(p, 1, (const char *[]){"ns.conf:2", "listenPort", "65535", NULL});
    p = start(f, (const char *[]){"-c", "/no/such/file.conf", NULL});
    expect_failure(p, 1, (const char *[]){"/no/such/file.conf", NULL});
    p = start(f, (const char *[]){"-c", write_conf(f, "bindAddress=nowhere\n"), NULL});
    expect_failure(p, 1, (const char *[]){"nowhere", "address", NULL});
    p = start(f, (const char *[]){"-c", write_conf(f, "supportActingMaster=true\n"), NULL});
    expect_failure(p, 1, (const char *[]){"supportActingMaster", "ns.conf:1", NULL});
}

static void an_unknown_key_is_noted_and_the_server_starts(void **state)
{
    struct fixture *f = *state;
    struct process *p = start(
        f, (const char *[]){"-c", write_conf(f, "listenPort=0\nbindAdress=127.0.0.1\n"), "-n", "ignored:1", NULL});
    char line[512];
    assert_true(process_wait_line(p, "bindAdress", DEADLINE_MS, line, sizeof line));
    assert_contains(line, "bindAddress");
    assert_true(process_wait_line(p, "boot success", DEADLINE_MS, line, sizeof line));
    expect_stop(p, SIGTERM);
}

static void help_version_and_configuration_are_printed(void **state)
{
    struct fixture *f = *state;
    char line[256];
    struct process *p = start(f, (const char *[]){"--help", NULL});
    assert_true(process_wait_line(p, "usage: mqnamesrv", DEADLINE_MS, line, sizeof line));
    assert_int_equal(process_wait(p, DEADLINE_MS), 0);
    p = start(f, (const char *[]){"--version", NULL});
    assert_true(process_wait_line(p, "mqnamesrv ", DEADLINE_MS, line, sizeof line));
    assert_int_equal(process_wait(p, DEADLINE_MS), 0);
    p = start(f, (const char *[]){"-p", NULL});
    assert_true(process_wait_line(p, "listenPort=9876", DEADLINE_MS, line, sizeof line));
    assert_int_equal(process_wait(p, DEADLINE_MS), 0);
    p = start(f, (const char *[]){"surplus", NULL});
    expect_failure(p, 2, (const char *[]){"surplus", NULL});
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_starts_on_a_free_port_serves_and_stops_on_each_signal),
        TEST(several_run_side_by_side),
        TEST(a_port_in_use_is_an_error_that_names_it),
        TEST(a_bad_configuration_is_an_error_with_file_line_and_key),
        TEST(an_unknown_key_is_noted_and_the_server_starts),
        TEST(help_version_and_configuration_are_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
