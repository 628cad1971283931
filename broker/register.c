/* Registration at the name servers.
 *
 * Runs on: the service loop.
 *
 * Every name server is a peer of its own with at most one registration under way: a slow or dead
 * one never delays the others. A round asks each peer for a registration made after now; a peer
 * that is busy makes another one when the answer of the first has come. A waiter of a round is done
 * when every peer has answered (or failed) a registration that was sent after the round began.
 *
 * What is sent is always the whole topic table: it is what a name server needs after its own
 * restart, it cannot be refused as upstream refuses the registration of a single topic, and a burst
 * of new topics costs one table, not one request each.
 *
 * Failure: logged when it begins and when it ends. A peer that refuses is tried again after 1, 2, 4 s
 * and so on until the period is shorter: a broker and its name servers may be started at once and in
 * any order. One that is silent is tried again at the next period, since waiters wait for it. */
#include "broker/register.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/topic.h"

enum { GOODBYE_MS = 1000, HEARTBEAT_TIMEOUT_MS = 120000, RETRY_MS = 1000, DOUBLINGS_MAX = 16 };

struct peer {
    struct registrar *owner;
    char *address;
    bool inflight, known;
    uint64_t wanted, sent, done; /* round numbers */
    unsigned failures; /* since it last answered */
    uv_timer_t retry;
};
struct waiter {
    struct list link;
    uint64_t round;
    void (*done)(void *arg);
    void *arg;
};
struct registrar {
    struct broker *b;
    struct peer *peers;
    size_t peer_n;
    uint64_t round;
    struct list waiters;
    uv_timer_t timer;
    bool stopping;
    size_t goodbyes; /* unanswered */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static void peer_send(struct peer *p);

static bool round_done(const struct registrar *r, uint64_t round)
{
    for (size_t i = 0; i < r->peer_n; i++)
        if (r->peers[i].done < round)
            return false;
    return true;
}

static void finish_waiters(struct registrar *r)
{
    struct list ready;
    list_init(&ready);
    LIST_FOREACH_SAFE(it, next, &r->waiters) {
        if (!r->stopping && !round_done(r, LIST_ENTRY(it, struct waiter, link)->round))
            continue;
        list_remove(it);
        list_push_back(&ready, it);
    }
    struct list *it;
    while ((it = list_pop_front(&ready)) != NULL) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, link);
        w->done(w->arg);
        free(w);
    }
}

static void on_retry(uv_timer_t *t)
{
    struct peer *p = t->data;
    if (!p->inflight)
        peer_send(p);
}

static void peer_ok(struct peer *p)
{
    if (p->failures || !p->known)
        LOGI("register.ok", "namesrv=%s", p->address);
    p->failures = 0;
    p->known = true;
    uv_timer_stop(&p->retry);
}

static void peer_failed(struct peer *p, bool silent, const char *why)
{
    const struct registrar *r = p->owner;
    const unsigned doublings = p->failures < DOUBLINGS_MAX ? p->failures : DOUBLINGS_MAX;
    const int64_t wait = (int64_t)RETRY_MS << doublings;
    if (!p->failures++)
        LOGW("register.failed", "namesrv=%s reason=\"%s\"", p->address, why);
    if (silent || r->stopping || wait >= r->b->conf->register_period)
        return;
    const int started = uv_timer_start(&p->retry, on_retry, (uint64_t)wait, 0);
    MQ_ASSERT(started == 0);
}

static void on_registered(void *arg, const struct rpc_result *res)
{
    struct peer *p = arg;
    struct registrar *r = p->owner;
    p->inflight = false;
    p->done = p->sent;
    if (res->status != 0) {
        peer_failed(p, res->status == E_TIMEOUT, res->error.text);
    } else if (res->response->code != RESP_SUCCESS) {
        char text[256], quoted[300];
        struct slice remark = res->response->remark;
        snprintf(text, sizeof text, "code %d: %s", res->response->code,
                 log_quote(remark, quoted, sizeof quoted));
        peer_failed(p, false, text);
    } else {
        peer_ok(p);
    }
    finish_waiters(r);
    if (!r->stopping && p->wanted > p->sent)
        peer_send(p);
}

static void peer_send(struct peer *p)
{
    struct broker *b = p->owner->b;
    struct err e;
    struct buf body;
    buf_init(&body, FRAME_MAX);
    p->sent = p->wanted;
    int rc = topics_register_body(b->topics, b->conf->broker_permission, &body);
    const struct hdr_register_broker hdr = {
        .broker_name = slice_str(b->conf->broker_name),
        .broker_addr = slice_str(b->address),
        .cluster_name = slice_str(b->conf->cluster_name),
        .ha_server_addr = slice_str(b->ha_address),
        .broker_id = b->conf->broker_id,
        .heartbeat_timeout_ms = HEARTBEAT_TIMEOUT_MS,
        .body_crc32 = (int32_t)crc32_body(buf_slice(&body)),
    };
    const struct iovec iov = {body.p, body.n};
    const struct rpc_request q = {.address = slice_str(p->address),
                                  .code = RC_REGISTER_BROKER,
                                  .hdr = &hdr,
                                  .body = &iov,
                                  .body_n = 1,
                                  .timeout_ms = b->conf->register_timeout};
    if (rc != 0)
        err_set(&e, rc, "registration body: %s", err_text(rc));
    else
        rc = rpc_call(b->service.rpc, &q, on_registered, p, &e);
    buf_free(&body);
    p->inflight = rc == 0;
    if (rc != 0) {
        p->done = p->sent;
        peer_failed(p, false, e.text);
    }
}

