/* mqcrash: kill -9 of a real broker under load at random instants, and the account afterwards.
 *
 * A cycle: start mqbroker on the same directory, check everything that is new in the log, send on
 * several connections with many requests in flight, kill the broker at a random instant (sometimes a
 * second time while it recovers). The account, over all cycles together:
 *   lost      an acknowledged message that cannot be read, or not at the queue offset it was told
 *   invented  a message that was never sent, is stored twice, or whose bytes differ
 *   gaps      a queue whose offsets are not 0, 1, 2, ... as read
 *   disorder  messages of one connection in one queue out of the order they were sent in
 * All four must be 0. Sends without an answer may be there or not.
 *
 * Every message is a function of its sequence number (length 16..4111 bytes, content by a seeded
 * generator), so that the reader recomputes it. Randomness comes from one seed, printed at the start.
 * Nothing here is shared with the client library. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "bench/wire.h"

enum { QUEUES = 8, CONNECTIONS = 4, INFLIGHT = 32, BODY_MIN = 32, BODY_SPAN = 4096 };
enum { READY_MS = 60000, LOAD_MIN_MS = 40, LOAD_SPAN_MS = 600 };
#define TOPIC "CrashLoop"

static const struct clock *const clk = &clock_system;

struct told {      /* what an acknowledgement promised */
    int32_t queue; /* -1: not acknowledged */
    int64_t offset;
};

struct sender {
    int fd;
    char in[64 * 1024];
    size_t in_n;
    struct buf out;
    size_t out_at;
    int inflight;
};

struct crash {
    const char *broker, *dir, *flush;
    uint64_t seed;
    int cycles;
    struct rng rng;
    pid_t pid;
    struct host host;
    struct sender senders[CONNECTIONS];
    struct told *told; /* by sequence number */
    unsigned char *seen;
    int64_t next_seq, seq_max;
    int64_t read_to[QUEUES]; /* read and checked below */
    int64_t last_seq[QUEUES][CONNECTIONS];
    int64_t acked, stored, lost, invented, gaps, disorder;
    int current_queue;
};

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "mqcrash: %s: %s\n", what, detail);
    exit(1);
}

/* --- the broker process --- */

static void write_conf(const struct crash *c)
{
    char path[512];
    snprintf(path, sizeof path, "%s/broker.conf", c->dir);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        fail(path, strerror(errno));
    fprintf(
        f,
        "brokerName=crash\nbrokerIP1=127.0.0.1\nlistenPort=0\nstorePathRootDir=%s/store\n"
        "flushDiskType=%s\nmappedFileSizeCommitLog=33554432\nmappedFileSizeConsumeQueue=200000\n",
        c->dir, c->flush);
    if (fclose(f) != 0)
        fail(path, strerror(errno));
}

static void spawn(struct crash *c, int *out_fd)
{
    int p[2];
    if (pipe(p) != 0)
        fail("pipe", strerror(errno));
    char conf[512], log[512];
    snprintf(conf, sizeof conf, "%s/broker.conf", c->dir);
    snprintf(log, sizeof log, "%s/broker.err", c->dir);
    c->pid = fork();
    if (c->pid < 0)
        fail("fork", strerror(errno));
    if (c->pid == 0) {
        dup2(p[1], STDOUT_FILENO);
        if (freopen(log, "a", stderr) == NULL)
            _exit(126);
        close(p[0]);
        close(p[1]);
        execl(c->broker, "mqbroker", "-c", conf, (char *)NULL);
        _exit(127);
    }
    close(p[1]);
    *out_fd = p[0];
}

