/* The program's log.
 *
 * Owns: the log file and the rate-limit table; both are the process's, guarded by one lock.
 * Runs on: any thread. A line costs one formatting on the caller's stack and one write(2).
 *
 *   2026-11-21T11:49:03.123Z WARN  flusher event=sync_slow path="/d/commitlog/0" ms=512
 *   suppressed=3
 *
 * Happy path: the level is below the threshold: one relaxed load and back. Otherwise the event's
 * bucket gives a token, the line is built and appended with O_APPEND, so that a second process
 * or an outer log rotation by copy does no harm.
 *
 * Rate limit: a token bucket per event name holds BURST tokens and gains one each second. A line
 * without a token is only counted; the next line of that event says suppressed=N, and log_close
 * reports what was never told. The table has room for EVENTS_MAX names (they are static, a few
 * hundred); events beyond it are not limited.
 *
 * Rotation: when a line would pass max_bytes, path.N-1 becomes path.N and so on, path becomes
 * path.1, and a new file is begun. If that fails the old file goes on, and it is tried again only
 * after another max_bytes.
 *
 * Failure modes: a line that cannot be written (full disk) is lost and counted; the first line that
 * goes through again is followed by event=log_lost. Logging never fails its caller. A line longer
 * than LINE_MAX_BYTES is cut with "...". Control bytes in a finished line become blanks: one event
 * is one line, whatever a peer sent.
 *
 * Invariants: 1. fd is valid at any time (stderr before log_open); 2. lines are whole: one write
 * each; 3. nothing is allocated after log_open. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"

enum { LINE_MAX_BYTES = 4096, BURST = 20, EVENTS_MAX = 1024, REFILL_MS = 1000 };

struct bucket {
    const char *event; /* NULL = free */
    int64_t last_ms;   /* monotonic time up to which tokens were granted */
    int tokens;
    uint64_t suppressed;
};

static atomic_int threshold = LOG_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static int fd = STDERR_FILENO;
static char *file_path; /* NULL = stderr */
static uint64_t file_bytes, rotate_bytes;
static int rotate_files;
static uint64_t lost;
static struct bucket buckets[EVENTS_MAX];

static __thread char thread_name[16];

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

int log_level_parse(struct slice s, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (slice_eq_nocase(s, slice_str(level_names[i]))) {
            *out = (enum log_level)i;
            return 0;
        }
    return E_INVAL;
}

void log_set_thread_name(const char *name)
{
    snprintf(thread_name, sizeof thread_name, "%s", name);
    pthread_setname_np(pthread_self(), thread_name);
}

static const char *this_thread(void)
{
    if (!thread_name[0]) {
        if (gettid() == getpid())
            snprintf(thread_name, sizeof thread_name, "main");
        else
            snprintf(thread_name, sizeof thread_name, "t%d", (int)gettid());
    }
    return thread_name;
}

/* ---- the file ---- */

static int open_file(const char *path, uint64_t *bytes, struct err *e)
{
    int new_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct stat st;
    if (new_fd < 0 || fstat(new_fd, &st)) {
        int sys_errno = errno;
        if (new_fd >= 0)
            close(new_fd);
        return err_sys(e, sys_errno, "open log file %s", path);
    }
    *bytes = (uint64_t)st.st_size;
    return new_fd;
}

static int make_parent(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    char *dir = slice_dup(slice_of(path, (size_t)(slash - path)));
    if (!dir)
        return err_set(e, E_NOMEM, "open log file %s", path);
    int rc = fs_mkdirs(&fs_real, dir, e);
    free(dir);
    return rc;
}

static void use_file(int new_fd, char *path, uint64_t bytes)
{
    if (fd != STDERR_FILENO)
        close(fd);
    free(file_path);
    fd = new_fd;
    file_path = path;
    file_bytes = bytes;
}

