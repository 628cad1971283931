#pragma once
/* What tests of the shop share: a private PostgreSQL cluster per test program, a fresh database with the
 * whole schema per test, a tape instead of the broker, and a server on a free port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apps/common/db.h"
#include "apps/common/http_client.h"
#include "apps/common/http_server.h"
#include "apps/common/inbox.h"
#include "apps/common/mq.h"

/* Print kind and text of the error. */
#define assert_app_ok(rc, e) assert_app_kind_at((rc), APP_OK, (e), #rc, __FILE__, __LINE__)
#define assert_app_kind(rc, kind, e) assert_app_kind_at((rc), (kind), (e), #rc, __FILE__, __LINE__)
void assert_app_kind_at(int rc, int kind, const struct app_error *e, const char *what,
                        const char *file, int line);

/* Group setup and teardown: starts the cluster (tools/pg.sh) and applies the schema once. */
int shop_cluster_start(void **state);
int shop_cluster_stop(void **state);

struct shop_db {
    char name[32];
    struct db *owner; /* superuser, every schema, search_path public */
};
/* A copy of the applied schema. */
void shop_db_create(struct shop_db *d);
void shop_db_drop(struct shop_db *d); /* every other pool on it must be closed */
/* A pool as a service has it: its schema and its role. */
struct db *shop_db_as(const struct shop_db *d, const char *role, const char *schema);
/* A pool with other options; dsn and connect_ms are set here. */
struct db *shop_pool(const struct shop_db *d, const char *role, struct db_options o);
/* "host=... dbname=... user=ROLE" in a static buffer. */
const char *shop_dsn(const struct shop_db *d, const char *role);
/* Runs SQL as the owner; fails the test when it fails. */
void shop_sql(const struct shop_db *d, const char *sql);
/* The same, expecting refusal; the SQLSTATE goes to sqlstate[6]. */
void shop_sql_refused(const struct shop_db *d, const char *sql, char sqlstate[6]);
/* First column of the first row as a number. */
int64_t shop_number(const struct shop_db *d, const char *sql);
/* Rows over all invariants; prints the offending ones. */
int64_t shop_violations(const struct shop_db *d);

/* What would have gone to the broker. */
#define TAPE_MAX 64
struct tape {
    pthread_mutex_t lock;
    int n;
    struct {
        char kind; /* 's' send, 'h' half, 'c' commit, 'r' rollback */
        char tag[32], key[64];
        struct envelope v;
    } sent[TAPE_MAX];
    int fail_next; /* so many sends fail (APP_E_DOWN) */
};
void tape_init(struct tape *t);
struct mq *tape_mq(struct tape *t, const char *name); /* mq_close it */
/* What is on it as letters, in order: h half, c commit, r rollback, s send. */
#define assert_tape(t, want) assert_tape_at((t), (want), __FILE__, __LINE__)
void assert_tape_at(const struct tape *t, const char *want, const char *file, int line);
int tape_count(const struct tape *t, char kind);
/* Delivers an envelope to an inbox as the broker would; msg_id differs each time. */
enum inbox_result tape_deliver(const struct inbox *in, const struct envelope *v);

/* What tests of payTopic's consumers deliver: payment 900 of order 100 by user 1, and its refund. */
extern const struct envelope shop_paid, shop_refunded;

/* One service under test: its pool on a database of its own, and a tape instead of the broker. */
struct shop_rig {
    struct shop_db the_db;
    struct db *db;
    struct tape tape;
    struct mq *mq;
};
void shop_rig_start(struct shop_rig *r, const char *service, const char *role, const char *schema);
void shop_rig_stop(struct shop_rig *r); /* also disarms every failpoint */

/* POST (body) or GET (NULL) to a server in this process. The JSON answer is parsed into *a. */
void shop_call(const struct http_server *s, const char *method, const char *path, const char *body,
               struct http_answer *a);
struct http_server *shop_serve(const struct http_route *routes, void *arg); /* internal, port 0 */
/* The same with the JSON as a value (taken; NULL: none) and an Idempotency-Key (NULL: none). */
void shop_ask(const struct http_server *s, const char *method, const char *path, json_t *body_take,
              const char *key, struct http_answer *a);
#define SHOP_URL_MAX 64
void shop_url(const struct http_server *s, char out[SHOP_URL_MAX]); /* "http://127.0.0.1:1234" */
/* A decimal-string id in the answer's data; 0 when there is none. */
int64_t shop_answer_id(const struct http_answer *a, const char *member);
/* Fails unless the answer has this HTTP status and code. */
#define assert_answer(a, status, code) assert_answer_at((a), (status), (code), __FILE__, __LINE__)
void assert_answer_at(const struct http_answer *a, int status, int code, const char *file,
                      int line);

/* Failpoints of this process. */
void shop_arm(const char *spec);
void shop_wait_hits(const char *failpoint,
                    uint64_t n); /* until it was met so often; fails after 20 s */
