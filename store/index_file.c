/* One index file: a hash table from keys to places in the commit log.
 *
 * Owns: the file, and in memory the slots of the file that grows (20 MB by default, touched as used)
 * and the items that are not written yet.
 * Runs on: the index worker alone.
 *
 * Layout (all integers big-endian; sizes by maxHashSlotNum S and maxIndexNum N):
 *
 *          offset  size  content
 *               0     8  store time of the first record with a key here, ms
 *               8     8  store time of the last one
 *              16     8  physical offset of the first one
 *              24     8  physical offset of the last one
 *              32     4  slots in use
 *              36     4  number of the next item; items count from 1, so an empty file has 1
 *              40   4 S  slots: the newest item whose hash falls here (hash modulo S), 0 when none
 *        40 + 4 S  20 N  items: hash 4, physical offset 8, whole seconds after the first record 4,
 *                        the next older item of the same slot 4 (0 when none)
 *
 * Item 0 is never used; the file is full when the next number is N. It has its full size from the
 * beginning and is sparse: blocks are taken as items come.
 * Source: IndexFile, IndexHeader.
 *
 * Happy path: items are collected and appended in one write; slots change in memory only, and go to
 * disk when the file is full or the store closes. So a growing file costs sequential writes.
 *
 * Failure modes: after a crash the slots on disk are old, or half of them; index_file_reopen makes
 * them from the items, which hold everything. A write error leaves the items in memory, and the next
 * index_file_write tries again: nothing is counted as done before.
 *
 * Invariants: 1. an item's prev is smaller than its own number, so chains end; 2. physical offsets do
 * not fall from item to item in a file written here. */
#include <stdio.h>
#include <stdlib.h>

#include "store/store_priv.h"

enum { TAIL_ITEMS = 2048, CHUNK = 64 * 1024 };

static int64_t items_at(const struct index_file *f)
{
    return INDEX_HEADER_SIZE + (int64_t)f->slot_n * INDEX_SLOT_SIZE;
}

static int64_t item_at(const struct index_file *f, int32_t i)
{
    return items_at(f) + (int64_t)i * INDEX_ITEM_SIZE;
}

static int64_t file_size(const struct index_file *f)
{
    return item_at(f, f->item_max);
}

static struct index_file *file_new(struct fs *fs, const char *dir, int64_t name, int32_t slot_n,
                                   int32_t item_max)
{
    struct index_file *f = calloc(1, sizeof *f);
    const size_t path_n = strlen(dir) + 32;
    if (!f)
        return NULL;
    f->fs = fs;
    f->name = name;
    f->slot_n = slot_n;
    f->item_max = item_max;
    f->h.count = f->written = 1;
    f->path = malloc(path_n);
    const bool path_ok = f->path != NULL;
    if (path_ok)
        snprintf(f->path, path_n, "%s/%017lld", dir, (long long)name);
    else
        free(f);
    return path_ok ? f : NULL;
}

void index_file_close(struct index_file *f)
{
    if (f->f)
        f->fs->close(f->f);
    free(f->slots);
    free(f->tail);
    free(f->path);
    free(f);
}

static int grow_ready(struct index_file *f, struct err *e)
{
    f->slots = calloc((size_t)f->slot_n, sizeof *f->slots);
    f->tail = malloc((size_t)TAIL_ITEMS * INDEX_ITEM_SIZE);
    if (f->slots && f->tail)
        return 0;
    free(f->slots);
    free(f->tail);
    f->slots = NULL;
    f->tail = NULL;
    return err_set(e, E_NOMEM, "%s: no memory for %d slots", f->path, f->slot_n);
}

