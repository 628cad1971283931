#include "tests/unit/remoting/fixture.h"

#include "base/log.h"
#include "remoting/rpc.h"
#include "tests/support/port.h"

enum { CODE_ECHO = RC_HEART_BEAT, CODE_SILENT = RC_CHECK_CLIENT_CONFIG, CODE_PUSH = RC_LOCK_BATCH_MQ };

/* --- the other side --- */

static void on_echo(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_slice_add(&body, req_command(r)->body);
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

static struct req *parked[16];
static _Atomic int parked_n;

static void on_silent(struct req *r)
{
    parked[parked_n] = r;
    parked_n++;
}

static void on_push_me(struct req *r)
{
    struct hdr_consumer_group h = {.consumer_group = SLICE_LIT("G")};
    MQ_ASSERT(conn_send_oneway(req_conn(r), RC_NOTIFY_CONSUMER_IDS_CHANGED, &h, SLICE_LIT("pushed")) == 0);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

static const struct route routes[] = {
    {CODE_ECHO, on_echo, ROUTE_CLIENT}, {CODE_SILENT, on_silent, ROUTE_CLIENT}, {CODE_PUSH, on_push_me, ROUTE_CLIENT}};

static void on_conn_closed(struct server *s, struct conn *c)
{
    rig_on_close(s, c);
    for (int i = 0; i < parked_n; i++)
        if (parked[i] != NULL && req_conn(parked[i]) == c) {
            req_discard(parked[i]);
            parked[i] = NULL;
        }
}

/* --- this side: an rpc on a loop of its own, driven by loop_call --- */

struct outcome {
    _Atomic int done;
    int status, code;
    char body[64], text[256], address[64];
};

struct side {
    struct rig rig;
    struct loop loop;
    struct rpc *rpc;
    char address[64];
    struct rpc_opts opts;
    _Atomic int pushes, disconnects;
    char pushed[64];
    uint64_t push_conn_id;
    _Atomic bool closed;
};

static void on_push(void *arg, const struct rpc_push *push)
{
    struct side *s = arg;
    MQ_ASSERT(slice_copy(push->command->body, s->pushed, sizeof s->pushed) == 0);
    s->push_conn_id = push->conn_id;
    s->pushes++;
}

static void on_disconnect(void *arg, const char *address)
{
    struct side *s = arg;
    MQ_ASSERT(strstr(address, "127.0.0.1:") == address);
    s->disconnects++;
}

static void open_on_loop(void *arg)
{
    struct side *s = arg;
    MQ_ASSERT(rpc_open(&s->rpc, &s->opts, NULL) == 0);
}

static void on_rpc_closed(void *arg)
{
    struct side *s = arg;
    s->closed = true;
}

static void close_on_loop(void *arg)
{
    struct side *s = arg;
    rpc_close(s->rpc, on_rpc_closed, s);
}

static bool is_closed(void *arg)
{
    return ((struct side *)arg)->closed;
}

static void rpc_shut(struct side *s)
{
    if (s->rpc == NULL)
        return;
    assert_int_equal(loop_call(&s->loop, close_on_loop, s), 0);
    assert_true(wait_until(is_closed, s, DEADLINE_MS));
    s->rpc = NULL;
}

/* Callbacks run on loop threads, where only MQ_ASSERT can report. */
static int setup(void **state)
{
    struct side *s = calloc(1, sizeof *s);
    struct err e = {0};
    parked_n = 0;
    rig_start_loops(&s->rig, 1);
    struct server_opts so = rig_opts(&s->rig, routes, sizeof routes / sizeof *routes);
    so.on_close = on_conn_closed;
    rig_open(&s->rig, &so);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", server_port(s->rig.server));
    assert_ok(loop_start(&s->loop, "rpc", 0, &e), &e);
    s->opts = (struct rpc_opts){.loop = &s->loop,
                                .clock = &clock_system,
                                .on_push = on_push,
                                .on_disconnect = on_disconnect,
                                .arg = s};
    assert_int_equal(loop_call(&s->loop, open_on_loop, s), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct side *s = *state;
    rpc_shut(s);
    rig_stop(&s->rig);
    loop_stop(&s->loop);
    free(s);
    return 0;
}

static void on_done(void *arg, const struct rpc_result *res)
{
    struct outcome *o = arg;
    o->status = res->status;
    snprintf(o->address, sizeof o->address, "%s", res->address);
    if (res->status == 0) {
        o->code = res->response->code;
        MQ_ASSERT(slice_copy(res->response->body, o->body, sizeof o->body) == 0);
    } else {
        snprintf(o->text, sizeof o->text, "%s", res->error.text);
    }
    o->done++;
}

struct call_args {
    struct side *side;
    const char *address;
    int32_t code;
    const char *body;
    int64_t timeout_ms;
    struct outcome *outcome; /* NULL: oneway */
    int rc;
    struct err e;
};

static void call_on_loop(void *arg)
{
    struct call_args *a = arg;
    struct iovec body = {(void *)(uintptr_t)a->body, strlen(a->body)};
    struct rpc_request q = {.address = slice_str(a->address),
                            .code = a->code,
                            .body = &body,
                            .body_n = 1,
                            .timeout_ms = a->timeout_ms};
    if (a->outcome == NULL) {
        a->rc = rpc_oneway(a->side->rpc, &q, &a->e);
        return;
    }
    a->rc = rpc_call(a->side->rpc, &q, on_done, a->outcome, &a->e);
    MQ_ASSERT(a->outcome->done == 0); /* never inside the call */
}

static int call(struct side *s, const char *address, int32_t code, const char *body, int64_t timeout_ms,
                struct outcome *o)
{
    struct call_args a = {s, address, code, body, timeout_ms, o, 0, {0}};
    assert_int_equal(loop_call(&s->loop, call_on_loop, &a), 0);
    if (a.rc != 0 && o != NULL)
        snprintf(o->text, sizeof o->text, "%s", a.e.text);
    return a.rc;
}

static bool outcome_is_done(void *arg)
{
    return ((struct outcome *)arg)->done > 0;
}

static void await(struct outcome *o)
{
    if (!wait_until(outcome_is_done, o, DEADLINE_MS))
        fail_msg("no outcome after %d ms", DEADLINE_MS);
    assert_int_equal(o->done, 1);
}

/* --- tests --- */

static void a_call_gets_the_answer_of_its_peer(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    assert_int_equal(call(s, s->address, CODE_ECHO, "hello", 5000, &o), 0);
    await(&o);
    assert_int_equal(o.status, 0);
    assert_int_equal(o.code, RESP_SUCCESS);
    assert_string_equal(o.body, "hello");
    assert_string_equal(o.address, s->address);
}

static void an_error_code_of_the_peer_is_an_answer_too(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    assert_int_equal(call(s, s->address, 7777, "", 5000, &o), 0);
    await(&o);
    assert_int_equal(o.status, 0);
    assert_int_equal(o.code, RESP_REQUEST_CODE_NOT_SUPPORTED);
}

static void many_calls_in_flight_each_get_their_own_answer(void **state)
{
    enum { N = 2000 };
    struct side *s = *state;
    struct outcome *o = calloc(N, sizeof *o);
    char body[16];
    for (int i = 0; i < N; i++) {
        snprintf(body, sizeof body, "%d", i);
        assert_int_equal(call(s, s->address, CODE_ECHO, body, 20000, &o[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        await(&o[i]);
        snprintf(body, sizeof body, "%d", i);
        assert_string_equal(o[i].body, body);
    }
    free(o);
    struct server_stats st;
    server_stats_get(s->rig.server, &st);
    assert_int_equal(st.accepted, 1); /* one connection for all */
}

static void a_host_name_is_resolved(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    char address[64];
    snprintf(address, sizeof address, "localhost:%d", server_port(s->rig.server));
    assert_int_equal(call(s, address, CODE_ECHO, "by name", 5000, &o), 0);
    await(&o);
    assert_int_equal(o.status, 0);
    assert_string_equal(o.body, "by name");
}

static void a_host_name_that_does_not_exist_fails_to_connect(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    assert_int_equal(call(s, "no-such-host.invalid:9876", CODE_ECHO, "", 20000, &o), 0);
    await(&o);
    assert_true(o.status == E_CONNECT || o.status == E_TIMEOUT); /* a resolver may be slow to say no */
    assert_contains(o.text, "no-such-host.invalid:9876");
}

static void a_bad_address_is_refused_at_once(void **state)
{
    static const char *const bad[] = {"", "host", "host:", ":1", "host:0", "host:65536", "host:12x", "[]:1"};
    struct side *s = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome o = {0};
        assert_int_equal(call(s, bad[i], CODE_ECHO, "", 1000, &o), E_INVAL);
        assert_contains(o.text, "host:port expected");
    }
}

static void a_call_without_an_answer_times_out_and_the_connection_stays(void **state)
{
    struct side *s = *state;
    struct outcome silent = {0}, o = {0};
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 100, &silent), 0);
    await(&silent);
    assert_int_equal(silent.status, E_TIMEOUT);
    assert_contains(silent.text, s->address);
    assert_int_equal(call(s, s->address, CODE_ECHO, "after", 5000, &o), 0);
    await(&o);
    assert_string_equal(o.body, "after");
    assert_int_equal(s->disconnects, 0);
}

static void answer_late(struct req *r)
{
    struct buf body;
    buf_init(&body, 0);
    buf_str(&body, "late");
    req_reply_buf(r, RESP_SUCCESS, NULL, NULL, &body);
}

static bool has_parked(void *arg)
{
    return parked_n >= *(int *)arg;
}

static void a_late_answer_matches_no_later_call(void **state)
{
    struct side *s = *state;
    struct outcome first = {0}, second = {0};
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 50, &first), 0);
    await(&first);
    assert_int_equal(first.status, E_TIMEOUT);
    assert_true(wait_until(has_parked, &(int){1}, DEADLINE_MS));
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 300, &second), 0); /* takes the same slot */
    assert_true(wait_until(has_parked, &(int){2}, DEADLINE_MS));
    struct req *late = parked[0];
    parked[0] = NULL;
    req_post(late, answer_late);
    await(&second);
    assert_int_equal(second.status, E_TIMEOUT);
}

