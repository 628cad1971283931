/* The key index against the log, both ways.
 *
 * Owns: v->index, with the slots of one index file as its items make them (4 bytes each).
 * Runs on: the one thread of the tool, called by the log's check.
 *
 * Items were written in log order, so one cursor over all items keeps pace with the log: at each record
 * the items that name it are taken, and each key of the record must be among them. Items that name an
 * older place (a record indexed twice, after a crash) are looked up in the log by themselves. While the
 * cursor passes, the slots are made anew from the items: each item's link to the next older one, and at
 * the end of a file its slots and their number, must be what comes out.
 *
 * What counts: with indexCheckpoint, what it says (items and files behind it are given up by the next
 * start); without (a store of RocketMQ), every file after an orderly stop, after a crash those that are
 * not younger than the checkpoint's index time. Keys of records at or behind the covered offset are
 * not missed: the broker indexes them when it runs.
 *
 * S and N are not in the file: site_index_sizes. */
#include <stdio.h>
#include <stdlib.h>

#include "mqstore/verify_priv.h"

enum { ITEMS_AHEAD = 64 * 1024 };

struct vindex_file {
    char *path;
    struct index_header h;
    int32_t count;      /* items below count */
    bool slots_checked; /* its slots must be complete */
};
struct vindex {
    struct vindex_file *files; /* those that count */
    int file_n;
    int32_t slot_n, item_max;
    int64_t covered;   /* keys of records below must be there */
    /* cursor */
    int file;          /* index in files; file_n: at the end */
    int32_t item;
    struct window w;
    int32_t *slots;    /* as the items make them; newest item of each slot */
    int32_t slots_used;
    int64_t late;      /* records with keys behind `covered` */
    /* scratch */
    struct log_reader far;
    struct buf key, tag;
    bool has_tag;
    int32_t tag_hash;
    int32_t *hashes;
    bool *met;
    size_t hash_n, hash_cap;
};

static void report_item(struct verify *v, enum severity s, enum problem_kind k, const struct vindex_file *f, int32_t item,
                        const char *text)
{
    report_add(&v->report, s, k, f->path,
               INDEX_HEADER_SIZE + (int64_t)v->index->slot_n * INDEX_SLOT_SIZE + (int64_t)item * INDEX_ITEM_SIZE,
               "entry %d: %s", item, text);
    v->ix.damaged |= s == DAMAGE;
}

static void report_file(struct verify *v, enum severity s, enum problem_kind k, const char *path, int64_t offset,
                        const char *text)
{
    report_add(&v->report, s, k, path, offset, "%s", text);
    v->ix.damaged |= s == DAMAGE;
}

/* ---- loading ---- */

static char *index_path(const struct verify *v, int64_t name)
{
    struct buf path;
    size_t n;
    buf_init(&path, 0);
    buf_printf(&path, "%s/%017lld%c", v->site.index_dir, (long long)name, 0);
    if (buf_error(&path)) {
        buf_free(&path);
        return NULL;
    }
    return buf_take(&path, &n);
}

static bool header_is_possible(const struct vindex *ix, const struct index_header *h)
{
    return h->count >= 1 && h->count <= ix->item_max && h->slots_used >= 0 && h->slots_used <= ix->slot_n &&
           h->slots_used < h->count && h->begin_ts >= 0 && h->begin_ts <= INT64_MAX / 2 && h->end_ts >= 0 &&
           h->begin_phys >= 0 && h->end_phys >= h->begin_phys;
}

/* Sets f->h. false: the file cannot be used, which is reported. */
static bool load_header(struct verify *v, struct vindex_file *f, const struct site_index_file *sf)
{
    struct vindex *const ix = v->index;
    const int64_t size = INDEX_HEADER_SIZE + (int64_t)ix->slot_n * INDEX_SLOT_SIZE + (int64_t)ix->item_max * INDEX_ITEM_SIZE;
    struct slice in;
    struct err e;
    char text[200];
    if (!ix->slot_n || ix->item_max < 2 || sf->size != size) {
        snprintf(text, sizeof text, "%lld bytes; maxHashSlotNum %d and maxIndexNum %d make %lld", (long long)sf->size,
                 ix->slot_n, ix->item_max, (long long)size);
        report_file(v, DAMAGE, INDEX_SIZE, f->path, -1, text);
        return false;
    }
    if (window_open(&ix->w, f->path, &e) || window_get(&ix->w, 0, INDEX_HEADER_SIZE, &in, &e)) {
        report_file(v, DAMAGE, INDEX_HEADER, f->path, 0, e.text);
        return false;
    }
    f->h = index_header_get((const struct disk_index_header *)in.p);
    if (header_is_possible(ix, &f->h))
        return true;
    snprintf(text, sizeof text, "impossible: next entry %d, slots in use %d, physical offsets %lld to %lld", f->h.count,
             f->h.slots_used, (long long)f->h.begin_phys, (long long)f->h.end_phys);
    report_file(v, DAMAGE, INDEX_HEADER, f->path, 0, text);
    return false;
}

