/* The shop's messages over the client library, or over whatever port a test hands in.
 *
 * Threads: senders on any thread; handlers and checks on the library's workers. After mq_start the
 * struct is read-only, so sending takes no lock of ours.
 *
 * Sending: encode the envelope (which refuses what a consumer would park), topic, tag and key from the
 * event's row, through the port. Receiving: the library's view becomes an inbox_delivery, inbox.c does
 * the rest. A half message whose END was lost comes back through on_check, which only decodes and asks
 * the service; whatever it cannot decode stays UNKNOWN, the broker parks it after its limit and nothing
 * is decided by accident.
 *
 * A new consumer group starts at the first message of each queue: an event published before the first
 * instance of a service came up must not be skipped; the inbox absorbs what is older.
 */
#include "apps/common/mq.h"

#include "apps/common/dead_letters.h"
#include "apps/common/inbox.h"
#include "apps/common/kit_failpoints.h"
#include "apps/common/log.h"
#include "apps/common/metrics.h"

#include "halfpenny/halfpenny.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONSUMERS_MAX 8
#define PROP_TXN_ID "txn_id"
#define PROP_TRACEPARENT "traceparent"
#define PROP_IMMUNITY "CHECK_IMMUNITY_TIME_IN_SECONDS"
#define PROP_REPLAY "REPLAY"
#define PROP_ORIGIN "ORIGIN_MSG_ID"
#define DLQ_PREFIX "%DLQ%"
#define DLQ_TRIES 1000000 /* the keeper never gives up: there is nobody behind it */

static_assert(sizeof(struct hp_send_result) <= sizeof(((struct mq_half *)0)->opaque),
              "mq_half.opaque");
enum { PATTERN_P1 = 1, PATTERN_P2 = 2, PATTERN_LOST = 3 /* by a failpoint */ };
enum { DUPLICATES = 4 }; /* of mq.send.again */

struct consumer {
    const struct inbox *in;
    hp_consumer *hp;
    bool started;
    struct db *dead_db; /* where its dead letters are kept; NULL: they stay at the broker */
    hp_consumer
        *dead; /* the consumer of its dead-letter topic: one for each group, for the letter's own
                         * topic is lost when it has to be delivered again */
    bool dead_started;
};

struct mq {
    struct mq_port port;
    hp_client *client;
    hp_producer *producer;
    char group[96];
    int64_t send_timeout_ms;
    int consumer_threads;
    mq_check check;
    void *check_arg;
    int consumer_retries;
    struct consumer consumers[CONSUMERS_MAX];
    int n_consumers;
    struct metric *m_sent, *m_failed, *m_halves, *m_checks, *m_unknown;
};

/* ---- the port of the client library ---- */

static int kind_of_hp(int code)
{
    switch (code) {
    case HP_E_NOMEM:
        return APP_E_NOMEM;
    case HP_E_INVALID:
    case HP_E_TOO_BIG:
        return APP_E_INVALID;
    case HP_E_TIMEOUT:
        return APP_E_TIMEOUT;
    case HP_E_UNKNOWN:
        return APP_E_UNKNOWN;
    case HP_E_BUSY:
        return APP_E_BUSY;
    case HP_E_CLOSED:
        return APP_E_CLOSED;
    case HP_E_PROTO:
        return APP_E_PROTO;
    default:
        return APP_E_DOWN; /* not connected, no route, refused by the broker: not stored */
    }
}

static int fail_hp(struct app_error *e, const char *what, const struct hp_error *h, int rc)
{
    return app_fail(e, kind_of_hp(rc), "%s: %s", what, h->text[0] ? h->text : hp_strerror(rc));
}

static int set_number(hp_message *m, const char *name, int64_t n)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)n);
    return hp_message_set_property(m, name, text);
}

static int set_properties(hp_message *m, const struct mq_out *o)
{
    int rc = o->tag ? hp_message_set_tag(m, o->tag) : 0;
    if (rc == 0 && o->key)
        rc = hp_message_set_keys(m, o->key);
    if (rc == 0 && o->delay_level)
        rc = hp_message_set_delay_level(m, o->delay_level);
    if (rc == 0 && o->txn_id)
        rc = hp_message_set_property(m, PROP_TXN_ID, o->txn_id);
    if (rc == 0 && o->traceparent)
        rc = hp_message_set_property(m, PROP_TRACEPARENT, o->traceparent);
    if (rc == 0 && o->origin_msg_id)
        rc = hp_message_set_property(m, PROP_ORIGIN, o->origin_msg_id);
    if (rc == 0 && o->immunity_s > 0)
        rc = set_number(m, PROP_IMMUNITY, o->immunity_s);
    if (rc == 0 && o->replay > 0)
        rc = set_number(m, PROP_REPLAY, o->replay);
    return rc;
}

