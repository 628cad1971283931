/* mqload: a closed-loop load generator that speaks RocketMQ's remoting protocol to any broker.
 *
 * One thread, one epoll set, C connections with K sends in flight on each. A send is a prebuilt frame
 * in which only the opaque, the unique key and the sequence number at the head of the body change, so
 * that the generator costs a small part of what the broker costs. An answer is matched by its opaque;
 * only code 0 counts as acknowledged.
 *
 * Honesty: every acknowledged sequence number is marked; after the run all queues are pulled from the
 * offset they had before it, and every acknowledged message must be there exactly once, with the
 * right length. A run that cannot count them back prints no rate and exits 1.
 *
 * Figures: rate over the counted part (after --warmup messages), latency from just before the write of
 * a frame to the read of its answer (log-linear histogram, 1.6 % wide buckets), CPU of the process
 * --pid from /proc (user + system, so 10 ms ticks), its resident set at the end, and the part of it that
 * is its own memory (the rest is the page cache of mapped log files that were read).
 *
 * Source of the shapes: SEND_MESSAGE_V2 (310), PULL_MESSAGE (11), UPDATE_AND_CREATE_TOPIC (17). */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/wire.h"

enum { OPAQUE_BASE = 1000000000, SEQ_DIGITS = 16, INBUF = 1 << 20, CONNECTIONS_MAX = 4096 };
enum { HIST_SUB = 64, HIST_MAJOR = 40 };

struct hist {
    uint64_t count[HIST_MAJOR * HIST_SUB];
    uint64_t n;
};

struct link {
    int fd;
    char *in;
    size_t in_n;
    struct buf out;
    size_t out_at;
    int inflight;
};

struct load {
    const char *address, *topic;
    int connections, inflight, queues, pid;
    int64_t messages, warmup, seconds_max;
    size_t body;
    bool verify, header;
    struct host host;
    struct link *links;
    int epoll;
    /* the prebuilt frame and the places that change in it */
    struct buf frame;
    size_t opaque_at, key_at, seq_at, queue_at;
    int64_t next_seq, acked, refused;
    int64_t *sent_ns;    /* by sequence number */
    unsigned char *mark; /* 1 acknowledged, 2 read back */
    int64_t *queue_start;
    struct hist hist;
};

static const struct clock *const clk = &clock_system;

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "mqload: %s: %s\n", what, detail);
    exit(1);
}

static void *must(void *p)
{
    if (p == NULL)
        fail("memory", "out of memory");
    return p;
}

/* --- histogram --- */

static size_t hist_slot(uint64_t ns)
{
    if (ns < HIST_SUB)
        return (size_t)ns;
    const int top = 63 - __builtin_clzll(ns); /* at least 6 */
    const size_t slot = (size_t)(top - 5) * HIST_SUB + (size_t)(ns >> (top - 6)) - HIST_SUB;
    const size_t last = sizeof((struct hist *)0)->count / sizeof(uint64_t) - 1;
    return slot < last ? slot : last;
}

static double hist_slot_us(size_t slot)
{
    if (slot < HIST_SUB)
        return (double)slot / 1000.0;
    const int top = (int)(slot / HIST_SUB) + 5;
    const uint64_t base = (uint64_t)(slot % HIST_SUB + HIST_SUB) << (top - 6);
    return (double)base / 1000.0;
}

static void hist_add(struct hist *h, uint64_t ns)
{
    h->count[hist_slot(ns)]++;
    h->n++;
}

static double hist_quantile_us(const struct hist *h, double q)
{
    const double want = q * (double)h->n;
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof h->count / sizeof h->count[0]; i++) {
        seen += h->count[i];
        if ((double)seen >= want && seen > 0)
            return hist_slot_us(i);
    }
    return 0;
}

/* --- the send frame --- */

static size_t find(const struct buf *b, const char *needle)
{
    const char *at = memmem(b->p, b->n, needle, strlen(needle));
    if (at == NULL)
        fail("frame", needle);
    return (size_t)(at - b->p);
}

