/* Clients coming and going: codes 34, 35, 46, 38.
 *
 * Runs on: the network loop of the request.
 *
 * A heartbeat names producer groups and consumer groups. They are registered at once. Consumer
 * groups that are new get their configuration, and every consumer group its retry topic, before the
 * answer: the heartbeat waits in ensure_then while the service loop creates them, then is read
 * again. Entries that cannot be registered (illegal name, no configuration and none may be created,
 * a limit) are skipped with a log line, as RocketMQ does; the answer is still 0.
 *
 * Heartbeat V2 is not offered: the answer does not carry IS_SUPPORT_HEART_BEAT_V2, so clients send
 * their whole subscription each time.
 *
 * Source: ClientManageProcessor, ConsumerManageProcessor of 5.5.0. */
#include <stdio.h>

#include "base/log.h"
#include "broker/client_mgr.h"
#include "broker/ensure.h"
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/topic.h"

enum { PRODUCER_GROUP_MAX = 255, GROUPS_MAX = 1024, RETRY_NAME_MAX = sizeof RETRY_PREFIX + 128 };

struct missing { /* what a heartbeat's groups lack, in the request's arena */
    struct slice *groups;
    struct topic_spec *topics;
    size_t group_n, topic_n;
};

static bool skip_consumer(const struct broker *b, const struct heartbeat_consumer *hc)
{
    struct err e;
    return group_name_check(hc->group, &e) != 0 ||
           (b->conf->reject_pull_consumer && slice_eq_str(hc->consume_type, "CONSUME_ACTIVELY"));
}

static bool find_missing(struct req *r, const struct heartbeat_consumer *hc, struct missing *m)
{
    const struct broker *b = req_broker(r);
    struct group_info g = {.retry_queue_nums = 1};
    struct topic_info t;
    if (!groups_get(b->groups, hc->group, &g)) {
        if (!b->conf->auto_create_group)
            return true;
        m->groups[m->group_n++] = hc->group;
    }
    char name[RETRY_NAME_MAX];
    int n = snprintf(name, sizeof name, "%s" SLICE_FMT, RETRY_PREFIX, SLICE_ARG(hc->group));
    struct slice retry = slice_of(name, (size_t)n);
    if (g.retry_queue_nums <= 0 || topics_get(b->topics, retry, &t))
        return true;
    char *copy = req_alloc(r, retry.n);
    if (!copy)
        return false;
    memcpy(copy, retry.p, retry.n);
    m->topics[m->topic_n++] = topic_spec_plain(slice_of(copy, retry.n), g.retry_queue_nums,
                                               hc->unit_mode);
    return true;
}

/* True when r was parked to create what is missing. */
static bool create_missing(struct req *r, const struct heartbeat *hb)
{
    if (req_user(r) != NULL ||
        hb->consumer_n == 0) /* it was parked before: what exists now must do */
        return false;
    size_t n = hb->consumer_n < GROUPS_MAX ? hb->consumer_n : GROUPS_MAX;
    struct missing m = {req_alloc(r, n * sizeof *m.groups), req_alloc(r, n * sizeof *m.topics), 0,
                        0};
    bool memory = m.groups && m.topics;
    for (size_t i = 0; memory && i < n; i++)
        if (!skip_consumer(req_broker(r), &hb->consumers[i]))
            memory = find_missing(r, &hb->consumers[i], &m);
    if (!memory || (m.group_n == 0 && m.topic_n == 0))
        return false;
    ensure_then(r, &(struct ensure){.topics = m.topics, .topic_n = m.topic_n, .groups = m.groups,
                                    .group_n = m.group_n, .lenient = true}, on_heartbeat);
    return true;
}

static void log_refused(const struct req *r, struct slice group, const struct err *e)
{
    char quoted[160];
    LOGW("heartbeat.refused", "peer=%s group=%s reason=\"%s\"", conn_peer_text(req_conn(r)),
         log_quote(group, quoted, sizeof quoted), e->text);
}

static void register_producers(struct req *r, struct client_conn *cc, const struct heartbeat *hb)
{
    const struct command *c = req_command(r);
    for (size_t i = 0; i < hb->producer_n; i++) {
        struct err e;
        struct slice group = hb->producers[i];
        if (group.n == 0 || group.n > PRODUCER_GROUP_MAX)
            continue;
        if (clients_add_producer(req_broker(r)->clients, cc, group, hb->client_id, c->version,
                                 c->language, &e) != 0)
            log_refused(r, group, &e);
    }
}

