#pragma once
/* A server with a handler for each way to answer, and the verbs to drive it. */
#include "tests/unit/remoting/fixture.h"

#include "base/log.h"

/* The codes of the server under test. */
enum { CODE_ECHO = 9001, CODE_PARK, CODE_OWN, CODE_DROP, CODE_BIG, CODE_PIECES, CODE_PUSH };
enum { BIG_BODY = 64 * 1024, PARKED_MAX = 4096 };

struct fixture {
    struct rig rig;
    _Atomic int served;
    uv_mutex_t lock; /* guards parked, which the loops fill and the test empties */
    struct req *parked[PARKED_MAX];
    int parked_n;
    _Atomic int releases;
    struct conn *pushed; /* a reference, taken by the first CODE_PUSH; under the lock too */
    char big[BIG_BODY];
};

static inline struct fixture *fixture_of(const struct req *r)
{
    return (struct fixture *)server_owner(req_server(r));
}

/* --- handlers: on loop threads, where only MQ_ASSERT can report --- */

static inline void echo(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_slice_add(&body, req_command(r)->body);
    fixture_of(r)->served++;
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

static inline void keep(struct req *r)
{
    struct fixture *f = fixture_of(r);
    uv_mutex_lock(&f->lock);
    MQ_ASSERT(f->parked_n < PARKED_MAX);
    f->parked[f->parked_n++] = r;
    uv_mutex_unlock(&f->lock);
    f->served++;
}

static inline void keep_owned(struct req *r)
{
    MQ_ASSERT(req_own_input(r) == 0);
    keep(r);
}

static inline void keep_dropped(struct req *r)
{
    req_drop_input(r);
    MQ_ASSERT(req_command(r)->body.p == NULL);
    keep(r);
}

static inline void count_release(void *arg)
{
    ((struct fixture *)arg)->releases++;
}

static inline void reply_big(struct req *r)
{
    struct fixture *f = fixture_of(r);
    struct iovec iov = {f->big, sizeof f->big};
    f->served++;
    req_reply_iov(r, RESP_SUCCESS, NULL, NULL, &iov, 1, count_release, f);
}

/* The body of the request says how large each of three pieces is. */
static inline void reply_pieces(struct req *r)
{
    struct fixture *f = fixture_of(r);
    int32_t n;
    if (slice_i32(req_command(r)->body, &n) != 0 || n < 0 || 3 * (size_t)n > sizeof f->big) {
        req_reply(r, RESP_INVALID_PARAMETER, NULL, NULL);
        return;
    }
    struct iovec iov[3] = {{f->big, (size_t)n}, {f->big + n, (size_t)n}, {f->big + 2 * n, (size_t)n}};
    int before = f->releases;
    req_reply_iov(r, RESP_SUCCESS, "pieces", NULL, iov, 3, count_release, f);
    MQ_ASSERT(f->releases == before); /* later, never inside */
}

static inline void remember_conn(struct req *r)
{
    struct fixture *f = fixture_of(r);
    uv_mutex_lock(&f->lock);
    if (f->pushed == NULL) {
        f->pushed = req_conn(r);
        conn_ref(f->pushed);
    }
    uv_mutex_unlock(&f->lock);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static inline void need_header(struct req *r)
{
    struct hdr_view_message h;
    if (req_header(r, &h) != 0)
        return;
    req_replyf(r, RESP_SUCCESS, "offset %lld", (long long)h.offset);
}

static const struct route routes[] = {
    {CODE_ECHO, echo, ROUTE_CLIENT},          {CODE_PARK, keep, ROUTE_READ},
    {CODE_OWN, keep_owned, ROUTE_READ},       {CODE_DROP, keep_dropped, ROUTE_READ},
    {CODE_BIG, reply_big, ROUTE_READ},        {CODE_PIECES, reply_pieces, ROUTE_READ},
    {CODE_PUSH, remember_conn, ROUTE_CLIENT}, {RC_VIEW_MESSAGE_BY_ID, need_header, ROUTE_ADMIN},
};

/* --- set-up --- */

static inline void discard_parked_of(struct server *s, struct conn *c)
{
    struct fixture *f = server_owner(s);
    uv_mutex_lock(&f->lock);
    int kept = 0;
    for (int i = 0; i < f->parked_n; i++) {
        if (req_conn(f->parked[i]) == c)
            req_discard(f->parked[i]);
        else
            f->parked[kept++] = f->parked[i];
    }
    f->parked_n = kept;
    uv_mutex_unlock(&f->lock);
    f->rig.closed++;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_mutex_init(&f->lock), 0);
    for (size_t i = 0; i < sizeof f->big; i++)
        f->big[i] = (char)('a' + i % 26);
    rig_start_loops(&f->rig, 2);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->pushed != NULL)
        conn_unref(f->pushed);
    rig_stop(&f->rig);
    uv_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static inline struct server_opts opts(struct fixture *f)
{
    struct server_opts o = rig_opts(&f->rig, routes, sizeof routes / sizeof *routes);
    o.on_close = discard_parked_of;
    return o;
}

static inline int serve_and_connect(struct fixture *f, const struct server_opts *o)
{
    rig_open(&f->rig, o);
    return peer_connect(server_port(f->rig.server));
}

static inline void answer_posted(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_slice_add(&body, req_command(r)->body);
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

/* Answers what is parked, last first when `backwards`. */
static inline void release_parked(struct fixture *f, bool backwards)
{
    uv_mutex_lock(&f->lock);
    for (int i = 0; i < f->parked_n; i++)
        req_post(f->parked[backwards ? f->parked_n - 1 - i : i], answer_posted);
    f->parked_n = 0;
    uv_mutex_unlock(&f->lock);
}

struct count {
    struct fixture *f;
    int n;
};

static inline bool has_served(void *arg)
{
    struct count *c = arg;
    return c->f->served >= c->n;
}

static inline void await_served(struct fixture *f, int n)
{
    struct count c = {f, n};
    if (!wait_until(has_served, &c, DEADLINE_MS))
        fail_msg("%d requests served, %d expected", (int)f->served, n);
}

static inline void await_empty(struct fixture *f)
{
    if (!wait_until(server_is_empty, f->rig.server, DEADLINE_MS)) {
        struct server_stats st;
        server_stats_get(f->rig.server, &st);
        fail_msg("%llu connections are still open", (unsigned long long)st.open);
    }
}

static inline void request_with_body(int fd, int32_t code, int32_t opaque, const char *body)
{
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, code, opaque, 0, slice_str(body));
    peer_send(fd, buf_slice(&b));
    buf_free(&b);
}

static inline void expect_remark(int fd, int32_t code, const char *remark)
{
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.code, code);
    assert_slice_equal(a.command.remark, remark);
    answer_free(&a);
}

static inline bool has_released(void *arg)
{
    struct count *c = arg;
    return c->f->releases >= c->n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