static void nobody_at_the_address_is_a_connect_failure(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", free_port());
    assert_int_equal(call(s, address, CODE_ECHO, "", 5000, &o), 0);
    await(&o);
    assert_int_equal(o.status, E_CONNECT);
    assert_contains(o.text, address);
    assert_contains(o.text, "refused");
    assert_int_equal(s->disconnects, 0);
}

static void a_lost_connection_fails_what_is_pending_and_the_next_call_dials_again(void **state)
{
    struct side *s = *state;
    struct outcome pending = {0}, o = {0};
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 20000, &pending), 0);
    assert_true(wait_until(has_parked, &(int){1}, DEADLINE_MS));
    conn_close(req_conn(parked[0]), "test");
    await(&pending);
    assert_int_equal(pending.status, E_CLOSED);
    assert_int_equal(s->disconnects, 1);
    assert_int_equal(call(s, s->address, CODE_ECHO, "again", 5000, &o), 0);
    await(&o);
    assert_string_equal(o.body, "again");
}

static void drop_on_loop(void *arg)
{
    struct side *s = arg;
    rpc_disconnect(s->rpc, slice_str(s->address));
    rpc_disconnect(s->rpc, SLICE_LIT("127.0.0.1:1")); /* nobody: fine */
}

static void disconnect_fails_what_is_pending(void **state)
{
    struct side *s = *state;
    struct outcome pending = {0};
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 20000, &pending), 0);
    assert_int_equal(loop_call(&s->loop, drop_on_loop, s), 0);
    await(&pending);
    assert_int_equal(pending.status, E_CLOSED);
}

