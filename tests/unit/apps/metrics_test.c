#include "apps/common/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/test.h"

static void series_are_found_again_and_printed_under_one_heading(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    metric_add(metrics_counter(m, "c", "help of c", "k=\"1\""), 2);
    metric_set(metrics_gauge(m, "g", "help of g", ""), -3);
    metric_add(metrics_counter(m, "c", "help of c", "k=\"2\""), 1);
    metric_add(metrics_counter(m, "c", "help of c", "k=\"1\""), 5);
    assert_int_equal(metric_value(metrics_counter(m, "c", "", "k=\"1\"")), 7);
    char *text = metrics_text(m);
    assert_contains(
        text,
        "# HELP c help of c\n# TYPE c counter\nc{k=\"1\"} 7\nc{k=\"2\"} 1\n# HELP g help of g\n# TYPE g gauge\ng -3\n");
    free(text);
    metrics_free(m);
}

static void histogram_buckets_are_cumulative(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metric *h = metrics_histogram(m, "h", "time", "");
    metric_observe_us(h, 1000); /* exactly the first bound */
    metric_observe_us(h, 1001);
    metric_observe_us(h, 99000000); /* past the last */
    char *text = metrics_text(m);
    assert_contains(text, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\n");
    assert_contains(text, "h_bucket{le=\"10000\"} 2\nh_bucket{le=\"+Inf\"} 3\n");
    assert_contains(text, "h_count 3\n");
    free(text);
    metrics_free(m);
}

static void past_the_bound_series_share_one_that_is_exported(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    char labels[32];
    for (int i = 0; i < METRICS_SERIES_MAX + 10; i++) {
        (void)snprintf(labels, sizeof labels, "n=\"%d\"", i);
        metric_add(metrics_counter(m, "many", "many", labels), 1);
    }
    char *text = metrics_text(m);
    assert_contains(text, "shop_metrics_overflow 10\n");
    free(text);
    metrics_free(m);
    metric_add(metrics_counter(NULL, "nowhere", "", ""),
               1); /* no registry: goes nowhere, quietly */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(series_are_found_again_and_printed_under_one_heading),
        cmocka_unit_test(histogram_buckets_are_cumulative),
        cmocka_unit_test(past_the_bound_series_share_one_that_is_exported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
