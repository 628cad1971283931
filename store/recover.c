/* Recovery: what the files hold becomes the state of the store. It trusts nothing it did not check.
 *
 * Owns: the decision where the log ends and where checking begins.
 * Runs on: store_open, alone.
 *
 * What a whole record is: record.c; checksums are compared with checkCRCOnRecover.
 * A record that is whole but for a checksum that fits nothing is kept, with a log line, when the checksum can be
 * an application's property (record_check.c) and no record replayed before it has one that fits. The first
 * record that is looked at after a crash must have something behind it or be older than the last sync, else it
 * may be a torn tail.
 * With forceVerifyPropCRC a record that is whole but for carrying no checksum ends store_open with
 * E_CORRUPT: it was written without one, so it is no torn tail to be dropped unasked.
 *
 * Happy path.
 *   1. choose   where to begin: `start`. Orderly stop: at the record that the youngest unit of all
 *               queues points to. Crash: at the beginning of the newest file whose first record is
 *               whole and not younger than the checkpoint's smaller time minus 3 s: everything
 *               before it was synced, log and units. Neither: at the beginning of the log. A damaged
 *               queue moves it back to that queue's last good unit.
 *   2. cut      every queue ends before `start`: what comes behind may be torn, or point to records
 *               that are gone. It is made again. A unit that is cut without having its record at or
 *               behind `start` puts the queue in doubt: then from its last good unit on.
 *   3. replay   from `start`, record by record, each giving its unit; a blank record leads to the
 *               next file; the first record that is not whole ends the log.
 *   4. seal     files behind the end go, the rest of the last file becomes zeros on disk, the log and
 *               the queues are synced, the checkpoint is written.
 * Source for 1 and 3: CommitLog.recoverNormally, recoverAbnormally.
 *
 * Gaps. A queue's offsets are dense, so a replayed record must be the next of its queue:
 *   smaller   the topic was deleted and made anew: the younger record wins, the queue is cut there
 *   larger, queue has units or lost a file    units are missing that `start` does not cover: all
 *             queues are rebuilt from the beginning of the log, once
 *   larger, queue is empty                    its older records were expired or its topic deleted:
 *             the queue begins here
 *   larger, while rebuilding everything       the log itself has the gap: pre-blank units fill it
 *
 * Failure modes: disk errors end store_open, the next one starts over: every step leaves files that
 * lead to the same end. A full disk does not: units stay in memory and the checkpoint where it was. A
 * record that is not whole although one behind it, in its file or at the beginning of a later one, is known to
 * have been synced is no torn tail but damage: E_CORRUPT, nothing is dropped without being asked.
 *
 * Invariants: 1. every whole record before the first one that is not whole is kept; 2. log and queues
 * agree: every record that takes a queue offset has its unit, every unit its record; 3. nothing
 * behind log_max on disk can be taken for a record later. */
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

enum {
    CUT_ROUNDS = 4,
    CHECKPOINT_SLACK_MS = 3000, /* Source: StoreCheckpoint.getMinTimestamp */
    ZERO_RUN = 1024 * 1024,
    UNWRITTEN_FLUSH = 256 * 1024 /* units in memory before they go to files */
};
#define PROGRESS_BYTES (INT64_C(64) << 20)

struct recovery {
    struct store *st;
    struct store_recovery *found;
    int64_t start, pos, last_ts, told;
    bool full;     /* from the beginning of the log: gaps are the log's own */
    bool units_kept; /* in memory: the disk is full */
    bool need_full;
    const char *phase;
    int64_t doubtful_to; /* records below were not checked, or not for certain */
    bool checksums; /* a record with a checksum that fits was replayed, or begins a file in front of `start` */
};

static void tell(struct recovery *r, int64_t done, int64_t total)
{
    const struct store_opts *o = &r->st->o;
    r->told = done;
    if (o->on_progress)
        o->on_progress(o->arg, &(struct store_progress){r->phase, done, total});
}

int64_t record_tags_code(const struct store *st, const struct message *m)
{
    int32_t level;
    if (record_delay_level(m, &level))
        return message_store_time(m) + store_delay_ms(st, level);
    return tags_code(m->properties);
}

/* ---- records ---- */

