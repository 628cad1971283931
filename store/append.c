/* Appends: a submitter's batch goes through the log lock into the log.
 *
 * Owns: nothing; it moves appends from a port's queue to the log, to the waiters, to done().
 * Runs on: the threads that own ports. Any number of them; the log lock makes them one.
 *
 * Happy path of store_port_submit:
 *   prepare   without locks: check each append, find its queue;
 *   wait      log lock: while zeros are written where the batch may go (zero_ahead.c; hardly ever);
 *   gather    log lock: queue offset, physical offset and store time go into each record, the
 *             records of the batch become one iovec array;
 *   write     one pwritev (more only at the end of a file or after IOV_MAX appends);
 *   publish   take vis.lock, then drop the log lock: units into the ring, `wrote` moves;
 *             FLUSH_ASYNC: visible now. FLUSH_SYNC: the appends join the waiters of the flusher;
 *   answer    no lock: done() of everything that is complete.
 * docs/decisions/0001-write-path.md has the reasons.
 *
 * Failure modes, in the order in which they can happen:
 *   bad append             STORE_TOO_BIG, nothing written, the rest of the batch goes on
 *   disk above its level   STORE_DISK_FULL, nothing written (retention.c decides)
 *   no next file           STORE_NO_FILE for what does not fit the current one; not sticky
 *   no memory              STORE_NO_FILE likewise, found out before anything is written
 *   the write fails        FAILED for good: this part of the batch and everything after it; parts
 *                          written before are published as usual. The bytes behind `wrote` are
 *                          unknown; nobody reads them, recovery judges them by their checks
 *
 * Invariants: 1. appends of one port to one queue get queue offsets in the order of store_append;
 * 2. a batch append (record_n > 1) is contiguous in one file; 3. done() runs exactly once, without
 * locks, on the port's thread; 4. a queue offset is taken only by a record that was put into the
 * iovec array, so after a refused append the offsets stay dense. */
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"

struct submit { /* one run of store_port_submit */
    struct store *st;
    struct store_port *port;
    struct list prepared; /* checked, not yet gathered */
    struct list gathered; /* in the iovec array */
    struct list written;
    struct list finished; /* status is final */
    int64_t ts;
    size_t record_n;
    bool no_file; /* the next file could not be created: not tried again for this batch */
};

int store_port_open(struct store_port *p, struct store *st, struct mailbox *mb, struct err *e)
{
    *p = (struct store_port){.st = st, .mailbox = mb};
    if (uv_mutex_init(&p->lock))
        return err_set(e, E_NOMEM, "open store port");
    if (uv_cond_init(&p->cond)) {
        uv_mutex_destroy(&p->lock);
        return err_set(e, E_NOMEM, "open store port");
    }
    list_init(&p->queued);
    list_init(&p->completed);
    atomic_fetch_add(&st->ports, 1);
    return 0;
}

void store_port_close(struct store_port *p)
{
    MQ_ASSERT(list_empty(&p->queued) && list_empty(&p->completed) && !p->inflight);
    uv_cond_destroy(&p->cond);
    uv_mutex_destroy(&p->lock);
    atomic_fetch_sub(&p->st->ports, 1);
}

void store_append(struct store_port *p, struct append *a)
{
    a->port = p;
    a->queue = NULL;
    a->queue_offset = a->phys_offset = a->store_timestamp = 0;
    list_push_back(&p->queued, &a->link);
    p->queued_bytes += a->size;
}

/* ---- prepare ---- */

static bool records_whole(const struct append *a)
{
    size_t pos = 0;
    for (int32_t i = 0; i < a->record_n; i++) {
        if (a->size - pos < MESSAGE_SIZE_MIN)
            return false;
        const uint32_t size = be32_get(a->records + pos);
        if (size < MESSAGE_SIZE_MIN || size > a->size - pos)
            return false;
        /* Recovery rebuilds the queue from the record, so both must name the same one. */
        if (!a->no_queue && (int32_t)be32_get(a->records + pos + 12) != a->queue_id)
            return false;
        pos += size;
    }
    return a->record_n > 0 && pos == a->size;
}

