/* Reads: statuses, caps, filters, cold units, damaged units, views, time. */
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void get(struct store_fixture *f, const char *topic, int32_t id, int64_t offset, int32_t max,
                struct store_got *g)
{
    memset(g, 0xAB, sizeof *g); /* nothing may depend on what was there */
    assert_int_equal(store_get(f->st, &(struct store_get){.topic = slice_str(topic), .queue_id = id,
                                                          .offset = offset, .max_msgs = max}, g), 0);
}

struct expected {
    int64_t offset;
    enum get_status status;
    int64_t next;
    int msgs;
};

static void each_offset_gets_the_status_that_clients_know(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    const struct expected cases[] = {
        {-1, GET_OFFSET_TOO_SMALL, 0, 0}, {0, GET_FOUND, 10, 10}, {9, GET_FOUND, 10, 1},
        {10, GET_OFFSET_OVERFLOW_ONE, 10, 0}, {11, GET_OFFSET_OVERFLOW_BADLY, 10, 0},
        {INT64_MAX, GET_OFFSET_OVERFLOW_BADLY, 10, 0}, {INT64_MIN, GET_OFFSET_TOO_SMALL, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_got g;
        get(&f, "T", 0, cases[i].offset, 32, &g);
        if (g.status != cases[i].status || g.next_begin_offset != cases[i].next || g.msg_n != cases[i].msgs)
            fail_msg("offset %lld: %s next %lld msgs %d, expected %s next %lld msgs %d",
                     (long long)cases[i].offset, get_status_name(g.status), (long long)g.next_begin_offset,
                     g.msg_n, get_status_name(cases[i].status), (long long)cases[i].next, cases[i].msgs);
        assert_int_equal(g.min_offset, 0);
        assert_int_equal(g.max_offset, 10);
        store_got_release(&g);
    }
    struct store_got g;
    get(&f, "T", 1, 5, 32, &g);
    assert_int_equal(g.status, GET_NO_MATCHED_LOGIC_QUEUE);
    assert_int_equal(g.next_begin_offset, 0);
    store_got_release(&g);
    get(&f, "Nothing", 0, 0, 32, &g);
    assert_int_equal(g.status, GET_NO_MATCHED_LOGIC_QUEUE);
    store_got_release(&g);
    assert_string_equal(get_status_name(GET_OFFSET_OVERFLOW_ONE), "OFFSET_OVERFLOW_ONE");
    assert_string_equal(get_status_name((enum get_status)99), "?");
    fixture_fini(&f);
}

/* The transaction scan takes a half that it cannot read for damaged, and parks it. */
static void look_at_each(void *arg, const struct store_arrival *list, size_t n)
{
    struct store_fixture *f = arg;
    for (size_t i = 0; i < n; i++, f->arrivals++) {
        struct store_unit u;
        struct store_view v;
        struct err e = {0};
        assert_int_equal(store_units(f->st, list[i].topic, list[i].queue_id, list[i].queue_offset, &u, 1), 1);
        assert_ok(store_view(f->st, u.phys_offset, u.size, &v, &e), &e);
        store_view_release(&v);
    }
}

static void a_unit_that_can_be_seen_points_to_a_record_that_can_be_read(void **state)
{
    (void)state;
    const enum flush_mode modes[] = {FLUSH_ASYNC, FLUSH_SYNC};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct store_fixture f;
        fixture_init(&f, modes[i]);
        f.o.on_arrive = look_at_each;
        fixture_open(&f);
        fixture_put_many(&f, "T", 0, 200, 50);
        assert_int_equal(f.arrivals, 200);
        fixture_fini(&f);
    }
}

