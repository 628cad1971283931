/* Settings of a service: tables of keys, filled from defaults, a file, the environment and the command
 * line, strongest last.
 *
 * Runs once, on the main thread, before anything else. Every value passes set_value, which checks kind
 * and bounds and names the place it came from, so that a wrong setting reads like
 *   shop.conf:12: db-pool: 0 is not within 1 and 256
 * A key that no table has is an error too: a misspelt setting must not silently be the default. In the
 * environment only SHOP_<KEY> of known keys is looked at, strangers there belong to others.
 */
#include "apps/common/app_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096
enum { RANK_DEFAULT, RANK_FILE, RANK_ENV, RANK_COMMAND };

const struct app_option app_common_options[] = {
    {"config", APP_TEXT, "", 0, 1000, "file with key=value lines", false},
    {"dsn", APP_TEXT, "", 0, 1000, "PostgreSQL connection string", true},
    {"namesrv", APP_TEXT, "127.0.0.1:9876", 1, 1000, "name servers, host:port;host:port", false},
    {"listen", APP_TEXT, "127.0.0.1:0", 1, 200, "HTTP address for users; port 0 picks a free one",
     false},
    {"internal-listen", APP_TEXT, "127.0.0.1:0", 1, 200,
     "HTTP address for /internal, /admin and /metrics", false},
    {"instance", APP_INT, "0", 0, IDS_INSTANCE_MAX,
     "number of this instance; unique among those of one service", false},
    {"log", APP_TEXT, "-", 1, 500, "log file; - is stderr", false},
    {"log-level", APP_TEXT, "info", 4, 5, "debug, info, warn or error", false},
    {"db-pool", APP_INT, "8", 1, 256, "database connections at most", false},
    {"db-lock-ms", APP_INT, "1500", 10, 60000, "longest wait for a row lock, milliseconds", false},
    {"db-statement-ms", APP_INT, "3000", 10, 600000, "longest statement, milliseconds", false},
    {"http-workers", APP_INT, "8", 1, 256, "handler threads per HTTP port", false},
    {"http-queue", APP_INT, "256", 1, 100000, "requests waiting for a handler thread", false},
    {"http-connections", APP_INT, "1024", 4, 100000, "open connections per HTTP port", false},
    {"consumer-threads", APP_INT, "8", 1, 256, "handler threads per consumer group", false},
    {"consumer-retries", APP_INT, "16", 1, 1000, "deliveries before a message is a dead letter",
     false},
    {"mq-refresh-ms", APP_INT, "30000", 100, 3600000,
     "age at which the name server is asked again where a topic lives, milliseconds", false},
    {"boot-wait-ms", APP_INT, "10000", 0, 600000,
     "wait for database and name server at start, milliseconds", false},
    {"drain-ms", APP_INT, "5000", 0, 600000,
     "longest wait for running work at shutdown, milliseconds", false},
    {"keep-days", APP_INT, "15", 15, 3650,
     "age of inbox, barrier and decision rows that are purged, days", false},
    {0}};

static struct app_value *find(const struct app *a, const char *key, size_t len)
{
    for (int i = 0; i < a->n_values; i++)
        if (strncmp(a->values[i].option->key, key, len) == 0 &&
            a->values[i].option->key[len] == '\0')
            return (struct app_value *)&a->values[i];
    return NULL;
}

static int parse_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return APP_E_CONFIG;
    *out = v;
    return APP_OK;
}

static int parse_flag(const char *text, int64_t *out)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
        *out = 1;
    else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        *out = 0;
    else
        return APP_E_CONFIG;
    return APP_OK;
}

