/* PostgreSQL for the apps: pool, transactions, statements. The only file that includes libpq.
 *
 * Threads. Any thread may call; a connection belongs to one caller between acquire and release. The
 * pool's mutex guards the list of idle connections and the reconnect schedule and is never held across
 * the network.
 *
 * Waiting. Every exchange with the server is bounded twice: by statement_timeout and lock_timeout on
 * the server, and by a poll on the socket here that gives up one second later, so a server that is
 * stopped or unplugged cannot hold a thread. A connection that gave up is closed, never reused.
 *
 * Happy path of db_tx: an idle connection, BEGIN, the body's statements (prepared once per connection),
 * COMMIT, back to the pool: three round trips plus one per statement.
 *
 * Failure modes, in the order in which a transaction meets them:
 *   no connection free in time      BUSY, nothing happened
 *   cannot connect                  DOWN; further attempts wait for the back-off (100 ms to 5 s)
 *   connection lost before COMMIT   nothing happened: run again on a new connection
 *   40001, 40P01, 55P03             nothing happened: run again, 3 times, with growing random pauses
 *   57014 statement timeout         BUSY, not repeated: it would be as slow again
 *   body says no                    ROLLBACK, its value goes to the caller
 *   COMMIT refused with an error    on a connection that is still healthy: rolled back for sure
 *   connection lost during COMMIT   UNKNOWN: only a later read can tell; never repeated here
 * An idle connection that the server closed meanwhile shows as "lost before COMMIT" and is repaired by
 * the same rule; when one is found dead, all idle ones of the same age are dropped too.
 *
 * Invariants: 1 connections open <= size. 2 A connection in the idle list is in no transaction.
 * 3 A db_rows holds the only reference to its result.
 */
#include "apps/common/db.h"

#include "apps/common/kit_failpoints.h"
#include "apps/common/metrics.h"
#include "apps/common/timing.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MAX_CONNECTIONS 256
#define STMTS_MAX 128 /* statements prepared on one connection; a power of two */
#define RETRIES 3
#define GRACE_MS 1000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000

enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23 };

struct db_conn {
    PGconn *pg;
    struct db *db;
    struct db_conn *next;                      /* idle list */
    unsigned generation;                       /* of the pool when it connected */
    bool broken;                               /* must not be reused */
    bool late;                                 /* the server did not answer in time */
    struct app_error *error;                   /* of the caller's transaction */
    struct app_error own_error;                /* when the caller gave none */
    const struct db_stmt *prepared[STMTS_MAX]; /* open addressing by address */
};

struct db {
    char *dsn, *schema, *name;
    int size;
    int64_t acquire_ms, connect_ms, statement_ms, lock_ms;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t freed;
    struct db_conn *idle;
    int open;
    unsigned generation; /* grows when a dead connection was found: older idle ones are suspect */
    int64_t backoff_ms, next_connect_mono_ms;
    struct metric *m_open, *m_wait_us, *m_retries, *m_unknown, *m_connects;
};

/* ---- errors ---- */

struct app_error *db_error(struct db_conn *c)
{
    return c->error;
}

int db_refuse(struct db_conn *c, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)app_vfail(c->error, APP_E_REFUSED, fmt, ap);
    va_end(ap);
    c->error->code = code;
    return APP_E_REFUSED;
}

int db_fail(struct db_conn *c, int kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)app_vfail(c->error, kind, fmt, ap);
    va_end(ap);
    return kind;
}

static int lost(struct db_conn *c, const char *what)
{
    c->broken = true;
    const char *why = PQerrorMessage(c->pg);
    if (c->late)
        return db_fail(c, APP_E_DOWN, "%s: no answer in time", what);
    return db_fail(c, APP_E_DOWN, "%s: connection lost: %.*s", what, (int)strcspn(why, "\n"),
                   why[0] ? why : "closed");
}

