/* crash_loop: kill -9 under load, again and again, and count what was lost.
 *
 *   crash_loop [-n CYCLES] [-t THREADS] [-m sync|async|both] [-s SEED] [-d DIR] [-k]
 *
 * Owns: a store directory, a child process per cycle, the model of everything acknowledged so far.
 *
 * A cycle: fork; the child opens the store and appends from THREADS threads as fast as it can, each
 * with a port of its own; before a message is handed to the store its writer tells the parent through
 * a pipe ("sent"), after STORE_OK once more ("acked"). After a random 5 to 250 ms the parent kills
 * the child with SIGKILL, reads the pipe to its end, opens the store itself and compares every queue
 * with the model (tests/support/store_check.h): acknowledged implies readable at the same place,
 * nothing that nobody sent, dense queue offsets, order per writer. Every third cycle stops in the
 * middle of recovery: a child is killed while it opens. The store grows through all cycles.
 *
 * Killing the process leaves the page cache, so both flush modes must lose nothing. Power cuts are
 * the business of tests/unit/store/recover_test.c on a simulated disk.
 *
 * Pipe records are smaller than PIPE_BUF, so writes of several threads do not mix; a record that the
 * kill cut off is impossible for the same reason.
 *
 * Exit code 0: nothing lost, nothing invented. The last line has the counts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/support/store_check.h"

enum { QUEUES = 4, BURST_MAX = 16, THREADS_MAX = CHECK_WRITERS_MAX };
static const char *const topics[] = {"CrashA", "CrashB", "CrashC"};

struct note { /* what a child tells through the pipe */
    uint32_t writer, seq;
    int32_t acked, queue_id;
    int64_t queue_offset, phys_offset;
};
_Static_assert(sizeof(struct note) <= PIPE_BUF, "notes are written atomically");

struct options {
    int cycles, threads;
    bool sync, async, keep;
    uint64_t seed;
    const char *dir;
};

