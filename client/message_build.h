#pragma once
/* From what the application wants to send to what travels: header, property string, body. */
#include "base/buf.h"
#include "client/unique_id.h"
#include "halfpenny/message.h"
#include "halfpenny/producer.h"
#include "proto/hdr.h"

/* A message ready to be sent, also again and again: retries keep its UNIQ_KEY. */
struct outgoing {
    char *topic;       /* owned */
    struct buf props;
    struct buf body;   /* when it is not borrowed */
    struct slice body_bytes;
    int32_t code;      /* SEND_MESSAGE_V2 or SEND_BATCH_MESSAGE */
    int32_t sys_flag, flag;
    int32_t reconsume_times, max_reconsume_times; /* retry topics only; -1: not sent */
    int64_t born_ms;
    bool batch;
    char unique_id[UNIQUE_ID_MAX]; /* of a batch: that of its first message */
};

struct build_opts {
    const char *group;
    size_t max_message_size;
    size_t compress_over;
    bool borrow_body; /* the message outlives the outgoing */
    bool transaction;
    struct id_gen *ids;
};
/* HP_E_INVALID (names, empty body, reserved topics, transaction rules), HP_E_TOO_BIG, HP_E_NOMEM.
 * On failure nothing is left to free. Any thread. */
int outgoing_build(struct outgoing *o, const struct hp_message *m, const struct build_opts *opts,
                   struct hp_error *err) HP_MUST_USE;
/* Source: MessageBatch (5.5.0): one topic, one WAIT, no delay, no retry topic, not compressed. */
int outgoing_build_batch(struct outgoing *o, const struct hp_message *const *msgs, size_t n,
                         const struct build_opts *opts, struct hp_error *err) HP_MUST_USE;
void outgoing_fini(struct outgoing *o);
/* The send header of one attempt; borrows everything. */
void outgoing_header(const struct outgoing *o, struct slice group, struct slice broker_name,
                     int32_t queue_id, struct hdr_send_message *out);
