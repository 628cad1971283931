/* Fixture of the shop's tests.
 *
 * One cluster per test program, started through tools/pg.sh, which also stops it when the program dies.
 * The schema is applied once to the database "shop"; each test copies it (CREATE DATABASE ... TEMPLATE),
 * which takes a tenth of a second and leaves tests independent of each other.
 */
#include "tests/support/shop/shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/failpoint.h"
#include "apps/common/ids.h"
#include "apps/common/schema.h"
#include "tests/support/process.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

static char cluster_dir[512], socket_dir[256];
static int next_db;

void assert_app_kind_at(int rc, int kind, const struct app_error *e, const char *what,
                        const char *file, int line)
{
    if (rc == kind)
        return;
    print_error("%s gave %s, expected %s: %s\n", what, app_errno_name(rc), app_errno_name(kind),
                e && rc ? e->text : "");
    _fail(file, line);
}

static const char *source_path(const char *name)
{
    static char path[1024];
    const char *top = getenv("HALFPENNY_SOURCE");
    (void)snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
    return path;
}

static int run_pg(const char *verb, const char *extra1, const char *extra2)
{
    char output[600];
    (void)snprintf(output, sizeof output, "%s.log", cluster_dir);
    const char *const argv[] = {
        source_path("tools/pg.sh"), verb, cluster_dir, extra1, extra2, NULL};
    struct err e;
    struct process *p =
        process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (!p) {
        print_error("pg.sh: %s\n", e.text);
        return -1;
    }
    const int rc = process_wait(p, 90000);
    process_free(p);
    if (rc != 0)
        print_error("pg.sh %s ended with %d, see %s\n", verb, rc, output);
    return rc;
}

static const char *dsn_of(const char *database, const char *role)
{
    static _Thread_local char dsn[400];
    (void)snprintf(dsn, sizeof dsn, "host=%s dbname=%s user=%s", socket_dir, database, role);
    return dsn;
}

static struct db *open_pool(const char *database, const char *role, struct db_options o)
{
    struct db *db = NULL;
    struct app_error e;
    o.dsn = dsn_of(database, role);
    o.connect_ms = 30000; /* a busy machine is not what is tested */
    assert_app_ok(db_open(&o, &db, &e), &e);
    return db;
}

static struct db *open_owner(const char *database)
{
    return open_pool(database, "shop_owner",
                     (struct db_options){.name = "test", .size = 4, .statement_ms = 20000});
}

int shop_cluster_start(void **state)
{
    (void)state;
    char pid[24];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    (void)snprintf(cluster_dir, sizeof cluster_dir, "%s/pg", tmpdir_new("shop"));
    char path[600];
    (void)snprintf(path, sizeof path, "%.*s", (int)(strlen(cluster_dir) - 3), cluster_dir);
    (void)chmod(path, 0755); /* the server may run as another user */
    if (run_pg("start", "--while", pid) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/socket-dir", cluster_dir);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%255s", socket_dir) != 1)
        return -1;
    fclose(f);
    struct db *db = open_owner("shop");
    struct app_error e;
    const int rc = schema_apply(db, source_path("apps/schema"), &e);
    db_close(db);
    if (rc)
        print_error("schema: %s\n", e.text);
    return rc;
}

int shop_cluster_stop(void **state)
{
    (void)state;
    return run_pg("stop", "immediate", NULL);
}

static void admin(const char *verb, const char *name, const char *rest)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "%s %s%s", verb, name, rest);
    struct db *db = open_owner("postgres");
    struct db_conn *c;
    struct app_error e;
    assert_app_ok(db_acquire(db, &c, &e), &e);
    assert_app_ok(db_script(c, sql, 20000, NULL), db_error(c));
    db_release(db, c);
    db_close(db);
}

void shop_db_create(struct shop_db *d)
{
    (void)snprintf(d->name, sizeof d->name, "t%d", ++next_db);
    admin("CREATE DATABASE", d->name, " TEMPLATE shop");
    d->owner = open_owner(d->name);
}

void shop_db_drop(struct shop_db *d)
{
    db_close(d->owner);
    admin("DROP DATABASE", d->name, " WITH (FORCE)");
}

const char *shop_dsn(const struct shop_db *d, const char *role)
{
    return dsn_of(d->name, role);
}

struct db *shop_db_as(const struct shop_db *d, const char *role, const char *schema)
{
    return shop_pool(d, role, (struct db_options){.schema = schema, .name = role, .size = 8});
}

struct db *shop_pool(const struct shop_db *d, const char *role, struct db_options o)
{
    return open_pool(d->name, role, o);
}

