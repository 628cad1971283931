/* Building what is sent.
 *
 * Runs on the sending application's thread: compression and copying are paid by who sends, and the
 * loop only writes. The result is independent of broker and queue, so a retry sends the same bytes
 * with another header.
 *
 * Checks here save a round trip or a stored message nobody can use: topic letters, system topics,
 * empty bodies (5.x brokers fail on them), size before compression (as Java's Validators do),
 * properties that exceed the record's 16-bit length.
 *
 * Sources: DefaultMQProducerImpl.sendKernelImpl, Validators, MessageBatch (5.5.0). */
#include "client/message_build.h"

#include <stdlib.h>
#include <zlib.h>

#include "client/error.h"
#include "client/message_priv.h"
#include "proto/command.h"
#include "proto/message.h"
#include "proto/names.h"

enum { ZLIB_LEVEL = 5, DEFAULT_TOPIC_QUEUES = 4 };

static int check_topic(const char *topic, struct hp_error *err)
{
    struct err e = {0};
    const struct slice t = slice_str(topic);
    const int rc = topic_name_check(t, &e);
    if (rc)
        return error_from(err, &e, E_INVAL, "topic");
    if (topic_send_forbidden(t))
        return error_set(err, HP_E_INVALID,
                         "topic %s is a system topic that clients may not send to", topic);
    return 0;
}

static int check_body(size_t n, size_t max, struct hp_error *err)
{
    if (n == 0)
        return error_set(err, HP_E_INVALID,
                         "the message body is empty; brokers refuse empty bodies");
    if (n > max)
        return error_set(err, HP_E_TOO_BIG,
                         "the message body has %zu bytes, more than max_message_size = %zu", n,
                         max);
    return 0;
}

static void add(struct buf *props, const char *name, const char *value)
{
    if (props_str_add(props, name, slice_str(value)) && !props->error)
        props->error = E_INVAL;
}

static int check_props(const struct buf *props, struct hp_error *err)
{
    switch (buf_error(props)) {
    case 0: return 0;
    case E_TOOBIG:
        return error_set(err, HP_E_TOO_BIG, "the properties take more than %d bytes",
                         MESSAGE_PROPERTIES_MAX);
    case E_NOMEM: return error_set(err, HP_E_NOMEM, "out of memory for a message");
    default: return error_set(err, HP_E_INVALID, "a property holds a byte 0x01 or 0x02");
    }
}

static void add_message_props(struct buf *props, const struct hp_message *m, const char *unique_id)
{
    for (size_t i = 0; i < m->prop_n; i++)
        add(props, m->props[i].name, m->props[i].value);
    add(props, PROP_UNIQ_KEY, unique_id);
    add(props, PROP_WAIT, m->wait_store_ok ? "true" : "false");
}

/* Zlib into o->body when that is wanted and makes the body smaller. */
static int compress_body(struct outgoing *o, const struct hp_message *m)
{
    uLongf n = compressBound((uLong)m->body_n);
    char *room = buf_extend(&o->body, n);
    if (!room)
        return HP_E_NOMEM;
    if (compress2((Bytef *)room, &n, (const Bytef *)m->body, (uLong)m->body_n, ZLIB_LEVEL) != Z_OK)
        return HP_E_NOMEM;
    if (n >= m->body_n) {
        buf_free(&o->body);
        return 0;
    }
    o->body.n = n;
    o->body_bytes = buf_slice(&o->body);
    o->sys_flag |= SYSFLAG_COMPRESSED;
    return 0;
}

static int build_body(struct outgoing *o, const struct hp_message *m, const struct build_opts *opts)
{
    o->body_bytes = slice_of(m->body, m->body_n);
    if (m->body_n >= opts->compress_over) {
        const int rc = compress_body(o, m);
        if (rc || (o->sys_flag & SYSFLAG_COMPRESSED))
            return rc;
    }
    if (opts->borrow_body)
        return 0;
    buf_init(&o->body, 0);
    buf_add(&o->body, m->body, m->body_n);
    o->body_bytes = buf_slice(&o->body);
    return buf_error(&o->body) ? HP_E_NOMEM : 0;
}

static int start(struct outgoing *o, const char *topic, const struct build_opts *opts)
{
    *o = (struct outgoing){.max_reconsume_times = -1, .born_ms = clock_wall(opts->ids->clock)};
    buf_init(&o->props, MESSAGE_PROPERTIES_MAX);
    buf_init(&o->body, 0);
    o->topic = slice_dup(slice_str(topic));
    id_gen_next(opts->ids, o->unique_id);
    return o->topic ? 0 : HP_E_NOMEM;
}

