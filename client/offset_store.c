/* Where consumption of a queue begins, and how its progress is kept.
 *
 * Clustering: the broker keeps offsets (14 asks, 15 stores, every pull carries one). Broadcasting:
 * a file of this machine, <dir>/<ip>@<instance>/<group>/offsets.json, written atomically off the
 * loop.
 *
 * Start of a queue without a stored offset (source:
 * RebalancePushImpl.computePullFromWhereWithException, 5.5.0):
 *                    normal topic                 retry topic
 *   LAST             the end of the queue (30)    0
 *   FIRST            0 (an illegal one is corrected by the broker's answer to the first pull)   0
 *   TIMESTAMP        by time (29)                 the end of the queue
 * An answer other than "found" or "not found" (22) decides nothing: it is asked again after a
 * second. Guessing here would skip or repeat a queue's whole content.
 *
 * 15 is answered, so a commit counts only when the broker said so; the last value is written
 * whatever it is (brokers take smaller ones), which is why only the owner of a queue commits and
 * only upwards.
 *
 * Runs on: the loop, except offsets_open and the file's writing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "client/push_priv.h"
#include "proto/names.h"

enum { FILE_MAX = 64 * 1024 * 1024 };

static const char *home_of(const struct queue *q)
{
    const struct broker *b = broker_of(q->k->c, q->broker);
    const char *master = broker_address(b, 0);
    return master ? master : broker_any_address(b);
}

/* --- the start --- */

static void on_retry(struct timer *t) { offset_start(LIST_ENTRY(t, struct queue, timer)); }

static void start_later(struct queue *q, const char *why)
{
    CLIENT_LOG(q->k->c, HP_LOG_WARN, "start offset of %s:%d at %s is not known yet: %s",
               q->ts->sub.topic, q->id, q->broker, why);
    timer_start(&q->k->c->timers, &q->timer, RETRY_PULL_MS, on_retry);
}

static void start_at(struct queue *q, int64_t offset)
{
    pq_start(&q->pq, offset);
    pull_next(q);
}

/* An answer with an offset; false when there is none (then the queue starts later). */
static bool offset_answered(struct queue *q, const struct rpc_result *res, int64_t *offset)
{
    struct hdr_offset_resp h;
    struct err e = res->error;
    int rc = res->status;
    if (!rc && res->response->code != RESP_SUCCESS)
        rc = err_set(&e, E_REMOTE, "%s answers code %d: " SLICE_FMT, res->address,
                     res->response->code, SLICE_ARG(res->response->remark));
    if (!rc)
        rc = hdr_decode(&hdr_desc_offset_resp, HDR_LONG, res->response->ext, res->response->ext_n,
                        &h, &e);
    if (rc) {
        start_later(q, e.text);
        return false;
    }
    *offset = h.offset;
    return true;
}

static void on_position(void *arg, const struct rpc_result *res)
{
    struct queue *q = arg;
    int64_t offset;
    if (offset_answered(q, res, &offset))
        start_at(q, offset > 0 ? offset : 0);
}

static void ask(struct queue *q, int32_t code, const void *hdr, rpc_done done)
{
    struct hp_client *c = q->k->c;
    const char *addr = home_of(q);
    const struct rpc_request r = {.address = slice_str(addr), .code = code, .hdr = hdr,
                                  .timeout_ms = c->request_timeout_ms};
    struct err e = {0};
    if (!addr)
        err_set(&e, E_NOTFOUND, "the broker has no address");
    if (!addr || client_call(c, &q->calls, &r, done, q, &e))
        start_later(q, e.text);
}

static void ask_end(struct queue *q)
{
    const struct hdr_topic_queue h = {
        .topic = slice_str(q->ts->sub.topic), .queue_id = q->id, .committed = true};
    ask(q, RC_GET_MAX_OFFSET, &h, on_position);
}

static void start_without_stored(struct queue *q)
{
    const struct hp_consumer_options *o = &q->k->o;
    const struct slice topic = slice_str(q->ts->sub.topic);
    const bool retry = topic_is_retry(topic);
    if (o->from == HP_FROM_TIMESTAMP && !retry) {
        const struct hdr_search_offset h = {
            .topic = topic, .queue_id = q->id, .timestamp = o->from_timestamp_ms};
        ask(q, RC_SEARCH_OFFSET_BY_TIMESTAMP, &h, on_position);
    } else if (o->from == HP_FROM_FIRST || (retry && o->from == HP_FROM_LAST)) {
        start_at(q, 0);
    } else {
        ask_end(q);
    }
}

