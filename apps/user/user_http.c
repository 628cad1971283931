/* user's HTTP: JSON in, repository, JSON out.
 *
 *   POST /internal/wallet/try        {order_id, user_id, amount (cents > 0), expires_at (Unix ms)}
 *                                    200 {balance_after, duplicate}; 404 30002; 409 20007 30003 30006
 *   GET  /internal/quote/user/{id}   200 {user_id, user_money, user_score}; 404 30002. A hint: only the
 *                                    try decides.
 *
 * Runs on HTTP workers. A try may be repeated by its caller: the stored answer comes again.
 */
#include "apps/user/user.h"

#include "apps/common/money.h"

struct failpoint user_failpoints[USER_FP_COUNT] = {
#define FAILPOINT_DEF(id, text, what) [id] = {.name = text, .meaning = what},
#include "apps/user/failpoints.def"
#undef FAILPOINT_DEF
};

static int parse_try(const json_t *body, struct wallet_try *t, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(body);
    t->order_id = jsonx_id(&r, "order_id");
    t->user_id = jsonx_id(&r, "user_id");
    t->amount = jsonx_int(&r, "amount", 1, MONEY_MAX);
    t->expires_at_ms = jsonx_int(&r, "expires_at", 1, INT64_C(1) << 46);
    return jsonx_end(&r, e);
}

static void on_try(void *arg, struct http_req *rq)
{
    const struct user *s = arg;
    struct wallet_try t = {.order_id = 0};
    struct app_error e;
    int rc = parse_try(http_json(rq), &t, &e);
    if (rc == APP_OK && FAILPOINT(user_failpoints[FP_USER_TRY_BEFORE_TX]))
        rc = app_fail(&e, APP_E_DOWN, "failpoint");
    if (rc == APP_OK)
        rc = wallet_try(s->db, &t, &e);
    if (rc == APP_OK && FAILPOINT(user_failpoints[FP_USER_TRY_AFTER_TX]))
        rc = app_fail(&e, APP_E_UNKNOWN, "failpoint");
    if (rc)
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:I, s:b}", "balance_after", (json_int_t)t.balance_after,
                              "duplicate", t.duplicate));
}

static void on_quote(void *arg, struct http_req *rq)
{
    const struct user *s = arg;
    int64_t id;
    struct user_account a;
    struct app_error e;
    if (!http_path_id(rq, "id", &id))
        return;
    if (user_quote(s->db, id, &a, &e))
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:o, s:I, s:I}", "user_id", jsonx_from_id(id), "user_money",
                              (json_int_t)a.money, "user_score", (json_int_t)a.score));
}

const struct http_route user_routes[] = {{.method = "POST",
                                          .pattern = "/internal/wallet/try",
                                          .handler = on_try,
                                          .flags = HTTP_INTERNAL | HTTP_JSON},
                                         {.method = "GET",
                                          .pattern = "/internal/quote/user/{id}",
                                          .handler = on_quote,
                                          .flags = HTTP_INTERNAL},
                                         {0}};
