/* Calls to the participants: quotes before anything is written, tries afterwards.
 *
 * A quote is a hint that refuses hopeless orders early and cheaply; only the try decides. A try is
 * idempotent at its participant (barrier), so a timeout is followed by one more attempt; what is still
 * unknown then is unknown, and the caller aborts: the cancellation undoes the try or forbids it.
 *
 * Every try carries expires_at, the order's saga deadline: a call that lay somewhere for too long is
 * refused even where its cancellation has not arrived. Runs on: HTTP workers, blocking. */
#include "apps/order/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/http_client.h"

/* 0: the envelope says success, *data is its data (borrowed from out). */
static int call(const struct http_call *c, struct http_answer *out, const json_t **data,
                struct app_error *e)
{
    const int rc = http_do(c, out, e);
    if (rc != 0)
        return rc;
    if (out->json == NULL || out->data == NULL)
        return app_fail(e, APP_E_PROTO, "%s %s: status %d without the shop's envelope", c->method,
                        c->url, out->status);
    if (!out->success && (out->status >= 500 || out->code == CODE_STOCK_BUSY))
        return app_fail(e, APP_E_BUSY, "%s: %s", c->url, out->message);
    if (!out->success)
        return app_refuse(e, out->code, "%s", "");
    *data = out->data;
    return 0;
}

static int get(const struct order_app *a, const char *traceparent, const char *url,
               struct http_answer *out, const json_t **data, struct app_error *e)
{
    const struct http_call c = {.method = "GET",
                                .url = url,
                                .traceparent = traceparent,
                                .timeout_ms = a->rpc_ms,
                                .retry_on_timeout = true};
    return call(&c, out, data, e);
}

/* --- quotes --- */

static int check_goods(struct order *o, const json_t *data, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(data);
    const size_t n = jsonx_array(&r, "goods", o->n_items, o->n_items);
    int64_t line = 0;
    for (size_t i = 0; i < n; i++) {
        struct jsonx_reader g = jsonx_item(&r, "goods", i);
        const int64_t id = jsonx_id(&g, "goods_id"), price = jsonx_money(&g, "goods_price");
        const int64_t available = jsonx_int(&g, "available", 0, INT64_MAX);
        for (size_t k = 0; k < o->n_items; k++) {
            if (o->items[k].goods_id != id)
                continue;
            if (o->items[k].goods_price != price)
                return app_refuse(e, CODE_GOODS_PRICE, "goods %lld cost %lld", (long long)id,
                                  (long long)price);
            if (available < o->items[k].qty)
                return app_refuse(e, CODE_STOCK_SHORT, "goods %lld", (long long)id);
            if (!money_mul(price, o->items[k].qty, &line) ||
                !money_add(o->goods_amount, line, &o->goods_amount))
                return app_refuse(e, CODE_ORDER_AMOUNT, "more than any order may cost");
        }
    }
    const int rc = jsonx_end(&r, e);
    return rc != 0 ? app_wrap(e, APP_E_PROTO, "stock's quote") : 0;
}

static int quote_goods(const struct order_app *a, struct order *o, const char *traceparent,
                       struct app_error *e)
{
    char url[512];
    int n = snprintf(url, sizeof url, "%s/internal/quote/goods?ids=", a->stock_url);
    for (size_t i = 0; i < o->n_items; i++)
        n += snprintf(url + n, sizeof url - (size_t)n, "%s%lld", i > 0 ? "," : "",
                      (long long)o->items[i].goods_id);
    struct http_answer answer = {0};
    const json_t *data = NULL;
    int rc = get(a, traceparent, url, &answer, &data, e);
    o->goods_amount = 0;
    if (rc == 0)
        rc = check_goods(o, data, e);
    http_answer_free(&answer);
    return rc;
}

static int quote_coupon(const struct order_app *a, struct order *o, const char *traceparent,
                        struct app_error *e)
{
    if (o->coupon_id == 0)
        return 0;
    char url[512];
    snprintf(url, sizeof url, "%s/internal/quote/coupon/%lld?user_id=%lld&goods_amount=%lld",
             a->coupon_url, (long long)o->coupon_id, (long long)o->user_id,
             (long long)o->goods_amount);
    struct http_answer answer = {0};
    const json_t *data = NULL;
    int rc = get(a, traceparent, url, &answer, &data, e);
    if (rc == 0) {
        struct jsonx_reader r = jsonx_reader(data);
        o->coupon_paid = jsonx_money(&r, "coupon_paid");
        if (jsonx_end(&r, e) != 0)
            rc = app_wrap(e, APP_E_PROTO, "coupon's quote");
    }
    http_answer_free(&answer);
    return rc;
}

static int quote_user(const struct order_app *a, const struct order *o, const char *traceparent,
                      struct app_error *e)
{
    char url[512];
    snprintf(url, sizeof url, "%s/internal/quote/user/%lld", a->user_url, (long long)o->user_id);
    struct http_answer answer = {0};
    const json_t *data = NULL;
    int rc = get(a, traceparent, url, &answer, &data, e);
    if (rc == 0) {
        struct jsonx_reader r = jsonx_reader(data);
        const int64_t money = jsonx_money(&r, "user_money");
        if (jsonx_end(&r, e) != 0)
            rc = app_wrap(e, APP_E_PROTO, "user's quote");
        else if (money < o->money_paid)
            rc = app_refuse(e, CODE_BALANCE_SHORT, "%s", "");
    }
    http_answer_free(&answer);
    return rc;
}

