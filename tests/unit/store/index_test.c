/* The key index: what a query finds after anything happened to the files. */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "store/store_priv.h"
#include "tests/support/seed.h"
#include "tests/support/store_fixture.h"

enum { VIEWS = 64 };

static void nothing_done(struct append *a)
{
    (void)a;
}

static size_t body_size = 1;

static int64_t put(struct store_fixture *f, const char *topic, const char *uniq, const char *keys, int32_t sys_flag)
{
    char *body = calloc(1, body_size);
    assert_non_null(body);
    struct buf props, record;
    buf_init(&props, 0);
    buf_init(&record, 0);
    if (uniq)
        assert_int_equal(props_str_add(&props, PROP_UNIQ_KEY, slice_str(uniq)), 0);
    if (keys)
        assert_int_equal(props_str_add(&props, PROP_KEYS, slice_str(keys)), 0);
    struct message m = {.body_crc = -1, .sys_flag = sys_flag,
                        .born_host = {.addr = {10, 0, 0, 1}, .len = 4, .port = 1},
                        .store_host = {.addr = {10, 0, 0, 2}, .len = 4, .port = 2},
                        .topic = slice_str(topic), .body = slice_of(body, body_size), .properties = buf_slice(&props)};
    size_t size;
    assert_int_equal(message_prepare(&m, &size), 0);
    message_encode(&m, buf_extend(&record, size), size);
    struct append a = {.records = record.p, .size = record.n, .record_n = 1, .topic = slice_str(topic),
                       .no_queue = sys_flag != 0, .done = nothing_done};
    store_append(&f->port, &a);
    store_port_submit(&f->port);
    while (store_step_flush(f->st)) {
    }
    store_port_drain(&f->port, 0);
    assert_int_equal(a.status, STORE_OK);
    free(body);
    buf_free(&record);
    buf_free(&props);
    return a.phys_offset;
}

static void put_numbered(struct store_fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        char uniq[32], keys[64];
        snprintf(uniq, sizeof uniq, "U%d", i);
        snprintf(keys, sizeof keys, "K%d all", i);
        put(f, "T", uniq, keys, 0);
        clock_fake_advance(&f->clock, 10);
    }
}

static void all_steps(struct store_fixture *f)
{
    while (store_step_index(f->st)) {
    }
}

struct asked {
    struct store_query q;
    struct store_view views[VIEWS];
    int done;
    int64_t phys[VIEWS];
};

static void note(struct store_query *q)
{
    LIST_ENTRY(q, struct asked, q)->done++;
}

/* Asks, steps, checks that the answer is in log order, and releases the records. */
static int32_t ask_range(struct store_fixture *f, const char *topic, const char *key, int32_t max, int64_t begin,
                         int64_t end, struct asked *a)
{
    *a = (struct asked){.q = {.topic = slice_str(topic), .key = slice_str(key), .begin_ms = begin, .end_ms = end,
                              .max = max, .bytes_max = INT64_MAX, .done = note}};
    a->q.views = a->views;
    struct err e = {0};
    assert_ok(store_query(f->st, &a->q, &e), &e);
    all_steps(f);
    assert_int_equal(a->done, 1);
    for (int32_t i = 0; i < a->q.n; i++) {
        a->phys[i] = (int64_t)be64_get(a->views[i].record.p + 28);
        assert_true(i == 0 || a->phys[i] > a->phys[i - 1]);
        store_view_release(&a->views[i]);
    }
    return a->q.n;
}

static int32_t ask(struct store_fixture *f, const char *key)
{
    struct asked a;
    return ask_range(f, "T", key, VIEWS, 0, INT64_MAX, &a);
}

static void assert_all_found(struct store_fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[32];
        snprintf(key, sizeof key, "U%d", i);
        if (ask(f, key) != 1)
            fail_msg("%s is found %d times", key, ask(f, key));
        snprintf(key, sizeof key, "K%d", i);
        if (ask(f, key) != 1)
            fail_msg("%s is found %d times", key, ask(f, key));
    }
}

static int each_name(void *arg, const char *name)
{
    char (*last)[64] = arg;
    if (strcmp(name, *last) > 0)
        snprintf(*last, sizeof *last, "%s", name);
    return 0;
}

static int count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}

static int file_count(struct store_fixture *f)
{
    int n = 0;
    (void)!fs_sim_fs(f->sim)->list(fs_sim_fs(f->sim), "/store/index", count_name, &n, NULL);
    return n;
}

