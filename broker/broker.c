/* The broker, put together and taken apart.
 *
 * Runs on: the thread that calls broker_open and broker_close (in the program: main).
 *
 * Up: tables -> store (locks the directory, recovers) -> config files -> service loop -> network
 * loops
 * -> delay and transactions -> ports -> registration. A failure on the way takes down what is up,
 * in reverse; `stage` says how far it got.
 *
 * Down: no new work (stopping), goodbye to the name servers, parked pulls are answered, puts in
 * flight finish, connections close, loops stop, the last config files and the store's own clean
 * stop.
 *
 * Failure while running: the store FAILED. Sends are answered 14 with the reason, pulls go on, the
 * log says so once, and the exit code at the end is not 0. */
#include "broker/broker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/client_mgr.h"
#include "broker/delay.h"
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/hold.h"
#include "broker/lock.h"
#include "broker/offset.h"
#include "broker/persist.h"
#include "broker/register.h"
#include "broker/service.h"
#include "broker/system_tables.h"
#include "broker/topic.h"
#include "broker/tx.h"

enum { SWEEP_MS = 250, LOCKS_MAX = 1000 * 1000, OFFSETS_PER_GROUP = 16, LOOPS_AUTO_MAX = 4 };

enum stage { /* what is up */
    UP_NOTHING, UP_TABLES, UP_STORE, UP_SERVICE, UP_NETS, UP_JOBS, UP_SERVER
};

/* --- tables and store --- */

static int tables_open(struct broker *b, struct err *e)
{
    const struct broker_conf *c = b->conf;
    const struct clients_limits limits = {
        .groups_max = (size_t)c->groups_max,
        .members_max = (size_t)c->group_members_max,
        .subs_max = (size_t)c->group_subs_max,
        .expire_ms = c->channel_expired_timeout,
    };
    b->topics = topics_new((size_t)c->topics_max);
    b->groups = groups_new((size_t)c->groups_max);
    b->offsets = offsets_new((size_t)c->groups_max * OFFSETS_PER_GROUP);
    b->clients = clients_new(&limits, b->clock);
    b->locks = locks_new(b->clock, LOCKS_MAX);
    if (b->topics && b->groups && b->offsets && b->clients && b->locks)
        return 0;
    return err_set(e, E_NOMEM, "tables: out of memory");
}

static void tables_close(struct broker *b)
{
    topics_free(b->topics);
    groups_free(b->groups);
    offsets_free(b->offsets);
    clients_free(b->clients);
    locks_free(b->locks);
}

static void on_arrive(void *arg, const struct store_arrival *list, size_t n)
{
    struct broker *b = arg;
    hold_arrive(b->hold, list, n);
}

static void on_failed(void *arg, const char *reason)
{
    struct broker *b = arg;
    snprintf(b->failed_reason, sizeof b->failed_reason, "The store has failed and is read-only: %s",
             reason);
    b->failed = true; /* the store has logged it */
}

static void on_progress(void *arg, const struct store_progress *p)
{
    const struct broker *b = arg;
    if (b->opts->on_progress)
        b->opts->on_progress(b->opts->arg, p);
}