int index_file_create(struct fs *fs, const char *dir, int64_t name, int32_t slot_n, int32_t item_max,
                      struct index_file **out, struct err *e)
{
    struct index_file *f = file_new(fs, dir, name, slot_n, item_max);
    if (!f)
        return err_set(e, E_NOMEM, "create index file");
    int rc = grow_ready(f, e);
    if (!rc)
        rc = fs->open(fs, f->path, FS_WRITE | FS_CREATE | FS_EXCL, &f->f, e);
    if (!rc) {
        rc = fs->truncate(f->f, file_size(f), e);
        if (!rc)
            rc = fs->dirsync(fs, dir, e);
        if (rc)
            (void)fs->unlink(fs, f->path, NULL);
    }
    if (rc) {
        index_file_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

static int read_whole(struct index_file *f, void *p, size_t n, int64_t off, struct err *e)
{
    const ssize_t got = f->fs->pread(f->f, p, n, off, e);
    if (got < 0)
        return (int)got;
    return (size_t)got == n ? 0 : err_set(e, E_CORRUPT, "%s: ends before byte %lld", f->path,
                                          (long long)(off + (int64_t)n));
}

struct index_header index_header_get(const struct disk_index_header *d)
{
    const int32_t count = (int32_t)be32_get(d->count);
    return (struct index_header){
        .begin_ts = (int64_t)be64_get(d->begin_ts), .end_ts = (int64_t)be64_get(d->end_ts),
        .begin_phys = (int64_t)be64_get(d->begin_phys), .end_phys = (int64_t)be64_get(d->end_phys),
        .slots_used = (int32_t)be32_get(d->slots_used),
        .count = count ? count : 1 /* a file that upstream created and never used */};
}

struct index_item index_item_get(const struct disk_index_item *d)
{
    return (struct index_item){.hash = (int32_t)be32_get(d->hash), .phys = (int64_t)be64_get(d->phys),
                               .seconds = (int32_t)be32_get(d->seconds), .prev = (int32_t)be32_get(d->prev)};
}

static int read_header(struct index_file *f, struct err *e)
{
    struct disk_index_header d;
    int64_t size;
    int rc = f->fs->size(f->f, &size, e);
    if (rc)
        return rc;
    if (size != file_size(f))
        return err_set(e, E_CORRUPT, "%s has %lld bytes; maxHashSlotNum=%d and maxIndexNum=%d make %lld", f->path,
                       (long long)size, f->slot_n, f->item_max, (long long)file_size(f));
    rc = read_whole(f, &d, sizeof d, 0, e);
    if (rc)
        return rc;
    f->h = index_header_get(&d);
    f->written = f->h.count;
    const struct index_header *h = &f->h;
    if (h->count < 1 || h->count > f->item_max || h->slots_used < 0 || h->slots_used > f->slot_n ||
        h->begin_ts < 0 || h->begin_ts > INT64_MAX / 2 || h->begin_phys < 0 || h->end_phys < h->begin_phys)
        return err_set(e, E_CORRUPT, "%s: impossible header (items %d, slots %d, offsets %lld to %lld)", f->path,
                       h->count, h->slots_used, (long long)h->begin_phys, (long long)h->end_phys);
    return 0;
}

int index_file_load(struct fs *fs, const char *dir, int64_t name, int32_t slot_n, int32_t item_max,
                    struct index_file **out, struct err *e)
{
    struct index_file *f = file_new(fs, dir, name, slot_n, item_max);
    if (!f)
        return err_set(e, E_NOMEM, "load index file");
    int rc = fs->open(fs, f->path, FS_WRITE, &f->f, e);
    if (!rc)
        rc = read_header(f, e);
    if (rc) {
        index_file_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

int index_file_item(struct index_file *f, int32_t i, struct index_item *out, struct err *e)
{
    struct disk_index_item d;
    if (i >= f->written && f->tail) {
        *out = index_item_get((const struct disk_index_item *)f->tail + (i - f->written));
    } else {
        const int rc = read_whole(f, &d, sizeof d, item_at(f, i), e);
        if (rc)
            return rc;
        *out = index_item_get(&d);
    }
    if (out->prev < 0 || out->prev >= i || out->hash < 0 || out->phys < 0)
        return err_set(e, E_CORRUPT, "%s: item %d is damaged", f->path, i);
    return 0;
}

int index_file_check(struct index_file *f, int64_t phys_max, struct err *e)
{
    const struct index_header *h = &f->h;
    struct index_item first, last;
    if (h->count <= 1)
        return 0;
    int rc = index_file_item(f, 1, &first, e);
    if (!rc)
        rc = index_file_item(f, h->count - 1, &last, e);
    if (!rc && (first.phys != h->begin_phys || last.phys != h->end_phys || h->end_phys < h->begin_phys ||
                h->end_phys >= phys_max))
        rc = err_set(e, E_CORRUPT, "%s: the header says offsets %lld to %lld, the items %lld to %lld, the log ends "
                     "at %lld", f->path, (long long)h->begin_phys, (long long)h->end_phys, (long long)first.phys,
                     (long long)last.phys, (long long)phys_max);
    return rc;
}

int index_file_first(struct index_file *f, int32_t hash, int32_t *out, struct err *e)
{
    const int32_t slot = hash % f->slot_n;
    int32_t i;
    if (f->slots) {
        i = f->slots[slot];
    } else {
        char p[INDEX_SLOT_SIZE];
        const int rc = read_whole(f, p, sizeof p, INDEX_HEADER_SIZE + (int64_t)slot * INDEX_SLOT_SIZE, e);
        if (rc)
            return rc;
        i = (int32_t)be32_get(p);
    }
    if (i < 0 || i >= f->h.count)
        return err_set(e, E_CORRUPT, "%s: slot %d is damaged", f->path, slot);
    *out = i;
    return 0;
}

/* ---- growing ---- */

int index_file_add(struct index_file *f, int32_t hash, int64_t phys, int64_t ts, struct err *e)
{
    MQ_ASSERT(f->slots && !index_file_full(f));
    struct index_header *h = &f->h;
    if (h->count - f->written == TAIL_ITEMS) {
        const int rc = index_file_write(f, e);
        if (rc)
            return rc;
    }
    if (h->count == 1) {
        h->begin_ts = ts;
        h->begin_phys = phys;
    }
    int64_t seconds = (ts - h->begin_ts) / 1000;
    seconds = seconds < 0 ? 0 : seconds > INT32_MAX ? INT32_MAX : seconds;
    int32_t *slot = &f->slots[hash % f->slot_n];
    struct disk_index_item *const d = (struct disk_index_item *)f->tail + (h->count - f->written);
    be32_put(d->hash, (uint32_t)hash);
    be64_put(d->phys, (uint64_t)phys);
    be32_put(d->seconds, (uint32_t)seconds);
    be32_put(d->prev, (uint32_t)*slot);
    h->slots_used += !*slot;
    *slot = h->count++;
    h->end_ts = ts;
    h->end_phys = phys;
    return 0;
}

static int write_header(struct index_file *f, struct err *e)
{
    struct disk_index_header d;
    be64_put(d.begin_ts, (uint64_t)f->h.begin_ts);
    be64_put(d.end_ts, (uint64_t)f->h.end_ts);
    be64_put(d.begin_phys, (uint64_t)f->h.begin_phys);
    be64_put(d.end_phys, (uint64_t)f->h.end_phys);
    be32_put(d.slots_used, (uint32_t)f->h.slots_used);
    be32_put(d.count, (uint32_t)f->h.count);
    return fs_write(f->f, f->fs, &d, sizeof d, 0, e);
}

int index_file_write(struct index_file *f, struct err *e)
{
    int rc = 0;
    if (f->written < f->h.count)
        rc = fs_write(f->f, f->fs, f->tail, (size_t)(f->h.count - f->written) * INDEX_ITEM_SIZE,
                      item_at(f, f->written), e);
    if (rc)
        return rc;
    f->written = f->h.count;
    return write_header(f, e);
}

int index_file_write_slots(struct index_file *f, struct err *e)
{
    char chunk[CHUNK], old[CHUNK];
    const int32_t per_chunk = CHUNK / INDEX_SLOT_SIZE;
    for (int32_t first = 0; first < f->slot_n;) {
        const int32_t n = f->slot_n - first < per_chunk ? f->slot_n - first : per_chunk;
        const size_t size = (size_t)n * INDEX_SLOT_SIZE;
        const int64_t at = INDEX_HEADER_SIZE + (int64_t)first * INDEX_SLOT_SIZE;
        for (int32_t i = 0; i < n; i++)
            be32_put(chunk + (size_t)i * INDEX_SLOT_SIZE, (uint32_t)f->slots[first + i]);
        /* What is equal need not be written: a hole stays a hole. */
        int rc = read_whole(f, old, size, at, e);
        if (!rc && memcmp(chunk, old, size))
            rc = fs_write(f->f, f->fs, chunk, size, at, e);
        if (rc)
            return rc;
        first += n;
    }
    return 0;
}

/* ---- growing again after a start ---- */

/* Whether they can be believed, as far as they and the header tell. */
static bool load_slots(struct index_file *f)
{
    char chunk[CHUNK];
    const int32_t per_chunk = CHUNK / INDEX_SLOT_SIZE;
    int32_t used = 0;
    for (int32_t first = 0; first < f->slot_n;) {
        const int32_t n = f->slot_n - first < per_chunk ? f->slot_n - first : per_chunk;
        if (read_whole(f, chunk, (size_t)n * INDEX_SLOT_SIZE, INDEX_HEADER_SIZE + (int64_t)first * INDEX_SLOT_SIZE,
                       NULL))
            return false;
        for (int32_t i = 0; i < n; i++) {
            const int32_t item = (int32_t)be32_get(chunk + (size_t)i * INDEX_SLOT_SIZE);
            if (item < 0 || item >= f->h.count)
                return false;
            if (!item) /* pages of empty slots stay untouched */
                continue;
            f->slots[first + i] = item;
            used++;
        }
        first += n;
    }
    return used == f->h.slots_used;
}

/* Slots from items [1, count); ends at the first item at or behind phys_max. */
static int rebuild_slots(struct index_file *f, int32_t count, int64_t phys_max, struct err *e)
{
    const int32_t per_chunk = CHUNK / INDEX_ITEM_SIZE;
    char chunk[CHUNK];
    struct index_item item = {0};
    memset(f->slots, 0, (size_t)f->slot_n * sizeof *f->slots);
    f->h.count = 1;
    f->h.slots_used = 0;
    for (int32_t first = 1; first < count;) {
        const int32_t n = count - first < per_chunk ? count - first : per_chunk;
        const int rc = read_whole(f, chunk, (size_t)n * INDEX_ITEM_SIZE, item_at(f, first), e);
        if (rc)
            return rc;
        for (int32_t i = 0; i < n; i++) {
            item = index_item_get((const struct disk_index_item *)chunk + i);
            if (item.phys >= phys_max)
                return 0;
            if (item.hash < 0 || item.phys < 0 || item.prev < 0 || item.prev >= first + i)
                return err_set(e, E_CORRUPT, "%s: item %d is damaged", f->path, first + i);
            int32_t *slot = &f->slots[item.hash % f->slot_n];
            f->h.slots_used += !*slot;
            *slot = f->h.count++;
            f->h.end_phys = item.phys;
            f->h.end_ts = f->h.begin_ts + (int64_t)item.seconds * 1000;
        }
        first += n;
    }
    return 0;
}

int index_file_reopen(struct index_file *f, int32_t count, int64_t phys_max, bool trusted, struct err *e)
{
    const struct index_header was = f->h;
    int rc = grow_ready(f, e);
    if (rc)
        return rc;
    if (trusted && count == was.count && was.end_phys < phys_max && load_slots(f))
        return index_file_check(f, phys_max, e);
    rc = rebuild_slots(f, count, phys_max, e);
    if (!rc && f->h.count == was.count)
        f->h.end_ts = was.end_ts; /* exact, not only to the second */
    else if (!rc)
        f->h.end_ts += f->h.count > 1 ? 999 : 0; /* the time range must not be too narrow */
    if (!rc && f->h.count == 1)
        f->h = (struct index_header){.count = 1};
    f->written = f->h.count;
    return rc ? rc : index_file_check(f, phys_max, e);
}

int32_t index_hash(struct slice topic_and_key)
{
    const int32_t h = java_string_hash(topic_and_key);
    return h == INT32_MIN ? 0 : h < 0 ? -h : h;
}

int index_key_hash(struct buf *scratch, struct slice topic, struct slice key, int32_t *out)
{
    buf_clear(scratch);
    buf_slice_add(scratch, topic);
    buf_char(scratch, '#');
    buf_slice_add(scratch, key);
    if (!buf_error(scratch))
        *out = index_hash(buf_slice(scratch));
    return buf_error(scratch);
}

bool index_name_parse(const char *text, int64_t *name)
{
    return strlen(text) == INDEX_NAME_LEN && !slice_i64(slice_str(text), name) && *name > 0;
}
