/* HTTP: requests in, answers out. Parsing and answering only; what happens is order_saga.c's.
 *
 * A request is identified by (user, Idempotency-Key). The same key with the same content answers how the
 * first one stands, with other content 422; nothing is ever started twice. Money in cents, ids as decimal
 * strings. Runs on: HTTP workers. */
#include "apps/order/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QTY_MAX = 1000, PAGE_MAX = 100, VERDICTS_MAX = 100 };

/* --- answers --- */

static json_t *order_json(const struct order *o)
{
    return json_pack(
        "{s:o, s:i, s:s, s:i, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:s, s:s}", "order_id",
        jsonx_from_id(o->order_id), "order_status", (int)o->status, "state",
        order_status_text(o->status), "pay_status", (int)o->pay_status, "goods_amount",
        (json_int_t)o->goods_amount, "shipping_fee", (json_int_t)o->shipping_fee, "order_amount",
        (json_int_t)o->order_amount, "coupon_id", jsonx_from_id_or_null(o->coupon_id),
        "coupon_paid", (json_int_t)o->coupon_paid, "money_paid", (json_int_t)o->money_paid,
        "pay_amount", (json_int_t)o->pay_amount, "pay_id", jsonx_from_id_or_null(o->pay_id),
        "pay_deadline", o->pay_deadline, "add_time", o->add_time);
}

static json_t *brief_json(const struct order *o)
{
    json_t *const j = json_pack("{s:o, s:i}", "order_id", jsonx_from_id(o->order_id),
                                "order_status", (int)o->status);
    if (o->status == ORDER_CONFIRMED) {
        json_object_set_new(j, "pay_amount", json_integer(o->pay_amount));
        json_object_set_new(j, "pay_deadline", json_string(o->pay_deadline));
    }
    return j;
}

static void answer_state(struct http_req *rq, const struct order *o)
{
    switch (o->status) {
    case ORDER_CONFIRMED:
        http_ok_status(rq, 201, brief_json(o));
        return;
    case ORDER_CANCELLING:
    case ORDER_CANCELLED: /* without a code it was confirmed, and cancelled afterwards */
        http_refuse_data(rq, o->fail_code != 0 ? o->fail_code : CODE_ORDER_STATE, brief_json(o),
                         "%s", o->fail_code != 0 ? "" : order_status_text(o->status));
        return;
    case ORDER_PENDING:
    case ORDER_INVALID:
        http_refuse_data(rq, CODE_ORDER_IN_PROGRESS, brief_json(o), "%s", "");
        return;
    }
}

/* --- POST /v1/orders --- */

static void hash_request(struct order *o)
{
    char text[1200];
    int n = snprintf(text, sizeof text, "%lld|%lld|%lld|%lld|%lld|%s|%s", (long long)o->user_id,
                     (long long)o->coupon_id, (long long)o->money_paid, (long long)o->shipping_fee,
                     (long long)o->order_amount, o->address, o->consignee);
    for (size_t i = 0; i < o->n_items && n > 0 && (size_t)n < sizeof text; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "|%lld:%lld:%lld",
                      (long long)o->items[i].goods_id, (long long)o->items[i].qty,
                      (long long)o->items[i].goods_price);
    APP_ASSERT(n > 0 && (size_t)n < sizeof text);
    sign_sha256(text, (size_t)n, o->req_hash);
}

static void parse_items(struct jsonx_reader *r, struct order *o)
{
    o->n_items = jsonx_array(r, "items", 1, ORDER_ITEMS_MAX);
    for (size_t i = 0; i < o->n_items; i++) {
        struct jsonx_reader item = jsonx_item(r, "items", i);
        o->items[i].goods_id = jsonx_id(&item, "goods_id");
        o->items[i].qty = jsonx_int(&item, "qty", 1, QTY_MAX);
        o->items[i].goods_price = jsonx_money(&item, "goods_price");
        for (size_t k = 0; k < i; k++)
            if (o->items[k].goods_id == o->items[i].goods_id)
                jsonx_complain(&item, "goods_id", "the same goods twice; add the quantities");
    }
}

