/* Sends to a RocketMQ broker: one message, a batch, or a half message followed by its commit. Runs on
 * the load engine's thread.
 *
 * A request is a copy of one prebuilt frame in which opaque, topic number, queue, unique key and the
 * sequence number at the head of each body change, all of fixed width. An answer is matched by its
 * opaque; only code 0 counts. A transaction takes two round trips: the answer to the half message
 * names its place in the log, the commit carries it back, and the answer to the commit ends the request;
 * its opaque is the half's plus RMQ_OPAQUE.
 *
 * Failure: a malformed answer is E_PROTO and ends the run; a refusal is counted.
 *
 * Source of the shapes: SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320), END_TRANSACTION (37) of Apache
 * RocketMQ 5.5.0. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/rmq.h"

static const char key_text[] = "7F0000010000BEEF0000000000000000";
static const char group_name[] = "bench_group";
enum {
    KEY_AT = sizeof key_text - 1 - RMQ_SEQ_DIGITS,
    LONG_DIGITS = 19,
    COMMIT = 8,
    TOPIC_DIGITS = 5
};
static const int64_t long_mark = 1000000000000000000, other_mark = 1000000000000000001;

static int add_properties(const struct rmq_send *s, struct buf *props)
{
    int rc = props_str_add(props, PROP_UNIQ_KEY, slice_str(key_text));
    if (rc == 0)
        rc = props_str_add(props, PROP_WAIT, SLICE_LIT("true"));
    if (rc == 0 && s->tx)
        rc = props_str_add(props, PROP_TRAN_MSG, SLICE_LIT("true"));
    if (rc == 0 && s->tx)
        rc = props_str_add(props, PROP_PGROUP, slice_str(group_name));
    return rc;
}

/* The body of the frame: one message, or the items of a batch. */
static void add_body(struct buf *out, const struct rmq_send *s, struct slice body,
                     struct slice props)
{
    if (s->batch == 1)
        buf_slice_add(out, body);
    for (int i = 0; s->batch > 1 && i < s->batch; i++)
        batch_add(out, &(struct batch_item){.body = body, .properties = props});
}

static int find_places(struct rmq_send *s, const char *topic, size_t body_at, struct slice body,
                       struct err *e)
{
    int rc = rmq_find(&s->frame, 0, "1000000000", &s->opaque_at, e);
    if (rc == 0)
        rc = rmq_find(&s->frame, 0, "\"1000\"", &s->queue_at, e);
    if (rc == 0)
        rc = rmq_find(&s->frame, 0, topic, &s->topic_at, e);
    s->queue_at++;
    s->topic_at += strlen(topic) - TOPIC_DIGITS; /* used with more than one topic only */
    size_t at = s->batch > 1 ? body_at : 0;
    for (int i = 0; i < s->batch && rc == 0; i++) {
        const size_t item = s->frame.n - body_at;
        s->body_at[i] =
            s->batch == 1 ? body_at : body_at + item / (size_t)s->batch * (size_t)i + 20;
        rc = rmq_find(&s->frame, at, key_text, &s->key_at[i], e);
        s->key_at[i] += KEY_AT;
        at = s->key_at[i];
        MQ_ASSERT(memcmp(s->frame.p + s->body_at[i], body.p, body.n) == 0);
    }
    return rc;
}

static int build_send(struct rmq_send *s, const char *topic, struct err *e)
{
    struct buf props, body, content;
    buf_init(&props, 0);
    buf_init(&body, 0);
    buf_init(&content, 0);
    for (size_t i = 0; i < s->body; i++)
        buf_char(&body, (char)('a' + i % 26));
    int rc = add_properties(s, &props);
    add_body(&content, s, buf_slice(&body), buf_slice(&props));
    const struct hdr_send_message hdr = {.producer_group = slice_str(group_name),
                                         .topic = slice_str(topic),
                                         .default_topic = SLICE_LIT("TBW102"),
                                         .default_topic_queue_nums = 4,
                                         .queue_id = 1000,
                                         .sys_flag = s->tx ? SYSFLAG_TX_PREPARED : 0,
                                         .born_timestamp = clock_wall(&clock_system),
                                         .properties =
                                             s->batch > 1 ? SLICE_NULL : buf_slice(&props),
                                         .max_reconsume_times = 0,
                                         .batch = s->batch > 1};
    const struct command_out out = {.code =
                                        s->batch > 1 ? RC_SEND_BATCH_MESSAGE : RC_SEND_MESSAGE_V2,
                                    .opaque = RMQ_OPAQUE,
                                    .desc = &hdr_desc_send_message,
                                    .names = HDR_SHORT,
                                    .hdr = &hdr};
    if (rc == 0 && (rc = buf_error(&content)) == 0)
        rc = command_encode(&s->frame, &out, content.n, e);
    const size_t body_at = s->frame.n;
    buf_slice_add(&s->frame, buf_slice(&content));
    if (rc == 0 && (rc = buf_error(&s->frame)) == 0)
        rc = find_places(s, topic, body_at, buf_slice(&body), e);
    buf_free(&props);
    buf_free(&body);
    buf_free(&content);
    return rc;
}

