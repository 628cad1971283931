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
 *       40   464  zeros
 *      504     8  store time before which no file is removed by age            yes, not RocketMQ's
 *      512  3584  zeros
 * Source: StoreCheckpoint. RocketMQ keeps what is behind its fields.
 *
 * All fields lie in one disk sector, so a torn write leaves the old or the new ones.
 *
 * Failure modes: missing, short or unreadable as numbers: as if all zeros, recovery then starts at
 * the oldest file. A failed write is logged; the old content only makes the next recovery longer. */
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

static int64_t field(const char *place)
{
    const int64_t v = (int64_t)be64_get(place);
    return v < 0 ? 0 : v;
}

struct checkpoint checkpoint_get(const struct disk_checkpoint *d)
{
    return (struct checkpoint){field(d->physic_ts), field(d->logics_ts), field(d->index_ts),
                               field(d->master_flushed), field(d->confirm_phys), field(d->age_from_ts)};
}

int checkpoint_load(struct store *st, struct err *e)
{
    struct disk_checkpoint d = {0};
    const char *const path = st->places.path[PLACE_CHECKPOINT];
    int rc = st->fs->open(st->fs, path, FS_WRITE | FS_CREATE, &st->checkpoint_file, e);
    if (rc)
        return rc;
    if (st->places.moved[PLACE_CHECKPOINT]) /* an old copy, perhaps of another store */
        return 0;
    const ssize_t n = st->fs->pread(st->checkpoint_file, &d, sizeof d, 0, e);
    if (n < 0)
        return (int)n;
    if (n && n < CHECKPOINT_SIZE)
        LOGW("store.repair", "file=checkpoint size=%zd expected=%d", n, CHECKPOINT_SIZE);
    st->checkpoint = checkpoint_get(&d);
    atomic_store(&st->retention.age_from_ts, st->checkpoint.age_from_ts);
    atomic_store(&st->index.safe_ts, st->checkpoint.index_ts);
    return 0;
}

int checkpoint_save(struct store *st, int64_t physic_ts, int64_t logics_ts, struct err *e)
{
    struct checkpoint *c = &st->checkpoint;
    const int64_t index_ts = atomic_load(&st->index.safe_ts), age_from_ts = atomic_load(&st->retention.age_from_ts);
    if (c->physic_ts == physic_ts && c->logics_ts == logics_ts && c->index_ts == index_ts &&
        c->age_from_ts == age_from_ts)
        return 0;
    struct disk_checkpoint d = {0};
    be64_put(d.physic_ts, (uint64_t)physic_ts);
    be64_put(d.logics_ts, (uint64_t)logics_ts);
    be64_put(d.index_ts, (uint64_t)index_ts);
    be64_put(d.master_flushed, (uint64_t)c->master_flushed);
    be64_put(d.confirm_phys, (uint64_t)c->confirm_phys);
    be64_put(d.age_from_ts, (uint64_t)age_from_ts);
    int rc = FAILPOINT(FP_STORE_CHECKPOINT);
    if (rc)
        return err_set(e, rc, "write checkpoint: failpoint");
    rc = fs_write(st->checkpoint_file, st->fs, &d, sizeof d, 0, e);
    if (!rc)
        rc = st->fs->datasync(st->checkpoint_file, e);
    if (rc)
        return rc;
    c->physic_ts = physic_ts;
    c->logics_ts = logics_ts;
    c->index_ts = index_ts;
    c->age_from_ts = age_from_ts;
    return 0;
}
