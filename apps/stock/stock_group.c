/* Group deduct: many single-line tries for one hot item share a transaction, and so its row lock.
 *
 * Tries for the same goods queue here. Whoever is at the head, while fewer than `batches` transactions of
 * that item run, leads: takes up to `size` from the queue, itself included, runs one transaction for all of
 * them and hands out the answers. There is no thread of its own: without company a try leads a batch of
 * one, which is stock_try; while it runs, others gather.
 *
 * The transaction: the barrier rows of all (ascending), the item's row locked last, the ledger rows and one
 * deduction for those that fit in the order of their arrival, each as if it had come alone; the barrier
 * rows of those that do not fit are withdrawn, so that they may be tried again.
 *
 * Failure: any error (also goods nobody knows, or goods in several buckets) splits the batch: every try goes
 * on alone, on its own thread, and gets its own answer. That is safe after a lost COMMIT too: a try that did
 * happen finds its barrier row and is a duplicate.
 *
 * Threads: HTTP workers. The lock guards items, queues and states; no database call is made under it.
 * Bound: one place in a queue for each worker.
 */
#include "apps/stock/stock.h"

#include "apps/common/codes.h"
#include "apps/common/ids.h"
#include "apps/common/log.h"
#include "apps/common/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum waiting_state { WAITING, ANSWERED, ALONE };
struct waiting {
    struct stock_try *t;
    struct app_error *e;
    int rc;
    enum waiting_state state;
    pthread_cond_t wake;
    struct waiting *next;
};
struct item {
    int64_t goods_id;
    struct waiting *head, **tail;
    int running; /* transactions */
    int users;   /* threads that know it; the last one frees it */
    struct item *next;
};
struct stock_group {
    struct db *db;
    int size, batches;
    pthread_mutex_t lock;
    struct item *items; /* those with somebody in them */
    struct metric *m_batches, *m_batched, *m_waiting;
};

/* ---- the transaction ---- */

static const struct db_stmt NOW = {"stk_group_now",
                                   "SELECT (extract(epoch FROM now()) * 1000)::bigint AS now_ms"};
static const struct db_stmt BUCKETS = {"stk_group_buckets",
                                       "SELECT buckets FROM trade_goods WHERE goods_id = $1"};
static const struct db_stmt LOCK = {
    "stk_group_lock",
    "SELECT available FROM goods_stock WHERE goods_id = $1 AND bucket = 0 FOR NO KEY UPDATE"};
static const struct db_stmt LOG = {
    "stk_group_log",
    "INSERT INTO trade_goods_number_log(goods_id, bucket, order_id, log_type, goods_number)"
    " SELECT $1, 0, u.o, 1, -u.q FROM unnest($2::bigint[], $3::bigint[]) AS u(o, q)"};
static const struct db_stmt DEDUCT = {
    "stk_group_deduct",
    "UPDATE goods_stock SET available = available - $2 WHERE goods_id = $1 AND bucket = 0 AND available >= $2"};

struct verdict {
    int code;      /* CODE_OK, or the refusal */
    bool inserted; /* its barrier row is of this transaction */
    bool duplicate, fits;
};
struct batch {
    int64_t goods_id;
    size_t n;
    struct waiting *in[STOCK_GROUP_MAX]; /* in the order of arrival */
    size_t by_key[STOCK_GROUP_MAX];      /* the same, ascending by order */
    struct verdict out[STOCK_GROUP_MAX];
};

static int one_number(struct db_conn *c, const struct db_stmt *stmt, const char *column,
                      const struct db_param *param, int64_t *out)
{
    struct db_rows rows;
    const int rc = param ? db_query(c, stmt, &rows, *param) : db_query(c, stmt, &rows);
    if (rc)
        return rc;
    const bool found = db_count(&rows) == 1;
    *out = found ? db_get_i64(&rows, 0, column) : 0;
    const int end = db_rows_end(&rows);
    return end || found ? end : db_fail(c, APP_E_LATER, "%s: no row", stmt->name);
}

/* Goods that are not sold from one row are not for a batch. */
static int check_goods(struct db_conn *c, const struct batch *b)
{
    const struct db_param id = db_i64(b->goods_id);
    int64_t buckets = 0;
    const int rc = one_number(c, &BUCKETS, "buckets", &id, &buckets);
    return rc || buckets == 1 ? rc : db_fail(c, APP_E_LATER, "goods are in several buckets");
}