static int message_of(const struct mq_out *o, hp_message **out, struct app_error *e)
{
    hp_message *m = hp_message_new(o->topic, o->body, o->body_len);
    if (!m)
        return app_fail(e, APP_E_NOMEM, "no memory for a message");
    const int rc = set_properties(m, o);
    if (rc == 0) {
        *out = m;
        return APP_OK;
    }
    hp_message_free(m);
    return app_fail(e, kind_of_hp(rc), "message %s:%s: %s", o->topic, o->tag, hp_strerror(rc));
}

/* Written is not stored: the broker could not sync or copy it in the time it allows itself, and what is
 * done next relies on the message. A half is then left to check-back; anything else is sent again. */
static int check_stored(const char *tag, const struct hp_send_result *r, struct app_error *e)
{
    return r->status == HP_SEND_OK
               ? APP_OK
               : app_fail(e, APP_E_TIMEOUT,
                          "%s: written, but not yet as safe as the broker is told to "
                          "make it (status %d)",
                          tag, (int)r->status);
}

static int hp_port_send(void *arg, const struct mq_out *o, struct app_error *e)
{
    struct mq *q = arg;
    hp_message *m;
    int rc = message_of(o, &m, e);
    if (rc)
        return rc;
    struct hp_send_result result;
    struct hp_error err = {.code = 0};
    rc = hp_send(q->producer, m, &result, &err);
    hp_message_free(m);
    return rc == 0 ? check_stored(o->tag ? o->tag : o->topic, &result, e)
                   : fail_hp(e, o->tag ? o->tag : o->topic, &err, rc);
}

static int hp_port_half(void *arg, const struct mq_out *o, struct mq_half *half,
                        struct app_error *e)
{
    struct mq *q = arg;
    hp_message *m;
    int rc = message_of(o, &m, e);
    if (rc)
        return rc;
    struct hp_send_result result;
    enum hp_transaction_state state;
    struct hp_error err = {.code = 0};
    rc = hp_send_in_transaction(q->producer, m, NULL, NULL, &result, &state, &err);
    hp_message_free(m);
    if (rc != 0)
        return fail_hp(e, o->tag, &err, rc);
    (void)snprintf(half->id, sizeof half->id, "%s", result.transaction_id);
    memcpy(half->opaque, &result, sizeof result);
    return check_stored(o->tag, &result, e);
}

static int hp_port_end(void *arg, const struct mq_half *half, enum mq_verdict verdict,
                       struct app_error *e)
{
    struct mq *q = arg;
    struct hp_send_result result;
    memcpy(&result, half->opaque, sizeof result);
    struct hp_error err = {.code = 0};
    const int rc = hp_end_transaction(q->producer, &result,
                                      verdict == MQ_COMMIT ? HP_TX_COMMIT : HP_TX_ROLLBACK, &err);
    return rc == 0 ? APP_OK : fail_hp(e, "end of a transaction", &err, rc);
}

static enum hp_transaction_state on_check(void *arg, const hp_message_view *v)
{
    struct mq *q = arg;
    size_t len;
    const void *body = hp_view_body(v, &len);
    switch (mq_check_now(q, body, len, hp_view_property(v, PROP_TXN_ID))) {
    case MQ_COMMIT:
        return HP_TX_COMMIT;
    case MQ_ROLLBACK:
        return HP_TX_ROLLBACK;
    default:
        return HP_TX_UNKNOWN;
    }
}

static enum hp_consume_result on_message(void *arg, const hp_message_view *v)
{
    const struct consumer *c = arg;
    struct inbox_delivery d = {.tag = hp_view_tag(v),
                               .key = hp_view_keys(v),
                               .msg_id = hp_view_msg_id(v),
                               .traceparent = hp_view_property(v, PROP_TRACEPARENT),
                               .reconsume_times = hp_view_reconsume_times(v)};
    d.body = hp_view_body(v, &d.body_len);
    switch (inbox_handle(c->in, &d)) {
    case INBOX_SUCCESS:
        return HP_CONSUME_SUCCESS;
    case INBOX_DEAD:
        return HP_CONSUME_DEAD_LETTER;
    default:
        return HP_RECONSUME_LATER;
    }
}

