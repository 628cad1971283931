/* mqdisk: a disk that fills up under a real broker and gets free again (R7).
 *
 * The disk is a tmpfs in a mount namespace of this process (in a user namespace of its own when it is
 * not root), so nothing outside can see it, and it is gone with the processes. A round, from a new
 * broker on an empty disk:
 *   1. sends of every kind; when the broker's own files fill a random share of the disk another file
 *      takes all free space at once, so that log files, queue files, index files and files of config/
 *      meet ENOSPC wherever they are. A share and no time: on a fast machine the broker's files alone
 *      would soon fill the disk beyond diskSpaceCleanForciblyRatio, and no space would come back;
 *   2. within 10 s every send is refused with code 14 and the reason; until then with that or with
 *      "create mapped file failed" (code 1). No connection is closed;
 *   3. everything acknowledged is read while the disk is full;
 *   4. in two of three rounds the broker is killed or stopped now and starts again on the full disk:
 *      it must get ready, give all it has, and refuse sends;
 *   5. the space comes back: within 10 s sends are accepted;
 *   6. kill -9, restart, and the account: nothing lost, nothing invented, no gap, order kept.
 * Randomness comes from one seed, which is printed. Exit codes as mqcrash. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "tests/chaos/broker.h"
#include "tests/chaos/load.h"

enum { LOAD_MS = 60000, ALL_REFUSED_MS = 10000, RESUME_MS = 10000, AFTER_MS = 100,
       SHARE_LEAST = 2, SHARE_MOST = 50, /* percent of the disk that the broker's files fill before */
       DISK_MIB = 192, DISK_MIB_LEAST = 32 };

static const struct clock *const clk = &clock_system;
static const enum lane_kind lanes[] = {LANE_PIPELINE, LANE_SINGLE, LANE_BATCH, LANE_TX, LANE_CONSUMER, LANE_ADMIN};
enum { LANES = sizeof lanes / sizeof *lanes };

struct disk {
    struct chaos_broker broker;
    char root[PATH_MAX], ballast[PATH_MAX + 16];
    const char *flush, *space; /* space: which kind of namespace */
    uint64_t seed;
    int rounds, round, disk_mib;
    struct rng rng;
    struct account account;
    struct load load;
    int64_t other, acked, stored, refused, no_file, restarts, resume_worst_ms;
};

static int64_t findings(const struct disk *d)
{
    return account_findings(&d->account) + d->load.findings + d->other;
}

/* ---- the disk ---- */

static void write_text(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        chaos_die(path, strerror(errno));
    close(fd);
}

static const char *enter_namespace(void)
{
    char map[64];
    const unsigned uid = getuid();
    if (unshare(CLONE_NEWNS) == 0) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            chaos_die("making the mount namespace private", strerror(errno));
        return "tmpfs in a mount namespace";
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        chaos_die("no small file system can be mounted here (it needs root or user namespaces)", strerror(errno));
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    return "tmpfs in a user and mount namespace";
}

static void new_disk(struct disk *d)
{
    char size[32];
    snprintf(size, sizeof size, "size=%dm", d->disk_mib);
    if (d->round > 1 && umount2(d->root, MNT_DETACH) != 0)
        chaos_die(d->root, strerror(errno));
    if (mount("tmpfs", d->root, "tmpfs", 0, size) != 0)
        chaos_die("mounting a small tmpfs", strerror(errno));
}

static struct fs_space space_of(const struct disk *d)
{
    struct fs_space s;
    struct err e;
    if (fs_real.space(&fs_real, d->root, &s, &e) != 0)
        chaos_die(d->root, e.text);
    return s;
}

static int used_percent(const struct disk *d)
{
    const struct fs_space s = space_of(d);
    return (int)((s.total_bytes - s.free_bytes) * 100 / s.total_bytes);
}

