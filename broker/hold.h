#pragma once
/* Long polling: pulls that found nothing wait here until a message that passes their filter becomes
 * visible, or their time is over.
 *
 * One table (topic, queue) -> per loop: the parked pulls of that loop, and the tag codes that
 * arrived since the loop last looked. The store's arrival callback (any thread) notes codes and
 * posts one mail to each loop concerned; the loop wakes what matches. docs/THREADS.md lists the
 * lock. */
#include "broker/client_mgr.h"
#include "store/store.h"

struct hold;  /* opaque, shared by the loops */

struct parked { /* embedded in the pull's context, which lives in the request */
    struct list link;      /* under the hold's lock */
    struct list due_link;  /* loop only: every parked pull of the loop */
    const struct conn *conn; /* whose pull it is: woken early when it closes; may be NULL */
    struct spot *spot;
    struct slice topic;    /* borrowed from the context */
    int32_t queue_id;
    int64_t offset;        /* woken by a message at or above it */
    int64_t deadline_ms;   /* monotonic */
    struct group_sub *sub; /* counted by the owner of the context; NULL: everything passes */
    void (*wake)(struct parked *p); /* on the request's loop, once; no longer parked then */
};

struct hold *hold_new(struct loop *const *loops, int loop_n, const struct clock *clock, size_t max,
                      struct err *e);
/* After the loops are stopped. */
void hold_free(struct hold *h);
/* Loop thread. E_BUSY: the limit, or the broker is stopping: answer instead. The caller then looks
 * at the queue once more and calls hold_wake_now if something came in between. */
int hold_park(struct hold *h, struct parked *p, int loop_index) HP_MUST_USE;
void hold_wake_now(struct hold *h, struct parked *p);
/* Any thread: store_opts.on_arrive. */
void hold_arrive(struct hold *h, const struct store_arrival *list, size_t n);
/* Loop thread: wakes what is overdue; called by one timer per loop. */
void hold_sweep(struct hold *h, int loop_index);
/* Loop thread: wakes everything and refuses from now on (once per loop). */
void hold_close_loop(struct hold *h, int loop_index);
size_t hold_count(const struct hold *h);