/* The sums of the request against the sums of the quotes. */
static int check_amounts(struct order *o, struct app_error *e)
{
    const int64_t fee = shipping_fee_of(o->goods_amount);
    if (o->shipping_fee != fee)
        return app_refuse(e, CODE_ORDER_SHIPPING, "it is %lld", (long long)fee);
    if (o->order_amount != o->goods_amount + fee)
        return app_refuse(e, CODE_ORDER_AMOUNT, "it is %lld", (long long)(o->goods_amount + fee));
    o->pay_amount = o->order_amount - o->coupon_paid - o->money_paid;
    if (o->pay_amount < 0)
        return app_refuse(e, CODE_MONEY_INVALID, "at most %lld",
                          (long long)(o->order_amount - o->coupon_paid));
    return 0;
}

int peers_quote(const struct order_app *a, struct order *o, const char *traceparent,
                struct app_error *e)
{
    if (o->money_paid < 0)
        return app_refuse(e, CODE_MONEY_NEGATIVE, "%s", "");
    int rc = quote_goods(a, o, traceparent, e);
    if (rc == 0)
        rc = quote_coupon(a, o, traceparent, e);
    if (rc == 0)
        rc = quote_user(a, o, traceparent, e);
    return rc != 0 ? rc : check_amounts(o, e);
}

/* --- tries --- */

/* Takes body. *answered (may be NULL): one integer member of the answer. */
static int post_try(const struct order_app *a, const char *base, const char *path, json_t *body,
                    const char *traceparent, const char *member, int64_t *answered,
                    struct app_error *e)
{
    char url[512];
    snprintf(url, sizeof url, "%s%s", base, path);
    const struct http_call c = {.method = "POST",
                                .url = url,
                                .json = body,
                                .traceparent = traceparent,
                                .timeout_ms = a->rpc_ms,
                                .retry_on_timeout = true};
    struct http_answer answer = {0};
    const json_t *data = NULL;
    const int again = FAILPOINT(order_fp[FP_ORDER_TRY_AGAIN]) ? 2 : 0;
    int rc = body != NULL ? call(&c, &answer, &data, e) : app_fail(e, APP_E_NOMEM, "%s", path);
    for (int i = 0; rc == 0 && i < again; i++) {
        http_answer_free(&answer);
        rc = call(&c, &answer, &data, e);
    }
    if (rc == 0 && answered != NULL) {
        struct jsonx_reader r = jsonx_reader(data);
        *answered = jsonx_money(&r, member);
        if (jsonx_end(&r, e) != 0)
            rc = app_wrap(e, APP_E_PROTO, "%s", path);
    }
    http_answer_free(&answer);
    json_decref(body);
    return rc;
}

int peers_try_stock(const struct order_app *a, const struct order *o, const char *traceparent,
                    struct app_error *e)
{
    json_t *const items = json_array();
    for (size_t i = 0; i < o->n_items; i++)
        json_array_append_new(items, json_pack("{s:o, s:I}", "goods_id",
                                               jsonx_from_id(o->items[i].goods_id), "qty",
                                               (json_int_t)o->items[i].qty));
    json_t *const body = json_pack("{s:o, s:I, s:o}", "order_id", jsonx_from_id(o->order_id),
                                   "expires_at", (json_int_t)o->saga_deadline_ms, "items", items);
    return post_try(a, a->stock_url, "/internal/stock/try", body, traceparent, NULL, NULL, e);
}

int peers_try_coupon(const struct order_app *a, const struct order *o, const char *traceparent,
                     struct app_error *e)
{
    int64_t paid = 0;
    json_t *const body = json_pack(
        "{s:o, s:o, s:o, s:I, s:I}", "order_id", jsonx_from_id(o->order_id), "user_id",
        jsonx_from_id(o->user_id), "coupon_id", jsonx_from_id(o->coupon_id), "goods_amount",
        (json_int_t)o->goods_amount, "expires_at", (json_int_t)o->saga_deadline_ms);
    const int rc = post_try(a, a->coupon_url, "/internal/coupon/try", body, traceparent,
                            "coupon_paid", &paid, e);
    if (rc == 0 &&
        paid !=
            o->coupon_paid) /* it changed since the quote; the order was priced with the old value */
        return app_refuse(e, CODE_COUPON_INVALID, "its value has changed");
    return rc;
}

int peers_try_wallet(const struct order_app *a, const struct order *o, const char *traceparent,
                     struct app_error *e)
{
    json_t *const body =
        json_pack("{s:o, s:o, s:I, s:I}", "order_id", jsonx_from_id(o->order_id), "user_id",
                  jsonx_from_id(o->user_id), "amount", (json_int_t)o->money_paid, "expires_at",
                  (json_int_t)o->saga_deadline_ms);
    return post_try(a, a->user_url, "/internal/wallet/try", body, traceparent, NULL, NULL, e);
}
