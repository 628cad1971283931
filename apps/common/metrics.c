/* The registry of series and its Prometheus text.
 *
 * Any thread. Looking a series up takes the mutex; updating one is a relaxed atomic add. Series are
 * only ever added, in an array of pointers, and die with the registry, so a struct metric may be kept.
 * Past the bound everything lands in one overflow series, which is exported too: lost detail shows.
 */
#include "apps/common/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { COUNTER, GAUGE, HISTOGRAM };

static const int64_t bounds_us[] = {1000,   2000,   5000,    10000,   20000,   50000,   100000,
                                    200000, 500000, 1000000, 2000000, 5000000, 10000000};
#define BUCKETS (sizeof bounds_us / sizeof *bounds_us)

struct metric {
    enum type type;
    char *name, *help, *labels;
    _Atomic int64_t value; /* sum in us for a histogram */
    _Atomic int64_t count;
    _Atomic int64_t buckets[BUCKETS]; /* not cumulative */
};

struct metrics {
    pthread_mutex_t lock;
    struct metric *series[METRICS_SERIES_MAX];
    size_t n;
    struct metric overflow;
};

static struct metric nowhere;

struct metrics *metrics_new(void)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m)
        pthread_mutex_init(&m->lock, NULL);
    return m;
}

static void metric_free(struct metric *s)
{
    if (!s)
        return;
    free(s->name);
    free(s->help);
    free(s->labels);
    free(s);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        metric_free(m->series[i]);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static struct metric *metric_new(enum type type, const char *name, const char *help,
                                 const char *labels)
{
    struct metric *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->type = type;
    s->name = strdup(name);
    s->help = strdup(help);
    s->labels = strdup(labels);
    if (s->name && s->help && s->labels)
        return s;
    metric_free(s);
    return NULL;
}

/* Keeps series of one name together, as the text format wants: insert after the last of that name. */
static struct metric *insert(struct metrics *m, struct metric *s)
{
    size_t at = m->n;
    for (size_t i = m->n; i-- > 0;) {
        if (strcmp(m->series[i]->name, s->name) == 0) {
            at = i + 1;
            break;
        }
    }
    memmove(&m->series[at + 1], &m->series[at], (m->n - at) * sizeof *m->series);
    m->series[at] = s;
    m->n++;
    return s;
}

static struct metric *get(struct metrics *m, enum type type, const char *name, const char *help,
                          const char *labels)
{
    if (!m)
        return &nowhere;
    pthread_mutex_lock(&m->lock);
    struct metric *found = NULL;
    for (size_t i = 0; i < m->n && !found; i++)
        if (strcmp(m->series[i]->name, name) == 0 && strcmp(m->series[i]->labels, labels) == 0)
            found = m->series[i];
    if (!found && m->n < METRICS_SERIES_MAX) {
        struct metric *s = metric_new(type, name, help, labels);
        if (s)
            found = insert(m, s);
    }
    pthread_mutex_unlock(&m->lock);
    return found ? found : &m->overflow;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const char *labels)
{
    return get(m, COUNTER, name, help, labels);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const char *labels)
{
    return get(m, GAUGE, name, help, labels);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const char *labels)
{
    return get(m, HISTOGRAM, name, help, labels);
}

void metric_add(struct metric *s, int64_t n)
{
    atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void metric_set(struct metric *s, int64_t v)
{
    atomic_store_explicit(&s->value, v, memory_order_relaxed);
}

void metric_observe_us(struct metric *s, int64_t us)
{
    atomic_fetch_add_explicit(&s->value, us, memory_order_relaxed);
    for (size_t i = 0; i < BUCKETS; i++) {
        if (us <= bounds_us[i]) {
            atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
            break;
        }
    }
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
}

int64_t metric_value(const struct metric *s)
{
    return atomic_load_explicit(s->type == HISTOGRAM ? &s->count : &s->value, memory_order_relaxed);
}

static void print_histogram(FILE *f, const struct metric *s)
{
    const char *comma = s->labels[0] ? "," : "";
    const char *open = s->labels[0] ? "{" : "", *close = s->labels[0] ? "}" : "";
    /* The count may run ahead of the buckets while somebody observes: take it first. */
    const int64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    int64_t sum = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        sum += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        fprintf(f, "%s_bucket{%s%sle=\"%g\"} %lld\n", s->name, s->labels, comma,
                (double)bounds_us[i] / 1000.0, (long long)sum);
    }
    fprintf(f, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", s->name, s->labels, comma,
            (long long)(sum > count ? sum : count));
    fprintf(f, "%s_sum%s%s%s %.3f\n", s->name, open, s->labels, close,
            (double)atomic_load(&s->value) / 1000.0);
    fprintf(f, "%s_count%s%s%s %lld\n", s->name, open, s->labels, close,
            (long long)(sum > count ? sum : count));
}

char *metrics_text(struct metrics *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        const struct metric *s = m->series[i];
        if (i == 0 || strcmp(m->series[i - 1]->name, s->name) != 0)
            fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, types[s->type]);
        if (s->type == HISTOGRAM)
            print_histogram(f, s);
        else
            fprintf(f, s->labels[0] ? "%s{%s} %lld\n" : "%s%s %lld\n", s->name, s->labels,
                    (long long)metric_value(s));
    }
    fprintf(f,
            "# HELP shop_metrics_overflow updates of series past the registry's bound\n"
            "# TYPE shop_metrics_overflow counter\nshop_metrics_overflow %lld\n",
            (long long)metric_value(&m->overflow));
    pthread_mutex_unlock(&m->lock);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}