static void closing_fails_what_is_pending_with_shutdown(void **state)
{
    struct side *s = *state;
    struct outcome up = {0}, dialling = {0}, resolving = {0};
    struct outcome warm = {0};
    assert_int_equal(call(s, s->address, CODE_ECHO, "", 5000, &warm), 0);
    await(&warm);
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 20000, &up), 0);
    assert_int_equal(call(s, "192.0.2.1:9", CODE_ECHO, "", 20000, &dialling), 0); /* goes nowhere */
    assert_int_equal(call(s, "localhost:9", CODE_ECHO, "", 20000, &resolving), 0);
    rpc_shut(s);
    await(&up);
    await(&dialling);
    await(&resolving);
    assert_int_equal(up.status, E_SHUTDOWN);
    assert_true(dialling.status == E_SHUTDOWN || dialling.status == E_CONNECT); /* no route at all */
    assert_true(resolving.status == E_SHUTDOWN || resolving.status == E_CONNECT);
    assert_int_equal(s->disconnects, 0);
}

static void an_address_that_never_answers_runs_into_the_connect_timeout(void **state)
{
    struct side *s = *state;
    rpc_shut(s);
    s->closed = false;
    s->opts.connect_timeout_ms = 150;
    assert_int_equal(loop_call(&s->loop, open_on_loop, s), 0);
    /* A listener whose backlog is full lets nobody in. */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &n), 0);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&sa, sizeof sa) != 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
    struct outcome o = {0};
    assert_int_equal(call(s, address, CODE_ECHO, "", 20000, &o), 0);
    await(&o);
    assert_int_equal(o.status, E_CONNECT);
    assert_contains(o.text, "timed out");
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}

