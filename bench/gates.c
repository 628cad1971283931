/* Rows and gates of the broker's targets, as data; see gates.h. A gate is judged by medians. */
#include "bench/gates.h"

#include <string.h>

const struct table_row table_rows[] = {
    {"send-async-1x1", "send-async-1x1", "rate", "msg/s", "send, 1 in flight, async flush",
     "beanstalkd", 0},
    {"send-async-1x1-p50", "send-async-1x1", "p50_us", "us", "  its p50", "beanstalkd", 0},
    {"send-async-1x64", "send-async-1x64", "rate", "msg/s", "send, 1 x 64, async", "nats", 0},
    {"send-async-1x64-p99", "send-async-1x64", "p99_us", "us", "  its p99", "nats", 0},
    {"send-async-8x64", "send-async-8x64", "rate", "msg/s", "send, 8 x 64, async", "redis", 0},
    {"send-async-8x64-p99", "send-async-8x64", "p99_us", "us", "  its p99", "redis", 0},
    {"send-sync-1x1", "send-sync-1x1", "rate", "msg/s", "send, 1 in flight, sync flush", NULL, 0},
    {"send-sync-1x64", "send-sync-1x64", "rate", "msg/s", "send, 1 x 64, sync", "redis", 0},
    {"send-sync-8x64", "send-sync-8x64", "rate", "msg/s", "send, 8 x 64, sync", "redis", 0},
    {"batch-1x8", "batch-1x8", "rate", "msg/s", "batch of 32, 1 x 8 (other: single, 1 x 64)", "one",
     0},
    {"batch-8x8", "batch-8x8", "rate", "msg/s", "batch of 32, 8 x 8 (other: single, 8 x 64)", "one",
     0},
    {"pull", "pull", "rate", "msg/s", "pull, hot, 32 each, 8 connections", NULL, 0},
    {"route", "route", "rate", "1/s", "route query, 8 x 64", NULL, 0},
    {"cpu", "send-async-8x64", "cpu_us", "us", "server CPU per message, async 8 x 64", "redis", 2},
    {"start", "start", "ready_ms", "ms", "empty store: start to ready", NULL, 1},
    {"start-rss", "start", "rss_mb", "MB", "  memory then", NULL, 1},
    {"connections", "connections", "rss_mb", "MB", "memory with 10,000 held pulls", NULL, 1},
    {"recovery", "recovery", "ready_s", "s", "restart after kill -9, large log", NULL, 2},
    {"recovery-read", "recovery", "verified_mb", "MB", "  bytes it verified", NULL, 1},
    {"flow", "flow", "rate", "msg/s", "produce and consume, 8 x 64: produced", NULL, 0},
    {"flow-share", "flow", "consumed_share", "", "  consumed / produced", NULL, 3},
    {"latency", "latency", "p99_us", "us", "send to listener, 10 % of Apache's rate: p99", NULL, 0},
    {"latency-own", "latency-own", "p99_us", "us", "send to listener, 10 % of own rate: p99", NULL,
     0},
    {"latency-own-p50", "latency-own", "p50_us", "us", "  its p50", NULL, 0},
    {"tx", "tx", "rate", "tx/s", "transaction (half + commit), 8 x 64", NULL, 0},
    {"topics", "topics", "rate", "msg/s", "10,000 topics x 8 queues (other: one topic)", "one", 0},
    {"idle", "idle", "cpu_percent", "%", "idle CPU, 1,000 held pulls", NULL, 2},
};
const size_t table_rows_n = sizeof table_rows / sizeof table_rows[0];

const struct gate gates[] = {
    {"send-async-1x1", "rate", "apache", true, 2.0, ">= 2.0 x Apache"},
    {"send-async-1x1", "rate", "beanstalkd", true, 0.9, ">= 0.9 x beanstalkd"},
    {"send-async-1x64", "rate", "apache", true, 3.5, ">= 3.5 x Apache"},
    {"send-async-1x64", "rate", "nats", true, 1.0, ">= 1.0 x NATS JetStream"},
    {"send-async-1x64-p99", "p99_us", "apache", false, 0.25, "<= 1/4 of Apache"},
    {"send-async-8x64", "rate", "apache", true, 3.5, ">= 3.5 x Apache"},
    {"send-async-8x64", "rate", "redis", true, 1.3, ">= 1.3 x Redis (everysec)"},
    {"send-async-8x64-p99", "p99_us", "apache", false, 0.25, "<= 1/4 of Apache"},
    {"send-sync-1x1", "rate", "apache", true, 1.8, ">= 1.8 x Apache"},
    {"send-sync-1x64", "rate", "apache", true, 2.2, ">= 2.2 x Apache"},
    {"send-sync-1x64", "rate", "redis", true, 1.5, ">= 1.5 x Redis (always)"},
    {"send-sync-8x64", "rate", "apache", true, 4.0, ">= 4 x Apache"},
    {"send-sync-8x64", "rate", "redis", true, 1.8, ">= 1.8 x Redis (always)"},
    {"batch-1x8", "rate", "one", true, 2.5, ">= 2.5 x own single sends"},
    {"batch-8x8", "rate", "one", true, 2.5, ">= 2.5 x own single sends"},
    {"pull", "rate", "apache", true, 1.5, ">= 1.5 x Apache"},
    {"route", "rate", "apache", true, 2.0, ">= 2 x Apache's name server"},
    {"cpu", "cpu_us", "apache", false, 0.2, "<= 1/5 of Apache"},
    {"start", "ready_ms", NULL, false, 100, "<= 100 ms"},
    {"start-rss", "rss_mb", NULL, false, 30, "<= 30 MB"},
    {"connections", "rss_mb", NULL, false, 300, "<= 300 MB"},
    {"recovery", "ready_s", NULL, false, 5, "<= 5 s"},
    {"flow-share", "consumed_share", NULL, true, 0.9, ">= 90 % of production"},
    {"latency", "p99_us", "apache", false, 0.2, "<= 1/5 of Apache"},
    {"tx", "rate", "apache", true, 4.0, ">= 4 x Apache"},
    {"topics", "rate", "one", true, 0.9, ">= 90 % of one topic"},
    {"idle", "cpu_percent", NULL, false, 1, "< 1 % of a core"},
};
const size_t gates_n = sizeof gates / sizeof gates[0];

static const char *source_of(const char *id)
{
    for (size_t i = 0; i < table_rows_n; i++)
        if (strcmp(table_rows[i].id, id) == 0)
            return table_rows[i].source;
    return id;
}

enum verdict gate_judge(const struct gate *g, const struct results *r, double *value)
{
    const char *source = source_of(g->id);
    const struct result *ours = results_find(r, source, "ours", g->metric);
    if (ours == NULL)
        return GATE_UNKNOWN;
    *value = result_median(ours);
    if (g->versus != NULL) {
        const struct result *peer = results_find(r, source, g->versus, g->metric);
        if (peer == NULL || result_median(peer) <= 0)
            return GATE_UNKNOWN;
        *value /= result_median(peer);
    }
    return (g->at_least ? *value >= g->bound : *value <= g->bound) ? GATE_MET : GATE_NOT_MET;
}