static int open_store(struct broker *b, struct err *e)
{
    const struct broker_conf *c = b->conf;
    struct store_opts so;
    store_opts_defaults(&so);
    so.root_dir = c->store_root;
    so.commitlog_dir = c->store_commitlog;
    so.consumequeue_dir = c->store_consumequeue;
    so.index_dir = c->store_index;
    so.checkpoint_path = c->store_checkpoint;
    so.abort_path = c->store_abort;
    so.commitlog_file_size = c->commitlog_file_size;
    so.cq_file_size = c->cq_file_size;
    so.flush_mode = c->flush_disk_type == FLUSH_DISK_SYNC ? FLUSH_SYNC : FLUSH_ASYNC;
    so.page_cache_trust_ms = c->page_cache_trust_ms;
    so.zero_ahead_bytes = (int64_t)c->zero_ahead_mib * 1024 * 1024;
    so.flush_interval_ms = c->flush_interval;
    so.flush_least_pages = c->flush_least_pages;
    so.flush_thorough_ms = c->flush_thorough;
    so.cq_flush_interval_ms = c->cq_flush_interval;
    so.cq_flush_least_pages = c->cq_flush_least_pages;
    so.cq_flush_thorough_ms = c->cq_flush_thorough;
    so.sync_flush_timeout_ms = c->sync_flush_timeout;
    so.max_message_size = c->max_message_size;
    so.transfer_count_max = c->transfer_count_max;
    so.transfer_bytes_max = c->transfer_bytes_max;
    so.disk_count_max = c->disk_count_max;
    so.disk_bytes_max = c->disk_bytes_max;
    so.memory_ratio = c->memory_ratio;
    so.filter_scan_bytes = c->filter_scan_bytes;
    so.index_enable = c->index_enable;
    so.index_slots = c->index_slots;
    so.index_items = c->index_items;
    so.check_crc_on_recover = c->check_crc_on_recover;
    so.force_verify_prop_crc = c->force_verify_prop_crc;
    so.file_reserved_ms = c->file_reserved_hours * 3600 * 1000;
    so.clean_interval_ms = c->clean_interval;
    so.clean_log_pause_ms = c->clean_log_pause;
    so.clean_cq_pause_ms = c->clean_cq_pause;
    so.clean_batch = c->clean_batch;
    so.disk_used_max = c->disk_used_max;
    so.disk_clean_forcibly = c->disk_clean_forcibly;
    so.disk_warning = c->disk_warning;
    so.clean_forcibly = c->clean_forcibly;
    so.keep_from = 0; /* everything, until the service loop knows what is undecided */
    const int rc = store_hours_parse(c->delete_when, &so.delete_hours, e);
    if (rc != 0)
        return rc;
    so.delay_level_ms = b->delay_level_ms;
    so.delay_level_n = b->delay_level_n;
    so.fs = b->fs;
    so.clock = b->clock;
    so.on_arrive = on_arrive;
    so.on_progress = on_progress;
    so.on_failed = on_failed;
    so.arg = b;
    const int opened = store_open(&b->store, &so, &b->recovery, e);
    if (opened == 0) /* store times never go back, so what is measured against them must not either */
        clock_steady_raise(&b->steady, b->recovery.last_ts);
    return opened;
}

/* What is missing in the files is made again at each start, and written when there is space again. */
static int save_if_space(int rc, const char *name, const struct err *e)
{
    if (rc != E_NOSPC)
        return rc;
    LOGE("config.write", "file=%s error=\"%s\" text=\"the broker starts on a full disk\"", name, e->text);
    return 0;
}

static int load_config(struct broker *b, struct err *e)
{
    char dir[4200];
    snprintf(dir, sizeof dir, "%s/config", b->conf->store_root);
    int rc = fs_mkdirs(b->fs, dir, e);
    if (rc == 0)
        rc = persist_load_tables(b, e);
    if (rc == 0)
        rc = system_tables_complete(b, e);
    if (rc == 0)
        rc = save_if_space(persist_save_topics(b, e), "topics.json", e);
    return rc == 0 ? save_if_space(persist_save_groups(b, e), "subscriptionGroup.json", e) : rc;
}

/* --- network loops --- */

static void on_sweep(uv_timer_t *t)
{
    struct net *n = t->data;
    hold_sweep(n->broker->hold, n->loop.index);
}

static void sweep_begin(void *arg)
{
    struct net *n = arg;
    int rc = uv_timer_init(&n->loop.uv, &n->sweep);
    n->sweep.data = n;
    rc = rc == 0 ? uv_timer_start(&n->sweep, on_sweep, SWEEP_MS, SWEEP_MS) : rc;
    MQ_ASSERT(rc == 0);
}

