/* The barrier's table, one row per test, and the races on two connections. */
#include "tests/support/shop/shop.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "apps/common/barrier.h"
#include "apps/common/codes.h"
#include "apps/common/decision.h"
#include "apps/common/timing.h"
#include "tests/support/wait.h"

static struct shop_db the_db;
static struct db *stk;

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    stk = shop_db_as(&the_db, "shop_stock", "stk");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_close(stk);
    shop_db_drop(&the_db);
    return 0;
}

static int try_body(struct db_conn *c, void *arg)
{
    return barrier_try(c, 100, BRANCH_STOCK, arg);
}

static int cancel_body(struct db_conn *c, void *arg)
{
    return barrier_cancel(c, 100, BRANCH_STOCK, arg);
}

static enum barrier_try do_try(void)
{
    enum barrier_try r = BARRIER_RUN;
    struct app_error e;
    assert_app_ok(db_tx(stk, try_body, &r, &e), &e);
    return r;
}

static enum barrier_cancel do_cancel(void)
{
    enum barrier_cancel r = BARRIER_UNDO;
    struct app_error e;
    assert_app_ok(db_tx(stk, cancel_body, &r, &e), &e);
    return r;
}

static int64_t settled(void)
{
    return shop_number(
        &the_db, "SELECT count(*) FROM stk.tx_barrier WHERE op = 'T' AND settled_at IS NOT NULL");
}

static void the_first_try_runs_and_the_second_is_a_duplicate(void **state)
{
    (void)state;
    assert_int_equal(do_try(), BARRIER_RUN);
    assert_int_equal(do_try(), BARRIER_DUPLICATE);
}

static void a_cancel_undoes_a_committed_try_once(void **state)
{
    (void)state;
    assert_int_equal(do_try(), BARRIER_RUN);
    assert_int_equal(settled(), 0);
    assert_int_equal(do_cancel(), BARRIER_UNDO);
    assert_int_equal(settled(), 1);
    assert_int_equal(do_cancel(), BARRIER_DONE);
    assert_int_equal(do_try(), BARRIER_DUPLICATE);
}

static void a_cancel_without_a_try_is_empty_and_refuses_the_try_that_hangs_behind(void **state)
{
    (void)state;
    assert_int_equal(do_cancel(), BARRIER_EMPTY);
    assert_int_equal(do_try(), BARRIER_REFUSED);
    assert_int_equal(do_cancel(), BARRIER_DONE);
}

static void other_branches_and_keys_are_independent(void **state)
{
    (void)state;
    assert_int_equal(do_cancel(), BARRIER_EMPTY);
    shop_sql(
        &the_db,
        "DELETE FROM stk.tx_barrier WHERE txn_key = '100'; INSERT INTO stk.tx_barrier VALUES ('100', 'coupon', 'T', 'C'), ('101', 'stock', 'T', 'C')");
    assert_int_equal(do_try(), BARRIER_RUN);
}

struct canceller {
    enum barrier_cancel result;
    int rc;
    struct app_error e;
    _Atomic bool done;
};

static void *cancel_thread(void *arg)
{
    struct canceller *k = arg;
    k->rc = db_tx(stk, cancel_body, &k->result, &k->e);
    k->done = true;
    return NULL;
}

static bool somebody_waits(void *arg)
{
    (void)arg;
    return shop_number(
               &the_db,
               "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") >
           0;
}

/* Opens a try that stays uncommitted, starts the cancel, checks that it waits, ends the try with `end`. */
static enum barrier_cancel cancel_meets_open_try(const char *end)
{
    struct db_conn *c;
    struct app_error e;
    enum barrier_try r;
    assert_app_ok(db_acquire(stk, &c, &e), &e);
    assert_app_ok(db_script(c, "BEGIN", 0, NULL), &e);
    assert_app_ok(barrier_try(c, 100, BRANCH_STOCK, &r), &e);
    assert_int_equal(r, BARRIER_RUN);
    struct canceller k = {.rc = -1};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, cancel_thread, &k), 0);
    assert_true(wait_until(somebody_waits, NULL, 5000));
    assert_false(k.done);
    assert_app_ok(db_script(c, end, 0, NULL), &e);
    pthread_join(t, NULL);
    db_release(stk, c);
    assert_app_ok(k.rc, &k.e);
    return k.result;
}

static void a_cancel_waits_for_an_uncommitted_try_and_undoes_it(void **state)
{
    (void)state;
    assert_int_equal(cancel_meets_open_try("COMMIT"), BARRIER_UNDO);
}

static void
a_cancel_waits_for_an_uncommitted_try_and_tombstones_it_when_it_rolled_back(void **state)
{
    (void)state;
    assert_int_equal(cancel_meets_open_try("ROLLBACK"), BARRIER_EMPTY);
    assert_int_equal(do_try(), BARRIER_REFUSED);
}

static int deadline_body(struct db_conn *c, void *arg)
{
    return barrier_check_deadline(c, *(int64_t *)arg);
}

