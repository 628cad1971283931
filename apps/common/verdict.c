/* Asking for verdicts.
 *
 * Runs on: a job's thread. Three steps, none of which holds a transaction over the network: take up to
 * BATCH tries that are due (stamped asked_at, so that the next look takes others and another instance skips
 * them), ask the order service about all of them in one call, act on each answer in a transaction of its
 * own. Undoing goes through the barrier like a cancellation that came as a message; whichever is second
 * finds it done.
 *
 * The cancel_ack of an undo follows its commit. Where it is lost, the sweeper of the order service sends
 * order_cancel again, and its duplicate is acknowledged.
 */
#include "apps/common/verdict.h"

#include "apps/common/http_client.h"

#include <stdio.h>
#include <string.h>

#define BATCH 50
#define URL_SIZE (256 + BATCH * ID_TEXT_MAX)

static const struct db_stmt TAKE = {
    "kit_verdict_take",
    "UPDATE tx_barrier b SET asked_at = now() FROM (SELECT txn_key FROM tx_barrier WHERE branch = $1 AND op = 'T'"
    " AND reason = 'T' AND settled_at IS NULL AND created_at < now() - $2 * interval '1 millisecond'"
    " AND (asked_at IS NULL OR asked_at < now() - $3 * interval '1 millisecond')"
    " ORDER BY asked_at NULLS FIRST, created_at LIMIT $4 FOR UPDATE SKIP LOCKED) t"
    " WHERE b.txn_key = t.txn_key AND b.branch = $1 AND b.op = 'T' RETURNING b.txn_key"};
static const struct db_stmt FINAL = {
    "kit_verdict_final",
    "UPDATE tx_barrier SET settled_at = now() WHERE txn_key = $1 AND branch = $2 AND op = 'T' AND settled_at IS NULL"};
static const struct db_stmt KNOWN = {
    "kit_verdict_known",
    "UPDATE tx_barrier SET unknown_since = NULL WHERE txn_key = $1 AND branch = $2 AND op = 'T' AND unknown_since IS NOT NULL"};
static const struct db_stmt UNKNOWN = {
    "kit_verdict_unknown",
    "UPDATE tx_barrier SET unknown_since = coalesce(unknown_since, now()) WHERE txn_key = $1 AND branch = $2 AND op = 'T'"
    " RETURNING unknown_since <= now() - $3 * interval '1 millisecond' AS twice"};

enum verdict_action verdict_action_of(const char *verdict)
{
    static const struct {
        const char *text;
        enum verdict_action action;
    } table[] = {{"paid", VERDICT_FINAL},
                 {"cancelled", VERDICT_UNDO_TELL},
                 {"invalid", VERDICT_UNDO},
                 {"unknown", VERDICT_UNKNOWN}};
    for (size_t i = 0; verdict && i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].text, verdict) == 0)
            return table[i].action;
    return VERDICT_WAIT;
}

/* ---- taking ---- */

struct take {
    const struct verdict_scan *v;
    int64_t ids[BATCH];
    size_t n;
};

static int take_body(struct db_conn *c, void *arg)
{
    struct take *t = arg;
    struct db_rows rows;
    const int rc = db_query(c, &TAKE, &rows, db_text(branch_text(t->v->p->branch)),
                            db_i64(t->v->age_ms), db_i64(t->v->again_ms), db_i64(BATCH));
    if (rc)
        return rc;
    t->n = 0;
    for (int i = 0; i < db_count(&rows) && t->n < BATCH; i++)
        t->n += id_parse(db_get_text(&rows, i, "txn_key"), &t->ids[t->n]);
    return db_rows_end(&rows);
}

/* ---- asking ---- */

static int ask(const struct verdict_scan *v, const struct take *t, struct http_answer *out,
               struct app_error *e)
{
    char url[URL_SIZE];
    size_t n = (size_t)snprintf(url, sizeof url, "%s/internal/orders/verdict?ids=", v->order_url);
    for (size_t i = 0; i < t->n; i++)
        n +=
            (size_t)snprintf(url + n, sizeof url - n, "%s%lld", i ? "," : "", (long long)t->ids[i]);
    const struct http_call call = {
        .method = "GET", .url = url, .timeout_ms = v->rpc_ms, .retry_on_timeout = true};
    const int rc = http_do(&call, out, e);
    if (rc || out->success)
        return rc;
    const int failed =
        app_fail(e, APP_E_PROTO, "order service about verdicts: HTTP %d", out->status);
    http_answer_free(out);
    return failed;
}

