/* Message bodies: struct envelope <-> JSON, and the table of events.
 *
 * Pure; any thread. Decoding checks the common members, then what the event's row in events.def
 * demands, then every optional member that is present: a present member of the wrong type is refused
 * even where it could be left out. Ids travel as decimal strings, money as integer cents, the coupon as
 * string or null. A body that fails here is parked at once (inbox.c): no retry makes it better.
 */
#include "apps/common/envelope.h"

#include "apps/common/ids.h"
#include "apps/common/jsonx.h"
#include "apps/common/money.h"
#include "apps/common/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum key_rule { KEY_ORDER, KEY_ORDER_BRANCH, KEY_PAY, KEY_PAY_BRANCH };

static const struct event_row {
    const char *name, *topic, *tag;
    enum key_rule key;
    unsigned must;
} events[EVENT_COUNT] = {
#define EVENT(name, topic, tag, key, must) [EVENT_##name] = {#name, topic, tag, KEY_##key, must},
#include "apps/common/events.def"
#undef EVENT
};

static const char *const branches[BRANCH_COUNT] = {"",    "stock",  "coupon", "balance",
                                                   "pay", "points", "log"};
static const char *const outcomes[OUTCOME_COUNT] = {"", "done", "empty", "duplicate"};

/* Optional members and how complaints call them. */
static const struct {
    unsigned bit;
    const char *member;
} members[] = {{ENV_USER, "user_id"},
               {ENV_PAY, "pay_id"},
               {ENV_AMOUNT, "amount"},
               {ENV_ITEMS, "items"},
               {ENV_REASON, "reason"},
               {ENV_BRANCH, "branch"},
               {ENV_OUTCOME, "outcome"},
               {ENV_COUPON, "coupon_id"},
               {ENV_MONEY, "money_paid"},
               {ENV_REQ, "client_req_id"},
               {ENV_PROVIDER_TXN, "provider_txn_id"}};

const char *event_topic(enum event ev)
{
    return events[ev].topic;
}

const char *event_tag(enum event ev)
{
    return events[ev].tag;
}

enum event event_of_tag(const char *tag)
{
    for (int i = 1; tag && i < EVENT_COUNT; i++)
        if (strcmp(events[i].tag, tag) == 0)
            return (enum event)i;
    return EVENT_none;
}

const char *branch_text(enum branch b)
{
    return branches[b];
}

const char *outcome_text(enum outcome o)
{
    return outcomes[o];
}

enum outcome outcome_of_text(const char *s)
{
    for (int i = 1; i < OUTCOME_COUNT; i++)
        if (strcmp(outcomes[i], s) == 0)
            return (enum outcome)i;
    return OUTCOME_NONE;
}

void envelope_key(const struct envelope *v, char out[ENVELOPE_KEY_MAX])
{
    const enum key_rule rule = events[v->event].key;
    const int64_t id = rule == KEY_ORDER || rule == KEY_ORDER_BRANCH ? v->order_id : v->pay_id;
    const bool branch = rule == KEY_ORDER_BRANCH || rule == KEY_PAY_BRANCH;
    (void)snprintf(out, ENVELOPE_KEY_MAX, "%lld%s%s", (long long)id, branch ? ":" : "",
                   branch ? branches[v->branch] : "");
}

static int check_must(const struct envelope *v, struct app_error *e)
{
    if (v->event <= EVENT_none || v->event >= EVENT_COUNT)
        return app_fail(e, APP_E_INVALID, "envelope: no such event");
    const unsigned missing = events[v->event].must & ~v->has;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (missing & members[i].bit)
            return app_fail(e, APP_E_INVALID, "envelope of %s: %s is missing",
                            events[v->event].name, members[i].member);
    if (v->order_id <= 0)
        return app_fail(e, APP_E_INVALID, "envelope of %s: order_id is missing",
                        events[v->event].name);
    return APP_OK;
}

static json_t *items_json(const struct envelope *v)
{
    json_t *a = json_array();
    for (size_t i = 0; i < v->n_items; i++)
        json_array_append_new(a, json_pack("{s:o, s:I}", "goods_id",
                                           jsonx_from_id(v->items[i].goods_id), "qty",
                                           (json_int_t)v->items[i].qty));
    return a;
}

static json_t *to_json(const struct envelope *v)
{
    char key[ENVELOPE_KEY_MAX], event_id[sizeof v->event_id], at[TIMING_RFC3339_MAX];
    const int attempt = v->attempt > 0 ? v->attempt : 1;
    envelope_key(v, key);
    (void)snprintf(event_id, sizeof event_id, "%s:%s:%d", events[v->event].tag, key, attempt);
    timing_rfc3339(timing_wall_ms(), at);
    json_t *j =
        json_pack("{s:i, s:s, s:s, s:o, s:i, s:s}", "v", 1, "event", events[v->event].name,
                  "event_id", v->event_id[0] ? v->event_id : event_id, "order_id",
                  jsonx_from_id(v->order_id), "attempt", attempt, "at", v->at[0] ? v->at : at);
    if (v->has & ENV_USER)
        json_object_set_new(j, "user_id", jsonx_from_id(v->user_id));
    if (v->has & ENV_PAY)
        json_object_set_new(j, "pay_id", jsonx_from_id(v->pay_id));
    if (v->has & ENV_AMOUNT)
        json_object_set_new(j, "amount", json_integer(v->amount));
    if (v->has & ENV_MONEY)
        json_object_set_new(j, "money_paid", json_integer(v->money_paid));
    if (v->has & ENV_COUPON)
        json_object_set_new(j, "coupon_id", jsonx_from_id_or_null(v->coupon_id));
    if (v->has & ENV_BRANCH)
        json_object_set_new(j, "branch", json_string(branches[v->branch]));
    if (v->has & ENV_OUTCOME)
        json_object_set_new(j, "outcome", json_string(outcomes[v->outcome]));
    if (v->has & ENV_REASON)
        json_object_set_new(j, "reason", json_string(v->reason));
    if (v->has & ENV_REQ)
        json_object_set_new(j, "client_req_id", json_string(v->client_req_id));
    if (v->has & ENV_PROVIDER_TXN)
        json_object_set_new(j, "provider_txn_id", json_string(v->provider_txn_id));
    if (v->has & ENV_ITEMS)
        json_object_set_new(j, "items", items_json(v));
    return j;
}

