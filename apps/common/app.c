/* The life of a service, from main to exit.
 *
 * Threads: the main thread starts everything and then waits for signals, which are blocked everywhere
 * else; workers of HTTP, message client and jobs do the work.
 *
 * Start goes down the list in app_main, shutdown goes up it again: first nothing new comes in (HTTP
 * drained), then nothing new is begun (jobs, consumers), then what they all used goes away (producer,
 * state, pool). What does not end within drain-ms is left behind with a log line: the database rolls it
 * back, the broker delivers it again, and that is the same as a crash, which everything here survives.
 *
 * Failure at start: one line on stderr that says what to change, exit 1; nothing is left running. Wrong
 * settings exit 2.
 */
#include "apps/common/app_priv.h"
#include "apps/common/schema.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PURGE_INTERVAL_MS 60000

struct db *app_db(struct app *a)
{
    return a->db;
}

struct mq *app_mq(struct app *a)
{
    return a->mq;
}

struct ids *app_ids(struct app *a)
{
    return &a->ids;
}

struct metrics *app_metrics(struct app *a)
{
    return a->metrics;
}

/* ---- routes every service has ---- */

static void on_healthz(void *arg, struct http_req *rq)
{
    struct app *a = arg;
    struct app_error e;
    const bool up = !a->db || db_ping(a->db, &e) == APP_OK;
    if (!up)
        log_warn("unhealthy", "error=%s", app_log_value(e.text));
    http_text(rq, up ? 200 : 503, "application/json",
              up ? "{\"status\":\"up\"}" : "{\"status\":\"no database\"}");
}

static void on_metrics(void *arg, struct http_req *rq)
{
    struct app *a = arg;
    char *text = metrics_text(a->metrics);
    http_text(rq, text ? 200 : 500, "text/plain; version=0.0.4", text ? text : "");
    free(text);
}

static void add_failpoint(void *arg, const struct failpoint *fp, bool armed)
{
    json_array_append_new(arg,
                          json_pack("{s:s, s:s, s:b, s:I}", "name", fp->name, "meaning",
                                    fp->meaning, "armed", armed, "hits", (json_int_t)fp->hits));
}

static void on_list_failpoints(void *arg, struct http_req *rq)
{
    (void)arg;
    json_t *list = json_array();
    app_failpoint_each(add_failpoint, list);
    http_ok(rq, json_pack("{s:o}", "failpoints", list));
}

static void on_arm_failpoints(void *arg, struct http_req *rq)
{
    (void)arg;
    struct app_error e;
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    const char *spec = jsonx_text(&r, "spec", 0, 2000);
    if (jsonx_end(&r, &e) || app_failpoint_arm(spec, &e)) {
        http_error(rq, &e);
        return;
    }
    log_warn("failpoints_armed", "spec=%s", app_log_value(spec));
    http_ok(rq, NULL);
}

static const struct http_route kit_routes[] = {
    {.method = "GET", .pattern = "/healthz", .handler = on_healthz},
    {.method = "GET", .pattern = "/metrics", .handler = on_metrics, .flags = HTTP_INTERNAL},
    {.method = "GET",
     .pattern = "/admin/failpoints",
     .handler = on_list_failpoints,
     .flags = HTTP_INTERNAL},
    {.method = "POST",
     .pattern = "/admin/failpoints",
     .handler = on_arm_failpoints,
     .flags = HTTP_INTERNAL | HTTP_JSON},
    {0}};

/* ---- jobs ---- */

/* Waits for the interval; false when the service stops. */
static bool job_pause(struct app_job_state *j)
{
    const int64_t until = timing_mono_ms() + j->interval_ms;
    pthread_mutex_lock(&j->app->lock);
    while (!j->app->stopping && timing_mono_ms() < until)
        (void)timing_cond_wait(&j->app->wake, &j->app->lock, until);
    const bool go = !j->app->stopping;
    pthread_mutex_unlock(&j->app->lock);
    return go;
}

static bool stopping(struct app *a)
{
    pthread_mutex_lock(&a->lock);
    const bool s = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return s;
}

static void *job_main(void *arg)
{
    struct app_job_state *j = arg;
    while (job_pause(j)) {
        int more;
        do {
            struct app_error e = {.kind = APP_OK};
            more = j->step(j->arg, &e);
            if (more < 0)
                log_warn("job_failed", "job=%s kind=%s error=%s", j->name, app_errno_name(more),
                         app_log_value(e.text));
        } while (more > 0 && !stopping(j->app));
    }
    return NULL;
}

