#include <arpa/inet.h>

#include "proto/message.h"
#include "tests/unit/proto/vectors.h"

static void text_round_trips(void **state)
{
    static const char *const texts[] = {"10.0.0.1:10911", "0.0.0.0:0", "255.255.255.255:65535",
                                        "[::1]:1", "[2001:db8::1]:10911"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct host h;
        char text[64];
        assert_int_equal(host_parse(slice_str(texts[i]), &h), 0);
        host_text(&h, text);
        assert_string_equal(text, texts[i]);
        assert_int_equal(h.len, texts[i][0] == '[' ? 16 : 4);
    }
}

static void other_text_is_no_host(void **state)
{
    static const char *const texts[] = {
        "",
        ":",
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1:65536",
        "10.0.0.1:-1",
        "10.0.0.1:1x",
        "10.0.0.256:1",
        "localhost:1",
        "::1:1",
        "[::1]",
        "[]:1",
        "[10.0.0.1]:1",
        "[::1:1",
        "10.0.0.1.1:1",
        "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]:1"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct host h = {.len = 9};
        if (host_parse(slice_str(texts[i]), &h) != E_INVAL)
            fail_msg("\"%s\" was taken for a host", texts[i]);
        assert_int_equal(h.len, 9);
    }
}

static void check_sockaddr(const struct sockaddr *sa, const char *want)
{
    struct host h;
    char text[64];
    assert_int_equal(host_from_sockaddr(sa, &h), 0);
    host_text(&h, text);
    assert_string_equal(text, want);
}

static void socket_addresses_become_hosts(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(10911)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    const struct sockaddr unix_like = {.sa_family = AF_UNIX};
    struct host h;
    (void)state;
    inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr);
    check_sockaddr((const struct sockaddr *)&v4, "10.1.2.3:10911");
    inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr);
    check_sockaddr((const struct sockaddr *)&v6, "[2001:db8::7]:1");
    inet_pton(AF_INET6, "::ffff:10.1.2.3", &v6.sin6_addr);
    check_sockaddr((const struct sockaddr *)&v6, "10.1.2.3:1");
    assert_int_equal(host_from_sockaddr(&unix_like, &h), E_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_round_trips),
        cmocka_unit_test(other_text_is_no_host),
        cmocka_unit_test(socket_addresses_become_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
