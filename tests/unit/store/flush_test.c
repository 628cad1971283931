/* Group commit, visibility, deadlines, and what a failed sync means. */
#include <stdatomic.h>

#include "tests/support/store_fixture.h"
#include "tests/support/wait.h"

static void sync_mode_shows_nothing_before_it_is_on_disk(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    struct sent *s = fixture_append(&f, "T", 0, 0, 50, NULL);
    store_port_submit(&f.port);
    assert_false(s->done);
    assert_int_equal(fixture_max(&f, "T", 0), 0);
    assert_int_equal(f.arrivals, 0);
    struct store_got g;
    assert_int_equal(store_get(f.st, &(struct store_get){.topic = SLICE_LIT("T"), .max_msgs = 1}, &g), 0);
    assert_int_equal(g.status, GET_NO_MESSAGE_IN_QUEUE);
    store_got_release(&g);
    struct store_view v;
    assert_int_equal(store_view(f.st, 0, 0, &v, NULL), E_NOTFOUND);

    store_step_flush(f.st);
    assert_int_equal(fixture_max(&f, "T", 0), 1);
    assert_int_equal(f.arrivals, 1);
    assert_false(s->done); /* delivered by the port, on its own thread */
    assert_int_equal(store_port_drain(&f.port, 0), 1);
    assert_int_equal(s->a.status, STORE_OK);
    sent_free(s);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_message_that_does_not_wait_is_answered_at_once_but_shown_only_when_synced(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    struct sent *s = fixture_append(&f, "T", 0, 0, 50, NULL);
    s->a.no_wait = true;
    store_port_submit(&f.port);
    assert_true(s->done);
    assert_int_equal(s->a.status, STORE_OK);
    sent_free(s);
    assert_int_equal(fixture_max(&f, "T", 0), 0);
    store_step_flush(f.st);
    assert_int_equal(fixture_max(&f, "T", 0), 1);
    fixture_fini(&f);
}

static void one_sync_answers_everything_written_before_it(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    struct sent *s[30];
    for (int i = 0; i < 30; i++) {
        s[i] = fixture_append(&f, "T", i % 2, 0, 50, NULL);
        store_port_submit(&f.port);
    }
    const uint64_t before = fs_fault_calls(&f.fault, FS_OP_DATASYNC);
    store_step_flush(f.st);
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_DATASYNC) - before, 1);
    assert_int_equal(store_port_drain(&f.port, 0), 30);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(s[i]->a.status, STORE_OK);
        sent_free(s[i]);
    }
    fixture_verify(&f);
    fixture_fini(&f);
}

static void a_failed_sync_acknowledges_nothing_is_not_repeated_and_reads_go_on(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, 4, 50);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "commitlog", .error = E_IO});
    struct sent *a = fixture_append(&f, "T", 0, 0, 50, NULL), *b = fixture_append(&f, "T", 1, 0, 50, NULL);
    store_port_submit(&f.port);
    store_step_flush(f.st);
    assert_int_equal(store_port_drain(&f.port, 0), 2);
    assert_int_equal(a->a.status, STORE_FAILED);
    assert_int_equal(b->a.status, STORE_FAILED);
    assert_int_equal(f.failed_calls, 1);
    const uint64_t syncs = fs_fault_calls(&f.fault, FS_OP_DATASYNC);
    for (int i = 0; i < 5; i++)
        assert_false(store_step_flush(f.st));
    assert_int_equal(fs_fault_calls(&f.fault, FS_OP_DATASYNC), syncs);
    assert_int_equal(fixture_put(&f, "T", 0, 50), STORE_FAILED);
    assert_int_equal(fixture_max(&f, "T", 0), 4);
    fixture_verify(&f);
    sent_free(a);
    sent_free(b);
    struct err e;
    store_port_close(&f.port);
    assert_code(store_close(f.st, &e), E_FAILED, &e);
    f.st = NULL;
    fixture_open(&f);
    assert_false(f.found.clean);
    fixture_verify(&f);
    fixture_fini(&f);
}

