#include "apps/common/envelope.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"

static const struct envelope CANCEL = {.event = EVENT_order_cancel,
                                       .has = ENV_USER | ENV_REQ | ENV_ITEMS | ENV_COUPON |
                                              ENV_MONEY | ENV_REASON,
                                       .order_id = INT64_MAX,
                                       .attempt = 3,
                                       .user_id = 7,
                                       .coupon_id = 0,
                                       .money_paid = 1200,
                                       .reason = "timeout",
                                       .client_req_id = "0b1e2f3a-0000-4000-8000-000000000001",
                                       .n_items = 2,
                                       .items = {{10, 1}, {11, 5}}};

static void what_is_sent_is_what_is_received(void **state)
{
    (void)state;
    char *text;
    size_t len;
    struct app_error e;
    struct envelope v;
    assert_int_equal(envelope_encode(&CANCEL, &text, &len, &e), APP_OK);
    assert_int_equal(envelope_decode(text, len, &v, &e), APP_OK);
    free(text);
    assert_int_equal(v.event, EVENT_order_cancel);
    assert_int_equal(v.has, CANCEL.has);
    assert_int_equal(v.order_id, INT64_MAX);
    assert_int_equal(v.attempt, 3);
    assert_int_equal(v.money_paid, 1200);
    assert_int_equal(v.coupon_id, 0);
    assert_string_equal(v.reason, "timeout");
    assert_string_equal(v.client_req_id, CANCEL.client_req_id);
    assert_int_equal(v.n_items, 2);
    assert_int_equal(v.items[1].goods_id, 11);
    assert_int_equal(v.items[1].qty, 5);
    assert_string_equal(v.event_id, "order_cancel:9223372036854775807:3");
}

static void topic_tag_and_key_follow_from_the_event(void **state)
{
    (void)state;
    char key[ENVELOPE_KEY_MAX];
    struct envelope v = {
        .event = EVENT_cancel_ack, .order_id = 5, .pay_id = 9, .branch = BRANCH_BALANCE};
    envelope_key(&v, key);
    assert_string_equal(key, "5:balance");
    assert_string_equal(event_topic(v.event), TOPIC_ACK);
    v.event = EVENT_refund_ack;
    v.branch = BRANCH_LOG;
    envelope_key(&v, key);
    assert_string_equal(key, "9:log");
    v.event = EVENT_paid;
    envelope_key(&v, key);
    assert_string_equal(key, "9");
    v.event = EVENT_order_paid;
    envelope_key(&v, key);
    assert_string_equal(key, "5");
    assert_int_equal(event_of_tag("refund_request"), EVENT_refund_request);
    assert_int_equal(event_of_tag("nonsense"), EVENT_none);
    assert_int_equal(event_of_tag(NULL), EVENT_none);
}

static void an_envelope_without_a_mandatory_member_is_not_sent(void **state)
{
    (void)state;
    char *text;
    size_t len;
    struct app_error e;
    struct envelope v = CANCEL;
    v.has &= ~(unsigned)ENV_ITEMS;
    assert_int_equal(envelope_encode(&v, &text, &len, &e), APP_E_INVALID);
    assert_contains(e.text, "order_cancel: items is missing");
    v = CANCEL;
    v.order_id = 0;
    assert_int_equal(envelope_encode(&v, &text, &len, &e), APP_E_INVALID);
    v = (struct envelope){.event = EVENT_none, .order_id = 1};
    assert_int_equal(envelope_encode(&v, &text, &len, &e), APP_E_INVALID);
}

