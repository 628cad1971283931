/* The send scene: any peer, closed or open loop, single, batch or transactional; see scene.h. Runs on
 * the caller's thread.
 *
 * Happy path: the topic (stream, tube) is made ready, the queues' ends are noted, the load runs, and
 * then every queue is read from its noted end; a broker may still be indexing what it has acknowledged,
 * so reading goes on while it makes progress. Peers without RocketMQ's protocol are asked for their
 * count instead; the limit program's log is counted from outside (limit --count).
 *
 * Failure: an acknowledged message that does not come back, a count that is too small: E_CORRUPT and no
 * figures are printed. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/pace.h"
#include "bench/proc.h"
#include "bench/scene.h"

enum {
    FLAT_SLICE_MS = 1000,
    FLAT_SLICES_MAX = 600,
    READ_LINKS = 4,
    READ_PULL = 32,
    READ_PATIENCE_MS = 10000
};

/* --- warming until flat --- */

struct warming {
    int64_t messages_min;
    double total, rates[FLAT_SLICES_MAX];
    size_t n;
};

static bool slice_is_flat(void *arg, double rate)
{
    struct warming *w = arg;
    if (w->n == FLAT_SLICES_MAX)
        return true;
    w->rates[w->n++] = rate;
    w->total += rate * FLAT_SLICE_MS / 1000;
    fprintf(stderr, "mqload: warming: %.0f msg/s\n", rate);
    return w->total >= (double)w->messages_min && flat_reached(w->rates, w->n, 0.05);
}

/* --- reading back --- */

static int each_tally(void *arg, const struct message *m, struct err *e)
{
    return tally_message(arg, m, NULL, e);
}

static bool scan_over(void *arg)
{
    return rmq_pull_ended(arg);
}

static int scan_once(const struct scene *s, struct rmq_pull *p, struct err *e)
{
    struct window w;
    struct group g = {.driver = &rmq_pull_driver,
                      .self = p,
                      .host = s->host,
                      .connections = READ_LINKS,
                      .inflight = 4,
                      .background = true};
    const struct plan plan = {
        .deadline_ms = s->seconds_max * 1000, .finished = scan_over, .arg = p};
    const int rc = load_run(&g, 1, &plan, &w, e);
    load_free(&g, 1);
    return rc;
}

static int read_back(const struct scene *s, struct rmq_pull *p, struct tally *t, struct err *e)
{
    int64_t moved_ms = clock_mono(&clock_system), seen = 0;
    p->arg = t;
    for (;;) {
        const int rc = scan_once(s, p, e);
        if (rc != 0)
            return rc;
        const int64_t lost = tally_lost(t), now = clock_mono(&clock_system);
        if (lost == 0)
            return 0;
        if (t->seen_n > seen)
            moved_ms = now;
        seen = t->seen_n;
        if (now - moved_ms > READ_PATIENCE_MS)
            return err_set(e, E_CORRUPT, "%lld acknowledged messages cannot be read back",
                           (long long)lost);
        rmq_pull_again(p);
    }
}

static int verify_rmq(const struct scene *s, struct rmq_pull *p, const struct group *g,
                      struct err *e)
{
    struct tally t = {.body = (size_t)s->body,
                      .sent = g->next_seq * s->batch,
                      .per_mark = s->batch,
                      .acked = g->mark,
                      .seen = calloc((size_t)(g->next_seq * s->batch) + 1, 1)};
    if (t.seen == NULL)
        return err_set(e, E_NOMEM, "reading back");
    const int rc = read_back(s, p, &t, e);
    free(t.seen);
    return rc;
}

/* --- figures --- */

static void print_line(const struct scene *s, const struct group *g, const struct window *w,
                       const char *checked)
{
    const struct hist *h = &g->hist;
    if (s->header)
        printf("%-9s %10s %9s %9s %9s %9s %9s %9s %8s %8s %10s\n", "load", "acked", "msg/s",
               "p50 us", "p99 us", "p99.9 us", "max us", "cpu us", "rss MB", "anon MB",
               "read back");
    char name[48], cpu[32] = "-", rss[32] = "-", anon[32] = "-";
    snprintf(name, sizeof name, "%dx%d", s->connections, s->inflight);
    if (s->pid > 0 && w->cpu_ticks >= 0) {
        const double ticks = (double)w->cpu_ticks / (double)sysconf(_SC_CLK_TCK);
        snprintf(cpu, sizeof cpu, "%.2f", ticks * 1e6 / (double)g->window_units);
        snprintf(rss, sizeof rss, "%.1f", (double)proc_status_kib(s->pid, "VmRSS") / 1024.0);
        snprintf(anon, sizeof anon, "%.1f", (double)proc_status_kib(s->pid, "RssAnon") / 1024.0);
    }
    printf("%-9s %10lld %9.0f %9.0f %9.0f %9.0f %9.0f %9s %8s %8s %10s\n", name,
           (long long)g->units, (double)g->window_units / w->seconds,
           (double)hist_quantile_ns(h, 0.50) / 1000, (double)hist_quantile_ns(h, 0.99) / 1000,
           (double)hist_quantile_ns(h, 0.999) / 1000, (double)h->max_ns / 1000, cpu, rss, anon,
           checked);
}

