/* repair: verify, plan, keep copies, change, recover, verify again.
 *
 * Owns: the plan. Runs on: the one thread of the tool, under the store's lock but for the recovery, which
 * takes it itself.
 *
 * What is derived from the log is never patched: a damaged queue, or the index, is moved aside and comes
 * out of the store's own recovery, made to read the whole log by a checkpoint of zeros and `abort`. The log
 * itself is changed in two ways only: its end moves forward (to the end of the last record that counts), or
 * a damaged range becomes filler (evidence.c), with --keep-behind.
 *
 * Order, so that a stop at any moment leaves either the damage as it was or a store that recovery can
 * finish, and never a store whose next start drops what was not kept:
 *   1. copies of every byte that is to go, synced
 *   2. the log: later files moved aside from the last to the first, or filler
 *   3. `abort`, then the checkpoint without times: from here on a start recovers everything
 *   4. damaged queues and the index moved aside
 *   5. store_open: recovery; the index; store_close
 *   6. records may have been given up (a cut, or a crash before): `abort` again, so that the broker lowers
 *      positions of consumers behind the end
 *
 * Not repaired: tables in config/ (nothing tells what was in them), log files of a wrong name or larger than
 * they may be (a human must say which size is right), a queue that is damaged but has no record left in
 * the log (building it anew would begin its offsets at 0 again), unless the store cannot open with it. */
#include "mqstore/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "mqstore/evidence.h"
#include "store/store.h"

struct plan {
    const struct repair_opts *o;
    struct verify v;
    int64_t cut;       /* the log ends here; -1: where it ends now */
    bool fill, index, checkpoint;
    bool to_broker; /* recovery is left to the broker's next start: it knows places or sizes that we do not */
    int64_t queues, queues_left;
    struct buf *out;
};

/* ---- planning ---- */

/* Must the store refuse to open with these files? */
static bool unopenable(const struct plan *p, const struct vqueue *q)
{
    const int64_t size = p->v.cq.file_size;
    for (int i = 0; i < q->file_n; i++)
        if (!size || q->files[i].start % size || q->files[i].size > size)
            return true;
    return false;
}

static bool replace_queue(const struct plan *p, const struct vqueue *q)
{
    return q->damaged && q->on_disk && (q->log_n || unopenable(p, q));
}

static int refuse_impossible(const struct plan *p, struct err *e)
{
    const struct site *const s = &p->v.site;
    for (int i = 0; i < s->log_n; i++)
        if (s->log[i].start % s->log_file_size || s->log[i].size > s->log_file_size)
            return err_set(e, E_CORRUPT, "%s/%020lld (%lld bytes) does not fit files of %lld bytes: say the right size "
                           "with --commitlog-file-size, or restore the file; nothing was changed", s->log_dir,
                           (long long)s->log[i].start, (long long)s->log[i].size, (long long)s->log_file_size);
    return 0;
}

static int make_plan(struct plan *p, struct err *e)
{
    const struct verify *const v = &p->v;
    struct map_iter it = {0};
    const int rc = v->site.log_file_size ? refuse_impossible(p, e) : 0;
    p->fill = p->o->keep_behind && v->log.hole_n;
    p->cut = v->log.hole_n && !p->fill ? v->log.holes[0].from : -1;
    while (map_next(v->cq.map, &it)) {
        const struct vqueue *const q = it.value;
        p->queues += replace_queue(p, q);
        p->queues_left += q->damaged && q->on_disk && !replace_queue(p, q);
        /* a queue whose directory is gone comes back by itself */
        p->queues += q->damaged && !q->on_disk;
    }
    p->index = v->ix.damaged || (v->log.hole_n && v->site.index_n);
    p->checkpoint = v->checkpoint_damaged;
    p->to_broker = v->site.o.cq_dir || v->site.o.index_dir || (!v->cq.file_size && map_count(v->cq.map));
    return rc;
}

static bool short_last_file(const struct site *s)
{
    return s->log_n && s->log[s->log_n - 1].size < s->log_file_size;
}

static bool needed(const struct plan *p)
{
    const struct verify *const v = &p->v;
    if (v->site.crashed && v->log.dropped) /* the next start would cut it too, and keep no copy */
        return true;
    return v->report.count[DAMAGE] && (p->fill || p->cut >= 0 || v->log.dropped || p->queues || p->index ||
                                       p->checkpoint || short_last_file(&v->site));
}

