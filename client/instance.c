/* The instance: one loop thread with everything that talks to the network.
 *
 * hp_client_new starts the thread and opens, on it, timers, routes, heartbeats and rpc.
 * hp_client_free takes them down in reverse: rpc_close first fails every request that is still
 * under way (long polls of freed consumers among them), then nothing refers to routes and peers any
 * more, then the timer handle closes, then the loop ends. Producers and consumers must be gone
 * before; that is asserted, because their memory would otherwise be used after the loop.
 *
 * Threads: application threads post mails and, if they must wait, wait on a semaphore of their own.
 * The loop never waits for anybody. A call that waits is refused when it comes from the loop itself
 * (HP_E_STATE).
 *
 * Brokers push two things this library serves: 39 (check a transaction) and 40 (a group's members
 * changed). Any other push that wants an answer gets code 3. */
#include <stdlib.h>

#include "client/client_priv.h"
#include "client/options.h"

/* --- waiting --- */

int sync_init(struct sync *s, struct hp_error *err)
{
    return uv_sem_init(&s->sem, 0) == 0 ? 0 : error_set(err, HP_E_NOMEM, "no semaphore left");
}

void sync_post(struct sync *s) { uv_sem_post(&s->sem); }

void sync_wait(struct sync *s)
{
    uv_sem_wait(&s->sem);
    uv_sem_destroy(&s->sem);
}

int check_may_wait(const struct hp_client *c, struct hp_error *err)
{
    if (loop_is_current(&c->loop))
        return error_set(
            err, HP_E_STATE,
            "called from a callback on the library's loop thread, where nothing may wait");
    return 0;
}

int client_run(struct hp_client *c, void (*fn)(void *arg), void *arg, struct hp_error *err)
{
    const int rc = check_may_wait(c, err);
    if (rc)
        return rc;
    return loop_call(&c->loop, fn, arg) ? error_set(err, HP_E_CLOSED, "the client is shut down")
                                        : 0;
}

static void background_work(uv_work_t *w)
{
    struct background *b = w->data;
    b->work(b);
}

static void background_done(uv_work_t *w, int status)
{
    (void)status;
    struct background *b = w->data;
    b->done(b);
}

int background_start(struct hp_client *c, struct background *b)
{
    b->uv.data = b;
    return uv_queue_work(&c->loop.uv, &b->uv, background_work, background_done) == 0 ? 0 : E_NOMEM;
}

/* --- pushes --- */

static void on_push(void *arg, const struct rpc_push *push)
{
    struct hp_client *c = arg;
    const struct command *cmd = push->command;
    struct hdr_consumer_group h;
    switch (cmd->code) {
    case RC_CHECK_TRANSACTION_STATE:
        producers_check(c, push);
        return;
    case RC_NOTIFY_CONSUMER_IDS_CHANGED:
        if (hdr_decode(&hdr_desc_consumer_group, HDR_LONG, cmd->ext, cmd->ext_n, &h, NULL) == 0)
            consumers_group_changed(c, h.consumer_group);
        return;
    default:
        if (cmd->flag & COMMAND_FLAG_ONEWAY)
            return;
        if (rpc_push_reply(c->rpc, push->conn_id, cmd->opaque, RESP_REQUEST_CODE_NOT_SUPPORTED,
                           " request type not supported by this client", SLICE_NULL))
            CLIENT_LOG(c, HP_LOG_INFO, "request %d from %s not answered", cmd->code, push->address);
    }
}

static void on_disconnect(void *arg, const char *address) { heartbeats_lost(arg, address); }

/* --- new --- */

struct opening {
    struct hp_client *c;
    int rc;
    struct err e;
};

