/* hp_message: what an application wants to send.
 *
 * A message is a topic, a body and an ordered list of properties. Tag, keys and delay level are
 * properties with reserved names; the setters keep applications from setting those by hand and from
 * putting the two separator bytes of the property string into a value, which Java accepts and
 * thereby turns one property into two. Nothing here touches the network; a message belongs to one
 * thread at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "client/message_priv.h"
#include "proto/message.h"

/* Source: MessageConst.STRING_HASH_SET of 5.5.0. */
static const char *const RESERVED[] = {
    "TRACE_CONTEXT",
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "UNIQ_KEY",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "POP_CK",
    "POP_CK_OFFSET",
    "1ST_POP_TIME",
    "TRANSACTION_ID",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TRANSACTION_CHECK_TIMES",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "CLUSTER",
    "MSG_TYPE",
    "INNER_MULTI_QUEUE_OFFSET",
    "TIMER_DELAY_SEC",
    "TIMER_DELAY_MS",
    "TIMER_DELIVER_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_OUT_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DELAY_LEVEL",
    "INNER_NUM",
    "INNER_BASE",
    "DUP_INFO",
    "__transactionId__",
    "TRACE_ON",
    "__CRC32#",
};

static bool is_reserved(const char *name)
{
    for (size_t i = 0; i < sizeof RESERVED / sizeof *RESERVED; i++)
        if (strcmp(RESERVED[i], name) == 0)
            return true;
    return false;
}

static bool carries(const char *text)
{
    return text && *text && !strpbrk(text, "\x01\x02");
}

hp_message *hp_message_new(const char *topic, const void *body, size_t body_len)
{
    struct hp_message *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->topic = slice_dup(slice_str(topic ? topic : ""));
    m->body = malloc(body_len ? body_len : 1);
    m->wait_store_ok = true;
    if (!m->topic || !m->body) {
        hp_message_free(m);
        return NULL;
    }
    if (body_len)
        memcpy(m->body, body, body_len);
    m->body_n = body_len;
    return m;
}

void hp_message_free(hp_message *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->prop_n; i++) {
        free(m->props[i].name);
        free(m->props[i].value);
    }
    free(m->props);
    free(m->topic);
    free(m->body);
    free(m);
}

static struct message_prop *find_prop(const struct hp_message *m, const char *name)
{
    for (size_t i = 0; i < m->prop_n; i++)
        if (strcmp(m->props[i].name, name) == 0)
            return &m->props[i];
    return NULL;
}

const char *message_prop_get(const struct hp_message *m, const char *name)
{
    const struct message_prop *p = find_prop(m, name);
    return p ? p->value : NULL;
}

static struct message_prop *add_prop(struct hp_message *m, const char *name)
{
    if (m->prop_n == m->prop_cap) {
        const size_t cap = m->prop_cap ? m->prop_cap * 2 : 8;
        struct message_prop *props = realloc(m->props, cap * sizeof *props);
        if (!props)
            return NULL;
        m->props = props;
        m->prop_cap = cap;
    }
    char *copy = slice_dup(slice_str(name));
    if (!copy)
        return NULL;
    m->props[m->prop_n] = (struct message_prop){.name = copy};
    return &m->props[m->prop_n++];
}

static int set_prop(struct hp_message *m, const char *name, const char *value)
{
    if (!carries(name) || !carries(value))
        return HP_E_INVALID;
    char *copy = slice_dup(slice_str(value));
    if (!copy)
        return HP_E_NOMEM;
    struct message_prop *p = find_prop(m, name);
    if (!p)
        p = add_prop(m, name);
    if (!p) {
        free(copy);
        return HP_E_NOMEM;
    }
    free(p->value);
    p->value = copy;
    return 0;
}

static void remove_prop(struct hp_message *m, const char *name)
{
    struct message_prop *p = find_prop(m, name);
    if (!p)
        return;
    free(p->name);
    free(p->value);
    const size_t at = (size_t)(p - m->props);
    memmove(p, p + 1, (m->prop_n - at - 1) * sizeof *p);
    m->prop_n--;
}

int hp_message_set_tag(hp_message *m, const char *tag) { return set_prop(m, PROP_TAGS, tag); }
int hp_message_set_keys(hp_message *m, const char *keys) { return set_prop(m, PROP_KEYS, keys); }

int hp_message_set_property(hp_message *m, const char *name, const char *value)
{
    return !name || is_reserved(name) ? HP_E_INVALID : set_prop(m, name, value);
}

int hp_message_set_delay_level(hp_message *m, int level)
{
    if (level < 0)
        return HP_E_INVALID;
    if (level == 0) {
        remove_prop(m, PROP_DELAY);
        return 0;
    }
    char text[16];
    snprintf(text, sizeof text, "%d", level);
    return set_prop(m, PROP_DELAY, text);
}

int hp_message_set_flag(hp_message *m, int32_t flag)
{
    m->flag = flag;
    return 0;
}

int hp_message_set_wait_store_ok(hp_message *m, bool wait)
{
    m->wait_store_ok = wait;
    return 0;
}
