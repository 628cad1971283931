/* The consuming scenes: hot pulls, produce and consume, end-to-end latency, held pulls; see scene.h.
 * Runs on the caller's thread.
 *
 * Where messages are produced in the same run each must be consumed exactly once before figures are
 * printed; latency is from the time the schedule gave the message (open loop) to its arrival in a
 * pull's answer, on one clock, since producer and consumer are one process. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/proc.h"
#include "bench/scene.h"

enum { PULL_MAX = 32, BACKLOG_SLICE_MS = 100 };

int scene_pull(const struct scene *s, struct err *e)
{
    const struct rmq_topics from = {s->topic, s->topics, s->queues};
    struct rmq_pull pull = {.from = &from,
                            .mode = RMQ_ROUND,
                            .links = s->connections,
                            .max = PULL_MAX,
                            .slots_n = (int64_t)s->topics * s->queues};
    struct group g = {.driver = &rmq_pull_driver,
                      .self = &pull,
                      .host = s->host,
                      .connections = s->connections,
                      .inflight = s->inflight};
    struct window w = {0};
    const struct plan plan = scene_plan(s);
    int rc = rmq_pull_init(&pull, e);
    if (rc == 0)
        rc = load_run(&g, 1, &plan, &w, e);
    if (rc == 0 && g.window_units == 0)
        rc = err_set(e, E_FAILED, "no message came");
    if (rc == 0) {
        printf("pull %dx%d: %.0f msg/s\n", s->connections, s->inflight,
               (double)g.window_units / w.seconds);
        rc = scene_record(s, "rate", (double)g.window_units / w.seconds, e);
    }
    rmq_pull_free(&pull);
    load_free(&g, 1);
    return rc;
}

/* --- produce and consume --- */

struct flow {
    struct group g[2]; /* producers, consumers */
    struct rmq_topics topics;
    struct rmq_send send;
    struct rmq_pull pull;
    struct tally tally;
    int64_t backlog_max;
    /* latency */
    double warm_ns;
    struct hist hist;
};

static int flow_message(void *arg, const struct message *m, struct err *e)
{
    struct flow *f = arg;
    int64_t seq;
    f->tally.sent = f->g[0].next_seq;
    const int rc = tally_message(&f->tally, m, &seq, e);
    if (rc == 0 && f->g[0].rate > 0) {
        const int64_t due = f->g[0].sent_ns[seq];
        if ((double)(due - f->g[0].sent_ns[0]) >= f->warm_ns)
            hist_add(&f->hist, clock_mono_ns(&clock_system) - due);
    }
    return rc;
}

static bool flow_consumed(void *arg)
{
    const struct flow *f = arg;
    return f->tally.seen_n >= f->g[0].done;
}

static bool flow_slice(void *arg, double rate)
{
    struct flow *f = arg;
    const int64_t backlog = f->g[0].done - f->tally.seen_n;
    (void)rate;
    if (backlog > f->backlog_max)
        f->backlog_max = backlog;
    return false;
}

static int flow_init(struct flow *f, const struct scene *s, struct err *e)
{
    f->topics = (struct rmq_topics){s->topic, 1, s->queues};
    f->send = (struct rmq_send){.to = &f->topics, .body = (size_t)s->body, .batch = 1};
    const int readers = s->connections < s->queues ? s->connections : s->queues;
    f->pull = (struct rmq_pull){.from = &f->topics,
                                .mode = RMQ_FOLLOW,
                                .links = readers,
                                .max = PULL_MAX,
                                .slots_n = s->queues,
                                .each = flow_message,
                                .arg = f};
    f->g[0] = (struct group){.driver = &rmq_send_driver,
                             .self = &f->send,
                             .host = s->host,
                             .connections = s->connections,
                             .inflight = s->rate > 0 ? LOAD_INFLIGHT_MAX : s->inflight,
                             .rate = s->rate,
                             .keep = true};
    f->g[1] = (struct group){.driver = &rmq_pull_driver,
                             .self = &f->pull,
                             .host = s->host,
                             .connections = readers,
                             .inflight = s->queues,
                             .background = true};
    f->warm_ns = s->warmup_seconds * 1e9;
    f->tally =
        (struct tally){.body = (size_t)s->body, .per_mark = 1, .seen = calloc(LOAD_SEQ_MAX, 1)};
    if (f->tally.seen == NULL)
        return err_set(e, E_NOMEM, "tally");
    int rc = rmq_create_topics(&s->host, &f->topics, e);
    if (rc == 0)
        rc = rmq_pull_init(&f->pull, e);
    if (rc == 0)
        rc = scene_starts(s, &f->topics, f->pull.slot, e);
    return rc == 0 ? rmq_send_init(&f->send, e) : rc;
}

