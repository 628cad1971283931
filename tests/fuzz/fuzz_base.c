/* The base of fuzz_base.h: written once by the store itself, then restored from an image.
 *
 * Runs on: the target's thread. */
#include "tests/fuzz/fuzz_base.h"

#include <stdio.h>

#include "base/crc.h"

enum { STEPS_MAX = 1000, ANSWERS_MAX = 64, BODY_LARGE_BASE = 250, BODY_SMALL_BASE = 800 };

static const char *const topics[] = {"A", "A", "B"};
static const int32_t queue_ids[] = {0, 1, 0};

static struct fuzz_image *image;
static struct fuzz_model model;
static struct {
    int64_t phys;
    int key;
    const char *topic;
} records[FUZZ_BASE_RECORDS_MAX];
static int record_n;

static void key_name(int key, char out[8])
{
    snprintf(out, 8, "k%d", key);
}

static void base_opts(struct store_opts *o)
{
    fuzz_store_opts(o);
    o->index_enable = true;
}

static void on_done(struct append *a)
{
    MQ_ASSERT(a->status == STORE_OK);
}

static void append(struct store_port *port, int i, size_t body_n)
{
    static const char body[BODY_SMALL_BASE];
    char key[8];
    struct buf record;
    const int q = i % 3;
    records[i].key = i * 7 % FUZZ_BASE_KEYS;
    records[i].topic = topics[q];
    key_name(records[i].key, key);
    buf_init(&record, 0);
    fuzz_record_put(&record, &(struct fuzz_record){.topic = topics[q], .keys = key, .queue_id = queue_ids[q],
                                                   .body = slice_of(body, body_n), .prop_crc = true});
    struct append a = {.records = record.p, .size = record.n, .record_n = 1, .topic = slice_str(topics[q]),
                       .queue_id = queue_ids[q], .done = on_done};
    store_append(port, &a);
    store_port_submit(port);
    store_port_drain(port, 0);
    records[i].phys = a.phys_offset;
    buf_free(&record);
}

void fuzz_base_init(enum fuzz_base which)
{
    const bool large = which == FUZZ_BASE_LARGE;
    struct store_opts o;
    struct store_recovery found;
    struct store_port port;
    struct err e;
    base_opts(&o);
    fuzz_disk_reset();
    struct store *st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st && !store_port_open(&port, st, NULL, &e));
    record_n = large ? FUZZ_BASE_RECORDS_MAX : FUZZ_BASE_RECORDS_MAX / 3;
    for (int i = 0; i < record_n; i++)
        append(&port, i, large ? BODY_LARGE_BASE : BODY_SMALL_BASE);
    store_port_close(&port);
    fuzz_base_index(st);
    fuzz_base_query(st, true);
    fuzz_store_close(st);
    image = fuzz_disk_save();
    fuzz_model_from_log(&model, &o);
    MQ_ASSERT(model.records == record_n && model.n == 3 && model.log_end > 2 * FUZZ_LOG_FILE);
}

void fuzz_base_restore(struct store_opts *o)
{
    base_opts(o);
    fuzz_disk_restore(image);
}

const struct fuzz_model *fuzz_base_model(void)
{
    return &model;
}

struct slice fuzz_base_file(const char *path)
{
    struct slice content;
    fuzz_disk_restore(image);
    return fuzz_disk_get(path, &content) ? content : SLICE_NULL;
}

void fuzz_base_index(struct store *st)
{
    int steps = 0;
    while (store_step_index(st))
        MQ_ASSERT(steps++ < STEPS_MAX);
}

/* ---- queries ---- */

static bool answered;

static void on_answer(struct store_query *q)
{
    (void)q;
    MQ_ASSERT(!answered);
    answered = true;
}

static int record_of(const char *record)
{
    for (int i = 0; i < record_n; i++)
        if (records[i].phys == (int64_t)be64_get(record + 28))
            return i;
    return -1;
}

static uint64_t check_answer(const struct store_query *q, int key, bool complete)
{
    bool named[FUZZ_BASE_RECORDS_MAX] = {false};
    uint64_t h = (uint64_t)key;
    int last = -1;
    for (int32_t n = 0; n < q->n; n++) {
        const int i = record_of(q->views[n].record.p);
        MQ_ASSERT(i >= 0 && !named[i] && records[i].key == key && slice_eq_str(q->topic, records[i].topic));
        MQ_ASSERT(i > last || !complete);
        named[i] = true;
        last = i;
    }
    for (int i = 0; i < record_n; i++) {
        const bool wanted = records[i].key == key && slice_eq_str(q->topic, records[i].topic);
        MQ_ASSERT(named[i] || !wanted || !complete);
        h = h * 31 + named[i];
    }
    return h;
}

static uint64_t ask(struct store *st, const char *topic, int key, bool complete)
{
    struct store_view views[ANSWERS_MAX];
    char name[8];
    struct err e;
    key_name(key, name);
    struct store_query q = {.topic = slice_str(topic), .key = slice_str(name), .end_ms = INT64_MAX,
                            .views = views, .max = ANSWERS_MAX, .bytes_max = INT64_MAX, .done = on_answer};
    answered = false;
    MQ_ASSERT(!store_query(st, &q, &e));
    fuzz_base_index(st);
    if (!answered) /* it found damage and wants to wait: time does not pass here, so the answer comes now */
        fuzz_store_tick(2000);
    fuzz_base_index(st);
    MQ_ASSERT(answered);
    const uint64_t h = check_answer(&q, key, complete);
    for (int32_t i = 0; i < q.n; i++)
        store_view_release(&views[i]);
    return h;
}

uint64_t fuzz_base_query(struct store *st, bool complete)
{
    uint64_t h = 0;
    for (int key = 0; key < FUZZ_BASE_KEYS; key++)
        h = h * 1000003 + ask(st, "A", key, complete) * 31 + ask(st, "B", key, complete);
    return h;
}
