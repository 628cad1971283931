/* Blocking requests to a broker; see wire.h. Runs on the caller's thread; no state but the socket. */
#include "bench/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "remoting/frame.h"

int wire_dial(const struct host *h, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)h->port)};
    memcpy(&a.sin_addr, h->addr, 4);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, errno, "socket");
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        const int code = err_set(e, E_CONNECT, "connect: %s", strerror(errno));
        close(fd);
        return code;
    }
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int read_exact(int fd, char *p, size_t n, struct err *e)
{
    while (n > 0) {
        const ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(e, E_CLOSED, "the broker closed the connection");
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

static int write_all(int fd, struct slice s, struct err *e)
{
    while (s.n > 0) {
        const ssize_t put = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_set(e, E_CLOSED, "send: %s", strerror(errno));
        s.p += put;
        s.n -= (size_t)put;
    }
    return 0;
}

int wire_ask(int fd, int32_t code, const void *hdr, struct buf *store, struct command *answer,
             struct err *e)
{
    const struct code_row *row = code_row_of(code);
    const struct command_out out = {
        .code = code, .opaque = 1, .desc = row->request, .names = row->names, .hdr = hdr};
    buf_clear(store);
    int rc = command_encode(store, &out, 0, e);
    if (rc != 0 || (rc = write_all(fd, buf_slice(store), e)) != 0)
        return rc;

    char word[4];
    if ((rc = read_exact(fd, word, sizeof word, e)) != 0)
        return rc;
    const size_t rest = be32_get(word);
    if (rest > FRAME_MAX)
        return err_set(e, E_PROTO, "an answer of %zu bytes", rest);
    buf_clear(store);
    buf_add(store, word, sizeof word);
    char *p = buf_extend(store, rest);
    if (p == NULL)
        return err_set(e, E_NOMEM, "an answer of %zu bytes", rest);
    if ((rc = read_exact(fd, p, rest, e)) != 0)
        return rc;
    struct frame f;
    if ((rc = frame_next(store->p, store->n, FRAME_MAX, &f, e)) != 0 ||
        (rc = command_decode(store->p + f.header_at, f.header_n, f.type, answer, NULL, e)) != 0)
        return rc;
    answer->body = slice_of(store->p + f.body_at, f.body_n);
    return 0;
}

static int expect_success(const struct command *a, const char *what, struct err *e)
{
    if (a->code == RESP_SUCCESS)
        return 0;
    return err_set(e, E_REMOTE, "%s: code %d: " SLICE_FMT, what, a->code, SLICE_ARG(a->remark));
}

int wire_create_topic(int fd, const char *topic, int queues, struct err *e)
{
    struct buf store;
    struct command a;
    buf_init(&store, 0);
    const struct hdr_create_topic hdr = {.topic = slice_str(topic),
                                         .default_topic = SLICE_LIT("TBW102"),
                                         .read_queue_nums = queues,
                                         .write_queue_nums = queues,
                                         .perm = 6,
                                         .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
    int rc = wire_ask(fd, RC_UPDATE_AND_CREATE_TOPIC, &hdr, &store, &a, e);
    if (rc == 0)
        rc = expect_success(&a, "create topic", e);
    buf_free(&store);
    return rc;
}

int wire_max_offset(int fd, const char *topic, int queue, int64_t *out, struct err *e)
{
    struct buf store;
    struct command a;
    buf_init(&store, 0);
    const struct hdr_topic_queue hdr = {
        .topic = slice_str(topic), .queue_id = queue, .committed = true};
    int rc = wire_ask(fd, RC_GET_MAX_OFFSET, &hdr, &store, &a, e);
    if (rc == 0)
        rc = expect_success(&a, "max offset", e);
    if (rc == 0 && slice_i64(command_ext(&a, "offset"), out) != 0)
        rc = err_set(e, E_PROTO, "max offset: no number in the answer");
    buf_free(&store);
    return rc;
}

static int each_record(struct slice records,
                       int (*each)(void *, const struct message *, struct err *), void *arg,
                       struct err *e)
{
    while (records.n > 0) {
        struct message m;
        int rc = message_decode(records, MESSAGE_CHECK_CRC, &m, e);
        if (rc != 0 || (rc = each(arg, &m, e)) != 0)
            return rc;
        records.p += m.total_size;
        records.n -= (size_t)m.total_size;
    }
    return 0;
}

int wire_read_queue(int fd, const char *topic, int queue, int64_t from, int64_t to,
                    int (*each)(void *arg, const struct message *m, struct err *e), void *arg,
                    struct err *e)
{
    struct buf store;
    buf_init(&store, 0);
    int rc = 0;
    while (rc == 0 && from < to) {
        struct command a;
        const struct hdr_pull_message hdr = {.consumer_group = SLICE_LIT("wire_reader"),
                                             .topic = slice_str(topic),
                                             .queue_id = queue,
                                             .queue_offset = from,
                                             .max_msg_nums = 32,
                                             .sys_flag = 4 /* subscription in the header */,
                                             .subscription = SLICE_LIT("*"),
                                             .expression_type = SLICE_LIT("TAG")};
        int64_t next = from;
        rc = wire_ask(fd, RC_PULL_MESSAGE, &hdr, &store, &a, e);
        if (rc != 0)
            break;
        if (slice_i64(command_ext(&a, "nextBeginOffset"), &next) != 0 || next <= from)
            rc = err_set(e, E_PROTO, "queue %d at %lld: code %d does not advance: " SLICE_FMT,
                         queue, (long long)from, a.code, SLICE_ARG(a.remark));
        else if (a.code == RESP_SUCCESS)
            rc = each_record(a.body, each, arg, e);
        from = next;
    }
    buf_free(&store);
    return rc;
}
