/* limit: how fast could anybody be with this protocol on this machine? A model, not a broker.
 *
 * One thread. Each turn of the loop reads what all connections sent, checksums the bodies, appends the
 * frames to one file with pwritev straight from the receive buffers (sync mode: one fdatasync for all of
 * them), and answers like a broker. No queues, no index, no transactions, no recovery. A pull is answered
 * from memory with 32 records of 1 KiB: what loopback and the client can carry.
 *
 * usage: limit DIR [--sync]          serves on a free port, says which on stdout
 *        limit --count DIR           counts the records of the log, checking each checksum
 *
 * Failure: a failed write or sync ends the program: it never acknowledges what it did not write. A
 * connection that sends no valid request is closed.
 *
 * Invariant: an answer is sent only after the pwritev (and fdatasync) that covers its frame. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc.h"
#include "bench/limit_frame.h"
#include "bench/rmq.h"
#include "proto/command.h"
#include "proto/message.h"

enum { INBUF = 1 << 20, EVENTS = 512, PULL_MESSAGES = 32 };
static const off_t reserve_step = 1L << 30;

struct peer_conn {
    int fd;
    char *in;
    size_t in_n, taken; /* bytes received; of them in this turn's append */
    struct buf out;
    bool armed; /* EPOLLOUT */
};

struct limit {
    int file, epoll, listener;
    bool sync, unsynced;
    off_t size, reserved;
    struct iovec iov[IOV_MAX];
    char head[IOV_MAX / 2][LIMIT_RECORD_HEAD];
    int iov_n;
    int64_t stored;
    struct buf pull; /* 32 records */
};

