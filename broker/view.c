/* Looking at one message by its id: code 33. Runs on the network loop of the request; a worker looks,
 * for the record may be on disk alone.
 *
 * The offset comes from the peer and may point anywhere; store_view only gives whole, checked
 * records. Source: QueryMessageProcessor.viewMessageById of 5.5.0. */
#include <stdlib.h>

#include "broker/cold.h"
#include "broker/handlers.h"

struct view { /* outlives the request */
    struct store_view v;
    int64_t offset;
    int rc;
};

static void release_view(void *arg)
{
    struct view *w = arg;
    store_view_release(&w->v);
    free(w);
}

static void look(struct req *r)
{
    struct view *w = req_user(r);
    struct err e;
    w->rc = store_view(req_broker(r)->store, w->offset, 0, &w->v, &e);
}

static void answer(struct req *r)
{
    struct view *w = req_user(r);
    if (w->rc == 0) {
        const struct iovec iov = {(void *)(uintptr_t)w->v.record.p, w->v.record.n};
        req_reply_iov(r, RESP_SUCCESS, NULL, NULL, &iov, 1, release_view, w);
        return;
    }
    const int64_t offset = w->offset;
    free(w);
    req_replyf(r, RESP_SYSTEM_ERROR, "can not find message by the offset, %lld", (long long)offset);
}

void on_view_message(struct req *r)
{
    struct hdr_view_message h;
    if (req_header(r, &h) != 0)
        return;
    struct view *w = malloc(sizeof *w);
    if (w) {
        *w = (struct view){.offset = h.offset};
        req_drop_input(r);
        req_set_user(r, w);
    }
    if (w && cold_run(r, look, answer) == 0)
        return;
    free(w);
    req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
}
