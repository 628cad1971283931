/* Heartbeats (34): who a client is, the groups it produces and consumes for, what it subscribes to.
 *
 * Dialects: Go quotes the members of codeSet and writes null for arrays it has not set; Node leaves
 * expressionType out; clients before 5.1.3 know neither fingerprint nor withoutSub. tagsSet and
 * codeSet are not read at all, since both follow from subString; they are written for brokers that
 * filter by them.
 *
 * Any thread. A decoded heartbeat owns its tree and arrays; slices borrow from the tree. Failure
 * modes: E_PROTO (which member), E_NOMEM; encoding also E_INVAL for a tag list that names no tag.
 * Source: HeartbeatData, ConsumerData, SubscriptionData of 5.5.0. */
#include <stdlib.h>

#include "proto/body_json.h"
#include "proto/subscription.h"

static const char what[] = "heartbeat";

static int read_subs(const json_t *list, struct heartbeat_consumer *c, struct err *e)
{
    static const char where[] = "heartbeat: subscriptionDataSet";
    size_t i;
    json_t *j;
    int rc = body_alloc(json_array_size(list), sizeof *c->subs, what, &c->subs, e);
    json_array_foreach(list, i, j) {
        struct heartbeat_sub *const s = &c->subs[i];
        if (!rc)
            rc = body_need_str(j, "topic", where, &s->topic, e);
        if (rc)
            return rc;
        s->sub_string = json_get_str(j, "subString");
        s->expression_type = json_get_str(j, "expressionType");
        s->version = json_get_i64(j, "subVersion", 0);
        c->sub_n++;
    }
    return rc;
}

static int read_consumers(const json_t *list, struct heartbeat *out, struct err *e)
{
    static const char where[] = "heartbeat: consumerDataSet";
    size_t i;
    json_t *j;
    const json_t *subs = NULL;
    int rc = body_alloc(json_array_size(list), sizeof *out->consumers, what, &out->consumers, e);
    json_array_foreach(list, i, j) {
        struct heartbeat_consumer *const c = &out->consumers[i];
        if (rc)
            break;
        out->consumer_n++;
        c->consume_type = json_get_str(j, "consumeType");
        c->message_model = json_get_str(j, "messageModel");
        c->from_where = json_get_str(j, "consumeFromWhere");
        c->unit_mode = json_get_bool(j, "unitMode", false);
        rc = body_need_str(j, "groupName", where, &c->group, e);
        if (!rc)
            rc = body_get_array(j, "subscriptionDataSet", where, &subs, e);
        if (!rc)
            rc = read_subs(subs, c, e);
    }
    return rc;
}

static int read_producers(const json_t *list, struct heartbeat *out, struct err *e)
{
    size_t i;
    json_t *j;
    int rc = body_alloc(json_array_size(list), sizeof *out->producers, what, &out->producers, e);
    json_array_foreach(list, i, j) {
        if (!rc)
            rc = body_need_str(j, "groupName", "heartbeat: producerDataSet", &out->producers[i], e);
        if (rc)
            return rc;
        out->producer_n++;
    }
    return rc;
}

int heartbeat_decode(struct slice body, struct heartbeat *out, struct err *e)
{
    struct heartbeat h = {0};
    const json_t *producers, *consumers;
    int rc = body_parse(body, what, &h.root, e);
    if (rc)
        return rc;
    h.without_sub = json_get_bool(h.root, "withoutSub", false);
    rc = body_need_str(h.root, "clientID", what, &h.client_id, e);
    if (!rc)
        rc = body_get_i32(h.root, "heartbeatFingerprint", 0, what, &h.fingerprint, e);
    if (!rc)
        rc = body_get_array(h.root, "producerDataSet", what, &producers, e);
    if (!rc)
        rc = body_get_array(h.root, "consumerDataSet", what, &consumers, e);
    if (!rc)
        rc = read_producers(producers, &h, e);
    if (!rc)
        rc = read_consumers(consumers, &h, e);
    if (rc)
        heartbeat_free(&h);
    else
        *out = h;
    return rc;
}

void heartbeat_free(struct heartbeat *h)
{
    for (size_t i = 0; i < h->consumer_n; i++)
        free(h->consumers[i].subs);
    free(h->consumers);
    free(h->producers);
    json_decref(h->root);
    *h = (struct heartbeat){0};
}

/* ---- encoding ---- */

static json_t *sub_to_json(const struct heartbeat_sub *s, int *rc)
{
    struct subscription sub;
    *rc = subscription_init(&sub, s->topic, s->sub_string, s->expression_type, s->version, NULL);
    if (*rc)
        return NULL;
    json_t *const codes = json_array(), *const tags = json_array();
    bool failed = false;
    for (size_t i = 0; i < sub.tag_n; i++)
        failed |= json_array_append_new(codes, json_integer(sub.codes[i])) ||
                  json_array_append_new(tags, json_string(sub.tags[i]));
    const struct slice text = sub.all ? SLICE_LIT("*") : s->sub_string;
    json_t *j =
        json_pack("{s:b,s:o,s:s,s:s%,s:I,s:o,s:s%}", "classFilterMode", 0, "codeSet", codes,
                  "expressionType", sub.expression_type, "subString", text.p, text.n, "subVersion",
                  (json_int_t)s->version, "tagsSet", tags, "topic", s->topic.p, s->topic.n);
    subscription_fini(&sub);
    if (failed) {
        json_decref(j);
        j = NULL;
    }
    *rc = j ? 0 : E_NOMEM;
    return j;
}

/* Null members are left out. */
static int set_str(json_t *obj, const char *key, struct slice s)
{
    return s.p ? json_object_set_new(obj, key, json_of_slice(s)) : 0;
}

static json_t *consumer_to_json(const struct heartbeat_consumer *c, int *rc)
{
    json_t *const subs = json_array();
    json_t *const j = json_pack("{s:o,s:b}", "subscriptionDataSet", subs, "unitMode", c->unit_mode);
    *rc = j ? 0 : E_NOMEM;
    for (size_t i = 0; i < c->sub_n && !*rc; i++) {
        json_t *const sub = sub_to_json(&c->subs[i], rc);
        if (!*rc && json_array_append_new(subs, sub))
            *rc = E_NOMEM;
    }
    if (!*rc && (set_str(j, "consumeFromWhere", c->from_where) ||
                 set_str(j, "consumeType", c->consume_type) || set_str(j, "groupName", c->group) ||
                 set_str(j, "messageModel", c->message_model)))
        *rc = E_NOMEM;
    if (!*rc)
        return j;
    json_decref(j);
    return NULL;
}

int heartbeat_encode(const struct heartbeat *h, struct buf *out)
{
    json_t *const consumers = json_array(), *const producers = json_array();
    json_t *const j =
        json_pack("{s:s%,s:o,s:i,s:o,s:b}", "clientID", h->client_id.p, h->client_id.n,
                  "consumerDataSet", consumers, "heartbeatFingerprint", h->fingerprint,
                  "producerDataSet", producers, "withoutSub", h->without_sub);
    int rc = j ? 0 : E_NOMEM;
    for (size_t i = 0; i < h->producer_n && !rc; i++)
        if (json_array_append_new(producers, json_pack("{s:s%}", "groupName", h->producers[i].p,
                                                       h->producers[i].n)))
            rc = E_NOMEM;
    for (size_t i = 0; i < h->consumer_n && !rc; i++) {
        json_t *const c = consumer_to_json(&h->consumers[i], &rc);
        if (!rc && json_array_append_new(consumers, c))
            rc = E_NOMEM;
    }
    if (rc) {
        json_decref(j);
        return rc;
    }
    return body_write(j, out);
}
