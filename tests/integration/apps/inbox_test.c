/* The idempotent consumer: effect once, emission always, and what becomes of each kind of failure. */
#include "tests/support/shop/shop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/failpoint.h"

static struct shop_rig rig;

struct service {
    _Atomic int effects, emissions;
    int effect_returns;
    char last_outcome[INBOX_OUTCOME_MAX];
};

static const struct db_stmt WRITE = {
    "t_inbox_effect",
    "INSERT INTO pay_log(pay_id, order_id, event, amount) VALUES ($1, $2, 'paid', $3)"};

static int effect(struct db_conn *c, const struct inbox_msg *m, char outcome[INBOX_OUTCOME_MAX],
                  void *arg)
{
    struct service *s = arg;
    s->effects++;
    (void)snprintf(outcome, INBOX_OUTCOME_MAX, "%s", s->effect_returns ? "early" : "written");
    const int rc = db_exec(c, &WRITE, NULL, db_i64(m->v->pay_id), db_i64(m->v->order_id),
                           db_i64(m->v->amount));
    return rc ? rc : s->effect_returns;
}

static int emit(const struct inbox_msg *m, const char *outcome, void *arg, struct app_error *e)
{
    struct service *s = arg;
    s->emissions++;
    (void)snprintf(s->last_outcome, sizeof s->last_outcome, "%s", outcome);
    const struct envelope ack = {.event = EVENT_paid_ack,
                                 .has = ENV_PAY | ENV_BRANCH,
                                 .order_id = m->v->order_id,
                                 .pay_id = m->v->pay_id,
                                 .branch = BRANCH_LOG};
    return mq_publish(rig.mq, &ack, m->traceparent, e);
}

static struct service service;
static struct inbox inbox;

static int setup(void **state)
{
    (void)state;
    shop_rig_start(&rig, "paylog", "shop_paylog", "plog");
    memset(&service, 0, sizeof service);
    inbox = (struct inbox){.group = GROUP_LOG_PAY,
                           .topic = TOPIC_PAY,
                           .db = rig.db,
                           .arg = &service,
                           .handlers = {{.event = EVENT_paid, .effect = effect, .emit = emit}}};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_rig_stop(&rig);
    return 0;
}

static int64_t rows(void)
{
    return shop_number(&rig.the_db, "SELECT count(*) FROM plog.pay_log");
}

static int64_t inbox_rows(void)
{
    return shop_number(&rig.the_db, "SELECT count(*) FROM plog.mq_consumer_log");
}

static void a_redelivery_skips_the_effect_and_repeats_the_emission(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(service.effects, 1);
    assert_int_equal(rows(), 1);
    assert_int_equal(rig.tape.n, 3);
    assert_string_equal(rig.tape.sent[2].tag, "paid_ack");
    assert_string_equal(rig.tape.sent[2].key, "900:log");
    assert_string_equal(service.last_outcome, "written");
}

static void an_emission_that_fails_is_repeated_by_the_redelivery(void **state)
{
    (void)state;
    rig.tape.fail_next = 1;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(rig.tape.n, 0);
    assert_int_equal(rows(), 1);
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(service.effects, 1);
    assert_int_equal(rig.tape.n, 1);
}

static void an_unknown_commit_is_delivered_again_and_then_a_duplicate(void **state)
{
    (void)state;
    assert_app_ok(app_failpoint_arm("db.commit.cut=error*1", NULL), NULL);
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(rig.tape.n, 0); /* nothing is emitted before the commit is certain */
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(rows(), 1);
    assert_int_equal(rig.tape.n, 1);
}

static void later_leaves_no_row_behind(void **state)
{
    (void)state;
    service.effect_returns = APP_E_LATER;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(rows() + inbox_rows(), 0);
    assert_int_equal(service.emissions, 0);
    service.effect_returns = APP_OK;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(rows(), 1);
}

static void not_yet_leaves_no_row_behind_but_emits_and_acknowledges(void **state)
{
    (void)state;
    service.effect_returns = APP_E_NOT_YET;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(rows() + inbox_rows(), 0);
    assert_string_equal(service.last_outcome, "early");
    service.effect_returns = APP_OK;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(rows(), 1);
}

static void an_effect_that_can_never_succeed_goes_to_the_dead_letters(void **state)
{
    (void)state;
    service.effect_returns = APP_E_INVALID;
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_DEAD);
    assert_int_equal(rows() + inbox_rows(), 0);
}