static void build_frame(struct load *l)
{
    struct buf props;
    buf_init(&props, 0);
    const char *key = "7F0000010000BEEFBEEF0000000000@@";
    if (props_str_add(&props, PROP_UNIQ_KEY, slice_str(key)) != 0 ||
        props_str_add(&props, PROP_WAIT, SLICE_LIT("true")) != 0)
        fail("frame", "properties");
    const struct hdr_send_message hdr = {.producer_group = SLICE_LIT("bench_group"),
                                         .topic = slice_str(l->topic),
                                         .default_topic = SLICE_LIT("TBW102"),
                                         .default_topic_queue_nums = 4,
                                         .queue_id = 1000,
                                         .born_timestamp = clock_wall(clk),
                                         .properties = buf_slice(&props),
                                         .max_reconsume_times = 0};
    const struct command_out out = {.code = RC_SEND_MESSAGE_V2,
                                    .opaque = OPAQUE_BASE,
                                    .desc = &hdr_desc_send_message,
                                    .names = HDR_SHORT,
                                    .hdr = &hdr};
    struct err e;
    if (command_encode(&l->frame, &out, l->body, &e) != 0)
        fail("frame", e.text);
    l->opaque_at = find(&l->frame, "1000000000");
    l->key_at = find(&l->frame, key) + 16; /* the last 16 digits */
    l->queue_at = find(&l->frame, "\"1000\"") + 1;
    l->seq_at = l->frame.n;
    char *body = must(buf_extend(&l->frame, l->body));
    for (size_t i = 0; i < l->body; i++)
        body[i] = (char)('a' + i % 26);
    buf_free(&props);
}

static void put_digits(char *at, int digits, int64_t v)
{
    for (int i = digits - 1; i >= 0; i--, v /= 10)
        at[i] = (char)('0' + v % 10);
}

static void queue_send(struct load *l, struct link *k)
{
    const int64_t seq = l->next_seq++;
    char *f = l->frame.p;
    put_digits(f + l->opaque_at, 10, OPAQUE_BASE + seq);
    put_digits(f + l->key_at, 16, seq);
    /* "0003" reads as 3: Java and C parse decimal text with leading zeros alike */
    put_digits(f + l->queue_at, 4, seq % l->queues);
    put_digits(f + l->seq_at, SEQ_DIGITS, seq);
    buf_add(&k->out, f, l->frame.n);
    l->sent_ns[seq] = clock_mono_ns(clk);
    k->inflight++;
}

static void flush_out(struct load *l, struct link *k)
{
    while (k->out_at < k->out.n) {
        const ssize_t n =
            send(k->fd, k->out.p + k->out_at, k->out.n - k->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            fail("send", strerror(errno));
        k->out_at += (size_t)n;
    }
    const bool rest = k->out_at < k->out.n;
    struct epoll_event ev = {.events = rest ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = k};
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, k->fd, &ev);
    if (!rest) {
        buf_clear(&k->out);
        k->out_at = 0;
    }
}

/* Integer member of a JSON header, found by its name; our own send answers and Apache's both hold
 * "code" and "opaque" once, outside of strings. */
static int64_t member(const char *h, size_t n, const char *name)
{
    const char *at = memmem(h, n, name, strlen(name));
    if (at == NULL)
        return -1;
    const char *p = at + strlen(name), *end = h + n;
    int64_t v = 0;
    while (p < end && *p >= '0' && *p <= '9')
        v = v * 10 + (*p++ - '0');
    return v;
}

static void take_answers(struct load *l, struct link *k)
{
    size_t at = 0;
    const int64_t now = clock_mono_ns(clk);
    while (k->in_n - at >= 8) {
        const size_t total = (size_t)be32_get(k->in + at) + 4;
        if (k->in_n - at < total)
            break;
        const size_t header_n = be32_get(k->in + at + 4) & 0xFFFFFF;
        const char *h = k->in + at + 8;
        const int64_t seq = member(h, header_n, "\"opaque\":") - OPAQUE_BASE;
        if (seq < 0 || seq >= l->next_seq)
            fail("answer", "an opaque that was never sent");
        if (member(h, header_n, "\"code\":") == 0) {
            l->mark[seq] = 1;
            l->acked++;
            if (seq >= l->warmup)
                hist_add(&l->hist, (uint64_t)(now - l->sent_ns[seq]));
        } else if (l->refused++ == 0) {
            fprintf(stderr, "mqload: first refusal: %.*s\n", (int)header_n, h);
        }
        k->inflight--;
        at += total;
    }
    k->in_n -= at;
    memmove(k->in, k->in + at, k->in_n);
}

static void turn(struct load *l, struct link *k, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        const ssize_t n = recv(k->fd, k->in + k->in_n, INBUF - k->in_n, MSG_DONTWAIT);
        if (n == 0)
            fail("recv", "the broker closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            fail("recv", strerror(errno));
        if (n > 0) {
            k->in_n += (size_t)n;
            take_answers(l, k);
        }
    }
    while (k->inflight < l->inflight && l->next_seq < l->messages)
        queue_send(l, k);
    flush_out(l, k);
}