static bool within_limits(const struct store *st, const struct append *a)
{
    const int64_t record_max = (int64_t)st->o.max_message_size + RECORD_SLACK;
    if (a->size > (uint64_t)(st->log.file_size - MESSAGE_BLANK_SIZE))
        return false;
    size_t pos = 0;
    for (int32_t i = 0; i < a->record_n; i++) {
        const uint32_t size = be32_get(a->records + pos);
        if ((int64_t)size > record_max)
            return false;
        pos += size;
    }
    return true;
}

static enum store_status prepare_one(struct store *st, struct append *a)
{
    if (atomic_load_explicit(&st->closing, memory_order_relaxed))
        return STORE_CLOSED;
    if (!records_whole(a) || !within_limits(st, a))
        return STORE_TOO_BIG;
    if (atomic_load_explicit(&st->retention.full, memory_order_relaxed))
        return STORE_DISK_FULL;
    if (a->no_queue)
        return STORE_OK;
    struct err e;
    const int rc = queue_open(&st->queues, a->topic, a->queue_id, &a->queue, &e);
    if (!rc)
        return STORE_OK;
    char topic[64];
    LOGW("store.append", "topic=%s queue=%d text=\"%s\"", log_quote(a->topic, topic, sizeof topic), a->queue_id,
         e.text);
    return rc == E_NOMEM ? STORE_NO_FILE : STORE_TOO_BIG;
}

static void finish(struct submit *s, struct append *a, enum store_status status)
{
    a->status = status;
    list_remove(&a->link);
    list_push_back(&s->finished, &a->link);
}

static void prepare(struct submit *s)
{
    LIST_FOREACH_SAFE(it, tmp, &s->prepared) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        const enum store_status status = prepare_one(s->st, a);
        if (status)
            finish(s, a, status);
        else
            s->record_n += (size_t)a->record_n;
    }
}

/* ---- gather and write: under the log lock ---- */

/* Writes what was gathered. On failure those appends are lost and the store is FAILED. */
static bool write_gathered(struct submit *s)
{
    struct commitlog *l = &s->st->log;
    if (!l->iov_n)
        return true;
    struct err e;
    int rc = FAILPOINT(FP_STORE_APPEND_WRITE);
    if (rc)
        rc = err_set(&e, rc, "write commit log: failpoint");
    else
        rc = l->fs->pwritev(l->tail->f, l->iov, l->iov_n, l->iov_off - l->tail->start, &e);
    if (!rc && (rc = FAILPOINT(FP_STORE_APPEND_PUBLISH)))
        rc = err_set(&e, rc, "publish the end of the log: failpoint");
    l->iov_n = 0;
    if (rc) {
        store_fail_mark(s->st, e.text);
        for (struct list *it; (it = list_pop_front(&s->gathered));) {
            list_push_back(&s->finished, it);
            LIST_ENTRY(it, struct append, link)->status = STORE_FAILED;
        }
        return false;
    }
    atomic_fetch_add_explicit(&s->st->writes, 1, memory_order_relaxed);
    for (struct list *it; (it = list_pop_front(&s->gathered));)
        list_push_back(&s->written, it);
    return true;
}

static void gather(struct commitlog *l, void *p, size_t n)
{
    if (!l->iov_n)
        l->iov_off = l->end;
    l->iov[l->iov_n++] = (struct iovec){p, n};
    l->end += (int64_t)n;
}

/* Once per file, when it is half full. */
static bool ask_for_next_file(struct commitlog *l)
{
    if (l->asked == l->tail->start || l->end - l->tail->start <= l->file_size / 2)
        return false;
    l->asked = l->tail->start;
    return true;
}

/* Moves the end to the next file. The file comes first: without it nothing may change. */
static enum store_status roll(struct submit *s)
{
    struct commitlog *l = &s->st->log;
    struct store_file *full = l->tail;
    struct err e;
    if (commitlog_roll(l, &e)) {
        LOGE("store.roll", "text=\"%s\"", e.text);
        return STORE_NO_FILE;
    }
    struct store_file *next = l->tail;
    l->tail = full;
    const int64_t left = full->start + l->file_size - l->end;
    if (left >= MESSAGE_BLANK_SIZE) {
        be32_put(l->blank, (uint32_t)left);
        be32_put(l->blank + 4, (uint32_t)MESSAGE_MAGIC_BLANK);
        gather(l, l->blank, sizeof l->blank);
    }
    const bool ok = write_gathered(s);
    l->tail = next;
    l->end = next->start;
    return ok ? STORE_OK : STORE_FAILED;
}

