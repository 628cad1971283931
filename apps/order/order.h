#pragma once
/* The order service: validates, prices, runs the ordering saga, answers check-backs, accepts payments,
 * times out and cancels orders, collects cancel acknowledgements. It owns schema `ord` and touches no other.
 *
 *   order_sm.c           what a state means: verdicts, reactions (pure)
 *   order_repo.c         placing and paying: the row's moves, one transaction each
 *   order_cancel_repo.c  cancelling: the row's moves, and what is under way
 *   order_peers.c        the calls to stock, coupon and user
 *   order_saga.c         placing an order, from request to answer
 *   order_cancel.c       cancelling one: by its user, by its timer; the message order_cancel
 *   order_sweep.c        the sweeper: whatever is late and nobody drives any more
 *   order_mq.c           check-back and the consumers of `paid` and `cancel_ack`
 *   order_http.c         requests in, answers out */
#include "apps/common/app.h"
#include "apps/common/delay.h"
#include "apps/common/money.h"

enum order_status { /* trade_order.order_status; 4 (returned) is reserved */
                    ORDER_PENDING = 0,
                    ORDER_CONFIRMED = 1,
                    ORDER_CANCELLED = 2,
                    ORDER_INVALID = 3,
                    ORDER_CANCELLING = 5
};
enum pay_status { PAY_NONE = 0, PAY_PAYING = 1, PAY_PAID = 2 };
enum { /* trade_order.comp_mask: branches that have acknowledged the cancellation */
       COMP_STOCK = 1,
       COMP_COUPON = 2,
       COMP_BALANCE = 4,
       COMP_PAY = 8,
       COMP_ALL = 15
};

enum order_fp {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/order/failpoints.def"
#undef FAILPOINT_DEF
    ORDER_FP_COUNT
};
extern struct failpoint order_fp[ORDER_FP_COUNT];

#define ORDER_ITEMS_MAX ENVELOPE_ITEMS_MAX
struct order_item {
    int64_t goods_id, qty, goods_price;
};
struct order { /* a request that is being placed, or a row */
    int64_t order_id, user_id;
    char client_req_id[37];
    unsigned char req_hash[32];
    size_t n_items;
    struct order_item items[ORDER_ITEMS_MAX];
    int64_t goods_amount, shipping_fee, order_amount; /* cents */
    int64_t coupon_id, coupon_paid, money_paid, pay_amount;
    char address[256], consignee[64];
    /* of a row */
    enum order_status status;
    enum pay_status pay_status;
    int64_t pay_id; /* 0: none */
    int fail_code, comp_mask;
    int64_t saga_deadline_ms; /* Unix time by PostgreSQL's clock, as the participants want it */
    char pay_deadline[40], add_time[40]; /* RFC 3339, PostgreSQL's clock */
};

/* How what is late is driven on. */
struct order_drive {
    int64_t pending_ms, unpaid_ms; /* past its deadline, before the sweeper cancels an order */
    int64_t first_ms, max_ms;      /* before order_cancel is sent again; doubles up to max_ms */
    int64_t times;                 /* so often, then an operator has to look */
    int64_t batch;
};

struct order_app {
    struct db *db;
    struct mq *mq;
    struct ids *ids;
    struct metrics *metrics;
    const char *stock_url, *coupon_url, *user_url;
    int64_t saga_ms, immunity_s, rpc_ms, pay_deadline_ms, pay_margin_ms;
    struct delay_levels delays;
    struct order_drive drive;
    struct inbox paid_inbox, ack_inbox, timeout_inbox;
    struct metric *swept, *stranded; /* metrics of the sweeper */
};

/* --- order_sm.c --- */
/* What a half message of pattern P1 (the armed cancellation) comes to, given its order's row. */
enum saga_verdict {
    SAGA_ROLLBACK, /* confirmed or never existed: nothing to undo */
    SAGA_COMMIT,   /* being cancelled or cancelled: everybody undoes */
    SAGA_OPEN,     /* the request thread is still at it: ask again */
    SAGA_EXPIRE    /* pending past its deadline: cancel it now, then SAGA_COMMIT */
};
enum saga_verdict saga_verdict_of(enum order_status s, bool expired);
enum mq_verdict saga_end_of(enum saga_verdict v); /* OPEN and EXPIRE: MQ_UNKNOWN */

