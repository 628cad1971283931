/* The load engine; see load.h. Runs on the caller's thread: one epoll set, no locks.
 *
 * Happy path: load_run connects every link and lets each send its first requests. Then turn after
 * turn: wait, read what came, cut answers off (the driver), top the link up, write once. The clock is
 * read once for each batch of answers and once for each batch of requests. When the window is over
 * nothing new is sent, the open answers are awaited, and background groups (consumers) go on until
 * plan.finished.
 *
 * Open loop: requests that are due together are written together, and no more than DUE_AT_ONCE before
 * answers are read again. A generator that is behind and writes each by itself would never read while
 * a write takes longer than the schedule's interval, and charge the server for it.
 *
 * Failure: the first error of any link ends the run; the server that closes a connection is an error.
 *
 * Invariants:
 * 1. outstanding = requests written to `out` and not yet answered, for a link and for its group.
 * 2. A request is answered once: in-order links keep their open seqs in a ring of `inflight`; others
 *    must name a seq below next_seq, and with `keep` one that was not acknowledged before.
 * 3. EPOLLOUT is armed exactly while a link has unwritten bytes. */
#include "bench/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/pace.h"
#include "bench/proc.h"
#include "bench/wire.h"

enum {
    IN_FEW = 1 << 20,
    IN_MANY = 1 << 14,
    MANY = 256,
    EVENTS = 256,
    IDLE_MS = 50,
    DUE_AT_ONCE = 64
};

struct link {
    struct group *group;
    int fd, index;
    bool armed;
    char *in;
    size_t in_n, in_cap;
    struct buf out;
    size_t out_at;
    int outstanding;
    int64_t *ring; /* in-order drivers: open seqs, oldest at ring_at */
    int ring_at;
};

enum phase { WARMING, MEASURING, DRAINING };

struct run {
    struct group *groups;
    size_t n;
    const struct plan *plan;
    struct window *w;
    int epoll;
    enum phase phase;
    int64_t begin_ns, window_ns, slice_ns, slice_units;
    int64_t ticks, cpu_ns;
};

static int64_t now_ns(void)
{
    return clock_mono_ns(&clock_system);
}

/* --- requests --- */

static int link_request(struct link *k, int64_t at_ns)
{
    struct group *g = k->group;
    if (g->next_seq >= LOAD_SEQ_MAX)
        return E_TOOBIG;
    const int64_t seq = g->next_seq;
    const int rc = g->driver->request(g->self, k->index, seq, &k->out);
    if (rc != 0)
        return rc;
    if (k->ring != NULL)
        k->ring[(k->ring_at + k->outstanding) % g->inflight] = seq;
    g->sent_ns[seq] = at_ns;
    g->next_seq++;
    g->outstanding++;
    k->outstanding++;
    return 0;
}

static bool may_ask(const struct run *r, const struct group *g)
{
    if (g->background)
        return true;
    if (r->phase == DRAINING)
        return false;
    return r->plan->requests == 0 || g->next_seq < r->plan->requests;
}

static int top_up(struct run *r, struct link *k)
{
    struct group *g = k->group;
    if (g->rate > 0 || k->outstanding >= g->inflight || !may_ask(r, g))
        return 0;
    const int64_t now = now_ns();
    int rc = 0;
    while (rc == 0 && k->outstanding < g->inflight && may_ask(r, g))
        rc = link_request(k, now);
    return rc == E_AGAIN ? 0 : rc;
}

/* A connection that ended, by a reset too: what it is called depends on who wrote last. */
static int link_failed(const char *call, struct err *e)
{
    if (errno == ECONNRESET || errno == EPIPE)
        return err_set(e, E_CLOSED, "the server closed the connection");
    return err_sys(e, errno, "%s", call);
}

