/* beanstalkd: put, pipelined; one line for each in the order of the requests. Runs on the load engine's
 * thread.
 *
 * Failure: any line but INSERTED is a refusal (DRAINING, OUT_OF_MEMORY, JOB_TOO_BIG, BURIED, ...), a
 * line that is no line is E_PROTO. Source: beanstalkd's doc/protocol.txt. */
#include "bench/peers.h"

static int beanstalkd_build(struct peer_load *l)
{
    buf_init(&l->frame, 0);
    buf_printf(&l->frame, "put 0 0 120 %zu\r\n", l->body);
    peer_body(&l->frame, l->body);
    buf_str(&l->frame, "\r\n");
    return buf_error(&l->frame);
}

static int beanstalkd_request(void *self, int link, int64_t seq, struct buf *out)
{
    const struct peer_load *l = self;
    (void)link, (void)seq;
    buf_add(out, l->frame.p, l->frame.n);
    return buf_error(out);
}

static int64_t beanstalkd_answer(void *self, int link, char *in, size_t n, struct buf *out,
                                 struct answer *a, struct err *e)
{
    struct slice line;
    int64_t id;
    (void)self, (void)link, (void)out;
    const int64_t used = peer_line(in, n, &line, e);
    if (used <= 0)
        return used;
    const struct slice word = SLICE_LIT("INSERTED ");
    a->remark = line;
    if (!slice_starts(line, word))
        a->kind = ANSWER_REFUSED;
    else if (slice_i64(slice_of(line.p + word.n, line.n - word.n), &id) != 0)
        return err_set(e, E_PROTO, "no job id: " SLICE_FMT, SLICE_ARG(line));
    return used;
}

static int beanstalkd_prepare(const struct host *h, struct err *e)
{
    int64_t jobs;
    const int rc = peer_beanstalkd.count(h, &jobs, e);
    return rc == 0 && jobs > 0 ? err_set(e, E_EXISTS, "the tube holds %lld jobs", (long long)jobs)
                               : rc;
}

static int beanstalkd_count(const struct host *h, int64_t *out, struct err *e)
{
    struct buf answer;
    int rc = peer_ask(h, "stats-tube default\r\n", "current-waiting", "NOT_FOUND", &answer, e);
    if (rc == 0)
        rc = peer_number(&answer, "current-jobs-ready: ", out, e);
    buf_free(&answer);
    return rc;
}

static const struct driver beanstalkd_driver = {
    .in_order = true, .request = beanstalkd_request, .answer = beanstalkd_answer};
const struct peer peer_beanstalkd = {"beanstalkd", &beanstalkd_driver, beanstalkd_build,
                                     beanstalkd_prepare, beanstalkd_count};
