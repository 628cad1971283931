/* The command line: three commands, their options, their help.
 *
 * Runs on: the one thread of the tool, first of all. An option that a command does not know is an error,
 * so is a value that is no number, a second directory, or none. */
#include "mqstore/args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2, PROBLEMS_DEFAULT = 20, LEVELS_MAX = 64 };

enum option_id {
    OPT_COMMITLOG = 256, OPT_CONSUMEQUEUE, OPT_INDEX, OPT_LOG_SIZE, OPT_CQ_SIZE, OPT_SLOTS, OPT_ITEMS, OPT_JSON,
    OPT_QUIET, OPT_PROBLEMS, OPT_TOPIC, OPT_QUEUE, OPT_KEY, OPT_FROM, OPT_TO, OPT_LIMIT, OPT_BODY, OPT_YES,
    OPT_KEEP_BEHIND, OPT_LEVELS
};

#define PLACES_HELP \
    "\n" \
    "Where the parts are, when not in their usual place below DIR:\n" \
    "      --commitlog DIR            storePathCommitLog\n" \
    "      --consumequeue DIR         storePathConsumeQueue\n" \
    "      --index DIR                storePathIndex\n" \
    "Sizes, when they cannot be told from the files:\n" \
    "      --commitlog-file-size N    mappedFileSizeCommitLog\n" \
    "      --consumequeue-file-size N mappedFileSizeConsumeQueue\n" \
    "      --index-slots N            maxHashSlotNum\n" \
    "      --index-items N            maxIndexNum\n"

static const char usage[] =
    "usage: mqstore verify [OPTION...] DIR     check a stopped broker's store; changes nothing\n"
    "       mqstore dump [log|queue|index|checkpoint] [OPTION...] DIR\n"
    "                                          show what is in its files\n"
    "       mqstore repair [OPTION...] DIR     make it whole again; without --yes only say how\n"
    "       mqstore COMMAND --help             the options of a command\n"
    "       mqstore --version\n"
    "\n"
    "DIR is the broker's storePathRootDir. Works on stores of Halfpenny and of Apache RocketMQ 4.x and 5.x.\n";

static const char verify_usage[] =
    "usage: mqstore verify [OPTION...] DIR\n"
    "\n"
    "Reads every record, consume queue unit and index entry, the checkpoint and the tables in config/, and says\n"
    "what is not as it must be, where, and what can be done. Changes nothing.\n"
    "\n"
    "      --json                     one JSON document\n"
    "      --problems N               how many problems are told in full (default 20); all are counted\n"
    "      --quiet                    no progress line\n" PLACES_HELP
    "\n"
    "Exit code: 0 no damage, 1 damage, 2 it could not run (a broker runs, no store, a disk error).\n";

static const char dump_usage[] =
    "usage: mqstore dump [log|queue|index|checkpoint] [OPTION...] DIR\n"
    "\n"
    "log (the default)   records in the order of the log\n"
    "queue               units of the consume queues of a topic\n"
    "index               files and entries of the key index\n"
    "checkpoint          the checkpoint and indexCheckpoint\n"
    "\n"
    "      --topic NAME               log: only records of this topic; queue: required; index: with --key\n"
    "      --queue N                  only this queue id\n"
    "      --key TEXT                 only records with this key (UNIQ_KEY or a word of KEYS)\n"
    "      --from N, --to N           from N on, up to but without N: physical offsets of log and index,\n"
    "                                 queue offsets of a queue\n"
    "      --limit N                  at most N lines\n"
    "      --body                     log: with the bodies\n"
    "      --json                     one JSON object a line\n" PLACES_HELP;

static const char repair_usage[] =
    "usage: mqstore repair [OPTION...] DIR\n"
    "\n"
    "Verifies, and says what it would do. With --yes it does it: damaged consume queues, index and checkpoint are\n"
    "built anew from the log, what stands behind the log's last whole record is cut. Everything that is replaced\n"
    "or cut is first kept in DIR/repair-<time>/.\n"
    "\n"
    "      --yes                      do it\n"
    "      --keep-behind              damage in the middle of the log: keep the whole records behind it too; the\n"
    "                                 damaged bytes become filler that brokers skip. Default: the log ends before\n"
    "                                 the damage\n"
    "      --delay-levels TEXT        messageDelayLevel, when it is not RocketMQ's (\"1s 5s 10s ...\")\n"
    "      --problems N               how many problems are told in full (default 20)\n"
    "      --quiet                    no progress line\n" PLACES_HELP
    "\n"
    "Exit code: 0 nothing to do, or done and no damage is left; 1 damage (without --yes, or some is left); 2 it\n"
    "could not run.\n";