static void on_stored(void *arg, const struct rpc_result *res)
{
    struct queue *q = arg;
    int64_t offset;
    if (!res->status && res->response->code == RESP_QUERY_NOT_FOUND) {
        start_without_stored(q);
    } else if (offset_answered(q, res, &offset)) {
        if (offset < 0) { /* a client that committed -1 had nothing */
            start_without_stored(q);
            return;
        }
        q->committed = offset;
        start_at(q, offset);
    }
}

static int64_t *local_offset(const struct queue *q)
{
    struct buf key;
    buf_init(&key, 0);
    queue_key(&key, q->ts->sub.topic, q->broker, q->id);
    int64_t *at = map_get(q->k->local, buf_slice(&key));
    buf_free(&key);
    return at;
}

void offset_start(struct queue *q)
{
    if (q->k->o.model == HP_BROADCASTING) {
        const int64_t *stored = local_offset(q);
        if (stored)
            start_at(q, *stored);
        else
            start_without_stored(q);
        return;
    }
    const struct hdr_query_consumer_offset h = {.consumer_group = slice_str(q->k->group),
                                                .topic = slice_str(q->ts->sub.topic),
                                                .queue_id = q->id,
                                                .set_zero_if_not_found = true};
    ask(q, RC_QUERY_CONSUMER_OFFSET, &h, on_stored);
}

/* --- commits --- */

struct commit {
    struct hp_consumer *k;
    char *key; /* the queue may be gone when the answer comes */
    int64_t offset;
};

static void commit_free(struct commit *m)
{
    free(m->key);
    free(m);
}

static void on_committed(void *arg, const struct rpc_result *res)
{
    struct commit *m = arg;
    struct hp_consumer *k = m->k;
    struct queue *q = map_get(k->queues, slice_str(m->key));
    const bool ok = !res->status && res->response->code == RESP_SUCCESS;
    if (ok && q && m->offset > q->committed)
        q->committed = m->offset;
    if (!ok)
        CLIENT_LOG(k->c, HP_LOG_WARN, "offset %lld of %s not committed: %s", (long long)m->offset,
                   m->key, res->status ? res->error.text : "the broker refused it");
    commit_free(m);
    k->commits--;
    consumer_maybe_idle(k);
}

static void commit_remote(struct queue *q, int64_t offset)
{
    struct hp_consumer *k = q->k;
    const char *addr = home_of(q);
    struct commit *m = addr ? calloc(1, sizeof *m) : NULL;
    if (!m)
        return;
    struct buf key;
    buf_init(&key, 0);
    queue_key(&key, q->ts->sub.topic, q->broker, q->id);
    *m = (struct commit){.k = k, .key = buf_take(&key, NULL), .offset = offset};
    const struct hdr_update_consumer_offset h = {.consumer_group = slice_str(k->group),
                                                 .topic = slice_str(q->ts->sub.topic),
                                                 .queue_id = q->id,
                                                 .commit_offset = offset};
    const struct rpc_request r = {.address = slice_str(addr),
                                  .code = RC_UPDATE_CONSUMER_OFFSET,
                                  .hdr = &h,
                                  .timeout_ms = k->c->request_timeout_ms};
    struct err e = {0};
    if (!m->key || client_call(k->c, &k->calls, &r, on_committed, m, &e)) {
        commit_free(m);
        return;
    }
    k->commits++;
}

static void commit_local(struct queue *q, int64_t offset)
{
    int64_t *at = local_offset(q);
    struct buf key;
    buf_init(&key, 0);
    queue_key(&key, q->ts->sub.topic, q->broker, q->id);
    if (!at && (at = calloc(1, sizeof *at)) && map_put(q->k->local, buf_slice(&key), at, NULL)) {
        free(at);
        at = NULL;
    }
    buf_free(&key);
    if (at && *at != offset) {
        *at = offset;
        q->k->file_dirty = true;
    }
}

void offset_commit(struct queue *q)
{
    const int64_t offset = pq_commit_offset(&q->pq);
    if (offset < 0)
        return;
    if (q->k->o.model == HP_BROADCASTING)
        commit_local(q, offset);
    else if (offset != q->committed || !consumer_running(q->k))
        commit_remote(q, offset);
}

static void on_persist(struct timer *t)
{
    struct hp_consumer *k = LIST_ENTRY(t, struct hp_consumer, persist);
    struct map_iter it = {0};
    while (map_next(k->queues, &it))
        offset_commit(it.value);
    offsets_save(k);
    timer_start(&k->c->timers, t, k->o.offset_persist_ms, on_persist);
}