static int report(const struct scene *s, const struct group *g, const struct window *w,
                  const char *checked, struct err *e)
{
    if (g->window_units == 0 || w->seconds <= 0)
        return err_set(e, E_FAILED, "nothing was acknowledged inside the window");
    print_line(s, g, w, checked);
    int rc = scene_record(s, "rate", (double)g->window_units / w->seconds, e);
    if (rc == 0)
        rc = scene_record_latency(s, &g->hist, e);
    if (rc == 0)
        rc = scene_record(s, "acked", (double)g->units, e);
    if (rc == 0 && s->pid > 0 && w->cpu_ticks >= 0)
        rc = scene_record(
            s, "cpu_us",
            (double)w->cpu_ticks * 1e6 / (double)sysconf(_SC_CLK_TCK) / (double)g->window_units, e);
    if (rc == 0 && g->refused > 0)
        rc = err_set(e, E_REMOTE, "%lld sends were refused", (long long)g->refused);
    return rc;
}

static int run_load(const struct scene *s, struct group *g, struct window *w, struct err *e)
{
    struct warming warming = {.messages_min = s->flat_messages};
    struct plan plan = scene_plan(s);
    if (s->flat_messages > 0) {
        plan.slice_ms = FLAT_SLICE_MS;
        plan.slice = slice_is_flat;
        plan.arg = &warming;
    }
    return load_run(g, 1, &plan, w, e);
}

static struct group group_of(const struct scene *s)
{
    return (struct group){.host = s->host,
                          .connections = s->connections,
                          .inflight = s->rate > 0 ? LOAD_INFLIGHT_MAX : s->inflight,
                          .rate = s->rate,
                          .keep = true};
}

static int send_rmq(const struct scene *s, struct err *e)
{
    const struct rmq_topics to = {s->topic, s->topics, s->queues};
    struct rmq_send send = {.to = &to, .body = (size_t)s->body, .batch = s->batch, .tx = s->tx};
    struct rmq_pull pull = {.from = &to,
                            .mode = RMQ_SCAN,
                            .links = READ_LINKS,
                            .max = READ_PULL,
                            .slots_n = (int64_t)s->topics * s->queues,
                            .check = MESSAGE_CHECK_CRC,
                            .each = each_tally};
    struct group g = group_of(s);
    struct window w = {0};
    g.driver = &rmq_send_driver;
    g.self = &send;
    int rc = rmq_create_topics(&s->host, &to, e);
    if (rc == 0)
        rc = rmq_pull_init(&pull, e);
    if (rc == 0)
        rc = scene_starts(s, &to, pull.slot, e);
    if (rc == 0)
        rc = rmq_send_init(&send, e);
    if (rc == 0)
        rc = run_load(s, &g, &w, e);
    if (rc == 0 && s->verify)
        rc = verify_rmq(s, &pull, &g, e);
    if (rc == 0)
        rc = report(s, &g, &w, s->verify ? "all" : "not done", e);
    rmq_send_free(&send);
    rmq_pull_free(&pull);
    load_free(&g, 1);
    return rc;
}

static int send_peer(const struct scene *s, const struct peer *peer, struct err *e)
{
    struct peer_load load = {.body = (size_t)s->body};
    struct group g = group_of(s);
    struct window w = {0};
    int64_t count = 0;
    g.driver = peer->driver;
    g.self = &load;
    int rc = peer->build(&load);
    if (rc == 0)
        rc = peer->prepare(&s->host, e);
    if (rc == 0)
        rc = run_load(s, &g, &w, e);
    if (rc == 0)
        rc = peer->count(&s->host, &count, e);
    if (rc == 0 && (count < g.done || count > g.next_seq))
        rc = err_set(e, E_CORRUPT, "%lld acknowledged, the server holds %lld", (long long)g.done,
                     (long long)count);
    if (rc == 0)
        rc = report(s, &g, &w, "counted", e);
    buf_free(&load.frame);
    load_free(&g, 1);
    return rc;
}

int scene_send(const struct scene *s, struct err *e)
{
    static const struct peer *const peers[] = {&peer_redis, &peer_nats, &peer_beanstalkd};
    if (strcmp(s->peer, "rocketmq") == 0)
        return send_rmq(s, e);
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
        if (strcmp(s->peer, peers[i]->name) == 0)
            return send_peer(s, peers[i], e);
    return err_set(e, E_INVAL, "--peer %s: rocketmq, redis, nats or beanstalkd", s->peer);
}
