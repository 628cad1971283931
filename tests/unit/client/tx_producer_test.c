/* client/tx_producer.c: half, local transaction, END, and the check-back. */
#include "tests/unit/client/client_fixture.h"

#include <stdatomic.h>
#include <stdio.h>

#include "tests/support/golden.h"

static atomic_int locals, checks;
static char check_body[64];

static enum hp_transaction_state local(void *arg, const hp_message *m,
                                       const struct hp_send_result *half)
{
    (void)m;
    (void)half;
    atomic_fetch_add(&locals, 1);
    return *(const enum hp_transaction_state *)arg;
}

static enum hp_transaction_state check(void *arg, const hp_message_view *half)
{
    size_t n;
    const char *body = hp_view_body(half, &n);
    snprintf(check_body, sizeof check_body, "%s %.*s", hp_view_topic(half), (int)n, body);
    atomic_fetch_add(&checks, 1);
    return *(const enum hp_transaction_state *)arg;
}

struct fixture {
    struct fake *f;
    hp_client *c;
    hp_producer *p;
    enum hp_transaction_state answer;
};

static void start(struct fixture *x)
{
    x->f = fake_start(1);
    x->answer = HP_TX_UNKNOWN;
    fake_topic(x->f, "T", 1);
    x->c = new_client_beating(x->f, "i",
                              100000); /* nothing here may depend on the next regular beat */
    x->p = new_producer(x->c,
                        (struct hp_producer_options){.check = check, .check_arg = &x->answer});
    atomic_store(&locals, 0);
    atomic_store(&checks, 0);
}

static void stop(struct fixture *x)
{
    hp_producer_free(x->p);
    hp_client_free(x->c);
    fake_stop(x->f);
}

static int send_half(struct fixture *x, enum hp_transaction_state decide,
                     struct hp_send_result *half, enum hp_transaction_state *said)
{
    hp_message *m = hp_message_new("T", "half", 4);
    const int rc = hp_send_in_transaction(x->p, m, local, &decide, half, said, NULL);
    hp_message_free(m);
    return rc;
}

static void the_verdict_goes_to_the_broker_with_the_offsets_of_the_half(void **state)
{
    (void)state;
    struct fixture x;
    start(&x);
    fake_put(x.f, 0, "T", 0, "", "before"); /* so that the offsets are not all zero */
    static const enum hp_transaction_state verdicts[] = {HP_TX_COMMIT, HP_TX_ROLLBACK};
    static const char *const wire[] = {"8", "12"}, *const offsets[] = {"1", "2"},
                             *const phys[] = {"1000", "2000"};
    for (int i = 0; i < 2; i++) {
        struct hp_send_result half;
        enum hp_transaction_state said;
        assert_int_equal(send_half(&x, verdicts[i], &half, &said), 0);
        assert_int_equal(said, verdicts[i]);
        await_seen(x.f, 0, RC_END_TRANSACTION, i + 1);
        assert_true(fake_oneway(x.f, 0, RC_END_TRANSACTION, i));
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "commitOrRollback", wire[i]);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "tranStateTableOffset", offsets[i]);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "commitLogOffset", phys[i]);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "producerGroup", "PG");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "topic", "T");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "msgId", half.msg_id);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "transactionId", half.msg_id);
    }
    assert_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "f", "4");
    char *props = fake_field(x.f, 0, RC_SEND_MESSAGE_V2, 0, "i");
    assert_contains(props, "TRAN_MSG\x01true\x02");
    assert_contains(props, "PGROUP\x01PG\x02");
    free(props);
    stop(&x);
}

/* The fields that Java sends, from the recording. */
static void an_end_has_every_field_that_java_sends(void **state)
{
    (void)state;
    struct fixture x;
    struct golden g;
    struct err e = {0};
    start(&x);
    assert_int_equal(send_half(&x, HP_TX_COMMIT, NULL, NULL), 0);
    await_seen(x.f, 0, RC_END_TRANSACTION, 1);
    assert_ok(golden_load("java-5.5.0-transaction.bin", &g, &e), &e);
    int compared = 0;
    for (size_t i = 0; i < g.n && !compared; i++) {
        struct command c;
        if (g.frames[i].code != RC_END_TRANSACTION || strcmp(g.frames[i].kind, "oneway") != 0)
            continue;
        char *bytes = slice_dup(g.frames[i].bytes);
        assert_ok(command_decode(bytes + 8, be32_get(bytes + 4) & 0xFFFFFF, 0, &c, NULL, &e), &e);
        for (size_t k = 0; k < c.ext_n; k++, compared++) {
            char key[64];
            assert_int_equal(slice_copy(c.ext[k].key, key, sizeof key), 0);
            /* not needed by brokers: a proxy's routing hint, and false, which is also what absence
             * says */
            if (strcmp(key, "bname") == 0 || strcmp(key, "fromTransactionCheck") == 0)
                continue;
            char *ours = fake_field(x.f, 0, RC_END_TRANSACTION, 0, key);
            if (!ours)
                fail_msg("field %s is missing", key);
            free(ours);
        }
        free(bytes);
    }
    assert_true(compared >= 7);
    golden_free(&g);
    stop(&x);
}

