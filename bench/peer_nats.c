/* NATS JetStream: a publish with a reply subject for each message; the reply subject names connection
 * and request, so answers may come in any order. Runs on the load engine's thread.
 *
 * Happy path: INFO from the server, CONNECT and SUB _R.<link>.* from us, PONG to our PING; then PUB
 * after PUB, and for each a MSG whose payload is {"stream":...,"seq":N}.
 *
 * Failure: a payload with "error" is a refusal; -ERR, and anything that is no message of the protocol,
 * is E_PROTO or E_REMOTE and ends the run. The server's PING is answered.
 * Source: the NATS client protocol; ADR-1 (JetStream API). */
#include <stdio.h>
#include <unistd.h>

#include "bench/peers.h"
#include "bench/rmq.h"

#define STREAM "BENCH"
#define SUBJECT "bench.load"
#define CONNECT_TEXT                                                                               \
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
enum { LINK_DIGITS = 5, SEQ_DIGITS = 10, PAYLOAD_MAX = 64 * 1024 };

static int nats_build(struct peer_load *l)
{
    buf_init(&l->frame, 0);
    buf_printf(&l->frame, "PUB " SUBJECT " _R.00000.0000000000 %zu\r\n", l->body);
    l->link_at = strlen("PUB " SUBJECT " _R.");
    l->seq_at = l->link_at + LINK_DIGITS + 1;
    peer_body(&l->frame, l->body);
    buf_str(&l->frame, "\r\n");
    return buf_error(&l->frame);
}

static int nats_hello(void *self, int fd, int link, struct err *e)
{
    char text[512], answer[16 * 1024];
    (void)self;
    const int n = snprintf(text, sizeof text, CONNECT_TEXT "SUB _R.%05d.* 1\r\nPING\r\n", link);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        return err_set(e, E_CLOSED, "the greeting could not be sent");
    for (size_t have = 0; have < sizeof answer;) {
        const ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
        if (got <= 0)
            return err_set(e, E_CLOSED, "no answer to the greeting");
        have += (size_t)got;
        if (memmem(answer, have, "-ERR", 4) != NULL)
            return err_set(e, E_REMOTE, "the greeting was refused");
        if (have >= 6 && memcmp(answer + have - 6, "PONG\r\n", 6) == 0)
            return 0;
    }
    return err_set(e, E_PROTO, "a greeting of more than %zu bytes", sizeof answer);
}

static int nats_request(void *self, int link, int64_t seq, struct buf *out)
{
    struct peer_load *l = self;
    rmq_digits(l->frame.p + l->link_at, LINK_DIGITS, link);
    rmq_digits(l->frame.p + l->seq_at, SEQ_DIGITS, seq);
    buf_add(out, l->frame.p, l->frame.n);
    return buf_error(out);
}

/* "MSG _R.<link>.<seq> <sid> <size>": the seq and the size of the payload. */
static int parse_msg(struct slice line, int64_t *seq, int64_t *size)
{
    struct slice rest = line, word, number;
    if (!slice_cut(&rest, ' ', &word) || !slice_cut(&rest, ' ', &number) ||
        !slice_cut(&rest, ' ', &word) || rest.n == 0)
        return E_PROTO;
    if (!slice_starts(number, SLICE_LIT("_R.")) || number.n != 3 + LINK_DIGITS + 1 + SEQ_DIGITS ||
        slice_i64(slice_of(number.p + 3 + LINK_DIGITS + 1, SEQ_DIGITS), seq) != 0 || *seq < 0)
        return E_PROTO;
    rest = slice_trim(rest); /* the server writes two blanks where a reply subject could be */
    return slice_i64(rest, size) != 0 || *size < 0 || *size > PAYLOAD_MAX ? E_PROTO : 0;
}

static int64_t take_msg(struct slice line, int64_t head, const char *in, size_t n, struct answer *a,
                        struct err *e)
{
    int64_t size;
    if (parse_msg(line, &a->seq, &size) != 0)
        return err_set(e, E_PROTO, "not a reply: " SLICE_FMT, SLICE_ARG(line));
    if ((int64_t)n < head + size + 2)
        return 0;
    const struct slice payload = slice_of(in + head, (size_t)size);
    if (in[head + size] != '\r' || in[head + size + 1] != '\n')
        return err_set(e, E_PROTO, "a payload that does not end where it says");
    a->remark = payload;
    if (memmem(payload.p, payload.n, "\"seq\":", 6) == NULL ||
        memmem(payload.p, payload.n, "\"error\"", 7) != NULL)
        a->kind = ANSWER_REFUSED;
    return head + size + 2;
}

static int64_t nats_answer(void *self, int link, char *in, size_t n, struct buf *out,
                           struct answer *a, struct err *e)
{
    struct slice line;
    (void)self, (void)link;
    const int64_t head = peer_line(in, n, &line, e);
    if (head <= 0)
        return head;
    if (slice_starts(line, SLICE_LIT("MSG ")))
        return take_msg(line, head, in, n, a, e);
    a->kind = ANSWER_OTHER;
    if (slice_eq_str(line, "PING"))
        buf_str(out, "PONG\r\n");
    else if (!slice_eq_str(line, "PONG") && !slice_starts(line, SLICE_LIT("INFO ")))
        return err_set(e, slice_starts(line, SLICE_LIT("-ERR")) ? E_REMOTE : E_PROTO, SLICE_FMT,
                       SLICE_ARG(line));
    return head;
}

/* One question to the JetStream API. */
static int ask_api(const struct host *h, const char *subject, const char *payload,
                   struct buf *answer, struct err *e)
{
    char text[1024];
    snprintf(text, sizeof text, CONNECT_TEXT "SUB _A 1\r\nPUB %s _A %zu\r\n%s\r\n", subject,
             strlen(payload), payload);
    return peer_ask(h, text, "\"messages\":", "\"error\":", answer, e);
}

static int nats_prepare(const struct host *h, struct err *e)
{
    struct buf answer;
    const int rc = ask_api(h, "$JS.API.STREAM.CREATE." STREAM,
                           "{\"name\":\"" STREAM "\",\"subjects\":[\"" SUBJECT
                           "\"],\"retention\":\"limits\",\"storage\":\"file\",\"num_replicas\":1,"
                           "\"max_msgs\":-1,\"max_bytes\":-1,\"discard\":\"old\"}",
                           &answer, e);
    buf_free(&answer);
    return rc;
}

static int nats_count(const struct host *h, int64_t *out, struct err *e)
{
    struct buf answer;
    int rc = ask_api(h, "$JS.API.STREAM.INFO." STREAM, "", &answer, e);
    if (rc == 0)
        rc = peer_number(&answer, "\"messages\":", out, e);
    buf_free(&answer);
    return rc;
}

static const struct driver nats_driver = {
    .hello = nats_hello, .request = nats_request, .answer = nats_answer};
const struct peer peer_nats = {"nats", &nats_driver, nats_build, nats_prepare, nats_count};
