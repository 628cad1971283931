/* client/give_back.c: what happens to a message that could not be consumed. */
#include "tests/unit/client/consumer_fixture.h"

struct fixture {
    struct fake *f;
    hp_client *c;
    struct collector *to;
    hp_consumer *k;
};

static void start(struct fixture *x, enum hp_consume_result (*decide)(const char *body, int times))
{
    x->f = fake_start(1);
    fake_topic(x->f, "T", 1);
    fake_topic(x->f, "%RETRY%CG", 1);
    x->c = new_client(x->f, "i");
    x->to = new_collector();
    x->to->decide = decide;
    fake_put(x->f, 0, "T", 0, "UNIQ_KEY\1U1\2KEYS\1k\2", "ok");
    fake_put(x->f, 0, "T", 0, "UNIQ_KEY\1U2\2KEYS\1k\2TRAN_MSG\1true\2", "bad");
}

static void run(struct fixture *x)
{
    x->k = new_consumer(
        x->c, x->to, (struct hp_consumer_options){.from = HP_FROM_FIRST, .max_reconsume_times = 7},
        "T", "*");
}

static void stop(struct fixture *x)
{
    hp_consumer_free(x->k);
    hp_client_free(x->c);
    free_collector(x->to);
    fake_stop(x->f);
}

static enum hp_consume_result bad_later(const char *body, int times)
{
    return strcmp(body, "bad") == 0 && times == 0 ? HP_RECONSUME_LATER : HP_CONSUME_SUCCESS;
}

static enum hp_consume_result bad_dead(const char *body, int times)
{
    return strcmp(body, "bad") == 0 && times == 0 ? HP_CONSUME_DEAD_LETTER : HP_CONSUME_SUCCESS;
}

static void a_failed_message_goes_back_to_its_broker(void **state)
{
    (void)state;
    struct fixture x;
    start(&x, bad_later);
    run(&x);
    await_seen(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 1);
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "offset", "1000"); /* the physical one */
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "group", "CG");
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "delayLevel", "0");
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "originMsgId", "U2");
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "originTopic", "T");
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "maxReconsumeTimes", "7");
    await_offset(x.f, "T", 0, 2);
    assert_int_equal(fake_stored(x.f, 0, "%RETRY%CG"), 0);
    stop(&x);
}

static void a_dead_letter_goes_back_with_level_minus_one(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_consumer_stats s;
    start(&x, bad_dead);
    run(&x);
    await_seen(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 1);
    assert_field(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, 0, "delayLevel", "-1");
    await_offset(x.f, "T", 0, 2);
    hp_consumer_stats(x.k, &s);
    assert_int_equal(s.consumed_dead, 1);
    assert_int_equal(s.consumed_ok, 1);
    stop(&x);
}

static void a_refused_send_back_becomes_a_message_to_the_retry_topic(void **state)
{
    (void)state;
    struct fixture x;
    start(&x, bad_later);
    fake_script(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    run(&x);
    await_seen(x.f, 0, RC_SEND_MESSAGE_V2, 1);
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "a", "CLIENT_INNER_PRODUCER");
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "b", "%RETRY%CG");
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "j", "1");
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "l", "7");
    char *props = fake_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "i");
    assert_contains(props, "RETRY_TOPIC\x01T\x02");
    assert_contains(props, "ORIGIN_MESSAGE_ID\x01U2\x02");
    assert_contains(props, "UNIQ_KEY\x01U2\x02");
    assert_contains(props, "KEYS\x01k\x02");
    assert_contains(props, "DELAY\x01" "3\x02");
    assert_null(strstr(props, "TRAN_MSG"));
    free(props);
    await_collected(x.to, "bad@T#1", 1); /* pulled from the retry topic, shown under its own */
    await_offset(x.f, "T", 0, 2);
    stop(&x);
}

static void a_dead_letter_that_cannot_go_back_is_sent_beyond_the_maximum(void **state)
{
    (void)state;
    struct fixture x;
    start(&x, bad_dead);
    fake_script(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, FAKE_CLOSE, 0, 1);
    run(&x);
    await_seen(x.f, 0, RC_SEND_MESSAGE_V2, 1);
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "j", "8");
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "l", "7");
    stop(&x);
}

static void a_message_that_can_go_nowhere_is_consumed_again_here(void **state)
{
    (void)state;
    struct fixture x;
    start(&x, bad_later);
    fake_script(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_MESSAGE_ILLEGAL, 1);
    run(&x);
    await_collected(x.to, "bad@T#0", 1);
    await_seen(x.f, 0, RC_SEND_MESSAGE_V2, 1);
    await_collected(x.to, "bad@T#1", 1); /* after five seconds */
    await_offset(x.f, "T", 0, 2);
    assert_int_equal(collected(x.to, NULL), 3);
    stop(&x);
}

static void stopping_does_not_wait_for_a_local_retry(void **state)
{
    (void)state;
    struct fixture x;
    start(&x, bad_later);
    fake_script(x.f, 0, RC_CONSUMER_SEND_MSG_BACK, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_MESSAGE_ILLEGAL, 1);
    run(&x);
    await_seen(x.f, 0, RC_SEND_MESSAGE_V2, 1);
    hp_consumer_stop(x.k, DEADLINE_MS);
    assert_int_equal(collected(x.to, "bad@T#1"), 0);
    assert_int_equal(fake_offset(x.f, 0, "CG", "T", 0), 1); /* it comes again to whoever is next */
    stop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_message_goes_back_to_its_broker),
        cmocka_unit_test(a_dead_letter_goes_back_with_level_minus_one),
        cmocka_unit_test(a_refused_send_back_becomes_a_message_to_the_retry_topic),
        cmocka_unit_test(a_dead_letter_that_cannot_go_back_is_sent_beyond_the_maximum),
        cmocka_unit_test(a_message_that_can_go_nowhere_is_consumed_again_here),
        cmocka_unit_test(stopping_does_not_wait_for_a_local_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
