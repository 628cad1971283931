#pragma once
/* What the parts of the disk in memory share: its inodes (fs_sim_inode.c), its directories
 * (fs_sim_dir.c), its crash (fs_sim_crash.c) and its methods (fs_sim.c). Everything here needs
 * fs_sim.lock. Memory that runs out is a panic: a test disk that failed on its own would be taken
 * for the failure under test. */
#include <pthread.h>

#include "base/fs_sim.h"
#include "base/list.h"
#include "base/map.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_NAME_MAX = 255 };
#define SIM_FILE_MAX (INT64_C(2) << 30)

struct region { /* SIM_FILE_MAX bytes of address space that never move; zeros until written */
    char *p;
    size_t usable; /* from the start; touching more is a fault */
};

struct inode {
    int refs;      /* entries, ops and open files */
    int live_uses; /* live entries and open files of this generation: its pages count while > 0 */
    bool is_dir;
    int64_t mtime_ms;
    /* file */
    struct region live, synced;
    int64_t size, synced_size;
    int64_t dirty_from, dirty_to; /* what may differ between live and synced, but for ... */
    bool map_dirty;               /* ... this: a writable mapping was handed out, anything may */
    int maps;
    unsigned char *pages; /* a bit for each page in use */
    size_t pages_cap;     /* in pages, a multiple of 64 */
    int64_t pages_n;
    const void *locked_by; /* the open file that has the lock */
    /* directory */
    struct map *entries, *synced_entries; /* name -> inode, referenced */
    struct inode *parent;                 /* live; NULL for the root */
};

struct op { /* a directory change that is not durable yet; every inode in it is referenced */
    struct list link;
    struct inode *dir, *from_dir; /* from_dir: of a rename */
    char *name, *from_name;
    struct inode *target; /* NULL: the name goes away */
    bool lost;            /* while a crash decides */
};

struct fs_sim {
    struct fs fs;
    pthread_mutex_t lock; /* guards all below and all inodes, but not mapped bytes */
    struct inode *root;
    struct list ops; /* oldest first */
    int64_t capacity, used;
    uint64_t generation; /* number of crashes */
    int open_files;
};

/* fs_sim_inode.c */
struct inode *inode_new(bool is_dir); /* one reference, which the caller has */
struct inode *inode_ref(struct inode *in);
void inode_unref(void *in); /* NULL is allowed */
void inode_use(struct fs_sim *s, struct inode *in);
void inode_unuse(struct fs_sim *s, struct inode *in);
void inode_reach(struct inode *in, int64_t n); /* both regions usable up to n */
bool inode_page_used(const struct inode *in, int64_t page);
void inode_set_page(struct fs_sim *s, struct inode *in, int64_t page, bool used);
/* Takes the pages of [off, off + n); returns how many of the n bytes are covered: fewer when the
 * disk is full. */
int64_t inode_claim(struct fs_sim *s, struct inode *in, int64_t off, int64_t n);
void inode_mark_dirty(struct inode *in, int64_t from, int64_t to);
void inode_set_size(struct fs_sim *s, struct inode *in, int64_t size); /* at most SIM_FILE_MAX */
void inode_sync_range(struct inode *in, int64_t from, int64_t to);
void inode_sync(struct inode *in);

/* fs_sim_dir.c: the live side; each change is also noted in ops */
void dir_link(struct fs_sim *s, struct inode *dir, const char *name, struct inode *in);
void dir_unlink(struct fs_sim *s, struct inode *dir, const char *name, struct inode *in);
void dir_move(struct fs_sim *s, struct inode *from_dir, const char *from_name, struct inode *in,
              struct inode *to_dir, const char *to_name, struct inode *replaced);
/* 0 or an errno: may the thing `from` take the place of `to` (may be NULL) in to_dir? */
int dir_may_replace(const struct inode *from, const struct inode *to, const struct inode *to_dir);
/* Finds what path names; 0 or an errno. *dir and name: the directory it is or would be in, and its
 * last part; for the root *dir is NULL. *in: NULL when nothing of that name is there. */
int dir_walk(struct fs_sim *s, const char *path, struct inode **dir, char name[SIM_NAME_MAX + 1],
             struct inode **in);
void dir_sync(struct fs_sim *s, struct inode *dir);
/* ... and the durable side */
void op_apply(const struct op *op);
void op_free(struct op *op);
