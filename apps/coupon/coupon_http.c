/* coupon's HTTP: JSON in, repository, JSON out.
 *
 *   POST /internal/coupon/try           {order_id, user_id, coupon_id, goods_amount, expires_at (Unix ms)}
 *                                       200 {coupon_paid, duplicate}; 404 40001; 409 20007 40002 40003 40006
 *   GET  /internal/quote/coupon/{id}?user_id=&goods_amount=
 *                                       200 {coupon_id, coupon_paid}; the refusals of try
 *
 * Runs on HTTP workers. A try may be repeated by its caller: the stored answer comes again.
 */
#include "apps/coupon/coupon.h"

#include "apps/common/ids.h"
#include "apps/common/money.h"

struct failpoint coupon_failpoints[COUPON_FP_COUNT] = {
#define FAILPOINT_DEF(id, text, what) [id] = {.name = text, .meaning = what},
#include "apps/coupon/failpoints.def"
#undef FAILPOINT_DEF
};

static int parse_try(const json_t *body, struct coupon_use *u, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(body);
    u->order_id = jsonx_id(&r, "order_id");
    u->user_id = jsonx_id(&r, "user_id");
    u->coupon_id = jsonx_id(&r, "coupon_id");
    u->goods_amount = jsonx_int(&r, "goods_amount", 1, MONEY_MAX);
    u->expires_at_ms = jsonx_int(&r, "expires_at", 1, INT64_C(1) << 46);
    return jsonx_end(&r, e);
}

static void on_try(void *arg, struct http_req *rq)
{
    const struct coupon *s = arg;
    struct coupon_use u = {.order_id = 0};
    struct app_error e;
    int rc = parse_try(http_json(rq), &u, &e);
    if (rc == APP_OK && FAILPOINT(coupon_failpoints[FP_COUPON_TRY_BEFORE_TX]))
        rc = app_fail(&e, APP_E_DOWN, "failpoint");
    if (rc == APP_OK)
        rc = coupon_try(s->db, &u, &e);
    if (rc == APP_OK && FAILPOINT(coupon_failpoints[FP_COUPON_TRY_AFTER_TX]))
        rc = app_fail(&e, APP_E_UNKNOWN, "failpoint");
    if (rc)
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:I, s:b}", "coupon_paid", (json_int_t)u.coupon_paid, "duplicate",
                              u.duplicate));
}

static void on_quote(void *arg, struct http_req *rq)
{
    const struct coupon *s = arg;
    struct coupon_use u = {.order_id = 0};
    struct app_error e;
    const char *user = http_query(rq, "user_id"), *amount = http_query(rq, "goods_amount");
    if (!http_path_id(rq, "id", &u.coupon_id))
        return;
    if (!user || !id_parse(user, &u.user_id) || !amount || !id_parse(amount, &u.goods_amount) ||
        !money_valid(u.goods_amount))
        http_refuse(rq, CODE_BAD_PARAMETER, "expected ?user_id=ID&goods_amount=CENTS");
    else if (coupon_quote(s->db, &u, &e))
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:o, s:I}", "coupon_id", jsonx_from_id(u.coupon_id), "coupon_paid",
                              (json_int_t)u.coupon_paid));
}

const struct http_route coupon_routes[] = {{.method = "POST",
                                            .pattern = "/internal/coupon/try",
                                            .handler = on_try,
                                            .flags = HTTP_INTERNAL | HTTP_JSON},
                                           {.method = "GET",
                                            .pattern = "/internal/quote/coupon/{id}",
                                            .handler = on_quote,
                                            .flags = HTTP_INTERNAL},
                                           {0}};
