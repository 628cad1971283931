/* Redis streams: XADD of one field, pipelined; answers are bulk strings in the order of the requests.
 * Runs on the load engine's thread.
 *
 * Failure: "-ERR ..." is a refusal of that request (the connection goes on); anything that is not a
 * bulk string or an error is E_PROTO. Source: the RESP2 specification. */
#include "bench/peers.h"

#define STREAM "bench"

static int redis_build(struct peer_load *l)
{
    buf_init(&l->frame, 0);
    buf_printf(&l->frame, "*5\r\n$4\r\nXADD\r\n$5\r\n" STREAM "\r\n$1\r\n*\r\n$1\r\nb\r\n$%zu\r\n",
               l->body);
    peer_body(&l->frame, l->body);
    buf_str(&l->frame, "\r\n");
    return buf_error(&l->frame);
}

static int redis_request(void *self, int link, int64_t seq, struct buf *out)
{
    const struct peer_load *l = self;
    (void)link, (void)seq;
    buf_add(out, l->frame.p, l->frame.n);
    return buf_error(out);
}

static int64_t redis_answer(void *self, int link, char *in, size_t n, struct buf *out,
                            struct answer *a, struct err *e)
{
    struct slice line;
    (void)self, (void)link, (void)out;
    const int64_t head = peer_line(in, n, &line, e);
    if (head <= 0)
        return head;
    a->remark = line;
    if (line.n > 0 && line.p[0] == '-') {
        a->kind = ANSWER_REFUSED;
        return head;
    }
    int64_t size;
    if (line.n < 2 || line.p[0] != '$' || slice_i64(slice_of(line.p + 1, line.n - 1), &size) != 0 ||
        size < 1 || size > 64)
        return err_set(e, E_PROTO, "not the id of an entry: " SLICE_FMT, SLICE_ARG(line));
    const int64_t whole = head + size + 2;
    if ((int64_t)n < whole)
        return 0;
    if (in[whole - 2] != '\r' || in[whole - 1] != '\n')
        return err_set(e, E_PROTO, "an id that does not end where it says");
    return whole;
}

static int redis_prepare(const struct host *h, struct err *e)
{
    struct buf answer;
    const int rc = peer_ask(h, "DEL " STREAM "\r\n", "\r\n", "-", &answer, e);
    buf_free(&answer);
    return rc;
}

static int redis_count(const struct host *h, int64_t *out, struct err *e)
{
    struct buf answer;
    int rc = peer_ask(h, "XLEN " STREAM "\r\n", "\r\n", "-", &answer, e);
    if (rc == 0)
        rc = peer_number(&answer, ":", out, e);
    buf_free(&answer);
    return rc;
}

static const struct driver redis_driver = {
    .in_order = true, .request = redis_request, .answer = redis_answer};
const struct peer peer_redis = {"redis", &redis_driver, redis_build, redis_prepare, redis_count};