static void tell_log(const struct plan *p)
{
    const struct verify *const v = &p->v;
    if (p->cut >= 0)
        buf_printf(p->out, "  commit log: end it at physical offset %lld, where the damage begins; %lld whole records "
                   "behind it are given up (--keep-behind keeps them)\n", (long long)p->cut,
                   (long long)v->log.behind_records);
    for (size_t i = 0; p->fill && i < v->log.hole_n; i++)
        buf_printf(p->out, "  commit log: fill %lld damaged bytes at physical offset %lld, so that the records behind "
                   "them count\n", (long long)(v->log.holes[i].to - v->log.holes[i].from),
                   (long long)v->log.holes[i].from);
    if (v->log.dropped && p->cut < 0)
        buf_printf(p->out, "  commit log: cut %lld bytes behind the last whole record, at physical offset %lld\n",
                   (long long)v->log.dropped, (long long)v->log.end);
    if (short_last_file(&v->site))
        buf_printf(p->out, "  commit log: extend the last file to %lld bytes\n", (long long)v->site.log_file_size);
}

static void tell_queues(const struct plan *p)
{
    struct map_iter it = {0};
    while (map_next(p->v.cq.map, &it)) {
        const struct vqueue *const q = it.value;
        if (!q->damaged)
            continue;
        if (!q->on_disk || (replace_queue(p, q) && q->log_n))
            buf_printf(p->out, "  consume queue %s-%d: build it anew from the log\n", q->topic, q->id);
        else if (replace_queue(p, q))
            buf_printf(p->out, "  consume queue %s-%d: move it aside; no record of it is left in the log, so its queue "
                       "offsets begin at 0 again\n", q->topic, q->id);
        else
            buf_printf(p->out, "  consume queue %s-%d: leave it; no record of it is left in the log to build it from\n",
                       q->topic, q->id);
    }
}

static void tell_plan(const struct plan *p)
{
    buf_str(p->out, "\nrepair:\n");
    tell_log(p);
    tell_queues(p);
    if (p->index)
        buf_str(p->out, "  index: build it anew from the log\n");
    buf_str(p->out, "  checkpoint: write it anew\n");
    if (p->v.config_damaged)
        buf_str(p->out, "  config/: not repaired, nothing tells what was in it (see above)\n");
    buf_printf(p->out, "  what is replaced or cut is kept in %s/repair-<time>/\n", p->v.site.root);
}

/* ---- 1. copies ---- */

/* Bytes [from, to) of the log, one copy for each file. */
static int keep_range(struct plan *p, struct evidence *k, int64_t from, int64_t to, struct err *e)
{
    const struct site *const s = &p->v.site;
    int rc = 0;
    for (int i = 0; i < s->log_n && !rc; i++) {
        const int64_t start = s->log[i].start, end = start + s->log_file_size;
        const int64_t a = from > start ? from : start, b = to < end ? to : end;
        char name[96];
        if (a >= b)
            continue;
        snprintf(name, sizeof name, "commitlog-%020lld-from-%lld", (long long)start, (long long)(a - start));
        char *const path = path_join_start(s->log_dir, start);
        rc = path ? evidence_copy(k, path, a - start, b - start, name, e) : err_set(e, E_NOMEM, "repair");
        free(path);
    }
    return rc;
}

static int keep_log(struct plan *p, struct evidence *k, struct err *e)
{
    const struct verify *const v = &p->v;
    int rc = 0;
    for (size_t i = 0; p->fill && i < v->log.hole_n && !rc; i++)
        rc = keep_range(p, k, v->log.holes[i].from, v->log.holes[i].to, e);
    if (!rc && p->cut >= 0) { /* later files are moved, not copied */
        const int i = site_log_file(&v->site, p->cut);
        const int64_t end = i < 0 ? p->cut : v->site.log[i].start + v->site.log_file_size;
        rc = keep_range(p, k, p->cut, end, e);
    }
    if (!rc && p->cut < 0 && v->log.dropped)
        rc = keep_range(p, k, v->log.end, v->log.end + v->log.dropped, e);
    return rc;
}

static int keep_report(struct plan *p, struct evidence *k, struct err *e)
{
    json_t *j;
    struct buf text;
    if (verify_json(&p->v, &j))
        return err_set(e, E_NOMEM, "repair");
    buf_init(&text, 0);
    int rc = json_write_indented(j, &text);
    json_decref(j);
    rc = rc ? err_set(e, rc, "repair") : evidence_write(k, "verify.json", buf_slice(&text), e);
    buf_free(&text);
    return rc;
}

/* ---- 2. the log ---- */

/* Files at or behind the cut, from the last one on: no stop leaves a gap. */
static int move_later_files(struct plan *p, struct evidence *k, struct err *e)
{
    const struct site *const s = &p->v.site;
    int rc = 0;
    for (int i = s->log_n; i-- > 0 && !rc && s->log[i].start >= p->cut && s->log[i].start > s->log[0].start;) {
        char name[FILE_NAME_LEN + 1];
        snprintf(name, sizeof name, "%020lld", (long long)s->log[i].start);
        char *const path = path_join(s->log_dir, name);
        rc = path ? evidence_move(k, path, "commitlog", name, e) : err_set(e, E_NOMEM, "repair");
        free(path);
    }
    return rc;
}