/* The record at pos. *left is what its file holds from there on. `f` keeps the slices of m alive. */
static enum record_kind record_at(const struct store *st, const struct store_file *f, int64_t pos,
                                  struct message *m, int64_t *left)
{
    *left = f->start + f->size - pos;
    return record_judge(slice_of(f->map + (pos - f->start), (size_t)*left), *left, pos,
                        st->o.check_crc_on_recover ? MESSAGE_CHECK_CRC : 0, m, NULL);
}

/* A record's time to be compared with the checkpoint's, of which 0 says that there was no sync. One that no clock
 * shows is the earliest. */
static int64_t shown_time(const struct message *m)
{
    return m->store_timestamp > 0 && m->store_timestamp <= MESSAGE_TIME_MAX ? m->store_timestamp : 1;
}

/* Was the first record of a killed broker's replay, nothing behind it, on disk before the last stop for certain? A
 * replay from a later file begins with a whole record, so this is the log's first: a sync of its time covered it. */
static bool was_synced(const struct recovery *r, const struct message *m)
{
    return shown_time(m) <= r->st->checkpoint.physic_ts;
}

/* A record that is whole but for its last property, which looks like a checksum and fits nothing: is
 * that property an application's? */
static bool has_foreign_checksum(const struct recovery *r, const struct store_file *f, int64_t pos, struct message *m)
{
    struct store *st = r->st;
    enum behind behind;
    if (!st->o.check_crc_on_recover || r->checksums || !checksum_fits_nothing(st, f, pos, m, &behind) ||
        (behind == BEHIND_NOTHING && !r->found->clean && !r->found->records && !was_synced(r, m)))
        return false;
    LOGW("store.recover", "physOffset=%lld text=\"kept: the property __CRC32# is no checksum of this record\"",
         (long long)pos);
    return true;
}

/* Has the first record of a file in front of `start` a checksum that fits? Else a damaged record at `start`
 * would pass for one with a foreign property. */
static bool has_checksums(const struct recovery *r)
{
    const struct commitlog *l = &r->st->log;
    bool has = false;
    for (int i = 0; i < l->file_n && l->files[i]->start < r->start && !has; i++) {
        struct message m;
        int64_t left;
        has = record_at(r->st, l->files[i], l->files[i]->start, &m, &left) == RECORD_WHOLE && message_has_prop_crc(&m);
    }
    return has;
}

static bool whole_record_at(struct store *st, int64_t pos, int64_t *ts)
{
    struct store_file *f = commitlog_find(&st->log, pos);
    if (!f)
        return false;
    struct message m;
    int64_t left;
    /* A checksum that fits nothing may be foreign: the replay, which begins here, judges it. */
    bool whole = record_at(st, f, pos, &m, &left) == RECORD_WHOLE;
    if (!whole && !st->o.force_verify_prop_crc)
        whole = !message_decode(slice_of(f->map + (pos - f->start), (size_t)left), MESSAGE_CHECK_BODY, &m, NULL) &&
                m.phys_offset == pos;
    if (whole)
        *ts = m.store_timestamp;
    store_file_unref(f);
    return whole;
}

/* ---- 1. choose ---- */

/* Physical offset of a queue's last unit that has a record; -1 when there is none. */
static int last_phys(struct store_queue *q, int64_t *phys, struct err *e)
{
    *phys = -1;
    if (q->probe && !unit_is_blank(&q->probe->last)) {
        q->probe->last_there = queue_unit_has_record(q, &q->probe->last);
        *phys = q->probe->last_there ? q->probe->last.phys_offset : -1;
        if (q->probe->last_there)
            return 0;
    }
    for (int64_t at = q->max; at-- > q->min;) {
        struct queue_unit u;
        const int rc = queue_unit_at(q, at, &u, e);
        if (rc)
            return rc;
        if (unit_is_blank(&u) || (u.phys_offset >= 0 && u.phys_offset < atomic_load(&q->table->st->log.min)))
            return 0;
        if (queue_unit_has_record(q, &u)) {
            *phys = u.phys_offset;
            return 0;
        }
    }
    return 0;
}

static int64_t start_by_checkpoint(const struct recovery *r)
{
    const struct commitlog *l = &r->st->log;
    const struct checkpoint *c = &r->st->checkpoint;
    const int64_t safe = (c->physic_ts < c->logics_ts ? c->physic_ts : c->logics_ts) - CHECKPOINT_SLACK_MS;
    for (int i = l->file_n; i-- > 0;)
        if (store_file_first_ts(l->files[i]) <= safe)
            return l->files[i]->start;
    return l->files[0]->start;
}