static bool has_push(void *arg)
{
    return ((struct side *)arg)->pushes > 0;
}

static void a_push_of_the_peer_is_handed_over(void **state)
{
    struct side *s = *state;
    struct outcome o = {0};
    assert_int_equal(call(s, s->address, CODE_PUSH, "", 5000, &o), 0);
    assert_true(wait_until(has_push, s, DEADLINE_MS));
    assert_string_equal(s->pushed, "pushed");
    await(&o);
}

static bool has_requests(void *arg)
{
    struct side *s = arg;
    struct server_stats st;
    server_stats_get(s->rig.server, &st);
    return st.requests >= 2;
}

static void a_oneway_request_arrives_and_expects_nothing(void **state)
{
    struct side *s = *state;
    assert_int_equal(call(s, s->address, CODE_ECHO, "1", 1000, NULL), 0); /* dials */
    assert_int_equal(call(s, s->address, CODE_ECHO, "2", 1000, NULL), 0);
    assert_true(wait_until(has_requests, s, DEADLINE_MS));
}

static void calls_beyond_the_bound_are_refused(void **state)
{
    enum { BOUND = 3 };
    struct side *s = *state;
    rpc_shut(s);
    s->closed = false;
    s->opts.inflight_max = BOUND;
    assert_int_equal(loop_call(&s->loop, open_on_loop, s), 0);
    struct outcome o[BOUND + 1] = {0}, after = {0};
    for (int i = 0; i < BOUND; i++)
        assert_int_equal(call(s, s->address, CODE_SILENT, "", 200, &o[i]), 0);
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 200, &o[BOUND]), E_BUSY);
    for (int i = 0; i < BOUND; i++)
        await(&o[i]);
    assert_int_equal(call(s, s->address, CODE_ECHO, "room", 5000, &after), 0);
    await(&after);
    assert_string_equal(after.body, "room");
}

static void a_request_larger_than_a_frame_is_refused(void **state)
{
    struct side *s = *state;
    struct outcome o = {0}, after = {0};
    char *body = malloc(FRAME_MAX + 1);
    memset(body, 'x', FRAME_MAX);
    body[FRAME_MAX] = '\0';
    assert_int_equal(call(s, s->address, CODE_ECHO, body, 5000, &o), E_TOOBIG);
    free(body);
    assert_int_equal(call(s, s->address, CODE_ECHO, "small", 5000, &after), 0);
    await(&after);
    assert_string_equal(after.body, "small");
}

struct open_attempt {
    struct rpc_opts opts;
    struct rpc *rpc;
    int rc;
    struct err e;
};

static void attempt_on_loop(void *arg)
{
    struct open_attempt *a = arg;
    a->rc = rpc_open(&a->rpc, &a->opts, &a->e);
}

