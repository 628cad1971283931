/* The replayer of replay.h.
 *
 * Runs on: the test's thread; one blocking socket for each recorded connection.
 *
 * Order: the files of a session as the caller lists them, frames in the order on the wire. A
 * recorded request is sent when its turn comes; a recorded answer is the moment at which ours is
 * awaited, so requests that were in flight together are here too, and a long poll is woken by the
 * same send. Only requests that change who is there are alone in flight: what another connection
 * asks next is about that, and two connections have no order. Answers that come early are stashed
 * by opaque.
 *
 * Topics: recordings ran on a broker that had theirs already. The recorded routes say which, and
 * they are created before the first request; topics that the broker was to create by itself have no
 * route then. */
#include "tests/support/mq/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/map.h"
#include "proto/body.h"
#include "proto/names.h"
#include "remoting/frame.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"

enum { ANSWER_MS = 15000, PUSH_MS = 300 };

struct parsed {
    struct buf bytes, spill; /* what the command borrows from */
    struct command c;
};
struct stashed {
    struct list link;
    struct parsed answer;
};
struct line { /* one recorded connection */
    struct list link;
    int conn;
    size_t last; /* index of its last frame */
    int pushes;  /* came, but not yet recorded */
    struct peer peer;
    struct list stash;
};
struct session {
    const struct golden *g;
    const struct replay_opts *o;
    struct replay_result *out;
    const struct golden_frame **frames; /* of the session, in order */
    size_t n;
    struct list lines;
    struct map *phys;  /* recorded physical offset + 1 -> ours + 1 */
    struct map *queue; /* recorded physical offset + 1 -> our queue offset + 1 */
};

static void parse(struct parsed *p, struct slice frame)
{
    struct frame f;
    struct err e = {0};
    buf_init(&p->bytes, 0);
    buf_init(&p->spill, 0);
    buf_slice_add(&p->bytes, frame);
    assert_ok(frame_next(p->bytes.p, p->bytes.n, FRAME_MAX, &f, &e), &e);
    assert_ok(command_decode(p->bytes.p + f.header_at, f.header_n, f.type, &p->c, &p->spill, &e),
              &e);
    p->c.body = slice_of(p->bytes.p + f.body_at, f.body_n);
}

static void parsed_free(struct parsed *p)
{
    buf_free(&p->bytes);
    buf_free(&p->spill);
}

/* --- replacing one ext field in a frame --- */

static void splice(struct buf *frame, size_t at, size_t old_n, const char *value)
{
    struct buf made;
    buf_init(&made, 0);
    buf_add(&made, frame->p, at);
    buf_str(&made, value);
    buf_add(&made, frame->p + at + old_n, frame->n - at - old_n);
    const int32_t grown = (int32_t)strlen(value) - (int32_t)old_n;
    be32_put(made.p, (uint32_t)((int32_t)be32_get(made.p) + grown));
    be32_put(made.p + 4, (uint32_t)((int32_t)be32_get(made.p + 4) + grown));
    buf_free(frame);
    *frame = made;
}

static void patch_json(struct buf *frame, size_t header_n, const char *key, const char *value)
{
    char name[80];
    const int n = snprintf(name, sizeof name, "\"%s\":", key);
    char *const found = memmem(frame->p + 8, header_n, name, (size_t)n);
    if (found == NULL)
        return;
    size_t at = (size_t)(found - frame->p) + (size_t)n, len = 0;
    if (frame->p[at] == '"')
        at++;
    while (frame->p[at + len] != '"' && frame->p[at + len] != ',' && frame->p[at + len] != '}')
        len++;
    splice(frame, at, len, value);
}

static void patch_binary(struct buf *frame, const char *key, const char *value)
{
    size_t at = 8 + 13;
    at += 4 + be32_get(frame->p + at); /* remark */
    const size_t ext_at = at;
    const size_t end = at + 4 + be32_get(frame->p + at);
    for (at += 4; at < end;) {
        const size_t key_n = be16_get(frame->p + at);
        const size_t value_at = at + 2 + key_n, value_n = be32_get(frame->p + value_at);
        if (slice_eq_str(slice_of(frame->p + at + 2, key_n), key)) {
            const int32_t grown = (int32_t)strlen(value) - (int32_t)value_n;
            be32_put(frame->p + value_at, (uint32_t)strlen(value));
            be32_put(frame->p + ext_at, (uint32_t)((int32_t)be32_get(frame->p + ext_at) + grown));
            splice(frame, value_at + 4, value_n, value);
            return;
        }
        at = value_at + 4 + value_n;
    }
}

