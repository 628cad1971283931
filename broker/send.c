/* Sending: codes 10, 310 and 320.
 *
 * Runs on: the network loop of the request.
 *
 *     on_send -> admit (checks, in RocketMQ's order) -- no topic? -> ensure_then -> on_send again
 *             -> prepare (properties the broker adds; half message; retry over the limit)
 *             -> put_start ... on_stored -> answer
 *
 * The record is encoded inside put_start, so the request gives its input back right after and only
 * its arena lives until the store is done.
 *
 * Failure modes: every refusal is one answer with RocketMQ's code; the remark says what and why.
 * Each carries MSG_REGION and TRACE_ON, as a success does. What the store says is mapped by respcode.c.
 * An answer that is never written (oneway, peer gone) changes nothing in the log.
 *
 * A batch is what the header's `batch` says, not what the code says. Its items are stored verbatim.
 *
 * Source: SendMessageProcessor, AbstractSendMessageProcessor.msgCheck of 5.5.0. */
#include <stdlib.h>
#include <time.h>

#include "broker/ensure.h"
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/respcode.h"
#include "broker/retry.h"
#include "broker/topic.h"
#include "broker/tx.h"
#include "broker/uniq.h"

enum {
    /* The ids of a batch travel in one header field: 33 bytes each, below COMMAND_HEADER_MAX. */
    BATCH_MAX = 16384,
    PROPS_SCRATCH_MAX = 4 * MESSAGE_PROPERTIES_MAX
};

struct send { /* lives in the request's arena */
    struct put put;
    struct req *req;
    int32_t queue_id; /* of the topic the client named */
    bool batch;
    struct slice key; /* UNIQ_KEY, for the answer; a batch's own one is in none of its records */
};

/* --- admission --- */

static bool check_clock(struct req *r)
{
    const struct broker *b = req_broker(r);
    int64_t from = b->conf->start_accept_send;
    if (clock_wall(b->clock) >= from)
        return true;
    char text[40];
    struct tm tm;
    const time_t seconds = (time_t)(from / 1000);
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    req_replyf(r, RESP_SYSTEM_ERROR, "broker unable to service, until %s", text);
    return false;
}

static bool check_name(struct req *r, struct slice topic)
{
    struct err e;
    if (topic_name_check(topic, &e) != 0) {
        req_replyf(r, RESP_INVALID_PARAMETER, "%s", e.text);
        return false;
    }
    if (topic_send_forbidden(topic)) {
        req_replyf(r, RESP_NO_PERMISSION, "Sending message to topic[" SLICE_FMT "] is forbidden.",
                   SLICE_ARG(topic));
        return false;
    }
    return true;
}

/* The topic does not exist: create it and come back, or answer 17. */
static void create_or_refuse(struct req *r, const struct hdr_send_message *h)
{
    const struct broker *b = req_broker(r);
    struct topic_spec spec;
    struct err e;
    bool from_default = !slice_eq_str(h->default_topic, TOPIC_AUTO_CREATE) ||
                        b->conf->auto_create_topic;
    int rc = from_default ? topics_template(b->topics, h->topic, h->default_topic,
                                            h->default_topic_queue_nums, h->unit_mode, &spec, &e)
                          : E_NOTFOUND;
    if (rc != 0 && topic_is_retry(h->topic)) {
        spec = topic_spec_plain(h->topic, 1, h->unit_mode);
        rc = 0;
    }
    if (rc == 0)
        ensure_topic_then(r, &(struct ensure){.topics = &spec, .topic_n = 1}, on_send);
    else
        req_replyf(r, RESP_TOPIC_NOT_EXIST,
                   "topic[" SLICE_FMT "] not exist, apply first please!" FAQ, SLICE_ARG(h->topic));
}

static bool check_topic(struct req *r, const struct hdr_send_message *h, const struct topic_info *t)
{
    const struct broker *b = req_broker(r);
    int32_t queues = t->write_queue_nums > t->read_queue_nums ? t->write_queue_nums
                                                              : t->read_queue_nums;
    if (!(b->conf->broker_permission & PERM_WRITE) && t->order)
        req_replyf(r, RESP_NO_PERMISSION, "the broker[%s] sending message is forbidden",
                   b->conf->broker_ip1);
    else if (h->queue_id >= queues)
        req_replyf(r, RESP_INVALID_PARAMETER,
                   "request queueId[%d] is illegal, topic[" SLICE_FMT
                   "] has %d write and %d read queues. "
                   "Producer: %s",
                   h->queue_id, SLICE_ARG(h->topic), t->write_queue_nums, t->read_queue_nums,
                   conn_peer_text(req_conn(r)));
    else if (h->queue_id < 0 && t->write_queue_nums == 0)
        req_replyf(r, RESP_NO_PERMISSION, "topic[" SLICE_FMT "] has no queue to write to",
                   SLICE_ARG(h->topic));
    else
        return true;
    return false;
}

