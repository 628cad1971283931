/* The key index: from "topic#key" to the records that carry the key.
 *
 * Owns: storePathIndex (index_file.c has the format) and the position up to which the log is in it.
 * Runs on: the index worker, which trails the log by itself every INDEX_IDLE_MS: the send path does
 * nothing for it, not even wake it. Queries are jobs of the same worker (index_query.c), so nothing
 * here is shared but the list of them.
 *
 * Keys of a record: UNIQ_KEY and each blank-separated word of KEYS, except of rollback records.
 * Source: IndexService.buildIndex. Only visible records are read, so no answer can name a record that
 * is less durable than its mode promises.
 *
 * Happy path: read up to STEP_RECORDS records from the log, add their items; every SAVE_MS
 * sync the items and write the index's state (index_state.c). A full file is completed with its
 * slots, synced, and the next one begins; its last time goes to the checkpoint.
 *
 * Start. The state says which items are on disk and which records they cover; all that may have been
 * written later (items, files) is given up, the slots are made from the items, and indexing goes on
 * from the covered position. No state (the store comes from RocketMQ) and an orderly stop: all
 * files count. A crash, or a state that is damaged or names a file that is gone: those files count
 * that are not younger than the checkpoint's index time, as in RocketMQ, but what the others covered
 * is indexed again. Items that point behind the end of the log are dropped.
 * The index is derived: a missing file, a damaged one, or one of another size goes, with all files
 * after it, and their records are indexed again. Some records may be indexed twice then; a query
 * names each record once.
 *
 * Failure modes: a failed write or create (full disk): one log line, tried again after RETRY_MS;
 * nothing is lost, the index is only late. A failed sync: one log line, nothing is written until the
 * restart, which starts from the last good state. Sends and pulls never notice.
 *
 * Invariants: 1. every record below `indexed` has its items in the files; 2. the state never claims
 * more than was synced before it was written; 3. file names ascend in the order of creation, whatever
 * the clock does; 4. only the last file has slots in memory. */
#include "store/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

enum { STEP_RECORDS = 256, SAVE_MS = 10000, RETRY_MS = 10000, CLOSE_MS = 3000,
       READ_BYTES = 256 * 1024 };

int index_init(struct index *ix, struct store *st, struct err *e)
{
    *ix = (struct index){.st = st};
    atomic_store(&ix->indexed, -1);
    list_init(&ix->queries);
    buf_init(&ix->key, 0);
    buf_init(&ix->log, 0);
    if (uv_mutex_init(&ix->lock))
        return err_set(e, E_NOMEM, "open index: cannot create a lock");
    ix->dir = slice_dup(slice_str(st->places.path[PLACE_INDEX]));
    ix->state_path = path_join(st->root, "indexCheckpoint");
    if (ix->dir && ix->state_path)
        return 0;
    index_fini(ix);
    return err_set(e, E_NOMEM, "open index");
}

void index_fini(struct index *ix)
{
    for (int i = 0; i < ix->file_n; i++)
        index_file_close(ix->files[i]);
    free(ix->files);
    buf_free(&ix->key);
    buf_free(&ix->log);
    free(ix->dir);
    free(ix->state_path);
    uv_mutex_destroy(&ix->lock);
}

/* A state without files: whatever lies there goes. */
int index_forget(struct index *ix, struct err *e)
{
    return index_state_save(ix, &(struct index_state){.count = 1}, e);
}

static struct index_file *last_file(const struct index *ix)
{
    return ix->file_n ? ix->files[ix->file_n - 1] : NULL;
}

/* ---- files ---- */

static int remove_path(struct index *ix, const char *path, struct err *e)
{
    struct fs *fs = ix->st->fs;
    const int rc = fs->unlink(fs, path, e);
    return rc ? rc : fs->dirsync(fs, ix->dir, e);
}

static int remove_last(struct index *ix, struct err *e)
{
    const int rc = remove_path(ix, last_file(ix)->path, e);
    if (!rc)
        index_file_close(ix->files[--ix->file_n]);
    return rc;
}