/* *state: 0 none, 1 good. A damaged one is reported and counts as none. */
static int load_state(struct verify *v, struct index_state *s, bool *have, struct err *e)
{
    char *const path = path_join(v->site.root, "indexCheckpoint"), *p = NULL;
    size_t n = 0;
    struct err why;
    *have = false;
    if (!path)
        return err_set(e, E_NOMEM, "verify the index");
    const int rc = fs_read_all(v->site.fs, path, sizeof(struct disk_index_state), &p, &n, &why);
    if (!rc)
        *have = index_state_get(slice_of(p, n), s);
    if (rc != E_NOTFOUND && !*have)
        report_file(v, DAMAGE, INDEX_STATE, path, 0, rc ? why.text : "not a whole one (size, magic, version or checksum)");
    if (*have && s->name) {
        bool listed = false;
        for (int i = 0; i < v->site.index_n; i++)
            listed |= v->site.index[i].name == s->name;
        if (!listed) {
            report_file(v, DAMAGE, INDEX_STATE, path, offsetof(struct disk_index_state, name),
                        "it names an index file that is gone");
            *have = false;
        }
    }
    free(p);
    free(path);
    return 0;
}

/* A file that indexCheckpoint does not know yet, or one whose creation a crash cut short. */
static bool is_young(struct verify *v, const char *path, const struct site_index_file *sf, const struct index_state *s,
                     bool have)
{
    const bool young = have ? sf->name > s->name : v->site.crashed && !sf->size;
    if (young)
        report_file(v, NOTE, INDEX_YOUNG, path, -1, have ? "younger than indexCheckpoint" : "created, not filled");
    return young;
}

/* Does the next start believe this file? Notes why not. */
static bool counts(struct verify *v, struct vindex_file *f, int64_t name, const struct index_state *s, bool have)
{
    f->count = f->h.count;
    f->slots_checked = true;
    if (!have) {
        if (v->site.crashed && f->h.end_ts > v->checkpoint.index_ts) {
            report_file(v, NOTE, INDEX_YOUNG, f->path, -1, "younger than the checkpoint's index time");
            return false;
        }
        return true;
    }
    if (name < s->name)
        return true;
    f->slots_checked = s->slots;
    if (s->count < 1 || s->count > v->index->item_max || s->count > f->h.count) {
        report_file(v, DAMAGE, INDEX_STATE, f->path, offsetof(struct disk_index_header, count),
                    "it holds fewer entries than indexCheckpoint says");
        return true;
    }
    if (s->count < f->h.count) /* a slot may point behind them */
        f->slots_checked = false;
    f->count = s->count;
    return true;
}

static int load_files(struct verify *v, const struct index_state *state, bool have, struct err *e)
{
    struct vindex *const ix = v->index;
    ix->files = calloc((size_t)v->site.index_n + 1, sizeof *ix->files);
    if (!ix->files)
        return err_set(e, E_NOMEM, "verify the index");
    for (int i = 0; i < v->site.index_n; i++) {
        struct vindex_file f = {.path = index_path(v, v->site.index[i].name)};
        if (!f.path)
            return err_set(e, E_NOMEM, "verify the index");
        if (!is_young(v, f.path, &v->site.index[i], state, have) && load_header(v, &f, &v->site.index[i]) && counts(v, &f, v->site.index[i].name, state, have)) {
            ix->files[ix->file_n++] = f;
            v->ix.items += f.count - 1;
        } else {
            free(f.path);
        }
    }
    return 0;
}

static int enter_file(struct vindex *ix, int i, struct err *e)
{
    ix->file = i;
    ix->item = 1;
    ix->slots_used = 0;
    if (i >= ix->file_n)
        return 0;
    memset(ix->slots, 0, (size_t)ix->slot_n * sizeof *ix->slots);
    return window_open(&ix->w, ix->files[i].path, e);
}

