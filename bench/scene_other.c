/* Route queries to a name server, and the time a program takes to be ready; see scene.h. Runs on the
 * caller's thread.
 *
 * A program's readiness is a text on its stdout, awaited through a pipe, so the figure is from fork to
 * the moment the text can be read. The program is killed and waited for on every way out. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/proc.h"
#include "bench/scene.h"

int scene_route(const struct scene *s, struct err *e)
{
    const struct hdr_get_routeinfo hdr = {.topic = slice_str(s->topic)};
    struct rmq_fixed fixed;
    struct group g = {.driver = &rmq_fixed_driver,
                      .self = &fixed,
                      .host = s->host,
                      .connections = s->connections,
                      .inflight = s->inflight};
    struct window w = {0};
    const struct plan plan = scene_plan(s);
    int rc = rmq_fixed_init(&fixed, RC_GET_ROUTEINFO_BY_TOPIC, &hdr, "brokerAddrs", e);
    if (rc == 0)
        rc = load_run(&g, 1, &plan, &w, e);
    if (rc == 0 && (g.refused > 0 || g.window_units == 0))
        rc = err_set(e, E_REMOTE, "%lld of %lld queries got no route", (long long)g.refused,
                     (long long)g.next_seq);
    if (rc == 0) {
        printf("route %dx%d: %.0f queries/s, p50 %.0f us, p99 %.0f us\n", s->connections,
               s->inflight, (double)g.window_units / w.seconds,
               (double)hist_quantile_ns(&g.hist, 0.5) / 1000,
               (double)hist_quantile_ns(&g.hist, 0.99) / 1000);
        rc = scene_record(s, "rate", (double)g.window_units / w.seconds, e);
    }
    if (rc == 0)
        rc = scene_record_latency(s, &g.hist, e);
    rmq_fixed_free(&fixed);
    load_free(&g, 1);
    return rc;
}

/* Reads what is there. E_AGAIN: the text has not come yet. E_CLOSED: the program ended first. */
static int read_text(int fd, const char *text, struct buf *seen, struct err *e)
{
    char part[4096];
    const ssize_t n = read(fd, part, sizeof part);
    if (n < 0 && errno == EINTR)
        return E_AGAIN;
    if (n <= 0)
        return err_set(e, E_CLOSED, "it ended: " SLICE_FMT, SLICE_ARG(buf_slice(seen)));
    buf_add(seen, part, (size_t)n);
    if (buf_error(seen) != 0)
        return err_set(e, E_TOOBIG, "it says too much");
    return memmem(seen->p, seen->n, text, strlen(text)) != NULL ? 0 : E_AGAIN;
}

static int await_text(int fd, const char *text, int64_t deadline, struct err *e)
{
    struct buf seen;
    int rc = E_AGAIN;
    buf_init(&seen, 1 << 20);
    while (rc == E_AGAIN) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int64_t left = deadline - clock_mono(&clock_system);
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            rc = err_set(e, E_TIMEOUT, "it did not say \"%s\"", text);
        else
            rc = read_text(fd, text, &seen, e);
    }
    buf_free(&seen);
    return rc;
}

static pid_t spawn(char **command, int out)
{
    const pid_t pid = fork();
    if (pid != 0)
        return pid;
    dup2(out, STDOUT_FILENO);
    execvp(command[0], command);
    fprintf(stderr, "mqload: %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

int scene_start(const struct scene *s, struct err *e)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return err_sys(e, errno, "pipe");
    const int64_t begin = clock_mono_ns(&clock_system);
    const pid_t pid = spawn(s->command, pipes[1]);
    close(pipes[1]);
    int rc = pid < 0 ? err_sys(e, errno, "fork")
                     : await_text(pipes[0], s->ready,
                                  clock_mono(&clock_system) + s->seconds_max * 1000, e);
    const double ms = (double)(clock_mono_ns(&clock_system) - begin) / 1e6;
    const double mb = pid > 0 ? (double)proc_status_kib(pid, "VmRSS") / 1024 : 0;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    close(pipes[0]);
    if (rc == 0) {
        printf("ready in %.1f ms, %.1f MB resident\n", ms, mb);
        rc = scene_record(s, "ready_ms", ms, e);
    }
    return rc == 0 ? scene_record(s, "rss_mb", mb, e) : rc;
}
