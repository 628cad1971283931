/* What an operator asks before an application moves to a cluster: is the topic there, is the group there, who
 * is in it, how are the brokers set.
 *
 *   hp_topic_queues      the route (105)
 *   hp_create_group      each master (masters.c): 352 is it there? -> 200 when it is not
 *   hp_group_members     each master: 38
 *   hp_cluster_setting   each master: 26, the whole configuration as text, of which one key is taken
 *
 * Creating a group that exists would set it back to defaults, so it is asked for first; code 352 came with
 * RocketMQ 5, a broker that does not know it (code 3) is sent the group's defaults. Asking creates the group
 * at a broker with autoCreateSubscriptionGroup, which is what is wanted. A setting in which the masters differ
 * has no value: the error names both.
 *
 * Sources: AdminBrokerProcessor.getSubscriptionGroup, .updateAndCreateSubscriptionGroup, .getBrokerConfig,
 * ConsumerManageProcessor.getConsumerListByGroup (5.5.0). Runs on: the loop, after the call. */
#include "client/masters.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "halfpenny/admin.h"
#include "proto/body.h"
#include "proto/names.h"

/* --- groups --- */

struct group_op {
    struct masters m;
    const char *group;
    int count; /* created at so many; members at the broker that has most */
};

static struct group_op *group_op_of(struct master *b)
{
    return LIST_ENTRY(b->m, struct group_op, m);
}

static int group_run(struct group_op *x, struct hp_error *err)
{
    char what[320];
    (void)snprintf(what, sizeof what, "consumer group %.255s", x->group ? x->group : "");
    x->m.what = what;
    if (!x->group || !*x->group)
        return error_set(err, HP_E_INVALID, "group is empty");
    return masters_run(&x->m, err);
}

static void on_created(void *arg, const struct rpc_result *res)
{
    if (masters_refused(arg, res))
        return;
    group_op_of(arg)->count++;
    masters_done(arg);
}

static int create_at(struct master *b, struct err *e)
{
    struct group_config g;
    struct buf body;
    buf_init(&body, 0);
    group_config_defaults(&g, slice_str(group_op_of(b)->group));
    json_t *j = group_config_to_json(&g);
    int rc = j ? json_write(j, &body) : E_NOMEM;
    json_decref(j);
    const struct slice text = buf_slice(&body);
    const struct iovec iov = {(void *)(uintptr_t)text.p, text.n};
    const struct rpc_request q = {
        .code = RC_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, .body = &iov, .body_n = 1};
    if (!rc)
        rc = masters_call(b, &q, on_created, e);
    buf_free(&body);
    return rc;
}

/* There, not there, or a broker that cannot say. */
static void on_looked_up(void *arg, const struct rpc_result *res)
{
    struct master *b = arg;
    struct err e = {0};
    const bool create = !res->status &&
                        (res->response->code == RESP_SUBSCRIPTION_GROUP_NOT_EXIST ||
                         res->response->code == RESP_REQUEST_CODE_NOT_SUPPORTED);
    if (!create) {
        if (!masters_refused(b, res))
            masters_done(b);
        return;
    }
    const int rc = create_at(b, &e);
    if (rc) {
        error_from(&b->m->error, &e, rc, b->m->what);
        masters_finish(b->m);
    }
}

static int look_up(struct master *b, struct err *e)
{
    const struct hdr_get_group_config hdr = {.group = slice_str(group_op_of(b)->group)};
    const struct rpc_request q = {.code = RC_GET_SUBSCRIPTIONGROUP_CONFIG, .hdr = &hdr};
    return masters_call(b, &q, on_looked_up, e);
}

int hp_create_group(hp_client *c, const char *cluster, const char *group, int64_t timeout_ms,
                    int *created, struct hp_error *err)
{
    struct group_op x = {
        .m = {.c = c, .cluster = cluster, .timeout_ms = timeout_ms, .ask = look_up},
        .group = group};
    const int rc = group_run(&x, err);
    if (!rc && created)
        *created = x.count;
    return rc;
}

/* Nobody is answered with code 1. */
static void on_members(void *arg, const struct rpc_result *res)
{
    struct master *b = arg;
    struct group_op *x = group_op_of(b);
    json_t *root;
    struct slice *ids;
    size_t n = 0;
    struct err e = {0};
    if (!res->status && res->response->code == RESP_SYSTEM_ERROR) {
        masters_done(b);
        return;
    }
    if (masters_refused(b, res))
        return;
    const int rc = consumer_list_decode(res->response->body, &root, &ids, &n, &e);
    if (rc) {
        error_from(&x->m.error, &e, rc, x->m.what);
        masters_finish(&x->m);
        return;
    }
    free(ids);
    json_decref(root);
    x->count = n > (size_t)x->count ? (int)n : x->count;
    masters_done(b);
}

static int ask_members(struct master *b, struct err *e)
{
    const struct hdr_consumer_group hdr = {.consumer_group = slice_str(group_op_of(b)->group)};
    const struct rpc_request q = {.code = RC_GET_CONSUMER_LIST_BY_GROUP, .hdr = &hdr};
    return masters_call(b, &q, on_members, e);
}

int hp_group_members(hp_client *c, const char *cluster, const char *group, int64_t timeout_ms,
                     int *members, struct hp_error *err)
{
    struct group_op x = {
        .m = {.c = c, .cluster = cluster, .timeout_ms = timeout_ms, .ask = ask_members},
        .group = group};
    const int rc = group_run(&x, err);
    if (!rc)
        *members = x.count;
    return rc;
}

