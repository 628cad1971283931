/* hp_group_lag: how many messages of a topic a group has not come past.
 *
 *   the route (105) -> for each queue at its master: the end (30) and the group's offset (14) -> the sum
 *
 * The whole operation is one object of the calling thread, which waits for the last answer; it joins no
 * group and changes nothing. The two numbers of a queue are asked for at the same time, so a queue that
 * moves counts a little too much or too little, never below zero. A group without an offset is at the
 * beginning. Any queue that cannot be asked fails the whole: a sum with a hole in it would be a lie.
 *
 * Source: DefaultMQAdminExt.examineConsumeStats reports the same difference. Runs on: the loop, after the
 * call. */
#include <stdlib.h>

#include "client/client_priv.h"
#include "proto/names.h"

enum { LAG_QUEUES_MAX = 65536 };

struct lag;
struct part { /* one queue */
    struct lag *x;
    int64_t end, offset;
};
struct lag {
    struct hp_client *c;
    const char *group, *topic;
    int64_t deadline_ms;
    struct list calls;
    struct timer timer;
    struct route_waiter waiter;
    struct part *parts;
    size_t part_n, waiting;
    struct hp_error error;
    struct sync done;
};

static void finish(struct lag *x)
{
    calls_cancel(&x->calls);
    timer_stop(&x->timer);
    list_remove(&x->waiter.link);
    sync_post(&x->done);
}

static void on_timeout(struct timer *t)
{
    struct lag *x = LIST_ENTRY(t, struct lag, timer);
    error_set(&x->error, HP_E_TIMEOUT, "lag of %s in %s: %zu answers are missing after the timeout",
              x->group, x->topic, x->waiting);
    finish(x);
}

/* --- the queues --- */

static void take(struct part *p, const struct rpc_result *res, int64_t *out, bool may_be_missing)
{
    struct lag *x = p->x;
    struct hdr_offset_resp h = {.offset = 0};
    struct err e = res->error;
    int rc = res->status;
    const bool missing =
        !rc && may_be_missing && res->response->code == RESP_QUERY_NOT_FOUND;
    if (!rc && !missing && res->response->code != RESP_SUCCESS)
        rc = err_set(&e, E_REMOTE, "code %d: " SLICE_FMT, res->response->code,
                     SLICE_ARG(res->response->remark));
    if (!rc && !missing)
        rc = hdr_decode(&hdr_desc_offset_resp, HDR_LONG, res->response->ext, res->response->ext_n,
                        &h, &e);
    if (rc) {
        error_set(&x->error, public_code(rc), "lag of %s in %s: %s: %.150s", x->group, x->topic,
                  res->address, e.text);
        finish(x);
        return;
    }
    *out = h.offset > 0 ? h.offset : 0;
    if (--x->waiting == 0)
        finish(x);
}

static void on_end(void *arg, const struct rpc_result *res)
{
    struct part *p = arg;
    take(p, res, &p->end, false);
}

static void on_offset(void *arg, const struct rpc_result *res)
{
    struct part *p = arg;
    take(p, res, &p->offset, true);
}

static int ask_queue(struct lag *x, struct part *p, const char *addr, int32_t id, struct err *e)
{
    const struct hdr_topic_queue end = {
        .topic = slice_str(x->topic), .queue_id = id, .committed = true};
    const struct hdr_query_consumer_offset offset = {
        .consumer_group = slice_str(x->group), .topic = slice_str(x->topic), .queue_id = id};
    struct rpc_request q = {.address = slice_str(addr),
                            .code = RC_GET_MAX_OFFSET,
                            .hdr = &end,
                            .timeout_ms = x->c->request_timeout_ms};
    int rc = client_call(x->c, &x->calls, &q, on_end, p, e);
    q.code = RC_QUERY_CONSUMER_OFFSET;
    q.hdr = &offset;
    return rc ? rc : client_call(x->c, &x->calls, &q, on_offset, p, e);
}

static int ask_queues(struct lag *x, const struct route *r, struct err *e)
{
    size_t n = 0, at = 0;
    int rc = 0;
    for (size_t i = 0; i < r->queue_n; i++)
        n += r->queues[i].read_n > 0 ? (size_t)r->queues[i].read_n : 0;
    if (n > LAG_QUEUES_MAX)
        return err_set(e, E_PROTO, "%zu queues", n);
    if (!(x->parts = calloc(n + 1, sizeof *x->parts)))
        return err_set(e, E_NOMEM, "%zu queues", n);
    x->part_n = n;
    x->waiting = 2 * n;
    for (size_t i = 0; i < r->queue_n && !rc; i++) {
        const char *addr = broker_address(broker_of(x->c, r->queues[i].broker), 0);
        if (!addr)
            rc = err_set(e, E_NOTFOUND, "broker %s has no master", r->queues[i].broker);
        for (int32_t id = 0; id < r->queues[i].read_n && !rc; id++, at++) {
            x->parts[at].x = x;
            rc = ask_queue(x, &x->parts[at], addr, id, e);
        }
    }
    return rc;
}

static void on_route(struct route_waiter *w, struct route *r)
{
    struct lag *x = LIST_ENTRY(w, struct lag, waiter);
    struct err e = {0};
    int rc = 0;
    if (r->state == ROUTE_MISSING)
        error_set(&x->error, HP_E_NO_ROUTE, "no name server knows topic %s", x->topic);
    else if (r->state != ROUTE_KNOWN)
        error_set(&x->error, HP_E_CONNECT, "topic %s: %.180s", x->topic, r->error.text);
    else if ((rc = ask_queues(x, r, &e)) != 0)
        error_from(&x->error, &e, rc, "asking for a lag");
    if (x->error.code || x->waiting == 0)
        finish(x);
}

static void start_on_loop(void *arg)
{
    struct lag *x = arg;
    struct route *r = route_of(x->c, slice_str(x->topic));
    timer_start(&x->c->timers, &x->timer, x->deadline_ms - clock_mono(x->c->clock), on_timeout);
    x->waiter.fn = on_route;
    if (r) {
        route_wait(r, &x->waiter);
        return;
    }
    error_set(&x->error, HP_E_NOMEM, "out of memory for a route");
    finish(x);
}

int hp_group_lag(hp_client *c, const char *group, const char *topic, int64_t timeout_ms,
                 int64_t *lag, struct hp_error *err)
{
    struct err e = {0};
    if (!group || !*group)
        return error_set(err, HP_E_INVALID, "group is empty");
    if (!topic || topic_name_check(slice_str(topic), &e))
        return error_from(err, &e, E_INVAL, "topic");
    if (timeout_ms <= 0)
        return error_set(err, HP_E_INVALID, "timeout_ms has to be positive");
    struct lag *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(err, HP_E_NOMEM, "out of memory for a lag");
    *x = (struct lag){.c = c,
                      .group = group,
                      .topic = topic,
                      .deadline_ms = clock_mono(c->clock) + timeout_ms};
    list_init(&x->calls);
    list_init(&x->waiter.link);
    timer_init(&x->timer);
    int rc = sync_init(&x->done, err);
    if (!rc)
        rc = client_run(c, start_on_loop, x, err);
    if (!rc) {
        sync_wait(&x->done);
        rc = x->error.code;
        if (rc && err)
            *err = x->error;
    }
    if (!rc) {
        *lag = 0;
        for (size_t i = 0; i < x->part_n; i++)
            *lag += x->parts[i].end > x->parts[i].offset ? x->parts[i].end - x->parts[i].offset : 0;
    }
    free(x->parts);
    free(x);
    return rc;
}