static void reap(struct crash *c)
{
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

/* Reads the child's output until the boot line names its address. */
static void await_ready(struct crash *c, int fd)
{
    char text[8192];
    size_t n = 0;
    const int64_t deadline = clock_mono(clk) + READY_MS;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int64_t left = deadline - clock_mono(clk);
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            fail("broker", "not ready in time");
        const ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            fail("broker", "ended before it was ready; see broker.err");
        n += (size_t)got;
        text[n] = '\0';
        const char *line = strstr(text, "The broker["), *at = line ? strstr(line, ", ") : NULL;
        const char *end = at ? strchr(at, ']') : NULL;
        if (end == NULL || strstr(end, "boot success") == NULL)
            continue;
        if (host_parse(slice_of(at + 2, (size_t)(end - at - 2)), &c->host) != 0)
            fail("broker", "boot line without an address");
        return;
    }
}

/* --- messages as a function of their number --- */

static size_t make_body(const struct crash *c, int64_t seq, int conn, char *out)
{
    struct rng r;
    rng_seed(&r, c->seed ^ (uint64_t)seq * 0x9E3779B97F4A7C15u);
    const size_t n = BODY_MIN + (size_t)rng_below(&r, BODY_SPAN);
    snprintf(out, BODY_MIN + 1, "%020lld %04d      \n", (long long)seq, conn);
    for (size_t i = BODY_MIN; i < n; i++)
        out[i] = (char)rng_u64(&r);
    return n;
}

static void queue_send(struct crash *c, int conn)
{
    struct sender *s = &c->senders[conn];
    const int64_t seq = c->next_seq++;
    char body[BODY_MIN + BODY_SPAN + 1];
    const size_t n = make_body(c, seq, conn, body);
    const struct hdr_send_message hdr = {.producer_group = SLICE_LIT("crash_group"),
                                         .topic = SLICE_LIT(TOPIC),
                                         .default_topic = SLICE_LIT("TBW102"),
                                         .default_topic_queue_nums = 4,
                                         .queue_id = (int32_t)(seq % QUEUES),
                                         .born_timestamp = clock_wall(clk)};
    const struct command_out out = {.code = RC_SEND_MESSAGE_V2,
                                    .opaque = (int32_t)seq,
                                    .desc = &hdr_desc_send_message,
                                    .names = HDR_SHORT,
                                    .hdr = &hdr};
    struct err e;
    if (command_encode(&s->out, &out, n, &e) != 0)
        fail("encode", e.text);
    buf_add(&s->out, body, n);
    s->inflight++;
}

static void take_answer(struct crash *c, struct sender *s, char *header, size_t n, uint8_t type)
{
    struct command a;
    struct err e;
    if (command_decode(header, n, type, &a, NULL, &e) != 0)
        fail("answer", e.text);
    s->inflight--;
    if (a.code != RESP_SUCCESS || a.opaque < 0 || a.opaque >= c->next_seq)
        fail("answer", "a send was refused");
    struct told *t = &c->told[a.opaque];
    if (slice_i32(command_ext(&a, "queueId"), &t->queue) != 0 ||
        slice_i64(command_ext(&a, "queueOffset"), &t->offset) != 0)
        fail("answer", "no queue offset");
    c->acked++;
}

