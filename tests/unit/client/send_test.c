/* client/send.c against scripted brokers: which failures are tried again, where, and what is
 * reported. */
#include "tests/unit/client/client_fixture.h"

enum { RETRY_CODES = 8 };

struct fixture {
    struct fake *f;
    hp_client *c;
    hp_producer *p;
};

static void start(struct fixture *x, int brokers, struct hp_producer_options o)
{
    x->f = fake_start(brokers);
    fake_topic(x->f, "T", 4);
    x->c = new_client(x->f, "i");
    o.retry_times = o.retry_times ? o.retry_times : -1;
    x->p = new_producer(x->c, o);
}

static void stop(struct fixture *x)
{
    hp_producer_free(x->p);
    hp_client_free(x->c);
    fake_stop(x->f);
}

static void a_send_is_stored_and_described(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_send_result res;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    for (int i = 0; i < 8; i++) {
        assert_int_equal(send_text(x.p, "T", "hello", &res, &err), 0);
        assert_int_equal(res.status, HP_SEND_OK);
        assert_int_equal(res.queue_offset, i / 4); /* in turn over four queues */
        assert_string_equal(res.broker_name, "broker-a");
        assert_int_equal(strlen(res.msg_id), 32);
        assert_int_equal(strlen(res.offset_msg_id), 32);
    }
    assert_int_equal(fake_stored(x.f, 0, "T"), 8);
    stop(&x);
}

static void retry_codes_go_to_another_broker_with_the_same_unique_key(void **state)
{
    (void)state;
    static const int codes[RETRY_CODES] = {1, 2, 14, 16, 17, 204, 205, 1500};
    for (int i = 0; i < RETRY_CODES; i++) {
        struct fixture x;
        struct hp_send_result res;
        struct hp_error err = {0};
        start(&x, 2, (struct hp_producer_options){0});
        fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, codes[i], 100);
        for (int k = 0; k < 8; k++) {
            assert_int_equal(send_text(x.p, "T", "hello", &res, &err), 0);
            assert_string_equal(res.broker_name, "broker-b");
        }
        assert_true(fake_seen(x.f, 0, RC_SEND_MESSAGE_V2) > 0);
        assert_int_equal(fake_stored(x.f, 1, "T"), 8);
        stop(&x);
    }
}

static void the_unique_key_is_kept_over_attempts(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_send_result res;
    start(&x, 1, (struct hp_producer_options){0});
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_SYSTEM_BUSY, 2);
    assert_int_equal(send_text(x.p, "T", "hello", &res, NULL), 0);
    assert_int_equal(fake_seen(x.f, 0, RC_SEND_MESSAGE_V2), 3);
    for (int i = 0; i < 3; i++) {
        char *props = fake_field(x.f, 0, RC_SEND_MESSAGE_V2, i, "i");
        assert_non_null(props);
        assert_contains(props, res.msg_id);
        free(props);
    }
    stop(&x);
}

static void other_codes_are_final(void **state)
{
    (void)state;
    static const int codes[] = {3, 13, 26, 29, 604};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct fixture x;
        struct hp_error err = {0};
        start(&x, 2, (struct hp_producer_options){0});
        for (int b = 0; b < 2; b++)
            fake_script(x.f, b, RC_SEND_MESSAGE_V2, FAKE_ANSWER, codes[i], 1);
        assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_BROKER);
        assert_int_equal(err.broker_code, codes[i]);
        assert_contains(err.text, "scripted");
        assert_int_equal(fake_seen(x.f, FAKE_ALL, RC_SEND_MESSAGE_V2), 1);
        stop(&x);
    }
}

static void an_answer_that_says_stored_but_not_where_is_a_protocol_error(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    /* without the header that every such answer has, the outcome is known but not describable */
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_FLUSH_DISK_TIMEOUT, 1);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_PROTO);
    assert_contains(err.text, "stored the message");
    assert_int_equal(fake_seen(x.f, 0, RC_SEND_MESSAGE_V2), 1);
    stop(&x);
}

static void attempts_are_limited(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 2, (struct hp_producer_options){.retry_times = 1});
    for (int b = 0; b < 2; b++)
        fake_script(x.f, b, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_SYSTEM_ERROR, 100);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_BROKER);
    assert_int_equal(fake_seen(x.f, FAKE_ALL, RC_SEND_MESSAGE_V2), 2);
    stop(&x);
}

static void a_silent_broker_is_a_timeout_of_unknown_outcome(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){.send_timeout_ms = 300});
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_SILENT, 0, 100);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_TIMEOUT);
    assert_int_equal(err.code, HP_E_TIMEOUT);
    stop(&x);
}

static void a_lost_connection_is_tried_again_elsewhere(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_send_result res;
    start(&x, 2, (struct hp_producer_options){0});
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_CLOSE, 0, 100);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(send_text(x.p, "T", "hello", &res, NULL), 0);
        assert_string_equal(res.broker_name, "broker-b");
    }
    stop(&x);
}

