/* Free TCP ports. The system picks one (port 0); it is then closed, and somebody else may take it
 * before the program under test does: programs that can take port 0 themselves should.
 * Runs on: any thread. */
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

/* Binds to the port (0: any) and returns it, 0 when it is taken. */
static uint16_t try_port(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t n = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        mq_panic(__FILE__, __LINE__, "socket: %s", strerror(errno));
    bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &n) == 0;
    close(fd);
    return ok ? ntohs(a.sin_port) : 0;
}

uint16_t free_port_row(int n)
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        uint16_t first = try_port(0);
        int i = 1;
        if (!first || first > UINT16_MAX - n)
            continue;
        while (i < n && try_port((uint16_t)(first + i)))
            i++;
        if (i == n)
            return first;
    }
    mq_panic(__FILE__, __LINE__, "no %d free ports in a row on 127.0.0.1", n);
}

uint16_t free_port(void)
{
    return free_port_row(1);
}
