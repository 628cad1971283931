#pragma once
/* PostgreSQL: a bounded pool of blocking connections, transactions that retry what may be retried, and
 * typed statements. The only file of the apps that knows libpq is db.c.
 *
 *   static const struct db_stmt FIND = {"stk_find_goods",
 *       "SELECT goods_name, goods_price FROM trade_goods WHERE goods_id = $1"};
 *
 *   static int body(struct db_conn *c, void *arg)
 *   {
 *       struct find *f = arg;
 *       struct db_rows rows;
 *       int rc = db_query(c, &FIND, &rows, db_i64(f->goods_id));
 *       if (rc) return rc;
 *       if (db_count(&rows) == 1) f->price = db_get_i64(&rows, 0, "goods_price");
 *       return db_rows_end(&rows);
 *   }
 *   rc = db_tx(db, body, &f, &e);
 *
 * A body may run several times: it sets its results from scratch each time and calls nobody over the
 * network. Every failing db_* call has already written the error into the transaction's app_error
 * (db_error(c)), so bodies only pass return codes on. */
#include "apps/common/error.h"
#include <stddef.h>

struct db;
struct db_conn;
struct metrics;

struct db_options {
    const char *dsn;      /* libpq connection string or URI */
    const char *schema;   /* search_path of every connection, e.g. "stk"; NULL: the role's own */
    const char *name;     /* application_name */
    int size;             /* connections at most; 0: 8 */
    int64_t acquire_ms;   /* wait for a free connection; 0: 2000 */
    int64_t connect_ms;   /* 0: 3000 */
    int64_t statement_ms; /* statement_timeout; 0: 3000. The client gives up 1 s later by itself */
    int64_t lock_ms;      /* lock_timeout; 0: 1500 */
    struct metrics *metrics; /* NULL: none */
};
/* Connects once to prove the DSN. APP_E_CONFIG: the DSN does not parse; APP_E_DOWN: cannot connect
 * (nothing is left open). */
int db_open(const struct db_options *o, struct db **out, struct app_error *e) APP_CHECK;
/* Every caller must have returned. */
void db_close(struct db *db);
/* One round trip; for health checks. */
int db_ping(struct db *db, struct app_error *e) APP_CHECK;

/* Returns 0 to commit, anything else to roll back; the value comes back from db_tx. */
typedef int (*db_body)(struct db_conn *c, void *arg);
/* READ COMMITTED. Serialization failure, deadlock, lock timeout and a connection lost before COMMIT was
 * sent run the body again, 3 times more at most, after a random pause of up to 20, 40, 80 ms; what is
 * still failing then is APP_E_BUSY or APP_E_DOWN.
 * Errors: whatever the body returned; APP_E_BUSY pool exhausted, lock or statement timeout; APP_E_DOWN
 *   not reachable; APP_E_CONFLICT a constraint or trigger refused (e->sqlstate says which);
 *   APP_E_UNKNOWN the connection broke during COMMIT: read the rows again to learn what happened;
 *   APP_E_DB the statement does not fit the schema. */
int db_tx(struct db *db, db_body body, void *arg, struct app_error *e) APP_CHECK;
/* Without BEGIN and COMMIT: one reading statement. Repeated once when the connection was stale. */
int db_read(struct db *db, db_body body, void *arg, struct app_error *e) APP_CHECK;
/* A session of its own, for the few who need it for long (advisory locks, scripts, tests). */
int db_acquire(struct db *db, struct db_conn **out, struct app_error *e) APP_CHECK;
void db_release(struct db *db, struct db_conn *c);

struct app_error *db_error(struct db_conn *c);
/* A refusal from inside a body: writes code and text, returns APP_E_REFUSED (the transaction rolls back). */
int db_refuse(struct db_conn *c, int code, const char *fmt, ...) APP_PRINTF(3, 4);
int db_fail(struct db_conn *c, int kind, const char *fmt, ...) APP_PRINTF(3, 4);

/* Statements: prepared once per connection under `name` (unique in the program, at most 63 bytes), by
 * the address of the struct, which therefore has static storage. */
struct db_stmt {
    const char *name, *sql;
};

