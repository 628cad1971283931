#pragma once
/* A thread that runs one libuv loop: network loops of a server, the broker's service loop, the client
 * library's loop.
 *
 * A turn: timers, then sockets and mail, then the turn hooks (store batches are submitted, then each
 * connection's queued output leaves in one gathered write). Hooks also run before the loop blocks, so
 * work queued by a timer never waits for the next event, and in the middle of a long turn, so that
 * the peer and the disk get the first part of its results while the rest is worked on. */
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"

enum { BUSY_POLL_SKIP_MAX = 64 };
struct busy_poll { /* the loop's thread */
    uint64_t ns;   /* before the next sleep; 0: not at all */
    uint64_t runs; /* looks for events, counted */
    int skip;      /* wishes that are left out */
    int vain;      /* what the last look set skip to; 0: it found something */
};
struct loop {
    uv_loop_t uv;
    uv_thread_t thread;
    struct mailbox mailbox;
    uv_prepare_t prepare;
    uv_check_t check;
    struct list hooks; /* struct turn_hook, in order of their rank */
    struct busy_poll busy;
    char name[16];
    uint64_t turn; /* counts; loop thread */
    int index;
    bool running, only_processor;
};
struct turn_hook {
    struct list link;
    int rank; /* lower first: 0 = submit batches, 10 = write output */
    void (*fn)(struct turn_hook *h);
};

/* Starts the thread; returns when the loop is running. */
int loop_start(struct loop *l, const char *name, int index, struct err *e) HP_MUST_USE;
/* Any other thread: closes the mailbox and joins; every other handle must already be closed or
 * closing. Finding a live handle is a bug (MQ_ASSERT). */
void loop_stop(struct loop *l);
/* Any thread, until loop_stop is called. */
int loop_post(struct loop *l, struct mail *m) HP_MUST_USE;
/* Any thread but the loop's: runs fn(arg) on the loop and waits for it. */
int loop_call(struct loop *l, void (*fn)(void *arg), void *arg) HP_MUST_USE;
bool loop_is_current(const struct loop *l);
/* Loop thread. The loop looks for events for `ns` nanoseconds before it sleeps next: for a turn whose
 * output makes the peer send again at once, which then need not wait until a thread is woken. After a
 * look in vain the next wish is left out, after another one the next 2, 4 .. 64. With one processor it
 * never looks: that would keep the peer from running. */
void loop_busy_poll(struct loop *l, uint64_t ns);
/* Loop thread. */
void loop_hook_add(struct loop *l, struct turn_hook *h);
void loop_hook_remove(struct turn_hook *h);
/* Runs the hooks now. From a callback of the loop, never from a hook. */
void loop_cut_turn(struct loop *l);
