/* mqnamesrv: the name server as a program.
 *
 * Owns: the process: command line, configuration file, log, signals, exit code. Runs on: the main thread,
 * which after the start only waits for a signal.
 *
 * Exit codes: 0 stopped by SIGTERM, SIGINT or SIGHUP; 1 could not start; 2 bad command line. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "namesrv/namesrv.h"

static const char usage[] =
    "usage: mqnamesrv [-c FILE] [-p] [-n ADDRESS]\n"
    "  -c, --configFile FILE       configuration, key=value lines (listenPort, bindAddress, ...)\n"
    "  -p, --printConfigItem       print the configuration with all defaults, and exit\n"
    "  -n, --namesrvAddr ADDRESS   accepted for old scripts; a name server needs no other\n"
    "  -h, --help                  this text\n"
    "      --version               print the version\n";

struct options {
    const char *config;
    bool print;
    int exit_code; /* -1: go on */
};

static struct options parse_options(int argc, char **argv)
{
    static const struct option longs[] = {
        {"configFile", required_argument, NULL, 'c'}, {"printConfigItem", no_argument, NULL, 'p'},
        {"namesrvAddr", required_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},           {0}};
    struct options o = {.exit_code = -1};
    for (int c; (c = getopt_long(argc, argv, "c:pn:h", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': o.config = optarg; break;
        case 'p': o.print = true; break;
        case 'n': break;
        case 'h':
            fputs(usage, stdout);
            o.exit_code = 0;
            return o;
        case 'V':
            puts("mqnamesrv " HP_VERSION);
            o.exit_code = 0;
            return o;
        default:
            fputs(usage, stderr);
            o.exit_code = 2;
            return o;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "mqnamesrv: unexpected argument '%s'\n%s", argv[optind], usage);
        o.exit_code = 2;
    }
    return o;
}

static int fail(const struct err *e)
{
    fprintf(stderr, "mqnamesrv: %s\n", e->text);
    return 1;
}

static void note(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "mqnamesrv: note: %s\n", text);
}

static int print_config(const struct namesrv_conf *c)
{
    struct buf out;
    buf_init(&out, 0);
    conf_print(&namesrv_conf_table, c, &out);
    size_t written = buf_error(&out) == 0 ? fwrite(out.p, 1, out.n, stdout) : 0;
    bool ok = buf_error(&out) == 0 && written == out.n;
    buf_free(&out);
    return ok ? 0 : 1;
}

/* Each connection needs a descriptor; the usual soft limit of 1024 is for programs that use select. */
static void raise_file_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == l.rlim_max)
        return;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0)
        LOGW("file_limit", "the limit of open files could not be raised to %llu",
             (unsigned long long)l.rlim_max);
}

static const char *reach(const char *bind_address)
{
    if (strcmp(bind_address, "0.0.0.0") == 0)
        return "every IPv4 address of this machine";
    if (strcmp(bind_address, "::") == 0)
        return "every address of this machine";
    return "this address only";
}

static void print_banner(const struct namesrv_conf *c, const char *config, int port)
{
    bool any = strcmp(c->bind_address, "0.0.0.0") == 0 || strcmp(c->bind_address, "::") == 0;
    bool v6 = strchr(c->bind_address, ':') != NULL;
    const char *host = any ? "127.0.0.1" : c->bind_address;
    bool brackets = v6 && !any;
    printf("Halfpenny name server %s\n", HP_VERSION);
    printf("  address   %s%s%s:%d (%s)\n", v6 ? "[" : "", c->bind_address, v6 ? "]" : "", port,
           reach(c->bind_address));
    printf("  process   %ld\n", (long)getpid());
    printf("  config    %s\n", config == NULL ? "none, defaults only" : config);
    printf("  log       %s\n", c->log_file == NULL ? "standard error" : c->log_file);
    printf("  try       mqbroker -n %s%s%s:%d\n", brackets ? "[" : "", host, brackets ? "]" : "", port);
    printf("The Name Server boot success. serializeType=JSON, address %s:%d\n", c->bind_address, port);
    fflush(stdout);
}

/* Blocked here, before any thread starts, so that only sigwait below sees them. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static int serve(const struct namesrv_conf *c, const char *config)
{
    struct err e = {0};
    sigset_t signals = block_signals();
    if (log_open(c->log_file, 0, 0, &e) != 0)
        return fail(&e);
    log_set_level((enum log_level)c->log_level);
    raise_file_limit();
    struct namesrv *n;
    if (namesrv_open(&n, c, &clock_system, &e) != 0)
        return fail(&e);
    print_banner(c, config, namesrv_port(n));
    int got = 0;
    sigwait(&signals, &got);
    LOGI("stopping", "signal=%s", strsignal(got));
    namesrv_close(n);
    log_close();
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = parse_options(argc, argv);
    if (o.exit_code >= 0)
        return o.exit_code;
    struct err e = {0};
    struct namesrv_conf c = {0};
    if (failpoint_init_from_env(&e) != 0 || namesrv_conf_load(&c, o.config, note, NULL, &e) != 0)
        return fail(&e);
    int rc = o.print ? print_config(&c) : serve(&c, o.config);
    namesrv_conf_free(&c);
    return rc;
}
