#pragma once
/* The life of a service: settings, log, database, messages, two HTTP ports, signals, shutdown.
 *
 *   int main(int argc, char **argv) { return app_main(&STOCK_SERVICE, argc, argv); }
 *
 * Start: settings; log; failpoints from the environment; database; service->boot (checks its settings,
 * makes its state, registers consumers and checks); message client; HTTP ports; service->start
 * (background jobs); then one line on stdout:
 *   stock ready http=127.0.0.1:18081 internal=127.0.0.1:19081
 * While database or name server are not there yet, start-up waits for boot-wait-ms.
 * SIGTERM or SIGINT: HTTP intake stops and drains, jobs stop, consumers stop, producers close,
 * service->stop frees its state, the pool closes. A second signal ends at once. SIGHUP reopens the log.
 *
 * Settings, each from (strongest first) command line `--key value` or `--key=value`, environment
 * SHOP_KEY (upper case, '-' as '_'), file of --config (`key=value` lines, '#' comments), default.
 * Unknown keys, values out of bounds and lines without '=' are errors that name their place. */
#include "apps/common/timing.h"
#include "apps/common/codes.h"
#include "apps/common/db.h"
#include "apps/common/error.h"
#include "apps/common/failpoint.h"
#include "apps/common/http_server.h"
#include "apps/common/ids.h"
#include "apps/common/inbox.h"
#include "apps/common/log.h"
#include "apps/common/metrics.h"
#include "apps/common/mq.h"

enum app_kind { APP_TEXT, APP_INT, APP_FLAG };
struct app_option {
    const char *key; /* "pay-deadline-ms" */
    enum app_kind kind;
    const char *dflt; /* NULL: mandatory */
    int64_t min, max; /* APP_INT: bounds; APP_TEXT: length */
    const char *help; /* one line; ends with the unit where there is one */
    bool secret;      /* never printed */
};

struct app; /* settings and what app_main made */

struct app_service {
    const char *name;    /* "stock": log, producer group, ready line */
    const char *summary; /* one line for -h */
    const char *schema;  /* "stk"; NULL: this service has no database */
    bool uses_mq;
    const struct app_option *options; /* its own; ended by key NULL; NULL: none */
    const struct http_route
        *routes; /* ended by method NULL; HTTP_INTERNAL ones on the internal port */
    struct failpoint *failpoints;
    int n_failpoints;
    /* Makes the service's state from the settings; app_db, app_mq, ... are there; mq_consume and
     * mq_set_check are called here. */
    int (*boot)(struct app *a, void **state, struct app_error *e);
    /* NULL allowed: after everything listens. app_job is called here. */
    int (*start)(struct app *a, void *state, struct app_error *e);
    /* Frees the state; no request, message or job runs any more. */
    void (*stop)(void *state);
};

int app_main(const struct app_service *s, int argc, char **argv);

/* The common settings: config, dsn, namesrv, listen, internal-listen, instance, log, log-level,
 * db-pool, db-lock-ms, db-statement-ms, http-workers, http-queue, http-connections, consumer-threads,
 * consumer-retries, mq-refresh-ms, boot-wait-ms, drain-ms, keep-days. A key that is in no table is a bug and aborts. */
const char *app_text(const struct app *a, const char *key);
int64_t app_int(const struct app *a, const char *key);
bool app_flag(const struct app *a, const char *key);
struct db *app_db(struct app *a);
struct mq *app_mq(struct app *a);
struct ids *app_ids(struct app *a);
struct metrics *app_metrics(struct app *a);

/* Settings alone, for tools (shopctl) and tests. argv[0] is skipped. *rest (may be NULL): index of the
 * first argument that is not an option; without it such an argument is an error. */
int app_settings(const struct app_option *const *tables, int n_tables, int argc, char **argv,
                 int *rest, struct app **out, struct app_error *e) APP_CHECK;
void app_settings_free(struct app *a);
bool app_wants_help(const struct app *a); /* -h or --help was given */
void app_print_help(const struct app *a, const char *program, const char *summary);

/* A job that runs every interval_ms on a thread of its own, first after one interval, until shutdown.
 * step does a bounded batch; > 0: there is more, run again at once; an error is logged, not fatal. */
typedef int (*app_step)(void *arg, struct app_error *e);
int app_job(struct app *a, const char *name, int64_t interval_ms, app_step step, void *arg,
            struct app_error *e) APP_CHECK;