static void a_get_is_capped_by_count_and_bytes_but_gives_at_least_one(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.transfer_count_max = 8;
    f.o.transfer_bytes_max = 2000;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 20, 50);   /* 142 bytes each */
    fixture_put_many(&f, "Big", 0, 2, 5000);
    fixture_put_many(&f, "Mid", 0, 5, 800);
    const struct { const char *topic; int64_t offset; int32_t max; int msgs; } cases[] = {
        {"T", 0, 3, 3}, {"T", 0, 8, 8}, {"T", 0, 32, 8}, {"T", 0, 0, 1}, {"T", 0, -5, 1}, {"T", 17, 32, 3},
        {"Big", 0, 32, 1}, {"Mid", 0, 32, 2}, {"Mid", 4, 32, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_got g;
        get(&f, cases[i].topic, 0, cases[i].offset, cases[i].max, &g);
        assert_int_equal(g.status, GET_FOUND);
        if (g.msg_n != cases[i].msgs)
            fail_msg("case %zu: %d messages, expected %d", i, g.msg_n, cases[i].msgs);
        assert_int_equal(g.next_begin_offset, cases[i].offset + cases[i].msgs);
        store_got_release(&g);
    }
    fixture_fini(&f);
}

static void what_is_far_behind_has_caps_of_its_own_and_suggests_a_slave(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.machine_memory = 10000;
    f.o.memory_ratio = 30; /* 3000 bytes: the last 21 records */
    f.o.disk_count_max = 3;
    f.o.disk_bytes_max = 1000;
    fixture_open(&f);
    fixture_put_many(&f, "Mid", 0, 3, 400);
    fixture_put_many(&f, "T", 0, 40, 50); /* 142 bytes each */
    const struct { const char *topic; int64_t offset; int msgs; bool slave; } cases[] = {
        {"T", 0, 3, true}, {"T", 15, 3, true}, {"T", 17, 23, false}, {"T", 19, 21, false}, {"T", 39, 1, false}, {"Mid", 0, 2, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_got g;
        get(&f, cases[i].topic, 0, cases[i].offset, 32, &g);
        if (g.msg_n != cases[i].msgs || g.suggest_slave != cases[i].slave)
            fail_msg("case %zu: %d messages, slave %d, expected %d and %d", i, g.msg_n, g.suggest_slave,
                     cases[i].msgs, cases[i].slave);
        store_got_release(&g);
    }
    fixture_fini(&f);
}

static void get_now(struct store_fixture *f, int64_t offset, struct store_got *g)
{
    memset(g, 0xAB, sizeof *g);
    assert_int_equal(store_get(f->st, &(struct store_get){.topic = SLICE_LIT("T"), .offset = offset, .max_msgs = 32,
                                                          .no_wait = true}, g), 0);
}

static void a_get_that_must_not_wait_ends_where_the_disk_begins(void **state)
{
    (void)state;
    struct store_fixture f;
    struct store_got g;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.page_cache_trust_ms = 0;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    get_now(&f, 0, &g);
    assert_int_equal(g.msg_n, 10);
    assert_false(g.cold);
    store_got_release(&g);
    /* Not all of it is in memory, nor is the third record: asked for all, 1, all, 2, all, 3. */
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .nth = 1, .error = E_AGAIN});
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .nth = 3, .error = E_AGAIN});
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .nth = 5, .for_ever = true, .error = E_AGAIN});
    get_now(&f, 0, &g);
    assert_int_equal(g.status, GET_FOUND);
    assert_int_equal(g.msg_n, 2);
    assert_int_equal(g.next_begin_offset, 2);
    assert_true(g.cold);
    store_got_release(&g);
    const uint64_t reads = fs_fault_calls(&f.fault, FS_OP_READ);
    get_now(&f, 2, &g);
    assert_int_equal(g.msg_n, 0);
    assert_true(g.cold);
    store_got_release(&g);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_READ), reads);
    get(&f, "T", 0, 2, 32, &g); /* this one may wait, and reads each of them first */
    assert_int_equal(g.msg_n, 8);
    assert_false(g.cold);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_READ), reads + 8);
    store_got_release(&g);
    fixture_fini(&f);
}