/* Moves `start` back to where the last good unit of each damaged queue has its record. */
static int begin_at_damage(struct recovery *r, struct err *e)
{
    struct store *st = r->st;
    const int64_t log_min = st->log.files[0]->start;
    struct map_iter it = {0};
    int64_t ts;
    while (map_next(st->queues.map, &it)) {
        struct store_queue *q = it.value;
        int64_t phys;
        const int rc = q->damaged ? last_phys(q, &phys, e) : 0;
        if (rc)
            return rc;
        if (q->damaged && phys < r->start)
            r->start = phys >= log_min && whole_record_at(st, phys, &ts) ? phys : log_min;
        q->damaged = false;
    }
    return 0;
}

static int choose_start(struct recovery *r, struct err *e)
{
    struct store *st = r->st;
    const int64_t log_min = st->log.files[0]->start;
    int64_t youngest = -1, ts;
    struct map_iter it = {0};
    while (r->found->clean && map_next(st->queues.map, &it)) {
        int64_t phys;
        const int rc = last_phys(it.value, &phys, e);
        if (rc)
            return rc;
        if (phys > youngest)
            youngest = phys;
    }
    if (!map_count(st->queues.map) || st->places.moved[PLACE_LOG] || st->places.moved[PLACE_QUEUES])
        r->start = log_min;
    else if (r->found->clean && youngest >= log_min && whole_record_at(st, youngest, &ts))
        r->start = youngest;
    else
        r->start = start_by_checkpoint(r);
    return begin_at_damage(r, e);
}

/* ---- 2. cut ---- */

/* What is cut below the place that the checkpoint names must be made again by the next recovery too, if this one
 * does not get to its end: the checkpoint stops vouching for queues first. */
static int cut_queues(struct recovery *r, struct err *e)
{
    struct map_iter it = {0};
    int rc = 0;
    if (r->st->log.file_n && r->start < start_by_checkpoint(r))
        rc = checkpoint_save(r->st, r->st->checkpoint.physic_ts, 0, e);
    while (!rc && map_next(r->st->queues.map, &it))
        rc = queue_cut_phys(it.value, r->start, e);
    return rc;
}

/* A cut may show that a queue's units cannot be believed: then from further back, at last from the
 * beginning of the log. */
static int cut_surely(struct recovery *r, struct err *e)
{
    for (int round = 0;; round++) {
        const int64_t start = r->start;
        int rc = cut_queues(r, e);
        if (!rc)
            rc = begin_at_damage(r, e);
        if (rc || r->start == start)
            return rc;
        LOGW("store.recover", "from=%lld instead=%lld text=\"consume queues have damaged units, rebuilding more\"",
             (long long)start, (long long)r->start);
        if (round == CUT_ROUNDS)
            r->start = r->st->log.files[0]->start;
    }
}

/* ---- 3. replay ---- */

/* On a full disk the units stay in memory, for the queue flusher to write when there is space: a
 * broker whose disk is full must start, so that its messages can be read. */
static int flush_units(struct recovery *r, struct err *e)
{
    struct queue_table *t = &r->st->queues;
    const int rc = queue_table_flush_all(t, e);
    if (rc != E_NOSPC || atomic_load(&t->unwritten) > QUEUE_UNWRITTEN_MAX)
        return rc;
    if (!r->units_kept)
        LOGW("store.recover", "text=\"the disk is full, consume queues stay in memory: %s\"", e->text);
    r->units_kept = true;
    return 0;
}

static bool wants_flush(const struct recovery *r)
{
    return atomic_load(&r->st->queues.unwritten) > (r->units_kept ? QUEUE_UNWRITTEN_MAX : UNWRITTEN_FLUSH);
}

static int fill_gap(struct store_queue *q, int64_t upto)
{
    int rc = 0;
    while (!rc && q->max < upto)
        rc = queue_add(q, &(struct queue_unit){0, CQ_BLANK_SIZE, 0});
    return rc;
}

