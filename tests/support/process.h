#pragma once
/* Programs under test: started with arguments and environment, their output in a file, never left
 * behind. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct process; /* opaque */

struct process_options {
    const char *const *argv;  /* NULL-terminated; argv[0] is the program, looked up in PATH */
    const char *const *env;   /* NULL-terminated "NAME=value" added to this program's environment; may be NULL */
    const char *output;       /* file for stdout and stderr, appended to */
    const char *dir;          /* working directory; NULL = this one */
};

/* Starts the program in a process group of its own. It dies with the thread that started it. */
struct process *process_start(const struct process_options *o, struct err *e);
pid_t process_pid(const struct process *p);
bool process_running(struct process *p);
/* Waits for a line that contains part, written since the last line found this way; false when
 * deadline_ms passed or the program ended without it. line (may be NULL) receives it, cut to cap.
 * */
bool process_wait_line(struct process *p, const char *part, int64_t deadline_ms, char *line, size_t cap);
/* The next wait begins at this program's first line: for what it may have written before a line that was
 * already waited for. */
void process_rewind(struct process *p);
int process_signal(struct process *p, int signal); /* the program itself; E_NOTFOUND when it has ended */
/* Waits for the end: exit code 0..255, 256 + signal, or E_TIMEOUT. May be called again. */
int process_wait(struct process *p, int64_t deadline_ms);
/* Kills what still runs of the group, and frees. NULL is allowed. */
void process_free(struct process *p);
