/* Heartbeats: how brokers know which groups live at this end of a connection.
 *
 * A broker keys a client by its connection, so a registration is worth exactly as long as the
 * connection it was made on. One `peer` for each broker address that should know us: every master,
 * and the slaves too when this instance consumes. A peer is told when it is new, when the set of
 * groups changed (the epoch moved), when its connection was lost, and every heartbeat_ms. After a
 * failure it is told again in one, two, then every four seconds: a broker that comes back has
 * check-backs to ask that cannot wait for a whole period.
 *
 * heartbeat_before serves transactions: a half message must not be stored at a broker that could
 * not ask back about it, so an unregistered peer gets its heartbeat queued on the same connection
 * ahead of the half.
 *
 * Invariants: `registered` implies the answer was for the present epoch; a peer with a heartbeat
 * under way is not freed (its answer comes back to it, at the latest when rpc_close fails it).
 * Sources: MQClientInstance.sendHeartbeatToAllBrokerWithLock, ClientHousekeepingService (5.5.0).
 * Runs on: the loop. */
#include <stdlib.h>

#include "client/groups.h"
#include "proto/body.h"

enum { RETRY_MS = 1000, RETRY_DOUBLINGS = 2, IDLE_MS = 60000 };

static void peer_free(void *p)
{
    struct peer *peer = p;
    free(peer->addr);
    free(peer);
}

struct beat {
    struct hp_client *c;
    struct peer *peer;
    uint64_t epoch;
};

static void on_beat(void *arg, const struct rpc_result *res)
{
    struct beat *b = arg;
    struct hp_client *c = b->c;
    struct peer *p = b->peer;
    const uint64_t epoch = b->epoch;
    free(b);
    const int64_t now = clock_mono(c->clock);
    p->asking--;
    if (!res->status && res->response->code == RESP_SUCCESS) {
        const bool news = !p->registered;
        p->failures = 0;
        p->registered = epoch == c->heartbeats.epoch;
        p->next_ms = p->registered ? now + c->heartbeat_ms : now;
        if (news && p->registered)
            consumers_registered(c);
    } else {
        const int64_t wait = (int64_t)RETRY_MS
                             << (p->failures < RETRY_DOUBLINGS ? p->failures : RETRY_DOUBLINGS);
        p->failures++;
        p->registered = false;
        p->epoch = 0;
        p->next_ms = now + (wait < c->heartbeat_ms ? wait : c->heartbeat_ms);
        if (res->status != E_SHUTDOWN)
            CLIENT_LOG(c, p->failures > 1 ? HP_LOG_WARN : HP_LOG_INFO, "heartbeat to %s failed: %s",
                       p->addr, res->status ? res->error.text : "the broker refused it");
    }
    if (!p->asking)
        farewells_send(c, p);
    heartbeats_kick(c);
}

static struct slice body_now(struct hp_client *c)
{
    struct heartbeats *h = &c->heartbeats;
    if (h->body_epoch != h->epoch || buf_error(&h->body)) {
        buf_clear(&h->body);
        if (groups_encode(c, &h->body) == 0)
            h->body_epoch = h->epoch;
    }
    return buf_slice(&h->body);
}

static void send_beat(struct hp_client *c, struct peer *p)
{
    const struct slice body = body_now(c);
    const struct iovec iov = {(void *)(uintptr_t)body.p, body.n};
    const struct rpc_request q = {.address = slice_str(p->addr),
                                  .code = RC_HEART_BEAT,
                                  .body = &iov,
                                  .body_n = 1,
                                  .timeout_ms = c->request_timeout_ms};
    struct err e = {0};
    struct beat *b = malloc(sizeof *b);
    p->next_ms = clock_mono(c->clock) + RETRY_MS;
    if (!b || c->heartbeats.body_epoch != c->heartbeats.epoch) {
        free(b);
        return;
    }
    *b = (struct beat){c, p, c->heartbeats.epoch};
    p->asking++;
    p->epoch = c->heartbeats.epoch;
    if (client_call(c, &c->heartbeats.calls, &q, on_beat, b, &e)) {
        free(b);
        p->asking--;
        p->epoch = 0;
        CLIENT_LOG(c, HP_LOG_WARN, "heartbeat to %s: %s", p->addr, e.text);
    }
}