/* Store time for the filler in front of the record at `pos`: times do not fall along the log. */
static int64_t time_at(const struct site *s, int64_t pos)
{
    struct log_reader r;
    struct message m;
    int64_t left;
    log_reader_init(&r, s, 4096);
    const int64_t ts = log_reader_record(&r, pos, &m, &left, NULL) == RECORD_WHOLE ? m.store_timestamp : 0;
    log_reader_fini(&r);
    return ts;
}

static int fill_holes(struct plan *p, struct err *e)
{
    const struct site *const s = &p->v.site;
    int rc = 0;
    for (size_t i = 0; i < p->v.log.hole_n && !rc; i++) {
        const struct hole *const h = &p->v.log.holes[i];
        const int64_t ts = time_at(s, h->to);
        for (int64_t at = h->from; at < h->to && !rc;) {
            const int64_t end = (at / s->log_file_size + 1) * s->log_file_size;
            const int64_t to = h->to < end ? h->to : end;
            rc = filler_write(s, at, to, ts, e);
            at = to;
        }
    }
    return rc;
}

/* ---- 3. and 4. what recovery goes by ---- */

static int write_abort(const struct site *s, struct err *e)
{
    char *const path = path_join(s->root, "abort");
    const int rc = path ? fs_write_atomic(s->fs, path, SLICE_LIT("0"), e) : err_set(e, E_NOMEM, "repair");
    free(path);
    return rc;
}

static int reset_checkpoint(struct plan *p, struct evidence *k, struct err *e)
{
    const struct verify *const v = &p->v;
    struct disk_checkpoint d = {0};
    char *const path = path_join(v->site.root, "checkpoint");
    int rc = path ? 0 : err_set(e, E_NOMEM, "repair");
    if (!p->index && !v->checkpoint_damaged)
        be64_put(d.index_ts, (uint64_t)v->checkpoint.index_ts);
    be64_put(d.master_flushed, (uint64_t)v->checkpoint.master_flushed);
    be64_put(d.confirm_phys, (uint64_t)v->checkpoint.confirm_phys);
    be64_put(d.age_from_ts, (uint64_t)v->checkpoint.age_from_ts);
    if (!rc) {
        rc = evidence_copy(k, path, 0, INT64_MAX, "checkpoint", e);
        rc = rc == E_NOTFOUND ? 0 : rc;
    }
    if (!rc)
        rc = fs_write_atomic(v->site.fs, path, slice_of((const char *)&d, sizeof d), e);
    free(path);
    return rc;
}

static int move_queues(struct plan *p, struct evidence *k, struct err *e)
{
    struct map_iter it = {0};
    int rc = 0;
    while (!rc && map_next(p->v.cq.map, &it)) {
        const struct vqueue *const q = it.value;
        char id[16];
        struct buf folder;
        if (!replace_queue(p, q))
            continue;
        buf_init(&folder, 0);
        buf_printf(&folder, "consumequeue/%s%c", q->topic, 0);
        snprintf(id, sizeof id, "%d", q->id);
        rc = buf_error(&folder) ? err_set(e, E_NOMEM, "repair") : evidence_move(k, q->dir, folder.p, id, e);
        buf_free(&folder);
    }
    return rc;
}

static int move_index(struct plan *p, struct evidence *k, struct err *e)
{
    const struct site *const s = &p->v.site;
    char *const state = path_join(s->root, "indexCheckpoint");
    int rc = state ? evidence_move(k, state, "", "indexCheckpoint", e) : err_set(e, E_NOMEM, "repair");
    if (!rc)
        rc = evidence_move(k, s->index_dir, "", "index", e);
    free(state);
    return rc;
}

static int change(struct plan *p, struct evidence *k, struct err *e)
{
    int rc = keep_report(p, k, e);
    if (!rc)
        rc = keep_log(p, k, e);
    if (!rc && p->cut >= 0)
        rc = move_later_files(p, k, e);
    if (!rc && p->fill)
        rc = fill_holes(p, e);
    if (!rc)
        rc = write_abort(&p->v.site, e);
    if (!rc)
        rc = reset_checkpoint(p, k, e);
    if (!rc)
        rc = move_queues(p, k, e);
    if (!rc && p->index)
        rc = move_index(p, k, e);
    return rc;
}

/* ---- 5. recovery ---- */

enum { LEVELS_MAX = 64 };

