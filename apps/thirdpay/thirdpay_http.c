/* The provider's HTTP.
 *
 * The merchant's API, JSON in and out; a refusal is {"error": text}:
 *   POST /v1/charges                 {out_trade_no, amount, currency, notify_url, expires_at?}: 201, or 200
 *                                    when it is there; 409 over other money
 *   GET  /v1/charges/{no}            200; 404
 *   POST /v1/charges/{no}/close      200 closed; 404; 409 captured already
 *   POST /v1/charges/{no}/refund     {refund_key, amount}: 200; 404; 409
 * The payer's side:
 *   GET  /pay/{no}                   a page with a button
 *   POST /pay/{no}                   what the button does: captures, answers a page
 *   POST /v1/charges/{no}/capture    the same for scripts, answers JSON; 404; 409 closed or expired
 * The internal port:
 *   GET, POST /admin/switches        see switches.def; POST sets the members it names
 *
 * Runs on: HTTP workers. Charges are numbered by the merchant, which makes every call repeatable. */
#include "apps/thirdpay/thirdpay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct failpoint thirdpay_fp[THIRDPAY_FP_COUNT] = {
#define FAILPOINT_DEF(id, name_, meaning_) [id] = {.name = name_, .meaning = meaning_},
#include "apps/thirdpay/failpoints.def"
#undef FAILPOINT_DEF
};

/* --- answers --- */

static void answer(struct http_req *rq, int status, json_t *j_take)
{
    char *text = j_take != NULL ? json_dumps(j_take, JSON_COMPACT) : NULL;
    json_decref(j_take);
    http_text(rq, text != NULL ? status : 500, "application/json", text != NULL ? text : "{}");
    free(text);
}

static void answer_error(struct http_req *rq, const struct app_error *e)
{
    const int status = e->kind == APP_E_REFUSED   ? code_http(e->code)
                       : e->kind == APP_E_INVALID ? 400
                                                  : 503;
    if (status == 503)
        log_warn("unavailable", "error=%s", app_log_value(e->text));
    answer(rq, status,
           json_pack("{s:s, s:s}", "error",
                     e->kind == APP_E_REFUSED ? code_text(e->code) : app_errno_name(e->kind),
                     "detail", status == 503 ? "" : e->text));
}

static void answer_charge(struct thirdpay *t, struct http_req *rq, int status,
                          const struct tp_charge *c)
{
    char url[TP_URL_MAX + 64];
    const char *const host = http_header(rq, "Host");
    if (t->public_url[0] != '\0')
        (void)snprintf(url, sizeof url, "%s/pay/%lld", t->public_url, (long long)c->out_trade_no);
    else
        (void)snprintf(url, sizeof url, "http://%.255s/pay/%lld", host != NULL ? host : "localhost",
                       (long long)c->out_trade_no);
    answer(rq, status,
           json_pack("{s:o, s:s, s:I, s:s, s:s, s:I, s:s}", "out_trade_no",
                     jsonx_from_id(c->out_trade_no), "provider_txn_id", c->txn_id, "amount",
                     (json_int_t)c->amount, "currency", c->currency, "status", c->status,
                     "refunded", (json_int_t)c->refunded, "pay_url", url));
}

static int injected(struct app_error *e)
{
    return app_fail(e, APP_E_DOWN, "failpoint");
}

static void answer_result(struct thirdpay *t, struct http_req *rq, int rc,
                          const struct tp_charge *c, const struct app_error *e)
{
    if (rc != 0)
        answer_error(rq, e);
    else
        answer_charge(t, rq, 200, c);
}

/* --- the merchant's API --- */

