/* client/producer.c: many threads, asynchronous sends and their bound, and shutting down. */
#include "tests/unit/client/client_fixture.h"

#include <stdatomic.h>

enum { THREADS = 8, EACH = 100 };

struct sender {
    hp_producer *p;
    int failed;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++)
        s->failed += send_text(s->p, "T", "hello", NULL, NULL) != 0;
    return NULL;
}

static void many_threads_send_at_once(void **state)
{
    (void)state;
    struct fake *f = fake_start(2);
    fake_topic(f, "T", 4);
    hp_client *c = new_client(f, "i");
    struct sender s[THREADS];
    pthread_t threads[THREADS];
    hp_producer *p = new_producer(c, (struct hp_producer_options){.send_timeout_ms = DEADLINE_MS});
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct sender){p, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &s[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(s[i].failed, 0);
    }
    assert_int_equal(fake_stored(f, FAKE_ALL, "T"), THREADS * EACH);
    hp_producer_free(p);
    hp_client_free(c);
    fake_stop(f);
}

static atomic_int done_ok, done_bad, last_code;

static void on_done(void *arg, const struct hp_send_result *res, const struct hp_error *err)
{
    (void)arg;
    if (err)
        atomic_store(&last_code, err->code);
    atomic_fetch_add(res ? &done_ok : &done_bad, 1);
}

static void asynchronous_sends_are_bounded(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    fake_topic(f, "T", 4);
    fake_script(f, 0, RC_SEND_MESSAGE_V2, FAKE_SILENT, 0, 1000);
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(
        c, (struct hp_producer_options){.send_timeout_ms = 500, .async_max = 3});
    atomic_store(&done_bad, 0);
    hp_message *m = hp_message_new("T", "x", 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hp_send_async(p, m, on_done, NULL, &err), 0);
    assert_int_equal(hp_send_async(p, m, on_done, NULL, &err), HP_E_BUSY);
    assert_contains(err.text, "async_max");
    assert_int_equal(hp_send_async(p, m, NULL, NULL, &err), HP_E_INVALID);
    hp_message_free(m);
    hp_producer_free(p); /* waits for the three */
    assert_int_equal(atomic_load(&done_bad), 3);
    assert_int_equal(atomic_load(&last_code), HP_E_TIMEOUT);
    hp_client_free(c);
    fake_stop(f);
}

static void freeing_a_producer_waits_for_its_sends(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    fake_topic(f, "T", 4);
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(c, (struct hp_producer_options){0});
    atomic_store(&done_ok, 0);
    for (int i = 0; i < 200; i++) {
        hp_message *m = hp_message_new("T", "x", 1);
        assert_int_equal(hp_send_async(p, m, on_done, NULL, NULL), 0);
        assert_int_equal(hp_send_oneway(p, m, NULL), 0);
        hp_message_free(m);
    }
    hp_producer_free(p);
    assert_int_equal(atomic_load(&done_ok), 200);
    await_seen(f, 0, RC_SEND_MESSAGE_V2, 400);
    int oneway = 0;
    for (int i = 0; i < 400; i++)
        oneway += fake_oneway(f, 0, RC_SEND_MESSAGE_V2, i);
    assert_int_equal(oneway, 200);
    hp_client_free(c);
    fake_stop(f);
}

static atomic_int from_loop;

static void send_from_callback(void *arg, const struct hp_send_result *res,
                               const struct hp_error *err)
{
    (void)res;
    (void)err;
    struct hp_error inner = {0};
    atomic_store(&from_loop, send_text(arg, "T", "x", NULL, &inner));
}

static void a_waiting_call_from_the_loop_is_refused_instead_of_hanging(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    fake_topic(f, "T", 4);
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(c, (struct hp_producer_options){0});
    hp_message *m = hp_message_new("T", "x", 1);
    assert_int_equal(hp_send_async(p, m, send_from_callback, p, NULL), 0);
    hp_message_free(m);
    hp_producer_free(p);
    assert_int_equal(atomic_load(&from_loop), HP_E_STATE);
    hp_client_free(c);
    fake_stop(f);
}

static void a_group_has_one_producer_in_a_client(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    struct hp_error err = {0};
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(c, (struct hp_producer_options){.group = "PG"}), *other = NULL;
    assert_int_equal(hp_producer_new(c, &(struct hp_producer_options){.group = "PG"}, &other, &err),
                     HP_E_STATE);
    assert_null(other);
    hp_producer_free(p);
    p = new_producer(c, (struct hp_producer_options){.group = "PG"});
    hp_producer_free(p);
    hp_client_free(c);
    fake_stop(f);
}

static void a_producer_that_has_sent_unregisters(void **state)
{
    (void)state;
    struct fake *f = fake_start(1);
    fake_topic(f, "T", 1);
    hp_client *c = new_client(f, "i");
    hp_producer *p = new_producer(c, (struct hp_producer_options){.group = "PG"});
    assert_int_equal(send_text(p, "T", "x", NULL, NULL), 0);
    await_seen(f, 0, RC_HEART_BEAT, 1);
    hp_producer_free(p);
    assert_field(f, 0, RC_UNREGISTER_CLIENT, 0, "producerGroup", "PG");
    assert_field(f, 0, RC_UNREGISTER_CLIENT, 0, "clientID", hp_client_id(c));
    hp_client_free(c);
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_send_at_once),
        cmocka_unit_test(asynchronous_sends_are_bounded),
        cmocka_unit_test(freeing_a_producer_waits_for_its_sends),
        cmocka_unit_test(a_waiting_call_from_the_loop_is_refused_instead_of_hanging),
        cmocka_unit_test(a_group_has_one_producer_in_a_client),
        cmocka_unit_test(a_producer_that_has_sent_unregisters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