static int now_msgs(struct store_fixture *f, bool *cold)
{
    struct store_got g;
    get_now(f, 0, &g);
    *cold = g.cold;
    store_got_release(&g);
    return g.msg_n;
}

static void what_was_in_memory_is_trusted_to_be_there_for_a_moment(void **state)
{
    (void)state;
    struct store_fixture f;
    struct store_view v;
    struct err e;
    bool cold;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    assert_int_equal(now_msgs(&f, &cold), 10);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 1);
    /* From now on nothing is; what comes later is younger than the answer and in memory, too. */
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .for_ever = true, .error = E_AGAIN});
    fixture_put_many(&f, "T", 0, 10, 50);
    clock_fake_advance(&f.clock, f.o.page_cache_trust_ms - 1);
    assert_int_equal(now_msgs(&f, &cold), 20);
    assert_false(cold);
    const uint64_t reads = fs_fault_calls(&f.fault, FS_OP_READ);
    assert_ok(store_view(f.st, 0, 0, &v, &e), &e);
    store_view_release(&v);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_READ), reads);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 1);
    clock_fake_advance(&f.clock, 1);
    assert_int_equal(now_msgs(&f, &cold), 0);
    assert_true(cold);
    assert_ok(store_view(f.st, 0, 0, &v, &e), &e);
    store_view_release(&v);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_READ), reads + 2); /* its head, the whole */
    fixture_fini(&f);
}

static void a_chunk_of_which_some_is_missing_is_asked_about_in_smaller_parts(void **state)
{
    (void)state;
    struct store_fixture f;
    bool cold;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .nth = 1, .error = E_AGAIN});
    assert_int_equal(now_msgs(&f, &cold), 10);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 2); /* the chunk, what the answer may take */
    assert_int_equal(now_msgs(&f, &cold), 10);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 3); /* that the chunk is not all there is known */
    clock_fake_advance(&f.clock, f.o.page_cache_trust_ms);
    assert_int_equal(now_msgs(&f, &cold), 10);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 4); /* now it is */
    assert_int_equal(now_msgs(&f, &cold), 10);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), 4);
    fixture_fini(&f);
}

static void records_across_chunks_are_asked_about_on_both_sides(void **state)
{
    (void)state;
    enum { BODY = 100 * 1000, RECORDS = 25, CHUNKS = 3 };
    struct store_fixture f;
    bool cold;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 4 * 1024 * 1024;
    f.o.transfer_bytes_max = 4 * 1024 * 1024;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, RECORDS, BODY);
    assert_int_equal(now_msgs(&f, &cold), RECORDS);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_RESIDENT), CHUNKS);
    /* The second chunk is gone, and every smaller part that is asked about: the records before it are left. */
    clock_fake_advance(&f.clock, f.o.page_cache_trust_ms);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .nth = 2, .for_ever = true, .error = E_AGAIN});
    assert_int_equal(now_msgs(&f, &cold), 1024 * 1024 / (BODY + 91));
    assert_true(cold);
    fixture_fini(&f);
}

static void units_that_are_only_on_disk_are_cold_too(void **state)
{
    (void)state;
    struct store_fixture f;
    struct store_got g;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    fixture_steps(&f);
    fixture_steps(&f); /* gives the queue's memory back */
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_READ_NOW, .for_ever = true, .error = E_AGAIN});
    get_now(&f, 0, &g);
    assert_int_equal(g.msg_n, 0);
    assert_true(g.cold);
    store_got_release(&g);
    get(&f, "T", 0, 0, 32, &g);
    assert_int_equal(g.msg_n, 10);
    store_got_release(&g);
    fixture_fini(&f);
}

