#pragma once
/* user: wallets and points, each account with its append-only ledger. */
#include "apps/common/db.h"
#include "apps/common/failpoint.h"
#include "apps/common/http_server.h"
#include "apps/common/verdict.h"

enum user_failpoint {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/user/failpoints.def"
#undef FAILPOINT_DEF
    USER_FP_COUNT
};
extern struct failpoint user_failpoints[USER_FP_COUNT];

struct user {
    struct db *db;
    struct mq *mq;
    struct participant cancel;
    struct inbox cancel_inbox, points_inbox;
    struct verdict_scan verdict;
};
/* user_mq.c: fills *s but verdict; the inboxes are ready to be registered or called. */
void user_init(struct user *s, struct db *db, struct mq *mq, struct metrics *metrics);

/* user_http.c; their argument is a struct user. */
extern const struct http_route user_routes[];

/* wallet_repo.c */
struct wallet_try {
    int64_t order_id, user_id, amount, expires_at_ms; /* amount > 0, cents */
    int64_t balance_after;                            /* out */
    bool duplicate;                                   /* out */
};
/* Errors: refused TRY_EXPIRED, BALANCE_CLOSED, BALANCE_SHORT, USER_NOT_FOUND; and db_tx's. */
int wallet_try(struct db *db, struct wallet_try *t, struct app_error *e) APP_CHECK;
/* Pays back what the ledger says this order took; inside the transaction of the cancel. */
int wallet_undo(struct db_conn *c, int64_t order_id) APP_CHECK;
struct user_account {
    int64_t user_id, money, score;
};
/* Refused USER_NOT_FOUND. */
int user_quote(struct db *db, int64_t user_id, struct user_account *out,
               struct app_error *e) APP_CHECK;

/* points_repo.c; inside the consumer's transaction. *out: done, empty (nothing to do), duplicate. */
/* floor((amount + the wallet's part of the order) / 100) points. */
int points_earn(struct db_conn *c, int64_t pay_id, int64_t order_id, int64_t user_id,
                int64_t amount, enum outcome *out) APP_CHECK;
/* Takes back what the ledger says this payment earned, or leaves a tombstone. */
int points_reverse(struct db_conn *c, int64_t pay_id, enum outcome *out) APP_CHECK;