/* A group whose configuration is still to be created is registered too, so that what the client
 * asks next on its connection finds it online. */
static void register_consumers(struct req *r, struct client_conn *cc, const struct heartbeat *hb)
{
    const struct broker *b = req_broker(r);
    const struct command *c = req_command(r);
    for (size_t i = 0; i < hb->consumer_n; i++) {
        const struct heartbeat_consumer *hc = &hb->consumers[i];
        struct group_info g = {.notify_changes = true};
        struct err e;
        bool exists = groups_get(b->groups, hc->group, &g);
        if (skip_consumer(b, hc) || (!exists && !b->conf->auto_create_group))
            continue;
        bool notify = b->conf->notify_consumers && g.notify_changes;
        if (clients_add_consumer(b->clients, cc, hc, hb->client_id, c->version, c->language, notify,
                                 &e) != 0)
            log_refused(r, hc->group, &e);
    }
}

/* After the wait: whose group could not be created is no member. Nobody is registered again: the
 * client may have left in the meantime. */
static void drop_refused(struct req *r, struct client_conn *cc, const struct heartbeat *hb)
{
    const struct broker *b = req_broker(r);
    struct group_info g;
    for (size_t i = 0; i < hb->consumer_n; i++)
        if (!groups_get(b->groups, hb->consumers[i].group, &g))
            clients_remove(b->clients, cc, SLICE_NULL, hb->consumers[i].group, false);
}

void on_heartbeat(struct req *r)
{
    struct heartbeat hb;
    struct err e;
    struct client_conn *cc = conn_user(req_conn(r));
    if (heartbeat_decode(req_command(r)->body, &hb, &e) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "heartbeat: %s", e.text);
        return;
    }
    if (hb.client_id.n == 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "heartbeat: clientID is missing");
    } else if (!cc) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
    } else if (req_user(r) != NULL) { /* it waited in ensure_then */
        drop_refused(r, cc, &hb);
        req_reply(r, RESP_SUCCESS, NULL, NULL);
    } else {
        register_producers(r, cc, &hb);
        register_consumers(r, cc, &hb);
        if (!create_missing(r, &hb))
            req_reply(r, RESP_SUCCESS, NULL, NULL);
    }
    heartbeat_free(&hb);
}

void on_unregister_client(struct req *r)
{
    struct hdr_unregister_client h;
    if (req_header(r, &h) != 0)
        return;
    const struct broker *b = req_broker(r);
    struct client_conn *cc = conn_user(req_conn(r));
    struct group_info g;
    bool notify = b->conf->notify_consumers &&
                  (!groups_get(b->groups, h.consumer_group, &g) || g.notify_changes);
    if (cc)
        clients_remove(b->clients, cc, h.producer_group, h.consumer_group, notify);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

void on_check_client_config(struct req *r)
{
    json_t *root;
    struct err e;
    if (json_parse(req_command(r)->body, &root, &e) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "client configuration: %s", e.text);
        return;
    }
    struct slice type = json_get_str(json_object_get(root, "subscriptionData"), "expressionType");
    if (type.n == 0 || slice_eq_str(type, "TAG"))
        req_reply(r, RESP_SUCCESS, NULL, NULL);
    else
        req_replyf(r, RESP_SYSTEM_ERROR,
                   "The broker does not support consumer to filter message by " SLICE_FMT,
                   SLICE_ARG(type));
    json_decref(root);
}

void on_consumer_list(struct req *r)
{
    struct hdr_consumer_group h;
    if (req_header(r, &h) != 0)
        return;
    struct buf body;
    buf_init(&body, FRAME_MAX);
    int rc = clients_consumer_ids(req_broker(r)->clients, h.consumer_group, &body);
    if (rc == 0)
        req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
    else if (rc == E_NOTFOUND)
        req_replyf(r, RESP_SYSTEM_ERROR, "no consumer for this group, " SLICE_FMT,
                   SLICE_ARG(h.consumer_group));
    else
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
    buf_free(&body);
}
