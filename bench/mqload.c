/* mqload: load generator and measuring program for any broker that speaks RocketMQ's remoting protocol,
 * and for the servers it is compared with. This file reads the command line; scene_*.c measure, load.c
 * is the engine, rmq_*.c and peer_*.c speak the protocols.
 *
 * Honesty: every acknowledged message is marked; after the run all queues are read from where they
 * ended before it, and every acknowledged message must be there exactly once, with the right length and
 * checksum. A run that cannot count them back prints no figures and exits 1.
 *
 * Figures: rate over the counted part, latency from just before the write of a request (open loop: from
 * the time its schedule gave it) to the read of its answer, CPU of the process --pid from /proc (user +
 * system, 10 ms ticks), its resident set at the end, and the part of it that is its own memory (the rest
 * is the page cache of mapped log files that were read). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/scene.h"

static const char usage[] =
    "usage: mqload [SCENE] --addr HOST:PORT [options]\n"
    "scenes: send (default), pull, flow, latency, route, idle; start --ready TEXT -- COMMAND...\n"
    "  --connections N   [1]        --inflight N   requests in flight on each connection [1]\n"
    "  --messages N      requests [100000]  --warmup N  the first N are not timed [10 %]\n"
    "  --seconds S --warmup-seconds S   by time instead\n"
    "  --rate N          send, latency: open loop, N messages a second in all\n"
    "  --body BYTES      [1024]     --queues N     of each topic, created when missing [8]\n"
    "  --topic NAME      [BenchLoad] --topics N    topics NAME-00000 and on, which exist and are empty [1]\n"
    "  --batch N         send: messages of a request [1]\n"
    "  --tx              send: half messages, each committed\n"
    "  --until-flat N    send: warm up: end after N messages once the rate stays within 5 %\n"
    "  --peer NAME       send: rocketmq, redis, nats, beanstalkd [rocketmq]\n"
    "  --pid PID         process whose CPU and memory are reported\n"
    "  --record FILE --label TEXT   append the figures as lines of TEXT, name, value\n"
    "  --no-verify       do not read everything back      --no-header\n"
    "  --seconds-max N   give up after this long [300]\n";

enum { TOPIC = 't', BATCH = 'B', TX = 'x', RATE = 'r', FLAT = 'f', PEER = 'P', READY = 'R' };

/* Which options a scene takes besides those of all scenes: an option that would be ignored is refused. */
static const struct {
    const char *name;
    int (*run)(const struct scene *s, struct err *e);
    const char *options;
} scenes[] = {
    {"send", scene_send, "acimwSWrbqtTBxfPpnN"},
    {"pull", scene_pull, "aciSWqtT"},
    {"flow", scene_flow, "aciSWbqt"},
    {"latency", scene_latency, "acSWrbqt"},
    {"route", scene_route, "aciSWt"},
    {"idle", scene_idle, "acSWqtp"},
    {"start", scene_start, "R"},
};

static _Noreturn void bad_usage(const char *what, const char *detail)
{
    fprintf(stderr, "mqload: %s%s\n%s", what, detail, usage);
    exit(2);
}

static int64_t number(const char *name, int64_t min, int64_t max)
{
    int64_t v;
    if (slice_i64(slice_str(optarg), &v) != 0 || v < min || v > max) {
        fprintf(stderr, "mqload: --%s: %s is not a number from %lld to %lld\n%s", name, optarg,
                (long long)min, (long long)max, usage);
        exit(2);
    }
    return v;
}

static double seconds(const char *name, double min)
{
    char *end;
    const double v = strtod(optarg, &end);
    if (end == optarg || *end != '\0' || !(v >= min) || v > 86400) {
        fprintf(stderr, "mqload: --%s: %s is not a number of seconds\n%s", name, optarg, usage);
        exit(2);
    }
    return v;
}