/* All that is free, at once; what the broker frees meanwhile it may use. */
static void fill_up(struct disk *d)
{
    const int fd = open(d->ballast, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        chaos_die(d->ballast, strerror(errno));
    int64_t size = 0;
    for (int64_t step = space_of(d).avail_bytes; step >= 4096;) /* the broker writes at the same time */
        if (fallocate(fd, 0, size, step) == 0)
            size += step;
        else
            step /= 2;
    close(fd);
}

static void set_free(struct disk *d)
{
    if (unlink(d->ballast) != 0)
        chaos_die(d->ballast, strerror(errno));
}

/* ---- what must hold ---- */

static bool refusal_is_clear(const struct load *l)
{
    if (l->refusal_code == RESP_SERVICE_NOT_AVAILABLE)
        return strstr(l->refusal_text, "disk is full") != NULL;
    return l->refusal_code == RESP_SYSTEM_ERROR && (strstr(l->refusal_text, "create mapped file failed") != NULL ||
                                                    strstr(l->refusal_text, "No space left") != NULL);
}

/* One turn in which every refusal must say why. false: the broker went away. */
static bool turn(struct disk *d)
{
    struct load *const l = &d->load;
    const int64_t before = l->refused;
    if (load_turn(l, true, 5) < LANES) {
        account_find(&d->account, &d->other, "the broker closed a connection");
        return false;
    }
    if (l->refused > before && !refusal_is_clear(l))
        account_find(&d->account, &d->other, "refused without a clear reason: code %d: %s", l->refusal_code,
                     l->refusal_text);
    d->no_file += l->refused > before && l->refusal_code == RESP_SYSTEM_ERROR;
    return true;
}

static bool turns(struct disk *d, int64_t ms)
{
    const int64_t end = clock_mono(clk) + ms;
    while (clock_mono(clk) < end)
        if (!turn(d))
            return false;
    return true;
}

/* Until the broker's files fill so much of the disk. */
static bool fill_share(struct disk *d, int percent)
{
    const int64_t end = clock_mono(clk) + LOAD_MS;
    while (used_percent(d) < percent) {
        if (!turn(d))
            return false;
        if (clock_mono(clk) > end) {
            account_find(&d->account, &d->other, "after 60 s of sends only %d percent of the disk are used, not %d",
                         used_percent(d), percent);
            return false;
        }
    }
    return true;
}

/* Until nothing was acknowledged for a second while sends were refused with code 14. */
static bool wait_all_refused(struct disk *d)
{
    enum { QUIET_MS = 1000 };
    const int64_t began = clock_mono(clk);
    const int64_t refused = d->load.refused;
    d->load.last_ack_ms = began;
    while (clock_mono(clk) - began < ALL_REFUSED_MS) {
        if (!turn(d))
            return false;
        if (clock_mono(clk) - d->load.last_ack_ms > QUIET_MS && d->load.refused > refused &&
            d->load.refusal_code == RESP_SERVICE_NOT_AVAILABLE)
            return true;
    }
    account_find(&d->account, &d->other, "10 s after the disk was full sends are not all refused (last refusal: "
                 "code %d: %s)", d->load.refusal_code, d->load.refusal_text);
    return false;
}

static bool wait_accepted(struct disk *d)
{
    const int64_t began = clock_mono(clk), acked = d->account.acked;
    while (clock_mono(clk) - began < RESUME_MS) {
        if (!turn(d))
            return false;
        if (d->account.acked > acked) {
            const int64_t ms = clock_mono(clk) - began;
            d->resume_worst_ms = ms > d->resume_worst_ms ? ms : d->resume_worst_ms;
            return true;
        }
    }
    account_find(&d->account, &d->other, "sends are still refused 10 s after space was freed, %d percent of the "
                 "disk are used: code %d: %s", used_percent(d), d->load.refusal_code, d->load.refusal_text);
    return false;
}

/* Everything is readable, over a connection of its own; nothing may be in flight. */
static void read_all(struct disk *d, bool create_topic)
{
    struct err e;
    const int fd = wire_dial(&d->broker.host, &e);
    if (fd < 0 || (create_topic && wire_create_topic(fd, ACCOUNT_TOPIC, ACCOUNT_QUEUES, &e) != 0) ||
        account_read(&d->account, fd, &e) != 0)
        chaos_die("reading back", e.text);
    close(fd);
}

static bool settle(struct disk *d)
{
    if (load_run(&d->load, 0))
        return true;
    account_find(&d->account, &d->other, "requests are not answered");
    return false;
}

static void connect_load(struct disk *d)
{
    struct err e;
    if (load_connect(&d->load, &d->broker.host, &e) != 0)
        chaos_die("connect", e.text);
}

/* Ends the broker and starts it again as the disk is. */
static bool restart(struct disk *d, bool orderly)
{
    if (orderly)
        (void)process_signal(d->broker.process, SIGTERM);
    else
        (void)process_signal(d->broker.process, SIGKILL);
    const int code = chaos_broker_end(&d->broker, 20000);
    load_disconnect(&d->load);
    if (orderly && code == 256 + SIGKILL)
        account_find(&d->account, &d->other, "SIGTERM on a full disk did not end the broker in 20 s");
    chaos_broker_launch(&d->broker);
    d->restarts++;
    if (chaos_broker_await(&d->broker))
        return true;
    account_find(&d->account, &d->other, "the broker does not start %s; see %s/out",
                 orderly ? "after an orderly stop" : "after kill -9", d->broker.dir);
    return false;
}

static bool while_full(struct disk *d)
{
    if (!wait_all_refused(d) || !settle(d))
        return false;
    read_all(d, false);
    const uint64_t way = rng_below(&d->rng, 3);
    if (way == 2 || findings(d) > 0)
        return findings(d) == 0;
    if (!restart(d, way == 1))
        return false;
    read_all(d, false);
    if (findings(d) > 0)
        return false;
    connect_load(d);
    return wait_all_refused(d) && settle(d);
}

static void round_of(struct disk *d)
{
    new_disk(d);
    account_init(&d->account, rng_u64(&d->rng) >> 1);
    load_forget(&d->load);
    chaos_broker_start(&d->broker);
    read_all(d, true);
    connect_load(d);
    d->load.may_refuse = false;
    if (!fill_share(d, SHARE_LEAST + (int)rng_below(&d->rng, SHARE_MOST - SHARE_LEAST + 1)))
        return;
    d->load.may_refuse = true;
    fill_up(d);
    if (!while_full(d))
        return;
    set_free(d);
    if (!wait_accepted(d) || !turns(d, AFTER_MS) || !settle(d))
        return;
    read_all(d, false);
    if (findings(d) == 0 && restart(d, false))
        read_all(d, false);
}

static void run(struct disk *d)
{
    for (d->round = 1; d->round <= d->rounds && findings(d) == 0; d->round++) {
        round_of(d);
        d->acked += d->account.acked;
        d->stored += d->account.stored;
        if (findings(d) > 0)
            return;
        chaos_broker_kill(&d->broker);
        load_disconnect(&d->load);
        account_free(&d->account);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r  round %d of %d ", d->round, d->rounds);
    }
}

static void keep(const struct disk *d)
{
    fprintf(stderr, "mqdisk: round %d: %s\nmqdisk: again with --seed %lld; the broker's last words:\n", d->round,
            d->account.first, (long long)d->seed);
    char path[PATH_MAX + 8], line[1024];
    snprintf(path, sizeof path, "%s/out", d->broker.dir);
    FILE *const f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stderr);
    if (f != NULL)
        fclose(f);
}

