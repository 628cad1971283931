/* Where the parts of a store lie, and whether they are still its own.
 *
 * Owns: the paths of consume queues, index, checkpoint and abort file; `storePlaces` in the root; the
 * owner marks and locks of parts outside of their usual place.
 * Runs on: store_open and store_close.
 *
 *   key                     default                 may lie elsewhere because
 *   storePathCommitLog      <root>/commitlog        the truth: never rebuilt, never emptied
 *   storePathConsumeQueue   <root>/consumequeue     derived from the log
 *   storePathIndex          <root>/index            derived from the log
 *   storeCheckpoint         <root>/checkpoint       how far the derived ones can be trusted
 *   abortFile               <root>/abort            whether the last stop was orderly
 *
 * `storePlaces` says where they were when the store was last open; it exists once one of them lay
 * elsewhere (so an ordinary store has no file that RocketMQ does not know). Lines of "key=path", and
 * "id=" with the 32 hex digits that also stand in the file `.owner` of each relocated directory.
 *
 * What a change means. Each part that lies elsewhere than last time may be anything between empty and
 * a stale copy:
 *   queues or log         no queue file is trusted: all units are made again from the log
 *   index or log          its files in the new place go, and it is made again from the log
 *   checkpoint            taken for empty
 *   abort file            the old one counts as well: the stop was orderly when neither is there
 * Only when all of that is on disk does storePlaces get the new paths: a crash before starts over.
 *
 * A wrong directory. Derived files are cut and removed by recovery, so a relocated directory must be
 * marked as this store's or be empty; anything else is refused. The log cannot be marked (RocketMQ
 * takes every file in it for a part of it): a log directory without files is refused while the
 * checkpoint speaks of messages. Relocated parts are locked besides the root, so that two stores
 * cannot share one; of the log each file is. One path may not lie inside another one.
 *
 * Failure modes: each refusal names the key, the path and the way out. storePlaces unreadable or
 * damaged: as if everything had moved. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/props.h"
#include "base/rng.h"
#include "store/store_priv.h"

enum { PLACES_MAX = 64 * 1024, ABORT_MAX = 24 };
#define OWNER_FILE ".owner"

static const struct {
    const char *key, *name; /* name: in the root */
} parts[PLACE_N] = {
    [PLACE_LOG] = {"storePathCommitLog", "commitlog"},
    [PLACE_QUEUES] = {"storePathConsumeQueue", "consumequeue"},
    [PLACE_INDEX] = {"storePathIndex", "index"},
    [PLACE_CHECKPOINT] = {"storeCheckpoint", "checkpoint"},
    [PLACE_ABORT] = {"abortFile", "abort"},
};

static bool is_dir(enum place i)
{
    return i == PLACE_LOG || i == PLACE_QUEUES || i == PLACE_INDEX;
}

/* ---- paths ---- */

/* A copy without doubled and trailing slashes, so that equal paths are equal texts; NULL: no memory. */
static char *normal(const char *path)
{
    char *const out = slice_dup(slice_str(path));
    size_t n = 0;
    for (const char *p = path; out && *p; p++)
        if (*p != '/' || !n || out[n - 1] != '/')
            out[n++] = *p;
    while (n > 1 && out[n - 1] == '/')
        n--;
    if (out)
        out[n] = '\0';
    return out;
}

/* Where a part usually is. */
static char *usual_path(const struct store *st, enum place i)
{
    char *const joined = path_join(st->root, parts[i].name), *const path = joined ? normal(joined) : NULL;
    free(joined);
    return path;
}

/* Is a the same as b, or inside of it? */
static bool lies_in(const char *a, const char *b)
{
    const size_t an = strlen(a), bn = strlen(b);
    return an >= bn && !memcmp(a, b, bn) && (an == bn || a[bn] == '/');
}

static int check_apart(const struct store *st, const char *root, struct err *e)
{
    for (int i = 0; i < PLACE_N; i++)
        if (lies_in(root, st->places.path[i]))
            return err_set(e, E_INVAL, "%s=%s holds storePathRootDir=%s; give it a path of its own", parts[i].key,
                           st->places.path[i], root);
    for (int i = 0; i < PLACE_N; i++) {
        const char *const a = st->places.path[i];
        for (int k = 0; k < PLACE_N; k++)
            if (i != k && lies_in(a, st->places.path[k]))
                return err_set(e, E_INVAL, "%s=%s lies in %s=%s; give each a path of its own", parts[i].key, a,
                               parts[k].key, st->places.path[k]);
    }
    return 0;
}

int places_init(struct store *st, const struct store_opts *o, struct err *e)
{
    const char *const given[PLACE_N] = {
        [PLACE_LOG] = o->commitlog_dir, [PLACE_QUEUES] = o->consumequeue_dir, [PLACE_INDEX] = o->index_dir,
        [PLACE_CHECKPOINT] = o->checkpoint_path, [PLACE_ABORT] = o->abort_path};
    struct places *p = &st->places;
    for (int i = 0; i < PLACE_N; i++) {
        char *const usual = usual_path(st, (enum place)i);
        p->path[i] = usual ? normal(given[i] ? given[i] : usual) : NULL;
        p->relocated[i] = p->path[i] && strcmp(p->path[i], usual) != 0;
        free(usual);
        if (!p->path[i])
            return err_set(e, E_NOMEM, "open store");
    }
    char *const root = normal(st->root);
    const int rc = root ? check_apart(st, root, e) : err_set(e, E_NOMEM, "open store");
    free(root);
    return rc;
}