int log_open(const char *path, uint64_t max_bytes, int files_max, struct err *e)
{
    char *copy = NULL;
    uint64_t bytes = 0;
    int new_fd = STDERR_FILENO;
    if (path) {
        int rc = make_parent(path, e);
        if (rc)
            return rc;
        if (!(copy = slice_dup(slice_str(path))))
            return err_set(e, E_NOMEM, "open log file %s", path);
        new_fd = open_file(path, &bytes, e);
        if (new_fd < 0) {
            free(copy);
            return new_fd;
        }
    }
    pthread_mutex_lock(&lock);
    use_file(new_fd, copy, bytes);
    rotate_bytes = path ? max_bytes : 0;
    rotate_files = files_max > 0 ? files_max : 0;
    pthread_mutex_unlock(&lock);
    return 0;
}

/* path.N-1 -> path.N ... path -> path.1; with N = 0 the old content is dropped. */
static void shift_files(void)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    for (int i = rotate_files; i >= 1; i--) {
        snprintf(to, sizeof to, "%s.%d", file_path, i);
        if (i > 1)
            snprintf(from, sizeof from, "%s.%d", file_path, i - 1);
        else
            snprintf(from, sizeof from, "%s", file_path);
        rename(from, to); /* a gap in the row of old files is no reason to stop */
    }
    if (!rotate_files)
        unlink(file_path);
}

static void rotate(void)
{
    uint64_t bytes;
    shift_files();
    int new_fd = open_file(file_path, &bytes, NULL);
    file_bytes = 0;
    if (new_fd < 0)
        return;
    close(fd);
    fd = new_fd;
    file_bytes = bytes;
}

static bool write_whole(const char *p, size_t n)
{
    ssize_t rc;
    do
        rc = write(fd, p, n);
    while (rc < 0 && errno == EINTR);
    if (rc > 0)
        file_bytes += (uint64_t)rc;
    return rc == (ssize_t)n;
}

/* ---- lines ---- */

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
};

HP_PRINTF(2, 0) static void line_vprintf(struct line *l, const char *fmt, va_list ap)
{
    size_t room = sizeof l->p - 1 - l->n; /* one byte stays for the newline */
    int n = vsnprintf(l->p + l->n, room, fmt, ap);
    if (n < 0)
        return;
    l->n += (size_t)n < room ? (size_t)n : room - 1;
}

HP_PRINTF(2, 3) static void line_printf(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line_vprintf(l, fmt, ap);
    va_end(ap);
}

static void line_begin(struct line *l, enum log_level level, const char *event)
{
    int64_t ms = clock_wall(&clock_system);
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    l->n = 0;
    line_printf(l, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %-5s %s event=%s", tm.tm_year + 1900,
                tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000),
                level_names[level], this_thread(), event);
}

/* Room that stays free for " suppressed=N" behind a long line. */
enum { LINE_TAIL = 40 };

static void line_cut(struct line *l)
{
    if (l->n > sizeof l->p - 1 - LINE_TAIL) {
        l->n = sizeof l->p - 1 - LINE_TAIL;
        memcpy(l->p + l->n - 3, "...", 3);
    }
}

static void line_write(struct line *l)
{
    for (size_t i = 0; i < l->n; i++)
        if ((unsigned char)l->p[i] < ' ' || l->p[i] == 0x7f)
            l->p[i] = ' ';
    l->p[l->n++] = '\n';
    if (rotate_bytes && file_bytes && file_bytes + l->n > rotate_bytes)
        rotate();
    if (!write_whole(l->p, l->n)) {
        lost++;
        return;
    }
    if (lost) {
        struct line more;
        line_begin(&more, LOG_WARN, "log_lost");
        line_printf(&more, " lines=%llu", (unsigned long long)lost);
        more.p[more.n++] = '\n';
        if (write_whole(more.p, more.n))
            lost = 0;
    }
}

/* ---- the rate limit ---- */