static void async_mode_syncs_by_pages_or_by_time(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_ASYNC);
    f.o.flush_least_pages = 4;
    f.o.flush_thorough_ms = 10000;
    fixture_open(&f);
    struct store_stats stats;
    fixture_put_many(&f, "T", 0, 1, 1000);
    store_step_flush(f.st);
    store_stats_get(f.st, &stats);
    assert_int_equal(stats.log_flushed, 0);
    fixture_put_many(&f, "T", 0, 15, 1000); /* 17,472 bytes: more than 4 pages */
    store_step_flush(f.st);
    store_stats_get(f.st, &stats);
    assert_int_equal(stats.log_flushed, stats.log_wrote);
    fixture_put_many(&f, "T", 0, 1, 1000);
    clock_fake_advance(&f.clock, 9999);
    store_step_flush(f.st);
    store_stats_get(f.st, &stats);
    assert_true(stats.log_flushed < stats.log_wrote);
    clock_fake_advance(&f.clock, 1);
    store_step_flush(f.st);
    store_stats_get(f.st, &stats);
    assert_int_equal(stats.log_flushed, stats.log_wrote);
    fixture_fini(&f);
}

static void a_sync_that_takes_too_long_is_told_and_the_message_appears_when_it_ends(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    fixture_open(&f);
    struct sent *a = fixture_append(&f, "T", 0, 0, 50, NULL);
    store_port_submit(&f.port);
    clock_fake_advance(&f.clock, 2000);
    struct sent *b = fixture_append(&f, "T", 0, 0, 50, NULL);
    store_port_submit(&f.port);
    clock_fake_advance(&f.clock, 2999);
    store_step_deadlines(f.st);
    assert_int_equal(store_port_drain(&f.port, 0), 0);
    clock_fake_advance(&f.clock, 1);
    store_step_deadlines(f.st);
    assert_int_equal(store_port_drain(&f.port, 0), 1);
    assert_int_equal(a->a.status, STORE_FLUSH_TIMEOUT);
    assert_false(b->done);
    sent_free(a);
    store_step_flush(f.st);
    assert_int_equal(store_port_drain(&f.port, 0), 1);
    assert_int_equal(b->a.status, STORE_OK);
    sent_free(b);
    assert_int_equal(fixture_max(&f, "T", 0), 2);
    fixture_verify(&f);
    fixture_fini(&f);
}

/* ---- with threads ---- */

struct gate {
    uv_sem_t entered, leave;
};

static void hold(void *arg)
{
    struct gate *g = arg;
    uv_sem_post(&g->entered);
    uv_sem_wait(&g->leave);
}

static void a_hanging_sync_is_answered_by_the_watch_while_it_hangs(void **state)
{
    (void)state;
    struct store_fixture f;
    struct gate g;
    uv_sem_init(&g.entered, 0);
    uv_sem_init(&g.leave, 0);
    fixture_init(&f, FLUSH_SYNC);
    f.o.manual = false;
    f.o.clock = NULL;
    f.o.sync_flush_timeout_ms = 100;
    fixture_open(&f);
    fs_fault_arm(&f.fault, (struct fs_fault_rule){.ops = FS_OP_DATASYNC, .path_has = "commitlog", .hook = hold,
                                                  .arg = &g});
    struct sent *s = fixture_append(&f, "T", 0, 0, 50, NULL);
    store_port_submit(&f.port);
    uv_sem_wait(&g.entered);
    assert_int_equal(store_port_drain(&f.port, 10000), 1);
    assert_int_equal(s->a.status, STORE_FLUSH_TIMEOUT);
    assert_int_equal(fixture_max(&f, "T", 0), 0);
    uv_sem_post(&g.leave);
    sent_free(s);
    s = fixture_append(&f, "T", 0, 0, 50, NULL);
    store_port_submit(&f.port);
    assert_int_equal(store_port_drain(&f.port, 10000), 1);
    assert_int_equal(s->a.status, STORE_OK);
    sent_free(s);
    fixture_verify(&f);
    fixture_close(&f);
    fixture_fini(&f);
    uv_sem_destroy(&g.entered);
    uv_sem_destroy(&g.leave);
}

