#pragma once
/* The payment service: creates payments, takes the provider's callbacks, tells the shop what was paid, and
 * gives money back that no order takes. It owns schema `pay`; whether an order may be paid is the order
 * service's decision.
 *
 *   payment_sm.c           what a state means: reactions to a callback, to opening, to a refund (pure)
 *   payment_repo.c         opening, settling, closing: the row's moves, inside their transactions
 *   payment_drive_repo.c   refunding, and what is due: the same
 *   payment_provider.c     the calls to the order service and to the provider
 *   payment_pay.c          creating a payment; settling one by a transactional message
 *   payment_refund.c       giving the money back
 *   payment_reconcile.c    the reconciler: whatever is late, asked for and driven on
 *   payment_mq.c           check-back and the consumers
 *   payment_http.c         requests in, answers out */
#include "apps/common/app.h"

enum pay_state { /* trade_pay.is_paid; 1 is the seed's, unused */
                 PAY_OPEN = 0,
                 PAY_PAID = 2,
                 PAY_CLOSED = 3,
                 PAY_REFUNDING = 4,
                 PAY_REFUNDED = 5,
                 PAY_REFUND_FAILED = 6
};
enum { /* trade_pay.acks: who has acted on `paid`, and on `refunded` */
       ACK_ORDER = 1,
       ACK_POINTS = 2,
       ACK_LOG = 4,
       ACK_SETTLED = 7,
       ACK_REFUND_POINTS = 8,
       ACK_REFUND_LOG = 16,
       ACK_REFUND_SETTLED = 24
};

enum payment_fp {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/payment/failpoints.def"
#undef FAILPOINT_DEF
    PAYMENT_FP_COUNT
};
extern struct failpoint payment_fp[PAYMENT_FP_COUNT];

#define PROVIDER_TXN_MAX 65
#define PAY_DEADLINE_MAX 40
struct payment {
    int64_t pay_id, order_id, user_id;
    int64_t amount; /* cents */
    enum pay_state state;
    int acks;
    bool suspect;
    char pay_deadline[PAY_DEADLINE_MAX]; /* RFC 3339, PostgreSQL's clock */
};

/* When somebody looks at a payment again. */
struct pay_drive {
    int64_t query_ms;         /* open: the provider is asked after this, then at the deadline */
    int64_t confirm_ms;       /* closed: until the provider confirms, so often */
    int64_t confirm_times;    /* so many times, then an operator has to look */
    int64_t first_ms, max_ms; /* paid, refunding, refunded: not acknowledged; doubling */
    int64_t batch;
};

struct payment_app {
    struct db *db;
    struct mq *mq;
    struct ids *ids;
    struct metrics *metrics;
    const char *order_url, *provider_url, *notify_url, *sign_key, *currency;
    int64_t rpc_ms, provider_ms;
    struct pay_drive drive;
    struct inbox order_inbox, ack_inbox, refund_inbox;
};

/* --- payment_sm.c --- */
enum callback_reaction {
    CALLBACK_SETTLE,   /* the money is real: record it (also for a closed payment) */
    CALLBACK_KNOWN,    /* recorded before: tell the provider SUCCESS */
    CALLBACK_MISMATCH, /* amount or currency are not the payment's: mark it, refuse */
    CALLBACK_STRANGER  /* no such payment */
};
enum callback_reaction callback_reaction_of(bool found, enum pay_state s, bool same_money);

enum open_reaction { OPEN_NEW, OPEN_EXISTING, OPEN_PAID, OPEN_CLOSED };
/* Opening a payment under the order's gate: closed by a cancellation or another payment; kept: a sibling
 * holds money of this order; open: a sibling is open. */
enum open_reaction open_reaction_of(bool gate_closed, bool kept, bool open);

enum refund_reaction {
    REFUND_GO,    /* ask the provider; PAID becomes REFUNDING first */
    REFUND_AGAIN, /* given back before: tell the others again */
    REFUND_NEVER, /* the provider has refused for good */
    REFUND_LATER  /* nothing was paid as far as the row knows */
};
enum refund_reaction refund_reaction_of(bool found, enum pay_state s);

bool pay_is_kept(enum pay_state s); /* holds, or is giving back, the payer's money */
bool pay_is_settled(enum pay_state s, int acks);
int ack_bit_of(enum event ev, enum branch b); /* paid_ack, refund_ack; 0: that branch sends none */
const char *pay_state_text(enum pay_state s);

/* --- payment_repo.c --- */
int pay_repo_load(struct db *db, int64_t pay_id, struct payment *out, bool *found,
                  struct app_error *e) APP_CHECK;
/* none -> OPEN, or the order's open payment; *out is filled either way. p has pay_id, order_id, user_id,
 * amount and pay_deadline. Refuses with PAY_IS_PAID or PAY_NOT_PAYABLE. */
int pay_repo_open(struct db *db, const struct payment *p, int64_t query_ms, struct payment *out,
                  bool *created, struct app_error *e) APP_CHECK;
/* OPEN or CLOSED -> PAID, inside the local transaction. Refuses with PAY_IS_PAID when a twin recorded it.
 * provider_txn_id NULL: settled without the provider. */
int pay_repo_settle(struct db_conn *c, int64_t pay_id, const char *provider_txn_id,
                    int64_t drive_ms) APP_CHECK;
int pay_repo_suspect(struct db *db, int64_t pay_id, struct app_error *e) APP_CHECK;
/* Closes the gate of the order and its open payments, `except` (0: none) excluded. *closed: how many. */
int pay_repo_close_gate(struct db_conn *c, int64_t order_id, int64_t except, int64_t confirm_ms,
                        int64_t *closed) APP_CHECK;