static int parse_charge(struct thirdpay *t, const struct http_req *rq, struct tp_charge *c,
                        struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    *c = (struct tp_charge){.out_trade_no = jsonx_id(&r, "out_trade_no"),
                            .amount = jsonx_money(&r, "amount")};
    (void)snprintf(c->currency, sizeof c->currency, "%s", jsonx_text(&r, "currency", 3, 3));
    (void)snprintf(c->notify_url, sizeof c->notify_url, "%s",
                   jsonx_text(&r, "notify_url", 8, sizeof c->notify_url - 1));
    (void)snprintf(c->expires_at, sizeof c->expires_at, "%s",
                   jsonx_text_or(&r, "expires_at", sizeof c->expires_at - 1, ""));
    if (strncmp(c->notify_url, "http://", 7) != 0 && strncmp(c->notify_url, "https://", 8) != 0)
        jsonx_complain(&r, "notify_url", "expected an http or https URL");
    if (c->expires_at[0] != '\0' && !timing_rfc3339_valid(c->expires_at))
        jsonx_complain(&r, "expires_at", "expected an RFC 3339 time");
    int64_t id = 0;
    int rc = jsonx_end(&r, e);
    if (rc == 0 && (rc = ids_next(t->ids, &id, e)) == 0)
        (void)snprintf(c->txn_id, sizeof c->txn_id, "tp%lld", (long long)id);
    return rc;
}

/* The payer was faster than the answer to the merchant. */
static int capture_now(struct thirdpay *t, int64_t no, struct app_error *e)
{
    struct tp_notify due[1];
    struct tp_charge c;
    bool first = false;
    size_t n = 0;
    int rc = tp_capture(t, no, 0, false, &c, &first, e);
    if (rc == 0)
        rc = tp_notify_take(t->db, t->notify_ms + 1000, due, 1, &n, e);
    if (rc == 0 && n == 1)
        tp_notify_deliver(t, &due[0]);
    return rc;
}

static void create_charge(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge wanted, stored = {0};
    bool created = false;
    struct app_error e = {0};
    int rc = parse_charge(t, rq, &wanted, &e);
    if (rc == 0 && FAILPOINT(thirdpay_fp[FP_TP_CREATE_BEFORE_TX]))
        rc = injected(&e);
    if (rc == 0)
        rc = tp_create(t->db, &wanted, &stored, &created, &e);
    if (rc == 0 && created && tp_switch_use(&t->switches.capture_early))
        rc = capture_now(t, stored.out_trade_no, &e);
    if (rc == 0 && FAILPOINT(thirdpay_fp[FP_TP_CREATE_AFTER_TX]))
        rc = injected(&e);
    if (rc != 0)
        answer_error(rq, &e);
    else
        answer_charge(t, rq, created ? 201 : 200, &stored);
}

static void query_charge(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    bool found = false;
    struct app_error e = {0};
    if (!http_path_id(rq, "no", &no))
        return;
    int rc = tp_load(t->db, no, &c, &found, &e);
    if (rc == 0 && !found)
        rc = app_refuse(&e, CODE_PAY_NOT_FOUND, "%lld", (long long)no);
    answer_result(t, rq, rc, &c, &e);
}

static void close_charge(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    struct app_error e = {0};
    if (http_path_id(rq, "no", &no))
        answer_result(t, rq, tp_close(t->db, no, &c, &e), &c, &e);
}

static void refund_charge(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    struct app_error e = {0};
    if (!http_path_id(rq, "no", &no))
        return;
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    const char *const key = jsonx_text(&r, "refund_key", 1, 64);
    const int64_t amount = jsonx_money(&r, "amount");
    int rc = jsonx_end(&r, &e);
    if (rc == 0 && tp_switch_use(&t->switches.refund_error))
        rc = injected(&e);
    if (rc == 0 && tp_switch_use(&t->switches.refund_refused))
        rc = app_refuse(&e, CODE_PAY_REFUND, "charge %lld: told to", (long long)no);
    if (rc == 0)
        rc = tp_refund(t->db, no, key, amount, &c, &e);
    if (rc == 0 && FAILPOINT(thirdpay_fp[FP_TP_REFUND_AFTER_TX]))
        rc = injected(&e);
    answer_result(t, rq, rc, &c, &e);
}

/* --- the payer --- */

static int capture(struct thirdpay *t, int64_t no, struct tp_charge *c, struct app_error *e)
{
    bool first = false;
    const bool lose = tp_switch_use(&t->switches.lost),
               late = tp_switch_use(&t->switches.capture_late);
    const int rc = tp_capture(t, no, lose ? -1 : t->switches.delay_ms, late, c, &first, e);
    if (rc == 0)
        log_info("captured", "out_trade_no=%lld amount=%lld first=%d lost=%d", (long long)no,
                 (long long)c->amount, first, lose);
    if (lose && (rc != 0 || !first))
        t->switches.lost++;
    if (late && (rc != 0 || !first))
        t->switches.capture_late++;
    return rc;
}

