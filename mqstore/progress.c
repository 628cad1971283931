/* The progress line: phase, percent, bytes, rate, time left. On stderr, and only when that is a terminal,
 * so that logs and pipes get results alone.
 *
 * Runs on: the one thread of the tool; drawn at most ten times a second. */
#include "mqstore/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { DRAW_MS = 100, LINE = 160, BAR = 24 };

void progress_init(struct progress *p, bool quiet)
{
    *p = (struct progress){.on = !quiet && isatty(STDERR_FILENO)};
}

static void size_text(char *dst, size_t cap, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (bytes >= 1024 && i + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        i++;
    }
    snprintf(dst, cap, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

void progress_text(char *dst, size_t cap, const char *phase, int64_t done, int64_t total, bool bytes, int64_t elapsed_ms)
{
    char bar[BAR + 1], a[24], b[24], rate[24];
    if (done > total)
        done = total;
    const int64_t full = total > 0 ? (int64_t)((double)done / (double)total * BAR) : BAR;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR] = 0;
    const int percent = total > 0 ? (int)((double)done / (double)total * 100) : 100;
    int n = snprintf(dst, cap, "%-14s [%s] %3d%%", phase, bar, percent);
    if (n < 0 || (size_t)n >= cap)
        return;
    if (!bytes) {
        snprintf(dst + n, cap - (size_t)n, "  %lld of %lld", (long long)done, (long long)total);
        return;
    }
    const double per_s = elapsed_ms > 0 ? (double)done * 1000 / (double)elapsed_ms : 0;
    size_text(a, sizeof a, (double)done);
    size_text(b, sizeof b, (double)total);
    size_text(rate, sizeof rate, per_s);
    n += snprintf(dst + n, cap - (size_t)n, "  %s of %s  %s/s", a, b, rate);
    if (per_s > 0 && (size_t)n < cap)
        snprintf(dst + n, cap - (size_t)n, "  %lld s left", (long long)((double)(total - done) / per_s));
}

void progress_show(struct progress *p, const char *phase, int64_t done, int64_t total, bool bytes)
{
    char line[LINE];
    if (!p->on)
        return;
    const int64_t now = clock_mono(&clock_system);
    if (phase != p->phase) {
        p->phase = phase;
        p->began_ms = now;
    } else if (now - p->drawn_ms < DRAW_MS) {
        return;
    }
    p->drawn_ms = now;
    p->shown = true;
    progress_text(line, sizeof line, phase, done, total, bytes, now - p->began_ms);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