static const struct option places[] = {{"commitlog", required_argument, NULL, OPT_COMMITLOG},
                                       {"consumequeue", required_argument, NULL, OPT_CONSUMEQUEUE},
                                       {"index", required_argument, NULL, OPT_INDEX},
                                       {"commitlog-file-size", required_argument, NULL, OPT_LOG_SIZE},
                                       {"consumequeue-file-size", required_argument, NULL, OPT_CQ_SIZE},
                                       {"index-slots", required_argument, NULL, OPT_SLOTS},
                                       {"index-items", required_argument, NULL, OPT_ITEMS},
                                       {"help", no_argument, NULL, 'h'}};
static const struct option verify_own[] = {{"json", no_argument, NULL, OPT_JSON},
                                           {"quiet", no_argument, NULL, OPT_QUIET},
                                           {"problems", required_argument, NULL, OPT_PROBLEMS}};
static const struct option dump_own[] = {{"json", no_argument, NULL, OPT_JSON},
                                         {"topic", required_argument, NULL, OPT_TOPIC},
                                         {"queue", required_argument, NULL, OPT_QUEUE},
                                         {"key", required_argument, NULL, OPT_KEY},
                                         {"from", required_argument, NULL, OPT_FROM},
                                         {"to", required_argument, NULL, OPT_TO},
                                         {"limit", required_argument, NULL, OPT_LIMIT},
                                         {"body", no_argument, NULL, OPT_BODY}};
static const struct option repair_own[] = {{"yes", no_argument, NULL, OPT_YES},
                                           {"keep-behind", no_argument, NULL, OPT_KEEP_BEHIND},
                                           {"delay-levels", required_argument, NULL, OPT_LEVELS},
                                           {"quiet", no_argument, NULL, OPT_QUIET},
                                           {"problems", required_argument, NULL, OPT_PROBLEMS}};

static const struct {
    const char *name, *usage;
    const struct option *own;
    size_t own_n;
} commands[] = {[CMD_VERIFY] = {"verify", verify_usage, verify_own, sizeof verify_own / sizeof *verify_own},
                [CMD_DUMP] = {"dump", dump_usage, dump_own, sizeof dump_own / sizeof *dump_own},
                [CMD_REPAIR] = {"repair", repair_usage, repair_own, sizeof repair_own / sizeof *repair_own}};

static int64_t levels_ms[LEVELS_MAX];

static int wrong(const struct args *a, const char *text, const char *value)
{
    fprintf(stderr, "mqstore %s: %s%s%s%s\n", commands[a->command].name, text, value ? " \"" : "", value ? value : "",
            value ? "\"" : "");
    fprintf(stderr, "mqstore %s --help lists the options\n", commands[a->command].name);
    return EXIT_USAGE;
}

/* "1s 5s 1m": RocketMQ's messageDelayLevel. */
static bool parse_levels(const char *text, struct repair_opts *r)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    struct slice rest = slice_str(text), word;
    r->delay_level_n = 0;
    while (slice_cut(&rest, ' ', &word)) {
        int64_t n, ms = 0;
        if (!word.n)
            continue;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (word.p[word.n - 1] == units[i].unit)
                ms = units[i].ms;
        if (!ms || r->delay_level_n == LEVELS_MAX || slice_i64(slice_of(word.p, word.n - 1), &n) || n < 0 ||
            n > INT64_C(1000000000))
            return false;
        levels_ms[r->delay_level_n++] = n * ms;
    }
    r->delay_level_ms = levels_ms;
    return r->delay_level_n > 0;
}

static bool number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    int64_t v;
    if (slice_i64(slice_str(text), &v) || v < min || v > max)
        return false;
    *out = v;
    return true;
}

static bool number32(const char *text, int32_t min, int32_t *out)
{
    int64_t v;
    if (!number(text, min, INT32_MAX, &v))
        return false;
    *out = (int32_t)v;
    return true;
}

