/* Unit tests of broker/client_mgr.c, with connections of a real server on a loopback port. */
#include "broker/client_mgr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "tests/support/wait.h"

enum { CONNS = 3 };

static struct loop loop;
static struct server *server;
static struct clients *clients;
static struct clock_fake fake;
static struct conn *conns[CONNS];
static struct client_conn *members[CONNS];
static int sockets[CONNS];
static _Atomic int opened;

static void on_open(struct server *s, struct conn *c)
{
    (void)s;
    const int i = opened;
    conn_ref(c);
    conns[i] = c;
    opened = i + 1;
}

static bool all_open(void *arg)
{
    return opened >= *(int *)arg;
}

static bool is_closing(void *arg)
{
    return conn_closing(arg);
}

static int setup(void **state)
{
    (void)state;
    struct err e;
    assert_ok(loop_start(&loop, "test", 0, &e), &e);
    struct loop *loops[] = {&loop};
    const struct server_opts o = {.name = "test",
                                  .bind_address = "127.0.0.1",
                                  .backlog = 8,
                                  .loops = loops,
                                  .loop_n = 1,
                                  .clock = &clock_system,
                                  .on_open = on_open};
    assert_ok(server_open(&server, &o, &e), &e);
    clock_fake_init(&fake, 0, 1000000);
    const struct clients_limits l = {
        .groups_max = 3, .members_max = 2, .subs_max = 2, .expire_ms = 120000};
    clients = clients_new(&l, &fake.base);
    for (int i = 0; i < CONNS; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)server_port(server)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(sockets[i], (struct sockaddr *)&to, sizeof to), 0);
        int want = i + 1;
        assert_true(wait_until(all_open, &want, 5000));
        members[i] = client_conn_new(conns[i]);
        assert_non_null(members[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < CONNS; i++) {
        client_conn_closed(clients, members[i]);
        conn_unref(conns[i]);
        close(sockets[i]);
    }
    clients_free(clients);
    server_close(server);
    loop_stop(&loop);
    opened = 0;
    return 0;
}

static int add_consumer(int i, const char *group, const char *topic, const char *expression,
                        int64_t version)
{
    struct heartbeat_sub sub = {
        .topic = slice_str(topic), .sub_string = slice_str(expression), .version = version};
    const struct heartbeat_consumer hc = {.group = slice_str(group),
                                          .message_model = SLICE_LIT("CLUSTERING"),
                                          .subs = &sub,
                                          .sub_n = 1};
    struct err e;
    return clients_add_consumer(clients, members[i], &hc, SLICE_LIT("client"), 513, 0, true, &e);
}

static struct group_sub *subscription(const char *group, const char *topic)
{
    struct group_sub *s = NULL;
    enum consumer_model model;
    if (clients_subscription(clients, slice_str(group), slice_str(topic), &s, &model) != 0)
        return NULL;
    return s;
}

static void a_group_exists_as_long_as_it_has_a_member(void **state)
{
    (void)state;
    struct buf ids;
    buf_init(&ids, 0);
    assert_int_equal(clients_consumer_ids(clients, SLICE_LIT("g"), &ids), E_NOTFOUND);
    assert_int_equal(add_consumer(0, "g", "t", "*", 1), 0);
    assert_int_equal(add_consumer(1, "g", "t", "*", 1), 0);
    assert_int_equal(add_consumer(1, "g", "t", "*", 1),
                     0); /* a second heartbeat is no second member */
    assert_int_equal(clients_consumer_count(clients, SLICE_LIT("g")), 2);
    clients_remove(clients, members[0], SLICE_NULL, SLICE_LIT("g"), true);
    assert_int_equal(clients_consumer_count(clients, SLICE_LIT("g")), 1);
    clients_remove(clients, members[1], SLICE_NULL, SLICE_LIT("g"), true);
    assert_int_equal(clients_consumer_ids(clients, SLICE_LIT("g"), &ids), E_NOTFOUND);
    buf_free(&ids);
}

static void
a_newer_subscription_replaces_an_older_one_and_old_ones_live_as_long_as_used(void **state)
{
    (void)state;
    assert_int_equal(add_consumer(0, "g", "t", "A", 5), 0);
    struct group_sub *first = subscription("g", "t");
    assert_non_null(first);
    assert_int_equal(add_consumer(0, "g", "t", "B", 4), 0);
    struct group_sub *same = subscription("g", "t");
    assert_ptr_equal(first, same);
    assert_int_equal(add_consumer(0, "g", "t", "B", 6), 0);
    struct group_sub *second = subscription("g", "t");
    assert_string_equal(second->s.sub_string, "B");
    assert_string_equal(first->s.sub_string, "A");
    assert_int_equal(add_consumer(0, "g", "u", "*", 7),
                     0); /* the other topic is not in it: dropped */
    assert_null(subscription("g", "t"));
    group_sub_unref(first);
    group_sub_unref(same);
    group_sub_unref(second);
}

static void limits_are_kept(void **state)
{
    (void)state;
    assert_int_equal(add_consumer(0, "g", "t", "*", 1), 0);
    assert_int_equal(add_consumer(1, "g", "t", "*", 1), 0);
    assert_int_equal(add_consumer(2, "g", "t", "*", 1), E_BUSY); /* members */
    assert_int_equal(add_consumer(2, "h", "t", "*", 1), 0);
    assert_int_equal(add_consumer(2, "i", "t", "*", 1), 0);
    assert_int_equal(add_consumer(2, "j", "t", "*", 1), E_BUSY); /* groups */
}

static void producers_are_picked_in_turn_and_nobody_when_all_are_gone(void **state)
{
    (void)state;
    struct err e;
    assert_null(clients_pick_producer(clients, SLICE_LIT("pg")));
    for (int i = 0; i < 2; i++)
        assert_ok(
            clients_add_producer(clients, members[i], SLICE_LIT("pg"), SLICE_LIT("c"), 513, 0, &e),
            &e);
    struct conn *a = clients_pick_producer(clients, SLICE_LIT("pg")),
                *b = clients_pick_producer(clients, SLICE_LIT("pg"));
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    conn_unref(a);
    conn_unref(b);
    clients_remove(clients, members[0], SLICE_LIT("pg"), SLICE_NULL, false);
    clients_remove(clients, members[1], SLICE_LIT("pg"), SLICE_NULL, false);
    assert_null(clients_pick_producer(clients, SLICE_LIT("pg")));
}

static void who_sends_no_heartbeat_expires_and_is_disconnected(void **state)
{
    (void)state;
    assert_int_equal(add_consumer(0, "g", "t", "*", 1), 0);
    clock_fake_advance(&fake, 60000);
    assert_int_equal(add_consumer(1, "g", "t", "*", 1), 0);
    clock_fake_advance(&fake, 60000);
    clients_expire(clients);
    assert_int_equal(clients_consumer_count(clients, SLICE_LIT("g")), 1);
    assert_true(wait_until(is_closing, conns[0], 5000));
    assert_false(conn_closing(conns[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_group_exists_as_long_as_it_has_a_member, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_newer_subscription_replaces_an_older_one_and_old_ones_live_as_long_as_used, setup,
            teardown),
        cmocka_unit_test_setup_teardown(limits_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(producers_are_picked_in_turn_and_nobody_when_all_are_gone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_sends_no_heartbeat_expires_and_is_disconnected, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