/* --- the answer --- */

static void join_ids(const struct broker *b, const struct put *p, struct buf *out)
{
    for (int i = 0; i < p->item_n; i++) {
        char id[MSG_ID_MAX];
        put_msg_id(b, p->phys_offsets[i], id);
        if (i > 0)
            buf_char(out, ',');
        buf_str(out, id);
    }
}

static void answer_stored(struct send *s, int32_t code, const char *remark)
{
    const struct broker *b = req_broker(s->req);
    struct buf ids;
    char id[MSG_ID_MAX];
    buf_init(&ids, 0);
    if (s->batch)
        join_ids(b, &s->put, &ids);
    else
        put_msg_id(b, s->put.phys_offset, id);
    const struct hdr_send_message_resp resp = {
        .msg_id = s->batch ? buf_slice(&ids) : slice_str(id),
        .queue_id = s->queue_id,
        .queue_offset = s->put.queue_offset,
        .transaction_id = s->key,
        .region = slice_str(b->conf->region_id),
        .trace_on = b->conf->trace_on ? SLICE_LIT("true") : SLICE_LIT("false"),
    };
    if (buf_error(&ids) == 0)
        req_reply(s->req, code, remark[0] ? remark : NULL, &resp);
    else
        req_replyf(s->req, RESP_SYSTEM_ERROR, "stored, but out of memory for the answer");
    buf_free(&ids);
}

static void on_stored(struct put *p)
{
    struct send *s = LIST_ENTRY(p, struct send, put);
    char remark[400];
    int32_t code = respcode_of_put(req_broker(s->req), p->status, remark, sizeof remark);
    char *block = put_detach(p); /* s ends with the answer */
    if (p->status == PUT_OK || p->status == PUT_FLUSH_TIMEOUT)
        answer_stored(s, code, remark);
    else
        req_replyf(s->req, code, "%s", remark);
    free(block);
}

static void start(struct send *s)
{
    struct req *r = s->req;
    s->put.done = on_stored;
    enum put_status st = put_start(req_submitter(r), &s->put);
    if (st == PUT_OK) {
        req_drop_input(r);
        return;
    }
    char remark[400];
    int32_t code = respcode_of_put(req_broker(r), st, remark, sizeof remark);
    req_replyf(r, code, "%s", remark);
}

/* --- one message --- */

static bool waits(struct slice text)
{
    return text.n == 0 || slice_bool(text);
}

static bool positive(struct slice text)
{
    int64_t v = 0;
    return text.n > 0 && slice_i64(text, &v) == 0 && v > 0;
}

/* What the client's properties say to the broker. */
enum { SAYS_KEY, SAYS_WAIT, SAYS_TRAN, SAYS_DELAY, SAYS_N };
static const struct slice says_names[SAYS_N] = {SLICE_LIT(PROP_UNIQ_KEY), SLICE_LIT(PROP_WAIT),
                                                SLICE_LIT(PROP_TRAN_MSG), SLICE_LIT(PROP_DELAY)};

/* The client's properties in canonical form with ours added. `diverted`: without DELAY. `key`: one
 * of ours, null when the client sent its own. */
static int add_properties(struct broker *b, struct slice props, bool diverted, struct slice key,
                          struct buf *out)
{
    enum { OURS = 256 }; /* about what comes on top */
    static const char *const replaced[] = {PROP_POP_CK, PROP_MSG_REGION, PROP_TRACE_ON,
                                           PROP_CLUSTER, NULL};
    static const char *const replaced_dlq[] = {PROP_POP_CK,  PROP_MSG_REGION, PROP_TRACE_ON,
                                               PROP_CLUSTER, PROP_DELAY,      NULL};
    int rc = buf_reserve(out, props.n + OURS);
    props_str_copy_without(out, props, diverted ? replaced_dlq : replaced);
    if (rc == 0 && key.p)
        rc = props_str_add(out, PROP_UNIQ_KEY, key);
    if (rc == 0)
        rc = props_str_add(out, PROP_MSG_REGION, slice_str(b->conf->region_id));
    if (rc == 0)
        rc = props_str_add(out, PROP_TRACE_ON,
                           b->conf->trace_on ? SLICE_LIT("true") : SLICE_LIT("false"));
    if (rc == 0)
        rc = props_str_add(out, PROP_CLUSTER, slice_str(b->conf->cluster_name));
    return rc != 0 ? rc : buf_error(out);
}

