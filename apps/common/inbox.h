#pragma once
/* The idempotent consumer: parse, one transaction {inbox row, effect}, emit, acknowledge.
 *
 *   parse and validate                 bad: dead letter at once
 *   BEGIN
 *     INSERT mq_consumer_log ...       somebody was here before: no effect
 *     effect()                         a business "no" is an outcome, not an error
 *   COMMIT                             error or unknown: again later
 *   emit()                             also for a duplicate; error: again later
 *   acknowledge
 *
 * The key of the inbox row is (group, tag, message key), the business identity: message ids change with
 * every resend. There is no "in progress" state; the row appears with the effect or not at all. */
#include "apps/common/db.h"
#include "apps/common/envelope.h"

#define INBOX_OUTCOME_MAX 64

struct inbox_msg {
    const char *group, *tag, *key, *msg_id;
    int reconsume_times;
    const char *traceparent; /* NULL: none */
    const struct envelope *v;
};
enum inbox_result { INBOX_SUCCESS, INBOX_LATER, INBOX_DEAD };

/* The effect, inside the transaction. Writes the outcome ("done", "empty", ...; starts as "ok"), which is
 * stored in the inbox row. Returns 0 to commit, or
 *   APP_E_LATER    roll back, deliver again later (then dead letter)
 *   APP_E_NOT_YET  roll back so that no inbox row remains, then emit (re-arm a timer), acknowledge
 *   APP_E_INVALID  roll back, dead letter: it can never succeed
 *   other errors   roll back, deliver again later
 * May run several times (db_tx). */
typedef int (*inbox_effect)(struct db_conn *c, const struct inbox_msg *m,
                            char outcome[INBOX_OUTCOME_MAX], void *arg);
/* Sends what follows from the committed state; `outcome` is the stored one, also for a duplicate. Reads
 * anything else it needs from the database itself. Must be repeatable. */
typedef int (*inbox_emit)(const struct inbox_msg *m, const char *outcome, void *arg,
                          struct app_error *e);
/* Instead of effect and emit, for a handler that must call out between two transactions (refund): it
 * gates on the state of its own row, not on the inbox, and calls inbox_record in its last transaction. */
typedef int (*inbox_run)(const struct inbox_msg *m, void *arg, struct app_error *e);

struct inbox_handler { /* one per event a group handles */
    enum event event;
    inbox_effect effect;
    inbox_emit emit; /* NULL: nothing to send */
    inbox_run run;   /* set: effect and emit are not used */
};
#define INBOX_HANDLERS_MAX 4
struct inbox {
    const char *group, *topic;
    struct inbox_handler
        handlers[INBOX_HANDLERS_MAX]; /* ended by event EVENT_none; gives the tag expression */
    struct db *db;
    void *arg;
    struct metrics *metrics; /* NULL: none */
};

/* One delivery, as the message client hands it over; tag and key as they came (NULL allowed). */
struct inbox_delivery {
    const char *tag, *key, *msg_id, *traceparent;
    int reconsume_times;
    const void *body;
    size_t body_len;
};
enum inbox_result inbox_handle(const struct inbox *in, const struct inbox_delivery *d);

/* *fresh: the row is new. For run handlers; outcome as above. */
int inbox_record(struct db_conn *c, const struct inbox_msg *m, const char *outcome,
                 bool *fresh) APP_CHECK;