/* Sets one member of a good body to a JSON text (NULL: removes it) and expects the complaint. */
static void expect_refused(const char *member, const char *value, const char *complaint)
{
    char *text;
    size_t len;
    struct app_error e = {.text = ""};
    struct envelope v;
    assert_int_equal(envelope_encode(&CANCEL, &text, &len, &e), APP_OK);
    json_t *j = json_loadb(text, len, 0, NULL);
    free(text);
    if (value)
        json_object_set_new(j, member, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(j, member);
    text = json_dumps(j, 0);
    json_decref(j);
    const int rc = envelope_decode(text, strlen(text), &v, &e);
    if (rc != APP_E_INVALID || !strstr(e.text, complaint))
        fail_msg("%s = %s: %d \"%s\", expected \"%s\"", member, value ? value : "(gone)", rc,
                 e.text, complaint);
    free(text);
}

static void each_broken_member_is_named(void **state)
{
    (void)state;
    expect_refused("v", "2", "v: 2 is not within");
    expect_refused("v", NULL, "v: expected an integer, found nothing");
    expect_refused("event", "\"dance\"", "\"dance\" is not known");
    expect_refused("event_id", NULL, "event_id");
    expect_refused("order_id", "17",
                   "order_id: expected an id as a decimal string, found an integer");
    expect_refused("order_id", "\"12345678901234567890\"", "order_id: not an id");
    expect_refused("at", "\"yesterday\"", "at: not an RFC 3339");
    expect_refused("attempt", "0", "attempt: 0 is not within");
    expect_refused("user_id", NULL, "user_id is missing");
    expect_refused("money_paid", "-1", "money_paid: -1 is not within");
    expect_refused("money_paid", "1.5", "money_paid: expected an integer, found a fraction");
    expect_refused("items", "{}", "items: expected an array, found an object");
    expect_refused("items", "[1]", "items[0]: expected an object, found an integer");
    expect_refused("items", "[{\"goods_id\":\"1\",\"qty\":0}]", "items[0].qty: 0 is not within");
    expect_refused("items", "[{},{},{},{},{},{}]", "expected 0 to 5 elements, found 6");
    expect_refused("branch", "\"moon\"", "\"moon\" is not known");
    expect_refused("reason", "[]", "reason: expected a string");
}

static void unknown_members_are_ignored(void **state)
{
    (void)state;
    static const char body[] =
        "{\"v\":1,\"event\":\"order_timeout\",\"event_id\":\"x\",\"order_id\":\"1\",\"at\":\"2026-01-01T00:00:00+08:00\",\"new\":{\"a\":[1]}}";
    struct envelope v;
    struct app_error e;
    assert_int_equal(envelope_decode(body, sizeof body - 1, &v, &e), APP_OK);
    assert_int_equal(v.has, 0);
}

static void bodies_that_are_no_json_object_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "[]", "null", "{\"v\":1,\"v\":1}", "{\"v\":1} x", "\xff\xfe"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct envelope v;
        struct app_error e;
        if (envelope_decode(bad[i], strlen(bad[i]), &v, &e) != APP_E_INVALID)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void a_body_that_is_too_long_is_refused_unread(void **state)
{
    (void)state;
    static const char head[] =
        "{\"v\":1,\"event\":\"order_timeout\",\"event_id\":\"x\",\"order_id\":\"1\",\"at\":\"2026-01-01T00:00:00Z\"";
    static char body[ENVELOPE_BODY_MAX + 2];
    struct envelope v;
    struct app_error e;
    memset(body, ' ', sizeof body);
    memcpy(body, head, sizeof head - 1);
    body[ENVELOPE_BODY_MAX - 1] = '}';
    assert_int_equal(envelope_decode(body, ENVELOPE_BODY_MAX, &v, &e), APP_OK);
    body[ENVELOPE_BODY_MAX - 1] = ' ';
    body[ENVELOPE_BODY_MAX] = '}';
    assert_int_equal(envelope_decode(body, ENVELOPE_BODY_MAX + 1, &v, &e), APP_E_INVALID);
    assert_contains(e.text, "at most 65536");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_what_is_received),
        cmocka_unit_test(topic_tag_and_key_follow_from_the_event),
        cmocka_unit_test(an_envelope_without_a_mandatory_member_is_not_sent),
        cmocka_unit_test(each_broken_member_is_named),
        cmocka_unit_test(unknown_members_are_ignored),
        cmocka_unit_test(bodies_that_are_no_json_object_are_refused),
        cmocka_unit_test(a_body_that_is_too_long_is_refused_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
