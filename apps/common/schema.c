/* Applying the SQL files.
 *
 * One caller at a time in the whole cluster (advisory lock, held by the transaction of each file), on
 * the caller's thread, through a connection of its own without the pool's short statement timeout.
 *
 * kit.schema_version has one row per applied file. A file "once" that is recorded is left alone, unless
 * its text has changed: then somebody edited history, and the error says to add a new file. A file
 * "when changed" runs again when its text differs. The version in the table below is what schema_check
 * asks for at boot: raise it together with a change that programs depend on.
 */
#include "apps/common/schema.h"

#include "apps/common/log.h"
#include "apps/common/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define SCRIPT_TIMEOUT_MS 120000

enum mode { ONCE, WHEN_CHANGED };
static const struct schema_file {
    const char *name;
    enum mode mode;
    int version;
    const char *schema; /* the service that needs it; "*": every one; NULL: none by itself */
} files[] = {
    {"000_kit.sql", ONCE, 1, NULL},       {"ord.sql", ONCE, 1, "ord"},
    {"stk.sql", ONCE, 1, "stk"},          {"cpn.sql", ONCE, 1, "cpn"},
    {"usr.sql", ONCE, 1, "usr"},          {"pay.sql", ONCE, 1, "pay"},
    {"plog.sql", ONCE, 1, "plog"},        {"tp.sql", ONCE, 1, "tp"},
    {"010_kit.sql", ONCE, 1, "*"},        {"invariants.sql", WHEN_CHANGED, 1, NULL},
    {"roles.sql", WHEN_CHANGED, 1, NULL},
};
#define N_FILES (sizeof files / sizeof *files)

static const char BOOTSTRAP[] =
    "SET LOCAL statement_timeout = 120000; SET LOCAL lock_timeout = 30000; SET LOCAL search_path = public;"
    "SELECT pg_advisory_xact_lock(7355608); CREATE SCHEMA IF NOT EXISTS kit;"
    "CREATE TABLE IF NOT EXISTS kit.schema_version(file text PRIMARY KEY, version int NOT NULL, checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now())";

static const struct db_stmt FIND = {"kit_schema_find",
                                    "SELECT checksum FROM kit.schema_version WHERE file = $1"};
static const struct db_stmt RECORD = {
    "kit_schema_record",
    "INSERT INTO kit.schema_version(file, version, checksum) VALUES ($1, $2, $3) ON CONFLICT (file) DO UPDATE SET "
    "version = excluded.version, checksum = excluded.checksum, applied_at = now()"};
static const struct db_stmt KNOWN = {
    "kit_schema_known", "SELECT to_regclass('kit.schema_version') IS NOT NULL AS known"};
static const struct db_stmt VERSION = {"kit_schema_version",
                                       "SELECT version FROM kit.schema_version WHERE file = $1"};

/* The file's text, NUL-terminated; free(). */
static char *read_text(const char *path, struct app_error *e)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        (void)app_fail(e, APP_E_CONFIG, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(FILE_MAX_BYTES + 1);
    const size_t n = text ? fread(text, 1, FILE_MAX_BYTES + 1, f) : 0;
    const bool ok = text && !ferror(f) && n <= FILE_MAX_BYTES;
    fclose(f);
    if (ok) {
        text[n] = '\0';
        return text;
    }
    free(text);
    (void)app_fail(e, APP_E_CONFIG, "cannot read %s: larger than %zu bytes or unreadable", path,
                   FILE_MAX_BYTES);
    return NULL;
}

