/* mqbroker: the program.
 *
 * Runs on: the main thread. It reads the command line and the configuration, opens the broker,
 * prints what an operator wants to know, then waits for a signal.
 *
 * Signals are blocked before the first thread exists and taken with sigwait. SIGTERM and SIGINT
 * begin an orderly stop; a second one ends the process at once (the log is replayed at the next
 * start). SIGHUP reopens the log file.
 *
 * Exit codes: 0 orderly; 1 the broker could not start; 2 bad command line or configuration; 3 it
 * ran, but its store had failed or it could not stop in order. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/broker.h"

enum { EXIT_START = 1, EXIT_USAGE = 2, EXIT_UNCLEAN = 3 };
enum { LOG_BYTES_MAX = 128 * 1024 * 1024, LOG_FILES_MAX = 10 };

struct options {
    const char *config, *namesrv;
    bool print_all, print_important, check;
};

static const char usage[] =
    "usage: mqbroker [-n ADDR[;ADDR]] [-c FILE] [-p | -m] [--check-config]\n"
    "\n"
    "  -n, --namesrvAddr ADDR;...   name servers to register with (also NAMESRV_ADDR)\n"
    "  -c, --configFile FILE        RocketMQ's broker.conf: key=value lines\n"
    "  -p, --printConfigItem        print every setting and exit\n"
    "  -m, --printImportantConfig   print the important settings and exit\n"
    "      --check-config           read the configuration, say what is wrong with it, exit\n"
    "      --version                print the version and exit\n"
    "  -h, --help                   print this and exit\n"
    "\n"
    "Without a file the broker listens on 10911 and keeps its data in $HOME/store.\n";

/* Returns -1 to go on, otherwise the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
    enum { OPT_CHECK = 256, OPT_VERSION };
    static const struct option longs[] = {{"namesrvAddr", required_argument, NULL, 'n'},
                                          {"configFile", required_argument, NULL, 'c'},
                                          {"printConfigItem", no_argument, NULL, 'p'},
                                          {"printImportantConfig", no_argument, NULL, 'm'},
                                          {"check-config", no_argument, NULL, OPT_CHECK},
                                          {"version", no_argument, NULL, OPT_VERSION},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "n:c:pmh", longs, NULL)) != -1) {
        switch (c) {
        case 'n': o->namesrv = optarg; break;
        case 'c': o->config = optarg; break;
        case 'p': o->print_all = true; break;
        case 'm': o->print_important = true; break;
        case OPT_CHECK: o->check = true; break;
        case OPT_VERSION: puts("mqbroker (Halfpenny) " HP_VERSION); return EXIT_SUCCESS;
        case 'h': fputs(usage, stdout); return EXIT_SUCCESS;
        default: fputs(usage, stderr); return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "mqbroker: \"%s\" is not expected here\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    return -1;
}

static void print_note(void *arg, const char *text)
{
    fprintf(arg, "mqbroker: %s\n", text);
}

static void print_conf(const struct broker_conf *c, bool important)
{
    struct buf out;
    buf_init(&out, 0);
    broker_conf_print(c, important, &out);
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
}

static void print_progress(void *arg, const struct store_progress *p)
{
    (void)arg;
    int percent = p->total > 0 ? (int)(p->done * 100 / p->total) : 100;
    fprintf(stderr, "\rrecovery: %s %3d%%  %lld of %lld MiB ", p->phase, percent,
            (long long)(p->done >> 20), (long long)(p->total >> 20));
    if (p->done >= p->total)
        fputc('\n', stderr);
}

static void print_recovery(const struct store_recovery *r)
{
    if (r->log_max == 0)
        printf("  recovery     nothing to recover: the store is empty\n");
    else if (r->dropped_bytes > 0)
        printf("  recovery     after a crash: %lld records verified, %lld bytes of an incomplete "
               "tail dropped, "
               "%lld ms\n",
               (long long)r->records, (long long)r->dropped_bytes, (long long)r->elapsed_ms);
    else
        printf("  recovery     %s: log %lld to %lld, %lld records verified, %lld ms\n",
               r->clean ? "clean stop" : "after a crash, nothing lost", (long long)r->log_min,
               (long long)r->log_max, (long long)r->records, (long long)r->elapsed_ms);
}

static void print_banner(const struct broker *b)
{
    const struct broker_conf *c = b->conf;
    const char *ns = c->namesrv_addr && *c->namesrv_addr ? c->namesrv_addr : NULL;
    printf("Halfpenny broker " HP_VERSION "\n");
    printf("  name         %s in cluster %s\n", c->broker_name, c->cluster_name);
    printf("  listening    %s:%d, clients are told %s\n", c->bind_address, broker_port(b),
           b->address);
    if (b->fast)
        printf("  fast port    %d\n", b->fast_port);
    else
        printf("  fast port    not served%s%s\n", b->fast_error[0] ? ": " : "", b->fast_error);
    printf("  data         %s, commit log in %s\n", c->store_root, c->store_commitlog);
    printf("  durability   %s\n",
           c->flush_disk_type == FLUSH_DISK_SYNC
               ? "SYNC_FLUSH: acknowledged means on disk; it survives a power failure"
               : "ASYNC_FLUSH: acknowledged means in the system's cache; it survives a crash of "
                 "the broker, "
                 "a power failure may take the last half second");
    print_recovery(&b->recovery);
    if (ns)
        printf("  try          mqadmin topicList -n %.*s\n", (int)strcspn(ns, ";"), ns);
    else
        printf("  try          mqnamesrv, then mqbroker -n 127.0.0.1:9876: without a name server "
               "clients cannot "
               "find this broker\n");
    printf("The broker[%s, %s] boot success. serializeType=JSON%s%s\n", c->broker_name, b->address,
           ns ? " and name server is " : "", ns ? ns : "");
    fflush(stdout);
}

static void exit_now(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_UNCLEAN);
}

static void signals_block(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int open_log(const struct broker_conf *c, struct err *e)
{
    log_set_level((enum log_level)c->log_level);
    return log_open(c->log_file, LOG_BYTES_MAX, LOG_FILES_MAX, e);
}

static void wait_for_stop(const struct broker_conf *c, const sigset_t *set)
{
    int got = 0;
    struct err e;
    while (sigwait(set, &got) != 0 || got == SIGHUP)
        if (got == SIGHUP && open_log(c, &e) != 0)
            fprintf(stderr, "mqbroker: %s\n", e.text);
    LOGI("stop", "signal=%d", got);
    signal(SIGTERM, exit_now);
    signal(SIGINT, exit_now);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

static int run(const struct broker_conf *c)
{
    sigset_t set;
    struct broker *b;
    struct err e;
    signals_block(&set);
    const struct broker_opts o = {.conf = c,
                                  .on_progress = isatty(STDERR_FILENO) ? print_progress : NULL};
    if (broker_open(&b, &o, &e) != 0) {
        fprintf(stderr, "mqbroker: cannot start: %s\n", e.text);
        return EXIT_START;
    }
    print_banner(b);
    LOGI("start", "name=%s address=%s", c->broker_name, b->address);
    wait_for_stop(c, &set);
    if (broker_close(b, &e) != 0) {
        LOGE("stop.unclean", "error=\"%s\"", e.text);
        fprintf(stderr, "mqbroker: not stopped in order: %s\n", e.text);
        return EXIT_UNCLEAN;
    }
    LOGI("stopped", "orderly=true");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct broker_conf c = {0};
    struct err e;
    int code = parse_options(argc, argv, &o);
    if (code >= 0)
        return code;
    if (failpoint_init_from_env(&e) != 0 ||
        broker_conf_load(&c, o.config, o.namesrv, print_note, stderr, &e) != 0 ||
        open_log(&c, &e) != 0) {
        fprintf(stderr, "mqbroker: %s\n", e.text);
        broker_conf_free(&c);
        return EXIT_USAGE;
    }
    if (o.print_all || o.print_important)
        print_conf(&c, !o.print_all);
    else if (o.check)
        puts("mqbroker: the configuration is in order");
    else
        code = run(&c);
    broker_conf_free(&c);
    log_close();
    return code < 0 ? EXIT_SUCCESS : code;
}