static int push_file(struct index *ix, struct index_file *f, struct err *e)
{
    if (ix->file_n == ix->file_cap) {
        const int cap = ix->file_cap ? ix->file_cap * 2 : 16;
        struct index_file **files = realloc(ix->files, (size_t)cap * sizeof *files);
        if (!files)
            return err_set(e, E_NOMEM, "index file list");
        ix->files = files;
        ix->file_cap = cap;
    }
    ix->files[ix->file_n++] = f;
    return 0;
}

/* Local time as RocketMQ names them, but never below the last name: clocks and summer times go back. */
static int64_t next_name(const struct index *ix)
{
    const int64_t now = clock_wall(ix->st->clock);
    const time_t seconds = (time_t)(now / 1000);
    struct tm t;
    localtime_r(&seconds, &t);
    const int64_t day = ((int64_t)t.tm_year + 1900) * 10000 + (t.tm_mon + 1) * 100 + t.tm_mday;
    const int64_t name = ((day * 100 + t.tm_hour) * 100 + t.tm_min) * 100000 + t.tm_sec * 1000 + now % 1000;
    const struct index_file *last = last_file(ix);
    return last && name <= last->name ? last->name + 1 : name;
}

/* ---- saving ---- */

static int save_state(struct index *ix, bool slots, struct err *e)
{
    const struct index_file *f = last_file(ix);
    const struct index_state s = {.name = f ? f->name : 0, .count = f ? f->h.count : 1,
                                  .phys = atomic_load(&ix->indexed), .slots = slots};
    const int rc = index_state_save(ix, &s, e);
    if (!rc) {
        ix->saved_pos = s.phys;
        ix->saved_slots = slots;
    }
    return rc;
}

static int sync_file(struct index *ix, struct index_file *f, struct err *e)
{
    const int rc = f->fs->datasync(f->f, e);
    ix->stopped |= rc != 0;
    return rc;
}

/* The slots come after a state that does not trust them: half of them on disk must not be believed. */
static int save(struct index *ix, bool slots, struct err *e)
{
    struct index_file *f = last_file(ix);
    int rc = 0;
    if (f && f->slots) {
        rc = index_file_write(f, e);
        if (!rc)
            rc = sync_file(ix, f, e);
        if (!rc)
            rc = save_state(ix, false, e);
        if (!rc && slots)
            rc = index_file_write_slots(f, e);
        if (!rc && slots)
            rc = sync_file(ix, f, e);
    }
    if (!rc && (slots || !f || !f->slots))
        rc = save_state(ix, true, e);
    return rc;
}

/* Files whose records are all gone from the log; the last one stays. */
static void drop_expired(struct index *ix)
{
    const int64_t min = atomic_load(&ix->st->log.min);
    while (ix->file_n > 1 && ix->files[0]->h.end_phys < min) {
        struct err e;
        if (remove_path(ix, ix->files[0]->path, &e)) {
            LOGW("index.expire", "text=\"%s\"", e.text);
            return;
        }
        index_file_close(ix->files[0]);
        memmove(ix->files, ix->files + 1, (size_t)--ix->file_n * sizeof *ix->files);
    }
}

static int save_if_due(struct index *ix, struct err *e)
{
    const int64_t now = clock_mono(ix->st->clock);
    if (now - ix->flush_ms < SAVE_MS)
        return 0;
    ix->flush_ms = now;
    drop_expired(ix);
    return atomic_load(&ix->indexed) == ix->saved_pos ? 0 : save(ix, false, e);
}

/* ---- adding ---- */

static int seal(struct index *ix, struct index_file *f, struct err *e)
{
    const int rc = save(ix, true, e);
    if (rc)
        return rc;
    free(f->slots);
    free(f->tail);
    f->slots = NULL;
    f->tail = NULL;
    atomic_store(&ix->safe_ts, f->h.end_ts);
    return 0;
}

