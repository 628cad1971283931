#pragma once
/* shopctl: the operator's tool. It looks at all schemas as the auditor and writes no business row.
 *
 *   main.c          the commands, their options and help
 *   cmd_schema.c    schema, seed: as the owner of the database
 *   cmd_audit.c     audit: the invariants
 *   cmd_cluster.c   cluster: topics, groups and settings of a RocketMQ cluster
 *   broker_rest.c   what the broker still has to do
 *   cmd_look.c      order, sagas: what the rows say
 *   cmd_dlq.c       dlq: dead letters; replay and drop are done by the service that owns them
 *   cmd_failpoint.c failpoint: arm and list the failure places of a running service
 *   cmd_health.c    health: ask a running service whether it is up
 *   table.c         rows as tables on the terminal */
#include "apps/common/app.h"

/* Exit statuses of a command. */
enum { CTL_OK = 0, CTL_FOUND = 1 /* an invariant is violated, nothing to show */, CTL_FAILED = 2 };

struct ctl {
    const struct app *settings;
    int n_args;
    char **args;
};
struct ctl_command {
    const char *name, *arguments, *summary;
    const struct app_option *options; /* ended by key NULL */
    int args_min, args_max;
    /* Returns CTL_OK or CTL_FOUND, or an APP_E_* with its story in e. */
    int (*run)(const struct ctl *c, struct app_error *e);
};
extern const struct ctl_command ctl_schema, ctl_seed, ctl_audit, ctl_order, ctl_sagas,
    ctl_failpoint, ctl_dlq, ctl_cluster, ctl_health;

/* --- table.c --- */
struct ctl_table;
enum { COL_LEFT = 0, COL_RIGHT = 1, COL_WRAP = 2 };
struct ctl_column {
    const char *name;
    int flags;
};
/* columns ended by name NULL. */
int table_new(const struct ctl_column *columns, struct ctl_table **out,
              struct app_error *e) APP_CHECK;
/* One cell text per column; NULL is empty. */
int table_row(struct ctl_table *t, const char *const *cells, struct app_error *e) APP_CHECK;
/* Prints and frees; title (may be NULL) stands above. */
int table_print(struct ctl_table *t, const char *title, struct app_error *e) APP_CHECK;
void table_free(struct ctl_table *t);

/* --- broker_rest.c --- */
struct ctl_group {
    const char *group, *topic;
};
extern const struct ctl_group ctl_groups[]; /* every consumer group of the shop */
extern const size_t ctl_n_groups;
struct ctl_broker_rest {
    int64_t undecided; /* half messages */
    int64_t lag;       /* messages the shop's groups have not come past */
    char example[160]; /* one group that lags */
};
int ctl_broker_rest(const char *namesrv, struct ctl_broker_rest *out,
                    struct app_error *e) APP_CHECK;

/* --- cmd_look.c --- */
/* Opens the database of --dsn. */
int ctl_open(const struct ctl *c, struct db **out, struct app_error *e) APP_CHECK;
/* Runs one reading statement and prints its rows as a table with the statement's column names; columns of
 * numbers are right-aligned. *rows (may be NULL): how many. Nothing is printed for none. */
int ctl_print_query(struct db *db, const struct db_stmt *stmt, const char *title,
                    struct db_param param, int *rows, struct app_error *e) APP_CHECK;