static int link_flush(struct run *r, struct link *k, struct err *e)
{
    while (k->out_at < k->out.n) {
        const ssize_t n =
            send(k->fd, k->out.p + k->out_at, k->out.n - k->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            return link_failed("send", e);
        k->out_at += (size_t)n;
    }
    const bool rest = k->out_at < k->out.n;
    if (!rest) {
        buf_clear(&k->out);
        k->out_at = 0;
    }
    if (rest != k->armed) {
        struct epoll_event ev = {.events = rest ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = k};
        if (epoll_ctl(r->epoll, EPOLL_CTL_MOD, k->fd, &ev) != 0)
            return err_sys(e, errno, "epoll_ctl");
        k->armed = rest;
    }
    return 0;
}

/* --- answers --- */

static int count_answer(struct run *r, struct link *k, const struct answer *a, int64_t now,
                        struct err *e)
{
    struct group *g = k->group;
    if (k->outstanding == 0)
        return err_set(e, E_PROTO, "an answer to nothing");
    const int64_t seq = k->ring != NULL ? k->ring[k->ring_at] : a->seq;
    if (seq >= g->next_seq)
        return err_set(e, E_PROTO, "an answer to request %lld, which was never sent",
                       (long long)seq);
    if (k->ring != NULL)
        k->ring_at = (k->ring_at + 1) % g->inflight;
    k->outstanding--;
    g->outstanding--;
    if (a->kind == ANSWER_REFUSED) {
        if (g->refused++ == 0)
            fprintf(stderr, "mqload: first refusal: " SLICE_FMT "\n", SLICE_ARG(a->remark));
        return 0;
    }
    if (g->keep && seq >= 0) {
        if (g->mark[seq] != 0)
            return err_set(e, E_PROTO, "request %lld was answered twice", (long long)seq);
        g->mark[seq] = 1;
    }
    g->done++;
    g->units += a->units;
    if (r->phase == MEASURING) {
        g->window_units += a->units;
        if (seq >= 0)
            hist_add(&g->hist, now - g->sent_ns[seq]);
    }
    return 0;
}

static int take_answers(struct run *r, struct link *k, struct err *e)
{
    struct group *g = k->group;
    const int64_t now = now_ns();
    size_t at = 0;
    while (at < k->in_n) {
        struct answer a = {.kind = ANSWER_DONE, .seq = -1, .units = 1};
        const int64_t used =
            g->driver->answer(g->self, k->index, k->in + at, k->in_n - at, &k->out, &a, e);
        if (used < 0)
            return (int)used;
        if (used == 0)
            break;
        at += (size_t)used;
        const bool answer = a.kind == ANSWER_DONE || a.kind == ANSWER_REFUSED;
        const int rc = answer ? count_answer(r, k, &a, now, e) : 0;
        if (rc != 0)
            return rc;
    }
    k->in_n -= at;
    memmove(k->in, k->in + at, k->in_n);
    return 0;
}

static int link_read(struct run *r, struct link *k, struct err *e)
{
    if (k->in_n == k->in_cap) { /* one answer larger than the buffer */
        char *p = k->in_cap < (64u << 20) ? realloc(k->in, k->in_cap * 2) : NULL;
        if (p == NULL)
            return err_set(e, E_TOOBIG, "an answer of more than %zu bytes", k->in_cap);
        k->in = p;
        k->in_cap *= 2;
    }
    const ssize_t n = recv(k->fd, k->in + k->in_n, k->in_cap - k->in_n, MSG_DONTWAIT);
    if (n == 0)
        return err_set(e, E_CLOSED, "the server closed the connection");
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (n < 0)
        return link_failed("recv", e);
    k->in_n += (size_t)n;
    return take_answers(r, k, e);
}

static int turn(struct run *r, struct link *k, uint32_t events, struct err *e)
{
    int rc = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        rc = link_read(r, k, e);
    if (rc == 0 && (rc = top_up(r, k)) != 0)
        err_set(e, rc, "a request could not be made: %s", err_text(rc));
    return rc == 0 ? link_flush(r, k, e) : rc;
}

/* --- open loop --- */

static int flush_links(struct run *r, struct group *g, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < g->connections && rc == 0; i++)
        if (g->links[i].out_at < g->links[i].out.n)
            rc = link_flush(r, &g->links[i], e);
    return rc;
}

