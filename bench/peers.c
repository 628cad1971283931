/* What the drivers of foreign servers share: lines, bodies, and one blocking question. Runs on the
 * caller's thread; no state. Every length from a server is bounded before it is used. */
#include "bench/peers.h"

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/wire.h"

enum { LINE_MAX_BYTES = 64 * 1024, ANSWER_MAX = 1 << 20, ASK_SECONDS = 5 };

int64_t peer_line(const char *in, size_t n, struct slice *line, struct err *e)
{
    const char *end = memchr(in, '\n', n);
    if (end == NULL)
        return n > LINE_MAX_BYTES ? err_set(e, E_PROTO, "a line of more than %zu bytes", n) : 0;
    const size_t length = (size_t)(end - in) + 1;
    if (length < 2 || end[-1] != '\r')
        return err_set(e, E_PROTO, "a line that does not end with CR LF");
    *line = slice_of(in, length - 2);
    return (int64_t)length;
}

void peer_body(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_char(out, (char)('a' + i % 26));
}

static int read_until(int fd, const char *wanted, const char *refused, struct buf *out,
                      struct err *e)
{
    char part[8192];
    for (;;) {
        const ssize_t n = recv(fd, part, sizeof part, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, E_TIMEOUT, "no answer: %s", strerror(errno));
        if (n == 0)
            return err_set(e, E_CLOSED, "the server closed the connection");
        buf_add(out, part, (size_t)n);
        if (buf_error(out) != 0)
            return err_set(e, buf_error(out), "an endless answer");
        if (refused != NULL && memmem(out->p, out->n, refused, strlen(refused)) != NULL)
            return err_set(e, E_REMOTE, SLICE_FMT, SLICE_ARG(buf_slice(out)));
        if (memmem(out->p, out->n, wanted, strlen(wanted)) != NULL)
            return 0;
    }
}

int peer_ask(const struct host *h, const char *request, const char *wanted, const char *refused,
             struct buf *out, struct err *e)
{
    const int fd = wire_dial(h, e);
    if (fd < 0)
        return fd;
    const struct timeval patience = {.tv_sec = ASK_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    buf_init(out, ANSWER_MAX);
    int rc = 0;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
        rc = err_set(e, E_CLOSED, "send: %s", strerror(errno));
    if (rc == 0)
        rc = read_until(fd, wanted, refused, out, e);
    close(fd);
    return rc;
}

int peer_number(const struct buf *text, const char *name, int64_t *out, struct err *e)
{
    const char *at = memmem(text->p, text->n, name, strlen(name));
    if (at == NULL)
        return err_set(e, E_PROTO, "no %s in the answer", name);
    at += strlen(name);
    const char *end = text->p + text->n;
    size_t digits = 0;
    while (at + digits < end && at[digits] >= '0' && at[digits] <= '9')
        digits++;
    if (digits == 0 || slice_i64(slice_of(at, digits), out) != 0)
        return err_set(e, E_PROTO, "no number after %s", name);
    return 0;
}