static bool is_half(const struct hdr_send_message *h, const struct slice *says, bool diverted)
{
    bool old_retry = h->reconsume_times > 0 && !diverted && positive(says[SAYS_DELAY]);
    return slice_bool(says[SAYS_TRAN]) && !old_retry;
}

static void refuse(struct req *r, int rc, const char *text)
{
    if (rc == E_TOOBIG) {
        char remark[400];
        int32_t code = respcode_of_put(req_broker(r), PUT_PROPERTIES_TOO_BIG, remark,
                                       sizeof remark);
        req_replyf(r, code, "%s", remark);
    } else {
        req_replyf(r, respcode_of_err(rc), "%s", text);
    }
}

static void send_single(struct send *s, const struct hdr_send_message *h, bool diverted)
{
    struct broker *b = req_broker(s->req);
    struct message *m = &s->put.msg;
    struct slice says[SAYS_N], ours = SLICE_NULL;
    struct buf props;
    struct err e;
    char made[UNIQ_KEY_SIZE];
    props_str_get_all(h->properties, says_names, SAYS_N, says);
    if (!says[SAYS_KEY].n) {
        uniq_key(&b->store_host, b->clock, made);
        ours = slice_str(made);
    }
    s->key = ours.p ? ours : says[SAYS_KEY];
    if (!own_slice(s->req, &s->key))
        return;
    buf_init(&props, PROPS_SCRATCH_MAX);
    int rc = h->properties.n > MESSAGE_PROPERTIES_MAX
                 ? E_TOOBIG
                 : add_properties(b, h->properties, diverted, ours, &props);
    if (rc != 0)
        err_set(&e, rc, "properties: %s", err_text(rc));
    m->properties = buf_slice(&props);
    s->put.no_wait = !waits(says[SAYS_WAIT]);
    s->put.delay_later = rc == 0 && is_half(h, says, diverted);
    if (s->put.delay_later)
        rc = tx_half_transform(b, m, &props, &e);
    if (rc == 0)
        start(s);
    else
        refuse(s->req, rc, e.text);
    buf_free(&props);
}

/* --- a batch --- */

static int parse_items(struct slice body, struct batch_item **out, int *n, struct err *e)
{
    size_t cap = 0;
    int rc = 0;
    *out = NULL;
    *n = 0;
    while (rc == 0 && body.n > 0) {
        if ((size_t)*n == cap) {
            cap = cap ? 2 * cap : 64;
            struct batch_item *grown = realloc(*out, cap * sizeof *grown);
            if (!grown) {
                rc = err_set(e, E_NOMEM, "batch: out of memory");
                break;
            }
            *out = grown;
        }
        rc = batch_next(&body, &(*out)[*n], e);
        if (rc == 0 && ++*n > BATCH_MAX)
            rc = err_set(e, E_TOOBIG, "a batch may hold %d messages at most", BATCH_MAX);
    }
    if (rc == 0 && *n == 0)
        rc = err_set(e, E_PROTO, "the batch holds no message");
    if (rc != 0)
        free(*out);
    return rc;
}

static const char *batch_fault(const struct hdr_send_message *h)
{
    if (topic_is_retry(h->topic))
        return "batch request does not support retry group";
    if (h->topic.n > MESSAGE_TOPIC_MAX)
        return "message topic length over 127 in a batch";
    if ((h->sys_flag & SYSFLAG_TX_MASK) != 0)
        return "a batch cannot be transactional";
    if (positive(props_str_get(h->properties, PROP_DELAY)))
        return "a batch cannot be delayed";
    return NULL;
}

