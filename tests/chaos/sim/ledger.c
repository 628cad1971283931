/* The ledger: every message of a run, made from its number.
 *
 * Owns: the list of messages with what was promised for each.
 * Runs on: the thread of the run.
 * Happy path: ledger_add before a message is handed to the store, ledger_record for its bytes; the
 * body begins with the id, so that whoever finds a record knows which message it claims to be. */
#include "tests/chaos/sim/ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/names.h"

#define LONG_NAME                                                                                  \
    "%RETRY%a-topic-with-a-name-of-more-than-127-bytes-needs-two-bytes-for-its-length-and-so-another-"    \
    "magic-number-than-all-the-other-records-of-the-log-have"

const char *ledger_topic(int32_t topic)
{
    static const char *const names[LEDGER_TOPICS] = {"A", "Orders", "T2", LONG_NAME,
                                                     TOPIC_SCHEDULE};
    return names[topic];
}

uint32_t ledger_add(struct ledger *l, const struct message_spec *spec)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 256;
        l->v = realloc(l->v, l->cap * sizeof *l->v);
        MQ_ASSERT(l->v);
    }
    l->v[l->n] = *spec;
    return l->n++;
}

void ledger_free(struct ledger *l)
{
    free(l->v);
    *l = (struct ledger){0};
}

static void add_body(struct buf *out, uint32_t id, uint32_t size)
{
    buf_be32(out, id);
    buf_be32(out, size);
    char *p = buf_extend(out, size - LEDGER_BODY_MIN);
    MQ_ASSERT(p || size == LEDGER_BODY_MIN);
    uint32_t x = id * 2654435761u + 1;
    for (uint32_t i = 0; i < size - LEDGER_BODY_MIN; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (char)(x >> 24);
    }
}

static void add_properties(struct buf *out, const struct message_spec *s, uint32_t id)
{
    char text[64];
    snprintf(text, sizeof text, "tag%u", id % 5);
    MQ_ASSERT(!props_str_add(out, PROP_TAGS, slice_str(text)));
    if (s->keyed) {
        snprintf(text, sizeof text, "U%08X", id);
        MQ_ASSERT(!props_str_add(out, PROP_UNIQ_KEY, slice_str(text)));
        snprintf(text, sizeof text, "word%u only%u", id % LEDGER_WORDS, id);
        MQ_ASSERT(!props_str_add(out, PROP_KEYS, slice_str(text)));
    }
    if (s->delay_level) {
        snprintf(text, sizeof text, "%d", s->delay_level);
        MQ_ASSERT(!props_str_add(out, PROP_DELAY, slice_str(text)));
    }
}

void ledger_record(struct ledger *l, uint32_t id, struct buf *out)
{
    struct message_spec *s = &l->v[id];
    struct buf body, props;
    buf_init(&body, 0);
    buf_init(&props, 0);
    add_body(&body, id, s->body_n);
    add_properties(&props, s, id);
    struct message m = {.body_crc = -1,
                        .queue_id = s->queue,
                        .sys_flag = s->half ? SYSFLAG_TX_PREPARED : 0,
                        .born_timestamp = 1700000000000 + id,
                        .born_host = {.addr = {10, 0, 0, 1}, .len = s->v6 ? 16 : 4, .port = 4321},
                        .store_host = {.addr = {10, 0, 0, 2}, .len = s->v6 ? 16 : 4, .port = 10911},
                        .topic = slice_str(ledger_topic(s->topic)),
                        .body = buf_slice(&body),
                        .properties = buf_slice(&props),
                        .prop_crc = s->sealed};
    size_t size;
    MQ_ASSERT(!message_prepare(&m, &size));
    message_encode(&m, buf_extend(out, size), size);
    s->record_n = (uint32_t)size;
    buf_free(&body);
    buf_free(&props);
}

int64_t ledger_tags_code(uint32_t id)
{
    char text[16];
    const int n = snprintf(text, sizeof text, "tag%u", id % 5);
    return java_string_hash(slice_of(text, (size_t)n));
}

int64_t ledger_unit_code(const struct ledger *l, uint32_t id, int64_t ts)
{
    struct store_opts o;
    store_opts_defaults(&o);
    const int32_t level = l->v[id].delay_level;
    return level ? ts + o.delay_level_ms[level - 1] : ledger_tags_code(id);
}
