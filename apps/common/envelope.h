#pragma once
/* The message body of the shop as a struct, and its JSON. One struct serves both directions, and the
 * table events.def knows topic, tag, key and mandatory members of each event, so that a sender cannot
 * produce what a consumer would park. Messages carry facts for logs and routing; what is undone or paid
 * is always read from the receiver's own tables. */
#include "apps/common/error.h"
#include <jansson.h>
#include <stddef.h>

enum event {
    EVENT_none = 0,
#define EVENT(name, topic, tag, key, must) EVENT_##name,
#include "apps/common/events.def"
#undef EVENT
    EVENT_COUNT
};
enum branch {
    BRANCH_NONE,
    BRANCH_STOCK,
    BRANCH_COUPON,
    BRANCH_BALANCE,
    BRANCH_PAY,
    BRANCH_POINTS,
    BRANCH_LOG,
    BRANCH_COUNT
};
enum outcome { OUTCOME_NONE, OUTCOME_DONE, OUTCOME_EMPTY, OUTCOME_DUPLICATE, OUTCOME_COUNT };

/* Members present in an envelope (struct envelope.has). */
enum {
    ENV_USER = 1 << 0,
    ENV_PAY = 1 << 1,
    ENV_AMOUNT = 1 << 2,
    ENV_ITEMS = 1 << 3,
    ENV_REASON = 1 << 4,
    ENV_BRANCH = 1 << 5,
    ENV_OUTCOME = 1 << 6,
    ENV_COUPON = 1 << 7,
    ENV_MONEY = 1 << 8,
    ENV_REQ = 1 << 9,
    ENV_PROVIDER_TXN = 1 << 10
};

#define ENVELOPE_ITEMS_MAX 5
#define ENVELOPE_KEY_MAX 48
#define ENVELOPE_BODY_MAX 65536 /* bytes; several times what the longest event needs */
#define ENVELOPE_REASON_MAX 64
struct envelope_item {
    int64_t goods_id, qty;
};
struct envelope {
    enum event event;
    unsigned has;      /* ENV_*; a member whose bit is clear is not sent and reads as zero */
    char event_id[81]; /* empty when sending: "<tag>:<key>:<attempt>" */
    char at[32];       /* empty when sending: now */
    int64_t order_id;  /* always */
    int attempt;       /* from 1; 0 when sending means 1 */
    int64_t user_id, pay_id;
    int64_t amount, money_paid; /* cents */
    int64_t coupon_id;          /* 0: none */
    enum branch branch;
    enum outcome outcome;
    char reason[ENVELOPE_REASON_MAX + 1];
    char client_req_id[37]; /* uuid */
    char provider_txn_id[65];
    size_t n_items;
    struct envelope_item items[ENVELOPE_ITEMS_MAX];
};

/* Sending. Refuses (APP_E_INVALID) an envelope without the event's mandatory members. */
/* *text is malloc'd. */
int envelope_encode(const struct envelope *v, char **text, size_t *len,
                    struct app_error *e) APP_CHECK;
/* Receiving. APP_E_INVALID: longer than ENVELOPE_BODY_MAX, not JSON, v other than 1, unknown event, a member missing or wrong. */
int envelope_decode(const void *body, size_t len, struct envelope *out,
                    struct app_error *e) APP_CHECK;

const char *event_topic(enum event ev);
const char *event_tag(enum event ev);
enum event event_of_tag(const char *tag); /* EVENT_none for a stranger or NULL */
void envelope_key(const struct envelope *v, char out[ENVELOPE_KEY_MAX]); /* the message key */
const char *branch_text(enum branch b);
const char *outcome_text(enum outcome o);
enum outcome outcome_of_text(const char *s); /* OUTCOME_NONE for a stranger */

/* Topics and consumer groups of the shop. */
#define TOPIC_ORDER "orderTopic"
#define TOPIC_PAY "payTopic"
#define TOPIC_ACK "ackTopic"
#define GROUP_STOCK_ORDER "stock_orderTopic_cancel_group"
#define GROUP_COUPON_ORDER "coupon_orderTopic_cancel_group"
#define GROUP_USER_ORDER "user_orderTopic_cancel_group"
#define GROUP_PAY_ORDER "pay_orderTopic_group"
#define GROUP_ORDER_TIMEOUT "order_orderTopic_timeout_group"
#define GROUP_ORDER_PAY "order_payTopic_group"
#define GROUP_USER_PAY "user_payTopic_group"
#define GROUP_LOG_PAY "log_payTopic_group"
#define GROUP_PAY_REFUND "pay_payTopic_refund_group"
#define GROUP_ORDER_ACK "order_ackTopic_group"
#define GROUP_PAY_ACK "pay_ackTopic_group"