static void patch_and_gather(struct submit *s, struct append *a)
{
    struct commitlog *l = &s->st->log;
    a->phys_offset = l->end;
    a->store_timestamp = s->ts;
    a->queue_offset = a->queue ? a->queue->next : 0;
    int64_t phys = l->end, queue_offset = a->queue_offset;
    for (size_t pos = 0; pos < a->size;) {
        char *record = a->records + pos;
        const uint32_t size = be32_get(record);
        message_patch(record, queue_offset, phys, s->ts);
        phys += size;
        pos += size;
        queue_offset += a->queue != NULL;
    }
    if (a->queue)
        a->queue->next = queue_offset;
    gather(l, a->records, a->size);
    a->end_offset = l->end;
    list_remove(&a->link);
    list_push_back(&s->gathered, &a->link);
}

static enum store_status place(struct submit *s, struct append *a)
{
    struct commitlog *l = &s->st->log;
    if (atomic_load_explicit(&s->st->failed, memory_order_relaxed))
        return STORE_FAILED;
    if (l->iov_n == IOV_MAX - 1 && !write_gathered(s)) /* one stays free for a blank record */
        return STORE_FAILED;
    const int64_t left = l->tail->start + l->file_size - l->end;
    if ((int64_t)a->size + MESSAGE_BLANK_SIZE > left) {
        const enum store_status status = s->no_file ? STORE_NO_FILE : roll(s);
        s->no_file |= status == STORE_NO_FILE;
        if (status)
            return status;
    }
    patch_and_gather(s, a);
    return STORE_OK;
}

static void write_batch(struct submit *s)
{
    struct commitlog *l = &s->st->log;
    const int64_t now = clock_wall(s->st->clock);
    if (now > l->last_ts)
        l->last_ts = now;
    s->ts = l->last_ts;
    const bool room = !visibility_reserve(&s->st->vis, s->record_n);
    LIST_FOREACH_SAFE(it, tmp, &s->prepared) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        const enum store_status status = room ? place(s, a) : STORE_NO_FILE;
        if (status)
            finish(s, a, status);
    }
    write_gathered(s);
}

/* ---- publish: under vis.lock ---- */

static int64_t code_of(const struct store *st, const struct append *a, int32_t i)
{
    if (a->delay_level > 0)
        return a->store_timestamp + store_delay_ms(st, a->delay_level);
    return a->tags_codes ? a->tags_codes[i] : a->tags_code;
}

static void push_units(struct store *st, struct append *a)
{
    size_t pos = 0;
    for (int32_t i = 0; i < a->record_n; i++) {
        const uint32_t size = be32_get(a->records + pos);
        visibility_push(&st->vis, &(struct pending){
            .queue = queue_ref(a->queue), .queue_offset = a->queue_offset + i, .ts = a->store_timestamp,
            .unit = {a->phys_offset + (int64_t)pos, (int32_t)size, code_of(st, a, i)}});
        pos += size;
    }
}

static void publish(struct submit *s)
{
    struct store *st = s->st;
    const bool sync = st->o.flush_mode == FLUSH_SYNC;
    const int64_t deadline = clock_mono(st->clock) + st->o.sync_flush_timeout_ms;
    int64_t end = atomic_load_explicit(&st->log.wrote, memory_order_relaxed);
    LIST_FOREACH_SAFE(it, tmp, &s->written) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        end = a->end_offset;
        if (a->queue)
            push_units(st, a);
        atomic_fetch_add_explicit(&st->appends, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&st->records, (uint64_t)a->record_n, memory_order_relaxed);
        atomic_fetch_add_explicit(&st->bytes, a->size, memory_order_relaxed);
        if (!sync || a->no_wait) {
            finish(s, a, STORE_OK);
            continue;
        }
        a->deadline_ms = deadline;
        s->port->inflight++;
        if (a->queue) /* nobody may look at `a` once the flusher can */
            queue_unref(a->queue);
        a->queue = NULL;
        list_remove(&a->link);
        list_push_back(&st->vis.waiters, &a->link);
    }
    atomic_store_explicit(&st->log.wrote_ts, s->ts, memory_order_relaxed);
    atomic_store_explicit(&st->log.wrote, end, memory_order_release);
}

