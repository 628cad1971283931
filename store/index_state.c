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

enum { STATE_SIZE = 36, STATE_MAGIC = 0x48504958, STATE_VERSION = 1 };

int index_state_load(struct index *ix, struct index_state *s, struct err *e)
{
    char *p;
    size_t n;
    const int rc = fs_read_all(ix->st->fs, ix->state_path, STATE_SIZE, &p, &n, e);
    if (rc && rc != E_TOOBIG)
        return rc;
    const bool good = !rc && n == STATE_SIZE && be32_get(p) == STATE_MAGIC && be32_get(p + 4) == STATE_VERSION &&
                      be32_get(p + 32) == crc32_update(0, p, 32);
    if (good)
        *s = (struct index_state){
            .name = (int64_t)be64_get(p + 8), .phys = (int64_t)be64_get(p + 16),
            .count = (int32_t)be32_get(p + 24), .slots = be32_get(p + 28) == 1};
    if (!rc)
        free(p);
    if (good)
        return 0;
    LOGW("store.repair", "file=%s text=\"damaged, ignored\"", ix->state_path);
    return err_set(e, E_CORRUPT, "%s is damaged", ix->state_path);
}

int index_state_save(struct index *ix, const struct index_state *s, struct err *e)
{
    char p[STATE_SIZE];
    be32_put(p, STATE_MAGIC);
    be32_put(p + 4, STATE_VERSION);
    be64_put(p + 8, (uint64_t)s->name);
    be64_put(p + 16, (uint64_t)s->phys);
    be32_put(p + 24, (uint32_t)s->count);
    be32_put(p + 28, s->slots);
    be32_put(p + 32, crc32_update(0, p, 32));
    return fs_write_atomic(ix->st->fs, ix->state_path, slice_of(p, sizeof p), e);
}