enum { THREADS = 4, ROUNDS = 60, PER_ROUND = 8 };

struct submitter {
    struct store_fixture *f;
    uv_mutex_t *check_lock;
    uint32_t writer;
    int ok, wrong;
};

struct op {
    struct append a;
    struct buf records;
    struct submitter *by;
    uint32_t seq;
};

static void op_done(struct append *a)
{
    struct op *op = LIST_ENTRY(a, struct op, a);
    if (a->status != STORE_OK) {
        op->by->wrong++;
        return;
    }
    op->by->ok++;
    uv_mutex_lock(op->by->check_lock);
    store_check_acked(&op->by->f->check, op->by->writer, op->seq, a->queue_id, a->queue_offset, a->phys_offset);
    uv_mutex_unlock(op->by->check_lock);
}

static void submit_rounds(void *arg)
{
    struct submitter *s = arg;
    struct store_port port;
    struct op ops[PER_ROUND];
    MQ_ASSERT(!store_port_open(&port, s->f->st, NULL, NULL));
    uint32_t seq = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PER_ROUND; i++, seq++) {
            ops[i] = (struct op){.by = s, .seq = seq};
            buf_init(&ops[i].records, 0);
            check_record(&ops[i].records, SLICE_LIT("C"), i % 3, s->writer, seq, 60, NULL);
            uv_mutex_lock(s->check_lock);
            store_check_sent(&s->f->check, s->writer, seq);
            uv_mutex_unlock(s->check_lock);
            ops[i].a = (struct append){.records = ops[i].records.p, .size = ops[i].records.n, .record_n = 1,
                                       .topic = SLICE_LIT("C"), .queue_id = i % 3, .done = op_done};
            store_append(&port, &ops[i].a);
        }
        store_port_submit(&port);
        while (port.inflight)
            store_port_drain(&port, 1000);
        for (int i = 0; i < PER_ROUND; i++)
            buf_free(&ops[i].records);
    }
    store_port_close(&port);
}

struct reader_arg {
    struct store_fixture *f;
    atomic_bool *stop;
    int64_t backwards, unreadable;
};

static void read_on(void *arg)
{
    struct reader_arg *r = arg;
    int64_t at = 0;
    while (!atomic_load(r->stop)) {
        struct store_got g;
        MQ_ASSERT(!store_get(r->f->st, &(struct store_get){.topic = SLICE_LIT("C"), .queue_id = 1, .offset = at,
                                                           .max_msgs = 16}, &g));
        for (int i = 0; i < g.iov_n; i++) {
            struct message m;
            if (message_decode(slice_of(g.iov[i].iov_base, g.iov[i].iov_len), 0, &m, NULL) == E_CORRUPT &&
                !m.total_size)
                r->unreadable++;
        }
        if (g.next_begin_offset < at)
            r->backwards++;
        at = g.next_begin_offset;
        store_got_release(&g);
    }
}

static void count_arrivals(void *arg, const struct store_arrival *list, size_t n)
{
    (void)list;
    ((struct store_fixture *)arg)->arrivals += n; /* one thread at a time, by the contract */
}

