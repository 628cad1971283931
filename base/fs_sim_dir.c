/* Directories of the disk in memory: names as programs see them (live), as the platter has them
 * (synced), and the changes between the two.
 *
 * Owns: the list of changes that are not durable yet (fs_sim.ops), oldest first.
 * Runs on: any thread, under the disk's lock.
 *
 * Happy path: a change is made to the live entries at once and noted as an op. dir_sync applies the
 * ops of its directory to the synced entries and drops them. A rename across directories belongs to
 * both, and is whole: syncing either one makes it durable in both, together with the earlier
 * changes of the other directory that it may depend on.
 *
 * Failure modes: paths that name nothing, as errno values, which the methods turn into the same
 * errors as the operating system's.
 *
 * Invariants: 1. live entries = synced entries with all ops applied in order; 2. an inode is
 * referenced by each entry and each op that holds it. */
#include "base/fs_sim_priv.h"

#include <errno.h>
#include <stdlib.h>

/* ---- entries ---- */

static void put_entry(struct map *entries, const char *name, struct inode *in)
{
    void *old;
    inode_ref(in);
    MQ_ASSERT(map_put(entries, slice_str(name), in, &old) == 0);
    inode_unref(old);
}

static void drop_entry(struct map *entries, const char *name)
{
    inode_unref(map_remove(entries, slice_str(name)));
}

/* ---- ops ---- */

static char *copy_name(const char *name)
{
    char *copy = slice_dup(slice_str(name));
    MQ_ASSERT(copy);
    return copy;
}

static struct op *op_add(struct fs_sim *s, struct inode *dir, const char *name,
                         struct inode *target)
{
    struct op *op = calloc(1, sizeof *op);
    MQ_ASSERT(op);
    list_push_back(&s->ops, &op->link);
    op->dir = inode_ref(dir);
    op->name = copy_name(name);
    op->target = target ? inode_ref(target) : NULL;
    return op;
}

void op_apply(const struct op *op)
{
    if (op->from_dir)
        drop_entry(op->from_dir->synced_entries, op->from_name);
    if (op->target)
        put_entry(op->dir->synced_entries, op->name, op->target);
    else
        drop_entry(op->dir->synced_entries, op->name);
}

void op_free(struct op *op)
{
    list_remove(&op->link);
    inode_unref(op->dir);
    inode_unref(op->from_dir);
    inode_unref(op->target);
    free(op->name);
    free(op->from_name);
    free(op);
}

static struct slice pointer_key(struct inode *const *in)
{
    return slice_of((const char *)in, sizeof *in);
}

static void add_dir(struct map *dirs, struct inode **dir)
{
    MQ_ASSERT(map_put(dirs, pointer_key(dir), *dir, NULL) == 0);
}

/* Walks backwards and gathers, with each rename across directories, the other directory's earlier
 * changes too. */
void dir_sync(struct fs_sim *s, struct inode *dir)
{
    struct map *dirs = map_new();
    struct list chosen;
    MQ_ASSERT(dirs);
    list_init(&chosen);
    add_dir(dirs, &dir);
    for (struct list *l = s->ops.prev, *before; l != &s->ops; l = before) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        before = l->prev;
        if (!map_get(dirs, pointer_key(&op->dir)) && !map_get(dirs, pointer_key(&op->from_dir)))
            continue;
        add_dir(dirs, &op->dir);
        if (op->from_dir)
            add_dir(dirs, &op->from_dir);
        list_remove(l);
        list_push_front(&chosen, l);
    }
    LIST_FOREACH_SAFE(l, next, &chosen) {
        op_apply(LIST_ENTRY(l, struct op, link));
        op_free(LIST_ENTRY(l, struct op, link));
    }
    map_free(dirs, NULL);
}

/* ---- live changes ---- */

void dir_link(struct fs_sim *s, struct inode *dir, const char *name, struct inode *in)
{
    op_add(s, dir, name, in);
    put_entry(dir->entries, name, in);
    in->parent = dir;
    inode_use(s, in);
}

void dir_unlink(struct fs_sim *s, struct inode *dir, const char *name, struct inode *in)
{
    op_add(s, dir, name, NULL);
    inode_unuse(s, in);
    drop_entry(dir->entries, name);
}

void dir_move(struct fs_sim *s, struct inode *from_dir, const char *from_name, struct inode *in,
              struct inode *to_dir, const char *to_name, struct inode *replaced)
{
    struct op *op = op_add(s, to_dir, to_name, in);
    op->from_dir = inode_ref(from_dir);
    op->from_name = copy_name(from_name);
    if (replaced)
        inode_unuse(s, replaced);
    put_entry(to_dir->entries, to_name, in);
    drop_entry(from_dir->entries, from_name);
    in->parent = to_dir;
}

static bool is_under(const struct inode *in, const struct inode *top)
{
    for (; in; in = in->parent)
        if (in == top)
            return true;
    return false;
}

int dir_may_replace(const struct inode *from, const struct inode *to, const struct inode *to_dir)
{
    if (from->is_dir && is_under(to_dir, from))
        return EINVAL;
    if (!to)
        return 0;
    if (to->is_dir != from->is_dir)
        return to->is_dir ? EISDIR : ENOTDIR;
    return to->is_dir && map_count(to->entries) ? ENOTEMPTY : 0;
}

int dir_walk(struct fs_sim *s, const char *path, struct inode **dir, char name[SIM_NAME_MAX + 1],
             struct inode **in)
{
    struct slice rest = slice_str(path), part;
    *dir = NULL;
    *in = s->root;
    name[0] = '\0';
    while (slice_cut(&rest, '/', &part)) {
        if (!part.n || slice_eq_str(part, "."))
            continue;
        if (slice_eq_str(part, ".."))
            return EINVAL;
        if (!*in)
            return ENOENT;
        if (!(*in)->is_dir)
            return ENOTDIR;
        if (slice_copy(part, name, SIM_NAME_MAX + 1))
            return ENAMETOOLONG;
        *dir = *in;
        *in = map_get((*dir)->entries, part);
    }
    return path[0] ? 0 : ENOENT;
}