static int parse_order(const struct http_req *rq, struct order *o, struct app_error *e)
{
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    *o = (struct order){.user_id = jsonx_id(&r, "user_id"),
                        .coupon_id = jsonx_id_or(&r, "coupon_id", 0)};
    parse_items(&r, o);
    o->money_paid = jsonx_int_or(&r, "money_paid", -MONEY_MAX, MONEY_MAX, 0);
    o->shipping_fee = jsonx_money(&r, "shipping_fee");
    o->order_amount = jsonx_money(&r, "order_amount");
    snprintf(o->address, sizeof o->address, "%s",
             jsonx_text(&r, "address", 1, sizeof o->address - 1));
    snprintf(o->consignee, sizeof o->consignee, "%s",
             jsonx_text(&r, "consignee", 1, sizeof o->consignee - 1));
    snprintf(o->client_req_id, sizeof o->client_req_id, "%s", http_idempotency_key(rq));
    hash_request(o);
    return jsonx_end(&r, e);
}

/* true: the key is known and the request is answered. */
static bool answered_before(struct order_app *a, struct http_req *rq, const struct order *o)
{
    struct order known = {0};
    bool found = false;
    struct app_error e = {0};
    if (repo_find_request(a->db, o->user_id, o->client_req_id, &known, &found, &e) != 0) {
        http_error(rq, &e);
        return true;
    }
    if (!found)
        return false;
    if (memcmp(known.req_hash, o->req_hash, sizeof o->req_hash) != 0)
        http_refuse(rq, CODE_ORDER_KEY_REUSED, "%s", "");
    else
        answer_state(rq, &known);
    return true;
}

static void place_order(void *arg, struct http_req *rq)
{
    struct order_app *a = arg;
    struct order o;
    struct app_error e = {0};
    enum placed placed = PLACED_OPEN;
    const char *const traceparent = http_traceparent(rq);
    if (parse_order(rq, &o, &e) != 0) {
        http_error(rq, &e);
        return;
    }
    if (answered_before(a, rq, &o))
        return;
    int rc = peers_quote(a, &o, traceparent, &e);
    if (rc == 0)
        rc = saga_place(a, &o, traceparent, &placed, &e);
    if (rc != 0) {
        /* a twin with the same key may have been faster: then its state is the answer */
        if (e.code != CODE_ORDER_SAVE || !answered_before(a, rq, &o))
            http_error(rq, &e);
        return;
    }
    if (placed == PLACED_REFUSED)
        http_refuse_data(rq, e.code, brief_json(&o), "%s", "");
    else if (placed == PLACED_OPEN)
        http_refuse_data(rq, CODE_ORDER_IN_PROGRESS, brief_json(&o), "%s", "");
    else
        http_ok_status(rq, 201, brief_json(&o));
}

/* --- reading --- */

/* A pending or failed order is its creator's business alone: ?user_id= must be his. */
static bool may_see(const struct http_req *rq, const struct order *o)
{
    int64_t asker = 0;
    const char *const text = http_query(rq, "user_id");
    return (o->status != ORDER_PENDING && o->status != ORDER_INVALID) ||
           (text != NULL && id_parse(text, &asker) && asker == o->user_id);
}

static void get_order(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    int64_t id;
    struct order o = {0};
    bool found = false;
    struct app_error e = {0};
    if (!http_path_id(rq, "id", &id))
        return;
    if (repo_load(a->db, id, &o, &found, &e) != 0) {
        http_error(rq, &e);
        return;
    }
    if (!found || !may_see(rq, &o)) {
        http_refuse(rq, CODE_ORDER_NOT_FOUND, "%s", "");
        return;
    }
    json_t *const data = order_json(&o), *const items = json_array();
    for (size_t i = 0; i < o.n_items; i++)
        json_array_append_new(items, json_pack("{s:o, s:I, s:I}", "goods_id",
                                               jsonx_from_id(o.items[i].goods_id), "qty",
                                               (json_int_t)o.items[i].qty, "goods_price",
                                               (json_int_t)o.items[i].goods_price));
    json_object_set_new(data, "items", items);
    http_ok(rq, data);
}

static void list_orders(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    int64_t user, before = 0;
    struct app_error e = {0};
    const char *const cursor = http_query(rq, "cursor");
    if (!http_path_id(rq, "id", &user))
        return;
    if (cursor != NULL && !id_parse(cursor, &before)) {
        http_refuse(rq, CODE_BAD_PARAMETER, "cursor: expected the order_id a page ended with");
        return;
    }
    struct order *const page = calloc(PAGE_MAX, sizeof *page);
    size_t n = 0;
    if (page == NULL || repo_list(a->db, user, before, page, PAGE_MAX, &n, &e) != 0) {
        if (page == NULL)
            app_fail(&e, APP_E_NOMEM, "a page of orders");
        http_error(rq, &e);
    } else {
        json_t *const orders = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(orders, order_json(&page[i]));
        http_ok(rq, json_pack("{s:o, s:o}", "orders", orders, "next_cursor",
                              jsonx_from_id_or_null(n == PAGE_MAX ? page[n - 1].order_id : 0)));
    }
    free(page);
}

