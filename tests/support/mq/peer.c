/* The blocking peer of peer.h: one socket, one frame at a time. */
#include "tests/support/mq/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/wire.h"
#include "proto/body.h"
#include "remoting/frame.h"
#include "tests/support/test.h"
#include "tests/support/wait.h"

enum { CALL_MS = 10000, OFFSET_MS = 20000 };

void peer_open(struct peer *p, const char *address)
{
    struct host h;
    struct err e = {0};
    *p = (struct peer){.fd = -1};
    assert_int_equal(host_parse(slice_str(address), &h), 0);
    p->fd = wire_dial(&h, &e);
    if (p->fd < 0)
        fail_msg("%s: %s", address, e.text);
    buf_init(&p->in, 0);
    buf_init(&p->taken, 0);
    buf_init(&p->spill, 0);
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    buf_free(&p->in);
    buf_free(&p->taken);
    buf_free(&p->spill);
    p->fd = -1;
}

void peer_send_raw(struct peer *p, struct slice bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        const ssize_t n = send(p->fd, bytes.p + at, bytes.n - at, MSG_NOSIGNAL);
        if (n <= 0)
            fail_msg("send: %s", strerror(errno));
        at += (size_t)n;
    }
}

ssize_t peer_try_send(struct peer *p, struct slice bytes)
{
    struct pollfd w = {.fd = p->fd, .events = POLLOUT};
    if (poll(&w, 1, 1000) <= 0)
        return -1;
    return send(p->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int32_t peer_send(struct peer *p, int32_t code, const void *hdr, struct slice body, int32_t flag)
{
    const struct code_row *const row = code_row_of(code);
    struct buf b;
    struct err e = {0};
    buf_init(&b, 0);
    const struct command_out out = {.code = code,
                                    .opaque = ++p->opaque,
                                    .flag = flag,
                                    .desc = row->request,
                                    .names = row->names,
                                    .hdr = hdr};
    assert_ok(command_encode(&b, &out, body.n, &e), &e);
    buf_slice_add(&b, body);
    peer_send_raw(p, buf_slice(&b));
    buf_free(&b);
    return p->opaque;
}

const struct command *peer_receive(struct peer *p, int64_t deadline_ms)
{
    const int64_t end = clock_mono(&clock_system) + deadline_ms;
    for (;;) {
        struct frame f;
        struct err e = {0};
        const int rc = frame_next(p->in.p, p->in.n, FRAME_MAX, &f, &e);
        if (rc == 0) {
            buf_clear(&p->taken);
            buf_clear(&p->spill);
            buf_add(&p->taken, p->in.p, f.total);
            buf_consume(&p->in, f.total);
            assert_ok(command_decode(p->taken.p + f.header_at, f.header_n, f.type, &p->command,
                                     &p->spill, &e),
                      &e);
            p->command.body = slice_of(p->taken.p + f.body_at, f.body_n);
            return &p->command;
        }
        assert_code(rc, E_AGAIN, &e);
        const int64_t left = end - clock_mono(&clock_system);
        struct pollfd w = {.fd = p->fd, .events = POLLIN};
        if (poll(&w, 1, left > 0 ? (int)left : 0) <= 0)
            return NULL;
        char *const at = buf_extend(&p->in, 65536);
        assert_non_null(at);
        const ssize_t n = recv(p->fd, at, 65536, 0);
        p->in.n -= 65536 - (n > 0 ? (size_t)n : 0);
        if (n <= 0)
            return NULL;
    }
}

const struct command *peer_call(struct peer *p, int32_t code, const void *hdr, struct slice body)
{
    const int32_t opaque = peer_send(p, code, hdr, body, 0);
    for (;;) {
        const struct command *const c = peer_receive(p, CALL_MS);
        if (c == NULL)
            fail_msg("no answer to %s", code_row_of(code)->name);
        if ((c->flag & COMMAND_FLAG_RESPONSE) != 0 && c->opaque == opaque)
            return c;
    }
}

const struct command *peer_push(struct peer *p, int32_t code, int64_t deadline_ms)
{
    const int64_t end = clock_mono(&clock_system) + deadline_ms;
    for (;;) {
        const int64_t left = end - clock_mono(&clock_system);
        const struct command *const c = peer_receive(p, left > 0 ? left : 0);
        if (c == NULL || ((c->flag & COMMAND_FLAG_RESPONSE) == 0 && c->code == code))
            return c;
    }
}

void peer_heartbeat(struct peer *p, const char *client_id, const char *producer_group,
                    const char *consumer_group, const char *topic)
{
    struct slice producer = slice_str(producer_group);
    struct heartbeat_sub sub = {.topic = slice_str(topic),
                                .sub_string = SLICE_LIT("*"),
                                .expression_type = SLICE_LIT("TAG"),
                                .version = clock_wall(&clock_system)};
    struct heartbeat_consumer consumer = {.group = slice_str(consumer_group),
                                          .consume_type = SLICE_LIT("CONSUME_PASSIVELY"),
                                          .message_model = SLICE_LIT("CLUSTERING"),
                                          .from_where = SLICE_LIT("CONSUME_FROM_FIRST_OFFSET"),
                                          .subs = &sub,
                                          .sub_n = 1};
    const struct heartbeat h = {.client_id = slice_str(client_id),
                                .producers = &producer,
                                .producer_n = producer_group != NULL,
                                .consumers = &consumer,
                                .consumer_n = consumer_group != NULL};
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(heartbeat_encode(&h, &body), 0);
    const struct command *const c = peer_call(p, RC_HEART_BEAT, NULL, buf_slice(&body));
    assert_int_equal(c->code, RESP_SUCCESS);
    buf_free(&body);
}

struct peer_sent peer_send_message(struct peer *p, const char *group, const char *topic,
                                   int32_t queue_id, const char *body, const char *props)
{
    const struct hdr_send_message h = {.producer_group = slice_str(group),
                                       .topic = slice_str(topic),
                                       .default_topic = SLICE_LIT("TBW102"),
                                       .default_topic_queue_nums = 4,
                                       .queue_id = queue_id,
                                       .born_timestamp = clock_wall(&clock_system),
                                       .properties = slice_str(props),
                                       .max_reconsume_times = -1};
    const struct command *const c = peer_call(p, RC_SEND_MESSAGE_V2, &h, slice_str(body));
    if (c->code != RESP_SUCCESS)
        fail_msg("send to %s: code %d: " SLICE_FMT, topic, c->code, SLICE_ARG(c->remark));
    struct peer_sent s;
    struct host host;
    assert_int_equal(slice_i64(command_ext(c, "queueOffset"), &s.queue_offset), 0);
    assert_int_equal(slice_i32(command_ext(c, "queueId"), &s.queue_id), 0);
    assert_int_equal(slice_copy(command_ext(c, "msgId"), s.msg_id, sizeof s.msg_id), 0);
    assert_int_equal(offset_msg_id_parse(slice_str(s.msg_id), &host, &s.phys_offset), 0);
    return s;
}

const struct command *peer_pull(struct peer *p, const char *topic, int32_t queue_id, int64_t offset,
                                int64_t suspend_ms, struct message *out, int max, int *n)
{
    const struct hdr_pull_message h = {.consumer_group = SLICE_LIT("peer_reader"),
                                       .topic = slice_str(topic),
                                       .queue_id = queue_id,
                                       .queue_offset = offset,
                                       .max_msg_nums = 32,
                                       .sys_flag = suspend_ms > 0 ? 6 : 4,
                                       .suspend_timeout_ms = suspend_ms,
                                       .subscription = SLICE_LIT("*"),
                                       .expression_type = SLICE_LIT("TAG")};
    const struct command *const c = peer_call(p, RC_PULL_MESSAGE, &h, SLICE_NULL);
    *n = 0;
    if (c->code != RESP_SUCCESS)
        return c;
    for (struct slice rest = c->body; rest.n > 0 && *n < max; ++*n) {
        struct err e = {0};
        assert_ok(message_decode(rest, MESSAGE_CHECK_CRC, &out[*n], &e), &e);
        rest.p += out[*n].total_size;
        rest.n -= (size_t)out[*n].total_size;
    }
    return c;
}

int64_t peer_max_offset(struct peer *p, const char *topic, int32_t queue_id)
{
    const struct hdr_topic_queue h = {
        .topic = slice_str(topic), .queue_id = queue_id, .committed = true};
    const struct command *const c = peer_call(p, RC_GET_MAX_OFFSET, &h, SLICE_NULL);
    int64_t max = -1;
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_int_equal(slice_i64(command_ext(c, "offset"), &max), 0);
    return max;
}

struct wanted {
    struct peer *p;
    const char *topic;
    int32_t queue_id;
    int64_t max;
};
static bool is_reached(void *arg)
{
    const struct wanted *const w = arg;
    return peer_max_offset(w->p, w->topic, w->queue_id) >= w->max;
}

bool peer_reaches(struct peer *p, const char *topic, int32_t queue_id, int64_t want, int64_t deadline_ms)
{
    struct wanted w = {p, topic, queue_id, want};
    return wait_until(is_reached, &w, deadline_ms);
}

void peer_await_offset(struct peer *p, const char *topic, int32_t queue_id, int64_t want)
{
    if (!peer_reaches(p, topic, queue_id, want, OFFSET_MS))
        fail_msg("%s-%d has %lld messages, want %lld", topic, queue_id,
                 (long long)peer_max_offset(p, topic, queue_id), (long long)want);
}