static void a_cold_record_that_cannot_be_read_is_asked_for_again(void **state)
{
    (void)state;
    struct store_fixture f;
    struct store_got g;
    struct store_view v;
    struct err e;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_RESIDENT, .for_ever = true, .error = E_AGAIN});
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = "commitlog", .for_ever = true, .error = E_IO});
    get(&f, "T", 0, 4, 32, &g);
    assert_int_equal(g.status, GET_OFFSET_FOUND_NULL);
    assert_int_equal(g.next_begin_offset, 4);
    store_got_release(&g);
    assert_code(store_view(f.st, 0, 0, &v, &e), E_IO, &e);
    fs_fault_disarm(&f.fault);
    get(&f, "T", 0, 4, 32, &g);
    assert_int_equal(g.msg_n, 6);
    store_got_release(&g);
    fixture_fini(&f);
}

static void neighbours_in_the_log_come_as_one_iovec_into_the_mapping(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.transfer_count_max = 1000;
    f.o.transfer_bytes_max = 1 << 20;
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 30, 50);
    struct store_got g;
    get(&f, "T", 0, 0, 100, &g);
    assert_int_equal(g.msg_n, 30);
    assert_int_equal(g.iov_n, 1);
    assert_int_equal(g.bytes, 30 * (MESSAGE_SIZE_MIN + 1 + 50));
    store_got_release(&g);
    /* Two queues in turn: nothing is adjacent, and more iovecs and files than the result has room for. */
    for (int i = 0; i < 200; i++)
        fixture_put_many(&f, "W", i % 2, 1, 3000);
    get(&f, "W", 0, 0, 100, &g);
    assert_int_equal(g.msg_n, 100);
    assert_int_equal(g.iov_n, 100);
    assert_true(g.file_n > 4);
    size_t bytes = 0;
    for (int i = 0; i < g.iov_n; i++) {
        struct message m;
        assert_int_equal(message_decode(slice_of(g.iov[i].iov_base, g.iov[i].iov_len), MESSAGE_CHECK_CRC, &m, NULL),
                         0);
        assert_int_equal(m.queue_offset, i);
        bytes += g.iov[i].iov_len;
    }
    assert_int_equal(bytes, g.bytes);
    store_got_release(&g);
    fixture_fini(&f);
}

static bool code_is(void *arg, int64_t code)
{
    return code == *(int64_t *)arg;
}

