/* Asking every master of a cluster.
 *
 *   clusters from a name server (106) -> ask() for each master -> its answers -> then(), or the end
 *
 * The whole operation is one object on the stack of the calling thread, which waits for the end. The first
 * master that refuses or cannot be reached ends it with that reason; what others have agreed to stays. All
 * steps share one deadline. A cluster that nobody knows is reported with the names of those that are known:
 * a wrong name is the usual mistake.
 *
 * Runs on: the loop, after masters_run; masters_run itself on any other thread. */
#include "client/masters.h"

#include <stdlib.h>

enum { MASTERS_MAX = 1024 };

void masters_finish(struct masters *m)
{
    calls_cancel(&m->calls);
    timer_stop(&m->timer);
    if (m->on_end)
        m->on_end(m);
    cluster_info_done(m->c);
    sync_post(&m->done);
}

static void on_timeout(struct timer *t)
{
    struct masters *m = LIST_ENTRY(t, struct masters, timer);
    error_set(&m->error, HP_E_TIMEOUT,
              "%s: no end within the timeout (%zu brokers known, %zu answers missing)", m->what,
              m->n, m->waiting);
    masters_finish(m);
}

int masters_call(struct master *b, const struct rpc_request *q, rpc_done done, struct err *e)
{
    struct masters *m = b->m;
    struct rpc_request mine = *q;
    mine.address = slice_str(b->addr);
    mine.timeout_ms = m->deadline_ms - clock_mono(m->c->clock);
    return client_call(m->c, &m->calls, &mine, done, b, e);
}

bool masters_refused(struct master *b, const struct rpc_result *res)
{
    struct masters *m = b->m;
    if (res->status) {
        error_set(&m->error, public_code(res->status), "%s at %s: %.150s", m->what, res->address,
                  res->error.text);
    } else if (res->response->code != RESP_SUCCESS) {
        const struct slice remark = res->response->remark;
        error_set(&m->error, HP_E_BROKER, "%s: broker %s at %s refused with code %d: %.*s", m->what,
                  b->name, res->address, res->response->code,
                  (int)(remark.n < 120 ? remark.n : 120), remark.p ? remark.p : "");
        m->error.broker_code = res->response->code;
    } else {
        return false;
    }
    masters_finish(m);
    return true;
}

void masters_done(struct master *b)
{
    struct masters *m = b->m;
    if (--m->waiting > 0)
        return;
    if (m->then)
        m->then(m);
    else
        masters_finish(m);
}

/* --- which ones --- */

static int add_master(struct masters *m, struct slice name, const char *addr)
{
    struct master *grown = realloc(m->list, (m->n + 1) * sizeof *grown);
    if (!grown)
        return E_NOMEM;
    m->list = grown;
    grown[m->n] = (struct master){m, slice_dup(name), slice_dup(slice_str(addr))};
    const int rc = grown[m->n].name && grown[m->n].addr ? 0 : E_NOMEM;
    m->n++;
    return rc;
}

static int collect(struct masters *m)
{
    struct map_iter it = {0};
    int rc = 0;
    while (!rc && m->n < MASTERS_MAX && map_next(m->c->routes.brokers, &it)) {
        const struct broker *b = it.value;
        const char *addr = broker_address(b, 0);
        if (b->from_cluster_info && addr && strcmp(b->cluster, m->cluster) == 0)
            rc = add_master(m, it.key, addr);
    }
    return rc;
}

static void unknown_cluster(struct masters *m)
{
    struct buf known;
    buf_init(&known, 0);
    struct map_iter it = {0};
    while (map_next(m->c->routes.brokers, &it)) {
        const struct broker *b = it.value;
        if (b->from_cluster_info && buf_slice(&known).n < 80)
            buf_printf(&known, "%s %s", buf_slice(&known).n ? "," : " (known:", b->cluster);
    }
    const struct slice text = buf_slice(&known);
    error_set(&m->error, HP_E_NO_ROUTE,
              "%s: no cluster \"%.60s\" with a master is known to the name server%.*s%s", m->what,
              m->cluster, (int)text.n, text.n ? text.p : "", text.n ? ")" : "");
    buf_free(&known);
}

static void ask_all(struct masters *m)
{
    struct err e = {0};
    int rc = collect(m);
    if (!rc && !m->n) {
        unknown_cluster(m);
        masters_finish(m);
        return;
    }
    m->waiting = m->n;
    for (size_t i = 0; i < m->n && !rc; i++)
        rc = m->ask(&m->list[i], &e);
    if (rc) {
        error_from(&m->error, &e, rc, m->what);
        masters_finish(m);
    }
}

static void on_clusters(void *arg, const struct rpc_result *res)
{
    struct masters *m = arg;
    struct err e = res->error;
    int rc = res->status;
    if (!rc && res->response->code != RESP_SUCCESS)
        rc = err_set(&e, E_REMOTE, "code %d", res->response->code);
    if (!rc)
        rc = cluster_info_apply(m->c, res->response->body, &e);
    if (!rc) {
        ask_all(m);
        return;
    }
    error_set(&m->error, rc == E_TIMEOUT || rc == E_CLOSED ? HP_E_CONNECT : public_code(rc),
              "%s: asking name server %s for its clusters: %.150s", m->what, res->address, e.text);
    masters_finish(m);
}

static void start_on_loop(void *arg)
{
    struct masters *m = arg;
    struct err e = {0};
    timer_start(&m->c->timers, &m->timer, m->timeout_ms, on_timeout);
    const int rc = ns_call(m->c, &m->calls, RC_GET_BROKER_CLUSTER_INFO, SLICE_NULL, on_clusters, m,
                           &e);
    if (rc) {
        error_from(&m->error, &e, rc, "asking for clusters");
        masters_finish(m);
    }
}

int masters_run(struct masters *m, struct hp_error *err)
{
    if (!m->cluster || !*m->cluster)
        return error_set(
            err, HP_E_INVALID,
            "cluster is empty; brokers are in DefaultCluster unless configured otherwise");
    if (m->timeout_ms <= 0)
        return error_set(err, HP_E_INVALID, "timeout_ms has to be positive");
    m->deadline_ms = clock_mono(m->c->clock) + m->timeout_ms;
    list_init(&m->calls);
    timer_init(&m->timer);
    int rc = sync_init(&m->done, err);
    if (!rc)
        rc = client_run(m->c, start_on_loop, m, err);
    if (!rc) {
        sync_wait(&m->done);
        rc = m->error.code;
        if (rc && err)
            *err = m->error;
    }
    for (size_t i = 0; i < m->n; i++) {
        free(m->list[i].name);
        free(m->list[i].addr);
    }
    free(m->list);
    return rc;
}