/* The delays that the queues tell win over what was said: units are built anew with them. */
static int levels_of(const struct plan *p, const struct store_opts *defaults, int64_t out[LEVELS_MAX])
{
    const int64_t *const said = p->o->delay_level_ms ? p->o->delay_level_ms : defaults->delay_level_ms;
    int n = p->o->delay_level_ms ? p->o->delay_level_n : defaults->delay_level_n;
    for (int i = 0; i < LEVELS_MAX; i++)
        out[i] = i < n ? said[i] : n ? said[n - 1] : 0;
    for (int level = 1; level < LEVELS_MAX; level++)
        if (p->v.cq.delays_ms[level]) {
            out[level - 1] = p->v.cq.delays_ms[level];
            n = level > n ? level : n;
        }
    return n;
}

static int recover_store(struct plan *p, struct err *e)
{
    struct verify *const v = &p->v;
    struct store *st;
    struct store_opts o;
    int64_t levels[LEVELS_MAX];
    int32_t slots, items;
    store_opts_defaults(&o);
    o.delay_level_n = levels_of(p, &o, levels);
    o.delay_level_ms = levels;
    o.root_dir = v->site.root;
    o.commitlog_dir = v->site.o.commitlog_dir;
    o.commitlog_file_size = v->site.log_file_size ? v->site.log_file_size : o.commitlog_file_size;
    o.cq_file_size = v->cq.file_size ? v->cq.file_size : o.cq_file_size;
    site_index_sizes(&v->site, v->site.index_n ? v->site.index[0].size : 0, &slots, &items);
    o.index_enable = slots > 0; /* else the broker builds it, with the sizes it is told */
    if (slots) {
        o.index_slots = slots;
        o.index_items = items;
    }
    o.fs = v->site.fs;
    o.manual = true; /* no retention, no other thread: only what is called here happens */
    site_unlock(&v->site);
    int rc = store_open(&st, &o, NULL, e);
    if (rc)
        return rc;
    while (o.index_enable && store_step_index(st)) {
    }
    return store_close(st, e);
}

/* ---- the whole ---- */

static int execute(struct plan *p, struct repair_result *result, struct err *e)
{
    struct evidence k;
    int rc = evidence_open(&k, &p->v.site, p->o->clock ? p->o->clock : &clock_system, e);
    if (rc)
        return rc;
    buf_printf(p->out, "\ncopies are in %s\n", k.dir);
    rc = change(p, &k, e);
    if (!rc && p->to_broker)
        buf_str(p->out, "the broker's next start builds the rest: it knows where consumequeue and index are, and with "
                        "which sizes\n");
    else if (!rc)
        rc = recover_store(p, e);
    if (!rc && (p->cut >= 0 || p->v.site.crashed))
        rc = write_abort(&p->v.site, e);
    if (rc) {
        buf_printf(p->out, "stopped: what was replaced so far is in %s; run mqstore repair again when the cause is gone\n",
                   k.dir);
        evidence_close(&k);
        return rc;
    }
    result->dir = k.dir;
    result->done = true;
    return 0;
}

static int verify_after(const struct repair_opts *o, struct buf *out, struct repair_result *result, struct err *e)
{
    struct verify v;
    const int rc = verify_run(&v, &o->verify, e);
    if (rc)
        return rc;
    result->damage_after = v.report.count[DAMAGE];
    result->records_after = v.log.records;
    buf_str(out, "\nafter the repair:\n");
    verify_text(&v, out);
    verify_close(&v);
    return 0;
}

int repair_run(const struct repair_opts *o, struct buf *out, struct repair_result *result, struct err *e)
{
    struct plan p = {.o = o, .out = out, .cut = -1};
    *result = (struct repair_result){0};
    int rc = verify_run(&p.v, &o->verify, e);
    if (rc)
        return rc;
    verify_text(&p.v, out);
    result->damage_before = p.v.report.count[DAMAGE];
    result->records_before = p.v.log.records;
    rc = make_plan(&p, e);
    result->needed = needed(&p);
    if (!rc && result->needed) {
        tell_plan(&p);
        if (o->yes)
            rc = execute(&p, result, e);
        else
            buf_str(out, "\nnothing was changed: --yes does it\n");
    } else if (!rc) {
        buf_str(out, result->damage_before ? "\nnothing that mqstore can repair (see above)\n" : "\nnothing to repair\n");
        result->damage_after = result->damage_before;
        result->needed = result->damage_before > 0;
    }
    const bool again = !rc && result->done && !p.to_broker;
    verify_close(&p.v);
    if (again)
        rc = verify_after(o, out, result, e);
    if (rc)
        repair_result_free(result);
    return rc;
}

void repair_result_free(struct repair_result *r)
{
    free(r->dir);
    r->dir = NULL;
}
