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

struct loop {
    uv_loop_t uv;
    uv_thread_t thread;
    struct mailbox mailbox;
    uv_prepare_t prepare;
    uv_check_t check;
    struct list hooks; /* struct turn_hook, in order of their rank */
    char name[16];
    uint64_t turn; /* counts; loop thread */
    int index;
    bool running;
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
/* Loop thread. */
void loop_hook_add(struct loop *l, struct turn_hook *h);
void loop_hook_remove(struct turn_hook *h);
/* Runs the hooks now. From a callback of the loop, never from a hook. */
void loop_cut_turn(struct loop *l);