/* false: the broker is gone. */
static bool pump(struct crash *c, struct sender *s, short events)
{
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        const ssize_t got = recv(s->fd, s->in + s->in_n, sizeof s->in - s->in_n, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
            return false;
        s->in_n += got > 0 ? (size_t)got : 0;
        size_t at = 0;
        while (s->in_n - at >= 8 && s->in_n - at >= (size_t)be32_get(s->in + at) + 4) {
            const size_t total = (size_t)be32_get(s->in + at) + 4;
            take_answer(c, s, s->in + at + 8, be32_get(s->in + at + 4) & 0xFFFFFF,
                        (uint8_t)s->in[at + 4]);
            at += total;
        }
        s->in_n -= at;
        memmove(s->in, s->in + at, s->in_n);
    }
    while (s->out_at < s->out.n) {
        const ssize_t put =
            send(s->fd, s->out.p + s->out_at, s->out.n - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        s->out_at += (size_t)put;
    }
    buf_clear(&s->out);
    s->out_at = 0;
    return true;
}

/* Sends for load_ms, then kills, then takes the answers that had already arrived. */
static void load_and_kill(struct crash *c, int64_t load_ms)
{
    struct err e;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct sender *s = &c->senders[i];
        s->fd = wire_dial(&c->host, &e);
        if (s->fd < 0)
            fail("dial", e.text);
        s->in_n = s->out_at = 0;
        s->inflight = 0;
        buf_clear(&s->out);
    }
    const int64_t end = clock_mono(clk) + load_ms;
    bool alive[CONNECTIONS] = {true, true, true, true};
    bool killed = false;
    int open = CONNECTIONS;
    while (open > 0) {
        struct pollfd p[CONNECTIONS];
        for (int i = 0; i < CONNECTIONS; i++) {
            struct sender *s = &c->senders[i];
            while (!killed && alive[i] && s->inflight < INFLIGHT && c->next_seq < c->seq_max)
                queue_send(c, i);
            p[i] =
                (struct pollfd){.fd = alive[i] ? s->fd : -1,
                                .events = (short)(POLLIN | (s->out.n > s->out_at ? POLLOUT : 0))};
        }
        poll(p, CONNECTIONS, killed ? 100 : 5);
        for (int i = 0; i < CONNECTIONS; i++)
            if (alive[i] && !pump(c, &c->senders[i], p[i].revents)) {
                if (!killed)
                    fail("broker", "closed a connection under load");
                alive[i] = false;
                open--;
            }
        if (!killed && clock_mono(clk) >= end) {
            reap(c);
            killed = true;
        }
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(c->senders[i].fd);
}

/* --- the account --- */

static int check_message(void *arg, const struct message *m, struct err *e)
{
    struct crash *c = arg;
    (void)e;
    const int q = c->current_queue;
    if (m->queue_offset != c->read_to[q])
        c->gaps++;
    c->read_to[q] = m->queue_offset + 1;
    c->stored++;

    int64_t seq = -1;
    int32_t conn = -1;
    char body[BODY_MIN + BODY_SPAN + 1];
    if (m->body.n < BODY_MIN || slice_i64(slice_of(m->body.p, 20), &seq) != 0 || seq < 0 ||
        seq >= c->next_seq || slice_i32(slice_of(m->body.p + 21, 4), &conn) != 0 || conn < 0 ||
        conn >= CONNECTIONS || c->seen[seq] || seq % QUEUES != q ||
        !slice_eq(slice_of(body, make_body(c, seq, conn, body)), m->body)) {
        c->invented++;
        return 0;
    }
    c->seen[seq] = 1;
    if (c->told[seq].queue >= 0 &&
        (c->told[seq].queue != q || c->told[seq].offset != m->queue_offset))
        c->lost++;
    if (seq <= c->last_seq[q][conn])
        c->disorder++;
    c->last_seq[q][conn] = seq;
    return 0;
}

static void read_new(struct crash *c)
{
    struct err e;
    const int fd = wire_dial(&c->host, &e);
    if (fd < 0)
        fail("dial", e.text);
    if (wire_create_topic(fd, TOPIC, QUEUES, &e) != 0)
        fail("topic", e.text);
    for (int q = 0; q < QUEUES; q++) {
        int64_t end = 0;
        c->current_queue = q;
        if (wire_max_offset(fd, TOPIC, q, &end, &e) != 0)
            fail("offset", e.text);
        if (end < c->read_to[q])
            c->gaps++; /* the queue went backwards: what was readable is gone */
        if (wire_read_queue(fd, TOPIC, q, c->read_to[q], end, check_message, c, &e) != 0)
            fail("read", e.text);
    }
    close(fd);
}

static void count_lost(struct crash *c)
{
    for (int64_t i = 0; i < c->next_seq; i++)
        c->lost += c->told[i].queue >= 0 && !c->seen[i];
}

static void cycle(struct crash *c)
{
    int fd;
    spawn(c, &fd);
    if (rng_below(&c->rng, 5) == 0) { /* die while recovering */
        const struct pollfd none = {.fd = -1};
        poll((struct pollfd *)&none, 1, (int)rng_below(&c->rng, 25));
        reap(c);
        close(fd);
        spawn(c, &fd);
    }
    await_ready(c, fd);
    read_new(c);
    load_and_kill(c, LOAD_MIN_MS + (int64_t)rng_below(&c->rng, LOAD_SPAN_MS));
    close(fd);
}

static const char usage[] =
    "usage: mqcrash --broker PROGRAM --dir DIRECTORY [--cycles N] [--flush ASYNC_FLUSH|SYNC_FLUSH] [--seed N]\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"broker", 1, NULL, 'b'}, {"dir", 1, NULL, 'd'},
                                            {"cycles", 1, NULL, 'c'}, {"flush", 1, NULL, 'f'},
                                            {"seed", 1, NULL, 's'},   {NULL, 0, NULL, 0}};
    static struct crash c = {.flush = "SYNC_FLUSH", .cycles = 50};
    int64_t cycles = 50, seed = (int64_t)(rng_seed_from_os() >> 1);
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int rc = 0;
        switch (o) {
        case 'b':
            c.broker = optarg;
            break;
        case 'd':
            c.dir = optarg;
            break;
        case 'c':
            rc = slice_i64(slice_str(optarg), &cycles);
            break;
        case 'f':
            c.flush = optarg;
            break;
        case 's':
            rc = slice_i64(slice_str(optarg), &seed);
            break;
        default:
            rc = E_INVAL;
        }
        if (rc != 0) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (c.broker == NULL || c.dir == NULL || cycles < 1 || cycles > 10000) {
        fputs(usage, stderr);
        return 2;
    }
    c.cycles = (int)cycles;
    c.seed = (uint64_t)seed;
    rng_seed(&c.rng, c.seed);
    c.seq_max = (int64_t)c.cycles * 200000;
    if (c.seq_max > INT32_MAX)
        c.seq_max = INT32_MAX; /* opaques are sequence numbers */
    c.told = malloc((size_t)c.seq_max * sizeof *c.told);
    c.seen = calloc((size_t)c.seq_max, 1);
    if (c.told == NULL || c.seen == NULL)
        fail("memory", "out of memory");
    memset(c.told, 0xFF, (size_t)c.seq_max * sizeof *c.told);
    memset(c.last_seq, 0xFF, sizeof c.last_seq);
    for (int i = 0; i < CONNECTIONS; i++)
        buf_init(&c.senders[i].out, 0);

    printf("%s: %d cycles, seed %lld\n", c.flush, c.cycles, (long long)seed);
    write_conf(&c);
    for (int i = 0; i < c.cycles; i++) {
        cycle(&c);
        printf("  cycle %d/%d: %lld acknowledged, %lld stored so far\n", i + 1, c.cycles,
               (long long)c.acked, (long long)c.stored);
        fflush(stdout);
    }
    int fd;
    spawn(&c, &fd);
    await_ready(&c, fd);
    read_new(&c);
    kill(c.pid, SIGTERM);
    int status = 0;
    waitpid(c.pid, &status, 0);
    close(fd);
    count_lost(&c);
    printf(
        "%s: kills %d, sent %lld, acknowledged %lld, stored %lld, lost %lld, invented %lld, gaps %lld, "
        "disorder %lld\n",
        c.flush, c.cycles, (long long)c.next_seq, (long long)c.acked, (long long)c.stored,
        (long long)c.lost, (long long)c.invented, (long long)c.gaps, (long long)c.disorder);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("broker", "the last orderly stop failed");
    return c.lost + c.invented + c.gaps + c.disorder != 0;
}
