/* mqcrash: kill -9 of a real broker at random instants, and the account afterwards (R1).
 *
 * A cycle: start mqbroker on the same directory, check everything, send from lanes of every kind
 * (load.h), and end it at a random instant:
 *   6 of 10  kill -9 under load
 *   2 of 10  the same, and once or twice more while it recovers
 *   2 of 10  SIGTERM under load, then kill -9 at a random instant of the orderly stop, unless it has
 *            ended by then
 * After each start: all new messages are read and judged (account.h: lost, invented, gaps, disorder);
 * acknowledged messages with keys are found by key; acknowledged topics are there; a consumer offset
 * is not behind what a start before had found on disk, not beyond what was ever committed, and after an
 * orderly stop exactly what was acknowledged last.
 * Every --store-cycles cycles everything is read once more from the beginning, the broker stops in
 * order, and a new store begins, so that any number of cycles fits a disk.
 *
 * Randomness comes from one seed, which is printed. Exit code 0: nothing found; 1: the finding is on
 * stderr, the directory stays; 2: the test itself could not be made. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "tests/chaos/broker.h"
#include "tests/chaos/load.h"

enum { LOAD_MIN_MS = 40, LOAD_SPAN_MS = 600, STOP_SPAN_MS = 60, KEYS_LOOKED_UP = 16, KEY_WAIT_MS = 20000 };

static const struct clock *const clk = &clock_system;
static const enum lane_kind lanes[] = {LANE_PIPELINE, LANE_PIPELINE, LANE_SINGLE, LANE_BATCH,
                                       LANE_TX,       LANE_CONSUMER, LANE_ADMIN};
enum { LANES = sizeof lanes / sizeof *lanes };

struct totals {
    int64_t under_load, starting, stopping, orderly; /* ends */
    int64_t sent, acked, stored, keys, topics;
};

struct crash {
    struct chaos_broker broker;
    const char *flush;
    uint64_t seed;
    int cycles, store_cycles, cycle;
    struct rng rng;
    struct account account;
    struct load load;
    int64_t floor[ACCOUNT_QUEUES]; /* consumer offsets as found after the last start */
    bool orderly;                  /* how the broker ended last */
    int64_t other;                 /* findings that are no messages */
    struct totals t;
};

static int64_t findings(const struct crash *c)
{
    return account_findings(&c->account) + c->load.findings + c->other;
}

/* ---- after a start ---- */

static void check_offsets(struct crash *c, int fd)
{
    struct buf store;
    struct err e;
    buf_init(&store, 0);
    for (int q = 0; q < ACCOUNT_QUEUES; q++) {
        struct command a;
        int64_t at = 0;
        const struct hdr_query_consumer_offset h = {.consumer_group = SLICE_LIT("TOOLS_CONSUMER"),
                                                    .topic = SLICE_LIT(ACCOUNT_TOPIC), .queue_id = q,
                                                    .set_zero_if_not_found = true};
        if (wire_ask(fd, RC_QUERY_CONSUMER_OFFSET, &h, &store, &a, &e) != 0)
            chaos_die("consumer offset", e.text);
        if (a.code != RESP_SUCCESS || slice_i64(command_ext(&a, "offset"), &at) != 0)
            account_find(&c->account, &c->other, "consumer offset of queue %d: code %d", q, a.code);
        else if (at < c->floor[q] || at > c->load.commit_sent[q] || (c->orderly && at < c->load.committed[q]))
            account_find(&c->account, &c->other, "consumer offset of queue %d is %lld: %lld was found before, %lld "
                         "acknowledged, %lld sent; the last stop was %s", q, (long long)at, (long long)c->floor[q],
                         (long long)c->load.committed[q], (long long)c->load.commit_sent[q],
                         c->orderly ? "orderly" : "a kill");
        c->floor[q] = c->load.committed[q] = c->load.commit_sent[q] = at;
    }
    buf_free(&store);
}

