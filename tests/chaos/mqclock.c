/* mqclock: the wall clock of a real broker jumps (R9).
 *
 * The broker runs with shim.c, which adds a number to its wall clock, and to nobody else's; this program
 * keeps time by its own monotonic clock. One run, one jump:
 *   1. sends of every kind, delayed messages, a half message without a verdict, a parked pull;
 *   2. the clock jumps; sends and delayed messages go on. All of these must take their time, neither
 *      less nor much more: delays, the first check of the half, the parked pull. The client stays a
 *      member of its group beyond the next look at expired clients;
 *   3. kill -9 with delayed messages waiting, restart under the moved clock: everything acknowledged is
 *      there, delayed messages come, early ones only where the clock itself says that they are due;
 *   4. the clock jumps back under the running broker; then an orderly restart under the true clock.
 * After each start: store times never go back along the log, the offset for a time is right, and
 * retention (an hour, at any hour) has removed nothing.
 *
 * One cmocka test, so that the assertions of tests/support serve; the exit code is its verdict. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "proto/body.h"
#include "tests/chaos/broker.h"
#include "tests/chaos/load.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"

enum { DELAYS_MAX = 200, LEVEL_1_MS = 1000, LEVEL_3_MS = 5000, TX_TIMEOUT_MS = 2000, POLL_MS = 3000 };
enum { EARLY_MS = 10 /* 1/1000 of the longest, and rounding */, LATE_MS = 3000, EXPIRY_MS = 10700 };
#define DELAY_TOPIC "Delayed"

static const struct clock *const clk = &clock_system;
static const enum lane_kind lanes[] = {LANE_PIPELINE, LANE_SINGLE, LANE_BATCH, LANE_TX};
static const char *const conf =
    "flushDiskType=ASYNC_FLUSH\nmappedFileSizeCommitLog=1048576\nmappedFileSizeConsumeQueue=20000\n"
    "maxMessageSize=65536\nmaxHashSlotNum=1000\nmaxIndexNum=4000\nmessageDelayLevel=1s 2s 5s\n"
    "transactionTimeOut=2000\ntransactionCheckInterval=60000\nchannelExpiredTimeout=30000\n"
    "flushDelayOffsetInterval=100\ncleanResourceInterval=100\nfileReservedTime=1\n"
    "deleteWhen=0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23\n";

static const char *program, *dir, *shim;
static int64_t jump_ms;
static uint64_t seed;

struct timed { /* something that takes its time; monotonic ms of this program */
    int64_t from, upto; /* it began between these */
    int64_t takes_ms, seen;
};

struct scene {
    struct chaos_broker broker;
    char clock_path[PATH_MAX];
    struct account account;
    struct load load;
    struct peer p, client, poller;
    struct timed delays[DELAYS_MAX];
    int delay_n, arrived;
    int64_t delay_read_to, started;
    bool may_be_early; /* the clock that a restart begins with says so */
};

static int64_t now(void)
{
    return clock_mono(clk);
}

