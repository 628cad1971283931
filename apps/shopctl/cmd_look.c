/* order and sagas: what the rows of all services say, as tables.
 *
 * Main thread only, as the auditor: reading, each statement by itself, so rows of different tables may be
 * a moment apart. The statements are the only place outside the schema that knows all services' tables;
 * they name schemas in full and are bounded (LIMIT, or one order's rows). A table without rows is left
 * out; nothing at all is exit status 1. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct app_option options[] = {
    {"dsn", APP_TEXT, NULL, 1, 1000, "PostgreSQL connection string; role shop_auditor suffices",
     true},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};
static const struct app_option order_options[] = {
    {"dsn", APP_TEXT, NULL, 1, 1000, "PostgreSQL connection string; role shop_auditor suffices",
     true},
    {"show", APP_TEXT, "all", 1, 20, "all, order, lines, states, ledgers, payments or messages",
     false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};
enum { COLUMNS_MAX = 16 };

int ctl_open(const struct ctl *c, struct db **out, struct app_error *e)
{
    const struct db_options o = {.dsn = app_text(c->settings, "dsn"),
                                 .schema = "public",
                                 .name = "shopctl",
                                 .size = 2,
                                 .statement_ms = 60000};
    return db_open(&o, out, e);
}

/* --- any statement as a table --- */

struct print {
    const struct db_stmt *stmt;
    const char *title;
    struct db_param param;
    struct db_conn *conn;
    int n_rows;
};

static bool numbers_only(struct db_rows *r, int column)
{
    for (int i = 0; i < db_count(r); i++) {
        const char *const s = db_cell(r, i, column);
        if (s != NULL && s[strspn(s, "0123456789-.")] != '\0')
            return false;
    }
    return true;
}

static int fill(struct db_rows *r, struct ctl_table **t, struct app_error *e)
{
    struct ctl_column columns[COLUMNS_MAX + 1] = {{NULL, 0}};
    const char *cells[COLUMNS_MAX];
    const int n = db_columns(r);
    APP_ASSERT(n <= COLUMNS_MAX);
    for (int i = 0; i < n; i++)
        columns[i] =
            (struct ctl_column){db_column_name(r, i), numbers_only(r, i) ? COL_RIGHT : COL_WRAP};
    int rc = table_new(columns, t, e);
    for (int row = 0; row < db_count(r) && rc == 0; row++) {
        for (int i = 0; i < n; i++)
            cells[i] = db_cell(r, row, i);
        rc = table_row(*t, cells, e);
    }
    return rc;
}

static int print_rows(struct print *p, struct app_error *e)
{
    struct db_rows r;
    struct ctl_table *t = NULL;
    int rc = p->param.kind == DB_NONE ? db_query(p->conn, p->stmt, &r)
                                      : db_query(p->conn, p->stmt, &r, p->param);
    if (rc != 0) {
        *e = *db_error(p->conn);
        return rc;
    }
    p->n_rows = db_count(&r);
    if (p->n_rows > 0)
        rc = fill(&r, &t, e);
    const int ended = db_rows_end(&r);
    rc = rc != 0 ? rc : ended;
    if (rc == 0 && t != NULL)
        return table_print(t, p->title, e);
    table_free(t);
    return rc;
}

int ctl_print_query(struct db *db, const struct db_stmt *stmt, const char *title,
                    struct db_param param, int *rows, struct app_error *e)
{
    struct print p = {.stmt = stmt, .title = title, .param = param};
    int rc = db_acquire(db, &p.conn, e);
    if (rc != 0)
        return rc;
    rc = print_rows(&p, e);
    db_release(db, p.conn);
    if (rows != NULL)
        *rows = p.n_rows;
    return rc;
}

/* --- order ID --- */

#define STATE_TEXT                                                                                  \
    "CASE order_status WHEN 0 THEN 'pending' WHEN 1 THEN 'confirmed' WHEN 2 THEN 'cancelled'"       \
    " WHEN 3 THEN 'invalid' WHEN 5 THEN 'cancelling' END || CASE pay_status WHEN 1 THEN ', paying'" \
    " WHEN 2 THEN ', paid' ELSE '' END"
#define PAY_TEXT                                                                                        \
    "CASE is_paid WHEN 0 THEN 'open' WHEN 2 THEN CASE WHEN acks & 7 = 7 THEN 'settled' ELSE 'paid' END" \
    " WHEN 3 THEN 'closed' WHEN 4 THEN 'refunding' WHEN 5 THEN 'refunded' WHEN 6 THEN 'refund failed' END"
#define CLOCK(column) "to_char(" column ", 'HH24:MI:SS.MS')"