static void open_on_loop(void *arg)
{
    struct opening *o = arg;
    struct hp_client *c = o->c;
    const struct rpc_opts opts = {
        .loop = &c->loop,
        .clock = c->clock,
        /* half of a request's time: a refused or silent address leaves time for another */
        .connect_timeout_ms = c->request_timeout_ms / 2 + 1,
        .language = LANGUAGE_CPP,
        .on_push = on_push,
        .on_disconnect = on_disconnect,
        .arg = c,
    };
    timers_open(&c->timers, &c->loop.uv, c->clock);
    o->rc = routes_open(c);
    if (!o->rc)
        o->rc = heartbeats_open(c);
    if (!o->rc)
        o->rc = rpc_open(&c->rpc, &opts, &o->e);
    else
        err_set(&o->e, o->rc, "out of memory");
}

struct closing {
    struct hp_client *c;
    struct sync done;
};

static void closed(void *arg)
{
    struct closing *x = arg;
    heartbeats_close(x->c);
    routes_close(x->c);
    timers_close(&x->c->timers);
    sync_post(&x->done);
}

static void close_on_loop(void *arg)
{
    struct closing *x = arg;
    MQ_ASSERT(x->c->joined == 0);
    if (x->c->rpc)
        rpc_close(x->c->rpc, closed, x);
    else
        closed(x);
}

static void client_destroy(struct hp_client *c)
{
    struct client_settings s = {.name_servers = c->name_servers, .name_server_n = c->name_server_n,
                                .client_id = c->client_id, .stable_id = c->stable_id};
    settings_fini(&s);
    id_gen_fini(&c->ids);
    free(c);
}

static int client_from(struct hp_client **out, const struct hp_client_options *o,
                       struct client_settings *s, struct hp_error *err)
{
    struct hp_client *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, HP_E_NOMEM, "out of memory for a client");
    c->clock = &clock_system;
    rng_seed(&c->rng, rng_seed_from_os());
    if (id_gen_init(&c->ids, s->ip, (uint32_t)rng_u64(&c->rng), c->clock)) {
        free(c);
        return error_set(err, HP_E_NOMEM, "no mutex left");
    }
    if (o)
        c->log = (struct client_log){o->log, o->log_arg};
    c->route_refresh_ms = s->route_refresh_ms;
    c->heartbeat_ms = s->heartbeat_ms;
    c->request_timeout_ms = s->request_timeout_ms;
    c->name_servers = s->name_servers;
    c->name_server_n = s->name_server_n;
    c->name_server = (size_t)rng_below(&c->rng, s->name_server_n);
    c->client_id = s->client_id;
    c->stable_id = s->stable_id;
    s->name_servers = NULL;
    s->name_server_n = 0;
    s->client_id = s->stable_id = NULL;
    list_init(&c->producers);
    list_init(&c->consumers);
    *out = c;
    return 0;
}

int hp_client_new(const struct hp_client_options *opts, hp_client **out, struct hp_error *err)
{
    struct client_settings s;
    int rc = settings_init(&s, opts, err);
    if (rc)
        return rc;
    struct hp_client *c = NULL;
    rc = client_from(&c, opts, &s, err);
    settings_fini(&s);
    if (rc)
        return rc;
    struct err e = {0};
    rc = loop_start(&c->loop, "hp-client", 0, &e);
    if (rc) {
        client_destroy(c);
        return error_from(err, &e, rc, "loop thread");
    }
    struct opening o = {.c = c};
    rc = loop_call(&c->loop, open_on_loop, &o);
    if (!rc && o.rc) {
        rc = error_from(err, &o.e, o.rc, "client");
        hp_client_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void hp_client_free(hp_client *c)
{
    if (!c)
        return;
    struct closing x = {.c = c};
    if (sync_init(&x.done, NULL) || client_run(c, close_on_loop, &x, NULL)) {
        CLIENT_LOG(c, HP_LOG_ERROR,
                   "hp_client_free called inside a callback of the loop: not freed");
        return;
    }
    sync_wait(&x.done);
    loop_stop(&c->loop);
    client_destroy(c);
}

const char *hp_client_id(const hp_client *c) { return c->client_id; }