int app_job(struct app *a, const char *name, int64_t interval_ms, app_step step, void *arg,
            struct app_error *e)
{
    if (a->n_jobs == APP_JOBS_MAX)
        return app_fail(e, APP_E_BUSY, "more than %d jobs in one service", APP_JOBS_MAX);
    struct app_job_state *j = &a->jobs[a->n_jobs];
    *j = (struct app_job_state){.app = a, .interval_ms = interval_ms, .step = step, .arg = arg};
    (void)snprintf(j->name, sizeof j->name, "%s", name);
    if (pthread_create(&j->thread, NULL, job_main, j) != 0)
        return app_fail(e, APP_E_NOMEM, "cannot start the thread of job %s", name);
    a->n_jobs++;
    return APP_OK;
}

static void stop_jobs(struct app *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < a->n_jobs; i++)
        pthread_join(a->jobs[i].thread, NULL);
    a->n_jobs = 0;
}

/* Rows of the kit's tables that no redelivery or replay can ask for any more. A bounded bite each time:
 * deleting must not compete with the business. */
static const struct db_stmt PURGE[] = {
    {"kit_purge_inbox",
     "DELETE FROM mq_consumer_log WHERE ctid = ANY(ARRAY(SELECT ctid FROM mq_consumer_log WHERE created_at < "
     "now() - make_interval(days => $1::bigint::int) LIMIT 1000))"},
    {"kit_purge_decision",
     "DELETE FROM mq_producer_log WHERE ctid = ANY(ARRAY(SELECT ctid FROM mq_producer_log WHERE created_at "
     "< now() - make_interval(days => $1::bigint::int) LIMIT 1000))"},
    {"kit_purge_barrier",
     "DELETE FROM tx_barrier WHERE ctid = ANY(ARRAY(SELECT ctid FROM tx_barrier WHERE created_at < now() - "
     "make_interval(days => $1::bigint::int) LIMIT 1000))"}};

struct purge {
    int64_t days, deleted;
    const struct db_stmt *stmt;
};

static int purge_body(struct db_conn *c, void *arg)
{
    struct purge *p = arg;
    return db_exec(c, p->stmt, &p->deleted, db_i64(p->days));
}

static int purge_step(void *arg, struct app_error *e)
{
    struct app *a = arg;
    int64_t most = 0;
    for (size_t i = 0; i < sizeof PURGE / sizeof *PURGE; i++) {
        struct purge p = {.days = app_int(a, "keep-days"), .stmt = &PURGE[i]};
        const int rc = db_tx(a->db, purge_body, &p, e);
        if (rc)
            return rc;
        most = p.deleted > most ? p.deleted : most;
    }
    return most == 1000;
}

/* ---- start ---- */

static int log_level_of(const char *s, enum log_level *out, struct app_error *e)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], s) == 0) {
            *out = (enum log_level)i;
            return APP_OK;
        }
    }
    return app_fail(e, APP_E_CONFIG, "log-level: \"%s\": expected debug, info, warn or error", s);
}

/* Calls `once` until it works, fails for good, or boot-wait-ms is over. */
static int retry_boot(struct app *a, const char *what,
                      int (*once)(struct app *, struct app_error *), struct app_error *e)
{
    const int64_t deadline = timing_mono_ms() + app_int(a, "boot-wait-ms");
    for (;;) {
        const int rc = once(a, e);
        if (rc != APP_E_DOWN || timing_mono_ms() >= deadline)
            return rc ? app_wrap(e, rc, "%s", what) : rc;
        log_warn("boot_waits", "for=%s error=%s", what, app_log_value(e->text));
        timing_sleep_ms(200);
    }
}

static int open_db(struct app *a, struct app_error *e)
{
    const struct db_options o = {.dsn = app_text(a, "dsn"),
                                 .schema = a->service->schema,
                                 .name = a->service->name,
                                 .size = (int)app_int(a, "db-pool"),
                                 .lock_ms = app_int(a, "db-lock-ms"),
                                 .statement_ms = app_int(a, "db-statement-ms"),
                                 .metrics = a->metrics};
    if (!o.dsn[0])
        return app_fail(e, APP_E_CONFIG,
                        "dsn is mandatory: give --dsn, SHOP_DSN or a line in the config file");
    return db_open(&o, &a->db, e);
}

static int start_mq(struct app *a, struct app_error *e)
{
    return mq_start(a->mq, e);
}

static int open_mq(struct app *a, struct app_error *e)
{
    const struct mq_options o = {.namesrv = app_text(a, "namesrv"),
                                 .name = a->service->name,
                                 .refresh_ms = app_int(a, "mq-refresh-ms"),
                                 .consumer_threads = (int)app_int(a, "consumer-threads"),
                                 .consumer_retries = (int)app_int(a, "consumer-retries"),
                                 .metrics = a->metrics};
    return mq_open(&o, &a->mq, e);
}