/* ---- acting ---- */

struct act {
    const struct verdict_scan *v;
    int64_t order_id;
    enum verdict_action action;
    bool undone;
    enum outcome outcome;
};

static int is_unknown_twice(struct db_conn *c, const struct act *a, const char *key, bool *twice)
{
    struct db_rows rows;
    const int rc = db_query(c, &UNKNOWN, &rows, db_text(key), db_text(branch_text(a->v->p->branch)),
                            db_i64(a->v->again_ms));
    if (rc)
        return rc;
    *twice = db_count(&rows) == 1 && db_get_bool(&rows, 0, "twice");
    return db_rows_end(&rows);
}

static int act_body(struct db_conn *c, void *arg)
{
    struct act *a = arg;
    char key[ID_TEXT_MAX];
    const char *const branch = branch_text(a->v->p->branch);
    bool undo = a->action == VERDICT_UNDO || a->action == VERDICT_UNDO_TELL;
    int rc = APP_OK;
    (void)id_text(a->order_id, key);
    a->undone = false;
    if (a->action == VERDICT_FINAL)
        return db_exec(c, &FINAL, NULL, db_text(key), db_text(branch));
    if (a->action == VERDICT_WAIT)
        return db_exec(c, &KNOWN, NULL, db_text(key), db_text(branch));
    if (a->action == VERDICT_UNKNOWN)
        rc = is_unknown_twice(c, a, key, &undo);
    if (rc == APP_OK && undo)
        rc = participant_cancel(a->v->p, c, a->order_id, &a->outcome);
    a->undone = rc == APP_OK && undo;
    return rc;
}

static int act_on(const struct verdict_scan *v, int64_t order_id, const char *verdict,
                  struct app_error *e)
{
    struct act a = {.v = v, .order_id = order_id, .action = verdict_action_of(verdict)};
    const int rc = db_tx(v->db, act_body, &a, e);
    if (rc || !a.undone)
        return rc;
    log_warn("undone_by_verdict", "order_id=%lld branch=%s verdict=%s", (long long)order_id,
             branch_text(v->p->branch), verdict);
    return a.action == VERDICT_UNDO_TELL
               ? participant_acknowledge(v->p, order_id, a.outcome, 1, NULL, e)
               : APP_OK;
}

int verdict_step(void *arg, struct app_error *e)
{
    const struct verdict_scan *v = arg;
    struct take t = {.v = v};
    struct http_answer answer;
    int rc = db_tx(v->db, take_body, &t, e);
    if (rc || t.n == 0)
        return rc;
    if ((rc = ask(v, &t, &answer, e)) != APP_OK)
        return rc;
    const json_t *const verdicts = json_object_get(answer.data, "verdicts");
    for (size_t i = 0; i < t.n; i++) {
        char key[ID_TEXT_MAX];
        struct app_error why = {.kind = APP_OK};
        const char *const text =
            json_string_value(json_object_get(verdicts, id_text(t.ids[i], key)));
        if (act_on(v, t.ids[i], text, &why))
            log_warn("verdict_not_done", "order_id=%s branch=%s verdict=%s error=%s", key,
                     branch_text(v->p->branch), app_log_value(text), app_log_value(why.text));
    }
    http_answer_free(&answer);
    return t.n == BATCH;
}

int verdict_start(struct verdict_scan *v, struct app *a, const struct participant *p,
                  struct app_error *e)
{
    *v = (struct verdict_scan){.p = p,
                               .db = app_db(a),
                               .order_url = app_text(a, "order-url"),
                               .age_ms = app_int(a, "verdict-age-ms"),
                               .again_ms = app_int(a, "verdict-again-ms"),
                               .rpc_ms = app_int(a, "rpc-ms")};
    const int64_t every_ms = app_int(a, "verdict-ms");
    return every_ms > 0 ? app_job(a, "verdict", every_ms, verdict_step, v, e) : APP_OK;
}
