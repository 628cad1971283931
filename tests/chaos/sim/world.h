#pragma once
/* A store on a simulated disk under a clock that moves by hand, with its workers, several senders,
 * a consumer at the tail, and a power switch. Everything follows from one seed: the same seed is the
 * same run, call by call.
 *
 * One thread; the store is in manual mode and its workers run when their time has come. */
#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "tests/chaos/sim/ledger.h"

struct world {
    uint64_t seed;
    struct rng rng;
    struct fs_sim *sim;
    struct fs_fault fault; /* on top of sim; the store gets this one, or `fs` when it is set */
    struct fs *fs;
    struct clock_fake clock;
    struct store_opts o;
    struct store *st;
    struct store_port ports[LEDGER_WRITERS];
    struct store_recovery found;
    struct ledger ledger;
    struct list sendings; /* appends that are not done */
    int64_t consumed[LEDGER_TOPICS][LEDGER_QUEUES];
    int64_t flush_due, cq_due, index_due, space_due, clean_due; /* monotonic */
    enum fs_sim_crash_mode cut_mode;
    bool power_off;
    bool sealed_only; /* every record ends with the checksum property, as the broker's do */
    bool failed;    /* the store said that it is FAILED, */
    int64_t failed_ms; /* at this time */
    int64_t acked;  /* messages */
    int bad_acks;   /* sent after it had failed and acknowledged all the same */
    char trouble[256]; /* what a consumer met; "" when nothing */
    void (*enter)(void), (*leave)(void); /* called around the store's own work; NULL: nothing */
};

/* Draws the store's keys and makes an empty disk. */
void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
void world_set_mode(struct world *w, enum flush_mode mode); /* before the first open */
int world_open(struct world *w, struct err *e) HP_MUST_USE;
int world_close(struct world *w, struct err *e) HP_MUST_USE; /* an orderly stop */
/* One thing happens: a burst of sends, time passes, a consumer reads, a worker works. */
void world_step(struct world *w);
void world_send(struct world *w, int32_t writer, int messages); /* one burst */
void world_advance(struct world *w, int64_t ms);
void world_settle(struct world *w); /* every worker until it has nothing to do */
/* The power goes at the nth call of the file system from now on (1: the next one). */
void world_arm_cut(struct world *w, uint64_t nth);
void world_cut(struct world *w); /* now, unless it is gone already */
/* The store's memory is gone, the disk keeps what survived; the power is back. */
void world_lose_memory(struct world *w);
bool world_judge(struct world *w, bool may_lose, struct verdict *v);

/* Sums of many runs, and how a failure is told. */
struct tally {
    const char *id; /* "R2" */
    int64_t runs, positions, cuts, faults, acked, excused, refused, changed, dropped;
    int64_t found; /* messages read */
    int64_t lost, invented, gaps, disorder, damaged, unindexed, hidden, leaks;
    int64_t failures;
    bool quiet;      /* self-test: failures are wanted, not told */
    char first[512]; /* the first failure */
};
void tally_verdict(struct tally *t, const struct verdict *v);
/* The command that repeats one run, or position n of a sweep when that is not 0. */
enum { TALLY_COMMAND_MAX = 80 };
void tally_command(const struct tally *t, uint64_t seed, int64_t n, char *out, size_t cap);
/* Counts and tells: "R2: <text>; reproduce: mqchaos R2 --count 1 --seed S". */
void tally_fail(struct tally *t, uint64_t seed, const char *fmt, ...) HP_PRINTF(3, 4);
/* The same for position n of a sweep: "... mqchaos R5 --at N --seed S". */
void tally_fail_at(struct tally *t, uint64_t seed, int64_t n, const char *fmt, ...) HP_PRINTF(4, 5);