enum paid_reaction { PAID_ACCEPT, PAID_AGAIN, PAID_REFUND, PAID_LATER };
/* `paid` for pay_id meets this row (found false: no row). */
enum paid_reaction paid_reaction_of(bool found, enum order_status s, enum pay_status p,
                                    int64_t row_pay_id, int64_t pay_id);

enum timeout_reaction {
    TIMEOUT_NOTHING, /* paid, closed, or never existed */
    TIMEOUT_EARLY,   /* its deadline is still ahead: arm the timer again */
    TIMEOUT_CANCEL,  /* its deadline has passed: cancel it, then TIMEOUT_AGAIN */
    TIMEOUT_AGAIN    /* being cancelled: send order_cancel, again if need be */
};
/* The timer of an order fires and meets this row; saga_over, pay_over: its deadlines have passed. */
enum timeout_reaction timeout_reaction_of(bool found, enum order_status s, enum pay_status p,
                                          bool saga_over, bool pay_over);
bool order_is_cancellable(enum order_status s, enum pay_status p); /* by its user */
/* What a participant is told that asks what became of an order: "open", "confirmed", "paid", "cancelled",
 * "invalid", "unknown" (found false). Cancelling counts as cancelled: it cannot become anything else. */
const char *verdict_text_of(bool found, enum order_status s, enum pay_status p);

int comp_bit_of(enum branch b); /* 0 for a branch that has none */
enum comp_reaction {
    COMP_ACKED,
    COMP_CLOSES,    /* the last one: the order is cancelled */
    COMP_DUPLICATE, /* this branch has acknowledged before */
    COMP_STRAY      /* nobody has cancelled this order */
};
/* cancel_ack with this bit meets this row; *mask: comp_mask after ACKED and CLOSES. */
enum comp_reaction comp_reaction_of(bool found, enum order_status s, int before, int bit,
                                    int *mask);
const char *comp_reaction_text(enum comp_reaction r);
int64_t shipping_fee_of(int64_t goods_amount);
const char *order_status_text(enum order_status s);

/* --- order_repo.c: each is one transaction unless it takes a connection --- */
/* By (user, idempotency key), tombstones excepted. *found false: none. */
int repo_find_request(struct db *db, int64_t user_id, const char *client_req_id, struct order *out,
                      bool *found, struct app_error *e) APP_CHECK;
int repo_load(struct db *db, int64_t order_id, struct order *out, bool *found,
              struct app_error *e) APP_CHECK;
/* A page of a user's orders, newest first, without pending ones and tombstones. before 0: from the top. */
int repo_list(struct db *db, int64_t user_id, int64_t before, struct order *out, size_t max,
              size_t *n, struct app_error *e) APP_CHECK;
/* none -> PENDING. *inserted false: a tombstone or a twin was faster; nothing was written. Fills the deadlines. */
int repo_insert(struct db *db, struct order *o, int64_t saga_ms, int64_t pay_deadline_ms,
                bool *inserted, struct app_error *e) APP_CHECK;
/* PENDING -> CONFIRMED, or PENDING -> CANCELLING with the reason's code. *now: the status after it, whoever
 * wrote it: the verdict follows from that alone. */
int repo_confirm(struct db *db, int64_t order_id, enum order_status *now,
                 struct app_error *e) APP_CHECK;
int repo_abort(struct db *db, int64_t order_id, int fail_code, const char *reason, int64_t drive_ms,
               enum order_status *now, struct app_error *e) APP_CHECK;
/* The check-back: writes a tombstone when there is no row, cancels a pending row past its deadline.
 * drive_ms: after it, the sweeper looks whether the cancellation got through. */
int repo_check(struct db *db, int64_t order_id, int64_t user_id, const char *client_req_id,
               int64_t drive_ms, enum saga_verdict *out, struct app_error *e) APP_CHECK;
struct pay_intent {
    int64_t user_id, pay_amount;
    char pay_deadline[40];
};
/* 1/0, 1/1 -> PAYING. Refuses with ORDER_NOT_FOUND or PAY_NOT_PAYABLE. */
int repo_pay_intent(struct db *db, int64_t order_id, int64_t margin_ms, struct pay_intent *out,
                    struct app_error *e) APP_CHECK;