int verify_index_load(struct verify *v, struct err *e)
{
    struct vindex *const ix = calloc(1, sizeof *ix);
    struct index_state state = {0};
    bool have = false;
    if (!ix)
        return err_set(e, E_NOMEM, "verify the index");
    v->index = ix;
    buf_init(&ix->key, 0);
    buf_init(&ix->tag, 0);
    window_init(&ix->w, v->site.fs, ITEMS_AHEAD);
    log_reader_init(&ix->far, &v->site, 4096);
    site_index_sizes(&v->site, v->site.index_n ? v->site.index[0].size : 0, &ix->slot_n, &ix->item_max);
    int rc = load_state(v, &state, &have, e);
    if (!rc)
        rc = load_files(v, &state, have, e);
    v->ix.files = ix->file_n;
    if (rc || !ix->file_n)
        return rc;
    ix->slots = calloc((size_t)ix->slot_n, sizeof *ix->slots);
    if (!ix->slots)
        return err_set(e, E_NOMEM, "verify the index: no memory for %d slots", ix->slot_n);
    const struct index_header *const last = &ix->files[ix->file_n - 1].h;
    ix->covered = have ? state.phys : last->end_phys;
    return enter_file(ix, 0, e);
}

void verify_index_free(struct verify *v)
{
    struct vindex *const ix = v->index;
    if (!ix)
        return;
    for (int i = 0; i < ix->file_n; i++)
        free(ix->files[i].path);
    free(ix->files);
    free(ix->slots);
    free(ix->hashes);
    free(ix->met);
    buf_free(&ix->key);
    buf_free(&ix->tag);
    window_fini(&ix->w);
    log_reader_fini(&ix->far);
    free(ix);
    v->index = NULL;
}

/* ---- keys of a record ---- */

static int add_hash(struct vindex *ix, int32_t hash)
{
    if (ix->hash_n == ix->hash_cap) {
        const size_t cap = ix->hash_cap ? ix->hash_cap * 2 : 16;
        int32_t *const hashes = realloc(ix->hashes, cap * sizeof *hashes);
        if (hashes)
            ix->hashes = hashes;
        bool *const met = realloc(ix->met, cap * sizeof *met);
        if (met)
            ix->met = met;
        if (!hashes || !met)
            return E_NOMEM;
        ix->hash_cap = cap;
    }
    ix->met[ix->hash_n] = false;
    ix->hashes[ix->hash_n++] = hash;
    return 0;
}

/* RocketMQ 5.5.0 has an entry "topic#T#tag" too; here there is none, and nobody misses it.
 * Source: IndexService.buildIndex of 5.5.0 (MessageConst.INDEX_TAG_TYPE). */
static int collect_tag(struct vindex *ix, const struct message *m)
{
    const struct slice tag = props_str_get(m->properties, PROP_TAGS);
    ix->has_tag = tag.n > 0;
    buf_clear(&ix->tag);
    buf_str(&ix->tag, "T#");
    buf_slice_add(&ix->tag, tag);
    return buf_error(&ix->tag) ? E_NOMEM : index_key_hash(&ix->key, m->topic, buf_slice(&ix->tag), &ix->tag_hash);
}

static int collect(struct vindex *ix, const struct message *m, struct err *e)
{
    struct record_keys keys = record_keys_of(m);
    struct slice key;
    ix->hash_n = 0;
    if (collect_tag(ix, m))
        return err_set(e, E_NOMEM, "verify the index");
    while (record_keys_next(&keys, &key)) {
        int32_t hash;
        if (index_key_hash(&ix->key, m->topic, key, &hash) || add_hash(ix, hash))
            return err_set(e, E_NOMEM, "verify the index");
    }
    return 0;
}

/* The items of a record stand in the order of its keys, so the first one not met is mostly it. */
static bool meet(struct vindex *ix, int32_t hash, size_t *next)
{
    bool known = ix->has_tag && hash == ix->tag_hash;
    for (size_t n = 0; n < ix->hash_n; n++) {
        const size_t i = (*next + n) % ix->hash_n;
        if (ix->hashes[i] != hash)
            continue;
        known = true;
        if (!ix->met[i]) {
            ix->met[i] = true;
            *next = i + 1;
            return true;
        }
    }
    return known; /* once more: indexed twice */
}

/* ---- the cursor ---- */

/* The item at the cursor; false at the end of everything. A file that cannot be read ends early. */
static bool item_at(struct verify *v, struct index_item *out)
{
    struct vindex *const ix = v->index;
    struct slice in;
    struct err e;
    if (ix->file >= ix->file_n)
        return false;
    const struct vindex_file *const f = &ix->files[ix->file];
    const int64_t at = INDEX_HEADER_SIZE + (int64_t)ix->slot_n * INDEX_SLOT_SIZE + (int64_t)ix->item * INDEX_ITEM_SIZE;
    if (!window_get(&ix->w, at, INDEX_ITEM_SIZE, &in, &e) && in.n >= INDEX_ITEM_SIZE) {
        *out = index_item_get((const struct disk_index_item *)in.p);
        return true;
    }
    report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, "cannot be read");
    ix->file = ix->file_n;
    return false;
}