static void a_filter_sees_tag_codes_and_a_scan_is_bounded(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.filter_scan_bytes = 100 * 20;
    fixture_open(&f);
    for (int i = 0; i < 350; i++) {
        struct sent *s = fixture_append(&f, "T", 0, 0, 20, i == 250 ? "TagA" : "TagB");
        store_port_submit(&f.port);
        sent_free(s);
    }
    int64_t wanted = 2598919; /* "TagA", recorded from the real software */
    struct store_get q = {.topic = SLICE_LIT("T"), .max_msgs = 32, .match = code_is, .match_arg = &wanted};
    const struct expected cases[] = {
        {0, GET_NO_MATCHED_MESSAGE, 100, 0}, {100, GET_NO_MATCHED_MESSAGE, 200, 0}, {200, GET_FOUND, 300, 1},
        {300, GET_NO_MATCHED_MESSAGE, 350, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_got g;
        q.offset = cases[i].offset;
        assert_int_equal(store_get(f.st, &q, &g), 0);
        assert_int_equal(g.status, cases[i].status);
        assert_int_equal(g.next_begin_offset, cases[i].next);
        assert_int_equal(g.msg_n, cases[i].msgs);
        store_got_release(&g);
    }
    /* max_msgs larger than the scan bound widens it. */
    q.offset = 0;
    q.max_msgs = 300;
    struct store_got g;
    assert_int_equal(store_get(f.st, &q, &g), 0);
    assert_int_equal(g.next_begin_offset, 300);
    assert_int_equal(g.msg_n, 1);
    store_got_release(&g);
    fixture_fini(&f);
}

static void units_are_read_from_memory_and_from_files(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    for (int round = 0; round < 6; round++) {
        fixture_put_many(&f, "T", 0, 70, 50);
        fixture_verify(&f);
        while (store_step_cq_flush(f.st)) {
        }
        fixture_verify(&f);
        if (round % 2) /* an idle round gives the memory back */
            while (store_step_cq_flush(f.st)) {
            }
        fixture_verify(&f);
    }
    struct store_unit u[420];
    assert_int_equal(store_units(f.st, SLICE_LIT("T"), 0, 0, u, 420), 420);
    for (int i = 0; i < 420; i++)
        assert_int_equal(u[i].size, MESSAGE_SIZE_MIN + 1 + 50);
    assert_int_equal(store_units(f.st, SLICE_LIT("T"), 0, 415, u, 420), 5);
    assert_int_equal(store_units(f.st, SLICE_LIT("T"), 0, 420, u, 420), 0);
    assert_int_equal(store_units(f.st, SLICE_LIT("T"), 9, 0, u, 420), 0);
    fixture_fini(&f);
}

static void queue_files_that_cannot_be_written_are_tried_again_and_cost_nothing(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 60, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES, .path_has = "consumequeue",
                                                  .for_ever = true, .error = E_NOSPC});
    store_step_cq_flush(f.st);
    fixture_verify(&f);
    fixture_put_many(&f, "T", 0, 60, 50);
    store_step_cq_flush(f.st);
    fixture_verify(&f);
    assert_int_equal(f.failed_calls, 0);
    fs_fault_disarm(&f.fault);
    store_step_cq_flush(f.st);
    store_step_cq_flush(f.st);
    fixture_verify(&f);
    fixture_close(&f);
    fixture_open(&f);
    assert_true(f.found.clean);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_queue_file_that_cannot_be_read_now_skips_nothing(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 60, 50);
    while (store_step_cq_flush(f.st)) {
    }
    while (store_step_cq_flush(f.st)) {
    }
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_READ, .path_has = "consumequeue", .error = E_IO});
    struct store_got g;
    get(&f, "T", 0, 7, 32, &g);
    assert_int_equal(g.status, GET_OFFSET_FOUND_NULL);
    assert_int_equal(g.next_begin_offset, 7);
    store_got_release(&g);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_unit_without_its_record_is_skipped(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 40, 50);
    for (int i = 0; i < 2; i++) /* the second round leaves the units to the file */
        while (store_step_cq_flush(f.st)) {
        }
    char *units;
    size_t n;
    fixture_read_file(&f, fixture_path("consumequeue/T/0/%020d", 0), &units, &n);
    be64_put(units + 10 * 20, 10 * 142 + 5); /* the middle of a record */
    be64_put(units + 11 * 20, 30000);        /* zeros */
    be64_put(units + 12 * 20, 1 << 30);      /* outside the log */
    be32_put(units + 13 * 20 + 8, 141);      /* another size */
    be32_put(units + 14 * 20 + 8, INT32_MAX); /* no message here */
    fixture_write_file(&f, fixture_path("consumequeue/T/0/%020d", 0), units, n);
    free(units);
    struct store_got g;
    get(&f, "T", 0, 8, 3, &g);
    assert_int_equal(g.status, GET_FOUND);
    assert_int_equal(g.msg_n, 3);
    assert_int_equal(g.next_begin_offset, 16);
    store_got_release(&g);
    int64_t any = 0;
    struct store_get q = {.topic = SLICE_LIT("T"), .offset = 10, .max_msgs = 1, .match = code_is, .match_arg = &any};
    assert_int_equal(store_get(f.st, &q, &g), 0);
    assert_int_equal(g.msg_n, 1);
    assert_int_equal(g.next_begin_offset, 16);
    store_got_release(&g);
    fixture_close(&f);
    fixture_open(&f); /* what does not even look like a unit of this queue is made again */
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_view_gives_records_by_their_place_and_nothing_else(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 10, 50);
    fixture_put_many(&f, "T", 0, 30, 4000);
    const int64_t visible = 65536 * 2;
    int found = 0;
    for (int64_t at = -3; at < visible + 100; at++) {
        struct store_view v;
        struct err e = {0};
        const int rc = store_view(f.st, at, 0, &v, &e);
        if (!rc) {
            found++;
            assert_int_equal(be64_get(v.record.p + 28), at);
            store_view_release(&v);
        } else if (rc != E_NOTFOUND && rc != E_CORRUPT) {
            fail_msg("at %lld: %s", (long long)at, e.text);
        }
    }
    assert_true(found >= 38);
    struct store_view v;
    assert_int_equal(store_view(f.st, 142, 142, &v, NULL), 0);
    store_view_release(&v);
    assert_int_equal(store_view(f.st, 142, 141, &v, NULL), E_CORRUPT);
    assert_int_equal(store_view(f.st, INT64_MAX, 0, &v, NULL), E_NOTFOUND);
    assert_int_equal(store_view(f.st, INT64_MIN, 0, &v, NULL), E_NOTFOUND);
    fixture_fini(&f);
}

