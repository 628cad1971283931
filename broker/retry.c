/* Retry and dead letters.
 *
 * Send-back (36), on a network loop: the message is read at the physical offset the consumer names and
 * stored again, one delivery older, in %RETRY%<group> with a delay level (3 + deliveries so far, or what
 * the consumer asks), or in %DLQ%<group> once the limit is reached: exactly then, not a level later, so
 * that the last failure goes to the dead letters at once. Topics and the group are created first when
 * they are missing (ensure.h); the request then starts over.
 *
 * Sends to %RETRY%<group> (orderly consumers, and clients whose send-back failed) pass retry_divert:
 * over the limit means the dead-letter topic. Upstream also diverts every such send while the group
 * holds any order lock, which dead-letters first failures of a concurrent consumer that shares a group
 * with an orderly one; here only the count decides.
 *
 * Failure modes: what cannot be stored is answered with an error, and the client falls back to a send of
 * its own; nothing is dropped but for retryQueueNums = 0, which means "do not retry".
 *
 * Source: AbstractSendMessageProcessor.consumerSendMsgBack, SendMessageProcessor.handleRetryAndDLQ of
 * 5.5.0: >= the limit for send-back, > for sends. */
#include "broker/retry.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/ensure.h"
#include "broker/group.h"
#include "broker/respcode.h"
#include "broker/topic.h"
#include "proto/names.h"

enum { RETRY_LEVEL_BASE = 3 };

struct back { /* in the request's arena */
    struct put put;
    struct req *r;
    struct buf props;
};

/* The header's limit counts from client 3.4.9 on. */
static int32_t limit_of(const struct group_info *g, int32_t header_max, int32_t client_version)
{
    return header_max >= 0 && client_version >= MQ_VERSION_3_4_9 ? header_max : g->retry_max_times;
}

/* A producer may set any count of deliveries. */
static int32_t plus(int32_t count, int32_t n)
{
    return count > INT32_MAX - n ? INT32_MAX : count + n;
}

static struct slice named(char *dst, size_t cap, const char *prefix, struct slice group)
{
    const int n = snprintf(dst, cap, "%s" SLICE_FMT, prefix, SLICE_ARG(group));
    MQ_ASSERT(n > 0 && (size_t)n < cap); /* group names are at most 120 bytes */
    return slice_of(dst, (size_t)n);
}

static void back_done(struct put *p)
{
    struct back *k = LIST_ENTRY(p, struct back, put);
    struct req *r = k->r;
    const enum put_status status = p->status;
    put_release(p);
    buf_free(&k->props);
    if (status == PUT_OK || status == PUT_FLUSH_TIMEOUT)
        req_reply(r, RESP_SUCCESS, NULL, NULL);
    else
        req_reply(r, RESP_SYSTEM_ERROR, put_status_name(status), NULL);
}

/* Properties of the copy: everything but what is set anew. level <= 0: no delay. */
static int copy_properties(const struct broker *b, const struct message *m, int32_t level, struct buf *out)
{
    static const char *const replaced[] = {PROP_DELAY, PROP_WAIT, PROP_ORIGIN_MESSAGE_ID, PROP_RETRY_TOPIC, NULL};
    const struct slice topic = props_str_get(m->properties, PROP_RETRY_TOPIC);
    struct slice origin = props_str_get(m->properties, PROP_ORIGIN_MESSAGE_ID);
    char id[MSG_ID_MAX], text[16];
    if (origin.p == NULL) {
        put_msg_id(b, m->phys_offset, id);
        origin = slice_str(id);
    }
    props_str_copy_without(out, m->properties, replaced);
    int rc = props_str_add(out, PROP_RETRY_TOPIC, topic.p != NULL ? topic : m->topic);
    if (rc == 0)
        rc = props_str_add(out, PROP_ORIGIN_MESSAGE_ID, origin);
    if (rc == 0)
        rc = props_str_add(out, PROP_WAIT, SLICE_LIT("false"));
    if (rc == 0 && level > 0) {
        snprintf(text, sizeof text, "%d", level);
        rc = props_str_add(out, PROP_DELAY, slice_str(text));
    }
    return rc != 0 ? rc : buf_error(out);
}

