/* Programs under test.
 *
 * Owns: the child process, its process group and the reading position in its output file.
 * Runs on: the test's thread; a struct process belongs to one thread.
 *
 * Happy path: process_start forks, the child joins a new process group, points stdout and stderr at
 * the file and execs; a failed exec comes back through a close-on-exec pipe as an error of
 * process_start. Then wait for a line ("ready"), talk to it, signal it, wait for its end.
 *
 * Failure modes: the test fails or is killed while programs run. Four nets: process_free in a
 * teardown, an atexit handler for what was not freed, the parent-death signal for a test that is
 * killed, and SIGKILL to the whole group for children of children.
 *
 * Invariants: 1. a child is reaped exactly once, its status is kept; 2. lines are found in file
 * order and only when they are complete. */
#include "tests/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "tests/support/wait.h"

struct process {
    struct list link;
    pid_t pid;
    bool ended;
    int status; /* of waitpid, when ended */
    int output_fd;
    off_t output_from;  /* where this program's output begins in the file */
    struct buf pending; /* read from the file, not yet searched through */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list processes = {&processes, &processes};

static void kill_all(void)
{
    LIST_FOREACH(l, &processes) {
        struct process *p = LIST_ENTRY(l, struct process, link);
        kill(-p->pid, SIGKILL);
    }
}

/* In the child. Whatever fails is written to the pipe as an errno. */
static _Noreturn void run_child(const struct process_options *o, int output, int report,
                                pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (const char *const *v = o->env; v && *v; v++)
        putenv((char *)(uintptr_t)*v);
    if ((!o->dir || chdir(o->dir) == 0) && dup2(output, 1) == 1 && dup2(output, 2) == 2)
        execvp(o->argv[0], (char *const *)(uintptr_t)o->argv);
    int why = errno;
    if (write(report, &why, sizeof why) < 0)
        _exit(126);
    _exit(127);
}

/* The errno of a failed exec, 0 when it went well (the pipe was closed by exec). */
static int exec_result(int report)
{
    int why = 0;
    ssize_t n;
    do
        n = read(report, &why, sizeof why);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof why ? why : 0;
}

static int start(struct process *p, const struct process_options *o, struct err *e)
{
    int output = open(o->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), report[2];
    p->output_fd = open(o->output, O_RDONLY | O_CLOEXEC);
    if (output < 0 || p->output_fd < 0)
        return err_sys(e, errno, "open %s", o->output);
    p->output_from = lseek(p->output_fd, 0, SEEK_END);
    if (pipe2(report, O_CLOEXEC))
        return err_sys(e, errno, "pipe");
    pid_t parent = getpid();
    p->pid = fork();
    if (p->pid == 0)
        run_child(o, output, report[1], parent);
    int why = p->pid < 0 ? errno : 0;
    close(output);
    close(report[1]);
    if (!why)
        why = exec_result(report[0]);
    close(report[0]);
    return why ? err_sys(e, why, "start %s", o->argv[0]) : 0;
}

struct process *process_start(const struct process_options *o, struct err *e)
{
    static bool registered;
    struct process *p = calloc(1, sizeof *p);
    MQ_ASSERT(p);
    buf_init(&p->pending, 0);
    p->output_fd = -1;
    list_init(&p->link);
    if (start(p, o, e)) {
        process_free(p);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    list_push_back(&processes, &p->link);
    if (!registered)
        registered = atexit(kill_all) == 0;
    pthread_mutex_unlock(&lock);
    return p;
}

pid_t process_pid(const struct process *p)
{
    return p->pid;
}

static bool has_ended(void *arg)
{
    struct process *p = arg;
    if (!p->ended)
        p->ended = waitpid(p->pid, &p->status, WNOHANG) == p->pid;
    return p->ended;
}

bool process_running(struct process *p)
{
    return !has_ended(p);
}

struct line_wait {
    struct process *p;
    const char *part;
    char *line;
    size_t cap;
    bool found;
};

static void read_more(struct process *p)
{
    for (;;) {
        char *dst = buf_extend(&p->pending, 4096);
        MQ_ASSERT(dst);
        ssize_t n = read(p->output_fd, dst, 4096);
        p->pending.n -= 4096 - (n > 0 ? (size_t)n : 0);
        if (n <= 0)
            return;
    }
}

/* Consumes complete lines up to the one wanted. */
static bool search(struct line_wait *w)
{
    struct process *p = w->p;
    size_t at = 0;
    for (const char *end; !w->found && p->pending.n > at &&
                          (end = memchr(p->pending.p + at, '\n', p->pending.n - at));) {
        const char *begin = p->pending.p + at;
        size_t n = (size_t)(end - begin);
        at += n + 1;
        if (!memmem(begin, n, w->part, strlen(w->part)))
            continue;
        w->found = true;
        if (w->line)
            slice_copy(slice_of(begin, n < w->cap ? n : w->cap - 1), w->line, w->cap);
    }
    buf_consume(&p->pending, at);
    return w->found;
}

static bool line_or_end(void *arg)
{
    struct line_wait *w = arg;
    bool ended =
        has_ended(w->p); /* asked first: what it wrote before its end is then in the file */
    read_more(w->p);
    return search(w) || ended;
}

bool process_wait_line(struct process *p, const char *part, int64_t deadline_ms, char *line,
                       size_t cap)
{
    struct line_wait w = {.p = p, .part = part, .line = cap ? line : NULL, .cap = cap};
    wait_until(line_or_end, &w, deadline_ms);
    return w.found;
}

void process_rewind(struct process *p)
{
    buf_clear(&p->pending);
    lseek(p->output_fd, p->output_from, SEEK_SET);
}

int process_signal(struct process *p, int signal)
{
    if (has_ended(p))
        return E_NOTFOUND;
    return kill(p->pid, signal) == 0 ? 0 : E_NOTFOUND;
}

int process_wait(struct process *p, int64_t deadline_ms)
{
    if (!wait_until(has_ended, p, deadline_ms))
        return E_TIMEOUT;
    return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 256 + WTERMSIG(p->status);
}

void process_free(struct process *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&lock);
    list_remove(&p->link);
    pthread_mutex_unlock(&lock);
    if (p->pid > 0) {
        kill(-p->pid, SIGKILL);
        if (!p->ended)
            waitpid(p->pid, NULL, 0);
    }
    if (p->output_fd >= 0)
        close(p->output_fd);
    buf_free(&p->pending);
    free(p);
}
