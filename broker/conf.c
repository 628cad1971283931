/* The configuration: table, loading, computed defaults, checks over several keys.
 *
 * Runs on: the main thread, before anything else exists.
 *
 * Order: defaults of conf.def, the file, then the environment and the command line for the name
 * servers (the command line wins, the file beats the environment), then what is computed from the
 * machine: host name, address, data directory. Computed values are written into the struct, so that
 * -p prints what the broker will really use.
 *
 * Failure: the first bad value stops the start with file, line, key and what would be right.
 * Unknown keys do not stop it (RocketMQ ignores them, and operators' files are full of them), but
 * each is named once, with the nearest known key. */
#include "broker/conf.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/names.h"
#include "store/store.h"

static const char *const flush_disk_names[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};
static const char *const log_level_names[] = {"DEBUG", "INFO", "WARN", "ERROR",
                                              NULL}; /* enum log_level */

static const struct conf_row rows[] = {
#define CONF_DEF "broker/conf.def"
#define CONF_ROWS struct broker_conf
#include "base/conf_def.h"
};
const struct conf_table broker_conf_table = {rows, sizeof rows / sizeof *rows};

static const char *const important_keys[] = {/* Source: the @ImportantField marks of 5.5.0 */
                                             "namesrvAddr",
                                             "brokerIP1",
                                             "brokerIP2",
                                             "brokerName",
                                             "brokerClusterName",
                                             "brokerId",
                                             "autoCreateTopicEnable",
                                             "listenPort",
                                             "storePathRootDir",
                                             "storePathCommitLog",
                                             "flushDiskType",
                                             "maxMessageSize",
                                             "transactionTimeOut",
                                             "transactionCheckMax",
                                             NULL};

static int set_str(char **field, const char *value, struct err *e)
{
    char *copy = slice_dup(slice_str(value));
    if (!copy)
        return err_set(e, E_NOMEM, "configuration: out of memory");
    free(*field);
    *field = copy;
    return 0;
}

static int default_name(struct broker_conf *c, struct err *e)
{
    char host[101];
    if (gethostname(host, sizeof host) != 0)
        return set_str(&c->broker_name, "DEFAULT_BROKER", e);
    host[sizeof host - 1] = '\0';
    for (char *p = host; *p; p++) /* the name is also a topic */
        if (*p == '.')
            *p = '_';
    struct err why;
    if (topic_name_check(slice_str(host), &why) != 0)
        return set_str(&c->broker_name, "DEFAULT_BROKER", e);
    return set_str(&c->broker_name, host, e);
}

/* The first IPv4 address of an interface that is up and not loopback, else 127.0.0.1. */
static void local_ip(char out[INET_ADDRSTRLEN])
{
    struct ifaddrs *all = NULL;
    snprintf(out, INET_ADDRSTRLEN, "127.0.0.1");
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK))
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;
        inet_ntop(AF_INET, &in->sin_addr, out, INET_ADDRSTRLEN);
        break;
    }
    freeifaddrs(all);
}