/* Makes the queue end at queue offset k, the place of the record at r->pos. */
static int meet(struct recovery *r, struct store_queue *q, int64_t k, struct err *e)
{
    const bool empty = q->min == q->max;
    if (k == q->max)
        return 0;
    if (!r->full && k > q->max && (!empty || q->suspect)) {
        r->need_full = true;
        return 0;
    }
    LOGW("store.recover", "topic=" SLICE_FMT " queue=%d expected=%lld found=%lld physOffset=%lld "
         "text=\"queue offset is not the next one\"", SLICE_ARG(queue_topic(q)), q->id, (long long)q->max,
         (long long)k, (long long)r->pos);
    if (k < q->max && k >= q->min) /* an older life of the topic ends here */
        return queue_cut(q, k, e);
    if (!empty && k > q->max && k - q->max <= q->table->file_size / CQ_UNIT_SIZE)
        return fill_gap(q, k) ? err_set(e, E_NOMEM, "rebuild consume queue") : 0;
    return queue_restart_at(q, k, e);
}

static int rebuild_unit(struct recovery *r, const struct message *m, struct err *e)
{
    struct store *st = r->st;
    if (!record_takes_unit(m))
        return 0;
    struct store_queue *q;
    struct err why;
    int rc = m->queue_offset < 0 || m->queue_offset > INT64_MAX / CQ_UNIT_SIZE / 2
                 ? err_set(&why, E_INVAL, "queue offset %lld", (long long)m->queue_offset)
                 : queue_open(&st->queues, m->topic, m->queue_id, &q, &why);
    if (rc == E_NOMEM)
        return err_set(e, rc, "%s", why.text);
    if (rc) {
        LOGW("store.recover", "physOffset=%lld text=\"record has no place in a queue: %s\"", (long long)r->pos,
             why.text);
        return 0;
    }
    rc = meet(r, q, m->queue_offset, e);
    if (!rc && !r->need_full) {
        const struct queue_unit u = {r->pos, m->total_size, record_tags_code(st, m)};
        rc = queue_add(q, &u) ? err_set(e, E_NOMEM, "rebuild consume queue") : 0;
    }
    queue_unref(q);
    if (!rc && wants_flush(r))
        rc = flush_units(r, e);
    return rc;
}

static int require_checksum(const struct recovery *r, const struct store_file *f, const struct message *m,
                            struct err *e)
{
    if (!r->st->o.force_verify_prop_crc || message_has_prop_crc(m))
        return 0;
    return err_set(e, E_CORRUPT, "%s: the record at byte %lld (physical offset %lld) carries no checksum of its "
                   "properties; set forceVerifyPropCRC=false to accept records that were written without",
                   f->path, (long long)(r->pos - f->start), (long long)r->pos);
}

static int replay_file(struct recovery *r, const struct store_file *f, bool *ended, struct err *e)
{
    const int64_t total = commitlog_limit(&r->st->log) - r->start;
    while (!r->need_full) {
        struct message m;
        int64_t left;
        const enum record_kind kind = record_at(r->st, f, r->pos, &m, &left);
        const bool foreign = kind == RECORD_BAD && has_foreign_checksum(r, f, r->pos, &m);
        if (kind == RECORD_BAD && !foreign) {
            *ended = true;
            return 0;
        }
        if (kind == RECORD_BLANK) {
            r->pos += left;
            return 0;
        }
        r->checksums |= !foreign && message_has_prop_crc(&m);
        if (foreign) /* kept, but only a read tells by the record behind it whether it is damaged */
            r->doubtful_to = r->pos + m.total_size;
        int rc = require_checksum(r, f, &m, e);
        if (!rc)
            rc = rebuild_unit(r, &m, e);
        if (rc)
            return rc;
        r->pos += m.total_size;
        r->found->records++;
        if (shown_time(&m) > r->last_ts)
            r->last_ts = shown_time(&m);
        if (r->pos - r->start - r->told >= PROGRESS_BYTES)
            tell(r, r->pos - r->start, total);
    }
    return 0;
}