void shop_sql(const struct shop_db *d, const char *sql)
{
    struct db_conn *c;
    struct app_error e;
    assert_app_ok(db_acquire(d->owner, &c, &e), &e);
    const int rc = db_script(c, sql, 0, NULL);
    db_release(d->owner, c);
    assert_app_ok(rc, &e);
}

void shop_sql_refused(const struct shop_db *d, const char *sql, char sqlstate[6])
{
    struct db_conn *c;
    struct app_error e;
    assert_app_ok(db_acquire(d->owner, &c, &e), &e);
    const int rc = db_script(c, sql, 0, NULL);
    db_release(d->owner, c);
    if (rc == APP_OK)
        fail_msg("accepted, but should have been refused: %s", sql);
    (void)snprintf(sqlstate, 6, "%s", e.sqlstate);
}

int64_t shop_number(const struct shop_db *d, const char *sql)
{
    struct db_conn *c;
    struct app_error e;
    struct db_rows rows;
    assert_app_ok(db_acquire(d->owner, &c, &e), &e);
    assert_app_ok(db_script(c, sql, 0, &rows), &e);
    const char *s = db_count(&rows) ? db_cell(&rows, 0, 0) : NULL;
    const int64_t v = s ? strtoll(s, NULL, 10) : 0;
    assert_app_ok(db_rows_end(&rows), &e);
    db_release(d->owner, c);
    return v;
}

int64_t shop_violations(const struct shop_db *d)
{
    struct db_conn *c;
    struct app_error e;
    struct db_rows rows;
    int64_t sum = 0;
    assert_app_ok(db_acquire(d->owner, &c, &e), &e);
    assert_app_ok(db_script(c, "SELECT name, violations, sample FROM audit.run()", 0, &rows), &e);
    for (int i = 0; i < db_count(&rows); i++) {
        const int64_t n = db_get_i64(&rows, i, "violations");
        sum += n;
        if (n)
            print_message("invariant %s: %lld rows, %s\n", db_get_text(&rows, i, "name"),
                          (long long)n, db_get_text_or(&rows, i, "sample", ""));
    }
    assert_app_ok(db_rows_end(&rows), &e);
    db_release(d->owner, c);
    return sum;
}

/* ---- tape ---- */

void tape_init(struct tape *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
}

static int tape_add(struct tape *t, char kind, const struct mq_out *m, struct app_error *e)
{
    struct envelope v;
    assert_app_ok(envelope_decode(m->body, m->body_len, &v, e), e);
    pthread_mutex_lock(&t->lock);
    const bool refuse = t->fail_next > 0;
    t->fail_next -= refuse;
    if (!refuse && t->n < TAPE_MAX) {
        t->sent[t->n].kind = kind;
        (void)snprintf(t->sent[t->n].tag, sizeof t->sent[t->n].tag, "%s", m->tag);
        (void)snprintf(t->sent[t->n].key, sizeof t->sent[t->n].key, "%s", m->key);
        t->sent[t->n++].v = v;
    }
    pthread_mutex_unlock(&t->lock);
    return refuse ? app_fail(e, APP_E_DOWN, "tape: told to fail") : APP_OK;
}

static int tape_send(void *arg, const struct mq_out *m, struct app_error *e)
{
    return tape_add(arg, 's', m, e);
}

static int tape_half(void *arg, const struct mq_out *m, struct mq_half *half, struct app_error *e)
{
    (void)snprintf(half->id, sizeof half->id, "half-%s", m->key);
    return tape_add(arg, 'h', m, e);
}

static int tape_end(void *arg, const struct mq_half *half, enum mq_verdict verdict,
                    struct app_error *e)
{
    (void)e;
    struct tape *t = arg;
    pthread_mutex_lock(&t->lock);
    if (t->n < TAPE_MAX) {
        t->sent[t->n].kind = verdict == MQ_COMMIT ? 'c' : 'r';
        t->sent[t->n].tag[0] = '\0';
        (void)snprintf(t->sent[t->n++].key, sizeof t->sent[0].key, "%.63s", half->id);
    }
    pthread_mutex_unlock(&t->lock);
    return APP_OK;
}

struct mq *tape_mq(struct tape *t, const char *name)
{
    const struct mq_port port = {tape_send, tape_half, tape_end, t};
    struct mq *m = NULL;
    struct app_error e;
    assert_app_ok(mq_open(&(struct mq_options){.name = name, .port = &port}, &m, &e), &e);
    return m;
}

void assert_tape_at(const struct tape *t, const char *want, const char *file, int line)
{
    char got[TAPE_MAX + 1] = "";
    for (int i = 0; i < t->n; i++)
        got[i] = t->sent[i].kind;
    if (strcmp(got, want) == 0)
        return;
    print_error("the tape says \"%s\", expected \"%s\"\n", got, want);
    _fail(file, line);
}

