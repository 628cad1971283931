/* Dead letters in PostgreSQL, and the two things an operator does with them.
 *
 * Keeping runs on the message client's worker of the dead-letter consumer; replay and drop on HTTP workers.
 * A letter is open, replayed (may be replayed again) or dropped (final, with a reason). A replay sends
 * first and records afterwards: who dies in between has a letter that is open though it was replayed, and
 * replaying it once more is harmless; the other order would lose it.
 */
#include "apps/common/dead_letters.h"

#include "apps/common/codes.h"
#include "apps/common/envelope.h"
#include "apps/common/log.h"
#include "apps/common/mq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 200

/* ---- keeping ---- */

static const struct db_stmt KEEP = {
    "kit_dead_keep",
    "INSERT INTO mq_dead_letter(group_name, tag, msg_key, msg_id, body, traceparent, reconsume_times, replays)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (group_name, msg_id) DO NOTHING"};

struct keep {
    const struct dead_letter *l;
    int64_t n;
};

static int keep_body(struct db_conn *c, void *arg)
{
    struct keep *k = arg;
    const struct dead_letter *l = k->l;
    return db_exec(c, &KEEP, &k->n, db_text(l->group), db_text(l->tag), db_text(l->key),
                   db_text(l->msg_id), db_bytes(l->body, l->body_len), db_text(l->traceparent),
                   db_i64(l->reconsume_times), db_i64(l->replays));
}

int dead_letter_keep(struct db *db, const struct dead_letter *l, bool *fresh, struct app_error *e)
{
    struct keep k = {.l = l};
    const int rc = db_tx(db, keep_body, &k, e);
    *fresh = rc == APP_OK && k.n == 1;
    return rc;
}

/* ---- replaying and dropping ---- */

static const struct db_stmt READ = {
    "kit_dead_read",
    "SELECT group_name, tag, msg_key, msg_id, encode(body, 'hex') AS body, traceparent, replays, state"
    " FROM mq_dead_letter WHERE letter_id = $1"};
static const struct db_stmt REPLAYED = {
    "kit_dead_replayed",
    "UPDATE mq_dead_letter SET state = 'replayed', changed_at = now() WHERE letter_id = $1 AND state <> 'dropped'"};
static const struct db_stmt DROP = {
    "kit_dead_drop",
    "UPDATE mq_dead_letter SET state = 'dropped', note = $2, changed_at = now() WHERE letter_id = $1 AND state = 'open'"};

struct letter {
    int64_t id;
    bool found;
    char group[96], tag[64], key[ENVELOPE_KEY_MAX], msg_id[64], traceparent[64], state[16];
    bool has_tag, has_key, has_trace;
    int replays;
    char *body; /* own */
    size_t body_len;
    const char *reason;
    int64_t changed;
};

