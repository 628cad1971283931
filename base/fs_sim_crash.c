/* The crash of the disk in memory: what survives when the machine stops.
 *
 * Runs on: the test's thread, under the disk's lock.
 *
 * Happy path: the crash chooses which pending directory changes survive and applies them to the
 * synced entries; then it copies the durable tree, file by file, choosing for each un-synced unit
 * whether it survives, into new inodes whose live and synced sides are equal; then the new tree is
 * the disk. The old inodes stay with the files that were open, whose generation is over.
 *
 * What a torn crash may do: keep or lose each differing unit of a file on its own; leave the
 * size at its synced value, at its live value or between; keep or lose each directory change on
 * its own, except that a change is lost when an earlier one of the same name was lost, and that
 * a rename is whole. How much of all that survives is drawn once a crash, so that nearly nothing
 * and nearly everything occur too.
 *
 * Creating a file and syncing it without its directory may lose the file: POSIX promises no more.
 *
 * Invariants: 1. with the same history and the same generator the outcome is the same (no choice
 * depends on an address or the time); 2. nothing survives that was neither synced nor written. */
#include "base/fs_sim_priv.h"

struct crash {
    struct fs_sim *s;
    struct rng *rng;
    enum fs_sim_crash_mode mode;
    uint64_t percent; /* of what is un-synced survives */
};

static bool is_torn(const struct crash *c)
{
    return c->mode == FS_SIM_TORN_PAGES || c->mode == FS_SIM_TORN_SECTORS;
}

static bool survives(const struct crash *c)
{
    return is_torn(c) ? rng_below(c->rng, 100) < c->percent : c->mode == FS_SIM_KEEP_ALL;
}

/* ---- directory changes ---- */

static bool same_name(const struct inode *dir, const char *name, const struct inode *other_dir,
                      const char *other)
{
    return dir && dir == other_dir && strcmp(name, other) == 0;
}

static bool touch_same_name(const struct op *a, const struct op *b)
{
    return same_name(a->dir, a->name, b->dir, b->name) ||
           same_name(a->dir, a->name, b->from_dir, b->from_name) ||
           same_name(a->from_dir, a->from_name, b->dir, b->name) ||
           same_name(a->from_dir, a->from_name, b->from_dir, b->from_name);
}

static bool depends_on_lost(const struct crash *c, const struct op *op)
{
    LIST_FOREACH(l, &c->s->ops) {
        const struct op *before = LIST_ENTRY(l, struct op, link);
        if (before == op)
            return false;
        if (before->lost && touch_same_name(before, op))
            return true;
    }
    return false;
}

static void settle_entries(const struct crash *c)
{
    LIST_FOREACH(l, &c->s->ops) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        op->lost = !survives(c) || depends_on_lost(c, op);
    }
    LIST_FOREACH_SAFE(l, next, &c->s->ops) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        if (!op->lost)
            op_apply(op);
        op_free(op);
    }
}

/* ---- content ---- */

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t settle_size(const struct crash *c, const struct inode *in)
{
    int64_t low = min_of(in->size, in->synced_size), high = in->size + in->synced_size - low;
    if (low == high || !is_torn(c))
        return c->mode == FS_SIM_KEEP_ALL ? in->size : in->synced_size;
    switch (rng_below(c->rng, 3)) {
    case 0: return low;
    case 1: return high;
    default: return low + (int64_t)rng_below(c->rng, (uint64_t)(high - low));
    }
}

/* What was synced, overlaid by the live units that survive; units that did not change cost no
 * choice. */
static void settle_content(const struct crash *c, struct inode *out, const struct inode *in)
{
    int64_t unit = c->mode == FS_SIM_TORN_SECTORS ? SIM_SECTOR : SIM_PAGE;
    int64_t synced = min_of(in->synced_size, out->size), live = min_of(in->size, out->size);
    if (synced)
        memcpy(out->live.p, in->synced.p, (size_t)synced);
    for (int64_t at = 0; at < live; at += unit) {
        size_t n = (size_t)min_of(live - at, unit);
        if (memcmp(in->live.p + at, out->live.p + at, n) && survives(c))
            memcpy(out->live.p + at, in->live.p + at, n);
    }
}

static struct inode *settle_file(const struct crash *c, const struct inode *in)
{
    struct inode *out = inode_new(false);
    out->mtime_ms = in->mtime_ms;
    out->size = settle_size(c, in);
    inode_reach(out, out->size);
    settle_content(c, out, in);
    for (int64_t page = 0; page * SIM_PAGE < out->size; page++)
        if (inode_page_used(in, page))
            inode_set_page(c->s, out, page, true);
    out->dirty_to = out->size;
    inode_sync(out);
    return out;
}

/* Copies the durable tree; as deep as the directories are. */
static struct inode *settle_tree(const struct crash *c, const struct inode *in)
{
    if (!in->is_dir)
        return settle_file(c, in);
    struct inode *out = inode_new(true);
    out->mtime_ms = in->mtime_ms;
    for (struct map_iter it = {0}; map_next(in->synced_entries, &it);) {
        struct inode *child = settle_tree(c, it.value);
        MQ_ASSERT(map_put(out->entries, it.key, child, NULL) == 0);
        MQ_ASSERT(map_put(out->synced_entries, it.key, inode_ref(child), NULL) == 0);
        child->parent = out;
        inode_use(c->s, child);
    }
    return out;
}

void fs_sim_crash(struct fs_sim *s, struct rng *rng, enum fs_sim_crash_mode mode)
{
    struct crash c = {.s = s, .rng = rng, .mode = mode};
    pthread_mutex_lock(&s->lock);
    c.percent = is_torn(&c) ? rng_below(rng, 101) : 0;
    settle_entries(&c);
    s->used = 0;
    struct inode *root = settle_tree(&c, s->root);
    inode_unref(s->root);
    s->root = root;
    s->generation++;
    pthread_mutex_unlock(&s->lock);
}
