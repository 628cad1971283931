/* Starting and stopping the two servers; see mq_process.h. */
#include "tests/support/mq/mq_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { READY_MS = 30000, STOP_MS = 30000 };

static const char *program(const char *name, char *dst, size_t cap)
{
    const char *const bin = getenv("HALFPENNY_BIN");
    snprintf(dst, cap, "%s/%s", bin != NULL ? bin : "build/bin", name);
    return dst;
}

static void write_file(const char *path, const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The last "HOST:PORT" of the boot line. */
static void take_address(struct mq_process *m, const char *part, const char *before, char stop)
{
    char line[1024];
    if (!process_wait_line(m->process, part, READY_MS, line, sizeof line))
        fail_msg("not ready in time; see %s/out", m->dir);
    const char *const at = strstr(line, before);
    assert_non_null(at);
    const char *const from = at + strlen(before);
    const size_t n = strcspn(from, (char[]){stop, ' ', '\n', '\0'});
    assert_true(n < sizeof m->address);
    memcpy(m->address, from, n);
    m->address[n] = '\0';
}

void mq_broker_start(struct mq_process *m, const char *dir, const char *namesrv, const char *conf,
                     const char *env)
{
    char text[8192], path[512];
    snprintf(
        text, sizeof text,
        "brokerName=broker-t\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=0\nstorePathRootDir=%s/store\n"
        "mappedFileSizeCommitLog=16777216\nmappedFileSizeConsumeQueue=60000\n%s%s%s%s",
        dir, namesrv != NULL ? "namesrvAddr=" : "", namesrv != NULL ? namesrv : "",
        namesrv != NULL ? "\n" : "", conf != NULL ? conf : "");
    write_file(tmpdir_path(dir, "broker.conf"), text);
    const char *const argv[] = {program("mqbroker", path, sizeof path), "-c",
                                tmpdir_path(dir, "broker.conf"), NULL};
    const char *const envs[] = {env, NULL};
    const struct process_options o = {
        .argv = argv, .env = env != NULL ? envs : NULL, .output = tmpdir_path(dir, "out")};
    struct err e = {0};
    *m = (struct mq_process){.dir = dir, .process = process_start(&o, &e)};
    if (m->process == NULL)
        fail_msg("%s: %s", path, e.text);
    take_address(m, "boot success", "The broker[broker-t, ", ']');
}

void mq_namesrv_start(struct mq_process *m, const char *dir, const char *conf)
{
    char text[512], path[512];
    snprintf(text, sizeof text, "listenPort=0\nbindAddress=127.0.0.1\n%s", conf != NULL ? conf : "");
    write_file(tmpdir_path(dir, "namesrv.conf"), text);
    const char *const argv[] = {program("mqnamesrv", path, sizeof path), "-c",
                                tmpdir_path(dir, "namesrv.conf"), NULL};
    const struct process_options o = {.argv = argv, .output = tmpdir_path(dir, "namesrv.out")};
    struct err e = {0};
    *m = (struct mq_process){.dir = dir, .process = process_start(&o, &e)};
    if (m->process == NULL)
        fail_msg("%s: %s", path, e.text);
    take_address(m, "boot success", "address ", '\n');
}

void mq_kill(struct mq_process *m)
{
    assert_int_equal(process_signal(m->process, SIGKILL), 0);
    assert_int_equal(process_wait(m->process, STOP_MS), 256 + SIGKILL);
    process_free(m->process);
    m->process = NULL;
}

void mq_stop(struct mq_process *m)
{
    assert_int_equal(process_signal(m->process, SIGTERM), 0);
    assert_int_equal(process_wait(m->process, STOP_MS), 0);
    process_free(m->process);
    m->process = NULL;
}