int envelope_encode(const struct envelope *v, char **text, size_t *len, struct app_error *e)
{
    const int rc = check_must(v, e);
    if (rc)
        return rc;
    json_t *j = to_json(v);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (!s)
        return app_fail(e, APP_E_NOMEM, "envelope of %s: no memory or a text that is not UTF-8",
                        events[v->event].name);
    *text = s;
    *len = strlen(s);
    return APP_OK;
}

static void read_text(struct jsonx_reader *r, const char *member, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", jsonx_text(r, member, 0, size - 1));
}

static int read_name(struct jsonx_reader *r, const char *member, const char *const *names, int n)
{
    const char *s = jsonx_text(r, member, 1, 40);
    for (int i = 1; i < n; i++)
        if (strcmp(names[i], s) == 0)
            return i;
    jsonx_complain(r, member, "\"%s\" is not known", s);
    return 0;
}

static void read_items(struct jsonx_reader *r, struct envelope *out)
{
    out->n_items = jsonx_array(r, "items", 0, ENVELOPE_ITEMS_MAX);
    for (size_t i = 0; i < out->n_items; i++) {
        struct jsonx_reader item = jsonx_item(r, "items", i);
        out->items[i].goods_id = jsonx_id(&item, "goods_id");
        out->items[i].qty = jsonx_int(&item, "qty", 1, INT32_MAX);
    }
}

static void read_head(struct jsonx_reader *r, struct envelope *out)
{
    (void)jsonx_int(r, "v", 1, 1);
    const char *event = jsonx_text(r, "event", 1, 40);
    for (int i = 1; i < EVENT_COUNT; i++)
        if (strcmp(events[i].name, event) == 0)
            out->event = (enum event)i;
    if (!out->event)
        jsonx_complain(r, "event", "\"%s\" is not known", event);
    read_text(r, "event_id", out->event_id, sizeof out->event_id);
    out->order_id = jsonx_id(r, "order_id");
    read_text(r, "at", out->at, sizeof out->at);
    if (!timing_rfc3339_valid(out->at))
        jsonx_complain(r, "at", "not an RFC 3339 date and time");
    out->attempt = (int)jsonx_int_or(r, "attempt", 1, INT32_MAX, 1);
}

static void read_optional(struct jsonx_reader *r, struct envelope *out)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (jsonx_has(r, members[i].member) ||
            (members[i].bit == ENV_COUPON && json_object_get(r->at, "coupon_id")))
            out->has |= members[i].bit;
    if (out->has & ENV_USER)
        out->user_id = jsonx_id(r, "user_id");
    if (out->has & ENV_PAY)
        out->pay_id = jsonx_id(r, "pay_id");
    if (out->has & ENV_AMOUNT)
        out->amount = jsonx_money(r, "amount");
    if (out->has & ENV_MONEY)
        out->money_paid = jsonx_money(r, "money_paid");
    if (out->has & ENV_COUPON)
        out->coupon_id = jsonx_id_or(r, "coupon_id", 0);
    if (out->has & ENV_BRANCH)
        out->branch = (enum branch)read_name(r, "branch", branches, BRANCH_COUNT);
    if (out->has & ENV_OUTCOME)
        out->outcome = (enum outcome)read_name(r, "outcome", outcomes, OUTCOME_COUNT);
    if (out->has & ENV_REASON)
        read_text(r, "reason", out->reason, sizeof out->reason);
    if (out->has & ENV_REQ)
        read_text(r, "client_req_id", out->client_req_id, sizeof out->client_req_id);
    if (out->has & ENV_PROVIDER_TXN)
        read_text(r, "provider_txn_id", out->provider_txn_id, sizeof out->provider_txn_id);
    if (out->has & ENV_ITEMS)
        read_items(r, out);
}

int envelope_decode(const void *body, size_t len, struct envelope *out, struct app_error *e)
{
    if (len > ENVELOPE_BODY_MAX)
        return app_fail(e, APP_E_INVALID, "envelope: %zu bytes, at most %d are read", len,
                        ENVELOPE_BODY_MAX);
    json_t *j = jsonx_parse_object(body, len, e);
    if (!j)
        return app_wrap(e, APP_E_INVALID, "envelope");
    struct envelope v = {.event = EVENT_none};
    struct jsonx_reader r = jsonx_reader(j);
    read_head(&r, &v);
    read_optional(&r, &v);
    int rc = jsonx_end(&r, e);
    if (rc)
        (void)app_wrap(e, rc, "envelope");
    else
        rc = check_must(&v, e);
    json_decref(j);
    if (rc == APP_OK)
        *out = v;
    return rc;
}
