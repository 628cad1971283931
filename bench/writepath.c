/* writepath: how a batch of records gets into a log file, compared.
 *
 * The answers are in docs/decisions/0005-write-path-measured.md; this is the program behind its table.
 * One thread plays a network loop: it keeps K records in flight, spends --work nanoseconds on each
 * (what decoding and answering cost), builds and checksums it, and hands the ready ones over as one
 * batch. A way to the disk is a row of `ways`:
 *
 *   who writes   the loop itself, or an appender thread that a condition variable wakes and that
 *                answers through an eventfd, as a mailbox does
 *   how          one pwritev for a batch, or memcpy into a shared mapping
 *   into what    space that is allocated but unwritten, or a file filled with zeros before
 *   who syncs    nobody waits (async: fdatasync every half second), a flusher thread with one
 *                fdatasync at a time, two flushers, or the loop itself
 *
 * --rivals processes burn the processor all the time, as clients on the same machine do.
 *
 * Figures: records a second, median and 99 % of the time from hand-over to completion, processor time
 * of the process. Rounds run all ways one after the other and then again, and the
 * median round is printed, with the lowest and highest rate. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc.h"
#include "base/fs.h"

enum { INFLIGHT_MAX = 1024, ROUNDS_MAX = 99, FLUSHERS_MAX = 2, RIVALS_MAX = 64, MIB = 1 << 20,
       ASYNC_SYNC_MS = 500 };

struct way {
    const char *name;
    bool appender, mapped, zeroed;
    int flushers; /* sync mode; 0: the loop syncs */
};
static const struct way ways[] = {
    {"loop pwritev", false, false, false, 1},
    {"loop pwritev, zeroed", false, false, true, 1},
    {"loop mapped", false, true, false, 1},
    {"loop mapped, zeroed", false, true, true, 1},
    {"appender pwritev", true, false, false, 1},
    {"appender pwritev, zeroed", true, false, true, 1},
    {"appender mapped, zeroed", true, true, true, 1},
    {"loop pwritev, two syncs", false, false, false, 2},
    {"loop pwritev, zeroed, two syncs", false, false, true, 2},
    {"loop pwritev and sync", false, false, false, 0},
    {"loop pwritev and sync, zeroed", false, false, true, 0},
};
enum { WAY_N = sizeof ways / sizeof *ways };

struct result {
    double rate, p50_us, p99_us, cpu_us, sync_us;
};

struct run {
    const struct way *way;
    bool sync;
    size_t record;
    int inflight;
    int64_t records_max, work_ns;
    struct fs_file *f;
    char *map;
    int event; /* an eventfd that wakes the loop */
    char *ring; /* 2 * inflight records: those on their way and those being built */
    struct iovec iov[INFLIGHT_MAX];
    pthread_mutex_t lock; /* guards waiting on the next four */
    pthread_cond_t handed_over, to_sync;
    _Atomic int64_t submitted, written, synced, sync_ns, syncs;
    int64_t sync_asked; /* under lock: what the running syncs cover */
    bool stop;          /* under lock */
    int64_t *sent_ns, *took_ns; /* by record */
};

static const struct clock *const clk = &clock_system;