/* where: "shop.conf:12", "environment SHOP_DSN", "command line". A weaker source does not overwrite. */
static int set_value(struct app_value *v, const char *text, int rank, const char *where,
                     struct app_error *e)
{
    const struct app_option *o = v->option;
    int64_t number = 0;
    if (o->kind == APP_INT && parse_int(text, &number))
        return app_fail(e, APP_E_CONFIG, "%s: %s: \"%.40s\" is not a whole number", where, o->key,
                        text);
    if (o->kind == APP_FLAG && parse_flag(text, &number))
        return app_fail(e, APP_E_CONFIG, "%s: %s: \"%.40s\" is neither true nor false", where,
                        o->key, text);
    const int64_t size = o->kind == APP_TEXT ? (int64_t)strlen(text) : number;
    if (o->kind != APP_FLAG && (size < o->min || size > o->max))
        return app_fail(e, APP_E_CONFIG,
                        o->kind == APP_INT ? "%s: %s: %lld is not within %lld and %lld"
                                           : "%s: %s: %lld bytes long, not within %lld and %lld",
                        where, o->key, (long long)size, (long long)o->min, (long long)o->max);
    if (rank < v->rank)
        return APP_OK;
    char *copy = strdup(text);
    if (!copy)
        return app_fail(e, APP_E_NOMEM, "no memory for settings");
    free(v->text);
    v->text = copy;
    v->number = number;
    v->rank = rank;
    return APP_OK;
}

static int add_table(struct app *a, const struct app_option *table, struct app_error *e)
{
    for (const struct app_option *o = table; o && o->key; o++) {
        APP_ASSERT(a->n_values < APP_OPTIONS_MAX && !find(a, o->key, strlen(o->key)));
        struct app_value *v = &a->values[a->n_values++];
        v->option = o;
        if (o->dflt) {
            const int rc = set_value(v, o->dflt, RANK_DEFAULT, "default", e);
            if (rc)
                return rc;
        }
    }
    return APP_OK;
}

/* ---- sources ---- */

static int read_command_line(struct app *a, int argc, char **argv, int *rest, struct app_error *e)
{
    int i = 1;
    for (; i < argc; i++) {
        const char *s = argv[i];
        if (strcmp(s, "-h") == 0 || strcmp(s, "--help") == 0) {
            a->help = true;
            continue;
        }
        if (strncmp(s, "--", 2) != 0 || !s[2])
            break;
        const size_t len = strcspn(s + 2, "=");
        struct app_value *v = find(a, s + 2, len);
        if (!v)
            return app_fail(e, APP_E_CONFIG,
                            "command line: no option is called %.60s: -h lists them", s);
        const char *value = s[2 + len] == '='             ? s + 3 + len
                            : v->option->kind == APP_FLAG ? "true"
                            : i + 1 < argc                ? argv[++i]
                                                          : NULL;
        if (!value)
            return app_fail(e, APP_E_CONFIG, "command line: %s needs a value", s);
        const int rc = set_value(v, value, RANK_COMMAND, "command line", e);
        if (rc)
            return rc;
    }
    if (rest)
        *rest = i;
    else if (i < argc)
        return app_fail(e, APP_E_CONFIG, "command line: unexpected argument \"%.60s\"", argv[i]);
    return APP_OK;
}