/* Wire protocol, section 4.8. */
static void offsets_by_time_follow_the_boundary_table(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    const struct slice t = SLICE_LIT("T");
    assert_int_equal(store_offset_by_time(f.st, t, 0, 5, BOUNDARY_LOWER), 0); /* no queue */
    assert_int_equal(store_time_of_offset(f.st, t, 0, 0), -1);
    const int64_t t0 = f.clock.wall;
    /* times: 0 0 0 10 20 20 30 */
    const int64_t times[] = {0, 0, 0, 10, 20, 20, 30};
    for (size_t i = 0; i < 7; i++) {
        f.clock.wall = t0 + times[i];
        fixture_put_many(&f, "T", 0, 1, 50);
    }
    const struct { int64_t at, lower, upper; } cases[] = {
        {-1, 0, 0}, {0, 0, 2}, {1, 3, 2}, {10, 3, 3}, {15, 4, 3}, {20, 4, 5}, {29, 6, 5}, {30, 6, 6},
        {31, 7, 6}, {1000000, 7, 6}};
    for (int cold = 0; cold < 2; cold++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const int64_t lower = store_offset_by_time(f.st, t, 0, t0 + cases[i].at, BOUNDARY_LOWER);
            const int64_t upper = store_offset_by_time(f.st, t, 0, t0 + cases[i].at, BOUNDARY_UPPER);
            if (lower != cases[i].lower || upper != cases[i].upper)
                fail_msg("t0%+lld: lower %lld upper %lld, expected %lld %lld", (long long)cases[i].at,
                         (long long)lower, (long long)upper, (long long)cases[i].lower,
                         (long long)cases[i].upper);
        }
        while (store_step_cq_flush(f.st)) {
        }
        while (store_step_cq_flush(f.st)) {
        }
    }
    assert_int_equal(store_offset_by_time(f.st, t, 0, INT64_MIN, BOUNDARY_LOWER), 0);
    assert_int_equal(store_offset_by_time(f.st, t, 0, INT64_MAX, BOUNDARY_LOWER), 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(store_time_of_offset(f.st, t, 0, i), t0 + times[i]);
    assert_int_equal(store_time_of_offset(f.st, t, 0, 7), -1);
    fixture_fini(&f);
}

static void count_queue(void *arg, struct slice topic, int32_t queue_id, int64_t min, int64_t max)
{
    (void)topic;
    (void)queue_id;
    *(int64_t *)arg += max - min;
}