static void run_threads(enum flush_mode mode)
{
    struct store_fixture f;
    uv_mutex_t check_lock;
    uv_mutex_init(&check_lock);
    fixture_init(&f, mode);
    f.o.manual = false;
    f.o.clock = NULL;
    f.o.flush_interval_ms = 5;
    f.o.cq_flush_interval_ms = 5;
    f.o.on_arrive = count_arrivals;
    fixture_open(&f);
    struct submitter s[THREADS];
    uv_thread_t threads[THREADS], reader;
    atomic_bool stop = false;
    struct reader_arg r = {.f = &f, .stop = &stop};
    assert_int_equal(uv_thread_create(&reader, read_on, &r), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        s[i] = (struct submitter){.f = &f, .check_lock = &check_lock, .writer = i};
        assert_int_equal(uv_thread_create(&threads[i], submit_rounds, &s[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&threads[i]);
        assert_int_equal(s[i].ok, ROUNDS * PER_ROUND);
        assert_int_equal(s[i].wrong, 0);
    }
    atomic_store(&stop, true);
    uv_thread_join(&reader);
    assert_int_equal(r.backwards, 0);
    assert_int_equal(r.unreadable, 0);
    fixture_verify(&f);
    fixture_close(&f);
    assert_int_equal(f.arrivals, THREADS * ROUNDS * PER_ROUND);
    fixture_open(&f);
    assert_true(f.found.clean);
    fixture_verify(&f);
    fixture_fini(&f);
    uv_mutex_destroy(&check_lock);
}

static void four_threads_append_in_sync_mode(void **state)
{
    (void)state;
    run_threads(FLUSH_SYNC);
}

static void four_threads_append_in_async_mode(void **state)
{
    (void)state;
    run_threads(FLUSH_ASYNC);
}

struct loop_case {
    struct mailbox mb;
    struct store_port port;
    struct store_fixture *f;
    struct op ops[20];
    struct submitter by;
    int done;
};

static void loop_done(struct append *a)
{
    struct op *op = LIST_ENTRY(a, struct op, a);
    struct loop_case *c = LIST_ENTRY(op->by, struct loop_case, by);
    assert_int_equal(a->status, STORE_OK);
    buf_free(&op->records);
    if (++c->done == 20) {
        store_port_close(&c->port);
        mailbox_close(&c->mb, NULL);
    }
}

static void completions_reach_a_loop_through_its_mailbox(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f, FLUSH_SYNC);
    f.o.manual = false;
    f.o.clock = NULL;
    fixture_open(&f);
    uv_loop_t loop;
    struct loop_case c = {.f = &f};
    struct err e;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_ok(mailbox_open(&c.mb, &loop, &e), &e);
    assert_ok(store_port_open(&c.port, f.st, &c.mb, &e), &e);
    for (uint32_t i = 0; i < 20; i++) {
        c.ops[i] = (struct op){.by = &c.by, .seq = i};
        buf_init(&c.ops[i].records, 0);
        check_record(&c.ops[i].records, SLICE_LIT("L"), 0, 3, i, 30, NULL);
        c.ops[i].a = (struct append){.records = c.ops[i].records.p, .size = c.ops[i].records.n, .record_n = 1,
                                     .topic = SLICE_LIT("L"), .done = loop_done};
        store_append(&c.port, &c.ops[i].a);
    }
    store_port_submit(&c.port);
    assert_int_equal(c.done, 0); /* never inside submit in this mode */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(c.done, 20);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(fixture_max(&f, "L", 0), 20);
    fixture_close(&f);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_mode_shows_nothing_before_it_is_on_disk),
        cmocka_unit_test(a_message_that_does_not_wait_is_answered_at_once_but_shown_only_when_synced),
        cmocka_unit_test(one_sync_answers_everything_written_before_it),
        cmocka_unit_test(a_failed_sync_acknowledges_nothing_is_not_repeated_and_reads_go_on),
        cmocka_unit_test(async_mode_syncs_by_pages_or_by_time),
        cmocka_unit_test(a_sync_that_takes_too_long_is_told_and_the_message_appears_when_it_ends),
        cmocka_unit_test(a_hanging_sync_is_answered_by_the_watch_while_it_hangs),
        cmocka_unit_test(four_threads_append_in_sync_mode),
        cmocka_unit_test(four_threads_append_in_async_mode),
        cmocka_unit_test(completions_reach_a_loop_through_its_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
