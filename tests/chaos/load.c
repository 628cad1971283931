/* The load; see load.h. Runs on the program's one thread, over non-blocking use of blocking sockets.
 *
 * A request is found by its opaque, among the last LOAD_REQUESTS. Answers may come in any order. A lane whose connection ended stays as it is until load_disconnect; what it had in
 * flight stays open in the account.
 *
 * A half message is REQ_HALF, then REQ_END with the verdict; the account learns of the acknowledgement
 * only when the commit is answered. One that is rolled back, or whose half was not even answered, must
 * never be readable: nobody commits it later, since no producer of its group registers. */
#include "tests/chaos/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "proto/names.h"
#include "tests/chaos/broker.h"

enum { IN_SIZE = 64 * 1024, BATCH_MOST = 16, REFUSED_PAUSE_MS = 5, COMMIT_PAUSE_MS = 2,
       TOPIC_PAUSE_MS = 20, IDLE_MS = 10000, COMMIT = 8, ROLLBACK = 12 };
#define TX_GROUP "chaos_tx"
#define CONSUMER "TOOLS_CONSUMER"

static const struct clock *const clk = &clock_system;

static int window_of(enum lane_kind k)
{
    static const int sizes[] = {[LANE_SINGLE] = 1, [LANE_PIPELINE] = LOAD_WINDOW, [LANE_BATCH] = 4,
                                [LANE_TX] = 8,     [LANE_CONSUMER] = 1,           [LANE_ADMIN] = 1};
    return sizes[k];
}

void load_init(struct load *l, struct account *a, const enum lane_kind *kinds, int n)
{
    *l = (struct load){.account = a, .kinds = kinds, .lane_n = n};
    rng_seed(&l->rng, a->seed + 1);
    for (int i = 0; i < n; i++) {
        struct lane *const lane = &l->lanes[i];
        *lane = (struct lane){.kind = kinds[i], .number = i, .fd = -1, .in = malloc(IN_SIZE)};
        if (lane->in == NULL)
            chaos_die("load", "out of memory");
        buf_init(&lane->out, 0);
    }
}

void load_free(struct load *l)
{
    load_disconnect(l);
    for (int i = 0; i < l->lane_n; i++) {
        free(l->lanes[i].in);
        buf_free(&l->lanes[i].out);
    }
}

void load_forget(struct load *l)
{
    memset(l->committed, 0, sizeof l->committed);
    memset(l->commit_sent, 0, sizeof l->commit_sent);
    memset(l->readable, 0, sizeof l->readable);
    memset(l->topic_made, 0, sizeof l->topic_made);
    l->topic_n = 0;
}

int load_connect(struct load *l, const struct host *h, struct err *e)
{
    for (int i = 0; i < l->lane_n; i++) {
        struct lane *const lane = &l->lanes[i];
        if ((lane->fd = wire_dial(h, e)) < 0)
            return lane->fd;
        lane->in_n = lane->out_at = 0;
        lane->inflight = 0;
        lane->alive = true;
        lane->quiet_until = 0;
        memset(lane->requests, 0, sizeof lane->requests);
        buf_clear(&lane->out);
    }
    return 0;
}

void load_disconnect(struct load *l)
{
    for (int i = 0; i < l->lane_n; i++) {
        if (l->lanes[i].fd >= 0)
            close(l->lanes[i].fd);
        l->lanes[i].fd = -1;
        l->lanes[i].alive = false;
    }
}

/* ---- requests ---- */

static void add_request(struct lane *lane, struct request r, int32_t code, const void *hdr, struct slice body)
{
    const struct code_row *const row = code_row_of(code);
    const struct command_out out = {
        .code = code, .opaque = lane->next_opaque, .desc = row->request, .names = row->names, .hdr = hdr};
    struct err e;
    if (command_encode(&lane->out, &out, body.n, &e) != 0)
        chaos_die("encode", e.text);
    buf_slice_add(&lane->out, body);
    lane->requests[lane->next_opaque % LOAD_REQUESTS] = r;
    lane->next_opaque = (lane->next_opaque + 1) & INT32_MAX;
    lane->inflight++;
}

