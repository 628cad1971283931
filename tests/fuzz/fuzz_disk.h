#pragma once
/* A small disk in memory for fuzz targets: no durability to lose and nothing to wait for, but each
 * file is a heap block of exactly its size, so that AddressSanitizer sees a byte read behind its end,
 * also through a mapping; and it has an end, so that a target sees a store that fills the disk. One
 * disk, one thread. */
#include "base/fs.h"

enum { FUZZ_DISK_BYTES = 1 << 20, FUZZ_DISK_NODES = 512 };

struct fs *fuzz_disk(void);
void fuzz_disk_reset(void); /* nothing on it; every file must be closed */
void fuzz_disk_put(const char *path, struct slice content); /* creates or replaces, and directories above */
void fuzz_disk_mkdir(const char *path); /* and directories above */
bool fuzz_disk_get(const char *path, struct slice *content);
void fuzz_disk_remove(const char *path); /* a file or a tree; may be absent */
void fuzz_disk_move(const char *from, const char *to); /* a file or a tree; may be absent; `to` is not */

/* All files and directories as they are; no file may be open. */
struct fuzz_image; /* opaque; lives as long as the process */
struct fuzz_image *fuzz_disk_save(void);
void fuzz_disk_restore(const struct fuzz_image *image);