void offsets_start(struct hp_consumer *k)
{
    timer_start(&k->c->timers, &k->persist, k->o.offset_persist_ms, on_persist);
}

/* --- the file --- */

struct offset_file {
    struct background b;
    struct hp_consumer *k;
    struct buf text;
    struct err e;
    int rc;
};

static void write_file(struct background *b)
{
    struct offset_file *f = LIST_ENTRY(b, struct offset_file, b);
    f->rc = fs_write_atomic_bak(&fs_real, f->k->offset_file, buf_slice(&f->text), &f->e);
}

static void on_written(struct background *b)
{
    struct offset_file *f = LIST_ENTRY(b, struct offset_file, b);
    struct hp_consumer *k = f->k;
    k->file_writing = false;
    if (f->rc) {
        k->file_dirty = consumer_running(k); /* while stopping there is no second try */
        CLIENT_LOG(k->c, HP_LOG_ERROR, "offsets of group %s not written: %s", k->group, f->e.text);
    }
    buf_free(&f->text);
    free(f);
    if (!consumer_running(k))
        offsets_save(k);
    consumer_maybe_idle(k);
}

static int encode_file(const struct hp_consumer *k, struct buf *out)
{
    json_t *table = json_object();
    struct map_iter it = {0};
    while (map_next(k->local, &it))
        json_object_setn_new(table, it.key.p, it.key.n, json_integer(*(const int64_t *)it.value));
    json_t *root = json_pack("{s:o}", "offsetTable", table);
    const int rc = root ? json_write_indented(root, out) : E_NOMEM;
    json_decref(root);
    return rc;
}

void offsets_save(struct hp_consumer *k)
{
    if (!k->file_dirty || k->file_writing)
        return;
    struct offset_file *f = calloc(1, sizeof *f);
    if (!f)
        return;
    f->k = k;
    f->b.work = write_file;
    f->b.done = on_written;
    buf_init(&f->text, 0);
    if (encode_file(k, &f->text) || background_start(k->c, &f->b)) {
        buf_free(&f->text);
        free(f);
        return;
    }
    k->file_dirty = false;
    k->file_writing = true;
}

static int load_file(struct hp_consumer *k, struct hp_error *err)
{
    char *text;
    size_t n;
    struct err e = {0};
    int rc = fs_read_all(&fs_real, k->offset_file, FILE_MAX, &text, &n, &e);
    if (rc == E_NOTFOUND)
        return 0;
    json_t *root = NULL, *value;
    if (!rc) {
        rc = json_parse(slice_of(text, n), &root, &e);
        free(text);
    }
    if (rc)
        return error_set(
            err, HP_E_INVALID,
            "broadcast offsets %.80s cannot be read, remove or repair the file: %.120s",
            k->offset_file, e.text);
    const char *key;
    json_object_foreach(json_object_get(root, "offsetTable"), key, value)
    {
        int64_t *at = json_is_integer(value) ? malloc(sizeof *at) : NULL;
        if (!at)
            continue;
        *at = json_integer_value(value);
        if (map_put(k->local, slice_str(key), at, NULL))
            free(at);
    }
    json_decref(root);
    return 0;
}

int offsets_open(struct hp_consumer *k, struct hp_error *err)
{
    if (k->o.model != HP_BROADCASTING)
        return 0;
    const char *home = getenv("HOME");
    struct buf path;
    struct err e = {0};
    buf_init(&path, 4096);
    if (k->o.local_offset_dir)
        buf_printf(&path, "%s", k->o.local_offset_dir);
    else
        buf_printf(&path, "%s/.rocketmq_offsets", home && *home ? home : ".");
    buf_printf(&path, "/%s/%s", k->c->stable_id, k->group);
    char *dir = buf_take(&path, NULL);
    buf_printf(&path, "%s/offsets.json", dir ? dir : "");
    k->offset_file = buf_take(&path, NULL);
    k->local = map_new();
    int rc = dir && k->offset_file && k->local ? 0 : HP_E_NOMEM;
    if (rc)
        error_set(err, rc, "out of memory for offsets");
    else if (fs_mkdirs(&fs_real, dir, &e))
        rc = error_from(err, &e, E_INVAL, "directory for broadcast offsets");
    else
        rc = load_file(k, err);
    free(dir);
    return rc;
}

void offsets_close(struct hp_consumer *k)
{
    if (k->local)
        map_free(k->local, free);
    free(k->offset_file);
}