static void fail(const char *what)
{
    fprintf(stderr, "writepath: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int rc, const struct err *e)
{
    if (rc != 0) {
        fprintf(stderr, "writepath: %s\n", e->text);
        exit(1);
    }
}

static void *must(void *p)
{
    if (p == NULL)
        fail("memory");
    return p;
}

/* --- the file --- */

static void file_open(struct run *r, const char *path, int64_t size)
{
    struct err e;
    void *map;
    check(fs_real.open(&fs_real, path, FS_WRITE | FS_CREATE | FS_TRUNC, &r->f, &e), &e);
    check(fs_real.allocate(r->f, 0, size, false, &e), &e);
    if (r->way->zeroed) {
        char *zeros = must(calloc(1, MIB));
        for (int64_t at = 0; at < size; at += MIB)
            check(fs_write(r->f, &fs_real, zeros, MIB, at, &e), &e);
        free(zeros);
    }
    check(fs_real.sync(r->f, &e), &e);
    check(fs_real.map(r->f, (size_t)size, true, &map, &e), &e);
    r->map = map;
}

static char *slot(const struct run *r, int64_t seq)
{
    return r->ring + (size_t)(seq % (2 * r->inflight)) * r->record;
}

static void write_range(struct run *r, int64_t from, int64_t to)
{
    struct err e;
    if (r->way->mapped) {
        for (int64_t i = from; i < to; i++)
            memcpy(r->map + (size_t)i * r->record, slot(r, i), r->record);
    } else {
        for (int64_t i = from; i < to; i++)
            r->iov[i - from] = (struct iovec){slot(r, i), r->record};
        check(fs_real.pwritev(r->f, r->iov, (int)(to - from), from * (int64_t)r->record, &e), &e);
    }
}

static void sync_once(struct run *r)
{
    const int64_t began = clock_mono_ns(clk);
    struct err e;
    check(fs_real.datasync(r->f, &e), &e);
    atomic_fetch_add(&r->sync_ns, clock_mono_ns(clk) - began);
    atomic_fetch_add(&r->syncs, 1);
}

/* --- the other threads --- */

static void tell_loop(struct run *r)
{
    const uint64_t one = 1;
    if (write(r->event, &one, sizeof one) != sizeof one)
        fail("eventfd");
}

static void publish_written(struct run *r, int64_t to)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->written, to);
    if (r->sync && r->way->flushers > 0)
        pthread_cond_signal(&r->to_sync);
    pthread_mutex_unlock(&r->lock);
}

static void *appender_main(void *arg)
{
    struct run *r = arg;
    for (;;) {
        const int64_t from = atomic_load(&r->written);
        pthread_mutex_lock(&r->lock);
        while (!r->stop && atomic_load(&r->submitted) == from)
            pthread_cond_wait(&r->handed_over, &r->lock);
        const bool stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        if (stop)
            return NULL;
        const int64_t to = atomic_load(&r->submitted);
        write_range(r, from, to);
        publish_written(r, to);
        if (!r->sync)
            tell_loop(r);
    }
}

static void advance(_Atomic int64_t *mark, int64_t to)
{
    for (int64_t at = atomic_load(mark); at < to && !atomic_compare_exchange_weak(mark, &at, to);) {
    }
}

static void *flusher_main(void *arg)
{
    struct run *r = arg;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        while (!r->stop && atomic_load(&r->written) <= r->sync_asked)
            pthread_cond_wait(&r->to_sync, &r->lock);
        const bool stop = r->stop;
        const int64_t to = r->sync_asked = atomic_load(&r->written);
        pthread_mutex_unlock(&r->lock);
        if (stop)
            return NULL;
        sync_once(r);
        advance(&r->synced, to);
        tell_loop(r);
    }
}

static void *async_flusher_main(void *arg)
{
    struct run *r = arg;
    for (bool stop = false; !stop;) {
        clock_sleep(ASYNC_SYNC_MS / 10);
        pthread_mutex_lock(&r->lock);
        stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        static int tick;
        if (!stop && ++tick % 10 == 0)
            sync_once(r);
    }
    return NULL;
}

static pid_t rival_start(void)
{
    const pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (volatile int turns = 0;; turns = !turns) {
    }
}

static void rival_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* --- the loop --- */

static void burn(int64_t ns)
{
    for (const int64_t until = clock_mono_ns(clk) + ns; clock_mono_ns(clk) < until;) {
    }
}

static void build(struct run *r, int64_t seq)
{
    char *p = slot(r, seq);
    memset(p, (int)('a' + seq % 26), r->record);
    memcpy(p, &seq, sizeof seq);
    const uint32_t crc = crc32_body(slice_of(p, r->record - sizeof crc));
    memcpy(p + r->record - sizeof crc, &crc, sizeof crc);
}

static void hand_over(struct run *r, int64_t from, int64_t to)
{
    if (r->way->appender) {
        pthread_mutex_lock(&r->lock);
        atomic_store(&r->submitted, to);
        pthread_cond_signal(&r->handed_over);
        pthread_mutex_unlock(&r->lock);
        return;
    }
    write_range(r, from, to);
    publish_written(r, to);
    if (r->sync && r->way->flushers == 0) {
        sync_once(r);
        atomic_store(&r->synced, to);
    }
}