static int pass_barrier(struct db_conn *c, struct batch *b)
{
    int64_t keys[STOCK_GROUP_MAX], now_ms = 0;
    enum barrier_try passed[STOCK_GROUP_MAX];
    int rc = one_number(c, &NOW, "now_ms", NULL, &now_ms);
    for (size_t i = 0; i < b->n; i++)
        keys[i] = b->in[b->by_key[i]]->t->order_id;
    if (rc == APP_OK)
        rc = barrier_try_many(c, keys, b->n, BRANCH_STOCK, passed);
    for (size_t i = 0; i < b->n && rc == APP_OK; i++) {
        const struct stock_try *t = b->in[b->by_key[i]]->t;
        b->out[b->by_key[i]] =
            (struct verdict){.code = now_ms > t->expires_at_ms        ? CODE_TRY_EXPIRED
                                     : passed[i] == BARRIER_REFUSED   ? CODE_STOCK_CLOSED
                                     : passed[i] == BARRIER_DUPLICATE ? CODE_OK
                                                                      : CODE_STOCK_SHORT,
                             .inserted = passed[i] == BARRIER_RUN,
                             .duplicate = passed[i] == BARRIER_DUPLICATE,
                             .fits = passed[i] == BARRIER_RUN && now_ms <= t->expires_at_ms};
    }
    return rc;
}

/* Who fits, in the order of arrival. */
static int64_t share(struct batch *b, int64_t available)
{
    int64_t taken = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct verdict *v = &b->out[i];
        const int64_t qty = b->in[i]->t->lines[0].qty;
        if (!v->fits)
            continue;
        v->fits = qty <= available - taken;
        if (v->fits) {
            taken += qty;
            v->code = CODE_OK;
        }
    }
    return taken;
}

static void array_text(char *out, size_t size, const int64_t *v, size_t n)
{
    size_t at = (size_t)snprintf(out, size, "{");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? "," : "", (long long)v[i]);
    (void)snprintf(out + at, size - at, "}");
}

static int deduct(struct db_conn *c, const struct batch *b, int64_t taken)
{
    int64_t orders[STOCK_GROUP_MAX], qtys[STOCK_GROUP_MAX], n = 0;
    char order_text[STOCK_GROUP_MAX * ID_TEXT_MAX], qty_text[STOCK_GROUP_MAX * ID_TEXT_MAX];
    size_t k = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (!b->out[i].fits)
            continue;
        orders[k] = b->in[i]->t->order_id;
        qtys[k++] = b->in[i]->t->lines[0].qty;
    }
    if (k == 0)
        return APP_OK;
    array_text(order_text, sizeof order_text, orders, k);
    array_text(qty_text, sizeof qty_text, qtys, k);
    int rc = db_exec(c, &LOG, NULL, db_i64(b->goods_id), db_text(order_text), db_text(qty_text));
    if (rc == APP_OK)
        rc = db_exec(c, &DEDUCT, &n, db_i64(b->goods_id), db_i64(taken));
    return rc || n == 1 ? rc : db_fail(c, APP_E_LATER, "the locked row has changed");
}

static int withdraw(struct db_conn *c, const struct batch *b)
{
    int64_t keys[STOCK_GROUP_MAX];
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->out[i].inserted && b->out[i].code != CODE_OK)
            keys[n++] = b->in[i]->t->order_id;
    return n ? barrier_withdraw(c, keys, n, BRANCH_STOCK) : APP_OK;
}

static int batch_body(struct db_conn *c, void *arg)
{
    struct batch *b = arg;
    const struct db_param id = db_i64(b->goods_id);
    int64_t available = 0;
    int rc = check_goods(c, b);
    if (rc == APP_OK)
        rc = pass_barrier(c, b);
    if (rc == APP_OK)
        rc = one_number(c, &LOCK, "available", &id, &available);
    if (rc == APP_OK)
        rc = deduct(c, b, share(b, available));
    return rc == APP_OK ? withdraw(c, b) : rc;
}

/* Ascending by order; two tries of the same order at once are not for a batch. */
static bool sort_by_key(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t at = i;
        for (; at > 0 && b->in[b->by_key[at - 1]]->t->order_id > b->in[i]->t->order_id; at--)
            b->by_key[at] = b->by_key[at - 1];
        b->by_key[at] = i;
        if (at > 0 && b->in[b->by_key[at - 1]]->t->order_id == b->in[i]->t->order_id)
            return false;
    }
    return true;
}

/* false: everybody goes on alone. */
static bool run_batch(struct stock_group *g, struct batch *b)
{
    struct app_error e = {.kind = APP_OK};
    if (!sort_by_key(b))
        return false;
    const int rc = db_tx(g->db, batch_body, b, &e);
    if (rc) {
        log_debug("batch_split", "goods_id=%lld tries=%zu error=%s", (long long)b->goods_id, b->n,
                  app_log_value(e.text));
        return false;
    }
    metric_add(g->m_batches, 1);
    metric_add(g->m_batched, (int64_t)b->n);
    return true;
}

