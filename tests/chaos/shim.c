/* A shared object for LD_PRELOAD: lies that a broker under test is told by its system, without a
 * change of the broker. Works on every build, sanitizers included.
 *
 *   CHAOS_CLOCK=FILE   the first 8 bytes of FILE are milliseconds (int64, native) that are added to
 *                      the wall clock; they may change at any time. Monotonic clocks are left alone
 *   CHAOS_DISK=KIND:N  every N-th write into a file of a commitlog directory
 *                        lose   is reported as done and is not made
 *                        flip   is made with one bit changed, in the middle of its last piece
 *
 * Runs on: any thread of the program, without allocating. A setting that cannot be used ends the
 * program with 125: a test must not pass because nothing was told. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t *shift_ms; /* NULL: no jump */
static enum { DISK_TRUE, DISK_LOSE, DISK_FLIP } disk;
static long disk_every;
static atomic_long disk_writes;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);

static _Noreturn void refuse(const char *what)
{
    fprintf(stderr, "chaos shim: %s\n", what);
    _exit(125);
}

static void *next(const char *name)
{
    void *const p = dlsym(RTLD_NEXT, name);
    if (p == NULL)
        refuse(name);
    return p;
}

static void open_clock(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *const p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        refuse("CHAOS_CLOCK: the file cannot be mapped");
    close(fd);
    shift_ms = p;
}

static void parse_disk(const char *text)
{
    char *end = NULL;
    const char *const colon = strchr(text, ':');
    const size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    disk = n == 4 && memcmp(text, "lose", n) == 0 ? DISK_LOSE : n == 4 && memcmp(text, "flip", n) == 0 ? DISK_FLIP : DISK_TRUE;
    disk_every = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (disk == DISK_TRUE || disk_every < 1 || *end != '\0')
        refuse("CHAOS_DISK: lose:N or flip:N");
}

__attribute__((constructor)) static void set_up(void)
{
    union { /* ISO C has no cast from an object to a function pointer */
        void *p;
        int (*gettime)(clockid_t, struct timespec *);
        ssize_t (*writev)(int, const struct iovec *, int, off_t);
    } u;
    u.p = next("clock_gettime");
    real_clock_gettime = u.gettime;
    u.p = next("pwritev");
    real_pwritev = u.writev;
    const char *const clock_file = getenv("CHAOS_CLOCK"), *const lie = getenv("CHAOS_DISK");
    if (clock_file != NULL)
        open_clock(clock_file);
    if (lie != NULL)
        parse_disk(lie);
}

/* ---- clock ---- */

int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (real_clock_gettime == NULL) /* another constructor was first */
        set_up();
    const int rc = real_clock_gettime(id, ts);
    if (rc != 0 || shift_ms == NULL || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return rc;
    const int64_t ns = ts->tv_nsec + atomic_load(shift_ms) % 1000 * 1000000 + 1000000000;
    ts->tv_sec += atomic_load(shift_ms) / 1000 + ns / 1000000000 - 1;
    ts->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    *tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out != NULL)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

/* ---- disk ---- */

static int is_log(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "/commitlog/") != NULL;
}

static ssize_t flipped(int fd, const struct iovec *iov, int n, off_t at)
{
    const ssize_t done = real_pwritev(fd, iov, n, at);
    const struct iovec *const last = &iov[n - 1];
    const size_t middle = last->iov_len / 2;
    ssize_t all = 0;
    for (int i = 0; i < n; i++)
        all += (ssize_t)iov[i].iov_len;
    if (done == all && middle > 0) {
        char byte = (char)(((const char *)last->iov_base)[middle] ^ 1);
        const struct iovec one = {&byte, 1};
        if (real_pwritev(fd, &one, 1, at + all - (off_t)(last->iov_len - middle)) != 1)
            refuse("the flipped byte cannot be written");
    }
    return done;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    if (disk == DISK_TRUE || !is_log(fd) || (atomic_fetch_add(&disk_writes, 1) + 1) % disk_every != 0)
        return real_pwritev(fd, iov, n, at);
    if (disk == DISK_FLIP)
        return flipped(fd, iov, n, at);
    ssize_t all = 0;
    for (int i = 0; i < n; i++)
        all += (ssize_t)iov[i].iov_len;
    return all;
}