/* Returns the records that were completed. */
static int64_t drive(struct run *r, int64_t until_ns)
{
    int64_t sent = 0, done = 0;
    for (int64_t now; (now = clock_mono_ns(clk)) < until_ns;) {
        const int64_t complete = atomic_load(r->sync ? &r->synced : &r->written);
        for (; done < complete; done++)
            r->took_ns[done] = now - r->sent_ns[done];
        int64_t to = done + r->inflight;
        if (to > r->records_max)
            to = r->records_max;
        if (done == r->records_max)
            break;
        if (to == sent) {
            uint64_t n;
            if (read(r->event, &n, sizeof n) != sizeof n)
                fail("eventfd");
            continue;
        }
        burn((to - sent) * r->work_ns);
        for (int64_t i = sent; i < to; i++) {
            build(r, i);
            r->sent_ns[i] = clock_mono_ns(clk);
        }
        hand_over(r, sent, to);
        sent = to;
    }
    return done;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static struct result measure(struct run *r, int64_t milliseconds)
{
    pthread_t threads[FLUSHERS_MAX + 1];
    int n = 0;
    if (r->way->appender)
        pthread_create(&threads[n++], NULL, appender_main, r);
    for (int i = 0; r->sync && i < r->way->flushers; i++)
        pthread_create(&threads[n++], NULL, flusher_main, r);
    if (!r->sync)
        pthread_create(&threads[n++], NULL, async_flusher_main, r);

    const int64_t cpu = cpu_us(), began = clock_mono_ns(clk);
    const int64_t done = drive(r, began + milliseconds * 1000000);
    const int64_t took = clock_mono_ns(clk) - began;
    const int64_t own_us = cpu_us() - cpu;

    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->handed_over);
    pthread_cond_broadcast(&r->to_sync);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (done == 0)
        return (struct result){0};
    qsort(r->took_ns, (size_t)done, sizeof *r->took_ns, compare);
    return (struct result){.rate = (double)done * 1e9 / (double)took,
                           .p50_us = (double)r->took_ns[done / 2] / 1e3,
                           .p99_us = (double)r->took_ns[done * 99 / 100] / 1e3,
                           .cpu_us = (double)own_us / (double)done,
                           .sync_us = r->syncs ? (double)r->sync_ns / (double)r->syncs / 1e3 : 0};
}

struct plan {
    const char *dir;
    size_t record;
    int64_t size, milliseconds, work_ns;
    int rounds, rivals;
};

static struct result run_once(const struct plan *p, const struct way *way, bool sync, int inflight)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/writepath.%ld", p->dir, (long)getpid());
    struct run r = {.way = way, .sync = sync, .record = p->record, .inflight = inflight,
                    .records_max = p->size / (int64_t)p->record, .work_ns = p->work_ns,
                    .event = eventfd(0, EFD_CLOEXEC), .lock = PTHREAD_MUTEX_INITIALIZER,
                    .handed_over = PTHREAD_COND_INITIALIZER, .to_sync = PTHREAD_COND_INITIALIZER};
    if (r.event < 0)
        fail("eventfd");
    file_open(&r, path, p->size);
    r.ring = must(malloc(2 * (size_t)inflight * p->record));
    r.sent_ns = must(calloc((size_t)r.records_max, sizeof *r.sent_ns));
    r.took_ns = must(calloc((size_t)r.records_max, sizeof *r.took_ns));
    pid_t rivals[RIVALS_MAX];
    for (int i = 0; i < p->rivals; i++)
        rivals[i] = rival_start();
    const struct result res = measure(&r, p->milliseconds);
    for (int i = 0; i < p->rivals; i++)
        rival_stop(rivals[i]);
    fs_real.unmap(r.f, r.map, (size_t)p->size);
    fs_real.close(r.f);
    close(r.event);
    struct err e;
    check(fs_real.unlink(&fs_real, path, &e), &e);
    free(r.ring);
    free(r.sent_ns);
    free(r.took_ns);
    return res;
}

static int by_rate(const void *a, const void *b)
{
    const double x = ((const struct result *)a)->rate, y = ((const struct result *)b)->rate;
    return (x > y) - (x < y);
}

