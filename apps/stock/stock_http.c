/* stock's HTTP: JSON in, repository, JSON out.
 *
 *   POST /internal/stock/try          {order_id, expires_at (Unix ms), items: [{goods_id, qty}] 1..5}
 *                                     200 {duplicate}; 404 20001; 409 20003 20006 20007; 429 20008
 *   GET  /internal/quote/goods?ids=1,2   200 {goods: [{goods_id, goods_name, goods_price, available}]};
 *                                     404 20001. `available` is a hint: only the try decides.
 *
 * Runs on HTTP workers. A try may be repeated by its caller: the answer then says duplicate.
 */
#include "apps/stock/stock.h"

#include "apps/common/ids.h"

#include <stdlib.h>

struct failpoint stock_failpoints[STOCK_FP_COUNT] = {
#define FAILPOINT_DEF(id, text, what) [id] = {.name = text, .meaning = what},
#include "apps/stock/failpoints.def"
#undef FAILPOINT_DEF
};

static int by_goods(const void *a, const void *b)
{
    const int64_t x = ((const struct stock_line *)a)->goods_id,
                  y = ((const struct stock_line *)b)->goods_id;
    return (x > y) - (x < y);
}

static int parse_try(const json_t *body, struct stock_try *t, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(body);
    t->order_id = jsonx_id(&r, "order_id");
    t->expires_at_ms = jsonx_int(&r, "expires_at", 1, INT64_C(1) << 46);
    t->n_lines = jsonx_array(&r, "items", 1, STOCK_LINES_MAX);
    for (size_t i = 0; i < t->n_lines; i++) {
        struct jsonx_reader item = jsonx_item(&r, "items", i);
        t->lines[i].goods_id = jsonx_id(&item, "goods_id");
        t->lines[i].qty = jsonx_int(&item, "qty", 1, INT32_MAX);
    }
    qsort(t->lines, t->n_lines, sizeof *t->lines, by_goods);
    for (size_t i = 1; i < t->n_lines; i++)
        if (t->lines[i].goods_id == t->lines[i - 1].goods_id)
            jsonx_complain(&r, "items", "goods %lld are listed twice",
                           (long long)t->lines[i].goods_id);
    return jsonx_end(&r, e);
}

static void on_try(void *arg, struct http_req *rq)
{
    const struct stock *s = arg;
    struct stock_try t = {.order_id = 0};
    struct app_error e;
    int rc = parse_try(http_json(rq), &t, &e);
    if (rc == APP_OK && FAILPOINT(stock_failpoints[FP_STOCK_TRY_BEFORE_TX]))
        rc = app_fail(&e, APP_E_DOWN, "failpoint");
    if (rc == APP_OK)
        rc = stock_group_try(s->group, &t, &e);
    if (rc == APP_OK && FAILPOINT(stock_failpoints[FP_STOCK_TRY_AFTER_TX]))
        rc = app_fail(&e, APP_E_UNKNOWN, "failpoint");
    if (rc)
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:b}", "duplicate", t.duplicate));
}

static void on_quote(void *arg, struct http_req *rq)
{
    const struct stock *s = arg;
    int64_t ids[STOCK_LINES_MAX];
    struct stock_goods goods[STOCK_LINES_MAX];
    struct app_error e;
    const size_t n = id_parse_list(http_query(rq, "ids"), ids, STOCK_LINES_MAX);
    if (n == 0) {
        http_refuse(rq, CODE_BAD_PARAMETER, "ids: expected 1 to %d ids with commas between them",
                    STOCK_LINES_MAX);
        return;
    }
    if (stock_quote(s->db, ids, n, goods, &e)) {
        http_error(rq, &e);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:I, s:I}", "goods_id", jsonx_from_id(goods[i].goods_id),
                            "goods_name", goods[i].name, "goods_price", (json_int_t)goods[i].price,
                            "available", (json_int_t)goods[i].available));
    http_ok(rq, json_pack("{s:o}", "goods", list));
}

const struct http_route stock_routes[] = {{.method = "POST",
                                           .pattern = "/internal/stock/try",
                                           .handler = on_try,
                                           .flags = HTTP_INTERNAL | HTTP_JSON},
                                          {.method = "GET",
                                           .pattern = "/internal/quote/goods",
                                           .handler = on_quote,
                                           .flags = HTTP_INTERNAL},
                                          {0}};