static void answer(struct list *finished)
{
    for (struct list *it; (it = list_pop_front(finished));) {
        struct append *a = LIST_ENTRY(it, struct append, link);
        if (a->queue)
            queue_unref(a->queue);
        a->queue = NULL;
        a->done(a);
    }
}

void store_port_submit(struct store_port *p)
{
    struct store *st = p->st;
    struct submit s = {.st = st, .port = p};
    if (list_empty(&p->queued))
        return;
    list_move_all(&p->queued, &s.prepared);
    list_init(&s.gathered);
    list_init(&s.written);
    list_init(&s.finished);
    const size_t bytes = p->queued_bytes;
    p->queued_bytes = 0;
    prepare(&s);

    uv_mutex_lock(&st->log.lock);
    zero_ahead_wait(&st->log, bytes);
    write_batch(&s);
    const bool wrote = !list_empty(&s.written);
    const bool ask = ask_for_next_file(&st->log), zero = wrote && zero_ahead_wanted(&st->log);
    uv_mutex_lock(&st->vis.lock);
    uv_mutex_unlock(&st->log.lock);
    if (wrote) {
        publish(&s);
        if (st->o.flush_mode == FLUSH_ASYNC)
            visibility_advance(st, atomic_load_explicit(&st->log.wrote, memory_order_relaxed), s.ts);
    }
    uv_mutex_unlock(&st->vis.lock);

    if (wrote && st->o.flush_mode == FLUSH_SYNC)
        worker_wake(&st->flusher);
    if (ask || zero)
        worker_wake(&st->allocator);
    store_fail_report(st);
    answer(&s.finished);
}

/* ---- delivery of later completions ---- */

static size_t take_completed(struct store_port *p, struct list *out)
{
    uv_mutex_lock(&p->lock);
    list_move_all(&p->completed, out);
    p->posted = false;
    uv_mutex_unlock(&p->lock);
    size_t n = 0;
    LIST_FOREACH(it, out)
        n++;
    p->inflight -= n;
    return n;
}

static void on_mail(struct mail *m)
{
    struct list done;
    take_completed(LIST_ENTRY(m, struct store_port, mail), &done);
    answer(&done);
}

void appends_deliver(struct list *done)
{
    for (struct list *it; (it = list_pop_front(done));) {
        struct store_port *p = LIST_ENTRY(it, struct append, link)->port;
        uv_mutex_lock(&p->lock);
        list_push_back(&p->completed, it);
        while (!list_empty(done) && LIST_ENTRY(done->next, struct append, link)->port == p)
            list_push_back(&p->completed, list_pop_front(done));
        if (!p->mailbox) {
            uv_cond_signal(&p->cond);
        } else if (!p->posted) {
            p->mail.deliver = on_mail;
            p->posted = !mailbox_post(p->mailbox, &p->mail);
        }
        uv_mutex_unlock(&p->lock);
    }
}

static void wait_for_completion(struct store_port *p, int64_t timeout_ms)
{
    const struct clock *clock = &clock_system;
    const int64_t until = clock_mono(clock) + timeout_ms;
    uv_mutex_lock(&p->lock);
    for (int64_t left; list_empty(&p->completed) && (left = until - clock_mono(clock)) > 0;)
        uv_cond_timedwait(&p->cond, &p->lock, (uint64_t)left * 1000000);
    uv_mutex_unlock(&p->lock);
}

size_t store_port_drain(struct store_port *p, int64_t timeout_ms)
{
    MQ_ASSERT(!p->mailbox);
    if (p->inflight)
        wait_for_completion(p, timeout_ms);
    struct list done;
    const size_t n = take_completed(p, &done);
    answer(&done);
    return n;
}