static struct hdr_send_message send_header(int queue, struct slice properties, bool batch)
{
    return (struct hdr_send_message){.producer_group = SLICE_LIT(TX_GROUP), .topic = SLICE_LIT(ACCOUNT_TOPIC),
                                     .default_topic = SLICE_LIT("TBW102"), .default_topic_queue_nums = 4,
                                     .queue_id = queue, .born_timestamp = clock_wall(clk),
                                     .properties = properties, .max_reconsume_times = -1, .batch = batch};
}

static int any_queue(struct load *l)
{
    return (int)rng_below(&l->rng, ACCOUNT_QUEUES);
}

static void add_send(struct load *l, struct lane *lane)
{
    const int queue = any_queue(l);
    const int64_t seq = account_new(l->account, lane->number, queue);
    char body[ACCOUNT_BODY_MAX + 1], key[32];
    struct buf props;
    buf_init(&props, 0);
    if (account_key(l->account, seq, key) && props_str_add(&props, PROP_KEYS, slice_str(key)) != 0)
        chaos_die("properties", key);
    const struct hdr_send_message h = send_header(queue, buf_slice(&props), false);
    add_request(lane, (struct request){REQ_SEND, seq, 1, queue, false}, RC_SEND_MESSAGE_V2, &h,
                slice_of(body, account_body(l->account, seq, body)));
    buf_free(&props);
}

static void add_batch(struct load *l, struct lane *lane)
{
    const int queue = any_queue(l), n = 2 + (int)rng_below(&l->rng, BATCH_MOST - 1);
    const int64_t first = l->account->n;
    struct buf items;
    buf_init(&items, 0);
    for (int i = 0; i < n; i++) {
        char body[ACCOUNT_BODY_MAX + 1], key[64] = PROP_KEYS "\001";
        const int64_t seq = account_new(l->account, lane->number, queue);
        const bool keyed = account_key(l->account, seq, key + sizeof PROP_KEYS);
        batch_add(&items, &(struct batch_item){.body = slice_of(body, account_body(l->account, seq, body)),
                                               .properties = keyed ? slice_str(key) : SLICE_NULL});
    }
    const struct hdr_send_message h = send_header(queue, SLICE_NULL, true);
    add_request(lane, (struct request){REQ_SEND, first, n, queue, false}, RC_SEND_BATCH_MESSAGE, &h,
                buf_slice(&items));
    buf_free(&items);
}

static void add_half(struct load *l, struct lane *lane)
{
    const int queue = any_queue(l);
    const int64_t seq = account_new(l->account, lane->number, queue);
    char body[ACCOUNT_BODY_MAX + 1], props[160], key[32];
    const bool keyed = account_key(l->account, seq, key);
    snprintf(props, sizeof props, PROP_TRAN_MSG "\001true\002" PROP_PGROUP "\001" TX_GROUP "\002" PROP_UNIQ_KEY
             "\001U%lld\002%s%s%s", (long long)seq, keyed ? PROP_KEYS "\001" : "", keyed ? key : "",
             keyed ? "\002" : "");
    struct hdr_send_message h = send_header(queue, slice_str(props), false);
    h.sys_flag = SYSFLAG_TX_PREPARED;
    add_request(lane, (struct request){REQ_HALF, seq, 1, queue, rng_below(&l->rng, 5) != 0}, RC_SEND_MESSAGE_V2,
                &h, slice_of(body, account_body(l->account, seq, body)));
    l->account->entries[seq].fate = FATE_NOT; /* until its commit is under way */
}

static void add_end(struct load *l, struct lane *lane, const struct request *half, const struct command *a)
{
    struct host host;
    int64_t queue_offset, phys_offset;
    if (slice_i64(command_ext(a, "queueOffset"), &queue_offset) != 0 ||
        offset_msg_id_parse(command_ext(a, "msgId"), &host, &phys_offset) != 0) {
        account_find(l->account, &l->findings, "a half message was answered without its place");
        return;
    }
    const struct hdr_end_transaction h = {
        .topic = SLICE_LIT(ACCOUNT_TOPIC), .producer_group = SLICE_LIT(TX_GROUP),
        .tran_state_table_offset = queue_offset, .commit_log_offset = phys_offset,
        .commit_or_rollback = half->commit ? COMMIT : ROLLBACK, .msg_id = SLICE_LIT("")};
    struct request r = *half;
    r.kind = REQ_END;
    if (half->commit)
        l->account->entries[half->seq].fate = FATE_OPEN;
    add_request(lane, r, RC_END_TRANSACTION, &h, SLICE_NULL);
}