/* *out is a file with room. */
static int file_with_room(struct index *ix, struct index_file **out, struct err *e)
{
    const struct store *st = ix->st;
    struct index_file *f = last_file(ix);
    int rc = f && f->slots && index_file_full(f) ? seal(ix, f, e) : 0;
    if (!rc && (!f || !f->slots)) {
        rc = index_file_create(st->fs, ix->dir, next_name(ix), st->o.index_slots, st->o.index_items, &f, e);
        if (!rc && (rc = push_file(ix, f, e))) {
            (void)remove_path(ix, f->path, NULL);
            index_file_close(f);
        }
    }
    *out = f;
    return rc;
}

static int add_key(struct index *ix, const struct message *m, struct slice key, struct err *e)
{
    struct index_file *f;
    int32_t hash;
    if (index_key_hash(&ix->key, m->topic, key, &hash))
        return err_set(e, E_NOMEM, "index a key");
    const int rc = file_with_room(ix, &f, e);
    return rc ? rc : index_file_add(f, hash, m->phys_offset, message_store_time(m), e);
}

static int add_record(struct index *ix, const struct message *m, struct err *e)
{
    struct record_keys keys = record_keys_of(m);
    struct slice key;
    int rc = 0;
    while (!rc && record_keys_next(&keys, &key))
        rc = add_key(ix, m, key, e);
    return rc;
}

/* Reads [pos, ...) of a log file, `want` bytes at most, into the buffer. Not through the mapping: every
 * page of the log would stay with the process for its keys alone. */
static int read_log(struct index *ix, const struct store_file *f, int64_t pos, int64_t want, struct slice *out,
                    struct err *e)
{
    buf_clear(&ix->log);
    char *p = buf_extend(&ix->log, (size_t)want);
    if (!p)
        return err_set(e, E_NOMEM, "index: no memory to read %lld bytes of the log", (long long)want);
    const ssize_t n = f->fs->pread(f->f, p, (size_t)want, pos - f->start, e);
    if (n < 0)
        return (int)n;
    *out = slice_of(p, (size_t)n);
    return 0;
}

/* Adds the whole records at the start of `bytes`, *left of them at most. *used: their size. *need: that
 * of the first one that is not whole; 0: the file's last record is behind us; -1: no record follows. */
static int add_records(struct index *ix, int64_t pos, struct slice bytes, int *left, int64_t *used, int64_t *need,
                       struct err *e)
{
    *used = 0;
    *need = -1;
    while (*left > 0 && *used < (int64_t)bytes.n) {
        struct message m;
        const struct slice rest = slice_of(bytes.p + *used, bytes.n - (size_t)*used);
        int rc = message_decode(rest, 0, &m, NULL);
        if (rc) {
            if (rest.n < MESSAGE_BLANK_SIZE || rc == E_NOTFOUND)
                *need = 0;
            else if (rc == E_AGAIN)
                *need = (int64_t)be32_get(rest.p);
            return 0;
        }
        m.phys_offset = pos + *used;
        rc = add_record(ix, &m, e);
        if (rc)
            return rc;
        *used += m.total_size;
        atomic_store_explicit(&ix->indexed, pos + *used, memory_order_release);
        --*left;
    }
    return 0;
}

/* Adds up to *left records of one log file. */
static int add_from(struct index *ix, const struct store_file *f, int64_t visible, int *left, struct err *e)
{
    const int64_t file_end = f->start + f->size, end = file_end < visible ? file_end : visible;
    int64_t pos = atomic_load_explicit(&ix->indexed, memory_order_relaxed), want = READ_BYTES;
    while (*left > 0 && pos < end) {
        struct slice bytes;
        int64_t used, need;
        const int64_t n = want < end - pos ? want : end - pos;
        int rc = read_log(ix, f, pos, n, &bytes, e);
        if (!rc)
            rc = add_records(ix, pos, bytes, left, &used, &need, e);
        if (rc)
            return rc;
        pos += used;
        want = READ_BYTES;
        if (used)
            continue;
        if (need > n && need <= end - pos) {
            want = need; /* one record larger than the buffer */
            continue;
        }
        if (need)
            LOGW("index.skip", "file=%s physOffset=%lld text=\"no record here: the rest of the file is not "
                 "indexed\"", f->path, (long long)pos);
        pos = end;
        atomic_store_explicit(&ix->indexed, pos, memory_order_release);
    }
    return 0;
}