static void report(const struct disk *d)
{
    const struct account *a = &d->account;
    printf("%s: rounds %d (%s), acknowledged %lld, stored %lld, refused %lld, lost %lld, invented %lld, gaps %lld, "
           "disorder %lld, restarts %lld, slowest resumption %lld ms, other findings %lld, seed %lld\n",
           d->flush, d->round - (findings(d) == 0), d->space, (long long)d->acked, (long long)d->stored,
           (long long)d->load.refused, (long long)a->lost, (long long)a->invented, (long long)a->gaps,
           (long long)a->disorder, (long long)d->restarts, (long long)d->resume_worst_ms,
           (long long)(d->other + d->load.findings), (long long)d->seed);
    fflush(stdout);
    if (findings(d) > 0)
        keep(d);
}

/* ---- command line ---- */

static const char usage[] =
    "usage: mqdisk --broker PROGRAM --dir DIRECTORY [--rounds N] [--flush ASYNC_FLUSH|SYNC_FLUSH] [--disk MIB]\n"
    "              [--seed N]\n"
    "DIRECTORY is where the small file system is mounted; MIB is its size (192), 32 at least.\n";

static _Noreturn void usage_error(void)
{
    fputs(usage, stderr);
    exit(2);
}

static void parse(int argc, char **argv, struct disk *d)
{
    static const struct option options[] = {{"broker", 1, NULL, 'b'}, {"dir", 1, NULL, 'd'},  {"rounds", 1, NULL, 'r'},
                                            {"seed", 1, NULL, 's'},   {"flush", 1, NULL, 'f'}, {"disk", 1, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    int64_t seed = (int64_t)(rng_seed_from_os() >> 1);
    int rc = 0;
    for (int o; rc == 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'b': d->broker.program = optarg; break;
        case 'd': d->broker.dir = optarg; break;
        case 'r': rc = slice_i32(slice_str(optarg), &d->rounds); break;
        case 's': rc = slice_i64(slice_str(optarg), &seed); break;
        case 'f': d->flush = optarg; break;
        case 'k': rc = slice_i32(slice_str(optarg), &d->disk_mib); break;
        default: rc = E_INVAL;
        }
    if (rc != 0 || d->broker.program == NULL || d->broker.dir == NULL || d->rounds < 1 || seed < 0 || optind < argc ||
        d->disk_mib < DISK_MIB_LEAST ||
        (strcmp(d->flush, "ASYNC_FLUSH") != 0 && strcmp(d->flush, "SYNC_FLUSH") != 0))
        usage_error();
    d->seed = (uint64_t)seed;
}

/* The configuration and the output stay outside of the full disk. */
static void write_conf(struct disk *d)
{
    char conf[PATH_MAX + 512];
    if (snprintf(d->root, sizeof d->root, "%s/store", d->broker.dir) >= (int)sizeof d->root - 16)
        chaos_die(d->broker.dir, "the path is too long");
    snprintf(d->ballast, sizeof d->ballast, "%s/ballast", d->root);
    if (mkdir(d->root, 0700) != 0)
        chaos_die(d->root, strerror(errno));
    snprintf(conf, sizeof conf, "flushDiskType=%s\nmappedFileSizeCommitLog=2097152\nmappedFileSizeConsumeQueue=4000\n"
             "maxMessageSize=131072\nmaxHashSlotNum=1000\nmaxIndexNum=2000\nflushConsumerOffsetInterval=100\n"
             "cleanFileForciblyEnable=false\n", d->flush);
    chaos_broker_conf(&d->broker, conf);
}

int main(int argc, char **argv)
{
    static struct disk d = {.flush = "ASYNC_FLUSH", .rounds = 5, .disk_mib = DISK_MIB};
    parse(argc, argv, &d);
    rng_seed(&d.rng, d.seed);
    d.space = enter_namespace();
    write_conf(&d);
    load_init(&d.load, &d.account, lanes, LANES);
    run(&d);
    report(&d);
    if (d.broker.process != NULL)
        chaos_broker_kill(&d.broker);
    load_free(&d.load);
    account_free(&d.account);
    return findings(&d) > 0;
}