/* Ors the bit into a payment that is not open. *hit false: there is none. */
int pay_repo_ack(struct db_conn *c, int64_t pay_id, int bit, bool *hit) APP_CHECK;
/* Closed payments of an order of which the provider has not confirmed yet that nothing can be captured. */
#define UNCONFIRMED_MAX 16
int pay_repo_unconfirmed(struct db *db, int64_t order_id, int64_t out[UNCONFIRMED_MAX], size_t *n,
                         struct app_error *e) APP_CHECK;
/* OPEN or CLOSED: the provider will capture nothing any more. */
int pay_repo_close_confirmed(struct db *db, int64_t pay_id, struct app_error *e) APP_CHECK;

/* --- payment_drive_repo.c --- */
/* PAID -> REFUNDING if that is what the row allows. */
int pay_repo_refund_begin(struct db *db, int64_t pay_id, int64_t drive_ms, struct payment *out,
                          enum refund_reaction *reaction, struct app_error *e) APP_CHECK;
/* REFUNDING -> REFUNDED or REFUND_FAILED, with the inbox row of m unless that is NULL. */
int pay_repo_refund_end(struct db *db, int64_t pay_id, bool refunded, int64_t drive_ms,
                        const struct inbox_msg *m, struct app_error *e) APP_CHECK;
#define RECONCILE_BATCH_MAX 100
struct pay_due {
    struct payment payment;
    int attempt;   /* from 2: the first was whoever moved the row */
    bool overdue;  /* its deadline has passed */
    bool given_up; /* this was the last look */
};
/* Takes payments that are due; nobody else gets them meanwhile. */
int pay_repo_due(struct db *db, const struct pay_drive *d, struct pay_due *out, size_t max,
                 size_t *n, struct app_error *e) APP_CHECK;

/* --- payment_provider.c: 0, APP_E_REFUSED, transient or unknown --- */
/* Fills user_id, amount and pay_deadline of p from the order, which promises to stay payable till then.
 * Refuses with ORDER_NOT_FOUND or PAY_NOT_PAYABLE. */
int order_pay_intent(const struct payment_app *a, struct payment *p, const char *traceparent,
                     struct app_error *e) APP_CHECK;
/* Repeatable: out_trade_no is the pay id. *pay_url: where the payer goes; free(). */
int provider_charge(const struct payment_app *a, const struct payment *p, char **pay_url,
                    struct app_error *e) APP_CHECK;
/* 0: nothing can be captured any more. Refuses with PAY_IS_PAID when it was captured already. */
int provider_close(const struct payment_app *a, int64_t pay_id, struct app_error *e) APP_CHECK;
enum charge_state {
    CHARGE_UNKNOWN /* never heard of it */,
    CHARGE_OPEN,
    CHARGE_CAPTURED,
    CHARGE_CLOSED
};
struct charge_info {
    enum charge_state state;
    int64_t amount;
    char currency[4], provider_txn_id[PROVIDER_TXN_MAX];
};
int provider_query(const struct payment_app *a, int64_t pay_id, struct charge_info *out,
                   struct app_error *e) APP_CHECK;
/* Gives the whole amount back; repeatable, the pay id names the refund. Refuses with PAY_REFUND for good. */
int provider_refund(const struct payment_app *a, const struct payment *p,
                    struct app_error *e) APP_CHECK;

/* --- payment_pay.c --- */
struct created {
    struct payment payment;
    bool is_new;
    char *pay_url; /* NULL: nothing to pay at the provider; free() */
};
int pay_create(struct payment_app *a, int64_t order_id, const char *traceparent,
               struct created *out, struct app_error *e) APP_CHECK;

struct callback { /* signature verified by the caller */
    int64_t pay_id, amount;
    const char *currency, *provider_txn_id;
};
/* 0: recorded, now or before: the provider hears SUCCESS. Refuses with PAY_NOT_FOUND or PAY_AMOUNT;
 * anything else: not recorded as far as known, the provider shall repeat. */
int pay_callback(struct payment_app *a, const struct callback *cb, const char *traceparent,
                 struct app_error *e) APP_CHECK;
/* Tells the provider about the closed payments of an order; best effort, failures are logged. */
void pay_close_at_provider(const struct payment_app *a, int64_t order_id);
/* `paid` of a payment; provider_txn_id NULL: none. */
struct envelope paid_message(const struct payment *p, const char *provider_txn_id, int attempt);
/* Settles a payment over nothing. */
int pay_settle_free(struct payment_app *a, const struct payment *p, const char *traceparent,
                    struct app_error *e) APP_CHECK;

/* --- payment_refund.c --- */
/* One step after the other until the money is back and `refunded` is sent; may be repeated at any point.
 * m: the message that asked for it, NULL for the reconciler. */
int pay_refund(struct payment_app *a, int64_t pay_id, const struct inbox_msg *m,
               struct app_error *e) APP_CHECK;
int pay_refunded_send(const struct payment_app *a, const struct payment *p, int attempt,
                      const char *traceparent, struct app_error *e) APP_CHECK;

/* --- payment_reconcile.c --- */
int pay_reconcile_step(void *arg, struct app_error *e); /* app_step; arg a struct payment_app */

/* --- payment_mq.c --- */
/* Fills the inboxes and sets the check; the caller registers the inboxes. */
void payment_mq_init(struct payment_app *a);

/* --- payment_http.c --- */
extern const struct http_route payment_routes[];