static int start_http(struct app *a, bool internal, struct http_server **out, struct app_error *e)
{
    const struct http_server_options o = {
        .listen = app_text(a, internal ? "internal-listen" : "listen"),
        .internal = internal,
        .tables = {{kit_routes, a},
                   {a->service->routes, a->state},
                   {a->service->uses_mq && a->service->schema ? dead_letter_routes : NULL,
                    &a->dead_letters}},
        .workers = (int)app_int(a, "http-workers"),
        .queue_max = (int)app_int(a, "http-queue"),
        .connections_max = (int)app_int(a, "http-connections"),
        .metrics = a->metrics};
    return http_server_start(&o, out, e);
}

static int boot(struct app *a, struct app_error *e)
{
    const struct app_service *s = a->service;
    enum log_level level = LOG_LEVEL_INFO;
    int rc = log_level_of(app_text(a, "log-level"), &level, e);
    if (rc == APP_OK)
        rc = app_log_open(app_text(a, "log"), s->name, level, e);
    if (rc == APP_OK && s->n_failpoints > 0)
        app_failpoint_register(s->failpoints, s->n_failpoints);
    if (rc == APP_OK)
        rc = app_failpoint_arm_from_env(e);
    if (rc == APP_OK && s->schema && (rc = retry_boot(a, "database", open_db, e)) == APP_OK)
        rc = schema_check(a->db, s->schema, e);
    if (rc == APP_OK && s->uses_mq)
        rc = open_mq(a, e);
    if (rc == APP_OK)
        rc = s->boot(a, &a->state, e);
    if (rc == APP_OK && s->uses_mq && s->schema) {
        a->dead_letters = (struct dead_letters){.db = a->db, .mq = a->mq};
        mq_keep_dead_letters(a->mq, a->db);
    }
    if (rc == APP_OK && s->uses_mq)
        rc = retry_boot(a, "message client", start_mq, e);
    if (rc == APP_OK)
        rc = start_http(a, false, &a->public_http, e);
    if (rc == APP_OK)
        rc = start_http(a, true, &a->internal_http, e);
    if (rc == APP_OK && s->start)
        rc = s->start(a, a->state, e);
    if (rc == APP_OK && s->schema)
        rc = app_job(a, "purge", PURGE_INTERVAL_MS, purge_step, a, e);
    return rc;
}

/* ---- shutdown ---- */

static void shut_down(struct app *a)
{
    const int64_t drain_ms = app_int(a, "drain-ms");
    if (a->public_http)
        http_server_drain(a->public_http, drain_ms);
    if (a->internal_http)
        http_server_drain(a->internal_http, drain_ms);
    app_failpoint_disarm_all(); /* nobody stays paused */
    http_server_free(a->public_http);
    http_server_free(a->internal_http);
    stop_jobs(a);
    if (a->mq)
        mq_stop_consumers(a->mq, drain_ms);
    mq_close(a->mq);
    if (a->state && a->service->stop)
        a->service->stop(a->state);
    db_close(a->db);
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void wait_for_signal(const sigset_t *set)
{
    int got = SIGHUP;
    while (got == SIGHUP) {
        if (sigwait(set, &got) != 0)
            continue;
        if (got == SIGHUP)
            app_log_reopen();
    }
    log_info("stopping", "signal=%d", got);
    pthread_sigmask(SIG_UNBLOCK, set, NULL); /* the next one ends the process at once */
}

static int serve(struct app *a, const sigset_t *signals)
{
    struct app_error e = {.kind = APP_OK};
    pthread_mutex_init(&a->lock, NULL);
    timing_cond_init(&a->wake);
    ids_init(&a->ids, (int)app_int(a, "instance"), NULL);
    a->metrics = metrics_new();
    int rc = a->metrics ? boot(a, &e) : app_fail(&e, APP_E_NOMEM, "no memory for metrics");
    if (rc) {
        fprintf(stderr, "%s: cannot start: %s\n", a->service->name, e.text);
    } else {
        log_info("ready", "http=%s internal=%s", http_server_address(a->public_http),
                 http_server_address(a->internal_http));
        printf("%s ready http=%s internal=%s\n", a->service->name,
               http_server_address(a->public_http), http_server_address(a->internal_http));
        fflush(stdout);
        wait_for_signal(signals);
    }
    shut_down(a);
    if (!rc)
        log_info("stopped", "name=%s", a->service->name);
    metrics_free(a->metrics);
    ids_fini(&a->ids);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    app_log_close();
    return rc ? (rc == APP_E_CONFIG ? 2 : 1) : 0;
}

int app_main(const struct app_service *s, int argc, char **argv)
{
    sigset_t signals;
    block_signals(&signals);
    struct app *a;
    struct app_error e;
    const struct app_option *const tables[] = {app_common_options, s->options};
    if (app_settings(tables, 2, argc, argv, NULL, &a, &e)) {
        fprintf(stderr, "%s: %s\n", s->name, e.text);
        return 2;
    }
    int status = 0;
    a->service = s;
    if (app_wants_help(a))
        app_print_help(a, argv[0], s->summary);
    else
        status = serve(a, &signals);
    app_settings_free(a);
    return status;
}
