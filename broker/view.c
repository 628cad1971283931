/* Looking at one message by its id: code 33. Runs on the network loop of the request.
 *
 * The offset comes from the peer and may point anywhere; store_view only gives whole, checked
 * records. Source: QueryMessageProcessor.viewMessageById of 5.5.0. */
#include <stdlib.h>

#include "broker/handlers.h"

static void release_view(void *arg)
{
    store_view_release(arg);
    free(arg);
}

void on_view_message(struct req *r)
{
    struct hdr_view_message h;
    if (req_header(r, &h) != 0)
        return;
    struct store_view *v = malloc(sizeof *v); /* outlives the request */
    struct err e;
    if (!v || store_view(req_broker(r)->store, h.offset, 0, v, &e) != 0) {
        free(v);
        req_replyf(r, RESP_SYSTEM_ERROR, "can not find message by the offset, %lld",
                   (long long)h.offset);
        return;
    }
    const struct iovec iov = {(void *)(uintptr_t)v->record.p, v->record.n};
    req_reply_iov(r, RESP_SUCCESS, NULL, NULL, &iov, 1, release_view, v);
}