static int build_end(struct rmq_send *s, const char *topic, struct err *e)
{
    const struct hdr_end_transaction hdr = {.topic = slice_str(topic),
                                            .producer_group = slice_str(group_name),
                                            .tran_state_table_offset = long_mark,
                                            .commit_log_offset = other_mark,
                                            .commit_or_rollback = COMMIT,
                                            .msg_id = slice_str(key_text),
                                            .transaction_id = slice_str(key_text)};
    const struct command_out out = {.code = RC_END_TRANSACTION,
                                    .opaque = RMQ_OPAQUE,
                                    .desc = &hdr_desc_end_transaction,
                                    .names = HDR_LONG,
                                    .hdr = &hdr};
    int rc = command_encode(&s->end, &out, 0, e);
    /* The two long marks begin with the digits of the opaque, so that one is found by its name. */
    if (rc == 0)
        rc = rmq_find(&s->end, 0, "\"opaque\":", &s->end_opaque_at, e);
    if (rc == 0)
        rc = rmq_find(&s->end, 0, "1000000000000000000", &s->end_queue_offset_at, e);
    if (rc == 0)
        rc = rmq_find(&s->end, 0, "1000000000000000001", &s->end_log_offset_at, e);
    if (rc == 0)
        rc = rmq_find(&s->end, 0, key_text, &s->end_key_at[0], e);
    if (rc == 0)
        rc = rmq_find(&s->end, s->end_key_at[0] + 1, key_text, &s->end_key_at[1], e);
    if (rc == 0)
        rc = rmq_find(&s->end, 0, topic, &s->end_topic_at, e);
    s->end_opaque_at += strlen("\"opaque\":");
    s->end_topic_at += strlen(topic) - TOPIC_DIGITS;
    return rc;
}

int rmq_send_init(struct rmq_send *s, struct err *e)
{
    char topic[RMQ_TOPIC_MAX + 1];
    rmq_topic_name(s->to, 0, topic);
    buf_init(&s->frame, 0);
    buf_init(&s->end, 0);
    s->key_at = calloc((size_t)s->batch, sizeof *s->key_at);
    s->body_at = calloc((size_t)s->batch, sizeof *s->body_at);
    if (s->key_at == NULL || s->body_at == NULL)
        return err_set(e, E_NOMEM, "a batch of %d", s->batch);
    int rc = build_send(s, topic, e);
    if (rc == 0 && s->tx)
        rc = build_end(s, topic, e);
    return rc;
}

void rmq_send_free(struct rmq_send *s)
{
    buf_free(&s->frame);
    buf_free(&s->end);
    free(s->key_at);
    free(s->body_at);
}

static int send_request(void *self, int link, int64_t seq, struct buf *out)
{
    struct rmq_send *s = self;
    char *f = s->frame.p;
    (void)link;
    rmq_digits(f + s->opaque_at, 10, RMQ_OPAQUE + seq);
    rmq_digits(f + s->queue_at, 4, seq / s->to->topics % s->to->queues);
    if (s->to->topics > 1)
        rmq_digits(f + s->topic_at, TOPIC_DIGITS, seq % s->to->topics);
    for (int i = 0; i < s->batch; i++) {
        rmq_digits(f + s->key_at[i], RMQ_SEQ_DIGITS, seq * s->batch + i);
        rmq_digits(f + s->body_at[i], RMQ_SEQ_DIGITS, seq * s->batch + i);
    }
    buf_add(out, f, s->frame.n);
    return buf_error(out);
}

static int put_commit(struct rmq_send *s, int64_t seq, const struct rmq_answer *r, struct buf *out,
                      struct err *e)
{
    struct host h;
    int64_t log_offset;
    const int64_t queue_offset = rmq_number(r->header, "queueOffset");
    if (offset_msg_id_parse(rmq_text(r->header, "msgId"), &h, &log_offset) != 0 || queue_offset < 0)
        return err_set(e, E_PROTO, "a half message was stored without msgId and queueOffset");
    char *f = s->end.p;
    rmq_digits(f + s->end_opaque_at, 10, 2LL * RMQ_OPAQUE + seq);
    rmq_digits(f + s->end_queue_offset_at, LONG_DIGITS, queue_offset);
    rmq_digits(f + s->end_log_offset_at, LONG_DIGITS, log_offset);
    if (s->to->topics > 1)
        rmq_digits(f + s->end_topic_at, TOPIC_DIGITS, seq % s->to->topics);
    for (int i = 0; i < 2; i++)
        rmq_digits(f + s->end_key_at[i] + KEY_AT, RMQ_SEQ_DIGITS, seq);
    buf_add(out, f, s->end.n);
    return buf_error(out);
}

static int64_t send_answer(void *self, int link, char *in, size_t n, struct buf *out,
                           struct answer *a, struct err *e)
{
    struct rmq_send *s = self;
    struct rmq_answer r;
    (void)link;
    const int64_t used = rmq_answer(in, n, &r, e);
    if (used <= 0)
        return used;
    const bool second = r.opaque >= 2LL * RMQ_OPAQUE;
    a->seq = r.opaque - (second ? 2LL * RMQ_OPAQUE : RMQ_OPAQUE);
    a->units = s->batch;
    a->remark = r.header;
    if (a->seq < 0 || second > s->tx)
        return err_set(e, E_PROTO, "an answer with opaque %lld", (long long)r.opaque);
    if (r.code != RESP_SUCCESS) {
        a->kind = ANSWER_REFUSED;
    } else if (s->tx && !second) {
        a->kind = ANSWER_AGAIN;
        const int rc = put_commit(s, a->seq, &r, out, e);
        if (rc != 0)
            return rc;
    }
    return used;
}

const struct driver rmq_send_driver = {.request = send_request, .answer = send_answer};