static _Noreturn void stop(const char *what)
{
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- the log --- */

static void log_write(struct limit *l)
{
    struct iovec *v = l->iov;
    size_t left = 0;
    for (int i = 0; i < l->iov_n; i++)
        left += v[i].iov_len;
    while (l->size + (off_t)left > l->reserved) {
        if (posix_fallocate(l->file, l->reserved, reserve_step) != 0)
            stop("fallocate");
        l->reserved += reserve_step;
    }
    for (int n = l->iov_n; left > 0;) {
        const ssize_t put = pwritev(l->file, v, n, l->size);
        if (put <= 0)
            stop("pwritev");
        l->size += put;
        left -= (size_t)put;
        size_t rest = (size_t)put;
        for (; n > 0 && rest >= v->iov_len; v++, n--)
            rest -= v->iov_len;
        if (n > 0) { /* a short write: go on in the middle of a piece */
            v->iov_base = (char *)v->iov_base + rest;
            v->iov_len -= rest;
        }
    }
    l->iov_n = 0;
    l->unsynced = l->sync;
}

static void log_add(struct limit *l, const char *frame, const struct limit_request *r)
{
    if (l->iov_n + 2 > IOV_MAX)
        log_write(l);
    char *head = l->head[l->iov_n / 2];
    be32_put(head, (uint32_t)r->total);
    be32_put(head + 4, crc32_body(r->body));
    l->iov[l->iov_n++] = (struct iovec){head, LIMIT_RECORD_HEAD};
    /* pwritev only reads through iov_base */
    l->iov[l->iov_n++] = (struct iovec){(void *)(uintptr_t)frame, r->total};
    l->stored++;
}

/* --- requests --- */

static void answer(struct buf *out, const struct limit_request *r, const char *fields,
                   struct slice body)
{
    char text[512];
    const int n = snprintf(text, sizeof text,
                           "{\"code\":0,\"extFields\":{%s},\"flag\":1,\"language\":\"CPP\","
                           "\"opaque\":%lld,\"version\":%d}",
                           fields, (long long)r->opaque, MQ_VERSION_OURS);
    buf_be32(out, (uint32_t)(4 + (size_t)n + body.n));
    buf_be32(out, (uint32_t)n);
    buf_add(out, text, (size_t)n);
    buf_slice_add(out, body);
}

static void serve(struct limit *l, struct peer_conn *c, const char *frame,
                  const struct limit_request *r)
{
    char fields[256];
    switch (r->code) {
    case RC_SEND_MESSAGE_V2:
    case RC_SEND_BATCH_MESSAGE:
        log_add(l, frame, r);
        snprintf(fields, sizeof fields,
                 "\"msgId\":\"7F00000100002A9F%016llX\",\"queueId\":\"0\",\"queueOffset\":\"%lld\"",
                 (unsigned long long)l->stored, (long long)l->stored);
        answer(&c->out, r, fields, SLICE_NULL);
        break;
    case RC_PULL_MESSAGE: /* every queue goes on for ever */
        snprintf(fields, sizeof fields,
                 "\"maxOffset\":\"%lld\",\"minOffset\":\"0\",\"nextBeginOffset\":\"%lld\","
                 "\"suggestWhichBrokerId\":\"0\"",
                 (long long)INT64_MAX,
                 (long long)(rmq_number(r->header, "queueOffset") + PULL_MESSAGES));
        answer(&c->out, r, fields, buf_slice(&l->pull));
        break;
    default: /* create topic, offsets: nothing to remember */
        answer(&c->out, r, "\"offset\":\"0\"", SLICE_NULL);
    }
}

static void conn_close(struct peer_conn *c)
{
    close(c->fd); /* leaves the epoll set with it */
    free(c->in);
    buf_free(&c->out);
    free(c);
}

/* Reads and takes what is there; false when the connection is over. */
static bool conn_read(struct limit *l, struct peer_conn *c)
{
    const ssize_t got = recv(c->fd, c->in + c->in_n, INBUF - c->in_n, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    c->in_n += got > 0 ? (size_t)got : 0;
    struct limit_request r;
    struct err e;
    int rc;
    while ((rc = limit_request_read(c->in + c->taken, c->in_n - c->taken, &r, &e)) == 0) {
        serve(l, c, c->in + c->taken, &r);
        c->taken += r.total;
    }
    return rc == E_AGAIN && (c->taken > 0 || c->in_n < INBUF);
}

/* What could not be sent at once is sent with the answers of a later turn. */
static bool conn_answer(struct limit *l, struct peer_conn *c)
{
    const ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    buf_consume(&c->out, n > 0 ? (size_t)n : 0);
    const bool rest = c->out.n > 0;
    struct epoll_event ev = {.events = rest ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (rest != c->armed && epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev) != 0)
        stop("epoll_ctl");
    c->armed = rest;
    c->in_n -= c->taken;
    memmove(c->in, c->in + c->taken, c->in_n);
    c->taken = 0;
    return true;
}

static void conn_accept(struct limit *l)
{
    const int fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct peer_conn *c = calloc(1, sizeof *c);
    if (c == NULL || (c->in = malloc(INBUF)) == NULL)
        stop("memory");
    c->fd = fd;
    buf_init(&c->out, 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        stop("epoll_ctl");
}

static void turn(struct limit *l)
{
    struct epoll_event evs[EVENTS];
    const int n = epoll_wait(l->epoll, evs, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        struct peer_conn *c = evs[i].data.ptr;
        if (c == NULL)
            conn_accept(l);
        else if (!conn_read(l, c))
            c->in_n = SIZE_MAX; /* closed below, when nothing points into its buffer */
    }
    if (l->iov_n > 0)
        log_write(l);
    if (l->unsynced && fdatasync(l->file) != 0)
        stop("fdatasync");
    l->unsynced = false;
    for (int i = 0; i < n; i++) {
        struct peer_conn *c = evs[i].data.ptr;
        if (c != NULL && (c->in_n == SIZE_MAX || !conn_answer(l, c)))
            conn_close(c);
    }
}

static void make_pull_body(struct limit *l)
{
    struct buf body;
    buf_init(&body, 0);
    for (int i = 0; i < 1024; i++)
        buf_char(&body, (char)('a' + i % 26));
    struct message m = {.body_crc = -1, .body = buf_slice(&body), .topic = SLICE_LIT("BenchLoad")};
    m.born_host.len = m.store_host.len = 4;
    size_t size;
    if (message_prepare(&m, &size) != 0)
        stop("record");
    for (int i = 0; i < PULL_MESSAGES; i++)
        message_encode(&m, buf_extend(&l->pull, size), size);
    buf_free(&body);
}

static int count(const char *path)
{
    enum { PART = 32 << 20 }; /* more than any record */
    struct limit_count c = {0};
    struct err e;
    size_t have = 0;
    char *part = malloc(PART);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || part == NULL)
        stop(path);
    for (ssize_t got; !c.ended && (got = read(fd, part + have, PART - have)) > 0;) {
        have += (size_t)got;
        const int64_t used = limit_count_part(&c, part, have, &e);
        if (used < 0) {
            fprintf(stderr, "limit: %s: %s\n", path, e.text);
            return 1;
        }
        have -= (size_t)used;
        memmove(part, part + used, have);
    }
    printf("%lld\n", (long long)c.records);
    free(part);
    close(fd);
    return 0;
}

static int listen_free(struct limit *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    l->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN};
    if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&a, n) != 0 ||
        listen(l->listener, 1024) != 0 ||
        getsockname(l->listener, (struct sockaddr *)&a, &n) != 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->listener, &ev) != 0)
        stop("listen");
    return ntohs(a.sin_port);
}

int main(int argc, char **argv)
{
    static struct limit l;
    char path[PATH_MAX];
    const bool counting = argc == 3 && strcmp(argv[1], "--count") == 0;
    l.sync = argc == 3 && strcmp(argv[2], "--sync") == 0;
    if (!counting && !l.sync && argc != 2) {
        fputs("usage: limit DIR [--sync] | limit --count DIR\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/limit.log", argv[counting ? 2 : 1]);
    if (counting)
        return count(path);
    l.file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (l.file < 0)
        stop(path);
    make_pull_body(&l);
    printf("ready 127.0.0.1:%d\n", listen_free(&l));
    fflush(stdout);
    for (;;)
        turn(&l);
}
