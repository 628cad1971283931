/* Pulling: codes 11 and 361.
 *
 * Runs on: the network loop of the request.
 *
 *     on_pull -> admit (checks, in RocketMQ's order) -> commit offset -> store_get -> answer
 *                                                                          |
 *                                        only on disk: a worker reads it, then on
 *                                        nothing there, may wait: hold_park, look once more
 *                                        woken or overdue -> the same again, without waiting
 *
 * Found messages are answered as slices of mapped log files; the files stay referenced until the
 * bytes have left or the peer is gone.
 *
 * The context lives in the request's arena. Only when the pull parks are its strings copied and its
 * input given back, so that a waiting pull never pins a receive block.
 *
 * Source: PullMessageProcessor, DefaultPullMessageResultHandler of 5.5.0. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/client_mgr.h"
#include "broker/cold.h"
#include "broker/ensure.h"
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/hold.h"
#include "broker/offset.h"
#include "broker/respcode.h"
#include "broker/topic.h"

enum { SYS_COMMIT = 1, SYS_SUSPEND = 2, SYS_SUBSCRIPTION = 4 }; /* pull sysFlag bits */
enum { SUSPEND_MAX_MS = 10 * 60 * 1000 };

struct pull { /* lives in the request's arena */
    struct parked parked;
    struct req *req;
    struct hdr_pull_message h;
    int32_t code;
    bool first;           /* may commit and may wait */
    struct group_sub *sub; /* counted */
    int32_t topic_sys_flag, group_sys_flag;
    struct store_got *got; /* owned; outlives the request when messages were found */
    bool owned;            /* the strings of h lie in the arena */
    int cold_rc;           /* of the worker's store_get */
};

bool own_slice(struct req *r, struct slice *s)
{
    char *p = s->n > 0 ? req_alloc(r, s->n) : NULL;
    if (s->n > 0 && !p) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return false;
    }
    if (p)
        memcpy(p, s->p, s->n);
    s->p = p;
    return true;
}

static void done_with(struct pull *p)
{
    group_sub_unref(p->sub);
    p->sub = NULL;
}

#define REFUSE(p, code, ...) (done_with(p), req_replyf((p)->req, (code), __VA_ARGS__))

/* --- admission --- */

static bool check_broker(struct pull *p)
{
    const struct broker *b = req_broker(p->req);
    if (!(b->conf->broker_permission & PERM_READ))
        REFUSE(p, RESP_NO_PERMISSION, "the broker[%s] pulling message is forbidden",
               b->conf->broker_ip1);
    else if (p->code == RC_LITE_PULL_MESSAGE && !b->conf->lite_pull_enable)
        REFUSE(p, RESP_NO_PERMISSION, "the broker[%s] for lite pull consumer is forbidden",
               b->conf->broker_ip1);
    else
        return true;
    return false;
}

static bool check_group(struct pull *p, struct group_info *g)
{
    const struct broker *b = req_broker(p->req);
    struct slice group = p->h.consumer_group;
    if (!groups_get(b->groups, group, g)) {
        struct err e;
        if (b->conf->auto_create_group && p->first && group_name_check(group, &e) == 0)
            ensure_then(p->req, &(struct ensure){.groups = &group, .group_n = 1}, on_pull);
        else
            REFUSE(p, RESP_SUBSCRIPTION_GROUP_NOT_EXIST,
                   "subscription group [" SLICE_FMT "] does not exist" FAQ, SLICE_ARG(group));
        return false;
    }
    if (!g->consume_enable) {
        REFUSE(p, RESP_NO_PERMISSION, "subscription group no permission, " SLICE_FMT,
               SLICE_ARG(group));
        return false;
    }
    p->group_sys_flag = g->sys_flag;
    return true;
}

static bool check_topic(struct pull *p)
{
    const struct broker *b = req_broker(p->req);
    struct slice topic = p->h.topic;
    struct topic_info t;
    if (!topics_get(b->topics, topic, &t))
        REFUSE(p, RESP_TOPIC_NOT_EXIST, "topic[" SLICE_FMT "] not exist, apply first please! " FAQ,
               SLICE_ARG(topic));
    else if (!(t.perm & PERM_READ))
        REFUSE(p, RESP_NO_PERMISSION, "the topic[" SLICE_FMT "] pulling message is forbidden",
               SLICE_ARG(topic));
    else if (p->h.queue_id < 0 || p->h.queue_id >= t.read_queue_nums)
        REFUSE(p, RESP_INVALID_PARAMETER,
               "queueId[%d] is illegal, topic:[" SLICE_FMT
               "] topicConfig.readQueueNums:[%d] consumer:[%s]",
               p->h.queue_id, SLICE_ARG(topic), t.read_queue_nums,
               conn_peer_text(req_conn(p->req)));
    else {
        p->topic_sys_flag = t.sys_flag;
        return true;
    }
    return false;
}