/* false: the value is wrong. */
static bool take(struct args *a, int id, const char *value)
{
    switch (id) {
    case OPT_COMMITLOG: a->site.commitlog_dir = value; return *value != 0;
    case OPT_CONSUMEQUEUE: a->site.cq_dir = value; return *value != 0;
    case OPT_INDEX: a->site.index_dir = value; return *value != 0;
    case OPT_LOG_SIZE: return number(value, 4096, INT32_MAX, &a->site.log_file_size);
    case OPT_CQ_SIZE: return number(value, CQ_UNIT_SIZE, INT32_MAX - CQ_UNIT_SIZE, &a->site.cq_file_size);
    case OPT_SLOTS: return number32(value, 1, &a->site.index_slots);
    case OPT_ITEMS: return number32(value, 2, &a->site.index_items);
    case OPT_JSON: a->json = true; return true;
    case OPT_QUIET: a->quiet = true; return true;
    case OPT_PROBLEMS: return number(value, 0, 1000000, &a->problems);
    case OPT_TOPIC: a->dump.topic = value; return *value != 0;
    case OPT_QUEUE: return number32(value, 0, &a->dump.queue);
    case OPT_KEY: a->dump.key = value; return *value != 0;
    case OPT_FROM: return number(value, 0, INT64_MAX / CQ_UNIT_SIZE, &a->dump.from);
    case OPT_TO: return number(value, 0, INT64_MAX / CQ_UNIT_SIZE, &a->dump.to);
    case OPT_LIMIT: return number(value, 1, INT64_MAX, &a->dump.limit);
    case OPT_BODY: a->dump.body = true; return true;
    case OPT_YES: a->repair.yes = true; return true;
    case OPT_KEEP_BEHIND: a->repair.keep_behind = true; return true;
    case OPT_LEVELS: return parse_levels(value, &a->repair);
    default: return false;
    }
}

/* What dump shows, when it is said. */
static void take_what(struct args *a, int *argc, char ***argv)
{
    static const char *const names[] = {[DUMP_LOG] = "log", [DUMP_QUEUE] = "queue", [DUMP_INDEX] = "index",
                                        [DUMP_CHECKPOINT] = "checkpoint"};
    for (size_t i = 0; *argc > 1 && i < sizeof names / sizeof *names; i++)
        if (!strcmp((*argv)[1], names[i])) {
            a->dump.what = (enum dump_what)i;
            --*argc;
            ++*argv;
            return;
        }
}

static int parse_options(int argc, char **argv, struct args *a)
{
    struct option longs[32] = {{0}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        longs[n++] = places[i];
    for (size_t i = 0; i < commands[a->command].own_n; i++)
        longs[n++] = commands[a->command].own[i];
    optind = 0;
    opterr = 0;
    int c, at = -1;
    while ((c = getopt_long(argc, argv, ":h", longs, &at)) != -1) {
        if (c == 'h') {
            fputs(commands[a->command].usage, stdout);
            return EXIT_SUCCESS;
        }
        if (c == '?')
            return wrong(a, "there is no such option:", argv[optind > 1 ? optind - 1 : 1]);
        if (c == ':')
            return wrong(a, "this option needs a value:", argv[optind - 1]);
        if (!take(a, c, optarg)) {
            char text[64];
            snprintf(text, sizeof text, "--%s cannot be", longs[at].name);
            return wrong(a, text, optarg);
        }
    }
    if (optind == argc)
        return wrong(a, "name the broker's storePathRootDir", NULL);
    if (optind + 1 < argc)
        return wrong(a, "one directory at a time; not expected:", argv[optind + 1]);
    a->site.root = argv[optind];
    return -1;
}

int args_parse(int argc, char **argv, struct args *out)
{
    *out = (struct args){.problems = PROBLEMS_DEFAULT, .dump = {.queue = -1, .to = -1}};
    if (argc < 2) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("mqstore (Halfpenny) " HP_VERSION);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        out->command = (enum command)i;
        argc--;
        argv++;
        if (out->command == CMD_DUMP)
            take_what(out, &argc, &argv);
        return parse_options(argc, argv, out);
    }
    fprintf(stderr, "mqstore: there is no command \"%s\"\n%s", argv[1], usage);
    return EXIT_USAGE;
}
