/* The barrier: two inserts that decide who came first.
 *
 * Runs inside the caller's transaction, on the caller's thread. Cases:
 *
 *   call    rows before             insert T      insert C      answer
 *   try     none                    (T,T) new     -             RUN
 *   try     (T,T)                   conflict      -             DUPLICATE
 *   try     (T,C)                   conflict      -             REFUSED   hanging try
 *   cancel  none                    (T,C) new     (C,C) new     EMPTY     tombstone stays
 *   cancel  (T,T)                   conflict      (C,C) new     UNDO
 *   cancel  (T,*) and (C,C)         conflict      conflict      DONE
 *
 * An insert that meets an uncommitted row of the same key waits until that transaction ends, at most
 * lock_timeout; the caller's transaction is then repeated by db_tx. This needs READ COMMITTED: the SELECT
 * after a lost insert must see the winner's row.
 *
 * The cancel also stamps settled_at on the T row: its verdict is final, the scan for tries without a
 * verdict skips it.
 */
#include "apps/common/barrier.h"

#include "apps/common/codes.h"
#include "apps/common/ids.h"
#include "apps/common/naive.h"

#include <stdio.h>

static const struct db_stmt INSERT_ROW = {
    "kit_barrier_insert",
    "INSERT INTO tx_barrier(txn_key, branch, op, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"};
static const struct db_stmt READ_REASON = {
    "kit_barrier_reason",
    "SELECT reason FROM tx_barrier WHERE txn_key = $1 AND branch = $2 AND op = 'T'"};
static const struct db_stmt SETTLE = {
    "kit_barrier_settle",
    "UPDATE tx_barrier SET settled_at = now() WHERE txn_key = $1 AND branch = $2 AND op = 'T' AND settled_at IS NULL"};
static const struct db_stmt IS_LATE = {"kit_barrier_late",
                                       "SELECT now() > to_timestamp($1::bigint / 1000.0) AS late"};

static int insert_row(struct db_conn *c, const char *key, enum branch branch, const char *op,
                      const char *reason, bool *inserted)
{
    int64_t n;
    const int rc = db_exec(c, &INSERT_ROW, &n, db_text(key), db_text(branch_text(branch)),
                           db_text(op), db_text(reason));
    *inserted = rc == APP_OK && n == 1;
    return rc;
}

enum barrier_try barrier_try_of(bool inserted, char reason)
{
    return inserted ? BARRIER_RUN : reason == 'T' ? BARRIER_DUPLICATE : BARRIER_REFUSED;
}

int barrier_try(struct db_conn *c, int64_t key, enum branch branch, enum barrier_try *out)
{
    char text[ID_TEXT_MAX];
    bool inserted;
    int rc = insert_row(c, id_text(key, text), branch, "T", "T", &inserted);
    if (rc)
        return rc;
    if (inserted) {
        *out = BARRIER_RUN;
        return APP_OK;
    }
    struct db_rows rows;
    rc = db_query(c, &READ_REASON, &rows, db_text(text), db_text(branch_text(branch)));
    if (rc)
        return rc;
    *out = barrier_try_of(false, db_get_text(&rows, 0, "reason")[0]);
    if (*out == BARRIER_REFUSED && NAIVE(D2_NO_TOMBSTONE))
        *out = BARRIER_RUN;
    return db_rows_end(&rows);
}

/* ---- many at once ---- */

static const struct db_stmt INSERT_MANY = {
    "kit_barrier_insert_many",
    "INSERT INTO tx_barrier(txn_key, branch, op, reason) SELECT k, $2, 'T', 'T' FROM unnest($1::text[]) WITH ORDINALITY"
    " AS u(k, i) ORDER BY i ON CONFLICT DO NOTHING RETURNING txn_key"};
static const struct db_stmt READ_MANY = {
    "kit_barrier_read_many",
    "SELECT txn_key, reason FROM tx_barrier WHERE txn_key = ANY($1::text[]) AND branch = $2 AND op = 'T'"};
static const struct db_stmt WITHDRAW = {
    "kit_barrier_withdraw",
    "DELETE FROM tx_barrier WHERE txn_key = ANY($1::text[]) AND branch = $2 AND op = 'T' AND reason = 'T'"};