static void another_language_than_ours_cannot_be_claimed(void **state)
{
    struct side *s = *state;
    struct open_attempt a = {.opts = s->opts};
    a.opts.language = LANGUAGE_GO;
    assert_int_equal(loop_call(&s->loop, attempt_on_loop, &a), 0);
    assert_code(a.rc, E_UNSUPP, &a.e);
}

/* --- peers that answer in their own way: plain sockets --- */

struct stub {
    int listener, fd;
    char address[64];
};

static void stub_open(struct stub *stub)
{
    stub->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    assert_int_equal(bind(stub->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(stub->listener, 8), 0);
    assert_int_equal(getsockname(stub->listener, (struct sockaddr *)&sa, &n), 0);
    snprintf(stub->address, sizeof stub->address, "127.0.0.1:%d", ntohs(sa.sin_port));
}

static void stub_accept(struct stub *stub)
{
    assert_true(peer_readable(stub->listener, DEADLINE_MS));
    stub->fd = accept(stub->listener, NULL, NULL);
    assert_true(stub->fd >= 0);
}

static void stub_close(struct stub *stub)
{
    close(stub->fd);
    close(stub->listener);
}

static void stub_answer(struct stub *stub, int32_t opaque, const char *body)
{
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, RESP_SUCCESS, opaque, COMMAND_FLAG_RESPONSE, slice_str(body));
    peer_send(stub->fd, buf_slice(&b));
    buf_free(&b);
}

struct reply_args {
    struct side *side;
    uint64_t conn_id;
    int rc;
};

static void reply_on_loop(void *arg)
{
    struct reply_args *a = arg;
    a->rc = rpc_push_reply(a->side->rpc, a->conn_id, 41, RESP_SYSTEM_ERROR, "not today", SLICE_LIT("why"));
}

static void a_push_can_be_answered_on_its_connection(void **state)
{
    struct side *s = *state;
    struct stub stub;
    struct answer a;
    stub_open(&stub);
    assert_int_equal(call(s, stub.address, CODE_ECHO, "", 20000, NULL), 0);
    stub_accept(&stub);
    peer_answer(stub.fd, &a); /* the oneway request that dialled */
    answer_free(&a);
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, RC_CHECK_TRANSACTION_STATE, 41, 0, SLICE_LIT("pushed"));
    peer_send(stub.fd, buf_slice(&b));
    buf_free(&b);
    assert_true(wait_until(has_push, s, DEADLINE_MS));
    struct reply_args args = {s, s->push_conn_id, -1};
    assert_int_equal(loop_call(&s->loop, reply_on_loop, &args), 0);
    assert_int_equal(args.rc, 0);
    peer_answer(stub.fd, &a);
    assert_int_equal(a.command.opaque, 41);
    assert_int_equal(a.command.code, RESP_SYSTEM_ERROR);
    assert_int_equal(a.command.flag, COMMAND_FLAG_RESPONSE);
    assert_slice_equal(a.command.remark, "not today");
    assert_slice_equal(a.command.body, "why");
    answer_free(&a);
    args.conn_id = UINT64_MAX;
    assert_int_equal(loop_call(&s->loop, reply_on_loop, &args), 0);
    assert_int_equal(args.rc, E_CLOSED);
    stub_close(&stub);
}

static void a_peer_cannot_answer_for_another(void **state)
{
    struct side *s = *state;
    struct stub good, evil;
    struct outcome of_good = {0}, of_evil = {0};
    struct answer asked_good, asked_evil;
    stub_open(&good);
    stub_open(&evil);
    assert_int_equal(call(s, good.address, CODE_ECHO, "", 20000, &of_good), 0);
    stub_accept(&good);
    assert_int_equal(call(s, evil.address, CODE_ECHO, "", 20000, &of_evil), 0);
    stub_accept(&evil);
    peer_answer(good.fd, &asked_good); /* reads the request */
    peer_answer(evil.fd, &asked_evil);
    stub_answer(&evil, asked_good.command.opaque, "forged");
    stub_answer(&evil, asked_evil.command.opaque, "own");
    await(&of_evil);
    assert_string_equal(of_evil.body, "own");
    assert_int_equal(of_good.done, 0);
    stub_answer(&good, asked_good.command.opaque, "true");
    await(&of_good);
    assert_string_equal(of_good.body, "true");
    answer_free(&asked_good);
    answer_free(&asked_evil);
    stub_close(&good);
    stub_close(&evil);
}