static const struct look {
    const char *name, *title;
    struct db_stmt stmt;
} looks[] = {
    {"order",
     "order (ord.trade_order)",
     {"ctl_order",
      "SELECT " STATE_TEXT
      " AS state, user_id AS \"user\", goods_amount AS goods, shipping_fee AS shipping,"
      " coupon_id AS coupon, coupon_paid AS by_coupon, money_paid AS by_wallet, pay_amount AS to_pay, pay_id,"
      " fail_code, cancel_reason AS reason, comp_mask AS acks FROM ord.trade_order WHERE order_id = $1"}},
    {"lines",
     "lines (ord.trade_order_item)",
     {"ctl_items",
      "SELECT line, goods_id AS goods, qty, goods_price AS price FROM ord.trade_order_item WHERE order_id = $1"
      " ORDER BY line"}},
    {"states",
     "states (ord.order_state_log)",
     {"ctl_states",
      "SELECT " CLOCK(
          "at") " AS at, coalesce(f || '/' || fp, 'none') AS \"from\", t || '/' || tp AS \"to\""
                " FROM ord.order_state_log WHERE order_id = $1 ORDER BY log_id"}},
    {"ledgers",
     "ledgers",
     {"ctl_ledgers",
      "SELECT " CLOCK(
          "at") " AS at, ledger, what, amount FROM ("
                " SELECT log_time AS at, 'stk.trade_goods_number_log' AS ledger, CASE log_type WHEN 1 THEN 'deduct' ELSE 'restore' END"
                "  || ' goods ' || goods_id AS what, goods_number::bigint AS amount, log_id FROM stk.trade_goods_number_log WHERE order_id = $1"
                " UNION ALL SELECT log_time, 'cpn.coupon_log', CASE log_type WHEN 1 THEN 'use' ELSE 'return' END || ' coupon ' || coupon_id,"
                "  CASE log_type WHEN 1 THEN -coupon_paid ELSE coupon_paid END, log_id FROM cpn.coupon_log WHERE order_id = $1"
                " UNION ALL SELECT create_time, 'usr.trade_user_money_log', CASE money_log_type WHEN 1 THEN 'charge' ELSE 'refund' END"
                "  || ' user ' || user_id, use_money, log_id FROM usr.trade_user_money_log WHERE order_id = $1"
                " UNION ALL SELECT create_time, 'usr.user_score_log', CASE log_type WHEN 1 THEN 'earn points' ELSE 'reverse points' END,"
                "  score, log_id FROM usr.user_score_log WHERE order_id = $1"
                " UNION ALL SELECT at, 'plog.pay_log', event, amount, log_id FROM plog.pay_log WHERE order_id = $1) l ORDER BY l.at, log_id"}},
    {"payments",
     "payments (pay.trade_pay, tp.charge)",
     {"ctl_pays",
      "SELECT p.pay_id, " PAY_TEXT
      " AS state, pay_amount AS amount, acks, CASE WHEN suspect THEN 'yes' END AS suspect, c.status AS provider,"
      " c.amount AS charged, c.refunded FROM pay.trade_pay p LEFT JOIN tp.charge c ON c.out_trade_no = p.pay_id"
      " WHERE p.order_id = $1 ORDER BY p.pay_id"}},
    {"messages",
     "barriers and consumed messages",
     {"ctl_barriers",
      "SELECT " CLOCK(
          "at") " AS at, service, what, result FROM ("
                " SELECT created_at AS at, 'stock' AS service, 'barrier ' || op AS what, CASE reason WHEN 'T' THEN 'by try' ELSE 'by cancel' END"
                "  AS result FROM stk.tx_barrier WHERE txn_key = $1::bigint::text AND branch = 'stock'"
                " UNION ALL SELECT created_at, 'coupon', 'barrier ' || op, CASE reason WHEN 'T' THEN 'by try' ELSE 'by cancel' END"
                "  FROM cpn.tx_barrier WHERE txn_key = $1::bigint::text AND branch = 'coupon'"
                " UNION ALL SELECT created_at, 'user', 'barrier ' || op, CASE reason WHEN 'T' THEN 'by try' ELSE 'by cancel' END"
                "  FROM usr.tx_barrier WHERE txn_key = $1::bigint::text AND branch = 'balance'"
                " UNION ALL SELECT created_at, 'stock', tag, outcome FROM stk.mq_consumer_log WHERE msg_key = $1::bigint::text"
                " UNION ALL SELECT created_at, 'coupon', tag, outcome FROM cpn.mq_consumer_log WHERE msg_key = $1::bigint::text"
                " UNION ALL SELECT created_at, 'user', tag, outcome FROM usr.mq_consumer_log WHERE msg_key = $1::bigint::text"
                " UNION ALL SELECT created_at, 'payment', tag, outcome FROM pay.mq_consumer_log WHERE msg_key = $1::bigint::text"
                " UNION ALL SELECT created_at, 'order', tag || ' ' || split_part(msg_key, ':', 2), outcome FROM ord.mq_consumer_log"
                "  WHERE split_part(msg_key, ':', 1) = $1::bigint::text) m ORDER BY m.at"}},
};