static void flow_free(struct flow *f)
{
    rmq_send_free(&f->send);
    rmq_pull_free(&f->pull);
    load_free(f->g, 2);
    free(f->tally.seen);
    free(f);
}

/* Runs it; on 0 every acknowledged message was consumed once. */
static int flow_run(struct flow *f, const struct scene *s, struct window *w, struct err *e)
{
    struct plan plan = scene_plan(s);
    plan.finished = flow_consumed;
    plan.slice = flow_slice;
    plan.slice_ms = BACKLOG_SLICE_MS;
    plan.arg = f;
    int rc = flow_init(f, s, e);
    if (rc == 0)
        rc = load_run(f->g, 2, &plan, w, e);
    if (rc != 0)
        return rc;
    f->tally.acked = f->g[0].mark;
    if (f->g[0].refused > 0)
        return err_set(e, E_REMOTE, "%lld sends were refused", (long long)f->g[0].refused);
    const int64_t lost = tally_lost(&f->tally);
    return lost == 0 ? 0
                     : err_set(e, E_CORRUPT, "%lld acknowledged messages were not consumed",
                               (long long)lost);
}

int scene_flow(const struct scene *s, struct err *e)
{
    struct window w = {0};
    struct flow *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, E_NOMEM, "flow");
    int rc = flow_run(f, s, &w, e);
    if (rc == 0) {
        const double in = (double)f->g[0].window_units / w.seconds,
                     out = (double)f->g[1].window_units / w.seconds;
        printf("flow %dx%d: produced %.0f msg/s, consumed %.0f msg/s, backlog at most %lld\n",
               s->connections, s->inflight, in, out, (long long)f->backlog_max);
        rc = scene_record(s, "rate", in, e);
        if (rc == 0)
            rc = scene_record(s, "consumed_share", out / in, e);
        if (rc == 0)
            rc = scene_record(s, "backlog", (double)f->backlog_max, e);
    }
    flow_free(f);
    return rc;
}

int scene_latency(const struct scene *s, struct err *e)
{
    struct window w = {0};
    struct flow *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, E_NOMEM, "latency");
    int rc = flow_run(f, s, &w, e);
    if (rc == 0) {
        const struct hist *h = &f->hist;
        printf("latency at %lld msg/s: p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n",
               (long long)s->rate, (double)hist_quantile_ns(h, 0.5) / 1000,
               (double)hist_quantile_ns(h, 0.99) / 1000, (double)hist_quantile_ns(h, 0.999) / 1000,
               (double)h->max_ns / 1000);
        rc = scene_record_latency(s, h, e);
        if (rc == 0)
            rc = scene_record(s, "rate", (double)f->g[0].window_units / w.seconds, e);
    }
    flow_free(f);
    return rc;
}

/* --- held pulls --- */

struct idle {
    const struct scene *s;
    const struct group *g;
    int64_t rss_kib;
    bool held; /* every connection had its pull with the server at the end */
};

static bool idle_look(void *arg)
{
    struct idle *i = arg;
    i->rss_kib = proc_status_kib(i->s->pid, "VmRSS");
    i->held = i->g->outstanding == i->s->connections;
    return true;
}

int scene_idle(const struct scene *s, struct err *e)
{
    const struct rmq_topics from = {s->topic, 1, s->queues};
    struct rmq_pull pull = {.from = &from,
                            .mode = RMQ_FOLLOW,
                            .links = s->connections,
                            .max = PULL_MAX,
                            .slots_n = s->connections};
    struct group g = {.driver = &rmq_pull_driver,
                      .self = &pull,
                      .host = s->host,
                      .connections = s->connections,
                      .inflight = 1,
                      .background = true};
    struct idle idle = {.s = s, .g = &g};
    struct window w = {0};
    struct plan plan = scene_plan(s);
    plan.finished = idle_look;
    plan.arg = &idle;
    int rc = rmq_create_topics(&s->host, &from, e);
    if (rc == 0)
        rc = rmq_pull_init(&pull, e);
    if (rc == 0)
        rc = load_run(&g, 1, &plan, &w, e);
    if (rc == 0 && (!idle.held || w.cpu_ns < 0 || idle.rss_kib < 0))
        rc = err_set(e, E_FAILED, "the pulls were not held, or process %d is gone", s->pid);
    if (rc == 0) {
        const double percent = (double)w.cpu_ns / w.seconds / 1e7;
        printf("%d held pulls: %.2f %% of a core, %.1f MB resident\n", s->connections, percent,
               (double)idle.rss_kib / 1024);
        rc = scene_record(s, "cpu_percent", percent, e);
        if (rc == 0)
            rc = scene_record(s, "rss_mb", (double)idle.rss_kib / 1024, e);
    }
    rmq_pull_free(&pull);
    load_free(&g, 1);
    return rc;
}
