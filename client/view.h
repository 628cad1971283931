#pragma once
/* A received message as the application sees it. */
#include "base/buf.h"
#include "halfpenny/message.h"
#include "proto/message.h"

struct view_prop {
    const char *name, *value;
};
struct hp_message_view {
    char *text;              /* owns every string below */
    const char *topic, *broker_name, *msg_id, *offset_msg_id;
    struct view_prop *props; /* of equal names the last one only */
    size_t prop_n;
    struct buf inflated;
    struct slice body;       /* borrowed from the record, or `inflated` */
    int32_t queue_id, reconsume_times;
    int64_t queue_offset, born_ms, store_ms;
};
/* How often a message was consumed: by the broker's count and `extra` times locally. A producer may set
 * any count; the sum is capped so that a few can be added to it. */
int32_t times_consumed(const struct message *m, int32_t extra);
/* Borrows the record's body; copies the strings. reconsume_extra: times it was consumed again
 * locally, without the broker. E_CORRUPT, E_TOOBIG, E_UNSUPP (body), E_NOMEM. Any thread. */
int view_init(struct hp_message_view *v, const struct message *m, const char *broker_name,
              int32_t reconsume_extra) HP_MUST_USE;
void view_fini(struct hp_message_view *v);
