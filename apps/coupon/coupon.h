#pragma once
/* coupon: knows who has which coupon, what it is worth, and for which order it was used. */
#include "apps/common/db.h"
#include "apps/common/failpoint.h"
#include "apps/common/http_server.h"
#include "apps/common/verdict.h"

enum coupon_failpoint {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/coupon/failpoints.def"
#undef FAILPOINT_DEF
    COUPON_FP_COUNT
};
extern struct failpoint coupon_failpoints[COUPON_FP_COUNT];

struct coupon {
    struct db *db;
    struct participant cancel;
    struct inbox cancel_inbox;
    struct verdict_scan verdict;
};
/* coupon_mq.c: fills *s but verdict; the inbox is ready to be registered or called. */
void coupon_init(struct coupon *s, struct db *db, struct mq *mq, struct metrics *metrics);

/* coupon_http.c; their argument is a struct coupon. */
extern const struct http_route coupon_routes[];

/* coupon_repo.c. A coupon is worth min(coupon_price, goods_amount). */
struct coupon_use {
    int64_t order_id, user_id, coupon_id, goods_amount, expires_at_ms; /* goods_amount > 0 */
    int64_t coupon_paid;                                               /* out */
    bool duplicate;                                                    /* out */
};
/* Errors: refused TRY_EXPIRED, COUPON_CLOSED, COUPON_NOT_FOUND, COUPON_INVALID (not this user's, not valid
 * now, order too small), COUPON_USED; and db_tx's. */
int coupon_try(struct db *db, struct coupon_use *u, struct app_error *e) APP_CHECK;
/* What coupon_try would say now, without doing it; order_id and expires_at_ms are not used. */
int coupon_quote(struct db *db, struct coupon_use *u, struct app_error *e) APP_CHECK;
/* Gives back the coupon that the ledger says this order used; inside the transaction of the cancel. */
int coupon_undo(struct db_conn *c, int64_t order_id) APP_CHECK;
