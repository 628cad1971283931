/* The file that says how much of the index is on disk: `indexCheckpoint` in the store's root.
 *
 * Owns: that file. Runs on: the index worker, store_close.
 *
 *   offset  size  (big-endian)
 *        0     4  48504958 ("HPIX")
 *        4     4  1: version of this layout
 *        8     8  name of the last index file as a number; 0: there is none
 *       16     8  records below this physical offset have all their items on disk
 *       24     4  its next item number: smaller ones are on disk
 *       28     4  1: its slots are on disk, complete; 0: make them from the items
 *       32     4  CRC-32 of bytes 0 to 31
 *
 * RocketMQ has no such file and ignores it: its checkpoint knows full index files only, which is why
 * there a crash costs keys. Replaced whole (temporary file, sync, rename), after the sync of what it
 * speaks of. Lost or damaged: index.c falls back to the checkpoint's index time. */
#include <stdlib.h>

#include "base/crc.h"
#include "base/log.h"
#include "store/store_priv.h"

enum { STATE_MAGIC = 0x48504958, STATE_VERSION = 1 };

enum { CRC_AT = offsetof(struct disk_index_state, crc) }; /* of the bytes before it */

bool index_state_get(struct slice bytes, struct index_state *s)
{
    const struct disk_index_state *const d = (const struct disk_index_state *)bytes.p;
    if (bytes.n != sizeof *d || be32_get(d->magic) != STATE_MAGIC || be32_get(d->version) != STATE_VERSION ||
        be32_get(d->crc) != crc32_update(0, d, CRC_AT))
        return false;
    *s = (struct index_state){.name = (int64_t)be64_get(d->name), .phys = (int64_t)be64_get(d->phys),
                              .count = (int32_t)be32_get(d->count), .slots = be32_get(d->slots) == 1};
    return true;
}

int index_state_load(struct index *ix, struct index_state *s, struct err *e)
{
    char *p;
    size_t n;
    const int rc = fs_read_all(ix->st->fs, ix->state_path, sizeof(struct disk_index_state), &p, &n, e);
    if (rc && rc != E_TOOBIG)
        return rc;
    const bool good = !rc && index_state_get(slice_of(p, n), s);
    if (!rc)
        free(p);
    if (good)
        return 0;
    LOGW("store.repair", "file=%s text=\"damaged, ignored\"", ix->state_path);
    return err_set(e, E_CORRUPT, "%s is damaged", ix->state_path);
}

int index_state_save(struct index *ix, const struct index_state *s, struct err *e)
{
    struct disk_index_state d;
    be32_put(d.magic, STATE_MAGIC);
    be32_put(d.version, STATE_VERSION);
    be64_put(d.name, (uint64_t)s->name);
    be64_put(d.phys, (uint64_t)s->phys);
    be32_put(d.count, (uint32_t)s->count);
    be32_put(d.slots, s->slots);
    be32_put(d.crc, crc32_update(0, &d, CRC_AT));
    return fs_write_atomic(ix->st->fs, ix->state_path, slice_of((const char *)&d, sizeof d), e);
}
