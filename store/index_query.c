/* Queries by key.
 *
 * Owns: the list of queries that wait.
 * Runs on: store_query on any thread; everything else on the index worker, which may block on cold
 * pages and index blocks without holding up anybody but itself and later queries.
 *
 * Happy path: store_query notes how far the log is visible now; the worker answers when the index has
 * got that far (normally within one step), so whoever sent a message and then asks for it finds it.
 * A look-up goes from the newest file to the oldest and along one chain in each, newest item first;
 * every candidate's record is read, and counts only when its topic, its key and its store time are
 * the ones asked for.
 * Source: IndexService.queryOffset, DefaultMessageStore.queryMessage; RocketMQ does not compare the
 * key, and hands out foreign messages with an equal hash.
 *
 * Failure modes: the index cannot keep up, or its disk fails: after QUERY_WAIT_MS the answer is what
 * is there. A damaged file: it is dropped and built anew (index.c), and the query waits again.
 *
 * Bounds: QUERIES_MAX queries wait at most; an answer has q->max records and stops growing at
 * q->bytes_max. LIMIT: a chain is walked to its end however long, when nothing on it is asked for.
 *
 * Invariants: 1. done() is called once for each query that store_query took; 2. no record is named
 * twice in one answer. */
#include "base/log.h"
#include "store/store_priv.h"

enum { QUERIES_MAX = 1024, QUERY_WAIT_MS = 1000 };

int store_query(struct store *st, struct store_query *q, struct err *e)
{
    struct index *ix = &st->index;
    if (!st->o.index_enable)
        return err_set(e, E_NOTFOUND, "no index by key is kept: messageIndexEnable=false");
    q->n = 0;
    q->last_timestamp = q->last_phys = 0;
    q->upto = atomic_load_explicit(&st->vis.offset, memory_order_acquire);
    q->deadline_ms = clock_mono(st->clock) + QUERY_WAIT_MS;
    uv_mutex_lock(&ix->lock);
    const bool room = ix->query_n < QUERIES_MAX;
    if (room) {
        list_push_back(&ix->queries, &q->link);
        ix->query_n++;
    }
    uv_mutex_unlock(&ix->lock);
    if (!room)
        return err_set(e, E_BUSY, "%d queries by key are waiting", QUERIES_MAX);
    worker_wake(&st->indexer);
    return 0;
}

/* ---- the look-up ---- */

static bool has_key(struct slice properties, struct slice key)
{
    if (slice_eq(props_str_get(properties, PROP_UNIQ_KEY), key))
        return true;
    struct slice words = props_str_get(properties, PROP_KEYS), word;
    while (slice_cut(&words, ' ', &word))
        if (slice_eq(word, key))
            return true;
    return false;
}

static bool is_wanted(const struct store_query *q, const struct store_view *v)
{
    struct message m;
    if (message_decode(v->record, 0, &m, NULL) || !slice_eq(m.topic, q->topic))
        return false;
    const int64_t ts = message_store_time(&m);
    return ts >= q->begin_ms && ts <= q->end_ms && has_key(m.properties, q->key);
}

static bool is_known(const struct store_query *q, const struct store_view *v)
{
    for (int32_t i = 0; i < q->n; i++)
        if (q->views[i].record.p == v->record.p)
            return true;
    return false;
}

/* An item's time is its record's, cut to the second; 0 may also stand for a clock that went back. */
static bool in_time(const struct store_query *q, const struct index_file *f, const struct index_item *i)
{
    const int64_t ts = f->h.begin_ts + (int64_t)i->seconds * 1000;
    return !i->seconds || (ts <= q->end_ms && ts >= q->begin_ms - (q->begin_ms >= 1000 ? 1000 : 0));
}