/* ---- the queue ---- */

static struct item *find_item(struct stock_group *g, int64_t goods_id)
{
    struct item *i = g->items;
    while (i && i->goods_id != goods_id)
        i = i->next;
    if (i || !(i = calloc(1, sizeof *i)))
        return i;
    i->goods_id = goods_id;
    i->tail = &i->head;
    i->next = g->items;
    g->items = i;
    return i;
}

static void release_item(struct stock_group *g, struct item *i)
{
    if (--i->users > 0)
        return;
    struct item **at = &g->items;
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    free(i);
}

static void take_batch(const struct stock_group *g, struct item *i, struct batch *b)
{
    b->goods_id = i->goods_id;
    for (b->n = 0; b->n < (size_t)g->size && i->head; b->n++) {
        b->in[b->n] = i->head;
        i->head = i->head->next;
    }
    if (!i->head)
        i->tail = &i->head;
    i->running++;
    metric_add(g->m_waiting, -(int64_t)b->n);
}

static void answer(struct waiting *w, const struct verdict *v)
{
    w->state = ANSWERED;
    w->t->duplicate = v->duplicate;
    w->rc =
        v->code == CODE_OK
            ? APP_OK
            : app_refuse(w->e, v->code, v->code == CODE_STOCK_SHORT ? "goods %lld" : "order %lld",
                         (long long)(v->code == CODE_STOCK_SHORT ? w->t->lines[0].goods_id
                                                                 : w->t->order_id));
}

/* Called and returns with the lock held. */
static void lead(struct stock_group *g, struct item *i)
{
    struct batch b;
    take_batch(g, i, &b);
    if (i->head && i->running < g->batches)
        pthread_cond_signal(&i->head->wake);
    pthread_mutex_unlock(&g->lock);
    const bool split = FAILPOINT(stock_failpoints[FP_STOCK_GROUP]);
    const int alone = b.n == 1 && !split ? stock_try(g->db, b.in[0]->t, b.in[0]->e) : APP_OK;
    const bool shared = b.n > 1 && !split && run_batch(g, &b);
    pthread_mutex_lock(&g->lock);
    for (size_t k = 0; k < b.n; k++) {
        struct waiting *w = b.in[k];
        w->state = b.n == 1 && !split ? ANSWERED : ALONE;
        w->rc = alone;
        if (shared)
            answer(w, &b.out[k]);
        pthread_cond_signal(&w->wake);
    }
    i->running--;
    if (i->head)
        pthread_cond_signal(&i->head->wake);
}

int stock_group_try(struct stock_group *g, struct stock_try *t, struct app_error *e)
{
    if (g->size == 1 || t->n_lines != 1)
        return stock_try(g->db, t, e);
    struct waiting w = {.t = t, .e = e, .state = WAITING};
    pthread_cond_init(&w.wake, NULL);
    pthread_mutex_lock(&g->lock);
    struct item *const i = find_item(g, t->lines[0].goods_id);
    if (!i) {
        w.state = ALONE;
    } else {
        i->users++;
        *i->tail = &w;
        i->tail = &w.next;
        metric_add(g->m_waiting, 1);
    }
    while (w.state == WAITING) {
        if (i->head == &w && i->running < g->batches)
            lead(g, i);
        else
            pthread_cond_wait(&w.wake, &g->lock);
    }
    if (i)
        release_item(g, i);
    pthread_mutex_unlock(&g->lock);
    pthread_cond_destroy(&w.wake);
    return w.state == ALONE ? stock_try(g->db, t, e) : w.rc;
}

/* ---- life ---- */

int stock_group_new(struct db *db, int size, int batches, struct metrics *metrics,
                    struct stock_group **out, struct app_error *e)
{
    APP_ASSERT(size >= 1 && size <= STOCK_GROUP_MAX && batches >= 1);
    struct stock_group *g = calloc(1, sizeof *g);
    if (!g)
        return app_fail(e, APP_E_NOMEM, "no memory for the group deduct");
    g->db = db;
    g->size = size;
    g->batches = batches;
    pthread_mutex_init(&g->lock, NULL);
    g->m_batches = metrics_counter(metrics, "shop_stock_batches_total",
                                   "transactions shared by several tries", "");
    g->m_batched =
        metrics_counter(metrics, "shop_stock_batched_total", "tries in such transactions", "");
    g->m_waiting = metrics_gauge(metrics, "shop_stock_waiting",
                                 "tries waiting for a place in a transaction", "");
    *out = g;
    return APP_OK;
}

void stock_group_free(struct stock_group *g)
{
    if (!g)
        return;
    APP_ASSERT(!g->items);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