/* --- the observed process --- */

static int64_t cpu_ticks(int pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    long long user = 0, sys = 0;
    if (p == NULL ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user, &sys) != 2)
        return -1;
    return user + sys;
}

/* One "Name:  123 kB" line of the process's status; -1 when it cannot be read. */
static int64_t status_kib(int pid, const char *name)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    long long kib = -1;
    const size_t n = strlen(name);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, n) == 0 && sscanf(line + n, ": %lld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

/* --- reading back --- */

static int mark_read(void *arg, const struct message *m, struct err *e)
{
    struct load *l = arg;
    int64_t seq = -1;
    if (m->body.n != l->body || slice_i64(slice_of(m->body.p, SEQ_DIGITS), &seq) != 0 || seq < 0 ||
        seq >= l->messages)
        return err_set(e, E_CORRUPT, "a message that was never sent");
    if (l->mark[seq] >= 2)
        return err_set(e, E_CORRUPT, "message %lld is stored twice", (long long)seq);
    l->mark[seq] = l->mark[seq] == 1 ? 2 : 3;
    return 0;
}

static void read_back(struct load *l, int fd)
{
    struct err e;
    for (int q = 0; q < l->queues; q++) {
        int64_t end = 0;
        if (wire_max_offset(fd, l->topic, q, &end, &e) != 0 ||
            wire_read_queue(fd, l->topic, q, l->queue_start[q], end, mark_read, l, &e) != 0)
            fail("read back", e.text);
    }
    int64_t lost = 0;
    for (int64_t i = 0; i < l->messages; i++)
        lost += l->mark[i] == 1;
    if (lost > 0) {
        fprintf(stderr, "mqload: %lld acknowledged messages cannot be read back\n",
                (long long)lost);
        exit(1);
    }
}

static int dial(const struct load *l)
{
    struct err e;
    const int fd = wire_dial(&l->host, &e);
    if (fd < 0)
        fail(l->address, e.text);
    return fd;
}

static void run(struct load *l)
{
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < l->connections; i++) {
        struct link *k = &l->links[i];
        k->fd = dial(l);
        k->in = must(malloc(INBUF));
        buf_init(&k->out, 0);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, k->fd, &ev);
    }
    for (int i = 0; i < l->connections; i++)
        turn(l, &l->links[i], 0);

    int64_t started = clock_mono_ns(clk), cpu = cpu_ticks(l->pid);
    bool counting = l->warmup == 0;
    const int64_t deadline = started + l->seconds_max * 1000000000LL;
    while (l->acked + l->refused < l->messages) {
        struct epoll_event evs[256];
        const int n = epoll_wait(l->epoll, evs, 256, 1000);
        for (int i = 0; i < n; i++)
            turn(l, evs[i].data.ptr, evs[i].events);
        if (!counting && l->acked >= l->warmup) {
            counting = true;
            started = clock_mono_ns(clk);
            cpu = cpu_ticks(l->pid);
        }
        if (clock_mono_ns(clk) > deadline)
            fail("time", "the run did not finish within --seconds-max");
    }
    const double seconds = (double)(clock_mono_ns(clk) - started) / 1e9;
    const double counted = (double)(l->messages - l->warmup);
    const int64_t ticks = cpu_ticks(l->pid) - cpu;
    const int64_t rss = status_kib(l->pid, "VmRSS"), anon = status_kib(l->pid, "RssAnon");
    for (int i = 0; i < l->connections; i++)
        close(l->links[i].fd);

    if (l->verify) {
        const int fd = dial(l);
        read_back(l, fd);
        close(fd);
    }
    if (l->header)
        printf("%-9s %10s %9s %9s %9s %9s %9s %8s %8s %10s\n", "load", "acked", "msg/s", "p50 us",
               "p99 us", "p99.9 us", "cpu us", "rss MB", "anon MB", "read back");
    char name[32], cpu_text[32] = "-", rss_text[32] = "-", anon_text[32] = "-";
    snprintf(name, sizeof name, "%dx%d", l->connections, l->inflight);
    if (l->pid > 0 && cpu >= 0) {
        snprintf(cpu_text, sizeof cpu_text, "%.2f",
                 (double)ticks * 1e6 / (double)sysconf(_SC_CLK_TCK) / counted);
        snprintf(rss_text, sizeof rss_text, "%.1f", (double)rss / 1024.0);
        snprintf(anon_text, sizeof anon_text, "%.1f", (double)anon / 1024.0);
    }
    printf("%-9s %10lld %9.0f %9.0f %9.0f %9.0f %9s %8s %8s %10s\n", name, (long long)l->acked,
           counted / seconds, hist_quantile_us(&l->hist, 0.50), hist_quantile_us(&l->hist, 0.99),
           hist_quantile_us(&l->hist, 0.999), cpu_text, rss_text, anon_text,
           l->verify ? "all" : "not done");
    if (l->refused > 0)
        printf("%lld sends were refused\n", (long long)l->refused);
}