static void sweep_end(void *arg)
{
    struct net *n = arg;
    uv_close((uv_handle_t *)&n->sweep, NULL);
}

/* Measured in docs/decisions/0007-network-loops.md. More than four gain nothing: the log has one writer. */
static int loop_count(const struct broker_conf *c)
{
    const unsigned cores = uv_available_parallelism();
    return c->loops > 0 ? c->loops : cores > LOOPS_AUTO_MAX ? LOOPS_AUTO_MAX : (int)cores;
}

static int net_open(struct broker *b, int i, struct err *e)
{
    struct net *n = &b->nets[i];
    char name[16];
    snprintf(name, sizeof name, "net%d", i);
    n->broker = b;
    list_init(&n->lines);
    rng_seed(&n->rng, rng_seed_from_os());
    int rc = loop_start(&n->loop, name, i, e);
    if (rc != 0)
        return rc;
    rc = submitter_init(&n->submit, b, &n->loop, e);
    if (rc != 0) {
        loop_stop(&n->loop);
        return rc;
    }
    return loop_call(&n->loop, sweep_begin, n);
}

static void net_close(struct net *n)
{
    submitter_drain(&n->submit);
    submitter_fini(&n->submit);
    int rc = loop_call(&n->loop, sweep_end, n);
    MQ_ASSERT(rc == 0);
    loop_stop(&n->loop);
}

static void nets_close(struct broker *b)
{
    for (int i = 0; i < b->net_n; i++)
        net_close(&b->nets[i]);
    free(b->nets);
}

static int nets_open(struct broker *b, struct err *e)
{
    int n = loop_count(b->conf);
    struct loop *loops[BROKER_LOOP_MAX];
    b->nets = calloc((size_t)n, sizeof *b->nets);
    if (!b->nets)
        return err_set(e, E_NOMEM, "network loops: out of memory");
    for (int i = 0; i < n; i++)
        loops[i] = &b->nets[i].loop;
    b->hold = hold_new(loops, n, b->clock, (size_t)b->conf->parked_pulls_max, e);
    int rc = b->hold ? 0 : E_NOMEM;
    for (; rc == 0 && b->net_n < n; b->net_n++)
        if ((rc = net_open(b, b->net_n, e)) != 0)
            break;
    if (rc != 0)
        nets_close(b);
    return rc;
}

/* --- what runs on the service loop beside its timers --- */

struct jobs_call {
    struct broker *b;
    struct err *e;
    int rc;
};

static void jobs_start(void *arg)
{
    struct jobs_call *c = arg;
    c->rc = tx_start(c->b, c->e);
    if (c->rc != 0)
        return;
    c->rc = delay_start(c->b, c->e);
    if (c->rc != 0)
        tx_stop(c->b);
}

static void jobs_begin(void *arg)
{
    tx_begin(arg);
    delay_begin(arg);
}

static void jobs_stop(void *arg)
{
    struct broker *b = arg;
    delay_stop(b);
    tx_stop(b);
}

static int jobs_open(struct broker *b, struct err *e)
{
    struct jobs_call c = {b, e, 0};
    int rc = loop_call(&b->service.loop, jobs_start, &c);
    return rc != 0 ? rc : c.rc;
}

static void jobs_close(struct broker *b)
{
    int rc = loop_call(&b->service.loop, jobs_stop, b);
    MQ_ASSERT(rc == 0);
}

/* --- ports --- */

static void on_conn_open(struct server *s, struct conn *c)
{
    (void)s;
    conn_set_user(c, client_conn_new(c));
}

static void on_conn_close(struct server *s, struct conn *c)
{
    struct broker *b = server_owner(s);
    struct client_conn *cc = conn_user(c);
    conn_set_user(c, NULL);
    if (cc)
        client_conn_closed(b->clients, cc);
}

