/* The sample of store_sample.h.
 *
 * Owns: copies of the records as they stand in the log. Runs on: the test's thread. */
#include "tests/support/store_sample.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/names.h"

static void nothing(struct append *a)
{
    (void)a;
}

struct shape { /* of record i */
    const char *topic, *tag;
    int32_t queue, delay_level, sys_flag;
    bool checksum, keyed;
    size_t body;
};

static struct shape shape_of(int i)
{
    struct shape s = {.topic = i % 3 ? "A" : "B", .queue = i % 3 == 1, .checksum = true, .keyed = i % 4 != 3,
                      .tag = i % 5 ? "tag" : NULL, .body = (size_t)(i * 37 % 700)};
    if (i % 17 == 5)
        s = (struct shape){.topic = TOPIC_SCHEDULE, .queue = 1, .delay_level = 2, .checksum = true, .keyed = true,
                           .body = 20};
    else if (i % 41 == 7)
        s.sys_flag = SYSFLAG_TX_ROLLBACK;
    s.checksum = i % 50 != 10;
    return s;
}

static void encode(int i, const struct shape *s, struct buf *out)
{
    struct buf props;
    char uniq[32], keys[64], *const body = malloc(s->body + 1);
    assert_non_null(body);
    memset(body, 'a' + i % 26, s->body);
    snprintf(uniq, sizeof uniq, "U%06d", i);
    snprintf(keys, sizeof keys, "K%d all", i);
    buf_init(&props, 0);
    if (s->keyed) {
        assert_int_equal(props_str_add(&props, PROP_UNIQ_KEY, slice_str(uniq)), 0);
        assert_int_equal(props_str_add(&props, PROP_KEYS, slice_str(keys)), 0);
    }
    if (s->tag)
        assert_int_equal(props_str_add(&props, PROP_TAGS, slice_str(s->tag)), 0);
    if (s->delay_level)
        assert_int_equal(props_str_add(&props, PROP_DELAY, SLICE_LIT("2")), 0);
    struct message m = {.body_crc = -1, .queue_id = s->queue, .sys_flag = s->sys_flag, .born_timestamp = 1700000000000,
                        .born_host = {.addr = {10, 0, 0, 1}, .len = 4, .port = 1},
                        .store_host = {.addr = {10, 0, 0, 2}, .len = 4, .port = 2}, .topic = slice_str(s->topic),
                        .body = slice_of(body, s->body), .properties = buf_slice(&props), .prop_crc = s->checksum};
    size_t size;
    assert_int_equal(message_prepare(&m, &size), 0);
    message_encode(&m, buf_extend(out, size), size);
    buf_free(&props);
    free(body);
}

static void put(struct store_fixture *f, int i, struct sample_record *r)
{
    const struct shape s = shape_of(i);
    struct buf bytes;
    buf_init(&bytes, 0);
    encode(i, &s, &bytes);
    struct append a = {.records = bytes.p, .size = bytes.n, .record_n = 1, .topic = slice_str(s.topic),
                       .queue_id = s.queue, .tags_code = s.tag ? java_string_hash(slice_str(s.tag)) : 0,
                       .delay_level = s.delay_level, .no_queue = s.sys_flag != 0, .done = nothing};
    store_append(&f->port, &a);
    store_port_submit(&f->port);
    while (store_step_flush(f->st)) {
    }
    store_port_drain(&f->port, 0);
    assert_int_equal(a.status, STORE_OK);
    size_t n;
    r->size = (int32_t)bytes.n;
    r->bytes = buf_take(&bytes, &n);
    r->queue_id = s.queue;
    r->phys = a.phys_offset;
    r->queue_offset = a.queue_offset;
    r->in_queue = !s.sys_flag;
    r->topic = s.topic;
    clock_fake_advance(&f->clock, 700);
}

static void write_table(struct store_fixture *f, const char *name, const char *text)
{
    fixture_write_file(f, fixture_path("config/%s", name), text, strlen(text));
}

static void write_tables(struct store_fixture *f)
{
    struct err e = {0};
    assert_ok(fs_mkdirs(fs_sim_fs(f->sim), "/store/config", &e), &e);
    write_table(f, "topics.json", "{\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1},"
                "\"topicConfigTable\":{\"A\":{\"topicName\":\"A\"},\"B\":{\"topicName\":\"B\"}}}");
    write_table(f, "subscriptionGroup.json", "{\"subscriptionGroupTable\":{}}");
    write_table(f, "consumerOffset.json", "{\"offsetTable\":{\"A@G\":{0:3,1:2},\"B@G\":{\"0\":1}}}");
    write_table(f, "delayOffset.json", "{\"offsetTable\":{2:1}}");
    assert_ok(fs_sim_fs(f->sim)->dirsync(fs_sim_fs(f->sim), "/store/config", &e), &e);
}