struct run {
    const struct options *o;
    enum flush_mode mode;
    char dir[PATH_MAX];
    struct store_check check;
    struct rng rng;
    int64_t acked, lost, invented, wrong;
    int killed_in_recovery;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("crash_loop: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

static struct store *open_store(const struct run *r, struct store_recovery *found)
{
    struct store_opts o;
    struct store *st;
    struct err e;
    store_opts_defaults(&o);
    o.root_dir = r->dir;
    o.commitlog_file_size = 1 << 20;
    o.cq_file_size = 20 * 500;
    o.flush_mode = r->mode;
    o.flush_interval_ms = 20;
    o.cq_flush_interval_ms = 20;
    if (store_open(&st, &o, found, &e))
        die("%s", e.text);
    return st;
}

/* ---- child ---- */

struct writer {
    struct store *st;
    uint32_t id, seq;
    int pipe;
    struct rng rng;
};

struct op {
    struct append a;
    struct buf records;
    struct writer *w;
    uint32_t seq;
};

static void tell(const struct writer *w, const struct note *n)
{
    if (write(w->pipe, n, sizeof *n) != (ssize_t)sizeof *n)
        _exit(3); /* the parent is gone */
}

static void op_done(struct append *a)
{
    struct op *op = LIST_ENTRY(a, struct op, a);
    if (a->status == STORE_OK)
        tell(op->w, &(struct note){op->w->id, op->seq, true, a->queue_id, a->queue_offset,
                                   a->phys_offset});
}

static void burst(struct writer *w, struct store_port *port, struct op *ops, int n)
{
    for (int i = 0; i < n; i++) {
        const struct slice topic =
            slice_str(topics[rng_below(&w->rng, sizeof topics / sizeof *topics)]);
        const int32_t queue_id = (int32_t)rng_below(&w->rng, QUEUES);
        const size_t body =
            CHECK_BODY_MIN + (size_t)rng_below(&w->rng, rng_below(&w->rng, 20) ? 500 : 60000);
        ops[i] = (struct op){.w = w, .seq = w->seq++};
        buf_init(&ops[i].records, 0);
        check_record(&ops[i].records, topic, queue_id, w->id, ops[i].seq, body, NULL);
        tell(w, &(struct note){.writer = w->id, .seq = ops[i].seq});
        ops[i].a = (struct append){.records = ops[i].records.p,
                                   .size = ops[i].records.n,
                                   .record_n = 1,
                                   .topic = topic,
                                   .queue_id = queue_id,
                                   .done = op_done};
        store_append(port, &ops[i].a);
    }
    store_port_submit(port);
    while (port->inflight)
        store_port_drain(port, 1000);
    for (int i = 0; i < n; i++)
        buf_free(&ops[i].records);
}

static void write_on(void *arg)
{
    struct writer *w = arg;
    struct store_port port;
    struct op ops[BURST_MAX];
    if (store_port_open(&port, w->st, NULL, NULL))
        _exit(4);
    for (;;)
        burst(w, &port, ops, 1 + (int)rng_below(&w->rng, BURST_MAX));
}

__attribute__((noreturn)) static void run_child(struct run *r, int pipe_end)
{
    static struct writer writers[THREADS_MAX];
    struct store *st = open_store(r, NULL);
    if (pipe_end >= 0 && write(pipe_end, &(struct note){.acked = -1}, sizeof(struct note)) < 0)
        _exit(3);
    uv_thread_t threads[THREADS_MAX];
    for (int i = 0; i < r->o->threads; i++) {
        writers[i] = (struct writer){
            .st = st, .id = (uint32_t)i, .pipe = pipe_end, .seq = (uint32_t)r->check.writers[i].n};
        rng_seed(&writers[i].rng, rng_u64(&r->rng));
        if (uv_thread_create(&threads[i], write_on, &writers[i]))
            _exit(4);
    }
    for (;;)
        pause();
}

/* ---- parent ---- */

static void take_note(struct run *r, const struct note *n)
{
    if (n->acked < 0)
        return;
    if (n->acked) {
        store_check_acked(&r->check, n->writer, n->seq, n->queue_id, n->queue_offset,
                          n->phys_offset);
        r->acked++;
    } else {
        store_check_sent(&r->check, n->writer, n->seq);
    }
}

static bool read_note(struct run *r, int fd)
{
    struct note n;
    ssize_t got;
    do
        got = read(fd, &n, sizeof n);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof n)
        take_note(r, &n);
    else if (got)
        die("a note of %zd bytes: %s", got, got < 0 ? strerror(errno) : "cut off");
    return got > 0;
}

struct killer {
    pid_t pid;
    int64_t delay_us;
};

static void kill_later(void *arg)
{
    const struct killer *k = arg;
    usleep((useconds_t)k->delay_us);
    kill(k->pid, SIGKILL);
}

static void reap(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        die("wait: %s", strerror(errno));
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("the child ended by itself (status %d)", status);
}

static void kill_under_load(struct run *r)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        die("pipe: %s", strerror(errno));
    const int64_t delay_us = 5000 + (int64_t)rng_below(&r->rng, 245000);
    const uint64_t child_seed = rng_u64(&r->rng);
    const pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (!pid) {
        close(fds[0]);
        rng_seed(&r->rng, child_seed);
        run_child(r, fds[1]);
    }
    close(fds[1]);
    struct killer k = {pid, delay_us};
    uv_thread_t thread;
    if (!read_note(r, fds[0])) /* it is open and begins to write */
        die("the child could not open the store");
    if (uv_thread_create(&thread, kill_later, &k))
        die("cannot create a thread");
    while (read_note(r, fds[0])) {
    }
    uv_thread_join(&thread);
    reap(pid);
    close(fds[0]);
}

static void kill_in_recovery(struct run *r)
{
    const int64_t delay_us = (int64_t)rng_below(&r->rng, 8000);
    const pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (!pid) {
        open_store(r, NULL);
        for (;;)
            pause();
    }
    kill_later(&(struct killer){pid, delay_us});
    reap(pid);
    r->killed_in_recovery++;
}