static const char *newest_file(struct store_fixture *f)
{
    char last[64] = "";
    assert_int_equal(fs_sim_fs(f->sim)->list(fs_sim_fs(f->sim), "/store/index", each_name, &last, NULL), 0);
    return fixture_path("index/%s", last);
}

static void start(struct store_fixture *f)
{
    fixture_init(f, FLUSH_ASYNC);
    fixture_open(f);
}

/* ---- look-ups ---- */

static void messages_are_found_by_each_key_and_by_unique_key(void **state)
{
    (void)state;
    struct store_fixture f;
    struct asked a;
    start(&f);
    const int64_t first = put(&f, "T", "U1", "one  two", 0), second = put(&f, "T", "U2", "two", 0);
    put(&f, "Other", "U3", "two one", 0);
    put(&f, "T", NULL, NULL, 0);
    assert_int_equal(ask_range(&f, "T", "two", VIEWS, 0, INT64_MAX, &a), 2);
    assert_int_equal(a.phys[0], first);
    assert_int_equal(a.phys[1], second);
    assert_int_equal(ask(&f, "one"), 1);
    assert_int_equal(ask(&f, "U2"), 1);
    assert_int_equal(ask(&f, "U3"), 0);
    assert_int_equal(ask(&f, ""), 0);
    assert_int_equal(a.q.last_phys > second, 1);
    assert_int_equal(ask_range(&f, "T", "none", VIEWS, 0, INT64_MAX, &a), 0);
    assert_int_equal(a.q.last_phys, 0);
    fixture_fini(&f);
}

static void equal_hashes_find_nothing_foreign(void **state)
{
    (void)state;
    struct store_fixture f;
    struct asked a;
    assert_int_equal(index_hash(SLICE_LIT("T#AaAa")), index_hash(SLICE_LIT("T#BBBB")));
    start(&f);
    const char *const keys[] = {"AaAa", "AaBB", "BBAa", "BBBB"};
    int64_t at[4];
    for (int i = 0; i < 4; i++)
        at[i] = put(&f, "T", NULL, keys[i], 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask_range(&f, "T", keys[i], VIEWS, 0, INT64_MAX, &a), 1);
        assert_int_equal(a.phys[0], at[i]);
    }
    assert_int_equal(ask(&f, "AaC#"), 0);
    fixture_fini(&f);
}

