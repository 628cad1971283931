/* The pool and its transactions against a real server. */
#include "tests/support/shop/shop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/common/failpoint.h"
#include "apps/common/timing.h"
#include "tests/support/wait.h"

static struct shop_db the_db;

static int setup(void **state)
{
    (void)state;
    shop_db_create(&the_db);
    shop_sql(
        &the_db,
        "CREATE TABLE t(id bigint PRIMARY KEY, n int NOT NULL, s text, b bytea, f boolean); INSERT INTO t VALUES (1, 10, 'one', '\\x0102', true), (2, 20, NULL, NULL, false)");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    shop_db_drop(&the_db);
    return 0;
}

static const struct db_stmt GET = {"t_get", "SELECT id, n, s, b, f FROM t WHERE id = $1"};
static const struct db_stmt ADD = {"t_add", "UPDATE t SET n = n + $2 WHERE id = $1"};
static const struct db_stmt PUT = {"t_put",
                                   "INSERT INTO t(id, n, s, b, f) VALUES ($1, $2, $3, $4, $5)"};
static const struct db_stmt NONSENSE = {"t_nonsense", "SELECT nothing FROM nowhere"};

static int put_body(struct db_conn *c, void *arg)
{
    (void)arg;
    return db_exec(c, &PUT, NULL, db_i64(7), db_i64(-3), db_text("it's \"quoted\""),
                   db_bytes("\0\1\377", 3), db_bool(true));
}

static int get_seven(struct db_conn *c, void *arg)
{
    (void)arg;
    struct db_rows rows;
    const int rc = db_query(c, &GET, &rows, db_i64(7));
    if (rc)
        return rc;
    unsigned char raw[3];
    db_get_bytes(&rows, 0, "b", raw, 3);
    assert_int_equal(db_count(&rows), 1);
    assert_int_equal(db_get_i64(&rows, 0, "n"), -3);
    assert_string_equal(db_get_text(&rows, 0, "s"), "it's \"quoted\"");
    assert_memory_equal(raw, "\0\1\377", 3);
    assert_true(db_get_bool(&rows, 0, "f"));
    return db_rows_end(&rows);
}

static void values_of_every_kind_come_back_as_they_went(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_ok(db_tx(the_db.owner, put_body, NULL, &e), &e);
    assert_app_ok(db_read(the_db.owner, get_seven, NULL, &e), &e);
}

static int wrong_getter(struct db_conn *c, void *arg)
{
    struct db_rows rows;
    const int rc = db_query(c, &GET, &rows, db_i64(2));
    if (rc)
        return rc;
    const int which = *(int *)arg;
    if (which == 0)
        (void)db_get_i64(&rows, 0, "s");
    else if (which == 1)
        (void)db_get_text(&rows, 0, "s");
    else if (which == 2)
        (void)db_get_i64(&rows, 0, "missing");
    else
        (void)db_get_i64(&rows, 5, "n");
    return db_rows_end(&rows);
}

static void a_wrong_type_a_null_or_a_missing_column_names_statement_and_column(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "t_get: column s: not an integer", "t_get: column s: unexpected NULL",
        "t_get: column missing: no such column", "t_get: column n: no such row"};
    for (int i = 0; i < 4; i++) {
        struct app_error e;
        assert_app_kind(db_read(the_db.owner, wrong_getter, &i, &e), APP_E_DB, &e);
        assert_non_null(strstr(e.text, texts[i]));
    }
}

static int nonsense_body(struct db_conn *c, void *arg)
{
    (void)arg;
    return db_exec(c, &NONSENSE, NULL);
}

static void
a_statement_that_does_not_fit_the_schema_is_a_bug_and_the_connection_survives(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_kind(db_tx(the_db.owner, nonsense_body, NULL, &e), APP_E_DB, &e);
    assert_string_equal(e.sqlstate, "42P01");
    assert_app_ok(db_ping(the_db.owner, &e), &e);
}

static int refuse_body(struct db_conn *c, void *arg)
{
    (void)arg;
    const int rc = db_exec(c, &ADD, NULL, db_i64(1), db_i64(5));
    return rc ? rc : db_refuse(c, 20003, "goods %d", 9);
}

static void a_refusal_rolls_back_and_carries_its_code(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_kind(db_tx(the_db.owner, refuse_body, NULL, &e), APP_E_REFUSED, &e);
    assert_int_equal(e.code, 20003);
    assert_string_equal(e.text, "goods 9");
    assert_int_equal(shop_number(&the_db, "SELECT n FROM t WHERE id = 1"), 10);
}

static int ignore_failure(struct db_conn *c, void *arg)
{
    (void)arg;
    const int rc = db_exec(c, &NONSENSE, NULL);
    (void)rc;
    return APP_OK;
}

static void a_body_that_ignores_a_failed_statement_does_not_count_as_committed(void **state)
{
    (void)state;
    struct app_error e;
    assert_app_kind(db_tx(the_db.owner, ignore_failure, NULL, &e), APP_E_DB, &e);
}

static int add_body(struct db_conn *c, void *arg)
{
    ++*(int *)arg;
    return db_exec(c, &ADD, NULL, db_i64(1), db_i64(1));
}