static int advance(struct index *ix, bool *more, struct err *e)
{
    struct store *st = ix->st;
    const int64_t visible = atomic_load_explicit(&st->vis.offset, memory_order_acquire);
    const int64_t min = atomic_load(&st->log.min);
    int left = STEP_RECORDS, rc = 0;
    if (atomic_load(&ix->indexed) < min)
        atomic_store(&ix->indexed, min);
    while (!rc && left > 0 && atomic_load(&ix->indexed) < visible) {
        struct store_file *f = commitlog_find(&st->log, atomic_load(&ix->indexed));
        if (!f) /* expired meanwhile */
            break;
        rc = add_from(ix, f, visible, &left, e);
        store_file_unref(f);
    }
    if (ix->log.cap > 2 * READ_BYTES) /* a large record is rare: its memory goes again */
        buf_free(&ix->log);
    *more = left <= 0;
    return rc;
}

/* ---- opening ---- */

struct opening {
    struct index *ix;
    int64_t *names; /* of the files, ascending */
    int name_n;
    struct index_state state;
    bool have_state; /* and its file is there */
};

static bool name_listed(const struct opening *o, int64_t name)
{
    for (int i = 0; i < o->name_n; i++)
        if (o->names[i] == name)
            return true;
    return !name;
}

/* May the file stay, as far as its name and header tell? */
static bool may_stay(const struct opening *o, const struct index_file *f)
{
    if (o->have_state)
        return f->name <= o->state.name;
    return o->ix->clean || f->h.end_ts <= o->ix->st->checkpoint.index_ts;
}

static int load_files(struct opening *o, struct err *e)
{
    struct index *ix = o->ix;
    const struct store *st = ix->st;
    bool drop = false;
    int rc = 0;
    for (int i = 0; i < o->name_n && !rc; i++) {
        struct index_file *f = NULL;
        struct err why;
        rc = index_file_load(st->fs, ix->dir, o->names[i], st->o.index_slots, st->o.index_items, &f, &why);
        if (rc && rc != E_CORRUPT)
            return err_set(e, rc, "%s", why.text);
        if (rc) {
            LOGW("index.repair", "text=\"%s\" effect=\"it and the files after it are built anew\"", why.text);
            o->have_state = false;
            drop = true;
        }
        drop |= !rc && !may_stay(o, f);
        rc = 0;
        if (!drop) {
            rc = push_file(ix, f, e);
            if (rc)
                index_file_close(f);
            continue;
        }
        char path[32];
        snprintf(path, sizeof path, "%017lld", (long long)o->names[i]);
        char *whole = path_join(ix->dir, path);
        rc = whole ? remove_path(ix, whole, e) : err_set(e, E_NOMEM, "load index");
        free(whole);
        if (f)
            index_file_close(f);
    }
    return rc;
}