static void store_copy(struct req *r, const struct hdr_send_msg_back *h, const struct group_info *g,
                       const struct message *m)
{
    struct broker *b = req_broker(r);
    const int32_t max = limit_of(g, h->max_reconsume_times, req_command(r)->version);
    const bool dead = h->delay_level < 0 || m->reconsume_times >= max;
    const int32_t level = dead ? 0 : h->delay_level > 0 ? h->delay_level : plus(m->reconsume_times, RETRY_LEVEL_BASE);
    char name[MESSAGE_TOPIC_LONG_MAX + 1];
    const struct slice topic = named(name, sizeof name, dead ? DLQ_PREFIX : RETRY_PREFIX, h->group);

    struct back *k = req_alloc(r, sizeof *k);
    if (k == NULL) {
        req_reply(r, RESP_SYSTEM_BUSY, "out of memory, try again", NULL);
        return;
    }
    *k = (struct back){.r = r};
    buf_init(&k->props, 0);
    if (copy_properties(b, m, level, &k->props) != 0) {
        buf_free(&k->props);
        req_reply(r, RESP_SYSTEM_BUSY, "out of memory, try again", NULL);
        return;
    }
    k->put = (struct put){.msg = *m, .no_delay = level <= 0, .done = back_done};
    k->put.msg.topic = topic;
    k->put.msg.queue_id = dead ? 0 : (int32_t)rng_below(&req_net(r)->rng, (uint64_t)g->retry_queue_nums);
    k->put.msg.properties = buf_slice(&k->props);
    k->put.msg.reconsume_times = plus(m->reconsume_times, 1);
    k->put.msg.prepared_offset = 0;
    const enum put_status status = put_start(req_submitter(r), &k->put);
    if (status == PUT_OK) {
        req_drop_input(r);
        return;
    }
    buf_free(&k->props);
    req_reply(r, RESP_SYSTEM_ERROR, put_status_name(status), NULL);
}

/* true: the request waits until group and topics exist. */
static bool parked_for_creation(struct req *r, const struct hdr_send_msg_back *h, const struct group_info *g,
                                bool group_exists)
{
    const struct broker *b = req_broker(r);
    char retry[MESSAGE_TOPIC_LONG_MAX + 1], dlq[MESSAGE_TOPIC_LONG_MAX + 1];
    struct topic_info info;
    struct topic_spec topics[2];
    size_t n = 0;
    const struct slice retry_name = named(retry, sizeof retry, RETRY_PREFIX, h->group);
    const struct slice dlq_name = named(dlq, sizeof dlq, DLQ_PREFIX, h->group);
    if (!topics_get(b->topics, retry_name, &info))
        topics[n++] = topic_spec_plain(retry_name, group_exists ? g->retry_queue_nums : 1, h->unit_mode);
    if (!topics_get(b->topics, dlq_name, &info))
        topics[n++] = topic_spec_plain(dlq_name, 1, false);
    if (n == 0 && group_exists)
        return false;
    const struct ensure what = {.topics = topics, .topic_n = n, .groups = &h->group, .group_n = group_exists ? 0 : 1};
    ensure_then(r, &what, on_send_back);
    return true;
}

void on_send_back(struct req *r)
{
    struct broker *b = req_broker(r);
    struct hdr_send_msg_back h;
    struct group_info g;
    struct err e;
    if (req_header(r, &h) != 0)
        return;
    if (group_name_check(h.group, &e) != 0) {
        req_reply(r, RESP_INVALID_PARAMETER, e.text, NULL);
        return;
    }
    const bool exists = groups_get(b->groups, h.group, &g);
    if (!exists && !b->conf->auto_create_group) {
        req_replyf(r, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group not exist, " SLICE_FMT,
                   SLICE_ARG(h.group));
        return;
    }
    if ((b->conf->broker_permission & PERM_WRITE) == 0) {
        req_replyf(r, RESP_NO_PERMISSION, "the broker[%s] sending message is forbidden", b->conf->broker_ip1);
        return;
    }
    if (exists && g.retry_queue_nums <= 0) {
        req_reply(r, RESP_SUCCESS, NULL, NULL);
        return;
    }
    if (parked_for_creation(r, &h, &g, exists))
        return;
    struct store_view v;
    struct message m;
    if (store_view(b->store, h.offset, 0, &v, &e) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "look message by offset failed, %" PRId64, h.offset);
        return;
    }
    if (message_decode(v.record, 0, &m, &e) != 0)
        req_replyf(r, RESP_SYSTEM_ERROR, "look message by offset failed, %" PRId64, h.offset);
    else
        store_copy(r, &h, &g, &m);
    store_view_release(&v);
}

int retry_divert(struct broker *b, struct slice retry_topic, int32_t reconsume_times, int32_t max_reconsume_times,
                 int32_t client_version, char dlq[MESSAGE_TOPIC_LONG_MAX + 1], struct err *e)
{
    const struct slice group = {retry_topic.p + sizeof RETRY_PREFIX - 1, retry_topic.n - (sizeof RETRY_PREFIX - 1)};
    struct group_info g;
    if (group_name_check(group, e) != 0 || !groups_get(b->groups, group, &g))
        return err_set(e, E_NOTFOUND, "subscription group not exist, " SLICE_FMT, SLICE_ARG(group));
    if (reconsume_times <= limit_of(&g, max_reconsume_times, client_version))
        return 0;
    named(dlq, MESSAGE_TOPIC_LONG_MAX + 1, DLQ_PREFIX, group);
    return 1;
}
