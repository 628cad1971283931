#pragma once
/* stock: knows the goods, their prices and how many are left. */
#include "apps/common/db.h"
#include "apps/common/failpoint.h"
#include "apps/common/http_server.h"
#include "apps/common/verdict.h"

enum stock_failpoint {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/stock/failpoints.def"
#undef FAILPOINT_DEF
    STOCK_FP_COUNT
};
extern struct failpoint stock_failpoints[STOCK_FP_COUNT];

struct stock {
    struct db *db;
    struct stock_group *group;
    struct participant cancel;
    struct inbox cancel_inbox;
    struct verdict_scan verdict;
};
/* stock_mq.c: fills *s but group and verdict; the inbox is ready to be registered or called. */
void stock_init(struct stock *s, struct db *db, struct mq *mq, struct metrics *metrics);

/* stock_http.c; their argument is a struct stock. */
extern const struct http_route stock_routes[];

/* stock_repo.c */
#define STOCK_LINES_MAX 5
struct stock_line {
    int64_t goods_id, qty;
};
struct stock_try {
    int64_t order_id, expires_at_ms;
    size_t n_lines;
    struct stock_line lines[STOCK_LINES_MAX]; /* ascending by goods_id, no goods twice */
    bool duplicate;                           /* out */
};
/* Errors: refused TRY_EXPIRED, STOCK_CLOSED, STOCK_SHORT, GOODS_NOT_FOUND, STOCK_BUSY; and db_tx's. */
int stock_try(struct db *db, struct stock_try *t, struct app_error *e) APP_CHECK;
/* stock_group.c: the same, sharing a transaction with other single-line tries for the same goods. */
#define STOCK_GROUP_MAX 64
/* size: tries in one transaction, 1: nothing is shared; batches: of them at a time, for one item. */
int stock_group_new(struct db *db, int size, int batches, struct metrics *metrics,
                    struct stock_group **out, struct app_error *e) APP_CHECK;
void stock_group_free(struct stock_group *g); /* every caller has returned; NULL is fine */
int stock_group_try(struct stock_group *g, struct stock_try *t, struct app_error *e) APP_CHECK;
/* Puts back what the ledger says this order took; inside the transaction of the cancel. */
int stock_undo(struct db_conn *c, int64_t order_id) APP_CHECK;

struct stock_goods {
    int64_t goods_id, price, available;
    char name[128];
};
/* Refused GOODS_NOT_FOUND when one of them is unknown. out[i] belongs to ids[i]. */
int stock_quote(struct db *db, const int64_t *ids, size_t n, struct stock_goods *out,
                struct app_error *e) APP_CHECK;