#define KEYS_TEXT_MAX (BARRIER_MANY_MAX * ID_TEXT_MAX)

static const char *keys_text(const int64_t *keys, size_t n, char out[KEYS_TEXT_MAX])
{
    APP_ASSERT(n <= BARRIER_MANY_MAX);
    size_t at = (size_t)snprintf(out, KEYS_TEXT_MAX, "{");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, KEYS_TEXT_MAX - at, "%s%lld", i ? "," : "",
                               (long long)keys[i]);
    (void)snprintf(out + at, KEYS_TEXT_MAX - at, "}");
    return out;
}

/* The place of a row's txn_key among the keys; n when it is not one of them. */
static size_t place_of(struct db_rows *rows, int row, const int64_t *keys, size_t n)
{
    int64_t key = 0;
    size_t i = n;
    if (id_parse(db_get_text(rows, row, "txn_key"), &key))
        for (i = 0; i < n && keys[i] != key; i++)
            ;
    return i;
}

int barrier_try_many(struct db_conn *c, const int64_t *keys, size_t n, enum branch branch,
                     enum barrier_try *out)
{
    char text[KEYS_TEXT_MAX];
    struct db_rows rows;
    bool inserted[BARRIER_MANY_MAX] = {false};
    int rc = db_query(c, &INSERT_MANY, &rows, db_text(keys_text(keys, n, text)),
                      db_text(branch_text(branch)));
    if (rc)
        return rc;
    for (int i = 0; i < db_count(&rows); i++) {
        const size_t at = place_of(&rows, i, keys, n);
        APP_ASSERT(at < n);
        inserted[at] = true;
    }
    if ((rc = db_rows_end(&rows)) != APP_OK)
        return rc;
    rc = db_query(c, &READ_MANY, &rows, db_text(text), db_text(branch_text(branch)));
    if (rc)
        return rc;
    for (int i = 0; i < db_count(&rows); i++) {
        const size_t at = place_of(&rows, i, keys, n);
        APP_ASSERT(at < n);
        out[at] = barrier_try_of(inserted[at], db_get_text(&rows, i, "reason")[0]);
    }
    return db_rows_end(&rows);
}

int barrier_withdraw(struct db_conn *c, const int64_t *keys, size_t n, enum branch branch)
{
    char text[KEYS_TEXT_MAX];
    return db_exec(c, &WITHDRAW, NULL, db_text(keys_text(keys, n, text)),
                   db_text(branch_text(branch)));
}

/* ---- cancel ---- */

enum barrier_cancel barrier_cancel_of(bool tombstone, bool first)
{
    return !first ? BARRIER_DONE : tombstone ? BARRIER_EMPTY : BARRIER_UNDO;
}

int barrier_cancel(struct db_conn *c, int64_t key, enum branch branch, enum barrier_cancel *out)
{
    char text[ID_TEXT_MAX];
    bool tombstone, first;
    int rc = insert_row(c, id_text(key, text), branch, "T", "C", &tombstone);
    if (rc == APP_OK)
        rc = insert_row(c, text, branch, "C", "C", &first);
    if (rc)
        return rc;
    *out = barrier_cancel_of(tombstone, first);
    return first ? db_exec(c, &SETTLE, NULL, db_text(text), db_text(branch_text(branch))) : APP_OK;
}

enum outcome barrier_outcome(enum barrier_cancel b)
{
    return b == BARRIER_UNDO    ? OUTCOME_DONE
           : b == BARRIER_EMPTY ? OUTCOME_EMPTY
                                : OUTCOME_DUPLICATE;
}

int barrier_check_deadline(struct db_conn *c, int64_t expires_at_ms)
{
    struct db_rows rows;
    int rc = db_query(c, &IS_LATE, &rows, db_i64(expires_at_ms));
    if (rc)
        return rc;
    const bool late = db_get_bool(&rows, 0, "late");
    rc = db_rows_end(&rows);
    return rc == APP_OK && late ? db_refuse(c, CODE_TRY_EXPIRED, "expires_at has passed") : rc;
}