/* Readies the last file that has something to say below the end of the log. */
static int reopen_last(struct opening *o, struct err *e)
{
    struct index *ix = o->ix;
    for (struct index_file *f; (f = last_file(ix));) {
        const bool named = o->have_state && f->name == o->state.name;
        const int32_t count = named ? o->state.count : f->h.count;
        /* Then its items were on disk, and all of them are of records that are still there. */
        const bool covered = named && o->state.phys <= ix->log_end;
        /* The newest one may be full and not sealed: the checkpoint's time is that of the one before it, too. */
        const bool sealed = index_file_full(f) && f->name != o->names[o->name_n - 1];
        const bool trusted = named ? o->state.slots : ix->clean || sealed;
        if (trusted && count == f->h.count && index_file_full(f) && f->h.end_phys < ix->log_end)
            return 0;
        struct err why;
        int rc = E_NOTFOUND;
        if (count < 1 + named || count > f->item_max)
            rc = err_set(&why, E_CORRUPT, "%s: the state says that item %d comes next", f->path, count);
        else if (count > 1 && f->h.begin_phys < ix->log_end)
            rc = index_file_reopen(f, count, ix->log_end, trusted, &why);
        if (covered && (rc == E_NOTFOUND || (!rc && f->h.count < count)))
            rc = err_set(&why, E_CORRUPT, "%s: of %d items that were on disk %d are left", f->path, count - 1,
                         rc ? 0 : f->h.count - 1);
        if (!rc && f->h.count > 1)
            return 0;
        if (rc == E_CORRUPT) {
            LOGW("index.repair", "text=\"%s\" effect=\"the file is built anew\"", why.text);
            o->have_state = false;
        } else if (rc && rc != E_NOTFOUND) {
            return err_set(e, rc, "%s", why.text);
        }
        rc = remove_last(ix, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* Files that do not grow are believed as they are, so they must be full, and their headers must agree with
 * their items and with the log: a position taken from a wrong one would leave records out for good. */
static int check_others(struct opening *o, struct err *e)
{
    struct index *ix = o->ix;
    int rc = 0;
    for (int i = 0; i < ix->file_n && !rc; i++) {
        struct err why;
        if (ix->files[i]->slots)
            continue;
        rc = index_file_full(ix->files[i])
                 ? index_file_check(ix->files[i], ix->log_end, &why)
                 : err_set(&why, E_CORRUPT, "%s: holds %d items of %d, and a younger file follows", ix->files[i]->path,
                           ix->files[i]->h.count - 1, ix->files[i]->item_max - 1);
        if (rc != E_CORRUPT) {
            rc = rc ? err_set(e, rc, "%s", why.text) : 0;
            continue;
        }
        LOGW("index.repair", "text=\"%s\" effect=\"it and the files after it are built anew\"", why.text);
        o->have_state = false;
        for (rc = 0; !rc && ix->file_n > i;)
            rc = remove_last(ix, e);
    }
    return rc;
}

static void close_files(struct index *ix)
{
    while (ix->file_n)
        index_file_close(ix->files[--ix->file_n]);
}

/* Where indexing goes on. From here on there is always a state, and never one that is ahead of the
 * log: files that appear later are only believed when it says so. */
static int set_position(const struct opening *o, struct err *e)
{
    struct index *ix = o->ix;
    const struct index_file *last = last_file(ix);
    const int64_t min = atomic_load(&ix->st->log.min);
    int64_t pos = o->have_state ? o->state.phys : last ? last->h.end_phys : 0;
    pos = pos > ix->log_end ? ix->log_end : pos < min ? min : pos;
    atomic_store(&ix->indexed, pos);
    ix->saved_pos = o->have_state && pos == o->state.phys ? pos : -1;
    ix->saved_slots = o->state.slots;
    return o->have_state && pos >= o->state.phys ? 0 : save(ix, false, e);
}

static int open_index(struct index *ix, struct err *e)
{
    struct store *st = ix->st;
    struct opening o = {.ix = ix};
    int rc = fs_mkdirs(st->fs, ix->dir, e);
    if (!rc)
        rc = numbers_list(st->fs, ix->dir, index_name_parse, &o.names, &o.name_n, e);
    if (!rc)
        rc = index_state_load(ix, &o.state, e);
    o.have_state = !rc && name_listed(&o, o.state.name);
    /* Headers and slots count only where nobody kept a state. */
    ix->clean &= rc == E_NOTFOUND;
    if (rc == E_NOTFOUND || rc == E_CORRUPT)
        rc = 0;
    if (!rc)
        rc = load_files(&o, e);
    if (!rc)
        rc = reopen_last(&o, e);
    if (!rc)
        rc = check_others(&o, e);
    free(o.names);
    if (!rc)
        rc = set_position(&o, e);
    if (rc) {
        close_files(ix);
        return err_wrap(e, rc, "open index");
    }
    ix->opened = true;
    LOGI("index.open", "files=%d from=%lld behind=%lld", ix->file_n, (long long)atomic_load(&ix->indexed),
         (long long)(ix->log_end - atomic_load(&ix->indexed)));
    return 0;
}

/* Asynchronous flush makes records visible, hence indexed, before they are on disk. When a power cut
 * took them, the state claims a place behind the log's end, and the records that come to stand there
 * would never be indexed. So the state goes back before the first of them can be written. */
int index_start(struct index *ix, bool clean, struct err *e)
{
    struct index_state s;
    ix->clean = clean;
    ix->log_end = atomic_load(&ix->st->vis.offset);
    ix->flush_ms = clock_mono(ix->st->clock);
    int rc = index_state_load(ix, &s, e);
    if (rc)
        return rc == E_NOTFOUND || rc == E_CORRUPT ? 0 : rc;
    if (s.phys <= ix->log_end)
        return 0;
    rc = open_index(ix, e);
    if (!rc && !ix->st->o.index_enable) {
        close_files(ix);
        ix->opened = false;
    }
    return rc;
}

void index_drop_from(struct index *ix, int i)
{
    struct err e;
    while (ix->file_n > i)
        if (remove_last(ix, &e)) {
            LOGE("index.failed", "text=\"%s\"", e.text);
            ix->stopped = true;
            return;
        }
    const struct index_file *last = last_file(ix);
    atomic_store(&ix->indexed, last ? last->h.end_phys : atomic_load(&ix->st->log.min));
    ix->saved_pos = -1;
}

/* ---- the worker ---- */

static void failed(struct index *ix, const struct err *e)
{
    if (ix->stopped)
        LOGE("index.failed", "text=\"%s\" effect=\"messages from now on are not found by key; sends and pulls go "
             "on\" remedy=\"repair the disk, then restart the broker\"", e->text);
    else if (!ix->failing)
        LOGE("index.failed", "text=\"%s\" effect=\"younger messages are not found by key; sends and pulls go on\" "
             "remedy=\"free disk space; it is tried again every %d s\"", e->text, RETRY_MS / 1000);
    ix->failing = true;
    ix->retry_ms = clock_mono(ix->st->clock) + RETRY_MS;
}

static bool out_of_time(struct index *ix)
{
    if (!atomic_load(&ix->st->closing))
        return false;
    const int64_t now = clock_mono(ix->st->clock);
    if (!ix->closing_ms)
        ix->closing_ms = now;
    return now - ix->closing_ms > CLOSE_MS;
}

static bool work(struct index *ix)
{
    struct err e;
    bool more = false;
    if (ix->stopped || out_of_time(ix) || (ix->failing && clock_mono(ix->st->clock) < ix->retry_ms))
        return false;
    int rc = ix->opened ? 0 : open_index(ix, &e);
    if (!rc)
        rc = advance(ix, &more, &e);
    if (!rc)
        rc = save_if_due(ix, &e);
    if (rc) {
        failed(ix, &e);
        return false;
    }
    if (ix->failing)
        LOGI("index.resumed", "from=%lld", (long long)atomic_load(&ix->indexed));
    ix->failing = false;
    return more;
}

bool index_step(void *arg)
{
    struct index *ix = &((struct store *)arg)->index;
    const bool more = work(ix);
    return index_serve(ix, false) || more;
}

void index_close(struct index *ix)
{
    struct err e;
    if (!ix->st->o.index_enable)
        return;
    while (index_step(ix->st)) {
    }
    index_serve(ix, true);
    if (!ix->opened || ix->stopped || (atomic_load(&ix->indexed) == ix->saved_pos && ix->saved_slots))
        return;
    if (save(ix, true, &e))
        LOGW("index.close", "text=\"%s\" effect=\"the next start indexes more of the log\"", e.text);
}
