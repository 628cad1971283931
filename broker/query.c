/* Messages by key: code 12, for words of KEYS and for unique keys alike.
 *
 * Runs on: the network loop of the request; the look-up on the store's index worker, which may read
 * cold files.
 *
 *     on_query_message -> store_query ... query_done (index worker) -> req_post -> answer (loop)
 *
 * The context outlives the request: the records that it pins are written out after the answer was
 * given. Source: QueryMessageProcessor.queryMessage of 5.5.0. */
#include <stdlib.h>

#include "broker/handlers.h"
#include "broker/respcode.h"

/* An answer has to fit a client's frame (16 MiB), its last message may be a large one. */
enum { ANSWER_BYTES_MAX = 8 * 1024 * 1024 };

struct query {
    struct store_query q;
    struct req *req;
    struct store_view views[];
};

static void release_query(void *arg)
{
    struct query *qy = arg;
    for (int32_t i = 0; i < qy->q.n; i++)
        store_view_release(&qy->views[i]);
    free(qy);
}

static void nothing_found(struct req *r)
{
    req_reply(r, RESP_QUERY_NOT_FOUND, "can not find message, maybe time range not correct",
              &(struct hdr_query_message_resp){0});
}

static void answer(struct req *r)
{
    struct query *qy = req_user(r);
    const int32_t n = qy->q.n;
    const struct hdr_query_message_resp resp = {qy->q.last_timestamp, qy->q.last_phys};
    struct iovec *iov = n > 0 ? req_alloc(r, (size_t)n * sizeof *iov) : NULL;
    if (!iov) {
        release_query(qy);
        if (n > 0)
            req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        else
            nothing_found(r);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)qy->views[i].record.p, qy->views[i].record.n};
    req_reply_iov(r, RESP_SUCCESS, NULL, &resp, iov, n, release_query, qy);
}

static void query_done(struct store_query *q)
{
    struct query *qy = LIST_ENTRY(q, struct query, q);
    req_post(qy->req, answer);
}

static int32_t count_wanted(const struct broker *b, const struct hdr_query_message *h)
{
    const int32_t n = h->unique_key ? b->conf->query_unique_num : h->max_num;
    return n < b->conf->query_max_num ? n : b->conf->query_max_num;
}

void on_query_message(struct req *r)
{
    struct broker *b = req_broker(r);
    struct hdr_query_message h;
    if (req_header(r, &h) != 0)
        return;
    const int32_t max = count_wanted(b, &h);
    if (max <= 0) {
        nothing_found(r);
        return;
    }
    if (!own_slice(r, &h.topic) || !own_slice(r, &h.key))
        return;
    req_drop_input(r);
    struct query *qy = malloc(sizeof *qy + (size_t)max * sizeof *qy->views);
    if (!qy) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return;
    }
    *qy = (struct query){.req = r, .q = {.topic = h.topic, .key = h.key, .begin_ms = h.begin_ms,
                                         .end_ms = h.end_ms, .max = max, .bytes_max = ANSWER_BYTES_MAX,
                                         .done = query_done}};
    qy->q.views = qy->views;
    req_set_user(r, qy);
    struct err e;
    const int rc = store_query(b->store, &qy->q, &e);
    if (rc == 0)
        return;
    free(qy);
    if (rc == E_NOTFOUND)
        req_reply(r, RESP_QUERY_NOT_FOUND, e.text, &(struct hdr_query_message_resp){0});
    else
        req_replyf(r, respcode_of_err(rc), "%s", e.text);
}