static void connections_that_are_always_lost_leave_the_outcome_unknown(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_CLOSE, 0, 100);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_UNKNOWN);
    stop(&x);
}

static void an_uncertain_attempt_outweighs_a_later_refusal(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_CLOSE, 0, 1);
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_MESSAGE_ILLEGAL, 1);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_UNKNOWN);
    assert_contains(err.text, "earlier attempt");
    assert_contains(err.text, "code 13");
    stop(&x);
}

static void brokers_that_refuse_connections_stored_nothing(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    fake_kill(x.f, 0);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_CONNECT);
    stop(&x);
}

static void without_a_name_server_nothing_is_sent(void **state)
{
    (void)state;
    hp_client *c = NULL;
    struct hp_error err = {0};
    const struct hp_client_options o = {.namesrv_addr = "127.0.0.1:1;127.0.0.1:2", .log = quiet};
    assert_int_equal(hp_client_new(&o, &c, &err), 0);
    hp_producer *p = new_producer(c, (struct hp_producer_options){0});
    assert_int_equal(send_text(p, "T", "hello", NULL, &err), HP_E_CONNECT);
    hp_producer_free(p);
    hp_client_free(c);
}

static void a_silent_name_server_is_no_timeout_of_the_message(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){.send_timeout_ms = 300});
    fake_script(x.f, FAKE_NAMESRV, RC_GET_ROUTEINFO_BY_TOPIC, FAKE_SILENT, 0, 100);
    assert_int_equal(send_text(x.p, "T", "hello", NULL, &err), HP_E_CONNECT);
    assert_int_equal(fake_stored(x.f, 0, "T"), 0);
    stop(&x);
}

static void an_unknown_topic_without_auto_creation_has_no_route(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_error err = {0};
    start(&x, 1, (struct hp_producer_options){0});
    assert_int_equal(send_text(x.p, "nobody-knows", "hello", NULL, &err), HP_E_NO_ROUTE);
    assert_contains(err.text, "nobody-knows");
    stop(&x);
}

static void an_unknown_topic_goes_to_the_template_topics_brokers(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_send_result res;
    start(&x, 1, (struct hp_producer_options){0});
    fake_topic(x.f, "TBW102", 8);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(send_text(x.p, "new-topic", "hello", &res, NULL), 0);
        assert_true(res.queue_id < 4);
    }
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "c", "TBW102");
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "d", "4");
    stop(&x);
}

static void a_key_always_goes_to_one_queue_and_is_not_tried_elsewhere(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_send_result first, res;
    struct hp_error err = {0};
    start(&x, 2, (struct hp_producer_options){0});
    hp_message *m = hp_message_new("T", "x", 1);
    assert_int_equal(hp_send_by_key(x.p, m, "k", &first, &err), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hp_send_by_key(x.p, m, "k", &res, &err), 0);
        assert_string_equal(res.broker_name, first.broker_name);
        assert_int_equal(res.queue_id, first.queue_id);
    }
    const int broker = first.broker_name[7] - 'a',
              before = fake_seen(x.f, FAKE_ALL, RC_SEND_MESSAGE_V2);
    fake_script(x.f, broker, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_SYSTEM_BUSY, 1);
    assert_int_equal(hp_send_by_key(x.p, m, "k", &res, &err), HP_E_BROKER);
    assert_int_equal(fake_seen(x.f, FAKE_ALL, RC_SEND_MESSAGE_V2), before + 1);
    hp_message_free(m);
    stop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_is_stored_and_described),
        cmocka_unit_test(retry_codes_go_to_another_broker_with_the_same_unique_key),
        cmocka_unit_test(the_unique_key_is_kept_over_attempts),
        cmocka_unit_test(other_codes_are_final),
        cmocka_unit_test(an_answer_that_says_stored_but_not_where_is_a_protocol_error),
        cmocka_unit_test(attempts_are_limited),
        cmocka_unit_test(a_silent_broker_is_a_timeout_of_unknown_outcome),
        cmocka_unit_test(a_lost_connection_is_tried_again_elsewhere),
        cmocka_unit_test(connections_that_are_always_lost_leave_the_outcome_unknown),
        cmocka_unit_test(an_uncertain_attempt_outweighs_a_later_refusal),
        cmocka_unit_test(brokers_that_refuse_connections_stored_nothing),
        cmocka_unit_test(without_a_name_server_nothing_is_sent),
        cmocka_unit_test(a_silent_name_server_is_no_timeout_of_the_message),
        cmocka_unit_test(an_unknown_topic_without_auto_creation_has_no_route),
        cmocka_unit_test(an_unknown_topic_goes_to_the_template_topics_brokers),
        cmocka_unit_test(a_key_always_goes_to_one_queue_and_is_not_tried_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