static void an_answer_that_is_no_command_costs_the_connection(void **state)
{
    struct side *s = *state;
    struct stub stub;
    struct outcome o = {0};
    stub_open(&stub);
    assert_int_equal(call(s, stub.address, CODE_ECHO, "", 20000, &o), 0);
    stub_accept(&stub);
    peer_send(stub.fd, SLICE_LIT("\x00\x00\x00\x06\x00\x00\x00\x02{]"));
    await(&o);
    assert_int_equal(o.status, E_PROTO);
    assert_contains(o.text, stub.address);
    expect_closed(stub.fd);
    stub_close(&stub);
}

static void an_unused_connection_is_closed(void **state)
{
    struct side *s = *state;
    rpc_shut(s);
    s->closed = false;
    s->opts.idle_ms = 100;
    assert_int_equal(loop_call(&s->loop, open_on_loop, s), 0);
    struct outcome o = {0}, waiting = {0};
    assert_int_equal(call(s, s->address, CODE_SILENT, "", 400, &waiting), 0);
    await(&waiting); /* longer than idle_ms, but not unused */
    assert_int_equal(waiting.status, E_TIMEOUT);
    assert_int_equal(call(s, s->address, CODE_ECHO, "x", 5000, &o), 0);
    await(&o);
    assert_true(wait_until(server_is_empty, s->rig.server, DEADLINE_MS));
}

/* A call made from the completion of another, as retries are. */
struct chain {
    struct side *side;
    int left;
    struct outcome last;
};

static void chain_done(void *arg, const struct rpc_result *res);

static void chain_call(struct chain *c)
{
    struct rpc_request q = {.address = slice_str(c->side->address), .code = CODE_ECHO, .timeout_ms = 5000};
    MQ_ASSERT(rpc_call(c->side->rpc, &q, chain_done, c, NULL) == 0);
}

static void chain_done(void *arg, const struct rpc_result *res)
{
    struct chain *c = arg;
    MQ_ASSERT(res->status == 0);
    if (--c->left > 0)
        chain_call(c);
    else
        c->last.done = 1;
}

static void chain_on_loop(void *arg)
{
    chain_call(arg);
}

static void a_completion_may_call_again(void **state)
{
    struct side *s = *state;
    struct chain c = {s, 200, {0}};
    assert_int_equal(loop_call(&s->loop, chain_on_loop, &c), 0);
    await(&c.last);
    assert_int_equal(c.left, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_call_gets_the_answer_of_its_peer),
        TEST(an_error_code_of_the_peer_is_an_answer_too),
        TEST(many_calls_in_flight_each_get_their_own_answer),
        TEST(a_host_name_is_resolved),
        TEST(a_host_name_that_does_not_exist_fails_to_connect),
        TEST(a_bad_address_is_refused_at_once),
        TEST(a_call_without_an_answer_times_out_and_the_connection_stays),
        TEST(a_late_answer_matches_no_later_call),
        TEST(nobody_at_the_address_is_a_connect_failure),
        TEST(a_lost_connection_fails_what_is_pending_and_the_next_call_dials_again),
        TEST(disconnect_fails_what_is_pending),
        TEST(closing_fails_what_is_pending_with_shutdown),
        TEST(an_address_that_never_answers_runs_into_the_connect_timeout),
        TEST(a_push_of_the_peer_is_handed_over),
        TEST(a_oneway_request_arrives_and_expects_nothing),
        TEST(calls_beyond_the_bound_are_refused),
        TEST(a_request_larger_than_a_frame_is_refused),
        TEST(another_language_than_ours_cannot_be_claimed),
        TEST(a_push_can_be_answered_on_its_connection),
        TEST(a_peer_cannot_answer_for_another),
        TEST(an_answer_that_is_no_command_costs_the_connection),
        TEST(an_unused_connection_is_closed),
        TEST(a_completion_may_call_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