static int send_due(struct run *r, struct group *g, struct err *e)
{
    const struct pace p = {r->begin_ns, g->rate};
    int64_t due = pace_due(&p, now_ns());
    if (due > g->next_seq + DUE_AT_ONCE)
        due = g->next_seq + DUE_AT_ONCE;
    for (int64_t i = g->next_seq; i < due && may_ask(r, g); i++) {
        struct link *k = &g->links[i % g->connections];
        if (k->outstanding >= g->inflight)
            return err_set(e, E_BUSY, "the server fell %d requests behind a rate of %lld a second",
                           k->outstanding, (long long)g->rate);
        const int rc = link_request(k, pace_at(&p, i));
        if (rc != 0)
            return err_set(e, rc, "a request could not be made: %s", err_text(rc));
    }
    return flush_links(r, g, e);
}

static int send_all_due(struct run *r, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < r->n && rc == 0; i++)
        if (r->groups[i].rate > 0 && may_ask(r, &r->groups[i]))
            rc = send_due(r, &r->groups[i], e);
    return rc;
}

/* How long the loop may sleep: until the next request is due. */
static struct timespec pause_of(const struct run *r)
{
    int64_t wait = IDLE_MS * 1000000LL;
    const int64_t now = now_ns();
    for (size_t i = 0; i < r->n; i++) {
        const struct group *g = &r->groups[i];
        if (g->rate == 0 || !may_ask(r, g))
            continue;
        const struct pace p = {r->begin_ns, g->rate};
        const int64_t left = pace_at(&p, g->next_seq) - now;
        if (left < wait)
            wait = left < 0 ? 0 : left;
    }
    return (struct timespec){wait / 1000000000, wait % 1000000000};
}

/* --- the window --- */

static void window_open(struct run *r, int64_t now)
{
    r->phase = MEASURING;
    r->window_ns = r->slice_ns = now;
    r->ticks = proc_cpu_ticks(r->plan->pid);
    r->cpu_ns = proc_cpu_ns(r->plan->pid);
}

static void window_close(struct run *r, int64_t now)
{
    r->phase = DRAINING;
    r->w->seconds = (double)(now - r->window_ns) / 1e9;
    const int64_t ticks = proc_cpu_ticks(r->plan->pid), ns = proc_cpu_ns(r->plan->pid);
    r->w->cpu_ticks = r->ticks < 0 || ticks < 0 ? -1 : ticks - r->ticks;
    r->w->cpu_ns = r->cpu_ns < 0 || ns < 0 ? -1 : ns - r->cpu_ns;
}

static bool slice_over(struct run *r, int64_t now)
{
    const struct plan *p = r->plan;
    if (p->slice_ms == 0 || now - r->slice_ns < p->slice_ms * 1000000)
        return false;
    const struct group *g = &r->groups[0];
    const double rate =
        (double)(g->window_units - r->slice_units) * 1e9 / (double)(now - r->slice_ns);
    r->slice_ns = now;
    r->slice_units = g->window_units;
    return p->slice(p->arg, rate);
}

static void advance(struct run *r, int64_t now)
{
    const struct plan *p = r->plan;
    const struct group *g = &r->groups[0];
    const int64_t answered = g->done + g->refused;
    if (r->phase == WARMING && (p->requests > 0 ? answered >= p->warm_requests
                                                : now - r->begin_ns >= p->warm_ms * 1000000))
        window_open(r, now);
    if (r->phase == MEASURING &&
        ((p->requests > 0 ? answered >= p->requests : now - r->window_ns >= p->run_ms * 1000000) ||
         slice_over(r, now)))
        window_close(r, now);
}

static bool over(const struct run *r)
{
    if (r->phase != DRAINING)
        return false;
    bool background = false;
    for (size_t i = 0; i < r->n; i++) {
        background |= r->groups[i].background;
        if (!r->groups[i].background && r->groups[i].outstanding > 0)
            return false;
    }
    return !background || r->plan->finished == NULL || r->plan->finished(r->plan->arg);
}