enum { N_LOOKS = sizeof looks / sizeof looks[0] };

static bool is_shown(const char *show, const struct look *l)
{
    return strcmp(show, "all") == 0 || strcmp(show, l->name) == 0;
}

static int run_order(const struct ctl *c, struct app_error *e)
{
    int64_t id;
    struct db *db;
    int total = 0;
    const char *const show = app_text(c->settings, "show");
    bool known = false;
    for (size_t i = 0; i < N_LOOKS; i++)
        known |= is_shown(show, &looks[i]);
    if (!known)
        return app_fail(e, APP_E_CONFIG, "show: \"%s\" is none of those that -h lists", show);
    if (!id_parse(c->args[0], &id))
        return app_fail(e, APP_E_CONFIG, "\"%s\" is not an order id", c->args[0]);
    int rc = ctl_open(c, &db, e);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < N_LOOKS && rc == 0; i++) {
        int n = 0;
        if (is_shown(show, &looks[i]))
            rc = ctl_print_query(db, &looks[i].stmt, looks[i].title, db_i64(id), &n, e);
        total += n;
    }
    db_close(db);
    if (rc == 0 && total == 0)
        printf("nothing to show of order %lld\n", (long long)id);
    return rc != 0 ? rc : total == 0 ? CTL_FOUND : CTL_OK;
}

/* --- sagas --- */

static const struct db_stmt SAGAS = {
    "ctl_sagas",
    "SELECT order_id AS \"order\", " STATE_TEXT
    " AS state, date_trunc('second', now() - add_time)::text AS age,"
    " CASE WHEN order_status = 5 AND next_drive_at IS NULL THEN 'needs operator' ELSE '' END AS attention,"
    " CASE order_status WHEN 5 THEN concat_ws(' ', CASE WHEN comp_mask & 1 = 0 THEN 'stock' END, CASE WHEN comp_mask & 2 = 0 THEN 'coupon' END,"
    " CASE WHEN comp_mask & 4 = 0 THEN 'balance' END, CASE WHEN comp_mask & 8 = 0 THEN 'pay' END) END AS missing,"
    " coalesce(cancel_reason, '') AS reason, CASE WHEN order_status = 0 THEN to_char(saga_deadline, 'HH24:MI:SS')"
    " WHEN order_status = 1 THEN to_char(pay_deadline, 'HH24:MI:SS') END AS deadline"
    " FROM ord.trade_order WHERE order_status IN (0, 5) OR (order_status = 1 AND pay_status < 2) ORDER BY add_time LIMIT 1000"};
static const struct db_stmt PAYS = {
    "ctl_open_pays",
    "SELECT pay_id AS payment, order_id AS \"order\", " PAY_TEXT
    " AS state, date_trunc('second', now() - add_time)::text AS age,"
    " CASE is_paid WHEN 2 THEN concat_ws(' ', CASE WHEN acks & 1 = 0 THEN 'order' END, CASE WHEN acks & 2 = 0 THEN 'points' END,"
    " CASE WHEN acks & 4 = 0 THEN 'log' END) WHEN 5 THEN concat_ws(' ', CASE WHEN acks & 8 = 0 THEN 'points' END,"
    " CASE WHEN acks & 16 = 0 THEN 'log' END) WHEN 3 THEN 'provider' END AS missing, CASE WHEN suspect THEN 'yes' END AS suspect FROM pay.trade_pay"
    " WHERE is_paid IN (0, 4, 6) OR (is_paid = 2 AND acks & 7 <> 7) OR (is_paid = 5 AND acks & 24 <> 24)"
    " OR (is_paid = 3 AND next_drive_at IS NOT NULL) ORDER BY add_time LIMIT 1000"};

static int run_sagas(const struct ctl *c, struct app_error *e)
{
    struct db *db;
    int orders = 0, pays = 0;
    int rc = ctl_open(c, &db, e);
    if (rc != 0)
        return rc;
    rc = ctl_print_query(db, &SAGAS, "orders under way", (struct db_param){.kind = DB_NONE},
                         &orders, e);
    if (rc == 0)
        rc = ctl_print_query(db, &PAYS, "payments under way", (struct db_param){.kind = DB_NONE},
                             &pays, e);
    db_close(db);
    if (rc == 0 && orders + pays == 0)
        printf("nothing is under way\n");
    return rc;
}

const struct ctl_command ctl_order = {.name = "order",
                                      .arguments = "ID",
                                      .options = order_options,
                                      .args_min = 1,
                                      .args_max = 1,
                                      .run = run_order,
                                      .summary =
                                          "one order with its ledger rows over all services"};
const struct ctl_command ctl_sagas = {
    .name = "sagas",
    .arguments = "",
    .options = options,
    .run = run_sagas,
    .summary = "orders and payments under way: state, missing branches, age"};
