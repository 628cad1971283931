#pragma once
/* The barrier between a try and its cancel, whatever order they arrive in (table tx_barrier).
 *
 * Both are called inside the transaction that holds the effect, before the effect. The insert waits for
 * an uncommitted row of the other side (bounded by lock_timeout), so of two rivals one always sees the
 * other's final row. */
#include "apps/common/db.h"
#include "apps/common/envelope.h"

enum barrier_try {
    BARRIER_RUN,       /* first time: do it */
    BARRIER_DUPLICATE, /* done before: answer the stored success */
    BARRIER_REFUSED    /* cancelled before it came: never do it */
};
/* key: order id or payment id. A body that refuses afterwards rolls the row back with everything else,
 * so that a repeated try may still succeed. */
int barrier_try(struct db_conn *c, int64_t key, enum branch branch,
                enum barrier_try *out) APP_CHECK;
/* What it comes to, given that the T row was inserted, or else its reason (pure). */
enum barrier_try barrier_try_of(bool inserted, char reason);

/* The same for many keys of one branch in one go: ascending, none twice, at most BARRIER_MANY_MAX; out[i]
 * belongs to keys[i]. */
#define BARRIER_MANY_MAX 64
int barrier_try_many(struct db_conn *c, const int64_t *keys, size_t n, enum branch branch,
                     enum barrier_try *out) APP_CHECK;
/* Takes back rows that this transaction's tries have inserted, for those that refuse while others of the
 * transaction succeed. */
int barrier_withdraw(struct db_conn *c, const int64_t *keys, size_t n,
                     enum branch branch) APP_CHECK;

enum barrier_cancel {
    BARRIER_UNDO,  /* the try is committed: undo what the own ledger says */
    BARRIER_EMPTY, /* nothing was done; from now on the try is refused */
    BARRIER_DONE   /* cancelled before */
};
int barrier_cancel(struct db_conn *c, int64_t key, enum branch branch,
                   enum barrier_cancel *out) APP_CHECK;
/* What it comes to: tombstone, the T row was inserted by the cancel; first, the C row was (pure). */
enum barrier_cancel barrier_cancel_of(bool tombstone, bool first);
/* What a cancel_ack reports: UNDO done, EMPTY empty, DONE duplicate. */
enum outcome barrier_outcome(enum barrier_cancel b);

/* Refuses (CODE_TRY_EXPIRED) a try that comes after its deadline, by the database's clock. For callers
 * that were frozen on the way. */
int barrier_check_deadline(struct db_conn *c, int64_t expires_at_ms) APP_CHECK;