/* --- life --- */

static int link_open(struct run *r, struct group *g, int index, struct err *e)
{
    struct link *k = &g->links[index];
    k->group = g;
    k->index = index;
    buf_init(&k->out, 0);
    k->in_cap = g->connections > MANY ? IN_MANY : IN_FEW;
    k->in = malloc(k->in_cap);
    k->ring = g->driver->in_order ? calloc((size_t)g->inflight, sizeof *k->ring) : NULL;
    if (k->in == NULL || (g->driver->in_order && k->ring == NULL))
        return err_set(e, E_NOMEM, "connection %d", index);
    k->fd = wire_dial(&g->host, e);
    if (k->fd < 0)
        return k->fd;
    const int rc = g->driver->hello != NULL ? g->driver->hello(g->self, k->fd, index, e) : 0;
    if (rc != 0)
        return rc;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, k->fd, &ev) != 0)
        return err_sys(e, errno, "epoll_ctl");
    return 0;
}

static int group_open(struct run *r, struct group *g, struct err *e)
{
    g->links = calloc((size_t)g->connections, sizeof *g->links);
    g->sent_ns = calloc(LOAD_SEQ_MAX, sizeof *g->sent_ns); /* address space; pages when used */
    g->mark = calloc(LOAD_SEQ_MAX, 1);
    if (g->links == NULL || g->sent_ns == NULL || g->mark == NULL)
        return err_set(e, E_NOMEM, "tables of the load");
    for (int i = 0; i < g->connections; i++)
        g->links[i].fd = -1;
    for (int i = 0; i < g->connections; i++) {
        const int rc = link_open(r, g, i, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void group_close(struct group *g)
{
    for (int i = 0; g->links != NULL && i < g->connections; i++) {
        struct link *k = &g->links[i];
        if (k->fd >= 0)
            close(k->fd);
        free(k->in);
        free(k->ring);
        buf_free(&k->out);
    }
    free(g->links);
    g->links = NULL;
}

static int loop(struct run *r, struct err *e)
{
    r->begin_ns = now_ns();
    int rc = 0;
    for (size_t i = 0; i < r->n; i++)
        for (int c = 0; c < r->groups[i].connections && rc == 0; c++)
            rc = turn(r, &r->groups[i].links[c], 0, e);
    const int64_t deadline = r->begin_ns + r->plan->deadline_ms * 1000000;
    while (rc == 0) {
        advance(r, now_ns());
        if (over(r))
            return 0;
        struct epoll_event evs[EVENTS];
        const struct timespec pause = pause_of(r);
        const int n = epoll_pwait2(r->epoll, evs, EVENTS, &pause, NULL);
        for (int i = 0; i < n && rc == 0; i++)
            rc = turn(r, evs[i].data.ptr, evs[i].events, e);
        if (rc == 0)
            rc = send_all_due(r, e);
        if (rc == 0 && now_ns() > deadline)
            rc = err_set(e, E_TIMEOUT, "the run did not finish within %lld s",
                         (long long)r->plan->deadline_ms / 1000);
    }
    return rc;
}

int load_run(struct group *groups, size_t n, const struct plan *plan, struct window *w,
             struct err *e)
{
    struct run r = {.groups = groups, .n = n, .plan = plan, .w = w};
    prctl(PR_SET_TIMERSLACK, 1UL); /* an open loop sleeps for less than the usual slack of 50 us */
    r.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r.epoll < 0)
        return err_sys(e, errno, "epoll_create1");
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = group_open(&r, &groups[i], e);
    if (rc == 0)
        rc = loop(&r, e);
    for (size_t i = 0; i < n; i++)
        group_close(&groups[i]);
    close(r.epoll);
    return rc;
}

void load_free(struct group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(groups[i].sent_ns);
        free(groups[i].mark);
        groups[i].sent_ns = NULL;
        groups[i].mark = NULL;
    }
}