/* Committing 0 in a topic's last queue tells whether the topic is there with all its queues. */
static void check_topics(struct crash *c, int fd)
{
    struct buf store;
    struct err e;
    buf_init(&store, 0);
    for (int64_t i = 0; i < c->load.topic_n; i++) {
        struct command a;
        char name[32];
        snprintf(name, sizeof name, ACCOUNT_TOPIC "-%lld", (long long)i);
        const struct hdr_update_consumer_offset h = {.consumer_group = SLICE_LIT("TOOLS_CONSUMER"),
                                                     .topic = slice_str(name), .queue_id = (int32_t)(i % 8)};
        if (!c->load.topic_made[i])
            continue;
        if (wire_ask(fd, RC_UPDATE_CONSUMER_OFFSET, &h, &store, &a, &e) != 0)
            chaos_die(name, e.text);
        if (a.code != RESP_SUCCESS)
            account_find(&c->account, &c->other, "topic %s was created and is gone: code %d: " SLICE_FMT, name, a.code,
                         SLICE_ARG(a.remark));
        c->t.topics++;
    }
    buf_free(&store);
}

/* Is the message among the answer's records? */
static bool answer_has(const struct crash *c, struct slice records, int64_t seq)
{
    char body[ACCOUNT_BODY_MAX + 1];
    const struct slice want = slice_of(body, account_body(&c->account, seq, body));
    struct message m;
    while (records.n > 0 && message_decode(records, MESSAGE_CHECK_CRC, &m, NULL) == 0) {
        if (slice_eq(m.body, want))
            return true;
        records.p += m.total_size;
        records.n -= (size_t)m.total_size;
    }
    return false;
}

/* The index trails the log, so an answer is waited for. */
static void look_up(struct crash *c, int fd, int64_t seq, struct buf *store)
{
    const int64_t deadline = clock_mono(clk) + KEY_WAIT_MS;
    struct command a;
    struct err e;
    char key[32];
    account_key(&c->account, seq, key);
    c->t.keys++;
    do {
        const struct hdr_query_message h = {.topic = SLICE_LIT(ACCOUNT_TOPIC), .key = slice_str(key), .max_num = 32,
                                            .end_ms = INT64_MAX};
        if (wire_ask(fd, RC_QUERY_MESSAGE, &h, store, &a, &e) != 0)
            chaos_die("query by key", e.text);
        if (a.code == RESP_SUCCESS && answer_has(c, a.body, seq))
            return;
        clock_sleep(1);
    } while (clock_mono(clk) < deadline);
    account_find(&c->account, &c->other, "message %lld was acknowledged and is not found by its key %s: code %d",
                 (long long)seq, key, a.code);
}

/* The youngest ones and as many from anywhere. */
static void check_keys(struct crash *c, int fd)
{
    const struct account *a = &c->account;
    struct buf store;
    char key[32];
    int found = 0;
    buf_init(&store, 0);
    for (int64_t i = a->n; i-- > 0 && found < KEYS_LOOKED_UP && findings(c) == 0;)
        if (a->entries[i].fate == FATE_MUST && account_key(a, i, key)) {
            look_up(c, fd, i, &store);
            found++;
        }
    for (int i = 0; a->n > 0 && i < KEYS_LOOKED_UP && findings(c) == 0; i++) {
        const int64_t seq = (int64_t)rng_below(&c->rng, (uint64_t)a->n);
        if (a->entries[seq].fate == FATE_MUST && account_key(a, seq, key))
            look_up(c, fd, seq, &store);
    }
    buf_free(&store);
}

static void check_all(struct crash *c)
{
    struct err e;
    const int fd = wire_dial(&c->broker.host, &e);
    if (fd < 0 || wire_create_topic(fd, ACCOUNT_TOPIC, ACCOUNT_QUEUES, &e) != 0 ||
        account_read(&c->account, fd, &e) != 0)
        chaos_die("reading back", e.text);
    check_offsets(c, fd);
    check_topics(c, fd);
    check_keys(c, fd);
    close(fd);
}

/* ---- cycles ---- */