/* Cases: connection gone | may be repeated or waited for | constraint or trigger | the rest is a bug. */
static int kind_of_sqlstate(const char *s)
{
    if (strncmp(s, "08", 2) == 0 || strcmp(s, "57P01") == 0 || strcmp(s, "57P02") == 0 ||
        strcmp(s, "57P03") == 0)
        return APP_E_DOWN;
    if (strcmp(s, "40001") == 0 || strcmp(s, "40P01") == 0 || strcmp(s, "55P03") == 0 ||
        strcmp(s, "57014") == 0 || strncmp(s, "53", 2) == 0 || strcmp(s, "25006") == 0)
        return APP_E_BUSY;
    if (strncmp(s, "23", 2) == 0 || strncmp(s, "SH", 2) == 0)
        return APP_E_CONFLICT;
    return APP_E_DB;
}

static bool repeatable(const char *sqlstate)
{
    return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0 ||
           strcmp(sqlstate, "55P03") == 0;
}

/* Takes the story of a failed result. The result is freed. */
static int failed(struct db_conn *c, const char *what, PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (!state) {
        PQclear(res);
        return lost(c, what);
    }
    const int kind = kind_of_sqlstate(state);
    if (kind == APP_E_DOWN)
        c->broken = true;
    (void)db_fail(c, kind, "%s: %s (%s)", what, text ? text : "failed", state);
    (void)snprintf(c->error->sqlstate, sizeof c->error->sqlstate, "%s", state);
    PQclear(res);
    return kind;
}

/* ---- one exchange ---- */

static int wait_socket(struct db_conn *c, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = events};
    for (;;) {
        const int64_t left = deadline_ms - timing_mono_ms();
        if (left <= 0) {
            c->late = true;
            return APP_E_TIMEOUT;
        }
        const int n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return APP_OK;
        if (n < 0 && errno != EINTR)
            return APP_E_DOWN;
    }
}

/* Flushes what was sent and returns the last result (the first failed one), or NULL: connection lost
 * or nothing came in time. */
static PGresult *await_result(struct db_conn *c, int64_t deadline_ms)
{
    PGresult *last = NULL;
    for (int more = 1; more;) {
        more = PQflush(c->pg);
        if (more < 0 ||
            (more && (wait_socket(c, POLLIN | POLLOUT, deadline_ms) || !PQconsumeInput(c->pg))))
            return NULL;
    }
    for (;;) {
        while (PQisBusy(c->pg)) {
            if (wait_socket(c, POLLIN, deadline_ms) || !PQconsumeInput(c->pg)) {
                PQclear(last);
                return NULL;
            }
        }
        PGresult *res = PQgetResult(c->pg);
        if (!res)
            return last;
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(res);
        } else {
            PQclear(last);
            last = res;
        }
    }
}

static bool result_ok(const PGresult *res)
{
    const ExecStatusType s = PQresultStatus(res);
    return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK;
}

static int finish(struct db_conn *c, const char *what, bool sent, int64_t timeout_ms,
                  PGresult **out)
{
    PGresult *res = sent ? await_result(c, timing_mono_ms() + timeout_ms + GRACE_MS) : NULL;
    if (!res)
        return lost(c, what);
    if (!result_ok(res))
        return failed(c, what, res);
    if (out)
        *out = res;
    else
        PQclear(res);
    return APP_OK;
}

static int simple(struct db_conn *c, const char *sql)
{
    return finish(c, sql, PQsendQuery(c->pg, sql), c->db->statement_ms, NULL);
}

/* ---- connections ---- */

