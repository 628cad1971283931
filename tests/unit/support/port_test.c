/* tests/support/port.c */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/port.h"

static int listen_on(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void a_row_of_ports_can_be_listened_on(void **state)
{
    (void)state;
    int fds[3];
    uint16_t first = free_port_row(3);
    assert_true(first >= 1024);
    for (int i = 0; i < 3; i++)
        fds[i] = listen_on((uint16_t)(first + i));
    assert_int_not_equal(free_port(), first); /* taken now */
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_row_of_ports_can_be_listened_on)};
    return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