static struct bucket *bucket_of(const char *event)
{
    uint32_t h = 2166136261u;
    for (const char *c = event; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    for (uint32_t i = 0; i < EVENTS_MAX; i++) {
        struct bucket *b = &buckets[(h + i) % EVENTS_MAX];
        if (!b->event)
            *b = (struct bucket){event, clock_mono(&clock_system), BURST, 0};
        if (b->event == event || strcmp(b->event, event) == 0)
            return b;
    }
    return NULL;
}

static bool take_token(struct bucket *b)
{
    int64_t now = clock_mono(&clock_system), gained = (now - b->last_ms) / REFILL_MS;
    if (gained >= BURST - b->tokens) {
        b->tokens = BURST;
        b->last_ms = now;
    } else {
        b->tokens += (int)gained;
        b->last_ms += gained * REFILL_MS;
    }
    if (!b->tokens) {
        b->suppressed++;
        return false;
    }
    b->tokens--;
    return true;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    pthread_mutex_lock(&lock);
    struct bucket *b = bucket_of(event);
    bool write_it = !b || take_token(b);
    uint64_t suppressed = 0;
    if (b && write_it) {
        suppressed = b->suppressed;
        b->suppressed = 0;
    }
    pthread_mutex_unlock(&lock);
    if (!write_it)
        return;

    struct line l;
    line_begin(&l, level, event);
    line_printf(&l, " ");
    va_list ap;
    va_start(ap, fmt);
    line_vprintf(&l, fmt, ap);
    va_end(ap);
    line_cut(&l);
    if (suppressed)
        line_printf(&l, " suppressed=%llu", (unsigned long long)suppressed);

    pthread_mutex_lock(&lock);
    line_write(&l);
    pthread_mutex_unlock(&lock);
}

void log_close(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < EVENTS_MAX; i++) {
        struct bucket *b = &buckets[i];
        if (b->event && b->suppressed) {
            struct line l;
            line_begin(&l, LOG_INFO, "log_suppressed");
            line_printf(&l, " of=%s lines=%llu", b->event, (unsigned long long)b->suppressed);
            line_write(&l);
        }
        *b = (struct bucket){0};
    }
    use_file(STDERR_FILENO, NULL, 0);
    rotate_bytes = 0;
    pthread_mutex_unlock(&lock);
}

/* ---- quoting ---- */

/* Length of the UTF-8 sequence at p, 0 when it is none or a control character (U+0080..U+009F). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    size_t len = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
                 : (p[0] & 0xF0) == 0xE0        ? 3
                 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                : 0;
    if (!len || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool outside = (p[0] == 0xED && p[1] >= 0xA0) || (p[0] == 0xF4 && p[1] >= 0x90);
    bool control = p[0] == 0xC2 && p[1] < 0xA0;
    return overlong || outside || control ? 0 : len;
}

/* One character of s at *i in its safe form; at most 4 bytes. */
static size_t quote_char(struct slice s, size_t *i, char out[5])
{
    const unsigned char *p = (const unsigned char *)s.p + *i;
    size_t len = *p >= 0x80 ? utf8_len(p, s.n - *i) : 0;
    if (len) {
        memcpy(out, p, len);
        *i += len;
        return len;
    }
    ++*i;
    if (*p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\') {
        out[0] = (char)*p;
        return 1;
    }
    if (*p == '"' || *p == '\\') {
        out[0] = '\\';
        out[1] = (char)*p;
        return 2;
    }
    return (size_t)snprintf(out, 5, "\\x%02x", *p);
}

const char *log_quote(struct slice s, char *dst, size_t cap)
{
    enum { FRAME = 6 }; /* two quotes, three dots, NUL */
    if (cap < FRAME) {
        if (cap)
            dst[0] = '\0';
        return dst;
    }
    size_t n = 0, i = 0;
    dst[n++] = '"';
    while (i < s.n) {
        char piece[5];
        size_t len = quote_char(s, &i, piece);
        if (n + len > cap - FRAME + 1) {
            memcpy(dst + n, "...", 3);
            n += 3;
            break;
        }
        memcpy(dst + n, piece, len);
        n += len;
    }
    dst[n++] = '"';
    dst[n] = '\0';
    return dst;
}
