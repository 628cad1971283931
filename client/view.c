/* Views of received messages.
 *
 * A record is decoded where it arrives (on the loop) but made readable here, on the thread that
 * runs the application's callback: strings copied and terminated, properties split, body inflated.
 * A retry shows its original topic. The message id is the producer's (UNIQ_KEY) when there is one,
 * else the broker's.
 * Source: MessageClientExt.getMsgId, ConsumeMessageConcurrentlyService.resetRetryAndNamespace
 * (5.5.0). */
#include "client/view.h"

#include <stdlib.h>

#include "client/inflate.h"
#include "proto/names.h"

static char *put(char **at, struct slice s)
{
    char *start = *at;
    if (s.n)
        memcpy(start, s.p, s.n);
    start[s.n] = '\0';
    *at = start + s.n + 1;
    return start;
}

static size_t count_props(struct slice props)
{
    struct props_iter it = {props};
    struct slice name, value;
    size_t n = 0;
    while (props_str_next(&it, &name, &value))
        n++;
    return n;
}

static void split_props(struct hp_message_view *v, struct slice props, char **at)
{
    struct props_iter it = {props};
    struct slice name, value;
    while (props_str_next(&it, &name, &value)) {
        const char *key = put(at, name), *text = put(at, value);
        size_t i = 0;
        while (i < v->prop_n && strcmp(v->props[i].name, key) != 0)
            i++;
        v->props[i] = (struct view_prop){key, text};
        if (i == v->prop_n)
            v->prop_n++;
    }
}

static int copy_strings(struct hp_message_view *v, const struct message *m, const char *broker_name)
{
    const size_t n = count_props(m->properties);
    const struct slice broker = slice_str(broker_name);
    v->props = calloc(n + 1, sizeof *v->props);
    v->text = malloc(m->properties.n + n + 2 + m->topic.n + 1 + broker.n + 1 + MSG_ID_MAX);
    if (!v->props || !v->text)
        return E_NOMEM;
    char *at = v->text;
    split_props(v, m->properties, &at);
    v->topic = put(&at, m->topic);
    v->broker_name = put(&at, broker);
    offset_msg_id(&m->store_host, m->phys_offset, at);
    v->offset_msg_id = at;
    return 0;
}

int32_t times_consumed(const struct message *m, int32_t extra)
{
    const int64_t times = (int64_t)m->reconsume_times + extra, max = INT32_MAX - 100;
    return (int32_t)(times > max ? max : times);
}

int view_init(struct hp_message_view *v, const struct message *m, const char *broker_name,
              int32_t reconsume_extra)
{
    *v = (struct hp_message_view){
        .body = m->body,
        .queue_id = m->queue_id,
        .reconsume_times = times_consumed(m, reconsume_extra),
        .queue_offset = m->queue_offset,
        .born_ms = m->born_timestamp,
        .store_ms = m->store_timestamp,
    };
    buf_init(&v->inflated, 0);
    int rc = copy_strings(v, m, broker_name);
    if (!rc && (m->sys_flag & SYSFLAG_COMPRESSED)) {
        rc = body_inflate(m->body, m->sys_flag, &v->inflated);
        v->body = buf_slice(&v->inflated);
    }
    if (rc) {
        view_fini(v);
        return rc;
    }
    const char *original = hp_view_property(v, PROP_RETRY_TOPIC);
    if (original && topic_is_retry(m->topic))
        v->topic = original;
    const char *unique = hp_view_property(v, PROP_UNIQ_KEY);
    v->msg_id = unique ? unique : v->offset_msg_id;
    return 0;
}

void view_fini(struct hp_message_view *v)
{
    free(v->text);
    free(v->props);
    buf_free(&v->inflated);
    *v = (struct hp_message_view){0};
}

const char *hp_view_topic(const hp_message_view *v) { return v->topic; }

const void *hp_view_body(const hp_message_view *v, size_t *len)
{
    if (len)
        *len = v->body.n;
    return v->body.p ? v->body.p : "";
}

const char *hp_view_property(const hp_message_view *v, const char *name)
{
    for (size_t i = 0; i < v->prop_n; i++)
        if (strcmp(v->props[i].name, name) == 0)
            return v->props[i].value;
    return NULL;
}

const char *hp_view_tag(const hp_message_view *v) { return hp_view_property(v, PROP_TAGS); }
const char *hp_view_keys(const hp_message_view *v) { return hp_view_property(v, PROP_KEYS); }
const char *hp_view_msg_id(const hp_message_view *v) { return v->msg_id; }
const char *hp_view_offset_msg_id(const hp_message_view *v) { return v->offset_msg_id; }
const char *hp_view_broker_name(const hp_message_view *v) { return v->broker_name; }
int hp_view_queue_id(const hp_message_view *v) { return v->queue_id; }
int64_t hp_view_queue_offset(const hp_message_view *v) { return v->queue_offset; }
int hp_view_reconsume_times(const hp_message_view *v) { return v->reconsume_times; }
int64_t hp_view_born_timestamp(const hp_message_view *v) { return v->born_ms; }
int64_t hp_view_store_timestamp(const hp_message_view *v) { return v->store_ms; }

const char *hp_view_transaction_id(const hp_message_view *v)
{
    const char *id = hp_view_property(v, PROP_TRANSACTION_ID);
    return id ? id : hp_view_property(v, PROP_UNIQ_KEY);
}
