/* Requests whose asker may go away.
 *
 * rpc_call promises its callback exactly once and cannot be taken back: a long poll may be under
 * way for half a minute when its consumer is freed. Each call is therefore a small object of its
 * own; its asker keeps it in a list and can let go of it, after which the answer is thrown away. At
 * the end of an instance, rpc_close fails whatever is pending, and the objects go with it.
 *
 * Name servers are all equal: the client stays with one while it answers and moves on, round robin,
 * when it does not. An answer with any code counts as an answer.
 *
 * Runs on: the loop. */
#include <stdlib.h>

#include "client/client_priv.h"

struct call {
    struct list link; /* in the asker's list; alone when the asker let go */
    struct hp_client *c;
    rpc_done done;
    void *arg;
    /* name server calls */
    size_t tries_left;
    int32_t code;
    char *topic;
};

static void call_free(struct call *k)
{
    list_remove(&k->link);
    free(k->topic);
    free(k);
}

static void on_answer(void *arg, const struct rpc_result *res)
{
    struct call *k = arg;
    const rpc_done done = k->done;
    void *const done_arg = k->arg;
    call_free(k);
    if (done)
        done(done_arg, res);
}

static struct call *call_new(struct hp_client *c, struct list *owner, rpc_done done, void *arg)
{
    struct call *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->c = c;
    k->done = done;
    k->arg = arg;
    list_init(&k->link);
    list_push_back(owner, &k->link);
    return k;
}

int client_call(struct hp_client *c, struct list *owner, const struct rpc_request *q, rpc_done done,
                void *arg, struct err *e)
{
    struct call *k = call_new(c, owner, done, arg);
    if (!k)
        return err_set(e, E_NOMEM, "out of memory for a request");
    const int rc = rpc_call(c->rpc, q, on_answer, k, e);
    if (rc)
        call_free(k);
    return rc;
}

static void on_ns_answer(void *arg, const struct rpc_result *res);

static int ask_name_server(struct call *k, struct err *e)
{
    struct hp_client *c = k->c;
    const struct hdr_get_routeinfo hdr = {.topic = slice_str(k->topic),
                                          .accept_standard_json_only = true};
    const struct rpc_request q = {
        .address = slice_str(c->name_servers[c->name_server]),
        .code = k->code,
        .hdr = k->topic ? &hdr : NULL,
        .timeout_ms = c->request_timeout_ms,
    };
    k->tries_left--;
    return rpc_call(c->rpc, &q, on_ns_answer, k, e);
}

static void on_ns_answer(void *arg, const struct rpc_result *res)
{
    struct call *k = arg;
    struct hp_client *c = k->c;
    if (res->status && res->status != E_SHUTDOWN) {
        CLIENT_LOG(c, HP_LOG_WARN, "name server %s does not answer: %s", res->address,
                   res->error.text);
        c->name_server = (c->name_server + 1) % c->name_server_n;
        struct err e = {0};
        if (k->done && k->tries_left && ask_name_server(k, &e) == 0)
            return;
    }
    on_answer(k, res);
}

int ns_call(struct hp_client *c, struct list *owner, int32_t code, struct slice topic,
            rpc_done done, void *arg, struct err *e)
{
    struct call *k = call_new(c, owner, done, arg);
    if (!k)
        return err_set(e, E_NOMEM, "out of memory for a request");
    k->code = code;
    k->tries_left = c->name_server_n;
    if (topic.p && !(k->topic = slice_dup(topic))) {
        call_free(k);
        return err_set(e, E_NOMEM, "out of memory for a request");
    }
    const int rc = ask_name_server(k, e);
    if (rc)
        call_free(k);
    return rc;
}

void calls_cancel(struct list *owner)
{
    struct list *l;
    while ((l = list_pop_front(owner)))
        LIST_ENTRY(l, struct call, link)->done = NULL;
}

bool calls_idle(const struct list *owner) { return list_empty(owner); }