static void patch(struct buf *frame, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    const uint32_t word = be32_get(frame->p + 4);
    if (word >> 24 == COMMAND_ROCKETMQ)
        patch_binary(frame, key, text);
    else
        patch_json(frame, word & 0xFFFFFF, key, text);
}

/* --- what the run itself decides --- */

static void learn(struct map *m, int64_t recorded, int64_t ours)
{
    const int64_t key = recorded + 1;
    assert_int_equal(map_put(m, map_key_i64(&key), (void *)(uintptr_t)(ours + 1), NULL), 0);
}

static bool learned(const struct map *m, int64_t recorded, int64_t *ours)
{
    const int64_t key = recorded + 1;
    void *const v = map_get(m, map_key_i64(&key));
    *ours = (int64_t)(uintptr_t)v - 1;
    return v != NULL;
}

static void learn_ids(struct session *s, struct slice recorded, const struct command *got)
{
    struct slice ours = command_ext(got, "msgId"), a, b;
    int64_t queue_offset = -1;
    const bool has_queue = slice_i64(command_ext(got, "queueOffset"), &queue_offset) == 0;
    while (slice_cut(&recorded, ',', &a) && slice_cut(&ours, ',', &b)) {
        struct host h;
        int64_t from, to;
        if (offset_msg_id_parse(a, &h, &from) != 0 || offset_msg_id_parse(b, &h, &to) != 0)
            continue;
        learn(s->phys, from, to);
        if (has_queue)
            learn(s->queue, from, queue_offset++);
    }
}

/* Replaces field `key` by what the map knows of the recorded physical offset in field `of`. */
static void carry(const struct command *c, struct buf *frame, const char *key, const char *of,
                  const struct map *m)
{
    int64_t recorded, ours;
    if (slice_i64(command_ext(c, of), &recorded) == 0 && learned(m, recorded, &ours))
        patch(frame, key, ours);
}

static void carry_over(const struct session *s, const struct command *c, struct buf *frame)
{
    int64_t suspend;
    switch (c->code) {
    case RC_CONSUMER_SEND_MSG_BACK:
    case RC_VIEW_MESSAGE_BY_ID:
        carry(c, frame, "offset", "offset", s->phys);
        break;
    case RC_END_TRANSACTION:
        carry(c, frame, "tranStateTableOffset", "commitLogOffset", s->queue);
        carry(c, frame, "commitLogOffset", "commitLogOffset", s->phys);
        break;
    case RC_PULL_MESSAGE:
    case RC_LITE_PULL_MESSAGE:
        if (slice_i64(command_ext(c, "suspendTimeoutMillis"), &suspend) == 0 &&
            suspend > s->o->suspend_cap_ms)
            patch(frame, "suspendTimeoutMillis", s->o->suspend_cap_ms);
        break;
    case RC_QUERY_MESSAGE:
        patch(frame, "endTimestamp", INT64_MAX); /* then: now */
        break;
    default:
        break;
    }
}

/* --- connections --- */

static struct line *line_of(struct session *s, int conn)
{
    LIST_FOREACH (it, &s->lines) {
        struct line *const l = LIST_ENTRY(it, struct line, link);
        if (l->conn == conn)
            return l;
    }
    struct line *const l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->conn = conn;
    list_init(&l->stash);
    peer_open(&l->peer, s->o->address);
    for (size_t i = 0; i < s->n; i++)
        if (s->frames[i]->conn == conn)
            l->last = i;
    list_push_back(&s->lines, &l->link);
    return l;
}

static void stashed_free(struct stashed *st)
{
    list_remove(&st->link);
    parsed_free(&st->answer);
    free(st);
}

static void line_close(struct line *l)
{
    LIST_FOREACH_SAFE (it, next, &l->stash)
        stashed_free(LIST_ENTRY(it, struct stashed, link));
    shutdown(l->peer.fd, SHUT_WR);
    /* Until the broker has noticed: what follows may ask who is there. */
    while (peer_receive(&l->peer, ANSWER_MS) != NULL)
        ;
    peer_close(&l->peer);
    list_remove(&l->link);
    free(l);
}

static void stash(struct line *l, const struct command *c)
{
    struct stashed *const st = calloc(1, sizeof *st);
    assert_non_null(st);
    st->answer = (struct parsed){l->peer.taken, l->peer.spill, *c};
    buf_init(&l->peer.taken, 0);
    buf_init(&l->peer.spill, 0);
    list_push_back(&l->stash, &st->link);
}