static struct peer *peer_of(struct hp_client *c, const char *addr)
{
    struct peer *p = map_get(c->heartbeats.peers, slice_str(addr));
    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (p)
        list_init(&p->farewells);
    if (p && (!(p->addr = slice_dup(slice_str(addr))) ||
              map_put(c->heartbeats.peers, slice_str(addr), p, NULL))) {
        peer_free(p);
        p = NULL;
    }
    return p;
}

static void mark_wanted(struct hp_client *c)
{
    struct map_iter it = {0};
    while (map_next(c->heartbeats.peers, &it))
        ((struct peer *)it.value)->wanted = false;
    struct map_iter bt = {0};
    while (map_next(c->routes.brokers, &bt)) {
        const struct broker *b = bt.value;
        for (size_t i = 0; i < b->addr_n; i++) {
            if (b->addrs[i].id != 0 && list_empty(&c->consumers))
                continue;
            struct peer *p = peer_of(c, b->addrs[i].addr);
            if (p)
                p->wanted = true;
        }
    }
}

static void on_timer(struct timer *t)
{
    struct heartbeats *h = LIST_ENTRY(t, struct heartbeats, timer);
    struct hp_client *c = LIST_ENTRY(h, struct hp_client, heartbeats);
    if (list_empty(&c->producers) && list_empty(&c->consumers))
        return;
    mark_wanted(c);
    const int64_t now = clock_mono(c->clock);
    int64_t next = now + IDLE_MS;
    struct map_iter it = {0};
    while (map_next(h->peers, &it)) {
        struct peer *p = it.value;
        if (p->asking)
            continue;
        if (!p->wanted) {
            map_remove(h->peers, it.key);
            peer_free(p);
            continue;
        }
        if (p->next_ms <= now)
            send_beat(c, p);
        if (p->next_ms < next)
            next = p->next_ms;
    }
    timer_start(&c->timers, t, next - now, on_timer);
}

void heartbeats_kick(struct hp_client *c)
{
    timer_start(&c->timers, &c->heartbeats.timer, 0, on_timer);
}

void heartbeats_groups_changed(struct hp_client *c)
{
    c->heartbeats.epoch++;
    struct map_iter it = {0};
    while (map_next(c->heartbeats.peers, &it)) {
        struct peer *p = it.value;
        p->registered = false;
        p->next_ms = 0;
    }
    heartbeats_kick(c);
}

void heartbeat_before(struct hp_client *c, const char *addr)
{
    struct peer *p = peer_of(c, addr);
    if (p && !p->registered && !(p->asking && p->epoch == c->heartbeats.epoch))
        send_beat(c, p);
}

void heartbeats_lost(struct hp_client *c, const char *addr)
{
    struct peer *p = map_get(c->heartbeats.peers, slice_str(addr));
    if (!p)
        return;
    p->registered = false;
    p->epoch = 0;
    p->next_ms = 0;
    heartbeats_kick(c);
}

int heartbeats_open(struct hp_client *c)
{
    struct heartbeats *h = &c->heartbeats;
    h->peers = map_new();
    h->epoch = 1;
    buf_init(&h->body, 0);
    timer_init(&h->timer);
    list_init(&h->calls);
    return h->peers ? 0 : E_NOMEM;
}

void heartbeats_close(struct hp_client *c)
{
    struct heartbeats *h = &c->heartbeats;
    timer_stop(&h->timer);
    if (h->peers)
        map_free(h->peers, peer_free);
    h->peers = NULL;
    buf_free(&h->body);
}