/* --- settings --- */

struct setting_op {
    struct masters m;
    const char *key;
    char *value; /* the first master's; own */
    char *from;  /* its name; own */
};

/* The value of "key=value" among the lines of text; SLICE_NULL when there is none. */
static struct slice value_in(struct slice text, const char *key)
{
    struct slice line, name;
    while (slice_cut(&text, '\n', &line)) {
        struct slice rest = line;
        if (slice_cut(&rest, '=', &name) && slice_eq_str(slice_trim(name), key))
            return slice_trim(rest);
    }
    return SLICE_NULL;
}

static void setting_failed(struct setting_op *x, int code, const char *text)
{
    error_set(&x->m.error, code, "%s: %.200s", x->m.what, text);
    masters_finish(&x->m);
}

static void on_settings(void *arg, const struct rpc_result *res)
{
    struct master *b = arg;
    struct setting_op *x = LIST_ENTRY(b->m, struct setting_op, m);
    char text[240];
    if (masters_refused(b, res))
        return;
    const struct slice v = value_in(res->response->body, x->key);
    if (!v.p) {
        (void)snprintf(text, sizeof text, "broker %.100s does not have it", b->name);
        setting_failed(x, HP_E_STATE, text);
    } else if (!x->value) {
        x->value = slice_dup(v);
        x->from = slice_dup(slice_str(b->name));
        if (!x->value || !x->from)
            setting_failed(x, HP_E_NOMEM, "out of memory");
        else
            masters_done(b);
    } else if (!slice_eq_str(v, x->value)) {
        (void)snprintf(text, sizeof text, "\"%.70s\" at %.40s, but \"%.*s\" at %.40s", x->value,
                       x->from, (int)(v.n < 70 ? v.n : 70), v.p, b->name);
        setting_failed(x, HP_E_STATE, text);
    } else {
        masters_done(b);
    }
}

static int ask_settings(struct master *b, struct err *e)
{
    const struct rpc_request q = {.code = RC_GET_BROKER_CONFIG};
    return masters_call(b, &q, on_settings, e);
}

int hp_cluster_setting(hp_client *c, const char *cluster, const char *key, int64_t timeout_ms,
                       char *value, size_t size, struct hp_error *err)
{
    char what[160];
    if (!key || !*key)
        return error_set(err, HP_E_INVALID, "key is empty");
    (void)snprintf(what, sizeof what, "setting %.120s", key);
    struct setting_op x = {.m = {.c = c,
                                 .cluster = cluster,
                                 .what = what,
                                 .timeout_ms = timeout_ms,
                                 .ask = ask_settings},
                           .key = key};
    int rc = masters_run(&x.m, err);
    if (!rc && slice_copy(slice_str(x.value), value, size))
        rc = error_set(err, HP_E_TOO_BIG, "%s: the value has %zu bytes", what, strlen(x.value));
    free(x.value);
    free(x.from);
    return rc;
}

/* --- topics --- */

struct topic_op {
    struct hp_client *c;
    const char *topic;
    int64_t timeout_ms;
    struct timer timer;
    struct route_waiter waiter;
    int queues;
    struct hp_error error;
    struct sync done;
};

static void topic_end(struct topic_op *x)
{
    timer_stop(&x->timer);
    list_remove(&x->waiter.link);
    sync_post(&x->done);
}

static void on_topic_timeout(struct timer *t)
{
    struct topic_op *x = LIST_ENTRY(t, struct topic_op, timer);
    error_set(&x->error, HP_E_TIMEOUT, "topic %s: no name server answered in time", x->topic);
    topic_end(x);
}

static void on_topic_route(struct route_waiter *w, struct route *r)
{
    struct topic_op *x = LIST_ENTRY(w, struct topic_op, waiter);
    if (r->error.code)
        error_set(&x->error, HP_E_CONNECT, "topic %s: %.180s", x->topic, r->error.text);
    else if (r->state != ROUTE_KNOWN)
        error_set(&x->error, HP_E_NO_ROUTE, "no name server knows topic %s", x->topic);
    x->queues = (int)r->writable_n;
    topic_end(x);
}

static void topic_on_loop(void *arg)
{
    struct topic_op *x = arg;
    struct route *r = route_of(x->c, slice_str(x->topic));
    x->waiter.fn = on_topic_route;
    timer_start(&x->c->timers, &x->timer, x->timeout_ms, on_topic_timeout);
    if (r) {
        route_wait(r, &x->waiter);
        return;
    }
    error_set(&x->error, HP_E_NOMEM, "out of memory for a route");
    topic_end(x);
}

int hp_topic_queues(hp_client *c, const char *topic, int64_t timeout_ms, int *queues,
                    struct hp_error *err)
{
    struct err e = {0};
    if (!topic || topic_name_check(slice_str(topic), &e))
        return error_from(err, &e, E_INVAL, "topic");
    if (timeout_ms <= 0)
        return error_set(err, HP_E_INVALID, "timeout_ms has to be positive");
    struct topic_op x = {.c = c, .topic = topic, .timeout_ms = timeout_ms};
    list_init(&x.waiter.link);
    timer_init(&x.timer);
    int rc = sync_init(&x.done, err);
    if (!rc)
        rc = client_run(c, topic_on_loop, &x, err);
    if (rc)
        return rc;
    sync_wait(&x.done);
    if (x.error.code && err)
        *err = x.error;
    if (!x.error.code)
        *queues = x.queues;
    return x.error.code;
}
