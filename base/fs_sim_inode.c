/* Inodes of the disk in memory: what a file holds, live and synced, and the pages it uses.
 *
 * Runs on: any thread, under the disk's lock.
 *
 * Content lies in regions reserved at SIM_FILE_MAX bytes of address space each, so that growing
 * never moves it and a mapping can be the live bytes themselves; beyond the last page of a file
 * they fault, as a real mapping does.
 *
 * A write marks its range dirty, and a sync copies dirty ranges from live to synced. A writable
 * mapping changes bytes unseen, so while one is out, and for one sync after, everything is copied.
 *
 * Space: a page is in use from its first write or allocation until it is truncated away. Pages of a
 * file count towards fs_sim.used while it has live uses: a name, or somebody who has it open.
 *
 * Invariants: 1. live bytes beyond size are zero, and so are synced bytes beyond synced_size, so
 * growing a file reads as zeros; 2. pages_n is the number of bits set in pages; 3. fs_sim.used is
 * SIM_PAGE times the pages of all inodes with live uses. */
#include "base/fs_sim_priv.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/clock.h"

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- regions ---- */

static void region_reach(struct region *r, int64_t n)
{
    if (!r->p) {
        void *p = mmap(NULL, (size_t)SIM_FILE_MAX, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MQ_ASSERT(p != MAP_FAILED);
        r->p = p;
    }
    size_t need = (size_t)round_up(n, SIM_PAGE);
    if (need <= r->usable)
        return;
    MQ_ASSERT(mprotect(r->p + r->usable, need - r->usable, PROT_READ | PROT_WRITE) == 0);
    r->usable = need;
}

static void region_free(struct region *r)
{
    if (r->p)
        munmap(r->p, (size_t)SIM_FILE_MAX);
}

/* Zeros in [from, to), as far as anything is there. */
static void region_zero(struct region *r, int64_t from, int64_t to)
{
    if (to > (int64_t)r->usable)
        to = (int64_t)r->usable;
    if (from < to)
        memset(r->p + from, 0, (size_t)(to - from));
}

void inode_reach(struct inode *in, int64_t n)
{
    region_reach(&in->live, n);
    region_reach(&in->synced, n);
}

/* ---- life ---- */

struct inode *inode_new(bool is_dir)
{
    struct inode *in = calloc(1, sizeof *in);
    MQ_ASSERT(in);
    in->refs = 1;
    in->is_dir = is_dir;
    in->mtime_ms = clock_wall(&clock_system);
    if (is_dir) {
        in->entries = map_new();
        in->synced_entries = map_new();
        MQ_ASSERT(in->entries && in->synced_entries);
    }
    return in;
}

struct inode *inode_ref(struct inode *in)
{
    in->refs++;
    return in;
}

void inode_unref(void *arg)
{
    struct inode *in = arg;
    if (!in || --in->refs > 0)
        return;
    map_free(in->entries, inode_unref);
    map_free(in->synced_entries, inode_unref);
    region_free(&in->live);
    region_free(&in->synced);
    free(in->pages);
    free(in);
}

void inode_use(struct fs_sim *s, struct inode *in)
{
    if (in->live_uses++ == 0)
        s->used += in->pages_n * SIM_PAGE;
}

void inode_unuse(struct fs_sim *s, struct inode *in)
{
    if (--in->live_uses == 0)
        s->used -= in->pages_n * SIM_PAGE;
}

/* ---- pages in use ---- */

static void page_room(struct inode *in, size_t pages)
{
    if (pages <= in->pages_cap)
        return;
    size_t cap = pages < in->pages_cap * 2 ? in->pages_cap * 2 : (pages + 63) / 64 * 64;
    unsigned char *bits = realloc(in->pages, cap / 8);
    MQ_ASSERT(bits);
    memset(bits + in->pages_cap / 8, 0, (cap - in->pages_cap) / 8);
    in->pages = bits;
    in->pages_cap = cap;
}

bool inode_page_used(const struct inode *in, int64_t page)
{
    return (size_t)page < in->pages_cap && (in->pages[page / 8] & 1u << page % 8);
}

void inode_set_page(struct fs_sim *s, struct inode *in, int64_t page, bool used)
{
    if (inode_page_used(in, page) == used)
        return;
    page_room(in, (size_t)page + 1);
    in->pages[page / 8] ^= (unsigned char)(1u << page % 8);
    in->pages_n += used ? 1 : -1;
    if (in->live_uses)
        s->used += used ? SIM_PAGE : -SIM_PAGE;
}

int64_t inode_claim(struct fs_sim *s, struct inode *in, int64_t off, int64_t n)
{
    int64_t end = off + n;
    for (int64_t page = off / SIM_PAGE; page * SIM_PAGE < end; page++) {
        bool full = s->capacity && s->used + SIM_PAGE > s->capacity;
        if (full && !inode_page_used(in, page))
            return page * SIM_PAGE > off ? page * SIM_PAGE - off : 0;
        inode_set_page(s, in, page, true);
    }
    return n;
}

/* ---- content ---- */

void inode_mark_dirty(struct inode *in, int64_t from, int64_t to)
{
    bool clean = in->dirty_from == in->dirty_to;
    if (clean || from < in->dirty_from)
        in->dirty_from = from;
    if (clean || to > in->dirty_to)
        in->dirty_to = to;
    in->mtime_ms = clock_wall(&clock_system);
}

void inode_set_size(struct fs_sim *s, struct inode *in, int64_t size)
{
    inode_reach(in, size);
    if (size < in->size) {
        region_zero(&in->live, size, in->size);
        for (int64_t page = round_up(size, SIM_PAGE) / SIM_PAGE; page < (int64_t)in->pages_cap;
             page++)
            inode_set_page(s, in, page, false);
    }
    /* What was cut off and is grown again is zeros, whatever the synced copy holds there. */
    inode_mark_dirty(in, size < in->size ? size : in->size, size > in->size ? size : in->size);
    in->size = size;
}

void inode_sync_range(struct inode *in, int64_t from, int64_t to)
{
    if (to > in->size)
        to = in->size;
    if (from < to)
        memcpy(in->synced.p + from, in->live.p + from, (size_t)(to - from));
}

void inode_sync(struct inode *in)
{
    if (in->map_dirty)
        inode_sync_range(in, 0, in->size);
    else
        inode_sync_range(in, in->dirty_from, in->dirty_to);
    region_zero(&in->synced, in->size, in->synced_size);
    in->synced_size = in->size;
    in->dirty_from = in->dirty_to = 0;
    in->map_dirty = in->map_dirty && in->maps > 0;
}
