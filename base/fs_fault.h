#pragma once
/* A file system on top of another that fails, shortens, delays or holds up chosen calls. */
#include <pthread.h>

#include "base/fs.h"

/* One bit per method of struct fs that can fail. */
enum {
    FS_OP_OPEN = 1 << 0,
    FS_OP_READ = 1 << 1,
    FS_OP_WRITE = 1 << 2,
    FS_OP_DATASYNC = 1 << 3,
    FS_OP_SYNC = 1 << 4,
    FS_OP_TRUNCATE = 1 << 5,
    FS_OP_ALLOCATE = 1 << 6,
    FS_OP_SIZE = 1 << 7,
    FS_OP_MAP = 1 << 8,
    FS_OP_MAP_SYNC = 1 << 9,
    FS_OP_LOCK = 1 << 10,
    FS_OP_RENAME = 1 << 11,
    FS_OP_UNLINK = 1 << 12,
    FS_OP_RMDIR = 1 << 13,
    FS_OP_MKDIR = 1 << 14,
    FS_OP_STAT = 1 << 15,
    FS_OP_LIST = 1 << 16,
    FS_OP_DIRSYNC = 1 << 17,
    FS_OP_SPACE = 1 << 18,
    FS_OP_SYNC_ALL = 1 << 19,
    FS_OP_READ_NOW = 1 << 20, /* E_AGAIN as error: what it wants is not in memory */
    FS_OP_RESIDENT = 1 << 21, /* any error: the range is not in memory */
    FS_OP_COUNT = 22,
    FS_OP_ALL = (1 << 22) - 1,
    FS_OP_ANY_SYNC = FS_OP_DATASYNC | FS_OP_SYNC | FS_OP_MAP_SYNC | FS_OP_DIRSYNC | FS_OP_SYNC_ALL,
    FS_OP_CHANGES = FS_OP_WRITE | FS_OP_ANY_SYNC | FS_OP_TRUNCATE | FS_OP_ALLOCATE | FS_OP_RENAME |
                    FS_OP_UNLINK | FS_OP_RMDIR | FS_OP_MKDIR /* and FS_OP_OPEN with FS_CREATE */
};

struct fs_fault_rule {
    unsigned ops;         /* FS_OP_* mask */
    const char *path_has; /* only paths that contain this; NULL = all. Borrowed while armed */
    uint64_t nth;         /* the first matching call that is hit: 1 = the next one (0 means 1) */
    bool for_ever;        /* that call and all after it; otherwise just that one */
    int error;            /* E_* to fail with; 0 = the call goes through (after delay and hook) */
    size_t short_bytes;   /* WRITE: so many bytes reach the file below before `error` */
    int64_t delay_ms;     /* slept before the call: a slow disk */
    void (*hook)(void *arg); /* called before the call, without locks held: it may block */
    void *arg;
};

enum { FS_FAULT_RULES_MAX = 8 };

struct fs_fault {
    struct fs fs; /* pass &f->fs to the code under test */
    struct fs *under;
    pthread_mutex_t lock; /* guards what follows */
    struct {
        struct fs_fault_rule rule;
        uint64_t seen;
    } rules[FS_FAULT_RULES_MAX];
    int rules_n;
    uint64_t calls[FS_OP_COUNT], fired;
};

void fs_fault_init(struct fs_fault *f, struct fs *under);
void fs_fault_fini(struct fs_fault *f); /* every file must be closed */
/* Adds a rule (at most FS_FAULT_RULES_MAX); of several that match the first armed one acts. */
void fs_fault_arm(struct fs_fault *f, struct fs_fault_rule rule);
void fs_fault_disarm(struct fs_fault *f);                      /* all rules */
uint64_t fs_fault_calls(struct fs_fault *f,
                        unsigned ops); /* calls seen since init, summed over the mask */
uint64_t fs_fault_fired(struct fs_fault *f);                   /* calls that a rule acted on */
