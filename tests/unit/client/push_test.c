/* client/push.c, pull.c, consume.c and offset_store.c against a scripted broker. */
#include "tests/unit/client/consumer_fixture.h"

#include "tests/support/tmpdir.h"

struct fixture {
    struct fake *f;
    hp_client *c;
    struct collector *to;
    hp_consumer *k;
};

static void prepare(struct fixture *x, int queues)
{
    x->f = fake_start(1);
    fake_topic(x->f, "T", queues);
    x->c = new_client(x->f, "i");
    x->to = new_collector();
    x->k = NULL;
}

static void stop(struct fixture *x)
{
    hp_consumer_free(x->k);
    hp_client_free(x->c);
    free_collector(x->to);
    fake_stop(x->f);
}

static void put_many(struct fixture *x, const char *kind, int queue, int n, const char *props)
{
    for (int i = 0; i < n; i++) {
        char body[32];
        snprintf(body, sizeof body, "%s-%d", kind, i);
        fake_put(x->f, 0, "T", queue, props, body);
    }
}

static void messages_before_and_after_the_start_are_consumed_and_committed(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 2);
    put_many(&x, "early", 0, 40, "");
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T", "*");
    await_collected(x.to, NULL, 40);
    await_offset(x.f, "T", 0, 40);
    put_many(&x, "late", 1, 5, ""); /* wakes the long poll */
    await_collected(x.to, "late-4@T#0", 1);
    await_offset(x.f, "T", 1, 5);
    assert_int_equal(collected(x.to, NULL), 45);
    struct hp_consumer_stats s;
    hp_consumer_stats(x.k, &s);
    assert_int_equal(s.consumed_ok, 45);
    assert_int_equal(s.cached, 0);
    assert_true(s.pulls >= 3);
    stop(&x);
}

static void consumption_begins_where_the_table_of_start_offsets_says(void **state)
{
    (void)state;
    static const struct {
        enum hp_consume_from from;
        int64_t stored; /* -1: none */
        int64_t first;  /* offset of the first message delivered; 10: only new ones */
    } cases[] = {{HP_FROM_LAST, -1, 10},
                 {HP_FROM_FIRST, -1, 0},
                 {HP_FROM_LAST, 3, 3},
                 {HP_FROM_FIRST, 7, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture x;
        char first[32];
        prepare(&x, 1);
        put_many(&x, "m", 0, 10, "");
        if (cases[i].stored >= 0)
            fake_set_offset(x.f, 0, "CG", "T", 0, cases[i].stored);
        x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = cases[i].from}, "T",
                           "*");
        await_seen(x.f, 0, RC_PULL_MESSAGE, 1);
        fake_put(x.f, 0, "T", 0, "", "m-10");
        await_collected(x.to, "m-10@T#0", 1);
        snprintf(first, sizeof first, "m-%d@T#0", (int)cases[i].first);
        await_collected(x.to, first, 1);
        assert_int_equal(collected(x.to, NULL), 11 - cases[i].first);
        stop(&x);
    }
}

static void an_unknown_stored_offset_is_asked_again_instead_of_guessed(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    put_many(&x, "m", 0, 4, "");
    fake_set_offset(x.f, 0, "CG", "T", 0, 2);
    fake_script(x.f, 0, RC_QUERY_CONSUMER_OFFSET, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T", "*");
    await_collected(x.to, "m-3@T#0", 1);
    assert_int_equal(collected(x.to, NULL), 2);
    stop(&x);
}

static void tags_are_compared_as_text(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    fake_put(x.f, 0, "T", 0, "TAGS\1AaAa\2", "wanted");
    fake_put(x.f, 0, "T", 0, "TAGS\1BBBB\2", "same hash"); /* the broker lets it pass */
    fake_put(x.f, 0, "T", 0, "", "untagged");
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T",
                       "X || AaAa");
    await_collected(x.to, "wanted@T#0", 1);
    await_offset(x.f, "T", 0, 3); /* what was filtered counts as finished */
    assert_int_equal(collected(x.to, NULL), 1);
    stop(&x);
}

