/* The calls to the order service and to the payment provider.
 *
 * Every call here may be repeated: the intent is a compare-and-set that repeats itself, a charge is named
 * by our pay id, closing is final. So a timeout is tried once more, and after that "unknown" and "down"
 * mean the same to the caller: not now. Runs on: HTTP workers and message workers (blocking). */
#include "apps/payment/payment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/http_client.h"

enum { URL_MAX = 512 };

/* --- the order service --- */

/* A refusal keeps its code; an answer nobody understands is the peer's fault. */
static int refusal(const struct http_call *call, const struct http_answer *a, struct app_error *e)
{
    if (a->code == CODE_ORDER_NOT_FOUND || a->code == CODE_PAY_NOT_PAYABLE)
        return app_refuse(e, a->code, "%s", "");
    return app_fail(e, a->status >= 500 ? APP_E_DOWN : APP_E_PROTO, "%s: HTTP %d, code %d %s",
                    call->url, a->status, a->code, a->message);
}

int order_pay_intent(const struct payment_app *a, struct payment *p, const char *traceparent,
                     struct app_error *e)
{
    char url[URL_MAX];
    struct http_answer answer;
    (void)snprintf(url, sizeof url, "%s/internal/orders/%lld/pay-intent", a->order_url,
                   (long long)p->order_id);
    json_t *const body = json_pack("{s:o}", "pay_id", jsonx_from_id(p->pay_id));
    const struct http_call call = {.method = "POST",
                                   .url = url,
                                   .json = body,
                                   .traceparent = traceparent,
                                   .timeout_ms = a->rpc_ms,
                                   .retry_on_timeout = true};
    int rc = http_do(&call, &answer, e);
    json_decref(body);
    if (rc != 0)
        return rc;
    if (answer.success) {
        struct jsonx_reader r = jsonx_reader(answer.data);
        p->user_id = jsonx_id(&r, "user_id");
        p->amount = jsonx_money(&r, "pay_amount");
        (void)snprintf(p->pay_deadline, sizeof p->pay_deadline, "%s",
                       jsonx_text(&r, "pay_deadline", 1, sizeof p->pay_deadline - 1));
        rc = jsonx_end(&r, e) != 0 ? app_wrap(e, APP_E_PROTO, "answer of %s", url) : 0;
    } else {
        rc = refusal(&call, &answer, e);
    }
    http_answer_free(&answer);
    return rc;
}

/* --- the provider --- */

static json_t *charge_json(const struct payment_app *a, const struct payment *p)
{
    return json_pack("{s:o, s:I, s:s, s:s, s:s}", "out_trade_no", jsonx_from_id(p->pay_id),
                     "amount", (json_int_t)p->amount, "currency", a->currency, "notify_url",
                     a->notify_url, "expires_at", p->pay_deadline);
}

/* The provider's answers are JSON objects of its own making, not the shop's envelope. */
static int provider_call(const struct payment_app *a, const char *method, const char *path,
                         json_t *body_take, struct http_answer *out, struct app_error *e)
{
    char url[URL_MAX];
    (void)snprintf(url, sizeof url, "%s%s", a->provider_url, path);
    const struct http_call call = {.method = method,
                                   .url = url,
                                   .json = body_take,
                                   .timeout_ms = a->provider_ms,
                                   .retry_on_timeout = true};
    const int rc = http_do(&call, out, e);
    json_decref(body_take);
    return rc;
}

static const char *answer_text(const struct http_answer *a, const char *member)
{
    const char *s = json_string_value(json_object_get(a->json, member));
    return s != NULL ? s : "";
}

int provider_charge(const struct payment_app *a, const struct payment *p, char **pay_url,
                    struct app_error *e)
{
    struct http_answer answer;
    int rc = provider_call(a, "POST", "/v1/charges", charge_json(a, p), &answer, e);
    if (rc != 0)
        return rc;
    const char *const url = answer_text(&answer, "pay_url");
    if (answer.status / 100 != 2 || url[0] == '\0')
        rc = app_fail(e, answer.status >= 500 ? APP_E_DOWN : APP_E_PROTO,
                      "provider refused charge %lld: HTTP %d %s", (long long)p->pay_id,
                      answer.status, answer_text(&answer, "error"));
    else if ((*pay_url = strdup(url)) == NULL)
        rc = app_fail(e, APP_E_NOMEM, "provider's URL");
    http_answer_free(&answer);
    return rc;
}