/* Text into a fixed member; false when the column is NULL. */
static bool take_text(struct db_rows *r, const char *column, char *out, size_t size)
{
    const char *const s = db_get_text_or(r, 0, column, NULL);
    (void)snprintf(out, size, "%s", s ? s : "");
    return s != NULL;
}

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static char *from_hex(const char *hex, size_t *len)
{
    *len = strlen(hex) / 2;
    char *const out = malloc(*len + 1);
    for (size_t i = 0; out && i < *len; i++)
        out[i] = (char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return out;
}

static int read_body(struct db_conn *c, void *arg)
{
    struct letter *l = arg;
    struct db_rows r;
    const int rc = db_query(c, &READ, &r, db_i64(l->id));
    if (rc)
        return rc;
    l->found = db_count(&r) == 1;
    if (l->found) {
        (void)take_text(&r, "group_name", l->group, sizeof l->group);
        (void)take_text(&r, "msg_id", l->msg_id, sizeof l->msg_id);
        (void)take_text(&r, "state", l->state, sizeof l->state);
        l->has_tag = take_text(&r, "tag", l->tag, sizeof l->tag);
        l->has_key = take_text(&r, "msg_key", l->key, sizeof l->key);
        l->has_trace = take_text(&r, "traceparent", l->traceparent, sizeof l->traceparent);
        l->replays = (int)db_get_i64(&r, 0, "replays");
        free(l->body);
        l->body = from_hex(db_get_text(&r, 0, "body"), &l->body_len);
    }
    const int end = db_rows_end(&r);
    return end                    ? end
           : !l->found || l->body ? APP_OK
                                  : db_fail(c, APP_E_NOMEM, "no memory for a dead letter");
}

static int replayed_body(struct db_conn *c, void *arg)
{
    struct letter *l = arg;
    return db_exec(c, &REPLAYED, &l->changed, db_i64(l->id));
}

static int drop_body(struct db_conn *c, void *arg)
{
    struct letter *l = arg;
    return db_exec(c, &DROP, &l->changed, db_i64(l->id), db_text(l->reason));
}

static int replay(const struct dead_letters *d, struct letter *l, struct app_error *e)
{
    char topic[128];
    (void)snprintf(topic, sizeof topic, "%%RETRY%%%s", l->group);
    const struct mq_out o = {.topic = topic,
                             .tag = l->has_tag ? l->tag : NULL,
                             .key = l->has_key ? l->key : NULL,
                             .body = l->body,
                             .body_len = l->body_len,
                             .traceparent = l->has_trace ? l->traceparent : NULL,
                             .replay = l->replays + 1,
                             .origin_msg_id = l->msg_id};
    const int rc = mq_send_raw(d->mq, &o, e);
    return rc ? rc : db_tx(d->db, replayed_body, l, e);
}

/* false: answered. Frees nothing; l->body is the caller's. */
static bool load(const struct dead_letters *d, struct http_req *rq, struct letter *l)
{
    struct app_error e;
    if (!http_path_id(rq, "id", &l->id))
        return false;
    if (db_tx(d->db, read_body, l, &e))
        http_error(rq, &e);
    else if (!l->found)
        http_refuse(rq, CODE_LETTER_NOT_FOUND, "%lld", (long long)l->id);
    else
        return true;
    return false;
}

static void on_replay(void *arg, struct http_req *rq)
{
    const struct dead_letters *d = arg;
    struct letter l = {.id = 0};
    struct app_error e;
    if (!load(d, rq, &l)) {
        /* answered */
    } else if (strcmp(l.state, "dropped") == 0) {
        http_refuse(rq, CODE_LETTER_STATE, "it is dropped");
    } else if (replay(d, &l, &e)) {
        http_error(rq, &e);
    } else {
        log_warn("dead_letter_replayed", "letter_id=%lld group=%s key=%s replay=%d",
                 (long long)l.id, l.group, app_log_value(l.key), l.replays + 1);
        http_ok(rq, json_pack("{s:s, s:s, s:i}", "group", l.group, "key", l.key, "replay",
                              l.replays + 1));
    }
    free(l.body);
}

static void on_drop(void *arg, struct http_req *rq)
{
    const struct dead_letters *d = arg;
    struct letter l = {.id = 0};
    struct app_error e;
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    l.reason = jsonx_text(&r, "reason", 1, REASON_MAX);
    if (jsonx_end(&r, &e)) {
        http_error(rq, &e);
    } else if (!load(d, rq, &l)) {
        /* answered */
    } else if (db_tx(d->db, drop_body, &l, &e)) {
        http_error(rq, &e);
    } else if (l.changed == 0) {
        http_refuse(rq, CODE_LETTER_STATE, "it is %s", l.state);
    } else {
        log_warn("dead_letter_dropped", "letter_id=%lld group=%s key=%s reason=%s", (long long)l.id,
                 l.group, app_log_value(l.key), app_log_value(l.reason));
        http_ok(rq, json_pack("{s:s, s:s}", "group", l.group, "key", l.key));
    }
    free(l.body);
}

const struct http_route dead_letter_routes[] = {{.method = "POST",
                                                 .pattern = "/admin/dead-letters/{id}/replay",
                                                 .handler = on_replay,
                                                 .flags = HTTP_INTERNAL},
                                                {.method = "POST",
                                                 .pattern = "/admin/dead-letters/{id}/drop",
                                                 .handler = on_drop,
                                                 .flags = HTTP_INTERNAL | HTTP_JSON},
                                                {0}};