static const struct option options[] = {{"addr", 1, NULL, 'a'},
                                        {"connections", 1, NULL, 'c'},
                                        {"inflight", 1, NULL, 'i'},
                                        {"messages", 1, NULL, 'm'},
                                        {"warmup", 1, NULL, 'w'},
                                        {"seconds", 1, NULL, 'S'},
                                        {"warmup-seconds", 1, NULL, 'W'},
                                        {"rate", 1, NULL, RATE},
                                        {"body", 1, NULL, 'b'},
                                        {"queues", 1, NULL, 'q'},
                                        {"topic", 1, NULL, TOPIC},
                                        {"topics", 1, NULL, 'T'},
                                        {"batch", 1, NULL, BATCH},
                                        {"tx", 0, NULL, TX},
                                        {"until-flat", 1, NULL, FLAT},
                                        {"peer", 1, NULL, PEER},
                                        {"pid", 1, NULL, 'p'},
                                        {"record", 1, NULL, 'o'},
                                        {"label", 1, NULL, 'l'},
                                        {"no-verify", 0, NULL, 'n'},
                                        {"no-header", 0, NULL, 'N'},
                                        {"ready", 1, NULL, READY},
                                        {"seconds-max", 1, NULL, 's'},
                                        {"help", 0, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

static void take_number(struct scene *s, int o)
{
    switch (o) {
    case 'c':
        s->connections = (int)number("connections", 1, 20000);
        break;
    case 'i':
        s->inflight = (int)number("inflight", 1, LOAD_INFLIGHT_MAX);
        break;
    case 'm':
        s->messages = number("messages", 1, LOAD_SEQ_MAX);
        break;
    case 'w':
        s->warmup = number("warmup", 0, LOAD_SEQ_MAX);
        break;
    case 'S':
        s->seconds = seconds("seconds", 0.001);
        break;
    case 'W':
        s->warmup_seconds = seconds("warmup-seconds", 0);
        break;
    case 'r':
        s->rate = number("rate", 1, 100000000);
        break;
    case 'b':
        s->body = number("body", RMQ_SEQ_DIGITS, 4 << 20);
        break;
    case 'q':
        s->queues = (int)number("queues", 1, RMQ_QUEUES_MAX);
        break;
    case 'T':
        s->topics = (int)number("topics", 1, RMQ_TOPICS_MAX);
        break;
    case 'B':
        s->batch = (int)number("batch", 1, 1024);
        break;
    case 'f':
        s->flat_messages = number("until-flat", 1, LOAD_SEQ_MAX);
        break;
    case 'p':
        s->pid = (int)number("pid", 1, INT32_MAX);
        break;
    case 's':
        s->seconds_max = number("seconds-max", 1, 86400);
        break;
    }
}

static void take_option(struct scene *s, int o)
{
    switch (o) {
    case 'a':
        s->address = optarg;
        break;
    case 't':
        s->topic = optarg;
        break;
    case 'x':
        s->tx = true;
        break;
    case 'P':
        s->peer = optarg;
        break;
    case 'o':
        s->record = optarg;
        break;
    case 'l':
        s->label = optarg;
        break;
    case 'n':
        s->verify = false;
        break;
    case 'N':
        s->header = false;
        break;
    case 'R':
        s->ready = optarg;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    case '?':
        bad_usage("an option that is not known", "");
    default:
        take_number(s, o);
    }
}

static const char *long_name(int o)
{
    for (size_t i = 0; options[i].name != NULL; i++)
        if (options[i].val == o)
            return options[i].name;
    return "?";
}

/* What the scenes rely on. */
static void check(struct scene *s, size_t scene, const bool *given)
{
    for (int o = 0; o < 128; o++)
        if (given[o] && strchr("olsh", o) == NULL && strchr(scenes[scene].options, o) == NULL)
            bad_usage("this scene has no use for --", long_name(o));
    const bool timed = given['S'] || given['f'] || scenes[scene].run != scene_send;
    if (timed && (given['m'] || given['w']))
        bad_usage("--messages and --warmup, or --seconds and --warmup-seconds, not both", "");
    if (given['W'] && !timed)
        bad_usage("--warmup-seconds goes with --seconds", "");
    if (timed)
        s->messages = s->warmup = 0;
    else if (s->warmup < 0)
        s->warmup = s->messages / 10;
    if (given['f'] && !given['S'])
        s->seconds = (double)s->seconds_max / 2;
    if ((s->record != NULL) != (s->label != NULL))
        bad_usage("--record and --label go together", "");
    if (s->tx && s->batch > 1)
        bad_usage("--tx and --batch exclude each other", "");
    if (scenes[scene].run == scene_latency && s->rate == 0)
        bad_usage("latency needs --rate", "");
    if (strcmp(s->peer, "rocketmq") != 0 && (s->tx || s->batch > 1 || s->topics > 1))
        bad_usage("--tx, --batch and --topics are for --peer rocketmq", "");
    if (scenes[scene].run == scene_idle && s->pid == 0)
        bad_usage("idle needs --pid", "");
    if (strlen(s->topic) > RMQ_TOPIC_MAX - 6)
        bad_usage("--topic: too long: ", s->topic);
    const bool starts = scenes[scene].run == scene_start;
    if (starts && (s->ready == NULL || s->command[0] == NULL))
        bad_usage("start needs --ready TEXT and -- COMMAND", "");
    if (!starts && (s->address == NULL || host_parse(slice_str(s->address), &s->host) != 0 ||
                    s->host.len != 4))
        bad_usage("--addr wants an IPv4 HOST:PORT", "");
}

int main(int argc, char **argv)
{
    struct scene s = {.topic = "BenchLoad",
                      .peer = "rocketmq",
                      .connections = 1,
                      .inflight = 1,
                      .queues = 8,
                      .topics = 1,
                      .batch = 1,
                      .messages = 100000,
                      .warmup = -1,
                      .seconds = 2,
                      .seconds_max = 300,
                      .body = 1024,
                      .verify = true,
                      .header = true};
    bool given[128] = {false};
    size_t scene = 0;
    if (argc > 1 && argv[1][0] != '-') {
        while (scene < sizeof scenes / sizeof scenes[0] && strcmp(argv[1], scenes[scene].name) != 0)
            scene++;
        if (scene == sizeof scenes / sizeof scenes[0])
            bad_usage("no such scene: ", argv[1]);
        argv++, argc--;
    }
    for (int o; (o = getopt_long(argc, argv, "+h", options, NULL)) != -1; given[o & 127] = true)
        take_option(&s, o);
    s.command = argv + optind;
    if (scenes[scene].run != scene_start && s.command[0] != NULL)
        bad_usage("not an option: ", s.command[0]);
    check(&s, scene, given);

    struct err e = {.text = ""};
    const int rc = scenes[scene].run(&s, &e);
    if (rc != 0)
        fprintf(stderr, "mqload: %s%s%s\n", s.address != NULL ? s.address : s.command[0], ": ",
                e.text[0] != '\0' ? e.text : err_text(rc));
    return rc != 0;
}