static void an_answer_has_the_newest_messages_up_to_its_maximum(void **state)
{
    (void)state;
    struct store_fixture f;
    struct asked a;
    start(&f);
    int64_t at[20];
    for (int i = 0; i < 20; i++)
        at[i] = put(&f, "T", NULL, "k", 0);
    assert_int_equal(ask_range(&f, "T", "k", 5, 0, INT64_MAX, &a), 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(a.phys[i], at[15 + i]);
    assert_int_equal(ask(&f, "k"), 20);
    fixture_fini(&f);
}

static void both_ends_of_the_time_range_belong_to_it(void **state)
{
    (void)state;
    struct store_fixture f;
    struct asked a;
    start(&f);
    int64_t times[4];
    for (int i = 0; i < 4; i++) {
        times[i] = clock_wall(&f.clock.base);
        put(&f, "T", NULL, "k", 0);
        clock_fake_advance(&f.clock, 1700);
    }
    const struct { int64_t begin, end; int n; } cases[] = {
        {times[1], times[2], 2}, {times[1] + 1, times[2], 1}, {times[1], times[2] - 1, 1},
        {times[1] + 1, times[2] - 1, 0}, {times[3], INT64_MAX, 1}, {times[3] + 1, INT64_MAX, 0},
        {0, times[0] - 1, 0}, {INT64_MIN, times[0], 1}, {times[2], times[1], 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int n = ask_range(&f, "T", "k", VIEWS, cases[i].begin, cases[i].end, &a);
        if (n != cases[i].n)
            fail_msg("case %zu: %d found, expected %d", i, n, cases[i].n);
    }
    fixture_fini(&f);
}

/* A clock shows none of them; the messages are found nevertheless, as of the first or the last moment. */
static void messages_with_a_damaged_time_are_found(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN + 1, -1, INT64_MAX, INT64_MIN + 1};
    enum { N = sizeof times / sizeof *times };
    struct store_fixture f;
    struct asked a;
    int64_t at[N];
    start(&f);
    for (int i = 0; i < N; i++)
        at[i] = put(&f, "T", NULL, "k", 0);
    fixture_kill(&f);
    for (int i = 0; i < N; i++)
        fixture_set_store_time(&f, at[i], times[i]);
    fixture_open(&f);
    assert_int_equal(ask(&f, "k"), N);
    assert_int_equal(ask_range(&f, "T", "k", VIEWS, 0, clock_wall(&f.clock.base), &a), 3);
    fixture_fini(&f);
}

static void rollback_records_are_not_indexed_and_prepared_ones_are(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    put(&f, "T", "prepared", NULL, SYSFLAG_TX_PREPARED);
    put(&f, "T", "rolled", NULL, SYSFLAG_TX_ROLLBACK);
    assert_int_equal(ask(&f, "prepared"), 1);
    assert_int_equal(ask(&f, "rolled"), 0);
    fixture_fini(&f);
}

static void without_an_index_a_query_is_told_so(void **state)
{
    (void)state;
    struct store_fixture f;
    struct store_query q = {0};
    fixture_init(&f, FLUSH_ASYNC);
    f.o.index_enable = false;
    fixture_open(&f);
    put(&f, "T", "U0", "K0", 0);
    assert_int_equal(store_query(f.st, &q, NULL), E_NOTFOUND);
    fixture_close(&f);
    assert_int_equal(file_count(&f), 0);
    f.o.index_enable = true; /* made up for */
    fixture_open(&f);
    assert_int_equal(ask(&f, "U0"), 1);
    fixture_fini(&f);
}

/* ---- files ---- */

static void files_roll_and_every_key_stays_found(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    put_numbered(&f, 0, 200); /* 600 items, 159 a file */
    assert_all_found(&f, 0, 200);
    assert_int_equal(file_count(&f), 4);
    assert_int_equal(ask(&f, "all"), VIEWS);
    fixture_close(&f);
    fixture_open(&f);
    assert_all_found(&f, 0, 200);
    put_numbered(&f, 200, 220);
    assert_all_found(&f, 0, 220);
    fixture_fini(&f);
}

static void index_files_go_with_the_log_files_that_they_point_to(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    f.o.commitlog_file_size = 8192;
    f.o.max_message_size = 1024;
    f.o.file_reserved_ms = 0;
    f.o.delete_hours = (1u << 24) - 1;
    f.o.clean_batch = 1000;
    f.o.clean_log_pause_ms = 0;
    fixture_open(&f);
    put_numbered(&f, 0, 200);
    all_steps(&f);
    assert_int_equal(file_count(&f), 4);
    clock_fake_advance(&f.clock, f.o.clean_interval_ms + 1);
    fixture_steps(&f); /* only what is in the queues' files lets a log file go */
    while (store_step_clean(f.st)) {
    }
    struct store_stats s;
    store_stats_get(f.st, &s);
    assert_true(s.log_min > 0);
    put_numbered(&f, 200, 220);
    clock_fake_advance(&f.clock, 60000); /* the index saves, and looks for what expired */
    all_steps(&f);
    assert_in_range(file_count(&f), 2, 3); /* of five */
    assert_int_equal(ask(&f, "K0"), 0);
    assert_all_found(&f, 200, 220);
    fixture_close(&f);
    fixture_open(&f);
    assert_all_found(&f, 200, 220);
    fixture_fini(&f);
}

static void records_of_any_size_are_indexed(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 1 << 20;
    fixture_open(&f);
    static const size_t sizes[] = {1, 260000, 262144, 700000, 400000, 1, 900000, 3};
    for (int i = 0; i < 8; i++) { /* more than a read, more than the rest of a file */
        body_size = sizes[i];
        put_numbered(&f, i, i + 1);
    }
    body_size = 1;
    assert_all_found(&f, 0, 8);
    fixture_fini(&f);
}

static void a_file_has_upstreams_bytes(void **state)
{
    (void)state;
    struct store_fixture f;
    char *p;
    size_t n;
    start(&f);
    const int64_t ts = clock_wall(&f.clock.base);
    put(&f, "T", NULL, "Aa", 0);
    clock_fake_advance(&f.clock, 2500);
    const int64_t second = put(&f, "T", NULL, "BB", 0);
    fixture_close(&f);
    const char *const path = newest_file(&f);
    assert_int_equal(strlen(strrchr(path, '/') + 1), 17);
    fixture_read_file(&f, path, &p, &n);
    assert_int_equal(n, 40 + 40 * 4 + 160 * 20);
    assert_int_equal(be64_get(p), ts);
    assert_int_equal(be64_get(p + 8), ts + 2500);
    assert_int_equal(be64_get(p + 16), 0);
    assert_int_equal(be64_get(p + 24), second);
    assert_int_equal(be32_get(p + 32), 1);
    assert_int_equal(be32_get(p + 36), 3);
    const int32_t hash = index_hash(SLICE_LIT("T#Aa"));
    assert_int_equal(be32_get(p + 40 + (hash % 40) * 4), 2);
    const char *const item = p + 40 + 160 + 2 * 20;
    assert_int_equal(be32_get(item), hash);
    assert_int_equal(be64_get(item + 4), second);
    assert_int_equal(be32_get(item + 12), 2);
    assert_int_equal(be32_get(item + 16), 1);
    free(p);
    fixture_fini(&f);
}

static void an_index_that_was_deleted_is_built_anew(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    put_numbered(&f, 0, 100);
    all_steps(&f);
    fixture_close(&f);
    struct fs *fs = fs_sim_fs(f.sim);
    assert_int_equal(fs_remove_tree(fs, "/store/index", NULL), 0);
    fixture_open(&f);
    assert_all_found(&f, 0, 100);
    fixture_close(&f);
    assert_int_equal(fs->unlink(fs, "/store/indexCheckpoint", NULL), 0); /* a store of RocketMQ has none */
    fixture_open(&f);
    assert_all_found(&f, 0, 100);
    fixture_close(&f);
    f.o.index_slots = 50; /* the files' size is wrong now */
    fixture_open(&f);
    assert_all_found(&f, 0, 100);
    fixture_fini(&f);
}

static void damaged_files_are_built_anew(void **state)
{
    (void)state;
    static const struct { size_t at, n; int byte; const char *what; } cases[] = {
        {36, 4, 0x7f, "item count"}, {24, 8, 0xff, "last offset"}, {40, 160, 0xff, "slots"},
        {200, 3200, 0xff, "items"}, {0, 0, 0, "cut short"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_fixture f;
        char *p;
        size_t n;
        start(&f);
        put_numbered(&f, 0, 90);
        all_steps(&f);
        fixture_close(&f);
        const char *const path = newest_file(&f);
        fixture_read_file(&f, path, &p, &n);
        memset(p + cases[i].at, cases[i].byte, cases[i].n);
        fixture_write_file(&f, path, p, cases[i].n ? n : n / 2);
        free(p);
        fixture_open(&f);
        assert_all_found(&f, 0, 90);
        fixture_fini(&f);
    }
}

/* The last file is found damaged only after the ones in front were taken for good: the position must not come
 * from the header of one that holds nothing, or that names another last record than its items. */
static void assert_header_in_front_is_not_believed(bool empty)
{
    struct store_fixture f;
    struct err e;
    char *p, paths[3][64];
    size_t n;
    start(&f);
    int count = 0;
    for (; f.st->index.file_n < 3; count++) {
        put_numbered(&f, count, count + 1);
        all_steps(&f);
    }
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "/store/index/%017lld", (long long)f.st->index.files[i]->name);
    fixture_close(&f);
    fixture_read_file(&f, paths[0], &p, &n);
    be64_put(p + 24, INT64_MAX); /* its last offset */
    if (empty)
        be32_put(p + 36, 0); /* its items */
    fixture_write_file(&f, paths[0], p, n);
    free(p);
    fixture_read_file(&f, paths[1], &p, &n);
    memset(p + 40 + 4 * f.o.index_slots + 20, 0xff, 20); /* its first item */
    fixture_write_file(&f, paths[1], p, n);
    free(p);
    assert_ok(f.o.fs->unlink(f.o.fs, paths[2], &e), &e);
    assert_ok(f.o.fs->unlink(f.o.fs, "/store/indexCheckpoint", &e), &e);
    fixture_open(&f);
    assert_all_found(&f, 0, count);
    fixture_fini(&f);
}

static void a_wrong_header_in_front_of_a_damaged_file_is_not_believed(void **state)
{
    (void)state;
    assert_header_in_front_is_not_believed(true);
    assert_header_in_front_is_not_believed(false);
}

/* Such as an old copy that was put back: what it does not hold yet would never be found again. */
static void a_file_that_is_not_full_in_front_of_a_younger_one_is_not_believed(void **state)
{
    (void)state;
    struct store_fixture f;
    char *p, path[64];
    size_t n;
    start(&f);
    put_numbered(&f, 0, 30);
    all_steps(&f);
    snprintf(path, sizeof path, "%s", newest_file(&f));
    fixture_close(&f);
    fixture_read_file(&f, path, &p, &n);
    fixture_open(&f);
    put_numbered(&f, 30, 90);
    all_steps(&f);
    assert_int_equal(f.st->index.file_n, 2);
    fixture_close(&f);
    fixture_write_file(&f, path, p, n);
    free(p);
    fixture_open(&f);
    assert_all_found(&f, 0, 90);
    fixture_fini(&f);
}

/* Items behind the end of the log are those of records that a power cut took. When none was taken, one that
 * points there is damaged, and the state must not go on speaking for those behind it. */
static void an_item_that_points_behind_the_log_is_damage_when_nothing_was_lost(void **state)
{
    (void)state;
    static const int items[] = {1, 2, 5};
    for (size_t i = 0; i <= sizeof items / sizeof *items; i++) {
        struct store_fixture f;
        char *p;
        size_t n;
        start(&f);
        put_numbered(&f, 0, 20);
        all_steps(&f);
        put_numbered(&f, 20, 21);
        clock_fake_advance(&f.clock, 10000); /* the index is saved at its next step */
        all_steps(&f);
        fixture_kill(&f);
        const char *const path = newest_file(&f);
        fixture_read_file(&f, path, &p, &n);
        if (i)
            p[40 + 4 * f.o.index_slots + 20 * items[i - 1] + 4] = 0x7f; /* of its offset */
        else
            p[16] = 0x7f; /* the header's first offset */
        fixture_write_file(&f, path, p, n);
        free(p);
        fixture_open(&f);
        assert_all_found(&f, 0, 21);
        fixture_fini(&f);
    }
}

/* It would hide every key of the records that it claims. */
static void a_state_that_counts_impossible_items_is_not_believed(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 161, 1u << 30, 1u << 31};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct store_fixture f;
        char *p;
        size_t n;
        start(&f);
        put_numbered(&f, 0, 90);
        all_steps(&f);
        fixture_close(&f);
        fixture_read_file(&f, "/store/indexCheckpoint", &p, &n);
        be32_put(p + 24, counts[i]);
        be32_put(p + 32, crc32_update(0, p, 32));
        fixture_write_file(&f, "/store/indexCheckpoint", p, n);
        free(p);
        fixture_open(&f);
        assert_all_found(&f, 0, 90);
        fixture_fini(&f);
    }
}

