#pragma once
/* The whole shop in one process: every service with its own role and schema on a real PostgreSQL, HTTP
 * between them, the bus instead of the broker, the simulated provider. Jobs run when the test says so. */
#include "tests/support/shop/bus.h"

struct world {
    struct shop_db db;
    struct bus *bus;
    struct http_server *order, *stock, *coupon, *user, *payment, *thirdpay;
};
/* Goods 10 (60.00, 5 pieces), user 1 with 50.00, coupon 5 over 3.00. */
void world_start(struct world *w);
void world_stop(struct world *w);

/* One piece of goods 10, with `wallet` cents and maybe the coupon; must be confirmed. Its id. */
int64_t world_place(struct world *w, int64_t wallet, bool with_coupon);
/* Creates a payment; its id, 0 when it is refused (*code says why; may be NULL). */
int64_t world_open_payment(struct world *w, int64_t order_id, int *code);
void world_pay(struct world *w, int64_t pay_id);     /* the payer pays; the callback waits */
void world_callbacks(struct world *w);               /* callbacks that are due are posted */
int world_cancel(struct world *w, int64_t order_id); /* by its user; the HTTP status */
void world_switch(struct world *w, const char *name, int64_t value); /* of the provider */

/* Replays a dead letter of a service (its schema); the HTTP status must be `status`. */
void world_replay(struct world *w, const char *schema, int64_t letter, int status);

/* Deadlines of the order pass, or looks that are due somewhere come. */
void world_expire(struct world *w, int64_t order_id);
void world_make_due(struct world *w);
void world_sweep(struct world *w);     /* order */
void world_reconcile(struct world *w); /* payment */
void world_verdicts(struct world *w);  /* stock, coupon, user; tries count as old */

int64_t world_number(struct world *w, const char *fmt, ...) APP_PRINTF(2, 3);
void world_order_is(struct world *w, int64_t order_id, int status, int pay_status);
void world_payment_is(struct world *w, int64_t pay_id, int state);
/* Nothing is taken from anybody for good: stock, coupon, wallet and points are as at the beginning. */
void world_is_clean(struct world *w);
/* Everything rests and every invariant holds. */
void world_holds(struct world *w);

/* Between the parts, each of which knows one service's header. */
struct world_part {
    const struct http_route *routes;
    void *arg;
};
struct world_part world_order_start(struct world *w, struct mq *mq, struct db *db,
                                    const char *stock, const char *coupon, const char *user);
void world_order_sweep(void);
void world_order_stop(void);
struct world_part world_payment_start(struct world *w, struct mq *mq, struct db *db,
                                      const char *order, const char *provider);
void world_payment_notify(const char *url); /* known once it listens */
void world_payment_reconcile(void);
void world_payment_stop(void);
