#pragma once
/* Any thread -> one libuv loop. Senders link intrusive messages; the loop drains them in order.
 * uv_async wakes coalesce, so the receiver drains to empty, at most `turn_max` a turn, and re-arms.
 * Unbounded by design: what is posted are completions of operations whose number is bounded where
 * they are admitted. */
#include <uv.h>

#include "base/err.h"
#include "base/list.h"

struct mail {
    struct list link;
    void (*deliver)(struct mail *m); /* runs on the loop; may free m's container */
};

enum { MAILBOX_TURN_MAX = 1024 };

struct mailbox {
    uv_async_t async;
    uv_mutex_t lock;
    struct list queue; /* under lock: posted, not yet taken */
    bool closed;       /* under lock */
    struct list taken; /* loop only: this turn's share */
    size_t turn_max;   /* loop only: most mails a turn; MAILBOX_TURN_MAX until changed */
    void (*on_closed)(struct mailbox *);
};
int mailbox_open(struct mailbox *mb, uv_loop_t *loop, struct err *e) HP_MUST_USE;
/* Any thread, until on_closed. E_CLOSED after mailbox_close: the message was not taken. */
int mailbox_post(struct mailbox *mb, struct mail *m) HP_MUST_USE;
/* Loop thread: delivers what is queued, refuses further posts, calls on_closed when libuv is done
 * with the handle. */
void mailbox_close(struct mailbox *mb, void (*on_closed)(struct mailbox *));