static void deliver_raw(const char *tag, const char *key, const char *body, enum inbox_result want)
{
    const struct inbox_delivery d = {
        .tag = tag, .key = key, .msg_id = "X", .body = body, .body_len = strlen(body)};
    const enum inbox_result got = inbox_handle(&inbox, &d);
    if (got != want)
        fail_msg("tag %s key %s body %s: result %d, expected %d", tag ? tag : "-", key ? key : "-",
                 body, got, want);
}

static void what_cannot_be_read_is_dead_at_once_and_its_neighbours_live(void **state)
{
    (void)state;
#define GOOD                                                                                       \
    "{\"v\":1,\"event\":\"paid\",\"event_id\":\"a\",\"order_id\":\"100\",\"at\":\"2026-01-01T00:00:00Z\",\"pay_id\":\"900\",\"user_id\":\"1\",\"amount\":5}"
    deliver_raw("paid", "900", "", INBOX_DEAD);
    deliver_raw("paid", "900", "{", INBOX_DEAD);
    deliver_raw("paid", "900", "[1]", INBOX_DEAD);
    deliver_raw(
        "paid", "900",
        "{\"v\":2,\"event\":\"paid\",\"event_id\":\"a\",\"order_id\":\"100\",\"at\":\"2026-01-01T00:00:00Z\",\"pay_id\":\"900\",\"user_id\":\"1\",\"amount\":5}",
        INBOX_DEAD);
    deliver_raw("refunded", "900", GOOD, INBOX_DEAD);
    deliver_raw(NULL, "900", GOOD, INBOX_DEAD);
    deliver_raw("paid", "901", GOOD, INBOX_DEAD);
    deliver_raw("paid", NULL, GOOD, INBOX_DEAD);
    assert_int_equal(rows() + inbox_rows(), 0);
    deliver_raw("paid", "900", GOOD, INBOX_SUCCESS);
    assert_int_equal(rows(), 1);
}

static void *deliver_thread(void *arg)
{
    *(enum inbox_result *)arg = tape_deliver(&inbox, &shop_paid);
    return NULL;
}

static void concurrent_deliveries_of_one_message_have_one_effect(void **state)
{
    (void)state;
    pthread_t t[4];
    enum inbox_result r[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, deliver_thread, &r[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(r[i], INBOX_SUCCESS);
    assert_int_equal(rows(), 1);
    assert_int_equal(inbox_rows(), 1);
    assert_int_equal(service.emissions, 4);
}

static void every_place_of_a_crash_ends_in_one_effect_and_an_emission(void **state)
{
    (void)state;
    static const char *const places[] = {"inbox.before_tx=error*1", "inbox.after_tx=error*1",
                                         "inbox.before_ack=error*1"};
    for (size_t i = 0; i < 3; i++) {
        struct envelope v = shop_paid;
        v.pay_id = 1000 + (int64_t)i;
        assert_app_ok(app_failpoint_arm(places[i], NULL), NULL);
        assert_int_equal(tape_deliver(&inbox, &v), INBOX_LATER);
        assert_int_equal(tape_deliver(&inbox, &v), INBOX_SUCCESS);
        assert_int_equal(rows(), (int64_t)i + 1);
        assert_true(rig.tape.n > (int)i);
    }
}

static void a_failpoint_of_an_event_meets_only_that_event(void **state)
{
    (void)state;
    shop_arm("inbox.order_cancel=error;inbox.refunded=error");
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    shop_arm("inbox.paid=error*1");
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_LATER);
    assert_int_equal(rig.tape.n, 1);
    assert_int_equal(tape_deliver(&inbox, &shop_paid), INBOX_SUCCESS);
    assert_int_equal(service.effects, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_redelivery_skips_the_effect_and_repeats_the_emission),
        T(an_emission_that_fails_is_repeated_by_the_redelivery),
        T(an_unknown_commit_is_delivered_again_and_then_a_duplicate),
        T(later_leaves_no_row_behind),
        T(not_yet_leaves_no_row_behind_but_emits_and_acknowledges),
        T(an_effect_that_can_never_succeed_goes_to_the_dead_letters),
        T(what_cannot_be_read_is_dead_at_once_and_its_neighbours_live),
        T(concurrent_deliveries_of_one_message_have_one_effect),
        T(every_place_of_a_crash_ends_in_one_effect_and_an_emission),
        T(a_failpoint_of_an_event_meets_only_that_event),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