/* Links and shape of the item at the cursor. */
static void check_link(struct verify *v, const struct index_item *item)
{
    struct vindex *const ix = v->index;
    const struct vindex_file *const f = &ix->files[ix->file];
    char text[128];
    if (item->hash < 0 || item->phys < 0 || item->seconds < 0) {
        report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, "impossible numbers");
        return;
    }
    int32_t *const slot = &ix->slots[item->hash % ix->slot_n];
    if (item->prev != *slot) {
        snprintf(text, sizeof text, "names entry %d as the one before it in its slot, that is %d", item->prev, *slot);
        report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, text);
    }
    ix->slots_used += !*slot;
    *slot = ix->item;
}

static void check_seconds(struct verify *v, const struct index_item *item, int64_t store_ts)
{
    struct vindex *const ix = v->index;
    const struct vindex_file *const f = &ix->files[ix->file];
    int64_t seconds = (store_ts - f->h.begin_ts) / 1000;
    seconds = seconds < 0 ? 0 : seconds > INT32_MAX ? INT32_MAX : seconds;
    if (item->seconds != seconds) {
        char text[128];
        snprintf(text, sizeof text, "is %d seconds after the file's first record, its record %lld", item->seconds,
                 (long long)seconds);
        report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, text);
    }
    /* Made anew from the items' seconds after a crash, the header's time is the end of the last second. */
    const int64_t whole_second = f->h.begin_ts + seconds * 1000 + 999;
    if (ix->item + 1 == f->h.count && f->h.end_ts != store_ts && f->h.end_ts != whole_second)
        report_file(v, DAMAGE, INDEX_HEADER, f->path, offsetof(struct disk_index_header, end_ts),
                    "its last time is not that of its last entry");
    if (ix->item == 1 && (f->h.begin_ts != store_ts || f->h.begin_phys != item->phys))
        report_file(v, DAMAGE, INDEX_HEADER, f->path, 0, "it does not begin with its first entry");
}

/* Slots and header of a file whose items have all passed. */
static void check_slots(struct verify *v)
{
    struct vindex *const ix = v->index;
    const struct vindex_file *const f = &ix->files[ix->file];
    if (!f->slots_checked)
        return;
    if (ix->slots_used != f->h.slots_used) {
        char text[128];
        snprintf(text, sizeof text, "%d slots in use, its entries use %d", f->h.slots_used, ix->slots_used);
        report_file(v, DAMAGE, INDEX_HEADER, f->path, offsetof(struct disk_index_header, slots_used), text);
    }
    for (int32_t i = 0; i < ix->slot_n; i++) {
        const int64_t at = INDEX_HEADER_SIZE + (int64_t)i * INDEX_SLOT_SIZE;
        struct slice in;
        struct err e;
        if (window_get(&ix->w, at, INDEX_SLOT_SIZE, &in, &e) || in.n < INDEX_SLOT_SIZE) {
            report_file(v, DAMAGE, INDEX_SLOT, f->path, at, "cannot be read");
            return;
        }
        if ((int32_t)be32_get(in.p) != ix->slots[i]) {
            char text[128];
            snprintf(text, sizeof text, "slot %d: names entry %d, the newest one is %d", i, (int32_t)be32_get(in.p),
                     ix->slots[i]);
            report_file(v, DAMAGE, INDEX_SLOT, f->path, at, text);
        }
    }
}

static int advance(struct verify *v, const struct index_item *item, struct err *e)
{
    struct vindex *const ix = v->index;
    check_link(v, item);
    const struct vindex_file *const f = &ix->files[ix->file];
    if (++ix->item < f->count)
        return 0;
    if (f->count == f->h.count && item->phys != f->h.end_phys)
        report_file(v, DAMAGE, INDEX_HEADER, f->path, offsetof(struct disk_index_header, end_phys),
                    "it does not end with its last entry");
    check_slots(v);
    return enter_file(ix, ix->file + 1, e);
}

/* Is the item at the cursor ahead of the one after it? Then it is damaged, or older records follow that
 * were indexed again: waiting for the log to come to it would miss those. */
static bool out_of_order(struct verify *v, const struct index_item *item)
{
    struct vindex *const ix = v->index;
    struct index_item after;
    if (ix->item + 1 >= ix->files[ix->file].count)
        return item->phys >= site_log_limit(&v->site);
    ix->item++;
    const bool got = item_at(v, &after);
    ix->item--;
    return got && after.phys < item->phys;
}