void sample_index_all(struct store_fixture *f)
{
    while (store_step_index(f->st)) {
    }
}

void sample_fill(struct store_fixture *f, struct sample *s)
{
    *s = (struct sample){0};
    fixture_open(f);
    for (int i = 0; i < SAMPLE_RECORDS; i++)
        put(f, i, &s->records[i]);
    fixture_steps(f);
    sample_index_all(f);
    write_tables(f);
}

void sample_free(struct sample *s)
{
    for (int i = 0; i < SAMPLE_RECORDS; i++)
        free(s->records[i].bytes);
}

int sample_at(const struct sample *s, int64_t phys)
{
    for (int i = 0; i < SAMPLE_RECORDS; i++)
        if (phys >= s->records[i].phys && phys < s->records[i].phys + s->records[i].size)
            return i;
    return -1;
}

static bool same_bytes(const struct sample_record *r, const void *p, size_t n)
{
    return n == (size_t)r->size && !memcmp(p, r->bytes, n);
}

bool sample_readable(struct store_fixture *f, const struct sample *s, int i)
{
    const struct sample_record *const r = &s->records[i];
    if (!r->in_queue) {
        struct store_view v;
        if (store_view(f->st, r->phys, 0, &v, NULL))
            return false;
        const bool same = same_bytes(r, v.record.p, v.record.n);
        store_view_release(&v);
        return same;
    }
    struct store_got g;
    const struct store_get q = {.topic = slice_str(r->topic), .queue_id = r->queue_id, .offset = r->queue_offset,
                                .max_msgs = 1};
    assert_int_equal(store_get(f->st, &q, &g), 0);
    const bool same = g.status == GET_FOUND && g.msg_n == 1 && same_bytes(r, g.iov[0].iov_base, g.iov[0].iov_len);
    store_got_release(&g);
    return same;
}

/* ---- damage ---- */

static struct fs_file *open_file(struct store_fixture *f, const char *path)
{
    struct fs *const fs = fs_sim_fs(f->sim);
    struct fs_file *file;
    struct err e = {0};
    assert_ok(fs->open(fs, fixture_path("%s", path), FS_WRITE, &file, &e), &e);
    return file;
}

void sample_put(struct store_fixture *f, const char *path, int64_t at, const void *p, size_t n)
{
    struct fs *const fs = fs_sim_fs(f->sim);
    struct fs_file *const file = open_file(f, path);
    struct err e = {0};
    assert_ok(fs_write(file, fs, p, n, at, &e), &e);
    assert_ok(fs->sync(file, &e), &e);
    fs->close(file);
}

void sample_flip(struct store_fixture *f, const char *path, int64_t at, unsigned char mask)
{
    struct fs *const fs = fs_sim_fs(f->sim);
    struct fs_file *const file = open_file(f, path);
    unsigned char c;
    struct err e = {0};
    assert_int_equal(fs->pread(file, &c, 1, at, &e), 1);
    c ^= mask;
    assert_ok(fs_write(file, fs, &c, 1, at, &e), &e);
    assert_ok(fs->sync(file, &e), &e);
    fs->close(file);
}

void sample_resize(struct store_fixture *f, const char *path, int64_t size)
{
    struct fs *const fs = fs_sim_fs(f->sim);
    struct fs_file *const file = open_file(f, path);
    struct err e = {0};
    assert_ok(fs->truncate(file, size, &e), &e);
    assert_ok(fs->sync(file, &e), &e);
    fs->close(file);
}

void sample_remove(struct store_fixture *f, const char *path)
{
    struct err e = {0};
    assert_ok(fs_remove_tree(fs_sim_fs(f->sim), fixture_path("%s", path), &e), &e);
}

struct newest {
    char names[32][32];
    int n;
};

static int add_name(void *arg, const char *name)
{
    struct newest *const l = arg;
    assert_true(l->n < 32);
    snprintf(l->names[l->n++], sizeof *l->names, "%s", name);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

const char *sample_index_file(struct store_fixture *f, int i)
{
    static char path[64];
    struct newest l = {.n = 0};
    struct err e = {0};
    assert_ok(fs_sim_fs(f->sim)->list(fs_sim_fs(f->sim), "/store/index", add_name, &l, &e), &e);
    qsort(l.names, (size_t)l.n, sizeof *l.names, compare);
    assert_in_range(i, 0, l.n - 1);
    snprintf(path, sizeof path, "index/%s", l.names[i]);
    return path;
}