static void send_batch(struct send *s, const struct hdr_send_message *h)
{
    struct req *r = s->req;
    const char *fault = batch_fault(h);
    if (fault) {
        req_replyf(r, RESP_MESSAGE_ILLEGAL, "%s", fault);
        return;
    }
    struct batch_item *items;
    struct err e;
    int rc = parse_items(s->put.msg.body, &items, &s->put.item_n, &e);
    if (rc != 0) {
        req_replyf(r, respcode_of_err(rc), "%s", e.text);
        return;
    }
    s->put.items = items;
    s->key = props_str_get(h->properties, PROP_UNIQ_KEY);
    if (!own_slice(r, &s->key)) {
        free(items);
        return;
    }
    s->put.no_wait = !waits(props_str_get(h->properties, PROP_WAIT));
    start(s);
    free(items); /* put_start copied everything */
}

/* --- entry --- */

static struct send *send_new(struct req *r, const struct hdr_send_message *h,
                             const struct topic_info *t, struct slice topic)
{
    struct send *s = req_alloc(r, sizeof *s);
    if (!s) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return NULL;
    }
    int32_t queue = h->queue_id >= 0
                        ? h->queue_id
                        : (int32_t)rng_below(&req_net(r)->rng, (uint64_t)t->write_queue_nums);
    *s = (struct send){.req = r, .queue_id = queue, .batch = h->batch};
    s->put.msg = (struct message){
        .topic = topic,
        .queue_id = queue,
        .flag = h->flag,
        .sys_flag = h->sys_flag | (t->multi_tags ? SYSFLAG_MULTI_TAGS : 0),
        .born_timestamp = h->born_timestamp,
        .born_host = *conn_peer(req_conn(r)),
        .reconsume_times = h->reconsume_times,
        .body = req_command(r)->body,
    };
    return s;
}

/* Sends to a retry topic: to the dead-letter topic when the limit is passed. */
static void send_retry(struct req *r, const struct hdr_send_message *h, const struct topic_info *t)
{
    struct broker *b = req_broker(r);
    char dlq[MESSAGE_TOPIC_LONG_MAX + 1];
    struct err e;
    bool has_max = command_ext(req_command(r), "maxReconsumeTimes").n > 0 ||
                   command_ext(req_command(r), "l").n > 0;
    int rc = retry_divert(b, h->topic, h->reconsume_times, has_max ? h->max_reconsume_times : -1,
                          req_command(r)->version, dlq, &e);
    if (rc < 0) {
        req_replyf(r, rc == E_NOTFOUND ? RESP_SUBSCRIPTION_GROUP_NOT_EXIST : respcode_of_err(rc),
                   "%s", e.text);
        return;
    }
    struct topic_info dlq_info;
    struct slice topic = rc == 1 ? slice_str(dlq) : h->topic;
    if (rc == 1 && !topics_get(b->topics, topic, &dlq_info)) {
        struct topic_spec spec = topic_spec_plain(topic, 1, h->unit_mode);
        ensure_then(r, &(struct ensure){.topics = &spec, .topic_n = 1}, on_send);
        return;
    }
    struct send *s = send_new(r, h, t, topic);
    if (s && rc == 1)
        s->put.msg.queue_id = 0;
    if (s)
        send_single(s, h, rc == 1);
}

void on_send(struct req *r)
{
    struct hdr_send_message h;
    struct topic_info t;
    if (req_header(r, &h) != 0)
        return;
    req_set_plain_ext(r, req_broker(r)->send_ext, SEND_EXT_N);
    if (ensure_behind(r, h.topic, on_send))
        return;
    if (!check_clock(r) || !check_name(r, h.topic))
        return;
    if (!topics_get(req_broker(r)->topics, h.topic, &t)) {
        create_or_refuse(r, &h);
        return;
    }
    if (!check_topic(r, &h, &t))
        return;
    if (req_command(r)->body.n == 0) {
        req_replyf(r, RESP_SYSTEM_ERROR,
                   "the message has no body: a message needs at least one byte");
        return;
    }
    if (h.sys_flag & (SYSFLAG_INNER_BATCH | SYSFLAG_NEED_UNWRAP)) {
        req_replyf(r, RESP_MESSAGE_ILLEGAL,
                   "inner batches need a topic of type BatchCQ, which is not served");
        return;
    }
    if (topic_is_retry(h.topic) && !h.batch) {
        send_retry(r, &h, &t);
        return;
    }
    struct send *s = send_new(r, &h, &t, h.topic);
    if (s && h.batch)
        send_batch(s, &h);
    else if (s)
        send_single(s, &h, false);
}