/* A store of RocketMQ has no state, and the header of its last file is all that tells; this broker goes on counting
 * from there. */
static void slots_that_the_header_counts_wrongly_are_counted_anew(void **state)
{
    (void)state;
    static const int32_t counts[] = {0, 1, 30};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct store_fixture f;
        char *p;
        size_t n;
        int32_t used = 0;
        start(&f);
        put_numbered(&f, 0, 2);
        all_steps(&f);
        fixture_close(&f);
        const char *const path = newest_file(&f);
        fixture_read_file(&f, path, &p, &n);
        be32_put(p + 32, (uint32_t)counts[i]);
        fixture_write_file(&f, path, p, n);
        free(p);
        assert_int_equal(f.o.fs->unlink(f.o.fs, "/store/indexCheckpoint", NULL), 0);
        fixture_open(&f);
        put_numbered(&f, 2, 20);
        assert_all_found(&f, 0, 20);
        fixture_close(&f);
        fixture_read_file(&f, path, &p, &n);
        for (int32_t slot = 0; slot < f.o.index_slots; slot++)
            used += be32_get(p + 40 + 4 * slot) != 0;
        assert_int_equal(be32_get(p + 32), used);
        free(p);
        fixture_fini(&f);
    }
}

/* A full file gets its slots and its place in the checkpoint when the next one begins. Until then the checkpoint's
 * time can cover it all the same: the file before it ended in the same millisecond. */