static enum hp_consume_result on_dead(void *arg, const hp_message_view *v)
{
    const struct consumer *c = arg;
    struct app_error e;
    bool fresh = false;
    const char *const replay = hp_view_property(v, PROP_REPLAY);
    struct dead_letter l = {.group = c->in->group,
                            .tag = hp_view_tag(v),
                            .key = hp_view_keys(v),
                            .msg_id = hp_view_msg_id(v),
                            .traceparent = hp_view_property(v, PROP_TRACEPARENT),
                            .reconsume_times = hp_view_reconsume_times(v),
                            .replays = replay ? (int)strtol(replay, NULL, 10) : 0};
    l.body = hp_view_body(v, &l.body_len);
    if (dead_letter_keep(c->dead_db, &l, &fresh, &e)) {
        log_warn("dead_letter_not_kept", "group=%s msg_id=%s error=%s", l.group, l.msg_id,
                 app_log_value(e.text));
        return HP_RECONSUME_LATER;
    }
    if (fresh) {
        char labels[120];
        (void)snprintf(labels, sizeof labels, "group=\"%s\"", l.group);
        metric_add(metrics_counter(c->in->metrics, "shop_dead_letters_total",
                                   "messages a consumer group has given up", labels),
                   1);
        log_error("dead_letter", "group=%s tag=%s key=%s msg_id=%s", l.group, app_log_value(l.tag),
                  app_log_value(l.key), l.msg_id);
    }
    return HP_CONSUME_SUCCESS;
}

static void on_log(void *arg, enum hp_log_level level, const char *line)
{
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN,
                                            LOG_LEVEL_ERROR};
    (void)arg;
    app_log_event(levels[level], "mq_client", "text=%s", app_log_value(line));
}

/* ---- life ---- */

int mq_open(const struct mq_options *o, struct mq **out, struct app_error *e)
{
    struct mq *q = calloc(1, sizeof *q);
    if (!q)
        return app_fail(e, APP_E_NOMEM, "no memory for the message client");
    (void)snprintf(q->group, sizeof q->group, "%s_producer_group", o->name);
    q->send_timeout_ms = o->send_timeout_ms > 0 ? o->send_timeout_ms : 3000;
    q->consumer_threads = o->consumer_threads > 0 ? o->consumer_threads : 8;
    q->consumer_retries = o->consumer_retries;
    q->m_sent =
        metrics_counter(o->metrics, "shop_mq_sent_total", "messages stored by the broker", "");
    q->m_failed = metrics_counter(o->metrics, "shop_mq_send_failed_total",
                                  "sends that failed or timed out", "");
    q->m_halves = metrics_counter(o->metrics, "shop_mq_halves_total", "half messages stored", "");
    q->m_checks = metrics_counter(o->metrics, "shop_mq_checks_total", "check-backs answered", "");
    q->m_unknown = metrics_counter(o->metrics, "shop_mq_checks_unknown_total",
                                   "check-backs answered UNKNOWN", "");
    if (o->port) {
        q->port = *o->port;
        *out = q;
        return APP_OK;
    }
    q->port = (struct mq_port){hp_port_send, hp_port_half, hp_port_end, q};
    struct hp_error err = {.code = 0};
    const struct hp_client_options co = {
        .namesrv_addr = o->namesrv, .route_refresh_ms = o->refresh_ms, .log = on_log};
    const int rc = hp_client_new(&co, &q->client, &err);
    if (rc != 0) {
        free(q);
        return fail_hp(e, "message client", &err, rc);
    }
    *out = q;
    return APP_OK;
}

static int start_producer(struct mq *q, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    const struct hp_producer_options po = {.group = q->group,
                                           .send_timeout_ms = q->send_timeout_ms,
                                           .retry_times = -1,
                                           .check = q->check ? on_check : NULL,
                                           .check_arg = q};
    const int rc = hp_producer_new(q->client, &po, &q->producer, &err);
    return rc == 0 ? APP_OK : fail_hp(e, q->group, &err, rc);
}

static void tag_expression(const struct inbox *in, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < INBOX_HANDLERS_MAX && in->handlers[i].event != EVENT_none; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " || " : "",
                              event_tag(in->handlers[i].event));
    APP_ASSERT(n > 0 && n < size);
}