static void an_unfinished_message_holds_the_commit_and_survives_a_stop(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    atomic_store(&x.to->gate, true);
    put_many(&x, "m", 0, 3, "");
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST, .threads = 1},
                       "T", "*");
    assert_true(wait_until(is_inside, &(struct has){x.to, NULL, 1}, DEADLINE_MS));
    hp_consumer_stop(x.k, 50); /* the callback is still inside */
    assert_int_equal(fake_offset(x.f, 0, "CG", "T", 0), 0);
    assert_int_equal(fake_members(x.f, 0, "CG"), 0);
    atomic_store(&x.to->gate, false);
    hp_consumer_free(x.k);
    x.k = NULL;
    assert_int_equal(collected(x.to, NULL), 1); /* the other two never began */
    assert_int_equal(fake_offset(x.f, 0, "CG", "T", 0), 0);
    stop(&x);
}

static void stopping_waits_for_callbacks_and_commits(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    put_many(&x, "m", 0, 10, "");
    x.k = new_consumer(
        x.c, x.to,
        (struct hp_consumer_options){.from = HP_FROM_FIRST, .offset_persist_ms = 3600000}, "T",
        "*");
    await_collected(x.to, NULL, 10);
    hp_consumer_stop(x.k, DEADLINE_MS);
    assert_int_equal(fake_offset(x.f, 0, "CG", "T", 0), 10);
    assert_int_equal(fake_members(x.f, 0, "CG"), 0);
    assert_field(x.f, 0, RC_UNREGISTER_CLIENT, 0, "consumerGroup", "CG");
    struct hp_error err = {0};
    assert_int_equal(hp_consumer_start(x.k, &err), HP_E_STATE);
    stop(&x);
}

static void stop_with_a_heartbeat_under_way(struct fixture *x, enum fake_action action, int ms)
{
    prepare(x, 1);
    fake_script(x->f, 0, RC_HEART_BEAT, action, ms, 1);
    x->k = new_consumer(x->c, x->to, (struct hp_consumer_options){0}, "T", "*");
    await_seen(x->f, 0, RC_HEART_BEAT, 1);
    hp_consumer_stop(x->k, 0);
}

/* Apache's broker may handle the heartbeat last: the group would be back. */
static void a_group_leaves_after_the_answer_to_the_heartbeat_that_names_it(void **state)
{
    (void)state;
    struct fixture x;
    stop_with_a_heartbeat_under_way(&x, FAKE_LATE, 300);
    assert_int_equal(fake_late(x.f), 0);
    assert_int_equal(fake_seen(x.f, 0, RC_UNREGISTER_CLIENT), 1);
    assert_int_equal(fake_members(x.f, 0, "CG"), 0);
    stop(&x);
}

static void a_broker_that_answers_no_heartbeat_is_left_without_a_word(void **state)
{
    (void)state;
    struct fixture x;
    stop_with_a_heartbeat_under_way(&x, FAKE_SILENT, 0);
    assert_int_equal(fake_seen(x.f, 0, RC_UNREGISTER_CLIENT), 0);
    stop(&x);
}

static void flow_control_bounds_what_is_cached(void **state)
{
    (void)state;
    struct fixture x;
    struct hp_consumer_stats s;
    prepare(&x, 1);
    atomic_store(&x.to->gate, true);
    put_many(&x, "m", 0, 200, "");
    x.k = new_consumer(
        x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST, .cached_messages_max = 40},
        "T", "*");
    assert_true(wait_until(is_inside, &(struct has){x.to, NULL, 4}, DEADLINE_MS));
    await_seen(x.f, 0, RC_PULL_MESSAGE, 2);
    await_seen(x.f, 0, RC_HEART_BEAT, fake_seen(x.f, 0, RC_HEART_BEAT) + 1); /* a second passes */
    hp_consumer_stats(x.k, &s);
    assert_int_equal(s.cached,
                     64); /* two pulls of 32: the second one began below the limit of 40 */
    assert_int_equal(s.pulls, 2);
    atomic_store(&x.to->gate, false);
    await_collected(x.to, NULL, 200);
    await_offset(x.f, "T", 0, 200);
    stop(&x);
}

