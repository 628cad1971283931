/* client/options.c and the option checks of producer.c and push.c: each refusal names what is
 * wrong. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "client/options.h"
#include "halfpenny/halfpenny.h"

static void client_options_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct hp_client_options o;
        const char *says;
    } cases[] = {
        {{.namesrv_addr = ""}, "NAMESRV_ADDR"},
        {{.namesrv_addr = ";;"}, "no name server"},
        {{.namesrv_addr = "localhost"}, "\"localhost\" is not host:port"},
        {{.namesrv_addr = "a:9876;b:0"}, "\"b:0\""},
        {{.namesrv_addr = "a:65536"}, "\"a:65536\""},
        {{.namesrv_addr = "a:1", .heartbeat_ms = -1}, "heartbeat_ms"},
        {{.namesrv_addr = "a:1", .heartbeat_ms = 200000}, "forget"},
        {{.namesrv_addr = "a:1", .route_refresh_ms = -1}, "route_refresh_ms"},
        {{.namesrv_addr = "a:1", .request_timeout_ms = -1}, "request_timeout_ms"},
        {{.namesrv_addr = "127.0.0.1:1", .instance_name = "../x"}, "instance_name"},
        {{.namesrv_addr = "127.0.0.1:1", .unit_name = "a@b"}, "unit_name"},
        {{.namesrv_addr = "127.0.0.1:1", .client_ip = ""}, "client_ip"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hp_error err = {0};
        hp_client *c = NULL;
        assert_int_equal(hp_client_new(&cases[i].o, &c, &err), HP_E_INVALID);
        assert_int_equal(err.code, HP_E_INVALID);
        assert_contains(err.text, cases[i].says);
        assert_null(c);
    }
}

static void the_client_id_has_address_instance_and_unit(void **state)
{
    (void)state;
    struct client_settings s;
    const struct hp_client_options o = {.namesrv_addr = " 127.0.0.1:9876 ;127.0.0.1:9877;",
                                        .instance_name = "i1",
                                        .unit_name = "u"};
    assert_int_equal(settings_init(&s, &o, NULL), 0);
    assert_string_equal(s.client_id, "127.0.0.1@i1@u");
    assert_int_equal(s.name_server_n, 2);
    assert_string_equal(s.name_servers[0], "127.0.0.1:9876");
    assert_int_equal(s.route_refresh_ms, 30000);
    settings_fini(&s);
}

static void two_default_instances_differ_but_share_the_stable_id(void **state)
{
    (void)state;
    struct client_settings a, b;
    const struct hp_client_options o = {.namesrv_addr = "127.0.0.1:9876"};
    assert_int_equal(settings_init(&a, &o, NULL), 0);
    assert_int_equal(settings_init(&b, &o, NULL), 0);
    assert_string_not_equal(a.client_id, b.client_id);
    assert_string_equal(a.stable_id, "127.0.0.1@DEFAULT");
    assert_string_equal(b.stable_id, a.stable_id);
    settings_fini(&a);
    settings_fini(&b);
}

static void the_environment_gives_the_name_servers(void **state)
{
    (void)state;
    struct client_settings s;
    setenv("NAMESRV_ADDR", "127.0.0.1:1234", 1);
    assert_int_equal(settings_init(&s, NULL, NULL), 0);
    assert_string_equal(s.name_servers[0], "127.0.0.1:1234");
    settings_fini(&s);
    unsetenv("NAMESRV_ADDR");
    assert_int_equal(settings_init(&s, NULL, NULL), HP_E_INVALID);
}

static enum hp_consume_result never(void *arg, const hp_message_view *v)
{
    (void)arg;
    (void)v;
    return HP_CONSUME_SUCCESS;
}

static hp_client *unconnected(void)
{
    hp_client *c = NULL;
    const struct hp_client_options o = {.namesrv_addr = "127.0.0.1:1"};
    assert_int_equal(hp_client_new(&o, &c, NULL), 0);
    return c;
}

static void producer_options_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct hp_producer_options o;
        const char *says;
    } cases[] = {
        {{.group = NULL}, "group is mandatory"},
        {{.group = "a b"}, "group"},
        {{.group = "DEFAULT_PRODUCER"}, "reserved"},
        {{.group = "g", .send_timeout_ms = -1}, "send_timeout_ms"},
        {{.group = "g", .retry_times = -2}, "retry_times"},
        {{.group = "g", .check_threads = -1}, "check_threads"},
    };
    hp_client *c = unconnected();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hp_error err = {0};
        hp_producer *p = NULL;
        assert_int_equal(hp_producer_new(c, &cases[i].o, &p, &err), HP_E_INVALID);
        assert_contains(err.text, cases[i].says);
    }
    hp_client_free(c);
}

static void consumer_options_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct hp_consumer_options o;
        const char *says;
    } cases[] = {
        {{.consume = never}, "group is mandatory"},
        {{.group = "g"}, "consume is mandatory"},
        {{.group = "../g", .consume = never}, "group"},
        {{.group = "g", .consume = never, .threads = 5000}, "threads"},
        {{.group = "g", .consume = never, .from = (enum hp_consume_from)9}, "from"},
        {{.group = "g", .consume = never, .model = (enum hp_message_model)9}, "model"},
        {{.group = "g", .consume = never, .pull_batch = -1}, "pull_batch"},
        {{.group = "g", .consume = never, .suspend_ms = -1}, "suspend_ms"},
    };
    hp_client *c = unconnected();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hp_error err = {0};
        hp_consumer *k = NULL;
        assert_int_equal(hp_consumer_new(c, &cases[i].o, &k, &err), HP_E_INVALID);
        assert_contains(err.text, cases[i].says);
    }
    hp_client_free(c);
}

static void subscribing_follows_the_states_of_a_consumer(void **state)
{
    (void)state;
    struct hp_error err = {0};
    hp_client *c = unconnected();
    hp_consumer *k = NULL;
    assert_int_equal(
        hp_consumer_new(c, &(struct hp_consumer_options){.group = "g", .consume = never}, &k, &err),
        0);
    assert_int_equal(hp_consumer_start(k, &err), HP_E_STATE);
    assert_int_equal(hp_consumer_subscribe(k, "../../etc", "*", &err), HP_E_INVALID);
    assert_int_equal(hp_consumer_subscribe(k, "T", "|| ||", &err), HP_E_INVALID);
    assert_int_equal(hp_consumer_subscribe(k, "T", "A || B", &err), 0);
    assert_int_equal(hp_consumer_subscribe(k, "T", "*", &err), HP_E_STATE);
    hp_consumer_free(k);
    hp_client_free(c);
}

int main(void)
{
    unsetenv("NAMESRV_ADDR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_options_that_make_no_sense_are_refused_by_name),
        cmocka_unit_test(the_client_id_has_address_instance_and_unit),
        cmocka_unit_test(two_default_instances_differ_but_share_the_stable_id),
        cmocka_unit_test(the_environment_gives_the_name_servers),
        cmocka_unit_test(producer_options_that_make_no_sense_are_refused_by_name),
        cmocka_unit_test(consumer_options_that_make_no_sense_are_refused_by_name),
        cmocka_unit_test(subscribing_follows_the_states_of_a_consumer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