int tape_count(const struct tape *t, char kind)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += t->sent[i].kind == kind;
    return n;
}

enum inbox_result tape_deliver(const struct inbox *in, const struct envelope *v)
{
    static _Atomic int serial;
    char *text, key[ENVELOPE_KEY_MAX], msg_id[32];
    size_t len;
    struct app_error e;
    assert_app_ok(envelope_encode(v, &text, &len, &e), &e);
    envelope_key(v, key);
    (void)snprintf(msg_id, sizeof msg_id, "MSG%d", ++serial);
    const struct inbox_delivery d = {
        .tag = event_tag(v->event), .key = key, .msg_id = msg_id, .body = text, .body_len = len};
    const enum inbox_result r = inbox_handle(in, &d);
    free(text);
    return r;
}

/* ---- one service ---- */

const struct envelope shop_paid = {.event = EVENT_paid,
                                   .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                                   .order_id = 100,
                                   .pay_id = 900,
                                   .user_id = 1,
                                   .amount = 500};
const struct envelope shop_refunded = {.event = EVENT_refunded,
                                       .has = ENV_PAY | ENV_AMOUNT,
                                       .order_id = 100,
                                       .pay_id = 900,
                                       .amount = 500};

void shop_rig_start(struct shop_rig *r, const char *service, const char *role, const char *schema)
{
    shop_db_create(&r->the_db);
    r->db = shop_db_as(&r->the_db, role, schema);
    tape_init(&r->tape);
    r->mq = tape_mq(&r->tape, service);
}

void shop_rig_stop(struct shop_rig *r)
{
    app_failpoint_disarm_all();
    mq_close(r->mq);
    db_close(r->db);
    shop_db_drop(&r->the_db);
}

/* ---- HTTP ---- */

struct http_server *shop_serve(const struct http_route *routes, void *arg)
{
    struct http_server *s = NULL;
    struct app_error e;
    const struct http_server_options o = {
        .listen = "127.0.0.1:0", .internal = true, .tables = {{routes, arg}}, .workers = 8};
    assert_app_ok(http_server_start(&o, &s, &e), &e);
    return s;
}

void shop_url(const struct http_server *s, char out[SHOP_URL_MAX])
{
    (void)snprintf(out, SHOP_URL_MAX, "http://%s", http_server_address(s));
}

void shop_ask(const struct http_server *s, const char *method, const char *path, json_t *body_take,
              const char *key, struct http_answer *a)
{
    char url[300];
    struct app_error e = {.kind = APP_OK};
    (void)snprintf(url, sizeof url, "http://%s%s", http_server_address(s), path);
    const struct http_call call = {.method = method,
                                   .url = url,
                                   .json = body_take,
                                   .idempotency_key = key,
                                   .timeout_ms = 20000};
    const int rc = http_do(&call, a, &e);
    json_decref(body_take);
    assert_app_ok(rc, &e);
}

void shop_call(const struct http_server *s, const char *method, const char *path, const char *body,
               struct http_answer *a)
{
    json_t *json = body ? json_loads(body, 0, NULL) : NULL;
    if (body && !json)
        fail_msg("the test's own JSON is broken: %s", body);
    shop_ask(s, method, path, json, NULL, a);
}

int64_t shop_answer_id(const struct http_answer *a, const char *member)
{
    int64_t id = 0;
    const char *const text = json_string_value(json_object_get(a->data, member));
    if (text && !id_parse(text, &id))
        fail_msg("%s: \"%s\" is no id", member, text);
    return id;
}

void assert_answer_at(const struct http_answer *a, int status, int code, const char *file, int line)
{
    if (a->status == status && a->code == code)
        return;
    print_error("HTTP %d code %d, expected %d %d: %s\n", a->status, a->code, status, code, a->body);
    _fail(file, line);
}

/* ---- failpoints ---- */

void shop_arm(const char *spec)
{
    struct app_error e = {.kind = APP_OK};
    assert_app_ok(app_failpoint_arm(spec, &e), &e);
}

struct hits {
    const char *name;
    uint64_t n;
};

static bool were_hit(void *arg)
{
    const struct hits *h = arg;
    return app_failpoint_hits(h->name) >= h->n;
}

void shop_wait_hits(const char *failpoint, uint64_t n)
{
    struct hits h = {failpoint, n};
    if (!wait_until(were_hit, &h, 20000))
        fail_msg("%s was met %llu times, expected %llu", failpoint,
                 (unsigned long long)app_failpoint_hits(failpoint), (unsigned long long)n);
}
