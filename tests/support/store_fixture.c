/* The fixture of store_fixture.h.
 *
 * Owns: the simulated disk and clock, the store under test, the model that check compares with.
 * Runs on: the test's thread; with o.manual = false the store has its threads too.
 * A crash throws the store's memory away by closing it against a disk that is already dead, so that
 * nothing of the close can reach the disk. */
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void on_arrive(void *arg, const struct store_arrival *list, size_t n)
{
    struct store_fixture *f = arg;
    f->arrivals += n;
    f->last_arrival_offset = list[n - 1].queue_offset;
    f->last_arrival_code = list[n - 1].tags_code;
}

static void on_progress(void *arg, const struct store_progress *p)
{
    struct store_fixture *f = arg;
    f->progress_done = p->done;
    f->progress_total = p->total;
}

static void on_failed(void *arg, const char *reason)
{
    struct store_fixture *f = arg;
    f->failed_calls++;
    snprintf(f->failed_reason, sizeof f->failed_reason, "%s", reason);
}

void fixture_init(struct store_fixture *f, enum flush_mode mode)
{
    *f = (struct store_fixture){.sim = fs_sim_new(0)};
    assert_non_null(f->sim);
    fs_fault_init(&f->fault, fs_sim_fs(f->sim));
    clock_fake_init(&f->clock, 1700000000000, 1000);
    store_opts_defaults(&f->o);
    f->o.root_dir = "/store";
    f->o.commitlog_file_size = 64 * 1024;
    f->o.cq_file_size = 1000;
    f->o.cq_flush_least_pages = 0;
    f->o.index_slots = 40;
    f->o.index_items = 160;
    f->o.flush_mode = mode;
    f->o.fs = &f->fault.fs;
    f->o.clock = &f->clock.base;
    f->o.manual = true;
    f->o.on_arrive = on_arrive;
    f->o.on_progress = on_progress;
    f->o.on_failed = on_failed;
    f->o.arg = f;
}

int fixture_try_open(struct store_fixture *f, struct err *e)
{
    const int rc = store_open(&f->st, &f->o, &f->found, e);
    if (!rc)
        assert_int_equal(store_port_open(&f->port, f->st, NULL, NULL), 0);
    else
        f->st = NULL;
    return rc;
}

void fixture_open(struct store_fixture *f)
{
    struct err e = {0};
    assert_ok(fixture_try_open(f, &e), &e);
}

void fixture_close(struct store_fixture *f)
{
    struct err e = {0};
    store_port_close(&f->port);
    struct store *st = f->st;
    f->st = NULL;
    assert_ok(store_close(st, &e), &e);
}

static void throw_away(struct store_fixture *f)
{
    if (!f->st)
        return;
    store_port_drain(&f->port, 0);
    store_port_close(&f->port);
    struct err e;
    (void)!store_close(f->st, &e);
    f->st = NULL;
}

void fixture_kill(struct store_fixture *f)
{
    fs_fault_disarm(&f->fault);
    fs_fault_arm(&f->fault, (struct fs_fault_rule){.ops = FS_OP_CHANGES | FS_OP_OPEN, .for_ever = true,
                                                   .error = E_IO});
    throw_away(f);
    fs_fault_disarm(&f->fault);
}

void fixture_crash(struct store_fixture *f, struct rng *rng, enum fs_sim_crash_mode mode)
{
    fs_sim_crash(f->sim, rng, mode);
    fixture_kill(f); /* open files are dead by now; what only needs paths must fail as well */
}

void fixture_reopen(struct store_fixture *f, struct rng *rng, enum fs_sim_crash_mode mode)
{
    fixture_crash(f, rng, mode);
    fixture_open(f);
}

void fixture_fini(struct store_fixture *f)
{
    fs_fault_disarm(&f->fault);
    throw_away(f);
    store_check_free(&f->check);
    fs_fault_fini(&f->fault);
    fs_sim_free(f->sim);
}

static void note_done(struct append *a)
{
    struct sent *s = LIST_ENTRY(a, struct sent, a);
    assert_false(s->done);
    s->done = true;
    if (a->status == STORE_OK)
        store_check_acked(&s->f->check, s->writer, s->seq, a->queue_id, a->queue_offset, a->phys_offset);
}