static int waiter_add(struct registrar *r, void (*done)(void *arg), void *arg)
{
    struct waiter *w = malloc(sizeof *w);
    if (!w)
        return E_NOMEM;
    *w = (struct waiter){.round = r->round + 1, .done = done, .arg = arg};
    list_push_back(&r->waiters, &w->link);
    return 0;
}

void registrar_round(struct broker *b, void (*done)(void *arg), void *arg)
{
    struct registrar *r = b->registrar;
    if (!r || r->stopping || (done && waiter_add(r, done, arg) != 0)) {
        if (done)
            done(arg);
        return;
    }
    r->round++;
    for (size_t i = 0; i < r->peer_n; i++) {
        r->peers[i].wanted = r->round;
        if (!r->peers[i].inflight)
            peer_send(&r->peers[i]);
    }
    finish_waiters(r);
}

static void on_period(uv_timer_t *t)
{
    registrar_round(t->data, NULL, NULL);
}

static int peers_parse(struct registrar *r, const char *list, struct err *e)
{
    struct slice rest = slice_str(list), one;
    while (list && slice_cut(&rest, ';', &one)) {
        one = slice_trim(one);
        if (one.n == 0)
            continue;
        struct peer *grown = realloc(r->peers, (r->peer_n + 1) * sizeof *grown);
        if (!grown)
            return err_set(e, E_NOMEM, "name servers: out of memory");
        r->peers = grown;
        r->peers[r->peer_n] = (struct peer){.owner = r, .address = slice_dup(one)};
        if (!r->peers[r->peer_n].address)
            return err_set(e, E_NOMEM, "name servers: out of memory");
        r->peer_n++;
    }
    return 0;
}

int registrar_start(struct broker *b, struct err *e)
{
    struct registrar *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, E_NOMEM, "name servers: out of memory");
    r->b = b;
    list_init(&r->waiters);
    b->registrar = r;
    int rc = peers_parse(r, b->conf->namesrv_addr, e);
    if (rc == 0 && uv_timer_init(&b->service.loop.uv, &r->timer) != 0)
        rc = err_set(e, E_NOMEM, "registration timer");
    if (rc != 0) {
        registrar_free(b);
        return rc;
    }
    r->timer.data = b;
    for (size_t i = 0; i < r->peer_n; i++) {
        uv_timer_init(&b->service.loop.uv, &r->peers[i].retry);
        r->peers[i].retry.data = &r->peers[i];
    }
    uint64_t period = (uint64_t)b->conf->register_period;
    int started = uv_timer_start(&r->timer, on_period, period, period);
    MQ_ASSERT(started == 0);
    registrar_round(b, NULL, NULL);
    return 0;
}

static void goodbye_answered(struct registrar *r)
{
    if (--r->goodbyes == 0)
        r->stopped(r->stopped_arg);
}

static void on_unregistered(void *arg, const struct rpc_result *res)
{
    (void)res; /* whether it heard us or not: it also sees the connection close */
    goodbye_answered(((struct peer *)arg)->owner);
}

void registrar_stop(struct broker *b, void (*done)(void *arg), void *arg)
{
    struct registrar *r = b->registrar;
    if (!r) {
        done(arg);
        return;
    }
    r->stopping = true;
    r->stopped = done;
    r->stopped_arg = arg;
    r->goodbyes = 1; /* ours, until every request is on its way */
    uv_close((uv_handle_t *)&r->timer, NULL);
    for (size_t i = 0; i < r->peer_n; i++)
        uv_close((uv_handle_t *)&r->peers[i].retry, NULL);
    finish_waiters(r);
    const struct hdr_unregister_broker hdr = {
        .broker_name = slice_str(b->conf->broker_name),
        .broker_addr = slice_str(b->address),
        .cluster_name = slice_str(b->conf->cluster_name),
        .broker_id = b->conf->broker_id,
    };
    for (size_t i = 0; i < r->peer_n; i++) {
        const struct rpc_request q = {.address = slice_str(r->peers[i].address),
                                      .code = RC_UNREGISTER_BROKER,
                                      .hdr = &hdr,
                                      .timeout_ms = GOODBYE_MS};
        struct err e;
        if (r->peers[i].known &&
            rpc_call(b->service.rpc, &q, on_unregistered, &r->peers[i], &e) == 0)
            r->goodbyes++;
    }
    goodbye_answered(r);
}

void registrar_free(struct broker *b)
{
    struct registrar *r = b->registrar;
    if (!r)
        return;
    for (size_t i = 0; i < r->peer_n; i++)
        free(r->peers[i].address);
    free(r->peers);
    free(r);
    b->registrar = NULL;
}