/* The first finding ends the run, and the directory stays for whoever looks into it. */
static bool check(struct run *r, int cycle)
{
    struct store_recovery found;
    struct store_check_result result;
    struct store *st = open_store(r, &found);
    const bool right = store_check_run(&r->check, st, &result);
    if (!right) {
        fprintf(stderr, "crash_loop: cycle %d: %s\n", cycle, result.first);
        r->lost += result.lost;
        r->invented += result.invented;
        r->wrong += result.duplicates + result.gaps + result.disorder + result.damaged;
    }
    struct err e;
    if (store_close(st, &e))
        die("%s", e.text);
    return right;
}

static bool run_mode(const struct options *o, enum flush_mode mode)
{
    static struct run r;
    r = (struct run){.o = o, .mode = mode};
    const char *name = mode == FLUSH_SYNC ? "sync" : "async";
    rng_seed(&r.rng, o->seed + (uint64_t)mode);
    snprintf(r.dir, sizeof r.dir, "%s/crash-loop-%s-%ld", o->dir, name, (long)getpid());
    int cycle = 0;
    for (bool right = true; cycle < o->cycles && right; cycle++) {
        kill_under_load(&r);
        if (cycle % 4 ==
            3) /* a crash on top of a recovered crash, without an orderly stop between */
            kill_under_load(&r);
        if (cycle % 3 == 2)
            kill_in_recovery(&r);
        right = check(&r, cycle);
    }
    const bool right = r.acked && !r.lost && !r.invented && !r.wrong;
    struct err e;
    if (o->keep || !right)
        printf("crash_loop: kept %s\n", r.dir);
    else if (fs_remove_tree(&fs_real, r.dir, &e))
        die("%s", e.text);
    store_check_free(&r.check);
    printf(
        "crash_loop: mode=%s cycles=%d killedInRecovery=%d acked=%lld lost=%lld invented=%lld wrong=%lld\n",
        name, cycle, r.killed_in_recovery, (long long)r.acked, (long long)r.lost,
        (long long)r.invented, (long long)r.wrong);
    return right;
}

static int number(const char *text, int min, int max)
{
    int32_t v;
    if (slice_i32(slice_str(text), &v) || v < min || v > max)
        die("%s is not a number from %d to %d", text, min, max);
    return v;
}

static void parse_mode(struct options *o, const char *text)
{
    o->sync = !strcmp(text, "sync") || !strcmp(text, "both");
    o->async = !strcmp(text, "async") || !strcmp(text, "both");
    if (!o->sync && !o->async)
        die("-m %s: one of sync, async, both", text);
}

int main(int argc, char **argv)
{
    struct options o = {.cycles = 50,
                        .threads = 4,
                        .sync = true,
                        .async = true,
                        .seed = rng_seed_from_os() >> 1,
                        .dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"};
    for (int c; (c = getopt(argc, argv, "n:t:m:s:d:k")) != -1;) {
        int64_t seed;
        switch (c) {
        case 'n':
            o.cycles = number(optarg, 1, 1000000);
            break;
        case 't':
            o.threads = number(optarg, 1, THREADS_MAX);
            break;
        case 'm':
            parse_mode(&o, optarg);
            break;
        case 's':
            if (slice_i64(slice_str(optarg), &seed))
                die("-s %s is not a number", optarg);
            o.seed = (uint64_t)seed;
            break;
        case 'd':
            o.dir = optarg;
            break;
        case 'k':
            o.keep = true;
            break;
        default:
            die("usage: crash_loop [-n CYCLES] [-t THREADS] [-m sync|async|both] [-s SEED] [-d DIR] [-k]");
        }
    }
    log_set_level(LOG_ERROR);
    printf("crash_loop: seed=%llu\n", (unsigned long long)o.seed);
    fflush(stdout); /* before fork */
    bool right = true;
    if (o.sync)
        right &= run_mode(&o, FLUSH_SYNC);
    if (o.async)
        right &= run_mode(&o, FLUSH_ASYNC);
    return right ? 0 : 1;
}