static void checksum_of(const char *text, char out[65])
{
    unsigned char raw[32];
    sign_sha256(text, strlen(text), raw);
    for (int i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

struct apply {
    const struct schema_file *file;
    const char *text;
    bool applied;
};

/* *run: whether the file has to run. */
static int decide(struct db_conn *c, const struct schema_file *f, const char *checksum, bool *run)
{
    struct db_rows rows;
    const int rc = db_query(c, &FIND, &rows, db_text(f->name));
    if (rc)
        return rc;
    const bool recorded = db_count(&rows) == 1;
    const bool same = recorded && strcmp(db_get_text(&rows, 0, "checksum"), checksum) == 0;
    const int end = db_rows_end(&rows);
    if (end)
        return end;
    if (recorded && !same && f->mode == ONCE)
        return db_fail(c, APP_E_CONFIG,
                       "%s was changed after it had been applied: put the change into a new file",
                       f->name);
    *run = !same;
    return APP_OK;
}

static int apply_body(struct db_conn *c, void *arg)
{
    struct apply *a = arg;
    char checksum[65];
    bool run = false;
    checksum_of(a->text, checksum);
    int rc = db_script(c, BOOTSTRAP, SCRIPT_TIMEOUT_MS, NULL);
    if (rc == APP_OK)
        rc = decide(c, a->file, checksum, &run);
    a->applied = run;
    if (rc || !run)
        return rc;
    rc = db_script(c, a->text, SCRIPT_TIMEOUT_MS, NULL);
    if (rc)
        return app_wrap(db_error(c), rc, "%s", a->file->name);
    return db_exec(c, &RECORD, NULL, db_text(a->file->name), db_i64(a->file->version),
                   db_text(checksum));
}

int schema_apply(struct db *db, const char *dir, struct app_error *e)
{
    for (size_t i = 0; i < N_FILES; i++) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        char *text = read_text(path, e);
        if (!text)
            return APP_E_CONFIG;
        struct apply a = {.file = &files[i], .text = text};
        const int rc = db_tx(db, apply_body, &a, e);
        free(text);
        if (rc)
            return rc;
        if (a.applied)
            log_info("schema_applied", "file=%s version=%d", files[i].name, files[i].version);
    }
    return APP_OK;
}

static int run_body(struct db_conn *c, void *arg)
{
    int rc = db_script(c, "SET LOCAL statement_timeout = 120000; SET LOCAL search_path = public", 0,
                       NULL);
    if (rc == APP_OK)
        rc = db_script(c, arg, SCRIPT_TIMEOUT_MS, NULL);
    return rc;
}

int schema_run_file(struct db *db, const char *path, struct app_error *e)
{
    char *text = read_text(path, e);
    if (!text)
        return APP_E_CONFIG;
    const int rc = db_tx(db, run_body, text, e);
    free(text);
    return rc ? app_wrap(e, rc, "%s", path) : APP_OK;
}

struct check {
    const char *file;
    int64_t version; /* 0: not applied */
};

static int check_body(struct db_conn *c, void *arg)
{
    struct check *k = arg;
    struct db_rows rows;
    k->version = 0;
    int rc = db_query(c, &KNOWN, &rows);
    if (rc)
        return rc;
    const bool known = db_get_bool(&rows, 0, "known");
    rc = db_rows_end(&rows);
    if (rc || !known)
        return rc;
    rc = db_query(c, &VERSION, &rows, db_text(k->file));
    if (rc)
        return rc;
    if (db_count(&rows) == 1)
        k->version = db_get_i64(&rows, 0, "version");
    return db_rows_end(&rows);
}

int schema_check(struct db *db, const char *schema, struct app_error *e)
{
    for (size_t i = 0; i < N_FILES; i++) {
        const struct schema_file *const f = &files[i];
        if (!f->schema || (strcmp(f->schema, schema) != 0 && strcmp(f->schema, "*") != 0))
            continue;
        struct check k = {.file = f->name};
        const int rc = db_tx(db, check_body, &k, e);
        if (rc)
            return rc;
        if (k.version < f->version)
            return app_fail(
                e, APP_E_CONFIG,
                "the database has %s of %s (schema %s); this program needs version %d: run shopctl schema",
                k.version ? "an old version" : "nothing", f->name, schema, f->version);
    }
    return APP_OK;
}