static int replay(struct recovery *r, struct err *e)
{
    bool ended = false;
    r->pos = r->start;
    r->last_ts = r->told = 0;
    r->found->records = 0;
    r->need_full = false;
    r->doubtful_to = r->start;
    r->checksums = has_checksums(r);
    tell(r, 0, commitlog_limit(&r->st->log) - r->start);
    while (!ended && !r->need_full) {
        struct store_file *f = commitlog_find(&r->st->log, r->pos);
        if (!f)
            return 0;
        int rc = replay_file(r, f, &ended, e);
        store_file_unref(f);
        if (!rc)
            rc = FAILPOINT(FP_STORE_RECOVER) ? err_set(e, E_IO, "recover: failpoint") : 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- 4. seal ---- */

/* Bytes from pos to the last one that is not zero, over all files. Within a file the search ends at
 * ZERO_RUN zeros: the rest of a file is allocated, not written, and 1 GiB of it need not be read. */
static int64_t count_dropped(struct commitlog *l, int64_t pos)
{
    int64_t last = pos;
    for (int i = 0; i < l->file_n; i++) {
        const struct store_file *f = l->files[i];
        int64_t at = pos > f->start ? pos - f->start : 0, zeros = 0;
        for (; at < f->size && zeros < ZERO_RUN; at++) {
            zeros = f->map[at] ? 0 : zeros + 1;
            if (!zeros)
                last = f->start + at + 1;
        }
    }
    return last - pos;
}

/* The first whole record behind `pos` in its file that was on disk for certain: younger than what was replayed,
 * older than the log's last sync. Without the former a record that an earlier cut left in place would do: RocketMQ
 * does not zero what it cuts. When nothing that was synced is missing, nothing is read. -1: none. */
static int64_t synced_in_file(const struct recovery *r, const struct store_file *f)
{
    enum { MAGIC_AT = 4, PHYS_AT = 28 };
    const int64_t safe = r->st->checkpoint.physic_ts;
    const char *const end = f->map + f->size, *at = f->map + (r->pos - f->start);
    while (r->last_ts < safe && end - at > MESSAGE_SIZE_MIN &&
           (at = memchr(at + MAGIC_AT + 1, MESSAGE_MAGIC_V1 >> 24 & 0xFF, (size_t)(end - at - MAGIC_AT - 1)))) {
        at -= MAGIC_AT;
        struct message m;
        const int64_t phys = f->start + (at - f->map);
        if (end - at >= MESSAGE_SIZE_MIN && (int64_t)be64_get(at + PHYS_AT) == phys &&
            record_judge(slice_of(at, (size_t)(end - at)), end - at, phys, MESSAGE_CHECK_CRC, &m, NULL) ==
                RECORD_WHOLE &&
            m.store_timestamp >= r->last_ts && m.store_timestamp < safe)
            return phys;
    }
    return -1;
}

/* The same at the beginning of a later file. */
static int64_t synced_behind(const struct recovery *r, const struct store_file *f)
{
    struct commitlog *l = &r->st->log;
    const int64_t found = synced_in_file(r, f);
    if (found >= 0)
        return found;
    for (int i = l->file_n; i-- > 0 && l->files[i]->start > r->pos;) {
        int64_t ts;
        if (whole_record_at(r->st, l->files[i]->start, &ts) && ts >= 0 && ts < r->st->checkpoint.physic_ts)
            return l->files[i]->start;
    }
    return -1;
}

/* Refuses to drop what was certainly on disk: what stands in front of it is no torn tail. */
static int refuse_damage(const struct recovery *r, struct err *e)
{
    struct store_file *f = commitlog_find(&r->st->log, r->pos);
    if (!f)
        return 0;
    const int64_t behind = synced_behind(r, f);
    int rc = 0;
    if (behind >= 0)
        rc = err_set(e, E_CORRUPT, "%s: damaged at byte %lld, and what was synced stands whole behind it, at physical "
                     "offset %lld; look with `mqstore verify`, then restore the file or use `mqstore repair`",
                     f->path, (long long)(r->pos - f->start), (long long)behind);
    store_file_unref(f);
    return rc;
}

static int finish_queues(struct recovery *r, struct err *e)
{
    struct store *st = r->st;
    struct map_iter it = {0};
    int rc = 0;
    while (!rc && map_next(st->queues.map, &it)) {
        struct store_queue *q = it.value;
        rc = queue_find_min(q, atomic_load(&st->log.min), e);
        q->next = q->max;
        q->damaged = q->suspect = false;
        free(q->probe);
        q->probe = NULL;
    }
    return rc ? rc : flush_units(r, e);
}

static void publish_end(struct recovery *r)
{
    struct commitlog *l = &r->st->log;
    l->last_ts = r->last_ts;
    l->cold_end = r->st->o.check_crc_on_recover ? r->doubtful_to : l->end;
    atomic_store(&l->min, l->files[0]->start);
    atomic_store(&l->wrote_ts, r->last_ts);
    atomic_store(&l->wrote, l->end);
    atomic_store(&l->flushed_ts, r->last_ts);
    atomic_store(&l->flushed, l->end);
    atomic_store(&r->st->vis.readable, l->end);
    atomic_store(&r->st->vis.offset, l->end);
    atomic_store(&r->st->vis.ts, r->last_ts);
    r->st->last_flush_ms = r->st->queues.thorough_ms = clock_mono(r->st->clock);
    r->st->queues.thorough_wrote = l->end;
    atomic_store(&r->st->queues.synced, r->units_kept ? r->start : l->end);
}

static int seal(struct recovery *r, struct err *e)
{
    struct store *st = r->st;
    int rc = refuse_damage(r, e);
    if (rc)
        return rc;
    r->found->dropped_bytes = count_dropped(&st->log, r->pos);
    const bool cut_tail = !r->found->clean || r->found->dropped_bytes;
    rc = commitlog_set_end(&st->log, r->pos, cut_tail, e);
    if (!rc)
        rc = commitlog_sync(&st->log, r->start, r->pos, e);
    if (rc)
        return rc;
    atomic_store(&st->log.min, st->log.files[0]->start);
    rc = finish_queues(r, e);
    retention_judge_age(st, r->last_ts);
    if (!rc && r->last_ts && !r->units_kept)
        rc = checkpoint_save(st, r->last_ts, r->last_ts, e);
    if (rc)
        return rc;
    publish_end(r);
    return 0;
}

static void report(const struct recovery *r)
{
    struct store_recovery *found = r->found;
    found->log_min = atomic_load(&r->st->log.min);
    found->last_ts = r->last_ts;
    found->log_max = r->pos;
    found->verified_bytes = r->pos - r->start;
    LOGI("store.recover", "clean=%d logMin=%lld logMax=%lld from=%lld verifiedBytes=%lld records=%lld "
         "droppedBytes=%lld queues=%zu", found->clean, (long long)found->log_min, (long long)found->log_max,
         (long long)r->start, (long long)found->verified_bytes, (long long)found->records,
         (long long)found->dropped_bytes, map_count(r->st->queues.map));
}

static int replay_all(struct recovery *r, struct err *e)
{
    int rc = choose_start(r, e);
    if (!rc)
        rc = cut_surely(r, e);
    r->full = r->start == r->st->log.files[0]->start;
    r->phase = r->found->clean ? "verify" : "rebuild";
    if (!rc)
        rc = replay(r, e);
    if (rc || !r->need_full)
        return rc;
    LOGW("store.recover", "from=%lld text=\"consume queues miss units, rebuilding all of them\"",
         (long long)r->start);
    r->start = r->st->log.files[0]->start;
    r->full = true;
    r->phase = "rebuild";
    rc = cut_queues(r, e);
    return rc ? rc : replay(r, e);
}

int recover(struct store *st, struct store_recovery *found, struct err *e)
{
    struct recovery r = {.st = st, .found = found, .phase = "load"};
    const int64_t bytes = commitlog_limit(&st->log) - atomic_load(&st->log.min);
    tell(&r, bytes, bytes);
    int rc = 0;
    if (st->log.file_n) {
        rc = replay_all(&r, e);
    } else if (st->checkpoint.physic_ts) {
        rc = err_set(e, E_CORRUPT, "storePathCommitLog=%s has no files, but %s tells of messages on disk; name the "
                     "directory that has them (is its disk mounted?), or remove %s to begin with an empty log",
                     st->log.dir, st->places.path[PLACE_CHECKPOINT], st->places.path[PLACE_CHECKPOINT]);
    } else {
        if (map_count(st->queues.map))
            LOGW("store.recover", "dir=%s text=\"the commit log has no files: consume queues are emptied\"",
                 st->log.dir);
        rc = cut_queues(&r, e);
    }
    if (!rc)
        rc = seal(&r, e);
    if (!rc)
        report(&r);
    return rc;
}