static int read_environment(struct app *a, struct app_error *e)
{
    for (int i = 0; i < a->n_values; i++) {
        char name[64] = "SHOP_", where[80];
        size_t n = 5;
        for (const char *k = a->values[i].option->key; *k && n < sizeof name - 1; k++)
            name[n++] = *k == '-' ? '_' : *k >= 'a' && *k <= 'z' ? (char)(*k - 32) : *k;
        const char *text = getenv(name);
        (void)snprintf(where, sizeof where, "environment %s", name);
        const int rc = text ? set_value(&a->values[i], text, RANK_ENV, where, e) : APP_OK;
        if (rc)
            return rc;
    }
    return APP_OK;
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t n = strlen(s);
    while (n > 0 && strchr(" \t\r\n", s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int read_line(struct app *a, char *line, const char *where, struct app_error *e)
{
    char *s = trim(line);
    if (!*s || *s == '#')
        return APP_OK;
    char *eq = strchr(s, '=');
    if (!eq)
        return app_fail(e, APP_E_CONFIG, "%s: expected key=value", where);
    *eq = '\0';
    const char *key = trim(s), *value = trim(eq + 1);
    struct app_value *v = find(a, key, strlen(key));
    if (!v)
        return app_fail(e, APP_E_CONFIG, "%s: no setting is called \"%.60s\"", where, key);
    return set_value(v, value, RANK_FILE, where, e);
}

static int read_file(struct app *a, const char *path, struct app_error *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return app_fail(e, APP_E_CONFIG, "config %s: %s", path, strerror(errno));
    char line[LINE_MAX_BYTES], where[600];
    int rc = APP_OK;
    for (int number = 1; rc == APP_OK && fgets(line, sizeof line, f); number++) {
        (void)snprintf(where, sizeof where, "%.500s:%d", path, number);
        if (strlen(line) == sizeof line - 1 && line[sizeof line - 2] != '\n')
            rc = app_fail(e, APP_E_CONFIG, "%s: the line is longer than %d bytes", where,
                          LINE_MAX_BYTES - 2);
        else
            rc = read_line(a, line, where, e);
    }
    if (rc == APP_OK && ferror(f))
        rc = app_fail(e, APP_E_CONFIG, "config %s: %s", path, strerror(errno));
    fclose(f);
    return rc;
}

static int check_mandatory(const struct app *a, struct app_error *e)
{
    for (int i = 0; i < a->n_values; i++)
        if (!a->values[i].text)
            return app_fail(
                e, APP_E_CONFIG,
                "%s is mandatory: give --%s, SHOP_... in the environment or a line in the config file",
                a->values[i].option->key, a->values[i].option->key);
    return APP_OK;
}

/* ---- interface ---- */

int app_settings(const struct app_option *const *tables, int n_tables, int argc, char **argv,
                 int *rest, struct app **out, struct app_error *e)
{
    struct app *a = calloc(1, sizeof *a);
    if (!a)
        return app_fail(e, APP_E_NOMEM, "no memory for settings");
    int rc = APP_OK;
    for (int i = 0; i < n_tables && rc == APP_OK; i++)
        rc = add_table(a, tables[i], e);
    if (rc == APP_OK)
        rc = read_command_line(a, argc, argv, rest, e);
    if (rc == APP_OK)
        rc = read_environment(a, e);
    const struct app_value *config = find(a, "config", 6);
    if (rc == APP_OK && config && config->text[0])
        rc = read_file(a, config->text, e);
    if (rc == APP_OK && !a->help)
        rc = check_mandatory(a, e);
    if (rc) {
        app_settings_free(a);
        return rc;
    }
    *out = a;
    return APP_OK;
}

void app_settings_free(struct app *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->n_values; i++)
        free(a->values[i].text);
    free(a);
}

static const struct app_value *must_find(const struct app *a, const char *key, enum app_kind kind)
{
    const struct app_value *v = find(a, key, strlen(key));
    APP_ASSERT(v && v->option->kind == kind);
    return v;
}

const char *app_text(const struct app *a, const char *key)
{
    return must_find(a, key, APP_TEXT)->text;
}

int64_t app_int(const struct app *a, const char *key)
{
    return must_find(a, key, APP_INT)->number;
}

bool app_flag(const struct app *a, const char *key)
{
    return must_find(a, key, APP_FLAG)->number != 0;
}

bool app_wants_help(const struct app *a)
{
    return a->help;
}

void app_print_help(const struct app *a, const char *program, const char *summary)
{
    printf(
        "%s: %s\n\nSettings: --key value, SHOP_KEY in the environment, or key=value in the file of --config.\n\n",
        program, summary);
    for (int i = 0; i < a->n_values; i++) {
        const struct app_option *o = a->values[i].option;
        printf("  --%-18s %s", o->key, o->help);
        if (o->kind == APP_INT)
            printf(" [%lld..%lld]", (long long)o->min, (long long)o->max);
        if (!o->dflt)
            printf(" (mandatory)");
        else if (o->dflt[0])
            printf(" (default %s)", o->dflt);
        putchar('\n');
    }
}