/* What the recorded client did next it may have done because of this push: ours should be here too.
 * The number of pushes is not compared, so a missing one only costs its wait. */
static void await_push(struct line *l)
{
    const struct command *c = NULL;
    while (l->pushes == 0 && (c = peer_receive(&l->peer, PUSH_MS)) != NULL) {
        if ((c->flag & COMMAND_FLAG_RESPONSE) == 0)
            l->pushes++;
        else
            stash(l, c);
    }
    if (l->pushes > 0)
        l->pushes--;
}

static struct stashed *stashed(struct line *l, int32_t opaque)
{
    LIST_FOREACH (it, &l->stash) {
        struct stashed *const st = LIST_ENTRY(it, struct stashed, link);
        if (st->answer.c.opaque == opaque)
            return st;
    }
    return NULL;
}

/* Our answer to the opaque of a recorded request or answer; it stays in the stash. */
static struct stashed *await(struct line *l, const struct golden_frame *f)
{
    struct stashed *found;
    while ((found = stashed(l, f->opaque)) == NULL) {
        const struct command *const c = peer_receive(&l->peer, ANSWER_MS);
        if (c == NULL)
            fail_msg("%s at %lld: no answer to %s (opaque %d)", f->file, (long long)f->offset,
                     f->name, f->opaque);
        if ((c->flag & COMMAND_FLAG_RESPONSE) == 0)
            l->pushes++;
        else
            stash(l, c);
    }
    return found;
}

/* --- comparing --- */

static bool begins(struct slice value, const char *with)
{
    if (with == NULL)
        return true;
    return *with == '\0' ? value.n == 0 : slice_starts(value, slice_str(with));
}

static bool tolerated(const struct session *s, const struct golden_frame *f, const char *what,
                      struct slice recorded, struct slice ours)
{
    for (size_t i = 0; i < s->o->tolerance_n; i++) {
        const struct replay_tolerance *const t = &s->o->tolerances[i];
        if ((t->request_code == 0 || t->request_code == f->request_code) &&
            (t->file == NULL || strstr(f->file, t->file) != NULL) && strcmp(t->what, what) == 0 &&
            begins(recorded, t->recorded) && begins(ours, t->ours))
            return true;
    }
    return false;
}

static void differs(struct session *s, const struct golden_frame *f, const char *what,
                    struct slice recorded, struct slice ours)
{
    if (tolerated(s, f, what, recorded, ours)) {
        s->out->tolerated++;
        return;
    }
    s->out->different++;
    buf_printf(&s->out->report,
               "%s at %lld (%s, opaque %d): %s: recorded \"%.*s\", ours \"%.*s\"\n", f->file,
               (long long)f->offset, f->name, f->opaque, what,
               (int)(recorded.n < 200 ? recorded.n : 200), recorded.p ? recorded.p : "",
               (int)(ours.n < 200 ? ours.n : 200), ours.p ? ours.p : "");
}

static void compare_text(struct session *s, const struct golden_frame *f, const char *what,
                         struct slice recorded, struct slice ours)
{
    s->out->compared++;
    if (!slice_eq(recorded, ours))
        differs(s, f, what, recorded, ours);
}

static void compare_int(struct session *s, const struct golden_frame *f, const char *what,
                        int64_t recorded, int64_t ours)
{
    char a[32], b[32];
    snprintf(a, sizeof a, "%lld", (long long)recorded);
    snprintf(b, sizeof b, "%lld", (long long)ours);
    compare_text(s, f, what, slice_str(a), slice_str(b));
}

static void compare_ext(struct session *s, const struct golden_frame *f, const struct command *want,
                        const struct command *got)
{
    for (size_t i = 0; i < want->ext_n; i++) {
        char key[100];
        assert_int_equal(slice_copy(want->ext[i].key, key, sizeof key), 0);
        if (strcmp(key, "msgId") == 0)
            learn_ids(s, want->ext[i].value, got);
        else
            compare_text(s, f, key, want->ext[i].value, command_ext(got, key));
    }
}