/* Skips files without items. */
static int settle(struct verify *v, struct err *e)
{
    struct vindex *const ix = v->index;
    int rc = 0;
    while (!rc && ix->file < ix->file_n && ix->item >= ix->files[ix->file].count)
        rc = enter_file(ix, ix->file + 1, e);
    return rc;
}

/* An item that names no record at the log's pace: an older record, an expired one, or none. */
static int check_far(struct verify *v, const struct index_item *item, struct err *e)
{
    struct vindex *const ix = v->index;
    const struct vindex_file *const f = &ix->files[ix->file];
    struct message m;
    struct err why;
    int64_t left;
    size_t next = 0;
    if (item->phys < site_log_min(&v->site) && item->phys >= 0)
        return 0;
    if (item->phys >= v->log.end && v->log.end) {
        report_item(v, unless_crashed(v, true), INDEX_ITEM, f, ix->item, "points behind the end of the log");
        return 0;
    }
    if (log_reader_record(&ix->far, item->phys, &m, &left, &why) != RECORD_WHOLE) {
        report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, "there is no record where it points");
        return 0;
    }
    const int rc = collect(ix, &m, e);
    if (!rc && !meet(ix, item->hash, &next))
        report_item(v, DAMAGE, INDEX_ITEM, f, ix->item, "the record it points to has no such key");
    else if (!rc)
        check_seconds(v, item, message_store_time(&m));
    return rc;
}

static void check_missing(struct verify *v, const struct message *m)
{
    struct vindex *const ix = v->index;
    size_t missing = 0;
    for (size_t i = 0; i < ix->hash_n; i++)
        missing += !ix->met[i];
    if (missing) {
        report_add(&v->report, DAMAGE, INDEX_MISSING, v->site.index_dir, -1,
                   "%zu of %zu keys of the record at physical offset %lld are not in the index", missing, ix->hash_n,
                   (long long)m->phys_offset);
        v->ix.damaged = true;
    }
}

int verify_index_record(struct verify *v, const struct message *m, struct err *e)
{
    struct vindex *const ix = v->index;
    struct index_item item;
    size_t next = 0;
    int rc = settle(v, e);
    /* Items in front of this record are looked up first: they use the same scratch. */
    while (!rc && item_at(v, &item) &&
           (item.phys < m->phys_offset || (item.phys > m->phys_offset && out_of_order(v, &item)))) {
        rc = check_far(v, &item, e);
        if (!rc)
            rc = advance(v, &item, e);
        if (!rc)
            rc = settle(v, e);
    }
    if (!rc)
        rc = collect(ix, m, e);
    v->ix.keys += (int64_t)ix->hash_n;
    while (!rc && item_at(v, &item) && item.phys == m->phys_offset) {
        if (!meet(ix, item.hash, &next))
            report_item(v, DAMAGE, INDEX_ITEM, &ix->files[ix->file], ix->item,
                        "the record it points to has no such key");
        else
            check_seconds(v, &item, message_store_time(m));
        rc = advance(v, &item, e);
        if (!rc)
            rc = settle(v, e);
    }
    if (!rc && m->phys_offset < ix->covered)
        check_missing(v, m);
    ix->late += ix->hash_n && m->phys_offset > ix->covered;
    return rc;
}

int verify_index_rest(struct verify *v, struct err *e)
{
    struct vindex *const ix = v->index;
    struct index_item item;
    int64_t done = 0;
    int rc = settle(v, e);
    verify_tell(v, "index", 0, v->ix.items * INDEX_ITEM_SIZE);
    while (!rc && item_at(v, &item)) {
        rc = check_far(v, &item, e);
        if (!rc)
            rc = advance(v, &item, e);
        if (!rc)
            rc = settle(v, e);
        if (++done % 65536 == 0)
            verify_tell(v, "index", done * INDEX_ITEM_SIZE, v->ix.items * INDEX_ITEM_SIZE);
    }
    verify_tell(v, "index", v->ix.items * INDEX_ITEM_SIZE, v->ix.items * INDEX_ITEM_SIZE);
    if (!rc && ix->file_n && ix->late)
        report_add(&v->report, NOTE, INDEX_BEHIND, v->site.index_dir, -1, "it covers the log up to physical offset "
                   "%lld of %lld: %lld records with keys are not in it yet", (long long)ix->covered,
                   (long long)v->log.end, (long long)ix->late);
    return rc;
}