static const char usage[] =
    "usage: mqload --addr HOST:PORT [options]\n"
    "  --connections N   [1]        --inflight N   sends in flight on each connection [1]\n"
    "  --messages N      [100000]   --warmup N     the first N are not timed [10 %]\n"
    "  --body BYTES      [1024]     --queues N     of the topic, created when missing [8]\n"
    "  --topic NAME      [BenchLoad] --pid PID     process whose CPU and memory are reported\n"
    "  --no-verify       do not read everything back      --no-header\n"
    "  --seconds-max N   give up after this long [300]\n";

static int64_t number(const char *name, const char *text, int64_t min, int64_t max)
{
    int64_t v;
    if (slice_i64(slice_str(text), &v) != 0 || v < min || v > max) {
        fprintf(stderr, "mqload: --%s: %s is not a number from %lld to %lld\n%s", name, text,
                (long long)min, (long long)max, usage);
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"addr", 1, NULL, 'a'},      {"connections", 1, NULL, 'c'},
        {"inflight", 1, NULL, 'i'},  {"messages", 1, NULL, 'm'},
        {"warmup", 1, NULL, 'w'},    {"body", 1, NULL, 'b'},
        {"queues", 1, NULL, 'q'},    {"topic", 1, NULL, 't'},
        {"pid", 1, NULL, 'p'},       {"no-verify", 0, NULL, 'n'},
        {"no-header", 0, NULL, 'N'}, {"seconds-max", 1, NULL, 's'},
        {"help", 0, NULL, 'h'},      {NULL, 0, NULL, 0}};
    struct load l = {.topic = "BenchLoad",
                     .connections = 1,
                     .inflight = 1,
                     .queues = 8,
                     .messages = 100000,
                     .warmup = -1,
                     .seconds_max = 300,
                     .body = 1024,
                     .verify = true,
                     .header = true};
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'a':
            l.address = optarg;
            break;
        case 't':
            l.topic = optarg;
            break;
        case 'c':
            l.connections = (int)number("connections", optarg, 1, CONNECTIONS_MAX);
            break;
        case 'i':
            l.inflight = (int)number("inflight", optarg, 1, 100000);
            break;
        case 'm':
            l.messages = number("messages", optarg, 1, 100000000);
            break;
        case 'w':
            l.warmup = number("warmup", optarg, 0, 100000000);
            break;
        case 'b':
            l.body = (size_t)number("body", optarg, SEQ_DIGITS, 4 << 20);
            break;
        case 'q':
            l.queues = (int)number("queues", optarg, 1, 1000);
            break;
        case 'p':
            l.pid = (int)number("pid", optarg, 1, INT32_MAX);
            break;
        case 's':
            l.seconds_max = number("seconds-max", optarg, 1, 86400);
            break;
        case 'n':
            l.verify = false;
            break;
        case 'N':
            l.header = false;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (l.address == NULL || host_parse(slice_str(l.address), &l.host) != 0 || l.host.len != 4) {
        fprintf(stderr, "mqload: --addr wants an IPv4 HOST:PORT\n%s", usage);
        return 2;
    }
    if (l.warmup < 0)
        l.warmup = l.messages / 10;
    l.links = must(calloc((size_t)l.connections, sizeof *l.links));
    l.sent_ns = must(calloc((size_t)l.messages, sizeof *l.sent_ns));
    l.mark = must(calloc((size_t)l.messages, 1));
    l.queue_start = must(calloc((size_t)l.queues, sizeof *l.queue_start));
    buf_init(&l.frame, 0);

    struct err e;
    const int fd = dial(&l);
    if (wire_create_topic(fd, l.topic, l.queues, &e) != 0)
        fail(l.address, e.text);
    for (int q = 0; q < l.queues; q++)
        if (wire_max_offset(fd, l.topic, q, &l.queue_start[q], &e) != 0)
            fail(l.address, e.text);
    close(fd);
    build_frame(&l);
    run(&l);
    return l.refused > 0;
}
