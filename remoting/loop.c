/* A thread that runs one libuv loop, its mailbox and its turn hooks.
 *
 * Owns: the thread, the libuv loop, the mailbox and the two handles that run the hooks.
 * Runs on: the loop's thread, except loop_start, loop_stop, loop_post and loop_call.
 *
 * libuv's order within a turn is timers, prepare, poll (sockets and mail), check, close callbacks.
 * The hooks hang on both prepare and check: after poll, because that is where a turn's requests have
 * been gathered; before poll, because timers and close callbacks queue work too and the loop must not
 * go to sleep on it. Between the second time and the poll the loop may look for events without sleeping
 * (loop_busy_poll).
 *
 * Happy path: loop_start prepares everything in the caller's thread, so that its failures are returned
 * there, then starts the thread; mail posted before the first turn simply waits. loop_stop posts one
 * last mail that closes what this file owns; with nothing left alive uv_run returns and the thread ends.
 *
 * Failure modes: only loop_start can fail. A handle that is still open when the loop stops would keep
 * the thread for ever, so it is a bug and panics with the handle's type.
 *
 * Invariants: 1. hooks are sorted by rank, equal ranks in order of arrival. 2. a hook may remove
 * itself while it runs, no other. */
#include "remoting/loop.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"

static _Thread_local const struct loop *current;

static void run_hooks(struct loop *l)
{
    LIST_FOREACH_SAFE(it, next, &l->hooks) {
        struct turn_hook *h = LIST_ENTRY(it, struct turn_hook, link);
        h->fn(h);
    }
}

static void end_turn(struct loop *l)
{
    l->turn++;
    run_hooks(l);
}

/* --- busy polling --- */

void loop_busy_poll(struct loop *l, uint64_t ns)
{
    l->busy.ns = ns;
}

/* Sockets that libuv has not yet told the kernel about, new ones, are not seen: they wait for as long as
 * the look takes. */
static bool event_comes(const struct loop *l, uint64_t ns)
{
    struct pollfd events = {.fd = uv_backend_fd(&l->uv), .events = POLLIN};
    const uint64_t until = uv_hrtime() + ns;
    do {
        if (poll(&events, 1, 0) > 0)
            return true;
    } while (uv_hrtime() < until);
    return false;
}

static void busy_poll(struct loop *l)
{
    struct busy_poll *const b = &l->busy;
    const uint64_t ns = b->ns;
    b->ns = 0;
    if (ns == 0 || l->only_processor || uv_backend_timeout(&l->uv) == 0)
        return;
    if (b->skip > 0) {
        b->skip--;
        return;
    }
    b->runs++;
    if (event_comes(l, ns))
        b->vain = 0;
    else if (b->vain < BUSY_POLL_SKIP_MAX)
        b->vain = b->vain == 0 ? 1 : 2 * b->vain;
    b->skip = b->vain;
}

/* --- a turn --- */

static void on_prepare(uv_prepare_t *p)
{
    struct loop *l = LIST_ENTRY(p, struct loop, prepare);
    end_turn(l);
    busy_poll(l);
}

static void on_check(uv_check_t *p)
{
    end_turn(LIST_ENTRY(p, struct loop, check));
}

static void loop_main(void *arg)
{
    struct loop *l = arg;
    current = l;
    sigset_t pipe_signal; /* a peer that is gone is an error of the write, not the end of the process */
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    log_set_thread_name(l->name);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    current = NULL;
}

/* --- start --- */

static int open_handles(struct loop *l, struct err *e)
{
    int rc = mailbox_open(&l->mailbox, &l->uv, e);
    if (rc != 0)
        return rc;
    uv_prepare_init(&l->uv, &l->prepare);
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_init(&l->uv, &l->check);
    uv_check_start(&l->check, on_check);
    return 0;
}

static void close_handles(struct loop *l)
{
    mailbox_close(&l->mailbox, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
}

int loop_start(struct loop *l, const char *name, int index, struct err *e)
{
    *l = (struct loop){.index = index, .only_processor = uv_available_parallelism() == 1};
    snprintf(l->name, sizeof l->name, "%s", name);
    list_init(&l->hooks);
    int rc = uv_loop_init(&l->uv);
    if (rc != 0)
        return err_sys(e, -rc, "event loop %s", name);
    rc = open_handles(l, e);
    if (rc != 0)
        goto err_after_loop;
    rc = uv_thread_create(&l->thread, loop_main, l);
    if (rc != 0) {
        rc = err_sys(e, -rc, "thread of event loop %s", name);
        goto err_after_handles;
    }
    l->running = true;
    return 0;

err_after_handles:
    close_handles(l);
    uv_run(&l->uv, UV_RUN_DEFAULT);
err_after_loop:
    MQ_ASSERT(uv_loop_close(&l->uv) == 0);
    return rc;
}

/* --- stop --- */

static void check_closing(uv_handle_t *h, void *arg)
{
    const struct loop *l = arg;
    bool own = h == (const uv_handle_t *)&l->mailbox.async || h == (const uv_handle_t *)&l->prepare ||
               h == (const uv_handle_t *)&l->check;
    if (!own && !uv_is_closing(h))
        mq_panic(__FILE__, __LINE__, "loop %s stops with an open %s handle", l->name,
                 uv_handle_type_name(h->type));
}

static void stop_on_loop(struct mail *m)
{
    (void)m;
    struct loop *l = (struct loop *)(uintptr_t)current;
    uv_walk(&l->uv, check_closing, l);
    close_handles(l);
}

void loop_stop(struct loop *l)
{
    if (!l->running)
        return;
    struct mail stop = {.deliver = stop_on_loop};
    MQ_ASSERT(loop_post(l, &stop) == 0);
    uv_thread_join(&l->thread);
    l->running = false;
    MQ_ASSERT(uv_loop_close(&l->uv) == 0);
}

/* --- work from other threads --- */

int loop_post(struct loop *l, struct mail *m)
{
    return mailbox_post(&l->mailbox, m);
}

struct remote_call {
    struct mail mail;
    void (*fn)(void *arg);
    void *arg;
    uv_sem_t done;
};

static void call_on_loop(struct mail *m)
{
    struct remote_call *c = LIST_ENTRY(m, struct remote_call, mail);
    c->fn(c->arg);
    uv_sem_post(&c->done); /* the caller's stack may be gone after this line */
}

int loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
    MQ_ASSERT(!loop_is_current(l));
    struct remote_call c = {.mail = {.deliver = call_on_loop}, .fn = fn, .arg = arg};
    if (uv_sem_init(&c.done, 0) != 0)
        return E_NOMEM;
    int rc = loop_post(l, &c.mail);
    if (rc == 0)
        uv_sem_wait(&c.done);
    uv_sem_destroy(&c.done);
    return rc;
}

bool loop_is_current(const struct loop *l)
{
    return current == l;
}

/* --- hooks --- */

void loop_hook_add(struct loop *l, struct turn_hook *h)
{
    struct list *before = &l->hooks;
    LIST_FOREACH(it, &l->hooks) {
        if (LIST_ENTRY(it, struct turn_hook, link)->rank > h->rank) {
            before = it;
            break;
        }
    }
    list_push_back(before, &h->link);
}

void loop_hook_remove(struct turn_hook *h)
{
    list_remove(&h->link);
}

void loop_cut_turn(struct loop *l)
{
    run_hooks(l);
}
