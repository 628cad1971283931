/* HTTP: requests in, answers out. Parsing and answering only; what happens is payment_pay.c's.
 *
 *   POST /v1/payments            {order_id, channel}: 201 {pay_id, pay_amount, provider_url}, 200 when the
 *                                order has an open payment; 404 10006; 409 70002 70008; 503 70004.
 *                                One open payment per order makes it repeatable, with any key.
 *   GET  /v1/payments/{id}       {is_paid, state, settled, ...}; 404 70001
 *   POST /v1/payments/callback   the provider's signed form: SUCCESS, or FAIL so that it repeats:
 *                                401 signature, 400 malformed, 404 unknown, 409 other money, 503 not now
 *
 * The signature covers every parameter and is compared before anything else is looked at. There is no time
 * window: providers repeat for a day, and a replay finds the payment recorded. Bodies and the key are
 * never logged. Runs on: HTTP workers. */
#include "apps/payment/payment.h"

#include <stdlib.h>
#include <string.h>

static json_t *payment_json(const struct payment *p)
{
    return json_pack("{s:o, s:o, s:I, s:i, s:s, s:b, s:b}", "pay_id", jsonx_from_id(p->pay_id),
                     "order_id", jsonx_from_id(p->order_id), "pay_amount", (json_int_t)p->amount,
                     "is_paid", (int)p->state, "state", pay_state_text(p->state), "settled",
                     pay_is_settled(p->state, p->acks), "suspect", p->suspect);
}

/* --- POST /v1/payments --- */

static int parse_create(const struct http_req *rq, int64_t *order_id, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    *order_id = jsonx_id(&r, "order_id");
    if (strcmp(jsonx_text(&r, "channel", 1, 32), "thirdpay") != 0)
        jsonx_complain(&r, "channel", "expected \"thirdpay\", the one channel there is");
    return jsonx_end(&r, e);
}

static void create_payment(void *arg, struct http_req *rq)
{
    struct payment_app *a = arg;
    int64_t order_id = 0;
    struct created created;
    struct app_error e = {0};
    if (parse_create(rq, &order_id, &e) != 0 ||
        pay_create(a, order_id, http_traceparent(rq), &created, &e) != 0) {
        http_error(rq, &e);
        return;
    }
    json_t *const data = payment_json(&created.payment);
    json_object_set_new(data, "provider_url",
                        created.pay_url != NULL ? json_string(created.pay_url) : json_null());
    http_ok_status(rq, created.is_new ? 201 : 200, data);
    free(created.pay_url);
}

/* --- GET /v1/payments/{id} --- */

static void get_payment(void *arg, struct http_req *rq)
{
    const struct payment_app *a = arg;
    int64_t id = 0;
    struct payment p = {0};
    bool found = false;
    struct app_error e = {0};
    if (!http_path_id(rq, "id", &id))
        return;
    if (pay_repo_load(a->db, id, &p, &found, &e) != 0)
        http_error(rq, &e);
    else if (!found)
        http_refuse(rq, CODE_PAY_NOT_FOUND, "%s", "");
    else
        http_ok(rq, payment_json(&p));
}

/* --- POST /v1/payments/callback --- */

static bool parse_amount(const char *s, int64_t *out)
{
    if (s == NULL || *s < '0' || *s > '9' || strlen(s) > 18 || strspn(s, "0123456789") != strlen(s))
        return false;
    *out = strtoll(s, NULL, 10);
    return true;
}

static bool parse_callback(const struct http_req *rq, struct callback *cb)
{
    const char *const id = http_form_value(rq, "out_trade_no"), *const status =
                                                                    http_form_value(rq, "status");
    cb->provider_txn_id = http_form_value(rq, "provider_txn_id");
    cb->currency = http_form_value(rq, "currency");
    return id != NULL && id_parse(id, &cb->pay_id) &&
           parse_amount(http_form_value(rq, "amount"), &cb->amount) && cb->currency != NULL &&
           cb->provider_txn_id != NULL && cb->provider_txn_id[0] != '\0' &&
           strlen(cb->provider_txn_id) < PROVIDER_TXN_MAX && status != NULL &&
           strcmp(status, "CAPTURED") == 0;
}

static void fail(struct http_req *rq, int status, const char *event, const char *why)
{
    log_warn(event, "status=%d error=%s", status, app_log_value(why));
    http_text(rq, status, "text/plain", "FAIL");
}

static void callback(void *arg, struct http_req *rq)
{
    struct payment_app *a = arg;
    const struct sign_param *form = NULL;
    const size_t n = http_form(rq, &form);
    struct callback cb = {0};
    struct app_error e = {0};
    if (!sign_verify(a->sign_key, form, n))
        fail(rq, code_http(CODE_PAY_SIGNATURE), "callback_forged", code_text(CODE_PAY_SIGNATURE));
    else if (!parse_callback(rq, &cb))
        fail(rq, code_http(CODE_BAD_PARAMETER), "callback_malformed",
             "a parameter is missing or wrong");
    else if (pay_callback(a, &cb, http_traceparent(rq), &e) != 0)
        fail(rq, code_http(e.kind == APP_E_REFUSED ? e.code : CODE_MQ_SEND), "callback_refused",
             e.text);
    else
        http_text(rq, 200, "text/plain", "SUCCESS");
}

const struct http_route payment_routes[] = {
    {"POST", "/v1/payments", create_payment, HTTP_JSON | HTTP_IDEMPOTENT, 0},
    {"POST", "/v1/payments/callback", callback, HTTP_FORM, 16384},
    {"GET", "/v1/payments/{id}", get_payment, 0, 0},
    {NULL, NULL, NULL, 0, 0},
};