static void an_illegal_offset_moves_to_where_the_broker_says_and_is_committed(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    fake_set_min(x.f, 0, "T", 0, 100);
    fake_set_offset(x.f, 0, "CG", "T", 0, 5);
    fake_put(x.f, 0, "T", 0, "", "first left");
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.offset_persist_ms = 3600000}, "T",
                       "*");
    await_collected(x.to, "first left@T#0", 1);
    assert_true(fake_seen(x.f, 0, RC_UPDATE_CONSUMER_OFFSET) >= 1);
    assert_field(x.f, 0, RC_UPDATE_CONSUMER_OFFSET, 0, "commitOffset", "100");
    stop(&x);
}

static void pulls_go_on_after_errors_and_lost_connections(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    fake_script(x.f, 0, RC_PULL_MESSAGE, FAKE_ANSWER, RESP_SYSTEM_ERROR, 1);
    fake_script(x.f, 0, RC_PULL_MESSAGE, FAKE_CLOSE, 0, 1);
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T", "*");
    put_many(&x, "m", 0, 3, "");
    await_collected(x.to, NULL, 3);
    stop(&x);
}

static void a_suspended_consumer_gets_nothing_until_it_resumes(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "T", "*");
    await_seen(x.f, 0, RC_PULL_MESSAGE, 1);
    hp_consumer_suspend(x.k);
    put_many(&x, "m", 0, 5, "");
    await_seen(x.f, 0, RC_HEART_BEAT, fake_seen(x.f, 0, RC_HEART_BEAT) + 1);
    assert_int_equal(collected(x.to, NULL), 0);
    hp_consumer_resume(x.k);
    await_collected(x.to, NULL, 5);
    stop(&x);
}

static void a_topic_that_appears_later_is_consumed(void **state)
{
    (void)state;
    struct fixture x;
    prepare(&x, 1);
    x.k = new_consumer(x.c, x.to, (struct hp_consumer_options){.from = HP_FROM_FIRST}, "later",
                       "*");
    await_seen(x.f, FAKE_NAMESRV, RC_GET_ROUTEINFO_BY_TOPIC, 1);
    fake_topic(x.f, "later", 1);
    fake_put(x.f, 0, "later", 0, "", "x");
    await_collected(x.to, "x@later#0", 1);
    stop(&x);
}

static void broadcasting_keeps_its_offsets_in_a_file(void **state)
{
    (void)state;
    const char *dir = tmpdir_new("broadcast");
    struct fixture x;
    const struct hp_consumer_options o = {
        .from = HP_FROM_FIRST, .model = HP_BROADCASTING, .local_offset_dir = dir};
    prepare(&x, 1);
    put_many(&x, "a", 0, 3, "");
    x.k = new_consumer(x.c, x.to, o, "T", "*");
    await_collected(x.to, NULL, 3);
    hp_consumer_free(x.k);
    put_many(&x, "b", 0, 2, "");
    x.k = new_consumer(x.c, x.to, o, "T", "*");
    await_collected(x.to, "b-1@T#0", 1);
    assert_int_equal(collected(x.to, NULL), 5); /* not from the beginning */
    assert_int_equal(fake_seen(x.f, 0, RC_UPDATE_CONSUMER_OFFSET), 0);
    stop(&x);
    tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_before_and_after_the_start_are_consumed_and_committed),
        cmocka_unit_test(consumption_begins_where_the_table_of_start_offsets_says),
        cmocka_unit_test(an_unknown_stored_offset_is_asked_again_instead_of_guessed),
        cmocka_unit_test(tags_are_compared_as_text),
        cmocka_unit_test(an_unfinished_message_holds_the_commit_and_survives_a_stop),
        cmocka_unit_test(stopping_waits_for_callbacks_and_commits),
        cmocka_unit_test(a_group_leaves_after_the_answer_to_the_heartbeat_that_names_it),
        cmocka_unit_test(a_broker_that_answers_no_heartbeat_is_left_without_a_word),
        cmocka_unit_test(flow_control_bounds_what_is_cached),
        cmocka_unit_test(an_illegal_offset_moves_to_where_the_broker_says_and_is_committed),
        cmocka_unit_test(pulls_go_on_after_errors_and_lost_connections),
        cmocka_unit_test(a_suspended_consumer_gets_nothing_until_it_resumes),
        cmocka_unit_test(a_topic_that_appears_later_is_consumed),
        cmocka_unit_test(broadcasting_keeps_its_offsets_in_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