static int start_consumer(struct mq *q, struct consumer *c, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    char tags[160];
    tag_expression(c->in, tags, sizeof tags);
    const struct hp_consumer_options co = {.group = c->in->group,
                                           .consume = on_message,
                                           .consume_arg = c,
                                           .threads = q->consumer_threads,
                                           .max_reconsume_times = q->consumer_retries,
                                           .from = HP_FROM_FIRST};
    int rc = hp_consumer_new(q->client, &co, &c->hp, &err);
    if (rc == 0)
        rc = hp_consumer_subscribe(c->hp, c->in->topic, tags, &err);
    if (rc == 0)
        rc = hp_consumer_start(c->hp, &err);
    c->started = rc == 0;
    if (rc == 0)
        return APP_OK;
    if (c->hp)
        hp_consumer_free(c->hp);
    c->hp = NULL;
    return fail_hp(e, c->in->group, &err, rc);
}

static int start_dead(struct mq *q, struct consumer *c, struct app_error *e)
{
    struct hp_error err = {.code = 0};
    char group[128], topic[128];
    (void)snprintf(group, sizeof group, "%s%s", c->in->group, MQ_DEAD_GROUP_SUFFIX);
    (void)snprintf(topic, sizeof topic, "%s%s", DLQ_PREFIX, c->in->group);
    const struct hp_consumer_options co = {.group = group,
                                           .consume = on_dead,
                                           .consume_arg = c,
                                           .threads = 1,
                                           .max_reconsume_times = DLQ_TRIES,
                                           .from = HP_FROM_FIRST};
    int rc = hp_consumer_new(q->client, &co, &c->dead, &err);
    if (rc == 0)
        rc = hp_consumer_subscribe(c->dead, topic, "*", &err);
    if (rc == 0)
        rc = hp_consumer_start(c->dead, &err);
    c->dead_started = rc == 0;
    if (rc == 0)
        return APP_OK;
    if (c->dead)
        hp_consumer_free(c->dead);
    c->dead = NULL;
    return fail_hp(e, group, &err, rc);
}

int mq_start(struct mq *q, struct app_error *e)
{
    if (!q->client)
        return APP_OK;
    int rc = q->producer ? APP_OK : start_producer(q, e);
    for (int i = 0; i < q->n_consumers && rc == APP_OK; i++) {
        struct consumer *c = &q->consumers[i];
        if (!c->started)
            rc = start_consumer(q, c, e);
        if (rc == APP_OK && c->dead_db && !c->dead_started)
            rc = start_dead(q, c, e);
    }
    return rc;
}

void mq_stop_consumers(struct mq *q, int64_t timeout_ms)
{
    for (int i = 0; i < q->n_consumers;
         i++) { /* all pause first, so that the waits below overlap */
        if (q->consumers[i].started)
            hp_consumer_suspend(q->consumers[i].hp);
        if (q->consumers[i].dead_started)
            hp_consumer_suspend(q->consumers[i].dead);
    }
    for (int i = 0; i < q->n_consumers; i++) {
        struct consumer *c = &q->consumers[i];
        if (c->started)
            hp_consumer_stop(c->hp, timeout_ms);
        if (c->dead_started)
            hp_consumer_stop(c->dead, timeout_ms);
        c->started = c->dead_started = false;
    }
}

void mq_close(struct mq *q)
{
    if (!q)
        return;
    for (int i = 0; i < q->n_consumers; i++) {
        if (q->consumers[i].hp)
            hp_consumer_free(q->consumers[i].hp);
        if (q->consumers[i].dead)
            hp_consumer_free(q->consumers[i].dead);
    }
    if (q->producer)
        hp_producer_free(q->producer);
    if (q->client)
        hp_client_free(q->client);
    free(q);
}

int mq_consume(struct mq *q, const struct inbox *in, struct app_error *e)
{
    if (q->n_consumers == CONSUMERS_MAX)
        return app_fail(e, APP_E_BUSY, "more than %d consumer groups in one service",
                        CONSUMERS_MAX);
    q->consumers[q->n_consumers++] = (struct consumer){.in = in};
    return APP_OK;
}

void mq_keep_dead_letters(struct mq *q, struct db *db)
{
    for (int i = 0; i < q->n_consumers; i++)
        q->consumers[i].dead_db = db;
}

void mq_set_check(struct mq *q, mq_check check, void *arg)
{
    q->check = check;
    q->check_arg = arg;
}

/* ---- sending ---- */

/* Fills *o from the envelope; free(*text) afterwards. */
static int encode(const struct envelope *v, struct mq_out *o, char key[ENVELOPE_KEY_MAX],
                  char **text, struct app_error *e)
{
    const int rc = envelope_encode(v, text, &o->body_len, e);
    if (rc)
        return rc;
    envelope_key(v, key);
    o->topic = event_topic(v->event);
    o->tag = event_tag(v->event);
    o->key = key;
    o->body = *text;
    return APP_OK;
}