/* A little behind what is acknowledged, never less than before. */
static void add_offset(struct load *l, struct lane *lane)
{
    const int queue = any_queue(l);
    const int64_t at = l->readable[queue] - (int64_t)rng_below(&l->rng, 8);
    if (at <= l->commit_sent[queue])
        return;
    l->commit_sent[queue] = at;
    lane->quiet_until = clock_mono(clk) + COMMIT_PAUSE_MS;
    const struct hdr_update_consumer_offset h = {.consumer_group = SLICE_LIT(CONSUMER),
                                                 .topic = SLICE_LIT(ACCOUNT_TOPIC), .queue_id = queue,
                                                 .commit_offset = at};
    add_request(lane, (struct request){REQ_OFFSET, at, 0, queue, false}, RC_UPDATE_CONSUMER_OFFSET, &h, SLICE_NULL);
}

static void add_topic(struct load *l, struct lane *lane)
{
    if (l->topic_n == LOAD_TOPICS_MAX)
        return;
    const int64_t number = l->topic_n++;
    const int32_t queues = 1 + (int32_t)(number % 8);
    char name[32];
    snprintf(name, sizeof name, ACCOUNT_TOPIC "-%lld", (long long)number);
    const struct hdr_create_topic h = {.topic = slice_str(name), .default_topic = SLICE_LIT("TBW102"),
                                       .read_queue_nums = queues, .write_queue_nums = queues, .perm = 6,
                                       .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
    add_request(lane, (struct request){REQ_TOPIC, number, 0, 0, false}, RC_UPDATE_AND_CREATE_TOPIC, &h, SLICE_NULL);
    lane->quiet_until = clock_mono(clk) + TOPIC_PAUSE_MS;
}

static void fill_lane(struct load *l, struct lane *lane)
{
    while (lane->inflight < window_of(lane->kind) && clock_mono(clk) >= lane->quiet_until) {
        const int before = lane->inflight;
        switch (lane->kind) {
        case LANE_SINGLE:
        case LANE_PIPELINE: add_send(l, lane); break;
        case LANE_BATCH: add_batch(l, lane); break;
        case LANE_TX: add_half(l, lane); break;
        case LANE_CONSUMER: add_offset(l, lane); break;
        case LANE_ADMIN: add_topic(l, lane); break;
        }
        if (lane->inflight == before)
            return;
    }
}

/* ---- answers ---- */

static void refused(struct load *l, struct lane *lane, const struct request *r, const struct command *a)
{
    snprintf(l->refusal_text, sizeof l->refusal_text, SLICE_FMT, SLICE_ARG(a->remark));
    l->refusal_code = a->code;
    l->refused++;
    lane->quiet_until = clock_mono(clk) + REFUSED_PAUSE_MS;
    if (!l->may_refuse)
        account_find(l->account, &l->findings, "a request was refused: code %d: %s", a->code, l->refusal_text);
    if (r->kind == REQ_SEND || r->kind == REQ_END)
        for (int i = 0; i < r->n; i++)
            account_refused(l->account, r->seq + i);
    l->topics_refused += r->kind == REQ_TOPIC;
}

static void stored(struct load *l, const struct request *r, const struct command *a)
{
    int32_t queue = -1;
    int64_t offset = -1;
    if (slice_i32(command_ext(a, "queueId"), &queue) != 0 || queue != r->queue ||
        slice_i64(command_ext(a, "queueOffset"), &offset) != 0 || offset < 0)
        account_find(l->account, &l->findings, "message %lld for queue %d was acknowledged at queue %d offset %lld",
                     (long long)r->seq, r->queue, queue, (long long)offset);
    for (int i = 0; i < r->n; i++)
        account_acked(l->account, r->seq + i, offset + i);
    if (offset + r->n > l->readable[r->queue])
        l->readable[r->queue] = offset + r->n;
    l->last_ack_ms = clock_mono(clk);
}

static void take_answer(struct load *l, struct lane *lane, char *header, size_t n, uint8_t type)
{
    struct command a;
    struct err e;
    if (command_decode(header, n, type, &a, NULL, &e) != 0)
        chaos_die("answer", e.text);
    struct request *const slot = &lane->requests[(uint32_t)a.opaque % LOAD_REQUESTS], r = *slot;
    if (r.kind == REQ_NONE)
        chaos_die("answer", "to nothing that was asked");
    slot->kind = REQ_NONE;
    lane->inflight--;
    if (a.code == RESP_FLUSH_DISK_TIMEOUT && r.kind == REQ_SEND)
        return; /* stored, not promised: open */
    if (a.code != RESP_SUCCESS) {
        refused(l, lane, &r, &a);
        return;
    }
    switch (r.kind) {
    case REQ_SEND: stored(l, &r, &a); break;
    case REQ_HALF: add_end(l, lane, &r, &a); break;
    case REQ_END:
        if (r.commit)
            account_acked(l->account, r.seq, -1);
        break;
    case REQ_OFFSET: l->committed[r.queue] = r.seq; break;
    case REQ_TOPIC: l->topic_made[r.seq] = true; break;
    case REQ_NONE: break;
    }
}

static bool receive(struct load *l, struct lane *lane)
{
    const ssize_t got = recv(lane->fd, lane->in + lane->in_n, IN_SIZE - lane->in_n, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        return false;
    lane->in_n += got > 0 ? (size_t)got : 0;
    size_t at = 0;
    while (lane->in_n - at >= 8 && lane->in_n - at >= (size_t)be32_get(lane->in + at) + 4) {
        const size_t total = (size_t)be32_get(lane->in + at) + 4;
        take_answer(l, lane, lane->in + at + 8, be32_get(lane->in + at + 4) & 0xFFFFFF, (uint8_t)lane->in[at + 4]);
        at += total;
    }
    lane->in_n -= at;
    memmove(lane->in, lane->in + at, lane->in_n);
    return true;
}

static bool transmit(struct lane *lane)
{
    while (lane->out_at < lane->out.n) {
        const ssize_t put = send(lane->fd, lane->out.p + lane->out_at, lane->out.n - lane->out_at,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        lane->out_at += (size_t)put;
    }
    buf_clear(&lane->out);
    lane->out_at = 0;
    return true;
}

/* ---- turns ---- */

int load_turn(struct load *l, bool sending, int wait_ms)
{
    struct pollfd p[ACCOUNT_LANES];
    int alive = 0;
    for (int i = 0; i < l->lane_n; i++) {
        struct lane *const lane = &l->lanes[i];
        if (lane->alive && sending)
            fill_lane(l, lane);
        p[i] = (struct pollfd){.fd = lane->alive ? lane->fd : -1,
                               .events = (short)(POLLIN | (lane->out.n > lane->out_at ? POLLOUT : 0))};
    }
    poll(p, (nfds_t)l->lane_n, wait_ms);
    for (int i = 0; i < l->lane_n; i++) {
        struct lane *const lane = &l->lanes[i];
        if (lane->alive && (p[i].revents & (POLLIN | POLLHUP | POLLERR)))
            lane->alive = receive(l, lane);
        if (lane->alive)
            lane->alive = transmit(lane);
        alive += lane->alive;
    }
    return alive;
}

bool load_idle(const struct load *l)
{
    for (int i = 0; i < l->lane_n; i++)
        if (l->lanes[i].alive && l->lanes[i].inflight > 0)
            return false;
    return true;
}

bool load_run(struct load *l, int64_t ms)
{
    const int64_t end = clock_mono(clk) + ms;
    bool whole = true;
    while (whole && clock_mono(clk) < end)
        whole = load_turn(l, true, 5) == l->lane_n;
    while (whole && !load_idle(l) && clock_mono(clk) < end + IDLE_MS)
        whole = load_turn(l, false, 50) == l->lane_n;
    return whole && load_idle(l);
}