static void conn_free(struct db_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

/* connect_timeout of libpq counts whole seconds from 2; PQconnectPoll with our own poll is exact. */
static bool connect_wait(struct db_conn *c, int64_t deadline_ms)
{
    PostgresPollingStatusType s = PGRES_POLLING_WRITING;
    while (s != PGRES_POLLING_OK) {
        if (s == PGRES_POLLING_FAILED ||
            wait_socket(c, s == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms))
            return false;
        s = PQconnectPoll(c->pg);
    }
    return PQsetnonblocking(c->pg, 1) == 0;
}

/* libpq would print NOTICEs ("already exists, skipping") on stderr. */
static void drop_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static int conn_setup(struct db_conn *c)
{
    struct db *db = c->db;
    char sql[512];
    char *schema = db->schema ? PQescapeIdentifier(c->pg, db->schema, strlen(db->schema)) : NULL;
    (void)snprintf(
        sql, sizeof sql,
        "SET statement_timeout = %lld; SET lock_timeout = %lld; SET default_transaction_isolation = "
        "'read committed'; SET idle_in_transaction_session_timeout = 60000; SET timezone = 'UTC'%s%s",
        (long long)db->statement_ms, (long long)db->lock_ms, schema ? "; SET search_path = " : "",
        schema ? schema : "");
    PQfreemem(schema);
    return simple(c, sql);
}

static int conn_open(struct db *db, struct db_conn **out, struct app_error *e)
{
    if (FAILPOINT(kit_failpoints[FP_DB_CONNECT]))
        return app_fail(e, APP_E_DOWN, "database: connect refused (failpoint)");
    struct db_conn *c = calloc(1, sizeof *c);
    if (!c)
        return app_fail(e, APP_E_NOMEM, "no memory for a database connection");
    c->db = db;
    c->error = e ? e : &c->own_error;
    const char *const keys[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
    const char *const values[] = {db->dsn, db->name, "UTF8", NULL};
    c->pg = PQconnectStartParams(keys, values, 1);
    if (!c->pg) {
        free(c);
        return app_fail(e, APP_E_NOMEM, "no memory for a database connection");
    }
    int rc = APP_OK;
    if (PQstatus(c->pg) == CONNECTION_BAD || !connect_wait(c, timing_mono_ms() + db->connect_ms)) {
        const char *why = PQerrorMessage(c->pg); /* names the server; ends open while it waits */
        rc = app_fail(e, APP_E_DOWN, "cannot connect to the database: %.*s%s",
                      (int)strcspn(why, "\n"), why, c->late ? "no answer in time" : "");
    } else {
        (void)PQsetNoticeProcessor(c->pg, drop_notice, NULL);
        rc = conn_setup(c);
    }
    if (rc) {
        conn_free(c);
        return rc;
    }
    metric_add(db->m_connects, 1);
    *out = c;
    return APP_OK;
}

/* ---- pool ---- */

/* Under the lock. An idle connection of the current generation; older ones are handed to *dead. */
static struct db_conn *take_idle(struct db *db, struct db_conn **dead)
{
    while (db->idle) {
        struct db_conn *c = db->idle;
        db->idle = c->next;
        if (c->generation == db->generation)
            return c;
        c->next = *dead;
        *dead = c;
        db->open--;
    }
    return NULL;
}

static void free_list(struct db_conn *list)
{
    while (list) {
        struct db_conn *next = list->next;
        conn_free(list);
        list = next;
    }
}

static int open_counted(struct db *db, struct db_conn **out, struct app_error *e)
{
    const int rc = conn_open(db, out, e);
    pthread_mutex_lock(&db->lock);
    if (rc == APP_OK) {
        (*out)->generation = db->generation;
        db->backoff_ms = 0;
    } else {
        db->open--;
        db->backoff_ms = db->backoff_ms ? db->backoff_ms * 2 : BACKOFF_FIRST_MS;
        if (db->backoff_ms > BACKOFF_MAX_MS)
            db->backoff_ms = BACKOFF_MAX_MS;
        db->next_connect_mono_ms = timing_mono_ms() + db->backoff_ms / 2 +
                                   (int64_t)chance_below((uint64_t)db->backoff_ms / 2 + 1);
        pthread_cond_signal(&db->freed);
    }
    metric_set(db->m_open, db->open);
    pthread_mutex_unlock(&db->lock);
    return rc;
}

int db_acquire(struct db *db, struct db_conn **out, struct app_error *e)
{
    const int64_t start_us = timing_mono_us(), deadline = timing_mono_ms() + db->acquire_ms;
    struct db_conn *c = NULL, *dead = NULL;
    int rc = APP_OK;
    bool connect = false;
    pthread_mutex_lock(&db->lock);
    while (rc == APP_OK && !connect && !(c = take_idle(db, &dead))) {
        if (db->open == db->size) {
            if (!timing_cond_wait(&db->freed, &db->lock, deadline) && timing_mono_ms() >= deadline)
                rc = app_fail(e, APP_E_BUSY, "all %d database connections are in use for %lld ms",
                              db->size, (long long)db->acquire_ms);
        } else if (db->backoff_ms && timing_mono_ms() < db->next_connect_mono_ms) {
            rc = app_fail(e, APP_E_DOWN,
                          "the database is not reachable; the next attempt follows soon");
        } else {
            db->open++;
            connect = true;
        }
    }
    pthread_mutex_unlock(&db->lock);
    free_list(dead);
    if (connect)
        rc = open_counted(db, &c, e);
    if (rc)
        return rc;
    metric_observe_us(db->m_wait_us, timing_mono_us() - start_us);
    c->error = e ? e : &c->own_error;
    app_error_clear(c->error);
    *out = c;
    return APP_OK;
}

void db_release(struct db *db, struct db_conn *c)
{
    c->error = &c->own_error;
    const bool drop =
        c->broken || PQstatus(c->pg) != CONNECTION_OK || PQtransactionStatus(c->pg) != PQTRANS_IDLE;
    pthread_mutex_lock(&db->lock);
    if (drop) {
        db->open--;
        if (c->generation == db->generation)
            db->generation++;
    } else {
        c->next = db->idle;
        db->idle = c;
    }
    metric_set(db->m_open, db->open);
    pthread_cond_signal(&db->freed);
    pthread_mutex_unlock(&db->lock);
    if (drop)
        conn_free(c);
}

static int64_t or_default(int64_t v, int64_t dflt)
{
    return v > 0 ? v : dflt;
}

static bool copy_text(const char *s, char **out)
{
    *out = s ? strdup(s) : NULL;
    return !s || *out;
}

int db_open(const struct db_options *o, struct db **out, struct app_error *e)
{
    char *why = NULL;
    PQconninfoOption *parsed = PQconninfoParse(o->dsn, &why);
    if (!parsed) {
        const int rc = app_fail(e, APP_E_CONFIG, "dsn: %.*s", why ? (int)strcspn(why, "\n") : 0,
                                why ? why : "");
        PQfreemem(why);
        return rc;
    }
    PQconninfoFree(parsed);
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return app_fail(e, APP_E_NOMEM, "no memory for the connection pool");
    db->size = (int)or_default(o->size, 8);
    db->size = db->size > SIZE_MAX_CONNECTIONS ? SIZE_MAX_CONNECTIONS : db->size;
    db->acquire_ms = or_default(o->acquire_ms, 2000);
    db->connect_ms = or_default(o->connect_ms, 3000);
    db->statement_ms = or_default(o->statement_ms, 3000);
    db->lock_ms = or_default(o->lock_ms, 1500);
    db->m_open = metrics_gauge(o->metrics, "shop_db_connections", "open database connections", "");
    db->m_wait_us =
        metrics_histogram(o->metrics, "shop_db_acquire_ms", "time to get a connection", "");
    db->m_retries =
        metrics_counter(o->metrics, "shop_db_retries_total", "transactions run again", "");
    db->m_unknown = metrics_counter(o->metrics, "shop_db_commit_unknown_total",
                                    "commits whose outcome was lost", "");
    db->m_connects = metrics_counter(o->metrics, "shop_db_connects_total", "connections made", "");
    pthread_mutex_init(&db->lock, NULL);
    timing_cond_init(&db->freed);
    int rc = APP_OK;
    if (!copy_text(o->dsn, &db->dsn) || !copy_text(o->schema, &db->schema) ||
        !copy_text(o->name ? o->name : "shop", &db->name))
        rc = app_fail(e, APP_E_NOMEM, "no memory for the connection pool");
    if (rc == APP_OK)
        rc = db_ping(db, e);
    if (rc) {
        db_close(db);
        return rc;
    }
    *out = db;
    return APP_OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    free_list(db->idle);
    pthread_mutex_destroy(&db->lock);
    pthread_cond_destroy(&db->freed);
    free(db->dsn);
    free(db->schema);
    free(db->name);
    free(db);
}

static int ping(struct db_conn *c, void *arg)
{
    (void)arg;
    return simple(c, "SELECT 1");
}

int db_ping(struct db *db, struct app_error *e)
{
    return db_read(db, ping, NULL, e);
}

/* ---- transactions ---- */

static void rollback(struct db_conn *c)
{
    if (c->broken || PQtransactionStatus(c->pg) == PQTRANS_IDLE)
        return;
    /* The caller's error tells why we roll back: keep it. */
    struct app_error *kept = c->error;
    c->error = &c->own_error;
    if (simple(c, "ROLLBACK"))
        c->broken = true;
    c->error = kept;
}

static int unknown(struct db_conn *c)
{
    c->broken = true;
    metric_add(c->db->m_unknown, 1);
    return db_fail(c, APP_E_UNKNOWN,
                   "the connection broke during COMMIT: the outcome is not known");
}

static int commit(struct db_conn *c)
{
    if (FAILPOINT(kit_failpoints[FP_DB_BEFORE_COMMIT])) {
        c->broken = true;
        return db_fail(c, APP_E_DOWN, "connection lost before COMMIT (failpoint)");
    }
    if (!PQsendQuery(c->pg, "COMMIT"))
        return lost(c, "COMMIT"); /* libpq refused to queue it: nothing was sent */
    PGresult *res = await_result(c, timing_mono_ms() + c->db->statement_ms + GRACE_MS);
    if (res && FAILPOINT(kit_failpoints[FP_DB_COMMIT_CUT])) {
        PQclear(res);
        res = NULL;
    }
    if (!res)
        return unknown(c);
    if (result_ok(res)) {
        /* The server answers ROLLBACK when a statement failed and the body ignored it. */
        const bool committed = strcmp(PQcmdStatus(res), "COMMIT") == 0;
        PQclear(res);
        return committed ? APP_OK
                         : db_fail(c, APP_E_DB, "the transaction body ignored a failed statement");
    }
    if (PQstatus(c->pg) != CONNECTION_OK || PQtransactionStatus(c->pg) != PQTRANS_IDLE) {
        PQclear(res);
        return unknown(c);
    }
    return failed(c, "COMMIT", res);
}

static int tx_once(struct db_conn *c, db_body body, void *arg)
{
    int rc = simple(c, "BEGIN");
    if (rc)
        return rc;
    rc = body(c, arg);
    if (rc == APP_OK)
        rc = commit(c);
    if (rc != APP_OK)
        rollback(c);
    return rc;
}

/* Nothing is committed and another run may fare better. */
static bool run_again(const struct db_conn *c, int rc)
{
    return (rc == APP_E_BUSY && repeatable(c->error->sqlstate)) || (rc == APP_E_DOWN && c->broken);
}

static int run(struct db *db, db_body body, void *arg, struct app_error *e,
               int (*once)(struct db_conn *, db_body, void *), int retries)
{
    struct app_error mine;
    e = e ? e : &mine;
    for (int attempt = 0;; attempt++) {
        struct db_conn *c;
        int rc = db_acquire(db, &c, e);
        if (rc)
            return rc;
        rc = once(c, body, arg);
        const bool again = attempt < retries && run_again(c, rc);
        db_release(db, c);
        if (!again)
            return rc;
        metric_add(db->m_retries, 1);
        timing_sleep_ms((int64_t)chance_below((uint64_t)20 << attempt) + 1);
    }
}

int db_tx(struct db *db, db_body body, void *arg, struct app_error *e)
{
    return run(db, body, arg, e, tx_once, RETRIES);
}

static int read_once(struct db_conn *c, db_body body, void *arg)
{
    return body(c, arg);
}

int db_read(struct db *db, db_body body, void *arg, struct app_error *e)
{
    return run(db, body, arg, e, read_once, 1);
}

/* ---- statements ---- */

static Oid oid_of(enum db_kind kind)
{
    return kind == DB_I64     ? OID_INT8
           : kind == DB_BOOL  ? OID_BOOL
           : kind == DB_BYTES ? OID_BYTEA
                              : 0;
}

/* The slot of a statement, empty when it is not prepared yet; NULL when the table is full. */
static const struct db_stmt **slot_of(struct db_conn *c, const struct db_stmt *stmt)
{
    size_t i = ((uintptr_t)stmt >> 4) * 2654435761u & (STMTS_MAX - 1);
    for (int n = 0; n < STMTS_MAX; n++, i = (i + 1) & (STMTS_MAX - 1))
        if (!c->prepared[i] || c->prepared[i] == stmt)
            return &c->prepared[i];
    return NULL;
}

static int prepare(struct db_conn *c, const struct db_stmt *stmt, const Oid *types, size_t n)
{
    const struct db_stmt **slot = slot_of(c, stmt);
    APP_ASSERT(slot); /* more than STMTS_MAX statements in one program: raise the bound */
    if (*slot)
        return APP_OK;
    const int rc = finish(c, stmt->name, PQsendPrepare(c->pg, stmt->name, stmt->sql, (int)n, types),
                          c->db->statement_ms, NULL);
    if (rc == APP_OK)
        *slot = stmt;
    return rc;
}

struct bound {
    const char *values[DB_PARAM_MAX];
    int lengths[DB_PARAM_MAX], formats[DB_PARAM_MAX];
    Oid types[DB_PARAM_MAX];
    char text[DB_PARAM_MAX][24];
};

static void bind(struct bound *b, const struct db_param *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->types[i] = oid_of(p[i].kind);
        b->lengths[i] = 0;
        b->formats[i] = 0;
        b->values[i] = NULL;
        if (p[i].kind == DB_TEXT) {
            b->values[i] = p[i].p;
        } else if (p[i].kind == DB_BYTES) {
            b->values[i] = p[i].p;
            b->lengths[i] = (int)p[i].len;
            b->formats[i] = 1;
        } else if (p[i].kind == DB_I64 || p[i].kind == DB_BOOL) {
            (void)snprintf(b->text[i], sizeof b->text[i], "%lld", (long long)p[i].i);
            b->values[i] = b->text[i];
        }
    }
}

int db_query_n(struct db_conn *c, const struct db_stmt *stmt, struct db_rows *rows,
               const struct db_param *params, size_t n)
{
    *rows = (struct db_rows){.conn = c, .stmt = stmt};
    APP_ASSERT(n <= DB_PARAM_MAX);
    struct bound b;
    bind(&b, params + 1, n);
    int rc = prepare(c, stmt, b.types, n);
    if (rc)
        return rc;
    PGresult *res;
    rc = finish(c, stmt->name,
                PQsendQueryPrepared(c->pg, stmt->name, (int)n, b.values, b.lengths, b.formats, 0),
                c->db->statement_ms, &res);
    if (rc == APP_OK)
        rows->result = res;
    return rc;
}

int db_exec_n(struct db_conn *c, const struct db_stmt *stmt, int64_t *affected,
              const struct db_param *params, size_t n)
{
    struct db_rows rows;
    const int rc = db_query_n(c, stmt, &rows, params, n);
    if (rc)
        return rc;
    if (affected)
        *affected = db_affected(&rows);
    return db_rows_end(&rows);
}

int db_script(struct db_conn *c, const char *sql, int64_t timeout_ms, struct db_rows *rows)
{
    static const struct db_stmt script = {"script", ""};
    PGresult *res;
    const int rc = finish(c, "script", PQsendQuery(c->pg, sql),
                          timeout_ms > 0 ? timeout_ms : c->db->statement_ms, &res);
    if (rc)
        return rc;
    if (rows)
        *rows = (struct db_rows){.result = res, .conn = c, .stmt = &script};
    else
        PQclear(res);
    return APP_OK;
}

/* ---- rows ---- */

int db_count(const struct db_rows *r)
{
    return PQntuples(r->result);
}

int64_t db_affected(const struct db_rows *r)
{
    return strtoll(PQcmdTuples(r->result), NULL, 10);
}

int db_columns(const struct db_rows *r)
{
    return PQnfields(r->result);
}

const char *db_column_name(const struct db_rows *r, int column)
{
    return PQfname(r->result, column);
}

const char *db_cell(const struct db_rows *r, int row, int column)
{
    return PQgetisnull(r->result, row, column) ? NULL : PQgetvalue(r->result, row, column);
}

static void spoil(struct db_rows *r, const char *column, const char *why)
{
    if (!r->bad)
        r->bad = db_fail(r->conn, APP_E_DB, "%s: column %s: %s", r->stmt->name, column, why);
}

/* The column's index, or -1 after having complained. */
static int column_of(struct db_rows *r, int row, const char *column)
{
    const int i = PQfnumber(r->result, column);
    if (i < 0)
        spoil(r, column, "no such column in the result");
    else if (row < 0 || row >= PQntuples(r->result))
        spoil(r, column, "no such row in the result");
    else
        return i;
    return -1;
}

/* The cell as text; if it is NULL: if_null (which may be NULL), complaining when `strict`. */
static const char *cell(struct db_rows *r, int row, int i, const char *column, bool strict)
{
    if (!PQgetisnull(r->result, row, i))
        return PQgetvalue(r->result, row, i);
    if (strict)
        spoil(r, column, "unexpected NULL");
    return NULL;
}

static int64_t get_int(struct db_rows *r, int row, const char *column, bool strict, int64_t if_null)
{
    const int i = column_of(r, row, column);
    if (i < 0)
        return 0;
    const Oid t = PQftype(r->result, i);
    if (t != OID_INT8 && t != OID_INT4 && t != OID_INT2) {
        spoil(r, column, "not an integer");
        return 0;
    }
    const char *s = cell(r, row, i, column, strict);
    return s ? strtoll(s, NULL, 10) : strict ? 0 : if_null;
}

int64_t db_get_i64(struct db_rows *r, int row, const char *column)
{
    return get_int(r, row, column, true, 0);
}

int64_t db_get_i64_or(struct db_rows *r, int row, const char *column, int64_t if_null)
{
    return get_int(r, row, column, false, if_null);
}

bool db_get_bool(struct db_rows *r, int row, const char *column)
{
    const int i = column_of(r, row, column);
    if (i < 0)
        return false;
    if (PQftype(r->result, i) != OID_BOOL) {
        spoil(r, column, "not a boolean");
        return false;
    }
    const char *s = cell(r, row, i, column, true);
    return s && s[0] == 't';
}

static const char *get_text(struct db_rows *r, int row, const char *column, bool strict)
{
    const int i = column_of(r, row, column);
    if (i < 0)
        return NULL;
    const Oid t = PQftype(r->result, i);
    if (t == OID_INT8 || t == OID_INT4 || t == OID_INT2 || t == OID_BOOL || t == OID_BYTEA) {
        spoil(r, column, "not a text");
        return NULL;
    }
    return cell(r, row, i, column, strict);
}

const char *db_get_text(struct db_rows *r, int row, const char *column)
{
    const char *s = get_text(r, row, column, true);
    return s ? s : "";
}

const char *db_get_text_or(struct db_rows *r, int row, const char *column, const char *if_null)
{
    const char *s = get_text(r, row, column, false);
    return s ? s : if_null;
}

void db_get_bytes(struct db_rows *r, int row, const char *column, void *out, size_t len)
{
    memset(out, 0, len);
    const int i = column_of(r, row, column);
    if (i < 0)
        return;
    if (PQftype(r->result, i) != OID_BYTEA) {
        spoil(r, column, "not bytes");
        return;
    }
    const char *s = cell(r, row, i, column, true);
    size_t n = 0;
    unsigned char *raw = s ? PQunescapeBytea((const unsigned char *)s, &n) : NULL;
    if (s && (!raw || n != len))
        spoil(r, column, "bytes of another length");
    else if (raw)
        memcpy(out, raw, len);
    PQfreemem(raw);
}

bool db_is_null(struct db_rows *r, int row, const char *column)
{
    const int i = column_of(r, row, column);
    return i >= 0 && PQgetisnull(r->result, row, i);
}

int db_rows_end(struct db_rows *r)
{
    PQclear(r->result);
    r->result = NULL;
    return r->bad;
}