static void an_undecided_transaction_sends_nothing(void **state)
{
    (void)state;
    struct fixture x;
    enum hp_transaction_state said = HP_TX_COMMIT;
    struct hp_send_result half;
    start(&x);
    assert_int_equal(send_half(&x, HP_TX_UNKNOWN, &half, &said), 0);
    assert_int_equal(said, HP_TX_UNKNOWN);
    assert_int_equal(send_half(&x, (enum hp_transaction_state)99, &half, &said), 0);
    assert_int_equal(said, HP_TX_UNKNOWN); /* a value that means nothing decides nothing */
    assert_int_equal(hp_end_transaction(x.p, &half, HP_TX_UNKNOWN, NULL), 0);
    assert_int_equal(hp_end_transaction(x.p, &half, HP_TX_ROLLBACK, NULL), 0);
    await_seen(x.f, 0, RC_END_TRANSACTION, 1);
    assert_field(x.f, 0, RC_END_TRANSACTION, 0, "commitOrRollback", "12");
    assert_int_equal(fake_seen(x.f, 0, RC_END_TRANSACTION), 1);
    stop(&x);
}

static void a_half_that_is_not_stored_runs_no_local_transaction(void **state)
{
    (void)state;
    struct fixture x;
    start(&x);
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_ANSWER, RESP_MESSAGE_ILLEGAL, 1);
    assert_int_equal(send_half(&x, HP_TX_COMMIT, NULL, NULL), HP_E_BROKER);
    assert_int_equal(atomic_load(&locals), 0);
    assert_int_equal(fake_seen(x.f, 0, RC_END_TRANSACTION), 0);
    stop(&x);
}

static void brokers_know_the_producer_before_its_first_half(void **state)
{
    (void)state;
    struct fixture x;
    start(&x);
    await_seen(x.f, 0, RC_HEART_BEAT, 1); /* no send: from the cluster information */
    assert_int_equal(fake_seen(x.f, 0, RC_SEND_MESSAGE_V2), 0);
    stop(&x);
}

struct pushing {
    struct fake *f;
    const char *body;
};
static bool pushed(void *arg)
{
    const struct pushing *p = arg;
    return fake_check(p->f, 0, "PG", "T", p->body, 77, 123456);
}

static void a_check_is_answered_with_the_offsets_of_the_request(void **state)
{
    (void)state;
    struct fixture x;
    static const struct {
        enum hp_transaction_state answer;
        const char *wire;
    } cases[] = {{HP_TX_COMMIT, "8"}, {HP_TX_ROLLBACK, "12"}, {HP_TX_UNKNOWN, "0"}};
    start(&x);
    for (int i = 0; i < 3; i++) {
        x.answer = cases[i].answer;
        assert_true(wait_until(pushed, &(struct pushing){x.f, "order-1"}, DEADLINE_MS));
        await_seen(x.f, 0, RC_END_TRANSACTION, i + 1);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "commitOrRollback", cases[i].wire);
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "fromTransactionCheck", "true");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "tranStateTableOffset", "77");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "commitLogOffset", "123456");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "topic", "RMQ_SYS_TRANS_HALF_TOPIC");
        assert_field(x.f, 0, RC_END_TRANSACTION, i, "msgId", "U-order-1");
    }
    assert_string_equal(check_body, "T order-1");
    assert_int_equal(atomic_load(&checks), 3);
    stop(&x);
}

static void a_lost_connection_is_registered_again(void **state)
{
    (void)state;
    struct fixture x;
    start(&x);
    await_seen(x.f, 0, RC_HEART_BEAT, 1);
    fake_script(x.f, 0, RC_SEND_MESSAGE_V2, FAKE_CLOSE, 0, 1);
    x.answer = HP_TX_COMMIT;
    (void)(send_half(&x, HP_TX_UNKNOWN, NULL, NULL) == 0);
    assert_true(wait_until(pushed, &(struct pushing){x.f, "order-2"}, DEADLINE_MS));
    await_seen(x.f, 0, RC_END_TRANSACTION, 1);
    stop(&x);
}

static void a_producer_without_check_sends_no_transactions(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(c, (struct hp_producer_options){0});
    hp_message *m = hp_message_new("T", "x", 1);
    assert_int_equal(hp_send_in_transaction(p, m, local, NULL, NULL, NULL, &err), HP_E_STATE);
    assert_contains(err.text, "check");
    hp_message_free(m);
    hp_producer_free(p);
    hp_client_free(c);
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_verdict_goes_to_the_broker_with_the_offsets_of_the_half),
        cmocka_unit_test(an_end_has_every_field_that_java_sends),
        cmocka_unit_test(an_undecided_transaction_sends_nothing),
        cmocka_unit_test(a_half_that_is_not_stored_runs_no_local_transaction),
        cmocka_unit_test(brokers_know_the_producer_before_its_first_half),
        cmocka_unit_test(a_check_is_answered_with_the_offsets_of_the_request),
        cmocka_unit_test(a_lost_connection_is_registered_again),
        cmocka_unit_test(a_producer_without_check_sends_no_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