static void many_queues_share_few_descriptors_and_little_memory(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.commitlog_file_size = 1 << 20;
    f.o.cq_file_size = 200;
    fixture_open(&f);
    enum { TOPICS = 150, QUEUES = 8 };
    static char names[TOPICS][16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < TOPICS * QUEUES; i++) {
            snprintf(names[i / QUEUES], sizeof names[0], "T%d", i / QUEUES);
            fixture_put_many(&f, names[i / QUEUES], i % QUEUES, 1, 12);
        }
        while (store_step_cq_flush(f.st)) {
        }
        while (store_step_cq_flush(f.st)) {
        }
    }
    fixture_verify(&f);
    int64_t messages = 0;
    store_each_queue(f.st, count_queue, &messages);
    assert_int_equal(messages, 2 * TOPICS * QUEUES);
    fixture_close(&f);
    fixture_open(&f);
    fixture_verify(&f);
    fixture_fini(&f);
}

/* A bit of the first of three records flips while the store is stopped; the start after an orderly stop
 * looks at the last record only. */
static void a_record_that_was_damaged_on_disk_is_named_and_not_served(void **state)
{
    (void)state;
    enum { RECORD = MESSAGE_SIZE_MIN + 1 + 50 };
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 3, 50);
    fixture_close(&f);
    fixture_flip(&f, fixture_path("commitlog/%020d", 0), RECORD - 10, 4); /* in its body */
    fixture_open(&f);
    for (int round = 0; round < 2; round++) { /* it is not forgotten that the others were whole */
        struct store_got g;
        const struct store_get q = {.topic = SLICE_LIT("T"), .max_msgs = 32};
        assert_int_equal(store_get(f.st, &q, &g), 0);
        assert_int_equal(g.status, GET_FOUND);
        assert_int_equal(g.msg_n, 2);
        assert_int_equal(g.next_begin_offset, 3);
        assert_int_equal(be64_get((char *)g.iov[0].iov_base + 28), RECORD);
        store_got_release(&g);
    }
    struct store_view v;
    struct err e = {0};
    assert_code(store_view(f.st, 0, 0, &v, &e), E_CORRUPT, &e);
    assert_contains(e.text, "commitlog/00000000000000000000: the record at byte 0");
    assert_ok(store_view(f.st, RECORD, 0, &v, &e), &e);
    store_view_release(&v);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_was_damaged_on_disk_is_named_and_not_served),
        cmocka_unit_test(each_offset_gets_the_status_that_clients_know),
        cmocka_unit_test(a_unit_that_can_be_seen_points_to_a_record_that_can_be_read),
        cmocka_unit_test(a_get_is_capped_by_count_and_bytes_but_gives_at_least_one),
        cmocka_unit_test(what_is_far_behind_has_caps_of_its_own_and_suggests_a_slave),
        cmocka_unit_test(a_get_that_must_not_wait_ends_where_the_disk_begins),
        cmocka_unit_test(what_was_in_memory_is_trusted_to_be_there_for_a_moment),
        cmocka_unit_test(a_chunk_of_which_some_is_missing_is_asked_about_in_smaller_parts),
        cmocka_unit_test(records_across_chunks_are_asked_about_on_both_sides),
        cmocka_unit_test(units_that_are_only_on_disk_are_cold_too),
        cmocka_unit_test(a_cold_record_that_cannot_be_read_is_asked_for_again),
        cmocka_unit_test(neighbours_in_the_log_come_as_one_iovec_into_the_mapping),
        cmocka_unit_test(a_filter_sees_tag_codes_and_a_scan_is_bounded),
        cmocka_unit_test(units_are_read_from_memory_and_from_files),
        cmocka_unit_test(queue_files_that_cannot_be_written_are_tried_again_and_cost_nothing),
        cmocka_unit_test(a_queue_file_that_cannot_be_read_now_skips_nothing),
        cmocka_unit_test(a_unit_without_its_record_is_skipped),
        cmocka_unit_test(a_view_gives_records_by_their_place_and_nothing_else),
        cmocka_unit_test(offsets_by_time_follow_the_boundary_table),
        cmocka_unit_test(many_queues_share_few_descriptors_and_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