enum db_kind { DB_NONE, DB_NULL, DB_I64, DB_TEXT, DB_BOOL, DB_BYTES };
struct db_param {
    enum db_kind kind;
    int64_t i;
    const void *p;
    size_t len;
};
static inline struct db_param db_null(void)
{
    return (struct db_param){.kind = DB_NULL};
}
static inline struct db_param db_i64(int64_t v)
{
    return (struct db_param){.kind = DB_I64, .i = v};
}
static inline struct db_param db_bool(bool v)
{
    return (struct db_param){.kind = DB_BOOL, .i = v};
}
/* NULL: SQL NULL. The statement's context gives the type (uuid, timestamptz, ...). */
static inline struct db_param db_text(const char *s)
{
    return (struct db_param){.kind = s ? DB_TEXT : DB_NULL, .p = s};
}
static inline struct db_param db_bytes(const void *p, size_t n)
{
    return (struct db_param){.kind = DB_BYTES, .p = p, .len = n};
}
/* 0 means NULL: for optional ids. */
static inline struct db_param db_id_or_null(int64_t id)
{
    return id ? db_i64(id) : db_null();
}

#define DB_PARAM_MAX 32
struct db_rows {
    void *result; /* PGresult */
    struct db_conn *conn;
    const struct db_stmt *stmt;
    int bad; /* first getter error, or 0 */
};
/* Runs a statement. On failure rows is empty and needs no end. */
#define db_query(c, stmt, rows, ...)                                                               \
    db_query_n((c), (stmt), (rows), (const struct db_param[]){{.kind = DB_NONE}, ##__VA_ARGS__},   \
               sizeof((const struct db_param[]){{.kind = DB_NONE}, ##__VA_ARGS__}) /               \
                       sizeof(struct db_param) -                                                   \
                   1)
int db_query_n(struct db_conn *c, const struct db_stmt *stmt, struct db_rows *rows,
               const struct db_param *params, size_t n) APP_CHECK; /* params[0] is not used */
/* For a statement whose rows do not matter; *affected (may be NULL): rows touched. */
#define db_exec(c, stmt, affected, ...)                                                            \
    db_exec_n((c), (stmt), (affected),                                                             \
              (const struct db_param[]){{.kind = DB_NONE}, ##__VA_ARGS__},                         \
              sizeof((const struct db_param[]){{.kind = DB_NONE}, ##__VA_ARGS__}) /                \
                      sizeof(struct db_param) -                                                    \
                  1)
int db_exec_n(struct db_conn *c, const struct db_stmt *stmt, int64_t *affected,
              const struct db_param *params, size_t n) APP_CHECK;
/* Unprepared SQL text, several statements allowed, no parameters: migrations, audit views, tests. rows
 * (may be NULL) receives the last result. timeout_ms 0: the pool's. */
int db_script(struct db_conn *c, const char *sql, int64_t timeout_ms,
              struct db_rows *rows) APP_CHECK;

int db_count(const struct db_rows *r); /* rows returned */
int64_t db_affected(const struct db_rows *r);
int db_columns(const struct db_rows *r);
const char *db_column_name(const struct db_rows *r, int column);
const char *db_cell(const struct db_rows *r, int row,
                    int column); /* any type as text; NULL for NULL */
/* Typed getters by column name: a missing column, NULL where none is allowed or another type makes the
 * rows bad (APP_E_DB, text names statement and column) and yields zero. Check once with db_rows_end. */
int64_t db_get_i64(struct db_rows *r, int row, const char *column); /* int2, int4, int8 */
int64_t db_get_i64_or(struct db_rows *r, int row, const char *column, int64_t if_null);
bool db_get_bool(struct db_rows *r, int row, const char *column);
/* Text-like columns (text, varchar, char, uuid, timestamps, numeric); lives until db_rows_end. */
const char *db_get_text(struct db_rows *r, int row, const char *column);
const char *db_get_text_or(struct db_rows *r, int row, const char *column, const char *if_null);
/* bytea of exactly len bytes. */
void db_get_bytes(struct db_rows *r, int row, const char *column, void *out, size_t len);
bool db_is_null(struct db_rows *r, int row, const char *column);
/* Frees; 0 or the first getter's error. */
int db_rows_end(struct db_rows *r) APP_CHECK;
