/* The idempotent consumer.
 *
 * Runs on the message client's worker threads, several deliveries at once; keeps no state of its own:
 * what was done is in mq_consumer_log, what is to be sent follows from the database.
 *
 * Happy path: decode the body, find the handler of its event, one transaction {inbox row, effect}, emit,
 * acknowledge. A redelivery finds the inbox row, skips the effect, reads the stored outcome and emits
 * again: the first delivery may have died between commit and emission.
 *
 * Failure modes: a body that cannot be read, a tag nobody here handles, a key that is missing or differs
 * from the body's: dead letter, no retry can help. Transaction failed or of unknown outcome: later; if
 * it did commit, the redelivery is a duplicate. Emission failed: later, same.
 *
 * Invariant: nothing is emitted before the commit it reports is certain.
 */
#include "apps/common/inbox.h"

#include "apps/common/kit_failpoints.h"
#include "apps/common/log.h"
#include "apps/common/metrics.h"
#include "apps/common/naive.h"
#include "apps/common/timing.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The failpoints of the events stand in the order of the events. */
#define EVENT(name, topic, tag, key, must)                                                         \
    static_assert((int)FP_INBOX_EVENT_##name - (int)FP_INBOX_EVENT_order_cancel ==                 \
                      (int)EVENT_##name - (int)EVENT_order_cancel,                                 \
                  #name);
#include "apps/common/events.def"
#undef EVENT

static const struct db_stmt INSERT_ROW = {
    "kit_inbox_insert",
    "INSERT INTO mq_consumer_log(group_name, tag, msg_key, msg_id, reconsume_times, outcome) "
    "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"};
static const struct db_stmt READ_OUTCOME = {
    "kit_inbox_read",
    "SELECT outcome FROM mq_consumer_log WHERE group_name = $1 AND tag = $2 AND msg_key = $3"};
static const struct db_stmt SET_OUTCOME = {
    "kit_inbox_outcome",
    "UPDATE mq_consumer_log SET outcome = $4 WHERE group_name = $1 AND tag = $2 AND msg_key = $3"};

struct work {
    const struct inbox *in;
    const struct inbox_handler *h;
    const struct inbox_msg *m;
    bool fresh;
    char outcome[INBOX_OUTCOME_MAX];
};

int inbox_record(struct db_conn *c, const struct inbox_msg *m, const char *outcome, bool *fresh)
{
    int64_t n;
    const int rc = db_exec(c, &INSERT_ROW, &n, db_text(m->group), db_text(m->tag), db_text(m->key),
                           db_text(m->msg_id), db_i64(m->reconsume_times), db_text(outcome));
    *fresh = rc == APP_OK && n == 1;
    return rc;
}

static int read_outcome(struct db_conn *c, struct work *w)
{
    struct db_rows rows;
    const int rc = db_query(c, &READ_OUTCOME, &rows, db_text(w->m->group), db_text(w->m->tag),
                            db_text(w->m->key));
    if (rc)
        return rc;
    (void)snprintf(w->outcome, sizeof w->outcome, "%s", db_get_text(&rows, 0, "outcome"));
    return db_rows_end(&rows);
}

static int tx_body(struct db_conn *c, void *arg)
{
    struct work *w = arg;
    (void)snprintf(w->outcome, sizeof w->outcome, "ok");
    int rc = inbox_record(c, w->m, w->outcome, &w->fresh);
    if (rc)
        return rc;
    if (!w->fresh)
        return read_outcome(c, w);
    rc = w->h->effect(c, w->m, w->outcome, w->in->arg);
    if (rc == APP_OK && strcmp(w->outcome, "ok") != 0)
        rc = db_exec(c, &SET_OUTCOME, NULL, db_text(w->m->group), db_text(w->m->tag),
                     db_text(w->m->key), db_text(w->outcome));
    return rc;
}

/* A story for the log; effects may return a code without having told one. */
static const char *story(const struct app_error *e)
{
    return app_log_value(e->text[0] ? e->text : app_errno_name(e->kind));
}

static enum inbox_result later(const struct inbox_msg *m, const char *step,
                               const struct app_error *e)
{
    log_warn("consume_later", "group=%s tag=%s key=%s times=%d step=%s error=%s", m->group, m->tag,
             app_log_value(m->key), m->reconsume_times, step, story(e));
    return INBOX_LATER;
}

static enum inbox_result dead(const char *group, const struct inbox_delivery *d,
                              const struct app_error *e)
{
    log_error("consume_dead", "group=%s tag=%s key=%s msg_id=%s bytes=%zu error=%s", group,
              app_log_value(d->tag), app_log_value(d->key), app_log_value(d->msg_id), d->body_len,
              story(e));
    return INBOX_DEAD;
}

/* The transaction and the emission. *e tells why for LATER and DEAD. */
static int run_effect(struct work *w, const char **step, struct app_error *e)
{
    *step = "transaction";
    if (FAILPOINT(kit_failpoints[FP_INBOX_BEFORE_TX]))
        return app_fail(e, APP_E_LATER, "failpoint");
    const int rc = db_tx(w->in->db, tx_body, w, e);
    if (rc != APP_OK && rc != APP_E_NOT_YET)
        return rc;
    *step = "emission";
    if (FAILPOINT(kit_failpoints[FP_INBOX_AFTER_TX]))
        return app_fail(e, APP_E_LATER, "failpoint");
    return w->h->emit && (w->fresh || !NAIVE(D9_NO_REEMISSION))
               ? w->h->emit(w->m, w->outcome, w->in->arg, e)
               : APP_OK;
}

static const struct inbox_handler *find_handler(const struct inbox *in, enum event ev)
{
    for (int i = 0; i < INBOX_HANDLERS_MAX && in->handlers[i].event != EVENT_none; i++)
        if (in->handlers[i].event == ev)
            return &in->handlers[i];
    return NULL;
}

/* Decodes and checks that tag, key and body belong together. */
static int parse(const struct inbox *in, const struct inbox_delivery *d, struct envelope *v,
                 struct work *w, struct app_error *e)
{
    if (FAILPOINT(kit_failpoints[FP_INBOX_DEAD]))
        return app_fail(e, APP_E_INVALID, "failpoint");
    const int rc = envelope_decode(d->body, d->body_len, v, e);
    if (rc)
        return rc;
    w->h = find_handler(in, v->event);
    if (!w->h || !d->tag || strcmp(d->tag, event_tag(v->event)) != 0)
        return app_fail(e, APP_E_INVALID, "event %s with tag %s: not for group %s",
                        event_tag(v->event), app_log_value(d->tag), in->group);
    char key[ENVELOPE_KEY_MAX];
    envelope_key(v, key);
    if (!d->key || strcmp(d->key, key) != 0)
        return app_fail(e, APP_E_INVALID, "message key %s, but its body says %s",
                        app_log_value(d->key), key);
    return APP_OK;
}

static void count(const struct inbox *in, const char *tag, enum inbox_result r, bool fresh,
                  int64_t us)
{
    static const char *const results[] = {"success", "later", "dead"};
    char labels[160];
    (void)snprintf(labels, sizeof labels, "group=\"%s\",tag=\"%s\",result=\"%s\"", in->group, tag,
                   r == INBOX_SUCCESS && !fresh ? "duplicate" : results[r]);
    metric_add(metrics_counter(in->metrics, "shop_consumed_total", "messages consumed", labels), 1);
    (void)snprintf(labels, sizeof labels, "group=\"%s\",tag=\"%s\"", in->group, tag);
    metric_observe_us(
        metrics_histogram(in->metrics, "shop_consume_ms", "time to consume a message", labels), us);
}

enum inbox_result inbox_handle(const struct inbox *in, const struct inbox_delivery *d)
{
    const int64_t start = timing_mono_us();
    struct app_error e = {.kind = APP_OK};
    struct envelope v;
    struct work w = {.in = in, .fresh = true};
    if (parse(in, d, &v, &w, &e)) {
        count(in, "unreadable", INBOX_DEAD, true, timing_mono_us() - start);
        return dead(in->group, d, &e);
    }
    const struct inbox_msg m = {.group = in->group,
                                .tag = d->tag,
                                .key = d->key,
                                .msg_id = d->msg_id,
                                .reconsume_times = d->reconsume_times,
                                .traceparent = d->traceparent,
                                .v = &v};
    w.m = &m;
    const char *step = "run";
    int rc = FAILPOINT(kit_failpoints[FP_INBOX_EVENT_order_cancel + v.event - EVENT_order_cancel])
                 ? app_fail(&e, APP_E_LATER, "failpoint")
             : w.h->run ? w.h->run(&m, in->arg, &e)
                        : run_effect(&w, &step, &e);
    if (rc == APP_OK && FAILPOINT(kit_failpoints[FP_INBOX_BEFORE_ACK]))
        rc = app_fail(&e, APP_E_LATER, "failpoint: acknowledgement lost");
    if (rc && !e.kind)
        e.kind = rc;
    const enum inbox_result r = rc == APP_OK          ? INBOX_SUCCESS
                                : rc == APP_E_INVALID ? dead(in->group, d, &e)
                                                      : later(&m, step, &e);
    count(in, d->tag, r, w.fresh, timing_mono_us() - start);
    if (r == INBOX_SUCCESS)
        log_debug("consumed", "group=%s tag=%s key=%s fresh=%d outcome=%s", in->group, d->tag,
                  d->key, w.fresh, app_log_value(w.outcome));
    return r;
}
