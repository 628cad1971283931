/* What leaves through mq.c, seen from the port, and the check-back path. */
#include "apps/common/mq.h"

#include <string.h>

#include "apps/common/failpoint.h"
#include "apps/common/inbox.h"
#include "tests/support/shop/shop.h"

static struct tape tape;
static struct mq *mq;
static struct {
    enum mq_verdict answer;
    int64_t order_id;
    char txn_id[40];
    int calls;
} check;

static enum mq_verdict on_check(void *arg, const struct envelope *v, const char *txn_id)
{
    (void)arg;
    check.calls++;
    check.order_id = v->order_id;
    strncpy(check.txn_id, txn_id ? txn_id : "-", sizeof check.txn_id - 1);
    return check.answer;
}

static int setup(void **state)
{
    (void)state;
    memset(&check, 0, sizeof check);
    tape_init(&tape);
    mq = tape_mq(&tape, "test");
    mq_set_check(mq, on_check, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    app_failpoint_disarm_all();
    mq_close(mq);
    return 0;
}

static const struct envelope PAID = {.event = EVENT_paid,
                                     .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                                     .order_id = 5,
                                     .pay_id = 9,
                                     .user_id = 1,
                                     .amount = 500};

static void a_half_and_its_end_reach_the_port_and_unknown_sends_nothing(void **state)
{
    (void)state;
    struct mq_half half;
    struct app_error e;
    assert_app_ok(mq_half(mq, &PAID, "txn-1", 10, NULL, &half, &e), &e);
    mq_end(mq, &half, MQ_UNKNOWN);
    assert_int_equal(tape.n, 1);
    assert_int_equal(tape.sent[0].kind, 'h');
    mq_end(mq, &half, MQ_COMMIT);
    mq_end(mq, &half, MQ_ROLLBACK);
    assert_int_equal(tape.sent[1].kind, 'c');
    assert_int_equal(tape.sent[2].kind, 'r');
    assert_string_equal(tape.sent[1].key, "half-9");
}

static void failpoints_lose_exactly_what_they_name(void **state)
{
    (void)state;
    struct mq_half half;
    struct app_error e;
    assert_app_ok(app_failpoint_arm("mq.half=error*1", &e), &e);
    assert_app_kind(mq_half(mq, &PAID, NULL, 0, NULL, &half, &e), APP_E_DOWN, &e);
    assert_int_equal(tape.n, 0);
    assert_app_ok(app_failpoint_arm("mq.half.ack=error*1", &e), &e);
    assert_app_kind(mq_half(mq, &PAID, NULL, 0, NULL, &half, &e), APP_E_TIMEOUT, &e);
    assert_int_equal(tape.n, 1); /* stored all the same */
    assert_app_ok(app_failpoint_arm("mq.end=error*1;mq.send=error*1", &e), &e);
    mq_end(mq, &half, MQ_COMMIT);
    assert_app_kind(mq_publish(mq, &PAID, NULL, &e), APP_E_DOWN, &e);
    assert_int_equal(tape.n, 1);
    assert_app_ok(mq_publish(mq, &PAID, NULL, &e), &e);
    assert_int_equal(tape.n, 2);
}

static void failpoints_repeat_and_hide_what_was_sent(void **state)
{
    (void)state;
    struct mq_half half;
    struct app_error e;
    assert_app_ok(app_failpoint_arm("mq.send.lost=error*1", &e), &e);
    assert_app_ok(mq_publish(mq, &PAID, NULL, &e), &e);
    assert_int_equal(tape.n, 0);
    assert_app_ok(app_failpoint_arm("mq.send.ack=error*1", &e), &e);
    assert_app_kind(mq_publish(mq, &PAID, NULL, &e), APP_E_TIMEOUT, &e);
    assert_int_equal(tape.n, 1);
    assert_app_ok(app_failpoint_arm("mq.send.again=error*1", &e), &e);
    assert_app_ok(mq_publish(mq, &PAID, NULL, &e), &e);
    assert_int_equal(tape.n, 6);
    assert_app_ok(app_failpoint_arm("mq.half.lost=error*1", &e), &e);
    assert_app_ok(mq_half(mq, &PAID, NULL, 0, NULL, &half, &e), &e);
    mq_end(mq, &half, MQ_COMMIT); /* of what the broker does not have */
    assert_int_equal(tape.n, 6);
    assert_app_ok(mq_half(mq, &PAID, NULL, 0, NULL, &half, &e), &e);
    assert_app_ok(app_failpoint_arm("mq.end.again=error*1", &e), &e);
    mq_end(mq, &half, MQ_COMMIT);
    assert_int_equal(tape.n, 9);
    assert_int_equal(tape.sent[7].kind, 'c');
    assert_int_equal(tape.sent[8].kind, 'c');
}

static void an_incomplete_envelope_never_reaches_the_port(void **state)
{
    (void)state;
    struct envelope v = PAID;
    struct app_error e;
    v.has = 0;
    assert_app_kind(mq_publish(mq, &v, NULL, &e), APP_E_INVALID, &e);
    assert_int_equal(tape.n, 0);
}

static void a_check_back_asks_the_service_and_stays_unknown_for_what_cannot_be_read(void **state)
{
    (void)state;
    static const char body[] =
        "{\"v\":1,\"event\":\"order_timeout\",\"event_id\":\"x\",\"order_id\":\"77\",\"at\":\"2026-01-01T00:00:00Z\"}";
    check.answer = MQ_ROLLBACK;
    assert_int_equal(mq_check_now(mq, body, sizeof body - 1, NULL), MQ_ROLLBACK);
    assert_int_equal(check.order_id, 77);
    assert_string_equal(check.txn_id, "-");
    check.answer = MQ_COMMIT;
    assert_int_equal(mq_check_now(mq, body, sizeof body - 1, "t1"), MQ_COMMIT);
    assert_string_equal(check.txn_id, "t1");
    assert_int_equal(mq_check_now(mq, "junk", 4, NULL), MQ_UNKNOWN);
    assert_int_equal(check.calls, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_half_and_its_end_reach_the_port_and_unknown_sends_nothing),
        T(failpoints_lose_exactly_what_they_name),
        T(failpoints_repeat_and_hide_what_was_sent),
        T(an_incomplete_envelope_never_reaches_the_port),
        T(a_check_back_asks_the_service_and_stays_unknown_for_what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