static int search_file(struct index *ix, struct index_file *f, int32_t hash, struct store_query *q,
                       int64_t *bytes, struct err *e)
{
    int32_t at;
    struct index_item item;
    int rc = index_file_first(f, hash, &at, e);
    for (; !rc && at && q->n < q->max && *bytes < q->bytes_max; at = item.prev) {
        struct store_view v;
        rc = index_file_item(f, at, &item, e);
        if (rc)
            return rc;
        if (item.hash != hash || !in_time(q, f, &item) || store_view(ix->st, item.phys, 0, &v, NULL))
            continue;
        if (!is_wanted(q, &v) || is_known(q, &v)) {
            store_view_release(&v);
            continue;
        }
        *bytes += (int64_t)v.record.n;
        q->views[q->n++] = v;
    }
    return rc;
}

/* Newest first became log order. */
static void reverse(struct store_view *v, int32_t n)
{
    for (int32_t i = 0; i < n / 2; i++) {
        const struct store_view t = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = t;
    }
}

static void forget(struct store_query *q)
{
    while (q->n)
        store_view_release(&q->views[--q->n]);
}

int index_lookup(struct index *ix, struct store_query *q, struct err *e)
{
    struct buf key;
    int64_t bytes = 0;
    buf_init(&key, 0);
    buf_slice_add(&key, q->topic);
    buf_char(&key, '#');
    buf_slice_add(&key, q->key);
    const int32_t hash = buf_error(&key) ? -1 : index_hash(buf_slice(&key));
    buf_free(&key);
    if (hash < 0)
        return err_set(e, E_NOMEM, "query by key");
    for (int i = ix->file_n; i-- > 0 && q->n < q->max && bytes < q->bytes_max;) {
        struct index_file *f = ix->files[i];
        /* Its last second may have been rounded when it was reopened after a crash. */
        if (f->h.count <= 1 || f->h.end_ts < q->begin_ms || f->h.begin_ts > q->end_ms)
            continue;
        const int rc = search_file(ix, f, hash, q, &bytes, e);
        if (rc == E_CORRUPT) {
            LOGW("index.repair", "text=\"%s\" effect=\"it and the files after it are built anew\"", e->text);
            forget(q);
            index_drop_from(ix, i);
        }
        if (rc)
            return rc;
    }
    reverse(q->views, q->n);
    if (q->n) {
        const struct index_file *last = ix->files[ix->file_n - 1];
        q->last_timestamp = last->h.end_ts;
        q->last_phys = last->h.end_phys;
    }
    return 0;
}

/* ---- the list ---- */

static bool is_due(const struct index *ix, const struct store_query *q, int64_t now)
{
    return q->upto <= atomic_load(&ix->indexed) || now >= q->deadline_ms || ix->failing || ix->stopped;
}

/* The next query to answer now, off the list. */
static struct store_query *take_due(struct index *ix, bool all)
{
    const int64_t now = clock_mono(ix->st->clock);
    struct store_query *found = NULL;
    uv_mutex_lock(&ix->lock);
    LIST_FOREACH_SAFE(it, tmp, &ix->queries) {
        struct store_query *q = LIST_ENTRY(it, struct store_query, link);
        if (!all && !is_due(ix, q, now))
            continue;
        list_remove(it);
        ix->query_n--;
        found = q;
        break;
    }
    uv_mutex_unlock(&ix->lock);
    return found;
}

static void put_back(struct index *ix, struct store_query *q)
{
    uv_mutex_lock(&ix->lock);
    list_push_back(&ix->queries, &q->link);
    ix->query_n++;
    uv_mutex_unlock(&ix->lock);
}

bool index_serve(struct index *ix, bool all)
{
    for (struct store_query *q; (q = take_due(ix, all));) {
        struct err e;
        const int rc = index_lookup(ix, q, &e);
        if (rc == E_CORRUPT && !all && clock_mono(ix->st->clock) < q->deadline_ms && !ix->stopped) {
            put_back(ix, q);
            return true;
        }
        if (rc && rc != E_CORRUPT)
            LOGW("index.query", "text=\"%s\"", e.text);
        q->done(q);
    }
    return false;
}
