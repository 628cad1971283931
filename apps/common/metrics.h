#pragma once
/* Counters, gauges and histograms in Prometheus' text format (GET /metrics on the internal port).
 *
 * A series is looked up once by name and labels and then updated without a lock. The registry is
 * bounded: past METRICS_SERIES_MAX series further ones share one overflow series, counted in
 * shop_metrics_overflow, so that labels from outside cannot grow memory. */
#include "apps/common/error.h"
#include <stddef.h>

#define METRICS_SERIES_MAX 1024

struct metrics;
struct metric;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* labels: `route="/x",code="1"` or "" (copied). m NULL gives a series that goes nowhere. Never NULL. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const char *labels);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const char *labels);
/* Milliseconds, buckets 1 ms to 10 s. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const char *labels);
void metric_add(struct metric *s, int64_t n);         /* counter, gauge */
void metric_set(struct metric *s, int64_t v);         /* gauge */
void metric_observe_us(struct metric *s, int64_t us); /* histogram */
int64_t metric_value(const struct metric *s);         /* counter, gauge; count of a histogram */
/* The whole exposition; malloc'd, NULL when memory is out. */
char *metrics_text(struct metrics *m);
