/* schema and seed: the database as its owner sees it.
 *
 * Main thread only. Applying is the kit's (schema.h): in order, each file once, safe to repeat and safe
 * against a second shopctl. Creating the database itself cannot be done from inside it, so it takes a
 * second connection string; its name goes into the statement as text and may therefore hold nothing but
 * a-z, 0-9 and _. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <string.h>

#include "apps/common/schema.h"

static const struct app_option schema_options[] = {
    {"dsn", APP_TEXT, NULL, 1, 1000, "PostgreSQL connection string of the database's owner", true},
    {"dir", APP_TEXT, "apps/schema", 1, 900, "folder with the SQL files", false},
    {"maintenance-dsn", APP_TEXT, "", 0, 1000,
     "creates the database through this connection if it is not there", true},
    {"database", APP_TEXT, "shop", 1, 63, "name of the database to create: a-z, 0-9, _", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};
static const struct app_option seed_options[] = {
    {"dsn", APP_TEXT, NULL, 1, 1000, "PostgreSQL connection string of the database's owner", true},
    {"file", APP_TEXT, "apps/schema/seed_demo.sql", 1, 900, "SQL file to run; safe to run again",
     false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

/* --- the database --- */

static const struct db_stmt EXISTS = {"ctl_db_exists",
                                      "SELECT 1 FROM pg_database WHERE datname = $1"};

static int create_unless_there(struct db_conn *c, const char *name)
{
    struct db_rows rows;
    char sql[128];
    int rc = db_query(c, &EXISTS, &rows, db_text(name));
    if (rc != 0)
        return rc;
    const bool there = db_count(&rows) == 1;
    if ((rc = db_rows_end(&rows)) != 0 || there)
        return rc;
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    rc = db_script(c, sql, 60000, NULL);
    if (rc == 0)
        printf("created database %s\n", name);
    return rc;
}

static int create_database(const char *dsn, const char *name, struct app_error *e)
{
    const struct db_options o = {.dsn = dsn, .name = "shopctl", .size = 1};
    struct db *db;
    struct db_conn *c;
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
        return app_fail(e, APP_E_CONFIG, "database: \"%s\": expected letters a-z, digits and _",
                        name);
    int rc = db_open(&o, &db, e);
    if (rc != 0)
        return app_wrap(e, rc, "maintenance-dsn");
    rc = db_acquire(db, &c, e);
    if (rc == 0) {
        rc = create_unless_there(c, name);
        if (rc != 0 && e != NULL)
            *e = *db_error(c);
        db_release(db, c);
    }
    db_close(db);
    return rc;
}

/* --- commands --- */

static int run_schema(const struct ctl *c, struct app_error *e)
{
    struct db *db;
    const char *const maintenance = app_text(c->settings, "maintenance-dsn");
    int rc = maintenance[0] != '\0'
                 ? create_database(maintenance, app_text(c->settings, "database"), e)
                 : 0;
    if (rc != 0 || (rc = ctl_open(c, &db, e)) != 0)
        return rc;
    rc = schema_apply(db, app_text(c->settings, "dir"), e);
    db_close(db);
    if (rc == 0)
        printf("schema: up to date with %s\n", app_text(c->settings, "dir"));
    return rc;
}

static int run_seed(const struct ctl *c, struct app_error *e)
{
    struct db *db;
    int rc = ctl_open(c, &db, e);
    if (rc != 0)
        return rc;
    rc = schema_run_file(db, app_text(c->settings, "file"), e);
    db_close(db);
    if (rc == 0)
        printf("seed: applied %s\n", app_text(c->settings, "file"));
    return rc;
}

const struct ctl_command ctl_schema = {
    .name = "schema",
    .arguments = "",
    .options = schema_options,
    .run = run_schema,
    .summary =
        "create or update tables, roles and invariants; with --maintenance-dsn the database too"};
const struct ctl_command ctl_seed = {.name = "seed",
                                     .arguments = "",
                                     .options = seed_options,
                                     .run = run_seed,
                                     .summary =
                                         "load the goods, users and coupons of the demonstration"};
