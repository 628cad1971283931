#pragma once
/* A store on a simulated disk with a clock that moves by hand, for the tests of store/. Manual mode:
 * no threads, steps are called. Failed expectations of the helpers end the test (cmocka). */
#include "base/fs_fault.h"
#include "base/fs_sim.h"
#include "tests/support/store_check.h"
#include "tests/support/test.h"

struct sent { /* one append of a test */
    struct append a;
    struct buf records;
    struct store_fixture *f;
    uint32_t writer, seq;
    bool done;
};

struct store_fixture {
    struct fs_sim *sim;
    struct fs_fault fault; /* on top of sim; the store gets this one */
    struct clock_fake clock;
    struct store_opts o;
    struct store *st;
    struct store_port port;
    struct store_recovery found;
    struct store_check check;
    uint32_t next_seq[CHECK_WRITERS_MAX];
    int failed_calls;
    char failed_reason[256];
    size_t arrivals;
    int64_t last_arrival_offset, last_arrival_code;
    int64_t progress_done, progress_total;
};

/* 64 KiB log files, queue files of 50 units, manual, at "/store"; change f->o before fixture_open. */
void fixture_init(struct store_fixture *f, enum flush_mode mode);
void fixture_fini(struct store_fixture *f); /* closes what is open */
void fixture_open(struct store_fixture *f);
int fixture_try_open(struct store_fixture *f, struct err *e);
void fixture_close(struct store_fixture *f); /* an orderly stop that must succeed */
/* The machine loses power: the store's memory is gone, the disk keeps what `mode` says. */
void fixture_crash(struct store_fixture *f, struct rng *rng, enum fs_sim_crash_mode mode);
/* Only the process dies: the store's memory is gone, the disk goes on as it is, synced or not. */
void fixture_kill(struct store_fixture *f);
void fixture_reopen(struct store_fixture *f, struct rng *rng, enum fs_sim_crash_mode mode);

/* Queues an append of (writer, next seq); sent_free it after done. */
struct sent *fixture_append(struct store_fixture *f, const char *topic, int32_t queue_id, uint32_t writer,
                            size_t body_size, const char *tag);
void sent_free(struct sent *s);
/* Append, submit, all steps until done; returns the status and notes an acknowledgement. */
enum store_status fixture_put(struct store_fixture *f, const char *topic, int32_t queue_id, size_t body_size);
void fixture_put_many(struct store_fixture *f, const char *topic, int32_t queue_id, int n, size_t body_size);
void fixture_steps(struct store_fixture *f); /* every worker until it has nothing to do */
/* The checker must find nothing wrong. */
void fixture_verify(struct store_fixture *f);

int64_t fixture_max(struct store_fixture *f, const char *topic, int32_t queue_id);
/* The path of a file below the store's root, in a static buffer. */
const char *fixture_path(const char *fmt, ...) HP_PRINTF(1, 2);
/* The whole file / the file replaced, past the store. */
void fixture_read_file(struct store_fixture *f, const char *path, char **out, size_t *n);
void fixture_write_file(struct store_fixture *f, const char *path, const void *p, size_t n);
/* Damage: the bits of `mask` flip in the byte at `at`, past the store. */
void fixture_flip(struct store_fixture *f, const char *path, int64_t at, char mask);
/* The record at phys_offset says that it was stored at `ts`; its checksum, where it has one, stays. */
void fixture_set_store_time(struct store_fixture *f, int64_t phys_offset, int64_t ts);