static void compare_records(struct session *s, const struct golden_frame *f, struct slice want,
                            struct slice got)
{
    struct message a, b;
    struct err e;
    int n = 0;
    while (want.n > 0 && got.n > 0) {
        assert_ok(message_decode(want, 0, &a, &e), &e);
        assert_ok(message_decode(got, MESSAGE_CHECK_CRC, &b, &e), &e);
        learn(s->phys, a.phys_offset, b.phys_offset);
        compare_text(s, f, "record body", a.body, b.body);
        compare_text(s, f, "record topic", a.topic, b.topic);
        compare_text(s, f, "record tags", props_str_get(a.properties, PROP_TAGS),
                     props_str_get(b.properties, PROP_TAGS));
        compare_text(s, f, "record keys", props_str_get(a.properties, PROP_KEYS),
                     props_str_get(b.properties, PROP_KEYS));
        compare_int(s, f, "record queue offset", a.queue_offset, b.queue_offset);
        compare_int(s, f, "record sysFlag", a.sys_flag, b.sys_flag);
        compare_int(s, f, "record reconsumeTimes", a.reconsume_times, b.reconsume_times);
        want = slice_of(want.p + a.total_size, want.n - (size_t)a.total_size);
        got = slice_of(got.p + b.total_size, got.n - (size_t)b.total_size);
        n++;
    }
    if (want.n > 0 || got.n > 0)
        compare_int(s, f, "records", n + (want.n > 0), n + (got.n > 0));
}

