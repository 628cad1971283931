/* The log: one line per event, to stderr or a file.
 *
 * Any thread; one mutex around the file and the rate table. A line is put together in a local buffer
 * and written with one write(2), so lines of several processes on one terminal stay whole. Repeating
 * warnings and errors are limited per event name: the table holds the EVENTS_MAX most recent names, an
 * older one loses its count, which only means that a few more lines pass.
 */
#include "apps/common/log.h"

#include "apps/common/timing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define EVENTS_MAX 64
#define LINES_PER_SECOND 20

struct rate {
    char event[48];
    int64_t second;
    int lines, dropped;
};

static struct {
    pthread_mutex_t lock;
    int fd;
    char path[512], name[32];
    enum log_level min;
    struct rate rates[EVENTS_MAX];
    int next_rate;
} the_log = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .name = "-", .min = LOG_LEVEL_INFO};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

int app_log_open(const char *path, const char *name, enum log_level min, struct app_error *e)
{
    int fd = STDERR_FILENO;
    const bool file = path && path[0] && strcmp(path, "-") != 0;
    if (file && (strlen(path) >= sizeof the_log.path || (fd = open_file(path)) < 0))
        return app_fail(e, APP_E_CONFIG, "cannot write the log %s: %s", path, strerror(errno));
    app_log_close();
    pthread_mutex_lock(&the_log.lock);
    the_log.fd = fd;
    (void)snprintf(the_log.path, sizeof the_log.path, "%s", file ? path : "");
    (void)snprintf(the_log.name, sizeof the_log.name, "%s", name);
    the_log.min = min;
    pthread_mutex_unlock(&the_log.lock);
    return APP_OK;
}

void app_log_close(void)
{
    pthread_mutex_lock(&the_log.lock);
    if (the_log.fd != STDERR_FILENO)
        close(the_log.fd);
    the_log.fd = STDERR_FILENO;
    the_log.path[0] = '\0';
    pthread_mutex_unlock(&the_log.lock);
}

void app_log_reopen(void)
{
    pthread_mutex_lock(&the_log.lock);
    if (the_log.path[0]) {
        const int fd = open_file(the_log.path);
        if (fd >= 0) { /* otherwise the old file goes on: better than none */
            close(the_log.fd);
            the_log.fd = fd;
        }
    }
    pthread_mutex_unlock(&the_log.lock);
}

static struct rate *rate_of(const char *event)
{
    for (int i = 0; i < EVENTS_MAX; i++)
        if (strncmp(the_log.rates[i].event, event, sizeof the_log.rates[i].event - 1) == 0)
            return &the_log.rates[i];
    struct rate *r = &the_log.rates[the_log.next_rate];
    the_log.next_rate = (the_log.next_rate + 1) % EVENTS_MAX;
    *r = (struct rate){.lines = 0};
    (void)snprintf(r->event, sizeof r->event, "%s", event);
    return r;
}

/* True when the line may pass; *dropped: lines kept back before this one. */
static bool rate_pass(const char *event, int64_t second, int *dropped)
{
    struct rate *r = rate_of(event);
    if (r->second != second) {
        *dropped = r->dropped;
        r->second = second;
        r->lines = r->dropped = 0;
    }
    if (r->lines++ < LINES_PER_SECOND)
        return true;
    r->dropped++;
    return false;
}

static void write_line(const char *line, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(the_log.fd, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a full disk must not stop the service */
        line += n;
        len -= (size_t)n;
    }
}

void app_log_event(enum log_level level, const char *event, const char *fields, ...)
{
    static const char *const level_names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    if (level < the_log.min)
        return;
    const int64_t now = timing_wall_ms();
    char stamp[TIMING_RFC3339_MAX], line[LINE_MAX_BYTES];
    timing_rfc3339(now, stamp);
    pthread_mutex_lock(&the_log.lock);
    int dropped = 0;
    if (level < LOG_LEVEL_WARN || rate_pass(event, now / 1000, &dropped)) {
        int n = snprintf(line, sizeof line, "%s %s [%s] event=%s ", stamp, level_names[level],
                         the_log.name, event);
        va_list ap;
        va_start(ap, fields);
        n += vsnprintf(line + n, sizeof line - (size_t)n, fields, ap);
        va_end(ap);
        size_t len = (size_t)n < sizeof line - 40 ? (size_t)n : sizeof line - 40;
        if (dropped > 0)
            len += (size_t)snprintf(line + len, 32, " dropped_before=%d", dropped);
        for (size_t i = 0; i < len; i++)
            if (line[i] == '\n' || line[i] == '\r')
                line[i] = ' ';
        line[len++] = '\n';
        write_line(line, len);
    }
    pthread_mutex_unlock(&the_log.lock);
}

const char *app_log_value(const char *s)
{
    static _Thread_local char ring[8][256];
    static _Thread_local unsigned next;
    if (!s)
        return "-";
    if (s[0] && strlen(s) < 128 && !strpbrk(s, " \"\\=\n\r\t"))
        return s;
    char *out = ring[next++ % 8], *p = out, *const end = out + 252;
    *p++ = '"';
    for (; *s && p < end - 1; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            *p++ = '\\';
        *p++ = c < 0x20 ? ' ' : (char)c;
    }
    *p++ = '"';
    *p = '\0';
    return out;
}