static void the_last_full_file_may_lack_its_slots_after_a_crash(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    int count = 0;
    while (f.st->index.file_n < 2 || !index_file_full(f.st->index.files[1])) {
        char uniq[32];
        snprintf(uniq, sizeof uniq, "U%d", count++);
        put(&f, "T", uniq, NULL, 0);
        all_steps(&f);
    }
    clock_fake_advance(&f.clock, 10000); /* the index is saved at its next step */
    all_steps(&f);
    clock_fake_advance(&f.clock, f.o.cq_flush_thorough_ms);
    while (store_step_cq_flush(f.st)) {
    }
    assert_int_equal(f.st->checkpoint.index_ts, f.st->index.files[1]->h.end_ts);
    fixture_kill(&f);
    fixture_write_file(&f, "/store/indexCheckpoint", "damaged", 7);
    fixture_open(&f);
    for (int i = 0; i < count; i++) {
        char uniq[32];
        snprintf(uniq, sizeof uniq, "U%d", i);
        if (ask(&f, uniq) != 1)
            fail_msg("%s is found %d times", uniq, ask(&f, uniq));
    }
    fixture_fini(&f);
}

static void a_damaged_full_file_is_built_anew_when_a_query_meets_it(void **state)
{
    (void)state;
    struct store_fixture f;
    char *p;
    size_t n;
    start(&f);
    put_numbered(&f, 0, 120);
    all_steps(&f);
    const char *const path = fixture_path("index/%017lld", (long long)f.st->index.files[0]->name);
    fixture_read_file(&f, path, &p, &n);
    memset(p + 200, 0xff, 3200);
    fixture_write_file(&f, path, p, n);
    free(p);
    assert_all_found(&f, 0, 120);
    fixture_fini(&f);
}