static void compare_ways(const struct plan *p, bool sync, int inflight, const char *only)
{
    static struct result got[WAY_N][ROUNDS_MAX];
    for (int k = 0; k < p->rounds; k++)
        for (size_t w = 0; w < WAY_N; w++)
            if ((sync || ways[w].flushers == 1) && (!only || strstr(ways[w].name, only)))
                got[w][k] = run_once(p, &ways[w], sync, inflight);
    for (size_t w = 0; w < WAY_N; w++) {
        if ((!sync && ways[w].flushers != 1) || (only && !strstr(ways[w].name, only)))
            continue;
        qsort(got[w], (size_t)p->rounds, sizeof got[w][0], by_rate);
        const struct result *m = &got[w][p->rounds / 2];
        printf("%-6s %4d  %-32s %9.0f %9.0f %9.0f %8.0f %8.0f %7.2f %8.0f\n", sync ? "sync" : "async",
               inflight, ways[w].name, m->rate, got[w][0].rate, got[w][p->rounds - 1].rate, m->p50_us,
               m->p99_us, m->cpu_us, m->sync_us);
        fflush(stdout);
    }
}

static const char usage[] =
    "usage: writepath --dir DIR [options]   compares ways of writing a log, see the head of writepath.c\n"
    "  --time MS       of each run [600]      --rounds N    [3]\n"
    "  --record BYTES  [1230]                 --size MIB    of the file [768]\n"
    "  --work NS       on each record [1500]  --rivals N    busy processes beside [1]\n"
    "  --mode async|sync                      --inflight N  both and 1, 64, 512 when left out\n"
    "  --only TEXT     ways whose name holds it\n";

static int64_t number(const char *name, const char *text, int64_t min, int64_t max)
{
    int64_t v;
    if (slice_i64(slice_str(text), &v) != 0 || v < min || v > max) {
        fprintf(stderr, "writepath: --%s: %s is not a number from %lld to %lld\n%s", name, text,
                (long long)min, (long long)max, usage);
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", 1, NULL, 'd'},    {"time", 1, NULL, 's'}, {"rounds", 1, NULL, 'r'},
        {"record", 1, NULL, 'b'}, {"size", 1, NULL, 'z'},       {"work", 1, NULL, 'w'},
        {"rivals", 1, NULL, 'v'}, {"mode", 1, NULL, 'm'},       {"inflight", 1, NULL, 'i'},
        {"only", 1, NULL, 'o'},   {"help", 0, NULL, 'h'},       {NULL, 0, NULL, 0}};
    struct plan p = {.record = 1230, .size = 768LL * MIB, .milliseconds = 600, .work_ns = 1500,
                     .rounds = 3, .rivals = 1};
    int inflight = 0;
    const char *mode = NULL, *only = NULL;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'd': p.dir = optarg; break;
        case 's': p.milliseconds = number("time", optarg, 10, 60000); break;
        case 'r': p.rounds = (int)number("rounds", optarg, 1, ROUNDS_MAX); break;
        case 'b': p.record = (size_t)number("record", optarg, 16, MIB); break;
        case 'z': p.size = number("size", optarg, 1, 65536) * MIB; break;
        case 'w': p.work_ns = number("work", optarg, 0, 1000000); break;
        case 'v': p.rivals = (int)number("rivals", optarg, 0, RIVALS_MAX); break;
        case 'i': inflight = (int)number("inflight", optarg, 1, INFLIGHT_MAX); break;
        case 'm': mode = optarg; break;
        case 'o': only = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    }
    if (p.dir == NULL || (mode && strcmp(mode, "async") != 0 && strcmp(mode, "sync") != 0)) {
        fprintf(stderr, "writepath: --dir is needed, and --mode is async or sync\n%s", usage);
        return 2;
    }
    static const int usual[] = {1, 64, 512};
    const int *const loads = inflight ? &inflight : usual;
    const size_t load_n = inflight ? 1 : sizeof usual / sizeof *usual;
    printf("%-6s %4s  %-32s %9s %9s %9s %8s %8s %7s %8s\n", "mode", "K", "way", "records/s", "lowest",
           "highest", "p50 us", "p99 us", "cpu us", "sync us");
    for (int sync = 0; sync < 2; sync++)
        for (size_t i = 0; i < load_n; i++)
            if (!mode || (strcmp(mode, "sync") == 0) == sync)
                compare_ways(&p, sync, loads[i], only);
    return 0;
}