static void a_commit_whose_answer_is_lost_is_unknown_and_not_repeated(void **state)
{
    (void)state;
    struct app_error e;
    int runs = 0;
    assert_app_ok(app_failpoint_arm("db.commit.cut=error*1", &e), &e);
    assert_app_kind(db_tx(the_db.owner, add_body, &runs, &e), APP_E_UNKNOWN, &e);
    assert_int_equal(runs, 1);
    assert_int_equal(shop_number(&the_db, "SELECT n FROM t WHERE id = 1"), 11);
}

static void a_connection_lost_before_commit_runs_the_body_again(void **state)
{
    (void)state;
    struct app_error e;
    int runs = 0;
    assert_app_ok(app_failpoint_arm("db.commit.before=error*1", &e), &e);
    assert_app_ok(db_tx(the_db.owner, add_body, &runs, &e), &e);
    assert_int_equal(runs, 2);
    assert_int_equal(shop_number(&the_db, "SELECT n FROM t WHERE id = 1"), 11);
}

static void idle_connections_that_the_server_closed_are_replaced_unseen(void **state)
{
    (void)state;
    struct app_error e;
    struct db *db = shop_db_as(&the_db, "shop_owner", "public");
    int runs = 0;
    assert_app_ok(db_tx(db, add_body, &runs, &e), &e);
    shop_sql(
        &the_db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    assert_app_ok(db_tx(db, add_body, &runs, &e), &e);
    assert_int_equal(shop_number(&the_db, "SELECT n FROM t WHERE id = 1"), 12);
    db_close(db);
}

static void a_row_lock_that_is_held_too_long_gives_busy_after_retries(void **state)
{
    (void)state;
    struct app_error e;
    int runs = 0;
    struct db *db = shop_pool(&the_db, "shop_owner", (struct db_options){.lock_ms = 50});
    struct db_conn *holder;
    assert_app_ok(db_acquire(the_db.owner, &holder, &e), &e);
    assert_app_ok(db_script(holder, "BEGIN; UPDATE t SET n = n WHERE id = 1", 0, NULL), &e);
    assert_app_kind(db_tx(db, add_body, &runs, &e), APP_E_BUSY, &e);
    assert_string_equal(e.sqlstate, "55P03");
    assert_int_equal(runs, 4);
    assert_app_ok(db_script(holder, "ROLLBACK", 0, NULL), db_error(holder));
    db_release(the_db.owner, holder);
    assert_app_ok(db_tx(db, add_body, &runs, &e), &e);
    db_close(db);
}

static void an_exhausted_pool_says_busy_in_time(void **state)
{
    (void)state;
    struct app_error e;
    struct db *db =
        shop_pool(&the_db, "shop_owner", (struct db_options){.size = 1, .acquire_ms = 50});
    struct db_conn *held, *second;
    assert_app_ok(db_acquire(db, &held, &e), &e);
    const int64_t start = timing_mono_ms();
    assert_app_kind(db_acquire(db, &second, &e), APP_E_BUSY, &e);
    assert_in_range(timing_mono_ms() - start, 45, 5000);
    db_release(db, held);
    assert_app_ok(db_acquire(db, &second, &e), &e);
    db_release(db, second);
    db_close(db);
}

static int sleep_body(struct db_conn *c, void *arg)
{
    (void)arg;
    return db_script(c, "SELECT pg_sleep(30)", 0, NULL);
}

static void a_slow_statement_is_stopped_by_its_timeout(void **state)
{
    (void)state;
    struct app_error e;
    struct db *db = shop_pool(&the_db, "shop_owner", (struct db_options){.statement_ms = 100});
    const int64_t start = timing_mono_ms();
    assert_app_kind(db_tx(db, sleep_body, NULL, &e), APP_E_BUSY, &e);
    assert_string_equal(e.sqlstate, "57014");
    assert_in_range(timing_mono_ms() - start, 90, 8000);
    db_close(db);
}

static void a_server_that_stops_answering_is_given_up_and_its_connection_dropped(void **state)
{
    (void)state;
    struct app_error e;
    struct db_conn *c;
    struct db_rows rows;
    struct db *db = shop_pool(&the_db, "shop_owner", (struct db_options){.statement_ms = 100});
    assert_app_ok(db_acquire(db, &c, &e), &e);
    assert_app_ok(db_script(c, "SELECT pg_backend_pid() AS pid", 0, &rows), &e);
    const pid_t backend = (pid_t)db_get_i64(&rows, 0, "pid");
    assert_app_ok(db_rows_end(&rows), &e);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    const int64_t start = timing_mono_ms();
    const int rc = db_script(c, "SELECT 1", 0, NULL);
    const int64_t took = timing_mono_ms() - start;
    assert_int_equal(kill(backend, SIGCONT), 0);
    assert_app_kind(rc, APP_E_DOWN, &e);
    assert_string_equal(e.text, "script: no answer in time");
    assert_in_range(took, 1000, 10000); /* statement_ms plus a second */
    db_release(db, c);
    assert_app_ok(db_ping(db, &e), &e);
    db_close(db);
}

static void a_bad_dsn_and_an_absent_server_are_told_apart(void **state)
{
    (void)state;
    struct app_error e;
    struct db *db;
    assert_app_kind(db_open(&(struct db_options){.dsn = "nonsense=1"}, &db, &e), APP_E_CONFIG, &e);
    assert_app_kind(db_open(&(struct db_options){.dsn = "host=/nonexistent dbname=x"}, &db, &e),
                    APP_E_DOWN, &e);
    assert_app_kind(db_open(&(struct db_options){.dsn = "host=127.0.0.1 port=1 dbname=x"}, &db, &e),
                    APP_E_DOWN, &e);
}

static void a_server_that_accepts_and_says_nothing_is_given_up(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    struct app_error e;
    struct db *db;
    char dsn[80];
    (void)snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%d dbname=x", ntohs(a.sin_port));
    assert_app_kind(db_open(&(struct db_options){.dsn = dsn, .connect_ms = 100}, &db, &e),
                    APP_E_DOWN, &e);
    assert_non_null(strstr(e.text, "127.0.0.1"));
    assert_non_null(strstr(e.text, "failed: no answer in time"));
    close(listener);
}

static void while_connecting_fails_callers_are_answered_at_once_until_the_next_attempt(void **state)
{
    (void)state;
    struct app_error e;
    struct db_conn *held;
    struct db *db = shop_pool(&the_db, "shop_owner", (struct db_options){.size = 4});
    assert_app_ok(db_acquire(db, &held, &e),
                  &e); /* the one idle connection is out: the next has to connect */
    assert_app_ok(app_failpoint_arm("db.connect=error", &e), &e);
    struct db_conn *c;
    for (int i = 0; i < 20; i++)
        assert_app_kind(db_acquire(db, &c, &e), APP_E_DOWN, &e);
    assert_true(app_failpoint_hits("db.connect") < 20);
    app_failpoint_disarm_all();
    db_release(db, held);
    assert_app_ok(db_acquire(db, &c, &e), &e); /* back-off concerns new connections only */
    db_release(db, c);
    db_close(db);
}

struct racer {
    struct db *db;
    int64_t first, second;
    atomic_int *has_first; /* how many of the two hold their first row */
    int attempts, rc;
};

static bool both_have_their_first(void *arg)
{
    return atomic_load((atomic_int *)arg) == 2;
}

/* The first attempts meet when each holds the row that the other wants next: a certain deadlock. */
static int swap_body(struct db_conn *c, void *arg)
{
    struct racer *r = arg;
    const int rc = db_exec(c, &ADD, NULL, db_i64(r->first), db_i64(1));
    if (r->attempts++ == 0) {
        atomic_fetch_add(r->has_first, 1);
        (void)wait_until(both_have_their_first, r->has_first, 10000);
    }
    return rc ? rc : db_exec(c, &ADD, NULL, db_i64(r->second), db_i64(1));
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct app_error e;
    r->rc = db_tx(r->db, swap_body, r, &e);
    return NULL;
}

static void a_deadlock_is_run_again_and_nothing_is_lost(void **state)
{
    (void)state;
    struct db *db = shop_pool(&the_db, "shop_owner",
                              (struct db_options){.lock_ms = 20000, .statement_ms = 30000});
    atomic_int has_first = 0;
    struct racer a = {.db = db, .first = 1, .second = 2, .has_first = &has_first},
                 b = {.db = db, .first = 2, .second = 1, .has_first = &has_first};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, race, &a), 0);
    race(&b);
    pthread_join(t, NULL);
    assert_app_ok(a.rc, NULL);
    assert_app_ok(b.rc, NULL);
    assert_int_equal(a.attempts + b.attempts, 3); /* PostgreSQL ends one of the two */
    assert_int_equal(shop_number(&the_db, "SELECT sum(n) FROM t"), 30 + 4);
    db_close(db);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(values_of_every_kind_come_back_as_they_went),
        T(a_wrong_type_a_null_or_a_missing_column_names_statement_and_column),
        T(a_statement_that_does_not_fit_the_schema_is_a_bug_and_the_connection_survives),
        T(a_refusal_rolls_back_and_carries_its_code),
        T(a_body_that_ignores_a_failed_statement_does_not_count_as_committed),
        T(a_commit_whose_answer_is_lost_is_unknown_and_not_repeated),
        T(a_connection_lost_before_commit_runs_the_body_again),
        T(idle_connections_that_the_server_closed_are_replaced_unseen),
        T(a_row_lock_that_is_held_too_long_gives_busy_after_retries),
        T(an_exhausted_pool_says_busy_in_time),
        T(a_slow_statement_is_stopped_by_its_timeout),
        T(a_server_that_stops_answering_is_given_up_and_its_connection_dropped),
        T(a_bad_dsn_and_an_absent_server_are_told_apart),
        T(a_server_that_accepts_and_says_nothing_is_given_up),
        T(while_connecting_fails_callers_are_answered_at_once_until_the_next_attempt),
        T(a_deadlock_is_run_again_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