/* ---- crashes and failures ---- */

static void after_a_crash_every_key_is_found_once(void **state)
{
    (void)state;
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_LOSE_ALL, FS_SIM_TORN_PAGES, FS_SIM_TORN_SECTORS,
                                                   FS_SIM_KEEP_ALL};
    struct rng rng;
    rng = test_rng(__func__);
    for (int round = 0; round < 40; round++) {
        struct store_fixture f;
        fixture_init(&f, FLUSH_SYNC);
        fixture_open(&f);
        int n = 0;
        for (int life = 0; life < 4; life++) {
            const int to = n + 1 + (int)rng_below(&rng, 90);
            for (; n < to; n++) {
                put_numbered(&f, n, n + 1);
                if (!rng_below(&rng, 4))
                    store_step_index(f.st);
                if (!rng_below(&rng, 12))
                    clock_fake_advance(&f.clock, 10000); /* the index is saved at its next step */
            }
            fixture_reopen(&f, &rng, modes[rng_below(&rng, 4)]);
            assert_all_found(&f, 0, n);
        }
        fixture_fini(&f);
    }
}

static void a_crash_at_any_change_of_an_index_file_costs_no_key(void **state)
{
    (void)state;
    struct rng rng;
    rng = test_rng(__func__);
    bool fired = true;
    for (uint64_t nth = 1; fired; nth++) {
        struct store_fixture f;
        fixture_init(&f, FLUSH_SYNC);
        fixture_open(&f);
        fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES | FS_OP_OPEN, .path_has = "index",
                                                      .nth = nth, .for_ever = true, .error = E_NOSPC,
                                                      .short_bytes = 13});
        for (int i = 0; i < 120; i++) {
            put_numbered(&f, i, i + 1);
            if (i % 40 == 39)
                clock_fake_advance(&f.clock, 10000);
            store_step_index(f.st);
        }
        fired = fs_fault_fired(&f.fault) > 0;
        fixture_reopen(&f, &rng, FS_SIM_TORN_SECTORS);
        assert_all_found(&f, 0, 120);
        fixture_fini(&f);
        assert_true(nth < 500);
    }
}

static void a_full_disk_makes_the_index_late_and_stops_nothing(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    put_numbered(&f, 0, 10);
    all_steps(&f);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES | FS_OP_OPEN, .path_has = "/index/",
                                                  .for_ever = true, .error = E_NOSPC});
    put_numbered(&f, 10, 100); /* needs a second file */
    all_steps(&f);
    assert_int_equal(ask(&f, "U5"), 1);
    assert_int_equal(ask(&f, "U99"), 0);
    fs_fault_disarm(&f.fault);
    clock_fake_advance(&f.clock, 10000);
    assert_all_found(&f, 0, 100);
    struct store_stats s;
    store_stats_get(f.st, &s);
    assert_false(s.failed);
    fixture_fini(&f);
}