static void a_try_past_its_deadline_is_refused_by_the_database_clock(void **state)
{
    (void)state;
    struct app_error e;
    int64_t future = timing_wall_ms() + 60000, past = timing_wall_ms() - 60000;
    assert_app_ok(db_tx(stk, deadline_body, &future, &e), &e);
    assert_app_kind(db_tx(stk, deadline_body, &past, &e), APP_E_REFUSED, &e);
    assert_int_equal(e.code, CODE_TRY_EXPIRED);
}

/* ---- many keys in one go ---- */

enum { MANY = 4 };
static const int64_t many_keys[MANY] = {98, 99, 100, 101};
struct many {
    enum barrier_try out[MANY];
    bool withdraw;
};

static int many_body(struct db_conn *c, void *arg)
{
    struct many *m = arg;
    const int rc = barrier_try_many(c, many_keys, MANY, BRANCH_STOCK, m->out);
    return rc || !m->withdraw ? rc : barrier_withdraw(c, many_keys, MANY, BRANCH_STOCK);
}

static void assert_many(enum barrier_try of_100, enum barrier_try others)
{
    struct app_error e;
    struct many m = {.withdraw = false};
    assert_app_ok(db_tx(stk, many_body, &m, &e), &e);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(m.out[i], many_keys[i] == 100 ? of_100 : others);
}

static void of_many_tries_each_meets_what_was_before_it(void **state)
{
    (void)state;
    assert_int_equal(do_try(), BARRIER_RUN);
    assert_many(BARRIER_DUPLICATE, BARRIER_RUN);
    assert_many(BARRIER_DUPLICATE, BARRIER_DUPLICATE);
}

static void tries_that_are_withdrawn_may_come_again_but_not_past_a_tombstone(void **state)
{
    (void)state;
    struct app_error e;
    struct many m = {.withdraw = true};
    assert_int_equal(do_cancel(), BARRIER_EMPTY);
    assert_app_ok(db_tx(stk, many_body, &m, &e), &e);
    assert_int_equal(m.out[2], BARRIER_REFUSED);
    assert_many(BARRIER_REFUSED, BARRIER_RUN);
}

/* ---- decision rows (P2) ---- */

static int local_body(struct db_conn *c, void *arg)
{
    return decision_commit(c, "txn-1", &shop_paid, arg);
}

static void the_check_commits_what_the_local_transaction_decided(void **state)
{
    (void)state;
    bool won = false;
    struct app_error e;
    assert_app_ok(db_tx(stk, local_body, &won, &e), &e);
    assert_true(won);
    assert_int_equal(decision_check(stk, "txn-1", &shop_paid), MQ_COMMIT);
    assert_int_equal(decision_check(stk, "txn-1", &shop_paid), MQ_COMMIT);
}

static void a_check_that_comes_first_rolls_back_and_the_late_local_transaction_loses(void **state)
{
    (void)state;
    bool won = true;
    struct app_error e;
    assert_int_equal(decision_check(stk, "txn-1", &shop_paid), MQ_ROLLBACK);
    assert_app_ok(db_tx(stk, local_body, &won, &e), &e);
    assert_false(won);
}

static void a_check_that_cannot_wait_for_an_open_local_transaction_stays_unknown(void **state)
{
    (void)state;
    struct db_conn *c;
    struct app_error e;
    bool won;
    struct db *fast = shop_pool(&the_db, "shop_stock",
                                (struct db_options){.schema = "stk", .lock_ms = 30});
    assert_app_ok(db_acquire(stk, &c, &e), &e);
    assert_app_ok(db_script(c, "BEGIN", 0, NULL), &e);
    assert_app_ok(decision_commit(c, "txn-1", &shop_paid, &won), &e);
    assert_int_equal(decision_check(fast, "txn-1", &shop_paid), MQ_UNKNOWN);
    assert_app_ok(db_script(c, "COMMIT", 0, NULL), &e);
    assert_int_equal(decision_check(fast, "txn-1", &shop_paid), MQ_COMMIT);
    db_release(stk, c);
    db_close(fast);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_first_try_runs_and_the_second_is_a_duplicate),
        T(a_cancel_undoes_a_committed_try_once),
        T(a_cancel_without_a_try_is_empty_and_refuses_the_try_that_hangs_behind),
        T(other_branches_and_keys_are_independent),
        T(a_cancel_waits_for_an_uncommitted_try_and_undoes_it),
        T(a_cancel_waits_for_an_uncommitted_try_and_tombstones_it_when_it_rolled_back),
        T(a_try_past_its_deadline_is_refused_by_the_database_clock),
        T(of_many_tries_each_meets_what_was_before_it),
        T(tries_that_are_withdrawn_may_come_again_but_not_past_a_tombstone),
        T(the_check_commits_what_the_local_transaction_decided),
        T(a_check_that_comes_first_rolls_back_and_the_late_local_transaction_loses),
        T(a_check_that_cannot_wait_for_an_open_local_transaction_stays_unknown),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