struct sent *fixture_append(struct store_fixture *f, const char *topic, int32_t queue_id, uint32_t writer,
                            size_t body_size, const char *tag)
{
    struct sent *s = calloc(1, sizeof *s);
    assert_non_null(s);
    buf_init(&s->records, 0);
    s->f = f;
    s->writer = writer;
    s->seq = f->next_seq[writer]++;
    check_record(&s->records, slice_str(topic), queue_id, writer, s->seq, body_size, tag);
    store_check_sent(&f->check, writer, s->seq);
    s->a = (struct append){
        .records = s->records.p, .size = s->records.n, .record_n = 1, .topic = slice_str(topic),
        .queue_id = queue_id, .tags_code = tag ? java_string_hash(slice_str(tag)) : 0, .done = note_done};
    store_append(&f->port, &s->a);
    return s;
}

void sent_free(struct sent *s)
{
    assert_true(s->done);
    buf_free(&s->records);
    free(s);
}

void fixture_steps(struct store_fixture *f)
{
    while (store_step_flush(f->st)) {
    }
    while (store_step_cq_flush(f->st)) {
    }
    while (store_step_allocate(f->st)) {
    }
    store_step_deadlines(f->st);
    store_port_drain(&f->port, 0);
}

enum store_status fixture_put(struct store_fixture *f, const char *topic, int32_t queue_id, size_t body_size)
{
    struct sent *s = fixture_append(f, topic, queue_id, 0, body_size, NULL);
    store_port_submit(&f->port);
    while (store_step_flush(f->st)) {
    }
    store_port_drain(&f->port, 0);
    const enum store_status status = s->a.status;
    sent_free(s);
    return status;
}

void fixture_put_many(struct store_fixture *f, const char *topic, int32_t queue_id, int n, size_t body_size)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(fixture_put(f, topic, queue_id, body_size), STORE_OK);
}

void fixture_verify(struct store_fixture *f)
{
    struct store_check_result r;
    if (!store_check_run(&f->check, f->st, &r))
        fail_msg("%s (found %lld acked %lld lost %lld invented %lld duplicates %lld gaps %lld disorder %lld "
                 "damaged %lld)", r.first, (long long)r.found, (long long)r.acked, (long long)r.lost,
                 (long long)r.invented, (long long)r.duplicates, (long long)r.gaps, (long long)r.disorder,
                 (long long)r.damaged);
}

int64_t fixture_max(struct store_fixture *f, const char *topic, int32_t queue_id)
{
    int64_t min, max;
    store_queue_range(f->st, slice_str(topic), queue_id, &min, &max);
    return max;
}

const char *fixture_path(const char *fmt, ...)
{
    static char path[512];
    const int n = snprintf(path, sizeof path, "/store/");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path + n, sizeof path - (size_t)n, fmt, ap);
    va_end(ap);
    return path;
}

void fixture_read_file(struct store_fixture *f, const char *path, char **out, size_t *n)
{
    struct err e = {0};
    assert_ok(fs_read_all(fs_sim_fs(f->sim), path, 64 << 20, out, n, &e), &e);
}

void fixture_write_file(struct store_fixture *f, const char *path, const void *p, size_t n)
{
    struct err e = {0};
    struct fs *fs = fs_sim_fs(f->sim);
    struct fs_file *file;
    assert_ok(fs->open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNC, &file, &e), &e);
    assert_ok(fs_write(file, fs, p, n, 0, &e), &e);
    assert_ok(fs->sync(file, &e), &e);
    fs->close(file);
}

void fixture_flip(struct store_fixture *f, const char *path, int64_t at, char mask)
{
    char *p;
    size_t n;
    fixture_read_file(f, path, &p, &n);
    assert_true((size_t)at < n);
    p[at] ^= mask;
    fixture_write_file(f, path, p, n);
    free(p);
}

void fixture_set_store_time(struct store_fixture *f, int64_t phys_offset, int64_t ts)
{
    enum { STORE_TIME_AT = 56 };
    const int64_t at = phys_offset % f->o.commitlog_file_size;
    const char *const path = fixture_path("commitlog/%020lld", (long long)(phys_offset - at));
    char *log;
    size_t n;
    fixture_read_file(f, path, &log, &n);
    be64_put(log + at + STORE_TIME_AT, (uint64_t)ts);
    fixture_write_file(f, path, log, n);
    free(log);
}
