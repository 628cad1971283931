#pragma once
/* The payment service: creates payments, takes the provider's callbacks, tells the shop what was paid.
 * It owns schema `pay`; whether an order may be paid is the order service's decision.
 *
 *   payment_sm.c        what a state means: reactions to a callback, to opening, to acknowledgements (pure)
 *   payment_repo.c      the row's moves, inside their transactions
 *   payment_provider.c  the calls to the order service and to the provider
 *   payment_pay.c       creating a payment; settling one by a transactional message
 *   payment_mq.c        check-back and the consumers of order_cancel, order_paid and paid_ack
 *   payment_http.c      requests in, answers out */
#include "apps/common/app.h"

enum pay_state { /* trade_pay.is_paid; 1 is the seed's, unused */
                 PAY_OPEN = 0,
                 PAY_PAID = 2,
                 PAY_CLOSED = 3,
                 PAY_REFUNDING = 4,
                 PAY_REFUNDED = 5,
                 PAY_REFUND_FAILED = 6
};
enum { /* trade_pay.acks: who has acted on `paid` */
       ACK_ORDER = 1,
       ACK_POINTS = 2,
       ACK_LOG = 4,
       ACK_SETTLED = 7
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

struct payment_app {
    struct db *db;
    struct mq *mq;
    struct ids *ids;
    struct metrics *metrics;
    const char *order_url, *provider_url, *notify_url, *sign_key, *currency;
    int64_t rpc_ms, provider_ms;
    struct inbox order_inbox, ack_inbox;
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

bool pay_is_kept(enum pay_state s); /* holds, or is giving back, the payer's money */
bool pay_is_settled(enum pay_state s, int acks);
int ack_bit_of(enum branch b); /* of a paid_ack; 0 for a branch that sends none */
const char *pay_state_text(enum pay_state s);

/* --- payment_repo.c --- */
int pay_repo_load(struct db *db, int64_t pay_id, struct payment *out, bool *found,
                  struct app_error *e) APP_CHECK;
/* none -> OPEN, or the order's open payment; *out is filled either way. p has pay_id, order_id, user_id,
 * amount and pay_deadline. Refuses with PAY_IS_PAID or PAY_NOT_PAYABLE. */
int pay_repo_open(struct db *db, const struct payment *p, struct payment *out, bool *created,
                  struct app_error *e) APP_CHECK;
/* The local transaction of P2: decision row and OPEN or CLOSED -> PAID. Refuses with PAY_IS_PAID when a
 * twin recorded it; APP_E_LATER: the check-back was faster. provider_txn_id NULL: settled without him. */
int pay_repo_settle(struct db *db, const char *txn_id, const struct envelope *v,
                    const char *provider_txn_id, struct app_error *e) APP_CHECK;
int pay_repo_suspect(struct db *db, int64_t pay_id, struct app_error *e) APP_CHECK;
/* Closes the gate of the order and its open payments, `except` (0: none) excluded. *closed: how many. */
int pay_repo_close_gate(struct db_conn *c, int64_t order_id, int64_t except,
                        int64_t *closed) APP_CHECK;
/* Ors the bit into a payment that is not open. *hit false: there is none. */
int pay_repo_ack(struct db_conn *c, int64_t pay_id, int bit, bool *hit) APP_CHECK;
/* Closed payments of an order of which the provider has not confirmed yet that nothing can be captured. */
#define UNCONFIRMED_MAX 16
int pay_repo_unconfirmed(struct db *db, int64_t order_id, int64_t out[UNCONFIRMED_MAX], size_t *n,
                         struct app_error *e) APP_CHECK;
int pay_repo_close_confirmed(struct db *db, int64_t pay_id, struct app_error *e) APP_CHECK;

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

/* --- payment_mq.c --- */
/* Fills the inboxes and sets the check; the caller registers the inboxes. */
void payment_mq_init(struct payment_app *a);

/* --- payment_http.c --- */
extern const struct http_route payment_routes[];