static bool ready(struct crash *c)
{
    if (chaos_broker_await(&c->broker))
        return true;
    account_find(&c->account, &c->other, "the broker does not start; see %s/out", c->broker.dir);
    return false;
}

static void die_while_starting(struct crash *c, int times)
{
    const uint64_t span = (uint64_t)c->broker.ready_ms + 5;
    for (int i = 0; i < times; i++) {
        chaos_broker_launch(&c->broker);
        clock_sleep((int64_t)rng_below(&c->rng, span));
        chaos_broker_kill(&c->broker);
        c->t.starting++;
    }
}

static void take_last_answers(struct crash *c)
{
    while (load_turn(&c->load, false, 100) > 0) {
    }
    load_disconnect(&c->load);
}

static void stop_and_kill(struct crash *c)
{
    const int64_t end = clock_mono(clk) + (int64_t)rng_below(&c->rng, STOP_SPAN_MS);
    c->load.may_refuse = true;
    (void)process_signal(c->broker.process, SIGTERM);
    while (clock_mono(clk) < end && load_turn(&c->load, true, 1) > 0) {
    }
    const int64_t left = end - clock_mono(clk);
    const int code = chaos_broker_end(&c->broker, left > 0 ? left : 0);
    c->orderly = code == 0;
    c->t.orderly += code == 0;
    c->t.stopping += code != 0;
    if (code != 0 && code != 256 + SIGKILL)
        account_find(&c->account, &c->other, "SIGTERM under load: exit code %d", code);
    take_last_answers(c);
    c->load.may_refuse = false;
}

static void load_until(struct crash *c, int64_t end)
{
    while (clock_mono(clk) < end)
        if (load_turn(&c->load, true, 5) < LANES) {
            account_find(&c->account, &c->other, "the broker closed a connection under load");
            return;
        }
}

static void cycle(struct crash *c)
{
    struct err e;
    const uint64_t way = rng_below(&c->rng, 10);
    if (way < 2)
        die_while_starting(c, 1 + (int)rng_below(&c->rng, 2));
    chaos_broker_launch(&c->broker);
    if (!ready(c))
        return;
    check_all(c);
    if (findings(c) > 0)
        return;
    if (load_connect(&c->load, &c->broker.host, &e) != 0)
        chaos_die("connect", e.text);
    load_until(c, clock_mono(clk) + LOAD_MIN_MS + (int64_t)rng_below(&c->rng, LOAD_SPAN_MS));
    if (way >= 8) {
        stop_and_kill(c);
        return;
    }
    chaos_broker_kill(&c->broker);
    take_last_answers(c);
    c->orderly = false;
    c->t.under_load++;
}

/* Everything once more, from the beginning; then the next store begins. */
static void close_store(struct crash *c)
{
    struct err e;
    char path[PATH_MAX];
    chaos_broker_launch(&c->broker);
    if (!ready(c))
        return;
    check_all(c);
    account_rewind(&c->account);
    check_all(c);
    c->t.sent += c->account.n;
    c->t.acked += c->account.acked;
    c->t.stored += c->account.stored;
    if (findings(c) > 0)
        return;
    chaos_broker_stop(&c->broker);
    snprintf(path, sizeof path, "%s/store", c->broker.dir);
    if (fs_remove_tree(&fs_real, path, &e) != 0)
        chaos_die(path, e.text);
}

static void open_store(struct crash *c)
{
    account_free(&c->account);
    account_init(&c->account, rng_u64(&c->rng) >> 1);
    load_forget(&c->load);
    memset(c->floor, 0, sizeof c->floor);
    c->orderly = false;
}

static void show_progress(const struct crash *c)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r  %s: cycle %d of %d, %lld messages acknowledged ", c->flush, c->cycle, c->cycles,
                (long long)(c->t.acked + c->account.acked));
}