static void after_a_failed_sync_nothing_more_is_claimed(void **state)
{
    (void)state;
    struct store_fixture f;
    start(&f);
    put_numbered(&f, 0, 10);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "/index/", .error = E_IO});
    all_steps(&f);
    clock_fake_advance(&f.clock, 10000);
    all_steps(&f);
    assert_true(f.st->index.stopped);
    put_numbered(&f, 10, 20);
    fixture_close(&f);
    fixture_open(&f);
    assert_all_found(&f, 0, 20);
    fixture_fini(&f);
}

static void keys_of_records_that_a_power_cut_took_are_forgotten(void **state)
{
    (void)state;
    struct store_fixture f;
    struct rng rng;
    rng = test_rng(__func__);
    fixture_init(&f, FLUSH_ASYNC);
    f.o.flush_least_pages = 1000;
    f.o.flush_thorough_ms = INT64_C(1) << 40;
    fixture_open(&f);
    put_numbered(&f, 0, 100);
    clock_fake_advance(&f.clock, 10000);
    all_steps(&f); /* the index is on disk, the log is not */
    fixture_reopen(&f, &rng, FS_SIM_LOSE_ALL);
    assert_int_equal(ask(&f, "U7"), 0);
    put_numbered(&f, 200, 260);
    assert_all_found(&f, 200, 260);
    assert_int_equal(ask(&f, "U7"), 0);
    fixture_fini(&f);
}

/* The power goes twice: what it took is replaced by records that the first index never saw. */
static void records_in_the_place_of_lost_ones_are_found(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.flush_least_pages = 1000;
    f.o.flush_thorough_ms = INT64_C(1) << 40;
    fixture_open(&f);
    put_numbered(&f, 0, 100);
    clock_fake_advance(&f.clock, 10000);
    all_steps(&f); /* the index is on disk, the log is not */
    fixture_reopen(&f, NULL, FS_SIM_LOSE_ALL);
    body_size = 17; /* not a record begins where one began before */
    put_numbered(&f, 200, 320);
    body_size = 1;
    fixture_reopen(&f, NULL, FS_SIM_KEEP_ALL);
    assert_all_found(&f, 200, 320);
    assert_int_equal(ask(&f, "U7"), 0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_found_by_each_key_and_by_unique_key),
        cmocka_unit_test(equal_hashes_find_nothing_foreign),
        cmocka_unit_test(an_answer_has_the_newest_messages_up_to_its_maximum),
        cmocka_unit_test(both_ends_of_the_time_range_belong_to_it),
        cmocka_unit_test(messages_with_a_damaged_time_are_found),
        cmocka_unit_test(rollback_records_are_not_indexed_and_prepared_ones_are),
        cmocka_unit_test(without_an_index_a_query_is_told_so),
        cmocka_unit_test(files_roll_and_every_key_stays_found),
        cmocka_unit_test(index_files_go_with_the_log_files_that_they_point_to),
        cmocka_unit_test(records_of_any_size_are_indexed),
        cmocka_unit_test(a_file_has_upstreams_bytes),
        cmocka_unit_test(an_index_that_was_deleted_is_built_anew),
        cmocka_unit_test(damaged_files_are_built_anew),
        cmocka_unit_test(an_item_that_points_behind_the_log_is_damage_when_nothing_was_lost),
        cmocka_unit_test(a_wrong_header_in_front_of_a_damaged_file_is_not_believed),
        cmocka_unit_test(a_file_that_is_not_full_in_front_of_a_younger_one_is_not_believed),
        cmocka_unit_test(a_state_that_counts_impossible_items_is_not_believed),
        cmocka_unit_test(slots_that_the_header_counts_wrongly_are_counted_anew),
        cmocka_unit_test(the_last_full_file_may_lack_its_slots_after_a_crash),
        cmocka_unit_test(a_damaged_full_file_is_built_anew_when_a_query_meets_it),
        cmocka_unit_test(after_a_crash_every_key_is_found_once),
        cmocka_unit_test(a_crash_at_any_change_of_an_index_file_costs_no_key),
        cmocka_unit_test(a_full_disk_makes_the_index_late_and_stops_nothing),
        cmocka_unit_test(after_a_failed_sync_nothing_more_is_claimed),
        cmocka_unit_test(keys_of_records_that_a_power_cut_took_are_forgotten),
        cmocka_unit_test(records_in_the_place_of_lost_ones_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