static void set_clock(struct scene *s, int64_t shift_ms)
{
    FILE *const f = fopen(s->clock_path, s->started ? "r+" : "w");
    assert_non_null(f);
    assert_int_equal(fwrite(&shift_ms, sizeof shift_ms, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

/* ---- what takes its time ---- */

static void judge(const struct scene *s, const struct timed *t, const char *what)
{
    const int64_t least = t->seen - t->from, most = t->seen - t->upto;
    if (least < t->takes_ms - EARLY_MS && !s->may_be_early)
        fail_msg("%s came early: after at most %lld ms instead of %lld", what, (long long)least,
                 (long long)t->takes_ms);
    if (most > t->takes_ms + t->takes_ms / 16 + LATE_MS)
        fail_msg("%s came late: after at least %lld ms instead of %lld", what, (long long)most,
                 (long long)t->takes_ms);
}

static void send_delayed(struct scene *s, int n, int level)
{
    for (int i = 0; i < n; i++) {
        struct timed *const t = &s->delays[s->delay_n];
        char body[16], props[32];
        assert_true(s->delay_n < DELAYS_MAX);
        snprintf(body, sizeof body, "%d", s->delay_n++);
        snprintf(props, sizeof props, "DELAY\001%d\002", level);
        *t = (struct timed){.from = now(), .takes_ms = level == 1 ? LEVEL_1_MS : LEVEL_3_MS};
        peer_send_message(&s->p, "clock_pg", DELAY_TOPIC, 0, body, props);
        t->upto = now();
    }
}

static void collect_delayed(struct scene *s)
{
    struct message m[32];
    int n;
    peer_pull(&s->p, DELAY_TOPIC, 0, s->delay_read_to, 0, m, 32, &n);
    for (int i = 0; i < n; i++) {
        int32_t number;
        assert_int_equal(slice_i32(m[i].body, &number), 0);
        assert_true(number >= 0 && number < s->delay_n);
        assert_int_equal(m[i].queue_offset, s->delay_read_to++);
        struct timed *const t = &s->delays[number];
        if (t->seen) /* at least once: a kill may deliver again */
            continue;
        t->seen = now();
        s->arrived++;
        judge(s, t, "a delayed message");
    }
}

static void await_delayed(struct scene *s)
{
    const int64_t deadline = now() + LEVEL_3_MS + LEVEL_3_MS / 16 + LATE_MS;
    while (s->arrived < s->delay_n && now() < deadline) {
        collect_delayed(s);
        clock_sleep(2);
    }
    if (s->arrived < s->delay_n)
        fail_msg("%d of %d delayed messages have not come", s->delay_n - s->arrived, s->delay_n);
}

static void park_pull(struct scene *s, struct timed *t)
{
    const struct hdr_pull_message h = {.consumer_group = SLICE_LIT("clock_poll"), .topic = SLICE_LIT(DELAY_TOPIC), .queue_id = 3,
                                       .max_msg_nums = 32, .sys_flag = 6, .suspend_timeout_ms = POLL_MS,
                                       .subscription = SLICE_LIT("*"), .expression_type = SLICE_LIT("TAG")};
    *t = (struct timed){.from = now(), .upto = now(), .takes_ms = POLL_MS};
    peer_send(&s->poller, RC_PULL_MESSAGE, &h, SLICE_NULL, 0);
}

static void send_half(struct scene *s, struct timed *t)
{
    *t = (struct timed){.from = now(), .takes_ms = TX_TIMEOUT_MS};
    peer_send_message(&s->p, "clock_tx", DELAY_TOPIC, 1, "half",
                      "UNIQ_KEY\001H\002TRAN_MSG\001true\002PGROUP\001clock_tx\002");
    t->upto = now();
}

static void await_both(struct scene *s, struct timed *half, struct timed *poll)
{
    const int64_t deadline = now() + POLL_MS + LATE_MS + 1000;
    while ((!half->seen || !poll->seen) && now() < deadline) {
        collect_delayed(s);
        if (!half->seen && peer_push(&s->client, RC_CHECK_TRANSACTION_STATE, 2) != NULL) {
            half->seen = now();
            judge(s, half, "the check of a half message");
        }
        if (!poll->seen && peer_receive(&s->poller, 2) != NULL) {
            poll->seen = now();
            assert_int_equal(s->poller.command.code, RESP_PULL_NOT_FOUND);
            judge(s, poll, "the answer of a parked pull");
        }
    }
    if (!half->seen || !poll->seen)
        fail_msg("has not come: %s", half->seen ? "the answer of a parked pull" : "the check of a half message");
}

/* ---- the log ---- */

struct stamp {
    int64_t phys, ts;
};
struct stamps {
    struct stamp *v;
    size_t n, cap;
};

static int add_stamp(void *arg, const struct message *m, struct err *e)
{
    struct stamps *all = arg;
    (void)e;
    if (all->n == all->cap) {
        all->cap = all->cap ? 2 * all->cap : 4096;
        all->v = realloc(all->v, all->cap * sizeof *all->v);
        assert_non_null(all->v);
    }
    all->v[all->n++] = (struct stamp){m->phys_offset, m->store_timestamp};
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct stamp *x = a, *y = b;
    return (x->phys > y->phys) - (x->phys < y->phys);
}

static void expect_right_offset(struct scene *s, const struct stamps *q)
{
    for (size_t i = q->n / 4; i < q->n; i += q->n / 4 + 1) {
        const struct hdr_search_offset h = {.topic = SLICE_LIT(ACCOUNT_TOPIC), .timestamp = q->v[i].ts};
        const struct command *const c = peer_call(&s->p, RC_SEARCH_OFFSET_BY_TIMESTAMP, &h, SLICE_NULL);
        int64_t at = -1;
        assert_int_equal(c->code, RESP_SUCCESS);
        assert_int_equal(slice_i64(command_ext(c, "offset"), &at), 0);
        assert_true(at >= 0 && (size_t)at < q->n);
        assert_true(q->v[at].ts >= q->v[i].ts);
        assert_true(at == 0 || q->v[at - 1].ts < q->v[i].ts);
    }
}

/* Nothing lost or invented, nothing removed by age, times in order. */
static void check_log(struct scene *s)
{
    struct stamps all = {0};
    struct err e = {0};
    const int fd = wire_dial(&s->broker.host, &e);
    assert_true(fd >= 0);
    assert_ok(account_read(&s->account, fd, &e), &e);
    if (account_findings(&s->account) > 0)
        fail_msg("%s", s->account.first);
    for (int q = 0; q < ACCOUNT_QUEUES; q++) {
        int64_t end;
        assert_ok(wire_max_offset(fd, ACCOUNT_TOPIC, q, &end, &e), &e);
        const size_t before = all.n;
        assert_ok(wire_read_queue(fd, ACCOUNT_TOPIC, q, 0, end, add_stamp, &all, &e), &e);
        assert_int_equal(all.n - before, end); /* the queue still begins at 0 */
        if (q == 0)
            expect_right_offset(s, &all);
    }
    close(fd);
    qsort(all.v, all.n, sizeof *all.v, by_place);
    for (size_t i = 1; i < all.n; i++)
        if (all.v[i].ts < all.v[i - 1].ts)
            fail_msg("store time goes back from %lld to %lld at %lld", (long long)all.v[i - 1].ts,
                     (long long)all.v[i].ts, (long long)all.v[i].phys);
    free(all.v);
}

static void send_load(struct scene *s, int64_t ms)
{
    struct err e = {0};
    assert_ok(load_connect(&s->load, &s->broker.host, &e), &e);
    assert_true(load_run(&s->load, ms));
    load_disconnect(&s->load);
    if (s->load.findings > 0)
        fail_msg("%s", s->account.first);
}

/* ---- the broker's life ---- */

static void connect_peers(struct scene *s)
{
    char address[64];
    host_text(&s->broker.host, address);
    peer_open(&s->p, address);
    peer_open(&s->client, address);
    peer_open(&s->poller, address);
    peer_heartbeat(&s->client, "clock-client", "clock_tx", "clock_cg", DELAY_TOPIC);
}

static void close_peers(struct scene *s)
{
    peer_close(&s->p);
    peer_close(&s->client);
    peer_close(&s->poller);
}

static void start(struct scene *s)
{
    chaos_broker_start(&s->broker);
    s->started = now();
    connect_peers(s);
}

static void expect_member(struct scene *s)
{
    const struct hdr_consumer_group h = {.consumer_group = SLICE_LIT("clock_cg")};
    const struct command *const c = peer_call(&s->p, RC_GET_CONSUMER_LIST_BY_GROUP, &h, SLICE_NULL);
    struct slice *ids;
    json_t *root;
    size_t n;
    struct err e = {0};
    assert_int_equal(c->code, RESP_SUCCESS);
    assert_ok(consumer_list_decode(c->body, &root, &ids, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_slice_equal(ids[0], "clock-client");
    free(ids);
    json_decref(root);
}

static void before_and_after_the_jump(struct scene *s, struct rng *rng)
{
    struct timed half, poll;
    struct err e = {0};
    const int fd = wire_dial(&s->broker.host, &e);
    assert_ok(wire_create_topic(fd, ACCOUNT_TOPIC, ACCOUNT_QUEUES, &e), &e);
    close(fd);
    send_load(s, 200);
    send_delayed(s, 10, 1);
    send_delayed(s, 10, 3);
    send_half(s, &half);
    park_pull(s, &poll);
    clock_sleep((int64_t)rng_below(rng, 900));
    set_clock(s, jump_ms);
    send_delayed(s, 10, 1);
    send_delayed(s, 10, 3);
    send_load(s, 200);
    await_both(s, &half, &poll);
    await_delayed(s);
    if (!process_wait_line(s->broker.process, "event=clock.apart", LATE_MS, NULL, 0))
        fail_msg("the broker does not tell that the clock jumped");
    check_log(s);
    while (now() < s->started + EXPIRY_MS)
        clock_sleep(10);
    expect_member(s);
}

static void a_kill_under_the_moved_clock(struct scene *s)
{
    send_delayed(s, 10, 1);
    send_delayed(s, 10, 3);
    chaos_broker_kill(&s->broker);
    close_peers(s);
    s->may_be_early = jump_ms > 0;
    start(s);
    check_log(s);
    send_load(s, 100);
    await_delayed(s);
    s->may_be_early = false;
    send_delayed(s, 10, 1);
    await_delayed(s);
    check_log(s);
}

static void the_way_back(struct scene *s)
{
    set_clock(s, 0);
    send_delayed(s, 10, 1);
    send_load(s, 100);
    await_delayed(s);
    close_peers(s);
    chaos_broker_stop(&s->broker);
    start(s);
    send_delayed(s, 10, 1);
    send_load(s, 100);
    await_delayed(s);
    expect_member(s);
    check_log(s);
}

static void time_goes_on_when_the_clock_jumps(void **state)
{
    static struct scene s;
    static char preload[PATH_MAX + 16], clock_file[PATH_MAX + 16], asan[512];
    const char *const env[] = {preload, clock_file, asan, NULL}, *const given = getenv("ASAN_OPTIONS");
    struct rng rng;
    (void)state;
    rng_seed(&rng, seed);
    s.broker = (struct chaos_broker){.program = program, .dir = dir, .env = env};
    snprintf(s.clock_path, sizeof s.clock_path, "%s/clock", dir);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", shim);
    snprintf(clock_file, sizeof clock_file, "CHAOS_CLOCK=%s", s.clock_path);
    snprintf(asan, sizeof asan, "ASAN_OPTIONS=%s%sverify_asan_link_order=0", given ? given : "", given ? ":" : "");
    set_clock(&s, 0);
    chaos_broker_conf(&s.broker, conf);
    account_init(&s.account, seed);
    load_init(&s.load, &s.account, lanes, sizeof lanes / sizeof *lanes);
    start(&s);
    before_and_after_the_jump(&s, &rng);
    a_kill_under_the_moved_clock(&s);
    the_way_back(&s);
    close_peers(&s);
    chaos_broker_stop(&s.broker);
    printf("jump %+lld ms: acknowledged %lld, stored %lld, delayed messages %d, lost 0, early 0, late 0\n",
           (long long)jump_ms, (long long)s.account.acked, (long long)s.account.stored, s.delay_n);
    load_free(&s.load);
    account_free(&s.account);
}

static _Noreturn void usage_error(void)
{
    fputs("usage: mqclock --broker PROGRAM --shim SHARED_OBJECT --dir DIRECTORY --jump MILLISECONDS [--seed N]\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"broker", 1, NULL, 'b'}, {"shim", 1, NULL, 'l'}, {"dir", 1, NULL, 'd'},
                                            {"jump", 1, NULL, 'j'},   {"seed", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    int64_t seed_given = (int64_t)(rng_seed_from_os() >> 1);
    int rc = 0;
    for (int o; rc == 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'b': program = optarg; break;
        case 'l': shim = optarg; break;
        case 'd': dir = optarg; break;
        case 'j': rc = slice_i64(slice_str(optarg), &jump_ms); break;
        case 's': rc = slice_i64(slice_str(optarg), &seed_given); break;
        default: rc = E_INVAL;
        }
    if (rc != 0 || program == NULL || shim == NULL || dir == NULL || jump_ms == 0 || seed_given < 0 || optind < argc)
        usage_error();
    seed = (uint64_t)seed_given;
    const struct CMUnitTest tests[] = {cmocka_unit_test(time_goes_on_when_the_clock_jumps)};
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