static int end(struct outgoing *o, int rc, struct hp_error *err)
{
    if (rc == HP_E_NOMEM)
        error_set(err, rc, "out of memory for a message");
    if (!rc)
        rc = check_props(&o->props, err);
    if (rc)
        outgoing_fini(o);
    return rc;
}

int outgoing_build(struct outgoing *o, const struct hp_message *m, const struct build_opts *opts,
                   struct hp_error *err)
{
    int rc = check_topic(m->topic, err);
    if (!rc)
        rc = check_body(m->body_n, opts->max_message_size, err);
    if (!rc && opts->transaction && message_prop_get(m, PROP_DELAY))
        rc = error_set(err, HP_E_INVALID, "a transactional message cannot be delayed");
    if (rc)
        return rc;
    rc = start(o, m->topic, opts);
    o->code = RC_SEND_MESSAGE_V2;
    o->flag = m->flag;
    add_message_props(&o->props, m, o->unique_id);
    if (opts->transaction) {
        o->sys_flag |= SYSFLAG_TX_PREPARED;
        add(&o->props, PROP_TRAN_MSG, "true");
        add(&o->props, PROP_PGROUP, opts->group);
    }
    if (!rc)
        rc = build_body(o, m, opts);
    return end(o, rc, err);
}

static int check_batch(const struct hp_message *const *msgs, size_t n, struct hp_error *err)
{
    if (n == 0)
        return error_set(err, HP_E_INVALID, "a batch needs at least one message");
    if (topic_is_retry(slice_str(msgs[0]->topic)))
        return error_set(err, HP_E_INVALID, "a batch cannot go to a retry topic");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(msgs[i]->topic, msgs[0]->topic) != 0)
            return error_set(err, HP_E_INVALID,
                             "message %zu of the batch has topic %s, the first one %s", i,
                             msgs[i]->topic, msgs[0]->topic);
        if (msgs[i]->wait_store_ok != msgs[0]->wait_store_ok)
            return error_set(err, HP_E_INVALID, "message %zu of the batch differs in wait_store_ok",
                             i);
        if (message_prop_get(msgs[i], PROP_DELAY))
            return error_set(err, HP_E_INVALID, "message %zu of the batch has a delay level", i);
        if (msgs[i]->body_n == 0)
            return error_set(err, HP_E_INVALID, "message %zu of the batch has an empty body", i);
    }
    return 0;
}

static int add_item(struct outgoing *o, const struct hp_message *m, const char *unique_id,
                    struct hp_error *err)
{
    struct buf props;
    buf_init(&props, MESSAGE_PROPERTIES_MAX);
    add_message_props(&props, m, unique_id);
    const int rc = check_props(&props, err);
    if (!rc)
        batch_add(&o->body,
                  &(struct batch_item){m->flag, slice_of(m->body, m->body_n), buf_slice(&props)});
    buf_free(&props);
    return rc;
}

int outgoing_build_batch(struct outgoing *o, const struct hp_message *const *msgs, size_t n,
                         const struct build_opts *opts, struct hp_error *err)
{
    int rc = check_batch(msgs, n, err);
    if (!rc)
        rc = check_topic(msgs[0]->topic, err);
    if (rc)
        return rc;
    rc = start(o, msgs[0]->topic, opts);
    o->code = RC_SEND_BATCH_MESSAGE;
    o->batch = true;
    char id[UNIQUE_ID_MAX];
    memcpy(id, o->unique_id, sizeof id);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = add_item(o, msgs[i], id, err);
        id_gen_next(opts->ids, id); /* after the last item: the batch's own */
    }
    add(&o->props, PROP_UNIQ_KEY, id);
    add(&o->props, PROP_WAIT, msgs[0]->wait_store_ok ? "true" : "false");
    if (!rc && buf_error(&o->body))
        rc = HP_E_NOMEM;
    if (!rc)
        rc = check_body(o->body.n, opts->max_message_size, err);
    o->body_bytes = buf_slice(&o->body);
    return end(o, rc, err);
}

void outgoing_fini(struct outgoing *o)
{
    free(o->topic);
    o->topic = NULL;
    buf_free(&o->props);
    buf_free(&o->body);
}

void outgoing_header(const struct outgoing *o, struct slice group, struct slice broker_name,
                     int32_t queue_id, struct hdr_send_message *out)
{
    *out = (struct hdr_send_message){
        .producer_group = group,
        .topic = slice_str(o->topic),
        .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
        .default_topic_queue_nums = DEFAULT_TOPIC_QUEUES,
        .queue_id = queue_id,
        .sys_flag = o->sys_flag,
        .born_timestamp = o->born_ms,
        .flag = o->flag,
        .properties = buf_slice(&o->props),
        .reconsume_times = o->reconsume_times,
        .max_reconsume_times = o->max_reconsume_times,
        .batch = o->batch,
        .broker_name = broker_name,
    };
}