/* --- POST /v1/orders/{id}/cancel --- */

static void cancel_order(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    int64_t id = 0;
    struct app_error e = {0};
    if (!http_path_id(rq, "id", &id))
        return;
    struct jsonx_reader r = jsonx_reader(http_json(rq));
    const int64_t user = jsonx_id(&r, "user_id");
    const char *const reason = jsonx_text_or(&r, "reason", ENVELOPE_REASON_MAX, "by the user");
    if (jsonx_end(&r, &e) != 0 ||
        order_cancel(a, id, user, reason, http_traceparent(rq), &e) != 0) {
        http_error(rq, &e);
        return;
    }
    const struct order o = {.order_id = id, .status = ORDER_CANCELLING};
    http_ok_status(rq, 202, brief_json(&o));
}

/* --- for services and operators --- */

static void verdicts(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    int64_t ids[VERDICTS_MAX];
    json_t *out = NULL;
    struct app_error e = {0};
    const size_t n = id_parse_list(http_query(rq, "ids"), ids, VERDICTS_MAX);
    if (n == 0)
        http_refuse(rq, CODE_BAD_PARAMETER, "ids: expected 1 to %d ids with commas between them",
                    VERDICTS_MAX);
    else if (repo_verdicts(a->db, ids, n, &out, &e) != 0)
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:o}", "verdicts", out));
}

/* A number from 0 to max; dflt when the parameter is absent; -2 when it is no number. */
static int64_t query_number(const struct http_req *rq, const char *name, int64_t max, int64_t dflt)
{
    const char *const s = http_query(rq, name);
    if (s == NULL)
        return dflt;
    if (*s == '\0' || strlen(s) > 9 || strspn(s, "0123456789") != strlen(s))
        return -2;
    const int64_t v = strtoll(s, NULL, 10);
    return v <= max ? v : -2;
}

static void sagas(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    const int64_t state = query_number(rq, "state", 5, -1),
                  older = query_number(rq, "older", 999999999, 0);
    json_t *out = NULL;
    struct app_error e = {0};
    if (state == -2 || older == -2)
        http_refuse(rq, CODE_BAD_PARAMETER, "expected state 0 to 5 and older in seconds");
    else if (repo_sagas(a->db, (int)state, older, &out, &e) != 0)
        http_error(rq, &e);
    else
        http_ok(rq, json_pack("{s:o}", "sagas", out));
}

/* --- POST /internal/orders/{id}/pay-intent --- */

static void pay_intent(void *arg, struct http_req *rq)
{
    const struct order_app *a = arg;
    int64_t id;
    struct pay_intent intent = {0};
    struct app_error e = {0};
    if (!http_path_id(rq, "id", &id))
        return;
    if (repo_pay_intent(a->db, id, a->pay_margin_ms, &intent, &e) != 0)
        http_error(rq, &e);
    else
        http_ok(rq,
                json_pack("{s:o, s:I, s:s}", "user_id", jsonx_from_id(intent.user_id), "pay_amount",
                          (json_int_t)intent.pay_amount, "pay_deadline", intent.pay_deadline));
}

const struct http_route order_routes[] = {
    {"POST", "/v1/orders", place_order, HTTP_JSON | HTTP_IDEMPOTENT, 0},
    {"GET", "/v1/orders/{id}", get_order, 0, 0},
    {"GET", "/v1/users/{id}/orders", list_orders, 0, 0},
    {"POST", "/v1/orders/{id}/cancel", cancel_order, HTTP_JSON | HTTP_IDEMPOTENT, 0},
    {"GET", "/internal/orders/verdict", verdicts, HTTP_INTERNAL, 0},
    {"GET", "/admin/sagas", sagas, HTTP_INTERNAL, 0},
    {"POST", "/internal/orders/{id}/pay-intent", pay_intent, HTTP_JSON | HTTP_INTERNAL, 0},
    {NULL, NULL, NULL, 0, 0},
};