void places_fini(struct store *st)
{
    struct places *p = &st->places;
    for (int i = 0; i < PLACE_N; i++) {
        if (p->locks[i])
            st->fs->close(p->locks[i]);
        free(p->path[i]);
    }
    free(p->old_abort);
}

/* ---- storePlaces ---- */

static bool any_relocated(const struct places *p)
{
    for (int i = 0; i < PLACE_N; i++)
        if (p->relocated[i])
            return true;
    return false;
}

static void new_id(char out[PLACES_ID_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    struct rng rng;
    rng_seed(&rng, rng_seed_from_os());
    for (int i = 0; i < PLACES_ID_LEN; i++)
        out[i] = hex[rng_below(&rng, 16)];
    out[PLACES_ID_LEN] = '\0';
}

/* `old`: the paths of last time, NULL where it was the usual one. */
static int save(const struct store *st, char *const old[PLACE_N], struct err *e)
{
    struct buf b;
    buf_init(&b, PLACES_MAX);
    buf_printf(&b, "# Where the parts of this store were when it was last open. Do not edit.\nid=%s\n",
               st->places.id);
    for (int i = 0; i < PLACE_N; i++)
        if (old[i])
            buf_printf(&b, "%s=%s\n", parts[i].key, old[i]);
    char *const path = path_join(st->root, PLACES_FILE);
    int rc = path && !buf_error(&b) ? fs_write_atomic(st->fs, path, buf_slice(&b), e)
                                    : err_set(e, E_NOMEM, "write " PLACES_FILE);
    free(path);
    buf_free(&b);
    return rc;
}

static bool is_id(const char *text)
{
    return strlen(text) == PLACES_ID_LEN && strspn(text, "0123456789abcdef") == PLACES_ID_LEN;
}

/* Compares last time's paths with today's, and remembers where the abort file was. */
static int compare(struct store *st, const struct props *was, struct err *e)
{
    struct places *p = &st->places;
    for (int i = 0; i < PLACE_N; i++) {
        const struct prop *old = props_get(was, parts[i].key);
        char *const usual = usual_path(st, (enum place)i);
        const char *const path = old ? old->value : usual;
        p->moved[i] = path && strcmp(path, p->path[i]) != 0;
        if (i == PLACE_ABORT && p->moved[i])
            p->old_abort = slice_dup(slice_str(path));
        free(usual);
        if (!path || (i == PLACE_ABORT && p->moved[i] && !p->old_abort))
            return err_set(e, E_NOMEM, "open store");
        if (p->moved[i])
            LOGW("store.places", "key=%s text=\"moved; what is derived from the log is made again\"", parts[i].key);
    }
    return 0;
}

static int load(struct store *st, struct err *e)
{
    struct places *p = &st->places;
    struct props was = {0};
    char *const path = path_join(st->root, PLACES_FILE), *text = NULL;
    size_t n = 0;
    int rc = path ? fs_read_all(st->fs, path, PLACES_MAX, &text, &n, e) : err_set(e, E_NOMEM, "open store");
    free(path);
    p->recorded = !rc;
    if (rc && rc != E_NOTFOUND && rc != E_TOOBIG)
        return rc;
    const bool parsed = !rc && !props_parse(slice_of(text, n), &was, NULL);
    const struct prop *id = parsed ? props_get(&was, "id") : NULL;
    free(text);
    if (id && is_id(id->value))
        memcpy(p->id, id->value, PLACES_ID_LEN + 1);
    else if (p->recorded || rc == E_TOOBIG)
        LOGW("store.repair", "file=" PLACES_FILE " text=\"damaged: relocated directories have to be empty\"");
    rc = compare(st, &was, e);
    if (parsed)
        props_free(&was);
    return rc;
}

/* ---- claims ---- */

static int count_others(void *arg, const char *name)
{
    *(int *)arg += strcmp(name, OWNER_FILE) != 0;
    return 0;
}

static int read_owner(struct store *st, const char *path, char out[PLACES_ID_LEN + 1], struct err *e)
{
    char *text;
    size_t n;
    const int rc = fs_read_all(st->fs, path, PLACES_MAX, &text, &n, e);
    out[0] = '\0';
    if (rc)
        return rc == E_NOTFOUND || rc == E_TOOBIG ? 0 : rc;
    if (n >= PLACES_ID_LEN)
        memcpy(out, text, PLACES_ID_LEN);
    out[n >= PLACES_ID_LEN ? PLACES_ID_LEN : 0] = '\0';
    free(text);
    return 0;
}

static int lock_part(struct store *st, enum place i, const char *path, struct err *e)
{
    struct fs_file **f = &st->places.locks[i];
    int rc = st->fs->open(st->fs, path, FS_WRITE | FS_CREATE, f, e);
    if (!rc)
        rc = st->fs->lock(*f, e);
    if (rc == E_LOCKED)
        return err_set(e, rc, "%s=%s is in use by another store; give this one a path of its own", parts[i].key,
                       st->places.path[i]);
    return rc;
}

static int claim_dir(struct store *st, enum place i, struct err *e)
{
    const char *const dir = st->places.path[i];
    char owner[PLACES_ID_LEN + 1], *const path = path_join(dir, OWNER_FILE);
    int others = 0;
    int rc = path ? fs_mkdirs(st->fs, dir, e) : err_set(e, E_NOMEM, "open store");
    if (!rc)
        rc = read_owner(st, path, owner, e);
    const bool ours = !rc && !strcmp(owner, st->places.id);
    if (!rc && !ours)
        rc = st->fs->list(st->fs, dir, count_others, &others, e);
    if (!rc && !ours && (others || owner[0]))
        rc = err_set(e, E_DENIED, "%s=%s is not empty and not marked as a part of the store %s; name an empty "
                     "directory: it is filled from the commit log", parts[i].key, dir, st->root);
    if (!rc)
        rc = lock_part(st, i, path, e);
    if (!rc && !ours) {
        rc = fs_write(st->places.locks[i], st->fs, st->places.id, PLACES_ID_LEN, 0, e);
        if (!rc)
            rc = st->fs->sync(st->places.locks[i], e);
        if (!rc)
            rc = st->fs->dirsync(st->fs, dir, e);
    }
    free(path);
    return rc;
}

/* The directory that a file is in, made when it is missing. */
static int make_parent(struct store *st, const char *path, struct err *e)
{
    char *const dir = slice_dup(slice_str(path)), *const slash = dir ? strrchr(dir, '/') : NULL;
    if (!dir)
        return err_set(e, E_NOMEM, "open store");
    int rc = 0;
    if (slash && slash != dir) {
        *slash = '\0';
        rc = fs_mkdirs(st->fs, dir, e);
    }
    free(dir);
    return rc;
}

/* A file that some other program may need is not overwritten: ours have a known size. */
static int claim_file(struct store *st, enum place i, struct err *e)
{
    const char *const path = st->places.path[i];
    struct fs_stat s = {0};
    int rc = make_parent(st, path, e);
    if (!rc)
        rc = st->fs->stat(st->fs, path, &s, e);
    const bool found = !rc;
    if (rc == E_NOTFOUND)
        rc = 0;
    if (!rc && (s.is_dir || s.size > (i == PLACE_ABORT ? ABORT_MAX : CHECKPOINT_SIZE)))
        rc = err_set(e, E_DENIED, "%s=%s is there and is no such file of a store; give it a path of its own",
                     parts[i].key, path);
    if (!rc && (i != PLACE_ABORT || found)) /* making one now would tell of a stop that never was */
        rc = lock_part(st, i, path, e);
    return rc;
}

int places_claim(struct store *st, struct err *e)
{
    struct places *p = &st->places;
    int rc = load(st, e);
    if (!rc && !p->id[0] && any_relocated(p)) {
        char *const none[PLACE_N] = {NULL};
        new_id(p->id);
        rc = save(st, none, e); /* before the first mark, which would fit no store otherwise */
        p->recorded = !rc;
    }
    for (int i = 0; i < PLACE_N && !rc; i++)
        if (p->relocated[i] && i != PLACE_LOG)
            rc = is_dir((enum place)i) ? claim_dir(st, (enum place)i, e) : claim_file(st, (enum place)i, e);
    return rc;
}

int places_lock_abort(struct store *st, struct err *e)
{
    const bool wanted = st->places.relocated[PLACE_ABORT] && !st->places.locks[PLACE_ABORT];
    return wanted ? lock_part(st, PLACE_ABORT, st->places.path[PLACE_ABORT], e) : 0;
}

/* ---- after recovery ---- */

/* storePlaces carries no checksum, so the path may be any: only a file is removed that holds what an abort
 * file does, a process id or nothing. */
static void remove_old_abort(struct store *st, const char *path)
{
    char *text;
    size_t n;
    struct err why;
    int rc = fs_read_all(st->fs, path, ABORT_MAX, &text, &n, &why);
    if (!rc) {
        const bool ours = strspn(text, "0123456789") == n;
        free(text);
        rc = ours ? st->fs->unlink(st->fs, path, &why) : err_set(&why, E_DENIED, "%s is no abort file", path);
    }
    if (rc && rc != E_NOTFOUND)
        LOGW("store.places", "text=\"the abort file of last time stays: %s\"", why.text);
}

int places_settle(struct store *st, struct err *e)
{
    struct places *p = &st->places;
    bool moved = false;
    char *paths[PLACE_N] = {NULL};
    for (int i = 0; i < PLACE_N; i++) {
        moved |= p->moved[i];
        if (p->relocated[i])
            paths[i] = p->path[i];
    }
    if (!moved)
        return 0;
    const int rc = save(st, paths, e);
    if (!rc && p->old_abort)
        remove_old_abort(st, p->old_abort);
    return rc;
}