int provider_close(const struct payment_app *a, int64_t pay_id, struct app_error *e)
{
    char path[64];
    struct http_answer answer;
    (void)snprintf(path, sizeof path, "/v1/charges/%lld/close", (long long)pay_id);
    int rc = provider_call(a, "POST", path, NULL, &answer, e);
    if (rc != 0)
        return rc;
    if (answer.status == 409)
        rc = app_refuse(e, CODE_PAY_IS_PAID, "the provider has captured payment %lld",
                        (long long)pay_id);
    else if (answer.status / 100 != 2 &&
             answer.status != 404) /* 404: a charge that never reached the provider */
        rc = app_fail(e, answer.status >= 500 ? APP_E_DOWN : APP_E_PROTO,
                      "provider would not close %lld: HTTP %d %s", (long long)pay_id, answer.status,
                      answer_text(&answer, "error"));
    http_answer_free(&answer);
    return rc;
}

static enum charge_state charge_state_of(const char *s)
{
    return strcmp(s, "CAPTURED") == 0 ? CHARGE_CAPTURED
           : strcmp(s, "CLOSED") == 0 ? CHARGE_CLOSED
           : strcmp(s, "OPEN") == 0   ? CHARGE_OPEN
                                      : CHARGE_UNKNOWN;
}

static int read_charge(const struct http_answer *answer, struct charge_info *out,
                       struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(answer->json);
    out->state = charge_state_of(jsonx_text(&r, "status", 1, 16));
    out->amount = jsonx_money(&r, "amount");
    (void)snprintf(out->currency, sizeof out->currency, "%s", jsonx_text(&r, "currency", 3, 3));
    (void)snprintf(out->provider_txn_id, sizeof out->provider_txn_id, "%s",
                   jsonx_text(&r, "provider_txn_id", 1, sizeof out->provider_txn_id - 1));
    if (jsonx_end(&r, e) == 0 && out->state == CHARGE_UNKNOWN)
        return app_fail(e, APP_E_PROTO, "a state that is none");
    return e->kind != 0 ? APP_E_PROTO : 0;
}

int provider_query(const struct payment_app *a, int64_t pay_id, struct charge_info *out,
                   struct app_error *e)
{
    char path[64];
    struct http_answer answer;
    *out = (struct charge_info){.state = CHARGE_UNKNOWN};
    (void)snprintf(path, sizeof path, "/v1/charges/%lld", (long long)pay_id);
    int rc = provider_call(a, "GET", path, NULL, &answer, e);
    if (rc != 0)
        return rc;
    *e = (struct app_error){.kind = 0};
    if (answer.status == 200 && answer.json != NULL)
        rc = read_charge(&answer, out, e) != 0
                 ? app_wrap(e, APP_E_PROTO, "provider's answer about %lld", (long long)pay_id)
                 : 0;
    else if (answer.status != 404)
        rc = app_fail(e, answer.status >= 500 ? APP_E_DOWN : APP_E_PROTO,
                      "provider says HTTP %d about %lld", answer.status, (long long)pay_id);
    http_answer_free(&answer);
    return rc;
}

int provider_refund(const struct payment_app *a, const struct payment *p, struct app_error *e)
{
    char path[64], key[ID_TEXT_MAX + 8];
    struct http_answer answer;
    (void)snprintf(path, sizeof path, "/v1/charges/%lld/refund", (long long)p->pay_id);
    (void)snprintf(key, sizeof key, "rf:%lld", (long long)p->pay_id);
    int rc = provider_call(
        a, "POST", path,
        json_pack("{s:s, s:I}", "refund_key", key, "amount", (json_int_t)p->amount), &answer, e);
    if (rc != 0)
        return rc;
    if (answer.status >= 500 || answer.status == 429)
        rc = app_fail(e, APP_E_DOWN, "provider cannot refund %lld now: HTTP %d",
                      (long long)p->pay_id, answer.status);
    else if (answer.status / 100 != 2)
        rc = app_refuse(e, CODE_PAY_REFUND, "provider: HTTP %d %s", answer.status,
                        answer_text(&answer, "detail"));
    http_answer_free(&answer);
    return rc;
}
