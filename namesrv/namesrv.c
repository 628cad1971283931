/* The name server: puts loop, server and route table together, and ends what went silent.
 *
 * Owns: the loop, the server, the table, the scan timer. Runs on: open and close on the caller's thread,
 * everything else on the one loop, so the table needs no lock.
 *
 * A broker leaves the table in three ways: it says so (104), its connection ends, or it gave no sign of
 * life for its timeout (the scan). All three mind that a successor may have registered on a later
 * connection (table.c).
 *
 * Failure modes: open undoes itself. Nothing is persisted: after a restart brokers register again within
 * their period, 30 s at most; needWaitForService keeps half-filled answers from clients meanwhile. */
#include "namesrv/namesrv_priv.h"

#include <stdlib.h>

#include "base/log.h"

static const struct route routes[] = {
#define ROUTE(code, handler, class) {RC_##code, handler, ROUTE_##class},
#include "namesrv/routes.def"
#undef ROUTE
};

/* --- leaving --- */

void namesrv_log_gone(const char *event, const struct broker_ref *b)
{
    char name[160], addr[160], cluster[160];
    LOGI(event, "broker=%s id=%lld addr=%s cluster=%s", log_quote(b->name, name, sizeof name),
         (long long)b->id, log_quote(b->addr, addr, sizeof addr),
         log_quote(b->cluster, cluster, sizeof cluster));
}

static void on_lost(void *arg, const struct broker_ref *b)
{
    (void)arg;
    namesrv_log_gone("broker_disconnected", b);
}

static void on_silent(void *arg, const struct broker_ref *b)
{
    (void)arg;
    namesrv_log_gone("broker_silent", b);
}

static void on_conn_closed(struct server *s, struct conn *c)
{
    struct namesrv *n = server_owner(s);
    if (conn_user(c) != NULL) /* a broker spoke on it */
        route_table_conn_closed(n->routes, conn_id(c), on_lost, n);
}

static void on_scan(uv_timer_t *timer)
{
    struct namesrv *n = LIST_ENTRY(timer, struct namesrv, scan);
    route_table_expire(n->routes, namesrv_now(n), on_silent, n);
}

/* --- open and close --- */

static void start_scan(void *arg)
{
    struct namesrv *n = arg;
    uint64_t period = (uint64_t)n->scan_interval_ms;
    uv_timer_init(&n->loop.uv, &n->scan);
    uv_timer_start(&n->scan, on_scan, period, period);
}

static void on_scan_closed(uv_handle_t *h)
{
    uv_sem_post(&LIST_ENTRY(h, struct namesrv, scan)->scan_closed);
}

static void stop_scan(void *arg)
{
    struct namesrv *n = arg;
    uv_close((uv_handle_t *)&n->scan, on_scan_closed);
}

static int open_server(struct namesrv *n, const struct namesrv_conf *c, struct err *e)
{
    struct loop *loops[] = {&n->loop};
    const struct server_opts o = {
        .name = "namesrv",
        .bind_address = c->bind_address,
        .port = c->listen_port,
        .backlog = c->backlog,
        .loops = loops,
        .loop_n = 1,
        .routes = routes,
        .route_n = sizeof routes / sizeof *routes,
        .owner = n,
        .clock = n->clock,
        .on_close = on_conn_closed,
        .conn_max = c->connections_max,
        .conn_per_ip_max = c->connections_per_ip_max,
        .idle_ms = (int64_t)c->idle_seconds * 1000,
    };
    return server_open(&n->server, &o, e);
}

int namesrv_open(struct namesrv **out, const struct namesrv_conf *c, const struct clock *clock, struct err *e)
{
    struct namesrv *n = calloc(1, sizeof *n);
    struct route_table *t = route_table_new(c->delete_missing_topics);
    int rc = n == NULL || t == NULL ? err_set(e, E_NOMEM, "name server") : 0;
    if (rc != 0)
        goto err_after_memory;
    n->routes = t;
    n->clock = clock;
    n->scan_interval_ms = c->scan_interval;
    n->all_topic_list_enable = c->all_topic_list_enable;
    n->ready_at_ms = namesrv_now(n) + (c->wait_for_service ? (int64_t)c->wait_seconds * 1000 : 0);
    rc = loop_start(&n->loop, "namesrv", 0, e);
    if (rc != 0)
        goto err_after_memory;
    MQ_ASSERT(uv_sem_init(&n->scan_closed, 0) == 0);
    rc = open_server(n, c, e);
    if (rc != 0)
        goto err_after_loop;
    MQ_ASSERT(loop_call(&n->loop, start_scan, n) == 0);
    *out = n;
    return 0;

err_after_loop:
    loop_stop(&n->loop);
    uv_sem_destroy(&n->scan_closed);
err_after_memory:
    route_table_free(t);
    free(n);
    return rc;
}

int namesrv_port(const struct namesrv *n)
{
    return server_port(n->server);
}

void namesrv_close(struct namesrv *n)
{
    server_close(n->server);
    MQ_ASSERT(loop_call(&n->loop, stop_scan, n) == 0);
    uv_sem_wait(&n->scan_closed);
    loop_stop(&n->loop);
    uv_sem_destroy(&n->scan_closed);
    route_table_free(n->routes);
    free(n);
}
