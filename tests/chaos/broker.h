#pragma once
/* A real broker process for the chaos programs: its directory, its configuration, its life. */
#include <limits.h>

#include "base/err.h"
#include "proto/message.h"
#include "tests/support/process.h"

struct chaos_broker {
    const char *program, *dir;
    const char *const *env; /* NULL-terminated "NAME=value" added; may be NULL */
    struct process *process;
    struct host host;
    int64_t ready_ms; /* how long the last start took */
};

/* The message goes to stderr with the program's name; exit code 2: the test could not be made. */
_Noreturn void chaos_die(const char *what, const char *detail);
/* Writes DIR/broker.conf: name, ports, DIR/store, what `conf` adds ("key=value\n..."). */
void chaos_broker_conf(const struct chaos_broker *b, const char *conf);
void chaos_broker_launch(struct chaos_broker *b);     /* returns at once */
bool chaos_broker_await(struct chaos_broker *b);      /* its boot line; false: it ended or needs over a minute */
void chaos_broker_start(struct chaos_broker *b);      /* both; dies when it does not get ready */
void chaos_broker_kill(struct chaos_broker *b);       /* SIGKILL */
/* Waits for its end, with SIGKILL after patience_ms. Returns its exit code, or 256 + the signal. */
int chaos_broker_end(struct chaos_broker *b, int64_t patience_ms);
void chaos_broker_stop(struct chaos_broker *b);       /* SIGTERM; dies when that is not an orderly stop */