/* One send through the port, with what tests make of it. */
static int send_through(struct mq *q, const struct mq_out *o, struct app_error *e)
{
    const char *const what = o->tag ? o->tag : o->topic;
    if (FAILPOINT(kit_failpoints[FP_MQ_SEND]))
        return app_fail(e, APP_E_DOWN, "%s: failpoint", what);
    if (FAILPOINT(kit_failpoints[FP_MQ_SEND_LOST]))
        return APP_OK;
    int rc = q->port.send(q->port.arg, o, e);
    if (FAILPOINT(kit_failpoints[FP_MQ_SEND_AGAIN]))
        for (int i = 0; i < DUPLICATES && rc == APP_OK; i++)
            rc = q->port.send(q->port.arg, o, e);
    if (rc == APP_OK && FAILPOINT(kit_failpoints[FP_MQ_SEND_ACK]))
        return app_fail(e, APP_E_TIMEOUT, "%s: acknowledgement lost (failpoint)", what);
    return rc;
}

int mq_send_raw(struct mq *q, const struct mq_out *o, struct app_error *e)
{
    const int rc = send_through(q, o, e);
    metric_add(rc == APP_OK ? q->m_sent : q->m_failed, 1);
    return rc;
}

int mq_publish_delayed(struct mq *q, const struct envelope *v, int delay_level,
                       const char *traceparent, struct app_error *e)
{
    struct mq_out o = {.delay_level = delay_level, .traceparent = traceparent};
    char key[ENVELOPE_KEY_MAX], *text;
    int rc = encode(v, &o, key, &text, e);
    if (rc)
        return rc;
    rc = mq_send_raw(q, &o, e);
    free(text);
    return rc;
}

int mq_publish(struct mq *q, const struct envelope *v, const char *traceparent, struct app_error *e)
{
    return mq_publish_delayed(q, v, 0, traceparent, e);
}

int mq_half(struct mq *q, const struct envelope *v, const char *txn_id, int64_t immunity_s,
            const char *traceparent, struct mq_half *out, struct app_error *e)
{
    APP_ASSERT(q->check); /* a half message without a check could never be decided after a crash */
    struct mq_out o = {.txn_id = txn_id, .immunity_s = immunity_s, .traceparent = traceparent};
    char key[ENVELOPE_KEY_MAX], *text;
    int rc = encode(v, &o, key, &text, e);
    if (rc)
        return rc;
    *out = (struct mq_half){.pattern = txn_id ? PATTERN_P2 : PATTERN_P1};
    if (FAILPOINT(kit_failpoints[FP_MQ_HALF]))
        rc = app_fail(e, APP_E_DOWN, "half of %s: failpoint", o.tag);
    else if (FAILPOINT(kit_failpoints[FP_MQ_HALF_LOST]))
        out->pattern = PATTERN_LOST;
    else
        rc = q->port.half(q->port.arg, &o, out, e);
    if (rc == APP_OK && FAILPOINT(kit_failpoints[FP_MQ_HALF_ACK]))
        rc = app_fail(e, APP_E_TIMEOUT, "half of %s: acknowledgement lost (failpoint)", o.tag);
    free(text);
    metric_add(rc == APP_OK ? q->m_halves : q->m_failed, 1);
    return rc;
}

void mq_end(struct mq *q, const struct mq_half *half, enum mq_verdict verdict)
{
    struct app_error e;
    if (verdict == MQ_UNKNOWN || half->pattern == PATTERN_LOST ||
        FAILPOINT(kit_failpoints[FP_MQ_END]))
        return;
    int rc = q->port.end(q->port.arg, half, verdict, &e);
    if (rc == APP_OK && FAILPOINT(kit_failpoints[FP_MQ_END_AGAIN]))
        rc = q->port.end(q->port.arg, half, verdict, &e);
    if (rc)
        log_warn("end_lost", "half=%s verdict=%d error=%s", half->id, (int)verdict,
                 app_log_value(e.text));
}

enum mq_verdict mq_check_now(struct mq *q, const void *body, size_t len, const char *txn_id)
{
    struct envelope v;
    struct app_error e;
    enum mq_verdict verdict = MQ_UNKNOWN;
    if (envelope_decode(body, len, &v, &e))
        log_error("check_unreadable", "txn_id=%s bytes=%zu error=%s", app_log_value(txn_id), len,
                  app_log_value(e.text));
    else if (q->check)
        verdict = q->check(q->check_arg, &v, txn_id);
    metric_add(verdict == MQ_UNKNOWN ? q->m_unknown : q->m_checks, 1);
    return verdict;
}
