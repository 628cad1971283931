/* dlq: the dead letters of all services: listed, shown, replayed, dropped.
 *
 *   shopctl dlq --dsn DSN list               those that are open, oldest first; --all: every one
 *   shopctl dlq --dsn DSN show LETTER        one with its body
 *   shopctl dlq replay URL LETTER            sends it to its group again
 *   shopctl dlq drop URL LETTER REASON       gives it up for good
 *
 * LETTER is <schema>:<number> as the list prints it; URL the internal port of the service that owns it,
 * which alone writes its tables. Main thread only. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/http_client.h"

static const struct app_option options[] = {
    {"dsn", APP_TEXT, "", 0, 1000,
     "list, show: PostgreSQL connection string; role shop_auditor suffices", true},
    {"all", APP_FLAG, "false", 0, 0, "list: also those that were replayed or dropped", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

/* --- list, show --- */

#define LETTERS_OF(schema)                                                                         \
    "SELECT '" schema ":' || letter_id AS letter, * FROM " schema ".mq_dead_letter"
#define ALL_LETTERS                                                                                                 \
    "(" LETTERS_OF("ord") " UNION ALL " LETTERS_OF("stk") " UNION ALL " LETTERS_OF("cpn") " UNION ALL " LETTERS_OF( \
        "usr") " UNION ALL " LETTERS_OF("pay") " UNION ALL " LETTERS_OF("plog") ") l"

static const struct db_stmt LIST = {
    "ctl_dlq_list",
    "SELECT letter, group_name AS \"group\", tag, msg_key AS key, reconsume_times AS tries, replays, state,"
    " date_trunc('second', now() - died_at)::text AS age, coalesce(note, '') AS note FROM " ALL_LETTERS
    " WHERE state = 'open' OR $1 ORDER BY died_at LIMIT 1000"};
static const struct db_stmt SHOW = {
    "ctl_dlq_show",
    "SELECT letter, group_name AS \"group\", tag, msg_key AS key, msg_id, reconsume_times AS tries, replays, state,"
    " to_char(died_at, 'YYYY-MM-DD HH24:MI:SS') AS died, coalesce(note, '') AS note,"
    " encode(body, 'escape') AS body FROM " ALL_LETTERS " WHERE letter = $1"};

static int print(const struct ctl *c, const struct db_stmt *stmt, struct db_param param,
                 const char *nothing, struct app_error *e)
{
    struct db *db;
    int rows = 0;
    if (app_text(c->settings, "dsn")[0] == '\0')
        return app_fail(e, APP_E_CONFIG, "--dsn or SHOP_DSN is needed to %s", c->args[0]);
    int rc = ctl_open(c, &db, e);
    if (rc != 0)
        return rc;
    rc = ctl_print_query(db, stmt, NULL, param, &rows, e);
    db_close(db);
    if (rc == 0 && rows == 0)
        printf("%s\n", nothing);
    return rc != 0 ? rc : rows == 0 ? CTL_FOUND : CTL_OK;
}

static int run_list(const struct ctl *c, struct app_error *e)
{
    const int rc = print(c, &LIST, db_bool(app_flag(c->settings, "all")), "no dead letters", e);
    return rc == CTL_FOUND ? CTL_OK : rc; /* an empty list is good news */
}

static int run_show(const struct ctl *c, struct app_error *e)
{
    return print(c, &SHOW, db_text(c->args[1]), "no such dead letter", e);
}

/* --- replay, drop --- */

static int parse_letter(const char *s, int64_t *id, struct app_error *e)
{
    const char *const colon = strchr(s, ':');
    return id_parse(colon != NULL ? colon + 1 : s, id)
               ? 0
               : app_fail(e, APP_E_CONFIG, "\"%.40s\" is no letter: expected stk:17", s);
}

/* body is taken; NULL: none. */
static int post(const struct ctl *c, const char *verb, json_t *body, struct app_error *e)
{
    char url[512];
    int64_t id = 0;
    struct http_answer answer;
    int rc = parse_letter(c->args[2], &id, e);
    if (rc == 0 && (size_t)snprintf(url, sizeof url, "%s/admin/dead-letters/%lld/%s", c->args[1],
                                    (long long)id, verb) >= sizeof url)
        rc = app_fail(e, APP_E_CONFIG, "the URL is too long");
    if (rc == 0) {
        const struct http_call call = {
            .method = "POST", .url = url, .json = body, .timeout_ms = 10000};
        rc = http_do(&call, &answer, e);
    }
    json_decref(body);
    if (rc != 0)
        return rc;
    if (answer.success)
        printf("%s: %s, group %s, key %s\n", verb, c->args[2],
               json_string_value(json_object_get(answer.data, "group")),
               json_string_value(json_object_get(answer.data, "key")));
    else
        rc = app_fail(e, APP_E_CONFIG, "%s: HTTP %d %s", url, answer.status,
                      answer.json != NULL ? answer.message : "(is this the internal port?)");
    http_answer_free(&answer);
    return rc;
}

static int run_replay(const struct ctl *c, struct app_error *e)
{
    return post(c, "replay", NULL, e);
}

static int run_drop(const struct ctl *c, struct app_error *e)
{
    return post(c, "drop", json_pack("{s:s}", "reason", c->args[3]), e);
}

static const struct verb {
    const char *name, *arguments;
    int n_args;
    int (*run)(const struct ctl *c, struct app_error *e);
} verbs[] = {{"list", "", 1, run_list},
             {"show", " LETTER", 2, run_show},
             {"replay", " URL LETTER", 3, run_replay},
             {"drop", " URL LETTER REASON", 4, run_drop}};

static int run(const struct ctl *c, struct app_error *e)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, c->args[0]) != 0)
            continue;
        return c->n_args == verbs[i].n_args
                   ? verbs[i].run(c, e)
                   : app_fail(e, APP_E_CONFIG, "usage: shopctl dlq [options] %s%s", verbs[i].name,
                              verbs[i].arguments);
    }
    return app_fail(e, APP_E_CONFIG, "\"%.20s\": expected list, show, replay or drop", c->args[0]);
}

const struct ctl_command ctl_dlq = {
    .name = "dlq",
    .arguments = "VERB ...",
    .options = options,
    .args_min = 1,
    .args_max = 4,
    .run = run,
    .summary = "dead letters: list, show LETTER, replay URL LETTER, drop URL LETTER REASON"};