static bool is_ip(const char *text)
{
    unsigned char out[16];
    return inet_pton(AF_INET, text, out) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

static int finish_addresses(struct broker_conf *c, struct err *e)
{
    if (!is_ip(c->bind_address))
        return err_set(e, E_INVAL, "bindAddress=%s: give an IP address, 0.0.0.0 for all",
                       c->bind_address);
    if (!c->broker_ip1) {
        char ip[INET_ADDRSTRLEN];
        local_ip(ip);
        bool any = strcmp(c->bind_address, "0.0.0.0") == 0 || strcmp(c->bind_address, "::") == 0;
        int rc = set_str(&c->broker_ip1, any ? ip : c->bind_address, e);
        if (rc != 0)
            return rc;
    }
    if (!c->broker_ip2) {
        int rc = set_str(&c->broker_ip2, c->broker_ip1, e);
        if (rc != 0)
            return rc;
    }
    if (!is_ip(c->broker_ip1))
        return err_set(e, E_INVAL,
                       "brokerIP1=%s: give an IP address: it is part of every message id",
                       c->broker_ip1);
    if (!is_ip(c->broker_ip2))
        return err_set(e, E_INVAL, "brokerIP2=%s: give an IP address", c->broker_ip2);
    return 0;
}

static int finish_paths(struct broker_conf *c, struct err *e)
{
    char path[4200];
    int rc = 0;
    if (!c->store_root) {
        const char *home = getenv("HOME");
        if (!home || !*home)
            return err_set(e, E_INVAL, "storePathRootDir is not set and there is no $HOME: set "
                                       "storePathRootDir to the data directory");
        snprintf(path, sizeof path, "%s/store", home);
        rc = set_str(&c->store_root, path, e);
    }
    struct {
        char **field;
        const char *name;
    } const parts[] = {{&c->store_commitlog, "commitlog"}, {&c->store_consumequeue, "consumequeue"},
                       {&c->store_index, "index"}, {&c->store_checkpoint, "checkpoint"},
                       {&c->store_abort, "abort"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && rc == 0; i++) {
        snprintf(path, sizeof path, "%s/%s", c->store_root, parts[i].name);
        if (!*parts[i].field)
            rc = set_str(parts[i].field, path, e);
    }
    if (rc == 0 && strchr(c->store_commitlog, ','))
        return err_set(e, E_INVAL,
                       "storePathCommitLog=%s: a commit log over several directories is not "
                       "served: name one",
                       c->store_commitlog);
    return rc;
}

static int check_namesrv(const char *list, struct err *e)
{
    struct slice rest = slice_str(list), one;
    while (slice_cut(&rest, ';', &one)) {
        one = slice_trim(one);
        if (one.n == 0)
            continue;
        size_t colon = one.n;
        while (colon > 0 && one.p[colon - 1] != ':')
            colon--;
        int32_t port;
        struct slice digits = slice_of(one.p + colon, one.n - colon);
        if (colon < 2 || slice_i32(digits, &port) != 0 || port < 1 || port > 65535)
            return err_set(e, E_INVAL,
                           "namesrvAddr: \"" SLICE_FMT "\" is no host:port; separate several "
                           "name servers with ';'",
                           SLICE_ARG(one));
    }
    return 0;
}

/* Source: CleanCommitLogService of 5.5.0, which moves ratios into these ranges without a word. */
static void clamp_ratio(int32_t *ratio, const char *key, int32_t lo, int32_t hi,
                        void (*note)(void *, const char *), void *arg)
{
    const int32_t used = *ratio < lo ? lo : *ratio > hi ? hi : *ratio;
    if (used == *ratio)
        return;
    char text[160];
    snprintf(text, sizeof text, "%s=%d is not between %d and %d: %d is used", key, *ratio, lo, hi,
             used);
    *ratio = used;
    if (note)
        note(arg, text);
}

static void clamp_ratios(struct broker_conf *c, void (*note)(void *, const char *), void *arg)
{
    clamp_ratio(&c->disk_used_max, "diskMaxUsedSpaceRatio", 10, 95, note, arg);
    clamp_ratio(&c->disk_clean_forcibly, "diskSpaceCleanForciblyRatio", 30, 85, note, arg);
    clamp_ratio(&c->disk_warning, "diskSpaceWarningLevelRatio", 35, 90, note, arg);
}

static int check_names(const struct broker_conf *c, struct err *e)
{
    int rc = topic_name_check(slice_str(c->broker_name), e);
    if (rc != 0)
        return err_wrap(e, rc, "brokerName=%s", c->broker_name);
    rc = topic_name_check(slice_str(c->cluster_name), e);
    if (rc != 0)
        return err_wrap(e, rc, "brokerClusterName=%s", c->cluster_name);
    rc = topic_name_check(slice_str(c->trace_topic_name), e);
    if (rc != 0)
        return err_wrap(e, rc, "msgTraceTopicName=%s", c->trace_topic_name);
    return 0;
}

int broker_conf_finish(struct broker_conf *c, struct err *e)
{
    int rc = c->broker_name ? 0 : default_name(c, e);
    if (rc == 0)
        rc = check_names(c, e);
    if (rc == 0)
        rc = finish_addresses(c, e);
    if (rc == 0)
        rc = finish_paths(c, e);
    if (rc == 0 && c->namesrv_addr)
        rc = check_namesrv(c->namesrv_addr, e);
    int64_t levels[DELAY_LEVEL_MAX];
    if (rc == 0) {
        int n = delay_levels_parse(c->message_delay_level, levels, e);
        rc = n < 0 ? n : 0;
    }
    uint32_t hours;
    if (rc == 0)
        rc = store_hours_parse(c->delete_when, &hours, e);
    int64_t record_max = (int64_t)c->max_message_size + 64 * 1024;
    if (rc == 0 && c->commitlog_file_size < record_max)
        rc = err_set(e, E_INVAL,
                     "mappedFileSizeCommitLog=%lld is smaller than the largest message "
                     "(maxMessageSize + 65536 = %lld): raise it or lower maxMessageSize",
                     (long long)c->commitlog_file_size, (long long)record_max);
    return rc;
}

int broker_conf_defaults(struct broker_conf *c, struct err *e)
{
    return conf_defaults(&broker_conf_table, c, e);
}

static int apply_file(struct broker_conf *c, const char *path, void (*note)(void *, const char *),
                      void *arg, struct err *e)
{
    struct props p;
    int rc = props_load(path, &p, e);
    if (rc != 0)
        return rc;
    rc = conf_apply(&broker_conf_table, c, &p, path, note, arg, e);
    props_free(&p);
    return rc;
}

int broker_conf_load(struct broker_conf *c, const char *path, const char *namesrv,
                     void (*note)(void *arg, const char *text), void *arg, struct err *e)
{
    int rc = broker_conf_defaults(c, e);
    if (rc == 0 && path)
        rc = apply_file(c, path, note, arg, e);
    const char *env = getenv("NAMESRV_ADDR");
    if (rc == 0 && namesrv)
        rc = conf_set(&broker_conf_table, c, "namesrvAddr", namesrv, "-n", e);
    else if (rc == 0 && !c->namesrv_addr && env && *env)
        rc = conf_set(&broker_conf_table, c, "namesrvAddr", env, "NAMESRV_ADDR", e);
    if (rc == 0)
        clamp_ratios(c, note, arg);
    return rc == 0 ? broker_conf_finish(c, e) : rc;
}

void broker_conf_free(struct broker_conf *c)
{
    conf_free(&broker_conf_table, c);
}

void broker_conf_print(const struct broker_conf *c, bool important, struct buf *out)
{
    struct buf all;
    buf_init(&all, 0);
    conf_print(&broker_conf_table, c, &all);
    struct slice rest = buf_slice(&all), line;
    while (slice_cut(&rest, '\n', &line)) {
        bool print = line.n > 0 && !important;
        for (const char *const *k = important_keys; important && *k && !print; k++)
            print = slice_starts(line, slice_str(*k)) && line.p[strlen(*k)] == '=';
        if (print) {
            buf_slice_add(out, line);
            buf_char(out, '\n');
        }
    }
    buf_free(&all);
}

static int64_t delay_unit_ms(char unit)
{
    switch (unit) {
    case 's': return 1000;
    case 'm': return 60 * 1000;
    case 'h': return 60 * 60 * 1000;
    case 'd': return 24 * 60 * 60 * 1000;
    default: return 0;
    }
}

int delay_levels_parse(const char *text, int64_t out[DELAY_LEVEL_MAX], struct err *e)
{
    struct slice rest = slice_str(text), word;
    int n = 0;
    while (slice_cut(&rest, ' ', &word)) {
        if (word.n == 0)
            continue;
        int64_t unit = delay_unit_ms(word.p[word.n - 1]), value = 0;
        int rc = slice_i64(slice_of(word.p, word.n - 1), &value);
        if (unit == 0 || rc != 0 || value < 0 || value > 365 * INT64_C(86400) * 1000 / unit)
            return err_set(e, E_INVAL,
                           "messageDelayLevel: \"" SLICE_FMT "\" is no delay: give a number and "
                           "s, m, h or d, at most a year",
                           SLICE_ARG(word));
        if (n == DELAY_LEVEL_MAX)
            return err_set(e, E_INVAL, "messageDelayLevel: more than %d levels", DELAY_LEVEL_MAX);
        out[n++] = value * unit;
    }
    return n > 0 ? n : err_set(e, E_INVAL, "messageDelayLevel: no level given");
}
