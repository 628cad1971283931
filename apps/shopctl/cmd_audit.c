/* audit: runs every invariant (apps/schema/invariants.sql) and prints the table; exit status 1 when one
 * has rows.
 *
 * The invariants hold when the shop is at rest. --wait gives it time to come to rest: i10 ("nothing is
 * stuck") is asked until it is empty or the time is over; then all of them are judged in one snapshot. An
 * order may set off between the two (its timer fires): a judgement that finds something is repeated as long
 * as there is time, and the last one counts.
 *
 * With --namesrv the broker's part of i14 is judged too: no half message undecided, no group behind. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <stdlib.h>

static const struct app_option options[] = {
    {"dsn", APP_TEXT, NULL, 1, 1000, "PostgreSQL connection string; role shop_auditor suffices",
     true},
    {"wait", APP_INT, "0", 0, 3600,
     "wait up to this long until nothing is under way any more, seconds", false},
    {"namesrv", APP_TEXT, "", 0, 1000,
     "name servers, host:port;host:port: the broker is asked too; empty: it is not", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};
enum { POLL_MS = 200 };

static const struct db_stmt STUCK = {"ctl_stuck", "SELECT count(*) AS n FROM audit.i10"};
static const struct db_stmt RUN = {"ctl_audit",
                                   "SELECT name, title, violations, sample FROM audit.run()"};

/* --- waiting --- */

static int stuck_body(struct db_conn *c, void *arg)
{
    struct db_rows r;
    const int rc = db_query(c, &STUCK, &r);
    if (rc != 0)
        return rc;
    *(int64_t *)arg = db_get_i64(&r, 0, "n");
    return db_rows_end(&r);
}

/* Waits until nothing is under way, at most until the deadline. *stuck: what still is. */
static int wait_for_rest(struct db *db, int64_t deadline, int64_t *stuck, struct app_error *e)
{
    for (;;) {
        const int rc = db_read(db, stuck_body, stuck, e);
        if (rc != 0 || *stuck == 0 || timing_mono_ms() >= deadline)
            return rc;
        timing_sleep_ms(POLL_MS);
    }
}

/* --- the table --- */

struct audit {
    struct ctl_table *table;
    int64_t violated, checked;
};

static int add_row(struct audit *a, const char *name, const char *title, int64_t n,
                   const char *sample, struct app_error *e)
{
    char count[24];
    (void)snprintf(count, sizeof count, "%lld", (long long)n);
    const char *const cells[] = {name, title, count, n == 0 ? "ok" : "VIOLATED", sample};
    a->checked++;
    a->violated += n > 0;
    return table_row(a->table, cells, e);
}

static int audit_row(struct audit *a, struct db_rows *r, int row, struct app_error *e)
{
    return add_row(a, db_get_text(r, row, "name"), db_get_text(r, row, "title"),
                   db_get_i64(r, row, "violations"), db_get_text_or(r, row, "sample", ""), e);
}

static int audit_broker(struct audit *a, const char *namesrv, struct app_error *e)
{
    struct ctl_broker_rest rest;
    int rc = ctl_broker_rest(namesrv, &rest, e);
    if (rc == 0)
        rc = add_row(a, "i14", "no half message is undecided", rest.undecided, "", e);
    return rc != 0 ? rc
                   : add_row(a, "i14", "no consumer group is behind", rest.lag, rest.example, e);
}

/* One snapshot for all of them: an order on its way must not look right to one and wrong to another. */
static int audit_rows(struct db_conn *c, struct audit *a)
{
    struct db_rows r;
    int rc = db_script(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL);
    if (rc != 0 || (rc = db_query(c, &RUN, &r)) != 0)
        return rc;
    for (int i = 0; i < db_count(&r) && rc == 0; i++)
        rc = audit_row(a, &r, i, db_error(c));
    const int ended = db_rows_end(&r);
    if (rc == 0 && ended == 0)
        return db_script(c, "COMMIT", 0, NULL);
    return rc != 0 ? rc : ended;
}

/* Fills a fresh table. */
static int judge(struct db *db, const char *namesrv, struct audit *a, struct app_error *e)
{
    static const struct ctl_column columns[] = {{"NAME", COL_LEFT},    {"WHAT MUST HOLD", COL_LEFT},
                                                {"ROWS", COL_RIGHT},   {"", COL_LEFT},
                                                {"EXAMPLE", COL_WRAP}, {NULL, 0}};
    struct db_conn *c;
    *a = (struct audit){.table = NULL};
    int rc = table_new(columns, &a->table, e);
    if (rc != 0)
        return rc;
    if ((rc = db_acquire(db, &c, e)) == 0) {
        rc = audit_rows(c, a);
        if (rc != 0)
            *e = *db_error(c);
        db_release(db, c);
    }
    if (rc == 0 && namesrv[0] != '\0')
        rc = audit_broker(a, namesrv, e);
    if (rc != 0)
        table_free(a->table);
    return rc;
}

static int wait_and_judge(struct db *db, const struct app *settings, struct audit *a,
                          struct app_error *e)
{
    const int64_t wait_s = app_int(settings, "wait");
    const char *const namesrv = app_text(settings, "namesrv");
    const int64_t start = timing_mono_ms(), deadline = start + wait_s * 1000;
    int64_t stuck = 0;
    int rc = wait_s > 0 ? wait_for_rest(db, deadline, &stuck, e) : 0;
    if (rc != 0)
        return rc;
    while ((rc = judge(db, namesrv, a, e)) == 0 && a->violated > 0 && timing_mono_ms() < deadline) {
        table_free(a->table);
        timing_sleep_ms(POLL_MS);
    }
    if (rc == 0 && wait_s > 0)
        printf("%s after %.1f s\n", a->violated == 0 ? "at rest" : "not as it should be",
               (double)(timing_mono_ms() - start) / 1000);
    return rc;
}

static int run(const struct ctl *c, struct app_error *e)
{
    struct db *db;
    struct audit a = {.table = NULL};
    int rc = ctl_open(c, &db, e);
    if (rc != 0)
        return rc;
    rc = wait_and_judge(db, c->settings, &a, e);
    db_close(db);
    if (rc != 0 || (rc = table_print(a.table, NULL, e)) != 0)
        return rc;
    if (a.violated > 0)
        printf("%lld of %lld invariants are violated\n", (long long)a.violated,
               (long long)a.checked);
    else
        printf("all %lld invariants hold\n", (long long)a.checked);
    return a.violated > 0 ? CTL_FOUND : CTL_OK;
}

const struct ctl_command ctl_audit = {
    .name = "audit",
    .arguments = "",
    .options = options,
    .run = run,
    .summary = "check the invariants of the shop; exit status 1 when one does not hold"};
