/* A real broker process; see broker.h. Runs on the program's one thread.
 *
 * Each start writes to DIR/out; what the starts before wrote is kept as DIR/out.1 (the last one) to
 * DIR/out.5: a finding may be three starts old. */
#include "tests/chaos/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { READY_MS = 60000, OUTPUTS_KEPT = 5 };

_Noreturn void chaos_die(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, detail);
    exit(2);
}

static void path_of(const struct chaos_broker *b, const char *name, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%s", b->dir, name) >= PATH_MAX)
        chaos_die(b->dir, "the path is too long");
}

void chaos_broker_conf(const struct chaos_broker *b, const char *conf)
{
    char path[PATH_MAX];
    path_of(b, "broker.conf", path);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        chaos_die(path, strerror(errno));
    fprintf(f, "brokerName=chaos\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=0\n"
            "storePathRootDir=%s/store\n%s", b->dir, conf);
    if (fclose(f) != 0)
        chaos_die(path, strerror(errno));
}

static void output_path(const struct chaos_broker *b, int i, char out[PATH_MAX])
{
    char name[16] = "out";
    if (i > 0)
        snprintf(name, sizeof name, "out.%d", i);
    path_of(b, name, out);
}

static void keep_outputs(const struct chaos_broker *b)
{
    for (int i = OUTPUTS_KEPT; i-- > 0;) {
        char from[PATH_MAX], to[PATH_MAX];
        output_path(b, i, from);
        output_path(b, i + 1, to);
        if (rename(from, to) != 0 && errno != ENOENT)
            chaos_die(from, strerror(errno));
    }
}

void chaos_broker_launch(struct chaos_broker *b)
{
    char conf[PATH_MAX], out[PATH_MAX];
    path_of(b, "broker.conf", conf);
    output_path(b, 0, out);
    keep_outputs(b);
    const char *const argv[] = {b->program, "-c", conf, NULL};
    const struct process_options o = {.argv = argv, .env = b->env, .output = out};
    struct err e;
    b->process = process_start(&o, &e);
    if (b->process == NULL)
        chaos_die(b->program, e.text);
}

bool chaos_broker_await(struct chaos_broker *b)
{
    char line[1024];
    const int64_t began = clock_mono(&clock_system);
    if (!process_wait_line(b->process, "boot success", READY_MS, line, sizeof line))
        return false;
    b->ready_ms = clock_mono(&clock_system) - began;
    const char *at = strstr(line, "The broker["), *comma = at ? strstr(at, ", ") : NULL;
    const char *end = comma ? strchr(comma, ']') : NULL;
    if (end == NULL || host_parse(slice_of(comma + 2, (size_t)(end - comma - 2)), &b->host) != 0)
        chaos_die("the boot line names no address", line);
    return true;
}

void chaos_broker_start(struct chaos_broker *b)
{
    chaos_broker_launch(b);
    if (!chaos_broker_await(b))
        chaos_die(b->dir, "the broker did not get ready; see the file out there");
}

int chaos_broker_end(struct chaos_broker *b, int64_t patience_ms)
{
    int code = process_wait(b->process, patience_ms);
    if (code < 0) {
        (void)process_signal(b->process, SIGKILL);
        code = process_wait(b->process, READY_MS);
    }
    if (code < 0)
        chaos_die("broker", "it does not end after SIGKILL");
    process_free(b->process);
    b->process = NULL;
    return code;
}

void chaos_broker_kill(struct chaos_broker *b)
{
    (void)process_signal(b->process, SIGKILL);
    chaos_broker_end(b, READY_MS);
}

void chaos_broker_stop(struct chaos_broker *b)
{
    (void)process_signal(b->process, SIGTERM);
    const int code = chaos_broker_end(b, READY_MS);
    char text[32];
    snprintf(text, sizeof text, "exit code %d", code);
    if (code != 0)
        chaos_die("the broker did not stop in order", text);
}