static bool check_expression(struct pull *p)
{
    if (slice_eq_str(slice_str(p->sub->s.expression_type), "TAG"))
        return true;
    char type[16]; /* the subscription's own goes with it */
    snprintf(type, sizeof type, "%s", p->sub->s.expression_type);
    REFUSE(p, RESP_SYSTEM_ERROR, "The broker does not support consumer to filter message by %s",
           type);
    return false;
}

static bool attached_subscription(struct pull *p)
{
    struct slice type = p->h.expression_type.n > 0 ? p->h.expression_type : SLICE_LIT("TAG");
    struct err e;
    p->sub = group_sub_new(p->h.topic, p->h.subscription, type, p->h.sub_version, &e);
    if (p->sub)
        return check_expression(p);
    REFUSE(p, RESP_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed: %s",
           e.text);
    return false;
}

static bool registered_subscription(struct pull *p, const struct group_info *g)
{
    const struct broker *b = req_broker(p->req);
    struct slice group = p->h.consumer_group;
    enum consumer_model model;
    if (clients_subscription(b->clients, group, p->h.topic, &p->sub, &model) != 0)
        REFUSE(p, RESP_SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist" FAQ);
    else if (model == MODEL_BROADCASTING && !g->consume_broadcast_enable)
        REFUSE(p, RESP_NO_PERMISSION,
               "the consumer group[" SLICE_FMT "] can not consume by broadcast way",
               SLICE_ARG(group));
    else if (groups_forbid_read(b->groups, group, p->h.topic))
        REFUSE(p, RESP_NO_PERMISSION,
               "the consumer group[" SLICE_FMT "] is forbidden for topic[" SLICE_FMT "]",
               SLICE_ARG(group), SLICE_ARG(p->h.topic));
    else if (!p->sub)
        REFUSE(p, RESP_SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist" FAQ);
    else if (p->sub->s.version < p->h.sub_version)
        REFUSE(p, RESP_SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
    else
        return check_expression(p);
    return false;
}

static bool admit(struct pull *p)
{
    struct group_info g;
    if (!check_broker(p) || !check_group(p, &g) || !check_topic(p))
        return false;
    return p->h.sys_flag & SYS_SUBSCRIPTION ? attached_subscription(p)
                                            : registered_subscription(p, &g);
}

/* --- the answer --- */

static int32_t code_of_status(enum get_status s, int64_t asked)
{
    switch (s) {
    case GET_FOUND: return RESP_SUCCESS;
    case GET_MESSAGE_WAS_REMOVING:
    case GET_NO_MATCHED_MESSAGE: return RESP_PULL_RETRY_IMMEDIATELY;
    case GET_OFFSET_FOUND_NULL:
    case GET_OFFSET_OVERFLOW_ONE: return RESP_PULL_NOT_FOUND;
    case GET_NO_MATCHED_LOGIC_QUEUE:
    case GET_NO_MESSAGE_IN_QUEUE: return asked == 0 ? RESP_PULL_NOT_FOUND : RESP_PULL_OFFSET_MOVED;
    case GET_OFFSET_OVERFLOW_BADLY:
    case GET_OFFSET_TOO_SMALL: return RESP_PULL_OFFSET_MOVED;
    }
    return RESP_SYSTEM_ERROR;
}

static void release_got(void *arg)
{
    store_got_release(arg);
    free(arg);
}

static void answer(struct pull *p, int32_t code)
{
    struct store_got *g = p->got;
    const struct hdr_pull_message_resp resp = {
        .next_begin_offset = g->next_begin_offset,
        .min_offset = g->min_offset,
        .max_offset = g->max_offset,
        .topic_sys_flag = p->topic_sys_flag,
        .group_sys_flag = p->group_sys_flag,
    };
    done_with(p);
    const char *remark = get_status_name(g->status);
    if (code == RESP_SUCCESS) {
        req_reply_iov(p->req, code, remark, &resp, g->iov, g->iov_n, release_got, g);
    } else {
        req_reply(p->req, code, remark, &resp);
        release_got(g);
    }
}

static bool match(void *arg, int64_t code)
{
    return subscription_match_code(arg, code);
}

static void run(struct pull *p);

static void on_wake(struct parked *parked)
{
    struct pull *p = LIST_ENTRY(parked, struct pull, parked);
    done_with(p);
    p->first = false;
    run(p);
}

static bool own_strings(struct pull *p)
{
    struct req *r = p->req;
    if (p->owned)
        return true;
    if (!own_slice(r, &p->h.consumer_group) || !own_slice(r, &p->h.topic) ||
        !own_slice(r, &p->h.subscription) || !own_slice(r, &p->h.expression_type))
        return false;
    req_drop_input(r);
    p->owned = true;
    return true;
}

static void wait_for_message(struct pull *p)
{
    struct broker *b = req_broker(p->req);
    int64_t wait = b->conf->long_polling_enable ? p->h.suspend_timeout_ms
                                                : b->conf->short_polling_ms;
    if (wait > SUSPEND_MAX_MS)
        wait = SUSPEND_MAX_MS;
    release_got(p->got);
    struct group_sub *const sub = p->sub;
    if (!own_strings(p)) { /* answered: p is gone with its request */
        group_sub_unref(sub);
        return;
    }
    p->parked = (struct parked){.conn = req_conn(p->req),
                                .topic = p->h.topic,
                                .queue_id = p->h.queue_id,
                                .offset = p->h.queue_offset,
                                .sub = p->sub,
                                .wake = on_wake,
                                .deadline_ms = clock_mono(b->clock) + wait};
    if (hold_park(b->hold, &p->parked, req_loop(p->req)->index) != 0) {
        on_wake(&p->parked);
        return;
    }
    int64_t min, max;
    store_queue_range(b->store, p->h.topic, p->h.queue_id, &min, &max);
    if (max > p->h.queue_offset)
        hold_wake_now(b->hold, &p->parked);
}

static int look(struct pull *p, bool no_wait)
{
    const struct store_get q = {
        .topic = p->h.topic,
        .queue_id = p->h.queue_id,
        .offset = p->h.queue_offset,
        .max_msgs = p->h.max_msg_nums > 0 ? p->h.max_msg_nums : 1,
        .match = p->sub->s.all ? NULL : match,
        .match_arg = &p->sub->s,
        .no_wait = no_wait,
    };
    return store_get(req_broker(p->req)->store, &q, p->got);
}

static void looked(struct pull *p)
{
    int32_t code = code_of_status(p->got->status, p->h.queue_offset);
    if (code == RESP_PULL_NOT_FOUND && p->first && (p->h.sys_flag & SYS_SUSPEND) &&
        p->h.suspend_timeout_ms > 0)
        wait_for_message(p);
    else
        answer(p, code);
}

static void cold_look(struct req *r)
{
    struct pull *p = req_user(r);
    p->cold_rc = look(p, false);
}

static void cold_looked(struct req *r)
{
    struct pull *p = req_user(r);
    if (p->cold_rc == 0) {
        looked(p);
        return;
    }
    free(p->got);
    REFUSE(p, RESP_SYSTEM_ERROR, "the broker is out of memory");
}

static void read_cold(struct pull *p)
{
    struct store_got *const got = p->got;
    struct group_sub *const sub = p->sub;
    store_got_release(got);
    req_set_user(p->req, p);
    if (!own_strings(p)) { /* answered: p is gone with its request */
        free(got);
        group_sub_unref(sub);
    } else if (cold_run(p->req, cold_look, cold_looked) != 0) {
        free(p->got);
        REFUSE(p, RESP_SYSTEM_ERROR, "the broker is out of memory");
    }
}

static void run(struct pull *p)
{
    struct broker *b = req_broker(p->req);
    if (!admit(p))
        return;
    struct err e;
    if (p->first && (p->h.sys_flag & SYS_COMMIT) &&
        offsets_set(b->offsets, p->h.consumer_group, p->h.topic, p->h.queue_id, p->h.commit_offset,
                    &e) != 0) {
        REFUSE(p, RESP_SYSTEM_BUSY, "%s", e.text);
        return;
    }
    p->got = malloc(sizeof *p->got);
    if (!p->got || look(p, true) != 0) {
        free(p->got);
        REFUSE(p, RESP_SYSTEM_ERROR, "the broker is out of memory");
    } else if (p->got->cold && p->got->msg_n == 0) {
        read_cold(p);
    } else {
        looked(p);
    }
}

void on_pull(struct req *r)
{
    struct pull *p = req_alloc(r, sizeof *p);
    if (!p) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return;
    }
    *p = (struct pull){0};
    if (req_header(r, &p->h) != 0)
        return;
    p->req = r;
    p->code = req_command(r)->code;
    p->first = true;
    run(p);
}
