/* The checkpoint file: how far the derived files can be trusted.
 *
 * Owns: storeCheckpoint, `checkpoint` in the store's root directory unless told otherwise.
 * Runs on: store_open, then the cq flusher, then store_close.
 *
 *   offset  size  (big-endian, milliseconds or bytes)                          written here
 *        0     8  store time up to which the commit log is on disk             yes
 *        8     8  store time up to which every consume queue unit is on disk   yes
 *       16     8  newest time in a full index file that is on disk             yes
 *       24     8  offset that a master has flushed (replicas)                  kept as found
 *       32     8  confirmed offset (controller mode)                           kept as found
 *       40  4056  zeros
 * Source: StoreCheckpoint.
 *
 * All fields lie in one disk sector, so a torn write leaves the old or the new ones.
 *
 * Failure modes: missing, short or unreadable as numbers: as if all zeros, recovery then starts at
 * the oldest file. A failed write is logged; the old content only makes the next recovery longer. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

static_assert(5 * sizeof(int64_t) <= 512, "the checkpoint's fields fit one sector");

static int64_t field(const char *page, int i)
{
    const int64_t v = (int64_t)be64_get(page + (size_t)i * 8);
    return v < 0 ? 0 : v;
}

int checkpoint_load(struct store *st, struct err *e)
{
    char page[CHECKPOINT_SIZE] = {0};
    const char *const path = st->places.path[PLACE_CHECKPOINT];
    int rc = st->fs->open(st->fs, path, FS_WRITE | FS_CREATE, &st->checkpoint_file, e);
    if (rc)
        return rc;
    if (st->places.moved[PLACE_CHECKPOINT]) /* an old copy, perhaps of another store */
        return 0;
    const ssize_t n = st->fs->pread(st->checkpoint_file, page, sizeof page, 0, e);
    if (n < 0)
        return (int)n;
    if (n && n < CHECKPOINT_SIZE)
        LOGW("store.repair", "file=checkpoint size=%zd expected=%d", n, CHECKPOINT_SIZE);
    st->checkpoint = (struct checkpoint){field(page, 0), field(page, 1), field(page, 2), field(page, 3),
                                         field(page, 4)};
    atomic_store(&st->index.safe_ts, st->checkpoint.index_ts);
    return 0;
}

int checkpoint_save(struct store *st, int64_t physic_ts, int64_t logics_ts, struct err *e)
{
    struct checkpoint *c = &st->checkpoint;
    const int64_t index_ts = atomic_load(&st->index.safe_ts);
    if (c->physic_ts == physic_ts && c->logics_ts == logics_ts && c->index_ts == index_ts)
        return 0;
    char page[CHECKPOINT_SIZE] = {0};
    const int64_t fields[] = {physic_ts, logics_ts, index_ts, c->master_flushed, c->confirm_phys};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        be64_put(page + i * 8, (uint64_t)fields[i]);
    int rc = FAILPOINT(FP_STORE_CHECKPOINT);
    if (rc)
        return err_set(e, rc, "write checkpoint: failpoint");
    rc = fs_write(st->checkpoint_file, st->fs, page, sizeof page, 0, e);
    if (!rc)
        rc = st->fs->datasync(st->checkpoint_file, e);
    if (rc)
        return rc;
    c->physic_ts = physic_ts;
    c->logics_ts = logics_ts;
    c->index_ts = index_ts;
    return 0;
}
