/* Queue locks over the wire: codes 41 and 42. Run on the network loop of the request.
 *
 * A queue that another client holds is left out of the answer; the code is 0 all the same.
 * Source: AdminBrokerProcessor.lockBatchMQ of 5.5.0. */
#include <stdlib.h>

#include "broker/handlers.h"
#include "broker/lock.h"
#include "proto/names.h"

static bool decode(struct req *r, struct lock_body *body)
{
    struct err e;
    if (lock_body_decode(req_command(r)->body, body, &e) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "queue locks: %s", e.text);
        return false;
    }
    if (group_name_check(body->group, &e) == 0 && body->client_id.n > 0)
        return true;
    req_replyf(r, RESP_INVALID_PARAMETER, "queue locks: %s",
               body->client_id.n > 0 ? e.text : "clientId is missing");
    lock_body_free(body);
    return false;
}

void on_lock_queues(struct req *r)
{
    struct lock_body body;
    if (!decode(r, &body))
        return;
    struct mq_ref *held = calloc(body.queue_n + 1, sizeof *held);
    size_t n = 0;
    for (size_t i = 0; held && i < body.queue_n; i++)
        if (locks_take(req_broker(r)->locks, body.group, &body.queues[i], body.client_id))
            held[n++] = body.queues[i];
    struct buf out;
    buf_init(&out, FRAME_MAX);
    if (held && lock_ok_encode(held, n, &out) == 0)
        req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &out);
    else
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
    buf_free(&out);
    free(held);
    lock_body_free(&body);
}

void on_unlock_queues(struct req *r)
{
    struct lock_body body;
    if (!decode(r, &body))
        return;
    for (size_t i = 0; i < body.queue_n; i++)
        locks_release(req_broker(r)->locks, body.group, &body.queues[i], body.client_id);
    lock_body_free(&body);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}