static void run(struct crash *c)
{
    for (c->cycle = 1; c->cycle <= c->cycles && findings(c) == 0; c->cycle++) {
        if ((c->cycle - 1) % c->store_cycles == 0)
            open_store(c);
        cycle(c);
        if (findings(c) == 0 && (c->cycle % c->store_cycles == 0 || c->cycle == c->cycles))
            close_store(c);
        show_progress(c);
    }
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void report(const struct crash *c)
{
    const struct account *a = &c->account;
    const struct totals *t = &c->t;
    printf("%s: kills %lld (under load %lld, starting %lld, stopping %lld), orderly stops %lld, sent %lld, "
           "acknowledged %lld, stored %lld, lost %lld, invented %lld, gaps %lld, disorder %lld, keys looked up %lld, "
           "topics looked up %lld, other findings %lld, seed %lld\n",
           c->flush, (long long)(t->under_load + t->starting + t->stopping), (long long)t->under_load,
           (long long)t->starting, (long long)t->stopping, (long long)t->orderly, (long long)t->sent,
           (long long)t->acked, (long long)t->stored, (long long)a->lost, (long long)a->invented, (long long)a->gaps,
           (long long)a->disorder, (long long)t->keys, (long long)t->topics, (long long)(c->other + c->load.findings),
           (long long)c->seed);
    if (findings(c) > 0)
        fprintf(stderr, "mqcrash: cycle %d: %s\nmqcrash: kept %s; again with --seed %lld\n", c->cycle - 1, a->first,
                c->broker.dir, (long long)c->seed);
}

/* ---- command line ---- */

static const char usage[] =
    "usage: mqcrash --broker PROGRAM --dir DIRECTORY [--flush ASYNC_FLUSH|SYNC_FLUSH] [--cycles N]\n"
    "               [--store-cycles N] [--seed N]\n";

static _Noreturn void usage_error(const char *option, const char *value)
{
    fprintf(stderr, "mqcrash: %s %s is not possible\n%s", option, value, usage);
    exit(2);
}

static int64_t number(const char *option, const char *text, int64_t min, int64_t max)
{
    int64_t v;
    if (slice_i64(slice_str(text), &v) != 0 || v < min || v > max)
        usage_error(option, text);
    return v;
}

static void parse(int argc, char **argv, struct crash *c)
{
    static const struct option options[] = {{"broker", 1, NULL, 'b'}, {"dir", 1, NULL, 'd'},
                                            {"cycles", 1, NULL, 'c'}, {"flush", 1, NULL, 'f'},
                                            {"seed", 1, NULL, 's'},   {"store-cycles", 1, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'b': c->broker.program = optarg; break;
        case 'd': c->broker.dir = optarg; break;
        case 'c': c->cycles = (int)number("--cycles", optarg, 1, 1000000); break;
        case 'n': c->store_cycles = (int)number("--store-cycles", optarg, 1, 1000000); break;
        case 's': c->seed = (uint64_t)number("--seed", optarg, 0, INT64_MAX); break;
        case 'f':
            if (strcmp(optarg, "ASYNC_FLUSH") != 0 && strcmp(optarg, "SYNC_FLUSH") != 0)
                usage_error("--flush", optarg);
            c->flush = optarg;
            break;
        default: fputs(usage, stderr); exit(2);
        }
    if (c->broker.program == NULL || c->broker.dir == NULL || optind < argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct crash c = {.flush = "SYNC_FLUSH", .cycles = 50, .store_cycles = 50};
    char conf[512];
    c.seed = rng_seed_from_os() >> 1;
    parse(argc, argv, &c);
    rng_seed(&c.rng, c.seed);
    snprintf(conf, sizeof conf, "flushDiskType=%s\nmappedFileSizeCommitLog=33554432\nmappedFileSizeConsumeQueue=200000\n"
             "maxHashSlotNum=20000\nmaxIndexNum=80000\nflushConsumerOffsetInterval=100\n", c.flush);
    chaos_broker_conf(&c.broker, conf);
    account_init(&c.account, 0);
    load_init(&c.load, &c.account, lanes, LANES);
    run(&c);
    report(&c);
    load_free(&c.load);
    account_free(&c.account);
    return findings(&c) > 0;
}