static void capture_charge(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    struct app_error e = {0};
    if (http_path_id(rq, "no", &no))
        answer_result(t, rq, capture(t, no, &c, &e), &c, &e);
}

/* Everything shown is a number or a word of our own: nothing to escape. */
static void answer_page(struct http_req *rq, int status, const struct tp_charge *c,
                        const char *text)
{
    char page[1600];
    const bool open = strcmp(c->status, "OPEN") == 0;
    (void)snprintf(
        page, sizeof page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
        "<title>thirdpay</title><body style=\"font:16px sans-serif;max-width:30em;margin:3em auto\">"
        "<h1>thirdpay</h1><p>%s</p><p>Charge %lld over <b>%lld.%02lld</b></p>%s</body></html>\n",
        text, (long long)c->out_trade_no, (long long)(c->amount / 100),
        (long long)(c->amount % 100),
        open
            ? "<form method=\"post\"><button style=\"font:inherit;padding:.5em 2em\">Pay</button></form>"
            : "");
    http_text(rq, status, "text/html; charset=utf-8", page);
}

static const char *status_sentence(const struct tp_charge *c)
{
    return strcmp(c->status, "OPEN") == 0       ? "Waiting for your payment."
           : strcmp(c->status, "CAPTURED") == 0 ? "Paid. Thank you."
                                                : "This charge is closed.";
}

static void pay_page(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    bool found = false;
    struct app_error e = {0};
    if (!http_path_id(rq, "no", &no))
        return;
    if (tp_load(t->db, no, &c, &found, &e) != 0)
        answer_error(rq, &e);
    else if (!found)
        answer_page(rq, 404, &c, "There is no such charge.");
    else
        answer_page(rq, 200, &c, status_sentence(&c));
}

static void pay_button(void *arg, struct http_req *rq)
{
    struct thirdpay *t = arg;
    struct tp_charge c = {0};
    int64_t no = 0;
    struct app_error e = {0};
    if (!http_path_id(rq, "no", &no))
        return;
    const int rc = capture(t, no, &c, &e);
    if (rc == 0)
        answer_page(rq, 200, &c, status_sentence(&c));
    else if (rc == APP_E_REFUSED)
        answer_page(rq, code_http(e.code), &c, code_text(e.code));
    else
        answer_error(rq, &e);
}

/* --- switches --- */

static void show_switches(void *arg, struct http_req *rq)
{
    const struct tp_switches *s = &((struct thirdpay *)arg)->switches;
    json_t *const j = json_object();
#define SWITCH(name, max, meaning) json_object_set_new(j, #name, json_integer(s->name));
#include "apps/thirdpay/switches.def"
#undef SWITCH
    answer(rq, 200, j);
}

static void set_switches(void *arg, struct http_req *rq)
{
    struct tp_switches *s = &((struct thirdpay *)arg)->switches, next;
    struct jsonx_reader r = jsonx_reader(http_json(rq));
#define SWITCH(name, max, meaning) next.name = jsonx_int_or(&r, #name, 0, max, s->name);
#include "apps/thirdpay/switches.def"
#undef SWITCH
    struct app_error e = {0};
    if (jsonx_end(&r, &e) != 0) {
        answer_error(rq, &e);
        return;
    }
#define SWITCH(name, max, meaning) s->name = next.name;
#include "apps/thirdpay/switches.def"
#undef SWITCH
    show_switches(arg, rq);
}

const struct http_route thirdpay_routes[] = {
    {"POST", "/v1/charges", create_charge, HTTP_JSON, 0},
    {"GET", "/v1/charges/{no}", query_charge, 0, 0},
    {"POST", "/v1/charges/{no}/close", close_charge, 0, 0},
    {"POST", "/v1/charges/{no}/refund", refund_charge, HTTP_JSON, 0},
    {"POST", "/v1/charges/{no}/capture", capture_charge, 0, 0},
    {"GET", "/pay/{no}", pay_page, 0, 0},
    {"POST", "/pay/{no}", pay_button, 0, 0},
    {"GET", "/admin/switches", show_switches, HTTP_INTERNAL, 0},
    {"POST", "/admin/switches", set_switches, HTTP_JSON | HTTP_INTERNAL, 0},
    {NULL, NULL, NULL, 0, 0},
};