static int port_open(struct broker *b, bool fast, int port, struct server **out, struct err *e)
{
    struct loop *loops[BROKER_LOOP_MAX];
    struct route *routes = fast ? b->fast_routes : b->routes;
    for (int i = 0; i < b->net_n; i++)
        loops[i] = &b->nets[i].loop;
    const struct server_opts so = {
        .name = fast ? "fast" : "broker",
        .bind_address = b->conf->bind_address,
        .port = port,
        .backlog = b->conf->backlog,
        .loops = loops,
        .loop_n = b->net_n,
        .routes = routes,
        .route_n = broker_routes(fast, routes),
        .owner = b,
        .clock = b->clock,
        .on_open = on_conn_open,
        .on_close = on_conn_close,
        .conn_max = b->conf->connections_max,
        .conn_per_ip_max = b->conf->connections_per_ip_max,
        .idle_ms = (int64_t)b->conf->idle_seconds * 1000,
        .inflight_max = b->conf->requests_per_connection_max,
        .whole_turns = b->conf->flush_disk_type == FLUSH_DISK_SYNC, /* a sync costs more than a turn */
        .busy_poll_us = b->conf->busy_poll_us,
    };
    return server_open(out, &so, e);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* What was written before is seen by every loop after it; what they posted before has arrived. */
static void barrier(struct broker *b)
{
    for (int i = 0; i < b->net_n; i++)
        if (loop_call(&b->nets[i].loop, nothing, NULL) != 0)
            LOGW("loop.gone", "loop=%d", i);
    if (loop_call(&b->service.loop, nothing, NULL) != 0)
        LOGW("loop.gone", "loop=service");
}

static void address_text(const char *ip, int port, char *out, size_t cap)
{
    snprintf(out, cap, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
}

static int set_addresses(struct broker *b, int port, struct err *e)
{
    int ha = b->conf->ha_listen_port > 0 ? b->conf->ha_listen_port : port + 1;
    address_text(b->conf->broker_ip1, port, b->address, sizeof b->address);
    address_text(b->conf->broker_ip2, ha, b->ha_address, sizeof b->ha_address);
    if (host_parse(slice_str(b->address), &b->store_host) != 0)
        return err_set(e, E_INVAL, "brokerIP1=%s is no usable address", b->conf->broker_ip1);
    return 0;
}

static int ports_open(struct broker *b, struct err *e)
{
    int rc = port_open(b, false, b->conf->listen_port, &b->server, e);
    if (rc != 0)
        return rc;
    if (b->conf->listen_port == 0) {
        rc = set_addresses(b, server_port(b->server), e);
        barrier(b);
    }
    int fast = b->conf->listen_port - 2;
    struct err why;
    if (rc != 0 || fast < 1)
        return rc;
    if (port_open(b, true, fast, &b->fast, &why) == 0) {
        b->fast_port = fast;
    } else {
        snprintf(b->fast_error, sizeof b->fast_error, "%s", why.text);
        LOGW("fast.port",
             "port=%d reason=\"%s\" effect=\"clients with vipChannelEnabled cannot send\"", fast,
             why.text);
    }
    return 0;
}

static void ports_close(struct broker *b)
{
    if (b->fast)
        server_close(b->fast);
    server_close(b->server);
}

/* --- up and down --- */

static int bring_up(struct broker *b, enum stage *stage, struct err *e)
{
    int rc = delay_levels_parse(b->conf->message_delay_level, b->delay_level_ms, e);
    b->delay_level_n = rc;
    if (rc < 0)
        return rc;
    *stage = UP_TABLES; /* what is missing is NULL */
    if ((rc = tables_open(b, e)) != 0 || (rc = open_store(b, e)) != 0)
        return rc;
    *stage = UP_STORE;
    if ((rc = load_config(b, e)) != 0 || (rc = set_addresses(b, b->conf->listen_port, e)) != 0 ||
        (rc = service_open(b, e)) != 0)
        return rc;
    if ((rc = submitter_init(&b->service.submit, b, &b->service.loop, e)) != 0) {
        service_close(b);
        return rc;
    }
    *stage = UP_SERVICE;
    if ((rc = nets_open(b, e)) != 0)
        return rc;
    *stage = UP_NETS;
    if ((rc = jobs_open(b, e)) != 0)
        return rc;
    *stage = UP_JOBS;
    if ((rc = ports_open(b, e)) != 0)
        return rc;
    *stage = UP_SERVER;
    rc = loop_call(&b->service.loop, jobs_begin, b);
    return rc == 0 ? service_begin(b, e) : rc;
}

static void close_holds(void *arg)
{
    struct net *n = arg;
    hold_close_loop(n->broker->hold, n->loop.index);
}

static void stop_serving(struct broker *b)
{
    server_drain(b->server);
    if (b->fast)
        server_drain(b->fast);
    barrier(b);
    service_end(b);
    barrier(b);
    for (int i = 0; i < b->net_n; i++)
        if (loop_call(&b->nets[i].loop, close_holds, &b->nets[i]) == 0)
            submitter_drain(&b->nets[i].submit);
}

static int last_writes(struct broker *b, struct err *e)
{
    int rc = persist_save_topics(b, e);
    if (rc == 0)
        rc = persist_save_groups(b, e);
    return rc == 0 ? persist_save_offsets(b, e) : rc;
}

static int take_down(struct broker *b, enum stage stage, bool orderly, struct err *e)
{
    int rc = 0;
    b->stopping = true;
    if (stage >= UP_SERVER)
        stop_serving(b);
    if (stage >= UP_JOBS)
        jobs_close(b);
    if (stage >= UP_SERVICE) {
        submitter_settle(&b->service.submit); /* op records with verdicts that are answered */
        submitter_drain(&b->service.submit);
    }
    if (stage >= UP_SERVER)
        ports_close(b);
    if (stage >= UP_NETS)
        nets_close(b);
    if (stage >= UP_SERVICE) {
        submitter_fini(&b->service.submit);
        service_close(b);
    }
    tx_free(b);
    registrar_free(b);
    if (stage >= UP_STORE) {
        rc = orderly ? last_writes(b, e) : 0;
        struct err close_error;
        int close_rc = store_close(b->store, &close_error);
        if (rc == 0 && close_rc != 0)
            rc = err_set(e, close_rc, "%s", close_error.text);
        if (orderly && close_rc == 0)
            delay_save(b);
        hold_free(b->hold); /* the flusher reports arrivals until the store is closed */
    }
    delay_free(b);
    if (rc == 0 && b->failed)
        rc = err_set(e, E_FAILED, "%s", b->failed_reason);
    if (stage >= UP_TABLES)
        tables_close(b);
    free(b);
    return rc;
}

int broker_open(struct broker **out, const struct broker_opts *o, struct err *e)
{
    struct broker *b = calloc(1, sizeof *b);
    enum stage stage = UP_NOTHING;
    if (!b)
        return err_set(e, E_NOMEM, "broker: out of memory");
    b->conf = o->conf;
    b->send_ext[0] = (struct ext_field){SLICE_LIT(PROP_MSG_REGION), slice_str(o->conf->region_id)};
    b->send_ext[1] = (struct ext_field){SLICE_LIT(PROP_TRACE_ON), slice_str(o->conf->trace_on ? "true" : "false")};
    b->opts = o;
    b->fs = o->fs ? o->fs : &fs_real;
    clock_steady_init(&b->steady, &clock_system, &clock_boot);
    b->clock = o->clock ? o->clock : FAILPOINT(FP_CLOCK_STEADY) ? &clock_system : &b->steady.base;
    int rc = bring_up(b, &stage, e);
    if (rc != 0) {
        struct err ignored;
        int down = take_down(b, stage, false, &ignored);
        (void)down;
        return rc;
    }
    b->opts = NULL;
    *out = b;
    return 0;
}

int broker_port(const struct broker *b)
{
    return server_port(b->server);
}

int broker_close(struct broker *b, struct err *e)
{
    return take_down(b, UP_SERVER, true, e);
}
