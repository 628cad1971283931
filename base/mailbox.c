/* Mailbox: any thread hands completions to one libuv loop.
 *
 * Owns: the async handle and the lock, from mailbox_open until on_closed. Mails belong to whoever
 * posted them until deliver() runs, then to deliver().
 * Runs on: mailbox_post on any thread, all else on the loop's thread.
 *
 * Happy path: post links the mail and wakes the loop (only the first of a burst does: libuv joins
 * wakes anyway, but each costs a system call). The loop takes up to turn_max mails under the lock,
 * delivers them without it, and wakes itself again when some are left, so that sockets and timers
 * get their turn in between.
 *
 * Failure modes: a post after mailbox_close is refused with E_CLOSED and the mail stays with the
 * poster. A deliver() may post (delivered in a later turn) and may close the mailbox.
 *
 * Invariants: 1. mails are delivered in the order posted, also across close: what was taken for
 * this turn comes before what is still queued; 2. uv_async_send is called under the lock and
 * only while not closed, so never on a handle that libuv has finished; 3. the lock is never held
 * while deliver() runs. */
#include "base/mailbox.h"

static void deliver_taken(struct mailbox *mb)
{
    /* One at a time from the shared list: a deliver() that closes the mailbox finds the rest there.
     * */
    for (struct list *l; (l = list_pop_front(&mb->taken));) {
        struct mail *m = LIST_ENTRY(l, struct mail, link);
        m->deliver(m);
    }
}

static void take_share(struct mailbox *mb)
{
    for (size_t i = 0; i < mb->turn_max; i++) {
        struct list *l = list_pop_front(&mb->queue);
        if (!l)
            return;
        list_push_back(&mb->taken, l);
    }
}

static void on_async(uv_async_t *async)
{
    struct mailbox *mb = LIST_ENTRY(async, struct mailbox, async);
    uv_mutex_lock(&mb->lock);
    take_share(mb);
    if (!list_empty(&mb->queue))
        uv_async_send(&mb->async);
    uv_mutex_unlock(&mb->lock);
    deliver_taken(mb);
}

int mailbox_open(struct mailbox *mb, uv_loop_t *loop, struct err *e)
{
    int rc = uv_mutex_init(&mb->lock);
    if (rc)
        return err_set(e, E_NOMEM, "open mailbox: %s", uv_strerror(rc));
    list_init(&mb->queue);
    list_init(&mb->taken);
    mb->closed = false;
    mb->turn_max = MAILBOX_TURN_MAX;
    mb->on_closed = NULL;
    rc = uv_async_init(loop, &mb->async, on_async);
    if (rc) {
        uv_mutex_destroy(&mb->lock);
        return err_set(e, E_IO, "open mailbox: %s", uv_strerror(rc));
    }
    return 0;
}

int mailbox_post(struct mailbox *mb, struct mail *m)
{
    uv_mutex_lock(&mb->lock);
    bool closed = mb->closed, first = list_empty(&mb->queue);
    if (!closed) {
        list_push_back(&mb->queue, &m->link);
        if (first)
            uv_async_send(&mb->async);
    }
    uv_mutex_unlock(&mb->lock);
    return closed ? E_CLOSED : 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct mailbox *mb = LIST_ENTRY(handle, struct mailbox, async);
    uv_mutex_destroy(&mb->lock);
    if (mb->on_closed)
        mb->on_closed(mb);
}

void mailbox_close(struct mailbox *mb, void (*on_closed)(struct mailbox *))
{
    uv_mutex_lock(&mb->lock);
    bool again = mb->closed;
    mb->closed = true;
    while (!list_empty(&mb->queue))
        list_push_back(&mb->taken, list_pop_front(&mb->queue));
    uv_mutex_unlock(&mb->lock);
    if (again)
        return;
    mb->on_closed = on_closed;
    deliver_taken(mb);
    uv_close((uv_handle_t *)&mb->async, on_handle_closed);
}