int repo_accept_paid(struct db_conn *c, int64_t order_id, int64_t pay_id,
                     enum paid_reaction *out) APP_CHECK;
/* Ors the bit; CANCELLED once all four are there. *state: "acked", "cancelled", "duplicate" or "stray". */
int repo_ack_cancel(struct db_conn *c, int64_t order_id, int bit, const char **state) APP_CHECK;

/* --- order_cancel_repo.c --- */
/* The timer's transaction: decides and, for CANCEL, moves the row. *rest_ms: till the deadline (EARLY). */
int repo_timeout(struct db_conn *c, int64_t order_id, int64_t drive_ms, enum timeout_reaction *out,
                 int64_t *rest_ms) APP_CHECK;
/* CONFIRMED and not paid -> CANCELLING. Refuses with ORDER_STATE. */
int repo_cancel(struct db_conn *c, int64_t order_id, const char *reason,
                int64_t drive_ms) APP_CHECK;
#define SWEEP_BATCH_MAX 200
struct swept {
    int64_t order_id;
    int attempt;   /* of order_cancel, from 2 */
    bool stranded; /* this was the last one: an operator has to look */
};
/* Cancels what is past its deadline, takes what has to be driven on; nobody else gets it meanwhile. */
int repo_sweep(struct db *db, const struct order_drive *d, struct swept *out, size_t max, size_t *n,
               struct app_error *e) APP_CHECK;
/* {"<id>": verdict_text_of} for each of the ids. */
int repo_verdicts(struct db *db, const int64_t *ids, size_t n, json_t **out,
                  struct app_error *e) APP_CHECK;
/* [{order_id, state, age_s, missing, ...}] of orders under way; state -1: any. */
int repo_sagas(struct db *db, int state, int64_t older_s, json_t **out,
               struct app_error *e) APP_CHECK;

/* --- order_peers.c: 0, APP_E_REFUSED with the participant's code, transient or unknown --- */
/* Fills prices, coupon_paid and the amounts from the owners' quotes and compares them with the request. */
int peers_quote(const struct order_app *a, struct order *o, const char *traceparent,
                struct app_error *e) APP_CHECK;
int peers_try_stock(const struct order_app *a, const struct order *o, const char *traceparent,
                    struct app_error *e) APP_CHECK;
int peers_try_coupon(const struct order_app *a, const struct order *o, const char *traceparent,
                     struct app_error *e) APP_CHECK;
int peers_try_wallet(const struct order_app *a, const struct order *o, const char *traceparent,
                     struct app_error *e) APP_CHECK;

/* --- order_saga.c --- */
enum placed {
    PLACED_CONFIRMED,
    PLACED_REFUSED /* e->code says why; fully compensated or on its way */,
    PLACED_OPEN
};
/* Places a validated order; o->order_id is allocated here. An error: nothing was deducted and nothing will be. */
int saga_place(struct order_app *a, struct order *o, const char *traceparent, enum placed *out,
               struct app_error *e) APP_CHECK;

/* --- order_cancel.c --- */
struct envelope order_cancel_message(const struct order *o, const char *reason, int attempt);
/* Sends order_cancel for a row that is being cancelled. */
int order_cancel_send(const struct order_app *a, int64_t order_id, int attempt,
                      const char *traceparent, struct app_error *e) APP_CHECK;
int order_timer_arm(const struct order_app *a, int64_t order_id, int64_t ms,
                    const char *traceparent, struct app_error *e) APP_CHECK;
void order_timeout_inbox(struct order_app *a);
/* By the user. Refuses with ORDER_NOT_FOUND (also for somebody else's) or ORDER_STATE; cancelling an order
 * that is being cancelled is no error. */
int order_cancel(const struct order_app *a, int64_t order_id, int64_t user_id, const char *reason,
                 const char *traceparent, struct app_error *e) APP_CHECK;

/* --- order_sweep.c --- */
int order_sweep_step(void *arg, struct app_error *e); /* app_step; arg a struct order_app */

/* --- order_mq.c --- */
/* Fills the inboxes (a->db and a->mq are set) and sets the check-back. */
void order_mq_init(struct order_app *a);

/* --- order_http.c --- */
extern const struct http_route order_routes[];