static int by_text(const void *a, const void *b)
{
    const struct slice *const x = a, *const y = b;
    const int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

/* Members in any order: clients sort the list themselves. */
static void compare_members(struct session *s, const struct golden_frame *f, struct slice want,
                            struct slice got)
{
    json_t *roots[2];
    struct slice *ids[2];
    size_t n[2];
    struct buf text[2];
    const struct slice bodies[2] = {want, got};
    for (int side = 0; side < 2; side++) {
        struct err e;
        assert_ok(consumer_list_decode(bodies[side], &roots[side], &ids[side], &n[side], &e), &e);
        qsort(ids[side], n[side], sizeof(struct slice), by_text);
        buf_init(&text[side], 0);
        for (size_t i = 0; i < n[side]; i++) {
            buf_slice_add(&text[side], ids[side][i]);
            buf_char(&text[side], ' ');
        }
    }
    compare_text(s, f, "members", buf_slice(&text[0]), buf_slice(&text[1]));
    for (int side = 0; side < 2; side++) {
        buf_free(&text[side]);
        free(ids[side]);
        json_decref(roots[side]);
    }
}

static void compare_body(struct session *s, const struct golden_frame *f,
                         const struct command *want, const struct command *got)
{
    switch (f->request_code) {
    case RC_PULL_MESSAGE:
    case RC_LITE_PULL_MESSAGE:
    case RC_QUERY_MESSAGE:
    case RC_VIEW_MESSAGE_BY_ID:
        compare_records(s, f, want->body, got->body);
        break;
    case RC_GET_CONSUMER_LIST_BY_GROUP:
        if (want->code == RESP_SUCCESS)
            compare_members(s, f, want->body, got->body);
        break;
    default:
        compare_text(s, f, "body", want->body, got->body);
        break;
    }
}

static void compare(struct session *s, const struct golden_frame *f)
{
    struct parsed want;
    struct stashed *const st = await(line_of(s, f->conn), f);
    const struct command *const got = &st->answer.c;
    parse(&want, f->bytes);
    s->out->answers++;
    compare_int(s, f, "code", want.c.code, got->code);
    if (want.c.code == got->code) {
        compare_text(s, f, "remark", want.c.remark, got->remark);
        compare_ext(s, f, &want.c, got);
        compare_body(s, f, &want.c, got);
    }
    parsed_free(&want);
    stashed_free(st);
}

/* --- the session --- */

static void gather(struct session *s)
{
    const struct golden *const g = s->g;
    s->frames = calloc(g->n, sizeof *s->frames);
    assert_non_null(s->frames);
    for (const char *const *file = s->o->files; *file != NULL; file++) {
        const size_t before = s->n;
        for (size_t i = 0; i < g->n; i++)
            if (strcmp(g->frames[i].file, *file) == 0)
                s->frames[s->n++] = &g->frames[i];
        if (s->n == before)
            fail_msg("no frames of %s", *file);
    }
}

static void create_topic(struct peer *p, struct slice topic, const struct queue_data *q)
{
    const struct hdr_create_topic h = {.topic = topic,
                                       .default_topic = SLICE_LIT(TOPIC_AUTO_CREATE),
                                       .read_queue_nums = q->read_queue_nums,
                                       .write_queue_nums = q->write_queue_nums,
                                       .perm = q->perm,
                                       .topic_sys_flag = q->sys_flag,
                                       .topic_filter_type = SLICE_LIT("SINGLE_TAG")};
    if (!topic_is_system(topic))
        assert_int_equal(peer_call(p, RC_UPDATE_AND_CREATE_TOPIC, &h, SLICE_NULL)->code,
                         RESP_SUCCESS);
}

/* The request that the answer at index i belongs to. */
static const struct golden_frame *request_of(const struct session *s, size_t i)
{
    const struct golden_frame *const f = s->frames[i];
    while (strcmp(s->frames[i]->kind, "request") != 0 || s->frames[i]->opaque != f->opaque ||
           s->frames[i]->conn != f->conn) {
        assert_true(i > 0);
        i--;
    }
    return s->frames[i];
}

static void create_from_route(struct peer *p, struct map *seen, const struct golden_frame *asked,
                              const struct golden_frame *answered)
{
    struct parsed request, answer;
    struct route_data route;
    struct err e;
    parse(&request, asked->bytes);
    parse(&answer, answered->bytes);
    const struct slice topic = command_ext(&request.c, "topic");
    if (map_get(seen, topic) == NULL) {
        assert_int_equal(map_put(seen, topic, seen, NULL), 0);
        if (answered->code == RESP_SUCCESS && route_data_decode(answer.c.body, &route, &e) == 0) {
            if (route.queue_n > 0)
                create_topic(p, topic, &route.queues[0]);
            route_data_free(&route);
        }
    }
    parsed_free(&request);
    parsed_free(&answer);
}

/* From the first recorded route of each topic; those whose first answer was "no route" are left. */
static void create_topics(struct session *s)
{
    struct peer p;
    struct map *const seen = map_new();
    assert_non_null(seen);
    peer_open(&p, s->o->address);
    for (size_t i = 0; i < s->n; i++) {
        const struct golden_frame *const f = s->frames[i];
        if (f->request_code != RC_GET_ROUTEINFO_BY_TOPIC || strcmp(f->kind, "response") != 0)
            continue;
        create_from_route(&p, seen, request_of(s, i), f);
    }
    peer_close(&p);
    map_free(seen, NULL);
}

static bool to_broker(const struct golden_frame *f)
{
    return strcmp(f->to, "broker-a") == 0 && strcmp(f->kind, "response") != 0 &&
           strcmp(f->from, "client") == 0;
}

static bool from_broker(const struct golden_frame *f)
{
    return strcmp(f->from, "broker-a") == 0 && strcmp(f->kind, "response") == 0 &&
           strcmp(f->to, "client") == 0;
}

static bool is_push(const struct golden_frame *f)
{
    return strcmp(f->from, "broker-a") == 0 && strcmp(f->kind, "oneway") == 0 &&
           strcmp(f->to, "client") == 0 && f->request_code == RC_NOTIFY_CONSUMER_IDS_CHANGED;
}

static bool changes_members(int code)
{
    return code == RC_HEART_BEAT || code == RC_UNREGISTER_CLIENT;
}

static void send_request(struct session *s, const struct golden_frame *f)
{
    struct line *const l = line_of(s, f->conn);
    struct parsed p;
    struct buf frame;
    parse(&p, f->bytes);
    buf_init(&frame, 0);
    buf_slice_add(&frame, f->bytes);
    carry_over(s, &p.c, &frame);
    peer_send_raw(&l->peer, buf_slice(&frame));
    if (changes_members(p.c.code))
        await(l, f);
    buf_free(&frame);
    parsed_free(&p);
    s->out->requests++;
}

static void close_finished(struct session *s, size_t index)
{
    LIST_FOREACH_SAFE (it, next, &s->lines) {
        struct line *const l = LIST_ENTRY(it, struct line, link);
        if (l->last <= index)
            line_close(l);
    }
}

void replay_run(const struct golden *g, const struct replay_opts *o, struct replay_result *out)
{
    struct session s = {.g = g, .o = o, .out = out, .phys = map_new(), .queue = map_new()};
    assert_true(s.phys != NULL && s.queue != NULL);
    *out = (struct replay_result){0};
    buf_init(&out->report, 0);
    list_init(&s.lines);
    gather(&s);
    create_topics(&s);
    for (size_t i = 0; i < s.n; i++) {
        if (to_broker(s.frames[i]))
            send_request(&s, s.frames[i]);
        else if (from_broker(s.frames[i]))
            compare(&s, s.frames[i]);
        else if (is_push(s.frames[i]))
            await_push(line_of(&s, s.frames[i]->conn));
        close_finished(&s, i);
    }
    close_finished(&s, s.n);
    map_free(s.phys, NULL);
    map_free(s.queue, NULL);
    free(s.frames);
}
