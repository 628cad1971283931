#pragma once
/* A disk in memory that forgets, at fs_sim_crash, what was not synced. Paths are absolute or taken
 * from the root; ".." is refused. Thread-safe. */
#include "base/fs.h"
#include "base/rng.h"

struct fs_sim; /* opaque */

enum fs_sim_crash_mode {
    FS_SIM_LOSE_ALL,     /* every byte and directory change that was not synced is gone */
    FS_SIM_TORN_PAGES,   /* of them a random part survives, in units of 4096 bytes */
    FS_SIM_TORN_SECTORS, /* the same in units of 512 bytes */
    FS_SIM_KEEP_ALL      /* only the process died: everything survives */
};

/* capacity: bytes of file content, 0 = no limit. NULL when memory is out. */
struct fs_sim *fs_sim_new(int64_t capacity);
/* Every file must be closed, those from before a crash too. */
void fs_sim_free(struct fs_sim *s);
struct fs *fs_sim_fs(struct fs_sim *s);

/* The machine stops and starts again. Content that was synced under a name that was dirsynced is as
 * it was at the sync. Files opened before are dead: every call on them but close and unmap fails
 * with E_IO, and their mappings no longer reach the disk. Locks are gone. */
void fs_sim_crash(struct fs_sim *s, struct rng *rng, enum fs_sim_crash_mode mode);

void fs_sim_set_capacity(struct fs_sim *s, int64_t capacity);
int64_t fs_sim_used(struct fs_sim *s); /* bytes of blocks in use, in whole 4096-byte pages */
